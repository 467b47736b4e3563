//! What a batch of requests comes to: guards, revisions and rows, decided in memory. No SQL and no await.
//!
//! [`Keys`] says which current rows must be read, [`Batch`] takes the requests one by one and sees earlier winners, [`Rows`] is
//! what the commit writes.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use jiff::Timestamp;
use jobd_api::{index::Index, registry::Kind};

use super::{Attempt, Change, ChangeType, Committed, Error, Guard, Key, Request, Revision, Write, facts};

/// The keys that a batch is about; `true` when the current body is needed as well, because it may be replaced.
pub(super) type Keys = BTreeMap<Key, bool>;

pub(super) fn keys<'a>(requests: impl IntoIterator<Item = &'a Request>) -> Keys {
    let mut keys = Keys::new();
    for request in requests {
        for guard in &request.guards {
            let key = match guard {
                Guard::Absent(key) | Guard::Unchanged { key, .. } => key.clone(),
                Guard::NamespaceActive(namespace) => namespace_key(namespace),
            };
            keys.entry(key).or_insert(false);
        }
        for write in &request.writes {
            match write {
                Write::Put { key, .. } | Write::Delete { key, .. } | Write::Due { key, .. } => {
                    keys.insert(key.clone(), true);
                }
                Write::Advance | Write::Attempt(_) | Write::ForgetAttempts { .. } => {}
            }
        }
    }
    keys
}

fn namespace_key(namespace: &str) -> Key {
    Key::new(Kind::Namespace, "", namespace)
}

/// The current row of an object.
#[derive(Clone, Debug)]
pub(super) struct Current {
    pub id: i64,
    pub revision: i64,
    pub deleting: bool,
    pub due_at: Option<i64>,
    /// Read only for keys that may be replaced.
    pub content: Option<Content>,
}

#[derive(Clone, Debug)]
pub(super) struct Content {
    pub body: Arc<str>,
    pub index: Arc<Index>,
}

/// A row of `versions`.
#[derive(Clone, Debug)]
pub(super) struct Version {
    pub revision: i64,
    pub key: Key,
    pub previous: Option<i64>,
    pub deleted: bool,
    pub facts: String,
    pub body: Arc<str>,
}

/// A row of `objects`.
#[derive(Clone, Debug)]
pub(super) struct ObjectRow {
    pub key: Key,
    pub id: i64,
    pub revision: i64,
    pub due_at: Option<i64>,
    pub index: Arc<Index>,
}

/// Everything that one commit writes.
#[derive(Debug, Default)]
pub(super) struct Rows {
    pub versions: Vec<Version>,
    /// Ids of objects that went; their labels and owners go with them.
    pub gone: Vec<i64>,
    pub objects: Vec<ObjectRow>,
    /// Ids whose labels (owners) are written anew, because they changed.
    pub unlabelled: Vec<i64>,
    pub labels: Vec<(i64, String, String)>,
    pub disowned: Vec<i64>,
    pub owners: Vec<(i64, String)>,
    pub forgotten_pods: Vec<String>,
    pub attempts: Vec<Attempt>,
}

impl Rows {
    pub(super) fn is_empty(&self) -> bool {
        let Self { versions, gone, objects, unlabelled, labels, disowned, owners, forgotten_pods, attempts } = self;
        versions.is_empty()
            && gone.is_empty()
            && objects.is_empty()
            && unlabelled.is_empty()
            && labels.is_empty()
            && disowned.is_empty()
            && owners.is_empty()
            && forgotten_pods.is_empty()
            && attempts.is_empty()
    }
}

/// The state that a batch is decided on: what was read, and over it what its earlier requests made of it.
pub(super) struct Batch {
    before: BTreeMap<Key, Current>,
    now: BTreeMap<Key, Current>,
    touched: BTreeSet<Key>,
    revision: i64,
    superseded: i64,
    at: Timestamp,
    versions: Vec<Version>,
    changes: Vec<Arc<Change>>,
    forgotten_pods: Vec<String>,
    attempts: BTreeMap<(String, String, u32), Attempt>,
}

impl Batch {
    /// `revision` is the last one that was given out, `superseded` the bytes superseded so far, `at` the time.
    pub(super) fn new(before: BTreeMap<Key, Current>, revision: i64, superseded: i64, at: Timestamp) -> Self {
        Self {
            now: before.clone(),
            before,
            touched: BTreeSet::new(),
            revision,
            superseded,
            at,
            versions: Vec::new(),
            changes: Vec::new(),
            forgotten_pods: Vec::new(),
            attempts: BTreeMap::new(),
        }
    }

    /// Takes a request: all of it, or nothing and the guard that does not hold.
    pub(super) fn take(&mut self, request: &Request) -> Result<Committed, Error> {
        request.guards.iter().try_for_each(|guard| self.check(guard))?;
        let revisions = request.writes.iter().filter_map(|write| self.write(write)).collect();
        Ok(Committed { revisions })
    }

    fn check(&self, guard: &Guard) -> Result<(), Error> {
        match guard {
            Guard::Absent(key) if self.now.contains_key(key) => Err(Error::AlreadyExists { key: key.clone() }),
            Guard::Absent(_) => Ok(()),
            Guard::Unchanged { key, revision } => {
                let have = self.now.get(key).map(|current| Revision(current.revision));
                if have == Some(*revision) {
                    Ok(())
                } else {
                    Err(Error::Conflict { key: key.clone(), seen: *revision, have })
                }
            }
            Guard::NamespaceActive(namespace) => match self.now.get(&namespace_key(namespace)) {
                None => Err(Error::NamespaceMissing { namespace: namespace.clone() }),
                Some(current) if current.deleting => Err(Error::NamespaceTerminating { namespace: namespace.clone() }),
                Some(_) => Ok(()),
            },
        }
    }

