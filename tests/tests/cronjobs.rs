//! CronJobs on the real daemon and the real engine (cronjobs.md, section 2.23 of the wire rules).
//!
//! A test seldom waits for a minute: a cron job whose last run lies far back has missed times, and the most recent of them is run at once
//! (C-701, C-1202).

use std::{collections::BTreeMap, net::TcpListener, path::Path, time::Duration};

use jobd_tests::{
    Client, Daemon,
    client::has_condition,
    daemon::program,
    eventually,
    kubectl::{self, Kubectl},
    manifest,
};
use serde_json::{Value, json};

const CRON_JOBS: &str = "/apis/batch/v1/namespaces/default/cronjobs";
const JOBS: &str = "/apis/batch/v1/namespaces/default/jobs";

/// A cron job whose jobs run a shell script, with more fields of its spec.
fn cron_job(name: &str, schedule: &str, script: &str, spec: &Value) -> Value {
    let mut cron_job = json!({
        "apiVersion": "batch/v1", "kind": "CronJob", "metadata": {"name": name},
        "spec": {"schedule": schedule, "jobTemplate": {"spec": manifest::job("", script)["spec"]}},
    });
    if let (Value::Object(into), Value::Object(from)) = (&mut cron_job["spec"], spec) {
        into.extend(from.clone());
    }
    cron_job
}

/// Pretends that the last run was at the beginning of 2020.
async fn rewind(client: &Client, name: &str) {
    let patch = json!({"status": {"lastScheduleTime": "2020-01-01T00:00:00Z"}});
    client.merge(&format!("{CRON_JOBS}/{name}/status"), &patch).await.expect(200);
}

/// The jobs that a cron job controls, by name.
async fn jobs_of(client: &Client, cron_job: &str) -> BTreeMap<String, Value> {
    let jobs = client.get(JOBS).await.expect(200);
    let owned = jobs["items"].as_array().unwrap().iter().filter(|job| {
        let owner = &job["metadata"]["ownerReferences"][0];
        owner["kind"] == "CronJob" && owner["name"] == cron_job && owner["controller"] == true
    });
    owned.map(|job| (job["metadata"]["name"].as_str().unwrap().to_owned(), job.clone())).collect()
}

async fn reasons(client: &Client, involved: &str) -> Vec<String> {
    let path = format!("/api/v1/namespaces/default/events?fieldSelector=involvedObject.name%3D{involved}");
    let events = client.get(&path).await.expect(200);
    let mut events = events["items"].as_array().cloned().unwrap_or_default();
    events.sort_by_key(|event| event["eventTime"].as_str().unwrap_or_default().to_owned());
    events.iter().map(|event| event["reason"].as_str().unwrap_or_default().to_owned()).collect()
}

fn unix_minutes(time: &Value) -> i64 {
    let output = std::process::Command::new("date").args(["-d", time.as_str().unwrap(), "+%s"]).output().unwrap();
    String::from_utf8_lossy(&output.stdout).trim().parse::<i64>().unwrap() / 60
}

/// C-901, C-903, C-904, C-1003, C-1004, C-1301, C-1401, C-1402.
#[tokio::test]
async fn a_missed_run_becomes_a_job_that_runs_and_goes_with_its_cron_job() {
    let daemon = Daemon::start().await;
    let client = daemon.client();
    let spec = json!({"timeZone": "Asia/Kathmandu"});
    client.post(CRON_JOBS, &cron_job("tick", "0 0 1 1 *", "echo tock", &spec)).await.expect(201);
    rewind(&client, "tick").await;
    let done = client
        .wait(&format!("{CRON_JOBS}/tick"), "done with a run", |one| one["status"]["lastSuccessfulTime"].is_string())
        .await;
    assert!(done["status"].get("active").is_none(), "{done}");
    let jobs = jobs_of(&client, "tick").await;
    let [(name, job)] = jobs.iter().collect::<Vec<_>>()[..] else { panic!("one job: {jobs:?}") };
    let last = &done["status"]["lastScheduleTime"];
    assert_eq!(*name, format!("tick-{}", unix_minutes(last)));
    let stamp = job["metadata"]["annotations"]["batch.kubernetes.io/cronjob-scheduled-timestamp"].as_str().unwrap();
    assert!(stamp.ends_with("-01-01T00:00:00+05:45"), "{stamp}");
    assert!(last.as_str().unwrap().ends_with("-12-31T18:15:00Z"), "{last}");
    let reasons = reasons(&client, "tick").await;
    assert!(reasons.ends_with(&["SuccessfulCreate".to_owned(), "SawCompletedJob".to_owned()]), "{reasons:?}");

    client.delete(&format!("{CRON_JOBS}/tick"), &Value::Null).await.expect(200);
    client.wait_gone(&format!("{JOBS}/{name}")).await;
    assert_eq!(daemon.complaints(), Vec::<String>::new());
}

