//! One registered controller: its queue, who wakes it, what is due of its kind, and the run of one key.

use std::{
    fmt::Debug,
    panic::AssertUnwindSafe,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use futures_util::{FutureExt as _, future::BoxFuture};
use jiff::Timestamp;
use tokio::sync::Notify;
use tracing::Instrument as _;

use super::{
    Controller, Deadline, Error, Next, Outcome, Run, Step, log_outcome, log_panic,
    queue::{Checked, Queue},
};
use crate::{
    metrics::controllers as metrics,
    store::{self, Change, ChangeType, Revision, Store},
    sys::{Clock, Now, Stopwatch},
};

/// How many due objects are woken at once; the others follow when these had time to run.
const DUE_MAX: usize = 256;
/// When the next due objects are looked for after a full batch.
const DUE_AGAIN: Duration = Duration::from_millis(20);

/// Wakes keys of one controller from outside the store, such as from engine events. Cheap to clone.
pub struct Waker<K> {
    shared: Arc<Shared<K>>,
}

impl<K> Clone for Waker<K> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared) }
    }
}

impl<K> Default for Waker<K> {
    fn default() -> Self {
        Self { shared: Arc::new(Shared { queue: Mutex::new(Queue::default()), notify: OnceLock::new() }) }
    }
}

impl<K: Clone + Ord> Waker<K> {
    /// Has the key reconciled soon. Before the driver runs, the wake-up is kept.
    pub fn wake(&self, key: K) {
        if self.shared.queue().wake(key)
            && let Some(notify) = self.shared.notify.get()
        {
            notify.notify_one();
        }
    }
}

impl<K> Waker<K> {
    pub(super) fn connect(&self, notify: Arc<Notify>) {
        // A second connection would be a controller registered twice; the first driver keeps it.
        let _ = self.shared.notify.set(notify);
    }
}

struct Shared<K> {
    queue: Mutex<Queue<K>>,
    notify: OnceLock<Arc<Notify>>,
}

impl<K> Shared<K> {
    fn queue(&self) -> MutexGuard<'_, Queue<K>> {
        // The queue's methods leave it whole at every point where they could panic.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A controller as the driver sees it, whatever its key type is.
pub(super) trait Loop: Send + Sync {
    fn ready(&self) -> usize;
    fn running(&self) -> usize;
    /// See [`Controller::PUNCTUAL`].
    fn is_punctual(&self) -> bool;
    /// Wakes the keys that a change concerns.
    fn notice(&self, change: &Change);
    /// Wakes every key with active work and answers how many there are.
    fn resync(&self) -> BoxFuture<'_, Result<usize, Error>>;
    /// Wakes what is due.
    fn fire(&self, now: Now) -> BoxFuture<'_, Result<(), Error>>;
    fn clock_jumped(&self);
    /// Changes left the history before they were noticed.
    fn missed_changes(&self);
    /// From now on a key is looked at because of its own writes too, and must then write nothing.
    fn check_own_writes(&self);
    fn deadline(&self) -> Deadline;
    /// Starts the ready key at this place.
    fn start(self: Arc<Self>, place: usize, clock: &Arc<dyn Clock>) -> Option<Run>;
}

/// When to look for due objects of the controller's kind.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Due {
    /// At once: nothing is known yet, or the clock jumped.
    Unknown,
    /// At this wall time; none: nothing is due.
    At(Option<Timestamp>),
    /// The last look found more than could be woken at once.
    More(More),
}

/// What follows a look at due objects that found as many as it may.
#[derive(Clone, Debug, PartialEq, Eq)]
struct More {
    /// When to look again, since boot.
    at: Duration,
    /// How many are looked for then.
    max: usize,
    /// The first that was due.
    first: store::Key,
}

pub(super) struct Slot<C: Controller> {
    controller: C,
    store: Store,
    waker: Waker<C::Key>,
    due: Mutex<(Due, Option<Timestamp>)>,
    /// Changes up to here were noticed.
    noticed: AtomicI64,
}