    /// The revision that the write got; none for writes that get none.
    fn write(&mut self, write: &Write) -> Option<Revision> {
        match write {
            Write::Put { key, index, body } => Some(self.put(key, index, body)),
            Write::Delete { key, body } => Some(self.delete(key, body)),
            Write::Due { key, at } => {
                if let Some(current) = self.now.get_mut(key) {
                    current.due_at = at.map(facts::to_nanoseconds);
                    self.touched.insert(key.clone());
                }
                None
            }
            Write::Advance => {
                self.revision += 1;
                None
            }
            Write::Attempt(attempt) => {
                let key = (attempt.pod_uid.clone(), attempt.container.clone(), attempt.attempt);
                self.attempts.insert(key, Attempt::clone(attempt));
                None
            }
            Write::ForgetAttempts { pod_uid } => {
                self.attempts.retain(|(of, _, _), _| of != pod_uid);
                self.forgotten_pods.push(pod_uid.clone());
                None
            }
        }
    }

    fn put(&mut self, key: &Key, index: &Index, body: &str) -> Revision {
        self.revision += 1;
        let revision = self.revision;
        let content = Content { body: Arc::from(body), index: Arc::new(index.clone()) };
        let old = self.now.get(key);
        let current = Current {
            id: old.map_or(revision, |old| old.id),
            revision,
            deleting: index.deleting,
            due_at: index.due_at.map(facts::to_nanoseconds).or(old.and_then(|old| old.due_at)),
            content: Some(content.clone()),
        };
        let old = self.now.insert(key.clone(), current);
        let change_type = if old.is_some() { ChangeType::Modified } else { ChangeType::Created };
        self.append(key, old, change_type, content);
        Revision(revision)
    }

    /// A delete of what is not there has nothing to write; its revision is the newest so far.
    fn delete(&mut self, key: &Key, body: &str) -> Revision {
        if let Some(old) = self.now.remove(key) {
            self.revision += 1;
            let index = old.content.as_ref().map_or_else(Arc::default, |content| Arc::clone(&content.index));
            self.append(key, Some(old), ChangeType::Deleted, Content { body: Arc::from(body), index });
        }
        Revision(self.revision)
    }

    /// Records the change that has just been given its revision.
    fn append(&mut self, key: &Key, old: Option<Current>, change_type: ChangeType, content: Content) {
        self.touched.insert(key.clone());
        let previous = old.as_ref().map(|old| old.revision);
        let previous_body = old.and_then(|old| old.content).map(|content| content.body);
        let bytes = previous_body.as_ref().map_or(0, |body| body.len());
        self.superseded = self.superseded.saturating_add(i64::try_from(bytes).unwrap_or(i64::MAX));
        let Content { body, index } = content;
        self.versions.push(Version {
            revision: self.revision,
            key: key.clone(),
            previous,
            deleted: change_type == ChangeType::Deleted,
            facts: facts::render(&index),
            body: Arc::clone(&body),
        });
        self.changes.push(Arc::new(Change {
            revision: Revision(self.revision),
            change_type,
            key: key.clone(),
            body,
            previous: previous_body,
            index,
            at: Some(self.at),
        }));
    }

    /// What is to be written, what to be told afterwards, and the last revision and superseded bytes after it.
    pub(super) fn finish(self) -> Finished {
        let Self { before, now, touched, revision, superseded, at: _, versions, changes, forgotten_pods, attempts } =
            self;
        let mut rows = Rows { versions, forgotten_pods, attempts: attempts.into_values().collect(), ..Rows::default() };
        for key in touched {
            rows.add_object(&key, before.get(&key), now.get(&key));
        }
        Finished { rows, changes, revision, superseded }
    }
}

/// See [`Batch::finish`].
pub(super) struct Finished {
    pub rows: Rows,
    pub changes: Vec<Arc<Change>>,
    pub revision: i64,
    pub superseded: i64,
}

impl Rows {
    fn add_object(&mut self, key: &Key, old: Option<&Current>, new: Option<&Current>) {
        let same = old.zip(new).is_some_and(|(old, new)| old.id == new.id);
        if let Some(old) = old.filter(|_| !same) {
            self.gone.push(old.id);
        }
        let Some((new, content)) = new.and_then(|new| Some((new, new.content.as_ref()?))) else { return };
        let index = &content.index;
        let known = old.filter(|_| same).and_then(|old| old.content.as_ref()).map(|content| &content.index);
        if known.is_none_or(|known| known.labels != index.labels) {
            self.unlabelled.extend(same.then_some(new.id));
            self.labels.extend(index.labels.iter().map(|(key, value)| (new.id, key.clone(), value.clone())));
        }
        if known.is_none_or(|known| known.owner_uids != index.owner_uids) {
            self.disowned.extend(same.then_some(new.id));
            let uids: BTreeSet<&String> = index.owner_uids.iter().collect();
            self.owners.extend(uids.into_iter().map(|uid| (new.id, uid.clone())));
        }
        self.objects.push(ObjectRow {
            key: key.clone(),
            id: new.id,
            revision: new.revision,
            due_at: new.due_at,
            index: Arc::clone(index),
        });
    }
}
