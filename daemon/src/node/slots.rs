//! How many create and start calls are in flight (D-1302). A pod that finds no slot leaves its place in a queue and is woken, so that
//! waiting for the engine never keeps the driver from seeing exits.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::{Notify, futures::Notified};

use super::observed::PodKey;
use crate::driver::Waker;

/// The slots; cheap to clone.
#[derive(Clone)]
pub(super) struct Slots {
    state: Arc<Mutex<State>>,
    /// Told when nobody waits any more.
    calm: Arc<Notify>,
    waker: Waker<PodKey>,
}

struct State {
    free: usize,
    waiting: VecDeque<PodKey>,
}

/// One call's slot; free again when dropped.
pub(super) struct Slot {
    slots: Slots,
}

impl Slots {
    #[must_use]
    pub(super) fn new(count: usize, waker: Waker<PodKey>) -> Self {
        let state = State { free: count.max(1), waiting: VecDeque::new() };
        Self { state: Arc::new(Mutex::new(state)), calm: Arc::default(), waker }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A slot, or a place in the queue.
    pub(super) fn acquire(&self, key: &PodKey) -> Option<Slot> {
        let mut state = self.state();
        if state.free == 0 {
            if !state.waiting.contains(key) {
                state.waiting.push_back(key.clone());
            }
            return None;
        }
        state.free -= 1;
        self.leave(&mut state, key);
        Some(Slot { slots: self.clone() })
    }

    fn leave(&self, state: &mut State, key: &PodKey) {
        let waited = !state.waiting.is_empty();
        state.waiting.retain(|other| other != key);
        if waited && state.waiting.is_empty() {
            self.calm.notify_waiters();
        }
    }

    /// A pod waits for a slot.
    pub(super) fn are_short(&self) -> bool {
        !self.state().waiting.is_empty()
    }

    /// Ends when nobody waits for a slot any more, counted from this call on.
    pub(super) fn calm(&self) -> Notified<'_> {
        self.calm.notified()
    }

    /// The pod does not want a slot any more.
    pub(super) fn settle(&self, key: &PodKey) {
        let mut state = self.state();
        let before = state.waiting.len();
        self.leave(&mut state, key);
        if state.waiting.len() != before {
            self.nudge(&state);
        }
    }

    fn nudge(&self, state: &State) {
        for key in state.waiting.iter().take(state.free) {
            self.waker.wake(key.clone());
        }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut state = self.slots.state();
        state.free += 1;
        self.slots.nudge(&state);
    }
}
