//! What keeps one client from starving the daemon (I-9): sizes, counts and times.

use std::{sync::Arc, time::Duration};

use axum::body::Body;
use bytes::Bytes;
use http_body_util::BodyExt as _;
use hyper::body::Body as _;
use jobd_api::status::Status;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::Instant,
};

use super::error;

/// The largest request body (W-8). Kubernetes' figure: larger objects are not portable.
pub(crate) const BODY_MAX: usize = 3 * 1024 * 1024;

/// How much of a refused body is read on, and for how long.
const DRAIN_MAX: usize = 32 << 20;
const DRAIN_PATIENCE: Duration = Duration::from_secs(5);

/// How much of request bodies may be worked on at once, in KiB. A parsed body takes about ten times its text, so this
/// bounds what hostile writers can make us hold; too low makes large writes wait for each other.
const PARSED_KIB: usize = 12 * 1024;

/// The first so many bytes of a body come out of a pool of their own: manifests are smaller, so who sends large bodies, or
/// sends them slowly, takes no room from the others.
const SMALL_BODY: usize = 64 * 1024;

/// How much of the beginnings of bodies may have arrived and wait for their rest, in KiB.
const SMALL_KIB: usize = 16 * 1024;

/// The same for everything beyond the beginnings.
const LARGE_KIB: usize = 24 * 1024;

/// How long a client may take to send its body, whatever its size, and how much it must send in each further second. Too
/// long lets slow senders hold the pools above; too short fails large bodies on slow lines.
const BODY_PATIENCE: Duration = Duration::from_secs(10);
const BODY_BYTES_PER_SECOND: usize = 64 * 1024;

/// How many requests are worked on at once; more get 429 and come back. Kubernetes' default for reads and writes together
/// is 600, on machines that do nothing else.
const REQUESTS_MAX: usize = 400;

/// How many watches and followed logs may be open. Each costs tens of KB.
const STREAMS_MAX: usize = 5_000;

/// How many connections may be open, TLS handshakes included; the socket has so many of its own, for strangers on the
/// network must not keep local scripts out.
pub(crate) const CONNECTIONS_MAX: usize = 4_096;

/// How many open files the daemon asks for: twice the connections, and room for the engine's and the database's.
pub(crate) const FILES_MAX: u64 = 10_000;

/// How long a connection may sit without a whole request head: slow-loris, and idle keep-alive connections. Longer than
/// Go's clients keep an idle connection (90 s), else they now and then send into one that is just being closed.
pub(crate) const HEADER_TIMEOUT: Duration = Duration::from_secs(95);

/// How long a TLS handshake may take.
pub(crate) const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a client may leave what it was sent unread. It costs its connection, a piece of an answer and, for a list, a
/// place among the requests; it comes back with its last revision.
pub(crate) const UNREAD_TIMEOUT: Duration = Duration::from_secs(60);

/// How much of an answer waits in a connection for its client to read; also the longest request head.
pub(crate) const CONNECTION_BUFFER: usize = 64 * 1024;

/// How long unacknowledged data may stay in a socket before the peer counts as gone (W-134).
pub(crate) const DEAD_PEER_TIMEOUT: Duration = Duration::from_secs(120);

/// How many HTTP/2 requests one connection may have open; client-go keeps all its watches on one connection.
pub(crate) const HTTP2_STREAMS_MAX: u32 = 1_000;

/// How long open requests get to end when the daemon stops.
pub(crate) const SHUTDOWN_GRACE: Duration = Duration::from_secs(10);

/// The counters behind the figures above.
pub(crate) struct Limits {
    parsed: Arc<Semaphore>,
    small: Arc<Semaphore>,
    large: Arc<Semaphore>,
    requests: Arc<Semaphore>,
    streams: Arc<Semaphore>,
}

/// A request body and its shares of memory, given back when this is dropped.
pub(crate) struct ReadBody {
    pub(crate) bytes: Bytes,
    _shares: [Option<OwnedSemaphorePermit>; 3],
}

/// A body on its way in.
#[derive(Default)]
struct Arriving {
    bytes: Vec<u8>,
    small: Option<OwnedSemaphorePermit>,
    large: Option<OwnedSemaphorePermit>,
}

