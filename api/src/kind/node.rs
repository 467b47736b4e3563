//! The node: there is one, and it is this machine (W-190). Clients label, cordon and taint it.

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::{
    field::{FieldErrors, Path},
    kind::{Rules, age, drop_empty},
    name,
    object::Object,
    status::Status,
    write::{Context, Part},
};

const EFFECTS: [&str; 3] = ["NoSchedule", "PreferNoSchedule", "NoExecute"];

/// The rules of this kind.
pub struct NodeRules;

impl Rules for NodeRules {
    fn prepare(&self, new: &mut Object, _old: Option<(&Object, Part)>, _: &mut Context<'_>) -> Result<(), Status> {
        if let Some(Value::Object(spec)) = new.0.get_mut("spec") {
            spec.retain(|_, value| *value != Value::Bool(false) && *value != json!([]));
        }
        drop_empty(new, &["spec"]);
        Ok(())
    }

    fn validate(&self, new: &Object, old: Option<(&Object, Part)>) -> FieldErrors {
        let mut errors = FieldErrors::default();
        validate_taints(new, &mut errors);
        if let Some((old, _)) = old {
            for (field, text) in [
                ("podCIDR", "node updates may not change podCIDR except from \"\" to valid"),
                ("providerID", "node updates may not change providerID except from \"\" to valid"),
            ] {
                let old = old.text(&["spec", field]).unwrap_or_default();
                if !old.is_empty() && new.text(&["spec", field]).unwrap_or_default() != old {
                    errors.forbidden(&Path::new("spec").child(field), text);
                }
            }
        }
        errors
    }

    fn field(&self, object: &Object, label: &str) -> Option<String> {
        match label {
            "metadata.name" => Some(object.name().to_owned()),
            "spec.unschedulable" => Some(is_cordoned(object).to_string()),
            _ => None,
        }
    }

    fn unsupported_field(&self, label: &str) -> String {
        format!("field label not supported: {label}")
    }

    fn cells(&self, object: &Object, now: Timestamp) -> Vec<Value> {
        let info = |field| object.text(&["status", "nodeInfo", field]).unwrap_or_default();
        let known = |text: &str| if text.is_empty() { "<unknown>".to_owned() } else { text.to_owned() };
        let kernel = match (info("kernelVersion"), info("architecture")) {
            ("", _) => "<unknown>".to_owned(),
            (kernel, "") => kernel.to_owned(),
            (kernel, architecture) => format!("{kernel} ({architecture})"),
        };
        vec![
            object.name().into(),
            status_cell(object).into(),
            roles(object).into(),
            age(object, now).into(),
            info("kubeletVersion").into(),
            address(object, "InternalIP").into(),
            address(object, "ExternalIP").into(),
            known(info("osImage")).into(),
            kernel.into(),
            known(info("containerRuntimeVersion")).into(),
        ]
    }
}

/// Taints are complete, and each key has each effect once.
fn validate_taints(new: &Object, errors: &mut FieldErrors) {
    let mut seen = Vec::new();
    let taints = new.get(&["spec", "taints"]).and_then(Value::as_array);
    for (index, taint) in taints.into_iter().flatten().enumerate() {
        let path = Path::new("spec.taints").index(index);
        let text = |field: &str| taint[field].as_str().unwrap_or_default();
        for violation in name::validate_qualified_name(text("key")) {
            errors.invalid(&path.child("key"), text("key"), &violation);
        }
        let violations = name::validate_label_value(text("value"));
        if !violations.is_empty() {
            errors.invalid(&path.child("value"), text("value"), &violations.join(";"));
        }
        match text("effect") {
            "" => errors.required(&path.child("effect"), ""),
            effect if EFFECTS.contains(&effect) => {}
            effect => errors.not_supported(&path.child("effect"), effect, &EFFECTS),
        }
        let pair = (text("key"), text("effect"));
        if seen.contains(&pair) {
            errors.duplicate(&path, taint.clone());
        }
        seen.push(pair);
    }
}

fn is_cordoned(object: &Object) -> bool {
    object.get(&["spec", "unschedulable"]) == Some(&Value::Bool(true))
}

