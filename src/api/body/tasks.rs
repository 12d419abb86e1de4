//! One task of runs/submit, and the kinds of task.

use schemars::JsonSchema;

use super::common::{EmailNotifications, Health, NotificationSettings, PipelineParams, WebhookNotifications};
use crate::api::admission;
use crate::api::schema::{JobId, Params, PassThrough};

/// One task: its key, its kind (one `*_task` field), its compute and what it depends on. Fields that are not listed here
/// are sent as well.
#[derive(Debug, JsonSchema)]
#[schemars(extend("x-kubernetes-preserve-unknown-fields" = true, "x-kubernetes-validations" = admission::TASK))]
pub struct SubmitTask {
    /// Name of the task within the run: letters, digits, `_` and `-`. Example: `main`.
    #[schemars(length(min = 1, max = 100), regex(pattern = r"^[\w\-]+$"))]
    pub task_key: String,
    /// What the task is for. Example: `Loads the day's orders`.
    pub description: Option<String>,
    /// Tasks that come first, by their keys. Example: `[{task_key: extract}]`.
    #[schemars(length(max = 1000))]
    pub depends_on: Option<Vec<DependsOn>>,
    /// When the task runs, by how the tasks before it ended: `ALL_SUCCESS` (Databricks' default), `AT_LEAST_ONE_SUCCESS`,
    /// `NONE_FAILED`, `ALL_DONE`, `AT_LEAST_ONE_FAILED` or `ALL_FAILED`.
    pub run_if: Option<String>,
    /// True leaves the task out. Databricks' default: false.
    pub disabled: Option<bool>,
    /// Seconds after which Databricks stops the task; 0 means never. Databricks' default: 0. Example: 3600.
    #[schemars(range(min = 0))]
    pub timeout_seconds: Option<i32>,
    /// How often Databricks repeats the failed task within the run; -1 means for ever. Databricks' default: 0. Example: 2.
    #[schemars(range(min = -1))]
    pub max_retries: Option<i32>,
    /// Milliseconds between repetitions. Databricks' default: 0. Example: 60000.
    #[schemars(range(min = 0))]
    pub min_retry_interval_millis: Option<i32>,
    /// True repeats the task after a timeout too. Databricks' default: false.
    pub retry_on_timeout: Option<bool>,
    /// True switches off Databricks' own repetitions on serverless compute. Databricks' default: false.
    pub disable_auto_optimization: Option<bool>,

    /// Id of a running all-purpose cluster; at most one of this, `new_cluster` and `environment_key`. Starts fastest.
    /// Example: `1123-094512-abc123`.
    #[schemars(length(min = 1, max = 256))]
    pub existing_cluster_id: Option<String>,
    /// A cluster made for this task alone, which usually takes 3 to 8 minutes to start. Any field of Databricks' cluster
    /// specification. Example: `{spark_version: 16.4.x-scala2.12, node_type_id: Standard_D4ds_v5, num_workers: 2}`.
    pub new_cluster: Option<PassThrough>,
    /// Key of one of the run's `environments`: serverless compute. Example: `default`.
    #[schemars(length(min = 1, max = 100))]
    pub environment_key: Option<String>,
    /// Key of one of the run's `environment_variables`, for serverless compute. Example: `common`.
    pub environment_variables_key: Option<String>,
    /// Serverless hardware. Example: `{hardware_accelerator: GPU_1xA10}`.
    pub compute: Option<PassThrough>,
    /// Libraries to install on the cluster, one of `jar`, `whl`, `requirements`, `pypi`, `maven` and `cran` each.
    /// Example: `[{pypi: {package: requests}}]`.
    pub libraries: Option<Vec<PassThrough>>,
    /// Not accepted: runs/submit has no shared job clusters; use `new_cluster` or `existing_cluster_id`.
    pub job_cluster_key: Option<String>,

