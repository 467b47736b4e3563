//! Stories on a real store: what is written together, restarts, and clocks that are set.

use std::{sync::Arc, time::Duration};

use jiff::{Timestamp, tz::TimeZone};
use jobd_api::{object::Object, registry::Kind};
use serde_json::{Value, json};

use crate::{
    controllers::{cron_job::CronJobController, garbage::Garbage},
    driver::{Controller as _, Driver},
    recorder::Recorder,
    store::{Key, ListQuery, Options, Request, Store, Write},
    sys::Clock as _,
    testing::{TestClock, World},
};

fn add_controllers(driver: &mut Driver, store: &Store, random: &Arc<crate::sys::SharedRandom>) {
    let recorder = Arc::new(Recorder::with_random("box".to_owned(), Duration::from_secs(3600), random.clone()));
    driver.add(CronJobController::new(store.clone(), recorder, random.clone(), TimeZone::UTC));
    driver.add(Garbage::new(store.clone()));
}

/// It is 12:00:00 on 2026-01-01 in the world.
async fn world() -> World {
    let mut world = World::new().await;
    add_controllers(&mut world.driver, &world.store, &world.random);
    world.create(Kind::Namespace, "", json!({"metadata": {"name": "default"}})).await;
    world.settle().await;
    world
}

fn cron_job(name: &str, spec: Value) -> Value {
    let mut whole = json!({
        "schedule": "*/5 * * * *",
        "jobTemplate": {"spec": {"suspend": true, "template": {"spec": {
            "restartPolicy": "Never", "containers": [{"name": "main", "image": "busybox"}],
        }}}},
    });
    for (field, value) in spec.as_object().unwrap() {
        whole[field] = value.clone();
    }
    json!({"metadata": {"name": name}, "spec": whole})
}

async fn get(world: &World, name: &str) -> Object {
    world.get(Kind::CronJob, "default", name).await
}

async fn edit(world: &World, name: &str, change: impl FnOnce(&mut Object)) {
    let mut object = get(world, name).await;
    object.metadata_mut().remove("resourceVersion");
    change(&mut object);
    world.put(Kind::CronJob, object).await;
}

async fn finish(world: &World, job: &str, condition: &str) {
    let mut object = world.get(Kind::Job, "default", job).await;
    object.metadata_mut().remove("resourceVersion");
    let now = jobd_api::time::render(world.clock.now().wall);
    object.0.insert(
        "status".to_owned(),
        json!({
            "startTime": now, "completionTime": now,
            "conditions": [{"type": condition, "status": "True", "lastTransitionTime": now}],
        }),
    );
    world.put(Kind::Job, object).await;
}

async fn advance(world: &mut World, seconds: u64) {
    world.clock.advance(Duration::from_secs(seconds));
    world.settle().await;
}

/// Reasons of all events, in order of their time, with counts above one.
async fn reasons(world: &World) -> Vec<String> {
    let chunk = world.store.list(&ListQuery::all(Kind::Event, 1000)).await.unwrap();
    let mut events = chunk.items.iter().map(|event| event.object().unwrap()).collect::<Vec<_>>();
    events.sort_by_key(|event| event.text(&["eventTime"]).unwrap().to_owned());
    let render = |event: &Object| match event.get(&["count"]).and_then(Value::as_i64) {
        Some(1) => event.text(&["reason"]).unwrap().to_owned(),
        count => format!("{} x{}", event.text(&["reason"]).unwrap(), count.unwrap()),
    };
    events.iter().map(render).collect()
}

fn minute(time: &str) -> i64 {
    time.parse::<Timestamp>().unwrap().as_second() / 60
}

fn job_at(name: &str, time: &str) -> String {
    format!("{name}-{}", minute(&format!("2026-01-01T{time}:00Z")))
}

/// What a restart of the daemon is to the controllers: nothing of theirs in memory.
fn restart(world: &mut World) {
    world.driver = Driver::new(world.store.clone(), world.clock.clone());
    add_controllers(&mut world.driver, &world.store, &world.random);
}

