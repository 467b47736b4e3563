//! The engine is killed and comes back while jobs run (F-11, R-8): on an engine of its own, beside the machine's.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, File},
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use jobd_tests::{Client, Daemon, Proxy, client::has_condition, eventually, manifest, proxy::Fault};
use serde_json::{Value, json};

const JOBS: &str = "/apis/batch/v1/namespaces/default/jobs";

/// The second engine; gone when dropped.
struct SecondEngine {
    dir: PathBuf,
    /// There is one at a time: all have the same bridge.
    _lock: File,
}

impl SecondEngine {
    fn start(arguments: &[&str]) -> Self {
        let lock = File::create(std::env::temp_dir().join("jobd-second-engine.lock")).unwrap();
        lock.lock().unwrap();
        let engine = Self { dir: std::env::temp_dir().join(jobd_tests::unique("jobd-engine")), _lock: lock };
        engine.script("start", arguments);
        let images = Command::new(script("engine.sh")).arg("images").env("DOCKER_HOST", engine.host()).status();
        assert!(images.is_ok_and(|status| status.success()), "images for the second engine");
        engine
    }

    fn script(&self, verb: &str, arguments: &[&str]) {
        let status = Command::new(script("second-engine.sh")).arg(verb).arg(&self.dir).args(arguments).status();
        assert!(status.is_ok_and(|status| status.success()), "second-engine.sh {verb}");
    }

    fn host(&self) -> String {
        format!("unix://{}/docker.sock", self.dir.display())
    }

    fn pid(&self) -> u32 {
        fs::read_to_string(self.dir.join("pid")).unwrap().trim().parse().unwrap()
    }
}

/// A process that was killed may stay a zombie for a while.
fn is_alive(pid: u32) -> bool {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let state = status.lines().find_map(|line| line.strip_prefix("State:")).unwrap_or("X").trim();
    !state.starts_with(['Z', 'X'])
}

impl Drop for SecondEngine {
    fn drop(&mut self) {
        drop(Command::new(script("second-engine.sh")).arg("clean").arg(&self.dir).status());
    }
}

fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("prepare").join(name)
}

/// D-601 to D-603, R-3, R-4, R-8: what the engine's death ended is a disruption, is counted, and is tried again; the API stays up.
#[tokio::test]
async fn an_engine_that_is_killed_and_started_again_loses_no_job() {
    let engine = SecondEngine::start(&[]);
    let daemon = Daemon::start_with(&["--no-listen", "--docker-host", &engine.host()], &[]).await;
    let client = daemon.client();
    let marks = daemon.data_dir().with_file_name("marks");
    std::fs::create_dir_all(&marks).unwrap();
    for number in 0..3 {
        let mut job = manifest::job(&format!("job-{number}"), "mktemp -p /marks run.$POD.XXXXXX; sleep 5");
        let spec = &mut job["spec"]["template"]["spec"];
        spec["terminationGracePeriodSeconds"] = json!(1);
        spec["containers"][0]["env"] =
            json!([{"name": "POD", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}]);
        spec["containers"][0]["volumeMounts"] = json!([{"name": "marks", "mountPath": "/marks"}]);
        spec["volumes"] = json!([{"name": "marks", "hostPath": {"path": marks}}]);
        client.post(JOBS, &job).await.expect(201);
        client.wait(&format!("{JOBS}/job-{number}"), "ready", |job| job["status"]["ready"] == 1).await;
    }
    engine.script("kill", &[]);
    // A job that comes while the engine is away is accepted and waits.
    client.post(JOBS, &manifest::job("meanwhile", "true")).await.expect(201);
    let waiting = client.get(&format!("{JOBS}/meanwhile")).await.expect(200);
    assert!(!has_condition(&waiting, "Failed"), "{waiting}");
    engine.script("start", &[]);
    for name in ["job-0", "job-1", "job-2", "meanwhile"] {
        client.wait_job("default", name, "Complete").await;
        for pod in client.pods_of("default", name).await {
            let pod_name = pod["metadata"]["name"].as_str().unwrap();
            let runs = std::fs::read_dir(&marks)
                .unwrap()
                .filter(|entry| {
                    entry.as_ref().unwrap().file_name().to_string_lossy().starts_with(&format!("run.{pod_name}."))
                })
                .count();
            assert!(runs <= 1, "{pod_name} ran {runs} times");
            if pod["status"]["phase"] == "Failed" {
                assert!(has_condition(&pod, "DisruptionTarget"), "the engine ended it, not its program: {pod}");
            }
        }
    }
    daemon.client().get("/readyz").await.expect(200);
}

/// How many times each engine is killed; `JOBD_ENGINE_KILLS` for the long form.
fn kills() -> usize {
    std::env::var("JOBD_ENGINE_KILLS").ok().and_then(|text| text.parse().ok()).unwrap_or(6)
}

