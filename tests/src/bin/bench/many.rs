//! One job of many completions, beside the bare engine at the same concurrency: from the first pod to the last.

use std::time::{Duration, Instant};

use jobd_tests::{Client, Daemon, Watch, client::has_condition};
use serde_json::json;

use crate::{
    bare::{create_body, rate},
    figures::Figures,
    idle::{rss_mb, usage},
    jobs::job,
};

const JOBS: &str = "/apis/batch/v1/namespaces/default/jobs";

/// How many pods run at once.
const PARALLELISM: usize = 10;

/// When each of the job's pods was counted, since the job was posted.
async fn run(client: &Client, name: &str, completions: usize) -> Vec<Duration> {
    let mut watch = Watch::open(client, &format!("{JOBS}?watch=true&fieldSelector=metadata.name={name}")).await;
    let mut job = job(name);
    job["spec"]["completions"] = json!(completions);
    job["spec"]["parallelism"] = json!(PARALLELISM);
    let started = Instant::now();
    client.post(JOBS, &job).await.expect(201);
    let mut times = Vec::with_capacity(completions);
    loop {
        let (_, job) = watch.next().await.expect("the watch stays open");
        let succeeded = job["status"]["succeeded"].as_u64().and_then(|count| usize::try_from(count).ok());
        times.resize(succeeded.unwrap_or_default().max(times.len()), started.elapsed());
        if has_condition(&job, "Complete") {
            assert_eq!(times.len(), completions);
            return times;
        }
    }
}

pub async fn measure(figures: &mut Figures) {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let body = create_body(dir.path(), &job("first")).await;
    let completions = if figures.short { 100 } else { 1_000 };
    let quarter = completions / 4;

    let daemon = Daemon::start_with(&["--no-listen"], &[("JOBD_LOG", "warn")]).await;
    let before = rate(&body, quarter, PARALLELISM).await.expect("bare containers run");
    let (cpu, _, written) = usage(daemon.pid());
    let memory = rss_mb(daemon.pid());
    let times = run(&daemon.client(), "many", completions).await;
    let left = jobd_tests::engine::containers(&daemon.instance()).len();
    let (cpu_after, _, written_after) = usage(daemon.pid());
    let after = rate(&body, quarter, PARALLELISM).await.expect("bare containers run");

    // Pods per second from one count to another.
    let per_second = |from: usize, to: usize| {
        let begin = from.checked_sub(1).map_or(Duration::ZERO, |last| times[last]);
        (to - from) as f64 / (times[to - 1] - begin).as_secs_f64()
    };
    let (bare, ours) = ((before + after) / 2.0, per_second(0, completions));
    let (first, last) = (per_second(0, quarter), per_second(completions - quarter, completions));
    figures.note(&format!(
        "{completions} completions, {PARALLELISM} at a time: {ours:.2}/s, the first quarter {first:.2}/s, the last {last:.2}/s; \
         bare containers before and after: {before:.2}/s, {after:.2}/s"
    ));
    figures.note(&format!(
        "  for each: {:.2} ms of CPU, {:.1} KB written; {left} containers left to remove; memory {memory:.1} MB before, {:.1} MB after",
        (cpu_after - cpu) / completions as f64,
        (written_after - written) / completions as f64 / 1e3,
        rss_mb(daemon.pid()),
    ));
    figures.at_least(
        &format!("{completions} completions against the bare loop at that concurrency"),
        ours / bare,
        0.95,
        "times",
    );
    figures.at_least("  the last quarter against the first", last / first, 0.95, "times");
}
