//! The simulation of DESIGN section 2, for as long as a test run may take. `make simulate` goes on for longer.
//!
//! `JOBD_SIM_SEED=n` replays one seed and prints all that happens, with `JOBD_SIM_LOG=jobd=debug` what the daemon logs too.
//! `JOBD_SIM_SEEDS=n` plays so many, `JOBD_SIM_FROM=n` begins there.

use std::{
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use jobd_tests::sim::{Failure, Report, run};

/// How long a run without further wishes plays on.
const BUDGET: Duration = Duration::from_secs(60);
/// Seeds that found something, until it is mended for good. A seed means another run as soon as workload or faults change, so what was
/// found gets a test of its own too.
const FOUND: [u64; 0] = [];

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable} is no number: {text}")))
}

/// On one thread, so that tasks take their turns in the same order each time.
fn play(seed: u64, trace: bool) -> Result<Report, Box<Failure>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(run(seed, trace))
}

#[test]
fn a_seed_replays_exactly() {
    for seed in [3, 5, 9, 14] {
        let first = play(seed, false).unwrap_or_else(|failure| panic!("{failure}"));
        let again = play(seed, false).unwrap_or_else(|failure| panic!("{failure}"));
        let told = |report: &Report| (report.steps, report.changes, report.calls, report.crashes, report.digest);
        assert_eq!(told(&first), told(&again), "seed {seed} played differently");
    }
}

#[test]
fn every_seed_keeps_the_promises() {
    if let Some(seed) = number("JOBD_SIM_SEED") {
        if let Ok(filter) = std::env::var("JOBD_SIM_LOG") {
            jobd::telemetry::start(jobd::telemetry::LogFormat::Text, &filter).unwrap();
        }
        match play(seed, true) {
            Ok(report) => println!("{report:?}"),
            Err(failure) => panic!("{failure}"),
        }
        return;
    }
    let begun = Instant::now();
    let (from, count) = (number("JOBD_SIM_FROM").unwrap_or(1), number("JOBD_SIM_SEEDS"));
    let fixed = FOUND.len() as u64;
    let next = AtomicU64::new(0);
    let reports = Mutex::new(Vec::new());
    let failures = Mutex::new(Vec::new());
    let work = || {
        loop {
            let place = next.fetch_add(1, Ordering::Relaxed);
            let seed = match usize::try_from(place).ok().and_then(|place| FOUND.get(place)) {
                Some(seed) => *seed,
                None => from + place - fixed,
            };
            let enough = match count {
                Some(count) => place >= count + fixed,
                None => place >= fixed && begun.elapsed() > BUDGET,
            };
            if enough || failures.lock().unwrap().len() >= 20 {
                return;
            }
            match play(seed, false) {
                Ok(report) => reports.lock().unwrap().push(report),
                Err(failure) => {
                    println!("{failure}\n");
                    failures.lock().unwrap().push(failure);
                }
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(work);
        }
    });
    let (reports, failures) = (reports.into_inner().unwrap(), failures.into_inner().unwrap());
    let sum = |of: fn(&Report) -> u64| reports.iter().map(of).sum::<u64>();
    println!(
        "{} seeds from {from} on: {} steps, {} changes, {} engine calls, {} crashes, {} other strokes, {} finished jobs, {} runs of cron jobs, \
         {} unknown ends, {} virtual hours, in {:?}",
        reports.len() + failures.len(),
        sum(|report| report.steps),
        sum(|report| report.changes),
        sum(|report| report.calls),
        sum(|report| report.crashes),
        sum(|report| report.faults),
        sum(|report| report.finished_jobs),
        sum(|report| report.cron_runs),
        sum(|report| report.unknown),
        sum(|report| report.passed.as_secs()) / 3600,
        begun.elapsed(),
    );
    let seeds: Vec<u64> = failures.iter().map(|failure| failure.seed).collect();
    assert!(failures.is_empty(), "seeds {seeds:?} found something; see above");
    assert!(!reports.is_empty(), "no seed was played");
}