fn status_cell(object: &Object) -> String {
    let conditions = object.get(&["status", "conditions"]).and_then(Value::as_array);
    let ready = conditions.into_iter().flatten().find(|condition| condition["type"] == "Ready");
    let status = match ready {
        Some(condition) if condition["status"] == "True" => "Ready",
        Some(_) => "NotReady",
        None => "Unknown",
    };
    if is_cordoned(object) { format!("{status},SchedulingDisabled") } else { status.to_owned() }
}

fn roles(object: &Object) -> String {
    let labels = object.get(&["metadata", "labels"]).and_then(Value::as_object);
    let mut roles = labels
        .into_iter()
        .flatten()
        .filter_map(|(key, value)| match key.strip_prefix("node-role.kubernetes.io/") {
            Some(role) => Some(role),
            None if key == "kubernetes.io/role" => value.as_str(),
            None => None,
        })
        .filter(|role| !role.is_empty())
        .collect::<Vec<_>>();
    roles.sort_unstable();
    roles.dedup();
    if roles.is_empty() { "<none>".to_owned() } else { roles.join(",") }
}

fn address<'a>(object: &'a Object, kind: &str) -> &'a str {
    let addresses = object.get(&["status", "addresses"]).and_then(Value::as_array);
    addresses
        .into_iter()
        .flatten()
        .find(|address| address["type"] == kind)
        .and_then(|address| address["address"].as_str())
        .unwrap_or("<none>")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kind::testing::{Story, check_cells};

    const KIND: Story = Story { plural: "nodes", group: "" };

    fn node() -> Value {
        json!({
            "metadata": {"name": "box", "labels": {"node-role.kubernetes.io/worker": "", "kubernetes.io/role": "all"}},
            "spec": {"unschedulable": true, "providerID": "jobd://box"},
            "status": {
                "addresses": [{"type": "InternalIP", "address": "10.0.0.1"}, {"type": "Hostname", "address": "box"}],
                "conditions": [{"type": "Ready", "status": "True"}],
                "nodeInfo": {"kubeletVersion": "v1.36.0", "osImage": "Debian", "kernelVersion": "6.1", "architecture": "amd64"},
            },
        })
    }

    #[test]
    fn cells_tell_what_the_machine_is() {
        let object = KIND.creates(node());
        check_cells(
            &NodeRules,
            &object,
            json!([
                "box",
                "Ready,SchedulingDisabled",
                "all,worker",
                "5m",
                "v1.36.0",
                "10.0.0.1",
                "<none>",
                "Debian",
                "6.1 (amd64)",
                "<unknown>"
            ]),
        );
        let bare = KIND.creates(json!({"metadata": {"name": "box"}}));
        check_cells(
            &NodeRules,
            &bare,
            json!(["box", "Unknown", "<none>", "5m", "", "<none>", "<none>", "<unknown>", "<unknown>", "<unknown>"]),
        );
        assert_eq!(NodeRules.field(&object, "spec.unschedulable").as_deref(), Some("true"));
        assert_eq!(NodeRules.field(&bare, "spec.unschedulable").as_deref(), Some("false"));
        assert_eq!(NodeRules.field(&bare, "metadata.namespace"), None);
    }

    #[test]
    fn w190_clients_uncordon_and_taint_but_do_not_move_the_node() {
        let new = KIND.updates(
            &node(),
            json!({"metadata": {"name": "box"}, "spec": {"unschedulable": false, "providerID": "jobd://box"}}),
        );
        assert_eq!(new.get(&["spec"]), Some(&json!({"providerID": "jobd://box"})));
        KIND.refuses_update(
            &node(),
            json!({"metadata": {"name": "box"}, "spec": {"taints": [
                {"key": "a", "effect": "NoSchedule"}, {"key": "a", "effect": "NoSchedule"}, {"key": "b", "effect": "Never"}, {"key": "c"},
            ]}}),
            &[
                "spec.taints[1]: Duplicate value: {\"effect\":\"NoSchedule\",\"key\":\"a\"}",
                "spec.taints[2].effect: Unsupported value: \"Never\": supported values: \"NoSchedule\", \"PreferNoSchedule\", \"NoExecute\"",
                "spec.taints[3].effect: Required value",
                "spec.providerID: Forbidden: node updates may not change providerID except from \"\" to valid",
            ],
        );
    }
}
