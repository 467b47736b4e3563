//! The tables of jobs.md sections 1 to 6: one per table of the spec, down the real write path.

use serde_json::{Value, json};

use crate::{
    kind::written::{self, UID, create, created, merge, noon, object, resource, update},
    write::{self, Part},
};

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

/// What creating answers: every cause, in order.
#[track_caller]
fn check(body: &Value, want: &[&str]) {
    let got = create(body).err().unwrap_or_default();
    assert_eq!(got, want, "{body}");
}

/// The field and detail only, for values whose JSON is long (J-404).
#[track_caller]
fn check_ends(body: &Value, want: &[(&str, &str)]) {
    let got = create(body).err().unwrap_or_default();
    let fits = got.len() == want.len()
        && got.iter().zip(want).all(|(got, (field, detail))| {
            got.starts_with(&format!("{field}: Invalid value: ")) && got.ends_with(detail)
        });
    assert!(fits, "{body}: {got:#?}");
}

#[test]
fn fills_what_is_absent_j_201_to_j_214() {
    for (spec, field, want) in [
        (json!({}), "completions", json!(1)), // J-201
        (json!({}), "parallelism", json!(1)),
        (json!({"completions": 3}), "parallelism", json!(1)), // J-202
        (json!({"parallelism": 3}), "completions", Value::Null), // J-203
        (json!({}), "backoffLimit", json!(6)),                // J-204
        (
            json!({"backoffLimitPerIndex": 1, "completionMode": "Indexed", "completions": 1}),
            "backoffLimit",
            json!(i32::MAX),
        ),
        (json!({}), "completionMode", json!("NonIndexed")), // J-205
        (json!({}), "suspend", json!(false)),               // J-206
        (json!({}), "podReplacementPolicy", json!("TerminatingOrFailed")), // J-207
        (json!({"podFailurePolicy": {"rules": []}}), "podReplacementPolicy", json!("Failed")),
        (json!({}), "manualSelector", json!(false)), // J-208
        (
            json!({"podFailurePolicy": {"rules": [{"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget"}]}]}}),
            "podFailurePolicy",
            json!({"rules": [{"action": "Ignore", "onPodConditions": [{"status": "True", "type": "DisruptionTarget"}]}]}), // J-209
        ),
        (json!({}), "activeDeadlineSeconds", Value::Null), // J-212
        (json!({}), "ttlSecondsAfterFinished", Value::Null),
        (json!({}), "managedBy", Value::Null),
    ] {
        assert_eq!(created(&job(spec.clone()))["spec"][field], want, "{field} of {spec}");
    }
}

#[test]
fn generates_selector_and_labels_j_302_to_j_305() {
    let body = merge(job(json!({})), &json!({"status": {"succeeded": 4}, "metadata": {"generation": 7}}));
    let stored = created(&body);
    let labels = json!({
        "job-name": "pi", "batch.kubernetes.io/job-name": "pi",
        "controller-uid": UID, "batch.kubernetes.io/controller-uid": UID,
    });
    assert_eq!(stored["spec"]["template"]["metadata"]["labels"], labels);
    assert_eq!(stored["spec"]["selector"], json!({"matchLabels": {"batch.kubernetes.io/controller-uid": UID}}));
    assert_eq!(stored["metadata"]["labels"], labels, "J-213");
    assert_eq!(stored["status"], json!({}), "J-302");
    assert_eq!(stored["metadata"]["generation"], 1, "J-302");

    let own = created(&merge(job(json!({})), &json!({"metadata": {"labels": {"team": "a"}}})));
    assert_eq!(own["metadata"]["labels"], json!({"team": "a"}), "J-213");

    let manual = json!({
        "manualSelector": true, "selector": {"matchLabels": {"a": "b"}},
        "template": {"metadata": {"labels": {"a": "b"}}},
    });
    let stored = created(&job(manual));
    assert_eq!(stored["spec"]["selector"], json!({"matchLabels": {"a": "b"}}), "J-305");
    assert_eq!(stored["spec"]["template"]["metadata"]["labels"], json!({"a": "b"}), "J-305");
}

