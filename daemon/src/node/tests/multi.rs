//! Pods of several containers: the order of their starts and stops (J-2530 to J-2533), the phase over all of them (J-2502, J-2503), and what
//! the end of the sandbox means (D-204, J-2551).

use k8s_openapi::api::core::v1::Pod;
use serde_json::{Value, json};

use super::stories::World;

const SANDBOX: &str = "jobd-u-POD-0";

fn container(name: &str) -> Value {
    json!({"name": name, "image": "busybox:1", "imagePullPolicy": "IfNotPresent"})
}

fn sidecar(name: &str) -> Value {
    json!({"name": name, "image": "busybox:1", "imagePullPolicy": "IfNotPresent", "restartPolicy": "Always"})
}

async fn world(policy: &str, inits: Vec<Value>, names: &[&str]) -> World {
    let containers: Vec<Value> = names.iter().map(|name| container(name)).collect();
    let spec = json!({"restartPolicy": policy, "initContainers": inits, "containers": containers});
    let mut world = World::new(json!({"spec": spec})).await;
    world.settle().await;
    world
}

/// `name=state` of every container in the status, init containers first.
fn states(pod: &Pod) -> String {
    let status = pod.status.clone().unwrap();
    let all =
        status.init_container_statuses.into_iter().flatten().chain(status.container_statuses.into_iter().flatten());
    let states = all.map(|one| {
        let state = one.state.clone().unwrap_or_default();
        let text = match (state.running, state.waiting, state.terminated) {
            (Some(_), _, _) => "running".to_owned(),
            (_, Some(waiting), _) => waiting.reason.unwrap_or_default(),
            (_, _, Some(end)) => format!("{}", end.exit_code),
            (None, None, None) => "-".to_owned(),
        };
        format!("{}={text}", one.name)
    });
    states.collect::<Vec<_>>().join(" ")
}

fn condition(pod: &Pod, type_: &str) -> String {
    let conditions = pod.status.as_ref().and_then(|status| status.conditions.clone()).unwrap_or_default();
    let found = conditions.into_iter().find(|one| one.type_ == type_);
    found.map_or_else(String::new, |one| format!("{} {}", one.status, one.message.unwrap_or_default()))
}

#[track_caller]
fn check(pod: &Pod, phase: &str, want: &str) {
    let got = pod.status.as_ref().and_then(|status| status.phase.clone());
    assert_eq!((got.as_deref(), states(pod).as_str()), (Some(phase), want));
}

async fn expect(world: &World, phase: &str, want: &str) -> Pod {
    let pod = world.pod().await.unwrap();
    check(&pod, phase, want);
    pod
}

#[tokio::test]
async fn init_containers_run_one_after_the_other_then_all_regular_ones_at_once_j2530_j2510() {
    let mut world = world("Never", vec![container("one"), container("two")], &["b", "a"]).await;
    assert_eq!(world.engine.alive(), [SANDBOX, "jobd-u-one-0"]);
    let pod = expect(&world, "Pending", "one=running two=PodInitializing a=PodInitializing b=PodInitializing").await;
    assert_eq!(condition(&pod, "Initialized"), "False containers with incomplete status: [one two]");
    assert_eq!(condition(&pod, "Ready"), "False containers with unready status: [a b]");
    assert_eq!(condition(&pod, "PodReadyToStartContainers"), "True ");
    assert_eq!(pod.status.unwrap().pod_ip.as_deref(), Some("172.17.0.2"));
    world.engine.finish("jobd-u-one-0", 0);
    world.settle().await;
    expect(&world, "Pending", "one=0 two=running a=PodInitializing b=PodInitializing").await;
    world.engine.finish("jobd-u-two-0", 0);
    world.settle().await;
    let pod = expect(&world, "Running", "one=0 two=0 a=running b=running").await;
    assert_eq!(condition(&pod, "Ready"), "True ");
    assert_eq!(condition(&pod, "Initialized"), "True ");
    world.engine.finish("jobd-u-a-0", 0);
    world.settle().await;
    expect(&world, "Running", "one=0 two=0 a=0 b=running").await;
    world.engine.finish("jobd-u-b-0", 0);
    world.settle().await;
    expect(&world, "Succeeded", "one=0 two=0 a=0 b=0").await;
    assert!(world.engine.names().is_empty(), "{:?}", world.engine.names());
}