impl<C: Controller> Slot<C> {
    pub(super) fn new(controller: C, store: Store, waker: Waker<C::Key>) -> Self {
        let due = if C::DUE.is_some() { Due::Unknown } else { Due::At(None) };
        Self { controller, store, waker, due: Mutex::new((due, None)), noticed: AtomicI64::new(0) }
    }

    fn queue(&self) -> MutexGuard<'_, Queue<C::Key>> {
        self.waker.shared.queue()
    }

    fn due(&self) -> MutexGuard<'_, (Due, Option<Timestamp>)> {
        self.due.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Something becomes due at this time; the alarm is moved forward if it is later.
    fn due_by(&self, at: Timestamp) {
        let mut due = self.due();
        let (state, last_look) = &mut *due;
        // Not more often than the controller wants.
        let at = last_look.and_then(|last| last.checked_add(C::DUE_EVERY).ok()).map_or(at, |earliest| at.max(earliest));
        match state {
            Due::At(Some(known)) if *known <= at => {}
            Due::At(_) => *state = Due::At(Some(at)),
            Due::Unknown | Due::More(_) => {}
        }
    }

    async fn look_for_due(&self, now: Now) -> Result<(), Error> {
        let Some(kind) = C::DUE else { return Ok(()) };
        let (is_time, before) = match &self.due().0 {
            Due::Unknown => (true, None),
            Due::At(at) => (at.is_some_and(|at| at <= now.wall), None),
            Due::More(more) => (more.at <= now.boot, Some(more.clone())),
        };
        if !is_time {
            return Ok(());
        }
        let max = before.as_ref().map_or(DUE_MAX, |before| before.max);
        // What is written while the store reads moves the alarm itself, so it must be off before.
        *self.due() = (Due::At(None), Some(now.wall));
        let (objects, next) = match self.store.due_keys(kind, now.wall, max).await {
            Ok(found) => found,
            Err(error) => {
                self.due().0 = Due::Unknown;
                return Err(error.into());
            }
        };
        let is_full = objects.len() >= max;
        {
            let mut queue = self.queue();
            for key in objects.iter().filter_map(|object| self.controller.due_key(object)) {
                queue.wake_unless_backing_off(key);
            }
        }
        match objects.into_iter().next() {
            Some(first) if is_full => {
                // What is due and stays so, though it was looked at (the clock was set, or it fails), must neither hide what comes
                // behind it nor be looked at for ever.
                let is_stuck = before.is_some_and(|before| before.first == first);
                let max = if is_stuck { max.saturating_mul(2) } else { DUE_MAX };
                self.due().0 = Due::More(More { at: now.boot + DUE_AGAIN, max, first });
            }
            Some(_) | None => {
                if let Some(next) = next {
                    self.due_by(next);
                }
            }
        }
        Ok(())
    }

    /// Reconciles one key and settles it in the queue.
    async fn run(self: Arc<Self>, key: C::Key, checks: bool, clock: Arc<dyn Clock>) -> Step {
        let stopwatch = Stopwatch::start();
        let name = render(&key);
        let before = self.store.latest();
        // Where others run beside it, what they write may be the reason to do something.
        let checks = checks && self.noticed.load(Ordering::Relaxed) == before.0;
        let span = tracing::info_span!("reconcile", controller = C::NAME, key = %name);
        let reconcile = AssertUnwindSafe(self.controller.reconcile(&key, clock.now())).catch_unwind().instrument(span);
        let (outcome, result) = match reconcile.await {
            Ok(Ok(next)) => (Outcome::Done(next), Ok(next)),
            Ok(Err(error)) if error.is_conflict() => (Outcome::Conflict, Err(error.to_string())),
            Ok(Err(error)) => (Outcome::Failed, Err(error.to_string())),
            Err(panic) => {
                let text = panic_text(&*panic);
                log_panic(C::NAME, &name, &text);
                (Outcome::Failed, Err(text))
            }
        };
        if let Ok(Next::Due(at)) = result {
            self.due_by(at);
        }
        let own = self.controller.take_own(&key);
        let own = if result.is_ok() { own } else { Vec::new() };
        let alone = self.store.latest().0 - before.0 == i64::try_from(own.len()).unwrap_or(i64::MAX);
        assert!(
            !checks || own.is_empty() || !alone,
            "{}: {name} was said to need no look after its own writes, and the look wrote",
            C::NAME
        );
        let noticed = Revision(self.noticed.load(Ordering::Relaxed));
        let (before, failures) = self.queue().finish(key, outcome, &own, noticed, clock.now().boot);
        metrics::worked(C::NAME, outcome != Outcome::Failed, stopwatch.elapsed());
        if outcome != Outcome::Conflict || failures > 0 {
            log_outcome(C::NAME, &name, before, failures, &result);
        }
        Step::Ran { controller: C::NAME, key: name, result }
    }
}

