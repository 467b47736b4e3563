//! What to do next for one job (section 8). Pure: same snapshot, same `now` and same answers of `make`, same plan.
#![deny(clippy::disallowed_methods)]

use jiff::{SignedDuration, Timestamp};
use jobd_api::{indexes::Indexes, write::Prepared};
use k8s_openapi::{
    api::batch::v1::{Job, JobStatus, UncountedTerminatedPods},
    apimachinery::pkg::apis::meta::v1::Time,
};

use super::{
    adoption,
    backoff::Record,
    conditions::{self, COMPLETE, Cause, FAILED, FAILURE_TARGET, SUCCESS_CRITERIA_MET, SUSPENDED},
    index,
    manage::{Managed, manage},
    measured::Notes,
    plan::{Event, NewPod, Plan, PodChange, Refusal, Waiting},
    policy,
    snapshot::{Memory, Moment, Phase, Pod, Snapshot, Spec, boot, whole_seconds},
    success,
    tally::{Tally, counter, length},
};
use crate::{metrics::job::Action, sys::Now};

/// The controller that we are, where a job names one (J-1801).
const OUR_NAME: &str = "kubernetes.io/job-controller";

/// Makes a pod ready to be stored, names included, or says why it may not be.
pub type Make<'m> = dyn FnMut(&NewPod) -> Result<Prepared, Refusal> + 'm;

/// How a job ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finish {
    /// Every active pod is deleted and counted as failed (J-840, J-872).
    Failure(Cause),
    /// Active pods, if there are any, are deleted and not counted (J-1203).
    Success(Cause),
}

impl Finish {
    /// The interim condition and the terminal one (J-883), and why.
    fn conditions(&self) -> (&'static str, &'static str, &Cause) {
        match self {
            Finish::Failure(cause) => (FAILURE_TARGET, FAILED, cause),
            Finish::Success(cause) => (SUCCESS_CRITERIA_MET, COMPLETE, cause),
        }
    }
}

/// One look at a job. Adoption comes first and alone; then the end is looked for before pods are managed, since failure and deadline
/// beat whatever pods would do (J-838), and pods are counted last, when it is known whether the job ends.
pub fn decide(seen: &Snapshot, now: Now, make: &mut Make<'_>) -> Plan {
    let spec = Spec::of(&seen.job);
    if let Some(plan) = stand_aside(seen) {
        return plan; // J-803
    }
    let adopted_or_released = adoption::decide(seen, &spec);
    if !adopted_or_released.is_empty() {
        let next = Some(boot(now));
        let notes = Notes { action: Some(Action::Reconciling), ..Notes::default() };
        return Plan {
            pods: adopted_or_released,
            next,
            notes,
            ..Plan::wait(Waiting::AnotherLook, seen.memory.clone())
        };
    }

    let tally = Tally::of(seen);
    let mut look = Look::new(&tally, &seen.memory, now); // J-825
    let finish = match end_state(&tally, look.elapsed()) {
        Some(finish) => {
            look.delete_active(); // J-840
            Some(finish)
        }
        None => {
            if !spec.deleting {
                look.manage(make); // J-2008
            }
            let completed = completions_reached(&tally, look.active);
            if completed.is_none() && !spec.deleting {
                look.show_suspension(); // J-1506
            }
            completed
        }
    };
    look.account(finish.as_ref());
    look.finish(finish)
}

/// Jobs that are not ours to act on (J-803).
fn stand_aside(seen: &Snapshot) -> Option<Plan> {
    let spec = seen.job.spec.as_ref()?;
    let memory = Memory::default();
    if let Some(manager) = spec.managed_by.as_ref().filter(|_| !is_ours(&seen.job)) {
        return Some(Plan::wait(Waiting::Manager(manager.clone()), memory)); // J-1801
    }
    if conditions::is_finished(&seen.job) {
        // Normally none tracks any more; but a client may have written the terminal condition (J-2009).
        let tracking = seen.pods.iter().filter(|pod| pod.tracking);
        let pods = tracking.map(|pod| (pod.name.clone(), PodChange::Untrack)).collect();
        return Some(Plan { pods, ..Plan::wait(Waiting::Nothing, memory) });
    }
    match spec.completion_mode.as_deref() {
        None | Some("NonIndexed" | "Indexed") => None,
        Some(_) => {
            let event = Event::warning("UnknownCompletionMode", "Skipped Job sync because completion mode is unknown");
            Some(Plan { events: vec![event], ..Plan::wait(Waiting::CompletionMode, memory) })
        }
    }
}

