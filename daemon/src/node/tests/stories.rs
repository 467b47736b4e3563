//! Whole lives of a pod, with the real store and an engine that lives in memory; and the property that no order of lost answers,
//! restarts and crashes makes a command run twice (I-2, R-3).

use std::{
    future::Future,
    pin::pin,
    sync::{Arc, Mutex},
    task::Poll,
    time::Duration,
};

use futures_util::{FutureExt as _, StreamExt as _, stream::BoxStream};
use jobd_api::{object::Object, registry::Kind};
use k8s_openapi::api::core::v1::Pod;
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use serde_json::{Value, json};

use super::{at, facts, pod_json};
use crate::{
    driver::{Controller as _, Driver, Next, Waker},
    engine::{
        Error, Event,
        scripted::{Call, Fault, ScriptedEngine},
    },
    node::{
        Node, Parts,
        observed::PodKey,
        streams::{LogRequest, LogStream, PodStreams as _},
    },
    recorder::Recorder,
    store::{self, Attempt, Options, Request, Store, Write, attempts::AttemptState},
    sys::{Clock, Now},
};

struct TestClock(Mutex<Duration>);

impl Clock for TestClock {
    fn now(&self) -> Now {
        let boot = *self.0.lock().unwrap();
        Now { wall: at(0).checked_add(jiff::SignedDuration::try_from(boot).unwrap()).unwrap(), boot }
    }
}

pub(super) struct World {
    dir: tempfile::TempDir,
    clock: Arc<TestClock>,
    store: Store,
    pub(super) engine: ScriptedEngine,
    node: Node<ScriptedEngine>,
    events: Option<BoxStream<'static, Result<Event, Error>>>,
    uid: String,
}

const FIRST: &str = "jobd-u-main-0";

impl World {
    pub(super) async fn new(changes: Value) -> Self {
        // In memory where there is such a place: thousands of commits.
        let dir = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
        let clock = Arc::new(TestClock(Mutex::new(Duration::from_secs(1000))));
        let store = Store::open(Options {
            path: dir.path().join("jobd.db"),
            clock: clock.clone(),
            history: Duration::from_secs(300),
        })
        .await
        .unwrap();
        let engine = ScriptedEngine::new(clock.clone(), &["busybox:1"]);
        let node = node(&dir, &clock, &store, &engine, &Waker::default());
        let mut world = Self { dir, clock, store, engine, node, events: None, uid: "u".to_owned() };
        world.put(&pod_json(changes)).await;
        world.connect().await;
        world
    }

    fn key(&self) -> PodKey {
        PodKey { namespace: "default".to_owned(), name: "p".to_owned() }
    }

    async fn put(&mut self, pod: &Value) {
        let Value::Object(map) = pod.clone() else { panic!("a pod is an object") };
        let object = Object(map);
        let index = jobd_api::write::index(Kind::Pod.resource(), &object);
        let key = store::Key::of(Kind::Pod, &object);
        let write = Write::Put { key, index, body: object.to_stored() };
        self.store.write(Request { guards: Vec::new(), writes: vec![write], urgent: false }).await.unwrap();
    }

    /// Stores another object; answers whom that wakes.
    async fn object(&mut self, kind: Kind, object: &Value) -> Vec<PodKey> {
        let mut object = object.clone();
        object["metadata"]["uid"] = object["metadata"]["name"].clone();
        let Value::Object(map) = object else { panic!("an object is an object") };
        let object = Object(map);
        let key = store::Key::of(kind, &object);
        let index = jobd_api::write::index(kind.resource(), &object);
        let write = Write::Put { key: key.clone(), index, body: object.to_stored() };
        self.written(key, write).await
    }

    async fn delete_object(&mut self, kind: Kind, name: &str) -> Vec<PodKey> {
        let key = store::Key::new(kind, "default", name);
        let body = self.store.get(&key).await.unwrap().unwrap().object().unwrap().to_stored();
        self.written(key.clone(), Write::Delete { key, body }).await
    }

    async fn written(&mut self, key: store::Key, write: Write) -> Vec<PodKey> {
        let before = self.store.latest();
        self.store.write(Request { guards: Vec::new(), writes: vec![write], urgent: false }).await.unwrap();
        let (changes, _) = self.store.changes(None, before, 10).await.unwrap();
        let change = changes.iter().find(|change| change.key == key).unwrap();
        self.node.wakes(change)
    }

