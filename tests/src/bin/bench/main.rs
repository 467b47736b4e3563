//! `make bench`: what jobd costs, beside the bare engine in the same run.
//!
//! Each figure is printed with its goal. With `--short` fewer rounds are made, and the program fails only when a figure is more than 1.5
//! times off its goal: shared machines are noisy, and this guards against losing a factor, not a percent.

mod bare;
mod figures;
mod idle;
mod jobs;
mod looks;
mod store;

use figures::Figures;

#[tokio::main]
async fn main() -> std::process::ExitCode {
    let short = std::env::args().any(|argument| argument == "--short");
    let mut figures = Figures::new(short);
    figures.note(&format!("machine: {} CPUs; fdatasync of 4 KiB: {}", figures::cpus(), figures::fdatasync()));
    let size = std::fs::metadata(jobd_tests::daemon::program()).map_or(0, |file| file.len());
    figures.at_most("stripped binary", size as f64 / 1e6, 20.0, "MB");
    jobs::measure(&mut figures).await;
    looks::measure(&mut figures).await;
    store::measure(&mut figures).await;
    idle::measure(&mut figures).await;
    figures.verdict()
}