async fn due_at(world: &World, name: &str) -> Option<String> {
    let keys = [Key::new(Kind::CronJob, "default", name), Key::new(Kind::CronJob, "default", "absent")];
    let found = world.store.cron_job_snapshots(&keys).await.unwrap();
    assert!(found[1].is_none());
    found[0].as_ref().unwrap().due_at.map(|due| due.to_string())
}

/// C-604, C-711, C-901, C-902, C-903, C-904, C-1001, C-1002, C-1003, C-1401, C-504: times are stored in UTC.
#[tokio::test]
async fn a_job_appears_with_its_status_and_event_when_its_minute_comes() {
    let mut world = world().await;
    world.create(Kind::CronJob, "default", cron_job("x", json!({}))).await;
    assert_eq!(world.settle().await.wall.map(|at| at.to_string()).as_deref(), Some("2026-01-01T12:05:00.1Z"));
    advance(&mut world, 300).await;
    assert_eq!(world.names(Kind::Job).await, Vec::<String>::new());
    world.clock.advance(Duration::from_millis(100));
    assert_eq!(world.settle().await.wall.map(|at| at.to_string()).as_deref(), Some("2026-01-01T12:10:00.1Z"));
    let name = job_at("x", "12:05");
    assert_eq!(world.names(Kind::Job).await, std::slice::from_ref(&name));
    let job = world.get(Kind::Job, "default", &name).await;
    assert_eq!(
        job.text(&["metadata", "annotations", "batch.kubernetes.io/cronjob-scheduled-timestamp"]),
        Some("2026-01-01T12:05:00Z")
    );
    // Defaulted as any job (C-902).
    assert_eq!(job.get(&["spec", "backoffLimit"]), Some(&json!(6)));
    let cron_job = get(&world, "x").await;
    assert_eq!(cron_job.text(&["status", "lastScheduleTime"]), Some("2026-01-01T12:05:00Z"));
    assert_eq!(
        cron_job.get(&["status", "active"]),
        Some(
            &json!([{"apiVersion": "batch/v1", "kind": "Job", "namespace": "default", "name": name, "uid": job.uid()}])
        )
    );
    assert_eq!(cron_job.get(&["metadata", "generation"]), Some(&json!(1)));
    // C-1005
    assert_eq!(
        (cron_job.get(&["status", "conditions"]), cron_job.get(&["status", "observedGeneration"])),
        (None, None)
    );
    assert_eq!(reasons(&world).await, ["SuccessfulCreate"]);
}

/// C-1004, C-1101, C-1104, C-1402, C-1413.
#[tokio::test]
async fn c1004_an_ended_job_leaves_the_list_and_old_ones_go() {
    let mut world = world().await;
    world.create(Kind::CronJob, "default", cron_job("x", json!({"successfulJobsHistoryLimit": 2}))).await;
    world.settle().await;
    for time in ["12:05", "12:10", "12:15"] {
        advance(&mut world, 301).await;
        finish(&world, &job_at("x", time), "Complete").await;
        world.settle().await;
    }
    assert_eq!(world.names(Kind::Job).await, [job_at("x", "12:10"), job_at("x", "12:15")]);
    let cron_job = get(&world, "x").await;
    assert_eq!(cron_job.get(&["status", "active"]), None);
    assert_eq!(cron_job.text(&["status", "lastSuccessfulTime"]), Some("2026-01-01T12:15:03Z"));
    let reasons = reasons(&world).await;
    assert_eq!(reasons.iter().filter(|reason| *reason == "SawCompletedJob").count(), 3, "{reasons:?}");
    assert_eq!(reasons.iter().filter(|reason| *reason == "SuccessfulDelete").count(), 1, "{reasons:?}");
}

