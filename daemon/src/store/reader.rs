//! Reads: each is one statement, so each sees one state of the whole store. Readers never wait for the writer.

use std::{ops::RangeInclusive, path::Path, sync::Arc};

use jiff::Timestamp;
use jobd_api::registry::Kind;
use serde_json::{Value, json};
use sqlx::{
    QueryBuilder, Row as _, Sqlite, SqlitePool,
    sqlite::{SqlitePoolOptions, SqliteRow},
};

use super::{
    Attempt, Change, ChangeType, Chunk, CronJobSnapshot, Error, JobSnapshot, Key, ListQuery, Revision, Stored,
    attempts, facts, fault, job_snapshot, schema,
};

/// One for each core, within these bounds: more would share the cores with everything else, and each costs 150 KB and its page cache.
const CONNECTIONS: RangeInclusive<usize> = 2..=4;

fn connections() -> u32 {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    u32::try_from(cores.clamp(*CONNECTIONS.start(), *CONNECTIONS.end())).unwrap_or(u32::MAX)
}

pub(super) struct Readers {
    pool: SqlitePool,
    path: String,
}

const GET: &str = "\
    SELECT o.kind, o.namespace, o.name, o.revision, v.body FROM objects o JOIN versions v ON v.revision = o.revision \
    WHERE o.kind = ?1 AND o.namespace = ?2 AND o.name = ?3";

/// Versions by their revisions, a JSON array.
pub(super) const VERSIONS: &str = "\
    SELECT v.kind, v.namespace, v.name, v.revision, v.body \
    FROM json_each(?1) r CROSS JOIN versions v ON v.revision = r.value ORDER BY v.revision";

pub(super) const GET_BY_UID: &str = "\
    SELECT o.kind, o.namespace, o.name, o.revision, v.body FROM objects o JOIN versions v ON v.revision = o.revision \
    WHERE o.kind = ?1 AND o.uid = ?2";

pub(super) const DEPENDENTS: &str = "\
    SELECT o.kind, o.namespace, o.name, o.revision, v.body, o.id \
    FROM owners w CROSS JOIN objects o ON o.id = w.object JOIN versions v ON v.revision = o.revision \
    WHERE w.owner_uid = ?1 AND w.object > ?2 ORDER BY w.object LIMIT ?3";

/// Keys of a kind that are being deleted. The first condition is that of the index `objects_active`, word for word (I-5).
const DELETING: &str = "\
    SELECT namespace, name FROM objects \
    WHERE kind = ?1 AND (finished = 0 OR tracking = 1 OR deleting = 1) AND deleting = 1 ORDER BY namespace, name";

/// Owner uids that some object names and no object has. ?1: the kinds as JSON; ?2: the last uid of the page before. Nearly all owners are
/// jobs, and to look for those first costs half.
pub(super) const OWNERLESS: &str = "\
    SELECT DISTINCT w.owner_uid FROM owners w WHERE w.owner_uid > ?2 \
        AND NOT EXISTS (SELECT 1 FROM objects o WHERE o.kind = 'jobs' AND o.uid = w.owner_uid) \
        AND NOT EXISTS (SELECT 1 FROM json_each(?1) k CROSS JOIN objects o ON o.kind = k.value AND o.uid = w.owner_uid) \
    ORDER BY w.owner_uid LIMIT ?3";

/// The condition is that of the index `objects_active`, word for word (I-5).
pub(super) const ACTIVE: &str = "\
    SELECT o.namespace, o.name FROM objects o \
    WHERE o.kind = ?1 AND (finished = 0 OR tracking = 1 OR deleting = 1) ORDER BY o.namespace, o.name";

/// Finished objects of a kind that are not being deleted, those that were created first. ?2: the id of the last one of the page before.
/// Ids rise with the time of creation.
pub(super) const OLDEST_FINISHED: &str = "\
    SELECT o.kind, o.namespace, o.name, o.revision, v.body, o.id \
    FROM objects o NOT INDEXED JOIN versions v ON v.revision = o.revision \
    WHERE o.id > ?2 AND o.kind = ?1 AND o.finished = 1 AND o.deleting = 0 ORDER BY o.id LIMIT ?3";

