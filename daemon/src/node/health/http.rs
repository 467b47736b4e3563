//! A GET as the kubelet sends it: its headers, redirects on the same host, no certificate checked, a bounded answer.

use std::{io, time::Duration};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty};
use hyper::{
    Request, Response, StatusCode, Uri,
    body::Incoming,
    client::conn::http1,
    header::{ACCEPT, CONNECTION, HOST, HeaderName, HeaderValue, LOCATION, USER_AGENT},
};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};
use tokio_rustls::TlsConnector;

use super::{
    handler::{OUTPUT_MAX, Outcome},
    tls,
};

const REDIRECTS_MAX: usize = 10;

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) tls: bool,
    pub(super) host: String,
    pub(super) port: u16,
    /// With its query.
    pub(super) path: String,
    pub(super) headers: Vec<(String, String)>,
    pub(super) agent: String,
}

/// Why there is no answer.
#[derive(Debug)]
enum Failure {
    Connect(io::Error),
    /// The other side does not speak TLS.
    NotTls(String),
    Other(String),
}

impl Failure {
    fn text(&self, place: &str) -> String {
        match self {
            Self::Connect(error) => format!("dial tcp {place}: connect: {}", reason(error)),
            Self::NotTls(text) | Self::Other(text) => text.clone(),
        }
    }
}

/// `host:port`, with brackets around an IPv6 address.
pub(super) fn join(host: &str, port: u16) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

/// The bare words of an error of the system: `connection refused`.
pub(super) fn reason(error: &io::Error) -> String {
    let text = error.to_string();
    let words = text.split(" (os error").next().unwrap_or_default();
    let mut letters = words.chars();
    letters.next().map_or_else(String::new, |first| first.to_lowercase().chain(letters).collect())
}

impl Target {
    fn url(&self) -> String {
        let scheme = if self.tls { "https" } else { "http" };
        format!("{scheme}://{}{}", join(&self.host, self.port), path(&self.path))
    }

    fn request(&self) -> Result<Request<Empty<Bytes>>, String> {
        let mut request =
            Request::builder().uri(path(&self.path)).body(Empty::new()).map_err(|error| error.to_string())?;
        let headers = request.headers_mut();
        for (name, value) in &self.headers {
            let name = HeaderName::try_from(name.as_str()).map_err(|error| error.to_string())?;
            let value = HeaderValue::try_from(value.as_str()).map_err(|error| error.to_string())?;
            headers.append(name, value);
        }
        let value = |text: &str| HeaderValue::try_from(text).map_err(|error| error.to_string());
        if !headers.contains_key(HOST) {
            headers.insert(HOST, value(&join(&self.host, self.port))?);
        }
        if !headers.contains_key(USER_AGENT) {
            headers.insert(USER_AGENT, value(&self.agent)?);
        }
        // Given and empty, it means that none is sent.
        match headers.get(ACCEPT) {
            None => drop(headers.insert(ACCEPT, HeaderValue::from_static("*/*"))),
            Some(accept) if accept.is_empty() => drop(headers.remove(ACCEPT)),
            Some(_) => {}
        }
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
        Ok(request)
    }

    /// Where a redirect leads; none: to another host, or nowhere.
    fn redirected(&self, location: &str) -> Option<Self> {
        let uri: Uri = location.parse().ok()?;
        let query = |uri: &Uri| uri.path_and_query().map(|path| path.as_str().to_owned()).unwrap_or_default();
        match uri.host() {
            None => {
                let base = self.path.split('?').next().unwrap_or_default();
                let folder = base.rfind('/').map_or("", |slash| &base[..=slash]);
                let path = if location.starts_with('/') { location.to_owned() } else { format!("{folder}{location}") };
                Some(Self { path, ..self.clone() })
            }
            Some(host) if host.trim_matches(['[', ']']) == self.host => {
                let tls = uri.scheme_str() == Some("https");
                let port = uri.port_u16().unwrap_or(if tls { 443 } else { 80 });
                Some(Self { tls, port, path: query(&uri), ..self.clone() })
            }
            Some(_) => None,
        }
    }
}

