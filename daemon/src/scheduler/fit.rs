//! Whether a pod may run on the node, and in which words not (J-2571). Pure.
#![deny(clippy::disallowed_methods)]

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{NodeSelectorRequirement, NodeSelectorTerm, Taint, Toleration};

use super::{
    facts::{NodeFacts, PodFacts, ports_collide},
    usage::Usage,
};

/// Why a pod does not run on the node.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Refusal {
    /// There is no node object (yet).
    NoNode,
    /// Waiting does not help; somebody must change the pod or the node.
    Node(&'static str),
    /// The node is full. Passes when other pods end. [`shortages`] says of what.
    Full,
}

impl Refusal {
    /// The message of event and condition, in upstream's words. `shortages`: what a full node lacks.
    pub(super) fn message(&self, shortages: &[String]) -> String {
        match self {
            Self::NoNode => "no nodes available to schedule pods".to_owned(),
            Self::Node(reason) => format!(
                "0/1 nodes are available: 1 {reason}. preemption: 0/1 nodes are available: 1 Preemption is not helpful for \
                 scheduling."
            ),
            Self::Full => format!(
                "0/1 nodes are available: {}. preemption: 0/1 nodes are available: 1 No preemption victims found for \
                 incoming pod.",
                shortages.iter().map(|shortage| format!("1 {shortage}")).collect::<Vec<_>>().join(", ")
            ),
        }
    }

    /// Whether a pod that was told this message need not be told this refusal. A full node changes its reasons with every
    /// pod that ends: telling each of them to each waiting pod would be a write storm.
    pub(super) fn is_told_by(&self, message: &str) -> bool {
        match self {
            Self::NoNode | Self::Node(_) => message == self.message(&[]),
            Self::Full => message.contains("No preemption victims found"),
        }
    }
}

/// Whether the pod may be placed on the node beside what runs there. The checks' order is upstream's: the first that fails
/// names the reasons.
pub(super) fn fit(pod: &PodFacts, node: &NodeFacts, usage: &Usage) -> Result<(), Refusal> {
    if node.unschedulable && !tolerates(&pod.tolerations, &cordon()) {
        return Err(Refusal::Node("node(s) were unschedulable"));
    }
    if node.taints.iter().any(|taint| !tolerates(&pod.tolerations, taint)) {
        return Err(Refusal::Node("node(s) had untolerated taint(s)"));
    }
    let is_selected = pod.node_selector.iter().all(|(key, value)| node.labels.get(key) == Some(value))
        && pod.node_affinity.as_ref().is_none_or(|terms| terms.iter().any(|term| matches_term(term, node)));
    if !is_selected {
        return Err(Refusal::Node("node(s) didn't match Pod's node affinity/selector"));
    }
    let is_full = lacks_ports(pod, usage)
        || has_too_many_pods(node, usage)
        || pod.requests.0.iter().any(|(name, amount)| lacks(name, *amount, node, usage));
    if is_full { Err(Refusal::Full) } else { Ok(()) }
}

/// What a full node lacks for the pod, sorted. Apart from [`fit`], which is asked for each waiting pod whenever one ends.
pub(super) fn shortages(pod: &PodFacts, node: &NodeFacts, usage: &Usage) -> Vec<String> {
    if lacks_ports(pod, usage) {
        return vec!["node(s) didn't have free ports for the requested pod ports".to_owned()];
    }
    let mut shortages: Vec<String> = pod
        .requests
        .0
        .iter()
        .filter(|(name, amount)| lacks(name, **amount, node, usage))
        .map(|(name, _)| format!("Insufficient {name}"))
        .collect();
    if has_too_many_pods(node, usage) {
        shortages.push("Too many pods".to_owned());
    }
    shortages.sort_unstable();
    shortages
}

fn lacks_ports(pod: &PodFacts, usage: &Usage) -> bool {
    pod.host_ports.iter().any(|port| usage.host_ports.keys().any(|taken| ports_collide(port, taken)))
}

fn lacks(resource: &str, amount: i128, node: &NodeFacts, usage: &Usage) -> bool {
    amount > 0 && usage.requests.get(resource) + amount > node.allocatable.get(resource)
}

fn has_too_many_pods(node: &NodeFacts, usage: &Usage) -> bool {
    i128::from(usage.pods) + 1 > node.allocatable.get("pods") / 1000
}

/// The taint that `spec.unschedulable` stands for.
fn cordon() -> Taint {
    Taint { key: "node.kubernetes.io/unschedulable".to_owned(), effect: "NoSchedule".to_owned(), ..Taint::default() }
}

