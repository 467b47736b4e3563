//! The next action for one pod (DESIGN section 6): same observation, same answer. Each container says what it needs next ([`super::life`]);
//! here is which of them may start and which must stop (J-2530 to J-2533, J-2551), whose turn it is, and when the pod is over.
#![deny(clippy::disallowed_methods)]

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{ContainerStatus, PodSpec, PodStatus};

use super::{
    admit::{self, Rejection},
    events,
    life::{self, One, Order, Stop, Want},
    observed::{Anchors, Member, Observed, Part, Role, Seen, Step, Trouble},
    restart,
    status::{self, DEADLINE_EXCEEDED, Ending, Picture, Shown},
};
use crate::{
    recorder::{EventSpec, EventType},
    store::{
        Attempt,
        attempts::{AttemptState, Exit},
    },
};

/// why a pod failed whose sandbox ended before it.
const SANDBOX_LOST: &str = "The sandbox of the pod ended before its containers.";

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
    /// Begin its preStop hook, which has until this time since boot (J-2550).
    PreStop {
        until: Duration,
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
    /// Which of the members it is about.
    pub member: usize,
    pub action: Action,
    pub reason: &'static str,
}

fn decided(action: Action, reason: &'static str) -> Decision {
    Decision { member: 0, action, reason }
}

/// What to do next for one pod that is bound to this node.
#[must_use]
pub fn decide(seen: &Observed<'_>, anchors: &mut Anchors) -> Decision {
    let Some(spec) = seen.pod.spec.as_ref().filter(|_| !seen.members.is_empty()) else {
        return decided(Action::Wait(None), "the pod has no container");
    };
    if let Some(decision) = reject(seen, spec) {
        return decision;
    }
    let grace = grace(spec);
    let stop = stop(seen, grace, anchors);
    let view = View::new(seen, grace);
    let mut wants: Vec<Want> = Vec::with_capacity(seen.members.len());
    for (index, member) in seen.members.iter().enumerate() {
        // Decided last: it outlives all others.
        let want = match member.part.role {
            Role::Sandbox => Want::Over,
            Role::Init | Role::Sidecar | Role::Main => {
                let order = view.order(index, stop, seen, anchors);
                life::next(&One::new(seen.pod, member, order, seen.now), anchors)
            }
        };
        wants.push(want);
    }
    let all_over = wants.iter().all(|want| matches!(want, Want::Over));
    let ending = match stop {
        Some(stop) => stop.ending,
        None if view.dead => Ending::Deleted,
        None => Ending::No,
    };
    let deleting = seen.pod.metadata.deletion_timestamp.is_some();
    if all_over
        && !deleting
        && let Some(decision) = finish(seen, ending)
    {
        return decision;
    }
    if let (Some(sandbox), Some(want)) = (view.sandbox, wants.first_mut()) {
        let order = view.sandbox_order(&sandbox, stop, all_over, seen);
        *want = life::next(&One::new(seen.pod, &sandbox, order, seen.now), anchors);
    }
    if let Some(decision) = act(seen, &wants, ending) {
        return decision;
    }
    if wants.iter().all(|want| matches!(want, Want::Over)) {
        return finish(seen, ending).unwrap_or_else(|| decided(Action::Wait(None), "the pod is over"));
    }
    let due = deadline(seen).filter(|_| stop.is_none()).map(|deadline| anchors.boot(deadline, seen.now));
    wait(seen, &wants, due)
}

/// A pod that cannot run here is not admitted. None: it can, it has begun, or it is being deleted.
fn reject(seen: &Observed<'_>, spec: &PodSpec) -> Option<Decision> {
    let begun = seen.members.iter().any(|member| !member.part.attempts.is_empty());
    if begun || seen.pod.metadata.deletion_timestamp.is_some() {
        return None;
    }
    let Rejection { reason, message } = admit::reject(spec, seen.node)?;
    if is_published(seen) {
        return Some(decided(Action::Wait(None), "the pod was not admitted"));
    }
    let status = status::rejected(seen.pod, &reason, &message, seen.now.wall);
    let event = events::pod(seen.pod, EventType::Warning, &reason, message);
    let commit = Commit { attempt: None, status, events: vec![event], confirm_deletion: false };
    Some(decided(Action::Commit(Box::new(commit)), "the pod is not admitted"))
}

fn grace(spec: &PodSpec) -> Duration {
    Duration::from_secs(u64::try_from(spec.termination_grace_period_seconds.unwrap_or(30)).unwrap_or(0))
}

