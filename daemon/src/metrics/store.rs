//! The store's commits and the disk beneath them.

use std::{sync::LazyLock, time::Duration};

use prometheus::{Histogram, IntCounter, IntGauge};

use super::{counter, exponential, gauge, histogram};

static COMMIT_DURATION: LazyLock<Histogram> = LazyLock::new(|| {
    let help = "How long the store's transactions took";
    histogram("jobd_store_commit_duration_seconds", help, exponential(0.0005, 2.0, 14))
});
static SYNC_DURATION: LazyLock<Histogram> = LazyLock::new(|| {
    let help = "How long the database took to put a transaction on disk, the end of the commit duration";
    histogram("jobd_store_sync_duration_seconds", help, exponential(0.0001, 2.0, 14))
});
static REQUESTS: LazyLock<IntCounter> =
    LazyLock::new(|| counter("jobd_store_requests_total", "Requests for writes; those of one moment share a commit"));
static REFUSED: LazyLock<IntCounter> = LazyLock::new(|| {
    let help = "Requests for writes whose guards did not hold: somebody else was faster";
    counter("jobd_store_requests_refused_total", help)
});
static FAILED: LazyLock<IntCounter> =
    LazyLock::new(|| counter("jobd_store_commits_failed_total", "Transactions that the database did not commit"));
static REVISION: LazyLock<IntGauge> = LazyLock::new(|| gauge("jobd_store_revision", "The newest resourceVersion"));

pub(super) fn start() {
    LazyLock::force(&COMMIT_DURATION);
    LazyLock::force(&SYNC_DURATION);
    LazyLock::force(&REQUESTS);
    LazyLock::force(&REFUSED);
    LazyLock::force(&FAILED);
    LazyLock::force(&REVISION);
}

/// A transaction is on disk, with `requests` of which `refused` were not part of it.
pub fn committed(took: Duration, sync: Duration, requests: usize, refused: usize, revision: i64) {
    COMMIT_DURATION.observe(took.as_secs_f64());
    SYNC_DURATION.observe(sync.as_secs_f64());
    decided(requests, refused);
    REVISION.set(revision);
}

/// Requests that came to no write at all.
pub fn decided(requests: usize, refused: usize) {
    REQUESTS.inc_by(u64::try_from(requests).unwrap_or(u64::MAX));
    REFUSED.inc_by(u64::try_from(refused).unwrap_or(u64::MAX));
}

/// A transaction was rolled back by an error of the database.
pub fn failed() {
    FAILED.inc();
}
