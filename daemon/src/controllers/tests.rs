//! Stories of controllers on a real store, stepped until nothing is left to do.

use std::time::Duration;

use jobd_api::{object::Object, registry::Kind};
use serde_json::{Value, json};

use super::{
    bootstrap::{self, DefaultObjects, NodeFacts},
    events_expiry::EventsExpiry,
    garbage::Garbage,
    history::{History, Keep},
    namespace::Namespaces,
    pod_gc::PodGc,
    ttl::Ttl,
};
use crate::{
    engine,
    recorder::{EventSpec, EventType, Involved, Recorder, Source},
    store::{Key, Request, Write},
    sys::Clock as _,
    testing::{World, job, owner, pod},
};

async fn world() -> World {
    let mut world = World::new().await;
    add_controllers(&mut world);
    world.create(Kind::Namespace, "", json!({"metadata": {"name": "default"}})).await;
    world.settle().await;
    world
}

fn add_controllers(world: &mut World) {
    world.driver.add(Ttl::new(world.store.clone(), world.clock.clone()));
    world.driver.add(Garbage::new(world.store.clone()));
    world.driver.add(EventsExpiry::new(world.store.clone()));
    world.driver.add(Namespaces::new(world.store.clone()));
}

/// A job and pods that it owns; their names are the job's with a number.
async fn job_with_pods(world: &World, name: &str, pods: usize, block: bool) -> Object {
    let job = world.create(Kind::Job, "default", job(name, None)).await;
    for number in 0..pods {
        let metadata = json!({"ownerReferences": [owner(&job, block)]});
        world.create(Kind::Pod, "default", pod(&format!("{name}-{number}"), "0", metadata)).await;
    }
    job
}

/// The pod runs on a node: deleting it takes until the node says that it has stopped.
async fn bind(world: &World, name: &str) {
    let mut pod = world.get(Kind::Pod, "default", name).await;
    pod.0["spec"]["nodeName"] = json!("box");
    world.put(Kind::Pod, pod).await;
}

/// The node says that a deleted pod has stopped.
async fn stop(world: &World, name: &str) {
    world.delete(Kind::Pod, "default", name, json!({"gracePeriodSeconds": 0})).await;
}

fn finished(mut job: Object, at: &str) -> Object {
    job.0.insert(
        "status".to_owned(),
        json!({"conditions": [{"type": "Complete", "status": "True", "lastTransitionTime": at}]}),
    );
    job
}

#[tokio::test]
async fn j_1901_a_finished_job_goes_with_its_pods_when_its_ttl_is_over_to_the_second() {
    let mut world = world().await;
    let job = world.create(Kind::Job, "default", job("j", Some(100))).await;
    let metadata = json!({"ownerReferences": [owner(&job, true)]});
    world.create(Kind::Pod, "default", pod("j-0", "0", metadata)).await;
    world.put(Kind::Job, finished(job, "2026-01-01T12:00:00Z")).await;
    let start = world.clock.now().wall;
    assert_eq!(world.settle().await.wall, Some(start + Duration::from_secs(100)));
    world.clock.advance(Duration::from_secs(99));
    world.settle().await;
    assert_eq!(world.names(Kind::Job).await, ["j"]);
    world.clock.advance(Duration::from_secs(1));
    world.settle().await;
    assert_eq!((world.names(Kind::Job).await, world.names(Kind::Pod).await), (Vec::new(), Vec::new()));
}

#[tokio::test]
async fn j_1902_an_expired_job_goes_after_its_pods() {
    let mut world = world().await;
    let job = world.create(Kind::Job, "default", job("j", Some(100))).await;
    let metadata = json!({"ownerReferences": [owner(&job, true)]});
    world.create(Kind::Pod, "default", pod("j-0", "0", metadata)).await;
    bind(&world, "j-0").await;
    world.put(Kind::Job, finished(job, "2026-01-01T12:00:00Z")).await;
    world.settle().await;
    world.clock.advance(Duration::from_secs(100));
    world.settle().await;
    let job = world.get(Kind::Job, "default", "j").await;
    assert_eq!(job.get(&["metadata", "finalizers"]), Some(&json!(["foregroundDeletion"])));
    stop(&world, "j-0").await;
    world.settle().await;
    assert_eq!((world.names(Kind::Job).await, world.names(Kind::Pod).await), (Vec::new(), Vec::new()));
}

