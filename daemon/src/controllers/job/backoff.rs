//! How long a job waits before it creates pods after failures (J-860, J-861). Global back-off; per-index back-off uses [`delay`] too.
#![deny(clippy::disallowed_methods)]

use jiff::SignedDuration;

use super::snapshot::{Moment, boot};
use crate::sys::Now;

/// The delay after the first failure. Lower hammers an image that is broken, higher slows every retry.
const DELAY_FIRST: SignedDuration = SignedDuration::from_secs(10);
/// The longest delay: ten minutes, whatever the documentation of the field says (J-2708).
const DELAY_MAX: SignedDuration = SignedDuration::from_secs(600);

/// Failures since the last success, and when the latest was (J-860).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Record {
    pub failures: u32,
    /// On the boot clock, so that a jump of the wall clock moves no running back-off.
    pub last: Option<SignedDuration>,
}

impl Record {
    /// The record after these pods finished; ignored failures are among the failures (J-860).
    #[must_use]
    pub fn after(self, successes: &[Moment], failures: &[Moment]) -> Self {
        let since = match successes.iter().map(|m| m.wall).max() {
            Some(latest_success) => {
                let later: Vec<&Moment> = failures.iter().filter(|m| m.wall > latest_success).collect();
                return Self::counting(0, &later);
            }
            None if failures.is_empty() => return self,
            None => self.failures,
        };
        Self::counting(since, &failures.iter().collect::<Vec<_>>())
    }

    fn counting(before: u32, failures: &[&Moment]) -> Self {
        match failures.iter().max() {
            None => Self::default(),
            Some(latest) => Self {
                failures: before.saturating_add(u32::try_from(failures.len()).unwrap_or(u32::MAX)),
                last: Some(latest.boot),
            },
        }
    }

    /// What is left of the delay; zero when pods may be created (J-861).
    #[must_use]
    pub fn remaining(self, now: Now) -> SignedDuration {
        self.last.map_or(SignedDuration::ZERO, |last| remaining(self.failures, last, now))
    }
}

/// What is left of the delay after `failures` failures, the latest of them at `last` on the boot clock.
#[must_use]
pub fn remaining(failures: u32, last: SignedDuration, now: Now) -> SignedDuration {
    let elapsed = boot(now).saturating_sub(last).max(SignedDuration::ZERO);
    delay(failures).saturating_sub(elapsed).max(SignedDuration::ZERO)
}

/// 0 for no failure, else 10 s doubling up to 600 s (J-861).
#[must_use]
pub fn delay(failures: u32) -> SignedDuration {
    match failures {
        0 => SignedDuration::ZERO,
        // The seventh is beyond the maximum already; larger shifts would overflow.
        n @ 1..=6 => DELAY_FIRST.saturating_mul(1 << (n - 1)).min(DELAY_MAX),
        7.. => DELAY_MAX,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use jiff::Timestamp;

    use super::*;

    fn at(second: i64) -> Moment {
        Moment { wall: Timestamp::from_second(second).unwrap(), boot: SignedDuration::from_secs(second) }
    }

    fn now(second: u64) -> Now {
        Now { wall: Timestamp::from_second(i64::try_from(second).unwrap()).unwrap(), boot: Duration::from_secs(second) }
    }

    /// One row of T-1: `(n, t)` before, successes, failures, now -> `(n, t)` and the remaining seconds.
    #[track_caller]
    fn check(
        before: (u32, Option<i64>),
        successes: &[i64],
        failures: &[i64],
        time: u64,
        record: (u32, Option<i64>),
        left: i64,
    ) {
        let before = Record { failures: before.0, last: before.1.map(SignedDuration::from_secs) };
        let moments = |seconds: &[i64]| seconds.iter().map(|s| at(*s)).collect::<Vec<_>>();
        for failures in [failures.to_vec(), failures.iter().rev().copied().collect()] {
            let after = before.after(&moments(successes), &moments(&failures));
            assert_eq!(after, Record { failures: record.0, last: record.1.map(SignedDuration::from_secs) });
            assert_eq!(after.remaining(now(time)).as_secs(), left);
        }
    }

    /// J-860, J-861.
    #[test]
    fn record_and_remaining_delay_follow_t1() {
        check((0, None), &[], &[100], 100, (1, Some(100)), 10);
        check((0, None), &[], &[100], 104, (1, Some(100)), 6);
        check((0, None), &[], &[100], 110, (1, Some(100)), 0);
        check((0, None), &[], &[95, 100], 100, (2, Some(100)), 20);
        check((0, None), &[], &[90, 95, 100], 103, (3, Some(100)), 37);
        check((2, Some(100)), &[], &[160], 160, (3, Some(160)), 40);
        check((2, Some(100)), &[], &[], 115, (2, Some(100)), 5);
        check((3, Some(100)), &[150], &[], 150, (0, None), 0);
        check((3, Some(100)), &[150], &[140], 151, (0, None), 0);
        check((3, Some(100)), &[150], &[140, 155], 156, (1, Some(155)), 9);
        check((3, Some(100)), &[150], &[155, 160], 161, (2, Some(160)), 19);
        check((0, None), &[100], &[100], 100, (0, None), 0);
        check((9, Some(100)), &[], &[1000], 1000, (10, Some(1000)), 600);
    }

    /// J-861, J-2708.
    #[test]
    fn delay_doubles_up_to_ten_minutes() {
        let delays: Vec<i64> = (0..9).map(|n| delay(n).as_secs()).collect();
        assert_eq!(delays, [0, 10, 20, 40, 80, 160, 320, 600, 600]);
        assert_eq!(delay(u32::MAX).as_secs(), 600);
    }

    #[test]
    fn a_failure_in_the_future_of_the_wall_clock_waits_no_longer_than_its_delay() {
        let moment = Moment::read(Timestamp::from_second(5_000).unwrap(), now(100));
        assert_eq!(Record::default().after(&[], &[moment]).remaining(now(100)).as_secs(), 10);
    }
}
