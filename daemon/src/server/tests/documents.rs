//! Discovery, version, health and OpenAPI as clients ask for them.

use serde_json::json;

use super::support::*;

#[tokio::test]
async fn discovery_comes_in_both_forms_w33_to_w37() {
    let client = Client::new().await;
    for uri in ["/api", "/api/"] {
        let versions = client.get(uri).await.ok(200);
        assert_eq!((&versions["kind"], &versions["versions"]), (&json!("APIVersions"), &json!(["v1"])));
        assert!(versions["serverAddressByClientCIDRs"].is_array());
    }
    assert_eq!(client.get("/apis/").await.ok(200)["kind"], "APIGroupList");
    assert_eq!(client.get("/apis/batch").await.ok(200)["kind"], "APIGroup");
    assert_eq!(client.get("/apis/batch/v1/").await.ok(200)["groupVersion"], "batch/v1");
    assert_eq!(client.get("/api/v1").await.ok(200)["groupVersion"], "v1");

    for version in ["v2", "v2beta1"] {
        let accept =
            format!("application/json;g=apidiscovery.k8s.io;v={version};as=APIGroupDiscoveryList,application/json");
        let answer = client.get_as("/apis", &accept).await;
        assert_eq!(
            answer.header("content-type"),
            format!("application/json;g=apidiscovery.k8s.io;v={version};as=APIGroupDiscoveryList")
        );
        assert_eq!(answer.json()["apiVersion"], format!("apidiscovery.k8s.io/{version}"));
        let tag = answer.header("etag").to_owned();
        let again = client.send("GET", "/apis", &[("accept", &accept), ("if-none-match", &tag)], "").await;
        assert_eq!((again.code, again.text.as_str()), (304, ""));
    }
}

#[tokio::test]
async fn a_timeout_that_is_no_duration_is_refused_and_limits_nothing_w32() {
    let client = Client::new().await;
    for timeout in ["32s", "0s", "3m", ""] {
        assert_eq!(client.get(&format!("/version?timeout={timeout}")).await.code, 200, "{timeout}");
    }
    let refused = "400 invalid timeout specified in the request URL - time: invalid duration \"invalid\"";
    for uri in ["/version", "/api/v1/namespaces", "/api/v1/namespaces/nope"] {
        assert_eq!(client.get(&format!("{uri}?timeout=invalid")).await.refusal(), refused, "{uri}");
    }
}

#[tokio::test]
async fn every_listed_group_version_has_its_documents_w41_w48() {
    let client = Client::new().await;
    let groups = client.get("/apis").await.ok(200);
    for group in groups["groups"].as_array().unwrap() {
        for version in group["versions"].as_array().unwrap() {
            client.get(&format!("/apis/{}", version["groupVersion"].as_str().unwrap())).await.ok(200);
        }
    }
    let index = client.get("/openapi/v3").await;
    let tag = index.header("etag").to_owned();
    assert_eq!(client.send("GET", "/openapi/v3", &[("if-none-match", &tag)], "").await.code, 304);
    let index = index.ok(200);
    let paths = index["paths"].as_object().unwrap();
    for needed in ["api/v1", "apis/batch/v1", "apis/events.k8s.io/v1"] {
        let uri = paths[needed]["serverRelativeURL"].as_str().unwrap();
        let document = client.get(uri).await;
        assert_eq!(document.header("cache-control"), "public, immutable");
        assert!(document.ok(200)["openapi"].as_str().unwrap().starts_with("3."));
        let moved = client.get(&format!("/openapi/v3/{needed}?hash=0")).await;
        assert_eq!((moved.code, moved.header("location")), (301, uri));
        assert_eq!(client.get(&format!("/openapi/v3/{needed}?timeout=32s")).await.code, 200);
    }
    assert_eq!(client.get("/openapi/v3/apis/nope/v1").await.code, 404);
    let old = client.get_as("/openapi/v2", "application/com.github.proto-openapi.spec.v2@v1.0+protobuf").await;
    assert_eq!((old.code, old.text.as_bytes()), (200, [0x0a, 3, 0x32, 0x2e, 0x30].as_slice()));
    assert_eq!(old.header("content-type"), "application/com.github.proto-openapi.spec.v2.v1.0+protobuf");
}

#[tokio::test]
async fn tells_version_and_health_w195_w197() {
    let client = Client::new().await;
    let version = client.get("/version?timeout=32s").await.ok(200);
    for field in
        ["major", "minor", "gitVersion", "gitCommit", "gitTreeState", "buildDate", "goVersion", "compiler", "platform"]
    {
        assert!(version[field].is_string(), "{field}");
    }
    assert!(version["gitVersion"].as_str().unwrap().starts_with("v1.36.0+jobd."));
    for uri in ["/healthz", "/livez", "/readyz", "/readyz/ping"] {
        let answer = client.get(uri).await;
        assert_eq!((answer.code, answer.text.as_str()), (200, "ok"));
        assert_eq!(answer.header("content-type"), "text/plain; charset=utf-8");
    }
    assert_eq!(client.get("/readyz?verbose").await.text, "[+]ping ok\n[+]shutdown ok\nreadyz check passed\n");
    assert!(client.get("/").await.ok(200)["paths"].as_array().unwrap().contains(&json!("/apis/batch/v1")));
    assert_eq!(client.get("/metrics").await.code, 404);
}

#[tokio::test]
async fn reviews_are_answered_with_yes_w191_w192_w193() {
    let client = Client::new().await;
    let spec =
        json!({"resourceAttributes": {"namespace": "a", "verb": "create", "group": "batch", "resource": "jobs"}});
    let review =
        client.post("/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", &json!({"spec": spec})).await.ok(201);
    assert_eq!((&review["kind"], &review["spec"]), (&json!("SelfSubjectAccessReview"), &spec));
    assert_eq!(review["status"], json!({"allowed": true}));
    let rules = client
        .post("/apis/authorization.k8s.io/v1/selfsubjectrulesreviews", &json!({"spec": {"namespace": "a"}}))
        .await
        .ok(201);
    assert_eq!(rules["status"]["incomplete"], false);
    let me = client.post("/apis/authentication.k8s.io/v1/selfsubjectreviews", &json!({})).await.ok(201);
    assert_eq!(me["status"]["userInfo"]["username"], "admin");
}
