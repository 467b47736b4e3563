//! The one driver of all loops: a queue per controller with deduplicated keys, back-off after errors, wake-ups from
//! changes, timers for what is due, and a slow resync. Production runs many keys at once ([`Driver::run`]); the
//! simulation calls [`Driver::step`].
//!
//! Only the driver touches timers and reads the clock for loops; what a controller decides it decides from the
//! snapshot and the `now` that it is given.

use std::{fmt::Debug, future::Future, hash::Hash, sync::Arc, time::Duration};

use futures_util::future::BoxFuture;
use jiff::Timestamp;
use jobd_api::registry::Kind;
use tokio::{sync::Notify, task::JoinSet};
use tracing::{debug, error, info, warn};

use crate::{
    store::{self, Change, Revision, Store},
    sys::{Clock, Now},
};

mod own;
mod queue;
mod slot;
mod timer;

pub use own::Own;
pub use slot::Waker;

use queue::Outcome;
use slot::{Loop, Slot};
use timer::{Alarm, Timer};

/// How many keys of one controller are in flight at once in production.
///
/// In flight mostly means waiting for a commit, and commits are shared: too few makes each commit carry less, so that the
/// disk's sync time bounds the throughput; too many only costs memory.
pub const IN_FLIGHT_MAX: usize = 64;

/// How many keys of any other controller are in flight while a punctual one has more than it can run.
///
/// Too many delay what was promised for a time (a thousand cron jobs of the same minute) behind what follows from it; too few let
/// the rest stand still as long as that goes on.
const IN_FLIGHT_BESIDE: usize = 8;

/// How often everything active is looked at although nothing changed.
///
/// Wake-ups make loops prompt, this makes them certain; it hides a lost wake-up for at most this long. Only while there
/// is active work (I-11).
const RESYNC_EVERY: Duration = Duration::from_secs(600);

/// How many changes are read from the store at once.
const CHANGES_MAX: usize = 512;

/// How soon the driver itself tries again when the store does not answer its reads.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// When a key wants to be reconciled again although nothing changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Not before something changes.
    Idle,
    /// At this time since boot. Kept in memory: for active work only (I-5).
    At(Duration),
    /// At this wall time, which is stored as the object's `due_at` ([`Controller::DUE`]) and only moves the driver's alarm: for
    /// what is finished and must cost no memory.
    Due(Timestamp),
}

/// A failed reconcile. The driver tries the key again after a back-off (J-801).
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Store(#[from] crate::store::Error),
    #[error("{0}")]
    Other(String),
}

impl Error {
    /// Somebody else wrote between the look and the commit: look again at once.
    fn is_conflict(&self) -> bool {
        matches!(self, Self::Store(store::Error::Conflict { .. } | store::Error::AlreadyExists { .. }))
    }
}

/// One loop of the shape observe, decide, commit.
pub trait Controller: Send + Sync + 'static {
    /// For logs.
    const NAME: &'static str;
    /// The kind whose `due_at` wakes this controller; [`Self::due_key`] says which key.
    const DUE: Option<Kind> = None;
    /// At most so often the due objects are looked at; what is due in between waits. Zero: to the second.
    const DUE_EVERY: Duration = Duration::ZERO;
    /// A key that waits for a time may be trying something again, which a look before that time does at once.
    const TRIES_AGAIN: bool = false;
    /// Its keys come due at times that were promised: while more of them wait than can run, other controllers run a few keys only.
    const PUNCTUAL: bool = false;
    type Key: Clone + Debug + Eq + Hash + Ord + Send + Sync + 'static;

    /// Which keys a change wakes. Carries no data: the loop reads the state again.
    fn wakes(&self, change: &Change) -> Vec<Self::Key>;

    /// Every key with active work, for the start and for resyncs. Empty means: nothing of this controller needs a resync.
    fn active(&self) -> impl Future<Output = Result<Vec<Self::Key>, Error>> + Send;

    /// The key that an object of the kind [`Self::DUE`] wakes when it is due.
    fn due_key(&self, _object: &store::Key) -> Option<Self::Key> {
        None
    }

    /// The wall clock was set, or the machine woke up. A resync follows.
    fn clock_jumped(&self) {}

    /// Changes were not heard of, because they left the history before they were read (F-7): what only they would have told has to be found
    /// anew. A resync follows.
    fn missed_changes(&self) {}

    /// Takes what the last reconcile of the key wrote, if it left nothing to do that these changes could be the reason for: the driver
    /// then does not look again because of them. See [`Own`].
    fn take_own(&self, _key: &Self::Key) -> Vec<Revision> {
        Vec::new()
    }

    /// Observes, decides and commits for one key. Level-triggered: may be called at any time, any number of times.
    fn reconcile(&self, key: &Self::Key, now: Now) -> impl Future<Output = Result<Next, Error>> + Send;
}

