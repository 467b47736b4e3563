//! What must hold after every step, whatever went wrong: judged from the store's own history and from the truth about every
//! container. Knows nothing of how the controllers decide; where it counts, it counts anew.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use anyhow::{anyhow, bail, ensure};
use jobd::{
    engine::ContainerStatus,
    store::{Change, ChangeType, Revision, Store},
};
use jobd_api::{object::Object, registry::Kind};
use serde_json::Value;

use super::machine::Machine;

const TRACKING: &str = "batch.kubernetes.io/job-tracking";
const INDEX: &str = "batch.kubernetes.io/job-completion-index";
/// How long a container may run that no pod accounts for, once nothing goes wrong any more (I-4).
const ORPHAN_MAX: Duration = Duration::from_secs(60);

/// A pod as last seen.
#[derive(Clone, Debug)]
struct Pod {
    name: String,
    job: Option<String>,
    index: Option<i64>,
    phase: String,
    tracking: bool,
    deleting: bool,
}

impl Pod {
    fn is_over(&self) -> bool {
        self.phase == "Succeeded" || self.phase == "Failed"
    }

    /// J-820.
    fn is_active(&self) -> bool {
        !self.is_over() && !self.deleting
    }

    /// Being deleted, and its end not yet known.
    fn is_terminating(&self) -> bool {
        !self.is_over() && self.deleting
    }
}

/// A job as last seen, and what was counted for it by its pods.
#[derive(Clone, Debug, Default)]
struct Job {
    name: String,
    deleting: bool,
    suspended: bool,
    indexed: bool,
    parallelism: i64,
    completions: Option<i64>,
    /// A replacement comes only when the pod before has failed.
    failed_only: bool,
    has_policy: bool,
    conditions: BTreeSet<String>,
    status: Status,
    /// Its completions were edited, so that indexes went with the edit (J-1603).
    elastic: bool,
    counted_succeeded: i64,
    counted_failed: i64,
    /// At most so many, where a policy may have ignored some.
    counted_failed_max: i64,
    succeeded_indexes: BTreeSet<i64>,
}

#[derive(Clone, Debug, Default)]
struct Status {
    succeeded: i64,
    failed: i64,
    active: i64,
    terminating: i64,
    completed_indexes: String,
}

impl Job {
    fn terminal(&self) -> Option<&str> {
        ["Complete", "Failed"].into_iter().find(|one| self.conditions.contains(*one))
    }

    fn is_index(&self, index: Option<i64>) -> bool {
        !self.indexed || index.is_some_and(|index| self.completions.is_none_or(|completions| index < completions))
    }
}

/// A pod's tracking finalizer went.
struct Counted {
    pod: Pod,
    /// It was being deleted before.
    was_deleting: bool,
}

/// Follows the store's history.
pub struct Checker {
    seen: Revision,
    jobs: BTreeMap<String, Job>,
    pods: BTreeMap<String, Pod>,
    /// The evidence of an exit can be destroyed in this run.
    unknown_allowed: bool,
    /// Containers that run without a pod, since when.
    orphans: BTreeMap<String, Duration>,
    /// Of everything that was written.
    pub digest: u64,
    pub changes: u64,
    pub unknown: u64,
    pub finished_jobs: u64,
    /// What changed since the last look, for the trace.
    pub told: Vec<String>,
}

impl Checker {
    #[must_use]
    pub fn new(unknown_allowed: bool) -> Self {
        Self {
            seen: Revision(0),
            jobs: BTreeMap::new(),
            pods: BTreeMap::new(),
            unknown_allowed,
            orphans: BTreeMap::new(),
            digest: 0xcbf2_9ce4_8422_2325,
            changes: 0,
            unknown: 0,
            finished_jobs: 0,
            told: Vec::new(),
        }
    }

    /// Looks at everything that was written since the last look: by one step, so mostly by one transaction.
    ///
    /// # Errors
    /// What is broken.
    pub async fn look(&mut self, store: &Store, machine: &Mutex<Machine>) -> anyhow::Result<()> {
        let mut written = Vec::new();
        let mut upto = self.seen;
        while upto < store.latest() {
            let (changes, reached) = store.changes(None, upto, 512).await?;
            written.extend(changes);
            upto = reached;
        }
        self.judge(&written, &mut machine.lock().unwrap_or_else(PoisonError::into_inner))?;
        self.seen = upto;
        Ok(())
    }

