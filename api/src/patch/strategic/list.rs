//! Lists in a strategic merge patch: merged by the value of a key, or as sets of scalars; then put in order.

use std::collections::HashMap;

use serde_json::{Map, Value};

use super::{Directive, Error, bad, clean_map};
use crate::schema::Type;

/// The list of a `$setElementOrder/LIST`.
pub(super) fn order(value: &Value, name: &str) -> Result<Vec<Value>, Error> {
    match value {
        Value::Array(items) => Ok(items.clone()),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Object(_) => {
            Err(bad(format!("$setElementOrder/{name} is a list")))
        }
    }
}

/// Merges the items of a patch into a list, then sorts by the order that the patch gives; by its own order when it gives none. So
/// a new item of a patch without `$setElementOrder` comes before the items that are there: here Kubernetes differs from W-82.
pub(super) fn merge(
    of: Option<&Type>,
    key: Option<&str>,
    old: Vec<Value>,
    patch: &[Value],
    order: Option<&[Value]>,
) -> Result<Vec<Value>, Error> {
    let places: Vec<String> = old.iter().filter_map(|item| identity(item, key)).collect();
    let merged = match key {
        Some(key) => by_key(of, key, old, patch)?,
        None => scalars(old, patch),
    };
    Ok(sorted(merged, order.unwrap_or(patch), key, &places))
}

fn scalars(mut items: Vec<Value>, patch: &[Value]) -> Vec<Value> {
    let mut seen = std::collections::HashSet::new();
    items.extend(patch.iter().filter(|value| !value.is_null()).cloned());
    items.retain(|item| seen.insert(item.to_string()));
    items
}

fn by_key(of: Option<&Type>, key: &str, old: Vec<Value>, patch: &[Value]) -> Result<Vec<Value>, Error> {
    let mut items: Vec<Option<Value>> = old.into_iter().map(Some).collect();
    let mut changes: Vec<(String, &Map<String, Value>)> = Vec::new();
    let mut places: HashMap<String, Vec<usize>> = HashMap::new();
    for (at, item) in items.iter().enumerate() {
        if let Some(identity) = item.as_ref().and_then(|item| identity(item, Some(key))) {
            places.entry(identity).or_default().push(at);
        }
    }
    let mut replace = false;
    for item in patch {
        let Value::Object(map) = item else {
            return Err(bad(format!("an item of a list with key {key} is an object")));
        };
        let directive = Directive::find(map)?;
        if directive == Some(Directive::Replace) {
            replace = true;
            // An item that says nothing else only asks that the list be replaced.
            if map.len() == 1 {
                continue;
            }
        }
        let identity =
            identity(item, Some(key)).ok_or_else(|| bad(format!("map does not contain declared merge key: {key}")))?;
        if directive == Some(Directive::Delete) {
            for at in places.remove(&identity).unwrap_or_default() {
                items[at] = None;
            }
        } else {
            changes.push((identity, map));
        }
    }
    if replace {
        return Ok(changes.into_iter().map(|(_, map)| Value::Object(clean_map(map))).collect());
    }
    for (identity, map) in changes {
        let at = places.get(&identity).and_then(|places| places.first()).copied();
        let old = at.and_then(|at| items[at].take());
        let old = match old {
            Some(Value::Object(old)) => old,
            Some(_) | None => Map::new(),
        };
        let merged = Some(Value::Object(super::merge(of, old, map)?));
        if let Some(at) = at {
            items[at] = merged;
        } else {
            places.insert(identity, vec![items.len()]);
            items.push(merged);
        }
    }
    Ok(items.into_iter().flatten().collect())
}

/// Sorts by `order`. Items that are not named there keep their place relative to the others in the live list (`places`):
/// each stands before the first named item that it stood before.
pub(super) fn sorted(items: Vec<Value>, order: &[Value], key: Option<&str>, places: &[String]) -> Vec<Value> {
    let rank = |list: &mut dyn Iterator<Item = String>| -> HashMap<String, usize> {
        let mut ranks = HashMap::new();
        for (at, identity) in list.enumerate() {
            ranks.entry(identity).or_insert(at);
        }
        ranks
    };
    let wanted = rank(&mut order.iter().filter_map(|item| identity(item, key)));
    let live = if places.is_empty() {
        rank(&mut items.iter().filter_map(|item| identity(item, key)))
    } else {
        rank(&mut places.iter().cloned())
    };
    let mut named: Vec<(usize, Option<usize>, Value)> = Vec::new();
    let mut others: Vec<(Option<usize>, Value)> = Vec::new();
    for item in items {
        let identity = identity(&item, key);
        let place = identity.as_ref().and_then(|identity| live.get(identity)).copied();
        match identity.and_then(|identity| wanted.get(&identity).copied()) {
            Some(rank) => named.push((rank, place, item)),
            None => others.push((place, item)),
        }
    }
    named.sort_by_key(|(rank, _, _)| *rank);

    let mut sorted = Vec::with_capacity(named.len() + others.len());
    let mut others = others.into_iter().peekable();
    for (_, place, item) in named {
        while let Some((other_place, _)) = others.peek()
            && matches!((other_place, place), (Some(other), Some(place)) if *other < place)
        {
            sorted.extend(others.next().map(|(_, other)| other));
        }
        sorted.push(item);
    }
    sorted.extend(others.map(|(_, other)| other));
    sorted
}

/// What makes an item the same item: the value of its key, or a scalar itself.
fn identity(item: &Value, key: Option<&str>) -> Option<String> {
    match key {
        Some(key) => item.get(key).map(Value::to_string),
        None => Some(item.to_string()),
    }
}
