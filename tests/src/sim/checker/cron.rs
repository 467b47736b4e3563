//! What must hold of cron jobs: no minute runs twice, and none is forgotten but by rule (R-7, sections 7 to 11 of the cron job rules).

use std::{
    cell::Cell,
    collections::{BTreeMap, BTreeSet},
};

use anyhow::{anyhow, ensure};
use jiff::{SignedDuration, Timestamp};
use jobd::store::{Change, ChangeType};
use jobd_api::object::Object;
use serde_json::Value;

use super::{Checker, almanac::Almanac, departures::Leaving};

const SCHEDULED: &str = "batch.kubernetes.io/cronjob-scheduled-timestamp";
/// A timer may be late by so much (C-711 says 100 ms), and the loops take their time.
const SLACK: SignedDuration = SignedDuration::from_secs(2);

/// A cron job as last seen.
#[derive(Clone, Debug)]
pub(super) struct Cron {
    pub namespace: String,
    pub name: String,
    schedule: (String, Option<String>),
    almanac: Option<Almanac>,
    /// Of an `@every`.
    interval: Option<SignedDuration>,
    suspended: bool,
    pub deleting: bool,
    pub policy: String,
    deadline: Option<i64>,
    pub limits: [Option<i64>; 2],
    created: Timestamp,
    /// When its schedule or zone was last edited (C-1706).
    edited: Option<Timestamp>,
    /// `status.lastScheduleTime`
    pub last: Option<Timestamp>,
    /// `status.lastSuccessfulTime`
    succeeded: Option<Timestamp>,
    pub active: BTreeSet<String>,
    /// Every time that ever ran.
    runs: BTreeSet<Timestamp>,
    /// After the first and up to the second there is none of its times: need not be looked through again at each rest.
    none_in: Cell<Option<(Timestamp, Timestamp)>>,
}

/// A job that a cron job made.
pub(super) struct Run {
    cron: String,
    job: String,
    at: Timestamp,
    /// Its cron job as it was before.
    before: Cron,
}

impl Checker {
    pub(super) fn cron_changed(&mut self, change: &Change, leaving: &mut Leaving) -> anyhow::Result<()> {
        let object = Object::parse(&change.body)?;
        let uid = object.uid().to_owned();
        if change.change_type == ChangeType::Deleted {
            self.told.push(format!("store: cron job {} is gone", object.name()));
            if let Some(cron) = self.crons.remove(&uid).filter(|cron| !cron.deleting) {
                leaving.crons.push((uid.clone(), cron));
            }
            leaving.gone_crons.push(uid);
            return Ok(());
        }
        let old = self.crons.remove(&uid);
        let text = |path: &[&str]| object.text(path).map(str::to_owned);
        let time = |path: &[&str]| object.text(path).and_then(|text| text.parse::<Timestamp>().ok());
        let number = |path: &[&str]| object.get(path).and_then(Value::as_i64);
        let schedule = (text(&["spec", "schedule"]).unwrap_or_default(), text(&["spec", "timeZone"]));
        let is_edited = old.as_ref().is_some_and(|old| old.schedule != schedule);
        let edited = if is_edited { Some(self.wall) } else { old.as_ref().and_then(|old| old.edited) };
        let active = object.get(&["status", "active"]).and_then(Value::as_array);
        let active =
            active.into_iter().flatten().filter_map(|entry| entry["uid"].as_str().map(str::to_owned)).collect();
        let last = time(&["status", "lastScheduleTime"]);
        self.told.push(format!("store: cron job {} last {last:?} active {active:?}", object.name()));
        let known = old.as_ref().and_then(|old| old.last);
        ensure!(last >= known, "lastScheduleTime of cron job {} went back from {known:?} to {last:?}", object.name());
        let succeeded = time(&["status", "lastSuccessfulTime"]);
        let known = old.as_ref().and_then(|old| old.succeeded);
        ensure!(
            succeeded >= known,
            "C-1004: lastSuccessfulTime of cron job {} went back from {known:?}",
            object.name()
        );
        let interval = schedule.0.strip_prefix("@every ").and_then(|text| text.strip_suffix('s')?.parse().ok());
        let deleting = object.get(&["metadata", "deletionTimestamp"]).is_some();
        let is_leaving = deleting && old.as_ref().is_some_and(|old| !old.deleting);
        let cron = Cron {
            namespace: object.namespace().to_owned(),
            name: object.name().to_owned(),
            almanac: Almanac::read(&schedule.0, schedule.1.as_deref()),
            schedule,
            suspended: object.get(&["spec", "suspend"]) == Some(&Value::Bool(true)),
            interval: interval.map(SignedDuration::from_secs),
            deleting,
            succeeded,
            policy: text(&["spec", "concurrencyPolicy"]).unwrap_or_default(),
            deadline: number(&["spec", "startingDeadlineSeconds"]),
            limits: [number(&["spec", "successfulJobsHistoryLimit"]), number(&["spec", "failedJobsHistoryLimit"])],
            created: time(&["metadata", "creationTimestamp"]).unwrap_or(self.wall),
            edited,
            last,
            active,
            runs: old.map(|old| old.runs).unwrap_or_default(),
            none_in: Cell::new(None),
        };
        if is_leaving {
            leaving.crons.push((uid.clone(), cron.clone()));
        }
        self.crons.insert(uid, cron);
        Ok(())
    }