/// Whether the pod must not run (any more), first reason first: its end is published, it is deleted (J-2550), it is too old (J-2560).
fn stop(seen: &Observed<'_>, grace: Duration, anchors: &mut Anchors) -> Option<Stop> {
    if let Some(deleted) = &seen.pod.metadata.deletion_timestamp {
        // The timestamp is the request plus the grace period (J-2550).
        return Some(Stop { ending: Ending::Deleted, kill_at: anchors.boot(deleted.0, seen.now) });
    }
    if is_published(seen) {
        return Some(Stop { ending: Ending::Deleted, kill_at: stop_at(seen).unwrap_or(seen.now.boot) + grace });
    }
    let deadline = deadline(seen)?;
    let due = anchors.boot(deadline, seen.now);
    (due <= seen.now.boot).then(|| Stop { ending: Ending::Failed(DEADLINE_EXCEEDED), kill_at: due + grace })
}

/// When the end of the first of the containers was begun.
fn stop_at(seen: &Observed<'_>) -> Option<Duration> {
    seen.members.iter().filter_map(|member| member.memory.calls.stop_at).min()
}

/// When the pod has been active for too long (J-2560).
fn deadline(seen: &Observed<'_>) -> Option<Timestamp> {
    let seconds = seen.pod.spec.as_ref()?.active_deadline_seconds?;
    let start = seen.pod.status.as_ref()?.start_time.as_ref()?.0;
    start.checked_add(SignedDuration::from_secs(seconds)).ok()
}

fn is_published(seen: &Observed<'_>) -> bool {
    status::is_terminal(seen.pod.status.as_ref().and_then(|status| status.phase.as_deref()))
}

/// What the containers of a pod mean for each other.
struct View<'a> {
    sandbox: Option<Member<'a>>,
    /// The sandbox ended (D-204).
    lost: bool,
    /// It ended, and nothing may run again (J-2551).
    dead: bool,
    /// Nothing starts again: the regular containers are done, or cannot be reached any more (J-2531, J-2532).
    over: bool,
    /// When that happened.
    over_since: Option<Timestamp>,
    /// All begin anew, and some still have to end before that.
    anew: bool,
    grace: Duration,
}

impl<'a> View<'a> {
    fn new(seen: &Observed<'a>, grace: Duration) -> Self {
        let parts = || seen.members.iter().map(|member| member.part);
        let of = |role: Role| parts().filter(move |part| part.role == role);
        let sandbox = seen.members.first().copied().filter(|member| member.part.role == Role::Sandbox);
        let last = sandbox.and_then(|sandbox| sandbox.part.last());
        let lost = last.is_some_and(|last| last.state == AttemptState::Ended && last.exit.is_some());
        let never = parts().any(|part| part.pod_spec.restart_policy.as_deref() == Some("Never"));
        let touched = |part: Part<'_>| {
            part.role != Role::Sandbox
                && part
                    .attempts
                    .iter()
                    .any(|one| one.exit.is_some() || !matches!(one.state, AttemptState::Creating | AttemptState::Ended))
        };
        let failed = of(Role::Init).filter_map(|part| part.verdict()).find(|exit| exit.exit_code != 0);
        let done = of(Role::Main).all(|part| part.verdict().is_some());
        let dead = lost && never && parts().any(touched);
        let ends = of(Role::Main).filter_map(|part| part.verdict());
        let over_since = match failed {
            Some(exit) => exit.finished_at,
            None => ends.filter_map(|exit| exit.finished_at).max(),
        };
        let anew = parts().any(|part| part.holds_reset());
        Self { sandbox, lost, dead, over: failed.is_some() || done || dead, over_since, anew, grace }
    }

    /// What the others mean for one of them.
    fn order(&self, index: usize, stop: Option<Stop>, seen: &Observed<'_>, anchors: &mut Anchors) -> Order {
        let Some(member) = seen.members.get(index) else { return Order::default() };
        let created = self.sandbox.and_then(|sandbox| sandbox.part.last()).map(|last| last.created_at);
        let sandbox_runs = self.sandbox.is_none_or(|sandbox| sandbox.part.lets_pass());
        let before = seen.members.iter().take(index).map(|member| member.part);
        // Who ran before has passed the sidecars once; it does not wait for a restarted one.
        let passed = member.part.started();
        let mut before = before.filter(|part| part.role != Role::Sandbox);
        let may_start = sandbox_runs
            && !self.anew
            && before.all(|part| (passed && part.role == Role::Sidecar) || (part.lets_pass() && !part.holds_others()));
        let created = created.map(life::just_after);
        let not_before = [created, member.part.reset].into_iter().flatten().max();
        let abrupt = member.part.holds_reset();
        let order = Order { stop: None, farewell: None, over: self.over, may_start, not_before, abrupt };
        let cut = |kill_at: Duration| Stop { ending: Ending::No, kill_at };
        let mine = member.memory.calls.stop_at.unwrap_or(seen.now.boot);
        let ends = stop.is_some();
        let last = || Stop {
            kill_at: self.over_since.map_or(mine, |since| anchors.boot(since, seen.now)) + self.grace,
            ..cut(mine)
        };
        let farewell = stop.or_else(|| (member.part.role == Role::Sidecar && self.over).then(last));
        let stop = match (stop, member.part.role) {
            (Some(stop), Role::Sidecar) if seen.now.boot < stop.kill_at && !self.is_turn(index, seen) => None,
            (Some(stop), _) => Some(stop),
            // D-204: whoever lives on has lost its network.
            (None, _) if self.lost => Some(cut(mine + self.grace)),
            (None, _) if abrupt => Some(cut(mine + self.grace)),
            (None, Role::Sidecar) if self.over && self.is_turn(index, seen) => farewell,
            (None, Role::Sandbox | Role::Init | Role::Sidecar | Role::Main) => None,
        };
        // A sidecar that waits for its turn to stop is not started again meanwhile.
        Order { stop, farewell, over: order.over || ends, ..order }
    }

    /// J-2532: sidecars go in reverse order, after the containers that they serve.
    fn is_turn(&self, index: usize, seen: &Observed<'_>) -> bool {
        let runs = seen.members.get(index).is_some_and(|member| member.part.is_running());
        let others = seen.members.iter().enumerate().filter(|(other, member)| {
            *other != index
                && (member.part.role != Role::Sandbox)
                && (member.part.role != Role::Sidecar || *other > index)
        });
        !runs || others.map(|(_, member)| member.part).all(|part| part.is_settled())
    }

    /// The sandbox starts first and ends last.
    fn sandbox_order(&self, sandbox: &Member<'_>, stop: Option<Stop>, all_over: bool, seen: &Observed<'_>) -> Order {
        let others = || seen.members.iter().map(|member| member.part).filter(|part| part.role != Role::Sandbox);
        let newest = others().flat_map(|part| part.attempts.iter().map(|attempt| attempt.created_at)).max();
        // Who is not made yet waits for the new one.
        let idle = others()
            .all(|part| part.is_settled() || part.last().is_some_and(|last| last.state == AttemptState::Creating));
        let kill_at = sandbox.memory.calls.term_at.unwrap_or(seen.now.boot) + life::GRACE_MIN;
        Order {
            stop: all_over.then_some(Stop { ending: Ending::Deleted, kill_at }),
            farewell: None,
            over: false,
            may_start: stop.is_none() && !self.over && (!self.lost || idle),
            not_before: newest.filter(|_| self.lost).map(life::just_after),
            abrupt: false,
        }
    }
}

