//! The machine below the daemon: a container engine by script, which outlives the daemon.
//!
//! It behaves as the rules of `docker.md` say of the real one: a second start of an ended container runs it again (D-403), events
//! are kept until the engine restarts (D-506), a removal without force refuses what runs (D-406).

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use jiff::Timestamp;
use jobd::{
    engine::{
        Container, ContainerSpec, ContainerStatus, Error, Event, EventAction, Image, ListedContainer, Network, pause,
    },
    node::containers::label,
    sys::Clock as _,
};
use tokio::sync::oneshot;

use super::{
    clock::VirtualClock,
    dice::Dice,
    faults::Faults,
    truth::{Truth, Truths},
};

/// How long after a start the engine can still forget it (D-610).
const START_TAKES: Duration = Duration::from_millis(50);

/// How long an absence of the engine is felt.
const LATELY: Duration = Duration::from_secs(60);

/// What a command does, told by its `args` as `key=number`.
#[derive(Clone, Copy, Debug)]
struct Script {
    /// Chance in a hundred that it fails.
    fail: u64,
    code: i64,
    /// It runs for up to so long; 0: until it is stopped.
    seconds: u64,
    /// What TERM does: 0 ends it with 143, 1 lets it end well, 2 is ignored.
    term: u64,
    /// Chance in a hundred that the engine refuses the start.
    start_error: u64,
    /// KILL takes long: the process hangs in the kernel (F-14).
    stuck: bool,
    /// It serves others and runs until it is stopped, also when all is calm.
    stays: bool,
}

impl Script {
    /// D-207.
    const PAUSE: Self = Self { fail: 0, code: 0, seconds: 0, term: 1, start_error: 0, stuck: false, stays: true };

    fn parse(args: &[String]) -> Self {
        let number = |key: &str| {
            let found = args.iter().find_map(|word| word.strip_prefix(key)?.strip_prefix('='));
            found.and_then(|number| number.parse::<u64>().ok()).unwrap_or_default()
        };
        Self {
            fail: number("fail"),
            code: i64::try_from(number("code")).unwrap_or(1),
            seconds: number("seconds"),
            term: number("term"),
            start_error: number("start_error"),
            stuck: number("stuck") == 1,
            stays: number("stays") == 1,
        }
    }
}

/// A container as the engine has it.
#[derive(Clone, Debug)]
struct Held {
    view: Container,
    script: Script,
    /// The sandbox whose network it joins.
    joins: Option<String>,
    /// When its command ends, and how; none: when it is stopped.
    ends: Option<(Duration, i64)>,
}

#[derive(Clone, Debug)]
struct Logged {
    event: Event,
    visible_at: Duration,
}

/// A call that is carried out although nobody waits for its answer any more.
#[derive(Clone, Debug)]
enum Late {
    Start(String),
    Create(Box<ContainerSpec>),
}

/// A pull under way.
struct Pull {
    /// When it ends, once that is decided.
    at: Option<Duration>,
    image: String,
    sender: oneshot::Sender<Result<(), Error>>,
}

/// The engine and what is on its disk.
pub struct Machine {
    clock: Arc<VirtualClock>,
    dice: Dice,
    pub faults: Faults,
    calm: bool,
    containers: BTreeMap<String, Held>,
    created: u64,
    images: BTreeSet<String>,
    events: Vec<Logged>,
    /// Events before this one are forgotten (the engine was restarted).
    kept_from: usize,
    /// Rises when connections are cut.
    pub connection: u64,
    away_until: Option<Duration>,
    /// When it was last back for those who talk to it, or will be.
    back_at: Option<Duration>,
    late: Vec<(Duration, Late)>,
    pulls: Vec<Pull>,
    pub truths: Truths,
    /// When each container was last started.
    started: BTreeMap<String, Duration>,
    strangers: BTreeSet<String>,
    pub calls: u64,
    /// What happened in the engine since the last look, for the trace.
    pub told: Vec<String>,
}

