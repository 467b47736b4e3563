//! What may change in a stored pod (W-74), and in its status.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{
    Container, ContainerStatus, NodeAffinity, NodeSelector, NodeSelectorTerm, Pod, PodSpec, Toleration,
};
use serde_json::{Value, json};

use crate::{
    field::{FieldErrors, Path},
    kind::pod_spec::{self, Owner, list, text},
};

const UPDATABLE: &str = "pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)";

pub(super) fn validate(new: &Pod, old: &Pod) -> FieldErrors {
    let path = Path::new("spec");
    let (spec, old_spec) = (new.spec.clone().unwrap_or_default(), old.spec.clone().unwrap_or_default());
    let mut errors = pod_spec::validate(&spec, Owner::Pod, &path);

    for (field, new, old) in [
        ("containers", spec.containers.len(), old_spec.containers.len()),
        ("initContainers", list(&spec.init_containers).len(), list(&old_spec.init_containers).len()),
    ] {
        if new != old {
            // What else differs cannot be told apart then.
            errors.forbidden(&path.child(field), "pod updates may not add or remove containers");
            return errors;
        }
    }
    if !validate_deadline(&mut errors, &spec, &old_spec, &path.child("activeDeadlineSeconds")) {
        return errors;
    }
    validate_tolerations(&mut errors, list(&spec.tolerations), list(&old_spec.tolerations), &path);
    let old_gates = list(&old_spec.scheduling_gates);
    for (index, gate) in list(&spec.scheduling_gates).iter().enumerate() {
        if !old_gates.contains(gate) {
            let detail = "only deletion is allowed, but found new scheduling gate '".to_owned() + &gate.name + "'";
            errors.forbidden(&path.child("schedulingGates").index(index), &detail);
        }
    }
    // Put back what may change; what differs then may not.
    let mut rest = spec;
    restore_images(&mut rest.containers, &old_spec.containers);
    if let (Some(containers), Some(old)) = (&mut rest.init_containers, &old_spec.init_containers) {
        restore_images(containers, old);
    }
    rest.active_deadline_seconds = old_spec.active_deadline_seconds;
    rest.tolerations.clone_from(&old_spec.tolerations);
    rest.scheduling_gates.clone_from(&old_spec.scheduling_gates);
    if !old_gates.is_empty() {
        restore_placement(&mut errors, &mut rest, &old_spec, &path);
    }
    let was_negative = old_spec.termination_grace_period_seconds.is_some_and(|seconds| seconds < 0);
    if was_negative && rest.termination_grace_period_seconds == Some(1) {
        rest.termination_grace_period_seconds = old_spec.termination_grace_period_seconds;
    }
    if rest != old_spec {
        errors.forbidden(&path, UPDATABLE);
    }
    errors
}

/// From nothing to a deadline, or to an earlier one.
fn validate_deadline(errors: &mut FieldErrors, new: &PodSpec, old: &PodSpec, path: &Path) -> bool {
    match (new.active_deadline_seconds, old.active_deadline_seconds) {
        (Some(new), Some(old)) if new > old => {
            errors.invalid(path, new, "must be less than or equal to previous value");
            false
        }
        (None, Some(_)) => {
            errors.invalid(path, Value::Null, "must not update from a positive integer to nil value");
            true
        }
        (Some(_), Some(_) | None) | (None, None) => true,
    }
}

/// Tolerations may be added; those for a time may change that time.
fn validate_tolerations(errors: &mut FieldErrors, new: &[Toleration], old: &[Toleration], path: &Path) {
    let without_seconds = |toleration: &Toleration| Toleration { toleration_seconds: None, ..toleration.clone() };
    let kept = old.iter().all(|old| {
        new.iter().any(|new| {
            if old.effect.as_deref() == Some("NoExecute") {
                without_seconds(old) == without_seconds(new)
            } else {
                old == new
            }
        })
    });
    if !kept {
        let detail = "existing toleration can not be modified except its tolerationSeconds";
        errors.forbidden(&path.child("tolerations"), detail);
    }
}

