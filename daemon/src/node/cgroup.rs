//! A cgroup of ours above each attempt's container (D-1104): made before start is sent, so it is there whatever becomes of the engine, and
//! its CPU time tells afterwards whether anything ever ran in it (D-610). Where the engine's cgroups are not ours to make or to see, there
//! is no such evidence, and nothing is claimed.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::{
        OnceLock,
        atomic::{AtomicBool, Ordering},
    },
};

use tracing::{debug, info};

use super::containers::Identity;
use crate::engine::{Container, Info};

/// Where the kernel shows cgroups.
const SYS: &str = "/sys/fs/cgroup";
/// How the hierarchy that counts CPU time is called on version 1, alone or with its neighbour.
const CPU_TIME: [&str; 3] = ["cpuacct", "cpu,cpuacct", "cpuacct,cpu"];

/// What an attempt's cgroup tells.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Usage {
    /// There is no evidence.
    #[default]
    Unknown,
    /// Nothing was ever run in it.
    Unused,
    /// Something was, or still is.
    Used,
}

/// The cgroups that the engine uses and that we may change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The hierarchy that counts CPU time.
    time: PathBuf,
    /// All hierarchies in which the engine makes a container's cgroup.
    all: Vec<PathBuf>,
}

impl Place {
    /// # Errors
    /// Why there is none, for people.
    pub fn find(info: &Info) -> Result<Self, String> {
        if info.cgroup_driver != "cgroupfs" {
            return Err(format!(
                "the engine's driver is {}, which makes and removes cgroups itself",
                info.cgroup_driver
            ));
        }
        let own = fs::read_link("/proc/self/ns/cgroup").ok();
        let engine = info.local_pid.and_then(|pid| fs::read_link(format!("/proc/{pid}/ns/cgroup")).ok());
        if own.is_none() || own != engine {
            return Err("the engine does not run beside this process, or in another namespace".to_owned());
        }
        Self::below(Path::new(SYS))
    }

    fn below(sys: &Path) -> Result<Self, String> {
        let place = if sys.join("cgroup.controllers").exists() {
            Self { time: sys.to_owned(), all: vec![sys.to_owned()] }
        } else {
            let time = CPU_TIME.iter().map(|name| sys.join(name)).find(|dir| dir.is_dir());
            let time = time.ok_or_else(|| format!("no hierarchy below {} counts CPU time", sys.display()))?;
            let mut all: Vec<PathBuf> =
                fs::read_dir(sys).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
            all.sort();
            Self { time, all }
        };
        let ours = place.time.join("jobd");
        fs::create_dir_all(&ours).map_err(|error| format!("{}: {error}", ours.display()))?;
        Ok(place)
    }

    fn usage(&self, group: &Path) -> Usage {
        let dir = self.time.join(group);
        let time = fs::read_to_string(dir.join("cpuacct.usage")).ok().and_then(|text| text.trim().parse::<u64>().ok());
        let time = time.or_else(|| {
            let stat = fs::read_to_string(dir.join("cpu.stat")).ok()?;
            stat.lines().find_map(|line| line.strip_prefix("usage_usec "))?.trim().parse().ok()
        });
        match (time, processes(&dir)) {
            (Some(0), Ok(pids)) if pids.is_empty() => Usage::Unused,
            (Some(_), Ok(_)) => Usage::Used,
            (None, _) | (_, Err(_)) => Usage::Unknown,
        }
    }

    fn is_version_2(&self) -> bool {
        self.time.join("cgroup.controllers").exists()
    }

    /// Makes a pod's cgroup, with its limits, in every hierarchy that can limit something.
    fn limit(&self, group: &Path, limits: PodLimits) -> io::Result<()> {
        fs::create_dir_all(self.time.join(group))?;
        if self.is_version_2() {
            // Controllers are handed down one by one.
            let above: Vec<&Path> = group.ancestors().skip(1).collect();
            for dir in above.into_iter().rev() {
                for controller in ["+cpu", "+memory", "+pids"] {
                    if let Err(error) = fs::write(self.time.join(dir).join("cgroup.subtree_control"), controller) {
                        debug!(dir = %dir.display(), controller, error = %error, "a controller is not handed down");
                    }
                }
            }
            return write_all(&self.time.join(group), &limits.version_2(), "memory.swap.max");
        }
        for (root, own) in self.all.iter().flat_map(|root| [(root, "memory."), (root, "cpu.")]) {
            let decisive = if own == "cpu." { "cpu.shares" } else { "memory.limit_in_bytes" };
            if !root.join(decisive).exists() {
                continue;
            }
            let dir = root.join(group);
            fs::create_dir_all(&dir)?;
            let files: Vec<_> = limits.version_1().into_iter().filter(|(name, _)| name.starts_with(own)).collect();
            write_all(&dir, &files, "memory.memsw.limit_in_bytes")?;
        }
        Ok(())
    }

