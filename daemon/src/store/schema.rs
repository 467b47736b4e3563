//! Opening the file: the lock against a second daemon, SQLite's settings, whose file it is, and its migrations.

use std::{
    fs::{DirBuilder, File, OpenOptions},
    io::{Read as _, Seek as _, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    time::Duration,
};

use sqlx::{
    AssertSqlSafe, ConnectOptions as _, Connection as _, Row as _, SqliteConnection,
    sqlite::{SqliteAutoVacuum, SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous},
};

use super::{
    Error, facts, fault,
    history::{self, Sample},
};
use crate::sys::Now;

/// "jobd" in ASCII: tells our files from other people's, to `file` as well.
const APPLICATION_ID: i64 = 0x6a6f_6264;

/// All steps of the schema, in order; `PRAGMA user_version` counts those that a file has. Append only.
const MIGRATIONS: &[&str] = &[include_str!("../../../migrations/0001_store.sql")];

/// Pages in the write-ahead log before a commit copies them into the database. More makes fewer, longer pauses: with 4000
/// (16 MB) the 99th percentile of a create was 1.2 to 2 ms, with SQLite's 1000 it was 5.
const CHECKPOINT_PAGES: &str = "4000";

/// The log is cut back to this size once it has been copied.
const LOG_BYTES: &str = "16777216";

/// Page cache per connection, in KiB (negative means bytes to SQLite). The system's own cache does the rest.
const CACHE: &str = "-512";

/// Rows that a reader may have ready before they are taken. Few make the two threads wait for each other (with 50 a list of
/// 10,000 took twice as long), many hold a whole chunk of a list twice.
const ROWS: usize = 256;

/// How long a write waits for somebody else's lock. The daemon's own connections never wait for each other; more would hold
/// up all requests behind a forgotten shell, less would fail them for a short look with one.
const BUSY_TIMEOUT: Duration = Duration::from_secs(3);

/// What the file's row of `meta` says.
#[derive(Clone, Debug)]
pub(super) struct Meta {
    pub instance_id: String,
    pub last_revision: i64,
    pub compacted_revision: i64,
}

/// A file beside the database: same name, another extension.
pub(super) fn beside(database: &Path, extension: &str) -> PathBuf {
    database.with_extension(extension)
}

/// Makes the directory (0700) and takes the lock; it holds as long as the file is open, however the process ends.
pub(super) fn lock(database: &Path) -> Result<File, Error> {
    if let Some(directory) = database.parent() {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(directory)
            .map_err(|error| fault::file(directory, "cannot make the directory", &error))?;
    }
    let path = beside(database, "lock");
    let mut file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .read(true)
        .write(true)
        .mode(0o600)
        .open(&path)
        .map_err(|error| fault::file(&path, "cannot open the lock file", &error))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(std::fs::TryLockError::WouldBlock) => {
            let mut holder = String::new();
            let _ = file.read_to_string(&mut holder);
            let holder = holder.trim();
            let process = if holder.is_empty() { String::new() } else { format!(" (process {holder})") };
            return Err(Error::Database {
                path: database.display().to_string(),
                reason: format!(
                    "another jobd{process} has it open; stop that one first, or give this one its own data directory"
                ),
            });
        }
        Err(std::fs::TryLockError::Error(error)) => return Err(fault::file(&path, "cannot lock", &error)),
    }
    // The number helps whoever meets the message above; the lock holds without it, on a full disk for example.
    let _ = file.set_len(0).and_then(|()| file.rewind()).and_then(|()| write!(file, "{}", std::process::id()));
    Ok(file)
}

/// Opens the database for writing, creates it when there is none, and brings its schema up to date.
pub(super) async fn open(database: &Path) -> Result<SqliteConnection, Error> {
    open_with(database, MIGRATIONS).await
}

async fn open_with(database: &Path, migrations: &[&str]) -> Result<SqliteConnection, Error> {
    let path = database.display().to_string();
    let is_empty = match std::fs::metadata(database) {
        Ok(metadata) => metadata.len() == 0,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => true,
        Err(error) => return Err(fault::file(database, "cannot open", &error)),
    };
    let is_new = if is_empty {
        // Made here for its mode; SQLite gives the log and its index the same one.
        OpenOptions::new()
            .create(true)
            .append(true)
            .mode(0o600)
            .open(database)
            .map_err(|error| fault::file(database, "cannot create", &error))?;
        true
    } else {
        !is_ours(database, migrations.len()).await?
    };
    let mut connection = connect_writer(database, is_new).await.map_err(|error| fault::database(&path, &error))?;
    migrate(&mut connection, migrations).await.map_err(|error| fault::database(&path, &error))?;
    #[cfg(test)]
    super::reserve::limit::apply(&mut connection, database).await.map_err(|error| fault::database(&path, &error))?;
    Ok(connection)
}

/// Refuses somebody else's database, and one of a newer program, before any setting changes the file. No: it is still empty.
async fn is_ours(database: &Path, steps: usize) -> Result<bool, Error> {
    let path = database.display().to_string();
    let refuse = |reason: String| Err(Error::Database { path: path.clone(), reason });
    let read = async {
        let mut connection = settings(database).read_only(true).connect().await?;
        let row = sqlx::query(
            "SELECT (SELECT application_id FROM pragma_application_id), (SELECT user_version FROM pragma_user_version), \
             (SELECT count(*) FROM sqlite_schema)",
        )
        .fetch_one(&mut connection)
        .await?;
        connection.close().await?;
        Ok::<(i64, i64, i64), sqlx::Error>((row.try_get(0)?, row.try_get(1)?, row.try_get(2)?))
    };
    match read.await {
        // A daemon that died while it created the file leaves it without a schema.
        Ok((0, 0, 0)) => Ok(false),
        Ok((APPLICATION_ID, version, _)) => match usize::try_from(version) {
            Ok(version) if version <= steps => Ok(true),
            Ok(_) | Err(_) => refuse(format!(
                "it was written by a newer jobd (schema {version}; this one knows up to {steps}); start the newer jobd"
            )),
        },
        Ok(_) => refuse("it is a database, but not one of jobd; give jobd an empty data directory".to_owned()),
        Err(error) => Err(fault::database(&path, &error)),
    }
}

