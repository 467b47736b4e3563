//! Defaults and validation of the pod spec, which pods and pod templates share (jobs.md 4.3 and section 24).
//!
//! Each file takes one part of the spec; [`validate`] holds their order. What this version cannot run yet is one table in
//! [`unsupported`]. Metadata is not done here, except that of templates.

mod container;
mod defaults;
mod env;
mod probe;
mod resources;
mod restart;
mod scheduling;
mod security;
mod unsupported;
mod volume;
mod warnings;

use k8s_openapi::api::core::v1::{PodSpec, PodTemplateSpec};
use serde_json::Value;

pub use defaults::{default_pod_spec, default_template_spec};
pub use resources::request;
pub use restart::{restarts, restarts_all};
pub use warnings::warnings;

use crate::{
    field::{FieldErrors, Path},
    meta, name,
};

/// Whose spec it is. A few rules hold only for pods, because the template's pods get their defaults later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner {
    Pod,
    Template,
}

/// Absent and empty are the same for the API's plain strings.
pub(crate) fn text(field: &Option<String>) -> &str {
    field.as_deref().unwrap_or_default()
}

/// A list that may be absent.
pub(crate) fn list<T>(field: &Option<Vec<T>>) -> &[T] {
    field.as_deref().unwrap_or_default()
}

/// Reports each violation of a name rule at one field.
pub(crate) fn invalid_all(errors: &mut FieldErrors, path: &Path, value: &str, violations: Vec<String>) {
    for violation in violations {
        errors.invalid(path, value, &violation);
    }
}

/// Everything that is wrong with a template (J-411, J-441): its labels and annotations, then its spec.
#[must_use]
pub fn validate_template(template: &PodTemplateSpec, path: &Path) -> FieldErrors {
    let mut errors = FieldErrors::default();
    // The path leaves `metadata` out. That is how the API answers, and clients match on it (W-56).
    meta::validate_labels_and_annotations(&template.metadata.clone().unwrap_or_default(), path, &mut errors);
    let spec_path = path.child("spec");
    let spec = template.spec.clone().unwrap_or_default();
    errors.extend(validate(&spec, Owner::Template, &spec_path));
    if !list(&spec.ephemeral_containers).is_empty() {
        errors.forbidden(&spec_path.child("ephemeralContainers"), "ephemeral containers not allowed in pod template");
    }
    errors
}

/// Everything that is wrong with a pod spec, in the API's order, and at the end what this version does not run (I-8).
#[must_use]
pub fn validate(spec: &PodSpec, owner: Owner, path: &Path) -> FieldErrors {
    let mut errors = FieldErrors::default();
    let volumes = volume::validate_volumes(&mut errors, list(&spec.volumes), &path.child("volumes"));
    container::validate_containers(&mut errors, spec, &volumes, owner, path);
    resources::validate(&mut errors, spec, path);
    validate_choice(
        &mut errors,
        &path.child("restartPolicy"),
        text(&spec.restart_policy),
        &["Always", "OnFailure", "Never"],
    );
    validate_choice(
        &mut errors,
        &path.child("dnsPolicy"),
        text(&spec.dns_policy),
        &["ClusterFirst", "ClusterFirstWithHostNet", "Default", "None"],
    );
    scheduling::validate_node_selector(&mut errors, spec, &path.child("nodeSelector"));
    security::validate_pod(&mut errors, spec, path);
    scheduling::validate_affinity(&mut errors, spec, &path.child("affinity"));
    validate_dns_config(&mut errors, spec, &path.child("dnsConfig"));
    scheduling::validate_gates(&mut errors, spec, path);
    scheduling::validate_topology_spread(&mut errors, spec, &path.child("topologySpreadConstraints"));
    let subdomain = |errors: &mut FieldErrors, field: &str, value: &str| {
        if !value.is_empty() {
            invalid_all(errors, &path.child(field), value, name::validate_subdomain(value));
        }
    };
    subdomain(&mut errors, "serviceAccountName", text(&spec.service_account_name));
    subdomain(&mut errors, "nodeName", text(&spec.node_name));
    if let Some(seconds) = spec.active_deadline_seconds
        && !(1..=i64::from(i32::MAX)).contains(&seconds)
    {
        // J-451
        errors.invalid(&path.child("activeDeadlineSeconds"), seconds, "must be between 1 and 2147483647, inclusive");
    }
    for (field, value) in [("hostname", text(&spec.hostname)), ("subdomain", text(&spec.subdomain))] {
        if !value.is_empty() {
            invalid_all(&mut errors, &path.child(field), value, name::validate_label(value));
        }
    }
    validate_hostname_override(&mut errors, spec, &path.child("hostnameOverride"));
    scheduling::validate_tolerations(&mut errors, list(&spec.tolerations), &path.child("tolerations"));
    validate_host_aliases(&mut errors, spec, &path.child("hostAliases"));
    subdomain(&mut errors, "priorityClassName", text(&spec.priority_class_name));
    subdomain(&mut errors, "runtimeClassName", text(&spec.runtime_class_name));
    if let Some(policy) = &spec.preemption_policy {
        validate_choice(&mut errors, &path.child("preemptionPolicy"), policy, &["Never", "PreemptLowerPriority"]);
    }
    if let Some(os) = &spec.os {
        validate_choice(&mut errors, &path.child("os").child("name"), &os.name, &["linux", "windows"]);
    }
    errors.extend(unsupported::refuse(spec, path));
    errors
}

