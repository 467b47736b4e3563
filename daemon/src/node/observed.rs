//! What the pod runner's decisions rest on: plain data, filled by `mod` and judged by `decide` and `status`.
#![deny(clippy::disallowed_methods)]

use std::{collections::BTreeMap, time::Duration};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Container as PodContainer, Pod, PodSpec};

use super::{cgroup::Usage, restart};
use crate::{
    engine::Container,
    recorder::EventSpec,
    store::{
        Attempt,
        attempts::{AttemptState, Exit},
    },
    sys::Now,
};

/// The sandbox among a pod's containers: no container of a manifest can be called so.
pub const SANDBOX: &str = "POD";

/// What a container is to its pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Owns the network and IPC of a pod of several containers (D-202).
    Sandbox,
    /// Must end well before the next one starts.
    Init,
    /// An init container that runs on beside the regular ones.
    Sidecar,
    Main,
}

/// Everything the engine has to run for a pod, in the order in which it is started: the sandbox, init containers, regular containers.
#[must_use]
pub fn roster(spec: &PodSpec) -> Vec<(Role, &PodContainer)> {
    let inits = spec.init_containers.iter().flatten().map(|one| match one.restart_policy.as_deref() {
        Some("Always") => (Role::Sidecar, one),
        Some(_) | None => (Role::Init, one),
    });
    inits.chain(spec.containers.iter().map(|one| (Role::Main, one))).collect()
}

/// D-201, D-202: one container alone needs no sandbox, unless the pod's address has to be known before it starts.
#[must_use]
pub fn needs_sandbox(spec: &PodSpec) -> bool {
    let alone = spec.containers.len() == 1 && spec.init_containers.as_ref().is_none_or(Vec::is_empty);
    !alone || spec.share_process_namespace == Some(true) || (spec.host_network != Some(true) && asks_for_address(spec))
}

/// A variable shows it, or a hosts file with names of the pod's own has to.
fn asks_for_address(spec: &PodSpec) -> bool {
    let variables = spec.containers.iter().flat_map(|container| container.env.iter().flatten());
    let mut fields = variables.filter_map(|variable| variable.value_from.as_ref()?.field_ref.as_ref());
    fields.any(|field| ["status.podIP", "status.podIPs"].contains(&field.field_path.as_str()))
        || spec.host_aliases.as_ref().is_some_and(|aliases| !aliases.is_empty())
}

/// Which of a container's probes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProbeKind {
    Startup,
    Liveness,
    Readiness,
}

/// How far a lifecycle hook has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Hook {
    #[default]
    Todo,
    Running,
    /// Or there is none.
    Done,
    Failed,
}

/// What a container's probes and hooks say of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Health {
    /// Its startup probe has succeeded.
    pub started: bool,
    /// Its readiness probe succeeds.
    pub ready: bool,
    /// The probe (startup or liveness) that failed once too often: the container is to be killed.
    pub failed: Option<ProbeKind>,
    pub post_start: Hook,
    pub pre_stop: Hook,
}

impl Default for Health {
    /// Of a container that has neither.
    fn default() -> Self {
        Self { started: true, ready: true, failed: None, post_start: Hook::Done, pre_stop: Hook::Done }
    }
}

impl Health {
    /// Of a container that was not asked yet.
    #[must_use]
    pub fn unasked(container: &PodContainer) -> Self {
        let lifecycle = container.lifecycle.as_ref();
        let hook = |exists: bool| if exists { Hook::Todo } else { Hook::Done };
        Self {
            started: container.startup_probe.is_none(),
            ready: container.readiness_probe.is_none(),
            failed: None,
            post_start: hook(lifecycle.is_some_and(|lifecycle| lifecycle.post_start.is_some())),
            pre_stop: hook(lifecycle.is_some_and(|lifecycle| lifecycle.pre_stop.is_some())),
        }
    }
}

