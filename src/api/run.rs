//! `DatabricksRun`: one object, one run of a Databricks job. Two Rust types stand for the one kind: [`DatabricksRun`]
//! makes the CRD, [`RunObject`] is what is watched, with its spec as raw JSON: one object whose spec cannot be read must
//! never break the watch of all others, and it is still followed, cancelled and released.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use thiserror::Error;

use super::admission;
use super::body::{run_now::RunNow, submit::Submit};
use super::run_control::{FailurePolicy, OnSpecChange};
use super::status::DatabricksRunStatus;
use super::workspace::WorkspaceKind;

/// The finalizer that holds a run's object until its run has ended.
pub const FINALIZER: &str = "dbrun.dev/run";
/// Set by the operator before the first start: `<uid>/<serial>`. An object that carries another object's uid here was
/// restored or copied, and starts nothing.
pub const START_ANNOTATION: &str = "dbrun.dev/start";
/// Set by users: any new token asks for one more run; a token present at creation belongs to the first run.
pub const RERUN_ANNOTATION: &str = "dbrun.dev/rerun-requested-at";
/// Set by users: any new token cancels the request that is under way, once.
pub const CANCEL_ANNOTATION: &str = "dbrun.dev/cancel-requested-at";
/// Set by users: any new token re-runs what failed of a finished run of a saved job.
pub const REPAIR_ANNOTATION: &str = "dbrun.dev/repair-requested-at";

