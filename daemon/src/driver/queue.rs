//! The queue of one controller: which keys are to be reconciled, which are running, and when the others come back.
//!
//! Plain data without clock, task or lock, so that its rules are tested as such. A key has at most one entry: it is
//! queued once however often it is woken, and never runs twice at the same time (J-801). Everything is ordered (no hash
//! maps), so that the simulation replays exactly.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::Duration,
};

use super::Next;
use crate::store::Revision;

/// The delay after the first error of a key; doubles up to [`BACKOFF_MAX`] (J-801).
const BACKOFF_MIN: Duration = Duration::from_secs(1);
/// The longest delay after an error (J-801).
const BACKOFF_MAX: Duration = Duration::from_secs(60);
/// How often a lost race against another writer is tried again at once.
///
/// A conflict says that the world moved, so the next look usually succeeds. Too many would let two loops that undo each
/// other's work spin; too few would make ordinary races wait a second.
const CONFLICTS_MAX: u32 = 5;

/// How a reconcile ended, as the queue needs to know it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Done(Next),
    /// Another writer was faster: try again at once, a few times.
    Conflict,
    /// An error or a panic: try again after the back-off.
    Failed,
}

/// What the queue knows of one key. A key with nothing to remember has no entry.
#[derive(Clone, Debug, Default)]
struct Entry {
    state: State,
    /// Errors in a row.
    failures: u32,
    /// Conflicts in a row.
    conflicts: u32,
    /// When the key comes back by itself, since boot.
    timer: Option<Duration>,
    /// Changes that woke the key while it runs, so far without another reason to run again.
    noticed: Vec<Revision>,
    /// Queued because of its own writes alone.
    own_only: bool,
}

/// Which keys are looked at because of their own writes, to check that nothing is left to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Checked {
    All,
    /// Those that don't wait for a time.
    Idle,
}

/// So many changes during one run are a reason to run again, whoever made them: the list stays short.
const NOTICED_MAX: usize = 256;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    /// Neither queued nor running; waits for a wake-up or its timer.
    #[default]
    Waiting,
    Queued,
    Running,
    /// Woken while running: runs again afterwards.
    RunningDirty,
}

/// The keys of one controller.
#[derive(Debug)]
pub(super) struct Queue<K> {
    entries: BTreeMap<K, Entry>,
    ready: VecDeque<K>,
    timers: BTreeSet<(Duration, K)>,
    running: usize,
    /// What keys wrote themselves and the queue has not noticed yet.
    own: BTreeMap<Revision, K>,
    /// Own writes wake too: all keys, or those that don't wait for a time.
    checks_own: Option<Checked>,
}

impl<K> Default for Queue<K> {
    fn default() -> Self {
        Self {
            entries: BTreeMap::new(),
            ready: VecDeque::new(),
            timers: BTreeSet::new(),
            running: 0,
            own: BTreeMap::new(),
            checks_own: None,
        }
    }
}

impl<K: Clone + Ord> Queue<K> {
    /// Queues the key; if it is running, it runs again afterwards. True if that changed anything.
    pub(super) fn wake(&mut self, key: K) -> bool {
        let entry = self.entries.entry(key.clone()).or_default();
        entry.own_only = false;
        match entry.state {
            State::Waiting => {
                entry.state = State::Queued;
                self.ready.push_back(key);
                true
            }
            State::Running => {
                entry.state = State::RunningDirty;
                true
            }
            State::Queued | State::RunningDirty => false,
        }
    }

    /// A change wakes the key, unless the key made it itself and said that it needs no look because of it.
    pub(super) fn notice(&mut self, key: K, revision: Revision) {
        if self.own.get(&revision) == Some(&key) {
            self.own.remove(&revision);
            self.wake_to_check(key);
            return;
        }
        match self.entries.get_mut(&key) {
            // Whether it made the change itself is known when it has run.
            Some(entry) if entry.state == State::Running && entry.noticed.len() < NOTICED_MAX => {
                entry.noticed.push(revision);
            }
            Some(_) | None => {
                self.wake(key);
            }
        }
    }

