//! Protobuf bodies: samples by hand, and an encoder driven by the table that writes what a Go client writes.

use serde_json::json;

use super::*;
use crate::schema::{Field, Item, Number, Scalar, Shape, Zero};

fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value.to_le_bytes()[0] | 0x80);
        value >>= 7;
    }
    out.push(value.to_le_bytes()[0]);
}

fn number(out: &mut Vec<u8>, number: u16, value: i64) {
    varint(out, u64::from(number) << 3);
    varint(out, value.cast_unsigned());
}

pub(super) fn bytes(out: &mut Vec<u8>, number: u16, value: &[u8]) {
    varint(out, u64::from(number) << 3 | 2);
    varint(out, value.len() as u64);
    out.extend_from_slice(value);
}

fn message_of(write: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut out = Vec::new();
    write(&mut out);
    out
}

/// The message of an object, with every zero value that Go's writer would write (P-5).
pub(super) fn encode(of: &Type, value: &Value) -> Vec<u8> {
    let mut out = Vec::new();
    let mut embedded: std::collections::BTreeMap<u16, Vec<u8>> = std::collections::BTreeMap::new();
    for field in of.fields.iter().filter(|field| field.number != Number::default()) {
        let target = match field.number.outer {
            0 => &mut out,
            outer => embedded.entry(outer).or_default(),
        };
        encode_field(target, field, value.get(field.name));
    }
    for (outer, inner) in embedded {
        bytes(&mut out, outer, &inner);
    }
    out
}

fn encode_field(out: &mut Vec<u8>, field: &Field, value: Option<&Value>) {
    let n = field.number.inner;
    match (field.shape, value) {
        (Shape::One(item), Some(value)) => encode_item(out, n, item, value),
        (Shape::One(item), None) if matches!(field.zero, Zero::Omit | Zero::Keep) => encode_zero(out, n, item),
        (Shape::List(_), Some(value)) if field.wire_strings => {
            encode_item(out, n, Item::Scalar(Scalar::Strings), value)
        }
        (Shape::List(item), Some(value)) => {
            for value in value.as_array().unwrap() {
                encode_item(out, n, item, value);
            }
        }
        (Shape::Map(item), Some(value)) => {
            for (key, value) in value.as_object().unwrap() {
                let entry = message_of(|out| {
                    bytes(out, 1, key.as_bytes());
                    encode_item(out, 2, item, value);
                });
                bytes(out, n, &entry);
            }
        }
        (_, None) => {}
    }
}

fn encode_zero(out: &mut Vec<u8>, n: u16, item: Item) {
    match item {
        Item::Object(id) => bytes(out, n, &encode(id.get(), &json!({}))),
        Item::Scalar(Scalar::String) => bytes(out, n, b""),
        Item::Scalar(Scalar::Int32 | Scalar::Int64 | Scalar::Bool) => number(out, n, 0),
        Item::Scalar(Scalar::IntOrString) => encode_item(out, n, item, &json!(0)),
        Item::Scalar(Scalar::Quantity) => bytes(out, n, &message_of(|out| bytes(out, 1, b""))),
        // Unset times are empty messages; nil bytes are left out.
        Item::Scalar(Scalar::Time | Scalar::MicroTime | Scalar::RawExtension | Scalar::FieldsV1) => bytes(out, n, b""),
        Item::Scalar(Scalar::Bytes | Scalar::Double | Scalar::Any | Scalar::Duration | Scalar::Strings) => {}
    }
}

fn encode_item(out: &mut Vec<u8>, n: u16, item: Item, value: &Value) {
    let text = || value.as_str().unwrap();
    match item {
        Item::Object(id) => bytes(out, n, &encode(id.get(), value)),
        Item::Scalar(scalar) => match scalar {
            Scalar::String => bytes(out, n, text().as_bytes()),
            Scalar::Bytes => bytes(out, n, &STANDARD.decode(text()).unwrap()),
            Scalar::Int32 | Scalar::Int64 => number(out, n, value.as_i64().unwrap()),
            Scalar::Bool => number(out, n, i64::from(value.as_bool().unwrap())),
            Scalar::Time | Scalar::MicroTime => {
                let at = crate::time::parse(text()).unwrap();
                bytes(
                    out,
                    n,
                    &message_of(|out| {
                        number(out, 1, at.as_second());
                        number(out, 2, i64::from(at.subsec_nanosecond()));
                    }),
                );
            }
            Scalar::Quantity => bytes(out, n, &message_of(|out| bytes(out, 1, text().as_bytes()))),
            Scalar::IntOrString => {
                let (kind, int, text) =
                    value.as_str().map_or((0, value.as_i64().unwrap_or_default(), ""), |text| (1, 0, text));
                bytes(
                    out,
                    n,
                    &message_of(|out| {
                        number(out, 1, kind);
                        number(out, 2, int);
                        bytes(out, 3, text.as_bytes());
                    }),
                );
            }
            Scalar::FieldsV1 | Scalar::RawExtension => {
                bytes(out, n, &message_of(|out| bytes(out, 1, value.to_string().as_bytes())));
            }
            Scalar::Strings => bytes(
                out,
                n,
                &message_of(|out| {
                    for item in value.as_array().unwrap() {
                        bytes(out, 1, item.as_str().unwrap().as_bytes());
                    }
                }),
            ),
            Scalar::Double | Scalar::Any | Scalar::Duration => unreachable!("no message has such a field"),
        },
    }
}

