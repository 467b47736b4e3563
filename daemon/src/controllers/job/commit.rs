//! A plan as one request to the store: all of it or nothing, guarded by the revisions of what it writes.
//!
//! Pure; what is written was decided elsewhere.

use jobd_api::{
    lifecycle::{self, Deletion},
    object::Object,
    registry::Kind,
    write::{self, Prepared, Updated},
};
use k8s_openapi::{api::batch::v1::Job, apimachinery::pkg::apis::meta::v1::DeleteOptions};
use serde_json::Value;

use super::{
    plan::{Event, Plan, PodChange},
    pods,
    snapshot::TRACKING_FINALIZER,
};
use crate::{
    driver::Error,
    recorder::{EventSpec, Involved, Source},
    store::{Guard, JobSnapshot, Key, Request, Stored, Write},
    sys::Now,
};

/// The request for a plan, without its events. A watcher sees pods change before the status that counts them.
pub(super) fn request(found: &JobSnapshot, job: &Job, plan: &Plan, now: Now) -> Result<Request, Error> {
    let mut request = Request { urgent: plan.create.is_empty(), ..Request::default() };
    request.guards.push(Guard::Unchanged { key: found.job.key.clone(), revision: found.job.revision });
    let written = found.pods.iter().chain(&found.orphans);
    for stored in written {
        if let Some(change) = plan.pods.get(&stored.key.name) {
            request.guards.push(Guard::Unchanged { key: stored.key.clone(), revision: stored.revision });
            request.writes.extend(change_pod(stored, *change, job, now)?);
        }
    }
    if !plan.create.is_empty() {
        request.guards.push(Guard::NamespaceActive(found.job.key.namespace.clone()));
    }
    for made in &plan.create {
        let key = Key::of(Kind::Pod, &made.object);
        request.guards.push(Guard::Absent(key.clone()));
        request.writes.push(put(key, made));
    }
    if let Some(status) = &plan.status {
        let old = found.job.object()?;
        let mut new = old.clone();
        new.0.insert("status".to_owned(), serde_json::to_value(status).map_err(other)?);
        request.writes.extend(update(&found.job, &old, new));
    }
    Ok(request)
}

/// One pod's write that takes off the tracking finalizer, guarded by itself alone.
pub(super) fn untrack(stored: &Stored) -> Result<Request, Error> {
    let old = stored.object()?;
    let mut new = old.clone();
    remove_tracking(&mut new);
    let guards = vec![Guard::Unchanged { key: stored.key.clone(), revision: stored.revision }];
    Ok(Request { guards, writes: update(stored, &old, new).into_iter().collect(), urgent: true })
}

/// An event of a plan, with what it is about.
pub(super) fn event_spec(found: &JobSnapshot, job: &Job, event: &Event) -> EventSpec {
    EventSpec {
        involved: Involved {
            api_version: "batch/v1".to_owned(),
            kind: "Job".to_owned(),
            namespace: found.job.key.namespace.clone(),
            name: found.job.key.name.clone(),
            uid: job.metadata.uid.clone().unwrap_or_default(),
            resource_version: found.job.revision.0.to_string(),
            field_path: None,
        },
        source: Source::JobController,
        event_type: event.event_type,
        reason: event.reason.clone(),
        message: event.message.clone(),
    }
}

/// Carries the tracking finalizer.
pub(super) fn is_tracking(object: &Object) -> bool {
    let finalizers = object.get(&["metadata", "finalizers"]).and_then(Value::as_array);
    finalizers.is_some_and(|list| list.iter().any(|finalizer| finalizer == TRACKING_FINALIZER))
}

fn change_pod(stored: &Stored, change: PodChange, job: &Job, now: Now) -> Result<Option<Write>, Error> {
    let old = stored.object()?;
    let mut new = old.clone();
    match change {
        PodChange::Adopt => {
            remove_owner(&mut new, job);
            let reference = serde_json::to_value(pods::owner_reference(job)).map_err(other)?;
            push(&mut new, "ownerReferences", reference);
            if !is_tracking(&new) {
                push(&mut new, "finalizers", Value::from(TRACKING_FINALIZER));
            }
        }
        PodChange::Release => {
            remove_owner(&mut new, job);
            remove_tracking(&mut new);
        }
        PodChange::Untrack => remove_tracking(&mut new),
        PodChange::Delete => {
            remove_tracking(&mut new);
            return delete(stored, &old, new, now);
        }
    }
    Ok(update(stored, &old, new))
}

fn update(stored: &Stored, old: &Object, new: Object) -> Option<Write> {
    match write::update_own(stored.key.kind.resource(), old, new) {
        Updated::Unchanged { .. } => None,
        Updated::Changed(prepared) => Some(put(stored.key.clone(), &prepared)),
        Updated::Gone(prepared) => Some(gone(stored.key.clone(), &prepared)),
    }
}

/// A plain DELETE with the pod's own grace (J-840), of the pod without its tracking finalizer.
fn delete(stored: &Stored, old: &Object, untracked: Object, now: Now) -> Result<Option<Write>, Error> {
    let resource = stored.key.kind.resource();
    let current = match write::update_own(resource, old, untracked) {
        Updated::Unchanged { .. } => old.clone(),
        Updated::Changed(prepared) => prepared.object,
        Updated::Gone(prepared) => return Ok(Some(gone(stored.key.clone(), &prepared))),
    };
    let decided = lifecycle::delete(resource, &current, stored.revision.0, &DeleteOptions::default(), now.wall)
        .map_err(|status| Error::Other(format!("delete pod {}: {}", stored.key.name, status.message)))?;
    Ok(Some(match decided.deletion {
        Deletion::Remove(prepared) => gone(stored.key.clone(), &prepared),
        Deletion::Mark(prepared) => put(stored.key.clone(), &prepared),
        Deletion::Unchanged => return Ok(update(stored, old, current)),
    }))
}

fn put(key: Key, prepared: &Prepared) -> Write {
    Write::Put { key, index: prepared.index.clone(), body: prepared.object.to_stored() }
}

fn gone(key: Key, prepared: &Prepared) -> Write {
    Write::Delete { key, body: prepared.object.to_stored() }
}

fn push(object: &mut Object, list: &str, value: Value) {
    match object.metadata_mut().entry(list).or_insert_with(|| Value::Array(Vec::new())) {
        Value::Array(items) => items.push(value),
        damaged => *damaged = Value::Array(vec![value]),
    }
}

fn remove_tracking(object: &mut Object) {
    retain(object, "finalizers", |finalizer| finalizer != TRACKING_FINALIZER);
}

fn remove_owner(object: &mut Object, job: &Job) {
    let uid = job.metadata.uid.as_deref();
    retain(object, "ownerReferences", |reference| reference.get("uid").and_then(Value::as_str) != uid);
}

/// Keeps these items of a list of the metadata; a list that becomes empty goes, as an absent one is written (W-18).
fn retain(object: &mut Object, list: &str, keep: impl Fn(&Value) -> bool) {
    let metadata = object.metadata_mut();
    if let Some(Value::Array(items)) = metadata.get_mut(list) {
        items.retain(keep);
        if items.is_empty() {
            metadata.remove(list);
        }
    }
}

fn other(error: impl std::fmt::Display) -> Error {
    Error::Other(error.to_string())
}
