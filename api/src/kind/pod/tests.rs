//! The tables of pods: updates (W-74), status, grace (W-105), fields (W-137), rows (T-3).

use serde_json::{Value, json};

use crate::{
    kind::written::{self, created, merge, noon, object, resource, update},
    write::{self, Part},
};

fn pod(spec: Value) -> Value {
    let base = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"},
        "spec": {"restartPolicy": "Never", "containers": [{"name": "main", "image": "busybox"}]},
    });
    merge(base, &json!({"spec": spec}))
}

#[test]
fn starts_pending_with_its_class_j_2414() {
    let stored = created(&merge(pod(json!({})), &json!({"status": {"phase": "Running", "podIP": "1.2.3.4"}})));
    assert_eq!(stored["status"], json!({"phase": "Pending", "qosClass": "BestEffort"}));
    assert_eq!(stored["metadata"]["generation"], 1);
}

#[test]
fn a_gated_pod_says_so_from_its_first_moment_j_2541() {
    let gated = created(&pod(json!({"schedulingGates": [{"name": "example.com/wait"}]})));
    let condition = &gated["status"]["conditions"][0];
    assert_eq!(
        (&condition["type"], &condition["status"], &condition["reason"], &condition["message"]),
        (
            &json!("PodScheduled"),
            &json!("False"),
            &json!("SchedulingGated"),
            &json!("Scheduling is blocked due to non-empty scheduling gates")
        )
    );
    assert_eq!(created(&pod(json!({})))["status"].get("conditions"), None);
}

#[test]
fn a_gated_pod_may_be_told_more_narrowly_where_to_run_w_74() {
    let expression = |key: &str| json!({"key": key, "operator": "Exists"});
    let required = |expressions: Value| {
        json!({"affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {
            "nodeSelectorTerms": [{"matchExpressions": expressions}]}}}})
    };
    let check = |old: Value, new: Value, want: &[&str]| {
        let old = created(&pod(merge(old, &json!({"schedulingGates": [{"name": "a"}]}))));
        let new = merge(old.clone(), &json!({"spec": new}));
        let got = update(Part::Main, &old, &new).err().unwrap_or_default();
        let fits = got.len() == want.len() && got.iter().zip(want).all(|(got, want)| got.ends_with(want));
        assert!(fits, "{got:#?}");
    };
    check(json!({}), json!({"nodeSelector": {"a": "b"}}), &[]);
    check(json!({"nodeSelector": {"a": "b"}}), json!({"nodeSelector": {"c": "d"}}), &[]);
    const ADDITIONS: &str = "only additions to spec.nodeSelector are allowed (no mutations or deletions)";
    check(json!({"nodeSelector": {"a": "b"}}), json!({"nodeSelector": {"a": "c"}}), &[ADDITIONS]);
    check(json!({}), required(json!([expression("a")])), &[]);
    check(required(json!([expression("a")])), required(json!([expression("a"), expression("b")])), &[]);
    check(
        required(json!([expression("a")])),
        required(json!([expression("b")])),
        &["only additions are allowed (no mutations or deletions)"],
    );
    check(
        required(json!([expression("a")])),
        json!({"affinity": null}),
        &["no additions/deletions to non-empty NodeSelectorTerms list are allowed"],
    );
    // What is no placement stays fixed, and so does everything when the gates are gone.
    let fixed = "(allow it to be set to 1 if it was previously negative)";
    check(json!({}), json!({"affinity": {"podAntiAffinity": {}}}), &[fixed]);
    check(json!({}), json!({"hostname": "h"}), &[fixed]);
    let free = created(&pod(json!({})));
    let new = merge(free.clone(), &json!({"spec": {"nodeSelector": {"a": "b"}}}));
    assert!(update(Part::Main, &free, &new).is_err());
}

