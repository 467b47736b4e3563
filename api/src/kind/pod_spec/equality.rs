//! Whether two objects mean the same, for the rules about what may not change.

use serde::Serialize;
use serde_json::{Value, json};

/// Equal but for the difference between empty and absent.
pub(crate) fn same(left: &impl Serialize, right: &impl Serialize) -> bool {
    normal(json!(left)) == normal(json!(right))
}

/// Lists and maps that are empty mean the same as absent ones, and so does what a plain field's zero value is.
fn normal(value: Value) -> Value {
    match value {
        Value::Object(map) => {
            let fields = map.into_iter().map(|(key, value)| (key, normal(value)));
            Value::Object(fields.filter(|(key, value)| !is_absent(key, value)).collect())
        }
        Value::Array(items) => Value::Array(items.into_iter().map(normal).collect()),
        other => other,
    }
}

fn is_absent(key: &str, value: &Value) -> bool {
    // Fields of the pod spec whose `false` the API does not show.
    const PLAIN: [&str; 8] =
        ["hostNetwork", "hostPID", "hostIPC", "stdin", "stdinOnce", "tty", "readOnly", "publishNotReadyAddresses"];
    const MAPS: [&str; 7] = ["labels", "annotations", "nodeSelector", "matchLabels", "limits", "requests", "overhead"];
    match value {
        Value::Null => true,
        Value::Array(items) => items.is_empty(),
        Value::Object(map) => map.is_empty() && MAPS.contains(&key),
        Value::Bool(false) => PLAIN.contains(&key),
        Value::Bool(true) | Value::Number(_) | Value::String(_) => false,
    }
}
