//! The command line: arguments in, exit code out. Each command is a file.

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::config::Config;

mod doctor;
mod kubeconfig;
mod observe;
mod serve;

/// Kubernetes Jobs without Kubernetes: takes Job manifests over the Kubernetes API and runs them on this machine's Docker
/// Engine.
#[derive(Debug, Parser)]
#[command(name = "jobd", version, propagate_version = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Runs the daemon.
    Serve(Config),
    /// Prints the kubeconfig that the daemon wrote at its first start.
    Kubeconfig(kubeconfig::Arguments),
    /// Looks at this machine and says what jobd finds: engine, cgroups, storage, rights, containers of other jobds. Give it the flags
    /// of `jobd serve`.
    Doctor(Config),
}

/// Runs the program with the process's arguments. Exit codes: 0 all is well, 1 it failed and said why, 2 the arguments
/// were not understood.
#[must_use]
pub fn main() -> ExitCode {
    let result = match Arguments::parse().command {
        Command::Serve(config) => serve::run(&config),
        Command::Kubeconfig(arguments) => kubeconfig::run(&arguments),
        Command::Doctor(config) => doctor::run(&config),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(&error);
            ExitCode::FAILURE
        }
    }
}

#[expect(clippy::print_stderr, reason = "the program's last words go to its user, not to a log")]
fn complain(error: &anyhow::Error) {
    eprintln!("jobd: {error:#}");
}
