//! What must hold of pods: their phases, how their containers ended, and in which order those began (R-3, R-4, section 25 of the job
//! rules).

use std::collections::BTreeMap;

use anyhow::ensure;
use jiff::{SignedDuration, Timestamp};
use jobd::store::{Change, ChangeType};
use jobd_api::object::Object;
use serde_json::Value;

use super::{
    super::{
        machine::Machine,
        truth::{Start, Truth},
    },
    Checker,
    departures::Leaving,
    node::check_back_off,
};

const TRACKING: &str = "batch.kubernetes.io/job-tracking";
const INDEX: &str = "batch.kubernetes.io/job-completion-index";
const SELECTED: &str = "batch.kubernetes.io/controller-uid";
const FAILURES: &str = "batch.kubernetes.io/job-index-failure-count";
const IGNORED: &str = "batch.kubernetes.io/job-index-ignored-failure-count";

/// A pod as last seen.
#[derive(Clone, Debug)]
pub(super) struct Pod {
    pub uid: String,
    pub namespace: String,
    pub name: String,
    pub job: Option<String>,
    pub index: Option<i64>,
    pub phase: String,
    pub tracking: bool,
    pub deleting: bool,
    /// Of all its containers.
    pub restarts: i64,
    /// How one of them ended is not known.
    pub is_unknown: bool,
    /// Codes other than 0 with which its containers ended, by name (J-1103).
    pub exits: Vec<(String, i64)>,
    /// Types and states.
    pub conditions: Vec<(String, String)>,
    /// The uid of the job that its labels name.
    pub selected_by: Option<String>,
    /// Failures of its index that were counted and ignored before it, by its annotations (J-709).
    pub failures: (i64, i64),
    /// It has a node.
    pub is_bound: bool,
    /// What it asks for, in thousandths.
    pub cpu: i64,
    /// `metadata.deletionTimestamp`
    pub ends_at: Option<Timestamp>,
    /// When it has been active for too long (J-2560).
    pub too_old_at: Option<Timestamp>,
    pub ready: bool,
    /// Each of its regular containers has ended: else its end is not theirs (J-862), as when an init container failed.
    pub has_ended: bool,
}

impl Pod {
    pub fn is_over(&self) -> bool {
        self.phase == "Succeeded" || self.phase == "Failed"
    }

    /// J-820.
    pub fn is_active(&self) -> bool {
        !self.is_over() && !self.deleting
    }

    /// Being deleted, and its end not yet known.
    pub fn is_terminating(&self) -> bool {
        !self.is_over() && self.deleting
    }
}

/// A pod's tracking finalizer went.
pub(super) struct Counted {
    pub pod: Pod,
    /// It was being deleted before.
    pub was_deleting: bool,
}

/// What a pod's containers are for each other; never changes.
#[derive(Clone, Debug, Default)]
pub(super) struct Roster {
    policy: String,
    /// Name, and whether it is a sidecar.
    inits: Vec<(String, bool)>,
    mains: Vec<String>,
}

impl Roster {
    /// It has one container, so no sandbox.
    pub fn is_alone(&self) -> bool {
        self.inits.is_empty() && self.mains.len() == 1
    }

    fn of(pod: &Object) -> Self {
        let containers = |field: &str| pod.get(&["spec", field]).and_then(Value::as_array).cloned().unwrap_or_default();
        let name = |container: &Value| container["name"].as_str().unwrap_or_default().to_owned();
        Self {
            policy: pod.text(&["spec", "restartPolicy"]).unwrap_or_default().to_owned(),
            inits: containers("initContainers")
                .iter()
                .map(|one| (name(one), one["restartPolicy"] == "Always"))
                .collect(),
            mains: containers("containers").iter().map(name).collect(),
        }
    }
}

fn has_ended(pod: &Object) -> bool {
    let regular =
        pod.get(&["status", "containerStatuses"]).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    !regular.is_empty() && regular.iter().all(|status| status["state"]["terminated"].is_object())
}

