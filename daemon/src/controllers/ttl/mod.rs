//! TTL after finished (jobs.md section 19): deletes finished jobs when their time has come, to the second.
//!
//! The time is the job's `due_at`, which the job's index carries with each write and the store keeps: nothing about finished
//! jobs is held in memory (I-5). A write that changes it moves the driver's alarm (J-1903). A wall clock that is set forward deletes nothing
//! early: what is left is measured by the boot clock ([`Timeline`]). Set back, it postpones (J-1904).

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use jobd_api::registry::Kind;
use k8s_openapi::api::batch::v1::Job;

use super::{
    edit::{self, Propagation},
    timeline::Timeline,
};
use crate::{
    driver::{Controller, Error, Next},
    metrics::controllers as metrics,
    store::{Change, Key, Store},
    sys::{Clock, Now},
};

mod decide;

use decide::{Plan, decide};

pub struct Ttl {
    store: Store,
    clock: Arc<dyn Clock>,
    clocks: Mutex<Timeline>,
}

impl Ttl {
    #[must_use]
    pub fn new(store: Store, clock: Arc<dyn Clock>) -> Self {
        let clocks = Mutex::new(Timeline::new(clock.now()));
        Self { store, clock, clocks }
    }

    fn clocks<T>(&self, f: impl FnOnce(&mut Timeline) -> T) -> T {
        f(&mut self.clocks.lock().unwrap_or_else(PoisonError::into_inner))
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

    fn clock_jumped(&self) {
        self.clocks(|clocks| clocks.note(self.clock.now()));
    }

    fn due_key(&self, object: &Key) -> Option<Key> {
        Some(object.clone())
    }

    async fn reconcile(&self, key: &Key, now: Now) -> Result<Next, Error> {
        let Some(stored) = self.store.get(key).await? else { return Ok(Next::Idle) };
        let job: Job = stored.typed()?;
        let plan = self.clocks(|clocks| {
            clocks.note(now);
            decide(&job, clocks, now)
        });
        match plan {
            Plan::Nothing => Ok(Next::Idle),
            Plan::Wait(at) => Ok(Next::Due(at)),
            Plan::Delete { late } => {
                let edits = edit::delete(&stored, Propagation::Foreground, None, now)?;
                edit::commit(&self.store, edits.into_iter().collect()).await?;
                metrics::ttl_deleted(Duration::try_from(late).unwrap_or_default());
                Ok(Next::Idle)
            }
        }
    }
}
