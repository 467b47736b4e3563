//! Bad input: refused with a clear error, nothing stored, nothing half-done, and the daemon stays up (I-8, I-9).

use jobd_tests::{Daemon, manifest};
use serde_json::json;

const JOBS: &str = "/apis/batch/v1/namespaces/default/jobs";

#[tokio::test]
async fn bad_bodies_are_refused_and_leave_nothing_behind() {
    let daemon = Daemon::start().await;
    let client = daemon.client();
    let good = manifest::job("x", "true").to_string();
    let yaml = "apiVersion: batch/v1\nkind: Job\nmetadata: {name: x}\nspec: {template: {spec: {restartPolicy: Never, containers: [{name: c, image: i}]}}}\n";
    let with_cpu = |cpu: &str| yaml.replace("image: i", &format!("image: i, resources: {{requests: {{cpu: {cpu}}}}}"));
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    let deep_yaml = format!("a: {}{}", "[".repeat(20_000), "]".repeat(20_000));
    let bombs = "a: &a [x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b]\nd: &d [*c,*c,*c,*c,*c,*c,*c,*c,*c]\ne: &e [*d,*d,*d,*d,*d,*d,*d,*d,*d]\nf: &f [*e,*e,*e,*e,*e,*e,*e,*e,*e]\ng: &g [*f,*f,*f,*f,*f,*f,*f,*f,*f]\n";
    let huge = format!("{{\"metadata\":{{\"name\":\"x\",\"annotations\":{{\"a\":\"{}\"}}}}}}", "y".repeat(10 << 20));
    for (title, content_type, body, status, text) in [
        ("malformed JSON", "application/json", "{\"metadata\":".to_owned(), 400, "json parse error"),
        ("empty body", "application/json", String::new(), 400, "unrecognized"),
        ("malformed YAML", "application/yaml", "a: [b\nc: }".to_owned(), 400, ""),
        ("several documents", "application/yaml", format!("{yaml}---\n{yaml}"), 400, "document"),
        ("wrong kind", "application/json", good.replace("\"Job\"", "\"Pod\""), 400, "cannot be handled as a Job"),
        (
            "wrong type",
            "application/json",
            good.replace("\"spec\":{\"t", "\"spec\":{\"parallelism\":\"two\",\"t"),
            400,
            "parallelism",
        ),
        (
            "wrong type in YAML",
            "application/yaml",
            yaml.replace("image: i", "image: [i]"),
            400,
            "cannot be handled as a Job",
        ),
        ("bad quantity", "application/yaml", with_cpu("lots"), 400, "requests.cpu: quantities must match"),
        (
            "negative quantity",
            "application/yaml",
            with_cpu("-1"),
            422,
            "requests[cpu]: Invalid value: \"-1\": must be greater than or equal to 0",
        ),
        ("bad name", "application/json", good.replace("\"x\"", "\"Bad_Name\""), 422, "a lowercase RFC 1123 subdomain"),
        ("deep JSON", "application/json", deep, 400, ""),
        ("deep YAML", "application/yaml", deep_yaml, 400, ""),
        ("alias bomb", "application/yaml", bombs.to_owned(), 413, "too many values"),
        ("10 MB", "application/json", huge, 413, "limit is 3145728"),
        ("unknown format", "text/plain", good.clone(), 415, "unknown format"),
        ("garbage protobuf", "application/vnd.kubernetes.protobuf", "k8s\0\u{1}\u{2}garbage".to_owned(), 400, ""),
        (
            "no containers",
            "application/json",
            json!({"metadata": {"name": "x"}}).to_string(),
            422,
            "spec.template.spec.containers: Required value",
        ),
    ] {
        let answer = client.request("POST", JOBS, &[("content-type", content_type)], body).await;
        assert_eq!(answer.status, status, "{title}: {}", answer.text());
        let body = answer.json();
        assert_eq!((&body["kind"], &body["code"]), (&json!("Status"), &json!(status)), "{title}: {}", answer.text());
        assert!(body["message"].as_str().unwrap().contains(text), "{title}: {}", answer.text());
    }
    for (title, content_type, body, text) in [
        (
            "unknown field",
            "application/json",
            good.replace("\"spec\":{\"t", "\"spec\":{\"bogus\":1,\"t"),
            "unknown field \"spec.bogus\"",
        ),
        (
            "duplicate field",
            "application/json",
            good.replace("\"spec\":{\"t", "\"spec\":{\"suspend\":true,\"suspend\":false,\"t"),
            "duplicate field \"spec.suspend\"",
        ),
        ("unknown field in YAML", "application/yaml", yaml.replace("image: i", "image: i, img: j"), "unknown field"),
        (
            "duplicate field in YAML",
            "application/yaml",
            yaml.replace("image: i", "image: i, image: j"),
            "duplicate field",
        ),
    ] {
        // As kubectl asks for it: refused. As curl does by default: warned about.
        let path = format!("{JOBS}?fieldValidation=Strict");
        let strict = client.request("POST", &path, &[("content-type", content_type)], body.clone()).await.expect(400);
        let message = strict["message"].as_str().unwrap();
        assert!(message.contains("strict decoding error") && message.contains(text), "{title}: {message}");
        let path = format!("{JOBS}?dryRun=All");
        let warned = client.request("POST", &path, &[("content-type", content_type)], body).await;
        assert_eq!(warned.status, 201, "{title}: {}", warned.text());
        let warnings = warned.warnings();
        assert!(warnings.len() == 1 && warnings[0].contains(text), "{title}: {warnings:?}");
    }
    // W-10: whoever types curl reads the answer.
    let curl = [("user-agent", "curl/8.0"), ("content-type", "application/json")];
    let answer = client.request("POST", JOBS, &curl, "{").await;
    assert!(answer.text().starts_with("{\n  \"apiVersion\": \"v1\",\n"), "{}", answer.text());
    let list = client.get(JOBS).await.expect(200);
    assert_eq!(list["items"], json!([]));
    assert_eq!(client.pods_of("default", "x").await.len(), 0);
}

/// I-8: what a pod asks for and we do not run is refused by name, in a job's template too.
#[tokio::test]
async fn what_is_not_run_is_refused_and_not_ignored() {
    let daemon = Daemon::start().await;
    let client = daemon.client();
    let mut job = manifest::job("x", "true");
    job["spec"]["template"]["spec"]["volumes"] = json!([{"name": "v", "persistentVolumeClaim": {"claimName": "c"}}]);
    let answer = client.post(JOBS, &job).await.expect(422);
    let message = answer["message"].as_str().unwrap();
    assert!(
        message.contains("spec.template.spec.volumes[0]") && message.contains("not run by this version of jobd"),
        "{message}"
    );
}

/// W-94, W-60, R-2.
#[tokio::test]
async fn a_name_is_given_once_and_a_dry_run_stores_nothing() {
    let daemon = Daemon::start().await;
    let client = daemon.client();
    let job = manifest::job_with("x", "true", &json!({"suspend": true}));
    let dry = client.post(&format!("{JOBS}?dryRun=All"), &job).await.expect(201);
    assert!(dry["metadata"]["uid"].is_string() && dry["metadata"].get("resourceVersion").is_none(), "{dry}");
    let first = client.post(JOBS, &job).await.expect(201);
    let second = client.post(JOBS, &job).await.expect(409);
    assert_eq!(second["reason"], "AlreadyExists");
    assert_eq!(second["message"], "jobs.batch \"x\" already exists");
    let stored = client.get(&format!("{JOBS}/x")).await.expect(200);
    assert_eq!(stored["metadata"]["uid"], first["metadata"]["uid"]);
}
