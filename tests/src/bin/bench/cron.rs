//! Cron jobs in numbers: thousands that fire in the same minute, and thousands that wait.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::Request;
use jiff::{SignedDuration, Timestamp};
use jobd_tests::{Client, Daemon, Watch, eventually};
use serde_json::{Value, json};

use crate::{
    figures::Figures,
    idle::{rss_mb, usage},
};

const CRON_JOBS: &str = "/apis/batch/v1/namespaces/default/cronjobs";
const JOBS: &str = "/apis/batch/v1/namespaces/default/jobs";

/// How many fire together.
const TOGETHER: usize = 2_000;
/// How many wait.
const WAITING: usize = 10_000;

/// A cron job whose jobs run nothing.
fn cron_job(name: &str, schedule: &str) -> Value {
    json!({
        "metadata": {"name": name},
        "spec": {"schedule": schedule, "jobTemplate": {"spec": {"suspend": true, "template": {"spec": {
            "restartPolicy": "Never",
            "containers": [{"name": "main", "image": "busybox:1.36", "command": ["true"]}],
        }}}}},
    })
}

async fn post(client: &Client, schedule: &'static str, count: usize) {
    let next = Arc::new(AtomicUsize::new(0));
    let mut workers = Vec::new();
    for _ in 0..32 {
        let mut connection = client.connect().await.expect("the daemon answers");
        let next = next.clone();
        workers.push(tokio::spawn(async move {
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= count {
                    return;
                }
                connection.ready().await.expect("the connection stays");
                let request = Request::post(CRON_JOBS)
                    .header("host", "localhost")
                    .header("content-type", "application/json")
                    .body(Full::new(Bytes::from(cron_job(&format!("c-{number}"), schedule).to_string())))
                    .expect("a request");
                let response = connection.send_request(request).await.expect("an answer");
                assert_eq!(response.status(), 201);
                response.into_body().collect().await.expect("the answer's body");
            }
        }));
    }
    for worker in workers {
        worker.await.expect("the worker ends");
    }
}

/// Waits until the daemon has used no CPU for a second.
async fn rest(daemon: &Daemon) {
    let mut last = f64::NAN;
    eventually("the daemon to have nothing to do", async || {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let (cpu, ..) = usage(daemon.pid());
        let before = std::mem::replace(&mut last, cpu);
        if cpu - before < 10.0 { Ok(()) } else { Err(format!("{} ms", cpu - before)) }
    })
    .await;
}

/// Asks again and again; the slowest answer until it is told to stop.
async fn slowest_answer(client: Client, stop: Arc<AtomicBool>) -> Duration {
    let mut slowest = Duration::ZERO;
    while !stop.load(Ordering::Relaxed) {
        let started = Instant::now();
        client.get(&format!("{CRON_JOBS}/c-0")).await.expect(200);
        slowest = slowest.max(started.elapsed());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    slowest
}

/// How long after the minute the last of its jobs is seen by a watcher; with the median.
async fn one_minute(minute: Timestamp, watch: &mut Watch) -> [f64; 2] {
    let suffix = format!("-{}", minute.as_second() / 60);
    let mut times = Vec::with_capacity(TOGETHER);
    while times.len() < TOGETHER {
        let (kind, job) = watch.next().await.expect("the watch stays open");
        if kind == "ADDED" && job["metadata"]["name"].as_str().is_some_and(|name| name.ends_with(&suffix)) {
            times.push(Timestamp::now().duration_since(minute).as_secs_f64());
        }
    }
    times.sort_by(f64::total_cmp);
    [times[TOGETHER / 2], times[TOGETHER - 1]]
}

fn next_minute() -> Timestamp {
    let now = Timestamp::now().as_second();
    Timestamp::from_second((now / 60 + 1) * 60).expect("a time of our age")
}

async fn together(figures: &mut Figures) {
    let daemon = Daemon::start_with(&["--no-listen"], &[("JOBD_LOG", "warn")]).await;
    let client = daemon.client();
    while Timestamp::now().as_second() % 60 > 20 {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    post(&client, "* * * * *", TOGETHER).await;
    rest(&daemon).await;
    for round in ["", ", the next minute"] {
        let minute = next_minute();
        let list = client.get(&format!("{JOBS}?limit=1")).await.expect(200);
        let version = list["metadata"]["resourceVersion"].as_str().expect("a revision");
        let mut watch = Watch::open(&client, &format!("{JOBS}?watch=true&resourceVersion={version}")).await;
        // What is asked before the minute is not its cost.
        let before = minute.duration_since(Timestamp::now()) - SignedDuration::from_millis(500);
        tokio::time::sleep(before.try_into().unwrap_or_default()).await;
        let (cpu, ..) = usage(daemon.pid());
        let memory = rss_mb(daemon.pid());
        let stop = Arc::new(AtomicBool::new(false));
        let asking = tokio::spawn(slowest_answer(client.clone(), stop.clone()));
        let [median, last] = one_minute(minute, &mut watch).await;
        stop.store(true, Ordering::Relaxed);
        let slowest = asking.await.expect("the client ends");
        rest(&daemon).await;
        let (cpu_after, ..) = usage(daemon.pid());
        figures.note(&format!("{TOGETHER} cron jobs of one minute{round}: half of their jobs after {median:.2} s"));
        figures.at_most(&format!("{TOGETHER} cron jobs of one minute{round}: the last job after it"), last, 1.0, "s");
        figures.at_most("  CPU for each, with all that follows", (cpu_after - cpu) / TOGETHER as f64, 1.5, "ms");
        figures.at_most("  the slowest answer meanwhile", slowest.as_secs_f64() * 1e3, 500.0, "ms");
        figures.at_most("  more memory than before", rss_mb(daemon.pid()) - memory, 15.0, "MB");
    }
    figures.note(&format!("  memory: {:.1} MB", rss_mb(daemon.pid())));
}

async fn waiting(figures: &mut Figures) {
    let daemon = Daemon::start_with(&["--no-listen"], &[("JOBD_LOG", "warn")]).await;
    post(&daemon.client(), "0 0 1 1 *", WAITING).await;
    rest(&daemon).await;
    // What is compacted after the writes is not theirs.
    tokio::time::sleep(Duration::from_secs(if figures.short { 15 } else { 330 })).await;
    let time = Duration::from_secs(if figures.short { 20 } else { 120 });
    let before = usage(daemon.pid());
    tokio::time::sleep(time).await;
    let after = usage(daemon.pid());
    let seconds = time.as_secs();
    figures.at_most(&format!("{WAITING} idle cron jobs, CPU in {seconds} s"), after.0 - before.0, 10.0, "ms");
    figures.note(&format!(
        "  {} wake-ups, {} bytes written, {:.1} MB resident",
        after.1 - before.1,
        after.2 - before.2,
        rss_mb(daemon.pid())
    ));
}

pub async fn measure(figures: &mut Figures) {
    together(figures).await;
    waiting(figures).await;
}
