//! Containers and init containers: what they are, their ports, resources and everything that hangs on them.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::{
    api::core::v1::{Container, ContainerPort, PodSpec, ResourceRequirements},
    apimachinery::pkg::api::resource::Quantity as QuantityText,
};

use super::{
    Owner, env, invalid_all, list, probe,
    resources::{self, is_overcommitted},
    restart, security, text, validate_choice, volume,
};
use crate::{
    field::{FieldErrors, Path},
    name,
    quantity::Quantity,
};

const NEGATIVE: &str = "must be greater than or equal to 0";
const PORT: &str = "must be between 1 and 65535, inclusive";

/// All containers of a pod: J-450, J-452, J-454 and what Kubernetes checks besides.
pub(super) fn validate_containers(
    errors: &mut FieldErrors,
    spec: &PodSpec,
    volumes: &BTreeSet<&str>,
    owner: Owner,
    path: &Path,
) {
    let containers_path = path.child("containers");
    if spec.containers.is_empty() {
        errors.required(&containers_path, "");
    }
    let mut names = BTreeSet::new();
    for (index, container) in spec.containers.iter().enumerate() {
        let path = containers_path.index(index);
        validate_container(errors, container, volumes, owner, &path);
        if !names.insert(container.name.as_str()) {
            errors.duplicate(&path.child("name"), container.name.as_str());
        }
        probe::validate_all(errors, container, spec.termination_grace_period_seconds, &path);
    }
    validate_host_ports(errors, spec.containers.iter().enumerate(), &containers_path);

    let inits_path = path.child("initContainers");
    for (index, container) in list(&spec.init_containers).iter().enumerate() {
        let path = inits_path.index(index);
        validate_container(errors, container, volumes, owner, &path);
        let restart_policy = text(&container.restart_policy);
        // Names are unique over both lists, because logs and statuses are asked for by them.
        if !names.insert(container.name.as_str()) && !container.name.is_empty() {
            errors.duplicate(&path.child("name"), container.name.as_str());
        }
        // Plain init containers run one by one, so each has the host's ports for itself.
        validate_host_ports(errors, [(index, container)].into_iter(), &inits_path);
        if restart_policy == "Always" {
            probe::validate_all(errors, container, spec.termination_grace_period_seconds, &path);
        } else {
            for (field, set) in [
                ("lifecycle", container.lifecycle.is_some()),
                ("livenessProbe", container.liveness_probe.is_some()),
                ("readinessProbe", container.readiness_probe.is_some()),
                ("startupProbe", container.startup_probe.is_some()),
            ] {
                if set {
                    let detail = "may not be set for init containers without restartPolicy=Always";
                    errors.forbidden(&path.child(field), detail);
                }
            }
        }
    }
    for (path, containers) in [(&containers_path, &spec.containers[..]), (&inits_path, list(&spec.init_containers))] {
        for (index, container) in containers.iter().enumerate() {
            env::validate_files(errors, container, list(&spec.volumes), &path.index(index).child("env"));
        }
    }
    if spec.host_network == Some(true) {
        for (path, containers) in [(&containers_path, &spec.containers[..]), (&inits_path, list(&spec.init_containers))]
        {
            validate_host_network_ports(errors, containers, owner, path);
        }
    }
}

fn validate_container(
    errors: &mut FieldErrors,
    container: &Container,
    volumes: &BTreeSet<&str>,
    owner: Owner,
    path: &Path,
) {
    let name_path = path.child("name");
    if container.name.is_empty() {
        errors.required(&name_path, "");
    } else {
        invalid_all(errors, &name_path, &container.name, name::validate_label(&container.name));
    }
    let image = text(&container.image);
    let image_path = path.child("image");
    if image.is_empty() {
        errors.required(&image_path, "");
    } else if owner == Owner::Pod && image.trim() != image {
        errors.invalid(&image_path, image, "must not have leading or trailing whitespace");
    }
    let policy = text(&container.termination_message_policy);
    validate_choice(errors, &path.child("terminationMessagePolicy"), policy, &["FallbackToLogsOnError", "File"]);
    validate_ports(errors, list(&container.ports), &path.child("ports"));
    restart::validate(errors, container, path);
    env::validate_env(errors, list(&container.env), &path.child("env"));
    env::validate_env_from(errors, list(&container.env_from), &path.child("envFrom"));
    volume::validate_mounts(errors, container, volumes, path);
    let policy = text(&container.image_pull_policy);
    validate_choice(errors, &path.child("imagePullPolicy"), policy, &["Always", "IfNotPresent", "Never"]);
    if let Some(resources) = &container.resources {
        validate_resources(errors, resources, Level::Container, &path.child("resources"));
    }
    for (index, resize) in list(&container.resize_policy).iter().enumerate() {
        let path = path.child("resizePolicy").index(index);
        validate_choice(errors, &path.child("resourceName"), &resize.resource_name, &["cpu", "memory"]);
        let policies = ["NotRequired", "RestartContainer"];
        validate_choice(errors, &path.child("restartPolicy"), &resize.restart_policy, &policies);
    }
    if let Some(context) = &container.security_context {
        security::validate_container(errors, context, &path.child("securityContext"));
    }
}

fn validate_ports(errors: &mut FieldErrors, ports: &[ContainerPort], path: &Path) {
    let mut names = BTreeSet::new();
    for (index, port) in ports.iter().enumerate() {
        let path = path.index(index);
        let name = text(&port.name);
        if !name.is_empty() {
            let violations = port_name_violations(name);
            if violations.is_empty() && !names.insert(name) {
                errors.duplicate(&path.child("name"), name);
            }
            invalid_all(errors, &path.child("name"), name, violations);
        }
        if port.container_port == 0 {
            errors.required(&path.child("containerPort"), "");
        } else {
            validate_port_number(errors, port.container_port, &path.child("containerPort"));
        }
        if let Some(host_port) = port.host_port.filter(|port| *port != 0) {
            validate_port_number(errors, host_port, &path.child("hostPort"));
        }
        validate_choice(errors, &path.child("protocol"), text(&port.protocol), &["SCTP", "TCP", "UDP"]);
    }
}