/// what was missed while the daemon was down is the same however often it is started.
#[tokio::test]
async fn after_a_long_night_the_latest_run_is_made_once_however_often_the_daemon_starts() {
    let mut world = world().await;
    world.create(Kind::CronJob, "default", cron_job("x", json!({}))).await;
    world.create(Kind::CronJob, "default", cron_job("strict", json!({"startingDeadlineSeconds": 60}))).await;
    world.settle().await;
    world.clock.advance(Duration::from_secs(8 * 3600 + 180));
    for _ in 0..3 {
        restart(&mut world);
        world.settle().await;
    }
    assert_eq!(world.names(Kind::Job).await, [job_at("x", "20:00")]);
    // Both tell of what they have not run; in the same instant, so in any order.
    let mut reasons = reasons(&world).await;
    reasons.sort();
    assert_eq!(reasons, ["MissSchedule", "MissSchedule", "SuccessfulCreate"]);
    assert_eq!(due_at(&world, "strict").await.as_deref(), Some("2026-01-01T20:05:00.1Z"));
}

/// The same from a store that was closed and opened again.
#[tokio::test]
async fn timers_survive_in_the_file() {
    let dir = tempfile::tempdir().unwrap();
    let clock = TestClock::new();
    let random = Arc::new(crate::sys::SharedRandom::seeded(7));
    let options =
        || Options { path: dir.path().join("jobd.db"), clock: clock.clone(), history: Duration::from_secs(300) };
    let store = Store::open(options()).await.unwrap();
    let mut driver = Driver::new(store.clone(), clock.clone());
    add_controllers(&mut driver, &store, &random);
    let put = |kind: Kind, body: Value| {
        let namespace = if kind == Kind::Namespace { "" } else { "default" };
        let context = &mut jobd_api::write::Context { now: clock.now().wall, random: &mut &*random };
        let body = Object(body.as_object().cloned().unwrap());
        let made = jobd_api::write::create(kind.resource(), namespace, body, context).unwrap();
        Write::Put { key: Key::of(kind, &made.object), index: made.index, body: made.object.to_stored() }
    };
    let writes = vec![
        put(Kind::Namespace, json!({"metadata": {"name": "default"}})),
        put(Kind::CronJob, cron_job("x", json!({}))),
    ];
    store.write(Request { writes, ..Request::default() }).await.unwrap();
    driver.settle(100).await.unwrap();
    drop(driver);
    store.close().await;
    clock.advance(Duration::from_secs(301));
    let store = Store::open(options()).await.unwrap();
    let (due, _) = store.due(Kind::CronJob, clock.now().wall, 10).await.unwrap();
    assert_eq!(due.len(), 1);
    let mut driver = Driver::new(store.clone(), clock.clone());
    add_controllers(&mut driver, &store, &random);
    driver.settle(100).await.unwrap();
    let jobs = store.list(&ListQuery::all(Kind::Job, 10)).await.unwrap();
    assert_eq!(jobs.items.len(), 1);
    store.close().await;
}

/// C-601, C-1201, C-1202, C-1204
#[tokio::test]
async fn an_edited_schedule_starts_nothing_at_once_and_a_resumed_one_does() {
    let mut world = world().await;
    world.create(Kind::CronJob, "default", cron_job("x", json!({"schedule": "0 0 * * *"}))).await;
    world.settle().await;
    world.clock.advance(Duration::from_secs(3 * 3600 + 120));
    edit(&world, "x", |object| object.0["spec"]["schedule"] = json!("*/10 * * * *")).await;
    assert_eq!(world.settle().await.wall.map(|at| at.to_string()).as_deref(), Some("2026-01-01T15:10:00.1Z"));
    assert_eq!(world.names(Kind::Job).await, Vec::<String>::new());
    // C-1706: nor does another change before its next time.
    edit(&world, "x", |object| object.0["spec"]["successfulJobsHistoryLimit"] = json!(9)).await;
    world.settle().await;
    assert_eq!(world.names(Kind::Job).await, Vec::<String>::new());
    edit(&world, "x", |object| object.0["spec"]["suspend"] = json!(true)).await;
    world.settle().await;
    assert_eq!(due_at(&world, "x").await, None);
    advance(&mut world, 3600).await;
    assert_eq!(world.names(Kind::Job).await, Vec::<String>::new());
    edit(&world, "x", |object| object.0["spec"]["suspend"] = json!(false)).await;
    world.settle().await;
    assert_eq!(world.names(Kind::Job).await, [job_at("x", "16:00")]);
}

