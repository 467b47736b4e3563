//! Secrets: `stringData`, types and what each must hold, what `immutable` forbids (W-58, W-75, W-186).

use base64::{DecodeError, Engine as _, engine::general_purpose::STANDARD};
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use crate::{
    field::{FieldErrors, Path},
    kind::{
        Rules, age,
        config_map::{DATA_MAX, decoded_len, map, validate_immutable},
        drop_empty, metadata_field,
    },
    name,
    object::Object,
    status::Status,
    write::{Context, Part},
};

/// The rules of this kind.
pub struct SecretRules;

impl Rules for SecretRules {
    fn prepare(&self, new: &mut Object, _old: Option<(&Object, Part)>, _: &mut Context<'_>) -> Result<(), Status> {
        let mut data = Map::new();
        for (key, value) in map(new, "data").into_iter().flatten() {
            let bytes = decode(value.as_str().unwrap_or_default()).map_err(Status::bad_request)?;
            data.insert(key.clone(), STANDARD.encode(bytes).into());
        }
        // Write-only: it wins over `data` and is never seen again.
        if let Some(Value::Object(texts)) = new.0.remove("stringData") {
            for (key, value) in texts {
                data.insert(key, STANDARD.encode(value.as_str().unwrap_or_default()).into());
            }
        }
        new.0.insert("data".to_owned(), Value::Object(data));
        drop_empty(new, &["data"]);
        if new.text(&["type"]).unwrap_or_default().is_empty() {
            new.0.insert("type".to_owned(), "Opaque".into());
        }
        Ok(())
    }

    fn validate(&self, new: &Object, old: Option<(&Object, Part)>) -> FieldErrors {
        let mut errors = FieldErrors::default();
        if let Some((old, _)) = old {
            if new.get(&["type"]) != old.get(&["type"]) {
                errors.invalid(&Path::new("type"), json!(new.get(&["type"])), "field is immutable");
            }
            validate_immutable(new, old, &["data"], &mut errors);
        }
        let path = Path::new("data");
        let empty = Map::new();
        let data = map(new, "data").unwrap_or(&empty);
        let mut size = 0;
        for (key, value) in data {
            for text in name::validate_config_key(key) {
                errors.invalid(&path.key(key), key.as_str(), &text);
            }
            size += decoded_len(value.as_str().unwrap_or_default());
        }
        if size > DATA_MAX {
            errors.too_long(&path, DATA_MAX);
        }
        validate_type(new, data, &path, &mut errors);
        errors
    }

    fn field(&self, object: &Object, label: &str) -> Option<String> {
        match label {
            "type" => Some(object.text(&["type"]).unwrap_or_default().to_owned()),
            _ => metadata_field(object, label),
        }
    }

    fn unsupported_field(&self, label: &str) -> String {
        format!("field label not supported: {label}")
    }

    fn cells(&self, object: &Object, now: Timestamp) -> Vec<Value> {
        let count = map(object, "data").map_or(0, Map::len);
        vec![
            object.name().into(),
            object.text(&["type"]).unwrap_or_default().into(),
            count.into(),
            age(object, now).into(),
        ]
    }
}

/// What well-known types must hold; other types are the users' own.
fn validate_type(new: &Object, data: &Map<String, Value>, path: &Path, errors: &mut FieldErrors) {
    const ACCOUNT: &str = "kubernetes.io/service-account.name";
    let required = |keys: &[&str], errors: &mut FieldErrors| {
        for key in keys {
            errors.required(&path.key(key), "");
        }
    };
    let has = |key: &str| data.contains_key(key);
    let is_empty = |value: Option<&str>| value.unwrap_or_default().is_empty();
    match new.text(&["type"]).unwrap_or_default() {
        "kubernetes.io/service-account-token" if is_empty(new.text(&["metadata", "annotations", ACCOUNT])) => {
            errors.required(&Path::new("metadata.annotations").key(ACCOUNT), "");
        }
        "kubernetes.io/dockercfg" => validate_json(".dockercfg", data, path, errors),
        "kubernetes.io/dockerconfigjson" => validate_json(".dockerconfigjson", data, path, errors),
        "kubernetes.io/basic-auth" if !has("username") && !has("password") => {
            required(&["username", "password"], errors);
        }
        "kubernetes.io/ssh-auth" if is_empty(data.get("ssh-privatekey").and_then(Value::as_str)) => {
            required(&["ssh-privatekey"], errors);
        }
        "kubernetes.io/tls" => {
            let missing = ["tls.crt", "tls.key"].into_iter().filter(|key| !has(key)).collect::<Vec<_>>();
            required(&missing, errors);
        }
        _ => {}
    }
}

