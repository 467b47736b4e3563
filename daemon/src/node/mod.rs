//! The pod runner: pods -> containers. Observes a pod, its attempts and its containers, lets [`decide`] say the one next thing, and does it
//! ([`act`]), until there is something to wait for. Never sees HTTP.
//!
//! Owns the attempts in the store, the directories of pods, and the containers with this instance's label. All rules are in pure files:
//! `decide`, `life`, `exit`, `spec`, `environment`, `status`, `restart`.

use std::{
    collections::{BTreeSet, HashMap},
    path::PathBuf,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use jiff::Timestamp;
use jobd_api::registry::Kind;
use k8s_openapi::api::core::v1::{Container as PodContainer, Pod, PodSpec};
use tokio::sync::Notify;
use tracing::debug;

use crate::{
    driver::{Controller, Error, Next, Own, Waker},
    engine::Engine,
    recorder::Recorder,
    store::{self, Attempt, Change, ChangeType, Store, Stored, attempts::AttemptState},
    sys::{Clock, Now},
};

mod act;
mod admit;
pub mod cgroup;
mod chores;
pub mod containers;
pub mod decide;
mod env_file;
pub mod environment;
pub mod events;
pub mod exit;
mod health;
pub mod host;
mod images;
mod life;
pub mod logs;
pub mod network;
pub mod observed;
mod read;
mod refresh;
pub mod restart;
mod run;
mod slots;
pub mod spec;
pub mod status;
pub mod streams;
pub mod termination;
pub mod volumes;

use cgroup::Cgroups;
use chores::{Chores, Gone};
use containers::Containers;
use health::{Running, Vitals};
use host::HostRoot;
use images::Images;
use observed::{
    Call, Health, History, Member, Memory, NodeFacts, Observed, Part, PodKey, PodMemory, Role, SANDBOX, Seen, Step,
    needs_sandbox, roster,
};
use refresh::Mounted;
use slots::Slots;
use volumes::Directories;

/// How many things are done for one pod in a row, before others have their turn.
const ACTIONS_MAX: usize = 64;
/// How soon a pod is looked at again when the engine does not answer; its return wakes the pod too.
const AWAY_AGAIN: Duration = Duration::from_secs(1);
/// How soon a pod with unfinished chores is looked at again: a failed chore is not repeated by itself.
const CHORES_AGAIN: Duration = Duration::from_secs(5);

/// What a node is made of.
pub struct Parts<E> {
    pub store: Store,
    pub engine: Arc<E>,
    pub clock: Arc<dyn Clock>,
    pub recorder: Arc<Recorder>,
    /// Connected to the driver that runs the node ([`crate::driver::Driver::add_with`]).
    pub waker: Waker<PodKey>,
    /// CPUs and memory may be zero: the engine is asked at every connect.
    pub facts: NodeFacts,
    /// `DATA`; pods lie in `DATA/pods`.
    pub data_dir: PathBuf,
    /// Where the root of the engine's host is seen (D-1001).
    pub host_root: PathBuf,
    /// How many create and start calls may be in flight (D-1302: a few for each core).
    pub engine_calls: usize,
}

/// The pod runner; cheap to clone.
pub struct Node<E> {
    shared: Arc<Shared<E>>,
}

impl<E> Clone for Node<E> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared) }
    }
}

