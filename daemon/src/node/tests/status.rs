//! `status`: what clients read of a pod at each stage of its life.

use expect_test::{Expect, expect};
use k8s_openapi::api::core::v1::Pod;
use serde_json::{Value, json};

use super::{at, facts, pod};
use crate::{
    node::{
        observed::{Health, Hook, Part, Role, Trouble},
        status::{DEADLINE_EXCEEDED, Ending, Picture, Shown, build},
    },
    store::{
        Attempt,
        attempts::{AttemptState, Exit},
    },
};

fn attempt(number: u32, state: AttemptState, exit_code: Option<i32>) -> Attempt {
    Attempt {
        pod_uid: "u".to_owned(),
        container: "main".to_owned(),
        attempt: number,
        state,
        container_id: (state != AttemptState::Creating).then(|| format!("c{number}")),
        created_at: at(0),
        started_at: Some(at(1)),
        exit: exit_code.map(|exit_code| Exit {
            reason: if exit_code == 0 { "Completed" } else { "Error" }.to_owned(),
            exit_code,
            message: String::new(),
            started_at: Some(at(1)),
            finished_at: Some(at(2)),
        }),
        logs_copied: false,
        removed: false,
    }
}

fn render(status: &Value) -> String {
    let container = &status["containerStatuses"][0];
    let conditions = status["conditions"].as_array().unwrap().iter().map(|condition| {
        let reason = condition["reason"].as_str().map(|reason| format!("({reason})")).unwrap_or_default();
        format!("{}={}{reason}", condition["type"].as_str().unwrap(), condition["status"].as_str().unwrap())
    });
    let reason = status["reason"].as_str().map(|reason| format!(" {reason}")).unwrap_or_default();
    format!(
        "{}{reason}\nstate {} last {} restarts {} ready {}\n{}",
        status["phase"].as_str().unwrap(),
        container["state"],
        container["lastState"],
        container["restartCount"],
        container["ready"],
        conditions.collect::<Vec<_>>().join(" ")
    )
}

fn shown<'a>(pod: &'a Pod, attempts: &'a [Attempt], trouble: Option<&'a Trouble>) -> Shown<'a> {
    let pod_spec = pod.spec.as_ref().unwrap();
    let part = Part {
        role: Role::Main,
        pod_spec,
        spec: pod_spec.containers.first(),
        attempts,
        since: None,
        health: Health::default(),
        probe_ended: false,
        reset: None,
        hook_failed: None,
    };
    Shown { part, container: None, trouble, image_id: None }
}

#[track_caller]
fn check(changes: Value, attempts: &[Attempt], ending: Ending, trouble: Option<&Trouble>, want: Expect) {
    let pod = pod(changes);
    let members = [shown(&pod, attempts, trouble)];
    let status =
        build(&Picture { pod: &pod, members: &members, ending, disruption: Some("why"), node: &facts(), now: at(100) });
    want.assert_eq(&render(&serde_json::to_value(&status).unwrap()));
}

