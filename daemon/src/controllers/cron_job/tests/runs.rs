//! Which time is run, and when the next look is: table S-4.

use jiff::{SignedDuration, tz::TimeZone};
use jobd_api::cron::{Schedule, find_zone};
use proptest::prelude::*;

use super::{show, time};
use crate::controllers::cron_job::runs::{Choice, Runs, TooClose};

/// The run with its remarks, and the timer without its 100 ms.
#[track_caller]
fn check(schedule: &str, since: &str, deadline: Option<i64>, now: &str, run: &str, timer: &str) {
    let parsed = Schedule::parse(schedule).unwrap();
    let runs = Runs { schedule: &parsed, zone: &TimeZone::UTC, since: time(since) };
    let have = match runs.choose(deadline.map(SignedDuration::from_secs), time(now)) {
        Err(TooClose) => "error".to_owned(),
        Ok(Choice { run: None, too_many: false }) => "none".to_owned(),
        Ok(Choice { run, too_many }) => {
            let words = [run.map(show), too_many.then(|| "too many".to_owned())];
            words.into_iter().flatten().collect::<Vec<_>>().join(", ")
        }
    };
    let have_timer = runs
        .timer(time(now))
        .map_or("none".to_owned(), |timer| show(timer.checked_sub(SignedDuration::from_millis(100)).unwrap()));
    assert_eq!((have.as_str(), have_timer.as_str()), (run, timer), "{schedule} since {since} at {now}");
}

/// C-701, C-702, C-703, C-704, C-705, C-706, C-711.
#[test]
fn s4_run_choice() {
    check("0 * * * *", "10:00", None, "10:30", "none", "11:00");
    check("0 * * * *", "10:00", None, "11:00:00.1", "11:00", "12:00");
    check("0 * * * *", "10:00", None, "15:01", "15:00", "16:00");
    check("* * * * *", "10:00", None, "11:40:30", "11:40", "11:41");
    check("* * * * *", "10:00", None, "11:41:30", "11:41, too many", "11:42");
    check("* * * * *", "10:00", Some(600), "13:00:30", "13:00", "13:01");
    check("0 * * * *", "10:00", Some(600), "11:05", "11:00", "12:00");
    check("0 * * * *", "10:00", Some(301), "11:05", "11:00", "12:00");
    check("0 * * * *", "10:00", Some(300), "11:05", "none", "12:00");
    check("0 * * * *", "10:00", Some(0), "11:00:00.1", "none", "12:00");
    check("0 9 * * 1-5", "2024-05-02T09:00:00Z", None, "2024-05-06T12:00:00Z", "2024-05-06T09:00", "2024-05-07T09:00");
    check("0 0 1 * *", "2024-02-01T00:00:00Z", None, "2024-05-02T00:00:00Z", "00:00", "2024-06-01T00:00");
    check("@every 1h", "10:05", None, "11:05:00.1", "11:05", "12:05");
    check("@every 1h", "12:05", None, "18:30", "18:05", "19:05");
    // C-1704
    check("@every 1h", "10:05", Some(10), "11:05:00.1", "11:05", "12:05");
    check("@every 1h", "10:05", Some(10), "11:05:11", "none", "12:05");
    // C-1701
    check(
        "30 10,11,12 * * 1-5",
        "2016-05-19T10:30:00Z",
        None,
        "2016-05-20T16:30:00Z",
        "2016-05-20T12:30",
        "2016-05-23T10:30",
    );
    check("59 23 31 2 *", "10:00", None, "11:00", "error", "none");
}

/// C-707
#[test]
fn c707_a_deadline_beyond_the_elapsed_time_has_no_effect() {
    for deadline in [None, Some(7200), Some(i64::MAX)] {
        check("0 * * * *", "10:00", deadline, "11:30", "11:00", "12:00");
    }
}

#[test]
fn c704_a_last_time_that_has_no_next_is_an_error() {
    // C-408: the next leap day is eight years away.
    let since = "2096-01-01T00:00:00Z";
    check("0 0 29 2 *", since, None, "2096-02-28T00:00:00Z", "none", "2096-02-29T00:00");
    check("0 0 29 2 *", since, None, "2096-02-29T00:00:00Z", "error", "none");
}

