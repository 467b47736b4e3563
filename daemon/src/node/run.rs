//! The node's own tasks: the engine's event stream, sweeps while something runs, and the workers for chores.

use std::{collections::BTreeSet, future::Future, sync::atomic::Ordering, time::Duration};

use futures_util::{StreamExt as _, stream::BoxStream};
use jobd_api::registry::Kind;
use tokio::task::JoinSet;
use tracing::{info, warn};

use super::{
    Node, Shared,
    chores::Chore,
    lock,
    observed::{NodeFacts, PodKey},
};
use crate::{
    driver::Error,
    engine::{self, Engine, Event},
};

/// How soon a broken stream is opened again, and how seldom while the engine stays away.
const RECONNECT_MIN: Duration = Duration::from_millis(100);
const RECONNECT_MAX: Duration = Duration::from_secs(2);
/// The same while no pod has work for it (I-11); the first one that has does not wait.
const RECONNECT_IDLE: Duration = Duration::from_secs(60);
/// D-508.
const SWEEP_EVERY: Duration = Duration::from_secs(5);
/// How many uids are looked for in one read.
const UIDS_MAX: usize = 1000;
/// Removals in the background (D-1302).
const WORKERS: usize = 2;

impl<E: Engine> Node<E> {
    /// Runs until `shutdown`. Containers run on: the next start adopts them.
    pub async fn run(self, shutdown: impl Future<Output = ()> + Send) {
        let mut tasks = JoinSet::new();
        let node = self.clone();
        tasks.spawn(async move { node.shared.follow_engine().await });
        let node = self.clone();
        tasks.spawn(async move { node.shared.sweep_while_running().await });
        for _ in 0..WORKERS {
            let node = self.clone();
            tasks.spawn(async move { node.shared.work().await });
        }
        shutdown.await;
        tasks.shutdown().await;
        self.shared.cgroups.leave();
    }
}

/// For the simulation, which steps the node instead of running it.
impl<E: Engine> Node<E> {
    /// Opens the event stream as [`Self::run`] does; the caller feeds what comes into [`Self::apply`].
    ///
    /// # Errors
    /// When the engine does not answer.
    pub async fn connect(&self) -> Result<BoxStream<'static, Result<Event, engine::Error>>, engine::Error> {
        self.shared.connect().await
    }

    /// Takes in one event.
    pub fn apply(&self, event: &Event) {
        self.shared.apply(event);
    }

    /// The event stream ended.
    pub fn disconnected(&self) {
        self.shared.containers.disconnected();
    }

    /// Compares memory with the engine once.
    pub async fn sweep(&self) {
        self.shared.sweep().await;
    }

    /// Does the chores that are queued now.
    pub async fn do_chores(&self) {
        self.shared.work_once().await;
    }
}

impl<E: Engine> Shared<E> {
    fn apply(&self, event: &Event) {
        if let Some(key) = self.containers.apply(event) {
            self.waker.wake(key);
        }
    }

    /// Follows the engine's events for ever; after every gap everything is looked at again.
    async fn follow_engine(&self) {
        let mut pause = RECONNECT_MIN;
        let mut away = false;
        loop {
            match self.connect().await {
                Ok(mut events) => {
                    if away {
                        info!("the container engine answers again");
                    }
                    (pause, away) = (RECONNECT_MIN, false);
                    // Nothing is awaited between two events but the stream itself: an unread stream slows the engine (D-507).
                    while let Some(Ok(event)) = events.next().await {
                        self.apply(&event);
                    }
                    self.containers.disconnected();
                }
                Err(error) => {
                    if !away {
                        warn!(error = %error, "the container engine does not answer; pods wait and go on when it is back");
                    }
                    away = true;
                }
            }
            self.rest(pause).await;
            pause = (pause * 2).min(RECONNECT_IDLE);
        }
    }

    /// Waits before the engine is asked again: short while a pod waits for it, else longer each time.
    async fn rest(&self, pause: Duration) {
        tokio::time::sleep(pause.min(RECONNECT_MAX)).await;
        if pause <= RECONNECT_MAX || !self.active().await.is_ok_and(|pods| pods.is_empty()) {
            return;
        }
        tokio::select! {
            () = tokio::time::sleep(pause.saturating_sub(RECONNECT_MAX)) => {}
            () = self.wanted.notified() => {}
        }
    }

