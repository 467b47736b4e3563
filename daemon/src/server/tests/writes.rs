//! Creates, updates, patches and deletes (sections 2.8 to 2.13 of the wire rules).

use std::time::Duration;

use jobd_api::registry::Kind;
use serde_json::{Value, json};

use super::support::*;

const MAPS: &str = "/api/v1/namespaces/a/configmaps";
const JOBS: &str = "/apis/batch/v1/namespaces/a/jobs";
const PODS: &str = "/api/v1/namespaces/a/pods";

fn version(object: &Value) -> &str {
    object["metadata"]["resourceVersion"].as_str().unwrap()
}

/// J-104.
#[tokio::test]
async fn creates_w60_w49_w17() {
    let client = Client::new().await;
    let made = client.post(JOBS, &job("x")).await.ok(201);
    assert_eq!((&made["kind"], &made["metadata"]["namespace"]), (&json!("Job"), &json!("a")));
    assert!(version(&made).parse::<i64>().unwrap() > 0);
    assert_eq!(client.get(&format!("{JOBS}/x")).await.ok(200), made);
    assert_eq!(client.get(&format!("{JOBS}/x/status")).await.ok(200), made);
    let again = client.post(JOBS, &job("x")).await;
    assert_eq!(again.refusal(), "409 jobs.batch \"x\" already exists");
    assert_eq!(again.json()["reason"], "AlreadyExists");
    let table = client.send("POST", JOBS, &[("accept", TABLE)], job("y").to_string()).await.ok(201);
    assert_eq!(table["rows"][0]["cells"][0], "y");
}

/// J-104.
#[tokio::test]
async fn refuses_creates_and_stores_nothing_w21_w25_w61_w64_w91() {
    let client = Client::new().await;
    let before = client.app.store.latest();
    let bad = json!({"metadata": {"name": "x"}, "spec": {"template": {"spec": {"containers": []}}}});
    let missing = "/apis/batch/v1/namespaces/nope/jobs";
    for (uri, content_type, body, want) in [
        (missing, "application/json", job("x").to_string(), "404 namespaces \"nope\" not found"),
        (missing, "application/json", bad.to_string(), "404 namespaces \"nope\" not found"),
        (JOBS, "application/json", bad.to_string(), "422 Job.batch \"x\" is invalid: ["),
        (JOBS, "text/plain", job("x").to_string(), "415 the body of the request was in an unknown format"),
        (JOBS, "application/json", "{".to_owned(), "400 the object provided is unrecognized (must be of type Job"),
        (JOBS, "", String::new(), "400 the object provided is unrecognized (must be of type Job"),
        (
            &format!("{JOBS}?dryRun=Foo"),
            "",
            job("x").to_string(),
            "422 CreateOptions.meta.k8s.io \"\" is invalid: dryRun",
        ),
        (
            &format!("{JOBS}?fieldValidation=Bad"),
            "",
            job("x").to_string(),
            "422 CreateOptions.meta.k8s.io \"\" is invalid",
        ),
    ] {
        let answer = client.send("POST", uri, &[("content-type", content_type)], body).await;
        assert!(answer.refusal().starts_with(want), "{uri}: {}", answer.text);
    }
    assert_eq!(client.app.store.latest(), before);
}

#[tokio::test]
async fn warns_about_unknown_fields_or_refuses_them_w91_w93() {
    let client = Client::new().await;
    let body = json!({"metadata": {"name": "x"}, "bogus": 1});
    let strict = client.post(&format!("{MAPS}?fieldValidation=Strict"), &body).await;
    assert!(strict.refusal().contains("strict decoding error: unknown field \"bogus\""), "{}", strict.text);
    let warned = client.post(MAPS, &body).await;
    assert_eq!(warned.header("warning"), "299 - \"unknown field \\\"bogus\\\"\"");
    assert!(warned.ok(201).get("bogus").is_none());
    let body = json!({"metadata": {"name": "y"}, "bogus": 1});
    assert_eq!(client.post(&format!("{MAPS}?fieldValidation=Ignore"), &body).await.header("warning"), "");
    // J-108
    let mut body = job("j");
    body["spec"]["bogus"] = json!(1);
    let strict = client.post(&format!("{JOBS}?fieldValidation=Strict"), &body).await;
    assert!(strict.refusal().contains("strict decoding error: unknown field \"spec.bogus\""), "{}", strict.text);
    let warned = client.post(JOBS, &body).await;
    assert_eq!(warned.header("warning"), "299 - \"unknown field \\\"spec.bogus\\\"\"");
    assert_eq!(warned.ok(201)["spec"].get("bogus"), None);
}

