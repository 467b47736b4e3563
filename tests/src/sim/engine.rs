//! One daemon's connection to the [`Machine`]: where answers get lost, calls take long, and the daemon dies in the middle of one.

use std::{
    collections::BTreeMap,
    future::pending,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicBool, Ordering},
    },
    task::Poll,
    time::Duration,
};

use bytes::Bytes;
use futures_util::{
    StreamExt as _,
    future::BoxFuture,
    stream::{self, BoxStream},
};
use jiff::Timestamp;
use jobd::{
    engine::{
        Container, ContainerSpec, Engine, Error, Event, ExecEnd, ExecLimits, Image, Info, ListedContainer,
        ListedNetwork, LogFrame, LogQuery, RegistryAuth,
    },
    sys::Clock as _,
};
use tokio::sync::{Notify, oneshot};

use super::{
    clock::VirtualClock,
    machine::{Machine, carries},
};

/// What somebody else does while a call is under way.
pub type Interruption = Box<dyn Fn() -> BoxFuture<'static, ()> + Send + Sync>;

/// Opened, it lets a held call go on.
pub type Gate = oneshot::Sender<()>;

/// Dies with its daemon; the machine lives on.
pub struct ScriptedEngine {
    machine: Arc<Mutex<Machine>>,
    clock: Arc<VirtualClock>,
    /// Told when the daemon dies in the middle of a call.
    pub crashed: Notify,
    dead: AtomicBool,
    /// Told when a call is held.
    pub held: Notify,
    gate: Mutex<Option<Gate>>,
    interruption: Mutex<Option<Arc<Interruption>>>,
}

/// What becomes of one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Answered,
    Slow(Duration),
    /// The engine is not there.
    Away,
    LostUndone,
    LostDone,
    /// Carried out after its client has given up, where that makes a difference.
    LostLater,
    Refused,
    /// Others have their turn before it is carried out, or before its answer is there.
    HeldBefore,
    HeldAfter,
    CrashBefore,
    CrashAfter,
    /// The engine carries it out although the daemon that sent it is dead.
    CrashLater,
    Interrupted,
}