/// I-10, J-1901, J-1904: set forward, the clock deletes nothing early, also where the due time is met before the jump is told; by the boot
/// clock the job still goes to the second. A restart judges by the wall clock.
#[tokio::test]
async fn a_clock_that_is_set_moves_no_expiry_forward() {
    for told in [true, false] {
        let mut world = world().await;
        let job = world.create(Kind::Job, "default", job("j", Some(100))).await;
        world.put(Kind::Job, finished(job, "2026-01-01T12:00:00Z")).await;
        world.settle().await;
        world.clock.advance(Duration::from_secs(40));
        world.clock.jump(Duration::from_secs(3600));
        if told {
            world.driver.clock_jumped();
        }
        let start = world.clock.now().wall;
        assert_eq!(world.settle().await.wall, Some(start + Duration::from_secs(60)));
        world.clock.advance(Duration::from_secs(59));
        world.settle().await;
        assert_eq!(world.names(Kind::Job).await, ["j"]);
        world.driver = crate::driver::Driver::new(world.store.clone(), world.clock.clone());
        add_controllers(&mut world);
        world.clock.advance(Duration::from_secs(1));
        world.settle().await;
        assert_eq!(world.names(Kind::Job).await, Vec::<String>::new());
    }
}

#[tokio::test]
async fn j_1903_a_lowered_ttl_deletes_at_once() {
    let mut world = world().await;
    let job = world.create(Kind::Job, "default", job("j", Some(1000))).await;
    let mut job = world.put(Kind::Job, finished(job, "2026-01-01T12:00:00Z")).await;
    world.settle().await;
    world.clock.advance(Duration::from_secs(50));
    job.0["spec"]["ttlSecondsAfterFinished"] = json!(10);
    world.put(Kind::Job, job).await;
    world.settle().await;
    assert_eq!(world.names(Kind::Job).await, Vec::<String>::new());
}

#[tokio::test]
async fn j_2003_background_takes_the_dependents_afterwards() {
    let mut world = world().await;
    job_with_pods(&world, "a", 3, true).await;
    job_with_pods(&world, "b", 1, true).await;
    bind(&world, "a-0").await;
    world.settle().await;
    world.delete(Kind::Job, "default", "a", json!({"propagationPolicy": "Background"})).await;
    assert_eq!(world.names(Kind::Job).await, ["b"]);
    world.settle().await;
    assert_eq!(world.names(Kind::Pod).await, ["a-0", "b-0"], "a running pod has its grace");
    let running = world.get(Kind::Pod, "default", "a-0").await;
    assert_eq!(running.get(&["metadata", "deletionGracePeriodSeconds"]), Some(&json!(30)));
}

/// More dependents than are read at once: each goes, and only then their owner.
#[tokio::test]
async fn a_job_of_many_pods_goes_with_all_of_them() {
    const COUNT: usize = 300;
    for propagation in ["Background", "Foreground", "Orphan"] {
        let mut world = world().await;
        job_with_pods(&world, "j", 1, true).await;
        let first = world.get(Kind::Pod, "default", "j-0").await;
        let pods = (1..COUNT).map(|number| {
            let mut pod = first.clone();
            pod.0["metadata"]["name"] = json!(format!("j-{number}"));
            pod.0["metadata"]["uid"] = json!(format!("00000000-0000-4000-8000-{number:012}"));
            pod
        });
        world.put_all(Kind::Pod, &pods.collect::<Vec<_>>()).await;
        bind(&world, "j-299").await;
        world.settle().await;
        world.delete(Kind::Job, "default", "j", json!({"propagationPolicy": propagation})).await;
        world.settle().await;
        let (jobs, pods) = (world.names(Kind::Job).await, world.names(Kind::Pod).await);
        match propagation {
            "Foreground" => assert_eq!((jobs.len(), &*pods), (1, &["j-299".to_owned()][..])),
            "Orphan" => assert_eq!((jobs.len(), pods.len()), (0, COUNT)),
            _ => assert_eq!((jobs.len(), &*pods), (0, &["j-299".to_owned()][..])),
        }
    }
}

