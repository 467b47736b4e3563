//! Reading all objects of a kind, a piece at a time: what is kept of them is the reader's choice, and never their bodies (I-5).

use crate::{
    driver::Error,
    store::{ListQuery, Store, Stored},
};

/// How many objects are read at once.
pub(super) const CHUNK: usize = 256;

/// Shows each object that the query finds.
pub(super) async fn each(store: &Store, mut query: ListQuery, mut show: impl FnMut(Stored)) -> Result<(), Error> {
    loop {
        let chunk = store.list(&query).await?;
        let Some(last) = chunk.items.last() else { return Ok(()) };
        query.after = Some((last.key.namespace.clone(), last.key.name.clone()));
        chunk.items.into_iter().for_each(&mut show);
        if !chunk.more {
            return Ok(());
        }
    }
}
