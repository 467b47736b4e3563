//! Which waiting pods start now, and which are told why not. Pure.
#![deny(clippy::disallowed_methods)]

use super::{
    facts::{NodeFacts, PodFacts},
    fit::{Refusal, fit, shortages},
    usage::Usage,
};
use crate::store::Key;

/// A pod that waits for a node.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Waiting {
    pub(super) key: Key,
    pub(super) uid: String,
    pub(super) facts: PodFacts,
}

/// What becomes of one waiting pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Decision {
    pub(super) key: Key,
    pub(super) uid: String,
    pub(super) verdict: Verdict,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It gets the node.
    Bind { node: String },
    /// It goes on waiting and is told so with this message (J-2541, J-2571).
    Tell { message: String },
}

/// What to do, in this order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Plan {
    pub(super) decisions: Vec<Decision>,
    /// There is more to do than fits into one plan.
    pub(super) more: bool,
}

/// Goes through the waiting pods in their order and places each that fits beside those before it. One that does not fit does
/// not hold up the others, as upstream. At most `max` decisions.
pub(super) fn decide<'a>(
    node: Option<&NodeFacts>,
    usage: &Usage,
    waiting: impl Iterator<Item = &'a Waiting>,
    max: usize,
) -> Plan {
    let mut plan = Plan::default();
    let mut usage = usage.clone();
    for Waiting { key, uid, facts } in waiting {
        let verdict = match node.ok_or(Refusal::NoNode).and_then(|node| fit(facts, node, &usage).map(|()| node)) {
            Ok(node) => Verdict::Bind { node: node.name.clone() },
            Err(refusal) if facts.told.as_deref().is_some_and(|message| refusal.is_told_by(message)) => continue,
            Err(refusal) => {
                let shortages = node.map(|node| shortages(facts, node, &usage)).unwrap_or_default();
                Verdict::Tell { message: refusal.message(&shortages) }
            }
        };
        if plan.decisions.len() >= max {
            plan.more = true;
            break;
        }
        if let Verdict::Bind { .. } = verdict {
            usage.add(facts);
        }
        plan.decisions.push(Decision { key: key.clone(), uid: uid.clone(), verdict });
    }
    plan
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use jobd_api::registry::Kind;

    use super::*;
    use crate::scheduler::facts::Amounts;

    fn cpu(milli: i128) -> Amounts {
        Amounts(BTreeMap::from([("cpu".to_owned(), milli)]))
    }

    fn node() -> NodeFacts {
        let mut allocatable = cpu(4000);
        allocatable.0.insert("pods".to_owned(), 110_000);
        NodeFacts { name: "n1".to_owned(), allocatable, ..NodeFacts::default() }
    }

    /// Pods as `name cpu` in thousandths, in the queue's order, with `!` behind it if already told that the node is full.
    #[track_caller]
    fn check(node: Option<&NodeFacts>, pods: &[&str], max: usize, want: &[&str]) {
        let waiting: Vec<Waiting> = pods
            .iter()
            .map(|pod| {
                let (name, amount) = pod.split_once(' ').unwrap();
                let told = amount.ends_with('!').then(|| Refusal::Full.message(&[]));
                Waiting {
                    key: Key::new(Kind::Pod, "ns", name),
                    uid: name.to_owned(),
                    facts: PodFacts {
                        requests: cpu(amount.trim_end_matches('!').parse().unwrap()),
                        told,
                        ..PodFacts::default()
                    },
                }
            })
            .collect();
        let plan = decide(node, &Usage::default(), waiting.iter(), max);
        let mut got: Vec<String> = plan
            .decisions
            .iter()
            .map(|decision| match &decision.verdict {
                Verdict::Bind { node } => format!("{} on {node}", decision.uid),
                Verdict::Tell { message } => format!("{}: {}", decision.uid, message.split('.').next().unwrap()),
            })
            .collect();
        if plan.more {
            got.push("more".to_owned());
        }
        assert_eq!(got, want);
    }

    #[test]
    fn places_in_order_while_there_is_room() {
        check(
            Some(&node()),
            &["a 2000", "b 3000", "c 2000", "d 1"],
            10,
            &[
                "a on n1",
                "b: 0/1 nodes are available: 1 Insufficient cpu",
                "c on n1",
                "d: 0/1 nodes are available: 1 Insufficient cpu",
            ],
        );
    }

    #[test]
    fn tells_each_pod_once() {
        check(Some(&node()), &["a 5000!", "b 5000"], 10, &["b: 0/1 nodes are available: 1 Insufficient cpu"]);
    }

    #[test]
    fn without_a_node_all_wait() {
        check(None, &["a 1"], 10, &["a: no nodes available to schedule pods"]);
    }

    #[test]
    fn a_long_queue_is_done_in_pieces() {
        check(Some(&node()), &["a 1", "b 1", "c 1"], 2, &["a on n1", "b on n1", "more"]);
        check(Some(&node()), &["a 1", "b 1"], 2, &["a on n1", "b on n1"]);
    }
}
