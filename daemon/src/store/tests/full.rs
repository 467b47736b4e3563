//! A full disk (R-9, F-5), and what other failures of the database lead to.

use std::borrow::Cow;

use super::*;
use crate::store::{fault::Fault, reserve::limit};

/// Fills the disk: no page more than the database has now.
async fn fill_disk(place: &Place) {
    use sqlx::ConnectOptions as _;
    let mut connection = schema::reader_settings(&place.path()).connect().await.unwrap();
    let pages: i64 =
        sqlx::query_scalar("SELECT page_count FROM pragma_page_count").fetch_one(&mut connection).await.unwrap();
    std::fs::write(schema::beside(&place.path(), limit::EXTENSION), pages.to_string()).unwrap();
}

fn free_disk(place: &Place) {
    std::fs::remove_file(schema::beside(&place.path(), limit::EXTENSION)).unwrap();
}

fn reserve_is_there(place: &Place) -> bool {
    schema::beside(&place.path(), "reserve").exists()
}

fn large(name: &str) -> Request {
    create(&config_map(name), &"x".repeat(200_000))
}

fn urgent(writes: Vec<Write>) -> Request {
    Request { urgent: true, ..request(vec![], writes) }
}

#[tokio::test]
async fn a_full_disk_refuses_creates_lets_deletes_and_status_writes_through_and_heals() {
    let (place, store) = open().await;
    let (a, b) = (config_map("a"), config_map("b"));
    commit(&store, vec![put(&a, "1"), put(&b, "1")]).await;
    store.close().await;
    fill_disk(&place).await;
    let store = place.open().await;
    assert!(reserve_is_there(&place));

    // One batch: what is urgent is committed with the space of the reserve, the rest is told why not.
    let status = put(&a, &"status".repeat(20_000));
    let (refused, status, deleted) = tokio::join!(
        store.write(large("new")),
        store.write(urgent(vec![status])),
        store.write(urgent(vec![delete(&b)]))
    );
    assert!(matches!(refused.unwrap_err(), Error::Full { .. }));
    assert_eq!(status.unwrap().revisions, [Revision(3)], "the refused create used up no revision");
    assert_eq!(deleted.unwrap().revisions, [Revision(4)]);
    assert!(!reserve_is_there(&place));
    let names = |objects: &[Stored]| objects.iter().map(|stored| stored.key.name.clone()).collect::<Vec<_>>();
    let chunk = store.list(&ListQuery::all(Kind::ConfigMap, 10)).await.unwrap();
    assert_eq!((names(&chunk.items), chunk.revision), (vec!["a".to_owned()], Revision(4)));
    let (changes, complete) = store.changes(None, Revision(2), 10).await.unwrap();
    assert_eq!((changes.len(), complete), (2, Revision(4)));

    // Refused at once while it is full, even when looked at again.
    assert!(matches!(store.write(create(&b, "2")).await.unwrap_err(), Error::Full { .. }));
    place.clock.advance(Duration::from_secs(6));
    assert!(matches!(store.write(create(&b, "2")).await.unwrap_err(), Error::Full { .. }));
    assert!(store.write(urgent(vec![put(&a, "2")])).await.is_ok());

    // Somebody frees space: it goes on by itself, and the reserve is back.
    free_disk(&place);
    assert!(
        matches!(store.write(create(&b, "2")).await.unwrap_err(), Error::Full { .. }),
        "it looks every five seconds"
    );
    place.clock.advance(Duration::from_secs(6));
    assert_eq!(store.write(create(&b, "2")).await.unwrap().revisions, [Revision(6)]);
    assert!(reserve_is_there(&place));
    assert_eq!(list_at(&store, None).await.unwrap(), "a@5 2, b@6 2");
}

#[tokio::test]
async fn a_disk_without_even_the_reserve_refuses_everything_and_damages_nothing() {
    let (place, store) = open().await;
    let a = config_map("a");
    commit(&store, vec![put(&a, "1")]).await;
    store.close().await;
    fill_disk(&place).await;
    let store = place.open().await;
    assert!(matches!(store.write(large("new")).await.unwrap_err(), Error::Full { .. }));
    // More than the reserve holds.
    for _ in 0..2 {
        let much = put(&a, &"x".repeat(20 << 20));
        assert!(matches!(store.write(urgent(vec![much])).await.unwrap_err(), Error::Full { .. }));
        assert_eq!(list_at(&store, None).await.unwrap(), "a@1 1");
    }
    assert_eq!(store.write(urgent(vec![put(&a, "2")])).await.unwrap().revisions, [Revision(2)]);
    // Full from the start: the reserve cannot be made again.
    store.close().await;
    let store = place.open().await;
    assert!(matches!(store.write(create(&config_map("b"), "")).await.unwrap_err(), Error::Full { .. }));
    assert!(store.write(urgent(vec![delete(&a)])).await.is_ok());
    assert_eq!(store.latest(), Revision(3));
}

/// An error as SQLite would report it.
#[derive(Debug)]
struct Reported(i32);

impl std::fmt::Display for Reported {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "code {}", self.0)
    }
}

impl std::error::Error for Reported {}

impl sqlx::error::DatabaseError for Reported {
    fn message(&self) -> &'static str {
        "disk I/O error"
    }

    fn code(&self) -> Option<Cow<'_, str>> {
        Some(self.0.to_string().into())
    }

    fn as_error(&self) -> &(dyn std::error::Error + Send + Sync + 'static) {
        self
    }

    fn as_error_mut(&mut self) -> &mut (dyn std::error::Error + Send + Sync + 'static) {
        self
    }

    fn into_error(self: Box<Self>) -> Box<dyn std::error::Error + Send + Sync + 'static> {
        self
    }

    fn kind(&self) -> sqlx::error::ErrorKind {
        sqlx::error::ErrorKind::Other
    }
}

