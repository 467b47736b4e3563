//! When an event is a repeat, when it is one of too many similar ones, and when it is one too many (J-2211). Pure.

use std::{
    collections::hash_map::DefaultHasher,
    hash::{Hash, Hasher as _},
    time::Duration,
};

use super::{EventSpec, lru::Lru};

/// How many events, series and objects are remembered. More only makes repeats of old events count up instead of starting
/// anew; each costs about 200 bytes. Upstream's figure.
const REMEMBERED_MAX: usize = 4096;
/// Differing messages of one reason after which they collapse into one event.
const SIMILAR_MAX: usize = 10;
/// A series of similar events is over when none came for so long.
const SIMILAR_WINDOW: Duration = Duration::from_secs(600);
/// Events that one source may report about one object at once.
const BURST: u32 = 25;
/// How long it takes until one more may be reported.
const REFILL: Duration = Duration::from_secs(300);

/// An event object that was written before.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Known {
    pub(super) name: String,
    pub(super) uid: String,
    /// Nanoseconds since the epoch of the first occurrence.
    pub(super) first: i128,
    /// 0: nothing was written yet.
    pub(super) count: i32,
}

#[derive(Debug, Default)]
struct Series {
    /// A list with room for what is in it: mostly one, in thousands of series.
    messages: Vec<u128>,
    last: Duration,
}

#[derive(Debug, Default)]
struct Bucket {
    /// Taken so far, minus what was refilled.
    taken: u32,
    /// When the refilling was reckoned up.
    since: Duration,
}

/// What becomes of an event.
pub(super) struct Correlated<'a> {
    /// The message is one of many similar ones, and says so.
    pub(super) combined: bool,
    /// The event object of before; the caller fills it in.
    pub(super) known: &'a mut Known,
}

/// The memory of recent events. Bounded.
#[derive(Debug)]
pub(super) struct Correlator {
    known: Lru<Known>,
    series: Lru<Series>,
    buckets: Lru<Bucket>,
}

impl Correlator {
    pub(super) fn new() -> Self {
        Self { known: Lru::new(REMEMBERED_MAX), series: Lru::new(REMEMBERED_MAX), buckets: Lru::new(REMEMBERED_MAX) }
    }

    /// What becomes of the event at this time since boot; none when the source has reported too much about the object.
    pub(super) fn correlate(&mut self, event: &EventSpec, now: Duration) -> Option<Correlated<'_>> {
        let EventSpec { involved, source, event_type, reason, message } = event;
        // The object's revision changes all the time and is no part of what the event is about.
        let object = (&involved.api_version, &involved.kind, &involved.namespace, &involved.name, &involved.uid);
        let similar = (source, object, event_type, reason);

        let combined = self.is_combined(hash(&similar), hash(message), now);
        if !self.take(hash(&(source, object)), now) {
            return None;
        }
        let key = if combined { hash(&similar) } else { hash(&(similar, &involved.field_path, message)) };
        Some(Correlated { combined, known: self.known.entry(key) })
    }

    fn is_combined(&mut self, series: u128, message: u128, now: Duration) -> bool {
        let series = self.series.entry(series);
        if now.saturating_sub(series.last) > SIMILAR_WINDOW {
            series.messages.clear();
        }
        series.last = now;
        if series.messages.contains(&message) {
            return false;
        }
        if series.messages.len() >= SIMILAR_MAX {
            return true;
        }
        series.messages.reserve_exact(1);
        series.messages.push(message);
        false
    }

    /// Takes one event out of the object's allowance, if there is one left.
    fn take(&mut self, object: u128, now: Duration) -> bool {
        let bucket = self.buckets.entry(object);
        let refilled = u32::try_from(now.saturating_sub(bucket.since).as_secs() / REFILL.as_secs()).unwrap_or(u32::MAX);
        if bucket.taken == 0 {
            bucket.since = now;
        } else if refilled > 0 {
            bucket.taken = bucket.taken.saturating_sub(refilled);
            bucket.since = if bucket.taken == 0 { now } else { bucket.since + REFILL * refilled };
        }
        let has_left = bucket.taken < BURST;
        if has_left {
            bucket.taken += 1;
        }
        has_left
    }
}

