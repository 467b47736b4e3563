//! JSON patch (RFC 6902) with the leniencies of the reference: `replace` of a missing key adds it (W-79), `test` of a
//! missing value against `null` holds, negative indexes count from the end.

use serde_json::{Map, Value};

use super::Error;
use crate::decode::DEPTH_MAX;

/// The reference's limit.
pub(super) const OPERATIONS_MAX: usize = 10_000;

/// How many bytes of values `copy` may add in one patch. A handful of copies of the whole into itself would otherwise
/// make a terabyte; the reference has the same limit.
const COPIED_MAX: usize = 3 << 20;

/// How many values may be looked at to see how deep they are.
const VISITED_MAX: usize = 1 << 20;

/// Applies the operations one after the other; all or nothing.
pub(super) fn apply(mut document: Value, patch: &Value) -> Result<Value, Error> {
    let operations = patch.as_array().ok_or_else(|| Error::Malformed("no list of operations".to_owned()))?;
    let mut spent = Spent::default();
    for operation in operations {
        apply_one(&mut document, operation, &mut spent)?;
    }
    Ok(document)
}

#[derive(Default)]
struct Spent {
    copied: usize,
    visited: usize,
}

impl Spent {
    fn copy(&mut self, value: &Value) -> Result<(), Error> {
        self.copied += rough_size(value);
        if self.copied > COPIED_MAX {
            return Err(Error::TooLarge(format!(
                "Unable to complete the copy, the accumulated size increase of copy exceeds the limit {COPIED_MAX}"
            )));
        }
        Ok(())
    }

    /// Whether `value` may stand at `path`: a document that is too deep would end every later recursion badly.
    fn fits(&mut self, path: &Pointer, value: &Value) -> Result<(), Error> {
        let depth = path.0.len() + self.depth(value)?;
        if depth > DEPTH_MAX { Err(Error::TooLarge("the result is nested too deep".to_owned())) } else { Ok(()) }
    }

    fn depth(&mut self, value: &Value) -> Result<usize, Error> {
        self.visited += 1;
        if self.visited > VISITED_MAX {
            return Err(Error::TooLarge("the operations move too many values".to_owned()));
        }
        let mut deepest = 0;
        match value {
            Value::Array(items) => {
                for item in items {
                    deepest = deepest.max(self.depth(item)?);
                }
            }
            Value::Object(map) => {
                for item in map.values() {
                    deepest = deepest.max(self.depth(item)?);
                }
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
        Ok(deepest + 1)
    }
}

/// About the length of its JSON text.
fn rough_size(value: &Value) -> usize {
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => 8,
        Value::String(text) => text.len() + 2,
        Value::Array(items) => 2 + items.iter().map(rough_size).sum::<usize>(),
        Value::Object(map) => 2 + map.iter().map(|(key, value)| key.len() + 4 + rough_size(value)).sum::<usize>(),
    }
}

fn apply_one(document: &mut Value, operation: &Value, spent: &mut Spent) -> Result<(), Error> {
    let text = |name: &str| operation.get(name).and_then(Value::as_str);
    let path = text("path").and_then(Pointer::parse).ok_or(Error::Unprocessable)?;
    let from = || text("from").and_then(Pointer::parse).ok_or(Error::Unprocessable);
    // Absent is the same as null, as in the reference.
    let value = || operation.get("value").cloned().unwrap_or_default();
    match text("op").unwrap_or_default() {
        "add" => {
            let value = value();
            spent.fits(&path, &value)?;
            add(document, &path, value)
        }
        "replace" => {
            let value = value();
            spent.fits(&path, &value)?;
            replace(document, &path, value)
        }
        "remove" => remove(document, &path).map(drop),
        "move" => {
            let from = from()?;
            if path.is_below(&from) {
                return Err(Error::Unprocessable);
            }
            if path.0.len() > from.0.len() {
                spent.fits(&path, find(document, &from).ok_or(Error::Unprocessable)?)?;
            }
            let value = remove(document, &from)?;
            add(document, &path, value)
        }
        "copy" => {
            let value = find(document, &from()?).ok_or(Error::Unprocessable)?;
            spent.copy(value)?;
            spent.fits(&path, value)?;
            let value = value.clone();
            add(document, &path, value)
        }
        "test" => {
            let found = find(document, &path).unwrap_or(&Value::Null);
            let wanted = operation.get("value").unwrap_or(&Value::Null);
            if same(found, wanted) { Ok(()) } else { Err(Error::Unprocessable) }
        }
        _ => Err(Error::Unprocessable),
    }
}

/// A JSON pointer (RFC 6901), unescaped.
struct Pointer(Vec<String>);

impl Pointer {
    fn parse(text: &str) -> Option<Self> {
        if text.is_empty() {
            return Some(Self(Vec::new()));
        }
        let rest = text.strip_prefix('/')?;
        Some(Self(rest.split('/').map(|token| token.replace("~1", "/").replace("~0", "~")).collect()))
    }

