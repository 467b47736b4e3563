//! kubectl, in the versions that lie on this machine.

use std::{
    path::{Path, PathBuf},
    process::Stdio,
};

use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines},
    process::{Child, ChildStdout, Command},
};

/// What a command printed and how it ended.
#[derive(Debug)]
pub struct Output {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Output {
    /// Standard output of a command that must succeed.
    ///
    /// # Panics
    /// When it failed.
    #[track_caller]
    #[must_use]
    pub fn ok(self) -> String {
        assert_eq!(self.code, 0, "kubectl failed: {}{}", self.stdout, self.stderr);
        self.stdout
    }
}

/// The kubectl programs to test with: `kubectl` and the versions beside the file that it links to, or those that `JOBD_KUBECTL` names (separated by `:`).
#[must_use]
pub fn programs() -> Vec<PathBuf> {
    if let Some(list) = std::env::var_os("JOBD_KUBECTL") {
        return std::env::split_paths(&list).collect();
    }
    let Ok(output) = std::process::Command::new("sh").args(["-c", "readlink -f \"$(command -v kubectl)\""]).output()
    else {
        return Vec::new();
    };
    let found = PathBuf::from(String::from_utf8_lossy(&output.stdout).trim());
    let beside: Vec<_> = ["1.27", "1.30", "1.33"]
        .into_iter()
        .map(|version| found.with_file_name(format!("kubectl.{version}")))
        .filter(|path| path.exists())
        .collect();
    if beside.is_empty() && found.exists() { vec![found] } else { beside }
}

/// One kubectl with the kubeconfig of one daemon and a cache of its own.
#[derive(Clone, Debug)]
pub struct Kubectl {
    program: PathBuf,
    kubeconfig: PathBuf,
    cache: PathBuf,
}

impl Kubectl {
    #[must_use]
    pub fn new(program: &Path, kubeconfig: &Path, cache: &Path) -> Self {
        Self { program: program.to_owned(), kubeconfig: kubeconfig.to_owned(), cache: cache.to_owned() }
    }

    fn start(&self, arguments: &[&str], environment: &[(&str, &str)]) -> Child {
        Command::new(&self.program)
            .arg("--kubeconfig")
            .arg(&self.kubeconfig)
            .arg("--cache-dir")
            .arg(&self.cache)
            .args(arguments)
            .env("HOME", &self.cache)
            .envs(environment.iter().copied())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("kubectl starts")
    }

    /// Runs a command to its end.
    ///
    /// # Panics
    /// When the program cannot be started or does not end.
    pub async fn run(&self, arguments: &[&str], stdin: &str, environment: &[(&str, &str)]) -> Output {
        let mut child = self.start(arguments, environment);
        if let Some(mut pipe) = child.stdin.take() {
            drop(pipe.write_all(stdin.as_bytes()).await);
        }
        let output = tokio::time::timeout(crate::DEADLINE, child.wait_with_output())
            .await
            .unwrap_or_else(|_| panic!("kubectl {arguments:?} did not end"))
            .expect("kubectl's output");
        Output {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// Starts a command that does not end by itself, such as `get -w`, and reads its output line by line.
    ///
    /// # Panics
    /// When the program cannot be started.
    #[must_use]
    pub fn follow(&self, arguments: &[&str]) -> Following {
        let mut child = self.start(arguments, &[]);
        let stdout = child.stdout.take().expect("its output is piped");
        Following { _child: child, lines: BufReader::new(stdout).lines(), seen: Vec::new() }
    }
}

/// A command that goes on until this is dropped.
pub struct Following {
    _child: Child,
    lines: Lines<BufReader<ChildStdout>>,
    seen: Vec<String>,
}

impl Following {
    /// Reads until a line is as wanted, and returns all lines so far.
    ///
    /// # Panics
    /// When it does not come in time, or the command ends.
    pub async fn until(&mut self, wanted: impl Fn(&str) -> bool) -> Vec<String> {
        loop {
            let line = tokio::time::timeout(crate::DEADLINE, self.lines.next_line())
                .await
                .unwrap_or_else(|_| panic!("kubectl has not printed what was waited for: {:?}", self.seen));
            let line =
                line.expect("its output can be read").unwrap_or_else(|| panic!("kubectl ended: {:?}", self.seen));
            self.seen.push(line);
            if self.seen.last().is_some_and(|line| wanted(line)) {
                return self.seen.clone();
            }
        }
    }
}
