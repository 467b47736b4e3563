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

const NAMESPACES: [&str; 2] = ["default", "team"];

/// The users; they outlive every daemon.
#[derive(Clone)]
pub struct Users {
    clock: Arc<VirtualClock>,
    random: Arc<SharedRandom>,
    state: Arc<Mutex<State>>,
}

struct State {
    dice: Dice,
    /// Jobs that may still be created.
    jobs: u64,
    /// Other things that may still be done.
    others: u64,
    created: u64,
    did: Vec<String>,
}

impl Users {
    #[must_use]
    pub fn new(clock: Arc<VirtualClock>, mut dice: Dice) -> Self {
        let random = Arc::new(SharedRandom::seeded(dice.throw()));
        let (jobs, others) = (dice.between(1, 4), dice.between(0, 12));
        let state = State { dice, jobs, others, created: 0, did: Vec::new() };
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

    #[must_use]
    pub fn are_done(&self) -> bool {
        let state = self.state();
        state.jobs == 0 && state.others == 0
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
        let create = {
            let mut state = self.state();
            let State { dice, jobs, others, .. } = &mut *state;
            let create = *jobs > 0 && (*others == 0 || dice.one_in(2));
            *(if create { jobs } else { others }) = if create { *jobs - 1 } else { others.saturating_sub(1) };
            create
        };
        if create {
            return self.create_job(store).await;
        }
        let choice = self.state().dice.below(12);
        match choice {
            0..=2 => self.suspend_or_resume(store).await,
            3 | 4 => self.edit_parallelism(store).await,
            5 => self.edit_completions(store).await,
            6 | 7 => self.delete_a_job(store).await,
            8..=10 => self.delete_a_pod(store).await,
            _ => self.edit_deadline(store).await,
        }
    }

    async fn create_job(&self, store: &Store) {
        let (namespace, body) = {
            let mut state = self.state();
            // Names come again, so that what is left of an earlier job of that name meets a later one.
            let name = format!("job{}", state.created % 3);
            state.created += 1;
            let namespace = if state.dice.one_in(5) { NAMESPACES[1] } else { NAMESPACES[0] };
            (namespace, job(&name, &mut state.dice))
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
        let change = |spec: &mut Value| {
            let suspended = spec["suspend"] == true;
            spec["suspend"] = json!(!suspended);
        };
        self.edit(store, &job, "suspend", change).await;
    }

    async fn edit_parallelism(&self, store: &Store) {
        let Some(job) = self.any(store, Kind::Job).await else { return };
        let parallelism = self.state().dice.below(6);
        self.edit(store, &job, "parallelism", |spec| spec["parallelism"] = json!(parallelism)).await;
    }

    /// Elastic Indexed jobs only; for others it is refused.
    async fn edit_completions(&self, store: &Store) {
        let Some(job) = self.any(store, Kind::Job).await else { return };
        let both = self.state().dice.between(1, 6);
        let change = |spec: &mut Value| {
            spec["parallelism"] = json!(both);
            spec["completions"] = json!(both);
        };
        self.edit(store, &job, "completions", change).await;
    }

    async fn edit_deadline(&self, store: &Store) {
        let Some(job) = self.any(store, Kind::Job).await else { return };
        let seconds = self.state().dice.between(1, 600);
        self.edit(store, &job, "deadline", |spec| spec["activeDeadlineSeconds"] = json!(seconds)).await;
    }

    async fn edit(&self, store: &Store, stored: &Stored, what: &str, change: impl FnOnce(&mut Value)) {
        let old = stored.object().expect("a stored object");
        let mut new = old.clone();
        change(new.0.get_mut("spec").expect("a job has a spec"));
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
        let options = {
            let dice = &mut self.state().dice;
            match *dice.pick(&["Background", "Foreground", "Orphan", ""]) {
                "" => json!({}),
                policy => json!({"propagationPolicy": policy}),
            }
        };
        self.delete(store, &job, options).await;
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
        let (kind, now) = (stored.key.kind, self.clock.now().wall);
        let decided = lifecycle::delete(kind.resource(), &old, stored.revision.0, &options, now);
        let key = &stored.key;
        let write = match decided.map(|decided| decided.deletion) {
            Ok(Deletion::Remove(prepared)) => Write::Delete { key: key.clone(), body: prepared.object.to_stored() },
            Ok(Deletion::Mark(prepared)) => put(key, &prepared),
            Ok(Deletion::Unchanged) => return,
            Err(status) => return self.tell(format!("may not delete {}: {}", key.name, status.message)),
        };
        self.commit(store, stored, write).await;
        self.tell(format!("deletes {} {} {text}", kind.as_str(), key.name));
    }

    async fn commit(&self, store: &Store, stored: &Stored, write: Write) {
        let guards = vec![Guard::Unchanged { key: stored.key.clone(), revision: stored.revision }];
        if let Err(error) = store.write(Request { guards, writes: vec![write], urgent: true }).await {
            self.tell(format!("lost a race: {error}"));
        }
    }

    /// Nothing is held back any more: every job may run to its end.
    pub async fn let_all_run(&self, store: &Store) {
        for job in list(store, Kind::Job).await {
            let change = |spec: &mut Value| {
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

/// A small job with features by chance.
fn job(name: &str, dice: &mut Dice) -> Value {
    let indexed = dice.one_in(2);
    let parallelism = if dice.one_in(12) { 0 } else { dice.between(1, 4) };
    let completions = (indexed || !dice.one_in(4)).then(|| dice.between(1, 6));
    let completions = if dice.one_in(6) && completions.is_some() { Some(parallelism) } else { completions };
    let never = dice.one_in(2) || indexed;
    let mut spec = json!({
        "parallelism": parallelism,
        "backoffLimit": dice.between(0, 3),
        "template": {"spec": pod_spec(never, dice)},
    });
    if let Some(completions) = completions {
        spec["completions"] = json!(completions);
    }
    if indexed {
        spec["completionMode"] = json!("Indexed");
        if dice.one_in(2) {
            spec["backoffLimitPerIndex"] = json!(dice.between(0, 2));
            if dice.one_in(2) {
                spec["backoffLimit"] = json!(100);
            }
            if dice.one_in(2) {
                spec["maxFailedIndexes"] = json!(dice.below(completions.unwrap_or(1) + 1));
            }
        }
        if let Some(completions @ 1..) = completions
            && dice.one_in(3)
        {
            spec["successPolicy"] = json!({"rules": [{"succeededCount": dice.between(1, completions)}]});
        }
    }
    if never && dice.one_in(3) {
        let action = if spec["backoffLimitPerIndex"].is_null() {
            *dice.pick(&["FailJob", "Ignore", "Count"])
        } else {
            *dice.pick(&["FailJob", "Ignore", "Count", "FailIndex"])
        };
        spec["podFailurePolicy"] = json!({"rules": [
            {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
            {"action": action, "onExitCodes": {"operator": "In", "values": [42]}},
        ]});
        spec["podReplacementPolicy"] = json!("Failed");
    } else if dice.one_in(4) {
        spec["podReplacementPolicy"] = json!("Failed");
    }
    if dice.one_in(6) {
        spec["suspend"] = json!(true);
    }
    if dice.one_in(5) {
        spec["activeDeadlineSeconds"] = json!(dice.between(1, 300));
    }
    if dice.one_in(3) {
        spec["ttlSecondsAfterFinished"] = json!(dice.below(60));
    }
    json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name}, "spec": spec})
}

fn pod_spec(never: bool, dice: &mut Dice) -> Value {
    let args = [
        format!("fail={}", dice.pick(&[0, 0, 20, 50, 100])),
        format!("code={}", dice.pick(&[1, 42, 137])),
        format!("seconds={}", dice.pick(&[0, 1, 3, 10, 60, 300])),
        format!("term={}", dice.below(3)),
        format!("start_error={}", if dice.one_in(6) { 50 } else { 0 }),
    ];
    let image = *dice.pick(&["busybox:1", "busybox:1", "busybox:1", "other:1", "missing:1"]);
    let mut spec = json!({
        "restartPolicy": if never { "Never" } else { "OnFailure" },
        "terminationGracePeriodSeconds": dice.pick(&[0, 1, 5, 30]),
        "containers": [{
            "name": "main",
            "image": image,
            "imagePullPolicy": dice.pick(&["IfNotPresent", "IfNotPresent", "Always"]),
            "args": args,
            "resources": {"requests": {"cpu": dice.pick(&["100m", "500m", "1", "2"])}},
        }],
    });
    if dice.one_in(6) {
        spec["activeDeadlineSeconds"] = json!(dice.between(1, 120));
    }
    if dice.one_in(4) {
        spec["volumes"] = json!([{"name": "scratch", "emptyDir": {}}]);
        spec["containers"][0]["volumeMounts"] = json!([{"name": "scratch", "mountPath": "/scratch"}]);
    }
    spec
}
