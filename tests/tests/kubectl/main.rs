//! kubectl over HTTPS with the kubeconfig that the daemon writes, in each version that is on the machine (section 5.1 of the wire rules).

use futures_util::future::join_all;
use jobd_tests::{
    Daemon,
    kubectl::{self, Following, Kubectl, Output},
};

mod apply;
mod change;
mod delete;
mod describe;
mod pods;
mod read;

const HELLO: &str = "
apiVersion: batch/v1
kind: Job
metadata:
  name: hello
spec:
  template:
    spec:
      restartPolicy: Never
      containers:
        - name: main
          image: busybox:1.36
          command: [sh, -c, echo hello]
";

/// A daemon with an HTTPS port, and one kubectl.
struct Shell {
    daemon: Daemon,
    kubectl: Kubectl,
    /// `kubectl.1.33`, for messages.
    name: String,
}

/// Tells the story to every kubectl, each with a daemon of its own, side by side.
async fn each(story: impl AsyncFn(&Shell)) {
    let programs = kubectl::programs();
    assert!(!programs.is_empty(), "kubectl is not on this machine");
    join_all(programs.iter().map(async |program| {
        let daemon = Daemon::start_with(&["--listen", "127.0.0.1:0"], &[]).await;
        let dir = daemon.data_dir();
        let kubectl = Kubectl::new(program, &dir.join("kubeconfig"), &dir.with_file_name("cache"));
        let name = program.file_name().unwrap_or_default().to_string_lossy().into_owned();
        story(&Shell { daemon, kubectl, name }).await;
    }))
    .await;
}

impl Shell {
    /// Runs a command with these arguments and this standard input.
    async fn raw(&self, arguments: &[&str], stdin: &str) -> Output {
        self.kubectl.run(arguments, stdin, &[]).await
    }

    /// Runs a command that must succeed, given as words, and returns what it printed.
    async fn run(&self, command: &str) -> String {
        let arguments: Vec<_> = command.split(' ').collect();
        let output = self.raw(&arguments, "").await;
        assert_eq!(output.code, 0, "{} {command}: {}{}", self.name, output.stdout, output.stderr);
        output.stdout
    }

    /// Runs a command that must fail, and returns its complaint.
    async fn refused(&self, command: &str) -> String {
        let arguments: Vec<_> = command.split(' ').collect();
        let output = self.raw(&arguments, "").await;
        assert_ne!(output.code, 0, "{} {command}: {}{}", self.name, output.stdout, output.stderr);
        output.stderr
    }

    /// Runs commands that must succeed and print exactly this.
    async fn check(&self, commands: &[(&str, &str)]) {
        for (command, printed) in commands {
            assert_eq!(self.run(command).await, *printed, "{} {command}", self.name);
        }
    }

    /// What a command prints holds all of these texts.
    async fn check_has(&self, command: &str, texts: &[&str]) {
        let printed = self.run(command).await;
        for text in texts {
            assert!(printed.contains(text), "{} {command}: {text:?} is missing in\n{printed}", self.name);
        }
    }

    fn follow(&self, command: &str) -> Following {
        self.kubectl.follow(&command.split(' ').collect::<Vec<_>>())
    }

    async fn apply(&self, manifest: &str) -> String {
        let output = self.raw(&["apply", "-f", "-"], manifest).await;
        assert_eq!(output.code, 0, "{} apply: {}{}", self.name, output.stdout, output.stderr);
        assert_eq!(output.stderr, "", "{} apply warned", self.name);
        output.stdout
    }

    /// The first line's words of a table: its columns.
    async fn columns(&self, command: &str) -> String {
        let table = self.run(command).await;
        words(table.lines().next().unwrap_or_default()).join(" ")
    }
}

/// A table's line as words.
fn words(line: &str) -> Vec<&str> {
    line.split_whitespace().collect()
}
