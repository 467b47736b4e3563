//! What must hold whatever happens: random jobs, and a random world that starts, ends and deletes their pods.

use std::{collections::BTreeSet, sync::Arc};

use jobd_api::{
    indexes::Indexes,
    object::Object,
    registry::Kind,
    write::{self, Context, Part},
};
use k8s_openapi::api::batch::v1::{Job, JobStatus};
use proptest::prelude::*;

use super::{Waiting, apply, moment, now, parse, plan_for, render};
use crate::{
    controllers::job::{
        conditions::{self, COMPLETE, FAILED, FAILURE_TARGET, SUCCESS_CRITERIA_MET, SUSPENDED},
        snapshot::{Phase, Pod, Snapshot, Spec},
    },
    sys::{Now, SharedRandom},
};

/// Something that happens between two looks; numbers pick one of the pods.
#[derive(Clone, Copy, Debug)]
enum Step {
    Wait(i64),
    Start(usize),
    Succeed(usize),
    Fail(usize),
    DeleteByUser(usize),
    /// All that are being deleted end.
    EndTerminating,
    Suspend(bool),
    Parallelism(i32),
    /// An Indexed job gets these completions, and as much parallelism (J-503).
    Stretch(i32),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        2 => (1..700_i64).prop_map(Step::Wait),
        3 => (0..6_usize).prop_map(Step::Start),
        3 => (0..6_usize).prop_map(Step::Succeed),
        4 => (0..6_usize).prop_map(Step::Fail),
        1 => (0..6_usize).prop_map(Step::DeleteByUser),
        1 => Just(Step::EndTerminating),
        1 => any::<bool>().prop_map(Step::Suspend),
        1 => (0..5_i32).prop_map(Step::Parallelism),
        1 => (1..6_i32).prop_map(Step::Stretch),
    ]
}

fn job() -> impl Strategy<Value = String> {
    let shape = prop_oneof![
        (1..5).prop_map(|completions| format!("completions={completions}")),
        Just(String::new()),
        (1..5).prop_map(|completions| format!("indexed completions={completions}")),
        (1..5, 0..3).prop_map(|(completions, limit)| format!("indexed completions={completions} per-index={limit}")),
        (2..5, 0..3, 0..2)
            .prop_map(|(c, limit, max)| format!("indexed completions={c} per-index={limit} max-failed={max}")),
        (2..5).prop_map(|completions| format!("indexed completions={completions} success=-/2")),
    ];
    let rest = prop_oneof![
        Just(""),
        Just("replace=Failed"),
        Just("policy=Ignore:In:3"),
        Just("policy=FailJob:In:4|Ignore:In:3"),
        Just("deadline=900"),
    ];
    (shape, 0..5, 0..5, rest).prop_map(|(shape, parallelism, limit, rest)| {
        let limit = if shape.contains("per-index") { String::new() } else { format!("limit={limit}") };
        format!("{shape} parallelism={parallelism} {limit} {rest}")
    })
}

/// A job, its pods, and what the world knows that the controller doesn't.
struct World {
    seen: Snapshot,
    second: i64,
    /// uids of tracked pods that ended well, or badly, while they were the job's.
    succeeded: BTreeSet<String>,
    failed: BTreeSet<String>,
}

impl World {
    fn new(job: &str) -> Self {
        Self { seen: parse(job).0, second: 1000, succeeded: BTreeSet::new(), failed: BTreeSet::new() }
    }