/// Absolute, with what may not stand in a request line escaped.
fn path(given: &str) -> String {
    let mut out = String::from(if given.starts_with('/') { "" } else { "/" });
    for byte in given.bytes() {
        match byte {
            b'!'..=b'~' if !matches!(byte, b'"' | b'<' | b'>' | b'\\' | b'^' | b'`' | b'{' | b'|' | b'}' | b'#') => {
                out.push(char::from(byte));
            }
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

/// Runs an `httpGet` probe.
pub(super) async fn probe(target: Target, timeout: Duration) -> Outcome {
    let url = target.url();
    match tokio::time::timeout(timeout, follow(target)).await {
        Ok(outcome) => outcome,
        Err(_) => Outcome::Failed(format!(
            "Get \"{url}\": context deadline exceeded (Client.Timeout exceeded while awaiting headers)"
        )),
    }
}

async fn follow(mut target: Target) -> Outcome {
    for _ in 0..=REDIRECTS_MAX {
        let place = join(&target.host, target.port);
        let answer = match ask(&target).await {
            Ok(answer) => answer,
            Err(failure) => return Outcome::Failed(format!("Get \"{}\": {}", target.url(), failure.text(&place))),
        };
        let status = answer.status();
        if !status.is_redirection() {
            return judge(status);
        }
        let location = answer.headers().get(LOCATION).and_then(|location| location.to_str().ok()).map(str::to_owned);
        match location.as_deref().and_then(|location| target.redirected(location)) {
            Some(next) if status != StatusCode::NOT_MODIFIED => target = next,
            Some(_) | None => {
                let body = read(answer.into_body()).await;
                return Outcome::Warned(format!("Probe terminated redirects, Response body: {body}"));
            }
        }
    }
    Outcome::Failed(format!("Get \"{}\": stopped after {REDIRECTS_MAX} redirects", target.url()))
}

fn judge(status: StatusCode) -> Outcome {
    if status.is_success() {
        Outcome::Success
    } else {
        Outcome::Failed(format!("HTTP probe failed with statuscode: {}", status.as_u16()))
    }
}

/// Calls an `httpGet` hook: any answer will do.
///
/// # Errors
/// When there is none.
pub(super) async fn call(target: Target, timeout: Duration) -> Result<(), String> {
    let run = async {
        match ask(&target).await {
            // Hooks were once sent without TLS whatever they said, and servers still rely on it.
            Err(Failure::NotTls(_)) => ask(&Target { tls: false, ..target.clone() }).await,
            answer => answer,
        }
    };
    match tokio::time::timeout(timeout, run).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(failure)) => Err(failure.text(&join(&target.host, target.port))),
        Err(_) => Err(format!("{} did not answer in time", target.url())),
    }
}

async fn ask(target: &Target) -> Result<Response<Incoming>, Failure> {
    let stream = TcpStream::connect((target.host.as_str(), target.port)).await.map_err(Failure::Connect)?;
    if !target.tls {
        return send(stream, target).await;
    }
    let config = tls::config().map_err(|error| Failure::Other(error.to_string()))?;
    let name = ServerName::try_from(target.host.clone()).map_err(|error| Failure::Other(error.to_string()))?;
    let stream = TlsConnector::from(config).connect(name, stream).await.map_err(|error| {
        let rustls = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
        match rustls {
            Some(rustls::Error::InvalidMessage(_)) => Failure::NotTls(error.to_string()),
            Some(_) | None => Failure::Other(error.to_string()),
        }
    })?;
    send(stream, target).await
}

async fn send<S>(stream: S, target: &Target) -> Result<Response<Incoming>, Failure>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let other = |error: hyper::Error| Failure::Other(error.to_string());
    let request = target.request().map_err(Failure::Other)?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(other)?;
    // Ends with the answer's body, or when that is dropped.
    tokio::spawn(connection);
    sender.send_request(request).await.map_err(other)
}

