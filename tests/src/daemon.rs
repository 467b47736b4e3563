//! The daemon as its users run it: a process with a data directory.

use std::{
    os::unix::process::ExitStatusExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use bytes::Bytes;
use tempfile::TempDir;

use crate::{Client, docker_host, engine, eventually};

/// The program under test: `JOBD_BIN`, or what was built beside this test.
///
/// # Panics
/// When there is none: `cargo build -p jobd` makes it.
#[must_use]
pub fn program() -> PathBuf {
    if let Some(path) = std::env::var_os("JOBD_BIN") {
        return path.into();
    }
    let test = std::env::current_exe().unwrap_or_default();
    // A program lies beside it, a test one folder below.
    let places = test.ancestors().skip(1).take(2).map(|dir| dir.join("jobd"));
    let path = places.into_iter().find(|path| path.is_file()).unwrap_or_default();
    assert!(path.is_file(), "no jobd beside {}; build it with `cargo build -p jobd`", test.display());
    path
}

/// A running daemon. When dropped it is killed, and its containers are removed.
pub struct Daemon {
    dir: TempDir,
    child: Option<Child>,
    arguments: Vec<String>,
    environment: Vec<(String, String)>,
}

impl Daemon {
    /// Starts a daemon on a new data directory, with the socket only.
    pub async fn start() -> Self {
        Self::start_with(&["--no-listen"], &[]).await
    }

    /// Starts a daemon on a new data directory with these flags and environment variables, and waits until it is ready.
    ///
    /// # Panics
    /// When it does not become ready.
    pub async fn start_with(arguments: &[&str], environment: &[(&str, &str)]) -> Self {
        let mut daemon = Self::prepare(arguments, environment);
        daemon.spawn();
        daemon.ready().await;
        daemon
    }

    /// A data directory and flags, nothing started.
    ///
    /// # Panics
    /// When no directory can be made.
    #[must_use]
    pub fn prepare(arguments: &[&str], environment: &[(&str, &str)]) -> Self {
        Self {
            dir: tempfile::Builder::new().prefix("jobd-test-").tempdir().expect("a temporary directory"),
            child: None,
            arguments: arguments.iter().map(ToString::to_string).collect(),
            environment: environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
        }
    }

    /// Starts the process (again).
    ///
    /// # Panics
    /// When the program cannot be started.
    pub fn spawn(&mut self) {
        self.spawn_program(&program(), &[]);
    }

    /// Starts the process from another binary or with more environment.
    ///
    /// # Panics
    /// When the program cannot be started.
    pub fn spawn_program(&mut self, program: &Path, environment: &[(&str, &str)]) {
        let log = std::fs::File::options().create(true).append(true).open(self.log_path()).expect("a log file");
        let child = Command::new(program)
            .arg("serve")
            .arg("--data-dir")
            .arg(self.data_dir())
            .args(&self.arguments)
            .env("DOCKER_HOST", docker_host())
            .env("JOBD_LOG", std::env::var("JOBD_LOG").unwrap_or_else(|_| "info,jobd=debug".to_owned()))
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .envs(environment.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("the program starts");
        self.child = Some(child);
    }

    /// Waits until `/readyz` answers.
    ///
    /// # Panics
    /// When the daemon ends or is not ready in time; with its log.
    pub async fn ready(&mut self) {
        let client = self.client();
        eventually("the daemon to be ready", async || {
            if let Some(status) = self.child.as_mut().and_then(|child| child.try_wait().ok().flatten()) {
                panic!("the daemon ended with {status}:\n{}", self.log());
            }
            match client.try_request("GET", "/readyz", &[], Bytes::new()).await {
                Ok(answer) if answer.status == 200 => Ok(()),
                Ok(answer) => Err(answer.text()),
                Err(error) => Err(format!("{error}; log:\n{}", self.log())),
            }
        })
        .await;
    }

    #[must_use]
    pub fn data_dir(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    fn log_path(&self) -> PathBuf {
        self.dir.path().join("log")
    }

    /// Everything the daemon has logged.
    #[must_use]
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.log_path()).unwrap_or_default()
    }

    /// Log lines that an operator should see to: WARN and ERROR.
    #[must_use]
    pub fn complaints(&self) -> Vec<String> {
        self.log()
            .lines()
            .filter(|line| line.contains(" WARN ") || line.contains("ERROR "))
            .map(str::to_owned)
            .collect()
    }

    #[must_use]
    pub fn client(&self) -> Client {
        Client::new(&self.data_dir().join("jobd.sock"))
    }

    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.as_ref().map_or(0, Child::id)
    }

    /// Resident memory of the process, in KB.
    #[must_use]
    pub fn rss_kb(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        line.and_then(|rest| rest.split_whitespace().next()?.parse().ok()).unwrap_or_default()
    }

    /// Whether the process has ended; with the signal that ended it, if one did.
    pub fn ended(&mut self) -> Option<Option<i32>> {
        let status = self.child.as_mut()?.try_wait().ok()??;
        Some(status.signal())
    }

    /// SIGKILL, and waits for the end.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            drop(child.kill());
            drop(child.wait());
        }
    }

    /// SIGTERM, and waits for the end: the daemon leaves its containers running.
    ///
    /// # Panics
    /// When it does not end by itself with success.
    pub async fn terminate(&mut self) {
        let Some(mut child) = self.child.take() else { return };
        let sent = Command::new("kill").arg("-TERM").arg(child.id().to_string()).status();
        assert!(sent.is_ok_and(|status| status.success()), "SIGTERM could not be sent");
        let status = eventually("the daemon to end after SIGTERM", async || match child.try_wait() {
            Ok(Some(status)) => Ok(status),
            other => Err(format!("{other:?}")),
        })
        .await;
        assert!(status.success(), "after SIGTERM the daemon ended with {status}:\n{}", self.log());
    }

    /// The id on the label of every container of this daemon.
    ///
    /// # Panics
    /// When the database has none.
    #[must_use]
    pub fn instance(&self) -> String {
        let output = Command::new("sqlite3")
            .arg(self.data_dir().join("jobd.db"))
            .arg("SELECT instance_id FROM meta")
            .output()
            .expect("sqlite3 runs");
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = self.log();
            let tail = log.char_indices().rev().nth(8000).map_or(0, |(at, _)| at);
            println!("--- the end of the daemon's log ---\n{}", &log[tail..]);
        }
        self.kill();
        if self.data_dir().join("jobd.db").exists() {
            engine::remove_all(&self.instance());
        }
        engine::unmount_below(self.dir.path());
    }
}