/// How long after the engine heard of a start it is killed, every other time: over the whole length of a start, and beyond.
const AFTER_MS: [u64; 12] = [40, 150, 5, 300, 90, 0, 600, 200, 20, 70, 1000, 120];

/// D-610, I-2, R-3, R-4: the engine is killed in the middle of starts, again and again.
#[tokio::test]
async fn no_attempt_runs_twice_when_the_engine_is_killed_while_it_starts_containers_d610() {
    kill_in_the_middle_of_starts(&[]).await;
}

/// The same for an engine that leaves containers alone while it is away (D-601).
#[tokio::test]
async fn no_attempt_runs_twice_when_an_engine_with_live_restore_is_killed_while_it_starts_containers_d610() {
    kill_in_the_middle_of_starts(&["--live-restore"]).await;
}

/// What was seen over all rounds.
#[derive(Debug, Default)]
struct Tally {
    pods: usize,
    marks: usize,
    unknown_with_mark: usize,
    unknown_without_mark: usize,
    made_again: usize,
}

async fn kill_in_the_middle_of_starts(arguments: &[&str]) {
    let engine = SecondEngine::start(arguments);
    let proxy = Proxy::open_to(&engine.host());
    let daemon = Daemon::start_with(&["--no-listen", "--docker-host", &proxy.host()], &[]).await;
    let client = daemon.client();
    let marks = daemon.data_dir().with_file_name("marks");
    fs::create_dir_all(&marks).unwrap();
    // The first container that runs shows that cgroups are where they are looked for.
    client.post(JOBS, &manifest::job("first", "sleep 1")).await.expect(201);
    client.wait_job("default", "first", "Complete").await;
    let evidence = daemon.data_dir().join("cgroups-verified").exists();
    assert!(evidence || daemon.log().contains("no cgroup tells"), "{}", daemon.log());
    let mut tally = Tally::default();
    for (round, after) in AFTER_MS.iter().cycle().take(kills()).enumerate() {
        let name = format!("round-{round}");
        let pid = engine.pid();
        let by_mark = round % 2 == 1;
        if !by_mark {
            proxy.fault("POST", "/start", round % 4, Fault::Delay(Duration::ZERO));
            proxy.fault("POST", "/start", 1, Fault::Kill { pid, after: Duration::from_millis(*after) });
        }
        client.post(JOBS, &marking_job(&name, round, &marks)).await.expect(201);
        if by_mark {
            // A command has just begun: the engine may not know it yet.
            wait_mark(&marks, &name).await;
            drop(Command::new("kill").arg("-KILL").arg(pid.to_string()).status());
        }
        eventually("the engine to be killed", async || if is_alive(pid) { Err(pid.to_string()) } else { Ok(()) }).await;
        engine.script("start", arguments);
        client.wait_job("default", &name, "Complete").await;
        judge(&client, &name, &marks, evidence, &mut tally).await;
    }
    tally.made_again = daemon.log().matches("fenced: it never ran, so it is created again").count();
    println!("{} kills {arguments:?}, evidence {evidence}: {tally:?}", kills());
    for round in 0..kills() {
        let path = format!("{JOBS}/round-{round}");
        client.delete(&path, &json!({"propagationPolicy": "Foreground"})).await.expect(200);
        client.wait_gone(&path).await;
    }
    client.delete(&format!("{JOBS}/first"), &json!({"propagationPolicy": "Foreground"})).await.expect(200);
    // Processes that no container accounted for have been ended, so that nothing of ours remains.
    let ours = Path::new("/sys/fs/cgroup/cpuacct/jobd").join(daemon.instance());
    eventually("nothing to be left of any attempt", async || {
        let left: Vec<_> = fs::read_dir(&ours).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
        if left.iter().any(|path| path.is_dir()) { Err(format!("{left:?}")) } else { Ok(()) }
    })
    .await;
}

