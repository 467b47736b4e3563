//! Lives of jobs, look after look (T-12, T-13). Times are seconds; each step changes what the node or a user would change.

use std::sync::Arc;

use expect_test::expect;

use super::{apply, moment, now, parse, plan_for, render};
use crate::controllers::job::snapshot::{Phase, Pod, Snapshot};

/// A job between looks, and what the looks said.
struct Story {
    seen: Snapshot,
    told: String,
}

impl Story {
    fn of(situation: &str) -> Self {
        Self { seen: parse(situation).0, told: String::new() }
    }

    /// One look at this time.
    fn look(mut self, second: i64) -> Self {
        let (plan, made) = plan_for(&self.seen, now(second));
        self.told += &format!("@{second}\n{}\n", render(&plan, &made));
        self.seen = apply(&self.seen, &plan, &made, now(second));
        self
    }

    /// Changes one pod, as node and users do. A pod that has ended, is being deleted and has no finalizer goes.
    fn pod(mut self, name: &str, change: impl FnOnce(&mut Pod)) -> Self {
        let position = self.seen.pods.iter().position(|pod| pod.name == name).unwrap();
        let mut pod = Pod::clone(&self.seen.pods[position]);
        change(&mut pod);
        let goes = !pod.tracking && pod.phase.is_terminal();
        if goes {
            drop(self.seen.pods.remove(position))
        } else {
            self.seen.pods[position] = Arc::new(pod)
        }
        self
    }

    fn ends(self, name: &str, phase: Phase, second: i64) -> Self {
        self.pod(name, |pod| (pod.phase, pod.finish) = (phase, moment(second)))
    }

    fn deleted_by_user(self, name: &str, second: i64) -> Self {
        self.pod(name, |pod| (pod.deleting, pod.finish) = (true, moment(second)))
    }
}

