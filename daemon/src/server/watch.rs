//! Watches (W-122 to W-134): a stream of changes from a revision.
//!
//! A watcher holds a revision, not a queue. It is woken by commits, reads the changes after its revision and writes
//! frames; a slow client makes its own watcher late and nobody else, and one that is too late gets 410.

use std::{convert::Infallible, sync::Arc, time::Duration};

use axum::{body::Body, http::StatusCode, response::Response};
use bytes::Bytes;
use futures_util::stream;
use jobd_api::{object::Object, status::Status, write::Random as _};
use tokio::{
    sync::{OwnedSemaphorePermit, watch},
    time::Instant,
};
use tracing::error;

use super::{
    App, Call, error as errors,
    frames::{EventType, FrameKey},
    negotiate::{Scope, Shape},
    pages::Reader,
    query::ListOptions,
    read::check_reached,
    respond,
    selection::{Selection, served},
    view::View,
};
use crate::store::{Change, ChangeType, Error, Revision, Stored};

/// How many changes are read at once.
const CHANGES_MAX: usize = 256;
/// A piece of the stream is sent when it has this many bytes, or when there is nothing more to add.
const PIECE_BYTES: usize = 64 * 1024;
/// How often a watcher that asked for bookmarks gets one (W-129).
const BOOKMARK_EVERY: Duration = Duration::from_secs(60);
/// A watch without `timeoutSeconds` ends after this many seconds plus up to as many again at random (W-128), so that
/// clients do not all come back at once.
const TIMEOUT_MIN_SECONDS: u64 = 30 * 60;

/// GET of a collection with a true `watch`.
pub(crate) fn watch(call: &Call, options: &ListOptions) -> Result<Response, Status> {
    let app = &call.app;
    let view = call.view(Scope::Watch, options.include_object)?;
    let permit = app.limits.stream()?;
    // Subscribed before anything is read, else a change in between is lost.
    let wakes = app.store.subscribe();
    let selection = Selection::new(&call.target, options);
    let (phase, at) = match (options.revision.filter(|revision| *revision > 0), options.send_initial_events) {
        (Some(asked), Some(true)) => {
            check_reached(app, asked)?;
            (Phase::Initial(Reader::new(app.store.clone(), selection.clone(), None)), Revision::default())
        }
        (Some(asked), Some(false) | None) => (Phase::Following, Revision(asked)),
        (None, Some(false)) => (Phase::Following, app.store.latest()),
        (None, Some(true) | None) => {
            (Phase::Initial(Reader::new(app.store.clone(), selection.clone(), None)), Revision::default())
        }
    };
    let seconds = options
        .timeout_seconds
        .filter(|seconds| *seconds > 0)
        .unwrap_or_else(|| TIMEOUT_MIN_SECONDS + (&*app.random).next_u64() % TIMEOUT_MIN_SECONDS);
    let start = Instant::now();
    let watcher = Watcher {
        app: Arc::clone(app),
        selection,
        view,
        phase,
        at,
        wakes,
        stop: app.stop.subscribe(),
        bookmarks: options.bookmarks,
        initial_events_end: options.send_initial_events == Some(true),
        columns_sent: false,
        // A far deadline must not overflow the timer; nobody waits ten years.
        deadline: start + Duration::from_secs(seconds.min(10 * 365 * 86_400)),
        next_bookmark: start + BOOKMARK_EVERY,
        _permit: permit,
    };
    let body = stream::unfold(watcher, |mut watcher| async move {
        let piece = watcher.next_piece().await?;
        Some((Ok::<_, Infallible>(piece), watcher))
    });
    Ok(respond::json(StatusCode::OK, Body::from_stream(body)))
}

/// One watch.
struct Watcher {
    app: Arc<App>,
    selection: Selection,
    view: View,
    phase: Phase,
    /// Everything up to here was sent, or does not concern this watch.
    at: Revision,
    wakes: watch::Receiver<Revision>,
    stop: watch::Receiver<bool>,
    bookmarks: bool,
    /// The client asked for the bookmark that ends the initial events (W-130).
    initial_events_end: bool,
    columns_sent: bool,
    deadline: Instant,
    next_bookmark: Instant,
    _permit: OwnedSemaphorePermit,
}

enum Phase {
    /// Sending what exists, as ADDED (W-123).
    Initial(Reader),
    Following,
    Ended,
}

