//! Which status a job may be given: J-602 and the transitions of J-603. They keep external controllers from writing what clients
//! could not understand (section 18); the built-in controller keeps them by its own rules.

use std::collections::BTreeSet;

use k8s_openapi::api::batch::v1::{Job, JobSpec, JobStatus};
use serde_json::json;

use super::{is_indexed, validate::NEGATIVE};
use crate::{
    field::{FieldErrors, Path},
    indexes::Indexes,
    kind::pod_spec::list,
};

/// Whether the status has this condition with status `True`.
pub(super) fn is_true(status: Option<&JobStatus>, type_: &str) -> bool {
    status.is_some_and(|status| {
        list(&status.conditions).iter().any(|condition| condition.type_ == type_ && condition.status == "True")
    })
}

/// The conditions that the rules speak of.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Conditions {
    complete: bool,
    failed: bool,
    failure_target: bool,
    success_criteria_met: bool,
    suspended: bool,
}

impl Conditions {
    fn of(status: &JobStatus) -> Self {
        let is_true = |type_| is_true(Some(status), type_);
        Self {
            complete: is_true("Complete"),
            failed: is_true("Failed"),
            failure_target: is_true("FailureTarget"),
            success_criteria_met: is_true("SuccessCriteriaMet"),
            suspended: is_true("Suspended"),
        }
    }

    fn finished(self) -> bool {
        self.complete || self.failed
    }
}

/// The new and the stored status side by side.
struct Change<'a> {
    spec: &'a JobSpec,
    new: &'a JobStatus,
    old: &'a JobStatus,
    now: Conditions,
    before: Conditions,
}

impl Change<'_> {
    fn finished_changed(&self) -> bool {
        self.now.finished() != self.before.finished()
    }

    fn complete_changed(&self) -> bool {
        self.now.complete != self.before.complete
    }
}

pub(super) fn validate(new: &Job, old: &Job) -> FieldErrors {
    let (spec, status) = (new.spec.clone().unwrap_or_default(), new.status.clone().unwrap_or_default());
    let old_status = old.status.clone().unwrap_or_default();
    let change = Change {
        spec: &spec,
        new: &status,
        old: &old_status,
        now: Conditions::of(&status),
        before: Conditions::of(&old_status),
    };
    let path = Path::new("status");
    let mut errors = FieldErrors::default();
    validate_always(&mut errors, &status, &path);
    validate_conditions(&mut errors, &change, &path.child("conditions"));
    validate_completion_time(&mut errors, &change, &path.child("completionTime"));
    validate_start_time(&mut errors, &change, &path.child("startTime"));
    validate_counters(&mut errors, &change, &path);
    validate_indexes(&mut errors, &change, &path);
    errors
}

/// J-602
fn validate_always(errors: &mut FieldErrors, status: &JobStatus, path: &Path) {
    for (field, count) in [
        ("active", status.active),
        ("succeeded", status.succeeded),
        ("failed", status.failed),
        ("ready", status.ready),
        ("terminating", status.terminating),
    ] {
        if let Some(count) = count.filter(|count| *count < 0) {
            errors.invalid(&path.child(field), count, NEGATIVE);
        }
    }
    let Some(uncounted) = &status.uncounted_terminated_pods else { return };
    let path = path.child("uncountedTerminatedPods");
    let mut seen = BTreeSet::new();
    for (field, uids) in [("succeeded", &uncounted.succeeded), ("failed", &uncounted.failed)] {
        for (index, uid) in list(uids).iter().enumerate() {
            let path = path.child(field).index(index);
            if uid.is_empty() {
                errors.invalid(&path, uid.as_str(), "must not be empty");
            } else if !seen.insert(uid.as_str()) {
                errors.duplicate(&path, uid.as_str());
            }
        }
    }
}

