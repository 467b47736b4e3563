//! What history costs: a file with 100,000 finished jobs, beside one with none (I-5).
//!
//! One job is run for real; what it leaves (job, pod, events, attempts, files) is multiplied with names and uids of its own, through the store.

use std::{
    hash::{DefaultHasher, Hash as _, Hasher as _},
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use jiff::Timestamp;
use jobd::{
    store::{Attempt, Key, ListQuery, Options, Request, Store, Write},
    sys::SystemClock,
};
use jobd_api::{index::Index, registry::Kind, write};
use jobd_tests::{Client, Daemon, eventually, manifest};

use crate::{
    figures::Figures,
    idle::{peak_rss_mb, rss_mb, usage},
    store::ready_ms,
};

const JOBS: &str = "/apis/batch/v1/namespaces/default/jobs";
const PODS: &str = "/api/v1/namespaces/default/pods";

/// The name of the job that is multiplied; nothing else has it in it.
const TEMPLATE: &str = "template-of-many";

/// As many finished pods as the daemon keeps.
const PODS_KEPT: usize = 12_500;

/// The daemon's default.
const EVENTS_EXPIRE: Duration = Duration::from_secs(168 * 3600);

/// How many copies are written in one transaction.
const TOGETHER: usize = 100;

/// What one finished job has left.
struct Left {
    objects: Vec<(Key, String, Index)>,
    attempts: Vec<Attempt>,
    /// Path below the pod's directory, and content.
    files: Vec<(PathBuf, Vec<u8>)>,
    uids: Vec<String>,
}

async fn open(daemon: &Daemon) -> Store {
    let options = Options {
        path: daemon.data_dir().join("jobd.db"),
        clock: Arc::new(SystemClock),
        history: Duration::from_secs(300),
    };
    Store::open(options).await.expect("the daemon's store")
}

impl Left {
    /// Runs the job and takes up what is left of it when nothing more happens. The daemon is down then.
    async fn by_one_job(daemon: &mut Daemon) -> Self {
        let client = daemon.client();
        client.post(JOBS, &manifest::job(TEMPLATE, "echo done")).await.expect(201);
        client.wait_job("default", TEMPLATE, "Complete").await;
        let instance = daemon.instance();
        eventually("the container to be removed", async || {
            let left = jobd_tests::engine::containers(&instance);
            if left.is_empty() { Ok(()) } else { Err(format!("{left:?}")) }
        })
        .await;
        daemon.terminate().await;

        let store = open(daemon).await;
        let mut left = Self { objects: Vec::new(), attempts: Vec::new(), files: Vec::new(), uids: Vec::new() };
        for kind in [Kind::Job, Kind::Pod, Kind::Event] {
            for stored in store.list(&ListQuery::all(kind, 100)).await.expect("a list").items {
                if !stored.key.name.starts_with(TEMPLATE) {
                    continue;
                }
                let object = stored.object().expect("a stored object");
                let uid = object.uid().to_owned();
                if kind == Kind::Pod {
                    left.attempts = store.attempts(&uid).await.expect("attempts");
                    let dir = daemon.data_dir().join("pods").join(&uid);
                    read_files(&dir, &dir, &mut left.files);
                }
                let mut index = write::index(kind.resource(), &object);
                if kind == Kind::Event {
                    // Not in the body.
                    index.due_at = Some(Timestamp::now() + EVENTS_EXPIRE);
                }
                left.objects.push((stored.key, stored.body.to_string(), index));
                left.uids.push(uid);
            }
        }
        store.close().await;
        assert!(left.attempts.iter().all(|attempt| attempt.logs_copied && attempt.removed), "{:?}", left.attempts);
        left
    }

    /// Writes copies of it with these numbers: the pods with attempts and files, or everything else.
    async fn multiply(&self, daemon: &Daemon, numbers: std::ops::Range<usize>, pods: bool) {
        let store = open(daemon).await;
        let all: Vec<usize> = numbers.collect();
        for numbers in all.chunks(TOGETHER) {
            let mut request = Request::default();
            for &number in numbers {
                let uids: Vec<_> = self.uids.iter().map(|uid| (uid.as_str(), uid_of(uid, number))).collect();
                let renew = |text: &str| {
                    let renamed = text.replace(TEMPLATE, &name_of(number));
                    uids.iter().fold(renamed, |text, (old, new)| text.replace(old, new))
                };
                for (key, body, index) in self.objects.iter().filter(|(key, ..)| (key.kind == Kind::Pod) == pods) {
                    let key = Key::new(key.kind, &*key.namespace, renew(&key.name));
                    request.writes.push(Write::Put { key, index: renew_all(index, renew), body: renew(body) });
                }
                for attempt in self.attempts.iter().filter(|_| pods) {
                    let pod_uid = renew(&attempt.pod_uid);
                    write_files(&daemon.data_dir().join("pods").join(&pod_uid), &self.files);
                    request.writes.push(Write::Attempt(Box::new(Attempt { pod_uid, ..attempt.clone() })));
                }
            }
            store.write(request).await.expect("the store writes");
        }
        store.close().await;
    }
}

fn renew_all(index: &Index, renew: impl Fn(&str) -> String) -> Index {
    let renew = |text: &String| renew(text);
    Index {
        uid: renew(&index.uid),
        controller_uid: index.controller_uid.as_ref().map(renew),
        owner_uids: index.owner_uids.iter().map(renew).collect(),
        labels: index.labels.iter().map(|(key, value)| (key.clone(), renew(value))).collect(),
        involved_uid: index.involved_uid.as_ref().map(renew),
        involved_name: index.involved_name.as_ref().map(renew),
        ..index.clone()
    }
}

fn name_of(number: usize) -> String {
    format!("finished-{number:06}")
}

/// As scattered as real ones.
fn uid_of(template: &str, number: usize) -> String {
    let half = |salt: u8| {
        let mut hasher = DefaultHasher::new();
        (template, number, salt).hash(&mut hasher);
        hasher.finish()
    };
    let (high, low) = (half(0), half(1));
    let parts = [
        high >> 32,
        (high >> 16) & 0xffff,
        (high & 0xfff) | 0x4000,
        (low >> 48 & 0x3fff) | 0x8000,
        low & 0xffff_ffff_ffff,
    ];
    format!("{:08x}-{:04x}-{:04x}-{:04x}-{:012x}", parts[0], parts[1], parts[2], parts[3], parts[4])
}

fn read_files(root: &Path, dir: &Path, files: &mut Vec<(PathBuf, Vec<u8>)>) {
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            read_files(root, &path, files);
        } else if let (Ok(below), Ok(bytes)) = (path.strip_prefix(root), std::fs::read(&path)) {
            files.push((below.to_owned(), bytes));
        }
    }
}

