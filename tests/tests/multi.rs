//! Pods of several containers on the real daemon and the real engine.

use jobd_tests::{Client, Daemon, engine, eventually, manifest};
use serde_json::{Value, json};

const JOBS: &str = "/apis/batch/v1/namespaces/default/jobs";
const PODS: &str = "/api/v1/namespaces/default/pods";

fn container(name: &str, script: &str) -> Value {
    let mut container = manifest::container(script);
    container["name"] = json!(name);
    container
}

fn sidecar(name: &str, script: &str) -> Value {
    let mut container = container(name, script);
    container["restartPolicy"] = json!("Always");
    container
}

fn job(name: &str, policy: &str, inits: &[Value], containers: &[Value]) -> Value {
    let mut job = manifest::job_with(name, "", &json!({"backoffLimit": 0}));
    job["spec"]["template"] = json!({"spec": {
        "restartPolicy": policy, "initContainers": inits, "containers": containers, "terminationGracePeriodSeconds": 5,
    }});
    job
}

fn name(object: &Value) -> &str {
    object["metadata"]["name"].as_str().unwrap_or_default()
}

async fn the_pod(client: &Client, job: &str) -> Value {
    let mut pods = client.pods_of("default", job).await;
    assert_eq!(pods.len(), 1, "{pods:?}");
    pods.remove(0)
}

/// Waits for a pod of the job that is in this phase and answers it.
async fn pod_in(client: &Client, job: &str, phase: &str) -> Value {
    eventually("the phase of the pod", async || {
        let pods = client.pods_of("default", job).await;
        let found = pods.iter().find(|pod| pod["status"]["phase"] == phase).cloned();
        found.ok_or_else(|| format!("{pods:?}"))
    })
    .await
}

async fn log(client: &Client, pod: &str, container: &str) -> String {
    client.get(&format!("{PODS}/{pod}/log?container={container}")).await.text()
}

async fn nothing_left(daemon: &Daemon) {
    let instance = daemon.instance();
    eventually("all containers to be removed", async || {
        let left = engine::containers(&instance);
        if left.is_empty() { Ok(()) } else { Err(format!("{left:?}")) }
    })
    .await;
    assert_eq!(daemon.complaints(), Vec::<String>::new());
}

/// J-2530, J-2510, J-2516, W-154, D-202: one after the other, a shared volume, logs per container.
#[tokio::test]
async fn init_containers_prepare_what_the_regular_one_finds() {
    let daemon = Daemon::start().await;
    let client = daemon.client();
    let mut job = job(
        "prepared",
        "Never",
        &[container("one", "echo one >> /w/log; echo i am one"), container("two", "echo two >> /w/log")],
        &[container("main", "cat /w/log; echo bye > /dev/termination-log")],
    );
    let spec = &mut job["spec"]["template"]["spec"];
    for (list, index) in [("initContainers", 0), ("initContainers", 1), ("containers", 0)] {
        spec[list][index]["volumeMounts"] = json!([{"name": "w", "mountPath": "/w"}]);
    }
    spec["volumes"] = json!([{"name": "w", "emptyDir": {}}]);
    client.post(JOBS, &job).await.expect(201);
    client.wait_job("default", "prepared", "Complete").await;
    let pod = the_pod(&client, "prepared").await;
    assert_eq!(pod["status"]["phase"], "Succeeded");
    let inits: Vec<_> =
        pod["status"]["initContainerStatuses"].as_array().unwrap().iter().map(|one| one["name"].clone()).collect();
    assert_eq!(inits, ["one", "two"]);
    assert_eq!(pod["status"]["initContainerStatuses"][0]["ready"], true);
    assert_eq!(pod["status"]["containerStatuses"][0]["state"]["terminated"]["message"], "bye\n");
    assert_eq!(log(&client, name(&pod), "one").await, "i am one\n");
    assert_eq!(log(&client, name(&pod), "main").await, "one\ntwo\n");
    let events = client
        .get(&format!("/api/v1/namespaces/default/events?fieldSelector=involvedObject.name%3D{}", name(&pod)))
        .await
        .expect(200);
    let paths: Vec<_> =
        events["items"].as_array().unwrap().iter().map(|event| event["involvedObject"]["fieldPath"].clone()).collect();
    assert!(
        paths.contains(&json!("spec.initContainers{one}")) && paths.contains(&json!("spec.containers{main}")),
        "{paths:?}"
    );
    nothing_left(&daemon).await;
}

