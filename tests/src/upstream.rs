//! What Kubernetes' own end-to-end suite does around each of its cases, with the shapes of a typed Go client: namespaces by
//! generated name with security labels, the waits for service account and root certificate, protobuf bodies, its images.

use std::{
    process::Command,
    sync::{Arc, Once},
};

use serde_json::{Value, json};

use crate::{Answer, Client, Daemon, Watch, client::has_condition, docker_host, eventually, protobuf};

/// The suite's busybox: a name with a registry and a tag, so that it is pulled only if absent.
pub const BUSYBOX: &str = "registry.k8s.io/e2e-test-images/busybox:1.37.0-1";
/// Waits for ever; ends at once with 0 on SIGTERM.
pub const PAUSE: &str = "registry.k8s.io/pause:3.10.1";

const PROTOBUF: &str = "application/vnd.kubernetes.protobuf";

/// A daemon, and a namespace in it made as the framework makes it.
pub struct Suite {
    pub daemon: Arc<Daemon>,
    pub client: Client,
    pub namespace: String,
}

impl Suite {
    /// Starts a daemon and does what the framework does before a case.
    pub async fn start(base: &str) -> Self {
        images();
        Self::beside(&Arc::new(Daemon::start().await), base).await
    }

    /// The same on a daemon that runs already: another case's neighbour.
    pub async fn beside(daemon: &Arc<Daemon>, base: &str) -> Self {
        let client = daemon.client();
        let namespace = namespace(&client, base).await;
        Self { daemon: Arc::clone(daemon), client, namespace }
    }

    /// The path of a resource in the namespace: `jobs`, `pods/a/status`, …
    #[must_use]
    pub fn path(&self, resource: &str) -> String {
        path_in(&self.namespace, resource)
    }

    pub async fn get(&self, resource: &str) -> Answer {
        self.client.get(&self.path(resource)).await
    }

    /// Creates an object by a protobuf body.
    pub async fn create(&self, resource: &str, object: &Value) -> Answer {
        self.send("POST", resource, resource, object).await
    }

    /// Replaces an object by a protobuf body, as `Update` and `UpdateStatus` do.
    pub async fn update(&self, resource: &str, object: &Value) -> Answer {
        let kind = resource.split('/').next().unwrap_or_default();
        self.send("PUT", resource, kind, object).await
    }

    async fn send(&self, method: &str, resource: &str, kind: &str, object: &Value) -> Answer {
        send(&self.client, method, &self.path(resource), kind, object).await
    }

    /// Deletes by a protobuf body of options.
    pub async fn delete(&self, resource: &str, options: &Value) -> Answer {
        let is_batch = resource.starts_with("jobs") || resource.starts_with("cronjobs");
        let api_version = if is_batch { "batch/v1" } else { "v1" };
        let body = protobuf::body(api_version, "DeleteOptions", options);
        self.client.request("DELETE", &self.path(resource), &[("content-type", PROTOBUF)], body).await
    }

    pub async fn merge(&self, resource: &str, patch: &Value) -> Answer {
        self.client.merge(&self.path(resource), patch).await
    }

    /// A strategic merge patch.
    pub async fn strategic(&self, resource: &str, patch: &Value) -> Answer {
        let headers = [("content-type", "application/strategic-merge-patch+json")];
        self.client.request("PATCH", &self.path(resource), &headers, patch.to_string()).await
    }

    /// Reads, changes and replaces until nobody was faster.
    ///
    /// # Panics
    /// When the answer is neither 200 nor a conflict, or it is a conflict until the deadline.
    pub async fn change(&self, resource: &str, change: impl Fn(&mut Value)) -> Value {
        eventually(&format!("{resource} to be changed"), async || {
            let mut object = self.get(resource).await.expect(200);
            change(&mut object);
            let answer = self.update(resource, &object).await;
            if answer.status == 409 { Err(answer.text()) } else { Ok(answer.expect(200)) }
        })
        .await
    }

    pub async fn wait(&self, resource: &str, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        self.client.wait(&self.path(resource), what, wanted).await
    }

    pub async fn wait_gone(&self, resource: &str) {
        self.client.wait_gone(&self.path(resource)).await;
    }

    pub async fn wait_phase(&self, pod: &str, phase: &str) -> Value {
        self.wait(&format!("pods/{pod}"), phase, |pod| pod["status"]["phase"] == phase).await
    }

    /// Opens a watch on a resource with a query.
    pub async fn watch(&self, resource: &str, query: &str) -> Watch {
        Watch::open(&self.client, &format!("{}?watch=true&{query}", self.path(resource))).await
    }

