//! Changes and deletions of single objects by controllers, as guarded writes that go through the one write path.

use jobd_api::{
    lifecycle::{self, Decided, Deletion},
    object::Object,
    write::{self, Prepared, Updated},
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{DeleteOptions, Preconditions};

use crate::{
    driver::Error,
    store::{self, Committed, Guard, Key, Request, Store, Stored, Write},
    sys::Now,
};

/// What happens to the dependents of a deleted object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Propagation {
    Background,
    Foreground,
    Orphan,
}

impl Propagation {
    fn as_str(self) -> &'static str {
        match self {
            Self::Background => "Background",
            Self::Foreground => "Foreground",
            Self::Orphan => "Orphan",
        }
    }
}

/// One object's change, with the guard that it rests on.
#[derive(Clone, Debug)]
pub(super) struct Edit {
    pub(super) guard: Guard,
    pub(super) write: Write,
    /// The object goes with this edit.
    pub(super) removes: bool,
}

fn unchanged(stored: &Stored) -> Guard {
    Guard::Unchanged { key: stored.key.clone(), revision: stored.revision }
}

/// The write that replaces an object.
pub(super) fn put(key: Key, prepared: Prepared) -> Write {
    let Prepared { object, index, warnings: _ } = prepared;
    Write::Put { key, index, body: object.to_stored() }
}

fn removal(key: Key, prepared: &Prepared) -> Write {
    Write::Delete { key, body: prepared.object.to_stored() }
}

/// Deletes the object as a client with these options would; none when it is being deleted already and nothing changes.
///
/// The uid is a precondition anyway: the guard is the revision that was read.
pub(super) fn delete(
    stored: &Stored,
    propagation: Propagation,
    grace_seconds: Option<i64>,
    now: Now,
) -> Result<Option<Edit>, Error> {
    let object = stored.object()?;
    let options = DeleteOptions {
        propagation_policy: Some(propagation.as_str().to_owned()),
        grace_period_seconds: grace_seconds,
        preconditions: Some(Preconditions { uid: Some(object.uid().to_owned()), resource_version: None }),
        ..DeleteOptions::default()
    };
    let Decided { deletion, warnings: _ } =
        lifecycle::delete(stored.key.kind.resource(), &object, stored.revision.0, &options, now.wall)
            .map_err(|status| Error::Other(format!("delete {}: {status}", stored.key.name)))?;
    let key = stored.key.clone();
    let (write, removes) = match deletion {
        Deletion::Remove(prepared) => (removal(key, &prepared), true),
        Deletion::Mark(prepared) => (put(key, prepared), false),
        Deletion::Unchanged => return Ok(None),
    };
    Ok(Some(Edit { guard: unchanged(stored), write, removes }))
}

/// Replaces the object by a changed one; none when nothing changed. It goes if its last finalizer went.
pub(super) fn update(stored: &Stored, old: &Object, new: Object) -> Option<Edit> {
    let key = stored.key.clone();
    let (write, removes) = match write::update_own(stored.key.kind.resource(), old, new) {
        Updated::Unchanged { warnings: _ } => return None,
        Updated::Changed(prepared) => (put(key, prepared), false),
        Updated::Gone(prepared) => (removal(key, &prepared), true),
    };
    Some(Edit { guard: unchanged(stored), write, removes })
}

/// Commits edits of many objects: together, so that they share a request, and one by one where another writer was faster
/// with one of them. Whoever lost keeps its old state; its change wakes the loop again.
pub(super) async fn commit(store: &Store, edits: Vec<Edit>) -> Result<(), Error> {
    /// How many objects share a request: enough to make the requests few, little enough that a conflict costs little.
    const TOGETHER_MAX: usize = 64;

    let mut conflict = None;
    for chunk in edits.chunks(TOGETHER_MAX) {
        match write(store, chunk).await {
            Ok(_) => {}
            Err(error) if !is_conflict(&error) || chunk.len() == 1 => return Err(error.into()),
            Err(_) => {
                for edit in chunk {
                    match write(store, std::slice::from_ref(edit)).await {
                        Ok(_) => {}
                        Err(error) if is_conflict(&error) => conflict = Some(error),
                        Err(error) => return Err(error.into()),
                    }
                }
            }
        }
    }
    conflict.map_or(Ok(()), |error| Err(error.into()))
}

async fn write(store: &Store, edits: &[Edit]) -> Result<Committed, store::Error> {
    let request = Request {
        guards: edits.iter().map(|edit| edit.guard.clone()).collect(),
        writes: edits.iter().map(|edit| edit.write.clone()).collect(),
        // Everything here makes room or lets somebody else do so (R-9).
        urgent: true,
    };
    store.write(request).await
}

