//! When a finished job expires (jobs.md section 19). Pure.
#![deny(clippy::disallowed_methods)]

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::batch::v1::Job;

use crate::{controllers::timeline::Timeline, sys::Now};

/// What is to be done about a job's time to live.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Plan {
    /// It does not expire: not finished, no TTL, or being deleted already (J-1901).
    Nothing,
    /// It expires at this time. Later than now also when it finished in the future by our clock (J-1904).
    Wait(Timestamp),
    /// It has expired, so long ago (J-1902).
    Delete { late: SignedDuration },
}

pub(super) fn decide(job: &Job, clocks: &Timeline, now: Now) -> Plan {
    let Some((finished, ttl)) = expiry(job) else { return Plan::Nothing };
    let left = ttl.saturating_sub(clocks.elapsed(finished, now));
    match now.wall.checked_add(left) {
        Ok(at) if left.is_positive() => Plan::Wait(at),
        Ok(_) => Plan::Delete { late: left.abs() },
        Err(_) => Plan::Nothing, // beyond the end of time
    }
}

/// The finish time, which is when the terminal condition came, and the TTL (J-1901).
fn expiry(job: &Job) -> Option<(Timestamp, SignedDuration)> {
    if job.metadata.deletion_timestamp.is_some() {
        return None;
    }
    let ttl = job.spec.as_ref()?.ttl_seconds_after_finished?;
    let finished = job
        .status
        .as_ref()?
        .conditions
        .iter()
        .flatten()
        .find(|condition| matches!(condition.type_.as_str(), "Complete" | "Failed") && condition.status == "True")?
        .last_transition_time
        .as_ref()?
        .0;
    Some((finished, SignedDuration::from_secs(i64::from(ttl))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(job: &str, now: &str, want: Plan) {
        let job: Job = serde_json::from_str(job).unwrap();
        let now = Now { wall: now.parse().unwrap(), boot: std::time::Duration::from_secs(1000) };
        assert_eq!(decide(&job, &Timeline::new(now), now), want);
    }

    fn finished(ttl: &str, condition: &str, metadata: &str) -> String {
        format!(
            r#"{{"metadata":{{{metadata}}},"spec":{{"template":{{}}{ttl}}},"status":{{"conditions":[
                {{"type":"Suspended","status":"False","lastTransitionTime":"2026-01-01T00:00:00Z"}},
                {{"type":"{condition}","status":"True","lastTransitionTime":"2026-01-01T12:00:00Z"}}]}}}}"#
        )
    }

    const TTL: &str = r#","ttlSecondsAfterFinished":100"#;

    #[test]
    fn j_1901_expires_ttl_seconds_after_the_terminal_condition() {
        let expiry: Timestamp = "2026-01-01T12:01:40Z".parse().unwrap();
        for condition in ["Complete", "Failed"] {
            let job = finished(TTL, condition, "");
            check(&job, "2026-01-01T12:00:00Z", Plan::Wait(expiry));
            check(&job, "2026-01-01T12:01:39.999Z", Plan::Wait(expiry));
            check(&job, "2026-01-01T12:01:40Z", Plan::Delete { late: SignedDuration::ZERO });
            check(&job, "2026-01-01T12:01:42Z", Plan::Delete { late: SignedDuration::from_secs(2) });
        }
    }

    #[test]
    fn j_1901_does_not_apply_without_ttl_unfinished_or_deleting() {
        for job in [
            finished("", "Complete", ""),
            finished(TTL, "SuccessCriteriaMet", ""),
            finished(TTL, "FailureTarget", ""),
            finished(TTL, "Complete", r#""deletionTimestamp":"2026-01-01T12:00:01Z""#),
            r#"{"metadata":{},"spec":{"template":{},"ttlSecondsAfterFinished":100}}"#.to_owned(),
        ] {
            check(&job, "2027-01-01T00:00:00Z", Plan::Nothing);
        }
    }

    #[test]
    fn j_1802_jobs_of_other_controllers_expire_too() {
        let job = finished(r#","ttlSecondsAfterFinished":100,"managedBy":"example.com/other""#, "Failed", "");
        check(&job, "2026-01-01T12:01:40Z", Plan::Delete { late: SignedDuration::ZERO });
    }

    #[test]
    fn j_1902_a_ttl_of_zero_deletes_at_once() {
        let job = finished(r#","ttlSecondsAfterFinished":0"#, "Complete", "");
        check(&job, "2026-01-01T12:00:00Z", Plan::Delete { late: SignedDuration::ZERO });
    }

    #[test]
    fn j_1904_a_finish_time_in_the_future_postpones() {
        check(
            &finished(TTL, "Complete", ""),
            "2025-06-01T00:00:00Z",
            Plan::Wait("2026-01-01T12:01:40Z".parse().unwrap()),
        );
    }
}
