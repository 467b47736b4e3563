//! The schemas of a document: each type of the table as OpenAPI v3 writes it, with Kubernetes' extensions.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use crate::{
    discovery,
    schema::{self, Field, Item, ListType, Patch, Scalar, Shape, Type, TypeId, Zero},
};

const REFERENCE: &str = "#/components/schemas/";
const META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.";

/// The names of all schemas that these kinds reach, in order. Kinds that the table does not know have none.
pub(super) fn reached(roots: &[(&str, &str, String)]) -> BTreeSet<&'static str> {
    let mut names = BTreeSet::new();
    let mut open: Vec<TypeId> = roots
        .iter()
        .filter_map(|(group, version, kind)| schema::find_kind(group, version, kind))
        .map(|of| of.id)
        .collect();
    while let Some(id) = open.pop() {
        if !names.insert(id.get().name) {
            continue;
        }
        for field in &id.get().fields {
            let (Shape::One(item) | Shape::List(item) | Shape::Map(item)) = field.shape;
            match item {
                Item::Object(id) => open.push(id),
                Item::Scalar(of) => {
                    names.extend(reference(of));
                }
            }
        }
    }
    names
}

/// The schema with that name: a type of the table, or one of the types whose JSON is a scalar.
pub(super) fn schema(name: &'static str) -> Value {
    match schema::find(name) {
        Some(of) => object(of),
        None => special(name),
    }
}

fn special(name: &str) -> Value {
    match name.rsplit('.').next().unwrap_or_default() {
        "Time" | "MicroTime" => json!({"type": "string", "format": "date-time", "nullable": true}),
        "Duration" => json!({"type": "string"}),
        "Quantity" => json!({"oneOf": [{"type": "string"}, {"type": "number"}]}),
        "IntOrString" => json!({"format": "int-or-string", "oneOf": [{"type": "integer"}, {"type": "string"}]}),
        _ => json!({"type": "object"}),
    }
}

/// The name of a scalar's own schema, if it has one.
fn reference(of: Scalar) -> Option<&'static str> {
    match of {
        Scalar::Time => Some("io.k8s.apimachinery.pkg.apis.meta.v1.Time"),
        Scalar::MicroTime => Some("io.k8s.apimachinery.pkg.apis.meta.v1.MicroTime"),
        Scalar::Duration => Some("io.k8s.apimachinery.pkg.apis.meta.v1.Duration"),
        Scalar::FieldsV1 => Some("io.k8s.apimachinery.pkg.apis.meta.v1.FieldsV1"),
        Scalar::Quantity => Some("io.k8s.apimachinery.pkg.api.resource.Quantity"),
        Scalar::IntOrString => Some("io.k8s.apimachinery.pkg.util.intstr.IntOrString"),
        Scalar::RawExtension => Some("io.k8s.apimachinery.pkg.runtime.RawExtension"),
        Scalar::String
        | Scalar::Int32
        | Scalar::Int64
        | Scalar::Bool
        | Scalar::Double
        | Scalar::Bytes
        | Scalar::Any
        | Scalar::Strings => None,
    }
}

fn object(of: &Type) -> Value {
    let mut schema = Map::new();
    schema.insert("type".to_owned(), json!("object"));
    let properties: Map<String, Value> =
        of.fields.iter().map(|field| (field.name.to_owned(), property(field))).collect();
    if !properties.is_empty() {
        schema.insert("properties".to_owned(), Value::Object(properties));
    }
    let required: Vec<&str> = of.fields.iter().filter(|field| field.required).map(|field| field.name).collect();
    if !required.is_empty() {
        schema.insert("required".to_owned(), json!(required));
    }
    let gvks = gvks(of);
    if !gvks.is_empty() {
        schema.insert("x-kubernetes-group-version-kind".to_owned(), Value::Array(gvks));
    }
    if of.atomic {
        schema.insert("x-kubernetes-map-type".to_owned(), json!("atomic"));
    }
    if let Some(unions) = &of.unions {
        schema.insert("x-kubernetes-unions".to_owned(), (**unions).clone());
    }
    Value::Object(schema)
}

fn gvks(of: &Type) -> Vec<Value> {
    let gvk = |group: &str, version: &str, kind: &str| json!({"group": group, "version": version, "kind": kind});
    let mut list: Vec<Value> = of.gvks.iter().map(|own| gvk(own.group, own.version, own.kind)).collect();
    if of.every_group {
        for (group, version) in discovery::group_versions() {
            let entry = gvk(group, version, of.short_name());
            if !list.contains(&entry) {
                list.push(entry);
            }
        }
    }
    list
}

