//! The driver on a real store: stepped by hand, and running.

use std::{
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use jobd_api::registry::Kind;
use serde_json::json;

use super::*;
use crate::{
    store::{Key, Request, Write},
    sys::SystemClock,
    testing::World,
};

/// Wakes for config maps; each run is noted and answers what the test scripted, else idle.
#[derive(Default)]
struct Probe {
    runs: Arc<Mutex<Vec<String>>>,
    script: Arc<Mutex<Vec<Answer>>>,
    active: Vec<String>,
}

enum Answer {
    Next(Next),
    Fail,
    Panic,
}

impl Controller for Probe {
    const NAME: &'static str = "probe";
    const DUE: Option<Kind> = Some(Kind::ConfigMap);
    type Key = String;

    fn wakes(&self, change: &Change) -> Vec<String> {
        if change.key.kind == Kind::ConfigMap { vec![change.key.name.clone()] } else { Vec::new() }
    }

    async fn active(&self) -> Result<Vec<String>, Error> {
        Ok(self.active.clone())
    }

    fn due_key(&self, object: &Key) -> Option<String> {
        Some(format!("due {}", object.name))
    }

    async fn reconcile(&self, key: &String, _now: Now) -> Result<Next, Error> {
        self.runs.lock().unwrap().push(key.clone());
        let answer = self.script.lock().unwrap().pop();
        match answer {
            None => Ok(Next::Idle),
            Some(Answer::Next(next)) => Ok(next),
            Some(Answer::Fail) => Err(Error::Other("scripted".to_owned())),
            Some(Answer::Panic) => panic!("scripted"),
        }
    }
}

async fn config_map(world: &World, name: &str) {
    let body = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}});
    world.create(Kind::ConfigMap, "default", body).await;
}

/// What ran since the last look.
fn runs(runs: &Mutex<Vec<String>>) -> Vec<String> {
    std::mem::take(&mut *runs.lock().unwrap())
}

#[tokio::test]
async fn a_start_looks_at_what_is_active_and_then_at_what_changes() {
    let mut world = World::new().await;
    config_map(&world, "before").await;
    let probe = Probe { active: vec!["active".to_owned()], ..Probe::default() };
    let seen = Arc::clone(&probe.runs);
    world.driver.add(probe);
    world.settle().await;
    assert_eq!(runs(&seen), ["active"]);
    config_map(&world, "a").await;
    config_map(&world, "b").await;
    config_map(&world, "a").await;
    world.settle().await;
    assert_eq!(runs(&seen), ["a", "b"]);
}

#[tokio::test]
async fn an_error_and_a_panic_are_tried_again_after_the_back_off() {
    let mut world = World::new().await;
    let probe = Probe::default();
    let seen = Arc::clone(&probe.runs);
    *probe.script.lock().unwrap() = vec![Answer::Panic, Answer::Fail];
    world.driver.add(probe);
    world.settle().await;
    config_map(&world, "a").await;
    for seconds in [1, 2] {
        let deadline = world.settle().await;
        assert_eq!(runs(&seen), ["a"]);
        let now = world.clock.now().boot;
        assert_eq!(deadline.boot, Some(now + Duration::from_secs(seconds)));
        world.clock.advance(Duration::from_secs(seconds));
    }
    world.settle().await;
    assert_eq!(runs(&seen), ["a"]);
}

#[tokio::test]
async fn comes_back_at_the_time_asked_for_and_when_the_clock_jumps() {
    let mut world = World::new().await;
    let probe = Probe::default();
    let seen = Arc::clone(&probe.runs);
    let at = world.clock.now().boot + Duration::from_secs(30);
    *probe.script.lock().unwrap() = vec![Answer::Next(Next::At(at)), Answer::Next(Next::At(at))];
    world.driver.add(probe);
    world.settle().await;
    config_map(&world, "a").await;
    assert_eq!(world.settle().await.boot, Some(at));
    assert_eq!(runs(&seen), ["a"]);
    world.clock.jump(Duration::from_secs(3600));
    world.driver.clock_jumped();
    assert_eq!(world.settle().await.boot, Some(at), "durations do not jump (I-10)");
    assert_eq!(runs(&seen), ["a"]);
    world.clock.advance(Duration::from_secs(30));
    world.settle().await;
    assert_eq!(runs(&seen), ["a"]);
}

