//! A container spec into the engine's create body.

use std::collections::HashMap;

use bollard::models::{
    ContainerCreateBody, EndpointSettings, HealthConfig, HostConfig, HostConfigLogConfig, Mount as EngineMount,
    MountBindOptions, MountBindOptionsPropagationEnum, MountType, NetworkingConfig, PortBinding, RestartPolicy,
    RestartPolicyNameEnum,
};

use super::super::{ContainerSpec, Mount, Network};

/// One log file's size; five are kept, as a kubelet does by default. Byte exact (D-905), and large enough that a
/// follower is seldom overtaken by rotation (D-908).
const LOG_MAX_SIZE: &str = "10m";
const LOG_MAX_FILES: &str = "5";

/// Everything that an engine's own configuration could change is set (D-302).
pub(super) fn create_body(spec: &ContainerSpec) -> ContainerCreateBody {
    let (network_mode, endpoints) = match &spec.network {
        Network::Bridge => (Some("bridge".to_owned()), None),
        Network::Host => (Some("host".to_owned()), None),
        Network::Disabled => (None, None),
        Network::Named { network, aliases } => (
            Some(network.clone()),
            Some(HashMap::from([(
                network.clone(),
                EndpointSettings { aliases: Some(aliases.clone()), ..EndpointSettings::default() },
            )])),
        ),
        Network::Container(id) => (Some(format!("container:{id}")), None),
    };
    let ports = spec.ports.iter().map(|(port, protocol, host_ip, host_port)| {
        let binding = PortBinding { host_ip: Some(host_ip.clone()), host_port: Some(host_port.to_string()) };
        (format!("{port}/{}", protocol.to_lowercase()), Some(vec![binding]))
    });
    let mut security_opt = spec.security_opt.clone();
    if spec.no_new_privileges {
        security_opt.push("no-new-privileges".to_owned());
    }
    let host_config = HostConfig {
        log_config: Some(HostConfigLogConfig {
            typ: Some("local".to_owned()),
            config: Some(HashMap::from([
                ("max-size".to_owned(), LOG_MAX_SIZE.to_owned()),
                ("max-file".to_owned(), LOG_MAX_FILES.to_owned()),
            ])),
        }),
        // The engine's own restarts hide attempts, and removal by itself loses exit facts (D-303).
        restart_policy: Some(RestartPolicy { name: Some(RestartPolicyNameEnum::NO), maximum_retry_count: None }),
        auto_remove: Some(false),
        network_mode,
        ipc_mode: spec.ipc.clone(),
        pid_mode: spec.pid.clone(),
        dns: some(&spec.dns),
        dns_search: some(&spec.dns_search),
        dns_options: some(&spec.dns_options),
        extra_hosts: some(&spec.extra_hosts),
        mounts: Some(spec.mounts.iter().map(mount).collect()),
        tmpfs: Some(spec.tmpfs.clone().into_iter().collect()),
        nano_cpus: spec.nano_cpus,
        cpu_shares: spec.cpu_shares,
        memory: spec.memory,
        // No swap beside the limit: the same value means none (D-302).
        memory_swap: spec.memory,
        memory_reservation: spec.memory_reservation,
        pids_limit: spec.pids_limit,
        shm_size: spec.shm_size,
        oom_score_adj: spec.oom_score_adj,
        cgroup_parent: spec.cgroup_parent.clone(),
        privileged: Some(spec.privileged),
        readonly_rootfs: Some(spec.read_only_root),
        cap_add: some(&spec.cap_add),
        cap_drop: some(&spec.cap_drop),
        security_opt: some(&security_opt),
        group_add: some(&spec.supplementary_groups.iter().map(ToString::to_string).collect::<Vec<_>>()),
        sysctls: Some(spec.sysctls.clone().into_iter().collect()),
        runtime: spec.runtime.clone(),
        port_bindings: Some(ports.clone().collect()),
        ..HostConfig::default()
    };
    ContainerCreateBody {
        image: Some(spec.image.clone()),
        labels: Some(spec.labels.clone().into_iter().collect()),
        // An absent entrypoint keeps the image's; an empty one would remove it (D-301).
        entrypoint: spec.entrypoint.clone(),
        cmd: spec.cmd.clone(),
        env: Some(spec.env.clone()),
        working_dir: spec.working_dir.clone(),
        hostname: spec.hostname.clone(),
        domainname: spec.domainname.clone(),
        user: spec.user.clone(),
        tty: Some(spec.tty),
        open_stdin: Some(spec.stdin),
        stdin_once: Some(spec.stdin_once),
        attach_stdin: Some(false),
        attach_stdout: Some(false),
        attach_stderr: Some(false),
        exposed_ports: some(&ports.map(|(port, _)| port).collect::<Vec<_>>()),
        healthcheck: Some(HealthConfig { test: Some(vec!["NONE".to_owned()]), ..HealthConfig::default() }),
        network_disabled: (spec.network == Network::Disabled).then_some(true),
        networking_config: endpoints.map(|endpoints| NetworkingConfig { endpoints_config: Some(endpoints) }),
        host_config: Some(host_config),
        ..ContainerCreateBody::default()
    }
}

fn some(list: &[String]) -> Option<Vec<String>> {
    (!list.is_empty()).then(|| list.to_vec())
}

/// The `Mounts` form: a missing source is a clean refusal, where `Binds` would make a directory (D-1002).
fn mount(mount: &Mount) -> EngineMount {
    let Mount { source, target, read_only, propagation } = mount;
    let propagation = match propagation.as_deref() {
        Some("rshared") => Some(MountBindOptionsPropagationEnum::RSHARED),
        Some("rslave") => Some(MountBindOptionsPropagationEnum::RSLAVE),
        Some("rprivate") => Some(MountBindOptionsPropagationEnum::RPRIVATE),
        Some(_) | None => None,
    };
    EngineMount {
        typ: Some(MountType::BIND),
        source: Some(source.clone()),
        target: Some(target.clone()),
        read_only: Some(*read_only),
        bind_options: propagation
            .map(|propagation| MountBindOptions { propagation: Some(propagation), ..MountBindOptions::default() }),
        ..EngineMount::default()
    }
}
