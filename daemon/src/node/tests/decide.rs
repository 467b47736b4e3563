//! `decide`: each row is a situation and the one action that follows.

use std::time::Duration;

use serde_json::json;

use super::{at, facts, pod};
use crate::{
    engine::{Container, ContainerStatus},
    node::{
        cgroup::Usage,
        decide::{Action, Decision, Signal, decide},
        observed::{
            Anchors, Call, Died, Evidence, Health, History, Hook, Member, Memory, Observed, Part, ProbeKind, Role,
            Seen, Step, Trouble,
        },
        status::UNKNOWN,
    },
    store::{
        Attempt,
        attempts::{AttemptState, Exit},
    },
    sys::Now,
};

/// One situation.
struct Case {
    pod: serde_json::Value,
    attempts: Vec<Attempt>,
    container: Seen,
    history: History,
    memory: Memory,
    health: Health,
    seconds: u32,
}

fn case(state: Option<AttemptState>) -> Case {
    let attempts = state.map(|state| attempt(0, state)).into_iter().collect();
    Case {
        pod: json!({}),
        attempts,
        container: Seen::Unknown,
        history: History::default(),
        memory: Memory::default(),
        health: Health::default(),
        seconds: 100,
    }
}

fn attempt(number: u32, state: AttemptState) -> Attempt {
    let known = !matches!(state, AttemptState::Creating);
    Attempt {
        pod_uid: "u".to_owned(),
        container: "main".to_owned(),
        attempt: number,
        state,
        container_id: known.then(|| "c0".to_owned()),
        created_at: at(0),
        started_at: known.then(|| at(1)),
        exit: (state == AttemptState::Ended).then(|| exit(0)),
        logs_copied: false,
        removed: false,
    }
}

fn exit(exit_code: i32) -> Exit {
    Exit {
        reason: if exit_code == 0 { "Completed" } else { "Error" }.to_owned(),
        exit_code,
        message: String::new(),
        started_at: Some(at(1)),
        finished_at: Some(at(2)),
    }
}

fn view(status: ContainerStatus) -> Seen {
    exited_view(status, 0)
}

fn exited_view(status: ContainerStatus, exit_code: i64) -> Seen {
    Seen::Present(Box::new(Container {
        id: "c0".to_owned(),
        name: "jobd-u-main-0".to_owned(),
        labels: std::collections::BTreeMap::new(),
        status,
        exit_code,
        error: String::new(),
        oom_killed: false,
        pid: 7,
        started_at: Some(at(1)),
        finished_at: (status == ContainerStatus::Exited).then(|| at(2)),
        image: "busybox:1".to_owned(),
        image_id: "sha256:1".to_owned(),
        ip: "172.17.0.2".to_owned(),
    }))
}

fn prepared(memory: &mut Memory) {
    memory.preparation.volumes = Step::Done;
    memory.preparation.image = Step::Done;
    memory.preparation.spec = Step::Done;
}

impl Case {
    fn with(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self
    }

    fn decide(&self) -> (String, &'static str) {
        let decision = self.look();
        (render(&decision.action), decision.reason)
    }

    fn look(&self) -> Decision {
        self.look_when(i64::from(self.seconds), &mut Anchors::default())
    }

    /// The same while the wall clock shows these seconds.
    fn look_when(&self, wall: i64, anchors: &mut Anchors) -> Decision {
        let pod = pod(self.pod.clone());
        let now = Now { wall: at(wall), boot: Duration::from_secs(u64::from(self.seconds)) };
        let pod_spec = pod.spec.as_ref().unwrap();
        let part = Part {
            role: Role::Main,
            pod_spec,
            spec: pod_spec.containers.first(),
            attempts: &self.attempts,
            since: None,
            health: self.health,
            probe_ended: false,
            reset: None,
            hook_failed: None,
        };
        let Self { container, history, memory, .. } = self;
        let members = [Member { part, container, history, memory }];
        decide(&Observed { pod: &pod, members: &members, node: &facts(), now }, anchors)
    }

    /// The situation after the status was written that is wanted first.
    fn after_commit(mut self) -> Self {
        if let Action::Commit(commit) = self.look().action {
            self.pod["status"] = serde_json::to_value(&commit.status).unwrap();
        }
        self
    }
}