const COUNT_FINISHED: &str = "SELECT count(*) FROM objects WHERE kind = ?1 AND finished = 1 AND deleting = 0";

/// The places of those uids (?2, a JSON array) that no object of the kind has.
pub(super) const MISSING: &str = "\
    SELECT k.key FROM json_each(?2) k \
    WHERE NOT EXISTS (SELECT 1 FROM objects o WHERE o.kind = ?1 AND o.uid = k.value) ORDER BY k.key";

/// What is due with its bodies, then the time of the next that is not.
pub(super) const DUE: &str = "\
    SELECT o.kind, o.namespace, o.name, o.revision, v.body, o.due_at \
    FROM (SELECT * FROM objects WHERE kind = ?1 AND due_at <= ?2 ORDER BY due_at, id LIMIT ?3) o \
    JOIN versions v ON v.revision = o.revision \
    UNION ALL \
    SELECT * FROM (SELECT kind, namespace, name, NULL, NULL, due_at FROM objects \
    WHERE kind = ?1 AND due_at > ?2 ORDER BY due_at LIMIT 1)";

/// The same without bodies. The row of the next has no key.
pub(super) const DUE_KEYS: &str = "\
    SELECT * FROM (SELECT namespace, name, due_at FROM objects WHERE kind = ?1 AND due_at <= ?2 \
    ORDER BY due_at, id LIMIT ?3) \
    UNION ALL \
    SELECT * FROM (SELECT NULL, NULL, due_at FROM objects WHERE kind = ?1 AND due_at > ?2 ORDER BY due_at LIMIT 1)";

/// Cron jobs (part 0) with the time of their timers, and the jobs that they control (1). ?1: pairs of namespace and name as JSON; each
/// row begins with the place of its pair.
pub(super) const CRON_JOB_SNAPSHOTS: &str = "\
    WITH cron_job AS MATERIALIZED ( \
        SELECT k.key AS place, o.uid, o.namespace, o.name, o.revision, v.body, o.due_at \
        FROM json_each(?1) k \
        CROSS JOIN objects o ON o.kind = 'cronjobs' AND o.namespace = k.value ->> 0 AND o.name = k.value ->> 1 \
        JOIN versions v ON v.revision = o.revision) \
    SELECT place, 0, 'cronjobs', namespace, name, revision, body, due_at FROM cron_job \
    UNION ALL \
    SELECT cron_job.place, 1, o.kind, o.namespace, o.name, o.revision, v.body, NULL \
    FROM cron_job CROSS JOIN owners w ON w.owner_uid = cron_job.uid CROSS JOIN objects o ON o.id = w.object \
    JOIN versions v ON v.revision = o.revision \
    WHERE o.kind = 'jobs' AND o.namespace = cron_job.namespace AND o.controller_uid = cron_job.uid";

/// The places of those objects (?1: kind, namespace, name and uid as JSON) that are not there or are being deleted.
pub(super) const GONE_OR_GOING: &str = "\
    SELECT k.key FROM json_each(?1) k WHERE NOT EXISTS ( \
        SELECT 1 FROM objects o WHERE o.kind = k.value ->> 0 AND o.namespace = k.value ->> 1 AND o.name = k.value ->> 2 \
        AND +o.uid = k.value ->> 3 AND o.deleting = 0) \
    ORDER BY k.key";

const CHANGES: &str = "\
    SELECT v.kind, v.namespace, v.name, v.revision, v.body, v.deleted, v.facts, v.previous, p.body \
    FROM versions v LEFT JOIN versions p ON p.revision = v.previous \
    WHERE v.revision > ?1 AND v.revision <= ?2 ORDER BY v.revision LIMIT ?3";

