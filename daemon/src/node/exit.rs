//! How an attempt ended: the engine's facts into Kubernetes' terms (J-2512 to J-2514, D-602, D-603, D-704, D-1603, D-1604).
#![deny(clippy::disallowed_methods)]

use super::{
    observed::{Died, Evidence, History},
    status::UNKNOWN,
};
use crate::{
    engine::Container,
    store::{Attempt, attempts::Exit},
};

/// An end, and what caused it from outside, if anything did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct End {
    pub exit: Exit,
    pub disruption: Option<String>,
}

/// What an exited container comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Judged {
    End(End),
    /// The engine's memory of events has to be asked first.
    AskEvents,
}

/// Judges a container that the engine calls exited. `ours` means that we stopped it, so nothing is a disruption.
#[must_use]
pub fn judge(attempt: &Attempt, container: &Container, history: &History, ours: bool) -> Judged {
    let code = i32::try_from(container.exit_code).unwrap_or(255);
    if history.lost {
        return Judged::End(lost(attempt, history));
    }
    let witnessed = history.died.is_some();
    if !witnessed && !ours && code != 0 && history.evidence == Evidence::Unasked {
        return Judged::AskEvents;
    }
    if code == 255 && !witnessed {
        // The engine invents 255 for what it cannot account for, with its own start as the end (D-602).
        let evidence = "the engine was away and does not know how the container ended (exit code 255)";
        return Judged::End(unknown(attempt, history, evidence));
    }
    let exit = Exit {
        reason: reason(code, container.oom_killed).to_owned(),
        exit_code: code,
        message: container.error.clone(),
        started_at: container.started_at.or(attempt.started_at),
        finished_at: container.finished_at,
    };
    let disruption =
        (!ours && code != 0 && !container.oom_killed).then(|| disruption(code, history, witnessed)).flatten();
    Judged::End(End { exit, disruption })
}

/// J-2512.
fn reason(code: i32, oom_killed: bool) -> &'static str {
    if oom_killed {
        "OOMKilled"
    } else if code == 0 {
        "Completed"
    } else {
        "Error"
    }
}

/// D-603: who else may have ended it.
fn disruption(code: i32, history: &History, witnessed: bool) -> Option<String> {
    if history.killed_by_stranger {
        return Some("The container was stopped through the container engine, not by its program.".to_owned());
    }
    if history.engine_was_away && !witnessed {
        return Some("The container ended while the container engine was restarting.".to_owned());
    }
    // After a restart of ours: TERM and KILL are what an engine's shutdown sends.
    (!witnessed && matches!(code, 137 | 143))
        .then(|| "The container was stopped while nobody watched, as a restart of the engine does.".to_owned())
}

/// A container that is gone but whose `die` event was received: its code is the event's, its logs are lost (D-406).
#[must_use]
pub fn from_event(attempt: &Attempt, died: &Died, history: &History, ours: bool) -> End {
    let code = i32::try_from(died.exit_code).unwrap_or(255);
    let stranger = "The container was removed through the container engine.".to_owned();
    End {
        exit: Exit {
            reason: reason(code, false).to_owned(),
            exit_code: code,
            message: "the container was removed before its logs could be kept".to_owned(),
            started_at: attempt.started_at,
            finished_at: Some(died.at),
        },
        disruption: (!ours && code != 0 && history.killed_by_stranger).then_some(stranger),
    }
}

/// What cannot be known. `evidence` says what is missing.
#[must_use]
pub fn unknown(attempt: &Attempt, history: &History, evidence: &str) -> End {
    End {
        exit: Exit {
            reason: UNKNOWN.to_owned(),
            exit_code: 137,
            message: evidence.to_owned(),
            started_at: attempt.started_at,
            finished_at: history.last_running,
        },
        disruption: Some(evidence.to_owned()),
    }
}

/// D-1604.
#[must_use]
pub fn lost(attempt: &Attempt, history: &History) -> End {
    unknown(attempt, history, "the engine lost track of the container: it calls it running, but its process is gone")
}

/// A start that the engine refused (J-2512, D-702).
#[must_use]
pub fn start_error(attempt: &Attempt, message: &str) -> End {
    End {
        exit: Exit {
            reason: "StartError".to_owned(),
            exit_code: 128,
            message: message.to_owned(),
            started_at: None,
            finished_at: attempt.started_at,
        },
        disruption: None,
    }
}
