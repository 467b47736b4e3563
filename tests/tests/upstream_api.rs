//! The API cases of Kubernetes' own end-to-end suite ([sig-api-machinery], [sig-instrumentation] Events, [sig-auth]
//! ServiceAccounts, [sig-node] ConfigMap and Secrets as objects): the same calls in the same order with the same shapes.

use jobd_tests::{Client, Suite, Watch, eventually, upstream};
use serde_json::{Value, json};

const TABLE: &str = "application/json;as=Table;v=v1;g=meta.k8s.io";
const TABLES: &str =
    "application/json;as=Table;v=v1;g=meta.k8s.io,application/json;as=Table;v=v1beta1;g=meta.k8s.io,application/json";

fn version(object: &Value) -> String {
    object["metadata"]["resourceVersion"].as_str().expect("a resource version").to_owned()
}

fn names(list: &Value) -> Vec<&str> {
    list["items"].as_array().into_iter().flatten().filter_map(|item| item["metadata"]["name"].as_str()).collect()
}

fn config_map(name: &str, label: &str) -> Value {
    json!({"metadata": {"name": name, "labels": {"watch-this-configmap": label}}})
}

fn sleeper(name: &str) -> Value {
    json!({"metadata": {"name": name}, "spec": {"terminationGracePeriodSeconds": 1, "containers": [{
        "name": "main", "image": upstream::BUSYBOX, "command": ["sh", "-c", "trap 'exit 0' TERM; sleep 1000000 & wait"],
    }]}})
}

async fn accept(client: &Client, path: &str, accept: &str) -> jobd_tests::Answer {
    client.request("GET", path, &[("accept", accept)], "").await
}

/// What the suite reads before its first case (W-31…W-41).
#[tokio::test]
async fn the_framework_starts() {
    let suite = Suite::start("framework").await;
    suite.ready_node().await;
    // The address family of the cluster is that of this service.
    let service = suite.client.get("/api/v1/namespaces/default/services/kubernetes").await.expect(200);
    assert_eq!((&service["kind"], &service["spec"]["type"]), (&json!("Service"), &json!("ClusterIP")), "{service}");
    let pods = suite.client.get("/api/v1/namespaces/kube-system/pods").await.expect(200);
    assert_eq!(pods["items"], json!([]));
    let build = suite.client.get("/version").await.expect(200);
    assert_eq!((&build["major"], &build["minor"]), (&json!("1"), &json!("36")));
    assert!(build["gitVersion"].as_str().unwrap().starts_with("v1.36."));
    for path in ["/healthz", "/livez", "/readyz", "/livez?verbose", "/readyz/ping"] {
        assert_eq!(suite.client.get(path).await.status, 200, "{path}");
    }
    suite.client.get("/apis/apps/v1/namespaces/kube-system/daemonsets").await.expect(404);
}

/// Discovery: the preferred version of each group, and each resource in its group version (W-31…W-41).
#[tokio::test]
async fn discovery() {
    let suite = Suite::start("discovery").await;
    let versions = suite.client.get("/api").await.expect(200);
    assert_eq!(versions["versions"], json!(["v1"]));
    let groups = suite.client.get("/apis").await.expect(200);
    for group in groups["groups"].as_array().unwrap() {
        let name = group["name"].as_str().unwrap();
        let one = suite.client.get(&format!("/apis/{name}")).await.expect(200);
        assert_eq!((&one["name"], &one["preferredVersion"]), (&group["name"], &group["preferredVersion"]));
        let versions = one["versions"].as_array().unwrap();
        assert!(versions.contains(&one["preferredVersion"]), "{one}");
        for version in versions {
            let path = format!("/apis/{}", version["groupVersion"].as_str().unwrap());
            let list = suite.client.get(&path).await.expect(200);
            assert_eq!((&list["kind"], &list["groupVersion"]), (&json!("APIResourceList"), &version["groupVersion"]));
            assert!(!list["resources"].as_array().unwrap().is_empty(), "{path}");
        }
    }
    let core = suite.client.get("/api/v1").await.expect(200);
    let listed = |name: &str| core["resources"].as_array().unwrap().iter().any(|resource| resource["name"] == name);
    for name in
        ["namespaces", "namespaces/finalize", "namespaces/status", "pods", "pods/log", "pods/status", "pods/eviction"]
    {
        assert!(listed(name), "{name}");
    }
    suite.client.get("/apis/not-these-resources/v1").await.expect(404);
    suite.client.get("/api/v1/namespaces/default/not-these-resources").await.expect(404);
}