impl Checker {
    /// Answers the jobs concerned: the one that controls the pod, and the one that did before.
    pub(super) fn pod_changed(
        &mut self,
        change: &Change,
        machine: &Machine,
        counted: &mut Vec<Counted>,
        leaving: &mut Leaving,
    ) -> anyhow::Result<Vec<String>> {
        let object = Object::parse(&change.body)?;
        let uid = object.uid().to_owned();
        let metadata = object.metadata()?;
        let owner = metadata.owner_references.iter().flatten().find(|owner| owner.controller == Some(true));
        let has_tracking = metadata.finalizers.iter().flatten().any(|one| one == TRACKING);
        let index = metadata.annotations.iter().flatten().find(|(key, _)| *key == INDEX);
        let pod = Pod {
            uid: uid.clone(),
            namespace: object.namespace().to_owned(),
            name: object.name().to_owned(),
            job: owner.map(|owner| owner.uid.clone()),
            index: index.and_then(|(_, index)| index.parse().ok()),
            phase: object.text(&["status", "phase"]).unwrap_or_default().to_owned(),
            tracking: has_tracking && change.change_type != ChangeType::Deleted,
            deleting: metadata.deletion_timestamp.is_some(),
            is_unknown: change.body.contains("ContainerStatusUnknown"),
            has_ended: has_ended(&object),
            exits: exits(&object),
            conditions: conditions(&object),
            selected_by: metadata.labels.iter().flatten().find(|(key, _)| *key == SELECTED).map(|(_, uid)| uid.clone()),
            failures: (annotated(&object, FAILURES), annotated(&object, IGNORED)),
            is_bound: object.text(&["spec", "nodeName"]).is_some(),
            cpu: cpu(&object),
            ends_at: metadata.deletion_timestamp.as_ref().map(|time| time.0),
            too_old_at: too_old_at(&object),
            ready: conditions(&object).contains(&("Ready".to_owned(), "True".to_owned())),
            restarts: statuses(&object).map(|status| status["restartCount"].as_i64().unwrap_or_default()).sum(),
        };
        let before = self.pods.get(&uid).cloned();
        self.told.push(format!(
            "store: pod {} {:?} {}{}{}",
            pod.name,
            change.change_type,
            pod.phase,
            if pod.tracking { " tracking" } else { "" },
            if pod.deleting { " deleting" } else { "" }
        ));
        if let Some(before) = &before {
            ensure!(
                !before.is_over() || before.phase == pod.phase,
                "the phase of pod {} went from {} to {}",
                pod.name,
                before.phase,
                pod.phase
            );
            ensure!(pod.restarts >= before.restarts, "restarts of pod {} were forgotten", pod.name);
            ensure!(!before.deleting || pod.deleting, "pod {} is no longer being deleted", pod.name);
            // J-2101: who is adopted gets it.
            let adopted = before.job.is_none() && pod.job.is_some();
            ensure!(before.tracking || !pod.tracking || adopted, "pod {} got its tracking finalizer back", pod.name);
            if before.tracking && !pod.tracking {
                counted.push(Counted { pod: pod.clone(), was_deleting: before.deleting });
            }
        } else {
            ensure!(change.change_type == ChangeType::Created, "pod {} appears as {:?}", pod.name, change.change_type);
            // J-703: else nobody could tell whether it was counted.
            ensure!(
                pod.job.is_none() || pod.tracking,
                "J-703: pod {} is made without the tracking finalizer",
                pod.name
            );
            self.rosters.insert(uid.clone(), Roster::of(&object));
        }
        let was_over = before.as_ref().is_some_and(Pod::is_over);
        self.check_ends(&object, &uid, &pod, was_over, machine)?;
        let begins = (pod.deleting || change.change_type == ChangeType::Deleted)
            && before.as_ref().is_some_and(|before| !before.deleting);
        if begins {
            // What it belonged to when somebody decided.
            leaving.pods.push(Pod { job: before.as_ref().and_then(|before| before.job.clone()), ..pod.clone() });
        }
        if pod.is_bound && before.as_ref().is_none_or(|before| !before.is_bound) {
            self.check_room(&pod)?;
        }
        let owners: Vec<String> =
            pod.job.iter().chain(before.iter().filter_map(|before| before.job.as_ref())).cloned().collect();
        if change.change_type == ChangeType::Deleted {
            self.pods.remove(&uid);
        } else {
            self.pods.insert(uid, pod);
        }
        Ok(owners)
    }