    /// Opens the stream, then lists, then wakes everything (D-508).
    async fn connect(&self) -> Result<BoxStream<'static, Result<Event, engine::Error>>, engine::Error> {
        let info = self.engine.info().await?;
        self.cgroups.detect(&info);
        let events = self.engine.events(&self.label(), None, None).await?;
        let listed = self.engine.list(&self.label()).await?;
        {
            let mut facts = lock(&self.facts);
            let new = NodeFacts { cpus: info.cpus, memory_bytes: info.memory_bytes, ..(**facts).clone() };
            *facts = std::sync::Arc::new(new);
        }
        for key in self.containers.connected(listed, info.live_restore) {
            self.waker.wake(key);
        }
        match self.active().await {
            Ok(keys) => keys.into_iter().for_each(|key| self.waker.wake(key)),
            // The driver's resync finds them.
            Err(error) => warn!(error = %error, "the store does not answer"),
        }
        self.find_left_behind().await;
        self.chores.add(Chore::CleanNetworks);
        Ok(events)
    }

    /// Files of pods that were deleted while nobody watched, and whatever else is left of pods.
    async fn find_left_behind(&self) {
        let directories = self.directories.clone();
        let Ok(mut uids) = tokio::task::spawn_blocking(move || directories.uids()).await else { return };
        uids.extend(self.cgroups.uids());
        uids.sort();
        uids.dedup();
        // Finished pods have files too, thousands of them (I-5).
        for uids in uids.chunks(UIDS_MAX) {
            // The next connect tries again what the store did not answer.
            for uid in self.store.missing(Kind::Pod, uids).await.unwrap_or_default() {
                self.left_behind(uid);
            }
        }
        // Among them those whose containers could not be removed while the engine was away.
        let gone: Vec<PodKey> = lock(&self.gone).keys().cloned().collect();
        gone.into_iter().for_each(|key| self.waker.wake(key));
    }

    /// Pods that are not over, and those with attempts that are not.
    pub(super) async fn active(&self) -> Result<Vec<PodKey>, Error> {
        if self.missed_changes.swap(false, Ordering::Relaxed) {
            self.find_left_behind().await;
        }
        let key = |key: crate::store::Key| PodKey { namespace: key.namespace, name: key.name };
        let mut keys: BTreeSet<PodKey> = self.store.active(Kind::Pod).await?.into_iter().map(key).collect();
        let open = self.store.open_attempts().await?;
        let uids: BTreeSet<String> = open.into_iter().map(|attempt| attempt.pod_uid).collect();
        for uid in uids {
            match self.store.get_by_uid(Kind::Pod, &uid).await? {
                Some(stored) => {
                    keys.insert(key(stored.key));
                }
                None => {
                    keys.insert(self.left_behind(uid));
                }
            }
        }
        Ok(keys.into_iter().collect())
    }

    async fn sweep_while_running(&self) {
        loop {
            if self.containers.held_running().is_empty() {
                // Idle means idle (I-11).
                self.containers.running.notified().await;
            }
            tokio::time::sleep(SWEEP_EVERY).await;
            self.sweep().await;
        }
    }

    /// Compares memory with the engine once (D-508, D-1604).
    pub(super) async fn sweep(&self) {
        if !self.containers.is_connected() {
            return;
        }
        let Ok(listed) = self.engine.list(&self.label()).await else { return };
        for key in self.containers.swept(&listed, self.clock.now().wall) {
            self.waker.wake(key);
        }
        for (id, pid) in self.containers.held_running() {
            // A hint only: in a process namespace of our own no pid is seen, so the engine has the last word.
            let missing = pid > 0 && !std::path::Path::new(&format!("/proc/{pid}")).exists();
            let lost = missing && self.engine.is_lost(&id).await.unwrap_or(false);
            if let Some(key) = self.containers.swept_process(&id, lost) {
                self.waker.wake(key);
            }
        }
    }
}
