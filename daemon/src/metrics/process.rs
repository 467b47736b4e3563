//! What the system knows of this process, under the names that every Prometheus client uses, and which program it is.

use std::sync::LazyLock;

use prometheus::{Counter, Gauge};

use super::{CONSTANT, gauges, registered};

static CPU: LazyLock<Counter> = LazyLock::new(|| {
    let help = "Processor time that the process has used";
    registered(Counter::new("process_cpu_seconds_total", help).expect(CONSTANT))
});
static RESIDENT: LazyLock<Gauge> = LazyLock::new(|| number("process_resident_memory_bytes", "Memory that is in use"));
static VIRTUAL: LazyLock<Gauge> = LazyLock::new(|| number("process_virtual_memory_bytes", "Address space in use"));
static FILES: LazyLock<Gauge> = LazyLock::new(|| number("process_open_fds", "Open file descriptors"));
static FILES_MAX: LazyLock<Gauge> =
    LazyLock::new(|| number("process_max_fds", "How many file descriptors may be open"));
static THREADS: LazyLock<Gauge> = LazyLock::new(|| number("process_threads", "Threads"));
static STARTED: LazyLock<Gauge> =
    LazyLock::new(|| number("process_start_time_seconds", "When the process was started, in seconds since 1970"));

fn number(name: &str, help: &str) -> Gauge {
    registered(Gauge::new(name, help).expect(CONSTANT))
}

pub(super) fn start(version: &str) {
    gauges("jobd_build_info", "Which jobd this is", &["version"]).with_label_values(&[version]).set(1);
    for gauge in [&RESIDENT, &VIRTUAL, &FILES, &FILES_MAX, &THREADS, &STARTED] {
        LazyLock::force(gauge);
    }
    LazyLock::force(&CPU);
}

/// Reads what changes. What cannot be read stays as it is.
pub(super) fn look() {
    if let Some(stat) = std::fs::read_to_string("/proc/self/stat").ok().as_deref().and_then(Stat::parse) {
        let ticks = to_f64(rustix::param::clock_ticks_per_second());
        CPU.reset();
        CPU.inc_by(to_f64(stat.cpu_ticks) / ticks);
        THREADS.set(to_f64(stat.threads));
        VIRTUAL.set(to_f64(stat.virtual_bytes));
        RESIDENT.set(to_f64(stat.resident_pages) * rustix::param::page_size() as f64);
        if let Some(boot) = boot_time() {
            STARTED.set(boot + to_f64(stat.start_ticks) / ticks);
        }
    }
    if let Ok(files) = std::fs::read_dir("/proc/self/fd") {
        // One of them is the directory itself, which is read.
        FILES.set(files.count().saturating_sub(1) as f64);
    }
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    FILES_MAX.set(limit.map_or(f64::INFINITY, to_f64));
}

/// Metrics are floats, as everything is in Prometheus; what they show is far below where that begins to matter.
fn to_f64(number: u64) -> f64 {
    number as f64
}

/// When the machine started, in seconds since 1970.
fn boot_time() -> Option<f64> {
    static BOOT: LazyLock<Option<f64>> = LazyLock::new(|| {
        let stat = std::fs::read_to_string("/proc/stat").ok()?;
        let line = stat.lines().find_map(|line| line.strip_prefix("btime "));
        line?.trim().parse().ok()
    });
    *BOOT
}

/// The fields of `/proc/self/stat` that are shown.
#[derive(Debug, PartialEq, Eq)]
struct Stat {
    cpu_ticks: u64,
    threads: u64,
    start_ticks: u64,
    virtual_bytes: u64,
    resident_pages: u64,
}

impl Stat {
    fn parse(text: &str) -> Option<Self> {
        // The name of the program stands in brackets and may hold anything.
        let (_, rest) = text.rsplit_once(") ")?;
        let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
        // Numbered from 1 in proc(5); the first after the name is the third.
        let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
        Some(Self {
            cpu_ticks: field(14)? + field(15)?,
            threads: field(20)?,
            start_ticks: field(22)?,
            virtual_bytes: field(23)?,
            resident_pages: field(24)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_stands_after_a_name_with_brackets() {
        let text =
            "42 (a) b) S 1 42 42 0 -1 4194560 900 0 3 0 250 50 0 0 20 0 7 0 8000 123456 789 18446744073709551615 1";
        let want = Stat { cpu_ticks: 300, threads: 7, start_ticks: 8000, virtual_bytes: 123_456, resident_pages: 789 };
        assert_eq!(Stat::parse(text), Some(want));
        assert_eq!(Stat::parse("42 (jobd) S 1"), None);
    }
}
