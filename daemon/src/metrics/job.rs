//! The Job controller's series (jobs.md section 23), with upstream's names, labels and buckets. Recorded once per committed look.

use std::{
    collections::BTreeSet,
    sync::{LazyLock, Mutex, PoisonError},
    time::Duration,
};

use prometheus::{HistogramVec, IntCounterVec};

use super::{counters, exponential, histograms};

const SYNC_LABELS: &[&str] = &["completion_mode", "result", "action"];

static SYNC_DURATION: LazyLock<HistogramVec> = LazyLock::new(|| {
    let help = "How long a look at a job took, its commit included";
    histograms("job_controller_job_sync_duration_seconds", help, SYNC_LABELS, exponential(0.004, 2.0, 15))
});
static SYNCS: LazyLock<IntCounterVec> =
    LazyLock::new(|| counters("job_controller_job_syncs_total", "Looks at jobs", SYNC_LABELS));
static JOBS_FINISHED: LazyLock<IntCounterVec> = LazyLock::new(|| {
    let labels = &["completion_mode", "result", "reason"];
    counters("job_controller_jobs_finished_total", "Jobs that came to their end", labels)
});
static PODS_FINISHED: LazyLock<IntCounterVec> = LazyLock::new(|| {
    let help = "Pods of jobs that ended and were counted; in Indexed jobs, succeeded indexes and failed pods";
    counters("job_controller_job_pods_finished_total", help, &["completion_mode", "result"])
});
static PODS_CREATION: LazyLock<IntCounterVec> = LazyLock::new(|| {
    let help = "Pods that were created for jobs, or could not be";
    counters("job_controller_job_pods_creation_total", help, &["reason", "status"])
});
static FINISHED_INDEXES: LazyLock<IntCounterVec> = LazyLock::new(|| {
    let help = "Indexes of Indexed jobs that succeeded or failed for good";
    counters("job_controller_job_finished_indexes_total", help, &["status", "backoffLimit"])
});
static FAILURE_POLICY: LazyLock<IntCounterVec> = LazyLock::new(|| {
    let help = "Failed pods that a rule of their job's pod failure policy matched";
    counters("job_controller_pod_failures_handled_by_failure_policy_total", help, &["action"])
});
static TRACKING_FINALIZER: LazyLock<IntCounterVec> = LazyLock::new(|| {
    let help = "Ended pods that carry the finalizer until they are counted: began to (add) and ceased to (delete)";
    counters("job_controller_terminated_pods_tracking_finalizer_total", help, &["event"])
});
static EXTERNAL: LazyLock<IntCounterVec> = LazyLock::new(|| {
    let help = "Jobs that another controller manages";
    counters("job_controller_jobs_by_external_controller_total", help, &["controller_name"])
});

/// Names are the clients' to choose: beyond so many they share one series, else memory would grow with them.
const MANAGERS_MAX: usize = 100;
static MANAGERS: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());

/// What a look was mostly about (J-2301).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Nothing about the number of pods, as the job ends or is deleted.
    Reconciling,
    /// The pods are as many as they should be.
    Tracking,
    /// Pods are missing: they were created, or wait for their back-off.
    PodsCreated,
    /// Pods were too many, or the job is suspended.
    PodsDeleted,
}

impl Action {
    fn as_str(self) -> &'static str {
        match self {
            Action::Reconciling => "reconciling",
            Action::Tracking => "tracking",
            Action::PodsCreated => "pods_created",
            Action::PodsDeleted => "pods_deleted",
        }
    }
}

/// How a job's pods relate to each other, as label.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    NonIndexed,
    Indexed,
}

impl Mode {
    fn as_str(self) -> &'static str {
        match self {
            Mode::NonIndexed => "NonIndexed",
            Mode::Indexed => "Indexed",
        }
    }
}

/// Why pods were created.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Creation {
    #[default]
    New,
    /// Some have failed or are terminating, and count as gone.
    RecreateTerminatingOrFailed,
    /// Some have failed, and pods are replaced only once they have.
    RecreateFailed,
}