impl<C: Controller> Loop for Slot<C> {
    fn ready(&self) -> usize {
        self.queue().ready()
    }

    fn running(&self) -> usize {
        self.queue().running()
    }

    fn is_punctual(&self) -> bool {
        C::PUNCTUAL
    }

    fn notice(&self, change: &Change) {
        if C::DUE == Some(change.key.kind)
            && change.change_type != ChangeType::Deleted
            && let Some(at) = change.index.due_at
        {
            self.due_by(at);
        }
        let keys = self.controller.wakes(change);
        if !keys.is_empty() {
            let mut queue = self.queue();
            for key in keys {
                queue.notice(key, change.revision);
            }
            metrics::queued(C::NAME, queue.ready());
        }
        self.noticed.store(change.revision.0, Ordering::Relaxed);
    }

    fn resync(&self) -> BoxFuture<'_, Result<usize, Error>> {
        async {
            let keys = self.controller.active().await?;
            let count = keys.len();
            let mut queue = self.queue();
            for key in keys {
                queue.wake_unless_backing_off(key);
            }
            Ok(count)
        }
        .boxed()
    }

    fn fire(&self, now: Now) -> BoxFuture<'_, Result<(), Error>> {
        self.queue().fire(now.boot);
        self.look_for_due(now).boxed()
    }

    fn clock_jumped(&self) {
        self.queue().wake_timed();
        self.controller.clock_jumped();
        if C::DUE.is_some() {
            *self.due() = (Due::Unknown, None);
        }
    }

    fn missed_changes(&self) {
        self.controller.missed_changes();
        if C::DUE.is_some() {
            *self.due() = (Due::Unknown, None);
        }
    }

    fn check_own_writes(&self) {
        self.queue().check_own_writes(if C::TRIES_AGAIN { Checked::Idle } else { Checked::All });
    }

    fn deadline(&self) -> Deadline {
        let mut deadline = Deadline { boot: self.queue().next_timer(), wall: None };
        match &self.due().0 {
            Due::Unknown => deadline.boot = Some(Duration::from_nanos(1)),
            Due::At(at) => deadline.wall = *at,
            Due::More(more) => deadline.add_boot(Some(more.at)),
        }
        deadline
    }

    fn start(self: Arc<Self>, place: usize, clock: &Arc<dyn Clock>) -> Option<Run> {
        let ((key, checks), waiting) = {
            let mut queue = self.queue();
            (queue.start(place)?, queue.ready())
        };
        metrics::queued(C::NAME, waiting);
        Some(self.run(key, checks, Arc::clone(clock)).boxed())
    }
}

/// A key for logs.
fn render(key: &impl Debug) -> String {
    format!("{key:?}")
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    panic
        .downcast_ref::<&str>()
        .map(ToString::to_string)
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "panic without a message".to_owned())
}
