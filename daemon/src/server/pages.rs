//! Reading a list in pieces: bounded memory however long it is, one snapshot however many pages (W-113 to W-119).

use std::time::Duration;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use jobd_api::{object::Object, status::Status};
use serde::{Deserialize, Serialize};

use super::selection::{Selection, served};
use crate::store::{Error, Revision, Store, Stored};

/// How many objects the first read of a list takes; later reads are sized by what the ones before weighed.
const FIRST_READ: usize = 32;
/// How many bytes of objects one read should take. Higher is faster for long lists; memory per running list is about
/// three times this.
const READ_BYTES: usize = 256 * 1024;
/// How many objects one read takes at most.
const READ_MAX: usize = 500;

/// Where the next page starts, and in which snapshot. Opaque to clients.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Token {
    /// 0: no snapshot; go on with what there is now.
    #[serde(rename = "rv")]
    revision: i64,
    #[serde(rename = "ns")]
    namespace: String,
    #[serde(rename = "n")]
    name: String,
    /// When the first page was read, in seconds since boot.
    #[serde(rename = "t", default)]
    begun: u64,
}

impl Token {
    pub(crate) fn parse(text: &str) -> Result<Self, Status> {
        let decoded = URL_SAFE_NO_PAD.decode(text).ok().and_then(|json| serde_json::from_slice::<Self>(&json).ok());
        decoded
            .filter(|token| token.revision >= 0)
            .ok_or_else(|| Status::bad_request("invalid continue token: it was not made by this server"))
    }

    pub(crate) fn render(&self) -> String {
        URL_SAFE_NO_PAD.encode(serde_json::json!(self).to_string())
    }

    /// The same place without its snapshot, for a client whose snapshot is gone (W-117).
    pub(crate) fn without_snapshot(&self) -> Self {
        Self { revision: 0, ..self.clone() }
    }

    /// Whether the snapshot was begun longer ago than `window`, or before the machine was last booted.
    ///
    /// The revision alone does not tell: as long as nothing is written it stays readable, and whoever pages through a list learns only at
    /// the next write that it has taken too long.
    pub(crate) fn is_older_than(&self, window: Duration, now: Duration) -> bool {
        !(self.begun..=self.begun.saturating_add(window.as_secs())).contains(&now.as_secs())
    }

    /// The snapshot, unless it was given up.
    pub(crate) fn at(&self) -> Option<Revision> {
        (self.revision > 0).then_some(Revision(self.revision))
    }
}

/// One selected object; parsed where the selectors needed it.
pub(crate) struct Item {
    pub(crate) stored: Stored,
    pub(crate) parsed: Option<Object>,
}

/// Reads the selected objects in order, from one snapshot.
pub(crate) struct Reader {
    store: Store,
    selection: Selection,
    at: Option<Revision>,
    after: Option<(String, String)>,
    /// How many more objects the client wants; none: all.
    wanted: Option<usize>,
    /// When the list's first page was read, in seconds since boot.
    begun: u64,
    next_read: usize,
    ended: bool,
    /// There are selected objects beyond what the client wanted.
    cut: bool,
}

impl Reader {
    pub(crate) fn new(store: Store, selection: Selection, at: Option<Revision>) -> Self {
        let (after, wanted, begun) = (None, None, 0);
        Self { store, selection, at, after, wanted, begun, next_read: FIRST_READ, ended: false, cut: false }
    }

    /// Only one page: at most `wanted` objects, from where `token` says; `now` is the time since boot.
    pub(crate) fn limited(mut self, wanted: Option<usize>, token: Option<&Token>, now: Duration) -> Self {
        self.wanted = wanted;
        // One that was resumed without its snapshot begins anew.
        let resumed = token.filter(|token| token.at().is_some());
        self.begun = resumed.map_or(now.as_secs(), |token| token.begun);
        self.after = token.map(|token| (token.namespace.clone(), token.name.clone()));
        self
    }

    /// The snapshot's revision, once something was read.
    pub(crate) fn revision(&self) -> Revision {
        self.at.unwrap_or_default()
    }

    /// The next objects; none at the end. May be empty in between, where nothing matched.
    pub(crate) async fn next(&mut self) -> Result<Option<Vec<Item>>, Error> {
        if self.ended {
            return Ok(None);
        }
        // One more than is wanted tells whether a page follows.
        let limit = self.wanted.map_or(self.next_read, |wanted| self.next_read.min(wanted + 1));
        let query = self.selection.query(self.at, self.after.clone(), limit);
        let chunk = self.store.list(&query).await?;
        self.at = Some(chunk.revision);
        self.size_next_read(&chunk.items);
        let mut items = Vec::with_capacity(chunk.items.len());
        for stored in chunk.items {
            let key = (stored.key.namespace.clone(), stored.key.name.clone());
            if let Some(item) = self.select(stored)? {
                if self.wanted == Some(0) {
                    (self.ended, self.cut) = (true, true);
                    return Ok(Some(items));
                }
                self.wanted = self.wanted.map(|wanted| wanted - 1);
                items.push(item);
            }
            self.after = Some(key);
        }
        self.ended = !chunk.more;
        Ok(Some(items))
    }

    fn select(&self, stored: Stored) -> Result<Option<Item>, Error> {
        if self.selection.is_answered_by_index() {
            return Ok(Some(Item { stored, parsed: None }));
        }
        let object = served(self.selection.resource, &stored)?;
        Ok(self.selection.matches(&object).then_some(Item { stored, parsed: Some(object) }))
    }

    fn size_next_read(&mut self, items: &[Stored]) {
        let bytes = items.iter().map(|stored| stored.body.len()).sum::<usize>();
        if let Some(average) = bytes.checked_div(items.len()) {
            self.next_read = (READ_BYTES / average.max(1)).clamp(1, READ_MAX);
        }
    }

    /// The token of the next page, if the client's limit cut the list.
    pub(crate) fn token(&self) -> Option<Token> {
        let (namespace, name) = self.after.clone().filter(|_| self.cut)?;
        Some(Token { revision: self.revision().0, namespace, name, begun: self.begun })
    }

    /// How many objects follow the page (W-116); none where selectors make that unknown.
    pub(crate) async fn remaining(&self) -> Result<Option<u64>, Error> {
        if !self.cut || !self.selection.is_whole() {
            return Ok(None);
        }
        self.store.count(&self.selection.query(self.at, self.after.clone(), READ_MAX)).await.map(Some)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_come_back_as_they_went_out_and_others_are_refused_w117() {
        let token = Token { revision: 7, namespace: "a".to_owned(), name: "b".to_owned(), begun: 100 };
        assert_eq!(Token::parse(&token.render()), Ok(token.clone()));
        assert_eq!(token.at(), Some(Revision(7)));
        assert_eq!(token.without_snapshot().at(), None);
        let is_old = |now| token.is_older_than(Duration::from_secs(300), Duration::from_secs(now));
        assert_eq!([99, 100, 400, 401].map(is_old), [true, false, false, true]);
        for text in ["", "x", "e30", "%%%"] {
            let status = Token::parse(text).unwrap_err();
            assert_eq!(status.code, 400);
            assert!(status.message.starts_with("invalid continue token"), "{}", status.message);
        }
    }
}
