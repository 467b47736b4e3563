//! Reads the text of the table into the compact form of [`super::Schema`]. Its format is explained beside the table.

use std::{fmt, marker::PhantomData};

use serde::{
    Deserialize, Deserializer,
    de::{Error as _, MapAccess, SeqAccess, Visitor},
};
use serde_json::Value;

use super::{
    Column, Field, Gvk, Item, KindFacts, ListType, Notes, Number, Patch, Scalar, Schema, Shape, Type, TypeId, Zero,
};

type Error = serde_json::Error;

#[derive(Deserialize)]
struct RawSchema<'a> {
    #[serde(borrow)]
    kinds: Pairs<'a, RawKind<'a>>,
    #[serde(borrow)]
    types: Pairs<'a, RawType<'a>>,
}

#[derive(Deserialize)]
struct RawKind<'a> {
    plural: &'a str,
    namespaced: bool,
    #[serde(borrow, default)]
    subresources: Vec<&'a str>,
    #[serde(borrow, default)]
    short: Vec<&'a str>,
    #[serde(borrow, default)]
    categories: Vec<&'a str>,
    #[serde(borrow, default)]
    selectable: Vec<&'a str>,
    #[serde(borrow, default)]
    columns: Vec<RawColumn<'a>>,
}

#[derive(Deserialize)]
struct RawColumn<'a> {
    name: &'a str,
    #[serde(rename = "type")]
    column_type: &'a str,
    #[serde(default)]
    format: &'a str,
    #[serde(default)]
    priority: i32,
}

#[derive(Deserialize)]
struct RawType<'a> {
    #[serde(borrow, default)]
    gvk: Vec<(&'a str, &'a str, &'a str)>,
    #[serde(default, rename = "everyGroup")]
    every_group: bool,
    #[serde(default = "yes")]
    proto: bool,
    #[serde(borrow)]
    map: Option<&'a str>,
    unions: Option<Box<Value>>,
    #[serde(borrow)]
    fields: Pairs<'a, RawField<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawField<'a> {
    #[serde(default)]
    n: RawNumber,
    t: &'a str,
    #[serde(borrow)]
    wire: Option<&'a str>,
    #[serde(borrow)]
    zero: Option<&'a str>,
    #[serde(default)]
    required: bool,
    default: Option<Value>,
    #[serde(borrow, default, rename = "enum")]
    values: Vec<&'a str>,
    #[serde(borrow, default)]
    item_enum: Vec<&'a str>,
    #[serde(borrow)]
    list: Option<&'a str>,
    #[serde(borrow, default)]
    keys: Vec<&'a str>,
    #[serde(borrow)]
    map: Option<&'a str>,
    #[serde(borrow)]
    patch: Option<&'a str>,
    #[serde(borrow)]
    patch_key: Option<&'a str>,
}

fn yes() -> bool {
    true
}

/// A JSON object as a list, in its order.
struct Pairs<'a, V>(Vec<(&'a str, V)>);

impl<'de: 'a, 'a, V: Deserialize<'de>> Deserialize<'de> for Pairs<'a, V> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct PairsVisitor<'a, V>(PhantomData<(&'a str, V)>);
        impl<'de: 'a, 'a, V: Deserialize<'de>> Visitor<'de> for PairsVisitor<'a, V> {
            type Value = Pairs<'a, V>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut pairs = Vec::new();
                while let Some(pair) = map.next_entry()? {
                    pairs.push(pair);
                }
                Ok(Pairs(pairs))
            }
        }
        deserializer.deserialize_map(PairsVisitor(PhantomData))
    }
}

/// `6` or `[2, 6]`.
#[derive(Default)]
struct RawNumber(Number);

impl<'de> Deserialize<'de> for RawNumber {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct NumberVisitor;
        impl<'de> Visitor<'de> for NumberVisitor {
            type Value = RawNumber;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a field number or two")
            }
            fn visit_u64<E: serde::de::Error>(self, number: u64) -> Result<Self::Value, E> {
                u16::try_from(number).map(|number| RawNumber(Number::direct(number))).map_err(E::custom)
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
                match (seq.next_element()?, seq.next_element()?) {
                    (Some(outer), Some(inner)) => Ok(RawNumber(Number { outer, inner })),
                    _ => Err(A::Error::custom("two numbers expected")),
                }
            }
        }
        deserializer.deserialize_any(NumberVisitor)
    }
}

/// Reads the table.
pub(super) fn schema(source: &'static str) -> Result<Schema, Error> {
    let RawSchema { kinds, types } = serde_json::from_str::<RawSchema<'static>>(source)?;
    let mut raw_types = types.0;
    raw_types.sort_by_key(|(name, _)| *name);
    let names: Vec<&'static str> = raw_types.iter().map(|(name, _)| *name).collect();

    let mut types = Vec::with_capacity(raw_types.len());
    let mut by_kind = Vec::new();
    for (at, (name, raw)) in raw_types.into_iter().enumerate() {
        let id = type_id(at)?;
        let each = typed(id, name, raw, &names)?;
        by_kind.extend(each.gvks.iter().map(|gvk| (*gvk, id)));
        types.push(each);
    }
    by_kind.sort_unstable();

    let kinds = kinds.0.into_iter().map(|(name, raw)| kind(name, raw)).collect::<Result<Vec<_>, _>>()?;
    let object_meta = find_type("io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta", &names)?;
    Ok(Schema { types: types.into(), by_kind: by_kind.into(), kinds: kinds.into(), object_meta })
}

