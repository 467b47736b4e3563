//! What must hold of jobs: counters, conditions, limits, and how many pods they may have (sections 8 to 19 of the job rules).

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use anyhow::{anyhow, bail, ensure};
use jiff::Timestamp;
use jobd::store::{Change, ChangeType};
use jobd_api::object::Object;
use serde_json::Value;

use super::{
    super::machine::Machine,
    Checker,
    departures::Leaving,
    pods::{Counted, Pod},
    policy,
};

mod ends;

use ends::{check_failed_indexes, check_policies, check_success, check_suspension, delay};

/// What a deadline may be late by: the loops rest only now and then.
const SLACK: Duration = Duration::from_secs(2);
/// Times on the wire are whole seconds.
const SECOND: Duration = Duration::from_secs(1);

/// A job as last seen, and what was counted for it by its pods.
#[derive(Clone, Debug, Default)]
pub(super) struct Job {
    pub namespace: String,
    pub name: String,
    /// The cron job that made it.
    pub cron: Option<String>,
    pub deleting: bool,
    /// It is being deleted, and its pods are to go first (J-2004).
    pub waits: bool,
    /// It is being deleted, and its pods are to live on (J-2005).
    pub orphans: bool,
    pub suspended: bool,
    /// J-1801: somebody else's.
    pub foreign: bool,
    indexed: bool,
    parallelism: i64,
    completions: Option<i64>,
    backoff_limit: i64,
    limit_per_index: Option<i64>,
    max_failed_indexes: Option<i64>,
    deadline: Option<u64>,
    pub ttl: Option<u64>,
    restarts_in_place: bool,
    /// A replacement comes only when the pod before has failed.
    failed_only: bool,
    /// Rules of its pod failure policy, if it has one.
    policy: Option<Vec<Value>>,
    success_policy: Option<Vec<Value>>,
    conditions: BTreeSet<String>,
    /// It has been suspended, whether it still is or not.
    says_suspended: Option<bool>,
    status: Status,
    /// Parallelism or completions were edited, so that pods may be in excess.
    pub edited: bool,
    /// It was suspended once: pods went uncounted, and with them what their annotations knew.
    was_suspended: bool,
    /// Its completions were edited, so that indexes went with the edit (J-1603).
    elastic: bool,
    /// Pods of it were taken away or given back, so that what was counted cannot be told from what is there.
    pub relabelled: bool,
    counted_succeeded: i64,
    counted_failed: i64,
    succeeded_indexes: BTreeSet<i64>,
    /// Uids of the pods that failed (J-821) and are the job's since then.
    failed_pods: BTreeSet<String>,
    /// How many failed and were taken away afterwards. One that is adopted again takes part in everything again, failures included
    /// (J-2104): its finalizer comes back (J-2101), and who carries it is to be counted (J-824).
    failed_before: i64,
    /// When those ended that failed since the last success (J-860), and how the last success; none: it is not known for sure.
    backoff: Option<(Vec<Duration>, Duration)>,
    /// Of each pod that it ever had.
    restarts: BTreeMap<String, i64>,
    /// By index: failures that were counted, and such that were ignored.
    failures: BTreeMap<i64, (i64, i64)>,
    /// Indexes that a policy failed.
    fail_index: BTreeSet<i64>,
    /// A pod failed by which a policy fails the job.
    fail_job: bool,
    /// `status.startTime`, and when it was first seen.
    started: Option<(String, Duration)>,
    finished: Option<Duration>,
    /// When the terminal condition came, as it says.
    pub finished_at: Option<Timestamp>,
    pub completed_at: Option<Timestamp>,
}

#[derive(Clone, Debug, Default)]
struct Status {
    succeeded: i64,
    failed: i64,
    active: i64,
    ready: i64,
    terminating: i64,
    completed_indexes: String,
    failed_indexes: String,
}

