//! The documents as kubectl reads them (W-42 to W-48).

use super::*;

fn document(path: &str) -> Option<Value> {
    document_text(path).map(|text| serde_json::from_slice(&text).unwrap())
}

fn find<'a>(document: &'a Value, pointer: &str) -> &'a Value {
    document.pointer(pointer).unwrap_or_else(|| panic!("nothing at {pointer}"))
}

/// W-43, S-7: what kubectl looks for before it writes.
#[test]
fn a_patch_operation_tells_its_kind_and_the_parameters() {
    let document = document("apis/batch/v1").unwrap();
    assert_eq!(document["openapi"], "3.0.0");
    let patch = find(&document, "/paths/~1apis~1batch~1v1~1namespaces~1{namespace}~1jobs~1{name}/patch");
    assert_eq!(patch["x-kubernetes-group-version-kind"], json!({"group": "batch", "version": "v1", "kind": "Job"}));
    assert_eq!(patch["x-kubernetes-action"], "patch");
    let names: Vec<_> =
        patch["parameters"].as_array().unwrap().iter().map(|one| one["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["dryRun", "fieldManager", "fieldValidation", "force"]);
    assert!(patch["requestBody"]["content"].get("application/strategic-merge-patch+json").is_some());
}

/// W-45.
#[test]
fn schemas_are_full_and_carry_the_extensions() {
    let document = document("apis/batch/v1").unwrap();
    let schemas = &document["components"]["schemas"];
    let job = &schemas["io.k8s.api.batch.v1.Job"];
    assert_eq!(job["x-kubernetes-group-version-kind"], json!([{"group": "batch", "version": "v1", "kind": "Job"}]));
    assert_eq!(
        job["properties"]["metadata"],
        json!({"allOf": [{"$ref": "#/components/schemas/io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"}], "default": {}})
    );
    assert_eq!(
        schemas["io.k8s.api.core.v1.PodSpec"]["properties"]["containers"],
        json!({
            "type": "array",
            "items": {"$ref": "#/components/schemas/io.k8s.api.core.v1.Container"},
            "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"],
            "x-kubernetes-patch-strategy": "merge", "x-kubernetes-patch-merge-key": "name",
        })
    );
    assert_eq!(schemas["io.k8s.api.core.v1.PodSpec"]["required"], json!(["containers"]));
    assert_eq!(
        schemas["io.k8s.api.batch.v1.JobSpec"]["properties"]["parallelism"],
        json!({"type": "integer", "format": "int32"})
    );
    assert_eq!(
        schemas["io.k8s.api.batch.v1.JobSpec"]["properties"]["completionMode"],
        json!({"type": "string", "enum": ["Indexed", "NonIndexed"]})
    );
}

#[test]
fn every_reference_is_in_its_document() {
    fn references<'a>(value: &'a Value, found: &mut Vec<&'a str>) {
        match value {
            Value::Object(map) => {
                found.extend(map.get("$ref").and_then(Value::as_str));
                map.values().for_each(|value| references(value, found));
            }
            Value::Array(items) => items.iter().for_each(|value| references(value, found)),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }
    for path in group_versions() {
        let document = document(&path).unwrap();
        let mut found = Vec::new();
        references(&document, &mut found);
        assert!(!found.is_empty());
        for reference in found {
            let name = reference.strip_prefix("#/components/schemas/").unwrap();
            assert!(document["components"]["schemas"].get(name).is_some(), "{path}: {name}");
        }
    }
}

/// W-46: explain finds a kind's path and its schema.
#[test]
fn every_kind_has_a_path_with_get_and_a_schema() {
    for resource in registry::resources() {
        let path = path_of(resource.group, resource.version);
        let document = document(&path).unwrap();
        let scope = if resource.namespaced { "namespaces/{namespace}/" } else { "" };
        let item = &document["paths"][format!("/{path}/{scope}{}/{{name}}", resource.plural)];
        assert_eq!(item["get"]["x-kubernetes-group-version-kind"]["kind"], resource.kind);
        let gvk = json!({"group": resource.group, "version": resource.version, "kind": resource.kind});
        let schemas = document["components"]["schemas"].as_object().unwrap();
        let found = schemas
            .values()
            .any(|schema| schema["x-kubernetes-group-version-kind"].as_array().is_some_and(|gvks| gvks.contains(&gvk)));
        assert!(found, "{gvk}");
    }
}

/// S-6.
#[test]
fn the_index_names_each_document_with_its_hash() {
    let index = index();
    for path in group_versions() {
        let url = index["paths"][&path]["serverRelativeURL"].as_str().unwrap().to_owned();
        assert_eq!(url, format!("/openapi/v3/{path}?hash={}", hash(&path).unwrap()));
    }
    assert_ne!(hash("api/v1"), hash("apis/batch/v1"));
    assert_eq!(hash("apis/none/v1"), None);
    assert_eq!(document("apis/none/v1"), None);
}
