//! The one write path: what happens to an object between a request and the store, whoever the writer is.
//!
//! Order (J-301, DESIGN section 3): default, assign name and uid, mutate, validate, then lifecycle: generation,
//! no-op detection, removal of a deleted object whose last finalizer went. All of it is pure; the store checks the
//! guards (name free, namespace active, revision unchanged) in the transaction that writes.

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use crate::{
    field::{FieldErrors, Path},
    index::Index,
    meta, name,
    object::Object,
    registry::Resource,
    status::Status,
    time,
};

/// Source of random bits for uids and generated names. Seeded in tests and in the simulation.
pub trait Random {
    fn next_u64(&mut self) -> u64;
}

/// What a write may take from outside.
pub struct Context<'a> {
    pub now: Timestamp,
    pub random: &'a mut dyn Random,
}

/// Which part of an object a PUT or PATCH is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Part {
    /// The resource itself: `status` is kept as stored (W-71).
    Main,
    /// The status subresource: everything but `status` (and metadata that J-601 allows) is kept as stored.
    Status,
}

/// An object that is ready to be stored.
#[derive(Clone, Debug)]
pub struct Prepared {
    pub object: Object,
    pub index: Index,
    /// Texts of `Warning: 299` headers (J-106, W-93). They never fail a request.
    pub warnings: Vec<String>,
}

/// What an update comes to.
#[derive(Clone, Debug)]
pub enum Updated {
    /// Nothing changed: nothing is written, the revision stays (W-51).
    Unchanged {
        warnings: Vec<String>,
    },
    Changed(Prepared),
    /// The last finalizer went from an object that is being deleted: it goes, in this final state.
    Gone(Prepared),
}

/// Prepares a new object.
///
/// `namespace` is the one of the URL (`""` for cluster-scoped kinds), `body` a decoded body ([`crate::decode`]) in the served or
/// in the stored shape. A client's uid, creationTimestamp, generation, status and so on are overwritten (W-49, J-302).
/// `generateName` gets its suffix here (W-53): on a name collision the caller prepares again, 8 times in all.
///
/// # Errors
/// 400 for a namespace or kind that does not fit the URL, 422 with every invalid field.
pub fn create(
    resource: &Resource,
    namespace: &str,
    body: Object,
    context: &mut Context<'_>,
) -> Result<Prepared, Status> {
    let object = assemble(resource, namespace, body, context)?;
    let mut errors = meta::validate_create(resource.rules, &typed_metadata(resource, &object)?);
    errors.extend(resource.rules.validate(&object, None));
    refuse(resource, &object, &errors)?;
    let warnings = resource.rules.warnings(&object, None);
    Ok(prepared(resource, object, warnings))
}

/// The same without validation, for objects that this program makes by itself and of which no client must be able to make
/// the like: its events carry the times of both shapes (W-189), which for clients is an error.
///
/// # Errors
/// 400 for a namespace or kind that does not fit.
pub fn create_own(
    resource: &Resource,
    namespace: &str,
    body: Object,
    context: &mut Context<'_>,
) -> Result<Prepared, Status> {
    Ok(prepared(resource, assemble(resource, namespace, body, context)?, Vec::new()))
}

/// A new object with everything that the server and its kind's defaults give it.
fn assemble(resource: &Resource, namespace: &str, body: Object, context: &mut Context<'_>) -> Result<Object, Status> {
    let mut object = stored_shape(resource, body)?;
    place(resource, namespace, &mut object)?;
    if object.resource_version().is_some_and(|version| version != "0") {
        // W-63
        return Err(Status::new(422, "Invalid", "resourceVersion should not be set on objects to be created"));
    }

    let metadata = object.metadata_mut();
    for field in ["resourceVersion", "deletionTimestamp", "deletionGracePeriodSeconds", "generation"] {
        metadata.remove(field);
    }
    meta::clean(metadata);
    if !metadata.contains_key("name")
        && let Some(base) = metadata.get("generateName").and_then(Value::as_str)
    {
        let name = name::generate(base, context.random);
        metadata.insert("name".to_owned(), name.into());
    }
    metadata.insert("uid".to_owned(), name::uid(context.random).into());
    metadata.insert("creationTimestamp".to_owned(), time::render(context.now).into());
    if resource.rules.has_generation() {
        metadata.insert("generation".to_owned(), 1.into());
    }

    resource.rules.prepare(&mut object, None, context)?;
    meta::clean(object.metadata_mut());
    Ok(object)
}

