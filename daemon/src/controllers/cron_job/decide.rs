//! What to do next for one cron job (cronjobs.md section 6). Pure: same snapshot and time, same plan.
//!
//! The top function has the steps of C-604 in their order. Where the baseline makes several calls, each of which can fail by itself, here
//! everything is one transaction: there is no job without its entry in the status (C-901, C-905 are for jobs that others made), and no
//! failed deletion to report (C-1414, C-1415).
#![deny(clippy::disallowed_methods)]

use jiff::{SignedDuration, Timestamp, tz::TimeZone};
use jobd_api::{
    cron::{Schedule, find_zone},
    write::Prepared,
};
use k8s_openapi::{
    api::batch::v1::{CronJobStatus, Job},
    apimachinery::pkg::apis::meta::v1::Time,
};

use super::{
    super::job::plan::{Event, Refusal},
    history, jobs,
    plan::{Plan, Waiting},
    runs::{Choice, MISSED_MAX, Passed, Runs},
    snapshot::{End, Snapshot, lists},
};

/// Makes the job: defaults, validation, admission.
pub type Maker<'a> = dyn FnMut(&Job) -> Result<Prepared, Refusal> + 'a;

/// Decides. `local` is the zone of schedules without one (C-501).
pub fn decide(seen: &Snapshot, now: Timestamp, local: &TimeZone, make: &mut Maker<'_>) -> Plan {
    let mut status = seen.status();
    let mut plan = Plan::default();
    clean_up_history(seen, &mut plan);
    account_for_children(seen, &mut status, &mut plan);
    drop_missing(seen, &mut status, &mut plan);
    if seen.cron_job.metadata.deletion_timestamp.is_some() {
        plan.waiting = Waiting::Deletion;
    } else {
        run_if_due(seen, now, local, &mut status, &mut plan, make);
    }
    if status.active.as_ref().is_some_and(Vec::is_empty) {
        status.active = None;
    }
    plan.status = Some(status).filter(|status| *status != seen.status());
    plan
}

/// Step 1 (C-1104).
fn clean_up_history(seen: &Snapshot, plan: &mut Plan) {
    for name in history::surplus(&seen.children, seen.spec()) {
        delete(name, plan);
    }
}

fn delete(name: String, plan: &mut Plan) {
    plan.events.push(Event::normal("SuccessfulDelete", format!("Deleted job {name}")));
    plan.delete.push(name);
}

/// Step 2.
fn account_for_children(seen: &Snapshot, status: &mut CronJobStatus, plan: &mut Plan) {
    let active = status.active.get_or_insert_default();
    for child in &seen.children {
        let name = &child.name;
        match (child.end, lists(active, &child.uid)) {
            (None, false) => {
                let message = format!("Saw a job that the controller did not create or forgot: {name}");
                plan.events.push(Event::warning("UnexpectedJob", message));
            }
            (Some(end), true) => {
                active.retain(|reference| reference.uid.as_deref() != Some(&child.uid));
                let message = format!("Saw completed job: {name}, condition: {}", end.as_str());
                plan.events.push(Event::normal("SawCompletedJob", message));
            }
            (None, true) | (Some(_), false) => {}
        }
        // C-1004
        let last = status.last_successful_time.as_ref().map(|time| time.0);
        if child.end == Some(End::Complete) && child.completed > last {
            status.last_successful_time = child.completed.map(Time);
        }
    }
}

/// Step 3.
fn drop_missing(seen: &Snapshot, status: &mut CronJobStatus, plan: &mut Plan) {
    let known = |uid: &str| seen.children.iter().chain(&seen.strays).any(|child| child.uid == uid);
    status.active.get_or_insert_default().retain(|reference| {
        let is_known = reference.uid.as_deref().is_some_and(known);
        if !is_known {
            let name = reference.name.as_deref().unwrap_or_default();
            plan.events.push(Event::normal("MissingJob", format!("Active job went missing: {name}")));
        }
        is_known
    });
}

