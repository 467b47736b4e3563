//! Makes events (J-2211): same source, object, type, reason and message again raises the count of the same event.
//!
//! A plan carries [`EventSpec`]s; whoever commits it turns them into writes of the same transaction. The memory of recent events
//! is bounded and may be lost: then a repeated event starts a new object.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use jiff::Timestamp;
use jobd_api::{
    object::Object,
    registry::Kind,
    time,
    write::{self, Context, Prepared},
};
use serde_json::{Value, json};
use tracing::warn;

use crate::{
    store::{Key, Write},
    sys::{Now, SharedRandom},
};

mod correlate;
mod lru;

use correlate::{Correlated, Correlator};

/// Who reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Source {
    JobController,
    CronJobController,
    Scheduler,
    Kubelet,
}

impl Source {
    /// `source.component` and `reportingComponent`.
    #[must_use]
    pub fn component(self) -> &'static str {
        match self {
            Self::JobController => "job-controller",
            Self::CronJobController => "cronjob-controller",
            Self::Scheduler => "default-scheduler",
            Self::Kubelet => "kubelet",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EventType {
    Normal,
    Warning,
}

impl EventType {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Normal => "Normal",
            Self::Warning => "Warning",
        }
    }
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

impl Involved {
    /// The whole object, as it was read from the store.
    #[must_use]
    pub fn of(kind: Kind, object: &Object) -> Self {
        let resource = kind.resource();
        Self {
            api_version: resource.api_version(),
            kind: resource.kind.to_owned(),
            namespace: object.namespace().to_owned(),
            name: object.name().to_owned(),
            uid: object.uid().to_owned(),
            resource_version: object.resource_version().unwrap_or_default().to_owned(),
            field_path: None,
        }
    }
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

/// Longest part of the involved object's name in an event's name: what a name may have less `.` and 16 hex digits (W-55).
const NAME_MAX: usize = 253 - 17;

/// The message of an event that stands for many similar ones starts so (J-2211).
const COMBINED: &str = "(combined from similar events): ";

/// Turns event specs into writes, with counts.
pub struct Recorder {
    node: String,
    ttl: Duration,
    random: Arc<SharedRandom>,
    memory: Mutex<Memory>,
}

struct Memory {
    correlator: Correlator,
    /// The nanoseconds of the newest event's name: names stay unique although a plan's events share one `now`.
    named: i128,
}

impl Recorder {
    /// `node` is the `source.host` of kubelet events; `ttl` how long events are kept.
    #[must_use]
    pub fn new(node: String, ttl: Duration) -> Self {
        Self::with_random(node, ttl, Arc::new(SharedRandom::from_system()))
    }

    /// With a source of uids that the simulation seeds.
    #[must_use]
    pub fn with_random(node: String, ttl: Duration, random: Arc<SharedRandom>) -> Self {
        Self { node, ttl, random, memory: Mutex::new(Memory { correlator: Correlator::new(), named: 0 }) }
    }

    /// The write for an event; none when the object's burst is used up (J-2211: 25, then one per 300 s).
    #[must_use]
    pub fn record(&self, event: &EventSpec, now: Now) -> Option<Write> {
        let mut memory = self.memory.lock().unwrap_or_else(PoisonError::into_inner);
        let Memory { correlator, named } = &mut *memory;
        let Correlated { combined, known } = correlator.correlate(event, now.boot)?;
        if known.count == 0 {
            *named = now.wall.as_nanosecond().max(*named + 1);
            known.first = *named;
            known.name = name(&event.involved.name, known.first);
        }
        // Events about cluster-scoped objects live in `default` (W-188).
        let namespace = match event.involved.namespace.as_str() {
            "" => "default",
            namespace => namespace,
        };
        let first = Timestamp::from_nanosecond(known.first).unwrap_or(now.wall);
        let body = self.body(event, combined, &known.name, namespace, [first, now.wall], known.count + 1);
        let context = &mut Context { now: first, random: &mut &*self.random };
        let Prepared { mut object, mut index, warnings: _ } =
            match write::create_own(Kind::Event.resource(), namespace, body, context) {
                Ok(prepared) => prepared,
                Err(status) => {
                    // An event never fails what it tells of.
                    warn!(namespace, reason = event.reason, error = %status, "an event is not valid and was dropped");
                    return None;
                }
            };
        if known.count == 0 {
            known.uid.clone_from(&index.uid);
        } else {
            object.metadata_mut().insert("uid".to_owned(), Value::String(known.uid.clone()));
            index.uid.clone_from(&known.uid);
        }
        known.count += 1;
        // Kept for this long after its last occurrence.
        index.due_at = jiff::SignedDuration::try_from(self.ttl).ok().and_then(|ttl| now.wall.checked_add(ttl).ok());
        Some(Write::Put { key: Key::new(Kind::Event, namespace, &*known.name), index, body: object.to_stored() })
    }

