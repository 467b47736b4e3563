//! The rules of one probe, as the kubelet has them: when it is asked, and how many answers make a verdict (J-2409).
#![deny(clippy::disallowed_methods)]

use std::time::Duration;

use k8s_openapi::api::core::v1::Probe;

use crate::node::observed::ProbeKind;

fn seconds(value: Option<i32>, least: u64) -> Duration {
    Duration::from_secs(value.and_then(|value| u64::try_from(value).ok()).unwrap_or(0).max(least))
}

/// How long one run may take.
pub(super) fn timeout(probe: &Probe) -> Duration {
    seconds(probe.timeout_seconds, 1)
}

/// When a probe is run, since boot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Schedule {
    /// Not before this.
    earliest: Duration,
    /// Runs come at this plus whole periods; none: at once, then by periods.
    base: Option<Duration>,
    period: Duration,
}

impl Schedule {
    /// Startup and liveness are asked in the rhythm that began when the pod was accepted, so a container has a while before the first
    /// time. Readiness is asked at once: it only makes a pod ready sooner.
    pub(super) fn new(kind: ProbeKind, probe: &Probe, started: Duration, accepted: Duration) -> Self {
        Self {
            earliest: started + seconds(probe.initial_delay_seconds, 0),
            base: match kind {
                ProbeKind::Startup | ProbeKind::Liveness => Some(accepted),
                ProbeKind::Readiness => None,
            },
            period: seconds(probe.period_seconds, 1),
        }
    }

    /// The first run, when nothing else holds it up any more.
    pub(super) fn first(&self, now: Duration) -> Duration {
        let earliest = self.earliest.max(now);
        match self.base {
            None => earliest,
            Some(base) => {
                let whole = earliest.saturating_sub(base).as_nanos().div_ceil(self.period.as_nanos().max(1));
                base + self.period.saturating_mul(u32::try_from(whole).unwrap_or(u32::MAX))
            }
        }
    }

    /// The run after the one that was due at `last`; what was missed meanwhile is not made up for.
    pub(super) fn after(&self, last: Duration, now: Duration) -> Duration {
        let next = last + self.period;
        if next >= now { next } else { now }
    }
}

/// Counts equal answers in a row.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    last: Option<bool>,
    run: i32,
}

impl Tally {
    /// Takes in an answer. Some: so many in a row are a verdict.
    pub(super) fn add(&mut self, success: bool, probe: &Probe) -> Option<bool> {
        if self.last == Some(success) {
            self.run = self.run.saturating_add(1);
        } else {
            (self.last, self.run) = (Some(success), 1);
        }
        let threshold = if success { probe.success_threshold } else { probe.failure_threshold };
        (self.run >= threshold.unwrap_or(if success { 1 } else { 3 })).then_some(success)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn probe(success: i32, failure: i32) -> Probe {
        Probe { success_threshold: Some(success), failure_threshold: Some(failure), ..Probe::default() }
    }

    /// `+` is a success, `-` a failure; the answer has `Y` and `N` where a verdict is reached and `.` where none is.
    #[track_caller]
    fn check(success: i32, failure: i32, answers: &str, want: &str) {
        let (mut tally, probe) = (Tally::default(), probe(success, failure));
        let verdict = |answer| match tally.add(answer == '+', &probe) {
            Some(true) => 'Y',
            Some(false) => 'N',
            None => '.',
        };
        assert_eq!(answers.chars().map(verdict).collect::<String>(), want, "{success} {failure} {answers}");
    }

    #[test]
    fn so_many_equal_answers_in_a_row_are_a_verdict_j2409() {
        check(1, 3, "+--+---+", "Y..Y..NY");
        check(1, 1, "-+", "NY");
        check(2, 2, "+-+-++--", ".....Y.N");
        check(3, 1, "++-+++", "..N..Y");
        check(1, 2, "----", ".NNN");
    }

    #[track_caller]
    fn check_first(kind: ProbeKind, delay: i32, now: u64, want: u64) {
        let probe = Probe { initial_delay_seconds: Some(delay), period_seconds: Some(10), ..Probe::default() };
        // Accepted at 100, started at 103.
        let schedule = Schedule::new(kind, &probe, Duration::from_secs(103), Duration::from_secs(100));
        assert_eq!(schedule.first(Duration::from_secs(now)), Duration::from_secs(want), "{kind:?} {delay} {now}");
    }

    #[test]
    fn the_first_run_keeps_to_delay_and_rhythm() {
        check_first(ProbeKind::Readiness, 0, 103, 103);
        check_first(ProbeKind::Readiness, 5, 103, 108);
        // It had to wait for the startup probe.
        check_first(ProbeKind::Readiness, 5, 130, 130);
        check_first(ProbeKind::Liveness, 0, 103, 110);
        check_first(ProbeKind::Liveness, 7, 103, 110);
        check_first(ProbeKind::Liveness, 8, 103, 120);
        check_first(ProbeKind::Startup, 0, 110, 110);
        check_first(ProbeKind::Startup, 0, 111, 120);
    }

    #[test]
    fn missed_runs_are_not_made_up_for() {
        let schedule = Schedule::new(ProbeKind::Readiness, &Probe::default(), Duration::ZERO, Duration::ZERO);
        let second = Duration::from_secs;
        assert_eq!(schedule.after(second(5), second(5)), second(6));
        assert_eq!(schedule.after(second(5), second(9)), second(9));
    }
}
