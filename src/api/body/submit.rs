//! The body of `jobs/runs/submit`.

use schemars::JsonSchema;

use super::common::{EmailNotifications, Health, NotificationSettings, Queue, WebhookNotifications};
use super::tasks::SubmitTask;
use crate::api::admission;
use crate::api::schema::PassThrough;

/// A one-off run: the body of `POST /api/2.1/jobs/runs/submit`. Fields that are not listed here are sent as well.
#[derive(Debug, JsonSchema)]
#[schemars(extend("x-kubernetes-preserve-unknown-fields" = true, "x-kubernetes-validations" = admission::SUBMIT))]
pub struct Submit {
    /// Name of the run in Databricks. Databricks' default: `Untitled`. Example: `one-off`.
    #[schemars(length(max = 4096))]
    pub run_name: Option<String>,
    /// The tasks, 1 to 1000, each with a `task_key` of its own.
    /// Example: `[{task_key: main, notebook_task: {notebook_path: /Shared/etl}, existing_cluster_id: 1123-abc}]`.
    #[schemars(
        length(max = 1000),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["task_key"])
    )]
    pub tasks: Option<Vec<SubmitTask>>,
    /// Seconds after which Databricks stops the run; 0 means never. Databricks' default: 0. Example: 7200.
    #[schemars(range(min = 0))]
    pub timeout_seconds: Option<i32>,
    /// Whether the run may wait in the queue when the workspace is at its limit of live runs. Example: `{enabled: true}`.
    pub queue: Option<Queue>,
    /// Whom the run acts as: one of `user_name`, `service_principal_name` (an application id) and `group_name`.
    /// Databricks' default: whoever submits it. Example: `{service_principal_name: 3f1e9c2a-0000-4000-8000-1234567890ab}`.
    pub run_as: Option<RunAs>,
    /// Who may see and manage the run. Example: `[{group_name: data, permission_level: CAN_VIEW}]`.
    pub access_control_list: Option<Vec<AccessControl>>,
    /// Serverless environments that tasks name by `environment_key`.
    /// Example: `[{environment_key: default, spec: {environment_version: "4", dependencies: [requests]}}]`.
    pub environments: Option<Vec<Environment>>,
    /// Sets of environment variables that serverless tasks name by `environment_variables_key`.
    /// Example: `[{environment_variables_key: common, spec: {variables: {STAGE: prod}}}]`.
    pub environment_variables: Option<Vec<EnvironmentVariables>>,
    /// The repository that tasks with `source: GIT` read from. Example: `{git_url: "https://github.com/example/etl",
    /// git_provider: gitHub, git_branch: main}`.
    pub git_source: Option<GitSource>,
    /// Who gets mail about the run. Example: `{on_failure: [oncall@example.com]}`.
    pub email_notifications: Option<EmailNotifications>,
    /// Which notification destinations are called. Example: `{on_failure: [{id: 0481e838-0a59-4eff-9541-a4ca6f149574}]}`.
    pub webhook_notifications: Option<WebhookNotifications>,
    /// Which notifications are left out. Example: `{no_alert_for_canceled_runs: true}`.
    pub notification_settings: Option<NotificationSettings>,
    /// When the run counts as unhealthy.
    pub health: Option<Health>,
    /// Id of the budget policy that the run's serverless cost is attributed to.
    pub budget_policy_id: Option<String>,
    /// Id of the usage policy that the run's serverless use is attributed to.
    pub usage_policy_id: Option<String>,
    /// For serverless compute: `PERFORMANCE_OPTIMIZED`, `STANDARD` or `COST_OPTIMIZED`.
    pub performance_target: Option<String>,
    /// With `COST_OPTIMIZED`, how long the run may take: `NO_FLEXIBILITY`, `4h`, `12h`, `24h` or `72h`.
    pub duration_target: Option<String>,
    /// Not accepted: the operator makes its own for every start.
    pub idempotency_token: Option<String>,
    /// Not accepted: runs/submit has no shared job clusters; give each task `new_cluster` or `existing_cluster_id`.
    pub job_clusters: Option<Vec<PassThrough>>,
    /// Not accepted here: belongs in `tasks`.
    pub notebook_task: Option<PassThrough>,
    /// Not accepted here: belongs in `tasks`.
    pub spark_jar_task: Option<PassThrough>,
    /// Not accepted here: belongs in `tasks`.
    pub spark_python_task: Option<PassThrough>,
    /// Not accepted here: belongs in `tasks`.
    pub spark_submit_task: Option<PassThrough>,
    /// Not accepted here: belongs in `tasks`.
    pub python_wheel_task: Option<PassThrough>,
    /// Not accepted here: belongs in `tasks`.
    pub pipeline_task: Option<PassThrough>,
    /// Not accepted here: belongs in `tasks`.
    pub sql_task: Option<PassThrough>,
    /// Not accepted here: belongs in `tasks`.
    pub dbt_task: Option<PassThrough>,
    /// Not accepted here: belongs in `tasks`.
    pub existing_cluster_id: Option<String>,
    /// Not accepted here: belongs in `tasks`.
    pub new_cluster: Option<PassThrough>,
    /// Not accepted here: belongs in `tasks`.
    pub libraries: Option<Vec<PassThrough>>,
}

