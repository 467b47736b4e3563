//! What may change in a stored job: J-502 to J-507.

use k8s_openapi::api::{
    batch::v1::{Job, JobSpec, JobStatus},
    core::v1::{Affinity, Container, PodSpec},
};
use serde_json::{Value, json};

use super::{CONTROLLER_UID_LABEL, JOB_NAME_LABEL, is_indexed, status, template_label, validate};
use crate::field::{FieldErrors, Path};

const IMMUTABLE: &str = "field is immutable";

/// The create rules twice, so that doubled causes are normal (J-403), then the rules about changes.
pub(super) fn validate(new: &Job, old: &Job) -> FieldErrors {
    let (spec, old_spec) = (new.spec.clone().unwrap_or_default(), old.spec.clone().unwrap_or_default());
    // J-507: jobs from before the prefix go on without it.
    let prefixed = [JOB_NAME_LABEL, CONTROLLER_UID_LABEL]
        .into_iter()
        .all(|label| template_label(&old_spec.template, label).is_some());
    let mut errors = validate::validate_job(new, prefixed);
    errors.extend(validate::validate_job_spec(&spec));

    let path = Path::new("spec");
    validate_completions(&mut errors, &spec, &old_spec, &path);
    immutable(&mut errors, &path.child("selector"), &json!(spec.selector), &json!(old_spec.selector));
    validate_template(&mut errors, &spec, &old_spec, old.status.as_ref(), &path);
    for (field, new, old) in [
        ("completionMode", json!(spec.completion_mode), json!(old_spec.completion_mode)),
        ("podFailurePolicy", json!(spec.pod_failure_policy), json!(old_spec.pod_failure_policy)),
        ("backoffLimitPerIndex", json!(spec.backoff_limit_per_index), json!(old_spec.backoff_limit_per_index)),
        ("managedBy", json!(spec.managed_by), json!(old_spec.managed_by)),
        ("successPolicy", json!(spec.success_policy), json!(old_spec.success_policy)),
    ] {
        immutable(&mut errors, &path.child(field), &new, &old);
    }
    errors
}

fn immutable(errors: &mut FieldErrors, path: &Path, new: &Value, old: &Value) {
    if new != old {
        errors.invalid(path, new.clone(), IMMUTABLE);
    }
}

/// J-503: an indexed job is stretched or shrunk as a whole; for others the number is fixed.
fn validate_completions(errors: &mut FieldErrors, new: &JobSpec, old: &JobSpec, path: &Path) {
    let completions_path = path.child("completions");
    if !is_indexed(new) {
        immutable(errors, &completions_path, &json!(new.completions), &json!(old.completions));
    } else if let Some(completions) = new.completions
        && Some(completions) != old.completions
        && Some(completions) != new.parallelism
    {
        let detail = format!("can only be modified in tandem with {}", path.child("parallelism").as_str());
        errors.invalid(&completions_path, completions, &detail);
    }
}

/// J-505, J-506. The answer names the field and not the whole template, which the reader has (W-72).
fn validate_template(
    errors: &mut FieldErrors,
    new: &JobSpec,
    old: &JobSpec,
    old_status: Option<&JobStatus>,
    path: &Path,
) {
    let path = path.child("template");
    if new.template == old.template {
        return;
    }
    if !template_is_mutable(old, old_status) {
        errors.invalid_object(&path, IMMUTABLE);
        return;
    }
    // Take over what may change; what differs then may not.
    let mut allowed = old.template.clone();
    if let Some(metadata) = &new.template.metadata {
        let target = allowed.metadata.get_or_insert_default();
        target.labels.clone_from(&metadata.labels);
        target.annotations.clone_from(&metadata.annotations);
    }
    if let Some(spec) = &new.template.spec {
        allow_scheduling(allowed.spec.get_or_insert_default(), spec);
    }
    if new.template != allowed {
        errors.invalid_object(&path.child("spec"), IMMUTABLE);
    }
}

/// J-505: suspended, nothing runs, and it never started or the suspension has been carried out. Only what is stored counts.
fn template_is_mutable(old: &JobSpec, old_status: Option<&JobStatus>) -> bool {
    let idle = |status: &JobStatus| {
        status.active.unwrap_or_default() == 0
            && (status.start_time.is_none() || status::is_true(Some(status), "Suspended"))
    };
    old.suspend == Some(true) && old_status.is_none_or(idle)
}

/// The parts of a suspended job's template that queueing systems set before they let it go (T-14).
fn allow_scheduling(allowed: &mut PodSpec, new: &PodSpec) {
    allowed.node_selector.clone_from(&new.node_selector);
    allowed.tolerations.clone_from(&new.tolerations);
    allowed.scheduling_gates.clone_from(&new.scheduling_gates);
    match (&mut allowed.affinity, &new.affinity) {
        (Some(affinity), Some(new)) => affinity.node_affinity.clone_from(&new.node_affinity),
        (affinity @ None, Some(new)) => {
            // Taken over only with what is in it for nodes: anything else in it then differs.
            let node_affinity = new.node_affinity.clone();
            *affinity = Some(Affinity { node_affinity, ..Affinity::default() });
        }
        (affinity @ Some(_), None) => {
            if affinity.as_ref().is_some_and(|old| old.pod_affinity.is_none() && old.pod_anti_affinity.is_none()) {
                *affinity = None;
            }
        }
        (None, None) => {}
    }
    allow_resources(&mut allowed.containers, &new.containers);
    if let (Some(allowed), Some(new)) = (&mut allowed.init_containers, &new.init_containers) {
        allow_resources(allowed, new);
    }
}

/// Same containers in the same order.
fn allow_resources(allowed: &mut [Container], new: &[Container]) {
    let same = allowed.len() == new.len() && allowed.iter().zip(new).all(|(old, new)| old.name == new.name);
    if same {
        for (allowed, new) in allowed.iter_mut().zip(new) {
            allowed.resources.clone_from(&new.resources);
        }
    }
}