#[tokio::test]
async fn j_2004_foreground_waits_for_the_dependents_that_block() {
    let mut world = world().await;
    job_with_pods(&world, "a", 2, true).await;
    bind(&world, "a-0").await;
    world.delete(Kind::Job, "default", "a", json!({"propagationPolicy": "Foreground"})).await;
    world.settle().await;
    assert_eq!((world.names(Kind::Job).await, world.names(Kind::Pod).await), (vec!["a".into()], vec!["a-0".into()]));
    stop(&world, "a-0").await;
    world.settle().await;
    assert_eq!((world.names(Kind::Job).await, world.names(Kind::Pod).await), (Vec::new(), Vec::new()));
}

#[tokio::test]
async fn j_2004_foreground_does_not_wait_for_those_that_do_not_block() {
    let mut world = world().await;
    job_with_pods(&world, "a", 1, false).await;
    bind(&world, "a-0").await;
    world.delete(Kind::Job, "default", "a", json!({"propagationPolicy": "Foreground"})).await;
    world.settle().await;
    assert_eq!(world.names(Kind::Job).await, Vec::<String>::new());
    let pod = world.get(Kind::Pod, "default", "a-0").await;
    assert!(pod.get(&["metadata", "deletionTimestamp"]).is_some());
}

#[tokio::test]
async fn j_2005_orphan_lets_the_dependents_live() {
    let mut world = world().await;
    job_with_pods(&world, "a", 2, true).await;
    world.delete(Kind::Job, "default", "a", json!({"propagationPolicy": "Orphan"})).await;
    world.settle().await;
    assert_eq!(world.names(Kind::Job).await, Vec::<String>::new());
    assert_eq!(world.names(Kind::Pod).await, ["a-0", "a-1"]);
    let pod = world.get(Kind::Pod, "default", "a-0").await;
    assert_eq!(pod.get(&["metadata", "ownerReferences"]), None);
    assert_eq!(pod.get(&["metadata", "deletionTimestamp"]), None);
}

#[tokio::test]
async fn a_dependent_of_an_absent_owner_goes_and_one_with_another_owner_stays() {
    let mut world = world().await;
    let a = job_with_pods(&world, "a", 0, true).await;
    let b = job_with_pods(&world, "b", 0, true).await;
    let mut gone = owner(&a, true);
    gone["uid"] = json!("00000000-0000-4000-8000-000000000000");
    gone["controller"] = json!(false);
    let map = |name: &str, owners: Value| json!({"metadata": {"name": name, "ownerReferences": owners}});
    world.create(Kind::ConfigMap, "default", map("absent", json!([gone]))).await;
    world.create(Kind::ConfigMap, "default", map("both", json!([gone, owner(&b, true)]))).await;
    let mut foreign = gone.clone();
    foreign["apiVersion"] = json!("argoproj.io/v1alpha1");
    foreign["kind"] = json!("Workflow");
    world.create(Kind::ConfigMap, "default", map("foreign", json!([foreign]))).await;
    world.settle().await;
    assert_eq!(world.names(Kind::ConfigMap).await, ["both", "foreign"]);
    let both = world.get(Kind::ConfigMap, "default", "both").await;
    assert_eq!(both.get(&["metadata", "ownerReferences"]).and_then(Value::as_array).map(Vec::len), Some(1));
}

/// It cannot be known what became of the owner of an object that lies in no namespace: such an object is never collected.
#[tokio::test]
async fn an_object_without_a_namespace_does_not_go_with_an_owner_in_one() {
    let mut world = world().await;
    let map = world.create(Kind::ConfigMap, "default", json!({"metadata": {"name": "c"}})).await;
    let metadata = json!({"name": "owned", "ownerReferences": [owner(&map, true)]});
    world.create(Kind::Namespace, "", json!({"metadata": metadata})).await;
    world.settle().await;
    world.delete(Kind::ConfigMap, "default", "c", json!({})).await;
    world.settle().await;
    assert_eq!(world.names(Kind::Namespace).await, ["default", "owned"]);
}

/// F-7, R-5: found by the simulation. Whoever stood still for longer than the history reaches back was never told that the owner went.
#[tokio::test]
async fn garbage_of_a_time_that_nobody_was_told_of_is_collected() {
    let mut world = world().await;
    job_with_pods(&world, "a", 2, true).await;
    world.settle().await;
    world.delete(Kind::Job, "default", "a", json!({"propagationPolicy": "Background"})).await;
    world.clock.advance(Duration::from_secs(3600));
    world.create(Kind::ConfigMap, "default", json!({"metadata": {"name": "later"}})).await;
    world.settle().await;
    assert_eq!(world.names(Kind::Pod).await, Vec::<String>::new());
}

