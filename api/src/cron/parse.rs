//! Schedules as text (C-401 to C-407). What is accepted and what is said about the rest is as in robfig/cron v3's standard parser, on
//! which Kubernetes builds.

use jiff::SignedDuration;

use super::{Calendar, Days, Schedule, Times, find_zone};
use crate::time::parse_go_duration;

/// The first thing that is wrong with a schedule, in Kubernetes' words (C-407).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ParseError(String);

fn error<T>(text: impl Into<String>) -> Result<T, ParseError> {
    Err(ParseError(text.into()))
}

/// What a field may hold.
struct Bounds {
    min: u64,
    max: u64,
    names: &'static [&'static str],
}

const MINUTES: Bounds = Bounds { min: 0, max: 59, names: &[] };
const HOURS: Bounds = Bounds { min: 0, max: 23, names: &[] };
const DAYS_OF_MONTH: Bounds = Bounds { min: 1, max: 31, names: &[] };
const MONTHS: Bounds = Bounds {
    min: 1,
    max: 12,
    names: &["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"],
};
const DAYS_OF_WEEK: Bounds = Bounds { min: 0, max: 6, names: &["sun", "mon", "tue", "wed", "thu", "fri", "sat"] };

/// A field's bits, and whether it says "any" (C-403).
#[derive(Clone, Copy, Default)]
struct Field {
    bits: u64,
    any: bool,
}

pub(super) fn schedule(text: &str) -> Result<Schedule, ParseError> {
    if text.is_empty() {
        return error("empty spec string");
    }
    let (zone, text) = match text.strip_prefix("TZ=").or_else(|| text.strip_prefix("CRON_TZ=")) {
        None => (None, text),
        Some(rest) => {
            let Some((name, rest)) = rest.split_once(' ') else {
                // Kubernetes reports the crash of its parser here.
                return error("invalid schedule format: runtime error: slice bounds out of range [:-1]");
            };
            (prefixed_zone(name)?, rest.trim())
        }
    };
    let times = if text.starts_with('@') { descriptor(text)? } else { Times::Calendar(calendar(text)?) };
    Ok(Schedule { times, zone })
}

/// The zone of a prefix; none for the daemon's own.
fn prefixed_zone(name: &str) -> Result<Option<jiff::tz::TimeZone>, ParseError> {
    match name {
        "" => return Ok(Some(jiff::tz::TimeZone::UTC)),
        "Local" => return Ok(None),
        _ => {}
    }
    if name.contains("..") || name.starts_with(['/', '\\']) {
        return error(format!("provided bad location {name}: time: invalid location name"));
    }
    match find_zone(name) {
        Some(zone) => Ok(Some(zone)),
        None => error(format!("provided bad location {name}: unknown time zone {name}")),
    }
}

/// C-404
fn descriptor(text: &str) -> Result<Times, ParseError> {
    let fields = match text {
        "@yearly" | "@annually" => "0 0 1 1 *",
        "@monthly" => "0 0 1 * *",
        "@weekly" => "0 0 * * 0",
        "@daily" | "@midnight" => "0 0 * * *",
        "@hourly" => "0 * * * *",
        _ => {
            let Some(interval) = text.strip_prefix("@every ") else {
                return error(format!("unrecognized descriptor: {text}"));
            };
            let nanoseconds = parse_go_duration(interval)
                .map_err(|why| ParseError(format!("failed to parse duration {text}: {why}")))?;
            // C-405
            return Ok(Times::Every(SignedDuration::from_secs((nanoseconds / 1_000_000_000).max(1))));
        }
    };
    calendar(fields).map(Times::Calendar)
}

/// The five fields (C-401).
fn calendar(text: &str) -> Result<Calendar, ParseError> {
    let fields = text.split_whitespace().collect::<Vec<_>>();
    let [minutes, hours, days_of_month, months, days_of_week] = fields[..] else {
        return error(format!("expected exactly 5 fields, found {}: [{}]", fields.len(), fields.join(" ")));
    };
    let minutes = field(minutes, &MINUTES)?;
    let hours = field(hours, &HOURS)?;
    let of_month = field(days_of_month, &DAYS_OF_MONTH)?;
    let months = field(months, &MONTHS)?;
    let of_week = field(days_of_week, &DAYS_OF_WEEK)?;
    Ok(Calendar {
        minutes: minutes.bits,
        hours: hours.bits,
        days: Days { of_month: of_month.bits, of_week: of_week.bits, both: of_month.any || of_week.any },
        months: months.bits,
    })
}

/// A comma list; empty elements are no elements (C-402).
fn field(text: &str, bounds: &Bounds) -> Result<Field, ParseError> {
    let mut whole = Field::default();
    for element in text.split(',').filter(|element| !element.is_empty()) {
        let Field { bits, any } = range(element, bounds)?;
        whole.bits |= bits;
        whole.any |= any;
    }
    Ok(whole)
}

/// `*`, `n`, `a-b`, each with or without `/step`.
fn range(text: &str, bounds: &Bounds) -> Result<Field, ParseError> {
    let (ends, step) = match text.split_once('/') {
        None => (text, None),
        Some((ends, step)) => (ends, Some(step)),
    };
    let mut parts = ends.split('-');
    let (low, high) = (parts.next().unwrap_or_default(), parts.next());
    let mut any = low == "*" || low == "?";
    let (start, mut end) = if any {
        (bounds.min, bounds.max)
    } else {
        let start = number_or_name(low, bounds)?;
        let end = high.map_or(Ok(start), |high| {
            if parts.next().is_some() {
                return error(format!("too many hyphens: {text}"));
            }
            number_or_name(high, bounds)
        })?;
        (start, end)
    };
    let step = match step {
        None => 1,
        Some(step) if step.contains('/') => return error(format!("too many slashes: {text}")),
        Some(step) => {
            let step = number(step)?;
            if high.is_none() {
                end = bounds.max; // `n/step` goes on to the end.
            }
            any &= step <= 1;
            step
        }
    };
    let Bounds { min, max, names: _ } = bounds;
    if start < *min {
        return error(format!("beginning of range ({start}) below minimum ({min}): {text}"));
    }
    if end > *max {
        return error(format!("end of range ({end}) above maximum ({max}): {text}"));
    }
    if start > end {
        return error(format!("beginning of range ({start}) beyond end of range ({end}): {text}"));
    }
    if step == 0 {
        return error(format!("step of range should be a positive number: {text}"));
    }
    let mut bits = 0;
    let mut value = start;
    while value <= end {
        bits |= 1 << value;
        value = value.saturating_add(step);
    }
    Ok(Field { bits, any })
}

fn number_or_name(text: &str, bounds: &Bounds) -> Result<u64, ParseError> {
    let place = bounds.names.iter().position(|name| name.eq_ignore_ascii_case(text));
    match place.and_then(|place| u64::try_from(place).ok()) {
        Some(place) => Ok(bounds.min + place),
        None => number(text),
    }
}

fn number(text: &str) -> Result<u64, ParseError> {
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    let reason = if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        "invalid syntax"
    } else {
        match text.parse::<i64>() {
            Ok(number) => {
                return u64::try_from(number)
                    .map_err(|_| ParseError(format!("negative number ({number}) not allowed: {text}")));
            }
            Err(_) => "value out of range",
        }
    };
    error(format!("failed to parse int from {text}: strconv.Atoi: parsing {text:?}: {reason}"))
}
