//! Answers in YAML, for who accepts nothing else or that first: the JSON answer, written anew. Watches are JSON only.

use axum::{
    body::Body,
    http::{HeaderValue, StatusCode, header},
    response::Response,
};
use http_body_util::{BodyExt as _, Limited};
use jobd_api::status::Status;
use serde_json::Value;

use super::respond;

/// The longest answer that is written anew: it is held whole, unlike a list in JSON. Who wants more asks for pages.
const BYTES_MAX: usize = 8 * 1024 * 1024;

const YAML: HeaderValue = HeaderValue::from_static("application/yaml");

/// Turns an answer of JSON into one of YAML. A refusal stays what it is (W-9).
pub(crate) async fn rewrite(response: Response) -> Response {
    if response.headers().get(header::CONTENT_TYPE) != Some(&respond::JSON) || response.status().as_u16() >= 400 {
        return response;
    }
    let (mut head, body) = response.into_parts();
    let text = match Limited::new(body, BYTES_MAX).collect().await {
        Ok(whole) => whole.to_bytes(),
        Err(_) => {
            let message = format!(
                "the answer is longer than {BYTES_MAX} bytes; ask for pages with limit, or for application/json"
            );
            return respond::status(&Status::new(StatusCode::NOT_ACCEPTABLE.as_u16(), "NotAcceptable", message));
        }
    };
    let Ok(value) = serde_json::from_slice::<Value>(&text) else { return Response::from_parts(head, Body::from(text)) };
    head.headers.insert(header::CONTENT_TYPE, YAML);
    head.headers.remove(header::CONTENT_LENGTH);
    Response::from_parts(head, Body::from(render(&value)))
}

/// A value as a document in block style, as Kubernetes' own tools write it: lists are not indented below their key.
fn render(value: &Value) -> String {
    let mut text = String::new();
    match value {
        Value::Object(_) | Value::Array(_) if !is_empty(value) => block(value, 0, &mut text),
        Value::Object(_) | Value::Array(_) | Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
            text.push_str(&scalar(value));
            text.push('\n');
        }
    }
    text
}

/// Writes a list or map that is not empty. The cursor is where its first line begins, after the indentation.
fn block(value: &Value, depth: usize, text: &mut String) {
    let indent = "  ".repeat(depth);
    match value {
        Value::Object(map) => {
            for (position, (key, value)) in map.iter().enumerate() {
                if position > 0 {
                    text.push_str(&indent);
                }
                text.push_str(&string(key));
                text.push(':');
                member(value, depth, text);
            }
        }
        Value::Array(items) => {
            for (position, item) in items.iter().enumerate() {
                if position > 0 {
                    text.push_str(&indent);
                }
                text.push_str("- ");
                if is_block(item) {
                    block(item, depth + 1, text);
                } else {
                    text.push_str(&scalar(item));
                    text.push('\n');
                }
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// Writes the value of a key, from just after the colon to the end of its last line.
fn member(value: &Value, depth: usize, text: &mut String) {
    if !is_block(value) {
        text.push(' ');
        text.push_str(&scalar(value));
        text.push('\n');
        return;
    }
    // A list stands at the same depth as its key.
    let depth = if value.is_array() { depth } else { depth + 1 };
    text.push('\n');
    text.push_str(&"  ".repeat(depth));
    block(value, depth, text);
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Object(map) => map.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}

fn is_block(value: &Value) -> bool {
    (value.is_object() || value.is_array()) && !is_empty(value)
}

/// What fits on one line.
fn scalar(value: &Value) -> String {
    match value {
        Value::String(text) => string(text),
        Value::Object(_) => "{}".to_owned(),
        Value::Array(_) => "[]".to_owned(),
        Value::Null | Value::Bool(_) | Value::Number(_) => value.to_string(),
    }
}

/// Plain where nobody could take it for anything but this text, else in quotes: JSON's are YAML's too, but for what YAML cannot print.
fn string(text: &str) -> String {
    if is_plain(text) {
        return text.to_owned();
    }
    let mut quoted = String::with_capacity(text.len() + 2);
    for one in Value::from(text).to_string().chars() {
        match one {
            '\u{7f}'..='\u{9f}' | '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}' => {
                quoted.push_str(&format!("\\u{:04x}", u32::from(one)));
            }
            other => quoted.push(other),
        }
    }
    quoted
}

/// Words that YAML 1.1 reads as something else than text.
const WORDS: [&str; 9] = ["y", "n", "yes", "no", "on", "off", "true", "false", "null"];

fn is_plain(text: &str) -> bool {
    let first = text.chars().next().is_some_and(|first| first.is_ascii_alphabetic() || first == '/');
    let harmless = |one: char| one.is_ascii_alphanumeric() || "_./:@=+-".contains(one);
    first && text.chars().all(harmless) && !text.ends_with(':') && !WORDS.contains(&text.to_ascii_lowercase().as_str())
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};
    use jobd_api::{
        decode::{self, FieldValidation, Format},
        registry,
    };
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn check(value: &Value, want: Expect) {
        want.assert_eq(&render(value));
    }

    #[test]
    fn writes_blocks_as_kubernetes_tools_do() {
        check(
            &json!({
                "apiVersion": "batch/v1", "metadata": {"labels": {"a/b": "1"}, "annotations": {}},
                "spec": {"args": ["sh", "-c", "echo a\nb # c"], "env": [{"name": "A", "value": "yes"}, []], "numbers": [[1, 2], null], "y": true},
            }),
            expect![[r#"
                apiVersion: batch/v1
                metadata:
                  annotations: {}
                  labels:
                    a/b: "1"
                spec:
                  args:
                  - sh
                  - "-c"
                  - "echo a\nb # c"
                  env:
                  - name: A
                    value: "yes"
                  - []
                  numbers:
                  - - 1
                    - 2
                  - null
                  "y": true
            "#]],
        );
        check(&json!({}), expect!["{}\n"]);
    }

    proptest::proptest! {
        /// Whatever a text holds, our own reader reads it back.
        #[test]
        fn is_read_back_as_it_was(texts in proptest::collection::vec("\\PC{0,12}|[a-z:# \n\"'-]{0,8}|true|~|0x1f|1e3|2026-01-01", 0..6)) {
            let resource = registry::find("", "v1", "configmaps").unwrap();
            let data: serde_json::Map<String, Value> =
                texts.iter().enumerate().map(|(at, text)| (format!("k{at}"), json!(text))).collect();
            let object = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": data});
            let decoded = decode::object(resource, Format::Yaml, render(&object).as_bytes(), FieldValidation::Strict).unwrap();
            proptest::prop_assert_eq!(Value::Object(decoded.object.0), object);
        }
    }
}