/// Where a pod may run can be narrowed as long as gates hold it back, as queueing systems do (J-2541).
fn restore_placement(errors: &mut FieldErrors, new: &mut PodSpec, old: &PodSpec, path: &Path) {
    let empty = BTreeMap::new();
    let selector = new.node_selector.as_ref().unwrap_or(&empty);
    if !old.node_selector.iter().flatten().all(|(key, value)| selector.get(key) == Some(value)) {
        let detail = "only additions to spec.nodeSelector are allowed (no mutations or deletions)";
        errors.invalid(&path.child("nodeSelector"), json!(selector), detail);
    }
    new.node_selector.clone_from(&old.node_selector);

    let node_affinity = |spec: &PodSpec| spec.affinity.as_ref().and_then(|affinity| affinity.node_affinity.clone());
    let (new_affinity, old_affinity) = (node_affinity(new), node_affinity(old));
    if let Some(old_affinity) = &old_affinity {
        validate_narrower(errors, new_affinity.as_ref(), old_affinity, &path.child("affinity").child("nodeAffinity"));
    }
    match (&mut new.affinity, &old.affinity) {
        (None, Some(_)) if old_affinity.is_some() => {
            new.affinity.get_or_insert_default().node_affinity = old_affinity;
        }
        (Some(affinity), None) if affinity.pod_affinity.is_none() && affinity.pod_anti_affinity.is_none() => {
            new.affinity = None;
        }
        (Some(affinity), _) => affinity.node_affinity = old_affinity,
        (None, _) => {}
    }
}

/// Terms that are there may get more requirements; what is only preferred may be anything.
fn validate_narrower(errors: &mut FieldErrors, new: Option<&NodeAffinity>, old: &NodeAffinity, path: &Path) {
    fn terms(required: Option<&NodeSelector>) -> &[NodeSelectorTerm] {
        required.map(|required| required.node_selector_terms.as_slice()).unwrap_or_default()
    }
    let old = terms(old.required_during_scheduling_ignored_during_execution.as_ref());
    let new = terms(new.and_then(|new| new.required_during_scheduling_ignored_during_execution.as_ref()));
    let path = path.child("requiredDuringSchedulingIgnoredDuringExecution").child("nodeSelectorTerms");
    if old.is_empty() {
        return;
    }
    if old.len() != new.len() {
        let detail = "no additions/deletions to non-empty NodeSelectorTerms list are allowed";
        errors.invalid(&path, json!(new), detail);
        return;
    }
    for (index, (new, old)) in new.iter().zip(old).enumerate() {
        // A term without requirements matches nothing; with one it would match something.
        let is_empty =
            |term: &NodeSelectorTerm| list(&term.match_expressions).is_empty() && list(&term.match_fields).is_empty();
        let keeps = list(&new.match_expressions).starts_with(list(&old.match_expressions))
            && list(&new.match_fields).starts_with(list(&old.match_fields))
            && (!is_empty(old) || is_empty(new));
        if !keeps {
            errors.invalid(&path.index(index), json!(new), "only additions are allowed (no mutations or deletions)");
        }
    }
}

fn restore_images(containers: &mut [Container], old: &[Container]) {
    for (container, old) in containers.iter_mut().zip(old) {
        container.image.clone_from(&old.image);
    }
}

/// A container that has ended for good does not come back to life.
pub(super) fn validate_status(new: &Pod, old: &Pod) -> FieldErrors {
    let mut errors = FieldErrors::default();
    let spec = new.spec.clone().unwrap_or_default();
    // An exit by which all begin anew is nobody's end.
    let containers = || spec.containers.iter().chain(list(&spec.init_containers));
    if containers().any(|one| list(&one.restart_policy_rules).iter().any(|rule| rule.action == "RestartAllContainers"))
    {
        return errors;
    }
    let (status, old_status) = (new.status.clone().unwrap_or_default(), old.status.clone().unwrap_or_default());
    let restarts = |name: &str, code: i32| {
        let sidecar = |one: &Container| text(&one.restart_policy) == "Always";
        let one = containers().find(|one| one.name == name).cloned().unwrap_or_default();
        let is_init = list(&spec.init_containers).contains(&one);
        // An init container that did its work does not come back.
        pod_spec::restarts(&spec, &one, code) && (!is_init || sidecar(&one) || code != 0)
    };
    let path = Path::new("status");
    for (field, new, old) in [
        ("containerStatuses", &status.container_statuses, &old_status.container_statuses),
        ("initContainerStatuses", &status.init_container_statuses, &old_status.init_container_statuses),
    ] {
        for (index, old) in list(old).iter().enumerate() {
            let ended = exit_code(old).is_some_and(|code| !restarts(&old.name, code));
            if ended && list(new).iter().any(|new| new.name == old.name && exit_code(new).is_none()) {
                let detail = "may not be transitioned to non-terminated state";
                errors.forbidden(&path.child(field).index(index).child("state"), detail);
            }
        }
    }
    errors
}

fn exit_code(status: &ContainerStatus) -> Option<i32> {
    Some(status.state.as_ref()?.terminated.as_ref()?.exit_code)
}
