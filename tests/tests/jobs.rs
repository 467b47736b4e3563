//! Jobs on the real daemon and the real engine: a manifest goes in over HTTP, containers come out.

use std::time::Duration;

use jobd_tests::{Client, Daemon, engine, eventually, manifest};
use serde_json::{Value, json};

const JOBS: &str = "/apis/batch/v1/namespaces/default/jobs";
const PODS: &str = "/api/v1/namespaces/default/pods";

async fn submit(client: &Client, job: &Value) -> Value {
    client.post(JOBS, job).await.expect(201)
}

fn name(object: &Value) -> &str {
    object["metadata"]["name"].as_str().unwrap_or_default()
}

/// Reasons of the events about an object, oldest first.
async fn reasons(client: &Client, involved: &str) -> Vec<String> {
    let events = client
        .get(&format!("/api/v1/namespaces/default/events?fieldSelector=involvedObject.name%3D{involved}"))
        .await
        .expect(200);
    let mut events = events["items"].as_array().cloned().unwrap_or_default();
    events.sort_by_key(|event| event["eventTime"].as_str().unwrap_or_default().to_owned());
    events.iter().map(|event| event["reason"].as_str().unwrap_or_default().to_owned()).collect()
}

/// J-845, J-883, J-1007, J-2003, J-2010, J-2201, J-2207, J-2512, W-151, W-157, W-178, R-5.
#[tokio::test]
async fn a_job_runs_a_container_and_completes_and_its_log_stays_until_it_is_deleted() {
    let daemon = Daemon::start().await;
    let client = daemon.client();
    submit(&client, &manifest::job("hello", "echo hello; echo world >&2")).await;
    let job = client.wait_job("default", "hello", "Complete").await;
    assert_eq!(job["status"]["succeeded"], 1, "{job}");
    assert_eq!(job["status"]["terminating"], 0);
    assert_eq!(job["status"]["uncountedTerminatedPods"], json!({}));
    assert!(job["status"].get("active").is_none() && job["status"].get("failed").is_none(), "{job}");
    let types: Vec<_> = job["status"]["conditions"].as_array().unwrap().iter().map(|c| c["type"].clone()).collect();
    assert_eq!(types, ["SuccessCriteriaMet", "Complete"]);
    assert!(job["status"]["completionTime"].is_string());

    let pods = client.pods_of("default", "hello").await;
    let [pod] = pods.as_slice() else { panic!("one pod: {pods:?}") };
    assert_eq!(pod["status"]["phase"], "Succeeded");
    assert!(pod["metadata"].get("finalizers").is_none(), "the pod was counted: {pod}");
    let terminated = &pod["status"]["containerStatuses"][0]["state"]["terminated"];
    assert_eq!((&terminated["exitCode"], &terminated["reason"]), (&json!(0), &json!("Completed")), "{pod}");
    let log = client.get(&format!("{PODS}/{}/log", name(pod))).await;
    assert_eq!(log.headers["content-type"], "text/plain");
    let mut lines: Vec<_> = log.text().lines().map(str::to_owned).collect();
    lines.sort();
    assert_eq!(lines, ["hello", "world"]);

    assert_eq!(reasons(&client, "hello").await, ["SuccessfulCreate", "Completed"]);
    let of_pod = reasons(&client, name(pod)).await;
    assert_eq!(of_pod, ["Scheduled", "Pulled", "Created", "Started"]);

    let instance = daemon.instance();
    eventually("the container to be removed", async || {
        let left = engine::containers(&instance);
        if left.is_empty() { Ok(()) } else { Err(format!("{left:?}")) }
    })
    .await;
    let path = format!("{JOBS}/hello");
    let answer = client.delete(&path, &json!({"propagationPolicy": "Background"})).await.expect(200);
    assert_eq!(answer["details"]["uid"], job["metadata"]["uid"], "{answer}");
    client.wait_gone(&path).await;
    client.wait_gone(&format!("{PODS}/{}", name(pod))).await;
    assert_eq!(daemon.complaints(), Vec::<String>::new());
}