#[test]
fn only_few_fields_may_change_w_74() {
    let old = created(&pod(json!({
        "activeDeadlineSeconds": 100, "schedulingGates": [{"name": "a"}, {"name": "b"}],
        "tolerations": [{"key": "k", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 5}],
    })));
    let check = |spec: Value, want: &[&str]| {
        let got = update(Part::Main, &old, &merge(old.clone(), &json!({"spec": spec})));
        let got = got.err().unwrap_or_default();
        let fits = got.len() == want.len() && got.iter().zip(want).all(|(got, want)| got.starts_with(want));
        assert!(fits, "{spec}: {got:?}");
    };
    const OTHER: &str = "spec: Forbidden: pod updates may not change fields other than `spec.containers[*].image`,";
    let mut containers = old["spec"]["containers"].clone();
    containers[0]["image"] = json!("busybox:2");
    check(json!({"containers": containers}), &[]);
    containers[0]["command"] = json!(["x"]);
    check(json!({"containers": containers}), &[OTHER]);
    check(json!({"nodeName": "n", "schedulingGates": []}), &[OTHER]);
    check(json!({"hostname": "h"}), &[OTHER]);
    check(json!({"terminationGracePeriodSeconds": 1}), &[OTHER]);
    check(json!({"activeDeadlineSeconds": 50}), &[]);
    check(
        json!({"activeDeadlineSeconds": 101}),
        &["spec.activeDeadlineSeconds: Invalid value: 101: must be less than or equal to previous value"],
    );
    check(
        json!({"activeDeadlineSeconds": null}),
        &["spec.activeDeadlineSeconds: Invalid value: null: must not update from a positive integer to nil value"],
    );
    check(json!({"schedulingGates": [{"name": "b"}]}), &[]);
    check(
        json!({"schedulingGates": [{"name": "b"}, {"name": "c"}]}),
        &["spec.schedulingGates[1]: Forbidden: only deletion is allowed, but found new scheduling gate 'c'"],
    );
    let kept = json!({"key": "k", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 9});
    check(json!({"tolerations": [kept, {"operator": "Exists"}]}), &[]);
    check(
        json!({"tolerations": [{"operator": "Exists"}]}),
        &["spec.tolerations: Forbidden: existing toleration can not be modified except its tolerationSeconds"],
    );
    // Empty is absent.
    check(json!({"hostNetwork": false, "imagePullSecrets": [], "nodeSelector": {}}), &[]);
}

#[test]
fn status_is_the_clients_to_patch_and_the_spec_is_not() {
    let mut old = created(&pod(json!({})));
    let new = merge(
        old.clone(),
        &json!({
            "spec": {"hostname": "x"}, "status": {"phase": "Running", "qosClass": "Guaranteed"},
            "metadata": {"ownerReferences": [{"apiVersion": "v1", "kind": "Pod", "name": "q", "uid": "u"}]},
        }),
    );
    let stored = update(Part::Status, &old, &new).unwrap().unwrap().object;
    assert_eq!(stored.text(&["status", "phase"]), Some("Running"));
    assert_eq!(stored.text(&["status", "qosClass"]), Some("BestEffort"));
    assert_eq!(stored.get(&["spec", "hostname"]), None);
    assert_eq!(stored.get(&["metadata", "ownerReferences"]), None);
    assert_eq!(stored.get(&["metadata", "generation"]), Some(&json!(1)));

    let state = |state: Value| {
        json!({"containerStatuses": [
            {"name": "main", "image": "i", "imageID": "", "ready": false, "restartCount": 0, "state": state},
        ]})
    };
    old["status"] = state(json!({"terminated": {"exitCode": 1}}));
    let mut new = old.clone();
    new["status"] = state(json!({"running": {}}));
    assert_eq!(
        update(Part::Status, &old, &new).unwrap_err(),
        ["status.containerStatuses[0].state: Forbidden: may not be transitioned to non-terminated state"]
    );
    old["spec"]["restartPolicy"] = json!("OnFailure");
    new["spec"]["restartPolicy"] = json!("OnFailure");
    assert!(update(Part::Status, &old, &new).is_ok());
}

#[test]
fn grace_of_a_delete_j_2550_w_105() {
    let rules = resource("Pod").rules;
    for (node, phase, own, requested, want) in [
        ("n", "Running", json!(30), None, 30),
        ("n", "Pending", json!(7), None, 7),
        ("n", "Running", json!(30), Some(5), 5),
        ("n", "Running", json!(30), Some(0), 0),
        ("n", "Running", json!(30), Some(-3), 1),
        ("n", "Running", json!(-1), None, 1),
        ("", "Pending", json!(30), Some(5), 0),
        ("n", "Succeeded", json!(30), Some(5), 0),
        ("n", "Failed", json!(30), None, 0),
    ] {
        let pod = json!({"spec": {"nodeName": node, "terminationGracePeriodSeconds": own}, "status": {"phase": phase}});
        assert_eq!(rules.grace_seconds(&object(&pod), requested), Some(want), "{pod} {requested:?}");
    }
}

