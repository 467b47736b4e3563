//! Pods that become the job's, and pods that stop being so (section 21).
#![deny(clippy::disallowed_methods)]

use std::collections::BTreeMap;

use super::{
    plan::PodChange,
    snapshot::{Snapshot, Spec},
};

/// Adoptions and releases. They are a commit of their own: the next look counts the adopted pods as any other (J-2104).
#[must_use]
pub fn decide(seen: &Snapshot, spec: &Spec) -> BTreeMap<String, PodChange> {
    if spec.deleting {
        return BTreeMap::new(); // J-2008
    }
    let adopted = seen.orphans.iter().filter(|pod| pod.matches && !pod.deleting).map(|pod| (pod, PodChange::Adopt)); // J-2101
    let released = seen.pods.iter().filter(|pod| !pod.matches).map(|pod| (pod, PodChange::Release)); // J-2102
    adopted.chain(released).map(|(pod, change)| (pod.name.clone(), change)).collect()
}
