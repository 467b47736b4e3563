//! What keeps one client from starving the daemon (I-9): sizes, counts and times.

use std::{sync::Arc, time::Duration};

use axum::body::Body;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Limited};
use hyper::body::Body as _;
use jobd_api::status::Status;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::error;

/// The largest request body (W-8). Kubernetes' figure: larger objects are not portable.
pub(crate) const BODY_MAX: usize = 3 * 1024 * 1024;

/// How much of request bodies may be in memory at once, in KiB. A parsed body takes about ten times its text, so this
/// bounds what hostile writers can make us hold; too low makes large writes wait for each other.
const BODIES_KIB: usize = 12 * 1024;

/// How long a client may take to send its body. Too long lets slow senders hold the share above; too short fails large
/// bodies on slow lines.
const BODY_TIMEOUT: Duration = Duration::from_secs(60);

/// How many requests are worked on at once; more get 429 and come back. Kubernetes' default for reads and writes together
/// is 600, on machines that do nothing else.
const REQUESTS_MAX: usize = 400;

/// How many watches and followed logs may be open. Each costs tens of KB.
const STREAMS_MAX: usize = 5_000;

/// How many connections may be open, TLS handshakes included.
pub(crate) const CONNECTIONS_MAX: usize = 4_096;

/// How many open files the daemon asks for: twice the connections, and room for the engine's and the database's.
pub(crate) const FILES_MAX: u64 = 10_000;

/// How long a connection may sit without a whole request head: slow-loris, and idle keep-alive connections.
pub(crate) const HEADER_TIMEOUT: Duration = Duration::from_secs(90);

/// How long a TLS handshake may take.
pub(crate) const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// How long unacknowledged data may stay in a socket before the peer counts as gone (W-134).
pub(crate) const DEAD_PEER_TIMEOUT: Duration = Duration::from_secs(120);

/// How many HTTP/2 requests one connection may have open; client-go keeps all its watches on one connection.
pub(crate) const HTTP2_STREAMS_MAX: u32 = 1_000;

/// How long open requests get to end when the daemon stops.
pub(crate) const SHUTDOWN_GRACE: Duration = Duration::from_secs(10);

/// The counters behind the figures above.
pub(crate) struct Limits {
    bodies: Arc<Semaphore>,
    requests: Arc<Semaphore>,
    streams: Arc<Semaphore>,
}

/// A request body and its share of memory, given back when this is dropped.
pub(crate) struct ReadBody {
    pub(crate) bytes: Bytes,
    _share: OwnedSemaphorePermit,
}

impl Limits {
    pub(crate) fn new() -> Self {
        Self {
            bodies: Arc::new(Semaphore::new(BODIES_KIB)),
            requests: Arc::new(Semaphore::new(REQUESTS_MAX)),
            streams: Arc::new(Semaphore::new(STREAMS_MAX)),
        }
    }

    /// A place among the requests that are worked on; 429 when there is none.
    pub(crate) fn request(&self) -> Result<OwnedSemaphorePermit, Status> {
        Arc::clone(&self.requests).try_acquire_owned().map_err(|_| error::too_many_requests())
    }

    /// A place among the open streams; 429 when there is none.
    pub(crate) fn stream(&self) -> Result<OwnedSemaphorePermit, Status> {
        Arc::clone(&self.streams).try_acquire_owned().map_err(|_| error::too_many_requests())
    }

    /// Reads a whole request body.
    pub(crate) async fn read_body(&self, body: Body) -> Result<ReadBody, Status> {
        let announced = body.size_hint().upper().unwrap_or(BODY_MAX as u64);
        if announced > BODY_MAX as u64 {
            return Err(error::too_large(BODY_MAX));
        }
        let kib = u32::try_from(announced / 1024 + 1).unwrap_or(u32::MAX);
        let read = async {
            let share = Arc::clone(&self.bodies).acquire_many_owned(kib).await;
            let share = share.map_err(|_| error::unavailable("jobd is shutting down".to_owned(), 1))?;
            match Limited::new(body, BODY_MAX).collect().await {
                Ok(collected) => Ok(ReadBody { bytes: collected.to_bytes(), _share: share }),
                Err(failure) if failure.is::<http_body_util::LengthLimitError>() => Err(error::too_large(BODY_MAX)),
                Err(failure) => Err(Status::bad_request(format!("the request body could not be read: {failure}"))),
            }
        };
        match tokio::time::timeout(BODY_TIMEOUT, read).await {
            Ok(result) => result,
            Err(_) => {
                let seconds = BODY_TIMEOUT.as_secs();
                Err(Status::new(408, "Timeout", format!("the request body did not arrive within {seconds} seconds")))
            }
        }
    }
}
