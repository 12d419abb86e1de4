//! Everything a decision is made of: the object, the workspace, the newest reading of the run, what this process has
//! done since, and the time. Borrowed and complete: a decision asks nobody.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;

use super::memory::Memory;
use super::run_key::Version;
use crate::api::conditions::Reason;
use crate::api::run::DatabricksRunSpec;
use crate::api::status::{DatabricksRunStatus, WorkspacePin};
use crate::databricks::ids::RunId;
use crate::databricks::model::Run;

/// This instant on both clocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    /// For what people read and what outlives the process.
    pub wall: Timestamp,
    /// Since the process began; never goes back. Every wait of this process is measured on it.
    pub mono: Duration,
}

impl Now {
    /// Time since a wall-clock instant; zero if it lies ahead.
    #[must_use]
    pub fn since(&self, earlier: Timestamp) -> Duration {
        Duration::try_from(self.wall.duration_since(earlier)).unwrap_or(Duration::ZERO)
    }

    /// This instant as a status holds it.
    #[must_use]
    pub fn stamp(&self) -> Time {
        stamp(self.wall)
    }
}

/// An instant as a status holds it: in whole seconds, as Kubernetes writes times. With more, a status would never equal
/// the one that is read back, and every look would find something to write.
#[must_use]
pub fn stamp(at: Timestamp) -> Time {
    Time(Timestamp::from_second(at.as_second()).unwrap_or(at))
}

/// What this process was told at its start.
#[derive(Debug, Clone)]
pub struct Settings {
    /// This process's name in intents. Unique per start.
    pub holder: String,
    /// Deadline of the POST that starts a run.
    pub submit_timeout: Duration,
    /// How long after its deletion an object is held for a run that cannot be cancelled.
    pub deletion_deadline: Duration,
    /// The versions of the run key that are known; the last is written. Those of the binary, [`VERSIONS`].
    ///
    /// [`VERSIONS`]: super::run_key::VERSIONS
    pub run_keys: &'static [Version],
    /// Labels and annotations that mark, beside the known ones, objects which a tool would put back.
    pub ttl_keep_keys: Vec<String>,
    /// When another process's intent is taken over.
    pub take_over: TakeOver,
}

/// When another process's intent is taken over. Either way nothing is sent before that process's last request has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TakeOver {
    /// When it was seen unchanged for long enough: where there is no leader election, the other may still be at it.
    WhenUnchanged,
    /// At once: whoever decides leads, so nobody else is at it.
    AsLeader,
}

impl Settings {
    /// A start is sent only on a view of the object that was the newest so short a time ago.
    #[must_use]
    pub fn fresh_view(&self) -> Duration {
        self.submit_timeout / 4
    }

    /// After this time no POST of a process that has been taken over is on its way any more: it was sent on a view that
    /// was fresh, and has ended by its deadline.
    #[must_use]
    pub fn others_have_ended(&self) -> Duration {
        self.submit_timeout + self.fresh_view()
    }
}

/// The object, as far as decisions need it.
#[derive(Debug, Clone, Copy)]
pub struct Subject<'a> {
    /// `metadata.uid`.
    pub uid: &'a str,
    /// `metadata.generation`.
    pub generation: i64,
    /// `metadata.deletionTimestamp`.
    pub deletion: Option<Timestamp>,
    /// Whether our finalizer is on it.
    pub held: bool,
    /// The annotation `dbrun.dev/start`.
    pub start_mark: Option<&'a str>,
    /// The annotation `dbrun.dev/rerun-requested-at`.
    pub rerun: Option<&'a str>,
    /// The annotation `dbrun.dev/cancel-requested-at`.
    pub cancel: Option<&'a str>,
    /// The annotation `dbrun.dev/repair-requested-at`.
    pub repair: Option<&'a str>,
    /// The mark of a tool that would put the object back if it were deleted.
    pub kept_by: Option<&'a str>,
    /// The spec, or why it cannot be read. An unreadable one starts nothing, but is followed, cancelled and released.
    pub spec: Result<&'a DatabricksRunSpec, &'a str>,
    /// The status; all empty when there is none.
    pub status: &'a DatabricksRunStatus,
}

/// The workspace object that the run was sent to or is to be sent to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WorkspaceView {
    /// There is no such object.
    Missing,
    /// It is there but cannot be used now.
    NotReady {
        /// Where it points.
        pin: WorkspacePin,
        /// Why not.
        reason: Reason,
        /// Why not, and what to do.
        message: String,
    },
    /// It is there, but the object's namespace is not among those it admits: nothing new is started; what is under way
    /// is followed and cancelled.
    NotAllowed {
        /// Where it points.
        pin: WorkspacePin,
        /// What to do.
        message: String,
    },
    /// It is being looked at for the first time; that takes a moment and is not worth a word.
    Unchecked {
        /// Where it points.
        pin: WorkspacePin,
    },
    /// It can be used.
    Ready {
        /// Where it points.
        pin: WorkspacePin,
    },
    /// The object is gone, but its credentials are still in memory: enough to follow and cancel, not to start.
    Retained {
        /// Where it pointed.
        pin: WorkspacePin,
    },
}

impl WorkspaceView {
    /// Where it points.
    #[must_use]
    pub fn pin(&self) -> Option<&WorkspacePin> {
        match self {
            Self::Missing => None,
            Self::NotReady { pin, .. }
            | Self::NotAllowed { pin, .. }
            | Self::Unchecked { pin }
            | Self::Ready { pin }
            | Self::Retained { pin } => Some(pin),
        }
    }
}

/// Whether two pins are one workspace. The API version may differ: each run keeps the one it was sent with.
#[must_use]
pub fn same_workspace(a: &WorkspacePin, b: &WorkspacePin) -> bool {
    a.host == b.host && a.workspace_id == b.workspace_id
}

/// What the poller last learned of the run.
#[derive(Debug, Clone, Default)]
pub struct Reading {
    /// The newest good answer.
    pub run: Option<Arc<Run>>,
    /// When it was asked for, on the clock of [`Now::mono`]: the answer is of that instant or later.
    pub read_at: Duration,
    /// Databricks' own time of that answer: a live run's deadlines are measured on that clock.
    pub server_time: Option<Timestamp>,
    /// Answers in a row, the newest among them, that the run does not exist.
    pub not_found: u32,
    /// When the first of them came.
    pub first_not_found: Duration,
    /// When the last of them came.
    pub last_not_found: Duration,
}

/// All of it.
#[derive(Debug, Clone, Copy)]
pub struct Observed<'a> {
    /// The object.
    pub subject: Subject<'a>,
    /// Its workspace: the object that the pin names while a start is open or a run is live, else the one the spec names.
    pub workspace: &'a WorkspaceView,
    /// Its run, if there is one and it has been read.
    pub reading: Option<&'a Reading>,
    /// What this process remembers.
    pub memory: &'a Memory,
    /// What this process was told.
    pub settings: &'a Settings,
}

impl<'a> Observed<'a> {
    /// The status.
    #[must_use]
    pub fn status(&self) -> &'a DatabricksRunStatus {
        self.subject.status
    }

    /// What was read of this run; what was read of another, such as the one before it, says nothing.
    #[must_use]
    pub fn reading_of(&self, run: RunId) -> Option<&'a Reading> {
        self.reading.filter(|reading| reading.run.as_ref().is_none_or(|read| read.run_id == run))
    }
}
