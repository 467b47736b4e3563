//! Opening: whose file it is, the lock, migrations, and going on after a restart.

use super::*;

#[track_caller]
fn check_refused(opened: Result<Store, Error>, want: &str) {
    match opened {
        Ok(_) => panic!("opened"),
        Err(error) => assert!(error.to_string().contains(want), "{error}"),
    }
}

async fn run_sql(path: &std::path::Path, sql: &'static str) {
    use sqlx::{ConnectOptions as _, Connection as _};
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(path).create_if_missing(true);
    let mut connection = options.connect().await.unwrap();
    sqlx::raw_sql(sql).execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();
}

#[tokio::test]
async fn refuses_a_second_daemon_on_the_same_file() {
    let (place, store) = open().await;
    check_refused(
        Store::open(place.options()).await,
        &format!("another jobd (process {}) has it open", std::process::id()),
    );
    store.close().await;
    place.open().await;
}

#[tokio::test]
async fn refuses_a_newer_file_and_leaves_it_alone() {
    // R-10
    let (place, store) = open().await;
    store.close().await;
    run_sql(&place.path(), "PRAGMA user_version = 999").await;
    let before = std::fs::read(place.path()).unwrap();
    check_refused(Store::open(place.options()).await, "newer jobd (schema 999");
    assert!(std::fs::read(place.path()).unwrap() == before);
}

#[tokio::test]
async fn refuses_somebody_elses_file_and_leaves_it_alone() {
    let place = Place::new();
    std::fs::create_dir_all(place.path().parent().unwrap()).unwrap();
    run_sql(&place.path(), "CREATE TABLE theirs (x)").await;
    let before = std::fs::read(place.path()).unwrap();
    check_refused(Store::open(place.options()).await, "not one of jobd");
    assert!(std::fs::read(place.path()).unwrap() == before);
    std::fs::write(place.path(), "no database at all, but long enough to be taken for one".repeat(20)).unwrap();
    check_refused(Store::open(place.options()).await, "not a database");
}

#[tokio::test]
async fn creates_a_directory_and_a_file_for_its_owner_only() {
    use std::os::unix::fs::PermissionsExt as _;
    let (place, store) = open().await;
    let mode = |path: &std::path::Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(place.path().parent().unwrap()), 0o700);
    for name in ["jobd.db", "jobd.db-wal", "jobd.db-shm", "jobd.lock", "jobd.reserve"] {
        assert_eq!(mode(&place.path().with_file_name(name)), 0o600, "{name}");
    }
    store.close().await;
}

#[tokio::test]
async fn has_the_settings_that_promises_rest_on() {
    let (place, store) = open().await;
    store.close().await;
    let mut connection = schema::open(&place.path()).await.unwrap();
    for (pragma, want) in [
        ("SELECT journal_mode FROM pragma_journal_mode", "wal"),
        ("SELECT CAST(synchronous AS TEXT) FROM pragma_synchronous", "2"),
        ("SELECT CAST(auto_vacuum AS TEXT) FROM pragma_auto_vacuum", "2"),
        ("SELECT CAST(page_size AS TEXT) FROM pragma_page_size", "4096"),
        ("SELECT CAST(foreign_keys AS TEXT) FROM pragma_foreign_keys", "1"),
        ("SELECT printf('%x', application_id) FROM pragma_application_id", "6a6f6264"),
    ] {
        let have: String = sqlx::query_scalar(pragma).fetch_one(&mut connection).await.unwrap();
        assert_eq!(have, want, "{pragma}");
    }
}