fn render(action: &Action) -> String {
    match action {
        Action::Commit(commit) => {
            let phase = commit.status.phase.as_deref().unwrap_or("-");
            let attempt = commit.attempt.as_ref().map_or_else(String::new, |attempt| {
                let end = attempt
                    .exit
                    .as_ref()
                    .map_or_else(String::new, |exit| format!(" {} {}", exit.reason, exit.exit_code));
                format!(" {}={:?}{end}", attempt.attempt, attempt.state)
            });
            let waiting = commit.status.container_statuses.iter().flatten().next().and_then(|status| {
                Some(format!(" waiting {}", status.state.as_ref()?.waiting.as_ref()?.reason.as_deref()?))
            });
            let disrupted = commit.status.conditions.iter().flatten().any(|one| one.type_ == "DisruptionTarget");
            let disrupted = if disrupted { " disrupted" } else { "" };
            let gone = if commit.confirm_deletion { " confirm deletion" } else { "" };
            format!("commit {phase}{attempt}{}{disrupted}{gone}", waiting.unwrap_or_default())
        }
        Action::PrepareVolumes => "volumes".to_owned(),
        Action::EnsureImage => "image".to_owned(),
        Action::BuildSpec => "spec".to_owned(),
        Action::Create => "create".to_owned(),
        Action::Start { id } => format!("start {id}"),
        Action::Fence { id } => format!("fence {id}"),
        Action::Inspect => "inspect".to_owned(),
        Action::Replay { id } => format!("replay {id}"),
        Action::ReadTermination => "termination".to_owned(),
        Action::Signal { id, signal: Signal::Stop } => format!("stop {id}"),
        Action::Signal { id, signal: Signal::Kill } => format!("kill {id}"),
        Action::PreStop { until } => format!("preStop until {}", until.as_secs()),
        Action::Wait(None) => "wait".to_owned(),
        Action::Wait(Some(due)) => format!("wait until {}", due.as_secs_f32()),
    }
}

#[track_caller]
fn check(case: Case, want: &str) {
    let (action, reason) = case.decide();
    assert_eq!(action, want, "{reason}");
}

#[test]
fn a_new_pod_is_prepared_in_order_and_its_create_intent_comes_before_create_d405() {
    check(case(None), "volumes");
    check(case(None).with(|c| c.memory.preparation.volumes = Step::Done), "image");
    check(
        case(None).with(|c| {
            prepared(&mut c.memory);
            c.memory.preparation.spec = Step::Todo;
        }),
        "spec",
    );
    check(case(None).with(|c| prepared(&mut c.memory)), "commit Pending 0=Creating waiting ContainerCreating");
    check(case(Some(AttemptState::Creating)).with(|c| prepared(&mut c.memory)), "create");
    check(
        case(Some(AttemptState::Creating)).with(|c| c.memory.calls.created = Some("c0".to_owned())),
        "commit Pending 0=Starting waiting ContainerCreating",
    );
    check(case(Some(AttemptState::Starting)).with(|c| c.memory.calls.start = Call::Unsent), "start c0");
    check(
        case(Some(AttemptState::Starting)).with(|c| {
            c.memory.calls.start = Call::Done;
            c.container = view(ContainerStatus::Running);
        }),
        "commit Running 0=Running",
    );
}

#[test]
fn trouble_is_shown_and_tried_again_j2511_j2524() {
    let trouble = |reason: &str, retry: u64| {
        Step::Trouble(Trouble {
            reason: reason.to_owned(),
            message: "why".to_owned(),
            retry_at: Duration::from_secs(retry),
        })
    };
    check(
        case(None).with(|c| {
            c.memory.preparation.volumes = Step::Done;
            c.memory.preparation.image = trouble("ErrImagePull", 110);
        }),
        "commit Pending waiting ErrImagePull",
    );
    check(
        case(None).with(|c| {
            c.memory.preparation.volumes = Step::Done;
            c.memory.preparation.image = trouble("ErrImagePull", 100);
        }),
        "image",
    );
    check(
        case(Some(AttemptState::Creating)).with(|c| {
            prepared(&mut c.memory);
            c.memory.preparation.create = trouble("CreateContainerError", 110);
        }),
        "commit Pending waiting CreateContainerError",
    );
    check(
        case(Some(AttemptState::Creating)).with(|c| {
            prepared(&mut c.memory);
            c.memory.preparation.create = trouble("CreateContainerError", 100);
        }),
        "create",
    );
}

