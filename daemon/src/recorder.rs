//! Makes events (J-2211): same source, object, type, reason and message again raises the count of the same event.
//!
//! A plan carries [`EventSpec`]s; whoever commits it turns them into writes of the same transaction. The memory of recent events
//! is bounded and may be lost: then a repeated event starts a new object.

use crate::{store::Write, sys::Now};

/// Who reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Source {
    JobController,
    CronJobController,
    Scheduler,
    Kubelet,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EventType {
    Normal,
    Warning,
}

/// The object that an event is about.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Involved {
    pub api_version: String,
    pub kind: String,
    pub namespace: String,
    pub name: String,
    pub uid: String,
    pub resource_version: String,
    /// `spec.containers{main}`
    pub field_path: Option<String>,
}

/// An event that a plan wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventSpec {
    pub involved: Involved,
    pub source: Source,
    pub event_type: EventType,
    pub reason: String,
    pub message: String,
}

/// Turns event specs into writes, with counts.
pub struct Recorder;

impl Recorder {
    /// `node` is the `source.host` of kubelet events; `ttl` how long events are kept.
    #[must_use]
    pub fn new(node: String, ttl: std::time::Duration) -> Self {
        let _ = (node, ttl);
        todo!()
    }

    /// The write for an event; none when the object's burst is used up (J-2211: 25, then one per 300 s).
    #[must_use]
    pub fn record(&self, event: &EventSpec, now: Now) -> Option<Write> {
        let _ = (event, now);
        todo!()
    }
}
