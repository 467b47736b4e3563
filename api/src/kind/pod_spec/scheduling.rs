//! What decides where and when a pod runs: selectors, affinity, tolerations, gates, spread. On one node most of it means
//! little; it is checked all the same, so that a manifest which is accepted here is accepted elsewhere.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::{
    NodeSelectorRequirement, NodeSelectorTerm, PodAffinityTerm, PodSpec, Toleration, WeightedPodAffinityTerm,
};

use super::{invalid_all, list, text, validate_choice};
use crate::{
    field::{FieldErrors, Path},
    name, selector,
};

const WEIGHT: &str = "must be in the range 1-100";

pub(super) fn validate_node_selector(errors: &mut FieldErrors, spec: &PodSpec, path: &Path) {
    for (key, value) in spec.node_selector.iter().flatten() {
        invalid_all(errors, path, key, name::validate_qualified_name(key));
        invalid_all(errors, path, value, name::validate_label_value(value));
    }
}

pub(super) fn validate_affinity(errors: &mut FieldErrors, spec: &PodSpec, path: &Path) {
    const REQUIRED: &str = "requiredDuringSchedulingIgnoredDuringExecution";
    const PREFERRED: &str = "preferredDuringSchedulingIgnoredDuringExecution";
    let Some(affinity) = &spec.affinity else { return };
    if let Some(node) = &affinity.node_affinity {
        let path = path.child("nodeAffinity");
        if let Some(required) = &node.required_during_scheduling_ignored_during_execution {
            let path = path.child(REQUIRED).child("nodeSelectorTerms");
            if required.node_selector_terms.is_empty() {
                errors.required(&path, "must have at least one node selector term");
            }
            for (index, term) in required.node_selector_terms.iter().enumerate() {
                validate_node_term(errors, term, &path.index(index));
            }
        }
        for (index, term) in list(&node.preferred_during_scheduling_ignored_during_execution).iter().enumerate() {
            let path = path.child(PREFERRED).index(index);
            validate_weight(errors, term.weight, &path);
            validate_node_term(errors, &term.preference, &path.child("preference"));
        }
    }
    let mut pods = |field: &str, required: &[PodAffinityTerm], preferred: &[WeightedPodAffinityTerm]| {
        let path = path.child(field);
        for (index, term) in required.iter().enumerate() {
            validate_pod_term(errors, term, &path.child(REQUIRED).index(index));
        }
        for (index, term) in preferred.iter().enumerate() {
            let path = path.child(PREFERRED).index(index);
            validate_weight(errors, term.weight, &path);
            validate_pod_term(errors, &term.pod_affinity_term, &path.child("podAffinityTerm"));
        }
    };
    if let Some(affinity) = &affinity.pod_affinity {
        pods(
            "podAffinity",
            list(&affinity.required_during_scheduling_ignored_during_execution),
            list(&affinity.preferred_during_scheduling_ignored_during_execution),
        );
    }
    if let Some(affinity) = &affinity.pod_anti_affinity {
        pods(
            "podAntiAffinity",
            list(&affinity.required_during_scheduling_ignored_during_execution),
            list(&affinity.preferred_during_scheduling_ignored_during_execution),
        );
    }
}

fn validate_weight(errors: &mut FieldErrors, weight: i32, path: &Path) {
    if !(1..=100).contains(&weight) {
        errors.invalid(&path.child("weight"), weight, WEIGHT);
    }
}

fn validate_node_term(errors: &mut FieldErrors, term: &NodeSelectorTerm, path: &Path) {
    for (index, requirement) in list(&term.match_expressions).iter().enumerate() {
        let path = path.child("matchExpressions").index(index);
        validate_node_requirement(errors, requirement, &path);
        invalid_all(errors, &path.child("key"), &requirement.key, name::validate_qualified_name(&requirement.key));
    }
    for (index, requirement) in list(&term.match_fields).iter().enumerate() {
        let path = path.child("matchFields").index(index);
        match requirement.operator.as_str() {
            "In" | "NotIn" => {
                if list(&requirement.values).len() != 1 {
                    let detail = "must be only one value when `operator` is 'In' or 'NotIn' for node field selector";
                    errors.required(&path.child("values"), detail);
                }
            }
            other => errors.invalid(&path.child("operator"), other, "not a valid selector operator"),
        }
        if requirement.key != "metadata.name" {
            errors.invalid(&path.child("key"), requirement.key.as_str(), "not a valid field selector key");
        }
    }
}

fn validate_node_requirement(errors: &mut FieldErrors, requirement: &NodeSelectorRequirement, path: &Path) {
    let values = list(&requirement.values);
    let values_path = path.child("values");
    match requirement.operator.as_str() {
        "In" | "NotIn" => {
            if values.is_empty() {
                errors.required(&values_path, "must be specified when `operator` is 'In' or 'NotIn'");
            }
        }
        "Exists" | "DoesNotExist" => {
            if !values.is_empty() {
                let detail = "may not be specified when `operator` is 'Exists' or 'DoesNotExist'";
                errors.forbidden(&values_path, detail);
            }
        }
        "Gt" | "Lt" => {
            if values.len() != 1 {
                errors.required(&values_path, "must be specified single value when `operator` is 'Lt' or 'Gt'");
            }
        }
        other => errors.invalid(&path.child("operator"), other, "not a valid selector operator"),
    }
}