/// Rows 1 to 8 of section 8.4: the first that applies. `elapsed` is the time since the start, if the job has started.
fn end_state(tally: &Tally<'_>, elapsed: Option<SignedDuration>) -> Option<Finish> {
    let Tally { job, spec, .. } = tally;
    let failure = |reason, message: &str| Some(Finish::Failure(Cause::new(reason, message)));

    if let Some(cause) = conditions::find_true(job, SUCCESS_CRITERIA_MET) {
        return Some(Finish::Success(cause)); // J-830
    }
    if let Some(cause) = conditions::find_true(job, FAILURE_TARGET) {
        return Some(Finish::Failure(cause)); // J-831
    }
    let failed_pods = tally.pods.iter().copied().filter(|pod| pod.has_failed(spec.failed_only));
    if let Some(message) = policy::fail_job_message(job, failed_pods) {
        return failure("PodFailurePolicy", &message); // J-832
    }
    if tally.failed > i64::from(spec.backoff_limit) || restarted_too_often(tally) {
        return failure("BackoffLimitExceeded", "Job has reached the specified backoff limit"); // J-833
    }
    if let (Some(elapsed), Some(deadline), false) = (elapsed, spec.active_deadline, spec.suspend)
        && elapsed >= deadline
    {
        return failure("DeadlineExceeded", "Job was active longer than specified deadline"); // J-834
    }
    let (completions, failed_indexes) = (spec.completions.unwrap_or_default(), length(tally.failed_indexes.len()));
    if spec.backoff_limit_per_index.is_some() {
        if spec.max_failed_indexes.is_some_and(|max| failed_indexes > i64::from(max)) {
            return failure(
                "MaxFailedIndexesExceeded",
                "Job has exceeded the specified maximal number of failed indexes",
            ); // J-835
        }
        if failed_indexes > 0 && failed_indexes + tally.succeeded >= i64::from(completions) {
            return failure("FailedIndexes", "Job has failed indexes"); // J-836
        }
    }
    let rule = success::first_met(tally.success_policy?, &tally.succeeded_indexes, completions)?;
    Some(Finish::Success(Cause::new("SuccessPolicy", format!("Matched rules at index {rule}")))) // J-837
}

/// J-853. At the limit, and not only beyond it as in J-833: a container that restarts in place has failed once more than it restarted.
fn restarted_too_often(tally: &Tally<'_>) -> bool {
    let limit = i64::from(tally.spec.backoff_limit).max(1);
    tally.spec.restarts_in_place && tally.restarts() >= limit
}

/// Row 9 of section 8.4 (J-845); `active` as it is after pods were managed.
fn completions_reached(tally: &Tally<'_>, active: i64) -> Option<Finish> {
    let enough = match tally.spec.completions {
        None => tally.succeeded > 0,
        Some(completions) => tally.succeeded >= i64::from(completions),
    };
    let cause = || Cause::new("CompletionsReached", "Reached expected number of succeeded pods");
    (enough && active == 0).then(|| Finish::Success(cause()))
}

/// A look in progress: counts as they will be, and what the plan has so far.
struct Look<'a> {
    tally: &'a Tally<'a>,
    now: Now,
    memory: Memory,
    /// `status.startTime` as it will be.
    started: Option<Moment>,
    active: i64,
    ready: i64,
    terminating: i64,
    status: JobStatus,
    plan: Plan,
    /// Indexes with an active pod, new ones included.
    active_indexes: Indexes,
}

