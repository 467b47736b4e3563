//! A pod's container into what the engine is asked for (D-301 to D-307, D-402, D-1001 to D-1008, D-1101).
#![deny(clippy::disallowed_methods)]

use std::{
    collections::BTreeMap,
    hash::{DefaultHasher, Hash as _, Hasher as _},
};

use jobd_api::quantity::Quantity;
use k8s_openapi::api::core::v1::{Container, Pod, PodSecurityContext, PodSpec, ResourceRequirements, SecurityContext};

use super::{
    cgroup::PodLimits,
    containers::label,
    environment::Environment,
    events, network,
    observed::{NodeFacts, SANDBOX, needs_sandbox, roster},
};
use crate::engine::{ContainerSpec, Image, Mount, Network, pause};

/// Annotation of a pod that needs no network: `none`. Such a container starts faster (D-210, D-212).
pub const NETWORK_ANNOTATION: &str = "jobd/network";

/// The engine refuses less (D-305).
const MEMORY_MIN: i64 = 6 * 1024 * 1024;
/// The engine refuses less (D-305): a hundredth of a CPU.
const NANO_CPUS_MIN: i64 = 10_000_000;
/// The kernel refuses less (D-305).
const CPU_SHARES_MIN: i64 = 2;
/// D-304: longer ones fail at start.
const HOSTNAME_MAX: usize = 63;
/// The kernel takes no longer name of a host.
const KERNEL_HOSTNAME_MAX: usize = 64;

/// What a container is made from, beside its pod.
#[derive(Clone, Debug)]
pub struct Parts<'a> {
    pub pod: &'a Pod,
    pub container: &'a Container,
    pub attempt: u32,
    pub environment: &'a Environment,
    pub image: &'a Image,
    pub mounts: Vec<Mount>,
    /// Path -> options.
    pub tmpfs: BTreeMap<String, String>,
    pub node: &'a NodeFacts,
    /// The id of the container whose network, IPC and perhaps processes it shares (D-202).
    pub sandbox: Option<&'a str>,
}

/// The deterministic name of an attempt's container (D-401).
#[must_use]
pub fn name(pod_uid: &str, container: &str, attempt: u32) -> String {
    format!("jobd-{pod_uid}-{container}-{attempt}")
}

/// Whether the pod asked for no network.
#[must_use]
pub fn has_no_network(pod: &Pod) -> bool {
    pod.metadata.annotations.as_ref().and_then(|all| all.get(NETWORK_ANNOTATION)).is_some_and(|value| value == "none")
}

/// Whether `/etc/hosts` is ours, as a kubelet's: the engine writes one only for a container with a network of its own.
#[must_use]
pub fn has_own_hosts(pod: &Pod) -> bool {
    let spec = pod.spec.as_ref();
    let on_host = spec.is_some_and(|spec| spec.host_network == Some(true));
    !on_host && (has_no_network(pod) || spec.is_some_and(needs_sandbox))
}

/// J-711. What the pod gives as the kernel's name is taken as it is.
#[must_use]
pub fn hostname(pod: &Pod) -> String {
    let spec = pod.spec.as_ref();
    if let Some(name) = hostname_override(pod) {
        return name.to_owned();
    }
    let given = spec.and_then(|spec| spec.hostname.as_ref());
    let name = given.filter(|name| !name.is_empty()).or(pod.metadata.name.as_ref()).cloned().unwrap_or_default();
    let mut end = name.len().min(HOSTNAME_MAX);
    while !name.is_char_boundary(end) {
        end -= 1;
    }
    name[..end].trim_end_matches(['-', '.']).to_owned()
}

fn hostname_override(pod: &Pod) -> Option<&str> {
    pod.spec.as_ref()?.hostname_override.as_deref().filter(|name| !name.is_empty())
}

/// The domain of a pod that has a subdomain.
#[must_use]
pub fn domain(pod: &Pod) -> Option<String> {
    let subdomain = pod.spec.as_ref()?.subdomain.as_deref().filter(|name| !name.is_empty())?;
    let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
    hostname_override(pod).is_none().then(|| format!("{subdomain}.{namespace}.{}", network::ZONE))
}