/// 128 bits of a value; collisions would only merge two events.
fn hash(value: &impl Hash) -> u128 {
    let mut halves = [0u64, 1].map(|salt| {
        // Unseeded, so that the simulation replays exactly.
        let mut hasher = DefaultHasher::new();
        salt.hash(&mut hasher);
        value.hash(&mut hasher);
        u128::from(hasher.finish())
    });
    halves[0] <<= 64;
    halves[0] | halves[1]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recorder::tests::spec;

    /// Feeds messages, one per second; renders what became of each: `name+count`, `*` if combined, `-` if dropped.
    fn story(messages: impl IntoIterator<Item = String>) -> Vec<String> {
        let mut correlator = Correlator::new();
        let mut now = Duration::from_secs(10_000);
        messages
            .into_iter()
            .map(|message| {
                now += Duration::from_secs(1);
                match correlator.correlate(&spec("Reason", &message), now) {
                    None => "-".to_owned(),
                    Some(Correlated { combined, known }) => {
                        known.count += 1;
                        format!("{}{}", if combined { "*" } else { "" }, known.count)
                    }
                }
            })
            .collect()
    }

    /// J-2211.
    #[test]
    fn the_same_event_again_counts_up() {
        assert_eq!(story(["a", "a", "b", "a"].map(str::to_owned)), ["1", "2", "1", "3"]);
    }

    /// J-2211.
    #[test]
    fn more_than_ten_differing_messages_collapse_into_one_event() {
        let got = story((0..13).map(|n| format!("message {n}")));
        assert_eq!(got[..10], ["1"; 10].map(str::to_owned));
        assert_eq!(got[10..], ["*1", "*2", "*3"]);
    }

    #[test]
    fn a_known_message_of_a_long_series_still_counts_for_itself() {
        let messages = (0..11).map(|n| format!("message {n}")).chain(["message 0".to_owned()]);
        assert_eq!(story(messages).last().map(String::as_str), Some("2"));
    }

    /// J-2211.
    #[test]
    fn a_burst_of_25_per_object_and_then_one_per_300_s() {
        let got = story(std::iter::repeat_n("a".to_owned(), 25 + 300));
        assert_eq!(got[24], "25");
        assert_eq!(got[25], "-");
        let later: Vec<_> = got[25..].iter().filter(|one| *one != "-").collect();
        assert_eq!(later, ["26"], "one more within the next 300 s");
    }

    /// J-2211.
    #[test]
    fn the_allowance_is_per_source_and_object() {
        let mut correlator = Correlator::new();
        let now = Duration::from_secs(10_000);
        for _ in 0..BURST {
            assert!(correlator.correlate(&spec("Reason", "a"), now).is_some());
        }
        assert!(correlator.correlate(&spec("Other", "a"), now).is_none(), "another reason of the same object");
        let mut other = spec("Reason", "a");
        other.involved.uid = "other".to_owned();
        assert!(correlator.correlate(&other, now).is_some());
        let mut other = spec("Reason", "a");
        other.source = crate::recorder::Source::Kubelet;
        assert!(correlator.correlate(&other, now).is_some());
    }

    /// J-2211.
    #[test]
    fn a_series_ends_after_ten_quiet_minutes() {
        let mut correlator = Correlator::new();
        let mut now = Duration::from_secs(10_000);
        for n in 0..11 {
            let combined =
                correlator.correlate(&spec("Reason", &format!("{n}")), now).is_some_and(|seen| seen.combined);
            assert_eq!(combined, n == 10);
        }
        now += SIMILAR_WINDOW + Duration::from_secs(1);
        assert!(!correlator.correlate(&spec("Reason", "new"), now).is_some_and(|seen| seen.combined));
    }
}
