//! Which jobs are legal: J-411 to J-446, in their order.

use std::collections::BTreeMap;

use k8s_openapi::api::batch::v1::{Job, JobSpec};
use serde_json::json;

use super::{
    COMPLETIONS_SOFT_MAX, CONTROLLER_UID_LABEL, JOB_NAME_LABEL, LEGACY_CONTROLLER_UID_LABEL, LEGACY_JOB_NAME_LABEL,
    PARALLELISM_SOFT_MAX, is_indexed, policies, template_label,
};
use crate::{
    field::{FieldErrors, Path},
    kind::pod_spec,
    name,
    selector::{self, Labels},
};

pub(super) const NEGATIVE: &str = "must be greater than or equal to 0";
const PARALLELISM_INDEXED_MAX: i32 = 100_000;
const MAX_FAILED_INDEXES_MAX: i32 = 100_000;
const MAX_FAILED_INDEXES_SOFT_MAX: i32 = 10_000;
const MANAGED_BY_BYTES_MAX: usize = 63;
const SOFT_MAX: &str =
    "must be less than or equal to 10000 when completions are above 100000 and used with backoff limit per index";

/// The rules for a whole job. `prefixed` demands the labels with a prefix too (J-507).
pub(super) fn validate_job(job: &Job, prefixed: bool) -> FieldErrors {
    let spec = job.spec.clone().unwrap_or_default();
    let mut errors = FieldErrors::default();
    validate_generated(&mut errors, job, &spec, prefixed);
    errors.extend(validate_job_spec(&spec));
    validate_hostnames(&mut errors, job, &spec);
    errors
}

/// A job's spec with its selector.
pub(super) fn validate_job_spec(spec: &JobSpec) -> FieldErrors {
    let path = Path::new("spec");
    let mut errors = validate_spec(spec, &path);
    let selector_path = path.child("selector");
    // J-443, J-444: no selector selects nothing, so both fire; an empty one selects everything and is legal.
    let labels = spec.template.metadata.as_ref().and_then(|metadata| metadata.labels.clone()).unwrap_or_default();
    let matches = match &spec.selector {
        None => {
            errors.required(&selector_path, "");
            false
        }
        Some(selector) => {
            let wrong = selector::validate(selector, &selector_path);
            // A selector that cannot be read is not asked.
            let readable = wrong.is_empty();
            errors.extend(wrong);
            !readable || Labels::from_typed(selector).matches(|key| labels.get(key).map(String::as_str))
        }
    };
    if !matches {
        let labels_path = path.child("template").child("metadata").child("labels");
        errors.invalid(&labels_path, json!(labels), "`selector` does not match template `labels`");
    }
    errors
}

/// J-412, J-413: the generated labels are there and the selector selects by them.
fn validate_generated(errors: &mut FieldErrors, job: &Job, spec: &JobSpec, prefixed: bool) {
    let Some(selector) = spec.selector.as_ref().filter(|_| spec.manual_selector != Some(true)) else {
        return;
    };
    let (name, uid) =
        (job.metadata.name.as_deref().unwrap_or_default(), job.metadata.uid.as_deref().unwrap_or_default());
    let mut expected = BTreeMap::from([(LEGACY_CONTROLLER_UID_LABEL, uid), (LEGACY_JOB_NAME_LABEL, name)]);
    if prefixed {
        expected.extend([(CONTROLLER_UID_LABEL, uid), (JOB_NAME_LABEL, name)]);
    }
    let labels_path = Path::new("spec.template.metadata.labels");
    for (key, expected) in &expected {
        let path = labels_path.key(key);
        let detail = format!("must be '{expected}'");
        match template_label(&spec.template, key) {
            None => errors.required(&path, &detail),
            Some(value) if value != *expected => {
                let labels = spec.template.metadata.as_ref().and_then(|metadata| metadata.labels.as_ref());
                errors.invalid(&path, json!(labels), &detail);
            }
            Some(_) => {}
        }
    }
    let path = Path::new("spec.selector");
    let readable = selector::validate(selector, &path).is_empty();
    if readable && !Labels::from_typed(selector).matches(|key| expected.get(key).copied()) {
        errors.invalid(&path, json!(selector), "`selector` not auto-generated");
    }
}

/// J-445: the last index makes the longest hostname.
fn validate_hostnames(errors: &mut FieldErrors, job: &Job, spec: &JobSpec) {
    let Some(last) = spec.completions.filter(|completions| *completions > 0).map(|completions| completions - 1) else {
        return;
    };
    let name = job.metadata.name.as_deref().unwrap_or_default();
    let hostname = format!("{name}-{last}");
    if is_indexed(spec) && !name::validate_label(&hostname).is_empty() {
        let detail = format!("will not able to create pod with invalid DNS label: {hostname}");
        errors.invalid(&Path::new("metadata.name"), name, &detail);
    }
}

/// A job's spec without its selector, which the template of a cron job has not (C-311): J-414 to J-442.
#[must_use]
pub fn validate_spec(spec: &JobSpec, path: &Path) -> FieldErrors {
    let mut errors = FieldErrors::default();
    validate_numbers(&mut errors, spec, path);
    if let Some(managed_by) = &spec.managed_by {
        validate_managed_by(&mut errors, managed_by, &path.child("managedBy"));
    }
    validate_completion_mode(&mut errors, spec, path);
    if let Some(policy) = &spec.pod_failure_policy {
        policies::validate_pod_failure_policy(&mut errors, spec, policy, &path.child("podFailurePolicy"));
    }
    if let Some(policy) = &spec.success_policy {
        let path = path.child("successPolicy");
        if is_indexed(spec) {
            policies::validate_success_policy(&mut errors, spec, policy, &path);
        } else {
            errors.invalid(&path, json!(policy), "requires indexed completion mode"); // J-434
        }
    }
    if let Some(replacement) = &spec.pod_replacement_policy {
        // J-439: a failure policy must see how a pod ended.
        let supported: &[&str] =
            if spec.pod_failure_policy.is_some() { &["Failed"] } else { &["Failed", "TerminatingOrFailed"] };
        if !supported.contains(&replacement.as_str()) {
            errors.not_supported(&path.child("podReplacementPolicy"), replacement.as_str(), supported);
        }
    }
    errors.extend(pod_spec::validate_template(&spec.template, &path.child("template"))); // J-441
    validate_restart_policy(&mut errors, spec, &path.child("template").child("spec").child("restartPolicy"));
    errors
}

