//! Starting and stopping: clear errors, one daemon per data directory, restarts that lose nothing.

use std::{
    os::unix::{fs::PermissionsExt as _, process::CommandExt as _},
    path::Path,
    process::Command,
};

use bytes::Bytes;
use jobd_tests::{Client, Daemon, Proxy, daemon::program, docker_host, engine, eventually, manifest};
use serde_json::{Value, json};

const JOBS: &str = "/apis/batch/v1/namespaces/default/jobs";

/// Runs a command of the program that ends by itself: its exit code, standard output and standard error.
fn run(arguments: &[&str]) -> (i32, String, String) {
    let output = Command::new(program()).args(arguments).env("DOCKER_HOST", docker_host()).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code().unwrap_or(-1), text(&output.stdout), text(&output.stderr))
}

/// A daemon that must not start; its last words, of one line.
fn refused(arguments: &[&str]) -> String {
    let (code, _, text) = run(&[&["serve"], arguments].concat());
    assert_eq!(code, 1, "{arguments:?}: {text}");
    let last = text.lines().last().unwrap_or_default().to_owned();
    assert!(last.starts_with("jobd: "), "{arguments:?}: {text}");
    last
}

/// Issue text, item 4 and 13: the second daemon says so and stops.
#[tokio::test]
async fn a_second_daemon_on_the_same_data_directory_says_so_and_stops() {
    let daemon = Daemon::start().await;
    let dir = daemon.data_dir().display().to_string();
    let text = refused(&["--no-listen", "--data-dir", &dir]);
    assert!(text.contains(&format!("another jobd (process {}) has it open", daemon.pid())), "{text}");
    assert!(text.contains(&dir), "{text}");
    daemon.client().get("/readyz").await.expect(200);
}

#[test]
fn what_keeps_it_from_starting_is_said_in_a_sentence() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).display().to_string();
    let data = path("data");
    std::fs::write(path("file"), "x").unwrap();
    std::fs::create_dir(path("text")).unwrap();
    std::fs::write(path("text/jobd.db"), "this is no database, but long enough to have a header of its own".repeat(2))
        .unwrap();
    std::fs::create_dir(path("foreign")).unwrap();
    let made = Command::new("sqlite3").args([&path("foreign/jobd.db"), "CREATE TABLE a (b)"]).status().unwrap();
    assert!(made.success());
    let long = path(&"x".repeat(120));
    for (arguments, texts) in [
        (
            &["--listen", &address, "--data-dir", &data][..],
            &[&address, "another program listens there", "--listen"][..],
        ),
        (&["--listen", "192.0.2.77:6443", "--data-dir", &data], &["192.0.2.77:6443", "no such address"]),
        (&["--no-listen", "--data-dir", &path("file")], &[&path("file"), "--data-dir"]),
        (&["--no-listen", "--data-dir", &path("file/below")], &[&path("file/below"), "--data-dir"]),
        (&["--no-listen", "--data-dir", &path("text")], &["text/jobd.db", "file is not a database"]),
        (&["--no-listen", "--data-dir", &path("foreign")], &["foreign/jobd.db", "not one of jobd"]),
        (&["--no-listen", "--data-dir", &long], &["socket's path", "give a shorter --data-dir"]),
        (
            &["--no-listen", "--data-dir", &data, "--insecure-listen", "0.0.0.0:1"],
            &["not a loopback address", "--listen"],
        ),
        (&["--no-listen", "--data-dir", &data, "--insecure-listen", &address], &[&address, "--insecure-listen"]),
        (
            &["--no-listen", "--data-dir", &data, "--docker-host", "tcp://192.0.2.1:2375"],
            &["not a Unix socket", "unix://"],
        ),
        (&["--no-listen", "--data-dir", &data, "--socket-group", "no-such-group"], &["no group \"no-such-group\""]),
        (&["--no-listen", "--data-dir", &data, "--node-name", "Not_Valid"], &["\"Not_Valid\"", "--node-name"]),
        (&["--no-listen", "--data-dir", &data, "--log", "a=b=c"], &["--log \"a=b=c\"", "try `info`"]),
    ] {
        let text = refused(arguments);
        for wanted in texts {
            assert!(text.contains(wanted), "{arguments:?}: {wanted:?} is missing in {text:?}");
        }
    }
    let (code, _, text) = run(&["serve", "--no-such-flag"]);
    assert_eq!(code, 2);
    assert!(text.contains("--no-such-flag"), "{text}");
}

/// The directory belongs to somebody else, or its file system is read-only. Root may write everywhere, so another user tries.
#[test]
fn a_data_directory_that_cannot_be_written_is_named() {
    let dir = tempfile::tempdir_in("/tmp").unwrap();
    std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    // The program lies where only this user may look.
    let copy = dir.path().join("jobd");
    std::fs::copy(program(), &copy).unwrap();
    for data in [dir.path().to_owned(), dir.path().join("below")] {
        let output = Command::new(&copy)
            .args(["serve", "--no-listen", "--data-dir"])
            .arg(&data)
            .uid(65534)
            .gid(65534)
            .current_dir("/")
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{text}");
        assert!(text.contains(&format!("the data directory {} cannot be used", data.display())), "{text}");
        assert!(text.contains("--data-dir"), "{text}");
    }
}