pub(super) fn enveloped(api_version: &str, kind: &str, raw: &[u8]) -> Vec<u8> {
    let mut out = b"k8s\0".to_vec();
    let meta = message_of(|out| {
        bytes(out, 1, api_version.as_bytes());
        bytes(out, 2, kind.as_bytes());
    });
    bytes(&mut out, 1, &meta);
    bytes(&mut out, 2, raw);
    bytes(&mut out, 3, b"");
    bytes(&mut out, 4, b"");
    out
}

#[track_caller]
fn check_proto(resource: &Resource, value: Value, want: Value) {
    let of = schema::find_kind(resource.group, resource.version, resource.kind).unwrap();
    let body = enveloped(&resource.api_version(), resource.kind, &encode(of, &value));
    let decoded = object(resource, Format::Protobuf, &body, FieldValidation::Strict).unwrap();
    assert_eq!(Value::Object(decoded.object.0), want);
}

/// S-21.
#[test]
fn delete_options_of_a_typed_go_client() {
    let mut body = vec![0x6b, 0x38, 0x73, 0x00, 0x0a, 0x19, 0x0a, 0x08];
    body.extend(b"batch/v1");
    body.extend([0x12, 0x0d]);
    body.extend(b"DeleteOptions");
    body.extend([0x12, 0x0c, 0x22, 0x0a]);
    body.extend(b"Background");
    body.extend([0x1a, 0x00, 0x22, 0x00]);
    let decoded = message(DELETE_OPTIONS, "DeleteOptions", Format::Protobuf, &body, FieldValidation::Ignore);
    expect![[r#"{"apiVersion":"v1","kind":"DeleteOptions","propagationPolicy":"Background"}"#]]
        .assert_eq(&render(decoded));
}

/// What `kubectl create job a --image=busybox -- sh -c 'echo hi'` of 1.32 sends (W-22).
#[test]
fn a_job_of_kubectl_create() {
    const BODY: &str = "6b3873000a0f0a0862617463682f763112034a6f621289010a110a016112001a0022002a00320038004200126a32680a100a\
        0012001a0022002a00320038004200125412310a0161120762757379626f781a0273681a022d631a076563686f2068692a00\
        42006a007200800100880100900100a201001a054e65766572320042004a0052005800600068008201008a01009a0100c201\
        001a082000280030003a001a002200";
    let body: Vec<u8> =
        (0..BODY.len()).step_by(2).map(|at| u8::from_str_radix(&BODY[at..at + 2], 16).unwrap()).collect();
    expect![[r#"{"apiVersion":"batch/v1","kind":"Job","metadata":{"name":"a"},"spec":{"template":{"metadata":{},"spec":{"containers":[{"command":["sh","-c","echo hi"],"image":"busybox","name":"a","resources":{}}],"restartPolicy":"Never"}}},"status":{}}"#]]
        .assert_eq(&render(object(jobs(), Format::Protobuf, &body, FieldValidation::Strict)));
}

/// P-5: a Go writer's empty strings and unset fields are not there; what JSON always shows is.
#[test]
fn a_job_loses_nothing_and_gains_what_go_would_show() {
    check_proto(
        jobs(),
        json!({"metadata": {"name": "pi", "labels": {"a": "b", "": ""}}, "spec": {"parallelism": 0, "suspend": false,
            "template": {"spec": {"containers": [{"name": "c", "image": "i", "command": ["a", ""],
                "resources": {"requests": {"cpu": "1500m"}},
                "livenessProbe": {"httpGet": {"port": "http"}, "periodSeconds": 5},
                "env": [{"name": "E", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}]}],
                "volumes": [{"name": "v", "configMap": {"name": "cm", "defaultMode": 420}}]}}}}),
        json!({"apiVersion": "batch/v1", "kind": "Job",
            "metadata": {"name": "pi", "labels": {"a": "b", "": ""}},
            "spec": {"parallelism": 0, "suspend": false,
                "template": {"metadata": {}, "spec": {"containers": [{"name": "c", "image": "i", "command": ["a", ""],
                    "resources": {"requests": {"cpu": "1500m"}},
                    "livenessProbe": {"httpGet": {"port": "http"}, "periodSeconds": 5},
                    "env": [{"name": "E", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}]}],
                    "volumes": [{"name": "v", "configMap": {"name": "cm", "defaultMode": 420}}]}}},
            "status": {}}),
    );
}

/// P-4.
#[test]
fn special_messages_become_their_json() {
    check_proto(
        core("secrets"),
        json!({"metadata": {"name": "s", "creationTimestamp": "1970-01-01T00:00:00Z"}, "data": {"k": "AAE="}, "type": "Opaque"}),
        json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s", "creationTimestamp": "1970-01-01T00:00:00Z"},
            "data": {"k": "AAE="}, "type": "Opaque"}),
    );
    let event = json!({"metadata": {"name": "e"}, "involvedObject": {"kind": "Job"}, "eventTime": "2026-11-20T20:57:11.123456Z",
        "firstTimestamp": "2026-11-20T20:57:11Z", "count": 1, "reason": "R"});
    let resource = core("events");
    let of = schema::find_kind("", "v1", "Event").unwrap();
    let body = enveloped("v1", "Event", &encode(of, &event));
    let decoded = object(resource, Format::Protobuf, &body, FieldValidation::Strict).unwrap().object;
    for key in ["eventTime", "firstTimestamp", "count", "involvedObject", "reason"] {
        assert_eq!(decoded.0.get(key), event.get(key), "{key}");
    }
    assert_eq!(decoded.0.get("lastTimestamp"), None);
}

/// Merged messages, packed lists, unknown numbers.
#[test]
fn the_wire_may_be_unusual() {
    let metadata = |name: &str| message_of(|out| bytes(out, 1, name.as_bytes()));
    let raw = message_of(|out| {
        bytes(out, 1, &metadata("first"));
        number(out, 900, 7);
        varint(out, 901 << 3 | 5);
        out.extend([0; 4]);
        bytes(out, 1, &metadata("last"));
        bytes(out, 1, &message_of(|out| bytes(out, 3, b"ns")));
        // PodSpec.securityContext.supplementalGroups, packed.
        let groups = message_of(|out| {
            varint(out, 1);
            varint(out, 300);
        });
        let context = message_of(|out| bytes(out, 4, &groups));
        bytes(out, 2, &message_of(|out| bytes(out, 14, &context)));
    });
    let decoded =
        object(core("pods"), Format::Protobuf, &enveloped("v1", "Pod", &raw), FieldValidation::Strict).unwrap().object;
    assert_eq!((decoded.name(), decoded.namespace()), ("last", "ns"));
    assert_eq!(decoded.get(&["spec", "securityContext", "supplementalGroups"]), Some(&json!([1, 300])));
}

#[test]
fn broken_bodies_are_refused() {
    let decode = |body: &[u8]| render(object(jobs(), Format::Protobuf, body, FieldValidation::Strict));
    expect!["400 BadRequest: the object provided is unrecognized (must be of type Job): couldn't get version/kind; json parse error: provided data does not appear to be a protobuf message, expected prefix [107 56 115 0]"]
        .assert_eq(&decode(b"{}"));
    expect![[r#"400 BadRequest: Pod in version "v1" cannot be handled as a Job: no kind "Pod" is registered for version "v1" in scheme "jobd""#]]
        .assert_eq(&decode(&enveloped("v1", "Pod", b"")));
    expect![[r#"400 BadRequest: Job in version "v1" cannot be handled as a Job: proto: unexpected end of message"#]]
        .assert_eq(&decode(&enveloped("batch/v1", "Job", &[0x0a, 0x05, 0x01])));
    expect![[r#"400 BadRequest: Job in version "v1" cannot be handled as a Job: proto: wrong wire type for a field"#]]
        .assert_eq(&decode(&enveloped("batch/v1", "Job", &[0x08, 0x05])));
    // An empty container is two bytes on the wire and a map in memory.
    let containers = message_of(|out| (0..400_000).for_each(|_| bytes(out, 2, b"")));
    let template = message_of(|out| bytes(out, 2, &containers));
    let spec = message_of(|out| bytes(out, 6, &template));
    let bomb = enveloped("batch/v1", "Job", &message_of(|out| bytes(out, 2, &spec)));
    expect!["413 RequestEntityTooLarge: Request entity too large: the body holds too many values"]
        .assert_eq(&decode(&bomb));
}

use base64::{Engine as _, engine::general_purpose::STANDARD};
