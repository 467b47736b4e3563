//! GET of one object and of a collection. Lists are streamed: what is in memory does not grow with their length.

use std::{io, task::Poll};

use axum::{body::Body, http::StatusCode, response::Response};
use bytes::Bytes;
use futures_util::stream;
use jiff::Timestamp;
use jobd_api::{
    status::Status,
    table::{self, IncludeObject},
};
use serde_json::{Value, json};
use tokio::sync::OwnedSemaphorePermit;
use tracing::{debug, warn};

use super::{
    App, Call, error,
    negotiate::{Scope, Shape},
    pages::{Item, Reader, Token},
    query::{ListOptions, VersionMatch, parse_include_object, parse_revision},
    respond,
    selection::Selection,
    view::View,
};
use crate::store::{Key, Request, Revision, Write};

/// How much of a list goes out in one piece.
const PIECE_BYTES: usize = 64 * 1024;

/// GET of one object or its status.
pub(crate) async fn get(call: &Call) -> Result<Response, Status> {
    let view = call.view(Scope::One, parse_include_object(&call.query)?)?;
    if let Some(asked) = parse_revision(&call.query)? {
        check_reached(&call.app, asked)?;
    }
    let stored = call.stored().await?;
    let body = view.one(&stored, call.now()).map_err(|failure| call.failed(failure))?;
    Ok(respond::json(StatusCode::OK, body))
}

/// GET of a collection that is not a watch.
pub(crate) async fn list(call: Call, options: &ListOptions) -> Result<Response, Status> {
    let view = call.view(Scope::List, options.include_object)?;
    let page = Page::of(&call, options).await?;
    let reader = page.reader(&call.app);
    stream_list(call, view, reader, |failure, call| page.refuse(failure, call)).await
}

/// Streams what a reader reads. The first read happens before anything is answered, so its failure is a Status.
pub(crate) async fn stream_list(
    call: Call,
    view: View,
    mut reader: Reader,
    refuse: impl FnOnce(crate::store::Error, &Call) -> Status,
) -> Result<Response, Status> {
    let first = match reader.next().await {
        Ok(items) => items.unwrap_or_default(),
        Err(failure) => return Err(refuse(failure, &call)),
    };
    let mut output = Output { view, now: call.now(), written: 0 };
    let mut piece = output.head().into_bytes();
    output.items(first, &mut piece).map_err(|failure| call.failed(failure))?;
    let list = ListBody { reader, read: None, output, state: State::Items, _permit: call.permit };
    let body = stream::unfold((list, Some(piece)), |(mut list, first)| async move {
        match list.piece(first.unwrap_or_default()).await {
            Ok(Some(piece)) => Some((Ok(piece), (list, None))),
            Ok(None) => None,
            Err(failure) => {
                // The head is out; breaking the connection is the only way left to say that the list is not whole.
                warn!(error = %failure, "a list broke off: {failure}");
                list.state = State::Ended;
                Some((Err(io::Error::other(failure)), (list, None)))
            }
        }
    });
    Ok(respond::json(StatusCode::OK, Body::from_stream(body)))
}

/// The part of a collection that a request is about: all that is selected, or so much of it as the client's limit allows, after the
/// page before (W-116 to W-119).
pub(crate) struct Page {
    selection: Selection,
    /// The revision that is shown; none: the newest.
    at: Option<Revision>,
    limit: Option<usize>,
    token: Option<Token>,
}

impl Page {
    pub(crate) async fn of(call: &Call, options: &ListOptions) -> Result<Self, Status> {
        let token = options.continue_token.as_deref().map(Token::parse).transpose()?;
        let at = snapshot(&call.app, options, token.as_ref()).await?;
        Ok(Self { selection: Selection::new(&call.target, options), at, limit: options.limit, token })
    }

    /// The same page as it was at a revision.
    pub(crate) fn at(self, revision: Revision) -> Self {
        Self { at: Some(revision), ..self }
    }

