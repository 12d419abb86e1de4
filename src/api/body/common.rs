//! Parts that several bodies and tasks share.

use schemars::JsonSchema;

use crate::api::schema::PassThrough;

/// Whether the run may wait in a queue.
#[derive(Debug, JsonSchema)]
#[schemars(extend("x-kubernetes-preserve-unknown-fields" = true))]
pub struct Queue {
    /// True lets the run wait when the workspace or the job is at its limit of live runs. Example: true.
    pub enabled: bool,
}

/// What a pipeline updates.
#[derive(Debug, JsonSchema)]
#[schemars(extend("x-kubernetes-preserve-unknown-fields" = true))]
pub struct PipelineParams {
    /// True recomputes every table from scratch. Databricks' default: false.
    pub full_refresh: Option<bool>,
    /// Tables to recompute from scratch. Example: `[sales]`.
    pub full_refresh_selection: Option<Vec<String>>,
    /// Tables to update. Example: `[sales, orders]`.
    pub refresh_selection: Option<Vec<String>>,
    /// Flows to update. Example: `[sales_flow]`.
    pub refresh_flow_selection: Option<Vec<String>>,
    /// Streaming flows whose checkpoints are reset. Example: `[sales_flow]`.
    pub reset_checkpoint_selection: Option<Vec<String>>,
}

/// Who gets mail, and when.
#[derive(Debug, JsonSchema)]
#[schemars(extend("x-kubernetes-preserve-unknown-fields" = true))]
pub struct EmailNotifications {
    /// Addresses told at the start. Example: `[data@example.com]`.
    pub on_start: Option<Vec<String>>,
    /// Addresses told of success. Example: `[data@example.com]`.
    pub on_success: Option<Vec<String>>,
    /// Addresses told of failure. Example: `[oncall@example.com]`.
    pub on_failure: Option<Vec<String>>,
    /// Addresses told when a duration rule of `health` is passed. Example: `[oncall@example.com]`.
    pub on_duration_warning_threshold_exceeded: Option<Vec<String>>,
    /// Addresses told when a backlog rule of `health` is passed. Example: `[oncall@example.com]`.
    pub on_streaming_backlog_exceeded: Option<Vec<String>>,
}

/// Which notification destinations are called, and when. Each entry is `{id: …}`, three per event at most.
#[derive(Debug, JsonSchema)]
#[schemars(extend("x-kubernetes-preserve-unknown-fields" = true))]
pub struct WebhookNotifications {
    /// Called at the start. Example: `[{id: 0481e838-0a59-4eff-9541-a4ca6f149574}]`.
    pub on_start: Option<Vec<PassThrough>>,
    /// Called on success. Example: `[{id: 0481e838-0a59-4eff-9541-a4ca6f149574}]`.
    pub on_success: Option<Vec<PassThrough>>,
    /// Called on failure. Example: `[{id: 0481e838-0a59-4eff-9541-a4ca6f149574}]`.
    pub on_failure: Option<Vec<PassThrough>>,
    /// Called when a duration rule of `health` is passed. Example: `[{id: 0481e838-0a59-4eff-9541-a4ca6f149574}]`.
    pub on_duration_warning_threshold_exceeded: Option<Vec<PassThrough>>,
    /// Called when a backlog rule of `health` is passed. Example: `[{id: 0481e838-0a59-4eff-9541-a4ca6f149574}]`.
    pub on_streaming_backlog_exceeded: Option<Vec<PassThrough>>,
}

/// Which notifications are left out.
#[derive(Debug, JsonSchema)]
#[schemars(extend("x-kubernetes-preserve-unknown-fields" = true))]
pub struct NotificationSettings {
    /// True: no notification for skipped runs. Databricks' default: false.
    pub no_alert_for_skipped_runs: Option<bool>,
    /// True: no notification for cancelled runs. Databricks' default: false.
    pub no_alert_for_canceled_runs: Option<bool>,
    /// Of a task, true: notify only when its last retry has failed. Databricks' default: false.
    pub alert_on_last_attempt: Option<bool>,
}

/// When a run counts as unhealthy.
#[derive(Debug, JsonSchema)]
#[schemars(extend("x-kubernetes-preserve-unknown-fields" = true))]
pub struct Health {
    /// The rules. Example: `[{metric: RUN_DURATION_SECONDS, op: GREATER_THAN, value: 3600}]`.
    pub rules: Option<Vec<PassThrough>>,
}