/// J-833, J-2209, T-7: backoffLimit 0 is one try.
#[tokio::test]
async fn a_job_without_retries_fails_with_its_first_pod() {
    let daemon = Daemon::start().await;
    let client = daemon.client();
    submit(&client, &manifest::job_with("fails", "echo sorry; exit 3", &json!({"backoffLimit": 0}))).await;
    let job = client.wait_job("default", "fails", "Failed").await;
    assert_eq!(job["status"]["failed"], 1);
    let failed =
        job["status"]["conditions"].as_array().unwrap().iter().find(|c| c["type"] == "Failed").unwrap().clone();
    assert_eq!(failed["reason"], "BackoffLimitExceeded");
    assert_eq!(failed["message"], "Job has reached the specified backoff limit");
    assert!(job["status"].get("completionTime").is_none());
    let pods = client.pods_of("default", "fails").await;
    assert_eq!(pods[0]["status"]["containerStatuses"][0]["state"]["terminated"]["exitCode"], 3);
    assert_eq!(reasons(&client, "fails").await, ["SuccessfulCreate", "BackoffLimitExceeded"]);
}

/// J-860, J-861: the first retry comes 10 s after the failure, as a new pod.
#[tokio::test]
async fn a_failed_pod_is_replaced_after_the_back_off() {
    let daemon = Daemon::start().await;
    let client = daemon.client();
    let shared = daemon.data_dir().with_file_name("shared");
    let mut job =
        manifest::job("retry", "if [ -e /shared/tried ]; then echo second; else touch /shared/tried; exit 1; fi");
    job["spec"]["template"]["spec"]["containers"][0]["volumeMounts"] =
        json!([{"name": "shared", "mountPath": "/shared"}]);
    job["spec"]["template"]["spec"]["volumes"] =
        json!([{"name": "shared", "hostPath": {"path": shared, "type": "DirectoryOrCreate"}}]);
    submit(&client, &job).await;
    let job = client.wait_job("default", "retry", "Complete").await;
    assert_eq!((&job["status"]["succeeded"], &job["status"]["failed"]), (&json!(1), &json!(1)));
    let mut pods = client.pods_of("default", "retry").await;
    pods.sort_by_key(|pod| pod["status"]["phase"].as_str().unwrap_or_default().to_owned());
    let [failed, succeeded] = pods.as_slice() else { panic!("two pods: {pods:?}") };
    let ended: jiff::Timestamp = failed["status"]["containerStatuses"][0]["state"]["terminated"]["finishedAt"]
        .as_str()
        .unwrap()
        .parse()
        .unwrap();
    let created: jiff::Timestamp = succeeded["metadata"]["creationTimestamp"].as_str().unwrap().parse().unwrap();
    let waited = created.duration_since(ended).as_secs();
    // Both times are cut to whole seconds.
    assert!((9..=14).contains(&waited), "waited {waited} s");
}

/// J-2501, J-2516, J-2520: OnFailure restarts in the pod; the first time at once.
#[tokio::test]
async fn on_failure_restarts_the_container_in_its_pod() {
    let daemon = Daemon::start().await;
    let client = daemon.client();
    let mut job =
        manifest::job("again", "if [ -e /cache/tried ]; then exit 0; else touch /cache/tried; echo first; exit 9; fi");
    let spec = &mut job["spec"]["template"]["spec"];
    spec["restartPolicy"] = json!("OnFailure");
    spec["containers"][0]["volumeMounts"] = json!([{"name": "cache", "mountPath": "/cache"}]);
    spec["volumes"] = json!([{"name": "cache", "emptyDir": {}}]);
    submit(&client, &job).await;
    let job = client.wait_job("default", "again", "Complete").await;
    assert!(job["status"].get("failed").is_none(), "{job}");
    let pods = client.pods_of("default", "again").await;
    let status = &pods[0]["status"]["containerStatuses"][0];
    assert_eq!(status["restartCount"], 1);
    assert_eq!(status["lastState"]["terminated"]["exitCode"], 9, "{status}");
    let previous = client.get(&format!("{PODS}/{}/log?previous=true", name(&pods[0]))).await;
    assert_eq!((previous.status, previous.text().as_str()), (200, "first\n"));
}

