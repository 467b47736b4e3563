//! Places where a crash test makes this process kill itself (F-1): before and after every commit and every engine call.
//!
//! In production a place costs one relaxed load. A test arms one of them with `JOBD_FAILPOINT=name:n` in the environment
//! of the daemon it starts: the n-th hit of that place (from 1) ends the process as `kill -9` would, without clean-up.
//! Names are `part.place`, such as `store.before_commit`. What a place means is told where it stands; nothing else may
//! come in here, above all no errors that pretend to be real ones.

use std::sync::{
    OnceLock,
    atomic::{AtomicU8, AtomicU64, Ordering},
};

/// Names the variable that arms a place.
pub const VARIABLE: &str = "JOBD_FAILPOINT";

/// The environment was not looked at yet.
const UNKNOWN: u8 = 0;
const DISARMED: u8 = 1;
const ARMED: u8 = 2;

static STATE: AtomicU8 = AtomicU8::new(UNKNOWN);
static POINT: OnceLock<Option<Point>> = OnceLock::new();

/// The one place that is armed.
struct Point {
    name: String,
    /// Hits until the end.
    left: AtomicU64,
}

/// Passes a named place. Ends the process when a test asked for it.
#[inline]
pub fn hit(name: &str) {
    // Relaxed: the state is written before any work starts, and a place that is passed in the same instant was not armed.
    if STATE.load(Ordering::Relaxed) != DISARMED {
        hit_slow(name);
    }
}

#[cold]
fn hit_slow(name: &str) {
    let point = POINT.get_or_init(|| std::env::var(VARIABLE).ok().and_then(|text| parse(&text)));
    STATE.store(if point.is_some() { ARMED } else { DISARMED }, Ordering::Relaxed);
    let Some(point) = point else { return };
    if point.name == name && point.left.fetch_sub(1, Ordering::Relaxed) == 1 {
        tracing::error!(failpoint = name, "killed by failpoint {name}");
        die();
    }
}

/// `name:n`, or `name` alone for the first hit. A text that is neither arms nothing.
fn parse(text: &str) -> Option<Point> {
    let (name, hits) = match text.rsplit_once(':') {
        Some((name, hits)) => (name, hits.parse().ok()?),
        None => (text, 1),
    };
    (!name.is_empty() && hits > 0).then(|| Point { name: name.to_owned(), left: AtomicU64::new(hits) })
}

/// Ends the process at once: no destructors, no exit handlers, no core file.
fn die() -> ! {
    // The answer does not matter: as process 1 of a container the signal is ignored, and then abort ends us.
    let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
    std::process::abort()
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt as _;

    use super::*;

    #[test]
    fn names_a_place_and_a_hit() {
        let check = |text: &str, want: Option<(&str, u64)>| {
            let point = parse(text);
            assert_eq!(point.as_ref().map(|p| (p.name.as_str(), p.left.load(Ordering::Relaxed))), want, "{text}");
        };
        check("store.before_commit:3", Some(("store.before_commit", 3)));
        check("store.before_commit", Some(("store.before_commit", 1)));
        check("store.before_commit:0", None);
        check("store.before_commit:x", None);
        check(":1", None);
        check("", None);
    }

    /// The child of the test below; harmless when nobody armed it.
    #[test]
    fn passes_places() {
        for _ in 0..3 {
            hit("failpoint.other");
            hit("failpoint.test");
        }
    }

    #[test]
    fn kills_the_process_at_the_hit_that_is_armed() {
        let run = |value: &str| {
            std::process::Command::new(std::env::current_exe().unwrap())
                .args(["--exact", "failpoint::tests::passes_places"])
                .env(VARIABLE, value)
                .output()
                .unwrap()
                .status
        };
        assert_eq!(run("failpoint.test:3").signal(), Some(9));
        assert!(run("failpoint.test:4").success(), "never reached a fourth hit");
    }
}
