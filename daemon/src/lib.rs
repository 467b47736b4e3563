//! What runs: the daemon `jobd`.
//!
//! Arrows point one way: `cli` -> `server`, `controllers`, `scheduler`, `node` -> `store`, `engine` -> `jobd_api`. Controllers never see
//! Docker, the node never sees HTTP, the server never decides. The one bridge is [`node::streams::PodStreams`].

pub mod cli;
pub mod config;
pub mod controllers;
pub mod driver;
pub mod engine;
pub mod failpoint;
pub mod metrics;
pub mod node;
pub mod recorder;
pub mod scheduler;
pub mod server;
pub mod store;
pub mod sys;
pub mod telemetry;

#[cfg(test)]
mod testing;