impl Job {
    pub fn terminal(&self) -> Option<&str> {
        ["Complete", "Failed"].into_iter().find(|one| self.conditions.contains(*one))
    }

    /// `status.startTime`
    pub fn start_time(&self) -> Option<&str> {
        self.started.as_ref().map(|(start, _)| start.as_str())
    }

    pub fn ends(&self) -> bool {
        self.terminal().is_some()
            || ["SuccessCriteriaMet", "FailureTarget"].iter().any(|one| self.conditions.contains(*one))
    }

    fn is_index(&self, index: Option<i64>) -> bool {
        !self.indexed || index.is_some_and(|index| self.completions.is_none_or(|completions| index < completions))
    }

    /// J-821.
    fn takes_for_failed(&self, pod: &Pod) -> bool {
        pod.phase == "Failed" || (!self.failed_only && pod.deleting && pod.phase != "Succeeded")
    }

    /// What is compared with the limit (J-824), where no policy ignores failures.
    fn failures(&self) -> anyhow::Result<i64> {
        Ok(self.failed_before + i64::try_from(self.failed_pods.len())?)
    }

    fn deadline_at(&self) -> Option<Duration> {
        let (_, started) = self.started.as_ref().filter(|_| !self.suspended)?;
        Some(*started + Duration::from_secs(self.deadline?))
    }
}

impl Checker {
    /// Answers its uid.
    pub(super) fn job_changed(&mut self, change: &Change, leaving: &mut Leaving) -> anyhow::Result<Option<String>> {
        let object = Object::parse(&change.body)?;
        let uid = object.uid().to_owned();
        let name = object.name().to_owned();
        if change.change_type == ChangeType::Deleted {
            self.told.push(format!("store: job {name} is gone"));
            if let Some(job) = self.jobs.remove(&uid) {
                if !job.deleting {
                    leaving.jobs.push((uid.clone(), job.clone()));
                }
                leaving.gone_jobs.push((uid, job));
            }
            return Ok(None);
        }
        let old = self.jobs.get(&uid).cloned();
        let job = self.read_job(&object, name, old.as_ref());
        let reason = reason_of(&object, "FailureTarget");
        self.told.push(format!(
            "store: job {} active {} terminating {} succeeded {} failed {} {:?}",
            job.name,
            job.status.active,
            job.status.terminating,
            job.status.succeeded,
            job.status.failed,
            job.conditions
        ));
        let old = old.unwrap_or_default();
        if job.deleting && !old.deleting {
            leaving.jobs.push((uid.clone(), job.clone()));
        }
        check_conditions(&job, &old)?;
        if job.conditions.contains("SuccessCriteriaMet") && !old.conditions.contains("SuccessCriteriaMet") {
            check_success(&job, &reason_of(&object, "SuccessCriteriaMet"))?;
        }
        if job.conditions.contains("FailureTarget") && !old.conditions.contains("FailureTarget") {
            self.check_failure(&job, &reason)?;
        }
        if job.terminal().is_some() && old.terminal().is_none() {
            self.finished_jobs += 1;
            check_completion(&job)?;
            // J-881
            let left = self.pods.values().filter(|pod| pod.job.as_ref() == Some(&uid) && !pod.is_over());
            let left: Vec<_> = left.map(|pod| pod.name.clone()).collect();
            ensure!(left.is_empty(), "job {} is over, but {left:?} are not", job.name);
        }
        self.jobs.insert(uid.clone(), job);
        Ok(Some(uid))
    }