#[test]
fn index_and_selectable_fields_w_137() {
    let mut stored = created(&merge(
        pod(json!({"hostNetwork": true})),
        &json!({"metadata": {"finalizers": ["batch.kubernetes.io/job-tracking"]}}),
    ));
    let index = |pod: &Value| write::index(resource("Pod"), &object(pod));
    let before = index(&stored);
    assert_eq!((before.finished, before.tracking, before.node), (false, true, None));
    stored["spec"]["nodeName"] = json!("n1");
    stored["status"] = json!({"phase": "Failed", "podIP": "1.2.3.4", "podIPs": [{"ip": "1.2.3.4"}, {"ip": "::1"}]});
    let after = index(&stored);
    assert_eq!((after.finished, after.node.as_deref()), (true, Some("n1")));
    let rules = resource("Pod").rules;
    for (label, want) in [
        ("metadata.name", "p"),
        ("metadata.namespace", "default"),
        ("spec.nodeName", "n1"),
        ("spec.host", "n1"),
        ("spec.restartPolicy", "Never"),
        ("spec.schedulerName", "default-scheduler"),
        ("spec.serviceAccountName", "default"),
        ("spec.hostNetwork", "true"),
        ("status.phase", "Failed"),
        ("status.podIP", "1.2.3.4"),
        ("status.podIPs", "1.2.3.4,::1"),
        ("status.nominatedNodeName", ""),
    ] {
        assert_eq!(rules.field(&object(&stored), label).as_deref(), Some(want), "{label}");
    }
    assert_eq!(rules.field(&object(&stored), "foo"), None);
    assert_eq!(rules.unsupported_field("foo"), "field label not supported: foo");
}

/// Ready, Status and Restarts of a pod with this spec and status.
#[track_caller]
fn check_row(spec: Value, status: Value, want: [&str; 3]) {
    check_row_of(json!({"spec": spec, "status": status}), want);
}

#[track_caller]
fn check_row_of(pod: Value, want: [&str; 3]) {
    let cells = resource("Pod").rules.cells(&object(&complete(pod.clone())), noon());
    assert_eq!(json!(cells[1..4]), json!(want), "{pod}");
}

/// What the typed form asks for and the tables leave out.
fn complete(pod: Value) -> Value {
    let mut pod = merge(json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}}), &pod);
    for list in ["containerStatuses", "initContainerStatuses"] {
        for status in pod["status"][list].as_array_mut().into_iter().flatten() {
            let base = json!({"image": "", "imageID": "", "ready": false, "restartCount": 0});
            *status = merge(base, &status.clone());
        }
    }
    pod
}

