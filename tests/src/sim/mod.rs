//! The simulation: the real controllers, the real pod runner and the real store, stepped by hand over a scripted engine with a
//! virtual clock. Everything that happens follows from one seed, so that a seed that found something finds it again.
//!
//! [`run`] plays one seed: [`workload`] is what users do, [`faults`] is what goes wrong, [`checker`] judges after every step, and
//! neither knows the others. After a while the faults stop, and then every job must reach its end and nothing may be left behind.
//! Rules of the product may not come in here; what a checker knows it knows from the spec.

pub mod checker;
pub mod clock;
pub mod daemon;
pub mod dice;
pub mod disk;
pub mod engine;
pub mod faults;
pub mod flight;
pub mod machine;
pub mod run;
pub mod truth;
pub mod workload;

pub use run::{Failure, Report, run};
