//! The indexed facts of a version as JSON: what `versions.facts` holds, so that history can tell them as the present can.

use std::sync::Arc;

use jiff::Timestamp;
use jobd_api::index::Index;
use serde::{Deserialize, Serialize};

/// [`Index`] on disk. A field that was added later must have a default: older files lack it.
#[derive(Serialize, Deserialize)]
struct Facts {
    uid: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    controller_uid: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    owner_uids: Vec<String>,
    /// Pairs, not an object: the order is the caller's.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    labels: Vec<(String, String)>,
    #[serde(default, skip_serializing_if = "is_false")]
    deleting: bool,
    #[serde(default, skip_serializing_if = "is_false")]
    finished: bool,
    #[serde(default, skip_serializing_if = "is_false")]
    tracking: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    node: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    involved_uid: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    involved_name: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    due_at: Option<i64>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_false(value: &bool) -> bool {
    !value
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
    } = index.clone();
    let due_at = due_at.map(to_nanoseconds);
    let facts = Facts {
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
    let due_at = due_at.map(from_nanoseconds);
    Ok(Arc::new(Index {
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
