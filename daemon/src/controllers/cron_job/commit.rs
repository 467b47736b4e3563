//! A plan as one request to the store: all of it or nothing.
//!
//! Pure; what is written was decided elsewhere.

use jobd_api::registry::Kind;

use super::{
    super::{
        edit::{self, Edit, Propagation},
        job::plan::Event,
    },
    plan::Plan,
};
use crate::{
    driver::Error,
    recorder::{EventSpec, Involved, Source},
    store::{CronJobSnapshot, Guard, Key, Request, Stored, Write},
    sys::Now,
};

/// The request for a plan, without its events; empty when nothing is to be written. `strays` are listed jobs beside its own.
pub(super) fn request(found: &CronJobSnapshot, strays: &[Stored], plan: &Plan, now: Now) -> Result<Request, Error> {
    let mut request = Request { urgent: plan.create.is_none(), ..Request::default() };
    for stored in found.jobs.iter().chain(strays).filter(|job| plan.delete.contains(&job.key.name)) {
        if let Some(Edit { guard, write, removes: _ }) = edit::delete(stored, Propagation::Background, None, now)? {
            request.guards.push(guard);
            request.writes.push(write);
        }
    }
    if let Some(made) = &plan.create {
        let key = Key::of(Kind::Job, &made.object);
        request.guards.push(Guard::NamespaceActive(key.namespace.clone()));
        request.guards.push(Guard::Absent(key.clone()));
        request.writes.push(edit::put(key, made.clone()));
    }
    if let Some(status) = &plan.status {
        let old = found.cron_job.object()?;
        let mut new = old.clone();
        let status = serde_json::to_value(status).map_err(|error| Error::Other(error.to_string()))?;
        new.0.insert("status".to_owned(), status);
        request.writes.extend(edit::update(&found.cron_job, &old, new).map(|edit| edit.write));
    }
    if plan.next != found.due_at {
        request.writes.push(Write::Due { key: found.cron_job.key.clone(), at: plan.next });
    }
    if !request.writes.is_empty() {
        let key = found.cron_job.key.clone();
        request.guards.push(Guard::Unchanged { key, revision: found.cron_job.revision });
    }
    Ok(request)
}

/// An event of a plan, with what it is about.
pub(super) fn event_spec(found: &CronJobSnapshot, uid: &str, event: &Event) -> EventSpec {
    EventSpec {
        involved: Involved {
            api_version: "batch/v1".to_owned(),
            kind: "CronJob".to_owned(),
            namespace: found.cron_job.key.namespace.clone(),
            name: found.cron_job.key.name.clone(),
            uid: uid.to_owned(),
            resource_version: found.cron_job.revision.0.to_string(),
            field_path: None,
        },
        source: Source::CronJobController,
        event_type: event.event_type,
        reason: event.reason.clone(),
        message: event.message.clone(),
    }
}
