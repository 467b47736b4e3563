//! `jobd kubeconfig`: prints the file that the daemon wrote.

use std::io::Write as _;

use anyhow::Context as _;

use crate::config::Config;

pub(super) fn run(config: &Config) -> anyhow::Result<()> {
    let path = config.kubeconfig();
    let text = std::fs::read_to_string(&path).with_context(|| {
        format!(
            "{} cannot be read; the daemon writes it when it starts with an HTTPS port (jobd serve), and only its owner may read it",
            path.display()
        )
    })?;
    std::io::stdout().write_all(text.as_bytes()).context("standard output")
}
