//! What a container's own restart policy and rules say (J-2501).

use k8s_openapi::api::core::v1::{Container, ContainerRestartRule, PodSpec};

use super::{list, validate_choice};
use crate::field::{FieldErrors, Path};

const POLICIES: [&str; 3] = ["Always", "Never", "OnFailure"];
const ACTIONS: [&str; 2] = ["Restart", ALL];
const OPERATORS: [&str; 2] = ["In", "NotIn"];
const RULES_MAX: usize = 20;
const VALUES_MAX: usize = 255;
/// The action that begins the whole pod anew.
const ALL: &str = "RestartAllContainers";

/// Whether the container runs again after an exit with this code (J-2501): the first rule that matches decides, then the container's own
/// policy, then the pod's.
#[must_use]
pub fn restarts(spec: &PodSpec, container: &Container, exit_code: i32) -> bool {
    if matching(container, exit_code).is_some() {
        return true;
    }
    match container.restart_policy.as_deref().or(spec.restart_policy.as_deref()).unwrap_or("Always") {
        "Never" => false,
        "OnFailure" => exit_code != 0,
        _ => true,
    }
}

/// Whether an exit with this code has all containers of the pod begin anew.
#[must_use]
pub fn restarts_all(container: &Container, exit_code: i32) -> bool {
    matching(container, exit_code).is_some_and(|rule| rule.action == ALL)
}

fn matching(container: &Container, exit_code: i32) -> Option<&ContainerRestartRule> {
    list(&container.restart_policy_rules).iter().find(|rule| {
        let Some(codes) = &rule.exit_codes else { return false };
        let listed = list(&codes.values).contains(&exit_code);
        match codes.operator.as_str() {
            "In" => listed,
            "NotIn" => !listed,
            _ => false,
        }
    })
}

/// Policy and rules of one container.
pub(super) fn validate(errors: &mut FieldErrors, container: &Container, path: &Path) {
    let rules = list(&container.restart_policy_rules);
    let policy = path.child("restartPolicy");
    match &container.restart_policy {
        Some(given) => validate_choice(errors, &policy, given, &POLICIES),
        None if rules.is_empty() => {}
        None => errors.required(&policy, "must specify restartPolicy when restart rules are used"),
    }
    let path = path.child("restartPolicyRules");
    if rules.len() > RULES_MAX {
        errors.too_many(&path, rules.len(), RULES_MAX);
    }
    for (index, rule) in rules.iter().enumerate() {
        let path = path.index(index);
        if !ACTIONS.contains(&rule.action.as_str()) {
            errors.not_supported(&path.child("action"), rule.action.as_str(), &ACTIONS);
        }
        let path = path.child("exitCodes");
        let Some(codes) = &rule.exit_codes else {
            errors.required(&path, "must be specified");
            continue;
        };
        if !OPERATORS.contains(&codes.operator.as_str()) {
            errors.not_supported(&path.child("operator"), codes.operator.as_str(), &OPERATORS);
        }
        if list(&codes.values).len() > VALUES_MAX {
            errors.too_many(&path.child("values"), list(&codes.values).len(), VALUES_MAX);
        }
    }
}
