//! What is active, in memory: the current rows of jobs, pods and namespaces that are not over, and the attempts of such pods.
//!
//! Each look of a loop at a job or a pod asks for these again and again; from here it costs no call to a database thread. The writer
//! changes it after each commit, before anybody is told, so that it is never behind what was answered. What is over is not here (I-5), nor
//! are jobs that are suspended and at rest ([`is_parked`]), nor is anything while the file has not been read: then the database answers. No
//! SQL but what fills it.

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, PoisonError, RwLock},
};

use futures_util::TryStreamExt as _;
use jobd_api::{index::Index, registry::Kind};
use serde::Deserialize;
use sqlx::{Row as _, SqliteConnection, sqlite::SqliteRow};

use super::{
    Attempt, Change, ChangeType, JobSnapshot, Key, Revision, Stored, attempts,
    batch::{Content, Current, Rows},
    facts,
};

/// Whose active objects are kept.
const KINDS: [Kind; 3] = [Kind::Job, Kind::Namespace, Kind::Pod];

/// The condition is that of the index `objects_active`, word for word (I-5).
const SELECT_ACTIVE: &str = "\
    SELECT o.namespace, o.name, o.revision, v.body, v.facts, o.id, o.due_at \
    FROM objects o JOIN versions v ON v.revision = o.revision \
    WHERE o.kind = ?1 AND (finished = 0 OR tracking = 1 OR deleting = 1) ORDER BY o.id";

/// Pods without a controller that are over: a job may adopt them (J-2101).
const SELECT_OVER_AND_FREE: &str = "\
    SELECT namespace, name FROM objects INDEXED BY objects_orphaned_pods \
    WHERE kind = 'pods' AND controller_uid IS NULL AND finished = 1 AND tracking = 0 AND deleting = 0";

const SELECT_HAS_PODS_OVER: &str = "\
    SELECT j.uid, EXISTS (SELECT 1 FROM owners w CROSS JOIN objects o ON o.id = w.object \
        WHERE w.owner_uid = j.uid AND o.kind = 'pods' AND o.finished = 1 AND o.tracking = 0) \
    FROM objects j WHERE j.kind = 'jobs' AND (finished = 0 OR tracking = 1 OR deleting = 1)";

/// The current rows of what is active; nothing at all when that is not known.
#[derive(Default)]
pub(super) struct Present {
    state: RwLock<Option<State>>,
}

#[derive(Default)]
struct State {
    rows: BTreeMap<Key, Row>,
    /// Pods by the uid of their controller.
    controlled: BTreeMap<String, BTreeSet<Key>>,
    /// Pods without a controller, by namespace.
    free: BTreeMap<String, BTreeSet<Key>>,
    /// Those that are over, whose rows are in the database only.
    over_and_free: BTreeSet<Key>,
    /// uids of active jobs, and whether one may control pods that are over.
    has_pods_over: BTreeMap<String, bool>,
    /// The newest revision of the whole store.
    latest: Revision,
    /// All attempts of a pod by its uid, for pods that were active ever since they were created.
    attempts: BTreeMap<String, Vec<Attempt>>,
}

struct Row {
    stored: Stored,
    index: Arc<Index>,
    id: i64,
    due_at: Option<i64>,
}

impl Present {
    /// Reads what is active from the file.
    pub(super) async fn load(&self, connection: &mut SqliteConnection) -> Result<(), sqlx::Error> {
        let mut state = State::default();
        for kind in KINDS {
            let mut rows = sqlx::query(SELECT_ACTIVE).bind(kind.as_str()).fetch(&mut *connection);
            while let Some(row) = rows.try_next().await? {
                let row = read_row(kind, &row)?;
                if !is_parked(kind, &row.stored.body) {
                    state.insert(row);
                }
            }
        }
        for (namespace, name) in
            sqlx::query_as::<_, (String, String)>(SELECT_OVER_AND_FREE).fetch_all(&mut *connection).await?
        {
            state.over_and_free.insert(Key { kind: Kind::Pod, namespace, name });
        }
        let has_pods_over: Vec<(String, bool)> =
            sqlx::query_as(SELECT_HAS_PODS_OVER).fetch_all(&mut *connection).await?;
        let jobs = state.rows.values().filter(|row| row.stored.key.kind == Kind::Job);
        let jobs: BTreeSet<&str> = jobs.map(|row| row.index.uid.as_str()).collect();
        state.has_pods_over = has_pods_over.into_iter().filter(|(uid, _)| jobs.contains(uid.as_str())).collect();
        let latest = sqlx::query_scalar("SELECT last_revision FROM meta").fetch_one(&mut *connection).await?;
        state.latest = Revision(latest);
        let pods = state.rows.values().filter(|row| row.stored.key.kind == Kind::Pod);
        state.attempts = pods.map(|row| (row.index.uid.clone(), Vec::new())).collect();
        for row in sqlx::query(attempts::SELECT_OF_ACTIVE).fetch_all(&mut *connection).await? {
            let attempt = attempts::read(&row)?;
            if let Some(attempts) = state.attempts.get_mut(&attempt.pod_uid) {
                attempts.push(attempt);
            }
        }
        *self.write() = Some(state);
        Ok(())
    }