    fn is_below(&self, other: &Self) -> bool {
        self.0.len() > other.0.len() && self.0.starts_with(&other.0)
    }
}

/// The place of `token` in a list of `length` items.
fn position(token: &str, length: usize) -> Option<usize> {
    if let Some(back) = token.strip_prefix('-') {
        return length.checked_sub(back.parse().ok()?).filter(|at| *at < length);
    }
    token.parse().ok().filter(|at| *at < length)
}

fn child<'a>(value: &'a Value, token: &str) -> Option<&'a Value> {
    match value {
        Value::Object(map) => map.get(token),
        Value::Array(items) => items.get(position(token, items.len())?),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => None,
    }
}

fn find<'a>(document: &'a Value, path: &Pointer) -> Option<&'a Value> {
    path.0.iter().try_fold(document, |value, token| child(value, token))
}

/// The list or object that holds the last step of a path, and that step.
fn parent<'a, 'p>(document: &'a mut Value, path: &'p Pointer) -> Result<(&'a mut Value, &'p str), Error> {
    let (last, above) = path.0.split_last().ok_or(Error::Unprocessable)?;
    let mut value = document;
    for token in above {
        let next = match value {
            Value::Object(map) => map.get_mut(token),
            Value::Array(items) => position(token, items.len()).and_then(|at| items.get_mut(at)),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => None,
        };
        value = next.ok_or(Error::Unprocessable)?;
    }
    Ok((value, last))
}

fn add(document: &mut Value, path: &Pointer, value: Value) -> Result<(), Error> {
    if path.0.is_empty() {
        *document = value;
        return Ok(());
    }
    match parent(document, path)? {
        (Value::Object(map), key) => {
            map.insert(key.to_owned(), value);
            Ok(())
        }
        (Value::Array(items), "-") => {
            items.push(value);
            Ok(())
        }
        (Value::Array(items), token) => {
            let at = position(token, items.len() + 1).ok_or(Error::Unprocessable)?;
            items.insert(at, value);
            Ok(())
        }
        (Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_), _) => Err(Error::Unprocessable),
    }
}

fn replace(document: &mut Value, path: &Pointer, value: Value) -> Result<(), Error> {
    if path.0.is_empty() {
        *document = value;
        return Ok(());
    }
    match parent(document, path)? {
        (Value::Object(map), key) => {
            map.insert(key.to_owned(), value);
            Ok(())
        }
        (Value::Array(items), token) => {
            let at = position(token, items.len()).ok_or(Error::Unprocessable)?;
            items[at] = value;
            Ok(())
        }
        (Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_), _) => Err(Error::Unprocessable),
    }
}

fn remove(document: &mut Value, path: &Pointer) -> Result<Value, Error> {
    if path.0.is_empty() {
        return Ok(std::mem::replace(document, Value::Object(Map::new())));
    }
    match parent(document, path)? {
        (Value::Object(map), key) => map.remove(key).ok_or(Error::Unprocessable),
        (Value::Array(items), token) => {
            let at = position(token, items.len()).ok_or(Error::Unprocessable)?;
            Ok(items.remove(at))
        }
        (Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_), _) => Err(Error::Unprocessable),
    }
}

