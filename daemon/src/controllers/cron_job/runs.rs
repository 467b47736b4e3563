//! Which scheduled time is to be run now, and when to look again (cronjobs.md section 7).
#![deny(clippy::disallowed_methods)]

use jiff::{SignedDuration, Timestamp, tz::TimeZone};
use jobd_api::cron::Schedule;

/// From how many missed times on there is a warning (C-705).
pub const MISSED_MAX: i64 = 100;

/// How long after a scheduled time the timer fires (C-711): a clock that is read a little early must not miss its time.
const LATE: SignedDuration = SignedDuration::from_millis(100);

/// A schedule on its wall clock, and since when its times count.
#[derive(Clone, Debug)]
pub struct Runs<'a> {
    pub schedule: &'a Schedule,
    pub zone: &'a TimeZone,
    /// The last run, or the creation.
    pub since: Timestamp,
}

/// The times between the last run and now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Choice {
    /// The one to run (C-701).
    pub run: Option<Timestamp>,
    /// More than 100 were missed, by the baseline's estimate (C-705, C-1701).
    pub too_many: bool,
}

/// Scheduled times that passed without a run and were not told of yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Passed {
    pub first: Timestamp,
    pub last: Timestamp,
    /// How many they are; not counted further than [`MISSED_MAX`].
    pub count: i64,
}

/// The schedule's times cannot be told apart, or never come (C-704).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("time difference between two schedules is less than 1 second")]
pub struct TooClose;

impl Runs<'_> {
    /// The most recent time up to now, if it may still start within `deadline` (C-702 to C-706).
    pub fn choose(&self, deadline: Option<SignedDuration>, now: Timestamp) -> Result<Choice, TooClose> {
        let Some(deadline) = deadline else { return self.most_recent(self.since, now) };
        // Further back than time goes: no limit.
        let Ok(limit) = now.checked_sub(deadline) else { return self.most_recent(self.since, now) };
        // C-1704: the times of an interval count from the last run, however late.
        let earliest = if self.schedule.is_interval() { self.since } else { self.since.max(limit) };
        let mut choice = self.most_recent(earliest, now)?;
        choice.run = choice.run.filter(|run| *run > limit);
        Ok(choice)
    }

    fn most_recent(&self, earliest: Timestamp, now: Timestamp) -> Result<Choice, TooClose> {
        let Some(first) = self.schedule.next(earliest, self.zone) else { return Err(TooClose) };
        if now < first {
            return Ok(Choice::default());
        }
        let Some(second) = self.schedule.next(first, self.zone) else { return Err(TooClose) };
        if now < second {
            return Ok(Choice { run: Some(first), ..Choice::default() });
        }
        let step = second.duration_since(first).as_secs();
        if step < 1 {
            return Err(TooClose);
        }
        let missed = now.duration_since(first).as_secs() / step + 1;
        // C-1701: the true latest one, where the baseline looks at the end of an estimate.
        let run = self.schedule.latest(earliest, now, self.zone);
        Ok(Choice { run, too_many: missed > MISSED_MAX })
    }

    /// The most recent time up to now, whether it may still start or not.
    #[must_use]
    pub fn latest(&self, now: Timestamp) -> Option<Timestamp> {
        self.schedule.latest(self.since, now, self.zone)
    }

    /// The times that passed since the timer was set, but for the one that is run; none when there are none, as is usual.
    ///
    /// `due` is the stored time of the timer. It moves on with every look, so that no restart makes a time be told of twice.
    #[must_use]
    pub fn passed(&self, due: Timestamp, run: Option<Timestamp>, now: Timestamp) -> Option<Passed> {
        let first = due.checked_sub(LATE).ok().filter(|first| *first <= now && Some(*first) != run)?;
        let is_before = |time: &Timestamp| *time <= now && run.is_none_or(|run| *time < run);
        let times = std::iter::successors(Some(first), |time| self.schedule.next(*time, self.zone));
        let (mut last, mut count) = (first, 0);
        for time in times.take_while(is_before).take(usize::try_from(MISSED_MAX).unwrap_or_default()) {
            last = time;
            count += 1;
        }
        if count == MISSED_MAX {
            let end = run.map_or(Ok(now), |run| run.checked_sub(SignedDuration::from_secs(1))).unwrap_or(now);
            last = self.schedule.latest(last, end, self.zone).unwrap_or(last);
        }
        (count > 0).then_some(Passed { first, last, count })
    }

    /// When to look again (C-711); none when no time ever comes.
    #[must_use]
    pub fn timer(&self, now: Timestamp) -> Option<Timestamp> {
        let base = match self.most_recent(self.since, now) {
            Ok(Choice { run: Some(run), .. }) => run,
            Ok(_) => self.since,
            Err(TooClose) => now,
        };
        self.schedule.next(base, self.zone)?.checked_add(LATE).ok()
    }
}
