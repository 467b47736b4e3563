//! Jobs: defaults, validation, what an update may change, columns, selectable fields (jobs.md sections 1 to 6).
//!
//! Here are the seams to the write path; the rules are in the files beside it. Nothing here looks at pods: that is the controller's.

mod columns;
mod defaults;
mod policies;
mod status;
mod update;
mod validate;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::{
    batch::v1::{Job, JobSpec, JobStatus},
    core::v1::PodTemplateSpec,
};
use serde_json::Value;

pub(crate) use columns::containers_and_images;
pub(crate) use defaults::default_failure_policy;
pub use defaults::default_spec;
pub use validate::validate_spec;

use crate::{
    field::{FieldErrors, Path},
    index::Index,
    kind::{Rules, metadata_field, pod_spec, unreadable},
    name,
    object::Object,
    status::Status,
    write::{Context, Part},
    zero,
};

/// The four labels that tie pods to their job (J-303): the two old ones and the two with a prefix.
pub const LEGACY_JOB_NAME_LABEL: &str = "job-name";
pub const LEGACY_CONTROLLER_UID_LABEL: &str = "controller-uid";
pub const JOB_NAME_LABEL: &str = "batch.kubernetes.io/job-name";
pub const CONTROLLER_UID_LABEL: &str = "batch.kubernetes.io/controller-uid";

/// Above these two together the controller may lose track of failed indexes (J-106, J-421, J-422).
const COMPLETIONS_SOFT_MAX: i32 = 100_000;
const PARALLELISM_SOFT_MAX: i32 = 10_000;

/// The rules of this kind.
pub struct JobRules;

impl Rules for JobRules {
    fn prepare(
        &self,
        new: &mut Object,
        old: Option<(&Object, Part)>,
        _context: &mut Context<'_>,
    ) -> Result<(), Status> {
        let mut job: Job = new.to_typed().map_err(Status::internal)?;
        match old {
            None => {
                job.status = Some(JobStatus::default()); // J-302
                default_spec(job.spec.get_or_insert_default());
                defaults::generate_selector(&mut job);
            }
            Some((old, Part::Main)) => {
                // J-501: what stands under `status` in the body is nobody's wish.
                let old: Job = old.to_typed().map_err(Status::internal)?;
                job.status = old.status;
                default_spec(job.spec.get_or_insert_default());
            }
            Some((old, Part::Status)) => {
                let old: Job = old.to_typed().map_err(Status::internal)?;
                job.spec = old.spec; // J-601
                job.status.get_or_insert_default();
            }
        }
        defaults::default_labels(&mut job);
        *new = Object::from_typed(&job).map_err(Status::internal)?;
        zero::omit(new);
        Ok(())
    }

    fn validate(&self, new: &Object, old: Option<(&Object, Part)>) -> FieldErrors {
        let new: Job = match new.to_typed() {
            Ok(job) => job,
            Err(error) => return unreadable(&error),
        };
        let Some((old, part)) = old else { return validate::validate_job(&new, true) };
        let old: Job = match old.to_typed() {
            Ok(job) => job,
            Err(error) => return unreadable(&error),
        };
        match part {
            Part::Main => update::validate(&new, &old),
            Part::Status => status::validate(&new, &old),
        }
    }

    fn warnings(&self, new: &Object, old: Option<&Object>) -> Vec<String> {
        let Ok(job) = new.to_typed::<Job>() else { return Vec::new() };
        let mut warnings = Vec::new();
        match old {
            // J-106: only what the client changed is worth a word, and the name cannot change.
            Some(old) => {
                if old.get(&["spec"]) == new.get(&["spec"]) {
                    return warnings;
                }
            }
            None => {
                warnings.extend(name_warning(new.name()));
            }
        }
        warnings.extend(spec_warnings(&job.spec.unwrap_or_default(), &Path::new("spec")));
        warnings
    }

    fn has_generation(&self) -> bool {
        true
    }

    fn index(&self, object: &Object, index: &mut Index) {
        let finished = ["Complete", "Failed"].into_iter().find_map(|type_| condition(object, type_));
        index.finished = finished.is_some();
        // J-1901: a finished job is due when its time to live has passed; one that is being deleted already is not.
        index.due_at = finished.filter(|_| !index.deleting).and_then(|condition| {
            let ttl = object.get(&["spec", "ttlSecondsAfterFinished"])?.as_i64()?;
            let since = crate::time::parse(condition.get("lastTransitionTime")?.as_str()?)?;
            since.checked_add(SignedDuration::from_secs(ttl)).ok()
        });
    }

    fn field(&self, object: &Object, label: &str) -> Option<String> {
        match label {
            // J-102
            "status.successful" => {
                let succeeded = object.get(&["status", "succeeded"]).and_then(Value::as_i64);
                Some(succeeded.unwrap_or_default().to_string())
            }
            _ => metadata_field(object, label),
        }
    }

    fn unsupported_field(&self, label: &str) -> String {
        format!("field label {label:?} not supported for Job")
    }

    fn cells(&self, object: &Object, now: Timestamp) -> Vec<Value> {
        columns::cells(object, now)
    }

    fn cells_of_body(&self, body: &str, now: Timestamp) -> Option<Vec<Value>> {
        columns::cells_of_body(body, now)
    }
}

/// J-106: the name becomes a part of others.
pub(crate) fn name_warning(name: &str) -> Option<String> {
    let violations = name::validate_label(name);
    (!violations.is_empty()).then(|| {
        format!(
            "metadata.name: this is used in Pod names and hostnames, which can result in surprising behavior; a DNS label is recommended: [{}]",
            violations.join(" ")
        )
    })
}

/// J-106: what is legal in a job's spec, or in that of a cron job's template, and may not be meant.
pub(crate) fn spec_warnings(spec: &JobSpec, path: &Path) -> Vec<String> {
    let mut warnings = Vec::new();
    if is_indexed(spec)
        && spec.completions.unwrap_or_default() > COMPLETIONS_SOFT_MAX
        && spec.parallelism.unwrap_or_default() > PARALLELISM_SOFT_MAX
    {
        warnings.push(format!(
            "{}: In Indexed Jobs with a number of completions higher than 10^5 and a parallelism higher than 10^4, Kubernetes might not be able to track completedIndexes when a big number of indexes fail",
            path.as_str()
        ));
    }
    if let Some(template) = &spec.template.spec {
        warnings.extend(pod_spec::warnings(template, &path.child("template").child("spec")));
    }
    warnings
}

/// The condition of this type, if its status is `True`.
fn condition<'a>(object: &'a Object, type_: &str) -> Option<&'a Value> {
    let conditions = object.get(&["status", "conditions"])?.as_array()?;
    conditions.iter().find(|condition| {
        condition.get("type").and_then(Value::as_str) == Some(type_)
            && condition.get("status").and_then(Value::as_str) == Some("True")
    })
}

/// Whether the pods of the job have indexes.
#[must_use]
pub fn is_indexed(spec: &JobSpec) -> bool {
    spec.completion_mode.as_deref() == Some("Indexed")
}

/// The template's label, if it has it.
fn template_label<'a>(template: &'a PodTemplateSpec, key: &str) -> Option<&'a str> {
    template.metadata.as_ref()?.labels.as_ref()?.get(key).map(String::as_str)
}

#[cfg(test)]
mod tests;
