//! Patches: document + patch -> document. JSON patch, merge patch, strategic merge patch (W-76 to W-83).
//!
//! Storage and revisions may not come in: a patch is applied to whatever state it is given, again after a conflict.

mod json;
mod merge;
mod strategic;

use serde_json::{Value, json};

use crate::{
    decode::{self, Decoded, FieldValidation, Refusal},
    field::{FieldErrors, Path},
    object::Object,
    registry::Resource,
    schema,
    status::Status,
};

/// A patch's content type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PatchType {
    Json,
    Merge,
    StrategicMerge,
}

impl PatchType {
    /// The type of a `Content-Type` (parameters ignored); none for others, server-side apply included.
    #[must_use]
    pub fn find(content_type: &str) -> Option<Self> {
        match content_type.split(';').next().unwrap_or_default().trim() {
            "application/json-patch+json" => Some(Self::Json),
            "application/merge-patch+json" => Some(Self::Merge),
            "application/strategic-merge-patch+json" => Some(Self::StrategicMerge),
            _ => None,
        }
    }
}

/// A patch that was parsed and can be applied to any state of the object, again after a conflict.
#[derive(Clone, Debug)]
pub struct Patch {
    pub patch_type: PatchType,
    pub document: Value,
    /// Duplicate fields of the patch itself (W-91).
    pub findings: Vec<String>,
}

/// Why a patch cannot be applied.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Error {
    /// A directive or operation that means nothing.
    Malformed(String),
    /// The document is not what the patch expects (a failed `test`, a path that is not there).
    Unprocessable,
    /// The result would be larger or deeper than any object may be.
    TooLarge(String),
}

impl Patch {
    /// # Errors
    /// 400 `error decoding patch: …` for what is no patch of that type (W-79), 413 for too many operations.
    pub fn parse(patch_type: PatchType, body: &[u8]) -> Result<Self, Status> {
        let (document, findings) = decode::plain(body).map_err(|error| match error {
            Some(text) => malformed(text),
            None => too_large("the patch holds too many values"),
        })?;
        match (patch_type, &document) {
            (PatchType::Json, Value::Array(operations)) => {
                if operations.len() > json::OPERATIONS_MAX {
                    return Err(too_large(&format!(
                        "The allowed maximum operations in a JSON patch is {}, got {}",
                        json::OPERATIONS_MAX,
                        operations.len()
                    )));
                }
                if operations.iter().any(|operation| !operation.is_object()) {
                    return Err(malformed("every operation of a JSON patch is an object"));
                }
            }
            (PatchType::Json, _) => return Err(malformed("a JSON patch is a list of operations")),
            (PatchType::Merge | PatchType::StrategicMerge, Value::Object(_)) => {}
            (PatchType::Merge | PatchType::StrategicMerge, _) => return Err(malformed("a merge patch is an object")),
        }
        Ok(Self { patch_type, document, findings })
    }

    /// The patch that a server-side apply comes to as long as ownership is not tracked (W-85): the body is merged over the
    /// live object by the rules of strategic merge, and nothing is ever taken away. `body` comes from
    /// [`crate::decode::apply_body`].
    #[must_use]
    pub fn from_apply(body: Object) -> Self {
        Self { patch_type: PatchType::StrategicMerge, document: Value::Object(body.0), findings: Vec::new() }
    }

    /// Applies the patch to `current` (in the served shape, with its resourceVersion) and checks the result against the schema.
    ///
    /// # Errors
    /// 422 as W-79 and W-80 say; 400 for a changed name is [`crate::write::preconditions`]'s.
    pub fn apply(&self, resource: &Resource, current: &Object, validation: FieldValidation) -> Result<Decoded, Status> {
        let document = Value::Object(current.0.clone());
        let patched = match self.patch_type {
            PatchType::Json => json::apply(document, &self.document),
            PatchType::Merge => Ok(merge::apply(document, &self.document)),
            PatchType::StrategicMerge => {
                let of = schema::find_kind(resource.group, resource.version, resource.kind)
                    .ok_or_else(|| Status::internal(format!("no type for {} in the schema", resource.kind)))?;
                strategic::apply(of, document, &self.document)
            }
        };
        let patched = patched.map_err(|error| match error {
            Error::Malformed(text) => malformed(text),
            Error::Unprocessable => {
                Status::new(422, "Invalid", "the server rejected our request due to an error in our request")
                    .with_details(json!({}))
            }
            Error::TooLarge(text) => too_large(&text),
        })?;
        let Value::Object(patched) = patched else {
            return Err(self.invalid(resource, current, "the result is no object"));
        };
        decode::patched(resource, patched, validation, &self.findings).map_err(|refusal| match refusal {
            Refusal::Identity(status) => status,
            Refusal::Content(text) => self.invalid(resource, current, &text),
        })
    }

    /// W-80: a cause on the field `patch`; the object is not quoted.
    fn invalid(&self, resource: &Resource, current: &Object, text: &str) -> Status {
        let mut errors = FieldErrors::default();
        errors.invalid_object(&Path::from("patch"), text);
        Status::invalid(resource, current.name(), &errors)
    }
}

fn malformed(text: impl std::fmt::Display) -> Status {
    Status::bad_request(format!("error decoding patch: {text}"))
}

fn too_large(text: &str) -> Status {
    Status::new(413, "RequestEntityTooLarge", format!("Request entity too large: {text}"))
}

#[cfg(test)]
mod tests;
