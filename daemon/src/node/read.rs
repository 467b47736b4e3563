//! Logs for readers: from the copy, from the engine, and from one to the other while somebody follows (`tailLines`, `limitBytes`,
//! `sinceTime`, `timestamps`, `stream`).

use std::{collections::VecDeque, io, path::PathBuf, sync::Arc, time::Duration};

use bytes::{BufMut as _, Bytes, BytesMut};
use futures_util::{StreamExt as _, future::BoxFuture, stream};
use jiff::{SignedDuration, Timestamp};
use tokio::sync::mpsc;

use super::{
    Node, Shared, lock, logs,
    observed::PodKey,
    streams::{LogBytes, LogRequest, LogStream, PodStreams, StreamError},
};
use crate::{
    engine::{Engine, LogFrame, LogQuery},
    store::{Attempt, attempts::AttemptState},
};

/// How often a follower looks whether the attempt has ended, once the engine's stream has.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// Streams of one container may be stamped a little out of order; a follower goes back so far.
const OVERLAP: SignedDuration = SignedDuration::from_secs(10);
/// Pieces on the way to a client.
const QUEUE: usize = 4;

impl<E: Engine> PodStreams for Node<E> {
    fn logs(&self, request: LogRequest) -> BoxFuture<'_, Result<LogBytes, StreamError>> {
        let shared = Arc::clone(&self.shared);
        Box::pin(async move { open(shared, request).await })
    }
}

async fn open<E: Engine>(shared: Arc<Shared<E>>, request: LogRequest) -> Result<LogBytes, StreamError> {
    let attempt = shared.attempt_of(&request).await?.ok_or(StreamError::Absent)?;
    let pod_dir = shared.directories.pod(&request.pod_uid);
    let path = logs::path(&pod_dir, &request.container, request.attempt);
    let started = match attempt.state {
        AttemptState::Creating => false,
        AttemptState::Starting | AttemptState::Fencing | AttemptState::Running => true,
        AttemptState::Ended => attempt.exit.is_some(),
    };
    if !path.exists() && (!started || attempt.removed) {
        return Err(StreamError::Absent);
    }
    let (sender, receiver) = mpsc::channel(QUEUE);
    let reader = attempt.container_id.clone().map(|id| Reader::new(Arc::clone(&shared), id, &request));
    let output = Output { sender, rendering: Rendering::new(&request), position: [Position::default(); 2] };
    let mut reading = Reading { shared, request, path, attempt, output };
    tokio::spawn(async move {
        if let Err(error) = reading.run().await
            && error.kind() != io::ErrorKind::BrokenPipe
        {
            let _ = reading.output.sender.send(Err(error)).await;
        }
        drop(reader);
    });
    Ok(stream::unfold(receiver, |mut receiver| async move { receiver.recv().await.map(|item| (item, receiver)) })
        .boxed())
}

impl<E: Engine> Shared<E> {
    async fn attempt_of(&self, request: &LogRequest) -> Result<Option<Attempt>, StreamError> {
        let attempts = self.store.attempts(&request.pod_uid).await;
        let attempts = attempts.map_err(|error| StreamError::Failed(error.to_string()))?;
        let of = |one: &Attempt| one.container == request.container && one.attempt == request.attempt;
        Ok(attempts.into_iter().find(of))
    }
}

/// Keeps the container while somebody reads from it.
struct Reader<E: Engine> {
    shared: Arc<Shared<E>>,
    id: String,
    key: PodKey,
}

impl<E: Engine> Reader<E> {
    fn new(shared: Arc<Shared<E>>, id: String, request: &LogRequest) -> Self {
        *lock(&shared.readers).entry(id.clone()).or_default() += 1;
        let key = PodKey { namespace: request.namespace.clone(), name: request.pod.clone() };
        Self { shared, id, key }
    }
}

