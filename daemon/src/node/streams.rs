//! The bridge from the API server to containers: the one thing that it may ask of the node is their logs.

use bytes::Bytes;
use futures_util::{future::BoxFuture, stream::BoxStream};
use jiff::Timestamp;

/// Which log of which container attempt.
#[derive(Clone, Debug)]
pub struct LogRequest {
    pub namespace: String,
    pub pod: String,
    pub pod_uid: String,
    pub container: String,
    /// `restartCount` of the attempt whose log is wanted.
    pub attempt: u32,
    pub follow: bool,
    pub timestamps: bool,
    pub since: Option<Timestamp>,
    pub tail_lines: Option<u64>,
    pub limit_bytes: Option<u64>,
    pub stream: LogStream,
}

/// Which of the two streams.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogStream {
    #[default]
    All,
    Stdout,
    Stderr,
}

/// Why a stream cannot be opened.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StreamError {
    /// The attempt has no log (any more).
    #[error("no log is kept for this container")]
    Absent,
    #[error("{0}")]
    Failed(String),
}

/// Log text in pieces, as the client gets it.
pub type LogBytes = BoxStream<'static, Result<Bytes, std::io::Error>>;

/// What the API server may ask of the node.
pub trait PodStreams: Send + Sync + 'static {
    fn logs(&self, request: LogRequest) -> BoxFuture<'_, Result<LogBytes, StreamError>>;
}
