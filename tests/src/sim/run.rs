//! One seed from its beginning to its end: who has the next turn, when time passes, and what must be true once nothing goes wrong
//! any more.

use std::{
    collections::{BTreeMap, VecDeque},
    fmt,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use anyhow::{Context as _, bail, ensure};
use futures_util::FutureExt as _;
use jiff::SignedDuration;
use jobd::{
    driver::{Deadline, Next, Step},
    sys::Clock as _,
};
use jobd_api::registry::Kind;
use serde_json::json;

use super::{
    checker::Checker,
    clock::VirtualClock,
    daemon::{Crashed, Daemon, Stepped},
    dice::Dice,
    disk::Disk,
    faults::Faults,
    machine::Machine,
    workload::{Users, list},
};

/// How long faults may happen, at least until the users are done.
const STORMY: Duration = Duration::from_secs(900);
/// The same for cron jobs alone: so long, or so many runs.
const YEARS: Duration = Duration::from_secs(3 * 366 * 24 * 3600);
const RUNS_MAX: u64 = 120;
/// Or so many steps: under a clock that jumps about, a year of looks is long.
const YEARS_STEPS_MAX: u64 = 30_000;
const DAY: u64 = 24 * 3600 * 1000;
/// In what time every job must be over once nothing goes wrong: the longest back-off is 10 minutes, and a job may have several
/// before it.
const CALM_MAX: Duration = Duration::from_secs(2 * 3600);
/// More steps than any run needs; a loop that never rests ends here.
const STEPS_MAX: u64 = 60_000;
/// More turns without a moment passing than any plan needs.
const STILL_MAX: u32 = 3000;
/// How often in a row a key may ask to be looked at again at once.
const IMPATIENT_MAX: u32 = 10;
/// How many lines of what happened a failure shows.
const TRACE_MAX: usize = 80;

/// What a seed came to.
#[derive(Clone, Debug)]
pub struct Report {
    pub seed: u64,
    pub steps: u64,
    pub changes: u64,
    pub calls: u64,
    pub crashes: u64,
    pub faults: u64,
    pub finished_jobs: u64,
    pub cron_runs: u64,
    pub unknown: u64,
    /// Virtual time.
    pub passed: Duration,
    /// Of everything that was written: equal for equal seeds.
    pub digest: u64,
}

/// A seed that found something.
#[derive(Debug)]
pub struct Failure {
    pub seed: u64,
    pub what: String,
    /// The last things that happened.
    pub trace: Vec<String>,
    pub faults: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { seed, what, trace, faults } = self;
        for line in trace {
            writeln!(f, "  {line}")?;
        }
        writeln!(f, "seed {seed}: {what}")?;
        writeln!(f, "  faults: {faults}")?;
        write!(f, "  replay: JOBD_SIM_SEED={seed} cargo test --package jobd-tests --test simulation -- --nocapture")
    }
}

/// Plays a seed. `trace`: print everything that happens.
///
/// # Errors
/// What was broken, with the last things that happened before.
pub async fn run(seed: u64, trace: bool) -> Result<Report, Box<Failure>> {
    let mut world = World::new(seed, trace).map_err(|error| failure(seed, &error, Vec::new(), String::new()))?;
    let faults = world.faults.describe();
    let played = std::panic::AssertUnwindSafe(world.play()).catch_unwind().await;
    let result = match played {
        Ok(result) => result,
        Err(panic) => {
            let text = panic.downcast_ref::<String>().cloned();
            let text = text.or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string));
            Err(anyhow::anyhow!("panic: {}", text.unwrap_or_default()))
        }
    };
    let report = world.report();
    let lines = world.trace.iter().cloned().collect();
    world.end().await;
    match result {
        Ok(()) => Ok(report),
        Err(error) => Err(failure(seed, &error, lines, faults)),
    }
}

fn failure(seed: u64, error: &anyhow::Error, trace: Vec<String>, faults: String) -> Box<Failure> {
    Box::new(Failure { seed, what: format!("{error:#}"), trace, faults })
}

