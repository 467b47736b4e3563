//! What of the past can be read, judged by a scripted clock; and that compaction leaves the rest whole.

use super::*;
use crate::store::history::Sample;

const SECOND: Duration = Duration::from_secs(1);

#[track_caller]
fn check_too_old<T: std::fmt::Debug>(answer: Result<T, Error>, want_oldest: i64) {
    match answer {
        Err(Error::TooOld { oldest, .. }) => assert_eq!(oldest.0, want_oldest),
        other => panic!("{other:?}"),
    }
}

async fn versions(place: &Place) -> i64 {
    use sqlx::{ConnectOptions as _, Connection as _};
    let mut connection = schema::reader_settings(&place.path()).connect().await.unwrap();
    let count = sqlx::query_scalar("SELECT count(*) FROM versions").fetch_one(&mut connection).await.unwrap();
    // Not left to drop: whoever closes last copies the log, and a reader cannot.
    connection.close().await.unwrap();
    count
}

#[tokio::test]
async fn a_past_state_can_be_read_for_the_window_and_not_longer() {
    let (place, store) = open().await;
    let a = config_map("a");
    for text in ["1", "2", "3"] {
        commit(&store, vec![put(&a, text)]).await;
        place.clock.advance(100 * SECOND);
    }
    // Made at 0, 100 and 200; it is 300 now. State 1 was current until 100.
    assert_eq!(list_at(&store, Some(1)).await.unwrap(), "a@1 1");
    place.clock.advance(99 * SECOND);
    assert_eq!(list_at(&store, Some(1)).await.unwrap(), "a@1 1");
    assert_eq!(changes_after(&store, 1).await.unwrap(), "2 Modified a 2 (was 1)\n3 Modified a 3 (was 2)");
    place.clock.advance(SECOND);
    check_too_old(list_at(&store, Some(1)).await, 2);
    check_too_old(changes_after(&store, 1).await, 2);
    assert_eq!(list_at(&store, Some(2)).await.unwrap(), "a@2 2");
    // Nothing was physically removed: the clock judges.
    assert_eq!(versions(&place).await, 3);
    place.clock.advance(3600 * SECOND);
    check_too_old(list_at(&store, Some(2)).await, 3);
    assert_eq!(list_at(&store, Some(3)).await.unwrap(), "a@3 3");
    assert_eq!(changes_after(&store, 3).await.unwrap(), "");
}

#[tokio::test]
async fn a_jump_of_the_wall_clock_changes_nothing_while_running() {
    // I-10
    let (place, store) = open().await;
    let a = config_map("a");
    commit(&store, vec![put(&a, "1")]).await;
    place.clock.set_wall("2030-01-01T00:00:00Z".parse().unwrap());
    commit(&store, vec![put(&a, "2")]).await;
    assert_eq!(list_at(&store, Some(1)).await.unwrap(), "a@1 1");
    place.clock.set_wall("2001-01-01T00:00:00Z".parse().unwrap());
    place.clock.advance(301 * SECOND);
    check_too_old(list_at(&store, Some(1)).await, 2);
}

#[tokio::test]
async fn the_window_goes_on_across_a_restart() {
    let (place, store) = open().await;
    let a = config_map("a");
    for text in ["1", "2"] {
        commit(&store, vec![put(&a, text)]).await;
        place.clock.advance(100 * SECOND);
    }
    // Within the same second, so without a row of its own.
    commit(&store, vec![put(&a, "3")]).await;
    commit(&store, vec![put(&a, "4")]).await;
    store.close().await;
    place.clock.advance(100 * SECOND);
    let store = place.open().await;
    assert_eq!(list_at(&store, Some(1)).await.unwrap(), "a@1 1");
    assert_eq!(list_at(&store, Some(3)).await.unwrap(), "a@3 3");
    place.clock.advance(110 * SECOND);
    check_too_old(list_at(&store, Some(1)).await, 2);
    assert_eq!(list_at(&store, Some(3)).await.unwrap(), "a@3 3");
    place.clock.advance(100 * SECOND);
    check_too_old(list_at(&store, Some(3)).await, 4);
    store.close().await;
    // Long down: nothing but the present is left.
    place.clock.advance(10_000 * SECOND);
    let store = place.open().await;
    check_too_old(changes_after(&store, 3).await, 4);
    assert_eq!(changes_after(&store, 4).await.unwrap(), "");
}