pub(crate) struct Shared<E> {
    store: Store,
    engine: Arc<E>,
    clock: Arc<dyn Clock>,
    recorder: Arc<Recorder>,
    waker: Waker<PodKey>,
    facts: Mutex<Arc<NodeFacts>>,
    directories: Directories,
    cgroups: Cgroups,
    containers: Containers,
    images: Images<E>,
    vitals: Vitals<E>,
    mounted: Mounted,
    slots: Slots,
    chores: Chores,
    memory: Mutex<HashMap<PodKey, PodMemory>>,
    /// By the name that they had.
    gone: Mutex<HashMap<PodKey, Gone>>,
    /// What is left of pods is looked for at the next resync.
    missed_changes: AtomicBool,
    /// Namespaces that have a network (D-213).
    networks: Mutex<BTreeSet<String>>,
    /// Held while one is made.
    making_network: tokio::sync::Mutex<()>,
    /// Told when a pod waits for an engine that is away.
    wanted: Notify,
    /// Open readers per container: it is not removed while one reads.
    readers: Mutex<HashMap<String, usize>>,
    own: Own<PodKey>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What the loop for one pod does next.
enum Turn {
    /// Look again.
    Again,
    /// The waiting events are stored; look again.
    Told,
    /// Nothing before something changes, or this time since boot.
    Rest(Option<Duration>),
}

impl<E: Engine> Node<E> {
    #[must_use]
    pub fn new(parts: Parts<E>) -> Self {
        let Parts { store, engine, clock, recorder, waker, facts, data_dir, host_root, engine_calls } = parts;
        let directories = Directories::new(&data_dir, &facts.instance, HostRoot::new(&host_root));
        if !directories.secrets_in_memory {
            tracing::info!("no tmpfs at /run that jobd may write: volumes of secrets lie in the data directory");
        }
        let shared = Shared {
            images: Images::new(Arc::clone(&engine), Arc::clone(&clock), waker.clone()),
            vitals: Vitals::new(
                Arc::clone(&engine),
                store.clone(),
                Arc::clone(&recorder),
                Arc::clone(&clock),
                waker.clone(),
            ),
            slots: Slots::new(engine_calls, waker.clone()),
            mounted: Mounted::default(),
            chores: Chores::default(),
            containers: Containers::default(),
            directories,
            cgroups: Cgroups::new(&data_dir, &facts.instance),
            facts: Mutex::new(Arc::new(facts)),
            memory: Mutex::default(),
            gone: Mutex::default(),
            missed_changes: AtomicBool::new(false),
            networks: Mutex::default(),
            making_network: tokio::sync::Mutex::default(),
            readers: Mutex::default(),
            own: Own::default(),
            wanted: Notify::new(),
            store,
            engine,
            clock,
            recorder,
            waker,
        };
        Self { shared: Arc::new(shared) }
    }

    /// Whether the engine's event stream is open.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        self.shared.containers.is_connected()
    }

    /// How many pods have a running container, and how many containers run, as far as we know.
    #[must_use]
    pub fn count_running(&self) -> (usize, usize) {
        self.shared.containers.count_running()
    }
}

impl<E: Engine> Shared<E> {
    fn facts(&self) -> Arc<NodeFacts> {
        Arc::clone(&lock(&self.facts))
    }

