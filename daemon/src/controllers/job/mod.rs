//! The Job controller: looks at a job and its pods, decides, and commits all that follows in one transaction.
//!
//! This file observes and commits; every rule is in a file beside it ([`decide`] first). Owns a job's `status`, the pods it creates, and
//! the tracking finalizer.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use jobd_api::{
    object::Object,
    registry::Kind,
    selector::{Labels, Operator},
    write::{self, Context, Prepared},
};
use k8s_openapi::api::{batch::v1::Job, core::v1};
use tracing::debug;

use super::{edit, listing::CHUNK};
use crate::{
    driver::{Controller, Error, Next, Own},
    recorder::Recorder,
    store::{self, Change, ChangeType, JobSnapshot, Store, Stored, Write},
    sys::{Now, SharedRandom, Stopwatch},
};

mod abandoned;
pub mod adoption;
pub mod backoff;
mod commit;
pub mod conditions;
pub mod decide;
pub mod index;
mod known;
pub mod manage;
pub mod measured;
pub mod plan;
pub mod pods;
pub mod policy;
pub mod removal;
pub mod snapshot;
pub mod success;
pub mod tally;
#[cfg(test)]
mod tests;

use decide::decide;
use known::{Known, KnownJob, Place};
use measured::Measured;
use plan::{NewPod, Plan, Refusal};
use snapshot::{Pod, Snapshot};

/// What one look at a job has read.
struct Seen {
    snapshot: Snapshot,
    selector: Option<Labels>,
    pods: BTreeMap<store::Revision, Arc<Pod>>,
    revision: store::Revision,
}

/// How often a look is repeated at once because somebody else wrote in between, or a generated name was taken (J-306). Then the driver
/// takes over, so that one busy job doesn't keep a place in flight.
const TRIES_MAX: usize = 8;

/// What the controller looks at.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Key {
    Job {
        namespace: String,
        name: String,
    },
    /// A pod with the tracking finalizer that no active job is known to control (J-2009).
    Pod {
        namespace: String,
        name: String,
    },
    /// The pods of a job that is gone, by its uid (J-2009).
    PodsOf {
        uid: String,
    },
}

impl Key {
    fn job((namespace, name): Place) -> Self {
        Self::Job { namespace, name }
    }

    fn pod(key: store::Key) -> Self {
        Self::Pod { namespace: key.namespace, name: key.name }
    }
}

/// Runs all jobs that are not managed by somebody else.
pub struct JobController {
    store: Store,
    recorder: Arc<Recorder>,
    random: Arc<SharedRandom>,
    known: Mutex<Known>,
    own: Own<Key>,
}

impl JobController {
    #[must_use]
    pub fn new(store: Store, recorder: Arc<Recorder>, random: Arc<SharedRandom>) -> Self {
        Self { store, recorder, random, known: Mutex::default(), own: Own::default() }
    }

