//! What a DELETE comes to (section 2.13 of the wire rules): gone at once, marked for deletion, or nothing.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::DeleteOptions;
use serde_json::{Value, json};

use crate::{
    field::{FieldErrors, Path},
    meta::{FINALIZER_FOREGROUND, FINALIZER_ORPHAN},
    object::Object,
    registry::{Kind, Resource},
    status::Status,
    time,
    write::{self, Prepared},
};

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

/// What becomes of the dependents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Propagation {
    /// They are collected after it.
    Background,
    /// They go first.
    Foreground,
    /// They are set free.
    Orphan,
}

/// The warning when a job's pods stay although nobody asked for that (J-107).
const ORPHAN_WARNING: &str = "child pods are preserved by default when jobs are deleted; set propagationPolicy=Background to remove them or set propagationPolicy=Orphan to suppress this warning";

/// The namespaces that jobd itself needs (W-111).
const PROTECTED_NAMESPACES: [&str; 3] = ["default", "kube-system", "kube-public"];

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
    validate_options(options)?;
    check_preconditions(resource, old, revision, options)?;
    let deletion = if resource.stored == Kind::Namespace {
        delete_namespace(resource, old, options, now)?
    } else {
        delete_object(resource, old, options, now)
    };
    let silent = options.propagation_policy.is_none() && options.orphan_dependents.is_none();
    let warnings = if silent && default_propagation(resource.stored) == Some(Propagation::Orphan) {
        vec![ORPHAN_WARNING.to_owned()]
    } else {
        Vec::new()
    };
    Ok(Decided { deletion, warnings })
}

/// Refuses options that contradict each other or say what does not exist (W-94, W-102, J-2002).
///
/// # Errors
/// 422 of kind `DeleteOptions`.
pub fn validate_options(options: &DeleteOptions) -> Result<(), Status> {
    let mut errors = FieldErrors::default();
    if let Some(policy) = &options.propagation_policy {
        let path = Path::new("propagationPolicy");
        if options.orphan_dependents.is_some() {
            errors.invalid(&path, policy.as_str(), "orphanDependents and deletionPropagation cannot be both set");
        }
        if parse_propagation(policy).is_none() {
            errors.not_supported(&path, policy.as_str(), &["Foreground", "Background", "Orphan", "nil"]);
        }
    }
    let dry_run = options.dry_run.as_deref().unwrap_or_default();
    if dry_run.iter().any(|value| value != "All") {
        errors.not_supported(&Path::new("dryRun"), json!(dry_run), &["All"]);
    }
    if errors.is_empty() { Ok(()) } else { Err(Status::invalid_kind("meta.k8s.io", "DeleteOptions", "", &errors)) }
}

fn parse_propagation(policy: &str) -> Option<Propagation> {
    match policy {
        "Background" => Some(Propagation::Background),
        "Foreground" => Some(Propagation::Foreground),
        "Orphan" => Some(Propagation::Orphan),
        _ => None,
    }
}

/// W-103. Unlike other conflicts these name the kind.
fn check_preconditions(
    resource: &Resource,
    old: &Object,
    revision: i64,
    options: &DeleteOptions,
) -> Result<(), Status> {
    let Some(preconditions) = &options.preconditions else { return Ok(()) };
    let conflict = |why: String| {
        let (name, kind) = (old.name(), resource.kind);
        let details = if resource.group.is_empty() {
            json!({"name": name, "kind": kind})
        } else {
            json!({"name": name, "group": resource.group, "kind": kind})
        };
        let message = format!("Operation cannot be fulfilled on {} \"{name}\": {why}", resource.qualified_kind());
        Err(Status::new(409, "Conflict", message).with_details(details))
    };
    if let Some(uid) = preconditions.uid.as_deref().filter(|uid| *uid != old.uid()) {
        let have = old.uid();
        return conflict(format!(
            "the UID in the precondition ({uid}) does not match the UID in record ({have}). The object might have been deleted and then recreated"
        ));
    }
    if let Some(version) = preconditions.resource_version.as_deref().filter(|version| *version != revision.to_string())
    {
        return conflict(format!(
            "the ResourceVersion in the precondition ({version}) does not match the ResourceVersion in record ({revision}). The object might have been modified"
        ));
    }
    Ok(())
}