fn validate_conditions(errors: &mut FieldErrors, change: &Change<'_>, path: &Path) {
    let Change { spec, new, old, now, before } = change;
    let complete_changed = change.complete_changed();
    let failed_changed = now.failed != before.failed;
    let target_changed = now.failure_target != before.failure_target;
    let criteria_changed = now.success_criteria_met != before.success_criteria_met;
    let failed_indexes_changed = new.failed_indexes != old.failed_indexes;
    for (broken, detail) in [
        (
            (complete_changed || failed_changed) && now.complete && now.failed,
            "cannot set Complete=True and Failed=true conditions",
        ),
        (
            (complete_changed || target_changed) && now.complete && now.failure_target,
            "cannot set Complete=True and FailureTarget=true conditions",
        ),
        (
            (failed_changed || failed_indexes_changed) && now.failed && !now.failure_target,
            "cannot set Failed=True condition without the FailureTarget=true condition",
        ),
        (
            (complete_changed || criteria_changed) && now.complete && !now.success_criteria_met,
            "cannot set Complete=True condition without the SuccessCriteriaMet=true condition",
        ),
        (now.success_criteria_met && now.failed, "cannot set SuccessCriteriaMet=True and Failed=true conditions"),
        (
            now.success_criteria_met && now.failure_target,
            "cannot set SuccessCriteriaMet=True and FailureTarget=true conditions",
        ),
        (
            spec.success_policy.is_some() && now.complete && !now.success_criteria_met,
            "cannot set Complete=True for Job with SuccessPolicy unless SuccessCriteriaMet=True",
        ),
        (before.failed && !now.failed, "cannot disable the terminal Failed=True condition"),
        (before.complete && !now.complete, "cannot disable the terminal Complete=True condition"),
        (before.failure_target && !now.failure_target, "cannot disable the terminal FailureTarget=True condition"),
        (
            before.success_criteria_met && !now.success_criteria_met,
            "cannot disable the SuccessCriteriaMet=True condition",
        ),
        (
            before.complete && !before.success_criteria_met && now.success_criteria_met,
            "cannot set SuccessCriteriaMet=True for Job already has Complete=true conditions",
        ),
    ] {
        if broken {
            errors.invalid_object(path, detail);
        }
    }
}

fn validate_completion_time(errors: &mut FieldErrors, change: &Change<'_>, path: &Path) {
    let Change { spec: _, new, old, now, before: _ } = change;
    let time_changed = new.completion_time != old.completion_time;
    if change.complete_changed() || time_changed {
        if new.completion_time.is_some() && !now.complete {
            let detail = "cannot set completionTime when there is no Complete=True condition";
            errors.invalid(path, json!(new.completion_time), detail);
        }
        if new.completion_time.is_none() && now.complete {
            errors.required(path, "completionTime is required for Complete jobs");
        }
    }
    let start_changed = new.start_time != old.start_time;
    if let (Some(completion), Some(start)) = (&new.completion_time, &new.start_time)
        && (start_changed || time_changed)
        && completion.0 < start.0
    {
        errors.invalid(path, json!(completion), "must be equal to or after `startTime`");
    }
    if let (Some(completion), Some(_)) = (&new.completion_time, &old.completion_time)
        && time_changed
    {
        errors.invalid(path, json!(completion), "field is immutable");
    }
}

fn validate_start_time(errors: &mut FieldErrors, change: &Change<'_>, path: &Path) {
    let Change { spec, new, old, now, before } = change;
    let start_changed = new.start_time != old.start_time;
    let suspended_empty = spec.suspend == Some(true) && spec.completions == Some(0);
    let due = (change.finished_changed() || start_changed) && !suspended_empty;
    if due && now.finished() && new.start_time.is_none() {
        errors.required(path, "startTime is required for finished job");
    }
    let resumed = before.suspended && !now.suspended;
    if start_changed && old.start_time.is_some() && spec.suspend != Some(true) && !resumed {
        errors.invalid(path, json!(new.start_time), "field is immutable for unsuspended job once set");
    }
}