    /// Ends what is left in it and removes it. Answers whether there was anything: then it goes only with another call.
    fn remove(&self, group: &Path) -> bool {
        let left = processes(&self.time.join(group)).unwrap_or_default();
        for pid in left.iter().copied() {
            info!(pid, group = %group.display(), "ending a process that no container accounts for");
            if let Some(pid) = rustix::process::Pid::from_raw(pid)
                && let Err(error) = rustix::process::kill_process(pid, rustix::process::Signal::KILL)
            {
                debug!(error = %error, "it had ended");
            }
        }
        for root in &self.all {
            match remove_tree(&root.join(group)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    debug!(group = %root.join(group).display(), error = %error, "a cgroup remains for now");
                }
                Ok(()) | Err(_) => {}
            }
        }
        !left.is_empty()
    }
}

/// What limits a pod of several containers as a whole; none: nothing does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PodLimits {
    /// Bytes.
    pub memory: Option<i64>,
    /// Billionths of a processor.
    pub nano_cpus: Option<i64>,
    pub cpu_shares: Option<i64>,
}

/// How long the kernel's accounting period for processors is, in microseconds.
const PERIOD_US: i64 = 100_000;

impl PodLimits {
    /// The files of a cgroup and what is written to them, on version 1; those that another hierarchy has are not there.
    fn version_1(self) -> Vec<(&'static str, String)> {
        let Self { memory, nano_cpus, cpu_shares } = self;
        let mut files = Vec::new();
        if let Some(memory) = memory {
            files.push(("memory.limit_in_bytes", memory.to_string()));
            // Not there where swap is not counted.
            files.push(("memory.memsw.limit_in_bytes", memory.to_string()));
        }
        if let Some(nano) = nano_cpus {
            files.push(("cpu.cfs_period_us", PERIOD_US.to_string()));
            files.push(("cpu.cfs_quota_us", quota_us(nano).to_string()));
        }
        files.extend(cpu_shares.map(|shares| ("cpu.shares", shares.to_string())));
        files
    }

    fn version_2(self) -> Vec<(&'static str, String)> {
        let Self { memory, nano_cpus, cpu_shares } = self;
        let mut files = Vec::new();
        if let Some(memory) = memory {
            files.push(("memory.max", memory.to_string()));
            files.push(("memory.swap.max", "0".to_owned()));
        }
        files.extend(nano_cpus.map(|nano| ("cpu.max", format!("{} {PERIOD_US}", quota_us(nano)))));
        files.extend(cpu_shares.map(|shares| ("cpu.weight", (1 + (shares - 2) * 9999 / 262_142).to_string())));
        files
    }
}

/// The kernel takes no less than a millisecond.
fn quota_us(nano_cpus: i64) -> i64 {
    (nano_cpus / 10_000).max(1000)
}

/// The processes in a cgroup and below it.
fn processes(dir: &Path) -> io::Result<Vec<i32>> {
    let mut found: Vec<i32> =
        fs::read_to_string(dir.join("cgroup.procs"))?.lines().filter_map(|line| line.parse().ok()).collect();
    for child in children(dir)? {
        // Gone between the two looks.
        found.extend(processes(&child).unwrap_or_default());
    }
    Ok(found)
}

/// Writes a cgroup's files; one of them may not be there.
fn write_all(dir: &Path, files: &[(&str, String)], optional: &str) -> io::Result<()> {
    for (name, text) in files {
        match fs::write(dir.join(name), text) {
            Err(error) if *name != optional => return Err(error),
            Ok(()) | Err(_) => {}
        }
    }
    Ok(())
}

fn children(dir: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = fs::read_dir(dir)?.flatten();
    Ok(entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())).map(|entry| entry.path()).collect())
}

/// The files of a cgroup go with its directory.
fn remove_tree(dir: &Path) -> io::Result<()> {
    for child in children(dir)? {
        remove_tree(&child)?;
    }
    fs::remove_dir(dir)
}

