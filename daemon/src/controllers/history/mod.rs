//! History that the operator does not want to keep: finished jobs beyond a number or older than a time go, with their pods; so do finished
//! pods that belong to nobody. Off unless it is asked for: a cluster keeps what nobody deletes.
//!
//! A count and one timer are held in memory (I-5). All finished objects are looked at when there may be too many or when the oldest may be
//! too old, for the latter at most once in [`LOOK_EVERY`].

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicI64, Ordering},
    },
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};
use jobd_api::registry::Kind;
use tracing::info;

use super::{
    edit::{self, Propagation},
    listing::{self, CHUNK},
    timeline::Timeline,
};
use crate::{
    driver::{Controller, Error, Next},
    store::{self, Change, ChangeType, ListQuery, Store, Stored},
    sys::{Clock, Now},
};

mod decide;

pub use decide::Keep;
use decide::{Plan, decide};

/// How often age is looked at, at most. A limit is given in hours; a look reads every job there is.
const LOOK_EVERY: SignedDuration = SignedDuration::from_mins(10);

/// What is counted for itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Key {
    Jobs,
    /// Pods without a controller.
    Pods,
}

impl Key {
    fn kind(self) -> Kind {
        match self {
            Key::Jobs => Kind::Job,
            Key::Pods => Kind::Pod,
        }
    }
}

/// What is known of one kind without looking.
#[derive(Debug, Default)]
struct Known {
    /// How many more may finish before there can be too many. Never too high; corrected at each look.
    room: AtomicI64,
    /// A look is due by a timer of the driver, or needed.
    awaited: AtomicBool,
}

pub struct History {
    store: Store,
    clock: Arc<dyn Clock>,
    clocks: Mutex<Timeline>,
    keep: Keep,
    jobs: Known,
    pods: Known,
    looked: AtomicBool,
}

impl History {
    #[must_use]
    pub fn new(store: Store, clock: Arc<dyn Clock>, keep: Keep) -> Self {
        let clocks = Mutex::new(Timeline::new(clock.now()));
        Self {
            store,
            clock,
            clocks,
            keep,
            jobs: Known::default(),
            pods: Known::default(),
            looked: AtomicBool::new(false),
        }
    }

    fn clocks<T>(&self, f: impl FnOnce(&mut Timeline) -> T) -> T {
        f(&mut self.clocks.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn known(&self, key: Key) -> &Known {
        match key {
            Key::Jobs => &self.jobs,
            Key::Pods => &self.pods,
        }
    }

    /// The finished objects of a kind: how long ago they ended, and their keys, read in passing.
    async fn finished(&self, key: Key, now: Now) -> Result<Vec<(SignedDuration, store::Key)>, Error> {
        let mut finished = Vec::new();
        listing::each(&self.store, ListQuery::all(key.kind(), CHUNK), |stored| {
            finished.extend(ended(key, &stored).map(|at| (at, stored.key)));
        })
        .await?;
        Ok(self.clocks(|clocks| finished.into_iter().map(|(at, key)| (clocks.elapsed(at, now), key)).collect()))
    }

    async fn delete(&self, key: Key, unwanted: &[store::Key], now: Now) -> Result<(), Error> {
        for keys in unwanted.chunks(CHUNK) {
            let mut edits = Vec::new();
            for one in keys {
                // Looked at again: it may have been replaced by one that runs.
                if let Some(stored) = self.store.get(one).await?.filter(|stored| ended(key, stored).is_some()) {
                    edits.extend(edit::delete(&stored, Propagation::Background, None, now)?);
                }
            }
            edit::commit(&self.store, edits).await?;
        }
        Ok(())
    }
}

/// When an object ended; none: it has not, is being deleted, or is not ours to judge.
fn ended(key: Key, stored: &Stored) -> Option<Timestamp> {
    let Body { metadata, status } = serde_json::from_str(&stored.body).ok()?;
    if metadata.is_deleting() {
        return None;
    }
    match key {
        Key::Jobs => {
            let terminal = |one: &&Condition| matches!(&*one.type_, "Complete" | "Failed") && one.status == "True";
            status.conditions.iter().find(terminal)?.last_transition_time.as_deref()?.parse().ok()
        }
        Key::Pods => {
            let is_candidate = metadata.owner_references.is_empty() && matches!(&*status.phase, "Succeeded" | "Failed");
            let ends = status.container_statuses.iter().filter_map(|one| one.state.terminated.finished_at.clone());
            let end = ends.max().or(metadata.creation_timestamp)?;
            end.parse().ok().filter(|_| is_candidate)
        }
    }
}

/// What is read of a job or a pod.
#[derive(Default, serde::Deserialize)]
#[serde(default)]
struct Body {
    metadata: edit::Meta,
    status: Status,
}

#[derive(Default, serde::Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Status {
    phase: String,
    conditions: Vec<Condition>,
    container_statuses: Vec<ContainerStatus>,
}

#[derive(Default, serde::Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Condition {
    #[serde(rename = "type")]
    type_: String,
    status: String,
    last_transition_time: Option<String>,
}

