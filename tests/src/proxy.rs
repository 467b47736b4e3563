//! A proxy in front of the real engine that delays, cuts, answers wrongly, and drops or repeats events on command (F-8, F-9,
//! F-10, F-12). It speaks HTTP, so a fault hits exactly the call that it is meant for.

use std::{
    path::PathBuf,
    process::Command,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use http_body_util::{BodyExt as _, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::{
    Request, Response,
    body::{Frame, Incoming},
    client::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tempfile::TempDir;
use tokio::{
    net::{UnixListener, UnixStream},
    sync::watch,
};

/// What happens to a call.
#[derive(Clone, Debug)]
pub enum Fault {
    /// The connection is cut; the engine never hears of it.
    CutBefore,
    /// The engine does it; the connection is cut instead of an answer (F-9).
    CutAfter,
    /// The engine hears of it later.
    Delay(Duration),
    /// No answer, ever; the engine never hears of it.
    Hang,
    /// The engine never hears of it; this is the answer.
    Answer(u16, &'static str),
    /// The engine hears of it twice; the second answer is passed back.
    Twice,
    /// Somebody else creates a container of that name first (F-10).
    StrangerFirst,
    /// The engine hears of it; this process gets SIGKILL so long after (F-11).
    Kill { pid: u32, after: Duration },
}

/// What happens to events of an action (`start`, `die`, …).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Events {
    Drop,
    /// So often in all.
    Repeat(usize),
    /// Behind the next event that is passed on.
    Late,
}

struct Rule {
    method: &'static str,
    part: String,
    fault: Fault,
    left: usize,
}

#[derive(Default)]
struct State {
    rules: Vec<Rule>,
    events: Vec<(&'static str, Events)>,
    calls: Vec<String>,
    down: bool,
}

/// A socket that leads to the engine while nothing is asked of it.
pub struct Proxy {
    dir: TempDir,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    /// Changes when all connections are to be cut.
    cuts: watch::Sender<u64>,
    /// The value of the label `stranger` on what [`Fault::StrangerFirst`] makes.
    stranger: String,
    /// The engine's socket.
    engine: String,
}

type Body = UnsyncBoxBody<Bytes, std::io::Error>;

impl Proxy {
    /// Listens on a socket of its own.
    ///
    /// # Panics
    /// When it cannot.
    #[must_use]
    pub fn open() -> Self {
        Self::open_to(&crate::docker_host())
    }

    /// The same in front of another engine.
    ///
    /// # Panics
    /// When it cannot listen.
    #[must_use]
    pub fn open_to(host: &str) -> Self {
        let dir = tempfile::Builder::new().prefix("jobd-proxy-").tempdir().expect("a temporary directory");
        let listener = UnixListener::bind(dir.path().join("docker.sock")).expect("a socket");
        let shared = Arc::new(Shared {
            stranger: crate::unique("stranger"),
            engine: host.trim_start_matches("unix://").to_owned(),
            ..Shared::default()
        });
        let accepting = Arc::clone(&shared);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                if !accepting.state().down {
                    tokio::spawn(serve(client, Arc::clone(&accepting)));
                }
            }
        });
        Self { dir, shared }
    }

    /// For `--docker-host`.
    #[must_use]
    pub fn host(&self) -> String {
        format!("unix://{}", self.socket().display())
    }

    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.dir.path().join("docker.sock")
    }

    /// The next `times` calls of this method whose path contains `part` meet the fault. Earlier rules go first.
    pub fn fault(&self, method: &'static str, part: &str, times: usize, fault: Fault) {
        self.shared.state().rules.push(Rule { method, part: part.to_owned(), fault, left: times });
    }

    /// The containers that [`Fault::StrangerFirst`] has made.
    #[must_use]
    pub fn strangers(&self) -> Vec<String> {
        crate::engine::labelled(&format!("stranger={}", self.shared.stranger))
    }

    /// How often a fault can still happen; all rules together.
    #[must_use]
    pub fn faults_left(&self) -> usize {
        self.shared.state().rules.iter().map(|rule| rule.left).sum()
    }

    /// Events of an action are treated so from now on.
    pub fn events(&self, action: &'static str, how: Events) {
        self.shared.state().events.push((action, how));
    }

    /// No faults any more. What hangs goes on hanging.
    pub fn heal(&self) {
        let mut state = self.shared.state();
        state.rules.clear();
        state.events.clear();
        state.down = false;
    }

    /// The engine is away: open connections are cut, new ones too.
    pub fn down(&self) {
        self.shared.state().down = true;
        self.cut_all();
    }

    /// Cuts every connection, the event stream too.
    pub fn cut_all(&self) {
        self.shared.cuts.send_modify(|count| *count += 1);
    }

    /// How many calls of this method came whose path contains `part`.
    #[must_use]
    pub fn calls(&self, method: &str, part: &str) -> usize {
        let state = self.shared.state();
        state.calls.iter().filter(|call| call.starts_with(method) && call.contains(part)).count()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        for id in self.strangers() {
            crate::engine::remove(&id);
        }
    }
}

