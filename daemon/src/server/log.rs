//! GET of a pod's log (W-150 to W-157): which attempt of which container, then its bytes as they come.

use std::sync::Arc;

use axum::{
    body::Body,
    http::{HeaderValue, StatusCode, header},
    response::Response,
};
use futures_util::{FutureExt as _, StreamExt as _};
use jiff::{SignedDuration, Timestamp};
use jobd_api::{
    field::{FieldErrors, Path},
    status::Status,
};
use k8s_openapi::api::core::v1::{ContainerStatus, Pod, PodSpec};

use super::{Call, query::Query};
use crate::node::streams::{LogRequest, LogStream, StreamError};

/// What the query asks for.
#[derive(Debug, PartialEq, Eq)]
struct LogOptions {
    container: Option<String>,
    follow: bool,
    previous: bool,
    timestamps: bool,
    since: Option<Timestamp>,
    tail_lines: Option<u64>,
    limit_bytes: Option<u64>,
    stream: LogStream,
}

pub(crate) async fn log(call: Call) -> Result<Response, Status> {
    let options = LogOptions::parse(&call.query, &call.target.name, call.now())?;
    let stored = call.stored().await?;
    let pod = stored.typed::<Pod>().map_err(|failure| call.failed(failure))?;
    let container = choose_container(&pod, options.container.as_deref())?;
    if pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref()).unwrap_or_default().is_empty() {
        // Nothing can have run yet (W-155).
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::NO_CONTENT;
        return Ok(response);
    }
    let attempt = choose_attempt(&pod, &container, options.previous)?;
    let app = Arc::clone(&call.app);
    // Either is a place that the client holds until it has read the last byte.
    let place = if options.follow { app.limits.stream()? } else { call.permit };
    let request = LogRequest {
        namespace: call.target.namespace.clone(),
        pod: call.target.name.clone(),
        pod_uid: pod.metadata.uid.clone().unwrap_or_default(),
        container: container.clone(),
        attempt,
        follow: options.follow,
        timestamps: options.timestamps,
        since: options.since,
        tail_lines: options.tail_lines,
        limit_bytes: options.limit_bytes,
        stream: options.stream,
    };
    let bytes = app.streams.logs(request).await.map_err(|failure| match failure {
        StreamError::Absent => refuse(&container, &call.target.name, "is terminated"),
        StreamError::Failed(text) => Status::internal(text),
    })?;
    let mut stop = app.stop.subscribe();
    let stopped = async move {
        // When the sender is gone the server is too.
        let _gone = stop.wait_for(|stop| *stop).await;
    };
    let bytes = bytes.take_until(stopped.boxed()).map(move |piece| {
        let _held = &place;
        piece
    });
    let mut response = Response::new(Body::from_stream(bytes));
    // Never JSON, whatever was accepted: Python would parse it (W-151).
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    Ok(response)
}

impl LogOptions {
    fn parse(query: &Query, pod: &str, now: Timestamp) -> Result<Self, Status> {
        let tail_lines = query.integer("tailLines")?;
        let since_seconds = query.integer("sinceSeconds")?;
        let limit_bytes = query.integer("limitBytes")?;
        let since_time = query.filled("sinceTime").map(parse_time).transpose()?;
        let mut errors = FieldErrors::default();
        at_least(&mut errors, "tailLines", tail_lines, 0);
        at_least(&mut errors, "limitBytes", limit_bytes, 1);
        if since_seconds.is_some() && since_time.is_some() {
            let text = "at most one of `sinceTime` or `sinceSeconds` may be specified";
            // Of no one field: such a path prints as empty brackets.
            errors.forbidden(&Path::new("[]"), text);
        } else {
            at_least(&mut errors, "sinceSeconds", since_seconds, 1);
        }
        let stream = match query.text("stream").unwrap_or_default() {
            "" | "All" => LogStream::All,
            "Stdout" => LogStream::Stdout,
            "Stderr" => LogStream::Stderr,
            other => {
                errors.not_supported(&Path::new("stream"), other, &["All", "Stderr", "Stdout"]);
                LogStream::All
            }
        };
        if tail_lines.is_some() && stream != LogStream::All {
            errors.forbidden(&Path::new("tailLines"), "`tailLines` is forbidden when `stream` is not `All`");
        }
        if !errors.is_empty() {
            return Err(Status::invalid_kind("", "PodLogOptions", pod, &errors));
        }
        let since = since_seconds.and_then(|seconds| now.checked_sub(SignedDuration::from_secs(seconds)).ok());
        Ok(Self {
            container: query.filled("container").map(str::to_owned),
            follow: query.flag("follow"),
            previous: query.flag("previous"),
            timestamps: query.flag("timestamps"),
            since: since.or(since_time),
            tail_lines: tail_lines.and_then(|lines| u64::try_from(lines).ok()),
            limit_bytes: limit_bytes.and_then(|bytes| u64::try_from(bytes).ok()),
            stream,
        })
    }
}