    /// See [`super::Driver::step`].
    pub(super) fn check_own_writes(&mut self, checked: Checked) {
        self.checks_own = Some(checked);
    }

    fn wake_to_check(&mut self, key: K) {
        let Some(checked) = self.checks_own else { return };
        let is_idle =
            |entry: &Entry| entry.state == State::Waiting && (checked == Checked::All || entry.timer.is_none());
        if self.entries.get(&key).is_none_or(is_idle) {
            self.wake(key.clone());
            if let Some(entry) = self.entries.get_mut(&key) {
                entry.own_only = true;
            }
        }
    }

    /// As [`Self::wake`], but a key that waits for the end of its back-off goes on waiting.
    pub(super) fn wake_unless_backing_off(&mut self, key: K) {
        let backing_off =
            self.entries.get(&key).is_some_and(|entry| entry.state == State::Waiting && entry.failures > 0);
        if !backing_off {
            self.wake(key);
        }
    }

    /// Wakes every key that waits for a time: the wall clock jumped, and the time may have been computed from it.
    pub(super) fn wake_timed(&mut self) {
        let timed: Vec<K> = self.timers.iter().map(|(_, key)| key.clone()).collect();
        for key in timed {
            self.wake(key);
        }
    }

    /// Wakes every key whose time has come.
    pub(super) fn fire(&mut self, now: Duration) {
        while let Some((at, _)) = self.timers.first()
            && *at <= now
            && let Some((_, key)) = self.timers.pop_first()
        {
            if let Some(entry) = self.entries.get_mut(&key) {
                entry.timer = None;
            }
            self.wake(key);
        }
    }

    /// When the earliest key comes back by itself, since boot.
    pub(super) fn next_timer(&self) -> Option<Duration> {
        self.timers.first().map(|(at, _)| *at)
    }

    /// How many keys are ready to run.
    pub(super) fn ready(&self) -> usize {
        self.ready.len()
    }

    /// How many keys are running.
    pub(super) fn running(&self) -> usize {
        self.running
    }

    /// Takes the ready key at this place of the queue (0 is the oldest) and marks it as running. The flag says that nothing but its own
    /// writes woke it, so that it should find nothing to do.
    pub(super) fn start(&mut self, place: usize) -> Option<(K, bool)> {
        let key = self.ready.remove(place)?;
        self.running += 1;
        let entry = self.entries.entry(key.clone()).or_default();
        entry.state = State::Running;
        entry.noticed.clear();
        let own_only = std::mem::take(&mut entry.own_only);
        // The reconcile decides afresh when it wants to come back.
        if let Some(at) = entry.timer.take() {
            self.timers.remove(&(at, key.clone()));
        }
        Some((key, own_only))
    }

    /// Notes how a running key ended, and what it wrote and has dealt with; changes up to `noticed` have come by. Answers how many
    /// errors in a row it has had before and has now.
    pub(super) fn finish(
        &mut self,
        key: K,
        outcome: Outcome,
        own: &[Revision],
        noticed: Revision,
        now: Duration,
    ) -> (u32, u32) {
        let Some(entry) = self.entries.get_mut(&key) else { return (0, 0) };
        self.running = self.running.saturating_sub(1);
        let meanwhile = std::mem::take(&mut entry.noticed);
        let dirty = entry.state == State::RunningDirty || meanwhile.iter().any(|revision| !own.contains(revision));
        if !own.is_empty() {
            // What came by and woke nobody will not come again.
            self.own = self.own.split_off(&Revision(noticed.0 + 1));
            let later = own.iter().filter(|revision| **revision > noticed && !meanwhile.contains(revision));
            self.own.extend(later.map(|revision| (*revision, key.clone())));
        }
        entry.state = State::Waiting;
        let before = entry.failures;
        let mut again = dirty;
        let at = match outcome {
            Outcome::Done(next) => {
                entry.failures = 0;
                entry.conflicts = 0;
                match next {
                    Next::Idle | Next::Due(_) => None,
                    Next::At(at) if at <= now => {
                        again = true;
                        None
                    }
                    Next::At(at) => Some(at),
                }
            }
            Outcome::Conflict if entry.conflicts < CONFLICTS_MAX => {
                entry.conflicts += 1;
                again = true;
                None
            }
            Outcome::Conflict | Outcome::Failed => {
                entry.conflicts = 0;
                entry.failures += 1;
                Some(now + backoff(entry.failures))
            }
        };
        let failures = entry.failures;
        entry.timer = at;
        if let Some(at) = at {
            self.timers.insert((at, key.clone()));
        } else if !again && failures == 0 {
            self.entries.remove(&key);
        }
        if again {
            self.wake(key);
        } else if !meanwhile.is_empty() {
            self.wake_to_check(key);
        }
        (before, failures)
    }
}

