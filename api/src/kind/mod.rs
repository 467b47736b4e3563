//! One file per kind: defaults, validation, what an update may change, columns, selectable fields.

pub mod config_map;
pub mod cron_job;
pub mod event;
pub mod job;
pub mod namespace;
pub mod node;
pub mod pod;
pub mod pod_spec;
pub mod pod_template;
pub mod secret;
pub mod service;
pub mod service_account;
#[cfg(test)]
pub(crate) mod written;

use jiff::Timestamp;
use serde_json::Value;

use crate::{
    field::{FieldErrors, Path},
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

    /// Something beside `metadata.finalizers` still holds a deleted object (a namespace's content).
    fn has_content(&self, _object: &Object) -> bool {
        false
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

    /// The same cells, read from a stored body without the rest of it: lists are long, and a whole object costs five times as much. None:
    /// the kind has no such short way, or the body is not as it should be; then [`Self::cells`] says what can be said.
    fn cells_of_body(&self, _body: &str, _now: Timestamp) -> Option<Vec<Value>> {
        None
    }

    /// A row's `conditions` (T-3), for kinds that have them.
    fn row_conditions(&self, _object: &Object) -> Option<Value> {
        None
    }

    /// From the shape under which this resource is served to the stored one and back; only events have two shapes. An object
    /// that has the wanted shape already is left alone.
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

/// The faults of an object that cannot be read as its type. What is validated was written from the typed form, so this does not happen;
/// but it is reported, not passed.
pub(crate) fn unreadable(error: &serde_json::Error) -> FieldErrors {
    let mut errors = FieldErrors::default();
    errors.invalid_object(&Path::new("[]"), &error.to_string());
    errors
}

/// Takes the named top-level fields away when they are empty, as a client that reads and writes back would.
pub(crate) fn drop_empty(object: &mut Object, fields: &[&str]) {
    for field in fields {
        let is_empty = match object.0.get(*field) {
            Some(Value::Object(map)) => map.is_empty(),
            Some(Value::Array(items)) => items.is_empty(),
            Some(Value::Null) => true,
            Some(_) | None => false,
        };
        if is_empty {
            object.0.remove(*field);
        }
    }
}

#[cfg(test)]
pub(crate) mod testing {
    //! One way to put a kind's rules through the write path: everything happens at 21:00, and cells are read at 21:05.

    use jiff::Timestamp;
    use serde_json::Value;

    use super::Rules;
    use crate::{
        object::Object,
        registry::{self, Resource},
        status::Status,
        time,
        write::{self, Context, Part, Random, Updated},
    };

    /// Random bits that are the same in every run.
    pub(crate) struct Seeded(pub(crate) u64);

    impl Random for Seeded {
        fn next_u64(&mut self) -> u64 {
            self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            self.0 ^ (self.0 >> 29)
        }
    }

    pub(crate) fn noon() -> Timestamp {
        time::parse("2026-11-20T21:00:00Z").unwrap()
    }

    pub(crate) fn object(value: Value) -> Object {
        Object(value.as_object().unwrap().clone())
    }

    /// Creates and updates of one resource.
    pub(crate) struct Story {
        pub(crate) plural: &'static str,
        pub(crate) group: &'static str,
    }

    impl Story {
        pub(crate) fn resource(&self) -> &'static Resource {
            registry::find(self.group, "v1", self.plural).unwrap()
        }

        pub(crate) fn create(&self, body: Value) -> Result<Object, Status> {
            let body = object(body);
            let namespace = if self.resource().namespaced { body.namespace().to_owned() } else { String::new() };
            let namespace = if namespace.is_empty() { "default".to_owned() } else { namespace };
            let mut context = Context { now: noon(), random: &mut Seeded(1) };
            write::create(self.resource(), &namespace, body, &mut context).map(|prepared| prepared.object)
        }

        fn update(&self, old: &Value, part: Part, new: Value) -> Result<Object, Status> {
            let old = self.create(old.clone()).unwrap();
            let mut context = Context { now: noon(), random: &mut Seeded(2) };
            write::update(self.resource(), part, &old, object(new), &mut context).map(|updated| match updated {
                Updated::Unchanged { warnings: _ } => old,
                Updated::Changed(prepared) | Updated::Gone(prepared) => prepared.object,
            })
        }

        #[track_caller]
        pub(crate) fn creates(&self, body: Value) -> Object {
            self.create(body).unwrap()
        }

        /// The refusal of a new object.
        #[track_caller]
        pub(crate) fn fails(&self, body: Value) -> Status {
            self.create(body).unwrap_err()
        }

        #[track_caller]
        pub(crate) fn refuses(&self, body: Value, want: &[&str]) {
            check_causes(&self.fails(body), want);
        }

        #[track_caller]
        pub(crate) fn updates(&self, old: &Value, new: Value) -> Object {
            self.update(old, Part::Main, new).unwrap()
        }

        #[track_caller]
        pub(crate) fn refuses_update(&self, old: &Value, new: Value, want: &[&str]) {
            check_causes(&self.update(old, Part::Main, new).unwrap_err(), want);
        }

        #[track_caller]
        pub(crate) fn refuses_status(&self, old: &Value, new: Value, want: &[&str]) {
            check_causes(&self.update(old, Part::Status, new).unwrap_err(), want);
        }
    }

    #[track_caller]
    fn check_causes(status: &Status, want: &[&str]) {
        assert_eq!(status.code, 422, "{status:?}");
        let details = status.details.clone().unwrap();
        let texts = details["causes"]
            .as_array()
            .unwrap()
            .iter()
            .map(|cause| format!("{}: {}", cause["field"].as_str().unwrap(), cause["message"].as_str().unwrap()))
            .collect::<Vec<_>>();
        assert_eq!(texts, want);
    }

    #[track_caller]
    pub(crate) fn check_cells(rules: &dyn Rules, object: &Object, want: Value) {
        let now = time::parse("2026-11-20T21:05:00Z").unwrap();
        assert_eq!(Value::Array(rules.cells(object, now)), want);
    }
}
