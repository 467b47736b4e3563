//! What a DELETE comes to (section 2.13 of the wire rules): gone at once, marked for deletion, or nothing.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::DeleteOptions;

use crate::{object::Object, registry::Resource, status::Status, write::Prepared};

/// What the store has to do for a delete.
#[derive(Clone, Debug)]
pub enum Deletion {
    /// Remove it now; `Prepared` is the final state that the DELETED event shows.
    Remove(Prepared),
    /// Keep it, marked: finalizers or a grace period are in the way (W-100, W-101, W-104, W-105).
    Mark(Prepared),
    /// It is being deleted already and this request changes nothing: 200 with the object as it is.
    Unchanged,
}

/// A decided delete and the warnings for its answer (J-107).
#[derive(Clone, Debug)]
pub struct Decided {
    pub deletion: Deletion,
    pub warnings: Vec<String>,
}

/// Decides a delete of `old`, stored at `revision`.
///
/// # Errors
/// 409 when a precondition does not hold (W-103), 422 for options that contradict each other (W-102), 403 for what may not
/// be deleted (W-111).
pub fn delete(
    resource: &Resource,
    old: &Object,
    revision: i64,
    options: &DeleteOptions,
    now: Timestamp,
) -> Result<Decided, Status> {
    let _ = (resource, old, revision, options, now);
    todo!()
}
