//! Classification and counts (section 8.3): what the pods of a snapshot add up to, before anything is decided.
#![deny(clippy::disallowed_methods)]

use std::collections::BTreeSet;

use jobd_api::indexes::Indexes;
use k8s_openapi::api::batch::v1::{Job, JobStatus, PodFailurePolicy, SuccessPolicy};

use super::{
    index, policy,
    snapshot::{Phase, Pod, Snapshot, Spec},
};

/// What a snapshot adds up to.
#[derive(Clone, Debug)]
pub struct Tally<'a> {
    pub job: &'a Job,
    pub spec: Spec,
    pub failure_policy: Option<&'a PodFailurePolicy>,
    pub success_policy: Option<&'a SuccessPolicy>,
    /// All pods that the job controls.
    pub pods: Vec<&'a Pod>,
    /// J-820.
    pub active: Vec<&'a Pod>,
    pub terminating: Vec<&'a Pod>,
    /// J-822: to be counted, and not counted yet.
    pub new_succeeded: Vec<&'a Pod>,
    pub new_failed: Vec<&'a Pod>,
    /// J-823: pods of a NonIndexed job, indexes of an Indexed one.
    pub succeeded: i64,
    /// J-824: what the limit is compared with.
    pub failed: i64,
    /// What `status.failed` says, with what it still listed as uncounted.
    pub stored_failed: i64,
    /// Empty unless Indexed.
    pub succeeded_indexes: Indexes,
    /// Empty without a limit per index.
    pub failed_indexes: Indexes,
    /// uids that the stored status lists as uncounted. We write none (J-875), but a status may come from elsewhere.
    uncounted: BTreeSet<&'a str>,
}

impl<'a> Tally<'a> {
    #[must_use]
    pub fn of(seen: &'a Snapshot) -> Self {
        static NO_STATUS: JobStatus = EMPTY_STATUS;
        let job = &seen.job;
        let status = job.status.as_ref().unwrap_or(&NO_STATUS);
        let spec = Spec::of(job);
        let job_spec = job.spec.as_ref();
        let failure_policy = job_spec.and_then(|s| s.pod_failure_policy.as_ref());
        let pods: Vec<&Pod> = seen.pods.iter().map(AsRef::as_ref).collect();

        let uncounted_lists = status.uncounted_terminated_pods.as_ref();
        let uncounted_succeeded = uncounted_lists.and_then(|u| u.succeeded.as_deref()).unwrap_or_default();
        let uncounted_failed = uncounted_lists.and_then(|u| u.failed.as_deref()).unwrap_or_default();
        let uncounted: BTreeSet<&str> =
            uncounted_succeeded.iter().chain(uncounted_failed).map(String::as_str).collect();

        let finished: Vec<&Pod> = pods
            .iter()
            .copied()
            .filter(|pod| pod.tracking && !uncounted.contains(pod.uid.as_str()) && spec.is_valid_index(pod.index))
            .collect();
        let new_succeeded: Vec<&Pod> = finished.iter().copied().filter(|pod| pod.phase == Phase::Succeeded).collect();
        let new_failed: Vec<&Pod> = finished.into_iter().filter(|pod| pod.has_failed(spec.failed_only)).collect();

        let (succeeded_indexes, failed_indexes) =
            index::sets(status, &spec, failure_policy, &new_succeeded, &new_failed);
        let succeeded = if spec.indexed {
            length(succeeded_indexes.len())
        } else {
            i64::from(status.succeeded.unwrap_or_default())
                + length(uncounted_succeeded.len())
                + length(new_succeeded.len())
        };
        let stored_failed = i64::from(status.failed.unwrap_or_default()) + length(uncounted_failed.len());
        let counted = new_failed.iter().filter(|pod| policy::is_counted(failure_policy, pod)).count();
        Self {
            active: pods.iter().copied().filter(|pod| pod.is_active()).collect(),
            terminating: pods.iter().copied().filter(|pod| pod.is_terminating()).collect(),
            job,
            spec,
            failure_policy,
            success_policy: job_spec.and_then(|s| s.success_policy.as_ref()).filter(|_| spec.indexed),
            pods,
            new_succeeded,
            new_failed,
            succeeded,
            failed: stored_failed + length(counted),
            stored_failed,
            succeeded_indexes,
            failed_indexes,
            uncounted,
        }
    }

    /// The stored status has counted this pod already, in its list of uncounted uids.
    #[must_use]
    pub fn is_uncounted(&self, pod: &Pod) -> bool {
        self.uncounted.contains(pod.uid.as_str())
    }

    /// How often containers were restarted in pods that still run or wait (J-853).
    #[must_use]
    pub fn restarts(&self) -> i64 {
        let live = |pod: &&&Pod| pod.phase == Phase::Running || pod.phase == Phase::Pending;
        self.pods.iter().filter(live).map(|pod| pod.restarts.sum).sum()
    }
}

/// The status of a job that was never synced.
const EMPTY_STATUS: JobStatus = JobStatus {
    active: None,
    completed_indexes: None,
    completion_time: None,
    conditions: None,
    failed: None,
    failed_indexes: None,
    ready: None,
    start_time: None,
    succeeded: None,
    terminating: None,
    uncounted_terminated_pods: None,
};

/// A count of things in memory, for arithmetic with the API's counters.
#[must_use]
pub fn length(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// For the API's counters, which end where an `i32` does.
#[must_use]
pub fn counter(count: i64) -> i32 {
    i32::try_from(count).unwrap_or(if count < 0 { 0 } else { i32::MAX })
}