    /// A job was created: one of a cron job's?
    pub(super) fn find_run(&self, change: &Change) -> anyhow::Result<Option<Run>> {
        let object = Object::parse(&change.body)?;
        let metadata = object.metadata()?;
        let owners = metadata.owner_references.iter().flatten();
        let owner = owners.into_iter().find(|owner| owner.controller == Some(true) && owner.kind == "CronJob");
        let Some(cron) = owner.map(|owner| owner.uid.clone()) else { return Ok(None) };
        let annotation = metadata.annotations.iter().flatten().find(|(key, _)| *key == SCHEDULED);
        let (_, at) = annotation.ok_or_else(|| anyhow!("C-903: job {} does not say its time", object.name()))?;
        let at: Timestamp = at.parse()?;
        let before = self.crons.get(&cron).cloned();
        let before = before.ok_or_else(|| anyhow!("job {} of a cron job that is not there", object.name()))?;
        let name = format!("{}-{}", before.name, at.as_second().div_euclid(60));
        ensure!(object.name() == name, "C-901: the job for {at} is called {}", object.name());
        Ok(Some(Run { cron, job: object.uid().to_owned(), at, before }))
    }

    /// The transaction that made the job is in.
    pub(super) fn check_run(&mut self, run: &Run) -> anyhow::Result<()> {
        let Run { cron, job, at, before } = run;
        let Cron { name, policy, .. } = before;
        self.cron_runs += 1;
        let now = self.wall;
        ensure!(!before.suspended && !before.deleting, "C-1201: cron job {name} may not run, and does");
        ensure!(*at <= now, "cron job {name} runs {at} at {now}");
        ensure!(*at > before.created, "C-1205: cron job {name} runs {at}, before it was there");
        ensure!(before.runs.last() < Some(at), "R-7: cron job {name} runs {at} after {:?}", before.runs.last());
        if let Some(almanac) = &before.almanac {
            ensure!(almanac.has(*at), "cron job {name} has no time at {at}: {:?}", before.schedule);
            let later = almanac.latest(*at, now);
            ensure!(later.is_none(), "C-701: cron job {name} runs {at} at {now}, although {later:?} came after");
        }
        if let Some(deadline) = before.deadline {
            let late = now.duration_since(*at);
            ensure!(
                late < SignedDuration::from_secs(deadline),
                "C-706: cron job {name} starts {at} at {now}, too late"
            );
        }
        let beside = self.jobs.iter().filter(|(uid, other)| {
            *uid != job && before.active.contains(*uid) && other.terminal().is_none() && !other.deleting
        });
        let beside: Vec<&str> = beside.map(|(_, other)| other.name.as_str()).collect();
        ensure!(
            policy == "Allow" || beside.is_empty(),
            "section 8: cron job {name} has {policy}, and starts {at} while {beside:?} run"
        );
        let Some(after) = self.crons.get_mut(cron) else { return Ok(()) };
        ensure!(after.last == Some(*at), "C-1003: cron job {name} ran {at} and says {:?}", after.last);
        ensure!(after.active.contains(job), "C-1002: cron job {name} does not list the job of {at}");
        after.runs.insert(*at);
        Ok(())
    }

