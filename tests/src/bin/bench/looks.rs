//! What one look at a large job costs: observe, decide and commit, in this process on a real file, without the API and without containers.

use std::{sync::Arc, time::Instant};

use jobd::{
    controllers::job::JobController,
    driver::Driver,
    recorder::Recorder,
    store::{Guard, Key, ListQuery, Options, Request, Store, Stored, Write},
    sys::{Clock as _, SharedRandom, SystemClock},
};
use jobd_api::{
    object::Object,
    registry::Kind,
    write::{self, Context, Part, Prepared, Updated},
};
use serde_json::{Value, json};

use crate::figures::{Figures, median_ms};

const HISTORY: std::time::Duration = std::time::Duration::from_secs(300);

struct House {
    store: Store,
    driver: Driver,
    random: Arc<SharedRandom>,
}

impl House {
    async fn create(&self, kind: Kind, body: Value) {
        let Value::Object(body) = body else { unreachable!("written as an object") };
        let namespace = if kind == Kind::Namespace { "" } else { "default" };
        let mut random = &*self.random;
        let mut context = Context { now: SystemClock.now().wall, random: &mut random };
        let made = write::create(kind.resource(), namespace, Object(body), &mut context).expect("a legal object");
        let key = Key::of(kind, &made.object);
        self.put(Guard::Absent(key.clone()), key, made).await;
    }

    async fn put(&self, guard: Guard, key: Key, prepared: Prepared) {
        let Prepared { object, index, warnings: _ } = prepared;
        let write = Write::Put { key, index, body: object.to_stored() };
        let request = Request { guards: vec![guard], writes: vec![write], urgent: false };
        self.store.write(request).await.expect("the store writes");
    }

    /// What the node says at the end of a pod.
    async fn end(&self, stored: &Stored) {
        let old = stored.object().expect("a stored pod");
        let mut new = old.clone();
        new.0["status"]["phase"] = json!("Succeeded");
        let mut random = &*self.random;
        let mut context = Context { now: SystemClock.now().wall, random: &mut random };
        match write::update(Kind::Pod.resource(), Part::Status, &old, new, &mut context) {
            Ok(Updated::Changed(prepared)) => {
                let guard = Guard::Unchanged { key: stored.key.clone(), revision: stored.revision };
                self.put(guard, stored.key.clone(), prepared).await;
            }
            other => unreachable!("a pod ends: {other:?}"),
        }
    }

    async fn settle(&mut self) {
        if let Err(step) = self.driver.settle(1000).await {
            unreachable!("the loop comes to rest: {step:?}");
        }
    }
}

/// 10,000 indexes, 1,000 active pods; pods end one by one.
pub async fn measure(figures: &mut Figures) {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let clock = Arc::new(SystemClock);
    let path = directory.path().join("jobd.db");
    let store = Store::open(Options { path, clock: clock.clone(), history: HISTORY }).await.expect("a new store");
    let random = Arc::new(SharedRandom::from_system());
    let mut driver = Driver::new(store.clone(), clock);
    let recorder = Arc::new(Recorder::new("bench".to_owned(), HISTORY));
    driver.add(JobController::new(store.clone(), recorder, Arc::clone(&random)));
    let mut house = House { store, driver, random };
    house.create(Kind::Namespace, json!({"metadata": {"name": "default"}})).await;
    let container = json!([{"name": "main", "image": "busybox:1.36", "command": ["true"]}]);
    let template = json!({"spec": {"restartPolicy": "Never", "containers": container}});
    let spec = json!({"completionMode": "Indexed", "completions": 10_000, "parallelism": 1_000, "template": template});
    house.create(Kind::Job, json!({"metadata": {"name": "large"}, "spec": spec})).await;
    house.settle().await;

    let pods = house.store.list(&ListQuery::all(Kind::Pod, 100)).await.expect("a list").items;
    let mut times = Vec::new();
    for pod in &pods {
        house.end(pod).await;
        let started = Instant::now();
        house.settle().await;
        times.push(started.elapsed());
    }
    times.remove(0);
    figures.at_most("a look at 10,000 indexes with 1,000 active pods", median_ms(&mut times), 20.0, "ms");
}