    fn judge(&mut self, written: &[Arc<Change>], machine: &mut Machine) -> anyhow::Result<()> {
        if let Some(violation) = machine.take_violations().into_iter().next() {
            bail!(violation);
        }
        let before = self.jobs.clone();
        let mut counted = Vec::new();
        let mut created = BTreeSet::new();
        let mut touched = BTreeSet::new();
        for change in written {
            ensure!(change.revision > self.seen, "I-7: revision {:?} after {:?}", change.revision, self.seen);
            self.seen = change.revision;
            self.digest(change);
            if change.key.kind == Kind::Pod {
                let job = self.pod_changed(change, machine, &mut counted)?;
                if change.change_type == ChangeType::Created {
                    created.extend(job.clone());
                }
                touched.extend(job);
            } else if change.key.kind == Kind::Job {
                touched.extend(self.job_changed(change)?);
            }
        }
        for one in &counted {
            self.count(one, &before);
        }
        for uid in &touched {
            self.check_counters(uid, &before)?;
        }
        for uid in &created {
            self.check_creation(uid)?;
        }
        Ok(())
    }

    /// FNV-1a over what a replay must repeat.
    fn digest(&mut self, change: &Change) {
        self.changes += 1;
        let Change { revision, change_type, key, body, previous: _, index: _ } = change;
        let head = format!("{revision:?}{change_type:?}{key:?}");
        for byte in head.bytes().chain(body.bytes()) {
            self.digest = (self.digest ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3);
        }
    }

    /// Answers the job that controls the pod.
    fn pod_changed(
        &mut self,
        change: &Change,
        machine: &Machine,
        counted: &mut Vec<Counted>,
    ) -> anyhow::Result<Option<String>> {
        let object = Object::parse(&change.body)?;
        let uid = object.uid().to_owned();
        let metadata = object.metadata()?;
        let owner = metadata.owner_references.iter().flatten().find(|owner| owner.controller == Some(true));
        let has_tracking = metadata.finalizers.iter().flatten().any(|one| one == TRACKING);
        let pod = Pod {
            name: object.name().to_owned(),
            job: owner.map(|owner| owner.uid.clone()),
            index: metadata
                .annotations
                .iter()
                .flatten()
                .find(|(key, _)| *key == INDEX)
                .and_then(|(_, i)| i.parse().ok()),
            phase: object.text(&["status", "phase"]).unwrap_or_default().to_owned(),
            tracking: has_tracking && change.change_type != ChangeType::Deleted,
            deleting: metadata.deletion_timestamp.is_some(),
        };
        let before = self.pods.get(&uid).cloned();
        self.told.push(format!(
            "store: pod {} {:?} {}{}{}",
            pod.name,
            change.change_type,
            pod.phase,
            if pod.tracking { " tracking" } else { "" },
            if pod.deleting { " deleting" } else { "" }
        ));
        if let Some(before) = &before {
            ensure!(
                !before.is_over() || before.phase == pod.phase,
                "the phase of pod {} went from {} to {}",
                pod.name,
                before.phase,
                pod.phase
            );
            ensure!(before.tracking || !pod.tracking, "pod {} got its tracking finalizer back", pod.name);
            if before.tracking && !pod.tracking {
                counted.push(Counted { pod: pod.clone(), was_deleting: before.deleting });
            }
        } else {
            ensure!(change.change_type == ChangeType::Created, "pod {} appears as {:?}", pod.name, change.change_type);
        }
        let was_over = before.as_ref().is_some_and(Pod::is_over);
        self.check_exit(&object, &uid, &pod, was_over, machine)?;
        let job = pod.job.clone().or(before.and_then(|before| before.job));
        if change.change_type == ChangeType::Deleted {
            self.pods.remove(&uid);
        } else {
            self.pods.insert(uid, pod);
        }
        Ok(job)
    }

