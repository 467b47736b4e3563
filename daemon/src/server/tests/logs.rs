//! Pod logs: which attempt, which errors (W-150 to W-157).

use serde_json::json;

use super::support::*;

const PODS: &str = "/api/v1/namespaces/a/pods";

/// A pod on a node whose container `c` is in that state.
async fn run(client: &Client, name: &str, container: &str, state: serde_json::Value) {
    let mut body = pod(name);
    body["spec"]["nodeName"] = json!("n");
    body["spec"]["containers"][0]["name"] = json!(container);
    client.post(PODS, &body).await.ok(201);
    let status = json!({"status": {"phase": "Running", "containerStatuses": [{
        "name": container, "image": "i:1", "imageID": "", "ready": true, "restartCount": 3,
        "state": state, "lastState": {"terminated": {"exitCode": 1}},
    }]}});
    client.patch(&format!("{PODS}/{name}/status"), "merge-patch+json", &status).await.ok(200);
}

#[tokio::test]
async fn answers_with_plain_text_of_the_right_attempt_w151_w155() {
    let client = Client::new().await;
    run(&client, "p", "c", json!({"running": {"startedAt": "2026-01-01T00:00:00Z"}})).await;
    let answer = client.get_as(&format!("{PODS}/p/log?tailLines=5"), "application/json").await;
    assert_eq!((answer.code, answer.text.as_str()), (200, "a/p c attempt=3 tail=Some(5)\n"));
    assert_eq!(answer.header("content-type"), "text/plain");
    let previous = client.get(&format!("{PODS}/p/log?previous=true&container=c")).await;
    assert_eq!(previous.text, "a/p c attempt=2 tail=None\n");
    assert_eq!(
        client.get(&format!("{PODS}/p/log?container=zz")).await.refusal(),
        "400 container zz is not valid for pod p"
    );
    assert_eq!(client.get(&format!("{PODS}/q/log")).await.code, 404);
}

#[tokio::test]
async fn says_why_there_is_no_log_w155() {
    let client = Client::new().await;
    client.post(PODS, &pod("pending")).await.ok(201);
    let pending = client.get(&format!("{PODS}/pending/log")).await;
    assert_eq!((pending.code, pending.text.as_str()), (204, ""));
    run(&client, "p", "gone", json!({"terminated": {"exitCode": 0}})).await;
    let gone = client.get(&format!("{PODS}/p/log")).await;
    assert_eq!(gone.refusal(), "400 container \"gone\" in pod \"p\" is terminated");
}

#[tokio::test]
async fn a_followed_log_ends_when_the_daemon_stops() {
    let client = Client::new().await;
    run(&client, "p", "c", json!({"running": {"startedAt": "2026-01-01T00:00:00Z"}})).await;
    let stop = client.app.stop.clone();
    let uri = format!("{PODS}/p/log?follow=true");
    let (answer, _) = tokio::join!(client.get(&uri), async move {
        tokio::task::yield_now().await;
        stop.send_replace(true)
    });
    assert_eq!(answer.code, 200);
}
