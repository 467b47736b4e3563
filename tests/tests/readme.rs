//! The README's examples are real: each `console` block is typed into a shell beside a fresh daemon, and must print what stands there.
//! Only ages, durations and random names may differ.

use std::process::Command;

use jobd_tests::{Daemon, kubectl};

/// A command and what stands below it.
struct Line {
    command: String,
    printed: String,
}

fn blocks() -> Vec<Vec<Line>> {
    let text = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../README.md")).unwrap();
    let blocks = text.split("```console\n").skip(1).map(|rest| rest.split("```").next().unwrap_or_default());
    let lines = |block: &str| {
        let commands = block.strip_prefix("$ ").expect("a block begins with a command").split("\n$ ");
        let line = |command: &str| {
            let (command, printed) = command.split_once('\n').unwrap_or((command, ""));
            Line { command: command.to_owned(), printed: printed.trim_end().to_owned() }
        };
        commands.map(line).collect()
    };
    blocks.map(lines).collect()
}

/// A line's words without what differs from run to run.
fn essence(text: &str) -> Vec<String> {
    let is_span = |word: &str| word.ends_with(['s', 'm']) && word.starts_with(|first: char| first.is_ascii_digit());
    let word = |word: &str| match word {
        word if is_span(word) => "SPAN".to_owned(),
        word if word.starts_with("pi-") => "POD".to_owned(),
        word => word.to_owned(),
    };
    text.lines().map(|line| line.split_whitespace().map(word).collect::<Vec<_>>().join(" ")).collect()
}

#[tokio::test]
async fn what_the_readme_shows_is_what_happens() {
    let kubectl = kubectl::programs().pop().expect("kubectl is on this machine");
    let blocks = blocks();
    assert!(blocks.len() >= 2, "the quick starts are there");
    for block in blocks {
        let daemon = Daemon::start_with(&["--listen", "127.0.0.1:0"], &[]).await;
        let dir = daemon.data_dir().display().to_string();
        let mark = "@@ end of a command @@";
        let mut script = format!("kubectl() {{ '{}' --cache-dir '{dir}/../cache' \"$@\"; }}\n", kubectl.display());
        for line in &block {
            script.push_str(&format!("{}\necho '{mark}'\n", line.command.replace("/var/lib/jobd", &dir)));
        }
        let repository = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
        let run = tokio::task::spawn_blocking(move || {
            Command::new("bash").args(["-c", &script]).current_dir(repository).output().unwrap()
        });
        let output = tokio::time::timeout(2 * jobd_tests::DEADLINE, run).await.expect("the examples end").unwrap();
        let (printed, complaints) = (
            String::from_utf8_lossy(&output.stdout).into_owned(),
            String::from_utf8_lossy(&output.stderr).into_owned(),
        );
        let parts: Vec<_> = printed.split(mark).collect();
        for (line, part) in block.iter().zip(&parts) {
            let part = part.trim_start_matches('\n').trim_end();
            assert_eq!(essence(part), essence(&line.printed), "$ {}\n{printed}\n{complaints}", line.command);
        }
        assert_eq!(complaints, "", "nothing is complained of");
    }
}
