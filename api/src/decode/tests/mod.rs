//! Decoding as clients see it: bodies in, objects and Status texts out. Generated bodies are in `property`.

mod property;
mod proto;

use expect_test::{Expect, expect};
use serde_json::json;

use super::*;
use crate::registry;

fn jobs() -> &'static Resource {
    registry::find("batch", "v1", "jobs").unwrap()
}

fn core(plural: &str) -> &'static Resource {
    registry::find("", "v1", plural).unwrap()
}

fn render(result: Result<Decoded, Status>) -> String {
    match result {
        Ok(Decoded { object, warnings }) => {
            let mut text = Value::Object(object.0).to_string();
            for warning in warnings {
                text += &format!("\nWarning: {warning}");
            }
            text
        }
        Err(Status { code, reason, message, .. }) => format!("{code} {reason}: {message}"),
    }
}

#[track_caller]
fn check(resource: &Resource, body: &str, want: Expect) {
    want.assert_eq(&render(object(resource, Format::Json, body.as_bytes(), FieldValidation::Warn)));
}

#[track_caller]
fn check_strict(resource: &Resource, body: &str, want: Expect) {
    want.assert_eq(&render(object(resource, Format::Json, body.as_bytes(), FieldValidation::Strict)));
}

#[track_caller]
fn check_yaml(resource: &Resource, body: &str, want: Expect) {
    want.assert_eq(&render(object(resource, Format::Yaml, body.as_bytes(), FieldValidation::Strict)));
}

