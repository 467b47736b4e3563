//! Which pending pod may start now on this node: requests against what the node has, by priority and age.
//!
//! What is used of the node is kept in memory, fed by the changes, so that a decision costs the waiting pods and not all
//! pods. The store stays the truth: each placing rests on the revision of the pod that was read for it.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use jobd_api::{
    object::Object,
    registry::Kind,
    write::{self, Updated},
};
use tracing::{debug, warn};

use crate::{
    driver::{Controller, Error, Next},
    recorder::Recorder,
    store::{self, Change, ChangeType, Guard, Key, Request, Store, Write},
    sys::Now,
};

mod apply;
mod cluster;
mod decide;
mod facts;
mod fit;
mod usage;

use apply::{apply, event};
use cluster::{Cluster, SeenPod};
use decide::{Decision, Verdict};

/// How many pods are placed or told in one commit.
///
/// More make one transaction large and a conflict in it dear; fewer make a burst of pods wait for more fsyncs.
const TOGETHER_MAX: usize = 128;

pub struct Scheduler {
    store: Store,
    recorder: Arc<Recorder>,
    /// The name of the one node.
    node: String,
    cluster: Mutex<Cluster>,
    /// Held while deciding and committing, and while rebuilding, so that a rebuild does not undo what was just placed.
    turn: tokio::sync::Mutex<()>,
}

/// The writes for one decision and what they rest on.
struct Edit {
    decision: Decision,
    guard: Guard,
    writes: Vec<Write>,
}

impl Scheduler {
    #[must_use]
    pub fn new(store: Store, recorder: Arc<Recorder>, node: String) -> Self {
        Self { store, recorder, node, cluster: Mutex::new(Cluster::default()), turn: tokio::sync::Mutex::new(()) }
    }

    fn cluster(&self) -> MutexGuard<'_, Cluster> {
        self.cluster.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes in one pod's state; true if a pod may start now that could not before. A body that cannot be read concerns that
    /// pod only.
    fn see(&self, pod: &SeenPod<'_>) -> bool {
        self.cluster().see(pod, &self.node).unwrap_or_else(|error| {
            warn!(namespace = pod.key.namespace, pod = pod.key.name, error = %error, "a stored pod cannot be read");
            false
        })
    }

    /// Reads node and active pods anew.
    async fn rebuild(&self) -> Result<(), Error> {
        let node = self.store.get(&Key::new(Kind::Node, "", &*self.node)).await?;
        let node = node.map(|node| node.typed()).transpose()?;
        self.cluster().set_node(node.as_ref());
        let mut uids = BTreeSet::new();
        for key in self.store.active(Kind::Pod).await? {
            let Some(stored) = self.store.get(&key).await? else { continue };
            let object = stored.object()?;
            let uid = object.uid().to_owned();
            self.see(&SeenPod {
                key: &key,
                uid: &uid,
                revision: stored.revision,
                node: object.text(&["spec", "nodeName"]).filter(|node| !node.is_empty()),
                over: is_finished(&object),
                deleting: object.get(&["metadata", "deletionTimestamp"]).is_some(),
                body: &stored.body,
            });
            uids.insert(uid);
        }
        self.cluster().retain(&uids);
        Ok(())
    }

