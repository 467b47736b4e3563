//! What SQLite's errors mean to us. Codes are SQLite's extended result codes; the lowest byte is the primary one.

use super::Error;

/// Why a batch was not committed, as far as it decides what happens next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// One of the statements broke a constraint; the others may be fine.
    Constraint,
    /// No space left. SQLite has rolled the whole transaction back.
    Full,
    /// fsync failed. What the kernel has dropped cannot be known, so nothing may be written on top of it (F-4).
    Sync,
    /// Somebody else holds the file's lock, a shell for instance.
    Busy,
    /// Anything else: I/O, memory.
    Other,
}

const CONSTRAINT: i32 = 19;
const BUSY: i32 = 5;
const FULL: i32 = 13;
const IOERR_FSYNC: i32 = 10 | (4 << 8);
const IOERR_DIR_FSYNC: i32 = 10 | (5 << 8);
/// Memory of the write-ahead log's index could not be extended: on a full tmpfs this comes instead of FULL.
const IOERR_SHMSIZE: i32 = 10 | (19 << 8);

impl Fault {
    pub(super) fn of(error: &sqlx::Error) -> Self {
        match code(error) {
            Some(IOERR_FSYNC | IOERR_DIR_FSYNC) => Self::Sync,
            Some(IOERR_SHMSIZE) => Self::Full,
            Some(code) if code & 0xff == FULL => Self::Full,
            Some(code) if code & 0xff == CONSTRAINT => Self::Constraint,
            Some(code) if code & 0xff == BUSY => Self::Busy,
            Some(_) | None => Self::Other,
        }
    }
}

fn code(error: &sqlx::Error) -> Option<i32> {
    error.as_database_error()?.code()?.parse().ok()
}

/// The error as callers see it.
pub(super) fn database(path: &str, error: &sqlx::Error) -> Error {
    let reason = match error.as_database_error() {
        Some(database) => {
            format!("{} (SQLite code {})", database.message(), database.code().unwrap_or_default())
        }
        None => error.to_string(),
    };
    Error::Database { path: path.to_owned(), reason }
}

/// A file beside the database could not be used.
pub(super) fn file(path: &std::path::Path, what: &str, error: &std::io::Error) -> Error {
    Error::Database { path: path.display().to_string(), reason: format!("{what}: {error}") }
}