    /// S-22, with `eventTime` set, so that the events.k8s.io view is complete (W-189).
    fn body(
        &self,
        event: &EventSpec,
        combined: bool,
        name: &str,
        namespace: &str,
        [first, last]: [Timestamp; 2],
        count: i32,
    ) -> Object {
        let EventSpec { involved, source, event_type, reason, message } = event;
        let host = match source {
            Source::Kubelet => self.node.as_str(),
            Source::JobController | Source::CronJobController | Source::Scheduler => "",
        };
        let mut involved_object = json!({
            "apiVersion": involved.api_version,
            "kind": involved.kind,
            "name": involved.name,
            "uid": involved.uid,
            "resourceVersion": involved.resource_version,
        });
        if !involved.namespace.is_empty() {
            involved_object["namespace"] = json!(involved.namespace);
        }
        if let Some(path) = &involved.field_path {
            involved_object["fieldPath"] = json!(path);
        }
        let mut reporter = json!({"component": source.component()});
        if !host.is_empty() {
            reporter["host"] = json!(host);
        }
        let body = json!({
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"name": name, "namespace": namespace},
            "involvedObject": involved_object,
            "reason": reason,
            "message": if combined { format!("{COMBINED}{message}") } else { message.clone() },
            "source": reporter,
            "firstTimestamp": time::render(first),
            "lastTimestamp": time::render(last),
            "eventTime": time::render_micro(first),
            "count": count,
            "type": event_type.as_str(),
            "reportingComponent": source.component(),
            "reportingInstance": host,
        });
        match body {
            Value::Object(map) => Object(map),
            _ => unreachable!("written as an object above"),
        }
    }
}

/// `<involved name>.<unix nanoseconds in hex>` (J-2211).
fn name(involved: &str, nanoseconds: i128) -> String {
    let base: String = involved.chars().take(NAME_MAX).collect();
    format!("{}.{nanoseconds:x}", base.trim_end_matches(['-', '.']))
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) fn spec(reason: &str, message: &str) -> EventSpec {
        EventSpec {
            involved: Involved {
                api_version: "batch/v1".to_owned(),
                kind: "Job".to_owned(),
                namespace: "exp".to_owned(),
                name: "bad1".to_owned(),
                uid: "d80c22b8-13b2-4af5-a4ea-5c3316e87aea".to_owned(),
                resource_version: "3842".to_owned(),
                field_path: None,
            },
            source: Source::JobController,
            event_type: EventType::Warning,
            reason: reason.to_owned(),
            message: message.to_owned(),
        }
    }

    fn recorder() -> Recorder {
        Recorder::with_random("node1".to_owned(), Duration::from_secs(3600), Arc::new(SharedRandom::seeded(1)))
    }

    fn now(second: u64) -> Now {
        let start: Timestamp = "2026-11-20T21:12:12.5Z".parse().unwrap();
        let passed = Duration::from_secs(second);
        Now { wall: start + passed, boot: Duration::from_secs(5000) + passed }
    }

    fn put(write: Option<Write>) -> (Key, jobd_api::index::Index, Object) {
        match write {
            Some(Write::Put { key, index, body }) => (key, index, Object::parse(&body).unwrap()),
            other => panic!("no put: {other:?}"),
        }
    }

    /// J-2211.
    #[test]
    fn an_event_looks_as_upstreams_and_expires() {
        let (key, index, object) = put(recorder().record(&spec("BackoffLimitExceeded", "reached the limit"), now(0)));
        assert_eq!(key.namespace, "exp");
        assert_eq!(key.name, format!("bad1.{:x}", now(0).wall.as_nanosecond()));
        assert_eq!(object.name(), key.name);
        assert_eq!(index.uid, object.uid());
        assert_eq!(index.due_at, Some(now(3600).wall));
        assert_eq!(index.involved_uid.as_deref(), Some("d80c22b8-13b2-4af5-a4ea-5c3316e87aea"));
        assert_eq!(index.involved_name.as_deref(), Some("bad1"));
        for (path, want) in [
            (&["source", "component"][..], json!("job-controller")),
            (&["involvedObject", "resourceVersion"], json!("3842")),
            (&["firstTimestamp"], json!("2026-11-20T21:12:12Z")),
            (&["eventTime"], json!("2026-11-20T21:12:12.500000Z")),
            (&["count"], json!(1)),
            (&["type"], json!("Warning")),
            (&["reportingComponent"], json!("job-controller")),
            (&["reportingInstance"], json!("")),
        ] {
            assert_eq!(object.get(path), Some(&want), "{path:?}");
        }
    }

    /// J-2211.
    #[test]
    fn a_repeat_is_the_same_object_with_a_higher_count() {
        let recorder = recorder();
        let (first_key, _, first) = put(recorder.record(&spec("R", "m"), now(0)));
        let (key, index, object) = put(recorder.record(&spec("R", "m"), now(5)));
        assert_eq!((key, object.uid()), (first_key, first.uid()));
        assert_eq!(index.uid, first.uid());
        assert_eq!(object.get(&["count"]), Some(&json!(2)));
        assert_eq!(object.text(&["firstTimestamp"]), Some("2026-11-20T21:12:12Z"));
        assert_eq!(object.text(&["lastTimestamp"]), Some("2026-11-20T21:12:17Z"));
        assert_eq!(object.get(&["metadata", "creationTimestamp"]), first.get(&["metadata", "creationTimestamp"]));
    }

    #[test]
    fn events_of_one_moment_have_different_names() {
        let recorder = recorder();
        let (one, ..) = put(recorder.record(&spec("R", "a"), now(0)));
        let (two, ..) = put(recorder.record(&spec("R", "b"), now(0)));
        assert_ne!(one, two);
    }

    #[test]
    fn kubelet_events_name_the_node_and_cluster_scoped_objects_report_in_default() {
        let mut event = spec("Starting", "m");
        event.source = Source::Kubelet;
        event.involved.namespace.clear();
        let (key, _, object) = put(recorder().record(&event, now(0)));
        assert_eq!(key.namespace, "default");
        assert_eq!(object.text(&["source", "host"]), Some("node1"));
        assert_eq!(object.text(&["reportingInstance"]), Some("node1"));
        assert_eq!(object.get(&["involvedObject", "namespace"]), None);
    }

    #[test]
    fn long_names_are_cut() {
        assert_eq!(name(&"a".repeat(253), i128::from(u64::MAX)).len(), 253);
        assert_eq!(name("a", 255), "a.ff");
    }
}
