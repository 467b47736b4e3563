//! The data directory: files of older releases, of newer ones, and who may read them (R-10, F-21).

use std::{
    os::unix::{fs::PermissionsExt as _, process::CommandExt as _},
    path::Path,
    process::Command,
};

use jobd_tests::{Daemon, daemon::program, docker_host, manifest};
use serde_json::json;

use crate::{JOBS, PODS};

/// One file per schema, written by a daemon of that time: a finished job with its pod and events. To add one after a change of the
/// schema: run a job to its end, stop the daemon, copy `jobd.db`.
const FIXTURES: [&str; 1] = ["schema-1.db"];

#[tokio::test]
async fn every_older_file_is_opened_and_worked_on_r10() {
    for fixture in FIXTURES {
        // The fixture's events are old by now.
        let mut daemon = Daemon::prepare(&["--no-listen", "--event-ttl-hours", "1000000"], &[]);
        std::fs::create_dir_all(daemon.data_dir()).unwrap();
        let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(fixture);
        std::fs::copy(&from, daemon.data_dir().join("jobd.db")).unwrap();
        daemon.spawn();
        daemon.ready().await;
        let client = daemon.client();
        let job = client.get(&format!("{JOBS}/finished")).await.expect(200);
        assert_eq!(job["status"]["succeeded"], 1, "{fixture}: {job}");
        assert!(jobd_tests::client::has_condition(&job, "Complete"), "{fixture}: {job}");
        let pods = client.pods_of("default", "finished").await;
        assert_eq!(pods.len(), 1, "{fixture}");
        assert_eq!(pods[0]["status"]["phase"], "Succeeded", "{fixture}");
        let events = client.get("/api/v1/namespaces/default/events").await.expect(200);
        let reasons: Vec<_> = events["items"].as_array().unwrap().iter().map(|event| event["reason"].clone()).collect();
        for reason in ["SuccessfulCreate", "Scheduled", "Started", "Completed"] {
            assert!(reasons.contains(&json!(reason)), "{fixture}: {reasons:?}");
        }
        let revision: u64 = job["metadata"]["resourceVersion"].as_str().unwrap().parse().unwrap();
        client.post(JOBS, &manifest::job("new", "true")).await.expect(201);
        let new = client.wait_job("default", "new", "Complete").await;
        let later: u64 = new["metadata"]["resourceVersion"].as_str().unwrap().parse().unwrap();
        assert!(later > revision, "{fixture}: revisions only rise");
        client.delete(&format!("{JOBS}/finished"), &json!({"propagationPolicy": "Background"})).await.expect(200);
        client.wait_gone(&format!("{PODS}/{}", pods[0]["metadata"]["name"].as_str().unwrap())).await;
    }
}

#[tokio::test]
async fn a_newer_file_is_refused_in_a_sentence_and_not_touched_r10() {
    let dir = tempfile::tempdir().unwrap();
    let database = dir.path().join("jobd.db");
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(FIXTURES[FIXTURES.len() - 1]);
    std::fs::copy(from, &database).unwrap();
    let changed = Command::new("sqlite3").arg(&database).arg("PRAGMA user_version = 99").status().unwrap();
    assert!(changed.success());
    let before = std::fs::read(&database).unwrap();
    let output = Command::new(program())
        .args(["serve", "--no-listen", "--data-dir"])
        .arg(dir.path())
        .env("DOCKER_HOST", docker_host())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("newer jobd") && text.contains("schema 99"), "{text}");
    assert!(std::fs::read(&database).unwrap() == before, "the file is as it was");
}

/// DESIGN section 7: the group gets the socket and nothing else.
#[tokio::test]
async fn the_sockets_group_may_use_the_socket_and_read_nothing() {
    const GROUP: u32 = 54_321;
    let daemon = Daemon::start_with(&["--listen", "127.0.0.1:0", "--socket-group", &GROUP.to_string()], &[]).await;
    let dir = daemon.data_dir();
    daemon.client().post(JOBS, &manifest::job("one", "echo secret")).await.expect(201);
    daemon.client().wait_job("default", "one", "Complete").await;
    // Only the test's own directory above stands in the group's way.
    std::fs::set_permissions(dir.parent().unwrap(), std::fs::Permissions::from_mode(0o711)).unwrap();
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&dir), 0o710);
    for entry in std::fs::read_dir(&dir).unwrap() {
        let path = entry.unwrap().path();
        let wanted = match path.file_name().and_then(|name| name.to_str()) {
            Some("jobd.sock") => 0o660,
            _ if path.is_dir() => 0o700,
            _ => 0o600,
        };
        assert_eq!(mode(&path), wanted, "{}", path.display());
    }
    let as_member = |command: &mut Command| {
        let output = command.uid(GROUP).gid(GROUP).output().unwrap();
        (output.status.success(), String::from_utf8_lossy(&output.stdout).into_owned())
    };
    let socket = dir.join("jobd.sock").display().to_string();
    let (_, text) = as_member(Command::new("curl").args(["-s", "--unix-socket", &socket, "http://localhost/version"]));
    assert!(text.contains("gitVersion"), "{text}");
    for path in [dir.clone(), dir.join("jobd.db"), dir.join("token"), dir.join("pods")] {
        let (read, text) = as_member(Command::new("ls").arg(&path).arg("-R"));
        let (copied, _) = as_member(Command::new("cat").arg(&path));
        assert!(!copied && (!read || path.is_file()), "{}: {text}", path.display());
    }
    let stranger = Command::new("curl")
        .args(["-s", "--unix-socket", &socket, "http://localhost/version"])
        .uid(GROUP + 1)
        .gid(GROUP + 1)
        .output()
        .unwrap();
    assert!(!stranger.status.success(), "who is not of the group stays outside");
}