/// Watchers: add, update and delete notifications, by label, each to whom it concerns (W-110…W-126).
#[tokio::test]
async fn watchers_see_what_their_selector_matches() {
    let suite = Suite::start("watch").await;
    let a = "labelSelector=watch-this-configmap%3Dmultiple-watchers-A";
    let b = "labelSelector=watch-this-configmap%3Dmultiple-watchers-B";
    let both = "labelSelector=watch-this-configmap%20in%20(multiple-watchers-A%2Cmultiple-watchers-B)";
    let mut watch_a = suite.watch("configmaps", a).await;
    let mut watch_b = suite.watch("configmaps", b).await;
    let mut watch_both = suite.watch("configmaps", both).await;
    let expect = async |watch: &mut Watch, kind: &str, name: &str, mutation: Option<&str>| {
        let (seen, object) = watch.next().await.expect("an event");
        assert_eq!((seen.as_str(), object["metadata"]["name"].as_str()), (kind, Some(name)), "{object}");
        assert_eq!(object["data"]["mutation"].as_str(), mutation, "{object}");
    };
    suite.create("configmaps", &config_map("a", "multiple-watchers-A")).await.expect(201);
    expect(&mut watch_a, "ADDED", "a", None).await;
    expect(&mut watch_both, "ADDED", "a", None).await;
    for mutation in ["1", "2"] {
        suite.change("configmaps/a", |map| map["data"] = json!({"mutation": mutation})).await;
        expect(&mut watch_a, "MODIFIED", "a", Some(mutation)).await;
        expect(&mut watch_both, "MODIFIED", "a", Some(mutation)).await;
    }
    suite.delete("configmaps/a", &json!({})).await.expect(200);
    expect(&mut watch_a, "DELETED", "a", Some("2")).await;
    expect(&mut watch_both, "DELETED", "a", Some("2")).await;
    suite.create("configmaps", &config_map("b", "multiple-watchers-B")).await.expect(201);
    suite.delete("configmaps/b", &json!({})).await.expect(200);
    for watch in [&mut watch_b, &mut watch_both] {
        expect(watch, "ADDED", "b", None).await;
        expect(watch, "DELETED", "b", None).await;
    }
}

/// Watchers: from a version, again from the last version seen, and when an object stops and starts matching (W-111, W-126).
#[tokio::test]
async fn watchers_start_and_restart_anywhere() {
    let suite = Suite::start("watch").await;
    let selector = "labelSelector=watch-this-configmap%3Dfrom";
    suite.create("configmaps", &config_map("m", "from")).await.expect(201);
    let first = suite.change("configmaps/m", |map| map["data"] = json!({"mutation": "1"})).await;
    suite.change("configmaps/m", |map| map["data"] = json!({"mutation": "2"})).await;
    suite.delete("configmaps/m", &json!({})).await.expect(200);
    let mut watch = suite.watch("configmaps", &format!("{selector}&resourceVersion={}", version(&first))).await;
    let (kind, second) = watch.next().await.unwrap();
    assert_eq!((kind.as_str(), &second["data"]["mutation"]), ("MODIFIED", &json!("2")));
    drop(watch);
    let mut watch = suite.watch("configmaps", &format!("{selector}&resourceVersion={}", version(&second))).await;
    assert_eq!(watch.next().await.unwrap().0, "DELETED");

    suite.create("configmaps", &config_map("m", "from")).await.expect(201);
    assert_eq!(watch.next().await.unwrap().0, "ADDED");
    suite.change("configmaps/m", |map| map["metadata"]["labels"]["watch-this-configmap"] = json!("wrong-value")).await;
    let (kind, gone) = watch.next().await.unwrap();
    assert_eq!((kind.as_str(), &gone["metadata"]["labels"]["watch-this-configmap"]), ("DELETED", &json!("from")));
    suite.change("configmaps/m", |map| map["data"] = json!({"mutation": "3"})).await;
    suite.change("configmaps/m", |map| map["metadata"]["labels"]["watch-this-configmap"] = json!("from")).await;
    let (kind, back) = watch.next().await.unwrap();
    assert_eq!((kind.as_str(), &back["data"]["mutation"]), ("ADDED", &json!("3")));
}

/// Watchers should receive events on concurrent watches in same order (I-7).
#[tokio::test]
async fn concurrent_watchers_see_one_order() {
    let suite = Suite::start("watch").await;
    let start = version(&suite.get("configmaps").await.expect(200));
    let writers = (0..4).map(async |writer| {
        for round in 0..10 {
            let name = format!("cm-{writer}");
            match round % 3 {
                0 => drop(suite.create("configmaps", &config_map(&name, "order")).await),
                1 => drop(
                    suite.merge(&format!("configmaps/{name}"), &json!({"data": {"round": round.to_string()}})).await,
                ),
                _ => drop(suite.delete(&format!("configmaps/{name}"), &json!({})).await),
            }
        }
    });
    futures_util::future::join_all(writers).await;
    let end = version(&suite.create("configmaps", &config_map("end", "order")).await.expect(201));
    let mut orders = Vec::new();
    let mut from = start;
    for _ in 0..4 {
        let mut watch = suite.watch("configmaps", &format!("resourceVersion={from}")).await;
        let mut order: Vec<u64> = Vec::new();
        let mut second = None;
        loop {
            let (_, object) = watch.next().await.unwrap();
            second.get_or_insert_with(|| version(&object));
            order.push(version(&object).parse().unwrap());
            if version(&object) == end {
                break;
            }
        }
        assert!(order.is_sorted_by(|a, b| a < b), "{order:?}");
        from = second.unwrap();
        orders.push(order);
    }
    for pair in orders.windows(2) {
        assert_eq!(pair[0][1..], pair[1][..]);
    }
}

