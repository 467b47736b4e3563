//! One client for all these tests: a request in, status, headers and JSON out.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use axum::{
    Router,
    body::{Body, BodyDataStream},
    http::{HeaderMap, Request},
};
use bytes::Bytes;
use futures_util::{FutureExt as _, StreamExt as _, future::BoxFuture, stream};
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use tower::ServiceExt as _;

use crate::{
    node::streams::{LogBytes, LogRequest, PodStreams, StreamError},
    server::{Access, App, router},
    store::{Options, Store},
    sys::{Clock, Now, SharedRandom, SystemClock},
};

/// Nothing here takes long; this only keeps a broken test from hanging.
pub(super) const DEADLINE: Duration = Duration::from_secs(20);

/// How long old versions stay readable.
pub(super) const HISTORY: Duration = Duration::from_secs(300);

pub(super) const TABLE: &str = "application/json;as=Table;v=v1;g=meta.k8s.io";

/// Answers every log request with the request itself.
pub(super) struct EchoStreams;

impl PodStreams for EchoStreams {
    fn logs(&self, request: LogRequest) -> BoxFuture<'_, Result<LogBytes, StreamError>> {
        if request.container == "gone" {
            return async { Err(StreamError::Absent) }.boxed();
        }
        let text = format!(
            "{}/{} {} attempt={} tail={:?}\n",
            request.namespace, request.pod, request.container, request.attempt, request.tail_lines
        );
        let pieces = stream::iter([Ok(Bytes::from(text))]);
        let follow = request.follow;
        async move {
            // A followed container that never ends.
            Ok(if follow { pieces.chain(stream::pending()).boxed() } else { pieces.boxed() })
        }
        .boxed()
    }
}

/// The machine's clock, which a test can set forward.
#[derive(Default)]
pub(super) struct JumpClock(AtomicU64);

impl JumpClock {
    pub(super) fn jump(&self, by: Duration) {
        self.0.fetch_add(by.as_secs(), Ordering::SeqCst);
    }
}

impl Clock for JumpClock {
    fn now(&self) -> Now {
        let (now, ahead) = (SystemClock.now(), Duration::from_secs(self.0.load(Ordering::SeqCst)));
        Now { wall: now.wall + ahead, boot: now.boot + ahead }
    }
}

pub(super) struct Client {
    pub(super) app: Arc<App>,
    pub(super) clock: Arc<JumpClock>,
    router: Router,
    pub(super) directory: tempfile::TempDir,
}

pub(super) struct Answer {
    pub(super) code: u16,
    pub(super) headers: HeaderMap,
    pub(super) text: String,
}

impl Answer {
    #[track_caller]
    pub(super) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {}", self.text))
    }

    pub(super) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// `409 jobs.batch "x" already exists`
    #[track_caller]
    pub(super) fn refusal(&self) -> String {
        assert_eq!(self.header("content-type"), "application/json", "{}", self.text);
        let status = self.json();
        assert_eq!(status["kind"], "Status");
        assert_eq!(status["code"], self.code);
        format!("{} {}", self.code, status["message"].as_str().unwrap())
    }

    #[track_caller]
    pub(super) fn ok(self, code: u16) -> Value {
        assert_eq!(self.code, code, "{}", self.text);
        self.json()
    }
}

