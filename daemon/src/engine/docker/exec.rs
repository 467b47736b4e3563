//! A command inside a running container: begun, read and waited for within bounds.

use bollard::{
    Docker,
    exec::{CreateExecOptions, StartExecOptions, StartExecResults},
};
use bytes::BytesMut;
use futures_util::StreamExt as _;

use super::super::{ExecEnd, ExecLimits};

/// Exit codes with which the engine says that the runtime could not begin the command; its words are the output then.
const NOT_BEGUN: [i64; 2] = [126, 127];
const RUNTIME_SAYS: &[u8] = b"OCI runtime exec failed";

pub(super) enum Failure {
    /// The runtime's words.
    NotBegun(String),
    Engine(bollard::errors::Error),
}

impl From<bollard::errors::Error> for Failure {
    fn from(error: bollard::errors::Error) -> Self {
        Self::Engine(error)
    }
}

pub(super) async fn run(client: &Docker, id: &str, command: &[String], limits: ExecLimits) -> Result<ExecEnd, Failure> {
    let options = CreateExecOptions {
        cmd: Some(command.to_vec()),
        attach_stdout: Some(true),
        attach_stderr: Some(true),
        ..CreateExecOptions::default()
    };
    let exec = client.create_exec(id, options).await?.id;
    match tokio::time::timeout(limits.time, finish(client, &exec, limits.output_bytes)).await {
        Ok(end) => end,
        Err(_) => {
            kill(client, id, &exec).await;
            Ok(ExecEnd::TimedOut)
        }
    }
}

async fn finish(client: &Docker, exec: &str, output_bytes: usize) -> Result<ExecEnd, Failure> {
    let started = client.start_exec(exec, None::<StartExecOptions>).await?;
    let mut output = BytesMut::new();
    if let StartExecResults::Attached { output: mut frames, .. } = started {
        while let Some(frame) = frames.next().await {
            let bytes = frame?.into_bytes();
            let room = output_bytes.saturating_sub(output.len());
            output.extend_from_slice(&bytes[..bytes.len().min(room)]);
        }
    }
    let exit_code = client.inspect_exec(exec).await?.exit_code.unwrap_or_default();
    if NOT_BEGUN.contains(&exit_code) && output.starts_with(RUNTIME_SAYS) {
        return Err(Failure::NotBegun(String::from_utf8_lossy(&output).trim().to_owned()));
    }
    Ok(ExecEnd::Exited { exit_code, output: output.freeze() })
}

/// The engine has no call for this. Where its processes are visible to us (D-1001), the one that it names and that is in the container's
/// cgroup gets KILL; elsewhere it runs on to its own end.
async fn kill(client: &Docker, id: &str, exec: &str) {
    let Ok(found) = client.inspect_exec(exec).await else { return };
    let pid = found.pid.and_then(|pid| i32::try_from(pid).ok()).filter(|_| found.running == Some(true));
    let Some(pid) = pid.and_then(rustix::process::Pid::from_raw) else { return };
    let cgroup = std::fs::read_to_string(format!("/proc/{}/cgroup", pid.as_raw_nonzero()));
    if cgroup.is_ok_and(|cgroup| cgroup.contains(id))
        && let Err(error) = rustix::process::kill_process(pid, rustix::process::Signal::KILL)
    {
        tracing::debug!(container = id, error = %error, "a command that took too long runs on");
    }
}