#[tokio::test]
async fn takes_yaml_w21() {
    let client = Client::new().await;
    let yaml = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: x\ndata:\n  k: v\n";
    let made = client.send("POST", MAPS, &[("content-type", "application/yaml")], yaml).await.ok(201);
    assert_eq!(made["data"], json!({"k": "v"}));
}

/// J-306: eight names are tried, then the collision is the client's.
#[tokio::test]
async fn generates_names_and_tries_again_on_collisions_w53() {
    let client = Client::new().await;
    let (first, second) = (client.twin(), client.twin());
    let body = json!({"metadata": {"generateName": "g-"}});
    let name = |made: Value| made["metadata"]["name"].as_str().unwrap().to_owned();
    let mut taken = Vec::new();
    for _ in 0..9 {
        taken.push(name(first.post(MAPS, &body).await.ok(201)));
    }
    assert!(taken[0].starts_with("g-") && taken[0].len() == 7 && taken[0] != taken[1], "{taken:?}");
    let refused = second.post(MAPS, &body).await;
    assert_eq!(
        refused.refusal(),
        format!(
            "409 configmaps \"{}\" already exists, the server was not able to generate a unique name for the object",
            taken[7]
        )
    );
    assert_eq!((refused.header("retry-after"), &refused.json()["details"]["retryAfterSeconds"]), ("1", &json!(1)));
    let free = name(second.post(MAPS, &body).await.ok(201));
    assert!(!taken.contains(&free), "the ninth was taken too, the tenth is free");
}

#[tokio::test]
async fn a_name_that_is_about_to_be_free_says_so() {
    let client = Client::new().await;
    let held = json!({"metadata": {"name": "m", "finalizers": ["example.com/held"]}});
    client.post(MAPS, &held).await.ok(201);
    assert_eq!(client.post(MAPS, &held).await.refusal(), "409 configmaps \"m\" already exists");
    client.delete(&format!("{MAPS}/m")).await.ok(200);
    let refused = client.post(MAPS, &held).await.refusal();
    assert_eq!(refused, "409 object is being deleted: configmaps \"m\" already exists");
}

#[tokio::test]
async fn a_dry_run_stores_nothing_w94() {
    let client = Client::new().await;
    let before = client.app.store.latest();
    let made = client.post(&format!("{JOBS}?dryRun=All"), &job("x")).await.ok(201);
    assert!(made["metadata"]["uid"].is_string() && made["metadata"].get("resourceVersion").is_none());
    assert_eq!(client.app.store.latest(), before);
    assert_eq!(client.get(&format!("{JOBS}/x")).await.code, 404);

    client.config_map("a", "m", json!({})).await;
    let before = client.app.store.latest();
    assert_eq!(client.post(&format!("{MAPS}?dryRun=All"), &json!({"metadata": {"name": "m"}})).await.code, 409);
    let missing = "/api/v1/namespaces/nope/configmaps?dryRun=All";
    assert_eq!(client.post(missing, &json!({"metadata": {"name": "m"}})).await.code, 404);
    let patch = json!({"data": {"k": "w"}});
    let patched = client.patch(&format!("{MAPS}/m?dryRun=All"), "merge-patch+json", &patch).await.ok(200);
    assert_eq!(patched["data"]["k"], "w");
    client.delete(&format!("{MAPS}/m?dryRun=All")).await.ok(200);
    assert_eq!(client.get(&format!("{MAPS}/m")).await.ok(200)["data"]["k"], "v");
    assert_eq!(client.app.store.latest(), before);
}