    /// When every loop rests: nothing that should have run is left, and the status says what is.
    pub(super) fn check_crons_at_rest(&self) -> anyhow::Result<()> {
        for (uid, cron) in &self.crons {
            let Cron { name, namespace, .. } = cron;
            if self.leaving.contains(namespace) {
                continue;
            }
            for job in &cron.active {
                let runs = self.jobs.get(job).is_some_and(|job| job.terminal().is_none());
                ensure!(runs, "C-604: cron job {name} lists {job}, which does not run");
            }
            for (place, end) in ["Complete", "Failed"].into_iter().enumerate() {
                let children = self.jobs.values().filter(|job| job.cron.as_ref() == Some(uid) && !job.deleting);
                let count = children.filter(|job| job.terminal() == Some(end)).count();
                let limit = cron.limits[place].and_then(|limit| usize::try_from(limit).ok());
                ensure!(limit.is_none_or(|limit| count <= limit), "C-1101: cron job {name} keeps {count} {end} jobs");
            }
            let children = self.jobs.values().filter(|job| job.cron.as_ref() == Some(uid));
            let last =
                children.filter(|job| job.terminal() == Some("Complete")).filter_map(|job| job.completed_at).max();
            ensure!(
                cron.deleting || cron.succeeded >= last,
                "C-1004: cron job {name} does not tell of the success at {last:?}"
            );
            if let Some(forgotten) = self.forgotten(cron)? {
                return Err(anyhow!("R-7: cron job {name} rests at {}, and {forgotten} did not run", self.wall));
            }
        }
        Ok(())
    }

    /// A time that should have run by now (C-701 to C-706, C-803).
    fn forgotten(&self, cron: &Cron) -> anyhow::Result<Option<Timestamp>> {
        if cron.suspended || cron.deleting || cron.policy == "Forbid" && !cron.active.is_empty() {
            return Ok(None);
        }
        let since = [Some(cron.created), cron.last, cron.edited].into_iter().flatten().max().unwrap_or(cron.created);
        let upto = self.wall.checked_sub(SLACK)?;
        let due = match (&cron.almanac, cron.interval) {
            (Some(almanac), _) => {
                let known = cron.none_in.get().filter(|(from, _)| *from == since).map_or(since, |(_, to)| to);
                let due = almanac.latest(known, upto);
                if due.is_none() {
                    cron.none_in.set(Some((since, upto.max(known))));
                }
                due
            }
            // C-405, C-1704
            (None, Some(interval)) => {
                since.checked_add(interval).ok().filter(|due| *due <= upto && cron.deadline.is_none())
            }
            (None, None) => None,
        };
        let due = due.filter(|due| {
            let late = self.wall.duration_since(*due);
            cron.deadline.is_none_or(|deadline| late + SLACK < SignedDuration::from_secs(deadline))
        });
        // C-905: somebody else's job has the name.
        let is_taken = |due: &Timestamp| {
            let name = format!("{}-{}", cron.name, due.as_second().div_euclid(60));
            self.jobs.values().any(|job| job.namespace == cron.namespace && job.name == name)
        };
        Ok(due.filter(|due| !is_taken(due)))
    }
}

/// Cron jobs by uid.
pub(super) type Crons = BTreeMap<String, Cron>;
