//! The engine is killed and comes back while jobs run (F-11, R-8): on an engine of its own, beside the machine's.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use jobd_tests::{Daemon, client::has_condition, eventually, manifest};
use serde_json::json;

const JOBS: &str = "/apis/batch/v1/namespaces/default/jobs";

/// The second engine; gone when dropped.
struct SecondEngine {
    dir: PathBuf,
}

impl SecondEngine {
    fn start(arguments: &[&str]) -> Self {
        let engine = Self { dir: std::env::temp_dir().join(jobd_tests::unique("jobd-engine")) };
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
