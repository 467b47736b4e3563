//! Server-side printing: Table objects, their columns and rows (W-147 to W-149, section 4 of the wire rules).

use jiff::Timestamp;
use serde_json::Value;

use crate::{object::Object, registry::Resource};

/// What a row embeds of its object (`includeObject`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum IncludeObject {
    None,
    #[default]
    Metadata,
    Object,
}

/// `columnDefinitions` of a resource, all of them, priority 1 included (W-147).
#[must_use]
pub fn columns(resource: &Resource) -> Value {
    let _ = resource;
    todo!()
}

/// One row. `object` carries its resourceVersion.
#[must_use]
pub fn row(resource: &Resource, object: &Object, include: IncludeObject, now: Timestamp) -> Value {
    let _ = (resource, object, include, now);
    todo!()
}

/// The PartialObjectMetadata of an object, with its kind and apiVersion `meta.k8s.io/v1`.
#[must_use]
pub fn partial_metadata(object: &Object) -> Value {
    let _ = object;
    todo!()
}