/// Prepares the replacement of `old` by `body`, a whole decoded object of a PUT, or the result of a patch.
///
/// `body`'s uid and resourceVersion, where given, are the caller's preconditions and were checked by it ([`preconditions`]).
///
/// # Errors
/// 422 with every invalid field and every change of an immutable one.
pub fn update(
    resource: &Resource,
    part: Part,
    old: &Object,
    body: Object,
    context: &mut Context<'_>,
) -> Result<Updated, Status> {
    let mut object = stored_shape(resource, body)?;
    restore(resource, part, old, &mut object);
    resource.rules.prepare(&mut object, Some((old, part)), context)?;
    finish_update(resource, part, old, object)
}

/// Takes over `spec.finalizers` of a namespace from `body`, and nothing else (`namespaces/N/finalize`).
///
/// # Errors
/// 422 for finalizers that are no qualified names.
pub fn finalize(resource: &Resource, old: &Object, body: &Object) -> Result<Updated, Status> {
    let finalizers = body.get(&["spec", "finalizers"]).cloned().unwrap_or_else(|| json!([]));
    let mut object = old.clone();
    let spec = object.0.entry("spec").or_insert_with(|| json!({}));
    match finalizers.as_array().is_none_or(Vec::is_empty) {
        true => {
            spec.as_object_mut().map(|spec| spec.remove("finalizers"));
        }
        false => spec["finalizers"] = finalizers,
    }
    finish_update(resource, Part::Main, old, object)
}

/// From an update's object that is complete to what the store has to do.
fn finish_update(resource: &Resource, part: Part, old: &Object, mut object: Object) -> Result<Updated, Status> {
    normalise(&mut object);
    raise_generation(resource, old, &mut object);
    let mut errors = meta::validate_update(&typed_metadata(resource, &object)?, &typed_metadata(resource, old)?);
    errors.extend(resource.rules.validate(&object, Some((old, part))));
    refuse(resource, &object, &errors)?;
    let warnings = resource.rules.warnings(&object, Some(old));
    Ok(outcome(resource, old, object, warnings))
}

/// Checks name, namespace, uid and resourceVersion of a PUT's or patch's object against the stored one (W-68 to W-70).
///
/// # Errors
/// 400 for another name, 409 for another uid or revision.
pub fn preconditions(resource: &Resource, old: &Object, old_revision: i64, body: &Object) -> Result<(), Status> {
    let (name, new_name) = (old.name(), body.name());
    if new_name.is_empty() {
        return Err(Status::bad_request(format!(
            "the name of the object ({name} based on URL) was undeterminable: name must be provided"
        )));
    }
    if new_name != name {
        return Err(Status::bad_request(format!(
            "the name of the object ({new_name}) does not match the name on the URL ({name})"
        )));
    }
    if resource.namespaced && !body.namespace().is_empty() && body.namespace() != old.namespace() {
        return Err(Status::bad_request(OTHER_NAMESPACE));
    }
    if !body.uid().is_empty() && body.uid() != old.uid() {
        let why =
            format!("Precondition failed: UID in precondition: {}, UID in object meta: {}", body.uid(), old.uid());
        return Err(Status::conflict_because(resource, name, &why));
    }
    match body.resource_version().map(str::parse::<u64>) {
        // No version, or 0: an unconditional replace (J-103).
        None | Some(Ok(0)) => Ok(()),
        Some(Ok(version)) if u64::try_from(old_revision) == Ok(version) => Ok(()),
        Some(Ok(_)) => Err(Status::conflict(resource, name)),
        Some(Err(_)) => {
            let version = body.resource_version().unwrap_or_default();
            let mut errors = FieldErrors::default();
            errors.invalid(
                &Path::new("metadata.resourceVersion"),
                version,
                &format!("strconv.ParseUint: parsing {version:?}: invalid syntax"),
            );
            Err(Status::invalid(resource, name, &errors))
        }
    }
}

