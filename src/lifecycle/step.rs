//! What a decision can be. One step at a time; each is safe to repeat, so a crash can fall anywhere between two.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::jiff::Timestamp;

use super::bounds::one_line;
use super::report::MAX_MESSAGE;
use super::token::IdempotencyToken;
use crate::api::status::{DatabricksRunStatus, Endpoint, TaskOutput, WorkspacePin};
use crate::databricks::error::Error;
use crate::databricks::ids::{JobId, RepairId, RunId};
use crate::databricks::model::Run;

/// The next thing to do for an object.
#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    /// Write the status, by compare-and-swap, then look again.
    Record(Change),
    /// Write finalizer and annotation, then look again.
    Mark(MetadataChange),
    /// Call Databricks, settle the outcome, then look again.
    Remote(Effect),
    /// Delete the object, if it is still the one that was seen; then announce.
    DeleteSelf(Announcement),
    /// Nothing now; look again after this time, or when something changes.
    Wait(Option<Duration>),
}

/// A new status, and what to announce once it is written.
#[derive(Debug, Clone, PartialEq)]
pub struct Change {
    /// The whole status to be.
    pub status: Box<DatabricksRunStatus>,
    /// Events that tell of it.
    pub announce: Vec<Announcement>,
}

/// A change of metadata. Only our own finalizer and annotation are ever touched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MetadataChange {
    /// Put our finalizer on and write `dbrun.dev/start: <uid>/<serial>`.
    Hold {
        /// The serial of the intent that comes next, or of the run that lives.
        serial: i64,
    },
    /// Take our finalizer off; the annotation stays.
    Release {
        /// Events to tell before the object is gone.
        announce: Vec<Announcement>,
    },
}

/// An Event on the object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Announcement {
    /// Whether it is a warning.
    pub severity: Severity,
    /// Its reason, from the frozen list.
    pub reason: EventReason,
    /// Its text; Kubernetes refuses more than 1024 bytes.
    pub note: String,
}

impl Announcement {
    /// Something went as it should.
    #[must_use]
    pub fn normal(reason: EventReason, note: &str) -> Self {
        Self { severity: Severity::Normal, reason, note: one_line(note, MAX_MESSAGE) }
    }

    /// Somebody should look.
    #[must_use]
    pub fn warning(reason: EventReason, note: &str) -> Self {
        Self { severity: Severity::Warning, reason, note: one_line(note, MAX_MESSAGE) }
    }
}

/// How bad an event is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    /// As it should be.
    Normal,
    /// Somebody should look.
    Warning,
}

macro_rules! event_reasons {
    ($($(#[$doc:meta])* $name:ident,)+) => {
        /// Reasons of events: API, so this list only grows.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum EventReason {
            $($(#[$doc])* $name,)+
        }

        impl EventReason {
            /// All of them, for the documentation.
            pub const ALL: &'static [Self] = &[$(Self::$name,)+];

            /// The reason's text.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => stringify!($name),)+
                }
            }
        }
    };
}

event_reasons! {
    /// Databricks has acknowledged the run.
    RunSubmitted,
    /// The run executes.
    RunStarted,
    /// The run has succeeded.
    RunSucceeded,
    /// The run has failed, was cancelled, timed out or was skipped, or never came to be.
    RunFailed,
    /// The run has been told to stop.
    RunCanceling,
    /// The run has stopped as told.
    RunCanceled,
    /// The run goes on without an object, because the spec says so or because it could not be cancelled.
    RunOrphaned,
    /// Something is in the way of starting the run.
    RunWaiting,
    /// The request to start the run may have been executed, and Databricks will not say.
    SubmitUnresolved,
    /// The object was restored or copied: nothing is started.
    Restored,
    /// The body has a field nobody knows.
    UnknownField,
    /// The object is suspended: nothing starts, and a live run is cancelled.
    Suspended,
    /// The object is no longer suspended.
    Resumed,
    /// The run has failed and another attempt follows.
    RunRetrying,
    /// The failed tasks of the run are run again.
    RunRepairing,
    /// A repair was asked for that cannot be made.
    RepairRefused,
    /// The object has outlived `ttlSecondsAfterFinished` and is deleted.
    TTLExpired,
    /// The object has outlived `ttlSecondsAfterFinished` and is kept, because a GitOps tool would put it back.
    TTLSkipped,
}

/// A call to Databricks. Every one names the workspace it is for.
#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    /// Find the job of this name.
    FindJob {
        /// What it is needed for: run key and serial. A name is looked up once for each start.
        key: String,
        /// Where.
        pin: WorkspacePin,
        /// The name.
        name: String,
    },
    /// Start the run of the open intent.
    Submit {
        /// The intent's serial.
        serial: i64,
        /// Where.
        pin: WorkspacePin,
        /// By which call.
        endpoint: Endpoint,
        /// The exact body, from the intent.
        body: String,
        /// The token that makes repeating it safe.
        token: IdempotencyToken,
    },
    /// Look for the run of an intent whose answer is in doubt.
    FindRun {
        /// The intent's serial.
        serial: i64,
        /// Where.
        pin: WorkspacePin,
        /// By what.
        target: RunTarget,
        /// Epoch milliseconds from which on it may have started.
        since: i64,
    },
    /// Cancel the run.
    Cancel {
        /// Where.
        pin: WorkspacePin,
        /// Which.
        run: RunId,
    },
    /// Read the run now, with its history: something is about to be decided that must not rest on an older answer.
    ReadRun {
        /// Where.
        pin: WorkspacePin,
        /// Which.
        run: RunId,
    },
    /// Run the failed tasks of the run again.
    Repair {
        /// Where.
        pin: WorkspacePin,
        /// Which.
        run: RunId,
        /// The run's last repair, as written ahead: the guard against a second one.
        after: Option<RepairId>,
        /// The request, as written ahead.
        body: String,
    },
    /// Read what tasks left behind.
    FetchOutputs {
        /// Where.
        pin: WorkspacePin,
        /// Of which run.
        run: RunId,
        /// Which tasks, the most important first.
        tasks: Vec<(String, RunId)>,
    },
}