/// F-7, R-5, R-7: a daemon that stood still for longer than the history lasts makes up for what it did not hear of.
#[tokio::test]
async fn changes_that_left_the_history_unheard_are_made_up_for() {
    let mut world = world().await;
    for name in ["goes", "stays"] {
        world.create(Kind::CronJob, "default", cron_job(name, json!({}))).await;
    }
    world.settle().await;
    advance(&mut world, 301).await;
    assert_eq!(world.names(Kind::Job).await, [job_at("goes", "12:05"), job_at("stays", "12:05")]);
    world.delete(Kind::CronJob, "default", "goes", json!({})).await;
    world.create(Kind::CronJob, "default", cron_job("new", json!({}))).await;
    world.clock.advance(Duration::from_secs(900));
    world.settle().await;
    let all = [job_at("new", "12:20"), job_at("stays", "12:05"), job_at("stays", "12:20")];
    assert_eq!(world.names(Kind::Job).await, all);
}

/// C-1706, R-7, F-7, F-16: an edit counts from when it was stored, and not from the first look at it.
#[tokio::test]
async fn a_time_between_an_edit_and_the_first_look_at_it_is_missed_and_runs() {
    for is_set in [false, true] {
        let mut world = world().await;
        world.create(Kind::CronJob, "default", cron_job("x", json!({"schedule": "0 0 * * *"}))).await;
        world.settle().await;
        world.clock.advance(Duration::from_secs(3600 + 540));
        edit(&world, "x", |object| object.0["spec"]["schedule"] = json!("*/10 * * * *")).await;
        if is_set {
            world.clock.jump(Duration::from_secs(90));
            world.driver.clock_jumped();
        } else {
            world.clock.advance(Duration::from_secs(90));
        }
        world.settle().await;
        assert_eq!(world.names(Kind::Job).await, [job_at("x", "13:10")], "the clock was set: {is_set}");
    }
}

/// I-10: a clock that is set back makes nobody wait until the time of the edit has come again.
#[tokio::test]
async fn an_edit_in_the_future_holds_nothing_back() {
    for looks_between in [false, true] {
        let mut world = world().await;
        world.create(Kind::CronJob, "default", cron_job("x", json!({"schedule": "0 0 * * *"}))).await;
        world.settle().await;
        world.clock.advance(Duration::from_secs(3 * 3600));
        edit(&world, "x", |object| object.0["spec"]["schedule"] = json!("*/10 * * * *")).await;
        if looks_between {
            world.settle().await;
        }
        world.clock.jump_back(Duration::from_secs(3600));
        world.driver.clock_jumped();
        world.settle().await;
        assert_eq!(world.names(Kind::Job).await, Vec::<String>::new(), "C-1706");
        advance(&mut world, 601).await;
        assert_eq!(world.names(Kind::Job).await, [job_at("x", "14:10")], "looked at in between: {looks_between}");
    }
}

/// C-803, C-1410.
#[tokio::test]
async fn c803_a_forbidden_run_starts_when_the_running_job_ends() {
    let mut world = world().await;
    world.create(Kind::CronJob, "default", cron_job("x", json!({"concurrencyPolicy": "Forbid"}))).await;
    world.settle().await;
    advance(&mut world, 301).await;
    advance(&mut world, 300).await;
    advance(&mut world, 120).await;
    assert_eq!(world.names(Kind::Job).await, [job_at("x", "12:05")]);
    finish(&world, &job_at("x", "12:05"), "Failed").await;
    world.settle().await;
    assert_eq!(world.names(Kind::Job).await, [job_at("x", "12:05"), job_at("x", "12:10")]);
    assert_eq!(reasons(&world).await, ["SuccessfulCreate", "JobAlreadyActive", "SawCompletedJob", "SuccessfulCreate"]);
}

