//! `jobs/runs/cancel`: asks for the end of one run. There is no call for "all runs" here, and there never will be.

use crate::databricks::client::{Client, Request};
use crate::databricks::error::Error;
use crate::databricks::ids::RunId;
use crate::databricks::limiter::Lane;
use crate::databricks::observer::Operation;
use crate::databricks::settings::JobsApiVersion;

impl Client {
    /// Asks Databricks to end a run. It ends later; a run that has ended stays as it is. It is asked even while the
    /// workspace does not answer: it saves money, its caller repeats it seldom, and a deleted object is held until it has
    /// been tried.
    pub async fn cancel_run(&self, version: JobsApiVersion, run: RunId) -> Result<(), Error> {
        const OPERATION: Operation = Operation::CancelRun;
        self.turn(OPERATION, Lane::Cancel, run)?;
        let body = format!("{{\"run_id\":{run}}}");
        let request = Request::post(OPERATION, version, "runs/cancel", body).about(run);
        // The body is `{}` or empty, with or without a content type: it is not read.
        self.send_regardless(&request, self.call_deadline()).await.map(drop)
    }
}
