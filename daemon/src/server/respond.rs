//! Answers: headers and bodies (W-9, W-93, W-139).

use axum::{
    body::Body,
    http::{HeaderValue, StatusCode, header},
    response::Response,
};
use jobd_api::status::Status;
use serde_json::Value;

pub(crate) const JSON: HeaderValue = HeaderValue::from_static("application/json");
const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");
const NO_CACHE: HeaderValue = HeaderValue::from_static("no-cache, private");

/// The longest warning text that goes into a header: proxies and clients give up on longer header lines.
const WARNING_MAX: usize = 2048;
/// How many warnings one answer carries.
const WARNINGS_MAX: usize = 32;

/// An answer of API JSON.
pub(crate) fn json(code: StatusCode, body: impl Into<Body>) -> Response {
    with_body(code, JSON, body.into())
}

/// A document as API JSON.
pub(crate) fn value(code: StatusCode, value: &Value, pretty: bool) -> Response {
    json(code, render(value, pretty))
}

pub(crate) fn render(value: &Value, pretty: bool) -> String {
    if pretty { format!("{value:#}\n") } else { format!("{value}\n") }
}

pub(crate) fn text(code: StatusCode, text: impl Into<Body>) -> Response {
    with_body(code, TEXT, text.into())
}

/// What scrapers read.
pub(crate) fn metrics(text: String) -> Response {
    with_body(StatusCode::OK, HeaderValue::from_static(crate::metrics::CONTENT_TYPE), text.into())
}

/// A failure. Always a JSON Status, whatever the client accepts (W-9).
pub(crate) fn status(status: &Status) -> Response {
    status_for(status, false)
}

/// The same for whoever may be a person at a terminal (W-10).
pub(crate) fn status_for(status: &Status, pretty: bool) -> Response {
    let mut response = value(super::error::code(status), &status.to_json(), pretty);
    if let Some(seconds) = status.retry_after {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    if status.code == 401 {
        response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    response
}

fn with_body(code: StatusCode, content_type: HeaderValue, body: Body) -> Response {
    let mut response = Response::new(body);
    *response.status_mut() = code;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, content_type);
    headers.insert(header::CACHE_CONTROL, NO_CACHE);
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

/// Adds one `Warning` line per text (W-93).
pub(crate) fn with_warnings(mut response: Response, warnings: &[String]) -> Response {
    let mut seen: Vec<&String> = Vec::new();
    for warning in warnings {
        if seen.len() < WARNINGS_MAX && !seen.contains(&warning) {
            seen.push(warning);
        }
    }
    for warning in seen {
        if let Ok(line) = HeaderValue::from_bytes(warning_line(warning).as_bytes()) {
            response.headers_mut().append(header::WARNING, line);
        }
    }
    response
}

/// `299 - "text"`, quoted; a header line has no control characters.
fn warning_line(text: &str) -> String {
    let mut line = String::from("299 - \"");
    for character in text.chars() {
        if line.len() > WARNING_MAX {
            line.push('…');
            break;
        }
        match character {
            '"' | '\\' => line.extend(['\\', character]),
            control if control.is_control() => line.push(' '),
            other => line.push(other),
        }
    }
    line.push('"');
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_warnings_w93() {
        assert_eq!(warning_line("unknown field \"spec.a\\b\"\n"), "299 - \"unknown field \\\"spec.a\\\\b\\\" \"");
        let response = with_warnings(text(StatusCode::OK, ""), &["a".to_owned(), "é".to_owned(), "a".to_owned()]);
        let lines = response.headers().get_all(header::WARNING).iter().map(HeaderValue::as_bytes).collect::<Vec<_>>();
        assert_eq!(lines, [b"299 - \"a\"".as_slice(), "299 - \"é\"".as_bytes()]);
    }
}