/// Table transformation: details of pods, nodes by metadata, chunks, 406 for what cannot be made (W-147…W-149, W-143).
#[tokio::test]
async fn tables() {
    let suite = Suite::start("tables").await;
    suite.create("pods", &sleeper("pod-1")).await.expect(201);
    let table = accept(&suite.client, &suite.path("pods/pod-1"), TABLE).await.expect(200);
    assert_eq!((&table["kind"], &table["apiVersion"]), (&json!("Table"), &json!("meta.k8s.io/v1")));
    assert!(table["columnDefinitions"].as_array().unwrap().len() > 2, "{table}");
    assert_eq!(table["columnDefinitions"][0]["name"], "Name");
    assert_eq!(table["rows"].as_array().unwrap().len(), 1);
    let row = &table["rows"][0];
    assert_eq!(row["cells"].as_array().unwrap().len(), table["columnDefinitions"].as_array().unwrap().len());
    assert_eq!((&row["cells"][0], &row["object"]["kind"]), (&json!("pod-1"), &json!("PartialObjectMetadata")));
    for number in 0..20 {
        let map = json!({"metadata": {"name": format!("template-{number:04}")}});
        suite.create("configmaps", &map).await.expect(201);
    }
    let path = suite.path("configmaps");
    let page = accept(&suite.client, &format!("{path}?limit=10"), TABLE).await.expect(200);
    assert_eq!(page["rows"].as_array().unwrap().len(), 10);
    assert_eq!(page["metadata"]["remainingItemCount"], 11, "{}", page["metadata"]);
    let token = page["metadata"]["continue"].as_str().unwrap();
    let rest = accept(&suite.client, &format!("{path}?continue={token}"), TABLE).await.expect(200);
    assert_eq!(rest["rows"].as_array().unwrap().len(), 11);
    assert_eq!(version(&rest), version(&page));
    assert!(rest["metadata"].get("continue").is_none_or(|token| token == ""));
    let nodes = accept(&suite.client, "/api/v1/nodes", TABLES).await.expect(200);
    assert!(nodes["columnDefinitions"].as_array().unwrap().len() >= 2);
    assert_eq!(nodes["rows"][0]["cells"][0], nodes["rows"][0]["object"]["metadata"]["name"]);
    let metadata =
        accept(&suite.client, "/api/v1/nodes", "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io")
            .await;
    let metadata = metadata.expect(200);
    assert_eq!(metadata["kind"], "PartialObjectMetadataList");
    assert!(metadata["items"][0].get("spec").is_none() && metadata["items"][0]["metadata"]["uid"].is_string());
    let reviews = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
    let review = json!({"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview",
        "spec": {"resourceAttributes": {"namespace": "default", "verb": "list", "resource": "pods"}}});
    let headers = [("content-type", "application/json"), ("accept", TABLE)];
    let refused = suite.client.request("POST", reviews, &headers, review.to_string()).await;
    assert_eq!(refused.expect(406)["reason"], "NotAcceptable");
}

/// Chunking: all pages of one version, whatever happens meanwhile; the count that remains; a bad token (W-117…W-121).
#[tokio::test]
async fn chunks_of_a_list() {
    let suite = Suite::start("chunking").await;
    for number in 0..40 {
        let map = json!({"metadata": {"name": format!("template-{number:04}"), "labels": {"chunk": "x"}}});
        suite.create("configmaps", &map).await.expect(201);
    }
    let path = suite.path("configmaps");
    let query = "fieldSelector=metadata.name!%3Dkube-root-ca.crt";
    for size in [17, 40, 57] {
        let (mut seen, mut token, mut first) = (Vec::new(), String::new(), None);
        loop {
            let list = suite.client.get(&format!("{path}?{query}&limit={size}&continue={token}")).await.expect(200);
            assert_eq!(*first.get_or_insert_with(|| version(&list)), version(&list));
            assert!(names(&list).len() <= size);
            seen.extend(names(&list).iter().map(ToString::to_string));
            token = list["metadata"]["continue"].as_str().unwrap_or_default().to_owned();
            // Written between the pages: it belongs to a later version.
            suite.merge("configmaps/template-0000", &json!({"data": {"n": seen.len().to_string()}})).await;
            if token.is_empty() {
                break;
            }
        }
        assert_eq!(seen, (0..40).map(|number| format!("template-{number:04}")).collect::<Vec<_>>());
    }
    let page = suite.client.get(&format!("{path}?limit=5")).await.expect(200);
    assert_eq!(page["metadata"]["remainingItemCount"], 36);
    let selected = suite.client.get(&format!("{path}?limit=5&labelSelector=chunk%3Dx")).await.expect(200);
    assert!(selected["metadata"].get("remainingItemCount").is_none(), "{}", selected["metadata"]);
    suite.client.get(&format!("{path}?limit=5&continue=garbage")).await.expect(400);
}