impl<E: Engine> Drop for Reader<E> {
    fn drop(&mut self) {
        let mut readers = lock(&self.shared.readers);
        if let Some(count) = readers.get_mut(&self.id) {
            *count -= 1;
            if *count == 0 {
                readers.remove(&self.id);
                // Its removal may have waited for us.
                self.shared.waker.wake(self.key.clone());
            }
        }
    }
}

/// One client's read.
struct Reading<E> {
    shared: Arc<Shared<E>>,
    request: LogRequest,
    path: PathBuf,
    attempt: Attempt,
    output: Output,
}

impl<E: Engine> Reading<E> {
    async fn run(&mut self) -> io::Result<()> {
        if let Some(lines) = self.request.tail_lines {
            self.tail(usize::try_from(lines).unwrap_or(usize::MAX)).await?;
            if !self.request.follow {
                return Ok(());
            }
        }
        loop {
            if self.path.exists() {
                return self.read_copy().await;
            }
            self.read_engine(self.request.follow).await?;
            if !self.request.follow || !self.wait_for_copy().await? {
                return Ok(());
            }
        }
    }

    /// The last lines of what there is now.
    async fn tail(&mut self, lines: usize) -> io::Result<()> {
        let mut tail = Tail::new(lines);
        if self.path.exists() {
            for frame in self.copied().await? {
                let wanted = self.output.rendering.wants(&frame);
                self.output.note(&frame);
                if wanted {
                    tail.push(frame);
                }
            }
        } else if let Some(id) = self.attempt.container_id.clone() {
            let query = LogQuery { follow: false, since: self.request.since };
            let mut frames = self.shared.engine.logs(&id, query).await.map_err(io::Error::other)?;
            while let Some(frame) = frames.next().await {
                let frame = frame.map_err(io::Error::other)?;
                let wanted = self.output.rendering.wants(&frame);
                self.output.note(&frame);
                if wanted {
                    tail.push(frame);
                }
            }
        }
        for frame in tail.finish() {
            self.output.send(&frame).await?;
        }
        Ok(())
    }

    async fn copied(&self) -> io::Result<Vec<LogFrame>> {
        let path = self.path.clone();
        tokio::task::spawn_blocking(move || logs::Copy::open(&path)?.collect()).await.map_err(io::Error::other)?
    }

    async fn read_copy(&mut self) -> io::Result<()> {
        // Read on a thread, a few pieces ahead of the client.
        let (sender, mut receiver) = mpsc::channel::<io::Result<LogFrame>>(64);
        let path = self.path.clone();
        tokio::task::spawn_blocking(move || match logs::Copy::open(&path) {
            Ok(frames) => {
                for frame in frames {
                    let failed = frame.is_err();
                    if sender.blocking_send(frame).is_err() || failed {
                        return;
                    }
                }
            }
            Err(error) => {
                let _ = sender.blocking_send(Err(error));
            }
        });
        let before = self.output.position;
        let mut skipped = [0; 2];
        while let Some(frame) = receiver.recv().await {
            self.output.take(&frame?, &before, &mut skipped).await?;
        }
        Ok(())
    }

    async fn read_engine(&mut self, follow: bool) -> io::Result<()> {
        let Some(id) = self.attempt.container_id.clone() else { return Ok(()) };
        let before = self.output.position;
        let reached = before.iter().filter_map(|position| position.at).max();
        let since = reached.and_then(|at| at.checked_sub(OVERLAP).ok()).max(self.request.since);
        let frames = self.shared.engine.logs(&id, LogQuery { follow, since }).await;
        let mut frames = match frames {
            Ok(frames) => frames,
            // A follower waits for an engine that is away; others are told.
            Err(crate::engine::Error::NotFound(_)) => return Ok(()),
            Err(_) if follow => return Ok(()),
            Err(error) => return Err(io::Error::other(error)),
        };
        let mut skipped = [0; 2];
        loop {
            let frame = tokio::select! {
                frame = frames.next() => frame,
                () = self.output.sender.closed() => return Err(io::ErrorKind::BrokenPipe.into()),
            };
            match frame {
                Some(Ok(frame)) => self.output.take(&frame, &before, &mut skipped).await?,
                Some(Err(error)) if !follow => return Err(io::Error::other(error)),
                Some(Err(_)) | None => return Ok(()),
            }
        }
    }