    /// what a pod tells of its containers is what happened to them.
    fn check_exit(
        &mut self,
        object: &Object,
        uid: &str,
        pod: &Pod,
        was_over: bool,
        machine: &Machine,
    ) -> anyhow::Result<()> {
        let status = object.get(&["status", "containerStatuses"]).and_then(|statuses| statuses.get(0));
        let ends = ["state", "lastState"].map(|state| status.and_then(|status| status.get(state)?.get("terminated")));
        for end in ends.into_iter().flatten() {
            let text = |name: &str| end.get(name).and_then(Value::as_str).unwrap_or_default();
            let id = text("containerID").trim_start_matches("docker://");
            if text("reason") == "ContainerStatusUnknown" {
                // So does a container end that never was (J-2512).
                let ran =
                    if id.is_empty() { machine.has_run(uid) } else { machine.truth(id).is_some_and(|t| t.starts > 0) };
                ensure!(
                    self.unknown_allowed || !ran,
                    "R-4: pod {} is unknown although no evidence was destroyed",
                    pod.name
                );
                continue;
            }
            let Some(truth) = machine.truth(id) else { continue };
            if text("reason") == "StartError" {
                ensure!(truth.starts == 0, "R-3: pod {} says StartError, but its command ran", pod.name);
                continue;
            }
            let said = end.get("exitCode").and_then(Value::as_i64);
            ensure!(
                said == truth.exit_code,
                "R-4: pod {} says {said:?} of {id}, but it ended with {:?}",
                pod.name,
                truth.exit_code
            );
        }
        if !pod.is_over() || was_over {
            return Ok(());
        }
        let said = ends[0].and_then(|end| end.get("exitCode")).and_then(Value::as_i64);
        ensure!(pod.phase == "Failed" || said == Some(0), "pod {} succeeded with {said:?}", pod.name);
        if ends[0].is_some_and(|end| end["reason"] == "ContainerStatusUnknown") {
            self.unknown += 1;
        }
        let runs = machine.ours().any(|(_, of, status)| of == uid && status == ContainerStatus::Running);
        ensure!(!runs, "pod {} is {} and its container runs", pod.name, pod.phase);
        if ends.iter().all(Option::is_none) {
            ensure!(!machine.has_run(uid), "R-3: pod {} shows no end of a command that ran", pod.name);
        }
        Ok(())
    }

    /// Answers its uid.
    fn job_changed(&mut self, change: &Change) -> anyhow::Result<Option<String>> {
        let object = Object::parse(&change.body)?;
        let uid = object.uid().to_owned();
        let name = object.name().to_owned();
        if change.change_type == ChangeType::Deleted {
            self.told.push(format!("store: job {name} is gone"));
            self.jobs.remove(&uid);
            return Ok(None);
        }
        let before = self.jobs.get(&uid).cloned();
        let old = before.clone().unwrap_or_default();
        let number = |path: &[&str]| object.get(path).and_then(Value::as_i64);
        let conditions = object.get(&["status", "conditions"]).and_then(Value::as_array).cloned().unwrap_or_default();
        let conditions: BTreeSet<String> = conditions
            .iter()
            .filter(|condition| condition["status"] == "True")
            .filter_map(|condition| condition["type"].as_str().map(str::to_owned))
            .collect();
        let completions = number(&["spec", "completions"]);
        let job = Job {
            name,
            deleting: object.get(&["metadata", "deletionTimestamp"]).is_some(),
            suspended: object.get(&["spec", "suspend"]) == Some(&Value::Bool(true)),
            indexed: object.text(&["spec", "completionMode"]) == Some("Indexed"),
            parallelism: number(&["spec", "parallelism"]).unwrap_or(1),
            completions,
            failed_only: object.text(&["spec", "podReplacementPolicy"]) == Some("Failed"),
            has_policy: object.get(&["spec", "podFailurePolicy"]).is_some(),
            conditions,
            status: Status {
                succeeded: number(&["status", "succeeded"]).unwrap_or_default(),
                failed: number(&["status", "failed"]).unwrap_or_default(),
                active: number(&["status", "active"]).unwrap_or_default(),
                terminating: number(&["status", "terminating"]).unwrap_or_default(),
                completed_indexes: object.text(&["status", "completedIndexes"]).unwrap_or_default().to_owned(),
            },
            elastic: old.elastic || (before.is_some() && completions != old.completions),
            ..old.clone()
        };
        self.told.push(format!(
            "store: job {} active {} terminating {} succeeded {} failed {} {:?}",
            job.name,
            job.status.active,
            job.status.terminating,
            job.status.succeeded,
            job.status.failed,
            job.conditions
        ));
        // I-6.
        let ended = |one: &&str| job.conditions.contains(*one);
        ensure!(
            ["Complete", "Failed"].iter().filter(|one| ended(one)).count() <= 1,
            "I-6: job {} has two terminal conditions",
            job.name
        );
        if let Some(terminal) = old.terminal() {
            ensure!(job.terminal() == Some(terminal), "I-6: job {} is no longer {terminal}", job.name);
        }
        ensure!(
            !(job.conditions.contains("Failed") && job.conditions.contains("SuccessCriteriaMet")),
            "job {} failed although it met its criteria of success",
            job.name
        );
        ensure!(job.status.failed >= old.status.failed, "`failed` of job {} decreased", job.name);
        ensure!(
            job.elastic || job.status.succeeded >= old.status.succeeded,
            "`succeeded` of job {} decreased",
            job.name
        );
        if job.terminal().is_some() && old.terminal().is_none() {
            self.finished_jobs += 1;
            let left = self.pods.values().filter(|pod| pod.job.as_ref() == Some(&uid) && !pod.is_over());
            let left: Vec<_> = left.filter(|pod| pod.is_active()).map(|pod| pod.name.clone()).collect();
            ensure!(left.is_empty(), "job {} is over, but {left:?} are active", job.name);
        }
        self.jobs.insert(uid.clone(), job);
        Ok(Some(uid))
    }