/// Resource version semantics: exact, not older, most recent, and ones that are not (W-111…W-116); the initial list in a watch.
#[tokio::test]
async fn versions_in_lists_and_watches() {
    let suite = Suite::start("versions").await;
    let first = suite.create("configmaps", &config_map("first", "v")).await.expect(201);
    let at = version(&first);
    suite.create("configmaps", &config_map("second", "v")).await.expect(201);
    let path = suite.path("configmaps");
    let query = "labelSelector=watch-this-configmap%3Dv";
    let list = async |rest: String| suite.client.get(&format!("{path}?{query}&{rest}")).await;
    let exact = list(format!("resourceVersion={at}&resourceVersionMatch=Exact")).await.expect(200);
    assert_eq!((names(&exact), version(&exact)), (vec!["first"], at.clone()));
    let newer = list(format!("resourceVersion={at}&resourceVersionMatch=NotOlderThan")).await.expect(200);
    assert_eq!(names(&newer), ["first", "second"]);
    assert_eq!(names(&list("resourceVersion=0".to_owned()).await.expect(200)), ["first", "second"]);
    assert_eq!(names(&list(format!("resourceVersion={at}&limit=1")).await.expect(200)), ["first"]);
    for (bad, status) in [
        ("resourceVersionMatch=Exact".to_owned(), 422),
        ("resourceVersion=0&resourceVersionMatch=Exact".to_owned(), 422),
        (format!("resourceVersion={at}&resourceVersionMatch=Bogus"), 422),
        ("resourceVersion=abc".to_owned(), 400),
    ] {
        let answer = list(bad.clone()).await;
        assert!(answer.status == status || answer.status == 400, "{bad}: {} {}", answer.status, answer.text());
    }
    let future = list("resourceVersion=999999999&timeoutSeconds=1".to_owned()).await;
    assert_eq!(future.status, 504, "{}", future.text());
    let initial = "sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true&resourceVersion=";
    let mut watch = suite.watch("configmaps", &format!("{query}&{initial}")).await;
    for name in ["first", "second"] {
        let (kind, object) = watch.next().await.unwrap();
        assert_eq!((kind.as_str(), object["metadata"]["name"].as_str()), ("ADDED", Some(name)));
    }
    let (kind, mark) = watch.next().await.unwrap();
    assert_eq!(kind, "BOOKMARK");
    assert_eq!(mark["metadata"]["annotations"]["k8s.io/initial-events-end"], "true", "{mark}");
    suite.delete("configmaps/first", &json!({})).await.expect(200);
    let (kind, deleted) = watch.next().await.unwrap();
    assert_eq!(kind, "DELETED");
    assert!(version(&deleted).parse::<u64>().unwrap() > version(&mark).parse().unwrap());
}

/// Field validation: unknown and duplicate fields in creates and patches, strict, warned about and ignored (W-29…W-33).
#[tokio::test]
async fn field_validation() {
    let suite = Suite::start("field-validation").await;
    let path = suite.path("jobs");
    let mut job = suite.job("succeed", "with-extras", "Never", 1, 1);
    job["spec"]["suspend"] = json!(true);
    job["spec"]["unknownField"] = json!("x");
    let body = job.to_string().replacen("\"parallelism\":1", "\"parallelism\":1,\"parallelism\":1", 1);
    let post = async |validation: &str| {
        let headers = [("content-type", "application/json")];
        suite.client.request("POST", &format!("{path}?fieldValidation={validation}"), &headers, body.clone()).await
    };
    let strict = post("Strict").await.expect(400);
    let message = strict["message"].as_str().unwrap();
    for text in ["strict decoding error", "unknown field \"spec.unknownField\"", "duplicate field \"spec.parallelism\""]
    {
        assert!(message.contains(text), "{message}");
    }
    let warned = post("Warn").await;
    let mut warnings = warned.warnings();
    warnings.sort();
    assert_eq!(warnings, ["duplicate field \"spec.parallelism\"", "unknown field \"spec.unknownField\""]);
    assert!(warned.expect(201)["spec"].get("unknownField").is_none());
    suite.delete("jobs/with-extras", &json!({"propagationPolicy": "Background"})).await.expect(200);
    suite.wait_gone("jobs/with-extras").await;
    let ignored = post("Ignore").await;
    assert_eq!(ignored.warnings(), Vec::<String>::new());
    ignored.expect(201);
    let bad = post("Bogus").await.expect(422);
    assert!(bad["message"].as_str().unwrap().contains("Unsupported value: \"Bogus\""), "{bad}");
    for content_type in ["application/merge-patch+json", "application/strategic-merge-patch+json"] {
        let patch = r#"{"spec":{"unknownField":"x","backoffLimit":3,"backoffLimit":4}}"#;
        let send = async |validation: &str| {
            let path = format!("{path}/with-extras?fieldValidation={validation}");
            suite.client.request("PATCH", &path, &[("content-type", content_type)], patch).await
        };
        let strict = send("Strict").await.expect(422);
        assert!(strict["message"].as_str().unwrap().contains("strict decoding error"), "{content_type}: {strict}");
        let warned = send("Warn").await;
        assert_eq!(warned.warnings().len(), 2, "{content_type}: {:?}", warned.warnings());
        assert_eq!(warned.expect(200)["spec"]["backoffLimit"], 4);
        send("Ignore").await.expect(200);
    }
    let yaml = "apiVersion: batch/v1\nkind: Job\nmetadata:\n  name: yaml\n  bogus: 1\nspec:\n  suspend: true\n  template:\n    spec:\n      restartPolicy: Never\n      containers:\n      - name: c\n        image: i\n        image: j\n";
    let headers = [("content-type", "application/yaml")];
    let strict = suite.client.request("POST", &format!("{path}?fieldValidation=Strict"), &headers, yaml).await;
    let message = strict.expect(400)["message"].as_str().unwrap().to_owned();
    assert!(message.contains("metadata.bogus") && message.contains("image"), "{message}");
}

