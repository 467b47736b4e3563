//! Log set-up, and the spelling of field names that events use everywhere:
//! `namespace job cronjob pod container uid index attempt revision reason exit_code elapsed_ms error`.

use tracing_subscriber::{filter::Targets, fmt::time::SystemTime, prelude::*};

/// How log lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// For people: one line per event, coloured on a terminal.
    #[default]
    Text,
    /// For programs: one JSON object per line.
    Json,
}

/// Starts logging to standard error. `filter` is a `tracing` directive such as `info` or `jobd::node=debug`.
///
/// # Errors
/// When the filter is not understood.
pub fn start(format: LogFormat, filter: &str) -> anyhow::Result<()> {
    let filter = filter
        .parse::<Targets>()
        .map_err(|error| anyhow::anyhow!("--log {filter:?} is not a log filter ({error}); try `info` or `debug`"))?;
    let registry = tracing_subscriber::registry().with(filter);
    let layer = tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_timer(SystemTime).with_target(false);
    let started = match format {
        LogFormat::Text => {
            use std::io::IsTerminal as _;
            registry.with(layer.with_ansi(std::io::stderr().is_terminal())).try_init()
        }
        LogFormat::Json => registry.with(layer.json().flatten_event(true)).try_init(),
    };
    // A second start in one process (tests) keeps the first.
    drop(started);
    Ok(())
}

/// An error with all its causes in one line: what every `error` field holds.
#[must_use]
pub fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
