//! What users do: a few small jobs with every feature, edits, suspensions, deletions. Written as the server writes: through
//! `jobd_api::write` and `lifecycle`, with the same guards. Knows nothing of what is checked.

use std::sync::{Arc, Mutex, MutexGuard};

use jobd::{
    store::{Guard, Key, ListQuery, Request, Store, Stored, Write},
    sys::{Clock as _, SharedRandom},
};
use jobd_api::{
    lifecycle::{self, Deletion},
    object::Object,
    registry::Kind,
    write::{self, Context, Part, Prepared, Updated},
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::DeleteOptions;
use serde_json::{Value, json};

use super::{clock::VirtualClock, dice::Dice};

mod manifests;

const NAMESPACES: [&str; 2] = ["default", "team"];

/// What is done next.
enum Deed {
    CronJob,
    Job,
    Other,
}

/// The users; they outlive every daemon.
#[derive(Clone)]
pub struct Users {
    clock: Arc<VirtualClock>,
    random: Arc<SharedRandom>,
    state: Arc<Mutex<State>>,
}

struct State {
    dice: Dice,
    /// Years pass, with cron jobs alone.
    years: bool,
    /// Cron jobs that may still be created.
    crons: u64,
    /// Jobs that may still be created.
    jobs: u64,
    /// Other things that may still be done.
    others: u64,
    created: u64,
    did: Vec<String>,
    wishes: Vec<Wish>,
}

/// Somebody asked for a deletion. Whether it was granted is another matter: a checker must know whom an end may come from.
#[derive(Clone, Debug)]
pub struct Wish {
    pub uid: String,
    /// `propagationPolicy`; none: the kind's own.
    pub policy: Option<String>,
    /// It was told as done; before that it was not even asked.
    pub granted: bool,
}

impl Users {
    #[must_use]
    pub fn new(clock: Arc<VirtualClock>, years: bool, mut dice: Dice) -> Self {
        let random = Arc::new(SharedRandom::seeded(dice.throw()));
        let (jobs, others) = (dice.between(1, 4), dice.between(0, 12));
        let crons = if years { dice.between(1, 3) } else { dice.between(1, 6).saturating_sub(4) };
        let jobs = if years { 0 } else { jobs };
        let state = State { dice, years, crons, jobs, others, created: 0, did: Vec::new(), wishes: Vec::new() };
        Self { clock, random, state: Arc::new(Mutex::new(state)) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no panic while held")
    }

    /// What was done since the last look, for the trace.
    #[must_use]
    pub fn take_deeds(&self) -> Vec<String> {
        std::mem::take(&mut self.state().did)
    }

    /// Who was asked to go since the last look.
    #[must_use]
    pub fn take_wishes(&self) -> Vec<Wish> {
        std::mem::take(&mut self.state().wishes)
    }

    #[must_use]
    pub fn are_done(&self) -> bool {
        let state = self.state();
        state.jobs + state.crons + state.others == 0
    }

    fn tell(&self, deed: String) {
        self.state().did.push(format!("user: {deed}"));
    }

    /// Makes the second namespace.
    pub async fn arrive(&self, store: &Store) {
        let body = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACES[1]}});
        self.create(store, Kind::Namespace, "", body).await;
    }

    /// Does the next thing, whatever it is.
    pub async fn act(&self, store: &Store) {
        let (deed, years) = {
            let mut state = self.state();
            let State { dice, years, crons, jobs, others, .. } = &mut *state;
            let create = *jobs + *crons > 0 && (*others == 0 || dice.one_in(2));
            let (deed, left) = if !create {
                (Deed::Other, others)
            } else if *crons > 0 && (*jobs == 0 || dice.one_in(2)) {
                (Deed::CronJob, crons)
            } else {
                (Deed::Job, jobs)
            };
            *left = left.saturating_sub(1);
            (deed, *years)
        };
        match deed {
            Deed::CronJob => return self.create_cron_job(store).await,
            Deed::Job => return self.create_job(store).await,
            Deed::Other if years => return self.edit_a_cron_job(store).await,
            Deed::Other => {}
        }
        let choice = self.state().dice.below(25);
        match choice {
            0..=2 => self.suspend_or_resume(store).await,
            3 | 4 => self.edit_parallelism(store).await,
            5 | 6 => self.edit_completions(store).await,
            7 | 8 => self.delete_a_job(store).await,
            9..=11 => self.delete_a_pod(store).await,
            12 => self.edit_deadline(store).await,
            13 => self.edit_ttl(store).await,
            14 | 15 => self.evict_a_pod(store).await,
            16 => self.relabel_a_pod(store).await,
            17 => self.free_a_pod(store).await,
            18..=20 => self.edit_a_cron_job(store).await,
            23 => self.delete_a_job(store).await,
            21 | 22 => self.leave_or_enter_the_namespace(store).await,
            _ => self.create_a_bare_pod(store).await,
        }
    }

    async fn create_cron_job(&self, store: &Store) {
        let (namespace, body) = {
            let mut state = self.state();
            let name = format!("cron{}", state.created % 3);
            state.created += 1;
            let namespace = if state.dice.one_in(3) { NAMESPACES[1] } else { NAMESPACES[0] };
            let seldom = state.years;
            (namespace, manifests::cron_job(&name, seldom, &mut state.dice))
        };
        self.create(store, Kind::CronJob, namespace, body).await;
    }

    /// Holds it, lets it go on, gives it other times or another policy, or deletes it.
    async fn edit_a_cron_job(&self, store: &Store) {
        let Some(cron_job) = self.any(store, Kind::CronJob).await else { return };
        let (choice, schedule, zone, policy, deadline) = {
            let mut state = self.state();
            let State { dice, years, .. } = &mut *state;
            let policy = *dice.pick(&["Allow", "Forbid", "Replace"]);
            let deadline = *dice.pick(&[None, Some(20), Some(200)]);
            (dice.below(9), manifests::schedule(*years, dice), manifests::zone(dice), policy, deadline)
        };
        if choice == 8 {
            let options = self.propagation();
            return self.delete(store, &cron_job, options).await;
        }
        let change = |cron_job: &mut Value| {
            let spec = &mut cron_job["spec"];
            match choice {
                0..=2 => spec["suspend"] = json!(spec["suspend"] != true),
                3 => spec["schedule"] = json!(schedule),
                4 => spec["timeZone"] = json!(zone),
                5 => spec["concurrencyPolicy"] = json!(policy),
                _ => spec["startingDeadlineSeconds"] = json!(deadline),
            }
        };
        self.edit(store, &cron_job, "times", change).await;
    }

    async fn create_job(&self, store: &Store) {
        let (namespace, body) = {
            let mut state = self.state();
            // Names come again, so that what is left of an earlier job of that name meets a later one.
            let name = format!("job{}", state.created % 3);
            state.created += 1;
            let namespace = if state.dice.one_in(3) { NAMESPACES[1] } else { NAMESPACES[0] };
            (namespace, manifests::job(&name, &mut state.dice))
        };
        self.create(store, Kind::Job, namespace, body).await;
    }

    async fn create(&self, store: &Store, kind: Kind, namespace: &str, body: Value) {
        let text = body.to_string();
        let object = Object(body.as_object().cloned().unwrap_or_default());
        let prepared = {
            let mut random = &*self.random;
            let mut context = Context { now: self.clock.now().wall, random: &mut random };
            write::create(kind.resource(), namespace, object, &mut context)
        };
        let prepared = match prepared {
            Ok(prepared) => prepared,
            Err(status) => panic!("the workload makes valid objects only: {}: {text}", status.message),
        };
        let key = Key::of(kind, &prepared.object);
        let mut guards = vec![Guard::Absent(key.clone())];
        if !namespace.is_empty() {
            guards.insert(0, Guard::NamespaceActive(namespace.to_owned()));
        }
        let write = put(&key, &prepared);
        let result = store.write(Request { guards, writes: vec![write], urgent: false }).await;
        self.tell(match result {
            Ok(_) => format!("creates {namespace}/{} {}: {text}", key.name, prepared.object.uid()),
            Err(error) => format!("cannot create {}: {error}", key.name),
        });
    }

    async fn any(&self, store: &Store, kind: Kind) -> Option<Stored> {
        let all = list(store, kind).await;
        if all.is_empty() { None } else { Some(self.state().dice.pick(&all).clone()) }
    }

    async fn suspend_or_resume(&self, store: &Store) {
        let Some(job) = self.any(store, Kind::Job).await else { return };
        let change = |job: &mut Value| {
            let suspended = job["spec"]["suspend"] == true;
            job["spec"]["suspend"] = json!(!suspended);
        };
        self.edit(store, &job, "suspend", change).await;
    }

    async fn edit_parallelism(&self, store: &Store) {
        let Some(job) = self.any(store, Kind::Job).await else { return };
        let parallelism = self.state().dice.below(6);
        self.edit(store, &job, "parallelism", |job| job["spec"]["parallelism"] = json!(parallelism)).await;
    }

    /// Elastic Indexed jobs only; for others it is refused.
    async fn edit_completions(&self, store: &Store) {
        let Some(job) = self.any(store, Kind::Job).await else { return };
        let both = self.state().dice.between(1, 6);
        let change = |job: &mut Value| {
            job["spec"]["parallelism"] = json!(both);
            job["spec"]["completions"] = json!(both);
        };
        self.edit(store, &job, "completions", change).await;
    }

    /// Also of a finished job (J-1903).
    async fn edit_ttl(&self, store: &Store) {
        let Some(job) = self.any(store, Kind::Job).await else { return };
        let seconds = self.state().dice.below(200);
        self.edit(store, &job, "ttl", |job| job["spec"]["ttlSecondsAfterFinished"] = json!(seconds)).await;
    }

    /// Takes the labels off by which its job finds a pod, or gives another's (J-2102).
    async fn relabel_a_pod(&self, store: &Store) {
        let Some(pod) = self.any(store, Kind::Pod).await else { return };
        let change = |pod: &mut Value| {
            if let Some(labels) = pod["metadata"]["labels"].as_object_mut() {
                labels.retain(|key, _| !key.contains("controller-uid"));
            }
        };
        self.edit(store, &pod, "labels", change).await;
    }

    /// Takes the owner away; who still selects the pod adopts it (J-2101).
    async fn free_a_pod(&self, store: &Store) {
        let Some(pod) = self.any(store, Kind::Pod).await else { return };
        let change = |pod: &mut Value| {
            if let Some(metadata) = pod["metadata"].as_object_mut() {
                metadata.remove("ownerReferences");
            }
        };
        self.edit(store, &pod, "owner", change).await;
    }

    /// Deletes the second namespace with all that is in it, or makes it again.
    async fn leave_or_enter_the_namespace(&self, store: &Store) {
        let key = Key::new(Kind::Namespace, "", NAMESPACES[1]);
        match store.get(&key).await.expect("the store answers") {
            Some(namespace) => self.delete(store, &namespace, json!({})).await,
            None => self.arrive(store).await,
        }
    }

    async fn create_a_bare_pod(&self, store: &Store) {
        let body = {
            let mut state = self.state();
            let name = format!("pod{}", state.created % 3);
            state.created += 1;
            manifests::pod(&name, &mut state.dice)
        };
        self.create(store, Kind::Pod, NAMESPACES[0], body).await;
    }

    /// As the subresource `eviction` does: a delete that says so in the pod's status (J-2542).
    async fn evict_a_pod(&self, store: &Store) {
        let Some(mut pod) = self.any(store, Kind::Pod).await else { return };
        let mut object = pod.object().expect("a stored object");
        let condition = json!({"type": "DisruptionTarget", "status": "True", "reason": "EvictionByEvictionAPI"});
        let status = object.0.entry("status").or_insert_with(|| json!({}));
        match status["conditions"].as_array_mut() {
            Some(conditions) => conditions.push(condition),
            None => status["conditions"] = json!([condition]),
        }
        pod.body = object.to_stored().into();
        self.delete(store, &pod, json!({})).await;
    }

    async fn edit_deadline(&self, store: &Store) {
        let Some(job) = self.any(store, Kind::Job).await else { return };
        let seconds = self.state().dice.between(1, 600);
        self.edit(store, &job, "deadline", |job| job["spec"]["activeDeadlineSeconds"] = json!(seconds)).await;
    }

    async fn edit(&self, store: &Store, stored: &Stored, what: &str, change: impl FnOnce(&mut Value)) {
        let old = stored.object().expect("a stored object");
        let mut new = Value::Object(old.0.clone());
        change(&mut new);
        let new = Object(new.as_object().cloned().unwrap_or_default());
        let updated = {
            let mut random = &*self.random;
            let mut context = Context { now: self.clock.now().wall, random: &mut random };
            write::update(stored.key.kind.resource(), Part::Main, &old, new.clone(), &mut context)
        };
        let key = &stored.key;
        let write = match updated {
            Ok(Updated::Unchanged { warnings: _ }) => return,
            Ok(Updated::Changed(prepared)) => put(key, &prepared),
            Ok(Updated::Gone(prepared)) => Write::Delete { key: key.clone(), body: prepared.object.to_stored() },
            Err(status) => return self.tell(format!("may not edit {what} of {}: {}", key.name, status.message)),
        };
        self.commit(store, stored, write).await;
        if key.kind != Kind::Job {
            return self.tell(format!("edits {what} of {}: {}", key.name, new.0["spec"]));
        }
        let spec = &new.0["spec"];
        let [suspend, parallelism, completions] =
            ["suspend", "parallelism", "completions"].map(|field| spec[field].to_string());
        self.tell(format!(
            "edits {what} of {}: suspend {suspend}, parallelism {parallelism}, completions {completions}",
            key.name
        ));
    }

    async fn delete_a_job(&self, store: &Store) {
        let Some(job) = self.any(store, Kind::Job).await else { return };
        let options = self.propagation();
        self.delete(store, &job, options).await;
    }

    /// In one of the three ways, or as the kind would have it.
    fn propagation(&self) -> Value {
        match *self.state().dice.pick(&["Background", "Foreground", "Orphan", ""]) {
            "" => json!({}),
            policy => json!({"propagationPolicy": policy}),
        }
    }

    async fn delete_a_pod(&self, store: &Store) {
        let Some(pod) = self.any(store, Kind::Pod).await else { return };
        let options = match self.state().dice.below(4) {
            0 => json!({"gracePeriodSeconds": 0}),
            1 => json!({"gracePeriodSeconds": 3}),
            _ => json!({}),
        };
        self.delete(store, &pod, options).await;
    }

    /// Deletes an object as a client would.
    pub async fn delete(&self, store: &Store, stored: &Stored, options: Value) {
        let text = options.to_string();
        let options: DeleteOptions = serde_json::from_value(options).expect("delete options");
        let old = stored.object().expect("a stored object");
        let wish = Wish { uid: old.uid().to_owned(), policy: options.propagation_policy.clone(), granted: false };
        self.state().wishes.push(wish.clone());
        let (kind, now) = (stored.key.kind, self.clock.now().wall);
        let decided = lifecycle::delete(kind.resource(), &old, stored.revision.0, &options, now);
        let key = &stored.key;
        let write = match decided.map(|decided| decided.deletion) {
            Ok(Deletion::Remove(prepared)) => Write::Delete { key: key.clone(), body: prepared.object.to_stored() },
            Ok(Deletion::Mark(prepared)) => put(key, &prepared),
            Ok(Deletion::Unchanged) => return,
            Err(status) => return self.tell(format!("may not delete {}: {}", key.name, status.message)),
        };
        if self.commit(store, stored, write).await {
            self.state().wishes.push(Wish { granted: true, ..wish });
        }
        self.tell(format!("deletes {} {} {text}", kind.as_str(), key.name));
    }

    /// Answers whether it was done.
    async fn commit(&self, store: &Store, stored: &Stored, write: Write) -> bool {
        let guards = vec![Guard::Unchanged { key: stored.key.clone(), revision: stored.revision }];
        let result = store.write(Request { guards, writes: vec![write], urgent: true }).await;
        if let Err(error) = &result {
            self.tell(format!("lost a race: {error}"));
        }
        result.is_ok()
    }

    /// Nothing is held back any more: every job may run to its end.
    pub async fn let_all_run(&self, store: &Store) {
        for cron_job in list(store, Kind::CronJob).await {
            self.edit(store, &cron_job, "times", |cron_job| cron_job["spec"]["suspend"] = json!(true)).await;
        }
        for pod in list(store, Kind::Pod).await {
            // One without an owner may never end.
            if !pod.body.contains("\"ownerReferences\"") && pod.body.contains("\"restartPolicy\":\"Always\"") {
                self.delete(store, &pod, json!({})).await;
            }
        }
        for job in list(store, Kind::Job).await {
            let change = |job: &mut Value| {
                let spec = &mut job["spec"];
                spec["suspend"] = json!(false);
                if spec["parallelism"] == 0 {
                    spec["parallelism"] = json!(1);
                    if spec["completions"] == 0 && spec["completionMode"] == "Indexed" {
                        spec["completions"] = json!(1);
                    }
                }
            };
            self.edit(store, &job, "everything", change).await;
        }
    }
}

fn put(key: &Key, prepared: &Prepared) -> Write {
    Write::Put { key: key.clone(), index: prepared.index.clone(), body: prepared.object.to_stored() }
}

/// All objects of a kind: there are few.
pub async fn list(store: &Store, kind: Kind) -> Vec<Stored> {
    store.list(&ListQuery::all(kind, 10_000)).await.expect("the store answers").items
}