#[test]
fn a_waiting_pod_j2510_j2540() {
    check(
        json!({}),
        &[],
        Ending::No,
        None,
        expect![[r#"
        Pending
        state {"waiting":{"reason":"ContainerCreating"}} last {} restarts 0 ready false
        PodReadyToStartContainers=False Initialized=True Ready=False(ContainersNotReady) ContainersReady=False(ContainersNotReady) PodScheduled=True"#]],
    );
    let trouble = Trouble {
        reason: "ImagePullBackOff".to_owned(),
        message: "why".to_owned(),
        retry_at: std::time::Duration::ZERO,
    };
    check(
        json!({}),
        &[attempt(0, AttemptState::Creating, None)],
        Ending::No,
        Some(&trouble),
        expect![[r#"
        Pending
        state {"waiting":{"message":"why","reason":"ImagePullBackOff"}} last {} restarts 0 ready false
        PodReadyToStartContainers=False Initialized=True Ready=False(ContainersNotReady) ContainersReady=False(ContainersNotReady) PodScheduled=True"#]],
    );
}

#[test]
fn a_running_pod_j2516() {
    check(
        json!({}),
        &[attempt(0, AttemptState::Running, None)],
        Ending::No,
        None,
        expect![[r#"
        Running
        state {"running":{"startedAt":"2027-01-15T08:00:01Z"}} last {} restarts 0 ready true
        PodReadyToStartContainers=True Initialized=True Ready=True ContainersReady=True PodScheduled=True"#]],
    );
}

/// The next attempt is on its way and waits for nothing: the last one's end is what there is to say.
#[test]
fn a_pod_that_is_about_to_restart_shows_its_last_end() {
    check(
        json!({"spec": {"restartPolicy": "Always"}}),
        &[attempt(0, AttemptState::Ended, Some(3)), attempt(1, AttemptState::Creating, None)],
        Ending::No,
        None,
        expect![[r#"
        Running
        state {"terminated":{"containerID":"docker://c0","exitCode":3,"finishedAt":"2027-01-15T08:00:02Z","reason":"Error","startedAt":"2027-01-15T08:00:01Z"}} last {} restarts 0 ready false
        PodReadyToStartContainers=True Initialized=True Ready=False(ContainersNotReady) ContainersReady=False(ContainersNotReady) PodScheduled=True"#]],
    );
}

#[test]
fn an_ended_pod_j2502_j2512() {
    check(
        json!({}),
        &[attempt(0, AttemptState::Ended, Some(0))],
        Ending::No,
        None,
        expect![[r#"
        Succeeded
        state {"terminated":{"containerID":"docker://c0","exitCode":0,"finishedAt":"2027-01-15T08:00:02Z","reason":"Completed","startedAt":"2027-01-15T08:00:01Z"}} last {} restarts 0 ready false
        PodReadyToStartContainers=False Initialized=True(PodCompleted) Ready=False(PodCompleted) ContainersReady=False(PodCompleted) PodScheduled=True"#]],
    );
    check(
        json!({}),
        &[attempt(0, AttemptState::Ended, Some(3))],
        Ending::No,
        None,
        expect![[r#"
        Failed
        state {"terminated":{"containerID":"docker://c0","exitCode":3,"finishedAt":"2027-01-15T08:00:02Z","reason":"Error","startedAt":"2027-01-15T08:00:01Z"}} last {} restarts 0 ready false
        DisruptionTarget=True(TerminationByKubelet) PodReadyToStartContainers=False Initialized=True Ready=False(PodFailed) ContainersReady=False(PodFailed) PodScheduled=True"#]],
    );
}

#[test]
fn a_restarting_pod_stays_running_j2505_j2522() {
    let on_failure = json!({"spec": {"restartPolicy": "OnFailure"}});
    let trouble = Trouble {
        reason: "CrashLoopBackOff".to_owned(),
        message: "back-off".to_owned(),
        retry_at: std::time::Duration::ZERO,
    };
    let ended = [attempt(0, AttemptState::Ended, Some(1)), attempt(1, AttemptState::Ended, Some(2))];
    check(
        on_failure.clone(),
        &ended,
        Ending::No,
        Some(&trouble),
        expect![[r#"
        Running
        state {"waiting":{"message":"back-off","reason":"CrashLoopBackOff"}} last {"terminated":{"containerID":"docker://c1","exitCode":2,"finishedAt":"2027-01-15T08:00:02Z","reason":"Error","startedAt":"2027-01-15T08:00:01Z"}} restarts 1 ready false
        PodReadyToStartContainers=True Initialized=True Ready=False(ContainersNotReady) ContainersReady=False(ContainersNotReady) PodScheduled=True"#]],
    );
    let again = [attempt(0, AttemptState::Ended, Some(1)), attempt(1, AttemptState::Running, None)];
    check(
        on_failure,
        &again,
        Ending::No,
        None,
        expect![[r#"
        Running
        state {"running":{"startedAt":"2027-01-15T08:00:01Z"}} last {"terminated":{"containerID":"docker://c0","exitCode":1,"finishedAt":"2027-01-15T08:00:02Z","reason":"Error","startedAt":"2027-01-15T08:00:01Z"}} restarts 1 ready true
        PodReadyToStartContainers=True Initialized=True Ready=True ContainersReady=True PodScheduled=True"#]],
    );
}

#[test]
fn a_pod_that_never_ran_and_is_over_j2504() {
    check(
        json!({}),
        &[],
        Ending::Deleted,
        None,
        expect![[r#"
        Failed
        state {"terminated":{"exitCode":137,"message":"The container could not be located when the pod was terminated","reason":"ContainerStatusUnknown"}} last {} restarts 0 ready false
        DisruptionTarget=True(TerminationByKubelet) PodReadyToStartContainers=False Initialized=True Ready=False(PodFailed) ContainersReady=False(PodFailed) PodScheduled=True"#]],
    );
    check(
        json!({}),
        &[attempt(0, AttemptState::Ended, Some(0))],
        Ending::Failed(DEADLINE_EXCEEDED),
        None,
        expect![[r#"
            Failed DeadlineExceeded
            state {"terminated":{"containerID":"docker://c0","exitCode":0,"finishedAt":"2027-01-15T08:00:02Z","reason":"Completed","startedAt":"2027-01-15T08:00:01Z"}} last {} restarts 0 ready false
            DisruptionTarget=True(TerminationByKubelet) PodReadyToStartContainers=False Initialized=True Ready=False(PodFailed) ContainersReady=False(PodFailed) PodScheduled=True"#]],
    );
}

#[test]
fn a_published_end_never_changes_j2503() {
    let failed = json!({"status": {"phase": "Failed", "reason": "Evicted"}});
    check(
        failed,
        &[attempt(0, AttemptState::Ended, Some(0))],
        Ending::Deleted,
        None,
        expect![[r#"
        Failed Evicted
        state {"terminated":{"containerID":"docker://c0","exitCode":0,"finishedAt":"2027-01-15T08:00:02Z","reason":"Completed","startedAt":"2027-01-15T08:00:01Z"}} last {} restarts 0 ready false
        DisruptionTarget=True(TerminationByKubelet) PodReadyToStartContainers=False Initialized=True Ready=False(PodFailed) ContainersReady=False(PodFailed) PodScheduled=True"#]],
    );
}

#[test]
fn transition_times_move_only_with_the_status_j2540() {
    let old = pod(json!({"status": {"conditions": [
        {"type": "mine.io/x", "status": "True"},
        {"type": "Ready", "status": "False", "lastTransitionTime": at(1).to_string()},
        {"type": "PodScheduled", "status": "True", "lastTransitionTime": at(2).to_string()},
    ]}}));
    let attempts = [attempt(0, AttemptState::Running, None)];
    let status = build(&Picture {
        pod: &old,
        members: &[shown(&old, &attempts, None)],
        ending: Ending::No,
        disruption: None,
        node: &facts(),
        now: at(100),
    });
    let times = status.conditions.unwrap().into_iter().map(|condition| {
        let since = condition.last_transition_time.map(|time| time.0.as_second() - at(0).as_second());
        format!("{}={since:?}", condition.type_)
    });
    assert_eq!(
        times.collect::<Vec<_>>().join(" "),
        "mine.io/x=None PodReadyToStartContainers=Some(100) Initialized=Some(100) Ready=Some(100) \
         ContainersReady=Some(100) PodScheduled=Some(2)"
    );
}

/// `phase containerState started ready Ready`
#[track_caller]
fn check_health(health: Health, want: &str) {
    let pod = pod(json!({}));
    let attempts = [attempt(0, AttemptState::Running, None)];
    let mut member = shown(&pod, &attempts, None);
    member.part.health = health;
    let (members, ending) = ([member], Ending::No);
    let status = build(&Picture { pod: &pod, members: &members, ending, disruption: None, node: &facts(), now: at(9) });
    let container = &status.container_statuses.as_ref().unwrap()[0];
    let state = container.state.as_ref().unwrap();
    let state = if state.running.is_some() { "running" } else { "waiting" };
    let conditions = status.conditions.as_ref().unwrap();
    let ready = conditions.iter().find(|condition| condition.type_ == "Ready").unwrap();
    let got = [
        status.phase.as_deref().unwrap(),
        state,
        if container.started == Some(true) { "started" } else { "-" },
        if container.ready { "ready" } else { "-" },
        &ready.status,
    ];
    assert_eq!(got.join(" "), want, "{health:?}");
}

#[test]
fn probes_say_what_is_started_and_ready_and_a_hook_holds_back_that_it_runs_j2516_j2540() {
    let asked = Health { started: false, ready: false, ..Health::default() };
    check_health(Health::default(), "Running running started ready True");
    check_health(asked, "Running running - - False");
    check_health(Health { started: true, ..asked }, "Running running started - False");
    // Without a readiness probe nothing is ready before it is started.
    check_health(Health { ready: true, ..asked }, "Running running - - False");
    check_health(Health { started: true, ready: true, ..asked }, "Running running started ready True");
    for post_start in [Hook::Todo, Hook::Running, Hook::Failed] {
        check_health(Health { post_start, ..Health::default() }, "Pending waiting - - False");
    }
}
