//! What the engine holds of ours, in memory: by label, kept current by its event stream, listed anew at every (re)connect and swept while
//! something runs (D-501 to D-508). Events are hints: facts come from inspections (D-510, F-12), but for one: a container that was inspected
//! while it ran, or whose whole life the live stream has shown since this process created it, and of which the stream then says that it
//! ended with code 0, has ended so.

use std::{
    collections::{BTreeMap, BTreeSet},
    pin::pin,
    sync::{Mutex, MutexGuard, PoisonError},
};

use jiff::Timestamp;
use tokio::sync::Notify;

use super::cgroup::Usage;
use super::observed::{Died, Evidence, History, PodKey, Seen};
use crate::engine::{Container, ContainerStatus, Event, EventAction, ListedContainer};

/// Labels of D-402.
pub mod label {
    pub const INSTANCE: &str = "jobd.instance";
    pub const NAMESPACE: &str = "jobd.pod.namespace";
    pub const POD: &str = "jobd.pod.name";
    pub const UID: &str = "jobd.pod.uid";
    pub const CONTAINER: &str = "jobd.container.name";
    pub const ATTEMPT: &str = "jobd.container.attempt";
    /// `main`, `init` or `sandbox`.
    pub const KIND: &str = "jobd.container.kind";
    pub const SPEC_HASH: &str = "jobd.spec-hash";
}

/// Whose container it is, from its labels.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Identity {
    pub key: PodKey,
    pub uid: String,
    pub container: String,
    pub attempt: u32,
}

impl Identity {
    /// None when a label is missing: then it was not made by this program.
    #[must_use]
    pub fn find(labels: &BTreeMap<String, String>) -> Option<Self> {
        let text = |name: &str| labels.get(name).cloned();
        Some(Self {
            key: PodKey { namespace: text(label::NAMESPACE)?, name: text(label::POD)? },
            uid: text(label::UID)?,
            container: text(label::CONTAINER)?,
            attempt: text(label::ATTEMPT)?.parse().ok()?,
        })
    }
}

/// One container of ours.
#[derive(Clone, Debug)]
pub struct Record {
    pub id: String,
    pub identity: Identity,
    /// The last inspection; none: never, or it is known to be outdated beyond use.
    view: Option<Container>,
    /// Something happened since the last inspection.
    stale: bool,
    /// Counts events, so that an inspection that was overtaken by one is not taken for current.
    sequence: u64,
    /// The connection that saw it being created.
    created_live: Option<u64>,
    /// What this process had the engine create; none: another did, or it is not known.
    made: Option<Box<Container>>,
    /// The connection that saw its (last) start, and when that was.
    started_live: Option<(u64, Timestamp)>,
    /// The live stream has told its end, and nothing is left to ask.
    ended: bool,
    died: Option<Died>,
    destroyed: bool,
    /// The kernel killed some process of it for want of memory; which one, only an inspection tells.
    oom: bool,
    /// We sent it a signal or removed it.
    ours: bool,
    stranger: bool,
    away: bool,
    last_running: Option<Timestamp>,
    /// The address that it had; the engine forgets it at the end.
    ip: String,
    /// Sweeps in a row in which the engine had lost its process (D-1604).
    lost_sweeps: u8,
}

impl Record {
    fn new(id: &str, identity: Identity) -> Self {
        Self {
            id: id.to_owned(),
            identity,
            view: None,
            stale: true,
            sequence: 0,
            created_live: None,
            made: None,
            started_live: None,
            ended: false,
            died: None,
            destroyed: false,
            oom: false,
            ours: false,
            stranger: false,
            away: false,
            last_running: None,
            ip: String::new(),
            lost_sweeps: 0,
        }
    }

    /// Takes its end from the event, if nothing is left to ask: an inspection would have to wait until the engine has taken the network
    /// apart (D-502: 53 ms), and of a success it tells nothing more.
    fn succeed(&mut self, exit_code: i64, at: Timestamp, connection: u64) -> bool {
        let last = self.view.take();
        let view = match &last {
            _ if exit_code != 0 || self.oom => None,
            Some(view) if !self.stale && view.is_running() => Some(view.clone()),
            _ => self.watched(connection),
        };
        self.ended = view.is_some();
        self.view = match view {
            Some(view) => Some(Container {
                status: ContainerStatus::Exited,
                exit_code,
                finished_at: Some(view.started_at.map_or(at, |started| at.max(started))),
                pid: 0,
                ..view
            }),
            None => last,
        };
        self.ended
    }

    /// As it was while it ran, if all of its life was seen on this connection. The engine forgets its address at the end.
    fn watched(&self, connection: u64) -> Option<Container> {
        let (started_on, started_at) = self.started_live?;
        let all = self.created_live == Some(connection) && started_on == connection && !self.destroyed;
        let made = self.made.as_deref().filter(|_| all)?;
        Some(Container { started_at: Some(started_at), ip: self.ip.clone(), ..made.clone() })
    }

    fn is_running(&self) -> bool {
        self.view.as_ref().is_some_and(Container::is_running) && !self.destroyed
    }
}

