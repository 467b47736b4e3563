//! The one writer: takes all waiting requests, commits them together, answers after the commit (I-1, R-1).
//!
//! It owns the write connection, the lock file and the reserve. What a batch comes to is decided in [`super::batch`], its SQL
//! is in [`super::commit`]; here is the order of things and what follows from a failure.

use std::{
    collections::{BTreeMap, VecDeque},
    fmt::Write as _,
    fs::File,
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use sqlx::{Connection as _, SqliteConnection};
use tokio::sync::{mpsc, oneshot, watch};
use tracing::{error, info, warn};

use super::{
    Committed, Error, Request, Revision,
    batch::{self, Batch},
    commit,
    fault::{self, Fault},
    history::{self, History, Sample},
    present::Present,
    reserve::Reserve,
    schema,
};
use crate::{
    failpoint,
    metrics::store as metrics,
    sys::{Clock, Now, Stopwatch},
};

/// How many requests share a commit. More would only lengthen the time to the first answer: at 64 the sync is already a
/// small part of a batch.
pub(super) const BATCH_MAX: usize = 64;

/// How soon a full disk is looked at again, at the earliest: a look is made only when somebody wants to create.
const FULL_RETRY: Duration = Duration::from_secs(5);

/// Pages in the log before they are copied, while the disk is full.
const FULL_CHECKPOINT_PAGES: u32 = 100;

/// When the store is idle, what left the history window goes after this time at the latest (I-11).
const IDLE_COMPACTION: Duration = Duration::from_secs(3600);

/// Fewer revisions than this are not worth a step of compaction.
const COMPACTION_MIN: i64 = 64;

/// Revisions per step when nobody waits; about 20 ms of work.
const COMPACTION_IDLE_STEP: i64 = 2000;

/// Pages given back to the file system per step, when more than a quarter of the file is free.
const VACUUM_PAGES: i64 = 1000;

/// What the writer and the store's other parts share.
pub(super) struct Shared {
    pub path: PathBuf,
    pub clock: Arc<dyn Clock>,
    pub history: History,
    pub present: Present,
    pub latest: watch::Sender<Revision>,
    /// Why the store cannot go on.
    pub failure: watch::Sender<Option<Error>>,
}

impl Shared {
    pub(super) fn path(&self) -> String {
        self.path.display().to_string()
    }

    pub(super) fn now(&self) -> Now {
        self.clock.now()
    }
}

/// A request and who waits for it.
pub(super) struct Pending {
    pub request: Request,
    pub answer: oneshot::Sender<Result<Committed, Error>>,
}

pub(super) enum Message {
    Write(Pending),
    /// End after the requests before this one.
    Close(oneshot::Sender<()>),
}

pub(super) struct Writer {
    shared: Arc<Shared>,
    connection: Option<SqliteConnection>,
    reserve: Reserve,
    /// The disk is full; when it was last looked at, since boot.
    full: Option<Duration>,
    /// The last revision that was given out and committed.
    revision: i64,
    /// Bytes of all bodies superseded so far.
    superseded: i64,
    /// How far the wall clock was ahead of the boot clock when the rows of `history` were last right.
    ahead: i64,
    /// Held, not used: the lock goes with the file.
    _lock: File,
    /// Cleared when it ends in order; else its end is a failure of the store.
    running: bool,
}

/// What a failed batch leads to.
#[derive(Debug)]
pub(super) enum Next {
    Answer(Error),
    /// Repeat without what the full disk has no room for.
    RepeatUrgent,
    /// Repeat one by one.
    RepeatEach,
}

impl Writer {
    pub(super) fn new(
        shared: Arc<Shared>,
        connection: SqliteConnection,
        reserve: Reserve,
        lock: File,
        revision: i64,
        superseded: i64,
    ) -> Self {
        let full = match reserve.take() {
            Ok(()) => None,
            Err(error) => {
                let path = shared.path();
                warn!(path, error = %error, "no room for the reserve file beside {path}: {error}");
                is_full(&error).then(|| shared.now().boot)
            }
        };
        let ahead = ahead(shared.now());
        let connection = Some(connection);
        Self { shared, connection, reserve, full, revision, superseded, ahead, _lock: lock, running: true }
    }

    /// Serves until it is told to close, everybody has gone, or the database fails for good.
    pub(super) async fn run(mut self, mut inbox: mpsc::Receiver<Message>) {
        if self.full.is_some() {
            self.shorten_log().await;
        }
        let mut messages = Vec::with_capacity(BATCH_MAX);
        let mut closing = None;
        while closing.is_none() && self.running {
            let received = if self.has_history_to_compact() {
                tokio::time::timeout(IDLE_COMPACTION, inbox.recv_many(&mut messages, BATCH_MAX)).await
            } else {
                Ok(inbox.recv_many(&mut messages, BATCH_MAX).await)
            };
            match received {
                Ok(0) => break,
                Ok(_) => {}
                Err(_) => self.compact_idle(&inbox).await,
            }
            let mut batch = Vec::with_capacity(messages.len());
            for message in messages.drain(..) {
                match message {
                    // What comes after a close is dropped, and with it its answer.
                    Message::Write(pending) if closing.is_none() => batch.push(pending),
                    Message::Write(_) => {}
                    Message::Close(done) => closing = Some(done),
                }
            }
            self.commit_all(batch).await;
        }
        inbox.close();
        if let Some(connection) = self.connection.take()
            && let Err(error) = connection.close().await
        {
            warn!(error = %error, "closing the database: {error}");
        }
        self.running = false;
        drop(self);
        if let Some(done) = closing {
            let _ = done.send(());
        }
    }

    /// Commits a batch and answers each of its requests, whatever happens.
    async fn commit_all(&mut self, batch: Vec<Pending>) {
        let mut work = VecDeque::from([batch]);
        while let Some(batch) = work.pop_front() {
            if !self.running {
                // Dropped, and with it its answers: who waits is told the store's failure.
                continue;
            }
            let batch = self.refuse_when_full(batch).await;
            if batch.is_empty() {
                continue;
            }
            let error = match self.commit(&batch).await {
                Ok(results) => {
                    for (pending, result) in batch.into_iter().zip(results) {
                        // Who no longer waits does not need the answer.
                        let _ = pending.answer.send(result);
                    }
                    continue;
                }
                Err(error) => error,
            };
            metrics::failed();
            match self.recover(&error, batch.len()).await {
                Next::Answer(answer) => {
                    for pending in batch {
                        let _ = pending.answer.send(Err(answer.clone()));
                    }
                }
                Next::RepeatUrgent => work.push_front(batch),
                Next::RepeatEach => {
                    for pending in batch.into_iter().rev() {
                        work.push_front(vec![pending]);
                    }
                }
            }
        }
    }

    /// One transaction. All results, refusals included, rest on earlier requests of the batch, so none is told before COMMIT.
    async fn commit(&mut self, batch: &[Pending]) -> Result<Vec<Result<Committed, Error>>, sqlx::Error> {
        let stopwatch = Stopwatch::start();
        let connection = self.connection.as_mut().ok_or(sqlx::Error::WorkerCrashed)?;
        let mut keys = batch::keys(batch.iter().map(|pending| &pending.request));
        // This task alone changes what is present, so it cannot be old.
        let mut current = BTreeMap::new();
        keys.retain(|key, _| {
            let known = self.shared.present.current(key);
            let ask = known.is_none();
            current.extend(known.map(|known| (key.clone(), known)));
            ask
        });
        commit::run(connection, "BEGIN IMMEDIATE".to_owned()).await?;
        current.extend(commit::read_current(connection, &keys).await?);
        let mut decided = Batch::new(current, self.revision, self.superseded, self.shared.now().wall);
        let results: Vec<_> = batch.iter().map(|pending| decided.take(&pending.request)).collect();
        let decided = decided.finish();
        if decided.rows.is_empty() && decided.revision == self.revision {
            commit::run(connection, "ROLLBACK".to_owned()).await?;
            metrics::decided(results.len(), count_refused(&results));
            return Ok(results);
        }
        commit::write(connection, &decided.rows).await?;

        let now = self.shared.now();
        let newest =
            Sample { at: history::nanoseconds(now.boot), revision: decided.revision, superseded: decided.superseded };
        let mut sql = String::new();
        if decided.revision > self.revision {
            let room = 2 * (decided.revision - self.revision) + COMPACTION_MIN;
            let compacted =
                compact(&self.shared.history, &mut sql, now, room).unwrap_or(self.shared.history.compacted());
            write_meta(&mut sql, decided.revision, compacted);
            shift_samples(&mut sql, ahead(now).saturating_sub(self.ahead));
            if self.shared.history.begins_step(now.boot) {
                // The step before ended with a sample that has no row yet.
                let ended = self.shared.history.newest();
                for sample in ended.into_iter().chain([newest]) {
                    write_sample(&mut sql, now, sample);
                }
            }
        }
        sql.push_str("COMMIT");
        failpoint::hit("store.before_commit");
        let before_sync = stopwatch.elapsed();
        commit::run(connection, sql).await?;
        failpoint::hit("store.after_commit");
        let took = stopwatch.elapsed();
        let sync = took.saturating_sub(before_sync);
        metrics::committed(took, sync, results.len(), count_refused(&results), decided.revision);
        self.shared.present.apply(&decided.changes, &decided.rows);

        if decided.revision > self.revision {
            self.revision = decided.revision;
            self.superseded = decided.superseded;
            self.note_shift(now);
            self.shared.history.publish(decided.changes, newest);
            self.shared.latest.send_replace(Revision(self.revision));
        }
        Ok(results)
    }

    /// Refuses what must not use up the last space, unless there is some again.
    async fn refuse_when_full(&mut self, batch: Vec<Pending>) -> Vec<Pending> {
        let Some(looked) = self.full else { return batch };
        if batch.iter().all(|pending| pending.request.urgent) {
            return batch;
        }
        let now = self.shared.now().boot;
        if now.saturating_sub(looked) >= FULL_RETRY {
            self.full = Some(now);
            if self.reserve.take().is_ok() {
                info!("there is space on the disk again; creates are taken");
                self.full = None;
                self.reopen().await;
                return batch;
            }
        }
        let (urgent, refused): (Vec<_>, Vec<_>) = batch.into_iter().partition(|pending| pending.request.urgent);
        for pending in refused {
            let _ = pending.answer.send(Err(Error::Full { path: self.shared.path() }));
        }
        urgent
    }

    /// Puts the connection in order after a failed batch of `size` requests.
    pub(super) async fn recover(&mut self, failed: &sqlx::Error, size: usize) -> Next {
        let path = self.shared.path();
        match Fault::of(failed) {
            Fault::Constraint => {
                warn!(error = %failed, "a batch of {size} broke a constraint: {failed}");
                self.roll_back().await;
                if size > 1 { Next::RepeatEach } else { Next::Answer(fault::database(&path, failed)) }
            }
            Fault::Full if self.full.is_none() => {
                warn!(path, "the disk that holds {path} is full; only deletes and status writes are taken");
                self.full = Some(self.shared.now().boot);
                if let Err(error) = self.reserve.free() {
                    warn!(error = %error, "the reserve file cannot be removed: {error}");
                }
                self.reopen().await;
                self.shorten_log().await;
                Next::RepeatUrgent
            }
            Fault::Full => {
                self.roll_back().await;
                self.shorten_log().await;
                Next::Answer(Error::Full { path })
            }
            Fault::Sync => {
                let error = fault::database(&path, failed);
                self.fail(error.clone());
                Next::Answer(error)
            }
            Fault::Busy => {
                warn!(path, "somebody else holds the lock of {path}; a batch of {size} was refused");
                self.roll_back().await;
                Next::Answer(fault::database(&path, failed))
            }
            Fault::Other => {
                warn!(error = %failed, "a batch of {size} was not committed: {failed}");
                self.reopen().await;
                Next::Answer(fault::database(&path, failed))
            }
        }
    }

    /// Keeps the connection: a new one would need space for its files, which a full disk has not.
    async fn roll_back(&mut self) {
        let Some(connection) = self.connection.as_mut() else { return };
        // Fails when SQLite has rolled back by itself, as it does on a full disk.
        let _ = commit::run(connection, "ROLLBACK".to_owned()).await;
        // A commit that was reported as failed may be in the file.
        self.shared.present.forget();
        let read = async {
            self.shared.present.load(connection).await?;
            schema::read_meta(connection).await
        };
        match read.await {
            Ok(meta) => self.take_up(&meta),
            Err(_) => self.reopen().await,
        }
    }

    /// Copies the log into the database, cuts it off and keeps it short: on a full disk its 16 MB are better used.
    async fn shorten_log(&mut self) {
        let Some(connection) = self.connection.as_mut() else { return };
        let sql = format!("PRAGMA wal_checkpoint(TRUNCATE); PRAGMA wal_autocheckpoint = {FULL_CHECKPOINT_PAGES}");
        if let Err(error) = commit::run(connection, sql).await {
            warn!(error = %error, "the log cannot be copied into the database: {error}");
        }
    }

    /// A new connection, and what is kept in memory read again. When that fails, so has the store.
    async fn reopen(&mut self) {
        if let Some(connection) = self.connection.take() {
            // Rolls back what is open; an error here adds nothing.
            let _ = connection.close().await;
        }
        let path = self.shared.path();
        self.shared.present.forget();
        let opened = async {
            let mut connection = schema::open(&self.shared.path).await?;
            let read = async {
                self.shared.present.load(&mut connection).await?;
                schema::read_meta(&mut connection).await
            };
            let meta = read.await.map_err(|error| fault::database(&path, &error))?;
            Ok::<_, Error>((connection, meta))
        };
        match opened.await {
            Ok((connection, meta)) => {
                self.connection = Some(connection);
                self.take_up(&meta);
            }
            Err(error) => self.fail(error),
        }
    }

    /// The rows of `history` were shifted, if it was time.
    fn note_shift(&mut self, now: Now) {
        if is_jump(ahead(now).saturating_sub(self.ahead)) {
            self.ahead = ahead(now);
        }
    }

    /// Goes on from what the file says.
    fn take_up(&mut self, meta: &schema::Meta) {
        self.shared.history.set_compacted(meta.compacted_revision);
        if meta.last_revision != self.revision {
            // The commit that was reported as failed is in the file: followers read it from there.
            self.revision = meta.last_revision;
            self.note_shift(self.shared.now());
            self.shared.history.skip_to(Revision(self.revision));
            self.shared.latest.send_replace(Revision(self.revision));
        }
    }

    fn fail(&mut self, failure: Error) {
        error!(error = %failure, "the store cannot go on: {failure}");
        self.running = false;
        self.shared.failure.send_replace(Some(failure));
    }

    pub(super) fn has_history_to_compact(&self) -> bool {
        self.shared.history.compacted() < self.revision
    }

    /// Removes what left the window while nobody wrote, and gives free pages back; stops when somebody wants to write.
    pub(super) async fn compact_idle(&mut self, inbox: &mpsc::Receiver<Message>) {
        while inbox.is_empty() {
            match self.compact_step().await {
                Ok(true) => {}
                Ok(false) => return,
                Err(error) => {
                    warn!(error = %error, "compaction failed: {error}");
                    // Its answer is for nobody: the batch was empty.
                    let _ = self.recover(&error, 0).await;
                    return;
                }
            }
        }
    }

    /// One transaction of compaction. Says whether there is more to do.
    async fn compact_step(&mut self) -> Result<bool, sqlx::Error> {
        let connection = self.connection.as_mut().ok_or(sqlx::Error::WorkerCrashed)?;
        let mut sql = "BEGIN IMMEDIATE;".to_owned();
        if let Some(compacted) = compact(&self.shared.history, &mut sql, self.shared.now(), COMPACTION_IDLE_STEP) {
            write_meta(&mut sql, self.revision, compacted);
            sql.push_str("COMMIT");
            commit::run(connection, sql).await?;
            return Ok(true);
        }
        let (pages, free) = schema::read_pages(connection).await?;
        if free < VACUUM_PAGES || free * 4 < pages {
            return Ok(false);
        }
        commit::run(connection, format!("PRAGMA incremental_vacuum({VACUUM_PAGES})")).await?;
        Ok(true)
    }
}

impl Drop for Writer {
    /// A writer that ends otherwise than in order (a panic) must not leave a daemon that looks alive.
    fn drop(&mut self) {
        if self.running {
            let error =
                Error::Database { path: self.shared.path(), reason: "its writer ended unexpectedly".to_owned() };
            self.shared.failure.send_replace(Some(error));
        }
    }
}

fn is_full(error: &std::io::Error) -> bool {
    matches!(error.kind(), std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded)
}

/// Adds a step of compaction over at most `room` revisions, if one is worth it; returns up to where it goes.
fn compact(history: &History, sql: &mut String, now: Now, room: i64) -> Option<i64> {
    let from = history.compacted();
    let to = history.floor(now.boot).min(from + room);
    let least = if room == COMPACTION_IDLE_STEP { 1 } else { COMPACTION_MIN };
    if to - from < least {
        return None;
    }
    history.set_compacted(to);
    history::compaction(sql, from, to);
    Some(to)
}

fn count_refused(results: &[Result<Committed, Error>]) -> usize {
    results.iter().filter(|result| result.is_err()).count()
}

fn write_meta(sql: &mut String, last: i64, compacted: i64) {
    let written = write!(sql, "UPDATE meta SET last_revision = {last}, compacted_revision = {compacted};");
    debug_assert!(written.is_ok(), "writing to a String does not fail");
}

/// How far the wall clock is ahead of the boot clock.
fn ahead(now: Now) -> i64 {
    super::facts::to_nanoseconds(now.wall).saturating_sub(history::nanoseconds(now.boot))
}

/// The wall clock was set, and not only steered.
fn is_jump(by: i64) -> bool {
    by.saturating_abs() >= history::nanoseconds(history::SAMPLE_STEP)
}

/// Sets all rows forward or back with the wall clock: else the next start would find the past older than it is, and cut the history
/// short of what W-124 promises (I-10).
fn shift_samples(sql: &mut String, by: i64) {
    if is_jump(by) {
        let written = write!(sql, "UPDATE history SET at = at + {by};");
        debug_assert!(written.is_ok(), "writing to a String does not fail");
    }
}

/// Rows hold wall time, which a restart of the machine does not reset.
fn write_sample(sql: &mut String, now: Now, sample: Sample) {
    let Sample { at, revision, superseded } = sample;
    let age = history::nanoseconds(now.boot).saturating_sub(at);
    let at = super::facts::to_nanoseconds(now.wall).saturating_sub(age);
    let written = write!(sql, "INSERT OR REPLACE INTO history VALUES ({revision}, {at}, {superseded});");
    debug_assert!(written.is_ok(), "writing to a String does not fail");
}
