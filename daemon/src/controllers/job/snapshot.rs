//! What a decision about a job rests on: the job, and its pods reduced to what the rules ask of them.
//!
//! Reading is pure; the only time that comes in is the one reading of the clocks by which a pod's end is put on the boot clock.
//! Rules live beside this file, not in it.

use std::{collections::BTreeMap, sync::Arc};

use jiff::{SignedDuration, Timestamp};
use jobd_api::selector::Labels;
use k8s_openapi::{
    api::{
        batch::v1::Job,
        core::v1::{self, ContainerStatus},
    },
    apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time},
};

use super::backoff::Record;
use crate::sys::Now;

/// The finalizer that a pod carries until its end is counted (J-703).
pub const TRACKING_FINALIZER: &str = "batch.kubernetes.io/job-tracking";
/// Annotation and label with a pod's completion index (J-706).
pub const COMPLETION_INDEX: &str = "batch.kubernetes.io/job-completion-index";
/// Annotation: earlier counted failures of the pod's index (J-709).
pub const FAILURE_COUNT: &str = "batch.kubernetes.io/job-index-failure-count";
/// Annotation: earlier ignored failures of the pod's index (J-709).
pub const IGNORED_FAILURE_COUNT: &str = "batch.kubernetes.io/job-index-ignored-failure-count";

/// A consistent state of one job and of the pods that its decisions rest on.
#[derive(Clone, Debug)]
pub struct Snapshot {
    pub job: Job,
    /// Pods whose controller is this job, by name: no decision depends on the order in which they were listed.
    pub pods: Vec<Arc<Pod>>,
    /// Pods without a controller that match the selector, by name.
    pub orphans: Vec<Arc<Pod>>,
    pub memory: Memory,
}

impl Snapshot {
    #[must_use]
    pub fn new(job: Job, mut pods: Vec<Arc<Pod>>, mut orphans: Vec<Arc<Pod>>, memory: Memory) -> Self {
        pods.sort_by(|a, b| a.name.cmp(&b.name));
        orphans.sort_by(|a, b| a.name.cmp(&b.name));
        Self { job, pods, orphans, memory }
    }
}

/// What is known of a job beyond the store. Losing it at a restart is allowed: back-off starts anew (J-863) and the deadline is anchored by
/// the wall clock again (J-1702).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Memory {
    pub backoff: Record,
    /// `status.startTime` on both clocks.
    pub started: Option<Moment>,
}

/// A point in time on both clocks: the wall's to compare with what others wrote, the boot clock's to measure from (I-10).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment {
    pub wall: Timestamp,
    /// Negative when it was before the machine started.
    pub boot: SignedDuration,
}

impl Moment {
    /// This very moment, as a wire timestamp tells it: whole seconds.
    #[must_use]
    pub fn at(now: Now) -> Self {
        Self { wall: whole_seconds(now.wall), boot: boot(now) }
    }

    /// A moment that somebody wrote down as wall time. One in the future (the wall clock went back) counts as now, so that nobody waits
    /// for the wall clock to catch up.
    #[must_use]
    pub fn read(wall: Timestamp, now: Now) -> Self {
        let ago = now.wall.duration_since(wall).max(SignedDuration::ZERO);
        Self { wall, boot: boot(now).saturating_sub(ago) }
    }

    /// How long ago it was.
    #[must_use]
    pub fn elapsed(self, now: Now) -> SignedDuration {
        boot(now).saturating_sub(self.boot).max(SignedDuration::ZERO)
    }
}

/// The boot clock's reading, as a number that can be subtracted from.
#[must_use]
pub fn boot(now: Now) -> SignedDuration {
    SignedDuration::try_from(now.boot).unwrap_or(SignedDuration::MAX)
}

/// Cut to what the wire keeps, so that what is decided and what is read again are equal.
#[must_use]
pub fn whole_seconds(time: Timestamp) -> Timestamp {
    Timestamp::from_second(time.as_second()).unwrap_or(time)
}

/// A pod's phase. Kubernetes' five; what else stands there is `Unknown`, nothing at all is `Pending`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    Pending,
    Unknown,
    Running,
    Succeeded,
    Failed,
}

impl Phase {
    #[must_use]
    pub fn is_terminal(self) -> bool {
        match self {
            Phase::Succeeded | Phase::Failed => true,
            Phase::Pending | Phase::Unknown | Phase::Running => false,
        }
    }
}

/// A container that ended with a code other than 0.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exit {
    pub container: String,
    pub code: i32,
}

/// How often the containers of a pod were started again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Restarts {
    /// Over all containers and initContainers (J-853).
    pub sum: i64,
    /// Of the regular container that has most (J-849).
    pub max: i32,
    /// Of the sidecar that has most (J-849).
    pub sidecar_max: i32,
}

/// Earlier failures of a pod's index, from its annotations (J-709).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Failures {
    pub counted: i32,
    pub ignored: i32,
}

