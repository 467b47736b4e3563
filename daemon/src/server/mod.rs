//! The API server: HTTP in, store and `jobd_api` behind it. The only module that knows HTTP.
//!
//! It never decides: what an object, a write or a delete comes to is `jobd_api`'s; what is stored and when, the store's. All
//! paths come from the registry ([`path`]); there is one handler, and one file per thing that can be asked.

use std::{
    any::Any,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use axum::{
    Router,
    body::Body,
    extract::Request,
    http::{HeaderMap, StatusCode, header},
    response::Response,
};
use futures_util::future::BoxFuture;
use jobd_api::status::Status;
use tokio::sync::{OwnedSemaphorePermit, watch as signal};
use tower_http::catch_panic::CatchPanicLayer;
use tracing::{Instrument as _, debug, error, info_span};

use crate::{
    node::streams::PodStreams,
    store::Store,
    sys::{Clock, SharedRandom},
};

mod auth;
mod body;
mod delete;
mod discovery;
mod error;
mod files;
mod frames;
mod health;
mod limits;
mod listen;
mod log;
mod measure;
mod negotiate;
mod pages;
mod path;
mod query;
mod read;
mod respond;
mod review;
mod selection;
mod stall;
mod tls;
mod view;
mod watch;
mod write;
mod yaml;

#[cfg(test)]
mod tests;

pub use auth::{Access, Token};
pub use discovery::git_version;
pub use health::{Check, Weight};
pub use listen::{Listeners, serve};
pub use tls::ca_certificate;

use path::{Operation, Refusal, ResourceTarget, Target};
use query::{ListOptions, Query};

/// Looks at what is only known when asked, and renders all metrics in Prometheus' text form.
pub type Metrics = Arc<dyn Fn() -> BoxFuture<'static, String> + Send + Sync>;

/// How long events are kept where nobody says: as long as in Kubernetes.
const EVENT_TTL: Duration = Duration::from_secs(3600);

/// What the handlers work with. One per daemon.
pub struct App {
    pub store: Store,
    pub streams: Arc<dyn PodStreams>,
    pub clock: Arc<dyn Clock>,
    pub random: Arc<SharedRandom>,
    /// What `/readyz` and `/livez` ask.
    pub health: Vec<Check>,
    /// What `/metrics` shows; none: 404.
    pub metrics: Option<Metrics>,
    /// How long events that clients write are kept (J-2211).
    pub event_ttl: Duration,
    limits: limits::Limits,
    frames: frames::Frames,
    /// True when the daemon stops: streams end.
    stop: signal::Sender<bool>,
    requests: AtomicU64,
}

impl App {
    #[must_use]
    pub fn new(store: Store, streams: Arc<dyn PodStreams>, clock: Arc<dyn Clock>, random: Arc<SharedRandom>) -> Self {
        Self {
            store,
            streams,
            clock,
            random,
            health: Vec::new(),
            metrics: None,
            event_ttl: EVENT_TTL,
            limits: limits::Limits::new(),
            frames: frames::Frames::default(),
            stop: signal::Sender::new(false),
            requests: AtomicU64::new(1),
        }
    }
}

impl App {
    /// What `/readyz` asks, with what the server knows itself: who stops takes no more work.
    fn checks(&self) -> Vec<Check> {
        let stopping = *self.stop.borrow();
        let run = move || if stopping { Err("the daemon stops".to_owned()) } else { Ok(()) };
        let shutdown = Check { name: "shutdown", weight: Weight::Ready, run: Arc::new(run) };
        self.health.iter().cloned().chain([shutdown]).collect()
    }
}

/// One request about objects, after its path was understood.
pub(crate) struct Call {
    app: Arc<App>,
    target: ResourceTarget,
    query: Query,
    headers: HeaderMap,
    accept: String,
    user_agent: String,
    /// Its place among the requests that are worked on.
    permit: OwnedSemaphorePermit,
}

/// The router of one listener.
pub fn router(app: Arc<App>, access: Access) -> Router {
    let handler = move |request: Request| {
        let (app, access) = (Arc::clone(&app), access.clone());
        async move { traced(app, &access, request).await }
    };
    Router::new().fallback(handler).layer(CatchPanicLayer::custom(panicked))
}

/// A bug of ours ends one request, not the daemon.
fn panicked(panic: Box<dyn Any + Send + 'static>) -> Response {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("a panic without text");
    error!(error = text, "a request panicked: {text}");
    respond::status(&Status::internal("a bug in jobd ended this request; see jobd's log"))
}

/// The span and the log line of every request. Never bodies, tokens or queries: selectors may hold what is secret.
async fn traced(app: Arc<App>, access: &Access, request: Request) -> Response {
    let id = app.requests.fetch_add(1, Ordering::Relaxed);
    let started = app.clock.now().boot;
    let span = info_span!("request", method = %request.method(), route = request.uri().path(), id);
    async {
        let response = answer(&app, access, request).await;
        let elapsed_ms = app.clock.now().boot.saturating_sub(started).as_millis();
        debug!(status = response.status().as_u16(), elapsed_ms, "answered {}", response.status());
        response
    }
    .instrument(span)
    .await
}

async fn answer(app: &Arc<App>, access: &Access, request: Request) -> Response {
    let pretty = is_pretty(&request);
    if let Err(status) = auth::check(access, request.uri(), request.headers()) {
        return respond::status_for(&status, pretty);
    }
    let target = match path::resolve(request.method().as_str(), request.uri().path()) {
        Ok(target) => target,
        Err(Refusal::UnknownPath) => return not_found(),
        Err(Refusal::UnknownResource) => return respond::status_for(&Status::unknown_resource(), pretty),
        Err(Refusal::MethodNotAllowed) => return respond::status_for(&Status::method_not_allowed(), pretty),
    };
    let measured = measure::begin(&target, request.uri().query().unwrap_or_default());
    let is_stream = measured.as_ref().is_some_and(measure::Measured::is_stream);
    let in_yaml = !is_stream && measured.is_some() && negotiate::wants_yaml(&accept(request.headers()));
    let timeout = Query::parse(request.uri().query().unwrap_or_default()).check_timeout();
    let result = match (timeout, target) {
        (Err(status), _) if !is_stream => Err(status),
        (_, Target::Resource(target)) => objects(app, target, request).await,
        (_, Target::Review(path::ReviewTarget(review))) => review_of(app, review, request).await,
        (_, Target::Metrics) => Ok(metrics_of(app).await),
        (_, other) => documents(app, other, &request),
    };
    let mut response = result.unwrap_or_else(|status| respond::status_for(&status, pretty));
    if in_yaml {
        response = yaml::rewrite(response).await;
    }
    match measured {
        Some(measured) => measured.end(response),
        None => response,
    }
}

/// Whether a person reads the answer (W-10), as far as that is known before the body's form is.
fn is_pretty(request: &Request) -> bool {
    let query = Query::parse(request.uri().query().unwrap_or_default());
    let plain = negotiate::Answer { shape: negotiate::Shape::Plain, pretty: false };
    negotiate::is_pretty(&query, text(request.headers(), &header::USER_AGENT), plain)
}

async fn metrics_of(app: &App) -> Response {
    match &app.metrics {
        Some(render) => respond::metrics(render().await),
        None => not_found(),
    }
}

/// W-140: what is no path of the API at all.
fn not_found() -> Response {
    respond::text(StatusCode::NOT_FOUND, "404 page not found\n")
}

/// Everything that is not about objects.
fn documents(app: &App, target: Target, request: &Request) -> Result<Response, Status> {
    let headers = request.headers();
    let query = Query::parse(request.uri().query().unwrap_or_default());
    let accept = accept(headers);
    let pretty = is_pretty(request);
    let value = |value| Ok(respond::value(StatusCode::OK, &value, pretty));
    let path = request.uri().path();
    match target {
        Target::Root => value(discovery::root()),
        Target::Version => value(discovery::version()),
        Target::Health(check) => {
            let checks = app.checks();
            Ok(health::answer(&checks, path, check.as_deref(), &query).unwrap_or_else(not_found))
        }
        Target::CoreVersions => discovery::groups(true, &accept, headers, host(request), pretty),
        Target::Groups => discovery::groups(false, &accept, headers, host(request), pretty),
        Target::Group(group) => jobd_api::discovery::api_group(&group).map_or_else(|| Ok(not_found()), value),
        Target::GroupVersion { group, version } => {
            let list = jobd_api::discovery::api_resource_list(&group, &version);
            value(list.ok_or_else(Status::unknown_resource)?)
        }
        Target::OpenApiV2 => Ok(discovery::openapi_v2(headers)),
        Target::OpenApiIndex => Ok(discovery::openapi_index(headers)),
        Target::OpenApiDocument(path) => {
            Ok(discovery::openapi_document(&path, &query, headers).unwrap_or_else(not_found))
        }
        Target::Metrics | Target::Resource(_) | Target::Review(_) => Err(Status::internal("not a document")),
    }
}

async fn review_of(app: &App, review: &jobd_api::discovery::Review, request: Request) -> Result<Response, Status> {
    negotiate::review(&accept(request.headers()))?;
    let (parts, body) = request.into_parts();
    let body = app.limits.read_body(body).await?;
    let _permit = app.limits.request()?;
    let query = Query::parse(parts.uri.query().unwrap_or_default());
    review::answer(review, &query, &parts.headers, &body.bytes, app.clock.now().wall)
}

async fn objects(app: &Arc<App>, target: ResourceTarget, request: Request) -> Result<Response, Status> {
    let (parts, body) = request.into_parts();
    let body = match target.operation {
        Operation::List | Operation::Get(_) | Operation::Log => None,
        _ => Some(app.limits.read_body(body).await?),
    };
    let permit = app.limits.request()?;
    let call = Call {
        app: Arc::clone(app),
        query: Query::parse(parts.uri.query().unwrap_or_default()),
        accept: accept(&parts.headers),
        user_agent: text(&parts.headers, &header::USER_AGENT).to_owned(),
        headers: parts.headers,
        target,
        permit,
    };
    match call.target.operation {
        Operation::List => {
            let options = ListOptions::parse(call.target.resource, &call.query)?;
            if options.watch { watch::watch(&call, &options) } else { read::list(call, &options).await }
        }
        Operation::Get(path::Sub::Main | path::Sub::Status) => read::get(&call).await,
        Operation::Log => log::log(call).await,
        operation => {
            let bytes = body.as_ref().map_or(&b""[..], |body| &body.bytes);
            match operation {
                Operation::Create => write::create(&call, bytes).await,
                Operation::Replace(sub) => write::replace(&call, sub, bytes).await,
                Operation::Patch(sub) => write::patch(&call, sub, bytes).await,
                Operation::Finalize => write::finalize(&call, bytes).await,
                Operation::Delete => delete::delete(&call, bytes).await,
                Operation::DeleteCollection => delete::delete_collection(call, bytes).await,
                Operation::Evict => delete::evict(&call, bytes).await,
                Operation::List | Operation::Get(_) | Operation::Log => Err(Status::internal("handled above")),
            }
        }
    }
}

/// All `Accept` lines as one.
fn accept(headers: &HeaderMap) -> String {
    let lines = headers.get_all(header::ACCEPT).iter().filter_map(|line| line.to_str().ok());
    lines.collect::<Vec<_>>().join(",")
}

fn text<'a>(headers: &'a HeaderMap, name: &header::HeaderName) -> &'a str {
    headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

/// The address under which the client reached us.
fn host(request: &Request<Body>) -> &str {
    let authority = request.uri().authority().map(|authority| authority.as_str());
    authority.unwrap_or_else(|| text(request.headers(), &header::HOST))
}
