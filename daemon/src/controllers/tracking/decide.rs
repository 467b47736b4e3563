//! Whether a pod's tracking finalizer still serves anybody (J-2009). Pure.
#![deny(clippy::disallowed_methods)]

use super::super::edit::Meta;

/// The finalizer that keeps a pod until its job has counted it.
pub(super) const TRACKING: &str = "batch.kubernetes.io/job-tracking";

/// The value of `managedBy` that means our own controller.
const OURS: &str = "kubernetes.io/job-controller";

/// What is known of the job that a pod's controller reference names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SeenJob {
    pub(super) uid: String,
    pub(super) finished: bool,
    pub(super) managed_by: Option<String>,
}

/// True if the finalizer is to be taken off: nobody will ever count this pod.
pub(super) fn is_stale(pod: &Meta, job: Option<&SeenJob>) -> bool {
    if !pod.has_finalizer(TRACKING) {
        return false;
    }
    let Some(controller) = pod.controller() else { return true };
    if controller.kind != "Job" || !controller.api_version.starts_with("batch/") {
        // Somebody else's pod, with a finalizer that it may have a use for.
        return false;
    }
    match job {
        None => true,
        Some(job) if job.uid != controller.uid => true,
        Some(SeenJob { managed_by: Some(manager), .. }) if manager != OURS => false,
        Some(job) => job.finished,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::controllers::edit::Owner;

    fn pod(controller: Option<(&str, &str)>) -> Meta {
        Meta {
            finalizers: vec![TRACKING.to_owned()],
            owner_references: controller
                .map(|(api_version, kind)| Owner {
                    api_version: api_version.to_owned(),
                    kind: kind.to_owned(),
                    uid: "job".to_owned(),
                    controller: true,
                    ..Owner::default()
                })
                .into_iter()
                .collect(),
            ..Meta::default()
        }
    }

    fn job(uid: &str, finished: bool, managed_by: Option<&str>) -> Option<SeenJob> {
        Some(SeenJob { uid: uid.to_owned(), finished, managed_by: managed_by.map(str::to_owned) })
    }

    #[test]
    fn j_2009_goes_when_nobody_will_count_the_pod() {
        let ours = || pod(Some(("batch/v1", "Job")));
        for (situation, pod, job, want) in [
            ("no controller", pod(None), None, true),
            ("job missing", ours(), None, true),
            ("another job of that name", ours(), job("other", false, None), true),
            ("job finished", ours(), job("job", true, None), true),
            ("job runs", ours(), job("job", false, None), false),
            ("managed by us by name", ours(), job("job", true, Some(OURS)), true),
            ("managed by another", ours(), job("job", true, Some("example.com/other")), false),
            ("controller is no job", pod(Some(("apps/v1", "ReplicaSet"))), None, false),
            ("controller is another's Job", pod(Some(("batch.volcano.sh/v1alpha1", "Job"))), None, false),
            ("no finalizer", Meta::default(), None, false),
        ] {
            assert_eq!(is_stale(&pod, job.as_ref()), want, "{situation}");
        }
    }
}
