//! Times on the wire (W-28) and durations as people read them (T-0).

use std::time::Duration;

use jiff::Timestamp;

/// `metav1.Time`: whole seconds, UTC, `Z`.
#[must_use]
pub fn render(time: Timestamp) -> String {
    whole_seconds(time).to_string()
}

/// `MicroTime`: six decimals.
#[must_use]
pub fn render_micro(time: Timestamp) -> String {
    let whole = render(time);
    let seconds = whole.strip_suffix('Z').unwrap_or(&whole);
    format!("{seconds}.{:06}Z", (time.as_nanosecond().rem_euclid(1_000_000_000)) / 1000)
}

/// The time without its fraction of a second, as `metav1.Time` can say it.
#[must_use]
pub fn whole_seconds(time: Timestamp) -> Timestamp {
    let seconds = i64::try_from(time.as_nanosecond().div_euclid(1_000_000_000)).unwrap_or_default();
    Timestamp::from_second(seconds).unwrap_or(time)
}

/// Parses any RFC 3339 time.
#[must_use]
pub fn parse(text: &str) -> Option<Timestamp> {
    // The parser below reads more than RFC 3339 (week dates, annotations, offsets without minutes); clients must not get
    // used to that.
    if is_rfc3339(text) { text.parse().ok() } else { None }
}

/// `2026-11-20T20:57:11[.123](Z|+01:00)`, where `t` and `z` may be small.
fn is_rfc3339(text: &str) -> bool {
    const SHAPE: &[u8] = b"dddd-dd-ddTdd:dd:dd";
    let bytes = text.as_bytes();
    if bytes.len() <= SHAPE.len() || !fits(&bytes[..SHAPE.len()], SHAPE) || &bytes[17..19] > b"59".as_slice() {
        return false;
    }
    let mut rest = &bytes[SHAPE.len()..];
    if let [b'.', digits @ ..] = rest {
        let length = digits.iter().take_while(|byte| byte.is_ascii_digit()).count();
        if length == 0 {
            return false;
        }
        rest = &digits[length..];
    }
    match rest {
        [b'Z' | b'z'] => true,
        [b'+' | b'-', offset @ ..] => fits(offset, b"dd:dd"),
        _ => false,
    }
}

fn fits(bytes: &[u8], shape: &[u8]) -> bool {
    bytes.len() == shape.len()
        && bytes.iter().zip(shape).all(|(byte, want)| match want {
            b'd' => byte.is_ascii_digit(),
            want => byte.eq_ignore_ascii_case(want),
        })
}

/// A duration in whole seconds in the short human form of tables (T-0, J-105).
#[must_use]
pub fn human_duration(seconds: i64) -> String {
    const HOURS_PER_YEAR: i64 = 24 * 365;
    let (minutes, hours) = (seconds / 60, seconds / 3600);
    match seconds {
        i64::MIN..=-2 => return "<invalid>".to_owned(),
        -1 => return "0s".to_owned(),
        0..120 => return format!("{seconds}s"),
        120..600 => return two(minutes, "m", seconds % 60, "s"),
        600..10_800 => return format!("{minutes}m"),
        _ => {}
    }
    match hours {
        ..8 => two(hours, "h", minutes % 60, "m"),
        8..48 => format!("{hours}h"),
        48..192 => two(hours / 24, "d", hours % 24, "h"),
        192.. if hours < 2 * HOURS_PER_YEAR => format!("{}d", hours / 24),
        192.. if hours < 8 * HOURS_PER_YEAR => two(hours / HOURS_PER_YEAR, "y", (hours / 24) % 365, "d"),
        192.. => format!("{}y", hours / HOURS_PER_YEAR),
    }
}

/// `3m20s`, or `3m` when nothing is left for the smaller unit.
fn two(large: i64, large_unit: &str, small: i64, small_unit: &str) -> String {
    if small == 0 { format!("{large}{large_unit}") } else { format!("{large}{large_unit}{small}{small_unit}") }
}

