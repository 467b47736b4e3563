//! What a pod's status says, from its attempts and its container (J-2501 to J-2516, J-2540 to J-2542). One container per pod.
#![deny(clippy::disallowed_methods)]

use jiff::Timestamp;
use k8s_openapi::{
    api::core::v1::{
        ContainerState, ContainerStateRunning, ContainerStateTerminated, ContainerStateWaiting, ContainerStatus,
        HostIP, Pod, PodCondition, PodIP, PodStatus,
    },
    apimachinery::pkg::apis::meta::v1::Time,
};

use super::{
    observed::{NodeFacts, Trouble},
    restart,
};
use crate::{
    engine::Container,
    store::{
        Attempt,
        attempts::{AttemptState, Exit},
    },
};

/// J-2512: what cannot be known.
pub const UNKNOWN: &str = "ContainerStatusUnknown";
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
    /// Oldest first.
    pub attempts: &'a [Attempt],
    /// The inspected container of the last attempt.
    pub container: Option<&'a Container>,
    /// Why the next attempt waits, if there is trouble.
    pub trouble: Option<&'a Trouble>,
    pub ending: Ending,
    /// What ended it from outside.
    pub disruption: Option<&'a str>,
    /// For the status; none: as it was.
    pub image_id: Option<&'a str>,
    pub node: &'a NodeFacts,
    pub now: Timestamp,
}

/// The phase is final.
#[must_use]
pub fn is_terminal(phase: Option<&str>) -> bool {
    matches!(phase, Some("Succeeded" | "Failed"))
}

/// The whole status. What the runner does not own (foreign conditions, QoS class, …) stays as it is.
#[must_use]
pub fn build(picture: &Picture<'_>) -> PodStatus {
    let Picture { pod, container, ending, node, now, .. } = *picture;
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
    if let Some(ip) = pod_ip(pod, container, node) {
        status.pod_ip = Some(ip.clone());
        status.pod_ips = Some(vec![PodIP { ip }]);
    }
    status.container_statuses = Some(vec![container_status(picture, &phase)]);
    status.observed_generation = pod.metadata.generation;
    status.conditions = Some(conditions(picture, &phase));
    status.phase = Some(phase);
    status
}

/// J-2502 for one container.
fn phase(picture: &Picture<'_>) -> &'static str {
    let Picture { pod, attempts, ending, .. } = *picture;
    let Some(last) = attempts.last() else {
        return if ending == Ending::No { "Pending" } else { "Failed" };
    };
    match last.state {
        AttemptState::Running => "Running",
        AttemptState::Creating | AttemptState::Starting | AttemptState::Fencing => started_phase(attempts),
        AttemptState::Ended => match (&last.exit, ending) {
            (_, Ending::Failed(_)) => "Failed",
            (Some(exit), Ending::Deleted) if exit.exit_code == 0 => "Succeeded",
            (Some(_) | None, Ending::Deleted) => "Failed",
            (None, Ending::No) => started_phase(attempts),
            (Some(exit), Ending::No) => {
                if restarts(pod, exit) {
                    "Running"
                } else if exit.exit_code == 0 {
                    "Succeeded"
                } else {
                    "Failed"
                }
            }
        },
    }
}

/// A pod whose container ran before stays `Running` between two attempts (J-2505).
fn started_phase(attempts: &[Attempt]) -> &'static str {
    if attempts.iter().any(|attempt| attempt.exit.is_some()) { "Running" } else { "Pending" }
}

fn restarts(pod: &Pod, exit: &Exit) -> bool {
    let spec = pod.spec.as_ref();
    spec.is_some_and(|spec| spec.containers.first().is_some_and(|one| restart::wants_restart(spec, one, exit)))
}

fn pod_ip(pod: &Pod, container: Option<&Container>, node: &NodeFacts) -> Option<String> {
    let host_network = pod.spec.as_ref().and_then(|spec| spec.host_network).unwrap_or_default();
    let container = container?;
    let ip = if host_network { &node.host_ip } else { &container.ip };
    (!ip.is_empty()).then(|| ip.clone())
}

fn container_status(picture: &Picture<'_>, phase: &str) -> ContainerStatus {
    let Picture { pod, attempts, container, trouble, image_id, .. } = *picture;
    let old = pod.status.as_ref().and_then(|status| status.container_statuses.as_ref()?.first());
    let (name, image) = pod
        .spec
        .as_ref()
        .and_then(|spec| spec.containers.first())
        .map(|one| (one.name.clone(), one.image.clone().unwrap_or_default()))
        .unwrap_or_default();
    // Attempts that were started, the shown one last.
    let mut started: Vec<&Attempt> =
        attempts.iter().filter(|attempt| attempt.exit.is_some() || attempt.state == AttemptState::Running).collect();
    let shown = started.last().copied();
    let is_last = shown.map(|shown| shown.attempt) == attempts.last().map(|last| last.attempt);
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
        Some(shown) if is_last && (is_terminal(Some(phase)) || trouble.is_none()) => terminated(shown),
        None if is_terminal(Some(phase)) => terminated_with(&never_located(), None),
        Some(shown) if is_terminal(Some(phase)) => terminated(shown),
        Some(_) | None => waiting(trouble),
    };
    if state.waiting.is_none() {
        started.pop();
    }
    let running = state.running.is_some();
    ContainerStatus {
        name,
        image,
        image_id: image_id.map_or_else(|| old.map(|old| old.image_id.clone()).unwrap_or_default(), str::to_owned),
        container_id: shown.and_then(|shown| shown.container_id.as_deref().map(docker_id)),
        ready: running,
        started: Some(running),
        restart_count: shown.map_or(0, |shown| i32::try_from(shown.attempt).unwrap_or(i32::MAX)),
        state: Some(state),
        last_state: Some(started.last().map(|last| terminated(last)).unwrap_or_default()),
        ..ContainerStatus::default()
    }
}

/// J-2516.
fn docker_id(id: &str) -> String {
    format!("docker://{id}")
}

fn waiting(trouble: Option<&Trouble>) -> ContainerState {
    let (reason, message) = match trouble {
        Some(Trouble { reason, message, .. }) => {
            (reason.clone(), Some(message.clone()).filter(|text| !text.is_empty()))
        }
        None => ("ContainerCreating".to_owned(), None),
    };
    ContainerState {
        waiting: Some(ContainerStateWaiting { reason: Some(reason), message }),
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
    if phase == "Failed"
        && let Some(message) = disruption
        && !has_condition(&conditions, "DisruptionTarget")
    {
        let wanted = ("True", Some(DISRUPTION_REASON), Some(message.to_owned()));
        conditions.push(condition(picture, old, "DisruptionTarget", wanted));
    }
    let name = pod.spec.as_ref().and_then(|spec| spec.containers.first()).map_or("", |one| one.name.as_str());
    let runs = picture.attempts.last().is_some_and(|last| last.state == AttemptState::Running);
    let ready = match phase {
        "Succeeded" => ("False", Some("PodCompleted"), None),
        "Failed" => ("False", Some("PodFailed"), None),
        _ if runs => ("True", None, None),
        _ => ("False", Some("ContainersNotReady"), Some(format!("containers with unready status: [{name}]"))),
    };
    for type_ in OWN_CONDITIONS {
        let wanted = match type_ {
            "PodReadyToStartContainers" => (if phase == "Running" { "True" } else { "False" }, None, None),
            "Initialized" => ("True", (phase == "Succeeded").then_some("PodCompleted"), None),
            "PodScheduled" => ("True", None, None),
            _ => ready.clone(),
        };
        conditions.push(condition(picture, old, type_, wanted));
    }
    conditions
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
