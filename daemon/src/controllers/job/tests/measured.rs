//! What one look adds to the counters of section 23.

use expect_test::{Expect, expect};

use super::{apply, parse, plan_for, plan_with_quota};
use crate::controllers::job::measured::{Measured, Notes};

/// Decides for a situation and says what is counted; that a second look at what came out counts no end a second time is checked too.
#[track_caller]
fn check(situation: &str, want: Expect) {
    let (seen, now) = parse(situation);
    let (plan, made) = plan_for(&seen, now);
    want.assert_eq(&render(&Measured::of(&seen.job, &plan)));
    let again = apply(&seen, &plan, &made, now);
    let (second, _) = plan_for(&again, now);
    let again = Measured::of(&again.job, &second);
    assert_eq!((again.end, again.pods_succeeded, again.pods_failed, again.indexes_failed), (None, 0, 0, 0));
}

fn render(measured: &Measured) -> String {
    let Measured {
        mode,
        notes: Notes { action, creation, refused, handled },
        pods_created,
        pods_succeeded,
        pods_failed,
        indexes_succeeded,
        indexes_failed,
        per_index,
        end,
    } = measured;
    let mut words = vec![format!("{mode:?}"), action.map_or("left alone".to_owned(), |action| format!("{action:?}"))];
    for (count, what) in [
        (pods_created, format!("created {creation:?}")),
        (refused, format!("refused {creation:?}")),
        (pods_succeeded, "succeeded".to_owned()),
        (pods_failed, "failed".to_owned()),
        (indexes_succeeded, format!("indexes succeeded per-index={per_index}")),
        (indexes_failed, format!("indexes failed per-index={per_index}")),
    ] {
        words.extend((*count > 0).then(|| format!("{count} {what}")));
    }
    words.extend((!handled.is_empty()).then(|| format!("policy {handled:?}")));
    words.extend(end.as_ref().map(|(succeeded, reason)| format!("end succeeded={succeeded} {reason}")));
    words.join(", ")
}

#[test]
fn j_2301_the_action_says_what_a_look_was_about() {
    check("completions=2 parallelism=2", expect!["NonIndexed, PodsCreated, 2 created New"]);
    check("completions=2 parallelism=2; a running; b running", expect!["NonIndexed, Tracking"]);
    check("completions=2 parallelism=1; a running; b running", expect!["NonIndexed, PodsDeleted"]);
    check("completions=1 suspend; a running", expect!["NonIndexed, PodsDeleted"]);
    check("completions=1 deleting; a running", expect!["NonIndexed, Reconciling"]);
    check("completions=1; a running orphan", expect!["NonIndexed, Reconciling"]);
    // Creation that waits for its back-off is creation too.
    check("completions=1 backoff=1@995; a failed untracked; now=1000", expect!["NonIndexed, PodsCreated"]);
    check("completions=1 managed-by=example.com/other", expect!["NonIndexed, left alone"]);
}

#[test]
fn counts_a_pod_in_the_look_that_takes_its_finalizer_and_an_end_in_the_one_that_says_it() {
    check(
        "completions=2 parallelism=1 succeeded=1; a succeeded",
        expect!["NonIndexed, Tracking, 1 succeeded, end succeeded=true CompletionsReached"],
    );
    check(
        "completions=1 limit=0; a failed exit=main:3",
        expect!["NonIndexed, Reconciling, 1 failed, end succeeded=false BackoffLimitExceeded"],
    );
}

#[test]
fn tells_why_pods_are_created() {
    check("completions=1 failed=1 limit=6", expect!["NonIndexed, PodsCreated, 1 created RecreateTerminatingOrFailed"]);
    check(
        "completions=1 failed=1 limit=6 replace=Failed",
        expect!["NonIndexed, PodsCreated, 1 created RecreateFailed"],
    );
    check(
        "completions=1; a running deleting untracked",
        expect!["NonIndexed, PodsCreated, 1 created RecreateTerminatingOrFailed"],
    );
    let (seen, now) = parse("completions=3 parallelism=3");
    let (plan, _) = plan_with_quota(&seen, now, 1);
    assert_eq!(render(&Measured::of(&seen.job, &plan)), "NonIndexed, PodsCreated, 1 created New, 2 refused New");
}

#[test]
fn counts_indexes_once_each_and_only_those_that_the_job_still_has() {
    check(
        "indexed completions=4 parallelism=2 completed=0; a succeeded index=1; b succeeded index=1; c running index=2",
        expect!["Indexed, PodsCreated, 1 created New, 1 succeeded, 1 indexes succeeded per-index=false"],
    );
    check("indexed completions=2 parallelism=2 completed=0,5; a running index=1", expect!["Indexed, Tracking"]);
    check(
        "indexed completions=2 parallelism=2 per-index=0; a failed index=0; b running index=1",
        expect!["Indexed, Tracking, 1 failed, 1 indexes failed per-index=true"],
    );
}

#[test]
fn counts_what_the_failure_policy_made_of_a_failure() {
    check(
        "completions=1 policy=FailJob:In:42|Ignore:In:7; a failed exit=main:42; b failed exit=main:7; c failed exit=main:1",
        expect!["NonIndexed, Reconciling, 2 failed, policy [FailJob, Ignore], end succeeded=false PodFailurePolicy"],
    );
}