pub(super) const CHANGES_OF_KIND: &str = "\
    SELECT v.kind, v.namespace, v.name, v.revision, v.body, v.deleted, v.facts, v.previous, p.body \
    FROM versions v LEFT JOIN versions p ON p.revision = v.previous \
    WHERE v.revision > ?1 AND v.revision <= ?2 AND v.kind = ?4 ORDER BY v.revision LIMIT ?3";

impl Readers {
    /// Connections are opened when they are first needed, and never closed: a timer for that would wake an idle daemon (I-11).
    pub(super) fn new(database: &Path) -> Self {
        let pool = SqlitePoolOptions::new()
            .min_connections(0)
            .max_connections(connections())
            .idle_timeout(None)
            .max_lifetime(None)
            .test_before_acquire(false)
            .connect_lazy_with(schema::reader_settings(database));
        Self { pool, path: database.display().to_string() }
    }

    pub(super) async fn close(&self) {
        self.pool.close().await;
    }

    fn error(&self, error: sqlx::Error) -> Error {
        match error {
            sqlx::Error::PoolClosed => Error::Closed,
            other => fault::database(&self.path, &other),
        }
    }

    pub(super) async fn get(&self, key: &Key) -> Result<Option<Stored>, Error> {
        let query = sqlx::query(GET).bind(key.kind.as_str()).bind(&key.namespace).bind(&key.name);
        let row = query.fetch_optional(&self.pool).await.map_err(|error| self.error(error))?;
        row.map(|row| stored(&row, 0)).transpose().map_err(|error| self.error(error))
    }

    pub(super) async fn get_by_uid(&self, kind: Kind, uid: &str) -> Result<Option<Stored>, Error> {
        let query = sqlx::query(GET_BY_UID).bind(kind.as_str()).bind(uid);
        let row = query.fetch_optional(&self.pool).await.map_err(|error| self.error(error))?;
        row.map(|row| stored(&row, 0)).transpose().map_err(|error| self.error(error))
    }

    pub(super) async fn list(&self, query: &ListQuery) -> Result<Chunk, Error> {
        self.read_list(query).await.map_err(|error| self.error(error))
    }

    async fn read_list(&self, query: &ListQuery) -> Result<Chunk, sqlx::Error> {
        let rows = list_sql(query).build().fetch_all(&self.pool).await?;

        let mut revision = query.at.unwrap_or_default();
        let mut items = Vec::with_capacity(rows.len().min(query.limit));
        for row in &rows {
            if query.at.is_none() {
                revision = Revision(row.try_get(0)?);
            }
            if let Some(revision) = row.try_get(3)? {
                let key = Key { kind: query.kind, namespace: row.try_get(1)?, name: row.try_get(2)? };
                let body = Arc::from(row.try_get::<&str, _>(4)?);
                items.push(Stored { key, revision: Revision(revision), body });
            }
        }
        // They come in this order already, but SQL does not promise it through a join.
        items.sort_unstable_by(|a, b| a.key.cmp(&b.key));
        let more = items.len() > query.limit;
        items.truncate(query.limit);
        Ok(Chunk { revision, items, more })
    }

    pub(super) async fn count(&self, query: &ListQuery) -> Result<u64, Error> {
        let mut sql = QueryBuilder::new("SELECT count(*) FROM (");
        push_keys(&mut sql, query);
        sql.push(")");
        let count: Result<i64, _> = sql.build_query_scalar().fetch_one(&self.pool).await;
        count.map(i64::unsigned_abs).map_err(|error| self.error(error))
    }

    pub(super) async fn job_snapshot(&self, key: &Key, since: Option<Revision>) -> Result<Option<JobSnapshot>, Error> {
        job_snapshot::read(&self.pool, key, since).await.map_err(|error| self.error(error))
    }

    pub(super) async fn versions(&self, revisions: &[Revision]) -> Result<Vec<Stored>, Error> {
        let revisions: Vec<i64> = revisions.iter().map(|revision| revision.0).collect();
        let query = sqlx::query(VERSIONS).bind(Value::from(revisions).to_string());
        let rows = query.fetch_all(&self.pool).await;
        let objects = rows.and_then(|rows| rows.iter().map(|row| stored(row, 0)).collect());
        objects.map_err(|error| self.error(error))
    }

