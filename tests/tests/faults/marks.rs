//! Marks that containers leave in a directory of the host: proof of what really ran.

use std::{collections::BTreeMap, path::PathBuf};

use jobd_tests::{Client, Daemon, manifest};
use serde_json::{Value, json};

pub(crate) struct Marks {
    dir: PathBuf,
}

impl Marks {
    pub(crate) fn new(daemon: &Daemon) -> Self {
        let dir = daemon.data_dir().with_file_name("marks");
        std::fs::create_dir_all(&dir).unwrap();
        Self { dir }
    }

    /// A job whose containers leave a mark each, and then run a script.
    pub(crate) fn job(&self, name: &str, script: &str, spec: &Value) -> Value {
        let mut job = manifest::job_with(name, &format!("mktemp -p /marks $POD.XXXXXX; {script}"), spec);
        let pod = &mut job["spec"]["template"]["spec"];
        pod["terminationGracePeriodSeconds"] = json!(1);
        pod["containers"][0]["env"] =
            json!([{"name": "POD", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}]);
        pod["containers"][0]["volumeMounts"] = json!([{"name": "marks", "mountPath": "/marks"}]);
        pod["volumes"] = json!([{"name": "marks", "hostPath": {"path": self.dir}}]);
        job
    }

    /// Gives the containers that wait for it the sign to go on: `until [ -e /marks/go ]; do sleep 0.1; done`.
    pub(crate) fn go(&self) {
        std::fs::write(self.dir.join("go"), "").unwrap();
    }

    /// How often each pod ran.
    pub(crate) fn runs(&self) -> BTreeMap<String, usize> {
        let mut runs = BTreeMap::new();
        for entry in std::fs::read_dir(&self.dir).unwrap() {
            let name = entry.unwrap().file_name().to_string_lossy().into_owned();
            if let Some((pod, _)) = name.rsplit_once('.') {
                *runs.entry(pod.to_owned()).or_default() += 1;
            }
        }
        runs
    }

    /// The job has `pods` pods, and each ran exactly once.
    pub(crate) async fn check_ran_once(&self, client: &Client, job: &str, pods: usize) {
        let found = client.pods_of("default", job).await;
        assert_eq!(found.len(), pods, "{found:#?}");
        let runs = self.runs();
        for pod in found {
            let name = pod["metadata"]["name"].as_str().unwrap();
            assert_eq!(runs.get(name), Some(&1), "{name} of {runs:?}");
            assert_eq!(pod["status"]["containerStatuses"][0]["restartCount"], 0, "{pod}");
        }
    }
}

/// What a container's script waits with for [`Marks::go`].
pub(crate) const WAIT: &str = "until [ -e /marks/go ]; do sleep 0.1; done";