impl Machine {
    #[must_use]
    pub fn new(clock: Arc<VirtualClock>, dice: Dice, faults: Faults) -> Self {
        Self {
            clock,
            dice,
            faults,
            calm: false,
            containers: BTreeMap::new(),
            created: 0,
            images: BTreeSet::from(["busybox:1".to_owned()]),
            events: Vec::new(),
            kept_from: 0,
            connection: 0,
            away_until: None,
            back_at: None,
            late: Vec::new(),
            pulls: Vec::new(),
            truths: Truths::default(),
            started: BTreeMap::new(),
            strangers: BTreeSet::new(),
            calls: 0,
            told: Vec::new(),
        }
    }

    pub fn dice(&mut self) -> &mut Dice {
        &mut self.dice
    }

    /// No more faults, and every command ends well and soon.
    pub fn calm_down(&mut self) {
        self.faults = Faults::default();
        self.calm = true;
        self.away_until = None;
        let now = self.clock.passed();
        for held in self.containers.values_mut() {
            if held.view.status == ContainerStatus::Running && held.ends.is_none() && !held.script.stays {
                held.ends = Some((now + Duration::from_secs(20), 0));
            }
        }
    }

    /// Ids, pod uids and states of all containers that carry our labels.
    pub fn ours(&self) -> impl Iterator<Item = (&str, &str, ContainerStatus)> {
        self.containers.iter().filter_map(|(id, held)| {
            let uid = held.view.labels.get(label::UID)?;
            Some((id.as_str(), uid.as_str(), held.view.status))
        })
    }

    /// Whether a command of this pod runs; its sandbox is no command.
    #[must_use]
    pub fn runs(&self, pod_uid: &str) -> bool {
        self.containers.values().any(|held| {
            held.view.status == ContainerStatus::Running
                && held.view.labels.get(label::UID).is_some_and(|uid| uid == pod_uid)
                && held.view.labels.get(label::KIND).is_some_and(|kind| kind != "sandbox")
        })
    }

    #[must_use]
    pub fn is_away(&self) -> bool {
        self.away_until.is_some_and(|until| self.clock.passed() < until)
    }

    /// Nobody could talk to it until now, whatever the reason.
    pub fn disturb(&mut self) {
        self.back_at = self.back_at.max(Some(self.clock.passed()));
    }

    /// It is away, or could not be talked to a moment ago.
    #[must_use]
    pub fn was_away_lately(&self) -> bool {
        self.back_at.is_some_and(|at| self.clock.passed() < at + LATELY)
    }

    /// When something happens by itself: a command ends, an event arrives, the engine is back, a late call is carried out.
    #[must_use]
    pub fn next_time(&self) -> Option<Duration> {
        let now = self.clock.passed();
        let ends = self.containers.values().filter_map(|held| held.ends.map(|(at, _)| at));
        let events = self.events.iter().map(|logged| logged.visible_at).filter(|at| *at > now);
        let late = self.late.iter().map(|(at, _)| *at);
        let pulls = self.pulls.iter().filter_map(|pull| pull.at);
        ends.chain(events).chain(late).chain(pulls).chain(self.away_until).min()
    }

    #[must_use]
    pub fn has_running(&self) -> bool {
        self.containers.values().any(|held| held.view.status == ContainerStatus::Running)
    }

    /// Carries out what was to happen by now.
    pub fn catch_up(&mut self) {
        let now = self.clock.passed();
        if self.away_until.is_some_and(|until| until <= now) {
            self.away_until = None;
        }
        let due = |(at, _): &(Duration, Late)| *at <= now;
        while let Some(place) = self.late.iter().position(due) {
            let (_, late) = self.late.remove(place);
            match late {
                Late::Start(id) => drop(self.start(&id)),
                Late::Create(spec) => drop(self.create(&spec)),
            }
        }
        let ended = |held: &Held| held.ends.filter(|(at, _)| *at <= now);
        let mut ended: Vec<(Duration, String, i64)> = self
            .containers
            .iter()
            .filter_map(|(id, held)| ended(held).map(|(at, code)| (at, id.clone(), code)))
            .collect();
        ended.sort();
        for (_, id, code) in ended {
            self.end(&id, code);
        }
    }

