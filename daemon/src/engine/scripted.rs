//! An engine that lives in memory and does what a test says, call by call: for the stories of the node. The simulation has its own, which
//! lives by chance and outlives the daemon. It behaves as the measured engines do, their traps included: answers get lost (D-104), an exited
//! container starts again (D-403), events are few and in memory only (D-506), and a restart may leave a process that nobody knows of (D-610, D-1601).

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use futures_util::{StreamExt as _, stream, stream::BoxStream};
use jiff::Timestamp;
use tokio::sync::mpsc;

use super::{
    Container, ContainerSpec, ContainerStatus, Engine, Error, Event, EventAction, ExecEnd, ExecLimits, Image, Info,
    ListedContainer, ListedNetwork, LogFrame, LogQuery, Network, RegistryAuth,
};
use crate::sys::Clock;

/// How many events an engine remembers (D-506).
const EVENTS_MAX: usize = 256;

/// Calls that a fault can hit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Call {
    Create,
    Start,
    Inspect,
    List,
    Kill,
    Remove,
    Events,
    Logs,
    Exec,
    InspectImage,
    Pull,
    LoadImage,
}

/// What goes wrong with one call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The engine never saw it.
    NotSent,
    /// The engine did it; nobody heard.
    AnswerLost,
    /// The engine refused with these words, and did nothing.
    Answer(Error),
}

/// The engine; cheap to clone, all clones are one engine.
#[derive(Clone)]
pub struct ScriptedEngine {
    world: Arc<Mutex<World>>,
    clock: Arc<dyn Clock>,
}

struct World {
    up: bool,
    live_restore: bool,
    images: BTreeSet<String>,
    containers: BTreeMap<String, Scripted>,
    created: u64,
    events: VecDeque<Event>,
    listeners: Vec<mpsc::UnboundedSender<Result<Event, Error>>>,
    faults: Vec<(Call, Fault)>,
    /// Names whose start fails: with this message (D-504).
    broken: BTreeMap<String, String>,
    /// Names whose container hangs in the kernel: it cannot be removed (F-14).
    stuck: BTreeSet<String>,
    /// What commands inside a container of this name answer; others succeed.
    exec_codes: BTreeMap<String, i64>,
    /// How often the command of a container of this name was begun.
    runs: BTreeMap<String, u32>,
    calls: Vec<String>,
    networks: BTreeMap<String, ListedNetwork>,
}

struct Scripted {
    view: Container,
    name: String,
    /// The sandbox whose network it joins.
    joins: Option<String>,
    /// A process runs, whatever the state says (D-610).
    alive: bool,
    log: Vec<LogFrame>,
}

