//! Mounted config maps, secrets and downward API files follow their objects while the pod runs, as a kubelet sees to. Which pod mounts what
//! is known in memory only, and only for pods that run and have such volumes (I-11).

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    hash::{DefaultHasher, Hash as _, Hasher as _},
    sync::Mutex,
};

use jobd_api::registry::Kind;
use k8s_openapi::api::core::v1::Pod;

use super::{
    Shared, lock,
    observed::{PodKey, PodMemory},
    volumes,
};
use crate::{
    driver::Error,
    engine::Engine,
    store::{Attempt, Key, attempts::AttemptState},
    sys::Now,
};

/// Which pods mount which objects.
#[derive(Default)]
pub(super) struct Mounted(Mutex<State>);

#[derive(Default)]
struct State {
    by_object: HashMap<Key, BTreeSet<PodKey>>,
    by_pod: HashMap<PodKey, Vec<Key>>,
    /// Pods of which an object changed since they were last looked at.
    stale: HashSet<PodKey>,
}

impl Mounted {
    fn enter(&self, pod: &PodKey, objects: Vec<Key>) {
        let mut state = lock(&self.0);
        for object in &objects {
            state.by_object.entry(object.clone()).or_default().insert(pod.clone());
        }
        state.by_pod.insert(pod.clone(), objects);
    }

    pub(super) fn leave(&self, pod: &PodKey) {
        let mut state = lock(&self.0);
        state.stale.remove(pod);
        for object in state.by_pod.remove(pod).unwrap_or_default() {
            if let Some(pods) = state.by_object.get_mut(&object) {
                pods.remove(pod);
                if pods.is_empty() {
                    state.by_object.remove(&object);
                }
            }
        }
    }

    /// An object was made, changed or deleted; answers who has to look.
    pub(super) fn changed(&self, object: &Key) -> Vec<PodKey> {
        let mut state = lock(&self.0);
        let pods: Vec<PodKey> = state.by_object.get(object).into_iter().flatten().cloned().collect();
        state.stale.extend(pods.iter().cloned());
        pods
    }

    fn take(&self, pod: &PodKey) -> bool {
        lock(&self.0).stale.remove(pod)
    }
}

/// What a volume can show of the pod itself and may change while it runs.
fn fingerprint(pod: &Pod) -> u64 {
    let mut hasher = DefaultHasher::new();
    (&pod.metadata.labels, &pod.metadata.annotations).hash(&mut hasher);
    hasher.finish()
}

impl<E: Engine> Shared<E> {
    /// Brings the files of a running pod up to date if something that they show may have changed.
    pub(super) async fn refresh_volumes(
        &self,
        key: &PodKey,
        pod: &Pod,
        attempts: &[Attempt],
        memory: &mut PodMemory,
        now: Now,
    ) -> Result<(), Error> {
        if !volumes::follow_objects(pod) {
            return Ok(());
        }
        if attempts.iter().all(|attempt| attempt.state == AttemptState::Ended) {
            if memory.shown.take().is_some() {
                self.mounted.leave(key);
            }
            return Ok(());
        }
        if memory.shown.is_none() {
            let objects = volumes::objects(pod).into_iter();
            let objects = objects.map(|(kind, name)| Key::new(kind, key.namespace.clone(), name)).collect();
            self.mounted.enter(key, objects);
        }
        // Taken before the objects are read: what changes afterwards is another turn's.
        let stale = self.mounted.take(key);
        let shown = Some(fingerprint(pod));
        if memory.shown == shown && !stale {
            return Ok(());
        }
        let sources = self.sources(pod).await?;
        let (directories, pod, facts) = (self.directories.clone(), pod.clone(), self.facts());
        let stamp = now.wall.as_millisecond().to_string();
        let done = tokio::task::spawn_blocking(move || volumes::refresh(&directories, &pod, &sources, &facts, &stamp));
        done.await.map_err(|error| Error::Other(error.to_string()))?;
        memory.shown = shown;
        Ok(())
    }
}

/// Whether objects of this kind can be mounted.
pub(super) fn is_mountable(kind: Kind) -> bool {
    matches!(kind, Kind::ConfigMap | Kind::Secret)
}
