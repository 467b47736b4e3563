//! The next action for one pod (DESIGN section 6): same observation, same answer. No call to the engine is decided here without its
//! intent being durable already (D-405), and a start whose answer was lost is never decided again (I-2, D-406).
#![deny(clippy::disallowed_methods)]

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{Container as PodContainer, PodStatus};

use super::{
    events,
    exit::{self, End, Judged},
    observed::{Anchors, Call, Evidence, Observed, Seen, Step, Trouble},
    restart::{self, Restart},
    status::{self, DEADLINE_EXCEEDED, Ending, Picture},
};
use crate::{
    engine::{Container, ContainerStatus},
    recorder::{EventSpec, EventType},
    store::{
        Attempt,
        attempts::{AttemptState, Exit},
    },
};

/// A stopped container gets at least so long before KILL (J-2550).
const GRACE_MIN: Duration = Duration::from_secs(2);
/// How often KILL is repeated for a process that does not end (F-14).
const KILL_AGAIN: Duration = Duration::from_secs(10);
/// How long an engine may take to show what became of a removed container, before it counts as unknown.
const DOUBT_MAX: Duration = Duration::from_secs(10);
/// How soon to look again at a state that passes by itself.
const LOOK_AGAIN: Duration = Duration::from_millis(500);

/// One thing to do.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Make it durable; then look again.
    Commit(Box<Commit>),
    PrepareVolumes,
    EnsureImage,
    BuildSpec,
    Create,
    Start {
        id: String,
    },
    /// Remove without force: succeeds only if it does not run (D-406).
    Fence {
        id: String,
    },
    /// Ask the engine about the container, now.
    Inspect,
    /// Ask the engine's memory of events about this id (D-406).
    Replay {
        id: String,
    },
    /// Read what the program left as its last words (J-2515).
    ReadTermination,
    Signal {
        id: String,
        signal: Signal,
    },
    /// Nothing to do before something changes, or before this time since boot.
    Wait(Option<Duration>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// The container's own stop signal.
    Stop,
    Kill,
}

/// What goes into one transaction.
#[derive(Clone, Debug, PartialEq)]
pub struct Commit {
    pub attempt: Option<Attempt>,
    pub status: PodStatus,
    pub events: Vec<EventSpec>,
    /// The pod's deletion is confirmed: it goes as soon as no finalizer holds it (J-2550).
    pub confirm_deletion: bool,
}

/// An action and why; never silent.
#[derive(Clone, Debug, PartialEq)]
pub struct Decision {
    pub action: Action,
    pub reason: &'static str,
}

fn decided(action: Action, reason: &'static str) -> Decision {
    Decision { action, reason }
}

/// Why and until when a pod is being stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stop {
    ending: Ending,
    /// KILL comes at this time since boot.
    kill_at: Duration,
}

/// What to do next for one pod that is bound to this node.
#[must_use]
pub fn decide(seen: &Observed<'_>, anchors: &mut Anchors) -> Decision {
    let Some(container) = seen.pod.spec.as_ref().and_then(|spec| spec.containers.first()) else {
        return decided(Action::Wait(None), "the pod has no container");
    };
    let stop = stop(seen, anchors);
    match seen.last() {
        Some(last) => match last.state {
            AttemptState::Creating => creating(seen, container, last, stop),
            AttemptState::Starting => starting(seen, last, stop),
            AttemptState::Fencing => fencing(seen, last, stop),
            AttemptState::Running => running(seen, container, last, stop, anchors),
            AttemptState::Ended => settled(seen, container, Some(last), stop, anchors),
        },
        None => settled(seen, container, None, stop, anchors),
    }
}

/// Whether the pod must not run (any more), first reason first: its end is published, it is deleted (J-2550), it is too old (J-2560).
fn stop(seen: &Observed<'_>, anchors: &mut Anchors) -> Option<Stop> {
    let spec = seen.pod.spec.as_ref()?;
    let grace = Duration::from_secs(u64::try_from(spec.termination_grace_period_seconds.unwrap_or(30)).unwrap_or(0));
    let phase = seen.pod.status.as_ref().and_then(|status| status.phase.as_deref());
    if let Some(deleted) = &seen.pod.metadata.deletion_timestamp {
        // The timestamp is the request plus the grace period (J-2550).
        return Some(Stop { ending: Ending::Deleted, kill_at: anchors.boot(deleted.0, seen.now) });
    }
    if status::is_terminal(phase) {
        let since = seen.memory.calls.term_at.unwrap_or(seen.now.boot);
        return Some(Stop { ending: Ending::Deleted, kill_at: since + grace });
    }
    let deadline = deadline(seen)?;
    let due = anchors.boot(deadline, seen.now);
    (due <= seen.now.boot).then(|| Stop { ending: Ending::Failed(DEADLINE_EXCEEDED), kill_at: due + grace })
}

