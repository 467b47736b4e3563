//! `/metrics` of a running daemon (jobs.md section 23, C-1501): every series, with what really happened.

use std::collections::BTreeMap;

use jobd_tests::{Client, Daemon, Watch, client::has_condition, eventually, manifest};
use serde_json::json;

const JOBS: &str = "/apis/batch/v1/namespaces/default/jobs";
const CRON_JOBS: &str = "/apis/batch/v1/namespaces/default/cronjobs";

/// All samples of a scrape: the series with its labels, and its value.
async fn scrape(client: &Client) -> BTreeMap<String, f64> {
    let answer = client.get("/metrics").await;
    assert_eq!(answer.status, 200);
    assert!(answer.headers["content-type"].to_str().unwrap().starts_with("text/plain; version=0.0.4"));
    let text = answer.text();
    let mut kinds = BTreeMap::new();
    let mut samples = BTreeMap::new();
    for line in text.lines() {
        if let Some(kind) = line.strip_prefix("# TYPE ") {
            let (name, kind) = kind.split_once(' ').unwrap();
            assert_eq!(kinds.insert(name.to_owned(), kind.to_owned()), None, "{name} has one type");
        } else if !line.starts_with('#') {
            let (series, value) = line.rsplit_once(' ').unwrap();
            let family = series.split('{').next().unwrap();
            let base = ["_bucket", "_sum", "_count"].iter().find_map(|suffix| family.strip_suffix(suffix));
            let known = kinds.get(family).or_else(|| base.and_then(|base| kinds.get(base)));
            assert!(known.is_some(), "{series} has no type before it");
            samples.insert(series.to_owned(), value.parse::<f64>().unwrap());
        }
    }
    samples
}

/// Waits until all these samples have these values.
async fn wait_for(client: &Client, wanted: &[(&str, f64)]) -> BTreeMap<String, f64> {
    eventually("the metrics", async || {
        let samples = scrape(client).await;
        let wrong: Vec<_> = wanted.iter().filter(|(series, value)| samples.get(*series) != Some(value)).collect();
        if wrong.is_empty() {
            return Ok(samples);
        }
        let found: Vec<_> = wrong.iter().map(|(series, _)| (series, samples.get(*series))).collect();
        Err(format!("{found:?}"))
    })
    .await
}

/// How many buckets a histogram's first series has, and how many observations its series have together.
fn histogram(samples: &BTreeMap<String, f64>, name: &str) -> (Vec<String>, f64) {
    let prefix = format!("{name}_bucket{{");
    let of = |series: &str| series.split("le=\"").nth(1).and_then(|rest| rest.split('"').next()).map(str::to_owned);
    let buckets: std::collections::BTreeSet<String> =
        samples.keys().filter(|series| series.starts_with(&prefix)).filter_map(|series| of(series)).collect();
    let counts = samples.iter().filter(|(series, _)| series.starts_with(&format!("{name}_count")));
    (buckets.into_iter().collect(), counts.map(|(_, value)| value).sum())
}