    /// Runs a notebook.
    pub notebook_task: Option<NotebookTask>,
    /// Runs a Python file.
    pub spark_python_task: Option<SparkPythonTask>,
    /// Runs an entry point of a Python wheel.
    pub python_wheel_task: Option<PythonWheelTask>,
    /// Runs the main class of a jar that is among `libraries`.
    pub spark_jar_task: Option<SparkJarTask>,
    /// Runs spark-submit, on a new cluster only.
    pub spark_submit_task: Option<SparkSubmitTask>,
    /// Runs a SQL query, file, dashboard or alert on a SQL warehouse.
    pub sql_task: Option<SqlTask>,
    /// Runs dbt commands.
    pub dbt_task: Option<DbtTask>,
    /// Updates a pipeline.
    pub pipeline_task: Option<PipelineTask>,
    /// Runs a saved job and waits for it.
    pub run_job_task: Option<RunJobTask>,
    /// Compares two values; tasks that depend on this one name the `outcome` they want.
    pub condition_task: Option<ConditionTask>,
    /// Runs a task once for each input.
    pub for_each_task: Option<ForEachTask>,
    /// Refreshes a dashboard and sends it to subscribers.
    pub dashboard_task: Option<DashboardTask>,
    /// Evaluates an alert.
    pub alert_task: Option<AlertTask>,
    /// Updates a Power BI model.
    pub power_bi_task: Option<PowerBiTask>,
    /// Runs a notebook of a clean room.
    pub clean_rooms_notebook_task: Option<CleanRoomsNotebookTask>,
    /// Runs a job of the dbt platform.
    pub dbt_platform_task: Option<DbtPlatformTask>,
    /// Older name of `dbt_platform_task`, with the fields `connection_resource_name` and `dbt_cloud_job_id`.
    pub dbt_cloud_task: Option<PassThrough>,
    /// Runs a Python function.
    pub python_operator_task: Option<PythonOperatorTask>,
    /// Runs AI work on GPUs (preview), as Databricks documents it.
    pub ai_runtime_task: Option<PassThrough>,
    /// Older name of `ai_runtime_task`.
    pub gen_ai_compute_task: Option<PassThrough>,
    /// Runs an AI function (preview), as Databricks documents it.
    pub ai_function_task: Option<PassThrough>,

    /// Who gets mail about the task. Example: `{on_failure: [oncall@example.com]}`.
    pub email_notifications: Option<EmailNotifications>,
    /// Which notification destinations are called. Example: `{on_failure: [{id: 0481e838-0a59-4eff-9541-a4ca6f149574}]}`.
    pub webhook_notifications: Option<WebhookNotifications>,
    /// Which notifications are left out. Example: `{alert_on_last_attempt: true}`.
    pub notification_settings: Option<NotificationSettings>,
    /// When the task counts as unhealthy.
    pub health: Option<Health>,
}

/// A task that comes first.
#[derive(Debug, JsonSchema)]
#[schemars(extend("x-kubernetes-preserve-unknown-fields" = true))]
pub struct DependsOn {
    /// Its key. Example: `extract`.
    #[schemars(length(min = 1, max = 100))]
    pub task_key: String,
    /// Of a condition task, the outcome that is wanted, in quotes: `"true"` or `"false"`.
    pub outcome: Option<String>,
}

/// Runs a notebook.
#[derive(Debug, JsonSchema)]
#[schemars(extend("x-kubernetes-preserve-unknown-fields" = true))]
pub struct NotebookTask {
    /// Path of the notebook: absolute in the workspace, or relative to the repository with `source: GIT`.
    /// Example: `/Shared/etl`.
    #[schemars(length(min = 1, max = 4096))]
    pub notebook_path: String,
    /// Parameters, read in the notebook with `dbutils.widgets.get`; strings, so quote numbers and dates; 1 MB as JSON at
    /// most. Example: `{day: "2026-11-23"}`.
    pub base_parameters: Option<Params>,
    /// `WORKSPACE` or `GIT`. Databricks' default: `GIT` when the run has a `git_source`, else `WORKSPACE`.
    pub source: Option<String>,
    /// Id of the SQL warehouse (pro or serverless) that runs the notebook's SQL cells. Example: `0123456789abcdef`.
    pub warehouse_id: Option<String>,
}

