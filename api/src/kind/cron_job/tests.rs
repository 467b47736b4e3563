//! Cron jobs through the write path.

use serde_json::{Value, json};

use super::*;
use crate::kind::testing::{Story, check_cells};

const STORY: Story = Story { plural: "cronjobs", group: "batch" };

/// A small legal cron job with these fields merged into its spec.
fn cron_job(spec: Value) -> Value {
    let mut whole = json!({
        "schedule": "0 * * * *",
        "jobTemplate": {"spec": {"template": {"spec": {
            "restartPolicy": "Never", "containers": [{"name": "c", "image": "i"}],
        }}}},
    });
    for (field, value) in spec.as_object().unwrap() {
        whole[field] = value.clone();
    }
    json!({"metadata": {"name": "a"}, "spec": whole})
}

/// With these fields merged into the job's spec.
fn with_job(spec: Value) -> Value {
    let mut whole = cron_job(json!({}));
    for (field, value) in spec.as_object().unwrap() {
        whole["spec"]["jobTemplate"]["spec"][field] = value.clone();
    }
    whole
}

/// C-201, C-202, C-203, C-204, C-205, C-206, C-207, C-208.
#[test]
fn c201_to_c208_only_these_fields_have_defaults() {
    let made = STORY.creates(with_job(json!({"podFailurePolicy": {"rules": [
        {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget"}]},
    ]}})));
    let mut spec = made.get(&["spec"]).unwrap().clone();
    let job = spec["jobTemplate"]["spec"].take();
    spec["jobTemplate"] = Value::Null;
    assert_eq!(
        spec,
        json!({
            "schedule": "0 * * * *", "concurrencyPolicy": "Allow", "suspend": false,
            "successfulJobsHistoryLimit": 3, "failedJobsHistoryLimit": 1, "jobTemplate": null,
        })
    );
    let fields = job.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    assert_eq!(fields, ["podFailurePolicy", "template"]);
    assert_eq!(job["podFailurePolicy"]["rules"][0]["onPodConditions"][0]["status"], "True");
    assert_eq!(job["template"]["spec"]["dnsPolicy"], "ClusterFirst");
    assert_eq!(made.get(&["metadata", "labels"]), None);
}

#[test]
fn zeros_that_a_go_client_leaves_out_are_left_out_here_too() {
    let with = |pod: Value, container: Value| {
        let mut whole = with_job(json!({}));
        let spec = &mut whole["spec"]["jobTemplate"]["spec"]["template"]["spec"];
        spec.as_object_mut().unwrap().extend(pod.as_object().unwrap().clone());
        spec["containers"][0].as_object_mut().unwrap().extend(container.as_object().unwrap().clone());
        STORY.creates(whole).get(&["spec"]).unwrap().clone()
    };
    assert_eq!(
        with(json!({"hostNetwork": false, "hostname": ""}), json!({"tty": false, "env": [{"name": "A", "value": ""}]})),
        with(json!({}), json!({"env": [{"name": "A"}]}))
    );
}

/// C-209
#[test]
fn c209_status_is_the_controllers_and_generation_counts_specs() {
    let mut body = cron_job(json!({}));
    body["status"] = json!({"lastScheduleTime": "2026-01-01T00:00:00Z"});
    let made = STORY.creates(body);
    assert_eq!(made.get(&["status"]), Some(&json!({})));
    assert_eq!(made.get(&["metadata", "generation"]), Some(&json!(1)));
    let mut body = cron_job(json!({"schedule": "5 * * * *"}));
    body["status"] = json!({"active": [{"name": "x"}]});
    let updated = STORY.updates(&cron_job(json!({})), body);
    assert_eq!(updated.get(&["status"]), Some(&json!({})));
    assert_eq!(updated.get(&["metadata", "generation"]), Some(&json!(2)));
}

/// C-301
#[test]
fn c301_names_leave_room_for_the_minute() {
    let named = |length| {
        let mut body = cron_job(json!({}));
        body["metadata"]["name"] = "a".repeat(length).into();
        body
    };
    STORY.creates(named(52));
    let want = format!("metadata.name: Invalid value: \"{}\": must be no more than 52 characters", "a".repeat(53));
    STORY.refuses(named(53), &[&want]);
    assert!(
        STORY.fails(cron_job(json!({"schedule": "x"}))).message.starts_with(
            "CronJob.batch \"a\" is invalid: spec.schedule: Invalid value: \"x\": expected exactly 5 fields"
        )
    );
}

/// C-302, C-303, C-304, C-315, C-407.
#[test]
fn c302_to_c304_schedules() {
    let check = |schedule: &str, want: &[&str]| STORY.refuses(cron_job(json!({"schedule": schedule})), want);
    check("", &["spec.schedule: Required value"]);
    check("* * *", &["spec.schedule: Invalid value: \"* * *\": expected exactly 5 fields, found 3: [* * *]"]);
    check(
        "TZ=UTC 0 * * * *",
        &[
            "spec.schedule: Invalid value: \"TZ=UTC 0 * * * *\": cannot use TZ or CRON_TZ in schedule, use timeZone field instead",
        ],
    );
    check(
        "TZ=0",
        &[
            "spec.schedule: Invalid value: \"TZ=0\": invalid schedule format: runtime error: slice bounds out of range [:-1]",
            "spec.schedule: Invalid value: \"TZ=0\": cannot use TZ or CRON_TZ in schedule, use timeZone field instead",
        ],
    );
    STORY.creates(cron_job(json!({"schedule": "59 23 31 2 *"}))); // C-315
}

/// An update of a stored cron job whose schedule is from before the rule.
#[track_caller]
fn check_update(old_schedule: &str, change: Value, want: &[&str]) -> Vec<String> {
    let mut old = STORY.creates(cron_job(json!({})));
    old.0["spec"]["schedule"] = old_schedule.into();
    let mut new = old.clone();
    for (field, value) in change.as_object().unwrap() {
        new.0["spec"][field] = value.clone();
    }
    let errors = CronJobRules.validate(&new, Some((&old, Part::Main)));
    let texts = errors.0.iter().map(|error| format!("{}: {}", error.field, error.body)).collect::<Vec<_>>();
    assert_eq!(texts, want);
    CronJobRules.warnings(&new, Some(&old))
}

/// C-104, C-304.
#[test]
fn s8_updates_around_zones_in_schedules() {
    let zoned = "TZ=UTC 0 * * * *";
    let plain = "0 * * * *";
    check_update(
        plain,
        json!({"schedule": zoned}),
        &[
            "spec.schedule: Invalid value: \"TZ=UTC 0 * * * *\": cannot use TZ or CRON_TZ in schedule, use timeZone field instead",
        ],
    );
    let warnings = check_update(zoned, json!({}), &[]);
    assert_eq!(
        warnings,
        [
            "cannot use TZ or CRON_TZ in spec.spec.schedule, use timeZone instead, see https://kubernetes.io/docs/concepts/workloads/controllers/cron-jobs/ for more details"
        ]
    );
    check_update(
        zoned,
        json!({"timeZone": "UTC"}),
        &[
            "spec.schedule: Invalid value: \"TZ=UTC 0 * * * *\": cannot use both timeZone field and TZ or CRON_TZ in schedule",
        ],
    );
    assert!(check_update(zoned, json!({"schedule": plain, "timeZone": "UTC"}), &[]).is_empty());
}

/// C-306, C-307, C-308, C-309.
#[test]
fn c306_to_c309_zones() {
    for zone in ["UTC", "America/New_York", "Etc/GMT+5", "America/Argentina/Buenos_Aires"] {
        STORY.creates(cron_job(json!({"timeZone": zone})));
    }
    let local = "timeZone must be an explicit time zone as defined in https://www.iana.org/time-zones";
    for (zone, want) in [
        ("", vec!["timeZone must be nil or non-empty string"]),
        ("Mars/Base", vec!["unknown time zone Mars/Base"]),
        ("utc", vec!["unknown time zone utc"]),
        ("../etc", vec!["unknown time zone ../etc"]),
        ("-x", vec!["unknown time zone -x"]),
        ("America//X", vec!["unknown time zone America//X"]),
        ("America/North_Dakota_X", vec!["unknown time zone America/North_Dakota_X"]),
        (".", vec!["unknown time zone ."]),
        ("Europe/./Berlin", vec!["unknown time zone Europe/./Berlin"]),
        ("/UTC", vec!["unknown time zone /UTC"]),
        ("Europe/Berlin ", vec!["unknown time zone Europe/Berlin "]),
        ("Zürich", vec!["unknown time zone Zürich"]),
        ("Local", vec![local]),
        ("LOCAL", vec![local, "unknown time zone LOCAL"]),
    ] {
        let want = want.iter().map(|detail| format!("spec.timeZone: Invalid value: \"{zone}\": {detail}"));
        let want = want.collect::<Vec<_>>();
        let want = want.iter().map(String::as_str).collect::<Vec<_>>();
        STORY.refuses(cron_job(json!({"timeZone": zone})), &want);
    }
    // One that was let in earlier may stay.
    let mut old = STORY.creates(cron_job(json!({})));
    old.0["spec"]["timeZone"] = "Mars/Base".into();
    assert!(CronJobRules.validate(&old, Some((&old, Part::Main))).is_empty());
}

/// C-305, C-310, C-314.
#[test]
fn c305_c310_c314_numbers_and_policies() {
    STORY.creates(cron_job(
        json!({"startingDeadlineSeconds": 0, "successfulJobsHistoryLimit": 0, "failedJobsHistoryLimit": 0}),
    ));
    STORY.refuses(
        cron_job(json!({
            "startingDeadlineSeconds": -1, "concurrencyPolicy": "Sometimes",
            "successfulJobsHistoryLimit": -2, "failedJobsHistoryLimit": -3,
        })),
        &[
            "spec.startingDeadlineSeconds: Invalid value: -1: must be greater than or equal to 0",
            "spec.concurrencyPolicy: Unsupported value: \"Sometimes\": supported values: \"Allow\", \"Forbid\", \"Replace\"",
            "spec.successfulJobsHistoryLimit: Invalid value: -2: must be greater than or equal to 0",
            "spec.failedJobsHistoryLimit: Invalid value: -3: must be greater than or equal to 0",
        ],
    );
}

/// All that is wrong is told at once, in the order of the rules (section 3).
#[test]
fn the_rules_are_told_in_their_order() {
    let mut body = cron_job(json!({
        "schedule": "60 * * * *", "startingDeadlineSeconds": -1, "timeZone": "", "concurrencyPolicy": "Never",
        "successfulJobsHistoryLimit": -1, "failedJobsHistoryLimit": -1,
    }));
    body["metadata"]["name"] = "A".into();
    body["spec"]["jobTemplate"]["spec"]["backoffLimit"] = json!(-1);
    let details = STORY.fails(body).details.unwrap();
    let fields: Vec<_> =
        details["causes"].as_array().unwrap().iter().map(|cause| cause["field"].as_str().unwrap()).collect();
    assert_eq!(
        fields,
        [
            "metadata.name",
            "spec.schedule",
            "spec.startingDeadlineSeconds",
            "spec.timeZone",
            "spec.concurrencyPolicy",
            "spec.jobTemplate.spec.backoffLimit",
            "spec.successfulJobsHistoryLimit",
            "spec.failedJobsHistoryLimit",
        ]
    );
}

/// C-101, C-102.
#[test]
fn c101_names_verbs_and_selectors() {
    let resource = crate::registry::Kind::CronJob.resource();
    assert_eq!(
        (resource.plural, resource.singular, resource.kind, resource.short_names, resource.categories),
        ("cronjobs", "cronjob", "CronJob", &["cj"][..], &["all"][..])
    );
    assert!(resource.namespaced);
    let made = STORY.creates(cron_job(json!({})));
    assert_eq!(CronJobRules.field(&made, "metadata.name").as_deref(), Some("a"));
    assert_eq!(CronJobRules.field(&made, "metadata.namespace").as_deref(), Some(made.namespace()));
    for other in ["spec.suspend", "status.successful", "spec.schedule"] {
        assert_eq!(CronJobRules.field(&made, other), None, "{other}");
    }
}

/// C-311, C-312, C-313, C-315.
#[test]
fn c311_to_c313_the_template_is_checked_as_a_job_is() {
    let check = |spec: Value, want: &[&str]| STORY.refuses(with_job(spec), want);
    check(
        json!({"template": {"spec": {"containers": [{"name": "c", "image": "i"}]}}}),
        &["spec.jobTemplate.spec.template.spec.restartPolicy: Required value: valid values: \"OnFailure\", \"Never\""],
    );
    check(
        json!({"parallelism": -1, "completionMode": "Indexed"}),
        &[
            "spec.jobTemplate.spec.parallelism: Invalid value: -1: must be greater than or equal to 0",
            "spec.jobTemplate.spec.completions: Required value: when completion mode is Indexed",
        ],
    );
    check(
        json!({"selector": {"matchLabels": {"a": "b"}}, "manualSelector": true}),
        &[
            "spec.jobTemplate.spec.selector: Invalid value: {\"matchLabels\":{\"a\":\"b\"}}: `selector` will be auto-generated",
            "spec.jobTemplate.spec.manualSelector: Unsupported value: true: supported values: \"nil\", \"false\"",
        ],
    );
    // C-315: seen when a job is made of it.
    let mut body = cron_job(json!({}));
    body["spec"]["jobTemplate"]["metadata"] = json!({"labels": {"a": "not a label value"}});
    STORY.creates(body);
}

/// C-104
#[test]
fn c104_warnings_name_the_templates_path() {
    let mut body = cron_job(json!({}));
    body["metadata"]["name"] = "a.b".into();
    body["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"][0]["env"] =
        json!([{"name": "X", "value": "1"}, {"name": "X", "value": "2"}]);
    let warnings = CronJobRules.warnings(&STORY.creates(body), None);
    assert_eq!(warnings.len(), 2, "{warnings:?}");
    assert!(warnings[0].starts_with("metadata.name: this is used in Pod names"), "{warnings:?}");
    assert!(warnings[1].starts_with("spec.jobTemplate.spec.template.spec.containers[0].env[1]"), "{warnings:?}");
}

/// C-103
#[test]
fn c102_only_name_and_namespace_are_selectable() {
    let made = STORY.creates(cron_job(json!({})));
    assert_eq!(CronJobRules.field(&made, "metadata.name").as_deref(), Some("a"));
    assert_eq!(CronJobRules.field(&made, "status.successful"), None);
    assert_eq!(
        CronJobRules.unsupported_field("spec.suspend"),
        "\"spec.suspend\" is not a known field selector: only \"metadata.name\", \"metadata.namespace\""
    );
}

#[test]
fn c103_cells() {
    let mut made = STORY.creates(cron_job(json!({})));
    let want = json!(["a", "0 * * * *", "<none>", "False", 0, "<none>", "5m", "c", "i", "<none>"]);
    check_cells(&CronJobRules, &made, want);
    made.0["spec"]["timeZone"] = "Europe/Berlin".into();
    made.0["spec"]["suspend"] = true.into();
    made.0.insert(
        "status".to_owned(),
        json!({"active": [{"name": "x"}, {"name": "y"}], "lastScheduleTime": "2026-11-20T21:04:00Z"}),
    );
    let want = json!(["a", "0 * * * *", "Europe/Berlin", "True", 2, "60s", "5m", "c", "i", "<none>"]);
    check_cells(&CronJobRules, &made, want);
    made.0["spec"].as_object_mut().unwrap().remove("suspend");
    assert_eq!(CronJobRules.cells(&made, crate::kind::testing::noon())[3], "<unset>");
}