pub(super) fn validate_port_number(errors: &mut FieldErrors, port: i32, path: &Path) {
    if !(1..=65535).contains(&port) {
        errors.invalid(path, port, PORT);
    }
}

/// Violations of the rule for names of ports.
pub(super) fn port_name_violations(name: &str) -> Vec<String> {
    let charset =
        !name.is_empty() && name.bytes().all(|byte| byte == b'-' || byte.is_ascii_lowercase() || byte.is_ascii_digit());
    [
        (name.len() > 15, "must be no more than 15 characters"),
        (!charset, "must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)"),
        (!name.bytes().any(|byte| byte.is_ascii_lowercase()), "must contain at least one letter (a-z)"),
        (name.contains("--"), "must not contain consecutive hyphens"),
        (name.starts_with('-') || name.ends_with('-'), "must not begin or end with a hyphen"),
    ]
    .into_iter()
    .filter(|(broken, _)| *broken)
    .map(|(_, violation)| violation.to_owned())
    .collect()
}

/// A host port can be taken only once.
fn validate_host_ports<'a>(
    errors: &mut FieldErrors,
    containers: impl Iterator<Item = (usize, &'a Container)>,
    path: &Path,
) {
    let mut taken = BTreeSet::new();
    for (index, container) in containers {
        for (port_index, port) in list(&container.ports).iter().enumerate() {
            let Some(host_port) = port.host_port.filter(|port| *port != 0) else { continue };
            let key = format!("{}/{}/{host_port}", text(&port.protocol), text(&port.host_ip));
            if !taken.insert(key.clone()) {
                errors.duplicate(&path.index(index).child("ports").index(port_index).child("hostPort"), key);
            }
        }
    }
}

fn validate_host_network_ports(errors: &mut FieldErrors, containers: &[Container], owner: Owner, path: &Path) {
    for (index, container) in containers.iter().enumerate() {
        for (port_index, port) in list(&container.ports).iter().enumerate() {
            let host_port = port.host_port.unwrap_or_default();
            // The template's pods get the port by default later.
            let judged = owner == Owner::Pod || host_port != 0;
            if judged && host_port != port.container_port {
                let path = path.index(index).child("ports").index(port_index).child("hostPort");
                errors.invalid(&path, host_port, "must match `containerPort` when `hostNetwork` is true");
            }
        }
    }
}

/// Whose resources they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Level {
    Container,
    Pod,
}

/// Requests and limits, and how they stand to each other.
pub(super) fn validate_resources(
    errors: &mut FieldErrors,
    resources: &ResourceRequirements,
    level: Level,
    path: &Path,
) {
    let (limits_path, requests_path) = (path.child("limits"), path.child("requests"));
    let limits = read_quantities(errors, resources.limits.as_ref(), level, &limits_path);
    let requests = read_quantities(errors, resources.requests.as_ref(), level, &requests_path);
    for (resource, request) in requests {
        match limits.get(resource) {
            Some(limit) if request.milli() > limit.milli() => {
                let detail = format!("must be less than or equal to {resource} limit of {}", limit.canonical());
                errors.invalid(&requests_path, request.canonical(), &detail);
            }
            Some(limit) if !is_overcommitted(resource) && request.milli() != limit.milli() => {
                let detail = format!("must be equal to {resource} limit of {}", limit.canonical());
                errors.invalid(&requests_path, request.canonical(), &detail);
            }
            None if !is_overcommitted(resource) => {
                errors.required(&limits_path, "Limit must be set for non overcommitable resources");
            }
            Some(_) | None => {}
        }
    }
}

/// Checks each name and quantity; answers the quantities that are right.
fn read_quantities<'a>(
    errors: &mut FieldErrors,
    quantities: Option<&'a BTreeMap<String, QuantityText>>,
    level: Level,
    path: &Path,
) -> BTreeMap<&'a str, Quantity> {
    let mut read = BTreeMap::new();
    for (resource, quantity) in quantities.into_iter().flatten() {
        let path = path.key(resource);
        match level {
            Level::Container => validate_resource_name(errors, resource, &path),
            Level::Pod => resources::validate_name(errors, resource, &path),
        }
        match Quantity::parse(&quantity.0) {
            Ok(quantity) => {
                if quantity.milli() < 0 {
                    errors.invalid(&path, quantity.canonical(), NEGATIVE);
                } else if !is_overcommitted(resource) && quantity.milli() % 1000 != 0 {
                    errors.invalid(&path, quantity.canonical(), "must be an integer");
                }
                read.insert(resource.as_str(), quantity);
            }
            Err(detail) => errors.invalid(&path, quantity.0.as_str(), &detail),
        }
    }
    read
}

fn validate_resource_name(errors: &mut FieldErrors, resource: &str, path: &Path) {
    const STANDARD: [&str; 3] = ["cpu", "memory", "ephemeral-storage"];
    invalid_all(errors, path, resource, name::validate_qualified_name(resource));
    if !resource.contains('/') && !STANDARD.contains(&resource) && !resource.starts_with("hugepages-") {
        // Two checks say the same of one name, and both answer.
        if resource != "storage" {
            errors.invalid(path, resource, "must be a standard resource type or fully qualified");
        }
        errors.invalid(path, resource, "must be a standard resource for containers");
    }
}
