//! Listeners and connections: the Unix socket, HTTPS, plain HTTP on loopback; HTTP/1.1 and HTTP/2; a graceful end.

use std::{
    future::Future, io, net::SocketAddr, os::unix::fs::PermissionsExt as _, path::Path, sync::Arc, time::Duration,
};

use axum::Router;
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::{conn::auto, graceful::GracefulShutdown},
    service::TowerToHyperService,
};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream, UnixListener},
    sync::{OwnedSemaphorePermit, Semaphore, watch},
    task::JoinSet,
};
use tokio_rustls::TlsAcceptor;
use tracing::{debug, info, warn};

use super::{
    App,
    auth::{Access, Token},
    files, limits, router,
    stall::Impatient,
    tls,
};
use crate::{config::Config, sys::Clock};

/// How long the accept loop rests after a failure, such as no free file descriptors.
const ACCEPT_REST: Duration = Duration::from_millis(100);

/// The longest path of a Unix socket on Linux.
const SOCKET_PATH_MAX: usize = 107;

/// Everything that a daemon listens on, bound but not yet served.
pub struct Listeners {
    unix: Option<UnixListener>,
    https: Option<Https>,
    insecure: Option<TcpListener>,
}

struct Https {
    listener: TcpListener,
    acceptor: TlsAcceptor,
    token: Token,
}

impl Listeners {
    /// Binds what the configuration asks for. For HTTPS: makes the CA and the token at the first start, and writes the
    /// kubeconfig. The data directory must be there and locked by this daemon (the store has done both): a socket file that
    /// lies there is a leftover and is replaced.
    ///
    /// # Errors
    /// When a key, the token, the kubeconfig or the socket cannot be made, or an address cannot be bound.
    pub async fn bind(config: &Config, clock: Arc<dyn Clock>) -> io::Result<Self> {
        let unix = Some(bind_unix(&config.socket(), config.socket_group.as_deref())?);
        let https = if config.no_listen { None } else { Some(bind_https(config, clock).await?) };
        let insecure = match config.insecure_listen {
            Some(address) if !address.ip().is_loopback() => {
                let text =
                    format!("{address} is not a loopback address: plain HTTP without a token is for loopback only");
                return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
            }
            Some(address) => Some(bind_tcp(address, "--insecure-listen").await?),
            None => None,
        };
        Ok(Self { unix, https, insecure })
    }

    /// The address that HTTPS listens on, with the port that the system chose for port 0.
    #[must_use]
    pub fn https_address(&self) -> Option<SocketAddr> {
        self.https.as_ref().and_then(|https| https.listener.local_addr().ok())
    }

    /// The address that plain HTTP listens on.
    #[must_use]
    pub fn insecure_address(&self) -> Option<SocketAddr> {
        self.insecure.as_ref().and_then(|listener| listener.local_addr().ok())
    }
}

async fn bind_tcp(address: SocketAddr, flag: &str) -> io::Result<TcpListener> {
    let bound = TcpListener::bind(address).await;
    bound.map_err(|failure| {
        let advice = match failure.kind() {
            io::ErrorKind::AddrInUse => "another program listens there: stop it, or choose another port",
            io::ErrorKind::AddrNotAvailable => "this machine has no such address: choose one of its own",
            io::ErrorKind::PermissionDenied => "ports below 1024 are for root: choose another",
            _ => "choose another address",
        };
        io::Error::new(failure.kind(), format!("cannot listen on {address}: {failure}; {advice} with {flag}"))
    })
}

async fn bind_https(config: &Config, clock: Arc<dyn Clock>) -> io::Result<Https> {
    let listener = bind_tcp(config.listen, "--listen").await?;
    let bound = listener.local_addr()?;
    let mut random = &crate::sys::SharedRandom::from_system();
    let token = Token::read_or_make(&tls::token_path(&config.data_dir), &mut random)?;
    let authority = tls::Authority::read_or_make(&config.data_dir)?;
    let advertise = config.advertise_address.as_deref();
    let server = tls::advertised(advertise, bound);
    files::write(&config.kubeconfig(), &tls::kubeconfig(&server, &authority.pem, token.secret()))?;
    let host_name = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let names = tls::names(bound.ip(), &host_name, advertise, &config.tls_san);
    let certificates = Arc::new(tls::Certificates::new(authority, names, clock)?);
    let acceptor = TlsAcceptor::from(Arc::new(certificates.config()?));
    Ok(Https { listener, acceptor, token })
}

