//! `jobs/runs/repair`: runs the failed tasks of an ended run again, under the same run id.

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::databricks::client::{Client, Request};
use crate::databricks::error::{ApiError, Error, TransportError};
use crate::databricks::ids::{RepairId, RunId};
use crate::databricks::limiter::Lane;
use crate::databricks::observer::Operation;
use crate::databricks::settings::JobsApiVersion;

#[derive(Deserialize)]
struct Answer {
    repair_id: Option<RepairId>,
}

impl Client {
    /// Repairs a run. `body` is the text of a JSON object without `run_id` and `latest_repair_id`. There is no idempotency
    /// token: `after`, the run's last repair, is the guard. Databricks refuses the request when another repair has come
    /// in between, so a repeated one can never repair twice; see [`Error::executed`] for what an error leaves open.
    pub async fn repair_run(
        &self,
        version: JobsApiVersion,
        run: RunId,
        after: Option<RepairId>,
        body: &str,
    ) -> Result<RepairId, Error> {
        const OPERATION: Operation = Operation::RepairRun;
        let body = with_guard(body, run, after)
            .map_err(|why| Error::Rejected(ApiError { message: why.to_owned(), ..ApiError::default() }))?;
        self.permission(OPERATION, Lane::Submit, run)?;
        let request = Request::post(OPERATION, version, "runs/repair", body).about(run);
        let answer: Answer = self.send(&request, self.submit_deadline()).await?.json()?;
        let unnamed = || Error::Transport(TransportError::UnreadableAnswer("it names no repair".to_owned()));
        answer.repair_id.ok_or_else(unnamed)
    }
}

/// Puts run and guard into the body.
fn with_guard(body: &str, run: RunId, after: Option<RepairId>) -> Result<String, &'static str> {
    let mut fields: Map<String, Value> =
        serde_json::from_str(body).map_err(|_| "the request to repair is not a JSON object")?;
    fields.insert("run_id".to_owned(), run.0.into());
    match after {
        Some(RepairId(id)) => fields.insert("latest_repair_id".to_owned(), id.into()),
        None => fields.remove("latest_repair_id"),
    };
    Ok(Value::Object(fields).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_repair_names_its_run_and_the_repair_before_it() {
        let body = r#"{"rerun_all_failed_tasks":true,"latest_repair_id":1}"#;
        let of = |after| serde_json::from_str::<Value>(&with_guard(body, RunId(7), after).unwrap()).unwrap();
        assert_eq!(of(None), serde_json::json!({"run_id": 7, "rerun_all_failed_tasks": true}));
        let id = RepairId(9_007_199_254_740_993);
        assert_eq!(of(Some(id))["latest_repair_id"], 9_007_199_254_740_993_i64);
    }
}
