//! Properties over generated bodies: nothing panics, every format says the same, decoding again changes nothing.

use proptest::prelude::*;
use serde_json::json;

use super::{proto, *};
use crate::{
    patch::{Patch, PatchType},
    schema::{Item, Scalar, Shape, TypeId},
};

/// Makes an object of a type out of bytes that a property chose, so that failures shrink.
struct Maker<'a> {
    choices: std::slice::Iter<'a, u8>,
    left: usize,
}

impl Maker<'_> {
    fn choose(&mut self, below: u8) -> u8 {
        self.choices.next().copied().unwrap_or_default() % below
    }

    fn object(&mut self, of: &Type, depth: usize) -> Value {
        let mut map = Map::new();
        for field in &of.fields {
            if self.left == 0
                || depth > 7
                || self.choose(4) != 1
                || matches!(field.name, "managedFields" | "apiVersion" | "kind")
            {
                continue;
            }
            self.left -= 1;
            let value = match field.shape {
                Shape::One(item) => self.item(item, depth),
                Shape::List(item) => (0..self.choose(3)).map(|_| self.item(item, depth)).collect(),
                Shape::Map(item) => {
                    let entries = (0..self.choose(3)).map(|n| (format!("key-{n}"), self.item(item, depth)));
                    Value::Object(entries.collect())
                }
            };
            map.insert(field.name.to_owned(), value);
        }
        Value::Object(map)
    }

    fn item(&mut self, item: Item, depth: usize) -> Value {
        let pick = usize::from(self.choose(4));
        match item {
            Item::Object(id) => self.object(id.get(), depth + 1),
            Item::Scalar(scalar) => match scalar {
                Scalar::String => json!(["", "text", "ümläut \"q\" \\ \n", "yes"][pick]),
                Scalar::Int32 => json!([0, 1, -7, i32::MAX][pick]),
                Scalar::Int64 => json!([0, 1, i64::MIN, i64::MAX][pick]),
                Scalar::Bool => json!(pick > 1),
                Scalar::Double => json!([0.0, 1.5, -2.5, 1e300][pick]),
                Scalar::Bytes => json!(["", "YQ==", "AAECAw==", "/+8="][pick]),
                Scalar::Any | Scalar::FieldsV1 | Scalar::RawExtension => json!({"free": [null, {"a": pick}]}),
                Scalar::Time => json!(
                    ["2026-11-20T20:57:11Z", "1970-01-01T00:00:00Z", "1969-12-31T23:59:59Z", "9999-12-30T22:00:00Z"]
                        [pick]
                ),
                Scalar::MicroTime => json!(
                    [
                        "2026-11-20T20:57:11.000001Z",
                        "1970-01-01T00:00:00.000000Z",
                        "2026-11-20T20:57:11.999999Z",
                        "2000-01-01T00:00:00.500000Z"
                    ][pick]
                ),
                Scalar::Duration => json!("1s"),
                Scalar::Quantity => json!(["1", "100m", "64Mi", "1500m"][pick]),
                Scalar::IntOrString => [json!(0), json!(80), json!("http"), json!("50%")][pick].clone(),
                Scalar::Strings => json!(["a", "b"]),
            },
        }
    }
}

fn made(choices: &[u8], of: &Type) -> Value {
    Maker { choices: choices.iter(), left: 400 }.object(of, 0)
}

/// Places in the registry: a resource cannot be printed.
fn kinds() -> std::ops::Range<usize> {
    0..registry::resources().len()
}

fn type_of(resource: &Resource) -> &'static Type {
    schema::find_kind(resource.group, resource.version, resource.kind).unwrap()
}

fn choices() -> impl Strategy<Value = Vec<u8>> {
    proptest::collection::vec(any::<u8>(), 0..600)
}

fn decoded(resource: &Resource, format: Format, body: &[u8]) -> Value {
    let decoded = object(resource, format, body, FieldValidation::Strict);
    Value::Object(decoded.unwrap_or_else(|status| panic!("{status}")).object.0)
}