impl Creation {
    const ALL: [Self; 3] = [Self::New, Self::RecreateTerminatingOrFailed, Self::RecreateFailed];

    fn as_str(self) -> &'static str {
        match self {
            Creation::New => "new",
            Creation::RecreateTerminatingOrFailed => "recreate_terminating_or_failed",
            Creation::RecreateFailed => "recreate_failed",
        }
    }
}

/// What befell an ended pod's finalizer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finalizer {
    Add,
    Delete,
}

impl Finalizer {
    fn as_str(self) -> &'static str {
        match self {
            Finalizer::Add => "add",
            Finalizer::Delete => "delete",
        }
    }
}

/// `succeeded` and `failed`, as two labels have them.
fn outcome(succeeded: bool) -> &'static str {
    if succeeded { "succeeded" } else { "failed" }
}

pub(super) fn start() {
    LazyLock::force(&SYNC_DURATION);
    LazyLock::force(&SYNCS);
    LazyLock::force(&JOBS_FINISHED);
    LazyLock::force(&EXTERNAL);
    for succeeded in [true, false] {
        for mode in [Mode::NonIndexed, Mode::Indexed] {
            pods_finished(mode, succeeded, 0);
        }
        for reason in Creation::ALL {
            pods_created(reason, succeeded, 0);
        }
        indexes_finished(succeeded, true, 0);
    }
    indexes_finished(true, false, 0);
    for action in ["Count", "FailIndex", "FailJob", "Ignore"] {
        failures_handled(action, 0);
    }
    for event in [Finalizer::Add, Finalizer::Delete] {
        TRACKING_FINALIZER.with_label_values(&[event.as_str()]).inc_by(0);
    }
}

/// A look at a job, with the commit of what it came to.
pub fn synced(mode: Mode, is_ok: bool, action: Action, took: Duration) {
    let labels = &[mode.as_str(), if is_ok { "success" } else { "error" }, action.as_str()];
    SYNCS.with_label_values(labels).inc();
    SYNC_DURATION.with_label_values(labels).observe(took.as_secs_f64());
}

/// A terminal condition was written; `reason` is the condition's.
pub fn finished(mode: Mode, succeeded: bool, reason: &str) {
    JOBS_FINISHED.with_label_values(&[mode.as_str(), outcome(succeeded), reason]).inc();
}

pub fn pods_finished(mode: Mode, succeeded: bool, count: u64) {
    PODS_FINISHED.with_label_values(&[mode.as_str(), outcome(succeeded)]).inc_by(count);
}

/// `created`: they are stored; else they were refused.
pub fn pods_created(reason: Creation, created: bool, count: u64) {
    PODS_CREATION.with_label_values(&[reason.as_str(), outcome(created)]).inc_by(count);
}

/// `per_index`: the job limits failures per index.
pub fn indexes_finished(succeeded: bool, per_index: bool, count: u64) {
    let limit = if per_index { "perIndex" } else { "global" };
    FINISHED_INDEXES.with_label_values(&[outcome(succeeded), limit]).inc_by(count);
}

/// `action` as the rule has it.
pub fn failures_handled(action: &str, count: u64) {
    FAILURE_POLICY.with_label_values(&[action]).inc_by(count);
}

/// An ended pod got or lost the tracking finalizer.
pub fn tracked(event: Finalizer) {
    TRACKING_FINALIZER.with_label_values(&[event.as_str()]).inc();
}

/// A job for somebody else's controller was created.
pub fn left_to(controller: &str) {
    let mut managers = MANAGERS.lock().unwrap_or_else(PoisonError::into_inner);
    if managers.len() < MANAGERS_MAX && !managers.contains(controller) {
        managers.insert(controller.to_owned());
    }
    EXTERNAL.with_label_values(&[if managers.contains(controller) { controller } else { "others" }]).inc();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn managers_beyond_a_number_share_a_series() {
        for number in 0..MANAGERS_MAX + 5 {
            left_to(&format!("example.com/m{number}"));
        }
        let count = |name: &str| EXTERNAL.with_label_values(&[name]).get();
        assert_eq!(count("example.com/m0"), 1);
        assert!(count("others") >= 5);
    }
}
