//! Gets and lists: shapes, selectors, pages, versions (sections 2.14 and 2.16 of the wire rules).

use std::time::Duration;

use serde_json::{Value, json};

use super::support::*;

const MAPS: &str = "/api/v1/namespaces/a/configmaps";

fn names(list: &Value) -> Vec<&str> {
    list["items"].as_array().unwrap().iter().map(|item| item["metadata"]["name"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn lists_are_ordered_and_never_null_w113_w114_w115() {
    let client = Client::new().await;
    let empty = client.get(MAPS).await.ok(200);
    assert_eq!(
        (&empty["kind"], &empty["apiVersion"], &empty["items"]),
        (&json!("ConfigMapList"), &json!("v1"), &json!([]))
    );
    assert_eq!(client.get("/apis/batch/v1/namespaces/nope/jobs").await.ok(200)["items"], json!([]));
    for name in ["b", "a.1", "a-1"] {
        client.config_map("a", name, json!({})).await;
    }
    client.config_map("default", "a", json!({})).await;
    assert_eq!(names(&client.get(MAPS).await.ok(200)), ["a-1", "a.1", "b"]);
    assert_eq!(names(&client.get("/api/v1/configmaps").await.ok(200)), ["a-1", "a.1", "b", "a"]);
}

#[tokio::test]
async fn pages_show_the_snapshot_of_the_first_w116_w117() {
    let client = Client::new().await;
    for name in ["a", "b", "c", "d", "e"] {
        client.config_map("a", name, json!({})).await;
    }
    let first = client.get(&format!("{MAPS}?limit=2")).await.ok(200);
    assert_eq!((names(&first), &first["metadata"]["remainingItemCount"]), (vec!["a", "b"], &json!(3)));
    client.delete(&format!("{MAPS}/c")).await.ok(200);
    client.config_map("a", "cc", json!({})).await;
    let token = first["metadata"]["continue"].as_str().unwrap();
    let second = client.get(&format!("{MAPS}?limit=2&continue={token}")).await.ok(200);
    assert_eq!(names(&second), ["c", "d"]);
    assert_eq!(second["metadata"]["resourceVersion"], first["metadata"]["resourceVersion"]);
    let token = second["metadata"]["continue"].as_str().unwrap();
    let last = client.get(&format!("{MAPS}?limit=2&continue={token}")).await.ok(200);
    assert_eq!(names(&last), ["e"]);
    assert_eq!(last["metadata"].as_object().unwrap().keys().collect::<Vec<_>>(), ["resourceVersion"]);
    // A page that the list fills exactly is the last one.
    let whole = client.get(&format!("{MAPS}?limit=5")).await.ok(200);
    assert_eq!((names(&whole).len(), whole["metadata"].get("continue")), (5, None));
    let bad = client.get(&format!("{MAPS}?continue=zz")).await;
    assert!(bad.refusal().starts_with("400 invalid continue token"));
}

#[tokio::test]
async fn a_page_that_comes_too_late_goes_on_in_another_revision_w117() {
    let client = Client::new().await;
    for name in ["a", "b", "c", "d"] {
        client.config_map("a", name, json!({})).await;
    }
    let first = client.get(&format!("{MAPS}?limit=1")).await.ok(200);
    let token = first["metadata"]["continue"].as_str().unwrap();
    client.clock.jump(HISTORY - Duration::from_secs(60));
    let second = client.get(&format!("{MAPS}?limit=1&continue={token}")).await.ok(200);
    assert_eq!(names(&second), ["b"]);
    // Nothing was written, and all the same it has taken too long; the pages after it are as old as the first.
    client.clock.jump(Duration::from_secs(70));
    for page in [&first, &second] {
        let token = page["metadata"]["continue"].as_str().unwrap();
        let late = client.get(&format!("{MAPS}?limit=1&continue={token}")).await;
        assert_eq!(
            late.refusal(),
            "410 The provided continue parameter is too old to display a consistent list result."
        );
        assert_eq!(late.json()["reason"], "Expired");
    }
    let late = client.get(&format!("{MAPS}?limit=1&continue={token}")).await.json();
    let token = late["metadata"]["continue"].as_str().unwrap();
    let resumed = client.get(&format!("{MAPS}?limit=2&continue={token}")).await.ok(200);
    assert_eq!((names(&resumed), &resumed["metadata"]["remainingItemCount"]), (vec!["b", "c"], &json!(1)));
    assert_ne!(resumed["metadata"]["resourceVersion"], first["metadata"]["resourceVersion"]);
    let token = resumed["metadata"]["continue"].as_str().unwrap();
    let last = client.get(&format!("{MAPS}?limit=2&continue={token}")).await.ok(200);
    assert_eq!(names(&last), ["d"]);
    assert_eq!(last["metadata"]["resourceVersion"], resumed["metadata"]["resourceVersion"]);
}

#[tokio::test]
async fn a_long_list_is_whole_whatever_its_chunks() {
    let client = Client::new().await;
    let big = "x".repeat(20_000);
    for index in 0..120 {
        let value = if index % 10 == 0 { big.as_str() } else { "" };
        let body = json!({"metadata": {"name": format!("m{index:03}"), "labels": {"odd": (index % 2).to_string()}}, "data": {"k": value}});
        client.post(MAPS, &body).await.ok(201);
    }
    let list = client.get(MAPS).await.ok(200);
    let want = (0..120).map(|index| format!("m{index:03}")).collect::<Vec<_>>();
    assert_eq!(names(&list), want);
    let mut paged = Vec::new();
    let mut token = String::new();
    loop {
        let page = client.get(&format!("{MAPS}?limit=7&labelSelector=odd+notin+(0)&continue={token}")).await.ok(200);
        assert!(page["metadata"].get("remainingItemCount").is_none());
        paged.extend(names(&page).into_iter().map(str::to_owned));
        match page["metadata"]["continue"].as_str() {
            Some(next) => token = next.to_owned(),
            None => break,
        }
    }
    assert_eq!(paged, want.into_iter().skip(1).step_by(2).collect::<Vec<_>>());
}

/// J-102.
#[tokio::test]
async fn selects_by_labels_and_fields_w135_w136_w137() {
    let client = Client::new().await;
    client.config_map("a", "x", json!({"k": "1", "z": ""})).await;
    client.config_map("a", "y", json!({"k": "2"})).await;
    for (query, want) in [
        ("labelSelector=k%3D1", vec!["x"]),
        ("labelSelector=k!=1", vec!["y"]),
        ("labelSelector=k+in+(1,2),z", vec!["x"]),
        ("labelSelector=!z", vec!["y"]),
        ("fieldSelector=metadata.name%3Dy", vec!["y"]),
        ("fieldSelector=metadata.name!=y", vec!["x"]),
        ("&fieldSelector=metadata.name=y,metadata.namespace=b", vec![]),
    ] {
        assert_eq!(names(&client.get(&format!("/api/v1/configmaps?{query}")).await.ok(200)), want, "{query}");
    }
    let refusal = client.get(&format!("{MAPS}?fieldSelector=data=1")).await.refusal();
    assert_eq!(refusal, "400 \"data\" is not a known field selector: only \"metadata.name\", \"metadata.namespace\"");
    assert!(client.get(&format!("{MAPS}?labelSelector=a=b=c")).await.refusal().starts_with("400 "));
}

#[tokio::test]
async fn selects_by_more_labels_than_the_database_can_be_asked_for() {
    let client = Client::new().await;
    let labels = |count: usize| (0..count).map(|index| (format!("l{index}"), json!("v"))).collect::<Value>();
    client.config_map("a", "nine", labels(9)).await;
    client.config_map("a", "eight", labels(8)).await;
    let selector = |count: usize| (0..count).map(|index| format!("l{index}=v")).collect::<Vec<_>>().join(",");
    for (count, want) in [(8, vec!["eight", "nine"]), (9, vec!["nine"]), (2000, vec![])] {
        let list = client.get(&format!("{MAPS}?labelSelector={}", selector(count))).await.ok(200);
        assert_eq!(names(&list), want, "{count} labels");
    }
}

#[tokio::test]
async fn reads_at_versions_w118_w119() {
    let client = Client::new().await;
    let old = client.config_map("a", "x", json!({})).await;
    let version = old["metadata"]["resourceVersion"].as_str().unwrap();
    client.config_map("a", "y", json!({})).await;
    let exact = format!("{MAPS}?resourceVersion={version}&resourceVersionMatch=Exact");
    assert_eq!(names(&client.get(&exact).await.ok(200)), ["x"]);
    let newer = format!("{MAPS}?resourceVersion={version}&resourceVersionMatch=NotOlderThan");
    assert_eq!(names(&client.get(&newer).await.ok(200)), ["x", "y"]);
    assert_eq!(names(&client.get(&format!("{MAPS}?resourceVersion=0")).await.ok(200)), ["x", "y"]);
    let future = client.get(&format!("{MAPS}?resourceVersion=99999")).await;
    assert!(future.refusal().starts_with("504 Timeout: Too large resource version: 99999, current: "));
    assert_eq!(future.header("retry-after"), "1");
    assert_eq!(future.json()["details"]["causes"][0]["reason"], "ResourceVersionTooLarge");
    assert_eq!(client.get(&format!("{MAPS}/x?resourceVersion=99999")).await.code, 504);
}

#[tokio::test]
async fn shows_tables_and_metadata_w13_w14_w147_w148() {
    let client = Client::new().await;
    client.config_map("a", "x", json!({"l": "1"})).await;
    let table = client.get_as(MAPS, TABLE).await.ok(200);
    assert_eq!((&table["kind"], &table["apiVersion"]), (&json!("Table"), &json!("meta.k8s.io/v1")));
    let columns = table["columnDefinitions"].as_array().unwrap();
    let row = &table["rows"][0];
    assert_eq!(row["cells"].as_array().unwrap().len(), columns.len());
    assert_eq!(row["cells"][0], "x");
    assert_eq!(row["object"]["kind"], "PartialObjectMetadata");
    assert_eq!(row["object"]["apiVersion"], "meta.k8s.io/v1");
    assert!(table["metadata"]["resourceVersion"].is_string());
    let full = client.get_as(&format!("{MAPS}?includeObject=Object"), TABLE).await.ok(200);
    assert_eq!(full["rows"][0]["object"]["data"], json!({"k": "v"}));
    assert_eq!(client.get_as(&format!("{MAPS}?includeObject=Foo"), TABLE).await.code, 400);
    let one = client.get_as(&format!("{MAPS}/x"), TABLE).await.ok(200);
    assert_eq!(one["rows"][0]["cells"][0], "x");
    assert_eq!(one["metadata"]["resourceVersion"], row["object"]["metadata"]["resourceVersion"]);
    let empty = client.get_as("/api/v1/namespaces/default/configmaps", TABLE).await.ok(200);
    assert_eq!(empty["rows"], json!([]));

    let metadata = "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io";
    let list = client.get_as(MAPS, metadata).await.ok(200);
    assert_eq!((&list["kind"], &list["apiVersion"]), (&json!("PartialObjectMetadataList"), &json!("meta.k8s.io/v1")));
    assert_eq!(list["items"][0]["metadata"]["labels"], json!({"l": "1"}));
    assert!(list["items"][0].get("data").is_none());
    assert_eq!(client.get_as(&format!("{MAPS}/x"), metadata).await.code, 406);
}

#[tokio::test]
async fn prints_prettily_for_people_w10() {
    let client = Client::new().await;
    client.config_map("a", "x", json!({})).await;
    for uri in [MAPS.to_owned(), format!("{MAPS}/x"), "/version".to_owned()] {
        let pretty = client.send("GET", &uri, &[("user-agent", "curl/8.0")], "").await;
        let compact = client.get(&uri).await;
        assert!(pretty.text.contains("\n  \"kind\": ") || uri == "/version", "{}", pretty.text);
        assert!(pretty.text.lines().count() > 3 && compact.text.lines().count() == 1);
        assert_eq!(pretty.json(), compact.json());
        assert_eq!(client.get(&format!("{uri}?pretty=true")).await.text, pretty.text);
    }
}

#[tokio::test]
async fn says_what_is_not_there_w140() {
    let client = Client::new().await;
    let answer = client.get("/apis/batch/v1/namespaces/a/jobs/nope").await;
    assert_eq!(answer.refusal(), "404 jobs.batch \"nope\" not found");
    assert_eq!(answer.json()["details"], json!({"name": "nope", "group": "batch", "kind": "jobs"}));
    let answer = client.get_as("/api/v1/namespaces/a/pods/p", TABLE).await;
    assert_eq!(answer.refusal(), "404 pods \"p\" not found");
    assert_eq!(answer.json()["details"], json!({"name": "p", "kind": "pods"}));
    let unknown = client.get("/apis/batch/v1/namespaces/a/foos").await;
    assert_eq!(unknown.refusal(), "404 the server could not find the requested resource");
    assert_eq!(unknown.json()["details"], json!({}));
    let path = client.get("/apis/apps/v1/deployments").await;
    assert_eq!((path.code, path.text.as_str()), (404, "404 page not found\n"));
    assert_eq!(path.header("content-type"), "text/plain; charset=utf-8");
    let method = client.post("/apis/batch/v1/jobs", &json!({})).await;
    assert_eq!(method.refusal(), "405 the server does not allow this method on the requested resource");
}

#[tokio::test]
async fn a_name_path_ignores_watch_and_reads_never_wait_w133() {
    let client = Client::new().await;
    client.config_map("a", "x", json!({})).await;
    assert_eq!(client.get(&format!("{MAPS}/x?watch=true")).await.ok(200)["metadata"]["name"], "x");
}

#[tokio::test]
async fn a_snapshot_that_is_gone_is_told_and_can_be_gone_on_from_w117_w118() {
    let client = Client::new().await;
    for name in ["a", "b", "c"] {
        client.config_map("a", name, json!({})).await;
    }
    let first = client.get(&format!("{MAPS}?limit=1")).await.ok(200);
    let version = first["metadata"]["resourceVersion"].as_str().unwrap();
    client.config_map("a", "d", json!({})).await;
    client.clock.jump(2 * HISTORY);
    let exact = client.get(&format!("{MAPS}?resourceVersion={version}&resourceVersionMatch=Exact")).await;
    assert_eq!(exact.refusal(), "410 The resourceVersion for the provided list is too old.");
    assert_eq!(exact.json()["reason"], "Expired");
    let token = first["metadata"]["continue"].as_str().unwrap();
    let expired = client.get(&format!("{MAPS}?limit=1&continue={token}")).await;
    assert!(expired.refusal().starts_with("410 The provided continue parameter is too old"));
    let token = expired.json()["metadata"]["continue"].as_str().unwrap().to_owned();
    let rest = client.get(&format!("{MAPS}?continue={token}")).await.ok(200);
    assert_eq!(names(&rest), ["b", "c", "d"]);
}

#[tokio::test]
async fn answers_in_yaml_to_who_wants_it_w12() {
    let client = Client::new().await;
    client.config_map("a", "b", json!({"k": "yes"})).await;
    let one = client.send("GET", &format!("{MAPS}/b"), &[("accept", "application/yaml")], "").await;
    assert_eq!((one.code, one.header("content-type")), (200, "application/yaml"));
    assert!(one.text.starts_with("apiVersion: v1\ndata:\n"), "{}", one.text);
    assert!(one.text.contains("\n  labels:\n    k: \"yes\"\n"), "{}", one.text);
    let list = client.send("GET", MAPS, &[("accept", "application/yaml")], "").await;
    assert!(list.text.contains("\nitems:\n- apiVersion: v1\n"), "{}", list.text);
    let refused = client.send("GET", &format!("{MAPS}/nope"), &[("accept", "application/yaml")], "").await;
    assert!(refused.refusal().starts_with("404 "), "a Status is JSON whatever is accepted (W-9)");
    let watch = client.send("GET", &format!("{MAPS}?watch=1"), &[("accept", "application/yaml")], "").await;
    assert!(watch.refusal().starts_with("406 "));
}
