//! Strategic merge patch: a merge patch whose lists are merged by key where the table says so, and whose directives say
//! what merging alone cannot (W-81, W-82).
//!
//! `$patch: replace | delete | merge` in an object or list item, `$retainKeys`, `$setElementOrder/LIST` and
//! `$deleteFromPrimitiveList/LIST`. No directive ever reaches the document.

mod list;

use serde_json::{Map, Value};

use super::Error;
use crate::schema::{Field, Item, Patch, Shape, Type};

const PATCH: &str = "$patch";
const RETAIN_KEYS: &str = "$retainKeys";
const SET_ELEMENT_ORDER: &str = "$setElementOrder/";
const DELETE_FROM_PRIMITIVE_LIST: &str = "$deleteFromPrimitiveList/";

/// Applies `patch` to a document of type `of`.
pub(super) fn apply(of: &Type, document: Value, patch: &Value) -> Result<Value, Error> {
    let Value::Object(patch) = patch else { return Err(bad("a strategic merge patch is an object")) };
    let map = match document {
        Value::Object(map) => map,
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => Map::new(),
    };
    merge(Some(of), map, patch).map(Value::Object)
}

fn bad(text: impl Into<String>) -> Error {
    Error::Malformed(text.into())
}

/// What a `$patch` directive says.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Directive {
    Merge,
    Replace,
    Delete,
}

impl Directive {
    fn find(patch: &Map<String, Value>) -> Result<Option<Self>, Error> {
        match patch.get(PATCH) {
            None => Ok(None),
            Some(Value::String(text)) if text == "merge" => Ok(Some(Self::Merge)),
            Some(Value::String(text)) if text == "replace" => Ok(Some(Self::Replace)),
            Some(Value::String(text)) if text == "delete" => Ok(Some(Self::Delete)),
            Some(other) => Err(bad(format!("unknown patch type: {other}"))),
        }
    }
}

/// Merges an object. `of` is none inside free JSON and plain maps, where lists are always replaced.
fn merge(
    of: Option<&Type>,
    mut map: Map<String, Value>,
    patch: &Map<String, Value>,
) -> Result<Map<String, Value>, Error> {
    match Directive::find(patch)? {
        Some(Directive::Replace) => return Ok(clean_map(patch)),
        Some(Directive::Delete) => return Ok(Map::new()),
        Some(Directive::Merge) | None => {}
    }
    retain_keys(&mut map, patch)?;
    for (key, value) in patch {
        if key == PATCH || key == RETAIN_KEYS {
            continue;
        }
        if let Some(name) = key.strip_prefix(SET_ELEMENT_ORDER) {
            // With a list of that name in the patch, the order is looked at when that list is merged.
            if !patch.contains_key(name)
                && let Some(Value::Array(items)) = map.get_mut(name)
            {
                let order = list::order(value, name)?;
                let field = of.and_then(|of| of.field(name));
                *items = list::sorted(std::mem::take(items), &order, field.and_then(|field| field.patch_key), &[]);
            }
            continue;
        }
        if let Some(name) = key.strip_prefix(DELETE_FROM_PRIMITIVE_LIST) {
            let Value::Array(gone) = value else { return Err(bad(format!("{key} is a list"))) };
            if let Some(Value::Array(items)) = map.get_mut(name) {
                items.retain(|item| !gone.contains(item));
            }
            continue;
        }
        let field = of.and_then(|of| of.field(key));
        match (value, map.remove(key)) {
            (Value::Null, _) => {}
            (Value::Object(patch), Some(Value::Object(old))) => {
                let merged = if field.is_some_and(|field| field.patch == Patch::Replace) {
                    clean_map(patch)
                } else {
                    merge(field.and_then(object_type), old, patch)?
                };
                map.insert(key.clone(), Value::Object(merged));
            }
            (Value::Array(patch_items), old) if field.is_some_and(is_merged) => {
                let order = match patch.get(&format!("{SET_ELEMENT_ORDER}{key}")) {
                    Some(order) => Some(list::order(order, key)?),
                    None => None,
                };
                let old = match old {
                    Some(Value::Array(items)) => items,
                    Some(Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Object(_))
                    | None => Vec::new(),
                };
                let item_type = field.and_then(object_type);
                let patch_key = field.and_then(|field| field.patch_key);
                let merged = list::merge(item_type, patch_key, old, patch_items, order.as_deref())?;
                map.insert(key.clone(), Value::Array(merged));
            }
            // A new object may hold directives and nulls that only mean something against an old one.
            (Value::Object(patch), _) => {
                if Directive::find(patch)? != Some(Directive::Delete) {
                    map.insert(key.clone(), Value::Object(merge(field.and_then(object_type), Map::new(), patch)?));
                }
            }
            (value, _) => {
                map.insert(key.clone(), clean(value));
            }
        }
    }
    Ok(map)
}

/// `$retainKeys` names everything that may stay; what the patch sets must be among it.
fn retain_keys(map: &mut Map<String, Value>, patch: &Map<String, Value>) -> Result<(), Error> {
    let Some(keys) = patch.get(RETAIN_KEYS) else { return Ok(()) };
    let Value::Array(keys) = keys else { return Err(bad("$retainKeys is a list")) };
    let is_retained = |key: &str| keys.iter().any(|kept| kept.as_str() == Some(key));
    if let Some(key) = patch.iter().find(|(key, value)| !key.starts_with('$') && !value.is_null() && !is_retained(key))
    {
        return Err(bad(format!("$retainKeys does not name {:?}, which the patch sets", key.0)));
    }
    map.retain(|key, _| is_retained(key));
    Ok(())
}

/// The type of the objects in a field: its own, or that of its items.
fn object_type(field: &Field) -> Option<&'static Type> {
    match field.shape {
        Shape::One(Item::Object(id)) | Shape::List(Item::Object(id)) | Shape::Map(Item::Object(id)) => Some(id.get()),
        Shape::One(Item::Scalar(_)) | Shape::List(Item::Scalar(_)) | Shape::Map(Item::Scalar(_)) => None,
    }
}

fn is_merged(field: &Field) -> bool {
    match field.patch {
        Patch::Merge | Patch::MergeRetainKeys => true,
        Patch::Default | Patch::Replace => false,
    }
}

/// A value of the patch as it goes into the document: without directives and without nulls in objects.
fn clean(value: &Value) -> Value {
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value.clone(),
        Value::Array(items) => Value::Array(items.iter().filter(|item| !is_deletion(item)).map(clean).collect()),
        Value::Object(map) => Value::Object(clean_map(map)),
    }
}

fn clean_map(map: &Map<String, Value>) -> Map<String, Value> {
    map.iter()
        .filter(|(key, value)| !is_directive(key) && !value.is_null())
        .map(|(key, value)| (key.clone(), clean(value)))
        .collect()
}

fn is_directive(key: &str) -> bool {
    key == PATCH
        || key == RETAIN_KEYS
        || key.starts_with(SET_ELEMENT_ORDER)
        || key.starts_with(DELETE_FROM_PRIMITIVE_LIST)
}

/// A list item that says only that it should go.
fn is_deletion(item: &Value) -> bool {
    item.get(PATCH).and_then(Value::as_str) == Some("delete")
}

#[cfg(test)]
mod tests;