    /// A file of one of the pod's volumes.
    fn file(&self, path: &str) -> Option<String> {
        let (volume, file) = path.split_once('/').unwrap();
        let below =
            |root: std::path::PathBuf| std::fs::read_to_string(root.join("volumes").join(volume).join(file)).ok();
        let secret = std::path::Path::new("/run/jobd").join(facts().instance).join("pods/u");
        below(self.dir.path().join("pods/u")).or_else(|| below(secret))
    }

    /// Merges changes into the stored pod, as a client or another controller would.
    pub(super) async fn change(&mut self, changes: Value) {
        let stored = self.stored().await.unwrap();
        let mut pod = Value::Object(stored.object().unwrap().0);
        super::merge(&mut pod, changes);
        self.put(&pod).await;
    }

    pub(super) async fn delete(&mut self, grace: i64) {
        let deleted = self.clock.now().wall.checked_add(jiff::SignedDuration::from_secs(grace)).unwrap();
        self.change(json!({"metadata": {
            "deletionTimestamp": deleted.to_string(), "deletionGracePeriodSeconds": grace,
        }}))
        .await;
    }

    async fn stored(&self) -> Option<store::Stored> {
        self.store.get(&store::Key::new(Kind::Pod, "default", "p")).await.unwrap()
    }

    pub(super) async fn pod(&self) -> Option<Pod> {
        self.stored().await.map(|stored| stored.typed().unwrap())
    }

    pub(super) async fn phase(&self) -> String {
        self.pod().await.and_then(|pod| pod.status?.phase).unwrap_or_else(|| "gone".to_owned())
    }

    /// `reason: message` of all events, in order.
    async fn events(&self) -> Vec<String> {
        let chunk = self.store.list(&store::ListQuery::all(Kind::Event, 100)).await.unwrap();
        let events = chunk.items.iter().map(|item| (item.revision, item.object().unwrap()));
        let mut events: Vec<_> = events
            .map(|(at, event)| {
                let text = |field: &str| event.text(&[field]).unwrap_or_default().to_owned();
                (at, format!("{} {}: {}", text("type"), text("reason"), text("message")))
            })
            .collect();
        events.sort();
        events.into_iter().map(|(_, text)| text).collect()
    }

    pub(super) async fn attempts(&self) -> Vec<Attempt> {
        self.store.attempts(&self.uid).await.unwrap()
    }

    async fn connect(&mut self) {
        if let Ok(events) = self.node.connect().await {
            self.events = Some(events);
        } else {
            self.events = None;
        }
    }

    fn drain(&mut self) {
        while let Some(events) = &mut self.events {
            match events.next().now_or_never() {
                Some(Some(Ok(event))) => self.node.apply(&event),
                None => return,
                Some(Some(Err(_)) | None) => {
                    self.node.disconnected();
                    self.events = None;
                }
            }
        }
    }

    pub(super) fn advance(&self, seconds: u64) {
        *self.clock.0.lock().unwrap() += Duration::from_secs(seconds);
    }

    /// Everything that follows without the clock.
    pub(super) async fn settle(&mut self) -> Next {
        for _ in 0..20 {
            self.drain();
            let before = (self.store.latest(), self.attempts().await, self.engine.calls().len());
            let next = self.node.reconcile(&self.key(), self.clock.now()).await.unwrap();
            self.node.do_chores().await;
            self.drain();
            let after = (self.store.latest(), self.attempts().await, self.engine.calls().len());
            if before == after {
                return next;
            }
        }
        panic!("does not come to rest: {:?}", self.engine.calls());
    }

    /// The daemon dies and is started again.
    pub(super) async fn crash(&mut self) {
        self.events = None;
        self.node = node(&self.dir, &self.clock, &self.store, &self.engine, &Waker::default());
        self.connect().await;
    }

    /// Everything that follows within some seconds.
    pub(super) async fn settle_for(&mut self, seconds: u64) {
        for _ in 0..seconds {
            self.settle().await;
            self.advance(1);
        }
        self.settle().await;
    }

    /// A driver that steps the node, which is made anew for it.
    async fn driver(&mut self) -> Driver {
        let waker = Waker::default();
        self.node = node(&self.dir, &self.clock, &self.store, &self.engine, &waker);
        let mut driver = Driver::new(self.store.clone(), self.clock.clone());
        driver.add_with(self.node.clone(), &waker);
        self.connect().await;
        driver
    }