struct World {
    seed: u64,
    dice: Dice,
    clock: Arc<VirtualClock>,
    machine: Arc<Mutex<Machine>>,
    disk: Arc<Disk>,
    users: Users,
    checker: Checker,
    faults: Faults,
    daemon: Option<Daemon>,
    data_dir: tempfile::TempDir,
    /// Where secrets lie while the daemon runs; removed at the end.
    runtime_dir: Option<PathBuf>,
    calm: bool,
    /// Years pass, with cron jobs alone.
    years: bool,
    /// When the users do their next thing.
    act_at: Duration,
    steps: u64,
    crashes: u64,
    struck: u64,
    /// Keys that asked to be looked at again at once, and how often in a row.
    impatient: BTreeMap<String, u32>,
    print: bool,
    trace: VecDeque<String>,
}

impl World {
    fn new(seed: u64, print: bool) -> anyhow::Result<Self> {
        let mut dice = Dice::new(seed);
        let clock = Arc::new(VirtualClock::default());
        let years = dice.one_in(8);
        let faults = Faults::draw(years, &mut dice);
        let machine = Machine::new(Arc::clone(&clock), dice.fork(), faults.clone());
        let disk = Arc::new(Disk::new(Arc::clone(&clock), dice.fork(), faults.clone()));
        let users = Users::new(Arc::clone(&clock), years, dice.fork());
        let checker = Checker::new(&faults);
        // In memory where the machine has such a place: the store's fsyncs are tested elsewhere.
        let memory = std::path::Path::new("/dev/shm");
        let data_dir = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
        Ok(Self {
            seed,
            dice,
            clock,
            machine: Arc::new(Mutex::new(machine)),
            disk,
            users,
            checker,
            faults,
            daemon: None,
            data_dir: data_dir.context("make a data directory")?,
            runtime_dir: None,
            calm: false,
            years,
            act_at: Duration::ZERO,
            steps: 0,
            crashes: 0,
            struck: 0,
            impatient: BTreeMap::new(),
            print,
            trace: VecDeque::new(),
        })
    }

    fn report(&self) -> Report {
        Report {
            seed: self.seed,
            steps: self.steps,
            changes: self.checker.changes,
            calls: self.machine().calls,
            crashes: self.crashes,
            faults: self.struck,
            finished_jobs: self.checker.finished_jobs,
            cron_runs: self.checker.cron_runs,
            unknown: self.checker.unknown,
            passed: self.clock.passed(),
            digest: self.checker.digest,
        }
    }

    async fn end(mut self) {
        if let Some(daemon) = self.daemon.take() {
            daemon.die().await;
        }
        if let Some(dir) = self.runtime_dir {
            drop(std::fs::remove_dir_all(dir));
        }
    }

    fn machine(&self) -> MutexGuard<'_, Machine> {
        self.machine.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn daemon(&mut self) -> &mut Daemon {
        self.daemon.as_mut().expect("there is a daemon but for the moment of its crash")
    }

    fn tell(&mut self, what: impl fmt::Display) {
        let line = format!("{:>10.3} {what}", self.clock.passed().as_secs_f64());
        if self.print {
            println!("{line}");
        }
        if self.trace.len() == TRACE_MAX {
            self.trace.pop_front();
        }
        self.trace.push_back(line);
    }

    /// Passes on what the others told.
    fn listen(&mut self) {
        let told = std::mem::take(&mut self.machine().told);
        let told = told.into_iter().chain(self.disk.take_told()).chain(self.users.take_deeds());
        let told: Vec<String> = told.chain(std::mem::take(&mut self.checker.told)).collect();
        told.into_iter().for_each(|line| self.tell(line));
    }

    async fn play(&mut self) -> anyhow::Result<()> {
        let faults = self.faults.describe();
        self.tell(format!("faults: {faults}"));
        self.start().await?;
        // Before time passes: what was written at the start is in the history for a while only.
        self.check().await?;
        let (store, users) = (self.daemon().store.clone(), self.users.clone());
        if let Err(Crashed) = self.daemon().or_crash(users.arrive(&store)).await {
            self.crash().await?;
        }
        self.turns(|world| world.is_worn_out() || users.are_done() && (world.is_quiet() || world.is_late()))
            .await
            .context("while things go wrong")?;

        self.calm_down().await?;
        let since = self.clock.passed();
        self.turns(|world| world.checker.unfinished_jobs().is_empty() && world.checker.unfinished_pods().is_empty())
            .await
            .with_context(|| format!("calm since {since:?}"))?;
        self.check_again_changes_nothing().await?;
        self.delete_everything().await
    }

    /// Enough has happened.
    fn is_late(&self) -> bool {
        let passed = self.clock.passed();
        if self.years { passed > YEARS || self.checker.cron_runs > RUNS_MAX } else { passed > STORMY }
    }

