//! Real sockets: Unix, TLS and loopback.

use std::{path::Path, sync::Arc};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use clap::Parser as _;
use rustls::pki_types::{CertificateDer, ServerName, pem::PemObject as _};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::{TcpStream, UnixStream},
    sync::oneshot,
};
use tokio_rustls::TlsConnector;

use super::support::*;
use crate::{
    config::Config,
    server::{Listeners, serve},
    sys::SystemClock,
};

#[derive(clap::Parser)]
struct Flags {
    #[command(flatten)]
    config: Config,
}

fn config(directory: &Path, further: &[&str]) -> Config {
    let directory = directory.to_str().unwrap();
    let fixed = ["jobd", "--data-dir", directory, "--listen", "127.0.0.1:0"];
    Flags::parse_from(fixed.iter().chain(further)).config
}

/// One HTTP/1.1 exchange; everything that came back.
async fn exchange(mut stream: impl AsyncRead + AsyncWrite + Unpin, request: &str) -> String {
    let mut answer = Vec::new();
    let talk = async {
        stream.write_all(request.as_bytes()).await.unwrap();
        // A TLS peer may close without a farewell.
        let _read = stream.read_to_end(&mut answer).await;
    };
    tokio::time::timeout(DEADLINE, talk).await.expect("an answer in time");
    String::from_utf8(answer).unwrap()
}

fn field<'a>(kubeconfig: &'a str, name: &str) -> &'a str {
    kubeconfig.lines().find_map(|line| line.trim().strip_prefix(name)?.strip_prefix(": ")).unwrap()
}

#[tokio::test]
async fn serves_socket_https_and_loopback_and_ends_in_order() {
    let client = Client::new().await;
    let directory = client.directory.path();
    let config = config(directory, &["--insecure-listen", "127.0.0.1:0"]);
    let listeners = Listeners::bind(&config, Arc::new(SystemClock)).await.unwrap();
    let (https, plain) = (listeners.https_address().unwrap(), listeners.insecure_address().unwrap());
    let (stop, stopped) = oneshot::channel::<()>();
    let served = tokio::spawn(serve(Arc::clone(&client.app), listeners, async { stopped.await.unwrap_or_default() }));

    let request =
        |path: &str, more: &str| format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n{more}\r\n");
    let socket = UnixStream::connect(config.socket()).await.unwrap();
    assert!(exchange(socket, &request("/api", "")).await.starts_with("HTTP/1.1 200"));
    let answer = exchange(TcpStream::connect(plain).await.unwrap(), &request("/api", "")).await;
    assert!(answer.starts_with("HTTP/1.1 200"));
    let foreign = "GET /api HTTP/1.1\r\nhost: evil.example\r\nconnection: close\r\n\r\n";
    assert!(exchange(TcpStream::connect(plain).await.unwrap(), foreign).await.starts_with("HTTP/1.1 403"));

    let kubeconfig = std::fs::read_to_string(config.kubeconfig()).unwrap();
    assert_eq!(field(&kubeconfig, "server"), format!("https://{https}"));
    let pem = STANDARD.decode(field(&kubeconfig, "certificate-authority-data")).unwrap();
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(&pem).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let tls = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let connector = TlsConnector::from(Arc::new(tls.with_root_certificates(roots).with_no_client_auth()));
    for name in ["localhost", "127.0.0.1"] {
        let token = format!("authorization: Bearer {}\r\n", field(&kubeconfig, "token"));
        for (more, code) in [(token.as_str(), "200"), ("", "401")] {
            let tcp = TcpStream::connect(https).await.unwrap();
            let stream = connector.connect(ServerName::try_from(name).unwrap(), tcp).await.unwrap();
            let answer = exchange(stream, &request("/api", more)).await;
            assert!(answer.starts_with(&format!("HTTP/1.1 {code}")), "{answer}");
        }
    }

    // An open watch does not hold up the end.
    let mut watching = UnixStream::connect(config.socket()).await.unwrap();
    watching.write_all(request("/api/v1/pods?watch=1", "").as_bytes()).await.unwrap();
    let mut head = [0; 12];
    watching.read_exact(&mut head).await.unwrap();
    assert_eq!(&head, b"HTTP/1.1 200");
    stop.send(()).unwrap();
    tokio::time::timeout(DEADLINE, served).await.expect("the server ends in time").unwrap();
}

#[tokio::test]
async fn keeps_its_authority_and_token_across_starts() {
    let directory = tempfile::tempdir().unwrap();
    let config = config(directory.path(), &["--tls-san", "jobs.example"]);
    let mut before = None;
    for _ in 0..2 {
        let listeners = Listeners::bind(&config, Arc::new(SystemClock)).await.unwrap();
        drop(listeners);
        let kubeconfig = std::fs::read_to_string(config.kubeconfig()).unwrap();
        let kept = ["certificate-authority-data", "token"].map(|name| field(&kubeconfig, name).to_owned());
        assert_eq!(before.get_or_insert(kept.clone()), &kept);
    }
    use std::os::unix::fs::PermissionsExt as _;
    for name in ["ca.key", "ca.crt", "token", "kubeconfig", "jobd.sock"] {
        let mode = std::fs::metadata(directory.path().join(name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0, "{name}");
    }
}
