//! Events, stored in their core shape and served in two (W-188, W-189, W-199).

use std::borrow::Cow;

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::{
    field::{FieldErrors, Path},
    index::Index,
    kind::{Rules, age_of, metadata_field},
    name,
    object::Object,
    status::Status,
    time,
    write::{Context, Part},
};

/// Core name of a field beside its name in events.k8s.io, where they differ (W-199).
const RENAMED: [(&str, &str); 7] = [
    ("involvedObject", "regarding"),
    ("message", "note"),
    ("source", "deprecatedSource"),
    ("firstTimestamp", "deprecatedFirstTimestamp"),
    ("lastTimestamp", "deprecatedLastTimestamp"),
    ("count", "deprecatedCount"),
    ("reportingComponent", "reportingController"),
];

const CORE: &str = "v1";
const EVENTS_V1: &str = "events.k8s.io/v1";

/// The rules of events, in the two shapes in which they are served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventRules {
    Core,
    EventsV1,
}

impl Rules for EventRules {
    fn prepare(&self, new: &mut Object, _old: Option<(&Object, Part)>, _: &mut Context<'_>) -> Result<(), Status> {
        // W-188: clients of the core shape want these even when there is nothing to say.
        for (field, absent) in [
            ("involvedObject", json!({})),
            ("source", json!({})),
            ("firstTimestamp", Value::Null),
            ("lastTimestamp", Value::Null),
            ("eventTime", Value::Null),
            ("reportingComponent", json!("")),
            ("reportingInstance", json!("")),
        ] {
            new.0.entry(field).or_insert(absent);
        }
        Ok(())
    }

    fn validate(&self, new: &Object, old: Option<(&Object, Part)>) -> FieldErrors {
        let mut errors = FieldErrors::default();
        match (self, old) {
            (EventRules::Core, _) => self.validate_common(new, &mut errors),
            (EventRules::EventsV1, None) => {
                self.validate_common(new, &mut errors);
                validate_new(new, &mut errors);
            }
            (EventRules::EventsV1, Some((old, _))) => {
                validate_series(new, &mut errors);
                validate_unchanged(new, old, &mut errors);
            }
        }
        errors
    }

    fn index(&self, object: &Object, index: &mut Index) {
        index.involved_uid = object.text(&["involvedObject", "uid"]).map(str::to_owned);
        index.involved_name = object.text(&["involvedObject", "name"]).map(str::to_owned);
    }

    fn field(&self, object: &Object, label: &str) -> Option<String> {
        let object = &*stored(object);
        let text = |path: &[&str]| Some(object.text(path).unwrap_or_default().to_owned());
        let involved = match self {
            EventRules::Core => "involvedObject.",
            EventRules::EventsV1 => "regarding.",
        };
        if let Some(field) = label.strip_prefix(involved) {
            return match field {
                "kind" | "namespace" | "name" | "uid" | "apiVersion" | "resourceVersion" | "fieldPath" => {
                    text(&["involvedObject", field])
                }
                _ => None,
            };
        }
        match (label, self) {
            ("reason" | "type", _) => text(&[label]),
            ("reportingComponent", EventRules::Core) | ("reportingController", EventRules::EventsV1) => {
                text(&["reportingComponent"])
            }
            ("source", EventRules::Core) => Some(component(object).to_owned()),
            _ => metadata_field(object, label),
        }
    }

    fn unsupported_field(&self, label: &str) -> String {
        format!("field label not supported: {label}")
    }

    fn cells(&self, object: &Object, now: Timestamp) -> Vec<Value> {
        let object = &*stored(object);
        let text = |path: &[&str]| object.text(path).unwrap_or_default();
        let age = |path: &[&str]| object.text(path).map(|time| age_of(Some(time), now));
        let first = age(&["firstTimestamp"]).or_else(|| age(&["eventTime"])).unwrap_or_else(|| "<unknown>".to_owned());
        let last =
            age(&["series", "lastObservedTime"]).or_else(|| age(&["lastTimestamp"])).unwrap_or_else(|| first.clone());
        let count = |path: &[&str]| object.get(path).and_then(Value::as_i64).filter(|count| *count != 0);
        let count = count(&["series", "count"]).or_else(|| count(&["count"])).unwrap_or(1);
        let host = match text(&["source", "host"]) {
            "" => text(&["reportingInstance"]),
            host => host,
        };
        let source = match (component(object), host) {
            (component, "") => component.to_owned(),
            (component, host) => format!("{component}, {host}"),
        };
        let kind = text(&["involvedObject", "kind"]).to_lowercase();
        let involved = match text(&["involvedObject", "name"]) {
            "" => kind,
            name => format!("{kind}/{name}"),
        };
        vec![
            last.into(),
            text(&["type"]).into(),
            text(&["reason"]).into(),
            involved.into(),
            text(&["involvedObject", "fieldPath"]).into(),
            source.into(),
            text(&["message"]).trim().into(),
            first.into(),
            count.into(),
            object.name().into(),
        ]
    }