#[test]
fn numbers_may_not_be_negative_j_414_j_415() {
    const NEG: &str = "must be greater than or equal to 0";
    for field in ["parallelism", "completions", "activeDeadlineSeconds", "backoffLimit", "ttlSecondsAfterFinished"] {
        check(&job(json!({field: -1})), &[&format!("spec.{field}: Invalid value: -1: {NEG}")]);
        check(&job(json!({field: 0})), &[]);
    }
    check(
        &indexed(json!({"backoffLimitPerIndex": -1, "maxFailedIndexes": -2})),
        &[
            "spec.backoffLimitPerIndex: Invalid value: -1: must be greater than or equal to 0",
            "spec.maxFailedIndexes: Invalid value: -2: must be greater than or equal to 0",
        ],
    );
    check(
        &indexed(json!({"maxFailedIndexes": 1})),
        &["spec.backoffLimitPerIndex: Required value: when maxFailedIndexes is specified"],
    );
}

#[test]
fn managed_by_is_a_path_with_a_domain_j_416() {
    let check = |value: &str, want: &[&str]| check(&job(json!({"managedBy": value})), want);
    const PATH: &str = "must be a domain-prefixed path (such as \"acme.io/foo\")";
    check("acme.io/foo", &[]);
    check("kubernetes.io/job-controller", &[]);
    check("", &["spec.managedBy: Required value"]);
    check("foo", &[&format!("spec.managedBy: Invalid value: \"foo\": {PATH}")]);
    check("/foo", &[&format!("spec.managedBy: Invalid value: \"/foo\": {PATH}")]);
    check("acme.io/", &[&format!("spec.managedBy: Invalid value: \"acme.io/\": {PATH}")]);
    check(
        "acme.io/f oo",
        &[
            "spec.managedBy: Invalid value: \"f oo\": Invalid path (regex used for validation is '[A-Za-z0-9/\\-._~%!$&'()*+,;=:]+')",
        ],
    );
    let long = format!("acme.io/{}", "x".repeat(60));
    check(&long, &["spec.managedBy: Too long: may not be more than 63 bytes"]);
    let host = create(&job(json!({"managedBy": "Acme/foo"}))).unwrap_err();
    assert!(host[0].starts_with("spec.managedBy: Invalid value: \"Acme\": a lowercase RFC 1123 subdomain"), "{host:?}");
}

#[test]
fn completion_modes_j_417_to_j_423() {
    check(
        &job(json!({"completionMode": "Other"})),
        &["spec.completionMode: Unsupported value: \"Other\": supported values: \"NonIndexed\", \"Indexed\""],
    );
    check(
        &job(json!({"completionMode": "Indexed", "parallelism": 1})),
        &["spec.completions: Required value: when completion mode is Indexed"],
    );
    check(
        &indexed(json!({"parallelism": 100_001})),
        &[
            "spec.parallelism: Invalid value: 100001: must be less than or equal to 100000 when completion mode is Indexed",
        ],
    );
    check(
        &indexed(json!({"backoffLimitPerIndex": 1, "maxFailedIndexes": 6})),
        &["spec.maxFailedIndexes: Invalid value: 6: must be less than or equal to completions"],
    );
    check(
        &indexed(json!({"backoffLimitPerIndex": 1, "maxFailedIndexes": 100_001})),
        &[
            "spec.maxFailedIndexes: Invalid value: 100001: must be less than or equal to completions",
            "spec.maxFailedIndexes: Invalid value: 100001: must be less than or equal to 100000",
        ],
    );
    const SOFT: &str =
        "must be less than or equal to 10000 when completions are above 100000 and used with backoff limit per index";
    let many =
        |spec| merge(indexed(json!({"completions": 100_001, "backoffLimitPerIndex": 1})), &json!({"spec": spec}));
    check(
        &many(json!({})),
        &["spec.maxFailedIndexes: Required value: must be specified when completions is above 100000"],
    );
    check(
        &many(json!({"maxFailedIndexes": 10_001, "parallelism": 10_001})),
        &[
            &format!("spec.maxFailedIndexes: Invalid value: 10001: {SOFT}"),
            &format!("spec.parallelism: Invalid value: 10001: {SOFT}"),
        ],
    );
    check(&many(json!({"maxFailedIndexes": 10_000, "parallelism": 10_000})), &[]);
    check(
        &job(json!({"backoffLimitPerIndex": 1, "maxFailedIndexes": 2})),
        &[
            "spec.backoffLimitPerIndex: Invalid value: 1: requires indexed completion mode",
            "spec.maxFailedIndexes: Invalid value: 2: requires indexed completion mode",
        ],
    );
}