impl ScriptedEngine {
    /// An engine that is up, with these images.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>, images: &[&str]) -> Self {
        let world = World {
            up: true,
            live_restore: true,
            images: images.iter().map(|image| (*image).to_owned()).collect(),
            containers: BTreeMap::new(),
            created: 0,
            events: VecDeque::new(),
            listeners: Vec::new(),
            faults: Vec::new(),
            broken: BTreeMap::new(),
            stuck: BTreeSet::new(),
            exec_codes: BTreeMap::new(),
            runs: BTreeMap::new(),
            calls: Vec::new(),
            networks: BTreeMap::new(),
        };
        Self { world: Arc::new(Mutex::new(world)), clock }
    }

    fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wall(&self) -> Timestamp {
        self.clock.now().wall
    }

    /// The container of this name hangs in the kernel, or no longer does.
    pub fn set_stuck(&self, name: &str, is_stuck: bool) {
        let mut world = self.world();
        if is_stuck {
            world.stuck.insert(name.to_owned());
        } else {
            world.stuck.remove(name);
        }
    }

    /// The next call of this kind goes wrong.
    pub fn fail_next(&self, call: Call, fault: Fault) {
        self.world().faults.push((call, fault));
    }

    /// Faults that did not happen yet are called off.
    pub fn clear_faults(&self) {
        self.world().faults.clear();
    }

    /// The start of a container of this name is refused (D-504).
    pub fn break_start(&self, name: &str, message: &str) {
        self.world().broken.insert(name.to_owned(), message.to_owned());
    }

    /// From now on commands inside a container of this name end with this code.
    pub fn answer_exec(&self, name: &str, exit_code: i64) {
        self.world().exec_codes.insert(name.to_owned(), exit_code);
    }

    /// The program of a running container ends.
    pub fn finish(&self, name: &str, exit_code: i64) {
        let at = self.wall();
        let mut world = self.world();
        let up = world.up;
        let Some(id) = world.find(name) else { return };
        if let Some(found) = world.containers.get_mut(&id)
            && found.alive
        {
            found.end(exit_code, at);
            if up {
                world.tell(&id, EventAction::Die { exit_code }, at);
            }
        }
    }

    /// The program writes a line.
    pub fn print(&self, name: &str, stderr: bool, text: &str) {
        let at = self.wall();
        let mut world = self.world();
        let Some(id) = world.find(name) else { return };
        if let Some(found) = world.containers.get_mut(&id) {
            found.log.push(LogFrame { stderr, at, data: Bytes::copy_from_slice(text.as_bytes()) });
        }
    }

    /// Somebody removes a container by force.
    pub fn remove_by_stranger(&self, name: &str) {
        let at = self.wall();
        let mut world = self.world();
        if let Some(id) = world.find(name) {
            world.destroy(&id, at, true);
        }
    }

    /// The event streams break; the engine itself goes on.
    pub fn cut_streams(&self) {
        self.world().listeners.clear();
    }

    /// The engine does not answer any more; containers run on.
    pub fn go_down(&self) {
        let mut world = self.world();
        world.up = false;
        world.listeners.clear();
    }

    /// The engine is started again: its events are forgotten. Containers that were started but whose start nobody heard of may be shown as
    /// `created` while their process lives (D-610); `forget_starts` makes it so.
    pub fn come_up(&self, forget_starts: bool) {
        let mut world = self.world();
        world.up = true;
        world.events.clear();
        for found in world.containers.values_mut().filter(|found| found.alive && forget_starts) {
            found.view.status = ContainerStatus::Created;
            found.view.started_at = None;
            found.view.pid = 0;
        }
    }

    /// How often the command of each container was begun, by the container's name.
    #[must_use]
    pub fn runs(&self) -> BTreeMap<String, u32> {
        self.world().runs.clone()
    }

    /// Names of the containers that exist.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        self.world().containers.values().map(|found| found.name.clone()).collect()
    }

    /// Names of the containers whose process lives.
    #[must_use]
    pub fn alive(&self) -> Vec<String> {
        self.world().containers.values().filter(|found| found.alive).map(|found| found.name.clone()).collect()
    }

    /// The calls that changed something, in order.
    #[must_use]
    pub fn calls(&self) -> Vec<String> {
        self.world().calls.clone()
    }

    /// Does a call, or lets it go wrong.
    fn call<T>(&self, call: Call, run: impl FnOnce(&mut World, Timestamp) -> Result<T, Error>) -> Result<T, Error> {
        let at = self.wall();
        let mut world = self.world();
        let fault = world.faults.iter().position(|(of, _)| *of == call);
        let fault = fault.map(|index| world.faults.remove(index).1);
        if !world.up {
            return Err(Error::Unreachable("connection refused".to_owned()));
        }
        match fault {
            None => run(&mut world, at),
            Some(Fault::NotSent) => Err(Error::Unreachable("not sent".to_owned())),
            Some(Fault::AnswerLost) => {
                let _ = run(&mut world, at);
                Err(Error::Unreachable("answer lost".to_owned()))
            }
            Some(Fault::Answer(error)) => Err(error),
        }
    }
}