    /// In the order of the keys; none for those that are not there.
    pub(super) async fn cron_job_snapshots(&self, keys: &[Key]) -> Result<Vec<Option<CronJobSnapshot>>, Error> {
        let read = async {
            let pairs: Vec<_> = keys.iter().map(|key| json!([key.namespace, key.name])).collect();
            let mut cron_jobs: Vec<Option<(Stored, Option<i64>)>> = vec![None; keys.len()];
            let mut jobs: Vec<Vec<Stored>> = vec![Vec::new(); keys.len()];
            let query = sqlx::query(CRON_JOB_SNAPSHOTS).bind(Value::Array(pairs).to_string());
            for row in query.fetch_all(&self.pool).await? {
                let place = usize::try_from(row.try_get::<i64, _>(0)?).unwrap_or(usize::MAX);
                let (Some(cron_job), Some(jobs)) = (cron_jobs.get_mut(place), jobs.get_mut(place)) else { continue };
                let object = stored(&row, 2)?;
                match row.try_get::<i64, _>(1)? {
                    0 => *cron_job = Some((object, row.try_get(7)?)),
                    _ => jobs.push(object),
                }
            }
            let snapshots = cron_jobs.into_iter().zip(jobs).map(|(cron_job, mut jobs)| {
                let (cron_job, due_at) = cron_job?;
                jobs.sort_unstable_by(|a, b| a.key.cmp(&b.key));
                Some(CronJobSnapshot { cron_job, due_at: due_at.map(facts::from_nanoseconds), jobs })
            });
            Ok(snapshots.collect())
        };
        read.await.map_err(|error| self.error(error))
    }

    pub(super) async fn gone_or_going(&self, objects: &[(&Key, &str)]) -> Result<Vec<usize>, Error> {
        let asked = objects.iter().map(|(key, uid)| json!([key.kind.as_str(), key.namespace, key.name, uid]));
        let asked = Value::Array(asked.collect()).to_string();
        let places = sqlx::query_scalar(GONE_OR_GOING).bind(asked).fetch_all(&self.pool).await;
        let places: Vec<i64> = places.map_err(|error| self.error(error))?;
        Ok(places.into_iter().filter_map(|place| usize::try_from(place).ok()).collect())
    }

    pub(super) async fn dependents(
        &self,
        owner_uid: &str,
        after: i64,
        max: usize,
    ) -> Result<(Vec<Stored>, i64), Error> {
        let query = sqlx::query(DEPENDENTS).bind(owner_uid).bind(after).bind(clamp(max));
        let read = async {
            let rows = query.fetch_all(&self.pool).await?;
            let last = rows.last().map_or(Ok(after), |row| row.try_get(5))?;
            Ok((rows.iter().map(|row| stored(row, 0)).collect::<Result<_, _>>()?, last))
        };
        read.await.map_err(|error| self.error(error))
    }

    pub(super) async fn active(&self, kind: Kind) -> Result<Vec<Key>, Error> {
        let rows = sqlx::query_as(ACTIVE).bind(kind.as_str()).fetch_all(&self.pool).await;
        let rows: Vec<(String, String)> = rows.map_err(|error| self.error(error))?;
        Ok(rows.into_iter().map(|(namespace, name)| Key { kind, namespace, name }).collect())
    }

    pub(super) async fn deleting(&self, kind: Kind) -> Result<Vec<Key>, Error> {
        let rows = sqlx::query_as(DELETING).bind(kind.as_str()).fetch_all(&self.pool).await;
        let rows: Vec<(String, String)> = rows.map_err(|error| self.error(error))?;
        Ok(rows.into_iter().map(|(namespace, name)| Key { kind, namespace, name }).collect())
    }

    pub(super) async fn count_finished(&self, kind: Kind) -> Result<u64, Error> {
        let count: Result<i64, _> = sqlx::query_scalar(COUNT_FINISHED).bind(kind.as_str()).fetch_one(&self.pool).await;
        count.map(i64::unsigned_abs).map_err(|error| self.error(error))
    }

