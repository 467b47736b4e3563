//! The Job cases of Kubernetes' own end-to-end suite ([sig-apps] Job, TTLAfterFinished): the same calls in the same order with
//! the same shapes, bodies in protobuf as its typed client sends them.

use jobd_tests::{Suite, client::has_condition, eventually};
use serde_json::{Value, json};

const REACHED: &str = "CompletionsReached";

fn name(object: &Value) -> &str {
    object["metadata"]["name"].as_str().unwrap_or_default()
}

fn version(object: &Value) -> u64 {
    object["metadata"]["resourceVersion"].as_str().unwrap_or_default().parse().expect("a resource version")
}

fn condition<'a>(object: &'a Value, kind: &str) -> Option<&'a Value> {
    object["status"]["conditions"].as_array()?.iter().find(|one| one["type"] == kind)
}

/// Nothing runs, is ready or terminates any more, and the status says so with numbers.
#[track_caller]
fn check_still(job: &Value) {
    let status = &job["status"];
    assert!(status.get("active").is_none_or(|active| active == 0), "{job}");
    assert_eq!((&status["ready"], &status["terminating"]), (&json!(0), &json!(0)), "{job}");
}

fn indexed(mut job: Value, spec: &Value) -> Value {
    job["spec"]["completionMode"] = json!("Indexed");
    if let (Value::Object(into), Value::Object(from)) = (&mut job["spec"], spec) {
        into.extend(from.clone());
    }
    job
}

/// The old clients' way: whole object, background propagation, then the pods are awaited.
async fn delete_and_wait(suite: &Suite, job: &str) {
    suite.get(&format!("jobs/{job}")).await.expect(200);
    suite.delete(&format!("jobs/{job}"), &json!({"propagationPolicy": "Background"})).await.expect(200);
    suite.wait_no_pods(job).await;
}

/// should run a job to completion when tasks succeed (J-845, W-22).
#[tokio::test]
async fn tasks_succeed() {
    let suite = Suite::start("job").await;
    suite.create("jobs", &suite.job("succeed", "all-succeed", "Never", 2, 4)).await.expect(201);
    suite.wait_complete("all-succeed", REACHED, 4).await;
    let pods = suite.pods_of("all-succeed").await;
    assert_eq!(pods.iter().filter(|pod| pod["status"]["phase"] == "Succeeded").count(), 4, "{pods:?}");
}

/// should allow to use the pod failure policy on exit code to fail the job early (J-832).
#[tokio::test]
async fn failure_policy_fails_the_job_early() {
    let suite = Suite::start("job").await;
    let mut job = suite.job("failOnce", "pod-failure-failjob", "Never", 2, 4);
    suite.on_node(&mut job).await;
    job["spec"]["podFailurePolicy"] =
        json!({"rules": [{"action": "FailJob", "onExitCodes": {"operator": "In", "values": [1]}}]});
    suite.create("jobs", &job).await.expect(201);
    suite.wait_condition("pod-failure-failjob", "Failed", "PodFailurePolicy").await;
}

/// should allow to use a pod failure policy to ignore failure matching on exit code (J-1103, J-1107).
#[tokio::test]
async fn failure_policy_ignores_an_exit_code() {
    let suite = Suite::start("job").await;
    let mut job = indexed(suite.job("failOnce", "fail-pod-ignore", "Never", 3, 3), &json!({"backoffLimit": 2}));
    suite.on_node(&mut job).await;
    job["spec"]["template"]["spec"]["containers"][0]["args"] =
        json!(["f=/data/foo-$JOB_COMPLETION_INDEX; [[ -r $f ]] && exit 0; touch $f; exit 42"]);
    job["spec"]["podFailurePolicy"] =
        json!({"rules": [{"action": "Ignore", "onExitCodes": {"operator": "In", "values": [42]}}]});
    suite.create("jobs", &job).await.expect(201);
    let job = suite.wait_complete("fail-pod-ignore", REACHED, 3).await;
    assert!(job["status"].get("failed").is_none(), "{job}");
}