/// When the pod has been active for too long (J-2560).
fn deadline(seen: &Observed<'_>) -> Option<Timestamp> {
    let seconds = seen.pod.spec.as_ref()?.active_deadline_seconds?;
    let start = seen.pod.status.as_ref()?.start_time.as_ref()?.0;
    start.checked_add(SignedDuration::from_secs(seconds)).ok()
}

/// The time at which the deadline has to be looked at, or an earlier one. A deadline that has passed was looked at now: to wait for it
/// would be to look again and again for as long as the engine is away.
fn until(seen: &Observed<'_>, anchors: &mut Anchors, other: Option<Duration>) -> Option<Duration> {
    let due = deadline(seen).map(|deadline| anchors.boot(deadline, seen.now)).filter(|due| seen.now.boot < *due);
    [due, other].into_iter().flatten().min()
}

/// No container of the pod runs or may run.
fn settled(
    seen: &Observed<'_>,
    container: &PodContainer,
    last: Option<&Attempt>,
    stop: Option<Stop>,
    anchors: &mut Anchors,
) -> Decision {
    if let Some(stop) = stop {
        return finish(seen, stop.ending);
    }
    let exit = last.and_then(|last| last.exit.as_ref());
    if let (Some(exit), Some(spec)) = (exit, seen.pod.spec.as_ref())
        && !restart::wants_restart(spec, container, exit)
    {
        return finish(seen, Ending::No);
    }
    if let Restart::At { at, delay } = restart::next_start(seen.attempts, seen.now.wall) {
        let due = anchors.boot(at, seen.now);
        if seen.now.boot < due {
            return back_off(seen, container, delay, due, anchors);
        }
    }
    let next = match last {
        // An attempt that never ran is made again under its own number.
        Some(last) if last.exit.is_none() => last.attempt,
        Some(last) => last.attempt + 1,
        None => 0,
    };
    if let Some(decision) = prepare(seen, anchors) {
        return decision;
    }
    let attempt = Attempt {
        pod_uid: seen.pod.metadata.uid.clone().unwrap_or_default(),
        container: container.name.clone(),
        attempt: next,
        state: AttemptState::Creating,
        container_id: None,
        created_at: seen.now.wall,
        started_at: None,
        exit: None,
        logs_copied: false,
        removed: false,
    };
    commit(seen, Some(attempt), Ending::No, None, "everything is ready: the create-intent")
}

/// The pod is over: publish it, and confirm its deletion if it is being deleted.
fn finish(seen: &Observed<'_>, ending: Ending) -> Decision {
    let deleting = seen.pod.metadata.deletion_timestamp.is_some();
    let confirmed = seen.pod.metadata.deletion_grace_period_seconds == Some(0)
        && seen.pod.metadata.finalizers.as_ref().is_some_and(|finalizers| !finalizers.is_empty());
    let mut new = picture(seen, None, ending, None, None);
    new.events = seen.memory.events.clone();
    if ending == Ending::Failed(DEADLINE_EXCEEDED) && !is_published(seen) {
        let event = events::pod(seen.pod, EventType::Normal, DEADLINE_EXCEEDED.reason, DEADLINE_EXCEEDED.message);
        new.events.push(event);
    }
    if deleting && !confirmed {
        new.confirm_deletion = true;
        return decided(Action::Commit(Box::new(new)), "nothing runs any more: the deletion is confirmed");
    }
    if same(seen, &new) {
        return decided(Action::Wait(None), "the pod is over");
    }
    decided(Action::Commit(Box::new(new)), "the pod is over: publish it")
}

fn is_published(seen: &Observed<'_>) -> bool {
    status::is_terminal(seen.pod.status.as_ref().and_then(|status| status.phase.as_deref()))
}

