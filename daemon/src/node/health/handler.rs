//! What a probe or hook does: a command in the container, a request to it, a connection, a wait.

use std::time::Duration;

use k8s_openapi::{
    api::core::v1::{Container as PodContainer, EnvVar, ExecAction, HTTPGetAction, LifecycleHandler, Probe},
    apimachinery::pkg::util::intstr::IntOrString,
};
use tokio::net::TcpStream;

use super::{Subject, grpc, http, tally};
use crate::{
    engine::{Engine, Error, ExecEnd, ExecLimits},
    node::{environment::Environment, events},
};

/// What is kept of an answer.
pub(super) const OUTPUT_MAX: usize = 10 * 1024;
/// A hook's command has no limit of its own: the pod's end or deletion ends it.
const HOOK_MAX: Duration = Duration::from_secs(24 * 3600);
/// How long a hook's request may take.
const HOOK_REQUEST_MAX: Duration = Duration::from_secs(120);

/// What came of one run of a probe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Success,
    /// A success with a remark.
    Warned(String),
    Failed(String),
    /// It could not be run.
    Errored(String),
    /// The engine does not answer.
    Away,
}

impl Subject {
    /// The pod's address.
    async fn address(&self, engine: &impl Engine) -> Result<&str, String> {
        if let Some(host) = &self.host_ip {
            return Ok(host);
        }
        let ask = async || match engine.inspect(&self.network).await {
            Ok(found) if !found.ip.is_empty() => Ok(found.ip),
            Ok(_) => Err("the pod has no address".to_owned()),
            Err(error) => Err(error.to_string()),
        };
        self.address.get_or_try_init(ask).await.map(String::as_str)
    }
}

/// Runs a probe once.
pub(super) async fn probe<E: Engine>(engine: &E, subject: &Subject, probe: &Probe) -> Outcome {
    let timeout = tally::timeout(probe);
    if let Some(exec) = &probe.exec {
        let own = static_environment(subject.container.env.as_deref().unwrap_or_default());
        let words = exec.command.iter().flatten().map(|word| own.expand(word)).collect::<Vec<_>>();
        return match engine.exec(&subject.id, &words, ExecLimits { time: timeout, output_bytes: OUTPUT_MAX }).await {
            Ok(ExecEnd::Exited { exit_code: 0, .. }) => Outcome::Success,
            Ok(ExecEnd::Exited { output, .. }) => Outcome::Failed(String::from_utf8_lossy(&output).into_owned()),
            Ok(ExecEnd::TimedOut) => {
                Outcome::Failed(format!("command timed out: \"{}\" timed out after {timeout:?}", words.join(" ")))
            }
            Err(Error::Unreachable(_)) => Outcome::Away,
            Err(error) => Outcome::Errored(error.to_string()),
        };
    }
    let reached = match own_host(probe) {
        Some(host) => Ok(host),
        None => subject.address(engine).await,
    };
    let host = match reached {
        Ok(host) => host,
        Err(error) => return Outcome::Errored(error),
    };
    if let Some(get) = &probe.http_get {
        return match target(get, host, &subject.container, "kube-probe") {
            Ok(target) => http::probe(target, timeout).await,
            Err(error) => Outcome::Errored(error),
        };
    }
    if let Some(tcp) = &probe.tcp_socket {
        let port = match port(&tcp.port, &subject.container) {
            Ok(port) => port,
            Err(error) => return Outcome::Errored(error),
        };
        let place = http::join(host, port);
        return match tokio::time::timeout(timeout, TcpStream::connect((host, port))).await {
            Ok(Ok(_)) => Outcome::Success,
            Ok(Err(error)) => Outcome::Failed(format!("dial tcp {place}: connect: {}", http::reason(&error))),
            Err(_) => Outcome::Failed(format!("dial tcp {place}: i/o timeout")),
        };
    }
    if let Some(ask) = &probe.grpc {
        let Ok(port) = u16::try_from(ask.port) else {
            return Outcome::Errored(format!("invalid port number: {}", ask.port));
        };
        return grpc::probe(host, port, ask.service.as_deref().unwrap_or_default(), timeout).await;
    }
    Outcome::Errored("missing probe handler".to_owned())
}

/// The host that a probe names itself.
fn own_host(probe: &Probe) -> Option<&str> {
    let http = probe.http_get.as_ref().and_then(|get| get.host.as_deref());
    let tcp = probe.tcp_socket.as_ref().and_then(|tcp| tcp.host.as_deref());
    http.or(tcp).filter(|host| !host.is_empty())
}

