//! A tree against the table: unknown and duplicate fields are found, types are checked, values brought into their
//! canonical form (quantities, times, base64), nulls dropped (W-26, W-28, W-29, W-91).

use std::collections::HashSet;

use base64::{
    DecodeError, Engine as _,
    alphabet::STANDARD as ALPHABET,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig, general_purpose::STANDARD},
};
use serde_json::{Map, Value};

use super::tree::Node;
use crate::{
    quantity::Quantity,
    schema::{Field, Item, Scalar, Shape, Type, TypeId},
    time,
};

/// What is wrong with a body but does not make it unreadable.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    texts: Vec<String>,
    ignore: bool,
}

impl Findings {
    /// How many are told. Kubernetes stops there too, so that a large body of garbage has a small answer.
    const MAX: usize = 100;

    pub(crate) fn new(ignore: bool) -> Self {
        Self { texts: Vec::new(), ignore }
    }

    pub(crate) fn push(&mut self, text: String) {
        if !self.ignore && self.texts.len() < Self::MAX && !self.texts.contains(&text) {
            self.texts.push(text);
        }
    }

    pub(crate) fn into_texts(self) -> Vec<String> {
        self.texts
    }
}

/// Checks the tree of an object of type `of`.
///
/// # Errors
/// The text of the first value that cannot be read as its field's type.
pub(crate) fn object(of: &Type, node: Node, findings: &mut Findings) -> Result<Map<String, Value>, String> {
    match node {
        Node::Map(entries) => fields(of, entries, Path::ROOT, findings),
        Node::Null => Ok(Map::new()),
        Node::Bool(_) | Node::Number(_) | Node::String(_) | Node::List(_) => Err(format!(
            "json: cannot unmarshal {} into Go value of type {}",
            node.describe(),
            go_item(Item::Object(of.id))
        )),
    }
}

/// Finds the duplicate fields of a tree of no type.
pub(crate) fn duplicates(node: &Node, findings: &mut Findings) {
    fn visit(node: &Node, path: Path<'_>, findings: &mut Findings) {
        match node {
            Node::Null | Node::Bool(_) | Node::Number(_) | Node::String(_) => {}
            Node::List(nodes) => {
                for (index, node) in nodes.iter().enumerate() {
                    visit(node, path.then(Step::Index(index)), findings);
                }
            }
            Node::Map(entries) => {
                let mut seen = HashSet::new();
                for (key, node) in entries {
                    let here = path.then(Step::Key(key));
                    if !seen.insert(key) {
                        findings.push(format!("duplicate field \"{}\"", here.render()));
                    }
                    visit(node, here, findings);
                }
            }
        }
    }
    visit(node, Path::ROOT, findings);
}

/// Where we are, as a list on the stack: text is made only when something is wrong.
#[derive(Clone, Copy)]
struct Path<'a> {
    above: Option<&'a Path<'a>>,
    step: Step<'a>,
}

#[derive(Clone, Copy)]
enum Step<'a> {
    Root,
    Field(&'a str, &'static str),
    Key(&'a str),
    Index(usize),
}

impl<'a> Path<'a> {
    const ROOT: Path<'static> = Path { above: None, step: Step::Root };

    fn then(&'a self, step: Step<'a>) -> Path<'a> {
        Path { above: Some(self), step }
    }

    /// `spec.template.spec.containers[0].foo`
    fn render(&self) -> String {
        let mut text = self.above.map(Path::render).unwrap_or_default();
        match self.step {
            Step::Root => {}
            Step::Field(name, _) | Step::Key(name) => {
                if !text.is_empty() {
                    text.push('.');
                }
                text.push_str(name);
            }
            Step::Index(index) => text.push_str(&format!("[{index}]")),
        }
        text
    }

    /// The same without list indexes and map keys, as Go names a field in its errors.
    fn render_fields(&self) -> String {
        let above = self.above.map(Path::render_fields).unwrap_or_default();
        match self.step {
            Step::Field(name, _) if above.is_empty() => name.to_owned(),
            Step::Field(name, _) => format!("{above}.{name}"),
            Step::Root | Step::Key(_) | Step::Index(_) => above,
        }
    }

    /// The struct that holds the innermost field.
    fn owner(&self) -> &'static str {
        match self.step {
            Step::Field(_, owner) => owner,
            Step::Root => "",
            Step::Key(_) | Step::Index(_) => self.above.map(Path::owner).unwrap_or_default(),
        }
    }

    /// The refusal of a value of another type (W-26).
    fn wrong(&self, what: &str, want: &str) -> String {
        format!(
            "json: cannot unmarshal {what} into Go struct field {}.{} of type {want}",
            self.owner(),
            self.render_fields()
        )
    }
}

