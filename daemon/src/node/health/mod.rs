//! Probes and lifecycle hooks, really run: what they said of each running container, and the tasks that ask. All of it is in memory: after
//! a restart of the daemon a container is taken for what its status said last. Only containers that have a probe or a hook are known
//! here (I-11); rules are in `tally`, and what follows from the results is `decide`'s.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex},
    time::Duration,
};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Container as PodContainer, ContainerStatus, LifecycleHandler, Pod};
use tokio::{
    sync::{OnceCell, watch},
    task::AbortHandle,
};
use tracing::info;

use super::{
    events, lock,
    observed::{Health, Hook, NodeFacts, PodKey, ProbeKind},
};
use crate::{
    driver::Waker,
    engine::Engine,
    recorder::{EventSpec, Recorder},
    store::{Request, Store},
    sys::{Clock, Now},
};

mod grpc;
mod handler;
mod http;
mod tally;
mod tls;
mod worker;

use tally::Schedule;
use worker::Worker;

/// Who a probe or hook is about, as long as one engine container runs.
pub(super) struct Subject {
    key: PodKey,
    pod: Arc<Pod>,
    container: PodContainer,
    /// The engine's id.
    id: String,
    /// The id of the container that owns the network: its sandbox or itself.
    network: String,
    /// Where a pod on the host's network is reached.
    host_ip: Option<String>,
    address: OnceCell<String>,
}

/// What the probes have said so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Verdicts {
    started: bool,
    ready: bool,
    failed: Option<ProbeKind>,
    /// The pod is being deleted: only readiness is still asked for.
    quiet: bool,
}

/// A task that ends with its container.
struct Task(AbortHandle);

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// One running container that has probes or hooks.
struct Entry {
    id: String,
    verdicts: watch::Sender<Verdicts>,
    post_start: Hook,
    /// Why its postStart hook failed.
    failure: Option<String>,
    pre_stop: Hook,
    probed: bool,
    tasks: Vec<Task>,
}

impl Entry {
    fn hook(&mut self, which: Which) -> &mut Hook {
        match which {
            Which::PostStart => &mut self.post_start,
            Which::PreStop => &mut self.pre_stop,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Which {
    PostStart,
    PreStop,
}

type Entries = HashMap<PodKey, BTreeMap<String, Entry>>;

/// All of them; cheap to clone.
pub(super) struct Vitals<E> {
    shared: Arc<Shared<E>>,
}

struct Shared<E> {
    engine: Arc<E>,
    store: Store,
    recorder: Arc<Recorder>,
    clock: Arc<dyn Clock>,
    waker: Waker<PodKey>,
    entries: Mutex<Entries>,
}

/// A container of a pod that runs.
pub(super) struct Running<'a> {
    pub(super) key: &'a PodKey,
    pub(super) pod: &'a Pod,
    pub(super) container: &'a PodContainer,
    pub(super) id: &'a str,
    pub(super) sandbox: Option<&'a str>,
    pub(super) node: &'a NodeFacts,
}

impl Running<'_> {
    fn subject(&self) -> Arc<Subject> {
        let Self { key, pod, container, id, sandbox, node } = self;
        let on_host = pod.spec.as_ref().and_then(|spec| spec.host_network).unwrap_or_default();
        Arc::new(Subject {
            key: (*key).clone(),
            pod: Arc::new((*pod).clone()),
            container: (*container).clone(),
            id: (*id).to_owned(),
            network: sandbox.unwrap_or(id).to_owned(),
            host_ip: on_host.then(|| node.host_ip.clone()),
            address: OnceCell::new(),
        })
    }

    /// What its status says, if that is about this very container.
    fn status(&self) -> Option<&ContainerStatus> {
        let status = self.pod.status.as_ref()?;
        let all = status.container_statuses.iter().chain(&status.init_container_statuses).flatten();
        let id = format!("docker://{}", self.id);
        all.into_iter().find(|one| one.name == self.container.name && one.container_id.as_ref() == Some(&id))
    }

    fn entry(&self) -> Entry {
        let fresh = Health::unasked(self.container);
        let was = self.status();
        let verdicts = Verdicts {
            started: fresh.started || was.is_some_and(|was| was.started == Some(true)),
            ready: fresh.ready || was.is_some_and(|was| was.ready),
            failed: None,
            quiet: false,
        };
        Entry {
            id: self.id.to_owned(),
            verdicts: watch::Sender::new(verdicts),
            // Begun by the process that started the container, or lost with it, as with a kubelet.
            post_start: Hook::Done,
            failure: None,
            pre_stop: fresh.pre_stop,
            probed: false,
            tasks: Vec::new(),
        }
    }
}

/// Whether anything is to be done for it.
pub(super) fn concerns(container: &PodContainer) -> bool {
    container.lifecycle.is_some() || probes(container).next().is_some()
}

fn probes(container: &PodContainer) -> impl Iterator<Item = (ProbeKind, &k8s_openapi::api::core::v1::Probe)> {
    let all = [
        (ProbeKind::Startup, &container.startup_probe),
        (ProbeKind::Liveness, &container.liveness_probe),
        (ProbeKind::Readiness, &container.readiness_probe),
    ];
    all.into_iter().filter_map(|(kind, probe)| Some((kind, probe.as_ref()?)))
}

impl<E: Engine> Vitals<E> {
    pub(super) fn new(
        engine: Arc<E>,
        store: Store,
        recorder: Arc<Recorder>,
        clock: Arc<dyn Clock>,
        waker: Waker<PodKey>,
    ) -> Self {
        let entries = Mutex::default();
        Self { shared: Arc::new(Shared { engine, store, recorder, clock, waker, entries }) }
    }

