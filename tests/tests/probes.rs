//! Probes and lifecycle hooks on the real daemon and the real engine: the cases of Kubernetes' own suite ([sig-node] Probing container,
//! Container Lifecycle Hook) with the images that are here.

use jobd_tests::{Client, Daemon, client::has_condition, manifest};
use serde_json::{Value, json};

const PODS: &str = "/api/v1/namespaces/default/pods";

fn path(name: &str) -> String {
    format!("{PODS}/{name}")
}

/// A pod whose one container runs a script and has more fields.
fn pod(name: &str, policy: &str, script: &str, container: &Value) -> Value {
    let mut pod = manifest::pod(name, script);
    pod["spec"]["restartPolicy"] = json!(policy);
    pod["spec"]["terminationGracePeriodSeconds"] = json!(2);
    if let (Value::Object(into), Value::Object(from)) = (&mut pod["spec"]["containers"][0], container) {
        into.extend(from.clone());
    }
    pod
}

fn shell(script: &str) -> Value {
    json!({"exec": {"command": ["sh", "-c", script]}})
}

/// A probe that runs every second.
fn every_second(mut handler: Value, failures: u32) -> Value {
    handler["periodSeconds"] = json!(1);
    handler["failureThreshold"] = json!(failures);
    handler
}

fn status(pod: &Value) -> &Value {
    &pod["status"]["containerStatuses"][0]
}

async fn events(client: &Client, pod: &str, reason: &str) -> Vec<String> {
    let selector = format!("involvedObject.name%3D{pod}%2Creason%3D{reason}");
    let list = client.get(&format!("/api/v1/namespaces/default/events?fieldSelector={selector}")).await.expect(200);
    let messages =
        list["items"].as_array().into_iter().flatten().map(|event| event["message"].as_str().unwrap().to_owned());
    messages.collect()
}

async fn wait_event(client: &Client, pod: &str, reason: &str, message: &str) {
    jobd_tests::eventually(&format!("{reason} {message}"), async || {
        let found = events(client, pod, reason).await;
        if found.iter().any(|one| one.starts_with(message)) { Ok(()) } else { Err(format!("{found:?}")) }
    })
    .await;
}

async fn delete(client: &Client, name: &str) {
    client.delete(&path(name), &json!({})).await.expect(200);
    client.wait_gone(&path(name)).await;
}

/// J-2516, J-2540, J-2583: ready only while the probe succeeds, and also while the pod is being deleted.
#[tokio::test]
async fn readiness_follows_its_probe_to_the_end() {
    let daemon = Daemon::start().await;
    let client = daemon.client();
    let script = "trap 'rm /tmp/ready; sleep 4; exit 0' TERM; touch /tmp/ready; while :; do sleep 0.1; done";
    let probes = json!({
        "readinessProbe": every_second(shell("test -e /tmp/ready || { echo not yet; exit 3; }"), 1),
        // Switched off by the deletion: else it would be told again and again.
        "livenessProbe": every_second(shell("test -e /tmp/ready"), 1000),
    });
    let mut made = pod("ready", "Never", script, &probes);
    made["spec"]["terminationGracePeriodSeconds"] = json!(30);
    client.post(PODS, &made).await.expect(201);
    let ready = client.wait(&path("ready"), "ready", |pod| has_condition(pod, "Ready")).await;
    assert_eq!((&status(&ready)["ready"], &status(&ready)["started"]), (&json!(true), &json!(true)));
    client.delete(&path("ready"), &json!({})).await.expect(200);
    let unready = client.wait(&path("ready"), "not ready", |pod| !has_condition(pod, "Ready")).await;
    assert!(unready["metadata"]["deletionTimestamp"].is_string() && !has_condition(&unready, "ContainersReady"));
    wait_event(&client, "ready", "Unhealthy", "Readiness probe failed: not yet").await;
    client.wait_gone(&path("ready")).await;
    assert_eq!(status(&unready)["restartCount"], 0, "{unready}");
    let liveness: Vec<String> = events(&client, "ready", "Unhealthy").await;
    assert!(!liveness.iter().any(|one| one.starts_with("Liveness")), "{liveness:?}");
}