/// Equal as JSON: 1 and 1.0 are the same number.
fn same(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Number(one), Value::Number(other)) => one == other || one.as_f64() == other.as_f64(),
        (Value::Array(one), Value::Array(other)) => {
            one.len() == other.len() && one.iter().zip(other).all(|(one, other)| same(one, other))
        }
        (Value::Object(one), Value::Object(other)) => {
            one.len() == other.len()
                && one.iter().all(|(key, one)| other.get(key).is_some_and(|other| same(one, other)))
        }
        (one, other) => one == other,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn check(document: Value, patch: Value, want: Value) {
        assert_eq!(apply(document, &patch), Ok(want), "{patch}");
    }

    #[track_caller]
    fn check_refused(document: Value, patch: Value) {
        assert_eq!(apply(document, &patch), Err(Error::Unprocessable), "{patch}");
    }

    #[test]
    fn all_six_operations_work() {
        check(json!({}), json!([{"op": "add", "path": "/a", "value": 1}]), json!({"a": 1}));
        check(json!({"a": [1, 3]}), json!([{"op": "add", "path": "/a/1", "value": 2}]), json!({"a": [1, 2, 3]}));
        check(json!({"a": [1]}), json!([{"op": "add", "path": "/a/-", "value": 2}]), json!({"a": [1, 2]}));
        check(json!({"a": 1, "b": 2}), json!([{"op": "remove", "path": "/a"}]), json!({"b": 2}));
        check(json!({"a": [1, 2]}), json!([{"op": "remove", "path": "/a/0"}]), json!({"a": [2]}));
        check(json!({"a": [1, 2]}), json!([{"op": "replace", "path": "/a/1", "value": 3}]), json!({"a": [1, 3]}));
        check(json!({"a": {"b": 1}}), json!([{"op": "move", "from": "/a/b", "path": "/c"}]), json!({"a": {}, "c": 1}));
        check(json!({"a": 1}), json!([{"op": "copy", "from": "/a", "path": "/b"}]), json!({"a": 1, "b": 1}));
        check(
            json!({"a": [1, {"b": 2}]}),
            json!([{"op": "test", "path": "/a", "value": [1.0, {"b": 2}]}]),
            json!({"a": [1, {"b": 2}]}),
        );
    }

    #[test]
    fn replace_of_a_missing_key_adds() {
        check(json!({"a": {}}), json!([{"op": "replace", "path": "/a/b", "value": 1}]), json!({"a": {"b": 1}}));
    }

    #[test]
    fn pointers_are_unescaped_and_may_count_from_the_end() {
        check(json!({"a/b": {"c~d": 1}}), json!([{"op": "remove", "path": "/a~1b/c~0d"}]), json!({"a/b": {}}));
        check(json!({"a": [1, 2]}), json!([{"op": "remove", "path": "/a/-1"}]), json!({"a": [1]}));
        check(json!({"": 1}), json!([{"op": "remove", "path": "/"}]), json!({}));
        check(json!({"a": 1}), json!([{"op": "replace", "path": "", "value": {"b": 1}}]), json!({"b": 1}));
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        for patch in [
            json!([{"op": "test", "path": "/a", "value": 2}]),
            json!([{"op": "test", "path": "/x", "value": 2}]),
            json!([{"op": "remove", "path": "/x"}]),
            json!([{"op": "add", "path": "/x/y", "value": 1}]),
            json!([{"op": "add", "path": "/l/9", "value": 1}]),
            json!([{"op": "replace", "path": "/l/9", "value": 1}]),
            json!([{"op": "add", "path": "/l/x", "value": 1}]),
            json!([{"op": "move", "from": "/x", "path": "/y"}]),
            json!([{"op": "move", "from": "/l", "path": "/l/0"}]),
            json!([{"op": "copy", "path": "/y"}]),
            json!([{"op": "increase", "path": "/a"}]),
            json!([{"op": "add", "path": "a", "value": 1}]),
            json!([{"op": "add", "value": 1}]),
        ] {
            check_refused(json!({"a": 1, "l": [1]}), patch);
        }
        check(json!({}), json!([{"op": "test", "path": "/x", "value": null}]), json!({}));
    }

    #[test]
    fn copies_cannot_explode() {
        let double = json!({"op": "copy", "from": "/a", "path": "/a/-"});
        let result = apply(json!({"a": ["x"]}), &Value::Array(vec![double; 100]));
        assert!(matches!(result, Err(Error::TooLarge(_))));

        let mut deeper = Vec::new();
        for _ in 0..2000 {
            deeper.push(json!({"op": "move", "from": "/a", "path": "/b"}));
            deeper.push(json!({"op": "add", "path": "/a", "value": {}}));
            deeper.push(json!({"op": "move", "from": "/b", "path": "/a/b"}));
        }
        assert!(matches!(apply(json!({"a": {}}), &Value::Array(deeper)), Err(Error::TooLarge(_))));
    }
}
