//! Reads the sources and checks the house: arrows point one way, boundaries are few, every file says what it is for.

use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize().unwrap()
}

/// All Rust files below a folder: path relative to the root, text.
fn sources(folder: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut folders = vec![root().join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let name = path.strip_prefix(root()).unwrap().display().to_string();
                found.push((name, std::fs::read_to_string(&path).unwrap()));
            }
        }
    }
    found.sort();
    assert!(!found.is_empty(), "{folder} has sources");
    found
}

/// Whether code (not a comment) of a file names `word`.
fn names(text: &str, word: &str) -> bool {
    text.lines().any(|line| {
        let code = line.trim_start();
        !code.starts_with("//") && code.contains(word)
    })
}

fn is_test(path: &str) -> bool {
    path.contains("/tests/") || path.ends_with("tests.rs") || path.ends_with("testing.rs")
}

/// Each library is known in one place.
#[test]
fn each_boundary_has_one_module() {
    let mut faults = Vec::new();
    for (path, text) in sources("daemon/src").into_iter().chain(sources("api/src")) {
        // Probes are requests to containers; nothing else of the node speaks HTTP.
        let probes = "daemon/src/node/health/";
        for (word, home, other) in [
            ("sqlx", "daemon/src/store/", None),
            ("bollard", "daemon/src/engine/docker/", None),
            ("axum", "daemon/src/server/", None),
            ("hyper", "daemon/src/server/", Some(probes)),
            ("rustls", "daemon/src/server/", Some(probes)),
            ("prometheus", "daemon/src/metrics/", None),
            ("clap", "daemon/src/c", None),
        ] {
            let excused = word == "clap" && (path == "daemon/src/telemetry.rs" || is_test(&path));
            let named = names(&text, &format!("{word}::")) || names(&text, &format!("use {word}"));
            let at_home = path.starts_with(home) || other.is_some_and(|other| path.starts_with(other));
            if named && !at_home && !excused {
                faults.push(format!("{path} names {word}, which belongs in {home}"));
            }
        }
    }
    assert!(faults.is_empty(), "{faults:#?}");
}

/// cli -> server, controllers, scheduler, node -> store, engine -> api.
#[test]
fn arrows_point_one_way() {
    let mut faults = Vec::new();
    let modules =
        ["cli", "server", "controllers", "scheduler", "node", "driver", "recorder", "store", "engine", "metrics"];
    for (path, text) in sources("daemon/src").into_iter().filter(|(path, _)| !is_test(path)) {
        let Some(module) = modules.iter().find(|module| path.starts_with(&format!("daemon/src/{module}"))) else {
            continue;
        };
        let allowed: &[&str] = match *module {
            "cli" => &modules,
            // The one bridge: logs, and what the bridge is made of.
            "server" => &["server", "store", "node::streams"],
            "controllers" => &["controllers", "driver", "recorder", "store", "engine::Info", "engine;", "engine,"],
            "scheduler" => &["scheduler", "driver", "recorder", "store"],
            "node" => &["node", "driver", "recorder", "store", "engine"],
            "driver" => &["driver", "store"],
            "recorder" => &["recorder", "store"],
            "store" => &["store"],
            "engine" => &["engine"],
            "metrics" => &[],
            other => unreachable!("{other}"),
        };
        // Everybody may say what happened; nothing comes back from there.
        let anybody = |other: &&&str| **other == "metrics";
        for other in modules.iter().filter(|other| !allowed.contains(other) && !anybody(other)) {
            let bridge = allowed
                .iter()
                .any(|allowed| allowed.starts_with(&format!("{other}::")) || allowed.starts_with(&format!("{other};")));
            if !bridge && names(&text, &format!("crate::{other}::")) {
                faults.push(format!("{path} uses crate::{other}"));
            }
        }
    }
    assert!(faults.is_empty(), "{faults:#?}");
}

/// Rules are synchronous and take the time as an argument.
#[test]
fn what_decides_neither_waits_nor_looks_at_a_clock() {
    let mut faults = Vec::new();
    let pure = sources("daemon/src").into_iter().filter(|(path, _)| path.ends_with("/decide.rs"));
    for (path, text) in sources("api/src").into_iter().chain(pure).filter(|(path, _)| !is_test(path)) {
        for word in
            [".await", "async fn", "Timestamp::now()", "SystemTime::now", "Instant::now", "std::fs::", "tokio::"]
        {
            if names(&text, word) {
                faults.push(format!("{path} has `{word}`"));
            }
        }
    }
    assert!(faults.is_empty(), "{faults:#?}");
}

/// Every file begins with what it is for, and none has grown past reading.
#[test]
fn every_file_says_what_it_is_for() {
    let mut faults = Vec::new();
    for (path, text) in ["api/src", "daemon/src", "tests/src", "tests/tests"].into_iter().flat_map(sources) {
        if !text.starts_with("//!") {
            faults.push(format!("{path} does not begin with //!"));
        }
        if text.lines().count() > 900 {
            faults.push(format!("{path} has {} lines", text.lines().count()));
        }
    }
    assert!(faults.is_empty(), "{faults:#?}");
}
