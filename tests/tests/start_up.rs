//! Starting and stopping: clear errors, one daemon per data directory, restarts that lose nothing.

use std::process::Command;

use jobd_tests::{Daemon, daemon::program, docker_host, engine, eventually, manifest};
use serde_json::json;

const JOBS: &str = "/apis/batch/v1/namespaces/default/jobs";

fn serve(arguments: &[&str]) -> (i32, String) {
    let output =
        Command::new(program()).arg("serve").args(arguments).env("DOCKER_HOST", docker_host()).output().unwrap();
    (output.status.code().unwrap_or(-1), String::from_utf8_lossy(&output.stderr).into_owned())
}

/// Issue text, item 4 and 13: the second daemon says so and stops.
#[tokio::test]
async fn a_second_daemon_on_the_same_data_directory_says_so_and_stops() {
    let daemon = Daemon::start().await;
    let dir = daemon.data_dir().display().to_string();
    let (code, text) = serve(&["--no-listen", "--data-dir", &dir]);
    assert_eq!(code, 1, "{text}");
    assert!(text.contains("another jobd") && text.contains(&dir), "{text}");
    daemon.client().get("/readyz").await.expect(200);
}

#[tokio::test]
async fn what_keeps_it_from_starting_is_said_in_a_sentence() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    std::fs::write(&file, "x").unwrap();
    let data = dir.path().join("data").display().to_string();
    let (code, text) = serve(&["--listen", &address, "--data-dir", &data]);
    assert_eq!(code, 1);
    assert!(text.contains(&address) && text.contains("in use"), "{text}");
    let (code, text) = serve(&["--no-listen", "--data-dir", &file.display().to_string()]);
    assert_eq!(code, 1);
    assert!(text.contains(&file.display().to_string()), "{text}");
    let (code, text) = serve(&["--no-listen", "--data-dir", &data, "--insecure-listen", "0.0.0.0:1"]);
    assert_eq!(code, 1);
    assert!(text.contains("not a loopback address"), "{text}");
    let newer = dir.path().join("newer");
    std::fs::create_dir(&newer).unwrap();
    std::fs::write(newer.join("jobd.db"), "this is no database, but long enough to have a header of its own").unwrap();
    let (code, text) = serve(&["--no-listen", "--data-dir", &newer.display().to_string()]);
    assert_eq!(code, 1);
    assert!(text.contains("jobd.db"), "{text}");
}

/// J-2552: nothing is stopped and no pod is failed because the daemon goes. Issue text, item 9; R-8: jobd is stopped and started under running jobs, and nothing is lost.
#[tokio::test]
async fn a_restart_leaves_containers_running_and_takes_them_over() {
    let mut daemon = Daemon::start().await;
    let client = daemon.client();
    client.post(JOBS, &manifest::job("long", "echo begun; sleep 4; echo done")).await.expect(201);
    client.wait(&format!("{JOBS}/long"), "ready", |job| job["status"]["ready"] == 1).await;
    let before = engine::containers(&daemon.instance());
    assert_eq!(before.len(), 1);
    daemon.terminate().await;
    assert_eq!(engine::containers(&daemon.instance()), before, "SIGTERM leaves the container");
    daemon.spawn();
    daemon.ready().await;
    let job = client.wait_job("default", "long", "Complete").await;
    assert_eq!(job["status"]["succeeded"], 1);
    let pods = client.pods_of("default", "long").await;
    assert_eq!(pods.len(), 1, "one pod, one attempt: {pods:?}");
    assert_eq!(pods[0]["status"]["containerStatuses"][0]["restartCount"], 0);
    let log = client
        .get(&format!("/api/v1/namespaces/default/pods/{}/log", pods[0]["metadata"]["name"].as_str().unwrap()))
        .await;
    assert_eq!(log.text(), "begun\ndone\n");
}

/// a job that ended while jobd was away is counted with its real exit code.
#[tokio::test]
async fn an_end_while_the_daemon_was_away_is_counted_once() {
    let mut daemon = Daemon::start().await;
    let client = daemon.client();
    client.post(JOBS, &manifest::job_with("short", "sleep 1; exit 5", &json!({"backoffLimit": 0}))).await.expect(201);
    client.wait(&format!("{JOBS}/short"), "ready", |job| job["status"]["ready"] == 1).await;
    let instance = daemon.instance();
    let containers = engine::containers(&instance);
    daemon.kill();
    eventually("the container to end", async || {
        let state = engine::state(&containers[0]);
        if state == "exited" { Ok(()) } else { Err(state) }
    })
    .await;
    daemon.spawn();
    daemon.ready().await;
    let job = client.wait_job("default", "short", "Failed").await;
    assert_eq!(job["status"]["failed"], 1);
    let pods = client.pods_of("default", "short").await;
    assert_eq!(pods[0]["status"]["containerStatuses"][0]["state"]["terminated"]["exitCode"], 5);
}
