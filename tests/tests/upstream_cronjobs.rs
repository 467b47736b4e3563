//! The CronJob cases of Kubernetes' own end-to-end suite ([sig-apps] CronJob): the same calls in the same order with the same shapes,
//! bodies in protobuf as its typed client sends them.
//!
//! Most cases wait for one or two whole minutes, so they run side by side: as on a cluster, on one daemon with a namespace each. Where the
//! suite waits five minutes to see that nothing happens, the case waits for a sign that the time for it has passed.

use std::sync::Arc;

use futures_util::{FutureExt as _, future::LocalBoxFuture};
use jobd_tests::{Suite, Watch, client::has_condition, eventually, upstream::BUSYBOX};
use serde_json::{Value, json};

const EVERY_MINUTE: &str = "*/1 * * * ?";
/// As the program of a container it does not end on SIGTERM: stopping it takes its grace period.
const SLEEP: &[&str] = &["sleep", "300"];
const SUCCEED: &[&str] = &["/bin/true"];
const FAIL: &[&str] = &["/bin/false"];

/// A cron job of the suite.
fn cron_job(name: &str, policy: &str, command: &[&str], spec: &Value) -> Value {
    let mut container = json!({
        "name": "c", "image": BUSYBOX, "volumeMounts": [{"mountPath": "/data", "name": "data"}],
    });
    if !command.is_empty() {
        container["command"] = json!(command);
    }
    let mut cron_job = json!({
        "kind": "CronJob", "metadata": {"name": name},
        "spec": {
            "schedule": EVERY_MINUTE, "concurrencyPolicy": policy,
            "jobTemplate": {"spec": {
                "parallelism": 1, "completions": 1, "backoffLimit": 1,
                "template": {"spec": {
                    "restartPolicy": "OnFailure", "containers": [container],
                    "volumes": [{"name": "data", "emptyDir": {}}],
                }},
            }},
        },
    });
    if let (Value::Object(into), Value::Object(from)) = (&mut cron_job["spec"], spec) {
        into.extend(from.clone());
    }
    cron_job
}

fn name(object: &Value) -> &str {
    object["metadata"]["name"].as_str().unwrap_or_default()
}

fn active(cron_job: &Value) -> usize {
    cron_job["status"]["active"].as_array().map_or(0, Vec::len)
}

fn is_finished(job: &Value) -> bool {
    has_condition(job, "Complete") || has_condition(job, "Failed")
}

async fn jobs(suite: &Suite) -> Vec<Value> {
    suite.get("jobs").await.expect(200)["items"].as_array().cloned().unwrap_or_default()
}

/// The jobs that are not finished, and those that are.
async fn sorted_jobs(suite: &Suite) -> (Vec<Value>, Vec<Value>) {
    jobs(suite).await.into_iter().partition(|job| !is_finished(job))
}

/// Waits until the status lists so many jobs, a minute for each.
async fn wait_active(suite: &Suite, cron_job: &str, count: usize) -> Value {
    let path = format!("cronjobs/{cron_job}");
    let mut seen = Value::Null;
    for count in 1..=count {
        seen = suite.wait(&path, "running jobs", |one| active(one) >= count).await;
    }
    seen
}

async fn wait_any_finished(suite: &Suite) {
    eventually("a job to finish", async || {
        let (running, finished) = sorted_jobs(suite).await;
        if finished.is_empty() { Err(format!("{running:?}")) } else { Ok(()) }
    })
    .await;
}

/// The events of a cron job, found as the suite's client does: by reference.
async fn events(suite: &Suite, cron_job: &str) -> Vec<Value> {
    let made = suite.get(&format!("cronjobs/{cron_job}")).await.expect(200);
    let selector = format!(
        "involvedObject.name={cron_job},involvedObject.namespace={},involvedObject.kind=CronJob,involvedObject.uid={}",
        suite.namespace,
        made["metadata"]["uid"].as_str().unwrap_or_default()
    );
    let selector = selector.replace('=', "%3D").replace(',', "%2C");
    let list = suite.get(&format!("events?fieldSelector={selector}")).await.expect(200);
    list["items"].as_array().cloned().unwrap_or_default()
}

