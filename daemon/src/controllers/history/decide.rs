//! Which finished objects are history that nobody keeps. Pure.
#![deny(clippy::disallowed_methods)]

use jiff::SignedDuration;

/// How much finished work is kept; none: all of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Keep {
    /// So many jobs, and so many pods of nobody.
    pub count: Option<usize>,
    /// For so long after the end.
    pub age: Option<SignedDuration>,
}

impl Keep {
    #[must_use]
    pub fn is_all(&self) -> bool {
        self.count.is_none() && self.age.is_none()
    }
}

/// The part of the limit below it down to which is cleaned up, so that not each further job costs a look at all.
const SLACK_DIVISOR: usize = 25;

/// What a look at all finished objects comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Plan<T> {
    /// The oldest first.
    pub(super) delete: Vec<T>,
    /// How many are left.
    pub(super) kept: usize,
    /// How soon the next of them is too old.
    pub(super) next: Option<SignedDuration>,
}

/// Each object is a pair of the time since its end and whatever names it.
pub(super) fn decide<T: Ord>(mut finished: Vec<(SignedDuration, T)>, keep: Keep) -> Plan<T> {
    finished.sort_unstable_by(|a, b| b.0.cmp(&a.0).then_with(|| a.1.cmp(&b.1)));
    let excess = match keep.count {
        Some(max) if finished.len() > max => finished.len() - (max - max / SLACK_DIVISOR),
        Some(_) | None => 0,
    };
    let too_old = keep.age.map_or(0, |age| finished.partition_point(|(elapsed, _)| *elapsed >= age));
    let kept = finished.split_off(excess.max(too_old));
    let oldest = kept.first().map(|(elapsed, _)| *elapsed);
    Plan {
        delete: finished.into_iter().map(|(_, object)| object).collect(),
        kept: kept.len(),
        next: keep.age.zip(oldest).map(|(age, elapsed)| age.saturating_sub(elapsed)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Objects named by the hours since their end.
    #[track_caller]
    fn check(hours: &[i64], count: Option<usize>, age: Option<i64>, delete: &[i64], next: Option<i64>) {
        let finished = hours.iter().map(|hours| (SignedDuration::from_hours(*hours), *hours)).collect();
        let plan = decide(finished, Keep { count, age: age.map(SignedDuration::from_hours) });
        let want = Plan {
            delete: delete.to_vec(),
            kept: hours.len() - delete.len(),
            next: next.map(SignedDuration::from_hours),
        };
        assert_eq!(plan, want, "{hours:?} {count:?} {age:?}");
    }

    #[test]
    fn keeps_everything_without_limits() {
        check(&[1, 2, 3], None, None, &[], None);
        check(&[], Some(0), Some(1), &[], None);
    }

    #[test]
    fn removes_the_oldest_beyond_the_number() {
        check(&[1, 3, 2], Some(3), None, &[], None);
        check(&[1, 3, 2], Some(2), None, &[3], None);
        check(&[1, 3, 2], Some(0), None, &[3, 2, 1], None);
        let many: Vec<i64> = (1..=51).collect();
        check(&many, Some(50), None, &[51, 50, 49], None);
    }

    #[test]
    fn removes_what_ended_too_long_ago_and_knows_when_the_next_is() {
        check(&[1, 30, 24, 20], None, Some(24), &[30, 24], Some(4));
        check(&[30], None, Some(24), &[30], None);
        // By a clock that was set back, it has not ended yet.
        check(&[-2], None, Some(24), &[], Some(26));
    }

    #[test]
    fn the_stricter_limit_decides() {
        check(&[1, 2, 30], Some(1), Some(24), &[30, 2], Some(23));
        check(&[1, 2, 30], Some(2), Some(24), &[30], Some(22));
    }
}
