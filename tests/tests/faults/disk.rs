//! A full disk (R-9, F-5): new work is refused in words, deletes and status writes pass, old data is whole.

use std::{
    fs::File,
    io::Write as _,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use jobd_tests::{Answer, Client, Daemon, eventually, manifest};
use serde_json::{Value, json};

use crate::{
    JOBS,
    marks::{Marks, WAIT},
};

/// A small file system; unmounted with the daemon's directory.
struct Disk {
    dir: PathBuf,
}

impl Disk {
    fn mount(dir: &Path, size: &str) -> Self {
        std::fs::create_dir_all(dir).unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={size},mode=700"), "jobd-test"])
            .arg(dir)
            .status()
            .unwrap();
        assert!(mounted.success(), "a tmpfs can be mounted (needs root)");
        Self { dir: dir.to_owned() }
    }

    /// Writes until there is no byte left.
    fn fill(&self) {
        let mut file = File::options().create(true).append(true).open(self.dir.join("ballast")).unwrap();
        for size in [1 << 20, 4096, 1] {
            let block = vec![1; size];
            while file.write_all(&block).is_ok() {}
        }
    }

    fn empty(&self) {
        std::fs::remove_file(self.dir.join("ballast")).unwrap();
    }
}

async fn create(client: &Client, name: &str) -> Answer {
    client.post(JOBS, &manifest::job_with(name, "true", &json!({"suspend": true}))).await
}

/// Creates until the disk has no room; how many were taken.
async fn create_until_refused(client: &Client, prefix: &str) -> usize {
    let started = Instant::now();
    for number in 0.. {
        let answer = create(client, &format!("{prefix}-{number}")).await;
        if answer.status == 503 {
            let text = answer.json()["message"].as_str().unwrap_or_default().to_owned();
            assert!(text.contains("disk") && text.contains("full"), "{text}");
            let seconds: u32 = answer.headers["retry-after"].to_str().unwrap().parse().unwrap();
            assert!((1..=60).contains(&seconds));
            return number;
        }
        assert_eq!(answer.status, 201, "{}", answer.text());
        assert!(started.elapsed() < Duration::from_secs(60), "the disk does not fill up");
    }
    unreachable!("the loop ends by a refusal")
}

fn integrity(database: &Path) -> String {
    let output = Command::new("sqlite3").arg(database).arg("PRAGMA integrity_check").output().unwrap();
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

#[tokio::test]
async fn a_full_disk_stops_new_work_and_nothing_else_and_ends_by_itself_when_there_is_space() {
    let mut daemon = Daemon::prepare(&["--no-listen"], &[]);
    let disk = Disk::mount(&daemon.data_dir(), "96m");
    daemon.spawn();
    daemon.ready().await;
    let client = daemon.client();
    let marks = Marks::new(&daemon);
    client.post(JOBS, &marks.job("running", WAIT, &json!({}))).await.expect(201);
    client.wait(&format!("{JOBS}/running"), "ready", |job| job["status"]["ready"] == 1).await;
    for number in 0..5 {
        create(&client, &format!("old-{number}")).await.expect(201);
    }

    disk.fill();
    create_until_refused(&client, "more").await;
    // Refused at once from now on, not after a try.
    let started = Instant::now();
    for _ in 0..50 {
        assert_eq!(create(&client, "late").await.status, 503);
    }
    assert!(started.elapsed() < Duration::from_secs(5), "50 refusals took {:?}", started.elapsed());
    assert_eq!(client.get(&format!("{JOBS}/late")).await.status, 404);
    for number in 0..5 {
        let path = format!("{JOBS}/old-{number}");
        client.delete(&path, &json!({"propagationPolicy": "Background"})).await.expect(200);
        client.wait_gone(&path).await;
    }
    marks.go();
    let job = client.wait_job("default", "running", "Complete").await;
    assert_eq!(job["status"]["succeeded"], 1);
    marks.check_ran_once(&client, "running", 1).await;
    client.get("/readyz").await.expect(200);
    client.get(JOBS).await.expect(200);
    assert_eq!(daemon.ended(), None, "the daemon is up");

    disk.empty();
    eventually("creates to be taken again", async || {
        let answer = create(&client, "after").await;
        if answer.status == 201 { Ok(()) } else { Err(answer.text()) }
    })
    .await;
    client.post(JOBS, &marks.job("runs-again", "true", &json!({}))).await.expect(201);
    client.wait_job("default", "runs-again", "Complete").await;
    // The log that had no room is copied now, so the container can go.
    let instance = daemon.instance();
    eventually("the containers to be removed", async || {
        let left = jobd_tests::engine::containers(&instance);
        if left.is_empty() { Ok(()) } else { Err(format!("{left:?}")) }
    })
    .await;
    daemon.terminate().await;
    assert_eq!(integrity(&daemon.data_dir().join("jobd.db")), "ok");
}

/// R-9 with R-1: killed while the disk is full, started while it is full: what was answered is there, deletes pass.
#[tokio::test]
async fn a_daemon_that_is_killed_on_a_full_disk_starts_on_it_again() {
    let mut daemon = Daemon::prepare(&["--no-listen"], &[]);
    let disk = Disk::mount(&daemon.data_dir(), "96m");
    daemon.spawn();
    daemon.ready().await;
    let client = daemon.client();
    disk.fill();
    let taken = create_until_refused(&client, "job").await;
    daemon.kill();
    daemon.spawn();
    daemon.ready().await;
    let list = client.get(&format!("{JOBS}?limit=5000")).await.expect(200);
    let names = |list: &Value| list["items"].as_array().map_or(0, Vec::len);
    assert_eq!(names(&list), taken, "every create that was answered 201, and no other");
    assert_eq!(create(&client, "late").await.status, 503);
    if taken > 0 {
        client.delete(&format!("{JOBS}/job-0"), &json!({"propagationPolicy": "Background"})).await.expect(200);
        client.wait_gone(&format!("{JOBS}/job-0")).await;
    }
    disk.empty();
    eventually("creates to be taken again", async || {
        let answer = create(&client, "after").await;
        if answer.status == 201 { Ok(()) } else { Err(answer.text()) }
    })
    .await;
    daemon.terminate().await;
    assert_eq!(integrity(&daemon.data_dir().join("jobd.db")), "ok");
}
