//! An engine whose calls are counted and timed for `/metrics`; what they do is the engine's beneath.

use std::{collections::BTreeMap, future::Future, time::Duration};

use bytes::Bytes;
use futures_util::stream::BoxStream;
use jiff::Timestamp;

use super::{
    Container, ContainerSpec, Engine, Error, Event, ExecEnd, ExecLimits, Image, Info, ListedContainer, ListedNetwork,
    LogFrame, LogQuery, RegistryAuth,
};
use crate::{metrics::engine as metrics, sys::Stopwatch};

/// Names of operations are the kubelet's where it has the same.
pub struct Measured<E>(pub E);

async fn call<T>(operation: &'static str, call: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    let stopwatch = Stopwatch::start();
    let result = call.await;
    // An answer that says "no such container" or "stopped already" is what was asked for.
    let is_ok = match &result {
        Ok(_) | Err(Error::NotFound(_) | Error::NotModified) => true,
        Err(Error::Unreachable(_) | Error::Conflict(_) | Error::Infrastructure(_) | Error::Refused { .. }) => false,
    };
    metrics::called(operation, is_ok, stopwatch.elapsed());
    result
}

impl<E: Engine> Engine for Measured<E> {
    async fn info(&self) -> Result<Info, Error> {
        call("status", self.0.info()).await
    }

    async fn create(&self, spec: &ContainerSpec) -> Result<String, Error> {
        call("create_container", self.0.create(spec)).await
    }

    async fn start(&self, id: &str) -> Result<(), Error> {
        call("start_container", self.0.start(id)).await
    }

    async fn inspect(&self, id: &str) -> Result<Container, Error> {
        call("container_status", self.0.inspect(id)).await
    }

    async fn list(&self, label: &str) -> Result<Vec<ListedContainer>, Error> {
        call("list_containers", self.0.list(label)).await
    }

    async fn kill(&self, id: &str, signal: &str) -> Result<(), Error> {
        call("kill_container", self.0.kill(id, signal)).await
    }

    async fn remove(&self, id: &str, force: bool) -> Result<(), Error> {
        call("remove_container", self.0.remove(id, force)).await
    }

    async fn events(
        &self,
        label: &str,
        since: Option<Timestamp>,
        until: Option<Timestamp>,
    ) -> Result<BoxStream<'static, Result<Event, Error>>, Error> {
        call("get_container_events", self.0.events(label, since, until)).await
    }

    async fn logs(&self, id: &str, query: LogQuery) -> Result<BoxStream<'static, Result<LogFrame, Error>>, Error> {
        call("container_logs", self.0.logs(id, query)).await
    }

    async fn ensure_network(&self, name: &str, labels: &BTreeMap<String, String>) -> Result<(), Error> {
        call("ensure_network", self.0.ensure_network(name, labels)).await
    }

    async fn list_networks(&self, label: &str) -> Result<Vec<ListedNetwork>, Error> {
        call("list_networks", self.0.list_networks(label)).await
    }

    async fn remove_network(&self, name: &str) -> Result<(), Error> {
        call("remove_network", self.0.remove_network(name)).await
    }

    async fn inspect_image(&self, image: &str) -> Result<Image, Error> {
        call("image_status", self.0.inspect_image(image)).await
    }

    async fn pull(&self, image: &str, auth: Option<&RegistryAuth>) -> Result<(), Error> {
        call("pull_image", self.0.pull(image, auth)).await
    }

    async fn load_image(&self, archive: Bytes) -> Result<(), Error> {
        call("load_image", self.0.load_image(archive)).await
    }

    async fn exec(&self, id: &str, command: &[String], limits: ExecLimits) -> Result<ExecEnd, Error> {
        call("exec_sync", self.0.exec(id, command, limits)).await
    }

    async fn is_lost(&self, id: &str) -> Result<bool, Error> {
        call("container_processes", self.0.is_lost(id)).await
    }

    async fn ping(&self) -> Result<Duration, Error> {
        call("ping", self.0.ping()).await
    }
}
