//! The rules of the CronJob controller as tables: a situation as text in, a plan as text out.
//!
//! A situation is `cron job; job; job; …; now=T`. Each part is words: flags and `key=value`; `_` in a schedule stands for a blank. Times
//! are those of 2024-05-01 in UTC. The cron job is `x`, made at 10:00 and hourly if nothing else is said. [`parse`] is the list of words.

use expect_test::Expect;
use jiff::{Timestamp, tz::TimeZone};
use jobd_api::{index::Index, object::Object, write::Prepared};
use k8s_openapi::{
    api::batch::v1::{CronJob, CronJobSpec, CronJobStatus},
    apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time},
};

use super::{
    super::job::plan::Refusal,
    decide::decide,
    jobs,
    plan::Plan,
    snapshot::{Child, Edit, End, Snapshot},
};

mod decisions;
mod runs;
mod stored;
mod years;

/// `11:05`, `11:05:00.1` or a whole timestamp.
fn time(text: &str) -> Timestamp {
    match text.len() {
        0..=5 => format!("2024-05-01T{text}:00Z"),
        6..=12 => format!("2024-05-01T{text}Z"),
        _ => text.to_owned(),
    }
    .parse()
    .unwrap()
}

/// The same way back.
fn show(time: Timestamp) -> String {
    let text = time.to_string();
    let text = text.strip_prefix("2024-05-01T").unwrap_or(&text);
    text.strip_suffix(":00Z").unwrap_or(text).to_owned()
}

/// Decides for a situation, compares what the plan says, and sees that carrying it out leaves nothing to do.
#[track_caller]
fn check(situation: &str, want: Expect) {
    let (seen, now) = parse(situation);
    let plan = plan_for(&seen, now);
    want.assert_eq(&render(&plan));
    if plan.refused.is_none() {
        let again = plan_for(&apply(&seen, &plan), now);
        let Plan { delete, create, status, next, events: _, waiting: _, refused: _ } = &again;
        let is_idle = delete.is_empty() && create.is_none() && status.is_none() && *next == plan.next;
        assert!(is_idle, "a second look changes something: {}", render(&again));
    }
}

/// Every job is let in, except with the label `refuse`; its uid is its name.
fn plan_for(seen: &Snapshot, now: Timestamp) -> Plan {
    decide(seen, now, &TimeZone::UTC, &mut |job| {
        if job.metadata.labels.as_ref().is_some_and(|labels| labels.contains_key("refuse")) {
            return Err(Refusal::Because("not today".to_owned()));
        }
        let mut object = Object::from_typed(job).unwrap();
        let name = object.name().to_owned();
        object.metadata_mut().insert("uid".to_owned(), name.into());
        Ok(Prepared { object, index: Index::default(), warnings: Vec::new() })
    })
}

/// The situation after the plan's commit.
fn apply(seen: &Snapshot, plan: &Plan) -> Snapshot {
    let mut after = seen.clone();
    after.due_at = plan.next;
    after.children.retain(|child| !plan.delete.contains(&child.name));
    after.strays.retain(|child| !plan.delete.contains(&child.name));
    if let Some(made) = &plan.create {
        after.children.push(child(made.object.name()));
    }
    if let Some(status) = &plan.status {
        after.cron_job.status = Some(status.clone());
    }
    after
}

fn child(name: &str) -> Child {
    Child { name: name.to_owned(), uid: name.to_owned(), started: None, completed: None, end: None }
}

fn parse(situation: &str) -> (Snapshot, Timestamp) {
    let mut parts = situation.split(';').map(str::trim);
    let mut seen = parse_cron_job(parts.next().unwrap());
    let mut now = time("11:00:00.1");
    for part in parts {
        if let Some(text) = part.strip_prefix("now=") {
            now = time(text);
            continue;
        }
        let mut words = part.split_whitespace();
        let mut child = child(words.next().unwrap());
        let mut stray = false;
        for word in words {
            match word.split_once('=').unwrap_or((word, "")) {
                ("running", _) => {}
                ("stray", _) => stray = true,
                ("complete", _) => child.end = Some(End::Complete),
                ("failed", _) => child.end = Some(End::Failed),
                ("start", at) => child.started = Some(time(at)),
                ("done", at) => child.completed = Some(time(at)),
                ("uid", uid) => child.uid = uid.to_owned(),
                _ => panic!("{word}"),
            }
        }
        if stray { seen.strays.push(child) } else { seen.children.push(child) }
    }
    (seen, now)
}