/// The engine may come later: the daemon starts, says so once, and goes on when it is there.
#[tokio::test]
async fn an_engine_that_does_not_answer_is_said_and_waited_for() {
    let proxy = Proxy::open();
    let socket = std::path::PathBuf::from(proxy.host().trim_start_matches("unix://"));
    let away = socket.with_extension("away");
    std::fs::rename(&socket, &away).unwrap();
    let daemon = Daemon::start_with(&["--no-listen", "--docker-host", &proxy.host()], &[]).await;
    let client = daemon.client();
    client.post(JOBS, &manifest::job("early", "true")).await.expect(201);
    let said = || {
        daemon
            .log()
            .lines()
            .filter(|line| line.contains("no container engine at"))
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    let line = eventually("the sentence", async || said().pop().ok_or_else(|| daemon.log())).await;
    for text in [&proxy.host(), "is Docker running", "does not exist", "jobd doctor"] {
        assert!(line.contains(text), "{text:?} is missing in {line}");
    }
    std::fs::rename(&away, &socket).unwrap();
    client.wait_job("default", "early", "Complete").await;
    assert_eq!(said().len(), 1, "{}", daemon.log());
}

#[tokio::test]
async fn the_log_is_text_for_people_or_json_for_programs() {
    let mut daemon = Daemon::start_with(&["--no-listen", "--log-format", "json"], &[]).await;
    daemon.client().post(JOBS, &manifest::job("logged", "true")).await.expect(201);
    daemon.client().wait_job("default", "logged", "Complete").await;
    daemon.terminate().await;
    let log = daemon.log();
    let lines: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).expect(line)).collect();
    for line in &lines {
        assert!(line["timestamp"].is_string() && line["level"].is_string() && line["message"].is_string(), "{line}");
    }
    let message = |text: &str| lines.iter().any(|line| line["message"].as_str().unwrap_or_default().contains(text));
    assert!(message("serves") && message("SIGTERM received"), "{log}");
    let daemon = Daemon::start().await;
    // It answers a moment before it says so.
    let served = eventually("the log to say where it serves", async || {
        let log = daemon.log();
        log.lines().find(|line| line.contains(" serves ")).map(str::to_owned).ok_or(log)
    })
    .await;
    let log = daemon.log();
    assert!(served.contains(" INFO ") && served.contains("jobd.sock"), "{served}");
    assert!(!log.contains('\u{1b}'), "no colours where no terminal is");
}

#[tokio::test]
async fn the_other_commands_answer_without_a_daemon_and_beside_one() {
    let daemon = Daemon::start_with(&["--listen", "127.0.0.1:0"], &[]).await;
    let dir = daemon.data_dir().display().to_string();
    let (code, text, _) = run(&["kubeconfig", "--data-dir", &dir]);
    assert_eq!(code, 0);
    assert_eq!(text, std::fs::read_to_string(daemon.data_dir().join("kubeconfig")).unwrap());
    let (code, _, text) = run(&["kubeconfig", "--data-dir", "/nowhere"]);
    assert_eq!(code, 1);
    assert!(text.contains("/nowhere/kubeconfig cannot be read"), "{text}");

    let (code, text, complaint) = run(&["doctor", "--data-dir", &dir]);
    assert_eq!(code, 0, "{text}{complaint}");
    for wanted in [
        &format!("data directory {dir}: writable"),
        &format!("database: instance {}", daemon.instance()),
        "Docker ",
        "cgroups: version ",
        "storage: driver ",
        "live-restore: ",
        "containers of this data directory: 0",
    ] {
        assert!(text.contains(wanted), "{wanted:?} is missing in\n{text}");
    }
    let (code, text, complaint) = run(&["doctor", "--data-dir", &dir, "--docker-host", "unix:///nowhere/docker.sock"]);
    assert_eq!(code, 1);
    assert!(text.contains("BAD   engine unix:///nowhere/docker.sock"), "{text}");
    assert!(complaint.contains("1 of these would keep jobs from running"), "{complaint}");

    let (code, text, _) = run(&["--help"]);
    assert_eq!(code, 0);
    for command in ["serve", "kubeconfig", "doctor"] {
        assert!(text.contains(&format!("\n  {command} ")), "{text}");
    }
    let (_, text, _) = run(&["serve", "--help"]);
    for flag in
        ["--data-dir", "--listen", "--socket-group", "--docker-host", "--log-format", "[default: 127.0.0.1:6443]"]
    {
        assert!(text.contains(flag), "{flag} is missing in\n{text}");
    }
}

