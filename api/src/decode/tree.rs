//! A body as a tree that still knows duplicate keys and the order of keys, and how large one may grow.

use std::cell::Cell;

use serde_json::{Map, Number, Value};

/// A parsed body, before it is checked against the table.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Node {
    Null,
    Bool(bool),
    Number(Number),
    String(String),
    List(Vec<Node>),
    /// In the order of the body, duplicates included.
    Map(Vec<(String, Node)>),
}

impl Node {
    /// How Go's decoder calls this kind of value in its errors.
    pub(crate) fn describe(&self) -> &'static str {
        match self {
            Node::Null => "null",
            Node::Bool(_) => "bool",
            Node::Number(_) => "number",
            Node::String(_) => "string",
            Node::List(_) => "array",
            Node::Map(_) => "object",
        }
    }

    /// As plain JSON; the last of duplicate keys wins.
    pub(crate) fn into_value(self) -> Value {
        match self {
            Node::Null => Value::Null,
            Node::Bool(value) => Value::Bool(value),
            Node::Number(number) => Value::Number(number),
            Node::String(text) => Value::String(text),
            Node::List(items) => Value::Array(items.into_iter().map(Node::into_value).collect()),
            Node::Map(entries) => {
                Value::Object(entries.into_iter().map(|(key, node)| (key, node.into_value())).collect())
            }
        }
    }

    pub(crate) fn from_map(map: Map<String, Value>) -> Self {
        Node::Map(map.into_iter().map(|(key, value)| (key, Node::from(value))).collect())
    }
}

impl From<Value> for Node {
    fn from(value: Value) -> Self {
        match value {
            Value::Null => Node::Null,
            Value::Bool(value) => Node::Bool(value),
            Value::Number(number) => Node::Number(number),
            Value::String(text) => Node::String(text),
            Value::Array(items) => Node::List(items.into_iter().map(Node::from).collect()),
            Value::Object(map) => Node::from_map(map),
        }
    }
}

/// How deep a body may be nested. serde_json has the same limit; deeper trees would also end later recursions badly.
pub(crate) const DEPTH_MAX: usize = 128;

/// How many values a body may hold.
///
/// A value costs up to some 600 bytes of memory (a map with one entry) but as little as two bytes of a body, so the limit on
/// a body's size (W-8) alone would let one request take a gigabyte. Too low refuses real objects: one of 3 MiB with nothing
/// but environment variables holds about 150,000 values.
const VALUES_MAX: usize = 262_144;

/// How many bytes of text YAML aliases may make of a body.
const TEXT_MAX: usize = 8 << 20;

/// What a body may still grow by.
pub(crate) struct Budget {
    values: Cell<usize>,
    text: Cell<usize>,
}

impl Budget {
    pub(crate) fn new() -> Self {
        Self { values: Cell::new(VALUES_MAX), text: Cell::new(TEXT_MAX) }
    }

    /// Takes one value; false when there are none left.
    #[must_use]
    pub(crate) fn take(&self) -> bool {
        Self::take_from(&self.values, 1)
    }

    /// Takes a whole tree, which an alias repeats.
    #[must_use]
    pub(crate) fn take_tree(&self, tree: &Node) -> bool {
        match tree {
            Node::Null | Node::Bool(_) | Node::Number(_) => self.take(),
            Node::String(text) => self.take() && Self::take_from(&self.text, text.len()),
            Node::List(items) => self.take() && items.iter().all(|item| self.take_tree(item)),
            Node::Map(entries) => {
                self.take()
                    && entries.iter().all(|(key, node)| Self::take_from(&self.text, key.len()) && self.take_tree(node))
            }
        }
    }

    /// Whether the tree was refused for its number of values.
    pub(crate) fn is_spent(&self) -> bool {
        self.values.get() == 0 || self.text.get() == 0
    }

    fn take_from(left: &Cell<usize>, amount: usize) -> bool {
        let enough = left.get() > amount;
        left.set(left.get().saturating_sub(amount));
        enough
    }
}

/// Why a body could not be read.
#[derive(Debug, PartialEq)]
pub(crate) enum ParseError {
    /// Not JSON, YAML or protobuf at all, with the parser's words.
    Malformed(String),
    /// More than a body may hold.
    TooLarge,
}
