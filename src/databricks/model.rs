//! What Databricks answers, as far as the operator reads it. Unknown fields are ignored, unknown values of an enum are
//! kept as text (`Other`): new states and codes appear without notice, and a closed list has broken every peer once.
//! Times are epoch milliseconds and durations milliseconds, as on the wire; 0 means "not yet".

use serde::Deserialize;

use super::bounded;
use super::ids::{JobId, RepairId, RunId};

/// A text enum that stays open: what is not in the list is kept as it came.
macro_rules! open_enum {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $text:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash)]
        pub enum $name {
            $($(#[$variant_doc])* $variant,)+
            /// A value this version does not know, as Databricks wrote it.
            Other(Box<str>),
        }

        impl $name {
            /// Every value this version knows.
            pub const KNOWN: &'static [Self] = &[$(Self::$variant,)+];

            /// Databricks' own spelling.
            #[must_use]
            pub fn as_str(&self) -> &str {
                match self {
                    $(Self::$variant => $text,)+
                    Self::Other(text) => text,
                }
            }
        }

        impl From<&str> for $name {
            fn from(text: &str) -> Self {
                match text {
                    $($text => Self::$variant,)+
                    other => Self::Other(other.into()),
                }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                bounded::seen(deserializer, |text| Self::from(bounded::word(text)))
            }
        }
    };
}

open_enum! {
    /// `state.life_cycle_state`, the older of the two descriptions of where a run is.
    LifeCycleState {
        /// Waits for capacity, up to 48 hours.
        Queued = "QUEUED",
        /// Its cluster or context is being prepared.
        Pending = "PENDING",
        /// Waits for a task it depends on.
        Blocked = "BLOCKED",
        /// Executes.
        Running = "RUNNING",
        /// A task failed and Databricks itself will repeat it.
        WaitingForRetry = "WAITING_FOR_RETRY",
        /// The work has ended and is being cleaned up; the result may still change.
        Terminating = "TERMINATING",
        /// Ended; `result_state` tells how.
        Terminated = "TERMINATED",
        /// Ended without running: a concurrency limit or a condition. Has no result.
        Skipped = "SKIPPED",
        /// Ended by any failure, the user's own exception included.
        InternalError = "INTERNAL_ERROR",
    }
}

open_enum! {
    /// `state.result_state`: how a run ended.
    ResultState {
        /// Everything succeeded.
        Success = "SUCCESS",
        /// The leaf tasks succeeded, others failed.
        SuccessWithFailures = "SUCCESS_WITH_FAILURES",
        /// Failed.
        Failed = "FAILED",
        /// Ran into its own `timeout_seconds`.
        TimedOut = "TIMEDOUT",
        /// Cancelled by a person or a program.
        Canceled = "CANCELED",
        /// Skipped: the job's `max_concurrent_runs` was reached.
        MaximumConcurrentRunsReached = "MAXIMUM_CONCURRENT_RUNS_REACHED",
        /// A condition left it out.
        Excluded = "EXCLUDED",
        /// Not run because of a failure before it.
        UpstreamFailed = "UPSTREAM_FAILED",
        /// Not run because of a cancellation before it.
        UpstreamCanceled = "UPSTREAM_CANCELED",
        /// Switched off in the job.
        Disabled = "DISABLED",
    }
}

open_enum! {
    /// `status.state`, the newer description; every end is TERMINATED.
    StatusState {
        /// Waits for a task it depends on.
        Blocked = "BLOCKED",
        /// Its compute is being prepared.
        Pending = "PENDING",
        /// Waits for capacity.
        Queued = "QUEUED",
        /// Executes.
        Running = "RUNNING",
        /// Being cleaned up; `termination_details` is already there.
        Terminating = "TERMINATING",
        /// Ended.
        Terminated = "TERMINATED",
        /// Seen on real workspaces, undocumented: waits for a repetition.
        Waiting = "WAITING",
    }
}