/// T-13, J-882, J-883, J-1001, J-2207.
#[test]
fn one_pod_succeeds() {
    expect![[r#"
        @10
        create 1
        status active=1 start=10
        waits for 1 active
        @20
        untrack new-10-1
        status succeeded=1 start=10 SuccessCriteriaMet=True:CompletionsReached Complete=True:CompletionsReached completion=20
        event Normal Completed: Job completed
        waits for nothing
    "#]]
    .assert_eq(&Story::of("completions=1").look(10).ends("new-10-1", Phase::Succeeded, 20).look(20).told);
}

#[test]
fn the_limit_is_exceeded_while_another_pod_runs() {
    // T-13, J-840, J-872: the stopped pod is counted at once, Failed follows when it has ended.
    expect![[r#"
        @20
        untrack a
        delete b
        status failed=2 terminating=1 start=1 FailureTarget=True:BackoffLimitExceeded
        waits for 1 terminating
        @25
        status failed=2 start=1 FailureTarget=True:BackoffLimitExceeded Failed=True:BackoffLimitExceeded
        event Warning BackoffLimitExceeded: Job has reached the specified backoff limit
        waits for nothing
    "#]]
    .assert_eq(
        &Story::of("completions=2 parallelism=2 limit=0 start=1; a failed at=20; b running")
            .look(20)
            .ends("b", Phase::Failed, 25)
            .look(25)
            .told,
    );
}

#[test]
fn a_user_deletes_the_only_pod_and_any_pod_is_replaced() {
    // T-12, TerminatingOrFailed
    expect![[r#"
        @100
        untrack a
        status failed=1 terminating=1 start=1
        waits for back-off until 110
        next 110
        @110
        create 1
        status active=1 failed=1 terminating=1 start=1
        waits for 1 active
        @130
        status active=1 failed=1 start=1
        waits for 1 active
    "#]]
    .assert_eq(
        &Story::of("completions=1 start=1; a running")
            .deleted_by_user("a", 100)
            .look(100)
            .look(110)
            .ends("a", Phase::Failed, 130)
            .look(130)
            .told,
    );
}

#[test]
fn a_user_deletes_the_only_pod_and_only_failed_pods_are_replaced() {
    // T-12, Failed
    expect![[r#"
        @100
        status terminating=1 start=1
        waits for 1 terminating
        @130
        untrack a
        status failed=1 start=1
        waits for back-off until 140
        next 140
        @140
        create 1
        status active=1 failed=1 start=1
        waits for 1 active
    "#]]
    .assert_eq(
        &Story::of("completions=1 replace=Failed start=1; a running")
            .deleted_by_user("a", 100)
            .look(100)
            .ends("a", Phase::Failed, 130)
            .look(130)
            .look(140)
            .told,
    );
}

#[test]
fn a_deleted_pod_that_ends_well_completes_the_job_when_only_failed_pods_are_replaced() {
    // T-12, J-1403
    expect![[r#"
        @102
        untrack a
        status succeeded=1 start=1 SuccessCriteriaMet=True:CompletionsReached Complete=True:CompletionsReached completion=102
        event Normal Completed: Job completed
        waits for nothing
    "#]]
    .assert_eq(
        &Story::of("completions=1 replace=Failed start=1; a running")
            .deleted_by_user("a", 100)
            .ends("a", Phase::Succeeded, 102)
            .look(102)
            .told,
    );
}

/// T-13, J-1502, J-1503.
#[test]
fn a_job_is_suspended_and_resumed() {
    let suspend = |mut story: Story, suspend: bool| {
        story.seen.job.spec.as_mut().unwrap().suspend = Some(suspend);
        story
    };
    let story = suspend(Story::of("completions=2 parallelism=2 start=1; a running ready; b running"), true).look(50);
    let story = story.ends("a", Phase::Failed, 55).ends("b", Phase::Failed, 55).look(55);
    expect![[r#"
        @50
        delete a b
        status terminating=2 Suspended=True:JobSuspended
        event Normal Suspended: Job suspended
        waits for resume
        @55
        status Suspended=True:JobSuspended
        waits for resume
        @60
        create 2
        status active=2 start=60 Suspended=False:JobResumed
        event Normal Resumed: Job resumed
        waits for 2 active
    "#]]
    .assert_eq(&suspend(story, false).look(60).told);
}

/// J-845, J-847.
#[test]
fn a_work_queue_ends_when_its_last_pod_does() {
    expect![[r#"
        @10
        create 2
        status active=2 start=10
        waits for 2 active
        @20
        untrack new-10-1
        status active=1 succeeded=1 start=10
        waits for 1 active
        @30
        untrack new-10-2
        status succeeded=1 failed=1 start=10 SuccessCriteriaMet=True:CompletionsReached Complete=True:CompletionsReached completion=30
        event Normal Completed: Job completed
        waits for nothing
    "#]]
    .assert_eq(
        &Story::of("parallelism=2")
            .look(10)
            .ends("new-10-1", Phase::Succeeded, 20)
            .look(20)
            .ends("new-10-2", Phase::Failed, 30)
            .look(30)
            .told,
    );
}

#[test]
fn an_adopted_pod_is_counted_at_the_second_look() {
    // J-2104
    expect![[r#"
        @10
        adopt a
        waits for another look
        next 10
        @10
        untrack a
        status succeeded=1 start=10 SuccessCriteriaMet=True:CompletionsReached Complete=True:CompletionsReached completion=10
        event Normal Completed: Job completed
        waits for nothing
    "#]]
    .assert_eq(&Story::of("completions=1; a succeeded orphan untracked").look(10).look(10).told);
}

#[test]
fn a_counted_pod_that_is_adopted_once_more_counts_once_more() {
    // J-2101, J-2104, J-824: with the finalizer it is as any other whose end was not counted.
    expect![[r#"
        @10
        adopt a
        waits for another look
        next 10
        @10
        untrack a
        status failed=2 start=5 FailureTarget=True:BackoffLimitExceeded Failed=True:BackoffLimitExceeded
        event Warning BackoffLimitExceeded: Job has reached the specified backoff limit
        waits for nothing
    "#]]
    .assert_eq(&Story::of("completions=1 limit=1 failed=1 start=5; a failed orphan untracked").look(10).look(10).told);
}