    /// Does one thing after the other for one pod, until it has to wait.
    async fn run_pod(&self, key: &PodKey, memory: &mut PodMemory) -> Result<Next, Error> {
        let mut replayed = act::Replayed::new();
        // Once, and not at each turn: a pull that goes on is waited for, and its end wakes the pod.
        for own in memory.containers.values_mut() {
            if own.preparation.image == Step::Running {
                own.preparation.image = Step::Todo;
            }
        }
        for _ in 0..ACTIONS_MAX {
            let Some((stored, pod)) = self.pod(key).await? else {
                let again = self.clean_up(key, None, self.clock.now());
                self.vitals.forget(key);
                self.mounted.leave(key);
                *memory = PodMemory::default();
                return Ok(again.map_or(Next::Idle, Next::At));
            };
            let uid = pod.metadata.uid.clone().unwrap_or_default();
            let others = self.clean_up(key, Some(&uid), self.clock.now());
            let facts = self.facts();
            let bound = pod.spec.as_ref().and_then(|spec| spec.node_name.as_ref()) == Some(&facts.name);
            if !bound {
                return Ok(others.map_or(Next::Idle, Next::At));
            }
            if memory.uid != uid {
                *memory = PodMemory { uid: uid.clone(), ..PodMemory::default() };
            }
            let default = PodSpec::default();
            let spec = pod.spec.as_ref().unwrap_or(&default);
            let attempts = self.store.attempts(&uid).await?;
            let chores = self.plan_chores(key, &uid, &attempts);
            let now = self.clock.now();
            self.refresh_volumes(key, &pod, &attempts, memory, now).await?;
            let mut looks = looks(spec, &attempts, memory);
            for look in &mut looks {
                (look.container, look.history) = self.observe(look.attempts.last(), &mut look.memory, now).await;
                look.history.add(look.id().and_then(|id| replayed.get(id)));
            }
            self.look_at_health(key, &pod, &mut looks, &facts, now);
            let first = looks.first().filter(|look| look.role == Role::Sandbox);
            let since = first.and_then(|sandbox| Some(sandbox.attempts.last()?.created_at));
            let reset = restart::reset(looks.iter().map(|look| (look.spec, &look.attempts[..])));
            let members: Vec<Member<'_>> = looks.iter().map(|look| look.member(spec, since, reset)).collect();
            let mut anchors = std::mem::take(&mut memory.anchors);
            let observed = Observed { pod: &pod, members: &members, node: &facts, now };
            let decide::Decision { member, action, reason } = decide::decide(&observed, &mut anchors);
            memory.anchors = anchors;
            let sandbox = first.and_then(Look::running_id).map(str::to_owned);
            let address = first.and_then(Look::address).map(str::to_owned);
            drop(members);
            debug!(namespace = key.namespace, pod = key.name, reason, "{}", name_of(&action));
            let Some(look) = looks.get_mut(member) else { return Ok(Next::Idle) };
            let mut own = std::mem::take(&mut look.memory);
            let scene = act::Scene {
                key,
                stored: &stored,
                pod: &pod,
                role: look.role,
                name: look.name(),
                health: look.health,
                sandbox: sandbox.as_deref(),
                address: address.as_deref(),
                last: look.attempts.last(),
                container: &look.container,
                now,
                reason,
            };
            let turn = self.act(&scene, action, &mut own, &mut replayed).await;
            look.memory = own;
            for look in looks {
                memory.containers.insert(look.name().to_owned(), look.memory);
            }
            match turn? {
                Turn::Again => {}
                Turn::Told => memory.containers.values_mut().for_each(|one| one.events.clear()),
                Turn::Rest(due) => {
                    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
                    let idle = attempts.iter().all(|attempt| attempt.state == AttemptState::Ended);
                    if !chores && idle && status::is_terminal(phase) && pod.metadata.deletion_timestamp.is_none() {
                        // What is over costs no memory (I-5).
                        self.images.forget_pod(&uid);
                        *memory = PodMemory::default();
                    }
                    let due = [due, others, chores.then(|| now.boot + CHORES_AGAIN)].into_iter().flatten().min();
                    return Ok(due.map_or(Next::Idle, Next::At));
                }
            }
        }
        Ok(Next::At(self.clock.now().boot))
    }

    async fn pod(&self, key: &PodKey) -> Result<Option<(Stored, Pod)>, Error> {
        let key = store::Key::new(Kind::Pod, key.namespace.clone(), key.name.clone());
        match self.store.get(&key).await? {
            Some(stored) => {
                let pod = stored.typed()?;
                Ok(Some((stored, pod)))
            }
            None => Ok(None),
        }
    }

    /// What is known of the last attempt's container: from memory while it is current, else by inspection.
    async fn observe(&self, last: Option<&Attempt>, memory: &mut Memory, now: Now) -> (Seen, History) {
        let Some(last) = last else { return (Seen::Unknown, History::default()) };
        let asks = match last.state {
            AttemptState::Ended => false,
            AttemptState::Creating => {
                return (memory.calls.found.clone().unwrap_or(Seen::Unknown), History::default());
            }
            AttemptState::Starting => memory.calls.start != Call::Unsent,
            AttemptState::Fencing => memory.calls.fence != Call::Unsent,
            AttemptState::Running => true,
        };
        let Some(id) = last.container_id.as_deref().filter(|_| asks) else {
            return (Seen::Unknown, History::default());
        };
        let seen = match self.containers.current(id) {
            Some(seen) => seen,
            // A program that ends at once holds up the inspection while the engine takes its network apart (D-502).
            None => tokio::select! {
                biased;
                told = self.containers.told(id) => told,
                seen = self.inspect(id, now) => seen,
            },
        };
        if seen == Seen::Absent {
            memory.calls.doubt_since.get_or_insert(now.boot);
        }
        (seen, self.containers.history(id))
    }

