//! Updates (section 5, T-14) and the status subresource (section 6).

use serde_json::{Value, json};

use super::{conditions, indexed, job};
use crate::{
    kind::written::{self, created, merge, update},
    write::Part,
};

/// A stored job and a change of its spec; the last causes of the answer.
#[track_caller]
fn check_update(old: &Value, spec: Value, want: &[&str]) {
    let new = merge(old.clone(), &json!({"spec": spec}));
    let got = update(Part::Main, old, &new).err().unwrap_or_default();
    assert_eq!(got, want, "{spec}");
}

#[test]
fn immutable_fields_j_502_to_j_504() {
    const IMMUTABLE: &str = "field is immutable";
    let plain = created(&job(json!({"parallelism": 2, "completions": 3})));
    check_update(&plain, json!({"completions": 4}), &["spec.completions: Invalid value: 4: field is immutable"]);
    check_update(
        &plain,
        json!({"managedBy": "a.io/b"}),
        &["spec.managedBy: Invalid value: \"a.io/b\": field is immutable"],
    );
    check_update(
        &plain,
        json!({"completionMode": "Indexed"}),
        &["spec.completionMode: Invalid value: \"Indexed\": field is immutable"],
    );
    check_update(
        &plain,
        json!({"podFailurePolicy": {"rules": []}, "podReplacementPolicy": "Failed"}),
        &["spec.podFailurePolicy: Invalid value: {\"rules\":[]}: field is immutable"],
    );
    check_update(
        &plain,
        json!({"template": {"spec": {"terminationGracePeriodSeconds": 5}}}),
        &["spec.template: Invalid value: field is immutable"],
    );
    let got =
        update(Part::Main, &plain, &merge(plain.clone(), &json!({"spec": {"selector": {"matchLabels": {"x": "y"}}}})));
    let got = got.unwrap_err();
    assert!(got.iter().any(|cause| cause.starts_with("spec.selector: ") && cause.ends_with(IMMUTABLE)), "{got:?}");
    // J-504
    check_update(
        &plain,
        json!({
            "parallelism": 7, "backoffLimit": 1, "activeDeadlineSeconds": 9, "ttlSecondsAfterFinished": 0, "suspend": true,
            "podReplacementPolicy": "Failed",
        }),
        &[],
    );
    let own = created(&indexed(json!({"parallelism": 3, "backoffLimitPerIndex": 1})));
    // J-503
    check_update(
        &own,
        json!({"completions": 4}),
        &["spec.completions: Invalid value: 4: can only be modified in tandem with spec.parallelism"],
    );
    check_update(&own, json!({"completions": 4, "parallelism": 4}), &[]);
    check_update(
        &own,
        json!({"backoffLimitPerIndex": null}),
        &["spec.backoffLimitPerIndex: Invalid value: null: field is immutable"],
    );
    check_update(&own, json!({"maxFailedIndexes": 2}), &[]);
    let want = "spec.parallelism: Invalid value: -1: must be greater than or equal to 0";
    check_update(&plain, json!({"parallelism": -1}), &[want, want]); // J-403
}