/// The name that the kernel shows: with the domain, if the pod wants that.
///
/// # Errors
/// When it is longer than a kernel's name can be.
pub fn kernel_hostname(pod: &Pod) -> Result<String, String> {
    let name = hostname(pod);
    let wanted = pod.spec.as_ref().is_some_and(|spec| spec.set_hostname_as_fqdn == Some(true));
    let Some(domain) = domain(pod).filter(|_| wanted) else { return Ok(name) };
    let full = format!("{name}.{domain}");
    if full.len() > KERNEL_HOSTNAME_MAX {
        return Err(format!(
            "failed to construct FQDN from pod hostname and cluster domain, FQDN {full} is too long ({KERNEL_HOSTNAME_MAX} characters is the max, {} characters requested)",
            full.len()
        ));
    }
    Ok(full)
}

/// What limits the pod as a whole: for several containers that is a cgroup's business, one alone gets it itself.
#[must_use]
pub fn pod_limits(pod: &Pod) -> PodLimits {
    let Some(spec) = pod.spec.as_ref().filter(|spec| needs_sandbox(spec)) else { return PodLimits::default() };
    let mut read = ContainerSpec::default();
    // Quantities were checked when they came in.
    let _ = limits(spec.resources.as_ref(), None, &mut read);
    PodLimits { memory: read.memory, nano_cpus: read.nano_cpus, cpu_shares: read.cpu_shares }
}

/// What a container gets: its own, and where it has no limit, the pod's. Alone it also gets what the pod asks for.
fn resources(spec: &PodSpec, container: &Container, alone: bool) -> Option<ResourceRequirements> {
    let own = container.resources.clone();
    let Some(whole) = &spec.resources else { return own };
    let mut own = own.unwrap_or_default();
    for (name, limit) in whole.limits.iter().flatten() {
        own.limits.get_or_insert_default().entry(name.clone()).or_insert_with(|| limit.clone());
    }
    if alone {
        own.requests.get_or_insert_default().extend(whole.requests.clone().unwrap_or_default());
    }
    Some(own)
}

/// The whole request.
///
/// # Errors
/// The text of the `CreateContainerConfigError` (J-2511).
pub fn build(parts: Parts<'_>) -> Result<ContainerSpec, String> {
    let Parts { pod, container, attempt, environment, image, mounts, tmpfs, node, sandbox } = parts;
    let default = PodSpec::default();
    let spec = pod.spec.as_ref().unwrap_or(&default);
    let pod_security = spec.security_context.clone().unwrap_or_default();
    let security = container.security_context.clone().unwrap_or_default();
    check_non_root(pod, container, &pod_security, &security, image)?;
    let host_network = spec.host_network.unwrap_or_default();
    let uid = pod.metadata.uid.clone().unwrap_or_default();
    let words = |list: &Option<Vec<String>>| {
        let list = list.as_ref().filter(|list| !list.is_empty())?;
        Some(list.iter().map(|word| environment.expand(word)).collect::<Vec<_>>())
    };
    let capabilities = security.capabilities.clone().unwrap_or_default();
    let mut created = ContainerSpec {
        name: name(&uid, &container.name, attempt),
        image: container.image.clone().unwrap_or_default(),
        labels: labels(pod, &container.name, attempt, kind(spec, &container.name), node),
        // Absent keeps the image's; an empty list would remove it (D-301).
        entrypoint: words(&container.command),
        cmd: words(&container.args),
        env: environment.lines(),
        working_dir: container.working_dir.clone().filter(|dir| !dir.is_empty()),
        hostname: if !host_network && sandbox.is_none() { Some(kernel_hostname(pod)?) } else { None },
        domainname: if !host_network && sandbox.is_none() { kernel_domain(pod) } else { None },
        user: user(&pod_security, &security, image),
        supplementary_groups: groups(&pod_security),
        tty: container.tty.unwrap_or_default(),
        stdin: container.stdin.unwrap_or_default(),
        stdin_once: container.stdin_once.unwrap_or_default(),
        network: match sandbox {
            Some(sandbox) if !host_network => Network::Container(sandbox.to_owned()),
            Some(_) | None => network(pod, node),
        },
        ipc: if spec.host_ipc.unwrap_or_default() { Some("host".to_owned()) } else { sandbox.map(joined) },
        pid: if spec.host_pid.unwrap_or_default() {
            Some("host".to_owned())
        } else {
            sandbox.filter(|_| spec.share_process_namespace == Some(true)).map(joined)
        },
        mounts,
        tmpfs,
        pids_limit: (node.pids_limit > 0).then_some(node.pids_limit),
        privileged: security.privileged.unwrap_or_default(),
        read_only_root: security.read_only_root_filesystem.unwrap_or_default(),
        no_new_privileges: security.allow_privilege_escalation == Some(false),
        cap_add: capabilities.add.unwrap_or_default(),
        cap_drop: capabilities.drop.unwrap_or_default(),
        security_opt: security_options(&pod_security, &security)?,
        ..ContainerSpec::default()
    };
    if sandbox.is_none() {
        own_namespaces(pod, &mut created);
    }
    limits(resources(spec, container, sandbox.is_none()).as_ref(), Some(node), &mut created)?;
    created.labels.insert(label::SPEC_HASH.to_owned(), hash(&created));
    Ok(created)
}