impl<'a> Look<'a> {
    fn new(tally: &'a Tally<'a>, memory: &Memory, now: Now) -> Self {
        let status = tally.job.status.clone().unwrap_or_default();
        let spec = &tally.spec;
        let stored = status.start_time.as_ref().map(|time| time.0);
        let anchored = |time| memory.started.filter(|m| m.wall == time).unwrap_or_else(|| Moment::read(time, now));
        let resumes = !spec.suspend && conditions::find_true(tally.job, SUSPENDED).is_some();
        let started = match stored {
            // J-1701: the time before a suspension doesn't count.
            Some(_) if resumes => Some(Moment::at(now)),
            Some(time) => Some(anchored(time)),
            None if spec.suspend => None,
            None => Some(Moment::at(now)),
        };
        let backoff = match spec.backoff_limit_per_index {
            Some(_) => Record::default(), // J-864: each index has its own
            None => memory.backoff.after(&ends(&tally.new_succeeded), &ends(&tally.new_failed)),
        };
        Self {
            tally,
            now,
            memory: Memory { backoff, started },
            started,
            active: length(tally.active.len()),
            ready: length(tally.active.iter().filter(|pod| pod.ready).count()),
            terminating: length(tally.terminating.len()),
            status,
            plan: Plan { notes: Notes { action: Some(Action::Reconciling), ..Notes::default() }, ..Plan::default() },
            active_indexes: index::of(&tally.active),
        }
    }

    /// How long the job has been active (J-1701).
    fn elapsed(&self) -> Option<SignedDuration> {
        self.started.map(|started| started.elapsed(self.now))
    }

    /// J-840: the pods of a job that ends, without wait for the others' ends.
    fn delete_active(&mut self) {
        let tally = self.tally;
        self.delete(&tally.active);
    }

    /// Deletes active pods. The tracking finalizer goes in the same commit, so it is [`Self::account`] that makes the difference between a
    /// pod whose job has failed (counted, J-872) and one that is removed (never counted, J-850).
    fn delete(&mut self, pods: &[&Pod]) {
        for pod in pods {
            self.plan.pods.insert(pod.name.clone(), PodChange::Delete);
            self.plan.events.push(Event::normal("SuccessfulDelete", format!("Deleted pod: {}", pod.name))); // J-2203
            self.active -= 1;
            self.ready -= i64::from(pod.ready);
            self.terminating += i64::from(!pod.vanishes);
        }
        let left = self.tally.active.iter().filter(|pod| !self.plan.pods.contains_key(&pod.name));
        self.active_indexes = left.filter_map(|pod| pod.index).collect();
    }

    /// Section 8.5.
    fn manage(&mut self, make: &mut Make<'_>) {
        let held = index::held(self.tally, &self.active_indexes);
        let managed = manage(self.tally, self.memory.backoff, &held, self.now);
        self.plan.notes.action = Some(managed.action(self.tally.spec.suspend));
        match managed {
            Managed::Enough => {}
            Managed::Remove { pods, more } => {
                self.delete(&pods);
                if more {
                    self.look_again();
                }
            }
            Managed::Create { pods, more, wait } => {
                self.create(&pods, make);
                if let Some(wait) = wait {
                    self.wake_after(wait);
                }
                if more && self.plan.waiting == Waiting::Nothing {
                    self.look_again();
                }
            }
            Managed::Wait(wait) => {
                self.wake_after(wait);
                let until = boot(self.now).saturating_add(wait);
                self.plan.waiting = Waiting::Backoff { until };
            }
        }
    }