async fn wait_event(suite: &Suite, cron_job: &str, reason: &str) {
    eventually(reason, async || {
        let events = events(suite, cron_job).await;
        if events.iter().any(|event| event["reason"] == reason) { Ok(()) } else { Err(format!("{events:?}")) }
    })
    .await;
}

/// Removes a cron job with what belongs to it.
async fn remove(suite: &Suite, cron_job: &str) {
    let options = json!({"propagationPolicy": "Background"});
    suite.delete(&format!("cronjobs/{cron_job}"), &options).await.expect(200);
    suite.wait_gone(&format!("cronjobs/{cron_job}")).await;
}

/// should schedule multiple jobs concurrently (C-802).
async fn schedules_jobs_concurrently(suite: Suite) {
    suite.create("cronjobs", &cron_job("concurrent", "Allow", SLEEP, &json!({}))).await.expect(201);
    wait_active(&suite, "concurrent", 2).await;
    let (running, finished) = sorted_jobs(&suite).await;
    assert!(running.len() >= 2, "{running:?} {finished:?}");
    remove(&suite, "concurrent").await;
}

/// should not schedule jobs when suspended (C-1201). The sign: another one's job of the same minute.
async fn suspended_schedules_nothing(suite: Suite) {
    suite.create("cronjobs", &cron_job("suspended", "Allow", SLEEP, &json!({"suspend": true}))).await.expect(201);
    suite.create("cronjobs", &cron_job("sign", "Allow", SUCCEED, &json!({}))).await.expect(201);
    wait_any_finished(&suite).await;
    let cron_job = suite.get("cronjobs/suspended").await.expect(200);
    assert_eq!(active(&cron_job), 0, "{cron_job}");
    let jobs = jobs(&suite).await;
    assert!(jobs.iter().all(|job| name(job).starts_with("sign-")), "{jobs:?}");
    remove(&suite, "suspended").await;
}

/// should not schedule new jobs when ForbidConcurrent (C-803). The sign: the event that says so.
async fn forbid_schedules_one(suite: Suite) {
    suite.create("cronjobs", &cron_job("forbid", "Forbid", SLEEP, &json!({}))).await.expect(201);
    let cron_job = wait_active(&suite, "forbid", 1).await;
    assert_eq!(active(&cron_job), 1, "{cron_job}");
    let (running, _) = sorted_jobs(&suite).await;
    assert_eq!(running.len(), 1, "{running:?}");
    wait_event(&suite, "forbid", "JobAlreadyActive").await;
    let after = jobs(&suite).await;
    assert_eq!(after.iter().map(name).collect::<Vec<_>>(), [name(&running[0])]);
    assert_eq!(active(&suite.get("cronjobs/forbid").await.expect(200)), 1);
    remove(&suite, "forbid").await;
}

/// should be able to schedule after more than 100 missed schedule (C-705, C-209: what a client says of the past is not taken).
async fn schedules_after_many_missed_times(suite: Suite) {
    let created = jiff::Timestamp::now() - jiff::SignedDuration::from_hours(99 * 24);
    let last = created - jiff::SignedDuration::from_hours(24);
    let mut body = cron_job("concurrent", "Forbid", SLEEP, &json!({}));
    let whole = |time: jiff::Timestamp| jiff::Timestamp::from_second(time.as_second()).unwrap().to_string();
    body["metadata"]["creationTimestamp"] = json!(whole(created));
    body["status"] = json!({"lastScheduleTime": whole(last)});
    suite.create("cronjobs", &body).await.expect(201);
    wait_active(&suite, "concurrent", 1).await;
    let (running, _) = sorted_jobs(&suite).await;
    assert!(!running.is_empty());
    remove(&suite, "concurrent").await;
}

