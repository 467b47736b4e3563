//! What `/metrics` shows, in Prometheus' text form 0.0.4. The only module that knows its library.
//!
//! Series that Kubernetes has too carry its names, labels and buckets, so that dashboards and alerts for a cluster work here; what is
//! only ours begins with `jobd_`. One file per part of the daemon; the parts say what happened, in plain words, and nothing here comes
//! back to them: no decision rests on a metric. One process is one daemon, so series are global, as in Kubernetes' own components.
//!
//! Recording takes an atomic increment and a look-up by labels, far below a microsecond.

use prometheus::{
    Encoder as _, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts,
    Registry, TextEncoder, core::Collector,
};
use std::sync::LazyLock;

pub mod controllers;
pub mod engine;
pub mod job;
pub mod process;
pub mod requests;
pub mod store;

/// What scrapers are told that the text is.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

static REGISTRY: LazyLock<Registry> = LazyLock::new(Registry::new);

/// Makes every series known, so that those without labels are there, with 0, before anything happened: a rate needs its first value.
pub fn start(version: &str) {
    job::start();
    controllers::start();
    engine::start();
    requests::start();
    store::start();
    process::start(version);
}

/// All series, as they are now.
#[must_use]
pub fn render() -> String {
    process::look();
    let mut text = Vec::new();
    // Writing to memory fails only for a family that breaks the format's rules, and ours are fixed.
    if let Err(error) = TextEncoder::new().encode(&REGISTRY.gather(), &mut text) {
        tracing::warn!(error = %error, "metrics cannot be written: {error}");
    }
    String::from_utf8(text).unwrap_or_default()
}

/// Names, labels and buckets are constants of this module, so that making a series of them cannot fail; a test makes them all.
const CONSTANT: &str = "the metric's name and labels are valid and unique";

fn registered<C: Collector + Clone + 'static>(collector: C) -> C {
    REGISTRY.register(Box::new(collector.clone())).expect(CONSTANT);
    collector
}

fn counter(name: &str, help: &str) -> IntCounter {
    registered(IntCounter::new(name, help).expect(CONSTANT))
}

fn counters(name: &str, help: &str, labels: &[&str]) -> IntCounterVec {
    registered(IntCounterVec::new(Opts::new(name, help), labels).expect(CONSTANT))
}

fn gauge(name: &str, help: &str) -> IntGauge {
    registered(IntGauge::new(name, help).expect(CONSTANT))
}

fn gauges(name: &str, help: &str, labels: &[&str]) -> IntGaugeVec {
    registered(IntGaugeVec::new(Opts::new(name, help), labels).expect(CONSTANT))
}

fn histogram(name: &str, help: &str, buckets: Vec<f64>) -> Histogram {
    registered(Histogram::with_opts(HistogramOpts::new(name, help).buckets(buckets)).expect(CONSTANT))
}

fn histograms(name: &str, help: &str, labels: &[&str], buckets: Vec<f64>) -> HistogramVec {
    registered(HistogramVec::new(HistogramOpts::new(name, help).buckets(buckets), labels).expect(CONSTANT))
}

/// `count` buckets, each `factor` times the one before.
fn exponential(first: f64, factor: f64, count: u8) -> Vec<f64> {
    (0..i32::from(count)).map(|power| first * factor.powi(power)).collect()
}

/// Adds one to a gauge for as long as it lives.
#[must_use]
pub struct During(IntGauge);

impl During {
    fn new(gauge: IntGauge) -> Self {
        gauge.inc();
        Self(gauge)
    }
}

impl Drop for During {
    fn drop(&mut self) {
        self.0.dec();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_series_can_be_made_and_shown() {
        start("1.2.3");
        let text = render();
        for line in [
            r#"jobd_build_info{version="1.2.3"} 1"#,
            r#"job_controller_job_pods_creation_total{reason="recreate_failed",status="failed"} 0"#,
            "# TYPE ttl_after_finished_controller_job_deletion_duration_seconds histogram",
            r#"ttl_after_finished_controller_job_deletion_duration_seconds_bucket{le="819.2"} 0"#,
            r#"cronjob_controller_job_creation_skew_duration_seconds_bucket{le="512"} 0"#,
            "# TYPE process_resident_memory_bytes gauge",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
        }
    }

    #[test]
    fn a_gauge_falls_when_what_it_counts_ends() {
        let depth = IntGauge::new("test_depth", "t").unwrap();
        let first = During::new(depth.clone());
        let second = During::new(depth.clone());
        assert_eq!(depth.get(), 2);
        drop(first);
        drop(second);
        assert_eq!(depth.get(), 0);
    }
}
