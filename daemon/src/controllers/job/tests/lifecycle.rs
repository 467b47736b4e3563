//! One look each, at what is done to a job: deadlines, suspension, changes of its spec, deletion, other owners, its end.

use expect_test::expect;

use super::{apply, check, parse, plan_for, render};

#[test]
fn a_deadline_of_zero_fails_before_any_pod() {
    // J-1702
    check(
        "completions=1 deadline=0",
        expect![[r#"
            status start=1000 FailureTarget=True:DeadlineExceeded Failed=True:DeadlineExceeded
            event Warning DeadlineExceeded: Job was active longer than specified deadline
            waits for nothing"#]],
    );
}

/// J-802.
#[test]
fn the_next_look_is_at_the_deadline() {
    check(
        "completions=1 deadline=500 start=990; a running",
        expect![[r#"
            status active=1 start=990
            waits for 1 active
            next 1490"#]],
    );
}

#[test]
fn too_many_succeeded_pods_are_told() {
    // J-2208
    check(
        "completions=1 start=1; a succeeded; b succeeded",
        expect![[r#"
            untrack a b
            status succeeded=2 start=1 SuccessCriteriaMet=True:CompletionsReached Complete=True:CompletionsReached completion=1000
            event Warning TooManySucceededPods: Too many succeeded pods running after completion count reached
            event Normal Completed: Job completed
            waits for nothing"#]],
    );
}

#[test]
fn suspension_removes_pods_uncounted() {
    // J-846, J-850, J-1502, J-2205: the pod that has ended is counted all the same.
    check(
        "completions=5 parallelism=3 start=1 suspend; a running ready; b succeeded; c pending unassigned",
        expect![[r#"
            untrack b
            delete a c
            status succeeded=1 terminating=1 Suspended=True:JobSuspended
            event Normal Suspended: Job suspended
            waits for resume"#]],
    );
}

#[test]
fn a_job_created_suspended_does_not_start_its_clock() {
    // J-904, J-1501, J-2205
    check(
        "completions=1 suspend deadline=5",
        expect![[r#"
            status Suspended=True:JobSuspended
            event Normal Suspended: Job suspended
            waits for resume"#]],
    );
}

#[test]
fn resume_starts_the_clock_anew() {
    // J-904, J-1503, J-1701, J-2206: even where a start was kept.
    for start in ["", "start=1"] {
        let (seen, time) = parse(&format!("completions=1 deadline=5 condition=Suspended:True:JobSuspended {start}"));
        let (plan, made) = plan_for(&seen, time);
        expect![[r#"
            create 1
            status active=1 start=1000 Suspended=False:JobResumed
            event Normal Resumed: Job resumed
            waits for 1 active
            next 1005"#]]
        .assert_eq(&render(&plan, &made));
        let resumed = &plan.status.unwrap().conditions.unwrap()[0];
        assert_eq!(resumed.message.as_deref(), Some("Job resumed"));
    }
}

#[test]
fn a_suspended_job_keeps_what_it_counted_and_its_backoff_and_no_deadline_runs() {
    // J-1505
    let (seen, time) = parse(
        "indexed completions=5 parallelism=2 suspend deadline=10 succeeded=2 failed=1 completed=0,1 backoff=1@995 condition=Suspended:True:JobSuspended",
    );
    let (plan, made) = plan_for(&seen, time);
    expect![[r#"
        status succeeded=2 failed=1 completed=0,1 Suspended=True:JobSuspended
        event Normal Suspended: Job suspended
        waits for resume"#]]
    .assert_eq(&render(&plan, &made));
    let mut seen = apply(&seen, &plan, &made, time);
    seen.job.spec.as_mut().unwrap().suspend = None;
    let (plan, made) = plan_for(&seen, time);
    expect![[r#"
        status succeeded=2 failed=1 completed=0,1 start=1000 Suspended=False:JobResumed
        event Normal Resumed: Job resumed
        waits for back-off until 1005
        next 1005"#]]
    .assert_eq(&render(&plan, &made));
}

#[test]
fn suspension_does_not_show_while_the_job_is_being_deleted() {
    // J-1506
    check(
        "completions=1 suspend start=1 deleting",
        expect![[r#"
            status start=1
            waits for its deletion"#]],
    );
}

#[test]
fn suspending_a_finished_job_changes_nothing() {
    // J-1507, J-509, J-884
    check("completions=1 suspend start=1 condition=Complete:True:X", expect!["waits for nothing"]);
    check("completions=9 parallelism=9 start=1 condition=Failed:True:X", expect!["waits for nothing"]);
}

#[test]
fn a_changed_replacement_policy_takes_effect_at_the_next_look() {
    // J-1404
    let (seen, time) = parse("completions=1 replace=Failed start=1; a running deleting at=1000");
    let (plan, made) = plan_for(&seen, time);
    expect![[r#"
        status terminating=1 start=1
        waits for 1 terminating"#]]
    .assert_eq(&render(&plan, &made));
    let mut seen = apply(&seen, &plan, &made, time);
    seen.job.spec.as_mut().unwrap().pod_replacement_policy = Some("TerminatingOrFailed".to_owned());
    let (plan, made) = plan_for(&seen, time);
    expect![[r#"
        untrack a
        status failed=1 terminating=1 start=1
        waits for back-off until 1010
        next 1010"#]]
    .assert_eq(&render(&plan, &made));
}

#[test]
fn a_stretched_indexed_job_starts_new_indexes_and_those_it_forgot() {
    // J-1602
    let (mut seen, time) = parse(
        "indexed completions=3 parallelism=3 start=1 completed=0,3 succeeded=2; a running index=1; b running index=2",
    );
    let (plan, made) = plan_for(&seen, time);
    assert_eq!(plan.status.as_ref().unwrap().completed_indexes.as_deref(), Some("0"));
    seen = apply(&seen, &plan, &made, time);
    let spec = seen.job.spec.as_mut().unwrap();
    (spec.completions, spec.parallelism) = (Some(5), Some(5));
    let (plan, made) = plan_for(&seen, time);
    expect![[r#"
        create 3 4
        status active=4 succeeded=1 completed=0 start=1
        waits for 4 active"#]]
    .assert_eq(&render(&plan, &made));
}

#[test]
fn a_deadline_ends_retries_and_moves_with_the_field() {
    // J-834, J-1703
    check(
        "completions=5 parallelism=2 start=1 deadline=500 limit=6; a running; b failed at=900",
        expect![[r#"
            untrack b
            delete a
            status failed=2 terminating=1 start=1 FailureTarget=True:DeadlineExceeded
            waits for 1 terminating"#]],
    );
    let next = |deadline: &str| {
        let (seen, time) = parse(&format!("completions=1 start=990 {deadline}; a running"));
        plan_for(&seen, time).0.next.map(|next| next.as_secs())
    };
    assert_eq!([next("deadline=500"), next("deadline=20"), next("")], [Some(1490), Some(1010), None]);
}

#[test]
fn each_pod_that_comes_or_goes_is_told() {
    // J-2201, J-2203; J-2204: a delete is a part of the commit and cannot fail by itself.
    let told = |situation: &str| {
        let (seen, time) = parse(situation);
        let (plan, _) = plan_for(&seen, time);
        let told =
            plan.events.iter().map(|event| format!("{:?} {}: {}", event.event_type, event.reason, event.message));
        told.collect::<Vec<_>>()
    };
    assert_eq!(
        told("completions=5 parallelism=1 start=1; a running; b running created=5; c pending created=9"),
        ["Normal SuccessfulDelete: Deleted pod: c", "Normal SuccessfulDelete: Deleted pod: b"]
    );
    assert_eq!(
        told("completions=5 parallelism=2 start=1"),
        ["Normal SuccessfulCreate: Created pod: new-1000-1", "Normal SuccessfulCreate: Created pod: new-1000-2"]
    );
}

#[test]
fn a_scaled_down_indexed_job_forgets_what_lies_beyond() {
    // J-1601, J-1603
    check(
        "indexed completions=2 parallelism=2 start=1 completed=0,4,5 succeeded=3 failed=1; a running index=1; b running index=3; c failed index=4",
        expect![[r#"
            untrack c
            delete b
            status active=1 succeeded=1 failed=1 terminating=1 completed=0 start=1
            waits for 1 active"#]],
    );
}

#[test]
fn a_job_that_is_being_deleted_lets_go_of_its_pods() {
    // J-870, J-2008
    check(
        "completions=5 parallelism=3 start=1 deleting; a running; b failed; c running other-labels; d running orphan",
        expect![[r#"
            untrack a b c
            status active=2 failed=1 start=1
            waits for its deletion"#]],
    );
}

#[test]
fn adoption_and_release_come_first_and_alone() {
    // J-2101, J-2102
    check(
        "completions=5 parallelism=3 start=1; a running other-labels; b succeeded orphan; c running orphan deleting; d running orphan other-labels",
        expect![[r#"
            adopt b
            release a
            waits for another look
            next 1000"#]],
    );
}

#[test]
fn jobs_of_others_are_left_alone() {
    // J-1801
    check("completions=1 managed-by=example.com/other; a failed", expect!["waits for its manager example.com/other"]);
    check(
        "completions=1 managed-by=kubernetes.io/job-controller start=1; a running",
        expect![[r#"
            status active=1 start=1
            waits for 1 active"#]],
    );
}

#[test]
fn a_finished_job_only_lets_go_of_its_pods() {
    // J-803, J-2009
    check(
        "completions=1 start=1 condition=Failed:True:X; a running; b running untracked",
        expect![[r#"
            untrack a
            waits for nothing"#]],
    );
}

#[test]
fn an_unknown_completion_mode_is_told_and_nothing_done() {
    // J-803, J-2210
    let (seen, time) = parse("completions=1 mode=Sideways");
    let (plan, made) = plan_for(&seen, time);
    expect![[r#"
        event Warning UnknownCompletionMode: Skipped Job sync because completion mode is unknown
        waits for a known completion mode"#]]
    .assert_eq(&render(&plan, &made));
}