    fn to_stored(&self, mut object: Object) -> Object {
        if object.api_version() == EVENTS_V1 || (*self == EventRules::EventsV1 && object.api_version().is_empty()) {
            for (core, served) in RENAMED {
                if let Some(value) = object.0.remove(served) {
                    object.0.insert(core.to_owned(), value);
                }
            }
            object.0.insert("apiVersion".to_owned(), CORE.into());
        }
        object
    }

    fn from_stored(&self, mut object: Object) -> Object {
        match self {
            EventRules::Core => object,
            EventRules::EventsV1 if object.api_version() == EVENTS_V1 => object,
            EventRules::EventsV1 => {
                for (core, served) in RENAMED {
                    if let Some(value) = object.0.remove(core) {
                        object.0.insert(served.to_owned(), value);
                    }
                }
                // W-189: clients refuse an event of this shape without a time of its own.
                if object.text(&["eventTime"]).is_none() {
                    let time = ["deprecatedFirstTimestamp", "deprecatedLastTimestamp"]
                        .into_iter()
                        .find_map(|field| object.text(&[field]))
                        .or_else(|| object.text(&["metadata", "creationTimestamp"]))
                        .and_then(time::parse);
                    let time = time.map_or(Value::Null, |time| time::render_micro(time).into());
                    object.0.insert("eventTime".to_owned(), time);
                }
                object.0.insert("apiVersion".to_owned(), EVENTS_V1.into());
                object
            }
        }
    }
}

impl EventRules {
    /// What both shapes ask for; an event with an `eventTime` is a new one and has to be complete.
    fn validate_common(self, new: &Object, errors: &mut FieldErrors) {
        let text = |path: &[&str]| new.text(path).unwrap_or_default();
        let involved = text(&["involvedObject", "namespace"]);
        let namespace = new.namespace();
        let is_new = new.text(&["eventTime"]).is_some();
        let fits = match (involved, is_new) {
            // About what has no namespace.
            ("", false) => namespace == "default",
            ("", true) => matches!(namespace, "default" | "kube-system"),
            (involved, false) => involved == namespace,
            (_, true) => true,
        };
        if !fits {
            errors.invalid(&Path::new("involvedObject.namespace"), involved, "does not match event.namespace");
        }
        if !is_new {
            return;
        }
        let controller = match self {
            EventRules::Core => Path::new("reportingComponent"),
            EventRules::EventsV1 => Path::new("reportingController"),
        };
        let value = text(&["reportingComponent"]);
        if value.is_empty() {
            errors.required(&controller, "");
        }
        for violation in name::validate_qualified_name(value) {
            errors.invalid(&controller, value, &violation);
        }
        for (field, max) in [("reportingInstance", 128), ("action", 128), ("reason", 128), ("message", 1024)] {
            let (path, value) = (Path::new(field), text(&[field]));
            if value.is_empty() && field != "message" {
                errors.required(&path, "");
            }
            if value.len() > max {
                errors.invalid(&path, "", &format!("can have at most {max} characters"));
            }
        }
    }
}

/// What events.k8s.io asks of a new event beyond that.
fn validate_new(new: &Object, errors: &mut FieldErrors) {
    validate_series(new, errors);
    if new.text(&["eventTime"]).is_none() {
        errors.required(&Path::new("eventTime"), "");
    }
    let kind = new.text(&["type"]).unwrap_or_default();
    if !matches!(kind, "Normal" | "Warning") {
        errors.invalid(&Path::new("type"), "", &format!("has invalid value: {kind}"));
    }
    let is_set = |path: &[&str]| {
        new.get(path).is_some_and(|value| !value.is_null() && *value != json!("") && *value != json!(0))
    };
    for (field, set) in [
        ("firstTimestamp", is_set(&["firstTimestamp"])),
        ("lastTimestamp", is_set(&["lastTimestamp"])),
        ("count", is_set(&["count"])),
        ("source", is_set(&["source", "component"]) || is_set(&["source", "host"])),
    ] {
        if set {
            errors.invalid(&Path::new(field), "", "needs to be unset");
        }
    }
}