/// Runs a Python file.
#[derive(Debug, JsonSchema)]
#[schemars(extend("x-kubernetes-preserve-unknown-fields" = true))]
pub struct SparkPythonTask {
    /// The file: `dbfs:/`, `s3:/`, `abfss:/` or `gs:/`, an absolute workspace path, or relative to the repository with
    /// `source: GIT`. Example: `/Workspace/Shared/etl.py`.
    #[schemars(length(min = 1, max = 4096))]
    pub python_file: String,
    /// Arguments. Example: `["--day", "2026-11-23"]`.
    pub parameters: Option<Vec<String>>,
    /// `WORKSPACE` or `GIT`.
    pub source: Option<String>,
}

/// Runs an entry point of a Python wheel.
#[derive(Debug, JsonSchema)]
#[schemars(extend("x-kubernetes-preserve-unknown-fields" = true))]
pub struct PythonWheelTask {
    /// The package. Example: `etl`.
    #[schemars(length(min = 1, max = 4096))]
    pub package_name: String,
    /// The entry point in its metadata, or a function of the package. Example: `main`.
    #[schemars(length(min = 1, max = 4096))]
    pub entry_point: String,
    /// Arguments; not together with `named_parameters`. Example: `["--day", "2026-11-23"]`.
    pub parameters: Option<Vec<String>>,
    /// Arguments by name; not together with `parameters`. Example: `{day: "2026-11-23"}`.
    pub named_parameters: Option<Params>,
}

/// Runs the main class of a jar.
#[derive(Debug, JsonSchema)]
#[schemars(extend("x-kubernetes-preserve-unknown-fields" = true))]
pub struct SparkJarTask {
    /// Full name of the class; its jar stands in the task's `libraries`. Example: `org.example.Etl`.
    pub main_class_name: Option<String>,
    /// Arguments of `main`. Example: `["--day", "2026-11-23"]`.
    pub parameters: Option<Vec<String>>,
    /// Deprecated by Databricks: use `libraries`.
    pub jar_uri: Option<String>,
    /// Deprecated by Databricks.
    pub run_as_repl: Option<bool>,
}

/// Runs spark-submit.
#[derive(Debug, JsonSchema)]
#[schemars(extend("x-kubernetes-preserve-unknown-fields" = true))]
pub struct SparkSubmitTask {
    /// The whole command line, jar and arguments included. Example: `["--class", "org.example.Etl", "dbfs:/etl.jar"]`.
    pub parameters: Option<Vec<String>>,
}

/// Runs SQL.
#[derive(Debug, JsonSchema)]
#[schemars(extend("x-kubernetes-preserve-unknown-fields" = true))]
pub struct SqlTask {
    /// Id of the SQL warehouse (pro or serverless). Example: `0123456789abcdef`.
    #[schemars(length(min = 1, max = 256))]
    pub warehouse_id: String,
    /// Parameters of the query. Example: `{day: "2026-11-23"}`.
    pub parameters: Option<Params>,
    /// A saved query; one of query, file, dashboard and alert. Example: `{query_id: 12345678-aaaa-bbbb-cccc-123456789abc}`.
    pub query: Option<PassThrough>,
    /// A file of SQL; one of query, file, dashboard and alert. Example: `{path: /Workspace/Shared/daily.sql}`.
    pub file: Option<PassThrough>,
    /// A dashboard to refresh; one of query, file, dashboard and alert. Example: `{dashboard_id: 12345678-aaaa}`.
    pub dashboard: Option<PassThrough>,
    /// An alert to evaluate; one of query, file, dashboard and alert. Example: `{alert_id: 12345678-aaaa}`.
    pub alert: Option<PassThrough>,
}

