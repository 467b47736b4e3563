//! SQLite: every object, its history, and what the node must not forget. The only module that knows SQL.
//!
//! One writer task owns the write connection and commits all waiting requests together (group commit); readers use
//! their own pool and never wait for the writer. See DESIGN section 5.

use std::sync::{Arc, OnceLock};

use jiff::Timestamp;
use jobd_api::{index::Index, object::Object, registry::Kind};
use tokio::sync::{mpsc, oneshot, watch};

pub mod attempts;
mod batch;
mod body;
mod commit;
mod facts;
mod fault;
mod history;
mod job_snapshot;
pub mod judge;
mod present;
mod reader;
mod reserve;
mod schema;
#[cfg(test)]
mod tests;
mod writer;

use history::{History, Recent, Timeline};
use present::Present;
use reader::Readers;
use reserve::Reserve;
use writer::{Message, Pending, Shared, Writer};

pub use attempts::Attempt;
pub use schema::instance_of;

/// The store's counter, `resourceVersion` on the wire. One for all kinds; only rises, across restarts too (I-7).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Revision(pub i64);

/// An object's place: kind, namespace (empty for cluster-scoped kinds) and name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    pub kind: Kind,
    pub namespace: String,
    pub name: String,
}

impl Key {
    #[must_use]
    pub fn new(kind: Kind, namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self { kind, namespace: namespace.into(), name: name.into() }
    }

    /// The key of an object of that kind.
    #[must_use]
    pub fn of(kind: Kind, object: &Object) -> Self {
        Self::new(kind, object.namespace(), object.name())
    }
}

/// An object as it is stored: its body without `metadata.resourceVersion`, which is the revision.
#[derive(Clone, Debug)]
pub struct Stored {
    pub key: Key,
    pub revision: Revision,
    pub body: Arc<str>,
}

impl Stored {
    /// The JSON with `metadata.resourceVersion` put in; no parsing.
    #[must_use]
    pub fn json(&self) -> String {
        body::with_revision(&self.body, self.revision.0)
    }

    /// The JSON of its metadata with `resourceVersion` put in; the rest of the body is not looked at. None when it has none.
    #[must_use]
    pub fn metadata_json(&self) -> Option<String> {
        body::metadata_with_revision(&self.body, self.revision.0)
    }

    /// The object with its resourceVersion.
    ///
    /// # Errors
    /// [`Error::Damaged`] when the stored body is not JSON.
    pub fn object(&self) -> Result<Object, Error> {
        Object::parse(&self.body)
            .map(|object| object.with_revision(self.revision.0))
            .map_err(|error| self.damaged(&error))
    }

    /// The typed object with its resourceVersion.
    ///
    /// # Errors
    /// [`Error::Damaged`] when the stored body does not fit the type.
    pub fn typed<T: serde::de::DeserializeOwned>(&self) -> Result<T, Error> {
        serde_json::from_str(&self.json()).map_err(|error| self.damaged(&error))
    }

    fn damaged(&self, error: &serde_json::Error) -> Error {
        Error::Damaged { key: self.key.clone(), reason: error.to_string() }
    }
}

/// What must hold in the transaction for its writes to happen.
#[derive(Clone, Debug)]
pub enum Guard {
    /// No object has this key.
    Absent(Key),
    /// The object is there, in this revision.
    Unchanged { key: Key, revision: Revision },
    /// The namespace exists and is not being deleted.
    NamespaceActive(String),
}

/// One change. All changes of a request happen, or none.
#[derive(Clone, Debug)]
pub enum Write {
    /// Creates or replaces an object. It gets a revision of its own.
    ///
    /// `index.due_at` sets when the object is due; without one an existing object stays due when it was: see [`Write::Due`].
    Put { key: Key, index: Index, body: String },
    /// Removes an object; `body` is its final state for watchers. It gets a revision of its own. An absent object is left absent.
    Delete { key: Key, body: String },
    /// Sets when the object is due, or that it no longer is, without a new revision. Holds until the next `Due`, or `Put` with a
    /// due time, of that object. An absent object is left absent.
    Due { key: Key, at: Option<Timestamp> },
    /// Uses up a revision and changes nothing: whoever reads from now on reads another revision than before.
    Advance,
    /// Inserts or replaces one attempt of a container.
    Attempt(Box<Attempt>),
    /// Forgets all attempts of a pod.
    ForgetAttempts { pod_uid: String },
}

