//! The tables of cronjobs.md (S-1 to S-3), zones whose changes are odd, and properties against a scan of every minute.

use proptest::prelude::*;

use super::*;

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn zone(name: &str) -> TimeZone {
    find_zone(name).unwrap()
}

/// The times after `after`, in the zone, as `2024-03-10 03:00 -04`.
#[track_caller]
fn check(schedule: &str, zone_name: &str, after: &str, want: &[&str]) {
    let zone = zone(zone_name);
    let schedule = Schedule::parse(schedule).unwrap();
    let mut time = at(after);
    let mut have = Vec::new();
    for _ in want {
        let next = schedule.next(time, &zone).unwrap();
        // Looking back finds what looking ahead found.
        assert_eq!(schedule.latest(time, next, &zone), Some(next));
        time = next;
        have.push(time.to_zoned(zone.clone()).strftime("%Y-%m-%d %H:%M %:::z").to_string());
    }
    assert_eq!(have, want, "{schedule:?}");
}

/// C-401, C-402, C-403, C-404, C-408.
#[test]
fn s1_next_times() {
    let from = "2024-01-01T00:00:00Z";
    let check = |schedule, want: [&str; 4]| {
        let want = want.map(|time| format!("{time} +00"));
        check(schedule, "UTC", from, &want.iter().map(String::as_str).collect::<Vec<_>>());
    };
    let minutes = |times: [&str; 4]| times.map(|time| format!("2024-01-01 {time}"));
    let hours = minutes(["00:15", "00:30", "00:45", "01:00"]);
    check("*/15 * * * *", [&hours[0], &hours[1], &hours[2], &hours[3]]);
    let hours = minutes(["00:05", "00:25", "00:45", "01:05"]);
    check("5/20 * * * *", [&hours[0], &hours[1], &hours[2], &hours[3]]);
    check("0 9-17/4 * * MON-FRI", ["2024-01-01 09:00", "2024-01-01 13:00", "2024-01-01 17:00", "2024-01-02 09:00"]);
    let days = |days: [&str; 4]| days.map(|day| format!("2024-{day} 00:00"));
    for (schedule, want) in [
        ("0 0 * * 1", ["01-08", "01-15", "01-22", "01-29"]),
        ("0 0 13 * 5", ["01-05", "01-12", "01-13", "01-19"]),
        ("0 0 */2 * 1", ["01-03", "01-05", "01-07", "01-08"]),
        ("0 0 */1 * 1", ["01-08", "01-15", "01-22", "01-29"]),
        ("0 0 *,5 * 1", ["01-08", "01-15", "01-22", "01-29"]),
        ("0 0 ? * ?", ["01-02", "01-03", "01-04", "01-05"]),
        ("0 0 31 * *", ["01-31", "03-31", "05-31", "07-31"]),
        ("@weekly", ["01-07", "01-14", "01-21", "01-28"]),
        ("@midnight", ["01-02", "01-03", "01-04", "01-05"]),
        ("@monthly", ["02-01", "03-01", "04-01", "05-01"]),
    ] {
        let want = days(want);
        check(schedule, [&want[0], &want[1], &want[2], &want[3]]);
    }
    check(
        "  0\t0  1 jan-MAR,apr *  ",
        ["2024-02-01 00:00", "2024-03-01 00:00", "2024-04-01 00:00", "2025-01-01 00:00"],
    );
    check("0 0 29 2 *", ["2024-02-29 00:00", "2028-02-29 00:00", "2032-02-29 00:00", "2036-02-29 00:00"]);
    check("@yearly", ["2025-01-01 00:00", "2026-01-01 00:00", "2027-01-01 00:00", "2028-01-01 00:00"]);
    check("@every 90m", ["2024-01-01 01:30", "2024-01-01 03:00", "2024-01-01 04:30", "2024-01-01 06:00"]);
    check("@hourly", ["2024-01-01 01:00", "2024-01-01 02:00", "2024-01-01 03:00", "2024-01-01 04:00"]);
}