#[tokio::test]
async fn garbage_that_a_crash_left_is_collected_at_the_next_start() {
    let mut world = world().await;
    let job = job_with_pods(&world, "a", 2, true).await;
    world.delete(Kind::Job, "default", "a", json!({"propagationPolicy": "Background"})).await;
    drop(job);
    // No controller has seen the deletion when the driver starts.
    world.driver = crate::driver::Driver::new(world.store.clone(), world.clock.clone());
    world.driver.add(Garbage::new(world.store.clone()));
    world.settle().await;
    assert_eq!(world.names(Kind::Pod).await, Vec::<String>::new());
}

/// J-2011.
#[tokio::test]
async fn w_111_a_deleted_namespace_is_emptied_and_goes() {
    let mut world = world().await;
    world.create(Kind::Namespace, "", json!({"metadata": {"name": "n"}})).await;
    world.create(Kind::ConfigMap, "n", json!({"metadata": {"name": "c"}})).await;
    world.create(Kind::Job, "n", job("j", None)).await;
    let mut running = world.create(Kind::Pod, "n", pod("p", "0", json!({}))).await;
    running.0["spec"]["nodeName"] = json!("box");
    world.put(Kind::Pod, running).await;
    world.create(Kind::ConfigMap, "default", json!({"metadata": {"name": "other"}})).await;
    world.delete(Kind::Namespace, "", "n", json!({})).await;
    world.settle().await;
    assert_eq!(world.names(Kind::Job).await, Vec::<String>::new());
    assert_eq!(world.names(Kind::ConfigMap).await, ["other"]);
    let namespace = world.get(Kind::Namespace, "", "n").await;
    assert_eq!(namespace.text(&["status", "phase"]), Some("Terminating"));
    world.delete(Kind::Pod, "n", "p", json!({"gracePeriodSeconds": 0})).await;
    world.settle().await;
    assert_eq!(world.names(Kind::Namespace).await, ["default"]);
}

/// The last look at the content and the end of a namespace are two things: what came between goes afterwards.
#[tokio::test]
async fn an_event_of_a_namespaces_last_moment_goes_with_it() {
    let mut world = world().await;
    let namespace = world.create(Kind::Namespace, "", json!({"metadata": {"name": "n"}})).await;
    let pod = world.create(Kind::Pod, "n", pod("p", "0", json!({}))).await;
    world.settle().await;
    let recorder = Recorder::with_random("box".to_owned(), Duration::from_secs(600), world.random.clone());
    let event = EventSpec {
        involved: Involved::of(Kind::Pod, &pod),
        source: Source::Kubelet,
        event_type: EventType::Normal,
        reason: "Killing".to_owned(),
        message: "Stopping container main".to_owned(),
    };
    let event = recorder.record(&event, world.clock.now()).unwrap();
    let gone = |kind: Kind, object: &Object| Write::Delete { key: Key::of(kind, object), body: object.to_stored() };
    let writes = vec![gone(Kind::Pod, &pod), gone(Kind::Namespace, &namespace), event];
    world.store.write(Request { writes, ..Request::default() }).await.unwrap();
    world.settle().await;
    assert_eq!(world.names(Kind::Event).await, Vec::<String>::new());
}

#[tokio::test]
async fn j_2211_events_expire_in_hourly_batches() {
    let mut world = world().await;
    let recorder = Recorder::with_random("box".to_owned(), Duration::from_secs(600), world.random.clone());
    let job = world.create(Kind::Job, "default", job("j", None)).await;
    for number in 0..3 {
        let event = EventSpec {
            involved: Involved::of(Kind::Job, &job),
            source: Source::JobController,
            event_type: EventType::Normal,
            reason: "Reason".to_owned(),
            message: format!("message {number}"),
        };
        let write = recorder.record(&event, world.clock.now()).unwrap();
        world.store.write(Request { writes: vec![write], ..Request::default() }).await.unwrap();
        world.settle().await;
        world.clock.advance(Duration::from_secs(60));
    }
    assert_eq!(world.names(Kind::Event).await.len(), 3);
    // The first look was at the start: the next is an hour later, though the first event expires after ten minutes.
    world.clock.advance(Duration::from_secs(1200));
    world.settle().await;
    assert_eq!(world.names(Kind::Event).await.len(), 3);
    world.clock.advance(Duration::from_secs(2400));
    assert_eq!(world.settle().await.wall, None);
    assert_eq!(world.names(Kind::Event).await.len(), 0);
}

