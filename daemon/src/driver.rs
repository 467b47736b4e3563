//! The one driver of all loops: a queue per controller with deduplicated keys, back-off after errors, wake-ups from
//! changes, a timer for what is due, and a slow resync. Production runs many keys at once; the simulation calls `step`.

use std::{fmt::Debug, future::Future, hash::Hash, time::Duration};

use crate::{store::Change, sys::Now};

/// When a key wants to be reconciled again although nothing changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Not before something changes.
    Idle,
    /// At this time since boot.
    At(Duration),
}

/// A failed reconcile. The driver tries the key again after a back-off (J-801).
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Store(#[from] crate::store::Error),
    #[error("{0}")]
    Other(String),
}

/// One loop of the shape observe, decide, commit.
pub trait Controller: Send + Sync + 'static {
    /// For logs.
    const NAME: &'static str;
    type Key: Clone + Debug + Eq + Hash + Ord + Send + Sync + 'static;

    /// Which keys a change wakes. Carries no data: the loop reads the state again.
    fn wakes(&self, change: &Change) -> Vec<Self::Key>;

    /// Every key with active work, for the start and for resyncs.
    fn active(&self) -> impl Future<Output = Result<Vec<Self::Key>, Error>> + Send;

    /// Observes, decides and commits for one key. Level-triggered: may be called at any time, any number of times.
    fn reconcile(&self, key: &Self::Key, now: Now) -> impl Future<Output = Result<Next, Error>> + Send;
}