/// Runs a hook.
///
/// # Errors
/// Why it failed.
pub(super) async fn run_hook<E: Engine>(engine: &E, subject: &Subject, hook: &LifecycleHandler) -> Result<(), String> {
    let place = || {
        let (container, pod) = (&subject.container.name, events::pod_identity(&subject.pod));
        format!("for Container {container:?} in Pod {pod:?} failed - error:")
    };
    if let Some(ExecAction { command }) = &hook.exec {
        let command = command.as_deref().unwrap_or_default();
        let words = command.join(" ");
        let failed = |error: String, output: &[u8]| {
            let output = String::from_utf8_lossy(output);
            Err(format!("Exec lifecycle hook ([{words}]) {} {error}, message: {output:?}", place()))
        };
        return match engine.exec(&subject.id, command, ExecLimits { time: HOOK_MAX, output_bytes: OUTPUT_MAX }).await {
            Ok(ExecEnd::Exited { exit_code: 0, .. }) => Ok(()),
            Ok(ExecEnd::Exited { exit_code, output }) => failed(
                format!("command '{words}' exited with {exit_code}: {}", String::from_utf8_lossy(&output)),
                &output,
            ),
            Ok(ExecEnd::TimedOut) => failed(format!("command '{words}' did not end"), &[]),
            Err(error) => failed(error.to_string(), &[]),
        };
    }
    if let Some(get) = &hook.http_get {
        let path = get.path.as_deref().unwrap_or_default();
        let failed = |error: String| format!("HTTP lifecycle hook ({path}) {} {error}", place());
        let host = match get.host.as_deref().filter(|host| !host.is_empty()) {
            Some(host) => host,
            None => subject.address(engine).await.map_err(failed)?,
        };
        let target = target(get, host, &subject.container, "kube-lifecycle").map_err(failed)?;
        return http::call(target, HOOK_REQUEST_MAX).await.map_err(failed);
    }
    if let Some(sleep) = &hook.sleep {
        tokio::time::sleep(Duration::from_secs(u64::try_from(sleep.seconds).unwrap_or(0))).await;
        return Ok(());
    }
    // `tcpSocket` has never been run for hooks; the API takes it nevertheless.
    Err("invalid handler: only exec, httpGet and sleep can be run".to_owned())
}

fn target(get: &HTTPGetAction, host: &str, container: &PodContainer, agent: &str) -> Result<http::Target, String> {
    let headers = get.http_headers.iter().flatten().map(|header| (header.name.clone(), header.value.clone()));
    Ok(http::Target {
        tls: get.scheme.as_deref() == Some("HTTPS"),
        host: host.to_owned(),
        port: port(&get.port, container)?,
        path: get.path.clone().unwrap_or_default(),
        headers: headers.collect(),
        agent: format!("{agent}/1.36"),
    })
}

/// By number, or by the name that the container's own ports give it.
fn port(port: &IntOrString, container: &PodContainer) -> Result<u16, String> {
    let number = match port {
        IntOrString::Int(number) => *number,
        IntOrString::String(name) => {
            let named = container.ports.iter().flatten().find(|port| port.name.as_ref() == Some(name));
            match named.map(|port| port.container_port).or_else(|| name.parse().ok()) {
                Some(number) => number,
                None => return Err(format!("port {name} not found")),
            }
        }
    };
    u16::try_from(number).ok().filter(|port| *port != 0).ok_or_else(|| format!("invalid port number: {number}"))
}

/// A probe's command sees only what the manifest gives as literal values.
fn static_environment(variables: &[EnvVar]) -> Environment {
    let given = variables.iter().filter_map(|variable| Some((variable.name.clone(), variable.value.clone()?)));
    given.collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn ports_are_numbers_or_names_of_the_container() {
        let container: PodContainer = serde_json::from_value(json!({
            "name": "c", "ports": [{"name": "web", "containerPort": 8080}],
        }))
        .unwrap();
        let check = |given: IntOrString, want: Result<u16, &str>| {
            assert_eq!(port(&given, &container), want.map_err(str::to_owned));
        };
        check(IntOrString::Int(80), Ok(80));
        check(IntOrString::String("web".to_owned()), Ok(8080));
        check(IntOrString::String("81".to_owned()), Ok(81));
        check(IntOrString::String("other".to_owned()), Err("port other not found"));
        check(IntOrString::Int(70_000), Err("invalid port number: 70000"));
    }
}
