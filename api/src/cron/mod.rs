//! Cron schedules: schedule + zone + instant -> the next or the latest scheduled instant (cronjobs.md sections 4 and 5). Pure; the
//! current time is an argument, and so is the zone of schedules that name none.
//!
//! A zone's time line is a row of stretches with a constant offset to UTC. Within one, wall clock and instants run in step, so that a match
//! is looked for on the calendar alone; wall times that a change skips lie in no stretch and never fire, and those that it repeats lie in
//! two and fire twice (C-502).
#![deny(clippy::disallowed_methods)]

use std::sync::LazyLock;

use jiff::{
    SignedDuration, Timestamp, ToSpan as _,
    civil::{Date, DateTime, Time},
    tz::{TimeZone, TimeZoneDatabase},
};

mod parse;

pub use parse::ParseError;

/// Times that are further away than this many calendar years are "never" (C-408).
const YEARS_MAX: i16 = 5;

/// A schedule that has been read.
#[derive(Clone, Debug)]
pub struct Schedule {
    times: Times,
    /// From a `TZ=` prefix (C-406); it wins over the zone that is passed in.
    zone: Option<TimeZone>,
}

#[derive(Clone, Debug)]
enum Times {
    /// By the calendar: five fields.
    Calendar(Calendar),
    /// `@every`: so long after the time before (C-405). At least a second, in whole seconds.
    Every(SignedDuration),
}

/// Which values of each field match, as bits.
#[derive(Clone, Debug)]
struct Calendar {
    minutes: u64,
    hours: u64,
    days: Days,
    months: u64,
}

/// The two fields that choose days.
#[derive(Clone, Debug)]
struct Days {
    of_month: u64,
    of_week: u64,
    /// C-403: both fields must match, since one of them says "any"; else one is enough.
    both: bool,
}

impl Schedule {
    /// Reads a schedule.
    ///
    /// # Errors
    /// The first thing that is wrong (C-407).
    pub fn parse(text: &str) -> Result<Self, ParseError> {
        parse::schedule(text)
    }

    /// The first scheduled time after `after`; none if there is none within five years (C-408).
    #[must_use]
    pub fn next(&self, after: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
        match &self.times {
            Times::Every(interval) => whole(after).checked_add(*interval).ok(),
            Times::Calendar(calendar) => calendar.next(after, self.zone.as_ref().unwrap_or(zone)),
        }
    }

    /// The last scheduled time after `after` and not after `upto`. Times of `@every` count from `after`.
    #[must_use]
    pub fn latest(&self, after: Timestamp, upto: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
        match &self.times {
            Times::Every(interval) => {
                let start = whole(after);
                let passed = upto.duration_since(start).as_secs() / interval.as_secs();
                let passed = i32::try_from(passed).ok().filter(|passed| *passed > 0)?;
                start.checked_add(interval.checked_mul(passed)?).ok()
            }
            Times::Calendar(calendar) => calendar.latest(after, upto, self.zone.as_ref().unwrap_or(zone)),
        }
    }

    /// `@every`: the times depend on the one before and not on the clock (C-405).
    #[must_use]
    pub fn is_interval(&self) -> bool {
        matches!(self.times, Times::Every(_))
    }
}

/// The zone with exactly this name (C-309) from the data that is compiled in, so that the machine need not have any.
#[must_use]
pub fn find_zone(name: &str) -> Option<TimeZone> {
    static ZONES: LazyLock<TimeZoneDatabase> = LazyLock::new(TimeZoneDatabase::bundled);
    // The look-up ignores case; names don't.
    ZONES.get(name).ok().filter(|zone| zone.iana_name() == Some(name))
}

/// Without its fraction of a second.
fn whole(time: Timestamp) -> Timestamp {
    crate::time::whole_seconds(time)
}

impl Calendar {
    fn next(&self, after: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
        let mut from = whole(after).checked_add(1.second()).ok()?;
        let last_year = zone.to_datetime(from).year().saturating_add(YEARS_MAX);
        loop {
            let offset = zone.to_offset(from);
            let end = zone.following(from).next().map(|transition| transition.timestamp());
            if let Some(time) = self.next_on_calendar(offset.to_datetime(from), last_year)
                && let Ok(found) = offset.to_timestamp(time)
                && end.is_none_or(|end| found < end)
            {
                return Some(found);
            }
            from = end.filter(|end| zone.to_datetime(*end).year() <= last_year)?;
        }
    }