/// The host name as the kernel takes it, instead of all that names and domains would make of it.
fn validate_hostname_override(errors: &mut FieldErrors, spec: &PodSpec, path: &Path) {
    /// The kernel's limit.
    const HOSTNAME_MAX: usize = 64;
    let Some(name) = &spec.hostname_override else { return };
    if spec.set_hostname_as_fqdn == Some(true) {
        errors.invalid(path, name.as_str(), "may not be specified when `setHostnameAsFQDN` is true");
    }
    if spec.host_network == Some(true) {
        errors.invalid(path, name.as_str(), "may not be specified when `hostNetwork` is true");
    }
    if name.len() > HOSTNAME_MAX {
        errors.too_long(path, HOSTNAME_MAX);
    }
    invalid_all(errors, path, name, name::validate_subdomain(name));
}

/// A field that takes one of a few words and has a default, so that it may not be empty any more.
fn validate_choice(errors: &mut FieldErrors, path: &Path, value: &str, supported: &[&str]) {
    if value.is_empty() {
        errors.required(path, "");
    } else if !supported.contains(&value) {
        errors.not_supported(path, value, supported);
    }
}

fn validate_dns_config(errors: &mut FieldErrors, spec: &PodSpec, path: &Path) {
    const NAMESERVERS_MAX: usize = 3;
    const SEARCHES_MAX: usize = 32;
    const SEARCH_BYTES_MAX: usize = 2048;
    let none = text(&spec.dns_policy) == "None";
    let Some(config) = &spec.dns_config else {
        if none {
            errors.required(path, "must provide `dnsConfig` when `dnsPolicy` is None");
        }
        return;
    };
    let nameservers = list(&config.nameservers);
    let nameservers_path = path.child("nameservers");
    if none && nameservers.is_empty() {
        errors.required(&nameservers_path, "must provide at least one DNS nameserver when `dnsPolicy` is None");
    }
    if nameservers.len() > NAMESERVERS_MAX {
        errors.invalid(&nameservers_path, Value::from(nameservers), "must not have more than 3 nameservers");
    }
    for (index, nameserver) in nameservers.iter().enumerate() {
        validate_ip(errors, &nameservers_path.index(index), nameserver);
    }
    let searches = list(&config.searches);
    let searches_path = path.child("searches");
    if searches.len() > SEARCHES_MAX {
        errors.invalid(&searches_path, Value::from(searches), "must not have more than 32 search paths");
    }
    if searches.join(" ").len() > SEARCH_BYTES_MAX {
        let detail = "must not have more than 2048 characters (including spaces) in the search list";
        errors.invalid(&searches_path, Value::from(searches), detail);
    }
    for (index, search) in searches.iter().enumerate() {
        // A trailing dot, and underscores as in SRV names, are legal in search paths.
        let bare = search.strip_suffix('.').unwrap_or(search).replace('_', "a");
        if !bare.is_empty() {
            invalid_all(errors, &searches_path.index(index), search, name::validate_subdomain(&bare));
        }
    }
    for (index, option) in list(&config.options).iter().enumerate() {
        if text(&option.name).is_empty() {
            errors.required(&path.child("options").index(index), "must not be empty");
        }
    }
}

fn validate_host_aliases(errors: &mut FieldErrors, spec: &PodSpec, path: &Path) {
    for (index, alias) in list(&spec.host_aliases).iter().enumerate() {
        let alias_path = path.index(index);
        validate_ip(errors, &alias_path.child("ip"), &alias.ip);
        for (index, hostname) in list(&alias.hostnames).iter().enumerate() {
            let hostname_path = alias_path.child("hostnames").index(index);
            invalid_all(errors, &hostname_path, hostname, name::validate_subdomain(hostname));
        }
    }
}

fn validate_ip(errors: &mut FieldErrors, path: &Path, ip: &str) {
    if ip.parse::<std::net::IpAddr>().is_err() {
        errors.invalid(path, ip, "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)");
    }
}

#[cfg(test)]
mod tests;
