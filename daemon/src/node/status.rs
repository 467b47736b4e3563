//! What a pod's status says, from the attempts and the containers of all its parts (J-2501 to J-2516, J-2540 to J-2542).
#![deny(clippy::disallowed_methods)]

use jiff::Timestamp;
use k8s_openapi::{
    api::core::v1::{
        ContainerState, ContainerStateRunning, ContainerStateTerminated, ContainerStateWaiting, ContainerStatus,
        HostIP, Pod, PodCondition, PodIP, PodStatus,
    },
    apimachinery::pkg::apis::meta::v1::Time,
};

use super::observed::{NodeFacts, Part, Role, Trouble};
use crate::{
    engine::Container,
    store::{
        Attempt,
        attempts::{AttemptState, Exit},
    },
};

/// J-2512: what cannot be known.
pub const UNKNOWN: &str = "ContainerStatusUnknown";
/// The reason of ends by which all containers of the pod began anew.
const RESTARTING_ALL: &str = "RestartingAllContainers";
/// J-2512: the words for a container that is not there.
pub const NOT_LOCATED: &str = "The container could not be located when the pod was terminated";
/// J-2542: the condition's reason for ends that the program did not choose.
pub const DISRUPTION_REASON: &str = "TerminationByKubelet";
/// J-2540, in the order in which they are written.
const OWN_CONDITIONS: [&str; 5] =
    ["PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady", "PodScheduled"];

/// Why the whole pod failed, beside its container (J-2560).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict {
    pub reason: &'static str,
    pub message: &'static str,
}

/// J-2560.
pub const DEADLINE_EXCEEDED: Verdict =
    Verdict { reason: "DeadlineExceeded", message: "Pod was active on the node longer than the specified deadline" };

/// Whether the pod is being ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Ending {
    /// It goes on by its restart policy.
    #[default]
    No,
    /// It is being deleted, or has ended already: nothing starts again (J-2504).
    Deleted,
    /// It failed as a whole.
    Failed(Verdict),
}

/// What a status is made from.
#[derive(Clone, Copy, Debug)]
pub struct Picture<'a> {
    pub pod: &'a Pod,
    /// In the order of their start.
    pub members: &'a [Shown<'a>],
    pub ending: Ending,
    /// What ended it from outside.
    pub disruption: Option<&'a str>,
    pub node: &'a NodeFacts,
    pub now: Timestamp,
}

/// One container in the picture.
#[derive(Clone, Copy, Debug)]
pub struct Shown<'a> {
    pub part: Part<'a>,
    /// The inspected container of the last attempt.
    pub container: Option<&'a Container>,
    /// Why the next attempt waits, if there is trouble.
    pub trouble: Option<&'a Trouble>,
    /// None: as it was.
    pub image_id: Option<&'a str>,
}

impl<'a> Picture<'a> {
    fn of(&self, role: Role) -> impl Iterator<Item = &'a Shown<'a>> {
        self.members.iter().filter(move |shown| shown.part.role == role)
    }

    /// All but the sandbox, which clients do not see.
    fn containers(&self) -> impl Iterator<Item = &'a Shown<'a>> {
        self.members.iter().filter(|shown| shown.part.role != Role::Sandbox)
    }

    fn init_containers(&self) -> impl Iterator<Item = &'a Shown<'a>> {
        self.members.iter().filter(|shown| matches!(shown.part.role, Role::Init | Role::Sidecar))
    }

    /// Init containers that the others still wait for; nobody waits for a sidecar once the others have run.
    fn incomplete(&self) -> Vec<&'a str> {
        let ran = self.of(Role::Main).any(|shown| shown.part.ran());
        let passes = |part: &Part<'_>| part.lets_pass() || (ran && part.role == Role::Sidecar);
        self.init_containers().map(|shown| &shown.part).filter(|part| !passes(part)).map(|part| part.name()).collect()
    }
}

/// The phase is final.
#[must_use]
pub fn is_terminal(phase: Option<&str>) -> bool {
    matches!(phase, Some("Succeeded" | "Failed"))
}

