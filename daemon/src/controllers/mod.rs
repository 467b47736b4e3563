//! The loops that decide what becomes of objects: one module per controller, each with its rules in pure files beside a thin `mod` that
//! observes and commits. Nothing here sees Docker or HTTP.

pub mod job;
