//! Why things go: nothing is deleted but for a reason that the rules know, and who goes takes along or leaves behind what it was told to
//! (J-2001 to J-2005, J-2011, sections 8, 11 and 13 of the cron job rules).

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{bail, ensure};
use jiff::SignedDuration;

use super::{
    super::workload::Wish,
    Checker,
    cron::{Cron, Crons},
    jobs::{Job, Jobs},
    pods::Pod,
};

/// What was asked of the daemon, and what became of it.
#[derive(Debug, Default)]
pub(super) struct Departures {
    /// By uid of whom somebody asked to go.
    wishes: BTreeMap<String, Wishes>,
    /// Jobs and cron jobs that are gone, and whether their dependents were to live on.
    gone: BTreeMap<String, bool>,
}

/// What was asked about one object.
#[derive(Debug, Default)]
struct Wishes {
    asked: u32,
    granted: u32,
    /// The propagation policies; empty: the kind's own.
    policies: BTreeSet<String>,
}

/// What began to go in one look.
#[derive(Debug, Default)]
pub(super) struct Leaving {
    pub pods: Vec<Pod>,
    pub jobs: Vec<(String, Job)>,
    pub crons: Vec<(String, Cron)>,
    /// Jobs whose object went, as they were before.
    pub gone_jobs: Vec<(String, Job)>,
    pub gone_crons: Vec<String>,
}

/// How things stood before the look.
pub(super) struct Before {
    pub jobs: Jobs,
    pub crons: Crons,
    pub namespaces: BTreeSet<String>,
}

impl Departures {
    pub fn note_wishes(&mut self, wishes: Vec<Wish>) {
        for Wish { uid, policy, granted } in wishes {
            let known = self.wishes.entry(uid).or_default();
            known.policies.insert(policy.unwrap_or_default());
            if granted {
                known.granted += 1;
            } else {
                known.asked += 1;
            }
        }
    }

    fn is_wished(&self, uid: &str) -> bool {
        self.wishes.contains_key(uid)
    }

    /// Somebody asked for it for sure, and everybody who did wanted this. `default`: what the kind does unless told otherwise.
    fn is_wished_as(&self, uid: &str, policy: &str, default: &str) -> bool {
        let named = |wish: &String| if wish.is_empty() { default == policy } else { wish == policy };
        let wishes = self.wishes.get(uid).filter(|wishes| wishes.asked == wishes.granted);
        wishes.is_some_and(|wishes| wishes.policies.iter().all(named))
    }

    /// Whoever says it by name overrides what was asked for before (J-2002).
    fn may_be_overridden(&self, uid: &str, policies: [&str; 2]) -> bool {
        self.wishes.get(uid).is_some_and(|wishes| policies.iter().any(|policy| wishes.policies.contains(*policy)))
    }

    fn orphans(&self, uid: &str, job: &Job) -> bool {
        job.orphans && !self.may_be_overridden(uid, ["Background", "Foreground"])
    }

    fn waits(&self, uid: &str, job: &Job) -> bool {
        job.waits && !self.may_be_overridden(uid, ["Background", "Orphan"])
    }
}

impl Checker {
    /// After everything else of a look was taken in.
    pub(super) fn check_departures(&mut self, leaving: &Leaving, before: &Before) -> anyhow::Result<()> {
        for (uid, job) in &leaving.gone_jobs {
            let orphans = self.departures.orphans(uid, job)
                || self.departures.is_wished_as(uid, "Orphan", "Orphan") && job.cron.is_none();
            self.departures.gone.insert(uid.clone(), orphans && !self.leaves(&job.namespace, before));
            self.check_gone_job(uid, job, before)?;
        }
        for uid in &leaving.gone_crons {
            let orphans = self.departures.is_wished_as(uid, "Orphan", "Background");
            self.departures.gone.insert(uid.clone(), orphans);
        }
        for pod in &leaving.pods {
            self.check_pod_leaves(pod, before)?;
        }
        for (uid, job) in &leaving.jobs {
            self.check_job_leaves(uid, job, before)?;
        }
        for (uid, cron) in &leaving.crons {
            let asked = self.departures.is_wished(uid) || self.leaves(&cron.namespace, before);
            ensure!(asked, "cron job {} is deleted, and nobody asked for that", cron.name);
        }
        Ok(())
    }

    fn leaves(&self, namespace: &str, before: &Before) -> bool {
        self.leaving.contains(namespace) || before.namespaces.contains(namespace)
    }

    /// J-2004, J-2005: what becomes of the pods is done before the job is gone.
    fn check_gone_job(&self, uid: &str, job: &Job, before: &Before) -> anyhow::Result<()> {
        let name = &job.name;
        let owned: Vec<&str> =
            self.pods.values().filter(|pod| pod.job.as_deref() == Some(uid)).map(|pod| pod.name.as_str()).collect();
        let is_alone = job.cron.is_none() && !self.leaves(&job.namespace, before);
        let orphan =
            self.departures.orphans(uid, job) || is_alone && self.departures.is_wished_as(uid, "Orphan", "Orphan");
        ensure!(
            owned.is_empty() || !orphan,
            "J-2005: job {name} went and was to orphan its pods, and {owned:?} still name it as their owner"
        );
        // Whom nobody asked to go went by its time to live, which is in the foreground (J-1902).
        let by_ttl = is_alone && !self.departures.is_wished(uid);
        let foreground = self.departures.waits(uid, job)
            || by_ttl
            || is_alone && self.departures.is_wished_as(uid, "Foreground", "Orphan");
        ensure!(owned.is_empty() || !foreground, "J-2004: job {name} went in the foreground before its {owned:?}");
        Ok(())
    }