open_enum! {
    /// `status.termination_details.type`: whose fault it was.
    TerminationType {
        /// Nobody's.
        Success = "SUCCESS",
        /// User code or configuration.
        ClientError = "CLIENT_ERROR",
        /// The cloud provider.
        CloudFailure = "CLOUD_FAILURE",
        /// The Databricks platform.
        InternalError = "INTERNAL_ERROR",
    }
}

open_enum! {
    /// `status.termination_details.code`: why it ended.
    TerminationCode {
        /// Succeeded.
        Success = "SUCCESS",
        /// Succeeded, though some tasks failed.
        SuccessWithFailures = "SUCCESS_WITH_FAILURES",
        /// User code failed.
        RunExecutionError = "RUN_EXECUTION_ERROR",
        /// A person or a program cancelled it.
        UserCanceled = "USER_CANCELED",
        /// The platform cancelled it, at a time limit for example.
        Canceled = "CANCELED",
        /// Left out by a condition.
        Skipped = "SKIPPED",
        /// Switched off.
        Disabled = "DISABLED",
        /// Too many runs of the job.
        MaxConcurrentRunsExceeded = "MAX_CONCURRENT_RUNS_EXCEEDED",
        /// The job's queue is full.
        MaxJobQueueSizeExceeded = "MAX_JOB_QUEUE_SIZE_EXCEEDED",
        /// Too many runs in the workspace.
        WorkspaceRunLimitExceeded = "WORKSPACE_RUN_LIMIT_EXCEEDED",
        /// Too many cluster requests.
        ClusterRequestLimitExceeded = "CLUSTER_REQUEST_LIMIT_EXCEEDED",
        /// The shared cluster is full.
        MaxSparkContextsExceeded = "MAX_SPARK_CONTEXTS_EXCEEDED",
        /// The cloud provider failed.
        CloudFailure = "CLOUD_FAILURE",
        /// The platform failed.
        InternalError = "INTERNAL_ERROR",
        /// The Spark driver failed.
        DriverError = "DRIVER_ERROR",
        /// The cluster failed.
        ClusterError = "CLUSTER_ERROR",
        /// Somebody ended the shared cluster.
        ClusterTerminatedByUser = "CLUSTER_TERMINATED_BY_USER",
        /// Storage could not be read or written.
        StorageAccessError = "STORAGE_ACCESS_ERROR",
        /// The Git repository could not be had.
        RepositoryCheckoutFailed = "REPOSITORY_CHECKOUT_FAILED",
        /// A change in Spark; Databricks repeats it with a mitigation.
        BreakingChange = "BREAKING_CHANGE",
        /// The cluster specification is wrong.
        InvalidClusterRequest = "INVALID_CLUSTER_REQUEST",
        /// The run's configuration is wrong.
        InvalidRunConfiguration = "INVALID_RUN_CONFIGURATION",
        /// Something the run names does not exist.
        ResourceNotFound = "RESOURCE_NOT_FOUND",
        /// The run's identity lacks a right.
        UnauthorizedError = "UNAUTHORIZED_ERROR",
        /// A library could not be installed.
        LibraryInstallationError = "LIBRARY_INSTALLATION_ERROR",
        /// The feature is off in this workspace.
        FeatureDisabled = "FEATURE_DISABLED",
        /// The budget policy's limit was reached.
        BudgetPolicyLimitExceeded = "BUDGET_POLICY_LIMIT_EXCEEDED",
    }
}

/// The older description of a run's or a task's state. Every field may be missing.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, Deserialize)]
#[serde(default)]
pub struct RunState {
    /// Where it is.
    pub life_cycle_state: Option<LifeCycleState>,
    /// How it ended; absent while it runs and for SKIPPED.
    pub result_state: Option<ResultState>,
    /// Free text for people.
    #[serde(deserialize_with = "bounded::text")]
    pub state_message: Option<String>,
    /// Why it is queued.
    #[serde(deserialize_with = "bounded::text")]
    pub queue_reason: Option<String>,
}

