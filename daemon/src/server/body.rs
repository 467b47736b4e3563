//! Request bodies: how they are written (W-20 to W-23), and options that come as bodies.

use axum::http::{HeaderMap, header};
use jobd_api::{
    decode::{self, FieldValidation, Format},
    object::Object,
    status::Status,
};
use serde::de::DeserializeOwned;

/// How a body is written. No `Content-Type` means JSON: a current Python client sends none (W-20).
pub(crate) fn format(headers: &HeaderMap) -> Result<Format, Status> {
    match media_type(headers) {
        "" | "application/json" => Ok(Format::Json),
        "application/yaml" => Ok(Format::Yaml),
        "application/vnd.kubernetes.protobuf" => Ok(Format::Protobuf),
        _ => Err(Status::new(
            415,
            "UnsupportedMediaType",
            "the body of the request was in an unknown format - accepted media types include: application/json, \
             application/yaml, application/vnd.kubernetes.protobuf",
        )),
    }
}

/// The `Content-Type` without its parameters; empty when there is none.
pub(crate) fn media_type(headers: &HeaderMap) -> &str {
    let value = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    value.split(';').next().unwrap_or_default().trim()
}

/// Decodes a body of a type that is no resource. Unknown fields are ignored: clients send some (W-29).
pub(crate) fn message<T: DeserializeOwned>(
    type_name: &str,
    kind: &str,
    format: Format,
    body: &[u8],
) -> Result<(Object, T), Status> {
    let decoded = decode::message(type_name, kind, format, body, FieldValidation::Ignore)?;
    let typed = decoded.object.to_typed::<T>().map_err(|failure| {
        Status::bad_request(format!("{kind} in version \"v1\" cannot be handled as a {kind}: {failure}"))
    })?;
    Ok((decoded.object, typed))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_content_type_is_json_and_unknown_ones_are_refused_w20_w21() {
        for (content_type, want) in [
            (None, Ok(Format::Json)),
            (Some(""), Ok(Format::Json)),
            (Some("application/json; charset=utf-8"), Ok(Format::Json)),
            (Some("application/yaml"), Ok(Format::Yaml)),
            (Some("application/vnd.kubernetes.protobuf"), Ok(Format::Protobuf)),
            (Some("text/plain"), Err(415)),
        ] {
            let mut headers = HeaderMap::new();
            if let Some(content_type) = content_type {
                headers.insert(header::CONTENT_TYPE, content_type.parse().unwrap());
            }
            assert_eq!(format(&headers).map_err(|status| status.code), want, "{content_type:?}");
        }
    }
}