fn validate_series(new: &Object, errors: &mut FieldErrors) {
    let Some(series) = new.get(&["series"]).filter(|series| !series.is_null()) else { return };
    if series["count"].as_i64().unwrap_or_default() < 2 {
        errors.invalid(&Path::new("series.count"), "", "should be at least 2");
    }
    if series["lastObservedTime"].as_str().is_none() {
        errors.required(&Path::new("series.lastObservedTime"), "");
    }
}

/// Through events.k8s.io only the series goes on.
fn validate_unchanged(new: &Object, old: &Object, errors: &mut FieldErrors) {
    for field in [
        "involvedObject",
        "reason",
        "message",
        "source",
        "firstTimestamp",
        "lastTimestamp",
        "count",
        "reportingComponent",
        "reportingInstance",
        "action",
        "related",
        "type",
    ] {
        let value = |object: &Object| object.get(&[field]).cloned().unwrap_or_default();
        if value(new) != value(old) {
            errors.invalid(&Path::new(field), value(new), "field is immutable");
        }
    }
    // Where none is stored, the view showed one that was made up for it.
    if let Some(time) = old.text(&["eventTime"])
        && new.text(&["eventTime"]).and_then(time::parse) != time::parse(time)
    {
        errors.invalid(&Path::new("eventTime"), json!(new.get(&["eventTime"])), "field is immutable");
    }
}

/// The stored shape of an event that may be in either; a long list of events is not copied for it.
fn stored(object: &Object) -> Cow<'_, Object> {
    if object.api_version() == EVENTS_V1 {
        Cow::Owned(EventRules::EventsV1.to_stored(object.clone()))
    } else {
        Cow::Borrowed(object)
    }
}

