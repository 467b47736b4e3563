//! The Docker implementation of the engine trait on a real engine.

use std::{collections::BTreeMap, time::Duration};

use futures_util::StreamExt as _;
use jobd::engine::{
    ContainerSpec, ContainerStatus, Engine as _, Error, EventAction, LogQuery, Network, docker::DockerEngine,
};
use jobd_tests::{docker_host, unique};

fn spec(name: &str, command: &[&str]) -> ContainerSpec {
    ContainerSpec {
        name: name.to_owned(),
        image: "busybox:1.36".to_owned(),
        labels: BTreeMap::from([("jobd.test/engine".to_owned(), name.to_owned())]),
        entrypoint: Some(command.iter().map(ToString::to_string).collect()),
        network: Network::Disabled,
        ..ContainerSpec::default()
    }
}

/// D-501, D-502, D-503: one container's life as the node sees it.
#[tokio::test]
async fn a_container_is_created_started_seen_to_die_read_and_removed() {
    let engine = DockerEngine::new(&docker_host());
    let name = unique("jobd-engine");
    let label = format!("jobd.test/engine={name}");
    let mut events = engine.events(&label, None, None).await.unwrap();
    let id = engine.create(&spec(&name, &["sh", "-c", "echo out; echo err >&2; exit 7"])).await.unwrap();
    assert_eq!(engine.inspect(&id).await.unwrap().status, ContainerStatus::Created);
    engine.start(&id).await.unwrap();
    let code = tokio::time::timeout(Duration::from_secs(60), async {
        loop {
            let event = events.next().await.expect("the stream goes on").unwrap();
            if let EventAction::Die { exit_code } = event.action {
                assert_eq!(event.id, id);
                break exit_code;
            }
        }
    })
    .await
    .unwrap();
    assert_eq!(code, 7);
    let container = engine.inspect(&id).await.unwrap();
    assert_eq!((container.status, container.exit_code), (ContainerStatus::Exited, 7));
    assert!(container.started_at <= container.finished_at && container.finished_at.is_some(), "{container:?}");
    let frames: Vec<_> = engine.logs(&id, LogQuery::default()).await.unwrap().map(Result::unwrap).collect().await;
    let mut texts: Vec<_> = frames.iter().map(|frame| (frame.stderr, &frame.data[..])).collect();
    texts.sort_unstable();
    assert_eq!(texts, [(false, &b"out\n"[..]), (true, b"err\n")]);
    assert!(frames.iter().all(|frame| frame.at.as_second() > 0), "every frame has its stamp");
    assert_eq!(engine.list(&label).await.unwrap().len(), 1);
    engine.remove(&id, false).await.unwrap();
    assert!(matches!(engine.inspect(&id).await, Err(Error::NotFound(_))));
}

/// Section 7 of the Docker rules.
#[tokio::test]
async fn refusals_keep_the_engines_status_and_words() {
    let engine = DockerEngine::new(&docker_host());
    let name = unique("jobd-engine");
    let id = engine.create(&spec(&name, &["/nope"])).await.unwrap();
    let twice = engine.create(&spec(&name, &["true"])).await;
    assert!(matches!(&twice, Err(Error::Conflict(text)) if text.contains("already in use")), "{twice:?}");
    let start = engine.start(&id).await;
    assert!(
        matches!(&start, Err(Error::Refused { status: 400, message }) if message.contains("no such file or directory")),
        "{start:?}"
    );
    engine.remove(&id, true).await.unwrap();
    let mut absent = spec(&name, &["true"]);
    absent.image = "jobd.test/absent:1".to_owned();
    assert!(matches!(engine.create(&absent).await, Err(Error::NotFound(_))));
    let away = DockerEngine::new("unix:///nonexistent/docker.sock").ping().await;
    assert!(matches!(&away, Err(Error::Unreachable(_))), "{away:?}");
}