    fn read_job(&self, object: &Object, name: String, before: Option<&Job>) -> Job {
        let old = before.cloned().unwrap_or_default();
        let number = |path: &[&str]| object.get(path).and_then(Value::as_i64);
        let seconds = |path: &[&str]| object.get(path).and_then(Value::as_u64);
        let text = |path: &[&str]| object.text(path).unwrap_or_default().to_owned();
        let completions = number(&["spec", "completions"]);
        let start = text(&["status", "startTime"]);
        let started = match &old.started {
            Some((known, at)) if *known == start => Some((start, *at)),
            Some(_) | None => (!start.is_empty()).then_some((start, self.passed)),
        };
        let conditions = conditions(object);
        let is_over = conditions.contains("Complete") || conditions.contains("Failed");
        let manager = text(&["spec", "managedBy"]);
        let parallelism = number(&["spec", "parallelism"]).unwrap_or(1);
        let deleting = object.get(&["metadata", "deletionTimestamp"]).is_some();
        let finalizers = object.get(&["metadata", "finalizers"]).and_then(Value::as_array).cloned().unwrap_or_default();
        let suspended = object.get(&["spec", "suspend"]) == Some(&Value::Bool(true));
        let rules = |policy: &str| object.get(&["spec", policy, "rules"]).and_then(Value::as_array).cloned();
        let time = |text: Option<&str>| text.and_then(|text| text.parse::<Timestamp>().ok());
        Job {
            namespace: object.namespace().to_owned(),
            cron: cron_of(object),
            name,
            deleting,
            waits: deleting && finalizers.contains(&"foregroundDeletion".into()),
            orphans: deleting && finalizers.contains(&"orphan".into()),
            suspended,
            was_suspended: old.was_suspended || suspended,
            edited: old.edited
                || before.is_some() && (completions != old.completions || parallelism != old.parallelism),
            finished_at: old.finished_at.or(time(transition(object, &["Complete", "Failed"]))),
            completed_at: time(object.text(&["status", "completionTime"])),
            says_suspended: state_of(object, "Suspended"),
            foreign: !manager.is_empty() && manager != "kubernetes.io/job-controller",
            indexed: object.text(&["spec", "completionMode"]) == Some("Indexed"),
            parallelism,
            completions,
            backoff_limit: number(&["spec", "backoffLimit"]).unwrap_or(6),
            limit_per_index: number(&["spec", "backoffLimitPerIndex"]),
            max_failed_indexes: number(&["spec", "maxFailedIndexes"]),
            deadline: seconds(&["spec", "activeDeadlineSeconds"]),
            ttl: seconds(&["spec", "ttlSecondsAfterFinished"]),
            restarts_in_place: object.text(&["spec", "template", "spec", "restartPolicy"]) == Some("OnFailure"),
            failed_only: object.text(&["spec", "podReplacementPolicy"]) == Some("Failed")
                || object.get(&["spec", "podFailurePolicy"]).is_some(),
            policy: rules("podFailurePolicy"),
            success_policy: rules("successPolicy"),
            status: Status {
                succeeded: number(&["status", "succeeded"]).unwrap_or_default(),
                failed: number(&["status", "failed"]).unwrap_or_default(),
                active: number(&["status", "active"]).unwrap_or_default(),
                ready: number(&["status", "ready"]).unwrap_or_default(),
                terminating: number(&["status", "terminating"]).unwrap_or_default(),
                completed_indexes: text(&["status", "completedIndexes"]),
                failed_indexes: text(&["status", "failedIndexes"]),
            },
            elastic: old.elastic || (before.is_some() && completions != old.completions),
            started,
            backoff: if before.is_none() { Some((Vec::new(), Duration::ZERO)) } else { old.backoff.clone() },
            finished: old.finished.or(is_over.then_some(self.passed)),
            conditions,
            ..old
        }
    }