fn validate_counters(errors: &mut FieldErrors, change: &Change<'_>, path: &Path) {
    let Change { spec, new, old, now, before: _ } = change;
    let finished_changed = change.finished_changed();
    let count = |count: Option<i32>| count.unwrap_or_default();
    let active_changed = count(new.active) != count(old.active);
    if (finished_changed || active_changed) && now.finished() && count(new.active) > 0 {
        errors.invalid(&path.child("active"), count(new.active), "active>0 is invalid for finished job");
    }
    let terminating_changed = new.terminating != old.terminating;
    if (finished_changed || terminating_changed) && now.finished() && count(new.terminating) > 0 {
        let detail = "terminating>0 is invalid for finished job";
        errors.invalid(&path.child("terminating"), count(new.terminating), detail);
    }
    if let Some(ready) = new.ready.filter(|ready| *ready > count(new.active))
        && (new.ready != old.ready || active_changed)
    {
        errors.invalid(&path.child("ready"), ready, "cannot set more ready pods than active");
    }
    let uncounted_changed = new.uncounted_terminated_pods != old.uncounted_terminated_pods;
    let uncounted = new
        .uncounted_terminated_pods
        .as_ref()
        .is_some_and(|pods| !list(&pods.succeeded).is_empty() || !list(&pods.failed).is_empty());
    if (finished_changed || uncounted_changed) && now.finished() && uncounted {
        let path = path.child("uncountedTerminatedPods");
        errors.invalid(&path, json!(new.uncounted_terminated_pods), "must be empty for finished job");
    }
    if count(new.failed) < count(old.failed) {
        errors.invalid(&path.child("failed"), count(new.failed), "cannot decrease the failed counter");
    }
    // An elastic job forgets the successes above its new size.
    let elastic = is_indexed(spec) && spec.completions == spec.parallelism;
    if !elastic && count(new.succeeded) < count(old.succeeded) {
        errors.invalid(&path.child("succeeded"), count(new.succeeded), "cannot decrease the succeeded counter");
    }
}

fn validate_indexes(errors: &mut FieldErrors, change: &Change<'_>, path: &Path) {
    let Change { spec, new, old, now: _, before: _ } = change;
    let completions = spec.completions.unwrap_or_default();
    let indexed = is_indexed(spec);
    let completed = new.completed_indexes.as_deref().unwrap_or_default();
    let completed_changed = completed != old.completed_indexes.as_deref().unwrap_or_default();
    let failed = new.failed_indexes.as_deref();
    let failed_changed = new.failed_indexes != old.failed_indexes;
    let completed_path = path.child("completedIndexes");
    let failed_path = path.child("failedIndexes");
    if completed_changed {
        if !indexed && !completed.is_empty() {
            let detail = "cannot set non-empty completedIndexes when non-indexed completion mode";
            errors.invalid(&completed_path, completed, detail);
        }
        if indexed && let Err(error) = Indexes::parse_strict(completed, completions) {
            errors.invalid(&completed_path, completed, &format!("error parsing completedIndexes: {error}"));
        }
    }
    if let Some(failed) = failed.filter(|_| failed_changed) {
        if spec.backoff_limit_per_index.is_none() {
            let detail = "cannot set non-null failedIndexes when backoffLimitPerIndex is null";
            errors.invalid(&failed_path, failed, detail);
        }
        if indexed && let Err(error) = Indexes::parse_strict(failed, completions) {
            errors.invalid(&failed_path, failed, &format!("error parsing failedIndexes: {error}"));
        }
    }
    if (completed_changed || failed_changed)
        && let Some(failed) = failed
    {
        let completed = Indexes::parse_stored(completed, completions);
        if let Some(common) = completed.first_common(&Indexes::parse_stored(failed, completions)) {
            let detail = format!("failedIndexes and completedIndexes overlap at index: {common}");
            errors.invalid(&failed_path, failed, &detail);
        }
    }
}
