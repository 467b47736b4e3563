//! How many create and start calls are in flight (D-1302). A pod that finds no slot leaves its place in a queue and is woken, so that
//! waiting for the engine never keeps the driver from seeing exits.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use super::observed::PodKey;
use crate::driver::Waker;

/// The slots; cheap to clone.
#[derive(Clone)]
pub(super) struct Slots {
    state: Arc<Mutex<State>>,
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
        Self { state: Arc::new(Mutex::new(State { free: count.max(1), waiting: VecDeque::new() })), waker }
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
        state.waiting.retain(|other| other != key);
        Some(Slot { slots: self.clone() })
    }

    /// The pod does not want a slot any more.
    pub(super) fn settle(&self, key: &PodKey) {
        let mut state = self.state();
        let before = state.waiting.len();
        state.waiting.retain(|other| other != key);
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