    /// Cuts every connection; the engine does not answer for a while.
    pub fn go_away(&mut self, by: Duration) {
        self.connection += 1;
        self.away_until = Some(self.clock.passed() + by);
        self.back_at = self.away_until;
    }

    /// The engine ends and comes back: its containers end with it, its memory of events is gone (D-506, D-601).
    pub fn restart(&mut self, by: Duration, unclean: bool) {
        self.go_away(by);
        // What hung in the engine hangs no more.
        self.late.clear();
        let (passed, lost) = (self.clock.passed(), self.dice.one_in(2));
        for id in self.running() {
            // Killed while it starts a container, it forgets that it did; the process lives, and a start would run it again (D-610).
            let started = self.started.get(&id).is_some_and(|at| *at + START_TAKES > passed);
            if unclean && lost && started {
                let held = self.containers.get_mut(&id).expect("it runs");
                held.view =
                    Container { status: ContainerStatus::Created, started_at: None, pid: 0, ..held.view.clone() };
                held.ends = None;
                self.truths.orphaned(&id);
                self.told.push(format!("engine: {} is an orphan", short(&id)));
                continue;
            }
            // Killed itself, it invents 255 afterwards (D-602); else its containers get its signals.
            let code = if unclean { 255 } else { *self.dice.pick(&[137, 143]) };
            self.end(&id, code);
        }
        self.kept_from = self.events.len();
    }

    fn running(&self) -> Vec<String> {
        let running = self.containers.iter().filter(|(_, held)| held.view.status == ContainerStatus::Running);
        running.map(|(id, _)| id.clone()).collect()
    }

    /// Somebody with the docker command. Answers what they did.
    pub fn meddle(&mut self) -> String {
        let ids: Vec<String> = self.ours().map(|(id, ..)| id.to_owned()).collect();
        if ids.is_empty() || self.dice.one_in(5) {
            let id = self.next_id();
            let name = format!("somebodys-{}", self.created);
            let view = Container { id: id.clone(), name, ..self.blank() };
            self.containers.insert(id.clone(), Held { view, script: Script::parse(&[]), joins: None, ends: None });
            self.strangers.insert(id.clone());
            return format!("a stranger creates {id}");
        }
        let id = self.dice.pick(&ids).clone();
        match self.dice.below(3) {
            0 => {
                drop(self.remove(&id, true));
                format!("a stranger removes {id}")
            }
            1 => {
                drop(self.kill(&id, "SIGKILL"));
                format!("a stranger kills {id}")
            }
            _ => {
                drop(self.kill(&id, "SIGTERM"));
                format!("a stranger stops {id}")
            }
        }
    }

    /// Strangers' containers that are no longer as they were: nobody but strangers touches them (I-4).
    #[must_use]
    pub fn lost_strangers(&self) -> Vec<String> {
        self.strangers.iter().filter(|id| !self.containers.contains_key(*id)).cloned().collect()
    }

    /// An image that is there from the start may go (F-23).
    pub fn remove_images(&mut self) {
        self.images.clear();
    }

    fn blank(&self) -> Container {
        Container {
            id: String::new(),
            name: String::new(),
            labels: BTreeMap::new(),
            status: ContainerStatus::Created,
            exit_code: 0,
            error: String::new(),
            oom_killed: false,
            pid: 0,
            started_at: None,
            finished_at: None,
            image: "busybox:1".to_owned(),
            image_id: "sha256:busybox".to_owned(),
            ip: "192.0.2.9".to_owned(),
        }
    }

    fn next_id(&mut self) -> String {
        self.created += 1;
        format!("{:016x}{:04}", self.dice.throw(), self.created)
    }

