//! A small HTTP client for the daemon's Unix socket: what a script with curl would do.

use std::path::{Path, PathBuf};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::{Request, body::Incoming, client::conn::http1};
use hyper_util::rt::TokioIo;
use serde_json::Value;

use crate::eventually;

/// An answer, read to its end.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: hyper::HeaderMap,
    pub bytes: Bytes,
}

impl Answer {
    /// The body as JSON; null when it is none.
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.bytes).unwrap_or(Value::Null)
    }

    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes).into_owned()
    }

    /// The texts of all `Warning` headers, unescaped.
    #[must_use]
    pub fn warnings(&self) -> Vec<String> {
        self.headers
            .get_all("warning")
            .iter()
            .filter_map(|value| value.to_str().ok())
            .map(|value| {
                value
                    .trim_start_matches("299 - \"")
                    .strip_suffix('"')
                    .unwrap_or(value)
                    .replace("\\\"", "\"")
                    .replace("\\\\", "\\")
            })
            .collect()
    }

    /// The JSON body of an answer that must have this status.
    ///
    /// # Panics
    /// When the status is another.
    #[track_caller]
    pub fn expect(&self, status: u16) -> Value {
        assert_eq!(self.status, status, "unexpected answer: {}", self.text());
        self.json()
    }
}

/// A client for one daemon. A connection per request, as curl makes it.
#[derive(Clone, Debug)]
pub struct Client {
    socket: PathBuf,
}

impl Client {
    #[must_use]
    pub fn new(socket: &Path) -> Self {
        Self { socket: socket.to_owned() }
    }

    /// Opens a connection that can be used for many requests.
    ///
    /// # Errors
    /// When nothing listens.
    pub async fn connect(&self) -> anyhow::Result<http1::SendRequest<Full<Bytes>>> {
        let stream = tokio::net::UnixStream::connect(&self.socket).await?;
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        Ok(sender)
    }

    /// Sends a request and returns the answer when its headers are there.
    ///
    /// # Errors
    /// When the daemon does not answer.
    pub async fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> anyhow::Result<hyper::Response<Incoming>> {
        let mut connection = self.connect().await?;
        let mut request = Request::builder().method(method).uri(path).header("host", "localhost");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        Ok(connection.send_request(request.body(Full::new(body.into()))?).await?)
    }

    /// Sends a request and reads the whole answer.
    ///
    /// # Errors
    /// When the daemon does not answer.
    pub async fn try_request(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> anyhow::Result<Answer> {
        let response = self.send(method, path, headers, body).await?;
        let (parts, body) = response.into_parts();
        Ok(Answer { status: parts.status.as_u16(), headers: parts.headers, bytes: body.collect().await?.to_bytes() })
    }

    /// The same, for a daemon that must answer.
    ///
    /// # Panics
    /// When it does not.
    pub async fn request(&self, method: &str, path: &str, headers: &[(&str, &str)], body: impl Into<Bytes>) -> Answer {
        self.try_request(method, path, headers, body).await.unwrap_or_else(|error| panic!("{method} {path}: {error}"))
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.request("GET", path, &[], Bytes::new()).await
    }

    pub async fn post(&self, path: &str, body: &Value) -> Answer {
        self.request("POST", path, &[("content-type", "application/json")], body.to_string()).await
    }

    pub async fn put(&self, path: &str, body: &Value) -> Answer {
        self.request("PUT", path, &[("content-type", "application/json")], body.to_string()).await
    }

    /// A merge patch.
    pub async fn merge(&self, path: &str, patch: &Value) -> Answer {
        self.request("PATCH", path, &[("content-type", "application/merge-patch+json")], patch.to_string()).await
    }

    pub async fn delete(&self, path: &str, options: &Value) -> Answer {
        let body = if options.is_null() { String::new() } else { options.to_string() };
        self.request("DELETE", path, &[("content-type", "application/json")], body).await
    }

    /// Waits until the object at `path` is as wanted, and returns it.
    ///
    /// # Panics
    /// When that takes longer than the deadline.
    pub async fn wait(&self, path: &str, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        eventually(&format!("{path} to be {what}"), async || {
            let answer = self.try_request("GET", path, &[], Bytes::new()).await.map_err(|error| error.to_string())?;
            let object = answer.json();
            if answer.status == 200 && wanted(&object) { Ok(object) } else { Err(answer.text()) }
        })
        .await
    }

    /// Waits until there is nothing at `path`.
    ///
    /// # Panics
    /// When that takes longer than the deadline.
    pub async fn wait_gone(&self, path: &str) {
        eventually(&format!("{path} to be gone"), async || {
            let answer = self.try_request("GET", path, &[], Bytes::new()).await.map_err(|error| error.to_string())?;
            if answer.status == 404 { Ok(()) } else { Err(answer.text()) }
        })
        .await;
    }

    /// Waits for a job's condition to be true, and returns the job.
    ///
    /// # Panics
    /// When that takes longer than the deadline.
    pub async fn wait_job(&self, namespace: &str, name: &str, condition: &str) -> Value {
        self.wait(&format!("/apis/batch/v1/namespaces/{namespace}/jobs/{name}"), condition, |job| {
            has_condition(job, condition)
        })
        .await
    }

    /// The pods that carry a job's name.
    pub async fn pods_of(&self, namespace: &str, job: &str) -> Vec<Value> {
        let list = self
            .get(&format!("/api/v1/namespaces/{namespace}/pods?labelSelector=batch.kubernetes.io%2Fjob-name%3D{job}"))
            .await
            .expect(200);
        list["items"].as_array().cloned().unwrap_or_default()
    }
}

/// Whether an object's status has this condition with status `True`.
#[must_use]
pub fn has_condition(object: &Value, condition: &str) -> bool {
    object["status"]["conditions"]
        .as_array()
        .is_some_and(|all| all.iter().any(|one| one["type"] == condition && one["status"] == "True"))
}