/// One container of a pod, and what became of it so far.
#[derive(Clone, Copy, Debug)]
pub struct Part<'a> {
    pub role: Role,
    pub pod_spec: &'a PodSpec,
    /// None: the sandbox.
    pub spec: Option<&'a PodContainer>,
    /// Its own, oldest first.
    pub attempts: &'a [Attempt],
    /// When the pod's present sandbox was made: init containers that ran before run again (J-2533, J-2551).
    pub since: Option<Timestamp>,
    /// Of the last attempt.
    pub health: Health,
    /// The last attempt was ended by its own probes: it runs again although it may have ended well.
    pub probe_ended: bool,
    /// When all containers of the pod began anew last.
    pub reset: Option<Timestamp>,
    /// Why the last attempt's postStart hook failed, if it did.
    pub hook_failed: Option<&'a str>,
}

impl<'a> Part<'a> {
    #[must_use]
    pub fn name(&self) -> &'a str {
        self.spec.map_or(SANDBOX, |spec| &spec.name)
    }

    #[must_use]
    pub fn last(&self) -> Option<&'a Attempt> {
        self.attempts.last()
    }

    /// No process of it runs or may run.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.last().is_none_or(|last| last.state == AttemptState::Ended)
    }

    #[must_use]
    pub fn is_running(&self) -> bool {
        self.last().is_some_and(|last| last.state == AttemptState::Running)
    }

    /// It runs, and its postStart hook is through: before that nobody is told that it runs.
    #[must_use]
    pub fn is_up(&self) -> bool {
        self.is_running() && self.health.post_start == Hook::Done
    }

    /// J-2516.
    #[must_use]
    pub fn is_started(&self) -> bool {
        self.is_up() && self.health.started
    }

    /// J-2516.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.is_started() && self.health.ready
    }

    /// Its postStart hook goes on, so nothing that comes after it starts.
    #[must_use]
    pub fn holds_others(&self) -> bool {
        self.is_running() && matches!(self.health.post_start, Hook::Todo | Hook::Running)
    }

    /// It was started at least once.
    #[must_use]
    pub fn ran(&self) -> bool {
        let running = |attempt: &Attempt| attempt.state == AttemptState::Running && self.is_up();
        self.attempts.iter().any(|attempt| attempt.exit.is_some() || running(attempt))
    }

    /// It was started in the present sandbox (J-2530).
    #[must_use]
    pub fn started(&self) -> bool {
        self.attempts.iter().any(|attempt| {
            let ran = attempt.exit.as_ref().is_some_and(|exit| exit.reason != "StartError");
            self.is_present(attempt) && (ran || attempt.state == AttemptState::Running)
        })
    }

    fn is_present(&self, attempt: &Attempt) -> bool {
        [self.since, self.reset].into_iter().flatten().all(|since| attempt.created_at >= since)
    }

    /// Its own restart policy, or the pod's.
    #[must_use]
    pub fn policy(&self) -> &'a str {
        let own = self.spec.and_then(|spec| spec.restart_policy.as_deref());
        own.or(self.pod_spec.restart_policy.as_deref()).unwrap_or("Always")
    }

    /// Its last attempt is from before all began anew.
    #[must_use]
    pub fn is_stale(&self) -> bool {
        self.last().is_some_and(|last| self.reset.is_some_and(|reset| last.created_at < reset))
    }

    /// It may still run, and has to end before all begin anew.
    #[must_use]
    pub fn holds_reset(&self) -> bool {
        let open = |last: &Attempt| !matches!(last.state, AttemptState::Creating | AttemptState::Ended);
        self.role != Role::Sandbox && self.is_stale() && self.last().is_some_and(open)
    }

    /// How it ended for good; none: it did not (J-2501, J-2531, J-2532).
    #[must_use]
    pub fn verdict(&self) -> Option<&'a Exit> {
        let (last, spec) = (self.last()?, self.spec?);
        let exit = last.exit.as_ref().filter(|_| last.state == AttemptState::Ended && !self.is_stale())?;
        let again = self.probe_ended && self.policy() != "Never";
        let over = match self.role {
            Role::Sandbox | Role::Sidecar => false,
            Role::Init => {
                self.is_present(last) && (exit.exit_code == 0 || !restart::wants_restart(self.pod_spec, spec, exit))
            }
            Role::Main => !again && !restart::wants_restart(self.pod_spec, spec, exit),
        };
        over.then_some(exit)
    }

    /// What has to come before the next one may start (J-2530).
    #[must_use]
    pub fn lets_pass(&self) -> bool {
        match self.role {
            Role::Sandbox => self.is_running(),
            Role::Init => self.verdict().is_some_and(|exit| exit.exit_code == 0),
            Role::Sidecar if self.is_running() => self.is_started(),
            Role::Sidecar => self.started() && self.spec.is_none_or(|spec| spec.startup_probe.is_none()),
            Role::Main => true,
        }
    }
}

