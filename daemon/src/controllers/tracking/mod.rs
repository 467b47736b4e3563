//! Takes the tracking finalizer off pods that no job will count any more, so that none stays stuck in deletion (J-2009).
//!
//! Pods of a running job are the job controller's alone: it takes the finalizer off in the transaction that counts them.

use jobd_api::registry::Kind;
use k8s_openapi::api::batch::v1::Job;

use super::edit::{self, Edit, Meta};
use crate::{
    driver::{Controller, Error, Next},
    store::{Change, ChangeType, Key, Store, Stored},
    sys::Now,
};

mod decide;

use decide::{SeenJob, TRACKING, is_stale};

/// What is looked at.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TrackingKey {
    Pod(Key),
    /// All pods of the job with this uid, which is finished or gone.
    PodsOf(String),
}

pub struct Tracking {
    store: Store,
}

impl Tracking {
    #[must_use]
    pub fn new(store: Store) -> Self {
        Self { store }
    }

    async fn look(&self, pod: &Stored) -> Result<Option<Edit>, Error> {
        let meta = Meta::read(pod)?;
        let job = match meta.controller() {
            Some(owner) if owner.kind == "Job" => {
                self.store.get(&Key::new(Kind::Job, &*pod.key.namespace, &*owner.name)).await?
            }
            Some(_) | None => None,
        };
        let job = job.map(|job| job.typed::<Job>()).transpose()?.map(seen_job);
        if !is_stale(&meta, job.as_ref()) {
            return Ok(None);
        }
        let old = pod.object()?;
        let mut new = old.clone();
        edit::remove_finalizer(&mut new, TRACKING);
        Ok(edit::update(pod, &old, new))
    }
}

fn seen_job(job: Job) -> SeenJob {
    let finished = job
        .status
        .iter()
        .flat_map(|status| status.conditions.iter().flatten())
        .any(|condition| matches!(condition.type_.as_str(), "Complete" | "Failed") && condition.status == "True");
    SeenJob {
        uid: job.metadata.uid.unwrap_or_default(),
        finished,
        managed_by: job.spec.and_then(|spec| spec.managed_by),
    }
}

impl Controller for Tracking {
    const NAME: &'static str = "tracking";
    type Key = TrackingKey;

    fn wakes(&self, change: &Change) -> Vec<TrackingKey> {
        let is_gone = change.change_type == ChangeType::Deleted;
        let index = &change.index;
        if change.key.kind == Kind::Job && (is_gone || index.finished) {
            return vec![TrackingKey::PodsOf(index.uid.clone())];
        }
        // A deleted pod may belong to a job that is gone; a running job's own look takes care of the others.
        let needs_look = change.key.kind == Kind::Pod
            && !is_gone
            && index.tracking
            && (index.deleting || index.controller_uid.is_none());
        if needs_look { vec![TrackingKey::Pod(change.key.clone())] } else { Vec::new() }
    }

    async fn active(&self) -> Result<Vec<TrackingKey>, Error> {
        Ok(self.store.active(Kind::Pod).await?.into_iter().map(TrackingKey::Pod).collect())
    }

    async fn reconcile(&self, key: &TrackingKey, _now: Now) -> Result<Next, Error> {
        let pods = match key {
            TrackingKey::Pod(key) => self.store.get(key).await?.into_iter().collect(),
            TrackingKey::PodsOf(job) => self.store.dependents(job).await?,
        };
        let mut edits = Vec::new();
        for pod in pods.iter().filter(|pod| pod.key.kind == Kind::Pod && pod.body.contains(TRACKING)) {
            edits.extend(self.look(pod).await?);
        }
        edit::commit(&self.store, edits).await?;
        Ok(Next::Idle)
    }
}
