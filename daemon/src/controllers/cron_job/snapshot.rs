//! What a decision about a cron job rests on, reduced to what the rules look at.

use std::borrow::Cow;

use jiff::Timestamp;
use k8s_openapi::{
    api::{
        batch::v1::{CronJob, CronJobSpec, CronJobStatus},
        core::v1::ObjectReference,
    },
    apimachinery::pkg::apis::meta::v1::Time,
};
use serde::Deserialize;

/// A job that the cron job controls, or lists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Child {
    pub name: String,
    pub uid: String,
    pub started: Option<Timestamp>,
    pub completed: Option<Timestamp>,
    pub end: Option<End>,
}

/// How a job has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    Complete,
    Failed,
}

impl End {
    /// The condition that says it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Complete => "Complete",
            Self::Failed => "Failed",
        }
    }
}

impl Child {
    /// Reads the fields of a stored job that the rules look at, and not the rest: a cron job's whole history is read at each look.
    ///
    /// # Errors
    /// When the body is damaged.
    pub fn read(body: &str) -> Result<Self, serde_json::Error> {
        let Body { metadata, status } = serde_json::from_str(body)?;
        let has = |end: &End| {
            status.conditions.iter().any(|condition| condition.kind == end.as_str() && condition.status == "True")
        };
        Ok(Self {
            name: metadata.name.into_owned(),
            uid: metadata.uid.into_owned(),
            started: status.start_time.map(|time| time.0),
            completed: status.completion_time.map(|time| time.0),
            end: [End::Complete, End::Failed].into_iter().find(has),
        })
    }
}

/// The part of a stored job's body that [`Child`] comes from.
#[derive(Deserialize)]
struct Body<'a> {
    #[serde(borrow)]
    metadata: Metadata<'a>,
    #[serde(borrow, default)]
    status: Status<'a>,
}

#[derive(Deserialize)]
struct Metadata<'a> {
    #[serde(borrow)]
    name: Cow<'a, str>,
    #[serde(borrow)]
    uid: Cow<'a, str>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Status<'a> {
    start_time: Option<Time>,
    completion_time: Option<Time>,
    #[serde(borrow)]
    conditions: Vec<Condition<'a>>,
}

#[derive(Deserialize)]
struct Condition<'a> {
    #[serde(borrow, rename = "type")]
    kind: Cow<'a, str>,
    #[serde(borrow)]
    status: Cow<'a, str>,
}

/// An edit of a cron job's schedule or zone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Edit {
    /// When it was stored, whenever it is looked at.
    pub at: Timestamp,
    /// This is the first look at it.
    pub is_new: bool,
}

/// One look at a cron job.
#[derive(Clone, Debug)]
pub struct Snapshot {
    pub cron_job: CronJob,
    /// The jobs that it controls (C-603), by name.
    pub children: Vec<Child>,
    /// Jobs of `status.active` that it does not control (any more) and that exist.
    pub strays: Vec<Child>,
    /// The stored time of its timer.
    pub due_at: Option<Timestamp>,
    /// Its schedule or zone was edited: what the new one would have run before counts as run (C-601, C-1706).
    pub edited: Option<Edit>,
    /// A job name that belongs to somebody else's job (C-905).
    pub taken: Option<String>,
}

impl Snapshot {
    #[must_use]
    pub fn spec(&self) -> &CronJobSpec {
        &self.cron_job.spec
    }

    #[must_use]
    pub fn name(&self) -> &str {
        self.cron_job.metadata.name.as_deref().unwrap_or_default()
    }

    #[must_use]
    pub fn status(&self) -> CronJobStatus {
        self.cron_job.status.clone().unwrap_or_default()
    }

    /// What runs are counted from: the last one, else the creation (C-702, C-1205).
    #[must_use]
    pub fn since(&self) -> Timestamp {
        let last = self.cron_job.status.as_ref().and_then(|status| status.last_schedule_time.as_ref());
        let since = last.or(self.cron_job.metadata.creation_timestamp.as_ref());
        since.map_or(Timestamp::UNIX_EPOCH, |time| time.0)
    }
}

/// Whether a list of references holds the job with this uid.
#[must_use]
pub fn lists(active: &[ObjectReference], uid: &str) -> bool {
    active.iter().any(|reference| reference.uid.as_deref() == Some(uid))
}
