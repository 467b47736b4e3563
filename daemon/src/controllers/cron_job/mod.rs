//! The CronJob controller: looks at a cron job and its jobs, decides, and commits all that follows in one transaction.
//!
//! This file observes and commits; every rule is in a file beside it ([`decide`] first). Owns a cron job's `status`, the jobs it creates,
//! and its stored due time, which is its timer (C-711): a cron job that waits costs no memory and no CPU (I-5, I-11).
//!
//! A thousand of them are due at the same minute, so a run costs one look: their reads are shared ([`reads`]), and what the look
//! itself has written does not ask for another ([`Own`]).
//!
//! A run is created exactly once: its job's name says the minute (C-901) and must be free, and job, `lastScheduleTime` and due time are
//! written together or not at all.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use jiff::{Timestamp, tz::TimeZone};
use jobd_api::{
    object::Object,
    registry::Kind,
    write::{self, Context, Prepared},
};
use k8s_openapi::api::batch::v1::{CronJob, Job};
use serde::Deserialize;
use tracing::debug;

use super::{
    edit::{Meta, Owner},
    job::plan::Refusal,
    listing::{self, CHUNK},
};
use crate::{
    driver::{Controller, Error, Next, Own},
    failpoint,
    metrics::controllers as metrics,
    recorder::Recorder,
    store::{self, Change, ChangeType, CronJobSnapshot, Key, ListQuery, Revision, Store, Stored, Write},
    sys::{Now, SharedRandom},
};

mod commit;
pub mod decide;
pub mod history;
pub mod jobs;
pub mod plan;
mod reads;
pub mod runs;
pub mod snapshot;

use decide::decide;
use plan::Plan;
use reads::Reads;
use snapshot::{Child, Edit, Snapshot};

/// How often a look is repeated at once because somebody else wrote in between. Then the driver takes over.
const TRIES_MAX: usize = 8;

/// Runs all cron jobs.
pub struct CronJobController {
    store: Store,
    recorder: Arc<Recorder>,
    random: Arc<SharedRandom>,
    local: TimeZone,
    reads: Reads,
    own: Own<Key>,
    memory: Mutex<Memory>,
}

struct Memory {
    /// Cron jobs whose schedule or zone was edited, until they have run under the new one.
    edited: BTreeMap<Key, Edited>,
    /// The next resync is about all cron jobs, and not only those with running jobs: at the start, when the clock was set, and when
    /// changes were missed.
    everything: bool,
}

/// An edit of a schedule or zone.
#[derive(Clone, Copy, Debug)]
struct Edited {
    /// When it was stored; none: nobody knows, so at the first look.
    at: Option<Timestamp>,
    /// When it was first looked at.
    looked_at: Option<Timestamp>,
}

impl CronJobController {
    /// `local` is the zone of schedules that name none: the daemon's (C-501).
    #[must_use]
    pub fn new(store: Store, recorder: Arc<Recorder>, random: Arc<SharedRandom>, local: TimeZone) -> Self {
        let memory = Mutex::new(Memory { edited: BTreeMap::new(), everything: true });
        Self { store, recorder, random, local, reads: Reads::default(), own: Own::default(), memory }
    }

    fn memory<T>(&self, f: impl FnOnce(&mut Memory) -> T) -> T {
        f(&mut self.memory.lock().unwrap_or_else(PoisonError::into_inner))
    }

    async fn look(&self, key: &Key, now: Now) -> Result<Next, Error> {
        let mut taken = None;
        let mut obstacle = None;
        let mut tries = 0;
        loop {
            let Some(found) = self.reads.snapshot(&self.store, key).await? else {
                self.memory(|memory| memory.edited.remove(key));
                return Ok(Next::Idle);
            };
            let cron_job: CronJob = found.cron_job.typed()?;
            let uid = cron_job.metadata.uid.clone().unwrap_or_default();
            let strays = self.strays(&found, &cron_job).await?;
            let edited = self.edited(key, &cron_job, now);
            let seen = Snapshot {
                cron_job,
                children: read(&found.jobs)?,
                strays: read(&strays)?,
                due_at: found.due_at,
                edited,
                taken: taken.clone(),
            };
            let plan = decide(&seen, now.wall, &self.local, &mut |job| self.make(job, now, obstacle.is_none()));
            tries += 1;
            match self.commit(&found, &strays, &uid, &plan, now).await {
                Ok(()) => {
                    return match obstacle {
                        // The driver tries again, so that the job is created as soon as there is room.
                        Some(error @ store::Error::Full { .. }) => Err(error.into()),
                        // C-906: with the namespace the cron job goes too.
                        Some(_) | None => next(key, plan),
                    };
                }
                Err(Error::Store(store::Error::AlreadyExists { key })) if tries < TRIES_MAX => {
                    taken = Some(key.name); // C-905; if it is its own after all, it is a child now.
                }
                Err(Error::Store(store::Error::Conflict { .. })) if tries < TRIES_MAX => {}
                Err(Error::Store(
                    error @ (store::Error::NamespaceMissing { .. }
                    | store::Error::NamespaceTerminating { .. }
                    | store::Error::Full { .. }),
                )) if obstacle.is_none() => obstacle = Some(error),
                Err(error) => return Err(error),
            }
        }
    }

