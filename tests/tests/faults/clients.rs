//! Hostile, slow, idle and many clients (F-18, F-19, F-20, I-9): the API goes on to answer quickly, jobs run, memory stays bounded.

use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use jobd_tests::{Client, Daemon, eventually, manifest};
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::{TcpStream, UnixStream},
    task::JoinSet,
};

use crate::JOBS;

const MAPS: &str = "/api/v1/namespaces/default/configmaps";

trait Connection: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Connection for T {}

struct Scene {
    daemon: Daemon,
    client: Client,
    plain: String,
}

/// Where a connection goes.
#[derive(Clone, Copy, Debug)]
enum Place {
    Socket,
    Loopback,
    /// HTTPS, without the handshake: what a stranger on the network can do.
    Https,
}

impl Scene {
    async fn open() -> Self {
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
        let daemon = Daemon::start_with(&["--listen", "127.0.0.1:0", "--insecure-listen", &free], &[]).await;
        Self { client: daemon.client(), daemon, plain: free }
    }

    async fn connect(&self, place: Place) -> Box<dyn Connection> {
        match place {
            Place::Socket => Box::new(UnixStream::connect(self.daemon.data_dir().join("jobd.sock")).await.unwrap()),
            Place::Loopback => Box::new(TcpStream::connect(&self.plain).await.unwrap()),
            Place::Https => {
                let config = std::fs::read_to_string(self.daemon.data_dir().join("kubeconfig")).unwrap();
                let server = config.lines().find_map(|line| line.trim().strip_prefix("server: https://")).unwrap();
                Box::new(TcpStream::connect(server).await.unwrap())
            }
        }
    }

    /// What must hold whatever others do: an answer within a second or so, a job that runs to its end.
    async fn check_serves(&self, name: &str) {
        let mut slowest = Duration::ZERO;
        for number in 0..5 {
            let started = Instant::now();
            let job = manifest::job_with(&format!("{name}-{number}"), "true", &json!({"suspend": true}));
            self.client.post(JOBS, &job).await.expect(201);
            self.client.get(JOBS).await.expect(200);
            slowest = slowest.max(started.elapsed());
        }
        assert!(slowest < Duration::from_secs(3), "{name}: a create and a list took {slowest:?}");
        self.client.post(JOBS, &manifest::job(name, "true")).await.expect(201);
        self.client.wait_job("default", name, "Complete").await;
    }
}

#[tokio::test]
async fn idle_and_half_open_connections_keep_nobody_out() {
    let scene = Scene::open().await;
    let mut open = Vec::new();
    for number in 0..500 {
        let place = [Place::Socket, Place::Loopback, Place::Https][number % 3];
        let mut connection = scene.connect(place).await;
        // Nothing, a byte of HTTP/2's opening, half a head, a request and then silence.
        let begun =
            ["", "P", "GET /api HTTP/1.1\r\nhost: localhost\r\nx-", "GET /api HTTP/1.1\r\nhost: localhost\r\n\r\n"];
        connection.write_all(begun[number / 3 % 4].as_bytes()).await.unwrap();
        open.push(connection);
    }
    scene.check_serves("beside-idle").await;
    println!("500 idle connections: {} KB resident", scene.daemon.rss_kb());
}

#[tokio::test]
async fn slow_and_large_bodies_hold_up_nobody_else() {
    let scene = Scene::open().await;
    let mut open = Vec::new();
    for number in 0..60 {
        let mut connection = scene.connect([Place::Socket, Place::Loopback][number % 2]).await;
        // Announced as the largest that is taken, and never sent.
        let head = format!("POST {JOBS} HTTP/1.1\r\nhost: localhost\r\ncontent-length: 3145000\r\n\r\n{{");
        connection.write_all(head.as_bytes()).await.unwrap();
        open.push(connection);
    }
    scene.check_serves("beside-slow").await;
    let mut answer = Vec::new();
    let first = &mut open[0];
    let reading = tokio::time::timeout(Duration::from_secs(30), first.read_buf(&mut answer));
    reading.await.expect("a slow body is given up soon").unwrap();
    assert!(answer.starts_with(b"HTTP/1.1 408"), "{}", String::from_utf8_lossy(&answer));
}

