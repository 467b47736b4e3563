//! The disk below the store: full for a while, or failing. It outlives the daemon.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use jobd::store::{
    Error, Request,
    judge::{Answer, Judge, Verdict},
};

use super::{clock::VirtualClock, dice::Dice, engine::ScriptedEngine, faults::Faults};

/// How long after an error a loop may wait before it tries again (J-801), and a little.
const PATIENCE: Duration = Duration::from_secs(75);

/// The disk.
pub struct Disk {
    clock: Arc<VirtualClock>,
    state: Mutex<State>,
}

struct State {
    dice: Dice,
    faults: Faults,
    /// Full until then.
    full: Option<Duration>,
    /// Not even the reserve is left.
    is_tight: bool,
    /// When it last failed somebody.
    failed: Option<Duration>,
    /// What it did since the last look, for the trace.
    told: Vec<String>,
}

impl Disk {
    #[must_use]
    pub fn new(clock: Arc<VirtualClock>, dice: Dice, faults: Faults) -> Self {
        let state = State { dice, faults, full: None, is_tight: false, failed: None, told: Vec::new() };
        Self { clock, state: Mutex::new(state) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Nothing more goes wrong with it.
    pub fn calm_down(&self) {
        let mut state = self.state();
        state.faults = Faults::default();
        state.full = None;
    }

    /// Somebody fills it, and makes room again after a while.
    pub fn fill(&self, by: Duration, is_tight: bool) {
        let mut state = self.state();
        state.full = Some(self.clock.passed() + by);
        state.is_tight = is_tight;
    }

    /// Some loop may still wait because a write failed.
    #[must_use]
    pub fn has_failed_lately(&self) -> bool {
        self.state().failed.is_some_and(|at| self.clock.passed() < at + PATIENCE)
    }

    pub fn take_told(&self) -> Vec<String> {
        std::mem::take(&mut self.state().told)
    }

    /// The verdict, and whether the daemon dies of it.
    fn decide(&self, request: &Request) -> (Verdict, bool) {
        let now = self.clock.passed();
        let mut state = self.state();
        let path = || "jobd.db".to_owned();
        let failed = || Error::Database { path: path(), reason: "disk I/O error".to_owned() };
        let State { dice, faults, full, is_tight, .. } = &mut *state;
        let is_full = full.is_some_and(|until| now < until);
        let (verdict, what, dies) = if is_full && (*is_tight || !request.urgent) {
            (Verdict { commits: false, answer: Answer::Failed(Error::Full { path: path() }) }, "is full", false)
        } else if dice.per_mille(faults.commit_failed) {
            (Verdict { commits: false, answer: Answer::Failed(failed()) }, "fails", false)
        } else if dice.per_mille(faults.commit_doubtful) {
            (Verdict { commits: true, answer: Answer::Failed(failed()) }, "fails, but has written", false)
        } else if dice.per_mille(faults.crash_in_commit) {
            (Verdict { commits: dice.one_in(2), answer: Answer::Never }, "sees the daemon die", true)
        } else {
            return (Verdict::FAIR, false);
        };
        state.failed = Some(now);
        state.told.push(format!("the disk {what}"));
        (verdict, dies)
    }
}

/// The disk as one daemon has it.
pub struct Mounted {
    pub disk: Arc<Disk>,
    pub engine: Arc<ScriptedEngine>,
}

impl Judge for Mounted {
    fn judge(&self, request: &Request) -> Verdict {
        let (verdict, dies) = self.disk.decide(request);
        if dies {
            self.engine.crashed.notify_one();
        }
        verdict
    }
}