    fn step(&mut self, step: Step) {
        self.second += 1;
        let spec = Spec::of(&self.seen.job);
        let second = self.second;
        let finished = conditions::is_finished(&self.seen.job);
        let job_spec = self.seen.job.spec.as_mut().unwrap();
        match step {
            Step::Wait(seconds) => self.second += seconds,
            Step::Suspend(suspend) => job_spec.suspend = Some(suspend),
            Step::Parallelism(parallelism) => job_spec.parallelism = Some(parallelism),
            Step::Stretch(completions) if spec.indexed && !finished => {
                (job_spec.completions, job_spec.parallelism) = (Some(completions), Some(completions));
            }
            Step::Stretch(_) => {}
            Step::Start(pick) => self.change(pick, |pod| {
                (pod.assigned, pod.vanishes) = (true, false);
                pod.phase = Phase::Running;
            }),
            Step::Succeed(pick) => self.change(pick, |pod| {
                (pod.phase, pod.finish) = (Phase::Succeeded, moment(second));
            }),
            Step::Fail(pick) => self.change(pick, |pod| {
                (pod.phase, pod.finish) = (Phase::Failed, moment(second));
                let code = i32::try_from(second % 5).unwrap();
                if code > 0 {
                    pod.exits = vec![crate::controllers::job::snapshot::Exit { container: "main".to_owned(), code }];
                }
            }),
            Step::DeleteByUser(pick) => self.change(pick, |pod| {
                (pod.deleting, pod.finish) = (true, moment(second));
            }),
            Step::EndTerminating => {
                for position in 0..self.seen.pods.len() {
                    if self.seen.pods[position].is_terminating() {
                        let mut pod = Pod::clone(&self.seen.pods[position]);
                        (pod.phase, pod.finish) = (Phase::Failed, moment(second));
                        self.seen.pods[position] = Arc::new(pod);
                    }
                }
            }
        }
        let spec = Spec::of(&self.seen.job);
        for pod in self.seen.pods.iter().filter(|pod| pod.tracking) {
            if !spec.is_valid_index(pod.index) {
                // Never counted (J-1603), also where it waited for its successor.
                self.failed.remove(&pod.uid);
            } else if pod.phase == Phase::Succeeded {
                self.succeeded.insert(pod.uid.clone());
                // A deleted pod that waited for its replacement can still end well.
                self.failed.remove(&pod.uid);
            } else if pod.has_failed(spec.failed_only) {
                self.failed.insert(pod.uid.clone());
            }
        }
        self.seen.pods.retain(|pod| pod.tracking || !pod.phase.is_terminal());
    }

    /// Changes one of the pods that have not ended.
    fn change(&mut self, pick: usize, change: impl FnOnce(&mut Pod)) {
        let live: Vec<usize> =
            (0..self.seen.pods.len()).filter(|position| !self.seen.pods[*position].phase.is_terminal()).collect();
        let Some(position) = live.get(pick % live.len().max(1)) else { return };
        let mut pod = Pod::clone(&self.seen.pods[*position]);
        change(&mut pod);
        self.seen.pods[*position] = Arc::new(pod);
    }

    /// Looks until nothing is left to do, and checks each look.
    fn settle(&mut self) -> Result<(), TestCaseError> {
        let time = now(self.second);
        for _ in 0..4 {
            let (plan, made) = plan_for(&self.seen, time);
            let backwards = Snapshot { pods: self.seen.pods.iter().rev().cloned().collect(), ..self.seen.clone() };
            let (other, other_made) = plan_for(&backwards, time);
            prop_assert_eq!(render(&plan, &made), render(&other, &other_made), "the order of the list decides");
            if plan.is_empty() {
                return Ok(());
            }
            let before = self.seen.job.clone();
            self.seen = apply(&self.seen, &plan, &made, time);
            check_ends(&before, &self.seen.job)?;
            check_status_write(&before, &self.seen.job, time)?;
            let spec = Spec::of(&self.seen.job);
            if spec.failed_only && !made.is_empty() {
                // J-1403: a pod that still ends holds its slot.
                let live = self.seen.pods.iter().filter(|pod| !pod.phase.is_terminal()).count();
                prop_assert!(i32::try_from(live).unwrap() <= spec.parallelism, "replaced too early");
            }
            prop_assert!(self.seen.pods.iter().all(|pod| pod.uid.starts_with("uid-")));
            if plan.waiting != Waiting::AnotherLook {
                let (second, made) = plan_for(&self.seen, time);
                prop_assert!(second.is_empty(), "a second look changes something: {}", render(&second, &made));
            }
        }
        Err(TestCaseError::fail("looks do not come to an end"))
    }

    fn check(&self) -> Result<(), TestCaseError> {
        let spec = Spec::of(&self.seen.job);
        let status = self.seen.job.status.clone().unwrap_or_default();
        let finished = conditions::is_finished(&self.seen.job);
        let active: Vec<&Arc<Pod>> = self.seen.pods.iter().filter(|pod| pod.is_active()).collect();

        prop_assert!(i32::try_from(active.len()).unwrap() <= spec.parallelism || spec.completions.is_none());
        prop_assert!(!(finished || spec.suspend) || active.is_empty());
        if !finished {
            prop_assert_eq!(usize::try_from(status.active.unwrap_or_default()).unwrap(), active.len());
        }
        let indexes: Vec<i32> = active.iter().filter_map(|pod| pod.index).collect();
        let distinct: BTreeSet<i32> = indexes.iter().copied().collect();
        prop_assert_eq!(distinct.len(), indexes.len(), "two active pods of one index");
        if let Some(completions) = spec.completions {
            prop_assert!(status.succeeded.unwrap_or_default() <= completions, "more succeeded than was asked for");
        }
        let is_true = |condition| conditions::find_true(&self.seen.job, condition).is_some();
        if is_true(SUSPENDED) && !is_true(FAILURE_TARGET) && !is_true(SUCCESS_CRITERIA_MET) {
            prop_assert_eq!(&status.start_time, &None); // J-1502
        }
        self.check_counts(&spec, &status)?;
        check_finished(&spec, &status, finished)
    }