/// The socket is usable by its owner, or by a group. Nobody can connect before it has its mode, because the directory is
/// 0700 until then.
fn bind_unix(path: &Path, group: Option<&str>) -> io::Result<UnixListener> {
    match std::fs::remove_file(path) {
        Err(failure) if failure.kind() != io::ErrorKind::NotFound => return Err(files::named(path, &failure)),
        Ok(()) | Err(_) => {}
    }
    if path.as_os_str().len() > SOCKET_PATH_MAX {
        let text = format!(
            "the socket's path {} is longer than the {SOCKET_PATH_MAX} bytes that the system allows: give a shorter --data-dir",
            path.display()
        );
        return Err(io::Error::new(io::ErrorKind::InvalidFilename, text));
    }
    let listener = UnixListener::bind(path).map_err(|failure| files::named(path, &failure))?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))
        .map_err(|failure| files::named(path, &failure))?;
    if let (Some(group), Some(directory)) = (group, path.parent()) {
        // The group may pass through the directory to the socket, not read it; everything else in there is 0600.
        for (path, mode) in [(directory, 0o710), (path, 0o660)] {
            let owned = std::os::unix::fs::chown(path, None, Some(group_id(group)?));
            let changed = owned.and_then(|()| std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)));
            changed.map_err(|failure| files::named(path, &failure))?;
        }
    }
    Ok(listener)
}

/// The number of a group, from `/etc/group` or given as a number.
fn group_id(group: &str) -> io::Result<u32> {
    if let Ok(id) = group.parse::<u32>() {
        return Ok(id);
    }
    let text = std::fs::read_to_string("/etc/group")?;
    let mut entries = text.lines().map(|line| line.split(':').collect::<Vec<_>>());
    let entry = entries.find(|entry| entry.first() == Some(&group));
    entry.and_then(|entry| entry.get(2)?.parse::<u32>().ok()).ok_or_else(|| {
        io::Error::new(io::ErrorKind::NotFound, format!("there is no group {group:?} in /etc/group for the socket"))
    })
}

/// Serves until `shutdown` is done, then lets open requests end, for a bounded time.
///
/// Watches and followed logs are ended at once by the shutdown; clients come back to the next daemon.
pub async fn serve(app: Arc<App>, listeners: Listeners, shutdown: impl Future<Output = ()> + Send) {
    let Listeners { unix, https, insecure } = listeners;
    let connections = connections_max();
    let server = Arc::new(Server {
        graceful: GracefulShutdown::new(),
        local: Arc::new(Semaphore::new(connections)),
        remote: Arc::new(Semaphore::new(connections)),
        stop: app.stop.subscribe(),
    });
    let mut loops = JoinSet::new();
    if let Some(listener) = unix {
        let service = router(Arc::clone(&app), Access::Socket);
        loops.spawn(Arc::clone(&server).accept_unix(listener, service));
    }
    if let Some(https) = https {
        let service = router(Arc::clone(&app), Access::Token(https.token));
        loops.spawn(Arc::clone(&server).accept_tcp(https.listener, Some(https.acceptor), service));
    }
    if let Some(listener) = insecure {
        let service = router(Arc::clone(&app), Access::Loopback);
        loops.spawn(Arc::clone(&server).accept_tcp(listener, None, service));
    }
    shutdown.await;
    app.stop.send_replace(true);
    loops.shutdown().await;
    let Some(server) = Arc::into_inner(server) else { return };
    if tokio::time::timeout(limits::SHUTDOWN_GRACE, server.graceful.shutdown()).await.is_err() {
        info!("some requests were still open after {} seconds; ending without them", limits::SHUTDOWN_GRACE.as_secs());
    }
}

/// How many connections fit, on the socket and on the others each: two thirds of the file descriptors at most, for the
/// database and the engine need some whatever clients do (I-9). The soft limit is often 1024 for the sake of old programs; it is raised first.
fn connections_max() -> usize {
    let mut limit = getrlimit(Resource::Nofile);
    let wanted = limits::FILES_MAX.min(limit.maximum.unwrap_or(u64::MAX));
    if limit.current.is_some_and(|current| current < wanted) {
        let raised = Rlimit { current: Some(wanted), maximum: limit.maximum };
        match setrlimit(Resource::Nofile, raised) {
            Ok(()) => limit = raised,
            Err(failure) => debug!(error = %failure, "cannot raise the limit of open files: {failure}"),
        }
    }
    let files = limit.current.and_then(|files| usize::try_from(files).ok()).unwrap_or(usize::MAX);
    limits::CONNECTIONS_MAX.min(files / 3).max(1)
}