    /// Enough has happened, whatever the users still have in mind.
    fn is_worn_out(&self) -> bool {
        self.years && self.steps > YEARS_STEPS_MAX
    }

    /// Nothing is left that a fault could hit.
    fn is_quiet(&self) -> bool {
        !self.checker.has_cron_jobs() && self.checker.unfinished_jobs().is_empty() && !self.machine().has_running()
    }

    async fn calm_down(&mut self) -> anyhow::Result<()> {
        self.tell("calm: no more faults, and every command ends well");
        self.calm = true;
        self.machine().calm_down();
        self.disk.calm_down();
        let store = self.daemon().store.clone();
        self.users.let_all_run(&store).await;
        self.check().await
    }

    async fn start(&mut self) -> anyhow::Result<()> {
        let daemon =
            Daemon::start(self.data_dir.path(), &self.clock, &self.machine, &self.disk, &mut self.dice).await?;
        self.runtime_dir = Some(PathBuf::from("/run/jobd").join(daemon.store.instance_id()));
        let (users, store) = (self.users.clone(), daemon.store.clone());
        daemon.engine.interrupt_with(Box::new(move || {
            let (users, store) = (users.clone(), store.clone());
            async move {
                if !users.are_done() {
                    users.act(&store).await;
                }
            }
            .boxed()
        }));
        self.daemon = Some(daemon);
        Ok(())
    }

    /// The daemon dies and is started again, at once or after a while.
    async fn crash(&mut self) -> anyhow::Result<()> {
        self.crashes += 1;
        // Before the daemon is gone: a later life may no longer know all of it.
        self.check().await?;
        self.tell("the daemon dies");
        if let Some(daemon) = self.daemon.take() {
            daemon.die().await;
        }
        let away = if self.dice.one_in(3) { self.dice.millis(1000, 90_000) } else { self.dice.millis(1, 200) };
        self.pass(away);
        self.machine().disturb();
        self.start().await?;
        self.check_what_is_kept().await
    }

    /// The next life has what the one before had, and its past too.
    async fn check_what_is_kept(&mut self) -> anyhow::Result<()> {
        self.check().await?;
        let mut dice = self.dice.fork();
        let store = self.daemon().store.clone();
        self.checker.check_content(&store).await?;
        self.checker.check_past(&store, &mut dice).await
    }

    fn pass(&mut self, by: Duration) {
        self.clock.advance(by);
        self.machine().catch_up();
    }

    async fn check(&mut self) -> anyhow::Result<()> {
        let store = self.daemon().store.clone();
        let machine = Arc::clone(&self.machine);
        let clock = Arc::clone(&self.clock);
        self.checker.note_wishes(self.users.take_wishes());
        let result = self.checker.look(&store, &machine, &clock).await;
        self.listen();
        result?;
        if self.calm {
            let machine = machine.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            self.checker.check_orphans(&machine, self.clock.passed())?;
        }
        Ok(())
    }

    /// Turns until `done`, which is asked when every loop rests.
    async fn turns(&mut self, done: impl Fn(&Self) -> bool) -> anyhow::Result<()> {
        let begun = self.clock.passed();
        let mut still = (self.clock.passed(), 0);
        loop {
            self.steps += 1;
            ensure!(self.steps < STEPS_MAX, "no end after {STEPS_MAX} steps");
            let rests = match self.turn().await {
                Ok(rests) => rests?,
                Err(Crashed) => {
                    self.crash().await?;
                    None
                }
            };
            self.let_tasks_run().await;
            self.check().await?;
            let Some(deadline) = rests else {
                still = if self.clock.passed() == still.0 { (still.0, still.1 + 1) } else { (self.clock.passed(), 0) };
                ensure!(still.1 < STILL_MAX, "the loops do not come to rest");
                continue;
            };
            if !self.disk.has_failed_lately() {
                let machine = Arc::clone(&self.machine);
                self.checker.check_rest(&machine.lock().unwrap_or_else(std::sync::PoisonError::into_inner))?;
            }
            if done(self) {
                return Ok(());
            }
            let unfinished = self.checker.unfinished_jobs();
            ensure!(
                !self.calm || self.clock.passed() < begun + CALM_MAX,
                "jobs {unfinished:?} and pods {:?} do not end",
                self.checker.unfinished_pods()
            );
            self.wait(deadline)?;
        }
    }