/// The same path for this program's own controllers, which change typed objects that they read from the store: generation,
/// no-op detection, index, removal when the last finalizer went. Defaults are there already; validation is not repeated.
#[must_use]
pub fn update_own(resource: &Resource, old: &Object, new: Object) -> Updated {
    let mut object = new;
    normalise(&mut object);
    raise_generation(resource, old, &mut object);
    outcome(resource, old, object, Vec::new())
}

/// An object's index: what its metadata says, and what its kind adds.
#[must_use]
pub fn index(resource: &Resource, object: &Object) -> Index {
    let mut index = Index { uid: object.uid().to_owned(), deleting: is_deleting(object), ..Index::default() };
    for owner in object.get(&["metadata", "ownerReferences"]).and_then(Value::as_array).into_iter().flatten() {
        let Some(uid) = owner["uid"].as_str() else { continue };
        if !index.owner_uids.iter().any(|one| one == uid) {
            index.owner_uids.push(uid.to_owned());
        }
        if owner["controller"] == true {
            index.controller_uid = Some(uid.to_owned());
        }
    }
    for (key, value) in object.get(&["metadata", "labels"]).and_then(Value::as_object).into_iter().flatten() {
        index.labels.push((key.clone(), value.as_str().unwrap_or_default().to_owned()));
    }
    let finalizers = object.get(&["metadata", "finalizers"]).and_then(Value::as_array);
    index.tracking = finalizers.is_some_and(|all| all.iter().any(|one| one == TRACKING_FINALIZER));
    resource.rules.index(object, &mut index);
    index
}

/// On each pod of a job until the job has counted it (J-703).
pub const TRACKING_FINALIZER: &str = "batch.kubernetes.io/job-tracking";

const OTHER_NAMESPACE: &str = "the namespace of the provided object does not match the namespace sent on the request";

/// The body in the stored shape, with the stored kind.
fn stored_shape(resource: &Resource, body: Object) -> Result<Object, Status> {
    let mut object = resource.rules.to_stored(body);
    let stored = resource.stored.resource();
    let version = stored.api_version();
    for (field, have, want) in
        [("kind", object.kind(), stored.kind), ("apiVersion", object.api_version(), version.as_str())]
    {
        if !have.is_empty() && have != want {
            return Err(Status::bad_request(format!(
                "{} in version {:?} cannot be handled as a {}: the {field} must be {want:?}",
                object.kind(),
                object.api_version(),
                resource.kind,
            )));
        }
    }
    object.0.insert("kind".to_owned(), stored.kind.into());
    object.0.insert("apiVersion".to_owned(), version.into());
    Ok(object)
}

/// Sets the namespace of a new object (W-59).
fn place(resource: &Resource, namespace: &str, object: &mut Object) -> Result<(), Status> {
    if !resource.namespaced {
        object.metadata_mut().remove("namespace");
        return Ok(());
    }
    if !object.namespace().is_empty() && object.namespace() != namespace {
        return Err(Status::bad_request(OTHER_NAMESPACE));
    }
    object.metadata_mut().insert("namespace".to_owned(), namespace.into());
    Ok(())
}