fn property(field: &Field) -> Value {
    let mut property = match field.shape {
        Shape::One(item) => single(item, field),
        Shape::List(of) => {
            let mut items = item(of);
            if let (Some(notes), Value::Object(items)) = (&field.notes, &mut items)
                && !notes.item_values.is_empty()
            {
                items.insert("enum".to_owned(), json!(notes.item_values));
            }
            Map::from_iter([("type".to_owned(), json!("array")), ("items".to_owned(), items)])
        }
        Shape::Map(of) => {
            Map::from_iter([("type".to_owned(), json!("object")), ("additionalProperties".to_owned(), item(of))])
        }
    };
    let mut add = |name: &str, value: Value| {
        property.insert(name.to_owned(), value);
    };
    if let Some(notes) = &field.notes {
        if let Some(default) = &notes.default {
            add("default", default.clone());
        }
        if !notes.values.is_empty() {
            add("enum", json!(notes.values));
        }
        if !notes.keys.is_empty() {
            add("x-kubernetes-list-map-keys", json!(notes.keys));
        }
    }
    match field.list {
        Some(ListType::Atomic) => add("x-kubernetes-list-type", json!("atomic")),
        Some(ListType::Set) => add("x-kubernetes-list-type", json!("set")),
        Some(ListType::Map) => add("x-kubernetes-list-type", json!("map")),
        None => {}
    }
    match field.map_atomic {
        Some(true) => add("x-kubernetes-map-type", json!("atomic")),
        Some(false) => add("x-kubernetes-map-type", json!("granular")),
        None => {}
    }
    match field.patch {
        Patch::Default => {}
        Patch::Merge => add("x-kubernetes-patch-strategy", json!("merge")),
        Patch::MergeRetainKeys => add("x-kubernetes-patch-strategy", json!("merge,retainKeys")),
        Patch::Replace => add("x-kubernetes-patch-strategy", json!("replace")),
    }
    if let Some(key) = field.patch_key {
        add("x-kubernetes-patch-merge-key", json!(key));
    }
    Value::Object(property)
}

/// A property that is no list or map. A reference stands in `allOf`, since nothing may stand beside a `$ref`.
fn single(of: Item, field: &Field) -> Map<String, Value> {
    let all_of = |name: &str| ("allOf".to_owned(), json!([{"$ref": format!("{REFERENCE}{name}")}]));
    match of {
        Item::Object(id) => {
            let mut property = Map::from_iter([all_of(id.get().name)]);
            match field.zero {
                Zero::Omit | Zero::Keep => {
                    property.insert("default".to_owned(), json!({}));
                }
                Zero::Pointer | Zero::Null => {}
            }
            property
        }
        Item::Scalar(of) => match reference(of) {
            Some(name) => Map::from_iter([all_of(name)]),
            None => scalar(of),
        },
    }
}

/// What a list or map holds.
fn item(of: Item) -> Value {
    match of {
        Item::Object(id) => json!({"$ref": format!("{REFERENCE}{}", id.get().name)}),
        Item::Scalar(of) => match reference(of) {
            Some(name) => json!({"$ref": format!("{REFERENCE}{name}")}),
            None => Value::Object(scalar(of)),
        },
    }
}

fn scalar(of: Scalar) -> Map<String, Value> {
    let typed = |name: &str, format: &str| {
        let mut map = Map::from_iter([("type".to_owned(), json!(name))]);
        if !format.is_empty() {
            map.insert("format".to_owned(), json!(format));
        }
        map
    };
    match of {
        Scalar::String => typed("string", ""),
        Scalar::Int32 => typed("integer", "int32"),
        Scalar::Int64 => typed("integer", "int64"),
        Scalar::Bool => typed("boolean", ""),
        Scalar::Double => typed("number", "double"),
        Scalar::Bytes => typed("string", "byte"),
        Scalar::Strings => {
            Map::from_iter([("type".to_owned(), json!("array")), ("items".to_owned(), json!({"type": "string"}))])
        }
        // The rest has a schema of its own, or none at all.
        Scalar::Any
        | Scalar::Time
        | Scalar::MicroTime
        | Scalar::Duration
        | Scalar::FieldsV1
        | Scalar::Quantity
        | Scalar::IntOrString
        | Scalar::RawExtension => Map::new(),
    }
}

/// A reference to a kind's schema, for the bodies of requests and answers; an empty schema for kinds without a type.
pub(super) fn of_kind(group: &str, version: &str, kind: &str) -> Value {
    schema::find_kind(group, version, kind)
        .map_or_else(|| json!({}), |of| json!({"$ref": format!("{REFERENCE}{}", of.name)}))
}

/// A reference to a type of meta/v1.
pub(super) fn of_meta(name: &str) -> Value {
    json!({"$ref": format!("{REFERENCE}{META}{name}")})
}
