//! The next thing for one container of a pod, by its last attempt alone: the start protocol, its end, its restart. Whether it may start or
//! must stop is given by [`Order`]. No call is wanted here without its intent being durable already (D-405), and a start whose answer was
//! lost is never wanted again (I-2, D-406).
#![deny(clippy::disallowed_methods)]

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Pod;

use super::{
    cgroup::Usage,
    decide::{Action, Signal},
    events,
    exit::{self, End, Judged},
    observed::{
        Anchors, Call, Evidence, Health, History, Hook, Member, Memory, Part, ProbeKind, Role, Seen, Step, Trouble,
    },
    restart::{self, Restart},
    status::{self, Ending},
};
use crate::{
    engine::{Container, ContainerStatus},
    recorder::EventSpec,
    store::{Attempt, attempts::AttemptState},
    sys::Now,
};

/// A stopped container gets at least so long before KILL (J-2550).
pub(super) const GRACE_MIN: Duration = Duration::from_secs(2);
/// How often KILL is repeated for a process that does not end (F-14).
const KILL_AGAIN: Duration = Duration::from_secs(10);
/// How long an engine may take to show what became of a removed container, before it counts as unknown.
const DOUBT_MAX: Duration = Duration::from_secs(10);
/// How soon to look again at a container of which the engine did not tell anything (D-508: an exit in between may never be announced).
const ASK_AGAIN: Duration = Duration::from_secs(5);
/// How soon to look again at a state that passes by itself.
const LOOK_AGAIN: Duration = Duration::from_millis(500);

/// Why and until when something is being stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stop {
    pub(super) ending: Ending,
    /// KILL comes at this time since boot.
    pub(super) kill_at: Duration,
}

/// What the rest of the pod means for one container.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Order {
    /// It must not run (any more).
    pub(super) stop: Option<Stop>,
    /// It will have to stop, now or when its turn comes: its preStop hook may run.
    pub(super) farewell: Option<Stop>,
    /// Nothing of the pod starts again.
    pub(super) over: bool,
    /// What comes before it is there (J-2530).
    pub(super) may_start: bool,
    /// A new attempt is made after this: it belongs to the sandbox made then.
    pub(super) not_before: Option<Timestamp>,
    /// All begin anew: no preStop hook is run for that.
    pub(super) abrupt: bool,
}

/// What one container needs next.
#[derive(Clone, Debug)]
pub(super) enum Want {
    Do(Action, &'static str),
    /// Make it durable.
    Store {
        attempt: Box<Attempt>,
        event: Option<EventSpec>,
        disruption: Option<String>,
        reason: &'static str,
    },
    Wait {
        /// Shown in the status.
        trouble: Option<Trouble>,
        /// Goes with a change of the status.
        event: Option<EventSpec>,
        due: Option<Duration>,
        /// It passes soon: not worth a write.
        brief: bool,
        reason: &'static str,
    },
    /// It does not run and will not.
    Over,
}

/// One container with its order.
#[derive(Clone, Copy, Debug)]
pub(super) struct One<'a> {
    pub(super) pod: &'a Pod,
    pub(super) part: Part<'a>,
    pub(super) container: &'a Seen,
    pub(super) history: &'a History,
    pub(super) memory: &'a Memory,
    pub(super) order: Order,
    pub(super) now: Now,
}

impl<'a> One<'a> {
    pub(super) fn new(pod: &'a Pod, member: &Member<'a>, order: Order, now: Now) -> Self {
        let Member { part, container, history, memory } = *member;
        Self { pod, part, container, history, memory, order, now }
    }

    /// Nobody is told of the sandbox's life.
    fn event(&self, make: impl Fn(&Pod, &str) -> EventSpec) -> Option<EventSpec> {
        (self.part.role != Role::Sandbox).then(|| make(self.pod, self.part.name()))
    }

    /// The time of a new attempt.
    fn created_at(&self) -> Timestamp {
        self.order.not_before.map_or(self.now.wall, |after| self.now.wall.max(after))
    }
}

fn act(action: Action, reason: &'static str) -> Want {
    Want::Do(action, reason)
}

fn store(attempt: Attempt, event: Option<EventSpec>, reason: &'static str) -> Want {
    Want::Store { attempt: Box::new(attempt), event, disruption: None, reason }
}

fn wait(due: Option<Duration>, reason: &'static str) -> Want {
    Want::Wait { trouble: None, event: None, due, brief: false, reason }
}

