//! The Docker Engine through bollard. The only module that knows either.
//!
//! A connection is made for each call (bollard's way on a Unix socket, D-103). The API version is negotiated before the first call and
//! again after the engine was away (D-101).

use std::{
    collections::{BTreeMap, HashMap},
    time::{Duration, Instant},
};

use bollard::{
    Docker,
    query_parameters::{
        CreateContainerOptions, CreateImageOptions, EventsOptions, ImportImageOptions, InspectContainerOptions,
        KillContainerOptions, ListContainersOptions, LogsOptions, RemoveContainerOptions, StartContainerOptions,
        TopOptions,
    },
};
use bytes::Bytes;
use futures_util::{StreamExt as _, stream, stream::BoxStream};
use jiff::Timestamp;
use tokio::{net::UnixStream, sync::RwLock};

use super::{
    Container, ContainerSpec, Engine, Error, Event, ExecEnd, ExecLimits, Image, Info, ListedContainer, ListedNetwork,
    LogFrame, LogQuery, RegistryAuth,
};

mod body;
mod convert;
mod errors;
mod exec;
mod network;
mod reference;

use errors::Call;

/// How long a call may wait for the engine's answer to begin.
///
/// Too short cuts calls that a busy engine would still answer, and a cut start leaves its outcome in doubt (D-406); too long
/// only delays the news that an engine hangs. Streams are not cut by it (D-103).
const ANSWER_TIMEOUT: Duration = Duration::from_secs(120);

/// The same for pulls, whose answer may begin only when a slow registry has answered.
const PULL_TIMEOUT: Duration = Duration::from_secs(3600);

/// The engine behind a Unix socket.
pub struct DockerEngine {
    /// `/var/run/docker.sock`
    socket: String,
    /// The client with the negotiated version; none before the first call and after the engine was away.
    client: RwLock<Option<Docker>>,
}

impl DockerEngine {
    /// `host` is `unix:///path/to/docker.sock` or the path alone. Nothing is sent yet.
    #[must_use]
    pub fn new(host: &str) -> Self {
        Self { socket: host.strip_prefix("unix://").unwrap_or(host).to_owned(), client: RwLock::new(None) }
    }

    async fn client(&self) -> Result<Docker, Error> {
        if let Some(client) = self.client.read().await.as_ref() {
            return Ok(client.clone());
        }
        let client = Docker::connect_with_unix(&self.socket, ANSWER_TIMEOUT.as_secs(), bollard::API_DEFAULT_VERSION)
            .map_err(|error| errors::convert(Call::Other, error))?;
        let client = client.negotiate_version().await.map_err(|error| errors::convert(Call::Other, error))?;
        *self.client.write().await = Some(client.clone());
        Ok(client)
    }

    /// Turns bollard's error into ours. An engine that does not answer may come back as another version.
    async fn failed(&self, call: Call, error: bollard::errors::Error) -> Error {
        let error = errors::convert(call, error);
        if matches!(error, Error::Unreachable(_)) {
            *self.client.write().await = None;
        }
        error
    }
}

fn label_filter(label: &str) -> HashMap<String, Vec<String>> {
    HashMap::from([("label".to_owned(), vec![label.to_owned()])])
}

/// Seconds with fraction: the engine takes no RFC 3339 with nanoseconds here (D-903).
fn unix_fraction(time: Timestamp) -> String {
    format!("{}.{:09}", time.as_second(), time.subsec_nanosecond())
}

impl Engine for DockerEngine {
    async fn info(&self) -> Result<Info, Error> {
        let client = self.client().await?;
        match tokio::try_join!(client.info(), client.version()) {
            Ok((info, version)) => {
                let peer = UnixStream::connect(&self.socket).await.and_then(|stream| stream.peer_cred());
                let local_pid = peer.ok().and_then(|peer| peer.pid()).filter(|pid| *pid > 0);
                Ok(Info { local_pid, ..convert::info(info, version) })
            }
            Err(error) => Err(self.failed(Call::Other, error).await),
        }
    }

