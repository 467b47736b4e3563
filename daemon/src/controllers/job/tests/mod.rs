//! The rules of the Job controller as tables: a situation as text in, a plan as text out.
//!
//! A situation is `job; pod; pod; …; now=T`. Each part is words: flags and `key=value`. [`parse`] is the list of them.

use std::sync::Arc;

use expect_test::Expect;
use jiff::{SignedDuration, Timestamp};
use jobd_api::{object::Object, write::Prepared};
use k8s_openapi::{
    api::{
        batch::v1::{
            Job, JobCondition, JobSpec, JobStatus, PodFailurePolicy, PodFailurePolicyOnExitCodesRequirement,
            PodFailurePolicyOnPodConditionsPattern, PodFailurePolicyRule, SuccessPolicy, SuccessPolicyRule,
            UncountedTerminatedPods,
        },
        core::v1::{PodSpec, PodTemplateSpec},
    },
    apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time},
};

use super::{
    backoff::Record,
    decide::decide,
    plan::{NewPod, Plan, PodChange, Refusal, Waiting},
    snapshot::{Exit, Failures, Memory, Moment, Phase, Pod, Restarts, Snapshot},
};
use crate::{recorder::EventType, sys::Now};

mod decisions;
mod lifecycle;
mod measured;
mod properties;
mod reading;
mod stored;
mod stories;

/// Decides for a situation, compares what the plan says, and sees that carrying it out leaves nothing to do.
#[track_caller]
fn check(situation: &str, want: Expect) {
    let (seen, now) = parse(situation);
    let (plan, made) = plan_for(&seen, now);
    want.assert_eq(&render(&plan, &made));
    let again = apply(&seen, &plan, &made, now);
    if !matches!(plan.waiting, Waiting::AnotherLook | Waiting::Admission) {
        let (second, made) = plan_for(&again, now);
        assert!(second.is_empty(), "a second look changes something: {}", render(&second, &made));
    }
}