/// Writes that belong together, and what they rest on.
#[derive(Clone, Debug, Default)]
pub struct Request {
    pub guards: Vec<Guard>,
    pub writes: Vec<Write>,
    /// Still let through when the disk is full: deletes and status writes.
    pub urgent: bool,
}

/// A request's success: it is on disk.
#[derive(Clone, Debug)]
pub struct Committed {
    /// The revision of each `Put` and `Delete`, in the order of the request; for a delete of an absent object the newest before it.
    pub revisions: Vec<Revision>,
}

/// Why a request was not committed, or a read not answered.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    #[error("{kind} \"{name}\" exists already", kind = key.kind.as_str(), name = key.name)]
    AlreadyExists { key: Key },
    /// Somebody else wrote since the object was read, or it is gone (`have` is none); observe again.
    #[error("{kind} \"{name}\" changed since revision {seen}", kind = key.kind.as_str(), name = key.name, seen = seen.0)]
    Conflict { key: Key, seen: Revision, have: Option<Revision> },
    #[error("namespace \"{namespace}\" not found")]
    NamespaceMissing { namespace: String },
    #[error("namespace \"{namespace}\" is being terminated")]
    NamespaceTerminating { namespace: String },
    /// The history before `oldest` is compacted.
    #[error("revision {asked} is older than the history, which starts at {oldest}", asked = asked.0, oldest = oldest.0)]
    TooOld { asked: Revision, oldest: Revision },
    #[error("the disk that holds {path} is full; free some space and jobd goes on by itself")]
    Full { path: String },
    #[error("the stored body of {kind} \"{name}\" is damaged: {reason}", kind = key.kind.as_str(), name = key.name)]
    Damaged { key: Key, reason: String },
    #[error("the store is shutting down")]
    Closed,
    /// The database did not do what it was asked; the text is SQLite's.
    #[error("database {path}: {reason}")]
    Database { path: String, reason: String },
}

/// What happened to an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChangeType {
    Created,
    Modified,
    Deleted,
}

/// One change, as watches and controllers see it.
#[derive(Debug)]
pub struct Change {
    pub revision: Revision,
    pub change_type: ChangeType,
    pub key: Key,
    /// The new body; the final state of a deleted object.
    pub body: Arc<str>,
    /// The body before, for selectors that the object stops matching (W-126); none when created.
    pub previous: Option<Arc<str>>,
    /// The columns of the new body (of the last state when deleted).
    pub index: Arc<Index>,
    /// By the wall clock, when it was committed; none when it was read from the history.
    pub at: Option<Timestamp>,
}

/// Which objects a list is about. Selectors beyond these are applied by the caller to each object.
#[derive(Clone, Debug)]
pub struct ListQuery {
    pub kind: Kind,
    pub namespace: Option<String>,
    pub name: Option<String>,
    /// Labels that must have exactly this value: the part of a selector that an index can answer.
    pub labels: Vec<(String, String)>,
    /// For events: uid of the involved object.
    pub involved_uid: Option<String>,
    /// For events: name of the involved object.
    pub involved_name: Option<String>,
    /// The state at this revision; none: now.
    pub at: Option<Revision>,
    /// Only keys after this namespace and name.
    pub after: Option<(String, String)>,
    /// At most so many objects.
    pub limit: usize,
}

impl ListQuery {
    /// All objects of a kind, now, in chunks of `limit`.
    #[must_use]
    pub fn all(kind: Kind, limit: usize) -> Self {
        Self {
            kind,
            namespace: None,
            name: None,
            labels: Vec::new(),
            involved_uid: None,
            involved_name: None,
            at: None,
            after: None,
            limit,
        }
    }
}

/// A piece of a list, ordered by namespace and name.
#[derive(Clone, Debug)]
pub struct Chunk {
    /// The revision whose state this is: `at`, or the newest at the time of the read.
    pub revision: Revision,
    pub items: Vec<Stored>,
    /// More may follow after the last item.
    pub more: bool,
}

/// How to open a store.
#[derive(Clone, Debug)]
pub struct Options {
    /// The database file; its directory holds the lock and the reserve file too.
    pub path: std::path::PathBuf,
    /// Where the time comes from: the history window is judged by it.
    pub clock: Arc<dyn crate::sys::Clock>,
    /// How long a superseded version stays readable.
    pub history: std::time::Duration,
}

impl std::fmt::Debug for dyn crate::sys::Clock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Clock")
    }
}

/// The open store; cheap to clone.
#[derive(Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