/// J-2522, J-2581.
fn back_off(
    seen: &Observed<'_>,
    container: &PodContainer,
    delay: Duration,
    due: Duration,
    anchors: &mut Anchors,
) -> Decision {
    let identity = events::pod_identity(seen.pod);
    let message = format!(
        "back-off {} restarting failed container={} pod={identity}",
        jobd_api::time::go_duration(delay),
        container.name
    );
    let trouble = Trouble { reason: "CrashLoopBackOff".to_owned(), message, retry_at: due };
    let event = events::restart_backoff(seen.pod, &container.name);
    let due = until(seen, anchors, Some(due));
    wait(seen, Some(&trouble), Some(event), due, "in restart back-off")
}

/// The first thing that is missing before the next container can be created; none: all is there.
fn prepare(seen: &Observed<'_>, anchors: &mut Anchors) -> Option<Decision> {
    let preparation = &seen.memory.preparation;
    let steps = [
        (&preparation.volumes, Some(Action::PrepareVolumes), "volumes"),
        (&preparation.image, Some(Action::EnsureImage), "image"),
        (&preparation.spec, Some(Action::BuildSpec), "container spec"),
        (&preparation.create, None, "create"),
    ];
    for (step, action, reason) in steps {
        match (step, action) {
            (Step::Done, _) | (Step::Todo, None) => {}
            (Step::Todo, Some(action)) => return Some(decided(action, reason)),
            (Step::Running, _) => {
                let due = until(seen, anchors, None);
                return Some(wait(seen, None, None, due, reason));
            }
            (Step::Trouble(trouble), action) => {
                if trouble.retry_at <= seen.now.boot {
                    match action {
                        Some(action) => return Some(decided(action, reason)),
                        None => continue,
                    }
                }
                let due = until(seen, anchors, Some(trouble.retry_at));
                return Some(wait(seen, Some(trouble), None, due, reason));
            }
        }
    }
    None
}

/// Create may have been sent, start was not: the command never ran.
fn creating(seen: &Observed<'_>, container: &PodContainer, last: &Attempt, stop: Option<Stop>) -> Decision {
    if let Some(stop) = stop {
        return never_ran(seen, last, stop.ending, "stopped before it was started");
    }
    match seen.container {
        Seen::Present(found) => match found.status {
            ContainerStatus::Created => return start_intent(seen, container, last, found.id.clone()),
            ContainerStatus::Running | ContainerStatus::Paused | ContainerStatus::Exited => {
                return adopt(seen, last, found, "it was started by somebody else");
            }
            ContainerStatus::Removing => return wait_briefly(seen, "the container is being removed"),
        },
        // A stranger who has the name is met by create.
        Seen::Unknown | Seen::Absent | Seen::Foreign(_) => {}
    }
    if let Some(id) = &seen.memory.calls.created {
        return start_intent(seen, container, last, id.clone());
    }
    // Anchors are not needed here: the deadline is looked at again when the attempt runs.
    prepare(seen, &mut Anchors::default()).unwrap_or_else(|| decided(Action::Create, "the create-intent is durable"))
}

fn start_intent(seen: &Observed<'_>, container: &PodContainer, last: &Attempt, id: String) -> Decision {
    let attempt = Attempt {
        state: AttemptState::Starting,
        container_id: Some(id),
        started_at: Some(seen.now.wall),
        ..last.clone()
    };
    let event = events::created(seen.pod, &container.name);
    commit(seen, Some(attempt), Ending::No, Some(event), "created: the id and the start-intent")
}

/// Start may have been sent; its answer is not recorded.
fn starting(seen: &Observed<'_>, last: &Attempt, stop: Option<Stop>) -> Decision {
    let Some(id) = last.container_id.clone() else {
        return decided_end(seen, stop, exit::unknown(last, seen.history, "the container's id is not recorded"), last);
    };
    match &seen.memory.calls.start {
        Call::Unsent => match stop {
            Some(stop) => never_ran(seen, last, stop.ending, "stopped before start was sent"),
            None => decided(Action::Start { id }, "the start-intent is durable"),
        },
        Call::Refused(message) => {
            let end = exit::start_error(last, message);
            let name = &last.container;
            let event = events::failed(seen.pod, name, format!("Error: {message}"));
            end_attempt(seen, stop, end, last, Some(event), "the engine refused the start")
        }
        Call::Done => match seen.container {
            Seen::Present(found) if found.status == ContainerStatus::Exited => exited(seen, last, found, stop),
            Seen::Present(found) => adopt(seen, last, found, "started"),
            Seen::Unknown | Seen::Absent | Seen::Foreign(_) => {
                let attempt = Attempt { state: AttemptState::Running, ..last.clone() };
                let event = events::started(seen.pod, &last.container);
                commit(seen, Some(attempt), Ending::No, Some(event), "started")
            }
        },
        Call::Lost => doubt(seen, last, &id, stop),
    }
}

