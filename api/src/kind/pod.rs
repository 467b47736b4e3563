//! Pods: defaults, validation, columns, selectable fields.

use jiff::Timestamp;
use serde_json::Value;

use crate::{
    field::FieldErrors,
    kind::{Rules, age, metadata_field},
    object::Object,
    status::Status,
    write::{Context, Part},
};

/// The rules of this kind.
pub struct PodRules;

impl Rules for PodRules {
    fn prepare(
        &self,
        _new: &mut Object,
        _old: Option<(&Object, Part)>,
        _context: &mut Context<'_>,
    ) -> Result<(), Status> {
        Ok(())
    }

    fn validate(&self, _new: &Object, _old: Option<(&Object, Part)>) -> FieldErrors {
        FieldErrors::default()
    }

    fn field(&self, object: &Object, label: &str) -> Option<String> {
        metadata_field(object, label)
    }

    fn cells(&self, object: &Object, now: Timestamp) -> Vec<Value> {
        vec![object.name().into(), age(object, now).into()]
    }
}