    /// J-856: in batches of 1, 2, 4, …; a batch with a refusal is the last one.
    fn create(&mut self, mut wanted: &[NewPod], make: &mut Make<'_>) {
        self.plan.notes.creation = Notes::creation(self.tally);
        let mut batch = 1;
        while !wanted.is_empty() && self.plan.waiting == Waiting::Nothing {
            let (these, later) = wanted.split_at(batch.min(wanted.len()));
            for pod in these {
                match make(pod) {
                    Ok(made) => {
                        let message = format!("Created pod: {}", made.object.name());
                        self.plan.events.push(Event::normal("SuccessfulCreate", message)); // J-2201
                        self.plan.create.push(made);
                        self.active += 1;
                        if let Some(index) = pod.index {
                            self.active_indexes.insert(index);
                        }
                    }
                    Err(Refusal::NotNow) => self.plan.waiting = Waiting::Admission, // J-857
                    Err(Refusal::Because(why)) => {
                        self.plan.events.push(Event::warning("FailedCreate", format!("Error creating: {why}"))); // J-2202
                        self.plan.waiting = Waiting::Admission;
                        self.plan.notes.refused += 1;
                        self.plan.refused = Some(why);
                    }
                }
            }
            wanted = later;
            batch *= 2;
        }
    }

    /// J-1502, J-1503.
    fn show_suspension(&mut self) {
        let suspended = self.tally.spec.suspend;
        let (cause, event) = if suspended {
            (Cause::new("JobSuspended", "Job suspended"), Event::normal("Suspended", "Job suspended"))
        } else {
            (Cause::new("JobResumed", "Job resumed"), Event::normal("Resumed", "Job resumed"))
        };
        let conditions = self.status.conditions.get_or_insert_default();
        if conditions::set(conditions, SUSPENDED, suspended, &cause, whole_seconds(self.now.wall)) {
            self.plan.events.push(event);
            self.started = (!suspended).then(|| Moment::at(self.now));
            self.status.start_time = None;
        }
    }

    /// Section 8.7, in one step: finalizers go in the commit that counts (J-875), so no uid is ever uncounted.
    fn account(&mut self, finish: Option<&Finish>) {
        let tally = self.tally;
        let spec = &tally.spec;
        let held = index::held(tally, &self.active_indexes);
        let mut failed = tally.stored_failed;
        for pod in tally.pods.iter().filter(|pod| pod.tracking) {
            let has_failed = pod.has_failed(spec.failed_only);
            let is_held = || pod.index.and_then(|index| held.get(&index)).is_some_and(|other| other.uid == pod.uid);
            let ended = pod.phase == Phase::Succeeded || (has_failed && !is_held());
            if !(ended || spec.deleting || finish.is_some()) {
                continue; // J-870; among them what this look gives up (J-850)
            }
            self.plan.pods.entry(pod.name.clone()).or_insert(PodChange::Untrack);
            let counts_as_failed = has_failed || matches!(finish, Some(Finish::Failure(_)));
            if pod.phase != Phase::Succeeded
                && counts_as_failed
                && !tally.is_uncounted(pod)
                && spec.is_valid_index(pod.index)
            {
                let matched = policy::judge(tally.failure_policy, pod).map(|found| found.action);
                self.plan.notes.handled.extend(matched);
                failed += i64::from(matched != Some(policy::Action::Ignore)); // J-871
            }
        }
        // Every succeeded pod loses its finalizer now, so what was tallied is what is stored.
        self.status.succeeded = Some(counter(tally.succeeded)).filter(|count| *count > 0);
        self.status.failed = Some(counter(failed)).filter(|count| *count > 0);
        if spec.indexed {
            self.status.completed_indexes = Some(tally.succeeded_indexes.to_string()).filter(|text| !text.is_empty());
        }
        self.status.failed_indexes = spec.backoff_limit_per_index.map(|_| tally.failed_indexes.to_string());
    }

    /// Section 8.8, and what is left to say.
    fn finish(mut self, finish: Option<Finish>) -> Plan {
        if let Some(finish) = &finish {
            self.set_end(finish);
        }
        if self.status.start_time.is_none() {
            self.status.start_time = self.started.map(|started| Time(started.wall)); // J-825, J-1503
        }
        self.memory.started = self.started.filter(|_| self.status.start_time.is_some());
        self.status.active = Some(counter(self.active)).filter(|active| *active > 0);
        self.status.ready = Some(counter(self.ready));
        self.status.terminating = Some(counter(self.terminating));
        self.status.uncounted_terminated_pods = Some(UncountedTerminatedPods::default()); // J-1007
        if self.status.conditions.as_ref().is_some_and(Vec::is_empty) {
            self.status.conditions = None;
        }
        if finish.is_none() {
            self.wake_at_deadline();
        }
        self.plan.waiting = self.waiting(finish.is_some());
        let changed = self.tally.job.status.as_ref() != Some(&self.status); // J-1009
        Plan { status: changed.then_some(self.status), memory: self.memory, ..self.plan }
    }

