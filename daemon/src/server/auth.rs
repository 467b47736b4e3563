//! Who may speak to the server (DESIGN section 7, W-2 to W-5). The API can start containers, so it is root on the host.

use std::{io, path::Path};

use axum::http::{HeaderMap, Uri, header};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use jobd_api::{status::Status, write::Random};
use subtle::ConstantTimeEq as _;

use super::error;

/// How a listener's clients prove who they are.
#[derive(Clone)]
pub enum Access {
    /// The Unix socket: whoever may open the file may speak.
    Socket,
    /// HTTPS: a bearer token.
    Token(Token),
    /// Plain HTTP on loopback, behind a flag: no proof, but no browser tricked by a foreign name either.
    Loopback,
}

/// The bearer token. Compared in constant time, never printed.
#[derive(Clone)]
pub struct Token(std::sync::Arc<str>);

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Token")
    }
}

/// Fewer characters than this are no secret; a file that was cut short must not open the door.
const TOKEN_MIN: usize = 16;

impl Token {
    /// Reads the token's file, or makes one with a new token (0600) at the first start.
    ///
    /// # Errors
    /// When the file cannot be read or written, or holds no usable token.
    pub fn read_or_make(path: &Path, random: &mut dyn Random) -> io::Result<Self> {
        let text = super::files::read_or_make(path, || {
            let bytes = (0..4).flat_map(|_| random.next_u64().to_le_bytes()).collect::<Vec<_>>();
            Ok(format!("{}\n", URL_SAFE_NO_PAD.encode(bytes)))
        })?;
        let token = text.trim();
        if token.len() < TOKEN_MIN || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                format!("{} holds no usable token; delete the file and jobd makes a new one", path.display()),
            ));
        }
        Ok(Self(token.into()))
    }

    /// The token itself, for the kubeconfig.
    #[must_use]
    pub fn secret(&self) -> &str {
        &self.0
    }

    fn is(&self, offered: &str) -> bool {
        self.0.as_bytes().ct_eq(offered.as_bytes()).into()
    }
}

/// Lets a request in or says why not.
pub(crate) fn check(access: &Access, uri: &Uri, headers: &HeaderMap) -> Result<(), Status> {
    // Only browsers send `Origin`; no page may drive this API, wherever it comes from.
    if headers.contains_key(header::ORIGIN) {
        return Err(Status::new(403, "Forbidden", "forbidden: requests from web pages are not served"));
    }
    match access {
        Access::Socket => Ok(()),
        Access::Loopback => check_host(uri, headers),
        Access::Token(token) => check_token(token, uri, headers),
    }
}

/// A page of a foreign site can reach loopback by giving its own name our address; the Host header still has that name.
fn check_host(uri: &Uri, headers: &HeaderMap) -> Result<(), Status> {
    let named = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    let host = uri.authority().map(|authority| authority.as_str()).or(named).unwrap_or_default();
    if is_loopback(host) {
        return Ok(());
    }
    Err(Status::new(403, "Forbidden", format!("forbidden: the host {host:?} is not this machine's loopback")))
}

fn is_loopback(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) && !name.ends_with(':') => name,
        Some(_) | None => host,
    };
    let name = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
    name.eq_ignore_ascii_case("localhost")
        || name.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

fn check_token(token: &Token, uri: &Uri, headers: &HeaderMap) -> Result<(), Status> {
    let offered = headers.get(header::AUTHORIZATION).map(|value| value.to_str().unwrap_or_default());
    match offered.map(bearer) {
        Some(Some(offered)) if token.is(offered) => Ok(()),
        Some(_) => Err(error::unauthorized()),
        None if is_public(uri.path()) => Ok(()),
        None => Err(error::unauthorized()),
    }
}

fn bearer(value: &str) -> Option<&str> {
    let (scheme, token) = value.trim().split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// What anybody may read, as in Kubernetes: it says nothing but that the server lives.
fn is_public(path: &str) -> bool {
    matches!(path, "/healthz" | "/livez" | "/readyz" | "/version" | "/version/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_request(access: &Access, uri: &str, headers: &[(&str, &str)], want: Option<u16>) {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.insert(header::HeaderName::from_bytes(name.as_bytes()).unwrap(), value.parse().unwrap());
        }
        let got = check(access, &uri.parse().unwrap(), &map).err().map(|status| status.code);
        assert_eq!(got, want, "{uri} {headers:?}");
    }

    #[test]
    fn wants_the_token_over_tls_except_for_health_and_version_w5() {
        let access = Access::Token(Token("0123456789abcdef".into()));
        check_request(&access, "/api", &[], Some(401));
        check_request(&access, "/api", &[("authorization", "Bearer 0123456789abcdef")], None);
        check_request(&access, "/api", &[("authorization", "bearer  0123456789abcdef ")], None);
        check_request(&access, "/api", &[("authorization", "Bearer 0123456789abcdeF")], Some(401));
        check_request(&access, "/api", &[("authorization", "Basic 0123456789abcdef")], Some(401));
        check_request(&access, "/version", &[], None);
        check_request(&access, "/readyz?verbose", &[], None);
        check_request(&access, "/readyz", &[("authorization", "Bearer wrong")], Some(401));
        check_request(&access, "/readyz/store", &[], Some(401));
        check_request(&access, "/metrics", &[], Some(401));
    }

    #[test]
    fn refuses_web_pages_everywhere() {
        let token = Access::Token(Token("0123456789abcdef".into()));
        for access in [Access::Socket, Access::Loopback, token] {
            let headers = [
                ("origin", "http://localhost:8080"),
                ("host", "localhost"),
                ("authorization", "Bearer 0123456789abcdef"),
            ];
            check_request(&access, "/api", &headers, Some(403));
        }
    }

    #[test]
    fn plain_http_answers_only_to_loopback_names() {
        for host in ["localhost", "localhost:8080", "127.0.0.1:80", "127.9.9.9", "[::1]:8080", "[::1]", "LOCALHOST"] {
            check_request(&Access::Loopback, "/api", &[("host", host)], None);
        }
        for host in ["evil.example", "evil.example:8080", "127.0.0.1.evil.example", "10.0.0.1", "", "localhost.evil"] {
            check_request(&Access::Loopback, "/api", &[("host", host)], Some(403));
        }
        check_request(&Access::Loopback, "/api", &[], Some(403));
        check_request(&Access::Socket, "/api", &[], None);
    }
}
