//! Strategic merge patches as tables: document, patch, result (W-81, W-82, S-19).

use serde_json::json;

use super::*;
use crate::schema;

#[track_caller]
fn check(kind: &str, document: Value, patch: Value, want: Value) {
    let of = schema::find(kind).unwrap();
    assert_eq!(apply(of, document, &patch), Ok(want), "{patch}");
}

#[track_caller]
fn check_refused(kind: &str, document: Value, patch: Value) {
    let of = schema::find(kind).unwrap();
    assert!(matches!(apply(of, document, &patch), Err(Error::Malformed(_))), "{patch}");
}

const POD_SPEC: &str = "io.k8s.api.core.v1.PodSpec";
const POD: &str = "io.k8s.api.core.v1.Pod";

/// W-81, sample S-19.
#[test]
fn what_kubectl_apply_sends_is_applied() {
    let spec = |spec: Value| json!({"spec": {"jobTemplate": {"spec": {"template": {"spec": spec}}}}});
    check(
        "io.k8s.api.batch.v1.CronJob",
        spec(json!({
            "containers": [
                {"name": "a", "image": "ok", "args": ["one", "two"], "env": [{"name": "X", "value": "1"}, {"name": "YY", "value": "2"}]},
                {"name": "b", "image": "ok"}],
            "volumes": [{"name": "v", "emptyDir": {}}]})),
        json!({"spec":{"jobTemplate":{"spec":{"template":{"spec":{
         "$setElementOrder/containers":[{"name":"a"}],
         "$setElementOrder/volumes":[{"name":"v"}],
         "containers":[
          {"$setElementOrder/env":[{"name":"Z"},{"name":"X"}],"args":["three"],"env":[{"name":"Z","value":"9"},{"$patch":"delete","name":"YY"}],"image":"ok2","name":"a"},
          {"$patch":"delete","name":"b"}],
         "volumes":[{"$retainKeys":["configMap","name"],"configMap":{"name":"cm"},"emptyDir":null,"name":"v"}]}}}}}}),
        spec(json!({
            "containers": [
                {"name": "a", "image": "ok2", "args": ["three"], "env": [{"name": "Z", "value": "9"}, {"name": "X", "value": "1"}]}],
            "volumes": [{"name": "v", "configMap": {"name": "cm"}}]})),
    );
}

#[test]
fn objects_merge_and_null_deletes() {
    check(
        POD,
        json!({"metadata": {"labels": {"a": "1", "b": "2"}}, "spec": {"nodeName": "n"}}),
        json!({"metadata": {"labels": {"a": null, "c": "3"}}, "spec": {"nodeName": null}}),
        json!({"metadata": {"labels": {"b": "2", "c": "3"}}, "spec": {}}),
    );
}

/// W-82, but new items first where the patch gives no order: as Kubernetes does.
#[test]
fn lists_with_a_key_are_merged_and_new_items_come_first() {
    check(
        POD_SPEC,
        json!({"containers": [{"name": "a", "image": "1"}, {"name": "b", "image": "1"}]}),
        json!({"containers": [{"name": "c", "image": "1"}, {"name": "b", "image": "2"}]}),
        json!({"containers": [{"name": "c", "image": "1"}, {"name": "a", "image": "1"}, {"name": "b", "image": "2"}]}),
    );
}

/// Section 6.2: each list merges by its own key.
#[test]
fn each_list_has_its_own_key() {
    check(
        "io.k8s.api.core.v1.Container",
        json!({"ports": [{"containerPort": 80, "name": "x"}], "volumeMounts": [{"mountPath": "/a", "name": "v"}]}),
        json!({"ports": [{"containerPort": 80, "name": "y"}], "volumeMounts": [{"mountPath": "/b", "name": "v"}]}),
        json!({"ports": [{"containerPort": 80, "name": "y"}],
               "volumeMounts": [{"mountPath": "/b", "name": "v"}, {"mountPath": "/a", "name": "v"}]}),
    );
    check(
        "io.k8s.api.batch.v1.JobStatus",
        json!({"conditions": [{"type": "A", "status": "False"}]}),
        json!({"conditions": [{"type": "A", "status": "True"}]}),
        json!({"conditions": [{"type": "A", "status": "True"}]}),
    );
}

