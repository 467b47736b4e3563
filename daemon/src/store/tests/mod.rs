//! The store against real SQLite files, with a scripted clock.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use jiff::Timestamp;
use jobd_api::{index::Index, registry::Kind};

use super::*;
use crate::sys::{Clock, Now};

mod crash;
mod full;
mod history;
mod model;
mod open;
mod present;
mod read;
mod write;

const WINDOW: Duration = Duration::from_secs(300);

/// A clock that stands still until a test moves it.
struct ScriptedClock(Mutex<Now>);

impl ScriptedClock {
    fn advance(&self, by: Duration) {
        let mut now = self.0.lock().unwrap();
        now.wall += by;
        now.boot += by;
    }

    /// Somebody sets the wall clock; time since boot does not care.
    fn set_wall(&self, wall: Timestamp) {
        self.0.lock().unwrap().wall = wall;
    }
}

impl Clock for ScriptedClock {
    fn now(&self) -> Now {
        *self.0.lock().unwrap()
    }
}

fn noon() -> Timestamp {
    "2026-06-01T12:00:00Z".parse().unwrap()
}

/// A data directory and what opens its store.
struct Place {
    directory: tempfile::TempDir,
    clock: Arc<ScriptedClock>,
}

impl Place {
    fn new() -> Self {
        let now = Now { wall: noon(), boot: Duration::from_secs(10_000) };
        Self { directory: tempfile::tempdir().unwrap(), clock: Arc::new(ScriptedClock(Mutex::new(now))) }
    }

    fn path(&self) -> std::path::PathBuf {
        self.directory.path().join("data").join("jobd.db")
    }

    fn options(&self) -> Options {
        Options { path: self.path(), clock: self.clock.clone(), history: WINDOW }
    }

    async fn open(&self) -> Store {
        Store::open(self.options()).await.unwrap()
    }
}

async fn open() -> (Place, Store) {
    let place = Place::new();
    let store = place.open().await;
    (place, store)
}

fn config_map(name: &str) -> Key {
    Key::new(Kind::ConfigMap, "default", name)
}

/// A body that tells its key and a text, as small as a body can be.
fn body(key: &Key, text: &str) -> String {
    let namespace = &key.namespace;
    let name = &key.name;
    format!(
        r#"{{"apiVersion":"v1","data":{{"text":"{text}"}},"metadata":{{"name":"{name}","namespace":"{namespace}"}}}}"#
    )
}

/// The uid is derived from the key: the same object keeps it, two objects differ.
fn index(key: &Key) -> Index {
    Index { uid: format!("uid-{}-{}", key.namespace, key.name), ..Index::default() }
}

fn put(key: &Key, text: &str) -> Write {
    put_indexed(key, text, index(key))
}

fn put_indexed(key: &Key, text: &str, index: Index) -> Write {
    Write::Put { key: key.clone(), index, body: body(key, text) }
}

fn delete(key: &Key) -> Write {
    Write::Delete { key: key.clone(), body: body(key, "final") }
}

fn request(guards: Vec<Guard>, writes: Vec<Write>) -> Request {
    Request { guards, writes, urgent: false }
}

fn create(key: &Key, text: &str) -> Request {
    request(vec![Guard::Absent(key.clone())], vec![put(key, text)])
}

async fn commit(store: &Store, writes: Vec<Write>) -> Vec<i64> {
    let committed = store.write(request(vec![], writes)).await.unwrap();
    committed.revisions.into_iter().map(|revision| revision.0).collect()
}

/// `name@revision text` for each object.
fn render(objects: &[Stored]) -> String {
    let lines: Vec<String> = objects
        .iter()
        .map(|stored| {
            let object = stored.object().unwrap();
            let text = object.text(&["data", "text"]).unwrap_or_default();
            format!("{}@{} {text}", stored.key.name, stored.revision.0)
        })
        .collect();
    lines.join(", ")
}

/// `revision type name text (was text)` for each change.
fn render_changes(changes: &[Arc<Change>]) -> String {
    let text = |body: &str| jobd_api::object::Object::parse(body).unwrap().text(&["data", "text"]).unwrap().to_owned();
    let lines: Vec<String> = changes
        .iter()
        .map(|change| {
            let was = change.previous.as_ref().map(|body| format!(" (was {})", text(body))).unwrap_or_default();
            format!("{} {:?} {} {}{was}", change.revision.0, change.change_type, change.key.name, text(&change.body))
        })
        .collect();
    lines.join("\n")
}

async fn list_at(store: &Store, at: Option<i64>) -> Result<String, Error> {
    let query = ListQuery { at: at.map(Revision), ..ListQuery::all(Kind::ConfigMap, 1000) };
    store.list(&query).await.map(|chunk| render(&chunk.items))
}

async fn changes_after(store: &Store, after: i64) -> Result<String, Error> {
    store.changes(None, Revision(after), 1000).await.map(|(changes, _)| render_changes(&changes))
}