/// should replace jobs when ReplaceConcurrent (C-804).
async fn replace_schedules_one_after_the_other(suite: Suite) {
    suite.create("cronjobs", &cron_job("replace", "Replace", SLEEP, &json!({}))).await.expect(201);
    let cron_job = wait_active(&suite, "replace", 1).await;
    assert_eq!(active(&cron_job), 1, "{cron_job}");
    let (running, _) = sorted_jobs(&suite).await;
    assert_eq!(running.len(), 1, "{running:?}");
    let before = name(&running[0]).to_owned();
    eventually("the job to be replaced", async || {
        let mut alive = jobs(&suite).await;
        alive.retain(|job| job["metadata"].get("deletionTimestamp").is_none());
        assert!(alive.len() <= 1, "more than one job is running: {alive:?}");
        if alive.first().is_some_and(|job| name(job) != before) { Ok(()) } else { Err(format!("{alive:?}")) }
    })
    .await;
    remove(&suite, "replace").await;
}

/// should not emit unexpected warnings (C-1403, C-1409). No warning at all comes of a cron job with nothing wrong.
async fn emits_no_unexpected_warnings(suite: Suite) {
    suite.create("cronjobs", &cron_job("concurrent", "Allow", &[], &json!({}))).await.expect(201);
    wait_any_finished(&suite).await;
    eventually("a second job", async || {
        let jobs = jobs(&suite).await;
        if jobs.len() >= 2 { Ok(()) } else { Err(format!("{jobs:?}")) }
    })
    .await;
    eventually("the second job's end", async || {
        let events = events(&suite, "concurrent").await;
        let of = |reason: &str| events.iter().filter(|event| event["reason"] == reason).count();
        assert!(events.iter().all(|event| event["type"] == "Normal"), "{events:?}");
        assert_eq!(of("MissingJob") + of("UnexpectedJob"), 0, "{events:?}");
        if of("SawCompletedJob") >= 2 { Ok(()) } else { Err(format!("{events:?}")) }
    })
    .await;
    remove(&suite, "concurrent").await;
}

/// should remove from active list jobs that have been deleted (C-604 step 3, C-1403).
async fn forgets_deleted_jobs(suite: Suite) {
    suite.create("cronjobs", &cron_job("forbid", "Forbid", SLEEP, &json!({}))).await.expect(201);
    let cron_job = wait_active(&suite, "forbid", 1).await;
    assert_eq!(active(&cron_job), 1, "{cron_job}");
    let job = cron_job["status"]["active"][0]["name"].as_str().unwrap_or_default().to_owned();
    suite.delete(&format!("jobs/{job}"), &json!({"propagationPolicy": "Background"})).await.expect(200);
    suite.wait_gone(&format!("jobs/{job}")).await;
    eventually("its pods to be collected", async || {
        let pods = suite.get(&format!("pods?labelSelector=job-name%3D{job}")).await.expect(200);
        if pods["items"] == json!([]) { Ok(()) } else { Err(pods.to_string()) }
    })
    .await;
    suite
        .wait("cronjobs/forbid", "without the deleted job", |one| {
            one["status"]["active"].as_array().into_iter().flatten().all(|reference| reference["name"] != job.as_str())
        })
        .await;
    wait_event(&suite, "forbid", "MissingJob").await;
    remove(&suite, "forbid").await;
}

/// What both cases about the history do (C-1101).
async fn keeps_one_finished_job(suite: Suite, name_of_it: &str, command: &[&str], limits: [i32; 2]) {
    let spec = json!({"successfulJobsHistoryLimit": limits[0], "failedJobsHistoryLimit": limits[1]});
    suite.create("cronjobs", &cron_job(name_of_it, "Allow", command, &spec)).await.expect(201);
    wait_any_finished(&suite).await;
    let (running, finished) = sorted_jobs(&suite).await;
    assert_eq!(finished.len(), 1, "{running:?} {finished:?}");
    let first = &finished[0];
    suite.wait_gone(&format!("jobs/{}", name(first))).await;
    let uid = first["metadata"]["uid"].as_str().unwrap_or_default();
    eventually("its pods to be gone", async || {
        let pods = suite.get(&format!("pods?labelSelector=controller-uid%3D{uid}")).await.expect(200);
        if pods["items"] == json!([]) { Ok(()) } else { Err(pods.to_string()) }
    })
    .await;
    let (_, finished) = sorted_jobs(&suite).await;
    assert_eq!(finished.len(), 1, "{finished:?}");
    remove(&suite, name_of_it).await;
}