impl Failures {
    #[must_use]
    pub fn total(self) -> i64 {
        i64::from(self.counted) + i64::from(self.ignored)
    }
}

/// One pod, reduced to what decisions need.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pod {
    pub name: String,
    pub uid: String,
    pub created: Option<Timestamp>,
    pub phase: Phase,
    /// `deletionTimestamp` is set.
    pub deleting: bool,
    /// Carries [`TRACKING_FINALIZER`].
    pub tracking: bool,
    /// A delete makes it vanish at once, as nothing runs that has to stop first (J-2550) and no finalizer of others is in the way.
    pub vanishes: bool,
    /// Its labels match the job's selector.
    pub matches: bool,
    /// Completion index (J-710).
    pub index: Option<i32>,
    pub failures: Failures,
    /// Condition Ready is True.
    pub ready: bool,
    /// When it became so.
    pub ready_since: Option<Timestamp>,
    /// `spec.nodeName` is set.
    pub assigned: bool,
    pub restarts: Restarts,
    /// When it ended, if it has (J-862).
    pub finish: Moment,
    /// In the order in which exit codes are judged (J-1103).
    pub exits: Vec<Exit>,
    /// Type and status.
    pub conditions: Vec<(String, String)>,
}

impl Pod {
    /// Reduces a pod; `now` puts its end on the boot clock. No selector matches nothing.
    #[must_use]
    pub fn read(pod: &v1::Pod, selector: Option<&Labels>, now: Now) -> Self {
        let metadata = &pod.metadata;
        let spec = pod.spec.as_ref();
        let status = pod.status.as_ref();
        let regular = status.and_then(|s| s.container_statuses.as_deref()).unwrap_or_default();
        let init = status.and_then(|s| s.init_container_statuses.as_deref()).unwrap_or_default();
        let conditions = status.and_then(|s| s.conditions.as_deref()).unwrap_or_default();
        let sidecars: Vec<&ContainerStatus> = init.iter().filter(|c| is_sidecar(spec, &c.name)).collect();
        let ready = conditions.iter().find(|c| c.type_ == "Ready");
        let is_ready = ready.is_some_and(|c| c.status == "True");
        let finalizers = metadata.finalizers.as_deref().unwrap_or_default();
        let assigned = spec.and_then(|s| s.node_name.as_deref()).is_some_and(|node| !node.is_empty());
        let without_grace = spec.and_then(|s| s.termination_grace_period_seconds) == Some(0);
        let labels = metadata.labels.as_ref();
        let max = |statuses: &mut dyn Iterator<Item = &ContainerStatus>| {
            statuses.map(|c| c.restart_count).max().unwrap_or_default()
        };
        Self {
            name: metadata.name.clone().unwrap_or_default(),
            uid: metadata.uid.clone().unwrap_or_default(),
            created: metadata.creation_timestamp.as_ref().map(|t| t.0),
            phase: phase(status.and_then(|s| s.phase.as_deref())),
            deleting: metadata.deletion_timestamp.is_some(),
            tracking: finalizers.iter().any(|f| f == TRACKING_FINALIZER),
            vanishes: (!assigned || without_grace) && finalizers.iter().all(|f| f == TRACKING_FINALIZER),
            matches: selector.is_some_and(|s| s.matches(|key| labels.and_then(|l| l.get(key)).map(String::as_str))),
            index: completion_index(metadata.annotations.as_ref()),
            failures: Failures {
                counted: failure_count(metadata.annotations.as_ref(), FAILURE_COUNT),
                ignored: failure_count(metadata.annotations.as_ref(), IGNORED_FAILURE_COUNT),
            },
            ready: is_ready,
            ready_since: ready.filter(|_| is_ready).and_then(|c| c.last_transition_time.as_ref()).map(|t| t.0),
            assigned,
            restarts: Restarts {
                sum: regular.iter().chain(init).map(|c| i64::from(c.restart_count)).sum(),
                max: max(&mut regular.iter()),
                sidecar_max: max(&mut sidecars.iter().copied()),
            },
            finish: Moment::read(finish_time(metadata, regular, &sidecars, conditions).unwrap_or(now.wall), now),
            exits: regular.iter().chain(init).filter_map(exit).collect(),
            conditions: conditions.iter().map(|c| (c.type_.clone(), c.status.clone())).collect(),
        }
    }

    /// Neither ended nor about to be (J-820).
    #[must_use]
    pub fn is_active(&self) -> bool {
        !self.phase.is_terminal() && !self.deleting
    }

    /// Not ended, but about to be (J-820).
    #[must_use]
    pub fn is_terminating(&self) -> bool {
        !self.phase.is_terminal() && self.deleting
    }

    /// "Pod failed" (J-821); `failed_only` says whether a terminating pod may still succeed (J-1401).
    #[must_use]
    pub fn has_failed(&self, failed_only: bool) -> bool {
        self.phase == Phase::Failed || (!failed_only && self.deleting && self.phase != Phase::Succeeded)
    }
}