#[tokio::test]
async fn the_oldest_finished_pods_go_when_there_are_too_many() {
    let mut world = World::new().await;
    world.driver.add(PodGc::new(world.store.clone(), 50));
    world.settle().await;
    for number in 0..51 {
        let pod = world.create(Kind::Pod, "default", pod(&format!("p{number:02}"), "0", json!({}))).await;
        world.clock.advance(Duration::from_secs(1));
        world.settle().await;
        let mut ended = pod;
        ended.0.insert("status".to_owned(), json!({"phase": "Succeeded"}));
        world.put(Kind::Pod, ended).await;
        world.settle().await;
    }
    let names = world.names(Kind::Pod).await;
    assert_eq!((names.len(), names[0].as_str()), (48, "p03"));
}

/// A pod that ends while it is being deleted makes no room that was not there.
#[tokio::test]
async fn pods_that_were_deleted_while_they_ran_make_no_room_for_others() {
    let mut world = World::new().await;
    world.driver.add(PodGc::new(world.store.clone(), 50));
    let keep = Keep { count: Some(50), age: None };
    world.driver.add(History::new(world.store.clone(), world.clock.clone(), keep));
    world.settle().await;
    for number in 0..51 {
        let name = format!("p{number:02}");
        for (name, deleted) in [(format!("{name}-deleted"), true), (name, false)] {
            world.create(Kind::Pod, "default", pod(&name, "0", json!({}))).await;
            bind(&world, &name).await;
            if deleted {
                world.delete(Kind::Pod, "default", &name, json!({"gracePeriodSeconds": 3})).await;
            }
            let mut ended = world.get(Kind::Pod, "default", &name).await;
            ended.0["status"]["phase"] = json!("Failed");
            world.put(Kind::Pod, ended).await;
            if deleted {
                stop(&world, &name).await;
            }
        }
        world.clock.advance(Duration::from_secs(1));
        world.settle().await;
    }
    let names = world.names(Kind::Pod).await;
    assert_eq!((names.len(), names[0].as_str()), (48, "p03"));
}

#[tokio::test]
async fn j_1403_a_pod_that_is_deleted_before_it_got_a_node_has_failed() {
    let mut world = World::new().await;
    world.driver.add(PodGc::new(world.store.clone(), 50));
    let metadata = json!({"finalizers": ["example.com/mine"]});
    for name in ["bound", "waiting"] {
        world.create(Kind::Pod, "default", pod(name, "0", metadata.clone())).await;
    }
    bind(&world, "bound").await;
    for name in ["bound", "waiting"] {
        world.delete(Kind::Pod, "default", name, json!({"gracePeriodSeconds": 3})).await;
    }
    world.settle().await;
    let mut phases = Vec::new();
    for name in ["bound", "waiting"] {
        phases.push(world.get(Kind::Pod, "default", name).await.text(&["status", "phase"]).map(str::to_owned));
    }
    assert_eq!(phases, [Some("Pending".to_owned()), Some("Failed".to_owned())]);
}

#[tokio::test]
async fn w_185_every_namespace_has_its_default_objects_and_gets_them_back() {
    let mut world = World::new().await;
    let objects = || DefaultObjects::new(world.store.clone(), world.random.clone(), "PEM".to_owned());
    let node = NodeFacts::gather(
        Some("box"),
        &engine::Info::default(),
        "v1.36.0",
        110,
        std::path::Path::new("/"),
        std::path::Path::new("/"),
    );
    let first = objects();
    for _ in 0..2 {
        bootstrap::ensure(&world.store, &first, &world.random, &node, world.clock.now()).await.unwrap();
    }
    world.driver.add(objects());
    assert_eq!(world.names(Kind::Namespace).await, ["default", "kube-node-lease", "kube-public", "kube-system"]);
    assert_eq!(world.names(Kind::Node).await, ["box"]);
    world.create(Kind::Namespace, "", json!({"metadata": {"name": "n"}})).await;
    world.settle().await;
    assert_eq!(world.names(Kind::ServiceAccount).await, ["default"; 5]);
    let map = world.get(Kind::ConfigMap, "n", "kube-root-ca.crt").await;
    assert_eq!(map.text(&["data", "ca.crt"]), Some("PEM"));
    world.delete(Kind::ServiceAccount, "n", "default", json!({})).await;
    let mut changed = map;
    changed.0.insert("data".to_owned(), json!({"ca.crt": "other"}));
    world.put(Kind::ConfigMap, changed).await;
    world.settle().await;
    assert_eq!(world.names(Kind::ServiceAccount).await, ["default"; 5]);
    let map = world.get(Kind::ConfigMap, "n", "kube-root-ca.crt").await;
    assert_eq!(map.text(&["data", "ca.crt"]), Some("PEM"));
}

