//! Empties namespaces that are being deleted, then lets them go (W-111, J-2011).
//!
//! Nothing new comes into such a namespace: creates are refused in the transaction that would write them.

use std::{
    collections::BTreeSet,
    sync::{Mutex, MutexGuard, PoisonError},
};

use jobd_api::registry::Kind;
use tracing::info;

use super::{
    edit::{self, Propagation},
    listing::CHUNK,
};
use crate::{
    driver::{Controller, Error, Next},
    store::{Change, ChangeType, Guard, Key, ListQuery, Request, Store, Write},
    sys::Now,
};

mod decide;

use decide::{Plan, decide};

pub struct Namespaces {
    store: Store,
    /// The namespaces that are being deleted: whatever happens in them wakes them.
    terminating: Mutex<BTreeSet<String>>,
}

impl Namespaces {
    #[must_use]
    pub fn new(store: Store) -> Self {
        Self { store, terminating: Mutex::new(BTreeSet::new()) }
    }

    fn terminating(&self) -> MutexGuard<'_, BTreeSet<String>> {
        self.terminating.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Deletes everything in the namespace that is not being deleted yet. True if anything is left.
    async fn empty(&self, namespace: &str, now: Now) -> Result<bool, Error> {
        let mut left = false;
        for kind in Kind::ALL.into_iter().filter(|kind| kind.resource().namespaced) {
            let mut query = ListQuery { namespace: Some(namespace.to_owned()), ..ListQuery::all(kind, CHUNK) };
            loop {
                let chunk = self.store.list(&query).await?;
                let mut edits = Vec::new();
                for object in &chunk.items {
                    let edit = edit::delete(object, Propagation::Background, None, now)?;
                    left |= !edit.as_ref().is_some_and(|edit| edit.removes);
                    edits.extend(edit);
                }
                edit::commit(&self.store, edits).await?;
                query.after = chunk.items.last().map(|last| (last.key.namespace.clone(), last.key.name.clone()));
                if !chunk.more {
                    break;
                }
            }
        }
        Ok(left)
    }
}

impl Controller for Namespaces {
    const NAME: &'static str = "namespace";
    type Key = String;

    fn wakes(&self, change: &Change) -> Vec<String> {
        if change.key.kind == Kind::Namespace {
            let is_going = change.index.deleting || change.change_type == ChangeType::Deleted;
            return if is_going { vec![change.key.name.clone()] } else { Vec::new() };
        }
        // What is left waits for its last objects to go.
        let terminating = self.terminating();
        if terminating.contains(&change.key.namespace) { vec![change.key.namespace.clone()] } else { Vec::new() }
    }

    async fn active(&self) -> Result<Vec<String>, Error> {
        Ok(self.store.deleting(Kind::Namespace).await?.into_iter().map(|key| key.name).collect())
    }

    async fn reconcile(&self, name: &String, now: Now) -> Result<Next, Error> {
        let key = Key::new(Kind::Namespace, "", &**name);
        let Some(stored) = self.store.get(&key).await? else {
            // Events are written without asking whether there still is a namespace for them; those of its last moment are in nobody's way,
            // but would be there again with a new namespace of that name.
            self.empty(name, now).await?;
            self.terminating().remove(name);
            return Ok(Next::Idle);
        };
        let namespace = stored.object()?;
        if decide(&namespace, true) == Plan::Nothing {
            self.terminating().remove(name);
            return Ok(Next::Idle);
        }
        // Noted before the content is read, so that a change from here on wakes this key.
        self.terminating().insert(name.clone());
        let content = self.empty(name, now).await?;
        let Plan::Finalize { body, goes } = decide(&namespace, content) else { return Ok(Next::Idle) };
        if goes {
            let write = Write::Delete { key: key.clone(), body: body.to_stored() };
            let guards = vec![Guard::Unchanged { key, revision: stored.revision }];
            self.store.write(Request { guards, writes: vec![write], urgent: true }).await?;
            info!(namespace = name, "namespace {name} is empty and gone");
        } else {
            edit::commit(&self.store, edit::update(&stored, &namespace, body).into_iter().collect()).await?;
        }
        Ok(Next::Idle)
    }
}