/// The cgroups of this daemon's attempts.
pub(super) struct Cgroups {
    /// `jobd/INSTANCE`
    ours: PathBuf,
    /// Looked for once, when the engine first answers.
    place: OnceLock<Option<Place>>,
    /// A running container was seen in its place: only then an empty one is evidence.
    verified: AtomicBool,
    /// Says so to the next process of this daemon, as long as the machine is not started anew.
    marker: PathBuf,
}

impl Cgroups {
    pub(super) fn new(data_dir: &Path, instance: &str) -> Self {
        Self {
            ours: Path::new("jobd").join(instance),
            place: OnceLock::new(),
            verified: AtomicBool::new(false),
            marker: data_dir.join("cgroups-verified"),
        }
    }

    pub(super) fn detect(&self, info: &Info) {
        self.place.get_or_init(|| match Place::find(info) {
            Ok(place) => {
                self.verified
                    .store(fs::read_to_string(&self.marker).is_ok_and(|text| text == boot_id()), Ordering::Relaxed);
                Some(place)
            }
            Err(reason) => {
                info!(reason, "no cgroup tells whether a container ran when the engine does not know");
                None
            }
        });
    }

    fn place(&self) -> Option<&Place> {
        self.place.get()?.as_ref()
    }

    /// One flat level: a directory that another start may be about to use is never removed. Only a pod with limits as a whole has one above
    /// those of its attempts.
    fn group(&self, uid: &str, container: &str, attempt: u32) -> PathBuf {
        let whole = self.pod(uid);
        let is_there = self.place().is_some_and(|place| place.time.join(&whole).is_dir());
        let above = if is_there { &whole } else { &self.ours };
        above.join(format!("{uid}.{container}.{attempt}"))
    }

    fn pod(&self, uid: &str) -> PathBuf {
        self.ours.join(format!("{uid}.pod"))
    }

    /// Makes the cgroup of a pod whose containers have limits together; again, without harm.
    ///
    /// # Errors
    /// When they cannot be had: the text of the `CreateContainerConfigError`.
    pub(super) fn prepare_pod(&self, uid: &str, limits: &PodLimits) -> Result<(), String> {
        if *limits == PodLimits::default() {
            return Ok(());
        }
        let Some(place) = self.place() else {
            return match limits {
                // Shares only weigh.
                PodLimits { memory: None, nano_cpus: None, cpu_shares: _ } => Ok(()),
                PodLimits { .. } => Err("limits of the pod as a whole need cgroups that jobd can make (the engine's \
                                         driver must be cgroupfs, and the engine must run beside jobd)"
                    .to_owned()),
            };
        };
        place.limit(&self.pod(uid), *limits).map_err(|error| format!("limits of the pod as a whole: {error}"))
    }

    /// What the engine is told; none: its own default.
    pub(super) fn parent(&self, uid: &str, container: &str, attempt: u32) -> Option<String> {
        self.place()?;
        Some(format!("/{}", self.group(uid, container, attempt).display()))
    }

    /// Makes an attempt's cgroup. Without it there is no evidence; nothing else is lost.
    pub(super) fn prepare(&self, uid: &str, container: &str, attempt: u32) {
        let Some(place) = self.place() else { return };
        if let Err(error) = fs::create_dir_all(place.time.join(self.group(uid, container, attempt))) {
            debug!(error = %error, "no cgroup for an attempt");
        }
    }

    /// Looks once whether containers really are where we look for them: the engine may be elsewhere after all.
    pub(super) fn verify(&self, view: &Container) {
        if self.place().is_none() || self.verified.load(Ordering::Relaxed) || view.pid <= 0 {
            return;
        }
        let Some(Identity { uid, container, attempt, .. }) = Identity::find(&view.labels) else { return };
        let group = format!("/{}/{}", self.group(&uid, &container, attempt).display(), view.id);
        let shown = fs::read_to_string(format!("/proc/{}/cgroup", view.pid));
        if shown.is_ok_and(|shown| shown.lines().any(|line| line.ends_with(&group))) {
            self.verified.store(true, Ordering::Relaxed);
            if let Err(error) = fs::write(&self.marker, boot_id()) {
                debug!(error = %error, "the next process has to look again where containers are");
            }
        }
    }

    /// What an attempt's cgroup tells.
    pub(super) fn usage(&self, uid: &str, container: &str, attempt: u32) -> Usage {
        match self.place() {
            Some(place) if self.verified.load(Ordering::Relaxed) => place.usage(&self.group(uid, container, attempt)),
            Some(_) | None => Usage::Unknown,
        }
    }