    /// what a pod tells of its containers is what happened to them.
    fn check_ends(
        &mut self,
        object: &Object,
        uid: &str,
        pod: &Pod,
        was_over: bool,
        machine: &Machine,
    ) -> anyhow::Result<()> {
        let truths = &machine.truths;
        for status in statuses(object) {
            let container = status["name"].as_str().unwrap_or_default();
            for end in ["state", "lastState"].into_iter().filter_map(|state| status.get(state)?.get("terminated")) {
                let text = |name: &str| end.get(name).and_then(Value::as_str).unwrap_or_default();
                let id = text("containerID").trim_start_matches("docker://");
                if text("reason") == "ContainerStatusUnknown" {
                    // So does a container end that never was (J-2512).
                    let ran = match truths.find(id) {
                        Some(truth) => truth.starts > 0,
                        None => truths.has_run(uid, container),
                    };
                    ensure!(
                        self.unknown_allowed || !ran,
                        "R-4: container {container} of pod {} is unknown although no evidence was destroyed",
                        pod.name
                    );
                    continue;
                }
                let Some(truth) = truths.find(id) else { continue };
                if text("reason") == "StartError" {
                    ensure!(truth.starts == 0, "R-3: pod {} says StartError, but its command ran", pod.name);
                    continue;
                }
                let said = end.get("exitCode").and_then(Value::as_i64);
                ensure!(
                    said == truth.exit_code,
                    "R-4: pod {} says {said:?} of {id}, but it ended with {:?}",
                    pod.name,
                    truth.exit_code
                );
            }
        }
        if !pod.is_over() || was_over {
            return Ok(());
        }
        // J-2503.
        ensure!(!machine.runs(uid), "pod {} is {} and one of its containers runs", pod.name, pod.phase);
        let Some(roster) = self.rosters.get(uid) else { return Ok(()) };
        for status in statuses(object) {
            let container = status["name"].as_str().unwrap_or_default();
            let end = &status["state"]["terminated"];
            let ended_well = end["exitCode"] == 0;
            let is_main = roster.mains.iter().any(|main| main == container);
            ensure!(
                pod.phase == "Failed" || !is_main || ended_well,
                "pod {} succeeded, but its container {container} ended with {}",
                pod.name,
                end["exitCode"]
            );
            if end["reason"] == "ContainerStatusUnknown" {
                self.unknown += 1;
            }
            let shown = ["state", "lastState"].iter().any(|state| !status[*state]["terminated"].is_null());
            ensure!(
                shown || !truths.has_run(uid, container),
                "R-3: pod {} shows no end of its container {container}, whose command ran",
                pod.name
            );
        }
        Ok(())
    }