fn at_least(errors: &mut FieldErrors, field: &str, value: Option<i64>, least: i64) {
    if let Some(value) = value.filter(|value| *value < least) {
        let detail = if least == 0 { "must be greater than or equal to 0" } else { "must be greater than 0" };
        errors.invalid(&Path::new(field), value, detail);
    }
}

fn parse_time(text: &str) -> Result<Timestamp, Status> {
    jobd_api::time::parse(text).ok_or_else(|| {
        Status::bad_request(format!("parsing time {text:?} as \"2006-01-02T15:04:05Z07:00\": cannot parse"))
    })
}

/// The container whose log is meant (W-154).
fn choose_container(pod: &Pod, asked: Option<&str>) -> Result<String, Status> {
    let name = pod.metadata.name.as_deref().unwrap_or_default();
    let default = PodSpec::default();
    let spec = pod.spec.as_ref().unwrap_or(&default);
    let init = spec.init_containers.iter().flatten().map(|container| &container.name);
    let main = spec.containers.iter().map(|container| &container.name);
    let ephemeral = spec.ephemeral_containers.iter().flatten().map(|container| &container.name);
    let names = init.chain(main).chain(ephemeral).cloned().collect::<Vec<_>>();
    match (asked, names.as_slice()) {
        (Some(asked), names) if names.iter().any(|name| name == asked) => Ok(asked.to_owned()),
        (Some(asked), _) => Err(Status::bad_request(format!("container {asked} is not valid for pod {name}"))),
        (None, [only]) => Ok(only.clone()),
        (None, names) => Err(Status::bad_request(format!(
            "a container name must be specified for pod {name}, choose one of: [{}]",
            names.join(" ")
        ))),
    }
}

/// The attempt whose log is meant: `restartCount` counts starts, so it is the number of the newest one (W-155).
fn choose_attempt(pod: &Pod, container: &str, previous: bool) -> Result<u32, Status> {
    let name = pod.metadata.name.as_deref().unwrap_or_default();
    let Some(status) = find_status(pod, container) else {
        return Err(refuse(container, name, "is waiting to start: no logs yet"));
    };
    let newest = u32::try_from(status.restart_count).unwrap_or_default();
    let state = status.state.as_ref();
    let waiting = state.and_then(|state| state.waiting.as_ref());
    let is_started = state.is_some_and(|state| state.running.is_some() || state.terminated.is_some());
    let ran_before = status.last_state.as_ref().is_some_and(|state| state.terminated.is_some());
    match (previous, is_started, ran_before) {
        (false, true, _) => Ok(newest),
        // Between two runs the last one that ended is both the current and the previous one.
        (false | true, false, true) => Ok(newest),
        (true, true, true) if newest > 0 => Ok(newest - 1),
        (true, ..) => Err(Status::bad_request(format!(
            "previous terminated container \"{container}\" in pod \"{name}\" not found"
        ))),
        (false, false, false) => {
            let why = match waiting.and_then(|waiting| waiting.reason.as_deref()).unwrap_or_default() {
                "" => "no logs yet",
                "ErrImagePull" => "image can't be pulled",
                "ImagePullBackOff" => "trying and failing to pull image",
                reason => reason,
            };
            Err(refuse(container, name, &format!("is waiting to start: {why}")))
        }
    }
}