/// What an inspection has to bring along so that it is not taken for newer than it is.
#[derive(Clone, Copy, Debug)]
pub struct Ticket(u64);

/// The memory of our containers.
#[derive(Debug, Default)]
pub struct Containers {
    state: Mutex<State>,
    /// Told when a container begins to run, so that sweeps begin (I-11).
    pub running: Notify,
    /// Told when the live stream has told an end.
    ended: Notify,
}

#[derive(Debug, Default)]
struct State {
    /// Counts connections.
    connection: u64,
    connected: bool,
    keeps_containers: bool,
    records: BTreeMap<String, Record>,
}

impl Containers {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The stream is open and this was listed after it was opened (D-508). Answers the pods concerned.
    pub fn connected(&self, listed: Vec<ListedContainer>, keeps_containers: bool) -> Vec<PodKey> {
        let mut state = self.state();
        state.connection += 1;
        state.connected = true;
        state.keeps_containers = keeps_containers;
        for record in state.records.values_mut() {
            // Inspected again before anything is decided: exits in the gap are never announced (D-506).
            record.stale = true;
            record.sequence += 1;
        }
        for found in listed {
            if let Some(identity) = Identity::find(&found.labels) {
                state.records.entry(found.id.clone()).or_insert_with(|| Record::new(&found.id, identity));
            }
        }
        let mut keys: Vec<PodKey> = state.records.values().map(|record| record.identity.key.clone()).collect();
        keys.dedup();
        keys
    }

    /// The stream ended: nothing is known until it is open again.
    pub fn disconnected(&self) {
        let mut state = self.state();
        state.connected = false;
        let keeps = state.keeps_containers;
        for record in state.records.values_mut() {
            if record.is_running() && !keeps {
                record.away = true;
            }
        }
    }

    #[must_use]
    pub fn is_connected(&self) -> bool {
        self.state().connected
    }

    /// Takes in one event; answers the pod concerned.
    pub fn apply(&self, event: &Event) -> Option<PodKey> {
        let mut state = self.state();
        let connection = state.connection;
        let Event { action, id, labels, at } = event;
        if matches!(action, EventAction::Create | EventAction::Start)
            && !state.records.contains_key(id)
            && let Some(identity) = Identity::find(labels)
        {
            state.records.insert(id.clone(), Record::new(id, identity));
        }
        let record = state.records.get_mut(id)?;
        record.sequence += 1;
        match action {
            EventAction::Create => record.created_live = Some(connection),
            EventAction::Start => {
                record.last_running = Some(*at);
                record.started_live = Some((connection, *at));
                record.ended = false;
                record.stale = true;
            }
            EventAction::Die { exit_code } => {
                record.died = Some(Died { exit_code: *exit_code, at: *at });
                record.stale = !record.succeed(*exit_code, *at, connection);
                if record.ended {
                    self.ended.notify_waiters();
                }
            }
            EventAction::Destroy => {
                record.destroyed = true;
                record.stale = true;
            }
            EventAction::Kill(signal) => {
                let ends = ["9", "15", "KILL", "TERM", "SIGKILL", "SIGTERM"].contains(&signal.as_str());
                record.stranger |= ends && !record.ours;
                return None;
            }
            EventAction::Pause | EventAction::Unpause => record.stale = true,
            EventAction::Oom => {
                record.oom = true;
                return None;
            }
            EventAction::Stop | EventAction::Other(_) => return None,
        }
        Some(record.identity.key.clone())
    }

    /// Create was answered.
    pub fn created(&self, made: Container) {
        let Some(identity) = Identity::find(&made.labels) else { return };
        let mut state = self.state();
        let record = state.records.entry(made.id.clone()).or_insert_with(|| Record::new(&made.id, identity));
        record.made = Some(Box::new(made));
    }

    /// Start was answered: what was seen before is old, unless the live stream has told its end since.
    pub fn started(&self, id: &str) {
        if let Some(record) = self.state().records.get_mut(id)
            && !record.ended
        {
            record.stale = true;
            record.sequence += 1;
        }
    }

    /// Waits until the live stream has told its end and nothing is left to ask; for ever, if that does not come.
    pub async fn told(&self, id: &str) -> Seen {
        loop {
            let mut next = pin!(self.ended.notified());
            next.as_mut().enable();
            if self.state().records.get(id).is_some_and(|record| record.ended)
                && let Some(seen) = self.current(id)
            {
                return seen;
            }
            next.await;
        }
    }

    /// Before an inspection.
    pub fn ticket(&self, id: &str) -> Ticket {
        Ticket(self.state().records.get(id).map_or(0, |record| record.sequence))
    }

    /// Gives an inspected container the address that it had: the engine forgets it at the end.
    pub fn complete(&self, view: &mut Container) {
        if view.ip.is_empty()
            && let Some(record) = self.state().records.get(&view.id)
        {
            view.ip.clone_from(&record.ip);
        }
    }

