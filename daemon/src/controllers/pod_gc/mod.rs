//! Pods that nobody else cleans up. The number of finished pods is bounded: the oldest go when there are more than 12,500, as
//! upstream's default. And a pod that is deleted before it got a node has failed: no node will ever say so, and whoever waits for
//! its end (J-1403) would wait for ever.
//!
//! Only a count is held in memory; the pods are looked at when so many have finished that there may be too many.

use std::sync::atomic::{AtomicI64, Ordering};

use jobd_api::registry::Kind;
use serde_json::json;
use tracing::info;

use super::{
    edit::{self, Propagation},
    listing::CHUNK,
};
use crate::{
    driver::{Controller, Error, Next},
    store::{self, Change, ChangeType, ListQuery, Store},
    sys::Now,
};

mod decide;

pub use decide::FINISHED_MAX;
use decide::decide;

/// What the controller looks at.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Key {
    /// All finished pods.
    Finished,
    /// A pod that is being deleted and has no node.
    Unscheduled { namespace: String, name: String },
}

impl Key {
    fn unscheduled(key: &store::Key) -> Self {
        Self::Unscheduled { namespace: key.namespace.clone(), name: key.name.clone() }
    }
}

pub struct PodGc {
    store: Store,
    max: usize,
    /// How many more pods may finish before there can be too many. Never too high; corrected at each look.
    room: AtomicI64,
}

impl PodGc {
    #[must_use]
    pub fn new(store: Store, max: usize) -> Self {
        Self { store, max, room: AtomicI64::new(0) }
    }

    fn set_room(&self, finished: usize) {
        let [max, finished] = [self.max, finished].map(|count| i64::try_from(count).unwrap_or(i64::MAX));
        self.room.store(max - finished, Ordering::Relaxed);
    }

    fn has_room(&self) -> bool {
        self.room.load(Ordering::Relaxed) >= 0
    }

    /// Removes the oldest finished pods if there are too many.
    async fn bound_finished(&self, now: Now) -> Result<(), Error> {
        if self.has_room() {
            return Ok(());
        }
        let finished = usize::try_from(self.store.count_finished(Kind::Pod).await?).unwrap_or(usize::MAX);
        let mut excess = decide(finished, self.max);
        self.set_room(finished - excess);
        if excess > 0 {
            info!(pods = excess, "removing the oldest finished pods: at most {} are kept", self.max);
        }
        // Page by page: there may be ten times as many as are kept (I-5).
        let mut after = 0;
        while excess > 0 {
            let (pods, last) = self.store.oldest_finished(Kind::Pod, after, CHUNK.min(excess)).await?;
            if pods.is_empty() {
                break;
            }
            excess -= pods.len();
            after = last;
            let mut edits = Vec::new();
            for pod in &pods {
                edits.extend(edit::delete(pod, Propagation::Background, Some(0), now)?);
            }
            edit::commit(&self.store, edits).await?;
        }
        Ok(())
    }

    /// Says of a pod that will never run that it has failed. Its finalizers are others' to take off.
    async fn fail_unscheduled(&self, key: &store::Key) -> Result<(), Error> {
        let Some(stored) = self.store.get(key).await? else { return Ok(()) };
        let old = stored.object()?;
        let phase = old.text(&["status", "phase"]).unwrap_or_default();
        let is_bound = old.text(&["spec", "nodeName"]).is_some_and(|node| !node.is_empty());
        if !edit::Meta::read(&stored)?.is_deleting() || is_bound || matches!(phase, "Succeeded" | "Failed") {
            return Ok(());
        }
        let mut new = old.clone();
        let status = new.0.entry("status").or_insert_with(|| json!({}));
        status["phase"] = json!("Failed");
        edit::commit(&self.store, edit::update(&stored, &old, new).into_iter().collect()).await
    }
}

impl Controller for PodGc {
    const NAME: &'static str = "pod-gc";
    type Key = Key;

    fn wakes(&self, change: &Change) -> Vec<Key> {
        if change.key.kind != Kind::Pod {
            return Vec::new();
        }
        let index = &change.index;
        match change.change_type {
            ChangeType::Created => Vec::new(),
            ChangeType::Deleted => {
                self.room.fetch_add(i64::from(index.finished), Ordering::Relaxed);
                Vec::new()
            }
            ChangeType::Modified => {
                if index.finished {
                    // One that ended while it was being deleted too: its removal gives the place back.
                    self.room.fetch_sub(1, Ordering::Relaxed);
                }
                let mut keys = if self.has_room() { Vec::new() } else { vec![Key::Finished] };
                if index.deleting && !index.finished && index.node.is_none() {
                    keys.push(Key::unscheduled(&change.key));
                }
                keys
            }
        }
    }

    async fn active(&self) -> Result<Vec<Key>, Error> {
        // All pods stand for the finished ones: the look finds out when it matters.
        let pods = self.store.count(&ListQuery::all(Kind::Pod, usize::MAX)).await?;
        self.set_room(usize::try_from(pods).unwrap_or(usize::MAX));
        let mut keys = if self.has_room() { Vec::new() } else { vec![Key::Finished] };
        keys.extend(self.store.deleting(Kind::Pod).await?.iter().map(Key::unscheduled));
        Ok(keys)
    }

    async fn reconcile(&self, key: &Key, now: Now) -> Result<Next, Error> {
        match key {
            Key::Finished => self.bound_finished(now).await?,
            Key::Unscheduled { namespace, name } => {
                self.fail_unscheduled(&store::Key::new(Kind::Pod, namespace, name)).await?;
            }
        }
        Ok(Next::Idle)
    }
}