/// J-505, J-506.
#[test]
fn the_template_of_a_suspended_job_may_change_t_14() {
    let condition = json!([{"type": "Suspended", "status": "True"}]);
    let image = json!([{"name": "main", "image": "other"}]);
    let resources = json!([{"name": "main", "image": "busybox", "resources": {"limits": {"cpu": "1"}}}]);
    const LOCKED: &[&str] = &["spec.template: Invalid value: field is immutable"];
    const OPEN: &[&str] = &[];
    for (suspend, status, want, want_image) in [
        (false, json!({}), LOCKED, "spec.template"),
        (true, json!({}), OPEN, "spec.template.spec"),
        (true, json!({"startTime": written::NOON, "conditions": condition}), OPEN, "spec.template.spec"),
        (true, json!({"startTime": written::NOON}), LOCKED, "spec.template"),
        (true, json!({"active": 1, "startTime": written::NOON, "conditions": condition}), LOCKED, "spec.template"),
    ] {
        let mut old = created(&job(json!({"suspend": suspend})));
        old["status"] = status;
        let template = |spec: &Value| json!({"template": {"spec": spec}});
        check_update(&old, template(&json!({"nodeSelector": {"a": "b"}})), want);
        check_update(&old, template(&json!({"tolerations": [{"operator": "Exists"}]})), want);
        check_update(&old, template(&json!({"schedulingGates": [{"name": "a.io/b"}]})), want);
        check_update(&old, template(&json!({"affinity": {"nodeAffinity": {}}})), want);
        check_update(&old, json!({"template": {"metadata": {"annotations": {"a": "b"}}}}), want);
        let mut new = old.clone();
        new["spec"]["template"]["spec"]["containers"] = resources.clone();
        assert_eq!(update(Part::Main, &old, &new).err().unwrap_or_default(), want);
        // J-506: the same request may let the job go.
        new["spec"]["suspend"] = json!(false);
        assert_eq!(update(Part::Main, &old, &new).err().unwrap_or_default(), want);
        new["spec"]["template"]["spec"]["containers"] = image.clone();
        let got = update(Part::Main, &old, &new).unwrap_err();
        assert_eq!(got, [format!("{want_image}: Invalid value: field is immutable")]);
        let anti = json!({"affinity": {"podAntiAffinity": {}}});
        let want_anti = [format!("{want_image}: Invalid value: field is immutable")];
        check_update(&old, template(&anti), &[want_anti[0].as_str()]);
    }
}

#[test]
fn jobs_without_prefixed_labels_go_on_without_them_j_507() {
    let mut old = created(&job(json!({})));
    let labels = json!({"job-name": "pi", "controller-uid": written::UID});
    old["spec"]["template"]["metadata"]["labels"] = labels.clone();
    old["spec"]["selector"] = json!({"matchLabels": {"controller-uid": written::UID}});
    check_update(&old, json!({"suspend": true}), &[]);
    // The old labels are still asked for.
    old["spec"]["template"]["metadata"]["labels"] = json!({"job-name": "other", "controller-uid": written::UID});
    let got = update(Part::Main, &old, &merge(old.clone(), &json!({"spec": {"suspend": true}}))).unwrap_err();
    assert!(
        got[0].starts_with("spec.template.metadata.labels[job-name]: ") && got[0].ends_with("must be 'pi'"),
        "{got:?}"
    );
}

#[test]
fn a_finished_job_may_change_and_stays_finished_j_504_j_509() {
    let mut old = created(&job(json!({"completions": 1})));
    old["status"] = json!({"succeeded": 1, "conditions": conditions(&["SuccessCriteriaMet", "Complete"])});
    let new = merge(
        old.clone(),
        &json!({"spec": {"parallelism": 5, "suspend": true, "ttlSecondsAfterFinished": 9}, "status": null}),
    );
    let changed = update(Part::Main, &old, &new).unwrap().unwrap().object;
    assert_eq!(changed.get(&["status"]), Some(&old["status"]));
}

#[test]
fn updates_keep_what_is_not_theirs_j_501_j_213_j_601() {
    let mut old = created(&job(json!({})));
    old["status"] = json!({"active": 1});
    let new = merge(old.clone(), &json!({"status": {"active": 5, "failed": 2}, "metadata": {"generation": 9}}));
    assert!(update(Part::Main, &old, &new).unwrap().is_none());

    let new = merge(old.clone(), &json!({"spec": {"suspend": true}}));
    let changed = update(Part::Main, &old, &new).unwrap().unwrap().object;
    assert_eq!(changed.get(&["metadata", "generation"]), Some(&json!(2)));

    let new = merge(old.clone(), &json!({"metadata": {"labels": null}}));
    assert!(update(Part::Main, &old, &new).unwrap().is_none(), "cleared labels come back (J-213)");

    let new = merge(
        old.clone(),
        &json!({"status": {"active": 2}, "spec": {"parallelism": 9}, "metadata": {"annotations": {"a": "b"}}}),
    );
    let changed = update(Part::Status, &old, &new).unwrap().unwrap().object;
    assert_eq!(changed.get(&["spec", "parallelism"]), Some(&json!(1)));
    assert_eq!(changed.get(&["status", "active"]), Some(&json!(2)));
    assert_eq!(changed.get(&["metadata", "annotations", "a"]), Some(&json!("b")));
    assert_eq!(changed.get(&["metadata", "generation"]), Some(&json!(1)));
}