/// The fence may have been sent.
fn fencing(seen: &Observed<'_>, last: &Attempt, stop: Option<Stop>) -> Decision {
    let Some(id) = last.container_id.clone() else {
        return decided_end(seen, stop, exit::unknown(last, seen.history, "the container's id is not recorded"), last);
    };
    match &seen.memory.calls.fence {
        Call::Unsent => decided(Action::Fence { id }, "the fence-intent is durable"),
        Call::Done | Call::Refused(_) | Call::Lost => doubt(seen, last, &id, stop),
    }
}

/// A start without an answer: what the engine shows and what its events tell decide; never a second start (D-406, D-610, D-1601).
fn doubt(seen: &Observed<'_>, last: &Attempt, id: &str, stop: Option<Stop>) -> Decision {
    if matches!(seen.container, Seen::Absent)
        && let Some(died) = &seen.history.died
    {
        return decided_end(seen, stop, exit::from_event(last, died, seen.history, stop.is_some()), last);
    }
    match seen.container {
        Seen::Unknown => decided(Action::Inspect, "the answer to start was lost"),
        Seen::Foreign(_) => {
            decided_end(seen, stop, exit::unknown(last, seen.history, "the container was replaced"), last)
        }
        Seen::Present(found) => match found.status {
            ContainerStatus::Running | ContainerStatus::Paused => {
                adopt(seen, last, found, "the lost start was carried out")
            }
            ContainerStatus::Exited => exited(seen, last, found, stop),
            ContainerStatus::Removing => wait_briefly(seen, "the container is being removed"),
            ContainerStatus::Created => match &seen.history.evidence {
                Evidence::Unasked => decided(Action::Replay { id: id.to_owned() }, "created may mean not yet started"),
                Evidence::Complete { .. } => fence(seen, last, id),
                Evidence::Missing => {
                    let evidence = "the engine was restarted during the start, so whether the command ran is not known";
                    decided_end(seen, stop, exit::unknown(last, seen.history, evidence), last)
                }
            },
        },
        Seen::Absent => match &seen.history.evidence {
            Evidence::Unasked => decided(Action::Replay { id: id.to_owned() }, "the container is gone"),
            Evidence::Complete { destroyed: true } => match stop {
                Some(stop) => never_ran(seen, last, stop.ending, "fenced: it never ran"),
                None => {
                    let attempt = Attempt {
                        state: AttemptState::Creating,
                        container_id: None,
                        started_at: None,
                        created_at: seen.now.wall,
                        ..last.clone()
                    };
                    commit(seen, Some(attempt), Ending::No, None, "fenced: it never ran, so it is created again")
                }
            },
            Evidence::Complete { destroyed: false } => {
                let since = seen.memory.calls.doubt_since.unwrap_or(seen.now.boot);
                if seen.now.boot < since + DOUBT_MAX {
                    return wait_briefly(seen, "its removal is not among the events yet");
                }
                let evidence = "the container is gone and the engine does not tell how";
                decided_end(seen, stop, exit::unknown(last, seen.history, evidence), last)
            }
            Evidence::Missing => {
                let evidence = "the container is gone, and so are the engine's events about it";
                decided_end(seen, stop, exit::unknown(last, seen.history, evidence), last)
            }
        },
    }
}

fn fence(seen: &Observed<'_>, last: &Attempt, id: &str) -> Decision {
    if last.state == AttemptState::Fencing {
        // Refused: it ran when asked (then the next look shows it), or something passing.
        let again = seen.memory.calls.fence_again.filter(|again| seen.now.boot < *again);
        return match again {
            Some(again) => decided(Action::Wait(Some(again)), "the fence was refused"),
            None => decided(Action::Fence { id: id.to_owned() }, "the fence has no answer yet"),
        };
    }
    let attempt = Attempt { state: AttemptState::Fencing, ..last.clone() };
    commit(seen, Some(attempt), Ending::No, None, "the fence-intent")
}