/// J-2582, J-2583: a failing or hanging command ends the container; by the pod's policy it runs again, also after an exit code 0.
#[tokio::test]
async fn a_failed_liveness_probe_restarts_the_container() {
    let daemon = Daemon::start().await;
    let client = daemon.client();
    let script = "trap 'exit 0' TERM; touch /tmp/health; sleep 2; rm /tmp/health; while :; do sleep 0.1; done";
    let mut probe = every_second(shell("cat /tmp/health"), 1);
    probe["initialDelaySeconds"] = json!(1);
    let made = pod("alive", "OnFailure", script, &json!({"livenessProbe": probe}));
    client.post(PODS, &made).await.expect(201);
    let hangs = every_second(shell("sleep 100"), 1);
    let made = pod("hangs", "Never", "while :; do sleep 0.1; done", &json!({"livenessProbe": hangs}));
    client.post(PODS, &made).await.expect(201);
    let restarted = client.wait(&path("alive"), "a restart", |pod| status(pod)["restartCount"] == 1).await;
    assert_eq!(status(&restarted)["lastState"]["terminated"]["exitCode"], 0, "{restarted}");
    wait_event(&client, "alive", "Unhealthy", "Liveness probe failed: cat: ").await;
    wait_event(&client, "alive", "Killing", "Container main failed liveness probe, will be restarted").await;
    let failed = client.wait(&path("hangs"), "Failed", |pod| pod["status"]["phase"] == "Failed").await;
    assert_eq!(status(&failed)["state"]["terminated"]["exitCode"], 137, "{failed}");
    wait_event(&client, "hangs", "Unhealthy", "Liveness probe failed: command timed out").await;
    assert_eq!(events(&client, "hangs", "Killing").await, ["Container main failed liveness probe"]);
    delete(&client, "alive").await;
    assert_eq!(daemon.complaints(), Vec::<String>::new());
}

/// httpGet by the port's name with a redirect, and tcpSocket; a startup probe that never succeeds ends its container.
#[tokio::test]
async fn requests_and_connections_reach_the_pod() {
    let daemon = Daemon::start().await;
    let client = daemon.client();
    let serve = "mkdir /w; echo ok > /w/index.html; sleep 1; exec httpd -f -p 8080 -h /w";
    let get = |file: &str| json!({"httpGet": {"path": file, "port": "web"}});
    let made = pod(
        "web",
        "Never",
        serve,
        &json!({
            "ports": [{"name": "web", "containerPort": 8080}],
            "startupProbe": every_second(json!({"tcpSocket": {"port": 8080}}), 60),
            "livenessProbe": every_second(get("/index.html"), 1),
            "readinessProbe": every_second(get("/"), 1),
        }),
    );
    client.post(PODS, &made).await.expect(201);
    let made = pod(
        "missing",
        "Never",
        serve,
        &json!({
            "ports": [{"name": "web", "containerPort": 8080}], "startupProbe": every_second(get("/nothing"), 3),
        }),
    );
    client.post(PODS, &made).await.expect(201);
    let ready = client.wait(&path("web"), "ready", |pod| has_condition(pod, "Ready")).await;
    assert_eq!((&status(&ready)["started"], &status(&ready)["restartCount"]), (&json!(true), &json!(0)));
    let failed = client.wait(&path("missing"), "Failed", |pod| pod["status"]["phase"] == "Failed").await;
    assert_eq!(status(&failed)["started"], false, "{failed}");
    wait_event(&client, "missing", "Unhealthy", "Startup probe failed: HTTP probe failed with statuscode: 404").await;
    wait_event(&client, "missing", "Killing", "Container main failed startup probe").await;
    // A daemon that is started again knows what was ready.
    let running = client.get(&path("web")).await.expect(200);
    assert!(has_condition(&running, "Ready") && status(&running)["restartCount"] == 0, "{running}");
    delete(&client, "web").await;
}

