//! `jobs/runs/get-output`: what one task left behind. Best effort; it never decides a verdict.

use crate::databricks::client::{Client, Request};
use crate::databricks::error::Error;
use crate::databricks::ids::RunId;
use crate::databricks::limiter::Lane;
use crate::databricks::model::RunOutput;
use crate::databricks::observer::Operation;
use crate::databricks::settings::JobsApiVersion;
use crate::databricks::transport::LARGE_BODY;

impl Client {
    /// The output of a **task's** run; Databricks refuses the id of a job's run. Logs and results come in full (5 MB
    /// each), so only a few of these answers are read at the same time; the others are [`Error::NotNow`].
    pub async fn get_output(&self, version: JobsApiVersion, task_run: RunId) -> Result<RunOutput, Error> {
        const OPERATION: Operation = Operation::GetOutput;
        let _slot = self.large_answer_slot()?;
        self.permission(OPERATION, Lane::Output, task_run)?;
        let request = Request::get(OPERATION, version, "runs/get-output")
            .about(task_run)
            .query("run_id", task_run)
            .body_of_at_most(LARGE_BODY);
        self.send(&request, self.call_deadline()).await?.json()
    }
}