fn rule(action: &str, code: i32) -> Value {
    json!([{"action": action, "exitCodes": {"operator": "In", "values": [code]}}])
}

/// `name=restarts last reason` of the regular containers.
fn restarts(pod: &Pod) -> Vec<String> {
    let all = pod.status.clone().unwrap().container_statuses.unwrap_or_default();
    let text = |one: k8s_openapi::api::core::v1::ContainerStatus| {
        let last = one.last_state.and_then(|last| last.terminated?.reason).unwrap_or_default();
        format!("{}={} {last}", one.name, one.restart_count)
    };
    all.into_iter().map(text).collect()
}

#[tokio::test]
async fn all_begin_anew_with_their_init_containers_when_a_rule_says_so_j2501() {
    let mut a = container("a");
    a["restartPolicy"] = json!("Never");
    a["restartPolicyRules"] = rule("RestartAllContainers", 42);
    let spec = json!({
        "restartPolicy": "Never", "initContainers": [container("one")],
        "containers": [a, container("b"), container("done")],
    });
    let mut world = World::new(json!({"spec": spec})).await;
    world.settle().await;
    world.engine.finish("jobd-u-one-0", 0);
    world.settle().await;
    world.engine.finish("jobd-u-done-0", 0);
    world.engine.finish("jobd-u-a-0", 42);
    world.settle().await;
    // Who still runs is stopped first, and nothing starts before that.
    expect(&world, "Running", "one=0 a=42 b=running done=0").await;
    world.settle_for(31).await;
    assert_eq!(world.engine.alive(), [SANDBOX, "jobd-u-one-1"], "on the same sandbox");
    world.engine.finish("jobd-u-one-1", 0);
    world.settle().await;
    let pod = expect(&world, "Running", "one=0 a=running b=running done=running").await;
    const REASON: &str = "RestartingAllContainers";
    assert_eq!(restarts(&pod), ["a", "b", "done"].map(|name| format!("{name}=1 {REASON}")));
    for name in ["a", "b", "done"] {
        world.engine.finish(&format!("jobd-u-{name}-1"), 0);
    }
    world.settle().await;
    let pod = expect(&world, "Succeeded", "one=0 a=0 b=0 done=0").await;
    assert_eq!(condition(&pod, "DisruptionTarget"), "");
    assert!(world.engine.names().is_empty(), "{:?}", world.engine.names());
}

#[tokio::test]
async fn a_container_has_its_own_restart_policy_and_rules_j2501() {
    let mut a = container("a");
    a["restartPolicy"] = json!("Never");
    a["restartPolicyRules"] = rule("Restart", 42);
    let mut b = container("b");
    b["restartPolicy"] = json!("OnFailure");
    let spec = json!({"restartPolicy": "Never", "containers": [a, b]});
    let mut world = World::new(json!({"spec": spec})).await;
    world.settle().await;
    world.engine.finish("jobd-u-a-0", 42);
    world.engine.finish("jobd-u-b-0", 1);
    world.settle().await;
    let pod = expect(&world, "Running", "a=running b=running").await;
    assert_eq!(restarts(&pod), ["a=1 Error", "b=1 Error"]);
    world.engine.finish("jobd-u-a-1", 7);
    world.engine.finish("jobd-u-b-1", 0);
    world.settle().await;
    expect(&world, "Failed", "a=7 b=0").await;
}

