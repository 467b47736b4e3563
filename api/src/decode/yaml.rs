//! YAML text into the same tree as JSON, the way Kubernetes converts it: one document, YAML 1.1 scalars (W-27), merge
//! keys. Aliases are paid for out of the body's budget, so that a small text cannot make a large tree.

mod scalar;

use std::collections::{HashMap, HashSet};

use saphyr_parser::{Event, Parser, ScalarStyle, Tag};

use super::tree::{Budget, DEPTH_MAX, Node, ParseError};

/// Parses YAML text of one document.
pub(crate) fn parse(body: &[u8]) -> Result<Node, ParseError> {
    let text = String::from_utf8_lossy(body);
    let mut builder = Builder { budget: Budget::new(), open: Vec::new(), anchors: HashMap::new(), root: None };
    let mut documents = 0;
    for event in Parser::new_from_str(&text) {
        let (event, span) = event.map_err(|error| malformed(error.to_string()))?;
        if matches!(event, Event::DocumentStart(_)) {
            documents += 1;
            if documents > 1 {
                return Err(malformed("more than one document"));
            }
        }
        builder.event(event).map_err(|error| match error {
            ParseError::Malformed(text) => malformed(format!("line {}: {text}", span.start.line())),
            ParseError::TooLarge => ParseError::TooLarge,
        })?;
    }
    builder.root.ok_or_else(|| malformed("unexpected end of YAML input"))
}

fn malformed(text: impl std::fmt::Display) -> ParseError {
    ParseError::Malformed(format!("error converting YAML to JSON: yaml: {text}"))
}

/// A list or mapping whose end was not seen yet.
enum Open {
    List { anchor: usize, items: Vec<Node> },
    Map { anchor: usize, entries: Vec<(String, Node)>, key: Option<Key>, merged: Vec<(String, Node)> },
}

enum Key {
    Name(String),
    /// `<<`
    Merge,
}

struct Builder {
    budget: Budget,
    open: Vec<Open>,
    /// What was anchored and is complete.
    anchors: HashMap<usize, Node>,
    root: Option<Node>,
}

impl Builder {
    fn event(&mut self, event: Event<'_>) -> Result<(), ParseError> {
        match event {
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentStart(_) | Event::DocumentEnd => {
                Ok(())
            }
            Event::Scalar(text, style, anchor, tag) => self.scalar(&text, style, anchor, tag.as_deref()),
            Event::Alias(anchor) => {
                let Some(node) = self.anchors.get(&anchor) else {
                    return Err(ParseError::Malformed("anchor value contains itself".to_owned()));
                };
                if !self.budget.take_tree(node) {
                    return Err(ParseError::TooLarge);
                }
                if self.open.len() + depth(node) > DEPTH_MAX {
                    return Err(too_deep());
                }
                let node = node.clone();
                self.value(node)
            }
            Event::SequenceStart(anchor, _) => self.start(Open::List { anchor, items: Vec::new() }),
            Event::MappingStart(anchor, _) => {
                self.start(Open::Map { anchor, entries: Vec::new(), key: None, merged: Vec::new() })
            }
            Event::SequenceEnd | Event::MappingEnd => self.end(),
        }
    }

    fn scalar(&mut self, text: &str, style: ScalarStyle, anchor: usize, tag: Option<&Tag>) -> Result<(), ParseError> {
        if !self.budget.take() {
            return Err(ParseError::TooLarge);
        }
        let plain = style == ScalarStyle::Plain;
        if let Some(Open::Map { key: key @ None, .. }) = self.open.last_mut()
            && plain
            && tag.is_none()
            && text == "<<"
        {
            *key = Some(Key::Merge);
            return Ok(());
        }
        let tag = tag.filter(|tag| tag.is_yaml_core_schema()).map(|tag| tag.suffix.as_str()).or(tag.map(|_| "str"));
        let node = scalar::resolve(text, plain, tag).map_err(ParseError::Malformed)?;
        if anchor != 0 {
            if !self.budget.take_tree(&node) {
                return Err(ParseError::TooLarge);
            }
            self.anchors.insert(anchor, node.clone());
        }
        self.value(node)
    }

    fn start(&mut self, open: Open) -> Result<(), ParseError> {
        if !self.budget.take() {
            return Err(ParseError::TooLarge);
        }
        if let Some(Open::Map { key: None, .. }) = self.open.last() {
            return Err(ParseError::Malformed("a key must be a scalar".to_owned()));
        }
        if self.open.len() >= DEPTH_MAX {
            return Err(too_deep());
        }
        self.open.push(open);
        Ok(())
    }