/// The request for a pod's sandbox (D-202, D-207): what the engine refuses in containers that join another is all here (D-203).
#[must_use]
pub fn sandbox(pod: &Pod, attempt: u32, node: &NodeFacts) -> ContainerSpec {
    let default = PodSpec::default();
    let spec = pod.spec.as_ref().unwrap_or(&default);
    let uid = pod.metadata.uid.as_deref().unwrap_or_default();
    let mut created = ContainerSpec {
        name: name(uid, SANDBOX, attempt),
        image: pause::IMAGE.to_owned(),
        labels: labels(pod, SANDBOX, attempt, "sandbox", node),
        // A name that is too long was refused before.
        hostname: kernel_hostname(pod).ok().filter(|_| spec.host_network != Some(true)),
        domainname: kernel_domain(pod).filter(|_| spec.host_network != Some(true)),
        network: network(pod, node),
        ipc: Some(if spec.host_ipc.unwrap_or_default() { "host" } else { "shareable" }.to_owned()),
        pid: spec.host_pid.unwrap_or_default().then(|| "host".to_owned()),
        read_only_root: true,
        no_new_privileges: true,
        cap_drop: vec!["ALL".to_owned()],
        ..ContainerSpec::default()
    };
    own_namespaces(pod, &mut created);
    created.labels.insert(label::SPEC_HASH.to_owned(), hash(&created));
    created
}

/// The domain, if it is not in the host name already.
fn kernel_domain(pod: &Pod) -> Option<String> {
    let domain = domain(pod)?;
    kernel_hostname(pod).is_ok_and(|name| !name.ends_with(&domain)).then_some(domain)
}

/// D-212, D-213.
fn network(pod: &Pod, node: &NodeFacts) -> Network {
    let host = pod.spec.as_ref().and_then(|spec| spec.host_network).unwrap_or_default();
    match (host, has_no_network(pod)) {
        (true, _) => Network::Host,
        (false, true) => Network::Disabled,
        (false, false) => network::named(pod, &node.instance).unwrap_or_default(),
    }
}

fn joined(sandbox: &str) -> String {
    format!("container:{sandbox}")
}

/// What belongs to the network and the other namespaces, and so to the container that owns them: ports, names, kernel parameters.
fn own_namespaces(pod: &Pod, created: &mut ContainerSpec) {
    let Some(spec) = &pod.spec else { return };
    // Without a network the hosts file is ours (D-212).
    created.extra_hosts = if created.network == Network::Disabled { Vec::new() } else { extra_hosts(spec) };
    created.ports = roster(spec).into_iter().flat_map(|(_, container)| ports(container)).collect();
    let sysctls = spec.security_context.iter().flat_map(|security| security.sysctls.iter().flatten());
    created.sysctls = sysctls.map(|sysctl| (sysctl.name.clone(), sysctl.value.clone())).collect();
    dns(spec, created);
}

