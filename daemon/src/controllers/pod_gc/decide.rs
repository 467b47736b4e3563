//! Which finished pods are too many. Pure.
#![deny(clippy::disallowed_methods)]

/// How many finished pods are kept at most; upstream's `--terminated-pod-gc-threshold`.
pub const FINISHED_MAX: usize = 12_500;

/// The part of the limit below it down to which is cleaned up, so that not each further pod costs a look at all.
const SLACK_DIVISOR: usize = 25;

/// The finished pods to remove, oldest first: none up to the limit, else down to a little below it.
///
/// Each pod is a pair of creation time (as on the wire, which sorts by age) and whatever names it.
pub(super) fn decide<T: Ord>(mut finished: Vec<(String, T)>, max: usize) -> Vec<T> {
    if finished.len() <= max {
        return Vec::new();
    }
    let excess = finished.len() - (max - max / SLACK_DIVISOR);
    finished.sort_unstable();
    finished.truncate(excess);
    finished.into_iter().map(|(_, pod)| pod).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn removes_the_oldest_when_there_are_too_many() {
        let pods = |count: u32| (0..count).rev().map(|n| (format!("2026-01-01T00:{n:02}:00Z"), n)).collect::<Vec<_>>();
        assert_eq!(decide(pods(50), 50), Vec::<u32>::new());
        assert_eq!(decide(pods(51), 50), [0, 1, 2], "down to 48");
    }
}