/// C-711: the timer, on the real clock.
#[tokio::test]
async fn a_run_starts_within_a_second_of_its_minute() {
    let daemon = Daemon::start().await;
    let client = daemon.client();
    client.post(CRON_JOBS, &cron_job("often", "* * * * *", "true", &json!({}))).await.expect(201);
    let due =
        client.wait(&format!("{CRON_JOBS}/often"), "run", |one| one["status"]["lastScheduleTime"].is_string()).await;
    let jobs = jobs_of(&client, "often").await;
    let job = jobs.values().next().unwrap();
    let (scheduled, created) = (&due["status"]["lastScheduleTime"], &job["metadata"]["creationTimestamp"]);
    assert_eq!(scheduled, created, "in the same second");
}

/// C-803, C-804: a second run comes due because the last one is put back by hand.
#[tokio::test]
async fn a_running_job_is_waited_for_or_replaced() {
    let daemon = Daemon::start().await;
    let client = daemon.client();
    let script = "trap exit TERM; sleep 1000 & wait";
    for (name, policy) in [("forbid", "Forbid"), ("replace", "Replace")] {
        let spec = json!({"concurrencyPolicy": policy});
        client.post(CRON_JOBS, &cron_job(name, "0 0 1 1 *", script, &spec)).await.expect(201);
        rewind(&client, name).await;
        client.wait(&format!("{CRON_JOBS}/{name}"), "active", |one| one["status"]["active"].is_array()).await;
    }
    let first = jobs_of(&client, "forbid").await;
    let replaced = jobs_of(&client, "replace").await;
    for name in ["forbid", "replace"] {
        // The new schedule's latest time is another minute; the edit alone starts nothing (C-1706), so the daemon starts again.
        client.merge(&format!("{CRON_JOBS}/{name}"), &json!({"spec": {"schedule": "1 0 1 1 *"}})).await.expect(200);
    }
    let mut daemon = daemon;
    daemon.terminate().await;
    daemon.spawn();
    daemon.ready().await;
    eventually("the second run to be forbidden", async || {
        let reasons = reasons(&client, "forbid").await;
        if reasons.contains(&"JobAlreadyActive".to_owned()) { Ok(()) } else { Err(format!("{reasons:?}")) }
    })
    .await;
    assert_eq!(jobs_of(&client, "forbid").await.keys().collect::<Vec<_>>(), first.keys().collect::<Vec<_>>());
    let old = replaced.keys().next().unwrap();
    client.wait_gone(&format!("{JOBS}/{old}")).await;
    let now = jobs_of(&client, "replace").await;
    assert!(now.len() == 1 && !now.contains_key(old), "{now:?}");
    // The forbidden run starts, late, when the job before it is gone (C-803).
    let old = first.keys().next().unwrap();
    client.delete(&format!("{JOBS}/{old}"), &json!({"propagationPolicy": "Background"})).await.expect(200);
    eventually("the forbidden run to start", async || {
        let jobs = jobs_of(&client, "forbid").await;
        if jobs.len() == 1 && !jobs.contains_key(old) { Ok(()) } else { Err(format!("{jobs:?}")) }
    })
    .await;
}