/// Generated names: many in one namespace, none twice; a name that is taken, and too long a prefix (W-56…W-59).
#[tokio::test]
async fn generated_names() {
    let suite = Suite::start("generated").await;
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..20 {
        let made = suite.create("configmaps", &json!({"metadata": {"generateName": "generated-"}})).await.expect(201);
        assert_eq!(made["metadata"]["generateName"], "generated-");
        assert!(seen.insert(made["metadata"]["name"].as_str().unwrap().to_owned()));
    }
    let long = "x".repeat(200);
    let made = suite.create("configmaps", &json!({"metadata": {"generateName": long}})).await;
    let made = made.expect(201);
    assert_eq!(made["metadata"]["name"].as_str().unwrap().len(), 63, "{made}");
}

/// Namespaces: patched, updated, given a status condition and a finalizer; removed with everything in them (W-180…W-189).
#[tokio::test]
async fn namespaces() {
    let suite = Suite::start("namespaces").await;
    let namespace = upstream::namespace(&suite.client, "nspatchtest").await;
    let path = format!("/api/v1/namespaces/{namespace}");
    let headers = [("content-type", "application/strategic-merge-patch+json")];
    let patch = json!({"metadata": {"labels": {"testLabel": "testValue"}}}).to_string();
    suite.client.request("PATCH", &path, &headers, patch).await.expect(200);
    assert_eq!(suite.client.get(&path).await.expect(200)["metadata"]["labels"]["testLabel"], "testValue");

    let condition =
        json!({"type": "StatusPatch", "status": "True", "reason": "E2E", "message": "Patched by an e2e test"});
    let patched = suite.client.merge(&format!("{path}/status"), &json!({"status": {"conditions": [condition]}})).await;
    assert_eq!(patched.expect(200)["status"]["conditions"][0]["type"], "StatusPatch");
    let mut object = suite.client.get(&path).await.expect(200);
    let update =
        json!({"type": "StatusUpdate", "status": "True", "reason": "E2E", "message": "Updated by an e2e test"});
    object["status"]["conditions"].as_array_mut().unwrap().push(update);
    let updated =
        upstream::send(&suite.client, "PUT", &format!("{path}/status"), "namespaces", &object).await.expect(200);
    assert_eq!(updated["status"]["conditions"].as_array().map(Vec::len), Some(2), "{updated}");

    // The finalizer stands in the spec and is given through its own subresource.
    object = suite.client.get(&path).await.expect(200);
    object["spec"]["finalizers"] = json!(["kubernetes", "e2e.example.com/fakeFinalizer"]);
    let finalize = format!("{path}/finalize");
    let finalized = upstream::send(&suite.client, "PUT", &finalize, "namespaces", &object).await.expect(200);
    assert_eq!(finalized["spec"]["finalizers"], json!(["kubernetes", "e2e.example.com/fakeFinalizer"]));

    let mut pod = sleeper("test-pod");
    pod["metadata"]["namespace"] = json!(namespace);
    upstream::send(&suite.client, "POST", &format!("{path}/pods"), "pods", &pod).await.expect(201);
    suite.client.wait(&format!("{path}/pods/test-pod"), "running", |pod| pod["status"]["phase"] == "Running").await;
    let deleted = suite.client.delete(&path, &json!({})).await.expect(200);
    assert_eq!(
        (&deleted["kind"], &deleted["status"]["phase"]),
        (&json!("Namespace"), &json!("Terminating")),
        "{deleted}"
    );
    let refused =
        suite.client.post(&format!("{path}/configmaps"), &json!({"metadata": {"name": "late"}})).await.expect(403);
    assert!(refused["message"].as_str().unwrap().contains("because it is being terminated"), "{refused}");
    suite.client.wait_gone(&format!("{path}/pods/test-pod")).await;
    let waiting = suite
        .client
        .wait(&path, "emptied", |namespace| namespace["spec"]["finalizers"] == json!(["e2e.example.com/fakeFinalizer"]))
        .await;
    assert_eq!(waiting["status"]["phase"], "Terminating");
    let mut object = waiting;
    object["spec"]["finalizers"] = json!([]);
    upstream::send(&suite.client, "PUT", &finalize, "namespaces", &object).await.expect(200);
    suite.client.wait_gone(&path).await;
}

