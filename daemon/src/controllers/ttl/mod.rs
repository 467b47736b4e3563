//! TTL after finished (jobs.md section 19): deletes finished jobs when their time has come, to the second.
//!
//! The time is the job's `due_at`, which the job's index carries with each write and the store keeps: nothing about finished
//! jobs is held in memory (I-5). A write that changes it moves the driver's alarm (J-1903).

use jobd_api::registry::Kind;
use k8s_openapi::api::batch::v1::Job;

use super::edit::{self, Propagation};
use crate::{
    driver::{Controller, Error, Next},
    store::{Change, Key, Store},
    sys::Now,
};

mod decide;

use decide::{Plan, decide};

pub struct Ttl {
    store: Store,
}

impl Ttl {
    #[must_use]
    pub fn new(store: Store) -> Self {
        Self { store }
    }
}

impl Controller for Ttl {
    const NAME: &'static str = "ttl";
    const DUE: Option<Kind> = Some(Kind::Job);
    type Key = Key;

    fn wakes(&self, _change: &Change) -> Vec<Key> {
        // Woken by the due time alone.
        Vec::new()
    }

    async fn active(&self) -> Result<Vec<Key>, Error> {
        // What expires is found by its due time, at a start too.
        Ok(Vec::new())
    }

    fn due_key(&self, object: &Key) -> Option<Key> {
        Some(object.clone())
    }

    async fn reconcile(&self, key: &Key, now: Now) -> Result<Next, Error> {
        let Some(stored) = self.store.get(key).await? else { return Ok(Next::Idle) };
        let job: Job = stored.typed()?;
        match decide(&job, now.wall) {
            Plan::Nothing => Ok(Next::Idle),
            Plan::Wait(at) => Ok(Next::Due(at)),
            Plan::Delete => {
                let edits = edit::delete(&stored, Propagation::Foreground, None, now)?;
                edit::commit(&self.store, edits.into_iter().collect()).await?;
                Ok(Next::Idle)
            }
        }
    }
}