/// C-401, C-402, C-404, C-407.
#[test]
fn s2_parse_errors() {
    for (schedule, want) in [
        ("", "empty spec string"),
        ("  ", "expected exactly 5 fields, found 0: []"),
        ("* * * *", "expected exactly 5 fields, found 4: [* * * *]"),
        ("* * * * * *", "expected exactly 5 fields, found 6: [* * * * * *]"),
        ("60 * * * *", "end of range (60) above maximum (59): 60"),
        ("0 24 * * *", "end of range (24) above maximum (23): 24"),
        ("0 0 0 * *", "beginning of range (0) below minimum (1): 0"),
        ("0 0 * 13 *", "end of range (13) above maximum (12): 13"),
        ("0 0 * * 7", "end of range (7) above maximum (6): 7"),
        ("5-1 * * * *", "beginning of range (5) beyond end of range (1): 5-1"),
        ("0 0 * * SAT-SUN", "beginning of range (6) beyond end of range (0): SAT-SUN"),
        ("*/0 * * * *", "step of range should be a positive number: */0"),
        ("*/-1 * * * *", "negative number (-1) not allowed: -1"),
        ("*/mon * * * *", "failed to parse int from mon: strconv.Atoi: parsing \"mon\": invalid syntax"),
        ("1-2-3 * * * *", "too many hyphens: 1-2-3"),
        ("1/2/3 * * * *", "too many slashes: 1/2/3"),
        ("a * * * *", "failed to parse int from a: strconv.Atoi: parsing \"a\": invalid syntax"),
        ("-1 * * * *", "failed to parse int from : strconv.Atoi: parsing \"\": invalid syntax"),
        (
            "99999999999999999999 * * * *",
            "failed to parse int from 99999999999999999999: strconv.Atoi: parsing \"99999999999999999999\": value out of range",
        ),
        ("L * * * *", "failed to parse int from L: strconv.Atoi: parsing \"L\": invalid syntax"),
        ("@reboot", "unrecognized descriptor: @reboot"),
        ("@Daily", "unrecognized descriptor: @Daily"),
        ("@every", "unrecognized descriptor: @every"),
        ("@every 5", "failed to parse duration @every 5: time: missing unit in duration \"5\""),
        ("@every x", "failed to parse duration @every x: time: invalid duration \"x\""),
        ("@every ", "failed to parse duration @every : time: invalid duration \"\""),
        ("@every 5d", "failed to parse duration @every 5d: time: unknown unit \"d\" in duration \"5d\""),
        ("TZ=0", "invalid schedule format: runtime error: slice bounds out of range [:-1]"),
        ("TZ=Mars/Base * * * * *", "provided bad location Mars/Base: unknown time zone Mars/Base"),
        ("CRON_TZ=utc * * * * *", "provided bad location utc: unknown time zone utc"),
    ] {
        assert_eq!(Schedule::parse(schedule).map(|_| "none").unwrap_err().to_string(), want, "{schedule}");
    }
}

/// C-402, C-406.
#[test]
fn s2_odd_schedules_that_are_legal() {
    for schedule in ["0 0 * jan sun", "+5 * * * *", "TZ=UTC @daily", "*-9 * * * *", "*/99 * * * *", "1,,2, * * * *"] {
        assert!(Schedule::parse(schedule).is_ok(), "{schedule}");
    }
    check("0 0 * jan sun", "UTC", "2024-01-01T00:00:00Z", &["2024-01-07 00:00 +00"]);
    // C-406: the prefix wins.
    check("TZ=Asia/Tokyo 0 0 * * *", "UTC", "2024-01-01T00:00:00Z", &["2024-01-01 15:00 +00"]);
}

/// C-408
#[test]
fn c408_what_never_comes_is_never() {
    let new_york = zone("America/New_York");
    for schedule in [", * * * *", "* , * * *", "0 0 31 2 *", "59 23 31 4,6,9,11 *"] {
        let schedule = Schedule::parse(schedule).unwrap();
        for zone in [&TimeZone::UTC, &new_york] {
            assert_eq!(schedule.next(at("2024-01-01T00:00:00Z"), zone), None, "{schedule:?}");
            assert_eq!(schedule.latest(at("2020-01-01T00:00:00Z"), at("2024-01-01T00:00:00Z"), zone), None);
        }
    }
    // 2100 is no leap year, and 2104 is too far away.
    let leap = Schedule::parse("0 0 29 2 *").unwrap();
    assert_eq!(leap.next(at("2096-02-29T00:00:00Z"), &TimeZone::UTC), None);
    assert_eq!(leap.next(at("2099-01-01T00:00:00Z"), &TimeZone::UTC), Some(at("2104-02-29T00:00:00Z")));
}

