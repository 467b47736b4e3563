//! How many pods a job should have, and which to create or remove (section 8.5).
#![deny(clippy::disallowed_methods)]

use std::collections::BTreeMap;

use jiff::SignedDuration;

use super::{
    backoff::Record,
    index,
    plan::NewPod,
    removal,
    snapshot::Pod,
    tally::{Tally, length},
};
use crate::{metrics::job::Action, sys::Now};

/// At most so many pods are created, or removed, in one look (J-848, J-852): a commit stays short, and the next look follows at once.
pub const PODS_MAX: usize = 500;

/// What is to be done about the number of pods.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Managed<'a> {
    /// As many as there should be.
    Enough,
    /// These go, uncounted (J-850); a look that removes creates none (J-851). `more`: others have to go too, or to come.
    Remove { pods: Vec<&'a Pod>, more: bool },
    /// These are missing. `more`: others are missing too. `wait`: some must wait for so long.
    Create { pods: Vec<NewPod>, more: bool, wait: Option<SignedDuration> },
    /// Pods are missing, but all of them must wait for so long.
    Wait(SignedDuration),
}

impl Managed<'_> {
    /// What this was about (J-2301). A suspended job's pods are to go, even when none is left.
    #[must_use]
    pub fn action(&self, suspended: bool) -> Action {
        if suspended {
            return Action::PodsDeleted;
        }
        match self {
            Managed::Enough => Action::Tracking,
            Managed::Remove { .. } => Action::PodsDeleted,
            Managed::Create { .. } | Managed::Wait(_) => Action::PodsCreated,
        }
    }
}

/// Compares what is there with what should be. `held` are the pods that wait to be replaced ([`index::held`]).
#[must_use]
pub fn manage<'a>(tally: &Tally<'a>, backoff: Record, held: &BTreeMap<i32, &'a Pod>, now: Now) -> Managed<'a> {
    let spec = &tally.spec;
    if spec.suspend {
        // J-846, at once for all: whoever suspends wants the machine.
        return match tally.active.is_empty() {
            true => Managed::Enough,
            false => Managed::Remove { pods: tally.active.clone(), more: false },
        };
    }
    let active = length(tally.active.len());
    let wanted = wanted(tally);

    let excess = usize::try_from(active - wanted).unwrap_or_default();
    let mut removed = removal::choose(spec, &tally.active, excess);
    if !removed.is_empty() {
        // More than the excess: slots became free, which the next look fills.
        let more = removed.len() > PODS_MAX || removed.len() > excess;
        removed.truncate(PODS_MAX);
        return Managed::Remove { pods: removed, more };
    }

    let holding = if spec.failed_only { length(tally.terminating.len()) } else { 0 }; // J-1403
    let Ok(missing @ 1..) = usize::try_from(wanted - active - holding) else { return Managed::Enough };
    let more = missing > PODS_MAX;
    let missing = missing.min(PODS_MAX);
    if spec.backoff_limit_per_index.is_some() {
        return create_indexes_that_may_start(tally, held, missing, more, now);
    }
    let wait = backoff.remaining(now);
    if wait.is_positive() {
        return Managed::Wait(wait); // J-852
    }
    let pods: Vec<NewPod> = if spec.indexed {
        free_indexes(tally, missing).into_iter().map(|index| NewPod { index: Some(index), failures: None }).collect()
    } else {
        vec![NewPod { index: None, failures: None }; missing]
    };
    if pods.is_empty() { Managed::Enough } else { Managed::Create { pods, more, wait: None } }
}

/// How many pods should be active (J-847).
fn wanted(tally: &Tally<'_>) -> i64 {
    let parallelism = i64::from(tally.spec.parallelism);
    match tally.spec.completions {
        None if tally.succeeded > 0 => length(tally.active.len()),
        None => parallelism,
        Some(completions) => parallelism.min(i64::from(completions) - tally.succeeded).max(0),
    }
}

/// The lowest indexes that nobody works on and that have not ended (J-855).
fn free_indexes(tally: &Tally<'_>, max: usize) -> Vec<i32> {
    let mut taken = index::of(&tally.active).union(&tally.succeeded_indexes).union(&tally.failed_indexes);
    if tally.spec.failed_only {
        taken = taken.union(&index::of(&tally.terminating));
    }
    taken.missing(tally.spec.completions.unwrap_or_default()).take(max).collect()
}

/// J-855 with a limit per index: indexes in their own back-off stay on the short list and leave their slots idle (J-2704).
fn create_indexes_that_may_start<'a>(
    tally: &Tally<'a>,
    held: &BTreeMap<i32, &'a Pod>,
    missing: usize,
    more: bool,
    now: Now,
) -> Managed<'a> {
    let mut pods = Vec::new();
    let mut wait: Option<SignedDuration> = None;
    for index in free_indexes(tally, missing) {
        let replaced = held.get(&index).copied();
        let remaining = index::remaining(replaced, now);
        if remaining.is_positive() {
            wait = Some(wait.map_or(remaining, |wait| wait.min(remaining)));
        } else {
            let failures = index::next_failures(tally.failure_policy, replaced);
            pods.push(NewPod { index: Some(index), failures: Some(failures) });
        }
    }
    match (pods.is_empty(), wait) {
        (true, None) => Managed::Enough,
        (true, Some(wait)) => Managed::Wait(wait),
        (false, wait) => Managed::Create { pods, more, wait },
    }
}