    fn check_pod_leaves(&self, pod: &Pod, before: &Before) -> anyhow::Result<()> {
        if self.departures.is_wished(&pod.uid) || self.leaves(&pod.namespace, before) {
            return Ok(());
        }
        let Some(uid) = &pod.job else { bail!("pod {} is deleted, and nobody asked for that", pod.name) };
        if let Some(orphaned) = self.departures.gone.get(uid) {
            ensure!(!orphaned, "J-2005: pod {} is deleted, although its job was to leave it behind", pod.name);
            return Ok(());
        }
        let Some(job) = self.jobs.get(uid) else { bail!("pod {} is deleted, and has no job", pod.name) };
        // J-840, J-846, J-848; pods that are in excess only after an edit or an adoption.
        let by_job = job.ends() || job.suspended || job.edited || job.relabelled;
        let by_owner = job.deleting && job.waits;
        ensure!(
            by_job || by_owner,
            "pod {} is deleted, and neither anybody nor its job {} has a reason for that",
            pod.name,
            job.name
        );
        Ok(())
    }

    fn check_job_leaves(&self, uid: &str, job: &Job, before: &Before) -> anyhow::Result<()> {
        if self.departures.is_wished(uid) || self.leaves(&job.namespace, before) || self.has_expired(job) {
            return Ok(());
        }
        let name = &job.name;
        let Some(owner) = &job.cron else { bail!("job {name} is deleted, and nobody asked for that") };
        if let Some(orphaned) = self.departures.gone.get(owner) {
            ensure!(!orphaned, "C-1301: job {name} is deleted, although its cron job was to leave it behind");
            return Ok(());
        }
        let Some(cron) = before.crons.get(owner) else { bail!("job {name} is deleted, and has no cron job") };
        if cron.deleting {
            return Ok(());
        }
        match job.terminal() {
            None => {
                // That the new job is refused is no reason to keep the old one.
                let still_lists = self.crons.get(owner).is_some_and(|after| after.active.contains(uid));
                let is_replaced = cron.policy == "Replace" && cron.active.contains(uid) && !still_lists;
                ensure!(is_replaced, "C-804: job {name} is deleted, and its cron job does not replace it");
            }
            Some(end) => self.check_history((uid, job), end, owner, cron, before)?,
        }
        Ok(())
    }

    /// J-1901.
    fn has_expired(&self, job: &Job) -> bool {
        let (Some(at), Some(ttl)) = (job.finished_at, job.ttl) else { return false };
        let ttl = SignedDuration::try_from(std::time::Duration::from_secs(ttl)).unwrap_or(SignedDuration::MAX);
        self.clock_jumps || self.wall.duration_since(at) >= ttl
    }

    /// C-1101: the oldest go, and no more than are too many.
    fn check_history(
        &self,
        (uid, job): (&str, &Job),
        end: &str,
        owner: &str,
        cron: &Cron,
        before: &Before,
    ) -> anyhow::Result<()> {
        let Job { name, .. } = job;
        let place = usize::from(end == "Failed");
        let of = |jobs: &Jobs| -> BTreeMap<String, Job> {
            let is_kept =
                |other: &Job| other.cron.as_deref() == Some(owner) && !other.deleting && other.terminal() == Some(end);
            jobs.iter().filter(|(_, other)| is_kept(other)).map(|(uid, other)| (uid.clone(), other.clone())).collect()
        };
        let kept = of(&self.jobs);
        let all: BTreeSet<String> = of(&before.jobs).into_keys().chain(kept.keys().cloned()).collect();
        let count = all.len() + usize::from(!all.contains(uid));
        let limit = cron.limits[place].and_then(|limit| usize::try_from(limit).ok());
        ensure!(
            limit.is_some_and(|limit| count > limit),
            "C-1101: job {name} is deleted, and its cron job has {count} {end} jobs of {limit:?}"
        );
        let age = |job: &Job| (job.start_time().is_none(), job.start_time().map(str::to_owned), job.name.clone());
        let older: Vec<String> = kept.into_values().filter(|kept| age(kept) < age(job)).map(|kept| kept.name).collect();
        ensure!(older.is_empty(), "C-1101: job {name} is deleted before the older {older:?}");
        Ok(())
    }

    /// When every loop rests: who has lost its owner is going.
    pub(super) fn check_owners_at_rest(&self) -> anyhow::Result<()> {
        for pod in self.pods.values().filter(|pod| !pod.deleting) {
            let Some(uid) = &pod.job else { continue };
            ensure!(self.jobs.contains_key(uid), "R-5: the job of pod {} is gone, and it stays", pod.name);
        }
        for job in self.jobs.values().filter(|job| !job.deleting) {
            let Some(uid) = &job.cron else { continue };
            ensure!(self.crons.contains_key(uid), "R-5: the cron job of job {} is gone, and it stays", job.name);
        }
        Ok(())
    }
}
