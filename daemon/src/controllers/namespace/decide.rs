//! What a namespace that is being deleted needs next (W-111, J-2011). Pure.
#![deny(clippy::disallowed_methods)]

use jobd_api::object::Object;
use serde_json::Value;

/// The entry of `spec.finalizers` that stands for this controller's work.
const KUBERNETES: &str = "kubernetes";

/// What is to be done about a namespace.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Plan {
    /// It is not being deleted.
    Nothing,
    /// Delete what is in it, then look again.
    Empty,
    /// It is empty: it goes in this state, or stays in it until others have taken their finalizers off.
    Finalize { body: Object, goes: bool },
}

/// `content`: whether anything is left in the namespace.
pub(super) fn decide(namespace: &Object, content: bool) -> Plan {
    if namespace.get(&["metadata", "deletionTimestamp"]).is_none() {
        return Plan::Nothing;
    }
    if content {
        return Plan::Empty;
    }
    let mut body = namespace.clone();
    let mut foreign = false;
    if let Some(Value::Object(spec)) = body.0.get_mut("spec")
        && let Some(Value::Array(finalizers)) = spec.get_mut("finalizers")
    {
        finalizers.retain(|one| one.as_str() != Some(KUBERNETES));
        foreign = !finalizers.is_empty();
        if !foreign {
            spec.remove("finalizers");
        }
    }
    let held = namespace.get(&["metadata", "finalizers"]).and_then(Value::as_array).is_some_and(|all| !all.is_empty());
    Plan::Finalize { body, goes: !foreign && !held }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(namespace: &str, content: bool, want: &str) {
        let got = match decide(&Object::parse(namespace).unwrap(), content) {
            Plan::Nothing => "nothing".to_owned(),
            Plan::Empty => "empty".to_owned(),
            Plan::Finalize { body, goes } => {
                format!("{} with spec {}", if goes { "goes" } else { "stays" }, body.0["spec"])
            }
        };
        assert_eq!(got, want);
    }

    const ACTIVE: &str = r#"{"metadata":{"name":"a"},"spec":{"finalizers":["kubernetes"]}}"#;
    const GOING: &str = r#"{"metadata":{"name":"a","deletionTimestamp":"x"},"spec":{"finalizers":["kubernetes"]}}"#;

    #[test]
    fn w_111_content_goes_before_the_namespace() {
        check(ACTIVE, true, "nothing");
        check(ACTIVE, false, "nothing");
        check(GOING, true, "empty");
        check(GOING, false, "goes with spec {}");
    }

    #[test]
    fn others_finalizers_keep_an_empty_namespace() {
        check(
            r#"{"metadata":{"deletionTimestamp":"x"},"spec":{"finalizers":["kubernetes","example.com/a"]}}"#,
            false,
            r#"stays with spec {"finalizers":["example.com/a"]}"#,
        );
        check(
            r#"{"metadata":{"deletionTimestamp":"x","finalizers":["example.com/a"]},"spec":{"finalizers":["kubernetes"]}}"#,
            false,
            "stays with spec {}",
        );
    }
}
