//! How long ago something was, although the wall clock was set meanwhile (I-10).
//!
//! What is written down is wall time. While the daemon runs it knows when its wall clock was set; what was before its start is judged by
//! the wall clock alone, as Kubernetes does. Pure.
#![deny(clippy::disallowed_methods)]

use jiff::{SignedDuration, Timestamp};

use crate::sys::Now;

/// A smaller difference is a clock that is disciplined, not set.
const JUMP_MIN: SignedDuration = SignedDuration::from_millis(500);
/// Only so many stretches are remembered. Where a clock is set more often, nobody can say what time it was.
const STRETCHES_MAX: usize = 64;

/// A stretch of time in which the wall clock ran evenly.
#[derive(Clone, Copy, Debug)]
struct Stretch {
    /// Its first moment, since boot.
    start: SignedDuration,
    /// What the wall clock would have shown at boot.
    zero: Timestamp,
}

impl Stretch {
    fn from(now: Now) -> Self {
        let start = boot(now);
        Self { start, zero: now.wall.checked_sub(start).unwrap_or(Timestamp::MIN) }
    }
}

/// The stretches since the start, oldest first.
#[derive(Clone, Debug)]
pub(super) struct Timeline(Vec<Stretch>);

impl Timeline {
    pub(super) fn new(now: Now) -> Self {
        Self(vec![Stretch::from(now)])
    }

    /// The wall clock may have been set since the last note.
    pub(super) fn note(&mut self, now: Now) {
        let stretch = Stretch::from(now);
        let jumped = |last: &Stretch| stretch.zero.duration_since(last.zero).abs() >= JUMP_MIN;
        if self.0.last().is_none_or(jumped) {
            if self.0.len() >= STRETCHES_MAX {
                self.0.remove(0);
            }
            self.0.push(stretch);
        }
    }

    /// How long ago this wall time was: the last time that the clock showed it. What it never showed is taken by today's clock; that is
    /// less than nothing for the future (J-1904).
    pub(super) fn elapsed(&self, wall: Timestamp, now: Now) -> SignedDuration {
        let by_wall = now.wall.duration_since(wall);
        let mut end = boot(now);
        for (position, stretch) in self.0.iter().enumerate().rev() {
            let at = wall.duration_since(stretch.zero);
            if at <= end && (at >= stretch.start || position == 0) {
                let is_current = position + 1 == self.0.len();
                return if is_current { by_wall } else { boot(now).saturating_sub(at) };
            }
            end = stretch.start;
        }
        by_wall
    }
}

fn boot(now: Now) -> SignedDuration {
    SignedDuration::try_from(now.boot).unwrap_or(SignedDuration::MAX)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn now(wall: i64, boot: u64) -> Now {
        Now { wall: Timestamp::from_second(wall).unwrap(), boot: Duration::from_secs(boot) }
    }

    /// The clock starts at 10,000 and is set at these seconds since boot to these times; how long ago `wall` is at the last of them.
    #[track_caller]
    fn check(jumps: &[(u64, i64)], at: (u64, i64), wall: i64, want: i64) {
        let mut timeline = Timeline::new(now(10_000, 100));
        for (boot, wall) in jumps {
            timeline.note(now(*wall, *boot));
        }
        let (boot, shows) = at;
        assert_eq!(timeline.elapsed(Timestamp::from_second(wall).unwrap(), now(shows, boot)).as_secs(), want);
    }

    #[test]
    fn an_even_clock_is_believed() {
        check(&[], (160, 10_060), 10_050, 10);
        check(&[], (160, 10_060), 5_000, 5_060);
        check(&[], (160, 10_060), 10_070, -10);
        check(&[(130, 10_030)], (160, 10_060), 10_020, 40);
    }

    #[test]
    fn a_clock_that_was_set_forward_makes_nothing_older() {
        let jumps = &[(150, 20_050)];
        check(jumps, (160, 20_060), 10_040, 20);
        check(jumps, (160, 20_060), 9_990, 70);
        check(jumps, (160, 20_060), 20_055, 5);
        check(jumps, (160, 20_060), 15_000, 5_060);
    }

    #[test]
    fn a_clock_that_was_set_back_makes_nothing_younger() {
        let jumps = &[(150, 7_050)];
        check(jumps, (160, 7_060), 10_040, 20);
        check(jumps, (160, 7_060), 7_052, 8);
        check(jumps, (160, 7_060), 10_060, -3_000);
    }
}
