//! One probe of one running container: asks in its rhythm, counts, and tells.

use std::{sync::Arc, time::Duration};

use k8s_openapi::api::core::v1::Probe;
use tokio::sync::watch;
use tracing::debug;

use super::{
    Shared, Subject, Verdicts,
    handler::{self, Outcome},
    tally::{Schedule, Tally},
};
use crate::{
    engine::Engine,
    node::{
        events::{self, Report},
        observed::{PodKey, ProbeKind},
    },
};

/// How often a run that could not be made is tried again at once.
const TRIES: u32 = 3;

pub(super) struct Worker<E> {
    pub(super) shared: Arc<Shared<E>>,
    pub(super) subject: Arc<Subject>,
    pub(super) kind: ProbeKind,
    pub(super) probe: Probe,
    pub(super) schedule: Schedule,
    pub(super) verdicts: watch::Sender<Verdicts>,
}

impl<E: Engine> Worker<E> {
    /// Until there is nothing more to find out; aborted when the container ends.
    pub(super) async fn run(self) {
        let mut seen = self.verdicts.subscribe();
        // The startup probe comes before the others (J-2516).
        if self.kind != ProbeKind::Startup && seen.wait_for(|verdicts| verdicts.started).await.is_err() {
            return;
        }
        let mut tally = Tally::default();
        let mut at = self.schedule.first(self.shared.clock.now().boot);
        loop {
            self.sleep_until(at).await;
            let verdicts = *seen.borrow();
            if verdicts.quiet && self.kind != ProbeKind::Readiness {
                return;
            }
            if let Some(success) = self.ask().await
                && let Some(verdict) = tally.add(success, &self.probe)
            {
                self.tell(verdict);
                // Until there is a new container.
                if self.kind == ProbeKind::Startup || (self.kind == ProbeKind::Liveness && !verdict) {
                    return;
                }
            }
            at = self.schedule.after(at, self.shared.clock.now().boot);
        }
    }

    async fn sleep_until(&self, at: Duration) {
        loop {
            let now = self.shared.clock.now().boot;
            if now >= at {
                return;
            }
            tokio::time::sleep(at - now).await;
        }
    }

    /// None: it could not be asked, which says nothing.
    async fn ask(&self) -> Option<bool> {
        let Self { shared, subject, kind, probe, .. } = self;
        let mut tries = 0;
        let outcome = loop {
            tries += 1;
            match handler::probe(&*shared.engine, subject, probe).await {
                Outcome::Errored(_) if tries < TRIES => {}
                outcome => break outcome,
            }
        };
        let (PodKey { namespace, name }, container) = (&subject.key, &subject.container.name);
        debug!(namespace, pod = name, container, probe = ?kind, outcome = ?outcome, "probed");
        let (answer, report) = match outcome {
            Outcome::Success => (Some(true), None),
            Outcome::Warned(text) => (Some(true), Some(Report::Warned(text))),
            Outcome::Failed(text) => (Some(false), Some(Report::Failed(text))),
            Outcome::Errored(text) => (None, Some(Report::Errored(text))),
            // The engine is away: that is told once, in the log.
            Outcome::Away => (None, None),
        };
        if let Some(report) = report {
            shared.record(events::probed(&subject.pod, container, *kind, &report)).await;
        }
        answer
    }

    fn tell(&self, verdict: bool) {
        let changed = self.verdicts.send_if_modified(|verdicts| {
            let old = *verdicts;
            match (self.kind, verdict) {
                (ProbeKind::Startup, true) => verdicts.started = true,
                (ProbeKind::Readiness, ready) => verdicts.ready = ready,
                (ProbeKind::Liveness, true) => {}
                (kind @ (ProbeKind::Startup | ProbeKind::Liveness), false) => verdicts.failed = Some(kind),
            }
            *verdicts != old
        });
        if changed {
            self.shared.waker.wake(self.subject.key.clone());
        }
    }
}
