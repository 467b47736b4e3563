//! The bare engine: create, start, wait, remove, with the very body that jobd sends.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::{Request, client::conn::http1};
use hyper_util::rt::TokioIo;
use jobd_tests::Daemon;
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{UnixListener, UnixStream},
};

/// The engine's own socket.
pub fn socket() -> PathBuf {
    jobd_tests::docker_host().trim_start_matches("unix://").into()
}

/// The body with which jobd creates the container of this job's pods. A daemon of its own runs the job, through a socket that listens; the
/// files that the body mounts are made below `dir`.
pub async fn create_body(dir: &Path, job: &Value) -> Vec<u8> {
    let tap = Tap::open(dir).expect("a socket");
    let host = format!("unix://{}", tap.path.display());
    let daemon = Daemon::start_with(&["--no-listen", "--docker-host", &host], &[]).await;
    daemon.client().post("/apis/batch/v1/namespaces/default/jobs", job).await.expect(201);
    let name = job["metadata"]["name"].as_str().unwrap_or_default();
    daemon.client().wait_job("default", name, "Complete").await;
    let body = tap.create_body().expect("the daemon has created a container");
    let body = String::from_utf8_lossy(&body)
        .replace(&daemon.instance(), "bench")
        .replace(&daemon.data_dir().display().to_string(), &dir.display().to_string())
        .into_bytes();
    make_mounts(&body);
    body
}

/// The files that the create body mounts: those of the pod go with it.
fn make_mounts(body: &[u8]) {
    let body: Value = serde_json::from_slice(body).expect("a create body");
    for mount in body["HostConfig"]["Mounts"].as_array().into_iter().flatten() {
        let source = Path::new(mount["Source"].as_str().unwrap_or_default());
        if mount["Type"] == "bind" && !source.exists() {
            std::fs::create_dir_all(source.parent().unwrap_or(source)).expect("a directory");
            std::fs::write(source, "").expect("a file");
        }
    }
}

/// A socket that passes everything on to the engine and keeps the body of the first create.
struct Tap {
    path: PathBuf,
    body: Arc<Mutex<Option<Vec<u8>>>>,
}

impl Tap {
    fn open(dir: &Path) -> std::io::Result<Self> {
        let path = dir.join("tap.sock");
        let listener = UnixListener::bind(&path)?;
        let body = Arc::new(Mutex::new(None));
        let seen = body.clone();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(pass(client, seen.clone()));
            }
        });
        Ok(Self { path, body })
    }

    fn create_body(&self) -> Option<Vec<u8>> {
        self.body.lock().ok()?.clone()
    }
}

async fn pass(client: UnixStream, seen: Arc<Mutex<Option<Vec<u8>>>>) -> std::io::Result<()> {
    let engine = UnixStream::connect(socket()).await?;
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_engine, mut to_engine) = engine.into_split();
    let back = tokio::spawn(async move { tokio::io::copy(&mut from_engine, &mut to_client).await });
    let mut request = Vec::new();
    let mut buffer = vec![0; 64 << 10];
    loop {
        let count = from_client.read(&mut buffer).await?;
        if count == 0 {
            break;
        }
        to_engine.write_all(&buffer[..count]).await?;
        request.extend_from_slice(&buffer[..count]);
        if let Some(body) = body_in(&request)
            && let Ok(mut seen) = seen.lock()
        {
            seen.get_or_insert(body);
        }
    }
    to_engine.shutdown().await?;
    drop(back.await);
    Ok(())
}

/// The body of a request that creates a container, when all of it is there.
fn body_in(request: &[u8]) -> Option<Vec<u8>> {
    let end = request.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
    let head = std::str::from_utf8(&request[..end]).ok()?.to_lowercase();
    if !head.lines().next()?.contains("/containers/create") {
        return None;
    }
    let length: usize = head.lines().find_map(|line| line.strip_prefix("content-length:"))?.trim().parse().ok()?;
    (request.len() >= end + length).then(|| request[end..end + length].to_vec())
}

/// A connection to the engine that stays open: the cheapest way to talk to it.
pub struct Bare {
    sender: http1::SendRequest<Full<Bytes>>,
    body: Bytes,
}

impl Bare {
    pub async fn connect(body: &[u8]) -> anyhow::Result<Self> {
        let stream = UnixStream::connect(socket()).await?;
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        Ok(Self { sender, body: Bytes::copy_from_slice(body) })
    }

    async fn call(&mut self, method: &str, path: &str, body: Bytes) -> anyhow::Result<Bytes> {
        self.sender.ready().await?;
        let request = Request::builder()
            .method(method)
            .uri(format!("/v1.41{path}"))
            .header("host", "engine")
            .header("content-type", "application/json")
            .body(Full::new(body))?;
        let response = self.sender.send_request(request).await?;
        let status = response.status();
        let bytes = response.into_body().collect().await?.to_bytes();
        anyhow::ensure!(status.is_success(), "{method} {path}: {status} {}", String::from_utf8_lossy(&bytes));
        Ok(bytes)
    }

    /// One container from its creation to its removal.
    pub async fn cycle(&mut self, name: &str) -> anyhow::Result<()> {
        let body = self.body.clone();
        let created = self.call("POST", &format!("/containers/create?name={name}"), body).await?;
        let id = serde_json::from_slice::<Value>(&created)?["Id"].as_str().unwrap_or_default().to_owned();
        self.call("POST", &format!("/containers/{id}/start"), Bytes::new()).await?;
        self.call("POST", &format!("/containers/{id}/wait"), Bytes::new()).await?;
        self.call("DELETE", &format!("/containers/{id}?v=1"), Bytes::new()).await?;
        Ok(())
    }
}

/// The bare loop's rate at this concurrency, in containers per second.
pub async fn rate(body: &[u8], count: usize, concurrency: usize) -> anyhow::Result<f64> {
    let started = std::time::Instant::now();
    let next = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let mut workers = Vec::new();
    for _ in 0..concurrency {
        let mut bare = Bare::connect(body).await?;
        let next = next.clone();
        workers.push(tokio::spawn(async move {
            while next.fetch_add(1, std::sync::atomic::Ordering::Relaxed) < count {
                bare.cycle(&jobd_tests::unique("bench")).await?;
            }
            anyhow::Ok(())
        }));
    }
    for worker in workers {
        worker.await??;
    }
    Ok(count as f64 / started.elapsed().as_secs_f64())
}
