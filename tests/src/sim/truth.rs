//! What really happened to every container, kept for ever: no fault can hide it from the checkers.

use std::{collections::BTreeMap, time::Duration};

use jiff::Timestamp;

/// The node's name for it.
const SANDBOX: &str = jobd::node::observed::SANDBOX;
/// The least that a command has between TERM and KILL (J-2550).
const GRACE_MIN: Duration = Duration::from_secs(2);

/// One container's life.
#[derive(Clone, Debug, Default)]
pub struct Truth {
    pub name: String,
    pub pod_uid: String,
    /// The container's name in its pod.
    pub container: String,
    /// Id of the sandbox that it joined; none: it has its own network.
    pub sandbox: Option<String>,
    /// How often its command began to run (I-2).
    pub starts: u32,
    pub running: bool,
    /// How it ended, once it has.
    pub exit_code: Option<i64>,
    /// And when, since the simulation began.
    pub ended: Option<Duration>,
    /// When its command began.
    pub begun: Option<Duration>,
    /// When the daemon sent the first stop signal that reached it.
    pub asked_to_stop: Option<Duration>,
    /// The daemon had it killed.
    pub killed: bool,
}

/// A command began to run; what was true of its pod's containers just before.
#[derive(Clone, Debug)]
pub struct Start {
    pub pod_uid: String,
    pub container: String,
    pub sandbox: Option<String>,
    /// Everything that was ever created for the pod, itself left out.
    pub before: Vec<Truth>,
    pub at: Duration,
}

/// The daemon had a command killed that ran.
#[derive(Clone, Debug)]
pub struct Kill {
    pub pod_uid: String,
    pub container: String,
    /// When it asked for that, by the wall.
    pub asked: Timestamp,
}

/// All containers that ever were, by id.
#[derive(Debug, Default)]
pub struct Truths {
    all: BTreeMap<String, Truth>,
    starts: Vec<Start>,
    kills: Vec<Kill>,
    violations: Vec<String>,
}

impl Truths {
    pub fn created(&mut self, id: &str, truth: Truth) {
        self.all.insert(id.to_owned(), truth);
    }

    /// I-2: one attempt, one container, run at most once; and never beside another attempt of the same container.
    pub fn started(&mut self, id: &str, at: Duration) {
        let Some(truth) = self.all.get_mut(id) else { return };
        truth.starts += 1;
        truth.begun = Some(at);
        truth.running = true;
        let Truth { name, pod_uid, container, sandbox, .. } = truth.clone();
        let starts: u32 = self.all.values().filter(|other| other.name == name).map(|other| other.starts).sum();
        if starts > 1 {
            self.violations.push(format!("I-2: the attempt {name} was started {starts} times"));
        }
        let others = self.all.iter().filter(|(other, truth)| *other != id && truth.pod_uid == pod_uid);
        let before: Vec<Truth> = others.map(|(_, truth)| truth.clone()).collect();
        if before.iter().any(|other| other.container == container && other.running) {
            self.violations.push(format!("I-2: {name} was started while another attempt of its container runs"));
        }
        self.starts.push(Start { pod_uid, container, sandbox, before, at });
    }

    /// The daemon's stop signal reached it. `at`: when it was sent.
    pub fn asked_to_stop(&mut self, id: &str, at: Duration) {
        if let Some(truth) = self.all.get_mut(id) {
            truth.asked_to_stop.get_or_insert(at);
        }
    }

    /// J-2550: whoever is killed was asked before, and had two seconds at the least. `at`: when the daemon sent it.
    pub fn killed(&mut self, id: &str, at: Duration, asked: Timestamp) {
        let Some(truth) = self.all.get_mut(id) else { return };
        truth.killed = true;
        if truth.asked_to_stop.is_none_or(|asked| at < asked + GRACE_MIN) {
            self.violations.push(format!(
                "J-2550: {} is killed at {at:?}, and was asked to end at {:?}",
                truth.name, truth.asked_to_stop
            ));
        }
        self.kills.push(Kill { pod_uid: truth.pod_uid.clone(), container: truth.container.clone(), asked });
    }

    /// The commands of this pod that run, its sandbox left out.
    pub fn running(&self, pod_uid: &str) -> impl Iterator<Item = &Truth> {
        self.all.values().filter(move |truth| truth.running && truth.pod_uid == pod_uid && truth.container != SANDBOX)
    }

    pub fn ended(&mut self, id: &str, code: i64, at: Duration) {
        if let Some(truth) = self.all.get_mut(id) {
            truth.exit_code = Some(code);
            truth.ended = Some(at);
            truth.running = false;
        }
    }

    /// The engine forgot it; its process lives on, where nobody can know of it (D-610).
    pub fn orphaned(&mut self, id: &str) {
        if let Some(truth) = self.all.get_mut(id) {
            truth.running = false;
        }
    }

    #[must_use]
    pub fn find(&self, id: &str) -> Option<&Truth> {
        self.all.get(id)
    }

    /// Whether a command of this container of this pod ever ran.
    #[must_use]
    pub fn has_run(&self, pod_uid: &str, container: &str) -> bool {
        self.all.values().any(|truth| truth.pod_uid == pod_uid && truth.container == container && truth.starts > 0)
    }

    /// When the last of the pod's commands ended, the sandbox left out; none: none ran, or one still does.
    #[must_use]
    pub fn last_end(&self, pod_uid: &str) -> Option<Duration> {
        let ran = || {
            self.all.values().filter(|truth| truth.pod_uid == pod_uid && truth.container != SANDBOX && truth.starts > 0)
        };
        if ran().any(|truth| truth.ended.is_none()) { None } else { ran().filter_map(|truth| truth.ended).max() }
    }

    pub fn take_violations(&mut self) -> Vec<String> {
        std::mem::take(&mut self.violations)
    }

    pub fn take_kills(&mut self) -> Vec<Kill> {
        std::mem::take(&mut self.kills)
    }

    pub fn take_starts(&mut self) -> Vec<Start> {
        std::mem::take(&mut self.starts)
    }
}
