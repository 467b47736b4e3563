//! The cells of a pod's row (T-3).

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ContainerStateTerminated, ContainerStatus, Pod, PodSpec, PodStatus};
use serde_json::Value;

use crate::{
    kind::{
        age,
        pod_spec::{list, text},
    },
    object::Object,
    time,
};

const NONE: &str = "<none>";

pub(super) fn cells(object: &Object, now: Timestamp) -> Vec<Value> {
    // A stored pod can always be read; were it not so, its row would be no place to say it.
    let pod: Pod = object.to_typed().unwrap_or_default();
    let (spec, status) = (pod.spec.clone().unwrap_or_default(), pod.status.clone().unwrap_or_default());
    let shown = summarize(&pod, &spec, &status);
    let or_none = |text: &str| Value::from(if text.is_empty() { NONE } else { text });
    let restarts = match shown.last_restart {
        Some(last) if shown.restarts != 0 => format!("{} ({} ago)", shown.restarts, time::human_age(last, now)),
        Some(_) | None => shown.restarts.to_string(),
    };
    vec![
        object.name().into(),
        format!("{}/{}", shown.ready, shown.total).into(),
        shown.reason.into(),
        restarts.into(),
        age(object, now).into(),
        or_none(list(&status.pod_ips).first().map_or_else(|| text(&status.pod_ip), |address| &address.ip)),
        or_none(text(&spec.node_name)),
        or_none(text(&status.nominated_node_name)),
        readiness_gates(&spec, &status).into(),
    ]
}

/// What the columns Ready, Status and Restarts show.
#[derive(Default)]
struct Summary {
    ready: usize,
    total: usize,
    reason: String,
    restarts: i32,
    last_restart: Option<Timestamp>,
}

impl Summary {
    fn count_restarts(&mut self, container: &ContainerStatus) {
        self.restarts += container.restart_count;
        let ended = container.last_state.as_ref().and_then(|state| state.terminated.as_ref()?.finished_at.as_ref());
        self.last_restart = self.last_restart.max(ended.map(|time| time.0));
    }
}

fn summarize(pod: &Pod, spec: &PodSpec, status: &PodStatus) -> Summary {
    let phase = text(&status.phase);
    let mut shown = Summary { total: spec.containers.len(), ..Summary::default() };
    shown.reason =
        [text(&status.reason), phase].into_iter().find(|text| !text.is_empty()).unwrap_or_default().to_owned();
    let conditions = list(&status.conditions);
    if conditions.iter().any(|one| one.type_ == "PodScheduled" && one.reason.as_deref() == Some("SchedulingGated")) {
        "SchedulingGated".clone_into(&mut shown.reason);
    }
    let is_true = |type_: &str| conditions.iter().any(|one| one.type_ == type_ && one.status == "True");

    // While the pod initializes, the restarts of its init containers are shown; afterwards those of the sidecars among them.
    let mut sidecars = Summary::default();
    let blocked = summarize_inits(&mut shown, &mut sidecars, spec, status);
    if !blocked || is_true("Initialized") {
        (shown.restarts, shown.last_restart) = (sidecars.restarts, sidecars.last_restart);
        summarize_containers(&mut shown, status, is_true("Ready"));
    }

    if pod.metadata.deletion_timestamp.is_some() {
        if text(&status.reason) == "NodeLost" {
            "Unknown".clone_into(&mut shown.reason);
        } else if !["Succeeded", "Failed"].contains(&phase) {
            "Terminating".clone_into(&mut shown.reason);
        }
    }
    shown
}

/// Stops at the first init container that is not done, whose trouble is the pod's; true if there is one.
fn summarize_inits(shown: &mut Summary, sidecars: &mut Summary, spec: &PodSpec, status: &PodStatus) -> bool {
    let inits = list(&spec.init_containers);
    let is_sidecar = |name: &str| inits.iter().any(|init| init.name == name && text(&init.restart_policy) == "Always");
    shown.total += inits.iter().filter(|init| is_sidecar(&init.name)).count();
    for (position, init) in list(&status.init_container_statuses).iter().enumerate() {
        let sidecar = is_sidecar(&init.name);
        shown.count_restarts(init);
        if sidecar {
            sidecars.count_restarts(init);
        }
        let state = init.state.clone().unwrap_or_default();
        let waiting = state.waiting.map(|waiting| waiting.reason.unwrap_or_default()).unwrap_or_default();
        match state.terminated {
            Some(terminated) if terminated.exit_code == 0 => continue,
            _ if sidecar && init.started == Some(true) => {
                shown.ready += usize::from(init.ready);
                continue;
            }
            Some(terminated) => shown.reason = format!("Init:{}", ended(&terminated)),
            None if !waiting.is_empty() && waiting != "PodInitializing" => shown.reason = format!("Init:{waiting}"),
            None => shown.reason = format!("Init:{position}/{}", inits.len()),
        }
        return true;
    }
    false
}

fn summarize_containers(shown: &mut Summary, status: &PodStatus, pod_ready: bool) {
    let mut running = false;
    let mut failed = None;
    // From last to first, so that the first container's trouble is what stands there in the end.
    for container in list(&status.container_statuses).iter().rev() {
        shown.count_restarts(container);
        let state = container.state.clone().unwrap_or_default();
        let waiting = state.waiting.map(|waiting| waiting.reason.unwrap_or_default()).unwrap_or_default();
        if !waiting.is_empty() {
            shown.reason = waiting;
        } else if let Some(terminated) = state.terminated {
            shown.reason = ended(&terminated);
            if terminated.exit_code != 0 {
                failed = Some(shown.reason.clone());
            }
        } else if state.running.is_some() {
            running |= container.ready;
            shown.ready += usize::from(container.ready);
        }
    }
    if shown.reason == "Completed" {
        if running && pod_ready {
            "Running".clone_into(&mut shown.reason);
        } else if let Some(failed) = failed {
            shown.reason = failed;
        } else if running {
            "NotReady".clone_into(&mut shown.reason);
        }
    }
}

/// How a container ended, in a word.
fn ended(terminated: &ContainerStateTerminated) -> String {
    match (text(&terminated.reason), terminated.signal.unwrap_or_default()) {
        ("", 0) => format!("ExitCode:{}", terminated.exit_code),
        ("", signal) => format!("Signal:{signal}"),
        (reason, _) => reason.to_owned(),
    }
}

fn readiness_gates(spec: &PodSpec, status: &PodStatus) -> String {
    let gates = list(&spec.readiness_gates);
    if gates.is_empty() {
        return NONE.to_owned();
    }
    let conditions = list(&status.conditions);
    let is_true =
        |type_: &str| conditions.iter().any(|condition| condition.type_ == type_ && condition.status == "True");
    let met = gates.iter().filter(|gate| is_true(&gate.condition_type)).count();
    format!("{met}/{}", gates.len())
}