/// Why a watcher stopped waiting.
enum Wake {
    Changed,
    Bookmark,
    Timeout,
    Stop,
}

impl Watcher {
    /// The next piece of the stream; none at its end. Never an empty one.
    async fn next_piece(&mut self) -> Option<Bytes> {
        loop {
            let piece = match &mut self.phase {
                Phase::Ended => return None,
                Phase::Initial(_) => self.initial().await,
                Phase::Following => self.follow().await,
            };
            let piece = match piece {
                Ok(piece) => piece,
                Err(failure) => {
                    self.phase = Phase::Ended;
                    self.error_frame(failure)
                }
            };
            if !piece.is_empty() {
                return Some(piece);
            }
        }
    }

    async fn initial(&mut self) -> Result<Bytes, Error> {
        let Phase::Initial(reader) = &mut self.phase else { return Ok(Bytes::new()) };
        let items = reader.next().await?;
        let revision = reader.revision();
        let mut piece = Vec::new();
        if let Some(items) = items {
            for item in items {
                piece.extend_from_slice(&self.frame(EventType::Added, &item.stored, item.parsed)?);
            }
        } else {
            self.at = revision;
            self.phase = Phase::Following;
            if self.initial_events_end {
                piece.extend_from_slice(&self.bookmark(true));
            }
        }
        Ok(piece.into())
    }

    /// Sends what changed; waits when nothing did.
    async fn follow(&mut self) -> Result<Bytes, Error> {
        self.wakes.mark_unchanged();
        let mut piece = Vec::new();
        let mut alone = None;
        loop {
            let kind = Some(self.selection.resource.stored);
            let (changes, upto) = self.app.store.changes(kind, self.at, CHANGES_MAX).await?;
            // A client may know a revision that is yet to come (W-125): then nothing concerns it until we are there.
            let from = self.at;
            let many = changes.len();
            for change in changes.iter().filter(|change| change.revision > from) {
                if let Some(frame) = self.change_frame(change)? {
                    alone = (piece.is_empty() && many == 1).then(|| frame.clone());
                    piece.extend_from_slice(&frame);
                }
                self.at = change.revision;
            }
            self.at = self.at.max(upto);
            if many < CHANGES_MAX || piece.len() >= PIECE_BYTES {
                break;
            }
        }
        if let Some(frame) = alone {
            return Ok(frame);
        }
        if !piece.is_empty() {
            return Ok(piece.into());
        }
        Ok(match self.wait().await {
            Wake::Changed => Bytes::new(),
            Wake::Bookmark => {
                self.next_bookmark = Instant::now() + BOOKMARK_EVERY;
                self.bookmark(false)
            }
            Wake::Timeout => {
                self.phase = Phase::Ended;
                if self.bookmarks { self.bookmark(false) } else { Bytes::new() }
            }
            Wake::Stop => {
                self.phase = Phase::Ended;
                Bytes::new()
            }
        })
    }

    async fn wait(&mut self) -> Wake {
        tokio::select! {
            changed = self.wakes.changed() => if changed.is_ok() { Wake::Changed } else { Wake::Stop },
            _ = self.stop.wait_for(|stop| *stop) => Wake::Stop,
            () = tokio::time::sleep_until(self.deadline) => Wake::Timeout,
            () = tokio::time::sleep_until(self.next_bookmark), if self.bookmarks => Wake::Bookmark,
        }
    }

    /// The frame of one change, if it concerns this watch.
    fn change_frame(&mut self, change: &Change) -> Result<Option<Bytes>, Error> {
        if !self.selection.covers(&change.key) {
            return Ok(None);
        }
        let Some((event_type, previous)) = self.classify(change)? else { return Ok(None) };
        let shown = Stored {
            key: change.key.clone(),
            revision: change.revision,
            body: match (&change.previous, previous) {
                (Some(body), true) => Arc::clone(body),
                (Some(_) | None, _) => Arc::clone(&change.body),
            },
        };
        // The first frame of a table has the columns and is nobody else's.
        let is_shared = self.columns_sent || !matches!(self.view.shape, Shape::Table(_));
        let key = FrameKey::new(change.revision, event_type, previous, &self.view);
        if is_shared && let Some(frame) = self.app.frames.find(&key) {
            return Ok(Some(frame));
        }
        let frame = self.frame(event_type, &shown, None)?;
        if is_shared {
            self.app.frames.keep(key, &frame);
        }
        Ok(Some(frame))
    }