#[tokio::test]
async fn replaces_with_and_without_a_version_w67_w68_w69_w70_w51() {
    let client = Client::new().await;
    let made = client.config_map("a", "x", json!({})).await;
    let uri = format!("{MAPS}/x");
    let unchanged = client.put(&uri, &made).await.ok(200);
    assert_eq!(version(&unchanged), version(&made));
    let mut next = made.clone();
    next["data"]["k"] = json!("2");
    let changed = client.put(&uri, &next).await.ok(200);
    assert!(version(&changed).parse::<i64>().unwrap() > version(&made).parse::<i64>().unwrap());
    let stale = client.put(&uri, &next).await;
    assert!(stale.refusal().starts_with("409 Operation cannot be fulfilled on configmaps \"x\": the object has been"));
    assert_eq!(stale.json()["reason"], "Conflict");
    next["metadata"].as_object_mut().unwrap().remove("resourceVersion");
    next["data"]["k"] = json!("3");
    assert_eq!(client.put(&uri, &next).await.ok(200)["data"]["k"], "3");
    let mut foreign = next.clone();
    foreign["metadata"]["uid"] = json!("zzz");
    assert!(client.put(&uri, &foreign).await.refusal().contains("UID in precondition: zzz"));
    next["metadata"]["name"] = json!("other");
    assert_eq!(
        client.put(&uri, &next).await.refusal(),
        "400 the name of the object (other) does not match the name on the URL (x)"
    );
    assert_eq!(client.put(&format!("{MAPS}/other"), &next).await.code, 404);

    // J-103, J-104: the same for jobs.
    let mut made = client.post(JOBS, &job("j")).await.ok(201);
    let uri = format!("{JOBS}/j");
    let first = made.clone();
    made["spec"]["parallelism"] = json!(3);
    client.put(&uri, &made).await.ok(200);
    assert_eq!(
        client.put(&uri, &first).await.refusal(),
        "409 Operation cannot be fulfilled on jobs.batch \"j\": the object has been modified; please apply your changes to the latest version and try again"
    );
    made["metadata"].as_object_mut().unwrap().remove("resourceVersion");
    made["spec"]["parallelism"] = json!(4);
    assert_eq!(client.put(&uri, &made).await.ok(200)["spec"]["parallelism"], 4);
    made["metadata"]["name"] = json!("absent");
    assert_eq!(client.put(&format!("{JOBS}/absent"), &made).await.refusal(), "404 jobs.batch \"absent\" not found");
}

#[tokio::test]
async fn patches_in_every_form_w76_to_w83() {
    let client = Client::new().await;
    client.config_map("a", "x", json!({})).await;
    let uri = format!("{MAPS}/x");
    let merged = client.patch(&uri, "merge-patch+json", &json!({"data": {"m": "1", "k": null}})).await.ok(200);
    assert_eq!(merged["data"], json!({"m": "1"}));
    let strategic = json!({"metadata": {"labels": {"l": "1"}}});
    assert_eq!(
        client.patch(&uri, "strategic-merge-patch+json", &strategic).await.ok(200)["metadata"]["labels"]["l"],
        "1"
    );
    let json_patch = json!([{"op": "replace", "path": "/data/m", "value": "2"}]);
    let patched = client.patch(&uri, "json-patch+json", &json_patch).await.ok(200);
    assert_eq!(patched["data"], json!({"m": "2"}));
    let same = client.patch(&uri, "json-patch+json", &json_patch).await.ok(200);
    assert_eq!(version(&same), version(&patched));
    let other = client.patch(&uri, "foo+json", &json!({})).await;
    assert_eq!(other.refusal(), "415 415: Unsupported Media Type");
    assert!(client.patch(&uri, "merge-patch+json", &json!([])).await.refusal().starts_with("400 error decoding patch"));
    let stale = json!({"metadata": {"resourceVersion": "1"}, "data": {"m": "3"}});
    assert_eq!(client.patch(&uri, "merge-patch+json", &stale).await.code, 409);
    assert_eq!(client.patch(&format!("{MAPS}/y"), "merge-patch+json", &json!({})).await.code, 404);
}

