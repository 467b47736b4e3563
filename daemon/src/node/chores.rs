//! What is done off the critical path by two workers (D-1302): logs are copied, containers removed, and what is left of deleted
//! pods is cleaned up. Containers that wait to be started go first. A chore that fails is dropped; the pod's next look plans it again.

use std::{
    collections::{BTreeSet, VecDeque},
    pin::pin,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use jobd_api::registry::Kind;
use tokio::sync::Notify;
use tracing::{debug, warn};

use super::{CHORES_AGAIN, Shared, lock, logs, observed::PodKey, slots::Slots, spec, status};
use crate::{
    driver::Error,
    engine::{self, Engine},
    store::{Attempt, Guard, Request, Write, attempts::AttemptState},
    sys::Now,
};

/// How many chores may wait for containers to be started first: each is an ended container that the engine still holds (D-1304).
const WAITING_MAX: usize = 256;

/// One thing to do.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Chore {
    /// Keep an ended attempt's log, then remove its container (D-612).
    Collect { key: PodKey, uid: String, container: String, attempt: u32 },
    /// Remove a container that no attempt accounts for (I-4, R-5).
    RemoveOrphan { key: PodKey, id: String },
    /// Remove everything of a pod that is gone.
    CleanPod { key: PodKey, uid: String },
    /// Remove the networks of namespaces that are gone (D-213).
    CleanNetworks,
}

impl Chore {
    /// Whose chore it is; none: nobody's.
    fn key(&self) -> Option<&PodKey> {
        match self {
            Self::Collect { key, .. } | Self::RemoveOrphan { key, .. } | Self::CleanPod { key, .. } => Some(key),
            Self::CleanNetworks => None,
        }
    }
}

/// What is left of pods that are gone: uids whose files, containers and attempts may still be there.
#[derive(Debug, Default)]
pub(super) struct Gone {
    pub(super) uids: BTreeSet<String>,
    /// Since boot: it could not be cleaned up, and is not tried again before.
    not_before: Duration,
}

/// The queue; each chore is in it once.
#[derive(Default)]
pub(super) struct Chores {
    queue: Mutex<Queue>,
    added: Notify,
}

#[derive(Default)]
struct Queue {
    waiting: VecDeque<Chore>,
    /// Waiting or being done.
    known: BTreeSet<Chore>,
}

impl Chores {
    pub(super) fn add(&self, chore: Chore) {
        let mut queue = lock(&self.queue);
        if queue.known.insert(chore.clone()) {
            queue.waiting.push_back(chore);
            self.added.notify_one();
        }
    }

    /// The next one, once no pod waits for a slot or too many chores wait.
    async fn next(&self, slots: &Slots) -> Chore {
        loop {
            let (mut added, mut calm) = (pin!(self.added.notified()), pin!(slots.calm()));
            added.as_mut().enable();
            calm.as_mut().enable();
            if let Some(chore) = self.take(slots.are_short()) {
                return chore;
            }
            tokio::select! {
                () = added => {}
                () = calm => {}
            }
        }
    }

    fn take(&self, starts_wait: bool) -> Option<Chore> {
        let mut queue = lock(&self.queue);
        if starts_wait && queue.waiting.len() <= WAITING_MAX {
            return None;
        }
        let chore = queue.waiting.pop_front()?;
        if !queue.waiting.is_empty() {
            // More than one may have been added under one notification.
            self.added.notify_one();
        }
        Some(chore)
    }

    fn done(&self, chore: &Chore) {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner).known.remove(chore);
    }
}

/// Processes that were killed are gone a moment later, and only then their cgroup goes.
const ENDING_PAUSE: Duration = Duration::from_millis(50);
/// How often is looked; who cannot be killed is left behind.
const ENDING_LOOKS: u32 = 40;

/// Repeats what answers that it has ended processes, until there are none.
async fn end_all(mut ends: impl FnMut() -> bool) {
    for _ in 0..ENDING_LOOKS {
        if !ends() {
            return;
        }
        tokio::time::sleep(ENDING_PAUSE).await;
    }
}

/// How a chore ended.
enum Outcome {
    Done,
    /// A reader is still at it; its end wakes the pod.
    Later,
}

impl<E: Engine> Shared<E> {
    /// Does chores for ever.
    pub(super) async fn work(&self) {
        loop {
            let chore = self.chores.next(&self.slots).await;
            let result = self.perform(&chore).await;
            self.chores.done(&chore);
            match result {
                Ok(Outcome::Done | Outcome::Later) => {}
                Err(error) => {
                    let (namespace, name) = chore.key().map(|key| (&key.namespace, &key.name)).unzip();
                    debug!(namespace, pod = name, error = %error, "chore failed; it is planned again");
                }
            }
        }
    }

    /// Does what is queued now; for the simulation, which has no workers.
    pub(super) async fn work_once(&self) {
        loop {
            let Some(chore) = lock(&self.chores.queue).waiting.pop_front() else { return };
            let _ = self.perform(&chore).await;
            self.chores.done(&chore);
        }
    }