/// J-414, J-415
fn validate_numbers(errors: &mut FieldErrors, spec: &JobSpec, path: &Path) {
    let narrow = |number: Option<i32>| number.map(i64::from);
    for (field, number) in [
        ("parallelism", narrow(spec.parallelism)),
        ("completions", narrow(spec.completions)),
        ("activeDeadlineSeconds", spec.active_deadline_seconds),
        ("backoffLimit", narrow(spec.backoff_limit)),
        ("ttlSecondsAfterFinished", narrow(spec.ttl_seconds_after_finished)),
        ("backoffLimitPerIndex", narrow(spec.backoff_limit_per_index)),
        ("maxFailedIndexes", narrow(spec.max_failed_indexes)),
    ] {
        if let Some(number) = number.filter(|number| *number < 0) {
            errors.invalid(&path.child(field), number, NEGATIVE);
        }
    }
    if spec.max_failed_indexes.is_some() && spec.backoff_limit_per_index.is_none() {
        errors.required(&path.child("backoffLimitPerIndex"), "when maxFailedIndexes is specified");
    }
}

/// J-416
fn validate_managed_by(errors: &mut FieldErrors, value: &str, path: &Path) {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"/-._~%!$&'()*+,;=:".contains(&byte);
    if value.is_empty() {
        errors.required(path, "");
    } else {
        match value.split_once('/') {
            Some((host, rest)) if !host.is_empty() && !rest.is_empty() => {
                for violation in name::validate_subdomain(host) {
                    errors.invalid(path, host, &violation);
                }
                if !rest.bytes().all(legal) {
                    let detail = "Invalid path (regex used for validation is '[A-Za-z0-9/\\-._~%!$&'()*+,;=:]+')";
                    errors.invalid(path, rest, detail);
                }
            }
            Some(_) | None => {
                errors.invalid(path, value, "must be a domain-prefixed path (such as \"acme.io/foo\")");
            }
        }
    }
    if value.len() > MANAGED_BY_BYTES_MAX {
        errors.too_long(path, MANAGED_BY_BYTES_MAX);
    }
}

/// J-417 to J-423
fn validate_completion_mode(errors: &mut FieldErrors, spec: &JobSpec, path: &Path) {
    let mode = spec.completion_mode.as_deref().unwrap_or("NonIndexed");
    if !["NonIndexed", "Indexed"].contains(&mode) {
        errors.not_supported(&path.child("completionMode"), mode, &["NonIndexed", "Indexed"]);
    }
    let parallelism_path = path.child("parallelism");
    let max_failed_path = path.child("maxFailedIndexes");
    if mode == "NonIndexed" {
        for (field, value) in
            [("backoffLimitPerIndex", spec.backoff_limit_per_index), ("maxFailedIndexes", spec.max_failed_indexes)]
        {
            if let Some(value) = value {
                errors.invalid(&path.child(field), value, "requires indexed completion mode");
            }
        }
    }
    if mode != "Indexed" {
        return;
    }
    if spec.completions.is_none() {
        errors.required(&path.child("completions"), "when completion mode is Indexed");
    }
    let parallelism = spec.parallelism.unwrap_or_default();
    if parallelism > PARALLELISM_INDEXED_MAX {
        let detail = "must be less than or equal to 100000 when completion mode is Indexed";
        errors.invalid(&parallelism_path, parallelism, detail);
    }
    if let Some(max) = spec.max_failed_indexes {
        if spec.completions.is_some_and(|completions| max > completions) {
            errors.invalid(&max_failed_path, max, "must be less than or equal to completions");
        }
        if max > MAX_FAILED_INDEXES_MAX {
            errors.invalid(&max_failed_path, max, "must be less than or equal to 100000");
        }
    }
    let many = spec.completions.is_some_and(|completions| completions > COMPLETIONS_SOFT_MAX);
    if many && spec.backoff_limit_per_index.is_some() {
        match spec.max_failed_indexes {
            None => errors.required(&max_failed_path, "must be specified when completions is above 100000"),
            Some(max) if max > MAX_FAILED_INDEXES_SOFT_MAX => errors.invalid(&max_failed_path, max, SOFT_MAX),
            Some(_) => {}
        }
        if parallelism > PARALLELISM_SOFT_MAX {
            errors.invalid(&parallelism_path, parallelism, SOFT_MAX);
        }
    }
}

/// J-442: pods of a job must be able to end.
fn validate_restart_policy(errors: &mut FieldErrors, spec: &JobSpec, path: &Path) {
    let pod = spec.template.spec.as_ref();
    let policy = pod.and_then(|spec| spec.restart_policy.as_deref()).unwrap_or_default();
    match policy {
        "" | "Always" => errors.required(path, "valid values: \"OnFailure\", \"Never\""),
        "Never" => {}
        "OnFailure" => {
            if spec.pod_failure_policy.is_some() {
                let detail = "only \"Never\" is supported when podFailurePolicy is specified";
                errors.invalid(path, policy, detail);
            }
        }
        other => errors.not_supported(path, other, &["OnFailure", "Never"]),
    }
}