#[tokio::test]
async fn unconditional_patches_never_conflict_with_each_other() {
    let client = std::sync::Arc::new(Client::new().await);
    client.config_map("a", "x", json!({})).await;
    let patches = (0..4).map(|index| {
        let client = std::sync::Arc::clone(&client);
        async move {
            let patch = json!({"data": {format!("k{index}"): "v"}});
            client.patch(&format!("{MAPS}/x"), "merge-patch+json", &patch).await.ok(200)
        }
    });
    futures_util::future::join_all(patches).await;
    let data = client.get(&format!("{MAPS}/x")).await.ok(200)["data"].as_object().unwrap().len();
    assert_eq!(data, 5);
}

#[tokio::test]
async fn applies_on_the_server_w84_w85() {
    let client = Client::new().await;
    let uri = format!("{MAPS}/x?fieldManager=kubectl&force=false");
    let body = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x"}, "data": {"a": "1"}});
    client.patch(&uri, "apply-patch+yaml", &body).await.ok(201);
    let body = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x"}, "data": {"b": "2"}});
    let applied = client.patch(&uri, "apply-patch+yaml", &body).await.ok(200);
    assert_eq!(applied["data"], json!({"a": "1", "b": "2"}));
    assert_eq!(
        client.patch(&format!("{MAPS}/x"), "apply-patch+yaml", &body).await.refusal(),
        "422 PatchOptions.meta.k8s.io \"\" is invalid: fieldManager: Required value: is required for apply patch"
    );
    let forced = client.patch(&format!("{MAPS}/x?force=true"), "merge-patch+json", &json!({})).await;
    assert!(forced.refusal().ends_with("force: Forbidden: may not be specified for non-apply patch"));
}

#[tokio::test]
async fn status_and_spec_are_written_apart_w71() {
    let client = Client::new().await;
    client.post(JOBS, &job("x")).await.ok(201);
    let patch = json!({"spec": {"parallelism": 7}, "status": {"active": 3}});
    let main = client.patch(&format!("{JOBS}/x"), "merge-patch+json", &patch).await.ok(200);
    assert_eq!((&main["spec"]["parallelism"], main["status"].get("active")), (&json!(7), None));
    let patch = json!({"spec": {"parallelism": 9}, "status": {"active": 3}});
    let status = client.patch(&format!("{JOBS}/x/status"), "merge-patch+json", &patch).await.ok(200);
    assert_eq!((&status["spec"]["parallelism"], &status["status"]["active"]), (&json!(7), &json!(3)));
}