/// Whom a run acts as.
#[derive(Debug, JsonSchema)]
#[schemars(extend("x-kubernetes-preserve-unknown-fields" = true))]
pub struct RunAs {
    /// A user. Example: `someone@example.com`.
    pub user_name: Option<String>,
    /// A service principal, by its application id. Example: `3f1e9c2a-0000-4000-8000-1234567890ab`.
    pub service_principal_name: Option<String>,
    /// A group. Example: `data`.
    pub group_name: Option<String>,
}

/// One right on the run.
#[derive(Debug, JsonSchema)]
#[schemars(extend("x-kubernetes-preserve-unknown-fields" = true))]
pub struct AccessControl {
    /// A user. Example: `someone@example.com`.
    pub user_name: Option<String>,
    /// A group. Example: `data`.
    pub group_name: Option<String>,
    /// A service principal, by its application id. Example: `3f1e9c2a-0000-4000-8000-1234567890ab`.
    pub service_principal_name: Option<String>,
    /// `CAN_VIEW`, `CAN_MANAGE_RUN`, `CAN_MANAGE` or `IS_OWNER`.
    pub permission_level: Option<String>,
}

/// A serverless environment.
#[derive(Debug, JsonSchema)]
#[schemars(extend("x-kubernetes-preserve-unknown-fields" = true))]
pub struct Environment {
    /// The key that tasks name. Example: `default`.
    #[schemars(length(min = 1, max = 100))]
    pub environment_key: String,
    /// Its contents: `environment_version` or `base_environment`, `dependencies` (lines as for pip),
    /// `java_dependencies`. Example: `{environment_version: "4", dependencies: ["requests==2.32"]}`.
    pub spec: Option<PassThrough>,
}

/// A set of environment variables.
#[derive(Debug, JsonSchema)]
#[schemars(extend("x-kubernetes-preserve-unknown-fields" = true))]
pub struct EnvironmentVariables {
    /// The key that tasks name. Example: `common`.
    #[schemars(length(min = 1, max = 100))]
    pub environment_variables_key: String,
    /// Its contents: `variables` (20 at most) and `files` (5 at most). Example: `{variables: {STAGE: prod}}`.
    pub spec: Option<PassThrough>,
}

/// Where code comes from.
#[derive(Debug, JsonSchema)]
#[schemars(extend("x-kubernetes-preserve-unknown-fields" = true))]
pub struct GitSource {
    /// Address of the repository. Example: `https://github.com/example/etl`.
    #[schemars(length(min = 1, max = 2048))]
    pub git_url: String,
    /// `gitHub`, `gitHubEnterprise`, `gitLab`, `gitLabEnterpriseEdition`, `bitbucketCloud`, `bitbucketServer`,
    /// `azureDevOpsServices` or `awsCodeCommit`.
    #[schemars(length(min = 1, max = 100))]
    pub git_provider: String,
    /// Branch; one of branch, tag and commit. Example: `main`.
    pub git_branch: Option<String>,
    /// Tag; one of branch, tag and commit. Example: `v1.2.0`.
    pub git_tag: Option<String>,
    /// Commit; one of branch, tag and commit. Example: `8d3a1f0`.
    pub git_commit: Option<String>,
    /// Folders to check out. Example: `{patterns: [etl]}`.
    pub sparse_checkout: Option<PassThrough>,
}