fn wait_briefly(seen: &One<'_>, reason: &'static str) -> Want {
    Want::Wait { trouble: None, event: None, due: Some(seen.now.boot + LOOK_AGAIN), brief: true, reason }
}

fn wait_in(trouble: Trouble, reason: &'static str) -> Want {
    let due = Some(trouble.retry_at);
    Want::Wait { trouble: Some(trouble), event: None, due, brief: false, reason }
}

/// What it needs next.
pub(super) fn next(seen: &One<'_>, anchors: &mut Anchors) -> Want {
    match seen.part.last() {
        Some(last) => match last.state {
            AttemptState::Creating => creating(seen, last),
            AttemptState::Starting => starting(seen, last),
            AttemptState::Fencing => fencing(seen, last),
            AttemptState::Running => running(seen, last),
            AttemptState::Ended => settled(seen, Some(last), anchors),
        },
        None => settled(seen, None, anchors),
    }
}

/// It does not run and may not.
fn settled(seen: &One<'_>, last: Option<&Attempt>, anchors: &mut Anchors) -> Want {
    let Order { stop, over, may_start, not_before: _, farewell: _, abrupt: _ } = seen.order;
    if stop.is_some_and(|stop| stop.ending != Ending::No) || over || seen.part.verdict().is_some() {
        return Want::Over;
    }
    if stop.is_some() || !may_start {
        return wait(None, "others come first");
    }
    if let Restart::At { at, delay } = restart::next_start(seen.part.attempts, seen.now.wall) {
        let due = anchors.boot_within(at, delay, seen.now);
        if seen.now.boot < due {
            return back_off(seen, delay, due);
        }
    }
    let next = match last {
        // An attempt that never ran is made again under its own number.
        Some(last) if last.exit.is_none() => last.attempt,
        Some(last) => last.attempt + 1,
        None => 0,
    };
    if let Some(want) = prepare(seen) {
        return want;
    }
    let attempt = Attempt {
        pod_uid: seen.pod.metadata.uid.clone().unwrap_or_default(),
        container: seen.part.name().to_owned(),
        attempt: next,
        state: AttemptState::Creating,
        container_id: None,
        created_at: seen.created_at(),
        started_at: None,
        exit: None,
        // A sandbox has nothing to say.
        logs_copied: seen.part.role == Role::Sandbox,
        removed: false,
    };
    store(attempt, None, "everything is ready: the create-intent")
}

/// J-2522, J-2581.
fn back_off(seen: &One<'_>, delay: Duration, due: Duration) -> Want {
    let identity = events::pod_identity(seen.pod);
    let message = format!(
        "back-off {} restarting failed container={} pod={identity}",
        jobd_api::time::go_duration(delay),
        seen.part.name()
    );
    Want::Wait {
        trouble: Some(Trouble { reason: "CrashLoopBackOff".to_owned(), message, retry_at: due }),
        event: seen.event(events::restart_backoff),
        due: Some(due),
        brief: false,
        reason: "in restart back-off",
    }
}

/// The first thing that is missing before the next container can be created; none: all is there.
fn prepare(seen: &One<'_>) -> Option<Want> {
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
            (Step::Todo, Some(action)) => return Some(act(action, reason)),
            (Step::Running, _) => return Some(wait(None, reason)),
            (Step::Trouble(trouble), action) => {
                if trouble.retry_at <= seen.now.boot {
                    match action {
                        Some(action) => return Some(act(action, reason)),
                        None => continue,
                    }
                }
                return Some(wait_in(trouble.clone(), reason));
            }
        }
    }
    None
}

/// Create may have been sent, start was not: the command never ran.
fn creating(seen: &One<'_>, last: &Attempt) -> Want {
    let Order { stop, over, may_start, not_before, farewell: _, abrupt: _ } = seen.order;
    if stop.is_some_and(|stop| stop.ending != Ending::No) || over {
        return never_ran(last, "stopped before it was started");
    }
    if stop.is_some() || !may_start {
        return wait(None, "it waits for another sandbox");
    }
    if not_before.is_some_and(|sandbox| last.created_at < sandbox) {
        let attempt = Attempt { created_at: seen.created_at(), ..last.clone() };
        return store(attempt, None, "it is made for the new sandbox");
    }
    match seen.container {
        Seen::Present(found) => match found.status {
            ContainerStatus::Created => return start_intent(seen, last, found.id.clone()),
            ContainerStatus::Running | ContainerStatus::Paused | ContainerStatus::Exited => {
                return adopt(seen, last, found, "it was started by somebody else");
            }
            ContainerStatus::Removing => return wait_briefly(seen, "the container is being removed"),
        },
        // A stranger who has the name is met by create.
        Seen::Unknown | Seen::Absent | Seen::Foreign(_) => {}
    }
    if let Some(id) = &seen.memory.calls.created {
        return start_intent(seen, last, id.clone());
    }
    prepare(seen).unwrap_or_else(|| act(Action::Create, "the create-intent is durable"))
}