    /// I-3: what the going of this pod's finalizer meant for its job, by sections 8.5 and 8.7 of the job rules.
    fn count(&mut self, one: &Counted, before: &BTreeMap<String, Job>) {
        let Counted { pod, was_deleting } = one;
        let Some(uid) = &pod.job else { return };
        let Some(job) = self.jobs.get_mut(uid) else { return };
        // Nobody counts for a job that is over (J-2009).
        if before.get(uid).is_some_and(|job| job.terminal().is_some()) || !job.is_index(pod.index) {
            return;
        }
        let fails = job.conditions.contains("FailureTarget");
        let failed = match pod.phase.as_str() {
            "Succeeded" => {
                job.counted_succeeded += 1;
                job.succeeded_indexes.extend(pod.index);
                false
            }
            "Failed" => true,
            // J-1402: deleted by somebody else, it has failed; by the job, it counts only if the job fails (J-850, J-872).
            _ if *was_deleting && !job.failed_only => true,
            _ => fails,
        };
        if failed {
            job.counted_failed_max += 1;
            job.counted_failed += i64::from(!job.has_policy);
        }
    }

    fn check_counters(&mut self, uid: &str, before: &BTreeMap<String, Job>) -> anyhow::Result<()> {
        let Some(job) = self.jobs.get_mut(uid) else { return Ok(()) };
        let Job { name, status, .. } = &*job;
        if before.get(uid).is_some_and(|job| job.terminal().is_some()) {
            return Ok(());
        }
        ensure!(
            (job.counted_failed..=job.counted_failed_max).contains(&status.failed),
            "I-3: job {name} says {} failed, its pods say {} to {}",
            status.failed,
            job.counted_failed,
            job.counted_failed_max
        );
        if !job.indexed {
            ensure!(
                status.succeeded == job.counted_succeeded,
                "I-3: job {name} says {} succeeded, its pods say {}",
                status.succeeded,
                job.counted_succeeded
            );
            return Ok(());
        }
        let completed = read_indexes(&status.completed_indexes)?;
        let length = i64::try_from(completed.len())?;
        ensure!(
            status.succeeded == length,
            "job {name} says {} succeeded, its list has {length}: {}",
            status.succeeded,
            status.completed_indexes
        );
        if let Some(stranger) = completed.iter().find(|index| !job.succeeded_indexes.contains(index)) {
            bail!("I-3: index {stranger} of job {name} is complete, but no pod of it succeeded");
        }
        if !job.elastic
            && let Some(missing) = job.succeeded_indexes.iter().find(|index| !completed.contains(index))
        {
            bail!("I-3: index {missing} of job {name} succeeded, but is not complete");
        }
        Ok(())
    }

