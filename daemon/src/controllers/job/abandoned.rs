//! Pods that carry the tracking finalizer although no job will count them any more (J-2009). None may stay stuck in deletion because its
//! job vanished. The rule is pure; what reads and writes is in the thin loop beside it.

use k8s_openapi::{
    api::batch::v1::Job,
    apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference},
};

use super::{conditions, decide::is_ours, snapshot::TRACKING_FINALIZER};

/// The job that controls a pod, by uid: who has to be looked up before [`is_abandoned`] can say something.
pub(super) fn controlling_job(pod: &ObjectMeta) -> Option<&str> {
    controller(pod).filter(|owner| is_job(owner)).map(|owner| owner.uid.as_str())
}

/// Whether the finalizer is to go: there is no controller at all, or a job that is gone (`job` is none) or has finished. Pods of other
/// controllers, and those of jobs that others manage, are left alone.
pub(super) fn is_abandoned(pod: &ObjectMeta, job: Option<&Job>) -> bool {
    if !pod.finalizers.iter().flatten().any(|finalizer| finalizer == TRACKING_FINALIZER) {
        return false;
    }
    match (controller(pod), job) {
        (None, _) => true,
        (Some(owner), _) if !is_job(owner) => false,
        (Some(_), None) => true,
        (Some(_), Some(job)) => is_ours(job) && conditions::is_finished(job),
    }
}

fn controller(pod: &ObjectMeta) -> Option<&OwnerReference> {
    pod.owner_references.iter().flatten().find(|owner| owner.controller == Some(true))
}

fn is_job(owner: &OwnerReference) -> bool {
    owner.kind == "Job" && owner.api_version.starts_with("batch/")
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[track_caller]
    fn check(owner: Value, job: Option<Value>, want: bool) {
        let pod = json!({"finalizers": [TRACKING_FINALIZER], "ownerReferences": [owner]});
        let job = job.map(|job| serde_json::from_value::<Job>(job).unwrap());
        assert_eq!(is_abandoned(&serde_json::from_value(pod).unwrap(), job.as_ref()), want);
    }

    fn owner(api_version: &str, kind: &str, controller: bool) -> Value {
        json!({"apiVersion": api_version, "kind": kind, "name": "x", "uid": "u", "controller": controller})
    }

    /// J-2009.
    #[test]
    fn a_finalizer_goes_when_nobody_will_count_its_pod() {
        let ours = || owner("batch/v1", "Job", true);
        let finished = json!([{"type": "Complete", "status": "True"}]);
        check(ours(), None, true);
        check(ours(), Some(json!({"status": {"conditions": finished}})), true);
        check(ours(), Some(json!({"status": {}})), false);
        check(ours(), Some(json!({"spec": {"managedBy": "x.io/y"}, "status": {"conditions": finished}})), false);
        check(owner("batch/v1", "Job", false), None, true);
        check(owner("apps/v1", "ReplicaSet", true), None, false);
        check(owner("batch.example.com/v1", "Job", true), None, false);
    }

    #[test]
    fn a_pod_without_the_finalizer_has_nothing_to_lose() {
        assert!(!is_abandoned(&ObjectMeta::default(), None));
    }
}
