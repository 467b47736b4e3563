//! What is wrong with a service, and what of services is not run.

use std::collections::BTreeSet;

use k8s_openapi::{
    api::core::v1::{ServicePort, ServiceSpec},
    apimachinery::pkg::util::intstr::IntOrString,
};

use super::HEADLESS;
use crate::{
    field::{FieldErrors, Path},
    kind::pod_spec::{invalid_all, list, text},
    name,
};

const PORT: &str = "must be between 1 and 65535, inclusive";
const PROTOCOLS: [&str; 3] = ["SCTP", "TCP", "UDP"];
const TYPES: [&str; 4] = ["ClusterIP", "ExternalName", "LoadBalancer", "NodePort"];
const AFFINITIES: [&str; 2] = ["ClientIP", "None"];

/// Why a service with an address of its own is refused: nothing here would answer at it.
const NOT_RUN: &str = "not run by this version of jobd, which serves headless services only (clusterIP: None)";

pub(super) fn validate(spec: &ServiceSpec, old: Option<&ServiceSpec>) -> FieldErrors {
    let mut errors = FieldErrors::default();
    let path = Path::new("spec");
    validate_ports(&mut errors, list(&spec.ports), &path.child("ports"));
    let selector = path.child("selector");
    for (key, value) in spec.selector.iter().flatten() {
        invalid_all(&mut errors, &selector, key, name::validate_qualified_name(key));
        invalid_all(&mut errors, &selector, value, name::validate_label_value(value));
    }
    let affinity = text(&spec.session_affinity);
    if !AFFINITIES.contains(&affinity) {
        errors.not_supported(&path.child("sessionAffinity"), affinity, &AFFINITIES);
    }
    validate_type(&mut errors, spec, &path);
    if let Some(old) = old
        && text(&old.cluster_ip) != text(&spec.cluster_ip)
    {
        errors.invalid(&path.child("clusterIPs").index(0), text(&spec.cluster_ip), "may not change once set");
    }
    errors
}

/// The type, and the address that goes with it.
fn validate_type(errors: &mut FieldErrors, spec: &ServiceSpec, path: &Path) {
    let type_ = text(&spec.type_);
    if !TYPES.contains(&type_) {
        errors.not_supported(&path.child("type"), type_, &TYPES);
        return;
    }
    if type_ != "ClusterIP" {
        errors.forbidden(&path.child("type"), NOT_RUN);
        return;
    }
    let addresses = path.child("clusterIPs");
    match list(&spec.cluster_ips) {
        [] => errors.forbidden(&path.child("clusterIP"), NOT_RUN),
        [first, rest @ ..] => {
            if first != text(&spec.cluster_ip) {
                errors.invalid(&addresses, first.as_str(), "first value must match `clusterIP`");
            } else if first != HEADLESS {
                errors.forbidden(&path.child("clusterIP"), NOT_RUN);
            } else if let Some(other) = rest.first() {
                errors.invalid(
                    &addresses.index(1),
                    other.as_str(),
                    "no more than one value may be given for a headless service",
                );
            }
        }
    }
    for (field, is_used) in [
        ("externalIPs", !list(&spec.external_ips).is_empty()),
        ("loadBalancerIP", !text(&spec.load_balancer_ip).is_empty()),
        ("externalName", !text(&spec.external_name).is_empty()),
    ] {
        if is_used {
            errors.forbidden(&path.child(field), NOT_RUN);
        }
    }
    if list(&spec.ip_families).iter().any(|family| family != "IPv4") {
        errors.forbidden(&path.child("ipFamilies"), "not run by this version of jobd, whose pods have IPv4 addresses");
    }
}

fn validate_ports(errors: &mut FieldErrors, ports: &[ServicePort], path: &Path) {
    let (mut names, mut numbers) = (BTreeSet::new(), BTreeSet::new());
    for (index, port) in ports.iter().enumerate() {
        let path = path.index(index);
        let name = text(&port.name);
        if name.is_empty() {
            if ports.len() > 1 {
                errors.required(&path.child("name"), "");
            }
        } else {
            invalid_all(errors, &path.child("name"), name, name::validate_label(name));
            if !names.insert(name) {
                errors.duplicate(&path.child("name"), name);
            }
        }
        if !is_port(port.port) {
            errors.invalid(&path.child("port"), port.port, PORT);
        }
        let protocol = text(&port.protocol);
        if !PROTOCOLS.contains(&protocol) {
            errors.not_supported(&path.child("protocol"), protocol, &PROTOCOLS);
        }
        match &port.target_port {
            Some(IntOrString::Int(target)) if !is_port(*target) => {
                errors.invalid(&path.child("targetPort"), *target, PORT);
            }
            Some(IntOrString::String(target)) => {
                invalid_all(errors, &path.child("targetPort"), target, name::validate_label(target));
            }
            Some(IntOrString::Int(_)) | None => {}
        }
        if port.node_port.is_some_and(|node_port| node_port != 0) {
            errors.forbidden(&path.child("nodePort"), "may not be used when `type` is 'ClusterIP'");
        }
        if !numbers.insert((port.port, protocol)) {
            errors.duplicate(&path, serde_json::json!({"port": port.port, "protocol": protocol}));
        }
    }
}

fn is_port(number: i32) -> bool {
    (1..=65535).contains(&number)
}