    fn known<T>(&self, f: impl FnOnce(&mut Known) -> T) -> T {
        f(&mut self.known.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Reads a job and those of its pods that changed since the last look. None: there is no such job.
    async fn read(&self, place: &Place) -> Result<Option<JobSnapshot>, Error> {
        let key = store::Key::new(Kind::Job, &place.0, &place.1);
        let since = self.known(|known| known.seen(place));
        let Some(found) = self.store.job_snapshot(&key, since).await? else { return Ok(None) };
        if since.is_some() {
            let uid = found.job.object()?.uid().to_owned();
            // What is remembered must be of this very job, and hold every pod that was not read.
            let is_known = self.known(|known| {
                let known = known.recall(place, &uid);
                known.is_some_and(|known| found.unchanged.iter().all(|revision| known.pods.contains_key(revision)))
            });
            if !is_known {
                return Ok(self.store.job_snapshot(&key, None).await?);
            }
        }
        Ok(Some(found))
    }

    /// Reduces what was read; pods that didn't change since the last look are taken from memory.
    fn observe(&self, place: &Place, found: &JobSnapshot, now: Now) -> Result<Seen, Error> {
        let job: Job = found.job.typed()?;
        let selector = job.spec.as_ref().and_then(|spec| spec.selector.as_ref()).map(Labels::from_typed);
        let uid = job.metadata.uid.as_deref().unwrap_or_default();
        let read = |stored: &Stored| -> Result<Arc<Pod>, Error> {
            Ok(Arc::new(Pod::read(&stored.typed::<v1::Pod>()?, selector.as_ref(), now)))
        };
        let (memory, mut pods) = self.known(|known| {
            let Some(known) = known.recall(place, uid) else { return Default::default() };
            let keep = |revision: &store::Revision| Some((*revision, known.pods.get(revision)?.clone()));
            (known.memory.clone(), found.unchanged.iter().filter_map(keep).collect::<BTreeMap<_, _>>())
        });
        for stored in &found.pods {
            let pod = read(stored)?;
            // One that is over and counted is there to be released, or not at all.
            if pod.tracking || !pod.phase.is_terminal() || !pod.matches {
                pods.insert(stored.revision, pod);
            }
        }
        let adoptable = found.orphans.iter().filter(|stored| may_match(selector.as_ref(), &stored.body));
        let orphans: Vec<Arc<Pod>> = adoptable.map(read).collect::<Result<_, _>>()?;
        let snapshot = Snapshot::new(job, pods.values().cloned().collect(), orphans, memory);
        Ok(Seen { snapshot, selector, pods, revision: found.revision })
    }

    /// Bodies of pods that the plan changes and that were not read because they hadn't changed. One that is gone by now has changed: the
    /// guard of its revision will say so.
    async fn read_changed(&self, found: &mut JobSnapshot, seen: &Seen, plan: &Plan) -> Result<(), Error> {
        let is_lacking =
            |revision: &store::Revision| seen.pods.get(revision).is_some_and(|pod| plan.pods.contains_key(&pod.name));
        let lacking: Vec<store::Revision> = found.unchanged.iter().copied().filter(is_lacking).collect();
        if lacking.is_empty() {
            return Ok(());
        }
        let read = self.store.versions(&lacking).await?;
        if read.len() < lacking.len() {
            return Err(store::Error::Conflict { key: found.job.key.clone(), seen: found.revision, have: None }.into());
        }
        found.pods.extend(read);
        Ok(())
    }

    /// Makes pods that can be stored, each with a name that no other of this plan has.
    fn maker(
        &self,
        job: &Job,
        now: Now,
        may_create: bool,
    ) -> impl FnMut(&NewPod) -> Result<Prepared, Refusal> + use<'_> {
        let job = job.clone();
        let mut names = BTreeSet::new();
        move |new| {
            if !may_create {
                return Err(Refusal::NotNow);
            }
            let namespace = job.metadata.namespace.as_deref().unwrap_or_default();
            let body =
                Object::from_typed(&pods::build(&job, new)).map_err(|error| Refusal::Because(error.to_string()))?;
            let mut random = &*self.random;
            for _ in 0..TRIES_MAX {
                let mut context = Context { now: now.wall, random: &mut random };
                let made = write::create(Kind::Pod.resource(), namespace, body.clone(), &mut context)
                    .map_err(|status| Refusal::Because(status.message))?;
                if names.insert(made.object.name().to_owned()) {
                    return Ok(made);
                }
            }
            let taken = body.text(&["metadata", "generateName"]).unwrap_or_default();
            Err(Refusal::Because(format!("pods \"{taken}\" already exists")))
        }
    }

    async fn commit(&self, found: &mut JobSnapshot, seen: &Seen, plan: &Plan, now: Now) -> Result<(), Error> {
        if plan.is_empty() {
            return Ok(());
        }
        let job = &seen.snapshot.job;
        self.read_changed(found, seen, plan).await?;
        let mut request = commit::request(found, job, plan, now)?;
        let specs = plan.events.iter().map(|event| commit::event_spec(found, job, event));
        request.writes.extend(specs.filter_map(|spec| self.recorder.record(&spec, now)));
        // A pod that goes is counted by the look that its end asks for.
        let is_put: Vec<bool> = request
            .writes
            .iter()
            .filter_map(|write| match write {
                Write::Put { .. } => Some(true),
                Write::Delete { .. } => Some(false),
                Write::Due { .. } | Write::Advance | Write::Attempt(_) | Write::ForgetAttempts { .. } => None,
            })
            .collect();
        let written = self.store.write(request).await?;
        if plan.refused.is_none() && plan.waiting != plan::Waiting::AnotherLook {
            let puts = written.revisions.iter().zip(is_put).filter(|(_, is_put)| *is_put);
            let own: Vec<store::Revision> = puts.map(|(revision, _)| *revision).collect();
            let store::Key { namespace, name, .. } = &found.job.key;
            self.own.add(&Key::job((namespace.clone(), name.clone())), &own);
        }
        Ok(())
    }

    fn remember(&self, place: &Place, seen: Seen, plan: &Plan) {
        let Seen { snapshot, selector, pods, revision } = seen;
        let uid = snapshot.job.metadata.uid.unwrap_or_default();
        self.known(|known| match plan.waiting {
            plan::Waiting::Nothing | plan::Waiting::Manager(_) => known.forget(place),
            plan::Waiting::CompletionMode
            | plan::Waiting::AnotherLook
            | plan::Waiting::Pods { .. }
            | plan::Waiting::Terminating { .. }
            | plan::Waiting::Backoff { .. }
            | plan::Waiting::Resume
            | plan::Waiting::Parallelism
            | plan::Waiting::Deletion
            | plan::Waiting::Admission => {
                known.remember(place, KnownJob { uid, selector, memory: plan.memory.clone(), pods, seen: revision });
            }
        });
    }

    /// A look, and how long it took.
    async fn reconcile_job(&self, place: &Place, now: Now) -> Result<Next, Error> {
        let stopwatch = Stopwatch::start();
        let mut measured = None;
        let result = self.look_at_job(place, now, &mut measured).await;
        if let Some(measured) = measured {
            measured.looked(result.is_ok(), stopwatch.elapsed());
        }
        result
    }

    async fn look_at_job(&self, place: &Place, now: Now, measured: &mut Option<Measured>) -> Result<Next, Error> {
        // Why nothing may be created, once the store has said so. The rest of the plan is committed without.
        let mut obstacle: Option<store::Error> = None;
        let mut tries = 0;
        loop {
            let Some(mut found) = self.read(place).await? else {
                self.known(|known| known.forget(place));
                return Ok(Next::Idle);
            };
            let seen = self.observe(place, &found, now)?;
            let job = &seen.snapshot.job;
            let plan = decide(&seen.snapshot, now, &mut self.maker(job, now, obstacle.is_none()));
            tries += 1;
            let numbers = measured.insert(Measured::of(job, &plan));
            match self.commit(&mut found, &seen, &plan, now).await {
                Ok(()) => {
                    numbers.clone().committed();
                    self.remember(place, seen, &plan);
                    return match obstacle {
                        // The driver tries again, so that pods are created as soon as there is room.
                        Some(error @ store::Error::Full { .. }) => Err(error.into()),
                        // J-857: with the namespace the job goes too.
                        Some(_) | None => next(place, plan),
                    };
                }
                Err(Error::Store(store::Error::Conflict { .. } | store::Error::AlreadyExists { .. }))
                    if tries < TRIES_MAX => {}
                Err(Error::Store(
                    error @ (store::Error::NamespaceMissing { .. }
                    | store::Error::NamespaceTerminating { .. }
                    | store::Error::Full { .. }),
                )) if obstacle.is_none() => obstacle = Some(error),
                Err(error) => return Err(error),
            }
        }
    }

    /// Takes the tracking finalizer off those of the pods that nobody will count any more (J-2009).
    async fn release_abandoned(&self, pods: impl IntoIterator<Item = Stored>) -> Result<(), Error> {
        let mut edits = Vec::new();
        for stored in pods {
            // Most of a job's pods have been counted long ago; those are not even parsed.
            if stored.key.kind != Kind::Pod || !stored.body.contains(snapshot::TRACKING_FINALIZER) {
                continue;
            }
            let old = stored.object()?;
            let metadata = old.metadata().map_err(|error| Error::Other(error.to_string()))?;
            let job = match abandoned::controlling_job(&metadata) {
                // An active job takes care of its pods itself.
                Some(uid) if self.known(|known| known.find(uid).is_some()) => continue,
                Some(uid) => self.store.get_by_uid(Kind::Job, uid).await?,
                None => None,
            };
            let job = job.map(|stored| stored.typed::<Job>()).transpose()?;
            if abandoned::is_abandoned(&metadata, job.as_ref()) {
                let mut new = old.clone();
                edit::remove_finalizer(&mut new, snapshot::TRACKING_FINALIZER);
                edits.extend(edit::update(&stored, &old, new));
            }
        }
        edit::commit(&self.store, edits).await
    }

    /// Whom a changed pod wakes: the job that controls it, those that might adopt it, the one that has just lost it; and itself, if nobody
    /// is known who would take off its finalizer.
    fn pod_wakes(&self, change: &Change) -> Vec<Key> {
        measured::note_finalizer(change);
        let index = &change.index;
        let is_gone = change.change_type == ChangeType::Deleted;
        let itself = (index.tracking && !is_gone).then(|| Key::pod(change.key.clone()));
        if let Some(uid) = &index.controller_uid {
            if index.finished && !index.tracking && !is_gone {
                self.known(|known| known.finished_and_relabelled(uid, &index.labels, change.revision));
            }
            let job = self.known(|known| known.find(uid).cloned()).map(Key::job);
            return job.or(itself).into_iter().collect();
        }
        if is_gone {
            return Vec::new();
        }
        let lost = change.previous.as_deref().and_then(controller_uid);
        let mut keys: BTreeSet<Key> = itself.into_iter().collect();
        self.known(|known| {
            if !index.deleting {
                keys.extend(known.adopters(&change.key.namespace, &index.labels).into_iter().map(Key::job));
            }
            keys.extend(lost.and_then(|uid| known.find(&uid).cloned()).map(Key::job));
        });
        keys.into_iter().collect()
    }

    /// Whom a changed job wakes: itself; where it is gone, its pods too. One that has ended has let go of its pods and is only looked at to
    /// be forgotten, unless others manage it.
    fn job_wakes(&self, change: &Change) -> Vec<Key> {
        measured::note_manager(change);
        let index = &change.index;
        let is_gone = change.change_type == ChangeType::Deleted;
        let ended = is_gone || index.finished;
        let may_have_pods = !index.finished || change.body.contains("\"managedBy\"");
        let mut keys = Vec::new();
        if !ended || self.known(|known| known.find(&index.uid).is_some()) {
            keys.push(Key::job((change.key.namespace.clone(), change.key.name.clone())));
        }
        if is_gone && may_have_pods {
            keys.push(Key::PodsOf { uid: index.uid.clone() });
        }
        keys
    }
}

impl Controller for JobController {
    const NAME: &'static str = "job";
    type Key = Key;

