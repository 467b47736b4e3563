//! The engine from the outside, through the docker command: what a suspicious user would look at.

use std::{path::Path, process::Command};

fn docker(arguments: &[&str]) -> String {
    let output = Command::new("docker").arg("--host").arg(crate::docker_host()).args(arguments).output();
    output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default()
}

/// Ids of all containers, running or not, of a daemon.
#[must_use]
pub fn containers(instance: &str) -> Vec<String> {
    docker(&["ps", "--all", "--quiet", "--no-trunc", "--filter", &format!("label=jobd.instance={instance}")])
        .lines()
        .map(str::to_owned)
        .collect()
}

/// Runs a docker command and returns what it prints.
///
/// # Panics
/// When it fails.
pub fn command(arguments: &[&str]) -> String {
    let output = Command::new("docker").arg("--host").arg(crate::docker_host()).args(arguments).output();
    let output = output.unwrap_or_else(|error| panic!("docker {arguments:?}: {error}"));
    assert!(output.status.success(), "docker {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Ids of all containers with a label, running or not.
#[must_use]
pub fn labelled(label: &str) -> Vec<String> {
    let filter = format!("label={label}");
    docker(&["ps", "--all", "--quiet", "--no-trunc", "--filter", &filter]).lines().map(str::to_owned).collect()
}

/// Removes one container.
pub fn remove(id: &str) {
    docker(&["rm", "--force", "--volumes", id]);
}

/// What the engine says of a container: `running`, `exited`, …
#[must_use]
pub fn state(id: &str) -> String {
    docker(&["inspect", "--format", "{{.State.Status}}", id]).trim().to_owned()
}

/// Removes every container and network of a daemon.
pub fn remove_all(instance: &str) {
    if instance.is_empty() {
        return;
    }
    let ids = containers(instance);
    if !ids.is_empty() {
        let mut arguments = vec!["rm", "--force", "--volumes"];
        arguments.extend(ids.iter().map(String::as_str));
        docker(&arguments);
    }
    let networks = docker(&["network", "ls", "--quiet", "--filter", &format!("label=jobd.instance={instance}")]);
    for network in networks.lines() {
        docker(&["network", "rm", network]);
    }
    remove_cgroups(instance);
}

/// What a killed daemon could not remove itself: the empty directories of its cgroups, which the kernel keeps until the machine ends.
fn remove_cgroups(instance: &str) {
    let roots = std::fs::read_dir("/sys/fs/cgroup").into_iter().flatten().flatten().map(|entry| entry.path());
    for ours in roots.chain(["/sys/fs/cgroup".into()]).map(|root| root.join("jobd").join(instance)) {
        remove_below(&ours);
    }
}

fn remove_below(dir: &Path) {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    entries.filter(|entry| entry.path().is_dir()).for_each(|entry| remove_below(&entry.path()));
    let _ = std::fs::remove_dir(dir);
}

/// Kills a container, by its name, as a stranger would.
pub fn kill(name: &str) {
    docker(&["kill", name]);
}

/// Gives a local image another name.
pub fn tag(image: &str, name: &str) {
    docker(&["tag", image, name]);
}

/// Removes an image's name.
pub fn untag(name: &str) {
    docker(&["rmi", name]);
}

/// Unmounts what a daemon that was killed has left mounted in its data directory.
pub fn unmount_below(dir: &Path) {
    let prefix = format!("{}/", dir.display());
    let mounts = std::fs::read_to_string("/proc/mounts").unwrap_or_default();
    let mut below: Vec<_> =
        mounts.lines().filter_map(|line| line.split(' ').nth(1)).filter(|path| path.starts_with(&prefix)).collect();
    below.reverse();
    for path in below {
        drop(Command::new("umount").arg(path).status());
    }
}
