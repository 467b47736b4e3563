//! Which finished jobs go (cronjobs.md section 11).
#![deny(clippy::disallowed_methods)]

use k8s_openapi::api::batch::v1::CronJobSpec;

use super::snapshot::{Child, End};

/// The names of the finished jobs beyond the limits, oldest first: complete ones, then failed ones (C-1101, C-1102).
#[must_use]
pub fn surplus(children: &[Child], spec: &CronJobSpec) -> Vec<String> {
    let mut names = Vec::new();
    for (end, limit) in
        [(End::Complete, spec.successful_jobs_history_limit), (End::Failed, spec.failed_jobs_history_limit)]
    {
        let Some(limit) = limit else { continue };
        let mut ended: Vec<&Child> = children.iter().filter(|child| child.end == Some(end)).collect();
        // A job that never started counts as the newest.
        ended.sort_by_key(|child| (child.started.is_none(), child.started, &child.name));
        let surplus = ended.len().saturating_sub(usize::try_from(limit).unwrap_or_default());
        names.extend(ended[..surplus].iter().map(|child| child.name.clone()));
    }
    names
}
