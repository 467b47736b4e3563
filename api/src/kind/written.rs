//! What the tables of tests need to send objects down the real write path.

use jiff::Timestamp;
use serde_json::Value;

use crate::{
    object::Object,
    registry::{self, Resource},
    status::Status,
    write::{self, Context, Part, Prepared, Random, Updated},
};

/// Always the same bits, so that uids and generated names are stable.
struct Same;

impl Random for Same {
    fn next_u64(&mut self) -> u64 {
        0
    }
}

pub(crate) const UID: &str = "00000000-0000-4000-8000-000000000000";
pub(crate) const NOON: &str = "2026-03-01T12:00:00Z";

pub(crate) fn noon() -> Timestamp {
    NOON.parse().unwrap()
}

pub(crate) fn resource(kind: &str) -> &'static Resource {
    registry::resources().iter().find(|resource| resource.kind == kind).unwrap()
}

/// RFC 7386, enough for tests: objects merge, `null` removes, all else replaces.
pub(crate) fn merge(mut base: Value, patch: &Value) -> Value {
    match (base.as_object_mut(), patch.as_object()) {
        (Some(map), Some(changes)) => {
            for (key, change) in changes {
                let old = map.remove(key).unwrap_or_else(|| serde_json::json!({}));
                if !change.is_null() {
                    let old = if change.is_object() { old } else { Value::Null };
                    map.insert(key.clone(), merge(old, change));
                }
            }
            base
        }
        _ => patch.clone(),
    }
}

pub(crate) fn object(value: &Value) -> Object {
    Object(value.as_object().unwrap().clone())
}

/// `field: body` of each cause, in order.
fn causes(status: &Status) -> Vec<String> {
    assert_eq!(status.code, 422, "{status}");
    let causes = status.details.as_ref().unwrap()["causes"].as_array().unwrap();
    let text = |cause: &Value, key: &str| cause[key].as_str().unwrap_or_default().to_owned();
    causes.iter().map(|cause| format!("{}: {}", text(cause, "field"), text(cause, "message"))).collect()
}

/// Creates in namespace `default`.
pub(crate) fn create(body: &Value) -> Result<Prepared, Vec<String>> {
    let body = object(body);
    let resource = resource(body.kind());
    let mut context = Context { now: noon(), random: &mut Same };
    write::create(resource, "default", body, &mut context).map_err(|status| causes(&status))
}

/// The stored form of what was created.
#[track_caller]
pub(crate) fn created(body: &Value) -> Value {
    Value::Object(create(body).unwrap().object.0)
}

/// Replaces `old`; `None` when nothing changed.
pub(crate) fn update(part: Part, old: &Value, new: &Value) -> Result<Option<Prepared>, Vec<String>> {
    let (old, new) = (object(old), object(new));
    let resource = resource(old.kind());
    let mut context = Context { now: noon(), random: &mut Same };
    match write::update(resource, part, &old, new, &mut context) {
        Ok(Updated::Unchanged { .. }) => Ok(None),
        Ok(Updated::Changed(prepared) | Updated::Gone(prepared)) => Ok(Some(prepared)),
        Err(status) => Err(causes(&status)),
    }
}
