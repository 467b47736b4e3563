//! What of a look is counted for `/metrics` (section 23), once it is committed. Pure: the numbers follow from the status before, the plan
//! and what [`super::decide`] noted in it. Changes that others make are noted as the controller hears of them.

use std::time::Duration;

use jobd_api::indexes::Indexes;
use k8s_openapi::api::batch::v1::{Job, JobStatus};
use serde::Deserialize;

use super::{
    conditions::{self, COMPLETE, FAILED},
    decide,
    plan::Plan,
    policy,
    snapshot::{Spec, TRACKING_FINALIZER},
    tally::Tally,
};
use crate::{
    metrics::job::{self as metrics, Action, Creation, Finalizer, Mode},
    store::{Change, ChangeType},
};

/// What only the decision itself knows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Notes {
    /// None: the job is not ours to act on.
    pub action: Option<Action>,
    pub creation: Creation,
    /// Pods that were refused.
    pub refused: u64,
    /// What the failure policy made of each newly counted or ignored failure that it matched.
    pub handled: Vec<policy::Action>,
}

impl Notes {
    /// Why pods are created now. By the job's own policy, not by the one that a failure policy implies.
    #[must_use]
    pub fn creation(tally: &Tally<'_>) -> Creation {
        let policy = tally.job.spec.as_ref().and_then(|spec| spec.pod_replacement_policy.as_deref());
        if policy == Some("Failed") && tally.failed > 0 {
            Creation::RecreateFailed
        } else if tally.failed > 0 || !tally.terminating.is_empty() {
            Creation::RecreateTerminatingOrFailed
        } else {
            Creation::New
        }
    }
}

/// Everything that one look adds to the counters, if it is committed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Measured {
    pub mode: Mode,
    pub notes: Notes,
    pub pods_created: u64,
    pub pods_succeeded: u64,
    pub pods_failed: u64,
    pub indexes_succeeded: u64,
    pub indexes_failed: u64,
    pub per_index: bool,
    /// Whether the job has succeeded, and the reason of its terminal condition; none: it has not ended by this look.
    pub end: Option<(bool, String)>,
}

impl Measured {
    /// What a plan for this job comes to.
    #[must_use]
    pub fn of(job: &Job, plan: &Plan) -> Self {
        let spec = Spec::of(job);
        let old = job.status.clone().unwrap_or_default();
        let new = plan.status.as_ref().unwrap_or(&old);
        let indexes = |text: fn(&JobStatus) -> Option<&String>| {
            // One that was counted and lies beyond the completions now is not counted twice when they grow again.
            let count = |status| text(status).map(|text| count(text, &spec)).unwrap_or_default();
            count(new).saturating_sub(count(&old))
        };
        let pods = |number: fn(&JobStatus) -> Option<i32>| {
            let count = |status| u64::try_from(number(status).unwrap_or_default()).unwrap_or_default();
            count(new).saturating_sub(count(&old))
        };
        let indexes_succeeded = if spec.indexed { indexes(|status| status.completed_indexes.as_ref()) } else { 0 };
        Self {
            mode: if spec.indexed { Mode::Indexed } else { Mode::NonIndexed },
            notes: plan.notes.clone(),
            pods_created: u64::try_from(plan.create.len()).unwrap_or(u64::MAX),
            pods_succeeded: if spec.indexed { indexes_succeeded } else { pods(|status| status.succeeded) },
            pods_failed: pods(|status| status.failed),
            indexes_succeeded,
            indexes_failed: indexes(|status| status.failed_indexes.as_ref()),
            per_index: spec.backoff_limit_per_index.is_some(),
            end: plan.status.as_ref().and_then(|status| ended(job, status)),
        }
    }

    /// The look is over and took so long. Every look at a job of ours counts as one; a job that was left alone does not.
    pub fn looked(&self, is_ok: bool, took: Duration) {
        if let Some(action) = self.notes.action {
            metrics::synced(self.mode, is_ok, action, took);
        }
    }

    /// Adds what happened to the counters. To be called once, after the commit.
    pub fn committed(self) {
        let Self {
            mode,
            notes: Notes { action: _, creation, refused, handled },
            pods_created,
            pods_succeeded,
            pods_failed,
            indexes_succeeded,
            indexes_failed,
            per_index,
            end,
        } = self;
        metrics::pods_created(creation, true, pods_created);
        metrics::pods_created(creation, false, refused);
        metrics::pods_finished(mode, true, pods_succeeded);
        metrics::pods_finished(mode, false, pods_failed);
        if mode == Mode::Indexed {
            metrics::indexes_finished(true, per_index, indexes_succeeded);
        }
        if per_index {
            metrics::indexes_finished(false, per_index, indexes_failed);
        }
        for action in handled {
            metrics::failures_handled(action.as_str(), 1);
        }
        if let Some((succeeded, reason)) = end {
            metrics::finished(mode, succeeded, &reason);
        }
    }
}

/// How many of the indexes in a compressed list are still indexes of the job.
fn count(text: &str, spec: &Spec) -> u64 {
    let indexes = Indexes::parse_stored(text, spec.completions.unwrap_or_default());
    u64::try_from(indexes.len()).unwrap_or(u64::MAX)
}

/// The terminal condition that a status brings.
fn ended(job: &Job, status: &JobStatus) -> Option<(bool, String)> {
    if conditions::is_finished(job) {
        return None;
    }
    let terminal = status
        .conditions
        .iter()
        .flatten()
        .find(|condition| condition.status == "True" && [COMPLETE, FAILED].contains(&condition.type_.as_str()))?;
    Some((terminal.type_ == COMPLETE, terminal.reason.clone().unwrap_or_default()))
}

/// An ended pod that began or ceased to carry the tracking finalizer.
pub(super) fn note_finalizer(change: &Change) {
    let is = change.index.finished && change.index.tracking && change.change_type != ChangeType::Deleted;
    let was = change.previous.as_deref().is_some_and(was_ended_and_tracked);
    match (was, is) {
        (false, true) => metrics::tracked(Finalizer::Add),
        (true, false) => metrics::tracked(Finalizer::Delete),
        (true, true) | (false, false) => {}
    }
}

/// The same of a stored body. Most bodies are not even parsed.
fn was_ended_and_tracked(body: &str) -> bool {
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Pod {
        metadata: Metadata,
        status: Status,
    }
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Metadata {
        finalizers: Vec<String>,
    }
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Status {
        phase: String,
    }
    if !body.contains(TRACKING_FINALIZER) || !(body.contains("\"Succeeded\"") || body.contains("\"Failed\"")) {
        return false;
    }
    let Pod { metadata, status } = serde_json::from_str(body).unwrap_or_default();
    let is_ended = matches!(&*status.phase, "Succeeded" | "Failed");
    is_ended && metadata.finalizers.iter().any(|finalizer| finalizer == TRACKING_FINALIZER)
}

/// A new job that is somebody else's to run (J-1801).
pub(super) fn note_manager(change: &Change) {
    if change.change_type != ChangeType::Created || !change.body.contains("\"managedBy\"") {
        return;
    }
    let Ok(job) = serde_json::from_str::<Job>(&change.body) else { return };
    if !decide::is_ours(&job)
        && let Some(manager) = job.spec.and_then(|spec| spec.managed_by)
    {
        metrics::left_to(&manager);
    }
}
