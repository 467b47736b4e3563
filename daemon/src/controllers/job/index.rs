//! Completion indexes: which have succeeded, which have failed, and limits per index (section 13).
#![deny(clippy::disallowed_methods)]

use std::collections::BTreeMap;

use jiff::SignedDuration;
use jobd_api::indexes::Indexes;
use k8s_openapi::api::batch::v1::{JobStatus, PodFailurePolicy};

use super::{
    backoff,
    policy::{self, Action},
    snapshot::{Failures, Pod, Spec},
    tally::Tally,
};
use crate::sys::Now;

/// Succeeded (J-823) and failed (J-1303) indexes: what is stored, clamped to today's completions, and what pods add. They stay disjoint
/// (J-1004): an index that ended stays what it was, and one that ends both ways at once has succeeded.
#[must_use]
pub fn sets(
    status: &JobStatus,
    spec: &Spec,
    policy: Option<&PodFailurePolicy>,
    new_succeeded: &[&Pod],
    new_failed: &[&Pod],
) -> (Indexes, Indexes) {
    if !spec.indexed {
        return (Indexes::new(), Indexes::new());
    }
    let completions = spec.completions.unwrap_or_default();
    let stored = |text: &Option<String>| Indexes::parse_stored(text.as_deref().unwrap_or_default(), completions);
    let of = |pods: &mut dyn Iterator<Item = &&Pod>| pods.filter_map(|pod| pod.index).collect::<Indexes>();

    let mut failed = Indexes::new();
    if spec.backoff_limit_per_index.is_some() {
        failed = stored(&status.failed_indexes);
    }
    let succeeded = stored(&status.completed_indexes).union(&of(&mut new_succeeded.iter()).difference(&failed));
    if let Some(limit) = spec.backoff_limit_per_index {
        let ended = of(&mut new_failed.iter().filter(|pod| ends_index(policy, limit, pod)));
        failed = failed.union(&ended).difference(&succeeded);
    }
    (succeeded, failed)
}

/// Whether this failed pod was the last try of its index (J-1302).
fn ends_index(policy: Option<&PodFailurePolicy>, limit: i32, pod: &Pod) -> bool {
    match policy::judge(policy, pod).map(|found| found.action) {
        Some(Action::FailIndex) => true,
        Some(Action::Ignore) => false,
        Some(Action::Count | Action::FailJob) | None => pod.failures.counted >= limit,
    }
}

/// The failed pod of each index that waits for its next try, which keeps its finalizer until then, as its successor is made from its
/// annotations (J-1305). Empty without a limit per index.
#[must_use]
pub fn held<'a>(tally: &Tally<'a>, active: &Indexes) -> BTreeMap<i32, &'a Pod> {
    let mut held: BTreeMap<i32, &'a Pod> = BTreeMap::new();
    if tally.spec.backoff_limit_per_index.is_none() {
        return held;
    }
    let ended = |index| tally.succeeded_indexes.contains(index) || tally.failed_indexes.contains(index);
    for pod in &tally.new_failed {
        let Some(index) = pod.index.filter(|index| !ended(*index) && !active.contains(*index)) else { continue };
        // The name settles what the rule leaves open.
        let recent = |pod: &'a Pod| (pod.failures.total(), pod.finish.wall, &pod.name);
        if held.get(&index).is_none_or(|other| recent(other) <= recent(pod)) {
            held.insert(index, pod);
        }
    }
    held
}

/// The annotations of the pod that replaces this one (J-1304).
#[must_use]
pub fn next_failures(policy: Option<&PodFailurePolicy>, replaced: Option<&Pod>) -> Failures {
    let Some(pod) = replaced else { return Failures::default() };
    let Failures { counted, ignored } = pod.failures;
    if policy::is_counted(policy, pod) {
        Failures { counted: counted.saturating_add(1), ignored }
    } else {
        Failures { counted, ignored: ignored.saturating_add(1) }
    }
}

/// What is left of the back-off of an index (J-1306).
#[must_use]
pub fn remaining(replaced: Option<&Pod>, now: Now) -> SignedDuration {
    let Some(pod) = replaced else { return SignedDuration::ZERO };
    let failures = u32::try_from(pod.failures.total().saturating_add(1)).unwrap_or(u32::MAX);
    backoff::remaining(failures, pod.finish.boot, now)
}

/// The indexes of pods.
#[must_use]
pub fn of(pods: &[&Pod]) -> Indexes {
    pods.iter().filter_map(|pod| pod.index).collect()
}
