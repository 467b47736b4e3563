//! Keeps the number of finished pods bounded: the oldest go when there are more than 12,500, as upstream's default.
//!
//! Only a count is held in memory; the pods are looked at when so many have finished that there may be too many.

use std::sync::atomic::{AtomicI64, Ordering};

use jobd_api::registry::Kind;
use tracing::info;

use super::edit::{self, Propagation};
use crate::{
    driver::{Controller, Error, Next},
    store::{Change, ChangeType, ListQuery, Store, Stored},
    sys::Now,
};

mod decide;

pub use decide::FINISHED_MAX;
use decide::decide;

/// How many pods are read at once.
const CHUNK: usize = 256;

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

    /// The finished pods: creation time and key, read in passing.
    async fn finished(&self) -> Result<Vec<(String, crate::store::Key)>, Error> {
        let mut finished = Vec::new();
        let mut query = ListQuery::all(Kind::Pod, CHUNK);
        loop {
            let chunk = self.store.list(&query).await?;
            query.after = chunk.items.last().map(|last| (last.key.namespace.clone(), last.key.name.clone()));
            finished.extend(chunk.items.iter().filter_map(|pod| Some((finished_pod(pod)?, pod.key.clone()))));
            if !chunk.more {
                return Ok(finished);
            }
        }
    }
}

/// The creation time of a pod that is finished and not being deleted.
fn finished_pod(pod: &Stored) -> Option<String> {
    #[derive(Default, serde::Deserialize)]
    #[serde(default)]
    struct Body {
        metadata: edit::Meta,
        status: Status,
    }
    #[derive(Default, serde::Deserialize)]
    #[serde(default)]
    struct Status {
        phase: String,
    }
    let Body { metadata, status } = serde_json::from_str(&pod.body).ok()?;
    let is_candidate = matches!(status.phase.as_str(), "Succeeded" | "Failed") && !metadata.is_deleting();
    is_candidate.then(|| metadata.creation_timestamp.unwrap_or_default())
}

impl Controller for PodGc {
    const NAME: &'static str = "pod-gc";
    type Key = ();

    fn wakes(&self, change: &Change) -> Vec<()> {
        if change.key.kind != Kind::Pod {
            return Vec::new();
        }
        match change.change_type {
            ChangeType::Created => Vec::new(),
            ChangeType::Deleted => {
                self.room.fetch_add(i64::from(change.index.finished), Ordering::Relaxed);
                Vec::new()
            }
            ChangeType::Modified => {
                if change.index.finished && !change.index.deleting {
                    self.room.fetch_sub(1, Ordering::Relaxed);
                }
                if self.has_room() { Vec::new() } else { vec![()] }
            }
        }
    }

    async fn active(&self) -> Result<Vec<()>, Error> {
        // All pods stand for the finished ones: the look finds out when it matters.
        let pods = self.store.count(&ListQuery::all(Kind::Pod, usize::MAX)).await?;
        self.set_room(usize::try_from(pods).unwrap_or(usize::MAX));
        Ok(if self.has_room() { Vec::new() } else { vec![()] })
    }

    async fn reconcile(&self, (): &(), now: Now) -> Result<Next, Error> {
        if self.has_room() {
            return Ok(Next::Idle);
        }
        let finished = self.finished().await?;
        let before = finished.len();
        let unwanted = decide(finished, self.max);
        self.set_room(before - unwanted.len());
        if !unwanted.is_empty() {
            info!(pods = unwanted.len(), "removing the oldest finished pods: at most {} are kept", self.max);
        }
        for keys in unwanted.chunks(CHUNK) {
            let mut edits = Vec::new();
            for key in keys {
                if let Some(pod) = self.store.get(key).await? {
                    edits.extend(edit::delete(&pod, Propagation::Background, Some(0), now)?);
                }
            }
            edit::commit(&self.store, edits).await?;
        }
        Ok(Next::Idle)
    }
}