    /// The edit of its schedule, if it has not run since (C-1706).
    ///
    /// Counted from when it was stored and not from the look: a time that came in between, be it that we stood still or that the clock was
    /// set, is missed and runs.
    fn edited(&self, key: &Key, cron_job: &CronJob, now: Now) -> Option<Edit> {
        let last = cron_job.status.as_ref().and_then(|status| status.last_schedule_time.as_ref()).map(|time| time.0);
        self.memory(|memory| {
            let Edited { at, looked_at } = memory.edited.get_mut(key)?;
            // After a clock that was set back nothing waits until it was edited once more (I-10).
            let edited = at.map_or(now.wall, |at| at.min(now.wall));
            *at = Some(edited);
            let is_new = *looked_at.get_or_insert(now.wall) == now.wall;
            if last > Some(edited) {
                memory.edited.remove(key);
                return None;
            }
            Some(Edit { at: edited, is_new })
        })
    }

    /// The jobs of `status.active` that are not its children but exist (C-604 step 3): somebody took the owner reference off.
    async fn strays(&self, found: &CronJobSnapshot, cron_job: &CronJob) -> Result<Vec<Stored>, Error> {
        let active = cron_job.status.as_ref().and_then(|status| status.active.as_ref());
        let mut strays = Vec::new();
        for reference in active.into_iter().flatten() {
            let name = reference.name.as_deref().unwrap_or_default();
            if found.jobs.iter().any(|job| job.key.name == name) {
                continue;
            }
            let key = Key::new(Kind::Job, &found.cron_job.key.namespace, name);
            strays.extend(self.store.get(&key).await?);
        }
        Ok(strays)
    }

    fn make(&self, job: &Job, now: Now, may_create: bool) -> Result<Prepared, Refusal> {
        if !may_create {
            return Err(Refusal::NotNow);
        }
        let namespace = job.metadata.namespace.as_deref().unwrap_or_default();
        let body = Object::from_typed(job).map_err(|error| Refusal::Because(error.to_string()))?;
        let mut context = Context { now: now.wall, random: &mut &*self.random };
        write::create(Kind::Job.resource(), namespace, body, &mut context)
            .map_err(|status| Refusal::Because(status.message))
    }

    async fn commit(
        &self,
        found: &CronJobSnapshot,
        strays: &[Stored],
        uid: &str,
        plan: &Plan,
        now: Now,
    ) -> Result<(), Error> {
        let mut request = commit::request(found, strays, plan, now)?;
        let specs = plan.events.iter().map(|event| commit::event_spec(found, uid, event));
        request.writes.extend(specs.filter_map(|spec| self.recorder.record(&spec, now)));
        let kinds: Vec<Kind> = request.writes.iter().filter_map(written).collect();
        if plan.create.is_some() {
            failpoint::hit("cron_job.before_run");
        }
        let written = self.store.write(request).await?;
        if plan.create.is_some() {
            failpoint::hit("cron_job.after_run");
        }
        if let (Some(_), Some(run)) = (&plan.create, plan.status.as_ref().and_then(|s| s.last_schedule_time.as_ref())) {
            metrics::cron_job_ran(Duration::try_from(now.wall.duration_since(run.0)).unwrap_or_default()); // C-1501
        }
        let counted = written.revisions.into_iter().zip(kinds).filter(|(_, kind)| *kind != Kind::Event);
        self.own.add(&found.cron_job.key, &counted.map(|(revision, _)| revision).collect::<Vec<_>>());
        Ok(())
    }

    /// Keys of the cron jobs that list a running job.
    async fn with_running_jobs(&self) -> Result<Vec<Key>, Error> {
        let mut keys = Vec::new();
        listing::each(&self.store, ListQuery::all(Kind::CronJob, CHUNK), |stored| {
            if stored.body.contains("\"active\":[") {
                keys.push(stored.key);
            }
        })
        .await?;
        Ok(keys)
    }
}