    /// From now on the database answers.
    pub(super) fn forget(&self) {
        *self.write() = None;
    }

    /// The object, if it is active.
    pub(super) fn get(&self, key: &Key) -> Option<Stored> {
        Some(self.read().as_ref()?.rows.get(key)?.stored.clone())
    }

    /// The row as the writer needs it, if the object is active.
    pub(super) fn current(&self, key: &Key) -> Option<Current> {
        let state = self.read();
        let Row { stored, index, id, due_at } = state.as_ref()?.rows.get(key)?;
        Some(Current {
            id: *id,
            revision: stored.revision.0,
            deleting: index.deleting,
            due_at: *due_at,
            content: Some(Content { body: Arc::clone(&stored.body), index: Arc::clone(index) }),
        })
    }

    /// As [`super::Store::job_snapshot`], if the job is active and no pod matters to it that is not.
    pub(super) fn job_snapshot(&self, key: &Key, since: Option<Revision>) -> Option<JobSnapshot> {
        let state = self.read();
        let state = state.as_ref()?;
        let job = state.rows.get(key)?;
        let free_and_over = state.over_and_free.range(first_pod(&key.namespace)..).next();
        if free_and_over.is_some_and(|pod| pod.namespace == key.namespace)
            || (since.is_none() && state.has_pods_over.get(&job.index.uid) != Some(&false))
        {
            return None;
        }
        let rows = |keys: Option<&BTreeSet<Key>>| -> Vec<&Row> {
            keys.into_iter().flatten().filter_map(|key| state.rows.get(key)).collect()
        };
        let has_changed = |row: &&Row| since.is_none_or(|since| row.stored.revision > since);
        let controlled = rows(state.controlled.get(&job.index.uid)).into_iter();
        let (changed, rest): (Vec<&Row>, Vec<&Row>) =
            controlled.filter(|row| !row.index.finished || row.index.tracking).partition(has_changed);
        let mut unchanged: Vec<Revision> = rest.into_iter().map(|row| row.stored.revision).collect();
        unchanged.sort_unstable();
        let mut orphans = rows(state.free.get(&key.namespace));
        if since.is_none() && !orphans.is_empty() {
            let wanted = match_labels(&job.stored.body)?;
            orphans.retain(|row| wanted.iter().all(|label| row.index.labels.contains(label)));
        }
        let stored = |rows: Vec<&Row>| rows.into_iter().filter(has_changed).map(|row| row.stored.clone()).collect();
        Some(JobSnapshot {
            job: job.stored.clone(),
            revision: state.latest,
            pods: stored(changed),
            unchanged,
            orphans: stored(orphans),
        })
    }

    /// All attempts of a pod, if it was active ever since it was created.
    pub(super) fn attempts(&self, pod_uid: &str) -> Option<Vec<Attempt>> {
        self.read().as_ref()?.attempts.get(pod_uid).cloned()
    }

    /// Follows a commit.
    pub(super) fn apply(&self, changes: &[Arc<Change>], rows: &Rows) {
        let mut state = self.write();
        let Some(state) = state.as_mut() else { return };
        for change in changes {
            state.apply(change);
            state.latest = change.revision;
        }
        for object in &rows.objects {
            if let Some(row) = state.rows.get_mut(&object.key) {
                row.id = object.id;
                row.due_at = object.due_at;
            }
        }
        // What was forgotten goes before what was told after it, as in the database.
        for pod_uid in &rows.forgotten_pods {
            if let Some(attempts) = state.attempts.get_mut(pod_uid) {
                attempts.clear();
            }
        }
        for attempt in &rows.attempts {
            if let Some(attempts) = state.attempts.get_mut(&attempt.pod_uid) {
                attempts.retain(|one| (&one.container, one.attempt) != (&attempt.container, attempt.attempt));
                attempts.push(attempt.clone());
                attempts::sort(attempts);
            }
        }
    }