fn time(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn moment(second: i64) -> Moment {
    Moment { wall: time(second), boot: SignedDuration::from_secs(second) }
}

/// Both clocks show the same in tests.
fn now(second: i64) -> Now {
    Now { wall: time(second), boot: std::time::Duration::from_secs(second.try_into().unwrap()) }
}

/// Decides; every pod is let in and named `new-<n>`.
fn plan_for(seen: &Snapshot, now: Now) -> (Plan, Vec<NewPod>) {
    plan_with_quota(seen, now, usize::MAX)
}

/// Decides; pods beyond the quota are refused.
fn plan_with_quota(seen: &Snapshot, now: Now, quota: usize) -> (Plan, Vec<NewPod>) {
    let mut made = Vec::new();
    let plan = decide(seen, now, &mut |new| {
        if made.len() >= quota {
            return Err(Refusal::Because("exceeded quota".to_owned()));
        }
        made.push(*new);
        let mut object = Object::default();
        let name = format!("new-{}-{}", now.boot.as_secs(), made.len());
        object.metadata_mut().insert("name".to_owned(), name.into());
        Ok(Prepared { object, index: jobd_api::index::Index::default(), warnings: Vec::new() })
    });
    (plan, made)
}

/// The words of a situation.
fn parse(situation: &str) -> (Snapshot, Now) {
    let mut parts = situation.split(';').map(str::trim);
    let (job, memory) = parse_job(parts.next().unwrap());
    let (mut pods, mut orphans, mut at) = (Vec::new(), Vec::new(), 1000);
    for part in parts {
        if let Some(second) = part.strip_prefix("now=") {
            at = second.parse().unwrap();
            continue;
        }
        let (pod, is_orphan) = parse_pod(part);
        if is_orphan { orphans.push(Arc::new(pod)) } else { pods.push(Arc::new(pod)) }
    }
    (Snapshot::new(job, pods, orphans, memory), now(at))
}

fn parse_job(text: &str) -> (Job, Memory) {
    let mut spec =
        JobSpec { parallelism: Some(1), completion_mode: Some("NonIndexed".to_owned()), ..JobSpec::default() };
    let mut template = PodSpec { restart_policy: Some("Never".to_owned()), ..PodSpec::default() };
    let mut metadata = ObjectMeta {
        name: Some("job".to_owned()),
        namespace: Some("ns".to_owned()),
        uid: Some("job-uid".to_owned()),
        ..ObjectMeta::default()
    };
    let mut status = JobStatus::default();
    let mut memory = Memory::default();
    for word in text.split_whitespace() {
        let (key, value) = word.split_once('=').unwrap_or((word, ""));
        let number = || Some(value.parse::<i32>().unwrap());
        match key {
            "indexed" => spec.completion_mode = Some("Indexed".to_owned()),
            "mode" => spec.completion_mode = Some(value.to_owned()),
            "completions" => spec.completions = number(),
            "parallelism" => spec.parallelism = number(),
            "limit" => spec.backoff_limit = number(),
            "per-index" => {
                spec.backoff_limit_per_index = number();
                spec.backoff_limit = Some(i32::MAX);
            }
            "max-failed" => spec.max_failed_indexes = number(),
            "deadline" => spec.active_deadline_seconds = Some(value.parse().unwrap()),
            "suspend" => spec.suspend = Some(true),
            "replace" => spec.pod_replacement_policy = Some(value.to_owned()),
            "managed-by" => spec.managed_by = Some(value.to_owned()),
            "policy" => spec.pod_failure_policy = Some(parse_policy(value)),
            "success" => spec.success_policy = Some(parse_success(value)),
            "on-failure" => template.restart_policy = Some("OnFailure".to_owned()),
            "deleting" => metadata.deletion_timestamp = Some(Time(time(999))),
            "succeeded" => status.succeeded = number(),
            "failed" => status.failed = number(),
            "completed" => status.completed_indexes = Some(value.to_owned()),
            "failed-indexes" => status.failed_indexes = Some(value.to_owned()),
            "start" => status.start_time = Some(Time(time(value.parse().unwrap()))),
            "uncounted-failed" => {
                let failed = Some(value.split(',').map(str::to_owned).collect());
                status.uncounted_terminated_pods = Some(UncountedTerminatedPods { failed, succeeded: None });
            }
            "condition" => {
                let mut parts = value.split(':').map(str::to_owned);
                status.conditions.get_or_insert_default().push(JobCondition {
                    type_: parts.next().unwrap(),
                    status: parts.next().unwrap(),
                    reason: parts.next(),
                    message: Some("told before".to_owned()),
                    last_probe_time: None,
                    last_transition_time: None,
                });
            }
            "backoff" => {
                let (failures, last) = value.split_once('@').unwrap();
                let last = Some(SignedDuration::from_secs(last.parse().unwrap()));
                memory.backoff = Record { failures: failures.parse().unwrap(), last };
            }
            _ => panic!("unknown word for a job: {word}"),
        }
    }
    if spec.success_policy.is_some() && spec.completions.is_none() {
        spec.completions = Some(10);
    }
    spec.template = PodTemplateSpec { metadata: None, spec: Some(template) };
    (Job { metadata, spec: Some(spec), status: Some(status) }, memory)
}

/// `Ignore:In:1,2`, `FailJob:In:42:main`, `Ignore:DisruptionTarget=True`; rules are separated by `|`; `none` is an empty list.
fn parse_policy(text: &str) -> PodFailurePolicy {
    let rule = |rule: &str| {
        let parts: Vec<&str> = rule.split(':').collect();
        let mut parsed = PodFailurePolicyRule { action: parts[0].to_owned(), ..PodFailurePolicyRule::default() };
        if let Some((condition, status)) = parts[1].split_once('=') {
            let pattern =
                PodFailurePolicyOnPodConditionsPattern { type_: condition.to_owned(), status: Some(status.to_owned()) };
            parsed.on_pod_conditions = Some(vec![pattern]);
        } else {
            parsed.on_exit_codes = Some(PodFailurePolicyOnExitCodesRequirement {
                container_name: parts.get(3).map(|name| (*name).to_owned()),
                operator: parts[1].to_owned(),
                values: parts[2].split(',').map(|code| code.parse().unwrap()).collect(),
            });
        }
        parsed
    };
    PodFailurePolicy { rules: text.split('|').filter(|rule| *rule != "none").map(rule).collect() }
}

/// `0-2/-`: indexes and count, `-` for absent; rules are separated by `|`.
fn parse_success(text: &str) -> SuccessPolicy {
    let rule = |rule: &str| {
        let (indexes, count) = rule.split_once('/').unwrap();
        SuccessPolicyRule {
            succeeded_indexes: (indexes != "-").then(|| indexes.to_owned()),
            succeeded_count: (count != "-").then(|| count.parse().unwrap()),
        }
    };
    SuccessPolicy { rules: text.split('|').map(rule).collect() }
}

/// A pod: its name, its phase, and what is special about it. True: it has no controller.
fn parse_pod(text: &str) -> (Pod, bool) {
    let mut words = text.split_whitespace();
    let name = words.next().unwrap().to_owned();
    let mut pod = new_pod(&name, 0);
    pod.assigned = true;
    pod.vanishes = false;
    let mut is_orphan = false;
    for word in words {
        let (key, value) = word.split_once('=').unwrap_or((word, ""));
        let second = || value.parse::<i64>().unwrap();
        let count = || value.parse::<i32>().unwrap();
        match key {
            "pending" => pod.phase = Phase::Pending,
            "running" => pod.phase = Phase::Running,
            "unknown" => pod.phase = Phase::Unknown,
            "succeeded" => pod.phase = Phase::Succeeded,
            "failed" => pod.phase = Phase::Failed,
            "deleting" => pod.deleting = true,
            "untracked" => pod.tracking = false,
            "unassigned" => (pod.assigned, pod.vanishes) = (false, true),
            "other-labels" => pod.matches = false,
            "orphan" => is_orphan = true,
            "ready" => {
                pod.ready = true;
                pod.ready_since = (!value.is_empty()).then(|| time(second()));
            }
            "index" => pod.index = Some(count()),
            "count" => pod.failures.counted = count(),
            "ignored" => pod.failures.ignored = count(),
            "restarts" => (pod.restarts.sum, pod.restarts.max) = (second(), count()),
            "sidecar-restarts" => pod.restarts.sidecar_max = count(),
            "at" => pod.finish = moment(second()),
            "created" => pod.created = Some(time(second())),
            "exit" => {
                let (container, code) = value.split_once(':').unwrap();
                pod.exits.push(Exit { container: container.to_owned(), code: code.parse().unwrap() });
            }
            "condition" => {
                let (condition, status) = value.split_once(':').unwrap();
                pod.conditions.push((condition.to_owned(), status.to_owned()));
            }
            _ => panic!("unknown word for a pod: {word}"),
        }
    }
    (pod, is_orphan)
}

/// A pod that was just created.
fn new_pod(name: &str, created: i64) -> Pod {
    Pod {
        name: name.to_owned(),
        uid: format!("uid-{name}"),
        created: Some(time(created)),
        phase: Phase::Pending,
        deleting: false,
        tracking: true,
        vanishes: true,
        matches: true,
        index: None,
        failures: Failures::default(),
        ready: false,
        ready_since: None,
        assigned: false,
        restarts: Restarts::default(),
        finish: moment(created),
        exits: Vec::new(),
        conditions: Vec::new(),
    }
}

/// The state after a plan is committed.
fn apply(seen: &Snapshot, plan: &Plan, made: &[NewPod], now: Now) -> Snapshot {
    let mut job = seen.job.clone();
    if let Some(status) = &plan.status {
        job.status = Some(status.clone());
    }
    let mut pods = Vec::new();
    for pod in seen.pods.iter().chain(&seen.orphans) {
        let is_orphan = seen.orphans.iter().any(|orphan| orphan.uid == pod.uid);
        let mut pod = Pod::clone(pod);
        match plan.pods.get(&pod.name) {
            None if is_orphan => continue,
            None => {}
            Some(PodChange::Adopt) => pod.tracking = true,
            Some(PodChange::Release) => continue,
            Some(PodChange::Untrack) => pod.tracking = false,
            Some(PodChange::Delete) if pod.vanishes => continue,
            Some(PodChange::Delete) => {
                (pod.tracking, pod.deleting) = (false, true);
                pod.finish = Moment::at(now);
            }
        }
        // What has ended and been counted is in no snapshot any more.
        if pod.tracking || !pod.phase.is_terminal() {
            pods.push(Arc::new(pod));
        }
    }
    let left = seen.orphans.iter().filter(|pod| !plan.pods.contains_key(&pod.name)).cloned().collect();
    for (made, new) in plan.create.iter().zip(made) {
        let mut pod = new_pod(made.object.name(), now.wall.as_second());
        pod.index = new.index;
        pod.failures = new.failures.unwrap_or_default();
        pods.push(Arc::new(pod));
    }
    Snapshot::new(job, pods, left, plan.memory.clone())
}

/// What a plan does, a line for each kind of thing.
fn render(plan: &Plan, made: &[NewPod]) -> String {
    let mut lines = Vec::new();
    for (change, verb) in [
        (PodChange::Adopt, "adopt"),
        (PodChange::Release, "release"),
        (PodChange::Untrack, "untrack"),
        (PodChange::Delete, "delete"),
    ] {
        let names: Vec<&str> = plan.pods.iter().filter(|(_, c)| **c == change).map(|(name, _)| name.as_str()).collect();
        if !names.is_empty() {
            lines.push(format!("{verb} {}", names.join(" ")));
        }
    }
    match made {
        [] => {}
        [NewPod { index: None, .. }, ..] => lines.push(format!("create {}", made.len())),
        indexed => lines.push(format!("create {}", indexed.iter().map(render_new).collect::<Vec<_>>().join(" "))),
    }
    lines.extend(plan.status.as_ref().map(|status| format!("status {}", render_status(status))));
    for event in &plan.events {
        let event_type = match event.event_type {
            EventType::Normal => "Normal",
            EventType::Warning => "Warning",
        };
        // One per pod, said by the lines above.
        if event.reason != "SuccessfulCreate" && event.reason != "SuccessfulDelete" {
            lines.push(format!("event {event_type} {}: {}", event.reason, event.message));
        }
    }
    lines.push(format!("waits for {}", plan.waiting));
    if let Some(next) = plan.next {
        lines.push(format!("next {}", next.as_secs()));
    }
    lines.join("\n")
}

fn render_new(new: &NewPod) -> String {
    let index = new.index.unwrap_or(-1);
    match new.failures {
        None => index.to_string(),
        Some(Failures { counted, ignored }) => format!("{index}({counted}/{ignored})"),
    }
}

fn render_status(status: &JobStatus) -> String {
    let JobStatus {
        active,
        completed_indexes,
        completion_time,
        conditions,
        failed,
        failed_indexes,
        ready,
        start_time,
        succeeded,
        terminating,
        uncounted_terminated_pods,
    } = status;
    assert_eq!(*uncounted_terminated_pods, Some(UncountedTerminatedPods::default()), "J-875");
    let mut words = Vec::new();
    for (name, count) in [("active", active), ("succeeded", succeeded), ("failed", failed)] {
        words.extend(count.map(|count| format!("{name}={count}")));
    }
    // Always there (J-1002), so only worth a word when they say something.
    for (name, count) in [("ready", ready), ("terminating", terminating)] {
        words.extend(Some(count.unwrap()).filter(|count| *count != 0).map(|count| format!("{name}={count}")));
    }
    words.extend(completed_indexes.as_ref().map(|text| format!("completed={text}")));
    words.extend(failed_indexes.as_ref().map(|text| format!("failed-indexes={text}")));
    words.extend(start_time.as_ref().map(|time| format!("start={}", time.0.as_second())));
    for condition in conditions.iter().flatten() {
        let reason = condition.reason.as_deref().unwrap_or_default();
        words.push(format!("{}={}:{reason}", condition.type_, condition.status));
    }
    words.extend(completion_time.as_ref().map(|time| format!("completion={}", time.0.as_second())));
    words.join(" ")
}