fn tolerates(tolerations: &[Toleration], taint: &Taint) -> bool {
    let text = |option: &Option<String>| option.clone().unwrap_or_default();
    tolerations.iter().any(|toleration| {
        let effect = text(&toleration.effect);
        let key = text(&toleration.key);
        let value_fits = match toleration.operator.as_deref() {
            Some("Exists") => true,
            None | Some("" | "Equal") => text(&toleration.value) == text(&taint.value),
            Some(_) => false,
        };
        (effect.is_empty() || effect == taint.effect) && (key.is_empty() || key == taint.key) && value_fits
    })
}

/// All expressions of a term must hold; a term without any selects nothing.
fn matches_term(term: &NodeSelectorTerm, node: &NodeFacts) -> bool {
    let expressions = term.match_expressions.as_deref().unwrap_or_default();
    let fields = term.match_fields.as_deref().unwrap_or_default();
    let name = BTreeMap::from([("metadata.name".to_owned(), node.name.clone())]);
    !(expressions.is_empty() && fields.is_empty())
        && expressions.iter().all(|requirement| matches(requirement, &node.labels))
        && fields.iter().all(|requirement| matches(requirement, &name))
}

fn matches(requirement: &NodeSelectorRequirement, values: &BTreeMap<String, String>) -> bool {
    let value = values.get(&requirement.key);
    let wanted = requirement.values.as_deref().unwrap_or_default();
    let numbers = || Some((value?.parse::<i64>().ok()?, wanted.first()?.parse::<i64>().ok()?));
    match requirement.operator.as_str() {
        "In" => value.is_some_and(|value| wanted.contains(value)),
        "NotIn" => value.is_none_or(|value| !wanted.contains(value)),
        "Exists" => value.is_some(),
        "DoesNotExist" => value.is_none(),
        "Gt" => numbers().is_some_and(|(have, bound)| have > bound),
        "Lt" => numbers().is_some_and(|(have, bound)| have < bound),
        // Validation lets no other operator in; one that is unknown selects nothing.
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::{Node, Pod};

    use super::*;

    /// `node`, `pod`: the inside of their `spec`; the node has 2 CPUs, 1Gi and room for 3 pods, and label `disk: ssd`.
    #[track_caller]
    fn check(node: &str, used: &[&str], pod: &str, want: &str) {
        let node: Node = serde_json::from_str(&format!(
            r#"{{"metadata":{{"name":"n1","labels":{{"disk":"ssd","size":"5"}}}},"spec":{{{node}}},
                "status":{{"allocatable":{{"cpu":"2","memory":"1Gi","pods":"3"}}}}}}"#
        ))
        .unwrap();
        let facts = |spec: &str| {
            let pod: Pod = serde_json::from_str(&format!(r#"{{"metadata":{{}},"spec":{{{spec}}}}}"#)).unwrap();
            PodFacts::of(&pod)
        };
        let mut usage = Usage::default();
        for pod in used {
            usage.add(&facts(pod));
        }
        let (pod_facts, node_facts) = (facts(pod), NodeFacts::of(&node));
        let got = match fit(&pod_facts, &node_facts, &usage) {
            Ok(()) => "fits".to_owned(),
            Err(Refusal::Full) => shortages(&pod_facts, &node_facts, &usage).join(", "),
            Err(Refusal::Node(reason)) => reason.to_owned(),
            Err(Refusal::NoNode) => "no node".to_owned(),
        };
        assert_eq!(got, want, "node {node:?} pod {pod}");
    }

    const BARE: &str = r#""containers":[{"name":"c"}]"#;
    const CPU_1: &str = r#""containers":[{"name":"c","resources":{"requests":{"cpu":"1"}}}]"#;
    const BIG: &str = r#""containers":[{"name":"c","resources":{"requests":{"cpu":"3","memory":"2Gi"}}}]"#;

    #[test]
    fn fits_while_requests_and_pod_count_do() {
        check("", &[], BARE, "fits");
        check("", &[CPU_1], CPU_1, "fits");
        check("", &[CPU_1, CPU_1], CPU_1, "Insufficient cpu");
        check("", &[CPU_1, CPU_1], BARE, "fits");
        check("", &[CPU_1, CPU_1, BARE], BARE, "Too many pods");
        check("", &[], BIG, "Insufficient cpu, Insufficient memory");
        check("", &[CPU_1, BARE, BARE], BIG, "Insufficient cpu, Insufficient memory, Too many pods");
    }

    #[test]
    fn a_resource_that_the_node_does_not_have_is_insufficient() {
        let gpu = r#""containers":[{"name":"c","resources":{"requests":{"nvidia.com/gpu":"1"}}}]"#;
        check("", &[], gpu, "Insufficient nvidia.com/gpu");
    }

    #[test]
    fn a_cordoned_node_keeps_pods_away_unless_tolerated() {
        let cordoned = r#""unschedulable":true"#;
        let tolerating = format!(
            r#"{BARE},"tolerations":[{{"key":"node.kubernetes.io/unschedulable","operator":"Exists","effect":"NoSchedule"}}]"#
        );
        check(cordoned, &[], BARE, "node(s) were unschedulable");
        check(cordoned, &[], &tolerating, "fits");
    }

    #[test]
    fn taints_keep_pods_away_unless_tolerated() {
        for (effect, keeps_away) in [("NoSchedule", true), ("NoExecute", true), ("PreferNoSchedule", false)] {
            let tainted = format!(r#""taints":[{{"key":"k","value":"v","effect":"{effect}"}}]"#);
            let refused = if keeps_away { "node(s) had untolerated taint(s)" } else { "fits" };
            for (toleration, tolerates) in [
                (r#"{"key":"k","value":"v"}"#, true),
                (r#"{"key":"k","operator":"Equal","value":"v"}"#, true),
                (r#"{"key":"k","operator":"Exists"}"#, true),
                (r#"{"operator":"Exists"}"#, true),
                (r#"{"key":"k","value":"other"}"#, false),
                (r#"{"key":"other","operator":"Exists"}"#, false),
                (r#"{"key":"k","operator":"Exists","effect":"Other"}"#, false),
            ] {
                let pod = format!(r#"{BARE},"tolerations":[{toleration}]"#);
                check(&tainted, &[], &pod, if tolerates { "fits" } else { refused });
            }
            check(&tainted, &[], BARE, refused);
        }
    }

    #[test]
    fn selector_and_required_affinity_must_match_the_node() {
        const REFUSED: &str = "node(s) didn't match Pod's node affinity/selector";
        check("", &[], &format!(r#"{BARE},"nodeSelector":{{"disk":"ssd"}}"#), "fits");
        check("", &[], &format!(r#"{BARE},"nodeSelector":{{"disk":"hdd"}}"#), REFUSED);
        check("", &[], &format!(r#"{BARE},"nodeSelector":{{"absent":""}}"#), REFUSED);
        for (term, want) in [
            (r#"{"matchExpressions":[{"key":"disk","operator":"In","values":["ssd","nvme"]}]}"#, "fits"),
            (r#"{"matchExpressions":[{"key":"disk","operator":"NotIn","values":["ssd"]}]}"#, REFUSED),
            (r#"{"matchExpressions":[{"key":"absent","operator":"NotIn","values":["x"]}]}"#, "fits"),
            (r#"{"matchExpressions":[{"key":"absent","operator":"Exists"}]}"#, REFUSED),
            (r#"{"matchExpressions":[{"key":"absent","operator":"DoesNotExist"}]}"#, "fits"),
            (r#"{"matchExpressions":[{"key":"size","operator":"Gt","values":["4"]}]}"#, "fits"),
            (r#"{"matchExpressions":[{"key":"size","operator":"Lt","values":["5"]}]}"#, REFUSED),
            (r#"{"matchFields":[{"key":"metadata.name","operator":"In","values":["n1"]}]}"#, "fits"),
            (r#"{"matchFields":[{"key":"metadata.name","operator":"In","values":["n2"]}]}"#, REFUSED),
            ("{}", REFUSED),
        ] {
            let affinity = format!(
                r#"{BARE},"affinity":{{"nodeAffinity":{{"requiredDuringSchedulingIgnoredDuringExecution":{{"nodeSelectorTerms":[{term}]}}}}}}"#
            );
            check("", &[], &affinity, want);
        }
    }

    #[test]
    fn a_host_port_is_taken_once() {
        let port = r#""containers":[{"name":"c","ports":[{"containerPort":80,"hostPort":8080}]}]"#;
        check("", &[], port, "fits");
        check("", &[port], port, "node(s) didn't have free ports for the requested pod ports");
    }

    #[test]
    fn j_2571_messages_are_upstreams() {
        let message = Refusal::Full.message(&["Insufficient cpu".to_owned(), "Too many pods".to_owned()]);
        assert_eq!(
            message,
            "0/1 nodes are available: 1 Insufficient cpu, 1 Too many pods. preemption: 0/1 nodes are available: 1 No \
             preemption victims found for incoming pod."
        );
        assert!(Refusal::Full.is_told_by(&message));
        assert!(!Refusal::Node("a").is_told_by(&Refusal::Node("b").message(&[])));
    }
}