#[test]
fn a_taken_name_is_adopted_if_ours_and_an_error_else_d401_f10() {
    check(
        case(Some(AttemptState::Creating)).with(|c| c.container = view(ContainerStatus::Created)),
        "commit Pending 0=Starting waiting ContainerCreating",
    );
    check(
        case(Some(AttemptState::Creating)).with(|c| c.container = view(ContainerStatus::Exited)),
        "commit Running 0=Running",
    );
}

#[test]
fn a_start_without_an_answer_is_never_sent_again_d406_d610_d1601() {
    let doubt = |container: Seen, evidence: Evidence| {
        case(Some(AttemptState::Starting)).with(|c| {
            c.container = container;
            c.history.evidence = evidence;
        })
    };
    let created = || view(ContainerStatus::Created);
    let unknown = format!("commit Failed 0=Ended {UNKNOWN} 137 disrupted");
    check(doubt(Seen::Unknown, Evidence::Unasked), "inspect");
    check(doubt(view(ContainerStatus::Running), Evidence::Unasked), "commit Running 0=Running");
    check(doubt(view(ContainerStatus::Exited), Evidence::Unasked), "termination");
    check(doubt(created(), Evidence::Unasked), "replay c0");
    // Its start may still be under way: no other attempt begins before that is ruled out.
    check(doubt(created(), Evidence::Missing), "commit Pending 0=Fencing waiting ContainerCreating");
    check(
        doubt(created(), Evidence::Complete { destroyed: false }),
        "commit Pending 0=Fencing waiting ContainerCreating",
    );
    check(doubt(Seen::Absent, Evidence::Unasked), "replay c0");
    check(doubt(Seen::Absent, Evidence::Missing), &unknown);
    // D-610: its cgroup is there, and nothing was ever run in it.
    let unused = doubt(Seen::Absent, Evidence::Missing).with(|c| c.history.usage = Usage::Unused);
    check(unused, "commit Pending 0=Creating waiting ContainerCreating");
    check(doubt(Seen::Absent, Evidence::Missing).with(|c| c.history.usage = Usage::Used), &unknown);
    check(
        doubt(Seen::Absent, Evidence::Complete { destroyed: true }),
        "commit Pending 0=Creating waiting ContainerCreating",
    );
}

#[test]
fn a_pod_for_another_system_is_not_admitted() {
    let other = || case(None).with(|c| c.pod["spec"]["os"] = json!({"name": "windows"}));
    check(other(), "commit Failed");
    let status = serde_json::to_value(match other().look().action {
        Action::Commit(commit) => commit.status,
        action => panic!("{action:?}"),
    });
    let status = status.unwrap();
    assert_eq!((&status["reason"], &status["containerStatuses"]), (&json!("PodOSNotSupported"), &json!(null)));
    check(other().after_commit(), "wait");
    check(case(None).with(|c| c.pod["spec"]["os"] = json!({"name": "linux"})), "volumes");
}

#[test]
fn the_fence_tells_whether_it_ran_d406() {
    let fenced = |fence: Call, container: Seen, evidence: Evidence| {
        case(Some(AttemptState::Fencing)).with(|c| {
            c.memory.calls.fence = fence;
            c.container = container;
            c.history.evidence = evidence;
        })
    };
    let live = |destroyed| Evidence::Complete { destroyed };
    check(fenced(Call::Unsent, Seen::Unknown, live(false)), "fence c0");
    check(fenced(Call::Done, Seen::Absent, live(true)), "commit Pending 0=Creating waiting ContainerCreating");
    check(
        fenced(Call::Done, Seen::Absent, live(true)).with(|c| {
            c.history.died = Some(Died { exit_code: 3, at: at(5) });
        }),
        "commit Failed 0=Ended Error 3",
    );
    check(fenced(Call::Done, Seen::Absent, live(false)), "wait until 100.5");
    check(
        fenced(Call::Done, Seen::Absent, live(false)).with(|c| {
            c.memory.calls.doubt_since = Some(Duration::from_secs(80));
        }),
        &format!("commit Failed 0=Ended {UNKNOWN} 137 disrupted"),
    );
    check(
        fenced(Call::Refused("running".to_owned()), view(ContainerStatus::Running), live(false)),
        "commit Running 0=Running",
    );
    check(fenced(Call::Lost, view(ContainerStatus::Created), live(false)), "fence c0");
    check(fenced(Call::Lost, view(ContainerStatus::Created), Evidence::Missing), "fence c0");
    check(
        fenced(Call::Lost, Seen::Absent, Evidence::Missing),
        &format!("commit Failed 0=Ended {UNKNOWN} 137 disrupted"),
    );
}

