//! Years of virtual time in zones with changes of every kind: what `decide` makes of a schedule, look after look, beside a list of its
//! times that is made from the civil calendar and knows nothing of the code under test (C-402, C-403, C-501, C-502, C-504, C-701, C-901).
//!
//! The list: every minute of every day on the wall whose fields match, and the instants at which a clock of the zone shows it: none in a
//! gap, two in a fold. UTC is compared with another implementation of cron besides (`tests/tests/croniter.rs`).

use std::collections::BTreeSet;

use jiff::{
    SignedDuration, Timestamp,
    civil::{Date, date},
    tz::{AmbiguousOffset, TimeZone},
};
use jobd_api::cron::find_zone;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::{parse, plan_for};
use crate::controllers::cron_job::snapshot::Snapshot;

/// Half an hour, two hours, backwards in summer, around Ramadan, at midnight, across the date line, and none.
const ZONES: [&str; 12] = [
    "UTC",
    "America/New_York",
    "Europe/Berlin",
    "Australia/Lord_Howe",
    "Antarctica/Troll",
    "Europe/Dublin",
    "Africa/Casablanca",
    "Asia/Beirut",
    "America/Asuncion",
    "America/St_Johns",
    "Pacific/Apia",
    "Asia/Kathmandu",
];

/// So many times of a schedule are enough; those of a sparse one end with the years.
const TIMES_MAX: usize = 1200;
const YEARS: i16 = 6;

/// A small generator of numbers, the same in every run.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % end
    }

    fn within(&mut self, min: i8, max: i8) -> i8 {
        min + i8::try_from(self.below(u64::from((max - min + 1).unsigned_abs()))).unwrap()
    }

    /// A field as text, with what it means.
    fn field(&mut self, min: i8, max: i8) -> Field {
        let (a, b) = (self.within(min, max), self.within(min, max));
        let (low, high) = (a.min(b), a.max(b));
        let step = self.within(1, max / 2);
        let every = |from: i8, to: i8, step: i8| (from..=to).step_by(usize::from(step.unsigned_abs())).collect();
        match self.below(7) {
            0 | 1 => Field { text: "*".to_owned(), values: every(min, max, 1), any: true },
            2 => Field { text: a.to_string(), values: every(a, a, 1), any: false },
            3 => Field { text: format!("{low}-{high}"), values: every(low, high, 1), any: false },
            4 => Field { text: format!("{low},{high}"), values: BTreeSet::from([low, high]), any: false },
            5 => Field { text: format!("*/{step}"), values: every(min, max, step), any: step == 1 },
            _ => Field { text: format!("{low}-{high}/{step}"), values: every(low, high, step), any: false },
        }
    }
}

struct Field {
    text: String,
    values: BTreeSet<i8>,
    /// C-403: says nothing about the day.
    any: bool,
}

impl Field {
    fn of(text: &str, values: &[i8]) -> Self {
        Self { text: text.to_owned(), values: values.iter().copied().collect(), any: text == "*" }
    }
}

/// Minute, hour, day of month, month, day of week.
struct Fields([Field; 5]);

impl Fields {
    fn text(&self) -> String {
        self.0.each_ref().map(|field| field.text.as_str()).join(" ")
    }

    fn has_day(&self, date: Date) -> bool {
        let [_, _, days, months, weekdays] = &self.0;
        let of_month = days.values.contains(&date.day());
        let of_week = weekdays.values.contains(&date.weekday().to_sunday_zero_offset());
        let both = days.any || weekdays.any;
        months.values.contains(&date.month()) && if both { of_month && of_week } else { of_month || of_week }
    }

    /// All times after `start`, in order, from the days on the wall.
    fn times(&self, zone: &TimeZone, start: Timestamp) -> Vec<Timestamp> {
        let [minutes, hours, ..] = &self.0;
        let first = zone.to_datetime(start).date();
        let mut times = BTreeSet::new();
        let mut day = first.yesterday().unwrap();
        while day.year() <= first.year() + YEARS && times.len() < TIMES_MAX {
            for hour in hours.values.iter().filter(|_| self.has_day(day)) {
                for minute in &minutes.values {
                    let wall = day.at(*hour, *minute, 0, 0);
                    match zone.to_ambiguous_timestamp(wall).offset() {
                        AmbiguousOffset::Unambiguous { offset } => times.extend(offset.to_timestamp(wall)),
                        AmbiguousOffset::Gap { .. } => {}
                        AmbiguousOffset::Fold { before, after } => {
                            times.extend([before, after].map(|offset| offset.to_timestamp(wall).unwrap()));
                        }
                    }
                }
            }
            day = day.tomorrow().unwrap();
        }
        // Days overlap where the date line is crossed, so the last one may lack times that a later day would bring.
        times.into_iter().filter(|time| *time > start).take(TIMES_MAX.saturating_sub(200)).collect()
    }
}

fn random_case(numbers: &mut Numbers) -> (Fields, &'static str, Timestamp) {
    let fields = Fields([
        numbers.field(0, 59),
        numbers.field(0, 23),
        numbers.field(1, 31),
        numbers.field(1, 12),
        numbers.field(0, 6),
    ]);
    let name = ZONES[usize::try_from(numbers.below(12)).unwrap()];
    let year = 2005 + i16::try_from(numbers.below(25)).unwrap();
    let mut start = date(year, numbers.within(1, 12), 1).to_zoned(TimeZone::UTC).unwrap().timestamp();
    // Dense schedules come to few days: half of them begin shortly before a change.
    if numbers.below(2) == 0
        && let Some(change) = find_zone(name).unwrap().following(start).next()
    {
        start = change.timestamp() - SignedDuration::from_hours(i64::from(numbers.within(1, 30)));
    }
    (fields, name, start)
}