fn type_id(at: usize) -> Result<TypeId, Error> {
    u16::try_from(at).map(TypeId).map_err(Error::custom)
}

fn find_type(name: &str, names: &[&'static str]) -> Result<TypeId, Error> {
    names.binary_search(&name).map_err(|_| Error::custom(format!("unknown type {name}"))).and_then(type_id)
}

fn typed(id: TypeId, name: &'static str, raw: RawType<'static>, names: &[&'static str]) -> Result<Type, Error> {
    let RawType { gvk, every_group, proto, map, unions, fields } = raw;
    let gvks = gvk.into_iter().map(|(group, version, kind)| Gvk { group, version, kind }).collect();
    let mut fields = fields.0.into_iter().map(|(name, raw)| field(name, raw, names)).collect::<Result<Vec<_>, _>>()?;
    fields.sort_by_key(|field| field.name);
    let mut by_number = Vec::with_capacity(fields.len());
    for (at, field) in fields.iter().enumerate() {
        if field.number != Number::default() {
            by_number.push((field.number, u16::try_from(at).map_err(Error::custom)?));
        }
    }
    by_number.sort_unstable();
    Ok(Type {
        id,
        name,
        gvks,
        every_group,
        json_only: !proto,
        atomic: map == Some("atomic"),
        unions,
        fields: fields.into(),
        by_number: by_number.into(),
    })
}

fn field(name: &'static str, raw: RawField<'static>, names: &[&'static str]) -> Result<Field, Error> {
    let RawField { n, t, wire, zero, required, default, values, item_enum, list, keys, map, patch, patch_key } = raw;
    let noted = default.is_some() || !values.is_empty() || !item_enum.is_empty() || !keys.is_empty();
    Ok(Field {
        name,
        shape: shape(t, names)?,
        number: n.0,
        zero: match zero {
            None => Zero::Omit,
            Some("keep") => Zero::Keep,
            Some("ptr") => Zero::Pointer,
            Some("null") => Zero::Null,
            Some(other) => return Err(Error::custom(format!("unknown zero {other}"))),
        },
        wire_strings: wire == Some("strings"),
        required,
        list: match list {
            None => None,
            Some("atomic") => Some(ListType::Atomic),
            Some("set") => Some(ListType::Set),
            Some("map") => Some(ListType::Map),
            Some(other) => return Err(Error::custom(format!("unknown list type {other}"))),
        },
        map_atomic: map.map(|map| map == "atomic"),
        patch: match patch {
            None => Patch::Default,
            Some("merge") => Patch::Merge,
            Some("merge,retainKeys") => Patch::MergeRetainKeys,
            Some("replace") => Patch::Replace,
            Some(other) => return Err(Error::custom(format!("unknown patch strategy {other}"))),
        },
        patch_key,
        notes: noted.then(|| Box::new(Notes { keys, default, values, item_values: item_enum })),
    })
}

fn shape(text: &str, names: &[&'static str]) -> Result<Shape, Error> {
    let inner = |prefix: &str| text.strip_prefix(prefix).and_then(|rest| rest.strip_suffix('>'));
    if let Some(text) = inner("array<") {
        Ok(Shape::List(item(text, names)?))
    } else if let Some(text) = inner("map<") {
        Ok(Shape::Map(item(text, names)?))
    } else {
        Ok(Shape::One(item(text, names)?))
    }
}

fn item(text: &str, names: &[&'static str]) -> Result<Item, Error> {
    Ok(Item::Scalar(match text {
        "string" => Scalar::String,
        "int32" => Scalar::Int32,
        "int64" => Scalar::Int64,
        "bool" => Scalar::Bool,
        "double" => Scalar::Double,
        "bytes" => Scalar::Bytes,
        "any" => Scalar::Any,
        "Time" => Scalar::Time,
        "MicroTime" => Scalar::MicroTime,
        "Duration" => Scalar::Duration,
        "Quantity" => Scalar::Quantity,
        "IntOrString" => Scalar::IntOrString,
        "FieldsV1" => Scalar::FieldsV1,
        "RawExtension" => Scalar::RawExtension,
        "strings" | "array<string>" => Scalar::Strings,
        name => return Ok(Item::Object(find_type(name, names)?)),
    }))
}

fn kind(name: &'static str, raw: RawKind<'static>) -> Result<KindFacts, Error> {
    let RawKind { plural, namespaced, subresources, short, categories, selectable, columns } = raw;
    let mut parts = name.rsplitn(3, '/');
    let (Some(kind), Some(version)) = (parts.next(), parts.next()) else {
        return Err(Error::custom(format!("no kind: {name}")));
    };
    let columns = columns
        .into_iter()
        .map(|RawColumn { name, column_type, format, priority }| Column { name, column_type, format, priority })
        .collect();
    Ok(KindFacts {
        gvk: Gvk { group: parts.next().unwrap_or_default(), version, kind },
        plural,
        namespaced,
        subresources,
        short_names: short,
        categories,
        selectable,
        columns,
    })
}