    fn emit(&mut self, id: &str, labels: &BTreeMap<String, String>, action: EventAction) {
        let lag = if self.dice.per_mille(self.faults.event_late) { self.dice.millis(1, 9000) } else { Duration::ZERO };
        let at = self.clock.now().wall;
        let visible_at = self.clock.passed() + lag;
        self.told.push(format!("engine: {} {action:?}", short(id)));
        self.events.push(Logged { event: Event { action, id: id.to_owned(), labels: labels.clone(), at }, visible_at });
    }

    fn end(&mut self, id: &str, code: i64) {
        let wall = self.clock.now().wall;
        let Some(held) = self.containers.get_mut(id) else { return };
        if held.view.status != ContainerStatus::Running {
            return;
        }
        held.ends = None;
        held.view.status = ContainerStatus::Exited;
        held.view.exit_code = code;
        held.view.finished_at = Some(wall);
        held.view.pid = 0;
        let labels = held.view.labels.clone();
        self.truths.ended(id, code, self.clock.passed());
        self.emit(id, &labels, EventAction::Die { exit_code: code });
    }

    fn find(&self, id_or_name: &str) -> Result<String, Error> {
        let by_name = || self.containers.values().find(|held| held.view.name == id_or_name);
        match self.containers.get(id_or_name).or_else(by_name) {
            Some(held) => Ok(held.view.id.clone()),
            None => Err(Error::NotFound(format!("No such container: {id_or_name}"))),
        }
    }
}

/// What the engine does when it is asked; faults on the way are the client's business.
impl Machine {
    pub(super) fn create(&mut self, spec: &ContainerSpec) -> Result<String, Error> {
        if !self.images.contains(&spec.image) {
            return Err(Error::NotFound(format!("No such image: {}", spec.image)));
        }
        if self.find(&spec.name).is_ok() {
            return Err(Error::Conflict(format!("The container name \"/{}\" is already in use", spec.name)));
        }
        let joins = match &spec.network {
            Network::Container(sandbox) => Some(sandbox.clone()),
            Network::Bridge | Network::Host | Network::Disabled | Network::Named { .. } => None,
        };
        if let Some(sandbox) = &joins {
            self.find(sandbox)?;
        }
        let id = self.next_id();
        let view = Container { id: id.clone(), name: spec.name.clone(), labels: spec.labels.clone(), ..self.blank() };
        let script = match spec.image.as_str() {
            pause::IMAGE => Script::PAUSE,
            _ => Script::parse(spec.cmd.as_deref().unwrap_or_default()),
        };
        self.containers.insert(id.clone(), Held { view, script, joins: joins.clone(), ends: None });
        let text = |name: &str| spec.labels.get(name).cloned().unwrap_or_default();
        let (pod_uid, container) = (text(label::UID), text(label::CONTAINER));
        let truth = Truth { name: spec.name.clone(), pod_uid, container, sandbox: joins, ..Truth::default() };
        self.truths.created(&id, truth);
        self.emit(&id, &spec.labels, EventAction::Create);
        Ok(id)
    }

