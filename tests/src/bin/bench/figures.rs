//! Figures beside their goals.

use std::{
    io::Write as _,
    process::ExitCode,
    time::{Duration, Instant},
};

/// How far from its goal a figure may be in the short form.
const SHORT_FACTOR: f64 = 1.5;

pub struct Figures {
    pub short: bool,
    missed: Vec<String>,
}

impl Figures {
    pub fn new(short: bool) -> Self {
        Self { short, missed: Vec::new() }
    }

    pub fn note(&self, text: &str) {
        println!("{text}");
    }

    pub fn at_most(&mut self, what: &str, value: f64, goal: f64, unit: &str) {
        self.judge(what, value, goal, unit, "at most", value <= goal, value <= goal * SHORT_FACTOR);
    }

    pub fn at_least(&mut self, what: &str, value: f64, goal: f64, unit: &str) {
        self.judge(what, value, goal, unit, "at least", value >= goal, value >= goal / SHORT_FACTOR);
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

/// What the disk takes to make 4 KiB durable: the floor of every commit.
pub fn fdatasync() -> String {
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