#[tokio::test]
async fn deletes_and_says_what_went_w96_to_w108() {
    let client = Client::new().await;
    let made = client.config_map("a", "x", json!({})).await;
    let gone = client.delete(&format!("{MAPS}/x")).await.ok(200);
    assert_eq!((&gone["kind"], &gone["status"]), (&json!("Status"), &json!("Success")));
    assert_eq!(gone["details"], json!({"name": "x", "kind": "configmaps", "uid": made["metadata"]["uid"]}));
    assert_eq!(client.delete(&format!("{MAPS}/x")).await.refusal(), "404 configmaps \"x\" not found");

    // A job without a policy: pods live on, with a warning (W-98).
    client.post(JOBS, &job("j")).await.ok(201);
    let orphaned = client.delete(&format!("{JOBS}/j")).await;
    assert!(orphaned.header("warning").contains("child pods are preserved by default"));
    assert_eq!(orphaned.ok(200)["metadata"]["finalizers"], json!(["orphan"]));

    client.post(JOBS, &job("k")).await.ok(201);
    let gone = client.delete(&format!("{JOBS}/k?propagationPolicy=Background")).await;
    assert_eq!(gone.header("warning"), "");
    assert_eq!(gone.ok(200)["details"]["group"], "batch");

    // J-2006
    client.post(JOBS, &job("o")).await.ok(201);
    let uid = client.get(&format!("{JOBS}/o")).await.ok(200)["metadata"]["uid"].clone();
    let gone = client.delete(&format!("{JOBS}/o?propagationPolicy=Background")).await.ok(200);
    assert_eq!(gone["details"], json!({"name": "o", "group": "batch", "kind": "jobs", "uid": uid}));

    // Any body, even an empty object, hides the query (W-97).
    client.post(JOBS, &job("l")).await.ok(201);
    let kept = client.send("DELETE", &format!("{JOBS}/l?propagationPolicy=Background"), &[], "{}").await.ok(200);
    assert_eq!(kept["kind"], "Job");
    let body =
        json!({"kind": "DeleteOptions", "apiVersion": "batch/v1", "propagationPolicy": "Foreground"}).to_string();
    client.post(JOBS, &job("m")).await.ok(201);
    let foreground = client.send("DELETE", &format!("{JOBS}/m"), &[], body).await.ok(200);
    assert_eq!(foreground["metadata"]["finalizers"], json!(["foregroundDeletion"]));

    // J-2007
    client.post(JOBS, &job("p")).await.ok(201);
    for precondition in [json!({"uid": "bad"}), json!({"resourceVersion": "1"})] {
        let body = json!({"preconditions": precondition, "propagationPolicy": "Background"}).to_string();
        assert_eq!(client.send("DELETE", &format!("{JOBS}/p"), &[], body).await.code, 409);
    }
    client.get(&format!("{JOBS}/p")).await.ok(200);

    client.config_map("a", "p", json!({})).await;
    let body = json!({"preconditions": {"uid": "bad"}}).to_string();
    assert_eq!(client.send("DELETE", &format!("{MAPS}/p"), &[], body).await.code, 409);
    assert_eq!(client.delete(&format!("{MAPS}/p?propagationPolicy=Foo")).await.code, 422);
    assert_eq!(client.delete(&format!("{MAPS}/p?dryRun=Foo")).await.code, 422);
    assert_eq!(client.delete(&format!("{MAPS}/p?gracePeriodSeconds=x")).await.code, 400);
    client.get(&format!("{MAPS}/p")).await.ok(200);
}

#[tokio::test]
async fn an_object_with_finalizers_goes_when_the_last_one_is_taken_off_w104() {
    let client = Client::new().await;
    let body = json!({"metadata": {"name": "x", "finalizers": ["example.com/f"]}});
    client.post(MAPS, &body).await.ok(201);
    let uri = format!("{MAPS}/x");
    let marked = client.delete(&uri).await.ok(200);
    assert!(marked["metadata"]["deletionTimestamp"].is_string());
    assert_eq!(version(&client.delete(&uri).await.ok(200)), version(&marked));
    client.patch(&uri, "merge-patch+json", &json!({"metadata": {"finalizers": null}})).await.ok(200);
    assert_eq!(client.get(&uri).await.code, 404);
}

#[tokio::test]
async fn deletes_a_collection_and_answers_with_what_it_was_w110() {
    let client = Client::new().await;
    for index in 0..40 {
        client.config_map("a", &format!("m{index:02}"), json!({"odd": (index % 2).to_string()})).await;
    }
    let list = client.delete(&format!("{MAPS}?labelSelector=odd%3D1")).await.ok(200);
    assert_eq!((&list["kind"], list["items"].as_array().unwrap().len()), (&json!("ConfigMapList"), 20));
    assert_eq!(list["items"][0]["data"], json!({"k": "v"}));
    let left = client.get(MAPS).await.ok(200);
    assert_eq!(left["items"].as_array().unwrap().len(), 20);
    assert_eq!(client.delete("/api/v1/namespaces").await.code, 405);
}

#[tokio::test]
async fn deletes_of_a_collection_keep_to_the_limit_w110() {
    let client = Client::new().await;
    for name in ["a", "b", "c", "d"] {
        client.config_map("a", name, json!({})).await;
    }
    let page = client.delete(&format!("{MAPS}?limit=1")).await.ok(200);
    assert_eq!((page["items"].as_array().unwrap().len(), &page["items"][0]["metadata"]["name"]), (1, &json!("a")));
    assert_eq!(page["metadata"]["remainingItemCount"], 3);
    let token = page["metadata"]["continue"].as_str().unwrap();
    let next = client.delete(&format!("{MAPS}?limit=2&continue={token}")).await.ok(200);
    assert_eq!(next["items"].as_array().unwrap().len(), 2);
    let left = client.get(MAPS).await.ok(200);
    assert_eq!((left["items"].as_array().unwrap().len(), &left["items"][0]["metadata"]["name"]), (1, &json!("d")));
}

