//! Removes events whose retention is over (J-2211): in batches, at most hourly, so that an idle daemon stays idle (I-11).

use std::time::Duration;

use jobd_api::registry::Kind;

use crate::{
    driver::{Controller, Error, Next},
    store::{Change, Key, Request, Store, Write},
    sys::Now,
};

/// How many events go in one transaction. Larger ones make other writers wait, smaller ones make expiry slow.
const BATCH: usize = 256;

pub struct EventsExpiry {
    store: Store,
}

impl EventsExpiry {
    #[must_use]
    pub fn new(store: Store) -> Self {
        Self { store }
    }
}

impl Controller for EventsExpiry {
    const NAME: &'static str = "events-expiry";
    const DUE: Option<Kind> = Some(Kind::Event);
    const DUE_EVERY: Duration = Duration::from_secs(3600);
    type Key = ();

    fn wakes(&self, _change: &Change) -> Vec<()> {
        Vec::new()
    }

    async fn active(&self) -> Result<Vec<()>, Error> {
        Ok(Vec::new())
    }

    fn due_key(&self, _object: &Key) -> Option<()> {
        Some(())
    }

    async fn reconcile(&self, (): &(), now: Now) -> Result<Next, Error> {
        let (expired, _) = self.store.due(Kind::Event, now.wall, BATCH).await?;
        let count = expired.len();
        let writes =
            expired.into_iter().map(|event| Write::Delete { key: event.key, body: event.body.to_string() }).collect();
        self.store.write(Request { guards: Vec::new(), writes, urgent: true }).await?;
        Ok(if count < BATCH { Next::Idle } else { Next::At(now.boot) })
    }
}