/// All of what kubectl tells of a cron job that has every field which it tells of.
async fn check_description(program: &Path, daemon: &Daemon) {
    let dir = daemon.data_dir();
    let kubectl = Kubectl::new(program, &dir.join("kubeconfig"), &dir.with_file_name("cache"));
    let spec = json!({
        "timeZone": "Europe/Berlin", "startingDeadlineSeconds": 60, "concurrencyPolicy": "Forbid", "suspend": true,
    });
    let mut zoned = cron_job("zoned", "0 3 1 1 *", "true", &spec);
    zoned["metadata"]["labels"] = json!({"a": "b"});
    zoned["spec"]["jobTemplate"]["spec"]["parallelism"] = json!(2);
    let made = kubectl.run(&["create", "-f", "-"], &zoned.to_string(), &[]).await;
    assert_eq!(made.ok(), "cronjob.batch/zoned created\n");
    let described = kubectl.run(&["describe", "cronjob", "zoned"], "", &[]).await.ok();
    // Older ones do not tell these.
    let lines = described.lines().filter(|line| !line.contains("Node-Selectors:") && !line.contains("Tolerations:"));
    let words = lines.map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "));
    assert_eq!(
        words.collect::<Vec<_>>(),
        [
            "Name: zoned",
            "Namespace: default",
            "Labels: a=b",
            "Annotations: <none>",
            "Schedule: 0 3 1 1 *",
            "Concurrency Policy: Forbid",
            "Suspend: True",
            "Successful Job History Limit: 3",
            "Failed Job History Limit: 1",
            "Starting Deadline Seconds: 60s",
            "Selector: <unset>",
            "Parallelism: 2",
            "Completions: <unset>",
            "Pod Template:",
            "Labels: <none>",
            "Containers:",
            "main:",
            "Image: busybox:1.36",
            "Port: <none>",
            "Host Port: <none>",
            "Command:",
            "sh",
            "-c",
            "true",
            "Environment: <none>",
            "Mounts: <none>",
            "Volumes: <none>",
            "Last Schedule Time: <unset>",
            "Active Jobs: <none>",
            "Events: <none>",
        ],
        "{}",
        program.display()
    );
}

