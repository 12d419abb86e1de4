//! What a reconcile needs from outside, as traits: the object store, Databricks with its workspaces and poller, and the
//! clock. `kubernetes` and `connections` implement them for real; the simulation implements them for its own world.

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use serde_json::Value;
use thiserror::Error;

use crate::api::run::RunObject;
use crate::api::status::{Endpoint, WorkspacePin};
use crate::api::workspace::WorkspaceKind;
use crate::databricks::error::Error as DatabricksError;
use crate::databricks::ids::{RepairId, RunId};
use crate::databricks::model::RunOutput;
use crate::lifecycle::step::{FoundRun, FreshRun, JobMatch, RunTarget};
use crate::lifecycle::{Announcement, IdempotencyToken, Now, Reading, WorkspaceView};
use crate::poller::{Recorded, Snapshot};
use crate::telemetry::traces::Trace;

/// Namespace and name of a run's object: the key of everything that is remembered of it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Place {
    /// Its namespace.
    pub namespace: Arc<str>,
    /// Its name.
    pub name: Arc<str>,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// A call to the Kubernetes API that failed.
#[derive(Debug, Error)]
pub enum StoreError {
    /// The object has changed since it was read: our view is stale, and nothing was written.
    #[error("the object has changed meanwhile")]
    Conflict,
    /// There is no such object.
    #[error("the object is gone")]
    Gone,
    /// Kubernetes refuses the write: a bug here, a missing right, or an older CRD.
    #[error("Kubernetes refuses the write: {0}")]
    Refused(String),
    /// The API server could not be asked now; the write may have been done.
    #[error("the Kubernetes API does not answer: {0}")]
    Unavailable(String),
    /// This process does not lead any more, so nothing was sent.
    #[error("this process does not lead; nothing was written")]
    NotLeading,
}

impl StoreError {
    /// A stable `PascalCase` name for metrics and logs.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Conflict => "Conflict",
            Self::Gone => "Gone",
            Self::Refused(_) => "KubernetesRefused",
            Self::Unavailable(_) => "KubernetesUnavailable",
            Self::NotLeading => "NotLeading",
        }
    }
}

/// An object as the store has answered it.
#[derive(Debug, Clone)]
pub struct Stored {
    /// The object.
    pub object: RunObject,
    /// When the request for it was sent, on the monotonic clock: at that time or later there was none newer. How long it had waited
    /// for its turn before does not count.
    pub asked_at: Duration,
}

/// The object store. Every call has a deadline of its own.
pub trait Objects: Send + Sync + 'static {
    /// Reads an object, whole and newest.
    fn get(&self, place: &Place) -> impl Future<Output = Result<Option<Stored>, StoreError>> + Send;

    /// Applies a merge patch to the status; the patch carries the `resourceVersion` it was made for.
    fn patch_status(&self, place: &Place, patch: &Value) -> impl Future<Output = Result<Stored, StoreError>> + Send;

    /// Applies a JSON patch to the metadata; its first operation replaces the `resourceVersion` by the one it was made for.
    fn patch_metadata(&self, place: &Place, patch: &Value) -> impl Future<Output = Result<Stored, StoreError>> + Send;

    /// Deletes an object, if it is still this one in this version; else [`StoreError::Conflict`].
    fn delete(
        &self,
        place: &Place,
        uid: &str,
        resource_version: &str,
    ) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Tells an Event. Best effort: terminating namespaces refuse events.
    fn announce(&self, object: &RunObject, announcement: &Announcement) -> impl Future<Output = ()> + Send;
}

