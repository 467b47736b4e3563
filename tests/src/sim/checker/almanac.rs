//! Schedules once more, in the plainest way: does this minute match? Knows sections 4 and 5 of the cron job rules and nothing of how
//! the product finds the next time.

use std::collections::BTreeSet;

use jiff::{Timestamp, ToSpan as _, tz::TimeZone};
use jobd_api::cron::find_zone;

/// How far back a missed time is looked for.
const DAYS_MAX: u32 = 400;

/// A schedule of five fields on its wall clock.
#[derive(Clone, Debug)]
pub struct Almanac {
    minutes: BTreeSet<u32>,
    hours: BTreeSet<u32>,
    days: BTreeSet<u32>,
    months: BTreeSet<u32>,
    weekdays: BTreeSet<u32>,
    /// C-403: a day field says "any", so both must match.
    both: bool,
    zone: TimeZone,
}

impl Almanac {
    /// None for an interval (`@every`), whose times depend on the one before.
    #[must_use]
    pub fn read(schedule: &str, zone: Option<&str>) -> Option<Self> {
        let text = match schedule {
            "@hourly" => "0 * * * *",
            "@daily" => "0 0 * * *",
            other => other,
        };
        let fields: Vec<&str> = text.split_whitespace().collect();
        let [minutes, hours, days, months, weekdays] = fields[..] else { return None };
        let is_any = |field: &str| field.split(',').any(|part| ["*", "?", "*/1", "?/1"].contains(&part));
        Some(Self {
            minutes: read(minutes, 0, 59),
            hours: read(hours, 0, 23),
            days: read(days, 1, 31),
            months: read(months, 1, 12),
            weekdays: read(weekdays, 0, 6),
            both: is_any(days) || is_any(weekdays),
            zone: zone.map_or(Some(TimeZone::UTC), find_zone)?,
        })
    }

    /// Whether this is one of its times.
    #[must_use]
    pub fn has(&self, time: Timestamp) -> bool {
        let local = self.zone.to_datetime(time);
        local.second() == 0
            && local.subsec_nanosecond() == 0
            && self.minutes.contains(&number(local.minute()))
            && self.hours.contains(&number(local.hour()))
            && self.has_day(local.date())
    }

    fn has_day(&self, date: jiff::civil::Date) -> bool {
        let of_month = self.days.contains(&number(date.day()));
        let of_week = self.weekdays.contains(&number(date.weekday().to_sunday_zero_offset()));
        let day = if self.both { of_month && of_week } else { of_month || of_week };
        day && self.months.contains(&number(date.month()))
    }

    /// The last of its times after `after` and not after `upto`, by trying minute after minute.
    #[must_use]
    pub fn latest(&self, after: Timestamp, upto: Timestamp) -> Option<Timestamp> {
        let mut time = Timestamp::from_second(upto.as_second().div_euclid(60) * 60).ok()?;
        let end = after.max(upto.checked_sub((24 * i64::from(DAYS_MAX)).hours()).ok()?);
        while time > end {
            if self.has(time) {
                return Some(time);
            }
            let local = self.zone.to_datetime(time);
            // A day that has none is left, but for an hour that a change of the clock may have put there.
            let of_day = i64::from(local.hour()) * 60 + i64::from(local.minute());
            let back = if self.has_day(local.date()) { 1 } else { (of_day - 60).max(1) };
            time = time.checked_sub(back.minutes()).ok()?;
        }
        None
    }
}

fn number(value: i8) -> u32 {
    u32::try_from(value).unwrap_or_default()
}

/// One field (C-402), of numbers only.
fn read(field: &str, low: u32, high: u32) -> BTreeSet<u32> {
    let mut values = BTreeSet::new();
    for part in field.split(',').filter(|part| !part.is_empty()) {
        let (range, step) =
            part.split_once('/').map_or((part, None), |(range, step)| (range, step.parse::<u32>().ok()));
        let (first, last) = match range.split_once('-') {
            Some((first, last)) => (first.parse().unwrap_or(low), last.parse().unwrap_or(high)),
            None if range == "*" || range == "?" => (low, high),
            None => {
                let first = range.parse().unwrap_or(low);
                (first, if step.is_some() { high } else { first })
            }
        };
        values.extend((first..=last).step_by(usize::try_from(step.unwrap_or(1)).unwrap_or(1)));
    }
    values
}