/// The delay after this many errors in a row.
fn backoff(failures: u32) -> Duration {
    BACKOFF_MIN.saturating_mul(1 << failures.saturating_sub(1).min(16)).min(BACKOFF_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Duration = Duration::from_secs(1000);

    fn after(seconds: u64) -> Duration {
        NOW + Duration::from_secs(seconds)
    }

    /// Takes all ready keys, which must be these in this order.
    #[track_caller]
    fn check_ready(queue: &mut Queue<&'static str>, want: &[&str]) {
        let got: Vec<_> = std::iter::from_fn(|| queue.start(0)).map(|(key, _)| key).collect();
        assert_eq!(got, want);
    }

    fn end(queue: &mut Queue<&'static str>, key: &'static str, outcome: Outcome, now: Duration) -> (u32, u32) {
        queue.finish(key, outcome, &[], Revision(0), now)
    }

    /// What a key has written itself and dealt with wakes it neither before nor after its end; what others write does.
    #[test]
    fn a_key_is_not_woken_by_what_it_wrote_itself() {
        // Noticed while it runs, noticed after it, whether it then runs again.
        let table: [(&[i64], &[i64], bool); 6] = [
            (&[7, 8], &[], false),
            (&[], &[7, 8], false),
            (&[7], &[8], false),
            (&[6], &[7, 8], true),
            (&[7, 8, 9], &[], true),
            (&[], &[7, 8, 9], true),
        ];
        for (during, after, again) in table {
            let mut queue = Queue::default();
            queue.wake("a");
            check_ready(&mut queue, &["a"]);
            during.iter().for_each(|revision| queue.notice("a", Revision(*revision)));
            let noticed = Revision(during.iter().copied().max().unwrap_or(5));
            queue.finish("a", Outcome::Done(Next::Idle), &[Revision(7), Revision(8)], noticed, NOW);
            after.iter().for_each(|revision| queue.notice("a", Revision(*revision)));
            check_ready(&mut queue, if again { &["a"] } else { &[] });
            assert!(queue.own.is_empty(), "{during:?} {after:?}: nothing is kept");
        }
    }

    #[test]
    fn own_writes_of_one_key_wake_another_and_are_forgotten_when_they_have_come_by() {
        let mut queue = Queue::default();
        queue.wake("a");
        check_ready(&mut queue, &["a"]);
        queue.finish("a", Outcome::Done(Next::Idle), &[Revision(7)], Revision(5), NOW);
        queue.notice("b", Revision(7));
        check_ready(&mut queue, &["b"]);
        queue.finish("b", Outcome::Done(Next::Idle), &[Revision(9)], Revision(8), NOW);
        assert_eq!(queue.own, BTreeMap::from([(Revision(9), "b")]));
    }

    #[test]
    fn a_checked_queue_looks_again_after_own_writes_and_says_so() {
        let mut queue = Queue::default();
        queue.check_own_writes(Checked::All);
        queue.wake("a");
        assert_eq!(queue.start(0), Some(("a", false)));
        queue.notice("a", Revision(7));
        queue.finish("a", Outcome::Done(Next::Idle), &[Revision(7), Revision(8)], Revision(7), NOW);
        assert_eq!(queue.start(0), Some(("a", true)));
        queue.finish("a", Outcome::Done(Next::Idle), &[], Revision(7), NOW);
        queue.notice("a", Revision(8));
        queue.wake("a");
        assert_eq!(queue.start(0), Some(("a", false)), "another reason came to it");
    }

    #[test]
    fn queues_a_key_once_however_often_it_is_woken() {
        let mut queue = Queue::default();
        for key in ["b", "a", "b", "a"] {
            queue.wake(key);
        }
        check_ready(&mut queue, &["b", "a"]);
        assert_eq!(queue.running(), 2);
    }

    /// J-801: one look at a key at a time.
    #[test]
    fn runs_a_key_again_when_it_was_woken_while_running_and_never_beside_itself() {
        let mut queue = Queue::default();
        queue.wake("a");
        check_ready(&mut queue, &["a"]);
        queue.wake("a");
        queue.wake("a");
        check_ready(&mut queue, &[]);
        end(&mut queue, "a", Outcome::Done(Next::Idle), NOW);
        check_ready(&mut queue, &["a"]);
        end(&mut queue, "a", Outcome::Done(Next::Idle), NOW);
        check_ready(&mut queue, &[]);
        assert!(queue.entries.is_empty(), "an idle key costs no memory (I-5)");
    }

    /// J-801, C-602.
    #[test]
    fn doubles_the_back_off_from_one_second_to_sixty() {
        let mut queue = Queue::default();
        queue.wake("a");
        let mut now = NOW;
        for want in [1, 2, 4, 8, 16, 32, 60, 60] {
            check_ready(&mut queue, &["a"]);
            end(&mut queue, "a", Outcome::Failed, now);
            assert_eq!(queue.next_timer(), Some(now + Duration::from_secs(want)));
            now += Duration::from_secs(want) - Duration::from_nanos(1);
            queue.fire(now);
            assert_eq!(queue.ready(), 0, "not before the {want} s are over");
            now += Duration::from_nanos(1);
            queue.fire(now);
        }
        check_ready(&mut queue, &["a"]);
        assert_eq!(end(&mut queue, "a", Outcome::Done(Next::Idle), now), (8, 0));
        assert_eq!(queue.next_timer(), None);
    }

    #[test]
    fn a_change_ends_a_back_off_early_but_a_due_time_does_not() {
        let mut queue = Queue::default();
        queue.wake("a");
        check_ready(&mut queue, &["a"]);
        end(&mut queue, "a", Outcome::Failed, NOW);
        queue.wake_unless_backing_off("a");
        check_ready(&mut queue, &[]);
        queue.wake("a");
        check_ready(&mut queue, &["a"]);
        assert_eq!(queue.next_timer(), None, "the old timer went with the start");
    }

    #[test]
    fn retries_conflicts_at_once_a_few_times_and_then_backs_off() {
        let mut queue = Queue::default();
        queue.wake("a");
        for _ in 0..CONFLICTS_MAX {
            check_ready(&mut queue, &["a"]);
            end(&mut queue, "a", Outcome::Conflict, NOW);
        }
        check_ready(&mut queue, &["a"]);
        end(&mut queue, "a", Outcome::Conflict, NOW);
        check_ready(&mut queue, &[]);
        assert_eq!(queue.next_timer(), Some(after(1)));
    }

    /// J-802.
    #[test]
    fn comes_back_at_the_time_that_the_reconcile_asked_for() {
        let mut queue = Queue::default();
        queue.wake("later");
        queue.wake("now");
        check_ready(&mut queue, &["later", "now"]);
        end(&mut queue, "later", Outcome::Done(Next::At(after(5))), NOW);
        end(&mut queue, "now", Outcome::Done(Next::At(NOW)), NOW);
        check_ready(&mut queue, &["now"]);
        queue.fire(after(4));
        check_ready(&mut queue, &[]);
        queue.fire(after(5));
        check_ready(&mut queue, &["later"]);
    }

    #[test]
    fn a_clock_jump_wakes_what_waits_for_a_time() {
        let mut queue = Queue::default();
        queue.wake("timed");
        queue.wake("idle");
        check_ready(&mut queue, &["timed", "idle"]);
        end(&mut queue, "timed", Outcome::Done(Next::At(after(3600))), NOW);
        end(&mut queue, "idle", Outcome::Done(Next::Idle), NOW);
        queue.wake_timed();
        check_ready(&mut queue, &["timed"]);
    }
}