fn kind(spec: &PodSpec, container: &str) -> &'static str {
    let init = spec.init_containers.iter().flatten().any(|one| one.name == container);
    if init { "init" } else { "main" }
}

/// D-402.
fn labels(pod: &Pod, container: &str, attempt: u32, kind: &str, node: &NodeFacts) -> BTreeMap<String, String> {
    let metadata = &pod.metadata;
    let labels = [
        (label::INSTANCE, node.instance.clone()),
        (label::NAMESPACE, metadata.namespace.clone().unwrap_or_default()),
        (label::POD, metadata.name.clone().unwrap_or_default()),
        (label::UID, metadata.uid.clone().unwrap_or_default()),
        (label::CONTAINER, container.to_owned()),
        (label::ATTEMPT, attempt.to_string()),
        (label::KIND, kind.to_owned()),
    ];
    labels.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

/// Tells requests apart in a look from outside; nothing is decided by it.
fn hash(spec: &ContainerSpec) -> String {
    let mut hasher = DefaultHasher::new();
    format!("{spec:?}").hash(&mut hasher);
    format!("{:016x}", hasher.finish())
}

fn user(pod: &PodSecurityContext, container: &SecurityContext, image: &Image) -> Option<String> {
    let user = container.run_as_user.or(pod.run_as_user);
    let group = container.run_as_group.or(pod.run_as_group);
    let image_user = || image.user.split(':').next().filter(|user| !user.is_empty()).unwrap_or("0").to_owned();
    match (user, group) {
        (Some(user), Some(group)) => Some(format!("{user}:{group}")),
        (Some(user), None) => Some(user.to_string()),
        (None, Some(group)) => Some(format!("{}:{group}", image_user())),
        (None, None) => None,
    }
}

fn groups(pod: &PodSecurityContext) -> Vec<i64> {
    let mut groups = pod.supplemental_groups.clone().unwrap_or_default();
    groups.extend(pod.fs_group.filter(|group| !groups.contains(group)));
    groups
}

fn check_non_root(
    pod: &Pod,
    container: &Container,
    pod_security: &PodSecurityContext,
    security: &SecurityContext,
    image: &Image,
) -> Result<(), String> {
    if security.run_as_non_root.or(pod_security.run_as_non_root) != Some(true) {
        return Ok(());
    }
    let place = format!("(pod: \"{}\", container: {})", events::pod_identity(pod), container.name);
    match security.run_as_user.or(pod_security.run_as_user) {
        Some(0) => return Err(format!("container's runAsUser breaks non-root policy {place}")),
        Some(_) => return Ok(()),
        None => {}
    }
    let user = image.user.split(':').next().unwrap_or_default();
    match user.parse::<i64>() {
        Ok(0) => Err(format!("container has runAsNonRoot and image will run as root {place}")),
        Ok(_) => Ok(()),
        Err(_) if user.is_empty() => Err(format!("container has runAsNonRoot and image will run as root {place}")),
        Err(_) => Err(format!(
            "container has runAsNonRoot and image has non-numeric user ({user}), cannot verify user is non-root {place}"
        )),
    }
}

fn security_options(pod: &PodSecurityContext, container: &SecurityContext) -> Result<Vec<String>, String> {
    let mut options = Vec::new();
    if let Some(profile) = container.seccomp_profile.as_ref().or(pod.seccomp_profile.as_ref()) {
        match profile.type_.as_str() {
            "Unconfined" => options.push("seccomp=unconfined".to_owned()),
            "Localhost" => return Err("seccomp profiles of type Localhost are not supported".to_owned()),
            // The engine's own default profile.
            _ => {}
        }
    }
    if let Some(profile) = container.app_armor_profile.as_ref().or(pod.app_armor_profile.as_ref()) {
        match (profile.type_.as_str(), &profile.localhost_profile) {
            ("Unconfined", _) => options.push("apparmor=unconfined".to_owned()),
            ("Localhost", Some(profile)) => options.push(format!("apparmor={profile}")),
            (_, _) => {}
        }
    }
    if let Some(label) = container.se_linux_options.as_ref().or(pod.se_linux_options.as_ref()) {
        let parts = [("user", &label.user), ("role", &label.role), ("type", &label.type_), ("level", &label.level)];
        for (name, value) in parts {
            options.extend(value.as_ref().map(|value| format!("label={name}:{value}")));
        }
    }
    Ok(options)
}

fn extra_hosts(spec: &PodSpec) -> Vec<String> {
    let aliases = spec.host_aliases.iter().flatten();
    aliases.flat_map(|alias| alias.hostnames.iter().flatten().map(|name| format!("{name}:{}", alias.ip))).collect()
}

/// `ClusterFirst` and `Default` are the host's resolver, which the engine hands on by itself; there is no cluster DNS.
fn dns(spec: &PodSpec, created: &mut ContainerSpec) {
    let Some(config) = &spec.dns_config else { return };
    created.dns = config.nameservers.clone().unwrap_or_default();
    created.dns_search = config.searches.clone().unwrap_or_default();
    let options = config.options.iter().flatten();
    created.dns_options = options
        .filter_map(|option| {
            let name = option.name.as_ref()?;
            Some(option.value.as_ref().map_or_else(|| name.clone(), |value| format!("{name}:{value}")))
        })
        .collect();
}

fn ports(container: &Container) -> Vec<(u16, String, String, u16)> {
    let ports = container.ports.iter().flatten();
    ports
        .filter_map(|port| {
            let host = u16::try_from(port.host_port?).ok().filter(|port| *port != 0)?;
            let inside = u16::try_from(port.container_port).ok()?;
            let protocol = port.protocol.clone().unwrap_or_else(|| "TCP".to_owned());
            Some((inside, protocol, port.host_ip.clone().unwrap_or_default(), host))
        })
        .collect()
}

/// D-1101, within what the engine accepts (D-305).
fn limits(
    resources: Option<&ResourceRequirements>,
    node: Option<&NodeFacts>,
    created: &mut ContainerSpec,
) -> Result<(), String> {
    let Some(resources) = resources else { return Ok(()) };
    let of = |map: &Option<BTreeMap<String, _>>, name: &str| -> Result<Option<Quantity>, String> {
        let found: Option<&k8s_openapi::apimachinery::pkg::api::resource::Quantity> =
            map.as_ref().and_then(|map| map.get(name));
        found.map(|quantity| Quantity::parse(&quantity.0)).transpose()
    };
    let positive = |value: i128| i64::try_from(value).ok().filter(|value| *value > 0);
    if let Some(limit) = of(&resources.limits, "cpu")?.and_then(|limit| positive(limit.milli())) {
        let all = node.map_or(i64::MAX, |node| node.cpus.max(1).saturating_mul(1_000_000_000));
        created.nano_cpus = Some(limit.saturating_mul(1_000_000).clamp(NANO_CPUS_MIN, all));
    }
    if let Some(request) = of(&resources.requests, "cpu")?.and_then(|request| positive(request.milli())) {
        // The kernel's highest share is 2^18.
        created.cpu_shares = Some((request.saturating_mul(1024) / 1000).clamp(CPU_SHARES_MIN, 262_144));
    }
    if let Some(limit) = of(&resources.limits, "memory")?.and_then(|limit| positive(limit.value())) {
        created.memory = Some(limit.max(MEMORY_MIN));
    }
    if let Some(request) = of(&resources.requests, "memory")?.and_then(|request| positive(request.value())) {
        let request = request.max(MEMORY_MIN);
        created.memory_reservation = Some(created.memory.map_or(request, |limit| request.min(limit)));
    }
    Ok(())
}
