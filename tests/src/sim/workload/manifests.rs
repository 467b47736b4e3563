//! What the users' manifests look like: small, with every feature by chance.

use serde_json::{Value, json};

use super::super::dice::Dice;

/// A small job with features by chance.
pub(super) fn job(name: &str, dice: &mut Dice) -> Value {
    let indexed = dice.one_in(2);
    let parallelism = if dice.one_in(12) { 0 } else { dice.between(1, 4) };
    let completions = (indexed || !dice.one_in(4)).then(|| dice.between(1, 6));
    let completions = if dice.one_in(6) && completions.is_some() { Some(parallelism) } else { completions };
    let never = dice.one_in(2) || indexed;
    let mut spec = json!({
        "parallelism": parallelism,
        "backoffLimit": dice.between(0, 3),
        "template": {"spec": pod_spec(if never { "Never" } else { "OnFailure" }, dice)},
    });
    if let Some(completions) = completions {
        spec["completions"] = json!(completions);
    }
    if indexed {
        spec["completionMode"] = json!("Indexed");
        if dice.one_in(2) {
            spec["backoffLimitPerIndex"] = json!(dice.between(0, 2));
            if dice.one_in(2) {
                spec["backoffLimit"] = json!(100);
            }
            if dice.one_in(2) {
                spec["maxFailedIndexes"] = json!(dice.below(completions.unwrap_or(1) + 1));
            }
        }
        if let Some(completions @ 1..) = completions
            && dice.one_in(3)
        {
            let mut rule = json!({});
            let last = dice.below(completions);
            match dice.below(3) {
                0 => rule["succeededCount"] = json!(dice.between(1, completions)),
                1 => rule["succeededIndexes"] = json!(format!("{last}")),
                _ => {
                    rule["succeededIndexes"] = json!(if last == 0 { "0".to_owned() } else { format!("0-{last}") });
                    rule["succeededCount"] = json!(dice.between(1, last + 1));
                }
            }
            spec["successPolicy"] = json!({"rules": [rule]});
        }
    }
    if never && dice.one_in(3) {
        let action = if spec["backoffLimitPerIndex"].is_null() {
            *dice.pick(&["FailJob", "Ignore", "Count"])
        } else {
            *dice.pick(&["FailJob", "Ignore", "Count", "FailIndex"])
        };
        let mut codes = match dice.below(3) {
            0 => json!({"operator": "NotIn", "values": [0, 1]}),
            _ => json!({"operator": "In", "values": [42]}),
        };
        if dice.one_in(2) {
            codes["containerName"] = json!("main");
        }
        let mut rules = vec![json!({"action": action, "onExitCodes": codes})];
        if dice.one_in(2) {
            let disrupted = json!([{"type": "DisruptionTarget", "status": "True"}]);
            rules.insert(0, json!({"action": "Ignore", "onPodConditions": disrupted}));
        }
        spec["podFailurePolicy"] = json!({"rules": rules});
        spec["podReplacementPolicy"] = json!("Failed");
    } else if dice.one_in(4) {
        spec["podReplacementPolicy"] = json!("Failed");
    }
    if dice.one_in(25) {
        spec["managedBy"] = json!("example.com/somebody");
    }
    if dice.one_in(6) {
        spec["suspend"] = json!(true);
    }
    if dice.one_in(5) {
        spec["activeDeadlineSeconds"] = json!(dice.between(1, 300));
    }
    if dice.one_in(3) {
        spec["ttlSecondsAfterFinished"] = json!(dice.below(60));
    }
    json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name}, "spec": spec})
}

/// A cron job. `seldom`: its times are days apart, and its jobs are done when they begin.
pub(super) fn cron_job(name: &str, seldom: bool, dice: &mut Dice) -> Value {
    let mut spec = json!({
        "schedule": schedule(seldom, dice),
        "concurrencyPolicy": dice.pick(&["Allow", "Forbid", "Replace"]),
        "jobTemplate": {"spec": if seldom { empty_job() } else { small_job(dice) }},
    });
    if let Some(zone) = zone(dice) {
        spec["timeZone"] = json!(zone);
    }
    if dice.one_in(3) {
        spec["startingDeadlineSeconds"] = json!(dice.pick(&[1, 30, 90, 600]));
    }
    if dice.one_in(3) {
        spec["successfulJobsHistoryLimit"] = json!(dice.below(3));
        spec["failedJobsHistoryLimit"] = json!(dice.below(3));
    }
    json!({"apiVersion": "batch/v1", "kind": "CronJob", "metadata": {"name": name}, "spec": spec})
}

