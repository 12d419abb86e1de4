//! The body of `jobs/run-now`.

use schemars::JsonSchema;

use super::common::{PipelineParams, Queue};
use crate::api::admission;
use crate::api::schema::{JobId, Params};

/// A run of a saved job: the body of `POST /api/2.1/jobs/run-now`. Fields that are not listed here are sent as well.
#[derive(Debug, JsonSchema)]
#[schemars(extend("x-kubernetes-preserve-unknown-fields" = true, "x-kubernetes-validations" = admission::RUN_NOW))]
pub struct RunNow {
    /// Id of the saved job, as an integer or as a string of digits. Leave it out when `spec.jobName` is given.
    /// Example: 123.
    pub job_id: Option<JobId>,
    /// Values for the parameters that the job defines; strings, so quote numbers and dates. The modern way, for jobs that
    /// define parameters. Example: `{day: "2026-11-23"}`.
    pub job_parameters: Option<Params>,
    /// Parameters of notebook tasks, laid over the tasks' `base_parameters`; 10,000 bytes as JSON at most, not together
    /// with `jar_params`. For jobs without parameters of their own. Example: `{day: "2026-11-23"}`.
    pub notebook_params: Option<Params>,
    /// Arguments of jar tasks, in place of the job's; 10,000 bytes as JSON at most, not together with
    /// `notebook_params`. Example: `["--day", "2026-11-23"]`.
    pub jar_params: Option<Vec<String>>,
    /// Arguments of Python script and wheel tasks, in place of the job's; ASCII only, 10,000 bytes as JSON at most.
    /// Example: `["--day", "2026-11-23"]`.
    pub python_params: Option<Vec<String>>,
    /// Named arguments of Python wheel tasks. Example: `{day: "2026-11-23"}`.
    pub python_named_params: Option<Params>,
    /// Arguments of spark-submit tasks, in place of the job's; ASCII only, 10,000 bytes as JSON at most.
    /// Example: `["--class", "org.example.Main"]`.
    pub spark_submit_params: Option<Vec<String>>,
    /// Parameters of SQL tasks, alerts apart. Example: `{day: "2026-11-23"}`.
    pub sql_params: Option<Params>,
    /// Commands of dbt tasks, in place of the job's. Example: `["dbt deps", "dbt run"]`.
    pub dbt_commands: Option<Vec<String>>,
    /// What pipeline tasks update. Example: `{full_refresh: true}`.
    pub pipeline_params: Option<PipelineParams>,
    /// Whether this run may wait in the queue, in place of the job's own setting. Example: `{enabled: true}`.
    pub queue: Option<Queue>,
    /// Keys of the only tasks to run; `+key` adds what it depends on, `key+` what depends on it. Example: `["+report"]`.
    pub only: Option<Vec<String>>,
    /// For serverless compute: `PERFORMANCE_OPTIMIZED`, `STANDARD` or `COST_OPTIMIZED`.
    pub performance_target: Option<String>,
    /// With `COST_OPTIMIZED`, how long the run may take: `NO_FLEXIBILITY`, `4h`, `12h`, `24h` or `72h`.
    pub duration_target: Option<String>,
    /// Not accepted: the operator makes its own for every start.
    pub idempotency_token: Option<String>,
}
