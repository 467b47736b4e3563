//! What a Kubernetes manifest means, for the kinds that jobd serves.
//!
//! Everything here is synchronous and pure: the time, new ids and random characters are arguments. No tokio, no
//! sqlx, no bollard, no clock. The daemon reads bodies with [`decode`], turns them into stored objects with
//! [`write`], shows them with [`table`] and [`discovery`], and finds all of it through the one [`registry`] of kinds.

pub mod cron;
pub mod decode;
pub mod discovery;
pub mod field;
pub mod index;
pub mod indexes;
pub mod kind;
pub mod lifecycle;
pub mod meta;
pub mod name;
pub mod object;
pub mod openapi;
pub mod patch;
pub mod quantity;
pub mod registry;
pub mod schema;
pub mod selector;
pub mod status;
#[cfg(test)]
mod stories;
pub mod table;
pub mod time;
pub mod write;
pub mod zero;