    async fn create(&self, spec: &ContainerSpec) -> Result<String, Error> {
        let client = self.client().await?;
        let options = CreateContainerOptions { name: Some(spec.name.clone()), platform: String::new() };
        match client.create_container(Some(options), body::create_body(spec)).await {
            Ok(answer) => Ok(answer.id),
            Err(error) => Err(self.failed(Call::Create, error).await),
        }
    }

    async fn start(&self, id: &str) -> Result<(), Error> {
        let client = self.client().await?;
        match client.start_container(id, None::<StartContainerOptions>).await {
            Ok(()) => Ok(()),
            Err(error) => Err(self.failed(Call::Start, error).await),
        }
    }

    async fn inspect(&self, id: &str) -> Result<Container, Error> {
        let client = self.client().await?;
        match client.inspect_container(id, None::<InspectContainerOptions>).await {
            Ok(answer) => Ok(convert::container(answer)),
            Err(error) => Err(self.failed(Call::Other, error).await),
        }
    }

    async fn list(&self, label: &str) -> Result<Vec<ListedContainer>, Error> {
        let client = self.client().await?;
        let options = ListContainersOptions { all: true, filters: Some(label_filter(label)), ..Default::default() };
        match client.list_containers(Some(options)).await {
            Ok(answer) => Ok(answer.into_iter().map(convert::listed).collect()),
            Err(error) => Err(self.failed(Call::Other, error).await),
        }
    }

    async fn kill(&self, id: &str, signal: &str) -> Result<(), Error> {
        let client = self.client().await?;
        match client.kill_container(id, Some(KillContainerOptions { signal: signal.to_owned() })).await {
            Ok(()) => Ok(()),
            Err(error) => Err(self.failed(Call::Other, error).await),
        }
    }

    async fn remove(&self, id: &str, force: bool) -> Result<(), Error> {
        let client = self.client().await?;
        match client.remove_container(id, Some(RemoveContainerOptions { v: true, force, link: false })).await {
            Ok(()) => Ok(()),
            Err(error) => Err(self.failed(Call::Other, error).await),
        }
    }