/// Namespaces should be deleted fast enough, many side by side, each with its own pods and names (W-186).
#[tokio::test]
async fn many_namespaces_side_by_side() {
    let suite = Suite::start("nslifetest").await;
    let mut made = Vec::new();
    for number in 0..8 {
        let namespace = upstream::namespace(&suite.client, &format!("nslifetest-{number}")).await;
        let pods = format!("/api/v1/namespaces/{namespace}/pods");
        upstream::send(&suite.client, "POST", &pods, "pods", &sleeper("same-name")).await.expect(201);
        made.push(namespace);
    }
    let all = suite.client.get("/api/v1/pods?fieldSelector=metadata.name%3Dsame-name").await.expect(200);
    assert_eq!(names(&all).len(), 8);
    for namespace in &made {
        suite.client.delete(&format!("/api/v1/namespaces/{namespace}"), &json!({})).await.expect(200);
    }
    for namespace in &made {
        suite.client.wait_gone(&format!("/api/v1/namespaces/{namespace}")).await;
    }
    let all = suite.client.get("/api/v1/pods").await.expect(200);
    assert_eq!(names(&all), Vec::<&str>::new());
}

/// Events in both groups: created, listed everywhere, patched, updated, watched, deleted as a collection (W-195…W-197).
#[tokio::test]
async fn events() {
    let suite = Suite::start("events").await;
    let core = suite.path("events");
    let event = json!({
        "metadata": {"name": "event-test", "labels": {"testevent-constant": "true"}}, "message": "This is a test event",
        "reason": "Test", "type": "Normal", "count": 1,
        "involvedObject": {"namespace": suite.namespace}, "source": {"component": "event-test"},
    });
    suite.create("events", &event).await.expect(201);
    let selector = "labelSelector=testevent-constant%3Dtrue";
    let list = suite.client.get(&format!("/api/v1/events?{selector}")).await.expect(200);
    assert_eq!(names(&list), ["event-test"]);
    let patched = suite.strategic("events/event-test", &json!({"message": "This is a test event - patched"})).await;
    assert_eq!(patched.expect(200)["message"], "This is a test event - patched");
    suite
        .change("events/event-test", |event| {
            event["series"] = json!({"count": 100, "lastObservedTime": "2026-01-01T00:00:00.000000Z"})
        })
        .await;
    suite.client.delete(&format!("{core}/event-test"), &json!({})).await.expect(200);
    suite.client.get(&format!("{core}/event-test")).await.expect(404);

    let modern = format!("/apis/events.k8s.io/v1/namespaces/{}/events", suite.namespace);
    let event = |name: &str| {
        json!({
            "apiVersion": "events.k8s.io/v1", "kind": "Event", "metadata": {"name": name, "labels": {"testevent-constant": "true"}},
            "eventTime": "2026-05-05T05:05:05.000005Z", "reportingController": "test-controller", "reportingInstance": "test-node",
            "action": "Do", "reason": "Test", "type": "Normal", "note": "Event 1",
            "regarding": {"namespace": suite.namespace},
        })
    };
    for name in ["test-event-1", "test-event-2", "test-event-3"] {
        suite.client.post(&modern, &event(name)).await.expect(201);
    }
    let list = suite.client.get(&format!("{modern}?{selector}")).await.expect(200);
    assert_eq!(names(&list).len(), 3);
    assert_eq!(list["items"][0]["note"], "Event 1", "{list}");
    let read = suite.client.get(&format!("{modern}/test-event-1")).await.expect(200);
    assert_eq!(
        (&read["eventTime"], &read["apiVersion"]),
        (&json!("2026-05-05T05:05:05.000005Z"), &json!("events.k8s.io/v1"))
    );
    let by_core = suite.client.get(&format!("{core}/test-event-1")).await.expect(200);
    assert_eq!(by_core["message"], "Event 1");
    let patch = json!({"series": {"count": 2, "lastObservedTime": "2026-05-05T05:05:05.000005Z"}});
    let patched = suite.client.merge(&format!("{modern}/test-event-1"), &patch).await.expect(200);
    assert_eq!(patched["series"]["count"], 2, "{patched}");
    suite.client.delete(&format!("{modern}?{selector}"), &json!({})).await.expect(200);
    eventually("the events to be gone", async || {
        let list = suite.client.get(&format!("{modern}?{selector}")).await.expect(200);
        if names(&list).is_empty() { Ok(()) } else { Err(list.to_string()) }
    })
    .await;
}