    pub(super) async fn oldest_finished(
        &self,
        kind: Kind,
        after: i64,
        max: usize,
    ) -> Result<(Vec<Stored>, i64), Error> {
        let query = sqlx::query(OLDEST_FINISHED).bind(kind.as_str()).bind(after).bind(clamp(max));
        let read = async {
            let rows = query.fetch_all(&self.pool).await?;
            let objects = rows.iter().map(|row| stored(row, 0)).collect::<Result<Vec<_>, _>>()?;
            let last = rows.last().map(|row| row.try_get(5)).transpose()?;
            Ok((objects, last.unwrap_or(after)))
        };
        read.await.map_err(|error| self.error(error))
    }

    pub(super) async fn missing(&self, kind: Kind, uids: &[String]) -> Result<Vec<String>, Error> {
        let query = sqlx::query_scalar(MISSING).bind(kind.as_str()).bind(json!(uids).to_string());
        let places: Vec<i64> = query.fetch_all(&self.pool).await.map_err(|error| self.error(error))?;
        let uid = |place: i64| uids.get(usize::try_from(place).ok()?).cloned();
        Ok(places.into_iter().filter_map(uid).collect())
    }

    pub(super) async fn ownerless(&self, after: &str, max: usize) -> Result<Vec<String>, Error> {
        let kinds = Value::from(Kind::ALL.map(Kind::as_str).to_vec()).to_string();
        let query = sqlx::query_scalar(OWNERLESS).bind(kinds).bind(after).bind(clamp(max));
        query.fetch_all(&self.pool).await.map_err(|error| self.error(error))
    }

    pub(super) async fn due(
        &self,
        kind: Kind,
        now: Timestamp,
        max: usize,
    ) -> Result<(Vec<Stored>, Option<Timestamp>), Error> {
        let read = async {
            let query = sqlx::query(DUE)
                .bind(kind.as_str())
                .bind(facts::to_nanoseconds(now))
                .bind(clamp(max.saturating_add(1)));
            let (mut due, mut next) = (Vec::new(), None);
            for row in query.fetch_all(&self.pool).await? {
                let at: i64 = row.try_get(5)?;
                if row.try_get::<Option<i64>, _>(3)?.is_some() {
                    due.push((at, stored(&row, 0)?));
                } else {
                    next = Some(at);
                }
            }
            due.sort_by_key(|(at, _)| *at);
            if due.len() > max {
                next = due.get(max).map(|(at, _)| *at);
                due.truncate(max);
            }
            Ok((due.into_iter().map(|(_, object)| object).collect(), next.map(facts::from_nanoseconds)))
        };
        read.await.map_err(|error| self.error(error))
    }

    pub(super) async fn due_keys(
        &self,
        kind: Kind,
        now: Timestamp,
        max: usize,
    ) -> Result<(Vec<Key>, Option<Timestamp>), Error> {
        let read = async {
            let query = sqlx::query(DUE_KEYS)
                .bind(kind.as_str())
                .bind(facts::to_nanoseconds(now))
                .bind(clamp(max.saturating_add(1)));
            let (mut due, mut next) = (Vec::new(), None);
            for row in query.fetch_all(&self.pool).await? {
                let at: i64 = row.try_get(2)?;
                match row.try_get(0)? {
                    Some(namespace) => due.push((at, Key { kind, namespace, name: row.try_get(1)? })),
                    None => next = Some(at),
                }
            }
            due.sort_by_key(|(at, _)| *at);
            if let Some((at, _)) = due.get(max) {
                next = Some(*at);
                due.truncate(max);
            }
            Ok((due.into_iter().map(|(_, key)| key).collect(), next.map(facts::from_nanoseconds)))
        };
        read.await.map_err(|error| self.error(error))
    }

