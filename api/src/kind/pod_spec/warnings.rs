//! What is legal in a pod spec and yet probably not meant: texts for `Warning` headers (J-106).

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::{Container, PodSpec};

use super::{list, text};
use crate::{field::Path, quantity::Quantity};

/// The warnings about a spec at `path`, in the API's words.
#[must_use]
pub fn warnings(spec: &PodSpec, path: &Path) -> Vec<String> {
    let mut warnings = Vec::new();
    let mut secrets = BTreeSet::new();
    for (index, secret) in list(&spec.image_pull_secrets).iter().enumerate() {
        let path = path.child("imagePullSecrets").index(index);
        if secret.name.is_empty() {
            warnings.push(format!("{}: invalid empty name \"\"", path.as_str()));
        } else if !secrets.insert(secret.name.as_str()) {
            warnings.push(format!("{}: duplicate name {:?}", path.as_str(), secret.name));
        }
    }
    let mut addresses = BTreeSet::new();
    for (index, alias) in list(&spec.host_aliases).iter().enumerate() {
        if !addresses.insert(alias.ip.as_str()) {
            let path = path.child("hostAliases").index(index).child("ip");
            warnings.push(format!("{}: duplicate ip {:?}", path.as_str(), alias.ip));
        }
    }
    if spec.termination_grace_period_seconds.is_some_and(|seconds| seconds < 0) {
        let path = path.child("terminationGracePeriodSeconds");
        warnings.push(format!("{}: must be >= 0; negative values are invalid and will be treated as 1", path.as_str()));
    }
    for (field, containers) in [("initContainers", list(&spec.init_containers)), ("containers", &spec.containers)] {
        for (index, container) in containers.iter().enumerate() {
            container_warnings(&mut warnings, container, &path.child(field).index(index));
        }
    }
    warnings
}

fn container_warnings(warnings: &mut Vec<String>, container: &Container, path: &Path) {
    if let Some(resources) = &container.resources {
        for (field, quantities) in [("limits", &resources.limits), ("requests", &resources.requests)] {
            for resource in ["memory", "ephemeral-storage"] {
                let Some(text) = quantities.as_ref().and_then(|quantities| quantities.get(resource)) else { continue };
                if let Ok(quantity) = Quantity::parse(&text.0)
                    && quantity.milli() % 1000 != 0
                {
                    let path = path.child("resources").child(field).key(resource);
                    let canonical = quantity.canonical();
                    let warning = format!(
                        "{}: fractional byte value {canonical:?} is invalid, must be an integer",
                        path.as_str()
                    );
                    warnings.push(warning);
                }
            }
        }
    }
    let mut names = BTreeSet::new();
    for (index, variable) in list(&container.env).iter().enumerate() {
        if names.insert(variable.name.as_str()) {
            continue;
        }
        // A later definition that extends the earlier one is meant.
        let extends = variable.value_from.is_none() && text(&variable.value).contains(&format!("$({})", variable.name));
        if !extends {
            let path = path.child("env").index(index);
            warnings.push(format!(
                "{}: hides previous definition of {:?}, which may be dropped when using apply",
                path.as_str(),
                variable.name
            ));
        }
    }
}