/// J-2531.
#[tokio::test]
async fn a_failed_init_container_fails_a_never_pod_and_its_job() {
    let daemon = Daemon::start().await;
    let client = daemon.client();
    let job = job("broken", "Never", &[container("one", "exit 4")], &[container("main", "echo never")]);
    client.post(JOBS, &job).await.expect(201);
    client.wait_job("default", "broken", "Failed").await;
    let pod = the_pod(&client, "broken").await;
    assert_eq!(pod["status"]["phase"], "Failed");
    assert_eq!(pod["status"]["initContainerStatuses"][0]["state"]["terminated"]["exitCode"], 4);
    assert_eq!(pod["status"]["containerStatuses"][0]["state"]["waiting"]["reason"], "PodInitializing");
    nothing_left(&daemon).await;
}

/// J-2531, J-2520.
#[tokio::test]
async fn a_failed_init_container_is_tried_again_in_its_pod() {
    let daemon = Daemon::start().await;
    let client = daemon.client();
    let mut job = job(
        "again",
        "OnFailure",
        &[container("one", "if [ -e /w/tried ]; then exit 0; fi; touch /w/tried; exit 1")],
        &[container("main", "echo ran")],
    );
    job["spec"]["backoffLimit"] = json!(3);
    let spec = &mut job["spec"]["template"]["spec"];
    spec["initContainers"][0]["volumeMounts"] = json!([{"name": "w", "mountPath": "/w"}]);
    spec["volumes"] = json!([{"name": "w", "emptyDir": {}}]);
    client.post(JOBS, &job).await.expect(201);
    client.wait_job("default", "again", "Complete").await;
    let pod = the_pod(&client, "again").await;
    assert_eq!(pod["status"]["initContainerStatuses"][0]["restartCount"], 1);
    assert_eq!(log(&client, name(&pod), "main").await, "ran\n");
    nothing_left(&daemon).await;
}

/// J-2532, D-202: a sidecar serves over localhost, and is stopped when the regular container is done.
#[tokio::test]
async fn a_job_with_a_sidecar_completes_and_the_two_talk_over_localhost() {
    let daemon = Daemon::start().await;
    let client = daemon.client();
    let serve = "trap 'exit 0' TERM; mkdir /www; echo hello > /www/index.html; httpd -p 8080 -h /www; echo up; \
                 while true; do sleep 0.1; done";
    let fetch = "until wget -q -O - http://127.0.0.1:8080/; do sleep 0.1; done";
    let job = job("served", "Never", &[sidecar("server", serve)], &[container("main", fetch)]);
    client.post(JOBS, &job).await.expect(201);
    client.wait_job("default", "served", "Complete").await;
    let pod = the_pod(&client, "served").await;
    assert_eq!(pod["status"]["phase"], "Succeeded");
    assert_eq!(log(&client, name(&pod), "main").await, "hello\n");
    assert_eq!(pod["status"]["initContainerStatuses"][0]["state"]["terminated"]["exitCode"], 0, "{pod}");
    assert!(pod["status"]["podIP"].is_string(), "{pod}");
    nothing_left(&daemon).await;
}

