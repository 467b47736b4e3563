//! What the node must not forget and no API object holds: one row per attempt of a container.

use jiff::Timestamp;
use sqlx::{
    Row as _, Sqlite,
    query::Query,
    sqlite::{SqliteArguments, SqliteRow},
};

use super::facts::{from_nanoseconds, to_nanoseconds};

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

impl AttemptState {
    const ALL: [Self; 5] = [Self::Creating, Self::Starting, Self::Fencing, Self::Running, Self::Ended];

    /// The word in the `state` column.
    fn as_str(self) -> &'static str {
        match self {
            Self::Creating => "Creating",
            Self::Starting => "Starting",
            Self::Fencing => "Fencing",
            Self::Running => "Running",
            Self::Ended => "Ended",
        }
    }
}

/// The columns of `attempts`, in the order of [`bind`] and [`read`].
pub(super) const COLUMNS: &str = "pod_uid, container, attempt, state, container_id, created_at, started_at, exit_reason, exit_code, \
    exit_message, exit_started_at, exit_finished_at, logs_copied, removed";

pub(super) const COLUMN_COUNT: usize = 14;

/// In the order of their numbers: the wall clock may have been set back between two of them (I-10).
pub(super) const SELECT_OF_POD: &str = "SELECT pod_uid, container, attempt, state, container_id, created_at, started_at, \
    exit_reason, exit_code, exit_message, exit_started_at, exit_finished_at, logs_copied, removed \
    FROM attempts WHERE pod_uid = ?1 ORDER BY attempt, created_at, container";

/// The attempts of all pods that are active, in the same order for each.
pub(super) const SELECT_OF_ACTIVE: &str = "SELECT pod_uid, container, attempt, state, container_id, created_at, started_at, \
    exit_reason, exit_code, exit_message, exit_started_at, exit_finished_at, logs_copied, removed \
    FROM attempts WHERE pod_uid IN \
        (SELECT uid FROM objects WHERE kind = 'pods' AND (finished = 0 OR tracking = 1 OR deleting = 1)) \
    ORDER BY attempt, created_at, container";

/// Puts attempts of one pod into the order of [`SELECT_OF_POD`].
pub(super) fn sort(attempts: &mut [Attempt]) {
    attempts.sort_by(|a, b| (a.attempt, a.created_at, &a.container).cmp(&(b.attempt, b.created_at, &b.container)));
}

/// The condition is that of the index `attempts_open`, word for word: what is done costs a start nothing (I-5).
pub(super) const SELECT_OPEN: &str = "SELECT pod_uid, container, attempt, state, container_id, created_at, started_at, \
    exit_reason, exit_code, exit_message, exit_started_at, exit_finished_at, logs_copied, removed \
    FROM attempts WHERE state <> 'Ended' OR logs_copied = 0 OR removed = 0 ORDER BY created_at, pod_uid, attempt, container";

/// Adds one row's values.
pub(super) fn bind<'q>(
    query: Query<'q, Sqlite, SqliteArguments>,
    attempt: &'q Attempt,
) -> Query<'q, Sqlite, SqliteArguments> {
    let Attempt {
        pod_uid,
        container,
        attempt,
        state,
        container_id,
        created_at,
        started_at,
        exit,
        logs_copied,
        removed,
    } = attempt;
    let exit = exit.as_ref();
    query
        .bind(pod_uid)
        .bind(container)
        .bind(attempt)
        .bind(state.as_str())
        .bind(container_id)
        .bind(to_nanoseconds(*created_at))
        .bind(started_at.map(to_nanoseconds))
        .bind(exit.map(|exit| &exit.reason))
        .bind(exit.map(|exit| exit.exit_code))
        .bind(exit.map(|exit| &exit.message))
        .bind(exit.and_then(|exit| exit.started_at).map(to_nanoseconds))
        .bind(exit.and_then(|exit| exit.finished_at).map(to_nanoseconds))
        .bind(logs_copied)
        .bind(removed)
}

pub(super) fn read(row: &SqliteRow) -> Result<Attempt, sqlx::Error> {
    let time = |column: usize| Ok::<_, sqlx::Error>(row.try_get::<Option<i64>, _>(column)?.map(from_nanoseconds));
    let state: &str = row.try_get(3)?;
    let state = AttemptState::ALL
        .into_iter()
        .find(|known| known.as_str() == state)
        .ok_or_else(|| sqlx::Error::Decode(format!("attempts.state is `{state}`").into()))?;
    let exit = match row.try_get::<Option<String>, _>(7)? {
        Some(reason) => Some(Exit {
            reason,
            exit_code: row.try_get(8)?,
            message: row.try_get(9)?,
            started_at: time(10)?,
            finished_at: time(11)?,
        }),
        None => None,
    };
    Ok(Attempt {
        pod_uid: row.try_get(0)?,
        container: row.try_get(1)?,
        attempt: row.try_get(2)?,
        state,
        container_id: row.try_get(4)?,
        created_at: from_nanoseconds(row.try_get(5)?),
        started_at: time(6)?,
        exit,
        logs_copied: row.try_get(12)?,
        removed: row.try_get(13)?,
    })
}
