//! Patches as clients see them: parsed, applied to an object, checked against the schema.

use expect_test::{Expect, expect};

use super::*;
use crate::registry;

fn jobs() -> &'static Resource {
    registry::find("batch", "v1", "jobs").unwrap()
}

#[track_caller]
fn check(patch_type: PatchType, patch: &str, validation: FieldValidation, want: Expect) {
    let current = json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "j", "resourceVersion": "7", "labels": {"a": "1"}},
        "spec": {"parallelism": 1}});
    let Value::Object(current) = current else { panic!("an object") };
    let patched =
        Patch::parse(patch_type, patch.as_bytes()).and_then(|patch| patch.apply(jobs(), &Object(current), validation));
    want.assert_eq(&match patched {
        Ok(Decoded { object, warnings }) => {
            std::iter::once(Value::Object(object.0).to_string()).chain(warnings).collect::<Vec<_>>().join("\n")
        }
        Err(Status { code, reason, message, details, .. }) => {
            format!("{code} {reason}: {message}\n{}", details.unwrap_or_default())
        }
    });
}

use FieldValidation::{Strict, Warn};

#[test]
fn each_type_patches() {
    check(
        PatchType::Merge,
        r#"{"metadata":{"labels":{"a":null,"b":"2"}},"spec":{"parallelism":2}}"#,
        Strict,
        expect![[
            r#"{"apiVersion":"batch/v1","kind":"Job","metadata":{"labels":{"b":"2"},"name":"j","resourceVersion":"7"},"spec":{"parallelism":2}}"#
        ]],
    );
    check(
        PatchType::StrategicMerge,
        r#"{"metadata":{"$patch":"merge","finalizers":["x"]}}"#,
        Strict,
        expect![[
            r#"{"apiVersion":"batch/v1","kind":"Job","metadata":{"finalizers":["x"],"labels":{"a":"1"},"name":"j","resourceVersion":"7"},"spec":{"parallelism":1}}"#
        ]],
    );
    check(
        PatchType::Json,
        r#"[{"op":"replace","path":"/spec/suspend","value":true}]"#,
        Strict,
        expect![[
            r#"{"apiVersion":"batch/v1","kind":"Job","metadata":{"labels":{"a":"1"},"name":"j","resourceVersion":"7"},"spec":{"parallelism":1,"suspend":true}}"#
        ]],
    );
}

/// W-79.
#[test]
fn malformed_patches_are_refused() {
    check(
        PatchType::Merge,
        "[",
        Warn,
        expect!["400 BadRequest: error decoding patch: unexpected end of JSON input\nnull"],
    );
    check(
        PatchType::Merge,
        "[]",
        Warn,
        expect!["400 BadRequest: error decoding patch: a merge patch is an object\nnull"],
    );
    check(
        PatchType::Json,
        "{}",
        Warn,
        expect!["400 BadRequest: error decoding patch: a JSON patch is a list of operations\nnull"],
    );
    check(
        PatchType::Json,
        r#"[1]"#,
        Warn,
        expect!["400 BadRequest: error decoding patch: every operation of a JSON patch is an object\nnull"],
    );
    check(
        PatchType::StrategicMerge,
        r#"{"spec":{"$patch":"x"}}"#,
        Warn,
        expect![[r#"
        400 BadRequest: error decoding patch: unknown patch type: "x"
        null"#]],
    );
    check(
        PatchType::Json,
        r#"[{"op":"test","path":"/spec/parallelism","value":2}]"#,
        Warn,
        expect![[r#"
        422 Invalid: the server rejected our request due to an error in our request
        {}"#]],
    );
    let many = format!("[{}{{}}]", "{},".repeat(10_000));
    check(
        PatchType::Json,
        &many,
        Warn,
        expect![
            "413 RequestEntityTooLarge: Request entity too large: The allowed maximum operations in a JSON patch is 10000, got 10001\nnull"
        ],
    );
}

/// W-80.
#[test]
fn results_are_checked_against_the_schema() {
    check(
        PatchType::Merge,
        r#"{"spec":{"bogus":1,"suspend":true,"suspend":false}}"#,
        Warn,
        expect![[r#"
        {"apiVersion":"batch/v1","kind":"Job","metadata":{"labels":{"a":"1"},"name":"j","resourceVersion":"7"},"spec":{"parallelism":1,"suspend":false}}
        duplicate field "spec.suspend"
        unknown field "spec.bogus""#]],
    );
    check(
        PatchType::Merge,
        r#"{"spec":{"bogus":1}}"#,
        Strict,
        expect![[r#"
        422 Invalid: Job.batch "j" is invalid: patch: Invalid value: strict decoding error: unknown field "spec.bogus"
        {"causes":[{"field":"patch","message":"Invalid value: strict decoding error: unknown field \"spec.bogus\"","reason":"FieldValueInvalid"}],"group":"batch","kind":"Job","name":"j"}"#]],
    );
    check(
        PatchType::StrategicMerge,
        r#"{"spec":{"parallelism":"x"}}"#,
        Warn,
        expect![[r#"
        422 Invalid: Job.batch "j" is invalid: patch: Invalid value: json: cannot unmarshal string into Go struct field JobSpec.spec.parallelism of type int32
        {"causes":[{"field":"patch","message":"Invalid value: json: cannot unmarshal string into Go struct field JobSpec.spec.parallelism of type int32","reason":"FieldValueInvalid"}],"group":"batch","kind":"Job","name":"j"}"#]],
    );
    check(
        PatchType::Merge,
        r#"{"kind":"Pod"}"#,
        Warn,
        expect![[r#"
        400 BadRequest: Pod in version "v1" cannot be handled as a Job: no kind "Pod" is registered for version "batch/v1" in scheme "jobd"
        null"#]],
    );
}

/// W-88, step 3.
#[test]
fn a_json_patch_may_write_managed_fields() {
    check(
        PatchType::Json,
        r#"[{"op":"replace","path":"/metadata/managedFields","value":[{"manager":"m"}]},{"op":"replace","path":"/metadata/resourceVersion","value":"6"}]"#,
        Strict,
        expect![[
            r#"{"apiVersion":"batch/v1","kind":"Job","metadata":{"labels":{"a":"1"},"name":"j","resourceVersion":"6"},"spec":{"parallelism":1}}"#
        ]],
    );
}

/// W-85.
#[test]
fn an_apply_merges_and_takes_nothing_away() {
    let Value::Object(current) =
        json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "j", "labels": {"a": "1"}}})
    else {
        panic!("an object")
    };
    let body =
        crate::decode::apply_body(jobs(), b"apiVersion: batch/v1\nkind: Job\nmetadata: {labels: {b: '2'}}\n", Strict)
            .unwrap();
    let applied = Patch::from_apply(body.object).apply(jobs(), &Object(current), Strict).unwrap();
    assert_eq!(applied.object.get(&["metadata", "labels"]), Some(&json!({"a": "1", "b": "2"})));
}