/// A namespace ends in two steps: terminating until its content is gone, then `spec.finalizers` is emptied (W-111).
fn delete_namespace(
    resource: &Resource,
    old: &Object,
    options: &DeleteOptions,
    now: Timestamp,
) -> Result<Deletion, Status> {
    if PROTECTED_NAMESPACES.contains(&old.name()) {
        return Err(Status::forbidden(resource, old.name(), "this namespace may not be deleted"));
    }
    if write::is_deleting(old) {
        return Ok(settle(resource, old, old.clone()));
    }
    let mut object = old.clone();
    object.metadata_mut().insert("deletionTimestamp".to_owned(), time::render(now).into());
    // Everything in it goes with it, so that only `orphan` can be told apart.
    let orphan = match propagation_of(options) {
        Some(propagation) => propagation == Propagation::Orphan,
        None => write::finalizers(old).any(|finalizer| finalizer == FINALIZER_ORPHAN),
    };
    set_finalizers(&mut object, if orphan { Some(FINALIZER_ORPHAN) } else { None });
    let status = object.0.entry("status").or_insert_with(|| json!({}));
    if !status.is_object() {
        *status = json!({});
    }
    status["phase"] = "Terminating".into();
    Ok(settle(resource, old, object))
}

fn delete_object(resource: &Resource, old: &Object, options: &DeleteOptions, now: Timestamp) -> Deletion {
    // W-105: a negative grace counts as one second.
    let requested = options.grace_period_seconds.map(|seconds| if seconds < 0 { 1 } else { seconds });
    let mut object = old.clone();
    match graceful(resource, old, requested, now) {
        Graceful::Pending => return Deletion::Unchanged,
        Graceful::No => {
            set_propagation(resource, options, &mut object);
            if write::finalizers(&object).next().is_none() {
                return Deletion::Remove(write::prepared(resource, without_version(object), Vec::new()));
            }
            mark(&mut object, first_of(old, now), 0);
        }
        Graceful::Until { end, grace } => {
            set_propagation(resource, options, &mut object);
            mark(&mut object, end, grace);
        }
    }
    settle(resource, old, object)
}

/// How a kind's grace period bears on a delete.
enum Graceful {
    /// The kind knows no grace, or it is over: only finalizers can hold the object.
    No,
    /// A grace is running and this request does not shorten it.
    Pending,
    /// The object ends then.
    Until { end: Timestamp, grace: i64 },
}

fn graceful(resource: &Resource, old: &Object, requested: Option<i64>, now: Timestamp) -> Graceful {
    let after = |start: Timestamp, seconds: i64| {
        start.saturating_add(SignedDuration::from_secs(seconds)).unwrap_or(Timestamp::MAX)
    };
    let Some(default) = resource.rules.grace_seconds(old, requested) else { return Graceful::No };
    if !write::is_deleting(old) {
        return Graceful::Until { end: after(now, default), grace: default };
    }
    let running = old.get(&["metadata", "deletionGracePeriodSeconds"]).and_then(Value::as_i64).unwrap_or_default();
    match requested {
        _ if running == 0 => Graceful::No,
        Some(grace) if grace < running => {
            // The clock has been running since the first request.
            let end = deletion_time(old).unwrap_or(now);
            Graceful::Until { end: after(after(end, -running), grace), grace }
        }
        Some(_) | None => Graceful::Pending,
    }
}

/// The first deletion time stands, unless it lies ahead (a grace that was cut to nothing).
fn first_of(old: &Object, now: Timestamp) -> Timestamp {
    deletion_time(old).filter(|end| *end <= now).unwrap_or(now)
}

