//! Flags and environment into one checked struct.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use jiff::SignedDuration;

use crate::{controllers::history::Keep, telemetry::LogFormat};

/// The data directory where none is named.
pub const DATA_DIR: &str = "/var/lib/jobd";

/// A path that is the same whatever the working directory is.
///
/// # Errors
/// When it is empty, or relative and there is no working directory.
pub fn absolute(path: &str) -> std::io::Result<PathBuf> {
    std::path::absolute(path)
}

/// The kubeconfig in a data directory.
#[must_use]
pub fn kubeconfig(data_dir: &Path) -> PathBuf {
    data_dir.join("kubeconfig")
}

/// How one daemon runs. Every flag can be given as an environment variable too.
#[derive(Clone, Debug, clap::Args)]
pub struct Config {
    /// Where the database, keys, socket, logs and volumes live. Made with mode 0700.
    // Absolute, because the engine is told where volumes lie, and it knows nothing of our working directory (D-1001).
    #[arg(long, env = "JOBD_DATA_DIR", default_value = DATA_DIR, value_parser = absolute, value_name = "DIR")]
    pub data_dir: PathBuf,

    /// Address of the HTTPS API.
    #[arg(long, env = "JOBD_LISTEN", default_value = "127.0.0.1:6443", value_name = "ADDRESS:PORT")]
    pub listen: SocketAddr,

    /// Serve the Unix socket only, no TCP port.
    #[arg(long, env = "JOBD_NO_LISTEN")]
    pub no_listen: bool,

    /// Also serve plain HTTP WITHOUT authentication here: whoever reaches it is root on this machine. Loopback only.
    #[arg(long, env = "JOBD_INSECURE_LISTEN", value_name = "ADDRESS:PORT")]
    pub insecure_listen: Option<SocketAddr>,

    /// Group whose members may use the Unix socket DIR/jobd.sock (by default only its owner may).
    #[arg(long, env = "JOBD_SOCKET_GROUP", value_name = "GROUP")]
    pub socket_group: Option<String>,

    /// Further host name or address in the server certificate; may be repeated.
    #[arg(long, env = "JOBD_TLS_SAN", value_name = "NAME", value_delimiter = ',')]
    pub tls_san: Vec<String>,

    /// Host name or address under which clients reach the API; it stands in the kubeconfig.
    #[arg(long, env = "JOBD_ADVERTISE_ADDRESS", value_name = "NAME")]
    pub advertise_address: Option<String>,

    /// The Docker Engine's socket.
    #[arg(long, env = "DOCKER_HOST", default_value = "unix:///var/run/docker.sock", value_name = "unix://PATH")]
    pub docker_host: String,

    /// Where the root of the engine's host is seen; in a container, where it is mounted. Host paths of pods are checked and made
    /// there.
    #[arg(long, env = "JOBD_HOST_ROOT", default_value = "/", value_name = "DIR")]
    pub host_root: PathBuf,

    /// Name of the node; by default the host name.
    #[arg(long, env = "JOBD_NODE_NAME", value_name = "NAME")]
    pub node_name: Option<String>,

    /// How many pods may run at once.
    #[arg(long, env = "JOBD_MAX_PODS", default_value_t = 110, value_name = "N")]
    pub max_pods: u32,

    /// How many processes one pod may have; 0: as many as it likes.
    #[arg(long, env = "JOBD_POD_PIDS_LIMIT", default_value_t = 0, value_name = "N")]
    pub pod_pids_limit: i64,

    /// How long events are kept.
    // Longer than a cluster's hour (J-2211) on purpose: one machine has room for a week, and people look on Monday.
    #[arg(long, env = "JOBD_EVENT_TTL_HOURS", default_value_t = 7 * 24, value_name = "HOURS")]
    pub event_ttl_hours: u32,

    /// How many finished jobs are kept, and how many finished pods of nobody; 0: all. The oldest go first, with their pods.
    #[arg(long, env = "JOBD_KEEP_FINISHED", default_value_t = 0, value_name = "N")]
    pub keep_finished: u32,

    /// How long finished jobs are kept, and finished pods of nobody; 0: for ever. Looked at every ten minutes.
    #[arg(long, env = "JOBD_KEEP_FINISHED_HOURS", default_value_t = 0, value_name = "HOURS")]
    pub keep_finished_hours: u32,

    /// How log lines look.
    #[arg(long, env = "JOBD_LOG_FORMAT", value_enum, default_value_t = LogFormat::Text)]
    pub log_format: LogFormat,

    /// What is logged: error, warn, info, debug, or a filter such as `info,jobd::node=debug`.
    #[arg(long, env = "JOBD_LOG", default_value = "info", value_name = "FILTER")]
    pub log: String,
}

impl Config {
    /// The database file.
    #[must_use]
    pub fn database(&self) -> PathBuf {
        self.data_dir.join("jobd.db")
    }

    /// The Unix socket.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.data_dir.join("jobd.sock")
    }

    /// The kubeconfig that is written at start.
    #[must_use]
    pub fn kubeconfig(&self) -> PathBuf {
        kubeconfig(&self.data_dir)
    }

    #[must_use]
    pub fn event_ttl(&self) -> Duration {
        Duration::from_secs(u64::from(self.event_ttl_hours) * 3600)
    }

    /// How much finished work is kept.
    #[must_use]
    pub fn keep(&self) -> Keep {
        Keep {
            count: usize::try_from(self.keep_finished).ok().filter(|count| *count > 0),
            age: Some(SignedDuration::from_hours(i64::from(self.keep_finished_hours))).filter(|age| !age.is_zero()),
        }
    }

    /// The node's name: as given, else the host name in lower case.
    #[must_use]
    pub fn node(&self) -> String {
        self.node_name.clone().unwrap_or_else(|| {
            let name = rustix::system::uname().nodename().to_string_lossy().to_lowercase();
            if name.is_empty() { "localhost".to_owned() } else { name }
        })
    }

    /// Checks what single flags cannot say.
    ///
    /// # Errors
    /// A sentence that names the flag and what to do.
    pub fn check(&self) -> anyhow::Result<()> {
        if let Some(address) = self.insecure_listen
            && !address.ip().is_loopback()
        {
            anyhow::bail!(
                "--insecure-listen {address} is not a loopback address: plain HTTP without authentication is for this machine \
                 only; use --listen {address} (HTTPS with a token) instead"
            );
        }
        if self.docker_host.contains("://") && !self.docker_host.starts_with("unix://") {
            anyhow::bail!(
                "--docker-host {} is not a Unix socket; jobd runs beside its engine: give unix:///path/to/docker.sock",
                self.docker_host
            );
        }
        let node = self.node();
        let faults = jobd_api::name::validate_subdomain(&node);
        if !faults.is_empty() {
            anyhow::bail!("{node:?} cannot be the node's name: {}; choose one with --node-name", faults.join("; "));
        }
        Ok(())
    }
}
