//! The narrow trait for a container engine, and its plain types. Nothing of bollard is visible here.

use std::{collections::BTreeMap, future::Future, time::Duration};

use bytes::Bytes;
use futures_util::stream::BoxStream;
use jiff::Timestamp;

pub mod docker;
pub mod measured;
pub mod pause;
#[cfg(test)]
pub mod scripted;

/// Why an engine call failed. Classes of D-702; texts are the engine's own.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The engine did not answer (connection refused, cut, timed out): nothing is known about the outcome (D-104).
    #[error("the container engine does not answer: {0}")]
    Unreachable(String),
    /// 404: the container or image named in the call does not exist.
    #[error("{0}")]
    NotFound(String),
    /// 409: a name is taken, the container runs, removal is in progress.
    #[error("{0}")]
    Conflict(String),
    /// 304: already started, already stopped.
    #[error("not modified")]
    NotModified,
    /// Class *infrastructure* of D-702 and `context canceled` of D-1602: tried again by us, never counted against the user.
    #[error("{0}")]
    Infrastructure(String),
    /// Every other refusal, with its HTTP status: class *spec* at create, class *start* at start.
    #[error("{message}")]
    Refused { status: u16, message: String },
}

/// What the engine is and has (D-604).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Info {
    pub version: String,
    pub api_version: String,
    pub cgroup_version: String,
    pub cgroup_driver: String,
    pub storage_driver: String,
    pub logging_driver: String,
    pub live_restore: bool,
    pub cpus: i64,
    pub memory_bytes: i64,
    pub kernel_version: String,
    pub operating_system: String,
    pub architecture: String,
    pub runtimes: Vec<String>,
    pub root_dir: String,
    /// The process at the other end of the socket, as this machine numbers it.
    pub local_pid: Option<i32>,
}

/// A container to create. Built from a pod by `node::spec`; turned into the engine's body by `docker`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ContainerSpec {
    pub name: String,
    pub image: String,
    pub labels: BTreeMap<String, String>,
    /// Kubernetes `command`; none keeps the image's entrypoint (D-301).
    pub entrypoint: Option<Vec<String>>,
    /// Kubernetes `args`.
    pub cmd: Option<Vec<String>>,
    /// `NAME=value`
    pub env: Vec<String>,
    pub working_dir: Option<String>,
    pub hostname: Option<String>,
    /// Beside the host name, in the hosts file too.
    pub domainname: Option<String>,
    /// `uid[:gid]`
    pub user: Option<String>,
    pub supplementary_groups: Vec<i64>,
    pub tty: bool,
    pub stdin: bool,
    pub stdin_once: bool,
    pub network: Network,
    /// `container:<id>` of the sandbox whose IPC namespace is joined, `shareable` or `host`; none: its own.
    pub ipc: Option<String>,
    /// `container:<id>` or `host`; none: its own.
    pub pid: Option<String>,
    pub dns: Vec<String>,
    pub dns_search: Vec<String>,
    pub dns_options: Vec<String>,
    /// `name:ip`
    pub extra_hosts: Vec<String>,
    pub mounts: Vec<Mount>,
    /// Path -> mount options of a tmpfs.
    pub tmpfs: BTreeMap<String, String>,
    /// Billionths of a CPU; none: no limit.
    pub nano_cpus: Option<i64>,
    pub cpu_shares: Option<i64>,
    /// Bytes; swap gets the same limit, so none.
    pub memory: Option<i64>,
    pub memory_reservation: Option<i64>,
    pub pids_limit: Option<i64>,
    pub shm_size: Option<i64>,
    pub oom_score_adj: Option<i64>,
    pub cgroup_parent: Option<String>,
    pub privileged: bool,
    pub read_only_root: bool,
    pub no_new_privileges: bool,
    pub cap_add: Vec<String>,
    pub cap_drop: Vec<String>,
    /// `seccomp=unconfined`, `apparmor=…`, …
    pub security_opt: Vec<String>,
    pub sysctls: BTreeMap<String, String>,
    pub runtime: Option<String>,
    /// `hostPort` publications: (container port, protocol, host ip, host port).
    pub ports: Vec<(u16, String, String, u16)>,
}

/// A user-defined network of ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedNetwork {
    pub name: String,
    pub labels: BTreeMap<String, String>,
}

/// What a container's network is (D-212).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Network {
    /// The engine's default bridge.
    #[default]
    Bridge,
    Host,
    /// No network layer at all: `NetworkDisabled` (ND).
    Disabled,
    /// A user-defined bridge, with the names under which others find the container (D-213).
    Named {
        network: String,
        aliases: Vec<String>,
    },
    /// The network of the sandbox with this id.
    Container(String),
}

/// A bind mount of a host path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    pub source: String,
    pub target: String,
    pub read_only: bool,
    /// `rprivate`, `rslave`, `rshared`; none: the engine's default.
    pub propagation: Option<String>,
}

/// What the engine says of a container's life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ContainerStatus {
    Created,
    Running,
    Paused,
    /// Being removed, or in a state that only the engine knows.
    Removing,
    Exited,
}

/// An inspected container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Container {
    pub id: String,
    pub name: String,
    pub labels: BTreeMap<String, String>,
    pub status: ContainerStatus,
    pub exit_code: i64,
    /// `State.Error`, the runtime's message of a failed start.
    pub error: String,
    pub oom_killed: bool,
    /// 0 when not running.
    pub pid: i64,
    /// None for the zero time (D-503).
    pub started_at: Option<Timestamp>,
    pub finished_at: Option<Timestamp>,
    pub image: String,
    /// The local image id.
    pub image_id: String,
    /// Address on its network, empty if none.
    pub ip: String,
}

