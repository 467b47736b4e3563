//! `metadata`, which all kinds share: its normal form and its rules (W-49, W-53 to W-57, J-508).
//!
//! What a kind adds (the name's rule) it says through [`Rules`]; nothing else of a kind is known here.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use serde_json::{Map, Value, json};

use crate::{
    field::{FieldErrors, Path},
    kind::Rules,
    name,
};

/// Keys and values of all annotations together.
const ANNOTATIONS_MAX: usize = 256 * 1024;

/// Waits until the dependents that block the deletion are gone (J-2004).
pub const FINALIZER_FOREGROUND: &str = "foregroundDeletion";
/// Waits until the dependents were set free (J-2005).
pub const FINALIZER_ORPHAN: &str = "orphan";
/// A namespace that still has content (W-185).
pub const FINALIZER_NAMESPACE: &str = "kubernetes";

/// The finalizers that need no domain before them.
const STANDARD_FINALIZERS: [&str; 3] = [FINALIZER_NAMESPACE, FINALIZER_ORPHAN, FINALIZER_FOREGROUND];

/// What the server alone decides once an object is there; a client's values are ignored (W-52).
const SYSTEM_FIELDS: [&str; 7] =
    ["name", "namespace", "uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds", "generation"];

/// Brings metadata into its stored form: no managed fields (W-85), nothing empty.
pub(crate) fn clean(metadata: &mut Map<String, Value>) {
    metadata.remove("managedFields");
    metadata.remove("selfLink");
    metadata.retain(|_, value| match value {
        Value::Null => false,
        Value::String(text) => !text.is_empty(),
        Value::Array(items) => !items.is_empty(),
        Value::Object(map) => !map.is_empty(),
        Value::Bool(_) | Value::Number(_) => true,
    });
}

/// Puts the stored system fields over what an update says about them.
pub(crate) fn restore_system_fields(metadata: &mut Map<String, Value>, old: &Map<String, Value>) {
    for field in SYSTEM_FIELDS {
        match old.get(field) {
            Some(value) => metadata.insert(field.to_owned(), value.clone()),
            None => metadata.remove(field),
        };
    }
}

/// The faults of a new object's metadata.
pub(crate) fn validate_create(rules: &dyn Rules, metadata: &ObjectMeta) -> FieldErrors {
    let path = Path::new("metadata");
    let mut errors = FieldErrors::default();
    if let Some(base) = metadata.generate_name.as_deref().filter(|base| !base.is_empty()) {
        for text in rules.validate_name(&name::mask_trailing_dash(base)) {
            errors.invalid(&path.child("generateName"), base, &text);
        }
    }
    match metadata.name.as_deref().unwrap_or_default() {
        // W-54
        "" => errors.required(&path.child("name"), "name or generateName is required"),
        name => {
            for text in rules.validate_name(name) {
                errors.invalid(&path.child("name"), name, &text);
            }
        }
    }
    validate_common(metadata, &path, &mut errors);
    errors
}

/// The faults of an updated object's metadata, system fields restored.
pub(crate) fn validate_update(metadata: &ObjectMeta, old: &ObjectMeta) -> FieldErrors {
    let path = Path::new("metadata");
    let mut errors = FieldErrors::default();
    // J-508: else a deletion might never end.
    if old.deletion_timestamp.is_some() {
        let known = old.finalizers.as_deref().unwrap_or_default();
        let mut added = metadata.finalizers.iter().flatten().filter(|one| !known.contains(one)).collect::<Vec<_>>();
        added.sort();
        added.dedup();
        if !added.is_empty() {
            let list = added.iter().map(|finalizer| format!("{finalizer:?}")).collect::<Vec<_>>().join(", ");
            errors.forbidden(
                &path.child("finalizers"),
                &format!(
                    "no new finalizers can be added if the object is being deleted, found new finalizers []string{{{list}}}"
                ),
            );
        }
    }
    validate_common(metadata, &path, &mut errors);
    errors
}

