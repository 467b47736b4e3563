//! The checker on histories that are written by hand: what it must not object to, and that it objects where one thing is different.

use serde_json::{Value, json};

use super::{
    super::{dice::Dice, faults::Faults, machine::Machine},
    *,
};
use jobd::store::{Key, Options, Request, Write};

/// Writes transactions, each of which the checker looks at.
struct Scribe {
    store: Store,
    clock: Arc<VirtualClock>,
    machine: Mutex<Machine>,
    checker: Checker,
    _dir: tempfile::TempDir,
}

impl Scribe {
    async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let clock = Arc::new(VirtualClock::default());
        let path = dir.path().join("jobd.db");
        let store = Store::open(Options { path, clock: clock.clone(), history: Duration::from_secs(300) }).await;
        let faults = Faults::default();
        let machine = Mutex::new(Machine::new(Arc::clone(&clock), Dice::new(1), faults.clone()));
        Self { store: store.unwrap(), clock, machine, checker: Checker::new(&faults), _dir: dir }
    }

    async fn write(&mut self, objects: &[(Kind, Value)]) -> anyhow::Result<()> {
        let put = |(kind, body): &(Kind, Value)| {
            let object = Object(body.as_object().cloned().unwrap());
            let index = jobd_api::write::index(kind.resource(), &object);
            Write::Put { key: Key::of(*kind, &object), index, body: object.to_stored() }
        };
        let writes = objects.iter().map(put).collect();
        self.store.write(Request { writes, ..Request::default() }).await.unwrap();
        self.checker.look(&self.store, &self.machine, &self.clock).await
    }
}

fn job(limit: i64, failed: i64, reason: Option<&str>) -> (Kind, Value) {
    let condition = |condition: &str| json!({"type": condition, "status": "True", "reason": reason});
    let conditions = reason.map(|_| vec![condition("FailureTarget"), condition("Failed")]);
    let template = json!({"spec": {"restartPolicy": "Never", "containers": [{"name": "main", "image": "busybox:1"}]}});
    let body = json!({
        "apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "j", "namespace": "default", "uid": "j"},
        "spec": {"parallelism": 1, "completions": 1, "backoffLimit": limit, "template": template},
        "status": {"failed": failed, "conditions": conditions.unwrap_or_default()},
    });
    (Kind::Job, body)
}

fn pod(phase: &str, owned: bool, tracking: bool) -> (Kind, Value) {
    let mut body = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "j-1", "namespace": "default", "uid": "j-1"},
        "spec": {"restartPolicy": "Never", "containers": [{"name": "main", "image": "busybox:1"}]},
        "status": {"phase": phase},
    });
    if owned {
        body["metadata"]["ownerReferences"] =
            json!([{"apiVersion": "batch/v1", "kind": "Job", "name": "j", "uid": "j", "controller": true}]);
    }
    if tracking {
        body["metadata"]["finalizers"] = json!(["batch.kubernetes.io/job-tracking"]);
    }
    (Kind::Pod, body)
}

/// J-2104, J-824: a failed pod that was counted, lost its owner and was adopted counts as one more.
#[tokio::test]
async fn a_failed_pod_that_is_adopted_again_fails_the_job_by_its_limit() {
    for is_adopted in [true, false] {
        let mut scribe = Scribe::new().await;
        scribe.write(&[job(1, 0, None)]).await.unwrap();
        scribe.write(&[pod("Pending", true, true)]).await.unwrap();
        scribe.write(&[pod("Failed", true, true)]).await.unwrap();
        scribe.write(&[pod("Failed", true, false), job(1, 1, None)]).await.unwrap();
        if is_adopted {
            scribe.write(&[pod("Failed", false, false)]).await.unwrap();
            scribe.write(&[pod("Failed", true, true)]).await.unwrap();
        }
        let end = [pod("Failed", true, false), job(1, 2, Some("BackoffLimitExceeded"))];
        let judged = scribe.write(&end).await.map_err(|error| error.to_string());
        match judged {
            Ok(()) => assert!(is_adopted, "one failure is not more than 1"),
            Err(what) => assert!(!is_adopted && what.starts_with("J-833: job j fails by its limit of 1"), "{what}"),
        }
    }
}