#[test]
fn an_exit_becomes_the_pods_end_j2512() {
    let ended = |code: i64| {
        case(Some(AttemptState::Running)).with(|c| {
            c.container = exited_view(ContainerStatus::Exited, code);
            c.history.died = Some(Died { exit_code: code, at: at(2) });
            c.memory.termination = Some(String::new());
        })
    };
    check(ended(0).with(|c| c.memory.termination = None), "termination");
    check(ended(0), "commit Succeeded 0=Ended Completed 0");
    check(ended(3), "commit Failed 0=Ended Error 3");
    check(ended(255), "commit Failed 0=Ended Error 255");
    check(ended(3).with(|c| c.pod = json!({"spec": {"restartPolicy": "OnFailure"}})), "commit Running 0=Ended Error 3");
    check(ended(137).with(|c| c.history.killed_by_stranger = true), "commit Failed 0=Ended Error 137 disrupted");
}

/// What has never run has not ended, whatever code the engine shows for it; what the engine has to say of an end is told.
#[test]
fn what_an_inspection_says_of_a_containers_life_j2514() {
    let found = |status: ContainerStatus, code: i64| {
        case(Some(AttemptState::Starting)).with(|c| {
            c.container = exited_view(status, code);
            if let Seen::Present(found) = &mut c.container {
                found.error = "the engine's words".to_owned();
            }
            c.history.evidence = Evidence::Complete { destroyed: false };
            c.memory.termination = Some(String::new());
        })
    };
    check(found(ContainerStatus::Running, 0), "commit Running 0=Running");
    check(found(ContainerStatus::Exited, 0), "commit Succeeded 0=Ended Completed 0");
    check(found(ContainerStatus::Exited, 3), "commit Failed 0=Ended Error 3");
    for code in [0, 127] {
        check(found(ContainerStatus::Created, code), "commit Pending 0=Fencing waiting ContainerCreating");
    }
    let Action::Commit(commit) = found(ContainerStatus::Exited, 3).look().action else { panic!("no commit") };
    let message = commit.attempt.and_then(|attempt| Some(attempt.exit?.message));
    assert_eq!(message.as_deref(), Some("the engine's words"));
}

#[test]
fn an_end_that_nobody_saw_is_asked_for_and_may_be_unknown_d602_d603() {
    let ended = |code: i64, evidence: Evidence| {
        case(Some(AttemptState::Running)).with(|c| {
            c.container = exited_view(ContainerStatus::Exited, code);
            c.history.evidence = evidence;
            c.memory.termination = Some(String::new());
        })
    };
    check(ended(255, Evidence::Unasked), "replay c0");
    check(ended(255, Evidence::Missing), &format!("commit Failed 0=Ended {UNKNOWN} 137 disrupted"));
    check(ended(1, Evidence::Missing), "commit Failed 0=Ended Error 1");
    check(
        ended(1, Evidence::Missing).with(|c| c.history.engine_was_away = true),
        "commit Failed 0=Ended Error 1 disrupted",
    );
    check(ended(143, Evidence::Missing), "commit Failed 0=Ended Error 143 disrupted");
    // The pod's end was told before: nothing that ends later changes what it was.
    let published = |c: &mut Case| c.pod["status"]["phase"] = "Failed".into();
    check(ended(143, Evidence::Missing).with(published), "commit Failed 0=Ended Error 143");
    check(ended(255, Evidence::Missing).with(published), &format!("commit Failed 0=Ended {UNKNOWN} 137"));
    check(ended(0, Evidence::Unasked), "commit Succeeded 0=Ended Completed 0");
}