/// The engine said that it runs.
fn running(
    seen: &Observed<'_>,
    container: &PodContainer,
    last: &Attempt,
    stop: Option<Stop>,
    anchors: &mut Anchors,
) -> Decision {
    let id = last.container_id.clone().unwrap_or_default();
    if seen.history.lost {
        return decided_end(seen, stop, exit::lost(last, seen.history), last);
    }
    match seen.container {
        Seen::Unknown => wait(seen, None, None, until(seen, anchors, None), "the engine does not answer"),
        Seen::Present(found) => match found.status {
            ContainerStatus::Running | ContainerStatus::Paused => match stop {
                Some(stop) => end_process(seen, container, id, stop),
                None => wait(seen, None, None, until(seen, anchors, None), "it runs"),
            },
            ContainerStatus::Exited => exited(seen, last, found, stop),
            ContainerStatus::Removing => wait_briefly(seen, "the container is being removed"),
            ContainerStatus::Created => {
                let evidence = "the engine forgot that it had started the container";
                decided_end(seen, stop, exit::unknown(last, seen.history, evidence), last)
            }
        },
        Seen::Foreign(_) => decided_end(seen, stop, exit::unknown(last, seen.history, status::NOT_LOCATED), last),
        Seen::Absent => match (&seen.history.died, &seen.history.evidence) {
            (Some(died), _) => {
                let end = exit::from_event(last, died, seen.history, stop.is_some());
                decided_end(seen, stop, end, last)
            }
            (None, Evidence::Unasked) => decided(Action::Replay { id }, "the container is gone"),
            (None, Evidence::Complete { .. } | Evidence::Missing) => {
                decided_end(seen, stop, exit::unknown(last, seen.history, status::NOT_LOCATED), last)
            }
        },
    }
}

/// The stop signal, the grace period, KILL (D-803, J-2550).
fn end_process(seen: &Observed<'_>, container: &PodContainer, id: String, stop: Stop) -> Decision {
    let calls = &seen.memory.calls;
    let Some(term_at) = calls.term_at else {
        return decided(Action::Signal { id, signal: Signal::Stop }, "the pod is being stopped");
    };
    let kill_at = match calls.kill_at {
        Some(sent) => sent + KILL_AGAIN,
        None => stop.kill_at.max(term_at + GRACE_MIN),
    };
    if kill_at <= seen.now.boot {
        return decided(Action::Signal { id, signal: Signal::Kill }, "the grace period is over");
    }
    let _ = container;
    wait(seen, None, None, Some(kill_at), "in the grace period")
}

/// The engine calls it exited.
fn exited(seen: &Observed<'_>, last: &Attempt, found: &Container, stop: Option<Stop>) -> Decision {
    match exit::judge(last, found, seen.history, stop.is_some()) {
        Judged::AskEvents => decided(Action::Replay { id: found.id.clone() }, "whether its end was witnessed"),
        Judged::End(mut end) => {
            let Some(text) = &seen.memory.termination else {
                return decided(Action::ReadTermination, "it ended");
            };
            if !text.is_empty() {
                let message = &mut end.exit.message;
                *message = if message.is_empty() { text.clone() } else { format!("{message}: {text}") };
            }
            let event = (last.state != AttemptState::Running).then(|| events::started(seen.pod, &last.container));
            end_attempt(seen, stop, end, last, event, "it ended")
        }
    }
}

fn decided_end(seen: &Observed<'_>, stop: Option<Stop>, end: End, last: &Attempt) -> Decision {
    end_attempt(seen, stop, end, last, None, "how it ended is not known")
}

/// The exit and the pod's status in one commit; logs and removal come later.
fn end_attempt(
    seen: &Observed<'_>,
    stop: Option<Stop>,
    end: End,
    last: &Attempt,
    event: Option<EventSpec>,
    reason: &'static str,
) -> Decision {
    let End { exit, disruption } = end;
    let ending = stop.map_or(Ending::No, |stop| stop.ending);
    let attempt = Attempt { state: AttemptState::Ended, exit: Some(exit), ..last.clone() };
    let mut new = picture(seen, Some(attempt), ending, None, disruption.as_deref());
    new.events = seen.memory.events.iter().cloned().chain(event).collect();
    if ending == Ending::Failed(DEADLINE_EXCEEDED) && !is_published(seen) {
        let event = events::pod(seen.pod, EventType::Normal, DEADLINE_EXCEEDED.reason, DEADLINE_EXCEEDED.message);
        new.events.push(event);
    }
    decided(Action::Commit(Box::new(new)), reason)
}