    /// An attempt is over and its container removed. Answers whether something had to be ended: then it is to be called again.
    pub(super) fn remove(&self, uid: &str, container: &str, attempt: u32) -> bool {
        self.place().is_some_and(|place| place.remove(&self.group(uid, container, attempt)))
    }

    /// A pod is gone. The same answer.
    pub(super) fn remove_pod(&self, uid: &str) -> bool {
        let Some(place) = self.place() else { return false };
        let names = self.names();
        // All of them, whatever one answers.
        let ended = names.iter().filter(|name| owner(name) == uid && place.remove(&self.ours.join(name)));
        ended.count() > 0
    }

    /// The daemon ends: nothing stays if there is no attempt.
    pub(super) fn leave(&self) {
        let Some(place) = self.place() else { return };
        if fs::remove_dir(place.time.join(&self.ours)).is_ok() {
            place.remove(&self.ours);
        }
    }

    /// The uids of all pods that have cgroups.
    pub(super) fn uids(&self) -> Vec<String> {
        self.names().iter().map(|name| owner(name).to_owned()).collect()
    }

    fn names(&self) -> Vec<String> {
        let dirs = self.place().and_then(|place| children(&place.time.join(&self.ours)).ok()).unwrap_or_default();
        dirs.iter().filter_map(|dir| dir.file_name()?.to_str().map(str::to_owned)).collect()
    }
}

/// The uid in the name of an attempt's cgroup.
fn owner(name: &str) -> &str {
    name.split('.').next().unwrap_or_default()
}