#[test]
fn a_container_that_is_not_there_ends_as_unknown_d611_d1604() {
    let unknown = format!("commit Failed 0=Ended {UNKNOWN} 137 disrupted");
    let running = || case(Some(AttemptState::Running));
    check(running(), "commit Running");
    check(running().with(|c| c.container = Seen::Absent), "replay c0");
    check(
        running().with(|c| {
            c.container = Seen::Absent;
            c.history.evidence = Evidence::Missing;
        }),
        &unknown,
    );
    check(
        running().with(|c| {
            c.container = Seen::Absent;
            c.history.died = Some(Died { exit_code: 0, at: at(9) });
        }),
        "commit Succeeded 0=Ended Completed 0",
    );
    check(running().with(|c| c.history.lost = true), &unknown);
    check(running().with(|c| c.container = view(ContainerStatus::Created)), &unknown);
}

#[test]
fn a_deleted_pod_is_stopped_and_confirmed_j2504_j2550() {
    let deleted = |state: Option<AttemptState>| {
        case(state).with(|c| {
            c.pod = json!({"metadata": {
                "deletionTimestamp": at(130).to_string(), "deletionGracePeriodSeconds": 30,
            }});
        })
    };
    check(deleted(None), "commit Failed confirm deletion");
    check(deleted(Some(AttemptState::Creating)), "commit Failed 0=Ended");
    check(deleted(Some(AttemptState::Starting)).with(|c| c.memory.calls.start = Call::Unsent), "commit Failed 0=Ended");
    check(deleted(Some(AttemptState::Starting)), "inspect");
    let running = |seconds: u32, term: Option<u64>| {
        deleted(Some(AttemptState::Running)).with(|c| {
            c.seconds = seconds;
            c.container = view(ContainerStatus::Running);
            c.memory.calls.term_at = term.map(Duration::from_secs);
        })
    };
    check(running(100, None), "stop c0");
    check(running(100, Some(100)), "commit Running");
    check(running(130, Some(100)), "kill c0");
    // At least two seconds pass between TERM and KILL.
    check(running(131, Some(131)), "commit Running");
    check(running(131, Some(100)).with(|c| c.memory.calls.kill_at = Some(Duration::from_secs(121))), "kill c0");
    check(deleted(Some(AttemptState::Ended)), "commit Succeeded confirm deletion");
    check(
        deleted(Some(AttemptState::Ended)).with(|c| c.attempts[0].exit = Some(exit(1))),
        "commit Failed confirm deletion",
    );
}

#[test]
fn a_pod_that_is_too_old_fails_j2560() {
    let old = |state: Option<AttemptState>| {
        case(state).with(|c| {
            c.pod = json!({
                "spec": {"activeDeadlineSeconds": 60}, "status": {"startTime": at(0).to_string()},
            });
        })
    };
    check(old(None), "commit Failed");
    check(old(Some(AttemptState::Running)).with(|c| c.container = view(ContainerStatus::Running)), "stop c0");
    check(
        old(Some(AttemptState::Running)).with(|c| {
            c.container = exited_view(ContainerStatus::Exited, 0);
            c.history.died = Some(Died { exit_code: 0, at: at(2) });
            c.memory.termination = Some(String::new());
        }),
        "commit Failed 0=Ended Completed 0",
    );
    check(old(None).with(|c| c.seconds = 59), "volumes");
    // Waiting for what has passed would keep the processor busy for as long as the engine is away (I-11).
    let away = |seconds: u32| old(Some(AttemptState::Running)).with(|c| c.seconds = seconds).after_commit();
    check(away(59), "wait until 60");
    check(away(60), "wait until 65");
}

/// A container that has failed so often, always at 100.
fn failed(count: u32, seconds: u32) -> Case {
    case(None).with(|c| {
        c.pod = json!({"spec": {"restartPolicy": "OnFailure"}});
        c.seconds = seconds;
        c.attempts = (0..count)
            .map(|number| Attempt {
                exit: Some(Exit { finished_at: Some(at(100)), ..exit(1) }),
                created_at: at(100),
                ..attempt(number, AttemptState::Ended)
            })
            .collect();
    })
}

#[test]
fn a_failed_container_restarts_after_its_back_off_j2520() {
    check(failed(1, 100), "volumes");
    check(failed(2, 100), "commit Running waiting CrashLoopBackOff");
    check(failed(2, 110), "volumes");
    check(failed(2, 110).with(|c| prepared(&mut c.memory)), "commit Running 2=Creating");
}