fn fields(
    of: &Type,
    entries: Vec<(String, Node)>,
    path: Path<'_>,
    findings: &mut Findings,
) -> Result<Map<String, Value>, String> {
    let mut map = Map::new();
    let mut seen = 0_u128;
    for (name, node) in entries {
        let Some(position) = of.position(&name) else {
            findings.push(format!("unknown field \"{}\"", path.then(Step::Key(&name)).render()));
            continue;
        };
        let field = &of.fields[position];
        let here = path.then(Step::Field(field.name, of.short_name()));
        if seen & (1 << position) != 0 {
            findings.push(format!("duplicate field \"{}\"", here.render()));
        }
        seen |= 1 << position;
        if of.id == TypeId::object_meta() && field.name == "managedFields" {
            // Ownership is not tracked yet (W-85), so nothing that a client says of it is kept.
            continue;
        }
        match shaped(field, node, here, findings)? {
            Some(value) => {
                map.insert(name, value);
            }
            // A null equals absence (W-29), also when an earlier duplicate had a value.
            None => {
                map.remove(&name);
            }
        }
    }
    Ok(map)
}

fn shaped(field: &Field, node: Node, path: Path<'_>, findings: &mut Findings) -> Result<Option<Value>, String> {
    if node == Node::Null {
        return Ok(None);
    }
    match field.shape {
        Shape::One(one) => item(one, node, path, findings).map(Some),
        Shape::List(of) => match node {
            Node::List(nodes) => {
                let mut items = Vec::with_capacity(nodes.len());
                for (index, node) in nodes.into_iter().enumerate() {
                    items.push(item(of, node, path.then(Step::Index(index)), findings)?);
                }
                Ok(Some(Value::Array(items)))
            }
            Node::Null | Node::Bool(_) | Node::Number(_) | Node::String(_) | Node::Map(_) => {
                Err(path.wrong(node.describe(), &go_shape(field.shape)))
            }
        },
        Shape::Map(of) => match node {
            Node::Map(entries) => {
                let mut map = Map::new();
                for (key, node) in entries {
                    let here = path.then(Step::Key(&key));
                    let value = item(of, node, here, findings)?;
                    if map.contains_key(&key) {
                        findings.push(format!("duplicate field \"{}\"", here.render()));
                    }
                    map.insert(key, value);
                }
                Ok(Some(Value::Object(map)))
            }
            Node::Null | Node::Bool(_) | Node::Number(_) | Node::String(_) | Node::List(_) => {
                Err(path.wrong(node.describe(), &go_shape(field.shape)))
            }
        },
    }
}

/// One value. A `null` in a list or map is the zero value of its type, as in Go.
fn item(of: Item, node: Node, path: Path<'_>, findings: &mut Findings) -> Result<Value, String> {
    match (of, node) {
        (Item::Object(id), Node::Map(entries)) => fields(id.get(), entries, path, findings).map(Value::Object),
        (Item::Object(_), Node::Null) => Ok(Value::Object(Map::new())),
        (Item::Object(_), node) => Err(path.wrong(node.describe(), &go_item(of))),
        (Item::Scalar(of), node) => scalar(of, node, path),
    }
}

fn scalar(of: Scalar, node: Node, path: Path<'_>) -> Result<Value, String> {
    let wrong = |node: &Node| Err(path.wrong(node.describe(), &go_item(Item::Scalar(of))));
    let invalid = |text: &str| Err(format!("{}: {text}", path.render()));
    match of {
        Scalar::Any => Ok(node.into_value()),
        // Their content is not ours to judge, but it is an object.
        Scalar::FieldsV1 | Scalar::RawExtension => match node {
            Node::Map(_) => Ok(node.into_value()),
            Node::Null => Ok(Value::Object(Map::new())),
            Node::Bool(_) | Node::Number(_) | Node::String(_) | Node::List(_) => wrong(&node),
        },
        Scalar::String => match node {
            Node::String(text) => Ok(Value::String(text)),
            Node::Null => Ok(Value::String(String::new())),
            Node::Bool(_) | Node::Number(_) | Node::List(_) | Node::Map(_) => wrong(&node),
        },
        Scalar::Bool => match node {
            Node::Bool(value) => Ok(Value::Bool(value)),
            Node::Null => Ok(Value::Bool(false)),
            Node::Number(_) | Node::String(_) | Node::List(_) | Node::Map(_) => wrong(&node),
        },
        Scalar::Int32 => integer(node, path, "int32", i64::from(i32::MIN), i64::from(i32::MAX)),
        Scalar::Int64 => integer(node, path, "int64", i64::MIN, i64::MAX),
        Scalar::Double => match node {
            Node::Number(number) => Ok(Value::Number(number)),
            Node::Null => Ok(Value::from(0)),
            Node::Bool(_) | Node::String(_) | Node::List(_) | Node::Map(_) => wrong(&node),
        },
        Scalar::IntOrString => match node {
            Node::String(text) => Ok(Value::String(text)),
            Node::Number(_) | Node::Null | Node::Bool(_) | Node::List(_) | Node::Map(_) => {
                integer(node, path, "intstr.IntOrString", i64::from(i32::MIN), i64::from(i32::MAX))
            }
        },
        Scalar::Quantity => {
            let text = match node {
                Node::String(text) => text,
                // Rust prints a float in full, without an exponent.
                Node::Number(number) => {
                    number.as_f64().filter(|_| number.is_f64()).map_or(number.to_string(), |float| float.to_string())
                }
                Node::Null => "0".to_owned(),
                Node::Bool(_) | Node::List(_) | Node::Map(_) => return wrong(&node),
            };
            match Quantity::parse(&text) {
                Ok(quantity) => Ok(Value::String(quantity.canonical().to_owned())),
                Err(error) => invalid(&error),
            }
        }
        Scalar::Time | Scalar::MicroTime => match node {
            Node::String(text) => match (time::parse(&text), of == Scalar::MicroTime) {
                (Some(parsed), true) => Ok(Value::String(time::render_micro(parsed))),
                (Some(parsed), false) => Ok(Value::String(time::render(parsed))),
                (None, _) => {
                    invalid(&format!("parsing time {text:?} as \"2006-01-02T15:04:05Z07:00\": not an RFC 3339 time"))
                }
            },
            Node::Null => Ok(Value::Null),
            Node::Bool(_) | Node::Number(_) | Node::List(_) | Node::Map(_) => wrong(&node),
        },
        Scalar::Duration => match node {
            Node::String(text) => Ok(Value::String(text)),
            Node::Null | Node::Bool(_) | Node::Number(_) | Node::List(_) | Node::Map(_) => wrong(&node),
        },
        Scalar::Bytes => match node {
            Node::String(text) => match canonical_base64(text) {
                Ok(text) => Ok(Value::String(text)),
                Err(error) => invalid(&error),
            },
            Node::Null => Ok(Value::String(String::new())),
            Node::Bool(_) | Node::Number(_) | Node::List(_) | Node::Map(_) => wrong(&node),
        },
        Scalar::Strings => match node {
            Node::List(nodes) => nodes
                .into_iter()
                .map(|node| scalar(Scalar::String, node, path))
                .collect::<Result<_, _>>()
                .map(Value::Array),
            Node::Null => Ok(Value::Array(Vec::new())),
            Node::Bool(_) | Node::Number(_) | Node::String(_) | Node::Map(_) => wrong(&node),
        },
    }
}