#[tokio::test]
async fn goes_on_after_a_restart_with_the_next_revision() {
    // I-7: never a revision twice, not even after the newest object is gone.
    let (place, store) = open().await;
    let instance = store.instance_id().to_owned();
    let (a, b) = (config_map("a"), config_map("b"));
    commit(&store, vec![put(&a, "1"), put(&b, "1"), delete(&b)]).await;
    store.close().await;
    assert!(matches!(store.write(create(&b, "2")).await, Err(Error::Closed)));
    assert!(matches!(store.get(&a).await, Err(Error::Closed)));

    let store = place.open().await;
    assert_eq!(store.instance_id(), instance);
    assert_eq!(store.latest(), Revision(3));
    assert_eq!(list_at(&store, None).await.unwrap(), "a@1 1");
    // A watch resumes across the restart (R-6); from the history first, then from memory.
    assert_eq!(changes_after(&store, 0).await.unwrap(), "1 Created a 1\n2 Created b 1\n3 Deleted b final (was 1)");
    assert_eq!(commit(&store, vec![put(&b, "2")]).await, [4]);
    assert_eq!(changes_after(&store, 2).await.unwrap(), "3 Deleted b final (was 1)\n4 Created b 2");
    assert_eq!(changes_after(&store, 3).await.unwrap(), "4 Created b 2");
}

#[tokio::test]
async fn keeps_what_it_answered_when_it_is_not_closed() {
    // The file as a killed daemon leaves it: the log is not copied, the lock is gone with the process.
    let (place, store) = open().await;
    commit(&store, vec![put(&config_map("a"), "1")]).await;
    let copy = Place::new();
    std::fs::create_dir_all(copy.path().parent().unwrap()).unwrap();
    for name in ["jobd.db", "jobd.db-wal"] {
        std::fs::copy(place.path().with_file_name(name), copy.path().with_file_name(name)).unwrap();
    }
    let copied = copy.open().await;
    assert_eq!(list_at(&copied, None).await.unwrap(), "a@1 1");
    assert_eq!(copied.latest(), Revision(1));
}

#[tokio::test]
async fn answers_what_it_took_before_it_closes() {
    let (_place, store) = open().await;
    let writes: Vec<_> = (0..200)
        .map(|number| {
            let store = store.clone();
            tokio::spawn(async move { store.write(create(&config_map(&format!("n{number}")), "x")).await })
        })
        .collect();
    tokio::task::yield_now().await;
    store.close().await;
    for write in writes {
        let answer = write.await.unwrap();
        assert!(matches!(answer, Ok(_) | Err(Error::Closed)), "{answer:?}");
    }
}

#[tokio::test]
async fn views_can_be_read_with_a_shell() {
    use sqlx::Row as _;
    let (place, store) = open().await;
    let job = Key::new(Kind::Job, "default", "j");
    let pod = Key::new(Kind::Pod, "default", "j-abc");
    let event = Key::new(Kind::Event, "default", "j.1");
    let write = |key: &Key, index: Index, body: &str| Write::Put { key: key.clone(), index, body: body.to_owned() };
    let controlled = Index { controller_uid: Some("uid-default-j".to_owned()), ..index(&pod) };
    let involved = Index { involved_uid: Some("uid-default-j-abc".to_owned()), ..index(&event) };
    commit(
        &store,
        vec![
            write(
                &job,
                index(&job),
                r#"{"metadata":{"name":"j"},"spec":{"completions":3},"status":{"conditions":[{"status":"True","type":"Failed"}],"failed":1}}"#,
            ),
            write(
                &pod,
                controlled,
                r#"{"metadata":{"name":"j-abc"},"status":{"containerStatuses":[{"restartCount":0,"state":{"terminated":{"exitCode":3}}}],"phase":"Failed"}}"#,
            ),
            write(&event, involved, r#"{"count":2,"message":"m","metadata":{"name":"j.1"},"reason":"R","type":"Warning"}"#),
        ],
    )
    .await;
    store.close().await;
    let mut connection = schema::open(&place.path()).await.unwrap();
    for (view, columns, want) in [
        ("SELECT name, state, completions || '', failed || '' FROM jobs", 4, "j Failed 3 1"),
        ("SELECT name, job, phase, exit_code || '' FROM pods", 4, "j-abc j Failed 3"),
        ("SELECT job, pod, reason, count || '' FROM job_events", 4, "j j-abc R 2"),
        ("SELECT count(*) || '' FROM job_attempts", 1, "0"),
    ] {
        let row = sqlx::query(view).fetch_one(&mut connection).await.unwrap();
        let have: Vec<String> = (0..columns).map(|column| row.get(column)).collect();
        assert_eq!(have.join(" "), want, "{view}");
    }
}