    /// The pods of a job, by the label that the suite's jobs carry.
    ///
    /// # Panics
    /// When the list is refused.
    pub async fn pods_of(&self, job: &str) -> Vec<Value> {
        let list = self.get(&format!("pods?labelSelector=job%3D{job}")).await.expect(200);
        list["items"].as_array().cloned().unwrap_or_default()
    }

    /// Waits until as many pods of the job are in phase Running.
    pub async fn wait_running(&self, job: &str, count: usize) -> Vec<Value> {
        eventually("the job's pods to run", async || {
            let mut pods = self.pods_of(job).await;
            pods.retain(|pod| pod["status"]["phase"] == "Running");
            if pods.len() == count { Ok(pods) } else { Err(format!("{} pods run", pods.len())) }
        })
        .await
    }

    pub async fn wait_no_pods(&self, job: &str) {
        eventually("the job's pods to be gone", async || {
            let pods = self.pods_of(job).await;
            if pods.is_empty() { Ok(()) } else { Err(format!("{pods:?}")) }
        })
        .await;
    }

    /// Waits for a condition with a reason, and returns the job.
    pub async fn wait_condition(&self, job: &str, condition: &str, reason: &str) -> Value {
        self.wait(&format!("jobs/{job}"), condition, |job| {
            has_condition(job, condition)
                && job["status"]["conditions"]
                    .as_array()
                    .is_some_and(|all| all.iter().any(|one| one["type"] == condition && one["reason"] == reason))
        })
        .await
    }

    /// Waits as the suite does: first for the count, then for the condition.
    pub async fn wait_complete(&self, job: &str, reason: &str, succeeded: i64) -> Value {
        self.wait(&format!("jobs/{job}"), "succeeded", |job| job["status"]["succeeded"] == succeeded).await;
        self.wait_condition(job, "Complete", reason).await
    }

    /// The name of a node that is ready, may be scheduled to and has no taint that keeps pods away.
    ///
    /// # Panics
    /// When there is none.
    pub async fn ready_node(&self) -> String {
        let nodes = self.client.get("/api/v1/nodes?fieldSelector=spec.unschedulable%3Dfalse").await.expect(200);
        let ready = nodes["items"].as_array().into_iter().flatten().find(|node| {
            has_condition(node, "Ready")
                && node["spec"]["unschedulable"] != true
                && node["spec"].get("taints").is_none()
                && node["status"]["conditions"].as_array().is_some_and(|all| {
                    all.iter().all(|one| one["type"] != "NetworkUnavailable" || one["status"] != "True")
                })
        });
        ready.and_then(|node| node["metadata"]["name"].as_str()).expect("a node that is ready").to_owned()
    }

    /// A job of the suite: `behaviour` is `succeed`, `fail`, `notTerminate`, `failOddSucceedEven` or `failOnce`.
    #[must_use]
    pub fn job(&self, behaviour: &str, name: &str, policy: &str, parallelism: i64, completions: i64) -> Value {
        let mut container = json!({
            "name": "c", "image": BUSYBOX, "securityContext": {},
            "volumeMounts": [{"mountPath": "/data", "name": "data"}],
        });
        match behaviour {
            "succeed" => container["command"] = json!(["/bin/sh", "-c", "exit 0"]),
            "fail" => container["command"] = json!(["/bin/sh", "-c", "exit 1"]),
            "notTerminate" => container["image"] = json!(PAUSE),
            "failOddSucceedEven" => {
                container["command"] = json!(["sh", "-c"]);
                container["args"] = json!(["\n\t\t\texit $(expr ${JOB_COMPLETION_INDEX} % 2)\n\t\t\t"]);
            }
            "failOnce" => {
                container["command"] = json!(["/bin/sh", "-c"]);
                container["args"] = json!(["[[ -r /data/foo ]] && exit 0; touch /data/foo; exit 1"]);
            }
            other => panic!("{other}"),
        }
        json!({
            "kind": "Job", "apiVersion": "batch/v1", "metadata": {"name": name},
            "spec": {
                "parallelism": parallelism, "completions": completions, "backoffLimit": 6, "manualSelector": false,
                "template": {
                    "metadata": {"labels": {"job": name}},
                    "spec": {
                        "restartPolicy": policy, "containers": [container],
                        "volumes": [{"name": "data", "emptyDir": {}}],
                    },
                },
            },
        })
    }