fn validate_common(metadata: &ObjectMeta, path: &Path, errors: &mut FieldErrors) {
    validate_labels_and_annotations(metadata, path, errors);
    validate_owners(metadata.owner_references.as_deref().unwrap_or_default(), &path.child("ownerReferences"), errors);
    validate_finalizers(metadata.finalizers.as_deref().unwrap_or_default(), &path.child("finalizers"), errors);
}

/// What an object's metadata and a template's have in common (W-57).
pub(crate) fn validate_labels_and_annotations(metadata: &ObjectMeta, path: &Path, errors: &mut FieldErrors) {
    let labels = path.child("labels");
    for (key, value) in metadata.labels.iter().flatten() {
        for text in name::validate_qualified_name(key) {
            errors.invalid(&labels, key.as_str(), &text);
        }
        for text in name::validate_label_value(value) {
            errors.invalid(&labels, value.as_str(), &text);
        }
    }
    let annotations = path.child("annotations");
    let mut size = 0;
    for (key, value) in metadata.annotations.iter().flatten() {
        // The rule for labels, but capitals are legal in the prefix.
        for text in name::validate_qualified_name(&key.to_lowercase()) {
            errors.invalid(&annotations, key.as_str(), &text);
        }
        size += key.len() + value.len();
    }
    if size > ANNOTATIONS_MAX {
        errors.too_long(&annotations, ANNOTATIONS_MAX);
    }
}

fn validate_owners(owners: &[OwnerReference], path: &Path, errors: &mut FieldErrors) {
    let mut controller: Option<String> = None;
    for owner in owners {
        let version = owner.api_version.split_once('/').map_or(owner.api_version.as_str(), |(_, version)| version);
        if version.is_empty() {
            errors.invalid(&path.child("apiVersion"), owner.api_version.as_str(), "version must not be empty");
        }
        for (field, value) in [("kind", &owner.kind), ("name", &owner.name), ("uid", &owner.uid)] {
            if value.is_empty() {
                errors.invalid(&path.child(field), value.as_str(), "must not be empty");
            }
        }
        if owner.api_version == "v1" && owner.kind == "Event" {
            errors.invalid(path, json!(owner), "/v1, Kind=Event is disallowed from being an owner");
        }
        if owner.controller == Some(true) {
            let this = format!("{}/{}", owner.kind, owner.name);
            match &controller {
                Some(first) => errors.invalid(
                    path,
                    json!(owners),
                    &format!(
                        "Only one reference can have Controller set to true. Found \"true\" in references for {first} and {this}"
                    ),
                ),
                None => controller = Some(this),
            }
        }
    }
}