/// The first that has something to do has its turn; nobody waits for another's container to run.
fn act(seen: &Observed<'_>, wants: &[Want], ending: Ending) -> Option<Decision> {
    for (member, want) in wants.iter().enumerate() {
        match want {
            Want::Do(action, reason) => return Some(Decision { member, action: action.clone(), reason }),
            Want::Store { attempt, event, disruption, reason } => {
                let mut new = picture(seen, wants, Some((**attempt).clone()), ending, disruption.as_deref());
                new.events.extend(event.clone());
                close(seen, &mut new, ending);
                return Some(Decision { member, action: Action::Commit(Box::new(new)), reason });
            }
            Want::Wait { .. } | Want::Over => {}
        }
    }
    None
}

/// J-2560: the event goes with the phase.
fn close(seen: &Observed<'_>, new: &mut Commit, ending: Ending) {
    let ends = status::is_terminal(new.status.phase.as_deref()) && !is_published(seen);
    if ending == Ending::Failed(DEADLINE_EXCEEDED) && ends {
        let event = events::pod(seen.pod, EventType::Normal, DEADLINE_EXCEEDED.reason, DEADLINE_EXCEEDED.message);
        new.events.push(event);
    }
}

/// The pod is over: publish it, and confirm its deletion if it is being deleted. None: that is done.
fn finish(seen: &Observed<'_>, ending: Ending) -> Option<Decision> {
    let deleting = seen.pod.metadata.deletion_timestamp.is_some();
    let confirmed = seen.pod.metadata.deletion_grace_period_seconds == Some(0)
        && seen.pod.metadata.finalizers.as_ref().is_some_and(|finalizers| !finalizers.is_empty());
    let mut new = picture(seen, &[], None, ending, None);
    close(seen, &mut new, ending);
    if deleting && !confirmed {
        new.confirm_deletion = true;
        return Some(decided(Action::Commit(Box::new(new)), "nothing runs any more: the deletion is confirmed"));
    }
    (!same(seen, &new)).then(|| decided(Action::Commit(Box::new(new)), "the pod is over: publish it"))
}