/// A pod's place in the store.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PodKey {
    pub namespace: String,
    pub name: String,
}

/// What the engine says about the last attempt's container.
#[derive(Clone, Debug, PartialEq)]
pub enum Seen {
    /// Nobody asked, or the engine did not answer. Never treated as absent.
    Unknown,
    /// The engine answered: there is no such container.
    Absent,
    Present(Box<Container>),
    /// Something that is not ours has the name (F-10); its id.
    Foreign(String),
}

/// What the engine's events tell about one container (D-406).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Evidence {
    /// The live stream did not see all of its life, and the engine's memory of events was not asked yet.
    Unasked,
    /// Nothing was missed since its creation.
    Complete { destroyed: bool },
    /// Its creation is no longer among the events: something may have been missed.
    Missing,
}

/// A `die` event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Died {
    pub exit_code: i64,
    pub at: Timestamp,
}

/// What this process knows about one container beyond its last inspection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct History {
    pub evidence: Evidence,
    /// Its `die` event, received live or found again: then its exit code is a real one (D-602).
    pub died: Option<Died>,
    /// Somebody else sent it a signal or a stop through the engine (D-601, D-603).
    pub killed_by_stranger: bool,
    /// The engine went away while it ran, and does not keep containers alive over its own restart (D-603).
    pub engine_was_away: bool,
    /// When it was last known to run.
    pub last_running: Option<Timestamp>,
    /// Two sweeps found that its process is gone although the engine calls it running (D-1604).
    pub lost: bool,
    /// What its cgroup tells, if the events tell nothing (D-610).
    pub usage: Usage,
}

impl Default for History {
    fn default() -> Self {
        Self {
            evidence: Evidence::Unasked,
            died: None,
            killed_by_stranger: false,
            engine_was_away: false,
            last_running: None,
            lost: false,
            usage: Usage::Unknown,
        }
    }
}

impl History {
    /// Adds what was found in the engine's memory of events.
    pub fn add(&mut self, replayed: Option<&History>) {
        let Some(replayed) = replayed else { return };
        if self.evidence == Evidence::Unasked {
            self.evidence = replayed.evidence.clone();
        }
        if self.died.is_none() {
            self.died = replayed.died.clone();
        }
        self.usage = replayed.usage;
    }
}

/// How far this process's own call of one kind has come.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Call {
    /// This process recorded the intent and has sent nothing yet.
    Unsent,
    /// The engine did it.
    Done,
    /// The engine refused; nothing happened. With its words.
    Refused(String),
    /// Sent without an answer, or this process does not know (it was started since).
    #[default]
    Lost,
}

/// This process's calls for the last attempt. Gone after a restart: then every call counts as lost.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Calls {
    pub start: Call,
    pub fence: Call,
    /// When a refused fence may be tried again, since boot.
    pub fence_again: Option<Duration>,
    /// What was found under the name when create said that it is taken (F-10).
    pub found: Option<Seen>,
    /// The id that create answered.
    pub created: Option<String>,
    /// When the doubt about a removed container began, since boot.
    pub doubt_since: Option<Duration>,
    /// When its end was begun, by its preStop hook or the stop signal, since boot.
    pub stop_at: Option<Duration>,
    /// When the stop signal was sent, since boot.
    pub term_at: Option<Duration>,
    /// When KILL was last sent, since boot.
    pub kill_at: Option<Duration>,
}

/// Why a container waits (J-2511), and when to try again, since boot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    pub reason: String,
    pub message: String,
    pub retry_at: Duration,
}

/// One step of the preparation of an attempt.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Step {
    #[default]
    Todo,
    /// Runs in the background; its end wakes the pod.
    Running,
    Done,
    Trouble(Trouble),
}

/// What must be there before a container can be created, in this order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Preparation {
    pub volumes: Step,
    pub image: Step,
    pub spec: Step,
    /// Create itself: refused or put off by the engine.
    pub create: Step,
}