async fn read(mut body: Incoming) -> String {
    let mut bytes = Vec::new();
    while let Some(Ok(frame)) = body.frame().await {
        if let Some(data) = frame.data_ref() {
            bytes.extend_from_slice(&data[..data.len().min(OUTPUT_MAX.saturating_sub(bytes.len()))]);
        }
        if bytes.len() >= OUTPUT_MAX {
            break;
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::TcpListener,
    };

    use super::*;

    /// A server that answers each connection with the next text; tells what it was asked.
    async fn server(answers: &[&str]) -> (u16, tokio::task::JoinHandle<Vec<String>>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let answers: Vec<String> = answers.iter().map(|answer| answer.replace("PORT", &port.to_string())).collect();
        let task = tokio::spawn(async move {
            let mut asked = Vec::new();
            for answer in answers {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut bytes = vec![0; 4096];
                let count = stream.read(&mut bytes).await.unwrap();
                asked.push(String::from_utf8_lossy(&bytes[..count]).into_owned());
                stream.write_all(answer.as_bytes()).await.unwrap();
            }
            asked
        });
        (port, task)
    }

    fn target(port: u16, headers: &[(&str, &str)]) -> Target {
        Target {
            tls: false,
            host: "127.0.0.1".to_owned(),
            port,
            path: "/healthz?full=yes please".to_owned(),
            headers: headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
            agent: "kube-probe/1.36".to_owned(),
        }
    }

    async fn check(answers: &[&str], want: Outcome) {
        let (port, task) = server(answers).await;
        let got = probe(target(port, &[]), Duration::from_secs(10)).await;
        assert_eq!(got, want, "{answers:?}");
        drop(task);
    }

    #[tokio::test]
    async fn the_status_decides_and_redirects_stay_on_their_host() {
        let ok = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
        check(&[ok], Outcome::Success).await;
        let missing = "HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n";
        check(&[missing], Outcome::Failed("HTTP probe failed with statuscode: 404".to_owned())).await;
        let local = "HTTP/1.1 302 Found\r\nlocation: /next\r\ncontent-length: 0\r\n\r\n";
        check(&[local, ok], Outcome::Success).await;
        let absolute = "HTTP/1.1 301 Moved\r\nlocation: http://127.0.0.1:PORT/x\r\ncontent-length: 0\r\n\r\n";
        check(&[absolute, missing], Outcome::Failed("HTTP probe failed with statuscode: 404".to_owned())).await;
        let elsewhere = "HTTP/1.1 302 Found\r\nlocation: http://0.0.0.0/\r\ncontent-length: 4\r\n\r\nbody";
        let warned = Outcome::Warned("Probe terminated redirects, Response body: body".to_owned());
        check(&[elsewhere], warned).await;
    }

    #[tokio::test]
    async fn headers_are_the_kubelets_unless_the_manifest_says_otherwise() {
        let answer = "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
        let (port, task) = server(&[answer, answer]).await;
        probe(target(port, &[]), Duration::from_secs(10)).await;
        probe(
            target(port, &[("User-Agent", "me"), ("Accept", ""), ("Host", "h.test"), ("X-A", "b")]),
            Duration::from_secs(10),
        )
        .await;
        let asked = task.await.unwrap();
        let plain = format!(
            "GET /healthz?full=yes%20please HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\nuser-agent: kube-probe/1.36\r\n\
             accept: */*\r\nconnection: close\r\n\r\n"
        );
        assert_eq!(asked[0], plain);
        let own = asked[1].to_lowercase();
        assert!(own.contains("user-agent: me\r\n") && own.contains("host: h.test\r\n") && own.contains("x-a: b\r\n"));
        assert!(!own.contains("accept:"), "{own}");
    }

    #[tokio::test]
    async fn no_answer_is_a_failure_with_the_reason() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let late = probe(target(port, &[]), Duration::from_millis(50)).await;
        assert!(matches!(&late, Outcome::Failed(text) if text.contains("context deadline exceeded")), "{late:?}");
        drop(listener);
        let refused = probe(target(port, &[]), Duration::from_secs(10)).await;
        assert!(
            matches!(&refused, Outcome::Failed(text) if text.ends_with("connect: connection refused")),
            "{refused:?}"
        );
    }

    #[tokio::test]
    async fn a_hook_falls_back_to_plain_text_when_the_other_side_knows_no_tls() {
        let answer = "HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n";
        let (port, task) = server(&[answer, answer]).await;
        let target = Target { tls: true, ..target(port, &[]) };
        assert_eq!(call(target, Duration::from_secs(10)).await, Ok(()));
        assert!(task.await.unwrap()[1].starts_with("GET /healthz"));
    }
}
