//! What is read out of a pod (T-2, J-710, J-820, J-821).

use jobd_api::selector::Labels;
use k8s_openapi::api::core::v1;
use serde_json::{Value, json};

use super::{now, time};
use crate::controllers::job::snapshot::{Phase, Pod};

fn read(pod: Value) -> Pod {
    Pod::read(&serde_json::from_value::<v1::Pod>(pod).unwrap(), Some(&Labels::default()), now(1000))
}

/// A wire time.
fn at(second: i64) -> String {
    time(second).to_string()
}

fn terminated(name: &str, code: i32, second: Option<i64>) -> Value {
    let finished = second.map(at);
    json!({"name": name, "restartCount": 1, "state": {"terminated": {"exitCode": code, "finishedAt": finished}}})
}

#[track_caller]
fn check_finish(pod: Value, second: i64) {
    let pod = read(pod);
    assert_eq!(pod.finish.wall, time(second));
    assert_eq!(pod.finish.boot.as_secs(), second);
}

/// J-862.
#[test]
fn finish_time_follows_t2() {
    let not_ready = |second| json!([{"type": "Ready", "status": "False", "lastTransitionTime": at(second)}]);
    let sidecar = json!([{"name": "s", "restartPolicy": "Always"}]);
    check_finish(
        json!({"status": {"containerStatuses":
            [terminated("a", 0, Some(10)), terminated("b", 1, Some(30)), terminated("c", 0, Some(20))]}}),
        30,
    );
    check_finish(
        json!({"spec": {"initContainers": sidecar}, "status": {"containerStatuses": [terminated("a", 0, Some(30))],
            "initContainerStatuses": [terminated("s", 0, Some(35))]}}),
        35,
    );
    check_finish(
        json!({"spec": {"initContainers": sidecar}, "status": {"containerStatuses": [terminated("a", 0, Some(30))],
            "initContainerStatuses": [{"name": "s", "state": {"running": {}}}], "conditions": not_ready(31)}}),
        31,
    );
    check_finish(
        json!({"metadata": {"deletionTimestamp": at(100), "deletionGracePeriodSeconds": 30},
            "status": {"containerStatuses": [terminated("a", 0, Some(5)), {"name": "b", "state": {"running": {}}}],
            "conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": at(1)}]}}),
        70,
    );
    check_finish(json!({"status": {"containerStatuses": [terminated("a", 1, None)], "conditions": not_ready(50)}}), 50);
    check_finish(json!({"metadata": {"creationTimestamp": at(5)}}), 5);
}

#[test]
fn a_plain_init_container_does_not_move_the_finish_time() {
    check_finish(
        json!({"spec": {"initContainers": [{"name": "setup"}]}, "status": {"containerStatuses": [terminated("a", 0, Some(30))],
            "initContainerStatuses": [terminated("setup", 0, Some(35))]}}),
        30,
    );
}

/// J-710.
#[test]
fn index_and_counts_come_from_annotations_and_bad_ones_count_nothing() {
    let annotated = |index: &str, count: &str| {
        let annotations = json!({"batch.kubernetes.io/job-completion-index": index,
            "batch.kubernetes.io/job-index-failure-count": count});
        let pod = read(json!({"metadata": {"annotations": annotations}}));
        (pod.index, pod.failures.counted)
    };
    assert_eq!(annotated("3", "2"), (Some(3), 2));
    assert_eq!(annotated("-1", "-1"), (None, 0));
    assert_eq!(annotated("abc", "abc"), (None, 0));
    assert_eq!(annotated("", "2147483648"), (None, 0));
    let label_only = json!({"metadata": {"labels": {"batch.kubernetes.io/job-completion-index": "3"}}});
    assert_eq!(read(label_only).index, None);
}

/// J-820.
#[test]
fn a_pod_that_the_node_has_not_reported_on_is_pending_and_active() {
    let pod = read(json!({"metadata": {"name": "a"}}));
    assert_eq!(pod.phase, Phase::Pending);
    assert!(pod.is_active() && !pod.is_terminating() && pod.vanishes && !pod.assigned);
}

/// J-820.
#[test]
fn a_pod_is_active_or_terminating_until_it_has_ended() {
    let class = |phase: &str, deleting: bool, ready: &str| {
        let metadata = if deleting { json!({"deletionTimestamp": at(1)}) } else { json!({}) };
        let conditions = json!([{"type": "Ready", "status": ready, "lastTransitionTime": at(1)}]);
        let pod = read(json!({"metadata": metadata, "status": {"phase": phase, "conditions": conditions}}));
        (pod.is_active(), pod.is_terminating(), pod.ready)
    };
    for phase in ["Pending", "Running", "Unknown"] {
        assert_eq!(class(phase, false, "True"), (true, false, true), "{phase}");
        assert_eq!(class(phase, false, "False"), (true, false, false), "{phase}");
        assert_eq!(class(phase, true, "True"), (false, true, true), "{phase}");
    }
    for phase in ["Succeeded", "Failed"] {
        for deleting in [false, true] {
            assert_eq!(class(phase, deleting, "False"), (false, false, false), "{phase}");
        }
    }
}

/// J-821, J-1401, J-1402.
#[test]
fn a_terminating_pod_has_failed_unless_only_failed_ones_are_replaced() {
    let deleting = |phase: &str| {
        let pod = read(json!({"metadata": {"deletionTimestamp": at(1)}, "status": {"phase": phase}}));
        (pod.has_failed(false), pod.has_failed(true))
    };
    assert_eq!(deleting("Running"), (true, false));
    assert_eq!(deleting("Failed"), (true, true));
    assert_eq!(deleting("Succeeded"), (false, false));
}

/// J-1103.
#[test]
fn exits_are_listed_regular_first_and_only_what_ended_badly_now() {
    let waiting = json!({"name": "w", "state": {"waiting": {}}, "lastState": {"terminated": {"exitCode": 137}}});
    let pod = read(json!({"status": {
        "initContainerStatuses": [terminated("setup", 5, Some(1))],
        "containerStatuses": [terminated("ok", 0, Some(1)), waiting, terminated("main", 2, Some(1))]}}));
    let exits: Vec<(&str, i32)> = pod.exits.iter().map(|exit| (exit.container.as_str(), exit.code)).collect();
    assert_eq!(exits, [("main", 2), ("setup", 5)]);
    assert_eq!(pod.restarts.sum, 3);
}

#[test]
fn only_a_pod_that_runs_nothing_vanishes_at_once() {
    let assigned = |grace: i64, finalizers: Value| {
        read(json!({"metadata": {"finalizers": finalizers},
            "spec": {"nodeName": "n", "terminationGracePeriodSeconds": grace}}))
        .vanishes
    };
    assert!(!assigned(30, json!(["batch.kubernetes.io/job-tracking"])));
    assert!(assigned(0, json!(["batch.kubernetes.io/job-tracking"])));
    assert!(!assigned(0, json!(["example.com/mine"])));
}