/// should delete successful finished jobs with limit of one successful job (C-1101, C-1102).
async fn keeps_one_successful_job(suite: Suite) {
    keeps_one_finished_job(suite, "successful-jobs-history-limit", SUCCEED, [1, 0]).await;
}

/// should delete failed finished jobs with limit of one job (C-1101, C-1102).
async fn keeps_one_failed_job(suite: Suite) {
    keeps_one_finished_job(suite, "failed-jobs-history-limit", FAIL, [0, 1]).await;
}

/// should support timezone (C-309).
async fn refuses_an_unknown_zone(suite: Suite) {
    let body = cron_job("cronjob-with-timezone", "Allow", FAIL, &json!({"timeZone": "bad-time-zone"}));
    let refused = suite.create("cronjobs", &body).await.expect(422);
    assert_eq!(refused["reason"], "Invalid");
    let message = refused["message"].as_str().unwrap_or_default();
    assert!(message.contains("unknown time zone bad-time-zone"), "{message}");
    suite.get("cronjobs/cronjob-with-timezone").await.expect(404);
}

/// should support CronJob API operations (C-101, C-102, C-209).
async fn has_all_operations(suite: Suite) {
    let group = suite.client.get("/apis").await.expect(200);
    let group = group["groups"].as_array().unwrap().iter().find(|group| group["name"] == "batch").unwrap().clone();
    assert_eq!(group["versions"][0]["version"], "v1");
    let resources = suite.client.get("/apis/batch/v1").await.expect(200);
    let names: Vec<_> =
        resources["resources"].as_array().unwrap().iter().filter_map(|one| one["name"].as_str()).collect();
    assert!(names.contains(&"cronjobs") && names.contains(&"cronjobs/status"), "{names:?}");

    let mut template = cron_job(
        "test-api",
        "Allow",
        SUCCEED,
        &json!({"schedule": "* */1 * * ?", "successfulJobsHistoryLimit": 1, "failedJobsHistoryLimit": 0}),
    );
    template["metadata"]["labels"] = json!({"special-label": suite.namespace});
    let selector = format!("labelSelector=special-label%3D{}", suite.namespace);
    let made = suite.create("cronjobs", &template).await.expect(201);
    let read = suite.get("cronjobs/test-api").await.expect(200);
    assert_eq!(read["metadata"]["uid"], made["metadata"]["uid"]);
    let list = suite.get(&format!("cronjobs?{selector}")).await.expect(200);
    assert_eq!(list["items"].as_array().map(Vec::len), Some(1));
    let version = list["metadata"]["resourceVersion"].as_str().unwrap_or_default();
    let mut watch = suite.watch("cronjobs", &format!("{selector}&resourceVersion={version}")).await;
    let everywhere = suite.client.get(&format!("/apis/batch/v1/cronjobs?{selector}")).await.expect(200);
    assert_eq!(everywhere["items"].as_array().map(Vec::len), Some(1));
    let path = format!("/apis/batch/v1/cronjobs?watch=true&{selector}&resourceVersion={version}");
    let mut everywhere = Watch::open(&suite.client, &path).await;

    let patch = json!({"metadata": {"annotations": {"patched": "true"}}});
    let patched = suite.merge("cronjobs/test-api", &patch).await.expect(200);
    assert_eq!(patched["metadata"]["annotations"]["patched"], "true");
    let updated =
        suite.change("cronjobs/test-api", |one| one["metadata"]["annotations"]["updated"] = json!("true")).await;
    assert_eq!(updated["metadata"]["annotations"]["updated"], "true");
    for watch in [&mut watch, &mut everywhere] {
        let (kind, first) = watch.next().await.expect("an event");
        assert_eq!((kind.as_str(), &first["metadata"]["uid"]), ("MODIFIED", &made["metadata"]["uid"]), "{first}");
        let wanted =
            |kind: &str, one: &Value| kind == "MODIFIED" && one["metadata"]["annotations"]["updated"] == "true";
        if !wanted(&kind, &first) {
            watch.until("both annotations", wanted).await;
        }
    }

    let now = jiff::Timestamp::from_second(jiff::Timestamp::now().as_second()).unwrap();
    let patch = json!({
        "metadata": {"annotations": {"patchedstatus": "true"}}, "status": {"lastScheduleTime": now.to_string()},
    });
    let patched = suite.merge("cronjobs/test-api/status", &patch).await.expect(200);
    assert_eq!(patched["status"]["lastScheduleTime"], now.to_string());
    assert_eq!(patched["metadata"]["annotations"]["patchedstatus"], "true");
    let later = now + jiff::SignedDuration::from_secs(1);
    let updated = eventually("the status to be replaced", async || {
        let mut one = suite.get("cronjobs/test-api").await.expect(200);
        one["status"]["lastScheduleTime"] = json!(later.to_string());
        let answer = suite.update("cronjobs/test-api/status", &one).await;
        if answer.status == 409 { Err(answer.text()) } else { Ok(answer.expect(200)) }
    })
    .await;
    assert_eq!(updated["status"]["lastScheduleTime"], later.to_string());
    let read = suite.get("cronjobs/test-api/status").await.expect(200);
    assert_eq!((&read["kind"], &read["metadata"]["uid"]), (&json!("CronJob"), &made["metadata"]["uid"]));

    template["metadata"]["name"] = json!("for-removal");
    suite.create("cronjobs", &template).await.expect(201);
    suite.delete("cronjobs/for-removal", &json!({})).await.expect(200);
    let gone = suite.get("cronjobs/for-removal").await;
    assert!(gone.status == 404 || gone.json()["metadata"]["finalizers"].is_array(), "{}", gone.text());
    suite.delete(&format!("cronjobs?{selector}"), &json!({})).await.expect(200);
    let left = suite.get(&format!("cronjobs?{selector}")).await.expect(200);
    assert_eq!(left["items"], json!([]));
}

