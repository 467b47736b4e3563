//! One life of the daemon: the real parts over the store's file, without a server, stepped by hand. Built anew after each crash.

use std::{
    path::Path,
    sync::{Arc, Mutex},
    time::Duration,
};

use anyhow::Context as _;
use futures_util::{FutureExt as _, StreamExt as _, stream::BoxStream};
use jobd::{
    controllers::{
        bootstrap::{self, DefaultObjects, NodeFacts},
        events_expiry::EventsExpiry,
        garbage::Garbage,
        job::JobController,
        namespace::Namespaces,
        pod_gc::{self, PodGc},
        ttl::Ttl,
    },
    driver::{Driver, Step, Waker},
    engine::{Error, Event},
    node::{self, Node},
    recorder::Recorder,
    scheduler::Scheduler,
    store::{Options, Store},
    sys::{Clock, SharedRandom},
};

use super::{clock::VirtualClock, dice::Dice, engine::ScriptedEngine, machine::Machine};

const NODE: &str = "node";
const CPUS: i64 = 4;
const MEMORY: i64 = 8 << 30;
/// Short enough that events expire in long runs.
const EVENT_TTL: Duration = Duration::from_secs(3600);
/// Of the event stream, while the engine stays away.
const RECONNECT: Duration = Duration::from_secs(1);
/// D-508.
const SWEEP: Duration = Duration::from_secs(5);

/// A running daemon.
pub struct Daemon {
    pub store: Store,
    pub engine: Arc<ScriptedEngine>,
    driver: Driver,
    node: Node<ScriptedEngine>,
    clock: Arc<VirtualClock>,
    events: Option<BoxStream<'static, Result<Event, Error>>>,
    /// When to connect again, since the simulation began.
    pub connect_at: Duration,
    pub sweep_at: Duration,
}

/// The daemon died in the middle of something.
#[derive(Clone, Copy, Debug)]
pub struct Crashed;

impl Daemon {
    /// Starts as `jobd serve` does.
    pub async fn start(
        data_dir: &Path,
        clock: &Arc<VirtualClock>,
        machine: &Arc<Mutex<Machine>>,
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
            engine_calls: 2,
        });
        let mut driver = Driver::new(store.clone(), Arc::clone(&shared_clock));
        driver.add(JobController::new(store.clone(), Arc::clone(&recorder), Arc::clone(&random)));
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
        Ok(Self { store, engine, driver, node, clock, events: None, connect_at: passed, sweep_at: passed + SWEEP })
    }

    /// Ends without any of the care that a stop takes; only the file is closed, so that the next life can open it.
    pub async fn die(self) {
        let Self { store, engine, driver, node, clock: _, events, connect_at: _, sweep_at: _ } = self;
        engine.die();
        drop((driver, node, events));
        store.close().await;
    }

    /// One step of the loops, chosen among the ready ones.
    pub async fn step(&mut self, dice: &mut Dice) -> Result<Step, Crashed> {
        let engine = Arc::clone(&self.engine);
        let choose = |ready: usize| usize::try_from(dice.below(ready as u64)).unwrap_or_default();
        or_crash(&engine, self.driver.step_with(choose)).await
    }

    /// The clock was set and the driver's timer told so.
    pub fn clock_jumped(&mut self) {
        self.driver.clock_jumped();
    }

    #[must_use]
    pub fn is_connected(&self) -> bool {
        self.events.is_some()
    }

    /// Opens the event stream.
    pub async fn connect(&mut self) -> Result<(), Crashed> {
        self.connect_at = self.clock.passed() + RECONNECT;
        let engine = Arc::clone(&self.engine);
        self.events = or_crash(&engine, self.node.connect()).await?.ok();
        Ok(())
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

    pub async fn sweep(&mut self) -> Result<(), Crashed> {
        self.sweep_at = self.clock.passed() + SWEEP;
        let engine = Arc::clone(&self.engine);
        or_crash(&engine, self.node.sweep()).await
    }

    pub async fn do_chores(&mut self) -> Result<(), Crashed> {
        let engine = Arc::clone(&self.engine);
        or_crash(&engine, self.node.do_chores()).await
    }
}

/// Goes on to the end, or to the crash.
async fn or_crash<T>(engine: &ScriptedEngine, work: impl Future<Output = T>) -> Result<T, Crashed> {
    tokio::select! {
        biased;
        done = work => Ok(done),
        () = engine.crashed.notified() => Err(Crashed),
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