#[test]
fn pod_failure_policies_j_424_to_j_433() {
    let rules = |rules: Value| job(json!({"podFailurePolicy": {"rules": rules}}));
    let rule = |rule: Value| rules(json!([rule]));
    let codes = |codes: Value| rule(json!({"action": "FailJob", "onExitCodes": codes}));
    let in_1 = json!({"operator": "In", "values": [1]});
    const AT: &str = "spec.podFailurePolicy.rules[0]";

    check(&rules(json!([])), &[]);
    let many = (0..21).map(|_| json!({"action": "Count", "onExitCodes": in_1})).collect::<Vec<_>>();
    check(&rules(many.into()), &["spec.podFailurePolicy.rules: Too many: 21: must have at most 20 items"]);
    // J-425
    check(
        &rule(json!({"action": "", "onExitCodes": in_1})),
        &[&format!("{AT}.action: Required value: valid values: [\"Count\" \"FailIndex\" \"FailJob\" \"Ignore\"]")],
    );
    check(
        &rule(json!({"action": "Retry", "onExitCodes": in_1})),
        &[&format!(
            "{AT}.action: Unsupported value: \"Retry\": supported values: \"Count\", \"FailIndex\", \"FailJob\", \"Ignore\""
        )],
    );
    check(
        &rule(json!({"action": "FailIndex", "onExitCodes": in_1})),
        &[&format!("{AT}.action: Invalid value: \"FailIndex\": requires the backoffLimitPerIndex to be set")],
    );
    // J-426
    check(
        &rule(json!({"action": "Count", "onExitCodes": in_1, "onPodConditions": [{"type": "A"}]})),
        &[&format!("{AT}: Invalid value: specifying both OnExitCodes and OnPodConditions is not supported")],
    );
    check(
        &rule(json!({"action": "Count"})),
        &[&format!("{AT}: Invalid value: specifying one of OnExitCodes and OnPodConditions is required")],
    );
    // J-427 to J-430
    for (value, want) in [
        (json!({"operator": "", "values": [1]}), vec![".operator: Required value: valid values: [\"In\" \"NotIn\"]"]),
        (
            json!({"operator": "Is", "values": [1]}),
            vec![".operator: Unsupported value: \"Is\": supported values: \"In\", \"NotIn\""],
        ),
        (
            json!({"operator": "In", "values": [1], "containerName": "other"}),
            vec![
                ".containerName: Invalid value: \"other\": must be one of the container or initContainer names in the pod template",
            ],
        ),
        (json!({"operator": "In", "values": [1], "containerName": "main"}), vec![]),
        (json!({"operator": "In", "values": []}), vec![".values: Invalid value: []: at least one value is required"]),
        (
            json!({"operator": "NotIn", "values": (0..256).collect::<Vec<_>>()}),
            vec![".values: Too many: 256: must have at most 255 items"],
        ),
        (json!({"operator": "In", "values": [2, 1]}), vec![".values: Invalid value: [2,1]: must be ordered"]),
        (
            json!({"operator": "In", "values": [0]}),
            vec![".values[0]: Invalid value: 0: must not be 0 for the In operator"],
        ),
        (json!({"operator": "NotIn", "values": [-1, 0]}), vec![]),
        (json!({"operator": "In", "values": [1, 1]}), vec![".values[1]: Duplicate value: 1"]),
    ] {
        let want = want.iter().map(|want| format!("{AT}.onExitCodes{want}")).collect::<Vec<_>>();
        check(&codes(value), &want.iter().map(String::as_str).collect::<Vec<_>>());
    }
    // J-431 to J-433
    let conditions = |conditions: Value| rule(json!({"action": "Ignore", "onPodConditions": conditions}));
    let many = (0..21).map(|number| json!({"type": format!("C{number}")})).collect::<Vec<_>>();
    check(&conditions(many.into()), &[&format!("{AT}.onPodConditions: Too many: 21: must have at most 20 items")]);
    check(
        &conditions(json!([{"type": "A", "status": "Maybe"}])),
        &[&format!(
            "{AT}.onPodConditions[0].status: Unsupported value: \"Maybe\": supported values: \"False\", \"True\", \"Unknown\""
        )],
    );
    let bad = create(&conditions(json!([{"type": "a b"}]))).unwrap_err();
    assert!(
        bad[0].starts_with(&format!("{AT}.onPodConditions[0].type: Invalid value: \"a b\": name part ")),
        "{bad:?}"
    );
}