    /// After an inspection.
    pub fn inspected(&self, ticket: Ticket, view: &Container, at: Timestamp) {
        let mut state = self.state();
        let Some(identity) = Identity::find(&view.labels) else { return };
        let record = state.records.entry(view.id.clone()).or_insert_with(|| Record::new(&view.id, identity));
        let was_running = record.is_running();
        record.stale = record.sequence != ticket.0;
        if !view.ip.is_empty() {
            record.ip.clone_from(&view.ip);
        }
        record.view = Some(view.clone());
        if record.is_running() {
            record.last_running = Some(at);
            if !was_running {
                self.running.notify_one();
            }
        }
    }

    /// We are about to signal or remove it, so what follows is no stranger's doing.
    pub fn touch(&self, id: &str) {
        if let Some(record) = self.state().records.get_mut(id) {
            record.ours = true;
        }
    }

    /// What we know of it is not to be trusted: look again before anything is decided.
    pub fn suspect(&self, id: &str) {
        if let Some(record) = self.state().records.get_mut(id) {
            record.stale = true;
            record.sequence += 1;
        }
    }

    /// It is gone and nobody will ask any more.
    pub fn forget(&self, id: &str) {
        self.state().records.remove(id);
    }

    /// The id of an attempt's container, if one is known.
    #[must_use]
    pub fn find_id(&self, uid: &str, container: &str, attempt: u32) -> Option<String> {
        let state = self.state();
        let found = state.records.values().find(|record| {
            let Identity { uid: of, container: name, attempt: number, key: _ } = &record.identity;
            of == uid && name == container && *number == attempt && !record.destroyed
        });
        found.map(|record| record.id.clone())
    }

    /// What is known of a container without asking: none means that it has to be inspected.
    #[must_use]
    pub fn current(&self, id: &str) -> Option<Seen> {
        let state = self.state();
        if !state.connected {
            return Some(Seen::Unknown);
        }
        let record = state.records.get(id)?;
        if record.destroyed {
            return Some(Seen::Absent);
        }
        if record.stale {
            return None;
        }
        record.view.clone().map(|view| Seen::Present(Box::new(view)))
    }

    /// What else is known of it.
    #[must_use]
    pub fn history(&self, id: &str) -> History {
        let state = self.state();
        let Some(record) = state.records.get(id) else { return History::default() };
        let complete = state.connected && record.created_live == Some(state.connection);
        History {
            evidence: if complete { Evidence::Complete { destroyed: record.destroyed } } else { Evidence::Unasked },
            died: record.died.clone(),
            killed_by_stranger: record.stranger,
            engine_was_away: record.away,
            last_running: record.last_running,
            lost: record.lost_sweeps >= 2,
            usage: Usage::Unknown,
        }
    }

    /// All containers of a pod's name, whichever uid.
    #[must_use]
    pub fn of_pod(&self, key: &PodKey) -> Vec<(String, Identity)> {
        let state = self.state();
        let of = state.records.values().filter(|record| record.identity.key == *key);
        of.map(|record| (record.id.clone(), record.identity.clone())).collect()
    }

    /// Containers that we hold for running, with their process ids.
    #[must_use]
    pub fn held_running(&self) -> Vec<(String, i64)> {
        let state = self.state();
        let running = state.records.values().filter(|record| record.is_running());
        running.map(|record| (record.id.clone(), record.view.as_ref().map_or(0, |view| view.pid))).collect()
    }

    /// How many pods have a running container, and how many containers run.
    #[must_use]
    pub fn count_running(&self) -> (usize, usize) {
        let state = self.state();
        let running = state.records.values().filter(|record| record.is_running());
        let uids: Vec<&str> = running.map(|record| record.identity.uid.as_str()).collect();
        (uids.iter().collect::<BTreeSet<_>>().len(), uids.len())
    }

    /// Compares with a list taken at `at`: what we hold for running and is not, is inspected (D-508). Answers the pods concerned.
    pub fn swept(&self, listed: &[ListedContainer], at: Timestamp) -> Vec<PodKey> {
        let mut state = self.state();
        let status: BTreeMap<&str, ContainerStatus> =
            listed.iter().map(|found| (found.id.as_str(), found.status)).collect();
        let mut keys = Vec::new();
        for record in state.records.values_mut().filter(|record| record.is_running()) {
            match status.get(record.id.as_str()) {
                Some(ContainerStatus::Running | ContainerStatus::Paused) => record.last_running = Some(at),
                Some(ContainerStatus::Created | ContainerStatus::Exited | ContainerStatus::Removing) | None => {
                    record.stale = true;
                    record.sequence += 1;
                    keys.push(record.identity.key.clone());
                }
            }
        }
        for found in listed {
            if !state.records.contains_key(&found.id)
                && let Some(identity) = Identity::find(&found.labels)
            {
                keys.push(identity.key.clone());
                state.records.insert(found.id.clone(), Record::new(&found.id, identity));
            }
        }
        keys
    }

    /// A sweep found that the engine lost (or still has) a container's process. Answers the pod when it is lost for good.
    pub fn swept_process(&self, id: &str, lost: bool) -> Option<PodKey> {
        let mut state = self.state();
        let record = state.records.get_mut(id)?;
        record.lost_sweeps = if lost { record.lost_sweeps.saturating_add(1) } else { 0 };
        (record.lost_sweeps == 2).then(|| record.identity.key.clone())
    }
}
