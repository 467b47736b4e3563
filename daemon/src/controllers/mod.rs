//! The loops that keep objects as their specs and the cluster's rules want them: each a pure `decide` beside a thin
//! `mod` that observes and commits. They see the store and nothing of Docker or HTTP.

pub mod bootstrap;
pub mod cron_job;
mod edit;
pub mod events_expiry;
pub mod garbage;
pub mod history;
pub mod job;
mod listing;
pub mod namespace;
pub mod pod_gc;
mod timeline;
pub mod ttl;

#[cfg(test)]
mod tests;
