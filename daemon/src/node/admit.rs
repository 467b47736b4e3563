//! Whether this node takes a pod that was given to it, as a kubelet asks itself before it begins: what can never run here has failed, and
//! says why. Pure.
#![deny(clippy::disallowed_methods)]

use jobd_api::kind::pod_spec;
use k8s_openapi::api::core::v1::PodSpec;

use super::observed::NodeFacts;

/// Kernel parameters that concern the pod alone and may be set without the operator's consent.
const SAFE_SYSCTLS: [&str; 12] = [
    "kernel.shm_rmid_forced",
    "net.ipv4.ip_local_port_range",
    "net.ipv4.ip_local_reserved_ports",
    "net.ipv4.ip_unprivileged_port_start",
    "net.ipv4.ping_group_range",
    "net.ipv4.tcp_fin_timeout",
    "net.ipv4.tcp_keepalive_intvl",
    "net.ipv4.tcp_keepalive_probes",
    "net.ipv4.tcp_keepalive_time",
    "net.ipv4.tcp_rmem",
    "net.ipv4.tcp_syncookies",
    "net.ipv4.tcp_wmem",
];

/// Why a pod is not admitted, in Kubernetes' words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Rejection {
    pub(super) reason: String,
    pub(super) message: String,
}

/// None: it is.
pub(super) fn reject(spec: &PodSpec, node: &NodeFacts) -> Option<Rejection> {
    let rejection = |reason: &str, message: String| Some(Rejection { reason: reason.to_owned(), message });
    if spec.os.as_ref().is_some_and(|os| os.name != "linux") {
        let message = "Failed to admit pod as the OS field doesn't match node OS";
        return rejection("PodOSNotSupported", message.to_owned());
    }
    let given = spec.security_context.iter().flat_map(|context| context.sysctls.iter().flatten());
    for sysctl in given {
        // The other spelling that the API takes.
        let name = sysctl.name.replace('/', ".");
        if !SAFE_SYSCTLS.contains(&name.as_str()) {
            return rejection("SysctlForbidden", format!("forbidden sysctl: \"{name}\" not allowlisted"));
        }
        if name.starts_with("net.") && spec.host_network == Some(true) {
            let message = format!("forbidden sysctl: \"{name}\" not allowed with host net enabled");
            return rejection("SysctlForbidden", message);
        }
    }
    // The scheduler places none that does not fit; clients may.
    let has = [("cpu", i128::from(node.cpus) * 1000, 1), ("memory", i128::from(node.memory_bytes), 1000)];
    for (resource, capacity, unit) in has {
        let requested = pod_spec::request(spec, resource) / unit;
        if capacity > 0 && requested > capacity {
            let message =
                format!("Node didn't have enough resource: {resource}, requested: {requested}, capacity: {capacity}");
            return rejection(&format!("OutOf{resource}"), message);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[track_caller]
    fn check(spec: Value, want: &str) {
        let mut spec = spec;
        spec["containers"] = json!([{"name": "main", "resources": {"requests": spec["requests"]}}]);
        let spec: PodSpec = serde_json::from_value(spec).unwrap();
        let node = NodeFacts { cpus: 2, memory_bytes: 1 << 30, ..NodeFacts::default() };
        let got = reject(&spec, &node).map(|Rejection { reason, message }| format!("{reason}: {message}"));
        assert_eq!(got.unwrap_or_default(), want, "{spec:?}");
    }

    #[test]
    fn takes_what_it_can_run_and_says_why_not() {
        let sysctl = |name: &str| json!({"sysctls": [{"name": name, "value": "1"}]});
        check(json!({}), "");
        check(json!({"os": {"name": "linux"}}), "");
        check(
            json!({"os": {"name": "windows"}}),
            "PodOSNotSupported: Failed to admit pod as the OS field doesn't match node OS",
        );
        check(json!({"securityContext": sysctl("net.ipv4.tcp_syncookies")}), "");
        check(json!({"securityContext": sysctl("kernel/shm_rmid_forced")}), "");
        check(
            json!({"securityContext": sysctl("kernel.msgmax")}),
            "SysctlForbidden: forbidden sysctl: \"kernel.msgmax\" not allowlisted",
        );
        check(
            json!({"securityContext": sysctl("net.ipv4.tcp_rmem"), "hostNetwork": true}),
            "SysctlForbidden: forbidden sysctl: \"net.ipv4.tcp_rmem\" not allowed with host net enabled",
        );
        check(json!({"requests": {"cpu": "2", "memory": "1Gi"}}), "");
        check(
            json!({"requests": {"cpu": "2100m"}}),
            "OutOfcpu: Node didn't have enough resource: cpu, requested: 2100, capacity: 2000",
        );
        check(
            json!({"requests": {"memory": "2Gi"}}),
            "OutOfmemory: Node didn't have enough resource: memory, requested: 2147483648, capacity: 1073741824",
        );
    }
}
