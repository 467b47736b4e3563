//! What the end-to-end tests share: the daemon as a process, a client, waiting with a deadline.

use std::sync::atomic::{AtomicU32, Ordering};

/// The engine's address: `DOCKER_HOST`, or the usual socket.
#[must_use]
pub fn docker_host() -> String {
    std::env::var("DOCKER_HOST").unwrap_or_else(|_| "unix:///var/run/docker.sock".to_owned())
}

/// A name that no other test of this or another run has.
#[must_use]
pub fn unique(prefix: &str) -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!("{prefix}-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}
