//! One file per kind: defaults, validation, what an update may change, columns, selectable fields.

pub mod config_map;
pub mod event;
pub mod job;
pub mod namespace;
pub mod node;
pub mod pod;
pub mod secret;
pub mod service_account;

use jiff::Timestamp;
use serde_json::Value;

use crate::{
    field::FieldErrors,
    index::Index,
    object::Object,
    status::Status,
    write::{Context, Part},
};

/// A kind's own rules. The write path ([`crate::write`]) calls them in its order; metadata, which all kinds share, is done there.
///
/// Implementations turn the object into the typed struct once, work on it, and write it back.
pub trait Rules: Sync {
    /// Fills absent fields (jobs.md sections 2 and 24) of a new or updated object and mutates what creation mutates (section 3); sets
    /// the initial status on create (`old` is none). On update: carries over what the client may not change (J-501, J-601).
    ///
    /// # Errors
    /// When the object cannot be read as its type.
    fn prepare(&self, new: &mut Object, old: Option<(&Object, Part)>, context: &mut Context<'_>) -> Result<(), Status>;

    /// Every invalid field of a new object (`old` is none), or of an update: create rules and the rules about changes.
    fn validate(&self, new: &Object, old: Option<(&Object, Part)>) -> FieldErrors;

    /// Texts for `Warning` headers.
    fn warnings(&self, _new: &Object, _old: Option<&Object>) -> Vec<String> {
        Vec::new()
    }

    /// Whether the name is legal: violations as texts (W-55). Most kinds take DNS-1123 subdomains.
    fn validate_name(&self, name: &str) -> Vec<String> {
        crate::name::validate_subdomain(name)
    }

    /// `metadata.generation` is kept for this kind (W-49): it rises when anything but metadata and status changes.
    fn has_generation(&self) -> bool {
        false
    }

    /// Deletion is graceful (pods): the object stays until its node has confirmed the end. The grace in seconds that
    /// a delete without `gracePeriodSeconds` asks for; none means the kind knows no grace.
    fn grace_seconds(&self, _object: &Object, _requested: Option<i64>) -> Option<i64> {
        None
    }

    /// Adds the kind's own columns to an index whose metadata part is filled.
    fn index(&self, _object: &Object, _index: &mut Index) {}

    /// The value of a selectable field (W-137), `None` for a label that the kind does not support. The empty string when unset.
    fn field(&self, object: &Object, label: &str) -> Option<String>;

    /// The refusal of an unsupported field selector (W-137).
    fn unsupported_field(&self, label: &str) -> String {
        format!("\"{label}\" is not a known field selector: only \"metadata.name\", \"metadata.namespace\"")
    }

    /// The cells of its table row.
    fn cells(&self, object: &Object, now: Timestamp) -> Vec<Value>;

    /// A row's `conditions` (T-3), for kinds that have them.
    fn row_conditions(&self, _object: &Object) -> Option<Value> {
        None
    }

    /// From the shape under which this resource is served to the stored one and back; only events have two shapes.
    fn to_stored(&self, object: Object) -> Object {
        object
    }

    #[expect(clippy::wrong_self_convention, reason = "the counterpart of to_stored, on the same rules")]
    fn from_stored(&self, object: Object) -> Object {
        object
    }
}

/// The selectable fields that every namespaced kind has.
#[must_use]
pub fn metadata_field(object: &Object, label: &str) -> Option<String> {
    match label {
        "metadata.name" => Some(object.name().to_owned()),
        "metadata.namespace" => Some(object.namespace().to_owned()),
        _ => None,
    }
}

/// The Age cell: since `creationTimestamp` (T-0).
#[must_use]
pub fn age(object: &Object, now: Timestamp) -> String {
    age_of(object.text(&["metadata", "creationTimestamp"]), now)
}

/// A time's age, `<unknown>` when it is unset.
#[must_use]
pub fn age_of(time: Option<&str>, now: Timestamp) -> String {
    time.and_then(crate::time::parse).map_or_else(|| "<unknown>".to_owned(), |since| crate::time::human_age(since, now))
}
