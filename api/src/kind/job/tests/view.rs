//! What is shown of a job: rows, selectable fields, the index, warnings (section 1).

use serde_json::{Value, json};

use super::{conditions, indexed, job};
use crate::{
    kind::written::{self, UID, create, created, merge, noon, object, resource, update},
    write::{self, Part},
};

#[test]
fn rows_j_105() {
    let stored = merge(
        created(&merge(job(json!({"completions": 3, "parallelism": 2})), &json!({"metadata": {"labels": {"a": "b"}}}))),
        &json!({"metadata": {"creationTimestamp": "2026-03-01T11:00:00Z"}}),
    );
    let cells = |status: Value, change: Value| {
        let mut job = merge(stored.clone(), &change);
        job["status"] = status;
        let cells = resource("Job").rules.cells(&object(&job), noon());
        // Read from a body, they are the same.
        assert_eq!(resource("Job").rules.cells_of_body(&job.to_string(), noon()), Some(cells.clone()));
        cells
    };
    let selector = format!("batch.kubernetes.io/controller-uid={UID}");
    assert_eq!(
        json!(cells(json!({}), json!({}))),
        json!(["pi", "Running", "0/3", "", "60m", "main", "busybox", selector])
    );
    for (status, change, want) in [
        (json!({"conditions": conditions(&["SuccessCriteriaMet", "Complete"])}), json!({}), "Complete"),
        (json!({"conditions": conditions(&["FailureTarget", "Failed"])}), json!({}), "Failed"),
        (
            json!({"conditions": conditions(&["Suspended"])}),
            json!({"metadata": {"deletionTimestamp": written::NOON}}),
            "Terminating",
        ),
        (json!({"conditions": conditions(&["Suspended"])}), json!({}), "Suspended"),
        (json!({"conditions": conditions(&["FailureTarget"])}), json!({}), "FailureTarget"),
        (json!({"conditions": conditions(&["SuccessCriteriaMet"])}), json!({}), "SuccessCriteriaMet"),
        (json!({"conditions": [{"type": "Failed", "status": "False"}]}), json!({}), "Running"),
    ] {
        assert_eq!(cells(status.clone(), change)[1], want, "{status}");
    }
    for (spec, want) in [
        (json!({"completions": null}), "1/1 of 2"),
        (json!({"completions": null, "parallelism": 1}), "1/1"),
        (json!({}), "1/3"),
    ] {
        assert_eq!(cells(json!({"succeeded": 1}), json!({"spec": spec}))[2], want);
    }
    let started = "2026-03-01T11:58:30Z";
    assert_eq!(cells(json!({"startTime": started}), json!({}))[3], "90s");
    assert_eq!(cells(json!({"startTime": started, "completionTime": "2026-03-01T11:59:00Z"}), json!({}))[3], "30s");
}

#[test]
fn selectable_fields_j_102() {
    let rules = resource("Job").rules;
    let mut stored = created(&job(json!({})));
    let field = |job: &Value, label| rules.field(&object(job), label);
    assert_eq!(field(&stored, "status.successful").as_deref(), Some("0"));
    stored["status"] = json!({"succeeded": 3});
    assert_eq!(field(&stored, "status.successful").as_deref(), Some("3"));
    assert_eq!(field(&stored, "metadata.name").as_deref(), Some("pi"));
    assert_eq!(field(&stored, "spec.foo"), None);
    assert_eq!(rules.unsupported_field("spec.foo"), "field label \"spec.foo\" not supported for Job");
}

#[test]
fn finished_jobs_are_due_by_their_ttl_j_1901() {
    let mut stored = created(&job(json!({"ttlSecondsAfterFinished": 100})));
    let index = |job: &Value| write::index(resource("Job"), &object(job));
    assert_eq!((index(&stored).finished, index(&stored).due_at), (false, None));
    stored["status"] = json!({"conditions": [
        {"type": "FailureTarget", "status": "True", "lastTransitionTime": "2026-03-01T10:00:00Z"},
        {"type": "Failed", "status": "True", "lastTransitionTime": written::NOON},
    ]});
    assert!(index(&stored).finished);
    assert_eq!(index(&stored).due_at.map(|due| due.to_string()).as_deref(), Some("2026-03-01T12:01:40Z"));
    stored["metadata"]["deletionTimestamp"] = json!(written::NOON);
    assert_eq!(index(&stored).due_at, None);
}

#[test]
fn warnings_j_106() {
    let warn = |body: &Value| create(body).unwrap().warnings;
    let env = json!([{"name": "main", "image": "busybox", "env": [{"name": "A", "value": "1"}, {"name": "A", "value": "2"}]}]);
    assert_eq!(
        warn(&merge(job(json!({"template": {"spec": {"containers": env}}})), &json!({"metadata": {"name": "a.b"}}))),
        [
            "metadata.name: this is used in Pod names and hostnames, which can result in surprising behavior; a DNS label is recommended: [must not contain dots]",
            "spec.template.spec.containers[0].env[1]: hides previous definition of \"A\", which may be dropped when using apply",
        ]
    );
    assert_eq!(
        warn(&indexed(json!({"completions": 100_001, "parallelism": 10_001}))),
        [
            "spec: In Indexed Jobs with a number of completions higher than 10^5 and a parallelism higher than 10^4, Kubernetes might not be able to track completedIndexes when a big number of indexes fail"
        ]
    );
    assert!(warn(&job(json!({}))).is_empty());
    let old = created(&job(json!({"template": {"spec": {"containers": env}}})));
    let label = merge(old.clone(), &json!({"metadata": {"labels": {"x": "y"}}}));
    assert!(update(Part::Main, &old, &label).unwrap().unwrap().warnings.is_empty());
    let suspend = merge(old.clone(), &json!({"spec": {"suspend": true}}));
    assert_eq!(update(Part::Main, &old, &suspend).unwrap().unwrap().warnings.len(), 1);
}