/// The calls that may be carried out late.
enum Lateness<'a> {
    Never,
    Start(&'a str),
    Create(&'a ContainerSpec),
}

impl ScriptedEngine {
    #[must_use]
    pub fn new(machine: Arc<Mutex<Machine>>, clock: Arc<VirtualClock>) -> Self {
        Self {
            machine,
            clock,
            crashed: Notify::new(),
            dead: AtomicBool::new(false),
            held: Notify::new(),
            gate: Mutex::new(None),
            interruption: Mutex::new(None),
        }
    }

    /// Who may write while a call is under way.
    pub fn interrupt_with(&self, interruption: Interruption) {
        *self.interruption.lock().expect("no panic while held") = Some(Arc::new(interruption));
    }

    /// The daemon is gone: whatever it left behind gets no answer any more.
    pub fn die(&self) {
        self.dead.store(true, Ordering::Relaxed);
        *self.interruption.lock().expect("no panic while held") = None;
    }

    /// The call that was just held.
    pub fn take_gate(&self) -> Option<Gate> {
        self.gate.lock().expect("no panic while held").take()
    }

    /// Waits until somebody opens the gate.
    async fn hold(&self) {
        let (gate, opened) = oneshot::channel();
        *self.gate.lock().expect("no panic while held") = Some(gate);
        self.held.notify_one();
        if opened.await.is_err() {
            pending().await
        }
    }

    fn machine(&self) -> MutexGuard<'_, Machine> {
        let mut machine = self.machine.lock().expect("no panic while held");
        machine.catch_up();
        machine
    }

    /// `factor`: how much more often its answer is lost, or its daemon dies.
    fn draw(&self, factor: u64) -> Fate {
        let mut machine = self.machine();
        machine.calls += 1;
        if machine.is_away() {
            return Fate::Away;
        }
        let faults = machine.faults.clone();
        let dice = machine.dice();
        let lost = [Fate::LostUndone, Fate::LostDone, Fate::LostDone, Fate::LostLater];
        if dice.per_mille(faults.crash_in_call * factor) {
            return *dice.pick(&[Fate::CrashBefore, Fate::CrashAfter, Fate::CrashLater]);
        }
        if dice.per_mille(faults.lost_answer * factor) {
            return *dice.pick(&lost);
        }
        if dice.per_mille(faults.refused) {
            return Fate::Refused;
        }
        if dice.per_mille(faults.slow_call) {
            return Fate::Slow(dice.millis(100, 20_000));
        }
        if dice.per_mille(faults.write_in_call) {
            return Fate::Interrupted;
        }
        if dice.per_mille(faults.held * factor.min(2)) {
            return *dice.pick(&[Fate::HeldBefore, Fate::HeldAfter]);
        }
        Fate::Answered
    }

    /// Whether the engine is killed just after a start, so that it may forget that there was one (D-610).
    fn dies_of_it(&self) -> bool {
        let mut machine = self.machine();
        let chance = machine.faults.restart * 15;
        chance > 0 && !machine.is_away() && machine.dice().per_mille(chance)
    }

    fn restart(&self) {
        let mut machine = self.machine();
        let by = machine.dice().millis(500, 30_000);
        machine.restart(by, true);
        machine.told.push(format!("the engine is killed just after a start, for {by:?}"));
    }

    /// Often an answer is lost because nobody waited any longer: time has passed, and a short command has ended.
    fn wait_in_vain(&self) {
        let mut machine = self.machine();
        let dice = machine.dice();
        let by = if dice.one_in(2) { dice.millis(1, 60_000) } else { Duration::ZERO };
        drop(machine);
        self.clock.advance(by);
    }

    async fn crash(&self) -> ! {
        self.crashed.notify_one();
        pending().await
    }

    fn do_later<T>(&self, lateness: &Lateness<'_>, effect: impl FnOnce(&mut Machine) -> Result<T, Error>) {
        let mut machine = self.machine();
        match lateness {
            Lateness::Never => drop(effect(&mut machine)),
            Lateness::Start(id) => machine.start_later(id),
            Lateness::Create(spec) => machine.create_later(spec),
        }
    }

    /// One call, with what may happen to it on the way there and back.
    async fn call<T>(
        &self,
        lateness: Lateness<'_>,
        effect: impl FnOnce(&mut Machine) -> Result<T, Error>,
    ) -> Result<T, Error> {
        if self.dead.load(Ordering::Relaxed) {
            return pending().await;
        }
        let lost = || Error::Unreachable("connection closed before message completed".to_owned());
        // Few calls are of these kinds, and most that can go wrong goes wrong there.
        let factor = match lateness {
            Lateness::Never => 1,
            Lateness::Start(_) | Lateness::Create(_) => 5,
        };
        if matches!(lateness, Lateness::Start(_)) && self.dies_of_it() {
            drop(effect(&mut self.machine()));
            self.restart();
            return Err(lost());
        }
        match self.draw(factor) {
            Fate::Answered => effect(&mut self.machine()),
            Fate::Slow(by) => {
                self.clock.advance(by);
                effect(&mut self.machine())
            }
            Fate::Away => Err(Error::Unreachable("connection refused".to_owned())),
            Fate::LostUndone => {
                self.wait_in_vain();
                Err(lost())
            }
            Fate::LostDone => {
                drop(effect(&mut self.machine()));
                self.wait_in_vain();
                Err(lost())
            }
            Fate::LostLater => {
                self.do_later(&lateness, effect);
                Err(lost())
            }
            Fate::HeldBefore => {
                self.hold().await;
                let mut machine = self.machine();
                if machine.is_away() {
                    return Err(lost());
                }
                effect(&mut machine)
            }
            Fate::HeldAfter => {
                let result = effect(&mut self.machine());
                let connection = self.machine().connection;
                self.hold().await;
                if self.machine().connection == connection { result } else { Err(lost()) }
            }
            Fate::Refused => Err(Error::Infrastructure("containerd: connection error: unavailable".to_owned())),
            Fate::CrashBefore => self.crash().await,
            Fate::CrashAfter => {
                drop(effect(&mut self.machine()));
                self.crash().await
            }
            Fate::CrashLater => {
                self.do_later(&lateness, effect);
                self.crash().await
            }
            Fate::Interrupted => {
                let interruption = self.interruption.lock().expect("no panic while held").clone();
                let result = effect(&mut self.machine());
                if let Some(interruption) = interruption {
                    interruption().await;
                }
                result
            }
        }
    }
}

impl Engine for ScriptedEngine {
    async fn info(&self) -> Result<Info, Error> {
        let info = Info { cpus: 4, memory_bytes: 8 << 30, live_restore: false, ..Info::default() };
        self.call(Lateness::Never, |_| Ok(info)).await
    }

    async fn create(&self, spec: &ContainerSpec) -> Result<String, Error> {
        self.call(Lateness::Create(spec), |machine| machine.create(spec)).await
    }

