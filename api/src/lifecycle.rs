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
        Kind::ConfigMap
        | Kind::CronJob
        | Kind::Namespace
        | Kind::Node
        | Kind::Pod
        | Kind::PodTemplate
        | Kind::Secret
        | Kind::Service
        | Kind::ServiceAccount => Some(Propagation::Background),
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        kind::{
            Rules,
            testing::{noon, object},
        },
        write::{Context, Part},
    };

    /// Pods as far as deletion goes: they ask for the grace of their spec.
    struct WithGrace;

    impl Rules for WithGrace {
        fn prepare(&self, _: &mut Object, _: Option<(&Object, Part)>, _: &mut Context<'_>) -> Result<(), Status> {
            Ok(())
        }

        fn validate(&self, _: &Object, _: Option<(&Object, Part)>) -> FieldErrors {
            FieldErrors::default()
        }

        fn grace_seconds(&self, object: &Object, requested: Option<i64>) -> Option<i64> {
            requested.or_else(|| object.get(&["spec", "terminationGracePeriodSeconds"]).and_then(Value::as_i64))
        }

        fn field(&self, _: &Object, _: &str) -> Option<String> {
            None
        }

        fn cells(&self, _: &Object, _: Timestamp) -> Vec<Value> {
            Vec::new()
        }
    }

    fn pods() -> Resource {
        let pods = Kind::Pod.resource();
        Resource {
            stored: Kind::Pod,
            group: "",
            version: "v1",
            kind: "Pod",
            plural: "pods",
            singular: "pod",
            namespaced: true,
            short_names: pods.short_names,
            categories: pods.categories,
            verbs: pods.verbs,
            subresources: pods.subresources,
            rules: &WithGrace,
        }
    }

    fn options(value: Value) -> DeleteOptions {
        serde_json::from_value(value).unwrap()
    }

    fn stored(metadata: Value) -> Object {
        let mut object =
            object(json!({"metadata": {"name": "a", "uid": "u"}, "spec": {"terminationGracePeriodSeconds": 30}}));
        object.metadata_mut().extend(metadata.as_object().unwrap().clone());
        object
    }

    /// `remove`, `unchanged`, or the metadata of a mark, in short.
    fn render(deletion: &Deletion) -> String {
        match deletion {
            Deletion::Remove(_) => "remove".to_owned(),
            Deletion::Unchanged => "unchanged".to_owned(),
            Deletion::Mark(prepared) => {
                let text =
                    |field| prepared.object.get(&["metadata", field]).map(ToString::to_string).unwrap_or_default();
                assert!(prepared.index.deleting);
                format!(
                    "mark {} grace {} generation {} finalizers {}",
                    text("deletionTimestamp").trim_matches('"').replace("2026-11-20T", ""),
                    text("deletionGracePeriodSeconds"),
                    text("generation"),
                    text("finalizers"),
                )
            }
        }
    }

    #[track_caller]
    fn check(resource: &Resource, metadata: Value, request: Value, want: &str) -> Decided {
        let decided = delete(resource, &stored(metadata), 7, &options(request), noon()).unwrap();
        assert_eq!(render(&decided.deletion), want);
        decided
    }

    #[test]
    fn j2001_jobs_orphan_by_default_and_say_so() {
        let jobs = Kind::Job.resource();
        let want = "mark 21:00:00Z grace 0 generation 2 finalizers [\"orphan\"]";
        assert_eq!(check(jobs, json!({"generation": 1}), json!({}), want).warnings, [ORPHAN_WARNING]);
        let orphan = json!({"propagationPolicy": "Orphan"});
        assert!(check(jobs, json!({"generation": 1}), orphan, want).warnings.is_empty());
        assert!(check(jobs, json!({"generation": 1}), json!({"orphanDependents": true}), want).warnings.is_empty());
        assert!(check(jobs, json!({}), json!({"orphanDependents": false}), "remove").warnings.is_empty());
    }

    #[test]
    fn w98_other_kinds_are_collected_in_the_background() {
        let config_maps = Kind::ConfigMap.resource();
        assert!(check(config_maps, json!({}), json!({}), "remove").warnings.is_empty());
        // No generation, so none appears.
        check(
            config_maps,
            json!({}),
            json!({"propagationPolicy": "Foreground"}),
            "mark 21:00:00Z grace 0 generation  finalizers [\"foregroundDeletion\"]",
        );
        // Events own nothing.
        check(Kind::Event.resource(), json!({}), json!({"propagationPolicy": "Foreground"}), "remove");
    }

    #[test]
    fn j2002_the_request_wins_over_earlier_finalizers_and_those_over_the_default() {
        let jobs = Kind::Job.resource();
        let deleting = |finalizer: &str| {
            json!({
                "generation": 2, "finalizers": ["a/b", finalizer],
                "deletionTimestamp": "2026-11-20T20:00:00Z", "deletionGracePeriodSeconds": 0,
            })
        };
        check(jobs, deleting("foregroundDeletion"), json!({}), "unchanged");
        check(jobs, deleting("orphan"), json!({}), "unchanged");
        let mark = |finalizers: &str| format!("mark 20:00:00Z grace 0 generation 2 finalizers {finalizers}");
        let background = json!({"propagationPolicy": "Background"});
        check(jobs, deleting("orphan"), background.clone(), &mark("[\"a/b\"]"));
        let foreground = json!({"propagationPolicy": "Foreground"});
        check(jobs, deleting("orphan"), foreground, &mark("[\"a/b\",\"foregroundDeletion\"]"));
        let last = json!({"finalizers": ["foregroundDeletion"], "deletionTimestamp": "2026-11-20T20:00:00Z"});
        check(jobs, last, background, "remove");
        // Before deletion has begun too.
        let want = "mark 21:00:00Z grace 0 generation  finalizers [\"foregroundDeletion\"]";
        check(jobs, json!({"finalizers": ["foregroundDeletion"]}), json!({}), want);
    }

    #[test]
    fn w104_finalizers_hold_a_deleted_object() {
        let request = json!({"propagationPolicy": "Background"});
        let want = "mark 21:00:00Z grace 0 generation 5 finalizers [\"a/b\"]";
        check(Kind::Job.resource(), json!({"generation": 4, "finalizers": ["a/b"]}), request, want);
    }

    #[test]
    fn w105_pods_are_deleted_gracefully() {
        let pods = pods();
        let mark = |end: &str, grace: i64| format!("mark {end} grace {grace} generation 2 finalizers ");
        check(&pods, json!({"generation": 1}), json!({}), &mark("21:00:30Z", 30));
        check(&pods, json!({"generation": 1}), json!({"gracePeriodSeconds": 5}), &mark("21:00:05Z", 5));
        check(&pods, json!({"generation": 1}), json!({"gracePeriodSeconds": -9}), &mark("21:00:01Z", 1));
        check(&pods, json!({}), json!({"gracePeriodSeconds": 0}), "remove");
        // J-2550: terminal pods with finalizers linger.
        check(
            &pods,
            json!({"finalizers": ["batch.kubernetes.io/job-tracking"]}),
            json!({"gracePeriodSeconds": 0}),
            "mark 21:00:00Z grace 0 generation  finalizers [\"batch.kubernetes.io/job-tracking\"]",
        );
    }

    #[test]
    fn w105_a_second_delete_may_only_shorten() {
        let pods = pods();
        let stopping = || {
            json!({
                "generation": 2, "deletionTimestamp": "2026-11-20T21:00:20Z", "deletionGracePeriodSeconds": 30,
            })
        };
        check(&pods, stopping(), json!({}), "unchanged");
        check(&pods, stopping(), json!({"gracePeriodSeconds": 30}), "unchanged");
        check(&pods, stopping(), json!({"gracePeriodSeconds": 60, "propagationPolicy": "Orphan"}), "unchanged");
        // Counted from the first request, which came at 20:59:50.
        let want = "mark 20:59:55Z grace 5 generation 2 finalizers ";
        check(&pods, stopping(), json!({"gracePeriodSeconds": 5}), want);
        check(&pods, stopping(), json!({"gracePeriodSeconds": 0}), "remove");
    }

    #[test]
    fn w111_namespaces_terminate_before_they_go() {
        let namespaces = Kind::Namespace.resource();
        let namespace = |name: &str| {
            object(json!({
                "metadata": {"name": name}, "spec": {"finalizers": ["kubernetes"]}, "status": {"phase": "Active"},
            }))
        };
        let decide = |old: &Object, request: Value| delete(namespaces, old, 7, &options(request), noon());
        let Deletion::Mark(marked) =
            decide(&namespace("a"), json!({"propagationPolicy": "Foreground"})).unwrap().deletion
        else {
            panic!("not marked")
        };
        assert_eq!(
            Value::Object(marked.object.0.clone()),
            json!({
                "metadata": {"name": "a", "deletionTimestamp": "2026-11-20T21:00:00Z"},
                "spec": {"finalizers": ["kubernetes"]}, "status": {"phase": "Terminating"},
            })
        );
        assert_eq!(render(&decide(&marked.object.with_revision(8), json!({})).unwrap().deletion), "unchanged");
        for name in ["default", "kube-system", "kube-public"] {
            let status = decide(&namespace(name), json!({})).unwrap_err();
            let want = format!("namespaces \"{name}\" is forbidden: this namespace may not be deleted");
            assert_eq!((status.code, status.message), (403, want));
        }
        assert!(decide(&namespace("kube-node-lease"), json!({})).is_ok());
    }

    #[track_caller]
    fn refuses(resource: &Resource, request: Value, code: u16, message: &str, kind: &str) {
        let status = delete(resource, &stored(json!({})), 2285, &options(request), noon()).unwrap_err();
        assert_eq!((status.code, status.message.as_str()), (code, message));
        assert_eq!(status.details.unwrap()["kind"], kind);
    }

    #[test]
    fn w103_preconditions() {
        let jobs = Kind::Job.resource();
        refuses(
            jobs,
            json!({"preconditions": {"uid": "bad"}}),
            409,
            "Operation cannot be fulfilled on Job.batch \"a\": the UID in the precondition (bad) does not match the UID in record (u). The object might have been deleted and then recreated",
            "Job",
        );
        refuses(
            Kind::Pod.resource(),
            json!({"preconditions": {"uid": "u", "resourceVersion": "1"}}),
            409,
            "Operation cannot be fulfilled on Pod \"a\": the ResourceVersion in the precondition (1) does not match the ResourceVersion in record (2285). The object might have been modified",
            "Pod",
        );
        let both = json!({"preconditions": {"uid": "u", "resourceVersion": "7"}, "propagationPolicy": "Background"});
        check(jobs, json!({}), both, "remove");
    }

    #[test]
    fn w102_options_that_contradict_each_other() {
        let jobs = Kind::Job.resource();
        refuses(
            jobs,
            json!({"orphanDependents": true, "propagationPolicy": "Background"}),
            422,
            "DeleteOptions.meta.k8s.io \"\" is invalid: propagationPolicy: Invalid value: \"Background\": orphanDependents and deletionPropagation cannot be both set",
            "DeleteOptions",
        );
        refuses(
            jobs,
            json!({"propagationPolicy": "Foo"}),
            422,
            "DeleteOptions.meta.k8s.io \"\" is invalid: propagationPolicy: Unsupported value: \"Foo\": supported values: \"Foreground\", \"Background\", \"Orphan\", \"nil\"",
            "DeleteOptions",
        );
        refuses(
            jobs,
            json!({"dryRun": ["Foo"]}),
            422,
            "DeleteOptions.meta.k8s.io \"\" is invalid: dryRun: Unsupported value: [\"Foo\"]: supported values: \"All\"",
            "DeleteOptions",
        );
    }

    #[test]
    fn deleting_twice_is_deleting_once() {
        for resource in crate::registry::resources() {
            for request in ["Background", "Foreground", "Orphan"] {
                let request = options(json!({"propagationPolicy": request}));
                let old = stored(json!({"generation": 1, "finalizers": ["a/b"]}));
                let Deletion::Mark(marked) = delete(resource, &old, 7, &request, noon()).unwrap().deletion else {
                    panic!("{} is not held by its finalizer", resource.plural)
                };
                let again = delete(resource, &marked.object, 8, &request, noon()).unwrap().deletion;
                assert_eq!(render(&again), "unchanged", "{}", resource.plural);
            }
        }
    }
}