/// I-10, J-2520: neither while the container waits nor just before that.
#[test]
fn a_clock_that_is_set_neither_ends_nor_stretches_a_back_off() {
    for first in [100, 100_000, -100_000] {
        let mut anchors = Anchors::default();
        let waits = failed(2, 100).after_commit();
        let until = |case: &Case, wall: i64, anchors: &mut Anchors| render(&case.look_when(wall, anchors).action);
        let now = until(&waits, first, &mut anchors);
        if first > 110 {
            // A daemon that starts just now has only the wall clock to go by.
            assert_eq!(now, "volumes");
            continue;
        }
        assert_eq!(now, "wait until 110", "{first}");
        for later in [100, 100_000, -100_000] {
            assert_eq!(until(&waits, later, &mut anchors), "wait until 110", "{first} {later}");
        }
        let over = Case { seconds: 110, ..waits };
        assert_eq!(until(&over, -100_000, &mut anchors), "volumes");
    }
}

#[test]
fn a_refused_start_is_a_start_error_d702() {
    check(
        case(Some(AttemptState::Starting)).with(|c| {
            c.memory.calls.start = Call::Refused("exec: nope".to_owned());
            c.container = view(ContainerStatus::Created);
        }),
        "commit Failed 0=Ended StartError 128",
    );
}

#[test]
fn what_was_committed_is_not_committed_again() {
    for (state, container) in
        [(Some(AttemptState::Running), view(ContainerStatus::Running)), (Some(AttemptState::Ended), Seen::Unknown)]
    {
        let case = case(state).with(|c| c.container = container.clone());
        assert!(case.decide().0.starts_with("commit"));
        let case = case.after_commit();
        check(case, "wait");
    }
}

/// A container that runs, with this health, and the status that says so.
fn running(health: Health, change: impl FnOnce(&mut Case)) -> Case {
    case(Some(AttemptState::Running))
        .with(|c| {
            c.container = view(ContainerStatus::Running);
            c.health = health;
        })
        .with(change)
        .after_commit()
}

#[test]
fn a_failed_probe_ends_its_container_within_its_own_grace_period_j2582() {
    let failed = |kind| Health { failed: Some(kind), ..Health::default() };
    check(running(failed(ProbeKind::Liveness), |_| {}), "stop c0");
    let told = |c: &mut Case| {
        c.memory.calls.stop_at = Some(Duration::from_secs(90));
        c.memory.calls.term_at = Some(Duration::from_secs(90));
    };
    check(running(failed(ProbeKind::Liveness), told), "wait until 120");
    check(
        running(failed(ProbeKind::Liveness), |c| {
            c.pod["spec"] = json!({"containers": {"livenessProbe": {"terminationGracePeriodSeconds": 15}}});
            told(c);
        }),
        "wait until 105",
    );
    // That of another probe does not count.
    check(
        running(failed(ProbeKind::Startup), |c| {
            c.pod["spec"] = json!({"containers": {"livenessProbe": {"terminationGracePeriodSeconds": 5}}});
            told(c);
        }),
        "wait until 120",
    );
    check(
        running(failed(ProbeKind::Startup), |c| {
            c.pod["spec"] = json!({"containers": {"startupProbe": {"terminationGracePeriodSeconds": 5}}});
            told(c);
        }),
        "kill c0",
    );
    // J-2586
    check(running(Health { post_start: Hook::Failed, ..Health::default() }, |_| {}), "stop c0");
    check(running(Health { post_start: Hook::Running, ..Health::default() }, |_| {}), "wait");
}

#[test]
fn a_pre_stop_hook_comes_first_and_counts_against_the_grace_period_j2550() {
    let deleted = |pre_stop: Hook, begun: Option<u64>, seconds: u32| {
        running(Health { pre_stop, ..Health::default() }, |c| {
            c.pod["metadata"] = json!({
                "deletionTimestamp": at(130).to_string(), "deletionGracePeriodSeconds": 30,
            });
            c.memory.calls.stop_at = begun.map(Duration::from_secs);
            c.seconds = seconds;
        })
    };
    check(deleted(Hook::Todo, None, 100), "preStop until 130");
    check(deleted(Hook::Running, Some(100), 110), "wait until 130");
    check(deleted(Hook::Done, Some(100), 110), "stop c0");
    check(deleted(Hook::Failed, Some(100), 110), "stop c0");
    // It takes too long, or there is no time for it.
    check(deleted(Hook::Running, Some(100), 130), "stop c0");
    check(deleted(Hook::Todo, None, 130), "stop c0");
}
