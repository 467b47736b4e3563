//! JSON text into a tree. The rules of the API are not here, only JSON's.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::Number;

use super::tree::{Budget, Node, ParseError};

/// Parses JSON text. As in Kubernetes, bytes that are no UTF-8 become replacement characters.
pub(crate) fn parse(body: &[u8]) -> Result<Node, ParseError> {
    let text = String::from_utf8_lossy(body);
    if text.trim_ascii().is_empty() {
        return Err(ParseError::Malformed("unexpected end of JSON input".to_owned()));
    }
    let budget = Budget::new();
    let mut deserializer = serde_json::Deserializer::from_str(&text);
    let parsed = Seed(&budget).deserialize(&mut deserializer).and_then(|node| deserializer.end().map(|()| node));
    parsed.map_err(|error| {
        if budget.is_spent() {
            ParseError::TooLarge
        } else if error.is_eof() {
            ParseError::Malformed("unexpected end of JSON input".to_owned())
        } else {
            ParseError::Malformed(error.to_string())
        }
    })
}

#[derive(Clone, Copy)]
struct Seed<'a>(&'a Budget);

impl<'de> DeserializeSeed<'de> for Seed<'_> {
    type Value = Node;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Node, D::Error> {
        if !self.0.take() {
            return Err(D::Error::custom("too many values"));
        }
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Seed<'_> {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Node, E> {
        Ok(Node::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Node, E> {
        Ok(Node::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Node, E> {
        Ok(Node::Number(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Node, E> {
        Ok(Node::Number(value.into()))
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Node, E> {
        Number::from_f64(value).map(Node::Number).ok_or_else(|| E::custom("not a JSON number"))
    }

    fn visit_str<E>(self, text: &str) -> Result<Node, E> {
        Ok(Node::String(text.to_owned()))
    }

    fn visit_string<E>(self, text: String) -> Result<Node, E> {
        Ok(Node::String(text))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Node, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element_seed(self)? {
            items.push(item);
        }
        Ok(Node::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Node, A::Error> {
        let mut entries = Vec::new();
        while let Some(key) = map.next_key::<String>()? {
            entries.push((key, map.next_value_seed(self)?));
        }
        Ok(Node::Map(entries))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_duplicate_keys_and_their_order() {
        let text = |text: &str| Node::String(text.to_owned());
        assert_eq!(
            parse(br#"{"b":"1","a":"2","b":"3"}"#).unwrap(),
            Node::Map(vec![("b".into(), text("1")), ("a".into(), text("2")), ("b".into(), text("3"))])
        );
    }

    #[test]
    fn refuses_what_is_too_deep_too_many_or_no_json() {
        let malformed = |body: &str| matches!(parse(body.as_bytes()), Err(ParseError::Malformed(_)));
        assert!(malformed(&"[".repeat(100_000)));
        assert!(malformed(&format!("{}1{}", "[".repeat(200), "]".repeat(200))));
        assert!(malformed(""));
        assert!(malformed("{} {}"));
        assert!(malformed("{\"a\":}"));
        assert_eq!(parse(format!("[{}1]", "1,".repeat(300_000)).as_bytes()), Err(ParseError::TooLarge));
    }
}
