//! TLS for the HTTPS listener: a CA made at the first start, and server certificates that renew themselves.
//!
//! Clients trust the CA (its certificate stands in the kubeconfig), so the server certificate needs no file: it lives in
//! memory, is made at every start and again when a handshake finds that it is old. That needs no timer, and it is right
//! after a sleep of the machine or a jump of its clock as well.

use std::{
    io,
    net::IpAddr,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use jiff::{Timestamp, ToSpan as _, tz::TimeZone};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use rustls::{
    pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};
use tracing::{error, info};

use crate::sys::Clock;

/// How long a server certificate is valid.
const VALID_DAYS: i64 = 365;
/// A certificate with less left is made anew.
const RENEW_DAYS: i64 = 30;
/// Certificates are valid from this long before they are made, for clients whose clocks are behind.
const SKEW_DAYS: i64 = 2;

/// The certificate authority of one data directory.
pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    /// The CA certificate, for the kubeconfig.
    pub(crate) pem: String,
}

impl Authority {
    /// Reads the CA from `ca.key` and `ca.crt`, or makes it at the first start.
    pub(crate) fn read_or_make(directory: &Path) -> io::Result<Self> {
        let (key_path, certificate_path) = (directory.join("ca.key"), directory.join("ca.crt"));
        let made = KeyPair::generate().map_err(io::Error::other)?;
        let key_pem = super::files::read_or_make(&key_path, || Ok(made.serialize_pem()))?;
        let key = KeyPair::from_pem(&key_pem)
            .map_err(|failure| super::files::named(&key_path, &io::Error::new(io::ErrorKind::InvalidData, failure)))?;
        let pem = super::files::read_or_make(&certificate_path, || {
            Ok(authority_params().self_signed(&key).map_err(io::Error::other)?.pem())
        })?;
        Ok(Self { issuer: Issuer::new(authority_params(), key), pem })
    }

    /// A server certificate for these names and addresses, with a key of its own.
    fn certify(&self, names: &[String], now: Timestamp) -> io::Result<CertifiedKey> {
        let mut params = CertificateParams::new(names.to_vec()).map_err(io::Error::other)?;
        params.distinguished_name = common_name("jobd");
        let ((year, month, day), (end_year, end_month, end_day)) = (date(now, -SKEW_DAYS)?, date(now, VALID_DAYS)?);
        params.not_before = rcgen::date_time_ymd(year, month, day);
        params.not_after = rcgen::date_time_ymd(end_year, end_month, end_day);
        params.use_authority_key_identifier_extension = true;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let key = KeyPair::generate().map_err(io::Error::other)?;
        let certificate = params.signed_by(&key, &self.issuer).map_err(io::Error::other)?;
        let der = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let signing = rustls::crypto::ring::sign::any_supported_type(&der).map_err(io::Error::other)?;
        Ok(CertifiedKey::new(vec![certificate.der().clone()], signing))
    }
}

/// The certificate of the data directory's CA in PEM form; made at the first start.
///
/// # Errors
/// When it can be neither read nor written.
pub fn ca_certificate(directory: &Path) -> io::Result<String> {
    Authority::read_or_make(directory).map(|authority| authority.pem)
}

/// The CA's parameters. They are the same at every start, so the issuer can be made from its key alone; changing them
/// cuts off every kubeconfig. Valid for a century: nobody replaces a CA that every client on the machine has pinned.
fn authority_params() -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = common_name("jobd CA");
    params.not_before = rcgen::date_time_ymd(2000, 1, 1);
    params.not_after = rcgen::date_time_ymd(2100, 1, 1);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign, KeyUsagePurpose::DigitalSignature];
    params
}

fn common_name(name: &str) -> DistinguishedName {
    let mut distinguished = DistinguishedName::new();
    distinguished.push(DnType::CommonName, name);
    distinguished
}

/// The year, month and day that lie `days` from now.
fn date(now: Timestamp, days: i64) -> io::Result<(i32, u8, u8)> {
    let zoned = now.to_zoned(TimeZone::UTC).checked_add(days.days()).map_err(io::Error::other)?;
    let month = u8::try_from(zoned.month()).map_err(io::Error::other)?;
    let day = u8::try_from(zoned.day()).map_err(io::Error::other)?;
    Ok((i32::from(zoned.year()), month, day))
}

/// Hands out the current server certificate and makes a new one when it is old.
pub(crate) struct Certificates {
    authority: Authority,
    names: Vec<String>,
    clock: Arc<dyn Clock>,
    current: Mutex<Current>,
}

struct Current {
    key: Arc<CertifiedKey>,
    made_at: Timestamp,
}

impl std::fmt::Debug for Certificates {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Certificates").field("names", &self.names).finish_non_exhaustive()
    }
}

impl Certificates {
    pub(crate) fn new(authority: Authority, names: Vec<String>, clock: Arc<dyn Clock>) -> io::Result<Self> {
        let made_at = clock.now().wall;
        let key = Arc::new(authority.certify(&names, made_at)?);
        Ok(Self { authority, names, clock, current: Mutex::new(Current { key, made_at }) })
    }

