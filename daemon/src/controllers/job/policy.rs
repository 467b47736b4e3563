//! Pod failure policy (section 11): what a failed pod means for its job.
#![deny(clippy::disallowed_methods)]

use k8s_openapi::api::batch::v1::{
    Job, PodFailurePolicy, PodFailurePolicyOnExitCodesRequirement, PodFailurePolicyOnPodConditionsPattern,
};

use super::snapshot::{Exit, Pod};

/// What a matching rule asks for (J-1107).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Counted as any other failure.
    Count,
    /// Not counted; the pod is replaced.
    Ignore,
    /// Counted, and the pod's index fails at once.
    FailIndex,
    /// Counted, and the job fails.
    FailJob,
}

impl Action {
    fn find(text: &str) -> Option<Self> {
        match text {
            "Count" => Some(Action::Count),
            "Ignore" => Some(Action::Ignore),
            "FailIndex" => Some(Action::FailIndex),
            "FailJob" => Some(Action::FailJob),
            _ => None,
        }
    }

    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Action::Count => "Count",
            Action::Ignore => "Ignore",
            Action::FailIndex => "FailIndex",
            Action::FailJob => "FailJob",
        }
    }
}

/// What made a rule match.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Evidence<'a> {
    Exit(&'a Exit),
    /// Type of a pod condition.
    Condition(&'a str),
}

/// The first rule that matches a failed pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Match<'a> {
    pub rule: usize,
    pub action: Action,
    pub evidence: Evidence<'a>,
}

/// Judges a failed pod: the first matching rule decides, none counts as `Count` (J-1101).
#[must_use]
pub fn judge<'a>(policy: Option<&PodFailurePolicy>, pod: &'a Pod) -> Option<Match<'a>> {
    let rules = policy?.rules.iter().enumerate();
    rules.into_iter().find_map(|(rule, asked)| {
        let action = Action::find(&asked.action)?;
        let evidence = match (&asked.on_exit_codes, &asked.on_pod_conditions) {
            (Some(codes), _) => by_exit_code(codes, pod),
            (None, Some(patterns)) => by_condition(patterns, pod),
            (None, None) => None,
        }?;
        Some(Match { rule, action, evidence })
    })
}

/// Whether the failure of this pod is counted (J-824).
#[must_use]
pub fn is_counted(policy: Option<&PodFailurePolicy>, pod: &Pod) -> bool {
    judge(policy, pod).is_none_or(|found| found.action != Action::Ignore)
}

/// The message when one of these failed pods fails the job (J-832, J-1105, J-1106): that of the oldest, then of the first by name (J-1108).
#[must_use]
pub fn fail_job_message<'a>(job: &Job, failed: impl Iterator<Item = &'a Pod>) -> Option<String> {
    let policy = job.spec.as_ref()?.pod_failure_policy.as_ref()?;
    let (pod, found) = failed
        .filter_map(|pod| Some((pod, judge(Some(policy), pod).filter(|found| found.action == Action::FailJob)?)))
        .min_by(|(a, _), (b, _)| a.created.cmp(&b.created).then_with(|| a.name.cmp(&b.name)))?;
    let place = format!("{}/{}", job.metadata.namespace.as_deref().unwrap_or_default(), pod.name);
    let rule = found.rule;
    Some(match found.evidence {
        Evidence::Exit(Exit { container, code }) => {
            format!(
                "Container {container} for pod {place} failed with exit code {code} matching FailJob rule at index {rule}"
            )
        }
        Evidence::Condition(condition) => {
            format!("Pod {place} has condition {condition} matching FailJob rule at index {rule}")
        }
    })
}

/// J-1103: code 0 never matches; [`Pod::exits`] does not even list it.
fn by_exit_code<'a>(asked: &PodFailurePolicyOnExitCodesRequirement, pod: &'a Pod) -> Option<Evidence<'a>> {
    let wanted = |code: i32| match asked.operator.as_str() {
        "In" => asked.values.contains(&code),
        "NotIn" => !asked.values.contains(&code),
        _ => false,
    };
    pod.exits
        .iter()
        .filter(|exit| asked.container_name.as_ref().is_none_or(|name| *name == exit.container))
        .find(|exit| wanted(exit.code))
        .map(Evidence::Exit)
}

/// J-1104, in the order of the pod's conditions.
fn by_condition<'a>(patterns: &[PodFailurePolicyOnPodConditionsPattern], pod: &'a Pod) -> Option<Evidence<'a>> {
    pod.conditions
        .iter()
        .find(|(condition, status)| {
            patterns.iter().any(|p| p.type_ == *condition && p.status.as_deref().unwrap_or("True") == status)
        })
        .map(|(condition, _)| Evidence::Condition(condition))
}
