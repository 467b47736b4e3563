//! An engine that is slow, hangs, answers wrongly, loses answers and events (F-8, F-9, F-10, F-12): through a proxy in front of the
//! real one. Marks of the containers tell what really ran.

use std::time::{Duration, Instant};

use jobd_tests::{
    Client, Daemon, Proxy, eventually, manifest,
    proxy::{Events, Fault},
};
use serde_json::{Value, json};

use crate::{
    JOBS, PODS,
    marks::{Marks, WAIT},
};

struct Scene {
    proxy: Proxy,
    daemon: Daemon,
    client: Client,
    marks: Marks,
}

impl Scene {
    async fn open() -> Self {
        let proxy = Proxy::open();
        let daemon = Daemon::start_with(&["--no-listen", "--docker-host", &proxy.host()], &[]).await;
        let (client, marks) = (daemon.client(), Marks::new(&daemon));
        // One job through the healthy engine: the event stream is open when the faults begin.
        client.post(JOBS, &manifest::job("first", "true")).await.expect(201);
        client.wait_job("default", "first", "Complete").await;
        Self { proxy, daemon, client, marks }
    }

    async fn submit(&self, name: &str, script: &str) {
        self.client.post(JOBS, &self.marks.job(name, script, &json!({}))).await.expect(201);
    }

    /// The job completes with one pod that ran once, and no container is left.
    async fn check_one_run(&self, name: &str) {
        let job = self.client.wait_job("default", name, "Complete").await;
        assert_eq!((&job["status"]["succeeded"], &job["status"]["failed"]), (&json!(1), &Value::Null), "{job}");
        self.marks.check_ran_once(&self.client, name, 1).await;
        self.check_nothing_left().await;
    }

    async fn check_nothing_left(&self) {
        let instance = self.daemon.instance();
        eventually("the containers to be removed", async || {
            let left = jobd_tests::engine::containers(&instance);
            if left.is_empty() { Ok(()) } else { Err(format!("{left:?}")) }
        })
        .await;
    }

    async fn events_of(&self, name: &str, reason: &str) -> i64 {
        let path = format!("/api/v1/namespaces/default/events?fieldSelector=involvedObject.name%3D{name}");
        let list = self.client.get(&path).await.expect(200);
        let events = list["items"].as_array().cloned().unwrap_or_default();
        events.iter().filter(|event| event["reason"] == reason).map(|event| event["count"].as_i64().unwrap_or(1)).sum()
    }
}

/// One fault, met by one job that must run once all the same.
async fn check_survives(method: &'static str, path: &str, times: usize, fault: Fault) {
    let scene = Scene::open().await;
    scene.proxy.fault(method, path, times, fault.clone());
    scene.submit("tried", "sleep 0.5").await;
    scene.check_one_run("tried").await;
    assert_eq!(scene.proxy.faults_left(), 0, "{method} {path} {fault:?} did not happen");
}

#[tokio::test]
async fn a_lost_answer_to_create_makes_no_second_container_f9() {
    check_survives("POST", "/containers/create", 1, Fault::CutAfter).await;
}

#[tokio::test]
async fn a_create_that_never_arrived_is_sent_again_f8() {
    check_survives("POST", "/containers/create", 2, Fault::CutBefore).await;
}

#[tokio::test]
async fn a_create_that_arrives_twice_is_one_container_f10() {
    check_survives("POST", "/containers/create", 1, Fault::Twice).await;
}

#[tokio::test]
async fn a_lost_answer_to_start_makes_no_second_run_f9() {
    check_survives("POST", "/start", 1, Fault::CutAfter).await;
}

#[tokio::test]
async fn a_start_that_never_arrived_is_fenced_and_tried_in_a_new_container_f9() {
    check_survives("POST", "/start", 1, Fault::CutBefore).await;
}

#[tokio::test]
async fn a_start_that_arrives_twice_is_one_run_f9() {
    check_survives("POST", "/start", 1, Fault::Twice).await;
}