#[tokio::test]
async fn a_failed_init_container_ends_a_never_pod_at_once_j2531() {
    let mut world = world("Never", vec![sidecar("side"), container("one"), container("two")], &["main"]).await;
    expect(&world, "Pending", "side=running one=running two=PodInitializing main=PodInitializing").await;
    world.engine.finish("jobd-u-one-0", 3);
    world.settle().await;
    // Not before the sidecar is gone (J-2503).
    expect(&world, "Pending", "side=running one=3 two=PodInitializing main=PodInitializing").await;
    world.settle_for(31).await;
    let pod = expect(&world, "Failed", "side=137 one=3 two=PodInitializing main=PodInitializing").await;
    assert!(condition(&pod, "Initialized").starts_with("False"));
    assert_eq!(condition(&pod, "DisruptionTarget"), "");
    assert!(world.engine.names().is_empty(), "{:?}", world.engine.names());
}

#[tokio::test]
async fn a_failed_init_container_is_tried_again_in_an_on_failure_pod_j2531_j2520() {
    let mut world = world("OnFailure", vec![container("one")], &["main"]).await;
    world.engine.finish("jobd-u-one-0", 1);
    world.settle().await;
    world.engine.finish("jobd-u-one-1", 1);
    world.settle().await;
    expect(&world, "Pending", "one=CrashLoopBackOff main=PodInitializing").await;
    world.settle_for(10).await;
    world.engine.finish("jobd-u-one-2", 0);
    world.settle().await;
    let pod = expect(&world, "Running", "one=0 main=running").await;
    assert_eq!(pod.status.unwrap().init_container_statuses.unwrap()[0].restart_count, 2);
}

#[tokio::test]
async fn one_failed_container_does_not_end_a_pod_in_which_another_runs_j2503() {
    let mut world = world("Never", vec![], &["a", "b"]).await;
    world.engine.finish("jobd-u-a-0", 7);
    world.settle().await;
    expect(&world, "Running", "a=7 b=running").await;
    world.engine.finish("jobd-u-b-0", 0);
    world.settle().await;
    expect(&world, "Failed", "a=7 b=0").await;
}

#[tokio::test]
async fn sidecars_restart_until_the_regular_containers_are_done_and_stop_in_reverse_order_j2532() {
    let mut world = world("Never", vec![sidecar("one"), sidecar("two")], &["main"]).await;
    expect(&world, "Running", "one=running two=running main=running").await;
    world.engine.finish("jobd-u-one-0", 0);
    world.settle().await;
    assert!(world.engine.alive().contains(&"jobd-u-one-1".to_owned()));
    world.engine.finish("jobd-u-main-0", 0);
    world.settle().await;
    let stopped = |world: &World| -> Vec<String> {
        world.engine.calls().into_iter().filter(|call| call.starts_with("kill SIGTERM")).collect()
    };
    assert_eq!(stopped(&world), ["kill SIGTERM jobd-u-two-0"]);
    expect(&world, "Running", "one=running two=running main=0").await;
    world.engine.finish("jobd-u-two-0", 9);
    world.settle().await;
    assert_eq!(stopped(&world)[1..], ["kill SIGTERM jobd-u-one-1"]);
    // The grace period is one for all.
    world.settle_for(30).await;
    expect(&world, "Succeeded", "one=137 two=9 main=0").await;
    assert!(world.engine.names().is_empty(), "{:?}", world.engine.names());
}

#[tokio::test]
async fn a_deleted_pod_stops_regular_containers_then_sidecars_and_goes_j2550() {
    let mut world = world("Never", vec![sidecar("side")], &["a", "b"]).await;
    world.delete(30).await;
    world.settle().await;
    let calls = world.engine.calls();
    assert!(
        calls.contains(&"kill SIGTERM jobd-u-a-0".to_owned()) && calls.contains(&"kill SIGTERM jobd-u-b-0".to_owned())
    );
    assert!(!calls.contains(&"kill SIGTERM jobd-u-side-0".to_owned()));
    world.engine.finish("jobd-u-a-0", 143);
    world.engine.finish("jobd-u-b-0", 143);
    world.settle().await;
    assert!(world.engine.calls().contains(&"kill SIGTERM jobd-u-side-0".to_owned()));
    world.engine.finish("jobd-u-side-0", 0);
    world.settle().await;
    world.settle().await;
    assert_eq!(world.phase().await, "gone");
    assert!(world.engine.names().is_empty());
    assert!(world.attempts().await.is_empty());
}