struct Inner {
    instance_id: String,
    requests: mpsc::Sender<Message>,
    readers: Readers,
    shared: Arc<Shared>,
    /// Only in the simulation.
    judge: OnceLock<Arc<dyn judge::Judge>>,
}

/// How many requests may wait for the writer; who comes then waits for room.
const REQUESTS_MAX: usize = 1024;

impl Store {
    /// Opens or creates the database, brings its schema up to date and starts the writer task.
    ///
    /// # Errors
    /// When another daemon has it open, when it is newer than this program, when it is no database of ours or cannot be read.
    pub async fn open(options: Options) -> Result<Self, Error> {
        let (store, writer, inbox) = Self::prepare(options).await?;
        tokio::spawn(writer.run(inbox));
        Ok(store)
    }

    /// All of [`Self::open`] but the start of the writer.
    async fn prepare(options: Options) -> Result<(Self, Writer, mpsc::Receiver<Message>), Error> {
        let Options { path, clock, history } = options;
        let lock = schema::lock(&path)?;
        let reserve = Reserve::new(&path);
        let mut connection = match schema::open(&path).await {
            Err(_) if reserve.is_needed_to_open() => {
                reserve.free().map_err(|error| fault::file(&path, "cannot free the reserve beside it", &error))?;
                schema::open(&path).await?
            }
            opened => opened?,
        };
        let now = clock.now();
        let present = Present::default();
        let read = async {
            present.load(&mut connection).await?;
            let meta = schema::read_meta(&mut connection).await?;
            let samples = schema::read_samples(&mut connection, meta.last_revision, now).await?;
            Ok((meta, samples))
        };
        let (meta, samples) = read.await.map_err(|error| fault::database(&path.display().to_string(), &error))?;
        let latest = Revision(meta.last_revision);
        let superseded = samples.last().map_or(0, |newest| newest.superseded);
        let timeline = Timeline::new(samples, meta.compacted_revision, history);
        let shared = Arc::new(Shared {
            history: History::new(timeline, latest, meta.compacted_revision),
            present,
            latest: watch::Sender::new(latest),
            failure: watch::Sender::new(None),
            clock,
            path,
        });
        let (requests, inbox) = mpsc::channel(REQUESTS_MAX);
        let writer = Writer::new(Arc::clone(&shared), connection, reserve, lock, latest.0, superseded);
        let readers = Readers::new(&shared.path);
        let inner = Inner { instance_id: meta.instance_id, requests, readers, shared, judge: OnceLock::new() };
        Ok((Self { inner: Arc::new(inner) }, writer, inbox))
    }

    /// Ends the writer after the requests that it has, and closes the file.
    pub async fn close(&self) {
        self.inner.readers.close().await;
        let (done, closed) = oneshot::channel();
        if self.inner.requests.send(Message::Close(done)).await.is_ok() {
            // An error means that the writer has ended already.
            let _ = closed.await;
        }
    }

    /// Waits until the store cannot go on, with the reason; for ever when all is well. The daemon must end then: after a failed
    /// fsync only a fresh start knows what is on disk (F-4).
    pub async fn failed(&self) -> Error {
        let mut failure = self.inner.shared.failure.subscribe();
        match failure.wait_for(Option::is_some).await {
            Ok(reason) => reason.clone().unwrap_or(Error::Closed),
            Err(_) => Error::Closed,
        }
    }

    /// Whether the store can go on, without asking the disk.
    ///
    /// # Errors
    /// Why it cannot: see [`Self::failed`].
    pub fn check(&self) -> Result<(), Error> {
        if self.inner.requests.is_closed() { Err(self.closed()) } else { Ok(()) }
    }

    /// The id of this data directory: made once, on the label of every container (D-402).
    #[must_use]
    pub fn instance_id(&self) -> &str {
        &self.inner.instance_id
    }

    /// Commits a request: all its writes or none. Answers after the commit is on disk. An empty request is a no-op.
    ///
    /// # Caveats
    /// Whoever stops waiting cannot know whether it happened: the writer goes on with what it has taken.
    ///
    /// # Errors
    /// The first guard that does not hold, or what the database said.
    pub async fn write(&self, request: Request) -> Result<Committed, Error> {
        if request.guards.is_empty() && request.writes.is_empty() {
            return Ok(Committed { revisions: Vec::new() });
        }
        match self.inner.judge.get().map(|judge| judge.judge(&request)) {
            None => self.commit(request).await,
            Some(verdict) => verdict.carry_out(self.commit(request)).await,
        }
    }

