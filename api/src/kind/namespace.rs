//! Namespaces: their label, their finalizer and their phase (W-185, W-111).

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::{
    field::{FieldErrors, Path},
    kind::{Rules, age},
    meta::{self, FINALIZER_NAMESPACE},
    name,
    object::Object,
    status::Status,
    write::{self, Context, Part},
};

const NAME_LABEL: &str = "kubernetes.io/metadata.name";

/// The rules of this kind.
pub struct NamespaceRules;

impl Rules for NamespaceRules {
    fn prepare(&self, new: &mut Object, old: Option<(&Object, Part)>, _: &mut Context<'_>) -> Result<(), Status> {
        let name = new.name().to_owned();
        let labels = new.metadata_mut().entry("labels").or_insert_with(|| json!({}));
        if !labels.is_object() {
            *labels = json!({});
        }
        labels[NAME_LABEL] = name.into();
        match old {
            None => {
                let mut finalizers = spec_finalizers(new).map(str::to_owned).collect::<Vec<_>>();
                if !finalizers.iter().any(|one| one == FINALIZER_NAMESPACE) {
                    finalizers.push(FINALIZER_NAMESPACE.to_owned());
                }
                new.0.insert("spec".to_owned(), json!({"finalizers": finalizers}));
                new.0.insert("status".to_owned(), json!({"phase": "Active"}));
            }
            // Only `finalize` changes the spec.
            Some((old, Part::Main | Part::Status)) => {
                match old.0.get("spec") {
                    Some(spec) => new.0.insert("spec".to_owned(), spec.clone()),
                    None => new.0.remove("spec"),
                };
            }
        }
        Ok(())
    }

    fn validate(&self, new: &Object, old: Option<(&Object, Part)>) -> FieldErrors {
        let mut errors = FieldErrors::default();
        let finalizers = spec_finalizers(new).map(str::to_owned).collect::<Vec<_>>();
        meta::validate_finalizers(&finalizers, &Path::new("spec.finalizers"), &mut errors);
        if let Some((_, Part::Status)) = old {
            let (path, phase) = (Path::new("status.phase"), phase(new));
            if write::is_deleting(new) {
                if phase != "Terminating" {
                    errors.invalid(&path, phase, "may only be 'Terminating' if `deletionTimestamp` is not empty");
                }
            } else if phase != "Active" {
                errors.invalid(&path, phase, "may only be 'Active' if `deletionTimestamp` is empty");
            }
        }
        errors
    }

    fn validate_name(&self, name: &str) -> Vec<String> {
        name::validate_label(name)
    }

    fn has_content(&self, object: &Object) -> bool {
        spec_finalizers(object).next().is_some()
    }

    fn field(&self, object: &Object, label: &str) -> Option<String> {
        match label {
            "metadata.name" | "name" => Some(object.name().to_owned()),
            "status.phase" => Some(phase(object).to_owned()),
            _ => None,
        }
    }

    fn unsupported_field(&self, label: &str) -> String {
        format!("field label not supported: {label}")
    }

    fn cells(&self, object: &Object, now: Timestamp) -> Vec<Value> {
        vec![object.name().into(), phase(object).into(), age(object, now).into()]
    }
}

fn phase(object: &Object) -> &str {
    object.text(&["status", "phase"]).unwrap_or_default()
}

fn spec_finalizers(object: &Object) -> impl Iterator<Item = &str> {
    let list = object.get(&["spec", "finalizers"]).and_then(Value::as_array);
    list.into_iter().flatten().filter_map(Value::as_str)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kind::testing::{Story, check_cells};

    const KIND: Story = Story { plural: "namespaces", group: "" };

    #[test]
    fn w185_a_new_namespace_is_active_labelled_and_held() {
        let object = KIND.creates(json!({"metadata": {"name": "a"}, "status": {"phase": "Terminating"}}));
        assert_eq!(object.label(NAME_LABEL), Some("a"));
        assert_eq!(object.get(&["spec"]), Some(&json!({"finalizers": ["kubernetes"]})));
        assert_eq!(object.get(&["status"]), Some(&json!({"phase": "Active"})));
        assert_eq!(object.get(&["metadata", "generation"]), None);
        check_cells(&NamespaceRules, &object, json!(["a", "Active", "5m"]));
    }

    #[test]
    fn w55_names_are_labels() {
        KIND.refuses(
            json!({"metadata": {"name": "a.b"}}),
            &["metadata.name: Invalid value: \"a.b\": must not contain dots"],
        );
    }

    #[test]
    fn updates_keep_the_spec_and_the_label() {
        let new = KIND.updates(
            &json!({"metadata": {"name": "a"}}),
            json!({"metadata": {"name": "a", "labels": {"l": "1", "kubernetes.io/metadata.name": "x"}}, "spec": {"finalizers": []}}),
        );
        assert_eq!(new.get(&["metadata", "labels"]), Some(&json!({"l": "1", "kubernetes.io/metadata.name": "a"})));
        assert_eq!(new.get(&["spec"]), Some(&json!({"finalizers": ["kubernetes"]})));
    }

    #[test]
    fn the_phase_follows_the_deletion() {
        KIND.refuses_status(
            &json!({"metadata": {"name": "a"}}),
            json!({"metadata": {"name": "a"}, "status": {"phase": "Terminating"}}),
            &["status.phase: Invalid value: \"Terminating\": may only be 'Active' if `deletionTimestamp` is empty"],
        );
    }
}