impl Controller for CronJobController {
    const NAME: &'static str = "cronjob";
    const DUE: Option<Kind> = Some(Kind::CronJob);
    const PUNCTUAL: bool = true;
    type Key = Key;

    fn wakes(&self, change: &Change) -> Vec<Key> {
        if change.key.kind == Kind::CronJob {
            let previous = change.previous.as_deref().filter(|_| change.change_type == ChangeType::Modified);
            if previous.is_some_and(|previous| Timing::of(previous) != Timing::of(&change.body)) {
                let edited = Edited { at: change.at, looked_at: None };
                self.memory(|memory| memory.edited.insert(change.key.clone(), edited));
            }
            return vec![change.key.clone()];
        }
        if change.key.kind != Kind::Job {
            return Vec::new();
        }
        let owner = find_owner(&change.key.namespace, &change.body);
        match change.change_type {
            ChangeType::Created | ChangeType::Deleted => owner.into_iter().collect(),
            ChangeType::Modified => {
                let before = change.previous.as_deref().and_then(|body| find_owner(&change.key.namespace, body));
                // What a running job does is nothing to its cron job.
                if change.index.finished || owner != before {
                    owner.into_iter().chain(before).collect::<BTreeSet<_>>().into_iter().collect()
                } else {
                    Vec::new()
                }
            }
        }
    }

    async fn active(&self) -> Result<Vec<Key>, Error> {
        if !self.memory(|memory| std::mem::take(&mut memory.everything)) {
            return self.with_running_jobs().await;
        }
        let keys = self.store.active(Kind::CronJob).await;
        if keys.is_err() {
            self.memory(|memory| memory.everything = true);
        }
        Ok(keys?)
    }

    fn due_key(&self, object: &Key) -> Option<Key> {
        Some(object.clone())
    }

    /// Times that were waited for may lie far ahead now, or be over.
    fn clock_jumped(&self) {
        self.memory(|memory| memory.everything = true);
    }

    /// Who was made or edited has no timer yet.
    fn missed_changes(&self) {
        self.memory(|memory| memory.everything = true);
    }

    fn take_own(&self, key: &Key) -> Vec<Revision> {
        self.own.take(key)
    }

    async fn reconcile(&self, key: &Key, now: Now) -> Result<Next, Error> {
        self.look(key, now).await
    }
}

fn read(jobs: &[Stored]) -> Result<Vec<Child>, Error> {
    let child = |stored: &Stored| {
        Child::read(&stored.body)
            .map_err(|error| store::Error::Damaged { key: stored.key.clone(), reason: error.to_string() }.into())
    };
    jobs.iter().map(child).collect()
}

/// The kind of the object that a write changes.
fn written(write: &Write) -> Option<Kind> {
    match write {
        Write::Put { key, .. } | Write::Delete { key, .. } => Some(key.kind),
        Write::Due { .. } | Write::Advance | Write::Attempt(_) | Write::ForgetAttempts { .. } => None,
    }
}

/// When to look again. A refused job is an error, so that the driver backs off (C-602).
fn next(key: &Key, plan: Plan) -> Result<Next, Error> {
    let (namespace, cronjob) = (&key.namespace, &key.name);
    debug!(namespace, cronjob, "cron job {namespace}/{cronjob} waits for {}", plan.waiting);
    if let Some(why) = plan.refused {
        return Err(Error::Other(format!("a job of cron job {namespace}/{cronjob} was refused: {why}")));
    }
    Ok(plan.next.map_or(Next::Idle, Next::Due))
}

/// The cron job that owns a job, by the job's stored body. Whether it controls it too (C-603) is seen when it is looked at.
fn find_owner(namespace: &str, body: &str) -> Option<Key> {
    // Most jobs have none; those are not even parsed.
    if !body.contains("\"CronJob\"") {
        return None;
    }
    let meta = Meta::of(body);
    let is_cron_job = |owner: &&Owner| owner.kind == "CronJob" && owner.api_version.starts_with("batch/");
    let owner = meta.owner_references.iter().find(is_cron_job)?;
    Some(Key::new(Kind::CronJob, namespace, &owner.name))
}

/// What decides when a cron job runs (C-601).
#[derive(Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Timing {
    schedule: String,
    time_zone: Option<String>,
}

impl Timing {
    fn of(body: &str) -> Self {
        #[derive(Deserialize)]
        struct Body {
            spec: Timing,
        }
        serde_json::from_str::<Body>(body).map(|body| body.spec).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests;
