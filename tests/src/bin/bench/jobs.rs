//! Jobs beside bare containers: latency of one, rate of a hundred.

use std::time::Instant;

use futures_util::StreamExt as _;
use http_body_util::BodyExt as _;
use jobd_tests::{Client, Daemon, client::has_condition, engine, eventually};
use serde_json::{Value, json};

use crate::{
    bare::{Bare, create_body, rate},
    figures::{Figures, median_ms},
};

const JOBS: &str = "/apis/batch/v1/namespaces/default/jobs";

/// A job of one pod that ends at once.
pub fn job(name: &str) -> Value {
    json!({
        "metadata": {"name": name},
        "spec": {"template": {"spec": {
            "restartPolicy": "Never",
            "containers": [{"name": "main", "image": "busybox:1.36", "command": ["true"]}],
        }}},
    })
}

/// Follows all jobs and counts those that complete.
async fn completions(client: &Client) -> impl futures_util::Stream<Item = String> + Unpin {
    let response = client.send("GET", &format!("{JOBS}?watch=true"), &[], "").await.expect("a watch");
    let mut buffer = Vec::new();
    let mut seen = std::collections::BTreeSet::new();
    Box::pin(response.into_body().into_data_stream().flat_map(move |chunk| {
        buffer.extend_from_slice(&chunk.expect("the watch goes on"));
        let mut names = Vec::new();
        while let Some(end) = buffer.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = buffer.drain(..=end).collect();
            let event: Value = serde_json::from_slice(&line).expect("a watch event");
            let name = event["object"]["metadata"]["name"].as_str().unwrap_or_default().to_owned();
            if has_condition(&event["object"], "Complete") && seen.insert(name.clone()) {
                names.push(name);
            }
        }
        futures_util::stream::iter(names)
    }))
}

pub async fn measure(figures: &mut Figures) {
    let dir = tempfile::tempdir().expect("a temporary directory");
    // The daemon that is measured talks to the engine itself.
    let body = create_body(dir.path(), &job("first")).await;

    let daemon = Daemon::start_with(&["--no-listen"], &[("JOBD_LOG", "warn")]).await;
    let client = daemon.client();
    let mut bare = Bare::connect(&body).await.expect("the engine answers");
    let mut watch = completions(&client).await;
    let rounds = if figures.short { 8 } else { 20 };
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for round in 0..rounds + 2 {
        let started = Instant::now();
        bare.cycle(&jobd_tests::unique("bench")).await.expect("a bare container runs");
        let bare_time = started.elapsed();
        let name = format!("one-{round}");
        let started = Instant::now();
        client.post(JOBS, &job(&name)).await.expect(201);
        while watch.next().await.as_deref() != Some(&name) {}
        let our_time = started.elapsed();
        // The first two warm up.
        if round >= 2 {
            theirs.push(bare_time);
            ours.push(our_time);
        }
        // The removal of our container is off the path.
        settle(&daemon).await;
    }
    let (ours, theirs) = (median_ms(&mut ours), median_ms(&mut theirs));
    figures.note(&format!("one job of `true`: {ours:.1} ms; one bare container: {theirs:.1} ms (medians of {rounds})"));
    figures.at_most("one job, from POST to Complete, against a bare container", ours / theirs, 1.0, "times");

    let count = if figures.short { 40 } else { 100 };
    let (mut our_rate, mut bare_rate): (f64, f64) = (0.0, 0.0);
    // Both sides have as many tries, so that the luck of one does not count for more.
    for concurrency in [4, 8] {
        bare_rate = bare_rate.max(rate(&body, count, concurrency).await.expect("bare containers run"));
        let started = Instant::now();
        for number in 0..count {
            client.post(JOBS, &job(&format!("many-{concurrency}-{number}"))).await.expect(201);
        }
        let mut left = count;
        while left > 0 {
            if watch.next().await.is_some_and(|name| name.starts_with(&format!("many-{concurrency}-"))) {
                left -= 1;
            }
        }
        our_rate = our_rate.max(count as f64 / started.elapsed().as_secs_f64());
        settle(&daemon).await;
    }
    figures.note(&format!("{count} jobs at once: {our_rate:.2}/s; bare containers at best: {bare_rate:.2}/s"));
    figures.at_least("jobs per second against the bare loop's best rate", our_rate / bare_rate, 0.95, "times");
}

/// Waits until the engine has nothing of the last jobs left to remove: the other side's turn begins with an idle engine.
async fn settle(daemon: &Daemon) {
    let instance = daemon.instance();
    eventually("the containers of the last jobs are removed", async || match engine::containers(&instance).len() {
        0 => Ok(()),
        left => Err(format!("{left} are left")),
    })
    .await;
}
