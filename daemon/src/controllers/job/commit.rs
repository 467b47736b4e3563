//! A plan as one request to the store: all of it or nothing, guarded by the revisions of what it writes.
//!
//! Pure; what is written was decided elsewhere.

use jobd_api::{object::Object, registry::Kind};
use k8s_openapi::api::batch::v1::Job;
use serde_json::Value;

use super::{
    super::edit::{self, Edit, Propagation},
    plan::{Event, Plan, PodChange},
    pods,
    snapshot::TRACKING_FINALIZER,
};
use crate::{
    driver::Error,
    recorder::{EventSpec, Involved, Source},
    store::{Guard, JobSnapshot, Key, Request, Stored},
    sys::Now,
};

/// The request for a plan, without its events. A watcher sees pods change before the status that counts them.
pub(super) fn request(found: &JobSnapshot, job: &Job, plan: &Plan, now: Now) -> Result<Request, Error> {
    let unchanged = Guard::Unchanged { key: found.job.key.clone(), revision: found.job.revision };
    let mut request = Request { guards: vec![unchanged], urgent: plan.create.is_empty(), ..Request::default() };
    for stored in found.pods.iter().chain(&found.orphans) {
        let Some(change) = plan.pods.get(&stored.key.name) else { continue };
        if let Some(Edit { guard, write, removes: _ }) = change_pod(stored, *change, job, now)? {
            request.guards.push(guard);
            request.writes.push(write);
        }
    }
    if !plan.create.is_empty() {
        request.guards.push(Guard::NamespaceActive(found.job.key.namespace.clone()));
    }
    for made in &plan.create {
        let key = Key::of(Kind::Pod, &made.object);
        request.guards.push(Guard::Absent(key.clone()));
        request.writes.push(edit::put(key, made.clone()));
    }
    if let Some(status) = &plan.status {
        let old = found.job.object()?;
        let mut new = old.clone();
        new.0.insert("status".to_owned(), serde_json::to_value(status).map_err(other)?);
        // Its guard is there already.
        request.writes.extend(edit::update(&found.job, &old, new).map(|edit| edit.write));
    }
    Ok(request)
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

fn change_pod(stored: &Stored, change: PodChange, job: &Job, now: Now) -> Result<Option<Edit>, Error> {
    let old = stored.object()?;
    let mut new = old.clone();
    match change {
        PodChange::Adopt => {
            remove_owner(&mut new, job);
            edit::remove_finalizer(&mut new, TRACKING_FINALIZER);
            let reference = serde_json::to_value(pods::owner_reference(job)).map_err(other)?;
            push(&mut new, "ownerReferences", reference);
            push(&mut new, "finalizers", Value::from(TRACKING_FINALIZER));
        }
        PodChange::Release => {
            remove_owner(&mut new, job);
            edit::remove_finalizer(&mut new, TRACKING_FINALIZER);
        }
        PodChange::Untrack => edit::remove_finalizer(&mut new, TRACKING_FINALIZER),
        PodChange::Delete => {
            // The finalizer first (J-850), in the same write; then a plain DELETE with the pod's own grace (J-840).
            edit::remove_finalizer(&mut new, TRACKING_FINALIZER);
            let untracked = Stored { body: new.to_stored().into(), ..stored.clone() };
            if let Some(deleted) = edit::delete(&untracked, Propagation::Background, None, now)? {
                return Ok(Some(deleted));
            }
        }
    }
    Ok(edit::update(stored, &old, new))
}

fn push(object: &mut Object, list: &str, value: Value) {
    match object.metadata_mut().entry(list).or_insert_with(|| Value::Array(Vec::new())) {
        Value::Array(items) => items.push(value),
        damaged => *damaged = Value::Array(vec![value]),
    }
}

fn remove_owner(object: &mut Object, job: &Job) {
    edit::remove_owners(object, job.metadata.uid.as_slice());
}

fn other(error: impl std::fmt::Display) -> Error {
    Error::Other(error.to_string())
}