fn is_conflict(error: &store::Error) -> bool {
    matches!(error, store::Error::Conflict { .. } | store::Error::AlreadyExists { .. })
}

/// The metadata that collecting and cleaning up need, read without the rest of a body.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Meta {
    pub(super) uid: String,
    pub(super) deletion_timestamp: Option<String>,
    pub(super) finalizers: Vec<String>,
    pub(super) owner_references: Vec<Owner>,
    pub(super) creation_timestamp: Option<String>,
}

/// One owner reference.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Owner {
    pub(super) api_version: String,
    pub(super) kind: String,
    pub(super) name: String,
    pub(super) uid: String,
    pub(super) block_owner_deletion: bool,
}

impl Meta {
    /// The metadata of a body, for wake-ups; empty when the body is damaged, which whoever reads it then reports.
    pub(super) fn of(body: &str) -> Self {
        Self::parse(body).unwrap_or_default()
    }

    /// The metadata of an object, for decisions: a damaged body must not look like an object without owners or uid.
    pub(super) fn read(stored: &Stored) -> Result<Self, Error> {
        Self::parse(&stored.body)
            .map_err(|error| store::Error::Damaged { key: stored.key.clone(), reason: error.to_string() }.into())
    }

    fn parse(body: &str) -> Result<Self, serde_json::Error> {
        #[derive(serde::Deserialize)]
        struct Body {
            metadata: Meta,
        }
        serde_json::from_str::<Body>(body).map(|body| body.metadata)
    }

    pub(super) fn has_finalizer(&self, finalizer: &str) -> bool {
        self.finalizers.iter().any(|one| one == finalizer)
    }

    pub(super) fn is_deleting(&self) -> bool {
        self.deletion_timestamp.is_some()
    }
}

/// Takes a finalizer off an object's metadata.
pub(super) fn remove_finalizer(object: &mut Object, finalizer: &str) {
    remove_from_metadata(object, "finalizers", |one| one.as_str() == Some(finalizer));
}

/// Takes the references to owners with these uids off an object.
pub(super) fn remove_owners(object: &mut Object, uids: &[String]) {
    remove_from_metadata(object, "ownerReferences", |one| {
        one.get("uid").and_then(serde_json::Value::as_str).is_some_and(|uid| uids.iter().any(|other| other == uid))
    });
}

/// Lets the owners of an object go before it does.
pub(super) fn unblock_owners(object: &mut Object) {
    if let Some(serde_json::Value::Array(references)) = object.metadata_mut().get_mut("ownerReferences") {
        for reference in references.iter_mut().filter_map(serde_json::Value::as_object_mut) {
            reference.insert("blockOwnerDeletion".to_owned(), false.into());
        }
    }
}

/// Drops matching entries of a list in metadata, and the list with its last entry.
fn remove_from_metadata(object: &mut Object, list: &str, is_unwanted: impl Fn(&serde_json::Value) -> bool) {
    let metadata = object.metadata_mut();
    if let Some(serde_json::Value::Array(entries)) = metadata.get_mut(list) {
        entries.retain(|entry| !is_unwanted(entry));
        if entries.is_empty() {
            metadata.remove(list);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_metadata_without_the_rest() {
        let meta = Meta::of(
            r#"{"kind":"Pod","metadata":{"uid":"u","labels":{"a":"b"},"deletionTimestamp":"2026-01-01T00:00:00Z","finalizers":["f"],
                "ownerReferences":[{"apiVersion":"batch/v1","kind":"Job","name":"j","uid":"o","controller":true}]},"spec":{"x":1}}"#,
        );
        assert!(meta.is_deleting() && meta.has_finalizer("f") && !meta.has_finalizer("g"));
        assert_eq!(meta.owner_references[0].uid, "o");
        assert_eq!(Meta::of("damaged"), Meta::default());
    }

    #[test]
    fn takes_entries_off_metadata_and_empty_lists_with_them() {
        let mut object =
            Object::parse(r#"{"metadata":{"finalizers":["a","b"],"ownerReferences":[{"uid":"1"},{"uid":"2"}]}}"#)
                .unwrap();
        remove_finalizer(&mut object, "a");
        remove_owners(&mut object, &["1".to_owned(), "2".to_owned()]);
        assert_eq!(object.to_stored(), r#"{"metadata":{"finalizers":["b"]}}"#);
    }
}
