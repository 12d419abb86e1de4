//! The operations, one file each: what is sent, what is read of the answer. How it is sent, how often and when, is the
//! affair of `client`: nothing here repeats a call.

mod cancel_run;
mod check;
mod find_job;
mod get_output;
mod get_run;
mod list_runs;
mod live_runs;
mod principal;
mod repair_run;
mod start;

use std::time::SystemTime;

use super::ids::RunId;
use super::model::Run;

pub use check::Checked;
pub use find_job::JobMatch;
pub use list_runs::{FoundRuns, ListRuns, RUNS_PER_PAGE};
pub use live_runs::{LiveRun, LiveRuns, LiveRunsPage};
pub(super) use principal::Known;
pub use principal::Principal;
#[cfg(any(test, fuzzing))]
pub(super) use {principal::named, start::with_token};

/// An answer and when it was given, by Databricks' own clock: run times must never be compared with ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answered<T> {
    /// The answer.
    pub value: T,
    /// The `Date` of the answer (whole seconds), if it had one.
    pub server_time: Option<SystemTime>,
}

/// What Databricks said to a request that starts a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Submitted {
    /// The run. `run-now` on a continuous job that runs already restarts it and names none.
    pub run_id: Option<RunId>,
}

/// One page of `runs/list`, newest first.
struct RunsPage {
    /// The runs, without their tasks.
    runs: Vec<Run>,
    /// Where the next page begins; `None` on the last.
    next_page_token: Option<String>,
    /// The `Date` of the answer.
    server_time: Option<SystemTime>,
}

/// Follows `next_page_token`, the only field about pages that is reliable. A token that comes back, or more pages than
/// can be, would be a loop without end.
struct Pages {
    left: usize,
    token: Option<String>,
}

impl Pages {
    fn at_most(left: usize) -> Self {
        Self { left, token: None }
    }

    fn token(&self) -> Option<&str> {
        self.token.as_deref()
    }

    /// Whether there is a page after the one that ended with this token.
    fn turn(&mut self, next: Option<String>) -> Result<bool, super::error::Error> {
        use super::error::{Error, TransportError::UnreadableAnswer};
        let Some(next) = next.filter(|token| !token.is_empty()) else { return Ok(false) };
        self.left = self.left.saturating_sub(1);
        if self.left == 0 {
            return Err(Error::Transport(UnreadableAnswer("it has more pages than can be".to_owned())));
        }
        if self.token.as_ref() == Some(&next) {
            return Err(Error::Transport(UnreadableAnswer("its pages go round in a circle".to_owned())));
        }
        self.token = Some(next);
        Ok(true)
    }
}
