//! What the simulation lets become of a write: a full disk, a commit that fails, one that is on disk although it was reported as failed, a
//! process that dies before or after it. Production has no judge. What SQLite itself does when it fails is tested beside the writer.

use super::{Committed, Error, Request};

/// Says of each write what becomes of it.
pub trait Judge: Send + Sync {
    fn judge(&self, request: &Request) -> Verdict;
}

/// What becomes of a write.
#[derive(Clone, Debug)]
pub struct Verdict {
    /// It is on disk.
    pub commits: bool,
    pub answer: Answer,
}

/// What whoever wrote is told.
#[derive(Clone, Debug)]
pub enum Answer {
    /// What is true.
    Real,
    /// This, whatever is true.
    Failed(Error),
    /// Nothing: the process dies.
    Never,
}

impl Verdict {
    /// As without a judge.
    pub const FAIR: Self = Self { commits: true, answer: Answer::Real };

    pub(super) async fn carry_out(
        self,
        commit: impl Future<Output = Result<Committed, Error>>,
    ) -> Result<Committed, Error> {
        let result = if self.commits { Some(commit.await) } else { None };
        match (self.answer, result) {
            (Answer::Real, Some(result)) => result,
            // A refusal by a guard is no failure of the disk.
            (Answer::Failed(_), Some(Err(refused))) => Err(refused),
            (Answer::Failed(error), Some(Ok(_)) | None) => Err(error),
            (Answer::Never, _) | (Answer::Real, None) => std::future::pending().await,
        }
    }
}