/// J-847, J-2504, T-9: never more than `parallelism` at once, exactly `completions` in the end.
#[tokio::test]
async fn completions_and_parallelism_are_kept_exactly() {
    let daemon = Daemon::start().await;
    let client = daemon.client();
    let spec = json!({"completions": 5, "parallelism": 2});
    submit(&client, &manifest::job_with("many", "sleep 0.2", &spec)).await;
    let mut most = 0;
    let job = eventually("the job to complete", async || {
        let job = client.get(&format!("{JOBS}/many")).await.expect(200);
        most = most.max(job["status"]["active"].as_i64().unwrap_or(0));
        if jobd_tests::client::has_condition(&job, "Complete") { Ok(job) } else { Err(job.to_string()) }
    })
    .await;
    assert_eq!(job["status"]["succeeded"], 5);
    assert!((1..=2).contains(&most), "{most} at once");
    assert_eq!(client.pods_of("default", "many").await.len(), 5);
}

/// J-845: without completions the first success ends a work queue when all are done.
#[tokio::test]
async fn a_work_queue_ends_when_one_succeeded_and_all_are_done() {
    let daemon = Daemon::start().await;
    let client = daemon.client();
    submit(&client, &manifest::job_with("queue", "sleep 0.3", &json!({"parallelism": 3}))).await;
    let job = client.wait_job("default", "queue", "Complete").await;
    assert_eq!(job["status"]["succeeded"], 3, "{job}");
}