    /// J-832 to J-836: a job fails for a reason that is true.
    fn check_failure(&self, job: &Job, reason: &str) -> anyhow::Result<()> {
        let Job { name, .. } = job;
        let failed = job.failures()?;
        match reason {
            "BackoffLimitExceeded" => {
                let restarts: i64 = job.restarts.values().sum();
                let in_place = job.restarts_in_place && restarts >= job.backoff_limit.max(1);
                ensure!(
                    failed > job.backoff_limit || in_place || job.relabelled,
                    "J-833: job {name} fails by its limit of {}, but {failed} of its pods failed, with {restarts} restarts",
                    job.backoff_limit
                );
            }
            "DeadlineExceeded" => {
                let at = job.deadline_at().ok_or_else(|| anyhow!("job {name} fails by a deadline that it has not"))?;
                // Wire timestamps have no fractions (J-1702); jumps are another matter.
                ensure!(
                    self.clock_jumps || self.passed + Duration::from_secs(1) >= at,
                    "J-834: job {name} fails by its deadline at {:?}, which is at {at:?}",
                    self.passed
                );
            }
            "PodFailurePolicy" => ensure!(job.fail_job, "J-832: job {name} fails by its policy, which no pod matches"),
            "MaxFailedIndexesExceeded" => {
                let count = i64::try_from(read_indexes(&job.status.failed_indexes)?.len())?;
                ensure!(
                    job.max_failed_indexes.is_some_and(|most| count > most),
                    "J-835: job {name} fails by {count} failed indexes"
                );
            }
            "FailedIndexes" => {
                let count = i64::try_from(read_indexes(&job.status.failed_indexes)?.len())?;
                let ended = count + job.status.succeeded;
                ensure!(
                    count > 0 && job.completions.is_some_and(|all| ended >= all),
                    "J-836: job {name} fails, but only {ended} of its indexes ended"
                );
            }
            other => bail!("job {name} fails for no reason of the rules: {other}"),
        }
        Ok(())
    }

    /// A pod was written: what it means for the job that controls it.
    pub(super) fn note_pod(&mut self, uid: &str, job: &str, machine: &Machine) {
        let Some(pod) = self.pods.get(uid) else { return };
        let Some(job) = self.jobs.get_mut(job) else { return };
        job.restarts.insert(uid.to_owned(), pod.restarts);
        let end = machine.truths.last_end(uid).filter(|_| pod.is_over() && !pod.is_unknown && pod.has_ended);
        // What the job removes loses its finalizer before and is no failure (J-850).
        if pod.job.is_some() && pod.tracking && job.takes_for_failed(pod) && job.failed_pods.insert(uid.to_owned()) {
            job.backoff = match (job.backoff.take(), end.filter(|_| pod.phase == "Failed")) {
                (Some((mut ends, since)), Some(end)) => {
                    // One that ended no later than the success may count or not.
                    ends.extend(Some(end).filter(|end| *end > since + SECOND));
                    Some((ends, since))
                }
                (_, _) => None,
            };
        }
        if pod.phase == "Succeeded" && pod.tracking {
            job.backoff = end.map(|end| (Vec::new(), end));
        }
        if pod.phase == "Failed" && pod.tracking {
            job.fail_job |= job.policy.as_deref().and_then(|rules| policy::judge(rules, pod)) == Some("FailJob");
        }
    }

    /// The pod changed hands.
    pub(super) fn note_relabelled(&mut self, uid: &str, job: &str) {
        if let Some(job) = self.jobs.get_mut(job) {
            job.relabelled = true;
            job.failed_before += i64::from(job.failed_pods.remove(uid));
        }
    }

    /// I-3: what the going of this pod's finalizer meant for its job, by sections 8.5 and 8.7 of the job rules.
    pub(super) fn count(&mut self, one: &Counted, before: &BTreeMap<String, Job>) {
        let Counted { pod, was_deleting } = one;
        let Some(uid) = &pod.job else { return };
        let Some(job) = self.jobs.get_mut(uid) else { return };
        // Nobody counts for a job that is over (J-2009).
        if before.get(uid).is_some_and(|job| job.terminal().is_some()) || !job.is_index(pod.index) {
            return;
        }
        let fails = job.conditions.contains("FailureTarget");
        let matched = job.policy.as_deref().and_then(|rules| policy::judge(rules, pod)).unwrap_or_default().to_owned();
        if let Some(index) = pod.index.filter(|_| pod.phase == "Failed" || *was_deleting && !job.failed_only)
            && pod.phase != "Succeeded"
        {
            let failures = job.failures.entry(index).or_default();
            if matched == "Ignore" {
                failures.1 += 1
            } else {
                failures.0 += 1
            }
            if matched == "FailIndex" {
                job.fail_index.insert(index);
            }
        }
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
        // J-871
        job.counted_failed += i64::from(failed && matched != "Ignore");
    }

