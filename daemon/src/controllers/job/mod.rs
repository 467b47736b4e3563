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

use crate::{
    driver::{Controller, Error, Next},
    recorder::Recorder,
    store::{self, Change, ChangeType, JobSnapshot, Store, Stored},
    sys::{Now, SharedRandom},
};

pub mod adoption;
pub mod backoff;
mod commit;
pub mod conditions;
pub mod decide;
pub mod index;
mod known;
pub mod manage;
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
use plan::{NewPod, Plan, Refusal};
use snapshot::{Pod, Snapshot};

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
    Dependents {
        uid: String,
    },
}

impl Key {
    fn job((namespace, name): Place) -> Self {
        Self::Job { namespace, name }
    }
}

/// Runs all jobs that are not managed by somebody else.
pub struct JobController {
    store: Store,
    recorder: Arc<Recorder>,
    random: Arc<SharedRandom>,
    known: Mutex<Known>,
}

impl JobController {
    #[must_use]
    pub fn new(store: Store, recorder: Arc<Recorder>, random: Arc<SharedRandom>) -> Self {
        Self { store, recorder, random, known: Mutex::default() }
    }

    fn known<T>(&self, f: impl FnOnce(&mut Known) -> T) -> T {
        f(&mut self.known.lock().unwrap_or_else(PoisonError::into_inner))
    }

