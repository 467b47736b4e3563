//! What the container engine is asked and what runs in it, under the kubelet's names.

use std::{sync::LazyLock, time::Duration};

use prometheus::{HistogramVec, IntCounterVec, IntGauge};

use super::{counters, exponential, gauge, histograms};

const LABELS: &[&str] = &["operation_type"];

static OPERATIONS: LazyLock<IntCounterVec> =
    LazyLock::new(|| counters("kubelet_runtime_operations_total", "Calls of the container engine", LABELS));
static ERRORS: LazyLock<IntCounterVec> = LazyLock::new(|| {
    let help = "Calls of the container engine that failed";
    counters("kubelet_runtime_operations_errors_total", help, LABELS)
});
static DURATION: LazyLock<HistogramVec> = LazyLock::new(|| {
    let help = "How long the container engine took for a call; for streams, until they began";
    histograms("kubelet_runtime_operations_duration_seconds", help, LABELS, exponential(0.005, 2.5, 14))
});
static CONTAINERS: LazyLock<IntGauge> =
    LazyLock::new(|| gauge("kubelet_running_containers", "Containers of pods that run"));
static PODS: LazyLock<IntGauge> = LazyLock::new(|| gauge("kubelet_running_pods", "Pods with a running container"));
static UP: LazyLock<IntGauge> =
    LazyLock::new(|| gauge("jobd_engine_up", "Whether the container engine's event stream is open"));

pub(super) fn start() {
    LazyLock::force(&OPERATIONS);
    LazyLock::force(&ERRORS);
    LazyLock::force(&DURATION);
    LazyLock::force(&CONTAINERS);
    LazyLock::force(&PODS);
    LazyLock::force(&UP);
}

/// The engine has answered a call, or did not in time.
pub fn called(operation: &str, is_ok: bool, took: Duration) {
    OPERATIONS.with_label_values(&[operation]).inc();
    DURATION.with_label_values(&[operation]).observe(took.as_secs_f64());
    if !is_ok {
        ERRORS.with_label_values(&[operation]).inc();
    }
}

/// What runs by now.
pub fn running(pods: usize, containers: usize) {
    PODS.set(i64::try_from(pods).unwrap_or(i64::MAX));
    CONTAINERS.set(i64::try_from(containers).unwrap_or(i64::MAX));
}

/// Whether the engine can be reached.
pub fn up(is_up: bool) {
    UP.set(i64::from(is_up));
}