#[test]
fn rows() {
    let one = || json!({"containers": [{"name": "a"}]});
    let two = || json!({"containers": [{"name": "a"}, {"name": "b"}]});
    let with_init = || json!({"containers": [{"name": "a"}], "initContainers": [{"name": "i"}, {"name": "j"}]});
    let with_sidecar =
        || json!({"containers": [{"name": "a"}], "initContainers": [{"name": "s", "restartPolicy": "Always"}]});
    let running = json!({"running": {}});
    let done = json!({"terminated": {"exitCode": 0, "reason": "Completed"}});
    let failed = json!({"terminated": {"exitCode": 3, "reason": "Error"}});
    let ready = json!([{"type": "Ready", "status": "True"}]);

    check_row(one(), json!({"phase": "Pending"}), ["0/1", "Pending", "0"]);
    check_row(one(), json!({"phase": "Failed", "reason": "Evicted"}), ["0/1", "Evicted", "0"]);
    check_row(
        one(),
        json!({"phase": "Pending", "conditions": [{"type": "PodScheduled", "status": "False", "reason": "SchedulingGated"}]}),
        ["0/1", "SchedulingGated", "0"],
    );
    check_row(
        one(),
        json!({"phase": "Running", "containerStatuses": [{"name": "a", "ready": true, "state": running}]}),
        ["1/1", "Running", "0"],
    );
    check_row(
        one(),
        json!({"phase": "Succeeded", "containerStatuses": [{"name": "a", "state": done}]}),
        ["0/1", "Completed", "0"],
    );
    check_row(
        one(),
        json!({"phase": "Failed", "containerStatuses": [{"name": "a", "state": failed}]}),
        ["0/1", "Error", "0"],
    );
    check_row(
        one(),
        json!({"phase": "Failed", "containerStatuses": [{"name": "a", "state": {"terminated": {"exitCode": 3}}}]}),
        ["0/1", "ExitCode:3", "0"],
    );
    check_row(
        one(),
        json!({"phase": "Failed", "containerStatuses": [{"name": "a", "state": {"terminated": {"exitCode": 137, "signal": 9}}}]}),
        ["0/1", "Signal:9", "0"],
    );
    let last = json!({"terminated": {"exitCode": 1, "finishedAt": "2026-03-01T11:59:00Z"}});
    check_row(
        one(),
        json!({"phase": "Running", "containerStatuses": [
            {"name": "a", "restartCount": 4, "lastState": last, "state": {"waiting": {"reason": "CrashLoopBackOff"}}},
        ]}),
        ["0/1", "CrashLoopBackOff", "4 (60s ago)"],
    );
    check_row(
        two(),
        json!({"phase": "Running", "conditions": ready, "containerStatuses": [
            {"name": "a", "state": done}, {"name": "b", "ready": true, "state": running},
        ]}),
        ["1/2", "Running", "0"],
    );
    check_row(
        two(),
        json!({"phase": "Running", "containerStatuses": [
            {"name": "a", "state": done}, {"name": "b", "ready": true, "state": running},
        ]}),
        ["1/2", "NotReady", "0"],
    );
    check_row(
        two(),
        json!({"phase": "Failed", "containerStatuses": [{"name": "a", "state": done}, {"name": "b", "state": failed}]}),
        ["0/2", "Error", "0"],
    );
    check_row(
        with_init(),
        json!({"phase": "Pending", "initContainerStatuses": [{"name": "i", "state": done}, {"name": "j", "restartCount": 2, "state": running}]}),
        ["0/1", "Init:1/2", "2"],
    );
    check_row(
        with_init(),
        json!({"phase": "Pending", "initContainerStatuses": [{"name": "i", "state": failed}]}),
        ["0/1", "Init:Error", "0"],
    );
    check_row(
        with_init(),
        json!({"phase": "Pending", "initContainerStatuses": [{"name": "i", "state": {"waiting": {"reason": "ErrImagePull"}}}]}),
        ["0/1", "Init:ErrImagePull", "0"],
    );
    check_row(
        with_sidecar(),
        json!({
            "phase": "Running", "conditions": ready,
            "initContainerStatuses": [{"name": "s", "ready": true, "started": true, "restartCount": 1, "state": running}],
            "containerStatuses": [{"name": "a", "ready": true, "restartCount": 2, "state": running}],
        }),
        ["2/2", "Running", "3"],
    );
    let deleting = json!({"metadata": {"deletionTimestamp": written::NOON}, "spec": one()});
    check_row_of(merge(deleting.clone(), &json!({"status": {"phase": "Running"}})), ["0/1", "Terminating", "0"]);
    check_row_of(merge(deleting.clone(), &json!({"status": {"phase": "Failed"}})), ["0/1", "Failed", "0"]);
    check_row_of(
        merge(deleting, &json!({"status": {"phase": "Running", "reason": "NodeLost"}})),
        ["0/1", "Unknown", "0"],
    );
}

#[test]
fn wide_rows_and_row_conditions() {
    let rules = resource("Pod").rules;
    let pod = complete(json!({
        "metadata": {"creationTimestamp": "2026-03-01T11:50:00Z"},
        "spec": {"containers": [{"name": "a"}], "nodeName": "n", "readinessGates": [{"conditionType": "g"}, {"conditionType": "h"}]},
        "status": {"phase": "Running", "podIPs": [{"ip": "1.2.3.4"}], "conditions": [{"type": "g", "status": "True"}]},
    }));
    assert_eq!(
        json!(rules.cells(&object(&pod), noon())),
        json!(["p", "0/1", "Running", "0", "10m", "1.2.3.4", "n", "<none>", "1/2"])
    );
    let bare = complete(json!({"spec": {"containers": []}}));
    assert_eq!(
        json!(rules.cells(&object(&bare), noon())),
        json!(["p", "0/0", "", "0", "<unknown>", "<none>", "<none>", "<none>", "<none>"])
    );
    let conditions = |phase: &str| rules.row_conditions(&object(&json!({"status": {"phase": phase}})));
    assert_eq!(conditions("Running"), None);
    for (phase, message) in [("Succeeded", "The pod has completed successfully."), ("Failed", "The pod failed.")] {
        assert_eq!(
            conditions(phase),
            Some(json!([{"type": "Completed", "status": "True", "reason": phase, "message": message}]))
        );
    }
}
