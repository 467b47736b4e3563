//! Config maps: keys and size of their data, what `immutable` forbids (W-58, W-186).

use jiff::Timestamp;
use serde_json::{Map, Value};

use crate::{
    field::{FieldErrors, Path},
    kind::{Rules, age, drop_empty, metadata_field},
    name,
    object::Object,
    status::Status,
    write::{Context, Part},
};

/// Bytes of all values together; config maps and secrets alike.
pub(crate) const DATA_MAX: usize = 1024 * 1024;

pub(crate) const IMMUTABLE: &str = "field is immutable when `immutable` is set";

/// The rules of this kind.
pub struct ConfigMapRules;

impl Rules for ConfigMapRules {
    fn prepare(&self, new: &mut Object, _old: Option<(&Object, Part)>, _: &mut Context<'_>) -> Result<(), Status> {
        drop_empty(new, &["data", "binaryData"]);
        Ok(())
    }

    fn validate(&self, new: &Object, old: Option<(&Object, Part)>) -> FieldErrors {
        let mut errors = FieldErrors::default();
        if let Some((old, _)) = old {
            validate_immutable(new, old, &["data", "binaryData"], &mut errors);
        }
        let (data, binary) = (map(new, "data"), map(new, "binaryData"));
        let mut size = 0;
        for (field, this, other) in [("data", data, binary), ("binaryData", binary, data)] {
            for (key, value) in this.into_iter().flatten() {
                let path = Path::new(field).key(key);
                for text in name::validate_config_key(key) {
                    errors.invalid(&path, key.as_str(), &text);
                }
                if other.is_some_and(|other| other.contains_key(key)) && field == "data" {
                    errors.invalid(&path, key.as_str(), "duplicate of key present in binaryData");
                }
                let text = value.as_str().unwrap_or_default();
                size += if field == "data" { text.len() } else { decoded_len(text) };
            }
        }
        if size > DATA_MAX {
            // The whole object is meant; its path prints as empty brackets.
            errors.too_long(&Path::new("[]"), DATA_MAX);
        }
        errors
    }

    fn field(&self, object: &Object, label: &str) -> Option<String> {
        metadata_field(object, label)
    }

    fn cells(&self, object: &Object, now: Timestamp) -> Vec<Value> {
        let count = |field| map(object, field).map_or(0, Map::len);
        vec![object.name().into(), (count("data") + count("binaryData")).into(), age(object, now).into()]
    }
}

/// What an object that was made immutable may not change: that, and these fields.
pub(crate) fn validate_immutable(new: &Object, old: &Object, fields: &[&str], errors: &mut FieldErrors) {
    if old.get(&["immutable"]) != Some(&Value::Bool(true)) {
        return;
    }
    if new.get(&["immutable"]) != Some(&Value::Bool(true)) {
        errors.forbidden(&Path::new("immutable"), IMMUTABLE);
    }
    for field in fields {
        if new.get(&[field]) != old.get(&[field]) {
            errors.forbidden(&Path::new(*field), IMMUTABLE);
        }
    }
}

pub(crate) fn map<'a>(object: &'a Object, field: &str) -> Option<&'a Map<String, Value>> {
    object.get(&[field]).and_then(Value::as_object)
}

/// How many bytes a base64 text stands for.
pub(crate) fn decoded_len(text: &str) -> usize {
    text.trim_end_matches('=').len() * 3 / 4
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::kind::testing::{Story, check_cells};

    const KIND: Story = Story { plural: "configmaps", group: "" };

    #[test]
    fn w58_keys_and_size_are_checked() {
        KIND.creates(json!({"metadata": {"name": "a"}, "data": {"k": "v"}, "binaryData": {"b": "AA=="}}));
        KIND.refuses(
            json!({"metadata": {"name": "a"}, "data": {"a": "", "..x": ""}, "binaryData": {"a": "AA=="}}),
            &[
                "data[..x]: Invalid value: \"..x\": must not start with '..'",
                "data[a]: Invalid value: \"a\": duplicate of key present in binaryData",
            ],
        );
        let key = "a/b";
        KIND.refuses(
            json!({"metadata": {"name": "a"}, "data": {key: ""}}),
            &["data[a/b]: Invalid value: \"a/b\": a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or 'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')"],
        );
        KIND.creates(json!({"metadata": {"name": "a"}, "data": {"k": "v".repeat(DATA_MAX)}}));
        KIND.refuses(
            json!({"metadata": {"name": "a"}, "data": {"k": "v".repeat(DATA_MAX + 1)}}),
            &["[]: Too long: may not be more than 1048576 bytes"],
        );
    }

    #[test]
    fn w75_immutable_data_stays() {
        let old = json!({"metadata": {"name": "a"}, "immutable": true, "data": {"k": "v"}});
        KIND.updates(
            &old,
            json!({"metadata": {"name": "a", "labels": {"l": "1"}}, "immutable": true, "data": {"k": "v"}}),
        );
        KIND.refuses_update(
            &old,
            json!({"metadata": {"name": "a"}, "binaryData": {"k": "AA=="}}),
            &[
                "immutable: Forbidden: field is immutable when `immutable` is set",
                "data: Forbidden: field is immutable when `immutable` is set",
                "binaryData: Forbidden: field is immutable when `immutable` is set",
            ],
        );
    }

    #[test]
    fn cells_count_keys() {
        let object = KIND.creates(json!({"metadata": {"name": "a"}, "data": {"k": "v"}, "binaryData": {"b": "AA=="}}));
        check_cells(&ConfigMapRules, &object, json!(["a", 2, "5m"]));
    }
}
