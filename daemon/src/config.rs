//! Flags and environment into one checked struct.

use std::{net::SocketAddr, path::PathBuf};

/// How one daemon runs. Made by `cli` from flags, by tests directly.
#[derive(Clone, Debug)]
pub struct Config {
    /// Database, keys, socket, logs, volumes. 0700.
    pub data_dir: PathBuf,
    /// HTTPS listener; none: only the Unix socket.
    pub listen: Option<SocketAddr>,
    /// Plain HTTP without authentication, loopback only (DESIGN section 7); for tests and old tools.
    pub insecure_listen: Option<SocketAddr>,
    /// Group that may use the Unix socket, by name; none: its owner only.
    pub socket_group: Option<String>,
    /// Further names and addresses for the server certificate.
    pub tls_san: Vec<String>,
    /// The address that the kubeconfig names; none: the listener's.
    pub advertise_address: Option<String>,
    /// The engine's socket: `unix:///var/run/docker.sock`.
    pub docker_host: String,
    /// The node's name; none: the host name.
    pub node_name: Option<String>,
    /// How many pods may run at once (kubelet's `maxPods`).
    pub max_pods: u32,
    /// How many processes one pod may have (kubelet's `podPidsLimit`); 0: no limit.
    pub pod_pids_limit: i64,
    /// How long events are kept. Deviates from J-2211 on purpose: a single machine has room for a week.
    pub event_ttl: std::time::Duration,
}
