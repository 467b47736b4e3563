//! Watches from every kind of start (W-122 to W-134).

use serde_json::{Value, json};

use super::support::*;

const MAPS: &str = "/api/v1/namespaces/a/configmaps";

async fn set(client: &Client, name: &str, patch: Value) {
    client.patch(&format!("{MAPS}/{name}"), "merge-patch+json", &patch).await.ok(200);
}

#[tokio::test]
async fn starts_with_what_exists_then_follows_w122_w123_w127() {
    let client = Client::new().await;
    client.config_map("a", "x", json!({})).await;
    client.config_map("default", "elsewhere", json!({})).await;
    let mut events = client.watch(&format!("{MAPS}?watch=True")).await;
    events.expect(&["ADDED x"]).await;
    client.config_map("default", "other", json!({})).await;
    client.config_map("a", "y", json!({})).await;
    set(&client, "x", json!({"data": {"k": "2"}})).await;
    client.delete(&format!("{MAPS}/x")).await.ok(200);
    let added = events.next().await.unwrap();
    assert_eq!((&added["type"], &added["object"]["kind"]), (&json!("ADDED"), &json!("ConfigMap")));
    let modified = events.next().await.unwrap();
    let deleted = events.next().await.unwrap();
    assert_eq!((&modified["type"], &deleted["type"]), (&json!("MODIFIED"), &json!("DELETED")));
    let version =
        |event: &Value| event["object"]["metadata"]["resourceVersion"].as_str().unwrap().parse::<i64>().unwrap();
    assert!(version(&added) < version(&modified) && version(&modified) < version(&deleted));
}

#[tokio::test]
async fn goes_on_from_a_version_and_sees_every_change_once_i7() {
    let client = Client::new().await;
    let list = client.get(MAPS).await.ok(200);
    let start = list["metadata"]["resourceVersion"].as_str().unwrap();
    for index in 0..300 {
        client.config_map("a", &format!("m{index:03}"), json!({})).await;
    }
    let mut events = client.watch(&format!("{MAPS}?watch=1&resourceVersion={start}")).await;
    for index in 0..300 {
        assert_eq!(events.line().await, format!("ADDED m{index:03}"));
    }
    client.config_map("a", "last", json!({})).await;
    events.expect(&["ADDED last"]).await;
}

#[tokio::test]
async fn a_change_of_matching_becomes_added_or_deleted_w126() {
    let client = Client::new().await;
    client.config_map("a", "x", json!({"in": "1"})).await;
    let mut events = client.watch(&format!("{MAPS}?watch=1&labelSelector=in%3D1")).await;
    events.expect(&["ADDED x"]).await;
    set(&client, "x", json!({"metadata": {"labels": {"in": "0"}}})).await;
    let gone = events.next().await.unwrap();
    assert_eq!(gone["type"], "DELETED");
    assert_eq!(gone["object"]["metadata"]["labels"]["in"], "1");
    let now = client.get(&format!("{MAPS}/x")).await.ok(200);
    assert_eq!(gone["object"]["metadata"]["resourceVersion"], now["metadata"]["resourceVersion"]);
    set(&client, "x", json!({"data": {"unseen": "1"}})).await;
    set(&client, "x", json!({"metadata": {"labels": {"in": "1"}}})).await;
    events.expect(&["ADDED x"]).await;
    client.delete(&format!("{MAPS}/x")).await.ok(200);
    events.expect(&["DELETED x"]).await;
}

#[tokio::test]
async fn watches_one_object_by_field_w133_w108() {
    let client = Client::new().await;
    client.config_map("a", "x", json!({})).await;
    client.config_map("a", "y", json!({})).await;
    let uri = format!("{MAPS}?fieldSelector=metadata.name%3Dy&resourceVersion=0&watch=true&allowWatchBookmarks=true");
    let mut events = client.watch(&uri).await;
    events.expect(&["ADDED y"]).await;
    client.delete(&format!("{MAPS}/x")).await.ok(200);
    client.delete(&format!("{MAPS}/y")).await.ok(200);
    events.expect(&["DELETED y"]).await;
}

#[tokio::test]
async fn streams_a_list_with_the_bookmark_that_ends_it_w130() {
    let client = Client::new().await;
    client.config_map("a", "x", json!({})).await;
    let query = "watch=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true";
    let mut events = client.watch(&format!("{MAPS}?{query}")).await;
    events.expect(&["ADDED x"]).await;
    let bookmark = events.next().await.unwrap();
    assert_eq!((&bookmark["type"], &bookmark["object"]["kind"]), (&json!("BOOKMARK"), &json!("ConfigMap")));
    let metadata = &bookmark["object"]["metadata"];
    assert_eq!(metadata["annotations"], json!({"k8s.io/initial-events-end": "true"}));
    assert_eq!(metadata["resourceVersion"], client.app.store.latest().0.to_string());
    client.config_map("a", "y", json!({})).await;
    events.expect(&["ADDED y"]).await;
    let mut empty = client.watch(&format!("/apis/batch/v1/jobs?{query}")).await;
    empty.expect(&["BOOKMARK"]).await;
}

