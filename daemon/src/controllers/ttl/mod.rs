//! TTL after finished (jobs.md section 19): deletes finished jobs when their time has come, to the second.
//!
//! The time is the job's `due_at` in the store; nothing about finished jobs is held in memory (I-5).

use jobd_api::registry::Kind;
use k8s_openapi::api::batch::v1::Job;

use super::edit::{self, Propagation};
use crate::{
    driver::{Controller, Error, Next},
    store::{Change, ChangeType, Key, Request, Store, Write},
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

    fn wakes(&self, change: &Change) -> Vec<Key> {
        // A write that carries the time already has moved the driver's alarm; each other one loses the time (J-1903).
        let needs_time = change.key.kind == Kind::Job
            && change.change_type != ChangeType::Deleted
            && change.index.finished
            && !change.index.deleting
            && change.index.due_at.is_none()
            && change.body.contains("\"ttlSecondsAfterFinished\":");
        if needs_time { vec![change.key.clone()] } else { Vec::new() }
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
            Plan::Wait(at) => {
                let writes = vec![Write::Due { key: key.clone(), at: Some(at) }];
                self.store.write(Request { writes, ..Request::default() }).await?;
                Ok(Next::Due(at))
            }
            Plan::Delete => {
                let edits = edit::delete(&stored, Propagation::Foreground, None, now)?;
                edit::commit(&self.store, edits.into_iter().collect()).await?;
                Ok(Next::Idle)
            }
        }
    }
}
