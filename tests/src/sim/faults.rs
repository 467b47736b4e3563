//! What goes wrong in a run, and how often. Drawn per seed, so that some runs have every fault and some have one alone: a checker
//! can be stricter where less goes wrong.

use super::dice::Dice;

/// Chances in a thousand: per engine call, per step of the loop, or per event, as told.
#[derive(Clone, Debug, Default)]
pub struct Faults {
    /// Per call: the daemon dies just before or just after it.
    pub crash_in_call: u64,
    /// Per step: the daemon dies between two steps.
    pub crash: u64,
    /// Per call: no answer; it was carried out, was not, or will be later.
    pub lost_answer: u64,
    /// Per call: an answer that the engine could not, for reasons of its own.
    pub refused: u64,
    /// Per call: it takes seconds.
    pub slow_call: u64,
    /// Per call: somebody else writes to the store while it is under way.
    pub write_in_call: u64,
    /// Per call: it is under way while other things go on, calls of others among them.
    pub held: u64,
    /// Per step: the engine does not answer for a while; its containers run on.
    pub away: u64,
    /// Per step, and 15 times as often per start: the engine is restarted, its containers with it, and its memory of events is lost.
    pub restart: u64,
    /// Per step: the machine is restarted.
    pub reboot: u64,
    /// Per step: somebody removes, kills or plants a container.
    pub stranger: u64,
    /// Per step: the disk is full for a while.
    pub full: u64,
    /// Per write: it fails.
    pub commit_failed: u64,
    /// Per write: it is told as failed, and is on disk.
    pub commit_doubtful: u64,
    /// Per write: the daemon dies before or after it.
    pub crash_in_commit: u64,
    /// Per step: the daemon stands still for a while, and everything else goes on (F-7).
    pub stall: u64,
    /// Per step: somebody sets the clock.
    pub jump: u64,
    /// How many events the engine remembers; 0: all.
    pub memory: u64,
    /// Per event: it is never delivered.
    pub event_lost: u64,
    /// Per event: it is delivered twice.
    pub event_twice: u64,
    /// Per event: it comes late.
    pub event_late: u64,
}

impl Faults {
    /// `years`: cron jobs alone.
    #[must_use]
    pub fn draw(years: bool, dice: &mut Dice) -> Self {
        if years {
            // Nothing runs then, so that only these matter.
            let mut chance = |most: u64| dice.below(most) * dice.below(2);
            return Self {
                crash: chance(30),
                jump: chance(20),
                full: chance(5),
                commit_failed: chance(20),
                commit_doubtful: chance(20),
                crash_in_commit: chance(10),
                ..Self::default()
            };
        }
        if dice.one_in(10) {
            return Self::default();
        }
        let harsh = dice.one_in(4);
        let mut chance = |most: u64| {
            let on = dice.one_in(2);
            let chance = dice.between(1, most);
            match (on, harsh) {
                (false, _) => 0,
                (true, false) => chance,
                (true, true) => chance * 2,
            }
        };
        Self {
            crash_in_call: chance(40),
            crash: chance(8),
            lost_answer: chance(60),
            refused: chance(40),
            slow_call: chance(40),
            write_in_call: chance(60),
            held: chance(200),
            away: chance(6),
            restart: chance(3),
            reboot: chance(2),
            stranger: chance(10),
            full: chance(5),
            commit_failed: chance(20),
            commit_doubtful: chance(20),
            crash_in_commit: chance(10),
            stall: chance(4),
            jump: chance(6),
            memory: chance(40),
            event_lost: chance(40),
            event_twice: chance(60),
            event_late: chance(200),
        }
    }

    /// Whether the evidence of an exit can be destroyed, so that "unknown" may be the honest answer.
    #[must_use]
    pub fn destroy_evidence(&self) -> bool {
        // A clock set back puts events into the future, where the engine does not look for them.
        self.restart + self.reboot + self.stranger + self.event_lost + self.jump + self.memory > 0
    }

    /// Whether the daemon can die.
    #[must_use]
    pub fn kill(&self) -> bool {
        self.crash + self.crash_in_call + self.crash_in_commit + self.reboot > 0
    }

    /// What is on, for the report.
    #[must_use]
    pub fn describe(&self) -> String {
        let text = format!("{self:?}");
        let inner = text.trim_start_matches("Faults { ").trim_end_matches(" }");
        let on: Vec<&str> = inner.split(", ").filter(|one| !one.ends_with(": 0")).collect();
        if on.is_empty() { "none".to_owned() } else { on.join(", ") }
    }
}
