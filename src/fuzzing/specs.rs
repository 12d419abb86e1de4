//! Objects as users write them, past admission or not.

use serde_json::{Map, Value, json};

use super::life::Life;
use crate::api::body_check::check_body;
use crate::api::run::{CANCEL_ANNOTATION, DatabricksRunSpec, REPAIR_ANNOTATION, RERUN_ANNOTATION, RunObject};
use crate::api::status::Endpoint;
use crate::api::unknown_fields::unknown_fields;
use crate::databricks::fuzzing::sent;
use crate::lifecycle::IdempotencyToken;
use crate::lifecycle::request::Request;
use crate::lifecycle::run_key::{Comparison, KeyInput, VERSIONS, compare, run_key};

const ROUNDS: usize = 24;

/// A `DatabricksRun` as raw JSON. Whatever its spec, it comes to rest; the run key is a function of the request, in
/// whatever order and form it is written; what is sent is what was written, and it is sent once.
pub fn spec(bytes: &[u8]) {
    let Ok(object) = serde_json::from_slice::<RunObject>(bytes) else { return };
    if let Ok(spec) = object.spec()
        && let Some(request) = Request::of(&spec)
    {
        keyed(&spec, &request);
        written(&request);
    }
    lives(&object, Fate::Followed);
    lives(&object, Fate::Deleted);
}

fn input<'a>(spec: &'a DatabricksRunSpec, endpoint: Endpoint, body: &'a Map<String, Value>) -> KeyInput<'a> {
    KeyInput {
        endpoint,
        body,
        workspace_kind: spec.workspace_ref.kind().as_str(),
        workspace_name: &spec.workspace_ref.name,
        job_name: spec.job_name.as_deref(),
        rerun: None,
        rerun_token: spec.rerun_token.as_deref(),
    }
}

fn keyed(spec: &DatabricksRunSpec, request: &Request<'_>) {
    let key = run_key(VERSIONS, &input(spec, request.endpoint, request.body));
    let same = |body: &Map<String, Value>, how: &str| {
        assert_eq!(
            compare(VERSIONS, key.as_str(), &input(spec, request.endpoint, body)),
            Comparison::Same,
            "{how}: {:?}",
            request.body
        );
    };
    let mut other = request.body.clone();
    other.insert("nothing".to_owned(), Value::Null);
    if !request.body.contains_key("nothing") {
        same(&other, "a member that is null");
    }
    other.clone_from(request.body);
    if let Some(Value::Number(id)) = request.body.get("job_id") {
        other.insert("job_id".to_owned(), id.to_string().into());
        same(&other, "an id as a text");
    }
    if let Some(Value::Array(tasks)) = other.get_mut("tasks") {
        let mut keys: Vec<_> = tasks.iter().map(|task| task.get("task_key").and_then(Value::as_str)).collect();
        keys.sort_unstable();
        let all = keys.len();
        keys.dedup();
        if keys.len() == all && !keys.contains(&None) {
            tasks.reverse();
            same(&other, "tasks in another order");
        }
    }
    other.clone_from(request.body);
    other.insert("a member that was not there".to_owned(), json!(1));
    if other != *request.body {
        assert_eq!(
            compare(VERSIONS, key.as_str(), &input(spec, request.endpoint, &other)),
            Comparison::Different,
            "{other:?}"
        );
    }
    let again = KeyInput { rerun: Some("again"), ..input(spec, request.endpoint, request.body) };
    assert_eq!(compare(VERSIONS, key.as_str(), &again), Comparison::Different);
    assert!(unknown_fields(request.endpoint, request.body).len() <= 10);
}

/// What is sent is what was written, with the token put in and a job's id as a number.
fn written(request: &Request<'_>) {
    let text = request.text(None);
    let token = IdempotencyToken::new("6f1c2a9e", 1);
    let Ok(sent) = sent(&text, token.as_str()) else {
        assert!(request.body.contains_key("idempotency_token"), "not sent: {text}");
        return;
    };
    let read: Option<Map<String, Value>> = serde_json::from_str(&sent).ok();
    let mut expected = request.body.clone();
    if let Some(id) = expected.get("job_id").and_then(Value::as_str).and_then(|id| id.parse::<i64>().ok()) {
        expected.insert("job_id".to_owned(), id.into());
    }
    expected.insert("idempotency_token".to_owned(), token.as_str().into());
    assert_eq!(read.as_ref(), Some(&expected), "{sent}");
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    Followed,
    Deleted,
}

fn lives(object: &RunObject, fate: Fate) {
    let mut life = Life::of(Value::Null);
    life.spec = object.spec().map_err(|error| error.to_string());
    let asked = |key| object.annotation(key).map(str::to_owned);
    life.asked = [asked(RERUN_ANNOTATION), asked(CANCEL_ANNOTATION), asked(REPAIR_ANNOTATION)];
    let sendable = |request: Request<'_>| check_body(request.endpoint, request.body).is_ok();
    let sendable = life.spec.as_ref().is_ok_and(|spec| Request::of(spec).is_some_and(sendable));
    life.goes_on(3);
    assert!(sendable || life.started.is_empty(), "started: {:?}", life.started);
    if fate == Fate::Deleted {
        life = life.deleted();
    }
    let failed = json!({"life_cycle_state": "INTERNAL_ERROR", "result_state": "FAILED"});
    let task = json!({"task_key": "main", "run_id": 71, "state": failed});
    life.answer =
        serde_json::from_value(json!({"run_id": 8, "job_id": 5, "end_time": 9, "state": failed, "tasks": [task]})).ok();
    life.goes_on(ROUNDS);
    let mut starts = life.started.len();
    if let Ok(spec) = &life.spec {
        starts = starts.saturating_sub(usize::try_from(spec.backoff_limit.unwrap_or(0)).unwrap_or(0));
    }
    assert!(starts <= 1, "started more often than asked for: {:?}", life.started);
}
