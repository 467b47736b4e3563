//! Whether a job has a reason to end, or to go on: suspension, policies and limits per index, judged anew (sections 12, 13, 15 and 21 of
//! the job rules).

use std::{collections::BTreeSet, time::Duration};

use anyhow::{bail, ensure};

use super::{
    super::{Checker, policy},
    Job, read_indexes,
};

/// J-1501 to J-1505.
pub(super) fn check_suspension(job: &Job) -> anyhow::Result<()> {
    let Job { name, suspended, says_suspended, .. } = job;
    ensure!(
        says_suspended.unwrap_or_default() == *suspended,
        "J-1502: job {name} has suspend {suspended}, and its condition is {says_suspended:?}"
    );
    ensure!(
        job.started.is_some() != *suspended,
        "J-1502: job {name} has suspend {suspended}, and its start is {:?}",
        job.started
    );
    Ok(())
}

/// A job that goes on has no reason to end (J-832, J-835 to J-837).
pub(super) fn check_policies(job: &Job) -> anyhow::Result<()> {
    let Job { name, .. } = job;
    ensure!(!job.fail_job || job.relabelled, "J-832: a pod of job {name} fails it by its policy, and it goes on");
    let failed = read_indexes(&job.status.failed_indexes)?;
    let count = i64::try_from(failed.len())?;
    ensure!(
        job.max_failed_indexes.is_none_or(|most| count <= most),
        "J-835: {count} indexes of job {name} failed, and it goes on"
    );
    let all = job.completions.unwrap_or_default();
    ensure!(
        count == 0 || count + job.status.succeeded < all,
        "J-836: all {all} indexes of job {name} have ended, and it goes on"
    );
    let completed = read_indexes(&job.status.completed_indexes)?;
    let is_met =
        job.success_policy.as_deref().is_some_and(|rules| policy::is_met(rules, &completed, |text| listed(text, job)));
    ensure!(!is_met, "J-837: job {name} has succeeded by its policy with {completed:?}, and goes on");
    Ok(())
}

impl Checker {
    /// J-2101, J-2102: its pods are those that its selector finds.
    pub(super) fn check_kin(&self, uid: &str, job: &Job) -> anyhow::Result<()> {
        let inside = || self.pods.values().filter(|pod| pod.namespace == job.namespace);
        let lost = inside().find(|pod| pod.job.is_none() && !pod.deleting && pod.selected_by.as_deref() == Some(uid));
        ensure!(lost.is_none(), "J-2101: job {} does not adopt {:?}", job.name, lost.map(|pod| &pod.name));
        let strange = inside().find(|pod| pod.job.as_deref() == Some(uid) && pod.selected_by.as_deref() != Some(uid));
        ensure!(strange.is_none(), "J-2102: job {} does not release {:?}", job.name, strange.map(|pod| &pod.name));
        Ok(())
    }
}

/// J-1302, J-1303.
pub(super) fn check_failed_indexes(job: &Job, completed: &BTreeSet<i64>) -> anyhow::Result<()> {
    let Some(limit) = job.limit_per_index.filter(|_| !job.was_suspended && !job.edited) else { return Ok(()) };
    let Job { name, .. } = job;
    let failed = read_indexes(&job.status.failed_indexes)?;
    let is_over =
        |index: &i64| job.fail_index.contains(index) || job.failures.get(index).is_some_and(|one| one.0 > limit);
    if let Some(index) = failed.iter().find(|index| !is_over(index)) {
        bail!(
            "J-1302: index {index} of job {name} has failed, after {:?} of {limit} failures",
            job.failures.get(index)
        );
    }
    if let Some(index) =
        job.failures.keys().find(|index| is_over(index) && !failed.contains(index) && !completed.contains(index))
    {
        bail!("J-1302: index {index} of job {name} failed too often, and has not failed");
    }
    if let Some(both) = failed.intersection(completed).next() {
        bail!("J-1004: index {both} of job {name} has failed and is complete");
    }
    Ok(())
}

/// J-837, J-845: a job succeeds for a reason that is true.
pub(super) fn check_success(job: &Job, reason: &str) -> anyhow::Result<()> {
    let Job { name, status, .. } = job;
    match reason {
        "SuccessPolicy" => {
            let completed = read_indexes(&status.completed_indexes)?;
            let is_met = job
                .success_policy
                .as_deref()
                .is_some_and(|rules| policy::is_met(rules, &completed, |text| listed(text, job)));
            ensure!(is_met, "J-837: job {name} succeeds by its policy with {completed:?}");
        }
        "CompletionsReached" => {
            let wanted = job.completions.unwrap_or(1);
            ensure!(status.succeeded >= wanted, "J-845: job {name} succeeds with {} of {wanted}", status.succeeded);
        }
        other => bail!("job {name} succeeds for no reason of the rules: {other}"),
    }
    Ok(())
}

/// J-861.
pub(super) fn delay(failures: usize) -> Duration {
    let doubled = u32::try_from(failures.saturating_sub(1)).unwrap_or(u32::MAX).min(10);
    if failures == 0 { Duration::ZERO } else { Duration::from_secs(10 << doubled).min(Duration::from_secs(600)) }
}

/// The indexes of a rule that the job has.
fn listed(text: &str, job: &Job) -> BTreeSet<i64> {
    let all = read_indexes(text).unwrap_or_default();
    all.into_iter().filter(|index| job.completions.is_none_or(|completions| *index < completions)).collect()
}
