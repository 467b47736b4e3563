//! The scheduler on a real store.

use std::{sync::Arc, time::Duration};

use jobd_api::{object::Object, registry::Kind};
use serde_json::{Value, json};

use super::Scheduler;
use crate::{
    recorder::Recorder,
    testing::{World, pod},
};

async fn world() -> World {
    let mut world = World::new().await;
    let recorder = Recorder::with_random("box".to_owned(), Duration::from_secs(600), world.random.clone());
    world.driver.add(Scheduler::new(world.store.clone(), Arc::new(recorder), "box".to_owned()));
    world
}

async fn node(world: &World, spec: Value) {
    let status = json!({"allocatable": {"cpu": "2", "memory": "1Gi", "pods": "3"}});
    world.create(Kind::Node, "", json!({"metadata": {"name": "box"}, "spec": spec, "status": status})).await;
}

/// The names of the pods that have the node.
async fn placed(world: &World) -> Vec<String> {
    let mut placed = Vec::new();
    for name in world.names(Kind::Pod).await {
        let pod = world.get(Kind::Pod, "default", &name).await;
        if pod.text(&["spec", "nodeName"]) == Some("box") {
            placed.push(name);
        }
    }
    placed
}

fn scheduled(pod: &Object) -> Option<&Value> {
    pod.get(&["status", "conditions"])?.as_array()?.iter().find(|condition| condition["type"] == "PodScheduled")
}

async fn finish(world: &World, name: &str) {
    let mut pod = world.get(Kind::Pod, "default", name).await;
    pod.0["status"]["phase"] = json!("Succeeded");
    world.put(Kind::Pod, pod).await;
}

#[tokio::test]
async fn places_what_fits_tells_the_others_and_goes_on_when_a_pod_ends() {
    let mut world = world().await;
    node(&world, json!({})).await;
    for name in ["a", "b", "c"] {
        world.create(Kind::Pod, "default", pod(name, "1", json!({}))).await;
        world.clock.advance(Duration::from_secs(1));
    }
    world.settle().await;
    assert_eq!(placed(&world).await, ["a", "b"]);
    let a = world.get(Kind::Pod, "default", "a").await;
    assert_eq!(scheduled(&a).map(|condition| &condition["status"]), Some(&json!("True")));
    assert_eq!(a.get(&["metadata", "generation"]), Some(&json!(1)), "placing is not a change of the spec");
    let c = world.get(Kind::Pod, "default", "c").await;
    let condition = scheduled(&c).unwrap();
    assert_eq!((&condition["status"], &condition["reason"]), (&json!("False"), &json!("Unschedulable")));
    assert!(condition["message"].as_str().unwrap().starts_with("0/1 nodes are available: 1 Insufficient cpu."));
    assert_eq!(world.names(Kind::Event).await.len(), 3);
    finish(&world, "a").await;
    world.settle().await;
    assert_eq!(placed(&world).await, ["a", "b", "c"]);
}

#[tokio::test]
async fn higher_priority_goes_first() {
    let mut world = world().await;
    for (name, priority) in [("low", 0), ("high", 10)] {
        let mut body = world.create(Kind::Pod, "default", pod(name, "2", json!({}))).await;
        body.0["spec"]["priority"] = json!(priority);
        world.put(Kind::Pod, body).await;
    }
    node(&world, json!({})).await;
    world.settle().await;
    assert_eq!(placed(&world).await, ["high"]);
}

#[tokio::test]
async fn w_190_a_cordoned_node_takes_no_new_pods_until_it_is_uncordoned() {
    let mut world = world().await;
    node(&world, json!({"unschedulable": true})).await;
    world.create(Kind::Pod, "default", pod("a", "1", json!({}))).await;
    world.settle().await;
    assert_eq!(placed(&world).await, Vec::<String>::new());
    let mut node = world.get(Kind::Node, "", "box").await;
    node.0.remove("spec");
    world.put(Kind::Node, node).await;
    world.settle().await;
    assert_eq!(placed(&world).await, ["a"]);
}

#[tokio::test]
async fn a_restart_counts_what_runs_and_places_what_waits() {
    let mut world = world().await;
    node(&world, json!({})).await;
    for name in ["a", "b", "c"] {
        world.create(Kind::Pod, "default", pod(name, "1", json!({}))).await;
    }
    world.settle().await;
    let before = placed(&world).await;
    world.driver = crate::driver::Driver::new(world.store.clone(), world.clock.clone());
    let recorder = Recorder::with_random("box".to_owned(), Duration::from_secs(600), world.random.clone());
    world.driver.add(Scheduler::new(world.store.clone(), Arc::new(recorder), "box".to_owned()));
    world.settle().await;
    assert_eq!(placed(&world).await, before);
    assert_eq!(world.names(Kind::Event).await.len(), 3, "nobody is told twice");
    finish(&world, "a").await;
    world.settle().await;
    assert_eq!(placed(&world).await.len(), 3);
}

#[tokio::test]
async fn many_pods_are_placed_in_few_commits() {
    let mut world = world().await;
    let status = json!({"allocatable": {"cpu": "1000", "memory": "1Gi", "pods": "500"}});
    world.create(Kind::Node, "", json!({"metadata": {"name": "box"}, "status": status})).await;
    for number in 0..200 {
        world.create(Kind::Pod, "default", pod(&format!("p{number:03}"), "1", json!({}))).await;
    }
    let mut steps = 0;
    while placed(&world).await.len() < 200 {
        let _ = world.driver.step().await;
        steps += 1;
        assert!(steps < 5, "not so many looks");
    }
}
