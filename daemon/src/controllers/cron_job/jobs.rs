//! The job of one scheduled time (cronjobs.md section 9).
#![deny(clippy::disallowed_methods)]

use jiff::{Timestamp, tz::TimeZone};
use k8s_openapi::{
    api::{
        batch::v1::{CronJob, Job},
        core::v1::ObjectReference,
    },
    apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference},
};

/// When the job was meant to run (C-903).
const SCHEDULED_TIMESTAMP: &str = "batch.kubernetes.io/cronjob-scheduled-timestamp";

/// The name of a scheduled time's job, which is the lock against a second one (C-901).
#[must_use]
pub fn name(cron_job: &str, run: Timestamp) -> String {
    format!("{cron_job}-{}", run.as_second().div_euclid(60))
}

/// The job, before defaults (C-902). `zone` is the zone of `spec.timeZone`, if it has one.
#[must_use]
pub fn build(cron_job: &CronJob, run: Timestamp, zone: Option<&TimeZone>) -> Job {
    let metadata = &cron_job.metadata;
    let own_name = metadata.name.clone().unwrap_or_default();
    let template = cron_job.spec.job_template.clone();
    let from = template.metadata.unwrap_or_default();
    let mut annotations = from.annotations.unwrap_or_default();
    annotations.insert(SCHEDULED_TIMESTAMP.to_owned(), timestamp(run, zone));
    Job {
        metadata: ObjectMeta {
            name: Some(name(&own_name, run)),
            namespace: metadata.namespace.clone(),
            labels: from.labels,
            annotations: Some(annotations),
            owner_references: Some(vec![OwnerReference {
                api_version: "batch/v1".to_owned(),
                kind: "CronJob".to_owned(),
                name: own_name,
                uid: metadata.uid.clone().unwrap_or_default(),
                controller: Some(true),
                block_owner_deletion: Some(true),
            }]),
            ..ObjectMeta::default()
        },
        spec: template.spec,
        status: None,
    }
}

/// RFC 3339 with the zone's offset, `Z` when it is none.
fn timestamp(run: Timestamp, zone: Option<&TimeZone>) -> String {
    let zone = zone.cloned().unwrap_or(TimeZone::UTC);
    if zone.to_offset(run).seconds() == 0 {
        return jobd_api::time::render(run);
    }
    run.to_zoned(zone).strftime("%Y-%m-%dT%H:%M:%S%:z").to_string()
}

/// An entry of `status.active` (C-1001).
///
/// Without `resourceVersion`: the job gets its revision in the same transaction that writes this.
#[must_use]
pub fn reference(namespace: &str, name: &str, uid: &str) -> ObjectReference {
    ObjectReference {
        api_version: Some("batch/v1".to_owned()),
        kind: Some("Job".to_owned()),
        namespace: Some(namespace.to_owned()),
        name: Some(name.to_owned()),
        uid: Some(uid.to_owned()),
        ..ObjectReference::default()
    }
}