fn find_status<'a>(pod: &'a Pod, container: &str) -> Option<&'a ContainerStatus> {
    let status = pod.status.as_ref()?;
    let main = status.container_statuses.iter().flatten();
    let init = status.init_container_statuses.iter().flatten();
    let ephemeral = status.ephemeral_container_statuses.iter().flatten();
    main.chain(init).chain(ephemeral).find(|status| status.name == container)
}

fn refuse(container: &str, pod: &str, why: &str) -> Status {
    Status::bad_request(format!("container \"{container}\" in pod \"{pod}\" {why}"))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn pod(status: Value) -> Pod {
        let spec =
            json!({"initContainers": [{"name": "i"}], "containers": [{"name": "a"}, {"name": "b"}], "nodeName": "n"});
        serde_json::from_value(json!({"metadata": {"name": "p"}, "spec": spec, "status": status})).unwrap()
    }

    #[test]
    fn chooses_the_container_w154() {
        let pod = pod(json!({}));
        let text = |asked| {
            choose_container(&pod, asked).unwrap_or_else(|status| format!("{} {}", status.code, status.message))
        };
        assert_eq!(text(Some("i")), "i");
        assert_eq!(text(Some("zz")), "400 container zz is not valid for pod p");
        assert_eq!(text(None), "400 a container name must be specified for pod p, choose one of: [i a b]");
    }

    #[test]
    fn chooses_the_attempt_by_restart_count_w155() {
        let waiting = |reason: &str| json!({"waiting": {"reason": reason}});
        let ended = json!({"terminated": {"exitCode": 1}});
        let running = json!({"running": {}});
        for (state, last, count, previous, want) in [
            (running.clone(), json!({}), 0, false, "0"),
            (running.clone(), ended.clone(), 2, false, "2"),
            (running.clone(), ended.clone(), 2, true, "1"),
            (running, json!({}), 0, true, "previous terminated container \"a\" in pod \"p\" not found"),
            (ended.clone(), json!({}), 0, false, "0"),
            (waiting("CrashLoopBackOff"), ended.clone(), 1, false, "1"),
            (waiting("CrashLoopBackOff"), ended, 1, true, "1"),
            (
                waiting("ContainerCreating"),
                json!({}),
                0,
                false,
                "container \"a\" in pod \"p\" is waiting to start: ContainerCreating",
            ),
            (
                waiting("ErrImagePull"),
                json!({}),
                0,
                false,
                "container \"a\" in pod \"p\" is waiting to start: image can't be pulled",
            ),
        ] {
            let one = json!({"name": "a", "image": "", "imageID": "", "ready": false, "restartCount": count, "state": state, "lastState": last});
            let got = choose_attempt(&pod(json!({"containerStatuses": [one]})), "a", previous);
            let got = got.map_or_else(|status| status.message, |attempt| attempt.to_string());
            assert_eq!(got, want);
        }
    }

    #[track_caller]
    fn check(query: &str, want: &str) {
        let now = "2026-01-01T00:00:10Z".parse().unwrap();
        let got = match LogOptions::parse(&Query::parse(query), "p", now) {
            Ok(options) => {
                format!("tail={:?} since={:?}", options.tail_lines, options.since.map(|since| since.to_string()))
            }
            Err(status) => format!("{} {}", status.code, status.message),
        };
        assert_eq!(got, want, "{query}");
    }

    #[test]
    fn reads_options_and_refuses_bad_ones_w156() {
        check(
            "tailLines=0&sinceSeconds=5&stream=Foo2&stream=",
            "422 PodLogOptions \"p\" is invalid: stream: Unsupported value: \"Foo2\": supported values: \"All\", \"Stderr\", \"Stdout\"",
        );
        check("tailLines=3&sinceSeconds=5", "tail=Some(3) since=Some(\"2026-01-01T00:00:05Z\")");
        check(
            "tailLines=-1",
            "422 PodLogOptions \"p\" is invalid: tailLines: Invalid value: -1: must be greater than or equal to 0",
        );
        check(
            "limitBytes=0",
            "422 PodLogOptions \"p\" is invalid: limitBytes: Invalid value: 0: must be greater than 0",
        );
        check("tailLines=x", "400 strconv.ParseInt: parsing \"x\": invalid syntax");
    }
}