/// Another one after each start of the machine, which removes all cgroups.
fn boot_id() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Plain directories that look like version 1 or 2.
    fn place(version: u8) -> (tempfile::TempDir, Place) {
        let dir = tempfile::tempdir().unwrap();
        match version {
            1 => ["cpu,cpuacct", "memory"].iter().for_each(|name| fs::create_dir(dir.path().join(name)).unwrap()),
            _ => fs::write(dir.path().join("cgroup.controllers"), "cpu memory").unwrap(),
        }
        let place = Place::below(dir.path()).unwrap();
        (dir, place)
    }

    #[track_caller]
    fn check(version: u8, file: &str, text: &str, pids: &str, want: Usage) {
        let (_dir, place) = place(version);
        let group = Path::new("jobd/i/u.main.0");
        let dir = place.time.join(group);
        assert_eq!(place.usage(group), Usage::Unknown, "there is none");
        fs::create_dir_all(dir.join("c0")).unwrap();
        fs::write(dir.join(file), text).unwrap();
        fs::write(dir.join("cgroup.procs"), "").unwrap();
        fs::write(dir.join("c0/cgroup.procs"), pids).unwrap();
        assert_eq!(place.usage(group), want, "{version} {file} {text} {pids:?}");
    }

    #[test]
    fn time_and_processes_tell_whether_anything_ran_d610_d1104() {
        check(1, "cpuacct.usage", "0\n", "", Usage::Unused);
        check(1, "cpuacct.usage", "27000000\n", "", Usage::Used);
        check(1, "cpuacct.usage", "0\n", "4711\n", Usage::Used);
        check(1, "cpuacct.usage", "what\n", "", Usage::Unknown);
        check(2, "cpu.stat", "usage_usec 0\nuser_usec 0\n", "", Usage::Unused);
        check(2, "cpu.stat", "usage_usec 12\n", "", Usage::Used);
        check(2, "cpu.stat", "user_usec 12\n", "", Usage::Unknown);
    }

    #[test]
    fn removal_leaves_nothing_of_a_pod_in_any_hierarchy_d1104() {
        let (dir, place) = place(1);
        let data = tempfile::tempdir().unwrap();
        let cgroups = Cgroups::new(data.path(), "i");
        for root in &place.all {
            fs::create_dir_all(root.join("jobd/i/u.main.0/c0")).unwrap();
            fs::create_dir_all(root.join("jobd/i/other.main.0")).unwrap();
        }
        let all = place.all.clone();
        let count = |path: &str| all.iter().filter(|root| root.join(path).exists()).count();
        cgroups.place.set(Some(place)).unwrap();
        assert_eq!(cgroups.uids().len(), 2);
        cgroups.remove_pod("u");
        assert_eq!((count("jobd/i/u.main.0"), count("jobd/i/other.main.0")), (0, all.len()), "{dir:?}");
        // While there is an attempt, its start may be under way.
        cgroups.leave();
        assert_eq!(count("jobd/i"), all.len());
        cgroups.remove("other", "main", 0);
        cgroups.leave();
        assert_eq!(count("jobd/i"), 0);
    }

    /// A pod of several containers has a cgroup above theirs, with its limits in each hierarchy.
    #[test]
    fn a_pod_with_limits_has_a_cgroup_of_its_own_d1104() {
        const LIMITS: PodLimits =
            PodLimits { memory: Some(64 << 20), nano_cpus: Some(500_000_000), cpu_shares: Some(256) };
        for version in [1, 2] {
            let (sys, place) = place(version);
            if version == 1 {
                fs::write(sys.path().join("memory/memory.limit_in_bytes"), "").unwrap();
                fs::write(sys.path().join("cpu,cpuacct/cpu.shares"), "").unwrap();
            }
            let data = tempfile::tempdir().unwrap();
            let cgroups = Cgroups::new(data.path(), "i");
            cgroups.place.set(Some(place)).unwrap();
            assert_eq!(cgroups.parent("u", "main", 0).as_deref(), Some("/jobd/i/u.main.0"));
            cgroups.prepare_pod("u", &PodLimits::default()).unwrap();
            assert!(cgroups.uids().is_empty(), "nothing to limit");
            cgroups.prepare_pod("u", &LIMITS).unwrap();
            cgroups.prepare_pod("u", &LIMITS).unwrap();
            cgroups.prepare("u", "main", 0);
            assert_eq!(cgroups.parent("u", "main", 0).as_deref(), Some("/jobd/i/u.pod/u.main.0"));
            assert_eq!(cgroups.uids(), ["u"]);
            let read = |path: &str| fs::read_to_string(sys.path().join(path)).unwrap();
            match version {
                1 => {
                    assert_eq!(read("memory/jobd/i/u.pod/memory.limit_in_bytes"), "67108864");
                    assert_eq!(read("cpu,cpuacct/jobd/i/u.pod/cpu.cfs_quota_us"), "50000");
                    assert_eq!(read("cpu,cpuacct/jobd/i/u.pod/cpu.shares"), "256");
                }
                _ => {
                    assert_eq!(read("jobd/i/u.pod/memory.max"), "67108864");
                    assert_eq!(read("jobd/i/u.pod/cpu.max"), "50000 100000");
                    assert_eq!(read("jobd/i/u.pod/cpu.weight"), "10");
                    assert_eq!(read("jobd/i/cgroup.subtree_control"), "+pids");
                }
            }
        }
    }

    /// Limits that cannot be had are not taken for granted.
    #[test]
    fn limits_of_a_pod_need_cgroups_of_ours_d1001() {
        let data = tempfile::tempdir().unwrap();
        let cgroups = Cgroups::new(data.path(), "i");
        let shares = PodLimits { cpu_shares: Some(256), ..PodLimits::default() };
        assert_eq!(cgroups.prepare_pod("u", &shares), Ok(()));
        let error = cgroups.prepare_pod("u", &PodLimits { memory: Some(1 << 26), ..shares }).unwrap_err();
        assert!(error.starts_with("limits of the pod as a whole need cgroups"), "{error}");
    }

    /// Nothing is claimed of an engine that was not seen to use our cgroups, and nothing of one that makes its own.
    #[test]
    fn an_engine_elsewhere_gives_no_evidence_d1001_d610() {
        let info = |driver: &str, local_pid| Info { cgroup_driver: driver.to_owned(), local_pid, ..Info::default() };
        assert!(Place::find(&info("systemd", Some(1))).unwrap_err().contains("systemd"));
        assert!(Place::find(&info("cgroupfs", None)).is_err());
        let data = tempfile::tempdir().unwrap();
        let cgroups = Cgroups::new(data.path(), "i");
        let (_dir, place) = place(1);
        let group = place.time.join("jobd/i/u.main.0");
        fs::create_dir_all(&group).unwrap();
        fs::write(group.join("cpuacct.usage"), "0").unwrap();
        fs::write(group.join("cgroup.procs"), "").unwrap();
        cgroups.place.set(Some(place)).unwrap();
        assert_eq!(cgroups.usage("u", "main", 0), Usage::Unknown);
        cgroups.verified.store(true, Ordering::Relaxed);
        assert_eq!(cgroups.usage("u", "main", 0), Usage::Unused);
        assert_eq!(cgroups.parent("u", "main", 0).as_deref(), Some("/jobd/i/u.main.0"));
    }
}
