//! What scheduling needs to know of a pod and of the node, read from their bodies. Pure.
#![deny(clippy::disallowed_methods)]

use std::collections::BTreeMap;

use jobd_api::quantity::Quantity;
use k8s_openapi::{
    api::core::v1::{Container, Node, NodeSelectorTerm, Pod, PodSpec, Taint, Toleration},
    apimachinery::pkg::api::resource::Quantity as Text,
};

/// The scheduler whose pods are ours.
const OURS: &str = "default-scheduler";

/// Amounts per resource, in thousandths.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Amounts(pub(super) BTreeMap<String, i128>);

impl Amounts {
    fn parse(quantities: Option<&BTreeMap<String, Text>>) -> Self {
        let amounts = quantities
            .into_iter()
            .flatten()
            // Quantities were checked when they came in.
            .filter_map(|(name, text)| Some((name.clone(), Quantity::parse(&text.0).ok()?.milli())));
        Self(amounts.collect())
    }

    pub(super) fn get(&self, name: &str) -> i128 {
        self.0.get(name).copied().unwrap_or_default()
    }

    pub(super) fn add(&mut self, other: &Self) {
        for (name, amount) in &other.0 {
            *self.0.entry(name.clone()).or_default() += amount;
        }
    }

    pub(super) fn subtract(&mut self, other: &Self) {
        for (name, amount) in &other.0 {
            *self.0.entry(name.clone()).or_default() -= amount;
        }
    }

    /// Each amount becomes the larger of the two.
    fn raise(&mut self, other: &Self) {
        for (name, amount) in &other.0 {
            let mine = self.0.entry(name.clone()).or_default();
            *mine = (*mine).max(*amount);
        }
    }
}

/// A port of the host that a pod takes: address, protocol, number.
pub(super) type HostPort = (String, String, i32);

/// A pod as the scheduler sees it.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct PodFacts {
    pub(super) priority: i32,
    pub(super) created: String,
    pub(super) requests: Amounts,
    pub(super) host_ports: Vec<HostPort>,
    pub(super) node_selector: BTreeMap<String, String>,
    /// Any of these; none: no demand.
    pub(super) node_affinity: Option<Vec<NodeSelectorTerm>>,
    pub(super) tolerations: Vec<Toleration>,
    /// Gates hold it, or another scheduler is to place it.
    pub(super) held: bool,
    /// The message of the condition that says why it could not be placed.
    pub(super) told: Option<String>,
}

impl PodFacts {
    pub(super) fn of(pod: &Pod) -> Self {
        let Some(spec) = &pod.spec else { return Self::default() };
        let told = pod
            .status
            .iter()
            .flat_map(|status| status.conditions.iter().flatten())
            .find(|condition| condition.type_ == "PodScheduled" && condition.status == "False")
            .and_then(|condition| condition.message.clone());
        let node_affinity = spec
            .affinity
            .as_ref()
            .and_then(|affinity| affinity.node_affinity.as_ref())
            .and_then(|affinity| affinity.required_during_scheduling_ignored_during_execution.as_ref())
            .map(|required| required.node_selector_terms.clone());
        Self {
            priority: spec.priority.unwrap_or_default(),
            created: pod.metadata.creation_timestamp.as_ref().map(|time| time.0.to_string()).unwrap_or_default(),
            requests: requests(spec),
            host_ports: host_ports(spec),
            node_selector: spec.node_selector.clone().unwrap_or_default(),
            node_affinity,
            tolerations: spec.tolerations.clone().unwrap_or_default(),
            held: spec.scheduling_gates.as_ref().is_some_and(|gates| !gates.is_empty())
                || spec.scheduler_name.as_deref().is_some_and(|name| !name.is_empty() && name != OURS),
            told,
        }
    }
}

/// What a pod asks for: its containers together, or more while it initialises; sidecars count from their start on.
fn requests(spec: &PodSpec) -> Amounts {
    let mut sum = Amounts::default();
    for container in &spec.containers {
        sum.add(&container_requests(container));
    }
    let mut sidecars = Amounts::default();
    let mut initialising = Amounts::default();
    for container in spec.init_containers.iter().flatten() {
        let amounts = container_requests(container);
        let mut meanwhile = sidecars.clone();
        meanwhile.add(&amounts);
        initialising.raise(&meanwhile);
        if container.restart_policy.as_deref() == Some("Always") {
            sum.add(&amounts);
            sidecars.add(&amounts);
        }
    }
    sum.raise(&initialising);
    // What is asked for the pod as a whole stands instead of what its containers ask for.
    let whole = Amounts::parse(spec.resources.as_ref().and_then(|resources| resources.requests.as_ref()));
    sum.0.extend(whole.0);
    sum.add(&Amounts::parse(spec.overhead.as_ref()));
    sum
}

fn container_requests(container: &Container) -> Amounts {
    Amounts::parse(container.resources.as_ref().and_then(|resources| resources.requests.as_ref()))
}

