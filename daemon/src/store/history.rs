//! Which past can be read, and the newest part of it in memory.
//!
//! [`Timeline`] dates revisions, so that the window is judged by the clock when somebody reads and not by what is physically
//! gone. [`History`] holds it together with a ring of recent changes, bounded by bytes, from which watches are served
//! without touching the database. Nothing here knows SQL but [`compaction`].

use std::{
    collections::VecDeque,
    fmt::Write as _,
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use jobd_api::registry::Kind;

use super::{Change, Error, Revision};

/// How many bytes of bodies the ring of recent changes may hold.
///
/// Too little sends watchers that lag a moment to the database; too much is resident memory for good. 4 MiB is about a
/// second of changes at full speed.
const RING_BYTES_MAX: usize = 4 << 20;

/// What a change costs in the ring beside its bodies.
const RING_ENTRY_BYTES: usize = 512;

/// How many bytes of superseded bodies may be kept before they shorten the window.
const SUPERSEDED_BYTES_MAX: i64 = 1 << 30;

/// Below this the window is never shortened: clients resume within it (W-124), and a running list pins its revision for 60 s.
const WINDOW_MIN: Duration = Duration::from_secs(75);

/// Samples of the timeline are this far apart: the window is exact to it, and its memory is bounded by it.
pub(super) const SAMPLE_STEP: Duration = Duration::from_secs(1);

/// At this time after boot, this revision was the newest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sample {
    /// Nanoseconds since boot; negative for what happened before this boot.
    pub at: i64,
    pub revision: i64,
    /// Bytes of all bodies superseded up to the revision.
    pub superseded: i64,
}

/// When revisions were made. Samples ascend in time and revision; the last one is always the newest revision.
#[derive(Debug)]
pub(super) struct Timeline {
    samples: VecDeque<Sample>,
    /// No revision below it can be read any more. Only rises.
    floor: i64,
    window: Duration,
}

impl Timeline {
    pub(super) fn new(samples: impl IntoIterator<Item = Sample>, floor: i64, window: Duration) -> Self {
        Self { samples: samples.into_iter().collect(), floor, window }
    }

    /// Whether a sample at that time begins a new step, and so is to be kept on disk too.
    pub(super) fn begins_step(&self, at: i64) -> bool {
        let before = self.samples.len().checked_sub(2).and_then(|index| self.samples.get(index));
        before.is_none_or(|before| at - before.at >= nanoseconds(SAMPLE_STEP))
    }

    /// Notes the newest revision. Within a step it takes the place of the one before: the last sample is always exact.
    pub(super) fn push(&mut self, sample: Sample) {
        self.floor = self.floor(sample.at);
        while self.samples.get(1).is_some_and(|second| second.revision <= self.floor) {
            self.samples.pop_front();
        }
        if !self.begins_step(sample.at) {
            self.samples.pop_back();
        }
        self.samples.push_back(sample);
    }

    /// The oldest revision whose state can be read at `now` (nanoseconds since boot): every version that was current then, or
    /// since, is still there.
    pub(super) fn floor(&self, now: i64) -> i64 {
        self.find_floor(now).max(self.floor)
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.samples.len()
    }

    fn find_floor(&self, now: i64) -> i64 {
        let Some(newest) = self.samples.back() else { return self.floor };
        let older_than = |age: Duration| {
            let count = self.samples.partition_point(|sample| now - sample.at >= nanoseconds(age));
            self.samples.range(..count)
        };
        let by_clock = older_than(self.window).next_back().map_or(self.floor, |sample| sample.revision);
        // Bytes that are kept when the floor is at a sample: what was superseded after it.
        let fits = |sample: &&Sample| newest.superseded - sample.superseded <= SUPERSEDED_BYTES_MAX;
        let kept = older_than(self.window).next_back().or_else(|| self.samples.front());
        if kept.as_ref().is_some_and(fits) {
            return by_clock;
        }
        let mut may_go = older_than(WINDOW_MIN.min(self.window));
        let by_bytes = may_go.clone().find(fits).or_else(|| may_go.next_back()).map_or(0, |sample| sample.revision);
        by_clock.max(by_bytes)
    }
}

pub(super) fn nanoseconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX)
}

/// The readable past, shared by the writer, which adds to it, and everybody who follows changes.
pub(super) struct History {
    state: RwLock<State>,
}

struct State {
    timeline: Timeline,
    /// Consecutive changes, the newest last.
    ring: VecDeque<Arc<Change>>,
    ring_bytes: usize,
    /// All changes after this revision are in the ring.
    ring_after: Revision,
    latest: Revision,
    /// What compaction has removed, or is about to: set before it begins.
    compacted: i64,
}