fn start_intent(seen: &One<'_>, last: &Attempt, id: String) -> Want {
    let attempt = Attempt {
        state: AttemptState::Starting,
        container_id: Some(id),
        started_at: Some(seen.now.wall),
        ..last.clone()
    };
    store(attempt, seen.event(events::created), "created: the id and the start-intent")
}

/// Start may have been sent; its answer is not recorded.
fn starting(seen: &One<'_>, last: &Attempt) -> Want {
    let Some(id) = last.container_id.clone() else {
        return ended(exit::unknown(last, seen.history, "the container's id is not recorded"), last);
    };
    match &seen.memory.calls.start {
        Call::Unsent => match seen.order.stop {
            _ if seen.order.over => never_ran(last, "the pod is over before start was sent"),
            Some(stop) if stop.ending == Ending::No => create_again(seen, last, "its sandbox ended before it started"),
            Some(_) => never_ran(last, "stopped before start was sent"),
            None => act(Action::Start { id }, "the start-intent is durable"),
        },
        Call::Refused(message) => {
            let end = exit::start_error(last, message);
            let event = events::failed(seen.pod, &last.container, format!("Error: {message}"));
            end_attempt(end, last, Some(event), "the engine refused the start")
        }
        Call::Done => match seen.container {
            Seen::Present(found) if found.status == ContainerStatus::Exited => exited(seen, last, found),
            Seen::Present(found) => adopt(seen, last, found, "started"),
            Seen::Unknown | Seen::Absent | Seen::Foreign(_) => {
                let attempt = Attempt { state: AttemptState::Running, ..last.clone() };
                store(attempt, seen.event(events::started), "started")
            }
        },
        Call::Lost => doubt(seen, last, &id),
    }
}

/// The fence may have been sent.
fn fencing(seen: &One<'_>, last: &Attempt) -> Want {
    let Some(id) = last.container_id.clone() else {
        return ended(exit::unknown(last, seen.history, "the container's id is not recorded"), last);
    };
    match &seen.memory.calls.fence {
        Call::Unsent => act(Action::Fence { id }, "the fence-intent is durable"),
        Call::Done | Call::Refused(_) | Call::Lost => doubt(seen, last, &id),
    }
}

/// A start without an answer: what the engine shows and what its events tell decide; never a second start (D-406, D-610, D-1601).
fn doubt(seen: &One<'_>, last: &Attempt, id: &str) -> Want {
    if matches!(seen.container, Seen::Absent)
        && let Some(died) = &seen.history.died
    {
        return ended(exit::from_event(last, died, seen.history, seen.order.stop.is_some()), last);
    }
    match seen.container {
        Seen::Unknown => act(Action::Inspect, "the answer to start was lost"),
        Seen::Foreign(_) => ended(exit::unknown(last, seen.history, "the container was replaced"), last),
        Seen::Present(found) => match found.status {
            ContainerStatus::Running | ContainerStatus::Paused => {
                adopt(seen, last, found, "the lost start was carried out")
            }
            ContainerStatus::Exited => exited(seen, last, found),
            ContainerStatus::Removing => wait_briefly(seen, "the container is being removed"),
            ContainerStatus::Created => match &seen.history.evidence {
                Evidence::Unasked => act(Action::Replay { id: id.to_owned() }, "created may mean not yet started"),
                // Without evidence it stays unknown whether the command ran, but not whether it may begin yet: a start can still be under
                // way when the engine's memory of events is merely too short (D-506).
                Evidence::Complete { .. } | Evidence::Missing => fence(seen, last, id),
            },
        },
        Seen::Absent => match &seen.history.evidence {
            Evidence::Unasked => act(Action::Replay { id: id.to_owned() }, "the container is gone"),
            Evidence::Complete { destroyed: true } => drop_or_create_again(seen, last),
            // The events are lost, and so is the container; its cgroup is there and was never used (D-610).
            Evidence::Missing if seen.history.usage == Usage::Unused => drop_or_create_again(seen, last),
            Evidence::Complete { destroyed: false } => {
                let since = seen.memory.calls.doubt_since.unwrap_or(seen.now.boot);
                if seen.now.boot < since + DOUBT_MAX {
                    return wait_briefly(seen, "its removal is not among the events yet");
                }
                let evidence = "the container is gone and the engine does not tell how";
                ended(exit::unknown(last, seen.history, evidence), last)
            }
            Evidence::Missing => {
                let evidence = match seen.history.usage {
                    Usage::Used => "the engine forgot the start, and something had run in the container's cgroup",
                    Usage::Unused | Usage::Unknown => {
                        "the engine forgot the start, and no cgroup tells what became of it"
                    }
                };
                ended(exit::unknown(last, seen.history, evidence), last)
            }
        },
    }
}

