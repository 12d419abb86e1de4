//! Who is asked about when. One poller per workspace object (its uid and pin) keeps the schedules of that workspace's
//! runs, reads each run with a single get when it is due, and wakes the controller only when there is news. Where that
//! costs fewer calls, sweeps through the list of live runs tell which of them need no get.
//!
//! Keys are opaque: the room knows neither Kubernetes nor what a run's state means, and it never calls a run ended or
//! lost. It offers what it read; `lifecycle` decides. A poll that learns nothing writes, logs and wakes nothing.
//!
//! [`Book`] is the whole of the logic: a state machine that is handed the time and the answers, so that tests and the
//! simulation drive it without a clock. [`Poller`] is the thin task around it. The invariants are in `book/tests.rs`.

mod agenda;
mod book;
mod clock;
mod entry;
mod health;
mod schedule;
mod snapshot;
mod sweep;
mod task;

use std::future::Future;
use std::time::SystemTime;

pub use book::{Answer, Ask, AskPage, Book, Learned, READ_AFTER, Swept};
pub use clock::{Clock, Now, SystemClock};
pub use health::Health;
pub use schedule::Schedule;
pub use snapshot::{Absent, Failing, Seen, Snapshot};
pub use sweep::{Page, PageAnswer, Part, Recorded, Row, Sweeping};
pub use task::{Poller, Settings};

use crate::databricks::error::Error;
use crate::databricks::ids::RunId;
use crate::databricks::model::Run;

/// What a poller asks: one workspace's runs.
pub trait Runs: Send + Sync + 'static {
    /// Reads one run, all its pages put together. It must end by itself (the client has a deadline on every call) and
    /// answers [`Error::NotNow`] instead of waiting for the rate limit.
    fn get_run(&self, run: RunId) -> impl Future<Output = Result<Read, Error>> + Send;

    /// A page of the list of live runs, under the same terms.
    fn list_live(&self, part: &Part) -> impl Future<Output = Result<Page, Error>> + Send;
}

/// A run as Databricks described it, and Databricks' own time of saying so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Read {
    /// The run.
    pub run: Run,
    /// The `Date` of the answer: a live run's deadlines are held against this clock, not ours.
    pub server_time: Option<SystemTime>,
}

/// What stands for a run in a poller: anything the controller can be woken with.
pub trait Key: Clone + Eq + std::hash::Hash + Send + Sync + 'static {}

impl<T: Clone + Eq + std::hash::Hash + Send + Sync + 'static> Key for T {}
