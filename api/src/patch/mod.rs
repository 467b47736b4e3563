//! Patches: document + patch -> document. JSON patch, merge patch, strategic merge patch (W-76 to W-83).

use serde_json::Value;

use crate::{
    decode::{Decoded, FieldValidation},
    object::Object,
    registry::Resource,
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
}

impl Patch {
    /// # Errors
    /// 400 `error decoding patch: …` for what is no patch of that type (W-79).
    pub fn parse(patch_type: PatchType, body: &[u8]) -> Result<Self, Status> {
        let _ = (patch_type, body);
        todo!()
    }

    /// Applies the patch to `current` (in the served shape, with its resourceVersion) and checks the result against the schema.
    ///
    /// # Errors
    /// 422 as W-79 and W-80 say; 400 for a changed name is [`crate::write::preconditions`]'s.
    pub fn apply(&self, resource: &Resource, current: &Object, validation: FieldValidation) -> Result<Decoded, Status> {
        let _ = (resource, current, validation);
        todo!()
    }
}
