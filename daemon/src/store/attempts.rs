//! What the node must not forget and no API object holds: one row per attempt of a container.

use jiff::Timestamp;

/// One container start, from its intent to its copied logs (D-401, D-405, D-406).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    pub pod_uid: String,
    pub container: String,
    /// Counts from 0 within the pod's container; equals `restartCount` at its start.
    pub attempt: u32,
    pub state: AttemptState,
    /// The engine's id, known once create was answered.
    pub container_id: Option<String>,
    /// When the create-intent was recorded; events are replayed from here (D-406).
    pub created_at: Timestamp,
    /// When the start-intent was recorded.
    pub started_at: Option<Timestamp>,
    pub exit: Option<Exit>,
    /// The log was copied to the data directory (or is known to be lost).
    pub logs_copied: bool,
    /// The engine container is gone, or never was.
    pub removed: bool,
}

/// How far an attempt has come. Each state is durable before the call that it announces.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AttemptState {
    /// Create may have been sent. Start was not: the command never ran.
    Creating,
    /// Start may have been sent; its answer is not recorded (D-610).
    Starting,
    /// The fence of D-406 may have been sent: never create or start again.
    Fencing,
    /// The engine said that it runs.
    Running,
    /// It ended, or never ran: see `exit`.
    Ended,
}

/// How an attempt ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exit {
    /// `Completed`, `Error`, `OOMKilled`, `StartError`, `ContainerStatusUnknown`, … (J-2512).
    pub reason: String,
    pub exit_code: i32,
    pub message: String,
    pub started_at: Option<Timestamp>,
    pub finished_at: Option<Timestamp>,
}