/// Where the changes that were asked for are.
pub(super) enum Recent {
    /// Here they are, complete up to the revision.
    Known(Vec<Arc<Change>>, Revision),
    /// Older than the ring: in the database, up to the revision.
    InDatabase(Revision),
}

impl History {
    pub(super) fn new(timeline: Timeline, latest: Revision, compacted: i64) -> Self {
        Self {
            state: RwLock::new(State {
                timeline,
                ring: VecDeque::new(),
                ring_bytes: 0,
                ring_after: latest,
                latest,
                compacted,
            }),
        }
    }

    /// Adds committed changes, in the order of their revisions, and dates the newest.
    pub(super) fn publish(&self, changes: Vec<Arc<Change>>, newest: Sample) {
        let mut state = self.write();
        state.timeline.push(newest);
        for change in changes {
            state.ring_bytes += cost(&change);
            state.ring.push_back(change);
        }
        state.latest = Revision(newest.revision);
        while state.ring_bytes > RING_BYTES_MAX {
            let Some(oldest) = state.ring.pop_front() else { break };
            state.ring_bytes -= cost(&oldest);
            state.ring_after = oldest.revision;
        }
    }

    pub(super) fn window(&self) -> Duration {
        self.read().timeline.window
    }

    /// See [`Timeline::begins_step`].
    pub(super) fn begins_step(&self, at: Duration) -> bool {
        self.read().timeline.begins_step(nanoseconds(at))
    }

    /// The sample of the newest revision, if any revision was ever made.
    pub(super) fn newest(&self) -> Option<Sample> {
        self.read().timeline.samples.back().copied()
    }

    /// See [`Timeline::floor`].
    pub(super) fn floor(&self, now: Duration) -> i64 {
        self.read().timeline.floor(nanoseconds(now))
    }

    pub(super) fn compacted(&self) -> i64 {
        self.read().compacted
    }

    /// Versions superseded up to here are going. Told before they go, so that a reader who finds them gone knows why.
    pub(super) fn set_compacted(&self, revision: i64) {
        self.write().compacted = revision;
    }

    /// Follows a commit whose changes are known to the database only.
    pub(super) fn skip_to(&self, latest: Revision) {
        let mut state = self.write();
        state.ring.clear();
        state.ring_bytes = 0;
        state.ring_after = latest;
        state.latest = latest;
    }

    /// Fails when the state at a revision can no longer be read at `now`.
    pub(super) fn check(&self, asked: Revision, now: Duration) -> Result<(), Error> {
        let oldest = Revision(self.floor(now));
        if asked < oldest { Err(Error::TooOld { asked, oldest }) } else { Ok(()) }
    }

    /// Fails when compaction has passed a revision: what was read of its state may have had holes.
    pub(super) fn check_complete(&self, asked: Revision) -> Result<(), Error> {
        let oldest = Revision(self.compacted());
        if asked < oldest { Err(Error::TooOld { asked, oldest }) } else { Ok(()) }
    }

    /// Changes after a revision, as far as memory reaches back.
    pub(super) fn recent(&self, kind: Option<Kind>, after: Revision, max: usize) -> Recent {
        let state = self.read();
        if after < state.ring_after {
            return Recent::InDatabase(state.latest);
        }
        let from = state.ring.partition_point(|change| change.revision <= after);
        let mut found = Vec::new();
        for change in state.ring.range(from..) {
            if kind.is_some_and(|kind| change.key.kind != kind) {
                continue;
            }
            if found.len() == max {
                // Complete up to just before this one.
                return Recent::Known(found, Revision(change.revision.0 - 1));
            }
            found.push(Arc::clone(change));
        }
        Recent::Known(found, state.latest.max(after))
    }

    fn read(&self) -> std::sync::RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> std::sync::RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }
}

fn cost(change: &Change) -> usize {
    RING_ENTRY_BYTES + change.body.len() + change.previous.as_ref().map_or(0, |previous| previous.len())
}

/// Adds the statements that remove versions superseded by the revisions in `(from, to]`, and the tombstones among those.
///
/// A version goes when its successor leaves the window, so each step looks only at the revisions that left it. The statements
/// have no parameters: they travel together with COMMIT in one call.
pub(super) fn compaction(sql: &mut String, from: i64, to: i64) {
    let result = write!(
        sql,
        "DELETE FROM versions WHERE revision IN (\
           SELECT previous FROM versions WHERE revision > {from} AND revision <= {to} AND previous IS NOT NULL \
           UNION ALL \
           SELECT revision FROM versions WHERE revision > {from} AND revision <= {to} AND deleted = 1);\
         DELETE FROM history WHERE revision < (SELECT max(revision) FROM history WHERE revision <= {to});"
    );
    debug_assert!(result.is_ok(), "writing to a String does not fail");
}