/// Whose a database is, without opening it for work: the daemon may have it open. None when there is no file, or no schema in it yet.
///
/// # Errors
/// When it is somebody else's, a newer program's, or cannot be read.
pub async fn instance_of(database: &Path) -> Result<Option<String>, Error> {
    if !database.exists() || !is_ours(database, MIGRATIONS.len()).await? {
        return Ok(None);
    }
    let read = async {
        let mut connection = settings(database).read_only(true).connect().await?;
        let meta = read_meta(&mut connection).await?;
        connection.close().await?;
        Ok::<Meta, sqlx::Error>(meta)
    };
    let meta = read.await.map_err(|error| fault::database(&database.display().to_string(), &error))?;
    Ok(Some(meta.instance_id))
}

/// What every connection has in common.
fn settings(database: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(database)
        .statement_cache_capacity(64)
        .busy_timeout(BUSY_TIMEOUT)
        .pragma("cache_size", CACHE)
        .pragma("temp_store", "MEMORY")
        .disable_statement_logging()
}

/// A further connection for reading. The writer's must have been opened before.
pub(super) fn reader_settings(database: &Path) -> SqliteConnectOptions {
    settings(database).read_only(true).row_buffer_size(ROWS)
}

/// The write connection.
async fn connect_writer(database: &Path, is_new: bool) -> Result<SqliteConnection, sqlx::Error> {
    let settings = settings(database)
        .synchronous(SqliteSynchronous::Full)
        .foreign_keys(true)
        .pragma("wal_autocheckpoint", CHECKPOINT_PAGES)
        .pragma("journal_size_limit", LOG_BYTES)
        // A backup made by SQLite itself comes without the log.
        .journal_mode(SqliteJournalMode::Wal);
    // These two are the file's. To set them again would write to it, and so wait for whoever holds its lock.
    let settings = if is_new { settings.page_size(4096).auto_vacuum(SqliteAutoVacuum::Incremental) } else { settings };
    settings.connect().await
}

/// Applies the steps that the file lacks, each in a transaction of its own together with its number.
async fn migrate(connection: &mut SqliteConnection, migrations: &[&str]) -> Result<(), sqlx::Error> {
    let version: i64 =
        sqlx::query_scalar("SELECT user_version FROM pragma_user_version").fetch_one(&mut *connection).await?;
    let applied = usize::try_from(version).unwrap_or_default();
    for (step, sql) in migrations.iter().enumerate().skip(applied) {
        crate::failpoint::hit("store.before_migration");
        let number = step + 1;
        let whole = format!(
            "BEGIN IMMEDIATE; {sql}\n; PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {number}; COMMIT"
        );
        sqlx::raw_sql(AssertSqlSafe(whole)).execute(&mut *connection).await?;
        crate::failpoint::hit("store.after_migration");
    }
    Ok(())
}

pub(super) async fn read_meta(connection: &mut SqliteConnection) -> Result<Meta, sqlx::Error> {
    let row = sqlx::query(
        "SELECT instance_id, max(last_revision, coalesce((SELECT max(revision) FROM versions), 0)), compacted_revision FROM meta",
    )
    .fetch_one(connection)
    .await?;
    Ok(Meta { instance_id: row.try_get(0)?, last_revision: row.try_get(1)?, compacted_revision: row.try_get(2)? })
}

/// Pages in the file, and how many of them are free.
pub(super) async fn read_pages(connection: &mut SqliteConnection) -> Result<(i64, i64), sqlx::Error> {
    sqlx::query_as("SELECT page_count, freelist_count FROM pragma_page_count, pragma_freelist_count")
        .fetch_one(connection)
        .await
}

/// When revisions were made, from the rows that commits left; `now` turns wall time into time since boot.
pub(super) async fn read_samples(
    connection: &mut SqliteConnection,
    last_revision: i64,
    now: Now,
) -> Result<Vec<Sample>, sqlx::Error> {
    let rows: Vec<(i64, i64, i64)> =
        sqlx::query_as("SELECT revision, at, superseded FROM history ORDER BY revision").fetch_all(connection).await?;
    let (boot, wall) = (history::nanoseconds(now.boot), facts::to_nanoseconds(now.wall));
    let mut samples: Vec<Sample> = Vec::with_capacity(rows.len() + 1);
    for (revision, at, superseded) in rows {
        // A clock that was set back makes history younger than it is, never older: it is kept longer (I-10).
        let age = wall.saturating_sub(at).max(0);
        let at = samples.last().map_or(i64::MIN, |last| last.at).max(boot.saturating_sub(age));
        samples.push(Sample { at, revision, superseded });
    }
    // Within a step of the last row further commits may have followed, without rows.
    let last = samples.last().copied().unwrap_or(Sample { at: boot, revision: 0, superseded: 0 });
    if last.revision < last_revision {
        let at = boot.min(last.at.saturating_add(history::nanoseconds(history::SAMPLE_STEP)));
        samples.push(Sample { at, revision: last_revision, ..last });
    }
    Ok(samples)
}