    /// Pulls run in tasks of their own, which have their turn here and may not have it anywhere else that matters: where a step awaits
    /// the store, they have it or not, by chance.
    async fn let_tasks_run(&self) {
        let mut told = true;
        while told {
            for _ in 0..4 {
                tokio::task::yield_now().await;
            }
            told = self.machine().serve_pulls();
        }
    }

    /// One thing happens. Answers the next deadline when nothing is left to do now.
    async fn turn(&mut self) -> Result<anyhow::Result<Option<Deadline>>, Crashed> {
        if !self.calm {
            self.pass_a_moment();
            if self.strike().await? {
                return Ok(Ok(None));
            }
            if !self.users.are_done() && self.clock.passed() >= self.act_at {
                let pause = match self.dice.below(3) {
                    _ if self.years => self.dice.millis(0, 90 * DAY),
                    0 => self.dice.millis(0, 1000),
                    1 => self.dice.millis(0, 20_000),
                    _ => self.dice.millis(0, 120_000),
                };
                self.act_at = self.clock.passed() + pause;
                let (store, users) = (self.daemon().store.clone(), self.users.clone());
                self.daemon().or_crash(users.act(&store)).await?;
                return Ok(Ok(None));
            }
        }
        let passed = self.clock.passed();
        match self.dice.below(10) {
            0 | 1 if self.deliver() => return Ok(Ok(None)),
            2 => {
                let stepped = self.daemon().do_chores().await?;
                return Ok(self.note(stepped));
            }
            3 if self.daemon().wants_to_connect() => {
                let stepped = self.daemon().connect().await?;
                return Ok(self.note(stepped));
            }
            4 if self.daemon().sweep_at <= passed => {
                let stepped = self.daemon().sweep().await?;
                return Ok(self.note(stepped));
            }
            5 if self.daemon().flights() > 0 => {
                let mut dice = self.dice.fork();
                let stepped = self.daemon().go_on(&mut dice).await?;
                return Ok(self.note(stepped));
            }
            _ => {}
        }
        let mut dice = self.dice.fork();
        match self.daemon().step(&mut dice).await? {
            Stepped::Idle(deadline) => self.idle(deadline).await,
            stepped => Ok(self.note(stepped)),
        }
    }

    /// What a piece of work came to, as a turn's answer.
    fn note(&mut self, stepped: Stepped) -> anyhow::Result<Option<Deadline>> {
        match stepped {
            Stepped::Ran(Step::Ran { controller, key, result }) => {
                self.tell(format!("{controller} {key}: {result:?}"));
                self.check_patience(format!("{controller} {key}"), &result)?;
                match result {
                    // Panics are caught by the driver and look like errors.
                    Err(text) if text.contains("panicked") || text.contains("overflow") => bail!(text),
                    Ok(_) | Err(_) => {}
                }
            }
            Stepped::Held(errand) => self.tell(format!("a call of {errand:?} is held")),
            Stepped::Ran(Step::Idle(_)) | Stepped::Busy | Stepped::Idle(_) => {}
        }
        Ok(None)
    }

    /// I-11: nobody asks for the same key again and again at a time that has come already.
    fn check_patience(&mut self, key: String, result: &Result<Next, String>) -> anyhow::Result<()> {
        let now = self.clock.now().boot;
        if !matches!(result, Ok(Next::At(at)) if *at <= now) {
            self.impatient.remove(&key);
            return Ok(());
        }
        let count = self.impatient.entry(key.clone()).or_default();
        *count += 1;
        ensure!(*count < IMPATIENT_MAX, "I-11: {key} asks to be looked at again at once, again and again");
        Ok(())
    }

    /// The loops have nothing to do: what else could happen now?
    async fn idle(&mut self, deadline: Deadline) -> Result<anyhow::Result<Option<Deadline>>, Crashed> {
        if self.deliver() {
            return Ok(Ok(None));
        }
        if self.daemon().flights() > 0 {
            // What is held may be so for a while.
            if !self.calm && self.dice.one_in(4) {
                let by = self.dice.millis(1, 3000);
                self.pass(by);
            }
            let mut dice = self.dice.fork();
            let stepped = self.daemon().go_on(&mut dice).await?;
            return Ok(self.note(stepped));
        }
        if self.daemon().wants_to_connect() {
            let stepped = self.daemon().connect().await?;
            return Ok(self.note(stepped));
        }
        let (latest, passed) = (self.daemon().store.latest(), self.clock.passed());
        // Most of the time the workers are fast.
        if self.calm || !self.dice.one_in(5) {
            let stepped = self.daemon().do_chores().await?;
            if let Err(error) = self.note(stepped) {
                return Ok(Err(error));
            }
        }
        let is_idle = self.daemon().store.latest() == latest && self.daemon().flights() == 0;
        // A slow call may have taken us past a deadline.
        let rests = is_idle && self.clock.passed() == passed;
        Ok(Ok(rests.then_some(deadline)))
    }

