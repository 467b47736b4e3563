//! Bodies into objects: JSON, YAML and protobuf, parsed once into a tree that still knows duplicate keys, then checked
//! against the [`crate::schema`] table (unknown fields, types, quantities, times).

use crate::{object::Object, registry::Resource, status::Status};

/// How a body is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    Json,
    Yaml,
    Protobuf,
}

/// `fieldValidation` of the query (W-91).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FieldValidation {
    Ignore,
    #[default]
    Warn,
    Strict,
}

/// A decoded body.
#[derive(Clone, Debug)]
pub struct Decoded {
    /// Only known fields, last duplicate won, nulls dropped, quantities canonical, times in UTC.
    pub object: Object,
    /// Texts for `Warning` headers (`unknown field "spec.bogus"`), with `Warn` only.
    pub warnings: Vec<String>,
}

/// Decodes the body of a POST or PUT of `resource`. A missing kind or apiVersion is completed from the resource (W-24).
///
/// # Errors
/// 400 as W-24 to W-26 and W-91 say.
pub fn object(
    resource: &Resource,
    format: Format,
    body: &[u8],
    validation: FieldValidation,
) -> Result<Decoded, Status> {
    let _ = (resource, format, body, validation);
    todo!()
}

/// Decodes a body of a type that is no resource (`DeleteOptions`, `Eviction`, …) by its full name in the schema table, such as
/// `io.k8s.apimachinery.pkg.apis.meta.v1.DeleteOptions`. `kind` is its kind for messages.
///
/// # Errors
/// 400 for a body that is not of that type.
pub fn message(
    type_name: &str,
    kind: &str,
    format: Format,
    body: &[u8],
    validation: FieldValidation,
) -> Result<Decoded, Status> {
    let _ = (type_name, kind, format, body, validation);
    todo!()
}
