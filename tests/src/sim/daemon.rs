//! One life of the daemon: the real parts over the store's file, without a server, stepped by hand. Built anew after each crash.

use std::{
    path::Path,
    sync::{Arc, Mutex},
    time::Duration,
};

use anyhow::Context as _;
use futures_util::{FutureExt as _, StreamExt as _, future::BoxFuture, stream::BoxStream};
use jobd::{
    controllers::{
        bootstrap::{self, DefaultObjects, NodeFacts},
        cron_job::CronJobController,
        events_expiry::EventsExpiry,
        garbage::Garbage,
        job::JobController,
        namespace::Namespaces,
        pod_gc::{self, PodGc},
        ttl::Ttl,
    },
    driver::{Begun, Deadline, Driver, Step, Waker},
    engine::{Error, Event},
    node::{self, Node},
    recorder::Recorder,
    scheduler::Scheduler,
    store::{Options, Store},
    sys::{Clock, SharedRandom},
};

use super::{
    clock::VirtualClock,
    dice::Dice,
    disk::{Disk, Mounted},
    engine::ScriptedEngine,
    flight::{Errand, Flight, Landed, Leg, fly},
    machine::Machine,
};

const NODE: &str = "node";
const CPUS: i64 = 4;
const MEMORY: i64 = 8 << 30;
/// Short enough that events expire in long runs.
const EVENT_TTL: Duration = Duration::from_secs(3600);
/// Of the event stream, while the engine stays away.
const RECONNECT: Duration = Duration::from_secs(1);
/// How much may be under way at once. The node has as many workers for chores.
const FLIGHTS_MAX: usize = 4;
const WORKERS: usize = 2;
/// D-508.
const SWEEP: Duration = Duration::from_secs(5);

/// A running daemon.
pub struct Daemon {
    pub store: Store,
    pub engine: Arc<ScriptedEngine>,
    driver: Driver,
    node: Node<ScriptedEngine>,
    clock: Arc<VirtualClock>,
    /// Work whose engine call is held.
    flights: Vec<Flight>,
    events: Option<BoxStream<'static, Result<Event, Error>>>,
    /// When to connect again, since the simulation began.
    pub connect_at: Duration,
    pub sweep_at: Duration,
}

/// The daemon died in the middle of something.
#[derive(Clone, Copy, Debug)]
pub struct Crashed;

/// How far a piece of work came.
#[must_use = "a step may have failed"]
pub enum Stepped {
    Ran(Step),
    /// Its engine call is held.
    Held(Errand),
    /// Something was done that says nothing.
    Busy,
    /// Nothing is ready; something is due at the deadline.
    Idle(Deadline),
}

