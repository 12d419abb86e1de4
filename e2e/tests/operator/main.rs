//! The whole operator against a real API server and the fake workspace over TLS. Each test has a namespace, a workspace and
//! operators of its own.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test says what went wrong by panicking")]

mod api_server_proxy;
mod authentication;
mod bad_input;
mod cancellation;
mod conditions;
mod deadlines;
mod deletion;
mod deletion_at_scale;
mod exactly_once;
mod fair_use;
mod gitops;
mod hygiene;
mod kubectl;
mod leader;
mod logs;
mod metrics;
mod order;
mod outage;
mod outage_at_scale;
mod repairs;
mod replacement;
mod requests;
mod restart;
mod restored;
mod retries;
mod rights;
mod selector;
mod slow_api_server;
mod stranded;
mod suspension;
mod sweeps;
mod traces;
mod trust;
mod ttl;
mod undecodable;
mod verdict;
mod waiting;
mod workspaces;
mod writes;

use serde_json::{Value, json};

/// A spec that runs a saved job.
pub(crate) fn run_now(job_id: i64) -> Value {
    json!({"runNow": {"job_id": job_id}})
}

/// The same with a parameter, which makes it another request.
pub(crate) fn run_now_with(job_id: i64, name: &str, value: &str) -> Value {
    json!({"runNow": {"job_id": job_id, "job_parameters": {name: value}}})
}

/// A spec that runs these tasks once.
#[expect(clippy::needless_pass_by_value, reason = "reads better where it is called")]
pub(crate) fn submit(name: &str, tasks: Value) -> Value {
    json!({"submit": {"run_name": name, "tasks": tasks}})
}

/// A notebook task on serverless compute. The last part of the path says what it does.
pub(crate) fn notebook(key: &str, path: &str) -> Value {
    json!({"task_key": key, "notebook_task": {"notebook_path": path}})
}