/// Which run is wanted, and what to do with it. It may be edited at any time: a changed request (workspaceRef, runNow,
/// submit, jobName, rerunToken) starts a new run; changes to anything else never start one.
#[allow(clippy::duplicated_attributes, reason = "the lint takes the keys of all columns for one list")]
#[derive(CustomResource, Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "dbrun.dev",
    version = "v1alpha1",
    kind = "DatabricksRun",
    plural = "databricksruns",
    singular = "databricksrun",
    shortname = "dbrun",
    category = "databricks",
    namespaced,
    status = "DatabricksRunStatus",
    derive = "PartialEq",
    doc = "One run of a Databricks job: of a saved job (runNow) or a one-off (submit). The operator starts it exactly once, follows it and writes its verdict, outputs or cause of failure into status. Wait for it with `kubectl wait dbrun/NAME --for=condition=Finished`, then read the condition Succeeded.",
    selectable = ".status.state",
    selectable = ".spec.workspaceRef.name",
    printcolumn(
        name = "Job",
        type_ = "string",
        json_path = ".status.displayName",
        description = "Name or id of the job, or name of the one-off run."
    ),
    printcolumn(
        name = "State",
        type_ = "string",
        json_path = ".status.state",
        description = "Where the run is, in one word, for people."
    ),
    printcolumn(
        name = "Result",
        type_ = "string",
        json_path = ".status.resultState",
        description = "Databricks' result state."
    ),
    printcolumn(
        name = "Run ID",
        type_ = "string",
        json_path = ".status.runId",
        description = "Databricks' id of the run."
    ),
    printcolumn(
        name = "Attempt",
        type_ = "integer",
        json_path = ".status.attempt",
        description = "Number of the attempt within this request, from 1."
    ),
    printcolumn(
        name = "Duration",
        type_ = "string",
        json_path = ".status.duration",
        description = "How long the finished run took."
    ),
    printcolumn(
        name = "Age",
        type_ = "date",
        json_path = ".metadata.creationTimestamp",
        description = "Age of the object."
    ),
    printcolumn(
        name = "URL",
        type_ = "string",
        json_path = ".status.runPageUrl",
        priority = 1,
        description = "The run's page in Databricks."
    ),
    printcolumn(
        name = "Message",
        type_ = "string",
        json_path = r#".status.conditions[?(@.type=="Ready")].message"#,
        priority = 1,
        description = "What is going on, or why the run ended as it did."
    )
)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = admission::RUN_SPEC))]
pub struct DatabricksRunSpec {
    /// The workspace object that the run is sent to: a DatabricksWorkspace in this namespace, or a
    /// ClusterDatabricksWorkspace that admits this namespace. Example: `{name: prod}`.
    pub workspace_ref: WorkspaceRef,
    /// Run a saved job: the body of `POST /api/2.1/jobs/run-now` as Databricks documents it, in `snake_case`, sent as it is
    /// written here. Exactly one of `runNow` and `submit`. With `jobName` it may be `{}`.
    /// Example: `{job_id: 123, job_parameters: {day: "2026-11-23"}}`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run_now: Option<RunNowBody>,
    /// Run something once, without a saved job: the body of `POST /api/2.1/jobs/runs/submit` as Databricks documents it,
    /// in `snake_case`, sent as it is written here. Exactly one of `runNow` and `submit`.
    /// Example: `{run_name: one-off, tasks: [{task_key: main, notebook_task: {notebook_path: /Shared/etl}}]}`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub submit: Option<SubmitBody>,
    /// Name of the saved job, instead of `runNow.job_id`: exact, case-sensitive, and carried by one job only. It is looked
    /// up once, when a run starts. Example: `nightly-etl`, beside `runNow: {}`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 4096))]
    pub job_name: Option<String>,
    /// Any text; changing it asks for one more run, as the annotation `dbrun.dev/rerun-requested-at` does, but from the
    /// manifest. Part of the run key. Example: `"2"`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub rerun_token: Option<String>,
    /// What an edit of the request does while a run is live: `Wait` (the default) starts the newest request when that run
    /// has ended; `Replace` cancels the run first. An edit that is undone in time does nothing.
    #[serde(default)]
    pub on_spec_change: OnSpecChange,
    /// While true nothing starts, and a live run is cancelled; set to false again, the run starts anew, with deadlines and
    /// retries counted from the beginning. Default: false.
    #[serde(default)]
    pub suspend: bool,
    /// While true nothing starts, and a live run is cancelled for good. Set to false again, only a new request starts a
    /// run. Default: false.
    #[serde(default)]
    pub cancel: bool,
    /// Seconds from the request until a task executes, queue and start of the cluster included; then the run is cancelled
    /// and has timed out (`StartingDeadlineExceeded`). Suspension resets it, and so does a repair that somebody asks
    /// for. Default: none. Example: 3600.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub starting_deadline_seconds: Option<i64>,
    /// Seconds from the first start of a run, retries and the waits between them included; then the run is cancelled and
    /// has timed out (`DeadlineExceeded`). Suspension resets it, and so does a repair that somebody asks for. Default:
    /// none. Example: 7200.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub active_deadline_seconds: Option<i64>,
    /// How many further attempts follow a failed one, where `failurePolicy` asks for them; a repair is one. The waits
    /// before them are 10 s, 20 s, 40 s and so on, at most 6 minutes. Default: 0. Example: 2.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 1000))]
    pub backoff_limit: Option<i32>,
    /// Which failures are worth a further attempt. Without it those of the platform and of capacity are; never failures
    /// of user code or configuration, and never a cancellation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure_policy: Option<FailurePolicy>,
    /// Seconds after which a finished object deletes itself; the run stays in Databricks. Never done to an object that a
    /// GitOps tool would put back (event `TTLSkipped`). Default: none, the object is kept. Example: 86400.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub ttl_seconds_after_finished: Option<i64>,
    /// What becomes of a live run when this object is deleted: `Cancel` (the default) cancels it and waits for its end;
    /// `Orphan` lets it go on in Databricks, unwatched.
    #[serde(default)]
    pub deletion_policy: DeletionPolicy,
    /// How often the run's state is read. Never starts a new run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub polling: Option<Polling>,
    /// How much of the tasks' output is kept in status. Never starts a new run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output: Option<OutputSettings>,
}

/// A reference to a workspace object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct WorkspaceRef {
    /// Kind of the workspace object: `DatabricksWorkspace` (the default), one in this namespace, or
    /// `ClusterDatabricksWorkspace`, one of the whole cluster that admits this namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<WorkspaceKind>,
    /// Name of the workspace object. Example: `prod`.
    #[schemars(length(min = 1, max = 253), extend("x-kubernetes-validations" = admission::OBJECT_NAME))]
    pub name: String,
}

impl WorkspaceRef {
    /// Its kind, the default where none is written.
    #[must_use]
    pub fn kind(&self) -> WorkspaceKind {
        self.kind.unwrap_or_default()
    }
}

/// The body of run-now, as the user wrote it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct RunNowBody(#[schemars(with = "RunNow")] pub Map<String, Value>);

/// The body of runs/submit, as the user wrote it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct SubmitBody(#[schemars(with = "Submit")] pub Map<String, Value>);

// Plain comments on the variants: a doc comment would turn the schema's `enum` into `oneOf`.
/// What becomes of a live run when its object is deleted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[allow(missing_docs, reason = "described at the field, for kubectl explain")]
pub enum DeletionPolicy {
    #[default]
    Cancel,
    Orphan,
}