impl Daemon {
    /// Starts as `jobd serve` does.
    pub async fn start(
        data_dir: &Path,
        clock: &Arc<VirtualClock>,
        machine: &Arc<Mutex<Machine>>,
        disk: &Arc<Disk>,
        dice: &mut Dice,
    ) -> anyhow::Result<Self> {
        let shared_clock: Arc<dyn Clock> = Arc::<VirtualClock>::clone(clock);
        let store = Store::open(Options {
            path: data_dir.join("jobd.db"),
            clock: Arc::clone(&shared_clock),
            history: Duration::from_secs(300),
        })
        .await
        .context("open the store")?;
        let random = Arc::new(SharedRandom::seeded(dice.throw()));
        let events_random = Arc::new(SharedRandom::seeded(dice.throw()));
        let recorder = Arc::new(Recorder::with_random(NODE.to_owned(), EVENT_TTL, events_random));
        let objects = DefaultObjects::new(store.clone(), Arc::clone(&random), "a certificate".to_owned());
        bootstrap::ensure(&store, &objects, &random, &facts(), clock.now()).await.context("prepare the store")?;
        let engine = Arc::new(ScriptedEngine::new(Arc::clone(machine), Arc::clone(clock)));
        // A daemon that cannot even write this does not come up; whoever starts it tries again.
        store.judge_with(Arc::new(Mounted { disk: Arc::clone(disk), engine: Arc::clone(&engine) }));
        let waker = Waker::default();
        let node = Node::new(node::Parts {
            store: store.clone(),
            engine: Arc::clone(&engine),
            clock: Arc::clone(&shared_clock),
            recorder: Arc::clone(&recorder),
            waker: waker.clone(),
            facts: node::observed::NodeFacts {
                name: NODE.to_owned(),
                host_ip: "192.0.2.1".to_owned(),
                cpus: CPUS,
                memory_bytes: MEMORY,
                pids_limit: 0,
                instance: store.instance_id().to_owned(),
            },
            data_dir: data_dir.to_owned(),
            host_root: "/".into(),
            engine_calls: 2,
        });
        let mut driver = Driver::new(store.clone(), Arc::clone(&shared_clock));
        driver.add(JobController::new(store.clone(), Arc::clone(&recorder), Arc::clone(&random)));
        let zone = jiff::tz::TimeZone::UTC;
        driver.add(CronJobController::new(store.clone(), Arc::clone(&recorder), Arc::clone(&random), zone));
        driver.add(Scheduler::new(store.clone(), recorder, NODE.to_owned()));
        driver.add_with(node.clone(), &waker);
        driver.add(Ttl::new(store.clone(), shared_clock));
        driver.add(Garbage::new(store.clone()));
        driver.add(Namespaces::new(store.clone()));
        driver.add(objects);
        driver.add(EventsExpiry::new(store.clone()));
        driver.add(PodGc::new(store.clone(), pod_gc::FINISHED_MAX));
        let passed = clock.passed();
        let clock = Arc::clone(clock);
        Ok(Self {
            store,
            engine,
            driver,
            node,
            clock,
            flights: Vec::new(),
            events: None,
            connect_at: passed,
            sweep_at: passed + SWEEP,
        })
    }

    /// Ends without any of the care that a stop takes; only the file is closed, so that the next life can open it.
    pub async fn die(self) {
        let Self { store, engine, driver, node, clock: _, flights, events, connect_at: _, sweep_at: _ } = self;
        engine.die();
        drop((driver, node, events, flights));
        store.close().await;
    }

    /// How much is under way.
    #[must_use]
    pub fn flights(&self) -> usize {
        self.flights.len()
    }

    fn has(&self, errand: Errand) -> usize {
        self.flights.iter().filter(|flight| flight.errand == errand).count()
    }

    /// One step of the loops, chosen among the ready ones: to its end, or until its engine call is held. None: nothing is ready.
    ///
    /// # Errors
    /// The daemon died in the middle.
    pub async fn step(&mut self, dice: &mut Dice) -> Result<Stepped, Crashed> {
        if self.flights.len() >= FLIGHTS_MAX {
            return self.go_on(dice).await;
        }
        let choose = |ready: usize| usize::try_from(dice.below(ready as u64)).unwrap_or_default();
        match self.driver.begin_with(choose).await {
            Begun::Idle(deadline) => Ok(Stepped::Idle(deadline)),
            Begun::Run(run) => self.begin(Errand::Step, async { Landed::Step(run.await) }.boxed()).await,
        }
    }

    /// Something that is under way goes on.
    ///
    /// # Errors
    /// The daemon died in the middle.
    pub async fn go_on(&mut self, dice: &mut Dice) -> Result<Stepped, Crashed> {
        let count = self.flights.len();
        if count == 0 {
            return Ok(Stepped::Busy);
        }
        let flight = self.flights.remove(usize::try_from(dice.below(count as u64)).unwrap_or_default());
        let errand = flight.errand;
        let engine = Arc::clone(&self.engine);
        let leg = flight.go_on(&engine).await?;
        Ok(self.settle(errand, leg))
    }

    /// What others do with the daemon, unless it dies in the middle.
    ///
    /// # Errors
    /// The daemon died in the middle.
    pub async fn or_crash<T>(&self, work: impl Future<Output = T>) -> Result<T, Crashed> {
        tokio::select! {
            biased;
            done = work => Ok(done),
            () = self.engine.crashed.notified() => Err(Crashed),
        }
    }