/// What the accept loops share.
struct Server {
    graceful: GracefulShutdown,
    /// Places for connections to the socket.
    local: Arc<Semaphore>,
    /// Places for all others.
    remote: Arc<Semaphore>,
    stop: watch::Receiver<bool>,
}

impl Server {
    async fn accept_unix(self: Arc<Self>, listener: UnixListener, service: Router) {
        loop {
            let Ok(place) = Arc::clone(&self.local).acquire_owned().await else { return };
            match listener.accept().await {
                Ok((stream, _)) => self.serve_connection(stream, service.clone(), place),
                Err(failure) => rest(&failure).await,
            }
        }
    }

    async fn accept_tcp(self: Arc<Self>, listener: TcpListener, acceptor: Option<TlsAcceptor>, service: Router) {
        loop {
            // Waiting for a place leaves new connections in the kernel's queue; it is bounded too.
            let Ok(place) = Arc::clone(&self.remote).acquire_owned().await else { return };
            let stream = match listener.accept().await {
                Ok((stream, _)) => stream,
                Err(failure) => {
                    rest(&failure).await;
                    continue;
                }
            };
            if let Err(failure) = detect_dead_peers(&stream) {
                debug!(error = %failure, "cannot set socket options: {failure}");
            }
            match &acceptor {
                None => self.serve_connection(stream, service.clone(), place),
                Some(acceptor) => self.handshake(acceptor.clone(), stream, service.clone(), place),
            }
        }
    }

    /// Handshakes in a task of its own, so that a slow client holds up nobody.
    fn handshake(&self, acceptor: TlsAcceptor, stream: TcpStream, service: Router, place: OwnedSemaphorePermit) {
        let watcher = self.graceful.watcher();
        let mut stop = self.stop.clone();
        tokio::spawn(async move {
            let accepted = tokio::select! {
                accepted = tokio::time::timeout(limits::HANDSHAKE_TIMEOUT, acceptor.accept(stream)) => accepted,
                _ = stop.wait_for(|stop| *stop) => return,
            };
            match accepted {
                Ok(Ok(stream)) => {
                    let http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
                    ended(watcher.watch(connection(stream, service, http2)).await);
                }
                Ok(Err(failure)) => debug!(error = %failure, "TLS handshake failed: {failure}"),
                Err(_) => debug!("a TLS handshake took too long"),
            }
            drop(place);
        });
    }

    fn serve_connection<S>(&self, stream: S, service: Router, place: OwnedSemaphorePermit)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let watcher = self.graceful.watcher();
        tokio::spawn(async move {
            ended(watcher.watch(connection(stream, service, false)).await);
            drop(place);
        });
    }
}

type Connection<S> =
    auto::UpgradeableConnection<'static, TokioIo<Impatient<S>>, TowerToHyperService<Router>, TokioExecutor>;

/// A connection of the version that was agreed on. To find it out from the first bytes would wait for them without a limit.
fn connection<S>(stream: S, service: Router, http2: bool) -> Connection<S>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let builder = auto::Builder::new(TokioExecutor::new());
    let mut builder = if http2 { builder.http2_only() } else { builder.http1_only() };
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(limits::HEADER_TIMEOUT)
        .max_buf_size(limits::CONNECTION_BUFFER);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(limits::HTTP2_STREAMS_MAX)
        // A peer that went away without a word holds a place for ever otherwise.
        .keep_alive_interval(Some(limits::DEAD_PEER_TIMEOUT))
        .keep_alive_timeout(Duration::from_secs(20));
    let stream = TokioIo::new(Impatient::new(stream));
    builder.serve_connection_with_upgrades(stream, TowerToHyperService::new(service)).into_owned()
}

fn ended(result: Result<(), Box<dyn std::error::Error + Send + Sync>>) {
    if let Err(failure) = result {
        debug!(error = %failure, "a connection ended: {failure}");
    }
}

async fn rest(failure: &io::Error) {
    warn!(error = %failure, "cannot accept connections for the moment: {failure}");
    tokio::time::sleep(ACCEPT_REST).await;
}

/// Streams may be idle for long, so only TCP itself can tell that a peer is gone (W-134).
fn detect_dead_peers(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    rustix::net::sockopt::set_socket_keepalive(stream, true)?;
    rustix::net::sockopt::set_tcp_keepidle(stream, limits::DEAD_PEER_TIMEOUT)?;
    rustix::net::sockopt::set_tcp_keepintvl(stream, Duration::from_secs(20))?;
    let millis = u32::try_from(limits::DEAD_PEER_TIMEOUT.as_millis()).unwrap_or(u32::MAX);
    Ok(rustix::net::sockopt::set_tcp_user_timeout(stream, millis)?)
}
