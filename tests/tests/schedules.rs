//! Schedules in zones that change their clocks, beside the plainest reading of the rules: is this minute one of its times? (C-403, C-408,
//! C-502). Around every change of the clock in thirty years, and in weeks drawn from them. UTC against an independent implementation
//! is in `croniter.rs`.

use jiff::{SignedDuration, Timestamp, ToSpan as _, tz::TimeZone};
use jobd_api::cron::{Schedule, find_zone};
use jobd_tests::sim::{checker::almanac::Almanac, dice::Dice};

/// An hour forward and back in both hemispheres, half an hour, at midnight, in Ramadan, a skipped day, none at all.
const ZONES: &[&str] = &[
    "Europe/Berlin",
    "America/New_York",
    "America/Havana",
    "America/Sao_Paulo",
    "Australia/Lord_Howe",
    "Africa/Cairo",
    "Africa/Casablanca",
    "Asia/Beirut",
    "Pacific/Apia",
    "Asia/Kolkata",
];

/// What is near the hours at which clocks are changed.
const FIXED: &[&str] = &[
    "30 2 * * *",
    "0 3 * * *",
    "30 1 * * *",
    "0 * * * *",
    "*/15 0-4 * * *",
    "0 0 * * *",
    "59 23 * * 6",
    "0 0 31 * 0",
    "15,45 1-3 * * 0",
    "0 0 30 12 *",
];

fn from() -> Timestamp {
    "2005-01-01T00:00:00Z".parse().unwrap()
}

fn upto() -> Timestamp {
    "2035-01-01T00:00:00Z".parse().unwrap()
}

/// All times of the schedule within the window are those that match, none is left out, and the last is found from the end too.
#[track_caller]
fn check(text: &str, zone: &str, start: Timestamp, end: Timestamp) -> u64 {
    let schedule = Schedule::parse(text).unwrap();
    let almanac = Almanac::read(text, Some(zone)).unwrap();
    let zone_data = find_zone(zone).unwrap();
    let mut minute = Timestamp::from_second(start.as_second().div_euclid(60) * 60 + 60).unwrap();
    let mut want = Vec::new();
    while minute <= end {
        if almanac.has(minute) {
            want.push(minute);
        }
        minute += SignedDuration::from_mins(1);
    }
    let mut got = Vec::new();
    let mut after = start;
    while let Some(next) = schedule.next(after, &zone_data).filter(|next| *next <= end) {
        assert!(next > after, "{text} in {zone} does not go on from {after}");
        got.push(next);
        after = next;
    }
    let differs = got.iter().zip(&want).find(|(got, want)| got != want);
    assert_eq!((got.len(), differs), (want.len(), None), "{text} in {zone} from {start} to {end}: got and wanted");
    assert_eq!(
        schedule.latest(start, end, &zone_data),
        want.last().copied(),
        "the last of {text} in {zone} up to {end}"
    );
    got.len() as u64
}

fn changes(zone: &TimeZone) -> impl Iterator<Item = Timestamp> {
    zone.following(from()).map(|change| change.timestamp()).take_while(|at| *at < upto())
}

#[test]
fn every_change_of_the_clock_in_thirty_years_c502() {
    let mut times = 0;
    for zone in ZONES {
        for change in changes(&find_zone(zone).unwrap()) {
            let (start, end) = (change - 5.hours(), change + 5.hours());
            times += FIXED.iter().map(|text| check(text, zone, start, end)).sum::<u64>();
        }
    }
    assert!(times > 5000, "only {times} times were looked at");
}

/// One field by chance.
fn field(low: u64, high: u64, dice: &mut Dice) -> String {
    let (a, b) = (dice.between(low, high), dice.between(low, high));
    let (first, last) = (a.min(b), a.max(b));
    match dice.below(7) {
        0..=2 => "*".to_owned(),
        3 => a.to_string(),
        4 => format!("{first}-{last}"),
        5 => format!("{first},{last}"),
        _ => format!("*/{}", dice.between(1, (high - low) / 2)),
    }
}

#[test]
fn schedules_by_chance_in_weeks_by_chance_c402_c403() {
    let mut dice = Dice::new(20_260_601);
    for _ in 0..250 {
        let zone = *dice.pick(ZONES);
        let seconds = dice.below(u64::try_from(upto().as_second() - from().as_second()).unwrap());
        let start = from() + SignedDuration::from_secs(i64::try_from(seconds).unwrap());
        let ranges = [(0, 59), (0, 23), (1, 31), (1, 12), (0, 6)];
        let fields = ranges.map(|(low, high)| field(low, high, &mut dice));
        check(&fields.join(" "), zone, start, start + SignedDuration::from_hours(7 * 24));
    }
}