#[tokio::test]
async fn bodies_that_are_too_large_are_refused_and_cost_no_memory() {
    let scene = Scene::open().await;
    let before = scene.daemon.rss_kb();
    let mut senders = JoinSet::new();
    let body = Bytes::from(vec![b' '; 10 << 20]);
    for number in 0..40 {
        let mut connection = scene.connect([Place::Socket, Place::Loopback][number % 2]).await;
        let body = body.clone();
        senders.spawn(async move {
            let length = if number % 4 < 2 { "content-length: 10485760" } else { "transfer-encoding: chunked" };
            let head = format!("POST {JOBS} HTTP/1.1\r\nhost: localhost\r\n{length}\r\n\r\na00000\r\n");
            let (mut reader, mut writer) = tokio::io::split(&mut connection);
            let sending = async {
                // The daemon hangs up in the middle.
                drop(writer.write_all(head.as_bytes()).await);
                drop(writer.write_all(&body).await);
                std::future::pending::<()>().await;
            };
            let mut answer = Vec::new();
            let reading = async {
                // A reset may take the answer along on TCP.
                drop(reader.read_buf(&mut answer).await);
            };
            tokio::select! { () = sending => {}, () = reading => {} }
            String::from_utf8_lossy(&answer).into_owned()
        });
    }
    let mut refused = 0;
    while let Some(answer) = senders.join_next().await {
        let answer = answer.unwrap();
        assert!(answer.is_empty() || ["413", "429"].iter().any(|code| answer.contains(code)), "{answer}");
        refused += usize::from(answer.contains("413"));
    }
    assert!(refused >= 10, "only {refused} were told why");
    scene.check_serves("beside-large").await;
    let after = scene.daemon.rss_kb();
    println!("40 bodies of 10 MB: {before} KB resident before, {after} KB after");
    assert!(after < before + 100_000, "from {before} KB to {after} KB");
}

#[tokio::test]
async fn many_large_objects_at_once_are_taken_in_turn() {
    let scene = Scene::open().await;
    let sending = (0..24).map(async |number| {
        let map = json!({"metadata": {"name": format!("large-{number}")}, "data": {"x": "y".repeat(1_000_000)}});
        eventually("a large object to be taken", async || {
            let answer = scene.client.post(MAPS, &map).await;
            match answer.status {
                201 => Ok(()),
                // Come back later.
                429 => Err(answer.text()),
                other => panic!("{other}: {}", answer.text()),
            }
        })
        .await;
    });
    tokio::join!(futures_util::future::join_all(sending), scene.check_serves("beside-objects"));
}

#[tokio::test]
async fn garbage_is_answered_or_cut_and_the_daemon_stays_up() {
    let mut scene = Scene::open().await;
    let mut random = StdRng::seed_from_u64(19);
    let good = manifest::job("fuzzed", "true").to_string();
    for number in 0..600 {
        let place = [Place::Socket, Place::Loopback, Place::Https][number % 3];
        let mut connection = scene.connect(place).await;
        let length = random.random_range(1..2000);
        let noise: Vec<u8> = (0..length).map(|_| random.random()).collect();
        let bytes = match number / 3 % 4 {
            0 => noise,
            // A manifest with some bytes replaced, in each format.
            1 | 2 => {
                let mut body = good.clone().into_bytes();
                for _ in 0..random.random_range(1..8) {
                    let place = random.random_range(0..body.len());
                    body[place] = random.random();
                }
                let format = ["application/json", "application/yaml"][number % 2];
                let mut request = format!(
                    "POST {JOBS}?dryRun=All HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-type: {format}\r\ncontent-length: {}\r\n\r\n",
                    body.len()
                )
                .into_bytes();
                request.extend(body);
                request
            }
            _ => {
                let mut request = format!("POST {JOBS} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-type: application/vnd.kubernetes.protobuf\r\ncontent-length: {}\r\n\r\nk8s\0", noise.len() + 4).into_bytes();
                request.extend(noise);
                request
            }
        };
        drop(connection.write_all(&bytes).await);
        drop(connection.shutdown().await);
        let mut answer = Vec::new();
        let read = tokio::time::timeout(Duration::from_secs(20), connection.read_to_end(&mut answer)).await;
        assert!(read.is_ok(), "no end after {:?}", String::from_utf8_lossy(&bytes));
        assert!(!answer.starts_with(b"HTTP/1.1 500"), "{}", String::from_utf8_lossy(&bytes));
    }
    assert_eq!(scene.daemon.ended(), None);
    assert!(!scene.daemon.log().contains("panicked"), "no request panicked");
    scene.check_serves("beside-garbage").await;
}

