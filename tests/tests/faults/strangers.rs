//! Somebody else's hands on the engine (F-13): our containers removed, stopped, killed, paused; look-alikes beside them.

use jobd_tests::{Daemon, client::has_condition, engine, eventually, manifest};
use serde_json::{Value, json};

use crate::{
    JOBS,
    marks::{Marks, WAIT},
};

/// A running job that is not tried again, and its container.
async fn running(daemon: &Daemon, marks: &Marks) -> String {
    let client = daemon.client();
    client.post(JOBS, &marks.job("touched", WAIT, &json!({"backoffLimit": 0}))).await.expect(201);
    client.wait(&format!("{JOBS}/touched"), "ready", |job| job["status"]["ready"] == 1).await;
    let containers = engine::containers(&daemon.instance());
    assert_eq!(containers.len(), 1);
    containers[0].clone()
}

/// What a stranger did ends the attempt, with a reason; the job counts one failure, and nothing runs twice.
async fn check_ended_by(command: &[&str], exit_codes: &[i64]) {
    let daemon = Daemon::start().await;
    let (client, marks) = (daemon.client(), Marks::new(&daemon));
    let container = running(&daemon, &marks).await;
    engine::command(&[command, &[&container]].concat());
    let job = client.wait_job("default", "touched", "Failed").await;
    assert_eq!(job["status"]["failed"], 1, "{job}");
    marks.check_ran_once(&client, "touched", 1).await;
    let pod = client.pods_of("default", "touched").await.remove(0);
    let terminated = &pod["status"]["containerStatuses"][0]["state"]["terminated"];
    assert!(exit_codes.contains(&terminated["exitCode"].as_i64().unwrap_or(-1)), "{command:?}: {pod}");
    assert!(terminated["reason"].as_str().is_some_and(|reason| !reason.is_empty()), "{command:?}: {pod}");
    assert_eq!(pod["status"]["phase"], "Failed");
    let instance = daemon.instance();
    eventually("the container to be gone", async || {
        let left = engine::containers(&instance);
        if left.is_empty() { Ok(()) } else { Err(format!("{left:?}")) }
    })
    .await;
}

#[tokio::test]
async fn a_container_that_is_removed_ends_its_attempt() {
    check_ended_by(&["rm", "--force"], &[137]).await;
}

#[tokio::test]
async fn a_container_that_is_stopped_ends_its_attempt() {
    check_ended_by(&["stop", "--time", "1"], &[137, 143]).await;
}

/// J-2513.
#[tokio::test]
async fn a_container_that_is_killed_ends_its_attempt() {
    check_ended_by(&["kill"], &[137]).await;
}

#[tokio::test]
async fn a_paused_or_renamed_container_is_waited_for() {
    let daemon = Daemon::start().await;
    let (client, marks) = (daemon.client(), Marks::new(&daemon));
    let container = running(&daemon, &marks).await;
    engine::command(&["pause", &container]);
    engine::command(&["rename", &container, &jobd_tests::unique("jobd-renamed")]);
    marks.go();
    tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    let job = client.get(&format!("{JOBS}/touched")).await.expect(200);
    assert_eq!((&job["status"]["active"], &job["status"]["failed"]), (&json!(1), &Value::Null), "{job}");
    engine::command(&["unpause", &container]);
    client.wait_job("default", "touched", "Complete").await;
    marks.check_ran_once(&client, "touched", 1).await;
}

/// A paused container takes no signal but KILL; the job's deletion ends it all the same.
#[tokio::test]
async fn a_paused_container_can_be_deleted() {
    let daemon = Daemon::start().await;
    let (client, marks) = (daemon.client(), Marks::new(&daemon));
    let container = running(&daemon, &marks).await;
    engine::command(&["pause", &container]);
    client.delete(&format!("{JOBS}/touched"), &json!({"propagationPolicy": "Foreground"})).await.expect(200);
    client.wait_gone(&format!("{JOBS}/touched")).await;
    let instance = daemon.instance();
    eventually("the container to be gone", async || {
        let left = engine::containers(&instance);
        if left.is_empty() { Ok(()) } else { Err(format!("{left:?}")) }
    })
    .await;
}

/// I-4: other people's containers are never touched, even if they look like ours; what carries our label and has no pod goes.
#[tokio::test]
async fn look_alikes_of_other_instances_are_not_touched_and_leftovers_of_ours_go() {
    let mut daemon = Daemon::start().await;
    let client = daemon.client();
    client.post(JOBS, &manifest::job("one", "true")).await.expect(201);
    client.wait_job("default", "one", "Complete").await;
    let instance = daemon.instance();
    let pod = client.pods_of("default", "one").await.remove(0);
    let text = |field: &str| pod["metadata"][field].as_str().unwrap_or_default().to_owned();
    let other = jobd_tests::unique("other");
    let run = |instance: Option<&str>| {
        let mut labels = vec![
            format!("jobd.pod.namespace={}", text("namespace")),
            format!("jobd.pod.name={}", text("name")),
            "jobd.pod.uid=00000000-0000-0000-0000-000000000000".to_owned(),
            "jobd.container.name=main".to_owned(),
            "jobd.container.attempt=0".to_owned(),
            format!("test={other}"),
        ];
        labels.extend(instance.map(|instance| format!("jobd.instance={instance}")));
        let mut arguments = vec!["run".to_owned(), "--detach".to_owned()];
        for label in labels {
            arguments.extend(["--label".to_owned(), label]);
        }
        arguments.extend(["busybox:1.36", "sleep", "1000"].map(str::to_owned));
        engine::command(&arguments.iter().map(String::as_str).collect::<Vec<_>>()).trim().to_owned()
    };
    let strangers = [run(None), run(Some(&other))];
    // A running daemon removes it faster than it starts.
    daemon.kill();
    let leftover = run(Some(&instance));
    daemon.spawn();
    daemon.ready().await;
    eventually("the leftover to be removed", async || {
        let left = engine::containers(&instance);
        if left.contains(&leftover) { Err(format!("{left:?}")) } else { Ok(()) }
    })
    .await;
    // A job runs and ends, so that the sweeps had their turn too.
    client.post(JOBS, &manifest::job("two", "sleep 6")).await.expect(201);
    let job = client.wait_job("default", "two", "Complete").await;
    assert!(has_condition(&job, "Complete"));
    let states = strangers.each_ref().map(|id| engine::state(id));
    for id in engine::labelled(&format!("test={other}")) {
        engine::remove(&id);
    }
    assert_eq!(states, ["running", "running"]);
}