    pub(crate) fn reader(&self, app: &App) -> Reader {
        let reader = Reader::new(app.store.clone(), self.selection.clone(), self.at);
        reader.limited(self.limit, self.token.as_ref(), app.clock.now().boot)
    }

    /// What it means that the page cannot be read.
    pub(crate) fn refuse(&self, failure: crate::store::Error, call: &Call) -> Status {
        match (failure, &self.token) {
            (crate::store::Error::TooOld { .. }, Some(token)) => error::too_old_page(token.without_snapshot().render()),
            (failure, _) => call.failed(failure),
        }
    }
}

/// The revision that a list shows; none: the newest (W-117 to W-119).
async fn snapshot(app: &App, options: &ListOptions, token: Option<&Token>) -> Result<Option<Revision>, Status> {
    if let Some(token) = token {
        let Some(at) = token.at() else { return Ok(None) };
        let (latest, is_old) =
            (app.store.latest(), token.is_older_than(app.store.history_window(), app.clock.now().boot));
        if is_old && at == latest {
            // Else the rest of the list would show the revision that was just refused. It matters to nobody else whether this goes well.
            let advance = Request { guards: Vec::new(), writes: vec![Write::Advance], urgent: true };
            if let Err(failure) = app.store.write(advance).await {
                debug!(error = %failure, "the revision was not advanced: {failure}");
            }
        }
        // A token from before a restore may lie ahead of us.
        return if is_old || at > latest {
            Err(error::too_old_page(token.without_snapshot().render()))
        } else {
            Ok(Some(at))
        };
    }
    let Some(asked) = options.revision.filter(|revision| *revision > 0) else { return Ok(None) };
    check_reached(app, asked)?;
    Ok((options.version_match == Some(VersionMatch::Exact)).then_some(Revision(asked)))
}

/// W-119.
pub(crate) fn check_reached(app: &App, asked: i64) -> Result<(), Status> {
    let latest = app.store.latest();
    if asked > latest.0 { Err(error::too_new(asked, latest)) } else { Ok(()) }
}

/// A list on its way out.
struct ListBody {
    reader: Reader,
    /// What was read while the items before were rendered.
    read: Option<Vec<Item>>,
    output: Output,
    state: State,
    _permit: OwnedSemaphorePermit,
}

/// How a list is written.
struct Output {
    view: View,
    now: Timestamp,
    written: usize,
}

#[derive(PartialEq, Eq)]
enum State {
    Items,
    Ended,
}

impl ListBody {
    /// The next piece of the body, after what is pending.
    async fn piece(&mut self, mut piece: Vec<u8>) -> Result<Option<Bytes>, crate::store::Error> {
        while self.state != State::Ended && piece.len() < PIECE_BYTES {
            let items = match self.read.take() {
                Some(items) => Some(items),
                None => self.reader.next().await?,
            };
            match items {
                Some(items) => self.read = self.render_while_reading(items, &mut piece).await?,
                None => {
                    piece.extend_from_slice(self.tail().await?.as_bytes());
                    self.state = State::Ended;
                }
            }
        }
        Ok((!piece.is_empty()).then(|| Bytes::from(piece)))
    }

    /// Renders items while the database reads the next: each keeps a core busy.
    async fn render_while_reading(
        &mut self,
        items: Vec<Item>,
        piece: &mut Vec<u8>,
    ) -> Result<Option<Vec<Item>>, crate::store::Error> {
        let reading = self.reader.next();
        tokio::pin!(reading);
        // The first poll sends the query; its rows wait in the connection's queue.
        let begun = futures_util::poll!(reading.as_mut());
        self.output.items(items, piece)?;
        match begun {
            Poll::Ready(read) => read,
            Poll::Pending => reading.await,
        }
    }