    async fn start(&self, id: &str) -> Result<(), Error> {
        self.call(Lateness::Start(id), |machine| machine.start(id)).await
    }

    async fn inspect(&self, id: &str) -> Result<Container, Error> {
        self.call(Lateness::Never, |machine| machine.inspect(id)).await
    }

    async fn list(&self, label: &str) -> Result<Vec<ListedContainer>, Error> {
        self.call(Lateness::Never, |machine| Ok(machine.list(label))).await
    }

    async fn kill(&self, id: &str, signal: &str) -> Result<(), Error> {
        let (at, asked) = (self.clock.passed(), self.clock.now().wall);
        let effect = |machine: &mut Machine| {
            machine.kill(id, signal)?;
            match signal {
                "SIGKILL" => machine.truths.killed(id, at, asked),
                _ => machine.truths.asked_to_stop(id, at),
            }
            Ok(())
        };
        self.call(Lateness::Never, effect).await
    }

    async fn remove(&self, id: &str, force: bool) -> Result<(), Error> {
        self.call(Lateness::Never, |machine| machine.remove(id, force)).await
    }

    async fn events(
        &self,
        label: &str,
        since: Option<Timestamp>,
        until: Option<Timestamp>,
    ) -> Result<BoxStream<'static, Result<Event, Error>>, Error> {
        let label = label.to_owned();
        if let Some(until) = until {
            let remembered = self.call(Lateness::Never, |machine| Ok(machine.remembered(&label, until))).await?;
            return Ok(stream::iter(remembered.into_iter().map(Ok)).boxed());
        }
        assert!(since.is_none(), "the node follows from now on");
        let begun = self.call(Lateness::Never, |machine| Ok((machine.connection, machine.event_count()))).await;
        let (connection, mut place) = begun?;
        let machine = Arc::clone(&self.machine);
        let next = move || {
            let machine = machine.lock().expect("no panic while held");
            if machine.connection != connection {
                return Poll::Ready(None);
            }
            while let Some(event) = machine.event_at(place) {
                place += 1;
                if carries(&event.labels, &label) {
                    return Poll::Ready(Some(Ok(event.clone())));
                }
            }
            Poll::Pending
        };
        let mut next = next;
        Ok(stream::poll_fn(move |_| next()).boxed())
    }

    async fn logs(&self, id: &str, _query: LogQuery) -> Result<BoxStream<'static, Result<LogFrame, Error>>, Error> {
        self.call(Lateness::Never, |machine| machine.has_log(id)).await?;
        let frame = LogFrame { stderr: false, at: self.clock.now().wall, data: Bytes::from_static(b"a line\n") };
        Ok(stream::iter([Ok(frame)]).boxed())
    }

    async fn exec(&self, id: &str, _command: &[String], _limits: ExecLimits) -> Result<ExecEnd, Error> {
        self.call(Lateness::Never, |machine| machine.has_log(id)).await?;
        Ok(ExecEnd::Exited { exit_code: 0, output: Bytes::new() })
    }

    async fn inspect_image(&self, image: &str) -> Result<Image, Error> {
        self.call(Lateness::Never, |machine| machine.image(image)).await
    }

    async fn pull(&self, image: &str, _auth: Option<&RegistryAuth>) -> Result<(), Error> {
        // Runs beside the steps and takes its time, so that the daemon cannot die at a certain place of it.
        if self.dead.load(Ordering::Relaxed) {
            return pending().await;
        }
        let pulled = self.machine().pull(image);
        // An error means that the machine is gone, and with it the question.
        pulled.await.unwrap_or_else(|_| Err(Error::Unreachable("connection closed".to_owned())))
    }

    // The workload has no pods with names; a network is nothing that could fail.
    async fn ensure_network(&self, _name: &str, _labels: &BTreeMap<String, String>) -> Result<(), Error> {
        Ok(())
    }

    async fn list_networks(&self, _label: &str) -> Result<Vec<ListedNetwork>, Error> {
        Ok(Vec::new())
    }

    async fn remove_network(&self, _name: &str) -> Result<(), Error> {
        Ok(())
    }

    async fn load_image(&self, _archive: Bytes) -> Result<(), Error> {
        self.call(Lateness::Never, |machine| machine.load(jobd::engine::pause::IMAGE)).await
    }

    async fn is_lost(&self, _id: &str) -> Result<bool, Error> {
        self.call(Lateness::Never, |_| Ok(false)).await
    }

    async fn ping(&self) -> Result<Duration, Error> {
        self.call(Lateness::Never, |_| Ok(Duration::from_millis(1))).await
    }
}
