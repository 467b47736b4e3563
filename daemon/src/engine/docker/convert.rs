//! The engine's answers into our plain types.

use std::collections::BTreeMap;

use bollard::{
    auth::DockerCredentials,
    container::LogOutput,
    models::{
        ContainerInspectResponse, ContainerStateStatusEnum, ContainerSummary, ContainerSummaryStateEnum, EventMessage,
        ImageInspect, SystemInfo, SystemInfoCgroupDriverEnum, SystemInfoCgroupVersionEnum, SystemVersion,
    },
};
use bytes::Bytes;
use jiff::Timestamp;

use super::super::{
    Container, ContainerStatus, Event, EventAction, Image, Info, ListedContainer, LogFrame, RegistryAuth,
};

pub(super) fn info(info: SystemInfo, version: SystemVersion) -> Info {
    Info {
        version: version.version.unwrap_or_default(),
        api_version: version.api_version.unwrap_or_default(),
        cgroup_version: match info.cgroup_version {
            Some(SystemInfoCgroupVersionEnum::_1) => "1",
            Some(SystemInfoCgroupVersionEnum::_2) => "2",
            Some(SystemInfoCgroupVersionEnum::EMPTY) | None => "",
        }
        .to_owned(),
        cgroup_driver: match info.cgroup_driver {
            Some(SystemInfoCgroupDriverEnum::CGROUPFS) => "cgroupfs",
            Some(SystemInfoCgroupDriverEnum::SYSTEMD) => "systemd",
            Some(SystemInfoCgroupDriverEnum::NONE) => "none",
            Some(SystemInfoCgroupDriverEnum::EMPTY) | None => "",
        }
        .to_owned(),
        storage_driver: info.driver.unwrap_or_default(),
        logging_driver: info.logging_driver.unwrap_or_default(),
        live_restore: info.live_restore_enabled.unwrap_or_default(),
        cpus: info.ncpu.unwrap_or_default(),
        memory_bytes: info.mem_total.unwrap_or_default(),
        kernel_version: info.kernel_version.unwrap_or_default(),
        operating_system: info.operating_system.unwrap_or_default(),
        architecture: info.architecture.unwrap_or_default(),
        runtimes: info.runtimes.unwrap_or_default().into_keys().collect(),
        root_dir: info.docker_root_dir.unwrap_or_default(),
        local_pid: None,
    }
}

/// The engine's zero time means "never" (D-503).
fn time(text: Option<&String>) -> Option<Timestamp> {
    text?.parse::<Timestamp>().ok().filter(|time| time.as_second() > 0)
}

pub(super) fn container(answer: ContainerInspectResponse) -> Container {
    let state = answer.state.unwrap_or_default();
    let config = answer.config.unwrap_or_default();
    let started_at = time(state.started_at.as_ref());
    let networks = answer.network_settings.and_then(|settings| settings.networks).unwrap_or_default();
    Container {
        id: answer.id.unwrap_or_default(),
        name: answer.name.unwrap_or_default().trim_start_matches('/').to_owned(),
        labels: config.labels.unwrap_or_default().into_iter().collect(),
        status: match state.status {
            Some(ContainerStateStatusEnum::CREATED) => ContainerStatus::Created,
            Some(
                ContainerStateStatusEnum::RUNNING
                | ContainerStateStatusEnum::RESTARTING
                | ContainerStateStatusEnum::STOPPING,
            ) => ContainerStatus::Running,
            Some(ContainerStateStatusEnum::PAUSED) => ContainerStatus::Paused,
            Some(ContainerStateStatusEnum::EXITED) => ContainerStatus::Exited,
            Some(
                ContainerStateStatusEnum::REMOVING | ContainerStateStatusEnum::DEAD | ContainerStateStatusEnum::EMPTY,
            )
            | None => ContainerStatus::Removing,
        },
        exit_code: state.exit_code.unwrap_or_default(),
        error: state.error.unwrap_or_default(),
        oom_killed: state.oom_killed.unwrap_or_default(),
        pid: state.pid.unwrap_or_default(),
        started_at,
        // A program that ends at once can be seen to end before the engine has noted its start (0.2 ms seen); nobody
        // should read of an end before the start.
        finished_at: time(state.finished_at.as_ref())
            .map(|finished| started_at.map_or(finished, |at| at.max(finished))),
        image: config.image.unwrap_or_default(),
        image_id: answer.image.unwrap_or_default(),
        ip: networks
            .into_values()
            .find_map(|network| network.ip_address.filter(|address| !address.is_empty()))
            .unwrap_or_default(),
    }
}