impl Scripted {
    fn end(&mut self, exit_code: i64, at: Timestamp) {
        self.alive = false;
        self.view.status = ContainerStatus::Exited;
        self.view.exit_code = exit_code;
        self.view.finished_at = Some(at);
        self.view.pid = 0;
    }
}

impl World {
    /// By id or name.
    fn find(&self, name: &str) -> Option<String> {
        let by_name = || self.containers.values().find(|found| found.name == name).map(|found| found.view.id.clone());
        self.containers.get(name).map(|found| found.view.id.clone()).or_else(by_name)
    }

    fn get(&self, name: &str) -> Result<String, Error> {
        self.find(name).ok_or_else(|| Error::NotFound(format!("No such container: {name}")))
    }

    fn tell(&mut self, id: &str, action: EventAction, at: Timestamp) {
        let Some(found) = self.containers.get(id) else { return };
        let event = Event { action, id: id.to_owned(), labels: found.view.labels.clone(), at };
        self.events.push_back(event.clone());
        if self.events.len() > EVENTS_MAX {
            self.events.pop_front();
        }
        self.listeners.retain(|listener| listener.send(Ok(event.clone())).is_ok());
    }

    fn destroy(&mut self, id: &str, at: Timestamp, force: bool) {
        let running = self
            .containers
            .get(id)
            .is_some_and(|found| matches!(found.view.status, ContainerStatus::Running | ContainerStatus::Paused));
        if running && force {
            self.tell(id, EventAction::Kill("9".to_owned()), at);
            if let Some(found) = self.containers.get_mut(id) {
                found.end(137, at);
            }
            self.tell(id, EventAction::Die { exit_code: 137 }, at);
        }
        self.tell(id, EventAction::Destroy, at);
        self.containers.remove(id);
    }
}

impl Engine for ScriptedEngine {
    async fn info(&self) -> Result<Info, Error> {
        let world = self.world();
        if !world.up {
            return Err(Error::Unreachable("connection refused".to_owned()));
        }
        Ok(Info { cpus: 4, memory_bytes: 8 << 30, live_restore: world.live_restore, ..Info::default() })
    }

    async fn create(&self, spec: &ContainerSpec) -> Result<String, Error> {
        self.call(Call::Create, |world, _at| {
            world.calls.push(format!("create {}", spec.name));
            if !world.images.contains(&spec.image) {
                return Err(Error::NotFound(format!("No such image: {}", spec.image)));
            }
            if world.find(&spec.name).is_some() {
                return Err(Error::Conflict(format!(
                    "Conflict. The container name \"/{}\" is already in use",
                    spec.name
                )));
            }
            if let Network::Container(sandbox) = &spec.network
                && !world.containers.contains_key(sandbox)
            {
                return Err(Error::NotFound(format!("No such container: {sandbox}")));
            }
            world.created += 1;
            let id = format!("{:064x}", world.created);
            let view = Container {
                id: id.clone(),
                name: spec.name.clone(),
                labels: spec.labels.clone(),
                status: ContainerStatus::Created,
                exit_code: 0,
                error: String::new(),
                oom_killed: false,
                pid: 0,
                started_at: None,
                finished_at: None,
                image: spec.image.clone(),
                image_id: "sha256:1".to_owned(),
                ip: "172.17.0.2".to_owned(),
            };
            let joins = match &spec.network {
                Network::Container(sandbox) => Some(sandbox.clone()),
                Network::Bridge | Network::Host | Network::Disabled | Network::Named { .. } => None,
            };
            let found = Scripted { view, name: spec.name.clone(), joins, alive: false, log: Vec::new() };
            world.containers.insert(id.clone(), found);
            world.tell(&id, EventAction::Create, _at);
            Ok(id)
        })
    }