    /// A job that has just got a pod: it may have one.
    fn check_creation(&self, uid: &str) -> anyhow::Result<()> {
        let job = self.jobs.get(uid).ok_or_else(|| anyhow!("a pod was created for a job that is not there"))?;
        let name = &job.name;
        ensure!(!job.suspended, "job {name} is suspended and creates pods");
        ensure!(!job.deleting, "job {name} is being deleted and creates pods");
        ensure!(
            !["Complete", "Failed", "SuccessCriteriaMet", "FailureTarget"]
                .iter()
                .any(|one| job.conditions.contains(*one)),
            "job {name} ends and creates pods"
        );
        let pods = || self.pods.values().filter(|pod| pod.job.as_deref() == Some(uid));
        let active = i64::try_from(pods().filter(|pod| pod.is_active()).count())?;
        let terminating = i64::try_from(pods().filter(|pod| pod.is_terminating()).count())?;
        let held = if job.failed_only { terminating } else { 0 };
        ensure!(
            active + held <= job.parallelism,
            "job {name} has {active} active pods and {held} that hold their place; parallelism is {}",
            job.parallelism
        );
        if let Some(completions) = job.completions {
            ensure!(
                active + job.status.succeeded <= completions,
                "job {name} has {active} active pods, {} succeeded, and wants {completions}",
                job.status.succeeded
            );
        }
        if job.indexed {
            let mut indexes = BTreeSet::new();
            let completed = read_indexes(&job.status.completed_indexes)?;
            for pod in pods().filter(|pod| pod.is_active()) {
                let index = pod.index.ok_or_else(|| anyhow!("pod {} has no index", pod.name))?;
                ensure!(indexes.insert(index), "two active pods of job {name} have index {index}");
                ensure!(!completed.contains(&index), "index {index} of job {name} is complete and runs again");
                ensure!(job.is_index(Some(index)), "job {name} has no index {index}");
            }
        }
        Ok(())
    }

    /// When every loop rests, what a job says of its pods is what they are (J-1001).
    ///
    /// # Errors
    /// What is broken.
    pub fn check_rest(&self) -> anyhow::Result<()> {
        for (uid, job) in &self.jobs {
            if job.terminal().is_some() {
                continue;
            }
            let pods = || self.pods.values().filter(|pod| pod.job.as_ref() == Some(uid));
            let active = i64::try_from(pods().filter(|pod| pod.is_active()).count())?;
            ensure!(
                job.status.active == active,
                "job {} says that {} pods are active, and {active} are",
                job.name,
                job.status.active
            );
            let uncounted = pods().find(|pod| pod.tracking && pod.phase == "Succeeded");
            if let Some(pod) = uncounted {
                bail!("job {} rests, but {} is not counted", job.name, pod.name);
            }
        }
        Ok(())
    }

    /// I-4, once nothing goes wrong any more: nothing runs for long that no pod accounts for.
    ///
    /// # Errors
    /// What is broken.
    pub fn check_orphans(&mut self, machine: &Machine, now: Duration) -> anyhow::Result<()> {
        let mut running = BTreeSet::new();
        for (id, uid, status) in machine.ours() {
            let accounted = self.pods.get(uid).is_some_and(|pod| !pod.is_over());
            if status == ContainerStatus::Running && !accounted {
                running.insert(id.to_owned());
            }
        }
        self.orphans.retain(|id, _| running.contains(id));
        for id in running {
            let since = *self.orphans.entry(id.clone()).or_insert(now);
            ensure!(now < since + ORPHAN_MAX, "I-4: container {id} runs since {since:?} and belongs to no live pod");
        }
        Ok(())
    }

    /// There are no jobs and no pods.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.jobs.is_empty() && self.pods.is_empty()
    }

    #[must_use]
    pub fn is_deleting(&self) -> bool {
        self.jobs.values().any(|job| job.deleting) || self.pods.values().any(|pod| pod.deleting)
    }

    /// Names of the jobs that are not over.
    #[must_use]
    pub fn unfinished_jobs(&self) -> Vec<String> {
        self.jobs.values().filter(|job| job.terminal().is_none()).map(|job| job.name.clone()).collect()
    }

    /// Names of the pods that are not over.
    #[must_use]
    pub fn unfinished_pods(&self) -> Vec<String> {
        self.pods.values().filter(|pod| !pod.is_over() || pod.deleting).map(|pod| pod.name.clone()).collect()
    }
}

fn read_indexes(text: &str) -> anyhow::Result<BTreeSet<i64>> {
    let mut indexes = BTreeSet::new();
    for part in text.split(',').filter(|part| !part.is_empty()) {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        indexes.extend(first.parse::<i64>()?..=last.parse::<i64>()?);
    }
    Ok(indexes)
}