fn parse_cron_job(text: &str) -> Snapshot {
    let mut spec = CronJobSpec {
        schedule: "0 * * * *".to_owned(),
        concurrency_policy: Some("Allow".to_owned()),
        successful_jobs_history_limit: Some(3),
        failed_jobs_history_limit: Some(1),
        suspend: Some(false),
        ..CronJobSpec::default()
    };
    let mut metadata = ObjectMeta {
        name: Some("x".to_owned()),
        namespace: Some("ns".to_owned()),
        uid: Some("cron-uid".to_owned()),
        creation_timestamp: Some(Time(time("10:00"))),
        ..ObjectMeta::default()
    };
    let mut status = CronJobStatus::default();
    let (mut due_at, mut edited, mut taken) = (None, None, None);
    for word in text.split_whitespace() {
        let (key, value) = word.split_once('=').unwrap_or((word, ""));
        match key {
            "schedule" => spec.schedule = value.replace('_', " "),
            "zone" => spec.time_zone = Some(value.to_owned()),
            "policy" => spec.concurrency_policy = Some(value.to_owned()),
            "D" => spec.starting_deadline_seconds = Some(value.parse().unwrap()),
            "suspend" => spec.suspend = Some(true),
            "limits" => {
                let (successful, failed) = value.split_once('/').unwrap();
                spec.successful_jobs_history_limit = successful.parse().ok();
                spec.failed_jobs_history_limit = failed.parse().ok();
            }
            "refuse" => {
                let metadata = spec.job_template.metadata.get_or_insert_default();
                metadata.labels.get_or_insert_default().insert("refuse".to_owned(), String::new());
            }
            "created" => metadata.creation_timestamp = Some(Time(time(value))),
            "deleting" => metadata.deletion_timestamp = Some(Time(time("10:30"))),
            "last" => status.last_schedule_time = Some(Time(time(value))),
            "success" => status.last_successful_time = Some(Time(time(value))),
            "active" => {
                let references = value.split(',').map(|name| jobs::reference("ns", name, name));
                status.active = Some(references.collect());
            }
            "due" => due_at = Some(time(value)),
            "edited" => edited = Some(Edit { at: time(value), is_new: false }),
            "new-edit" => edited = Some(Edit { at: time(value), is_new: true }),
            "taken" => taken = Some(value.to_owned()),
            _ => panic!("{word}"),
        }
    }
    let cron_job = CronJob { metadata, spec, status: Some(status) };
    Snapshot { cron_job, children: Vec::new(), strays: Vec::new(), due_at, edited, taken }
}

fn render(plan: &Plan) -> String {
    let Plan { delete, create, status, events, waiting, next, refused } = plan;
    let mut lines: Vec<String> = delete.iter().map(|name| format!("delete {name}")).collect();
    lines.extend(create.iter().map(|made| format!("create {}", made.object.name())));
    if let Some(CronJobStatus { active, last_schedule_time, last_successful_time }) = status {
        let mut words = vec!["status".to_owned()];
        if let Some(active) = active {
            let names: Vec<_> = active.iter().map(|reference| reference.name.clone().unwrap()).collect();
            words.push(format!("active={}", names.join(",")));
        }
        words.extend(last_schedule_time.iter().map(|time| format!("last={}", show(time.0))));
        words.extend(last_successful_time.iter().map(|time| format!("success={}", show(time.0))));
        lines.push(words.join(" "));
    }
    lines.extend(events.iter().map(|event| {
        let mark = match event.event_type {
            crate::recorder::EventType::Normal => "",
            crate::recorder::EventType::Warning => "! ",
        };
        format!("{mark}{}: {}", event.reason, event.message)
    }));
    lines.extend(refused.iter().map(|why| format!("refused: {why}")));
    lines.push(format!("waits for {waiting}"));
    lines.extend(next.iter().map(|next| format!("next {}", show(*next))));
    lines.join("\n")
}