/// Without everything that is zero: what protobuf and JSON have in common.
fn without_zeros(value: &Value) -> Value {
    match value {
        Value::Object(map) => {
            let kept =
                map.iter().map(|(key, value)| (key.clone(), without_zeros(value))).filter(|(_, value)| !is_zero(value));
            Value::Object(kept.collect())
        }
        Value::Array(items) => items.iter().map(without_zeros).collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value.clone(),
    }
}

fn is_zero(value: &Value) -> bool {
    *value == json!(null)
        || *value == json!(false)
        || *value == json!(0)
        || *value == json!("")
        || *value == json!("0")
        || *value == json!([])
        || *value == json!({})
}

fn json_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        "[a-z$/~-]{0,4}".prop_map(Value::from),
    ];
    leaf.prop_recursive(5, 40, 5, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::vec(
                ("[a-d]|\\$patch|metadata|spec|containers|name|\\$setElementOrder/containers", inner),
                0..4
            )
            .prop_map(|entries| Value::Object(entries.into_iter().collect())),
        ]
    })
}

/// Without nulls, which a merge patch cannot make.
fn without_nulls(value: Value) -> Value {
    match value {
        Value::Object(map) => Value::Object(
            map.into_iter()
                .filter(|(_, value)| !value.is_null())
                .map(|(key, value)| (key, without_nulls(value)))
                .collect(),
        ),
        other => other,
    }
}