type Case = fn(Suite) -> LocalBoxFuture<'static, ()>;

const CASES: &[(&str, Case)] = &[
    ("should schedule multiple jobs concurrently", |suite| schedules_jobs_concurrently(suite).boxed_local()),
    ("should not schedule jobs when suspended", |suite| suspended_schedules_nothing(suite).boxed_local()),
    ("should not schedule new jobs when ForbidConcurrent", |suite| forbid_schedules_one(suite).boxed_local()),
    ("should be able to schedule after more than 100 missed schedule", |suite| {
        schedules_after_many_missed_times(suite).boxed_local()
    }),
    ("should replace jobs when ReplaceConcurrent", |suite| replace_schedules_one_after_the_other(suite).boxed_local()),
    ("should not emit unexpected warnings", |suite| emits_no_unexpected_warnings(suite).boxed_local()),
    ("should remove from active list jobs that have been deleted", |suite| forgets_deleted_jobs(suite).boxed_local()),
    ("should delete successful finished jobs with limit of one successful job", |suite| {
        keeps_one_successful_job(suite).boxed_local()
    }),
    ("should delete failed finished jobs with limit of one job", |suite| keeps_one_failed_job(suite).boxed_local()),
    ("should support timezone", |suite| refuses_an_unknown_zone(suite).boxed_local()),
    ("should support CronJob API operations", |suite| has_all_operations(suite).boxed_local()),
];

#[tokio::test]
async fn cases() {
    // Makes the images too.
    let first = Suite::start("cronjob").await;
    let daemon = Arc::clone(&first.daemon);
    // A panic of one is its own, so that all are told of.
    let tasks = tokio::task::LocalSet::new();
    let mut failed = Vec::new();
    tasks
        .run_until(async {
            let mut running = Vec::new();
            for (title, case) in CASES {
                let suite = Suite::beside(&daemon, "cronjob").await;
                running.push((title, tokio::task::spawn_local(case(suite))));
            }
            for (title, case) in running {
                if case.await.is_err() {
                    failed.push(title);
                }
            }
        })
        .await;
    assert!(failed.is_empty(), "failed (each with its own panic above): {failed:#?}");
    assert_eq!(daemon.complaints(), Vec::<String>::new());
}
