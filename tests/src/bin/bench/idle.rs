//! Idle means idle (I-11): no CPU, no write, a few MB.

use std::time::Duration;

use jobd_tests::Daemon;

use crate::figures::Figures;

fn field(path: &str, name: &str) -> f64 {
    std::fs::read_to_string(path)
        .unwrap_or_default()
        .lines()
        .find_map(|line| line.strip_prefix(name))
        .and_then(|rest| rest.split_whitespace().next()?.parse().ok())
        .unwrap_or(f64::NAN)
}

/// Resident memory of a process.
pub fn rss_mb(pid: u32) -> f64 {
    field(&format!("/proc/{pid}/status"), "VmRSS:") / 1e3
}

/// The most that it ever was.
pub fn peak_rss_mb(pid: u32) -> f64 {
    field(&format!("/proc/{pid}/status"), "VmHWM:") / 1e3
}

/// CPU time in ms, wake-ups of all threads, bytes written.
pub fn usage(pid: u32) -> (f64, f64, f64) {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let fields: Vec<f64> = stat
        .rsplit(')')
        .next()
        .unwrap_or_default()
        .split_whitespace()
        .map(|field| field.parse().unwrap_or(0.0))
        .collect();
    // utime and stime in ticks of 10 ms: the fields 14 and 15 of the whole line.
    let cpu = (fields.get(11).unwrap_or(&0.0) + fields.get(12).unwrap_or(&0.0)) * 10.0;
    let wakes = std::fs::read_dir(format!("/proc/{pid}/task")).map_or(0.0, |tasks| {
        tasks
            .filter_map(Result::ok)
            .map(|task| field(&task.path().join("status").display().to_string(), "voluntary_ctxt_switches:"))
            .sum()
    });
    (cpu, wakes, field(&format!("/proc/{pid}/io"), "wchar:"))
}

pub async fn measure(figures: &mut Figures) {
    let daemon = Daemon::start_with(&["--listen", "127.0.0.1:0"], &[]).await;
    let client = daemon.client();
    client.post("/apis/batch/v1/namespaces/default/jobs", &jobd_tests::manifest::job("one", "true")).await.expect(201);
    client.wait_job("default", "one", "Complete").await;
    tokio::time::sleep(Duration::from_secs(15)).await;
    let time = Duration::from_secs(if figures.short { 20 } else { 300 });
    let before = usage(daemon.pid());
    tokio::time::sleep(time).await;
    let after = usage(daemon.pid());
    let seconds = time.as_secs();
    figures.note(&format!("idle for {seconds} s: {} wake-ups", after.1 - before.1));
    figures.at_most(&format!("idle, CPU in {seconds} s"), after.0 - before.0, 10.0, "ms");
    figures.at_most(&format!("idle, bytes written in {seconds} s"), after.2 - before.2, 0.0, "bytes");
    figures.at_most("idle, resident memory", rss_mb(daemon.pid()), 15.0, "MB");
}