/// The whole status. What the runner does not own (foreign conditions, QoS class, …) stays as it is.
#[must_use]
pub fn build(picture: &Picture<'_>) -> PodStatus {
    let Picture { pod, ending, node, now, .. } = *picture;
    let old = pod.status.clone().unwrap_or_default();
    let mut status = old.clone();
    let was_terminal = is_terminal(old.phase.as_deref());
    let phase = if was_terminal { old.phase.clone().unwrap_or_default() } else { phase(picture).to_owned() };
    if !was_terminal
        && let Ending::Failed(Verdict { reason, message }) = ending
        && is_terminal(Some(&phase))
    {
        status.reason = Some(reason.to_owned());
        status.message = Some(message.to_owned());
    }
    status.start_time = old.start_time.or(Some(Time(now)));
    if !node.host_ip.is_empty() {
        status.host_ip = Some(node.host_ip.clone());
        status.host_ips = Some(vec![HostIP { ip: node.host_ip.clone() }]);
    }
    if let Some(ip) = pod_ip(picture) {
        status.pod_ip = Some(ip.clone());
        status.pod_ips = Some(vec![PodIP { ip }]);
    }
    let mut main: Vec<_> = picture.of(Role::Main).map(|shown| container_status(picture, shown, &phase)).collect();
    main.sort_by(|one, other| one.name.cmp(&other.name));
    status.container_statuses = Some(main);
    let init: Vec<_> = picture.init_containers().map(|shown| container_status(picture, shown, &phase)).collect();
    status.init_container_statuses = Some(init).filter(|init| !init.is_empty());
    status.observed_generation = pod.metadata.generation;
    status.conditions = Some(conditions(picture, &phase));
    status.phase = Some(phase);
    status
}

/// The status of a pod that is not admitted: it failed before anything of it was made.
#[must_use]
pub fn rejected(pod: &Pod, reason: &str, message: &str, now: Timestamp) -> PodStatus {
    let mut status = pod.status.clone().unwrap_or_default();
    status.phase = Some("Failed".to_owned());
    status.reason = Some(reason.to_owned());
    status.message = Some(format!("Pod was rejected: {message}"));
    status.start_time.get_or_insert(Time(now));
    status.observed_generation = pod.metadata.generation;
    status
}

