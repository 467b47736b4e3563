//! What a controller wrote for a key and has dealt with: those changes are no reason to look at the key again.
//!
//! A controller that has decided on everything it saw, and committed all of it, would find nothing to do in the look that its own commit
//! asks for. In production that look is spared; it was half of all looks at jobs and pods.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use crate::store::Revision;

/// The revisions that reconciles wrote, by key, until the driver takes them ([`super::Controller::take_own`]).
#[derive(Debug)]
pub struct Own<K> {
    revisions: Mutex<BTreeMap<K, Vec<Revision>>>,
}

impl<K> Default for Own<K> {
    fn default() -> Self {
        Self { revisions: Mutex::default() }
    }
}

impl<K: Clone + Ord> Own<K> {
    /// Notes what was written for a key, in a look that leaves nothing to do because of it.
    pub fn add(&self, key: &K, revisions: &[Revision]) {
        if !revisions.is_empty() {
            self.lock().entry(key.clone()).or_default().extend_from_slice(revisions);
        }
    }

    /// What was noted for the key since the last time.
    pub fn take(&self, key: &K) -> Vec<Revision> {
        self.lock().remove(key).unwrap_or_default()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<K, Vec<Revision>>> {
        self.revisions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