impl Client {
    /// A server on an empty store with the namespaces `default` and `a`.
    pub(super) async fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let clock = Arc::new(JumpClock::default());
        let options = Options {
            path: directory.path().join("jobd.db"),
            clock: Arc::<JumpClock>::clone(&clock),
            history: HISTORY,
        };
        let store = Store::open(options).await.unwrap();
        let random = Arc::new(SharedRandom::seeded(1));
        let app = Arc::new(App::new(store, Arc::new(EchoStreams), Arc::<JumpClock>::clone(&clock), random));
        let router = router(Arc::clone(&app), Access::Socket);
        let client = Self { app, clock, router, directory };
        for name in ["default", "a"] {
            client.post("/api/v1/namespaces", &json!({"metadata": {"name": name}})).await.ok(201);
        }
        client
    }

    /// Another server on the same store; all of these draw the same names.
    pub(super) fn twin(&self) -> Self {
        let clock = Arc::clone(&self.clock);
        let random = Arc::new(SharedRandom::seeded(2));
        let app = App::new(self.app.store.clone(), Arc::new(EchoStreams), Arc::<JumpClock>::clone(&clock), random);
        let app = Arc::new(app);
        let router = router(Arc::clone(&app), Access::Socket);
        Self { app, clock, router, directory: tempfile::tempdir().unwrap() }
    }

    pub(super) async fn request(
        &self,
        method: &str,
        uri: &str,
        headers: &[(&str, &str)],
        body: impl Into<Body>,
    ) -> axum::response::Response {
        let mut request = Request::builder().method(method).uri(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let sent = self.router.clone().oneshot(request.body(body.into()).unwrap());
        tokio::time::timeout(DEADLINE, sent).await.expect("an answer in time").unwrap()
    }

    pub(super) async fn send(
        &self,
        method: &str,
        uri: &str,
        headers: &[(&str, &str)],
        body: impl Into<Body>,
    ) -> Answer {
        let (parts, body) = self.request(method, uri, headers, body).await.into_parts();
        let bytes = tokio::time::timeout(DEADLINE, body.collect()).await.expect("a body in time").unwrap().to_bytes();
        let text = String::from_utf8(bytes.to_vec()).unwrap();
        Answer { code: parts.status.as_u16(), headers: parts.headers, text }
    }

    pub(super) async fn get(&self, uri: &str) -> Answer {
        self.send("GET", uri, &[], "").await
    }

    pub(super) async fn get_as(&self, uri: &str, accept: &str) -> Answer {
        self.send("GET", uri, &[("accept", accept)], "").await
    }

    pub(super) async fn post(&self, uri: &str, body: &Value) -> Answer {
        // No content type, as Python sends it (W-20).
        self.send("POST", uri, &[], body.to_string()).await
    }

    pub(super) async fn put(&self, uri: &str, body: &Value) -> Answer {
        self.send("PUT", uri, &[("content-type", "application/json")], body.to_string()).await
    }

    pub(super) async fn patch(&self, uri: &str, patch_type: &str, body: &Value) -> Answer {
        let content_type = format!("application/{patch_type}");
        self.send("PATCH", uri, &[("content-type", &content_type)], body.to_string()).await
    }

    pub(super) async fn delete(&self, uri: &str) -> Answer {
        self.send("DELETE", uri, &[], "").await
    }

    /// Makes a config map; its JSON.
    pub(super) async fn config_map(&self, namespace: &str, name: &str, labels: Value) -> Value {
        let body = json!({"metadata": {"name": name, "labels": labels}, "data": {"k": "v"}});
        self.post(&format!("/api/v1/namespaces/{namespace}/configmaps"), &body).await.ok(201)
    }

    pub(super) async fn watch(&self, uri: &str) -> Events {
        self.watch_as(uri, "application/json").await
    }

    pub(super) async fn watch_as(&self, uri: &str, accept: &str) -> Events {
        let response = self.request("GET", uri, &[("accept", accept)], "").await;
        assert_eq!(response.status().as_u16(), 200);
        assert_eq!(response.headers()["content-type"], "application/json");
        Events { body: response.into_body().into_data_stream(), buffer: Vec::new() }
    }
}

/// The events of a watch.
pub(super) struct Events {
    body: BodyDataStream,
    buffer: Vec<u8>,
}

impl Events {
    /// The next event; none when the stream has ended.
    pub(super) async fn next(&mut self) -> Option<Value> {
        loop {
            if let Some(end) = self.buffer.iter().position(|byte| *byte == b'\n') {
                let line = self.buffer.drain(..=end).collect::<Vec<_>>();
                return Some(serde_json::from_slice(&line).unwrap());
            }
            let piece = tokio::time::timeout(DEADLINE, self.body.next()).await.expect("an event in time")?;
            self.buffer.extend_from_slice(&piece.unwrap());
        }
    }

    /// `ADDED name` of the next event.
    pub(super) async fn line(&mut self) -> String {
        match self.next().await {
            None => "end".to_owned(),
            Some(event) => {
                let object = &event["object"];
                let name = object["metadata"]["name"].as_str().or_else(|| object["message"].as_str());
                format!("{} {}", event["type"].as_str().unwrap(), name.unwrap_or_default()).trim_end().to_owned()
            }
        }
    }

    #[track_caller]
    pub(super) fn expect<'a>(&'a mut self, want: &'a [&'a str]) -> BoxFuture<'a, ()> {
        let place = std::panic::Location::caller();
        async move {
            for want in want {
                assert_eq!(&self.line().await, want, "at {place}");
            }
        }
        .boxed()
    }
}

pub(super) fn job(name: &str) -> Value {
    json!({
        "metadata": {"name": name},
        "spec": {"template": {"spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "i:1"}]}}},
    })
}

pub(super) fn pod(name: &str) -> Value {
    json!({"metadata": {"name": name}, "spec": {"containers": [{"name": "c", "image": "i:1"}]}})
}