/// J-2503, J-2516, D-202: one fails, the other runs on; statuses are sorted; /dev/shm and processes are shared when asked for.
#[tokio::test]
async fn one_container_fails_and_the_other_runs_to_its_end() {
    let daemon = Daemon::start().await;
    let client = daemon.client();
    let mut job = job(
        "half",
        "Never",
        &[],
        &[
            container("waits", "until [ -e /dev/shm/go ]; do sleep 0.1; done; sleep 1; cat /proc/1/comm"),
            container("fails", "touch /dev/shm/go; exit 5"),
        ],
    );
    job["spec"]["template"]["spec"]["shareProcessNamespace"] = json!(true);
    client.post(JOBS, &job).await.expect(201);
    client.wait_job("default", "half", "Failed").await;
    let pod = the_pod(&client, "half").await;
    let statuses = pod["status"]["containerStatuses"].as_array().unwrap();
    let shown: Vec<_> =
        statuses.iter().map(|one| (one["name"].clone(), one["state"]["terminated"]["exitCode"].clone())).collect();
    assert_eq!(shown, [(json!("fails"), json!(5)), (json!("waits"), json!(0))], "{pod}");
    assert_eq!(log(&client, name(&pod), "waits").await, "pause\n");
    nothing_left(&daemon).await;
}

/// J-2550, R-5: without a network too.
#[tokio::test]
async fn a_running_pod_is_deleted_with_all_its_containers() {
    let daemon = Daemon::start().await;
    let client = daemon.client();
    let run = "trap 'exit 0' TERM; while true; do sleep 0.1; done";
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "several", "annotations": {"jobd/network": "none"}},
        "spec": {
            "restartPolicy": "Never", "initContainers": [sidecar("side", run)],
            "containers": [container("a", run), container("b", run)],
        },
    });
    client.post(PODS, &pod).await.expect(201);
    let path = format!("{PODS}/several");
    eventually("the pod to run", async || {
        let pod = client.get(&path).await.expect(200);
        if pod["status"]["phase"] == "Running" { Ok(()) } else { Err(pod.to_string()) }
    })
    .await;
    assert_eq!(engine::containers(&daemon.instance()).len(), 4);
    client.delete(&path, &json!({})).await.expect(200);
    client.wait_gone(&path).await;
    nothing_left(&daemon).await;
}

/// D-204, J-2551: a pod that may begin again does, with a new sandbox.
#[tokio::test]
async fn a_pod_whose_sandbox_is_killed_begins_again() {
    let daemon = Daemon::start().await;
    let client = daemon.client();
    let mut job = job(
        "reborn",
        "OnFailure",
        &[container("one", "echo init >> /w/log")],
        &[
            container("a", "trap 'exit 1' TERM; if [ -e /w/go ]; then exit 0; fi; while true; do sleep 0.1; done"),
            container("b", "echo b >> /w/log"),
        ],
    );
    job["spec"]["backoffLimit"] = json!(6);
    let spec = &mut job["spec"]["template"]["spec"];
    let shared = daemon.data_dir().with_file_name("shared");
    for (list, index) in [("initContainers", 0), ("containers", 0), ("containers", 1)] {
        spec[list][index]["volumeMounts"] = json!([{"name": "w", "mountPath": "/w"}]);
    }
    spec["volumes"] = json!([{"name": "w", "hostPath": {"path": shared, "type": "DirectoryOrCreate"}}]);
    client.post(JOBS, &job).await.expect(201);
    let pod = pod_in(&client, "reborn", "Running").await;
    let path = format!("{PODS}/{}", name(&pod));
    eventually("b to end", async || {
        let pod = client.get(&path).await.expect(200);
        let b = &pod["status"]["containerStatuses"][1]["state"]["terminated"]["exitCode"];
        if *b == 0 { Ok(()) } else { Err(pod.to_string()) }
    })
    .await;
    std::fs::write(shared.join("go"), "").unwrap();
    let uid = pod["metadata"]["uid"].as_str().unwrap();
    engine::kill(&format!("jobd-{uid}-POD-0"));
    client.wait_job("default", "reborn", "Complete").await;
    assert_eq!(std::fs::read_to_string(shared.join("log")).unwrap(), "init\nb\ninit\n");
    nothing_left(&daemon).await;
}
