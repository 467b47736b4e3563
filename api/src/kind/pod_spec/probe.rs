//! Probes and lifecycle hooks.

use k8s_openapi::{
    api::core::v1::{Container, ExecAction, GRPCAction, HTTPGetAction, Probe, SleepAction, TCPSocketAction},
    apimachinery::pkg::util::intstr::IntOrString,
};

use super::{container, invalid_all, list, text, validate_choice};
use crate::field::{FieldErrors, Path};

const NEGATIVE: &str = "must be greater than or equal to 0";

/// What a probe or hook does: the union of both.
#[derive(Default)]
struct Handler<'a> {
    exec: Option<&'a ExecAction>,
    http_get: Option<&'a HTTPGetAction>,
    tcp_socket: Option<&'a TCPSocketAction>,
    grpc: Option<&'a GRPCAction>,
    sleep: Option<&'a SleepAction>,
}

/// The hooks and probes of a container that may have them.
pub(super) fn validate_all(errors: &mut FieldErrors, container: &Container, grace: Option<i64>, path: &Path) {
    if let Some(lifecycle) = &container.lifecycle {
        let path = path.child("lifecycle");
        for (field, handler) in [("postStart", &lifecycle.post_start), ("preStop", &lifecycle.pre_stop)] {
            if let Some(handler) = handler {
                let handler = Handler {
                    exec: handler.exec.as_ref(),
                    http_get: handler.http_get.as_ref(),
                    tcp_socket: handler.tcp_socket.as_ref(),
                    grpc: None,
                    sleep: handler.sleep.as_ref(),
                };
                let path = path.child(field);
                validate_handler(errors, &handler, &path);
                // A grace period that is itself wrong is told elsewhere.
                if let (Some(sleep), Some(grace)) = (handler.sleep, grace)
                    && !(0..=grace).contains(&sleep.seconds)
                {
                    let detail = format!("must be non-negative and less than terminationGracePeriodSeconds ({grace})");
                    errors.invalid(&path.child("sleep"), sleep.seconds, &detail);
                }
            }
        }
    }
    if let Some(probe) = &container.liveness_probe {
        validate_probe(errors, probe, true, &path.child("livenessProbe"));
    }
    if let Some(probe) = &container.readiness_probe {
        let path = path.child("readinessProbe");
        validate_probe(errors, probe, false, &path);
        if let Some(seconds) = probe.termination_grace_period_seconds {
            let path = path.child("terminationGracePeriodSeconds");
            errors.invalid(&path, seconds, "must not be set for readinessProbes");
        }
    }
    if let Some(probe) = &container.startup_probe {
        validate_probe(errors, probe, true, &path.child("startupProbe"));
    }
}

fn validate_probe(errors: &mut FieldErrors, probe: &Probe, one_success: bool, path: &Path) {
    let handler = Handler {
        exec: probe.exec.as_ref(),
        http_get: probe.http_get.as_ref(),
        tcp_socket: probe.tcp_socket.as_ref(),
        grpc: probe.grpc.as_ref(),
        sleep: None,
    };
    validate_handler(errors, &handler, path);
    for (field, value) in [
        ("initialDelaySeconds", probe.initial_delay_seconds),
        ("timeoutSeconds", probe.timeout_seconds),
        ("periodSeconds", probe.period_seconds),
        ("successThreshold", probe.success_threshold),
        ("failureThreshold", probe.failure_threshold),
    ] {
        if let Some(value) = value.filter(|value| *value < 0) {
            errors.invalid(&path.child(field), value, NEGATIVE);
        }
    }
    if let Some(seconds) = probe.termination_grace_period_seconds.filter(|seconds| *seconds <= 0) {
        errors.invalid(&path.child("terminationGracePeriodSeconds"), seconds, "must be greater than 0");
    }
    if one_success && let Some(threshold) = probe.success_threshold.filter(|threshold| *threshold != 1) {
        errors.invalid(&path.child("successThreshold"), threshold, "must be 1");
    }
}

fn validate_handler(errors: &mut FieldErrors, handler: &Handler<'_>, path: &Path) {
    let Handler { exec, http_get, tcp_socket, grpc, sleep } = handler;
    let given = [
        ("exec", exec.is_some()),
        ("httpGet", http_get.is_some()),
        ("tcpSocket", tcp_socket.is_some()),
        ("grpc", grpc.is_some()),
        ("sleep", sleep.is_some()),
    ];
    let mut given = given.into_iter().filter_map(|(field, given)| given.then_some(field));
    if given.next().is_none() {
        errors.required(path, "must specify a handler type");
    }
    for extra in given {
        errors.forbidden(&path.child(extra), "may not specify more than 1 handler type");
    }
    if exec.is_some_and(|exec| list(&exec.command).is_empty()) {
        errors.required(&path.child("exec").child("command"), "");
    }
    if let Some(http) = http_get {
        let path = path.child("httpGet");
        if text(&http.path).is_empty() {
            errors.required(&path.child("path"), "");
        }
        validate_port(errors, &http.port, &path.child("port"));
        validate_choice(errors, &path.child("scheme"), text(&http.scheme), &["HTTP", "HTTPS"]);
    }
    if let Some(tcp) = tcp_socket {
        validate_port(errors, &tcp.port, &path.child("tcpSocket").child("port"));
    }
    if let Some(grpc) = grpc {
        container::validate_port_number(errors, grpc.port, &path.child("grpc").child("port"));
    }
}

fn validate_port(errors: &mut FieldErrors, port: &IntOrString, path: &Path) {
    match port {
        IntOrString::Int(port) => container::validate_port_number(errors, *port, path),
        IntOrString::String(name) => invalid_all(errors, path, name, container::port_name_violations(name)),
    }
}