#[tokio::test]
async fn w_124_a_clock_set_forward_before_a_restart_does_not_cut_the_history_short() {
    // Found by the simulation (seeds 231 and 30390): what was written just before the restart was already too old after it (I-10).
    for jump in [SECOND * 283, SECOND * 3600 * 24 * 365] {
        let (place, store) = open().await;
        let a = config_map("a");
        commit(&store, vec![put(&a, "1")]).await;
        place.clock.set_wall(noon() + jump);
        // Within a step of the first, so without a row of its own.
        commit(&store, vec![put(&a, "2")]).await;
        commit(&store, vec![put(&a, "3")]).await;
        store.close().await;
        place.clock.advance(50 * SECOND);
        let store = place.open().await;
        let want = "2 Modified a 2 (was 1)\n3 Modified a 3 (was 2)";
        assert_eq!(changes_after(&store, 1).await.unwrap(), want, "set forward by {jump:?}");
        place.clock.advance(251 * SECOND);
        check_too_old(changes_after(&store, 1).await, 3);
    }
}

#[tokio::test]
async fn a_clock_set_back_before_a_restart_does_not_make_the_history_longer() {
    // I-10
    let (place, store) = open().await;
    let a = config_map("a");
    for (text, wall) in [("1", "2026-06-01T12:00:00Z"), ("2", "2026-06-01T03:00:00Z"), ("3", "2026-06-01T03:01:00Z")] {
        place.clock.set_wall(wall.parse().unwrap());
        commit(&store, vec![put(&a, text)]).await;
        place.clock.advance(100 * SECOND);
    }
    store.close().await;
    let store = place.open().await;
    // Made 300, 200 and 100 seconds ago.
    assert_eq!(list_at(&store, Some(1)).await.unwrap(), "a@1 1");
    place.clock.advance(101 * SECOND);
    check_too_old(list_at(&store, Some(1)).await, 2);
    assert_eq!(list_at(&store, Some(2)).await.unwrap(), "a@2 2");
}

#[tokio::test]
async fn changes_are_the_same_from_memory_and_from_the_history() {
    let (place, store) = open().await;
    let (a, b) = (config_map("a"), Key::new(Kind::Secret, "default", "b"));
    let labels = vec![("app".to_owned(), "x".to_owned())];
    let indexed = Index {
        labels,
        owner_uids: vec!["o".to_owned()],
        controller_uid: Some("o".to_owned()),
        node: Some("n".to_owned()),
        due_at: Some(noon()),
        tracking: true,
        ..index(&a)
    };
    commit(&store, vec![put_indexed(&a, "1", indexed), put(&b, "1")]).await;
    commit(&store, vec![put(&b, "2"), delete(&a), put(&a, "2"), delete(&b)]).await;
    // But for the time, which only memory knows.
    let render = |changes: &[Arc<Change>]| {
        let one = |change: &Arc<Change>| {
            let Change { revision, change_type, key, body, previous, index, at: _ } = &**change;
            format!("{revision:?} {change_type:?} {key:?} {body} {previous:?} {index:?}")
        };
        changes.iter().map(one).collect::<Vec<_>>()
    };
    let mut from_memory = Vec::new();
    let questions: Vec<(Option<Kind>, i64, usize)> = [None, Some(Kind::ConfigMap), Some(Kind::Secret), Some(Kind::Job)]
        .into_iter()
        .flat_map(|kind| (0..7).flat_map(move |after| [1, 2, 10].map(|max| (kind, after, max))))
        .collect();
    for (kind, after, max) in &questions {
        let (changes, complete) = store.changes(*kind, Revision(*after), *max).await.unwrap();
        from_memory.push((render(&changes), changes.len() < *max, complete));
    }
    store.close().await;
    let store = place.open().await;
    for ((kind, after, max), (want, all, complete)) in questions.iter().zip(&from_memory) {
        let (changes, have) = store.changes(*kind, Revision(*after), *max).await.unwrap();
        assert_eq!(&render(&changes), want, "{kind:?} {after} {max}");
        // A full answer may claim less from the database, never more than is true.
        assert!(
            if *all { have == *complete } else { have <= *complete },
            "{kind:?} {after} {max}: {have:?} {complete:?}"
        );
    }
    // The future: nothing yet, and not too old (W-125).
    assert_eq!(store.changes(None, Revision(99), 5).await.unwrap().1, Revision(99));
}

#[tokio::test]
async fn a_follower_sees_every_change_once_in_order_while_writers_run() {
    // R-6, with a ring that is far smaller than what is written.
    let (_place, store) = open().await;
    let padding = "x".repeat(40_000);
    let writers: Vec<_> = (0..4)
        .map(|writer| {
            let (store, padding) = (store.clone(), padding.clone());
            tokio::spawn(async move {
                for number in 0..60 {
                    let key = config_map(&format!("w{writer}-{}", number % 7));
                    commit(&store, vec![put(&key, &padding)]).await;
                }
            })
        })
        .collect();
    let mut latest = store.subscribe();
    let (mut seen, mut at) = (Vec::new(), Revision(0));
    while seen.len() < 240 {
        if at == *latest.borrow_and_update() {
            latest.changed().await.unwrap();
        }
        let (changes, complete) = store.changes(None, at, 3).await.unwrap();
        seen.extend(changes.iter().map(|change| change.revision.0));
        at = complete;
    }
    for writer in writers {
        writer.await.unwrap();
    }
    assert_eq!(seen, (1..=240).collect::<Vec<i64>>());
}

