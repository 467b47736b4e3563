//! `jobd doctor`: what jobd finds on this machine, a line each, and what to do about what is wrong.

use std::{collections::BTreeMap, io::Write as _};

use anyhow::Context as _;

use crate::{
    config::Config,
    engine::{Engine as _, docker::DockerEngine},
    node::{cgroup::Place, containers::label},
    store,
};

/// How a line begins.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Ok,
    /// Works, but worth knowing.
    Note,
    /// Jobs will not run like this.
    Bad,
}

pub(super) fn run(config: &Config) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("start the runtime")?;
    let lines = runtime.block_on(examine(config));
    let mut out = std::io::stdout().lock();
    for (verdict, text) in &lines {
        let mark = match verdict {
            Verdict::Ok => "ok  ",
            Verdict::Note => "note",
            Verdict::Bad => "BAD ",
        };
        writeln!(out, "{mark}  {text}").context("standard output")?;
    }
    let bad = lines.iter().filter(|(verdict, _)| *verdict == Verdict::Bad).count();
    anyhow::ensure!(bad == 0, "{bad} of these would keep jobs from running");
    Ok(())
}

async fn examine(config: &Config) -> Vec<(Verdict, String)> {
    let mut lines = Vec::new();
    if let Err(error) = config.check() {
        lines.push((Verdict::Bad, format!("flags: {error:#}")));
    }
    data_directory(config, &mut lines);
    let instance = database(config, &mut lines).await;
    port(config, &mut lines);
    engine(config, instance.as_deref(), &mut lines).await;
    lines
}

/// The instance of this data directory, if a daemon ever ran on it.
async fn database(config: &Config, lines: &mut Vec<(Verdict, String)>) -> Option<String> {
    match store::instance_of(&config.database()).await {
        Ok(instance) => {
            if let Some(instance) = &instance {
                lines.push((Verdict::Ok, format!("database: instance {instance}")));
            }
            instance
        }
        Err(error) => {
            lines.push((Verdict::Bad, error.to_string()));
            None
        }
    }
}

/// Whether the API's port can be had.
fn port(config: &Config, lines: &mut Vec<(Verdict, String)>) {
    if config.no_listen {
        return;
    }
    let address = config.listen;
    lines.push(match std::net::TcpListener::bind(address) {
        Ok(_) => (Verdict::Ok, format!("port {address}: free")),
        Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => (
            Verdict::Note,
            format!("port {address}: in use; by jobd if it runs already, else choose another with --listen"),
        ),
        Err(error) => (Verdict::Bad, format!("port {address}: {error}; choose another address with --listen")),
    });
}

fn data_directory(config: &Config, lines: &mut Vec<(Verdict, String)>) {
    let dir = &config.data_dir;
    match std::fs::metadata(dir) {
        Ok(metadata) if metadata.is_dir() => {
            if rustix::fs::access(dir, rustix::fs::Access::WRITE_OK).is_ok() {
                let free = rustix::fs::statvfs(dir).map_or(0, |stat| stat.f_bavail * stat.f_frsize);
                lines.push((
                    Verdict::Ok,
                    format!("data directory {}: writable, {} MiB free", dir.display(), free >> 20),
                ));
            } else {
                lines.push((
                    Verdict::Bad,
                    format!(
                        "data directory {}: not writable for this user; run as its owner or give --data-dir",
                        dir.display()
                    ),
                ));
            }
        }
        Ok(_) => lines.push((Verdict::Bad, format!("data directory {}: is not a directory", dir.display()))),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            lines.push((
                Verdict::Note,
                format!("data directory {}: not there yet; `jobd serve` makes it", dir.display()),
            ));
        }
        Err(error) => lines.push((Verdict::Bad, format!("data directory {}: {error}", dir.display()))),
    }
}

async fn engine(config: &Config, instance: Option<&str>, lines: &mut Vec<(Verdict, String)>) {
    let host = &config.docker_host;
    let engine = DockerEngine::new(host);
    let info = match engine.info().await {
        Ok(info) => info,
        Err(error) => {
            lines.push((
                Verdict::Bad,
                format!(
                    "engine {host}: {error}; start Docker, name its socket with --docker-host, or join the group that may use it"
                ),
            ));
            return;
        }
    };
    lines.push((Verdict::Ok, format!("engine {host}: Docker {} (API {})", info.version, info.api_version)));
    lines.push((
        Verdict::Ok,
        format!("cgroups: version {}, driver {}", unknown(&info.cgroup_version), unknown(&info.cgroup_driver)),
    ));
    lines.push(match Place::find(&info) {
        Ok(_) => (Verdict::Ok, "evidence after a crash of the engine: each container has a cgroup of ours".to_owned()),
        Err(reason) => (
            Verdict::Note,
            format!(
                "evidence after a crash of the engine: none ({reason}); what cannot be known then is told as unknown"
            ),
        ),
    });
    lines.push((
        Verdict::Ok,
        format!("storage: driver {}, in {}", unknown(&info.storage_driver), unknown(&info.root_dir)),
    ));
    lines.push((Verdict::Ok, format!("machine: {} CPUs, {} MiB of memory", info.cpus, info.memory_bytes >> 20)));
    lines.push(if info.live_restore {
        (Verdict::Ok, "live-restore: on; containers outlive a restart of the engine".to_owned())
    } else {
        (
            Verdict::Note,
            "live-restore: off; a restart of the engine stops running containers (their pods are retried). \
             `\"live-restore\": true` in /etc/docker/daemon.json changes that"
                .to_owned(),
        )
    });
    match engine.list(label::INSTANCE).await {
        Ok(containers) => {
            let labels = containers.iter().filter_map(|container| container.labels.get(label::INSTANCE));
            leftovers(instance, labels.map(String::as_str), lines);
        }
        Err(error) => lines.push((Verdict::Bad, format!("containers of jobd: cannot be listed: {error}"))),
    }
}

/// The containers of this data directory, and those of others: a directory that was deleted leaves some that nobody removes.
fn leftovers<'a>(own: Option<&str>, labels: impl Iterator<Item = &'a str>, lines: &mut Vec<(Verdict, String)>) {
    let mut instances: BTreeMap<&str, usize> = BTreeMap::new();
    for label in labels {
        *instances.entry(label).or_default() += 1;
    }
    let ours = own.and_then(|own| instances.remove(own)).unwrap_or_default();
    lines.push((Verdict::Ok, format!("containers of this data directory: {ours}")));
    for (instance, count) in instances {
        lines.push((
            Verdict::Note,
            format!(
                "containers of another jobd: {count}, of instance {instance}; if its data directory is gone: docker rm --force \
                 $(docker ps --all --quiet --filter label={}={instance})",
                label::INSTANCE
            ),
        ));
    }
}

fn unknown(text: &str) -> &str {
    if text.is_empty() { "unknown" } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn containers_are_told_apart_by_their_data_directory() {
        let mut lines = Vec::new();
        leftovers(Some("own"), ["own", "other", "own", "other", "other"].into_iter(), &mut lines);
        assert_eq!(lines.len(), 2);
        assert!(lines[0] == (Verdict::Ok, "containers of this data directory: 2".to_owned()), "{}", lines[0].1);
        assert!(lines[1].1.starts_with("containers of another jobd: 3, of instance other;"), "{}", lines[1].1);
        assert!(lines[1].1.ends_with("label=jobd.instance=other)"), "{}", lines[1].1);
        let mut lines = Vec::new();
        leftovers(None, std::iter::empty(), &mut lines);
        assert_eq!(lines.len(), 1);
    }
}
