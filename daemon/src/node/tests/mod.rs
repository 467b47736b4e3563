//! Tests of the pod runner: tables for the pure files, and stories with the real store and an engine that lives in memory.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use serde_json::{Value, json};

use super::observed::NodeFacts;

mod containers;
mod decide;
mod multi;
mod spec;
mod status;
mod stories;

/// Seconds after a fixed noon.
fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + seconds).unwrap()
}

fn facts() -> NodeFacts {
    NodeFacts {
        name: "node".to_owned(),
        host_ip: "10.0.0.1".to_owned(),
        cpus: 4,
        memory_bytes: 8 << 30,
        pids_limit: 0,
        instance: "i".to_owned(),
    }
}

/// A bound pod with one container; `changes` is merged into it.
fn pod(changes: Value) -> Pod {
    serde_json::from_value(pod_json(changes)).unwrap()
}

fn pod_json(changes: Value) -> Value {
    let mut pod = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"namespace": "default", "name": "p", "uid": "u", "generation": 1},
        "spec": {
            "nodeName": "node", "restartPolicy": "Never", "terminationGracePeriodSeconds": 30,
            "containers": [{"name": "main", "image": "busybox:1", "imagePullPolicy": "IfNotPresent"}],
        },
        "status": {"phase": "Pending", "qosClass": "BestEffort"},
    });
    merge(&mut pod, changes);
    pod
}

/// Objects are merged, null removes, everything else replaces; `containers` stands for the fields of the one container.
fn merge(into: &mut Value, from: Value) {
    match (into, from) {
        (Value::Object(into), Value::Object(from)) => {
            for (key, value) in from {
                if value.is_null() {
                    into.remove(&key);
                } else if let Some(old) = into.get_mut(&key) {
                    merge(old, value);
                } else {
                    into.insert(key, value);
                }
            }
        }
        (Value::Array(into), Value::Object(from)) if into.len() == 1 => merge(&mut into[0], Value::Object(from)),
        (into, from) => *into = from,
    }
}
