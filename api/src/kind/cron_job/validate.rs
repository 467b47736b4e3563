//! Which cron jobs are legal: C-301 to C-315, in their order.

use k8s_openapi::api::batch::v1::{CronJob, CronJobSpec, JobSpec};
use serde_json::json;

use crate::{
    cron::{Schedule, find_zone},
    field::{FieldErrors, Path},
    kind::job,
};

/// What a job's name may have (63) less `-` and ten digits of minutes.
const NAME_MAX: usize = 52;
const NEGATIVE: &str = "must be greater than or equal to 0";
/// Longest part of a zone's name between slashes.
const ZONE_PART_MAX: usize = 14;

pub(super) fn validate_new(cron_job: &CronJob) -> FieldErrors {
    let mut errors = FieldErrors::default();
    let name = cron_job.metadata.name.as_deref().unwrap_or_default();
    if name.len() > NAME_MAX {
        errors.invalid(&Path::new("metadata.name"), name, "must be no more than 52 characters");
    }
    errors.extend(validate_spec(&cron_job.spec, None));
    errors
}

/// The same rules for creates and updates, but for what an update finds.
pub(super) fn validate_spec(spec: &CronJobSpec, old: Option<&CronJobSpec>) -> FieldErrors {
    let mut errors = FieldErrors::default();
    let path = Path::new("spec");
    validate_schedule(&mut errors, spec, old, &path.child("schedule"));
    non_negative(&mut errors, spec.starting_deadline_seconds, &path.child("startingDeadlineSeconds"));
    if old.is_none_or(|old| old.time_zone != spec.time_zone)
        && let Some(zone) = &spec.time_zone
    {
        validate_zone(&mut errors, zone, &path.child("timeZone"));
    }
    let policy = spec.concurrency_policy.as_deref().unwrap_or_default();
    let policies = ["Allow", "Forbid", "Replace"];
    if !policies.contains(&policy) {
        errors.not_supported(&path.child("concurrencyPolicy"), policy, &policies);
    }
    let template = spec.job_template.spec.clone().unwrap_or_default();
    validate_template(&mut errors, &template, &path.child("jobTemplate").child("spec"));
    for (field, limit) in [
        ("successfulJobsHistoryLimit", spec.successful_jobs_history_limit),
        ("failedJobsHistoryLimit", spec.failed_jobs_history_limit),
    ] {
        non_negative(&mut errors, limit.map(i64::from), &path.child(field));
    }
    errors
}

fn non_negative(errors: &mut FieldErrors, value: Option<i64>, path: &Path) {
    if let Some(value) = value.filter(|value| *value < 0) {
        errors.invalid(path, value, NEGATIVE);
    }
}

/// C-302 to C-304
fn validate_schedule(errors: &mut FieldErrors, spec: &CronJobSpec, old: Option<&CronJobSpec>, path: &Path) {
    let schedule = spec.schedule.as_str();
    if schedule.is_empty() {
        errors.required(path, "");
        return;
    }
    if let Err(error) = Schedule::parse(schedule) {
        errors.invalid(path, schedule, &error.to_string());
    }
    if !schedule.contains("TZ") {
        return;
    }
    if !old.is_some_and(|old| old.schedule.contains("TZ")) {
        errors.invalid(path, schedule, "cannot use TZ or CRON_TZ in schedule, use timeZone field instead");
    } else if spec.time_zone.is_some() {
        errors.invalid(path, schedule, "cannot use both timeZone field and TZ or CRON_TZ in schedule");
    }
}

/// C-306 to C-309
fn validate_zone(errors: &mut FieldErrors, zone: &str, path: &Path) {
    if zone.is_empty() {
        errors.invalid(path, zone, "timeZone must be nil or non-empty string");
        return;
    }
    let unknown = format!("unknown time zone {zone}");
    if !zone.split('/').all(is_zone_part) {
        errors.invalid(path, zone, &unknown);
        return;
    }
    if zone.eq_ignore_ascii_case("Local") {
        let detail = "timeZone must be an explicit time zone as defined in https://www.iana.org/time-zones";
        errors.invalid(path, zone, detail);
    }
    // In this spelling the baseline's library does know it.
    if zone != "Local" && find_zone(zone).is_none() {
        errors.invalid(path, zone, &unknown);
    }
}

fn is_zone_part(part: &str) -> bool {
    let is_legal = |byte: u8| byte.is_ascii_alphanumeric() || b".-_+".contains(&byte);
    (1..=ZONE_PART_MAX).contains(&part.len())
        && part.bytes().all(is_legal)
        && !part.starts_with('-')
        && part != "."
        && part != ".."
}

/// C-311 to C-313
fn validate_template(errors: &mut FieldErrors, spec: &JobSpec, path: &Path) {
    errors.extend(job::validate_spec(spec, path));
    if let Some(selector) = &spec.selector {
        errors.invalid(&path.child("selector"), json!(selector), "`selector` will be auto-generated");
    }
    if spec.manual_selector == Some(true) {
        errors.not_supported(&path.child("manualSelector"), true, &["nil", "false"]);
    }
}