impl Shared {
    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take_fault(&self, method: &str, path: &str) -> Option<Fault> {
        let mut state = self.state();
        state.calls.push(format!("{method} {path}"));
        let rule =
            state.rules.iter_mut().find(|rule| rule.left > 0 && rule.method == method && path.contains(&rule.part))?;
        rule.left -= 1;
        Some(rule.fault.clone())
    }

    fn event_rule(&self, line: &[u8]) -> Option<Events> {
        let event: Value = serde_json::from_slice(line).ok()?;
        let action = event["Action"].as_str()?;
        self.state().events.iter().find(|(wanted, _)| *wanted == action).map(|(_, how)| *how)
    }
}

async fn serve(client: UnixStream, shared: Arc<Shared>) {
    let mut cuts = shared.cuts.subscribe();
    let service = service_fn(move |request| handle(request, Arc::clone(&shared)));
    let connection = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(client), service);
    tokio::select! {
        // An error is a cut, or a client that went away.
        _ = connection => {}
        _ = cuts.changed() => {}
    }
}

async fn handle(request: Request<Incoming>, shared: Arc<Shared>) -> std::io::Result<Response<Body>> {
    let (mut parts, body) = request.into_parts();
    // The body may become another one.
    parts.headers.remove("content-length");
    parts.headers.remove("transfer-encoding");
    let body = body.collect().await.map_err(std::io::Error::other)?.to_bytes();
    let path = parts.uri.to_string();
    let engine = shared.engine.clone();
    let forward = async |body: Bytes| forward(&engine, Request::from_parts(parts.clone(), Full::new(body))).await;
    match shared.take_fault(parts.method.as_str(), parts.uri.path()) {
        None => {}
        Some(Fault::CutBefore) => return Err(cut()),
        Some(Fault::CutAfter) => {
            forward(body).await?.into_body().collect().await.map_err(std::io::Error::other)?;
            return Err(cut());
        }
        Some(Fault::Delay(time)) => tokio::time::sleep(time).await,
        Some(Fault::Kill { pid, after }) => {
            tokio::spawn(async move {
                tokio::time::sleep(after).await;
                drop(Command::new("kill").arg("-KILL").arg(pid.to_string()).status());
            });
        }
        Some(Fault::Hang) => std::future::pending().await,
        Some(Fault::Answer(status, message)) => {
            let body = serde_json::json!({"message": message}).to_string();
            let answer = Response::builder().status(status).header("content-type", "application/json");
            let body = Full::new(Bytes::from(body)).map_err(|never| match never {}).boxed_unsync();
            return answer.body(body).map_err(std::io::Error::other);
        }
        Some(Fault::Twice) => {
            forward(body.clone()).await?.into_body().collect().await.map_err(std::io::Error::other)?;
        }
        Some(Fault::StrangerFirst) => {
            let mut theirs: Value = serde_json::from_slice(&body)?;
            theirs["Labels"] = serde_json::json!({"stranger": shared.stranger});
            theirs["Entrypoint"] = serde_json::json!(["sleep"]);
            theirs["Cmd"] = serde_json::json!(["1000"]);
            forward(theirs.to_string().into()).await?.into_body().collect().await.map_err(std::io::Error::other)?;
        }
    }
    let (parts, body) = forward(body).await?.into_parts();
    let body = body.map_err(std::io::Error::other);
    if !path.contains("/events") {
        return Ok(Response::from_parts(parts, body.boxed_unsync()));
    }
    let mut buffer = Vec::new();
    let mut late = Vec::new();
    let frames = body.into_data_stream().flat_map(move |chunk| {
        let mut passed = Vec::new();
        match chunk {
            Ok(chunk) => buffer.extend_from_slice(&chunk),
            Err(error) => passed.push(Err(error)),
        }
        while let Some(end) = buffer.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = buffer.drain(..=end).collect();
            let times = match shared.event_rule(&line) {
                None => 1,
                Some(Events::Drop) => 0,
                Some(Events::Repeat(times)) => times,
                Some(Events::Late) => {
                    late.push(line);
                    continue;
                }
            };
            for _ in 0..times {
                passed.push(Ok(Frame::data(Bytes::from(line.clone()))));
            }
            passed.extend(late.drain(..).map(|line| Ok(Frame::data(Bytes::from(line)))));
        }
        stream::iter(passed)
    });
    Ok(Response::from_parts(parts, StreamBody::new(frames).boxed_unsync()))
}

fn cut() -> std::io::Error {
    std::io::Error::new(std::io::ErrorKind::ConnectionReset, "cut")
}

async fn forward(engine: &str, request: Request<Full<Bytes>>) -> std::io::Result<Response<Incoming>> {
    let stream = UnixStream::connect(engine).await?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(std::io::Error::other)?;
    tokio::spawn(connection);
    sender.send_request(request).await.map_err(std::io::Error::other)
}
