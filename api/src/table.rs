//! Server-side printing: Table objects, their columns and rows (W-147 to W-149, section 4 of the wire rules).

use std::{collections::BTreeMap, sync::OnceLock};

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{object::Object, registry::Resource};

/// What a row embeds of its object (`includeObject`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum IncludeObject {
    None,
    #[default]
    Metadata,
    Object,
}

impl IncludeObject {
    /// The value of the `includeObject` parameter; absent and empty mean the default (W-148).
    #[must_use]
    pub fn find(value: &str) -> Option<Self> {
        match value {
            "" | "Metadata" => Some(Self::Metadata),
            "None" => Some(Self::None),
            "Object" => Some(Self::Object),
            _ => None,
        }
    }
}

/// `columnDefinitions` of a resource, all of them, priority 1 included (W-147).
#[must_use]
pub fn columns(resource: &Resource) -> Value {
    let key = format!("{}/{}", resource.api_version(), resource.kind);
    let columns = kinds().get(&key).map(|kind| kind.columns.as_slice()).unwrap_or_default();
    let definition = |column: &Column| {
        json!({
            "name": column.name, "type": column.r#type, "format": column.format,
            "description": "", "priority": column.priority,
        })
    };
    columns.iter().map(definition).collect()
}

/// One row. `object` carries its resourceVersion.
#[must_use]
pub fn row(resource: &Resource, object: &Object, include: IncludeObject, now: Timestamp) -> Value {
    let embedded = match include {
        IncludeObject::None => Value::Null,
        IncludeObject::Metadata => partial_metadata(object),
        IncludeObject::Object => Value::Object(object.0.clone()),
    };
    let mut row = json!({"cells": resource.rules.cells(object, now), "object": embedded});
    if let Some(conditions) = resource.rules.row_conditions(object) {
        row["conditions"] = conditions;
    }
    row
}

/// The PartialObjectMetadata of an object, with its kind and apiVersion `meta.k8s.io/v1`.
#[must_use]
pub fn partial_metadata(object: &Object) -> Value {
    let metadata = object.0.get("metadata").cloned().unwrap_or_else(|| json!({}));
    json!({"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": metadata})
}

/// The part of the schema table that names columns.
#[derive(Deserialize)]
struct Schema {
    kinds: BTreeMap<String, KindColumns>,
}

#[derive(Deserialize)]
struct KindColumns {
    #[serde(default)]
    columns: Vec<Column>,
}

#[derive(Deserialize)]
struct Column {
    name: String,
    r#type: String,
    #[serde(default)]
    format: String,
    #[serde(default)]
    priority: u8,
}

fn kinds() -> &'static BTreeMap<String, KindColumns> {
    static KINDS: OnceLock<BTreeMap<String, KindColumns>> = OnceLock::new();
    KINDS.get_or_init(|| {
        let schema: Schema =
            serde_json::from_str(include_str!("../schema.json")).expect("the schema table is JSON of ours");
        schema.kinds
    })
}
