//! The simulation's time: both clocks of the machine, and a third one that nothing can touch, for the engine and the checkers.

use std::{
    sync::{Mutex, MutexGuard},
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};
use jobd::sys::{Clock, Now};

/// Stands still until it is moved.
#[derive(Debug)]
pub struct VirtualClock(Mutex<State>);

#[derive(Clone, Copy, Debug)]
struct State {
    /// Since the simulation began. Never jumps and never starts again.
    passed: Duration,
    /// Since the machine's last start.
    boot: Duration,
    wall: Timestamp,
}

impl Default for VirtualClock {
    fn default() -> Self {
        let wall = "2026-06-01T12:00:00Z".parse().expect("a timestamp");
        Self(Mutex::new(State { passed: Duration::ZERO, boot: Duration::from_secs(100), wall }))
    }
}

impl VirtualClock {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().expect("no panic while held")
    }

    /// Time passes.
    pub fn advance(&self, by: Duration) {
        let mut state = self.state();
        state.passed += by;
        state.boot += by;
        state.wall += by;
    }

    /// Somebody sets the wall clock.
    pub fn jump(&self, by: SignedDuration) {
        self.state().wall += by;
    }

    /// The machine starts anew.
    pub fn reboot(&self) {
        self.state().boot = Duration::from_secs(20);
    }

    /// Since the simulation began.
    #[must_use]
    pub fn passed(&self) -> Duration {
        self.state().passed
    }
}

impl Clock for VirtualClock {
    fn now(&self) -> Now {
        let State { passed: _, boot, wall } = *self.state();
        Now { wall, boot }
    }
}