#[tokio::test]
async fn an_engine_without_space_is_waited_for_f8() {
    check_survives("POST", "/containers/create", 1, Fault::Answer(500, "mkdir /x: no space left on device")).await;
}

#[tokio::test]
async fn an_inspection_that_fails_is_repeated_f8() {
    check_survives("GET", "/json", 3, Fault::Answer(500, "out of order")).await;
}

#[tokio::test]
async fn a_removal_whose_answer_is_lost_leaves_no_container_f8() {
    check_survives("DELETE", "/containers/", 1, Fault::CutAfter).await;
}

#[tokio::test]
async fn a_removal_that_fails_is_repeated_f8() {
    check_survives("DELETE", "/containers/", 2, Fault::Answer(500, "driver failed to remove root filesystem")).await;
}

#[tokio::test]
async fn logs_that_break_off_are_read_again_before_the_container_goes_f8() {
    let scene = Scene::open().await;
    scene.proxy.fault("GET", "/logs", 1, Fault::CutBefore);
    scene.submit("talks", "echo words").await;
    scene.check_one_run("talks").await;
    let pods = scene.client.pods_of("default", "talks").await;
    let path = format!("{PODS}/{}/log", pods[0]["metadata"]["name"].as_str().unwrap());
    assert!(scene.client.get(&path).await.text().ends_with("words\n"));
}

/// F-8: what hangs, hangs alone; a slow engine makes no failure.
#[tokio::test]
async fn a_hanging_create_holds_up_nobody_else() {
    let scene = Scene::open().await;
    scene.proxy.fault("POST", "/containers/create", 1, Fault::Hang);
    scene.submit("hangs", "true").await;
    eventually("the create to hang", async || if scene.proxy.faults_left() == 0 { Ok(()) } else { Err(String::new()) })
        .await;
    for number in 0..5 {
        scene.submit(&format!("other-{number}"), "true").await;
    }
    for number in 0..5 {
        scene.client.wait_job("default", &format!("other-{number}"), "Complete").await;
    }
    let job = scene.client.get(&format!("{JOBS}/hangs")).await.expect(200);
    assert_eq!((&job["status"]["active"], &job["status"]["failed"]), (&json!(1), &Value::Null));
    // A cut ends the wait.
    scene.proxy.cut_all();
    scene.check_one_run("hangs").await;
}

#[tokio::test]
async fn a_slow_engine_makes_no_failure_and_no_slow_api() {
    let scene = Scene::open().await;
    for method in ["POST", "GET", "DELETE"] {
        scene.proxy.fault(method, "/containers/", 1000, Fault::Delay(Duration::from_millis(400)));
    }
    for number in 0..4 {
        scene.submit(&format!("slow-{number}"), "true").await;
    }
    let mut slowest = Duration::ZERO;
    for _ in 0..20 {
        let started = Instant::now();
        scene.client.get(JOBS).await.expect(200);
        slowest = slowest.max(started.elapsed());
    }
    assert!(slowest < Duration::from_secs(1), "a list took {slowest:?} beside a slow engine");
    for number in 0..4 {
        scene.client.wait_job("default", &format!("slow-{number}"), "Complete").await;
        scene.marks.check_ran_once(&scene.client, &format!("slow-{number}"), 1).await;
    }
}

