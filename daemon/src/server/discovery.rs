//! What is served, for clients that ask first: version, discovery in both forms, OpenAPI (sections 2.5, 2.6, 2.28).

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use axum::{
    body::Body,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::Response,
};
use jobd_api::{discovery, openapi, registry, status::Status};
use serde_json::{Value, json};

use super::{
    negotiate::{self, DiscoveryForm},
    query::Query,
    respond,
};

const PUBLIC: HeaderValue = HeaderValue::from_static("public");
const FOREVER: HeaderValue = HeaderValue::from_static("public, immutable");
/// Beyond the life of any cache; a document's address changes with its content.
const FAR: HeaderValue = HeaderValue::from_static("Fri, 31 Dec 2100 00:00:00 GMT");
const OPENAPI_V2: HeaderValue = HeaderValue::from_static("application/com.github.proto-openapi.spec.v2.v1.0+protobuf");

/// The baseline that `/version` reports (W-195, W-196).
const MINOR: u32 = 36;

fn hash(text: &str) -> String {
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    format!("{:016X}", hasher.finish())
}

/// The version that clients compare: the Kubernetes that is spoken, and our own (W-195, W-196).
#[must_use]
pub fn git_version() -> String {
    format!("v1.{MINOR}.0+jobd.{}", env!("CARGO_PKG_VERSION"))
}

/// `/version` (S-1).
pub(crate) fn version() -> Value {
    let (os, arch) = (std::env::consts::OS, std::env::consts::ARCH);
    let arch = match arch {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    json!({
        "major": "1", "minor": MINOR.to_string(),
        "gitVersion": git_version(),
        "gitCommit": "", "gitTreeState": "clean", "buildDate": "1970-01-01T00:00:00Z",
        "goVersion": "", "compiler": "rustc", "platform": format!("{os}/{arch}"),
    })
}

/// `/`: for people.
pub(crate) fn root() -> Value {
    let mut paths =
        ["/api", "/apis", "/healthz", "/livez", "/metrics", "/openapi/v2", "/openapi/v3", "/readyz", "/version"]
            .map(str::to_owned)
            .to_vec();
    for resource in registry::resources() {
        let prefix = if resource.group.is_empty() { "/api" } else { "/apis" };
        paths.push(format!("{prefix}/{}", resource.api_version()));
        if !resource.group.is_empty() {
            paths.push(format!("/apis/{}", resource.group));
        }
    }
    paths.sort();
    paths.dedup();
    json!({"paths": paths})
}

/// `/api` (`core`) or `/apis`, in the form that the client asked for.
pub(crate) fn groups(
    core: bool,
    accept: &str,
    headers: &HeaderMap,
    server_address: &str,
    pretty: bool,
) -> Result<Response, Status> {
    match negotiate::discovery(accept)? {
        DiscoveryForm::Unaggregated if core => {
            Ok(respond::value(StatusCode::OK, &discovery::api_versions(server_address), pretty))
        }
        DiscoveryForm::Unaggregated => Ok(respond::value(StatusCode::OK, &discovery::api_group_list(), pretty)),
        DiscoveryForm::Aggregated(version) => Ok(aggregated(core, version, headers)),
    }
}

/// The parameters of the answer's Content-Type are what tells kubectl that it got this form (W-35).
fn aggregated(core: bool, version: &'static str, headers: &HeaderMap) -> Response {
    let text = format!("{}\n", discovery::aggregated(core, version));
    let content_type = match version {
        "v2" => "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList",
        _ => "application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList",
    };
    let tag = hash(&text);
    let mut response = cached(headers, &tag, HeaderValue::from_static(content_type), || text.into());
    response.headers_mut().insert(header::VARY, HeaderValue::from_static("Accept"));
    response.headers_mut().insert(header::CACHE_CONTROL, PUBLIC);
    response
}

/// An answer with an ETag; 304, and no body made, when the client has it (W-37, W-47).
fn cached(headers: &HeaderMap, tag: &str, content_type: HeaderValue, body: impl FnOnce() -> Body) -> Response {
    let quoted = format!("\"{tag}\"");
    let known = headers.get_all(header::IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    let is_known = known.flat_map(|value| value.split(',')).any(|one| one.trim().trim_start_matches("W/") == quoted);
    let mut response = Response::new(if is_known { Body::empty() } else { body() });
    if is_known {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
    } else {
        response.headers_mut().insert(header::CONTENT_TYPE, content_type);
    }
    if let Ok(tag) = HeaderValue::from_str(&quoted) {
        response.headers_mut().insert(header::ETAG, tag);
    }
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache, private"));
    response
}

/// `/openapi/v3` (S-6).
pub(crate) fn openapi_index(headers: &HeaderMap) -> Response {
    let index = openapi::index().to_string();
    cached(headers, &hash(&index), respond::JSON, || index.into())
}

/// `/openapi/v3/…`: none for a group version that has no document.
pub(crate) fn openapi_document(path: &str, query: &Query, headers: &HeaderMap) -> Option<Response> {
    let current = openapi::hash(path)?;
    match query.filled("hash") {
        Some(asked) if asked != current => {
            let mut response = Response::new(Body::empty());
            *response.status_mut() = StatusCode::MOVED_PERMANENTLY;
            let location = HeaderValue::from_str(&format!("/openapi/v3/{path}?hash={current}")).ok()?;
            response.headers_mut().insert(header::LOCATION, location);
            Some(response)
        }
        asked => {
            // What has a hash has a text.
            let text = || openapi::document_text(path).unwrap_or_default().into();
            let mut response = cached(headers, &current, respond::JSON, text);
            if asked.is_some() {
                response.headers_mut().insert(header::CACHE_CONTROL, FOREVER);
                response.headers_mut().insert(header::EXPIRES, FAR);
            }
            Some(response)
        }
    }
}

/// `/openapi/v2`, for old kubectl only, which takes nothing but protobuf (W-44).
pub(crate) fn openapi_v2(headers: &HeaderMap) -> Response {
    cached(headers, "v2", OPENAPI_V2, || openapi::V2_PROTOBUF.into())
}
