//! Answers about runs: what `runs/get` and `runs/get-output` say, and what becomes of it in a status.

use serde_json::{Value, json};

use super::life::Life;
use crate::api::conditions::State;
use crate::databricks::model::{LifeCycleState, ResultState, Run, RunOutput, StatusState, TerminationCode};

/// Answers that are read of one input.
const MOST: usize = 6;
/// Calls and waits that are lived through with each: enough for an answer in doubt to be believed.
const ROUNDS: usize = 24;

/// Answers of `runs/get`, one after the other. A state that nobody knows ends nothing, an end is told as what it is, and
/// whatever Databricks tells fits into the status.
pub fn run_answer(bytes: &[u8]) {
    let answers: Vec<Run> = documents(bytes);
    if answers.is_empty() {
        return;
    }
    // That everything is tried again, by both means.
    let again = |action| {
        json!({
            "workspaceRef": {"name": "prod"}, "runNow": {"job_id": 5}, "backoffLimit": 2,
            "startingDeadlineSeconds": 900, "activeDeadlineSeconds": 3600, "output": {"maxBytes": 16384},
            "failurePolicy": {"rules": [
                {"action": action, "onTermination": {"operator": "NotIn", "codes": ["SUCCESS"]}},
                {"action": action, "onResultStates": ["FAILED", "TIMEDOUT"]},
            ]},
        })
    };
    for spec in [again("Retry"), again("Repair")] {
        let mut life = live(spec);
        for answer in &answers {
            life.answer = Some(answer.clone());
            life.goes_on(ROUNDS);
        }
    }
    followed(&answers);
    let mut life = live(plain()).deleted();
    life.answer = answers.first().cloned();
    life.goes_on(ROUNDS);
}

/// Without deadlines, attempts and commands, it is what Databricks tells that ends a run.
fn followed(answers: &[Run]) {
    let mut life = live(plain());
    let mut may_end = false;
    for answer in answers {
        let (sure, possible) = ends(answer);
        may_end |= possible;
        let before = life.has_ended();
        life.answer = Some(answer.clone());
        life.goes_on(ROUNDS);
        assert!(may_end || !life.has_ended(), "ended although nothing says so: {answer:?}");
        assert!(!sure || life.has_ended(), "followed after its end: {answer:?}");
        if !before && life.has_ended() && life.status.state.as_deref() == Some(State::Succeeded.as_str()) {
            assert!(says_success(answer), "a success although nothing says so: {answer:?}");
        }
    }
    assert_eq!(life.started.len(), 1, "started again");
}

/// Whether an answer tells an end for sure, and whether it could be one.
fn ends(run: &Run) -> (bool, bool) {
    let life = run.state.as_ref().and_then(|state| state.life_cycle_state.as_ref());
    let newer = run.status.as_ref().and_then(|status| status.state.as_ref());
    let by_life = life
        .map(|it| matches!(it, LifeCycleState::Terminated | LifeCycleState::Skipped | LifeCycleState::InternalError));
    let by_newer = newer.map(|it| *it == StatusState::Terminated);
    let said = [by_life, by_newer];
    (said.contains(&Some(true)) && !said.contains(&Some(false)), said.contains(&Some(true)))
}

fn says_success(run: &Run) -> bool {
    let result = run.state.as_ref().and_then(|state| state.result_state.as_ref());
    let details = run.status.as_ref().and_then(|status| status.termination_details.as_ref());
    let code = details.and_then(|details| details.code.as_ref());
    matches!(result, Some(ResultState::Success | ResultState::SuccessWithFailures))
        || (matches!(result, None | Some(ResultState::Other(_)))
            && matches!(code, Some(TerminationCode::Success | TerminationCode::SuccessWithFailures)))
}

/// Answers of `runs/get-output` for the tasks of a run that has failed. They fit into the status whatever they hold, and
/// with `maxBytes: 0` results, traces and logs are kept out of it.
pub fn output_answer(bytes: &[u8]) {
    let outputs: Vec<RunOutput> = documents(bytes);
    if outputs.is_empty() {
        return;
    }
    for max_bytes in [None, Some(0), Some(16_384)] {
        let mut spec = plain();
        if let (Some(max_bytes), Some(spec)) = (max_bytes, spec.as_object_mut()) {
            spec.insert("output".to_owned(), json!({"maxBytes": max_bytes}));
        }
        let mut life = live(spec);
        life.answer = failed();
        life.outputs.clone_from(&outputs);
        life.goes_on(ROUNDS);
        assert!(life.has_ended(), "followed after its end: {:?}", life.status);
        let kept = |output: &crate::api::status::TaskOutput| {
            output.result.is_some() || output.error_trace.is_some() || output.logs.is_some()
        };
        assert!(max_bytes != Some(0) || !life.status.outputs.iter().any(kept), "{:?}", life.status.outputs);
    }
}

/// A run of many tasks that has failed.
fn failed() -> Option<Run> {
    let task = |n: usize| {
        json!({
            "task_key": format!("task-{n}"), "run_id": 100 + n,
            "state": {"life_cycle_state": "TERMINATED", "result_state": "FAILED", "state_message": "m".repeat(300)},
        })
    };
    let tasks: Vec<Value> = (0..MOST).map(task).collect();
    let state = json!({"life_cycle_state": "TERMINATED", "result_state": "FAILED"});
    serde_json::from_value(json!({"run_id": 8, "job_id": 5, "end_time": 9, "state": state, "tasks": tasks})).ok()
}

fn plain() -> Value {
    json!({"workspaceRef": {"name": "prod"}, "runNow": {"job_id": 5}})
}

/// An object whose run is under way.
fn live(spec: Value) -> Life {
    let mut life = Life::of(spec);
    assert_eq!(life.spec.as_ref().err(), None);
    life.goes_on(2);
    assert!(life.status.run_id.is_some(), "not started: {:?}", life.status);
    life
}

/// The JSON documents that stand one after the other.
fn documents<T: serde::de::DeserializeOwned>(bytes: &[u8]) -> Vec<T> {
    serde_json::Deserializer::from_slice(bytes).into_iter().map_while(Result::ok).take(MOST).collect()
}