/// The merge patch that makes `to` out of `from`.
fn diff(from: &Value, to: &Value) -> Value {
    let (Value::Object(from), Value::Object(to)) = (from, to) else { return to.clone() };
    let mut patch = Map::new();
    for key in from.keys().filter(|key| !to.contains_key(*key)) {
        patch.insert(key.clone(), Value::Null);
    }
    for (key, to) in to {
        match from.get(key) {
            Some(from) if from == to => {}
            Some(from @ Value::Object(_)) if to.is_object() => drop(patch.insert(key.clone(), diff(from, to))),
            // Against something else an object stands as it is: it holds no nulls.
            Some(_) | None => drop(patch.insert(key.clone(), to.clone())),
        }
    }
    Value::Object(patch)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

    #[test]
    fn json_and_yaml_say_the_same_and_decoding_again_changes_nothing(kind in kinds(), choices in choices()) {
        let resource = &registry::resources()[kind];
        let text = made(&choices, type_of(resource)).to_string();
        let once = decoded(resource, Format::Json, text.as_bytes());
        prop_assert_eq!(&decoded(resource, Format::Json, once.to_string().as_bytes()), &once);
        prop_assert_eq!(&decoded(resource, Format::Yaml, text.as_bytes()), &once);
    }

    #[test]
    fn protobuf_says_what_json_says(kind in kinds(), choices in choices()) {
        let resource = &registry::resources()[kind];
        let of = type_of(resource);
        let value = made(&choices, of);
        let body = |value: &Value| proto::enveloped(&resource.api_version(), resource.kind, &proto::encode(of, value));
        let json = decoded(resource, Format::Json, value.to_string().as_bytes());
        let proto = decoded(resource, Format::Protobuf, &body(&value));
        prop_assert_eq!(without_zeros(&proto), without_zeros(&json));
        prop_assert_eq!(&decoded(resource, Format::Protobuf, &body(&proto)), &proto);
    }

    #[test]
    fn random_bytes_never_panic(kind in kinds(), bytes in proptest::collection::vec(any::<u8>(), 0..200), text in "\\PC{0,200}") {
        let resource = &registry::resources()[kind];
        for format in [Format::Json, Format::Yaml, Format::Protobuf] {
            let _ = object(resource, format, &bytes, FieldValidation::Warn);
            let _ = object(resource, format, text.as_bytes(), FieldValidation::Strict);
        }
        let _ = object(resource, Format::Protobuf, &proto::enveloped("", "", &bytes), FieldValidation::Warn);
        let _ = apply_body(resource, &bytes, FieldValidation::Warn);
    }

    #[test]
    fn damaged_messages_never_panic(choices in choices(), flips in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8)) {
        let of = type_of(core("pods"));
        let mut raw = proto::encode(of, &made(&choices, of));
        for (at, byte) in flips {
            let length = raw.len();
            raw[at.index(length)] = byte;
        }
        let _ = object(core("pods"), Format::Protobuf, &proto::enveloped("v1", "Pod", &raw), FieldValidation::Warn);
    }

    #[test]
    fn yaml_like_text_never_panics(text in "([a-c:&*! \\[\\]{}#|>'\"-]|\\n|  |<<: |y|0x1|---\\n){0,60}") {
        let _ = object(jobs(), Format::Yaml, text.as_bytes(), FieldValidation::Warn);
    }

    #[test]
    fn the_merge_patch_of_a_difference_makes_it(from in choices(), to in choices()) {
        let of = TypeId::object_meta().get();
        let wrap = |choices: &[u8]| without_nulls(json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": made(choices, of)}));
        let resource = core("configmaps");
        let (from, to) = (decoded(resource, Format::Json, wrap(&from).to_string().as_bytes()), decoded(resource, Format::Json, wrap(&to).to_string().as_bytes()));
        let patch = Patch::parse(PatchType::Merge, diff(&from, &to).to_string().as_bytes()).unwrap();
        let Value::Object(from) = from else { panic!("an object") };
        let patched = patch.apply(resource, &Object(from), FieldValidation::Strict).unwrap();
        prop_assert_eq!(Value::Object(patched.object.0), to);
    }

    #[test]
    fn patches_never_panic(choices in choices(), document in json_value(), ops in proptest::collection::vec(
        ("add|remove|replace|move|copy|test", "(/(a|b|metadata|spec|containers|name|-|0|-1)){0,4}", "(/(a|b|metadata|spec|containers|name|-|0|-1)){0,4}", json_value()), 0..6)) {
        let resource = core("pods");
        let Value::Object(current) = decoded(resource, Format::Json, made(&choices, type_of(resource)).to_string().as_bytes()) else { panic!("an object") };
        let current = Object(current);
        for patch_type in [PatchType::Merge, PatchType::StrategicMerge] {
            if let Ok(patch) = Patch::parse(patch_type, document.to_string().as_bytes()) {
                let _ = patch.apply(resource, &current, FieldValidation::Warn);
            }
        }
        let ops: Vec<Value> = ops.into_iter().map(|(op, path, from, value)| json!({"op": op, "path": path, "from": from, "value": value})).collect();
        let patch = Patch::parse(PatchType::Json, Value::from(ops).to_string().as_bytes()).unwrap();
        let _ = patch.apply(resource, &current, FieldValidation::Warn);
    }

    /// A strategic merge with an object itself changes nothing.
    #[test]
    fn an_object_merged_into_itself_is_itself(choices in choices()) {
        let resource = jobs();
        let value = decoded(resource, Format::Json, made(&choices, type_of(resource)).to_string().as_bytes());
        // Lists whose items lack their key cannot be merged.
        let patch = Patch::parse(PatchType::StrategicMerge, value.to_string().as_bytes()).unwrap();
        let Value::Object(current) = value else { panic!("an object") };
        let current = Object(current);
        if let Ok(patched) = patch.apply(resource, &current, FieldValidation::Strict)
            && !has_repeated_keys(&Value::Object(current.0.clone()))
        {
            prop_assert_eq!(patched.object, current);
        }
    }
}

/// Generated lists repeat their few scalars and keys; merging makes one of them.
fn has_repeated_keys(value: &Value) -> bool {
    match value {
        Value::Array(items) => {
            items.iter().any(has_repeated_keys)
                || items.iter().enumerate().any(|(at, item)| {
                    items[..at].iter().any(|other| match (item, other) {
                        (Value::Object(item), Value::Object(other)) => {
                            item.is_empty() || item.iter().any(|(key, value)| other.get(key) == Some(value))
                        }
                        (item, other) => item == other,
                    })
                })
        }
        Value::Object(map) => map.values().any(has_repeated_keys),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}