/// Waits until a container of the job has left a mark; looks every millisecond.
async fn wait_mark(marks: &Path, job: &str) {
    let started = std::time::Instant::now();
    let is_there = || {
        let entries = fs::read_dir(marks).unwrap().flatten();
        entries.into_iter().any(|entry| entry.file_name().to_string_lossy().starts_with(&format!("{job}-")))
    };
    while !is_there() {
        assert!(started.elapsed() < jobd_tests::DEADLINE, "no container of {job} has left a mark");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// A job whose containers each leave a mark with their own cgroup in it, which names the attempt.
fn marking_job(name: &str, round: usize, marks: &Path) -> Value {
    let script = "f=$(mktemp -p /marks $POD.XXXXXX); cat /proc/self/cgroup > $f; sleep 0.4";
    let container = |name: &str| {
        json!({
            "name": name, "image": "busybox:1.36", "command": ["sh", "-c", script],
            "env": [{"name": "POD", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}],
            "volumeMounts": [{"name": "marks", "mountPath": "/marks"}],
        })
    };
    let mut template = json!({
        "restartPolicy": if round % 4 < 2 { "Never" } else { "OnFailure" }, "terminationGracePeriodSeconds": 1,
        "containers": [container("main")], "volumes": [{"name": "marks", "hostPath": {"path": marks}}],
    });
    if round % 3 == 2 {
        // On a sandbox.
        template["initContainers"] = json!([container("prepare")]);
    }
    json!({
        "apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name},
        "spec": {
            "parallelism": 3, "completions": 4, "backoffLimit": 20, "template": {"spec": template},
        },
    })
}

/// Each attempt has run at most once, who succeeded has run, and what is unknown could not be known.
async fn judge(client: &Client, job: &str, marks: &Path, evidence: bool, tally: &mut Tally) {
    let done = client.get(&format!("{JOBS}/{job}")).await.expect(200);
    assert_eq!(done["status"]["succeeded"], 4, "{done}");
    // By pod, the attempts that have run: `<uid>.<container>.<attempt>`.
    let mut ran: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for entry in fs::read_dir(marks).unwrap().flatten() {
        let file = entry.file_name().into_string().unwrap();
        let (pod, _) = file.rsplit_once('.').unwrap();
        let shown = fs::read_to_string(entry.path()).unwrap();
        let group = shown.lines().find_map(|line| line.split("/jobd/").nth(1)?.split('/').nth(1));
        if pod.starts_with(&format!("{job}-")) {
            ran.entry(pod.to_owned()).or_default().push(group.unwrap_or_default().to_owned());
        }
    }
    for pod in client.pods_of("default", job).await {
        let name = pod["metadata"]["name"].as_str().unwrap();
        let attempts = ran.remove(name).unwrap_or_default();
        tally.pods += 1;
        tally.marks += attempts.len();
        let once: BTreeSet<_> = attempts.iter().filter(|group| !group.is_empty()).collect();
        assert_eq!(once.len(), attempts.iter().filter(|group| !group.is_empty()).count(), "{attempts:?}: {pod}");
        let statuses = ["initContainerStatuses", "containerStatuses"];
        for status in statuses.iter().flat_map(|list| pod["status"][list].as_array().into_iter().flatten()) {
            let container = status["name"].as_str().unwrap();
            let marked = |attempt: i64| attempts.iter().any(|one| one.ends_with(&format!(".{container}.{attempt}")));
            let last = status["restartCount"].as_i64().unwrap();
            for (state, attempt) in [("state", last), ("lastState", last - 1)] {
                let end = &status[state]["terminated"];
                if end["exitCode"] == 0 && !once.is_empty() {
                    assert!(marked(attempt), "it is said to have succeeded and left no mark: {pod}");
                }
                if end["reason"] == "ContainerStatusUnknown" {
                    let why = end["message"].as_str().unwrap();
                    assert!(!evidence || !why.contains("no cgroup tells"), "there was evidence: {pod}");
                    let count =
                        if marked(attempt) { &mut tally.unknown_with_mark } else { &mut tally.unknown_without_mark };
                    *count += 1;
                    println!("{job}/{name} {container}.{attempt}: {why}; marked: {}", marked(attempt));
                }
            }
        }
        let alone = pod["spec"]["restartPolicy"] == "Never" && pod["spec"]["initContainers"].is_null();
        assert!(!alone || attempts.len() <= 1, "{name} ran {} times", attempts.len());
        if pod["status"]["phase"] == "Failed" {
            assert!(has_condition(&pod, "DisruptionTarget"), "the engine ended it, not its program: {pod}");
        }
    }
    assert!(ran.is_empty(), "pods that the job does not know: {ran:?}");
}

/// F-8: pods wait for an engine that is not there at the start, and run when it comes.
#[tokio::test]
async fn jobs_wait_for_an_engine_that_is_not_there_yet() {
    let socket = std::env::temp_dir().join(jobd_tests::unique("jobd-late")).with_extension("sock");
    let host = format!("unix://{}", socket.display());
    let daemon = Daemon::start_with(&["--no-listen", "--docker-host", &host], &[]).await;
    let client = daemon.client();
    client.post(JOBS, &manifest::job("early", "true")).await.expect(201);
    assert!(daemon.log().contains("does not answer"), "the log says that there is no engine:\n{}", daemon.log());
    let real = jobd_tests::docker_host();
    std::os::unix::fs::symlink(real.trim_start_matches("unix://"), &socket).unwrap();
    client.wait_job("default", "early", "Complete").await;
    drop(std::fs::remove_file(&socket));
    eventually("the daemon to go on", async || {
        let answer = client.get("/readyz").await;
        if answer.status == 200 { Ok(()) } else { Err(answer.text()) }
    })
    .await;
}
