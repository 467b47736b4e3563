//! `jobd serve`: builds the parts, joins them, stops them in order.
//!
//! Order of starting: data directory, store, listeners (so that a taken port is said at once), what must exist before the first
//! answer (namespaces, the node), then the loops. Order of stopping: the server, the loops, the store; containers run on.

use std::{future::Future, os::unix::fs::PermissionsExt as _, path::Path, sync::Arc, time::Duration};

use anyhow::Context as _;
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::watch,
    task::JoinHandle,
};
use tracing::{error, info, warn};

use super::observe;
use crate::{
    config::Config,
    controllers::{
        bootstrap::{self, DefaultObjects, NodeFacts},
        cron_job::CronJobController,
        events_expiry::EventsExpiry,
        garbage::Garbage,
        history::History,
        job::JobController,
        namespace::Namespaces,
        pod_gc::{self, PodGc},
        ttl::Ttl,
    },
    driver::{Driver, Waker},
    engine::{self, Engine as _, docker::DockerEngine, measured::Measured},
    node::{self, Node},
    recorder::Recorder,
    scheduler::Scheduler,
    server::{self, App, Listeners},
    store::{self, Store},
    sys::{Clock, SharedRandom, SystemClock},
    telemetry,
};

/// How long superseded versions stay readable (DESIGN section 5).
const HISTORY: Duration = Duration::from_secs(300);

/// How long the start waits for what the engine says of itself. It answers in a few ms or not at all; an engine that
/// comes later tells the node object then.
const ENGINE_PATIENCE: Duration = Duration::from_millis(30);

/// How many create and start calls may be in flight for each core. D-1302 found two to be enough for containers without a network; with
/// the default bridge, three give 7 % more containers per second than two, and four no more than three.
const ENGINE_CALLS_PER_CORE: usize = 3;

/// How often an engine that does not answer is asked again.
const ENGINE_AGAIN: Duration = Duration::from_secs(2);

pub(super) fn run(config: &Config) -> anyhow::Result<()> {
    config.check()?;
    telemetry::start(config.log_format, &config.log)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        // More make a watch no faster and cost memory (measured); the work is the engine's.
        .worker_threads(2)
        .enable_all()
        .build()
        .context("start the runtime")?;
    let result = runtime.block_on(serve(config.clone()));
    // Pulls and reads of a hanging engine must not hold up the end.
    runtime.shutdown_timeout(Duration::from_secs(1));
    result
}

async fn serve(config: Config) -> anyhow::Result<()> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let random = Arc::new(SharedRandom::from_system());
    let engine = Arc::new(Measured(DockerEngine::new(&config.docker_host)));
    let asked = tokio::spawn({
        let engine = Arc::clone(&engine);
        async move { engine.info().await }
    });
    make_data_directory(&config.data_dir)?;
    let options = store::Options { path: config.database(), clock: Arc::clone(&clock), history: HISTORY };
    let store = Store::open(options).await?;
    let result = run_parts(&config, &store, clock, random, engine, asked).await;
    store.close().await;
    result
}