#[test]
fn other_lists_are_replaced() {
    check(
        POD_SPEC,
        json!({"tolerations": [{"key": "a"}, {"key": "b"}]}),
        json!({"tolerations": [{"key": "c"}]}),
        json!({"tolerations": [{"key": "c"}]}),
    );
}

#[test]
fn scalars_are_a_set_and_leave_by_their_directive() {
    let metadata = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta";
    check(
        metadata,
        json!({"finalizers": ["a", "b"]}),
        json!({"finalizers": ["b", "c"]}),
        json!({"finalizers": ["a", "b", "c"]}),
    );
    check(
        metadata,
        json!({"finalizers": ["a", "b"]}),
        json!({"$deleteFromPrimitiveList/finalizers": ["a"]}),
        json!({"finalizers": ["b"]}),
    );
    check(
        metadata,
        json!({"finalizers": ["a", "b"]}),
        json!({"$deleteFromPrimitiveList/finalizers": ["a"], "$setElementOrder/finalizers": ["c", "b"], "finalizers": ["c"]}),
        json!({"finalizers": ["c", "b"]}),
    );
}

#[test]
fn patch_directives_replace_and_delete() {
    check(
        POD,
        json!({"metadata": {"labels": {"a": "1"}}}),
        json!({"metadata": {"labels": {"$patch": "replace", "b": "2"}}}),
        json!({"metadata": {"labels": {"b": "2"}}}),
    );
    check(
        POD,
        json!({"metadata": {"labels": {"a": "1"}}}),
        json!({"metadata": {"labels": {"$patch": "delete"}}}),
        json!({"metadata": {"labels": {}}}),
    );
    check(
        POD_SPEC,
        json!({"containers": [{"name": "a"}, {"name": "b"}]}),
        json!({"containers": [{"$patch": "replace"}, {"name": "c", "image": null}]}),
        json!({"containers": [{"name": "c"}]}),
    );
    check(
        POD_SPEC,
        json!({"containers": [{"name": "a"}]}),
        json!({"containers": [{"$patch": "merge", "name": "a", "image": "x"}, {"$patch": "delete", "name": "zzz"}]}),
        json!({"containers": [{"name": "a", "image": "x"}]}),
    );
}

/// Items that `$setElementOrder` does not name keep their place among the others.
#[test]
fn order_keeps_what_it_does_not_name() {
    let names = |names: &[&str]| json!({"env": names.iter().map(|name| json!({"name": name})).collect::<Vec<_>>()});
    let order = |names: &[&str]| names.iter().map(|name| json!({"name": name})).collect::<Vec<_>>();
    let container = "io.k8s.api.core.v1.Container";
    check(
        container,
        names(&["a", "x", "b"]),
        json!({"$setElementOrder/env": order(&["b", "a"])}),
        names(&["x", "b", "a"]),
    );
    check(
        container,
        names(&["a", "x"]),
        json!({"$setElementOrder/env": order(&["n", "a"]), "env": [{"name": "n"}]}),
        names(&["n", "a", "x"]),
    );
    check(
        container,
        names(&["x", "a"]),
        json!({"$setElementOrder/env": order(&["a", "n"]), "env": [{"name": "n"}]}),
        names(&["x", "a", "n"]),
    );
}

#[test]
fn directives_and_nulls_never_reach_the_document() {
    check(
        POD,
        json!({}),
        json!({"spec": {"$retainKeys": ["volumes", "tolerations"], "$setElementOrder/volumes": [{"name": "v"}],
            "volumes": [{"$retainKeys": ["name"], "name": "v", "emptyDir": null}],
            "tolerations": [{"key": null, "$patch": "merge", "value": "x"}]}}),
        json!({"spec": {"volumes": [{"name": "v"}], "tolerations": [{"value": "x"}]}}),
    );
}

#[test]
fn nonsense_is_refused() {
    check_refused(POD, json!({}), json!({"metadata": {"$patch": "explode"}}));
    check_refused(POD_SPEC, json!({}), json!({"containers": [{"image": "no name"}]}));
    check_refused(POD_SPEC, json!({}), json!({"containers": ["x"]}));
    check_refused(POD_SPEC, json!({"containers": []}), json!({"$setElementOrder/containers": 1}));
    check_refused(
        POD_SPEC,
        json!({"volumes": [{"name": "v"}]}),
        json!({"volumes": [{"name": "v", "emptyDir": {}, "$retainKeys": ["name"]}]}),
    );
}