    /// Everything after the last item.
    async fn tail(&self) -> Result<String, crate::store::Error> {
        let mut metadata = json!({"resourceVersion": self.reader.revision().0.to_string()});
        if let Some(token) = self.reader.token() {
            metadata["continue"] = json!(token.render());
            if let Some(remaining) = self.reader.remaining().await? {
                metadata["remainingItemCount"] = json!(remaining);
            }
        }
        let close = if self.output.written > 0 { self.output.line(1) } else { String::new() };
        let metadata = self.output.render(&metadata, 1);
        Ok(format!(
            "{close}],{}\"metadata\":{}{metadata}{}}}\n",
            self.output.line(1),
            self.output.space(),
            self.output.line(0)
        ))
    }
}

impl Output {
    /// Everything before the first item. `metadata` comes last, when it is known whether a page follows.
    fn head(&self) -> String {
        let (kind, api_version) = self.view.list_type();
        let mut fields = vec![("kind", json!(kind)), ("apiVersion", json!(api_version))];
        let array = match self.view.shape {
            Shape::Table(_) => {
                fields.push(("columnDefinitions", table::columns(self.view.resource)));
                "rows"
            }
            Shape::Plain | Shape::Metadata(_) => "items",
        };
        let mut head = String::from("{");
        for (name, value) in &fields {
            head.push_str(&format!("{}\"{name}\":{}{},", self.line(1), self.space(), self.render(value, 1)));
        }
        head.push_str(&format!("{}\"{array}\":{}[", self.line(1), self.space()));
        head
    }

    fn items(&mut self, items: Vec<Item>, piece: &mut Vec<u8>) -> Result<(), crate::store::Error> {
        for item in items {
            let text = self.view.item(&item.stored, item.parsed, self.now)?;
            self.push(piece, &text);
        }
        Ok(())
    }

    fn push(&mut self, piece: &mut Vec<u8>, item: &str) {
        if self.written > 0 {
            piece.push(b',');
        }
        self.written += 1;
        piece.extend_from_slice(self.line(2).as_bytes());
        if self.view.pretty {
            // An item that is not JSON cannot come from our own store; then it goes out as it is.
            let value = serde_json::from_str::<Value>(item).unwrap_or_else(|_| Value::String(item.to_owned()));
            piece.extend_from_slice(self.render(&value, 2).as_bytes());
        } else {
            piece.extend_from_slice(item.as_bytes());
        }
    }

    /// A new line at that depth, in pretty answers.
    fn line(&self, depth: usize) -> String {
        if self.view.pretty { format!("\n{}", "  ".repeat(depth)) } else { String::new() }
    }

    fn space(&self) -> &'static str {
        if self.view.pretty { " " } else { "" }
    }

    fn render(&self, value: &Value, depth: usize) -> String {
        if !self.view.pretty {
            return value.to_string();
        }
        // JSON strings hold no raw line breaks, so every one in the text is the printer's.
        format!("{value:#}").replace('\n', &format!("\n{}", "  ".repeat(depth)))
    }
}

/// A stored object of the target, or 404.
impl Call {
    pub(crate) async fn stored(&self) -> Result<crate::store::Stored, Status> {
        let found = self.app.store.get(&self.key()).await.map_err(|failure| self.failed(failure))?;
        found.ok_or_else(|| Status::not_found(self.target.resource, &self.target.name))
    }

    pub(crate) fn key(&self) -> Key {
        Key::new(self.target.resource.stored, &*self.target.namespace, &*self.target.name)
    }

    pub(crate) fn failed(&self, failure: crate::store::Error) -> Status {
        error::of_store(self.target.resource, &self.target.name, failure)
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.app.clock.now().wall
    }

    /// The view that the client wants of the target's objects.
    pub(crate) fn view(&self, scope: Scope, include: IncludeObject) -> Result<View, Status> {
        let answer = super::negotiate::objects(&self.accept, scope)?;
        let pretty = scope != Scope::Watch && super::negotiate::is_pretty(&self.query, &self.user_agent, answer);
        Ok(View { resource: self.target.resource, shape: answer.shape, include, pretty })
    }
}