fn write_files(dir: &Path, files: &[(PathBuf, Vec<u8>)]) {
    std::fs::create_dir_all(dir).expect("a directory");
    for (below, bytes) in files {
        let path = dir.join(below);
        std::fs::create_dir_all(path.parent().unwrap_or(dir)).expect("a directory");
        std::fs::write(path, bytes).expect("a file");
    }
}

/// Waits until the daemon has used no CPU for a second; how much it used since its start, in ms.
async fn rest(daemon: &Daemon) -> f64 {
    let mut last = f64::NAN;
    loop {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let (cpu, ..) = usage(daemon.pid());
        if cpu - last < 10.0 {
            return cpu;
        }
        last = cpu;
    }
}

/// All pages of 500; how many objects, how long the first page took and all of them, in ms.
async fn list(client: &Client, path: &str) -> (usize, f64, f64) {
    let started = Instant::now();
    let (mut count, mut first, mut next) = (0, None, String::new());
    loop {
        let page = client.get(&format!("{path}?limit=500{next}")).await.expect(200);
        count += page["items"].as_array().map_or(0, Vec::len);
        first.get_or_insert(started.elapsed());
        match page["metadata"]["continue"].as_str().filter(|token| !token.is_empty()) {
            Some(token) => next = format!("&continue={token}"),
            None => break,
        }
    }
    (count, first.unwrap_or_default().as_secs_f64() * 1e3, started.elapsed().as_secs_f64() * 1e3)
}

