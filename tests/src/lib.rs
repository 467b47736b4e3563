//! What the end-to-end tests share: the daemon as a process of its own, a client for its socket, kubectl, the engine, and
//! waiting for a state with a deadline.

use std::{
    sync::atomic::{AtomicU32, Ordering},
    time::{Duration, Instant},
};

pub mod client;
pub mod daemon;
pub mod engine;
pub mod kubectl;
pub mod manifest;
pub mod protobuf;
pub mod proxy;
pub mod rules;
pub mod sim;
pub mod upstream;
pub mod watch;

pub use client::{Answer, Client};
pub use daemon::Daemon;
pub use proxy::Proxy;
pub use upstream::Suite;
pub use watch::Watch;

/// How long a test waits for what must happen. Generous: machines that run tests are busy; only a failing test waits so long.
pub const DEADLINE: Duration = Duration::from_secs(90);

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

/// Asks `look` again and again until it returns something, for at most [`DEADLINE`].
///
/// # Panics
/// When the deadline passes; the message says what was waited for and the last thing that was seen.
pub async fn eventually<T>(what: &str, mut look: impl AsyncFnMut() -> Result<T, String>) -> T {
    let started = Instant::now();
    loop {
        match look().await {
            Ok(value) => return value,
            Err(seen) => assert!(started.elapsed() < DEADLINE, "waited {DEADLINE:?} for {what}; last seen: {seen}"),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