/// Who reported it, by the old field or the new one.
fn component(object: &Object) -> &str {
    match object.text(&["source", "component"]).unwrap_or_default() {
        "" => object.text(&["reportingComponent"]).unwrap_or_default(),
        component => component,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kind::testing::{Story, check_cells};

    const CORE_KIND: Story = Story { plural: "events", group: "" };
    const NEW_KIND: Story = Story { plural: "events", group: "events.k8s.io" };

    /// As the job controller records it (S-22).
    fn recorded() -> Value {
        json!({
            "apiVersion": "v1", "kind": "Event", "metadata": {"name": "bad1.18e9db7e5a3046f5", "namespace": "exp"},
            "involvedObject": {"kind": "Job", "namespace": "exp", "name": "bad1", "uid": "u-1", "apiVersion": "batch/v1"},
            "reason": "BackoffLimitExceeded", "message": " Job has reached the specified backoff limit\n", "type": "Warning",
            "source": {"component": "job-controller"}, "count": 3, "reportingComponent": "job-controller",
            "firstTimestamp": "2026-11-20T20:00:00Z", "lastTimestamp": "2026-11-20T20:59:30Z",
        })
    }

    fn new_shape() -> Value {
        json!({
            "apiVersion": "events.k8s.io/v1", "kind": "Event", "metadata": {"name": "e", "namespace": "exp"},
            "regarding": {"kind": "Pod", "namespace": "exp", "name": "p", "uid": "u-2"}, "note": "text", "reason": "Why",
            "type": "Normal", "eventTime": "2026-11-20T20:58:00.000000Z", "action": "Do", "reportingController": "a/b",
            "reportingInstance": "i",
        })
    }

    #[test]
    fn w188_core_events_always_show_their_times_and_source() {
        let object = CORE_KIND.creates(json!({"metadata": {"name": "e", "namespace": "default"}}));
        for field in
            ["source", "firstTimestamp", "lastTimestamp", "eventTime", "reportingComponent", "reportingInstance"]
        {
            assert!(object.get(&[field]).is_some(), "{field}");
        }
        assert_eq!(object.get(&["eventTime"]), Some(&Value::Null));
    }

    #[test]
    fn w188_event_and_object_are_in_one_namespace() {
        let event = |namespace: &str, involved: &str| json!({"metadata": {"name": "e", "namespace": namespace}, "involvedObject": {"namespace": involved}});
        CORE_KIND.creates(event("exp", "exp"));
        CORE_KIND.creates(event("default", ""));
        CORE_KIND.refuses(
            event("exp", "other"),
            &["involvedObject.namespace: Invalid value: \"other\": does not match event.namespace"],
        );
        CORE_KIND.refuses(
            event("exp", ""),
            &["involvedObject.namespace: Invalid value: \"\": does not match event.namespace"],
        );
    }

    #[test]
    fn w199_both_shapes_are_one_object() {
        let object = NEW_KIND.creates(new_shape());
        assert_eq!(object.api_version(), "v1");
        assert_eq!(object.text(&["involvedObject", "name"]), Some("p"));
        assert_eq!(object.text(&["message"]), Some("text"));
        let view = EventRules::EventsV1.from_stored(object.clone());
        assert_eq!(view.api_version(), "events.k8s.io/v1");
        assert_eq!(view.text(&["note"]), Some("text"));
        assert_eq!(view.text(&["reportingController"]), Some("a/b"));
        assert_eq!(view.get(&["involvedObject"]), None);
        assert_eq!(EventRules::EventsV1.to_stored(view), object);
        assert_eq!(EventRules::EventsV1.to_stored(object.clone()), object);
    }

    #[test]
    fn w189_the_view_of_a_recorded_event_is_complete() {
        let view = EventRules::EventsV1.from_stored(CORE_KIND.creates(recorded()));
        assert_eq!(view.text(&["eventTime"]), Some("2026-11-20T20:00:00.000000Z"));
        assert_eq!(view.get(&["deprecatedCount"]), Some(&json!(3)));
        assert_eq!(view.text(&["deprecatedSource", "component"]), Some("job-controller"));
        assert_eq!(view.text(&["regarding", "uid"]), Some("u-1"));
    }

    #[test]
    fn w199_new_events_must_be_complete() {
        NEW_KIND.refuses(
            json!({"metadata": {"name": "e", "namespace": "exp"}, "regarding": {"namespace": "exp"}, "deprecatedCount": 2}),
            &[
                "eventTime: Required value",
                "type: Invalid value: \"\": has invalid value: ",
                "count: Invalid value: \"\": needs to be unset",
            ],
        );
        let mut bad = new_shape();
        bad["action"] = "".into();
        bad["reportingInstance"] = "i".repeat(129).into();
        bad["series"] = json!({"count": 1});
        NEW_KIND.refuses(
            bad,
            &[
                "reportingInstance: Invalid value: \"\": can have at most 128 characters",
                "action: Required value",
                "series.count: Invalid value: \"\": should be at least 2",
                "series.lastObservedTime: Required value",
            ],
        );
    }

    #[test]
    fn w199_only_the_series_goes_on() {
        let mut next = new_shape();
        next["series"] = json!({"count": 2, "lastObservedTime": "2026-11-20T20:59:00.000000Z"});
        NEW_KIND.updates(&new_shape(), next.clone());
        next["note"] = "other".into();
        NEW_KIND.refuses_update(&new_shape(), next, &["message: Invalid value: \"other\": field is immutable"]);
    }

    #[test]
    fn cells_are_the_same_in_both_shapes() {
        let object = CORE_KIND.creates(recorded());
        let want = json!([
            "5m30s",
            "Warning",
            "BackoffLimitExceeded",
            "job/bad1",
            "",
            "job-controller",
            "Job has reached the specified backoff limit",
            "65m",
            3,
            "bad1.18e9db7e5a3046f5",
        ]);
        check_cells(&EventRules::Core, &object, want.clone());
        check_cells(&EventRules::EventsV1, &EventRules::EventsV1.from_stored(object), want);

        let object = NEW_KIND.creates(new_shape());
        check_cells(
            &EventRules::Core,
            &object,
            json!(["7m", "Normal", "Why", "pod/p", "", "a/b, i", "text", "7m", 1, "e"]),
        );
    }

    #[test]
    fn w137_selectable_fields_of_both_shapes() {
        let object = CORE_KIND.creates(recorded());
        for (rules, label, want) in [
            (EventRules::Core, "involvedObject.name", Some("bad1")),
            (EventRules::Core, "involvedObject.fieldPath", Some("")),
            (EventRules::Core, "source", Some("job-controller")),
            (EventRules::Core, "reportingComponent", Some("job-controller")),
            (EventRules::Core, "type", Some("Warning")),
            (EventRules::Core, "metadata.namespace", Some("exp")),
            (EventRules::Core, "regarding.name", None),
            (EventRules::Core, "involvedObject.zz", None),
            (EventRules::EventsV1, "regarding.name", Some("bad1")),
            (EventRules::EventsV1, "reportingController", Some("job-controller")),
            (EventRules::EventsV1, "source", None),
        ] {
            assert_eq!(rules.field(&object, label).as_deref(), want, "{label}");
        }
        assert_eq!(EventRules::Core.unsupported_field("zz"), "field label not supported: zz");
    }

    #[test]
    fn events_are_found_by_what_they_are_about() {
        let mut index = Index::default();
        EventRules::Core.index(&CORE_KIND.creates(recorded()), &mut index);
        assert_eq!((index.involved_uid.as_deref(), index.involved_name.as_deref()), (Some("u-1"), Some("bad1")));
        // How long it is kept is a setting, which is not known here.
        assert_eq!(index.due_at, None);
    }
}