/// J-2301, C-1501.
#[tokio::test]
async fn every_series_of_upstream_says_what_happened() {
    let daemon = Daemon::start().await;
    let client = daemon.client();
    let post = async |job: serde_json::Value| client.post(JOBS, &job).await.expect(201);

    post(manifest::job_with("two", "true", &json!({"completions": 2, "parallelism": 2}))).await;
    post(manifest::job_with("fails", "exit 3", &json!({"backoffLimit": 0}))).await;
    let rule = json!({"action": "FailJob", "onExitCodes": {"operator": "In", "values": [42]}});
    post(manifest::job_with("policy", "exit 42", &json!({"podFailurePolicy": {"rules": [rule]}}))).await;
    let indexed = json!({"completionMode": "Indexed", "completions": 3, "parallelism": 3, "backoffLimitPerIndex": 0});
    post(manifest::job_with("indexed", "exit $((JOB_COMPLETION_INDEX % 2))", &indexed)).await;
    let whole = json!({"completionMode": "Indexed", "completions": 2, "parallelism": 2, "ttlSecondsAfterFinished": 0});
    post(manifest::job_with("whole", "true", &whole)).await;
    post(manifest::job_with("other", "true", &json!({"managedBy": "example.com/other"}))).await;
    let again = "[ -e /data/once ] || { touch /data/once; exit 1; }";
    let mut retried = manifest::job_with("retried", again, &json!({"backoffLimit": 3}));
    let directory = tempfile::tempdir().unwrap();
    retried["spec"]["template"]["spec"]["volumes"] = json!([{"name": "data", "hostPath": {"path": directory.path()}}]);
    retried["spec"]["template"]["spec"]["containers"][0]["volumeMounts"] =
        json!([{"name": "data", "mountPath": "/data"}]);
    post(retried).await;

    let cron_job = json!({
        "apiVersion": "batch/v1", "kind": "CronJob", "metadata": {"name": "often"},
        "spec": {"schedule": "0 0 1 1 *", "jobTemplate": {"spec": {"suspend": true, "template": manifest::job("", "true")["spec"]["template"]}}},
    });
    client.post(CRON_JOBS, &cron_job).await.expect(201);
    let missed = json!({"status": {"lastScheduleTime": "2020-01-01T00:00:00Z"}});
    client.merge(&format!("{CRON_JOBS}/often/status"), &missed).await.expect(200);

    for (job, condition) in
        [("two", "Complete"), ("fails", "Failed"), ("policy", "Failed"), ("indexed", "Failed"), ("retried", "Complete")]
    {
        client.wait_job("default", job, condition).await;
    }
    client.wait_gone(&format!("{JOBS}/whole")).await;

    let samples = wait_for(
        &client,
        &[
            (r#"job_controller_jobs_finished_total{completion_mode="NonIndexed",reason="CompletionsReached",result="succeeded"}"#, 2.0),
            (r#"job_controller_jobs_finished_total{completion_mode="Indexed",reason="CompletionsReached",result="succeeded"}"#, 1.0),
            (r#"job_controller_jobs_finished_total{completion_mode="NonIndexed",reason="BackoffLimitExceeded",result="failed"}"#, 1.0),
            (r#"job_controller_jobs_finished_total{completion_mode="NonIndexed",reason="PodFailurePolicy",result="failed"}"#, 1.0),
            (r#"job_controller_jobs_finished_total{completion_mode="Indexed",reason="FailedIndexes",result="failed"}"#, 1.0),
            (r#"job_controller_job_pods_finished_total{completion_mode="NonIndexed",result="succeeded"}"#, 3.0),
            (r#"job_controller_job_pods_finished_total{completion_mode="NonIndexed",result="failed"}"#, 3.0),
            (r#"job_controller_job_pods_finished_total{completion_mode="Indexed",result="succeeded"}"#, 4.0),
            (r#"job_controller_job_pods_finished_total{completion_mode="Indexed",result="failed"}"#, 1.0),
            (r#"job_controller_job_pods_creation_total{reason="new",status="succeeded"}"#, 10.0),
            (r#"job_controller_job_pods_creation_total{reason="recreate_terminating_or_failed",status="succeeded"}"#, 1.0),
            (r#"job_controller_job_pods_creation_total{reason="recreate_failed",status="succeeded"}"#, 0.0),
            (r#"job_controller_job_pods_creation_total{reason="new",status="failed"}"#, 0.0),
            (r#"job_controller_job_finished_indexes_total{backoffLimit="perIndex",status="succeeded"}"#, 2.0),
            (r#"job_controller_job_finished_indexes_total{backoffLimit="perIndex",status="failed"}"#, 1.0),
            (r#"job_controller_job_finished_indexes_total{backoffLimit="global",status="succeeded"}"#, 2.0),
            (r#"job_controller_pod_failures_handled_by_failure_policy_total{action="FailJob"}"#, 1.0),
            (r#"job_controller_pod_failures_handled_by_failure_policy_total{action="Ignore"}"#, 0.0),
            (r#"job_controller_terminated_pods_tracking_finalizer_total{event="add"}"#, 11.0),
            (r#"job_controller_terminated_pods_tracking_finalizer_total{event="delete"}"#, 11.0),
            (r#"job_controller_jobs_by_external_controller_total{controller_name="example.com/other"}"#, 1.0),
            ("ttl_after_finished_controller_job_deletion_duration_seconds_count", 1.0),
            ("cronjob_controller_job_creation_skew_duration_seconds_count", 1.0),
            (r#"kubelet_runtime_operations_total{operation_type="start_container"}"#, 11.0),
            ("kubelet_running_pods", 0.0),
            (r#"jobd_active_objects{resource="pods"}"#, 0.0),
            ("jobd_engine_up", 1.0),
        ],
    )
    .await;

    let (buckets, looks) = histogram(&samples, "job_controller_job_sync_duration_seconds");
    assert_eq!(buckets.len(), 16, "0.004·2^k for k = 0…14, and +Inf: {buckets:?}");
    assert!(buckets.contains(&"0.004".to_owned()) && buckets.contains(&"65.536".to_owned()), "{buckets:?}");
    let syncs: f64 = samples
        .iter()
        .filter(|(series, _)| series.starts_with("job_controller_job_syncs_total{"))
        .map(|(_, n)| n)
        .sum();
    assert_eq!(looks, syncs, "each look is in both series");
    let created =
        r#"job_controller_job_syncs_total{action="pods_created",completion_mode="NonIndexed",result="success"}"#;
    assert!(samples[created] >= 4.0, "{}", samples[created]);
    let (buckets, _) = histogram(&samples, "ttl_after_finished_controller_job_deletion_duration_seconds");
    assert!(buckets.len() == 15 && buckets.contains(&"819.2".to_owned()), "{buckets:?}");
    let (buckets, _) = histogram(&samples, "cronjob_controller_job_creation_skew_duration_seconds");
    assert!(buckets.len() == 11 && buckets.contains(&"512".to_owned()), "{buckets:?}");
}

/// What every daemon shows of itself, and what the API server does of its requests.
#[tokio::test]
async fn requests_watchers_commits_and_the_process_are_shown() {
    let daemon = Daemon::start().await;
    let client = daemon.client();
    let watching = r#"apiserver_longrunning_requests{component="apiserver",group="batch",resource="jobs",scope="namespace",subresource="",verb="WATCH",version="v1"}"#;
    let watch = Watch::open(&client, &format!("{JOBS}?watch=true")).await;
    client.post(&format!("{JOBS}?dryRun=All"), &manifest::job("dry", "true")).await.expect(201);
    let mut job = manifest::job("a", "true");
    job["spec"]["suspend"] = json!(true);
    client.post(JOBS, &job).await.expect(201);
    client.post(JOBS, &job).await.expect(409);
    client.wait(&format!("{JOBS}/a"), "suspended", |job| has_condition(job, "Suspended")).await;
    let request = |verb: &str, dry_run: &str, scope: &str, code: u16| {
        format!(
            r#"apiserver_request_total{{code="{code}",component="apiserver",dry_run="{dry_run}",group="batch",resource="jobs",scope="{scope}",subresource="",verb="{verb}",version="v1"}}"#
        )
    };
    let samples = wait_for(
        &client,
        &[
            (watching, 1.0),
            (&request("WATCH", "", "namespace", 200), 1.0),
            (&request("POST", "All", "resource", 201), 1.0),
            (&request("POST", "", "resource", 201), 1.0),
            (&request("POST", "", "resource", 409), 1.0),
            (r#"apiserver_current_inflight_requests{request_kind="mutating"}"#, 0.0),
            (r#"jobd_active_objects{resource="jobs"}"#, 1.0),
        ],
    )
    .await;
    assert!(samples["process_resident_memory_bytes"] > 1e6);
    assert!(samples["process_cpu_seconds_total"] > 0.0);
    assert!(samples["process_open_fds"] > 5.0);
    assert!(samples["process_start_time_seconds"] > 1.7e9);
    assert!(samples["jobd_store_commit_duration_seconds_count"] > 1.0);
    assert!(samples["jobd_store_sync_duration_seconds_sum"] > 0.0);
    assert!(samples["jobd_store_requests_refused_total"] >= 1.0, "the second create");
    assert!(samples["jobd_store_revision"] > 1.0);
    assert_eq!(samples[r#"workqueue_depth{name="job"}"#], 0.0);
    assert_eq!(samples[&format!(r#"jobd_build_info{{version="{}"}}"#, env!("CARGO_PKG_VERSION"))], 1.0);
    drop(watch);
    wait_for(&client, &[(watching, 0.0)]).await;
}