    fn latest(&self, after: Timestamp, upto: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
        let mut upto = whole(upto);
        while after < upto {
            let offset = zone.to_offset(upto);
            // The change at `upto` itself begins the stretch that holds it.
            let start = upto.checked_add(1.nanosecond()).ok().and_then(|end| zone.preceding(end).next());
            let start = start.map(|transition| transition.timestamp());
            let first = offset.to_datetime(start.map_or(after, |start| start.max(after)));
            if let Some(time) = self.latest_on_calendar(offset.to_datetime(upto), first.date())
                && let Ok(found) = offset.to_timestamp(time)
                && start.is_none_or(|start| start <= found)
            {
                return Some(found).filter(|found| after < *found);
            }
            upto = start?.checked_sub(1.second()).ok()?;
        }
        None
    }

    /// The first match that is not before `from`.
    fn next_on_calendar(&self, from: DateTime, last_year: i16) -> Option<DateTime> {
        let from = match from.second() {
            0 => from,
            second => from.checked_add((60 - i64::from(second)).seconds()).ok()?,
        };
        let mut date = from.date();
        if self.has_day(date)
            && let Some(time) = self.first_time(from.hour(), from.minute())
        {
            return Some(date.to_datetime(time));
        }
        loop {
            date = match self.has_month(date) {
                true => date.tomorrow().ok()?,
                false => date.last_of_month().tomorrow().ok()?,
            };
            if date.year() > last_year {
                return None;
            }
            if self.has_day(date) {
                // Absent when no time of day matches at all (`,` as a field).
                return Some(date.to_datetime(self.first_time(0, 0)?));
            }
        }
    }

    /// The last match that is not after `upto`, on `first` or a later day.
    fn latest_on_calendar(&self, upto: DateTime, first: Date) -> Option<DateTime> {
        let mut date = upto.date();
        if self.has_day(date)
            && let Some(time) = self.last_time(upto.hour(), upto.minute())
        {
            return Some(date.to_datetime(time));
        }
        loop {
            date = match self.has_month(date) {
                true => date.yesterday().ok()?,
                false => date.first_of_month().yesterday().ok()?,
            };
            if date < first {
                return None;
            }
            if self.has_day(date) {
                return Some(date.to_datetime(self.last_time(23, 59)?));
            }
        }
    }

    fn has_month(&self, date: Date) -> bool {
        has(self.months, date.month())
    }

    fn has_day(&self, date: Date) -> bool {
        let of_month = has(self.days.of_month, date.day());
        let of_week = has(self.days.of_week, date.weekday().to_sunday_zero_offset());
        self.has_month(date) && if self.days.both { of_month && of_week } else { of_month || of_week }
    }

    /// The first matching time of day, not before this one.
    fn first_time(&self, hour: i8, minute: i8) -> Option<Time> {
        if has(self.hours, hour)
            && let Some(minute) = lowest_from(self.minutes, minute)
        {
            return Time::new(hour, minute, 0, 0).ok();
        }
        let hour = lowest_from(self.hours, hour + 1)?;
        Time::new(hour, lowest_from(self.minutes, 0)?, 0, 0).ok()
    }

    /// The last matching time of day, not after this one.
    fn last_time(&self, hour: i8, minute: i8) -> Option<Time> {
        if has(self.hours, hour)
            && let Some(minute) = highest_upto(self.minutes, minute)
        {
            return Time::new(hour, minute, 0, 0).ok();
        }
        let hour = highest_upto(self.hours, hour - 1)?;
        Time::new(hour, highest_upto(self.minutes, 59)?, 0, 0).ok()
    }
}

fn has(bits: u64, value: i8) -> bool {
    bits >> value & 1 == 1
}

/// The lowest bit that is set, from this one up.
fn lowest_from(bits: u64, value: i8) -> Option<i8> {
    let rest = bits & (u64::MAX << value);
    (rest != 0).then(|| rest.trailing_zeros()).and_then(|bit| i8::try_from(bit).ok())
}

/// The highest bit that is set, up to this one; none below zero.
fn highest_upto(bits: u64, value: i8) -> Option<i8> {
    let rest = bits & !(u64::MAX << u32::try_from(value + 1).ok()?);
    rest.checked_ilog2().and_then(|bit| i8::try_from(bit).ok())
}

#[cfg(test)]
mod tests;
