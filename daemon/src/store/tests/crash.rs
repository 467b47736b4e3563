//! The process dies at a place around a commit (F-1): what was answered is there, nothing is there by half.

use std::{os::unix::process::ExitStatusExt as _, path::PathBuf, process::Command};

use super::*;

/// Tells the child below where its data is.
const DIRECTORY: &str = "JOBD_TEST_CRASH_DIRECTORY";

/// How many requests the child makes, one after the other.
const REQUESTS: usize = 5;

/// The process that is killed; without the variable there is nothing to do. Notes each answer in a file.
#[tokio::test]
async fn writes_until_it_is_killed() {
    let Some(directory) = std::env::var_os(DIRECTORY).map(PathBuf::from) else { return };
    let place = Place::new();
    let options = Options { path: directory.join("jobd.db"), ..place.options() };
    let store = Store::open(options).await.unwrap();
    for number in 0..REQUESTS {
        let (a, b) = (config_map(&format!("a{number}")), config_map(&format!("b{number}")));
        commit(&store, vec![put(&a, "x"), put(&b, "x")]).await;
        std::fs::write(directory.join("answered"), (number + 1).to_string()).unwrap();
    }
    store.close().await;
}

/// Runs the child until the failpoint; returns how many requests were answered, and whether it died.
fn run_child(directory: &std::path::Path, failpoint: &str) -> (usize, bool) {
    let status = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "store::tests::crash::writes_until_it_is_killed"])
        .env(DIRECTORY, directory)
        .env(crate::failpoint::VARIABLE, failpoint)
        .output()
        .unwrap()
        .status;
    let answered = std::fs::read_to_string(directory.join("answered")).map_or(0, |text| text.parse().unwrap());
    assert!(status.success() || status.signal() == Some(9), "{failpoint}: {status}");
    (answered, !status.success())
}

async fn check(failpoint: &str, want_answered: usize, want_stored: usize) {
    let place = Place::new();
    let directory = place.path().parent().unwrap().to_path_buf();
    std::fs::create_dir_all(&directory).unwrap();
    let (answered, died) = run_child(&directory, failpoint);
    assert_eq!((answered, died), (want_answered, true), "{failpoint}");
    let store = place.open().await;
    let names: Vec<String> = store
        .list(&ListQuery::all(Kind::ConfigMap, 100))
        .await
        .unwrap()
        .items
        .iter()
        .map(|stored| stored.key.name.clone())
        .collect();
    let pairs = |letter: char| (0..want_stored).map(move |number| format!("{letter}{number}"));
    assert_eq!(names, pairs('a').chain(pairs('b')).collect::<Vec<_>>(), "{failpoint}");
    assert_eq!(store.latest(), Revision(2 * want_stored as i64), "{failpoint}");
    let (changes, _) = store.changes(None, Revision(0), 100).await.unwrap();
    assert_eq!(changes.len(), 2 * want_stored, "{failpoint}");
    // And it goes on.
    assert_eq!(commit(&store, vec![put(&config_map("z"), "")]).await, [2 * want_stored as i64 + 1]);
}

#[tokio::test]
async fn a_kill_before_a_commit_leaves_nothing_of_it() {
    for hit in 1..=REQUESTS {
        check(&format!("store.before_commit:{hit}"), hit - 1, hit - 1).await;
    }
}

#[tokio::test]
async fn a_kill_after_a_commit_leaves_all_of_it() {
    for hit in 1..=REQUESTS {
        check(&format!("store.after_commit:{hit}"), hit - 1, hit).await;
    }
}

#[tokio::test]
async fn a_kill_around_a_migration_leaves_a_file_that_opens() {
    check("store.before_migration:1", 0, 0).await;
    check("store.after_migration:1", 0, 0).await;
}