/// The faults of a list of finalizers.
pub(crate) fn validate_finalizers(finalizers: &[String], path: &Path, errors: &mut FieldErrors) {
    for finalizer in finalizers {
        for text in name::validate_qualified_name(finalizer) {
            errors.invalid(path, finalizer.as_str(), &text);
        }
    }
    let has = |finalizer: &str| finalizers.iter().any(|one| one == finalizer);
    if has(FINALIZER_ORPHAN) && has(FINALIZER_FOREGROUND) {
        errors.invalid(
            path,
            json!(finalizers),
            &format!("finalizer {FINALIZER_ORPHAN} and {FINALIZER_FOREGROUND} cannot be both set"),
        );
    }
    for (index, finalizer) in finalizers.iter().enumerate() {
        if !finalizer.contains('/') && !STANDARD_FINALIZERS.contains(&finalizer.as_str()) {
            errors.invalid(
                &path.index(index),
                finalizer.as_str(),
                "name is neither a standard finalizer name nor is it fully qualified",
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kind::config_map::ConfigMapRules;
    use serde::Deserialize as _;

    fn texts(errors: &FieldErrors) -> Vec<String> {
        errors.0.iter().map(|error| format!("{}: {}", error.field, error.body)).collect()
    }

    #[track_caller]
    fn create(metadata: Value, want: &[&str]) {
        let metadata = ObjectMeta::deserialize(&metadata).unwrap();
        assert_eq!(texts(&validate_create(&ConfigMapRules, &metadata)), want);
    }

    fn owner(name: &str, controller: bool) -> Value {
        json!({"apiVersion": "batch/v1", "kind": "Job", "name": name, "uid": "u", "controller": controller})
    }

    #[test]
    fn w54_a_name_is_required() {
        create(json!({}), &["metadata.name: Required value: name or generateName is required"]);
    }

    #[test]
    fn w55_bad_names_are_told_for_base_and_name() {
        let metadata = ObjectMeta::deserialize(&json!({"generateName": "AB-", "name": "AB-bcdfg"})).unwrap();
        let texts = texts(&validate_create(&ConfigMapRules, &metadata));
        assert!(texts[0].starts_with("metadata.generateName: Invalid value: \"AB-\": a lowercase RFC 1123 subdomain"));
        assert!(texts[1].starts_with("metadata.name: Invalid value: \"AB-bcdfg\": a lowercase RFC 1123 subdomain"));
        assert_eq!(texts.len(), 2);
        create(json!({"generateName": "a-", "name": "a-bcdfg"}), &[]);
    }

    #[test]
    fn w57_labels_and_annotations() {
        create(json!({"name": "a", "labels": {"a/b": "c"}, "annotations": {"Example.COM/x": "any thing"}}), &[]);
        let long = "x".repeat(64);
        create(
            json!({"name": "a", "labels": {"b": long}, "annotations": {"c": "y".repeat(262_144)}}),
            &[
                &format!("metadata.labels: Invalid value: \"{long}\": must be no more than 63 bytes"),
                "metadata.annotations: Too long: may not be more than 262144 bytes",
            ],
        );
    }

    #[test]
    fn owner_references_are_complete_and_have_one_controller() {
        create(json!({"name": "a", "ownerReferences": [owner("x", true), owner("y", false)]}), &[]);
        create(
            json!({"name": "a", "ownerReferences": [{"apiVersion": "batch/", "kind": "", "name": "", "uid": ""}]}),
            &[
                "metadata.ownerReferences.apiVersion: Invalid value: \"batch/\": version must not be empty",
                "metadata.ownerReferences.kind: Invalid value: \"\": must not be empty",
                "metadata.ownerReferences.name: Invalid value: \"\": must not be empty",
                "metadata.ownerReferences.uid: Invalid value: \"\": must not be empty",
            ],
        );
        let metadata =
            ObjectMeta::deserialize(&json!({"name": "a", "ownerReferences": [owner("x", true), owner("y", true)]}))
                .unwrap();
        let texts = texts(&validate_create(&ConfigMapRules, &metadata));
        assert!(texts[0].ends_with(
            "Only one reference can have Controller set to true. Found \"true\" in references for Job/x and Job/y"
        ));
    }

    #[test]
    fn finalizers_are_qualified() {
        create(json!({"name": "a", "finalizers": ["a/b", "orphan"]}), &[]);
        create(
            json!({"name": "a", "finalizers": ["mine"]}),
            &[
                "metadata.finalizers[0]: Invalid value: \"mine\": name is neither a standard finalizer name nor is it fully qualified",
            ],
        );
        create(
            json!({"name": "a", "finalizers": ["orphan", "foregroundDeletion"]}),
            &[
                "metadata.finalizers: Invalid value: [\"orphan\",\"foregroundDeletion\"]: finalizer orphan and foregroundDeletion cannot be both set",
            ],
        );
    }

    #[test]
    fn j508_no_new_finalizers_on_a_deleted_object() {
        let old = json!({"name": "a", "finalizers": ["a/b"], "deletionTimestamp": "2026-11-20T20:57:11Z"});
        let old = ObjectMeta::deserialize(&old).unwrap();
        let new = |finalizers: &[&str]| ObjectMeta {
            finalizers: Some(finalizers.iter().map(|one| (*one).to_owned()).collect()),
            ..old.clone()
        };
        assert!(validate_update(&new(&[]), &old).is_empty());
        assert_eq!(
            texts(&validate_update(&new(&["a/b", "d/e", "a/c"]), &old)),
            [
                "metadata.finalizers: Forbidden: no new finalizers can be added if the object is being deleted, found new finalizers []string{\"a/c\", \"d/e\"}"
            ]
        );
        let alive = ObjectMeta { deletion_timestamp: None, ..old.clone() };
        assert!(validate_update(&new(&["a/c"]), &alive).is_empty());
    }
}