impl Effect {
    /// Its name, for logs: a body may hold what nobody should read there.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::FindJob { .. } => "FindJob",
            Self::Submit { .. } => "Submit",
            Self::FindRun { .. } => "FindRun",
            Self::Cancel { .. } => "Cancel",
            Self::ReadRun { .. } => "ReadRun",
            Self::Repair { .. } => "Repair",
            Self::FetchOutputs { .. } => "FetchOutputs",
        }
    }
}

/// By what a run is looked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RunTarget {
    /// A run of this job.
    Job(JobId),
    /// A one-off run of this name.
    Name(String),
}

/// What came of an effect.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// Of `FindJob`.
    Job(Result<JobMatch, Error>),
    /// Of `Submit`; a success without run id is a continuous job's.
    Submitted(Result<Option<RunId>, Error>),
    /// Of `FindRun`.
    Runs(Result<Vec<FoundRun>, Error>),
    /// Of `Cancel`.
    Canceled(Result<(), Error>),
    /// Of `ReadRun`.
    Read(Result<FreshRun, Error>),
    /// Of `Repair`.
    Repaired(Result<RepairId, Error>),
    /// Of `FetchOutputs`.
    Outputs(Fetched),
}

impl Outcome {
    /// The lane of the call, and how long our own rate limit held it back, if it did.
    #[must_use]
    pub fn held_back(&self) -> (&'static str, Option<Duration>) {
        let wait = |error: Option<&Error>| match error {
            Some(Error::NotNow(wait)) => Some(*wait),
            _ => None,
        };
        match self {
            Self::Job(outcome) => ("submit", wait(outcome.as_ref().err())),
            Self::Submitted(outcome) => ("submit", wait(outcome.as_ref().err())),
            Self::Runs(outcome) => ("submit", wait(outcome.as_ref().err())),
            Self::Canceled(outcome) => ("cancel", wait(outcome.as_ref().err())),
            Self::Read(outcome) => ("submit", wait(outcome.as_ref().err())),
            Self::Repaired(outcome) => ("submit", wait(outcome.as_ref().err())),
            Self::Outputs(fetched) => ("get-output", fetched.retry_in),
        }
    }
}

/// A run as it was read beside the schedule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FreshRun {
    /// The run, with the history of its repairs.
    pub run: Arc<Run>,
    /// Databricks' own time of the answer.
    pub server_time: Option<Timestamp>,
}

/// What tasks left behind, as far as it could be read.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Fetched {
    /// The tasks that are dealt with, and what they left behind, if anything.
    pub tasks: Vec<(RunId, Option<TaskOutput>)>,
    /// When to ask for the others, if something that passes is in the way.
    pub retry_in: Option<Duration>,
}

/// Jobs of a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JobMatch {
    /// Exactly one.
    One(JobId),
    /// None.
    None,
    /// So many.
    Several(usize),
}

/// A run that looks like the one in doubt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FoundRun {
    /// Its id.
    pub run: RunId,
    /// Whether it has ended.
    pub ended: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_our_own_rate_limit_held_back_is_told_by_lane() {
        let wait = Duration::from_secs(3);
        let held = || Error::NotNow(wait);
        for (outcome, lane) in [
            (Outcome::Job(Err(held())), "submit"),
            (Outcome::Submitted(Err(held())), "submit"),
            (Outcome::Runs(Err(held())), "submit"),
            (Outcome::Canceled(Err(held())), "cancel"),
            (Outcome::Read(Err(held())), "submit"),
            (Outcome::Repaired(Err(held())), "submit"),
            (Outcome::Outputs(Fetched { retry_in: Some(wait), ..Fetched::default() }), "get-output"),
        ] {
            assert_eq!(outcome.held_back(), (lane, Some(wait)), "{outcome:?}");
        }
        for outcome in [Outcome::Canceled(Ok(())), Outcome::Canceled(Err(Error::WrongHost("x".to_owned())))] {
            assert_eq!(outcome.held_back(), ("cancel", None), "{outcome:?}");
        }
    }

    #[test]
    fn an_effect_has_the_name_of_what_it_does() {
        let (pin, run) = (WorkspacePin::default(), RunId(7));
        assert_eq!(Effect::Cancel { pin: pin.clone(), run }.name(), "Cancel");
        assert_eq!(Effect::ReadRun { pin, run }.name(), "ReadRun");
    }
}
