//! Cron jobs: defaults, validation, warnings, columns (cronjobs.md sections 1 to 3). When they run is the controller's, with
//! [`crate::cron`].

mod validate;

use jiff::Timestamp;
use k8s_openapi::api::batch::v1::{CronJob, CronJobSpec, CronJobStatus};
use serde_json::Value;

use crate::{
    field::{FieldErrors, Path},
    kind::{Rules, age, age_of, job, metadata_field, pod_spec, unreadable},
    object::Object,
    selector,
    status::Status,
    write::{Context, Part},
    zero,
};

const SUCCESSFUL_HISTORY: i32 = 3;
const FAILED_HISTORY: i32 = 1;

/// The rules of this kind.
pub struct CronJobRules;

impl Rules for CronJobRules {
    fn prepare(
        &self,
        new: &mut Object,
        old: Option<(&Object, Part)>,
        _context: &mut Context<'_>,
    ) -> Result<(), Status> {
        let mut cron_job: CronJob = new.to_typed().map_err(Status::internal)?;
        let old = old
            .map(|(old, part)| old.to_typed::<CronJob>().map(|old| (old, part)))
            .transpose()
            .map_err(Status::internal)?;
        // C-209
        match old {
            None => {
                cron_job.status = Some(CronJobStatus::default());
                default_spec(&mut cron_job.spec);
            }
            Some((old, Part::Main)) => {
                cron_job.status = old.status;
                default_spec(&mut cron_job.spec);
            }
            Some((old, Part::Status)) => {
                cron_job.spec = old.spec;
                cron_job.status.get_or_insert_default();
            }
        }
        *new = Object::from_typed(&cron_job).map_err(Status::internal)?;
        zero::omit(new);
        Ok(())
    }

    fn validate(&self, new: &Object, old: Option<(&Object, Part)>) -> FieldErrors {
        let new: CronJob = match new.to_typed() {
            Ok(cron_job) => cron_job,
            Err(error) => return unreadable(&error),
        };
        match old {
            None => validate::validate_new(&new),
            Some((_, Part::Status)) => FieldErrors::default(), // C-209
            Some((old, Part::Main)) => match old.to_typed::<CronJob>() {
                Ok(old) => validate::validate_spec(&new.spec, Some(&old.spec)),
                Err(error) => unreadable(&error),
            },
        }
    }

    fn warnings(&self, new: &Object, old: Option<&Object>) -> Vec<String> {
        let Ok(cron_job) = new.to_typed::<CronJob>() else { return Vec::new() };
        let spec = cron_job.spec;
        let mut warnings = Vec::new();
        // C-104
        if old.is_none() {
            warnings.extend(job::name_warning(new.name()));
        }
        if old.is_none_or(|old| old.get(&["spec"]) != new.get(&["spec"]))
            && let Some(template) = &spec.job_template.spec
        {
            warnings.extend(job::spec_warnings(template, &Path::new("spec.jobTemplate.spec")));
        }
        if old.is_some() && spec.schedule.contains("TZ") {
            warnings.push("cannot use TZ or CRON_TZ in spec.spec.schedule, use timeZone instead, see https://kubernetes.io/docs/concepts/workloads/controllers/cron-jobs/ for more details".to_owned());
        }
        warnings
    }

    fn has_generation(&self) -> bool {
        true
    }

    fn field(&self, object: &Object, label: &str) -> Option<String> {
        metadata_field(object, label)
    }

    /// C-103, T-2
    fn cells(&self, object: &Object, now: Timestamp) -> Vec<Value> {
        // A stored cron job can always be read; were it not so, its row would be no place to say it.
        let cron_job: CronJob = object.to_typed().unwrap_or_default();
        let spec = cron_job.spec;
        let status = cron_job.status.unwrap_or_default();
        let template = spec.job_template.spec.unwrap_or_default();
        let [names, images] = job::containers_and_images(&template);
        let suspend = match spec.suspend {
            None => "<unset>",
            Some(true) => "True",
            Some(false) => "False",
        };
        let none = || "<none>".to_owned();
        let last = object.text(&["status", "lastScheduleTime"]);
        vec![
            object.name().into(),
            spec.schedule.into(),
            spec.time_zone.unwrap_or_else(none).into(),
            suspend.into(),
            status.active.unwrap_or_default().len().into(),
            last.map_or_else(none, |last| age_of(Some(last), now)).into(),
            age(object, now).into(),
            names.into(),
            images.into(),
            selector::render(template.selector.as_ref()).into(),
        ]
    }
}

/// C-201 to C-208.
fn default_spec(spec: &mut CronJobSpec) {
    if spec.concurrency_policy.as_ref().is_none_or(String::is_empty) {
        spec.concurrency_policy = Some("Allow".to_owned());
    }
    spec.suspend.get_or_insert(false);
    spec.successful_jobs_history_limit.get_or_insert(SUCCESSFUL_HISTORY);
    spec.failed_jobs_history_limit.get_or_insert(FAILED_HISTORY);
    // C-207: the rest of the job's spec is defaulted when a job is made of it.
    let job = spec.job_template.spec.get_or_insert_default();
    job::default_failure_policy(job);
    job.template.metadata.get_or_insert_default();
    pod_spec::default_template_spec(job.template.spec.get_or_insert_default());
}

#[cfg(test)]
mod tests;