#[test]
fn success_policies_j_434_to_j_438() {
    let rules = |rules: Value| indexed(json!({"successPolicy": {"rules": rules}}));
    const AT: &str = "spec.successPolicy.rules";
    check_ends(
        &job(json!({"successPolicy": {"rules": []}})),
        &[("spec.successPolicy", "requires indexed completion mode")],
    );
    check(
        &rules(json!([])),
        &[&format!("{AT}: Required value: at least one rules must be specified when the successPolicy is specified")],
    );
    let many = (0..21).map(|_| json!({"succeededCount": 1})).collect::<Vec<_>>();
    check(&rules(many.into()), &[&format!("{AT}: Too many: 21: must have at most 20 items")]);
    for (rule, want) in [
        (json!({}), vec![": Required value: at least one of succeededCount or succeededIndexes must be specified"]),
        (json!({"succeededIndexes": ""}), vec![]), // J-446
        (json!({"succeededIndexes": "0-2", "succeededCount": 3}), vec![]),
        (
            json!({"succeededIndexes": "1,3-2"}),
            vec![
                ".succeededIndexes: Invalid value: \"1,3-2\": error parsing succeededIndexes: non-increasing order, previous: 3, current: 2",
            ],
        ),
        (json!({"succeededCount": -1}), vec![".succeededCount: Invalid value: -1: must be greater than or equal to 0"]),
        (
            json!({"succeededCount": 6}),
            vec![
                ".succeededCount: Invalid value: 6: must be less than or equal to 5 (the number of specified completions)",
            ],
        ),
        (
            json!({"succeededIndexes": "0,1", "succeededCount": 3}),
            vec![
                ".succeededCount: Invalid value: 3: must be less than or equal to 2 (the number of indexes in the specified succeededIndexes field)",
            ],
        ),
    ] {
        let want = want.iter().map(|want| format!("{AT}[0]{want}")).collect::<Vec<_>>();
        check(&rules(json!([rule])), &want.iter().map(String::as_str).collect::<Vec<_>>());
    }
    let long = "0,".repeat(40_000);
    let got = create(&rules(json!([{"succeededIndexes": long}]))).unwrap_err();
    assert_eq!(got[0], format!("{AT}[0].succeededIndexes: Too long: may not be more than 65536 bytes"));
    // J-2702: no completions, and nothing else is said.
    check(
        &job(
            json!({"completionMode": "Indexed", "parallelism": 1, "successPolicy": {"rules": [{"succeededCount": 3, "succeededIndexes": "9"}]}}),
        ),
        &["spec.completions: Required value: when completion mode is Indexed"],
    );
}

#[test]
fn replacement_and_restart_policies_j_439_j_442() {
    check(
        &job(json!({"podReplacementPolicy": "Never"})),
        &[
            "spec.podReplacementPolicy: Unsupported value: \"Never\": supported values: \"Failed\", \"TerminatingOrFailed\"",
        ],
    );
    check(
        &job(json!({"podReplacementPolicy": "TerminatingOrFailed", "podFailurePolicy": {"rules": []}})),
        &["spec.podReplacementPolicy: Unsupported value: \"TerminatingOrFailed\": supported values: \"Failed\""],
    );
    let policy = |policy: Value| job(json!({"template": {"spec": {"restartPolicy": policy}}}));
    const AT: &str = "spec.template.spec.restartPolicy";
    for absent in [Value::Null, json!("Always"), json!("")] {
        check(&policy(absent), &[&format!("{AT}: Required value: valid values: \"OnFailure\", \"Never\"")]);
    }
    check(
        &policy(json!("Sometimes")),
        &[
            &format!("{AT}: Unsupported value: \"Sometimes\": supported values: \"Always\", \"OnFailure\", \"Never\""),
            &format!("{AT}: Unsupported value: \"Sometimes\": supported values: \"OnFailure\", \"Never\""),
        ],
    );
    check(
        &merge(policy(json!("OnFailure")), &json!({"spec": {"podFailurePolicy": {"rules": []}}})),
        &[&format!(
            "{AT}: Invalid value: \"OnFailure\": only \"Never\" is supported when podFailurePolicy is specified"
        )],
    );
    // J-446
    check(&indexed(json!({"backoffLimitPerIndex": 1, "template": {"spec": {"restartPolicy": "OnFailure"}}})), &[]);
}