    /// The writes for one decision; none when the pod is no longer what was decided about.
    async fn edit(&self, decision: Decision, now: Now) -> Result<Option<Edit>, Error> {
        let stored = self.store.get(&decision.key).await?;
        let Some(stored) = stored else {
            self.cluster().settle(&decision.uid, false);
            return Ok(None);
        };
        let old = stored.object()?;
        let is_stale = old.uid() != decision.uid
            || old.text(&["spec", "nodeName"]).is_some_and(|node| !node.is_empty())
            || old.get(&["metadata", "deletionTimestamp"]).is_some();
        if is_stale {
            // Its change is on the way and says what it is now.
            self.cluster().settle(&decision.uid, false);
            return Ok(None);
        }
        let new = apply(&old, &decision.verdict, now);
        let generation = old.get(&["metadata", "generation"]).cloned();
        let mut prepared = match write::update_own(Kind::Pod.resource(), &old, new) {
            Updated::Changed(prepared) => prepared,
            Updated::Unchanged { warnings: _ } | Updated::Gone(_) => return Ok(None),
        };
        // Being placed is not a change that the pod's owner asked for: upstream leaves the generation alone.
        if let Some(generation) = generation {
            prepared.object.metadata_mut().insert("generation".to_owned(), generation);
        }
        let mut writes =
            vec![Write::Put { key: decision.key.clone(), index: prepared.index, body: prepared.object.to_stored() }];
        writes.extend(self.recorder.record(&event(&old, &decision.verdict), now));
        let guard = Guard::Unchanged { key: decision.key.clone(), revision: stored.revision };
        Ok(Some(Edit { decision, guard, writes }))
    }

    async fn commit(&self, edits: &[Edit]) -> Result<(), store::Error> {
        let request = Request {
            guards: edits.iter().map(|edit| edit.guard.clone()).collect(),
            writes: edits.iter().flat_map(|edit| edit.writes.iter().cloned()).collect(),
            urgent: false,
        };
        self.store.write(request).await?;
        let mut cluster = self.cluster();
        for Edit { decision, .. } in edits {
            match &decision.verdict {
                Verdict::Bind { node } => {
                    debug!(namespace = decision.key.namespace, pod = decision.key.name, node, "placed");
                    cluster.settle(&decision.uid, true);
                }
                Verdict::Tell { message } => cluster.told(&decision.uid, message.clone()),
            }
        }
        Ok(())
    }
}

fn is_finished(pod: &Object) -> bool {
    matches!(pod.text(&["status", "phase"]), Some("Succeeded" | "Failed"))
}

impl Controller for Scheduler {
    const NAME: &'static str = "scheduler";
    /// One key: placing many pods is one decision.
    type Key = ();

    fn wakes(&self, change: &Change) -> Vec<()> {
        let is_gone = change.change_type == ChangeType::Deleted;
        let matters = if change.key.kind == Kind::Pod {
            self.see(&SeenPod {
                key: &change.key,
                uid: &change.index.uid,
                revision: change.revision,
                node: change.index.node.as_deref(),
                over: is_gone || change.index.finished,
                deleting: change.index.deleting,
                body: &change.body,
            })
        } else if change.key.kind == Kind::Node && change.key.name == self.node {
            let node = if is_gone { None } else { serde_json::from_str(&change.body).ok() };
            self.cluster().set_node(node.as_ref());
            true
        } else {
            false
        };
        if matters && self.cluster().has_waiting() { vec![()] } else { Vec::new() }
    }

    async fn active(&self) -> Result<Vec<()>, Error> {
        let _turn = self.turn.lock().await;
        self.rebuild().await?;
        Ok(if self.cluster().has_waiting() { vec![()] } else { Vec::new() })
    }

    async fn reconcile(&self, (): &(), now: Now) -> Result<Next, Error> {
        let _turn = self.turn.lock().await;
        let plan = self.cluster().decide(TOGETHER_MAX);
        let mut edits = Vec::with_capacity(plan.decisions.len());
        for decision in plan.decisions {
            edits.extend(self.edit(decision, now).await?);
        }
        let is_conflict = |error: &store::Error| matches!(error, store::Error::Conflict { .. });
        match self.commit(&edits).await {
            Ok(()) => {}
            Err(error) if is_conflict(&error) => {
                // Somebody changed one of the pods: the others go one by one, that one when its change is seen.
                for edit in &edits {
                    match self.commit(std::slice::from_ref(edit)).await {
                        Ok(()) => {}
                        Err(error) if is_conflict(&error) => {}
                        Err(error) => return Err(error.into()),
                    }
                }
            }
            Err(error) => return Err(error.into()),
        }
        Ok(if plan.more { Next::At(now.boot) } else { Next::Idle })
    }
}

#[cfg(test)]
mod tests;