fn new_cron_job(fields: &Fields, zone: &str, start: Timestamp) -> Snapshot {
    let (mut seen, _) = parse("");
    seen.cron_job.spec.schedule = fields.text();
    seen.cron_job.spec.time_zone = Some(zone.to_owned());
    seen.cron_job.metadata.creation_timestamp = Some(Time(start));
    seen
}

/// One look; the run that it made, with its events. Its job is finished and forgotten at once.
fn look(seen: &mut Snapshot, now: Timestamp) -> (Option<Timestamp>, Vec<String>) {
    let plan = plan_for(seen, now);
    let mut run = None;
    if let Some(status) = plan.status {
        run = status.last_schedule_time.as_ref().map(|time| time.0).filter(|_| plan.create.is_some());
        seen.cron_job.status = Some(status);
        seen.cron_job.status.as_mut().unwrap().active = None;
    }
    if let Some(made) = plan.create {
        let run = run.expect("a run has its time in the status");
        assert_eq!(made.object.name(), format!("x-{}", run.as_second() / 60));
        let stamp = made.object.text(&["metadata", "annotations", "batch.kubernetes.io/cronjob-scheduled-timestamp"]);
        assert_eq!(stamp.unwrap().parse::<Timestamp>().unwrap(), run);
    }
    seen.due_at = plan.next;
    (run, plan.events.into_iter().map(|event| event.message).collect())
}

/// From timer to timer: every time is run once, in its order, and nothing else.
fn check_every_time_is_run(fields: &Fields, name: &str, start: Timestamp) {
    let want = fields.times(&find_zone(name).unwrap(), start);
    let mut seen = new_cron_job(fields, name, start);
    let (none, _) = look(&mut seen, start);
    assert_eq!(none, None, "{} in {name} from {start}", fields.text());
    for time in want {
        let due = seen.due_at.unwrap_or_else(|| panic!("{} in {name}: never after {time}", fields.text()));
        let (run, _) = look(&mut seen, due);
        assert_eq!(run, Some(time), "{} in {name} from {start}", fields.text());
    }
}

/// With gaps of up to some days: the latest time is run, once, and those before it are told of (C-701, R-7). How many are run.
fn check_gaps(fields: &Fields, name: &str, start: Timestamp, numbers: &mut Numbers) -> usize {
    let want = fields.times(&find_zone(name).unwrap(), start);
    let Some(end) = want.last() else { return 0 };
    let mut seen = new_cron_job(fields, name, start);
    let mut now = start;
    let mut runs = 0;
    while now < *end {
        let before = seen.since();
        let (run, events) = look(&mut seen, now);
        let missed: Vec<_> = want.iter().filter(|time| before < **time && **time <= now).collect();
        assert_eq!(run, missed.last().map(|time| **time), "{} in {name} at {now} since {before}", fields.text());
        let told = events.iter().any(|event| event.starts_with("Missed scheduled time"));
        assert_eq!(told, missed.len() > 1, "{} in {name} at {now}: {events:?}", fields.text());
        if (3..100).contains(&missed.len()) {
            let count = format!("({} times since", missed.len() - 1);
            assert!(events.iter().any(|event| event.contains(&count)), "{count}: {events:?}");
        }
        runs += usize::from(run.is_some());
        let gap = numbers.below(5 * 24 * 3600);
        now += SignedDuration::from_secs(i64::try_from(gap >> numbers.below(18)).unwrap() + 1);
    }
    runs
}

#[test]
fn random_schedules_in_all_zones_run_at_every_time_of_theirs_and_at_no_other() {
    let mut numbers = Numbers(20_261_121);
    let mut times = 0;
    for _ in 0..60 {
        let (fields, name, start) = random_case(&mut numbers);
        times += fields.times(&find_zone(name).unwrap(), start).len();
        check_every_time_is_run(&fields, name, start);
    }
    assert!(times > 20_000, "the cases have become poor: {times} times");
}

#[test]
fn daily_and_hourly_schedules_pass_every_change_of_every_zone() {
    for (text, values) in
        [("30 2 * * *", [&[30][..], &[2]]), ("0 0 * * *", [&[0], &[0]]), ("30 1,3 * * *", [&[30], &[1, 3]])]
    {
        let [minute, hour, ..] = text.split(' ').collect::<Vec<_>>()[..] else { panic!("{text}") };
        for name in ZONES {
            let days: Vec<i8> = (1..=31).collect();
            let months: Vec<i8> = (1..=12).collect();
            let fields = Fields([
                Field::of(minute, values[0]),
                Field::of(hour, values[1]),
                Field::of("*", &days),
                Field::of("*", &months),
                Field::of("*", &[0, 1, 2, 3, 4, 5, 6]),
            ]);
            for start in ["2010-01-15T00:00:00Z", "2023-01-15T00:00:00Z"] {
                check_every_time_is_run(&fields, name, start.parse().unwrap());
            }
        }
    }
}

#[test]
fn after_gaps_the_latest_time_is_run_and_the_others_are_told_of() {
    let mut numbers = Numbers(7);
    let mut runs = 0;
    for _ in 0..40 {
        let (fields, name, start) = random_case(&mut numbers);
        runs += check_gaps(&fields, name, start, &mut numbers);
    }
    assert!(runs > 1000, "the cases have become poor: {runs} runs");
}
