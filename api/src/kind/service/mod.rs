//! Services: only headless ones are run, which are names of pods and nothing more. Whoever creates another is told so.
//!
//! A pod's names come from its own `hostname` and `subdomain` (D-213); the service is what a cluster needs to serve them, so manifests
//! have it, and it is kept as it would be there.

mod validate;

use jiff::Timestamp;
use k8s_openapi::{
    api::core::v1::{LoadBalancerStatus, Service, ServicePort, ServiceSpec, ServiceStatus},
    apimachinery::pkg::util::intstr::IntOrString,
};
use serde_json::Value;

use crate::{
    field::FieldErrors,
    kind::{
        Rules, age, metadata_field,
        pod_spec::{list, text},
        unreadable,
    },
    name,
    object::Object,
    status::Status,
    write::{Context, Part},
    zero,
};

/// `spec.clusterIP` of a service without an address of its own.
const HEADLESS: &str = "None";
const NONE: &str = "<none>";

/// The rules of this kind.
pub struct ServiceRules;

impl Rules for ServiceRules {
    fn prepare(&self, new: &mut Object, old: Option<(&Object, Part)>, _: &mut Context<'_>) -> Result<(), Status> {
        let mut service: Service = new.to_typed().map_err(Status::internal)?;
        let stored = old.map(|(old, _)| old.to_typed::<Service>()).transpose().map_err(Status::internal)?;
        match (old, stored) {
            (Some((_, Part::Status)), Some(stored)) => service.spec = stored.spec,
            (Some((_, Part::Main)), Some(stored)) => {
                service.status = stored.status;
                keep_address(&mut service, stored.spec.unwrap_or_default());
            }
            (Some(_) | None, _) => {
                service.status =
                    Some(ServiceStatus { load_balancer: Some(LoadBalancerStatus::default()), conditions: None });
            }
        }
        default_spec(service.spec.get_or_insert_default());
        *new = Object::from_typed(&service).map_err(Status::internal)?;
        zero::omit(new);
        Ok(())
    }

    fn validate(&self, new: &Object, old: Option<(&Object, Part)>) -> FieldErrors {
        let read = |object: &Object| object.to_typed::<Service>();
        let (new, old) = match (read(new), old.map(|(old, _)| read(old)).transpose()) {
            (Ok(new), Ok(old)) => (new, old),
            (Err(error), _) | (_, Err(error)) => return unreadable(&error),
        };
        validate::validate(&new.spec.unwrap_or_default(), old.and_then(|old| old.spec).as_ref())
    }

    /// The name is a part of others' names, and begins with a letter (DNS-1035).
    fn validate_name(&self, name: &str) -> Vec<String> {
        name::validate_dns_1035_label(name)
    }

    fn field(&self, object: &Object, label: &str) -> Option<String> {
        let spec = |field: &str| Some(object.text(&["spec", field]).unwrap_or_default().to_owned());
        match label {
            "spec.clusterIP" => spec("clusterIP"),
            "spec.type" => spec("type"),
            _ => metadata_field(object, label),
        }
    }

    fn cells(&self, object: &Object, now: Timestamp) -> Vec<Value> {
        let spec = object.to_typed::<Service>().ok().and_then(|service| service.spec).unwrap_or_default();
        let or_none = |text: String| Value::from(if text.is_empty() { NONE.to_owned() } else { text });
        let ports = list(&spec.ports).iter().map(|port| {
            let protocol = port.protocol.as_deref().unwrap_or("TCP");
            match port.node_port {
                Some(node_port) if node_port > 0 => format!("{}:{node_port}/{protocol}", port.port),
                Some(_) | None => format!("{}/{protocol}", port.port),
            }
        });
        let selector = spec.selector.iter().flatten().map(|(key, value)| format!("{key}={value}"));
        vec![
            object.name().into(),
            text(&spec.type_).into(),
            or_none(text(&spec.cluster_ip).to_owned()),
            or_none(list(&spec.external_ips).join(",")),
            or_none(ports.collect::<Vec<_>>().join(",")),
            age(object, now).into(),
            or_none(selector.collect::<Vec<_>>().join(",")),
        ]
    }
}

/// What a writer who does not know of it leaves out of an update.
fn keep_address(service: &mut Service, stored: ServiceSpec) {
    let spec = service.spec.get_or_insert_default();
    if text(&spec.cluster_ip).is_empty() && list(&spec.cluster_ips).is_empty() {
        (spec.cluster_ip, spec.cluster_ips) = (stored.cluster_ip, stored.cluster_ips);
    }
}

fn default_spec(spec: &mut ServiceSpec) {
    let or = |field: &mut Option<String>, default: &str| {
        if text(field).is_empty() {
            *field = Some(default.to_owned());
        }
    };
    or(&mut spec.session_affinity, "None");
    or(&mut spec.type_, "ClusterIP");
    for port in spec.ports.iter_mut().flatten() {
        default_port(port);
    }
    or(&mut spec.internal_traffic_policy, "Cluster");
    match (text(&spec.cluster_ip), list(&spec.cluster_ips).first()) {
        ("", Some(first)) => spec.cluster_ip = Some(first.clone()),
        ("", None) => {}
        (address, None) => spec.cluster_ips = Some(vec![address.to_owned()]),
        (_, Some(_)) => {}
    }
    if text(&spec.cluster_ip) == HEADLESS {
        or(&mut spec.ip_family_policy, "SingleStack");
        if list(&spec.ip_families).is_empty() {
            spec.ip_families = Some(vec!["IPv4".to_owned()]);
        }
    }
}

fn default_port(port: &mut ServicePort) {
    if text(&port.protocol).is_empty() {
        port.protocol = Some("TCP".to_owned());
    }
    let is_unset = match &port.target_port {
        None | Some(IntOrString::Int(0)) => true,
        Some(IntOrString::String(name)) => name.is_empty(),
        Some(IntOrString::Int(_)) => false,
    };
    if is_unset {
        port.target_port = Some(IntOrString::Int(port.port));
    }
}

#[cfg(test)]
mod tests;
