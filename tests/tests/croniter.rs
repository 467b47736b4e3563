//! Schedules beside an independent implementation of cron: the croniter package from PyPI, over years of virtual time, in UTC.
//!
//! `JOBD_PYTHON` (else `python3`) must be able to import croniter: `tests/run.sh` sees to it. Known differences, which the generator
//! leaves out: croniter takes `*/n` in a day field for unrestricted (C-403 takes it for restricted) and joins the day fields its own way
//! then; a day range like `6-6` means every day to it; it knows a day of week 7, `L`, `#` and a sixth field, which C-401 refuses. Clock changes (C-502) are tested by rule, elsewhere.

use std::{
    io::Write as _,
    process::{Command, Stdio},
};

use jiff::{Timestamp, tz::TimeZone};
use jobd_api::cron::Schedule;

const SCRIPT: &str = "
import sys, datetime
from croniter import croniter
for line in sys.stdin:
    start, schedule = line.rstrip('\\n').split('|')
    times = croniter(schedule, datetime.datetime.fromtimestamp(int(start), datetime.timezone.utc))
    print(' '.join(str(int(times.get_next(float))) for _ in range(8)))
";

/// A small generator of numbers, the same in every run.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % end
    }

    fn within(&mut self, min: u64, max: u64) -> u64 {
        min + self.below(max - min + 1)
    }

    /// One field. Day fields have no `*` with a step (C-403).
    fn field(&mut self, min: u64, max: u64, is_day: bool) -> String {
        let (a, b) = (self.within(min, max), self.within(min, max));
        let (low, high) = (a.min(b), a.max(b));
        match self.below(if is_day { 5 } else { 6 }) {
            0 | 1 => "*".to_owned(),
            2 => a.to_string(),
            3 if low < high => format!("{low}-{high}"),
            3 => a.to_string(),
            4 => format!("{low},{high}"),
            _ => format!("*/{}", self.within(1, max)),
        }
    }

    fn schedule(&mut self) -> String {
        [
            self.field(0, 59, false),
            self.field(0, 23, false),
            // Every month has these days, so that times always come.
            self.field(1, 28, true),
            self.field(1, 12, false),
            self.field(0, 6, true),
        ]
        .join(" ")
    }
}

#[test]
fn times_are_those_of_an_independent_implementation() {
    let python = std::env::var_os("JOBD_PYTHON").unwrap_or_else(|| "python3".into());
    let can_import = Command::new(&python).args(["-c", "import croniter"]).stderr(Stdio::null()).status();
    assert!(
        can_import.is_ok_and(|status| status.success()),
        "{} cannot import croniter: tests/prepare/python.sh makes an environment that can; JOBD_PYTHON names it",
        python.display()
    );
    let mut numbers = Numbers(20_260_101);
    let cases: Vec<(i64, String)> = (0..3000)
        .map(|_| {
            let start = 946_684_800 + i64::try_from(numbers.below(1_500_000_000)).unwrap();
            (start, numbers.schedule())
        })
        .collect();
    let mut child =
        Command::new(&python).args(["-c", SCRIPT]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let input: String = cases.iter().map(|(start, schedule)| format!("{start}|{schedule}\n")).collect();
    let mut stdin = child.stdin.take().unwrap();
    let writer = std::thread::spawn(move || stdin.write_all(input.as_bytes()));
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap().unwrap();
    assert!(output.status.success());
    let answers = String::from_utf8(output.stdout).unwrap();
    assert_eq!(answers.lines().count(), cases.len());
    for ((start, text), answer) in cases.iter().zip(answers.lines()) {
        let schedule = Schedule::parse(text).unwrap();
        let mut time = Timestamp::from_second(*start).unwrap();
        for want in answer.split(' ') {
            let want = Timestamp::from_second(want.parse().unwrap()).unwrap();
            let next = schedule.next(time, &TimeZone::UTC);
            assert_eq!(next, Some(want), "{text} after {time}");
            assert_eq!(schedule.latest(time, want, &TimeZone::UTC), next, "{text} up to {want}");
            time = want;
        }
    }
}
