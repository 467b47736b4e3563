//! What may change in a stored pod (W-74), and in its status.

use k8s_openapi::api::core::v1::{Container, ContainerStatus, Pod, PodSpec, Toleration};
use serde_json::Value;

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

fn restore_images(containers: &mut [Container], old: &[Container]) {
    for (container, old) in containers.iter_mut().zip(old) {
        container.image.clone_from(&old.image);
    }
}

/// A container that has ended for good does not come back to life.
pub(super) fn validate_status(new: &Pod, old: &Pod) -> FieldErrors {
    let mut errors = FieldErrors::default();
    let restart_policy = new.spec.as_ref().map(|spec| text(&spec.restart_policy)).unwrap_or_default();
    if restart_policy == "Always" {
        return errors;
    }
    let (status, old_status) = (new.status.clone().unwrap_or_default(), old.status.clone().unwrap_or_default());
    let restarts = |code: i32| code != 0 && restart_policy == "OnFailure";
    let path = Path::new("status");
    for (field, new, old) in [
        ("containerStatuses", &status.container_statuses, &old_status.container_statuses),
        ("initContainerStatuses", &status.init_container_statuses, &old_status.init_container_statuses),
    ] {
        for (index, old) in list(old).iter().enumerate() {
            let ended = exit_code(old).is_some_and(|code| !restarts(code));
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
