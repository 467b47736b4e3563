//! Garbage collection by owner references, for all kinds (J-2003 to J-2005, W-99 to W-101).
//!
//! The key is an owner, not a dependent: a job's thousand new pods are one look at the job, and a deleted job is one
//! pass over its pods. Nothing is held in memory but the queue, and whom new dependents named until they are looked for: together,
//! since nearly all of them are there.

use std::{
    collections::{BTreeMap, BTreeSet, btree_map::Entry},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use jobd_api::registry::{self, Kind};
use tracing::debug;

use super::{
    edit::{self, Edit, Meta, Owner, Propagation},
    listing::CHUNK,
};
use crate::{
    driver::{Controller, Error, Next},
    store::{Change, ChangeType, Key, Store, Stored},
    sys::Now,
};

mod decide;

use decide::{FOREGROUND, Fate, ORPHAN, OwnerState, blocks, decide, decide_foreground};

/// What is looked at.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum GarbageKey {
    Owner(OwnerKey),
    /// The owners that new dependents name: one may be gone or going already.
    OfNewDependents,
    /// Everything that names an owner, once after a start: a crash may have come between an owner's deletion and ours.
    Leftovers,
}

/// An object that others may refer to as their owner: where it is or was, and which one it is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OwnerKey {
    pub key: Key,
    pub uid: String,
}

pub struct Garbage {
    store: Store,
    /// Owners that new dependents name and that were not looked for yet.
    unseen: Mutex<BTreeSet<OwnerKey>>,
    /// The leftovers of the time before this start were collected.
    swept: AtomicBool,
}

impl Garbage {
    #[must_use]
    pub fn new(store: Store) -> Self {
        Self { store, unseen: Mutex::default(), swept: AtomicBool::new(false) }
    }