/// How long ago `since` was, in the form of [`human_duration`] (AGE columns).
#[must_use]
pub fn human_age(since: Timestamp, now: Timestamp) -> String {
    // Nanoseconds, so that a time less than one second ahead is `0s` and not `<invalid>`.
    let nanoseconds = now.as_nanosecond() - since.as_nanosecond();
    human_duration(i64::try_from(nanoseconds / 1_000_000_000).unwrap_or(i64::MAX))
}

/// A duration as Go prints it: `10s`, `1m20s`, `2m40s`, `5m0s`, `1.5s`, `203ms` (J-2522, J-2573).
#[must_use]
pub fn go_duration(duration: Duration) -> String {
    let nanoseconds = duration.as_nanos();
    match nanoseconds {
        0 => return "0s".to_owned(),
        1..1_000 => return format!("{nanoseconds}ns"),
        1_000..1_000_000 => return format!("{}µs", decimal(nanoseconds, 1_000)),
        1_000_000..1_000_000_000 => return format!("{}ms", decimal(nanoseconds, 1_000_000)),
        1_000_000_000.. => {}
    }
    let minutes = nanoseconds / 60_000_000_000;
    let seconds = decimal(nanoseconds % 60_000_000_000, 1_000_000_000);
    match (minutes / 60, minutes % 60) {
        (0, 0) => format!("{seconds}s"),
        (0, minutes) => format!("{minutes}m{seconds}s"),
        (hours, minutes) => format!("{hours}h{minutes}m{seconds}s"),
    }
}

/// `value / unit` with as many decimals as it needs; `unit` is a power of ten.
fn decimal(value: u128, unit: u128) -> String {
    let width = unit.to_string().len() - 1;
    let fraction = format!("{:0width$}", value % unit);
    match fraction.trim_end_matches('0') {
        "" => (value / unit).to_string(),
        digits => format!("{}.{digits}", value / unit),
    }
}