/// should allow to use a pod failure policy to ignore failure matching on DisruptionTarget condition (J-1104, J-1107, J-2542, W-165).
#[tokio::test]
async fn failure_policy_ignores_evictions() {
    let suite = Suite::start("job").await;
    let mut job = indexed(suite.job("failOnce", "evicted-pod-ignore", "Never", 3, 3), &json!({"backoffLimit": 2}));
    suite.on_node(&mut job).await;
    let spec = &mut job["spec"]["template"]["spec"];
    spec["terminationGracePeriodSeconds"] = json!(1);
    spec["containers"][0]["args"] =
        json!(["f=/data/foo-$JOB_COMPLETION_INDEX; [[ -r $f ]] && exit 0; touch $f; sleep 1000000"]);
    job["spec"]["podFailurePolicy"] =
        json!({"rules": [{"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]}]});
    suite.create("jobs", &job).await.expect(201);
    suite.wait("jobs/evicted-pod-ignore", "ready", |job| job["status"]["ready"] == 3).await;
    let pods = suite.wait_running("evicted-pod-ignore", 3).await;
    for pod in &pods {
        let eviction = json!({"metadata": {"name": name(pod), "namespace": suite.namespace}});
        let answer = suite.create(&format!("pods/{}/eviction", name(pod)), &eviction).await.expect(201);
        assert_eq!((&answer["kind"], &answer["status"]), (&json!("Status"), &json!("Success")));
    }
    for pod in &pods {
        suite.wait_gone(&format!("pods/{}", name(pod))).await;
    }
    let job = suite.wait_complete("evicted-pod-ignore", REACHED, 3).await;
    assert!(job["status"].get("failed").is_none(), "{job}");
}

/// should not create pods when created in suspend state (J-1501, J-1503).
#[tokio::test]
async fn suspended_from_the_start() {
    let suite = Suite::start("job").await;
    let mut job = suite.job("succeed", "suspend-true-to-false", "Never", 2, 4);
    job["spec"]["suspend"] = json!(true);
    suite.create("jobs", &job).await.expect(201);
    suite.wait_condition("suspend-true-to-false", "Suspended", "JobSuspended").await;
    assert_eq!(suite.pods_of("suspend-true-to-false").await.len(), 0);
    let mut job = suite.get("jobs/suspend-true-to-false").await.expect(200);
    job["spec"]["suspend"] = json!(false);
    suite.update("jobs/suspend-true-to-false", &job).await.expect(200);
    suite.wait_complete("suspend-true-to-false", REACHED, 4).await;
}

/// should delete pods when suspended (J-846, J-904).
#[tokio::test]
async fn suspended_while_it_runs() {
    let suite = Suite::start("job").await;
    let mut job = suite.job("notTerminate", "suspend-false-to-true", "Never", 2, 4);
    job["spec"]["suspend"] = json!(false);
    suite.create("jobs", &job).await.expect(201);
    suite.wait_running("suspend-false-to-true", 2).await;
    suite.change("jobs/suspend-false-to-true", |job| job["spec"]["suspend"] = json!(true)).await;
    suite.wait_no_pods("suspend-false-to-true").await;
    let job = suite.get("jobs/suspend-false-to-true").await.expect(200);
    assert!(has_condition(&job, "Suspended"), "{job}");
}

/// should recreate pods only after they have failed if pod replacement policy is set to Failed (J-1301).
#[tokio::test]
async fn replaced_only_when_failed() {
    let suite = Suite::start("job").await;
    let mut job = suite.job("succeed", "pod-recreate-failed", "Never", 1, 1);
    job["spec"]["podReplacementPolicy"] = json!("Failed");
    job["spec"]["backoffLimit"] = json!(1);
    job["spec"]["template"]["spec"]["containers"][0]["command"] = json!([
        "/bin/sh",
        "-c",
        "_term(){\n\tsleep 5\n\texit 143\n}\ntrap _term SIGTERM\nwhile true; do\n\tsleep 1\ndone"
    ]);
    suite.create("jobs", &job).await.expect(201);
    let pods = suite.wait_running("pod-recreate-failed", 1).await;
    suite.delete(&format!("pods/{}", name(&pods[0])), &json!({"gracePeriodSeconds": 30})).await.expect(200);
    let count = |job: &Value, field: &str| job["status"][field].as_i64().unwrap_or(0);
    let counts = move |job: &Value| (count(job, "active"), count(job, "failed"), job["status"]["terminating"].as_i64());
    suite.wait("jobs/pod-recreate-failed", "terminating", |job| counts(job) == (0, 0, Some(1))).await;
    suite.wait("jobs/pod-recreate-failed", "replaced", |job| counts(job) == (1, 1, Some(0))).await;
}

/// should create pods for an Indexed job with completion indexes and specified hostname; and with the label (J-706, J-707).
#[tokio::test]
async fn indexes_host_names_and_labels() {
    let suite = Suite::start("job").await;
    suite.create("jobs", &indexed(suite.job("succeed", "indexed-job", "Never", 2, 4), &json!({}))).await.expect(201);
    suite.wait_complete("indexed-job", REACHED, 4).await;
    let mut seen = Vec::new();
    for pod in suite.pods_of("indexed-job").await {
        let index = pod["metadata"]["annotations"]["batch.kubernetes.io/job-completion-index"].clone();
        assert_eq!(pod["metadata"]["labels"]["batch.kubernetes.io/job-completion-index"], index);
        assert_eq!(pod["spec"]["hostname"], format!("indexed-job-{}", index.as_str().unwrap()));
        seen.push(index.as_str().unwrap().to_owned());
    }
    seen.sort();
    assert_eq!(seen, ["0", "1", "2", "3"]);
}

/// with successPolicy should succeeded when all indexes succeeded (J-1204).
#[tokio::test]
async fn success_policy_all_indexes() {
    let suite = Suite::start("job").await;
    let policy = json!({"successPolicy": {"rules": [{"succeededCount": 2}]}});
    suite.create("jobs", &indexed(suite.job("succeed", "all-indexes", "Never", 2, 2), &policy)).await.expect(201);
    suite.wait_condition("all-indexes", "SuccessCriteriaMet", "SuccessPolicy").await;
    let job = suite.wait_complete("all-indexes", "SuccessPolicy", 2).await;
    check_still(&job);
    assert!(job["status"].get("failed").is_none(), "{job}");
}

/// with successPolicy succeededIndexes and succeededCount rules should succeeded even when some indexes remain pending (J-1202).
#[tokio::test]
async fn success_policy_with_indexes_pending() {
    let suite = Suite::start("job").await;
    for (job, rule, limit) in [
        ("succeeded-indexed", json!({"succeededIndexes": "0"}), 6),
        ("succeeded-count", json!({"succeededCount": 1}), i32::MAX),
    ] {
        let spec = json!({"successPolicy": {"rules": [rule]}, "backoffLimit": limit});
        suite.create("jobs", &indexed(suite.job("failOddSucceedEven", job, "Never", 2, 5), &spec)).await.expect(201);
        suite.wait_condition(job, "SuccessCriteriaMet", "SuccessPolicy").await;
        let job = suite.wait_complete(job, "SuccessPolicy", 1).await;
        assert_eq!(job["status"]["completedIndexes"], "0", "{job}");
        check_still(&job);
    }
}

/// should execute all indexes despite some failing when using backoffLimitPerIndex (J-836, J-1302, J-1308).
#[tokio::test]
async fn all_indexes_run_despite_failures() {
    let suite = Suite::start("job").await;
    let mut job = indexed(
        suite.job("failOddSucceedEven", "with-backoff-limit-per-index", "Never", 2, 4),
        &json!({"backoffLimitPerIndex": 1}),
    );
    job["spec"].as_object_mut().unwrap().remove("backoffLimit");
    suite.create("jobs", &job).await.expect(201);
    let job = suite.wait_condition("with-backoff-limit-per-index", "Failed", "FailedIndexes").await;
    let status = &job["status"];
    assert_eq!((&status["failedIndexes"], &status["completedIndexes"]), (&json!("1,3"), &json!("0,2")), "{job}");
    assert_eq!((&status["failed"], &status["succeeded"]), (&json!(4), &json!(2)), "{job}");
}

/// should terminate job execution when the number of failed indexes exceeds maxFailedIndexes (J-835).
#[tokio::test]
async fn too_many_failed_indexes() {
    let suite = Suite::start("job").await;
    let mut job = indexed(
        suite.job("fail", "with-max-failed-indexes", "Never", 1, 4),
        &json!({"backoffLimitPerIndex": 0, "maxFailedIndexes": 0}),
    );
    job["spec"].as_object_mut().unwrap().remove("backoffLimit");
    suite.create("jobs", &job).await.expect(201);
    let job = suite.wait_condition("with-max-failed-indexes", "Failed", "MaxFailedIndexesExceeded").await;
    assert_eq!((&job["status"]["failedIndexes"], &job["status"]["failed"]), (&json!("0"), &json!(1)), "{job}");
}

/// should record the failure-count in the Pod annotation when using backoffLimitPerIndex (J-709, J-1301).
#[tokio::test]
async fn failure_counts_on_pods() {
    let suite = Suite::start("job").await;
    let mut watch = suite.watch("pods", "labelSelector=batch.kubernetes.io%2Fjob-name%3De2e-per-index").await;
    let mut job = indexed(suite.job("fail", "e2e-per-index", "Never", 2, 2), &json!({"backoffLimitPerIndex": 1}));
    job["spec"].as_object_mut().unwrap().remove("backoffLimit");
    suite.create("jobs", &job).await.expect(201);
    let mut seen = Vec::new();
    while seen.len() < 4 {
        let (kind, pod) = watch.next().await.expect("an event");
        let annotations = &pod["metadata"]["annotations"];
        if kind == "ADDED" {
            let key = |name: &str| annotations[format!("batch.kubernetes.io/{name}")].as_str().unwrap().to_owned();
            seen.push((key("job-completion-index"), key("job-index-failure-count")));
        }
    }
    seen.sort();
    let want = [("0", "0"), ("0", "1"), ("1", "0"), ("1", "1")].map(|(a, b)| (a.to_owned(), b.to_owned()));
    assert_eq!(seen, want);
    let job = suite.wait_condition("e2e-per-index", "Failed", "FailedIndexes").await;
    assert_eq!((&job["status"]["failedIndexes"], &job["status"]["failed"]), (&json!("0,1"), &json!(4)), "{job}");
    assert!(job["status"].get("completedIndexes").is_none_or(|indexes| indexes == ""), "{job}");
    assert!(job["status"].get("succeeded").is_none(), "{job}");
}

/// should mark indexes as failed when the FailIndex action is matched in podFailurePolicy (J-1107, J-1302).
#[tokio::test]
async fn fail_index_action() {
    let suite = Suite::start("job").await;
    let mut job = indexed(
        suite.job("failOddSucceedEven", "matching-fail-index-action", "Never", 2, 2),
        &json!({"backoffLimitPerIndex": 1, "podFailurePolicy":
            {"rules": [{"action": "FailIndex", "onExitCodes": {"operator": "In", "values": [1]}}]}}),
    );
    job["spec"].as_object_mut().unwrap().remove("backoffLimit");
    suite.create("jobs", &job).await.expect(201);
    let job = suite.wait_condition("matching-fail-index-action", "Failed", "FailedIndexes").await;
    let status = &job["status"];
    assert_eq!((&status["failedIndexes"], &status["completedIndexes"]), (&json!("1"), &json!("0")), "{job}");
    assert_eq!((&status["failed"], &status["succeeded"]), (&json!(1), &json!(1)), "{job}");
}

/// should remove pods when job is deleted; should delete a job (J-2003).
#[tokio::test]
async fn deleted_with_its_pods() {
    let suite = Suite::start("job").await;
    suite.create("jobs", &suite.job("notTerminate", "all-pods-removed", "Never", 2, 4)).await.expect(201);
    suite.wait_running("all-pods-removed", 2).await;
    delete_and_wait(&suite, "all-pods-removed").await;
    let gone = suite.get("jobs/all-pods-removed").await.expect(404);
    assert_eq!(gone["reason"], "NotFound");
}

/// should run a job to completion when tasks sometimes fail and are locally restarted (J-2501).
#[tokio::test]
async fn locally_restarted() {
    let suite = Suite::start("job").await;
    suite.create("jobs", &suite.job("failOnce", "fail-once-local", "OnFailure", 2, 4)).await.expect(201);
    suite.wait_complete("fail-once-local", REACHED, 4).await;
}

/// should run a job to completion when tasks sometimes fail and are not locally restarted (J-883).
#[tokio::test]
async fn not_locally_restarted() {
    let suite = Suite::start("job").await;
    let mut job = suite.job("failOnce", "fail-once-non-local", "Never", 2, 4);
    suite.on_node(&mut job).await;
    suite.create("jobs", &job).await.expect(201);
    suite.wait_condition("fail-once-non-local", "SuccessCriteriaMet", REACHED).await;
    check_still(&suite.wait_complete("fail-once-non-local", REACHED, 4).await);
}

/// should fail when exceeds active deadline (J-834).
#[tokio::test]
async fn active_deadline() {
    let suite = Suite::start("job").await;
    let mut job = suite.job("notTerminate", "exceed-active-deadline", "Never", 2, 4);
    job["spec"]["activeDeadlineSeconds"] = json!(1);
    suite.create("jobs", &job).await.expect(201);
    suite.wait_condition("exceed-active-deadline", "FailureTarget", "DeadlineExceeded").await;
    check_still(&suite.wait_condition("exceed-active-deadline", "Failed", "DeadlineExceeded").await);
}

/// should adopt matching orphans and release non-matching pods (J-2101, J-2102).
#[tokio::test]
async fn adopts_and_releases() {
    let suite = Suite::start("job").await;
    let made = suite.create("jobs", &suite.job("notTerminate", "adopt-release", "Never", 2, 4)).await.expect(201);
    let pods = suite.wait_running("adopt-release", 2).await;
    let path = format!("pods/{}", name(&pods[0]));
    suite
        .change(&path, |pod| {
            pod["metadata"].as_object_mut().unwrap().remove("ownerReferences");
        })
        .await;
    suite
        .wait(&path, "adopted", |pod| {
            let owner = &pod["metadata"]["ownerReferences"][0];
            owner["controller"] == true && owner["kind"] == "Job" && owner["uid"] == made["metadata"]["uid"]
        })
        .await;
    suite
        .change(&path, |pod| {
            pod["metadata"].as_object_mut().unwrap().remove("labels");
        })
        .await;
    suite.wait(&path, "released", |pod| pod["metadata"].get("ownerReferences").is_none()).await;
}

/// should fail to exceed backoffLimit (J-833).
#[tokio::test]
async fn backoff_limit() {
    let suite = Suite::start("job").await;
    let mut job = suite.job("fail", "backofflimit", "Never", 1, 1);
    job["spec"]["backoffLimit"] = json!(1);
    suite.create("jobs", &job).await.expect(201);
    suite.wait_condition("backofflimit", "FailureTarget", "BackoffLimitExceeded").await;
    let job = suite.wait_condition("backofflimit", "Failed", "BackoffLimitExceeded").await;
    let pods = suite.pods_of("backofflimit").await;
    assert_eq!(pods.len(), 2);
    assert!(pods.iter().all(|pod| pod["status"]["phase"] == "Failed"), "{pods:?}");
    check_still(&job);
}

/// should run a job to completion with CPU requests: as many pods as the node's processors hold run at a time.
#[tokio::test]
async fn cpu_requests() {
    let suite = Suite::start("job").await;
    let node = suite.ready_node().await;
    let node = suite.client.get(&format!("/api/v1/nodes/{node}")).await.expect(200);
    assert!(node["status"]["allocatable"]["cpu"].is_string(), "{node}");
    let mut job = suite.job("succeed", "all-succeed", "Never", 12, 12);
    job["spec"]["backoffLimit"] = json!(0);
    let spec = &mut job["spec"]["template"]["spec"];
    spec["nodeSelector"] = json!({"kubernetes.io/hostname": node["metadata"]["name"]});
    // The suite cuts a fifth of the processors to whole ones, which is none on small machines; more is more interesting.
    spec["containers"][0]["resources"] = json!({"requests": {"cpu": "700m"}});
    suite.create("jobs", &job).await.expect(201);
    suite.wait_complete("all-succeed", REACHED, 12).await;
    let pods = suite.pods_of("all-succeed").await;
    assert_eq!(pods.iter().filter(|pod| pod["status"]["phase"] == "Succeeded").count(), 12);
}

/// should apply changes to a job status (W-84…W-90, J-601).
#[tokio::test]
async fn status_is_patched_replaced_and_read() {
    let suite = Suite::start("job").await;
    let made = suite.create("jobs", &suite.job("notTerminate", "status", "Never", 2, 4)).await.expect(201);
    suite.wait_running("status", 2).await;
    let now = jiff::Timestamp::from_second(jiff::Timestamp::now().as_second()).unwrap();
    // The zero values are what the typed client's own JSON carries.
    let patch = json!({"metadata": {"annotations": {"patchedstatus": "true"}}, "status": {"conditions": [
        {"type": "CustomConditionType", "status": "True", "lastProbeTime": null, "lastTransitionTime": now.to_string()}]}});
    let patched = suite.merge("jobs/status/status", &patch).await.expect(200);
    assert_eq!(condition(&patched, "CustomConditionType").unwrap()["lastTransitionTime"], now.to_string());
    assert_eq!(patched["metadata"]["annotations"]["patchedstatus"], "true", "{patched}");

    let later = now + jiff::SignedDuration::from_secs(1);
    let updated = eventually("the status to be replaced", async || {
        let mut job = suite.get("jobs/status").await.expect(200);
        let conditions = job["status"]["conditions"].as_array_mut().expect("conditions");
        let custom =
            conditions.iter_mut().find(|one| one["type"] == "CustomConditionType").expect("the condition stays");
        custom["lastTransitionTime"] = json!(later.to_string());
        let answer = suite.update("jobs/status/status", &job).await;
        if answer.status == 409 { Err(answer.text()) } else { Ok(answer.expect(200)) }
    })
    .await;
    assert_eq!(condition(&updated, "CustomConditionType").unwrap()["lastTransitionTime"], later.to_string());
    let read = suite.get("jobs/status/status").await.expect(200);
    assert_eq!((&read["kind"], &read["metadata"]["uid"]), (&json!("Job"), &made["metadata"]["uid"]));
}

/// should manage the lifecycle of a job (W-110…W-130, W-104).
#[tokio::test]
async fn lifecycle_and_its_watch_events() {
    let suite = Suite::start("job").await;
    let selector = "labelSelector=e2e-job-label%3De2e-abcde";
    let list = suite.get(&format!("jobs?{selector}")).await.expect(200);
    let mut job = suite.job("succeed", "e2e-abcde", "Never", 2, 4);
    job["metadata"]["labels"] = json!({"e2e-job-label": "e2e-abcde"});
    job["spec"]["suspend"] = json!(true);
    let made = suite.create("jobs", &job).await.expect(201);
    let patched = suite.strategic("jobs/e2e-abcde", &json!({"metadata": {"labels": {"e2e-abcde": "patched"}}})).await;
    let patched = patched.expect(200);
    assert!(version(&patched) > version(&made));
    let mut watch = suite
        .watch(
            "jobs",
            &format!(
                "{selector}&allowWatchBookmarks=true&resourceVersion={}",
                list["metadata"]["resourceVersion"].as_str().unwrap()
            ),
        )
        .await;
    let (kind, first) = watch.next().await.unwrap();
    assert_eq!((kind.as_str(), &first["metadata"]["uid"]), ("ADDED", &made["metadata"]["uid"]));
    watch
        .until("the patch", |kind, job| kind == "MODIFIED" && job["metadata"]["labels"]["e2e-abcde"] == "patched")
        .await;
    let updated = suite
        .change("jobs/e2e-abcde", |job| {
            job["spec"]["suspend"] = json!(false);
            job["metadata"]["annotations"]["updated"] = json!("true");
        })
        .await;
    assert_eq!(updated["metadata"]["annotations"]["updated"], "true");
    watch
        .until("the update", |kind, job| kind == "MODIFIED" && job["metadata"]["annotations"]["updated"] == "true")
        .await;
    let everywhere = suite.client.get(&format!("/apis/batch/v1/jobs?{selector}")).await.expect(200);
    assert_eq!(everywhere["items"].as_array().map(Vec::len), Some(1));
    suite.wait_complete("e2e-abcde", REACHED, 4).await;
    suite.delete(&format!("jobs?{selector}"), &json!({"propagationPolicy": "Background"})).await.expect(200);
    let mut watch = suite.watch("jobs", &format!("{selector}&resourceVersion={}", version(&updated))).await;
    let (_, deleted) = watch.until("the deletion", |kind, _| kind == "DELETED").await;
    assert_eq!(deleted["metadata"]["labels"]["e2e-job-label"], "e2e-abcde");
    let left = suite.client.get(&format!("/apis/batch/v1/jobs?{selector}")).await.expect(200);
    assert_eq!(left["items"], json!([]));
}

/// should update the status ready field (J-1002).
#[tokio::test]
async fn ready_is_counted() {
    let suite = Suite::start("job").await;
    let mut job = suite.job("notTerminate", "all-ready", "Never", 2, 4);
    job["spec"]["suspend"] = json!(true);
    suite.create("jobs", &job).await.expect(201);
    for (suspend, ready) in [(None, 0), (Some(false), 2), (Some(true), 0)] {
        if let Some(suspend) = suspend {
            suite.change("jobs/all-ready", |job| job["spec"]["suspend"] = json!(suspend)).await;
        }
        suite.wait("jobs/all-ready", "ready", |job| job["status"]["ready"] == ready).await;
    }
}

/// should allow to delegate reconciliation to external controller (J-1801).
#[tokio::test]
async fn another_controller_manages_it() {
    let suite = Suite::start("job").await;
    let mut job = suite.job("succeed", "managed-by", "Never", 2, 4);
    job["spec"]["managedBy"] = json!("example.com/custom-job-controller");
    suite.create("jobs", &job).await.expect(201);
    // Another job's whole life passes before the status is looked at.
    suite.create("jobs", &suite.job("succeed", "other", "Never", 1, 1)).await.expect(201);
    suite.wait_complete("other", REACHED, 1).await;
    let job = suite.get("jobs/managed-by").await.expect(200);
    assert!(job["status"] == json!({}) || job.get("status").is_none(), "{job}");
    assert_eq!(suite.pods_of("managed-by").await.len(), 0);
}

/// TTLAfterFinished: job should be deleted once it finishes after TTL seconds; a finalizer keeps it visible (J-1901).
#[tokio::test]
async fn deleted_after_its_time_to_live() {
    let suite = Suite::start("ttlafterfinished").await;
    let mut job = suite.job("succeed", "rand-non-local", "Never", 2, 2);
    job["spec"]["ttlSecondsAfterFinished"] = json!(1);
    job["metadata"]["finalizers"] = json!(["example.com/dummy"]);
    suite.create("jobs", &job).await.expect(201);
    let done = suite.wait_complete("rand-non-local", REACHED, 2).await;
    let deleted = suite
        .wait("jobs/rand-non-local", "being deleted", |job| job["metadata"]["deletionTimestamp"].is_string())
        .await;
    let time = |value: &Value| value.as_str().unwrap().parse::<jiff::Timestamp>().unwrap();
    let finish = time(&condition(&done, "Complete").unwrap()["lastTransitionTime"]);
    let lived = time(&deleted["metadata"]["deletionTimestamp"]).duration_since(finish);
    assert!(lived >= jiff::SignedDuration::from_secs(1), "{lived:?}");
    suite
        .change("jobs/rand-non-local", |job| {
            job["metadata"].as_object_mut().unwrap().remove("finalizers");
        })
        .await;
    suite.wait_gone("jobs/rand-non-local").await;
}