/// J-1701, J-1702: the deadline ends a running job; its pod is stopped and counted.
#[tokio::test]
async fn the_active_deadline_ends_a_job_that_runs_too_long() {
    let daemon = Daemon::start().await;
    let client = daemon.client();
    let mut job =
        manifest::job_with("slow", "trap 'exit 0' TERM; sleep 300 & wait", &json!({"activeDeadlineSeconds": 2}));
    job["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] = json!(5);
    submit(&client, &job).await;
    let job = client.wait_job("default", "slow", "Failed").await;
    assert_eq!(job["status"]["failed"], 1);
    let conditions = job["status"]["conditions"].as_array().unwrap();
    assert!(conditions.iter().all(|condition| condition["reason"] == "DeadlineExceeded"), "{job}");
    eventually("no pod to be left", async || {
        let pods = client.pods_of("default", "slow").await;
        if pods.is_empty() { Ok(()) } else { Err(format!("{pods:?}")) }
    })
    .await;
    assert!(reasons(&client, "slow").await.contains(&"DeadlineExceeded".to_owned()));
}

/// J-1501, J-1502, J-1503, J-2205, J-2206: nothing runs while suspended; resuming starts it, suspending stops without counting.
#[tokio::test]
async fn a_suspended_job_runs_when_it_is_resumed() {
    let daemon = Daemon::start().await;
    let client = daemon.client();
    let path = format!("{JOBS}/later");
    let mut job = manifest::job_with("later", "sleep 2", &json!({"suspend": true}));
    job["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] = json!(1);
    submit(&client, &job).await;
    let job = client.wait_job("default", "later", "Suspended").await;
    assert!(job["status"].get("startTime").is_none(), "{job}");
    assert_eq!(client.pods_of("default", "later").await.len(), 0);
    client.merge(&path, &json!({"spec": {"suspend": false}})).await.expect(200);
    client.wait(&path, "active", |job| job["status"]["active"] == 1 && job["status"]["startTime"].is_string()).await;
    client.merge(&path, &json!({"spec": {"suspend": true}})).await.expect(200);
    let job = client.wait(&path, "stopped", |job| job["status"].get("startTime").is_none()).await;
    assert!(job["status"].get("failed").is_none(), "{job}");
    client.merge(&path, &json!({"spec": {"suspend": false}})).await.expect(200);
    let job = client.wait_job("default", "later", "Complete").await;
    assert!(job["status"].get("failed").is_none() && job["status"]["succeeded"] == 1, "{job}");
    let reasons = reasons(&client, "later").await;
    assert!(
        ["Suspended", "Resumed", "Completed"].iter().all(|reason| reasons.iter().any(|r| r == reason)),
        "{reasons:?}"
    );
}

/// J-1901, J-1902: the job and its pods go when their time has come.
#[tokio::test]
async fn a_finished_job_goes_after_its_time_to_live() {
    let daemon = Daemon::start().await;
    let client = daemon.client();
    submit(&client, &manifest::job_with("short", "true", &json!({"ttlSecondsAfterFinished": 2}))).await;
    let job = client.wait_job("default", "short", "Complete").await;
    let done: jiff::Timestamp = job["status"]["completionTime"].as_str().unwrap().parse().unwrap();
    client.wait_gone(&format!("{JOBS}/short")).await;
    let lived = jiff::Timestamp::now().duration_since(done);
    assert!(lived >= jiff::SignedDuration::from_secs(2), "went after {lived:?}");
    assert!(lived <= jiff::SignedDuration::from_secs(8), "went only after {lived:?}");
    eventually("its pods to be gone", async || {
        let pods = client.pods_of("default", "short").await;
        if pods.is_empty() { Ok(()) } else { Err(format!("{pods:?}")) }
    })
    .await;
}

/// J-2001, J-2005, J-107, W-98: without a policy pods are kept, lose their owner, and the client is warned.
#[tokio::test]
async fn deleting_a_job_orphans_its_pods_unless_told_otherwise() {
    let daemon = Daemon::start().await;
    let client = daemon.client();
    submit(&client, &manifest::job("parent", "true")).await;
    client.wait_job("default", "parent", "Complete").await;
    let answer = client.delete(&format!("{JOBS}/parent"), &Value::Null).await;
    assert_eq!(answer.status, 200);
    assert!(answer.warnings()[0].starts_with("child pods are preserved by default"), "{:?}", answer.warnings());
    client.wait_gone(&format!("{JOBS}/parent")).await;
    let pods = client.pods_of("default", "parent").await;
    assert_eq!(pods.len(), 1);
    assert!(pods[0]["metadata"].get("ownerReferences").is_none(), "{}", pods[0]);
}

/// J-2004, W-100, J-2550: foreground deletion of a running job waits for its pod, which gets SIGTERM.
#[tokio::test]
async fn foreground_deletion_stops_the_pod_first() {
    let daemon = Daemon::start().await;
    let client = daemon.client();
    let mark = daemon.data_dir().with_file_name("mark");
    std::fs::create_dir_all(&mark).unwrap();
    let mut job =
        manifest::job("busy", "trap 'echo bye > /mark/term; exit 0' TERM; echo up > /mark/up; sleep 300 & wait");
    let spec = &mut job["spec"]["template"]["spec"];
    spec["containers"][0]["volumeMounts"] = json!([{"name": "mark", "mountPath": "/mark"}]);
    spec["volumes"] = json!([{"name": "mark", "hostPath": {"path": mark}}]);
    submit(&client, &job).await;
    eventually("the program to run", async || mark.join("up").exists().then_some(()).ok_or_else(String::new)).await;
    let path = format!("{JOBS}/busy");
    let answer = client.delete(&path, &json!({"propagationPolicy": "Foreground"})).await.expect(200);
    assert_eq!(answer["metadata"]["finalizers"], json!(["foregroundDeletion"]), "{answer}");
    client.wait_gone(&path).await;
    assert_eq!(client.pods_of("default", "busy").await.len(), 0);
    assert_eq!(std::fs::read_to_string(mark.join("term")).unwrap(), "bye\n");
    let instance = daemon.instance();
    eventually("the container to be removed", async || {
        let left = engine::containers(&instance);
        if left.is_empty() { Ok(()) } else { Err(format!("{left:?}")) }
    })
    .await;
}

/// J-705, J-707, J-708, J-1005: each index runs once and knows itself.
#[tokio::test]
async fn an_indexed_job_runs_every_index_once() {
    let daemon = Daemon::start().await;
    let client = daemon.client();
    let spec = json!({"completions": 4, "parallelism": 4, "completionMode": "Indexed"});
    submit(&client, &manifest::job_with("indexed", "echo $JOB_COMPLETION_INDEX $(hostname)", &spec)).await;
    let job = client.wait_job("default", "indexed", "Complete").await;
    assert_eq!((&job["status"]["succeeded"], &job["status"]["completedIndexes"]), (&json!(4), &json!("0-3")));
    let mut logs = Vec::new();
    for pod in client.pods_of("default", "indexed").await {
        assert!(name(&pod).starts_with(&format!(
            "indexed-{}-",
            pod["metadata"]["annotations"]["batch.kubernetes.io/job-completion-index"].as_str().unwrap()
        )));
        logs.push(client.get(&format!("{PODS}/{}/log", name(&pod))).await.text());
    }
    logs.sort();
    assert_eq!(logs, (0..4).map(|index| format!("{index} indexed-{index}\n")).collect::<Vec<_>>());
}

/// J-832, J-1105, T-6.
#[tokio::test]
async fn a_failure_policy_can_fail_the_job_by_exit_code() {
    let daemon = Daemon::start().await;
    let client = daemon.client();
    let policy = json!({"podFailurePolicy": {"rules": [
        {"action": "FailJob", "onExitCodes": {"containerName": "main", "operator": "In", "values": [42]}},
    ]}});
    submit(&client, &manifest::job_with("fatal", "exit 42", &policy)).await;
    let job = client.wait_job("default", "fatal", "Failed").await;
    let conditions = job["status"]["conditions"].as_array().unwrap();
    let failed = conditions.iter().find(|c| c["type"] == "Failed").unwrap();
    assert_eq!(failed["reason"], "PodFailurePolicy");
    let pods = client.pods_of("default", "fatal").await;
    let message = format!(
        "Container main for pod default/{} failed with exit code 42 matching FailJob rule at index 0",
        name(&pods[0])
    );
    assert_eq!(failed["message"], message);
}

/// J-2512, D-701, D-703: a command that is not there is the user's failure, with the runtime's words.
#[tokio::test]
async fn a_command_that_is_not_there_fails_the_pod_with_a_start_error() {
    let daemon = Daemon::start().await;
    let client = daemon.client();
    let mut job = manifest::job_with("nope", "", &json!({"backoffLimit": 0}));
    job["spec"]["template"]["spec"]["containers"][0]["command"] = json!(["/no/such/program"]);
    submit(&client, &job).await;
    client.wait_job("default", "nope", "Failed").await;
    let pods = client.pods_of("default", "nope").await;
    let terminated = &pods[0]["status"]["containerStatuses"][0]["state"]["terminated"];
    assert_eq!((&terminated["reason"], &terminated["exitCode"]), (&json!("StartError"), &json!(128)), "{}", pods[0]);
    assert!(terminated["message"].as_str().unwrap().contains("no such file or directory"), "{terminated}");
}

/// J-2511, J-2575, J-2577: trouble with an image is no failure of the pod; it waits and says why.
#[tokio::test]
async fn a_missing_image_keeps_the_pod_waiting_with_the_reason() {
    let daemon = Daemon::start().await;
    let client = daemon.client();
    let mut pod = manifest::pod("absent", "true");
    pod["spec"]["containers"][0]["image"] = json!("jobd.test/absent:1");
    pod["spec"]["containers"][0]["imagePullPolicy"] = json!("Never");
    client.post(PODS, &pod).await.expect(201);
    let path = format!("{PODS}/absent");
    let pod = client
        .wait(&path, "waiting", |pod| {
            pod["status"]["containerStatuses"][0]["state"]["waiting"]["reason"] == "ErrImageNeverPull"
        })
        .await;
    assert_eq!(pod["status"]["phase"], "Pending");
    let log = client.get(&format!("{path}/log")).await;
    assert_eq!(log.status, 400, "{}", log.text());
    client.delete(&path, &json!({"gracePeriodSeconds": 0})).await.expect(200);
    client.wait_gone(&path).await;
}

/// The volumes and variables of issue text: config map and secret as files and variables, field references, expansion.
#[tokio::test]
async fn config_maps_and_secrets_reach_the_program_as_files_and_variables() {
    let daemon = Daemon::start().await;
    let client = daemon.client();
    let map = json!({"metadata": {"name": "settings"}, "data": {"title": "Report", "file.txt": "line\n"}});
    client.post("/api/v1/namespaces/default/configmaps", &map).await.expect(201);
    let secret = json!({"metadata": {"name": "password"}, "stringData": {"word": "sesame"}});
    client.post("/api/v1/namespaces/default/secrets", &secret).await.expect(201);
    let script = "cat /etc/settings/file.txt /etc/password/word; echo; echo $TITLE $WORD $POD $GREETING $S_title";
    let mut job = manifest::job("config", script);
    let spec = &mut job["spec"]["template"]["spec"];
    spec["containers"][0]["env"] = json!([
        {"name": "TITLE", "valueFrom": {"configMapKeyRef": {"name": "settings", "key": "title"}}},
        {"name": "WORD", "valueFrom": {"secretKeyRef": {"name": "password", "key": "word"}}},
        {"name": "POD", "valueFrom": {"fieldRef": {"fieldPath": "metadata.namespace"}}},
        {"name": "GREETING", "value": "hi-$(TITLE)"},
    ]);
    spec["containers"][0]["envFrom"] = json!([{"prefix": "S_", "configMapRef": {"name": "settings"}}]);
    spec["containers"][0]["volumeMounts"] =
        json!([{"name": "settings", "mountPath": "/etc/settings"}, {"name": "password", "mountPath": "/etc/password"}]);
    spec["volumes"] = json!([
        {"name": "settings", "configMap": {"name": "settings"}},
        {"name": "password", "secret": {"secretName": "password"}},
    ]);
    submit(&client, &job).await;
    client.wait_job("default", "config", "Complete").await;
    let pods = client.pods_of("default", "config").await;
    let log = client.get(&format!("{PODS}/{}/log", name(&pods[0]))).await.text();
    assert_eq!(log, "line\nsesame\nReport sesame default hi-Report Report\n");
}

/// J-2515: the last words of a program stand in the pod's status.
#[tokio::test]
async fn the_termination_message_is_kept() {
    let daemon = Daemon::start().await;
    let client = daemon.client();
    client.post(PODS, &manifest::pod("words", "echo -n farewell > /dev/termination-log; exit 4")).await.expect(201);
    let pod = client.wait(&format!("{PODS}/words"), "failed", |pod| pod["status"]["phase"] == "Failed").await;
    let terminated = &pod["status"]["containerStatuses"][0]["state"]["terminated"];
    assert_eq!((&terminated["message"], &terminated["exitCode"]), (&json!("farewell"), &json!(4)), "{pod}");
}

/// J-2560: a pod's own deadline is one pod failure.
#[tokio::test]
async fn a_pods_own_deadline_fails_the_pod() {
    let daemon = Daemon::start().await;
    let client = daemon.client();
    let mut pod = manifest::pod("slow", "sleep 300");
    pod["spec"]["activeDeadlineSeconds"] = json!(1);
    pod["spec"]["terminationGracePeriodSeconds"] = json!(1);
    client.post(PODS, &pod).await.expect(201);
    let pod = client.wait(&format!("{PODS}/slow"), "failed", |pod| pod["status"]["phase"] == "Failed").await;
    assert_eq!(pod["status"]["reason"], "DeadlineExceeded", "{pod}");
}

/// W-152: a follower gets lines as they are written, and the end with the container.
#[tokio::test]
async fn following_a_log_ends_with_the_container() {
    let daemon = Daemon::start().await;
    let client = daemon.client();
    client.post(PODS, &manifest::pod("talk", "for i in 1 2 3 4; do echo line $i; sleep 0.3; done")).await.expect(201);
    client.wait(&format!("{PODS}/talk"), "running", |pod| pod["status"]["phase"] != "Pending").await;
    let log = tokio::time::timeout(Duration::from_secs(60), client.get(&format!("{PODS}/talk/log?follow=true")))
        .await
        .unwrap();
    assert_eq!(log.text(), "line 1\nline 2\nline 3\nline 4\n");
    client.wait(&format!("{PODS}/talk"), "succeeded", |pod| pod["status"]["phase"] == "Succeeded").await;
    let tail = client.get(&format!("{PODS}/talk/log?tailLines=1")).await;
    assert_eq!(tail.text(), "line 4\n");
}

/// J-2571: a pod that the machine cannot hold waits and says so; it starts when there is room.
#[tokio::test]
async fn a_pod_that_does_not_fit_waits_for_room() {
    let daemon = Daemon::start_with(&["--no-listen", "--max-pods", "1"], &[]).await;
    let client = daemon.client();
    let mut first = manifest::pod("first", "sleep 300");
    first["spec"]["terminationGracePeriodSeconds"] = json!(1);
    client.post(PODS, &first).await.expect(201);
    client.wait(&format!("{PODS}/first"), "running", |pod| pod["status"]["phase"] == "Running").await;
    client.post(PODS, &manifest::pod("second", "true")).await.expect(201);
    let waiting = client
        .wait(&format!("{PODS}/second"), "unschedulable", |pod| {
            pod["status"]["conditions"][0]["reason"] == "Unschedulable"
        })
        .await;
    assert_eq!(waiting["status"]["phase"], "Pending");
    assert!(reasons(&client, "second").await.contains(&"FailedScheduling".to_owned()));
    client.delete(&format!("{PODS}/first"), &json!({"gracePeriodSeconds": 0})).await.expect(200);
    client.wait(&format!("{PODS}/second"), "succeeded", |pod| pod["status"]["phase"] == "Succeeded").await;
}