    async fn commit(&self, request: Request) -> Result<Committed, Error> {
        let (answer, answered) = oneshot::channel();
        let sent = self.inner.requests.send(Message::Write(Pending { request, answer })).await;
        match sent {
            Ok(()) => answered.await.unwrap_or_else(|_| Err(self.closed())),
            Err(_) => Err(self.closed()),
        }
    }

    /// For the simulation: from now on somebody says of each write what becomes of it. Once in the life of a store.
    pub fn judge_with(&self, judge: Arc<dyn judge::Judge>) {
        // A second one would be a mistake of the simulation's; the first stays.
        let _ = self.inner.judge.set(judge);
    }

    /// Why the writer no longer answers.
    fn closed(&self) -> Error {
        self.inner.shared.failure.borrow().clone().unwrap_or(Error::Closed)
    }

    /// The newest committed revision.
    #[must_use]
    pub fn latest(&self) -> Revision {
        *self.inner.shared.latest.borrow()
    }

    /// How long what was superseded stays readable.
    #[must_use]
    pub fn history_window(&self) -> std::time::Duration {
        self.inner.shared.history.window()
    }

    /// Follows [`Self::latest`]: changes whenever a commit changed an object. Wake-ups carry no data.
    #[must_use]
    pub fn subscribe(&self) -> watch::Receiver<Revision> {
        self.inner.shared.latest.subscribe()
    }

    /// Changes after `after`, oldest first, at most `max`; from memory when recent, else from the history. `kind`: only of that kind.
    /// With the revision up to which all such changes are in the answer.
    ///
    /// # Errors
    /// [`Error::TooOld`] when the history no longer reaches back to `after`.
    pub async fn changes(
        &self,
        kind: Option<Kind>,
        after: Revision,
        max: usize,
    ) -> Result<(Vec<Arc<Change>>, Revision), Error> {
        let history = &self.inner.shared.history;
        history.check(after, self.inner.shared.now().boot)?;
        match history.recent(kind, after, max) {
            Recent::Known(changes, complete) => Ok((changes, complete)),
            Recent::InDatabase(latest) => {
                let answer = self.inner.readers.changes(kind, after, latest, max).await?;
                history.check_complete(after)?;
                Ok(answer)
            }
        }
    }