    pub(super) fn start(&mut self, id: &str) -> Result<(), Error> {
        let id = self.find(id)?;
        let (now, wall) = (self.clock.passed(), self.clock.now().wall);
        let joins = self.containers[&id].joins.clone();
        if let Some(sandbox) = joins
            && !self.containers.get(&sandbox).is_some_and(|held| held.view.status == ContainerStatus::Running)
        {
            // D-204.
            return Err(Error::Conflict(format!("cannot join network of a non running container: {sandbox}")));
        }
        let held = self.containers.get_mut(&id).expect("found above");
        if held.view.status == ContainerStatus::Running {
            return Err(Error::NotModified);
        }
        let script = held.script;
        if !self.calm && self.dice.below(100) < script.start_error {
            held.view.error = "exec: \"nothing\": executable file not found".to_owned();
            held.view.exit_code = 127;
            return Err(Error::Refused { status: 400, message: held.view.error.clone() });
        }
        let fails = self.dice.below(100) < script.fail;
        let seconds = Duration::from_millis(self.dice.between(1, script.seconds.max(1) * 1000));
        held.ends = match (self.calm, script.seconds) {
            _ if script.stays => None,
            (true, _) => Some((now + seconds.min(Duration::from_secs(20)), 0)),
            (false, 0) => None,
            (false, _) => Some((now + seconds, if fails { script.code } else { 0 })),
        };
        held.view.status = ContainerStatus::Running;
        held.view.started_at = Some(wall);
        held.view.finished_at = None;
        // No process has this id, so that the engine is asked whether it lost the container (D-1604).
        held.view.pid = 1 << 40;
        let labels = held.view.labels.clone();
        self.started.insert(id.clone(), now);
        self.truths.started(&id, now);
        self.emit(&id, &labels, EventAction::Start);
        Ok(())
    }

    pub(super) fn inspect(&self, id: &str) -> Result<Container, Error> {
        Ok(self.containers[&self.find(id)?].view.clone())
    }

    pub(super) fn list(&self, label: &str) -> Vec<ListedContainer> {
        let ours = self.containers.values().filter(|held| carries(&held.view.labels, label));
        ours.map(|held| ListedContainer {
            id: held.view.id.clone(),
            name: held.view.name.clone(),
            labels: held.view.labels.clone(),
            status: held.view.status,
        })
        .collect()
    }

    pub(super) fn kill(&mut self, id: &str, signal: &str) -> Result<(), Error> {
        let id = self.find(id)?;
        let now = self.clock.passed();
        let held = self.containers.get_mut(&id).expect("found above");
        if held.view.status != ContainerStatus::Running {
            return Err(Error::Conflict(format!("container {id} is not running")));
        }
        let delay = Duration::from_millis(self.dice.between(1, 3000));
        let sooner = |ends: Option<(Duration, i64)>, at: Duration, code| match ends {
            Some((earlier, own)) if earlier <= at => Some((earlier, own)),
            Some(_) | None => Some((at, code)),
        };
        match (signal, held.script.term) {
            ("SIGKILL", _) if held.script.stuck && !self.calm => held.ends = sooner(held.ends, now + delay * 60, 137),
            ("SIGKILL", _) => held.ends = sooner(held.ends, now + delay / 100, 137),
            (_, 0) => held.ends = sooner(held.ends, now + delay, 143),
            (_, 1) => held.ends = sooner(held.ends, now + delay, 0),
            (_, _) => {}
        }
        let labels = held.view.labels.clone();
        let number = if signal == "SIGKILL" { "9" } else { "15" };
        self.emit(&id, &labels, EventAction::Kill(number.to_owned()));
        Ok(())
    }

    pub(super) fn remove(&mut self, id: &str, force: bool) -> Result<(), Error> {
        let id = self.find(id)?;
        if self.containers[&id].view.status == ContainerStatus::Running {
            if !force {
                return Err(Error::Conflict(format!("container {id} is running: stop it before removing or force")));
            }
            if self.containers[&id].script.stuck && !self.calm {
                return Err(Error::Infrastructure(format!(
                    "could not kill container {id}: tried to kill it and failed"
                )));
            }
            let labels = self.containers[&id].view.labels.clone();
            self.emit(&id, &labels, EventAction::Kill("9".to_owned()));
            self.end(&id, 137);
        }
        if let Some(held) = self.containers.remove(&id) {
            self.emit(&id, &held.view.labels, EventAction::Destroy);
        }
        Ok(())
    }

    pub(super) fn has_log(&self, id: &str) -> Result<(), Error> {
        self.find(id).map(drop)
    }