/// Databricks, as one namespace's runs see it: its workspaces, calls to them, and the poller.
pub trait Remote: Send + Sync + 'static {
    /// The workspace object of this kind and name, as this namespace's runs see it.
    fn workspace(&self, namespace: &str, kind: WorkspaceKind, name: &str) -> WorkspaceView;

    /// Starts a run. The only call that costs money; never repeated below this line.
    fn start(
        &self,
        namespace: &str,
        pin: &WorkspacePin,
        endpoint: Endpoint,
        body: &str,
        token: &IdempotencyToken,
    ) -> impl Future<Output = Result<Option<RunId>, DatabricksError>> + Send;

    /// Cancels a run.
    fn cancel(
        &self,
        namespace: &str,
        pin: &WorkspacePin,
        run: RunId,
    ) -> impl Future<Output = Result<(), DatabricksError>> + Send;

    /// Reads a run now, with the history of its repairs, beside the poller's schedule.
    fn read_run(
        &self,
        namespace: &str,
        pin: &WorkspacePin,
        run: RunId,
    ) -> impl Future<Output = Result<FreshRun, DatabricksError>> + Send;

    /// Repairs a run whose last repair is `after`. Refused by Databricks when there has been another since.
    fn repair(
        &self,
        namespace: &str,
        pin: &WorkspacePin,
        run: RunId,
        after: Option<RepairId>,
        body: &str,
    ) -> impl Future<Output = Result<RepairId, DatabricksError>> + Send;

    /// Reads what a task left behind.
    fn output(
        &self,
        namespace: &str,
        pin: &WorkspacePin,
        task: RunId,
    ) -> impl Future<Output = Result<RunOutput, DatabricksError>> + Send;

    /// Finds the job of a name.
    fn find_job(
        &self,
        namespace: &str,
        pin: &WorkspacePin,
        name: &str,
    ) -> impl Future<Output = Result<JobMatch, DatabricksError>> + Send;

    /// Finds runs that look like the one in doubt, started since this epoch millisecond.
    fn find_runs(
        &self,
        namespace: &str,
        pin: &WorkspacePin,
        target: &RunTarget,
        since: i64,
    ) -> impl Future<Output = Result<Vec<FoundRun>, DatabricksError>> + Send;

    /// Has a run followed by the poller, or goes on doing so.
    fn follow(&self, place: &Place, pin: &WorkspacePin, run: RunId, how: Following);

    /// Has no run of this object followed.
    fn forget(&self, place: &Place);

    /// Has the run read again soon.
    fn poke(&self, place: &Place);

    /// What was last read of the run, and the number of that reading.
    fn reading(&self, place: &Place, run: RunId) -> Option<(Reading, u64)>;

    /// Says that a reading has been dealt with.
    fn acknowledge(&self, place: &Place, reading: u64);

    /// Says that the status tells all that a reading did, so that it need not be kept: this is what is on record.
    fn put_away(&self, place: &Place, reading: u64, recorded: Recorded);
}

/// What a poller's snapshot says, in the words of a decision.
#[must_use]
pub fn reading_of(snapshot: &Snapshot) -> Reading {
    let (seen, absent) = (snapshot.seen.as_ref(), snapshot.absent);
    Reading {
        run: seen.map(|seen| Arc::clone(&seen.run)),
        read_at: seen.map(|seen| seen.at.monotonic).unwrap_or_default(),
        server_time: seen.and_then(|seen| seen.server_time).and_then(|time| Timestamp::try_from(time).ok()),
        not_found: absent.map_or(0, |absent| absent.answers),
        first_not_found: absent.map(|absent| absent.first.monotonic).unwrap_or_default(),
        last_not_found: absent.map(|absent| absent.last.monotonic).unwrap_or_default(),
    }
}

/// How often a run is read: from the first to the last of these pauses, doubling.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// The first pause, in seconds.
    pub initial_seconds: u32,
    /// The longest pause, in seconds.
    pub max_seconds: u32,
}

/// How a run is followed.
#[derive(Debug, Clone, Copy)]
pub struct Following {
    /// How often it is read.
    pub pace: Pace,
    /// What the status tells of it; without this it is read at once.
    pub recorded: Option<Recorded>,
    /// The trace that its calls belong to, where there are traces.
    pub trace: Option<Trace>,
}

/// Time.
pub trait Clock: Send + Sync + 'static {
    /// This instant on both clocks.
    fn now(&self) -> Now;
}