    async fn start(&self, id: &str) -> Result<(), Error> {
        self.call(Call::Start, |world, at| {
            let id = world.get(id)?;
            let sandbox = world.containers.get(&id).and_then(|found| found.joins.clone());
            if let Some(sandbox) = sandbox
                && !world.containers.get(&sandbox).is_some_and(|found| found.alive)
            {
                return Err(Error::Conflict(format!("cannot join network of a non running container: {sandbox}")));
            }
            let broken = world.containers.get(&id).and_then(|found| world.broken.get(&found.name).cloned());
            let Some(found) = world.containers.get_mut(&id) else { return Err(Error::NotModified) };
            let name = found.name.clone();
            if matches!(found.view.status, ContainerStatus::Running | ContainerStatus::Paused) {
                return Err(Error::NotModified);
            }
            if let Some(message) = broken {
                found.view.exit_code = 127;
                found.view.error.clone_from(&message);
                world.calls.push(format!("start {name}"));
                return Err(Error::Refused { status: 400, message });
            }
            // Also an exited one, and also beside the orphan of an engine crash (D-403, D-1601).
            found.alive = true;
            found.view.status = ContainerStatus::Running;
            found.view.started_at = Some(at);
            found.view.pid = i64::from(u32::MAX);
            world.calls.push(format!("start {name}"));
            *world.runs.entry(name).or_default() += 1;
            world.tell(&id, EventAction::Start, at);
            Ok(())
        })
    }

    async fn inspect(&self, id: &str) -> Result<Container, Error> {
        self.call(Call::Inspect, |world, _at| {
            let id = world.get(id)?;
            world.containers.get(&id).map(|found| found.view.clone()).ok_or(Error::NotModified)
        })
    }

    async fn list(&self, label: &str) -> Result<Vec<ListedContainer>, Error> {
        self.call(Call::List, |world, _at| {
            let (name, value) = label.split_once('=').unwrap_or((label, ""));
            let ours =
                world.containers.values().filter(|found| found.view.labels.get(name).is_some_and(|v| v == value));
            let listed = ours.map(|found| ListedContainer {
                id: found.view.id.clone(),
                name: found.name.clone(),
                labels: found.view.labels.clone(),
                status: found.view.status,
            });
            Ok(listed.collect())
        })
    }

    async fn kill(&self, id: &str, signal: &str) -> Result<(), Error> {
        self.call(Call::Kill, |world, at| {
            let id = world.get(id)?;
            world.tell(&id, EventAction::Kill(signal.to_owned()), at);
            let Some(found) = world.containers.get_mut(&id) else { return Err(Error::NotModified) };
            let name = found.name.clone();
            if !matches!(found.view.status, ContainerStatus::Running | ContainerStatus::Paused) {
                return Err(Error::Conflict(format!("Cannot kill container: {name}: is not running")));
            }
            let pause = found.view.image == super::pause::IMAGE;
            if pause && signal == "SIGTERM" {
                // It obeys (D-207).
                found.end(0, at);
                world.tell(&id, EventAction::Die { exit_code: 0 }, at);
            } else if signal == "SIGKILL" {
                found.end(137, at);
                world.tell(&id, EventAction::Die { exit_code: 137 }, at);
            }
            world.calls.push(format!("kill {signal} {name}"));
            Ok(())
        })
    }

    async fn remove(&self, id: &str, force: bool) -> Result<(), Error> {
        self.call(Call::Remove, |world, at| {
            let id = world.get(id)?;
            let Some(found) = world.containers.get(&id) else { return Err(Error::NotModified) };
            let name = found.name.clone();
            if world.stuck.contains(&name) {
                return Err(Error::Infrastructure(format!("could not kill container {name}")));
            }
            if matches!(found.view.status, ContainerStatus::Running | ContainerStatus::Paused) && !force {
                return Err(Error::Conflict(format!("cannot remove container \"/{name}\": container is running")));
            }
            world.destroy(&id, at, force);
            world.calls.push(format!("remove {name}"));
            Ok(())
        })
    }