    /// Gives the node the next event, if there is one.
    fn deliver(&mut self) -> bool {
        let connected = self.daemon().is_connected();
        let Some(event) = self.daemon().next_event() else { return connected && !self.daemon().is_connected() };
        let faults = self.machine().faults.clone();
        if self.dice.per_mille(faults.event_lost) {
            self.tell(format!("an event is lost: {:?}", event.action));
            return true;
        }
        let times = if self.dice.per_mille(faults.event_twice) { 2 } else { 1 };
        for _ in 0..times {
            self.daemon().apply(&event);
        }
        true
    }

    /// Every step takes a moment.
    fn pass_a_moment(&mut self) {
        let moment = self.dice.millis(0, 4);
        self.pass(moment);
    }

    /// Something goes wrong, perhaps.
    async fn strike(&mut self) -> Result<bool, Crashed> {
        let Faults { crash, away, restart, reboot, stranger, full, stall, jump, .. } = self.faults.clone();
        if self.dice.per_mille(crash) {
            return Err(Crashed);
        }
        if self.dice.per_mille(away) {
            let by = self.dice.millis(10, 120_000);
            self.machine().go_away(by);
            self.struck(format!("the engine does not answer for {by:?}"));
            return Ok(true);
        }
        if self.dice.per_mille(restart) {
            let (by, unclean) = (self.dice.millis(500, 30_000), self.dice.one_in(2));
            self.machine().restart(by, unclean);
            self.struck(format!("the engine is restarted, unclean: {unclean}, for {by:?}"));
            return Ok(true);
        }
        if self.dice.per_mille(reboot) {
            let by = self.dice.millis(5000, 60_000);
            self.machine().restart(by, true);
            self.pass(by / 2);
            self.clock.reboot();
            self.struck("the machine is restarted".to_owned());
            return Err(Crashed);
        }
        if self.dice.per_mille(stranger) {
            let deed = self.machine().meddle();
            self.struck(deed);
            return Ok(true);
        }
        if self.dice.per_mille(stall) {
            let by = self.dice.millis(100, 600_000);
            self.pass(by);
            self.machine().disturb();
            self.struck(format!("the daemon stood still for {by:?}"));
            return Ok(true);
        }
        if self.dice.per_mille(full) {
            let (by, is_tight) = (self.dice.millis(500, 60_000), self.dice.one_in(4));
            self.disk.fill(by, is_tight);
            self.struck(format!("the disk is full for {by:?}, no reserve: {is_tight}"));
            return Ok(true);
        }
        if self.dice.per_mille(jump) {
            let seconds = i64::try_from(self.dice.below(2 * 3600)).unwrap_or_default() - 3600;
            let seconds = match self.dice.below(4) {
                0 | 1 => seconds,
                2 => seconds / 100,
                _ if self.years => seconds * 400,
                _ => seconds / 10,
            };
            self.clock.jump(SignedDuration::from_secs(seconds));
            self.daemon().clock_jumped();
            self.struck(format!("the clock jumps by {seconds} s"));
            return Ok(true);
        }
        Ok(false)
    }

    fn struck(&mut self, what: String) {
        self.struck += 1;
        self.tell(what);
    }