    /// What is known of a running container. From the first look on its probes are run.
    pub(super) fn look(&self, of: &Running<'_>, started_at: Option<Timestamp>, now: Now) -> Health {
        let mut entries = lock(&self.shared.entries);
        let own = entries.entry(of.key.clone()).or_default();
        if own.get(&of.container.name).is_none_or(|entry| entry.id != of.id) {
            own.insert(of.container.name.clone(), of.entry());
        }
        let Some(entry) = own.get_mut(&of.container.name) else { return Health::default() };
        let deleting = of.pod.metadata.deletion_timestamp.is_some();
        entry.verdicts.send_if_modified(|verdicts| std::mem::replace(&mut verdicts.quiet, deleting) != deleting);
        if entry.post_start == Hook::Done && !entry.probed {
            entry.probed = true;
            self.begin_probes(of, started_at, now, entry);
        }
        let Verdicts { started, ready, failed, quiet } = *entry.verdicts.borrow();
        let Entry { post_start, pre_stop, .. } = *entry;
        // A pod that is being deleted is ended by that, and by nothing else.
        Health { started, ready, failed: failed.filter(|_| !quiet), post_start, pre_stop }
    }

    fn begin_probes(&self, of: &Running<'_>, started_at: Option<Timestamp>, now: Now, entry: &mut Entry) {
        let mut subject = None;
        let ago = started_at.and_then(|at| Duration::try_from(now.wall.duration_since(at)).ok());
        let started = now.boot.saturating_sub(ago.unwrap_or_default());
        let accepted = of.pod.status.as_ref().and_then(|status| status.start_time.as_ref());
        let ago = accepted.and_then(|at| Duration::try_from(now.wall.duration_since(at.0)).ok());
        let base = now.boot.saturating_sub(ago.unwrap_or_default());
        for (kind, probe) in probes(of.container) {
            if kind == ProbeKind::Startup && entry.verdicts.borrow().started {
                continue;
            }
            let worker = Worker {
                shared: Arc::clone(&self.shared),
                subject: Arc::clone(subject.get_or_insert_with(|| of.subject())),
                kind,
                probe: probe.clone(),
                schedule: Schedule::new(kind, probe, started, base),
                verdicts: entry.verdicts.clone(),
            };
            entry.tasks.push(Task(tokio::spawn(worker.run()).abort_handle()));
        }
    }

