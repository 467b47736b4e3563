//! Series of the other controllers, and of the queues that all of them have.

use std::{sync::LazyLock, time::Duration};

use prometheus::{Histogram, HistogramVec, IntCounterVec, IntGaugeVec};

use super::{counters, exponential, gauges, histogram, histograms};

static TTL_DELETION: LazyLock<Histogram> = LazyLock::new(|| {
    let help = "From the end of a finished job's time to live to its deletion";
    histogram("ttl_after_finished_controller_job_deletion_duration_seconds", help, exponential(0.1, 2.0, 14))
});
static CRON_SKEW: LazyLock<Histogram> = LazyLock::new(|| {
    let help = "From a cron job's scheduled time to the creation of its job";
    histogram("cronjob_controller_job_creation_skew_duration_seconds", help, exponential(1.0, 2.0, 10))
});
static DEPTH: LazyLock<IntGaugeVec> =
    LazyLock::new(|| gauges("workqueue_depth", "Keys that wait for their controller", &["name"]));
static WORK_DURATION: LazyLock<HistogramVec> = LazyLock::new(|| {
    let help = "How long a controller took for one key";
    histograms("workqueue_work_duration_seconds", help, &["name"], exponential(1e-5, 10.0, 7))
});
static RETRIES: LazyLock<IntCounterVec> =
    LazyLock::new(|| counters("workqueue_retries_total", "Keys that failed and are tried again", &["name"]));
static ACTIVE: LazyLock<IntGaugeVec> = LazyLock::new(|| {
    let help = "Objects that have not come to their end";
    gauges("jobd_active_objects", help, &["resource"])
});

pub(super) fn start() {
    LazyLock::force(&TTL_DELETION);
    LazyLock::force(&CRON_SKEW);
    LazyLock::force(&DEPTH);
    LazyLock::force(&WORK_DURATION);
    LazyLock::force(&RETRIES);
    LazyLock::force(&ACTIVE);
}

/// A finished job was deleted so long after its time to live.
pub fn ttl_deleted(late: Duration) {
    TTL_DELETION.observe(late.as_secs_f64());
}

/// C-1501.
pub fn cron_job_ran(late: Duration) {
    CRON_SKEW.observe(late.as_secs_f64());
}

/// So many keys wait for this controller.
pub fn queued(controller: &str, depth: usize) {
    DEPTH.with_label_values(&[controller]).set(i64::try_from(depth).unwrap_or(i64::MAX));
}

/// A controller has worked on a key.
pub fn worked(controller: &str, is_ok: bool, took: Duration) {
    WORK_DURATION.with_label_values(&[controller]).observe(took.as_secs_f64());
    if !is_ok {
        RETRIES.with_label_values(&[controller]).inc();
    }
}

/// How many objects of this resource have not come to their end.
pub fn active(resource: &str, count: usize) {
    ACTIVE.with_label_values(&[resource]).set(i64::try_from(count).unwrap_or(i64::MAX));
}