    /// What probes and hooks say, for the containers that have any (I-11).
    fn look_at_health(&self, key: &PodKey, pod: &Pod, looks: &mut [Look<'_>], node: &NodeFacts, now: Now) {
        let sandbox = looks.first().filter(|look| look.role == Role::Sandbox).and_then(Look::running_id);
        let sandbox = sandbox.map(str::to_owned);
        for look in looks {
            let Some(container) = look.spec.filter(|spec| health::concerns(spec)) else { continue };
            let started_at = match &look.container {
                Seen::Present(found) => found.started_at,
                Seen::Unknown | Seen::Absent | Seen::Foreign(_) => None,
            };
            look.health = match look.running_id() {
                Some(id) => {
                    let of = Running { key, pod, container, id, sandbox: sandbox.as_deref(), node };
                    self.vitals.look(&of, started_at, now)
                }
                None => {
                    self.vitals.ended(key, &container.name);
                    Health::unasked(container)
                }
            };
        }
    }

    async fn inspect(&self, id: &str, now: Now) -> Seen {
        let ticket = self.containers.ticket(id);
        match self.engine.inspect(id).await {
            Ok(mut view) => {
                self.cgroups.verify(&view);
                self.containers.complete(&mut view);
                self.containers.inspected(ticket, &view, now.wall);
                Seen::Present(Box::new(view))
            }
            Err(crate::engine::Error::NotFound(_)) => Seen::Absent,
            Err(error) => {
                debug!(container = id, error = %error, "inspect failed");
                Seen::Unknown
            }
        }
    }
}

/// One container of a pod while it is looked at.
struct Look<'a> {
    role: Role,
    /// None: the sandbox.
    spec: Option<&'a PodContainer>,
    attempts: Vec<Attempt>,
    memory: Memory,
    container: Seen,
    history: History,
    health: Health,
}

impl<'a> Look<'a> {
    fn name(&self) -> &'a str {
        self.spec.map_or(SANDBOX, |spec| &spec.name)
    }

    /// Of its last attempt's container.
    fn id(&self) -> Option<&str> {
        self.attempts.last()?.container_id.as_deref()
    }

    fn address(&self) -> Option<&str> {
        match &self.container {
            Seen::Present(found) => Some(found.ip.as_str()).filter(|ip| !ip.is_empty()),
            Seen::Unknown | Seen::Absent | Seen::Foreign(_) => None,
        }
    }

    fn running_id(&self) -> Option<&str> {
        self.id().filter(|_| self.attempts.last().is_some_and(|last| last.state == AttemptState::Running))
    }

    fn member<'b>(&'b self, pod_spec: &'b PodSpec, since: Option<Timestamp>, reset: Option<Timestamp>) -> Member<'b> {
        let Self { role, spec, attempts, memory, container, history, health } = self;
        let last = attempts.last().map(|last| last.attempt);
        let probe_ended = last.is_some() && memory.probe_ended == last;
        let ended = attempts.iter().rev().find(|attempt| attempt.exit.is_some()).map(|attempt| attempt.attempt);
        let failed = memory.hook_failed.as_ref().filter(|(attempt, _)| ended == Some(*attempt));
        let part = Part {
            role: *role,
            pod_spec,
            spec: *spec,
            attempts,
            since,
            health: *health,
            probe_ended,
            reset,
            hook_failed: failed.map(|(_, message)| message.as_str()),
        };
        Member { part, container, history, memory }
    }
}

