//! The tables of jobs.md sections 1 to 6: one test per table of the spec, down the real write path.

mod change;
mod create;
mod view;

use serde_json::{Value, json};

use crate::kind::written::merge;

/// A job that is legal, with `spec` merged in.
fn job(spec: Value) -> Value {
    let base = json!({
        "apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "pi"},
        "spec": {"template": {"spec": {"restartPolicy": "Never", "containers": [{"name": "main", "image": "busybox"}]}}},
    });
    merge(base, &json!({"spec": spec}))
}

fn indexed(spec: Value) -> Value {
    merge(job(json!({"completionMode": "Indexed", "completions": 5})), &json!({"spec": spec}))
}

/// Conditions that are true.
fn conditions(types: &[&str]) -> Value {
    types.iter().map(|type_| json!({"type": type_, "status": "True"})).collect::<Vec<_>>().into()
}
