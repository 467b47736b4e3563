//! What a look at a job comes to: everything that is written, in one commit, and what the job waits for.
//!
//! A plan leaves nothing to choose when it is carried out. Rules live in the files beside this one.

use std::{collections::BTreeMap, fmt};

use jiff::SignedDuration;
use jobd_api::write::Prepared;
use k8s_openapi::api::batch::v1::JobStatus;

use super::{
    measured::Notes,
    snapshot::{Failures, Memory},
};
use crate::recorder::EventType;

/// A pod that the job needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NewPod {
    /// Its completion index, in an Indexed job.
    pub index: Option<i32>,
    /// The failures of its index before it; only with a limit per index (J-709).
    pub failures: Option<Failures>,
}

/// Why a pod could not be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Nothing may be created now, and nobody has to be told: the namespace is going away (J-857), or the disk is full.
    NotNow,
    /// In the words of the API.
    Because(String),
}

/// What happens to a pod that exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PodChange {
    /// Becomes the job's: owner reference and tracking finalizer (J-2101).
    Adopt,
    /// Is the job's no more: neither of them (J-2102).
    Release,
    /// Loses the tracking finalizer; if it is to be counted, this plan's status does (I-3).
    Untrack,
    /// Loses the tracking finalizer and is deleted with its own grace (J-840, J-850).
    Delete,
}

/// An event on the job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    pub event_type: EventType,
    pub reason: String,
    pub message: String,
}

impl Event {
    #[must_use]
    pub fn normal(reason: &str, message: impl Into<String>) -> Self {
        Self { event_type: EventType::Normal, reason: reason.to_owned(), message: message.into() }
    }

    #[must_use]
    pub fn warning(reason: &str, message: impl Into<String>) -> Self {
        Self { event_type: EventType::Warning, reason: reason.to_owned(), message: message.into() }
    }
}

/// What a job waits for after its plan is carried out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Waiting {
    /// Nothing: it has ended.
    #[default]
    Nothing,
    /// Somebody else's controller (J-1801).
    Manager(String),
    /// A completion mode that we know (J-803).
    CompletionMode,
    /// Another look, as this plan did only a part.
    AnotherLook,
    /// The end of active pods.
    Pods { active: i32 },
    /// The end of pods that are being deleted.
    Terminating { terminating: i32 },
    /// The end of a back-off, on the boot clock.
    Backoff { until: SignedDuration },
    /// `spec.suspend` to become false.
    Resume,
    /// `spec.parallelism` to become more than 0.
    Parallelism,
    /// The end of the job's own deletion.
    Deletion,
    /// Pods to be let in.
    Admission,
}

impl fmt::Display for Waiting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Waiting::Nothing => f.write_str("nothing"),
            Waiting::Manager(name) => write!(f, "its manager {name}"),
            Waiting::CompletionMode => f.write_str("a known completion mode"),
            Waiting::AnotherLook => f.write_str("another look"),
            Waiting::Pods { active } => write!(f, "{active} active"),
            Waiting::Terminating { terminating } => write!(f, "{terminating} terminating"),
            Waiting::Backoff { until } => write!(f, "back-off until {}", until.as_secs()),
            Waiting::Resume => f.write_str("resume"),
            Waiting::Parallelism => f.write_str("parallelism"),
            Waiting::Deletion => f.write_str("its deletion"),
            Waiting::Admission => f.write_str("admission of its pods"),
        }
    }
}

/// One commit's worth of changes for one job, and when to look again.
#[derive(Clone, Debug, Default)]
#[must_use = "a plan does nothing until it is committed"]
pub struct Plan {
    /// Pods that exist, by name.
    pub pods: BTreeMap<String, PodChange>,
    /// Pods to create, made and checked.
    pub create: Vec<Prepared>,
    /// The job's new status; none when it stays as it is (J-1009).
    pub status: Option<JobStatus>,
    pub events: Vec<Event>,
    /// To be remembered once the plan is committed, and not before (J-860).
    pub memory: Memory,
    pub waiting: Waiting,
    /// Look again at this time since boot, although nothing changes.
    pub next: Option<SignedDuration>,
    /// A pod was refused with these words: the look is repeated after the driver's back-off (J-856).
    pub refused: Option<String>,
    /// For the metrics; nothing is written because of it.
    pub notes: Notes,
}

impl Plan {
    /// Nothing is written; the memory stays.
    pub fn wait(waiting: Waiting, memory: Memory) -> Self {
        Self { waiting, memory, ..Self::default() }
    }

    /// Nothing is written.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        let Self { pods, create, status, events, memory: _, waiting: _, next: _, refused: _, notes: _ } = self;
        pods.is_empty() && create.is_empty() && status.is_none() && events.is_empty()
    }
}
