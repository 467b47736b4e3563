//! Where errors become Statuses: what a client sees of a store's failure. The log gets the other text.

use axum::http::StatusCode;
use jobd_api::{
    registry::{Kind, Resource},
    status::Status,
};
use serde_json::json;
use tracing::error;

use crate::store::{self, Revision};

/// How long a client waits before it tries again when the disk is full: freeing space takes a person.
const FULL_RETRY_SECONDS: u32 = 10;

/// What a store's refusal means for a request about this object.
pub(crate) fn of_store(resource: &Resource, name: &str, failure: store::Error) -> Status {
    match failure {
        store::Error::AlreadyExists { key } => Status::already_exists(resource, &key.name),
        store::Error::Conflict { key, seen: _, have: None } => Status::not_found(resource, &key.name),
        store::Error::Conflict { key, seen: _, have: Some(_) } => Status::conflict(resource, &key.name),
        store::Error::NamespaceMissing { namespace } => Status::not_found(Kind::Namespace.resource(), &namespace),
        store::Error::NamespaceTerminating { namespace } => terminating(resource, name, &namespace),
        store::Error::TooOld { .. } => too_old_list(),
        store::Error::Full { path: _ } => unavailable(failure.to_string(), FULL_RETRY_SECONDS),
        store::Error::Closed => unavailable("jobd is shutting down".to_owned(), 1),
        store::Error::Damaged { .. } | store::Error::Database { .. } => {
            error!(error = %failure, "request failed: {failure}");
            Status::internal("the database failed; see jobd's log")
        }
    }
}

/// W-62.
fn terminating(resource: &Resource, name: &str, namespace: &str) -> Status {
    let why = format!("unable to create new content in namespace {namespace} because it is being terminated");
    let mut status = Status::forbidden(resource, name, &why);
    let cause = json!([{
        "reason": "NamespaceTerminating",
        "message": format!("namespace {namespace} is being terminated"),
        "field": "metadata.namespace",
    }]);
    if let Some(details) = &mut status.details {
        details["causes"] = cause;
    }
    status
}

/// W-118: the history no longer reaches back to that version.
pub(crate) fn too_old_list() -> Status {
    Status::new(410, "Expired", "The resourceVersion for the provided list is too old.")
}

/// W-117: a page's snapshot is gone; the token goes on without one.
pub(crate) fn too_old_page(token: String) -> Status {
    let text = "The provided continue parameter is too old to display a consistent list result.";
    Status { continue_token: Some(token), ..Status::new(410, "Expired", text) }
}

/// S-14: what a watch says before it ends.
pub(crate) fn too_old_watch(asked: Revision, latest: Revision) -> Status {
    Status::new(410, "Expired", format!("too old resource version: {} ({})", asked.0, latest.0))
}

/// W-119: the client knows a version that this server has not reached.
pub(crate) fn too_new(asked: i64, latest: Revision) -> Status {
    let text = "Too large resource version";
    let mut status = Status::new(504, "Timeout", format!("Timeout: {text}: {asked}, current: {}", latest.0));
    status.retry_after = Some(1);
    status.with_details(json!({
        "causes": [{"reason": "ResourceVersionTooLarge", "message": text}],
        "retryAfterSeconds": 1,
    }))
}

pub(crate) fn unavailable(text: String, retry_after: u32) -> Status {
    Status { retry_after: Some(retry_after), ..Status::new(503, "ServiceUnavailable", text) }
}

/// More requests at once than we work on.
pub(crate) fn too_many_requests() -> Status {
    let text = "Too many requests, please try again later.";
    Status { retry_after: Some(1), ..Status::new(429, "TooManyRequests", text) }
}

/// S-9.
pub(crate) fn unauthorized() -> Status {
    Status::new(401, "Unauthorized", "Unauthorized")
}

/// W-8.
pub(crate) fn too_large(limit: usize) -> Status {
    Status::new(413, "RequestEntityTooLarge", format!("Request entity too large: limit is {limit}"))
}

/// The HTTP code of a Status.
pub(crate) fn code(status: &Status) -> StatusCode {
    StatusCode::from_u16(status.code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}
