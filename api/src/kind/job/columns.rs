//! The cells of a job's row (J-105, T-1).

use jiff::Timestamp;
use k8s_openapi::api::batch::v1::{Job, JobSpec};
use serde_json::Value;

use super::status::is_true;
use crate::{
    kind::{age, pod_spec::text},
    object::Object,
    selector, time,
};

pub(super) fn cells(object: &Object, now: Timestamp) -> Vec<Value> {
    // A stored job can always be read; were it not so, its row would be no place to say it.
    let job: Job = object.to_typed().unwrap_or_default();
    let [names, images] = job.spec.as_ref().map(containers_and_images).unwrap_or_default();
    vec![
        object.name().into(),
        status(&job).into(),
        completions(&job).into(),
        duration(&job, now).into(),
        age(object, now).into(),
        names.into(),
        images.into(),
        selector::render(job.spec.as_ref().and_then(|spec| spec.selector.as_ref())).into(),
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
fn status(job: &Job) -> &'static str {
    let is_true = |type_| is_true(job.status.as_ref(), type_);
    if is_true("Complete") {
        "Complete"
    } else if is_true("Failed") {
        "Failed"
    } else if job.metadata.deletion_timestamp.is_some() {
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

fn completions(job: &Job) -> String {
    let spec = job.spec.as_ref();
    let succeeded = job.status.as_ref().and_then(|status| status.succeeded).unwrap_or_default();
    let parallelism = spec.and_then(|spec| spec.parallelism).unwrap_or_default();
    match spec.and_then(|spec| spec.completions) {
        Some(completions) => format!("{succeeded}/{completions}"),
        None if parallelism > 1 => format!("{succeeded}/1 of {parallelism}"),
        None => format!("{succeeded}/1"),
    }
}

/// A failed job has no completion time, so that its duration goes on.
fn duration(job: &Job, now: Timestamp) -> String {
    let status = job.status.as_ref();
    let Some(start) = status.and_then(|status| status.start_time.as_ref()) else { return String::new() };
    let end = status.and_then(|status| status.completion_time.as_ref()).map_or(now, |time| time.0);
    time::human_age(start.0, end)
}