/// D-1001: the engine knows nothing of the daemon's working directory.
#[tokio::test]
async fn a_relative_data_directory_works_as_its_absolute_path() {
    let dir = tempfile::tempdir().unwrap();
    let mut child = Command::new(program())
        .args(["serve", "--no-listen", "--data-dir", "data"])
        .env("DOCKER_HOST", docker_host())
        .current_dir(dir.path())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let client = Client::new(&dir.path().join("data/jobd.sock"));
    eventually("the daemon to answer", async || {
        let answer = client.try_request("GET", "/readyz", &[], Bytes::new()).await;
        if answer.is_ok_and(|answer| answer.status == 200) { Ok(()) } else { Err("not yet".to_owned()) }
    })
    .await;
    let map = json!({"metadata": {"name": "m"}, "data": {"key": "mounted"}});
    client.post("/api/v1/namespaces/default/configmaps", &map).await.expect(201);
    let mut job = manifest::job("reads", "test $(cat /m/key) = mounted");
    job["spec"]["backoffLimit"] = json!(0);
    job["spec"]["template"]["spec"]["volumes"] = json!([{"name": "m", "configMap": {"name": "m"}}]);
    job["spec"]["template"]["spec"]["containers"][0]["volumeMounts"] = json!([{"name": "m", "mountPath": "/m"}]);
    client.post(JOBS, &job).await.expect(201);
    let job = client.wait_job("default", "reads", "Complete").await;
    assert_eq!(job["status"]["succeeded"], 1);
    client.delete(&format!("{JOBS}/reads"), &json!({"propagationPolicy": "Foreground"})).await;
    client.wait_gone(&format!("{JOBS}/reads")).await;
    child.kill().unwrap();
    child.wait().unwrap();
}

/// The program under test as a newer release would be: another file, with another version in it.
fn another_version(into: &Path) -> String {
    let old = concat!(".0+jobd.", env!("CARGO_PKG_VERSION")).as_bytes();
    let mut bytes = std::fs::read(program()).unwrap();
    let places: Vec<_> = (0..bytes.len() - old.len()).filter(|at| bytes[*at..].starts_with(old)).collect();
    assert!(!places.is_empty(), "the program has its version in it");
    for at in places {
        // Same length, so that nothing else moves.
        bytes[at + old.len() - 1] = b'9';
    }
    std::fs::write(into, bytes).unwrap();
    std::fs::set_permissions(into, std::fs::Permissions::from_mode(0o755)).unwrap();
    let version = env!("CARGO_PKG_VERSION");
    format!("{}9", &version[..version.len() - 1])
}

/// Issue text, item 9; R-8: an update under running jobs is a stop, another binary, and a start.
#[tokio::test]
async fn an_update_to_another_binary_leaves_running_jobs_alone() {
    let mut daemon = Daemon::start().await;
    let client = daemon.client();
    let marks = daemon.data_dir().with_file_name("marks");
    std::fs::create_dir(&marks).unwrap();
    let script = "echo begun; touch /marks/$HOSTNAME; until test -e /marks/go; do sleep 0.1; done; echo done";
    let mut job = manifest::job_with("long", script, &json!({"parallelism": 3, "completions": 4, "backoffLimit": 0}));
    job["spec"]["template"]["spec"]["volumes"] = json!([{"name": "m", "hostPath": {"path": marks}}]);
    job["spec"]["template"]["spec"]["containers"][0]["volumeMounts"] = json!([{"name": "m", "mountPath": "/marks"}]);
    client.post(JOBS, &job).await.expect(201);
    client.wait(&format!("{JOBS}/long"), "ready", |job| job["status"]["ready"] == 3).await;
    let before = engine::containers(&daemon.instance());
    assert_eq!(before.len(), 3);
    let old = client.get("/version").await.expect(200)["gitVersion"].as_str().unwrap().to_owned();

    daemon.terminate().await;
    let newer = daemon.data_dir().with_file_name("newer");
    let version = another_version(&newer);
    daemon.spawn_program(&newer, &[]);
    daemon.ready().await;
    let new = client.get("/version").await.expect(200)["gitVersion"].as_str().unwrap().to_owned();
    assert!(new != old && new.ends_with(&format!("+jobd.{version}")), "{old} was updated to {new}");
    let running = std::fs::read_link(format!("/proc/{}/exe", daemon.pid())).unwrap();
    assert_eq!(running, newer);
    assert_eq!(engine::containers(&daemon.instance()), before, "the same containers run on");
    std::fs::write(marks.join("go"), "").unwrap();
    let job = client.wait_job("default", "long", "Complete").await;
    assert_eq!((&job["status"]["succeeded"], &job["status"]["failed"]), (&json!(4), &Value::Null), "{job}");
    let pods = client.pods_of("default", "long").await;
    assert_eq!(pods.len(), 4);
    for pod in &pods {
        assert_eq!(pod["status"]["containerStatuses"][0]["restartCount"], 0, "{pod}");
        let path = format!("/api/v1/namespaces/default/pods/{}/log", pod["metadata"]["name"].as_str().unwrap());
        assert_eq!(client.get(&path).await.text(), "begun\ndone\n");
    }
    // Four runs and the sign to end.
    assert_eq!(std::fs::read_dir(&marks).unwrap().count(), 5);
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