/// The newer description of a run's or a task's state.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, Deserialize)]
#[serde(default)]
pub struct RunStatus {
    /// Where it is.
    pub state: Option<StatusState>,
    /// Why it is queued.
    pub queue_details: Option<Box<QueueDetails>>,
    /// Why it ended; there from TERMINATING on.
    pub termination_details: Option<Box<TerminationDetails>>,
}

/// Why a run waits in the queue.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, Deserialize)]
#[serde(default)]
pub struct QueueDetails {
    /// For example `MAX_CONCURRENT_RUNS_REACHED`.
    #[serde(deserialize_with = "bounded::text")]
    pub code: Option<String>,
    /// Free text for people.
    #[serde(deserialize_with = "bounded::text")]
    pub message: Option<String>,
}

/// Why a run ended.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, Deserialize)]
#[serde(default)]
pub struct TerminationDetails {
    /// The cause.
    pub code: Option<TerminationCode>,
    /// Whose fault it was.
    #[serde(rename = "type")]
    pub kind: Option<TerminationType>,
    /// Free text for people.
    #[serde(deserialize_with = "bounded::text")]
    pub message: Option<String>,
}

/// A job run, as `runs/get` tells it with all pages put together.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Run {
    /// The run's id.
    pub run_id: RunId,
    /// The job's id; one-off runs have a hidden one.
    #[serde(default)]
    pub job_id: Option<JobId>,
    /// The job's name or the one-off run's `run_name`.
    #[serde(default, deserialize_with = "bounded::text")]
    pub run_name: Option<String>,
    /// Link to the run's page, in Databricks' legacy form.
    #[serde(default, deserialize_with = "bounded::text")]
    pub run_page_url: Option<String>,
    /// The older description of the state.
    #[serde(default)]
    pub state: Option<RunState>,
    /// The newer description of the state.
    #[serde(default)]
    pub status: Option<RunStatus>,
    /// Epoch milliseconds of the start.
    #[serde(default)]
    pub start_time: i64,
    /// Epoch milliseconds of the end; 0 while it runs.
    #[serde(default)]
    pub end_time: i64,
    /// Milliseconds in the queue.
    #[serde(default)]
    pub queue_duration: i64,
    /// Milliseconds of cluster set-up; 0 for runs of several tasks.
    #[serde(default)]
    pub setup_duration: i64,
    /// Milliseconds of work; 0 for runs of several tasks.
    #[serde(default)]
    pub execution_duration: i64,
    /// Milliseconds of clean-up; 0 for runs of several tasks.
    #[serde(default)]
    pub cleanup_duration: i64,
    /// Milliseconds in all, repairs included.
    #[serde(default)]
    pub run_duration: i64,
    /// The newest attempt of each task, in Databricks' order.
    #[serde(default, deserialize_with = "bounded::list")]
    pub tasks: Vec<RunTask>,
    /// What was run and re-run; asked for with `include_history`.
    #[serde(default, deserialize_with = "bounded::list")]
    pub repair_history: Vec<RepairHistoryItem>,
    /// Where the next page of the answer begins; none of a run with all of them.
    #[serde(default)]
    pub next_page_token: Option<String>,
}

/// One task of a run.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default)]
pub struct RunTask {
    /// The task's own run id: what `runs/get-output` wants.
    pub run_id: Option<RunId>,
    /// The task's key within the job.
    #[serde(deserialize_with = "bounded::key")]
    pub task_key: String,
    /// 0 for the first attempt.
    pub attempt_number: i64,
    /// The older description of the state.
    pub state: Option<RunState>,
    /// The newer description of the state.
    pub status: Option<RunStatus>,
    /// Epoch milliseconds of the start; 0 before.
    pub start_time: i64,
    /// Epoch milliseconds of the end; 0 before.
    pub end_time: i64,
    /// Milliseconds of cluster set-up.
    pub setup_duration: i64,
    /// Milliseconds of work.
    pub execution_duration: i64,
    /// Milliseconds of clean-up.
    pub cleanup_duration: i64,
    /// Link to the task's page.
    #[serde(deserialize_with = "bounded::text")]
    pub run_page_url: Option<String>,
    /// There when the task brings its own new cluster. Only its presence is read.
    #[serde(deserialize_with = "presence", rename = "new_cluster")]
    pub has_new_cluster: bool,
    /// There when the task runs on a job cluster.
    #[serde(deserialize_with = "bounded::text")]
    pub job_cluster_key: Option<String>,
    /// There when the task runs on a cluster that exists already.
    #[serde(deserialize_with = "bounded::text")]
    pub existing_cluster_id: Option<String>,
}