    pub(super) fn image(&self, image: &str) -> Result<Image, Error> {
        if !self.images.contains(image) {
            return Err(Error::NotFound(format!("No such image: {image}")));
        }
        Ok(Image { id: "sha256:busybox".to_owned(), size_bytes: 4_000_000, ..Image::default() })
    }

    /// Begins a pull. It runs in a task of its own, so nothing is decided here that depends on when that task has its turn.
    pub(super) fn pull(&mut self, image: &str) -> oneshot::Receiver<Result<(), Error>> {
        let (sender, receiver) = oneshot::channel();
        self.pulls.push(Pull { at: None, image: image.to_owned(), sender });
        receiver
    }

    /// Between two steps: decides about new pulls, and tells those whose time has come. True when somebody was told.
    pub fn serve_pulls(&mut self) -> bool {
        let (now, away) = (self.clock.passed(), self.is_away());
        let mut told = false;
        for mut pull in std::mem::take(&mut self.pulls) {
            let at = match pull.at {
                Some(at) => at,
                None => now + self.dice.millis(1, 8000),
            };
            if away || at <= now {
                told = true;
                let result = if away { Err(unreachable()) } else { self.end_pull(&pull.image) };
                // Nobody waits any more when its daemon has died.
                drop(pull.sender.send(result));
            } else {
                pull.at = Some(at);
                self.pulls.push(pull);
            }
        }
        told
    }

    /// Takes an image out of an archive: at once, and from nowhere else.
    pub(super) fn load(&mut self, image: &str) -> Result<(), Error> {
        self.images.insert(image.to_owned());
        Ok(())
    }

    fn end_pull(&mut self, image: &str) -> Result<(), Error> {
        if image.contains("missing") && !self.calm {
            return Err(Error::NotFound(format!("pull access denied for {image}")));
        }
        self.images.insert(image.to_owned());
        Ok(())
    }

    /// What the engine remembers of events with this label.
    pub(super) fn remembered(&self, label: &str, until: Timestamp) -> Vec<Event> {
        let now = self.clock.passed();
        // D-506: few, of whatever container.
        let few = usize::try_from(self.faults.memory).unwrap_or_default();
        let from = if few > 0 { self.events.len().saturating_sub(few).max(self.kept_from) } else { self.kept_from };
        // What follows an answer may be late; a creation is remembered before it is answered.
        let is_there = |logged: &&Logged| logged.visible_at <= now || logged.event.action == EventAction::Create;
        let kept = self.events[from..].iter().filter(is_there);
        let wanted = kept.map(|logged| &logged.event).filter(|event| event.at <= until);
        wanted.filter(|event| carries(&event.labels, label)).cloned().collect()
    }

    /// How many events there were.
    pub(super) fn event_count(&self) -> usize {
        self.events.len()
    }

    /// The event at this place, if a follower could have it by now.
    pub(super) fn event_at(&self, place: usize) -> Option<&Event> {
        let logged = self.events.get(place)?;
        (logged.visible_at <= self.clock.passed()).then_some(&logged.event)
    }

    /// Carries a call out later, although its client has given up.
    pub(super) fn start_later(&mut self, id: &str) {
        let at = self.clock.passed() + self.dice.millis(1, 5000);
        self.late.push((at, Late::Start(id.to_owned())));
    }

    pub(super) fn create_later(&mut self, spec: &ContainerSpec) {
        let at = self.clock.passed() + self.dice.millis(1, 5000);
        self.late.push((at, Late::Create(Box::new(spec.clone()))));
    }
}

fn unreachable() -> Error {
    Error::Unreachable("connection closed".to_owned())
}

/// `key=value`
pub(super) fn carries(labels: &BTreeMap<String, String>, label: &str) -> bool {
    label.split_once('=').is_some_and(|(key, value)| labels.get(key).is_some_and(|have| have == value))
}

/// Enough of an id to tell it from others.
pub(super) fn short(id: &str) -> &str {
    id.get(id.len().saturating_sub(4)..).unwrap_or(id)
}