    /// Puts a job on the node by its host name, with a host directory in place of the empty one.
    pub async fn on_node(&self, job: &mut Value) {
        let node = self.ready_node().await;
        let spec = &mut job["spec"]["template"]["spec"];
        spec["nodeSelector"] = json!({"kubernetes.io/hostname": node});
        let dir = self.daemon.data_dir().with_file_name("job-e2e").join(crate::unique("dir"));
        spec["volumes"][0] = json!({"name": "data", "hostPath": {"path": dir, "type": "DirectoryOrCreate"}});
        if privileges() {
            spec["containers"][0]["securityContext"] = json!({"privileged": true});
        }
    }
}

/// A path in a namespace; jobs are batch's, the rest is core's.
#[must_use]
pub fn path_in(namespace: &str, resource: &str) -> String {
    let kind = resource.split(['/', '?']).next().unwrap_or_default();
    let prefix = if matches!(kind, "jobs" | "cronjobs") { "/apis/batch/v1" } else { "/api/v1" };
    format!("{prefix}/namespaces/{namespace}/{resource}")
}

/// Sends an object of a resource in protobuf.
pub async fn send(client: &Client, method: &str, path: &str, resource: &str, object: &Value) -> Answer {
    let (api_version, kind) = match resource {
        "jobs" => ("batch/v1", "Job"),
        "cronjobs" => ("batch/v1", "CronJob"),
        "pods" => ("v1", "Pod"),
        "configmaps" => ("v1", "ConfigMap"),
        "secrets" => ("v1", "Secret"),
        "serviceaccounts" => ("v1", "ServiceAccount"),
        "namespaces" => ("v1", "Namespace"),
        "nodes" => ("v1", "Node"),
        "events" => ("v1", "Event"),
        other if other.ends_with("/eviction") => ("policy/v1", "Eviction"),
        other => panic!("{other}"),
    };
    let headers = [("content-type", PROTOBUF), ("accept", "application/vnd.kubernetes.protobuf, */*")];
    client.request(method, path, &headers, protobuf::body(api_version, kind, object)).await
}

/// Makes a namespace as the framework does, with what it waits for.
///
/// # Panics
/// When the namespace is refused or not furnished in time.
pub async fn namespace(client: &Client, base: &str) -> String {
    let labels = json!({
        "e2e-framework": base, "e2e-run": "0b8b2ee6-6b17-4e05-8b0c-8d0e1f5a9f10",
        "pod-security.kubernetes.io/enforce": "privileged",
    });
    let object = json!({"metadata": {"generateName": format!("{base}-"), "labels": labels}});
    let made = send(client, "POST", "/api/v1/namespaces", "namespaces", &object).await.expect(201);
    let name = made["metadata"]["name"].as_str().expect("a name").to_owned();
    assert!(name.starts_with(&format!("{base}-")) && name.len() == base.len() + 6, "{name}");
    for (resource, wanted) in [("serviceaccounts", "default"), ("configmaps", "kube-root-ca.crt")] {
        let path = format!("/api/v1/namespaces/{name}/{resource}");
        let selector = format!("fieldSelector=metadata.name%3D{wanted}");
        let list = client.get(&format!("{path}?{selector}")).await.expect(200);
        if list["items"].as_array().is_none_or(Vec::is_empty) {
            let version = list["metadata"]["resourceVersion"].as_str().unwrap_or_default();
            let mut watch = Watch::open(
                client,
                &format!("{path}?watch=true&allowWatchBookmarks=true&{selector}&resourceVersion={version}"),
            )
            .await;
            watch.until(wanted, |kind, _| kind == "ADDED").await;
        }
    }
    name
}

/// Whether this machine's engine can give a container all privileges; inside other containers it often cannot.
#[must_use]
pub fn privileges() -> bool {
    docker(&["run", "--rm", "--privileged", "busybox:1.36", "true"]).is_some()
}

/// What the docker command printed, if it succeeded.
fn docker(arguments: &[&str]) -> Option<String> {
    let output = Command::new("docker").arg("--host").arg(docker_host()).args(arguments).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// The suite's images, made of the local busybox where they are not there yet.
fn images() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        if docker(&["image", "inspect", BUSYBOX]).is_none() {
            docker(&["tag", "busybox:1.36", BUSYBOX]);
        }
        if docker(&["image", "inspect", PAUSE]).is_none()
            && let Some(id) = docker(&["create", "busybox:1.36", "true"])
        {
            let program = r#"ENTRYPOINT ["sh","-c","trap 'exit 0' TERM INT; sleep 1000000 & wait"]"#;
            docker(&["commit", "--change", program, &id, PAUSE]);
            docker(&["rm", &id]);
        }
    });
}