/// C-804, C-1413.
#[tokio::test]
async fn c804_replace_changes_jobs_in_one_transaction() {
    let mut world = world().await;
    world.create(Kind::CronJob, "default", cron_job("x", json!({"concurrencyPolicy": "Replace"}))).await;
    world.settle().await;
    advance(&mut world, 301).await;
    advance(&mut world, 300).await;
    assert_eq!(world.names(Kind::Job).await, [job_at("x", "12:10")]);
    let cron_job = get(&world, "x").await;
    assert_eq!(cron_job.get(&["status", "active"]).and_then(Value::as_array).map(Vec::len), Some(1));
    assert_eq!(reasons(&world).await, ["SuccessfulCreate", "SuccessfulDelete", "SuccessfulCreate"]);
}

/// C-905, C-1702.
#[tokio::test]
async fn c905_a_name_that_somebody_elses_job_has_costs_that_run_only() {
    let mut world = world().await;
    world.create(Kind::CronJob, "default", cron_job("x", json!({}))).await;
    world.create(Kind::Job, "default", crate::testing::job(&job_at("x", "12:05"), None)).await;
    world.settle().await;
    advance(&mut world, 301).await;
    assert_eq!(get(&world, "x").await.get(&["status"]), Some(&json!({})));
    assert_eq!(due_at(&world, "x").await.as_deref(), Some("2026-01-01T12:10:00.1Z"));
    advance(&mut world, 300).await;
    assert_eq!(world.names(Kind::Job).await.len(), 2);
}

/// C-315, C-602, C-1408: bad labels of the template are found when a job is made.
#[tokio::test]
async fn a_refused_job_is_told_of_and_tried_again_until_it_is_corrected() {
    let mut world = world().await;
    let mut body = cron_job("x", json!({}));
    body["spec"]["jobTemplate"]["metadata"] = json!({"labels": {"a": "no label value"}});
    world.create(Kind::CronJob, "default", body).await;
    world.settle().await;
    advance(&mut world, 301).await;
    assert_eq!(world.names(Kind::Job).await, Vec::<String>::new());
    let reasons = reasons(&world).await;
    assert!(reasons.iter().all(|reason| reason.starts_with("FailedCreate")), "{reasons:?}");
    edit(&world, "x", |object| object.0["spec"]["jobTemplate"]["metadata"] = json!({})).await;
    world.settle().await;
    assert_eq!(world.names(Kind::Job).await, [job_at("x", "12:05")]);
}

/// C-906
#[tokio::test]
async fn c906_nothing_is_made_in_a_namespace_that_goes() {
    let mut world = world().await;
    world.create(Kind::CronJob, "default", cron_job("x", json!({}))).await;
    world.settle().await;
    let mut namespace = world.get(Kind::Namespace, "", "default").await;
    namespace.metadata_mut().insert("deletionTimestamp".to_owned(), json!("2026-01-01T12:00:00Z"));
    world.put(Kind::Namespace, namespace).await;
    advance(&mut world, 301).await;
    assert_eq!(world.names(Kind::Job).await, Vec::<String>::new());
    assert_eq!(reasons(&world).await, Vec::<String>::new());
}

/// C-1301
#[tokio::test]
async fn c1301_deleting_it_takes_its_jobs() {
    let mut world = world().await;
    world.create(Kind::CronJob, "default", cron_job("x", json!({}))).await;
    world.settle().await;
    advance(&mut world, 301).await;
    assert_eq!(world.names(Kind::Job).await.len(), 1);
    world.delete(Kind::CronJob, "default", "x", json!({})).await;
    world.settle().await;
    assert_eq!((world.names(Kind::CronJob).await, world.names(Kind::Job).await), (Vec::new(), Vec::new()));
}

