//! The node object: this machine, as clients see it (W-190). Building it is pure; [`NodeFacts::gather`] reads the machine.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, UdpSocket},
    path::Path,
};

use jiff::Timestamp;
use jobd_api::{object::Object, time};
use serde_json::{Value, json};

use crate::engine;

/// What the node object tells of the machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeFacts {
    pub name: String,
    pub hostname: String,
    pub internal_ip: String,
    pub machine_id: String,
    pub system_uuid: String,
    pub boot_id: String,
    pub kernel_version: String,
    pub os_image: String,
    /// `docker://29.0.0`
    pub container_runtime_version: String,
    /// The server's own version, as `/version` has it.
    pub kubelet_version: String,
    /// `amd64`, `arm64`, …
    pub architecture: String,
    pub cpus: i64,
    pub memory_bytes: i64,
    pub ephemeral_storage_bytes: u64,
    pub max_pods: u32,
}

impl NodeFacts {
    /// Reads what the machine and its engine say. What cannot be read is left empty: clients need the fields, not their values.
    ///
    /// `node_name`: none takes the host name. `storage`: where containers and their logs live. `host_root`: where the machine's root
    /// file system is seen.
    #[must_use]
    pub fn gather(
        node_name: Option<&str>,
        info: &engine::Info,
        kubelet_version: &str,
        max_pods: u32,
        storage: &Path,
        host_root: &Path,
    ) -> Self {
        let read = |path: &str| std::fs::read_to_string(path).map(|text| text.trim().to_owned()).unwrap_or_default();
        let hostname = rustix::system::uname().nodename().to_string_lossy().to_lowercase();
        let machine_id = read(&host_root.join("etc/machine-id").to_string_lossy());
        let system_uuid = Some(read("/sys/class/dmi/id/product_uuid")).filter(|uuid| !uuid.is_empty());
        let ephemeral_storage_bytes =
            rustix::fs::statvfs(storage).map(|disk| disk.f_blocks.saturating_mul(disk.f_frsize)).unwrap_or_default();
        Self {
            name: node_name.map_or_else(|| hostname.clone(), str::to_owned),
            hostname,
            internal_ip: internal_ip().to_string(),
            system_uuid: system_uuid.unwrap_or_else(|| machine_id.clone()),
            machine_id,
            boot_id: read("/proc/sys/kernel/random/boot_id"),
            kernel_version: info.kernel_version.clone(),
            os_image: info.operating_system.clone(),
            container_runtime_version: format!("docker://{}", info.version),
            kubelet_version: kubelet_version.to_owned(),
            architecture: architecture(&info.architecture).to_owned(),
            cpus: info.cpus,
            memory_bytes: info.memory_bytes,
            ephemeral_storage_bytes,
            max_pods,
        }
    }

    /// The node at its first start.
    pub(super) fn create(&self, now: Timestamp) -> Object {
        let mut node = Object::default();
        node.0.insert("apiVersion".to_owned(), json!("v1"));
        node.0.insert("kind".to_owned(), json!("Node"));
        node.metadata_mut().insert("name".to_owned(), json!(self.name));
        self.update(&node, now)
    }

    /// The node at a later start: labels, cordon and taints of the user stay, what the machine says is said anew.
    pub(super) fn update(&self, old: &Object, now: Timestamp) -> Object {
        let mut node = old.clone();
        let labels = node.metadata_mut().entry("labels").or_insert_with(|| json!({}));
        if let Some(labels) = labels.as_object_mut() {
            for (key, value) in self.labels() {
                labels.insert(key.to_owned(), json!(value));
            }
        }
        let status = self.status(old, now);
        match node.0.get_mut("status").and_then(Value::as_object_mut) {
            // Fields that we don't set are somebody else's.
            Some(old) => old.extend(status),
            None => {
                node.0.insert("status".to_owned(), Value::Object(status));
            }
        }
        node
    }

    fn labels(&self) -> BTreeMap<&'static str, &str> {
        BTreeMap::from([
            ("kubernetes.io/hostname", self.hostname.as_str()),
            ("kubernetes.io/os", "linux"),
            ("kubernetes.io/arch", self.architecture.as_str()),
        ])
    }

    fn status(&self, old: &Object, now: Timestamp) -> serde_json::Map<String, Value> {
        let resources = json!({
            "cpu": self.cpus.to_string(),
            "memory": format!("{}Ki", self.memory_bytes / 1024),
            "ephemeral-storage": format!("{}Ki", self.ephemeral_storage_bytes / 1024),
            "pods": self.max_pods.to_string(),
        });
        let conditions: Vec<Value> = CONDITIONS.iter().map(|condition| render(condition, old, now)).collect();
        let status = json!({
            "addresses": [
                {"type": "InternalIP", "address": self.internal_ip},
                {"type": "Hostname", "address": self.hostname},
            ],
            "allocatable": resources,
            "capacity": resources,
            "conditions": conditions,
            "nodeInfo": {
                "architecture": self.architecture,
                "bootID": self.boot_id,
                "containerRuntimeVersion": self.container_runtime_version,
                "kernelVersion": self.kernel_version,
                // There is none; clients demand the field.
                "kubeProxyVersion": "",
                "kubeletVersion": self.kubelet_version,
                "machineID": self.machine_id,
                "operatingSystem": "linux",
                "osImage": self.os_image,
                "systemUUID": self.system_uuid,
            },
        });
        match status {
            Value::Object(status) => status,
            _ => unreachable!("written as an object above"),
        }
    }
}