fn deletion_time(object: &Object) -> Option<Timestamp> {
    object.text(&["metadata", "deletionTimestamp"]).and_then(time::parse)
}

/// Marks the object as being deleted; its generation rises when that begins (W-52).
fn mark(object: &mut Object, end: Timestamp, grace: i64) {
    let begins = !write::is_deleting(object);
    let metadata = object.metadata_mut();
    if begins && let Some(generation) = metadata.get("generation").and_then(Value::as_i64) {
        metadata.insert("generation".to_owned(), (generation + 1).into());
    }
    metadata.insert("deletionTimestamp".to_owned(), time::render(end).into());
    metadata.insert("deletionGracePeriodSeconds".to_owned(), grace.into());
}

/// Which of the two finalizers of propagation the object has to carry from now on (J-2002): what the request says, else
/// what an earlier one said, else the kind's default.
fn set_propagation(resource: &Resource, options: &DeleteOptions, object: &mut Object) {
    let Some(default) = default_propagation(resource.stored) else { return };
    let has = |finalizer: &str| write::finalizers(object).any(|one| one == finalizer);
    let earlier = if has(FINALIZER_ORPHAN) {
        Some(Propagation::Orphan)
    } else if has(FINALIZER_FOREGROUND) {
        Some(Propagation::Foreground)
    } else {
        None
    };
    let wanted = match propagation_of(options).or(earlier).unwrap_or(default) {
        Propagation::Background => None,
        Propagation::Foreground => Some(FINALIZER_FOREGROUND),
        Propagation::Orphan => Some(FINALIZER_ORPHAN),
    };
    set_finalizers(object, wanted);
}

/// Leaves of the two finalizers of propagation only `wanted`.
fn set_finalizers(object: &mut Object, wanted: Option<&str>) {
    let has_wanted = wanted.is_none_or(|wanted| write::finalizers(object).any(|one| one == wanted));
    let mut finalizers = write::finalizers(object)
        .filter(|one| wanted == Some(one) || (*one != FINALIZER_ORPHAN && *one != FINALIZER_FOREGROUND))
        .map(str::to_owned)
        .collect::<Vec<_>>();
    if let Some(wanted) = wanted.filter(|_| !has_wanted) {
        finalizers.push(wanted.to_owned());
    }
    if finalizers.is_empty() {
        object.metadata_mut().remove("finalizers");
    } else {
        object.metadata_mut().insert("finalizers".to_owned(), json!(finalizers));
    }
}

fn propagation_of(options: &DeleteOptions) -> Option<Propagation> {
    match options.orphan_dependents {
        Some(true) => Some(Propagation::Orphan),
        Some(false) => Some(Propagation::Background),
        None => options.propagation_policy.as_deref().and_then(parse_propagation),
    }
}

/// What happens to the dependents when nobody says (W-98); none for kinds that cannot own anything.
fn default_propagation(kind: Kind) -> Option<Propagation> {
    match kind {
        Kind::Job => Some(Propagation::Orphan),
        Kind::Event => None,
        Kind::ConfigMap | Kind::Namespace | Kind::Node | Kind::Pod | Kind::Secret | Kind::ServiceAccount => {
            Some(Propagation::Background)
        }
    }
}

/// Gone when nothing holds it, else marked if that changes anything.
fn settle(resource: &Resource, old: &Object, object: Object) -> Deletion {
    let object = without_version(object);
    if write::is_over(resource, &object) {
        Deletion::Remove(write::prepared(resource, object, Vec::new()))
    } else if object == without_version(old.clone()) {
        Deletion::Unchanged
    } else {
        Deletion::Mark(write::prepared(resource, object, Vec::new()))
    }
}

fn without_version(mut object: Object) -> Object {
    object.metadata_mut().remove("resourceVersion");
    object
}