/// The fence held, and nothing had run before.
fn drop_or_create_again(seen: &One<'_>, last: &Attempt) -> Want {
    match seen.order.stop {
        Some(stop) if stop.ending != Ending::No => never_ran(last, "fenced: it never ran"),
        Some(_) | None if seen.order.over => never_ran(last, "fenced: it never ran"),
        Some(_) | None => create_again(seen, last, "fenced: it never ran, so it is created again"),
    }
}

/// It is certain that it was not started: the same attempt, from its beginning.
fn create_again(seen: &One<'_>, last: &Attempt, reason: &'static str) -> Want {
    let attempt = Attempt {
        state: AttemptState::Creating,
        container_id: None,
        started_at: None,
        created_at: seen.created_at(),
        ..last.clone()
    };
    store(attempt, None, reason)
}

fn fence(seen: &One<'_>, last: &Attempt, id: &str) -> Want {
    if last.state == AttemptState::Fencing {
        // Refused: it ran when asked (then the next look shows it), or something passing.
        let again = seen.memory.calls.fence_again.filter(|again| seen.now.boot < *again);
        return match again {
            Some(again) => Want::Wait {
                trouble: None,
                event: None,
                due: Some(again),
                brief: true,
                reason: "the fence was refused",
            },
            None => act(Action::Fence { id: id.to_owned() }, "the fence has no answer yet"),
        };
    }
    let attempt = Attempt { state: AttemptState::Fencing, ..last.clone() };
    store(attempt, None, "the fence-intent")
}

/// The engine said that it runs.
fn running(seen: &One<'_>, last: &Attempt) -> Want {
    let id = last.container_id.clone().unwrap_or_default();
    if seen.history.lost {
        return ended(exit::lost(last, seen.history), last);
    }
    match seen.container {
        Seen::Unknown => wait(Some(seen.now.boot + ASK_AGAIN), "the engine does not answer"),
        Seen::Present(found) => match found.status {
            ContainerStatus::Running | ContainerStatus::Paused => match seen.order.stop {
                Some(stop) => end_process(seen, id, stop),
                None => runs_on(seen, id),
            },
            ContainerStatus::Exited => exited(seen, last, found),
            ContainerStatus::Removing => wait_briefly(seen, "the container is being removed"),
            ContainerStatus::Created => {
                let evidence = "the engine forgot that it had started the container";
                ended(exit::unknown(last, seen.history, evidence), last)
            }
        },
        Seen::Foreign(_) => ended(exit::unknown(last, seen.history, status::NOT_LOCATED), last),
        Seen::Absent => match (&seen.history.died, &seen.history.evidence) {
            (Some(died), _) => {
                let end = exit::from_event(last, died, seen.history, seen.order.stop.is_some());
                ended(end, last)
            }
            (None, Evidence::Unasked) => act(Action::Replay { id }, "the container is gone"),
            (None, Evidence::Complete { .. } | Evidence::Missing) => {
                ended(exit::unknown(last, seen.history, status::NOT_LOCATED), last)
            }
        },
    }
}

/// Nobody else wants it to end; its own probes and hooks may.
fn runs_on(seen: &One<'_>, id: String) -> Want {
    if let Some(farewell) = seen.order.farewell {
        return begin_pre_stop(seen, farewell).unwrap_or_else(|| wait(None, "others stop first"));
    }
    let Health { failed, post_start, .. } = seen.part.health;
    if failed.is_none() && post_start != Hook::Failed {
        return wait(None, "it runs");
    }
    let since = seen.memory.calls.stop_at.unwrap_or(seen.now.boot);
    end_process(seen, id, Stop { ending: Ending::No, kill_at: since + probe_grace(seen, failed) })
}