    /// The rustls configuration of the listener (W-1: HTTP/1.1 stays on offer beside HTTP/2).
    pub(crate) fn config(self: Arc<Self>) -> io::Result<rustls::ServerConfig> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(io::Error::other)?
            .with_no_client_auth()
            .with_cert_resolver(self);
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(config)
    }

    /// The certificate for a handshake now.
    fn current(&self) -> Arc<CertifiedKey> {
        let now = self.clock.now().wall;
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if is_fresh(current.made_at, now) {
            return Arc::clone(&current.key);
        }
        match self.authority.certify(&self.names, now) {
            Ok(key) => {
                info!("made a new server certificate");
                *current = Current { key: Arc::new(key), made_at: now };
            }
            Err(failure) => error!(error = %failure, "cannot make a new server certificate: {failure}"),
        }
        Arc::clone(&current.key)
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.current())
    }
}

/// Whether a certificate of that age is good: not near its end, and not from a future that the clock has since left.
fn is_fresh(made_at: Timestamp, now: Timestamp) -> bool {
    let age_days = now.duration_since(made_at).as_hours() / 24;
    (-(SKEW_DAYS - 1)..VALID_DAYS - RENEW_DAYS).contains(&age_days)
}

/// The names and addresses under which clients may reach the listener.
pub(crate) fn names(listen: IpAddr, host_name: &str, advertise: Option<&str>, further: &[String]) -> Vec<String> {
    let mut names = ["localhost", "127.0.0.1", "::1"].map(str::to_owned).to_vec();
    if !listen.is_unspecified() {
        names.push(listen.to_string());
    }
    names.push(host_name.to_owned());
    names.extend(advertise.map(host_of));
    names.extend(further.iter().cloned());
    names.retain(|name| !name.is_empty());
    let mut seen = std::collections::BTreeSet::new();
    names.retain(|name| seen.insert(name.clone()));
    names
}

/// The host of `host`, `host:port`, `[v6]:port` or a bare IPv6 address.
fn host_of(address: &str) -> String {
    if address.parse::<IpAddr>().is_ok() {
        return address.to_owned();
    }
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
    host.trim_start_matches('[').trim_end_matches(']').to_owned()
}

/// The address for the kubeconfig: what was asked for, with the listener's port when it names none.
pub(crate) fn advertised(advertise: Option<&str>, listen: std::net::SocketAddr) -> String {
    let port = listen.port();
    match advertise {
        Some(address) => match address.parse::<IpAddr>() {
            Ok(address) => std::net::SocketAddr::new(address, port).to_string(),
            Err(_) if address.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok()) => {
                address.to_owned()
            }
            Err(_) => format!("{address}:{port}"),
        },
        None if listen.ip().is_unspecified() => format!("127.0.0.1:{port}"),
        None => listen.to_string(),
    }
}

/// The paths of what this module and [`super::auth`] keep in the data directory.
pub(crate) fn token_path(data_dir: &Path) -> PathBuf {
    data_dir.join("token")
}

/// The kubeconfig: TLS with our CA and a token, which is what every client library can use (W-2 to W-4).
pub(crate) fn kubeconfig(server: &str, ca_pem: &str, token: &str) -> String {
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    let ca = STANDARD.encode(ca_pem);
    format!(
        "apiVersion: v1\nkind: Config\nclusters:\n- name: jobd\n  cluster:\n    server: https://{server}\n    \
         certificate-authority-data: {ca}\nusers:\n- name: jobd\n  user:\n    token: {token}\ncontexts:\n- name: jobd\n  \
         context:\n    cluster: jobd\n    user: jobd\n    namespace: default\ncurrent-context: jobd\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_what_clients_may_dial() {
        let names = names("10.0.0.5".parse().unwrap(), "box", Some("jobs.example:443"), &["x".to_owned()]);
        assert_eq!(names, ["localhost", "127.0.0.1", "::1", "10.0.0.5", "box", "jobs.example", "x"]);
    }

    #[test]
    fn advertises_an_address_that_can_be_dialled() {
        let any = "0.0.0.0:6443".parse().unwrap();
        assert_eq!(advertised(None, any), "127.0.0.1:6443");
        assert_eq!(advertised(None, "10.0.0.5:1".parse().unwrap()), "10.0.0.5:1");
        assert_eq!(advertised(Some("jobs.example"), any), "jobs.example:6443");
        assert_eq!(advertised(Some("jobs.example:1"), any), "jobs.example:1");
        assert_eq!(advertised(Some("::1"), any), "[::1]:6443");
    }

    #[test]
    fn renews_when_the_certificate_is_old_or_from_the_future() {
        let made: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        for (now, fresh) in [
            ("2026-01-01T00:00:00Z", true),
            ("2026-11-30T00:00:00Z", true),
            ("2026-12-05T00:00:00Z", false),
            ("2025-12-31T01:00:00Z", true),
            ("2025-12-29T00:00:00Z", false),
        ] {
            assert_eq!(is_fresh(made, now.parse().unwrap()), fresh, "{now}");
        }
    }
}