impl Arriving {
    /// Takes in a frame and its share of the pools; 429 when they have no room.
    fn push(&mut self, limits: &Limits, frame: &[u8]) -> Result<(), Status> {
        let (before, after) = (self.bytes.len(), self.bytes.len() + frame.len());
        if after > BODY_MAX {
            return Err(error::too_large(BODY_MAX));
        }
        grow(&mut self.small, &limits.small, kib(before.min(SMALL_BODY)), kib(after.min(SMALL_BODY)))?;
        let beyond = |length: usize| kib(length.saturating_sub(SMALL_BODY));
        grow(&mut self.large, &limits.large, beyond(before), beyond(after))?;
        // Copied: a frame may be one byte, and holds more than it shows.
        self.bytes.extend_from_slice(frame);
        Ok(())
    }

    /// How long after its beginning so much of the body must have arrived.
    fn patience(&self) -> Duration {
        BODY_PATIENCE + Duration::from_secs((self.bytes.len() / BODY_BYTES_PER_SECOND) as u64)
    }
}

/// Whole KiB, rounded up.
fn kib(bytes: usize) -> u32 {
    u32::try_from(bytes.div_ceil(1024)).unwrap_or(u32::MAX)
}

/// Makes a share larger.
fn grow(share: &mut Option<OwnedSemaphorePermit>, pool: &Arc<Semaphore>, from: u32, to: u32) -> Result<(), Status> {
    if to > from {
        let more = Arc::clone(pool).try_acquire_many_owned(to - from).map_err(|_| error::too_many_requests())?;
        match share {
            Some(share) => share.merge(more),
            None => *share = Some(more),
        }
    }
    Ok(())
}

/// Reads on without keeping anything, so that a client that still sends comes to read the answer instead of finding the connection cut.
async fn drain(body: &mut Body) {
    let mut left = DRAIN_MAX;
    let rest = async {
        while let Some(Ok(frame)) = body.frame().await {
            left = left.saturating_sub(frame.data_ref().map_or(0, Bytes::len));
            if left == 0 {
                return;
            }
        }
    };
    drop(tokio::time::timeout(DRAIN_PATIENCE, rest).await);
}

impl Limits {
    pub(crate) fn new() -> Self {
        Self {
            parsed: Arc::new(Semaphore::new(PARSED_KIB)),
            small: Arc::new(Semaphore::new(SMALL_KIB)),
            large: Arc::new(Semaphore::new(LARGE_KIB)),
            requests: Arc::new(Semaphore::new(REQUESTS_MAX)),
            streams: Arc::new(Semaphore::new(STREAMS_MAX)),
        }
    }

    /// A place among the requests that are worked on; 429 when there is none. Taken when the body is there: who sends
    /// slowly holds no place.
    pub(crate) fn request(&self) -> Result<OwnedSemaphorePermit, Status> {
        Arc::clone(&self.requests).try_acquire_owned().map_err(|_| error::too_many_requests())
    }

    /// A place among the open streams; 429 when there is none.
    pub(crate) fn stream(&self) -> Result<OwnedSemaphorePermit, Status> {
        Arc::clone(&self.streams).try_acquire_owned().map_err(|_| error::too_many_requests())
    }

    /// Reads a whole request body.
    pub(crate) async fn read_body(&self, mut body: Body) -> Result<ReadBody, Status> {
        if body.size_hint().lower() > BODY_MAX as u64 {
            drain(&mut body).await;
            return Err(error::too_large(BODY_MAX));
        }
        let begun = Instant::now();
        let mut arriving = Arriving::default();
        loop {
            let frame = match tokio::time::timeout_at(begun + arriving.patience(), body.frame()).await {
                Ok(Some(Ok(frame))) => frame,
                Ok(Some(Err(failure))) => {
                    return Err(Status::bad_request(format!("the request body could not be read: {failure}")));
                }
                Ok(None) => break,
                Err(_) => {
                    let seconds = arriving.patience().as_secs();
                    let text = format!("the request body did not arrive within {seconds} seconds");
                    return Err(Status::new(408, "Timeout", text));
                }
            };
            if let Ok(data) = frame.into_data()
                && let Err(status) = arriving.push(self, &data)
            {
                drain(&mut body).await;
                return Err(status);
            }
        }
        // It is whole, so it is worked on soon: this waits for work, never for a client.
        let share = Arc::clone(&self.parsed).acquire_many_owned(kib(arriving.bytes.len())).await;
        let share = share.map_err(|_| error::unavailable("jobd is shutting down".to_owned(), 1))?;
        Ok(ReadBody { bytes: arriving.bytes.into(), _shares: [Some(share), arriving.small, arriving.large] })
    }
}