    /// I-3: each end is counted once.
    fn check_counts(&self, spec: &Spec, status: &JobStatus) -> Result<(), TestCaseError> {
        let completions = spec.completions.unwrap_or_default();
        let completed = Indexes::parse_stored(status.completed_indexes.as_deref().unwrap_or_default(), completions);
        let failed = Indexes::parse_stored(status.failed_indexes.as_deref().unwrap_or_default(), completions);
        prop_assert_eq!(completed.first_common(&failed), None);
        let succeeded = usize::try_from(status.succeeded.unwrap_or_default()).unwrap();
        let counted = usize::try_from(status.failed.unwrap_or_default()).unwrap();
        if spec.indexed {
            prop_assert_eq!(succeeded, completed.len());
        } else {
            prop_assert_eq!(succeeded, self.succeeded.len());
        }
        let held = self.seen.pods.iter().filter(|pod| pod.tracking && pod.has_failed(spec.failed_only)).count();
        let ignores = self.seen.job.spec.as_ref().unwrap().pod_failure_policy.is_some();
        let failing = conditions::find_true(&self.seen.job, FAILURE_TARGET).is_some();
        match (ignores, failing) {
            (false, false) => prop_assert_eq!(counted, self.failed.len() - held),
            // Pods that the failing job stopped are counted too (J-872).
            (false, true) => prop_assert!(counted >= self.failed.len()),
            (true, false) => prop_assert!(counted <= self.failed.len()),
            (true, true) => {}
        }
        if !failing && !ignores {
            prop_assert!(counted <= usize::try_from(spec.backoff_limit).unwrap(), "the limit is exceeded");
        }
        Ok(())
    }
}

/// I-6: what was True stays so, and there is one end at most.
fn check_ends(before: &Job, after: &Job) -> Result<(), TestCaseError> {
    for condition in [COMPLETE, FAILED, SUCCESS_CRITERIA_MET, FAILURE_TARGET] {
        let held =
            conditions::find_true(before, condition).is_none() || conditions::find_true(after, condition).is_some();
        prop_assert!(held, "{} went away", condition);
    }
    let both = |a, b| conditions::find_true(after, a).is_some() && conditions::find_true(after, b).is_some();
    prop_assert!(!both(COMPLETE, FAILED) && !both(SUCCESS_CRITERIA_MET, FAILURE_TARGET));
    prop_assert!(conditions::find_true(after, COMPLETE).is_none() || both(COMPLETE, SUCCESS_CRITERIA_MET));
    prop_assert!(conditions::find_true(after, FAILED).is_none() || both(FAILED, FAILURE_TARGET));
    Ok(())
}

/// The API would take this status from any controller: counters never fall, times stay, what is True stays (J-603, J-604).
fn check_status_write(before: &Job, after: &Job, now: Now) -> Result<(), TestCaseError> {
    let object = |job: &Job| Object::from_typed(job).unwrap();
    let seeded = SharedRandom::seeded(1);
    let mut random = &seeded;
    let mut context = Context { now: now.wall, random: &mut random };
    let resource = Kind::Job.resource();
    match write::update(resource, Part::Status, &object(before), object(after), &mut context) {
        Ok(_) => Ok(()),
        Err(status) => Err(TestCaseError::fail(status.message)),
    }
}

/// What else holds of a status.
fn check_finished(spec: &Spec, status: &JobStatus, finished: bool) -> Result<(), TestCaseError> {
    prop_assert!(status.ready.unwrap_or_default() <= status.active.unwrap_or_default());
    if finished {
        prop_assert_eq!((status.active, status.terminating), (None, Some(0)));
        prop_assert!(status.start_time.is_some() || (spec.suspend && spec.completions == Some(0)));
    }
    let complete = status.conditions.iter().flatten().any(|c| c.type_ == COMPLETE);
    prop_assert_eq!(status.completion_time.is_some(), complete);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    /// J-604, J-850, J-871, J-1002, J-1003, J-1004, J-1403, J-1502, J-1601: limits are never exceeded, completion is exact, counters fall only where a job shrinks, there is one end, and the
    /// order of the pods decides nothing.
    #[test]
    fn whatever_happens_to_its_pods_a_job_keeps_its_promises(job in job(), steps in prop::collection::vec(step(), 1..25)) {
        let mut world = World::new(&job);
        world.settle()?;
        for step in steps {
            world.step(step);
            world.settle()?;
            world.check()?;
        }
    }
}
