//! Server-side printing: Table objects, their columns and rows (W-147 to W-149, section 4 of the wire rules).

use std::borrow::Cow;

use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::{object::Object, registry::Resource, schema};

/// What a row embeds of its object (`includeObject`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum IncludeObject {
    None,
    #[default]
    Metadata,
    Object,
}

/// `columnDefinitions` of a resource, all of them, priority 1 included (W-147).
#[must_use]
pub fn columns(resource: &Resource) -> Value {
    let definition = |column: &schema::Column| {
        json!({
            "name": column.name, "type": column.column_type, "format": column.format,
            "description": "", "priority": column.priority,
        })
    };
    schema::columns(resource.group, resource.version, resource.kind).iter().map(definition).collect()
}

/// One row. Borrows from its object: a table has many.
#[derive(Clone, Debug, Serialize)]
pub struct Row<'a> {
    cells: Vec<Value>,
    object: Embedded<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    conditions: Option<Value>,
}

/// What a row embeds.
#[derive(Clone, Debug, Serialize)]
#[serde(untagged)]
enum Embedded<'a> {
    None,
    #[serde(rename_all = "camelCase")]
    Metadata {
        kind: &'static str,
        api_version: &'static str,
        metadata: Cow<'a, Value>,
    },
    Object(&'a Map<String, Value>),
}

/// One row. `object` carries its resourceVersion.
#[must_use]
pub fn row<'a>(resource: &Resource, object: &'a Object, include: IncludeObject, now: Timestamp) -> Row<'a> {
    let embedded = match include {
        IncludeObject::None => Embedded::None,
        IncludeObject::Metadata => Embedded::Metadata {
            kind: "PartialObjectMetadata",
            api_version: "meta.k8s.io/v1",
            metadata: object.0.get("metadata").map_or_else(|| Cow::Owned(json!({})), Cow::Borrowed),
        },
        IncludeObject::Object => Embedded::Object(&object.0),
    };
    let conditions = resource.rules.row_conditions(object);
    Row { cells: resource.rules.cells(object, now), object: embedded, conditions }
}

/// One row of a stored body as JSON text, without reading all of the body; none where the kind or what is embedded needs it whole.
/// `metadata` is the text of the object's metadata, resourceVersion included.
#[must_use]
pub fn row_of_body(
    resource: &Resource,
    body: &str,
    metadata: &str,
    include: IncludeObject,
    now: Timestamp,
) -> Option<String> {
    let object = match include {
        IncludeObject::None => "null".to_owned(),
        IncludeObject::Metadata => {
            format!(r#"{{"kind":"PartialObjectMetadata","apiVersion":"meta.k8s.io/v1","metadata":{metadata}}}"#)
        }
        IncludeObject::Object => return None,
    };
    let cells = Value::Array(resource.rules.cells_of_body(body, now)?);
    Some(format!(r#"{{"cells":{cells},"object":{object}}}"#))
}

/// The PartialObjectMetadata of an object, with its kind and apiVersion `meta.k8s.io/v1`.
#[must_use]
pub fn partial_metadata(object: &Object) -> Value {
    let metadata = object.0.get("metadata").cloned().unwrap_or_else(|| json!({}));
    json!({"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": metadata})
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        kind::testing::{noon, object},
        registry::{self, resources},
    };

    #[test]
    fn w147_every_kind_fills_all_its_columns() {
        for resource in resources() {
            let columns = columns(resource);
            let row = json!(row(resource, &Object::default(), IncludeObject::None, noon()));
            let count = |value: &Value| value.as_array().unwrap().len();
            assert_eq!(count(&row["cells"]), count(&columns), "{}", resource.qualified_plural());
            assert!(count(&columns) > 0);
        }
    }

    #[test]
    fn w149_column_definitions_have_all_keys() {
        let columns = columns(registry::find("", "v1", "nodes").unwrap());
        assert_eq!(
            columns[0],
            json!({"name": "Name", "type": "string", "format": "name", "description": "", "priority": 0})
        );
        assert_eq!(
            columns[7],
            json!({"name": "OS-Image", "type": "string", "format": "", "description": "", "priority": 1})
        );
    }

    #[test]
    fn w148_a_row_of_a_body_is_the_row_of_its_object() {
        let resource = registry::find("batch", "v1", "jobs").unwrap();
        let job = object(json!({
            "kind": "Job", "apiVersion": "batch/v1", "spec": {"completions": 3},
            "metadata": {"name": "a \"b\"", "creationTimestamp": "2026-11-20T20:59:30Z", "resourceVersion": "7"},
        }));
        let (body, metadata) = (Value::Object(job.0.clone()).to_string(), job.0["metadata"].to_string());
        for include in [IncludeObject::None, IncludeObject::Metadata] {
            let text = row_of_body(resource, &body, &metadata, include, noon()).unwrap();
            let want = json!(row(resource, &job, include, noon()));
            assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), want);
        }
        assert_eq!(row_of_body(resource, &body, &metadata, IncludeObject::Object, noon()), None);
        assert_eq!(row_of_body(resource, "[", &metadata, IncludeObject::None, noon()), None);
        let other = registry::find("", "v1", "configmaps").unwrap();
        assert_eq!(row_of_body(other, &body, &metadata, IncludeObject::None, noon()), None);
    }

    #[test]
    fn w148_rows_embed_what_was_asked_for() {
        let resource = registry::find("", "v1", "configmaps").unwrap();
        let config_map = object(json!({
            "kind": "ConfigMap", "apiVersion": "v1", "data": {"k": "v"},
            "metadata": {"name": "a", "namespace": "n", "creationTimestamp": "2026-11-20T20:59:30Z", "resourceVersion": "7"},
        }));
        let embedded = |include| json!(row(resource, &config_map, include, noon()));
        assert_eq!(
            embedded(IncludeObject::default()),
            json!({"cells": ["a", 1, "30s"], "object": {
                "kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": config_map.0["metadata"],
            }})
        );
        assert_eq!(embedded(IncludeObject::None)["object"], Value::Null);
        assert_eq!(embedded(IncludeObject::Object)["object"], Value::Object(config_map.0.clone()));
    }
}