#[tokio::test]
async fn due_objects_wake_at_their_time_and_cost_no_timer_each() {
    let mut world = World::new().await;
    let probe = Probe::default();
    let seen = Arc::clone(&probe.runs);
    world.driver.add(probe);
    world.settle().await;
    let start = world.clock.now().wall;
    for (name, seconds) in [("later", 20), ("sooner", 10)] {
        let at = start + Duration::from_secs(seconds);
        let index = jobd_api::index::Index { uid: name.to_owned(), due_at: Some(at), ..Default::default() };
        let key = Key::new(Kind::ConfigMap, "default", name);
        let put = Write::Put { key, index, body: "{}".to_owned() };
        world.store.write(Request { writes: vec![put], ..Request::default() }).await.unwrap();
    }
    assert_eq!(world.settle().await.wall, Some(start + Duration::from_secs(10)));
    assert_eq!(runs(&seen), ["later", "sooner"], "they changed");
    world.clock.advance(Duration::from_secs(10));
    assert_eq!(world.settle().await.wall, Some(start + Duration::from_secs(20)));
    assert_eq!(runs(&seen), ["due sooner"]);
    world.clock.jump(Duration::from_secs(10));
    world.driver.clock_jumped();
    world.settle().await;
    assert_eq!(runs(&seen), ["due sooner", "due later"], "both are still due after the clock was set");
}

/// I-10, I-11: after a jump of the clock much may be due by the wall clock for which it is too early.
#[tokio::test]
async fn many_that_stay_due_are_each_looked_at_and_then_left_alone() {
    const COUNT: usize = 700;
    let mut world = World::new().await;
    let due_at = Some(world.clock.now().wall);
    let writes = (0..COUNT).map(|number| {
        let key = Key::new(Kind::ConfigMap, "default", format!("m{number:03}"));
        let index = jobd_api::index::Index { uid: key.name.clone(), due_at, ..Default::default() };
        Write::Put { key, index, body: "{}".to_owned() }
    });
    world.store.write(Request { writes: writes.collect(), ..Request::default() }).await.unwrap();
    let probe = Probe::default();
    let seen = Arc::clone(&probe.runs);
    world.driver.add(probe);
    let mut ran = std::collections::BTreeMap::<String, usize>::new();
    for _ in 0..10 {
        world.settle().await;
        for key in runs(&seen) {
            *ran.entry(key).or_default() += 1;
        }
        world.clock.advance(Duration::from_millis(20));
    }
    assert_eq!(ran.keys().filter(|key| key.starts_with("due ")).count(), COUNT);
    assert!(ran.values().all(|times| *times <= 4), "{ran:?}");
    // Only the next resync is.
    let Deadline { boot, wall } = world.settle().await;
    assert!(
        wall.is_none() && boot.is_none_or(|at| at > world.clock.now().boot + RESYNC_EVERY / 2),
        "{boot:?} {wall:?}"
    );
}

#[tokio::test]
async fn idle_means_that_nothing_is_due() {
    let mut world = World::new().await;
    world.driver.add(Probe::default());
    world.settle().await;
    config_map(&world, "a").await;
    let deadline = world.settle().await;
    assert!(deadline.boot.is_some(), "a resync after work");
    world.clock.advance(RESYNC_EVERY);
    assert_eq!(world.settle().await, Deadline::default(), "I-11");
}

#[tokio::test]
async fn active_work_is_looked_at_again_every_ten_minutes() {
    let mut world = World::new().await;
    let probe = Probe { active: vec!["active".to_owned()], ..Probe::default() };
    let seen = Arc::clone(&probe.runs);
    world.driver.add(probe);
    world.settle().await;
    for _ in 0..2 {
        runs(&seen);
        world.clock.advance(RESYNC_EVERY);
        world.settle().await;
        assert_eq!(runs(&seen), ["active"]);
    }
}

#[tokio::test]
async fn a_driver_that_fell_behind_the_history_looks_at_everything_active() {
    let mut world = World::new().await;
    let probe = Probe { active: vec!["active".to_owned()], ..Probe::default() };
    let seen = Arc::clone(&probe.runs);
    world.driver.add(probe);
    world.settle().await;
    runs(&seen);
    for _ in 0..3 {
        config_map(&world, "a").await;
        world.clock.advance(Duration::from_secs(400));
    }
    config_map(&world, "b").await;
    world.settle().await;
    assert_eq!(runs(&seen), ["active"]);
    assert_eq!(world.driver.seen, Some(world.store.latest()), "and goes on from there");
    config_map(&world, "c").await;
    world.settle().await;
    assert_eq!(runs(&seen), ["c"]);
}

#[tokio::test]
async fn runs_what_changes_and_what_falls_due_while_it_runs() {
    let world = World::new().await;
    let mut driver = Driver::new(world.store.clone(), Arc::new(SystemClock));
    let probe = Probe::default();
    let seen = Arc::clone(&probe.runs);
    let start = SystemClock.now();
    *probe.script.lock().unwrap() = vec![Answer::Next(Next::At(start.boot + Duration::from_millis(50)))];
    driver.add(probe);
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let running = tokio::spawn(driver.run(async {
        let _ = stopped.await;
    }));
    config_map(&world, "a").await;
    let index = jobd_api::index::Index {
        uid: "b".to_owned(),
        due_at: Some(start.wall + Duration::from_millis(100)),
        ..Default::default()
    };
    let put = Write::Put { key: Key::new(Kind::ConfigMap, "default", "b"), index, body: "{}".to_owned() };
    // The driver may start after these writes and then does not hear of them: they are only due.
    world.store.write(Request { writes: vec![put], ..Request::default() }).await.unwrap();
    while !seen.lock().unwrap().contains(&"due b".to_owned()) {
        assert!(SystemClock.now().boot < start.boot + Duration::from_secs(20), "{seen:?}");
        config_map(&world, "c").await;
        tokio::task::yield_now().await;
    }
    assert!(SystemClock.now().wall >= start.wall + Duration::from_millis(100));
    assert!(seen.lock().unwrap().contains(&"c".to_owned()));
    stop.send(()).unwrap();
    running.await.unwrap().unwrap();
}

