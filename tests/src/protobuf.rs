//! Protobuf bodies, as typed Go clients send them: an object's JSON and the schema table give the bytes (W-22, P-1…P-6).

use std::collections::BTreeMap;

use jobd_api::schema::{self, Field, Item, Number, Scalar, Shape, Type, Zero};
use serde_json::{Value, json};

/// An object in the envelope that names its kind.
///
/// # Panics
/// When the kind is unknown or a value does not fit its field.
#[must_use]
pub fn body(api_version: &str, kind: &str, object: &Value) -> Vec<u8> {
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    let of =
        schema::find_kind(group, version, kind).unwrap_or_else(|| panic!("{api_version} {kind} is not in the table"));
    let mut out = b"k8s\0".to_vec();
    let mut meta = Vec::new();
    bytes(&mut meta, 1, api_version.as_bytes());
    bytes(&mut meta, 2, kind.as_bytes());
    bytes(&mut out, 1, &meta);
    bytes(&mut out, 2, &message(of, object));
    bytes(&mut out, 3, b"");
    bytes(&mut out, 4, b"");
    out
}

fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value.to_le_bytes()[0] | 0x80);
        value >>= 7;
    }
    out.push(value.to_le_bytes()[0]);
}

fn number(out: &mut Vec<u8>, field: u16, value: i64) {
    varint(out, u64::from(field) << 3);
    varint(out, value.cast_unsigned());
}

fn bytes(out: &mut Vec<u8>, field: u16, value: &[u8]) {
    varint(out, u64::from(field) << 3 | 2);
    varint(out, value.len() as u64);
    out.extend_from_slice(value);
}

/// The message of an object, with every zero value that Go's writer would write (P-5).
fn message(of: &Type, object: &Value) -> Vec<u8> {
    let mut out = Vec::new();
    let mut embedded: BTreeMap<u16, Vec<u8>> = BTreeMap::new();
    for field in of.fields.iter().filter(|field| field.number != Number::default()) {
        let target = match field.number.outer {
            0 => &mut out,
            outer => embedded.entry(outer).or_default(),
        };
        encode_field(target, field, object.get(field.name).filter(|value| !value.is_null()));
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
            encode_item(out, n, Item::Scalar(Scalar::Strings), value);
        }
        (Shape::List(item), Some(value)) => {
            for value in value.as_array().expect("a list") {
                encode_item(out, n, item, value);
            }
        }
        (Shape::Map(item), Some(value)) => {
            for (key, value) in value.as_object().expect("a map") {
                let mut entry = Vec::new();
                bytes(&mut entry, 1, key.as_bytes());
                encode_item(&mut entry, 2, item, value);
                bytes(out, n, &entry);
            }
        }
        (_, None) => {}
    }
}

fn encode_zero(out: &mut Vec<u8>, n: u16, item: Item) {
    match item {
        Item::Object(id) => bytes(out, n, &message(id.get(), &json!({}))),
        Item::Scalar(Scalar::String) => bytes(out, n, b""),
        Item::Scalar(Scalar::Int32 | Scalar::Int64 | Scalar::Bool) => number(out, n, 0),
        Item::Scalar(Scalar::IntOrString) => encode_item(out, n, item, &json!(0)),
        Item::Scalar(Scalar::Quantity) => bytes(out, n, &[0x0a, 0]),
        // Unset times are empty messages; nil bytes are left out.
        Item::Scalar(Scalar::Time | Scalar::MicroTime | Scalar::RawExtension | Scalar::FieldsV1) => bytes(out, n, b""),
        Item::Scalar(Scalar::Bytes | Scalar::Double | Scalar::Any | Scalar::Duration | Scalar::Strings) => {}
    }
}

fn encode_item(out: &mut Vec<u8>, n: u16, item: Item, value: &Value) {
    let text = || value.as_str().expect("a string");
    let scalar = match item {
        Item::Object(id) => return bytes(out, n, &message(id.get(), value)),
        Item::Scalar(scalar) => scalar,
    };
    let mut inner = Vec::new();
    match scalar {
        Scalar::String => return bytes(out, n, text().as_bytes()),
        Scalar::Int32 | Scalar::Int64 => return number(out, n, value.as_i64().expect("a number")),
        Scalar::Bool => return number(out, n, i64::from(value.as_bool().expect("a bool"))),
        Scalar::Bytes => return bytes(out, n, &base64(text())),
        Scalar::Time | Scalar::MicroTime => {
            let at: jiff::Timestamp = text().parse().expect("a time");
            number(&mut inner, 1, at.as_second());
            number(&mut inner, 2, i64::from(at.subsec_nanosecond()));
        }
        Scalar::Quantity => bytes(&mut inner, 1, text().as_bytes()),
        Scalar::IntOrString => {
            number(&mut inner, 1, i64::from(value.is_string()));
            number(&mut inner, 2, value.as_i64().unwrap_or_default());
            bytes(&mut inner, 3, value.as_str().unwrap_or_default().as_bytes());
        }
        Scalar::FieldsV1 | Scalar::RawExtension => bytes(&mut inner, 1, value.to_string().as_bytes()),
        Scalar::Strings => {
            for item in value.as_array().expect("a list") {
                bytes(&mut inner, 1, item.as_str().expect("a string").as_bytes());
            }
        }
        Scalar::Double | Scalar::Any | Scalar::Duration => unreachable!("no message has such a field"),
    }
    bytes(out, n, &inner);
}

/// The bytes that standard base64 stands for.
fn base64(text: &str) -> Vec<u8> {
    let digit = |c: u8| match c {
        b'A'..=b'Z' => c - b'A',
        b'a'..=b'z' => c - b'a' + 26,
        b'0'..=b'9' => c - b'0' + 52,
        b'+' => 62,
        _ => 63,
    };
    let (mut out, mut held, mut bits) = (Vec::new(), 0_u32, 0);
    for c in text.bytes().filter(|c| *c != b'=') {
        held = held << 6 | u32::from(digit(c));
        bits += 6;
        if bits >= 8 {
            bits -= 8;
            out.push((held >> bits).to_le_bytes()[0]);
        }
    }
    out
}
