//! How the operator handles a run beyond starting it, in the words of `batch/v1` Job: what an edit of a live run does and
//! when a failed run is tried again. None of it is part of the run key.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::admission;

// Plain comments on variants in this file: a doc comment would turn the schema's `enum` into `oneOf`.
/// What an edit of the request does while a run is live.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[allow(missing_docs, reason = "described at the field, for kubectl explain")]
pub enum OnSpecChange {
    #[default]
    Wait,
    Replace,
}

/// When a failed run is tried again, and how.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct FailurePolicy {
    /// Rules, tried in order for each task that caused the failure; the first that matches decides for that task. Where
    /// none matches, the operator's own table does: it retries failures of the platform and of capacity, and nothing
    /// else. If one of the tasks says `Fail`, the run has failed; else one `Retry` starts the whole run again.
    /// Example: `[{action: Retry, onTermination: {operator: In, codes: [CLOUD_FAILURE]}}]`.
    #[schemars(length(min = 1, max = 20))]
    pub rules: Vec<FailurePolicyRule>,
}

/// One rule: what is done with a failure that all its conditions match.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = admission::FAILURE_POLICY_RULE))]
pub struct FailurePolicyRule {
    /// `Retry` starts the run again; `Repair` re-runs the failed tasks, and those that depend on them, within the same run
    /// (runNow only); `Fail` ends it. Both count against `backoffLimit`.
    pub action: FailurePolicyAction,
    /// Matches by Databricks' termination code of the task, or of the run where the task has none.
    /// Example: `{operator: In, codes: [CLOUD_FAILURE, CLUSTER_ERROR]}`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub on_termination: Option<TerminationMatch>,
    /// Matches these tasks, by `task_key`. Example: `[load]`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 100), inner(length(min = 1, max = 100)))]
    pub on_task_keys: Vec<String>,
    /// Matches Databricks' `result_state` of the task, or of the run where no task is to blame. Example: `[TIMEDOUT]`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 20), inner(length(min = 1, max = 100)))]
    pub on_result_states: Vec<String>,
}

/// What is done with a failure.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[allow(missing_docs, reason = "described at the field, for kubectl explain")]
pub enum FailurePolicyAction {
    Retry,
    Repair,
    #[default]
    Fail,
}

/// Termination codes, or all but these.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TerminationMatch {
    /// `In` matches the codes listed, `NotIn` every other. A failure without a code is matched by neither.
    pub operator: SetOperator,
    /// Databricks' `termination_details.code`. Example: `[CLOUD_FAILURE]`.
    #[schemars(length(min = 1, max = 50), inner(length(min = 1, max = 100)))]
    pub codes: Vec<String>,
}

/// How a value relates to a list.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[allow(missing_docs, reason = "described at the field, for kubectl explain")]
pub enum SetOperator {
    #[default]
    In,
    NotIn,
}