/// C-405
#[test]
fn c405_intervals_count_from_the_time_before_in_whole_seconds() {
    let after = at("2024-01-01T00:00:07.9Z");
    for (schedule, next) in [
        ("@every 1h", "2024-01-01T01:00:07Z"),
        ("@every 1h30m10.9s", "2024-01-01T01:30:17Z"),
        ("@every 10ms", "2024-01-01T00:00:08Z"),
        ("@every -5s", "2024-01-01T00:00:08Z"),
        ("@every 0.5m", "2024-01-01T00:00:37Z"),
    ] {
        let schedule = Schedule::parse(schedule).unwrap();
        assert_eq!(schedule.next(after, &TimeZone::UTC), Some(at(next)), "{schedule:?}");
        assert!(schedule.is_interval());
    }
    let hourly = Schedule::parse("@every 1h").unwrap();
    let latest = |upto| hourly.latest(at("2024-01-01T00:05:00Z"), at(upto), &TimeZone::UTC);
    assert_eq!(latest("2024-01-01T01:04:59Z"), None);
    assert_eq!(latest("2024-01-01T01:05:00Z"), Some(at("2024-01-01T01:05:00Z")));
    assert_eq!(latest("2024-01-01T06:30:00Z"), Some(at("2024-01-01T06:05:00Z")));
    assert_eq!(latest("2023-12-31T00:00:00Z"), None);
}

/// C-501, C-502.
#[test]
fn s3_daylight_saving_in_new_york() {
    let zone = "America/New_York";
    let winter = "2024-03-09T05:00:00Z";
    // Skipped times don't fire (C-502).
    check("30 2 * * *", zone, winter, &["2024-03-09 02:30 -05", "2024-03-11 02:30 -04", "2024-03-12 02:30 -04"]);
    check("0 3 * * *", zone, "2024-03-10T05:00:00Z", &["2024-03-10 03:00 -04"]);
    check(
        "0 * * * *",
        zone,
        "2024-03-10T05:59:00Z",
        &["2024-03-10 01:00 -05", "2024-03-10 03:00 -04", "2024-03-10 04:00 -04"],
    );
    // Repeated times fire twice.
    check(
        "30 1 * * *",
        zone,
        "2024-11-03T04:00:00Z",
        &["2024-11-03 01:30 -04", "2024-11-03 01:30 -05", "2024-11-04 01:30 -05"],
    );
    check(
        "0 * * * *",
        zone,
        "2024-11-03T04:30:00Z",
        &["2024-11-03 01:00 -04", "2024-11-03 01:00 -05", "2024-11-03 02:00 -05"],
    );
}

/// C-502
#[test]
fn c502_zones_whose_changes_are_odd() {
    // Half an hour.
    check(
        "15 * * * *",
        "Australia/Lord_Howe",
        "2024-04-06T13:30:00Z",
        &["2024-04-07 01:15 +11", "2024-04-07 02:15 +10:30"],
    );
    check(
        "45 1 * * *",
        "Australia/Lord_Howe",
        "2024-04-06T13:30:00Z",
        &["2024-04-07 01:45 +11", "2024-04-07 01:45 +10:30", "2024-04-08 01:45 +10:30"],
    );
    // At midnight, forward: the day begins at 01:00.
    check("0 0 * * *", "Asia/Beirut", "2024-03-29T22:30:00Z", &["2024-04-01 00:00 +03"]);
    check("30 1 31 * *", "Asia/Beirut", "2024-03-29T22:30:00Z", &["2024-03-31 01:30 +03"]);
    // At midnight, back: 23:00 comes again.
    check(
        "30 23 * * *",
        "Asia/Beirut",
        "2024-10-26T12:00:00Z",
        &["2024-10-26 23:30 +03", "2024-10-26 23:30 +02", "2024-10-27 23:30 +02"],
    );
    // A day that did not exist.
    check("0 12 30 12 *", "Pacific/Apia", "2010-12-30T23:30:00Z", &["2012-12-30 12:00 +14"]);
    // Odd offsets without changes.
    check("0 0 * * *", "Asia/Kathmandu", "2024-01-01T00:00:00Z", &["2024-01-02 00:00 +05:45"]);
}

/// C-309
#[test]
fn c309_zone_names_are_exact_and_need_no_data_on_the_machine() {
    for name in ["UTC", "Etc/UTC", "GMT", "America/New_York", "US/Eastern", "Asia/Calcutta", "EST5EDT", "Europe/Kyiv"] {
        assert!(find_zone(name).is_some(), "{name}");
    }
    for name in ["", "utc", "america/new_york", "Mars/Base", "Local", "../etc/passwd", "EST6"] {
        assert!(find_zone(name).is_none(), "{name}");
    }
}