    /// Changes in `(after, to]`, at most `max`, and up to where they are complete.
    pub(super) async fn changes(
        &self,
        kind: Option<Kind>,
        after: Revision,
        to: Revision,
        max: usize,
    ) -> Result<(Vec<Arc<Change>>, Revision), Error> {
        let text = if kind.is_some() { CHANGES_OF_KIND } else { CHANGES };
        let mut query = sqlx::query(text).bind(after.0).bind(to.0).bind(clamp(max));
        if let Some(kind) = kind {
            query = query.bind(kind.as_str());
        }
        let rows = query.fetch_all(&self.pool).await;
        let changes = rows.and_then(|rows| rows.iter().map(change).collect::<Result<Vec<_>, _>>());
        let changes = changes.map_err(|error| self.error(error))?;
        let complete = changes.last().filter(|_| changes.len() == max).map_or(to, |last| last.revision);
        Ok((changes, complete))
    }

    pub(super) async fn attempts(&self, pod_uid: &str) -> Result<Vec<Attempt>, Error> {
        let rows = sqlx::query(attempts::SELECT_OF_POD).bind(pod_uid).fetch_all(&self.pool).await;
        rows.and_then(|rows| rows.iter().map(attempts::read).collect()).map_err(|error| self.error(error))
    }

    pub(super) async fn open_attempts(&self) -> Result<Vec<Attempt>, Error> {
        let rows = sqlx::query(attempts::SELECT_OPEN).fetch_all(&self.pool).await;
        rows.and_then(|rows| rows.iter().map(attempts::read).collect()).map_err(|error| self.error(error))
    }
}

/// The revision comes with the rows, so that both are of the same state; it comes even when there are no rows.
fn list_sql(query: &ListQuery) -> QueryBuilder<Sqlite> {
    let mut sql =
        QueryBuilder::new("SELECT m.last_revision, k.namespace, k.name, k.revision, v.body FROM meta m LEFT JOIN (");
    push_keys(&mut sql, query);
    sql.push(" ORDER BY 1, 2 LIMIT ").push_bind(clamp(query.limit.saturating_add(1)));
    sql.push(") k ON true LEFT JOIN versions v ON v.revision = k.revision");
    sql
}

/// Adds the SELECT of (namespace, name, revision) of all objects of a list, in no order.
///
/// Now: rows of `objects`. At a revision: the objects that were not changed since, and for those that were, the version that
/// their first change after it replaced; each of these is checked by its own facts.
fn push_keys(sql: &mut QueryBuilder<Sqlite>, query: &ListQuery) {
    push_current(sql, query);
    if let Some(Revision(at)) = query.at {
        sql.push(" AND o.revision <= ").push_bind(at);
        sql.push(" UNION ALL ");
        push_replaced(sql, query, at);
    }
}

/// Without statistics the planner cannot know which condition is the narrow one. It is told: the label that comes first drives;
/// else the involved object; else the key. A `+` keeps a condition from choosing the index.
fn push_current(sql: &mut QueryBuilder<Sqlite>, query: &ListQuery) {
    let is_narrow = query.involved_uid.is_some() || query.involved_name.is_some() || !query.labels.is_empty();
    let mut labels = query.labels.iter();
    sql.push("SELECT o.namespace, o.name, o.revision FROM ");
    if let Some((key, value)) = labels.next() {
        sql.push("labels l CROSS JOIN objects o ON o.id = l.object WHERE l.key = ").push_bind(key.clone());
        sql.push(" AND l.value = ").push_bind(value.clone()).push(" AND ");
    } else {
        sql.push("objects o WHERE ");
    }
    sql.push(if is_narrow { "+o.kind = " } else { "o.kind = " }).push_bind(query.kind.as_str());
    push_place(sql, query, if is_narrow { "+o" } else { "o" });
    if let Some(uid) = &query.involved_uid {
        sql.push(" AND o.involved_uid = ").push_bind(uid.clone());
    }
    if let Some(name) = &query.involved_name {
        // The uid, when it is given, is the narrower of the two.
        let column = if query.involved_uid.is_some() { "+o.involved_name" } else { "o.involved_name" };
        sql.push(" AND ").push(column).push(" = ").push_bind(name.clone());
    }
    for (key, value) in labels {
        sql.push(" AND EXISTS (SELECT 1 FROM labels x WHERE x.object = o.id AND x.key = ").push_bind(key.clone());
        sql.push(" AND x.value = ").push_bind(value.clone()).push(")");
    }
}