    async fn events(
        &self,
        label: &str,
        since: Option<Timestamp>,
        until: Option<Timestamp>,
    ) -> Result<BoxStream<'static, Result<Event, Error>>, Error> {
        let (name, value) = label.split_once('=').unwrap_or((label, ""));
        let (name, value) = (name.to_owned(), value.to_owned());
        self.call(Call::Events, move |world, _at| {
            let past: Vec<Result<Event, Error>> = match since {
                Some(since) => world.events.iter().filter(|event| event.at >= since).cloned().map(Ok).collect(),
                None => Vec::new(),
            };
            let past = stream::iter(past);
            let ours = move |event: &Result<Event, Error>| {
                let found = event.as_ref().map_or(true, |event| event.labels.get(&name) == Some(&value));
                std::future::ready(found)
            };
            if until.is_some() {
                return Ok(past.filter(ours).boxed());
            }
            let (sender, receiver) = mpsc::unbounded_channel();
            world.listeners.push(sender);
            let live =
                stream::unfold(
                    receiver,
                    |mut receiver| async move { receiver.recv().await.map(|event| (event, receiver)) },
                );
            Ok(past.chain(live).filter(ours).boxed())
        })
    }

    async fn logs(&self, id: &str, query: LogQuery) -> Result<BoxStream<'static, Result<LogFrame, Error>>, Error> {
        self.call(Call::Logs, |world, _at| {
            let id = world.get(id)?;
            let log = world.containers.get(&id).map(|found| found.log.clone()).unwrap_or_default();
            let LogQuery { follow: _, since } = query;
            let wanted = log.into_iter().filter(move |frame| since.is_none_or(|since| frame.at >= since));
            Ok(stream::iter(wanted.map(Ok)).boxed())
        })
    }

    async fn ensure_network(&self, name: &str, labels: &BTreeMap<String, String>) -> Result<(), Error> {
        let found = ListedNetwork { name: name.to_owned(), labels: labels.clone() };
        self.world().networks.insert(name.to_owned(), found);
        Ok(())
    }

    async fn list_networks(&self, _label: &str) -> Result<Vec<ListedNetwork>, Error> {
        Ok(self.world().networks.values().cloned().collect())
    }

    async fn remove_network(&self, name: &str) -> Result<(), Error> {
        self.world().networks.remove(name);
        Ok(())
    }

    async fn exec(&self, id: &str, command: &[String], _limits: ExecLimits) -> Result<ExecEnd, Error> {
        self.call(Call::Exec, |world, _at| {
            let id = world.get(id)?;
            let found = world.containers.get(&id).filter(|found| found.alive);
            let Some(name) = found.map(|found| found.name.clone()) else {
                return Err(Error::Conflict(format!("Container {id} is not running")));
            };
            world.calls.push(format!("exec {name} {}", command.join(" ")));
            let exit_code = world.exec_codes.get(&name).copied().unwrap_or_default();
            Ok(ExecEnd::Exited { exit_code, output: Bytes::from_static(b"as the script says") })
        })
    }

    async fn inspect_image(&self, image: &str) -> Result<Image, Error> {
        self.call(Call::InspectImage, |world, _at| {
            if world.images.contains(image) || image.starts_with("sha256:") {
                Ok(Image { id: "sha256:1".to_owned(), size_bytes: 7, ..Image::default() })
            } else {
                Err(Error::NotFound(format!("No such image: {image}")))
            }
        })
    }

    async fn pull(&self, image: &str, _auth: Option<&RegistryAuth>) -> Result<(), Error> {
        self.call(Call::Pull, |world, _at| {
            world.calls.push(format!("pull {image}"));
            world.images.insert(image.to_owned());
            Ok(())
        })
    }

    async fn load_image(&self, _archive: Bytes) -> Result<(), Error> {
        self.call(Call::LoadImage, |world, _at| {
            world.images.insert(super::pause::IMAGE.to_owned());
            Ok(())
        })
    }

    async fn is_lost(&self, _id: &str) -> Result<bool, Error> {
        Ok(false)
    }

    async fn ping(&self) -> Result<Duration, Error> {
        Ok(Duration::ZERO)
    }
}