#[test]
fn generated_labels_and_selectors_j_411_j_412_j_413_j_443_j_444() {
    let labels = |labels: Value| job(json!({"template": {"metadata": {"labels": labels}}}));
    check(
        &labels(json!({"job-name": "other"})),
        &[&format!(
            "spec.template.metadata.labels[job-name]: Invalid value: {}: must be 'pi'",
            json!({"job-name": "other", "batch.kubernetes.io/job-name": "pi", "controller-uid": UID, "batch.kubernetes.io/controller-uid": UID})
        )],
    );
    // J-410, J-411: what limits the name is that it becomes a label's value, twice.
    let long = merge(job(json!({})), &json!({"metadata": {"name": "x".repeat(64)}}));
    let got = create(&long).unwrap_err();
    assert_eq!(got.len(), 2, "{got:?}");
    for cause in got {
        assert!(cause.starts_with("spec.template.labels: Invalid value: \"xxx"), "{cause}");
        assert!(cause.ends_with("must be no more than 63 bytes"), "{cause}");
    }
    // J-413, W-175: the user's part of the selector stays, and is wrong.
    check_ends(
        &job(json!({"selector": {"matchLabels": {"a": "b"}}, "template": {"metadata": {"labels": {"a": "b"}}}})),
        &[("spec.selector", "`selector` not auto-generated")],
    );
    // J-443, J-444
    let manual = |spec| {
        merge(
            job(json!({"manualSelector": true, "template": {"metadata": {"labels": {"a": "b"}}}})),
            &json!({"spec": spec}),
        )
    };
    const NO_MATCH: &str =
        "spec.template.metadata.labels: Invalid value: {\"a\":\"b\"}: `selector` does not match template `labels`";
    check(&manual(json!({})), &["spec.selector: Required value", NO_MATCH]);
    check(&manual(json!({"selector": {}})), &[]);
    check(&manual(json!({"selector": {"matchLabels": {"a": "c"}}})), &[NO_MATCH]);
    check(
        &manual(json!({"selector": {"matchExpressions": [{"key": "a", "operator": "Is"}]}})),
        &["spec.selector.matchExpressions[0].operator: Invalid value: \"Is\": not a valid selector operator"],
    );
}

#[test]
fn hostnames_of_indexes_are_labels_j_445() {
    let named = |name: &str, spec: Value| merge(indexed(spec), &json!({"metadata": {"name": name}}));
    check(&named(&"x".repeat(61), json!({"completions": 10})), &[]);
    let name = "x".repeat(62);
    check(
        &named(&name, json!({"completions": 1})),
        &[&format!(
            "metadata.name: Invalid value: {name:?}: will not able to create pod with invalid DNS label: {name}-0"
        )],
    );
    check(
        &named("a.b", json!({"completions": 2})),
        &["metadata.name: Invalid value: \"a.b\": will not able to create pod with invalid DNS label: a.b-1"],
    );
    check(&named("a.b", json!({"completions": 0})), &[]);
}

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

fn conditions(types: &[&str]) -> Value {
    types.iter().map(|type_| json!({"type": type_, "status": "True"})).collect::<Vec<_>>().into()
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
    check(&plain, json!({}), json!({"active": -1}), &["active: Invalid value: -1: must be greater than or equal to 0"]);
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

#[test]
fn rows_t_1_j_105() {
    let stored = merge(
        created(&merge(job(json!({"completions": 3, "parallelism": 2})), &json!({"metadata": {"labels": {"a": "b"}}}))),
        &json!({"metadata": {"creationTimestamp": "2026-03-01T11:00:00Z"}}),
    );
    let cells = |status: Value, change: Value| {
        let mut job = merge(stored.clone(), &change);
        job["status"] = status;
        resource("Job").rules.cells(&object(&job), noon())
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