    /// J-2501, J-2530 to J-2533: a command may begin only when what comes before it allows.
    pub(super) fn check_start(&self, start: &Start) -> anyhow::Result<()> {
        let Start { pod_uid, container, sandbox, before, at: _ } = start;
        let Some(roster) = self.rosters.get(pod_uid) else { return Ok(()) };
        let name = self.pods.get(pod_uid).map_or(pod_uid.as_str(), |pod| pod.name.as_str());
        let of = |name: &String| {
            let name = name.clone();
            before.iter().filter(move |truth| truth.container == name && truth.starts > 0)
        };
        let here = |truth: &&Truth| truth.sandbox == *sandbox;
        let place = roster.inits.iter().position(|(init, _)| init == container);
        let is_main = roster.mains.contains(container);
        if place.is_none() && !is_main {
            return Ok(());
        }
        for (init, is_sidecar) in &roster.inits[..place.unwrap_or(roster.inits.len())] {
            let mut runs = of(init).filter(here);
            // A sidecar that may have run counts as one that did.
            let passes = match is_sidecar {
                true => runs.next().is_some() || self.pods.get(pod_uid).is_some_and(|pod| pod.is_unknown),
                false => runs.any(|truth| truth.exit_code == Some(0)),
            };
            ensure!(passes, "J-2530: container {container} of pod {name} was started before {init} let it");
        }
        let is_sidecar = place.is_some_and(|place| roster.inits[place].1);
        // An end of which nothing is known is dated by what was known last.
        if !self.clock_jumps && self.pods.get(pod_uid).is_some_and(|pod| !pod.is_unknown) {
            check_back_off(of(container), start, name)?;
        }
        if is_sidecar || roster.policy == "Always" {
            return Ok(());
        }
        let mut earlier = of(container);
        if roster.policy == "Never" {
            ensure!(earlier.next().is_none(), "R-3: container {container} of pod {name} runs again, which is Never");
        }
        if !self.unknown_allowed {
            ensure!(
                !earlier.any(|truth| truth.exit_code == Some(0)),
                "J-2501: container {container} of pod {name} ended well and runs again"
            );
        }
        Ok(())
    }
}

/// Of a pod that failed (J-1103): regular containers first.
fn exits(pod: &Object) -> Vec<(String, i64)> {
    let fields = ["containerStatuses", "initContainerStatuses"];
    let all = fields.into_iter().filter_map(|field| pod.get(&["status", field])?.as_array()).flatten();
    let ended =
        all.filter_map(|status| Some((status["name"].as_str()?, status["state"]["terminated"]["exitCode"].as_i64()?)));
    ended.filter(|(_, code)| *code != 0).map(|(name, code)| (name.to_owned(), code)).collect()
}

fn conditions(pod: &Object) -> Vec<(String, String)> {
    let all = pod.get(&["status", "conditions"]).and_then(Value::as_array);
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    all.into_iter().flatten().map(|one| (text(&one["type"]), text(&one["status"]))).collect()
}

/// J-710.
fn annotated(pod: &Object, key: &str) -> i64 {
    pod.text(&["metadata", "annotations", key]).and_then(|text| text.parse().ok()).unwrap_or_default()
}

/// The workload asks for it in regular containers only.
fn cpu(pod: &Object) -> i64 {
    let all = pod.get(&["spec", "containers"]).and_then(Value::as_array);
    let asked = all.into_iter().flatten().filter_map(|one| one["resources"]["requests"]["cpu"].as_str());
    let thousandths = asked.map(|text| match text.strip_suffix('m') {
        Some(text) => text.parse().unwrap_or_default(),
        None => text.parse::<i64>().unwrap_or_default() * 1000,
    });
    thousandths.sum()
}

fn too_old_at(pod: &Object) -> Option<Timestamp> {
    let seconds = pod.get(&["spec", "activeDeadlineSeconds"])?.as_i64()?;
    let start: Timestamp = pod.text(&["status", "startTime"])?.parse().ok()?;
    start.checked_add(SignedDuration::from_secs(seconds)).ok()
}

/// Of all containers of a pod.
fn statuses(pod: &Object) -> impl Iterator<Item = &Value> {
    ["initContainerStatuses", "containerStatuses"]
        .into_iter()
        .filter_map(|field| pod.get(&["status", field])?.as_array())
        .flatten()
}

/// Pods by uid.
pub(super) type Pods = BTreeMap<String, Pod>;
