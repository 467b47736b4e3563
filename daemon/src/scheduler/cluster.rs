//! What the scheduler holds in memory: the node, what is used of it, and the pods that wait. Fed by changes, rebuilt from
//! the store at a start and at resyncs. Plain data; it grows with active work only (I-5).

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
};

use k8s_openapi::api::core::v1::{Node, Pod};

use super::{
    decide::{self, Plan, Waiting},
    facts::{Amounts, HostPort, NodeFacts, PodFacts},
    usage::Usage,
};
use crate::store::{Key, Revision};

/// Higher priority first, then older first (creation time, then the order in which we saw them).
type Order = (Reverse<i32>, String, Revision, Key);

/// What a placed pod takes.
#[derive(Clone, Debug)]
struct Placed {
    requests: Amounts,
    host_ports: Vec<HostPort>,
}

/// One pod's state, as a change or a read tells it.
pub(super) struct SeenPod<'a> {
    pub(super) key: &'a Key,
    pub(super) uid: &'a str,
    pub(super) revision: Revision,
    pub(super) node: Option<&'a str>,
    /// Deleted, or in a terminal phase: takes nothing any more.
    pub(super) over: bool,
    pub(super) deleting: bool,
    pub(super) body: &'a str,
}

#[derive(Debug, Default)]
pub(super) struct Cluster {
    node: Option<NodeFacts>,
    usage: Usage,
    /// By uid.
    placed: BTreeMap<String, Placed>,
    waiting: BTreeMap<Order, Waiting>,
    /// uid -> place in `waiting`.
    orders: BTreeMap<String, Order>,
}

impl Cluster {
    pub(super) fn has_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    pub(super) fn set_node(&mut self, node: Option<&Node>) {
        self.node = node.map(NodeFacts::of);
    }

    /// Takes in one pod's state; `ours` is the node's name. True if a pod may start now that could not before.
    ///
    /// # Errors
    /// When the body is not a pod.
    pub(super) fn see(&mut self, pod: &SeenPod<'_>, ours: &str) -> Result<bool, serde_json::Error> {
        if pod.over {
            return Ok(self.forget(pod.uid));
        }
        // A change that is older than our own placing of the pod tells nothing new.
        if self.placed.contains_key(pod.uid) {
            return Ok(false);
        }
        if let Some(node) = pod.node {
            self.stop_waiting(pod.uid);
            if node == ours {
                self.place(pod.uid, &PodFacts::of(&serde_json::from_str::<Pod>(pod.body)?));
            }
            return Ok(false);
        }
        let first_seen = self.stop_waiting(pod.uid).map_or(pod.revision, |(_, _, revision, _)| revision);
        if pod.deleting {
            return Ok(false);
        }
        let facts = PodFacts::of(&serde_json::from_str::<Pod>(pod.body)?);
        if !facts.held {
            let order = (Reverse(facts.priority), facts.created.clone(), first_seen, pod.key.clone());
            self.orders.insert(pod.uid.to_owned(), order.clone());
            self.waiting.insert(order, Waiting { key: pod.key.clone(), uid: pod.uid.to_owned(), facts });
            return Ok(true);
        }
        Ok(false)
    }

    /// Counts a waiting pod as placed, or drops it.
    pub(super) fn settle(&mut self, uid: &str, placed: bool) {
        let waiting = self.orders.remove(uid).and_then(|order| self.waiting.remove(&order));
        if let Some(waiting) = waiting.filter(|_| placed) {
            self.place(uid, &waiting.facts);
        }
    }

    /// Notes that a waiting pod was told why it waits.
    pub(super) fn told(&mut self, uid: &str, message: String) {
        if let Some(waiting) = self.orders.get(uid).and_then(|order| self.waiting.get_mut(order)) {
            waiting.facts.told = Some(message);
        }
    }

    /// What to do next, for at most `max` pods.
    pub(super) fn decide(&self, max: usize) -> Plan {
        decide::decide(self.node.as_ref(), &self.usage, self.waiting.values(), max)
    }

