//! Requests of clients, under the API server's names.

use std::{sync::LazyLock, time::Duration};

use prometheus::{HistogramVec, IntCounterVec, IntGaugeVec};

use super::{During, counters, gauges, histograms};

static REQUESTS: LazyLock<IntCounterVec> = LazyLock::new(|| {
    let labels = &["verb", "dry_run", "group", "version", "resource", "subresource", "scope", "component", "code"];
    counters("apiserver_request_total", "Requests about objects, by how they were answered", labels)
});
static DURATION: LazyLock<HistogramVec> = LazyLock::new(|| {
    let labels = &["verb", "dry_run", "group", "version", "resource", "subresource", "scope", "component"];
    let buckets =
        vec![0.005, 0.025, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0, 1.25, 1.5, 2.0, 3.0, 4.0, 5.0, 10.0, 30.0, 60.0];
    let help = "How long requests took until their answer began; watches and followed logs are not in it";
    histograms("apiserver_request_duration_seconds", help, labels, buckets)
});
static INFLIGHT: LazyLock<IntGaugeVec> = LazyLock::new(|| {
    let help = "Requests that are worked on";
    gauges("apiserver_current_inflight_requests", help, &["request_kind"])
});
static LONGRUNNING: LazyLock<IntGaugeVec> = LazyLock::new(|| {
    let labels = &["verb", "group", "version", "resource", "subresource", "scope", "component"];
    gauges("apiserver_longrunning_requests", "Open watches and followed logs", labels)
});

const COMPONENT: &str = "apiserver";

/// What is asked of which resource, as labels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Labels {
    /// `GET`, `LIST`, `WATCH`, `POST`, …
    pub verb: &'static str,
    pub dry_run: bool,
    pub group: &'static str,
    pub version: &'static str,
    pub resource: &'static str,
    pub subresource: &'static str,
    /// `resource`, `namespace` or `cluster`.
    pub scope: &'static str,
    /// A stream: its length says nothing about us.
    pub is_long: bool,
}

impl Labels {
    /// In the order of the series.
    fn common(&self) -> [&'static str; 8] {
        let Self { verb, dry_run, group, version, resource, subresource, scope, is_long: _ } = *self;
        [verb, if dry_run { "All" } else { "" }, group, version, resource, subresource, scope, COMPONENT]
    }
}

pub(super) fn start() {
    LazyLock::force(&REQUESTS);
    LazyLock::force(&DURATION);
    LazyLock::force(&LONGRUNNING);
    for kind in ["readOnly", "mutating"] {
        INFLIGHT.with_label_values(&[kind]).set(0);
    }
}

/// A request is worked on for as long as the answer lives.
pub fn began(is_mutating: bool) -> During {
    During::new(INFLIGHT.with_label_values(&[if is_mutating { "mutating" } else { "readOnly" }]))
}

/// A stream is open for as long as the answer lives.
pub fn streams(labels: &Labels) -> During {
    let [verb, _, group, version, resource, subresource, scope, component] = labels.common();
    During::new(LONGRUNNING.with_label_values(&[verb, group, version, resource, subresource, scope, component]))
}

/// A request was answered with this code.
pub fn answered(labels: &Labels, code: &str, took: Duration) {
    let common = labels.common();
    let [verb, dry_run, group, version, resource, subresource, scope, component] = common;
    REQUESTS.with_label_values(&[verb, dry_run, group, version, resource, subresource, scope, component, code]).inc();
    if !labels.is_long {
        DURATION.with_label_values(&common).observe(took.as_secs_f64());
    }
}