/// Waits; before that writes the status if it says something else than the stored one.
fn wait(seen: &Observed<'_>, wants: &[Want], deadline: Option<Duration>) -> Decision {
    let mut earliest = deadline;
    let (mut worth, mut why) = (false, "it waits");
    for want in wants {
        if let Want::Wait { due, brief, reason, .. } = want {
            earliest = [earliest, *due].into_iter().flatten().min();
            if !brief || !worth {
                why = reason;
            }
            worth |= !brief;
        }
    }
    let mut new = picture(seen, wants, None, Ending::No, None);
    if !worth || same(seen, &new) {
        return decided(Action::Wait(earliest), why);
    }
    for (member, want) in seen.members.iter().zip(wants) {
        if let Want::Wait { event: Some(event), .. } = want
            && shown(&new.status, member.part.name())
                != seen.pod.status.as_ref().and_then(|old| shown(old, member.part.name()))
        {
            new.events.push(event.clone());
        }
    }
    decided(Action::Commit(Box::new(new)), why)
}

/// What a status says of one container.
fn shown<'a>(status: &'a PodStatus, name: &str) -> Option<&'a ContainerStatus> {
    let main = status.container_statuses.iter().flatten();
    main.chain(status.init_container_statuses.iter().flatten()).find(|status| status.name == name)
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
    wants: &[Want],
    attempt: Option<Attempt>,
    ending: Ending,
    disruption: Option<&str>,
) -> Commit {
    let attempts: Vec<Vec<Attempt>> = seen.members.iter().map(|member| after(member.part, attempt.as_ref())).collect();
    let specs = seen.members.iter().map(|member| member.part.spec);
    let reset = restart::reset(specs.zip(attempts.iter().map(Vec::as_slice)));
    let sandbox = seen.members.iter().zip(&attempts).find(|(member, _)| member.part.role == Role::Sandbox);
    let sandbox = sandbox.and_then(|(_, attempts)| attempts.last());
    let lost = sandbox.is_some_and(|last| last.state == AttemptState::Ended && last.exit.is_some());
    let troubles: Vec<Option<Trouble>> =
        seen.members.iter().enumerate().map(|(index, member)| trouble(member, wants.get(index))).collect();
    let shown: Vec<Shown<'_>> = seen
        .members
        .iter()
        .zip(attempts.iter().zip(&troubles))
        .map(|(member, (attempts, trouble))| {
            let since = sandbox.map(|sandbox| sandbox.created_at);
            Shown {
                part: Part { attempts, since, reset, ..member.part },
                container: match member.container {
                    Seen::Present(container) => Some(&**container),
                    Seen::Unknown | Seen::Absent | Seen::Foreign(_) => None,
                },
                trouble: trouble.as_ref(),
                image_id: image_id(member, attempts),
            }
        })
        .collect();
    let status = status::build(&Picture {
        pod: seen.pod,
        members: &shown,
        ending,
        // The end of a pod that is over is not told anew by what becomes of its sandbox.
        disruption: disruption
            .or(lost.then_some(SANDBOX_LOST).filter(|_| !is_stopped(seen)))
            .filter(|_| !is_published(seen)),
        node: seen.node,
        now: seen.now.wall,
    });
    let events = seen.members.iter().flat_map(|member| member.memory.events.iter().cloned()).collect();
    Commit { attempt, status, events, confirm_deletion: false }
}

/// Somebody wants the pod to end, or it has ended.
fn is_stopped(seen: &Observed<'_>) -> bool {
    seen.pod.metadata.deletion_timestamp.is_some() || is_published(seen)
}

fn after(part: Part<'_>, attempt: Option<&Attempt>) -> Vec<Attempt> {
    let mut attempts = part.attempts.to_vec();
    if let Some(attempt) = attempt.filter(|attempt| attempt.container == part.name()) {
        attempts.retain(|other| other.attempt != attempt.attempt);
        attempts.push(attempt.clone());
    }
    attempts
}

fn image_id<'a>(member: &Member<'a>, attempts: &[Attempt]) -> Option<&'a str> {
    let image = member.memory.image.as_ref();
    let id = image.map(|image| image.repo_digests.first().unwrap_or(&image.id).as_str());
    id.filter(|_| attempts.last().is_some_and(|last| last.container_id.is_some()))
}

/// Why a container waits: as it says, or while a remedy is tried, as it was.
fn trouble(member: &Member<'_>, want: Option<&Want>) -> Option<Trouble> {
    match want? {
        Want::Wait { trouble, .. } => trouble.clone(),
        Want::Do(..) => {
            let preparation = &member.memory.preparation;
            let steps = [&preparation.volumes, &preparation.image, &preparation.spec, &preparation.create];
            steps.into_iter().find_map(|step| match step {
                Step::Trouble(trouble) => Some(trouble.clone()),
                Step::Todo | Step::Running | Step::Done => None,
            })
        }
        Want::Store { .. } | Want::Over => None,
    }
}

/// Whether an exit is one that nobody knows for certain.
#[must_use]
pub fn is_unknown(exit: &Exit) -> bool {
    exit.reason == status::UNKNOWN
}
