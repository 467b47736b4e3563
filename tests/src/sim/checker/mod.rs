//! What must hold after every step, whatever went wrong: judged from the store's own history and from the truth about every
//! container. Knows nothing of how the controllers decide; where it counts, it counts anew.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use anyhow::{bail, ensure};
use jiff::Timestamp;
use jobd::{
    engine::ContainerStatus,
    store::{Change, ChangeType, Revision, Store},
    sys::Clock as _,
};
use jobd_api::{object::Object, registry::Kind};

use super::{clock::VirtualClock, faults::Faults, machine::Machine, workload::Wish};

pub mod almanac;
mod content;
mod cron;
mod departures;
mod jobs;
mod node;
mod pods;
mod policy;
#[cfg(test)]
mod tests;

use content::Content;
use cron::Crons;
use departures::{Before, Departures, Leaving};
use jobs::Jobs;
use pods::{Pods, Roster};

/// How long a container may run that no pod accounts for, once nothing goes wrong any more (I-4).
const ORPHAN_MAX: Duration = Duration::from_secs(60);

/// Follows the store's history.
pub struct Checker {
    seen: Revision,
    content: Content,
    departures: Departures,
    crons: Crons,
    jobs: Jobs,
    pods: Pods,
    /// Of all pods that ever were, by uid.
    rosters: BTreeMap<String, Roster>,
    /// Namespaces that are being deleted.
    leaving: BTreeSet<String>,
    /// The evidence of an exit can be destroyed in this run.
    unknown_allowed: bool,
    /// The wall clock is set in this run.
    clock_jumps: bool,
    /// The daemon is restarted in this run, or the clock set: it may forget what it only remembers.
    memory_is_lost: bool,
    /// Since the simulation began.
    passed: Duration,
    wall: Timestamp,
    /// Containers that run without a pod, since when.
    orphans: BTreeMap<String, Duration>,
    /// Of everything that was written.
    pub digest: u64,
    pub changes: u64,
    pub unknown: u64,
    pub finished_jobs: u64,
    /// Jobs that cron jobs started.
    pub cron_runs: u64,
    /// What changed since the last look, for the trace.
    pub told: Vec<String>,
}

impl Checker {
    #[must_use]
    pub fn new(faults: &Faults) -> Self {
        Self {
            seen: Revision(0),
            content: Content::default(),
            departures: Departures::default(),
            crons: Crons::new(),
            jobs: Jobs::new(),
            pods: Pods::new(),
            rosters: BTreeMap::new(),
            leaving: BTreeSet::new(),
            unknown_allowed: faults.destroy_evidence(),
            clock_jumps: faults.jump > 0,
            memory_is_lost: faults.jump > 0 || faults.kill(),
            passed: Duration::ZERO,
            wall: Timestamp::UNIX_EPOCH,
            orphans: BTreeMap::new(),
            digest: 0xcbf2_9ce4_8422_2325,
            changes: 0,
            unknown: 0,
            finished_jobs: 0,
            cron_runs: 0,
            told: Vec::new(),
        }
    }

    /// Users asked for deletions. To be told before the look that may show them.
    pub fn note_wishes(&mut self, wishes: Vec<Wish>) {
        self.departures.note_wishes(wishes);
    }

    /// Looks at everything that was written since the last look: by one step, so mostly by one transaction.
    ///
    /// # Errors
    /// What is broken.
    pub async fn look(&mut self, store: &Store, machine: &Mutex<Machine>, clock: &VirtualClock) -> anyhow::Result<()> {
        self.passed = clock.passed();
        self.wall = clock.now().wall;
        let mut written = Vec::new();
        let mut upto = self.seen;
        while upto < store.latest() {
            let (changes, reached) = store.changes(None, upto, 512).await?;
            written.extend(changes);
            upto = reached;
        }
        self.judge(&written, &mut machine.lock().unwrap_or_else(PoisonError::into_inner))?;
        self.seen = upto;
        Ok(())
    }