    /// J-880, J-881: the interim condition, and the terminal one as soon as nothing is terminating.
    fn set_end(&mut self, finish: &Finish) {
        let time = whole_seconds(self.now.wall);
        let (interim, terminal, cause) = finish.conditions();
        let conditions = self.status.conditions.get_or_insert_default();
        conditions::set(conditions, interim, true, cause, time);
        if self.terminating > 0 {
            return;
        }
        conditions::set(conditions, terminal, true, cause, time);
        self.active = 0;
        self.ready = 0;
        let exempt = self.tally.spec.suspend && self.tally.spec.completions == Some(0);
        if self.started.is_none() && !exempt {
            self.started = Some(Moment::at(self.now)); // J-603: a finished job has a start
        }
        match finish {
            Finish::Failure(Cause { reason, message }) => {
                self.plan.events.push(Event::warning(reason, message.clone())); // J-2209
            }
            Finish::Success(_) => {
                self.status.completion_time = Some(Time(self.completion_time(time)));
                if self.tally.spec.completions.is_some_and(|completions| self.tally.succeeded > i64::from(completions))
                {
                    let text = "Too many succeeded pods running after completion count reached";
                    self.plan.events.push(Event::warning("TooManySucceededPods", text)); // J-2208
                }
                self.plan.events.push(Event::normal("Completed", "Job completed")); // J-2207
            }
        }
    }

    /// J-882; never before the start, however the wall clock jumped (J-603).
    fn completion_time(&self, now: Timestamp) -> Timestamp {
        let start = self.status.start_time.as_ref().map(|time| time.0).or(self.started.map(|started| started.wall));
        start.map_or(now, |start| now.max(start))
    }

    fn look_again(&mut self) {
        self.plan.waiting = Waiting::AnotherLook;
        self.wake_after(SignedDuration::ZERO);
    }

    /// J-802.
    fn wake_at_deadline(&mut self) {
        let (Some(deadline), Some(elapsed), false) =
            (self.tally.spec.active_deadline, self.elapsed(), self.tally.spec.suspend)
        else {
            return;
        };
        self.wake_after(deadline.saturating_sub(elapsed));
    }

    fn wake_after(&mut self, wait: SignedDuration) {
        let at = boot(self.now).saturating_add(wait.max(SignedDuration::ZERO));
        self.plan.next = Some(self.plan.next.map_or(at, |next| next.min(at)));
    }

    /// What the job waits for, most telling first.
    fn waiting(&self, ends: bool) -> Waiting {
        let spec = &self.tally.spec;
        let (active, terminating) = (counter(self.active), counter(self.terminating));
        if ends {
            return if terminating > 0 { Waiting::Terminating { terminating } } else { Waiting::Nothing };
        }
        match &self.plan.waiting {
            Waiting::Nothing if spec.deleting => Waiting::Deletion,
            Waiting::Nothing if spec.suspend => Waiting::Resume,
            Waiting::Nothing if active > 0 => Waiting::Pods { active },
            Waiting::Nothing if terminating > 0 => Waiting::Terminating { terminating },
            Waiting::Nothing => Waiting::Parallelism,
            told => told.clone(),
        }
    }
}

/// When pods ended (J-862).
fn ends(pods: &[&Pod]) -> Vec<Moment> {
    pods.iter().map(|pod| pod.finish).collect()
}

/// Whether the built-in controller is the one that acts for this job (J-1801).
#[must_use]
pub fn is_ours(job: &Job) -> bool {
    matches!(job.spec.as_ref().and_then(|spec| spec.managed_by.as_deref()), None | Some(OUR_NAME))
}