#[tokio::test]
async fn refuses_bad_options_before_it_looks_for_objects_w84_w94_w102() {
    let client = Client::new().await;
    let policy = "422 DeleteOptions.meta.k8s.io \"\" is invalid: propagationPolicy: Unsupported value: \"Foo\": supported values: \"Foreground\", \"Background\", \"Orphan\", \"nil\"";
    for uri in [format!("{MAPS}?propagationPolicy=Foo"), format!("{MAPS}/absent?propagationPolicy=Foo")] {
        assert_eq!(client.delete(&uri).await.refusal(), policy, "{uri}");
    }
    let long = "m".repeat(129);
    let body = json!({"metadata": {"name": "x"}});
    let create = client.post(&format!("{MAPS}?fieldManager={long}"), &body).await;
    assert_eq!(
        create.refusal(),
        "422 CreateOptions.meta.k8s.io \"\" is invalid: fieldManager: Too long: may not be more than 128 bytes"
    );
    let patch = client.patch(&format!("{MAPS}/x?fieldManager=a%0Ab"), "merge-patch+json", &json!({})).await;
    assert_eq!(
        patch.refusal(),
        "422 PatchOptions.meta.k8s.io \"\" is invalid: fieldManager: Invalid value: \"a\\nb\": invalid character U+000A (at position 1)"
    );
    assert_eq!(client.get(MAPS).await.ok(200)["items"], json!([]));
    client.post(&format!("{MAPS}?fieldManager={}", &long[1..]), &body).await.ok(201);
}

#[tokio::test]
async fn namespaces_end_through_finalize_w111() {
    let client = Client::new().await;
    let made = client.post("/api/v1/namespaces", &json!({"metadata": {"name": "n"}})).await.ok(201);
    assert_eq!(made["spec"]["finalizers"], json!(["kubernetes"]));
    let ending = client.delete("/api/v1/namespaces/n").await.ok(200);
    assert_eq!(ending["status"]["phase"], "Terminating");
    let refused = client.post("/api/v1/namespaces/n/configmaps", &json!({"metadata": {"name": "x"}})).await;
    assert_eq!(
        refused.refusal(),
        "403 configmaps \"x\" is forbidden: unable to create new content in namespace n because it is being terminated"
    );
    assert_eq!(refused.json()["details"]["causes"][0]["reason"], "NamespaceTerminating");
    assert_eq!(client.delete("/api/v1/namespaces/default").await.code, 403);
    let mut body = ending;
    body["spec"]["finalizers"] = json!([]);
    client.put("/api/v1/namespaces/n/finalize", &body).await.ok(200);
    assert_eq!(client.get("/api/v1/namespaces/n").await.code, 404);
}

#[tokio::test]
async fn evicts_pods_w170() {
    let client = Client::new().await;
    client.post(PODS, &pod("p")).await.ok(201);
    let wrong = json!({"metadata": {"name": "q"}});
    assert_eq!(
        client.post(&format!("{PODS}/p/eviction"), &wrong).await.refusal(),
        "400 name in URL does not match name in Eviction object"
    );
    // As the Rust client writes it: no type, an unknown field.
    let body = json!({"metadata": {"name": "p"}, "delete_options": null});
    let answer = client.post(&format!("{PODS}/p/eviction"), &body).await;
    assert_eq!(answer.json()["status"], "Success", "{}", answer.text);
    assert_eq!(answer.ok(201)["code"], 201);
    assert_eq!(client.get(&format!("{PODS}/p")).await.code, 404);
    assert_eq!(client.post(&format!("{PODS}/p/eviction"), &body).await.code, 404);
    // One that its finalizer keeps says why it goes (J-2542).
    let mut held = pod("held");
    held["metadata"]["finalizers"] = json!(["example.com/held"]);
    client.post(PODS, &held).await.ok(201);
    client.post(&format!("{PODS}/held/eviction"), &json!({"metadata": {"name": "held"}})).await.ok(201);
    let held = client.get(&format!("{PODS}/held")).await.ok(200);
    assert!(held["metadata"]["deletionTimestamp"].is_string(), "{held}");
    let condition = &held["status"]["conditions"][0];
    assert_eq!(
        (&condition["type"], &condition["status"], &condition["reason"]),
        (&json!("DisruptionTarget"), &json!("True"), &json!("EvictionByEvictionAPI")),
        "{held}"
    );
}