/// F-8: nobody is blamed while the engine is away, nothing spins, and all goes on when it is back.
#[tokio::test]
async fn an_engine_that_goes_away_and_comes_back_is_waited_for_quietly() {
    let scene = Scene::open().await;
    scene.submit("runs", WAIT).await;
    scene.client.wait(&format!("{JOBS}/runs"), "ready", |job| job["status"]["ready"] == 1).await;
    scene.proxy.down();
    let mut pulls = scene.marks.job("pulls", "true", &json!({}));
    pulls["spec"]["template"]["spec"]["containers"][0]["imagePullPolicy"] = json!("Always");
    scene.client.post(JOBS, &pulls).await.expect(201);
    scene.submit("waits", "true").await;
    scene.marks.go();
    tokio::time::sleep(Duration::from_secs(4)).await;
    for name in ["runs", "pulls", "waits"] {
        let job = scene.client.get(&format!("{JOBS}/{name}")).await.expect(200);
        assert_eq!((&job["status"]["active"], &job["status"]["failed"]), (&json!(1), &Value::Null), "{job}");
    }
    let pod = scene.client.pods_of("default", "pulls").await[0]["metadata"]["name"].as_str().unwrap().to_owned();
    assert!(scene.events_of(&pod, "Pulling").await <= 1, "one pull, one event");
    let lines = scene.daemon.log().lines().count();
    scene.proxy.heal();
    for name in ["runs", "waits"] {
        let job = scene.client.wait_job("default", name, "Complete").await;
        assert_eq!(job["status"]["failed"], Value::Null, "{job}");
        scene.marks.check_ran_once(&scene.client, name, 1).await;
    }
    assert!(lines < 2000, "{lines} lines of log in 4 s: something spins");
}

/// F-12: events are only a hint.
#[tokio::test]
async fn events_that_are_lost_are_made_up_for_by_the_next_look() {
    for action in ["start", "die", "create"] {
        let scene = Scene::open().await;
        scene.proxy.events(action, Events::Drop);
        scene.submit("unheard", "sleep 1").await;
        scene.check_one_run("unheard").await;
    }
}

#[tokio::test]
async fn events_that_come_twice_or_late_count_nothing_twice_f12() {
    for how in [Events::Repeat(3), Events::Late] {
        let scene = Scene::open().await;
        for action in ["create", "start", "die", "destroy"] {
            scene.proxy.events(action, how);
        }
        let spec = json!({"completions": 4, "parallelism": 2});
        scene.client.post(JOBS, &scene.marks.job("heard", "sleep 0.3", &spec)).await.expect(201);
        let job = scene.client.wait_job("default", "heard", "Complete").await;
        assert_eq!(
            (&job["status"]["succeeded"], &job["status"]["failed"]),
            (&json!(4), &Value::Null),
            "{how:?}: {job}"
        );
        scene.marks.check_ran_once(&scene.client, "heard", 4).await;
    }
}

/// F-12, D-506: exits in a gap of the stream are never announced.
#[tokio::test]
async fn an_exit_in_a_gap_of_the_event_stream_is_found() {
    let scene = Scene::open().await;
    scene.submit("gap", WAIT).await;
    scene.client.wait(&format!("{JOBS}/gap"), "ready", |job| job["status"]["ready"] == 1).await;
    scene.proxy.fault("GET", "/events", 3, Fault::CutBefore);
    scene.proxy.cut_all();
    scene.marks.go();
    scene.check_one_run("gap").await;
}

/// F-10: a stranger has the name. It is not touched, the pod says so, and goes on when the name is free.
#[tokio::test]
async fn a_strangers_container_of_the_same_name_is_left_alone_and_told() {
    let scene = Scene::open().await;
    scene.proxy.fault("POST", "/containers/create", 1, Fault::StrangerFirst);
    scene.submit("taken", "true").await;
    let pod = eventually("the pod to be there", async || {
        scene.client.pods_of("default", "taken").await.pop().ok_or_else(String::new)
    })
    .await;
    let path = format!("{PODS}/{}", pod["metadata"]["name"].as_str().unwrap());
    let pod = scene
        .client
        .wait(&path, "waiting for the name", |pod| {
            let waiting = &pod["status"]["containerStatuses"][0]["state"]["waiting"];
            waiting["message"].as_str().is_some_and(|text| text.contains("has the name"))
        })
        .await;
    assert_eq!(pod["status"]["containerStatuses"][0]["state"]["waiting"]["reason"], "CreateContainerError");
    let strangers = scene.proxy.strangers();
    assert_eq!(strangers.len(), 1, "{strangers:?}");
    assert_eq!(jobd_tests::engine::state(&strangers[0]), "created", "untouched");
    jobd_tests::engine::remove(&strangers[0]);
    scene.check_one_run("taken").await;
}