    /// Everything that follows without the clock, by the driver alone.
    async fn drive(&mut self, driver: &mut Driver) {
        for _ in 0..20 {
            self.drain();
            let before = (self.store.latest(), self.engine.calls().len());
            let _ = driver.settle(1000).await.unwrap();
            self.node.do_chores().await;
            self.drain();
            if before == (self.store.latest(), self.engine.calls().len()) {
                return;
            }
        }
        panic!("does not come to rest: {:?}", self.engine.calls());
    }

    async fn log(&self, attempt: u32) -> Result<String, String> {
        let request = LogRequest {
            namespace: "default".to_owned(),
            pod: "p".to_owned(),
            pod_uid: self.uid.clone(),
            container: "main".to_owned(),
            attempt,
            follow: false,
            timestamps: false,
            since: None,
            tail_lines: None,
            limit_bytes: None,
            stream: LogStream::All,
        };
        let pieces = self.node.logs(request).await.map_err(|error| error.to_string())?;
        let bytes: Vec<u8> = pieces.map(|piece| piece.unwrap().to_vec()).concat().await;
        Ok(String::from_utf8(bytes).unwrap())
    }
}

fn node(
    dir: &tempfile::TempDir,
    clock: &Arc<TestClock>,
    store: &Store,
    engine: &ScriptedEngine,
    waker: &Waker<PodKey>,
) -> Node<ScriptedEngine> {
    Node::new(Parts {
        store: store.clone(),
        engine: Arc::new(engine.clone()),
        clock: clock.clone(),
        recorder: Arc::new(Recorder::new("node".to_owned(), Duration::from_secs(3600))),
        waker: waker.clone(),
        facts: facts(),
        data_dir: dir.path().to_owned(),
        host_root: "/".into(),
        engine_calls: 4,
    })
}

fn container_status(pod: &Pod) -> Value {
    let status = pod.status.as_ref().and_then(|status| status.container_statuses.as_ref()?.first());
    serde_json::to_value(status).unwrap()
}

#[tokio::test]
async fn a_pod_runs_once_and_leaves_its_log() {
    let mut world = World::new(json!({})).await;
    world.settle().await;
    // J-2574, J-2579
    assert_eq!(
        world.events().await,
        [
            "Normal Pulled: Container image \"busybox:1\" already present on machine and can be accessed by the pod",
            "Normal Created: Container created",
            "Normal Started: Container started",
        ]
    );
    let pod = world.pod().await.unwrap();
    assert_eq!(world.phase().await, "Running");
    assert_eq!(container_status(&pod)["containerID"], json!(format!("docker://{:064x}", 1)));
    assert_eq!(pod.status.unwrap().pod_ip.as_deref(), Some("172.17.0.2"));
    world.engine.print(FIRST, false, "hello\n");
    assert_eq!(world.log(0).await.unwrap(), "hello\n");
    world.engine.finish(FIRST, 0);
    assert_eq!(world.settle().await, Next::Idle);
    assert_eq!(world.phase().await, "Succeeded");
    assert_eq!(world.log(0).await.unwrap(), "hello\n");
    assert!(world.engine.names().is_empty());
    assert_eq!(world.engine.calls(), [format!("create {FIRST}"), format!("start {FIRST}"), format!("remove {FIRST}")]);
    let attempts = world.attempts().await;
    assert!(attempts.iter().all(|one| one.state == AttemptState::Ended && one.logs_copied && one.removed));
    // Only the log is left of it.
    assert!(!world.dir.path().join("pods/u/termination").exists());
    assert!(world.dir.path().join("pods/u/logs/main-0.log").exists());
}

#[tokio::test]
async fn a_pod_that_is_bound_elsewhere_or_nowhere_is_left_alone() {
    let mut world = World::new(json!({"spec": {"nodeName": null}})).await;
    assert_eq!(world.settle().await, Next::Idle);
    assert!(world.engine.calls().is_empty());
}

