//! What tests of loops share: a real store in a temporary directory, a clock that is moved by hand, and objects by JSON.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use jobd_api::{
    index::Index,
    lifecycle::{self, Deletion},
    object::Object,
    registry::Kind,
    write::{self, Context},
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::DeleteOptions;
use serde_json::{Value, json};

use crate::{
    driver::{Deadline, Driver, Step},
    store::{Key, ListQuery, Options, Request, Store, Write},
    sys::{Clock, Now, SharedRandom},
};

/// A clock that stands still until it is moved.
#[derive(Debug)]
pub(crate) struct TestClock(Mutex<Now>);

impl TestClock {
    pub(crate) fn new() -> Arc<Self> {
        let wall = "2026-01-01T12:00:00Z".parse().unwrap();
        Arc::new(Self(Mutex::new(Now { wall, boot: Duration::from_secs(1000) })))
    }

    /// Time passes.
    pub(crate) fn advance(&self, by: Duration) {
        let mut now = self.0.lock().unwrap();
        now.wall += by;
        now.boot += by;
    }

    /// Somebody sets the wall clock.
    pub(crate) fn jump(&self, by: Duration) {
        self.0.lock().unwrap().wall += by;
    }

    /// Somebody sets the wall clock back.
    pub(crate) fn jump_back(&self, by: Duration) {
        self.0.lock().unwrap().wall -= by;
    }
}

impl Clock for TestClock {
    fn now(&self) -> Now {
        *self.0.lock().unwrap()
    }
}

/// A store with a driver and nothing in it.
pub(crate) struct World {
    pub(crate) store: Store,
    pub(crate) clock: Arc<TestClock>,
    pub(crate) random: Arc<SharedRandom>,
    pub(crate) driver: Driver,
    _dir: tempfile::TempDir,
}

impl World {
    pub(crate) async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let clock = TestClock::new();
        let store = Store::open(Options {
            path: dir.path().join("jobd.db"),
            clock: clock.clone(),
            history: Duration::from_secs(300),
        })
        .await
        .unwrap();
        let driver = Driver::new(store.clone(), clock.clone());
        Self { store, clock, random: Arc::new(SharedRandom::seeded(7)), driver, _dir: dir }
    }

    /// Runs the controllers until none has anything to do.
    pub(crate) async fn settle(&mut self) -> Deadline {
        match self.driver.settle(1000).await {
            Ok(deadline) => deadline,
            Err(Step::Ran { controller, key, result }) => panic!("{controller} {key} does not rest: {result:?}"),
            Err(Step::Idle(_)) => unreachable!("idle is success"),
        }
    }

    /// Creates an object as a client would, in a namespace (`""`: cluster-scoped); `status` is stored as given.
    pub(crate) async fn create(&self, kind: Kind, namespace: &str, body: Value) -> Object {
        let status = body.get("status").cloned();
        let mut prepared = {
            let context = &mut Context { now: self.clock.now().wall, random: &mut &*self.random };
            write::create(kind.resource(), namespace, Object(body.as_object().cloned().unwrap()), context).unwrap()
        };
        if let Some(status) = status {
            prepared.object.0.insert("status".to_owned(), status);
        }
        self.put(kind, prepared.object).await
    }

    /// Stores an object as it is.
    pub(crate) async fn put(&self, kind: Kind, object: Object) -> Object {
        self.put_all(kind, std::slice::from_ref(&object)).await;
        object
    }

    /// Stores many in one commit.
    pub(crate) async fn put_all(&self, kind: Kind, objects: &[Object]) {
        let writes = objects.iter().map(|object| {
            let index: Index = write::index(kind.resource(), object);
            Write::Put { key: Key::of(kind, object), index, body: object.to_stored() }
        });
        self.store.write(Request { writes: writes.collect(), ..Request::default() }).await.unwrap();
    }

    pub(crate) async fn find(&self, kind: Kind, namespace: &str, name: &str) -> Option<Object> {
        let stored = self.store.get(&Key::new(kind, namespace, name)).await.unwrap();
        stored.map(|stored| stored.object().unwrap())
    }

    pub(crate) async fn get(&self, kind: Kind, namespace: &str, name: &str) -> Object {
        self.find(kind, namespace, name).await.unwrap_or_else(|| panic!("no {kind:?} {namespace}/{name}"))
    }

    /// Deletes an object as a client would.
    pub(crate) async fn delete(&self, kind: Kind, namespace: &str, name: &str, options: Value) {
        let old = self.get(kind, namespace, name).await;
        let options: DeleteOptions = serde_json::from_value(options).unwrap();
        let revision = old.resource_version().unwrap().parse().unwrap();
        let decided = lifecycle::delete(kind.resource(), &old, revision, &options, self.clock.now().wall).unwrap();
        let key = Key::of(kind, &old);
        let write = match decided.deletion {
            Deletion::Remove(prepared) => Write::Delete { key, body: prepared.object.to_stored() },
            Deletion::Mark(prepared) => Write::Put { key, index: prepared.index, body: prepared.object.to_stored() },
            Deletion::Unchanged => return,
        };
        self.store.write(Request { writes: vec![write], ..Request::default() }).await.unwrap();
    }

    /// The names of all objects of a kind, in order.
    pub(crate) async fn names(&self, kind: Kind) -> Vec<String> {
        let chunk = self.store.list(&ListQuery::all(kind, 1000)).await.unwrap();
        chunk.items.into_iter().map(|object| object.key.name).collect()
    }
}

/// A pod with one container that asks for this much CPU, and further metadata.
pub(crate) fn pod(name: &str, cpu: &str, metadata: Value) -> Value {
    let mut pod = json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": metadata,
        "spec": {
            "restartPolicy": "Never",
            "containers": [{"name": "main", "image": "busybox", "resources": {"requests": {"cpu": cpu}}}],
        },
    });
    pod["metadata"]["name"] = json!(name);
    pod
}

/// A job with this name.
pub(crate) fn job(name: &str, ttl_seconds: Option<i64>) -> Value {
    let mut job = json!({
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": name},
        "spec": {"template": {"spec": {
            "restartPolicy": "Never",
            "containers": [{"name": "main", "image": "busybox"}],
        }}},
    });
    if let Some(ttl) = ttl_seconds {
        job["spec"]["ttlSecondsAfterFinished"] = json!(ttl);
    }
    job
}

/// An owner reference to an object.
pub(crate) fn owner(object: &Object, block: bool) -> Value {
    json!({
        "apiVersion": object.api_version(),
        "kind": object.kind(),
        "name": object.name(),
        "uid": object.uid(),
        "controller": object.kind() == "Job",
        "blockOwnerDeletion": block,
    })
}