    /// Plans what ended attempts and unaccounted containers of a pod need. Answers whether anything is left to do.
    pub(super) fn plan_chores(&self, key: &PodKey, uid: &str, attempts: &[Attempt]) -> bool {
        let mut planned = false;
        for attempt in attempts {
            let Attempt { container, attempt: number, state, logs_copied, removed, .. } = attempt;
            if *state == AttemptState::Ended && !(*logs_copied && *removed) {
                planned = true;
                self.chores.add(Chore::Collect {
                    key: key.clone(),
                    uid: uid.to_owned(),
                    container: container.clone(),
                    attempt: *number,
                });
            }
        }
        for (id, identity) in self.containers.of_pod(key) {
            let accounted = attempts.iter().any(|attempt| {
                attempt.container == identity.container && attempt.attempt == identity.attempt && !attempt.removed
            });
            if identity.uid == uid && !accounted {
                planned = true;
                self.chores.add(Chore::RemoveOrphan { key: key.clone(), id });
            }
        }
        planned
    }

    /// Plans the removal of what other uids left under this pod's name. Answers when to look again, if that failed a moment ago.
    pub(super) fn clean_up(&self, key: &PodKey, uid: Option<&str>, now: Now) -> Option<Duration> {
        let mut uids = {
            let mut gone = lock(&self.gone);
            if let Some(left) = gone.get(key).filter(|left| now.boot < left.not_before) {
                return Some(left.not_before);
            }
            gone.remove(key).unwrap_or_default().uids
        };
        uids.extend(self.containers.of_pod(key).into_iter().map(|(_, identity)| identity.uid));
        for other in uids.into_iter().filter(|other| Some(other.as_str()) != uid && !other.is_empty()) {
            self.chores.add(Chore::CleanPod { key: key.clone(), uid: other });
        }
        None
    }

    /// A pod is gone whose name nobody knows any more.
    pub(super) fn left_behind(&self, uid: String) -> PodKey {
        let key = PodKey { namespace: String::new(), name: String::new() };
        lock(&self.gone).entry(key.clone()).or_default().uids.insert(uid);
        key
    }

    /// Cleaning failed: it is tried again after a while, as nothing else would look at a pod that is gone. While the engine is away
    /// that waits for its return.
    fn clean_later(&self, key: &PodKey, uid: &str) {
        {
            let mut gone = lock(&self.gone);
            let left = gone.entry(key.clone()).or_default();
            left.uids.insert(uid.to_owned());
            left.not_before = self.clock.now().boot + CHORES_AGAIN;
        }
        if self.containers.is_connected() {
            self.waker.wake(key.clone());
        }
    }

    async fn perform(&self, chore: &Chore) -> Result<Outcome, Error> {
        match chore {
            Chore::Collect { key, uid, container, attempt } => self.collect(key, uid, container, *attempt).await,
            Chore::RemoveOrphan { key, id } => {
                let PodKey { namespace, name } = key;
                warn!(namespace, pod = name, container = id, "removing a container that no attempt accounts for");
                self.remove_container(id).await?;
                Ok(Outcome::Done)
            }
            Chore::CleanPod { key, uid } => {
                self.clean_pod(key, uid).await.inspect_err(|_| self.clean_later(key, uid))?;
                Ok(Outcome::Done)
            }
            Chore::CleanNetworks => self.clean_networks().await.map(|()| Outcome::Done),
        }
    }

    async fn collect(&self, key: &PodKey, uid: &str, container: &str, number: u32) -> Result<Outcome, Error> {
        let Some((_, pod)) = self.pod(key).await? else { return Ok(Outcome::Done) };
        if pod.metadata.uid.as_deref() != Some(uid) {
            return Ok(Outcome::Done);
        }
        let find = |attempts: Vec<Attempt>| {
            attempts.into_iter().find(|one| one.container == container && one.attempt == number)
        };
        let Some(attempt) = find(self.store.attempts(uid).await?) else { return Ok(Outcome::Done) };
        if attempt.state != AttemptState::Ended || (attempt.logs_copied && attempt.removed) {
            return Ok(Outcome::Done);
        }
        let name = spec::name(uid, container, number);
        let id = attempt.container_id.clone().unwrap_or(name);
        let path = logs::path(&self.directories.pod(uid), container, number);
        if !attempt.logs_copied && attempt.exit.is_some() && !path.exists() {
            logs::copy(&*self.engine, &id, &path).await.map_err(|error| Error::Other(error.to_string()))?;
        }
        if lock(&self.readers).contains_key(&id) {
            return Ok(Outcome::Later);
        }
        self.remove_container(&id).await?;
        // Whatever still runs although its container is gone ends here (D-610).
        end_all(|| self.cgroups.remove(uid, container, number)).await;
        if status::is_terminal(pod.status.as_ref().and_then(|status| status.phase.as_deref())) {
            let (directories, uid) = (self.directories.clone(), uid.to_owned());
            let removed = tokio::task::spawn_blocking(move || directories.remove_volumes(&uid)).await;
            removed.map_err(|error| Error::Other(error.to_string()))?;
        }
        self.finish_attempt(key, Attempt { logs_copied: true, removed: true, ..attempt }).await?;
        Ok(Outcome::Done)
    }

