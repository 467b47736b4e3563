//! Which failure and success policies are legal: J-424 to J-438.

use std::collections::BTreeSet;

use k8s_openapi::api::batch::v1::{
    JobSpec, PodFailurePolicy, PodFailurePolicyOnExitCodesRequirement, PodFailurePolicyRule, SuccessPolicy,
    SuccessPolicyRule,
};
use serde_json::json;

use super::validate::NEGATIVE;
use crate::{
    field::{FieldErrors, Path},
    indexes::Indexes,
    kind::pod_spec::list,
    name,
};

const RULES_MAX: usize = 20;
const EXIT_CODES_MAX: usize = 255;
const CONDITIONS_MAX: usize = 20;
const SUCCEEDED_INDEXES_BYTES_MAX: usize = 64 * 1024;

const ACTIONS: [&str; 4] = ["Count", "FailIndex", "FailJob", "Ignore"];
const OPERATORS: [&str; 2] = ["In", "NotIn"];
const STATUSES: [&str; 3] = ["False", "True", "Unknown"];

/// J-424 to J-433
pub(super) fn validate_pod_failure_policy(
    errors: &mut FieldErrors,
    spec: &JobSpec,
    policy: &PodFailurePolicy,
    path: &Path,
) {
    let path = path.child("rules");
    if policy.rules.len() > RULES_MAX {
        errors.too_many(&path, policy.rules.len(), RULES_MAX);
    }
    let pod = spec.template.spec.as_ref();
    let containers = pod.map(|pod| pod.containers.as_slice()).unwrap_or_default();
    let init_containers = pod.map(|pod| list(&pod.init_containers)).unwrap_or_default();
    let containers = containers.iter().chain(init_containers).map(|container| container.name.as_str()).collect();
    for (index, rule) in policy.rules.iter().enumerate() {
        validate_failure_rule(errors, spec, rule, &containers, &path.index(index));
    }
}

fn validate_failure_rule(
    errors: &mut FieldErrors,
    spec: &JobSpec,
    rule: &PodFailurePolicyRule,
    containers: &BTreeSet<&str>,
    path: &Path,
) {
    let action_path = path.child("action");
    let action = rule.action.as_str();
    if action.is_empty() {
        errors.required(&action_path, "valid values: [\"Count\" \"FailIndex\" \"FailJob\" \"Ignore\"]");
    } else if !ACTIONS.contains(&action) {
        errors.not_supported(&action_path, action, &ACTIONS);
    } else if action == "FailIndex" && spec.backoff_limit_per_index.is_none() {
        errors.invalid(&action_path, action, "requires the backoffLimitPerIndex to be set");
    }
    let conditions = list(&rule.on_pod_conditions);
    match (&rule.on_exit_codes, conditions.is_empty()) {
        (Some(_), false) => {
            errors.invalid_object(path, "specifying both OnExitCodes and OnPodConditions is not supported");
        }
        (None, true) => {
            errors.invalid_object(path, "specifying one of OnExitCodes and OnPodConditions is required");
        }
        (Some(_), true) | (None, false) => {}
    }
    if let Some(exit_codes) = &rule.on_exit_codes {
        validate_exit_codes(errors, exit_codes, containers, &path.child("onExitCodes"));
    }
    let conditions_path = path.child("onPodConditions");
    if conditions.len() > CONDITIONS_MAX {
        errors.too_many(&conditions_path, conditions.len(), CONDITIONS_MAX);
    }
    for (index, pattern) in conditions.iter().enumerate() {
        let path = conditions_path.index(index);
        for violation in name::validate_qualified_name(&pattern.type_) {
            errors.invalid(&path.child("type"), pattern.type_.as_str(), &violation); // J-432
        }
        let status = pattern.status.as_deref().unwrap_or_default();
        if !STATUSES.contains(&status) {
            errors.not_supported(&path.child("status"), status, &STATUSES); // J-433
        }
    }
}