#[test]
fn status_transitions_j_602_j_603() {
    const T1: &str = "2026-03-01T10:00:00Z";
    const T2: &str = "2026-03-01T11:00:00Z";
    let plain = created(&job(json!({"completions": 3})));
    let own = created(&indexed(json!({"backoffLimitPerIndex": 1})));
    let policy = created(&indexed(json!({"successPolicy": {"rules": [{"succeededCount": 1}]}})));
    let check = |job: &Value, old: Value, new: Value, want: &[&str]| {
        let (mut old_job, mut new_job) = (job.clone(), job.clone());
        old_job["status"] = old;
        new_job["status"] = new.clone();
        let got = update(Part::Status, &old_job, &new_job).err().unwrap_or_default();
        let want = want.iter().map(|want| format!("status.{want}")).collect::<Vec<_>>();
        assert_eq!(got, want, "{new}");
    };
    let complete =
        json!({"conditions": conditions(&["SuccessCriteriaMet", "Complete"]), "startTime": T1, "completionTime": T2});
    let failed = json!({"conditions": conditions(&["FailureTarget", "Failed"]), "startTime": T1});
    let started = json!({"startTime": T1});
    check(&plain, started.clone(), complete.clone(), &[]);
    check(&plain, started.clone(), failed.clone(), &[]);
    // J-602
    for field in ["active", "succeeded", "failed", "ready", "terminating"] {
        let negative = format!("{field}: Invalid value: -1: must be greater than or equal to 0");
        let fallen = format!("{field}: Invalid value: -1: cannot decrease the {field} counter");
        let want = if ["succeeded", "failed"].contains(&field) { vec![&*negative, &fallen] } else { vec![&*negative] };
        check(&plain, json!({}), json!({field: -1}), &want);
    }
    check(
        &plain,
        json!({}),
        json!({"uncountedTerminatedPods": {"succeeded": ["a", ""], "failed": ["a"]}}),
        &[
            "uncountedTerminatedPods.succeeded[1]: Invalid value: \"\": must not be empty",
            "uncountedTerminatedPods.failed[0]: Duplicate value: \"a\"",
        ],
    );
    // Conditions.
    let conditioned = |types: &[&str]| json!({"conditions": conditions(types), "startTime": T1, "completionTime": T2});
    check(
        &plain,
        started.clone(),
        conditioned(&["Complete", "Failed", "FailureTarget", "SuccessCriteriaMet"]),
        &[
            "conditions: Invalid value: cannot set Complete=True and Failed=true conditions",
            "conditions: Invalid value: cannot set Complete=True and FailureTarget=true conditions",
            "conditions: Invalid value: cannot set SuccessCriteriaMet=True and Failed=true conditions",
            "conditions: Invalid value: cannot set SuccessCriteriaMet=True and FailureTarget=true conditions",
        ],
    );
    check(
        &plain,
        started.clone(),
        json!({"conditions": conditions(&["Failed"]), "startTime": T1}),
        &["conditions: Invalid value: cannot set Failed=True condition without the FailureTarget=true condition"],
    );
    check(
        &policy,
        started.clone(),
        conditioned(&["Complete"]),
        &[
            "conditions: Invalid value: cannot set Complete=True condition without the SuccessCriteriaMet=true condition",
            "conditions: Invalid value: cannot set Complete=True for Job with SuccessPolicy unless SuccessCriteriaMet=True",
        ],
    );
    check(
        &plain,
        failed.clone(),
        started.clone(),
        &[
            "conditions: Invalid value: cannot disable the terminal Failed=True condition",
            "conditions: Invalid value: cannot disable the terminal FailureTarget=True condition",
        ],
    );
    check(
        &plain,
        complete.clone(),
        json!({"conditions": conditions(&["Complete"]), "startTime": T1, "completionTime": T2}),
        &[
            "conditions: Invalid value: cannot set Complete=True condition without the SuccessCriteriaMet=true condition",
            "conditions: Invalid value: cannot disable the SuccessCriteriaMet=True condition",
        ],
    );
    check(
        &plain,
        conditioned(&["Complete"]),
        complete.clone(),
        &["conditions: Invalid value: cannot set SuccessCriteriaMet=True for Job already has Complete=true conditions"],
    );
    // Times.
    check(
        &plain,
        started.clone(),
        json!({"startTime": T1, "completionTime": T2}),
        &[&format!(
            "completionTime: Invalid value: \"{T2}\": cannot set completionTime when there is no Complete=True condition"
        )],
    );
    check(
        &plain,
        started.clone(),
        json!({"startTime": T1, "conditions": conditions(&["SuccessCriteriaMet", "Complete"])}),
        &["completionTime: Required value: completionTime is required for Complete jobs"],
    );
    check(
        &plain,
        json!({"startTime": T2}),
        json!({"startTime": T2, "completionTime": T1, "conditions": conditions(&["SuccessCriteriaMet", "Complete"])}),
        &[&format!("completionTime: Invalid value: \"{T1}\": must be equal to or after `startTime`")],
    );
    check(
        &plain,
        complete.clone(),
        merge(complete.clone(), &json!({"completionTime": written::NOON})),
        &[&format!("completionTime: Invalid value: \"{}\": field is immutable", written::NOON)],
    );
    check(
        &plain,
        json!({}),
        json!({"conditions": conditions(&["FailureTarget", "Failed"])}),
        &["startTime: Required value: startTime is required for finished job"],
    );
    let empty = created(&job(json!({"completions": 0, "suspend": true})));
    check(
        &empty,
        json!({}),
        json!({"completionTime": T2, "conditions": conditions(&["SuccessCriteriaMet", "Complete"])}),
        &[],
    );
    check(
        &plain,
        started.clone(),
        json!({"startTime": T2}),
        &[&format!("startTime: Invalid value: \"{T2}\": field is immutable for unsuspended job once set")],
    );
    check(
        &plain,
        json!({"startTime": T1, "conditions": conditions(&["Suspended"])}),
        json!({"startTime": T2, "conditions": [{"type": "Suspended", "status": "False"}]}),
        &[],
    );
    // Counters.
    check(
        &plain,
        started.clone(),
        merge(failed.clone(), &json!({"active": 1, "terminating": 2, "uncountedTerminatedPods": {"failed": ["a"]}})),
        &[
            "active: Invalid value: 1: active>0 is invalid for finished job",
            "terminating: Invalid value: 2: terminating>0 is invalid for finished job",
            "uncountedTerminatedPods: Invalid value: {\"failed\":[\"a\"]}: must be empty for finished job",
        ],
    );
    check(
        &plain,
        json!({}),
        json!({"active": 1, "ready": 2}),
        &["ready: Invalid value: 2: cannot set more ready pods than active"],
    );
    check(
        &plain,
        json!({"failed": 2, "succeeded": 2}),
        json!({"failed": 1, "succeeded": 1}),
        &[
            "failed: Invalid value: 1: cannot decrease the failed counter",
            "succeeded: Invalid value: 1: cannot decrease the succeeded counter",
        ],
    );
    let elastic = created(&indexed(json!({"parallelism": 5})));
    check(&elastic, json!({"succeeded": 2}), json!({"succeeded": 1}), &[]);
    // Index lists.
    check(
        &plain,
        json!({}),
        json!({"completedIndexes": "0", "failedIndexes": ""}),
        &[
            "completedIndexes: Invalid value: \"0\": cannot set non-empty completedIndexes when non-indexed completion mode",
            "failedIndexes: Invalid value: \"\": cannot set non-null failedIndexes when backoffLimitPerIndex is null",
        ],
    );
    check(
        &own,
        json!({}),
        json!({"completedIndexes": "5", "failedIndexes": "x"}),
        &[
            "completedIndexes: Invalid value: \"5\": error parsing completedIndexes: too large index: \"5\"",
            "failedIndexes: Invalid value: \"x\": error parsing failedIndexes: cannot convert string to integer for index: \"x\"",
        ],
    );
    check(
        &own,
        json!({}),
        json!({"completedIndexes": "0-2", "failedIndexes": "2,4"}),
        &["failedIndexes: Invalid value: \"2,4\": failedIndexes and completedIndexes overlap at index: 2"],
    );
}
