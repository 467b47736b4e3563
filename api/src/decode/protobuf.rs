//! Protobuf bodies, driven by the table (W-22, W-23, appendix 6.1): the envelope, then the object's message into the tree
//! that JSON would have made. What a Go writer leaves out of JSON is left out here too (P-5).

mod wire;

use base64::{Engine as _, engine::general_purpose::STANDARD};

use self::wire::{Error, Payload, Reader};
use super::tree::{Budget, DEPTH_MAX, Node, ParseError};
use crate::{
    schema::{Field, Item, Number, Scalar, Shape, Type, Zero},
    time,
};

const MAGIC: &[u8] = b"k8s\0";

/// What stands around an object's message.
pub(crate) struct Envelope<'a> {
    pub(crate) api_version: String,
    pub(crate) kind: String,
    raw: Vec<&'a [u8]>,
}

/// Reads the envelope (P-1).
pub(crate) fn envelope(body: &[u8]) -> Result<Envelope<'_>, ParseError> {
    let malformed = |error: Error| ParseError::Malformed(error.to_string());
    let Some(unknown) = body.strip_prefix(MAGIC) else {
        return Err(ParseError::Malformed(
            "provided data does not appear to be a protobuf message, expected prefix [107 56 115 0]".to_owned(),
        ));
    };
    let mut envelope = Envelope { api_version: String::new(), kind: String::new(), raw: Vec::new() };
    for entry in Reader::new(unknown) {
        match entry.map_err(malformed)? {
            (1, Payload::Bytes(type_meta)) => {
                for entry in Reader::new(type_meta) {
                    match entry.map_err(malformed)? {
                        (1, Payload::Bytes(text)) => envelope.api_version = String::from_utf8_lossy(text).into_owned(),
                        (2, Payload::Bytes(text)) => envelope.kind = String::from_utf8_lossy(text).into_owned(),
                        _ => {}
                    }
                }
            }
            (2, Payload::Bytes(raw)) => envelope.raw = vec![raw],
            _ => {}
        }
    }
    Ok(envelope)
}

/// Reads the message of an envelope as an object of type `of`.
pub(crate) fn object(of: &Type, envelope: &Envelope<'_>) -> Result<Node, ParseError> {
    let decoder = Decoder { budget: Budget::new() };
    decoder.message(of, &envelope.raw, 0).map_err(|error| {
        if decoder.budget.is_spent() { ParseError::TooLarge } else { ParseError::Malformed(error.to_string()) }
    })
}

struct Decoder {
    budget: Budget,
}

impl Decoder {
    fn take(&self) -> Result<(), Error> {
        if self.budget.take() { Ok(()) } else { Err(Error::TooLarge) }
    }

    /// A message that may have come in several pieces: a repeated message that is not a list is merged.
    fn message(&self, of: &Type, pieces: &[&[u8]], depth: usize) -> Result<Node, Error> {
        self.take()?;
        if depth > DEPTH_MAX {
            return Err(Error::TooDeep);
        }
        let mut found: Vec<Vec<Payload<'_>>> = Vec::new();
        found.resize_with(of.fields.len(), Vec::new);
        for piece in pieces {
            for entry in Reader::new(piece) {
                let (number, payload) = entry?;
                if let Some(position) = of.position_by_number(Number::direct(number)) {
                    found[position].push(payload);
                } else if of.is_embedded(number) {
                    // JSON shows the fields of this message one level up (P-3).
                    for entry in Reader::new(payload.bytes()?) {
                        let (inner, payload) = entry?;
                        if let Some(position) = of.position_by_number(Number { outer: number, inner }) {
                            found[position].push(payload);
                        }
                    }
                }
            }
        }
        let mut entries = Vec::new();
        for (field, payloads) in of.fields.iter().zip(found) {
            if field.number == Number::default() {
                continue;
            }
            if let Some(node) = self.field(field, &payloads, depth)? {
                entries.push((field.name.to_owned(), node));
            }
        }
        Ok(Node::Map(entries))
    }