/// W-22, W-184: newer kubectl sends protobuf.
#[tokio::test]
async fn kubectl_creates_shows_and_instantiates_cron_jobs() {
    let programs = kubectl::programs();
    assert!(!programs.is_empty(), "kubectl is not on this machine");
    for program in programs {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let daemon = Daemon::start_with(&["--listen", &format!("127.0.0.1:{port}")], &[]).await;
        let dir = daemon.data_dir();
        let client = daemon.client();
        let run = async |command: &[&str]| {
            Kubectl::new(&program, &dir.join("kubeconfig"), &dir.with_file_name("cache")).run(command, "", &[]).await
        };
        let made = run(&[
            "create",
            "cronjob",
            "report",
            "--image=busybox:1.36",
            "--schedule=0 3 * * 1-5",
            "--restart=Never",
            "--",
            "echo",
            "hi",
        ])
        .await;
        assert_eq!(made.ok(), "cronjob.batch/report created\n", "{}", program.display());
        let made = run(&["create", "job", "now", "--from=cronjob/report"]).await;
        assert_eq!(made.ok(), "job.batch/now created\n", "{}", program.display());
        assert_eq!(run(&["wait", "--for=condition=complete", "job/now", "--timeout=60s"]).await.code, 0);
        assert_eq!(run(&["logs", "job/now"]).await.ok(), "hi\n");

        let table = run(&["get", "cj", "-o", "wide"]).await.ok();
        let lines: Vec<_> = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>()).collect();
        let head = "NAME SCHEDULE TIMEZONE SUSPEND ACTIVE LAST SCHEDULE AGE CONTAINERS IMAGES SELECTOR";
        assert_eq!(lines[0].join(" "), head, "{}", program.display());
        assert_eq!(lines[1][..10], ["report", "0", "3", "*", "*", "1-5", "<none>", "False", "0", "<none>"]);
        assert_eq!(lines[1][11..], ["report", "busybox:1.36", "<none>"]);
        assert!(run(&["get", "all"]).await.ok().contains("cronjob.batch/report"));
        let described = run(&["describe", "cronjob", "report"]).await.ok();
        let described = described.split_whitespace().collect::<Vec<_>>().join(" ");
        for text in ["Concurrency Policy: Allow", "Schedule: 0 3 * * 1-5", "Active Jobs: <none>"] {
            assert!(described.contains(text), "{}: {text} is missing in\n{described}", program.display());
        }
        // C-603, C-1103, C-1409: it is told of a job made by hand, unless kubectl is so old that it does not name a controller.
        let job = client.get(&format!("{JOBS}/now")).await.expect(200);
        assert_eq!(job["metadata"]["annotations"]["cronjob.kubernetes.io/instantiate"], "manual");
        let is_child = job["metadata"]["ownerReferences"][0]["controller"] == true;
        assert!(is_child || !program.ends_with("kubectl.1.33"), "{}: {job}", program.display());
        let told = "Saw a job that the controller did not create or forgot: now";
        assert_eq!(described.contains(told), is_child, "{}: {described}", program.display());
        check_description(&program, &daemon).await;
        let patched = run(&["patch", "cronjob", "report", "-p", r#"{"spec":{"suspend":true}}"#]).await;
        assert_eq!(patched.ok(), "cronjob.batch/report patched\n");
        let refused = run(&["patch", "cronjob", "report", "-p", r#"{"spec":{"schedule":"TZ=UTC 0 3 * * *"}}"#]).await;
        assert_eq!(refused.code, 1);
        let want = "cannot use TZ or CRON_TZ in schedule, use timeZone field instead";
        assert!(refused.stderr.contains(want), "{}", refused.stderr);
        assert_eq!(run(&["delete", "cronjob", "report"]).await.code, 0);
        client.wait_gone(&format!("{JOBS}/now")).await;
    }
}

/// C-604, C-901, R-7: killed right before and right after the commit of a run, at the minute itself and at every start after it, the
/// daemon makes one job for that minute and tells of it once.
#[tokio::test]
async fn killed_around_its_minute_a_run_is_made_once() {
    tokio::join!(killed_at("cron_job.before_run", 3), killed_at("cron_job.after_run", 0));
}

/// `more`: how often the daemon dies there again when it starts, since the run is still to be made.
async fn killed_at(point: &'static str, more: usize) {
    let armed = [("JOBD_FAILPOINT", point)];
    let mut daemon = Daemon::prepare(&["--no-listen"], &[]);
    daemon.spawn_program(&program(), &armed);
    daemon.ready().await;
    let client = daemon.client();
    let mut body = cron_job("tick", "* * * * *", "true", &json!({}));
    body["spec"]["jobTemplate"]["spec"]["suspend"] = json!(true);
    client.post(CRON_JOBS, &body).await.expect(201);
    let mut minute = 0;
    for death in 0..=more {
        let signal = eventually("the daemon to be killed", async || daemon.ended().ok_or_else(String::new)).await;
        assert_eq!(signal, Some(9), "{point}, death {death}");
        if death == 0 {
            minute = jiff::Timestamp::now().as_second() / 60;
        }
        daemon.spawn_program(&program(), &armed);
    }
    // Once more as if nothing had happened; where it is still to be made, it was about to die again.
    daemon.kill();
    for _ in 0..2 {
        daemon.spawn();
        daemon.ready().await;
        client.wait(&format!("{CRON_JOBS}/tick"), "run", |one| one["status"]["lastScheduleTime"].is_string()).await;
        daemon.kill();
    }
    daemon.spawn();
    daemon.ready().await;
    let one = client.get(&format!("{CRON_JOBS}/tick")).await.expect(200);
    let jobs = jobs_of(&client, "tick").await;
    let last = unix_minutes(&one["status"]["lastScheduleTime"]);
    assert!(jobs.contains_key(&format!("tick-{last}")), "{jobs:?}");
    // On a machine so slow that all this took until the next minute that one has its own job.
    assert!(jobs.len() == 1 && last == minute || last > minute, "{point}: {last} {minute} {jobs:?}");
    let listed: Vec<_> = one["status"]["active"].as_array().unwrap().iter().map(|one| one["name"].clone()).collect();
    assert_eq!(listed, jobs.keys().map(|name| json!(name)).collect::<Vec<_>>(), "{point}");
    let path = "/api/v1/namespaces/default/events?fieldSelector=involvedObject.name%3Dtick%2Creason%3DSuccessfulCreate";
    let events = client.get(path).await.expect(200);
    let mut told: Vec<_> =
        events["items"].as_array().unwrap().iter().map(|one| (&one["message"], &one["count"])).collect();
    told.sort_by_key(|(message, _)| message.as_str());
    let want: Vec<_> = jobs.keys().map(|name| (json!(format!("Created job {name}")), json!(1))).collect();
    assert_eq!(told, want.iter().map(|(message, count)| (message, count)).collect::<Vec<_>>(), "{point}");
}

/// C-901: killed at each commit around the run, and in between, a run is made exactly once and its container runs once.
#[tokio::test]
async fn a_run_is_made_exactly_once_whenever_the_daemon_is_killed() {
    let mut daemon = Daemon::prepare(&["--no-listen"], &[]);
    let marks = daemon.data_dir().with_file_name("marks");
    std::fs::create_dir_all(&marks).unwrap();
    let mut kills = Vec::new();
    for point in ["store.before_commit", "store.after_commit"] {
        kills.extend((1..=4).map(|hit| format!("{point}:{hit}")));
    }
    daemon.spawn();
    daemon.ready().await;
    let client = daemon.client();
    let name = |round: usize| format!("once-{round}");
    for round in 0..kills.len() {
        let script = format!("mktemp -p /marks {}.XXXXXX", name(round));
        let mut body = cron_job(&name(round), "0 0 1 1 *", &script, &json!({"suspend": true}));
        let pod = &mut body["spec"]["jobTemplate"]["spec"]["template"]["spec"];
        pod["volumes"] = json!([{"name": "marks", "hostPath": {"path": marks}}]);
        pod["containers"][0]["volumeMounts"] = json!([{"name": "marks", "mountPath": "/marks"}]);
        client.post(CRON_JOBS, &body).await.expect(201);
        rewind(&client, &name(round)).await;
    }
    daemon.terminate().await;

    let resume = json!({"spec": {"suspend": false}}).to_string();
    let headers = [("content-type", "application/merge-patch+json")];
    let mut hits = 0;
    for (round, kill) in kills.iter().enumerate() {
        daemon.spawn_program(&program(), &[("JOBD_FAILPOINT", kill)]);
        let path = format!("{CRON_JOBS}/{}", name(round));
        let ends = tokio::time::Instant::now() + Duration::from_secs(5);
        let mut sent = false;
        while daemon.ended().is_none() && tokio::time::Instant::now() < ends {
            sent = sent
                || client.try_request("PATCH", &path, &headers, resume.clone()).await.is_ok_and(|a| a.status == 200);
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        hits += usize::from(daemon.ended().is_some());
        daemon.kill();
    }
    assert!(hits >= kills.len() / 2, "failpoints that are never hit: {hits} of {}", kills.len());

    daemon.spawn();
    daemon.ready().await;
    for round in 0..kills.len() {
        client.merge(&format!("{CRON_JOBS}/{}", name(round)), &json!({"spec": {"suspend": false}})).await.expect(200);
    }
    for round in 0..kills.len() {
        let name = name(round);
        client
            .wait(&format!("{CRON_JOBS}/{name}"), "done with its run", |one| {
                one["status"]["lastSuccessfulTime"].is_string() && one["status"].get("active").is_none()
            })
            .await;
        let jobs = jobs_of(&client, &name).await;
        assert_eq!(jobs.len(), 1, "{name}: {jobs:?}");
        assert!(jobs.values().all(|job| has_condition(job, "Complete")), "{jobs:?}");
        let marks =
            std::fs::read_dir(&marks).unwrap().filter_map(|entry| entry.unwrap().file_name().into_string().ok());
        assert_eq!(marks.filter(|mark| mark.starts_with(&format!("{name}."))).count(), 1, "{name}");
    }
}