impl Container {
    /// It has a process.
    #[must_use]
    pub fn is_running(&self) -> bool {
        matches!(self.status, ContainerStatus::Running | ContainerStatus::Paused)
    }
}

/// A container as a list shows it: no exit facts (D-510).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedContainer {
    pub id: String,
    pub name: String,
    pub labels: BTreeMap<String, String>,
    pub status: ContainerStatus,
}

/// A local image.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Image {
    pub id: String,
    pub repo_digests: Vec<String>,
    pub size_bytes: i64,
    /// `Config.User`
    pub user: String,
    /// `Config.WorkingDir`
    pub working_dir: String,
    /// `Config.StopSignal`
    pub stop_signal: String,
}

/// Credentials for a registry, from an imagePullSecret.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RegistryAuth {
    pub username: String,
    pub password: String,
    pub server_address: String,
    pub identity_token: String,
}

/// A container event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    pub action: EventAction,
    pub id: String,
    pub labels: BTreeMap<String, String>,
    pub at: Timestamp,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EventAction {
    Create,
    Start,
    Die {
        exit_code: i64,
    },
    Destroy,
    Oom,
    /// With the signal.
    Kill(String),
    Stop,
    Pause,
    Unpause,
    Other(String),
}

/// Which logs to read. Times are the engine's log stamps.
#[derive(Clone, Debug, Default)]
pub struct LogQuery {
    pub follow: bool,
    /// Inclusive (D-903).
    pub since: Option<Timestamp>,
}

/// One piece of log: at most 16 KiB of one line (D-901).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogFrame {
    /// From stderr, else from stdout.
    pub stderr: bool,
    pub at: Timestamp,
    pub data: Bytes,
}

/// Bounds of a command that is run inside a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExecLimits {
    pub time: Duration,
    /// Of what it prints; the rest is read and dropped.
    pub output_bytes: usize,
}

/// How a command inside a container ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ExecEnd {
    Exited {
        exit_code: i64,
        /// stdout and stderr as they came.
        output: Bytes,
    },
    /// It was not done in time. It is killed where the engine lets us.
    TimedOut,
}

/// A container engine. Each call answers when the engine has; deadlines are the implementation's.
pub trait Engine: Send + Sync + 'static {
    fn info(&self) -> impl Future<Output = Result<Info, Error>> + Send;

    /// Creates a container and returns its id.
    fn create(&self, spec: &ContainerSpec) -> impl Future<Output = Result<String, Error>> + Send;
    /// Starts a created container. Never send it twice (D-403, D-406).
    fn start(&self, id: &str) -> impl Future<Output = Result<(), Error>> + Send;
    /// By id or name.
    fn inspect(&self, id: &str) -> impl Future<Output = Result<Container, Error>> + Send;
    /// All containers, running or not, that carry this label.
    fn list(&self, label: &str) -> impl Future<Output = Result<Vec<ListedContainer>, Error>> + Send;
    /// Sends a signal.
    fn kill(&self, id: &str, signal: &str) -> impl Future<Output = Result<(), Error>> + Send;
    /// Removes with anonymous volumes (D-804).
    fn remove(&self, id: &str, force: bool) -> impl Future<Output = Result<(), Error>> + Send;
    /// The events of containers that carry this label, from `since` on (replayed from the engine's memory) and live, until the connection
    /// ends; with `until` the stream ends there.
    fn events(
        &self,
        label: &str,
        since: Option<Timestamp>,
        until: Option<Timestamp>,
    ) -> impl Future<Output = Result<BoxStream<'static, Result<Event, Error>>, Error>> + Send;
    /// Log frames, oldest first.
    fn logs(
        &self,
        id: &str,
        query: LogQuery,
    ) -> impl Future<Output = Result<BoxStream<'static, Result<LogFrame, Error>>, Error>> + Send;

    /// Makes a user-defined bridge network, on which containers find each other by their aliases, unless one of that name exists.
    fn ensure_network(
        &self,
        name: &str,
        labels: &BTreeMap<String, String>,
    ) -> impl Future<Output = Result<(), Error>> + Send;
    /// All user-defined networks that carry this label.
    fn list_networks(&self, label: &str) -> impl Future<Output = Result<Vec<ListedNetwork>, Error>> + Send;
    /// Removes a network that no running container is on.
    fn remove_network(&self, name: &str) -> impl Future<Output = Result<(), Error>> + Send;

    fn inspect_image(&self, image: &str) -> impl Future<Output = Result<Image, Error>> + Send;
    /// Pulls; the error of a pull that fails late is found too (D-1204).
    fn pull(&self, image: &str, auth: Option<&RegistryAuth>) -> impl Future<Output = Result<(), Error>> + Send;
    /// Loads the images of a docker-archive (D-207).
    fn load_image(&self, archive: Bytes) -> impl Future<Output = Result<(), Error>> + Send;
    /// Runs a command in a running container, as its user, and waits for its end. What could not be begun (no such program) is
    /// [`Error::Refused`].
    fn exec(
        &self,
        id: &str,
        command: &[String],
        limits: ExecLimits,
    ) -> impl Future<Output = Result<ExecEnd, Error>> + Send;
    /// Whether a process's container is lost by the engine (`top` answers that its task is gone; D-1604).
    fn is_lost(&self, id: &str) -> impl Future<Output = Result<bool, Error>> + Send;
    /// Sets or lifts limits of a running container (D-1102).
    fn ping(&self) -> impl Future<Output = Result<Duration, Error>> + Send;
}