    fn field(&self, field: &Field, payloads: &[Payload<'_>], depth: usize) -> Result<Option<Node>, Error> {
        let Some(last) = payloads.last() else { return Ok(absent(field)) };
        match field.shape {
            Shape::List(Item::Scalar(Scalar::String)) if field.wire_strings => {
                self.scalar(Scalar::Strings, payloads).map(|node| node.filter(|node| !is_left_out(node, field.zero)))
            }
            Shape::List(item) => {
                let mut items = Vec::new();
                for payload in payloads {
                    match (item, payload) {
                        (Item::Scalar(of @ (Scalar::Int32 | Scalar::Int64 | Scalar::Bool)), Payload::Bytes(packed)) => {
                            for value in wire::packed(packed) {
                                self.take()?;
                                items.push(varint(of, value?));
                            }
                        }
                        (item, payload) => items.push(self.item(item, &[*payload], depth)?),
                    }
                }
                Ok(Some(Node::List(items)).filter(|node| !is_left_out(node, field.zero)))
            }
            Shape::Map(item) => {
                let mut entries: Vec<(String, Node)> = Vec::new();
                for payload in payloads {
                    entries.push(self.entry(item, payload.bytes()?, depth)?);
                }
                // Of entries with the same key the last wins; that is no finding in protobuf.
                entries.sort_by(|(one, _), (other, _)| one.cmp(other));
                entries.reverse();
                entries.dedup_by(|(one, _), (other, _)| one == other);
                Ok(Some(Node::Map(entries)))
            }
            Shape::One(Item::Object(id)) => {
                let pieces = payloads.iter().map(Payload::bytes).collect::<Result<Vec<_>, _>>()?;
                self.message(id.get(), &pieces, depth + 1).map(Some)
            }
            Shape::One(Item::Scalar(of)) => {
                let payloads = if wire::is_message(of) { payloads } else { std::slice::from_ref(last) };
                self.scalar(of, payloads).map(|node| node.filter(|node| !is_left_out(node, field.zero)))
            }
        }
    }

    /// A map entry {1 key, 2 value}; a missing part is a zero value.
    fn entry(&self, item: Item, message: &[u8], depth: usize) -> Result<(String, Node), Error> {
        let (mut key, mut value) = (String::new(), Vec::new());
        for entry in Reader::new(message) {
            match entry? {
                (1, payload) => key = String::from_utf8_lossy(payload.bytes()?).into_owned(),
                (2, payload) => value.push(payload),
                _ => {}
            }
        }
        let node = if value.is_empty() { zero(item) } else { self.item(item, &value, depth)? };
        Ok((key, node))
    }

    fn item(&self, item: Item, payloads: &[Payload<'_>], depth: usize) -> Result<Node, Error> {
        match item {
            Item::Object(id) => {
                let pieces = payloads.iter().map(Payload::bytes).collect::<Result<Vec<_>, _>>()?;
                self.message(id.get(), &pieces, depth + 1)
            }
            Item::Scalar(of) => Ok(self.scalar(of, payloads)?.unwrap_or(Node::Null)),
        }
    }

    /// A scalar, or one of the messages whose JSON is something else (P-4). None is the unset value.
    fn scalar(&self, of: Scalar, payloads: &[Payload<'_>]) -> Result<Option<Node>, Error> {
        self.take()?;
        let Some(last) = payloads.last() else { return Ok(None) };
        let message = || {
            payloads.iter().map(Payload::bytes).collect::<Result<Vec<_>, _>>().and_then(|pieces| wire::fields(&pieces))
        };
        let text = |bytes: &[u8]| Node::String(String::from_utf8_lossy(bytes).into_owned());
        Ok(match of {
            Scalar::String => Some(text(last.bytes()?)),
            Scalar::Bytes => Some(Node::String(STANDARD.encode(last.bytes()?))),
            Scalar::Int32 | Scalar::Int64 | Scalar::Bool => Some(varint(of, last.varint()?)),
            Scalar::Double => serde_json::Number::from_f64(f64::from_bits(last.fixed64()?)).map(Node::Number),
            // `seconds: 0` is 1970, an empty message is unset.
            Scalar::Time | Scalar::MicroTime => {
                let message = message()?;
                if message.is_empty() {
                    None
                } else {
                    let seconds = wire::last_varint(&message, 1)?.unwrap_or_default().cast_signed();
                    let nanos = i32::try_from(wire::last_varint(&message, 2)?.unwrap_or_default().cast_signed())
                        .map_err(|_| Error::Time)?;
                    let at = jiff::Timestamp::new(seconds, if of == Scalar::Time { 0 } else { nanos })
                        .map_err(|_| Error::Time)?;
                    let text = if of == Scalar::Time { time::render(at) } else { time::render_micro(at) };
                    Some(Node::String(text))
                }
            }
            Scalar::Duration => {
                let nanos = wire::last_varint(&message()?, 1)?.unwrap_or_default().cast_signed();
                let sign = if nanos < 0 { "-" } else { "" };
                let length = std::time::Duration::from_nanos(nanos.unsigned_abs());
                Some(Node::String(format!("{sign}{}", time::go_duration(length))))
            }
            Scalar::Quantity => {
                let bytes = wire::last_bytes(&message()?, 1)?.unwrap_or_default();
                // The zero Quantity is an empty string in the message and "0" in JSON.
                Some(if bytes.is_empty() { Node::String("0".to_owned()) } else { text(bytes) })
            }
            Scalar::IntOrString => {
                let message = message()?;
                if wire::last_varint(&message, 1)?.unwrap_or_default() == 0 {
                    Some(varint(Scalar::Int32, wire::last_varint(&message, 2)?.unwrap_or_default()))
                } else {
                    Some(text(wire::last_bytes(&message, 3)?.unwrap_or_default()))
                }
            }
            Scalar::FieldsV1 | Scalar::RawExtension => {
                let bytes = wire::last_bytes(&message()?, 1)?.unwrap_or_default();
                if bytes.is_empty() { None } else { Some(super::json::parse(bytes).map_err(|_| Error::Raw)?) }
            }
            Scalar::Strings => {
                let message = message()?;
                let mut items = Vec::new();
                for (number, payload) in &message {
                    if *number == 1 {
                        self.take()?;
                        items.push(text(payload.bytes()?));
                    }
                }
                Some(Node::List(items))
            }
            // In JSON only.
            Scalar::Any => None,
        })
    }
}

/// Integers travel as 64 bits; JSON's check sees to their range.
fn varint(of: Scalar, value: u64) -> Node {
    match of {
        Scalar::Bool => Node::Bool(value != 0),
        // As in Go, only the lower half of an int32 counts.
        Scalar::Int32 => Node::Number((value.cast_signed() << 32 >> 32).into()),
        _ => Node::Number(value.cast_signed().into()),
    }
}

/// What JSON shows for a field that the message does not hold: a Go writer's zero value, without its nulls (W-29).
fn absent(field: &Field) -> Option<Node> {
    match (field.zero, field.shape) {
        (Zero::Keep, Shape::One(item)) => Some(zero(item)).filter(|node| *node != Node::Null),
        (Zero::Keep, Shape::List(_) | Shape::Map(_)) | (Zero::Omit | Zero::Pointer | Zero::Null, _) => None,
    }
}

fn zero(item: Item) -> Node {
    match item {
        Item::Object(id) => Node::Map(
            id.get()
                .fields
                .iter()
                .filter(|field| field.number != Number::default())
                .filter_map(|field| absent(field).map(|node| (field.name.to_owned(), node)))
                .collect(),
        ),
        Item::Scalar(of) => match of {
            Scalar::String => Node::String(String::new()),
            Scalar::Int32 | Scalar::Int64 | Scalar::Double | Scalar::IntOrString => Node::Number(0.into()),
            Scalar::Bool => Node::Bool(false),
            Scalar::Quantity => Node::String("0".to_owned()),
            Scalar::Duration => Node::String("0s".to_owned()),
            Scalar::Strings => Node::List(Vec::new()),
            Scalar::Bytes
            | Scalar::Any
            | Scalar::Time
            | Scalar::MicroTime
            | Scalar::FieldsV1
            | Scalar::RawExtension => Node::Null,
        },
    }
}

/// Whether a Go writer leaves this value out of JSON (P-5).
fn is_left_out(node: &Node, zero: Zero) -> bool {
    match zero {
        Zero::Omit => match node {
            Node::Null => true,
            Node::Bool(value) => !value,
            Node::Number(number) => number.as_f64() == Some(0.0),
            Node::String(text) => text.is_empty(),
            Node::List(items) => items.is_empty(),
            Node::Map(_) => false,
        },
        Zero::Keep | Zero::Pointer | Zero::Null => false,
    }
}
