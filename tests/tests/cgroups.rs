//! Each attempt's container has a cgroup of ours above it where the engine lets us (D-1104): there while it runs, gone with it.

use std::path::{Path, PathBuf};

use jobd_tests::{Daemon, eventually, manifest};
use serde_json::json;

const PODS: &str = "/api/v1/namespaces/default/pods";
const SYS: &str = "/sys/fs/cgroup";

/// The directories of a daemon's cgroups, over all hierarchies.
fn groups(instance: &str) -> Vec<PathBuf> {
    let roots = std::fs::read_dir(SYS).into_iter().flatten().flatten().map(|entry| entry.path());
    let roots = roots.chain([PathBuf::from(SYS)]);
    let ours = roots.map(|root| root.join("jobd").join(instance)).filter(|dir| dir.is_dir());
    let below = |dir: PathBuf| std::fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path());
    ours.flat_map(below).filter(|path| path.is_dir()).collect()
}

#[tokio::test]
async fn an_attempt_has_a_cgroup_as_long_as_its_container_d1104() {
    let mut daemon = Daemon::start().await;
    let client = daemon.client();
    let instance = daemon.instance();
    let pod = manifest::pod("held", "trap 'exit 0' TERM; while :; do sleep 0.1; done");
    client.post(PODS, &pod).await.expect(201);
    let path = format!("{PODS}/held");
    let running = client.wait(&path, "Running", |pod| pod["status"]["phase"] == "Running").await;
    let log = daemon.log();
    if log.contains("no cgroup tells") {
        // The engine's cgroups are not ours to make on this machine; then nothing may be claimed of them.
        assert!(groups(&instance).is_empty() && !daemon.data_dir().join("cgroups-verified").exists());
        return;
    }
    let name = format!("{}.main.0", running["metadata"]["uid"].as_str().unwrap());
    let held = groups(&instance);
    assert!(!held.is_empty() && held.iter().all(|dir| dir.ends_with(&name)), "{held:?}");
    let id = running["status"]["containerStatuses"][0]["containerID"].as_str().unwrap().trim_start_matches("docker://");
    assert!(held.iter().any(|dir| dir.join(id).is_dir()), "the engine uses it: {held:?}");
    assert!(daemon.data_dir().join("cgroups-verified").exists());
    client.delete(&path, &json!({})).await.expect(200);
    client.wait_gone(&path).await;
    eventually("its cgroups to go", async || {
        let left = groups(&instance);
        if left.is_empty() { Ok(()) } else { Err(format!("{left:?}")) }
    })
    .await;
    daemon.terminate().await;
    assert!(!Path::new(SYS).join("cpuacct/jobd").join(&instance).exists());
    assert_eq!(daemon.complaints(), Vec::<String>::new());
}
