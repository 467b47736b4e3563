//! A job's conditions: how they are found and set (J-901 to J-904).
#![deny(clippy::disallowed_methods)]

use jiff::Timestamp;
use k8s_openapi::{
    api::batch::v1::{Job, JobCondition},
    apimachinery::pkg::apis::meta::v1::Time,
};

pub const SUSPENDED: &str = "Suspended";
pub const SUCCESS_CRITERIA_MET: &str = "SuccessCriteriaMet";
pub const COMPLETE: &str = "Complete";
pub const FAILURE_TARGET: &str = "FailureTarget";
pub const FAILED: &str = "Failed";

/// Why a condition is what it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cause {
    pub reason: String,
    pub message: String,
}

impl Cause {
    #[must_use]
    pub fn new(reason: &str, message: impl Into<String>) -> Self {
        Self { reason: reason.to_owned(), message: message.into() }
    }
}

/// The condition of this type that is True, as `(reason, message)`. One that is False says nothing (J-839).
#[must_use]
pub fn find_true(job: &Job, condition_type: &str) -> Option<Cause> {
    let conditions = job.status.as_ref()?.conditions.as_deref()?;
    let found = conditions.iter().find(|c| c.type_ == condition_type && c.status == "True")?;
    Some(Cause { reason: found.reason.clone().unwrap_or_default(), message: found.message.clone().unwrap_or_default() })
}

/// Complete=True or Failed=True (J-901).
#[must_use]
pub fn is_finished(job: &Job) -> bool {
    find_true(job, COMPLETE).is_some() || find_true(job, FAILED).is_some()
}

/// Sets a condition (J-903): in place when one of its type is there and differs, else at the end, but False is never added. True when
/// something changed.
pub fn set(
    conditions: &mut Vec<JobCondition>,
    condition_type: &str,
    status: bool,
    cause: &Cause,
    now: Timestamp,
) -> bool {
    let new = JobCondition {
        type_: condition_type.to_owned(),
        status: if status { "True" } else { "False" }.to_owned(),
        reason: Some(cause.reason.clone()),
        message: Some(cause.message.clone()),
        last_probe_time: Some(Time(now)),
        last_transition_time: Some(Time(now)),
    };
    match conditions.iter_mut().find(|c| c.type_ == condition_type) {
        Some(old) if old.status == new.status && old.reason == new.reason && old.message == new.message => false,
        Some(old) => {
            *old = new;
            true
        }
        None if status => {
            conditions.push(new);
            true
        }
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn time(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    /// J-902, J-903.
    #[test]
    fn a_condition_is_added_once_and_replaced_in_place() {
        let mut conditions = Vec::new();
        assert!(set(&mut conditions, SUSPENDED, true, &Cause::new("JobSuspended", "Job suspended"), time(1)));
        assert!(set(&mut conditions, FAILURE_TARGET, true, &Cause::new("X", ""), time(2)));
        assert!(!set(&mut conditions, SUSPENDED, true, &Cause::new("JobSuspended", "Job suspended"), time(3)));
        assert!(set(&mut conditions, SUSPENDED, false, &Cause::new("JobResumed", "Job resumed"), time(4)));
        let types: Vec<(&str, &str)> = conditions.iter().map(|c| (c.type_.as_str(), c.status.as_str())).collect();
        assert_eq!(types, [("Suspended", "False"), ("FailureTarget", "True")]);
        let JobCondition { type_: _, status: _, reason, message, last_probe_time, last_transition_time } =
            &conditions[0];
        assert_eq!((reason.as_deref(), message.as_deref()), (Some("JobResumed"), Some("Job resumed")));
        assert_eq!([last_probe_time, last_transition_time], [&Some(Time(time(4))), &Some(Time(time(4)))]);
    }

    /// J-901, J-839.
    #[test]
    fn finished_is_complete_or_failed_and_true() {
        let job = |type_: &str, status: &str| {
            let condition = serde_json::json!({"type": type_, "status": status});
            serde_json::from_value::<Job>(serde_json::json!({"status": {"conditions": [condition]}})).unwrap()
        };
        for type_ in [SUSPENDED, SUCCESS_CRITERIA_MET, COMPLETE, FAILURE_TARGET, FAILED] {
            assert_eq!(is_finished(&job(type_, "True")), type_ == COMPLETE || type_ == FAILED, "{type_}");
            assert!(!is_finished(&job(type_, "False")), "{type_}");
        }
    }

    /// J-903.
    #[test]
    fn false_is_never_added() {
        let mut conditions = Vec::new();
        assert!(!set(&mut conditions, SUSPENDED, false, &Cause::new("JobResumed", "Job resumed"), time(1)));
        assert!(conditions.is_empty());
    }
}