async fn run_parts(
    config: &Config,
    store: &Store,
    clock: Arc<dyn Clock>,
    random: Arc<SharedRandom>,
    engine: Arc<Measured<DockerEngine>>,
    asked: JoinHandle<Result<engine::Info, engine::Error>>,
) -> anyhow::Result<()> {
    let listeners = Listeners::bind(config, Arc::clone(&clock)).await?;
    let recorder = Arc::new(Recorder::new(config.node(), config.event_ttl()));
    let known = known_engine(asked).await;
    let objects = DefaultObjects::new(store.clone(), Arc::clone(&random), server::ca_certificate(&config.data_dir)?);
    let facts = node_facts(config, &known.clone().unwrap_or_else(machine));
    bootstrap::ensure(store, &objects, &random, &facts, clock.now()).await.context("prepare the store")?;

    let waker = Waker::default();
    let node = Node::new(node::Parts {
        store: store.clone(),
        engine: Arc::clone(&engine),
        clock: Arc::clone(&clock),
        recorder: Arc::clone(&recorder),
        waker: waker.clone(),
        facts: node::observed::NodeFacts {
            name: facts.name.clone(),
            host_ip: facts.internal_ip.clone(),
            cpus: facts.cpus,
            memory_bytes: facts.memory_bytes,
            pids_limit: config.pod_pids_limit,
            instance: store.instance_id().to_owned(),
        },
        data_dir: config.data_dir.clone(),
        host_root: config.host_root.clone(),
        engine_calls: ENGINE_CALLS_PER_CORE * std::thread::available_parallelism().map_or(2, usize::from),
    });
    let mut driver = Driver::new(store.clone(), Arc::clone(&clock));
    driver.add(JobController::new(store.clone(), Arc::clone(&recorder), Arc::clone(&random)));
    // C-501: schedules that name no zone run on the daemon's.
    let zone = jiff::tz::TimeZone::system();
    driver.add(CronJobController::new(store.clone(), Arc::clone(&recorder), Arc::clone(&random), zone));
    driver.add(Scheduler::new(store.clone(), Arc::clone(&recorder), facts.name.clone()));
    driver.add_with(node.clone(), &waker);
    driver.add(Ttl::new(store.clone(), Arc::clone(&clock)));
    driver.add(Garbage::new(store.clone()));
    driver.add(Namespaces::new(store.clone()));
    driver.add(objects);
    driver.add(EventsExpiry::new(store.clone()));
    driver.add(PodGc::new(store.clone(), pod_gc::FINISHED_MAX));
    if !config.keep().is_all() {
        driver.add(History::new(store.clone(), Arc::clone(&clock), config.keep()));
    }

    let mut app = App::new(store.clone(), Arc::new(node.clone()), Arc::clone(&clock), Arc::clone(&random));
    app.metrics = Some(observe::metrics(store, &node));
    app.health = observe::health(store, &node);
    app.event_ttl = config.event_ttl();
    let https = listeners.https_address();
    // Parts stop in this order, each when the one before has ended.
    // Before the first answer: whoever has it may send one.
    let ended = ended_by_signal()?;
    let (stop_server, server_stops) = stopper();
    let (stop_loops, driver_stops) = stopper();
    let node_stops = stopped(stop_loops.subscribe());
    let serving = tokio::spawn(server::serve(Arc::new(app), listeners, server_stops));
    let mut driving = tokio::spawn(driver.run(driver_stops));
    let running = tokio::spawn(node.run(node_stops));
    if known.is_none() {
        tokio::spawn(tell_node_later(config.clone(), store.clone(), random, clock, engine));
    }
    info!(
        data_dir = %config.data_dir.display(),
        "jobd {} serves {}{}",
        env!("CARGO_PKG_VERSION"),
        config.socket().display(),
        https.map_or_else(String::new, |address| format!(" and https://{address}"))
    );

    let failure = tokio::select! {
        signal = ended => { info!("{signal} received; containers run on"); None }
        error = store.failed() => Some(anyhow::Error::new(error).context("the database failed; jobd ends so that the next start reads the disk")),
        result = &mut driving => Some(match result {
            Ok(Ok(())) => anyhow::anyhow!("the controllers ended by themselves"),
            Ok(Err(error)) => anyhow::Error::new(error).context("the controllers' timers"),
            Err(error) => anyhow::Error::new(error).context("the controllers"),
        }),
    };
    stop_server.send_replace(true);
    drop(serving.await);
    stop_loops.send_replace(true);
    if !driving.is_finished() {
        drop(driving.await);
    }
    drop(running.await);
    match failure {
        Some(failure) => Err(failure),
        None => Ok(()),
    }
}

/// A switch, and a future that ends when it is turned.
fn stopper() -> (watch::Sender<bool>, impl Future<Output = ()> + Send + 'static) {
    let (sender, receiver) = watch::channel(false);
    (sender, stopped(receiver))
}