    fn place(&mut self, uid: &str, facts: &PodFacts) {
        self.usage.add(facts);
        let placed = Placed { requests: facts.requests.clone(), host_ports: facts.host_ports.clone() };
        self.placed.insert(uid.to_owned(), placed);
    }

    fn stop_waiting(&mut self, uid: &str) -> Option<Order> {
        let order = self.orders.remove(uid)?;
        self.waiting.remove(&order);
        Some(order)
    }

    /// True if that made room on the node.
    fn forget(&mut self, uid: &str) -> bool {
        self.stop_waiting(uid);
        let Some(Placed { requests, host_ports }) = self.placed.remove(uid) else { return false };
        self.usage.remove(&requests, &host_ports);
        true
    }

    /// Forgets all pods but those with these uids: what went while nobody looked.
    pub(super) fn retain(&mut self, uids: &BTreeSet<String>) {
        let gone: Vec<String> =
            self.placed.keys().chain(self.orders.keys()).filter(|uid| !uids.contains(*uid)).cloned().collect();
        for uid in gone {
            self.forget(&uid);
        }
    }
}

#[cfg(test)]
mod tests {
    use jobd_api::registry::Kind;

    use super::*;

    const BODY: &str = r#"{"metadata":{"creationTimestamp":"2026-01-01T00:00:00Z"},
        "spec":{"containers":[{"name":"c","resources":{"requests":{"cpu":"1"}}}]}}"#;

    fn see(cluster: &mut Cluster, name: &str, node: Option<&str>, over: bool, deleting: bool) {
        let key = Key::new(Kind::Pod, "ns", name);
        let pod = SeenPod { key: &key, uid: name, revision: Revision(1), node, over, deleting, body: BODY };
        cluster.see(&pod, "n1").unwrap();
    }

    #[track_caller]
    fn check(cluster: &Cluster, placed: usize, waiting: usize) {
        assert_eq!((cluster.placed.len(), cluster.waiting.len()), (placed, waiting));
        assert_eq!(cluster.orders.len(), waiting);
        assert_eq!(cluster.usage.pods as usize, placed);
        assert_eq!(cluster.usage.requests.get("cpu"), i128::try_from(placed).unwrap() * 1000);
    }

    #[test]
    fn follows_a_pod_from_waiting_to_placed_to_gone() {
        let mut cluster = Cluster::default();
        see(&mut cluster, "a", None, false, false);
        check(&cluster, 0, 1);
        cluster.settle("a", true);
        check(&cluster, 1, 0);
        see(&mut cluster, "a", None, false, false);
        check(&cluster, 1, 0);
        see(&mut cluster, "a", Some("n1"), false, false);
        check(&cluster, 1, 0);
        see(&mut cluster, "a", Some("n1"), true, false);
        check(&cluster, 0, 0);
    }

    #[test]
    fn a_pod_created_with_a_node_counts_at_once_on_that_node_only() {
        let mut cluster = Cluster::default();
        see(&mut cluster, "a", Some("n1"), false, false);
        see(&mut cluster, "b", Some("elsewhere"), false, false);
        check(&cluster, 1, 0);
    }

    #[test]
    fn a_deleted_pod_does_not_wait_and_a_stopping_one_still_counts() {
        let mut cluster = Cluster::default();
        see(&mut cluster, "a", None, false, false);
        see(&mut cluster, "a", None, false, true);
        check(&cluster, 0, 0);
        see(&mut cluster, "b", Some("n1"), false, true);
        check(&cluster, 1, 0);
    }

    #[test]
    fn forgets_what_went_while_nobody_looked() {
        let mut cluster = Cluster::default();
        see(&mut cluster, "a", Some("n1"), false, false);
        see(&mut cluster, "b", None, false, false);
        see(&mut cluster, "c", None, false, false);
        cluster.retain(&BTreeSet::from(["c".to_owned()]));
        check(&cluster, 0, 1);
    }
}