/// How often a run's state is read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = admission::POLLING))]
pub struct Polling {
    /// Seconds between the first readings; the interval then grows to `maxSeconds`. Default: 5. Example: 10.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 3600))]
    pub initial_seconds: Option<i32>,
    /// Seconds between readings at most. Default: 60. Example: 300 for a run of many hours.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 3600))]
    pub max_seconds: Option<i32>,
}

/// How much of the tasks' output is kept.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct OutputSettings {
    /// Bytes of each task's result, error, trace and logs in status, at most. 0 keeps results and logs out of status.
    /// Default: 4096. Example: 16384.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 16_384))]
    pub max_bytes: Option<i32>,
}

/// A `DatabricksRun` as it is watched: metadata and status read strictly, the spec kept as it came.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, kube::Resource)]
#[resource(inherit = "DatabricksRun")]
pub struct RunObject {
    /// Name, uid, generation, finalizers, annotations.
    pub metadata: ObjectMeta,
    /// The spec as raw JSON; see [`RunObject::spec`].
    #[serde(default)]
    pub spec: Value,
    /// What the operator wrote. Never take its presence for "seen": the schema's default makes one with
    /// `observedGeneration: -1`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<DatabricksRunStatus>,
}

/// A spec that this operator cannot read: written past admission, or by a newer version.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("spec cannot be read ({0}); correct it, or install the operator and the CRDs in one version")]
pub struct SpecError(pub(super) String);

impl RunObject {
    /// The spec, decoded. Fields that nobody knows are passed over.
    pub fn spec(&self) -> Result<DatabricksRunSpec, SpecError> {
        decode(&self.spec)
    }

    /// Whether our finalizer is on the object.
    #[must_use]
    pub fn is_held(&self) -> bool {
        self.metadata.finalizers.iter().flatten().any(|finalizer| finalizer == FINALIZER)
    }

    /// The value of an annotation.
    #[must_use]
    pub fn annotation(&self, key: &str) -> Option<&str> {
        self.metadata.annotations.as_ref()?.get(key).map(String::as_str)
    }
}

/// Decodes a raw spec; an error names the field.
pub(super) fn decode<T: serde::de::DeserializeOwned>(raw: &Value) -> Result<T, SpecError> {
    serde_path_to_error::deserialize(raw).map_err(|error| SpecError(error.to_string()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn object(spec: &Value) -> RunObject {
        serde_json::from_value(json!({"metadata": {"name": "a"}, "spec": spec})).unwrap()
    }

    #[test]
    fn a_spec_is_read_with_its_body_as_it_was_written() {
        let body = json!({"job_id": "9007199254740993", "tomorrow": {"z": 1, "a": null}});
        let spec =
            object(&json!({"workspaceRef": {"name": "prod"}, "runNow": body, "fromTomorrow": true})).spec().unwrap();
        assert_eq!(serde_json::to_value(spec.run_now).unwrap(), body);
        assert_eq!(spec.deletion_policy, DeletionPolicy::Cancel);
    }

    #[test]
    fn an_unreadable_spec_breaks_nothing_and_names_its_field() {
        for (spec, field) in [
            (json!({"workspaceRef": {"name": 5}}), "workspaceRef.name: "),
            (json!({"workspaceRef": {"name": "a", "kind": "Workspace"}}), "workspaceRef.kind: "),
            (json!({"workspaceRef": {"name": "a"}, "deletionPolicy": "Keep"}), "deletionPolicy: "),
            (json!({"workspaceRef": {"name": "a"}, "polling": {"maxSeconds": "60"}}), "polling.maxSeconds: "),
            (json!("text"), "invalid type"),
            (json!(null), "invalid type"),
        ] {
            let error = object(&spec).spec().unwrap_err().to_string();
            assert!(error.starts_with(&format!("spec cannot be read ({field}")), "{error}");
        }
    }

    #[test]
    fn an_object_without_spec_can_still_be_released() {
        let metadata = json!({"name": "a", "finalizers": ["other", FINALIZER], "annotations": {RERUN_ANNOTATION: "1"}});
        let object: RunObject = serde_json::from_value(json!({"metadata": metadata})).unwrap();
        assert!(object.is_held() && object.spec().is_err());
        assert_eq!(object.annotation(RERUN_ANNOTATION), Some("1"));
        assert_eq!(object.annotation(START_ANNOTATION), None);
    }
}