    async fn begin(&mut self, errand: Errand, work: BoxFuture<'static, Landed>) -> Result<Stepped, Crashed> {
        let engine = Arc::clone(&self.engine);
        let leg = fly(errand, work, &engine).await?;
        Ok(self.settle(errand, leg))
    }

    fn settle(&mut self, errand: Errand, leg: Leg) -> Stepped {
        match leg {
            Leg::Landed(Landed::Step(step)) => return Stepped::Ran(step),
            Leg::Landed(Landed::Connected(stream)) => self.events = stream,
            Leg::Landed(Landed::Done) => {}
            Leg::Held(flight) => {
                self.flights.push(flight);
                return Stepped::Held(errand);
            }
        }
        Stepped::Busy
    }

    /// The clock was set and the driver's timer told so.
    pub fn clock_jumped(&mut self) {
        self.driver.clock_jumped();
    }

    #[must_use]
    pub fn is_connected(&self) -> bool {
        self.events.is_some()
    }

    /// The event stream is to be opened now.
    #[must_use]
    pub fn wants_to_connect(&self) -> bool {
        self.events.is_none() && self.connect_at <= self.clock.passed() && self.has(Errand::Connect) == 0
    }

    /// Opens the event stream.
    ///
    /// # Errors
    /// The daemon died in the middle.
    pub async fn connect(&mut self) -> Result<Stepped, Crashed> {
        self.connect_at = self.clock.passed() + RECONNECT;
        let node = self.node.clone();
        self.begin(Errand::Connect, async move { Landed::Connected(node.connect().await.ok()) }.boxed()).await
    }

    /// The next event of the stream, if one is there. Finds out that the stream has ended.
    pub fn next_event(&mut self) -> Option<Event> {
        match self.events.as_mut()?.next().now_or_never()? {
            Some(Ok(event)) => Some(event),
            Some(Err(_)) | None => {
                self.node.disconnected();
                self.events = None;
                self.connect_at = self.clock.passed() + RECONNECT / 10;
                None
            }
        }
    }

    pub fn apply(&self, event: &Event) {
        self.node.apply(event);
    }

    /// Compares memory with the engine, unless that is under way.
    ///
    /// # Errors
    /// The daemon died in the middle.
    pub async fn sweep(&mut self) -> Result<Stepped, Crashed> {
        self.sweep_at = self.clock.passed() + SWEEP;
        if self.has(Errand::Sweep) > 0 {
            return Ok(Stepped::Busy);
        }
        let node = self.node.clone();
        let work = async move {
            node.sweep().await;
            Landed::Done
        };
        self.begin(Errand::Sweep, work.boxed()).await
    }

    /// One worker does the chores that are queued now, unless all are busy.
    ///
    /// # Errors
    /// The daemon died in the middle.
    pub async fn do_chores(&mut self) -> Result<Stepped, Crashed> {
        if self.has(Errand::Chores) >= WORKERS {
            return Ok(Stepped::Busy);
        }
        let node = self.node.clone();
        let work = async move {
            node.do_chores().await;
            Landed::Done
        };
        self.begin(Errand::Chores, work.boxed()).await
    }
}

fn facts() -> NodeFacts {
    let text = |text: &str| text.to_owned();
    NodeFacts {
        name: text(NODE),
        hostname: text(NODE),
        internal_ip: text("192.0.2.1"),
        machine_id: text("0123456789abcdef"),
        system_uuid: text("0123456789abcdef"),
        boot_id: text("1"),
        kernel_version: text("6.1"),
        os_image: text("a script"),
        container_runtime_version: text("docker://0"),
        kubelet_version: text("v1.36.0"),
        architecture: text("amd64"),
        cpus: CPUS,
        memory_bytes: MEMORY,
        ephemeral_storage_bytes: 1 << 40,
        max_pods: 110,
    }
}