    pub(super) fn check_counters(&mut self, uid: &str, before: &BTreeMap<String, Job>) -> anyhow::Result<()> {
        let Some(job) = self.jobs.get_mut(uid) else { return Ok(()) };
        let Job { name, status, .. } = &*job;
        if job.relabelled || before.get(uid).is_some_and(|job| job.terminal().is_some()) {
            return Ok(());
        }
        ensure!(
            job.counted_failed == status.failed,
            "I-3: job {name} says {} failed, its pods say {}",
            status.failed,
            job.counted_failed
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
        check_failed_indexes(job, &completed)
    }

    /// A job that has just got a pod: it may have one.
    pub(super) fn check_creation(&self, uid: &str) -> anyhow::Result<()> {
        let job = self.jobs.get(uid).ok_or_else(|| anyhow!("a pod was created for a job that is not there"))?;
        let name = &job.name;
        ensure!(!job.foreign, "J-1801: job {name} is somebody else's and got a pod");
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
                // What went uncounted took its annotations with it (J-1304).
                if let Some(limit) =
                    job.limit_per_index.filter(|_| !job.relabelled && !job.was_suspended && !job.edited)
                {
                    let (counted, ignored) = job.failures.get(&index).copied().unwrap_or_default();
                    ensure!(
                        counted <= limit && !job.fail_index.contains(&index),
                        "J-1302: index {index} of job {name} failed {counted} times and runs again"
                    );
                    ensure!(
                        pod.failures == (counted, ignored),
                        "J-1304: pod {} says {:?} of its index, which failed {counted} times and {ignored} ignored",
                        pod.name,
                        pod.failures
                    );
                }
            }
        }
        if job.limit_per_index.is_none() && !job.relabelled {
            let (failed, limit) = (job.counted_failed, job.backoff_limit);
            ensure!(failed <= limit, "J-833: {failed} pods of job {name} failed, and it goes on");
        }
        // J-861; a restart forgets (J-863).
        if let Some((ends, _)) = &job.backoff
            && let Some(last) = ends.iter().max()
            && !self.memory_is_lost
            && job.limit_per_index.is_none()
        {
            let earliest = *last + delay(ends.len()) - SECOND;
            ensure!(
                self.passed >= earliest,
                "J-861: job {name} creates a pod at {:?}, not {earliest:?}, after {} failures",
                self.passed,
                ends.len()
            );
        }
        Ok(())
    }

    /// A pod that was just created waited for the back-off of its index, which outlives a restart (J-1306).
    pub(super) fn check_index_back_off(&self, pod: &Pod, machine: &Machine) -> anyhow::Result<()> {
        let Some(job) = pod.job.as_ref().and_then(|uid| self.jobs.get(uid)) else { return Ok(()) };
        if job.limit_per_index.is_none() || self.clock_jumps || job.relabelled || job.was_suspended || job.edited {
            return Ok(());
        }
        let earlier = self.pods.values().filter(|other| other.job == pod.job && other.index == pod.index);
        let Some(last) = earlier.filter(|other| other.uid != pod.uid).max_by_key(|other| other.failures) else {
            return Ok(());
        };
        let known = last.phase == "Failed" && !last.is_unknown && last.has_ended;
        let Some(end) = machine.truths.last_end(&last.uid).filter(|_| known) else { return Ok(()) };
        let count = usize::try_from(last.failures.0 + last.failures.1 + 1)?;
        let earliest = end + delay(count) - SECOND;
        ensure!(
            self.passed >= earliest,
            "J-1306: pod {} of index {:?} is created at {:?}, not {earliest:?}, after {count} failures",
            pod.name,
            pod.index,
            self.passed
        );
        Ok(())
    }

    /// When every loop rests, what a job says of its pods is what they are (J-1001), and it does what it can.
    pub(super) fn check_jobs_at_rest(&self) -> anyhow::Result<()> {
        for (uid, job) in &self.jobs {
            let Job { name, .. } = job;
            if job.foreign {
                ensure!(job.conditions.is_empty() && job.started.is_none(), "J-1801: job {name} is somebody else's");
                continue;
            }
            if let (Some(finished), Some(ttl)) = (job.finished, job.ttl)
                && !self.clock_jumps
                && !job.deleting
            {
                let due = finished + Duration::from_secs(ttl) + SLACK;
                ensure!(self.passed <= due, "J-1901: job {name} should be gone since {due:?}");
            }
            if job.terminal().is_some() {
                let stuck = self.pods.values().find(|pod| pod.job.as_ref() == Some(uid) && pod.tracking);
                ensure!(
                    stuck.is_none(),
                    "J-2009: job {name} is over, and {:?} waits to be counted",
                    stuck.map(|pod| &pod.name)
                );
                continue;
            }
            let pods = || self.pods.values().filter(|pod| pod.job.as_ref() == Some(uid));
            let active = i64::try_from(pods().filter(|pod| pod.is_active()).count())?;
            ensure!(
                job.status.active == active,
                "job {name} says that {} pods are active, and {active} are",
                job.status.active
            );
            let terminating = i64::try_from(pods().filter(|pod| pod.is_terminating()).count())?;
            let ready = i64::try_from(pods().filter(|pod| pod.is_active() && pod.ready).count())?;
            ensure!(
                job.status.terminating == terminating && job.status.ready == ready,
                "J-1002: job {name} says that {} pods terminate and {} are ready, and {terminating} do and {ready} are",
                job.status.terminating,
                job.status.ready
            );
            let uncounted = pods().find(|pod| pod.tracking && pod.phase == "Succeeded");
            if let Some(pod) = uncounted {
                bail!("job {name} rests, but {} is not counted", pod.name);
            }
            // What ends waits for pods that terminate.
            if job.deleting || job.ends() {
                continue;
            }
            ensure!(
                !job.suspended || active == 0,
                "J-846: job {name} is suspended, and {active} of its pods are active"
            );
            check_suspension(job)?;
            check_policies(job)?;
            self.check_kin(uid, job)?;
            ensure!(active <= job.parallelism, "J-848: job {name} has {active} active pods, more than it may");
            if let Some(at) = job.deadline_at()
                && !self.clock_jumps
            {
                ensure!(self.passed <= at + SLACK, "J-834: job {name} passed its deadline at {at:?} and goes on");
            }
            let failed = job.failures()?;
            ensure!(
                job.policy.is_some() || job.relabelled || failed <= job.backoff_limit,
                "J-833: {failed} pods of job {name} failed, more than its limit of {}, and it goes on",
                job.backoff_limit
            );
            ensure!(
                job.status.failed <= job.backoff_limit,
                "J-833: job {name} counts {} failed pods, more than its limit of {}, and goes on",
                job.status.failed,
                job.backoff_limit
            );
            let enough = job.completions.is_some_and(|completions| job.status.succeeded >= completions);
            ensure!(!enough || active > 0, "J-845: job {name} has what it wants and goes on");
            // Whoever failed may be in back-off, and who terminates may hold a place.
            if failed == 0 && terminating == 0 && !job.suspended && !self.leaving.contains(&job.namespace) {
                let wanted = match job.completions {
                    Some(completions) => job.parallelism.min(completions - job.status.succeeded),
                    None if job.status.succeeded > 0 => active,
                    None => job.parallelism,
                };
                ensure!(active >= wanted, "J-852: job {name} rests with {active} of {wanted} pods");
            }
        }
        Ok(())
    }
}

