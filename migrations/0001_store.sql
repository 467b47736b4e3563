-- The first schema: every object with its history, what the node must not forget, and views for people.
-- A step is applied once, in one transaction, and never edited after it was released.

-- One row. last_revision never goes back, so that no revision is used twice, not even after its object is gone.
CREATE TABLE meta (
    id                 INTEGER PRIMARY KEY CHECK (id = 1),
    instance_id        TEXT    NOT NULL,
    last_revision      INTEGER NOT NULL,
    -- Below it superseded versions are physically gone.
    compacted_revision INTEGER NOT NULL
) STRICT;

INSERT INTO meta VALUES (1, lower(hex(randomblob(16))), 0, 0);

-- Append-only: each state of each object, once. Short columns first: a scan need not read the pages that bodies spill to.
CREATE TABLE versions (
    revision  INTEGER PRIMARY KEY,
    kind      TEXT    NOT NULL,
    namespace TEXT    NOT NULL,
    name      TEXT    NOT NULL,
    -- The version that this one replaced; null when it created the object.
    previous  INTEGER,
    deleted   INTEGER NOT NULL,
    -- The indexed columns of that state as JSON, labels and owners included.
    facts     TEXT    NOT NULL,
    -- Without metadata.resourceVersion, which is the revision.
    body      TEXT    NOT NULL
) STRICT;

CREATE INDEX versions_by_kind ON versions (kind, revision, previous);

-- The current state of each object: where its body is, and what is often asked. Times are nanoseconds since 1970.
CREATE TABLE objects (
    -- The revision that created the object.
    id             INTEGER PRIMARY KEY,
    kind           TEXT    NOT NULL,
    namespace      TEXT    NOT NULL,
    name           TEXT    NOT NULL,
    revision       INTEGER NOT NULL,
    uid            TEXT    NOT NULL,
    controller_uid TEXT,
    deleting       INTEGER NOT NULL,
    finished       INTEGER NOT NULL,
    tracking       INTEGER NOT NULL,
    node           TEXT,
    involved_uid   TEXT,
    involved_name  TEXT,
    due_at         INTEGER
) STRICT;

CREATE UNIQUE INDEX objects_by_key ON objects (kind, namespace, name);
CREATE UNIQUE INDEX objects_by_uid ON objects (kind, uid);
-- The partial indexes hold active work only: their size does not grow with history.
CREATE INDEX objects_active ON objects (kind, namespace, name) WHERE finished = 0 OR tracking = 1 OR deleting = 1;
CREATE INDEX objects_by_controller ON objects (controller_uid)
    WHERE controller_uid IS NOT NULL AND (finished = 0 OR tracking = 1);
-- With the revision, so that a job's next look finds the pods that it may adopt among those that changed.
CREATE INDEX objects_orphaned_pods ON objects (namespace, revision) WHERE kind = 'pods' AND controller_uid IS NULL;
CREATE INDEX objects_by_involved ON objects (involved_uid) WHERE involved_uid IS NOT NULL;
CREATE INDEX objects_by_involved_name ON objects (involved_name) WHERE involved_name IS NOT NULL;
CREATE INDEX objects_due ON objects (kind, due_at) WHERE due_at IS NOT NULL;

CREATE TABLE labels (
    object INTEGER NOT NULL REFERENCES objects ON DELETE CASCADE,
    key    TEXT    NOT NULL,
    value  TEXT    NOT NULL,
    PRIMARY KEY (object, key)
) STRICT, WITHOUT ROWID;

CREATE INDEX labels_by_value ON labels (key, value, object);

CREATE TABLE owners (
    object    INTEGER NOT NULL REFERENCES objects ON DELETE CASCADE,
    owner_uid TEXT    NOT NULL,
    PRIMARY KEY (object, owner_uid)
) STRICT, WITHOUT ROWID;

CREATE INDEX owners_by_owner ON owners (owner_uid, object);

-- Which revision was the newest at which time, about one row per second with writes: dates the history after a restart.
CREATE TABLE history (
    revision   INTEGER PRIMARY KEY,
    at         INTEGER NOT NULL,
    -- Bytes of all bodies superseded up to here, since the file was made.
    superseded INTEGER NOT NULL
) STRICT;

CREATE TABLE attempts (
    pod_uid          TEXT    NOT NULL,
    container        TEXT    NOT NULL,
    attempt          INTEGER NOT NULL,
    state            TEXT    NOT NULL,
    container_id     TEXT,
    created_at       INTEGER NOT NULL,
    started_at       INTEGER,
    -- Null until it ended; then the four below may be set.
    exit_reason      TEXT,
    exit_code        INTEGER,
    exit_message     TEXT,
    exit_started_at  INTEGER,
    exit_finished_at INTEGER,
    logs_copied      INTEGER NOT NULL,
    removed          INTEGER NOT NULL,
    PRIMARY KEY (pod_uid, container, attempt)
) STRICT, WITHOUT ROWID;