    fn end(&mut self) -> Result<(), ParseError> {
        let (anchor, node) = match self.open.pop() {
            Some(Open::List { anchor, items }) => (anchor, Node::List(items)),
            Some(Open::Map { anchor, mut entries, key: _, merged }) => {
                // Own keys are stronger than merged ones, and of those the first.
                if !merged.is_empty() {
                    let mut names: HashSet<String> = entries.iter().map(|(name, _)| name.clone()).collect();
                    entries.extend(merged.into_iter().filter(|(name, _)| names.insert(name.clone())));
                }
                (anchor, Node::Map(entries))
            }
            None => return Err(ParseError::Malformed("unexpected end of a block".to_owned())),
        };
        if anchor != 0 {
            if !self.budget.take_tree(&node) {
                return Err(ParseError::TooLarge);
            }
            self.anchors.insert(anchor, node.clone());
        }
        self.value(node)
    }

    /// Puts a complete value where it belongs.
    fn value(&mut self, node: Node) -> Result<(), ParseError> {
        match self.open.last_mut() {
            None => self.root = Some(node),
            Some(Open::List { items, .. }) => items.push(node),
            Some(Open::Map { entries, key, merged, .. }) => match key.take() {
                None => *key = Some(Key::Name(scalar::key(node).map_err(ParseError::Malformed)?)),
                Some(Key::Name(name)) => entries.push((name, node)),
                Some(Key::Merge) => match node {
                    Node::Map(inner) => merged.extend(inner),
                    Node::List(maps) => {
                        for map in maps {
                            match map {
                                Node::Map(inner) => merged.extend(inner),
                                Node::Null | Node::Bool(_) | Node::Number(_) | Node::String(_) | Node::List(_) => {
                                    return Err(merge_wants_maps());
                                }
                            }
                        }
                    }
                    Node::Null | Node::Bool(_) | Node::Number(_) | Node::String(_) => return Err(merge_wants_maps()),
                },
            },
        }
        Ok(())
    }
}

fn merge_wants_maps() -> ParseError {
    ParseError::Malformed("map merge requires map or sequence of maps as the value".to_owned())
}

fn too_deep() -> ParseError {
    ParseError::Malformed("exceeded max depth".to_owned())
}

fn depth(node: &Node) -> usize {
    match node {
        Node::Null | Node::Bool(_) | Node::Number(_) | Node::String(_) => 1,
        Node::List(items) => 1 + items.iter().map(depth).max().unwrap_or_default(),
        Node::Map(entries) => 1 + entries.iter().map(|(_, node)| depth(node)).max().unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[track_caller]
    fn check(text: &str, want: Value) {
        assert_eq!(parse(text.as_bytes()).map(Node::into_value), Ok(want), "{text}");
    }

    #[track_caller]
    fn check_refused(text: &str, want: &str) {
        match parse(text.as_bytes()) {
            Err(ParseError::Malformed(got)) => assert!(got.contains(want), "{got}"),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn reads_blocks_flows_and_styles() {
        check(
            "a:\n- 1\n- x: |\n    two\n    lines\n  z: >-\n    folded\n    text\n- {b: [true, ~]}\n'q': \"\\u0041\"\n",
            json!({"a": [1, {"x": "two\nlines\n", "z": "folded text"}, {"b": [true, null]}], "q": "A"}),
        );
        check("---\na: 1\n...\n", json!({"a": 1}));
    }

    #[test]
    fn keeps_duplicates_for_the_check() {
        let Ok(Node::Map(entries)) = parse(b"a: 1\na: 2\n") else { panic!("no map") };
        assert_eq!(entries.len(), 2);
    }

    #[test]
    fn follows_aliases_and_merge_keys() {
        check("a: &x {b: 1}\nc: *x\n", json!({"a": {"b": 1}, "c": {"b": 1}}));
        check("a: &x {b: 1, c: 2}\nd:\n  <<: *x\n  c: 3\n", json!({"a": {"b": 1, "c": 2}, "d": {"b": 1, "c": 3}}));
        check_refused("a: &x [*x]\n", "anchor value contains itself");
        check_refused("<<: 1\n", "map merge requires");
    }

    #[test]
    fn keys_become_text() {
        check("yes: 1\n2: 2\n1.5: 3\n", json!({"true": 1, "2": 2, "1.5": 3}));
        check_refused("? [a]\n: 1\n", "a key must be a scalar");
    }

    #[test]
    fn refuses_a_second_document_depth_and_bombs() {
        check_refused("a: 1\n---\nb: 2\n", "more than one document");
        check_refused("", "unexpected end");
        check_refused("a: [", "error converting YAML to JSON: yaml: ");
        check_refused(&"[".repeat(200), "exceeded max depth");
        check_refused(&"[".repeat(5000), "recursion limit exceeded");
        let mut bomb = "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n".to_owned();
        for level in 1..10 {
            let above = format!("*a{}", level - 1);
            bomb += &format!("a{level}: &a{level} [{}]\n", vec![above; 10].join(","));
        }
        assert_eq!(parse(bomb.as_bytes()), Err(ParseError::TooLarge));
    }
}