/// Puts back what a request to this part may not change (W-52, W-71, J-601).
fn restore(resource: &Resource, part: Part, old: &Object, object: &mut Object) {
    let empty = Map::new();
    let old_metadata = old.0.get("metadata").and_then(Value::as_object).unwrap_or(&empty);
    meta::restore_system_fields(object.metadata_mut(), old_metadata);
    match part {
        Part::Main => {
            if resource.find_subresource("status").is_some() {
                match old.0.get("status") {
                    Some(status) => object.0.insert("status".to_owned(), status.clone()),
                    None => object.0.remove("status"),
                };
            }
        }
        Part::Status => {
            let status = object.0.remove("status");
            let metadata = object.0.remove("metadata");
            *object = old.clone();
            object.0.insert("metadata".to_owned(), metadata.unwrap_or_else(|| json!({})));
            match status {
                Some(status) => object.0.insert("status".to_owned(), status),
                None => object.0.remove("status"),
            };
        }
    }
}

/// The stored form: metadata clean, no version, which is the row's revision.
fn normalise(object: &mut Object) {
    let metadata = object.metadata_mut();
    metadata.remove("resourceVersion");
    meta::clean(metadata);
}

/// `metadata.generation` counts the changes of what the user asked for (W-52, J-501).
fn raise_generation(resource: &Resource, old: &Object, object: &mut Object) {
    let generation = old.get(&["metadata", "generation"]).and_then(Value::as_i64);
    if !resource.rules.has_generation() {
        object.metadata_mut().remove("generation");
        return;
    }
    let raise = i64::from(!is_same(&old.0, &object.0, &["apiVersion", "kind", "metadata", "status"]));
    object.metadata_mut().insert("generation".to_owned(), (generation.unwrap_or(1) + raise).into());
}

/// Whether two maps mean the same outside of `except`: an absent list and an empty one do.
fn is_same(left: &Map<String, Value>, right: &Map<String, Value>, except: &[&str]) -> bool {
    let is_nothing = |value: &Value| value.is_null() || value.as_array().is_some_and(Vec::is_empty);
    let counts = |key: &String| !except.contains(&key.as_str());
    left.iter().filter(|(key, _)| counts(key)).all(|(key, value)| match right.get(key) {
        Some(other) => is_same_value(value, other),
        None => is_nothing(value),
    }) && right.iter().all(|(key, value)| !counts(key) || left.contains_key(key) || is_nothing(value))
}

fn is_same_value(left: &Value, right: &Value) -> bool {
    match (left, right) {
        (Value::Object(left), Value::Object(right)) => is_same(left, right, &[]),
        (Value::Array(left), Value::Array(right)) => {
            left.len() == right.len() && left.iter().zip(right).all(|(left, right)| is_same_value(left, right))
        }
        (left, right) => left == right,
    }
}

fn typed_metadata(
    resource: &Resource,
    object: &Object,
) -> Result<k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta, Status> {
    object.metadata().map_err(|error| unreadable(resource.kind, &resource.api_version(), &error))
}

/// An object that does not fit its type: decoding should have said so, so the text is as decoding's (W-26).
pub(crate) fn unreadable(kind: &str, version: &str, error: &dyn std::fmt::Display) -> Status {
    Status::bad_request(format!("{kind} in version {version:?} cannot be handled as a {kind}: {error}"))
}

fn refuse(resource: &Resource, object: &Object, errors: &FieldErrors) -> Result<(), Status> {
    if errors.is_empty() { Ok(()) } else { Err(Status::invalid(resource, object.name(), errors)) }
}

pub(crate) fn prepared(resource: &Resource, object: Object, warnings: Vec<String>) -> Prepared {
    let index = index(resource, &object);
    Prepared { object, index, warnings }
}

fn outcome(resource: &Resource, old: &Object, object: Object, warnings: Vec<String>) -> Updated {
    if is_over(resource, &object) {
        return Updated::Gone(prepared(resource, object, warnings));
    }
    if is_unchanged(old, &object) {
        return Updated::Unchanged { warnings };
    }
    Updated::Changed(prepared(resource, object, warnings))
}