    /// Begins a container's postStart hook, if it has one: it was just started.
    pub(super) fn begin_post_start(&self, of: &Running<'_>) {
        let hook = of.container.lifecycle.as_ref().and_then(|lifecycle| lifecycle.post_start.clone());
        if let Some(hook) = hook {
            self.begin(of, Which::PostStart, hook, None);
        }
    }

    /// Why its postStart hook failed, if it did.
    pub(super) fn post_start_failure(&self, key: &PodKey, container: &str) -> Option<String> {
        lock(&self.shared.entries).get(key)?.get(container)?.failure.clone()
    }

    /// Begins its preStop hook, which has so much time.
    pub(super) fn begin_pre_stop(&self, of: &Running<'_>, within: Duration) {
        let hook = of.container.lifecycle.as_ref().and_then(|lifecycle| lifecycle.pre_stop.clone());
        if let Some(hook) = hook {
            self.begin(of, Which::PreStop, hook, Some(within));
        }
    }

    fn begin(&self, of: &Running<'_>, which: Which, hook: LifecycleHandler, within: Option<Duration>) {
        let subject = of.subject();
        let mut entries = lock(&self.shared.entries);
        let own = entries.entry(of.key.clone()).or_default();
        if own.get(&of.container.name).is_none_or(|entry| entry.id != of.id) {
            own.insert(of.container.name.clone(), of.entry());
        }
        let Some(entry) = own.get_mut(&of.container.name) else { return };
        *entry.hook(which) = Hook::Running;
        let shared = Arc::clone(&self.shared);
        let task = tokio::spawn(async move { shared.run_hook(&subject, which, &hook, within).await });
        entry.tasks.push(Task(task.abort_handle()));
    }

    /// The container does not run (any more).
    pub(super) fn ended(&self, key: &PodKey, container: &str) {
        let mut entries = lock(&self.shared.entries);
        if let Some(own) = entries.get_mut(key) {
            own.remove(container);
            if own.is_empty() {
                entries.remove(key);
            }
        }
    }

    /// Nothing of the pod runs.
    pub(super) fn forget(&self, key: &PodKey) {
        lock(&self.shared.entries).remove(key);
    }
}

impl<E: Engine> Shared<E> {
    async fn run_hook(&self, subject: &Subject, which: Which, hook: &LifecycleHandler, within: Option<Duration>) {
        let run = handler::run_hook(&*self.engine, subject, hook);
        let result = match within {
            // The kubelet goes on without it and says nothing.
            Some(within) => tokio::time::timeout(within, run).await.unwrap_or(Ok(())),
            None => run.await,
        };
        if let Err(error) = &result {
            let (PodKey { namespace, name }, container) = (&subject.key, &subject.container.name);
            info!(namespace, pod = name, container, error, "a lifecycle hook failed");
            let event = match which {
                Which::PostStart => events::failed_post_start(&subject.pod, container),
                Which::PreStop => events::failed_pre_stop(&subject.pod, container),
            };
            self.record(event).await;
        }
        if let Some(entry) =
            lock(&self.entries).get_mut(&subject.key).and_then(|own| own.get_mut(&subject.container.name))
            && entry.id == subject.id
        {
            *entry.hook(which) = if result.is_ok() { Hook::Done } else { Hook::Failed };
            entry.failure = result.err().filter(|_| which == Which::PostStart).or(entry.failure.take());
        }
        self.waker.wake(subject.key.clone());
    }

    /// Events of probes and hooks belong to no other write.
    async fn record(&self, event: EventSpec) {
        let Some(write) = self.recorder.record(&event, self.clock.now()) else { return };
        let request = Request { guards: Vec::new(), writes: vec![write], urgent: false };
        if let Err(error) = self.store.write(request).await {
            tracing::debug!(error = %error, "an event was not stored");
        }
    }
}
