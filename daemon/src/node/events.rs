//! The kubelet's events about a pod (J-2572 to J-2585).
#![deny(clippy::disallowed_methods)]

use k8s_openapi::api::core::v1::Pod;

use super::observed::{Health, Hook, ProbeKind, Role, SANDBOX};
use crate::recorder::{EventSpec, EventType, Involved, Source};

/// An event about the pod itself.
#[must_use]
pub fn pod(pod: &Pod, event_type: EventType, reason: &str, message: impl Into<String>) -> EventSpec {
    let metadata = &pod.metadata;
    EventSpec {
        involved: Involved {
            api_version: "v1".to_owned(),
            kind: "Pod".to_owned(),
            namespace: metadata.namespace.clone().unwrap_or_default(),
            name: metadata.name.clone().unwrap_or_default(),
            uid: metadata.uid.clone().unwrap_or_default(),
            resource_version: metadata.resource_version.clone().unwrap_or_default(),
            field_path: None,
        },
        source: Source::Kubelet,
        event_type,
        reason: reason.to_owned(),
        message: message.into(),
    }
}

/// An event about one of its containers.
#[must_use]
pub fn container(
    of: &Pod,
    container: &str,
    event_type: EventType,
    reason: &str,
    message: impl Into<String>,
) -> EventSpec {
    let mut event = pod(of, event_type, reason, message);
    let inits = of.spec.iter().flat_map(|spec| spec.init_containers.iter().flatten());
    let list = if inits.into_iter().any(|one| one.name == container) { "initContainers" } else { "containers" };
    event.involved.field_path = (container != SANDBOX).then(|| format!("spec.{list}{{{container}}}"));
    event
}

/// J-2575 to J-2578, J-2580: a Warning `Failed` about a container.
#[must_use]
pub fn failed(of: &Pod, name: &str, message: impl Into<String>) -> EventSpec {
    container(of, name, EventType::Warning, "Failed", message)
}

/// J-2579.
#[must_use]
pub fn created(of: &Pod, name: &str) -> EventSpec {
    container(of, name, EventType::Normal, "Created", "Container created")
}

/// J-2579.
#[must_use]
pub fn started(of: &Pod, name: &str) -> EventSpec {
    container(of, name, EventType::Normal, "Started", "Container started")
}

/// J-2581.
#[must_use]
pub fn restart_backoff(of: &Pod, name: &str) -> EventSpec {
    let message = format!("Back-off restarting failed container {name} in pod {}", pod_identity(of));
    container(of, name, EventType::Warning, "BackOff", message)
}

/// J-2582: why and that a container is being stopped.
#[must_use]
pub fn killing(of: &Pod, name: &str, role: Role, health: Option<Health>) -> EventSpec {
    let message = match health {
        Some(Health { failed: Some(probe), .. }) => {
            let probe = probe_name(probe).to_lowercase();
            let spec = of.spec.as_ref();
            let own =
                spec.and_then(|spec| spec.containers.iter().find(|one| one.name == name)?.restart_policy.as_ref());
            let never = own.or(spec.and_then(|spec| spec.restart_policy.as_ref())).is_some_and(|one| one == "Never");
            match role {
                Role::Init | Role::Sidecar => format!("Init container {name} failed {probe} probe"),
                Role::Sandbox | Role::Main if never => format!("Container {name} failed {probe} probe"),
                Role::Sandbox | Role::Main => format!("Container {name} failed {probe} probe, will be restarted"),
            }
        }
        Some(Health { post_start: Hook::Failed, .. }) => "FailedPostStartHook".to_owned(),
        Some(_) | None => format!("Stopping container {name}"),
    };
    container(of, name, EventType::Normal, "Killing", message)
}

fn probe_name(probe: ProbeKind) -> &'static str {
    match probe {
        ProbeKind::Startup => "Startup",
        ProbeKind::Liveness => "Liveness",
        ProbeKind::Readiness => "Readiness",
    }
}

/// J-2583, and the two other things that a probe can say.
#[must_use]
pub fn probed(of: &Pod, name: &str, probe: ProbeKind, report: &Report) -> EventSpec {
    let probe = probe_name(probe);
    let (reason, message) = match report {
        Report::Failed(output) => ("Unhealthy", format!("{probe} probe failed: {output}")),
        Report::Errored(error) => {
            ("Unhealthy", format!("{probe} probe errored and resulted in unknown state: {error}"))
        }
        Report::Warned(output) => ("ProbeWarning", format!("{probe} probe warning: {output}")),
    };
    container(of, name, EventType::Warning, reason, message)
}

/// What a probe says when it does not simply succeed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Report {
    Failed(String),
    /// It could not be run; its result is thrown away.
    Errored(String),
    /// It succeeded, but not as it should.
    Warned(String),
}

/// J-2586.
#[must_use]
pub fn failed_post_start(of: &Pod, name: &str) -> EventSpec {
    container(of, name, EventType::Warning, "FailedPostStartHook", "PostStartHook failed")
}

/// The same for preStop.
#[must_use]
pub fn failed_pre_stop(of: &Pod, name: &str) -> EventSpec {
    container(of, name, EventType::Warning, "FailedPreStopHook", "PreStopHook failed")
}

/// The pod's sandbox could not be made.
#[must_use]
pub fn failed_sandbox(of: &Pod, error: &str) -> EventSpec {
    let message = format!("Failed to create pod sandbox: {error}");
    pod(of, EventType::Warning, "FailedCreatePodSandBox", message)
}

/// J-2584.
#[must_use]
pub fn failed_mount(of: &Pod, volume: &str, error: &str) -> EventSpec {
    let message = format!("MountVolume.SetUp failed for volume \"{volume}\" : {error}");
    pod(of, EventType::Warning, "FailedMount", message)
}

/// `<pod>_<ns>(<uid>)`, how messages name a pod.
#[must_use]
pub fn pod_identity(pod: &Pod) -> String {
    let metadata = &pod.metadata;
    format!(
        "{}_{}({})",
        metadata.name.as_deref().unwrap_or_default(),
        metadata.namespace.as_deref().unwrap_or_default(),
        metadata.uid.as_deref().unwrap_or_default()
    )
}