#[derive(Default, serde::Deserialize)]
#[serde(default)]
struct ContainerStatus {
    state: State,
}

#[derive(Default, serde::Deserialize)]
#[serde(default)]
struct State {
    terminated: Terminated,
}

#[derive(Default, serde::Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Terminated {
    finished_at: Option<String>,
}

impl Controller for History {
    const NAME: &'static str = "history";
    type Key = Key;

    fn wakes(&self, change: &Change) -> Vec<Key> {
        // By comparison: a new kind is nothing to this controller until somebody makes it so.
        let key = if change.key.kind == Kind::Job {
            Key::Jobs
        } else if change.key.kind == Kind::Pod && change.index.controller_uid.is_none() {
            Key::Pods
        } else {
            return Vec::new();
        };
        let known = self.known(key);
        match change.change_type {
            ChangeType::Created => Vec::new(),
            ChangeType::Deleted => {
                known.room.fetch_add(i64::from(change.index.finished), Ordering::Relaxed);
                Vec::new()
            }
            ChangeType::Modified => {
                if !change.index.finished {
                    return Vec::new();
                }
                // One that ended while it was being deleted too: its removal gives the place back.
                known.room.fetch_sub(1, Ordering::Relaxed);
                if change.index.deleting {
                    return Vec::new();
                }
                let is_full = self.keep.count.is_some() && known.room.load(Ordering::Relaxed) < 0;
                let needs_timer = self.keep.age.is_some() && !known.awaited.swap(true, Ordering::Relaxed);
                if is_full || needs_timer { vec![key] } else { Vec::new() }
            }
        }
    }

    /// At a start, everything; later, nothing: changes and the timer are enough.
    async fn active(&self) -> Result<Vec<Key>, Error> {
        let is_first = !self.looked.swap(true, Ordering::Relaxed);
        Ok(if is_first { vec![Key::Jobs, Key::Pods] } else { Vec::new() })
    }

    /// More may be finished than is known.
    fn missed_changes(&self) {
        self.looked.store(false, Ordering::Relaxed);
    }

    fn clock_jumped(&self) {
        self.clocks(|clocks| clocks.note(self.clock.now()));
    }

    async fn reconcile(&self, key: &Key, now: Now) -> Result<Next, Error> {
        self.clocks(|clocks| clocks.note(now));
        let Plan { delete, kept, next } = decide(self.finished(*key, now).await?, self.keep);
        if !delete.is_empty() {
            let count = delete.len();
            info!(count, "deleting {count} finished {}: no more are kept", key.kind().as_str());
        }
        self.delete(*key, &delete, now).await?;
        let known = self.known(*key);
        if let Some(max) = self.keep.count {
            let [max, kept] = [max, kept].map(|count| i64::try_from(count).unwrap_or(i64::MAX));
            known.room.store(max.saturating_sub(kept), Ordering::Relaxed);
        }
        known.awaited.store(next.is_some(), Ordering::Relaxed);
        Ok(next.map_or(Next::Idle, |left| {
            Next::At(now.boot + Duration::try_from(left.max(LOOK_EVERY)).unwrap_or_default())
        }))
    }
}
