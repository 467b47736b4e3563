//! Snapshots that are asked for at the same time are read together: a thousand cron jobs of one minute share a few dozen reads.
//!
//! Whoever asks first reads for all who ask until it gets its turn. Nobody waits for others to come.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

use crate::store::{CronJobSnapshot, Error, Key, Store};

/// How many cron jobs are read at once: with their jobs' bodies some hundred KB.
const TOGETHER_MAX: usize = 32;

type Answer = Result<Option<CronJobSnapshot>, Error>;

/// Who has asked and is not read for yet.
#[derive(Debug, Default)]
pub(super) struct Reads(Mutex<Vec<(Key, oneshot::Sender<Answer>)>>);

impl Reads {
    fn lock(&self) -> MutexGuard<'_, Vec<(Key, oneshot::Sender<Answer>)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The cron job with its jobs; the state is that of now or later.
    pub(super) async fn snapshot(&self, store: &Store, key: &Key) -> Answer {
        let (answer, answered) = oneshot::channel();
        let is_first = {
            let mut asked = self.lock();
            asked.push((key.clone(), answer));
            asked.len() == 1
        };
        if is_first {
            // Those that were started in the same turn come along.
            tokio::task::yield_now().await;
            let mut asked = std::mem::take(&mut *self.lock());
            while !asked.is_empty() {
                let rest = asked.split_off(asked.len().min(TOGETHER_MAX));
                read(store, asked).await;
                asked = rest;
            }
        }
        // Its reader cannot go without an answer, but with the whole driver.
        answered.await.unwrap_or(Err(Error::Closed))
    }
}

async fn read(store: &Store, asked: Vec<(Key, oneshot::Sender<Answer>)>) {
    let (keys, answers): (Vec<_>, Vec<_>) = asked.into_iter().unzip();
    let found = match store.cron_job_snapshots(&keys).await {
        Ok(found) => found.into_iter().map(Ok).collect(),
        Err(error) => vec![Err(error); answers.len()],
    };
    for (answer, found) in answers.into_iter().zip(found) {
        // Who no longer waits does not need it.
        let _ = answer.send(found);
    }
}
