//! What must hold of the node: room, patience with who is asked to end, and with who fails again and again (sections 25.3 and 25.6 of
//! the job rules).

use std::time::Duration;

use anyhow::ensure;
use jiff::SignedDuration;

use super::{
    super::{
        machine::Machine,
        truth::{Kill, Start, Truth},
    },
    Checker,
    pods::Pod,
};

/// What the node has, in thousandths.
const CPU: i64 = 4000;
/// How late a signal may be: an engine that does not answer is asked again.
const SLACK: SignedDuration = SignedDuration::from_secs(60);
/// How long whoever was asked to end may take before it is killed, when its grace is over already.
const PATIENCE: Duration = Duration::from_secs(20);
/// The first wait of a container that fails again (J-2520), and the longest.
const BACKOFF_MIN: Duration = Duration::from_secs(10);
const BACKOFF_MAX: Duration = Duration::from_secs(300);
/// Whoever ran so long is forgiven (J-2521), and a little less: what counts is when it was decided to run it.
const FORGIVEN: Duration = Duration::from_secs(500);
/// Ends are kept in whole seconds.
const SECOND: Duration = Duration::from_secs(1);

impl Checker {
    /// A pod has just got a node: there is room for it.
    pub(super) fn check_room(&self, pod: &Pod) -> anyhow::Result<()> {
        let others = self.pods.values().filter(|other| other.is_bound && !other.is_over() && other.uid != pod.uid);
        let used: i64 = others.map(|other| other.cpu).sum();
        ensure!(used + pod.cpu <= CPU, "pod {} gets a node on which {used} of {CPU} are used", pod.name);
        Ok(())
    }

    /// J-2550: nobody is killed before the grace period of its pod's deletion is over.
    pub(super) fn check_kill(&self, kill: &Kill) -> anyhow::Result<()> {
        let Some(pod) = self.pods.get(&kill.pod_uid) else { return Ok(()) };
        let Some(end) = pod.ends_at.filter(|_| !self.clock_jumps && !pod.is_over() && pod.too_old_at.is_none()) else {
            return Ok(());
        };
        // One without a sandbox has no other reason to end.
        let is_alone = self.rosters.get(&kill.pod_uid).is_some_and(|roster| roster.is_alone());
        let early = end.duration_since(kill.asked);
        ensure!(
            !is_alone || early <= SignedDuration::from_secs(1),
            "J-2550: container {} of pod {} is killed {early:?} before its grace is over",
            kill.container,
            pod.name
        );
        Ok(())
    }

    /// When every loop rests: who may start has a node, and who must end is made to.
    pub(super) fn check_node_at_rest(&self, machine: &Machine) -> anyhow::Result<()> {
        let bound = self.pods.values().filter(|pod| pod.is_bound && !pod.is_over());
        let used: i64 = bound.map(|pod| pod.cpu).sum();
        for pod in self.pods.values().filter(|pod| !pod.is_over()) {
            ensure!(
                pod.is_bound || pod.deleting || used + pod.cpu > CPU,
                "pod {} waits for a node that has room: {used} of {CPU} are used",
                pod.name
            );
            if self.clock_jumps || machine.was_away_lately() {
                continue;
            }
            let is_past = |at: Option<jiff::Timestamp>| at.is_some_and(|at| self.wall.duration_since(at) > SLACK);
            let mut running = machine.truths.running(&pod.uid);
            if is_past(pod.ends_at)
                && let Some(truth) = running.find(|truth| {
                    let is_new = truth.asked_to_stop.is_some_and(|asked| self.passed < asked + PATIENCE);
                    !truth.killed && !is_new
                })
            {
                anyhow::bail!("J-2550: the grace of pod {} is over, and {} runs on", pod.name, truth.container);
            }
            let mut running = machine.truths.running(&pod.uid);
            if is_past(pod.too_old_at)
                && let Some(truth) = running.find(|truth| truth.asked_to_stop.is_none())
            {
                anyhow::bail!("J-2560: pod {} is past its deadline, and {} runs on", pod.name, truth.container);
            }
        }
        Ok(())
    }
}

/// J-2520: the first restart is at once, each further one waits twice as long. `before`: the runs of this container, in any order.
pub(super) fn check_back_off<'a>(
    before: impl Iterator<Item = &'a Truth>,
    start: &Start,
    pod: &str,
) -> anyhow::Result<()> {
    let mut runs: Vec<(Duration, Duration)> = before.filter_map(|truth| Some((truth.begun?, truth.ended?))).collect();
    runs.sort_unstable();
    let mut delay = Duration::ZERO;
    let mut earliest = Duration::ZERO;
    for (begun, ended) in runs {
        if delay.is_zero() || ended > begun + FORGIVEN {
            (delay, earliest) = (BACKOFF_MIN, Duration::ZERO);
        } else {
            earliest = ended + delay;
            delay = (delay * 2).min(BACKOFF_MAX);
        }
    }
    ensure!(
        start.at + SECOND >= earliest,
        "J-2520: container {} of pod {pod} runs again at {:?}, not {earliest:?}",
        start.container,
        start.at
    );
    Ok(())
}