/// Whether a whole minute matches, asked of the wall clock.
fn matches(schedule: &Schedule, time: Timestamp, zone: &TimeZone) -> bool {
    let Times::Calendar(calendar) = &schedule.times else { panic!("an interval") };
    let wall = zone.to_datetime(time);
    wall.second() == 0
        && has(calendar.minutes, wall.minute())
        && has(calendar.hours, wall.hour())
        && calendar.has_day(wall.date())
}

const ZONES: [&str; 9] = [
    "UTC",
    "America/New_York",
    "Europe/Berlin",
    "Australia/Lord_Howe",
    "Asia/Beirut",
    "America/Asuncion",
    "Pacific/Apia",
    "America/St_Johns",
    "Africa/Casablanca",
];

fn element(min: u32, max: u32) -> impl Strategy<Value = String> {
    prop_oneof![
        3 => Just("*".to_owned()),
        3 => (min..=max).prop_map(|value| value.to_string()),
        1 => (1..=max).prop_map(|step| format!("*/{step}")),
        1 => (min..=max, min..=max).prop_map(|(a, b)| format!("{}-{}", a.min(b), a.max(b))),
        1 => (min..=max, 1..5u32).prop_map(|(a, step)| format!("{a}/{step}")),
        1 => (min..=max, min..=max).prop_map(|(a, b)| format!("{a},{b}")),
    ]
}

fn schedules() -> impl Strategy<Value = String> {
    (element(0, 59), element(0, 23), element(1, 31), element(1, 12), element(0, 6))
        .prop_map(|(minute, hour, day, month, weekday)| format!("{minute} {hour} {day} {month} {weekday}"))
}

/// Instants, half of them near a change of some zone's clock.
fn instants() -> impl Strategy<Value = Timestamp> {
    let anywhere = 1_000_000_000i64..2_500_000_000;
    let near = (0..ZONES.len(), anywhere.clone(), -100_000i64..10_000).prop_map(|(place, second, off)| {
        let from = Timestamp::from_second(second).unwrap();
        let change = zone(ZONES[place]).following(from).next().map_or(from, |transition| transition.timestamp());
        change.as_second() + off
    });
    prop_oneof![anywhere, near].prop_flat_map(|second| {
        (0..1_000_000_000i32).prop_map(move |nanosecond| Timestamp::new(second, nanosecond).unwrap())
    })
}

/// How far a scan goes.
const SCAN_MINUTES: i64 = 3 * 24 * 60;

proptest! {
    #[test]
    fn next_is_the_first_match_of_a_scan(text in schedules(), after in instants(), place in 0..ZONES.len()) {
        let (schedule, zone) = (Schedule::parse(&text).unwrap(), zone(ZONES[place]));
        let next = schedule.next(after, &zone);
        if let Some(next) = next {
            prop_assert!(next > after && matches(&schedule, next, &zone));
        }
        let minute = after.as_second().div_euclid(60);
        let scanned = (minute..=minute + SCAN_MINUTES)
            .map(|minute| Timestamp::from_second(minute * 60).unwrap())
            .find(|time| *time > after && matches(&schedule, *time, &zone));
        let end = Timestamp::from_second((minute + SCAN_MINUTES) * 60).unwrap();
        prop_assert_eq!(next.filter(|next| *next <= end), scanned);
    }

    #[test]
    fn latest_is_the_last_match_of_a_scan(text in schedules(), upto in instants(), place in 0..ZONES.len()) {
        let (schedule, zone) = (Schedule::parse(&text).unwrap(), zone(ZONES[place]));
        let minute = upto.as_second().div_euclid(60);
        let after = Timestamp::from_second((minute - SCAN_MINUTES) * 60).unwrap();
        let scanned = (minute - SCAN_MINUTES + 1..=minute)
            .rev()
            .map(|minute| Timestamp::from_second(minute * 60).unwrap())
            .find(|time| *time <= upto && matches(&schedule, *time, &zone));
        prop_assert_eq!(schedule.latest(after, upto, &zone), scanned);
    }

    #[test]
    fn parsing_never_panics(text in "[-*/,?@a-zA-Z0-9 =.+]{0,24}", odd in ".*") {
        for text in [text, odd] {
            if let Ok(schedule) = Schedule::parse(&text) {
                let _ = schedule.next(Timestamp::MAX, &TimeZone::UTC);
                let _ = schedule.next(Timestamp::MIN, &TimeZone::UTC);
                let _ = schedule.latest(at("2020-01-01T00:00:00Z"), at("2024-01-01T00:00:00Z"), &TimeZone::UTC);
            }
        }
    }
}