/// A duration as Go writes it (`1h30m`, `1.5s`), in nanoseconds.
///
/// # Errors
/// Go's words for what is no duration.
pub fn parse_go_duration(text: &str) -> Result<i64, String> {
    let invalid = || format!("time: invalid duration {text:?}");
    let (negative, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    if rest == "0" {
        return Ok(0);
    }
    if rest.is_empty() {
        return Err(invalid());
    }
    let mut sum: i128 = 0;
    while !rest.is_empty() {
        let (whole, after) = digits(rest);
        let (fraction, after) = match after.strip_prefix('.') {
            Some(after) => digits(after),
            None => ("", after),
        };
        if whole.is_empty() && fraction.is_empty() {
            return Err(invalid());
        }
        let length = after.find(|c: char| c == '.' || c.is_ascii_digit()).unwrap_or(after.len());
        let (unit, after) = after.split_at(length);
        let scale: i128 = match unit {
            "" => return Err(format!("time: missing unit in duration {text:?}")),
            "ns" => 1,
            "us" | "µs" | "μs" => 1_000,
            "ms" => 1_000_000,
            "s" => 1_000_000_000,
            "m" => 60_000_000_000,
            "h" => 3_600_000_000_000,
            unit => return Err(format!("time: unknown unit {unit:?} in duration {text:?}")),
        };
        let whole: i128 = if whole.is_empty() { 0 } else { whole.parse().map_err(|_| invalid())? };
        // Digits beyond these make less than a nanosecond of an hour.
        let fraction = &fraction[..fraction.len().min(15)];
        let part: i128 = if fraction.is_empty() { 0 } else { fraction.parse().map_err(|_| invalid())? };
        let power = 10i128.pow(u32::try_from(fraction.len()).unwrap_or_default());
        sum = whole
            .checked_mul(scale)
            .and_then(|whole| sum.checked_add(whole + part * scale / power))
            .ok_or_else(invalid)?;
        rest = after;
    }
    i64::try_from(if negative { -sum } else { sum }).map_err(|_| invalid())
}

fn digits(text: &str) -> (&str, &str) {
    text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn w28_times_are_written_in_utc() {
        let time = parse("2026-11-20T22:57:11.123456789+02:00").unwrap();
        assert_eq!(render(time), "2026-11-20T20:57:11Z");
        assert_eq!(render_micro(time), "2026-11-20T20:57:11.123456Z");
        assert_eq!(render_micro(parse("2026-11-20T20:57:11Z").unwrap()), "2026-11-20T20:57:11.000000Z");
        assert_eq!(render(parse("1969-12-31T23:59:58.5Z").unwrap()), "1969-12-31T23:59:58Z");
    }

    #[test]
    fn w28_only_rfc_3339_is_read() {
        for legal in
            ["2026-11-20T20:57:11Z", "2026-11-20t20:57:11z", "2026-11-20T20:57:11.5-00:30", "0001-01-01T00:00:00Z"]
        {
            assert!(parse(legal).is_some(), "{legal}");
        }
        for illegal in [
            "",
            "2026-11-20",
            "2026-11-20 20:57:11Z",
            "2026-11-20T20:57:11",
            "2026-11-20T20:57Z",
            "20261120T205711Z",
            "2026-11-20T20:57:11+01",
            "2026-11-20T20:57:11.Z",
            "2026-13-20T20:57:11Z",
            "2026-11-20T20:57:60Z",
            "2026-11-20T20:57:11Z[UTC]",
        ] {
            assert!(parse(illegal).is_none(), "{illegal}");
        }
    }

    #[test]
    fn j105_durations_are_short() {
        let (minute, hour, day) = (60, 3600, 86_400);
        for (seconds, want) in [
            (-2, "<invalid>"),
            (-1, "0s"),
            (0, "0s"),
            (119, "119s"),
            (120, "2m"),
            (176, "2m56s"),
            (10 * minute, "10m"),
            (3 * hour - 1, "179m"),
            (3 * hour, "3h"),
            (3 * hour + minute, "3h1m"),
            (8 * hour, "8h"),
            (2 * day - 1, "47h"),
            (2 * day, "2d"),
            (2 * day + hour, "2d1h"),
            (8 * day, "8d"),
            (729 * day, "729d"),
            (730 * day, "2y"),
            (731 * day, "2y1d"),
            (8 * 365 * day, "8y"),
            (9 * 365 * day + 5 * day, "9y"),
        ] {
            assert_eq!(human_duration(seconds), want, "{seconds}");
        }
    }

    #[test]
    fn durations_are_read_as_go_reads_them() {
        for (text, want) in [("0", 0), ("32s", 32_000_000_000), ("1h0m0.5s", 3_600_500_000_000), ("-1.5µs", -1_500)] {
            assert_eq!(parse_go_duration(text), Ok(want), "{text}");
        }
        for text in ["", "-", "invalid", "5", "5x", "s", "9999999h"] {
            assert!(parse_go_duration(text).unwrap_err().starts_with("time: "), "{text}");
        }
    }

    #[test]
    fn j2522_durations_as_go_prints_them() {
        for (duration, want) in [
            (Duration::ZERO, "0s"),
            (Duration::from_nanos(5), "5ns"),
            (Duration::from_nanos(1_500), "1.5µs"),
            (Duration::from_millis(203), "203ms"),
            (Duration::from_micros(1_203_456), "1.203456s"),
            (Duration::from_secs(10), "10s"),
            (Duration::from_secs(80), "1m20s"),
            (Duration::from_secs(300), "5m0s"),
            (Duration::from_secs(3_600), "1h0m0s"),
        ] {
            assert_eq!(go_duration(duration), want);
        }
    }

    proptest! {
        #[test]
        fn parsing_never_panics_and_round_trips(text in ".*", seconds in -62_135_596_800i64..253_402_300_000) {
            let _ = parse(&text);
            let time = Timestamp::from_second(seconds).unwrap();
            prop_assert_eq!(parse(&render(time)), Some(time));
            prop_assert_eq!(parse(&render_micro(time)), Some(time));
        }

        #[test]
        fn durations_never_panic(seconds: i64, nanoseconds: u64) {
            let _ = human_duration(seconds);
            let _ = go_duration(Duration::from_nanos(nanoseconds));
        }
    }
}
