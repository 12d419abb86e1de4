//! `DatabricksRun.status`: what the operator knows and remembers of a run. `state`, `displayName` and `duration` are for
//! people's eyes only; the operator decides by the other fields. Ids are strings: they pass 2^53.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::schema;

/// What the operator knows and remembers of the run. Written by the operator alone.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct DatabricksRunStatus {
    /// The generation of the spec that this status speaks of; -1 until the operator has seen the object.
    /// Example: 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = -1))]
    pub observed_generation: Option<i64>,
    /// Where the run is, in one word, for people: `Pending`, `Suspended`, `Queued`, `Running`, `Retrying`,
    /// `Succeeded`, `Failed`, `TimedOut`, `Canceled`, `Skipped` or `Rejected`. Words may be added: programs read the conditions.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
    /// The job's name, the job's id or the one-off run's name, for the Job column. Example: `nightly-etl`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub display_name: Option<String>,
    /// How long the finished run took, for the Duration column. Example: `4m12s`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub duration: Option<String>,
    /// Databricks' id of the newest run. Example: `"455644833"`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run_id: Option<String>,
    /// Databricks' id of the job; one-off runs have a hidden one. Example: `"123"`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub job_id: Option<String>,
    /// Link to the run's page in Databricks. Example: `https://adb-1234.5.azuredatabricks.net/?o=1234#job/123/run/455644833`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run_page_url: Option<String>,
    /// The run key of the newest request: what decides whether a new run is due.
    /// Example: `v1:6c1e…`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run_key: Option<String>,
    /// Number of the attempt within this request, from 1. Example: 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attempt: Option<i32>,
    /// Further attempts of this request so far, repairs included; compared with `backoffLimit`. Example: 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retries: Option<i32>,
    /// Number of the newest intent of this object, never reset: the idempotency token is made of it.
    /// Example: 3.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub serial: Option<i64>,
    /// The workspace that the run was sent to; every later call for the run goes there and nowhere else.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub workspace: Option<WorkspacePin>,
    /// Databricks' `life_cycle_state`, as last written. Example: `RUNNING`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub life_cycle_state: Option<String>,
    /// Databricks' `result_state`. Example: `SUCCESS`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub result_state: Option<String>,
    /// Databricks' `state_message`, cut when long. Example: `In run`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state_message: Option<String>,
    /// Databricks' `termination_details.code`. Example: `RUN_EXECUTION_ERROR`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub termination_code: Option<String>,
    /// Databricks' `termination_details.type`. Example: `CLIENT_ERROR`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub termination_type: Option<String>,
    /// When the operator first saw this request, that it is no longer suspended, or that a repair of it was asked for:
    /// `startingDeadlineSeconds` counts from here. Example: `2026-11-23T04:00:00Z`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requested_at: Option<Time>,
    /// When Databricks acknowledged the first run of this request, or the repair that somebody asked for after its end:
    /// `activeDeadlineSeconds` counts from here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_submit_time: Option<Time>,
    /// When a task of this request was first seen to execute: `startingDeadlineSeconds` is met.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub execution_start_time: Option<Time>,
    /// When Databricks acknowledged the run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub submit_time: Option<Time>,
    /// When the run started, by Databricks' clock.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start_time: Option<Time>,
    /// When the request ended; there exactly when Succeeded is True or False.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub completion_time: Option<Time>,
    /// How long the parts of the run took, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub durations: Option<Durations>,
    /// The run's tasks, failed ones first; at most 100.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 100))]
    pub tasks: Vec<TaskStatus>,
    /// True when the run has more tasks than are listed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tasks_truncated: Option<bool>,
    /// What the tasks left behind, causes of failure first; at most 10.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 10))]
    pub outputs: Vec<TaskOutput>,
    /// The attempts and requests before the newest, newest first; at most 10.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 10))]
    pub attempts: Vec<AttemptRecord>,
    /// The last token of `dbrun.dev/rerun-requested-at` that was honoured or was there at creation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_handled_rerun: Option<String>,
    /// The last token of `dbrun.dev/cancel-requested-at` that was honoured or was there at creation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_handled_cancel: Option<String>,
    /// The last token of `dbrun.dev/repair-requested-at` that was honoured or was there at creation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_handled_repair: Option<String>,
    /// Written before a run is started: what will be sent. Gone once the run id is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub intent: Option<Intent>,
    /// Written before a run is cancelled: why.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cancel: Option<CancelRecord>,
    /// There while a run that failed waits for its next attempt.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backoff: Option<Backoff>,
    /// Written before a run is repaired; there until the repaired run has ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub repair: Option<RepairRecord>,
    /// Why `ttlSecondsAfterFinished` does not delete this object: the mark of the tool that would put it back.
    /// Example: `argocd.argoproj.io/tracking-id`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ttl_skipped_by: Option<String>,
    /// Ready, Succeeded and Finished always; Reconciling and Stalled only while True.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::conditions")]
    pub conditions: Vec<Condition>,
}

/// Where a run was sent, written before it was sent.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct WorkspacePin {
    /// Kind of the workspace object: `DatabricksWorkspace` or `ClusterDatabricksWorkspace`.
    pub kind: String,
    /// Name of the workspace object. Example: `prod`.
    pub name: String,
    /// Its host, `https://…`.
    pub host: String,
    /// Its workspace id, where one was given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub workspace_id: Option<String>,
    /// Version of the Jobs API in every call for the run. Example: `"2.1"`.
    pub jobs_api_version: String,
}