#[tokio::test]
async fn compaction_rides_on_writes_and_keeps_what_the_window_needs() {
    let (place, store) = open().await;
    let keys: Vec<Key> = (0..100).map(|number| config_map(&format!("n{number:02}"))).collect();
    for text in ["1", "2"] {
        commit(&store, keys.iter().map(|key| put(key, text)).collect()).await;
        place.clock.advance(200 * SECOND);
    }
    commit(&store, keys[..50].iter().map(delete).collect()).await;
    assert_eq!(versions(&place).await, 250);
    // Now revisions up to 200 are out of the window: all first texts may go, as soon as writes carry them away.
    place.clock.advance(150 * SECOND);
    commit(&store, vec![put(&keys[99], "3")]).await;
    assert_eq!(versions(&place).await, 251 - 66, "a step is bounded by what its write brought");
    for number in 0..10 {
        commit(&store, vec![put(&keys[99], &number.to_string())]).await;
    }
    let written = 251 + 10;
    assert_eq!(versions(&place).await, written - 66, "what is left is not worth a step yet");
    // The state after the second round is whole.
    assert_eq!(list_at(&store, Some(200)).await.unwrap().split(", ").count(), 100);
    check_too_old(list_at(&store, Some(199)).await, 200);
    // The rest of the texts, and the deleted with their tombstones, go later.
    place.clock.advance(1000 * SECOND);
    for number in 0..20 {
        commit(&store, vec![put(&keys[99], &number.to_string())]).await;
    }
    // One more step: 34 replaced texts, and 32 deletes with the states that they ended.
    assert_eq!(versions(&place).await, written + 20 - 66 - 34 - 2 * 32);
    assert_eq!(list_at(&store, None).await.unwrap().split(", ").count(), 50);
    let floor = store.inner.shared.history.compacted();
    store.close().await;
    let store = place.open().await;
    assert_eq!(store.inner.shared.history.compacted(), floor);
    assert_eq!(store.latest(), Revision(written + 20));
}

#[tokio::test]
async fn an_idle_store_removes_what_left_the_window_and_gives_space_back() {
    let (place, store) = open().await;
    let text = "x".repeat(20_000);
    let keys: Vec<Key> = (0..500).map(|number| config_map(&format!("n{number:03}"))).collect();
    commit(&store, keys.iter().map(|key| put(key, &text)).collect()).await;
    commit(&store, keys[1..].iter().map(delete).collect()).await;
    store.close().await;
    let size = || std::fs::metadata(place.path()).unwrap().len();
    assert!(size() > 10_000_000);
    place.clock.advance(WINDOW);
    let (store, mut writer, inbox) = Store::prepare(place.options()).await.unwrap();
    assert!(writer.has_history_to_compact());
    writer.compact_idle(&inbox).await;
    assert!(!writer.has_history_to_compact(), "nothing is left to wake up for");
    assert_eq!(versions(&place).await, 1);
    tokio::spawn(writer.run(inbox));
    store.close().await;
    assert!(size() < 5_000_000, "{}", size());
}

#[test]
fn a_timeline_is_exact_at_its_end_and_bounded_in_size() {
    let mut timeline = Timeline::new([], 0, WINDOW);
    let at = |millis: i64| millis * 1_000_000;
    for number in 0..100_000_i64 {
        timeline.push(Sample { at: at(number * 10), revision: number + 1, superseded: 0 });
    }
    // The newest at 0 ms was 1, at 999,990 ms it is 100,000.
    let floor = timeline.floor(at(999_990));
    assert!((69_900..=70_000).contains(&floor), "{floor}");
    assert_eq!(timeline.floor(at(999_990) + 300_000_000_000), 100_000);
    assert!(timeline.len() <= 602, "{}", timeline.len());
}

#[test]
fn too_many_superseded_bytes_shorten_the_window_but_not_below_its_minimum() {
    let gibibyte = 1_i64 << 30;
    let second = 1_000_000_000;
    // A gibibyte each 50 s.
    let samples = (0..=6).map(|n| Sample { at: n * 50 * second, revision: n, superseded: n * gibibyte });
    let timeline = Timeline::new(samples, 0, WINDOW);
    // At 300 s: the clock alone would keep everything; bytes allow revision 5, the minimum of 75 s only 4.
    assert_eq!(timeline.floor(300 * second), 4);
    assert_eq!(timeline.floor(325 * second), 5);
    let few = (0..=6).map(|n| Sample { at: n * 50 * second, revision: n, superseded: n });
    assert_eq!(Timeline::new(few, 0, WINDOW).floor(300 * second), 0);
}