/// The probe's own grace period, else the pod's.
fn probe_grace(seen: &One<'_>, failed: Option<ProbeKind>) -> Duration {
    let probe = seen.part.spec.and_then(|spec| match failed? {
        ProbeKind::Startup => spec.startup_probe.as_ref(),
        ProbeKind::Liveness => spec.liveness_probe.as_ref(),
        ProbeKind::Readiness => spec.readiness_probe.as_ref(),
    });
    let seconds = probe.and_then(|probe| probe.termination_grace_period_seconds);
    let seconds = seconds.or(seen.part.pod_spec.termination_grace_period_seconds).unwrap_or(30);
    Duration::from_secs(u64::try_from(seconds).unwrap_or(0))
}

/// None: there is no hook, it is under way, or there is no time for it.
fn begin_pre_stop(seen: &One<'_>, stop: Stop) -> Option<Want> {
    let asked = seen.part.health.pre_stop == Hook::Todo && !(seen.order.abrupt && seen.order.farewell.is_none());
    let todo = asked && seen.memory.calls.stop_at.is_none();
    let begin = || act(Action::PreStop { until: stop.kill_at }, "its preStop hook comes first");
    (todo && seen.now.boot < stop.kill_at).then(begin)
}

/// The preStop hook within the grace period, the stop signal, the rest of the period, KILL (D-803, J-2550).
fn end_process(seen: &One<'_>, id: String, stop: Stop) -> Want {
    if let Some(begin) = begin_pre_stop(seen, stop) {
        return begin;
    }
    if seen.part.health.pre_stop == Hook::Running && seen.now.boot < stop.kill_at {
        return wait(Some(stop.kill_at), "its preStop hook runs");
    }
    let calls = &seen.memory.calls;
    let Some(term_at) = calls.term_at else {
        return act(Action::Signal { id, signal: Signal::Stop }, "it is being stopped");
    };
    let kill_at = match calls.kill_at {
        Some(sent) => sent + KILL_AGAIN,
        None => stop.kill_at.max(term_at + GRACE_MIN),
    };
    if kill_at <= seen.now.boot {
        return act(Action::Signal { id, signal: Signal::Kill }, "the grace period is over");
    }
    wait(Some(kill_at), "in the grace period")
}

/// The engine calls it exited.
fn exited(seen: &One<'_>, last: &Attempt, found: &Container) -> Want {
    match exit::judge(last, found, seen.history, seen.order.stop.is_some()) {
        Judged::AskEvents => act(Action::Replay { id: found.id.clone() }, "whether its end was witnessed"),
        Judged::End(mut end) => {
            let Some(text) = &seen.memory.termination else {
                return act(Action::ReadTermination, "it ended");
            };
            if !text.is_empty() {
                let message = &mut end.exit.message;
                *message = if message.is_empty() { text.clone() } else { format!("{message}: {text}") };
            }
            let event = seen.event(events::started).filter(|_| last.state != AttemptState::Running);
            end_attempt(end, last, event, "it ended")
        }
    }
}

fn ended(end: End, last: &Attempt) -> Want {
    end_attempt(end, last, None, "how it ended is not known")
}

/// The exit and the pod's status in one commit; logs and removal come later.
fn end_attempt(end: End, last: &Attempt, event: Option<EventSpec>, reason: &'static str) -> Want {
    let End { exit, disruption } = end;
    let attempt = Attempt { state: AttemptState::Ended, exit: Some(exit), ..last.clone() };
    Want::Store { attempt: Box::new(attempt), event, disruption, reason }
}

/// The attempt's command did not run and will not.
fn never_ran(last: &Attempt, reason: &'static str) -> Want {
    // Its container, if there is one, goes with the others that nobody needs.
    let attempt = Attempt { state: AttemptState::Ended, exit: None, logs_copied: true, ..last.clone() };
    store(attempt, None, reason)
}

/// It runs, whoever started it.
fn adopt(seen: &One<'_>, last: &Attempt, found: &Container, reason: &'static str) -> Want {
    let attempt = Attempt {
        state: AttemptState::Running,
        container_id: Some(found.id.clone()),
        started_at: found.started_at.or(last.started_at),
        ..last.clone()
    };
    store(attempt, seen.event(events::started), reason)
}

/// After what is there now, however the clock was set.
pub(super) fn just_after(time: Timestamp) -> Timestamp {
    time.checked_add(SignedDuration::from_nanos(1)).unwrap_or(time)
}
