//! Creation: defaults (section 2), mutation (section 3), validation (section 4).

use serde_json::{Value, json};

use super::{indexed, job};
use crate::kind::written::{UID, create, created, merge};

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
fn names_come_before_the_selector_and_legacy_marks_are_not_made() {
    // J-301, J-306: the generated name and uid are in the labels.
    let mut body = job(json!({}));
    body["metadata"] = json!({"generateName": "pi-"});
    let stored = created(&body);
    let name = stored["metadata"]["name"].as_str().unwrap();
    assert!(name.len() == 8 && name.starts_with("pi-"), "{name}");
    assert!(name[3..].bytes().all(|byte| b"bcdfghjklmnpqrstvwxz2456789".contains(&byte)), "{name}");
    let labels = &stored["spec"]["template"]["metadata"]["labels"];
    assert_eq!((&labels["job-name"], &labels["controller-uid"]), (&json!(name), &json!(UID)));
    assert_eq!(stored["spec"]["selector"]["matchLabels"]["batch.kubernetes.io/controller-uid"], UID);
    // J-306
    body["metadata"] = json!({"generateName": "p".repeat(80)});
    body["spec"]["template"]["metadata"] = json!({"labels": {"job-name": "x"}});
    let refused = create(&body).unwrap_err();
    let cut = format!("must be '{}", "p".repeat(58));
    assert!(refused.iter().any(|cause| cause.contains(&cut) && !cause.contains(&"p".repeat(59))), "{refused:?}");
    // J-308
    assert_eq!(stored["metadata"].get("annotations"), None);
}

#[test]
fn a_template_is_a_legal_pod_without_ephemeral_containers() {
    // J-307, J-453
    let ephemeral = json!([{"name": "debug", "image": "busybox"}]);
    check(
        &job(json!({"template": {"spec": {"ephemeralContainers": ephemeral}}})),
        &["spec.template.spec.ephemeralContainers: Forbidden: ephemeral containers not allowed in pod template"],
    );
    // J-441, J-450, and what stands at the template comes before what the job says of it (J-403).
    check(
        &job(json!({"template": {"spec": {"containers": [], "restartPolicy": "Always"}}})),
        &[
            "spec.template.spec.containers: Required value",
            "spec.template.spec.restartPolicy: Required value: valid values: \"OnFailure\", \"Never\"",
        ],
    );
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
    // J-405
    check(
        "Acme/foo",
        &[
            "spec.managedBy: Invalid value: \"Acme\": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')",
        ],
    );
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
        &[("spec.selector", "`selector` not auto-generated")], // J-404
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