/// I-6, and what never goes backward.
fn check_conditions(job: &Job, old: &Job) -> anyhow::Result<()> {
    let Job { name, .. } = job;
    let ended = |one: &&str| job.conditions.contains(*one);
    ensure!(
        ["Complete", "Failed"].iter().filter(|one| ended(one)).count() <= 1,
        "I-6: job {name} has two terminal conditions"
    );
    if let Some(terminal) = old.terminal() {
        ensure!(job.terminal() == Some(terminal), "I-6: job {name} is no longer {terminal}");
    }
    ensure!(
        !(job.conditions.contains("Failed") && job.conditions.contains("SuccessCriteriaMet")),
        "job {name} failed although it met its criteria of success"
    );
    ensure!(job.status.failed >= old.status.failed, "`failed` of job {name} decreased");
    ensure!(job.elastic || job.status.succeeded >= old.status.succeeded, "`succeeded` of job {name} decreased");
    // J-880: no job ends without having said so before, or at once.
    let announced =
        |terminal: &str, interim: &str| !job.conditions.contains(terminal) || job.conditions.contains(interim);
    ensure!(announced("Failed", "FailureTarget"), "J-880: job {name} failed without FailureTarget");
    ensure!(announced("Complete", "SuccessCriteriaMet"), "J-880: job {name} is complete without SuccessCriteriaMet");
    Ok(())
}