    /// What a change means to this watch: the event, and whether the body before the change is shown (W-126, W-127).
    fn classify(&self, change: &Change) -> Result<Option<(EventType, bool)>, Error> {
        if self.selection.is_whole() {
            return Ok(Some((event_of(change.change_type), false)));
        }
        let matches = |body: &Arc<str>| -> Result<bool, Error> {
            let stored = Stored { key: change.key.clone(), revision: change.revision, body: Arc::clone(body) };
            Ok(self.selection.matches(&served(self.selection.resource, &stored)?))
        };
        let now = matches(&change.body)?;
        let before = change.previous.as_ref().map(matches).transpose()?;
        Ok(transition(change.change_type, before, now))
    }

    fn frame(&mut self, event_type: EventType, stored: &Stored, parsed: Option<Object>) -> Result<Bytes, Error> {
        let now = self.app.clock.now().wall;
        let object = self.view.event(stored, parsed, !self.columns_sent, now)?;
        self.columns_sent = true;
        Ok(frame(event_type.as_str(), &object))
    }

    fn bookmark(&mut self, initial_events_end: bool) -> Bytes {
        let now = self.app.clock.now().wall;
        let object = self.view.bookmark(self.at.0, initial_events_end, !self.columns_sent, now);
        self.columns_sent = true;
        frame("BOOKMARK", &object)
    }

    /// The last frame of a watch that cannot go on (W-124, S-14).
    fn error_frame(&self, failure: Error) -> Bytes {
        let status = match failure {
            Error::TooOld { asked, oldest: _ } => errors::too_old_watch(asked, self.app.store.latest()),
            other => {
                if !matches!(other, Error::Closed) {
                    error!(error = %other, "a watch broke off: {other}");
                }
                errors::of_store(self.selection.resource, "", other)
            }
        };
        frame("ERROR", &status.to_json().to_string())
    }
}

fn event_of(change_type: ChangeType) -> EventType {
    match change_type {
        ChangeType::Created => EventType::Added,
        ChangeType::Modified => EventType::Modified,
        ChangeType::Deleted => EventType::Deleted,
    }
}

/// What a change is for a watch with selectors, which matched `before` (none: no object before) and match `now` or not.
fn transition(change_type: ChangeType, before: Option<bool>, now: bool) -> Option<(EventType, bool)> {
    match (change_type, before, now) {
        (ChangeType::Created | ChangeType::Modified, None | Some(false), true) => Some((EventType::Added, false)),
        (ChangeType::Created | ChangeType::Modified, Some(true), true) => Some((EventType::Modified, false)),
        (ChangeType::Created | ChangeType::Modified, Some(true), false) => Some((EventType::Deleted, true)),
        (ChangeType::Created | ChangeType::Modified, None | Some(false), false) => None,
        // What the watch was shown last is gone; the final state is shown where it still matches.
        (ChangeType::Deleted, Some(true), false) => Some((EventType::Deleted, true)),
        (ChangeType::Deleted, Some(true) | None, true) => Some((EventType::Deleted, false)),
        (ChangeType::Deleted, Some(false), _) | (ChangeType::Deleted, None, false) => None,
    }
}

fn frame(event_type: &str, object: &str) -> Bytes {
    format!("{{\"type\":\"{event_type}\",\"object\":{object}}}\n").into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_of_matching_becomes_added_or_deleted_w126() {
        use ChangeType::{Created, Deleted, Modified};
        use EventType::{Added, Deleted as Gone, Modified as Changed};
        for (change, before, now, want) in [
            (Created, None, true, Some((Added, false))),
            (Created, None, false, None),
            (Modified, Some(true), true, Some((Changed, false))),
            (Modified, Some(false), true, Some((Added, false))),
            (Modified, Some(true), false, Some((Gone, true))),
            (Modified, Some(false), false, None),
            (Deleted, Some(true), true, Some((Gone, false))),
            (Deleted, Some(true), false, Some((Gone, true))),
            (Deleted, Some(false), true, None),
            (Deleted, Some(false), false, None),
            (Deleted, None, true, Some((Gone, false))),
        ] {
            assert_eq!(transition(change, before, now), want, "{change:?} {before:?} {now}");
        }
    }
}
