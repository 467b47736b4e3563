//! One look each: the tables of section 26 and the rules around them.

use expect_test::expect;

use super::{check, now, parse, plan_for, plan_with_quota, render, render_status};
use crate::controllers::job::{
    index, manage, policy,
    snapshot::{Snapshot, Spec},
    tally::Tally,
};

/// How the job stands after one look: `fails <reason>`, `completes <reason>` or `continues`.
fn outcome(situation: &str) -> String {
    let (seen, now) = parse(situation);
    let (plan, _) = plan_for(&seen, now);
    let status = plan.status.map(|status| render_status(&status)).unwrap_or_default();
    let reason =
        |condition: &str| Some(status.split_once(&format!("{condition}=True:"))?.1.split(' ').next()?.to_owned());
    match (reason("FailureTarget"), reason("SuccessCriteriaMet")) {
        (Some(reason), _) => format!("fails {reason}"),
        (None, Some(reason)) => format!("completes {reason}"),
        (None, None) => "continues".to_owned(),
    }
}

#[track_caller]
fn check_outcome(situation: &str, want: &str) {
    assert_eq!(outcome(situation), want, "{situation}");
}

#[test]
fn the_first_look_starts_pods_and_the_clock() {
    // J-825, J-1009; J-1504: nothing is said of suspension.
    check(
        "completions=1",
        expect![[r#"
            create 1
            status active=1 start=1000
            waits for 1 active"#]],
    );
}

#[test]
fn wanted_pods_follow_t9() {
    // J-842, J-847, J-852, J-1401, J-1402
    let action = |situation: &str| {
        let (seen, now) = parse(situation);
        let (plan, made) = plan_for(&seen, now);
        let removed = plan.pods.values().filter(|change| **change == super::PodChange::Delete).count();
        let completes = render(&plan, &made).contains("SuccessCriteriaMet");
        format!("+{} -{removed}{}", made.len(), if completes { " complete" } else { "" })
    };
    let active = |count: usize| (0..count).map(|n| format!("; p{n} running")).collect::<String>();
    let terminating =
        |count: usize| (0..count).map(|n| format!("; t{n} running deleting untracked")).collect::<String>();

    assert_eq!(action("parallelism=2 completions=5"), "+2 -0");
    assert_eq!(action(&format!("parallelism=2 completions=5 succeeded=1{}", active(1))), "+1 -0");
    assert_eq!(action(&format!("parallelism=2 completions=5 succeeded=4{}", active(1))), "+0 -0");
    assert_eq!(action(&format!("parallelism=3 completions=4 succeeded=2{}", active(3))), "+0 -1");
    assert_eq!(action(&format!("parallelism=2 completions=5{}", active(10))), "+0 -8");
    assert_eq!(action(&format!("parallelism=2{}", active(1))), "+1 -0");
    assert_eq!(action(&format!("parallelism=2 succeeded=1{}", active(1))), "+0 -0");
    assert_eq!(action("parallelism=2 succeeded=1"), "+0 -0 complete");
    assert_eq!(action(&format!("completions=1{}", terminating(1))), "+1 -0");
    assert_eq!(action(&format!("completions=1 replace=Failed{}", terminating(1))), "+0 -0");
    assert_eq!(action(&format!("completions=1 replace=Failed{}{}", active(2), terminating(4))), "+0 -1");
    assert_eq!(action(&format!("parallelism=0 completions=3{}", active(2))), "+0 -2");
    assert_eq!(action("parallelism=5 completions=0"), "+0 -0 complete");
    assert_eq!(action("parallelism=5 completions=0 suspend"), "+0 -0 complete"); // J-842
}

#[test]
fn a_job_without_parallelism_waits_for_some() {
    check(
        "completions=3 parallelism=0",
        expect![[r#"
            status start=1000
            waits for parallelism"#]],
    );
}

#[test]
fn a_failed_pod_is_counted_and_replaced_after_its_backoff() {
    // J-802, J-852, J-870, J-871
    check(
        "completions=1 start=900; a failed at=995",
        expect![[r#"
            untrack a
            status failed=1 start=900
            waits for back-off until 1005
            next 1005"#]],
    );
    check(
        "completions=1 start=900 failed=1 backoff=1@995; now=1005",
        expect![[r#"
            create 1
            status active=1 failed=1 start=900
            waits for 1 active"#]],
    );
}

#[test]
fn backoff_delays_creation_only() {
    // J-864: the running pod of a shrunk job goes although a back-off runs.
    check(
        "completions=5 parallelism=1 start=900 failed=1 backoff=1@995; a running; b running created=5",
        expect![[r#"
            delete b
            status active=1 failed=1 terminating=1 start=900
            waits for 1 active"#]],
    );
}

#[test]
fn limits_follow_t7() {
    // J-824, J-833, J-853
    let failed = |count: usize| (0..count).map(|n| format!("; p{n} failed exit=main:1")).collect::<String>();
    let job = |words: &str, count: usize| format!("completions=9 parallelism=2 start=1 {words}{}", failed(count));
    check_outcome(&job("limit=0", 1), "fails BackoffLimitExceeded");
    check_outcome(&job("limit=6", 6), "continues");
    check_outcome(&job("limit=6", 7), "fails BackoffLimitExceeded");
    check_outcome(&job("limit=6 failed=6", 1), "fails BackoffLimitExceeded");
    check_outcome(&job("limit=3", 4), "fails BackoffLimitExceeded");
    check_outcome(&job("limit=6 policy=Ignore:In:1", 7), "continues");

    let restarted =
        |limit: i32, pods: &str| format!("completions=9 parallelism=3 start=1 on-failure limit={limit}; {pods}");
    check_outcome(&restarted(0, "a running"), "continues");
    check_outcome(&restarted(0, "a running restarts=1"), "fails BackoffLimitExceeded");
    check_outcome(&restarted(1, "a running restarts=1"), "fails BackoffLimitExceeded");
    check_outcome(&restarted(6, "a running restarts=5"), "continues");
    check_outcome(
        &restarted(6, "a running restarts=2; b pending restarts=2; c running restarts=2"),
        "fails BackoffLimitExceeded",
    );
    check_outcome(&restarted(2, "a succeeded restarts=2"), "continues");
}

#[test]
fn restarts_count_only_where_pods_restart_in_place() {
    check_outcome("completions=1 start=1 limit=0; a running restarts=3", "continues");
}

#[test]
fn precedence_follows_t16() {
    // J-830, J-831, J-838, J-841, J-905, J-1205
    let indexed = "indexed parallelism=1 start=1";
    check_outcome(&format!("{indexed} completions=1 deadline=10; a succeeded index=0"), "fails DeadlineExceeded");
    check_outcome(
        "completions=9 start=1 limit=0 policy=FailJob:In:42; a failed exit=main:42",
        "fails PodFailurePolicy",
    );
    check_outcome("completions=9 start=1 limit=0 deadline=10; a failed", "fails BackoffLimitExceeded");
    check_outcome(
        &format!("{indexed} completions=2 per-index=0 max-failed=0; a failed index=0; b failed index=1"),
        "fails MaxFailedIndexesExceeded",
    );
    check_outcome(&format!("{indexed} completions=1 success=0/-; a succeeded index=0"), "completes SuccessPolicy");
    check_outcome(
        &format!("{indexed} completions=2 per-index=0 success=0/-; a succeeded index=0; b failed index=1"),
        "fails FailedIndexes",
    );
    check_outcome(
        "completions=9 start=1 limit=0 condition=SuccessCriteriaMet:True:SuccessPolicy; a failed",
        "completes SuccessPolicy",
    );
    check_outcome(
        "completions=1 start=1 condition=FailureTarget:True:DeadlineExceeded; a succeeded",
        "fails DeadlineExceeded",
    );
    check_outcome("completions=1 start=1 suspend; a succeeded", "completes CompletionsReached");
    check_outcome("completions=2 start=1 limit=0 suspend; a failed", "fails BackoffLimitExceeded");
    // J-839: a condition that is False binds nobody.
    check_outcome("completions=1 start=1 condition=FailureTarget:False:X; a running", "continues");
    // J-1204: all indexes are enough even when no rule matches.
    check_outcome(&format!("{indexed} completions=1 success=/-; a succeeded index=0"), "completes CompletionsReached");
}

#[test]
fn failure_policy_follows_t6() {
    // J-1103 to J-1107
    // Rule and action that match, whether the failure counts, and whether and why the job fails.
    let judge = |rules: &str, pod: &str| {
        let limit = if rules.contains("FailIndex") { "indexed per-index=5" } else { "" };
        let (seen, now) = parse(&format!("completions=9 start=1 {limit} policy={rules}; p index=0 {pod}"));
        let policy = seen.job.spec.as_ref().unwrap().pod_failure_policy.as_ref();
        let matched = policy::judge(policy, &seen.pods[0]).map(|found| format!("{} {:?}", found.rule, found.action));
        let counted = policy::is_counted(policy, &seen.pods[0]);
        let (plan, _) = plan_for(&seen, now);
        let events = plan.events.iter().filter(|event| event.reason == "PodFailurePolicy");
        let told: Vec<&str> = events.map(|event| event.message.as_str()).collect();
        format!(
            "{}, {}, {}",
            matched.as_deref().unwrap_or("none"),
            if counted { "counted" } else { "not" },
            told.join(" ")
        )
    };
    let exit_42 = "Container main for pod ns/p failed with exit code 42 matching FailJob rule at index 0";
    assert_eq!(judge("Ignore:In:1,2|FailJob:In:2,3", "failed exit=main:2"), "0 Ignore, not, ");
    assert_eq!(judge("FailJob:In:42", "failed exit=main:42"), format!("0 FailJob, counted, {exit_42}"));
    assert_eq!(judge("FailJob:In:42:main", "failed exit=aux:42 exit=main:1"), "none, counted, ");
    assert_eq!(judge("FailJob:NotIn:40,41", "failed exit=main:42"), format!("0 FailJob, counted, {exit_42}"));
    assert_eq!(judge("FailJob:NotIn:42", "failed exit=main:42"), "none, counted, ");
    assert_eq!(
        judge("FailJob:NotIn:42", "failed exit=main:42 exit=aux:7"),
        "0 FailJob, counted, Container aux for pod ns/p failed with exit code 7 matching FailJob rule at index 0"
    );
    assert_eq!(judge("FailJob:NotIn:5", "failed exit=aux:5"), "none, counted, ");
    assert_eq!(
        judge("FailJob:In:5", "failed exit=setup:5"),
        "0 FailJob, counted, Container setup for pod ns/p failed with exit code 5 matching FailJob rule at index 0"
    );
    assert_eq!(judge("FailJob:In:137:main", "failed"), "none, counted, ");
    assert_eq!(judge("Ignore:DisruptionTarget=True", "failed condition=DisruptionTarget:True"), "0 Ignore, not, ");
    assert_eq!(judge("Ignore:DisruptionTarget=True", "failed condition=DisruptionTarget:False"), "none, counted, ");
    assert_eq!(judge("Ignore:DisruptionTarget=False", "failed condition=DisruptionTarget:False"), "0 Ignore, not, ");
    assert_eq!(
        judge("FailJob:DisruptionTarget=True", "failed condition=DisruptionTarget:True"),
        "0 FailJob, counted, Pod ns/p has condition DisruptionTarget matching FailJob rule at index 0"
    );
    assert_eq!(judge("Count:In:1|FailJob:NotIn:0", "failed exit=main:1"), "0 Count, counted, ");
    assert_eq!(judge("FailIndex:In:3", "failed exit=main:3"), "0 FailIndex, counted, ");
    assert_eq!(judge("none", "failed exit=main:3"), "none, counted, ");
    assert_eq!(judge("Explode:In:3", "failed exit=main:3"), "none, counted, "); // J-1101
    // J-1109: without any exit code not even NotIn matches.
    assert_eq!(
        judge("FailJob:NotIn:0|Ignore:DisruptionTarget=True", "failed condition=DisruptionTarget:True"),
        "1 Ignore, not, "
    );
}

#[test]
fn a_pod_that_still_runs_is_not_judged() {
    // J-1102
    check_outcome("completions=1 start=1 policy=FailJob:In:5; p running exit=main:5", "continues");
    check_outcome("completions=1 start=1 policy=FailJob:In:5; p running deleting exit=main:5", "continues");
}

#[test]
fn of_several_pods_that_fail_the_job_the_oldest_is_named() {
    // J-832, J-1108
    check(
        "completions=9 parallelism=3 start=1 policy=FailJob:In:42; a failed created=9 exit=m:42; b failed created=7 exit=m:42; c failed created=7 exit=m:42",
        expect![[r#"
            untrack a b c
            status failed=3 start=1 FailureTarget=True:PodFailurePolicy Failed=True:PodFailurePolicy
            event Warning PodFailurePolicy: Container m for pod ns/b failed with exit code 42 matching FailJob rule at index 0
            waits for nothing"#]],
    );
}

#[test]
fn an_ignored_failure_is_not_counted_but_lengthens_the_backoff() {
    // J-1107, J-860
    check(
        "completions=1 start=1 policy=Ignore:In:1 backoff=1@900; a failed at=995 exit=main:1",
        expect![[r#"
            untrack a
            status start=1
            waits for back-off until 1015
            next 1015"#]],
    );
}

#[test]
fn per_index_limits_follow_t8() {
    // J-1301, J-1302, J-1304, J-1306
    // The failed pod's annotations and exit code -> the index's end, or the replacement and when.
    let retried = |limit: i32, words: &str, policy: &str| {
        let policy = if policy.is_empty() { String::new() } else { format!("policy={policy}") };
        let job = format!("indexed completions=4 parallelism=1 start=1 completed=1-3 per-index={limit} {policy}");
        let (seen, now_) = parse(&format!("{job}; p failed index=0 at=1000 exit=main:3 {words}"));
        let (plan, _) = plan_for(&seen, now_);
        let Some(next) = plan.next else { return "failed".to_owned() };
        assert!(plan.pods.is_empty(), "the pod is held back (J-1305)");
        let (_, made) = plan_for(&seen, now(next.as_secs()));
        let failures = made[0].failures.unwrap();
        format!("{}/{} after {}", failures.counted, failures.ignored, next.as_secs() - 1000)
    };
    assert_eq!(retried(0, "count=0", ""), "failed");
    assert_eq!(retried(1, "count=0", ""), "1/0 after 10");
    assert_eq!(retried(1, "count=1", ""), "failed");
    assert_eq!(retried(2, "count=1", ""), "2/0 after 20");
    assert_eq!(retried(1, "count=0", "Ignore:In:3"), "0/1 after 10");
    assert_eq!(retried(1, "count=0 ignored=2", "Ignore:In:3"), "0/3 after 40");
    assert_eq!(retried(1, "count=1 ignored=1", "Ignore:In:3"), "1/2 after 40");
    assert_eq!(retried(5, "count=0", "FailIndex:In:3"), "failed");
}

#[test]
fn jobs_with_failed_indexes_end_as_t8_says() {
    // J-835, J-836, J-1303, J-1308, J-2707
    let job = |words: &str| format!("indexed completions=4 parallelism=4 start=1 per-index=0 {words}");
    check_outcome(&job("completed=1 failed-indexes=0"), "continues");
    check_outcome(&job("completed=1-3 failed-indexes=0"), "fails FailedIndexes");
    check_outcome(&job("failed-indexes=0-3"), "fails FailedIndexes");
    check_outcome(&job("completed=1 failed-indexes=0 max-failed=1"), "continues");
    check_outcome(&job("failed-indexes=0 max-failed=0"), "fails MaxFailedIndexesExceeded");
    check_outcome(&job("completed=0-3 failed-indexes= max-failed=0"), "completes CompletionsReached");
    check(
        &job("completed=1 failed-indexes=0,2 max-failed=1 failed=2; d running index=3"),
        expect![[r#"
            delete d
            status succeeded=1 failed=3 terminating=1 completed=1 failed-indexes=0,2 start=1 FailureTarget=True:MaxFailedIndexesExceeded
            waits for 1 terminating"#]],
    );
}

#[test]
fn the_total_of_failures_is_limited_beside_the_indexes() {
    // J-1307
    let job = "indexed completions=4 parallelism=4 start=1 per-index=5";
    let failed = "; a failed index=0; b failed index=1";
    check_outcome(&format!("{job} limit=1{failed}"), "fails BackoffLimitExceeded");
    check_outcome(&format!("{job} limit=2{failed}"), "continues");
    check_outcome(&format!("{job}{failed}"), "continues");
}

#[test]
fn a_held_back_pod_is_counted_when_its_replacement_is_there() {
    // J-1004; J-1305: at the look that creates the replacement, not before.
    check(
        "indexed completions=2 parallelism=2 start=1 per-index=1; a failed index=0 at=995; b running index=1",
        expect![[r#"
            status active=1 failed-indexes= start=1
            waits for back-off until 1005
            next 1005"#]],
    );
    check(
        "indexed completions=2 parallelism=2 start=1 per-index=1; a failed index=0 at=995; b running index=1; now=1005",
        expect![[r#"
            untrack a
            create 0(1/0)
            status active=2 failed=1 failed-indexes= start=1
            waits for 2 active"#]],
    );
}

#[test]
fn of_two_failed_pods_of_an_index_the_later_try_is_held() {
    let (seen, _) =
        parse("indexed completions=1 start=1 per-index=5; a failed index=0 count=1 at=900; b failed index=0 at=995");
    let tally = Tally::of(&seen);
    let held = index::held(&tally, &index::of(&tally.active));
    assert_eq!(held[&0].name, "a");
}

#[test]
fn indexes_in_backoff_keep_their_slots_idle() {
    // J-855, J-2704: index 0 is on the list of two although it must wait; index 1 starts.
    check(
        "indexed completions=5 parallelism=2 start=1 per-index=3; a failed index=0 at=995",
        expect![[r#"
            create 1(0/0)
            status active=1 failed-indexes= start=1
            waits for 1 active
            next 1005"#]],
    );
}

#[test]
fn index_choice_follows_t10() {
    // J-848, J-851, J-855
    check(
        "indexed completions=20 parallelism=8 start=1 completed=2,4,5,7-9 succeeded=6; a running index=0; b running index=3",
        expect![[r#"
            create 1 6 10 11 12 13
            status active=8 succeeded=6 completed=2,4,5,7-9 start=1
            waits for 8 active"#]],
    );
    check(
        "indexed completions=20 parallelism=8 start=1; a running index=1; b running index=2; c pending index=2; d running",
        expect![[r#"
            delete c d
            status active=2 terminating=2 start=1
            waits for another look
            next 1000"#]],
    );
}

#[test]
fn removal_order_follows_j849() {
    let order = |pods: &str| {
        let (seen, _) = parse(&format!("completions=9 parallelism=9; {pods}"));
        let active: Vec<_> = seen.pods.iter().map(AsRef::as_ref).collect();
        let chosen = crate::controllers::job::removal::choose(&Spec::of(&seen.job), &active, active.len());
        chosen.iter().map(|pod| pod.name.clone()).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(order("a running; b running unassigned"), "b a");
    assert_eq!(order("a running; b unknown; c pending"), "c b a");
    assert_eq!(order("a running ready=5; b running"), "b a");
    assert_eq!(order("a running ready=5; b running ready=9"), "b a");
    assert_eq!(order("a running; b running restarts=2"), "b a");
    assert_eq!(order("a running; b running sidecar-restarts=2"), "b a");
    assert_eq!(order("a running created=5; b running created=9"), "b a");
    assert_eq!(order("b running; a running"), "a b");
}

#[test]
fn slow_start_stops_at_the_first_batch_with_a_refusal() {
    // T-11, J-856, J-2202
    let (seen, time) = parse("completions=20 parallelism=20");
    let (plan, made) = plan_with_quota(&seen, time, 2);
    expect![[r#"
        create 2
        status active=2 start=1000
        event Warning FailedCreate: Error creating: exceeded quota
        waits for admission of its pods"#]]
    .assert_eq(&render(&plan, &made));
    assert_eq!(plan.refused.as_deref(), Some("exceeded quota"));
    let (_, made) = plan_for(&seen, time);
    assert_eq!(made.len(), 20);
}

#[test]
fn a_namespace_that_ends_is_neither_event_nor_error() {
    // J-857
    let (seen, time) = parse("completions=1 start=1");
    let plan = crate::controllers::job::decide::decide(&seen, time, &mut |_| Err(super::Refusal::NotNow));
    assert!(plan.events.is_empty() && plan.refused.is_none() && plan.create.is_empty());
}

#[test]
fn what_has_ended_is_counted_although_nothing_may_be_created() {
    // R-9: on a full disk status writes go through.
    let (seen, time) = parse("completions=5 parallelism=2 start=1; a succeeded");
    let plan = crate::controllers::job::decide::decide(&seen, time, &mut |_| Err(super::Refusal::NotNow));
    expect![[r#"
        untrack a
        status succeeded=1 start=1
        waits for admission of its pods"#]]
    .assert_eq(&render(&plan, &[]));
}

#[test]
fn a_success_policy_ends_the_job_without_counting_what_it_stops() {
    // J-837, J-1203, J-840, J-880, J-881
    check(
        "indexed completions=3 parallelism=3 start=1 success=0/-; a succeeded index=0; b running index=1; c running index=2",
        expect![[r#"
            untrack a
            delete b c
            status succeeded=1 terminating=2 completed=0 start=1 SuccessCriteriaMet=True:SuccessPolicy
            waits for 2 terminating"#]],
    );
    check(
        "indexed completions=3 parallelism=3 start=1 completed=0 condition=SuccessCriteriaMet:True:SuccessPolicy",
        expect![[r#"
            status succeeded=1 completed=0 start=1 SuccessCriteriaMet=True:SuccessPolicy Complete=True:SuccessPolicy completion=1000
            event Normal Completed: Job completed
            waits for nothing"#]],
    );
}

#[test]
fn however_many_pods_end_at_once_each_is_counted() {
    // J-874, J-875: one transaction needs no cap.
    let pods =
        (0..1200).map(|n| format!("; p{n:04} {}", if n % 3 == 0 { "failed" } else { "succeeded" })).collect::<String>();
    let (seen, time) = parse(&format!("completions=5000 parallelism=0 limit=5000 start=1{pods}"));
    let (plan, _) = plan_for(&seen, time);
    let status = plan.status.unwrap();
    assert_eq!((status.succeeded, status.failed, plan.pods.len()), (Some(800), Some(400), 1200));
}

#[test]
fn what_has_succeeded_is_pods_or_distinct_indexes() {
    // J-823: what is stored and what is new; each index once, and none beyond the completions.
    let succeeded = |situation: &str| {
        let (seen, _) = parse(situation);
        let tally = Tally::of(&seen);
        (tally.succeeded, tally.succeeded_indexes.to_string())
    };
    assert_eq!(
        succeeded("completions=9 succeeded=2; a succeeded; b succeeded untracked; c failed"),
        (3, String::new())
    );
    assert_eq!(succeeded("succeeded=1; a succeeded; b succeeded"), (3, String::new()));
    assert_eq!(
        succeeded(
            "indexed completions=4 succeeded=9 completed=0,5; a succeeded index=0; b succeeded index=1; c succeeded index=1; d succeeded index=7; e succeeded"
        ),
        (2, "0,1".to_owned())
    );
}

#[test]
fn which_ends_are_new() {
    // J-822: of tracked pods alone, of a legal index, and of none whose uid the status lists.
    let new = |situation: &str| {
        let (seen, _) = parse(situation);
        let tally = Tally::of(&seen);
        let names = |pods: &[&crate::controllers::job::snapshot::Pod]| {
            pods.iter().map(|pod| pod.name.clone()).collect::<Vec<_>>().join(" ")
        };
        (names(&tally.new_succeeded), names(&tally.new_failed))
    };
    let plain = "a succeeded; b failed; c failed untracked; d running; e running deleting; f succeeded deleting";
    let both = |succeeded: &str, failed: &str| (succeeded.to_owned(), failed.to_owned());
    assert_eq!(new(&format!("completions=9; {plain}")), both("a f", "b e"));
    assert_eq!(new(&format!("completions=9 replace=Failed; {plain}")), both("a f", "b"));
    assert_eq!(new("completions=9 uncounted-failed=uid-a; a failed; b failed"), both("", "b"));
    assert_eq!(
        new("indexed completions=2; a succeeded index=1; b succeeded index=2; c succeeded; d failed index=0; e failed"),
        both("a", "d")
    );
}

#[test]
fn uids_that_a_status_lists_as_uncounted_are_counted_once() {
    check(
        "completions=5 start=1 failed=1 uncounted-failed=uid-a,uid-gone; a failed at=900; b running",
        expect![[r#"
            untrack a
            status active=1 failed=3 start=1
            waits for 1 active"#]],
    );
}

#[test]
fn no_more_than_500_pods_are_created_or_removed_at_once() {
    // J-848, J-852
    let (seen, time) = parse("completions=2000 parallelism=1200");
    let (plan, made) = plan_for(&seen, time);
    assert_eq!(made.len(), manage::PODS_MAX);
    assert_eq!(plan.next.map(|next| next.as_secs()), Some(1000));
    let pods = (0..700).map(|n| format!("; p{n:03} running")).collect::<String>();
    let (seen, time) = parse(&format!("completions=2000 parallelism=1 start=1{pods}"));
    let (plan, _) = plan_for(&seen, time);
    assert_eq!((plan.pods.len(), plan.next.map(|next| next.as_secs())), (manage::PODS_MAX, Some(1000)));
}

#[test]
fn a_jump_of_the_wall_clock_moves_neither_deadline_nor_backoff() {
    // I-10: three hours forward on the wall, one second since boot.
    let (mut seen, before) = parse("completions=1 deadline=3600 start=990; a failed at=995; now=1000");
    let (plan, made) = plan_for(&seen, before);
    seen = super::apply(&seen, &plan, &made, before);
    let mut jumped = now(1001);
    jumped.wall = super::time(11_801);
    let (plan, made) = plan_for(&seen, jumped);
    expect![[r#"
        waits for back-off until 1005
        next 1005"#]]
    .assert_eq(&render(&plan, &made));
}

#[test]
fn ten_thousand_indexes_with_a_thousand_active_pods_are_decided_fast() {
    // 20 ms; an unoptimised build takes 4.
    let pods = (0..1000).map(|n| format!("; p{n} running index={}", 2 * n + 1)).collect::<String>();
    let (seen, time) = parse(&format!("indexed completions=10000 parallelism=1500 start=1 completed=0,2,4,6,8{pods}"));
    let best = (0..5)
        .map(|_| {
            let started = cpu_time();
            let (_, made) = plan_for(&seen, time);
            assert_eq!(made.len(), 500);
            cpu_time() - started
        })
        .min()
        .unwrap();
    assert!(best < jiff::SignedDuration::from_millis(20), "a decision took {best:?}");
}

/// What this thread has computed: other tests on the same core don't count.
fn cpu_time() -> jiff::SignedDuration {
    let spent = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    jiff::SignedDuration::new(spent.tv_sec, i32::try_from(spent.tv_nsec).unwrap())
}

#[test]
fn the_order_in_which_pods_are_listed_decides_nothing() {
    let (seen, time) = parse(
        "indexed completions=9 parallelism=2 start=1 per-index=3; a running index=1; b running index=1; c failed index=0 at=9; d failed index=0 at=9; e running index=2; f pending",
    );
    let (plan, made) = plan_for(&seen, time);
    let backwards = Snapshot { pods: seen.pods.iter().rev().cloned().collect(), ..seen };
    let (other, other_made) = plan_for(&backwards, time);
    assert_eq!(render(&plan, &made), render(&other, &other_made));
}