    async fn reconcile_job(&self, place: &Place, now: Now) -> Result<Next, Error> {
        let key = store::Key::new(Kind::Job, &place.0, &place.1);
        let mut namespace_ends = false;
        let mut tries = 0;
        loop {
            let Some(found) = self.store.job_snapshot(&key).await? else {
                self.known(|known| known.forget(place));
                return Ok(Next::Idle);
            };
            let (seen, selector, read) = self.observe(place, &found, now)?;
            let plan = decide(&seen, now, &mut self.maker(&seen.job, now, namespace_ends));
            tries += 1;
            match self.commit(&found, &seen.job, &plan, now).await {
                Ok(()) => {
                    self.remember(place, &seen.job, selector, read, &plan);
                    return next(place, plan);
                }
                Err(Error::Store(store::Error::Conflict { .. } | store::Error::AlreadyExists { .. }))
                    if tries < TRIES_MAX => {}
                Err(Error::Store(
                    store::Error::NamespaceMissing { .. } | store::Error::NamespaceTerminating { .. },
                )) if !namespace_ends => {
                    namespace_ends = true; // J-857
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Reduces what was read; pods that didn't change since the last look are taken from memory.
    #[expect(clippy::type_complexity, reason = "three things that only the caller needs, once")]
    fn observe(
        &self,
        place: &Place,
        found: &JobSnapshot,
        now: Now,
    ) -> Result<(Snapshot, Option<Labels>, BTreeMap<store::Revision, Arc<Pod>>), Error> {
        let job: Job = found.job.typed()?;
        let selector = job.spec.as_ref().and_then(|spec| spec.selector.as_ref()).map(Labels::from_typed);
        let uid = job.metadata.uid.as_deref().unwrap_or_default();
        let (memory, before) = self.known(|known| known.recall(place, uid));
        let read = |stored: &Stored| -> Result<Arc<Pod>, Error> {
            Ok(Arc::new(Pod::read(&stored.typed::<v1::Pod>()?, selector.as_ref(), now)))
        };
        let mut pods = BTreeMap::new();
        for stored in &found.pods {
            let pod = before.get(&stored.revision).map_or_else(|| read(stored), |pod| Ok(pod.clone()))?;
            pods.insert(stored.revision, pod);
        }
        let adoptable = found.orphans.iter().filter(|stored| may_match(selector.as_ref(), &stored.body));
        let orphans: Vec<Arc<Pod>> = adoptable.map(read).collect::<Result<_, _>>()?;
        let seen = Snapshot::new(job, pods.values().cloned().collect(), orphans, memory);
        Ok((seen, selector, pods))
    }

    /// Makes pods that can be stored, each with a name that no other of this plan has.
    fn maker(
        &self,
        job: &Job,
        now: Now,
        namespace_ends: bool,
    ) -> impl FnMut(&NewPod) -> Result<Prepared, Refusal> + use<'_> {
        let job = job.clone();
        let mut names = BTreeSet::new();
        move |new| {
            if namespace_ends {
                return Err(Refusal::NamespaceTerminating);
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

    async fn commit(&self, found: &JobSnapshot, job: &Job, plan: &Plan, now: Now) -> Result<(), Error> {
        if plan.is_empty() {
            return Ok(());
        }
        let mut request = commit::request(found, job, plan, now)?;
        let specs = plan.events.iter().map(|event| commit::event_spec(found, job, event));
        request.writes.extend(specs.filter_map(|spec| self.recorder.record(&spec, now)));
        self.store.write(request).await?;
        Ok(())
    }

    fn remember(
        &self,
        place: &Place,
        job: &Job,
        selector: Option<Labels>,
        pods: BTreeMap<store::Revision, Arc<Pod>>,
        plan: &Plan,
    ) {
        let uid = job.metadata.uid.clone().unwrap_or_default();
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
                known.remember(place, KnownJob { uid, selector, memory: plan.memory.clone(), pods });
            }
        });
    }

    /// J-2009 for one pod: nobody will count it any more.
    async fn release_abandoned(&self, key: &store::Key) -> Result<(), Error> {
        for _ in 0..TRIES_MAX {
            let Some(stored) = self.store.get(key).await? else { return Ok(()) };
            let object = stored.object()?;
            if !commit::is_tracking(&object) || !self.is_abandoned(&object).await? {
                return Ok(());
            }
            match self.store.write(commit::untrack(&stored)?).await {
                Ok(_) => return Ok(()),
                Err(store::Error::Conflict { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(Error::Other(format!("pod {} changes all the time", key.name)))
    }

    /// No controller at all, or a job that is gone or has finished. Other controllers' pods, and those of jobs that others manage, are
    /// left alone.
    async fn is_abandoned(&self, pod: &Object) -> Result<bool, Error> {
        let metadata = pod.metadata().map_err(|error| Error::Other(error.to_string()))?;
        let owners = metadata.owner_references.unwrap_or_default();
        let Some(owner) = owners.into_iter().find(|owner| owner.controller == Some(true)) else { return Ok(true) };
        if owner.kind != "Job" || !owner.api_version.starts_with("batch/") {
            return Ok(false);
        }
        let Some(stored) = self.store.get_by_uid(Kind::Job, &owner.uid).await? else { return Ok(true) };
        let job: Job = stored.typed()?;
        Ok(decide::is_ours(&job) && conditions::is_finished(&job))
    }

    /// Keys that a changed pod wakes: the job that controls it, those that might adopt it, and the one that has just lost it.
    fn pod_wakes(&self, change: &Change) -> Vec<Key> {
        let index = &change.index;
        let gone = change.change_type == ChangeType::Deleted;
        let itself = || Key::Pod { namespace: change.key.namespace.clone(), name: change.key.name.clone() };
        if let Some(uid) = &index.controller_uid {
            return match self.known(|known| known.find(uid).cloned()) {
                Some(place) => vec![Key::job(place)],
                None if index.tracking && !gone => vec![itself()],
                None => Vec::new(),
            };
        }
        if gone {
            return Vec::new();
        }
        let mut keys: BTreeSet<Key> = BTreeSet::new();
        if index.tracking {
            keys.insert(itself());
        }
        self.known(|known| {
            if !index.deleting {
                keys.extend(known.adopters(&change.key.namespace, &index.labels).into_iter().map(Key::job));
            }
            let lost = change.previous.as_deref().and_then(controller_uid);
            keys.extend(lost.and_then(|uid| known.find(&uid).cloned()).map(Key::job));
        });
        keys.into_iter().collect()
    }
}

impl Controller for JobController {
    const NAME: &'static str = "job";
    type Key = Key;

    fn wakes(&self, change: &Change) -> Vec<Key> {
        if change.key.kind == Kind::Pod {
            return self.pod_wakes(change);
        }
        if change.key.kind != Kind::Job {
            return Vec::new();
        }
        let job = Key::job((change.key.namespace.clone(), change.key.name.clone()));
        match change.change_type {
            ChangeType::Created | ChangeType::Modified => vec![job],
            ChangeType::Deleted => vec![job, Key::Dependents { uid: change.index.uid.clone() }],
        }
    }

    /// Active jobs; and active pods, of which those that nobody controls any more must not stay stuck (J-2009).
    async fn active(&self) -> Result<Vec<Key>, Error> {
        let jobs = self.store.active(Kind::Job).await?;
        let pods = self.store.active(Kind::Pod).await?;
        let jobs = jobs.into_iter().map(|key| Key::job((key.namespace, key.name)));
        let pods = pods.into_iter().map(|key| Key::Pod { namespace: key.namespace, name: key.name });
        Ok(jobs.chain(pods).collect())
    }

    async fn reconcile(&self, key: &Key, now: Now) -> Result<Next, Error> {
        match key {
            Key::Job { namespace, name } => self.reconcile_job(&(namespace.clone(), name.clone()), now).await,
            Key::Pod { namespace, name } => {
                self.release_abandoned(&store::Key::new(Kind::Pod, namespace, name)).await?;
                Ok(Next::Idle)
            }
            Key::Dependents { uid } => {
                for stored in self.store.dependents(uid).await? {
                    // Most of a job's pods have ended and been counted long ago; those are not even parsed.
                    if stored.key.kind == Kind::Pod && stored.body.contains(snapshot::TRACKING_FINALIZER) {
                        self.release_abandoned(&stored.key).await?;
                    }
                }
                Ok(Next::Idle)
            }
        }
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
