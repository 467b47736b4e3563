//! Reviews: questions about who one is and what one may do, answered and never stored (W-191 to W-194).
//!
//! Whoever gets in is root on this machine anyway (DESIGN section 7), so every answer is yes.

use axum::{
    http::{HeaderMap, StatusCode},
    response::Response,
};
use jiff::Timestamp;
use jobd_api::{decode, discovery::Review, object::Object, status::Status};
use serde_json::{Map, Value, json};

use super::{body, query::Query, respond};

/// POST of a review.
pub(crate) fn answer(
    review: &Review,
    query: &Query,
    headers: &HeaderMap,
    bytes: &[u8],
    now: Timestamp,
) -> Result<Response, Status> {
    let validation = query.field_validation("CreateOptions")?;
    query.dry_run("CreateOptions")?;
    let decoded = decode::message(review.type_name, review.kind, body::format(headers)?, bytes, validation)?;
    let object = complete(review, decoded.object, now);
    let response = respond::value(StatusCode::CREATED, &Value::Object(object.0), query.flag("pretty"));
    Ok(respond::with_warnings(response, &decoded.warnings))
}

fn complete(review: &Review, mut object: Object, now: Timestamp) -> Object {
    object.0.insert("apiVersion".to_owned(), json!(format!("{}/{}", review.group, review.version)));
    object.0.insert("kind".to_owned(), json!(review.kind));
    object.0.entry("metadata").or_insert_with(|| Value::Object(Map::new()));
    let status = match review.kind {
        "SelfSubjectReview" => {
            object.metadata_mut().insert("creationTimestamp".to_owned(), json!(jobd_api::time::render(now)));
            let groups = ["system:masters", "system:authenticated"];
            json!({"userInfo": {"username": "admin", "uid": "admin", "groups": groups}})
        }
        "SelfSubjectRulesReview" => json!({
            "resourceRules": [{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}],
            "nonResourceRules": [{"verbs": ["*"], "nonResourceURLs": ["*"]}],
            "incomplete": false,
        }),
        _ => json!({"allowed": true}),
    };
    object.0.insert("status".to_owned(), status);
    object
}