    fn read(&self) -> std::sync::RwLockReadGuard<'_, Option<State>> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> std::sync::RwLockWriteGuard<'_, Option<State>> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn apply(&mut self, change: &Change) {
        if !KINDS.contains(&change.key.kind) {
            return;
        }
        self.remove(&change.key);
        let Change { revision, change_type, key, body, previous: _, index, at: _ } = change;
        let is_there = *change_type != ChangeType::Deleted;
        let is_pod = key.kind == Kind::Pod;
        if is_pod
            && is_there
            && index.finished
            && !index.tracking
            && let Some(uid) = &index.controller_uid
            && let Some(has_pods_over) = self.has_pods_over.get_mut(uid)
        {
            *has_pods_over = true;
        }
        if is_there && is_active(index) && !is_parked(key.kind, body) {
            if is_pod && *change_type == ChangeType::Created {
                self.attempts.insert(index.uid.clone(), Vec::new());
            }
            let stored = Stored { key: key.clone(), revision: *revision, body: Arc::clone(body) };
            if key.kind == Kind::Job {
                // One that comes back, because it is being deleted or goes on, may have had pods all along.
                self.has_pods_over.entry(index.uid.clone()).or_insert(*change_type != ChangeType::Created);
            }
            // Id and due time follow with the rows of the same commit.
            self.insert(Row { stored, index: Arc::clone(index), id: revision.0, due_at: None });
        } else if is_pod {
            self.attempts.remove(&index.uid);
            if is_there && index.controller_uid.is_none() {
                self.over_and_free.insert(key.clone());
            }
        } else if key.kind == Kind::Job {
            self.has_pods_over.remove(&index.uid);
        }
    }

    fn insert(&mut self, row: Row) {
        let key = row.stored.key.clone();
        if key.kind == Kind::Pod {
            match &row.index.controller_uid {
                Some(uid) => self.controlled.entry(uid.clone()).or_default().insert(key.clone()),
                None => self.free.entry(key.namespace.clone()).or_default().insert(key.clone()),
            };
        }
        self.rows.insert(key, row);
    }

    fn remove(&mut self, key: &Key) {
        self.over_and_free.remove(key);
        let Some(row) = self.rows.remove(key) else { return };
        if key.kind == Kind::Pod {
            match &row.index.controller_uid {
                Some(uid) => remove_from(&mut self.controlled, uid, key),
                None => remove_from(&mut self.free, &key.namespace, key),
            }
        }
    }
}

fn remove_from(sets: &mut BTreeMap<String, BTreeSet<Key>>, of: &str, key: &Key) {
    if let Some(set) = sets.get_mut(of) {
        set.remove(key);
        if set.is_empty() {
            sets.remove(of);
        }
    }
}

fn is_active(index: &Index) -> bool {
    !index.finished || index.tracking || index.deleting
}

/// Whether this is a job that is suspended, says so, and has no pods: it waits for somebody to resume it. A cron job may make thousands of
/// such a minute, so they cost no memory; their next look is made when they change, and asks the database.
fn is_parked(kind: Kind, body: &str) -> bool {
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Job<'a> {
        spec: Spec,
        #[serde(borrow)]
        status: Status<'a>,
    }
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Spec {
        suspend: bool,
    }
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Status<'a> {
        #[serde(borrow)]
        conditions: Vec<Condition<'a>>,
        active: i64,
        terminating: i64,
    }
    #[derive(Deserialize)]
    struct Condition<'a> {
        #[serde(borrow, rename = "type")]
        kind: Cow<'a, str>,
        #[serde(borrow)]
        status: Cow<'a, str>,
    }
    // Of most jobs this says it without parsing.
    if kind != Kind::Job || !body.contains(r#""Suspended""#) {
        return false;
    }
    serde_json::from_str::<Job<'_>>(body).is_ok_and(|Job { spec, status }| {
        let Status { conditions, active, terminating } = status;
        let says_so = |condition: &Condition<'_>| condition.kind == "Suspended" && condition.status == "True";
        spec.suspend && active == 0 && terminating == 0 && conditions.iter().any(says_so)
    })
}

/// Before all pods of the namespace.
fn first_pod(namespace: &str) -> Key {
    Key::new(Kind::Pod, namespace, "")
}

/// `spec.selector.matchLabels` of a stored job; none when it cannot be read, which the database then says.
fn match_labels(job: &str) -> Option<Vec<(String, String)>> {
    #[derive(Default, Deserialize)]
    #[serde(default, rename_all = "camelCase")]
    struct Job {
        spec: Spec,
    }
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Spec {
        selector: Selector,
    }
    #[derive(Default, Deserialize)]
    #[serde(default, rename_all = "camelCase")]
    struct Selector {
        match_labels: BTreeMap<String, String>,
    }
    let job: Job = serde_json::from_str(job).ok()?;
    Some(job.spec.selector.match_labels.into_iter().collect())
}

fn read_row(kind: Kind, row: &SqliteRow) -> Result<Row, sqlx::Error> {
    let key = Key { kind, namespace: row.try_get(0)?, name: row.try_get(1)? };
    let index = facts::parse(row.try_get(4)?).map_err(|reason| sqlx::Error::Decode(reason.into()))?;
    let stored = Stored { key, revision: Revision(row.try_get(2)?), body: Arc::from(row.try_get::<&str, _>(3)?) };
    Ok(Row { stored, index, id: row.try_get(5)?, due_at: row.try_get(6)? })
}
