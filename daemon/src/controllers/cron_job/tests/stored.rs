//! Stories on a real store: what is written together, restarts, and clocks that are set.

use std::{sync::Arc, time::Duration};

use jiff::{Timestamp, tz::TimeZone};
use jobd_api::{object::Object, registry::Kind};
use serde_json::{Value, json};

use crate::{
    controllers::{cron_job::CronJobController, garbage::Garbage},
    driver::Driver,
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
    let found = world.store.cron_job_snapshot(&Key::new(Kind::CronJob, "default", name)).await.unwrap();
    found.unwrap().due_at.map(|due| due.to_string())
}

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
    assert_eq!(reasons(&world).await, ["MissSchedule", "SuccessfulCreate"]);
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

/// C-315: bad labels of the template are found when a job is made.
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

/// C-603, C-805: whose a job is, is said by its owner reference, not by its name or by what a cron job of another name has; C-1203: and what
/// it runs was said when it was made.
#[tokio::test]
async fn each_cron_job_sees_its_own_jobs_only_and_a_new_template_is_for_new_jobs() {
    let mut world = world().await;
    for name in ["x", "y"] {
        world.create(Kind::CronJob, "default", cron_job(name, json!({"concurrencyPolicy": "Forbid"}))).await;
    }
    world.settle().await;
    advance(&mut world, 301).await;
    assert_eq!(world.names(Kind::Job).await, [job_at("x", "12:05"), job_at("y", "12:05")]);
    let uids: Vec<String> =
        [get(&world, "x").await, get(&world, "y").await].iter().map(|one| one.uid().to_owned()).collect();
    assert_ne!(uids[0], uids[1]);
    finish(&world, &job_at("x", "12:05"), "Complete").await;
    edit(&world, "x", |object| object.0["spec"]["jobTemplate"]["spec"]["backoffLimit"] = json!(3)).await;
    world.settle().await;
    let limit = async |world: &World, time: &str| {
        world.get(Kind::Job, "default", &job_at("x", time)).await.get(&["spec", "backoffLimit"]).cloned()
    };
    assert_eq!(limit(&world, "12:05").await, Some(json!(6)));
    advance(&mut world, 300).await;
    // That of `y` still runs, which holds up only its own.
    assert_eq!(world.names(Kind::Job).await, [job_at("x", "12:05"), job_at("x", "12:10"), job_at("y", "12:05")]);
    assert_eq!(limit(&world, "12:10").await, Some(json!(3)));
}
