//! The pod runner: pods -> containers. Images, volumes, logs, probes of state. Never sees HTTP.

pub mod streams;
