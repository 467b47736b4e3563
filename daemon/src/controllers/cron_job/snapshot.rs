//! What a decision about a cron job rests on, reduced to what the rules look at.

use jiff::Timestamp;
use k8s_openapi::api::{
    batch::v1::{CronJob, CronJobSpec, CronJobStatus, Job},
    core::v1::ObjectReference,
};

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
    #[must_use]
    pub fn read(job: &Job) -> Self {
        let status = job.status.as_ref();
        let has = |end: &End| {
            let mut conditions = status.and_then(|status| status.conditions.as_ref()).into_iter().flatten();
            conditions.any(|condition| condition.type_ == end.as_str() && condition.status == "True")
        };
        Self {
            name: job.metadata.name.clone().unwrap_or_default(),
            uid: job.metadata.uid.clone().unwrap_or_default(),
            started: status.and_then(|status| status.start_time.as_ref()).map(|time| time.0),
            completed: status.and_then(|status| status.completion_time.as_ref()).map(|time| time.0),
            end: [End::Complete, End::Failed].into_iter().find(has),
        }
    }
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
    /// When its schedule or zone was edited: what the new one would have run before counts as run (C-601, C-1706).
    pub edited: Option<Timestamp>,
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