    /// After the engine's stream ended: true when there may be more to read.
    async fn wait_for_copy(&mut self) -> io::Result<bool> {
        tokio::select! {
            () = tokio::time::sleep(LOOK_EVERY) => {}
            () = self.output.sender.closed() => return Err(io::ErrorKind::BrokenPipe.into()),
        }
        let found = self.shared.attempt_of(&self.request).await.map_err(io::Error::other)?;
        let Some(attempt) = found else { return Ok(false) };
        let lost = attempt.state == AttemptState::Ended && attempt.removed && !self.path.exists();
        self.attempt = attempt;
        Ok(!lost)
    }
}

/// How far one of the two streams was read: pieces before `at`, and so many with exactly this stamp.
#[derive(Clone, Copy, Debug, Default)]
struct Position {
    at: Option<Timestamp>,
    same: usize,
}

/// Where a client's bytes go.
struct Output {
    sender: mpsc::Sender<Result<Bytes, io::Error>>,
    rendering: Rendering,
    /// stdout, stderr
    position: [Position; 2],
}

impl Output {
    /// Remembers that a piece was read.
    fn note(&mut self, frame: &LogFrame) {
        let position = &mut self.position[usize::from(frame.stderr)];
        match position.at {
            Some(at) if at == frame.at => position.same += 1,
            Some(at) if at > frame.at => {}
            Some(_) | None => *position = Position { at: Some(frame.at), same: 1 },
        }
    }

    /// Sends a piece, unless it lies before the position reached by an earlier source.
    async fn take(&mut self, frame: &LogFrame, before: &[Position; 2], skipped: &mut [usize; 2]) -> io::Result<()> {
        let stream = usize::from(frame.stderr);
        if let Position { at: Some(at), same } = before[stream] {
            if frame.at < at {
                return Ok(());
            }
            if frame.at == at && skipped[stream] < same {
                skipped[stream] += 1;
                return Ok(());
            }
        }
        self.note(frame);
        if self.rendering.wants(frame) {
            self.send(frame).await?;
        }
        Ok(())
    }

    async fn send(&mut self, frame: &LogFrame) -> io::Result<()> {
        let (bytes, last) = self.rendering.render(frame);
        if !bytes.is_empty() && self.sender.send(Ok(bytes)).await.is_err() {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        if last { Err(io::ErrorKind::BrokenPipe.into()) } else { Ok(()) }
    }
}

/// How pieces become a client's text.
struct Rendering {
    timestamps: bool,
    since: Option<Timestamp>,
    stream: LogStream,
    /// Bytes that may still be sent.
    left: Option<u64>,
    /// The stream is in the middle of a line: stdout, stderr.
    inside: [bool; 2],
}

impl Rendering {
    fn new(request: &LogRequest) -> Self {
        Self {
            timestamps: request.timestamps,
            since: request.since,
            stream: request.stream,
            left: request.limit_bytes,
            inside: [false; 2],
        }
    }

    fn wants(&self, frame: &LogFrame) -> bool {
        let stream = match self.stream {
            LogStream::All => true,
            LogStream::Stdout => !frame.stderr,
            LogStream::Stderr => frame.stderr,
        };
        stream && self.since.is_none_or(|since| frame.at >= since)
    }