/// W-24.
#[test]
fn kind_and_version_are_completed_and_must_fit() {
    check(
        jobs(),
        r#"{"metadata":{"name":"a"}}"#,
        expect![[r#"{"apiVersion":"batch/v1","kind":"Job","metadata":{"name":"a"}}"#]],
    );
    check(jobs(), r#"{"kind":"Job"}"#, expect![[r#"{"apiVersion":"batch/v1","kind":"Job"}"#]]);
    check(
        jobs(),
        r#"{"kind":"Pod","apiVersion":"batch/v1"}"#,
        expect![[
            r#"400 BadRequest: Pod in version "v1" cannot be handled as a Job: no kind "Pod" is registered for version "batch/v1" in scheme "jobd""#
        ]],
    );
    check(
        jobs(),
        r#"{"kind":"Job","apiVersion":"batch/v1beta1"}"#,
        expect![[
            r#"400 BadRequest: Job in version "v1beta1" cannot be handled as a Job: no kind "Job" is registered for version "batch/v1beta1" in scheme "jobd""#
        ]],
    );
}

/// W-25.
#[test]
fn malformed_bodies_are_unrecognized() {
    check(
        jobs(),
        "",
        expect![
            "400 BadRequest: the object provided is unrecognized (must be of type Job): couldn't get version/kind; json parse error: unexpected end of JSON input"
        ],
    );
    check(
        jobs(),
        "{",
        expect![
            "400 BadRequest: the object provided is unrecognized (must be of type Job): couldn't get version/kind; json parse error: unexpected end of JSON input"
        ],
    );
    check(
        jobs(),
        "{]",
        expect![
            "400 BadRequest: the object provided is unrecognized (must be of type Job): couldn't get version/kind; json parse error: key must be a string at line 1 column 2"
        ],
    );
    check(
        jobs(),
        "[]",
        expect![
            "400 BadRequest: the object provided is unrecognized (must be of type Job): couldn't get version/kind; json parse error: json: cannot unmarshal array into an object"
        ],
    );
    check(
        jobs(),
        r#"{"kind":1}"#,
        expect![
            "400 BadRequest: the object provided is unrecognized (must be of type Job): couldn't get version/kind; json parse error: json: cannot unmarshal number into the field kind, which is a string"
        ],
    );
    check(
        jobs(),
        &"[".repeat(300),
        expect![
            "400 BadRequest: the object provided is unrecognized (must be of type Job): couldn't get version/kind; json parse error: recursion limit exceeded at line 1 column 128"
        ],
    );
    check(
        jobs(),
        &format!("[{}0]", "0,".repeat(300_000)),
        expect!["413 RequestEntityTooLarge: Request entity too large: the body holds too many values"],
    );
    check_yaml(
        jobs(),
        "a: 1\n---\nb: 2\n",
        expect![
            "400 BadRequest: the object provided is unrecognized (must be of type Job): couldn't get version/kind; json parse error: error converting YAML to JSON: yaml: more than one document"
        ],
    );
}

/// W-26.
#[test]
fn wrong_types_are_told_with_field_and_type() {
    for (body, want) in [
        (
            r#"{"spec":{"parallelism":"2"}}"#,
            "cannot unmarshal string into Go struct field JobSpec.spec.parallelism of type int32",
        ),
        (
            r#"{"spec":{"parallelism":1.5}}"#,
            "cannot unmarshal number 1.5 into Go struct field JobSpec.spec.parallelism of type int32",
        ),
        (
            r#"{"spec":{"parallelism":3000000000}}"#,
            "cannot unmarshal number 3000000000 into Go struct field JobSpec.spec.parallelism of type int32",
        ),
        (
            r#"{"spec":{"suspend":"true"}}"#,
            "cannot unmarshal string into Go struct field JobSpec.spec.suspend of type bool",
        ),
        (
            r#"{"spec":{"template":[]}}"#,
            "cannot unmarshal array into Go struct field JobSpec.spec.template of type v1.PodTemplateSpec",
        ),
        (
            r#"{"metadata":{"labels":{"a":1}}}"#,
            "cannot unmarshal number into Go struct field ObjectMeta.metadata.labels of type string",
        ),
        (
            r#"{"metadata":{"labels":[]}}"#,
            "cannot unmarshal array into Go struct field ObjectMeta.metadata.labels of type map[string]string",
        ),
        (
            r#"{"metadata":{"finalizers":"x"}}"#,
            "cannot unmarshal string into Go struct field ObjectMeta.metadata.finalizers of type []string",
        ),
        (
            r#"{"spec":{"template":{"spec":{"containers":[{"name":"a"},{"image":true}]}}}}"#,
            "cannot unmarshal bool into Go struct field Container.spec.template.spec.containers.image of type string",
        ),
    ] {
        let status = object(jobs(), Format::Json, body.as_bytes(), FieldValidation::Ignore).unwrap_err();
        assert_eq!(status.code, 400);
        assert_eq!(status.message, format!("Job in version \"v1\" cannot be handled as a Job: json: {want}"));
    }
}

/// W-91.
#[test]
fn unknown_and_duplicate_fields_are_found() {
    let body = r#"{"spec":{"bogus":1},"metadata":{"name":"a","name":"b"}}"#;
    check(
        jobs(),
        body,
        expect![[r#"
        {"apiVersion":"batch/v1","kind":"Job","metadata":{"name":"b"},"spec":{}}
        Warning: unknown field "spec.bogus"
        Warning: duplicate field "metadata.name""#]],
    );
    check_strict(
        jobs(),
        body,
        expect![[
            r#"400 BadRequest: Job in version "v1" cannot be handled as a Job: strict decoding error: unknown field "spec.bogus", duplicate field "metadata.name""#
        ]],
    );
    let ignored = object(jobs(), Format::Json, body.as_bytes(), FieldValidation::Ignore).unwrap();
    assert_eq!((ignored.warnings.len(), ignored.object.name()), (0, "b"));
}

#[test]
fn findings_are_named_like_kubernetes_names_them() {
    check(
        jobs(),
        r#"{"Spec":{},"metadata":{"labels":{"a/b":"1","a/b":"2"}},"spec":{"template":{"spec":{"containers":[{"foo":{"bar":1}},{"foo":1},{"env":[{"Name":"x"}]}]}}}}"#,
        expect![[r#"
            {"apiVersion":"batch/v1","kind":"Job","metadata":{"labels":{"a/b":"2"}},"spec":{"template":{"spec":{"containers":[{},{},{"env":[{}]}]}}}}
            Warning: unknown field "Spec"
            Warning: duplicate field "metadata.labels.a/b"
            Warning: unknown field "spec.template.spec.containers[0].foo"
            Warning: unknown field "spec.template.spec.containers[1].foo"
            Warning: unknown field "spec.template.spec.containers[2].env[0].Name""#]],
    );
}

#[test]
fn findings_are_told_once_each_and_not_without_end() {
    let unknown: Vec<String> = (0..500).map(|n| format!("\"x{n}\":1")).collect();
    let body = format!("{{{},\"x0\":2}}", unknown.join(","));
    let decoded = object(jobs(), Format::Json, body.as_bytes(), FieldValidation::Warn).unwrap();
    assert_eq!(decoded.warnings.len(), 100);
}

/// W-29.
#[test]
fn nulls_are_absent() {
    check(
        jobs(),
        r#"{"metadata":{"name":"a","creationTimestamp":null,"labels":null},"spec":{"parallelism":null,"template":{"spec":{"containers":null}}},"status":{}}"#,
        expect![[
            r#"{"apiVersion":"batch/v1","kind":"Job","metadata":{"name":"a"},"spec":{"template":{"spec":{}}},"status":{}}"#
        ]],
    );
    check(
        jobs(),
        r#"{"metadata":{"labels":{"a":null},"finalizers":[null]},"spec":{"template":{"spec":{"containers":[null]}}}}"#,
        expect![[
            r#"{"apiVersion":"batch/v1","kind":"Job","metadata":{"finalizers":[""],"labels":{"a":""}},"spec":{"template":{"spec":{"containers":[{}]}}}}"#
        ]],
    );
}

/// W-28.
#[test]
fn times_are_utc_and_whole_seconds() {
    check(
        jobs(),
        r#"{"metadata":{"creationTimestamp":"2026-11-20T22:57:11.987+02:00"},"status":{"startTime":"2026-11-20T20:57:11Z"}}"#,
        expect![[
            r#"{"apiVersion":"batch/v1","kind":"Job","metadata":{"creationTimestamp":"2026-11-20T20:57:11Z"},"status":{"startTime":"2026-11-20T20:57:11Z"}}"#
        ]],
    );
    check(
        core("events"),
        r#"{"eventTime":"2026-11-20T20:57:11Z","lastTimestamp":"2026-11-20T20:57:11.5+00:00"}"#,
        expect![[
            r#"{"apiVersion":"v1","eventTime":"2026-11-20T20:57:11.000000Z","kind":"Event","lastTimestamp":"2026-11-20T20:57:11Z"}"#
        ]],
    );
    check(
        jobs(),
        r#"{"metadata":{"creationTimestamp":"yesterday"}}"#,
        expect![[
            r#"400 BadRequest: Job in version "v1" cannot be handled as a Job: metadata.creationTimestamp: parsing time "yesterday" as "2006-01-02T15:04:05Z07:00": not an RFC 3339 time"#
        ]],
    );
}

#[test]
fn quantities_are_text_or_numbers_and_come_out_canonical() {
    let container =
        |cpu: &str| format!(r#"{{"spec":{{"containers":[{{"resources":{{"requests":{{"cpu":{cpu}}}}}}}]}}}}"#);
    for (cpu, want) in [
        (r#""1000m""#, "1"),
        (r#""0.5""#, "500m"),
        ("1", "1"),
        ("0.25", "250m"),
        ("2.0", "2"),
        (r#""1024Mi""#, "1Gi"),
        ("null", "0"),
    ] {
        let decoded = object(core("pods"), Format::Json, container(cpu).as_bytes(), FieldValidation::Strict).unwrap();
        let containers = decoded.object.get(&["spec", "containers"]).unwrap();
        assert_eq!(containers[0]["resources"]["requests"]["cpu"], want, "{cpu}");
    }
    check(
        core("pods"),
        &container(r#""x""#),
        expect![[
            r#"400 BadRequest: Pod in version "v1" cannot be handled as a Pod: spec.containers[0].resources.requests.cpu: quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"#
        ]],
    );
}

/// W-186.
#[test]
fn bytes_are_base64() {
    check(
        core("secrets"),
        r#"{"data":{"a":"YWI=","b":"","c":"YW\nI="}}"#,
        expect![[r#"{"apiVersion":"v1","data":{"a":"YWI=","b":"","c":"YWI="},"kind":"Secret"}"#]],
    );
    check(
        core("secrets"),
        r#"{"data":{"a":"!"}}"#,
        expect![[
            r#"400 BadRequest: Secret in version "v1" cannot be handled as a Secret: data.a: illegal base64 data at input byte 0"#
        ]],
    );
    check(
        core("secrets"),
        r#"{"data":{"a":"YWJjY"}}"#,
        expect![[
            r#"400 BadRequest: Secret in version "v1" cannot be handled as a Secret: data.a: illegal base64 data at input byte 4"#
        ]],
    );
    check(
        core("configmaps"),
        r#"{"data":{"a":1}}"#,
        expect![[
            r#"400 BadRequest: ConfigMap in version "v1" cannot be handled as a ConfigMap: json: cannot unmarshal number into Go struct field ConfigMap.data of type string"#
        ]],
    );
}

#[test]
fn int_or_string_takes_both() {
    let probe =
        |port: &str| format!(r#"{{"spec":{{"containers":[{{"livenessProbe":{{"tcpSocket":{{"port":{port}}}}}}}]}}}}"#);
    for (port, want) in [("80", json!(80)), (r#""http""#, json!("http"))] {
        let decoded = object(core("pods"), Format::Json, probe(port).as_bytes(), FieldValidation::Strict).unwrap();
        assert_eq!(decoded.object.get(&["spec", "containers"]).unwrap()[0]["livenessProbe"]["tcpSocket"]["port"], want);
    }
    assert!(object(core("pods"), Format::Json, probe("true").as_bytes(), FieldValidation::Ignore).is_err());
}

/// W-85: what a client says of ownership is dropped, without a finding.
#[test]
fn managed_fields_are_dropped() {
    check_strict(
        jobs(),
        r#"{"metadata":{"name":"a","managedFields":[{"manager":"x","nonsense":1}]}}"#,
        expect![[r#"{"apiVersion":"batch/v1","kind":"Job","metadata":{"name":"a"}}"#]],
    );
}

/// W-27.
#[test]
fn yaml_is_the_same_object() {
    check_yaml(
        jobs(),
        "apiVersion: batch/v1\nkind: Job\nmetadata: {name: a}\nspec:\n  suspend: yes\n  parallelism: 2\n  template:\n    spec:\n      containers:\n      - name: c\n        command: [sh, -c, 'exit 1']\n        resources: {limits: {cpu: 1.5, memory: 64Mi}}\n",
        expect![[
            r#"{"apiVersion":"batch/v1","kind":"Job","metadata":{"name":"a"},"spec":{"parallelism":2,"suspend":true,"template":{"spec":{"containers":[{"command":["sh","-c","exit 1"],"name":"c","resources":{"limits":{"cpu":"1500m","memory":"64Mi"}}}]}}}}"#
        ]],
    );
    check_yaml(
        jobs(),
        "metadata: {name: a, name: b}\n",
        expect![[
            r#"400 BadRequest: Job in version "v1" cannot be handled as a Job: strict decoding error: duplicate field "metadata.name""#
        ]],
    );
    // A bare word that YAML 1.1 takes for a boolean is no string.
    check_yaml(
        jobs(),
        "metadata: {labels: {a: on}}\n",
        expect![[
            r#"400 BadRequest: Job in version "v1" cannot be handled as a Job: json: cannot unmarshal bool into Go struct field ObjectMeta.metadata.labels of type string"#
        ]],
    );
}

const DELETE_OPTIONS: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.DeleteOptions";

/// W-96.
#[test]
fn delete_options_come_under_many_versions() {
    for head in [
        "",
        r#""kind":"DeleteOptions","apiVersion":"v1","#,
        r#""kind":"DeleteOptions","apiVersion":"meta.k8s.io/v1","#,
        r#""kind":"DeleteOptions","apiVersion":"batch/v1","#,
        r#""apiVersion":"batch/v1","#,
    ] {
        let body = format!("{{{head}\"propagationPolicy\":\"Background\",\"gracePeriodSeconds\":0}}");
        let decoded = message(DELETE_OPTIONS, "DeleteOptions", Format::Json, body.as_bytes(), FieldValidation::Strict);
        expect![[
            r#"{"apiVersion":"v1","gracePeriodSeconds":0,"kind":"DeleteOptions","propagationPolicy":"Background"}"#
        ]]
        .assert_eq(&render(decoded));
    }
    for body in [r#"{"kind":"Job","apiVersion":"batch/v1"}"#, r#"{"apiVersion":"nonsense/v1"}"#] {
        let refused = message(DELETE_OPTIONS, "DeleteOptions", Format::Json, body.as_bytes(), FieldValidation::Ignore);
        assert_eq!(refused.unwrap_err().code, 400);
    }
}

/// W-29, W-170: with an unknown null field, and under the older version.
#[test]
fn evictions_are_read() {
    let eviction = |body: &str| {
        render(message(
            "io.k8s.api.policy.v1.Eviction",
            "Eviction",
            Format::Json,
            body.as_bytes(),
            FieldValidation::Ignore,
        ))
    };
    expect![[r#"{"apiVersion":"policy/v1","kind":"Eviction","metadata":{"name":"p"}}"#]]
        .assert_eq(&eviction(r#"{"delete_options":null,"metadata":{"name":"p"}}"#));
    expect![[r#"{"apiVersion":"policy/v1","kind":"Eviction","metadata":{"name":"p"}}"#]]
        .assert_eq(&eviction(r#"{"apiVersion":"policy/v1beta1","kind":"Eviction","metadata":{"name":"p"}}"#));
}

/// W-84.
#[test]
fn an_apply_names_its_type_and_carries_no_ownership() {
    let apply = |body: &str| render(apply_body(jobs(), body.as_bytes(), FieldValidation::Strict));
    expect![[r#"{"apiVersion":"batch/v1","kind":"Job","metadata":{"name":"a"}}"#]]
        .assert_eq(&apply("apiVersion: batch/v1\nkind: Job\nmetadata: {name: a, managedFields: null}\n"));
    expect![
        "400 BadRequest: error decoding YAML: invalid object type: the body of an apply must have apiVersion and kind"
    ]
    .assert_eq(&apply(r#"{"kind":"Job"}"#));
    expect!["400 BadRequest: metadata.managedFields must be nil"]
        .assert_eq(&apply(r#"{"kind":"Job","apiVersion":"batch/v1","metadata":{"managedFields":[]}}"#));
}