/// A run that is about to be started: everything its request is made of.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Intent {
    /// The run key it serves.
    pub run_key: String,
    /// The attempt it starts, from 1.
    pub attempt: i32,
    /// Its number within the object; the idempotency token is made of the object's uid and this.
    pub serial: i64,
    /// `RunNow` or `Submit`.
    pub endpoint: Endpoint,
    /// The request's body as JSON text, complete but for the idempotency token.
    #[schemars(length(max = 524_288))]
    pub body: String,
    /// The operator process that may send it.
    pub holder: String,
    /// When it was written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created_at: Option<Time>,
    /// When Databricks refused it although an earlier send may have been executed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unresolved_since: Option<Time>,
}

/// The call that starts a run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum Endpoint {
    /// `jobs/run-now`: a run of a saved job.
    #[default]
    RunNow,
    /// `jobs/runs/submit`: a one-off run.
    Submit,
}

/// Why and since when a run is being cancelled.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CancelRecord {
    /// What asked for it.
    pub cause: CancelCause,
    /// Since when.
    pub since: Time,
}

/// What asked for a cancellation. Ordered: a later one outranks those before it, and takes their place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub enum CancelCause {
    /// A run that became known although another had been recorded.
    Superfluous,
    /// The request was changed, and `onSpecChange` is `Replace`.
    Replacement,
    /// The object was suspended.
    Suspension,
    /// `activeDeadlineSeconds` was reached.
    ActiveDeadline,
    /// `startingDeadlineSeconds` was reached.
    StartingDeadline,
    /// `spec.cancel` or the annotation `dbrun.dev/cancel-requested-at` asked for it.
    Cancellation,
    /// The object is being deleted.
    Deletion,
}

/// What follows a failed attempt, and when.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Backoff {
    /// What follows.
    pub action: NextAttempt,
    /// Not before this time.
    pub until: Time,
}

/// A further attempt of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum NextAttempt {
    /// Another run.
    Retry,
    /// The failed tasks of the same run, by `jobs/runs/repair`.
    Repair,
}

/// A repair of the run: everything its request is made of, and what came of it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct RepairRecord {
    /// The run's last repair when this one was decided; absent if it had none. Any other last repair is this one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
    /// Which repair of the request it is, from 1.
    pub n: i32,
    /// The request's body as JSON text, complete but for the run's id and the guard `latest_repair_id`.
    #[schemars(length(max = 524_288))]
    pub body: String,
    /// Databricks' id of the repair, once it is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub repair_id: Option<String>,
}

/// Parts of a run's time, in whole milliseconds as Databricks gives them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Durations {
    /// Milliseconds in the queue. Example: 1200.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub queue_millis: Option<i64>,
    /// Milliseconds of cluster start. Example: 240000.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub setup_millis: Option<i64>,
    /// Milliseconds of work. Example: 60000.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub execution_millis: Option<i64>,
    /// Milliseconds of clean-up. Example: 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cleanup_millis: Option<i64>,
    /// Milliseconds from start to end, repairs included. Example: 301200.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub total_millis: Option<i64>,
}

/// One task of the run, its newest attempt.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct TaskStatus {
    /// The task's key. Example: `main`.
    pub task_key: String,
    /// The task's own run id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run_id: Option<String>,
    /// Databricks' attempt number, from 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attempt_number: Option<i64>,
    /// Databricks' `life_cycle_state`. Example: `TERMINATED`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub life_cycle_state: Option<String>,
    /// Databricks' `result_state`. Example: `SUCCESS`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub result_state: Option<String>,
    /// Databricks' `termination_details.code`. Example: `RUN_EXECUTION_ERROR`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub termination_code: Option<String>,
    /// Databricks' message, cut when long.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// Link to the task's page.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run_page_url: Option<String>,
}

/// What one task left behind.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct TaskOutput {
    /// The task's key. Example: `main`.
    pub task_key: String,
    /// The value a notebook returned; its beginning when cut.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub result: Option<String>,
    /// The error the task failed with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// The stack trace, its beginning and end when cut.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error_trace: Option<String>,
    /// Standard output and error of jar, Python and wheel tasks; the end when cut.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub logs: Option<String>,
    /// True when anything above was cut, by Databricks or here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub truncated: Option<bool>,
    /// Bytes of result, error, trace and logs together as Databricks gave them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub original_bytes: Option<i64>,
}

/// An attempt that is over.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct AttemptRecord {
    /// The run key it served.
    pub run_key: String,
    /// Its number within that request, from 1.
    pub attempt: i32,
    /// Its number within the object.
    pub serial: i64,
    /// Databricks' run id, where one came to be.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run_id: Option<String>,
    /// How it ended, in the words of `state`. Example: `Failed`.
    pub state: String,
    /// The reason of its end, in the words of the conditions. Example: `RunFailed`.
    pub reason: String,
    /// The cause in one sentence, cut when long.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// What came next: `Retry`, `Repair`, `Resumption` or `Request` (a newer one). Words may be added.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub followed_by: Option<String>,
    /// When the run started.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start_time: Option<Time>,
    /// When it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub completion_time: Option<Time>,
}
