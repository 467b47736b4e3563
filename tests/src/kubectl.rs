//! kubectl, in the versions that lie on this machine.

use std::{
    path::{Path, PathBuf},
    process::Command,
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
    let Ok(output) = Command::new("sh").args(["-c", "readlink -f \"$(command -v kubectl)\""]).output() else {
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

/// Runs kubectl with a kubeconfig and a cache of its own, to its end.
///
/// # Panics
/// When the program cannot be started.
pub async fn run(program: &Path, kubeconfig: &Path, cache: &Path, arguments: &[&str], stdin: &str) -> Output {
    use tokio::io::AsyncWriteExt as _;
    let mut child = tokio::process::Command::new(program)
        .arg("--kubeconfig")
        .arg(kubeconfig)
        .arg("--cache-dir")
        .arg(cache)
        .args(arguments)
        .env("HOME", cache)
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("kubectl starts");
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