/// The containers of a pod with their attempts and what is remembered of them, which is taken from `memory`.
fn looks<'a>(spec: &'a PodSpec, attempts: &[Attempt], memory: &mut PodMemory) -> Vec<Look<'a>> {
    let sandbox = needs_sandbox(spec).then_some((Role::Sandbox, None));
    let others = roster(spec).into_iter().map(|(role, container)| (role, Some(container)));
    let mut looks: Vec<Look<'a>> = Vec::new();
    for (role, spec) in sandbox.into_iter().chain(others) {
        let name = spec.map_or(SANDBOX, |spec| &spec.name);
        let mut attempts: Vec<Attempt> = attempts.iter().filter(|one| one.container == name).cloned().collect();
        attempts.sort_by_key(|one| one.attempt);
        let mut memory = memory.containers.remove(name).unwrap_or_default();
        memory.turn_to(next_attempt(&attempts));
        memory.join(looks.first().filter(|first| first.role == Role::Sandbox).and_then(Look::running_id));
        let (container, history, health) = (Seen::Unknown, History::default(), Health::default());
        looks.push(Look { role, spec, attempts, memory, container, history, health });
    }
    looks
}

/// The number of the attempt that is made or under way.
fn next_attempt(attempts: &[Attempt]) -> u32 {
    match attempts.last() {
        Some(last) if last.state == AttemptState::Ended && last.exit.is_some() => last.attempt + 1,
        Some(last) => last.attempt,
        None => 0,
    }
}

fn name_of(action: &decide::Action) -> &'static str {
    use decide::Action;
    match action {
        Action::Commit(_) => "commit",
        Action::PrepareVolumes => "prepare volumes",
        Action::EnsureImage => "ensure image",
        Action::BuildSpec => "build spec",
        Action::Create => "create",
        Action::Start { .. } => "start",
        Action::Fence { .. } => "fence",
        Action::Inspect => "inspect",
        Action::Replay { .. } => "replay events",
        Action::ReadTermination => "read termination message",
        Action::Signal { .. } => "signal",
        Action::PreStop { .. } => "preStop",
        Action::Wait(_) => "wait",
    }
}

impl<E: Engine> Controller for Node<E> {
    const NAME: &'static str = "node";
    const TRIES_AGAIN: bool = true;
    type Key = PodKey;

    fn wakes(&self, change: &Change) -> Vec<PodKey> {
        if refresh::is_mountable(change.key.kind) {
            return self.shared.mounted.changed(&change.key);
        }
        if change.key.kind != Kind::Pod {
            self.shared.notice_namespace(change);
            return Vec::new();
        }
        let key = PodKey { namespace: change.key.namespace.clone(), name: change.key.name.clone() };
        let ours = change.index.node.as_deref() == Some(self.shared.facts().name.as_str());
        match change.change_type {
            ChangeType::Deleted if ours => {
                // The one thing a later look cannot find out: what is left behind is found by this uid.
                lock(&self.shared.gone).entry(key.clone()).or_default().uids.insert(change.index.uid.clone());
                vec![key]
            }
            ChangeType::Created | ChangeType::Modified if ours => vec![key],
            ChangeType::Created | ChangeType::Modified | ChangeType::Deleted => Vec::new(),
        }
    }

    async fn active(&self) -> Result<Vec<PodKey>, Error> {
        self.shared.active().await
    }

    /// Pods may be gone whose files are still there.
    fn missed_changes(&self) {
        self.shared.missed_changes.store(true, Ordering::Relaxed);
    }

    /// After each of its writes to a pod the loop looks at it once more before it rests.
    fn take_own(&self, key: &PodKey) -> Vec<store::Revision> {
        self.shared.own.take(key)
    }

    async fn reconcile(&self, key: &PodKey, _now: Now) -> Result<Next, Error> {
        let shared = &self.shared;
        let mut memory = lock(&shared.memory).remove(key).unwrap_or_default();
        memory.containers.values_mut().for_each(|one| one.waits_for_slot = false);
        let result = shared.run_pod(key, &mut memory).await;
        if memory.is_needed() && !shared.containers.is_connected() {
            // Somebody has work for the engine: its return is looked for (I-11).
            shared.wanted.notify_one();
        }
        if !memory.containers.values().any(|one| one.waits_for_slot) {
            shared.slots.settle(key);
        }
        if memory.is_needed() {
            lock(&shared.memory).insert(key.clone(), memory);
        }
        result
    }
}

#[cfg(test)]
mod tests;
