//! The daemon is killed again and again, at named failpoints and at random, while jobs run on the real engine (F-1, promises ).
//!
//! Each container leaves a mark of its own in a host directory. In the end every job is as it must be, no attempt ran twice, none is
//! lost, no container is left over, and the counters equal what really ran.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::Duration,
};

use jobd_tests::{Client, Daemon, client::has_condition, daemon::program, engine, eventually};
use serde_json::{Value, json};

/// Before and after each commit and each engine call (`jobd::failpoint`).
const FAILPOINTS: [&str; 8] = [
    "store.before_commit",
    "store.after_commit",
    "node.after_create_intent",
    "node.after_create_sent",
    "node.after_start_sent",
    "node.after_die",
    "node.before_status_commit",
    "node.after_status_commit",
];

const JOBS: &str = "/apis/batch/v1/namespaces/default/jobs";

/// What a job's containers do.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Work {
    /// Succeeds at the first try.
    Succeeds,
    /// Every index fails once and then succeeds.
    Retries,
    /// Three runs, two at a time.
    Parallel,
}

fn job(name: &str, work: Work, marks: &Path) -> Value {
    // The mark is made before anything else: a container that ran has one. `$$` is 1 in every container, so the name is random.
    let mark = "mktemp -p /marks run.$POD.XXXXXX >/dev/null || exit 90";
    let script = match work {
        Work::Succeeds | Work::Parallel => format!("{mark}; touch /marks/ok.$POD; exit 0"),
        Work::Retries => format!(
            "{mark}; if mkdir /marks/tried.$JOB 2>/dev/null; then touch /marks/bad.$POD; exit 7; fi; touch /marks/ok.$POD; exit 0"
        ),
    };
    let (completions, parallelism) = if work == Work::Parallel { (3, 2) } else { (1, 1) };
    json!({
        "apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name},
        "spec": {
            "completions": completions, "parallelism": parallelism, "backoffLimit": 100,
            "template": {"spec": {
                "restartPolicy": "Never",
                "containers": [{
                    "name": "main", "image": "busybox:1.36", "command": ["sh", "-c", script],
                    "env": [
                        {"name": "POD", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
                        {"name": "JOB", "valueFrom": {"fieldRef": {"fieldPath": "metadata.labels['job-name']"}}},
                    ],
                    "volumeMounts": [{"name": "marks", "mountPath": "/marks"}],
                }],
                "volumes": [{"name": "marks", "hostPath": {"path": marks}}],
            }},
        },
    })
}

/// Posts a job as a client does that lost the answer: again, until the daemon says that it is there.
async fn submit(client: &Client, job: &Value) -> bool {
    let headers = [("content-type", "application/json")];
    matches!(client.try_request("POST", JOBS, &headers, job.to_string()).await, Ok(answer) if answer.status == 201 || answer.status == 409)
}

struct Run {
    daemon: Daemon,
    marks: PathBuf,
    jobs: BTreeMap<String, (Work, bool)>,
}

impl Run {
    fn new() -> Self {
        let daemon = Daemon::prepare(&["--no-listen"], &[]);
        let marks = daemon.data_dir().with_file_name("marks");
        std::fs::create_dir_all(&marks).unwrap();
        Self { daemon, marks, jobs: BTreeMap::new() }
    }

    fn plan(&mut self, count: usize) {
        for _ in 0..count {
            let number = self.jobs.len();
            let work = [Work::Succeeds, Work::Retries, Work::Parallel][number % 3];
            self.jobs.insert(format!("job-{number}"), (work, false));
        }
    }

    /// Sends the jobs whose answer has not come yet.
    async fn submit(&mut self) {
        let client = self.daemon.client();
        for (name, (work, sent)) in &mut self.jobs {
            if !*sent {
                *sent = submit(&client, &job(name, *work, &self.marks)).await;
            }
        }
    }

    /// Runs the daemon until it dies at a failpoint, or for `limit`, then by SIGKILL. Says whether the failpoint was hit.
    async fn until_killed(&mut self, failpoint: &str, limit: Duration) -> bool {
        self.daemon.spawn_program(&program(), &[("JOBD_FAILPOINT", failpoint)]);
        let ends = tokio::time::Instant::now() + limit;
        loop {
            self.submit().await;
            if self.daemon.ended().is_some() {
                self.daemon.kill();
                return true;
            }
            if tokio::time::Instant::now() > ends {
                self.daemon.kill();
                return false;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Lets everything come to its end and judges it.
    async fn judge(&mut self) {
        self.daemon.spawn();
        self.daemon.ready().await;
        let client = self.daemon.client();
        eventually("every job to be accepted", async || {
            self.submit().await;
            if self.jobs.values().all(|(_, sent)| *sent) { Ok(()) } else { Err("not yet".to_owned()) }
        })
        .await;
        // Retries wait 10 s and more each, so this takes longer than the usual deadline.
        let ends = tokio::time::Instant::now() + Duration::from_secs(600);
        loop {
            let jobs = client.get(JOBS).await.expect(200);
            let open: Vec<_> = jobs["items"]
                .as_array()
                .unwrap()
                .iter()
                .filter(|job| !has_condition(job, "Complete"))
                .cloned()
                .collect();
            if open.is_empty() {
                break;
            }
            assert!(open.iter().all(|job| !has_condition(job, "Failed")), "a job failed: {open:?}");
            assert!(tokio::time::Instant::now() < ends, "jobs do not end: {open:?}\n{}", self.daemon.log());
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        let runs: Vec<String> = std::fs::read_dir(&self.marks)
            .unwrap()
            .filter_map(|entry| entry.unwrap().file_name().into_string().ok())
            .collect();
        let runs_of = |pod: &str| runs.iter().filter(|mark| mark.starts_with(&format!("run.{pod}."))).count();
        let marked = |mark: String| runs.contains(&mark);
        let mut known = 0;
        for (name, (work, _)) in &self.jobs {
            let job = client.get(&format!("{JOBS}/{name}")).await.expect(200);
            let pods = client.pods_of("default", name).await;
            let wanted = if *work == Work::Parallel { 3 } else { 1 };
            assert_eq!(job["status"]["succeeded"], wanted, "{job}");
            assert!(job["status"].get("active").is_none(), "{job}");
            let mut succeeded = 0;
            let mut failed = 0;
            for pod in &pods {
                let pod_name = pod["metadata"]["name"].as_str().unwrap();
                let ran = runs_of(pod_name);
                known += ran;
                assert!(ran <= 1, "{pod_name} ran {ran} times");
                let terminated = &pod["status"]["containerStatuses"][0]["state"]["terminated"];
                if pod["status"]["phase"] == "Succeeded" {
                    succeeded += 1;
                    assert!(
                        ran == 1 && marked(format!("ok.{pod_name}")),
                        "{pod_name} is Succeeded and did not run: {pod}"
                    );
                } else {
                    assert_eq!(pod["status"]["phase"], "Failed", "{pod}");
                    failed += 1;
                    // its own code, or "unknown"; never a code that it did not end with.
                    if terminated["reason"] == "ContainerStatusUnknown" {
                        assert_eq!(terminated["exitCode"], 137, "{pod}");
                        assert!(has_condition(pod, "DisruptionTarget"), "{pod}");
                    } else {
                        assert_eq!(terminated["exitCode"], 7, "{pod}");
                        assert!(marked(format!("bad.{pod_name}")), "{pod_name} is Failed and did not fail: {pod}");
                    }
                }
            }
            assert_eq!((succeeded, failed), (wanted, job["status"]["failed"].as_i64().unwrap_or(0)), "{job} {pods:?}");
        }
        let all = runs.iter().filter(|mark| mark.starts_with("run.")).count();
        assert_eq!(known, all, "every run belongs to a pod that the store knows");
        let instance = self.daemon.instance();
        eventually("no container of ours to be left", async || {
            let left = engine::containers(&instance);
            if left.is_empty() { Ok(()) } else { Err(format!("{left:?}")) }
        })
        .await;
        assert_eq!(self.daemon.log().matches("panicked").count(), 0, "{}", self.daemon.log());
    }
}

async fn crash(rounds: usize, jobs_per_kill: usize) {
    let mut run = Run::new();
    let mut hits: BTreeMap<&str, usize> = BTreeMap::new();
    let mut tries = 0;
    while let Some(failpoint) = FAILPOINTS.into_iter().find(|point| hits.get(point).copied().unwrap_or(0) < rounds) {
        tries += 1;
        assert!(tries < FAILPOINTS.len() * rounds * 3, "failpoints that are never hit: {failpoint}; hits: {hits:?}");
        run.plan(jobs_per_kill);
        // Another moment each time: the first, second, … hit.
        let nth = 1 + (tries * 7) % 5;
        if run.until_killed(&format!("{failpoint}:{nth}"), Duration::from_secs(12)).await {
            *hits.entry(failpoint).or_default() += 1;
        }
    }
    // And at random moments, by SIGKILL.
    for moment in 0..rounds * 2 {
        run.plan(jobs_per_kill);
        run.until_killed("none:1", Duration::from_millis(150 + 137 * (moment as u64 % 7))).await;
    }
    println!("{} jobs; failpoints hit: {hits:?}; {} SIGKILLs", run.jobs.len(), rounds * 2);
    run.judge().await;
}

/// Each failpoint once; `make crash` sets `JOBD_CRASH_ROUNDS=3` for the long form with more than 60 jobs.
#[tokio::test]
async fn nothing_runs_twice_and_nothing_is_lost_when_the_daemon_is_killed() {
    let rounds = std::env::var("JOBD_CRASH_ROUNDS").ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(1);
    crash(rounds, if rounds > 1 { 3 } else { 2 }).await;
}
