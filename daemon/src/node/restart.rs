//! Whether an ended container runs again, and when (J-2501, J-2520 to J-2524). Back-offs follow from the recorded attempts alone, so
//! a restart of the daemon neither forgets nor repeats one.
#![deny(clippy::disallowed_methods)]

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use jobd_api::kind::pod_spec;
use k8s_openapi::api::core::v1::{Container, PodSpec};

use super::status::UNKNOWN;
use crate::store::{
    Attempt,
    attempts::{AttemptState, Exit},
};

/// The first delay, armed by the first exit (J-2520).
const BACKOFF_MIN: Duration = Duration::from_secs(10);
/// The longest delay (J-2520).
const BACKOFF_MAX: Duration = Duration::from_secs(300);
/// A container that lived this long after its start begins anew (J-2521).
const BACKOFF_RESET: Duration = Duration::from_secs(600);

/// When the next attempt of a container may start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Restart {
    /// At once.
    Now,
    /// Not before this wall time, which may be over; so long after the exit (J-2522).
    At { at: Timestamp, delay: Duration },
}

/// Whether the container runs again after this exit (J-2501).
#[must_use]
pub fn wants_restart(spec: &PodSpec, container: &Container, exit: &Exit) -> bool {
    pod_spec::restarts(spec, container, exit.exit_code)
}

/// When all containers of a pod began anew last: just after the exit for which a rule says so. What was made before that does not count
/// any more (J-2501).
#[must_use]
pub fn reset<'a>(containers: impl Iterator<Item = (Option<&'a Container>, &'a [Attempt])>) -> Option<Timestamp> {
    let exits = containers.flat_map(|(container, attempts)| {
        let container = container.filter(|one| one.restart_policy_rules.is_some());
        container.into_iter().flat_map(move |one| {
            attempts.iter().filter_map(move |attempt| {
                let exit = attempt.exit.as_ref()?;
                let asks = exit.reason != UNKNOWN && pod_spec::restarts_all(one, exit.exit_code);
                asks.then(|| ended_at(attempt)).flatten().map(|at| at.max(attempt.created_at))
            })
        })
    });
    exits.max().map(|last| last.checked_add(SignedDuration::from_nanos(1)).unwrap_or(last))
}

/// When the attempt after the last of these may start. `attempts` are those of one container, oldest first.
#[must_use]
pub fn next_start(attempts: &[Attempt], now: Timestamp) -> Restart {
    let ran: Vec<&Attempt> = attempts.iter().filter(|attempt| attempt.exit.is_some()).collect();
    let mut armed: Option<(Duration, Timestamp)> = None;
    for (index, attempt) in ran.iter().enumerate() {
        let Some(exit) = ended_at(attempt) else { continue };
        let delay = match armed {
            Some((delay, updated)) if exit.duration_since(updated) <= signed(BACKOFF_RESET) => {
                let at = exit.checked_add(signed(delay)).unwrap_or(exit);
                if index + 1 == ran.len() {
                    return Restart::At { at, delay };
                }
                (delay * 2).min(BACKOFF_MAX)
            }
            Some(_) | None => BACKOFF_MIN,
        };
        // The delay was armed when the attempt after this one was made.
        let restarted = ran.get(index + 1).map_or(now, |next| next.created_at);
        armed = Some((delay, restarted));
    }
    Restart::Now
}

/// When an attempt ended, as far as it is known.
fn ended_at(attempt: &Attempt) -> Option<Timestamp> {
    let Attempt { state, exit, created_at, started_at, .. } = attempt;
    match state {
        AttemptState::Ended => exit.as_ref().map(|exit| exit.finished_at.or(*started_at).unwrap_or(*created_at)),
        AttemptState::Creating | AttemptState::Starting | AttemptState::Fencing | AttemptState::Running => None,
    }
}

fn signed(duration: Duration) -> SignedDuration {
    SignedDuration::try_from(duration).unwrap_or(SignedDuration::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + seconds).unwrap()
    }

    fn attempt(number: u32, created: i64, ended: i64) -> Attempt {
        Attempt {
            pod_uid: "u".to_owned(),
            container: "c".to_owned(),
            attempt: number,
            state: AttemptState::Ended,
            container_id: Some("id".to_owned()),
            created_at: at(created),
            started_at: Some(at(created)),
            exit: Some(Exit {
                reason: "Error".to_owned(),
                exit_code: 1,
                message: String::new(),
                started_at: Some(at(created)),
                finished_at: Some(at(ended)),
            }),
            logs_copied: true,
            removed: true,
        }
    }

    /// Attempts that fail at once and restart as soon as they may: the waits before each.
    fn waits(count: u32) -> Vec<u64> {
        let (mut attempts, mut clock, mut waits) = (Vec::new(), 0, Vec::new());
        for number in 0..count {
            attempts.push(attempt(number, clock, clock));
            match next_start(&attempts, at(clock)) {
                Restart::Now => waits.push(0),
                Restart::At { at: due, delay } => {
                    assert_eq!(due, at(clock + i64::try_from(delay.as_secs()).unwrap()));
                    waits.push(delay.as_secs());
                    clock += i64::try_from(delay.as_secs()).unwrap();
                }
            }
        }
        waits
    }

    #[test]
    fn waits_double_up_to_five_minutes_j2520() {
        assert_eq!(waits(8), [0, 10, 20, 40, 80, 160, 300, 300]);
    }

    #[test]
    fn a_container_that_lived_long_starts_anew_j2521() {
        let attempts = [attempt(0, 0, 0), attempt(1, 0, 1), attempt(2, 11, 620)];
        assert_eq!(next_start(&attempts, at(620)), Restart::Now);
        let attempts = [attempt(0, 0, 0), attempt(1, 0, 1), attempt(2, 11, 600)];
        assert_eq!(next_start(&attempts, at(600)), Restart::At { at: at(620), delay: Duration::from_secs(20) });
    }

    #[test]
    fn the_policy_decides_who_runs_again_j2501() {
        let exit = |exit_code| Exit { exit_code, ..attempt(0, 0, 0).exit.unwrap() };
        let spec = |policy: &str| PodSpec { restart_policy: Some(policy.to_owned()), ..PodSpec::default() };
        let plain = Container::default();
        assert!(!wants_restart(&spec("Never"), &plain, &exit(1)));
        assert!(wants_restart(&spec("OnFailure"), &plain, &exit(1)));
        assert!(!wants_restart(&spec("OnFailure"), &plain, &exit(0)));
        let rules: Container = serde_json::from_value(serde_json::json!({
            "name": "c", "restartPolicy": "Never",
            "restartPolicyRules": [{"action": "Restart", "exitCodes": {"operator": "In", "values": [42]}}],
        }))
        .unwrap();
        assert!(wants_restart(&spec("Never"), &rules, &exit(42)));
        assert!(!wants_restart(&spec("OnFailure"), &rules, &exit(1)));
    }
}
