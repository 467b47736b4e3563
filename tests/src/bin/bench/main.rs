//! `make bench`: what jobd costs, beside the bare engine in the same run.
//!
//! Each figure is printed with its goal. With `--short` fewer rounds are made, and the program fails only when a figure is more than 1.5
//! times off its goal, on a machine that is slower than meant by so much more: this guards against losing a factor, not a percent. Names of parts
//! (`jobs`, `looks`, `store`, `cron`, `idle`) as arguments run these only. `many` and `finished` take minutes and run only when they are named.

mod bare;
mod cron;
mod figures;
mod finished;
mod idle;
mod jobs;
mod looks;
mod many;
mod store;

use figures::Figures;

#[tokio::main]
async fn main() -> std::process::ExitCode {
    let short = std::env::args().any(|argument| argument == "--short");
    let mut figures = Figures::new(short);
    figures.note(&format!("machine: {} CPUs", figures::cpus()));
    figures.look_at_machine();
    let size = std::fs::metadata(jobd_tests::daemon::program()).map_or(0, |file| file.len());
    figures.at_most("stripped binary", size as f64 / 1e6, 20.0, "MB");
    // `bench store idle` measures only these.
    let wanted: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with("--")).collect();
    let named = |part: &str| wanted.iter().any(|one| one == part);
    let wants = |part: &str| wanted.is_empty() || named(part);
    if wants("jobs") {
        jobs::measure(&mut figures).await;
    }
    if named("many") {
        many::measure(&mut figures).await;
    }
    if wants("looks") {
        figures.look_at_machine();
        looks::measure(&mut figures).await;
    }
    if wants("store") {
        figures.look_at_machine();
        store::measure(&mut figures).await;
    }
    if named("finished") {
        figures.look_at_machine();
        finished::measure(&mut figures).await;
    }
    if wants("cron") {
        figures.look_at_machine();
        cron::measure(&mut figures).await;
    }
    if wants("idle") {
        figures.look_at_machine();
        idle::measure(&mut figures).await;
    }
    figures.verdict()
}