pub(super) fn listed(summary: ContainerSummary) -> ListedContainer {
    ListedContainer {
        id: summary.id.unwrap_or_default(),
        name: summary
            .names
            .and_then(|names| names.into_iter().next())
            .unwrap_or_default()
            .trim_start_matches('/')
            .to_owned(),
        labels: summary.labels.unwrap_or_default().into_iter().collect(),
        status: match summary.state {
            Some(ContainerSummaryStateEnum::CREATED) => ContainerStatus::Created,
            Some(
                ContainerSummaryStateEnum::RUNNING
                | ContainerSummaryStateEnum::RESTARTING
                | ContainerSummaryStateEnum::STOPPING,
            ) => ContainerStatus::Running,
            Some(ContainerSummaryStateEnum::PAUSED) => ContainerStatus::Paused,
            Some(ContainerSummaryStateEnum::EXITED) => ContainerStatus::Exited,
            Some(
                ContainerSummaryStateEnum::REMOVING
                | ContainerSummaryStateEnum::DEAD
                | ContainerSummaryStateEnum::EMPTY,
            )
            | None => ContainerStatus::Removing,
        },
    }
}

pub(super) fn event(message: EventMessage) -> Event {
    let actor = message.actor.unwrap_or_default();
    let attributes: BTreeMap<String, String> = actor.attributes.unwrap_or_default().into_iter().collect();
    let action = match message.action.unwrap_or_default().as_str() {
        "create" => EventAction::Create,
        "start" => EventAction::Start,
        "die" => EventAction::Die {
            exit_code: attributes.get("exitCode").and_then(|code| code.parse().ok()).unwrap_or_default(),
        },
        "destroy" => EventAction::Destroy,
        "oom" => EventAction::Oom,
        "kill" => EventAction::Kill(attributes.get("signal").cloned().unwrap_or_default()),
        "stop" => EventAction::Stop,
        "pause" => EventAction::Pause,
        "unpause" => EventAction::Unpause,
        other => EventAction::Other(other.to_owned()),
    };
    Event {
        action,
        id: actor.id.unwrap_or_default(),
        labels: attributes,
        at: Timestamp::from_nanosecond(i128::from(message.time_nano.unwrap_or_default())).unwrap_or_default(),
    }
}

/// Cuts the stamp off a frame. A piece without one (the middle of a line of a terminal) has the time of the piece before.
pub(super) fn log_frame(output: LogOutput, last: &mut Timestamp) -> LogFrame {
    let (stderr, message) = match output {
        LogOutput::StdErr { message } => (true, message),
        LogOutput::StdOut { message } | LogOutput::StdIn { message } | LogOutput::Console { message } => {
            (false, message)
        }
    };
    let (at, data) = split_stamp(&message).unwrap_or((*last, message));
    *last = at;
    LogFrame { stderr, at, data }
}

fn split_stamp(message: &Bytes) -> Option<(Timestamp, Bytes)> {
    // The longest stamp is `2026-11-20T20:24:29.155996269Z`.
    let space = message.iter().take(36).position(|byte| *byte == b' ')?;
    let at = std::str::from_utf8(&message[..space]).ok()?.parse().ok()?;
    Some((at, message.slice(space + 1..)))
}

pub(super) fn image(answer: ImageInspect) -> Image {
    let config = answer.config.unwrap_or_default();
    Image {
        id: answer.id.unwrap_or_default(),
        repo_digests: answer.repo_digests.unwrap_or_default(),
        size_bytes: answer.size.unwrap_or_default(),
        user: config.user.unwrap_or_default(),
        working_dir: config.working_dir.unwrap_or_default(),
        stop_signal: config.stop_signal.unwrap_or_default(),
    }
}

pub(super) fn credentials(auth: &RegistryAuth) -> DockerCredentials {
    let some = |text: &String| (!text.is_empty()).then(|| text.clone());
    DockerCredentials {
        username: some(&auth.username),
        password: some(&auth.password),
        serveraddress: some(&auth.server_address),
        identitytoken: some(&auth.identity_token),
        ..DockerCredentials::default()
    }
}