/// ConfigMaps and Secrets as objects: lifecycles, immutability, keys that are none (W-191…W-194).
#[tokio::test]
async fn config_maps_and_secrets() {
    let suite = Suite::start("configmap").await;
    let refused = suite.create("configmaps", &json!({"metadata": {"name": "empty-key"}, "data": {"": "value"}})).await;
    assert!(refused.expect(422)["message"].as_str().unwrap().contains("data[]"));
    let refused = suite.create("secrets", &json!({"metadata": {"name": "empty-key"}, "data": {"": "dmFsdWU="}})).await;
    refused.expect(422);
    let selector = "labelSelector=test-configmap-static%3Dtrue";
    let map = json!({"metadata": {"name": "test-configmap", "labels": {"test-configmap-static": "true"}}, "data": {"valueName": "value"}});
    let mut watch = suite.watch("configmaps", selector).await;
    suite.create("configmaps", &map).await.expect(201);
    assert_eq!(watch.next().await.unwrap().0, "ADDED");
    suite
        .strategic(
            "configmaps/test-configmap",
            &json!({"metadata": {"labels": {"test-configmap": "patched"}}, "data": {"valueName": "value1"}}),
        )
        .await
        .expect(200);
    let (kind, seen) = watch.next().await.unwrap();
    assert_eq!((kind.as_str(), &seen["data"]["valueName"]), ("MODIFIED", &json!("value1")));
    assert_eq!(
        names(&suite.client.get(&format!("/api/v1/configmaps?{selector}")).await.expect(200)),
        ["test-configmap"]
    );
    suite.delete(&format!("configmaps?{selector}"), &json!({})).await.expect(200);
    assert_eq!(watch.next().await.unwrap().0, "DELETED");

    for resource in ["configmaps", "secrets"] {
        let path = format!("{resource}/immutable");
        suite.create(resource, &json!({"metadata": {"name": "immutable"}, "data": {"a": "YQ=="}})).await.expect(201);
        suite.change(&path, |object| object["data"]["a"] = json!("Yg==")).await;
        suite.change(&path, |object| object["immutable"] = json!(true)).await;
        let mut object = suite.get(&path).await.expect(200);
        object["data"]["a"] = json!("Yw==");
        let refused = suite.update(&path, &object).await.expect(422);
        assert!(
            refused["message"].as_str().unwrap().contains("field is immutable when `immutable` is set"),
            "{refused}"
        );
        object = suite.get(&path).await.expect(200);
        object["immutable"] = json!(false);
        suite.update(&path, &object).await.expect(422);
        suite.change(&path, |object| object["metadata"]["labels"] = json!({"ok": "yes"})).await;
        suite.delete(&path, &json!({})).await.expect(200);
    }
    let patch = json!({"metadata": {"labels": {"testsecret": "true"}}, "data": {"key": "dmFsdWUx"}});
    suite
        .create(
            "secrets",
            &json!({"metadata": {"name": "test-secret"}, "stringData": {"key": "value"}, "type": "Opaque"}),
        )
        .await
        .expect(201);
    assert_eq!(suite.strategic("secrets/test-secret", &patch).await.expect(200)["data"]["key"], "dmFsdWUx");
}

/// Service accounts: lifecycle, automount switch; the default one comes back (W-187).
#[tokio::test]
async fn service_accounts() {
    let suite = Suite::start("svcaccounts").await;
    let selector = "labelSelector=test-serviceaccount-static%3Dtrue";
    let mut watch = suite.watch("serviceaccounts", selector).await;
    let account = json!({"metadata": {"name": "testserviceaccount", "labels": {"test-serviceaccount-static": "true"}}});
    suite.create("serviceaccounts", &account).await.expect(201);
    assert_eq!(watch.next().await.unwrap().0, "ADDED");
    let patch =
        json!({"metadata": {"labels": {"test-serviceaccount": "patched"}}, "automountServiceAccountToken": false});
    suite.strategic("serviceaccounts/testserviceaccount", &patch).await.expect(200);
    let (kind, seen) = watch.next().await.unwrap();
    assert_eq!((kind.as_str(), &seen["automountServiceAccountToken"]), ("MODIFIED", &json!(false)));
    let all = suite.client.get(&format!("/api/v1/serviceaccounts?{selector}")).await.expect(200);
    assert_eq!(names(&all), ["testserviceaccount"]);
    suite.delete(&format!("serviceaccounts?{selector}"), &json!({})).await.expect(200);
    assert_eq!(watch.next().await.unwrap().0, "DELETED");
    for (resource, name) in [("serviceaccounts", "default"), ("configmaps", "kube-root-ca.crt")] {
        let path = format!("{resource}/{name}");
        let old = suite.get(&path).await.expect(200);
        suite.delete(&path, &json!({})).await.expect(200);
        suite.wait(&path, "made again", |new| new["metadata"]["uid"] != old["metadata"]["uid"]).await;
    }
    let root = suite.get("configmaps/kube-root-ca.crt").await.expect(200);
    let right = root["data"]["ca.crt"].clone();
    suite.merge("configmaps/kube-root-ca.crt", &json!({"data": {"ca.crt": ""}})).await.expect(200);
    suite.wait("configmaps/kube-root-ca.crt", "put right", |map| map["data"]["ca.crt"] == right).await;
}