/// J-2502 to J-2505.
fn phase(picture: &Picture<'_>) -> &'static str {
    let main = || picture.of(Role::Main).map(|shown| shown.part);
    let init = || picture.init_containers().map(|shown| shown.part);
    let settled = picture.containers().all(|shown| shown.part.is_settled());
    let ran = main().any(|part| part.ran());
    // A terminal phase is not said while something runs (J-2503).
    match picture.ending {
        Ending::Failed(_) if settled => return "Failed",
        Ending::Deleted if settled => {
            let code = |part: Part<'_>| part.last().and_then(|last| last.exit.as_ref()).map(|exit| exit.exit_code);
            return if main().all(|part| code(part) == Some(0)) { "Succeeded" } else { "Failed" };
        }
        Ending::No | Ending::Deleted | Ending::Failed(_) => {}
    }
    if init().any(|part| part.verdict().is_some_and(|exit| exit.exit_code != 0)) {
        return match (settled, ran) {
            (true, _) => "Failed",
            (false, true) => "Running",
            (false, false) => "Pending",
        };
    }
    if !ran && init().any(|part| !part.lets_pass()) {
        return "Pending";
    }
    if settled && main().all(|part| part.verdict().is_some()) {
        let well = main().all(|part| part.verdict().is_some_and(|exit| exit.exit_code == 0));
        return if well { "Succeeded" } else { "Failed" };
    }
    // A container that ran before keeps its pod `Running` between two attempts (J-2505).
    if main().any(|part| !part.ran()) { "Pending" } else { "Running" }
}

fn pod_ip(picture: &Picture<'_>) -> Option<String> {
    let host_network = picture.pod.spec.as_ref().and_then(|spec| spec.host_network).unwrap_or_default();
    // The sandbox, or the only container.
    let container = picture.members.first()?.container?;
    let ip = if host_network { &picture.node.host_ip } else { &container.ip };
    (!ip.is_empty()).then(|| ip.clone())
}

fn container_status(picture: &Picture<'_>, of: &Shown<'_>, phase: &str) -> ContainerStatus {
    let Shown { part, container, trouble, image_id } = *of;
    let attempts = part.attempts;
    let statuses = picture.pod.status.as_ref();
    let statuses = statuses.and_then(|status| match part.role {
        Role::Sandbox | Role::Main => status.container_statuses.as_ref(),
        Role::Init | Role::Sidecar => status.init_container_statuses.as_ref(),
    });
    let old = statuses.and_then(|statuses| statuses.iter().find(|status| status.name == part.name()));
    let image = part.spec.and_then(|spec| spec.image.clone()).unwrap_or_default();
    // A pod whose init containers never let it begin is over without the others (J-2531).
    let missed = is_terminal(Some(phase)) && (part.role != Role::Main || !picture.incomplete().is_empty());
    // Attempts that were started, the shown one last. A postStart hook that is not through holds back that it runs.
    let mut started: Vec<&Attempt> = attempts
        .iter()
        .filter(|attempt| attempt.exit.is_some() || (attempt.state == AttemptState::Running && part.is_up()))
        .collect();
    let shown = started.last().copied();
    let hook_failed =
        part.hook_failed.filter(|_| !is_terminal(Some(phase)) && trouble.is_none() && part.verdict().is_none());
    let state = match shown {
        Some(shown) if shown.state == AttemptState::Running => {
            let at = container.and_then(|container| container.started_at).or(shown.started_at);
            let kept = old
                .and_then(|old| old.state.as_ref()?.running.as_ref()?.started_at.clone())
                .filter(|_| old.is_some_and(|old| old.container_id == shown.container_id.as_deref().map(docker_id)));
            ContainerState {
                running: Some(ContainerStateRunning { started_at: kept.or(at.map(Time)) }),
                ..ContainerState::default()
            }
        }
        // J-2511: why it is started again.
        Some(_) if hook_failed.is_some() => waiting_for("PostStartHookError", hook_failed.map(str::to_owned)),
        // Until the next attempt runs, or has something to wait for, the last one's end is shown.
        Some(shown) if is_terminal(Some(phase)) || trouble.is_none() => terminated(shown),
        None if is_terminal(Some(phase)) && !missed => terminated_with(&never_located(), None),
        Some(_) | None => waiting(trouble, picture),
    };
    if state.waiting.is_none() {
        started.pop();
    }
    let running = state.running.is_some();
    let ready = match part.role {
        Role::Sandbox | Role::Sidecar | Role::Main => running && part.is_ready(),
        Role::Init => state.terminated.as_ref().is_some_and(|end| end.exit_code == 0),
    };
    ContainerStatus {
        name: part.name().to_owned(),
        image,
        image_id: image_id.map_or_else(|| old.map(|old| old.image_id.clone()).unwrap_or_default(), str::to_owned),
        container_id: shown.and_then(|shown| shown.container_id.as_deref().map(docker_id)),
        ready,
        started: Some(running && part.is_started()),
        restart_count: shown.map_or(0, |shown| i32::try_from(shown.attempt).unwrap_or(i32::MAX)),
        state: Some(state),
        last_state: Some(started.last().map(|last| last_state(part, last)).unwrap_or_default()),
        ..ContainerStatus::default()
    }
}

/// An end by which all began anew is told as that, whatever the program's own was.
fn last_state(part: Part<'_>, last: &Attempt) -> ContainerState {
    let anew = part.reset.is_some_and(|reset| last.created_at < reset);
    let later = part.attempts.iter().any(|other| other.attempt > last.attempt);
    match last.exit.as_ref().filter(|_| anew && later) {
        Some(exit) => {
            let reason = RESTARTING_ALL.to_owned();
            terminated_with(&Exit { reason, exit_code: 137, ..exit.clone() }, last.container_id.as_deref())
        }
        None => terminated(last),
    }
}

/// J-2516.
fn docker_id(id: &str) -> String {
    format!("docker://{id}")
}

/// J-2510.
fn waiting(trouble: Option<&Trouble>, picture: &Picture<'_>) -> ContainerState {
    let (reason, message) = match trouble {
        Some(Trouble { reason, message, .. }) => {
            (reason.clone(), Some(message.clone()).filter(|text| !text.is_empty()))
        }
        None if picture.init_containers().next().is_some() => ("PodInitializing".to_owned(), None),
        None => ("ContainerCreating".to_owned(), None),
    };
    waiting_for(&reason, message)
}

fn waiting_for(reason: &str, message: Option<String>) -> ContainerState {
    ContainerState {
        waiting: Some(ContainerStateWaiting { reason: Some(reason.to_owned()), message }),
        ..ContainerState::default()
    }
}

fn terminated(attempt: &Attempt) -> ContainerState {
    match &attempt.exit {
        Some(exit) => terminated_with(exit, attempt.container_id.as_deref()),
        None => ContainerState::default(),
    }
}

fn terminated_with(exit: &Exit, container_id: Option<&str>) -> ContainerState {
    let Exit { reason, exit_code, message, started_at, finished_at } = exit;
    ContainerState {
        terminated: Some(ContainerStateTerminated {
            container_id: container_id.map(docker_id),
            exit_code: *exit_code,
            reason: Some(reason.clone()),
            message: Some(message.clone()).filter(|text| !text.is_empty()),
            started_at: started_at.map(Time),
            finished_at: finished_at.map(Time),
            signal: None,
        }),
        ..ContainerState::default()
    }
}

/// The state of a container that never started in a pod that is over.
fn never_located() -> Exit {
    Exit {
        reason: UNKNOWN.to_owned(),
        exit_code: 137,
        message: NOT_LOCATED.to_owned(),
        started_at: None,
        finished_at: None,
    }
}

/// J-2540 to J-2542: foreign conditions first, then ours.
fn conditions(picture: &Picture<'_>, phase: &str) -> Vec<PodCondition> {
    let Picture { pod, disruption, .. } = *picture;
    let old: &[PodCondition] = pod.status.as_ref().and_then(|status| status.conditions.as_deref()).unwrap_or_default();
    let mut conditions: Vec<PodCondition> =
        old.iter().filter(|condition| !OWN_CONDITIONS.contains(&condition.type_.as_str())).cloned().collect();
    // Also while others of the pod still run: what failed for good makes it fail (J-2502).
    let fails = phase == "Failed"
        || picture.containers().any(|shown| shown.part.verdict().is_some_and(|exit| exit.exit_code != 0));
    if fails
        && let Some(message) = disruption
        && !has_condition(&conditions, "DisruptionTarget")
    {
        let wanted = ("True", Some(DISRUPTION_REASON), Some(message.to_owned()));
        conditions.push(condition(picture, old, "DisruptionTarget", wanted));
    }
    let mut unready: Vec<&str> = picture
        .containers()
        .map(|shown| shown.part)
        .filter(|part| part.role != Role::Init && !part.is_ready())
        .map(|part| part.name())
        .collect();
    unready.sort_unstable();
    let ready = match phase {
        "Succeeded" => ("False", Some("PodCompleted"), None),
        "Failed" => ("False", Some("PodFailed"), None),
        _ if unready.is_empty() => ("True", None, None),
        _ => {
            let message = format!("containers with unready status: [{}]", unready.join(" "));
            ("False", Some("ContainersNotReady"), Some(message))
        }
    };
    let incomplete = picture.incomplete();
    let initialized = if phase == "Succeeded" {
        ("True", Some("PodCompleted"), None)
    } else if incomplete.is_empty() {
        ("True", None, None)
    } else {
        let message = format!("containers with incomplete status: [{}]", incomplete.join(" "));
        ("False", Some("ContainersNotInitialized"), Some(message))
    };
    let has_network = match picture.of(Role::Sandbox).next() {
        Some(sandbox) => sandbox.part.is_running() && !is_terminal(Some(phase)),
        None => phase == "Running",
    };
    for type_ in OWN_CONDITIONS {
        let wanted = match type_ {
            "PodReadyToStartContainers" => (if has_network { "True" } else { "False" }, None, None),
            "Initialized" => initialized.clone(),
            "PodScheduled" => ("True", None, None),
            "Ready" if ready.0 == "True" => ready_by_gates(pod, old),
            _ => ready.clone(),
        };
        conditions.push(condition(picture, old, type_, wanted));
    }
    conditions
}

/// The pod's `Ready` when its containers are: each of its gates must be a condition that somebody set to true.
fn ready_by_gates(pod: &Pod, conditions: &[PodCondition]) -> (&'static str, Option<&'static str>, Option<String>) {
    let gates = pod.spec.as_ref().and_then(|spec| spec.readiness_gates.as_deref()).unwrap_or_default();
    let closed = gates.iter().filter_map(|gate| {
        let gate = &gate.condition_type;
        match conditions.iter().find(|condition| condition.type_ == *gate) {
            None => Some(format!("corresponding condition of pod readiness gate \"{gate}\" does not exist.")),
            Some(condition) if condition.status == "True" => None,
            Some(condition) => {
                Some(format!("the status of pod readiness gate \"{gate}\" is not \"True\", but {}", condition.status))
            }
        }
    });
    let closed = closed.collect::<Vec<_>>().join(", ");
    if closed.is_empty() { ("True", None, None) } else { ("False", Some("ReadinessGatesNotReady"), Some(closed)) }
}

fn has_condition(conditions: &[PodCondition], type_: &str) -> bool {
    conditions.iter().any(|condition| condition.type_ == type_ && condition.status == "True")
}

/// A condition whose transition time moves only when its status changes.
fn condition(
    picture: &Picture<'_>,
    old: &[PodCondition],
    type_: &str,
    (status, reason, message): (&str, Option<&str>, Option<String>),
) -> PodCondition {
    let since = old
        .iter()
        .find(|condition| condition.type_ == type_ && condition.status == status)
        .and_then(|condition| condition.last_transition_time.clone());
    PodCondition {
        type_: type_.to_owned(),
        status: status.to_owned(),
        reason: reason.map(str::to_owned),
        message,
        last_probe_time: None,
        last_transition_time: since.or(Some(Time(picture.now))),
        observed_generation: picture.pod.metadata.generation,
    }
}
