//! The paths of a document: which operations a kind has, and what kubectl looks for in them (W-43).
//!
//! Parameters stand inline: a reference to a shared one is not followed by clients.

use serde_json::{Map, Value, json};

use super::schemas;
use crate::{discovery::REVIEWS, registry, registry::Resource};

pub(super) fn paths(group: &str, version: &str) -> Value {
    let root = format!("/{}", super::path_of(group, version));
    let mut paths = Map::new();
    for resource in registry::resources().iter().filter(|r| r.group == group && r.version == version) {
        add_resource(&mut paths, &root, resource);
    }
    for review in REVIEWS.iter().filter(|r| r.group == group && r.version == version) {
        let gvk = gvk(review.group, review.version, review.kind);
        let schema = schemas::of_kind(review.group, review.version, review.kind);
        let mut post = operation("post", &gvk, &[], &schema);
        post["requestBody"] = body(&schema);
        paths.insert(format!("{root}/{}", review.plural), json!({"post": post}));
    }
    Value::Object(paths)
}

fn add_resource(paths: &mut Map<String, Value>, root: &str, resource: &Resource) {
    let Resource { group, version, kind, plural, namespaced, verbs, .. } = *resource;
    let collection =
        if namespaced { format!("{root}/namespaces/{{namespace}}/{plural}") } else { format!("{root}/{plural}") };
    let gvk = gvk(group, version, kind);
    let one = schemas::of_kind(group, version, kind);
    let many = schemas::of_kind(group, version, &format!("{kind}List"));

    let mut on_collection = Map::new();
    let mut on_item = Map::new();
    for verb in verbs {
        match *verb {
            "list" => drop(on_collection.insert("get".to_owned(), operation("list", &gvk, LIST, &many))),
            "create" => {
                let mut post = operation("post", &gvk, WRITE, &one);
                post["requestBody"] = body(&one);
                on_collection.insert("post".to_owned(), post);
            }
            "deletecollection" => {
                let status = schemas::of_meta("Status");
                on_collection.insert("delete".to_owned(), operation("deletecollection", &gvk, LIST, &status));
            }
            "get" => drop(on_item.insert("get".to_owned(), operation("get", &gvk, &[], &one))),
            "update" => {
                let mut put = operation("put", &gvk, WRITE, &one);
                put["requestBody"] = body(&one);
                on_item.insert("put".to_owned(), put);
            }
            "patch" => drop(on_item.insert("patch".to_owned(), patch(&gvk, &one))),
            "delete" => {
                let mut delete = operation("delete", &gvk, DELETE, &schemas::of_meta("Status"));
                delete["requestBody"] = body(&schemas::of_meta("DeleteOptions"));
                on_item.insert("delete".to_owned(), delete);
            }
            // A watch is a list with a parameter.
            _ => {}
        }
    }
    for subresource in resource.subresources {
        let gvk = self::gvk(subresource.group, subresource.version, subresource.kind);
        let schema = schemas::of_kind(subresource.group, subresource.version, subresource.kind);
        let mut operations = Map::new();
        for verb in subresource.verbs {
            match *verb {
                "get" => drop(operations.insert("get".to_owned(), operation("get", &gvk, &[], &schema))),
                "create" => drop(operations.insert("post".to_owned(), operation("post", &gvk, &[], &schema))),
                "update" => {
                    let mut put = operation("put", &gvk, WRITE, &schema);
                    put["requestBody"] = body(&schema);
                    operations.insert("put".to_owned(), put);
                }
                "patch" => drop(operations.insert("patch".to_owned(), patch(&gvk, &schema))),
                _ => {}
            }
        }
        let path = format!("{collection}/{{name}}/{}", subresource.name);
        insert(paths, path, operations, namespaced, true);
    }
    insert(paths, format!("{collection}/{{name}}"), on_item, namespaced, true);
    insert(paths, collection, on_collection, namespaced, false);
    if namespaced && verbs.contains(&"list") {
        let everywhere = Map::from_iter([("get".to_owned(), operation("list", &gvk, LIST, &many))]);
        insert(paths, format!("{root}/{plural}"), everywhere, false, false);
    }
}

fn insert(paths: &mut Map<String, Value>, path: String, operations: Map<String, Value>, namespaced: bool, named: bool) {
    if operations.is_empty() {
        return;
    }
    let in_path = |name: &str| json!({"name": name, "in": "path", "required": true, "schema": {"type": "string"}});
    let mut parameters = Vec::new();
    if named {
        parameters.push(in_path("name"));
    }
    if namespaced {
        parameters.push(in_path("namespace"));
    }
    let mut item = operations;
    if !parameters.is_empty() {
        item.insert("parameters".to_owned(), Value::Array(parameters));
    }
    paths.insert(path, Value::Object(item));
}

const WRITE: &[(&str, &str)] = &[("dryRun", "string"), ("fieldManager", "string"), ("fieldValidation", "string")];

const DELETE: &[(&str, &str)] = &[
    ("dryRun", "string"),
    ("gracePeriodSeconds", "integer"),
    ("orphanDependents", "boolean"),
    ("propagationPolicy", "string"),
];

const LIST: &[(&str, &str)] = &[
    ("allowWatchBookmarks", "boolean"),
    ("continue", "string"),
    ("fieldSelector", "string"),
    ("labelSelector", "string"),
    ("limit", "integer"),
    ("resourceVersion", "string"),
    ("resourceVersionMatch", "string"),
    ("sendInitialEvents", "boolean"),
    ("timeoutSeconds", "integer"),
    ("watch", "boolean"),
];

fn gvk(group: &str, version: &str, kind: &str) -> Value {
    json!({"group": group, "version": version, "kind": kind})
}

fn operation(action: &str, gvk: &Value, parameters: &[(&str, &str)], answer: &Value) -> Value {
    let mut operation = json!({
        "x-kubernetes-action": action,
        "x-kubernetes-group-version-kind": gvk,
        "responses": {"200": {"description": "OK", "content": {"application/json": {"schema": answer}}}},
    });
    if !parameters.is_empty() {
        let parameters: Vec<Value> =
            parameters.iter().map(|(name, of)| json!({"name": name, "in": "query", "schema": {"type": of}})).collect();
        operation["parameters"] = Value::Array(parameters);
    }
    operation
}

fn body(schema: &Value) -> Value {
    json!({"content": {"*/*": {"schema": schema}}, "required": true})
}

/// What kubectl judges by: the query parameter `fieldValidation` and the content types of a patch (W-43).
fn patch(gvk: &Value, answer: &Value) -> Value {
    let parameters = [WRITE, &[("force", "boolean")]].concat();
    let mut patch = operation("patch", gvk, &parameters, answer);
    patch["requestBody"] = json!({
        "required": true,
        "content": {
            "application/json-patch+json": {},
            "application/merge-patch+json": {},
            "application/strategic-merge-patch+json": {},
            "application/apply-patch+yaml": {},
        },
    });
    patch
}