/// An open watch, read line by line.
struct Watch {
    body: Incoming,
    buffer: Vec<u8>,
}

impl Watch {
    async fn open(client: &Client, path: &str) -> Self {
        let response = client.send("GET", path, &[], Bytes::new()).await.unwrap();
        assert_eq!(response.status(), 200);
        Self { body: response.into_body(), buffer: Vec::new() }
    }

    /// The next event; none when the watch has ended.
    async fn next(&mut self) -> Option<Value> {
        loop {
            if let Some(end) = self.buffer.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.buffer.drain(..=end).collect();
                return Some(serde_json::from_slice(&line).expect("an event"));
            }
            let data = self.body.frame().await?.ok()?.into_data().ok()?;
            self.buffer.extend_from_slice(&data);
        }
    }
}

fn revision(object: &Value) -> u64 {
    object["metadata"]["resourceVersion"].as_str().and_then(|text| text.parse().ok()).unwrap_or_default()
}

/// F-20: each watcher gets every change, and costs little; rounds do not add to it.
#[tokio::test]
async fn a_thousand_watchers_get_every_change_and_cost_little() {
    const WATCHERS: u64 = 1000;
    let scene = Scene::open().await;
    let map = json!({"metadata": {"name": "seen"}, "data": {"round": "0"}});
    let created = scene.client.post(MAPS, &map).await.expect(201);
    let before = scene.daemon.rss_kb();
    let mut watches = Vec::new();
    for _ in 0..WATCHERS {
        let path = format!("{MAPS}?watch=true&resourceVersion={}", revision(&created));
        watches.push(Watch::open(&scene.client, &path).await);
    }
    let mut sizes = Vec::new();
    for round in 1..=6 {
        let mut expected = Vec::new();
        for number in 0..20 {
            let patch = json!({"data": {"round": format!("{round}-{number}")}});
            expected.push(revision(&scene.client.merge(&format!("{MAPS}/seen"), &patch).await.expect(200)));
        }
        for watch in &mut watches {
            for revision_wanted in &expected {
                let event = tokio::time::timeout(jobd_tests::DEADLINE, watch.next()).await.unwrap().unwrap();
                assert_eq!((event["type"].as_str(), revision(&event["object"])), (Some("MODIFIED"), *revision_wanted));
            }
        }
        sizes.push(scene.daemon.rss_kb());
    }
    scene.check_serves("beside-watchers").await;
    let each = sizes[5].saturating_sub(before) / WATCHERS;
    println!("{WATCHERS} watchers: {before} KB resident before, {sizes:?} KB after each round, {each} KB per watcher");
    assert!(each < 64, "{each} KB per watcher");
    assert!(sizes[5] < sizes[1] + sizes[1] / 10, "memory grows with every round: {sizes:?}");
}

/// F-18: a watcher that never reads costs its buffers and no more; what it reads in the end has no gap.
#[tokio::test]
async fn a_watcher_that_never_reads_costs_bounded_memory() {
    let scene = Scene::open().await;
    let map = json!({"metadata": {"name": "big"}, "data": {"x": ""}});
    let created = scene.client.post(MAPS, &map).await.expect(201);
    let path = format!("{MAPS}?watch=true&resourceVersion={}", revision(&created));
    let mut lazy = Vec::new();
    for _ in 0..20 {
        lazy.push(Watch::open(&scene.client, &path).await);
    }
    let mut sizes = Vec::new();
    let mut revisions = Vec::new();
    for round in 0..4 {
        for number in 0..20 {
            let patch = json!({"data": {"x": format!("{round}-{number}-").repeat(30_000)}});
            revisions.push(revision(&scene.client.merge(&format!("{MAPS}/big"), &patch).await.expect(200)));
        }
        sizes.push(scene.daemon.rss_kb());
    }
    println!("20 watchers that never read, 16 MB of changes between the figures: {sizes:?} KB");
    assert!(sizes[3] < sizes[0] + 20_000, "memory grows by what nobody reads: {sizes:?}");
    scene.check_serves("beside-lazy").await;
    let mut seen = 0;
    while let Some(event) = lazy[0].next().await {
        if event["type"] == "ERROR" {
            assert_eq!(event["object"]["code"], 410, "{event}");
            break;
        }
        assert_eq!(revision(&event["object"]), revisions[seen], "every change once, in order");
        seen += 1;
        if seen == revisions.len() {
            break;
        }
    }
    println!("the lazy watcher read {seen} of {} changes in the end", revisions.len());
}