/// Steps 5 to 12.
fn run_if_due(
    seen: &Snapshot,
    now: Timestamp,
    local: &TimeZone,
    status: &mut CronJobStatus,
    plan: &mut Plan,
    make: &mut Maker<'_>,
) {
    let spec = seen.spec();
    let text = &spec.schedule;
    let zone = match spec.time_zone.as_deref().map(|name| find_zone(name).ok_or(name)).transpose() {
        Ok(zone) => zone,
        Err(name) => {
            plan.waiting = Waiting::Correction;
            let message = format!("invalid timeZone: {name:?}: unknown time zone {name}");
            plan.events.push(Event::warning("UnknownTimeZone", message));
            return;
        }
    };
    if spec.suspend == Some(true) {
        plan.waiting = Waiting::Resume;
        return;
    }
    let schedule = match Schedule::parse(text) {
        Ok(schedule) => schedule,
        Err(error) => {
            plan.waiting = Waiting::Correction;
            if seen.edited.is_some_and(|edit| edit.is_new) {
                let message = format!("unparseable schedule for cronjob: {text}");
                plan.events.push(Event::warning("UnParseableCronJobSchedule", message));
            }
            let message = format!("unparseable schedule: {text:?} : {error}");
            plan.events.push(Event::warning("UnparseableSchedule", message));
            return;
        }
    };
    if text.contains("TZ") {
        let message = format!(
            "CRON_TZ or TZ used in schedule {text:?} is not officially supported, see https://kubernetes.io/docs/concepts/workloads/controllers/cron-jobs/ for more details"
        );
        plan.events.push(Event::warning("UnsupportedSchedule", message));
    }
    let runs = Runs { schedule: &schedule, zone: zone.as_ref().unwrap_or(local), since: seen.since() };
    plan.next = runs.timer(now);
    let deadline = spec.starting_deadline_seconds.map(SignedDuration::from_secs);
    let Choice { run, too_many } = match runs.choose(deadline, now) {
        Ok(choice) => choice,
        Err(error) => {
            plan.next = None;
            plan.waiting = Waiting::Correction;
            plan.events.push(Event::warning("InvalidSchedule", format!("invalid schedule: {text} : {error}")));
            return;
        }
    };
    if seen.edited.is_some_and(|edit| runs.latest(now) <= Some(edit.at)) {
        return;
    }
    if too_many {
        let message = "too many missed start times. Set or decrease .spec.startingDeadlineSeconds or check clock skew";
        plan.events.push(Event::warning("TooManyMissedTimes", message));
    }
    // times that pass unused are told of once, by the look for which the timer was set.
    if let Some(passed) = seen.due_at.and_then(|due| runs.passed(due, run, now)) {
        plan.events.push(Event::warning("MissSchedule", missed(passed)));
    }
    let Some(run) = run else { return };
    let name = jobs::name(seen.name(), run);
    let active = status.active.get_or_insert_default();
    if active.iter().any(|reference| reference.name.as_deref() == Some(&name)) || seen.taken.as_deref() == Some(&name) {
        return; // C-604 step 10, C-1702
    }
    match spec.concurrency_policy.as_deref() {
        Some("Forbid") if !active.is_empty() => {
            let message = "Not starting job because prior execution is running and concurrency policy is Forbid";
            plan.events.push(Event::normal("JobAlreadyActive", message));
            plan.waiting = Waiting::Running;
            return;
        }
        Some("Replace") => {
            for reference in active.drain(..) {
                delete(reference.name.unwrap_or_default(), plan);
            }
        }
        Some(_) | None => {}
    }
    start(seen, run, zone.as_ref(), status, plan, make);
}

/// C-1411; of several times the last, with what the baseline has no words for.
fn missed(Passed { first, last, count }: Passed) -> String {
    let show = |time: Timestamp| time.strftime("%a, %d %b %Y %H:%M:%S +0000");
    let more = match count {
        1 => String::new(),
        MISSED_MAX => format!(" ({MISSED_MAX} or more times since {})", show(first)),
        count => format!(" ({count} times since {})", show(first)),
    };
    format!("Missed scheduled time to start a job: {}{more}", show(last))
}

/// Step 12: the job and what the status says of it, or an entry for one that is there already (C-905).
fn start(
    seen: &Snapshot,
    run: Timestamp,
    zone: Option<&TimeZone>,
    status: &mut CronJobStatus,
    plan: &mut Plan,
    make: &mut Maker<'_>,
) {
    let job = jobs::build(&seen.cron_job, run, zone);
    let name = job.metadata.name.as_deref().unwrap_or_default();
    let uid = if let Some(child) = seen.children.iter().find(|child| child.name == name) {
        child.uid.clone()
    } else {
        match make(&job) {
            Ok(made) => {
                plan.events.push(Event::normal("SuccessfulCreate", format!("Created job {name}")));
                plan.create.insert(made).object.uid().to_owned()
            }
            Err(Refusal::NotNow) => {
                plan.waiting = Waiting::Admission; // C-906
                return;
            }
            Err(Refusal::Because(why)) => {
                plan.waiting = Waiting::Admission;
                plan.events.push(Event::warning("FailedCreate", format!("Error creating job: {why}")));
                plan.refused = Some(why);
                return;
            }
        }
    };
    let namespace = seen.cron_job.metadata.namespace.as_deref().unwrap_or_default();
    status.active.get_or_insert_default().push(jobs::reference(namespace, name, &uid));
    status.last_schedule_time = Some(Time(run));
}