#[tokio::test]
async fn a_missing_image_is_pulled_in_the_background() {
    let mut world = World::new(json!({"spec": {"containers": {"image": "other:1"}}})).await;
    // The pull is a task of its own; its end wakes the pod, which the story does by looking again.
    let deadline = std::time::Duration::from_secs(10);
    let running = async {
        while world.phase().await != "Running" {
            world.settle().await;
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(deadline, running).await.unwrap();
    assert!(world.engine.calls().contains(&"pull other:1".to_owned()));
    // J-2572, J-2573
    let events = world.events().await;
    assert_eq!(events[0], "Normal Pulling: Pulling image \"other:1\"");
    let pulled = &events[1];
    assert!(
        pulled.starts_with(
            "Normal Pulled: Successfully pulled image \"other:1\" in 0s (0s including waiting). Image size: "
        ),
        "{pulled}"
    );
    assert!(pulled.ends_with(" bytes."), "{pulled}");
}

/// J-2575, J-2576: the error first, then the back-off; each told once.
#[tokio::test]
async fn an_image_that_cannot_be_pulled_is_told_of_and_tried_again() {
    let mut world = World::new(json!({"spec": {"containers": {"image": "other:1"}}})).await;
    world.engine.fail_next(Call::Pull, Fault::Answer(Error::NotFound("no such image".to_owned())));
    let waiting = async |world: &World| container_status(&world.pod().await.unwrap())["state"]["waiting"].clone();
    // The pull is a task of its own.
    let told = async {
        while waiting(&world).await["reason"] != "ErrImagePull" {
            world.settle().await;
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(10), told).await.unwrap();
    world.settle_for(6).await;
    let shown = waiting(&world).await;
    assert_eq!(shown["reason"], "ImagePullBackOff");
    let message = shown["message"].as_str().unwrap();
    assert!(message.starts_with("Back-off pulling image \"other:1\": ErrImagePull: "), "{message}");
    let events = world.events().await;
    assert_eq!(events.len(), 5, "{events:?}");
    assert_eq!(events[0], "Normal Pulling: Pulling image \"other:1\"");
    assert!(events[1].starts_with("Warning Failed: Failed to pull image \"other:1\": "), "{events:?}");
    assert_eq!(
        events[2..],
        [
            "Warning Failed: Error: ErrImagePull",
            "Normal BackOff: Back-off pulling image \"other:1\"",
            "Warning Failed: Error: ImagePullBackOff"
        ]
    );
    assert_eq!(world.phase().await, "Pending");
}

/// J-2577, J-2578.
#[tokio::test]
async fn an_image_that_may_not_be_pulled_or_has_no_name_is_told_of() {
    let mut world = World::new(json!({"spec": {"containers": {"image": "other:1", "imagePullPolicy": "Never"}}})).await;
    world.settle().await;
    assert_eq!(
        world.events().await,
        [
            "Warning ErrImageNeverPull: Container image \"other:1\" is not present with pull policy of Never",
            "Warning Failed: Error: ErrImageNeverPull",
        ]
    );
    let mut world = World::new(json!({"spec": {"containers": {"image": "a:b:c"}}})).await;
    let refusal = Error::Refused { status: 400, message: "invalid reference format".to_owned() };
    world.engine.fail_next(Call::InspectImage, Fault::Answer(refusal));
    world.settle().await;
    let events = world.events().await;
    assert!(
        events[0].starts_with(
            "Warning InspectFailed: Failed to apply default image tag \"a:b:c\": couldn't parse image name \"a:b:c\": "
        ),
        "{events:?}"
    );
    assert_eq!(events[1], "Warning Failed: Error: InvalidImageName");
}

/// J-2584.
#[tokio::test]
async fn a_volume_that_cannot_be_made_is_told_of() {
    let volumes = json!([{"name": "v", "configMap": {"name": "absent", "defaultMode": 420}}]);
    let mut world = World::new(json!({"spec": {"volumes": volumes}})).await;
    world.settle().await;
    let events = world.events().await;
    assert_eq!(
        events,
        ["Warning FailedMount: MountVolume.SetUp failed for volume \"v\" : configmap \"absent\" not found"]
    );
    assert_eq!(world.phase().await, "Pending");
}

#[tokio::test]
async fn a_refused_start_is_a_start_error_and_its_container_goes_d703() {
    let mut world = World::new(json!({})).await;
    world.engine.break_start(FIRST, "exec: \"nope\": executable file not found in $PATH");
    world.settle().await;
    let pod = world.pod().await.unwrap();
    let terminated = container_status(&pod)["state"]["terminated"].clone();
    assert_eq!(world.phase().await, "Failed");
    assert_eq!((&terminated["reason"], &terminated["exitCode"]), (&json!("StartError"), &json!(128)));
    assert!(world.engine.names().is_empty());
}

#[tokio::test]
async fn a_failed_container_restarts_with_a_new_one_after_its_back_off_j2520() {
    let mut world = World::new(json!({"spec": {"restartPolicy": "OnFailure"}})).await;
    world.settle().await;
    world.engine.finish(FIRST, 1);
    world.settle().await;
    assert_eq!(world.engine.alive(), ["jobd-u-main-1"]);
    world.engine.finish("jobd-u-main-1", 1);
    world.settle().await;
    let status = container_status(&world.pod().await.unwrap());
    assert_eq!(status["state"]["waiting"]["reason"], "CrashLoopBackOff");
    assert_eq!(status["state"]["waiting"]["message"], "back-off 10s restarting failed container=main pod=p_default(u)");
    assert_eq!(status["restartCount"], 1);
    // J-2581
    let told = "Warning BackOff: Back-off restarting failed container main in pod p_default(u)".to_owned();
    assert!(world.events().await.contains(&told), "{:?}", world.events().await);
    world.advance(10);
    world.settle().await;
    assert_eq!(world.engine.alive(), ["jobd-u-main-2"]);
    world.engine.finish("jobd-u-main-2", 0);
    world.settle().await;
    assert_eq!(world.phase().await, "Succeeded");
}

#[tokio::test]
async fn a_deleted_pod_gets_term_then_kill_and_goes_with_all_it_had_j2550() {
    let mut world = World::new(json!({})).await;
    world.settle().await;
    world.delete(30).await;
    world.settle().await;
    assert_eq!(world.phase().await, "Running");
    world.advance(30);
    world.settle().await;
    assert_eq!(world.phase().await, "gone");
    world.settle().await;
    assert!(world.engine.names().is_empty());
    assert!(world.attempts().await.is_empty());
    assert!(!world.dir.path().join("pods/u").exists());
    // J-2582
    let told = "Normal Killing: Stopping container main".to_owned();
    assert!(world.events().await.contains(&told), "{:?}", world.events().await);
    assert!(world.engine.calls().contains(&format!("kill SIGTERM {FIRST}")));
    assert!(world.engine.calls().contains(&format!("kill SIGKILL {FIRST}")));
}

#[tokio::test]
async fn a_stop_signal_that_the_engine_could_not_send_is_sent_again_before_kill_j2550() {
    let mut world = World::new(json!({})).await;
    world.settle().await;
    let could_not = Fault::Answer(Error::Infrastructure("containerd: unavailable".to_owned()));
    world.engine.fail_next(Call::Kill, could_not.clone());
    world.delete(3).await;
    world.settle().await;
    let (term, kill) = (format!("kill SIGTERM {FIRST}"), format!("kill SIGKILL {FIRST}"));
    assert!(!world.engine.calls().contains(&term));
    world.engine.fail_next(Call::Kill, could_not);
    world.advance(1);
    world.settle().await;
    world.advance(1);
    world.settle().await;
    assert!(world.engine.calls().contains(&term));
    // Its grace is over, and its two seconds are not.
    world.advance(1);
    world.settle().await;
    assert!(!world.engine.calls().contains(&kill));
    world.advance(1);
    world.settle().await;
    assert!(world.engine.calls().contains(&kill));
    world.settle().await;
    assert_eq!(world.phase().await, "gone");
}

#[tokio::test]
async fn a_deleted_pod_with_a_finalizer_stays_with_its_end_j2550() {
    let mut world = World::new(json!({"metadata": {"finalizers": ["batch.kubernetes.io/job-tracking"]}})).await;
    world.settle().await;
    world.delete(0).await;
    world.settle().await;
    world.advance(2);
    world.settle().await;
    let pod = world.pod().await.unwrap();
    assert_eq!(world.phase().await, "Failed");
    assert_eq!(pod.metadata.deletion_grace_period_seconds, Some(0));
    assert!(world.engine.names().is_empty());
}

#[tokio::test]
async fn a_container_without_a_pod_is_removed_i4() {
    let mut world = World::new(json!({})).await;
    world.settle().await;
    let key = store::Key::new(Kind::Pod, "default", "p");
    let body = world.stored().await.unwrap().body.to_string();
    let writes = vec![Write::Delete { key, body }];
    world.store.write(Request { guards: Vec::new(), writes, urgent: false }).await.unwrap();
    world.crash().await;
    world.settle().await;
    world.settle().await;
    assert!(world.engine.names().is_empty());
    assert!(!world.dir.path().join("pods/u").exists());
}

/// F-14: a container that hangs in the kernel. Nobody looks at a pod that is gone, and still it goes as soon as it can, and keeps none of
/// the others until then.
#[tokio::test]
async fn what_a_deleted_pod_left_and_could_not_be_removed_is_removed_later_r5() {
    let containers = json!([
        {"name": "main", "image": "busybox:1", "imagePullPolicy": "IfNotPresent"},
        {"name": "other", "image": "busybox:1", "imagePullPolicy": "IfNotPresent"},
    ]);
    for is_restarted in [false, true] {
        let mut world = World::new(json!({"spec": {"containers": containers}})).await;
        let mut driver = world.driver().await;
        world.drive(&mut driver).await;
        assert_eq!(world.engine.names().len(), 3, "with the sandbox");
        world.engine.set_stuck(FIRST, true);
        let key = store::Key::new(Kind::Pod, "default", "p");
        let body = world.stored().await.unwrap().body.to_string();
        let writes = vec![Write::Delete { key, body }];
        world.store.write(Request { guards: Vec::new(), writes, urgent: false }).await.unwrap();
        if is_restarted {
            driver = world.driver().await;
        }
        world.drive(&mut driver).await;
        assert_eq!(world.engine.names(), [FIRST], "restarted: {is_restarted}");
        world.advance(5);
        world.drive(&mut driver).await;
        assert_eq!(world.engine.names(), [FIRST], "restarted: {is_restarted}");
        world.engine.set_stuck(FIRST, false);
        world.drive(&mut driver).await;
        assert_eq!(world.engine.names(), [FIRST], "not at every look");
        world.advance(5);
        world.drive(&mut driver).await;
        assert!(world.engine.names().is_empty(), "restarted: {is_restarted}");
        assert!(world.attempts().await.is_empty() && !world.dir.path().join("pods/u").exists());
    }
}

#[tokio::test]
async fn a_restart_of_the_daemon_adopts_what_runs_r8() {
    let mut world = World::new(json!({})).await;
    world.settle().await;
    world.crash().await;
    world.settle().await;
    assert_eq!(world.phase().await, "Running");
    world.events = None;
    world.engine.finish(FIRST, 3);
    world.crash().await;
    world.settle().await;
    let pod = world.pod().await.unwrap();
    assert_eq!(world.phase().await, "Failed");
    assert_eq!(container_status(&pod)["state"]["terminated"]["exitCode"], 3);
    let conditions = pod.status.unwrap().conditions.unwrap();
    assert!(!conditions.iter().any(|one| one.type_ == "DisruptionTarget"));
    assert_eq!(world.engine.runs()[FIRST], 1);
}

#[tokio::test]
async fn an_engine_that_is_away_fails_no_pod_f8() {
    let mut world = World::new(json!({})).await;
    world.engine.go_down();
    world.drain();
    world.settle().await;
    assert_eq!(world.phase().await, "Pending");
    world.engine.come_up(false);
    world.connect().await;
    world.settle().await;
    assert_eq!(world.phase().await, "Running");
    world.engine.go_down();
    world.drain();
    world.settle().await;
    assert_eq!(world.phase().await, "Running");
    world.engine.come_up(false);
    world.connect().await;
    world.settle().await;
    world.engine.finish(FIRST, 0);
    world.settle().await;
    assert_eq!(world.phase().await, "Succeeded");
}

#[tokio::test]
async fn a_lost_start_answer_is_settled_without_a_second_start_d406() {
    for fault in [Fault::AnswerLost, Fault::NotSent] {
        let mut world = World::new(json!({})).await;
        world.engine.fail_next(Call::Start, fault);
        world.settle().await;
        world.advance(10);
        world.settle().await;
        assert_eq!(world.phase().await, "Running");
        assert_eq!(world.engine.runs()[FIRST], 1);
    }
}

#[tokio::test]
async fn a_lost_start_answer_and_an_engine_crash_is_unknown_d610() {
    let mut world = World::new(json!({})).await;
    world.engine.fail_next(Call::Start, Fault::AnswerLost);
    world.engine.fail_next(Call::Inspect, Fault::NotSent);
    world.node.reconcile(&world.key(), world.clock.now()).await.unwrap();
    world.engine.go_down();
    world.drain();
    world.engine.come_up(true);
    world.connect().await;
    world.settle().await;
    let pod = world.pod().await.unwrap();
    assert_eq!(world.phase().await, "Failed");
    assert_eq!(container_status(&pod)["state"]["terminated"]["reason"], "ContainerStatusUnknown");
    let conditions = pod.status.unwrap().conditions.unwrap();
    assert!(conditions.iter().any(|one| one.type_ == "DisruptionTarget" && one.status == "True"));
    assert_eq!(world.engine.runs()[FIRST], 1);
}

#[tokio::test]
async fn a_container_that_a_stranger_removed_ends_with_what_the_events_say_f13() {
    let mut world = World::new(json!({})).await;
    world.settle().await;
    world.engine.remove_by_stranger(FIRST);
    world.settle().await;
    let terminated = container_status(&world.pod().await.unwrap())["state"]["terminated"].clone();
    assert_eq!(world.phase().await, "Failed");
    assert_eq!(terminated["exitCode"], 137);
}

/// Polls a future at most so many times, then drops it: the process died there.
async fn interrupted<T>(future: impl Future<Output = T>, mut polls: u32) -> Option<T> {
    let mut future = pin!(future);
    std::future::poll_fn(|context| {
        if polls == 0 {
            return Poll::Ready(None);
        }
        polls -= 1;
        future.as_mut().poll(context).map(Some)
    })
    .await
}

/// One random life of a pod.
async fn live(seed: u64, containers: Value) {
    let mut random = StdRng::seed_from_u64(seed);
    let policy = if random.random_bool(0.5) { "Never" } else { "OnFailure" };
    let mut spec = json!({"restartPolicy": policy});
    super::merge(&mut spec, containers);
    let mut world = World::new(json!({"spec": spec})).await;
    let mut orphans = false;
    for _ in 0..random.random_range(5..40) {
        match random.random_range(0..15) {
            0..5 => {
                let (key, now) = (world.key(), world.clock.now());
                let polls = if random.random_bool(0.3) { random.random_range(1..40) } else { u32::MAX };
                if interrupted(world.node.reconcile(&key, now), polls).await.is_none() {
                    world.crash().await;
                }
            }
            5..7 => world.drain(),
            7 => world.node.do_chores().await,
            8 => {
                let alive = world.engine.alive();
                if !alive.is_empty() {
                    let name = &alive[random.random_range(0..alive.len())];
                    world.engine.finish(name, random.random_range(0..2));
                }
            }
            9 => world.crash().await,
            10 => {
                world.engine.cut_streams();
                world.drain();
                world.connect().await;
            }
            11 => world.advance(random.random_range(1..15)),
            12 => {
                world.engine.go_down();
                world.drain();
                let (key, now) = (world.key(), world.clock.now());
                let _ = world.node.reconcile(&key, now).await;
                let forget = random.random_bool(0.3);
                orphans |= forget;
                world.engine.come_up(forget);
                world.connect().await;
            }
            _ => {
                let call =
                    [Call::Create, Call::Start, Call::Start, Call::Inspect, Call::Remove, Call::Events, Call::Logs]
                        [random.random_range(0..7)];
                let refused = Fault::Answer(Error::Infrastructure("context canceled".to_owned()));
                let fault = [Fault::AnswerLost, Fault::NotSent, refused][random.random_range(0..3)].clone();
                world.engine.fail_next(call, fault);
            }
        }
        check(seed, &world);
    }
    // Faults stop: the pod comes to its end.
    world.engine.clear_faults();
    world.drain();
    world.connect().await;
    for _ in 0..40 {
        world.settle().await;
        // A pause container ends only when it is told to.
        for name in world.engine.alive().into_iter().filter(|name| !name.contains("-POD-")) {
            world.engine.finish(&name, 0);
        }
        world.advance(60);
        check(seed, &world);
        if matches!(world.phase().await.as_str(), "Succeeded" | "Failed") {
            break;
        }
    }
    world.settle().await;
    assert!(
        matches!(world.phase().await.as_str(), "Succeeded" | "Failed"),
        "seed {seed}: {:?} {:?} {:?}",
        world.attempts().await,
        container_status(&world.pod().await.unwrap()),
        world.engine.calls()
    );
    assert!(world.engine.names().is_empty(), "seed {seed}: {:?} left", world.engine.names());
    assert!(orphans || world.engine.alive().is_empty(), "seed {seed}");
    for attempt in world.attempts().await {
        let ran = world.engine.runs().get(&super::super::spec::name("u", &attempt.container, attempt.attempt)).copied();
        let claimed = attempt.exit.as_ref().is_some_and(|exit| exit.reason == "Completed" || exit.reason == "Error");
        assert!(!claimed || ran == Some(1), "seed {seed}: {attempt:?} is said to have run");
    }
}

/// R-3, after every step.
#[track_caller]
fn check(seed: u64, world: &World) {
    for (name, runs) in world.engine.runs() {
        assert!(runs <= 1, "seed {seed}: {name} ran {runs} times: {:?}", world.engine.calls());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_attempt_runs_twice_whatever_is_lost_or_dies_r3() {
    for seed in 0..60 {
        live(seed, json!({})).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_attempt_of_a_pod_of_many_runs_twice_whatever_is_lost_or_dies_r3_d204() {
    for seed in 0..60 {
        let one = |name: &str| json!({"name": name, "image": "busybox:1", "imagePullPolicy": "IfNotPresent"});
        live(seed, json!({"initContainers": [one("init")], "containers": [one("main"), one("other")]})).await;
    }
}

/// J-2560, J-2585.
#[tokio::test]
async fn a_pods_own_deadline_is_told_of() {
    let mut world = World::new(json!({"spec": {"activeDeadlineSeconds": 5}})).await;
    world.settle().await;
    world.settle_for(40).await;
    assert_eq!(world.phase().await, "Failed");
    let status = world.pod().await.unwrap().status.unwrap();
    assert_eq!(status.reason.as_deref(), Some("DeadlineExceeded"));
    let told = "Normal DeadlineExceeded: Pod was active on the node longer than the specified deadline".to_owned();
    assert!(world.events().await.contains(&told), "{:?}", world.events().await);
}

/// J-2410: what is mounted follows its objects and the pod's own labels; what was deleted and is not optional stays.
#[tokio::test]
async fn mounted_files_follow_their_objects() {
    let volumes = json!([
        {"name": "m", "configMap": {"name": "m"}},
        {"name": "o", "secret": {"secretName": "o", "optional": true}},
        {"name": "d", "downwardAPI": {"items": [{"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}}]}},
    ]);
    let mut world = World::new(json!({"spec": {"volumes": volumes, "nodeName": null}})).await;
    world
        .object(Kind::ConfigMap, &json!({"metadata": {"namespace": "default", "name": "m"}, "data": {"a": "1"}}))
        .await;
    world.change(json!({"spec": {"nodeName": "node"}})).await;
    world.settle().await;
    assert_eq!(world.phase().await, "Running");
    assert_eq!(
        (world.file("m/a").as_deref(), world.file("o/s"), world.file("d/labels").as_deref()),
        (Some("1"), None, Some(""))
    );

    let woken = world
        .object(Kind::ConfigMap, &json!({"metadata": {"namespace": "default", "name": "m"}, "data": {"b": "2"}}))
        .await;
    assert_eq!(woken, [world.key()]);
    world
        .object(Kind::Secret, &json!({"metadata": {"namespace": "default", "name": "o"}, "data": {"s": "eA=="}}))
        .await;
    let woken = world.object(Kind::Secret, &json!({"metadata": {"namespace": "default", "name": "other"}})).await;
    assert_eq!(woken, []);
    world.change(json!({"metadata": {"labels": {"x": "y"}}})).await;
    world.settle().await;
    assert_eq!((world.file("m/a"), world.file("m/b").as_deref()), (None, Some("2")));
    assert_eq!((world.file("o/s").as_deref(), world.file("d/labels").as_deref()), (Some("x"), Some("x=\"y\"")));

    world.delete_object(Kind::ConfigMap, "m").await;
    world.delete_object(Kind::Secret, "o").await;
    world.settle().await;
    assert_eq!((world.file("m/b").as_deref(), world.file("o/s")), (Some("2"), None));
}
