//! One look each: tables S-5 to S-7 and the rules around them.

use std::collections::BTreeMap;

use expect_test::expect;
use jobd_api::cron::find_zone;
use k8s_openapi::{api::batch::v1::JobSpec, apimachinery::pkg::apis::meta::v1::ObjectMeta};

use super::{check, jobs, parse, plan_for, time};
use crate::controllers::cron_job::history;

/// C-604, C-901, C-904, C-1002, C-1003, C-1401.
#[test]
fn c604_a_due_run_becomes_a_job() {
    check(
        "last=10:00",
        expect![[r#"
            create x-28576020
            status active=x-28576020 last=11:00
            SuccessfulCreate: Created job x-28576020
            waits for its schedule
            next 12:00:00.1Z"#]],
    );
}

/// C-1205
#[test]
fn c1205_a_new_one_waits_for_its_first_time() {
    check(
        "created=11:00; now=11:00:00.1",
        expect![[r#"
            waits for its schedule
            next 12:00:00.1Z"#]],
    );
}

/// C-905, C-1409, C-1702, C-1705.
#[test]
fn c905_a_job_that_is_there_already() {
    // Its own: listed as if it had just been made.
    check(
        "last=10:00; x-28576020 running",
        expect![[r#"
            status active=x-28576020 last=11:00
            ! UnexpectedJob: Saw a job that the controller did not create or forgot: x-28576020
            waits for its schedule
            next 12:00:00.1Z"#]],
    );
    // C-1702: somebody else's.
    check(
        "last=10:00 taken=x-28576020",
        expect![[r#"
            waits for its schedule
            next 12:00:00.1Z"#]],
    );
    // C-1705: listed for an earlier time of the same minute.
    check(
        "schedule=@every_30s last=11:00 active=x-28576020; x-28576020 running; now=11:00:30.1",
        expect![[r#"
            waits for its schedule
            next 11:01:00.1Z"#]],
    );
}

/// C-906, C-1408, C-1403.
#[test]
fn c906_a_refused_job_is_told_of_and_tried_again() {
    check(
        "last=10:00 refuse active=gone",
        expect![[r#"
            status last=10:00
            MissingJob: Active job went missing: gone
            ! FailedCreate: Error creating job: not today
            refused: not today
            waits for admission of its job
            next 12:00:00.1Z"#]],
    );
}

/// C-802
#[test]
fn s6_allow_starts_beside_a_running_job() {
    check(
        "last=10:00 active=x-1; x-1 running",
        expect![[r#"
            create x-28576020
            status active=x-1,x-28576020 last=11:00
            SuccessfulCreate: Created job x-28576020
            waits for its schedule
            next 12:00:00.1Z"#]],
    );
}

/// C-801, C-803, C-1402, C-1410; C-707: a forbidden run moves no `lastScheduleTime`.
#[test]
fn s6_forbid_waits_for_a_running_job() {
    check(
        "policy=Forbid last=10:00 active=x-1; x-1 running",
        expect![[r#"
            JobAlreadyActive: Not starting job because prior execution is running and concurrency policy is Forbid
            waits for the end of its running job
            next 12:00:00.1Z"#]],
    );
    // Its end is seen: the next one starts in the same look.
    check(
        "policy=Forbid last=10:00 active=x-1; x-1 complete start=10:00 done=10:59",
        expect![[r#"
            create x-28576020
            status active=x-28576020 last=11:00 success=10:59
            SawCompletedJob: Saw completed job: x-1, condition: Complete
            SuccessfulCreate: Created job x-28576020
            waits for its schedule
            next 12:00:00.1Z"#]],
    );
    // It ends 20 minutes late: caught up, unless the deadline is over.
    check(
        "policy=Forbid last=10:00 active=x-1; x-1 failed start=10:00; now=11:20",
        expect![[r#"
            create x-28576020
            status active=x-28576020 last=11:00
            SawCompletedJob: Saw completed job: x-1, condition: Failed
            SuccessfulCreate: Created job x-28576020
            waits for its schedule
            next 12:00:00.1Z"#]],
    );
    check(
        "policy=Forbid D=600 due=12:00:00.1 last=10:00 active=x-1; x-1 failed start=10:00; now=11:20",
        expect![[r#"
            status last=10:00
            SawCompletedJob: Saw completed job: x-1, condition: Failed
            waits for its schedule
            next 12:00:00.1Z"#]],
    );
    // C-801: a job that is not listed is no reason.
    check(
        "policy=Forbid last=10:00; manual running",
        expect![[r#"
            create x-28576020
            status active=x-28576020 last=11:00
            ! UnexpectedJob: Saw a job that the controller did not create or forgot: manual
            SuccessfulCreate: Created job x-28576020
            waits for its schedule
            next 12:00:00.1Z"#]],
    );
}

/// C-804, C-1413. A listed job that is gone is missing (C-1403); it cannot be missing only to the deletion (C-1414, C-1415).
#[test]
fn s6_replace_deletes_and_starts() {
    check(
        "policy=Replace last=10:00 active=x-1; x-1 running",
        expect![[r#"
            delete x-1
            create x-28576020
            status active=x-28576020 last=11:00
            SuccessfulDelete: Deleted job x-1
            SuccessfulCreate: Created job x-28576020
            waits for its schedule
            next 12:00:00.1Z"#]],
    );
    check(
        "policy=Replace last=10:00 active=x-1",
        expect![[r#"
            create x-28576020
            status active=x-28576020 last=11:00
            MissingJob: Active job went missing: x-1
            SuccessfulCreate: Created job x-28576020
            waits for its schedule
            next 12:00:00.1Z"#]],
    );
    // A listed job that lost its owner reference.
    check(
        "policy=Replace last=10:00 active=x-1; x-1 running stray",
        expect![[r#"
            delete x-1
            create x-28576020
            status active=x-28576020 last=11:00
            SuccessfulDelete: Deleted job x-1
            SuccessfulCreate: Created job x-28576020
            waits for its schedule
            next 12:00:00.1Z"#]],
    );
}

/// C-604, C-1703: told by uid and not by name.
#[test]
fn c604_step_3_a_job_of_the_same_name_is_another_one() {
    check(
        "last=11:00 active=x-1; x-1 running stray uid=new",
        expect![[r#"
            status last=11:00
            MissingJob: Active job went missing: x-1
            waits for its schedule
            next 12:00:00.1Z"#]],
    );
}

/// C-1101, C-1102.
#[test]
fn s7_history() {
    let surplus = |situation: &str| {
        let (seen, _) = parse(situation);
        history::surplus(&seen.children, seen.spec()).join(" ")
    };
    let complete = "a complete start=10:01; b complete start=10:02; c complete start=10:03; d complete start=10:04";
    assert_eq!(surplus(&format!("last=11:00; {complete}; e complete start=10:05")), "a b");
    assert_eq!(surplus("last=11:00; a failed start=10:02; b failed start=10:01"), "b");
    assert_eq!(surplus("last=11:00; b failed; a failed"), "a");
    assert_eq!(surplus("last=11:00; a failed; b failed start=10:01"), "b");
    let running = (0..10).map(|n| format!("; r{n} running start=09:00")).collect::<String>();
    assert_eq!(surplus(&format!("last=11:00; a complete; b complete; c complete{running}")), "");
    assert_eq!(surplus("limits=0/0; a complete; b failed"), "a b");
    assert_eq!(surplus("limits=-/-; a complete; b complete; c complete; d complete; e failed; f failed"), "");
}

/// C-1101, C-1102, C-1104, C-1106, C-1413, C-1201: a suspended one still accounts for its jobs.
#[test]
fn c1101_to_c1106_surplus_jobs_go_while_suspended_too() {
    check(
        "suspend limits=1/0 last=11:00 active=b; a complete start=10:00 done=10:01; b complete start=10:30 done=10:40; c failed",
        expect![[r#"
            delete a
            delete c
            status last=11:00 success=10:40
            SuccessfulDelete: Deleted job a
            SuccessfulDelete: Deleted job c
            SawCompletedJob: Saw completed job: b, condition: Complete
            waits for resume"#]],
    );
}

/// C-1004
#[test]
fn c1004_the_last_success_never_moves_back() {
    check(
        "last=11:00 success=10:50; a complete start=10:00 done=10:10",
        expect![[r#"
            waits for its schedule
            next 12:00:00.1Z"#]],
    );
}

/// C-1201, C-1202.
#[test]
fn c1201_to_c1202_suspension() {
    check("suspend last=08:00; now=11:30", expect!["waits for resume"]);
    // Resumed: the most recent missed time starts at once.
    check(
        "last=08:00; now=11:30",
        expect![[r#"
            create x-28576020
            status active=x-28576020 last=11:00
            SuccessfulCreate: Created job x-28576020
            waits for its schedule
            next 12:00:00.1Z"#]],
    );
}

/// C-1302
#[test]
fn c1302_a_deleted_one_only_accounts_for_its_jobs() {
    check(
        "deleting last=08:00 active=x-1,x-2; x-1 complete start=08:00 done=08:10",
        expect![[r#"
            status last=08:00 success=08:10
            SawCompletedJob: Saw completed job: x-1, condition: Complete
            MissingJob: Active job went missing: x-2
            waits for its deletion"#]],
    );
}

/// C-601, C-711, C-1204, C-1706.
#[test]
fn c601_an_edited_schedule_waits_for_its_next_time() {
    check(
        "schedule=*/5_*_*_*_* edited=11:02 last=10:00 active=x-1; x-1 failed; now=11:02",
        expect![[r#"
            status last=10:00
            SawCompletedJob: Saw completed job: x-1, condition: Failed
            waits for its schedule
            next 11:05:00.1Z"#]],
    );
    check(
        "schedule=*/5_*_*_*_* edited=11:02 last=10:00; now=11:05:00.1",
        expect![[r#"
            create x-28576025
            status active=x-28576025 last=11:05
            SuccessfulCreate: Created job x-28576025
            waits for its schedule
            next 11:10:00.1Z"#]],
    );
    // C-711: intervals go on from the last run.
    check(
        "schedule=@every_1h edited=12:00 last=10:05; now=12:00",
        expect![[r#"
            waits for its schedule
            next 12:05:00.1Z"#]],
    );
}

/// C-503, C-704, C-1404, C-1405, C-1406, C-1407.
#[test]
fn schedules_and_zones_that_cannot_be_used() {
    check(
        "zone=Mars/Base",
        expect![[r#"
            ! UnknownTimeZone: invalid timeZone: "Mars/Base": unknown time zone Mars/Base
            waits for a schedule that can be used"#]],
    );
    check(
        "schedule=*_*",
        expect![[r#"
            ! UnparseableSchedule: unparseable schedule: "* *" : expected exactly 5 fields, found 2: [* *]
            waits for a schedule that can be used"#]],
    );
    // It comes back, or never does, with a change of the object only: no timer.
    check(
        "zone=Mars/Base last=10:00 active=x-1; x-1 running",
        expect![[r#"
            ! UnknownTimeZone: invalid timeZone: "Mars/Base": unknown time zone Mars/Base
            waits for a schedule that can be used"#]],
    );
    check(
        "schedule=59_23_31_2_*",
        expect![[r#"
            ! InvalidSchedule: invalid schedule: 59 23 31 2 * : time difference between two schedules is less than 1 second
            waits for a schedule that can be used"#]],
    );
    check(
        "schedule=TZ=Asia/Tokyo_30_20_*_*_* created=11:00",
        expect![[r#"
            ! UnsupportedSchedule: CRON_TZ or TZ used in schedule "TZ=Asia/Tokyo 30 20 * * *" is not officially supported, see https://kubernetes.io/docs/concepts/workloads/controllers/cron-jobs/ for more details
            waits for its schedule
            next 11:30:00.1Z"#]],
    );
}

/// C-1416: such an edit, which validation refuses, is told of beside C-1405.
#[test]
fn c1416_an_edit_to_a_schedule_that_cannot_be_read() {
    check(
        "schedule=*_* new-edit=11:02; now=11:03",
        expect![[r#"
            ! UnParseableCronJobSchedule: unparseable schedule for cronjob: * *
            ! UnparseableSchedule: unparseable schedule: "* *" : expected exactly 5 fields, found 2: [* *]
            waits for a schedule that can be used"#]],
    );
}

/// C-1103: jobs that somebody made of its template count, and are told of while they run.
#[test]
fn c1103_jobs_made_by_hand_are_children_too() {
    check(
        "limits=1/1 last=11:00; manual complete start=10:01 done=10:02; x-28576020 complete start=11:00 done=11:01; now=11:05",
        expect![[r#"
            delete manual
            status last=11:00 success=11:01
            SuccessfulDelete: Deleted job manual
            waits for its schedule
            next 12:00:00.1Z"#]],
    );
    check(
        "last=11:00; manual running; now=11:05",
        expect![[r#"
            ! UnexpectedJob: Saw a job that the controller did not create or forgot: manual
            waits for its schedule
            next 12:00:00.1Z"#]],
    );
    // C-1002: its success counts (C-1004), but it is never listed.
    check(
        "last=11:00; manual complete start=11:01 done=11:02; now=11:05",
        expect![[r#"
            status last=11:00 success=11:02
            waits for its schedule
            next 12:00:00.1Z"#]],
    );
}

/// R-7: after a gap the latest time is run, and those before it are told of; with C-705's warning when they are many.
#[test]
fn what_is_not_made_up_for_is_told_of() {
    check(
        "last=07:00 due=08:00:00.1; now=11:20",
        expect![[r#"
            create x-28576020
            status active=x-28576020 last=11:00
            ! MissSchedule: Missed scheduled time to start a job: Wed, 01 May 2024 10:00:00 +0000 (3 times since Wed, 01 May 2024 08:00:00 +0000)
            SuccessfulCreate: Created job x-28576020
            waits for its schedule
            next 12:00:00.1Z"#]],
    );
    check(
        "schedule=*_*_*_*_* last=08:00 due=08:01:00.1; now=11:00:30",
        expect![[r#"
            create x-28576020
            status active=x-28576020 last=11:00
            ! TooManyMissedTimes: too many missed start times. Set or decrease .spec.startingDeadlineSeconds or check clock skew
            ! MissSchedule: Missed scheduled time to start a job: Wed, 01 May 2024 10:59:00 +0000 (100 or more times since Wed, 01 May 2024 08:01:00 +0000)
            SuccessfulCreate: Created job x-28576020
            waits for its schedule
            next 11:01:00.1Z"#]],
    );
    // A forbidden run was told of by itself: its late start is no gap.
    check(
        "policy=Forbid last=10:00 due=12:00:00.1 active=x-1; x-1 complete start=10:00 done=11:10; now=11:10",
        expect![[r#"
            create x-28576020
            status active=x-28576020 last=11:00 success=11:10
            SawCompletedJob: Saw completed job: x-1, condition: Complete
            SuccessfulCreate: Created job x-28576020
            waits for its schedule
            next 12:00:00.1Z"#]],
    );
    // Suspended times are missed by rule (C-1202), and nobody waited for them.
    check(
        "last=07:00; now=11:20",
        expect![[r#"
            create x-28576020
            status active=x-28576020 last=11:00
            SuccessfulCreate: Created job x-28576020
            waits for its schedule
            next 12:00:00.1Z"#]],
    );
}

/// No warning comes of a cron job with nothing wrong, whatever its policy: Kubernetes' own suite fails on them.
#[test]
fn ordinary_days_have_no_warnings() {
    for policy in ["Allow", "Forbid", "Replace"] {
        for jobs in ["", "; x-28575960 running", "; x-28575960 complete start=10:00 done=10:30"] {
            for now in ["11:00:00.1", "11:00:07", "11:59:59"] {
                let active = if jobs.is_empty() { "" } else { "active=x-28575960" };
                let situation = format!("policy={policy} last=10:00 due=11:00:00.1 {active}{jobs}; now={now}");
                let (seen, now) = parse(&situation);
                let plan = plan_for(&seen, now);
                let rendered = super::render(&plan);
                assert!(!rendered.contains("! "), "{situation}\n{rendered}");
                assert!(rendered.contains("SuccessfulCreate") || rendered.contains("JobAlreadyActive"), "{situation}");
            }
        }
    }
}

/// C-705, C-1412.
#[test]
fn c705_too_many_missed_times_are_no_reason_not_to_run() {
    check(
        "schedule=*_*_*_*_* last=08:00; now=11:00:30",
        expect![[r#"
            create x-28576020
            status active=x-28576020 last=11:00
            ! TooManyMissedTimes: too many missed start times. Set or decrease .spec.startingDeadlineSeconds or check clock skew
            SuccessfulCreate: Created job x-28576020
            waits for its schedule
            next 11:01:00.1Z"#]],
    );
}

/// C-1411, R-7: recorded once, however often the daemon looks afterwards.
#[test]
fn a_time_whose_deadline_has_passed_is_told_of_by_the_look_for_it() {
    let told = expect![[r#"
        ! MissSchedule: Missed scheduled time to start a job: Wed, 01 May 2024 11:00:00 +0000
        waits for its schedule
        next 12:00:00.1Z"#]];
    check("D=60 last=10:00 due=11:00:00.1; now=11:05", told);
    let silent = expect![[r#"
        waits for its schedule
        next 12:00:00.1Z"#]];
    check("D=60 last=10:00 due=12:00:00.1; now=11:06", silent);
}

/// C-901, C-902, C-903, C-504.
#[test]
fn s5_names_and_annotations() {
    let (seen, _) = parse("");
    let mut cron_job = seen.cron_job;
    cron_job.metadata.name = Some("backup".to_owned());
    cron_job.spec.job_template.spec = Some(JobSpec { parallelism: Some(2), ..JobSpec::default() });
    cron_job.spec.job_template.metadata = Some(ObjectMeta {
        name: Some("ignored".to_owned()),
        finalizers: Some(vec!["a/b".to_owned()]),
        labels: Some(BTreeMap::from([("l".to_owned(), "1".to_owned())])),
        annotations: Some(BTreeMap::from([("a".to_owned(), "2".to_owned())])),
        ..ObjectMeta::default()
    });
    let run = time("11:00");
    for (zone, want) in [
        (None, "2024-05-01T11:00:00Z"),
        (Some("UTC"), "2024-05-01T11:00:00Z"),
        (Some("Africa/Abidjan"), "2024-05-01T11:00:00Z"),
        (Some("America/New_York"), "2024-05-01T07:00:00-04:00"),
        (Some("Asia/Kathmandu"), "2024-05-01T16:45:00+05:45"),
    ] {
        let zone = zone.map(|zone| find_zone(zone).unwrap());
        let job = jobs::build(&cron_job, run, zone.as_ref());
        assert_eq!(job.metadata.name.as_deref(), Some("backup-28576020"));
        assert_eq!(job.metadata.finalizers, None);
        assert_eq!(job.metadata.labels.map(|labels| labels["l"].clone()).as_deref(), Some("1"));
        assert_eq!(job.spec.unwrap().parallelism, Some(2));
        let annotations = job.metadata.annotations.unwrap();
        assert_eq!(annotations["a"], "2");
        assert_eq!(annotations["batch.kubernetes.io/cronjob-scheduled-timestamp"], want);
        let owner = &job.metadata.owner_references.unwrap()[0];
        assert_eq!((owner.kind.as_str(), owner.uid.as_str(), owner.controller), ("CronJob", "cron-uid", Some(true)));
        assert_eq!(owner.block_owner_deletion, Some(true));
    }
}

/// The same plan from the same snapshot and time.
#[test]
fn decisions_depend_on_nothing_else() {
    let (seen, now) = parse("policy=Replace last=10:00 active=x-1; x-1 running; a failed; b failed");
    assert_eq!(super::render(&plan_for(&seen, now)), super::render(&plan_for(&seen, now)));
}
