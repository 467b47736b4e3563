//! What a decision about a job rests on, read in one statement; after the first look only what changed since the last.
//!
//! A job with a thousand active pods is looked at each time one of them changes. Of the others only their revisions are read: whoever
//! looked before knows them (I-5).

use sqlx::{Row as _, SqlitePool};

use super::{JobSnapshot, Key, Revision, reader::stored};

/// The job and the newest revision (part 0), its pods that matter (1), and pods that it may adopt (2 and 3): those without a controller
/// that carry the labels of its selector, found by these labels, or all of them when the selector names none. Of the finished pods that are
/// counted only those are read that may not match the selector any more (5, J-2102), nor is any pod looked at that the selector cannot
/// match (I-5).
pub(super) const WHOLE: &str = "\
    WITH job AS MATERIALIZED ( \
        SELECT o.uid, o.namespace, o.name, o.revision, v.body FROM objects o JOIN versions v ON v.revision = o.revision \
        WHERE o.kind = 'jobs' AND o.namespace = ?1 AND o.name = ?2), \
    wanted AS MATERIALIZED ( \
        SELECT s.key, s.value FROM job, json_each(job.body, '$.spec.selector.matchLabels') s) \
    SELECT 0, 'jobs', namespace, name, revision, body, (SELECT last_revision FROM meta) FROM job \
    UNION ALL \
    SELECT 1, o.kind, o.namespace, o.name, o.revision, v.body, NULL \
    FROM job CROSS JOIN objects o ON o.controller_uid = job.uid AND (o.finished = 0 OR o.tracking = 1) \
    JOIN versions v ON v.revision = o.revision \
    WHERE o.kind = 'pods' \
    UNION ALL \
    SELECT 2, o.kind, o.namespace, o.name, o.revision, v.body, NULL \
    FROM (SELECT l.object FROM wanted CROSS JOIN labels l ON l.key = wanted.key AND l.value = wanted.value \
          GROUP BY l.object HAVING count(*) = (SELECT count(*) FROM wanted)) m \
    CROSS JOIN objects o ON o.id = m.object \
    CROSS JOIN job ON job.namespace = o.namespace \
    JOIN versions v ON v.revision = o.revision \
    WHERE o.kind = 'pods' AND o.controller_uid IS NULL \
    UNION ALL \
    SELECT 3, o.kind, o.namespace, o.name, o.revision, v.body, NULL \
    FROM job CROSS JOIN objects o INDEXED BY objects_orphaned_pods ON o.namespace = job.namespace \
    JOIN versions v ON v.revision = o.revision \
    WHERE o.kind = 'pods' AND o.controller_uid IS NULL AND NOT EXISTS (SELECT 1 FROM wanted) \
    UNION ALL \
    SELECT 5, o.kind, o.namespace, o.name, o.revision, v.body, NULL \
    FROM job CROSS JOIN owners w ON w.owner_uid = job.uid CROSS JOIN objects o ON o.id = w.object \
    JOIN versions v ON v.revision = o.revision \
    WHERE o.kind = 'pods' AND o.controller_uid = job.uid AND o.finished = 1 AND o.tracking = 0 \
    AND (json_extract(job.body, '$.spec.selector.matchExpressions') IS NOT NULL OR EXISTS (SELECT 1 FROM wanted \
         WHERE NOT EXISTS (SELECT 1 FROM labels l WHERE l.object = o.id AND l.key = wanted.key AND l.value = wanted.value)))";

/// The same, of what changed after revision ?3; the revisions of the pods that did not change come as one text (part 4). Which pods without
/// a controller carry the labels is left to the caller: few change between two looks.
pub(super) const CHANGED: &str = "\
    WITH job AS MATERIALIZED ( \
        SELECT o.uid, o.namespace, o.name, o.revision, v.body FROM objects o JOIN versions v ON v.revision = o.revision \
        WHERE o.kind = 'jobs' AND o.namespace = ?1 AND o.name = ?2) \
    SELECT 0, 'jobs', namespace, name, revision, body, (SELECT last_revision FROM meta) FROM job \
    UNION ALL \
    SELECT 4, 'pods', '', '', 0, coalesce(group_concat(o.revision), ''), NULL \
    FROM job CROSS JOIN objects o ON o.controller_uid = job.uid AND (o.finished = 0 OR o.tracking = 1) \
    WHERE o.kind = 'pods' AND o.revision <= ?3 \
    UNION ALL \
    SELECT 1, o.kind, o.namespace, o.name, o.revision, v.body, NULL \
    FROM job CROSS JOIN objects o ON o.controller_uid = job.uid AND (o.finished = 0 OR o.tracking = 1) \
    JOIN versions v ON v.revision = o.revision \
    WHERE o.kind = 'pods' AND o.revision > ?3 \
    UNION ALL \
    SELECT 3, o.kind, o.namespace, o.name, o.revision, v.body, NULL \
    FROM job CROSS JOIN objects o INDEXED BY objects_orphaned_pods ON o.namespace = job.namespace AND o.revision > ?3 \
    JOIN versions v ON v.revision = o.revision \
    WHERE o.kind = 'pods' AND o.controller_uid IS NULL";

pub(super) async fn read(
    pool: &SqlitePool,
    key: &Key,
    since: Option<Revision>,
) -> Result<Option<JobSnapshot>, sqlx::Error> {
    let mut query = sqlx::query(if since.is_some() { CHANGED } else { WHOLE }).bind(&key.namespace).bind(&key.name);
    if let Some(Revision(since)) = since {
        query = query.bind(since);
    }
    let mut job = None;
    let (mut pods, mut orphans, mut unchanged) = (Vec::new(), Vec::new(), Vec::new());
    for row in query.fetch_all(pool).await? {
        match row.try_get::<i64, _>(0)? {
            0 => job = Some((stored(&row, 1)?, Revision(row.try_get(6)?))),
            1 | 5 => pods.push(stored(&row, 1)?),
            4 => {
                let numbers = row.try_get::<&str, _>(5)?.split(',').filter(|number| !number.is_empty());
                let numbers = numbers.map(|number| number.parse().map(Revision));
                unchanged = numbers.collect::<Result<_, _>>().map_err(|error| sqlx::Error::Decode(Box::new(error)))?;
            }
            _ => orphans.push(stored(&row, 1)?),
        }
    }
    pods.sort_unstable_by(|a, b| a.key.cmp(&b.key));
    orphans.sort_unstable_by(|a, b| a.key.cmp(&b.key));
    unchanged.sort_unstable();
    Ok(job.map(|(job, revision)| JobSnapshot { job, revision, pods, unchanged, orphans }))
}