/// Type, status, reason and message of each condition. There is no heartbeat behind them: an idle daemon writes nothing (I-11),
/// and a server that answers is the proof that the node is there.
const CONDITIONS: [(&str, &str, &str, &str); 4] = [
    ("MemoryPressure", "False", "KubeletHasSufficientMemory", "kubelet has sufficient memory available"),
    ("DiskPressure", "False", "KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
    ("PIDPressure", "False", "KubeletHasSufficientPID", "kubelet has sufficient PID available"),
    ("Ready", "True", "KubeletReady", "kubelet is posting ready status"),
];

fn render((kind, status, reason, message): &(&str, &str, &str, &str), old: &Object, now: Timestamp) -> Value {
    let now = time::render(now);
    let since = old
        .get(&["status", "conditions"])
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .find(|condition| condition["type"] == *kind && condition["status"] == *status)
        .and_then(|condition| condition["lastTransitionTime"].as_str())
        .unwrap_or(&now)
        .to_owned();
    json!({
        "type": kind,
        "status": status,
        "reason": reason,
        "message": message,
        "lastHeartbeatTime": now,
        "lastTransitionTime": since,
    })
}

/// Go's name of an architecture, which is what images and node selectors say.
fn architecture(kernel: &str) -> &str {
    match kernel {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "armv7l" | "armv6l" => "arm",
        "i386" | "i686" => "386",
        other => other,
    }
}

/// The address from which this machine talks to others. Nothing is sent: connecting a UDP socket only asks for the route.
fn internal_ip() -> IpAddr {
    let ask = || {
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
        // An address for documentation (RFC 5737): routed as any other, and nobody has it.
        socket.connect((Ipv4Addr::new(192, 0, 2, 1), 9))?;
        socket.local_addr()
    };
    ask().map_or(IpAddr::V4(Ipv4Addr::LOCALHOST), |address: std::net::SocketAddr| address.ip())
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::Node;

    use super::*;

    fn facts() -> NodeFacts {
        let info = engine::Info {
            version: "29.0.0".to_owned(),
            cpus: 4,
            memory_bytes: 8 << 30,
            architecture: "x86_64".to_owned(),
            kernel_version: "6.12.0".to_owned(),
            operating_system: "Debian GNU/Linux 13 (trixie)".to_owned(),
            ..engine::Info::default()
        };
        let mut facts =
            NodeFacts::gather(Some("box"), &info, "v1.36.0+jobd.0.1.0", 110, Path::new("/"), Path::new("/"));
        assert!(facts.ephemeral_storage_bytes > 0 && !facts.boot_id.is_empty() && !facts.hostname.is_empty());
        facts.hostname = "host".to_owned();
        facts
    }

    fn time(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn w_190_the_node_has_labels_addresses_resources_conditions_and_ten_info_strings() {
        let object = facts().create(time("2026-01-01T00:00:00Z"));
        let info = object.get(&["status", "nodeInfo"]).and_then(Value::as_object).unwrap();
        assert_eq!(info.len(), 10);
        assert!(info.values().all(Value::is_string));
        let node: Node = object.to_typed().unwrap();
        assert_eq!(node.metadata.name.as_deref(), Some("box"));
        let labels = node.metadata.labels.unwrap();
        assert_eq!(labels["kubernetes.io/hostname"], "host");
        assert_eq!((labels["kubernetes.io/os"].as_str(), labels["kubernetes.io/arch"].as_str()), ("linux", "amd64"));
        let status = node.status.unwrap();
        let allocatable = status.allocatable.unwrap();
        for (name, want) in [("cpu", "4"), ("memory", "8388608Ki"), ("pods", "110")] {
            assert_eq!(allocatable[name].0, want);
        }
        assert!(allocatable.contains_key("ephemeral-storage"));
        let conditions = status.conditions.unwrap();
        let ready = conditions.iter().find(|condition| condition.type_ == "Ready").unwrap();
        assert_eq!(ready.status, "True");
        let addresses: Vec<_> = status.addresses.iter().flatten().map(|address| address.type_.as_str()).collect();
        assert_eq!(addresses, ["InternalIP", "Hostname"]);
    }

    #[test]
    fn a_later_start_keeps_what_the_user_set_and_since_when_it_is_ready() {
        let mut old = facts().create(time("2026-01-01T00:00:00Z"));
        old.metadata_mut()["labels"]["disk"] = json!("ssd");
        old.0.insert("spec".to_owned(), json!({"unschedulable": true}));
        let mut facts = facts();
        facts.cpus = 8;
        let new = facts.update(&old, time("2026-02-01T00:00:00Z"));
        assert_eq!(new.label("disk"), Some("ssd"));
        assert_eq!(new.get(&["spec", "unschedulable"]), Some(&json!(true)));
        assert_eq!(new.text(&["status", "capacity", "cpu"]), Some("8"));
        let ready = &new.get(&["status", "conditions"]).unwrap()[3];
        assert_eq!(ready["lastTransitionTime"], "2026-01-01T00:00:00Z");
        assert_eq!(ready["lastHeartbeatTime"], "2026-02-01T00:00:00Z");
    }
}