/// Runs dbt.
#[derive(Debug, JsonSchema)]
#[schemars(extend("x-kubernetes-preserve-unknown-fields" = true))]
pub struct DbtTask {
    /// Commands, ten at most, each beginning with `dbt`. Example: `["dbt deps", "dbt run"]`.
    #[schemars(length(max = 100))]
    pub commands: Vec<String>,
    /// Folder of the dbt project. Example: `/Workspace/Shared/dbt`.
    pub project_directory: Option<String>,
    /// Folder of the profile; only without `warehouse_id`.
    pub profiles_directory: Option<String>,
    /// Id of the SQL warehouse. Example: `0123456789abcdef`.
    pub warehouse_id: Option<String>,
    /// Catalog; needs `warehouse_id`. Example: `main`.
    pub catalog: Option<String>,
    /// Schema. Example: `analytics`.
    pub schema: Option<String>,
    /// `WORKSPACE` or `GIT`.
    pub source: Option<String>,
}

/// Updates a pipeline.
#[derive(Debug, JsonSchema)]
#[schemars(extend("x-kubernetes-preserve-unknown-fields" = true))]
pub struct PipelineTask {
    /// Id of the pipeline. Example: `12345678-aaaa-bbbb-cccc-123456789abc`.
    #[schemars(length(min = 1, max = 256))]
    pub pipeline_id: String,
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
    /// Parameters of the pipeline, 10,000 characters at most. Example: `{day: "2026-11-23"}`.
    pub parameters: Option<Params>,
}

/// Runs a saved job.
#[derive(Debug, JsonSchema)]
#[schemars(extend("x-kubernetes-preserve-unknown-fields" = true))]
pub struct RunJobTask {
    /// Id of the job, as an integer or as a string of digits. Example: 123.
    pub job_id: JobId,
    /// Values for the parameters that the job defines. Example: `{day: "2026-11-23"}`.
    pub job_parameters: Option<Params>,
    /// Parameters of its notebook tasks. Example: `{day: "2026-11-23"}`.
    pub notebook_params: Option<Params>,
    /// Arguments of its jar tasks. Example: `["--day", "2026-11-23"]`.
    pub jar_params: Option<Vec<String>>,
    /// Arguments of its Python tasks. Example: `["--day", "2026-11-23"]`.
    pub python_params: Option<Vec<String>>,
    /// Named arguments of its Python wheel tasks. Example: `{day: "2026-11-23"}`.
    pub python_named_params: Option<Params>,
    /// Arguments of its spark-submit tasks. Example: `["--class", "org.example.Main"]`.
    pub spark_submit_params: Option<Vec<String>>,
    /// Parameters of its SQL tasks. Example: `{day: "2026-11-23"}`.
    pub sql_params: Option<Params>,
    /// Commands of its dbt tasks. Example: `["dbt run"]`.
    pub dbt_commands: Option<Vec<String>>,
    /// What its pipeline tasks update. Example: `{full_refresh: true}`.
    pub pipeline_params: Option<PipelineParams>,
}

/// Compares two values.
#[derive(Debug, JsonSchema)]
#[schemars(extend("x-kubernetes-preserve-unknown-fields" = true))]
pub struct ConditionTask {
    /// Left side: text or a reference. Example: `{{tasks.count.values.rows}}`.
    #[schemars(length(max = 4096))]
    pub left: String,
    /// `EQUAL_TO` and `NOT_EQUAL` compare text; `GREATER_THAN`, `GREATER_THAN_OR_EQUAL`, `LESS_THAN` and
    /// `LESS_THAN_OR_EQUAL` compare numbers.
    #[schemars(length(min = 1, max = 100))]
    pub op: String,
    /// Right side: text or a reference. Example: `"0"`.
    #[schemars(length(max = 4096))]
    pub right: String,
}

/// Runs a task once for each input.
#[derive(Debug, JsonSchema)]
#[schemars(extend("x-kubernetes-preserve-unknown-fields" = true))]
pub struct ForEachTask {
    /// A JSON array as text, or a reference to one. Example: `'["de", "fr"]'`.
    #[schemars(length(min = 1, max = 65_536))]
    pub inputs: String,
    /// The task to run, with the same fields as an element of `tasks`; `{{input}}` stands for the input.
    /// Example: `{task_key: one, notebook_task: {notebook_path: /Shared/etl, base_parameters: {land: "{{input}}"}}}`.
    pub task: PassThrough,
    /// How many run at once, 100 at most. Databricks' default: 20. Example: 5.
    #[schemars(range(min = 1))]
    pub concurrency: Option<i32>,
}