/// Wall deadlines tied to boot time when they are first seen, so that a jump of the wall clock moves none (I-10).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Anchors(BTreeMap<Timestamp, Duration>);

impl Anchors {
    /// The boot time at which this wall time comes.
    pub fn boot(&mut self, wall: Timestamp, now: Now) -> Duration {
        self.boot_within(wall, Duration::MAX, now)
    }

    /// The same for a time that cannot be further ahead than this, whatever the wall clock says: it was set back.
    pub fn boot_within(&mut self, wall: Timestamp, most: Duration, now: Now) -> Duration {
        *self.0.entry(wall).or_insert_with(|| {
            let ahead = wall.duration_since(now.wall);
            match Duration::try_from(ahead) {
                Ok(ahead) => now.boot.saturating_add(ahead.min(most)),
                Err(_) => now.boot.saturating_sub(ahead.unsigned_abs()),
            }
        })
    }
}

/// What the runner remembers of a pod between two looks. All of it can be lost.
#[derive(Clone, Debug, Default)]
pub struct PodMemory {
    pub uid: String,
    pub anchors: Anchors,
    /// By name.
    pub containers: BTreeMap<String, Memory>,
    /// What its volumes show of the pod itself; none: they were not looked at while it runs.
    pub shown: Option<u64>,
}

impl PodMemory {
    /// There is something in it that another look would have to find out again.
    #[must_use]
    pub fn is_needed(&self) -> bool {
        !self.uid.is_empty()
    }
}

/// What the runner remembers of one container of a pod.
#[derive(Clone, Debug, Default)]
pub struct Memory {
    /// The attempt that `calls` and `preparation` are about.
    pub attempt: u32,
    pub calls: Calls,
    pub preparation: Preparation,
    /// Events that go with the next commit.
    pub events: Vec<EventSpec>,
    /// The last words of the ended container, once they were read (J-2515).
    pub termination: Option<String>,
    /// The image's facts, once they are known.
    pub image: Option<crate::engine::Image>,
    /// It left its place in the queue for engine calls behind in this pass.
    pub waits_for_slot: bool,
    /// What is to be created, once it is built.
    pub spec: Option<Box<crate::engine::ContainerSpec>>,
    /// The id of the sandbox that all this is for.
    pub sandbox: Option<String>,
    /// The attempt that was stopped because its probes said so.
    pub probe_ended: Option<u32>,
    /// The attempt that was stopped because its postStart hook failed, and why that did.
    pub hook_failed: Option<(u32, String)>,
}

impl Memory {
    /// Forgets what was made for another sandbox: who joins one names its id (D-202).
    pub fn join(&mut self, sandbox: Option<&str>) {
        if self.sandbox.as_deref() != sandbox {
            self.sandbox = sandbox.map(str::to_owned);
            self.calls.created = None;
            self.calls.found = None;
            self.preparation.spec = Step::Todo;
            self.spec = None;
        }
    }

    /// Forgets what belongs to another attempt.
    pub fn turn_to(&mut self, attempt: u32) {
        if self.attempt != attempt {
            self.attempt = attempt;
            self.calls = Calls::default();
            self.preparation = Preparation::default();
            self.spec = None;
            self.termination = None;
        }
    }
}

/// The machine that the pods run on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodeFacts {
    pub name: String,
    /// Shown as `hostIP`.
    pub host_ip: String,
    pub cpus: i64,
    pub memory_bytes: i64,
    /// Processes per pod; 0: no limit.
    pub pids_limit: i64,
    /// On the label of every container of ours (D-402).
    pub instance: String,
}

/// One container of a pod and everything known about it.
#[derive(Clone, Copy, Debug)]
pub struct Member<'a> {
    pub part: Part<'a>,
    /// The container of the last attempt.
    pub container: &'a Seen,
    pub history: &'a History,
    pub memory: &'a Memory,
}

/// A pod and everything known about it, at one moment.
#[derive(Clone, Copy, Debug)]
pub struct Observed<'a> {
    pub pod: &'a Pod,
    /// In the order of [`roster`], the sandbox first if there is one.
    pub members: &'a [Member<'a>],
    pub node: &'a NodeFacts,
    pub now: Now,
}