CREATE INDEX attempts_open ON attempts (created_at) WHERE state <> 'Ended' OR logs_copied = 0 OR removed = 0;

-- For the sqlite3 shell. The program itself never reads these.
CREATE VIEW jobs AS
SELECT
    o.namespace,
    o.name,
    o.uid,
    coalesce(
        (SELECT json_extract(c.value, '$.type') FROM json_each(v.body, '$.status.conditions') c
         WHERE json_extract(c.value, '$.type') IN ('Complete', 'Failed', 'Suspended') AND json_extract(c.value, '$.status') = 'True'
         ORDER BY json_extract(c.value, '$.type') = 'Suspended' LIMIT 1),
        'Active') AS state,
    json_extract(v.body, '$.spec.completions') AS completions,
    json_extract(v.body, '$.spec.parallelism') AS parallelism,
    coalesce(json_extract(v.body, '$.status.active'), 0) AS active,
    coalesce(json_extract(v.body, '$.status.succeeded'), 0) AS succeeded,
    coalesce(json_extract(v.body, '$.status.failed'), 0) AS failed,
    json_extract(v.body, '$.metadata.creationTimestamp') AS created,
    json_extract(v.body, '$.status.startTime') AS started,
    json_extract(v.body, '$.status.completionTime') AS completed,
    o.deleting,
    o.revision
FROM objects o JOIN versions v ON v.revision = o.revision
WHERE o.kind = 'jobs';

CREATE VIEW pods AS
SELECT
    o.namespace,
    o.name,
    o.uid,
    j.name AS job,
    (SELECT l.value FROM labels l WHERE l.object = o.id AND l.key = 'batch.kubernetes.io/job-completion-index') AS completion_index,
    json_extract(v.body, '$.status.phase') AS phase,
    json_extract(v.body, '$.status.reason') AS reason,
    json_extract(v.body, '$.status.containerStatuses[0].state.terminated.exitCode') AS exit_code,
    json_extract(v.body, '$.status.containerStatuses[0].restartCount') AS restarts,
    o.node,
    json_extract(v.body, '$.metadata.creationTimestamp') AS created,
    json_extract(v.body, '$.status.startTime') AS started,
    json_extract(v.body, '$.status.containerStatuses[0].state.terminated.finishedAt') AS finished,
    o.deleting,
    o.revision
FROM objects o
JOIN versions v ON v.revision = o.revision
LEFT JOIN objects j ON j.kind = 'jobs' AND j.uid = o.controller_uid
WHERE o.kind = 'pods';

CREATE VIEW job_attempts AS
SELECT
    p.namespace,
    j.name AS job,
    p.name AS pod,
    a.container,
    a.attempt,
    a.state,
    a.exit_reason,
    a.exit_code,
    a.exit_message,
    datetime(a.created_at / 1000000000, 'unixepoch') AS created,
    datetime(coalesce(a.exit_started_at, a.started_at) / 1000000000, 'unixepoch') AS started,
    datetime(a.exit_finished_at / 1000000000, 'unixepoch') AS finished,
    a.container_id
FROM attempts a
JOIN objects p ON p.kind = 'pods' AND p.uid = a.pod_uid
LEFT JOIN objects j ON j.kind = 'jobs' AND j.uid = p.controller_uid;

CREATE VIEW job_events AS
SELECT
    e.namespace,
    coalesce(j.name, pj.name) AS job,
    p.name AS pod,
    json_extract(v.body, '$.type') AS type,
    json_extract(v.body, '$.reason') AS reason,
    json_extract(v.body, '$.message') AS message,
    json_extract(v.body, '$.count') AS count,
    json_extract(v.body, '$.firstTimestamp') AS first_seen,
    json_extract(v.body, '$.lastTimestamp') AS last_seen,
    e.revision
FROM objects e
JOIN versions v ON v.revision = e.revision
LEFT JOIN objects j ON j.kind = 'jobs' AND j.uid = e.involved_uid
LEFT JOIN objects p ON p.kind = 'pods' AND p.uid = e.involved_uid
LEFT JOIN objects pj ON pj.kind = 'jobs' AND pj.uid = p.controller_uid
WHERE e.kind = 'events' AND (j.id IS NOT NULL OR p.id IS NOT NULL);
