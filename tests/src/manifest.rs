//! Manifests that many tests use.

use serde_json::{Value, json};

/// A job of one container that runs a shell script.
#[must_use]
pub fn job(name: &str, script: &str) -> Value {
    json!({
        "apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name},
        "spec": {"template": {"spec": {"restartPolicy": "Never", "containers": [container(script)]}}},
    })
}

/// The same with more fields of the job's spec.
#[must_use]
pub fn job_with(name: &str, script: &str, spec: &Value) -> Value {
    let mut job = job(name, script);
    if let (Value::Object(into), Value::Object(from)) = (&mut job["spec"], spec) {
        into.extend(from.clone());
    }
    job
}

/// A container `main` that runs a shell script and gives up quickly when it is stopped.
#[must_use]
pub fn container(script: &str) -> Value {
    json!({"name": "main", "image": "busybox:1.36", "command": ["sh", "-c", script]})
}

/// A pod of one container that runs a shell script.
#[must_use]
pub fn pod(name: &str, script: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name},
        "spec": {"restartPolicy": "Never", "containers": [container(script)]},
    })
}