    /// The bytes, and whether they are the last ones allowed.
    fn render(&mut self, frame: &LogFrame) -> (Bytes, bool) {
        let inside = &mut self.inside[usize::from(frame.stderr)];
        let mut bytes = if self.timestamps && !*inside {
            let stamp = format!("{:.9} ", frame.at);
            let mut text = BytesMut::with_capacity(stamp.len() + frame.data.len());
            text.put_slice(stamp.as_bytes());
            text.put_slice(&frame.data);
            text.freeze()
        } else {
            frame.data.clone()
        };
        *inside = !frame.data.ends_with(b"\n");
        let Some(left) = &mut self.left else { return (bytes, false) };
        let allowed = usize::try_from(*left).unwrap_or(usize::MAX);
        bytes.truncate(allowed.min(bytes.len()));
        *left -= bytes.len() as u64;
        (bytes, *left == 0)
    }
}

/// The last lines of a log.
pub(super) struct Tail {
    lines: usize,
    ended: usize,
    frames: VecDeque<LogFrame>,
}

impl Tail {
    pub(super) fn new(lines: usize) -> Self {
        Self { lines, ended: 0, frames: VecDeque::new() }
    }

    pub(super) fn push(&mut self, frame: LogFrame) {
        self.ended += usize::from(frame.data.ends_with(b"\n"));
        self.frames.push_back(frame);
        // One more than wanted: whether the last one is whole shows only at the end.
        while self.ended > self.lines.saturating_add(1) {
            self.drop_line();
        }
    }

    fn drop_line(&mut self) {
        while let Some(frame) = self.frames.pop_front() {
            if frame.data.ends_with(b"\n") {
                self.ended -= 1;
                return;
            }
        }
    }

    pub(super) fn finish(mut self) -> VecDeque<LogFrame> {
        let open = usize::from(self.frames.back().is_some_and(|frame| !frame.data.ends_with(b"\n")));
        while self.ended + open > self.lines && !self.frames.is_empty() {
            if self.ended == 0 {
                self.frames.clear();
            }
            self.drop_line();
        }
        self.frames
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(text: &str) -> LogFrame {
        LogFrame {
            stderr: text.starts_with('!'),
            at: Timestamp::from_second(1_800_000_000).unwrap(),
            data: Bytes::copy_from_slice(text.as_bytes()),
        }
    }

    #[track_caller]
    fn check_tail(lines: usize, pieces: &[&str], want: &str) {
        let mut tail = Tail::new(lines);
        pieces.iter().for_each(|text| tail.push(frame(text)));
        let got: Vec<u8> = tail.finish().into_iter().flat_map(|frame| frame.data.to_vec()).collect();
        assert_eq!(String::from_utf8(got).unwrap(), want);
    }

    #[test]
    fn the_last_lines_are_whole_lines() {
        check_tail(2, &["a\n", "b\n", "c\n"], "b\nc\n");
        check_tail(2, &["a\n", "b", "b\n", "c"], "bb\nc");
        check_tail(0, &["a\n", "b"], "");
        check_tail(9, &["a\n", "b"], "a\nb");
        check_tail(1, &["a\n", "b\n", "tail"], "tail");
    }

    #[test]
    fn a_line_has_one_stamp_however_many_pieces_it_has_d901() {
        let request = LogRequest {
            namespace: String::new(),
            pod: String::new(),
            pod_uid: String::new(),
            container: String::new(),
            attempt: 0,
            follow: false,
            timestamps: true,
            since: None,
            tail_lines: None,
            limit_bytes: None,
            stream: LogStream::Stdout,
        };
        let mut rendering = Rendering::new(&request);
        let text: Vec<u8> =
            ["a", "b\n", "c\n"].iter().flat_map(|text| rendering.render(&frame(text)).0.to_vec()).collect();
        let stamp = "2027-01-15T08:00:00.000000000Z";
        assert_eq!(String::from_utf8(text).unwrap(), format!("{stamp} ab\n{stamp} c\n"));
        assert!(!rendering.wants(&frame("!err\n")));
        let mut limited = Rendering::new(&LogRequest { limit_bytes: Some(3), timestamps: false, ..request });
        assert_eq!(limited.render(&frame("ab")), (Bytes::from_static(b"ab"), false));
        assert_eq!(limited.render(&frame("cd\n")), (Bytes::from_static(b"c"), true));
    }
}
