//! What follows from the history must be what is there, and the past must be told twice in the same way (R-6, I-7); and a namespace
//! takes everything along (W-111).

use std::collections::{BTreeMap, VecDeque};

use anyhow::ensure;
use jobd::store::{Change, ChangeType, Error, Key, ListQuery, Revision, Store};
use jobd_api::registry::Kind;

use super::{super::dice::Dice, Checker};

/// How many changes are remembered.
const PAST_MAX: usize = 300;
/// How long the past can be read (W-124), and a little less, as time passes while a loop is at work.
const WINDOW: std::time::Duration = std::time::Duration::from_secs(200);

/// Everything that should be there, by the history.
#[derive(Debug, Default)]
pub(super) struct Content {
    objects: BTreeMap<Key, Revision>,
    past: VecDeque<Told>,
}

/// One change as it was told.
#[derive(Debug)]
struct Told {
    revision: Revision,
    change_type: ChangeType,
    key: Key,
    bytes: usize,
    at: std::time::Duration,
}

impl Content {
    pub fn note(&mut self, change: &Change, at: std::time::Duration) -> anyhow::Result<()> {
        let Change { revision, change_type, key, body, previous: _, index: _, at: _ } = change;
        let before = match change_type {
            ChangeType::Deleted => self.objects.remove(key),
            ChangeType::Created | ChangeType::Modified => self.objects.insert(key.clone(), *revision),
        };
        let fits = (*change_type == ChangeType::Created) == before.is_none();
        ensure!(fits, "R-6: {key:?} is {change_type:?} at {revision:?}, and was there at {before:?} before");
        if *change_type == ChangeType::Deleted && key.kind == Kind::Namespace {
            let left: Vec<&Key> = self.objects.keys().filter(|other| other.namespace == key.name).collect();
            ensure!(left.is_empty(), "W-111: namespace {} is gone, but not its {left:?}", key.name);
        }
        if self.past.len() == PAST_MAX {
            self.past.pop_front();
        }
        let told = Told { revision: *revision, change_type: *change_type, key: key.clone(), bytes: body.len(), at };
        self.past.push_back(told);
        Ok(())
    }
}

impl Checker {
    /// lists and history agree. To be asked when everything that was written was looked at.
    ///
    /// # Errors
    /// What is broken.
    pub async fn check_content(&self, store: &Store) -> anyhow::Result<()> {
        if store.latest() != self.seen {
            return Ok(());
        }
        let mut there = BTreeMap::new();
        for kind in Kind::ALL {
            let all = store.list(&ListQuery::all(kind, 100_000)).await?.items;
            there.extend(all.into_iter().map(|stored| (stored.key, stored.revision)));
        }
        if store.latest() == self.seen {
            let objects = &self.content.objects;
            let missing: Vec<_> = objects.iter().filter(|(key, at)| there.get(key) != Some(at)).collect();
            let more: Vec<_> = there.iter().filter(|(key, at)| objects.get(key) != Some(at)).collect();
            ensure!(
                missing.is_empty() && more.is_empty(),
                "R-6: the history tells of {missing:?}, and {more:?} are there"
            );
        }
        Ok(())
    }

    /// I-7: somebody watches again from an earlier revision on.
    ///
    /// # Errors
    /// What is broken.
    pub async fn check_past(&self, store: &Store, dice: &mut Dice) -> anyhow::Result<()> {
        let past = &self.content.past;
        let place = usize::try_from(dice.below(past.len() as u64))?;
        let (Some(first), Some(last)) = (past.get(place), past.back()) else { return Ok(()) };
        let chunk = usize::try_from(dice.between(1, 20))?;
        let mut seen = first.revision;
        let mut expected = past.range(place + 1..);
        while seen < last.revision {
            let (changes, upto) = match store.changes(None, seen, chunk).await {
                Ok(answer) => answer,
                Err(Error::TooOld { .. }) => {
                    let next = past.iter().find(|told| told.revision > seen);
                    let is_young = next.is_some_and(|next| self.passed < next.at + WINDOW);
                    ensure!(!is_young || self.clock_jumps, "W-124: the past after {seen:?} is gone already");
                    return Ok(());
                }
                Err(error) => return Err(error.into()),
            };
            for change in changes.iter().take_while(|change| change.revision <= last.revision) {
                let Some(told) = expected.next() else { break };
                let same = told.revision == change.revision
                    && told.change_type == change.change_type
                    && told.key == change.key
                    && told.bytes == change.body.len();
                ensure!(
                    same,
                    "I-7: the history told {told:?} before, and now {:?} of {:?}",
                    change.revision,
                    change.key
                );
            }
            ensure!(upto > seen, "R-6: the history does not go on after {seen:?}");
            seen = upto;
        }
        let left = expected.next();
        ensure!(left.is_none(), "I-7: the history no longer tells of {left:?}");
        Ok(())
    }
}