fn phase(text: Option<&str>) -> Phase {
    match text.unwrap_or_default() {
        "" | "Pending" => Phase::Pending,
        "Running" => Phase::Running,
        "Succeeded" => Phase::Succeeded,
        "Failed" => Phase::Failed,
        _ => Phase::Unknown,
    }
}

/// J-710: the annotation counts, the label is for people.
fn completion_index(annotations: Option<&BTreeMap<String, String>>) -> Option<i32> {
    annotations?.get(COMPLETION_INDEX)?.parse().ok().filter(|index| *index >= 0)
}

/// J-710: what is no count is 0.
fn failure_count(annotations: Option<&BTreeMap<String, String>>, key: &str) -> i32 {
    annotations.and_then(|a| a.get(key)).and_then(|text| text.parse().ok()).filter(|count| *count >= 0).unwrap_or(0)
}

fn is_sidecar(spec: Option<&v1::PodSpec>, name: &str) -> bool {
    spec.and_then(|s| s.init_containers.as_deref())
        .unwrap_or_default()
        .iter()
        .any(|c| c.name == name && c.restart_policy.as_deref() == Some("Always"))
}

fn exit(status: &ContainerStatus) -> Option<Exit> {
    let terminated = status.state.as_ref()?.terminated.as_ref()?;
    (terminated.exit_code != 0).then(|| Exit { container: status.name.clone(), code: terminated.exit_code })
}

/// J-862: the first of the four that is there.
fn finish_time(
    metadata: &ObjectMeta,
    regular: &[ContainerStatus],
    sidecars: &[&ContainerStatus],
    conditions: &[v1::PodCondition],
) -> Option<Timestamp> {
    let of = |status: &ContainerStatus| Some(status.state.as_ref()?.terminated.as_ref()?.finished_at.as_ref()?.0);
    let ends: Option<Vec<Timestamp>> = regular.iter().chain(sidecars.iter().copied()).map(of).collect();
    let by_containers = ends.filter(|_| !regular.is_empty()).and_then(|ends| ends.into_iter().max());
    let by_ready = || {
        let not_ready = conditions.iter().find(|c| c.type_ == "Ready" && c.status == "False")?;
        Some(not_ready.last_transition_time.as_ref()?.0)
    };
    let by_deletion = || {
        let Time(deletion) = metadata.deletion_timestamp.as_ref()?;
        let grace = SignedDuration::from_secs(metadata.deletion_grace_period_seconds.unwrap_or_default());
        deletion.checked_sub(grace).ok()
    };
    by_containers.or_else(by_ready).or_else(by_deletion).or(metadata.creation_timestamp.as_ref().map(|t| t.0))
}

/// The parts of a job's spec that decisions ask for again and again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spec {
    pub indexed: bool,
    /// None: a work queue.
    pub completions: Option<i32>,
    pub parallelism: i32,
    pub backoff_limit: i32,
    pub backoff_limit_per_index: Option<i32>,
    pub max_failed_indexes: Option<i32>,
    pub active_deadline: Option<SignedDuration>,
    pub suspend: bool,
    /// A terminating pod holds its slot until it has ended (J-1401).
    pub failed_only: bool,
    /// restartPolicy OnFailure (J-853).
    pub restarts_in_place: bool,
    /// The job is being deleted (J-2008).
    pub deleting: bool,
}

impl Spec {
    #[must_use]
    pub fn of(job: &Job) -> Self {
        let spec = job.spec.as_ref();
        let completions = spec.and_then(|s| s.completions);
        let indexed = spec.and_then(|s| s.completion_mode.as_deref()) == Some("Indexed");
        Self {
            indexed,
            // An Indexed job always has completions (J-418); were they absent, no index could be legal.
            completions: if indexed { completions.or(Some(0)) } else { completions },
            parallelism: spec.and_then(|s| s.parallelism).unwrap_or(1),
            backoff_limit: spec.and_then(|s| s.backoff_limit).unwrap_or(6),
            backoff_limit_per_index: spec.and_then(|s| s.backoff_limit_per_index).filter(|_| indexed),
            max_failed_indexes: spec.and_then(|s| s.max_failed_indexes),
            active_deadline: spec.and_then(|s| s.active_deadline_seconds).map(SignedDuration::from_secs),
            suspend: spec.and_then(|s| s.suspend).unwrap_or_default(),
            failed_only: spec.is_some_and(|s| {
                s.pod_replacement_policy.as_deref() == Some("Failed") || s.pod_failure_policy.is_some()
            }),
            restarts_in_place: spec
                .and_then(|s| s.template.spec.as_ref())
                .is_some_and(|s| s.restart_policy.as_deref() == Some("OnFailure")),
            deleting: job.metadata.deletion_timestamp.is_some(),
        }
    }

    /// Whether a pod stands for an index of this job. In a NonIndexed job every pod counts.
    #[must_use]
    pub fn is_valid_index(&self, index: Option<i32>) -> bool {
        !self.indexed || index.is_some_and(|index| index < self.completions.unwrap_or_default())
    }
}