#[tokio::test]
async fn events_stand_in_two_groups_w199() {
    let client = Client::new().await;
    let event = json!({
        "metadata": {"name": "e"}, "reason": "R", "message": "m", "type": "Normal", "source": {"component": "c"},
        "involvedObject": {"kind": "Job", "namespace": "a", "name": "j", "uid": "u"},
        "firstTimestamp": "2026-01-01T00:00:00Z", "lastTimestamp": "2026-01-01T00:00:00Z", "count": 1,
    });
    client.post("/api/v1/namespaces/a/events", &event).await.ok(201);
    let newer = client.get("/apis/events.k8s.io/v1/namespaces/a/events/e").await.ok(200);
    assert_eq!((&newer["apiVersion"], &newer["note"]), (&json!("events.k8s.io/v1"), &json!("m")));
    assert_eq!(newer["regarding"]["name"], "j");
    let list = client.get("/apis/events.k8s.io/v1/events?fieldSelector=regarding.name%3Dj").await.ok(200);
    assert_eq!((&list["kind"], &list["items"][0]["note"]), (&json!("EventList"), &json!("m")));
    let core =
        client.get("/api/v1/events?fieldSelector=involvedObject.uid%3Du,involvedObject.namespace=a").await.ok(200);
    assert_eq!(core["items"][0]["message"], "m");
    assert_eq!(client.get("/api/v1/events?fieldSelector=involvedObject.uid%3Dv").await.ok(200)["items"], json!([]));
}

#[tokio::test]
async fn events_are_kept_from_when_they_were_last_written() {
    let client = Client::new().await;
    let uri = "/api/v1/namespaces/a/events";
    let event = json!({
        "metadata": {"name": "e"}, "involvedObject": {"kind": "Job", "namespace": "a", "name": "j"},
        "lastTimestamp": "2026-01-01T00:00:00Z",
    });
    let due_in = async |after: Duration| {
        let then = client.app.clock.now().wall + after;
        client.app.store.due(Kind::Event, then, 9).await.unwrap().0.len()
    };
    let (ttl, minute) = (client.app.event_ttl, Duration::from_secs(60));
    client.post(uri, &event).await.ok(201);
    assert_eq!((due_in(ttl - minute).await, due_in(ttl + minute).await), (0, 1));
    client.clock.jump(ttl / 2);
    client.patch(&format!("{uri}/e"), "merge-patch+json", &json!({"count": 2})).await.ok(200);
    assert_eq!((due_in(ttl - minute).await, due_in(ttl + minute).await), (0, 1));
}

#[tokio::test]
async fn refuses_bodies_that_are_too_large_w8() {
    let client = Client::new().await;
    let answer = client.send("POST", MAPS, &[], vec![b' '; 3 * 1024 * 1024 + 1]).await;
    assert_eq!(answer.refusal(), "413 Request entity too large: limit is 3145728");
    assert_eq!(answer.json()["reason"], "RequestEntityTooLarge");
    // Without an announced length, too.
    let pieces = futures_util::stream::iter((0..4).map(|_| Ok::<_, std::io::Error>(vec![b' '; 1024 * 1024])));
    let answer = client.send("POST", MAPS, &[], axum::body::Body::from_stream(pieces)).await;
    assert_eq!(answer.code, 413);
}