    async fn events(
        &self,
        label: &str,
        since: Option<Timestamp>,
        until: Option<Timestamp>,
    ) -> Result<BoxStream<'static, Result<Event, Error>>, Error> {
        let client = self.client().await?;
        let mut filters = label_filter(label);
        filters.insert("type".to_owned(), vec!["container".to_owned()]);
        let options =
            EventsOptions { since: since.map(unix_fraction), until: until.map(unix_fraction), filters: Some(filters) };
        // The engine waits 100 ms at every event for a reader that falls behind (D-507). So one task does nothing but
        // read, into a queue without a bound; its length is bounded by what the engine can do while we work.
        let (sender, receiver) = tokio::sync::mpsc::unbounded_channel();
        let mut events = Box::pin(client.events(Some(options)));
        tokio::spawn(async move {
            loop {
                let item = tokio::select! {
                    item = events.next() => item,
                    () = sender.closed() => return,
                };
                let Some(item) = item else { return };
                let item = item.map(convert::event).map_err(|error| errors::convert(Call::Other, error));
                let failed = item.is_err();
                if sender.send(item).is_err() || failed {
                    return;
                }
            }
        });
        Ok(stream::unfold(receiver, |mut receiver| async move { receiver.recv().await.map(|item| (item, receiver)) })
            .boxed())
    }

    async fn logs(&self, id: &str, query: LogQuery) -> Result<BoxStream<'static, Result<LogFrame, Error>>, Error> {
        let client = self.client().await?;
        let LogQuery { follow, since } = query;
        let options = LogsOptions {
            follow,
            stdout: true,
            stderr: true,
            timestamps: true,
            // Whole seconds only here, so what comes too early is dropped below.
            since: since.map_or(0, |since| i32::try_from(since.as_second()).unwrap_or(0)),
            until: 0,
            tail: "all".to_owned(),
        };
        let frames = client.logs(id, Some(options));
        Ok(Box::pin(frames)
            .scan(Timestamp::UNIX_EPOCH, |last, item| {
                let item = item
                    .map(|output| convert::log_frame(output, last))
                    .map_err(|error| errors::convert(Call::Other, error));
                std::future::ready(Some(item))
            })
            .filter(move |item| {
                let wanted = match (item, since) {
                    (Ok(frame), Some(since)) => frame.at >= since,
                    (Ok(_), None) | (Err(_), _) => true,
                };
                std::future::ready(wanted)
            })
            .boxed())
    }

    async fn ensure_network(&self, name: &str, labels: &BTreeMap<String, String>) -> Result<(), Error> {
        let client = self.client().await?;
        match network::ensure(&client, name, labels).await {
            Ok(()) => Ok(()),
            Err(error) => Err(self.failed(Call::Other, error).await),
        }
    }

    async fn list_networks(&self, label: &str) -> Result<Vec<ListedNetwork>, Error> {
        let client = self.client().await?;
        match network::list(&client, label_filter(label)).await {
            Ok(found) => Ok(found),
            Err(error) => Err(self.failed(Call::Other, error).await),
        }
    }

    async fn remove_network(&self, name: &str) -> Result<(), Error> {
        let client = self.client().await?;
        match client.remove_network(name).await {
            Ok(()) => Ok(()),
            Err(error) => Err(self.failed(Call::Other, error).await),
        }
    }

    async fn exec(&self, id: &str, command: &[String], limits: ExecLimits) -> Result<ExecEnd, Error> {
        let client = self.client().await?;
        match exec::run(&client, id, command, limits).await {
            Ok(end) => Ok(end),
            Err(exec::Failure::NotBegun(message)) => Err(Error::Refused { status: 400, message }),
            Err(exec::Failure::Engine(error)) => Err(self.failed(Call::Other, error).await),
        }
    }

    async fn inspect_image(&self, image: &str) -> Result<Image, Error> {
        let client = self.client().await?;
        match client.inspect_image(image).await {
            Ok(answer) => Ok(convert::image(answer)),
            Err(error) => Err(self.failed(Call::Other, error).await),
        }
    }

    async fn pull(&self, image: &str, auth: Option<&RegistryAuth>) -> Result<(), Error> {
        let client = self.client().await?.with_timeout(PULL_TIMEOUT);
        // Without a tag the engine would pull every tag (D-1202).
        let (repository, tag) = reference::split(image);
        let options =
            CreateImageOptions { from_image: Some(repository), tag: Some(tag), ..CreateImageOptions::default() };
        let mut progress = Box::pin(client.create_image(Some(options), None, auth.map(convert::credentials)));
        // Failures may come in the last line of a 200 (D-1204): read to the end.
        while let Some(line) = progress.next().await {
            if let Err(error) = line {
                return Err(self.failed(Call::Pull, error).await);
            }
        }
        Ok(())
    }

    async fn load_image(&self, archive: Bytes) -> Result<(), Error> {
        let client = self.client().await?;
        let options = ImportImageOptions { quiet: true, ..ImportImageOptions::default() };
        let mut progress = Box::pin(client.import_image(options, bollard::body_full(archive), None));
        while let Some(line) = progress.next().await {
            if let Err(error) = line {
                return Err(self.failed(Call::Other, error).await);
            }
        }
        Ok(())
    }

    async fn is_lost(&self, id: &str) -> Result<bool, Error> {
        let client = self.client().await?;
        match client.top_processes(id, None::<TopOptions>).await {
            Ok(_) => Ok(false),
            Err(error) => match self.failed(Call::Other, error).await {
                // The container itself is known, its task is not (D-1604).
                Error::NotFound(text) => Ok(text.contains("task ")),
                error => Err(error),
            },
        }
    }

    #[expect(clippy::disallowed_methods, reason = "measures a call, decides nothing")]
    async fn ping(&self) -> Result<Duration, Error> {
        let started = Instant::now();
        let client = self.client().await?;
        match client.ping().await {
            Ok(_) => Ok(started.elapsed()),
            Err(error) => Err(self.failed(Call::Other, error).await),
        }
    }
}