fn validate_json(key: &str, data: &Map<String, Value>, path: &Path, errors: &mut FieldErrors) {
    let Some(value) = data.get(key) else {
        errors.required(&path.key(key), "");
        return;
    };
    let bytes = decode(value.as_str().unwrap_or_default()).unwrap_or_default();
    if let Err(error) = serde_json::from_slice::<Map<String, Value>>(&bytes) {
        // The parser's text could quote the secret; its category cannot.
        let category = format!("{:?}", error.classify()).to_lowercase();
        errors.invalid(
            &path.key(key),
            "<secret contents redacted>",
            &format!("not a JSON object: {category} error at column {}", error.column()),
        );
    }
}

/// Base64 with line breaks, as the API reads it.
fn decode(text: &str) -> Result<Vec<u8>, String> {
    let packed;
    let text = if text.contains(['\r', '\n']) {
        packed = text.replace(['\r', '\n'], "");
        packed.as_str()
    } else {
        text
    };
    STANDARD.decode(text).map_err(|error| {
        let offset = match error {
            DecodeError::InvalidByte(offset, _) | DecodeError::InvalidLastSymbol(offset, _) => offset,
            DecodeError::InvalidLength(_) | DecodeError::InvalidPadding => text.len(),
        };
        format!("illegal base64 data at input byte {offset}")
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kind::testing::{Story, check_cells};

    const KIND: Story = Story { plural: "secrets", group: "" };

    #[test]
    fn w186_string_data_is_merged_and_never_returned() {
        let object = KIND.creates(json!({
            "metadata": {"name": "a"}, "data": {"a": "b2xk", "b": "b2\nxk"}, "stringData": {"a": "new", "c": ""},
        }));
        assert_eq!(object.get(&["data"]), Some(&json!({"a": "bmV3", "b": "b2xk", "c": ""})));
        assert_eq!(object.get(&["stringData"]), None);
        assert_eq!(object.text(&["type"]), Some("Opaque"));
        check_cells(&SecretRules, &object, json!(["a", "Opaque", 3, "5m"]));
    }

    #[test]
    fn w186_bad_base64_is_400() {
        let status = KIND.fails(json!({"metadata": {"name": "a"}, "data": {"a": "*"}}));
        assert_eq!((status.code, status.message.as_str()), (400, "illegal base64 data at input byte 0"));
    }

    #[test]
    fn w75_type_and_immutable_data_stay() {
        let old = json!({"metadata": {"name": "a"}, "type": "x/y", "immutable": true, "data": {"k": "AA=="}});
        KIND.updates(&old, json!({"metadata": {"name": "a", "labels": {"l": "1"}}, "type": "x/y", "immutable": true, "data": {"k": "AA=="}}));
        KIND.refuses_update(
            &old,
            json!({"metadata": {"name": "a"}, "immutable": true, "stringData": {"k": "new"}}),
            &[
                "type: Invalid value: \"Opaque\": field is immutable",
                "data: Forbidden: field is immutable when `immutable` is set",
            ],
        );
    }

    #[test]
    fn well_known_types_must_hold_their_keys() {
        let secret = |kind: &str, data: Value| json!({"metadata": {"name": "a"}, "type": kind, "stringData": data});
        KIND.creates(secret("helm.sh/release.v1", json!({})));
        KIND.creates(secret("kubernetes.io/dockerconfigjson", json!({".dockerconfigjson": "{}"})));
        KIND.creates(secret("kubernetes.io/basic-auth", json!({"username": ""})));
        KIND.refuses(
            secret("kubernetes.io/dockerconfigjson", json!({".dockerconfigjson": "[]"})),
            &["data[.dockerconfigjson]: Invalid value: \"<secret contents redacted>\": not a JSON object: data error at column 0"],
        );
        KIND.refuses(secret("kubernetes.io/dockercfg", json!({})), &["data[.dockercfg]: Required value"]);
        KIND.refuses(
            secret("kubernetes.io/basic-auth", json!({})),
            &["data[username]: Required value", "data[password]: Required value"],
        );
        KIND.refuses(secret("kubernetes.io/ssh-auth", json!({})), &["data[ssh-privatekey]: Required value"]);
        KIND.refuses(secret("kubernetes.io/tls", json!({"tls.crt": ""})), &["data[tls.key]: Required value"]);
        KIND.refuses(
            secret("kubernetes.io/service-account-token", json!({})),
            &["metadata.annotations[kubernetes.io/service-account.name]: Required value"],
        );
    }

    #[test]
    fn w137_selectable_by_type() {
        let object = KIND.creates(json!({"metadata": {"name": "a"}}));
        assert_eq!(SecretRules.field(&object, "type").as_deref(), Some("Opaque"));
        assert_eq!(SecretRules.unsupported_field("zz"), "field label not supported: zz");
    }
}
