//! How many finished pods are too many. Pure.
#![deny(clippy::disallowed_methods)]

/// How many finished pods are kept at most; upstream's `--terminated-pod-gc-threshold`.
pub const FINISHED_MAX: usize = 12_500;

/// The part of the limit below it down to which is cleaned up, so that not each further pod costs a look at all.
const SLACK_DIVISOR: usize = 25;

/// How many of so many finished pods are to go, the oldest: none up to the limit, else down to a little below it.
pub(super) fn decide(finished: usize, max: usize) -> usize {
    if finished <= max { 0 } else { finished - (max - max / SLACK_DIVISOR) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn some_go_when_there_are_too_many() {
        for (finished, want) in [(0, 0), (50, 0), (51, 3), (500, 452)] {
            assert_eq!(decide(finished, 50), want, "{finished}");
        }
    }
}
