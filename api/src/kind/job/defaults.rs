//! What is filled in where a job is silent (J-201 to J-214), and the selector that creation makes (J-303 to J-305).

use std::collections::BTreeMap;

use k8s_openapi::api::batch::v1::{Job, JobSpec};

use super::{CONTROLLER_UID_LABEL, JOB_NAME_LABEL, LEGACY_CONTROLLER_UID_LABEL, LEGACY_JOB_NAME_LABEL};
use crate::{kind::pod_spec, name};

const BACKOFF_LIMIT: i32 = 6;

/// The defaults of a job's spec. A cron job's template gets almost none of them (C-207).
pub fn default_spec(spec: &mut JobSpec) {
    // J-201 to J-203: parallelism alone means a work queue, which has no number of completions.
    if spec.completions.is_none() && spec.parallelism.is_none() {
        spec.completions = Some(1);
    }
    spec.parallelism.get_or_insert(1);
    // J-204: where each index has its own limit, the job as a whole has none unless it is told.
    let backoff_limit = if spec.backoff_limit_per_index.is_some() { i32::MAX } else { BACKOFF_LIMIT };
    spec.backoff_limit.get_or_insert(backoff_limit);
    spec.completion_mode.get_or_insert_with(|| "NonIndexed".to_owned()); // J-205
    spec.suspend.get_or_insert(false); // J-206
    let replacement = if spec.pod_failure_policy.is_some() { "Failed" } else { "TerminatingOrFailed" };
    spec.pod_replacement_policy.get_or_insert_with(|| replacement.to_owned()); // J-207
    spec.manual_selector.get_or_insert(false); // J-208
    default_failure_policy(spec);
    let template = &mut spec.template;
    template.metadata.get_or_insert_default();
    pod_spec::default_template_spec(template.spec.get_or_insert_default()); // J-211
}

/// J-209, C-206
pub(crate) fn default_failure_policy(spec: &mut JobSpec) {
    for rule in spec.pod_failure_policy.iter_mut().flat_map(|policy| &mut policy.rules) {
        for pattern in rule.on_pod_conditions.iter_mut().flatten() {
            if pattern.status.as_ref().is_none_or(String::is_empty) {
                pattern.status = Some("True".to_owned());
            }
        }
    }
}

/// J-210, J-213: a job without labels of its own wears those of its template, the generated ones included.
pub(super) fn default_labels(job: &mut Job) {
    let template = job.spec.as_ref().and_then(|spec| spec.template.metadata.as_ref());
    let labels = template.and_then(|metadata| metadata.labels.as_ref()).filter(|labels| !labels.is_empty());
    // Labels that are wrong are reported where they stand, in the template, and not a second time as the job's own (W-56).
    let legal = |labels: &BTreeMap<String, String>| {
        labels.iter().all(|(key, value)| {
            name::validate_qualified_name(key).is_empty() && name::validate_label_value(value).is_empty()
        })
    };
    if let Some(labels) = labels.filter(|labels| legal(labels))
        && job.metadata.labels.as_ref().is_none_or(|own| own.is_empty())
    {
        job.metadata.labels = Some(labels.clone());
    }
}

/// J-303 to J-305: labels and selector that no other controller can have, because they hold the uid. What the user wrote is kept here; if
/// it is wrong, validation says so.
pub(super) fn generate_selector(job: &mut Job) {
    let (name, uid) = (job.metadata.name.clone().unwrap_or_default(), job.metadata.uid.clone().unwrap_or_default());
    let spec = job.spec.get_or_insert_default();
    if spec.manual_selector == Some(true) {
        return;
    }
    let labels = spec.template.metadata.get_or_insert_default().labels.get_or_insert_default();
    for (key, value) in [
        (LEGACY_JOB_NAME_LABEL, &name),
        (JOB_NAME_LABEL, &name),
        (LEGACY_CONTROLLER_UID_LABEL, &uid),
        (CONTROLLER_UID_LABEL, &uid),
    ] {
        labels.entry(key.to_owned()).or_insert_with(|| value.clone());
    }
    let selector = spec.selector.get_or_insert_default().match_labels.get_or_insert_default();
    selector.entry(CONTROLLER_UID_LABEL.to_owned()).or_insert(uid);
}
