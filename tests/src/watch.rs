//! A watch: the events of a stream, one at a time, with a deadline.

use bytes::BytesMut;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use serde_json::Value;

use crate::{Client, DEADLINE};

/// An open watch.
pub struct Watch {
    body: Incoming,
    buffer: BytesMut,
}

/// One event as `("ADDED", object)`.
pub type Event = (String, Value);

impl Watch {
    /// Opens a watch at a path with its whole query.
    ///
    /// # Panics
    /// When the daemon answers anything but 200.
    pub async fn open(client: &Client, path: &str) -> Self {
        let headers = [("accept", "application/vnd.kubernetes.protobuf;q=0.5, application/json")];
        let response = client.send("GET", path, &headers, "").await.unwrap_or_else(|error| panic!("{path}: {error}"));
        assert_eq!(response.status(), 200, "{path}");
        Self { body: response.into_body(), buffer: BytesMut::new() }
    }

    /// The next event; none when the stream has ended.
    ///
    /// # Panics
    /// When none comes before the deadline, or a line is not JSON.
    pub async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some(end) = self.buffer.iter().position(|byte| *byte == b'\n') {
                let line = self.buffer.split_to(end + 1);
                let mut event: Value = serde_json::from_slice(&line).expect("an event");
                return Some((event["type"].as_str().unwrap_or_default().to_owned(), event["object"].take()));
            }
            let frame =
                tokio::time::timeout(DEADLINE, self.body.frame()).await.expect("an event before the deadline")?;
            if let Some(data) = frame.ok()?.data_ref() {
                self.buffer.extend_from_slice(data);
            }
        }
    }

    /// Reads on until an event is as wanted, and returns it.
    ///
    /// # Panics
    /// When the stream ends first; with what came.
    pub async fn until(&mut self, what: &str, wanted: impl Fn(&str, &Value) -> bool) -> Event {
        let mut seen = Vec::new();
        while let Some((kind, object)) = self.next().await {
            if wanted(&kind, &object) {
                return (kind, object);
            }
            seen.push(format!("{kind} {object}"));
        }
        panic!("the watch ended before {what}: {seen:#?}");
    }
}