#[tokio::test]
async fn ends_at_the_timeout_with_a_bookmark_w128_w129() {
    let client = Client::new().await;
    let mut events = client.watch(&format!("{MAPS}?watch=1&timeoutSeconds=1&allowWatchBookmarks=1")).await;
    events.expect(&["BOOKMARK", "end"]).await;
    let mut events = client.watch(&format!("{MAPS}?watch=1&timeoutSeconds=1")).await;
    events.expect(&["end"]).await;
}

#[tokio::test]
async fn table_watches_give_the_columns_once_w132() {
    let client = Client::new().await;
    client.config_map("a", "x", json!({})).await;
    let mut events = client.watch_as(&format!("{MAPS}?watch=1"), TABLE).await;
    let first = events.next().await.unwrap();
    assert!(first["object"]["columnDefinitions"].is_array());
    assert_eq!(first["object"]["rows"][0]["cells"][0], "x");
    client.config_map("a", "y", json!({})).await;
    let second = events.next().await.unwrap();
    assert_eq!((&second["object"]["kind"], &second["object"]["columnDefinitions"]), (&json!("Table"), &Value::Null));
    assert_eq!(second["object"]["rows"][0]["object"]["metadata"]["name"], "y");
}

#[tokio::test]
async fn watchers_of_different_shapes_do_not_get_each_others_frames() {
    let client = Client::new().await;
    let metadata = "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io";
    let mut plain = client.watch(&format!("{MAPS}?watch=1")).await;
    let mut same = client.watch(&format!("{MAPS}?watch=1")).await;
    let mut partial = client.watch_as(&format!("{MAPS}?watch=1"), metadata).await;
    for name in ["x", "y"] {
        client.config_map("a", name, json!({})).await;
        let first = plain.next().await.unwrap();
        assert_eq!(first["object"]["kind"], "ConfigMap");
        assert_eq!(same.next().await.unwrap(), first);
        let object = &partial.next().await.unwrap()["object"];
        assert_eq!((&object["kind"], &object["metadata"]["name"]), (&json!("PartialObjectMetadata"), &json!(name)));
    }
}

#[tokio::test]
async fn a_version_yet_to_come_waits_and_a_bad_one_is_refused_w125() {
    let client = Client::new().await;
    let ahead = client.app.store.latest().0 + 2;
    let mut events = client.watch(&format!("{MAPS}?watch=1&resourceVersion={ahead}")).await;
    for name in ["one", "two", "three"] {
        client.config_map("a", name, json!({})).await;
    }
    events.expect(&["ADDED three"]).await;
    assert_eq!(client.get(&format!("{MAPS}?watch=1&resourceVersion=x")).await.code, 400);
    assert_eq!(client.get(&format!("{MAPS}?watch=1&sendInitialEvents=true")).await.code, 422);
}

#[tokio::test]
async fn ends_when_the_daemon_stops() {
    let client = Client::new().await;
    let mut events = client.watch(&format!("{MAPS}?watch=1")).await;
    client.app.stop.send_replace(true);
    events.expect(&["end"]).await;
}

#[tokio::test]
async fn a_start_that_is_too_old_is_one_error_event_w124() {
    let client = Client::new().await;
    let made = client.config_map("a", "x", json!({})).await;
    let version = made["metadata"]["resourceVersion"].as_str().unwrap();
    client.config_map("a", "y", json!({})).await;
    // What is new enough to be resumed from stays so however long nothing happens.
    let newest = client.app.store.latest().0;
    client.clock.jump(2 * HISTORY);
    let mut idle = client.watch(&format!("{MAPS}?watch=1&resourceVersion={newest}")).await;
    let mut events = client.watch(&format!("{MAPS}?watch=1&resourceVersion={version}")).await;
    let event = events.next().await.unwrap();
    assert_eq!(event["type"], "ERROR");
    assert_eq!((&event["object"]["code"], &event["object"]["reason"]), (&json!(410), &json!("Expired")));
    assert_eq!(event["object"]["message"], format!("too old resource version: {version} ({newest})"));
    events.expect(&["end"]).await;
    client.config_map("a", "z", json!({})).await;
    idle.expect(&["ADDED z"]).await;
}