/// F-16: no storm, and nothing waits for a time that the clock no longer knows.
#[tokio::test]
async fn a_clock_that_is_set_makes_one_run_forward_and_none_twice_backward() {
    let mut world = world().await;
    world.create(Kind::CronJob, "default", cron_job("x", json!({}))).await;
    world.settle().await;
    world.clock.jump(Duration::from_secs(6 * 3600 + 60));
    world.driver.clock_jumped();
    world.settle().await;
    assert_eq!(world.names(Kind::Job).await, [job_at("x", "18:00")]);
    assert_eq!(due_at(&world, "x").await.as_deref(), Some("2026-01-01T18:05:00.1Z"));
    // A forbidden run had moved the timer; back in time it is moved back.
    world
        .create(
            Kind::CronJob,
            "default",
            cron_job("y", json!({"schedule": "0 * * * *", "concurrencyPolicy": "Forbid"})),
        )
        .await;
    world.settle().await;
    assert_eq!(due_at(&world, "y").await.as_deref(), Some("2026-01-01T19:00:00.1Z"));
    world.clock.jump_back(Duration::from_secs(7200));
    world.driver.clock_jumped();
    world.settle().await;
    assert_eq!(world.names(Kind::Job).await, [job_at("x", "18:00")]);
    // Counted from what was made at the wrong time.
    assert_eq!(due_at(&world, "x").await.as_deref(), Some("2026-01-01T18:05:00.1Z"));
}

/// I-11
#[tokio::test]
async fn a_look_that_finds_nothing_writes_nothing() {
    let mut world = world().await;
    for number in 0..20 {
        world.create(Kind::CronJob, "default", cron_job(&format!("x{number}"), json!({}))).await;
    }
    world.settle().await;
    let before = world.store.latest();
    for _ in 0..2 {
        restart(&mut world);
        let deadline = world.settle().await;
        assert_eq!(deadline.wall.map(|at| at.to_string()).as_deref(), Some("2026-01-01T12:05:00.1Z"));
    }
    // The next resync finds nothing that is active, and is the last.
    world.clock.advance(Duration::from_secs(240));
    world.settle().await;
    assert_eq!(world.store.latest(), before);
}

/// C-603, C-805, C-1703: what belongs to another cron job, be it one of the same name before it, is nothing to this one.
#[tokio::test]
async fn c805_only_its_own_jobs_matter() {
    // Without the garbage collector, which would take the first job.
    let mut world = World::new().await;
    let recorder = Recorder::with_random("box".to_owned(), Duration::from_secs(3600), world.random.clone());
    let (store, random) = (world.store.clone(), world.random.clone());
    world.driver.add(CronJobController::new(store, Arc::new(recorder), random, TimeZone::UTC));
    world.create(Kind::Namespace, "", json!({"metadata": {"name": "default"}})).await;
    let mut old = crate::testing::job("old", None);
    old["metadata"]["ownerReferences"] =
        json!([{"apiVersion": "batch/v1", "kind": "CronJob", "name": "x", "uid": "another", "controller": true}]);
    world.create(Kind::Job, "default", old).await;
    for name in ["x", "y"] {
        let spec = json!({"concurrencyPolicy": "Forbid", "successfulJobsHistoryLimit": 0});
        world.create(Kind::CronJob, "default", cron_job(name, spec)).await;
    }
    world.settle().await;
    advance(&mut world, 301).await;
    let all = ["old".to_owned(), job_at("x", "12:05"), job_at("y", "12:05")];
    assert_eq!(world.names(Kind::Job).await, all, "neither waited for another's job");
    finish(&world, "old", "Complete").await;
    world.settle().await;
    assert_eq!(world.names(Kind::Job).await, all, "it is in nobody's history");
    assert_eq!(reasons(&world).await, ["SuccessfulCreate", "SuccessfulCreate"]);
}

/// C-1105: what its jobs' own time to live says holds beside the history's limits, whichever comes first.
#[tokio::test]
async fn c1105_a_time_to_live_and_the_history_both_hold() {
    let mut world = world().await;
    world.driver.add(crate::controllers::ttl::Ttl::new(world.store.clone(), world.clock.clone()));
    let with_ttl = |name: &str, ttl: i64, limit: i64| {
        let mut body = cron_job(name, json!({"successfulJobsHistoryLimit": limit}));
        body["spec"]["jobTemplate"]["spec"]["ttlSecondsAfterFinished"] = json!(ttl);
        body
    };
    world.create(Kind::CronJob, "default", with_ttl("short", 10, 3)).await;
    world.create(Kind::CronJob, "default", with_ttl("long", 100_000, 0)).await;
    world.settle().await;
    advance(&mut world, 301).await;
    for name in ["short", "long"] {
        finish(&world, &job_at(name, "12:05"), "Complete").await;
    }
    world.settle().await;
    assert_eq!(world.names(Kind::Job).await, [job_at("short", "12:05")], "the limit came first");
    advance(&mut world, 11).await;
    assert_eq!(world.names(Kind::Job).await, Vec::<String>::new(), "the time to live came first");
}

