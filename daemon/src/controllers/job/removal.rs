//! Which active pods go first when there are too many (J-848, J-849).
#![deny(clippy::disallowed_methods)]

use std::{cmp::Ordering, collections::BTreeMap};

use jiff::Timestamp;

use super::snapshot::{Phase, Pod, Spec};

/// Pods to remove: at least `excess`; in an Indexed job also those that stand for no index of it, and all but one of each index (J-848).
#[must_use]
pub fn choose<'a>(spec: &Spec, active: &[&'a Pod], excess: usize) -> Vec<&'a Pod> {
    let mut ordered = active.to_vec();
    ordered.sort_by(|a, b| first_to_go(a, b));
    let (mut chosen, rest) = if spec.indexed { superfluous(spec, ordered) } else { (Vec::new(), ordered) };
    let more = excess.saturating_sub(chosen.len());
    chosen.extend(rest.into_iter().take(more));
    chosen
}

/// Splits off, from pods in removal order, those whose index is none of the job's or is held by one that goes later.
fn superfluous<'a>(spec: &Spec, ordered: Vec<&'a Pod>) -> (Vec<&'a Pod>, Vec<&'a Pod>) {
    let mut survivors: BTreeMap<i32, usize> = BTreeMap::new();
    for (position, pod) in ordered.iter().enumerate() {
        if let (true, Some(index)) = (spec.is_valid_index(pod.index), pod.index) {
            survivors.insert(index, position);
        }
    }
    let survives = |position: usize, pod: &Pod| pod.index.and_then(|index| survivors.get(&index)) == Some(&position);
    let (kept, gone): (Vec<_>, Vec<_>) =
        ordered.into_iter().enumerate().partition(|(position, pod)| survives(*position, pod));
    (gone.into_iter().map(|(_, pod)| pod).collect(), kept.into_iter().map(|(_, pod)| pod).collect())
}

/// J-849; less means removed first. The name settles what the rule leaves open, so that the choice is always the same.
fn first_to_go(a: &Pod, b: &Pod) -> Ordering {
    a.assigned
        .cmp(&b.assigned)
        .then_with(|| rank(a.phase).cmp(&rank(b.phase)))
        .then_with(|| a.ready.cmp(&b.ready))
        .then_with(|| if a.ready && b.ready { newer_first(a.ready_since, b.ready_since) } else { Ordering::Equal })
        .then_with(|| b.restarts.max.cmp(&a.restarts.max))
        .then_with(|| b.restarts.sidecar_max.cmp(&a.restarts.sidecar_max))
        .then_with(|| newer_first(a.created, b.created))
        .then_with(|| a.name.cmp(&b.name))
}

/// Pending, then Unknown, then Running; the others are never active.
fn rank(phase: Phase) -> u8 {
    match phase {
        Phase::Pending => 0,
        Phase::Unknown => 1,
        Phase::Running | Phase::Succeeded | Phase::Failed => 2,
    }
}

/// A time that is not known counts as newest.
fn newer_first(a: Option<Timestamp>, b: Option<Timestamp>) -> Ordering {
    match (a, b) {
        (None, None) => Ordering::Equal,
        (None, Some(_)) => Ordering::Less,
        (Some(_), None) => Ordering::Greater,
        (Some(a), Some(b)) => b.cmp(&a),
    }
}