fn host_ports(spec: &PodSpec) -> Vec<HostPort> {
    let sidecars = spec.init_containers.iter().flatten().filter(|one| one.restart_policy.as_deref() == Some("Always"));
    let mut taken: Vec<HostPort> = spec
        .containers
        .iter()
        .chain(sidecars)
        .flat_map(|container| container.ports.iter().flatten())
        .filter_map(|port| {
            let number = port.host_port.filter(|number| *number > 0)?;
            let address = port.host_ip.clone().filter(|ip| !ip.is_empty()).unwrap_or_else(|| "0.0.0.0".to_owned());
            Some((address, port.protocol.clone().unwrap_or_else(|| "TCP".to_owned()), number))
        })
        .collect();
    taken.sort_unstable();
    taken.dedup();
    taken
}

/// Whether two pods cannot have these ports at the same time.
pub(super) fn ports_collide(one: &HostPort, other: &HostPort) -> bool {
    let everywhere = |address: &str| matches!(address, "0.0.0.0" | "::");
    one.1 == other.1 && one.2 == other.2 && (one.0 == other.0 || everywhere(&one.0) || everywhere(&other.0))
}

/// The node as the scheduler sees it.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct NodeFacts {
    pub(super) name: String,
    pub(super) labels: BTreeMap<String, String>,
    pub(super) allocatable: Amounts,
    pub(super) unschedulable: bool,
    /// Those that keep new pods away.
    pub(super) taints: Vec<Taint>,
}

impl NodeFacts {
    pub(super) fn of(node: &Node) -> Self {
        let spec = node.spec.clone().unwrap_or_default();
        let status = node.status.as_ref();
        // A node that says nothing of what may be allocated gives all that it has.
        let allocatable = status.and_then(|status| status.allocatable.as_ref().or(status.capacity.as_ref()));
        Self {
            name: node.metadata.name.clone().unwrap_or_default(),
            labels: node.metadata.labels.clone().unwrap_or_default(),
            allocatable: Amounts::parse(allocatable),
            unschedulable: spec.unschedulable.unwrap_or_default(),
            taints: spec
                .taints
                .unwrap_or_default()
                .into_iter()
                .filter(|taint| matches!(taint.effect.as_str(), "NoSchedule" | "NoExecute"))
                .collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(spec: &str, want: &[(&str, i128)]) {
        let spec: PodSpec = serde_json::from_str(spec).unwrap();
        let want = want.iter().map(|(name, amount)| ((*name).to_owned(), *amount)).collect();
        assert_eq!(requests(&spec), Amounts(want));
    }

    fn container(cpu: &str, rest: &str) -> String {
        format!(r#"{{"name":"c","resources":{{"requests":{{"cpu":"{cpu}"}}}}{rest}}}"#)
    }

    #[test]
    fn containers_add_up() {
        check(&format!(r#"{{"containers":[{},{}]}}"#, container("1", ""), container("500m", "")), &[("cpu", 1500)]);
    }

    #[test]
    fn a_larger_init_container_counts_instead_and_sidecars_beside() {
        let main = container("1", "");
        let init = container("3", "");
        let sidecar = container("2", r#","restartPolicy":"Always""#);
        check(&format!(r#"{{"containers":[{main}],"initContainers":[{init}]}}"#), &[("cpu", 3000)]);
        check(&format!(r#"{{"containers":[{main}],"initContainers":[{sidecar}]}}"#), &[("cpu", 3000)]);
        check(&format!(r#"{{"containers":[{main}],"initContainers":[{sidecar},{init}]}}"#), &[("cpu", 5000)]);
        check(&format!(r#"{{"containers":[{main}],"initContainers":[{init},{sidecar}]}}"#), &[("cpu", 3000)]);
    }

    #[test]
    fn pod_level_requests_stand_for_the_containers_and_overhead_comes_on_top() {
        check(
            &format!(
                r#"{{"containers":[{}],"resources":{{"requests":{{"cpu":"5"}}}},"overhead":{{"cpu":"1","memory":"1Ki"}}}}"#,
                container("1", "")
            ),
            &[("cpu", 6000), ("memory", 1_024_000)],
        );
    }

    #[test]
    fn gates_and_other_schedulers_hold_a_pod() {
        for (spec, held) in [
            (r#"{"containers":[]}"#, false),
            (r#"{"containers":[],"schedulerName":"default-scheduler"}"#, false),
            (r#"{"containers":[],"schedulerName":"mine"}"#, true),
            (r#"{"containers":[],"schedulingGates":[{"name":"example.com/wait"}]}"#, true),
        ] {
            let pod: Pod = serde_json::from_str(&format!(r#"{{"metadata":{{}},"spec":{spec}}}"#)).unwrap();
            assert_eq!(PodFacts::of(&pod).held, held, "{spec}");
        }
    }

    #[test]
    fn host_ports_collide_by_protocol_number_and_address() {
        let port = |address: &str, protocol: &str, number| (address.to_owned(), protocol.to_owned(), number);
        for (one, other, want) in [
            (port("0.0.0.0", "TCP", 80), port("127.0.0.1", "TCP", 80), true),
            (port("127.0.0.1", "TCP", 80), port("127.0.0.2", "TCP", 80), false),
            (port("0.0.0.0", "TCP", 80), port("0.0.0.0", "UDP", 80), false),
            (port("0.0.0.0", "TCP", 80), port("0.0.0.0", "TCP", 81), false),
        ] {
            assert_eq!(ports_collide(&one, &other), want, "{one:?} {other:?}");
        }
    }
}