fn push_replaced(sql: &mut QueryBuilder<Sqlite>, query: &ListQuery, at: i64) {
    sql.push(
        "SELECT p.namespace, p.name, p.revision FROM versions c CROSS JOIN versions p ON p.revision = c.previous ",
    );
    sql.push("WHERE c.kind = ").push_bind(query.kind.as_str());
    sql.push(" AND c.revision > ").push_bind(at).push(" AND c.previous <= ").push_bind(at);
    push_place(sql, query, "p");
    for (column, value) in [("involved_uid", &query.involved_uid), ("involved_name", &query.involved_name)] {
        if let Some(value) = value {
            sql.push(" AND p.facts ->> '$.").push(column).push("' = ").push_bind(value.clone());
        }
    }
    for (key, value) in &query.labels {
        sql.push(" AND EXISTS (SELECT 1 FROM json_each(p.facts, '$.labels') x WHERE x.value ->> 0 = ");
        sql.push_bind(key.clone()).push(" AND x.value ->> 1 = ").push_bind(value.clone()).push(")");
    }
}

/// Namespace, name and the place after which the list goes on.
fn push_place(sql: &mut QueryBuilder<Sqlite>, query: &ListQuery, table: &str) {
    if let Some(namespace) = &query.namespace {
        sql.push(format_args!(" AND {table}.namespace = ")).push_bind(namespace.clone());
    }
    if let Some(name) = &query.name {
        sql.push(format_args!(" AND {table}.name = ")).push_bind(name.clone());
    }
    let Some((namespace, name)) = &query.after else { return };
    if query.namespace.as_ref() == Some(namespace) {
        // The row value below would not be used as a range inside one namespace.
        sql.push(format_args!(" AND {table}.name > ")).push_bind(name.clone());
    } else {
        sql.push(format_args!(" AND ({table}.namespace, {table}.name) > (")).push_bind(namespace.clone());
        sql.push(", ").push_bind(name.clone()).push(")");
    }
}

fn clamp(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}

/// Reads kind, namespace, name, revision and body, from a column on.
pub(super) fn stored(row: &SqliteRow, from: usize) -> Result<Stored, sqlx::Error> {
    Ok(Stored {
        key: key(row, from)?,
        revision: Revision(row.try_get(from + 3)?),
        body: Arc::from(row.try_get::<&str, _>(from + 4)?),
    })
}

fn key(row: &SqliteRow, from: usize) -> Result<Key, sqlx::Error> {
    let plural: &str = row.try_get(from)?;
    let kind = Kind::find(plural).ok_or_else(|| sqlx::Error::Decode(format!("unknown kind `{plural}`").into()))?;
    Ok(Key { kind, namespace: row.try_get(from + 1)?, name: row.try_get(from + 2)? })
}

fn change(row: &SqliteRow) -> Result<Arc<Change>, sqlx::Error> {
    let Stored { key, revision, body } = stored(row, 0)?;
    let index = facts::parse(row.try_get(6)?).map_err(|reason| sqlx::Error::Decode(reason.into()))?;
    let change_type = match (row.try_get(5)?, row.try_get::<Option<i64>, _>(7)?) {
        (true, _) => ChangeType::Deleted,
        (false, Some(_)) => ChangeType::Modified,
        (false, None) => ChangeType::Created,
    };
    let previous: Option<&str> = row.try_get(8)?;
    Ok(Arc::new(Change { revision, change_type, key, body, previous: previous.map(Arc::from), index, at: None }))
}

/// What a list asks SQLite, for the test that looks at the plan.
#[cfg(test)]
pub(super) fn list_text(query: &ListQuery) -> String {
    list_sql(query).sql().as_str().to_owned()
}