/// Garbage collector: a circle of owners does not block; background, foreground and orphan (W-98…W-103).
#[tokio::test]
async fn garbage() {
    let suite = Suite::start("gc").await;
    let mut made = Vec::new();
    for number in 1..=3 {
        made.push(suite.create("pods", &sleeper(&format!("pod{number}"))).await.expect(201));
    }
    for (number, owner) in [(0, 2), (1, 0), (2, 1)] {
        let owner: &Value = &made[owner];
        let reference = json!({"apiVersion": "v1", "kind": "Pod", "name": owner["metadata"]["name"], "uid": owner["metadata"]["uid"],
            "controller": true, "blockOwnerDeletion": true});
        let patch = json!({"metadata": {"ownerReferences": [reference]}});
        suite.strategic(&format!("pods/pod{}", number + 1), &patch).await.expect(200);
    }
    let options = json!({"propagationPolicy": "Foreground"});
    suite.delete("pods/pod1", &options).await.expect(200);
    for number in 1..=3 {
        suite.wait_gone(&format!("pods/pod{number}")).await;
    }
    for (policy, kept) in [("Background", false), ("Foreground", false), ("Orphan", true)] {
        let owner = format!("owner-{}", policy.to_lowercase());
        let owner_made = suite.create("configmaps", &config_map(&owner, "gc")).await.expect(201);
        let child = json!({"metadata": {"name": format!("child-of-{owner}"), "ownerReferences": [{"apiVersion": "v1",
            "kind": "ConfigMap", "name": owner, "uid": owner_made["metadata"]["uid"], "blockOwnerDeletion": true}]}});
        suite.create("configmaps", &child).await.expect(201);
        let options = json!({"propagationPolicy": policy, "preconditions": {"uid": owner_made["metadata"]["uid"]}});
        suite.delete(&format!("configmaps/{owner}"), &options).await.expect(200);
        suite.wait_gone(&format!("configmaps/{owner}")).await;
        let child = format!("configmaps/child-of-{owner}");
        if kept {
            suite.wait(&child, "orphaned", |map| map["metadata"].get("ownerReferences").is_none()).await;
        } else {
            suite.wait_gone(&child).await;
        }
    }
    // A wrong uid is a conflict; an object whose only owner never was goes.
    suite.create("configmaps", &config_map("keep", "gc")).await.expect(201);
    suite.delete("configmaps/keep", &json!({"preconditions": {"uid": "not-its-uid"}})).await.expect(409);
    let lost = json!({"metadata": {"name": "lost", "ownerReferences": [
        {"apiVersion": "v1", "kind": "ConfigMap", "name": "never", "uid": "11111111-2222-3333-4444-555555555555"}]}});
    suite.create("configmaps", &lost).await.expect(201);
    suite.wait_gone("configmaps/lost").await;
}

/// Conflicts, preconditions and no-ops as typed clients rely on them (W-62…W-70).
#[tokio::test]
async fn conflicts() {
    let suite = Suite::start("conflicts").await;
    suite.create("configmaps", &config_map("m", "c")).await.expect(201);
    let old = suite.get("configmaps/m").await.expect(200);
    suite.change("configmaps/m", |map| map["data"] = json!({"a": "1"})).await;
    let conflict = suite.update("configmaps/m", &old).await.expect(409);
    assert_eq!(conflict["reason"], "Conflict");
    assert!(conflict["message"].as_str().unwrap().contains("the object has been modified"), "{conflict}");
    let mut free = old.clone();
    free["metadata"].as_object_mut().unwrap().remove("resourceVersion");
    suite.update("configmaps/m", &free).await.expect(200);
    let same = suite.get("configmaps/m").await.expect(200);
    let again = suite.update("configmaps/m", &same).await.expect(200);
    assert_eq!(version(&same), version(&again), "nothing changed");
    let mut other = same.clone();
    other["metadata"]["uid"] = json!("11111111-2222-3333-4444-555555555555");
    suite.update("configmaps/m", &other).await.expect(409);
    suite.update("configmaps/not-there", &json!({"metadata": {"name": "not-there"}})).await.expect(404);
}