/// Refreshes a dashboard.
#[derive(Debug, JsonSchema)]
#[schemars(extend("x-kubernetes-preserve-unknown-fields" = true))]
pub struct DashboardTask {
    /// Id of the dashboard. Example: `12345678-aaaa-bbbb-cccc-123456789abc`.
    pub dashboard_id: Option<String>,
    /// Id of the SQL warehouse. Example: `0123456789abcdef`.
    pub warehouse_id: Option<String>,
    /// Filters of the dashboard, by name.
    pub filters: Option<PassThrough>,
    /// Who gets it: `{paused, custom_subject, subscribers: [{user_name | destination_id}]}`.
    pub subscription: Option<PassThrough>,
}

/// Evaluates an alert.
#[derive(Debug, JsonSchema)]
#[schemars(extend("x-kubernetes-preserve-unknown-fields" = true))]
pub struct AlertTask {
    /// Id of the alert; one of this and `workspace_path`. Example: `12345678-aaaa-bbbb-cccc-123456789abc`.
    pub alert_id: Option<String>,
    /// Path of the alert; one of this and `alert_id`. Example: `/Workspace/Shared/late.dbalert.json`.
    pub workspace_path: Option<String>,
    /// Id of the SQL warehouse. Example: `0123456789abcdef`.
    pub warehouse_id: Option<String>,
    /// Parameters of the alert, as Databricks documents them.
    pub parameters: Option<Vec<PassThrough>>,
    /// Who is told, 100 at most. Example: `[{user_name: oncall@example.com}]`.
    pub subscribers: Option<Vec<PassThrough>>,
}

/// Updates a Power BI model.
#[derive(Debug, JsonSchema)]
#[schemars(extend("x-kubernetes-preserve-unknown-fields" = true))]
pub struct PowerBiTask {
    /// The connection to Power BI. Example: `power-bi`.
    pub connection_resource_name: Option<String>,
    /// The model: `{workspace_name, model_name, storage_mode, authentication_method, overwrite_existing}`.
    pub power_bi_model: Option<PassThrough>,
    /// The tables: `[{catalog, schema, name, storage_mode}]`.
    pub tables: Option<Vec<PassThrough>>,
    /// Id of the SQL warehouse. Example: `0123456789abcdef`.
    pub warehouse_id: Option<String>,
    /// True refreshes the model after the update. Databricks' default: false.
    pub refresh_after_update: Option<bool>,
}

/// Runs a notebook of a clean room.
#[derive(Debug, JsonSchema)]
#[schemars(extend("x-kubernetes-preserve-unknown-fields" = true))]
pub struct CleanRoomsNotebookTask {
    /// The clean room. Example: `shared-sales`.
    #[schemars(length(min = 1, max = 4096))]
    pub clean_room_name: String,
    /// The notebook in it. Example: `overlap`.
    #[schemars(length(min = 1, max = 4096))]
    pub notebook_name: String,
    /// Version of the notebook that is expected.
    pub etag: Option<String>,
    /// Parameters. Example: `{day: "2026-11-23"}`.
    pub notebook_base_parameters: Option<Params>,
}

/// Runs a job of the dbt platform.
#[derive(Debug, JsonSchema)]
#[schemars(extend("x-kubernetes-preserve-unknown-fields" = true))]
pub struct DbtPlatformTask {
    /// The connection to the dbt platform. Example: `dbt`.
    pub connection_resource_name: Option<String>,
    /// Id of its job. Example: `"4711"`.
    pub dbt_platform_job_id: Option<String>,
}

/// Runs a Python function.
#[derive(Debug, JsonSchema)]
#[schemars(extend("x-kubernetes-preserve-unknown-fields" = true))]
pub struct PythonOperatorTask {
    /// The function. Example: `etl.main:run`.
    pub main: Option<String>,
    /// Its arguments. Example: `[{name: day, value: "2026-11-23"}]`.
    pub parameters: Option<Vec<PassThrough>>,
}