#[tokio::test]
async fn i_11_with_nothing_to_do_nothing_is_due() {
    let mut world = World::new().await;
    add_controllers(&mut world);
    world.driver.add(PodGc::new(world.store.clone(), 50));
    world.driver.add(DefaultObjects::new(world.store.clone(), world.random.clone(), "PEM".to_owned()));
    let recorder = Recorder::with_random("box".to_owned(), Duration::from_secs(600), world.random.clone());
    world.driver.add(crate::scheduler::Scheduler::new(world.store.clone(), recorder.into(), "box".to_owned()));
    world.create(Kind::Namespace, "", json!({"metadata": {"name": "default"}})).await;
    world.settle().await;
    let job = world.create(Kind::Job, "default", job("j", None)).await;
    world.put(Kind::Job, finished(job, "2026-01-01T12:00:00Z")).await;
    world.settle().await;
    world.clock.advance(Duration::from_secs(600));
    let before = world.store.latest();
    assert_eq!(world.settle().await, crate::driver::Deadline::default());
    assert_eq!(world.store.latest(), before, "and nothing is written");
}

/// The operator bounds history by count and age; pods go with their jobs, and those of nobody by themselves.
#[tokio::test]
async fn finished_jobs_go_when_they_are_too_many_or_too_old() {
    let mut world = world().await;
    let hours = jiff::SignedDuration::from_hours;
    let keep = Keep { count: Some(2), age: Some(hours(24)) };
    world.driver.add(History::new(world.store.clone(), world.clock.clone(), keep));
    for (name, minute) in [("a", 1), ("b", 2), ("c", 3)] {
        let job = job_with_pods(&world, name, 1, false).await;
        world.put(Kind::Job, finished(job, &format!("2026-01-01T11:{minute:02}:00Z"))).await;
        world.settle().await;
    }
    assert_eq!(world.names(Kind::Job).await, ["b", "c"]);
    assert_eq!(world.names(Kind::Pod).await, ["b-0", "c-0"], "the pods of the first went with it");

    let mut alone = world.create(Kind::Pod, "default", pod("alone", "0", json!({}))).await;
    alone.0["status"]["phase"] = json!("Succeeded");
    world.put(Kind::Pod, alone).await;
    world.create(Kind::Job, "default", job("runs", None)).await;
    world.settle().await;
    world.clock.advance(Duration::from_secs(23 * 3600));
    world.settle().await;
    assert_eq!(world.names(Kind::Job).await, ["b", "c", "runs"]);
    world.clock.advance(Duration::from_secs(2 * 3600));
    world.settle().await;
    assert_eq!(world.names(Kind::Job).await, ["runs"]);
    assert_eq!(world.names(Kind::Pod).await, Vec::<String>::new());
}

/// I-10: a clock that is set forward by a year takes no history away.
#[tokio::test]
async fn a_clock_that_is_set_takes_no_history_away() {
    let mut world = world().await;
    let keep = Keep { count: None, age: Some(jiff::SignedDuration::from_hours(24)) };
    world.driver.add(History::new(world.store.clone(), world.clock.clone(), keep));
    let job = world.create(Kind::Job, "default", job("j", None)).await;
    world.put(Kind::Job, finished(job, "2026-01-01T12:00:00Z")).await;
    world.settle().await;
    world.clock.jump(Duration::from_secs(365 * 86_400));
    world.driver.clock_jumped();
    world.settle().await;
    world.clock.advance(Duration::from_secs(23 * 3600));
    world.settle().await;
    assert_eq!(world.names(Kind::Job).await, ["j"]);
    world.clock.advance(Duration::from_secs(3600));
    world.settle().await;
    assert_eq!(world.names(Kind::Job).await, Vec::<String>::new());
}
