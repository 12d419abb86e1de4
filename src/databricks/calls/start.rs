//! `jobs/run-now` and `jobs/runs/submit`: the two calls that cost money.

use serde::Deserialize;
use serde_json::{Map, Value};

use super::Submitted;
use crate::databricks::client::{Client, Request};
use crate::databricks::error::{ApiError, Error};
use crate::databricks::ids::{IdempotencyToken, RunId};
use crate::databricks::limiter::Lane;
use crate::databricks::observer::Operation;
use crate::databricks::settings::JobsApiVersion;

/// The field that belongs to the operator.
const TOKEN_FIELD: &str = "idempotency_token";

#[derive(Deserialize)]
struct Answer {
    run_id: Option<RunId>,
}

impl Client {
    /// Starts a run of a job. `body` is the text of a JSON object without `idempotency_token`, sent as it is with the
    /// token put in. The HTTP layer never repeats it; see [`Error::executed`] for what an error leaves open.
    pub async fn run_now(
        &self,
        version: JobsApiVersion,
        body: &str,
        token: &IdempotencyToken,
    ) -> Result<Submitted, Error> {
        self.start(Operation::RunNow, version, "run-now", body, token).await
    }

    /// Starts a one-off run; as [`Client::run_now`].
    pub async fn submit(
        &self,
        version: JobsApiVersion,
        body: &str,
        token: &IdempotencyToken,
    ) -> Result<Submitted, Error> {
        self.start(Operation::Submit, version, "runs/submit", body, token).await
    }

    async fn start(
        &self,
        operation: Operation,
        version: JobsApiVersion,
        path: &'static str,
        body: &str,
        token: &IdempotencyToken,
    ) -> Result<Submitted, Error> {
        let body = with_token(body, token)
            .map_err(|why| Error::Rejected(ApiError { message: why.to_owned(), ..ApiError::default() }))?;
        self.permission(operation, Lane::Submit, token)?;
        let request = Request::post(operation, version, path, body);
        let answer: Answer = self.send(&request, self.submit_deadline()).await?.json()?;
        Ok(Submitted { run_id: answer.run_id })
    }
}

/// Puts the token into the text of the body. The text itself is not touched: parsing and writing it again would change
/// numbers that no float holds.
pub(in crate::databricks) fn with_token(body: &str, token: &IdempotencyToken) -> Result<String, &'static str> {
    let fields: Map<String, Value> = serde_json::from_str(body).map_err(|_| "the request is not a JSON object")?;
    if fields.contains_key(TOKEN_FIELD) {
        return Err("the request holds an idempotency_token of its own");
    }
    let rest = body.trim_start().strip_prefix('{').ok_or("the request is not a JSON object")?;
    let comma = if fields.is_empty() { "" } else { "," };
    Ok(format!("{{\"{TOKEN_FIELD}\":\"{token}\"{comma}{rest}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_token_is_put_in_and_nothing_else_of_the_text_changes() {
        let token = IdempotencyToken::new("t0k").unwrap();
        for (body, expected) in [
            ("{}", r#"{"idempotency_token":"t0k"}"#),
            (" { } ", r#"{"idempotency_token":"t0k" } "#),
            (
                r#"{"job_id":9007199254740993, "x":1.10}"#,
                r#"{"idempotency_token":"t0k","job_id":9007199254740993, "x":1.10}"#,
            ),
        ] {
            let sent = with_token(body, &token).unwrap();
            assert_eq!(sent, expected);
            serde_json::from_str::<serde_json::Value>(&sent).unwrap();
        }
    }

    #[test]
    fn a_body_that_is_no_object_or_brings_its_own_token_is_not_sent() {
        let token = IdempotencyToken::new("t0k").unwrap();
        for body in
            ["", "[]", "null", "{", "{} {}", r#"{"idempotency_token":"mine"}"#, r#"{"idempotency\u005ftoken":"m"}"#]
        {
            assert!(with_token(body, &token).is_err(), "{body}");
        }
    }
}