    /// Nothing can happen before the next of all times: go there.
    fn wait(&mut self, deadline: Deadline) -> anyhow::Result<()> {
        let (passed, now) = (self.clock.passed(), self.clock.now());
        let Deadline { boot, wall } = deadline;
        let boot = boot.map(|at| passed + at.saturating_sub(now.boot));
        let wall = wall.map(|at| passed + Duration::try_from(at.duration_since(now.wall)).unwrap_or(Duration::ZERO));
        let machine = self.machine().next_time();
        let running = self.machine().has_running();
        let act = (!self.calm && !self.users.are_done()).then_some(self.act_at);
        let connect = (!self.daemon().is_connected()).then(|| self.daemon().connect_at);
        let sweep = running.then(|| self.daemon().sweep_at);
        let times = [boot, wall, machine, act, connect, sweep];
        let Some(next) = times.into_iter().flatten().min() else {
            if self.calm {
                bail!(
                    "nothing will happen any more, and jobs {:?} and pods {:?} are not over",
                    self.checker.unfinished_jobs(),
                    self.checker.unfinished_pods()
                );
            }
            self.pass(Duration::from_secs(60));
            return Ok(());
        };
        // A sweep that is due is done by chance in one of the next turns.
        self.pass(next.saturating_sub(passed).max(Duration::from_millis(1)));
        Ok(())
    }

    /// Every loop looks at everything once more and finds nothing to do (DESIGN section 2).
    async fn check_again_changes_nothing(&mut self) -> anyhow::Result<()> {
        let before = self.objects().await;
        self.crash().await?;
        let begun = self.clock.passed();
        // A job's time may come meanwhile; only what happens at once counts.
        self.turns(|_| true).await?;
        let after = self.objects().await;
        let due = self.clock.passed() - begun > Duration::from_secs(1);
        let kept: Vec<_> = after.iter().filter(|one| !before.contains(*one)).collect();
        ensure!(due || kept.is_empty() || self.has_deleted(&before, &after), "again changes something: {kept:?}");
        Ok(())
    }

    /// Something went, so what depends on it may change.
    fn has_deleted(&self, before: &[(String, i64)], after: &[(String, i64)]) -> bool {
        before.iter().any(|(name, _)| !after.iter().any(|(other, _)| other == name)) || self.checker.is_deleting()
    }

    /// Names and revisions of jobs and pods.
    async fn objects(&mut self) -> Vec<(String, i64)> {
        let store = self.daemon().store.clone();
        let mut all = list(&store, Kind::Job).await;
        all.extend(list(&store, Kind::Pod).await);
        all.into_iter().map(|stored| (format!("{:?}", stored.key), stored.revision.0)).collect()
    }

    /// Users delete all they have; then nothing may be left, in the store, in the engine and in the data directory.
    async fn delete_everything(&mut self) -> anyhow::Result<()> {
        self.tell("users delete everything");
        let store = self.daemon().store.clone();
        for cron_job in list(&store, Kind::CronJob).await {
            self.users.delete(&store, &cron_job, json!({})).await;
        }
        for job in list(&store, Kind::Job).await {
            let policy = *self.dice.pick(&["Background", "Foreground"]);
            self.users.delete(&store, &job, json!({"propagationPolicy": policy})).await;
        }
        self.settle().await?;
        for pod in list(&store, Kind::Pod).await {
            let owned = pod.body.contains("ownerReferences");
            ensure!(!owned, "R-5: pod {} outlives its job", pod.key.name);
            self.users.delete(&store, &pod, json!({})).await;
        }
        self.settle().await?;
        let jobs = list(&store, Kind::Job).await.len();
        let pods = list(&store, Kind::Pod).await.len();
        ensure!(jobs + pods == 0, "{jobs} jobs and {pods} pods were deleted and are still there");
        let attempts = store.open_attempts().await?;
        ensure!(attempts.is_empty(), "attempts of deleted pods are still there: {attempts:?}");
        let containers: Vec<String> = self.machine().ours().map(|(id, ..)| id.to_owned()).collect();
        ensure!(containers.is_empty(), "R-5: containers of deleted pods are still there: {containers:?}");
        let lost = self.machine().lost_strangers();
        ensure!(lost.is_empty(), "I-4: containers that are not ours were removed: {lost:?}");
        let files = std::fs::read_dir(self.data_dir.path().join("pods")).into_iter().flatten().flatten();
        let files: Vec<_> = files.map(|entry| entry.file_name()).collect();
        ensure!(files.is_empty(), "files of deleted pods are still there: {files:?}");
        Ok(())
    }

    /// Turns until the time of everything that is under way is over.
    async fn settle(&mut self) -> anyhow::Result<()> {
        let until = self.clock.passed() + Duration::from_secs(120);
        self.turns(|world| world.clock.passed() >= until || world.is_bare()).await
    }

    fn is_bare(&self) -> bool {
        self.checker.is_empty() && self.machine().ours().next().is_none()
    }
}