/// What a daemon costs on the file as it is.
struct Cost {
    ready_ms: f64,
    memory: f64,
    peak: f64,
    cpu: f64,
    memory_after_list: f64,
}

async fn cost(daemon: &mut Daemon, figures: &Figures, what: &str) -> Cost {
    let ready_ms = ready_ms(daemon).await;
    let cpu = rest(daemon).await;
    let (memory, peak) = (rss_mb(daemon.pid()), peak_rss_mb(daemon.pid()));
    let (count, first, all) = list(&daemon.client(), JOBS).await;
    rest(daemon).await;
    let memory_after_list = rss_mb(daemon.pid());
    figures.note(&format!(
        "{what}: ready in {ready_ms:.0} ms; at rest after {cpu:.0} ms of CPU with {memory:.1} MB, at most {peak:.1} MB; \
         a list by 500: {count} jobs, first page in {first:.1} ms, all in {all:.0} ms, then {memory_after_list:.1} MB"
    ));
    Cost { ready_ms, memory, peak, cpu, memory_after_list }
}

pub async fn measure(figures: &mut Figures) {
    let count = if figures.short { 20_000 } else { 100_000 };
    let mut daemon = Daemon::start_with(&["--no-listen"], &[("JOBD_LOG", "warn")]).await;
    let left = Left::by_one_job(&mut daemon).await;
    let none = cost(&mut daemon, figures, "one finished job").await;

    daemon.terminate().await;
    left.multiply(&daemon, 0..count, false).await;
    left.multiply(&daemon, count - PODS_KEPT.min(count)..count, true).await;
    let what = format!("{count} finished jobs");
    let many = cost(&mut daemon, figures, &what).await;
    figures.at_most(&format!("{what}: ready later than with one"), many.ready_ms - none.ready_ms, 1_000.0, "ms");
    figures.at_most("  CPU until it rests, more than with one", many.cpu - none.cpu, 1_000.0, "ms");
    figures.at_most("  memory, more than with one", many.memory - none.memory, 30.0, "MB");
    figures.at_most("  memory at its most, more than with one", many.peak - none.peak, 30.0, "MB");
    figures.at_most(
        "  memory after a list, more than with one",
        many.memory_after_list - none.memory_after_list,
        30.0,
        "MB",
    );

    // With all of their pods, as nobody collected them: most are one too many, and go.
    daemon.terminate().await;
    left.multiply(&daemon, 0..count - PODS_KEPT.min(count), true).await;
    let started = Instant::now();
    let ready = crate::store::ready(&mut daemon).await.as_secs_f64() * 1e3;
    let client = daemon.client();
    let (mut pods, mut slowest) = (usize::MAX, Duration::ZERO);
    while pods > PODS_KEPT {
        let asked = Instant::now();
        let page = client.get(&format!("{PODS}?limit=1")).await.expect(200);
        slowest = slowest.max(asked.elapsed());
        pods = 1 + usize::try_from(page["metadata"]["remainingItemCount"].as_u64().unwrap_or_default())
            .unwrap_or_default();
        assert!(started.elapsed() < Duration::from_secs(600), "{pods} pods are left");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let collected = started.elapsed();
    let cpu = rest(&daemon).await;
    figures.note(&format!(
        "{what} with {count} finished pods: ready in {ready:.0} ms; {pods} pods are left after {:.1} s (slowest answer meanwhile {:.0} ms); \
         at rest after {cpu:.0} ms of CPU with {:.1} MB",
        collected.as_secs_f64(),
        slowest.as_secs_f64() * 1e3,
        rss_mb(daemon.pid()),
    ));
    figures.at_most("  ready later than with one", ready - none.ready_ms, 1_000.0, "ms");
    figures.at_most("  memory at its most, more than with one", peak_rss_mb(daemon.pid()) - none.peak, 30.0, "MB");
}
