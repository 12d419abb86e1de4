//! The baseline: what a team would write that has the SDK and an afternoon. It watches the objects, starts a run for each,
//! and follows each run with a call of its own, as the SDK's waiter does: the n-th wait is n seconds and a bit, ten at most.
//! At most 15 requests a second are sent to a workspace, the SDK's own limit, first come, first served.
//!
//! It is fair game in what it leaves out: no intent before the start, no answer to a restart, no cancellation, no finalizer. All of that would cost it more.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use databricks_run_operator::api::run::RunObject;
use databricks_run_operator::api::workspace::WorkspaceObject;
use futures::StreamExt;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use k8s_openapi::jiff::Timestamp;
use kube::api::{ListParams, Patch, PatchParams};
use kube::runtime::watcher::Event;
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client, ResourceExt};
use serde_json::{Value, json};
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep, sleep_until};

use super::Failure;

/// What the SDKs allow themselves.
const REQUESTS_PER_SECOND: f64 = 15.0;
/// The longest wait between two looks at a run.
const LONGEST_WAIT: u64 = 10;

/// Follows the runs of this namespace until it is killed.
pub async fn follow(namespace: &str) -> Result<(), Failure> {
    // Only the first caller of a process does anything.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = Client::try_default().await?;
    let connections = connections(&client, namespace).await?;
    let runs: Api<RunObject> = Api::namespaced(client, namespace);
    let mut events = std::pin::pin!(watcher(runs.clone(), watcher::Config::default()).default_backoff());
    let mut known = HashSet::new();
    while let Some(event) = events.next().await {
        let Ok(Event::Apply(object) | Event::InitApply(object)) = event else { continue };
        if object.status.as_ref().is_none_or(|status| status.run_id.is_none()) && known.insert(object.name_any()) {
            let body = json!(object.spec)["runNow"].clone();
            let workspace = json!(object.spec)["workspaceRef"]["name"].as_str().unwrap_or_default().to_owned();
            let connection = connections.get(&workspace).ok_or("a run of an unknown workspace")?;
            tokio::spawn(one_run(runs.clone(), object.name_any(), body, Arc::clone(connection)));
        }
    }
    Ok(())
}

/// A workspace and what may be sent to it.
struct Connection {
    host: String,
    token: String,
    client: reqwest::Client,
    next: Mutex<Instant>,
}

async fn connections(client: &Client, namespace: &str) -> Result<HashMap<String, Arc<Connection>>, Failure> {
    let secrets: Api<Secret> = Api::namespaced(client.clone(), namespace);
    let authorities: Api<ConfigMap> = Api::namespaced(client.clone(), namespace);
    let workspaces: Api<WorkspaceObject> = Api::namespaced(client.clone(), namespace);
    let mut connections = HashMap::new();
    for workspace in workspaces.list(&ListParams::default()).await? {
        let name = workspace.name_any();
        let token = secrets.get(&name).await?.data.unwrap_or_default().remove("token").ok_or("no token")?;
        let authority = authorities.get(&name).await?.data.unwrap_or_default().remove("ca.crt").ok_or("no CA")?;
        let authority = reqwest::Certificate::from_pem(authority.as_bytes())?;
        let connection = Connection {
            host: json!(workspace.spec)["host"].as_str().unwrap_or_default().to_owned(),
            token: String::from_utf8(token.0)?,
            client: reqwest::Client::builder().tls_certs_only([authority]).build()?,
            next: Mutex::new(Instant::now()),
        };
        connections.insert(name, Arc::new(connection));
    }
    Ok(connections)
}

impl Connection {
    /// Sends it when it is its turn, again when it fails.
    async fn call(&self, request: impl Fn(&reqwest::Client) -> reqwest::RequestBuilder) -> Value {
        loop {
            let turn = {
                let mut next = self.next.lock().await;
                let turn = (*next).max(Instant::now());
                *next = turn + Duration::from_secs_f64(1.0 / REQUESTS_PER_SECOND);
                turn
            };
            sleep_until(turn).await;
            let answer = request(&self.client).bearer_auth(&self.token).send().await;
            let answer = match answer.and_then(reqwest::Response::error_for_status) {
                Ok(answer) => answer.bytes().await.ok().and_then(|bytes| serde_json::from_slice(&bytes).ok()),
                Err(_) => None,
            };
            match answer {
                Some(answer) => return answer,
                None => sleep(Duration::from_secs(1)).await,
            }
        }
    }

    async fn get(&self, call: &str, run: i64) -> Value {
        let url = format!("{}/api/2.1/jobs/runs/{call}?run_id={run}", self.host);
        self.call(|client| client.get(&url)).await
    }
}

async fn one_run(runs: Api<RunObject>, name: String, body: Value, connection: Arc<Connection>) {
    let url = format!("{}/api/2.1/jobs/run-now", connection.host);
    let body = body.to_string();
    let started = connection.call(|client| client.post(&url).body(body.clone())).await;
    let Some(run) = started["run_id"].as_i64() else { return };
    write(&runs, &name, json!({"runId": run.to_string(), "state": "Pending"})).await;
    let mut told = String::new();
    for wait in 1.. {
        sleep(Duration::from_secs(LONGEST_WAIT.min(wait)) + Duration::from_secs_f64(rand::random())).await;
        let answer = connection.get("get", run).await;
        let state = answer["state"]["life_cycle_state"].as_str().unwrap_or_default().to_owned();
        if ["TERMINATED", "SKIPPED", "INTERNAL_ERROR"].contains(&state.as_str()) {
            let mut outputs = Vec::new();
            for task in answer["tasks"].as_array().into_iter().flatten() {
                let Some(id) = task["run_id"].as_i64() else { continue };
                let output = connection.get("get-output", id).await;
                outputs.push(json!({"taskKey": task["task_key"], "result": output["notebook_output"]["result"]}));
            }
            let succeeded = answer["state"]["result_state"] == "SUCCESS";
            let state = if succeeded { "Succeeded" } else { "Failed" };
            let now = Timestamp::now().to_string();
            write(&runs, &name, json!({"state": state, "completionTime": now, "outputs": outputs})).await;
            return;
        }
        if state == "RUNNING" && told != state {
            write(&runs, &name, json!({"state": "Running"})).await;
        }
        told = state;
    }
}

/// Until it is taken.
async fn write(runs: &Api<RunObject>, name: &str, status: Value) {
    let patch = Patch::Merge(json!({"status": status}));
    while runs.patch_status(name, &PatchParams::default(), &patch).await.is_err() {
        sleep(Duration::from_secs(1)).await;
    }
}