pub(super) fn schedule(seldom: bool, dice: &mut Dice) -> &'static str {
    const OFTEN: &[&str] =
        &["* * * * *", "*/2 * * * *", "*/5 * * * *", "1-59/3 * * * *", "0,7,8 * * * *", "@every 100s"];
    const SELDOM: &[&str] = &[
        "30 2 * * *",
        "0 3 * * 0",
        "0 0 1 * *",
        "15 1,2,3 * * *",
        "0 */6 * * *",
        "0 0 29 2 *",
        "59 23 31 12 *",
        "0 12 13 * 5",
        "0 0 */2 * 1",
        "@daily",
    ];
    let schedules = if seldom { SELDOM } else { OFTEN };
    schedules[usize::try_from(dice.below(schedules.len() as u64)).unwrap_or_default()]
}

/// Some that change their clocks in different ways, and one that skipped a day.
pub(super) fn zone(dice: &mut Dice) -> Option<&'static str> {
    const ZONES: &[&str] = &[
        "Europe/Berlin",
        "America/New_York",
        "Australia/Lord_Howe",
        "Asia/Kolkata",
        "Africa/Cairo",
        "America/Havana",
        "Pacific/Apia",
    ];
    dice.one_in(2).then(|| *dice.pick(ZONES))
}

/// J-842.
fn empty_job() -> Value {
    let container = json!({"name": "main", "image": "busybox:1"});
    json!({"completions": 0, "template": {"spec": {"restartPolicy": "Never", "containers": [container]}}})
}

fn small_job(dice: &mut Dice) -> Value {
    let mut main = container("main", dice);
    main["args"][2] = json!(format!("seconds={}", dice.pick(&[1, 20, 150])));
    json!({
        "backoffLimit": dice.below(2),
        "template": {"spec": {"restartPolicy": "Never", "terminationGracePeriodSeconds": 2, "containers": [main]}},
    })
}

/// A pod that no job owns.
pub(super) fn pod(name: &str, dice: &mut Dice) -> Value {
    let policy = *dice.pick(&["Always", "OnFailure", "Never"]);
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": pod_spec(policy, dice)})
}

fn pod_spec(policy: &str, dice: &mut Dice) -> Value {
    let mut main = container("main", dice);
    main["resources"] = json!({"requests": {"cpu": dice.pick(&["100m", "500m", "1", "2"])}});
    let mut spec = json!({
        "restartPolicy": policy,
        "terminationGracePeriodSeconds": dice.pick(&[0, 1, 5, 30]),
        "containers": [main],
    });
    if dice.one_in(6) {
        spec["activeDeadlineSeconds"] = json!(dice.between(1, 120));
    }
    if dice.one_in(4) {
        spec["volumes"] = json!([{"name": "scratch", "emptyDir": {}}]);
        spec["containers"][0]["volumeMounts"] = json!([{"name": "scratch", "mountPath": "/scratch"}]);
    }
    if !dice.one_in(3) {
        return spec;
    }
    // Pods of several containers have a sandbox.
    let mut inits = Vec::new();
    for place in 0..dice.below(3) {
        inits.push(match dice.below(2) {
            0 => short(container(&format!("init{place}"), dice)),
            _ => sidecar(&format!("side{place}"), dice),
        });
    }
    if inits.is_empty() || dice.one_in(3) {
        let other = container("other", dice);
        spec["containers"].as_array_mut().expect("an array").push(other);
    }
    if !inits.is_empty() {
        spec["initContainers"] = json!(inits);
    }
    spec
}

fn container(name: &str, dice: &mut Dice) -> Value {
    let args = [
        format!("fail={}", dice.pick(&[0, 0, 20, 50, 100])),
        format!("code={}", dice.pick(&[1, 42, 137])),
        format!("seconds={}", dice.pick(&[0, 1, 3, 10, 60, 300])),
        format!("term={}", dice.below(3)),
        format!("start_error={}", if dice.one_in(8) { 50 } else { 0 }),
        format!("stuck={}", u64::from(dice.one_in(12))),
    ];
    let image = *dice.pick(&["busybox:1", "busybox:1", "busybox:1", "busybox:1", "other:1", "missing:1"]);
    json!({
        "name": name,
        "image": image,
        "imagePullPolicy": dice.pick(&["IfNotPresent", "IfNotPresent", "Always"]),
        "args": args,
    })
}

/// One that others wait for had better end.
fn short(mut container: Value) -> Value {
    container["args"][2] = json!("seconds=2");
    container
}

fn sidecar(name: &str, dice: &mut Dice) -> Value {
    let mut sidecar = container(name, dice);
    sidecar["restartPolicy"] = json!("Always");
    if !dice.one_in(4) {
        let args = sidecar["args"].as_array_mut().expect("an array");
        args.push(json!("stays=1"));
    }
    sidecar
}