    /// Records that nothing is left of an attempt but its log. Guarded by the pod, so that no row outlives it.
    async fn finish_attempt(&self, key: &PodKey, attempt: Attempt) -> Result<(), Error> {
        for _ in 0..8 {
            let Some((stored, pod)) = self.pod(key).await? else { return Ok(()) };
            if pod.metadata.uid.as_deref() != Some(attempt.pod_uid.as_str()) {
                return Ok(());
            }
            let guards = vec![Guard::Unchanged { key: stored.key.clone(), revision: stored.revision }];
            let writes = vec![Write::Attempt(Box::new(attempt.clone()))];
            match self.store.write(Request { guards, writes, urgent: true }).await {
                Err(crate::store::Error::Conflict { .. }) => {}
                Err(error) => return Err(error.into()),
                Ok(_) => return Ok(()),
            }
        }
        Ok(())
    }

    /// Gone is success (D-804).
    async fn remove_container(&self, id: &str) -> Result<(), Error> {
        self.containers.touch(id);
        match self.engine.remove(id, true).await {
            Ok(()) | Err(engine::Error::NotFound(_)) => {
                self.containers.forget(id);
                Ok(())
            }
            Err(error) => Err(Error::Other(error.to_string())),
        }
    }

    async fn clean_pod(&self, key: &PodKey, uid: &str) -> Result<(), Error> {
        if self.store.get_by_uid(Kind::Pod, uid).await?.is_some() {
            return Ok(());
        }
        let containers = self.containers.of_pod(key).into_iter().filter(|(_, identity)| identity.uid == uid);
        let mut ids: BTreeSet<String> = containers.map(|(id, _)| id).collect();
        let attempts = self.store.attempts(uid).await?;
        ids.extend(attempts.iter().filter(|attempt| !attempt.removed).map(|attempt| {
            let id = attempt.container_id.clone();
            id.unwrap_or_else(|| spec::name(uid, &attempt.container, attempt.attempt))
        }));
        // One that cannot be removed keeps none of the others.
        let mut failed = None;
        for id in &ids {
            if let Err(error) = self.remove_container(id).await {
                failed = Some(error);
            }
        }
        if let Some(error) = failed {
            return Err(error);
        }
        if !attempts.is_empty() {
            let writes = vec![Write::ForgetAttempts { pod_uid: uid.to_owned() }];
            self.store.write(Request { guards: Vec::new(), writes, urgent: true }).await?;
        }
        self.images.forget_pod(uid);
        end_all(|| self.cgroups.remove_pod(uid)).await;
        let (directories, owned) = (self.directories.clone(), uid.to_owned());
        let removed = tokio::task::spawn_blocking(move || directories.remove_pod(&owned)).await;
        match removed {
            Ok(Ok(())) => {}
            Ok(Err(error)) => warn!(uid, error = %error, "files of a deleted pod remain"),
            Err(error) => warn!(uid, error = %error, "files of a deleted pod remain"),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::driver::Waker;

    fn orphan(number: usize) -> Chore {
        let key = PodKey { namespace: "default".to_owned(), name: format!("p{number}") };
        Chore::RemoveOrphan { key, id: format!("c{number}") }
    }

    fn pod(name: &str) -> PodKey {
        PodKey { namespace: "default".to_owned(), name: name.to_owned() }
    }

    #[tokio::test]
    async fn chores_come_after_containers_that_wait_to_be_started_d1302() {
        let (chores, slots) = (Chores::default(), Slots::new(1, Waker::default()));
        chores.add(orphan(0));
        let slot = slots.acquire(&pod("runs"));
        assert_eq!(chores.next(&slots).await, orphan(0), "nobody waits for a slot");
        assert!(slots.acquire(&pod("waits")).is_none());
        chores.add(orphan(1));
        let turn = async {
            tokio::task::yield_now().await;
            assert_eq!(chores.take(slots.are_short()), None);
            drop(slot);
            assert_eq!(chores.take(slots.are_short()), None, "the slot is promised to the pod that waits");
            drop(slots.acquire(&pod("waits")));
        };
        let (next, ()) = tokio::join!(chores.next(&slots), turn);
        assert_eq!(next, orphan(1));
    }

    #[test]
    fn not_more_than_a_few_hundred_ended_containers_wait() {
        let (chores, slots) = (Chores::default(), Slots::new(1, Waker::default()));
        let _slot = slots.acquire(&pod("runs"));
        assert!(slots.acquire(&pod("waits")).is_none());
        (0..=WAITING_MAX).for_each(|number| chores.add(orphan(number)));
        assert_eq!(chores.take(slots.are_short()), Some(orphan(0)));
        assert_eq!(chores.take(slots.are_short()), None);
    }
}
