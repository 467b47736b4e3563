//! The API and the store without containers: creates, lists, start-up with history.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::Request;
use jobd_tests::{Client, Daemon, eventually};
use serde_json::{Value, json};

use crate::{
    figures::{Figures, median_ms},
    idle::{rss_mb, usage},
};

const JOBS: &str = "/apis/batch/v1/namespaces/default/jobs";

/// A job that runs nothing: suspended, or without completions and so finished at once (J-842).
fn job(name: &str, finished: bool) -> Value {
    json!({
        "metadata": {"name": name, "labels": {"app": "bench"}},
        "spec": {
            "suspend": !finished, "completions": i32::from(!finished), "parallelism": 1,
            "template": {"spec": {
                "restartPolicy": "Never",
                "containers": [{"name": "main", "image": "busybox:1.36", "command": ["true"]}],
            }},
        },
    })
}

/// Posts `count` jobs with 64 requests outstanding; jobs per second.
async fn post(client: &Client, prefix: &str, count: usize, finished: bool) -> f64 {
    let next = Arc::new(AtomicUsize::new(0));
    let started = Instant::now();
    let mut workers = Vec::new();
    for _ in 0..64 {
        let mut connection = client.connect().await.expect("the daemon answers");
        let (next, prefix) = (next.clone(), prefix.to_owned());
        workers.push(tokio::spawn(async move {
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= count {
                    return;
                }
                connection.ready().await.expect("the connection stays");
                let body = job(&format!("{prefix}-{number}"), finished).to_string();
                let request = Request::post(JOBS)
                    .header("host", "localhost")
                    .header("content-type", "application/json")
                    .body(Full::new(Bytes::from(body)))
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
    count as f64 / started.elapsed().as_secs_f64()
}

/// How long the daemon takes from its start to its first answer.
pub async fn ready(daemon: &mut Daemon) -> Duration {
    daemon.kill();
    let client = daemon.client();
    let started = Instant::now();
    daemon.spawn();
    loop {
        if let Ok(answer) = client.try_request("GET", "/readyz", &[], Bytes::new()).await
            && answer.status == 200
        {
            return started.elapsed();
        }
        assert!(started.elapsed() < Duration::from_secs(30), "not ready:\n{}", daemon.log());
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// The median of several starts.
pub async fn ready_ms(daemon: &mut Daemon) -> f64 {
    let mut times = Vec::new();
    for _ in 0..5 {
        times.push(ready(daemon).await);
    }
    median_ms(&mut times)
}

pub async fn measure(figures: &mut Figures) {
    let quiet = [("JOBD_LOG", "warn")];
    let mut daemon = Daemon::start_with(&["--listen", "127.0.0.1:0"], &quiet).await;
    let fresh = ready_ms(&mut daemon).await;
    figures.at_most("ready, on a data directory whose keys exist", fresh, 50.0, "ms");
    drop(daemon);

    let daemon = Daemon::start_with(&["--no-listen"], &quiet).await;
    let client = daemon.client();
    let count = if figures.short { 4_000 } else { 10_000 };
    let before = usage(daemon.pid());
    let rate = post(&client, "s", count, false).await;
    let answered = usage(daemon.pid());
    figures.at_least("durable creates of suspended jobs, 64 outstanding", rate, 5_000.0, "/s");
    // The controller has its say about each: let it finish before lists are timed.
    eventually("all jobs to be looked at", async || {
        let last = client.get(&format!("{JOBS}/s-{}", count - 1)).await.json();
        if last["status"]["conditions"].is_array() { Ok(()) } else { Err(last.to_string()) }
    })
    .await;
    let settled = usage(daemon.pid());
    figures.note(&format!(
        "CPU per create: {:.3} ms until it is answered, {:.3} ms with what its controller does",
        (answered.0 - before.0) / count as f64,
        (settled.0 - before.0) / count as f64
    ));
    for (what, accept) in [("JSON", "application/json"), ("a Table", "application/json;as=Table;v=v1;g=meta.k8s.io")] {
        let mut times = Vec::new();
        for _ in 0..5 {
            let started = Instant::now();
            let answer = client.request("GET", JOBS, &[("accept", accept)], "").await;
            times.push(started.elapsed());
            assert_eq!(answer.status, 200);
        }
        let per_10_000 = median_ms(&mut times) * 10_000.0 / count as f64;
        figures.at_most(&format!("a list of 10,000 jobs as {what}"), per_10_000, 150.0, "ms");
    }
    figures.note(&format!("memory after {count} creates and 10 lists: {:.1} MB", rss_mb(daemon.pid())));
    drop(daemon);

    for (what, count, finished, goal) in
        [("20,000 finished jobs", 20_000, true, 100.0), ("2,000 active jobs", 2_000, false, 300.0)]
    {
        let mut daemon = Daemon::start_with(&["--no-listen"], &quiet).await;
        let client = daemon.client();
        post(&client, "f", count, finished).await;
        eventually("the last jobs to be finished", async || {
            let list = client.get(&format!("{JOBS}?limit=1")).await.json();
            let last = client.get(&format!("{JOBS}/f-{}", count - 1)).await.json();
            if last["status"]["conditions"].is_array() { Ok(()) } else { Err(format!("{last} {list}")) }
        })
        .await;
        let time = ready_ms(&mut daemon).await;
        figures.at_most(&format!("ready, with {what}"), time, goal, "ms");
        tokio::time::sleep(Duration::from_secs(2)).await;
        figures.note(&format!("memory with {what}, 2 s after the start: {:.1} MB", rss_mb(daemon.pid())));
    }
}
