//! What a look at a cron job comes to: everything that is written, in one commit, and what it waits for.

use std::fmt;

use jiff::Timestamp;
use jobd_api::write::Prepared;
use k8s_openapi::api::batch::v1::CronJobStatus;

use super::super::job::plan::Event;

/// What a cron job waits for after its plan is carried out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Waiting {
    /// The next scheduled time; none ever comes if the plan has no timer.
    #[default]
    Schedule,
    /// The end of a running job, as its policy forbids a second one (C-803).
    Running,
    /// `spec.suspend` to become false.
    Resume,
    /// Its schedule or zone to be corrected.
    Correction,
    /// The end of its own deletion.
    Deletion,
    /// Its job to be let in.
    Admission,
}

impl fmt::Display for Waiting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Schedule => "its schedule",
            Self::Running => "the end of its running job",
            Self::Resume => "resume",
            Self::Correction => "a schedule that can be used",
            Self::Deletion => "its deletion",
            Self::Admission => "admission of its job",
        })
    }
}

/// One commit's worth of changes for one cron job, and when to look again.
#[derive(Clone, Debug, Default)]
#[must_use = "a plan does nothing until it is committed"]
pub struct Plan {
    /// Names of jobs to delete, with their pods (C-804, C-1101).
    pub delete: Vec<String>,
    /// The job to create, made and checked.
    pub create: Option<Prepared>,
    /// The new status; none when it stays as it is.
    pub status: Option<CronJobStatus>,
    pub events: Vec<Event>,
    pub waiting: Waiting,
    /// The timer (C-711).
    pub next: Option<Timestamp>,
    /// The job was refused with these words: the look is repeated after the driver's back-off (C-906).
    pub refused: Option<String>,
}