#[tokio::test]
async fn runs_until_shutdown_with_many_keys_in_flight_each_serially() {
    const KEYS: usize = 200;

    /// Notes how many reconciles run at the same time, at all and per key.
    #[derive(Clone, Default)]
    struct Busy(Arc<[AtomicUsize; 4]>);

    impl Controller for Busy {
        const NAME: &'static str = "busy";
        type Key = usize;

        fn wakes(&self, _change: &Change) -> Vec<usize> {
            Vec::new()
        }

        async fn active(&self) -> Result<Vec<usize>, Error> {
            Ok(Vec::new())
        }

        async fn reconcile(&self, key: &usize, _now: Now) -> Result<Next, Error> {
            let [now, most, done, doubled] = &*self.0;
            most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            if *key == KEYS && doubled.fetch_add(1, Ordering::SeqCst) > 0 {
                doubled.fetch_add(1000, Ordering::SeqCst);
            }
            for _ in 0..20 {
                tokio::task::yield_now().await;
            }
            if *key == KEYS {
                doubled.fetch_sub(1, Ordering::SeqCst);
            }
            now.fetch_sub(1, Ordering::SeqCst);
            done.fetch_add(1, Ordering::SeqCst);
            Ok(Next::Idle)
        }
    }

    let world = World::new().await;
    let mut driver = Driver::new(world.store.clone(), Arc::new(SystemClock));
    let busy = Busy::default();
    let waker = driver.add(busy.clone());
    let [_, most, done, doubled] = &*busy.0;
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let running = tokio::spawn(driver.run(async {
        let _ = stopped.await;
    }));
    let deadline = SystemClock.now().boot + Duration::from_secs(20);
    for key in 0..KEYS {
        waker.wake(key);
        waker.wake(KEYS);
    }
    while done.load(Ordering::SeqCst) < KEYS + 1 {
        assert!(SystemClock.now().boot < deadline, "only {done:?} ran");
        waker.wake(KEYS);
        tokio::task::yield_now().await;
    }
    stop.send(()).unwrap();
    running.await.unwrap().unwrap();
    assert!(doubled.load(Ordering::SeqCst) == 0, "a key ran beside itself");
    let most = most.load(Ordering::SeqCst);
    assert!((2..=IN_FLIGHT_MAX).contains(&most), "{most} at once");
}

/// Runs of a controller that do not end; each starts one.
struct Held<const PUNCTUAL: bool>;

impl<const PUNCTUAL: bool> Controller for Held<PUNCTUAL> {
    const NAME: &'static str = "held";
    const PUNCTUAL: bool = PUNCTUAL;
    type Key = usize;

    fn wakes(&self, _change: &Change) -> Vec<usize> {
        Vec::new()
    }

    async fn active(&self) -> Result<Vec<usize>, Error> {
        Ok(Vec::new())
    }

    async fn reconcile(&self, _key: &usize, _now: Now) -> Result<Next, Error> {
        std::future::pending().await
    }
}

#[tokio::test]
async fn what_is_promised_for_a_time_goes_before_the_rest_and_the_rest_goes_on() {
    let world = World::new().await;
    let mut driver = world.driver;
    let others = driver.add(Held::<false>);
    let punctual = driver.add(Held::<true>);
    let mut tasks = JoinSet::new();
    let mut running = |driver: &Driver| {
        driver.spawn_ready(&mut tasks);
        let [others, punctual] = driver.loops.as_slice() else { panic!("two controllers") };
        (punctual.running(), others.running())
    };
    // As many as can run: nothing of it waits, so the others need not.
    (0..IN_FLIGHT_MAX).for_each(|key| punctual.wake(key));
    (0..20).for_each(|key| others.wake(key));
    assert_eq!(running(&driver), (IN_FLIGHT_MAX, 20));
    // More than can run: the others get few places, and these at once.
    punctual.wake(IN_FLIGHT_MAX);
    (20..100).for_each(|key| others.wake(key));
    assert_eq!(running(&driver), (IN_FLIGHT_MAX, 20));

    let world = World::new().await;
    let mut driver = world.driver;
    let others = driver.add(Held::<false>);
    let punctual = driver.add(Held::<true>);
    (0..1000).for_each(|key| {
        punctual.wake(key);
        others.wake(key);
    });
    assert_eq!(running(&driver), (IN_FLIGHT_MAX, IN_FLIGHT_BESIDE));
}