#[tokio::test]
async fn a_deleted_pod_is_cut_off_when_its_grace_is_over_j2550() {
    let mut world = world("Never", vec![sidecar("side")], &["a"]).await;
    world.delete(5).await;
    world.settle_for(8).await;
    world.settle().await;
    assert_eq!(world.phase().await, "gone");
    assert!(world.engine.names().is_empty());
}

#[tokio::test]
async fn a_never_pod_whose_sandbox_ends_fails_and_nothing_runs_again_d204_j2551() {
    let mut world = world("Never", vec![container("init")], &["a", "b"]).await;
    world.engine.finish("jobd-u-init-0", 0);
    world.settle().await;
    world.engine.finish("jobd-u-a-0", 0);
    world.settle().await;
    world.engine.finish(SANDBOX, 1);
    world.settle_for(31).await;
    let pod = expect(&world, "Failed", "init=0 a=0 b=137").await;
    assert!(condition(&pod, "DisruptionTarget").starts_with("True"));
    assert!(world.engine.runs().values().all(|runs| *runs == 1));
    assert!(world.engine.names().is_empty());
}

#[tokio::test]
async fn an_on_failure_pod_whose_sandbox_ends_begins_again_with_its_init_containers_d204_j2551() {
    let mut world = world("OnFailure", vec![container("init")], &["a", "b"]).await;
    world.engine.finish("jobd-u-init-0", 0);
    world.settle().await;
    world.engine.finish("jobd-u-a-0", 0);
    world.settle().await;
    world.engine.finish(SANDBOX, 1);
    world.settle_for(31).await;
    assert_eq!(world.engine.alive(), ["jobd-u-POD-1", "jobd-u-init-1"]);
    world.engine.finish("jobd-u-init-1", 0);
    world.settle_for(10).await;
    // What had exited 0 does not run again.
    expect(&world, "Running", "init=0 a=0 b=running").await;
    world.engine.finish("jobd-u-b-1", 0);
    world.settle().await;
    expect(&world, "Succeeded", "init=0 a=0 b=0").await;
    assert!(world.engine.names().is_empty());
}

/// J-2533: what is done stays done, whatever restarts beside it.
#[tokio::test]
async fn init_containers_that_are_done_are_not_run_again() {
    let mut world = world("OnFailure", vec![container("one")], &["main"]).await;
    world.engine.finish("jobd-u-one-0", 0);
    world.settle().await;
    world.engine.finish("jobd-u-main-0", 1);
    world.settle().await;
    expect(&world, "Running", "one=0 main=running").await;
    world.crash().await;
    world.settle().await;
    let runs = world.engine.runs();
    let of = |name: &str| runs.iter().filter(|(key, _)| key.contains(name)).map(|(_, runs)| *runs).sum::<u32>();
    assert_eq!((of("jobd-u-one-"), of("jobd-u-main-")), (1, 2), "{runs:?}");
}

#[tokio::test]
async fn a_restart_of_the_daemon_adopts_all_that_runs_r8() {
    let mut world = world("Never", vec![sidecar("side")], &["a", "b"]).await;
    world.crash().await;
    world.settle().await;
    expect(&world, "Running", "side=running a=running b=running").await;
    assert!(world.engine.runs().values().all(|runs| *runs == 1));
    world.engine.finish("jobd-u-a-0", 0);
    world.engine.finish("jobd-u-b-0", 0);
    world.crash().await;
    world.settle_for(31).await;
    expect(&world, "Succeeded", "side=137 a=0 b=0").await;
    assert!(world.engine.names().is_empty());
}