/// Whether nothing but the version, which `object` has not, tells them apart.
fn is_unchanged(old: &Object, object: &Object) -> bool {
    let is_equal = |key: &str, old: &Value, new: &Value| match (key, old, new) {
        ("metadata", Value::Object(old), Value::Object(new)) => {
            old.len() - usize::from(old.contains_key("resourceVersion")) == new.len()
                && new.iter().all(|(key, value)| old.get(key) == Some(value))
        }
        (_, old, new) => old == new,
    };
    old.0.len() == object.0.len()
        && object.0.iter().all(|(key, value)| old.0.get(key).is_some_and(|old| is_equal(key, old, value)))
}

/// Whether nothing holds a deleted object any more: no finalizer, no content, and no grace that its node has to confirm.
pub(crate) fn is_over(resource: &Resource, object: &Object) -> bool {
    let grace = object.get(&["metadata", "deletionGracePeriodSeconds"]).and_then(Value::as_i64).unwrap_or_default();
    is_deleting(object) && grace == 0 && finalizers(object).next().is_none() && !resource.rules.has_content(object)
}

pub(crate) fn is_deleting(object: &Object) -> bool {
    object.text(&["metadata", "deletionTimestamp"]).is_some()
}

/// `metadata.finalizers`.
pub(crate) fn finalizers(object: &Object) -> impl Iterator<Item = &str> {
    let list = object.get(&["metadata", "finalizers"]).and_then(Value::as_array);
    list.into_iter().flatten().filter_map(Value::as_str)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        kind::{
            Rules,
            testing::{Seeded, noon, object},
        },
        registry::{self, Kind},
    };

    /// A kind with generations, whose objects say for themselves what is wrong with them.
    struct Counted;

    impl Rules for Counted {
        fn prepare(&self, new: &mut Object, old: Option<(&Object, Part)>, _: &mut Context<'_>) -> Result<(), Status> {
            if old.is_none() {
                new.0.insert("status".to_owned(), json!({"phase": "Pending"}));
            }
            Ok(())
        }

        fn validate(&self, new: &Object, _old: Option<(&Object, Part)>) -> FieldErrors {
            let mut errors = FieldErrors::default();
            if new.get(&["spec", "bad"]).is_some() {
                errors.forbidden(&Path::new("spec.bad"), "no");
            }
            errors
        }

        fn warnings(&self, new: &Object, old: Option<&Object>) -> Vec<String> {
            let generation = |object: &Object| object.get(&["metadata", "generation"]).cloned();
            vec![format!("generation {:?}", old.map(|old| generation(new) != generation(old)))]
        }

        fn has_generation(&self) -> bool {
            true
        }

        fn field(&self, _: &Object, _: &str) -> Option<String> {
            None
        }

        fn cells(&self, _: &Object, _: Timestamp) -> Vec<Value> {
            Vec::new()
        }
    }

    fn counted() -> Resource {
        let pods = Kind::Pod.resource();
        Resource { rules: &Counted, subresources: pods.subresources, ..copy(pods) }
    }

    fn copy(resource: &Resource) -> Resource {
        let Resource {
            stored,
            group,
            version,
            kind,
            plural,
            singular,
            namespaced,
            short_names,
            categories,
            verbs,
            subresources,
            rules,
        } = *resource;
        Resource {
            stored,
            group,
            version,
            kind,
            plural,
            singular,
            namespaced,
            short_names,
            categories,
            verbs,
            subresources,
            rules,
        }
    }

    fn make(namespace: &str, body: Value) -> Result<Prepared, Status> {
        create(&counted(), namespace, object(body), &mut Context { now: noon(), random: &mut Seeded(1) })
    }

    fn made(body: Value) -> Object {
        make("n", body).unwrap().object
    }

    fn change(part: Part, old: &Object, body: Value) -> Result<Updated, Status> {
        update(&counted(), part, old, object(body), &mut Context { now: noon(), random: &mut Seeded(2) })
    }

    /// What an update came to, for comparing.
    fn render(updated: &Updated) -> (&'static str, Value) {
        match updated {
            Updated::Unchanged { warnings: _ } => ("unchanged", Value::Null),
            Updated::Changed(prepared) => ("changed", Value::Object(prepared.object.0.clone())),
            Updated::Gone(prepared) => ("gone", Value::Object(prepared.object.0.clone())),
        }
    }

    #[test]
    fn w49_the_server_sets_what_is_its_own() {
        let prepared = make(
            "n",
            json!({
                "metadata": {
                    "name": "a", "uid": "mine", "creationTimestamp": "2000-01-01T00:00:00Z", "generation": 7,
                    "deletionTimestamp": "2000-01-01T00:00:00Z", "deletionGracePeriodSeconds": 3, "selfLink": "x",
                    "managedFields": [{"manager": "m"}], "labels": {}, "finalizers": [], "resourceVersion": "0",
                },
                "spec": {"x": 1}, "status": {"phase": "Running"},
            }),
        )
        .unwrap();
        let uid = prepared.object.uid().to_owned();
        assert_eq!(
            Value::Object(prepared.object.0),
            json!({
                "apiVersion": "v1", "kind": "Pod",
                "metadata": {"name": "a", "namespace": "n", "uid": uid, "creationTimestamp": "2026-11-20T21:00:00Z", "generation": 1},
                "spec": {"x": 1}, "status": {"phase": "Pending"},
            })
        );
        assert_eq!((uid.len(), prepared.index.uid), (36, uid));
        assert_eq!(prepared.warnings, ["generation None"]);
    }

    #[test]
    fn w53_a_name_is_generated_unless_one_is_given() {
        let generated = made(json!({"metadata": {"generateName": "a-"}}));
        assert!(generated.name().starts_with("a-") && generated.name().len() == 7);
        assert_eq!(made(json!({"metadata": {"generateName": "a-", "name": "b"}})).name(), "b");
    }

    #[track_caller]
    fn refuses(namespace: &str, body: Value, code: u16, want: &str) {
        let status = make(namespace, body).unwrap_err();
        assert_eq!((status.code, status.message.as_str()), (code, want));
    }

    #[test]
    fn refusals_of_creates() {
        refuses(
            "n",
            json!({"metadata": {"name": "a", "namespace": "o"}}),
            400,
            "the namespace of the provided object does not match the namespace sent on the request",
        );
        refuses(
            "n",
            json!({"metadata": {"name": "a", "resourceVersion": "5"}}),
            422,
            "resourceVersion should not be set on objects to be created",
        );
        refuses(
            "n",
            json!({}),
            422,
            "Pod \"\" is invalid: metadata.name: Required value: name or generateName is required",
        );
        refuses(
            "n",
            json!({"metadata": {"name": "a", "finalizers": ["f"]}, "spec": {"bad": 1}}),
            422,
            "Pod \"a\" is invalid: [metadata.finalizers[0]: Invalid value: \"f\": name is neither a standard finalizer name nor is it fully qualified, spec.bad: Forbidden: no]",
        );
        refuses(
            "n",
            json!({"kind": "Job", "metadata": {"name": "a"}}),
            400,
            "Job in version \"\" cannot be handled as a Pod: the kind must be \"Pod\"",
        );
    }

    #[test]
    fn w59_cluster_scoped_objects_have_no_namespace() {
        let nodes = Kind::Node.resource();
        let body = object(json!({"metadata": {"name": "a", "namespace": "x"}}));
        let prepared = create(nodes, "", body, &mut Context { now: noon(), random: &mut Seeded(1) }).unwrap();
        assert_eq!(prepared.object.namespace(), "");
    }

    #[test]
    fn w51_what_changes_nothing_is_not_written() {
        let old = made(json!({"metadata": {"name": "a"}, "spec": {"x": 1}}));
        let with_version = Value::Object(old.clone().with_revision(9).0);
        assert_eq!(render(&change(Part::Main, &old.clone().with_revision(9), with_version).unwrap()).0, "unchanged");
        // All that the server owns may be missing or wrong (W-52).
        let body =
            json!({"metadata": {"name": "a", "generation": 9, "uid": "x", "managedFields": [{}]}, "spec": {"x": 1}});
        assert_eq!(render(&change(Part::Main, &old, body).unwrap()).0, "unchanged");
        assert_eq!(render(&update_own(&counted(), &old, old.clone().with_revision(9))).0, "unchanged");
    }

    #[test]
    fn w52_generation_counts_changes_of_the_spec_only() {
        let old = made(json!({"metadata": {"name": "a"}, "spec": {"x": 1}}));
        for (body, want) in [
            (json!({"metadata": {"name": "a"}, "spec": {"x": 2}}), 2),
            (json!({"metadata": {"name": "a"}}), 2),
            (json!({"metadata": {"name": "a", "labels": {"l": "1"}}, "spec": {"x": 1}}), 1),
            // J-501: the same meaning is no change.
            (json!({"metadata": {"name": "a"}, "spec": {"x": 1, "list": []}}), 1),
        ] {
            let (what, object) = render(&change(Part::Main, &old, body).unwrap());
            assert_eq!((what, &object["metadata"]["generation"]), ("changed", &json!(want)));
        }
        let mut new = old.clone();
        new.0.insert("spec".to_owned(), json!({"x": 3}));
        new.0.insert("status".to_owned(), json!({}));
        assert_eq!(render(&update_own(&counted(), &old, new)).1["metadata"]["generation"], json!(2));
    }

    #[test]
    fn w71_each_part_changes_only_its_own() {
        let old = made(json!({"metadata": {"name": "a"}, "spec": {"x": 1}}));
        let body =
            json!({"metadata": {"name": "a", "labels": {"l": "1"}}, "spec": {"x": 2}, "status": {"phase": "Running"}});
        let (_, main) = render(&change(Part::Main, &old, body.clone()).unwrap());
        assert_eq!((&main["spec"], &main["status"]), (&json!({"x": 2}), &json!({"phase": "Pending"})));
        // J-601: labels pass with the status.
        let (_, status) = render(&change(Part::Status, &old, body).unwrap());
        assert_eq!((&status["spec"], &status["status"]), (&json!({"x": 1}), &json!({"phase": "Running"})));
        assert_eq!((&status["metadata"]["labels"], &status["metadata"]["generation"]), (&json!({"l": "1"}), &json!(1)));
    }

    fn deleted(finalizers: &[&str], grace: i64) -> Object {
        let mut old = made(json!({"metadata": {"name": "a"}, "spec": {"x": 1}}));
        let metadata = old.metadata_mut();
        metadata.insert("deletionTimestamp".to_owned(), "2026-11-20T21:00:30Z".into());
        metadata.insert("deletionGracePeriodSeconds".to_owned(), grace.into());
        metadata.insert("finalizers".to_owned(), json!(finalizers));
        old
    }

    #[test]
    fn w104_a_deleted_object_goes_with_its_last_finalizer() {
        for (grace, finalizers, want) in [
            (0, json!([]), "gone"),
            (0, json!(["a/b"]), "changed"),
            // The node has not confirmed yet.
            (30, json!([]), "changed"),
        ] {
            let old = deleted(&["a/b", "c/d"], grace);
            let body = json!({"metadata": {"name": "a", "finalizers": finalizers}, "spec": {"x": 1}});
            let updated = change(Part::Main, &old, body).unwrap();
            let (what, object) = render(&updated);
            assert_eq!(what, want);
            assert_eq!(object["metadata"]["deletionTimestamp"], json!("2026-11-20T21:00:30Z"));
            let mut own = old.clone();
            own.metadata_mut().insert("finalizers".to_owned(), finalizers);
            assert_eq!(render(&update_own(&counted(), &old, own)).0, want);
        }
    }

    #[test]
    fn j508_deletion_cannot_be_undone_or_delayed() {
        let old = deleted(&["a/b"], 0);
        let body = json!({"metadata": {"name": "a", "finalizers": ["a/b", "c/d"]}, "spec": {"x": 1}});
        let status = change(Part::Main, &old, body).unwrap_err();
        assert!(status.message.ends_with("found new finalizers []string{\"c/d\"}"));
        let body =
            json!({"metadata": {"name": "a", "finalizers": ["a/b"], "deletionTimestamp": null}, "spec": {"x": 1}});
        assert_eq!(render(&change(Part::Main, &old, body).unwrap()).0, "unchanged");
    }

    #[test]
    fn w185_a_namespace_goes_when_it_is_finalized() {
        let resource = Kind::Namespace.resource();
        let body = object(json!({"metadata": {"name": "a"}}));
        let mut old = create(resource, "", body, &mut Context { now: noon(), random: &mut Seeded(1) }).unwrap().object;
        old.metadata_mut().insert("deletionTimestamp".to_owned(), "2026-11-20T21:00:30Z".into());
        old.0.insert("status".to_owned(), json!({"phase": "Terminating"}));
        assert_eq!(render(&finalize(resource, &old, &old).unwrap()).0, "unchanged");
        let empty = object(json!({"metadata": {"name": "a"}, "spec": {"finalizers": []}}));
        assert_eq!(render(&finalize(resource, &old, &empty).unwrap()).0, "gone");
    }

    #[test]
    fn preconditions_name_what_differs() {
        let jobs = registry::find("batch", "v1", "jobs").unwrap();
        let old = object(json!({"metadata": {"name": "u1", "namespace": "n", "uid": "u"}}));
        let check = |metadata: Value| match preconditions(jobs, &old, 5, &object(json!({"metadata": metadata}))) {
            Ok(()) => (200, String::new()),
            Err(status) => (status.code, status.message),
        };
        let ok = (200, String::new());
        assert_eq!(check(json!({"name": "u1"})), ok);
        assert_eq!(check(json!({"name": "u1", "namespace": "n", "uid": "u", "resourceVersion": "5"})), ok);
        assert_eq!(check(json!({"name": "u1", "resourceVersion": "0"})), ok);
        for (metadata, code, want) in [
            // W-70
            (json!({"name": "other"}), 400, "the name of the object (other) does not match the name on the URL (u1)"),
            (json!({}), 400, "the name of the object (u1 based on URL) was undeterminable: name must be provided"),
            (
                json!({"name": "u1", "namespace": "o"}),
                400,
                "the namespace of the provided object does not match the namespace sent on the request",
            ),
            // W-69
            (
                json!({"name": "u1", "uid": "zzz"}),
                409,
                "Operation cannot be fulfilled on jobs.batch \"u1\": Precondition failed: UID in precondition: zzz, UID in object meta: u",
            ),
            // W-68
            (
                json!({"name": "u1", "resourceVersion": "4"}),
                409,
                "Operation cannot be fulfilled on jobs.batch \"u1\": the object has been modified; please apply your changes to the latest version and try again",
            ),
            (
                json!({"name": "u1", "resourceVersion": "x"}),
                422,
                "Job.batch \"u1\" is invalid: metadata.resourceVersion: Invalid value: \"x\": strconv.ParseUint: parsing \"x\": invalid syntax",
            ),
        ] {
            assert_eq!(check(metadata), (code, want.to_owned()));
        }
    }

    #[test]
    fn the_index_holds_what_the_store_is_asked_for() {
        let mut pod = deleted(&["a/b"], 0);
        pod.metadata_mut().insert("labels".to_owned(), json!({"a": "1", "b": ""}));
        let owner = |uid: &str, controller: bool| json!({"apiVersion": "v1", "kind": "K", "name": "n", "uid": uid, "controller": controller});
        pod.metadata_mut()
            .insert("ownerReferences".to_owned(), json!([owner("x", false), owner("y", true), owner("x", false)]));
        let label = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        assert_eq!(
            index(&counted(), &pod),
            Index {
                uid: pod.uid().to_owned(),
                controller_uid: Some("y".to_owned()),
                owner_uids: vec!["x".to_owned(), "y".to_owned()],
                labels: vec![label("a", "1"), label("b", "")],
                deleting: true,
                ..Index::default()
            }
        );
    }
}