/// When the driver has something to do although nothing changes: the earlier of the two.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Deadline {
    /// Since boot.
    pub boot: Option<Duration>,
    /// By the wall clock.
    pub wall: Option<Timestamp>,
}

impl Deadline {
    fn add_boot(&mut self, at: Option<Duration>) {
        self.boot = [self.boot, at].into_iter().flatten().min();
    }

    fn add_wall(&mut self, at: Option<Timestamp>) {
        self.wall = [self.wall, at].into_iter().flatten().min();
    }
}

/// What one step of the simulation did.
#[derive(Debug)]
#[must_use = "a step may have been idle or failed"]
pub enum Step {
    /// One key was reconciled, to its end.
    Ran { controller: &'static str, key: String, result: Result<Next, String> },
    /// Nothing is ready; something is due at the deadline.
    Idle(Deadline),
}

/// What [`Driver::begin_with`] found.
#[must_use = "a key that was taken is reconciled only when its run is awaited"]
pub enum Begun {
    /// One key was taken; awaited, it is reconciled.
    Run(BoxFuture<'static, Step>),
    /// Nothing is ready; something is due at the deadline.
    Idle(Deadline),
}

/// Runs controllers.
pub struct Driver {
    store: Store,
    clock: Arc<dyn Clock>,
    loops: Vec<Arc<dyn Loop>>,
    changes: tokio::sync::watch::Receiver<Revision>,
    notify: Arc<Notify>,
    /// Changes up to here have woken their keys; none: everything must be looked at.
    seen: Option<Revision>,
    /// When to look at everything active again.
    resync_at: Option<Duration>,
    /// When to read from the store again after it failed to answer.
    retry_at: Option<Duration>,
}

impl Driver {
    #[must_use]
    pub fn new(store: Store, clock: Arc<dyn Clock>) -> Self {
        Self {
            // Subscribed before anything is read, else a change in between is lost.
            changes: store.subscribe(),
            store,
            clock,
            loops: Vec::new(),
            notify: Arc::new(Notify::new()),
            seen: None,
            resync_at: None,
            retry_at: None,
        }
    }

    /// Registers a controller. The answer wakes its keys from outside the store.
    pub fn add<C: Controller>(&mut self, controller: C) -> Waker<C::Key> {
        let waker = Waker::default();
        self.add_with(controller, &waker);
        waker
    }

    /// Registers a controller with a waker that was made before it, because its parts need it (engine events).
    pub fn add_with<C: Controller>(&mut self, controller: C, waker: &Waker<C::Key>) {
        waker.connect(Arc::clone(&self.notify));
        self.loops.push(Arc::new(Slot::new(controller, self.store.clone(), waker.clone())));
    }