#[tokio::test]
async fn a_pod_that_is_too_old_stops_all_of_its_containers_j2560() {
    let mut world = World::new(json!({"spec": {
        "activeDeadlineSeconds": 60, "terminationGracePeriodSeconds": 3,
        "initContainers": [sidecar("side")], "containers": [container("a"), container("b")],
    }}))
    .await;
    world.settle().await;
    world.advance(60);
    world.settle_for(6).await;
    let pod = expect(&world, "Failed", "side=137 a=137 b=137").await;
    assert_eq!(pod.status.unwrap().reason.as_deref(), Some("DeadlineExceeded"));
    assert!(world.engine.names().is_empty());
}

/// Settles until the tasks of hooks have told, too.
async fn settle_until(world: &mut World, what: impl Fn(&World) -> bool) {
    let deadline = std::time::Duration::from_secs(10);
    let settle = async {
        while !what(world) {
            world.settle().await;
            tokio::task::yield_now().await;
        }
        world.settle().await;
    };
    tokio::time::timeout(deadline, settle).await.unwrap();
}

fn hooked(mut container: Value, hook: &str, command: &str) -> Value {
    container["lifecycle"] = json!({hook: {"exec": {"command": [command]}}});
    container
}

#[tokio::test]
async fn a_post_start_hook_is_run_once_and_the_next_container_waits_for_it() {
    let containers = vec![hooked(container("a"), "postStart", "greet"), container("b")];
    let mut world = World::new(json!({"spec": {"containers": containers}})).await;
    settle_until(&mut world, |world| world.engine.alive().contains(&"jobd-u-b-0".to_owned())).await;
    let calls = world.engine.calls();
    let at = |call: &str| calls.iter().position(|one| one == call).unwrap_or_else(|| panic!("{call}: {calls:?}"));
    assert!(
        at("start jobd-u-a-0") < at("exec jobd-u-a-0 greet") && at("exec jobd-u-a-0 greet") < at("start jobd-u-b-0")
    );
    expect(&world, "Running", "a=running b=running").await;
    world.crash().await;
    world.settle().await;
    assert_eq!(world.engine.calls().iter().filter(|call| call.starts_with("exec")).count(), 1);
}

#[tokio::test]
async fn a_failed_post_start_hook_ends_its_container_j2586() {
    let containers = vec![hooked(container("a"), "postStart", "greet")];
    let mut world = World::new(json!({"spec": {"containers": containers, "nodeName": null}})).await;
    world.engine.answer_exec("jobd-u-a-0", 1);
    world.change(json!({"spec": {"nodeName": "node"}})).await;
    settle_until(&mut world, |world| world.engine.calls().contains(&"kill SIGTERM jobd-u-a-0".to_owned())).await;
    world.settle_for(31).await;
    expect(&world, "Failed", "a=137").await;
}

#[tokio::test]
async fn a_pre_stop_hook_of_a_sidecar_runs_at_once_but_its_signal_waits_for_its_turn_j2532_j2550() {
    let side = hooked(sidecar("side"), "preStop", "bye");
    let mut world = world("Never", vec![side], &["main"]).await;
    world.delete(30).await;
    settle_until(&mut world, |world| world.engine.calls().contains(&"exec jobd-u-side-0 bye".to_owned())).await;
    assert!(!world.engine.calls().contains(&"kill SIGTERM jobd-u-side-0".to_owned()), "{:?}", world.engine.calls());
    world.engine.finish("jobd-u-main-0", 0);
    settle_until(&mut world, |world| world.engine.calls().contains(&"kill SIGTERM jobd-u-side-0".to_owned())).await;
    world.settle_for(33).await;
    assert!(world.pod().await.is_none());
}

#[tokio::test]
async fn a_startup_probe_of_a_sidecar_holds_the_next_container_j2530() {
    let mut side = sidecar("side");
    // The clock of this story stands still, so the probe's time never comes.
    side["startupProbe"] = json!({"exec": {"command": ["up"]}, "initialDelaySeconds": 1000, "periodSeconds": 1});
    let world = world("Never", vec![side], &["main"]).await;
    let pod = expect(&world, "Pending", "side=running main=PodInitializing").await;
    assert_eq!(condition(&pod, "Initialized"), "False containers with incomplete status: [side]");
}