/// The attempt's command did not run and will not.
fn never_ran(seen: &Observed<'_>, last: &Attempt, ending: Ending, reason: &'static str) -> Decision {
    // Its container, if there is one, goes with the others that nobody needs.
    let attempt = Attempt { state: AttemptState::Ended, exit: None, logs_copied: true, ..last.clone() };
    commit(seen, Some(attempt), ending, None, reason)
}

/// It runs, whoever started it.
fn adopt(seen: &Observed<'_>, last: &Attempt, found: &Container, reason: &'static str) -> Decision {
    let attempt = Attempt {
        state: AttemptState::Running,
        container_id: Some(found.id.clone()),
        started_at: found.started_at.or(last.started_at),
        ..last.clone()
    };
    let event = events::started(seen.pod, &last.container);
    commit(seen, Some(attempt), Ending::No, Some(event), reason)
}

/// A commit with the status as it is after it.
fn commit(
    seen: &Observed<'_>,
    attempt: Option<Attempt>,
    ending: Ending,
    event: Option<EventSpec>,
    reason: &'static str,
) -> Decision {
    let mut new = picture(seen, attempt, ending, None, None);
    new.events = seen.memory.events.iter().cloned().chain(event).collect();
    decided(Action::Commit(Box::new(new)), reason)
}

/// Waits; before that writes the status if it says something else than the stored one. `event` goes with such a write.
fn wait(
    seen: &Observed<'_>,
    trouble: Option<&Trouble>,
    event: Option<EventSpec>,
    due: Option<Duration>,
    reason: &'static str,
) -> Decision {
    let mut new = picture(seen, None, Ending::No, trouble, None);
    new.events = seen.memory.events.clone();
    if same(seen, &new) {
        return decided(Action::Wait(due), reason);
    }
    new.events.extend(event);
    decided(Action::Commit(Box::new(new)), reason)
}

fn wait_briefly(seen: &Observed<'_>, reason: &'static str) -> Decision {
    decided(Action::Wait(Some(seen.now.boot + LOOK_AGAIN)), reason)
}

/// Nothing would change by this commit.
fn same(seen: &Observed<'_>, new: &Commit) -> bool {
    let Commit { attempt, status, events, confirm_deletion } = new;
    let equal = |old: &PodStatus| match (serde_json::to_value(old), serde_json::to_value(status)) {
        (Ok(old), Ok(new)) => old == new,
        (Err(_), _) | (_, Err(_)) => false,
    };
    attempt.is_none() && events.is_empty() && !confirm_deletion && seen.pod.status.as_ref().is_some_and(equal)
}

/// The status as it is once `attempt` is stored.
fn picture(
    seen: &Observed<'_>,
    attempt: Option<Attempt>,
    ending: Ending,
    trouble: Option<&Trouble>,
    disruption: Option<&str>,
) -> Commit {
    let mut attempts = seen.attempts.to_vec();
    if let Some(attempt) = &attempt {
        attempts.retain(|other| other.attempt != attempt.attempt);
        attempts.push(attempt.clone());
    }
    let image_id = seen
        .memory
        .image
        .as_ref()
        .map(|image| image.repo_digests.first().unwrap_or(&image.id).as_str())
        .filter(|_| attempts.last().is_some_and(|last| last.container_id.is_some()));
    let container = match seen.container {
        Seen::Present(container) => Some(&**container),
        Seen::Unknown | Seen::Absent | Seen::Foreign(_) => None,
    };
    let status = status::build(&Picture {
        pod: seen.pod,
        attempts: &attempts,
        container,
        trouble,
        ending,
        disruption,
        image_id,
        node: seen.node,
        now: seen.now.wall,
    });
    Commit { attempt, status, events: Vec::new(), confirm_deletion: false }
}

/// Whether an exit is one that nobody knows for certain.
#[must_use]
pub fn is_unknown(exit: &Exit) -> bool {
    exit.reason == status::UNKNOWN
}