    fn unseen<T>(&self, f: impl FnOnce(&mut BTreeSet<OwnerKey>) -> T) -> T {
        f(&mut self.unseen.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Looks for the owners that new dependents name, many in one read, and collects from those that are gone or going.
    async fn look_for_owners(&self, now: Now) -> Result<(), Error> {
        loop {
            let owners: Vec<OwnerKey> = self.unseen(|unseen| {
                let rest = unseen.iter().nth(CHUNK).cloned().map(|first| unseen.split_off(&first));
                std::mem::replace(unseen, rest.unwrap_or_default()).into_iter().collect()
            });
            if owners.is_empty() {
                return Ok(());
            }
            if let Err(error) = self.collect_where_needed(&owners, now).await {
                self.unseen(|unseen| unseen.extend(owners));
                return Err(error);
            }
        }
    }

    async fn collect_where_needed(&self, owners: &[OwnerKey], now: Now) -> Result<(), Error> {
        let named: Vec<_> = owners.iter().map(|owner| (&owner.key, owner.uid.as_str())).collect();
        for place in self.store.gone_or_going(&named).await? {
            if let Some(owner) = owners.get(place) {
                self.collect(owner, now).await?;
            }
        }
        Ok(())
    }

    /// How an owner stands now.
    async fn state(&self, owner: &OwnerKey) -> Result<(OwnerState, Option<Stored>), Error> {
        let stored = self.store.get(&owner.key).await?;
        Ok(match stored {
            None => (OwnerState::Absent, None),
            Some(stored) => {
                let meta = Meta::read(&stored)?;
                // Another object of the same name is not the owner.
                if meta.uid == owner.uid { (OwnerState::of(&meta), Some(stored)) } else { (OwnerState::Absent, None) }
            }
        })
    }

    /// Finds out how each owner that these dependents name stands.
    async fn learn(
        &self,
        states: &mut BTreeMap<OwnerKey, OwnerState>,
        dependents: &[(Meta, Stored)],
    ) -> Result<(), Error> {
        for (meta, dependent) in dependents {
            for owner in owner_keys(&dependent.key.namespace, &meta.owner_references) {
                if let Entry::Vacant(entry) = states.entry(owner) {
                    let (state, _) = self.state(entry.key()).await?;
                    entry.insert(state);
                }
            }
        }
        Ok(())
    }

    /// A page of an owner's dependents with their metadata, and its end.
    async fn page(&self, uid: &str, after: i64) -> Result<(Vec<(Meta, Stored)>, i64), Error> {
        let (page, last) = self.store.dependents(uid, after, CHUNK).await?;
        let read = |dependent: Stored| Ok((Meta::read(&dependent)?, dependent));
        Ok((page.into_iter().map(read).collect::<Result<_, Error>>()?, last))
    }

    /// The metadata of all dependents of an object.
    async fn dependents(&self, uid: &str) -> Result<Vec<(Meta, Key)>, Error> {
        let (mut all, mut after) = (Vec::new(), 0);
        loop {
            let (page, last) = self.page(uid, after).await?;
            let is_last = page.len() < CHUNK;
            all.extend(page.into_iter().map(|(meta, dependent)| (meta, dependent.key)));
            if is_last {
                return Ok(all);
            }
            after = last;
        }
    }

    /// Does with an owner's dependents what its state asks for, page by page, and lets it go when they are done.
    async fn collect(&self, owner: &OwnerKey, now: Now) -> Result<(), Error> {
        let (state, stored) = self.state(owner).await?;
        if state == OwnerState::Live {
            return Ok(());
        }
        let mut states = BTreeMap::from([(owner.clone(), state)]);
        let (mut blocking, mut after) = (0, 0);
        loop {
            let (page, last) = self.page(&owner.uid, after).await?;
            self.learn(&mut states, &page).await?;
            blocking += self.collect_page(owner, &states, &page, now).await?;
            if page.len() < CHUNK {
                break;
            }
            after = last;
        }
        let (Some(stored), 0) = (stored, blocking) else { return Ok(()) };
        let finalizer = match state {
            OwnerState::Foreground => FOREGROUND,
            OwnerState::Orphan => ORPHAN,
            OwnerState::Live | OwnerState::Absent => return Ok(()),
        };
        let old = stored.object()?;
        let mut new = old.clone();
        edit::remove_finalizer(&mut new, finalizer);
        edit::commit(&self.store, edit::update(&stored, &old, new).into_iter().collect()).await?;
        Ok(())
    }

    /// Does it with some of them. Answers for how many the owner has to wait.
    async fn collect_page(
        &self,
        owner: &OwnerKey,
        states: &BTreeMap<OwnerKey, OwnerState>,
        dependents: &[(Meta, Stored)],
        now: Now,
    ) -> Result<usize, Error> {
        let mut edits = Vec::new();
        let mut blocking = 0;
        for (meta, dependent) in dependents {
            let mut fate = decide(meta, |reference| {
                owner_keys(&dependent.key.namespace, std::slice::from_ref(reference))
                    .first()
                    .and_then(|key| states.get(key))
                    .copied()
                    .unwrap_or(OwnerState::Live)
            });
            if fate == (Fate::Delete { foreground: true }) {
                let own = self.dependents(&meta.uid).await?;
                fate = decide_foreground(meta, own.iter().map(|(meta, _)| meta));
            }
            let edit = edit_dependent(dependent, meta, &fate, now)?;
            // Removed, or no longer its dependent: it does not block any more.
            let blocks_on = match (&fate, &edit) {
                (Fate::Release(_) | Fate::Unblock, _) => false,
                (_, Some(edit)) => !edit.removes,
                (_, None) => true,
            };
            if blocks_on && blocks(meta, &owner.uid) {
                blocking += 1;
            }
            edits.extend(edit);
        }
        if !edits.is_empty() {
            debug!(kind = owner.key.kind.as_str(), name = owner.key.name, dependents = edits.len(), "collecting");
        }
        edit::commit(&self.store, edits).await?;
        Ok(blocking)
    }

    /// Collects the dependents of all owners that are gone.
    async fn sweep(&self, now: Now) -> Result<(), Error> {
        let mut after = String::new();
        loop {
            let uids = self.store.ownerless(&after, CHUNK).await?;
            for uid in &uids {
                // Which owner it was only its dependents know.
                let mut owners = BTreeSet::new();
                for (meta, key) in self.dependents(uid).await? {
                    let named = owner_keys(&key.namespace, &meta.owner_references);
                    owners.extend(named.into_iter().filter(|one| one.uid == *uid));
                }
                for owner in owners {
                    self.collect(&owner, now).await?;
                }
            }
            match uids.into_iter().last() {
                Some(last) => after = last,
                None => return Ok(()),
            }
        }
    }
}

/// What happens to one dependent, as an edit; none when it stays as it is.
fn edit_dependent(dependent: &Stored, meta: &Meta, fate: &Fate, now: Now) -> Result<Option<Edit>, Error> {
    match fate {
        Fate::Keep => Ok(None),
        Fate::Release(uids) => {
            let old = dependent.object()?;
            let mut new = old.clone();
            edit::remove_owners(&mut new, uids);
            Ok(edit::update(dependent, &old, new))
        }
        Fate::Unblock => {
            let old = dependent.object()?;
            let mut new = old.clone();
            edit::unblock_owners(&mut new);
            Ok(edit::update(dependent, &old, new))
        }
        Fate::Delete { foreground } => {
            // A dependent that was told how to go by its own finalizers goes so.
            let propagation = if meta.has_finalizer(ORPHAN) {
                Propagation::Orphan
            } else if *foreground || meta.has_finalizer(FOREGROUND) {
                Propagation::Foreground
            } else {
                Propagation::Background
            };
            edit::delete(dependent, propagation, None, now)
        }
    }
}

/// The owners that an object names, as far as their kinds are served here and they can be found: an object without a namespace cannot
/// be owned by one in some namespace, so nothing is known of such an owner either, as upstream has it.
fn owner_keys(namespace: &str, owners: &[Owner]) -> Vec<OwnerKey> {
    owners
        .iter()
        .filter_map(|owner| {
            let kind = served_kind(owner)?;
            let namespace = match (kind.resource().namespaced, namespace) {
                (true, "") => return None,
                (true, namespace) => namespace,
                (false, _) => "",
            };
            Some(OwnerKey { key: Key::new(kind, namespace, &*owner.name), uid: owner.uid.clone() })
        })
        .collect()
}

/// The stored kind of an owner; the version does not matter.
fn served_kind(owner: &Owner) -> Option<Kind> {
    let group = owner.api_version.rsplit_once('/').map_or("", |(group, _)| group);
    registry::resources()
        .iter()
        .find(|resource| resource.group == group && resource.kind == owner.kind)
        .map(|resource| resource.stored)
}

impl Controller for Garbage {
    const NAME: &'static str = "garbage";
    type Key = GarbageKey;

    fn wakes(&self, change: &Change) -> Vec<GarbageKey> {
        let mut keys = Vec::new();
        // Nobody owns anything through an event, and there are many.
        if change.key.kind == Kind::Event {
            return Vec::new();
        }
        let itself = || OwnerKey { key: change.key.clone(), uid: change.index.uid.clone() };
        let namespace = &change.key.namespace;
        let owners = |body: &str| Meta::of(body).owner_references;
        match change.change_type {
            ChangeType::Created => {
                if !change.index.owner_uids.is_empty() {
                    self.unseen(|unseen| unseen.extend(owner_keys(namespace, &owners(&change.body))));
                    return vec![GarbageKey::OfNewDependents];
                }
            }
            ChangeType::Modified => {
                let is_going = change.index.deleting
                    && [FOREGROUND, ORPHAN].iter().any(|one| change.body.contains(&format!("\"{one}\"")));
                if is_going {
                    keys.push(itself());
                }
                if !change.index.owner_uids.is_empty() {
                    let before = change.previous.as_deref().map(owners).unwrap_or_default();
                    let after = owners(&change.body);
                    if before != after {
                        keys.extend(owner_keys(namespace, &after));
                        keys.extend(owner_keys(namespace, &before));
                    }
                } else if change.previous.as_deref().is_some_and(|body| body.contains("\"ownerReferences\":[")) {
                    let before = change.previous.as_deref().map(owners).unwrap_or_default();
                    keys.extend(owner_keys(namespace, &before));
                }
            }
            ChangeType::Deleted => {
                keys.push(itself());
                if !change.index.owner_uids.is_empty() {
                    // An owner may wait for it.
                    keys.extend(owner_keys(namespace, &owners(&change.body)));
                }
            }
        }
        keys.into_iter().map(GarbageKey::Owner).collect()
    }

    async fn active(&self) -> Result<Vec<GarbageKey>, Error> {
        let mut keys = Vec::new();
        for kind in Kind::ALL.into_iter().filter(|kind| *kind != Kind::Event) {
            for key in self.store.deleting(kind).await? {
                let Some(stored) = self.store.get(&key).await? else { continue };
                let meta = Meta::read(&stored)?;
                if meta.has_finalizer(FOREGROUND) || meta.has_finalizer(ORPHAN) {
                    keys.push(GarbageKey::Owner(OwnerKey { key, uid: meta.uid }));
                }
            }
        }
        if !self.swept.load(Ordering::Relaxed) {
            keys.push(GarbageKey::Leftovers);
        }
        Ok(keys)
    }

    /// An owner may be gone.
    fn missed_changes(&self) {
        self.swept.store(false, Ordering::Relaxed);
    }

    async fn reconcile(&self, key: &GarbageKey, now: Now) -> Result<Next, Error> {
        match key {
            GarbageKey::Owner(owner) => self.collect(owner, now).await?,
            GarbageKey::OfNewDependents => self.look_for_owners(now).await?,
            GarbageKey::Leftovers => {
                self.sweep(now).await?;
                self.swept.store(true, Ordering::Relaxed);
            }
        }
        Ok(Next::Idle)
    }
}
