//! The health question of gRPC: one unary call over HTTP/2, `grpc.health.v1.Health/Check`.

use std::time::Duration;

use bytes::{BufMut as _, Bytes, BytesMut};
use http_body_util::{BodyExt as _, Full};
use hyper::{
    HeaderMap, Request,
    client::conn::http2,
    header::{CONTENT_TYPE, TE, USER_AGENT},
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;

use super::{handler::Outcome, http};

/// The wire's number of an answer that is well.
const SERVING: u64 = 1;

/// Asks for the health of a service; an empty name means the whole server.
pub(super) async fn probe(host: &str, port: u16, service: &str, timeout: Duration) -> Outcome {
    match tokio::time::timeout(timeout, ask(host, port, service)).await {
        Ok(Ok(())) => Outcome::Success,
        Ok(Err(message)) => Outcome::Failed(message),
        Err(_) => Outcome::Failed(format!("timeout: health rpc did not complete within {timeout:?}")),
    }
}

async fn ask(host: &str, port: u16, service: &str) -> Result<(), String> {
    let place = http::join(host, port);
    let stream = TcpStream::connect((host, port)).await.map_err(|error| {
        format!("error: failed to connect service \"{place}\": dial tcp {place}: connect: {}", http::reason(&error))
    })?;
    let failed = |error: hyper::Error| format!("error: health rpc probe failed: {error}");
    let (mut sender, connection) =
        http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.map_err(failed)?;
    // Ends when the sender is dropped.
    tokio::spawn(connection);
    let request = Request::post(format!("http://{place}/grpc.health.v1.Health/Check"))
        .header(CONTENT_TYPE, "application/grpc")
        .header(TE, "trailers")
        .header(USER_AGENT, "kube-probe/1.36")
        .body(Full::new(message(service)))
        .map_err(|error| error.to_string())?;
    let answer = sender.send_request(request).await.map_err(failed)?;
    // An answer of trailers only has the result in its headers.
    let early = status(answer.headers());
    let body = answer.into_body().collect().await.map_err(failed)?;
    let late = body.trailers().and_then(status);
    match early.or(late) {
        Some((0, _)) => judge(&body.to_bytes()),
        Some((4, text)) => Err(format!("timeout: health rpc did not complete: {text}")),
        Some((12, text)) => Err(format!(
            "error: this server does not implement the grpc health protocol (grpc.health.v1.Health): {text}"
        )),
        Some((code, text)) => Err(format!("error: health rpc probe failed: rpc error: code = {code} desc = {text}")),
        None => Err("error: health rpc probe failed: the answer has no status".to_owned()),
    }
}

/// A frame with the message `{service: …}`.
fn message(service: &str) -> Bytes {
    let mut field = BytesMut::new();
    if !service.is_empty() {
        field.put_u8(0x0a);
        let mut length = service.len();
        while length >= 0x80 {
            field.put_u8(u8::try_from(length & 0x7f).unwrap_or_default() | 0x80);
            length >>= 7;
        }
        field.put_u8(u8::try_from(length).unwrap_or_default());
        field.put_slice(service.as_bytes());
    }
    let mut frame = BytesMut::new();
    frame.put_u8(0);
    frame.put_u32(u32::try_from(field.len()).unwrap_or_default());
    frame.put_slice(&field);
    frame.freeze()
}

fn status(headers: &HeaderMap) -> Option<(u32, String)> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let code = text("grpc-status")?.parse().ok()?;
    Some((code, text("grpc-message").unwrap_or_default().to_owned()))
}

/// The message `{status: …}` of one frame; an absent field is 0.
fn judge(frame: &[u8]) -> Result<(), String> {
    let status = match frame.get(5..) {
        Some([0x08, value, ..]) => u64::from(*value),
        Some(_) | None => 0,
    };
    let name = match status {
        SERVING => return Ok(()),
        0 => "UNKNOWN",
        2 => "NOT_SERVING",
        _ => "SERVICE_UNKNOWN",
    };
    Err(format!("service unhealthy (responded with \"{name}\")"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_question_and_its_answer_on_the_wire() {
        assert_eq!(&message("")[..], [0, 0, 0, 0, 0]);
        assert_eq!(&message("ab")[..], [0, 0, 0, 0, 4, 0x0a, 2, b'a', b'b']);
        assert_eq!(message(&"x".repeat(200)).len(), 5 + 3 + 200);
        assert_eq!(judge(&[0, 0, 0, 0, 2, 8, 1]), Ok(()));
        assert_eq!(judge(&[0, 0, 0, 0, 2, 8, 2]), Err("service unhealthy (responded with \"NOT_SERVING\")".to_owned()));
        assert_eq!(judge(&[0, 0, 0, 0, 0]), Err("service unhealthy (responded with \"UNKNOWN\")".to_owned()));
    }
}