fn validate_pod_term(errors: &mut FieldErrors, term: &PodAffinityTerm, path: &Path) {
    if let Some(labels) = &term.label_selector {
        errors.extend(selector::validate(labels, &path.child("labelSelector")));
    }
    if let Some(labels) = &term.namespace_selector {
        errors.extend(selector::validate(labels, &path.child("namespaceSelector")));
    }
    for namespace in list(&term.namespaces) {
        invalid_all(errors, &path.child("namespace"), namespace, name::validate_label(namespace));
    }
    validate_topology_key(errors, &term.topology_key, path);
}

fn validate_topology_key(errors: &mut FieldErrors, key: &str, path: &Path) {
    let path = path.child("topologyKey");
    if key.is_empty() {
        errors.required(&path, "can not be empty");
    } else {
        invalid_all(errors, &path, key, name::validate_qualified_name(key));
    }
}

/// Readiness gates and scheduling gates.
pub(super) fn validate_gates(errors: &mut FieldErrors, spec: &PodSpec, path: &Path) {
    for (index, gate) in list(&spec.readiness_gates).iter().enumerate() {
        let path = path.child("readinessGates").index(index).child("conditionType");
        invalid_all(errors, &path, &gate.condition_type, name::validate_qualified_name(&gate.condition_type));
    }
    let mut names = BTreeSet::new();
    for (index, gate) in list(&spec.scheduling_gates).iter().enumerate() {
        let path = path.child("schedulingGates").index(index);
        invalid_all(errors, &path, &gate.name, name::validate_qualified_name(&gate.name));
        if !names.insert(gate.name.as_str()) {
            errors.duplicate(&path, gate.name.as_str());
        }
    }
}

pub(super) fn validate_topology_spread(errors: &mut FieldErrors, spec: &PodSpec, path: &Path) {
    let mut pairs = BTreeSet::new();
    for (index, constraint) in list(&spec.topology_spread_constraints).iter().enumerate() {
        let path = path.index(index);
        if constraint.max_skew <= 0 {
            errors.invalid(&path.child("maxSkew"), constraint.max_skew, "must be greater than 0");
        }
        validate_topology_key(errors, &constraint.topology_key, &path);
        let when = constraint.when_unsatisfiable.as_str();
        validate_choice(errors, &path.child("whenUnsatisfiable"), when, &["DoNotSchedule", "ScheduleAnyway"]);
        if !pairs.insert((constraint.topology_key.as_str(), when)) {
            let pair = format!("{{{}, {when}}}", constraint.topology_key);
            errors.duplicate(&path.child("{topologyKey, whenUnsatisfiable}"), pair);
        }
        if let Some(domains) = constraint.min_domains {
            let path = path.child("minDomains");
            if domains <= 0 {
                errors.invalid(&path, domains, "must be greater than 0");
            }
            if when != "DoNotSchedule" {
                errors.invalid(
                    &path,
                    domains,
                    "can only use minDomains if whenUnsatisfiable=DoNotSchedule, not ScheduleAnyway",
                );
            }
        }
        for (field, policy) in [
            ("nodeAffinityPolicy", &constraint.node_affinity_policy),
            ("nodeTaintsPolicy", &constraint.node_taints_policy),
        ] {
            if let Some(policy) = policy {
                validate_choice(errors, &path.child(field), policy, &["Honor", "Ignore"]);
            }
        }
        if let Some(labels) = &constraint.label_selector {
            errors.extend(selector::validate(labels, &path.child("labelSelector")));
        }
    }
}

pub(super) fn validate_tolerations(errors: &mut FieldErrors, tolerations: &[Toleration], path: &Path) {
    for (index, toleration) in tolerations.iter().enumerate() {
        let path = path.index(index);
        let operator_path = path.child("operator");
        let (key, operator, effect) = (text(&toleration.key), text(&toleration.operator), text(&toleration.effect));
        let value = text(&toleration.value);
        if !key.is_empty() {
            invalid_all(errors, &path.child("key"), key, name::validate_qualified_name(key));
        } else if operator != "Exists" {
            let detail = "operator must be Exists when `key` is empty, which means \"match all values and all keys\"";
            errors.invalid(&operator_path, operator, detail);
        }
        if toleration.toleration_seconds.is_some() && effect != "NoExecute" {
            let detail = "effect must be 'NoExecute' when `tolerationSeconds` is set";
            errors.invalid(&path.child("effect"), effect, detail);
        }
        match operator {
            "Equal" | "" => {
                let violations = name::validate_label_value(value);
                if !violations.is_empty() {
                    errors.invalid(&operator_path, value, &violations.join(";"));
                }
            }
            "Exists" => {
                if !value.is_empty() {
                    errors.invalid_object(&operator_path, "value must be empty when `operator` is 'Exists'");
                }
            }
            other => errors.not_supported(&operator_path, other, &["Equal", "Exists"]),
        }
        const EFFECTS: [&str; 3] = ["NoExecute", "NoSchedule", "PreferNoSchedule"];
        if !effect.is_empty() && !EFFECTS.contains(&effect) {
            errors.not_supported(&path.child("effect"), effect, &EFFECTS);
        }
    }
}