async fn stopped(mut receiver: watch::Receiver<bool>) {
    drop(receiver.wait_for(|stop| *stop).await);
}

/// Listens from this call on; answers the signal's name.
fn ended_by_signal() -> anyhow::Result<impl Future<Output = &'static str>> {
    let mut terminate = signal(SignalKind::terminate()).context("listen for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("listen for SIGINT")?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => "SIGTERM",
            _ = interrupt.recv() => "SIGINT",
        }
    })
}

/// The data directory is this user's alone: it holds keys, secrets and logs (DESIGN section 7).
fn make_data_directory(path: &Path) -> anyhow::Result<()> {
    let explain = || {
        format!(
            "the data directory {} cannot be used; give another with --data-dir, or make it writable for this user",
            path.display()
        )
    };
    std::fs::create_dir_all(path).with_context(explain)?;
    let mode = std::fs::metadata(path).with_context(explain)?.permissions().mode();
    // A group that may use the socket passes through the directory; the server sets that again.
    if mode & 0o777 != 0o700 {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o700)).with_context(explain)?;
    }
    rustix::fs::access(path, rustix::fs::Access::WRITE_OK | rustix::fs::Access::EXEC_OK).with_context(explain)
}

/// What the engine says of itself, if it says so quickly.
async fn known_engine(asked: JoinHandle<Result<engine::Info, engine::Error>>) -> Option<engine::Info> {
    match tokio::time::timeout(ENGINE_PATIENCE, asked).await {
        Ok(Ok(Ok(info))) => {
            remark(&info);
            Some(info)
        }
        // Whoever asks again complains.
        Ok(Ok(Err(_)) | Err(_)) | Err(_) => None,
    }
}

/// What an operator should know of the engine (D-604).
fn remark(info: &engine::Info) {
    info!("Docker {} with API {}, cgroup version {}", info.version, info.api_version, info.cgroup_version);
    if !info.live_restore {
        info!("live-restore is off: a restart of the engine stops running containers; their pods are tried again");
    }
}

/// The machine as it looks without asking the engine.
fn machine() -> engine::Info {
    let system = rustix::system::sysinfo();
    let name = rustix::system::uname();
    engine::Info {
        cpus: std::thread::available_parallelism().map_or(1, |cpus| i64::try_from(cpus.get()).unwrap_or(1)),
        memory_bytes: i64::try_from(u128::from(system.totalram) * u128::from(system.mem_unit)).unwrap_or(i64::MAX),
        kernel_version: name.release().to_string_lossy().into_owned(),
        operating_system: name.sysname().to_string_lossy().into_owned(),
        architecture: name.machine().to_string_lossy().into_owned(),
        ..engine::Info::default()
    }
}

fn node_facts(config: &Config, info: &engine::Info) -> NodeFacts {
    NodeFacts::gather(
        Some(&config.node()),
        info,
        &server::git_version(),
        config.max_pods,
        &config.data_dir,
        &config.host_root,
    )
}

/// Asks an engine that was slow or away until it answers, and tells the node object what it says.
async fn tell_node_later(
    config: Config,
    store: Store,
    random: Arc<SharedRandom>,
    clock: Arc<dyn Clock>,
    engine: Arc<Measured<DockerEngine>>,
) {
    let mut complained = false;
    loop {
        match engine.info().await {
            Ok(info) => {
                remark(&info);
                let facts = node_facts(&config, &info);
                if let Err(error) = bootstrap::ensure_node(&store, &random, &facts, clock.now()).await {
                    warn!(error = telemetry::chain(&error), "the node object cannot be written: {error}");
                }
                return;
            }
            Err(error) if !complained => {
                complained = true;
                error!(
                    error = telemetry::chain(&error),
                    "no container engine at {}; jobs wait until it answers (is Docker running, and may this user use it? `jobd doctor` says more)",
                    config.docker_host
                );
            }
            Err(_) => {}
        }
        tokio::time::sleep(ENGINE_AGAIN).await;
    }
}