fn reported(code: i32) -> sqlx::Error {
    sqlx::Error::Database(Box::new(Reported(code)))
}

#[test]
fn knows_what_sqlites_codes_mean() {
    for (code, want) in [
        (13, Fault::Full),
        (10 | 19 << 8, Fault::Full),
        (10 | 4 << 8, Fault::Sync),
        (10 | 5 << 8, Fault::Sync),
        (10 | 3 << 8, Fault::Other),
        (7, Fault::Other),
        (5, Fault::Busy),
        (11, Fault::Other),
        (19, Fault::Constraint),
        (19 | 8 << 8, Fault::Constraint),
    ] {
        assert_eq!(Fault::of(&reported(code)), want, "{code}");
    }
    assert_eq!(Fault::of(&sqlx::Error::WorkerCrashed), Fault::Other);
}

#[tokio::test]
async fn a_failed_sync_ends_the_store_and_says_so() {
    // F-4: no success later by luck.
    let place = Place::new();
    let (store, mut writer, inbox) = Store::prepare(place.options()).await.unwrap();
    let next = writer.recover(&reported(10 | 4 << 8), 1).await;
    assert!(matches!(next, writer::Next::Answer(Error::Database { .. })), "{next:?}");
    writer.run(inbox).await;
    let failure = store.failed().await;
    assert!(failure.to_string().contains("disk I/O error"), "{failure}");
    assert_eq!(store.write(create(&config_map("a"), "")).await.unwrap_err().to_string(), failure.to_string());
    // The next start reads the disk.
    let store = place.open().await;
    assert_eq!(commit(&store, vec![put(&config_map("a"), "1")]).await, [1]);
}

#[tokio::test]
async fn goes_on_with_a_new_connection_after_another_failure() {
    let place = Place::new();
    let (store, mut writer, inbox) = Store::prepare(place.options()).await.unwrap();
    let next = writer.recover(&reported(10 | 3 << 8), 3).await;
    assert!(matches!(next, writer::Next::Answer(Error::Database { .. })), "{next:?}");
    tokio::spawn(writer.run(inbox));
    assert_eq!(commit(&store, vec![put(&config_map("a"), "1")]).await, [1]);
}

#[tokio::test]
async fn follows_a_commit_that_was_reported_as_failed_but_happened() {
    use sqlx::ConnectOptions as _;
    let place = Place::new();
    let (store, mut writer, inbox) = Store::prepare(place.options()).await.unwrap();
    let other = sqlx::sqlite::SqliteConnectOptions::new().filename(place.path());
    let mut other = other.connect().await.unwrap();
    let committed = "BEGIN; INSERT INTO versions VALUES (1, 'configmaps', 'default', 'a', NULL, 0, '{\"uid\":\"u\"}', \
        '{\"data\":{\"text\":\"1\"},\"metadata\":{}}'); INSERT INTO objects VALUES (1, 'configmaps', 'default', 'a', 1, 'u', \
        NULL, 0, 0, 0, NULL, NULL, NULL, NULL); UPDATE meta SET last_revision = 1; COMMIT";
    sqlx::raw_sql(committed).execute(&mut other).await.unwrap();
    writer.recover(&reported(10), 1).await;
    tokio::spawn(writer.run(inbox));
    assert_eq!(store.latest(), Revision(1));
    assert_eq!(commit(&store, vec![put(&config_map("a"), "2")]).await, [2]);
    assert_eq!(changes_after(&store, 0).await.unwrap(), "1 Created a 1\n2 Modified a 2 (was 1)");
}

#[tokio::test]
async fn a_writer_that_panics_is_a_failed_store() {
    let place = Place::new();
    let (store, writer, inbox) = Store::prepare(place.options()).await.unwrap();
    drop((writer, inbox));
    assert!(store.failed().await.to_string().contains("ended unexpectedly"));
    assert!(matches!(store.write(create(&config_map("a"), "")).await, Err(Error::Database { .. })));
}

#[tokio::test]
async fn a_shell_that_holds_the_file_fails_writes_but_not_the_store() {
    use sqlx::ConnectOptions as _;
    let (place, store) = open().await;
    let mut shell = sqlx::sqlite::SqliteConnectOptions::new().filename(place.path()).connect().await.unwrap();
    sqlx::raw_sql("BEGIN IMMEDIATE").execute(&mut shell).await.unwrap();
    let error = store.write(create(&config_map("a"), "1")).await.unwrap_err();
    assert!(error.to_string().contains("locked"), "{error}");
    sqlx::raw_sql("ROLLBACK").execute(&mut shell).await.unwrap();
    assert_eq!(commit(&store, vec![put(&config_map("a"), "1")]).await, [1]);
}

#[tokio::test]
async fn a_damaged_body_is_told_with_its_object() {
    use sqlx::ConnectOptions as _;
    let (place, store) = open().await;
    commit(&store, vec![put(&config_map("a"), "1")]).await;
    let mut shell = sqlx::sqlite::SqliteConnectOptions::new().filename(place.path()).connect().await.unwrap();
    sqlx::raw_sql("UPDATE versions SET body = '{\"metadata\":{'").execute(&mut shell).await.unwrap();
    let stored = store.get(&config_map("a")).await.unwrap().unwrap();
    assert!(matches!(stored.object().unwrap_err(), Error::Damaged { key, .. } if key == config_map("a")));
    let typed = stored.typed::<k8s_openapi::api::core::v1::ConfigMap>();
    assert!(matches!(typed.unwrap_err(), Error::Damaged { .. }));
}