/// what was passed since the timer was set, as `first last count`.
#[track_caller]
fn check_passed(schedule: &str, since: &str, due: &str, run: Option<&str>, now: &str, want: &str) {
    let parsed = Schedule::parse(schedule).unwrap();
    let runs = Runs { schedule: &parsed, zone: &TimeZone::UTC, since: time(since) };
    let passed = runs.passed(time(due), run.map(time), time(now));
    let have = passed
        .map_or("none".to_owned(), |passed| format!("{} {} {}", show(passed.first), show(passed.last), passed.count));
    assert_eq!(have, want, "{schedule} due {due} at {now}");
}

#[test]
fn times_that_pass_unused_are_counted_from_the_timer_on() {
    // In time: nothing passes. Also not when the look is late but no other time came.
    check_passed("*/5 * * * *", "11:00", "11:05:00.1", Some("11:05"), "11:05:00.1", "none");
    check_passed("*/5 * * * *", "11:00", "11:05:00.1", Some("11:05"), "11:09:59", "none");
    // The look comes before its timer: what was not run before is not its business.
    check_passed("*/5 * * * *", "11:00", "11:05:00.1", None, "11:04", "none");
    check_passed("*/5 * * * *", "10:00", "11:05:00.1", Some("11:00"), "11:04", "none");
    // One is run, those before it passed.
    check_passed("*/5 * * * *", "11:00", "11:05:00.1", Some("11:15"), "11:15:30", "11:05 11:10 2");
    check_passed(
        "@every_7m".replace('_', " ").as_str(),
        "11:00",
        "11:07:00.1",
        Some("11:21"),
        "11:22",
        "11:07 11:14 2",
    );
    // None is run: the deadline is over for all of them.
    check_passed("*/5 * * * *", "11:00", "11:05:00.1", None, "11:16", "11:05 11:15 3");
    // Many are not counted, but the last is right.
    check_passed("* * * * *", "08:00", "08:01:00.1", Some("11:00"), "11:00:30", "08:01 10:59 100");
    check_passed("* * * * *", "08:00", "08:01:00.1", None, "11:00:30", "08:01 11:00 100");
}

/// F-16: a clock that stood far ahead when the last job was made, and was set back since.
#[test]
fn a_last_run_in_the_future_is_waited_out() {
    check("0 * * * *", "12:00", None, "11:05", "none", "13:00");
}

proptest! {
    /// However the way from `since` to the end is cut into looks: each run is a scheduled time, later than the one before, and the last
    /// look finds the last time; a look without a deadline leaves nothing behind it.
    #[test]
    fn looks_never_repeat_a_time_and_never_lose_the_latest(
        minute in prop_oneof![Just("*"), Just("*/7"), Just("0"), Just("13,40")],
        hour in prop_oneof![Just("*"), Just("2"), Just("*/6")],
        zone in prop_oneof![Just("UTC"), Just("America/New_York"), Just("Australia/Lord_Howe")],
        start in 1_709_900_000i64..1_710_300_000,
        waits in prop::collection::vec(1i64..40_000, 1..20),
    ) {
        let schedule = Schedule::parse(&format!("{minute} {hour} * * *")).unwrap();
        let zone = find_zone(zone).unwrap();
        let mut since = jiff::Timestamp::from_second(start).unwrap();
        let mut now = since;
        for wait in waits {
            now = now.checked_add(SignedDuration::from_secs(wait)).unwrap();
            let runs = Runs { schedule: &schedule, zone: &zone, since };
            let choice = runs.choose(None, now).unwrap();
            let next = schedule.next(since, &zone).unwrap();
            prop_assert_eq!(choice.run.is_some(), next <= now);
            if let Some(run) = choice.run {
                prop_assert!(since < run && run <= now);
                prop_assert!(schedule.next(run, &zone).unwrap() > now);
                since = run;
            }
            let timer = runs.timer(now).unwrap();
            prop_assert!(now < timer);
            prop_assert_eq!(schedule.next(now, &zone).map(|next| next + SignedDuration::from_millis(100)), Some(timer));
        }
    }
}