    /// The object with this key, now.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn get(&self, key: &Key) -> Result<Option<Stored>, Error> {
        match self.inner.shared.present.get(key) {
            Some(stored) => Ok(Some(stored)),
            None => self.inner.readers.get(key).await,
        }
    }

    /// The object of this kind with this uid, now.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn get_by_uid(&self, kind: Kind, uid: &str) -> Result<Option<Stored>, Error> {
        self.inner.readers.get_by_uid(kind, uid).await
    }

    /// A chunk of a list.
    ///
    /// # Errors
    /// [`Error::TooOld`] when `at` has left the history.
    pub async fn list(&self, query: &ListQuery) -> Result<Chunk, Error> {
        let history = &self.inner.shared.history;
        let Some(at) = query.at else { return self.inner.readers.list(query).await };
        history.check(at, self.inner.shared.now().boot)?;
        let chunk = self.inner.readers.list(query).await?;
        history.check_complete(at)?;
        Ok(chunk)
    }

    /// How many objects a list would have after a key, for `remainingItemCount`.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn count(&self, query: &ListQuery) -> Result<u64, Error> {
        self.inner.readers.count(query).await
    }

    /// A job and, read in the same transaction, the pods that its decisions rest on: those that it controls and that are not finished
    /// or still carry the tracking finalizer, and those that it may adopt. `since`: the revision of the caller's last snapshot of this
    /// job, whose pods it still has; then only what changed after it is read, and the rest is told by revision.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn job_snapshot(&self, key: &Key, since: Option<Revision>) -> Result<Option<JobSnapshot>, Error> {
        match self.inner.shared.present.job_snapshot(key, since) {
            Some(snapshot) => Ok(Some(snapshot)),
            None => self.inner.readers.job_snapshot(key, since).await,
        }
    }

    /// Objects in the state that they had at these revisions, in that order. What was superseded may be gone, and is left out then.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn versions(&self, revisions: &[Revision]) -> Result<Vec<Stored>, Error> {
        self.inner.readers.versions(revisions).await
    }

    /// Cron jobs, when each is due, and the jobs that it controls, all read in the same transaction; none for what is not there.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn cron_job_snapshots(&self, keys: &[Key]) -> Result<Vec<Option<CronJobSnapshot>>, Error> {
        self.inner.readers.cron_job_snapshots(keys).await
    }

    /// Which of these objects, each named by key and uid, are not there or are being deleted: their places in the list, in order.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn gone_or_going(&self, objects: &[(&Key, &str)]) -> Result<Vec<usize>, Error> {
        self.inner.readers.gone_or_going(objects).await
    }

    /// A page of the objects of any kind with an owner reference to this uid, and its end, after which the next page begins; the first
    /// begins after 0.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn dependents(&self, owner_uid: &str, after: i64, max: usize) -> Result<(Vec<Stored>, i64), Error> {
        self.inner.readers.dependents(owner_uid, after, max).await
    }

    /// Keys of a kind that are not finished, or carry the tracking finalizer, or are being deleted: what a resync must look at.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn active(&self, kind: Kind) -> Result<Vec<Key>, Error> {
        self.inner.readers.active(kind).await
    }

    /// Keys of a kind that are being deleted.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn deleting(&self, kind: Kind) -> Result<Vec<Key>, Error> {
        self.inner.readers.deleting(kind).await
    }

    /// Which of these uids no object of the kind has.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn missing(&self, kind: Kind, uids: &[String]) -> Result<Vec<String>, Error> {
        self.inner.readers.missing(kind, uids).await
    }

    /// How many objects of a kind are finished and not being deleted. Costs all objects of the kind.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn count_finished(&self, kind: Kind) -> Result<u64, Error> {
        self.inner.readers.count_finished(kind).await
    }

    /// A page of those, in the order of their creation; `after` is 0, or what came with the page before.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn oldest_finished(&self, kind: Kind, after: i64, max: usize) -> Result<(Vec<Stored>, i64), Error> {
        self.inner.readers.oldest_finished(kind, after, max).await
    }

    /// A page of the uids that owner references name and no object has, in order, after `after`: what a crash between an owner's
    /// deletion and the collection of its dependents leaves, and owners of kinds that are not served. Costs all owner references.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn ownerless(&self, after: &str, max: usize) -> Result<Vec<String>, Error> {
        self.inner.readers.ownerless(after, max).await
    }

    /// Objects of a kind that are due at `now`, earliest first, at most `max`; and when the next one after these is due.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn due(&self, kind: Kind, now: Timestamp, max: usize) -> Result<(Vec<Stored>, Option<Timestamp>), Error> {
        self.inner.readers.due(kind, now, max).await
    }

    /// The same by key, without reading the objects.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn due_keys(
        &self,
        kind: Kind,
        now: Timestamp,
        max: usize,
    ) -> Result<(Vec<Key>, Option<Timestamp>), Error> {
        self.inner.readers.due_keys(kind, now, max).await
    }

    /// All attempts of a pod, oldest first.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn attempts(&self, pod_uid: &str) -> Result<Vec<Attempt>, Error> {
        match self.inner.shared.present.attempts(pod_uid) {
            Some(attempts) => Ok(attempts),
            None => self.inner.readers.attempts(pod_uid).await,
        }
    }

    /// All attempts that are not ended, or whose logs are not copied, or whose container is not removed: the node's work at a start.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn open_attempts(&self) -> Result<Vec<Attempt>, Error> {
        self.inner.readers.open_attempts().await
    }
}

/// What a decision about a cron job rests on.
#[derive(Clone, Debug)]
pub struct CronJobSnapshot {
    pub cron_job: Stored,
    /// What the last [`Write::Due`] said.
    pub due_at: Option<Timestamp>,
    /// Jobs whose controller is this cron job, finished or not, by name.
    pub jobs: Vec<Stored>,
}

/// What a decision about a job rests on.
#[derive(Clone, Debug)]
pub struct JobSnapshot {
    pub job: Stored,
    /// The newest revision of the whole store in this state.
    pub revision: Revision,
    /// Pods whose controller is this job and that are not finished or carry the tracking finalizer; those that changed. In a whole
    /// snapshot also others that may not match its selector any more.
    pub pods: Vec<Stored>,
    /// Revisions of such pods that did not change since the snapshot that the caller still has.
    pub unchanged: Vec<Revision>,
    /// Pods of the namespace that have no controller and may match the job's selector, for adoption (J-2101); those that changed. The
    /// selector is the caller's to check.
    pub orphans: Vec<Stored>,
}
