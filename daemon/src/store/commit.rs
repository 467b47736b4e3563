//! A decided batch as SQL. Calls to the connection's thread are what costs (about 40 µs each), so rows travel many at a
//! time: bodies and objects in statements of up to [`CHUNK`] rows, short rows as one JSON parameter.

use std::{
    collections::BTreeMap,
    sync::{Arc, LazyLock},
};

use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Row as _, SqliteConnection};

use super::{
    Attempt, Key, attempts,
    batch::{Content, Current, Keys, ObjectRow, Rows, Version},
    facts,
};

/// Rows per statement. The texts are few, so their prepared statements stay cached: one text per batch size cost 20 MB.
const CHUNK: usize = 8;

/// One statement text per number of rows.
struct Chunks([String; CHUNK]);

impl Chunks {
    fn new(head: &str, columns: usize, tail: &str) -> Self {
        let row = format!("({})", vec!["?"; columns].join(","));
        Self(std::array::from_fn(|index| format!("{head} VALUES {} {tail}", vec![row.as_str(); index + 1].join(","))))
    }

    /// The text for `rows` rows, 1 to [`CHUNK`].
    fn text(&'static self, rows: usize) -> &'static str {
        &self.0[rows - 1]
    }
}

static INSERT_VERSIONS: LazyLock<Chunks> = LazyLock::new(|| {
    Chunks::new("INSERT INTO versions (revision, kind, namespace, name, previous, deleted, facts, body)", 8, "")
});

static UPSERT_OBJECTS: LazyLock<Chunks> = LazyLock::new(|| {
    Chunks::new(
        "INSERT INTO objects (id, kind, namespace, name, revision, uid, controller_uid, deleting, finished, tracking, \
         node, involved_uid, involved_name, due_at)",
        14,
        "ON CONFLICT (id) DO UPDATE SET revision = excluded.revision, uid = excluded.uid, \
         controller_uid = excluded.controller_uid, deleting = excluded.deleting, finished = excluded.finished, \
         tracking = excluded.tracking, node = excluded.node, involved_uid = excluded.involved_uid, \
         involved_name = excluded.involved_name, due_at = excluded.due_at",
    )
});

static REPLACE_ATTEMPTS: LazyLock<Chunks> = LazyLock::new(|| {
    Chunks::new(&format!("INSERT OR REPLACE INTO attempts ({})", attempts::COLUMNS), attempts::COLUMN_COUNT, "")
});

pub(super) const SELECT_CURRENT: &str = "\
    SELECT k.key, o.id, o.revision, o.deleting, o.due_at, v.body, v.facts \
    FROM json_each(?1) k \
    CROSS JOIN objects o ON o.kind = k.value ->> 0 AND o.namespace = k.value ->> 1 AND o.name = k.value ->> 2 \
    LEFT JOIN versions v ON v.revision = o.revision AND k.value ->> 3";

/// The current rows of all keys of a batch, in one call.
pub(super) async fn read_current(
    connection: &mut SqliteConnection,
    keys: &Keys,
) -> Result<BTreeMap<Key, Current>, sqlx::Error> {
    if keys.is_empty() {
        return Ok(BTreeMap::new());
    }
    let order: Vec<(&Key, bool)> = keys.iter().map(|(key, body)| (key, *body)).collect();
    let parameter: Vec<Value> =
        order.iter().map(|(key, body)| json!([key.kind.as_str(), key.namespace, key.name, body])).collect();
    let rows = sqlx::query(SELECT_CURRENT).bind(Value::Array(parameter).to_string()).fetch_all(connection).await?;
    let mut current = BTreeMap::new();
    for row in rows {
        let position = usize::try_from(row.try_get::<i64, _>(0)?).unwrap_or(usize::MAX);
        let Some((key, _)) = order.get(position) else { continue };
        let body: Option<&str> = row.try_get(5)?;
        let content = match body {
            Some(body) => {
                let index = facts::parse(row.try_get(6)?)
                    .map_err(|reason| sqlx::Error::Decode(format!("{key:?}: {reason}").into()))?;
                Some(Content { body: Arc::from(body), index })
            }
            None => None,
        };
        let object = Current {
            id: row.try_get(1)?,
            revision: row.try_get(2)?,
            deleting: row.try_get(3)?,
            due_at: row.try_get(4)?,
            content,
        };
        current.insert(Key::clone(key), object);
    }
    Ok(current)
}

/// Writes everything of a batch; the caller begins and commits.
pub(super) async fn write(connection: &mut SqliteConnection, rows: &Rows) -> Result<(), sqlx::Error> {
    let Rows { versions, gone, objects, unlabelled, labels, disowned, owners, forgotten_pods, attempts } = rows;
    for chunk in versions.chunks(CHUNK) {
        insert_versions(connection, chunk).await?;
    }
    let steps: [(&'static str, Vec<Value>); 2] = [
        (
            "DELETE FROM objects WHERE id IN (SELECT value FROM json_each(?1))",
            gone.iter().map(|id| json!(id)).collect(),
        ),
        (
            "DELETE FROM labels WHERE object IN (SELECT value FROM json_each(?1))",
            unlabelled.iter().map(|id| json!(id)).collect(),
        ),
    ];
    for (sql, values) in steps {
        execute_json(connection, sql, values).await?;
    }
    for chunk in objects.chunks(CHUNK) {
        upsert_objects(connection, chunk).await?;
    }
    let steps: [(&'static str, Vec<Value>); 4] = [
        (
            "INSERT INTO labels SELECT value ->> 0, value ->> 1, value ->> 2 FROM json_each(?1)",
            labels.iter().map(|(id, key, value)| json!([id, key, value])).collect(),
        ),
        (
            "DELETE FROM owners WHERE object IN (SELECT value FROM json_each(?1))",
            disowned.iter().map(|id| json!(id)).collect(),
        ),
        (
            "INSERT INTO owners SELECT value ->> 0, value ->> 1 FROM json_each(?1)",
            owners.iter().map(|(id, uid)| json!([id, uid])).collect(),
        ),
        (
            "DELETE FROM attempts WHERE pod_uid IN (SELECT value FROM json_each(?1))",
            forgotten_pods.iter().map(|uid| json!(uid)).collect(),
        ),
    ];
    for (sql, values) in steps {
        execute_json(connection, sql, values).await?;
    }
    for chunk in attempts.chunks(CHUNK) {
        replace_attempts(connection, chunk).await?;
    }
    Ok(())
}

/// Runs a statement over a JSON array; not at all when that is empty.
async fn execute_json(
    connection: &mut SqliteConnection,
    sql: &'static str,
    values: Vec<Value>,
) -> Result<(), sqlx::Error> {
    if !values.is_empty() {
        sqlx::query(sql).bind(Value::Array(values).to_string()).execute(connection).await?;
    }
    Ok(())
}

async fn insert_versions(connection: &mut SqliteConnection, rows: &[Version]) -> Result<(), sqlx::Error> {
    let mut query = sqlx::query(INSERT_VERSIONS.text(rows.len()));
    for row in rows {
        let Version { revision, key, previous, deleted, facts, body } = row;
        query = query
            .bind(revision)
            .bind(key.kind.as_str())
            .bind(&key.namespace)
            .bind(&key.name)
            .bind(previous)
            .bind(deleted)
            .bind(facts)
            .bind(Arc::clone(body));
    }
    query.execute(connection).await.map(drop)
}

async fn upsert_objects(connection: &mut SqliteConnection, rows: &[ObjectRow]) -> Result<(), sqlx::Error> {
    let mut query = sqlx::query(UPSERT_OBJECTS.text(rows.len()));
    for row in rows {
        let ObjectRow { key, id, revision, due_at, index } = row;
        query = query
            .bind(id)
            .bind(key.kind.as_str())
            .bind(&key.namespace)
            .bind(&key.name)
            .bind(revision)
            .bind(&index.uid)
            .bind(&index.controller_uid)
            .bind(index.deleting)
            .bind(index.finished)
            .bind(index.tracking)
            .bind(&index.node)
            .bind(&index.involved_uid)
            .bind(&index.involved_name)
            .bind(due_at);
    }
    query.execute(connection).await.map(drop)
}

async fn replace_attempts(connection: &mut SqliteConnection, rows: &[Attempt]) -> Result<(), sqlx::Error> {
    let query = sqlx::query(REPLACE_ATTEMPTS.text(rows.len()));
    rows.iter().fold(query, attempts::bind).execute(connection).await.map(drop)
}

/// Runs statements without parameters, all in one call.
pub(super) async fn run(connection: &mut SqliteConnection, sql: String) -> Result<(), sqlx::Error> {
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(connection).await.map(drop)
}