/// A sidecar's startup probe holds the regular container of a job (J-2530, J-2532).
#[tokio::test]
async fn a_job_waits_for_the_startup_probe_of_its_sidecar() {
    let daemon = Daemon::start().await;
    let client = daemon.client();
    let mut job = manifest::job("gated", "test -e /w/up");
    let mount = json!([{"name": "w", "mountPath": "/w"}]);
    let spec = &mut job["spec"]["template"]["spec"];
    spec["terminationGracePeriodSeconds"] = json!(5);
    spec["volumes"] = json!([{"name": "w", "emptyDir": {}}]);
    spec["containers"][0]["volumeMounts"] = mount.clone();
    spec["initContainers"] = json!([{
        "name": "side", "image": "busybox:1.36", "restartPolicy": "Always", "volumeMounts": mount,
        "command": ["sh", "-c", "trap 'exit 0' TERM; sleep 2; touch /w/up; while :; do sleep 0.1; done"],
        "startupProbe": every_second(shell("test -e /w/up"), 60),
    }]);
    job["spec"]["backoffLimit"] = json!(0);
    client.post("/apis/batch/v1/namespaces/default/jobs", &job).await.expect(201);
    client.wait_job("default", "gated", "Complete").await;
}

/// J-2586, J-2550: postStart before the container counts as running, preStop before its stop signal, both kinds of failure as events.
#[tokio::test]
async fn hooks_run_at_the_beginning_and_before_the_end() {
    let daemon = Daemon::start().await;
    let client = daemon.client();
    let dir = daemon.data_dir().join("hooks");
    std::fs::create_dir(&dir).unwrap();
    let script = "trap 'echo term >> /h/log; exit 0' TERM; while :; do sleep 0.1; done";
    let mut made = pod(
        "hooked",
        "Never",
        script,
        &json!({
            "volumeMounts": [{"name": "h", "mountPath": "/h"}],
            "lifecycle": {
                "postStart": shell("sleep 2; echo started >> /h/log"),
                "preStop": shell("echo stopping >> /h/log; sleep 1; echo stopped >> /h/log"),
            },
        }),
    );
    made["spec"]["volumes"] = json!([{"name": "h", "hostPath": {"path": dir}}]);
    made["spec"]["terminationGracePeriodSeconds"] = json!(20);
    client.post(PODS, &made).await.expect(201);
    client.wait(&path("hooked"), "Running", |pod| pod["status"]["phase"] == "Running").await;
    let log = || std::fs::read_to_string(dir.join("log")).unwrap();
    assert_eq!(log(), "started\n", "it counts as running only when its hook is through");
    delete(&client, "hooked").await;
    assert_eq!(log(), "started\nstopping\nstopped\nterm\n");

    let lifecycle = json!({"lifecycle": {"postStart": shell("exit 1")}});
    client.post(PODS, &pod("early", "Never", "sleep 1000", &lifecycle)).await.expect(201);
    let failed = client.wait(&path("early"), "Failed", |pod| pod["status"]["phase"] == "Failed").await;
    assert_eq!(status(&failed)["state"]["terminated"]["exitCode"], 137, "{failed}");
    assert_eq!(events(&client, "early", "FailedPostStartHook").await, ["PostStartHook failed"]);
    assert_eq!(events(&client, "early", "Killing").await, ["FailedPostStartHook"]);

    // J-2511, J-2586: what runs again says why it waits.
    client.post(PODS, &pod("again", "Always", "sleep 1000", &lifecycle)).await.expect(201);
    let reason = |pod: &Value| status(pod)["state"]["waiting"]["reason"].as_str().unwrap_or_default().to_owned();
    let waiting = client.wait(&path("again"), "waiting", |pod| reason(pod) == "PostStartHookError").await;
    let message = status(&waiting)["state"]["waiting"]["message"].as_str().unwrap();
    assert!(
        message.starts_with("Exec lifecycle hook ([sh -c exit 1]) for Container \"main\" in Pod \"again_"),
        "{message}"
    );
    assert_eq!(status(&waiting)["lastState"]["terminated"]["exitCode"], 137, "{waiting}");
    client.wait(&path("again"), "in back-off", |pod| reason(pod) == "CrashLoopBackOff").await;
    delete(&client, "again").await;

    let get = json!({"httpGet": {"path": "/bye", "port": 8080}});
    let lifecycle = json!({"lifecycle": {"preStop": get, "postStart": {"sleep": {"seconds": 1}}}});
    client
        .post(PODS, &pod("late", "Never", "trap 'exit 0' TERM; while :; do sleep 0.1; done", &lifecycle))
        .await
        .expect(201);
    client.wait(&path("late"), "Running", |pod| pod["status"]["phase"] == "Running").await;
    delete(&client, "late").await;
    assert_eq!(events(&client, "late", "FailedPreStopHook").await, ["PreStopHook failed"]);
}
