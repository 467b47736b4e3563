//! Figures beside their goals.

use std::{
    io::Write as _,
    process::ExitCode,
    time::{Duration, Instant},
};

/// How far from its goal a figure may be in the short form.
const SHORT_FACTOR: f64 = 1.5;

/// What is read off a clock, and so depends on how fast this machine is at the moment.
const UNITS_OF_TIME: [&str; 3] = ["ms", "s", "/s"];

/// What [`work`] takes on the machine that the goals are for (2 cores of 2.9 GHz), when nothing else runs.
const WORK_MS: f64 = 18.0;

pub struct Figures {
    pub short: bool,
    missed: Vec<String>,
    /// How many times slower than meant this machine is at worst.
    slower: f64,
}

impl Figures {
    pub fn new(short: bool) -> Self {
        Self { short, missed: Vec::new(), slower: 1.0 }
    }

    /// Looks how fast this machine is now: shared ones change by a factor. The short form gives times that much more room.
    pub fn look_at_machine(&mut self) {
        let mut times: Vec<Duration> = (0..5).map(|_| work()).collect();
        let now = median_ms(&mut times) / WORK_MS;
        self.slower = self.slower.max(now);
        println!("machine: {now:.2} times as slow as meant; fdatasync of 4 KiB: {}", fdatasync());
    }

    pub fn note(&self, text: &str) {
        println!("{text}");
    }

    pub fn at_most(&mut self, what: &str, value: f64, goal: f64, unit: &str) {
        let near = value <= goal * self.factor(unit);
        self.judge(what, value, goal, unit, "at most", value <= goal, near);
    }

    pub fn at_least(&mut self, what: &str, value: f64, goal: f64, unit: &str) {
        let near = value >= goal / self.factor(unit);
        self.judge(what, value, goal, unit, "at least", value >= goal, near);
    }

    /// How far off a figure may be in the short form.
    fn factor(&self, unit: &str) -> f64 {
        if UNITS_OF_TIME.contains(&unit) { SHORT_FACTOR * self.slower } else { SHORT_FACTOR }
    }

    #[expect(clippy::too_many_arguments, reason = "one line of a table")]
    fn judge(&mut self, what: &str, value: f64, goal: f64, unit: &str, relation: &str, met: bool, near: bool) {
        let mark = if met { "ok  " } else { "MISS" };
        println!("{mark} {what:<58} {value:>10.2} {unit:<10} (goal: {relation} {goal} {unit})");
        let tolerated = self.short && near;
        if !met && !tolerated {
            self.missed.push(what.to_owned());
        }
    }

    pub fn verdict(&self) -> ExitCode {
        if self.missed.is_empty() {
            return ExitCode::SUCCESS;
        }
        println!("missed: {}", self.missed.join("; "));
        ExitCode::FAILURE
    }
}

/// The median of durations, in milliseconds.
pub fn median_ms(times: &mut [Duration]) -> f64 {
    times.sort_unstable();
    times.get(times.len() / 2).map_or(f64::NAN, |time| time.as_secs_f64() * 1e3)
}

pub fn cpus() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// A fixed piece of work like the daemon's: text into values and back.
fn work() -> Duration {
    let text = serde_json::json!({ "items": vec![serde_json::json!({"name": "one", "numbers": [1, 2, 3], "on": true}); 5_000] }).to_string();
    let started = Instant::now();
    for _ in 0..4 {
        let value: Option<serde_json::Value> = serde_json::from_str(&text).ok();
        std::hint::black_box(value.map(|value| value.to_string()));
    }
    started.elapsed()
}

/// What the disk takes to make 4 KiB durable: the floor of every commit.
fn fdatasync() -> String {
    let run = || -> std::io::Result<f64> {
        let mut file = tempfile::tempfile()?;
        let mut times = Vec::new();
        for _ in 0..50 {
            let started = Instant::now();
            file.write_all(&[0; 4096])?;
            file.sync_data()?;
            times.push(started.elapsed());
        }
        Ok(median_ms(&mut times))
    };
    run().map_or_else(|error| error.to_string(), |ms| format!("{ms:.2} ms"))
}