/// J-427 to J-430
fn validate_exit_codes(
    errors: &mut FieldErrors,
    requirement: &PodFailurePolicyOnExitCodesRequirement,
    containers: &BTreeSet<&str>,
    path: &Path,
) {
    let operator_path = path.child("operator");
    let operator = requirement.operator.as_str();
    if operator.is_empty() {
        errors.required(&operator_path, "valid values: [\"In\" \"NotIn\"]");
    } else if !OPERATORS.contains(&operator) {
        errors.not_supported(&operator_path, operator, &OPERATORS);
    }
    if let Some(name) = requirement.container_name.as_deref().filter(|name| !containers.contains(name)) {
        let detail = "must be one of the container or initContainer names in the pod template";
        errors.invalid(&path.child("containerName"), name, detail);
    }
    let values_path = path.child("values");
    let values = &requirement.values;
    if values.is_empty() {
        errors.invalid(&values_path, json!(values), "at least one value is required");
    } else if values.len() > EXIT_CODES_MAX {
        errors.too_many(&values_path, values.len(), EXIT_CODES_MAX);
    }
    let mut seen = BTreeSet::new();
    for (index, value) in values.iter().enumerate() {
        let path = values_path.index(index);
        if operator == "In" && *value == 0 {
            errors.invalid(&path, *value, "must not be 0 for the In operator");
        }
        if !seen.insert(*value) {
            errors.duplicate(&path, *value);
        }
    }
    if !values.is_sorted() {
        errors.invalid(&values_path, json!(values), "must be ordered");
    }
}

/// J-435 to J-438
pub(super) fn validate_success_policy(errors: &mut FieldErrors, spec: &JobSpec, policy: &SuccessPolicy, path: &Path) {
    let path = path.child("rules");
    if policy.rules.is_empty() {
        errors.required(&path, "at least one rules must be specified when the successPolicy is specified");
    }
    if policy.rules.len() > RULES_MAX {
        errors.too_many(&path, policy.rules.len(), RULES_MAX);
    }
    for (index, rule) in policy.rules.iter().enumerate() {
        validate_success_rule(errors, spec.completions, rule, &path.index(index));
    }
}

fn validate_success_rule(errors: &mut FieldErrors, completions: Option<i32>, rule: &SuccessPolicyRule, path: &Path) {
    if rule.succeeded_count.is_none() && rule.succeeded_indexes.is_none() {
        let detail = "at least one of succeededCount or succeededIndexes must be specified";
        errors.required(path, detail);
    }
    let indexes_path = path.child("succeededIndexes");
    if rule.succeeded_indexes.as_ref().is_some_and(|indexes| indexes.len() > SUCCEEDED_INDEXES_BYTES_MAX) {
        errors.too_long(&indexes_path, SUCCEEDED_INDEXES_BYTES_MAX);
    }
    let count_path = path.child("succeededCount");
    if let Some(count) = rule.succeeded_count.filter(|count| *count < 0) {
        errors.invalid(&count_path, count, NEGATIVE);
    }
    // J-2702: without completions there is nothing to measure the rule by; that they are missing is said elsewhere (J-418).
    let Some(completions) = completions else { return };
    // A list that cannot be read counts as empty for the rule about the count.
    let mut listed = None;
    if let Some(text) = &rule.succeeded_indexes {
        match Indexes::parse_strict(text, completions) {
            Ok(indexes) => listed = Some(indexes.len()),
            Err(error) => {
                listed = Some(0);
                let detail = format!("error parsing succeededIndexes: {error}");
                errors.invalid(&indexes_path, text.as_str(), &detail);
            }
        }
    }
    let Some(count) = rule.succeeded_count else { return };
    if count > completions {
        let detail = format!("must be less than or equal to {completions} (the number of specified completions)");
        errors.invalid(&count_path, count, &detail);
    }
    if let Some(listed) = listed.filter(|listed| usize::try_from(count).is_ok_and(|count| count > *listed)) {
        let detail = format!(
            "must be less than or equal to {listed} (the number of indexes in the specified succeededIndexes field)"
        );
        errors.invalid(&count_path, count, &detail);
    }
}
