//! Zero values that the API does not show: `hostNetwork: false` and an absent `hostNetwork` are one thing, and are written as one.
//!
//! Which fields are so is in the schema table. Without this, an object would differ from itself after a client's round trip.

use serde_json::{Map, Value};

use crate::{
    object::Object,
    schema::{self, Item, Shape, Type, Zero},
};

/// Takes the zero values out that a Go server would leave out. Of an object whose kind is not in the table nothing is taken.
pub fn omit(object: &mut Object) {
    let (group, version) = object.api_version().rsplit_once('/').unwrap_or(("", object.api_version()));
    if let Some(found) = schema::find_kind(group, version, object.kind()) {
        omit_in(found, &mut object.0);
    }
}

fn omit_in(of: &Type, map: &mut Map<String, Value>) {
    map.retain(|name, value| {
        let Some(field) = of.field(name) else { return true };
        match field.shape {
            Shape::One(item) => omit_item(item, value),
            Shape::List(item) => value.as_array_mut().into_iter().flatten().for_each(|value| omit_item(item, value)),
            Shape::Map(item) => {
                value.as_object_mut().into_iter().flatten().for_each(|(_, value)| omit_item(item, value))
            }
        }
        field.zero != Zero::Omit || !is_zero(field.shape, value)
    });
}

/// What stands in a list or map stays, whatever it is; only what is in it may go.
fn omit_item(item: Item, value: &mut Value) {
    if let (Item::Object(id), Value::Object(map)) = (item, value) {
        omit_in(id.get(), map);
    }
}

fn is_zero(shape: Shape, value: &Value) -> bool {
    match (shape, value) {
        // Structs are never left out by value, only by absence.
        (Shape::One(Item::Object(_)), _) => false,
        (_, Value::Null | Value::Bool(false)) => true,
        (_, Value::Bool(true)) => false,
        (_, Value::Number(number)) => number.as_f64() == Some(0.0),
        (_, Value::String(text)) => text.is_empty(),
        (_, Value::Array(items)) => items.is_empty(),
        (_, Value::Object(map)) => map.is_empty(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn plain_zeros_go_and_those_that_say_something_stay() {
        let mut job = Object(
            json!({
                "apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "j", "labels": {}, "annotations": {"a": ""}},
                "spec": {
                    "parallelism": 0, "suspend": false, "successPolicy": {"rules": [{"succeededIndexes": ""}]},
                    "template": {"metadata": {"labels": {}}, "spec": {
                        "hostNetwork": false, "hostname": "", "nodeSelector": {}, "automountServiceAccountToken": false,
                        "containers": [{"name": "", "tty": false, "env": [{"name": "A", "value": ""}], "args": [], "resources": {"limits": {}}}],
                        "volumes": [{"name": "v", "emptyDir": {"medium": ""}}],
                    }},
                },
                "status": {},
            })
            .as_object()
            .unwrap()
            .clone(),
        );
        omit(&mut job);
        assert_eq!(
            Value::Object(job.0),
            json!({
                "apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "j", "annotations": {"a": ""}},
                "spec": {
                    "parallelism": 0, "suspend": false, "successPolicy": {"rules": [{"succeededIndexes": ""}]},
                    "template": {"metadata": {}, "spec": {
                        "automountServiceAccountToken": false, "containers": [{"name": "", "env": [{"name": "A"}], "resources": {}}],
                        "volumes": [{"name": "v", "emptyDir": {}}],
                    }},
                },
                "status": {},
            })
        );
    }
}
