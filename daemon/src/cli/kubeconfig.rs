//! `jobd kubeconfig`: prints the file that the daemon wrote.

use std::{io::Write as _, path::PathBuf};

use anyhow::Context as _;

use crate::config;

/// Where the file lies.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The daemon's data directory.
    #[arg(long, env = "JOBD_DATA_DIR", default_value = config::DATA_DIR, value_parser = config::absolute, value_name = "DIR")]
    data_dir: PathBuf,
}

pub(super) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let path = config::kubeconfig(&arguments.data_dir);
    let text = std::fs::read_to_string(&path).with_context(|| {
        format!(
            "{} cannot be read; the daemon writes it when it starts with an HTTPS port (jobd serve), and only its owner may read it",
            path.display()
        )
    })?;
    std::io::stdout().write_all(text.as_bytes()).context("standard output")
}