/// C-1203: what runs already stays as it was made.
#[tokio::test]
async fn c1203_an_edited_template_is_for_jobs_to_come() {
    let mut world = world().await;
    world.create(Kind::CronJob, "default", cron_job("x", json!({}))).await;
    world.settle().await;
    advance(&mut world, 301).await;
    edit(&world, "x", |object| object.0["spec"]["jobTemplate"]["spec"]["backoffLimit"] = json!(1)).await;
    world.settle().await;
    advance(&mut world, 300).await;
    let limits = [job_at("x", "12:05"), job_at("x", "12:10")]
        .map(async |name: String| world.get(Kind::Job, "default", &name).await.get(&["spec", "backoffLimit"]).cloned());
    let [before, after] = limits;
    assert_eq!((before.await, after.await), (Some(json!(6)), Some(json!(1))));
}

/// C-1005: the status has these three fields and no others, whatever happened.
#[tokio::test]
async fn c1005_the_status_has_no_conditions_and_no_generation() {
    let mut world = world().await;
    world.create(Kind::CronJob, "default", cron_job("x", json!({"concurrencyPolicy": "Forbid"}))).await;
    world.settle().await;
    advance(&mut world, 301).await;
    finish(&world, &job_at("x", "12:05"), "Complete").await;
    world.settle().await;
    advance(&mut world, 300).await;
    let cron_job = get(&world, "x").await;
    let fields: Vec<_> = cron_job.get(&["status"]).unwrap().as_object().unwrap().keys().cloned().collect();
    assert_eq!(fields, ["active", "lastScheduleTime", "lastSuccessfulTime"]);
}

/// C-503: a zone that is not known any more (a file from a newer program, restored here) stops the runs until the object changes.
#[tokio::test]
async fn c503_a_zone_that_cannot_be_found_stops_the_runs() {
    let mut world = world().await;
    world.create(Kind::CronJob, "default", cron_job("x", json!({}))).await;
    edit(&world, "x", |object| object.0["spec"]["timeZone"] = json!("Mars/Base")).await;
    world.settle().await;
    advance(&mut world, 3600).await;
    assert_eq!(due_at(&world, "x").await, None);
    assert_eq!(reasons(&world).await, ["UnknownTimeZone"]);
    edit(&world, "x", |object| object.0["spec"]["timeZone"] = json!("Europe/Berlin")).await;
    world.settle().await;
    advance(&mut world, 301).await;
    assert_eq!(world.names(Kind::Job).await, [job_at("x", "13:05")]);
}

/// A thousand of them come due together, so each costs one look: what it wrote itself is no reason for another.
#[tokio::test]
async fn a_look_knows_what_it_wrote_itself() {
    let mut world = world().await;
    world.create(Kind::CronJob, "default", cron_job("x", json!({}))).await;
    world.settle().await;
    world.clock.advance(Duration::from_secs(301));
    let recorder = Recorder::with_random("box".to_owned(), Duration::from_secs(3600), world.random.clone());
    let (store, random) = (world.store.clone(), world.random.clone());
    let controller = CronJobController::new(store, Arc::new(recorder), random, TimeZone::UTC);
    let key = Key::new(Kind::CronJob, "default", "x");
    for own in [2, 0] {
        controller.reconcile(&key, world.clock.now()).await.unwrap();
        assert_eq!(controller.take_own(&key).len(), own, "the job and the status, and then nothing");
    }
    assert_eq!(world.names(Kind::Job).await, [job_at("x", "12:05")]);
    world.settle().await;
}
