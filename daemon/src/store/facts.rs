//! The indexed facts of a version as JSON: what `versions.facts` holds, so that history can tell them as the present can.

use std::{borrow::Cow, sync::Arc};

use jiff::Timestamp;
use jobd_api::index::Index;
use serde::{Deserialize, Serialize};

/// [`Index`] on disk. A field that was added later must have a default: older files lack it. Borrowed where it is written: each
/// version of each object is.
#[derive(Serialize, Deserialize)]
struct Facts<'a> {
    uid: Cow<'a, str>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    controller_uid: Option<Cow<'a, str>>,
    #[serde(default, skip_serializing_if = "is_empty")]
    owner_uids: Cow<'a, [String]>,
    /// Pairs, not an object: the order is the caller's.
    #[serde(default, skip_serializing_if = "is_empty")]
    labels: Cow<'a, [(String, String)]>,
    #[serde(default, skip_serializing_if = "is_false")]
    deleting: bool,
    #[serde(default, skip_serializing_if = "is_false")]
    finished: bool,
    #[serde(default, skip_serializing_if = "is_false")]
    tracking: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    node: Option<Cow<'a, str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    involved_uid: Option<Cow<'a, str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    involved_name: Option<Cow<'a, str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    due_at: Option<i64>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_false(value: &bool) -> bool {
    !value
}

fn is_empty<T>(value: &[T]) -> bool {
    value.is_empty()
}

pub(super) fn render(index: &Index) -> String {
    let Index {
        uid,
        controller_uid,
        owner_uids,
        labels,
        deleting,
        finished,
        tracking,
        node,
        involved_uid,
        involved_name,
        due_at,
    } = index;
    let facts = Facts {
        uid: Cow::Borrowed(uid),
        controller_uid: controller_uid.as_deref().map(Cow::Borrowed),
        owner_uids: Cow::Borrowed(owner_uids),
        labels: Cow::Borrowed(labels),
        deleting: *deleting,
        finished: *finished,
        tracking: *tracking,
        node: node.as_deref().map(Cow::Borrowed),
        involved_uid: involved_uid.as_deref().map(Cow::Borrowed),
        involved_name: involved_name.as_deref().map(Cow::Borrowed),
        due_at: due_at.map(to_nanoseconds),
    };
    serde_json::to_string(&facts).expect("strings, flags and numbers are always JSON")
}

/// # Errors
/// The text that says what is wrong with the stored JSON.
pub(super) fn parse(json: &str) -> Result<Arc<Index>, String> {
    let facts: Facts = serde_json::from_str(json).map_err(|error| format!("facts: {error}"))?;
    let Facts {
        uid,
        controller_uid,
        owner_uids,
        labels,
        deleting,
        finished,
        tracking,
        node,
        involved_uid,
        involved_name,
        due_at,
    } = facts;
    Ok(Arc::new(Index {
        uid: uid.into_owned(),
        controller_uid: controller_uid.map(Cow::into_owned),
        owner_uids: owner_uids.into_owned(),
        labels: labels.into_owned(),
        deleting,
        finished,
        tracking,
        node: node.map(Cow::into_owned),
        involved_uid: involved_uid.map(Cow::into_owned),
        involved_name: involved_name.map(Cow::into_owned),
        due_at: due_at.map(from_nanoseconds),
    }))
}

/// A time in a column: nanoseconds since 1970. Times beyond the years 1678 to 2262 become those.
pub(super) fn to_nanoseconds(time: Timestamp) -> i64 {
    let nanoseconds = time.as_nanosecond();
    i64::try_from(nanoseconds).unwrap_or(if nanoseconds < 0 { i64::MIN } else { i64::MAX })
}

pub(super) fn from_nanoseconds(nanoseconds: i64) -> Timestamp {
    Timestamp::from_nanosecond(i128::from(nanoseconds)).expect("64 bits of nanoseconds lie within a timestamp's range")
}
