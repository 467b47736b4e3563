//! Work of the daemon that is under way: a step, a sweep, a chore. Each runs alone until it ends or its engine call is held; then others
//! have their turn, and it goes on when the run says so. So several keys are in flight as in production, and a seed still says in
//! which order.

use futures_util::{future::BoxFuture, stream::BoxStream};
use jobd::{
    driver::Step,
    engine::{Error, Event},
};

use super::{
    daemon::Crashed,
    engine::{Gate, ScriptedEngine},
};

/// What a piece of work is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Errand {
    Step,
    Connect,
    Sweep,
    Chores,
}

/// What it came to.
pub enum Landed {
    Step(Step),
    /// The event stream is open; none: the engine did not answer.
    Connected(Option<BoxStream<'static, Result<Event, Error>>>),
    Done,
}

/// Work whose engine call is held.
pub struct Flight {
    pub errand: Errand,
    work: BoxFuture<'static, Landed>,
    gate: Gate,
}

/// How far work came.
pub enum Leg {
    Landed(Landed),
    Held(Flight),
}

/// Begins work, or goes on with it.
///
/// # Errors
/// The daemon died in the middle.
pub async fn fly(
    errand: Errand,
    mut work: BoxFuture<'static, Landed>,
    engine: &ScriptedEngine,
) -> Result<Leg, Crashed> {
    tokio::select! {
        biased;
        landed = &mut work => Ok(Leg::Landed(landed)),
        () = engine.held.notified() => match engine.take_gate() {
            Some(gate) => Ok(Leg::Held(Flight { errand, work, gate })),
            None => Ok(Leg::Landed(work.await)),
        },
        () = engine.crashed.notified() => Err(Crashed),
    }
}

impl Flight {
    /// Its call goes on.
    ///
    /// # Errors
    /// The daemon died in the middle.
    pub async fn go_on(self, engine: &ScriptedEngine) -> Result<Leg, Crashed> {
        let Self { errand, work, gate } = self;
        // Nobody waits behind the gate when its call was given up.
        let (Ok(()) | Err(())) = gate.send(());
        fly(errand, work, engine).await
    }
}
