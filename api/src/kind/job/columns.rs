//! The cells of a job's row (J-105, T-1).

use std::borrow::Cow;

use jiff::Timestamp;
use k8s_openapi::{
    api::batch::v1::JobSpec,
    apimachinery::pkg::apis::meta::v1::{LabelSelector, Time},
};
use serde::Deserialize;
use serde_json::Value;

use crate::{
    kind::{age_of, pod_spec::text},
    object::Object,
    selector, time,
};

/// What the cells need of a job, borrowed from its body where it can be.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Shown<'a> {
    #[serde(borrow)]
    metadata: Metadata<'a>,
    #[serde(borrow)]
    spec: Spec<'a>,
    #[serde(borrow)]
    status: Status<'a>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Metadata<'a> {
    #[serde(borrow)]
    name: Cow<'a, str>,
    #[serde(borrow)]
    creation_timestamp: Cow<'a, str>,
    #[serde(borrow)]
    deletion_timestamp: Cow<'a, str>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Spec<'a> {
    completions: Option<i32>,
    parallelism: Option<i32>,
    selector: Option<LabelSelector>,
    #[serde(borrow)]
    template: Template<'a>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Template<'a> {
    #[serde(borrow)]
    spec: Pod<'a>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Pod<'a> {
    #[serde(borrow)]
    containers: Vec<Container<'a>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Container<'a> {
    #[serde(borrow)]
    name: Cow<'a, str>,
    #[serde(borrow)]
    image: Cow<'a, str>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Status<'a> {
    succeeded: Option<i32>,
    start_time: Option<Time>,
    completion_time: Option<Time>,
    #[serde(borrow)]
    conditions: Vec<Condition<'a>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Condition<'a> {
    #[serde(borrow, rename = "type")]
    type_: Cow<'a, str>,
    #[serde(borrow)]
    status: Cow<'a, str>,
}

pub(super) fn cells(object: &Object, now: Timestamp) -> Vec<Value> {
    // A stored job can always be read; were it not so, its row would be no place to say it.
    render(&Shown::deserialize(&object.0).unwrap_or_default(), now)
}

pub(super) fn cells_of_body(body: &str, now: Timestamp) -> Option<Vec<Value>> {
    serde_json::from_str(body).ok().map(|job| render(&job, now))
}

fn render(job: &Shown<'_>, now: Timestamp) -> Vec<Value> {
    let Metadata { name, creation_timestamp, deletion_timestamp: _ } = &job.metadata;
    let containers = &job.spec.template.spec.containers;
    let list = |text: fn(&Container<'_>) -> String| containers.iter().map(text).collect::<Vec<_>>().join(",");
    vec![
        name.as_ref().into(),
        status(job).into(),
        completions(job).into(),
        duration(job, now).into(),
        age_of(Some(creation_timestamp), now).into(),
        list(|container| container.name.to_string()).into(),
        list(|container| container.image.to_string()).into(),
        selector::render(job.spec.selector.as_ref()).into(),
    ]
}

/// The cells Containers and Images.
pub(crate) fn containers_and_images(spec: &JobSpec) -> [String; 2] {
    let containers = spec.template.spec.as_ref().map(|spec| spec.containers.as_slice()).unwrap_or_default();
    let names = containers.iter().map(|container| container.name.as_str()).collect::<Vec<_>>().join(",");
    let images = containers.iter().map(|container| text(&container.image)).collect::<Vec<_>>().join(",");
    [names, images]
}

/// The first that applies.
fn status(job: &Shown<'_>) -> &'static str {
    let is_true = |type_| job.status.conditions.iter().any(|one| one.type_ == type_ && one.status == "True");
    if is_true("Complete") {
        "Complete"
    } else if is_true("Failed") {
        "Failed"
    } else if !job.metadata.deletion_timestamp.is_empty() {
        "Terminating"
    } else if is_true("Suspended") {
        "Suspended"
    } else if is_true("FailureTarget") {
        "FailureTarget"
    } else if is_true("SuccessCriteriaMet") {
        "SuccessCriteriaMet"
    } else {
        "Running"
    }
}

fn completions(job: &Shown<'_>) -> String {
    let succeeded = job.status.succeeded.unwrap_or_default();
    let parallelism = job.spec.parallelism.unwrap_or_default();
    match job.spec.completions {
        Some(completions) => format!("{succeeded}/{completions}"),
        None if parallelism > 1 => format!("{succeeded}/1 of {parallelism}"),
        None => format!("{succeeded}/1"),
    }
}

/// A failed job has no completion time, so that its duration goes on.
fn duration(job: &Shown<'_>, now: Timestamp) -> String {
    let Some(start) = &job.status.start_time else { return String::new() };
    let end = job.status.completion_time.as_ref().map_or(now, |time| time.0);
    time::human_age(start.0, end)
}
