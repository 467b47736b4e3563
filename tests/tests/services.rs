//! Headless services and the names of pods (D-213, J-711): pods of an Indexed job find each other.

use std::net::TcpListener;

use jobd_tests::{
    Client, Daemon, engine, eventually,
    kubectl::{self, Kubectl},
    manifest,
};
use serde_json::{Value, json};

const JOBS: &str = "/apis/batch/v1/namespaces/default/jobs";
const SERVICES: &str = "/api/v1/namespaces/default/services";

fn headless(name: &str, job: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": name},
        "spec": {"clusterIP": "None", "selector": {"batch.kubernetes.io/job-name": job}, "ports": [{"port": 8080}]},
    })
}

/// Serves a page, fetches those of all others under each form of their names, and waits until all have done so.
const MEET: &str = r#"
mkdir /www && echo "page $JOB_COMPLETION_INDEX" > /www/page && httpd -p 8080 -h /www
for index in 0 1 2; do
    for end in "" .default .default.svc .default.svc.cluster.local; do
        until [ "$(wget -q -O - "http://mesh-$index.peers$end:8080/page")" = "page $index" ]; do sleep 0.1; done
        echo "mesh-$index.peers$end"
    done
done
until wget -q -O - http://peers:8080/page; do sleep 0.1; done
touch "/marks/$JOB_COMPLETION_INDEX"
until [ -e /marks/0 ] && [ -e /marks/1 ] && [ -e /marks/2 ]; do sleep 0.1; done
"#;

async fn logs(client: &Client, pod: &Value) -> String {
    let name = pod["metadata"]["name"].as_str().unwrap();
    client.get(&format!("/api/v1/namespaces/default/pods/{name}/log")).await.text()
}

/// D-213, J-706, J-711.
#[tokio::test]
async fn pods_of_an_indexed_job_reach_each_other_by_name() {
    let daemon = Daemon::start().await;
    let client = daemon.client();
    client.post(SERVICES, &headless("peers", "mesh")).await.expect(201);
    let marks = tempfile::tempdir().unwrap();
    let mut job = manifest::job_with(
        "mesh",
        MEET,
        &json!({"completionMode": "Indexed", "completions": 3, "parallelism": 3, "activeDeadlineSeconds": 80}),
    );
    let spec = &mut job["spec"]["template"]["spec"];
    spec["subdomain"] = json!("peers");
    spec["volumes"] = json!([{"name": "marks", "hostPath": {"path": marks.path()}}]);
    spec["containers"][0]["volumeMounts"] = json!([{"name": "marks", "mountPath": "/marks"}]);
    client.post(JOBS, &job).await.expect(201);
    let ended = client.wait(&format!("{JOBS}/mesh"), "over", |job| job["status"]["completionTime"].is_string()).await;
    let pods = client.pods_of("default", "mesh").await;
    assert_eq!(ended["status"]["completedIndexes"], "0-2", "{ended} {pods:#?}");
    for pod in &pods {
        let text = logs(&client, pod).await;
        assert!(text.contains("mesh-2.peers.default.svc.cluster.local"), "{text}");
        assert!(pod["status"]["podIP"].is_string(), "{pod}");
    }
    assert_eq!(daemon.complaints(), Vec::<String>::new());
}

/// A namespace's network is made with its first pod that has a subdomain, and goes with the namespace.
#[tokio::test]
async fn the_network_of_names_goes_with_its_namespace() {
    let daemon = Daemon::start().await;
    let client = daemon.client();
    let space = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "space"}});
    client.post("/api/v1/namespaces", &space).await.expect(201);
    let mut pod = manifest::pod("a", "nslookup self.alone.space.svc.cluster.local");
    (pod["spec"]["hostname"], pod["spec"]["subdomain"]) = (json!("self"), json!("alone"));
    client.post("/api/v1/namespaces/space/pods", &pod).await.expect(201);
    client
        .wait("/api/v1/namespaces/space/pods/a", "over", |pod| {
            ["Succeeded", "Failed"].iter().any(|phase| pod["status"]["phase"] == *phase)
        })
        .await;
    let networks = || {
        let label = format!("label=jobd.instance={}", daemon.instance());
        engine::command(&["network", "ls", "--quiet", "--filter", &label])
    };
    assert_eq!(networks().lines().count(), 1, "{}", networks());
    client.delete("/api/v1/namespaces/space", &json!({})).await;
    eventually("the network to be gone", async || match networks() {
        none if none.trim().is_empty() => Ok(()),
        some => Err(some),
    })
    .await;
}

/// The API's own service, and that what needs a proxy is refused by name.
#[tokio::test]
async fn services_are_kept_and_those_with_an_address_are_refused() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let daemon = Daemon::start_with(&["--listen", &format!("127.0.0.1:{port}")], &[]).await;
    let client = daemon.client();
    let own = client.get(&format!("{SERVICES}/kubernetes")).await.expect(200);
    assert_eq!((&own["spec"]["clusterIP"], &own["spec"]["ports"][0]["port"]), (&json!("None"), &json!(443)), "{own}");
    client.delete(&format!("{SERVICES}/kubernetes"), &json!({})).await.expect(200);
    client
        .wait(&format!("{SERVICES}/kubernetes"), "back", |again| again["metadata"]["uid"] != own["metadata"]["uid"])
        .await;

    let mut service = headless("peers", "mesh");
    let created = client.post(SERVICES, &service).await.expect(201);
    assert_eq!(created["spec"]["ports"][0]["targetPort"], 8080);
    service["metadata"]["name"] = json!("other");
    service["spec"]["clusterIP"] = Value::Null;
    let refused = client.post(SERVICES, &service).await.expect(422);
    assert!(
        refused["message"].as_str().unwrap().contains("spec.clusterIP: Forbidden: not run by this version of jobd"),
        "{refused}"
    );
    client.get(&format!("{SERVICES}/other")).await.expect(404);

    let program = kubectl::programs().pop().expect("kubectl is on this machine");
    let dir = daemon.data_dir();
    let client = Kubectl::new(&program, &dir.join("kubeconfig"), &dir.with_file_name("cache"));
    let kubectl = async |arguments: &[&str]| client.run(arguments, "", &[]).await.ok();
    let table = kubectl(&["get", "svc", "peers"]).await;
    assert!(table.contains("8080/TCP") && table.contains("None") && table.contains("<none>"), "{table}");
    assert!(kubectl(&["get", "all"]).await.contains("service/kubernetes"));
}

/// Pod templates are kept as on any cluster.
#[tokio::test]
async fn pod_templates_are_kept() {
    let daemon = Daemon::start().await;
    let client = daemon.client();
    let path = "/api/v1/namespaces/default/podtemplates";
    let template = json!({
        "apiVersion": "v1", "kind": "PodTemplate", "metadata": {"name": "a", "labels": {"x": "y"}},
        "template": {"metadata": {"labels": {"app": "a"}}, "spec": {"containers": [manifest::container("true")]}},
    });
    let created = client.post(path, &template).await.expect(201);
    assert_eq!(created["template"]["spec"]["restartPolicy"], "Always");
    client.merge(&format!("{path}/a"), &json!({"metadata": {"labels": {"x": "z"}}})).await.expect(200);
    let found = client.get(&format!("{path}?labelSelector=x%3Dz")).await.expect(200);
    assert_eq!(found["items"].as_array().map(Vec::len), Some(1));
    assert_eq!(found["kind"], "PodTemplateList");
    client.request("DELETE", &format!("{path}?labelSelector=x%3Dz"), &[], "").await.expect(200);
    client.wait_gone(&format!("{path}/a")).await;
}