/// J-837, J-845: a complete job has what it wants.
fn check_completion(job: &Job) -> anyhow::Result<()> {
    let Job { name, status, .. } = job;
    if !job.conditions.contains("Complete") || job.success_policy.is_some() {
        return Ok(());
    }
    let wanted = job.completions.unwrap_or(1);
    ensure!(status.succeeded >= wanted, "J-845: job {name} is complete with {} of {wanted}", status.succeeded);
    Ok(())
}

/// The uid of the cron job that controls the job.
fn cron_of(job: &Object) -> Option<String> {
    let owners = job.get(&["metadata", "ownerReferences"])?.as_array()?;
    let owner = owners.iter().find(|owner| owner["controller"] == true && owner["kind"] == "CronJob")?;
    owner["uid"].as_str().map(str::to_owned)
}

/// Of the conditions that are true.
fn conditions(job: &Object) -> BTreeSet<String> {
    let all = job.get(&["status", "conditions"]).and_then(Value::as_array);
    let set = all.into_iter().flatten().filter(|condition| condition["status"] == "True");
    set.filter_map(|condition| condition["type"].as_str().map(str::to_owned)).collect()
}

/// Why the job fails or succeeds; empty if it does not.
fn reason_of(job: &Object, condition: &str) -> String {
    find(job, condition).and_then(|condition| condition["reason"].as_str()).unwrap_or_default().to_owned()
}

/// Whether a condition is true; none if it is not there.
fn state_of(job: &Object, condition: &str) -> Option<bool> {
    find(job, condition).map(|condition| condition["status"] == "True")
}

/// When the first of these conditions that is there came.
fn transition<'a>(job: &'a Object, conditions: &[&str]) -> Option<&'a str> {
    conditions.iter().find_map(|condition| find(job, condition)?["lastTransitionTime"].as_str())
}

fn find<'a>(job: &'a Object, condition: &str) -> Option<&'a Value> {
    let all = job.get(&["status", "conditions"]).and_then(Value::as_array);
    all.into_iter().flatten().find(|one| one["type"] == condition)
}

/// Jobs by uid.
pub(super) type Jobs = BTreeMap<String, Job>;

fn read_indexes(text: &str) -> anyhow::Result<BTreeSet<i64>> {
    let mut indexes = BTreeSet::new();
    for part in text.split(',').filter(|part| !part.is_empty()) {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        indexes.extend(first.parse::<i64>()?..=last.parse::<i64>()?);
    }
    Ok(indexes)
}
