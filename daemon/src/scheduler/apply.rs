//! What a verdict writes: the pod with its node or its condition, and the event that tells of it. Pure.
#![deny(clippy::disallowed_methods)]

use jobd_api::{object::Object, registry::Kind, time};
use serde_json::{Value, json};

use super::decide::Verdict;
use crate::{
    recorder::{EventSpec, EventType, Involved, Source},
    sys::Now,
};

/// The pod with its node and condition set (J-2541).
pub(super) fn apply(pod: &Object, verdict: &Verdict, now: Now) -> Object {
    let mut new = pod.clone();
    let mut condition = json!({
        "type": "PodScheduled",
        "lastProbeTime": null,
        "lastTransitionTime": time::render(now.wall),
    });
    if let Some(generation) = pod.get(&["metadata", "generation"]) {
        condition["observedGeneration"] = generation.clone();
    }
    match verdict {
        Verdict::Bind { node } => {
            condition["status"] = json!("True");
            if let Some(spec) = new.0.get_mut("spec").and_then(Value::as_object_mut) {
                spec.insert("nodeName".to_owned(), json!(node));
            }
        }
        Verdict::Tell { message } => {
            condition["status"] = json!("False");
            condition["reason"] = json!("Unschedulable");
            condition["message"] = json!(message);
        }
    }
    let status = new.0.entry("status").or_insert_with(|| json!({}));
    let Some(status) = status.as_object_mut() else { return new };
    let conditions = status.entry("conditions").or_insert_with(|| json!([]));
    if let Some(conditions) = conditions.as_array_mut() {
        let old = conditions.iter_mut().find(|one| one["type"] == "PodScheduled");
        match old {
            Some(old) => {
                // The transition is when the status changed, not when its reason was worded anew.
                if old["status"] == condition["status"] {
                    condition["lastTransitionTime"] = old["lastTransitionTime"].clone();
                }
                *old = condition;
            }
            None => conditions.push(condition),
        }
    }
    new
}

/// J-2570 and J-2571.
pub(super) fn event(pod: &Object, verdict: &Verdict) -> EventSpec {
    let (event_type, reason, message) = match verdict {
        Verdict::Bind { node } => (
            EventType::Normal,
            "Scheduled",
            format!("Successfully assigned {}/{} to {node}", pod.namespace(), pod.name()),
        ),
        Verdict::Tell { message } => (EventType::Warning, "FailedScheduling", message.clone()),
    };
    EventSpec {
        involved: Involved::of(Kind::Pod, pod),
        source: Source::Scheduler,
        event_type,
        reason: reason.to_owned(),
        message,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> Now {
        Now { wall: "2026-01-01T12:00:00Z".parse().unwrap(), boot: std::time::Duration::from_secs(1) }
    }

    #[track_caller]
    fn check(pod: &str, verdict: &Verdict, want: &str) {
        let pod = Object::parse(pod).unwrap();
        let new = apply(&pod, verdict, now());
        assert_eq!(Value::Object(new.0), serde_json::from_str::<Value>(want).unwrap());
    }

    #[test]
    fn j_2541_a_placed_pod_has_its_node_and_pod_scheduled_true() {
        check(
            r#"{"metadata":{"generation":1},"spec":{"a":1},"status":{"phase":"Pending"}}"#,
            &Verdict::Bind { node: "n1".to_owned() },
            r#"{"metadata":{"generation":1},"spec":{"a":1,"nodeName":"n1"},"status":{"phase":"Pending","conditions":[
                {"type":"PodScheduled","status":"True","lastProbeTime":null,"lastTransitionTime":"2026-01-01T12:00:00Z","observedGeneration":1}]}}"#,
        );
    }

    #[test]
    fn j_2541_a_refused_pod_is_unschedulable_and_keeps_the_time_of_its_first_refusal() {
        check(
            r#"{"metadata":{},"spec":{},"status":{"conditions":[{"type":"Other","status":"True"},
                {"type":"PodScheduled","status":"False","reason":"Unschedulable","message":"old","lastTransitionTime":"2025-01-01T00:00:00Z"}]}}"#,
            &Verdict::Tell { message: "new".to_owned() },
            r#"{"metadata":{},"spec":{},"status":{"conditions":[{"type":"Other","status":"True"},
                {"type":"PodScheduled","status":"False","reason":"Unschedulable","message":"new","lastProbeTime":null,
                 "lastTransitionTime":"2025-01-01T00:00:00Z"}]}}"#,
        );
    }

    #[test]
    fn j_2570_and_j_2571_events() {
        let pod = Object::parse(r#"{"metadata":{"namespace":"ns","name":"p","uid":"u"}}"#).unwrap();
        let placed = event(&pod, &Verdict::Bind { node: "n1".to_owned() });
        assert_eq!(
            (placed.reason.as_str(), placed.message.as_str()),
            ("Scheduled", "Successfully assigned ns/p to n1")
        );
        let refused = event(&pod, &Verdict::Tell { message: "m".to_owned() });
        assert_eq!((refused.event_type, refused.reason.as_str()), (EventType::Warning, "FailedScheduling"));
    }
}