    fn judge(&mut self, written: &[Arc<Change>], machine: &mut Machine) -> anyhow::Result<()> {
        if let Some(violation) = machine.truths.take_violations().into_iter().next() {
            bail!(violation);
        }
        let (starts, kills) = (machine.truths.take_starts(), machine.truths.take_kills());
        if written.is_empty() && starts.is_empty() && kills.is_empty() {
            return Ok(());
        }
        let before = self.jobs.clone();
        let stood = Before { jobs: before.clone(), crons: self.crons.clone(), namespaces: self.leaving.clone() };
        let mut leaving = Leaving::default();
        let is_new_job =
            |change: &&Arc<Change>| change.key.kind == Kind::Job && change.change_type == ChangeType::Created;
        let runs = written.iter().filter(is_new_job).map(|change| self.find_run(change));
        let runs: Vec<_> = runs.collect::<anyhow::Result<_>>()?;
        let mut counted = Vec::new();
        let mut created = BTreeSet::new();
        let mut touched = BTreeSet::new();
        let mut pods = Vec::new();
        let mut new_pods = Vec::new();
        for change in written {
            ensure!(change.revision > self.seen, "I-7: revision {:?} after {:?}", change.revision, self.seen);
            self.seen = change.revision;
            self.digest(change);
            self.content.note(change, self.passed)?;
            let kind = change.key.kind;
            if kind == Kind::Pod {
                let owners = self.pod_changed(change, machine, &mut counted, &mut leaving)?;
                if change.change_type == ChangeType::Created {
                    created.extend(owners.iter().cloned());
                    new_pods.push(change.index.uid.clone());
                }
                pods.push((change.index.uid.clone(), owners.clone()));
                touched.extend(owners);
            } else if kind == Kind::Job {
                touched.extend(self.job_changed(change, &mut leaving)?);
            } else if kind == Kind::CronJob {
                self.cron_changed(change, &mut leaving)?;
            } else if kind == Kind::Namespace {
                self.namespace_changed(change)?;
            }
        }
        for (uid, owners) in &pods {
            for owner in owners {
                self.note_pod(uid, owner, machine);
            }
            // One that had it and one that has it now, or nobody has.
            if owners.iter().collect::<BTreeSet<_>>().len() > 1 || owners.len() == 1 && self.is_free(uid) {
                owners.iter().for_each(|owner| self.note_relabelled(uid, owner));
            }
        }
        for one in &counted {
            self.count(one, &before);
        }
        for uid in &touched {
            self.check_counters(uid, &before)?;
        }
        for uid in &created {
            self.check_creation(uid)?;
        }
        for pod in new_pods.iter().filter_map(|uid| self.pods.get(uid)) {
            self.check_index_back_off(pod, machine)?;
        }
        for run in runs.iter().flatten() {
            self.check_run(run)?;
        }
        self.check_departures(&leaving, &stood)?;
        kills.iter().try_for_each(|kill| self.check_kill(kill))?;
        starts.iter().try_for_each(|start| self.check_start(start))
    }

    fn is_free(&self, pod: &str) -> bool {
        self.pods.get(pod).is_some_and(|pod| pod.job.is_none())
    }

    fn namespace_changed(&mut self, change: &Change) -> anyhow::Result<()> {
        let object = Object::parse(&change.body)?;
        let leaves = object.get(&["metadata", "deletionTimestamp"]).is_some();
        if leaves && change.change_type != ChangeType::Deleted {
            self.leaving.insert(change.key.name.clone());
        } else {
            self.leaving.remove(&change.key.name);
        }
        Ok(())
    }

    /// FNV-1a over what a replay must repeat.
    fn digest(&mut self, change: &Change) {
        self.changes += 1;
        let Change { revision, change_type, key, body, previous: _, index: _, at: _ } = change;
        let head = format!("{revision:?}{change_type:?}{key:?}");
        for byte in head.bytes().chain(body.bytes()) {
            self.digest = (self.digest ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3);
        }
    }

    /// When every loop rests.
    ///
    /// # Errors
    /// What is broken.
    pub fn check_rest(&self, machine: &Machine) -> anyhow::Result<()> {
        self.check_jobs_at_rest()?;
        self.check_crons_at_rest()?;
        self.check_owners_at_rest()?;
        self.check_node_at_rest(machine)
    }

    /// I-4, once nothing goes wrong any more: nothing runs for long that no pod accounts for.
    ///
    /// # Errors
    /// What is broken.
    pub fn check_orphans(&mut self, machine: &Machine, now: Duration) -> anyhow::Result<()> {
        let mut running = BTreeSet::new();
        for (id, uid, status) in machine.ours() {
            let accounted = self.pods.get(uid).is_some_and(|pod| !pod.is_over());
            if status == ContainerStatus::Running && !accounted {
                running.insert(id.to_owned());
            }
        }
        self.orphans.retain(|id, _| running.contains(id));
        for id in running {
            let since = *self.orphans.entry(id.clone()).or_insert(now);
            ensure!(now < since + ORPHAN_MAX, "I-4: container {id} runs since {since:?} and belongs to no live pod");
        }
        Ok(())
    }

    /// Some cron job may start another job.
    #[must_use]
    pub fn has_cron_jobs(&self) -> bool {
        !self.crons.is_empty()
    }

    /// There are no jobs and no pods.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.crons.is_empty() && self.jobs.is_empty() && self.pods.is_empty()
    }

    #[must_use]
    pub fn is_deleting(&self) -> bool {
        self.jobs.values().any(|job| job.deleting) || self.pods.values().any(|pod| pod.deleting)
    }

    /// Names of the jobs that are not over.
    #[must_use]
    pub fn unfinished_jobs(&self) -> Vec<String> {
        self.jobs.values().filter(|job| job.terminal().is_none() && !job.foreign).map(|job| job.name.clone()).collect()
    }

    /// Names of the pods that are not over.
    #[must_use]
    pub fn unfinished_pods(&self) -> Vec<String> {
        self.pods.values().filter(|pod| !pod.is_over() || pod.deleting).map(|pod| pod.name.clone()).collect()
    }
}
