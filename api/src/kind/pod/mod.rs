//! Pods: defaults, validation, what an update may change, columns, selectable fields (jobs.md section 24, W-74, W-105, W-137).
//!
//! Here are the seams to the write path. The spec itself is judged in [`super::pod_spec`]; nothing here runs a pod.

mod columns;
mod qos;
mod update;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Pod, PodCondition, PodSpec, PodStatus};
use serde_json::{Value, json};

use crate::{
    field::{FieldErrors, Path},
    index::Index,
    kind::{
        Rules, metadata_field,
        pod_spec::{self, Owner, list, text},
        unreadable,
    },
    name,
    object::Object,
    status::Status,
    write::{Context, Part},
    zero,
};

/// The rules of this kind.
pub struct PodRules;

impl Rules for PodRules {
    fn prepare(
        &self,
        new: &mut Object,
        old: Option<(&Object, Part)>,
        _context: &mut Context<'_>,
    ) -> Result<(), Status> {
        let mut pod: Pod = new.to_typed().map_err(Status::internal)?;
        match old {
            None => {
                let spec = pod.spec.get_or_insert_default();
                pod_spec::default_pod_spec(spec);
                // J-2414
                pod.status = Some(PodStatus {
                    phase: Some("Pending".to_owned()),
                    qos_class: Some(qos::class(spec).to_owned()),
                    conditions: gated(spec).map(|condition| vec![condition]),
                    ..PodStatus::default()
                });
            }
            Some((old, Part::Main)) => {
                let old: Pod = old.to_typed().map_err(Status::internal)?;
                pod.status = old.status;
                pod_spec::default_pod_spec(pod.spec.get_or_insert_default());
            }
            Some((old, Part::Status)) => {
                let old: Pod = old.to_typed().map_err(Status::internal)?;
                pod.spec = old.spec;
                // Whose pod it is, is not for the node to say.
                pod.metadata.owner_references = old.metadata.owner_references;
                let status = pod.status.get_or_insert_default();
                status.qos_class = old.status.and_then(|status| status.qos_class);
            }
        }
        *new = Object::from_typed(&pod).map_err(Status::internal)?;
        zero::omit(new);
        Ok(())
    }

    fn validate(&self, new: &Object, old: Option<(&Object, Part)>) -> FieldErrors {
        let read = |object: &Object| object.to_typed::<Pod>();
        let old = old.map(|(old, part)| read(old).map(|old| (old, part))).transpose();
        let (new, old) = match (read(new), old) {
            (Ok(new), Ok(old)) => (new, old),
            (Err(error), _) | (_, Err(error)) => return unreadable(&error),
        };
        match old {
            None => validate_new(&new),
            Some((old, Part::Main)) => update::validate(&new, &old),
            Some((old, Part::Status)) => update::validate_status(&new, &old),
        }
    }

    fn warnings(&self, new: &Object, old: Option<&Object>) -> Vec<String> {
        let mut warnings = Vec::new();
        match old {
            Some(old) => {
                if old.get(&["spec"]) == new.get(&["spec"]) {
                    return warnings;
                }
            }
            None => {
                let violations = name::validate_label(new.name());
                if !violations.is_empty() {
                    warnings.push(format!(
                        "metadata.name: this is used in the Pod's hostname, which can result in surprising behavior; a DNS label is recommended: [{}]",
                        violations.join(" ")
                    ));
                }
            }
        }
        if let Ok(pod) = new.to_typed::<Pod>() {
            warnings.extend(pod_spec::warnings(&pod.spec.unwrap_or_default(), &Path::new("spec")));
        }
        warnings
    }

    fn has_generation(&self) -> bool {
        true
    }

    /// J-2550, W-105
    fn grace_seconds(&self, object: &Object, requested: Option<i64>) -> Option<i64> {
        if object.text(&["spec", "nodeName"]).unwrap_or_default().is_empty() || is_terminal(object) {
            return Some(0);
        }
        let own = || object.get(&["spec", "terminationGracePeriodSeconds"]).and_then(Value::as_i64);
        let seconds = requested.or_else(own).unwrap_or_default();
        Some(if seconds < 0 { 1 } else { seconds })
    }

    fn index(&self, object: &Object, index: &mut Index) {
        index.finished = is_terminal(object);
        index.node = object.text(&["spec", "nodeName"]).filter(|node| !node.is_empty()).map(str::to_owned);
    }

    /// W-137
    fn field(&self, object: &Object, label: &str) -> Option<String> {
        let text = |path: [&str; 2]| Some(object.text(&path).unwrap_or_default().to_owned());
        match label {
            // The first is the second's old name.
            "spec.host" | "spec.nodeName" => text(["spec", "nodeName"]),
            "spec.restartPolicy" => text(["spec", "restartPolicy"]),
            "spec.schedulerName" => text(["spec", "schedulerName"]),
            "spec.serviceAccountName" => text(["spec", "serviceAccountName"]),
            "spec.hostNetwork" => {
                let host = object.get(&["spec", "hostNetwork"]).and_then(Value::as_bool);
                Some(host.unwrap_or_default().to_string())
            }
            "status.phase" => text(["status", "phase"]),
            "status.podIP" => text(["status", "podIP"]),
            "status.podIPs" => {
                let addresses = object.get(&["status", "podIPs"]).and_then(Value::as_array);
                let addresses = addresses.into_iter().flatten().filter_map(|address| address.get("ip")?.as_str());
                Some(addresses.collect::<Vec<_>>().join(","))
            }
            "status.nominatedNodeName" => text(["status", "nominatedNodeName"]),
            _ => metadata_field(object, label),
        }
    }

    fn unsupported_field(&self, label: &str) -> String {
        format!("field label not supported: {label}")
    }

    fn cells(&self, object: &Object, now: Timestamp) -> Vec<Value> {
        columns::cells(object, now)
    }

    /// T-3: kubectl hides rows of finished pods by them.
    fn row_conditions(&self, object: &Object) -> Option<Value> {
        let (reason, message) = match object.text(&["status", "phase"])? {
            "Succeeded" => ("Succeeded", "The pod has completed successfully."),
            "Failed" => ("Failed", "The pod failed."),
            _ => return None,
        };
        Some(json!([{"type": "Completed", "status": "True", "reason": reason, "message": message}]))
    }
}

/// J-2541: a pod that is held back by gates says so from its first moment; the scheduler does not look at it.
fn gated(spec: &PodSpec) -> Option<PodCondition> {
    (!list(&spec.scheduling_gates).is_empty()).then(|| PodCondition {
        type_: "PodScheduled".to_owned(),
        status: "False".to_owned(),
        reason: Some("SchedulingGated".to_owned()),
        message: Some("Scheduling is blocked due to non-empty scheduling gates".to_owned()),
        observed_generation: Some(1),
        ..PodCondition::default()
    })
}

/// Whether the pod's life is over.
fn is_terminal(object: &Object) -> bool {
    matches!(object.text(&["status", "phase"]), Some("Succeeded" | "Failed"))
}

fn validate_new(pod: &Pod) -> FieldErrors {
    let path = Path::new("spec");
    let spec = pod.spec.clone().unwrap_or_default();
    let mut errors = pod_spec::validate(&spec, Owner::Pod, &path);
    if !list(&spec.ephemeral_containers).is_empty() {
        errors.forbidden(&path.child("ephemeralContainers"), "cannot be set on create");
    }
    if !text(&spec.node_name).is_empty() && !list(&spec.scheduling_gates).is_empty() {
        errors.forbidden(&path.child("nodeName"), "cannot be set until all schedulingGates have been cleared");
    }
    errors
}

#[cfg(test)]
mod tests;