    fn wakes(&self, change: &Change) -> Vec<Key> {
        // By comparison: a new kind is nothing to this controller until somebody makes it so.
        if change.key.kind == Kind::Pod {
            self.pod_wakes(change)
        } else if change.key.kind == Kind::Job {
            self.job_wakes(change)
        } else {
            Vec::new()
        }
    }

    /// Active jobs; and active pods, of which those that nobody controls any more must not stay stuck (J-2009).
    async fn active(&self) -> Result<Vec<Key>, Error> {
        let jobs = self.store.active(Kind::Job).await?;
        let pods = self.store.active(Kind::Pod).await?;
        let jobs = jobs.into_iter().map(|key| Key::job((key.namespace, key.name)));
        Ok(jobs.chain(pods.into_iter().map(Key::pod)).collect())
    }

    fn take_own(&self, key: &Key) -> Vec<store::Revision> {
        self.own.take(key)
    }

    async fn reconcile(&self, key: &Key, now: Now) -> Result<Next, Error> {
        match key {
            Key::Job { namespace, name } => return self.reconcile_job(&(namespace.clone(), name.clone()), now).await,
            Key::Pod { namespace, name } => {
                let pod = self.store.get(&store::Key::new(Kind::Pod, namespace, name)).await?;
                self.release_abandoned(pod).await?;
            }
            Key::PodsOf { uid } => {
                let mut after = 0;
                loop {
                    let (pods, last) = self.store.dependents(uid, after, CHUNK).await?;
                    let is_last = pods.len() < CHUNK;
                    self.release_abandoned(pods).await?;
                    if is_last {
                        break;
                    }
                    after = last;
                }
            }
        }
        Ok(Next::Idle)
    }
}

/// When to look again. A refused pod is an error, so that the driver backs off (J-856).
fn next(place: &Place, plan: Plan) -> Result<Next, Error> {
    let (namespace, name) = place;
    debug!(namespace, job = name, "job {namespace}/{name} waits for {}", plan.waiting);
    if let Some(why) = plan.refused {
        return Err(Error::Other(format!("a pod of job {namespace}/{name} was refused: {why}")));
    }
    Ok(plan.next.map_or(Next::Idle, |at| Next::At(Duration::try_from(at).unwrap_or(Duration::ZERO))))
}

/// Cheap and without parsing: false when a stored body cannot match, as a label value that the selector demands is nowhere in it.
fn may_match(selector: Option<&Labels>, body: &str) -> bool {
    selector.is_some_and(|selector| {
        selector.requirements.iter().all(|requirement| match &requirement.operator {
            Operator::In(values) => values.iter().any(|value| body.contains(value.as_str())),
            Operator::NotIn(_)
            | Operator::Exists
            | Operator::DoesNotExist
            | Operator::GreaterThan(_)
            | Operator::LessThan(_) => true,
        })
    })
}

/// uid of the controller in a stored body.
fn controller_uid(body: &str) -> Option<String> {
    let owners = Object::parse(body).ok()?.metadata().ok()?.owner_references?;
    owners.into_iter().find(|owner| owner.controller == Some(true)).map(|owner| owner.uid)
}
