//! The only callers of the wall clock, the boot clock and the system's randomness.

use std::time::Duration;

use jiff::Timestamp;

/// One reading of both clocks (DESIGN section 2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// Wall time: for timestamps and schedules. Can jump.
    pub wall: Timestamp,
    /// Time since boot, suspend included: for durations. Never jumps.
    pub boot: Duration,
}

/// Where the time comes from: the machine in production, a script in the simulation.
pub trait Clock: Send + Sync + 'static {
    fn now(&self) -> Now;
}

/// The machine's clocks.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the wall clock")]
    fn now(&self) -> Now {
        let boot = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
        Now {
            wall: Timestamp::now(),
            boot: Duration::new(boot.tv_sec.unsigned_abs(), u32::try_from(boot.tv_nsec).unwrap_or_default()),
        }
    }
}

/// How long something takes, for metrics and logs: no decision rests on it, so it reads the machine's clock, in the simulation too.
#[derive(Clone, Copy, Debug)]
pub struct Stopwatch(std::time::Instant);

impl Stopwatch {
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "nothing is decided by what is measured")]
    pub fn start() -> Self {
        Self(std::time::Instant::now())
    }

    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.0.elapsed()
    }
}

/// Random bits that can be shared between tasks: seeded from the system, or with a number in tests.
pub struct SharedRandom(std::sync::Mutex<rand::rngs::StdRng>);

impl SharedRandom {
    #[must_use]
    pub fn from_system() -> Self {
        Self(std::sync::Mutex::new(rand::make_rng()))
    }

    #[must_use]
    pub fn seeded(seed: u64) -> Self {
        Self(std::sync::Mutex::new(rand::SeedableRng::seed_from_u64(seed)))
    }
}

/// `&SharedRandom` is a source of random bits for [`jobd_api::write`].
impl jobd_api::write::Random for &SharedRandom {
    fn next_u64(&mut self) -> u64 {
        use rand::Rng as _;
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner).next_u64()
    }
}