fn integer(node: Node, path: Path<'_>, want: &str, min: i64, max: i64) -> Result<Value, String> {
    match node {
        Node::Number(number) => match number.as_i64() {
            Some(value) if (min..=max).contains(&value) => Ok(Value::from(value)),
            // serde_json reads `-0` as a float.
            None if number.as_f64() == Some(0.0) && number.to_string() == "-0.0" => Ok(Value::from(0)),
            Some(_) | None => Err(path.wrong(&format!("number {number}"), want)),
        },
        Node::Null => Ok(Value::from(0)),
        Node::Bool(_) | Node::String(_) | Node::List(_) | Node::Map(_) => Err(path.wrong(node.describe(), want)),
    }
}

/// Go's decoder skips line ends and does not look at unused bits; it writes the canonical form.
fn canonical_base64(text: String) -> Result<String, String> {
    const LENIENT: GeneralPurpose = GeneralPurpose::new(
        &ALPHABET,
        GeneralPurposeConfig::new()
            .with_decode_allow_trailing_bits(true)
            .with_decode_padding_mode(DecodePaddingMode::RequireCanonical),
    );
    if STANDARD.decode(&text).is_ok() {
        return Ok(text);
    }
    let compact: String = text.chars().filter(|c| !matches!(c, '\r' | '\n')).collect();
    match LENIENT.decode(&compact) {
        Ok(bytes) => Ok(STANDARD.encode(bytes)),
        Err(error) => {
            let at = match error {
                DecodeError::InvalidByte(at, _) | DecodeError::InvalidLastSymbol(at, _) => at,
                DecodeError::InvalidLength(_) | DecodeError::InvalidPadding => compact.len() - compact.len() % 4,
            };
            Err(format!("illegal base64 data at input byte {at}"))
        }
    }
}

/// How Go writes a type.
fn go_shape(shape: Shape) -> String {
    match shape {
        Shape::One(item) => go_item(item),
        Shape::List(item) => format!("[]{}", go_item(item)),
        Shape::Map(item) => format!("map[string]{}", go_item(item)),
    }
}

fn go_item(item: Item) -> String {
    match item {
        Item::Object(id) => {
            let mut parts = id.get().name.rsplit('.');
            let (name, package) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
            format!("{package}.{name}")
        }
        Item::Scalar(scalar) => match scalar {
            Scalar::String => "string",
            Scalar::Int32 => "int32",
            Scalar::Int64 => "int64",
            Scalar::Bool => "bool",
            Scalar::Double => "float64",
            Scalar::Bytes => "[]uint8",
            Scalar::Any => "interface {}",
            Scalar::Time => "v1.Time",
            Scalar::MicroTime => "v1.MicroTime",
            Scalar::Duration => "v1.Duration",
            Scalar::Quantity => "resource.Quantity",
            Scalar::IntOrString => "intstr.IntOrString",
            Scalar::FieldsV1 => "v1.FieldsV1",
            Scalar::RawExtension => "runtime.RawExtension",
            Scalar::Strings => "[]string",
        }
        .to_owned(),
    }
}