    /// Runs all controllers until `shutdown`, then lets what is in flight come to its end.
    ///
    /// # Errors
    /// When the system has no timers for us; nothing else ends the loop before `shutdown` but the end of the store.
    pub async fn run(mut self, shutdown: impl Future<Output = ()> + Send) -> std::io::Result<()> {
        let mut timer = Timer::new()?;
        let mut tasks = JoinSet::new();
        let notify = Arc::clone(&self.notify);
        tokio::pin!(shutdown);
        loop {
            self.wake_up().await;
            self.spawn_ready(&mut tasks);
            let Deadline { boot, wall } = self.deadline();
            tokio::select! {
                () = &mut shutdown => break,
                changed = self.changes.changed() => if changed.is_err() { break },
                () = notify.notified() => {}
                Some(_) = tasks.join_next() => {}
                alarm = timer.wait(boot, wall) => if alarm? == Alarm::ClockJump {
                    info!("the wall clock was set or the machine woke up; looking at everything that waits for a time");
                    self.clock_jumped();
                },
            }
            // Tasks that ended meanwhile are settled together.
            while tasks.try_join_next().is_some() {}
        }
        while tasks.join_next().await.is_some() {}
        Ok(())
    }

    /// Reconciles the key that waits longest, to its end, on this task. Here keys are looked at again because of their own writes too,
    /// which [`Self::run`] spares itself; it is an error of the controller if such a look finds something to write.
    pub async fn step(&mut self) -> Step {
        self.step_with(|_| 0).await
    }

    /// As [`Self::step`] with a choice: `choose` is given the number of ready keys and says which one runs.
    pub async fn step_with(&mut self, choose: impl FnOnce(usize) -> usize) -> Step {
        match self.begin_with(choose).await {
            Begun::Run(run) => run.await,
            Begun::Idle(deadline) => Step::Idle(deadline),
        }
    }

    /// The first half of [`Self::step_with`]: whoever steps by hand may let others run before this key's reconcile comes to its end.
    pub async fn begin_with(&mut self, choose: impl FnOnce(usize) -> usize) -> Begun {
        self.wake_up().await;
        let ready: usize = self.loops.iter().map(|one| one.ready()).sum();
        if ready == 0 {
            return Begun::Idle(self.deadline());
        }
        let mut place = choose(ready).min(ready - 1);
        for one in &self.loops {
            if place < one.ready() {
                if let Some(run) = Arc::clone(one).start(place, &self.clock) {
                    one.check_own_writes();
                    return Begun::Run(run);
                }
                break;
            }
            place -= one.ready();
        }
        Begun::Idle(self.deadline())
    }

    /// Steps until nothing is ready; for tests. Answers what is due next, or the steps when there were more than `max`.
    ///
    /// # Errors
    /// The last step, when the loops did not come to rest within `max` steps.
    pub async fn settle(&mut self, max: usize) -> Result<Deadline, Step> {
        let mut last = self.step().await;
        for _ in 0..max {
            match last {
                Step::Idle(deadline) => return Ok(deadline),
                Step::Ran { .. } => last = self.step().await,
            }
        }
        Err(last)
    }

    /// The wall clock was set: everything that waits for a time looks again. Production notices by itself.
    pub fn clock_jumped(&mut self) {
        for one in &self.loops {
            one.clock_jumped();
        }
        self.resync_at = Some(Duration::ZERO);
    }

    /// Puts every key into its queue that has a reason by now.
    async fn wake_up(&mut self) {
        let now = self.clock.now();
        if self.retry_at.is_some_and(|at| now.boot < at) {
            return;
        }
        self.retry_at = None;
        if let Err(error) = self.look(now).await {
            if !matches!(error, Error::Store(store::Error::Closed)) {
                warn!(error = %error, "the store does not answer; trying again");
            }
            self.retry_at = Some(now.boot + RETRY_AFTER);
        }
    }