/// One line of a run's history: the original run or a repair of it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, Deserialize)]
#[serde(default)]
pub struct RepairHistoryItem {
    /// The repair's id; the original run has none.
    pub id: Option<RepairId>,
    /// `ORIGINAL` or `REPAIR`.
    #[serde(deserialize_with = "bounded::text", rename = "type")]
    pub kind: Option<String>,
    /// The state of the run at the end of this line.
    pub state: Option<RunState>,
    /// The newer form of it.
    pub status: Option<RunStatus>,
    /// Epoch milliseconds.
    pub start_time: i64,
    /// Epoch milliseconds; 0 while it runs.
    pub end_time: i64,
}

/// What a task left behind, as `runs/get-output` tells it. Pre-signed links and headers are not even read.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default)]
pub struct RunOutput {
    /// What the task failed with.
    pub error: Option<String>,
    /// The stack trace of it; may hold terminal colour codes.
    pub error_trace: Option<String>,
    /// Standard output and error of jar, Python and wheel tasks: the last 5 MB.
    pub logs: Option<String>,
    /// Whether `logs` is not all of it.
    pub logs_truncated: bool,
    /// The value a notebook handed to `dbutils.notebook.exit`.
    pub notebook_output: Option<NotebookOutput>,
}

/// The result of a notebook.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default)]
pub struct NotebookOutput {
    /// The first 5 MB; absent when the notebook never called exit.
    pub result: Option<String>,
    /// Whether `result` is not all of it.
    pub truncated: bool,
}

/// A job as `jobs/list` tells it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Job {
    /// The job's id.
    pub job_id: JobId,
    /// Its settings, of which only the name is read.
    #[serde(default)]
    pub settings: JobSettings,
}

/// The part of a job's settings that the operator reads.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default)]
pub struct JobSettings {
    /// The job's name; names are not unique.
    #[serde(deserialize_with = "bounded::text")]
    pub name: Option<String>,
}

/// Reads whether a field is there without keeping what is in it.
fn presence<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    Option::<serde::de::IgnoredAny>::deserialize(deserializer).map(|value| value.is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_state_is_kept_as_it_came() {
        let run: Run = serde_json::from_str(
            r#"{"run_id":1,"state":{"life_cycle_state":"HIBERNATING"},"status":{"state":"DREAMING"},"new_field":[]}"#,
        )
        .unwrap();
        assert_eq!(run.state.unwrap().life_cycle_state, Some(LifeCycleState::Other("HIBERNATING".into())));
        assert_eq!(run.status.unwrap().state, Some(StatusState::Other("DREAMING".into())));
    }

    #[test]
    fn every_known_value_reads_back_as_itself() {
        for state in LifeCycleState::KNOWN {
            assert_eq!(&LifeCycleState::from(state.as_str()), state);
        }
        for code in TerminationCode::KNOWN {
            assert_eq!(&TerminationCode::from(code.as_str()), code);
        }
    }

    #[test]
    fn of_a_new_cluster_only_the_presence_is_read() {
        let task: RunTask = serde_json::from_str(r#"{"task_key":"a","new_cluster":{"spark_conf":{"k":"v"}}}"#).unwrap();
        assert!(task.has_new_cluster);
        assert!(!serde_json::from_str::<RunTask>(r#"{"task_key":"a"}"#).unwrap().has_new_cluster);
    }
}