    async fn look(&mut self, now: Now) -> Result<(), Error> {
        match self.seen {
            None => {
                let latest = *self.changes.borrow_and_update();
                self.resync(now).await?;
                self.seen = Some(latest);
            }
            Some(_) if self.resync_at.is_some_and(|at| at <= now.boot) => self.resync(now).await?,
            Some(_) => {}
        }
        self.read_changes(now).await?;
        let mut woken = false;
        for one in &self.loops {
            one.fire(now).await?;
            woken |= one.ready() > 0;
        }
        if woken && self.resync_at.is_none() {
            self.resync_at = Some(now.boot + RESYNC_EVERY);
        }
        Ok(())
    }

    /// Wakes the keys of everything that changed since the last look.
    async fn read_changes(&mut self, now: Now) -> Result<(), Error> {
        let latest = *self.changes.borrow_and_update();
        while let Some(seen) = self.seen
            && seen < latest
        {
            match self.store.changes(None, seen, CHANGES_MAX).await {
                Ok((changes, upto)) => {
                    for change in &changes {
                        for one in &self.loops {
                            one.notice(change);
                        }
                    }
                    if upto <= seen {
                        break;
                    }
                    self.seen = Some(upto);
                }
                Err(store::Error::TooOld { .. }) => {
                    warn!(revision = seen.0, "fell behind the history; looking at everything");
                    self.seen = None;
                    for one in &self.loops {
                        one.missed_changes();
                    }
                    self.resync(now).await?;
                    self.seen = Some(latest);
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Wakes every key with active work. The next resync is set only if there is any (I-11).
    async fn resync(&mut self, now: Now) -> Result<(), Error> {
        let mut active = 0;
        for one in &self.loops {
            active += one.resync().await?;
        }
        debug!(active, "looked at everything active");
        self.resync_at = (active > 0).then(|| now.boot + RESYNC_EVERY);
        Ok(())
    }

    fn deadline(&self) -> Deadline {
        let mut deadline = Deadline { boot: self.retry_at.or(self.resync_at), wall: None };
        for one in &self.loops {
            let Deadline { boot, wall } = one.deadline();
            if self.retry_at.is_none() {
                deadline.add_boot(boot);
                deadline.add_wall(wall);
            }
        }
        deadline
    }

    fn spawn_ready(&self, tasks: &mut JoinSet<()>) {
        self.spawn_some(tasks, true, IN_FLIGHT_MAX);
        let is_late = self.loops.iter().any(|one| one.is_punctual() && one.ready() > 0);
        self.spawn_some(tasks, false, if is_late { IN_FLIGHT_BESIDE } else { IN_FLIGHT_MAX });
    }

    /// Starts ready keys of the punctual controllers, or of the others, with at most so many of each in flight.
    fn spawn_some(&self, tasks: &mut JoinSet<()>, punctual: bool, in_flight_max: usize) {
        for one in self.loops.iter().filter(|one| one.is_punctual() == punctual) {
            while one.running() < in_flight_max
                && let Some(run) = Arc::clone(one).start(0, &self.clock)
            {
                tasks.spawn(async move {
                    // What it came to is in the queue and in the log.
                    let (Step::Ran { .. } | Step::Idle(_)) = run.await;
                });
            }
        }
    }
}

/// A reconcile that was started and ends with its [`Step`].
type Run = BoxFuture<'static, Step>;

/// Says an error's first appearance and its end; the rounds between only at debug level.
fn log_outcome(controller: &'static str, key: &str, before: u32, failures: u32, result: &Result<Next, String>) {
    match result {
        Ok(_) if before > 0 => info!(controller, key, "{controller} works again for {key}"),
        Ok(next) => debug!(controller, key, ?next, "reconciled"),
        Err(error) if failures == 1 => warn!(controller, key, error, "{controller} failed for {key}; trying again"),
        Err(error) => debug!(controller, key, error, failures, "failed again"),
    }
}

fn log_panic(controller: &'static str, key: &str, text: &str) {
    error!(controller, key, error = text, "{controller} panicked for {key}; trying again");
}

#[cfg(test)]
mod tests;
