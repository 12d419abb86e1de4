//! Lives of runs, looked at at chosen instants. No server, no waiting.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};

use super::arguments::Query;
use super::change;
use super::clock::{Clock, Millis};
use super::endings::Ending;
use super::read;
use super::script::{Script, TaskScript};
use super::start;
use super::state::{Call, Settings, State};

const SECOND: Duration = Duration::from_secs(1);

/// A workspace without a server. Every span of a task is one second unless a test says otherwise.
struct World {
    state: State,
}

impl World {
    fn playing(script: Script) -> Self {
        let mut state = State {
            settings: Settings::default(),
            clock: Clock::manual(0),
            random: super::random::Random::seeded(1),
            host: "https://example.com".to_owned(),
            jobs: BTreeMap::new(),
            runs: super::runs::Runs::default(),
            ledger: super::idempotency::Ledger::default(),
            tokens: super::tokens::Tokens::default(),
            federation: super::federation::Federation::default(),
            faults: super::disturbance::Faults::default(),
            submit_scripts: Vec::new(),
        };
        state.submit_scripts.push(Box::new(move |_| Some(script.clone())));
        Self { state }
    }

    fn submit(&mut self, body: &Value) -> i64 {
        let call = Call { query: &Query::default(), body, principal: "ada", version: "2.1", now: 0 };
        let answer = start::submit(&mut self.state, &call).expect("a run");
        answer["run_id"].as_i64().expect("an id")
    }

    fn cancel(&mut self, id: i64, now: Millis) {
        let body = json!({ "run_id": id });
        let call = Call { query: &Query::default(), body: &body, principal: "ada", version: "2.1", now };
        change::cancel(&mut self.state, &call).expect("to be cancelled");
    }

    fn get(&self, id: i64, now: Millis) -> Value {
        let query = Query(vec![("run_id".to_owned(), id.to_string())]);
        let call = Call { query: &query, body: &Value::Null, principal: "ada", version: "2.1", now };
        read::get_run(&self.state, &call).expect("the run")
    }

    /// `LIFE/RESULT status` of the run and of each task shown.
    fn at(&self, id: i64, now: Millis) -> Vec<String> {
        let run = self.get(id, now);
        let tasks = run["tasks"].as_array().cloned().unwrap_or_default();
        std::iter::once(&run).chain(&tasks).map(standing).collect()
    }
}

fn standing(of: &Value) -> String {
    let text = |pointer: &str| of.pointer(pointer).and_then(Value::as_str).unwrap_or("-").to_owned();
    format!("{}/{} {}", text("/state/life_cycle_state"), text("/state/result_state"), text("/status/state"))
}

fn even() -> TaskScript {
    TaskScript::default().pending_for(SECOND).running_for(SECOND).terminating_for(SECOND)
}

fn evenly() -> Script {
    Script::new().pending_for(SECOND).running_for(SECOND).terminating_for(SECOND)
}

fn task(key: &str, ahead: &[&str]) -> Value {
    let ahead: Vec<Value> = ahead.iter().map(|key| json!({ "task_key": key })).collect();
    json!({ "task_key": key, "notebook_task": { "notebook_path": "/a" }, "depends_on": ahead })
}

fn one_task() -> Value {
    json!({ "tasks": [task("main", &[])] })
}

#[test]
fn a_task_that_is_retried_shows_its_next_attempt_waiting() {
    let mut world = World::playing(evenly().retried(1, SECOND));
    let run = world.submit(&one_task());
    assert_eq!(world.at(run, 2_500), ["TERMINATING/- TERMINATING", "TERMINATING/- TERMINATING"]);
    assert_eq!(
        world.at(run, 3_500),
        ["WAITING_FOR_RETRY/- WAITING", "TERMINATED/FAILED TERMINATED", "WAITING_FOR_RETRY/- WAITING"]
    );
    assert_eq!(world.at(run, 7_000)[0], "TERMINATED/SUCCESS TERMINATED");
}

#[test]
fn max_retries_of_zero_wins_over_a_script_that_would_retry() {
    let mut world = World::playing(evenly().retried(2, SECOND));
    let mut body = one_task();
    body["tasks"][0]["max_retries"] = json!(0);
    let run = world.submit(&body);
    assert_eq!(world.at(run, 3_000), ["INTERNAL_ERROR/FAILED TERMINATED", "TERMINATED/FAILED TERMINATED"]);
}

#[test]
fn a_run_waits_in_the_queue_and_then_passes_through_whatever_its_script_says() {
    let script = evenly().queued_for(SECOND).passing_through("ENCHANTED", "SPELLBOUND", SECOND);
    let mut world = World::playing(script);
    let run = world.submit(&one_task());
    assert_eq!(world.at(run, 0), ["QUEUED/- QUEUED", "QUEUED/- QUEUED"]);
    assert_eq!(world.at(run, 1_000)[0], "ENCHANTED/- SPELLBOUND");
    assert_eq!(world.at(run, 2_000)[0], "PENDING/- PENDING");
    assert_eq!(world.get(run, 9_000)["queue_duration"], 2_000);
}

#[test]
fn a_run_cancelled_in_the_queue_ends_before_it_would_have_left_it() {
    let mut world = World::playing(evenly().queued_for(Duration::from_hours(1)));
    let run = world.submit(&one_task());
    world.cancel(run, 500);
    assert_eq!(world.at(run, 600)[0], "TERMINATING/- TERMINATING");
    assert_eq!(world.at(run, 1_500), ["TERMINATED/CANCELED TERMINATED", "TERMINATED/CANCELED TERMINATED"]);
}

#[test]
fn a_cancellation_that_comes_last_changes_nothing() {
    let mut world = World::playing(evenly());
    let run = world.submit(&one_task());
    world.cancel(run, 3_000);
    assert_eq!(world.at(run, 9_000)[0], "TERMINATED/SUCCESS TERMINATED");
}

#[test]
fn cancelling_one_task_leaves_the_others_and_spoils_what_waits_for_it() {
    let mut world = World::playing(evenly());
    let body = json!({ "tasks": [task("a", &[]), task("b", &["a"]), task("c", &[])] });
    let run = world.submit(&body);
    let of_a = world.get(run, 0)["tasks"][0]["run_id"].as_i64().expect("an id");
    world.cancel(of_a, 500);
    assert_eq!(
        world.at(run, 9_000)[1..],
        ["TERMINATED/CANCELED TERMINATED", "TERMINATED/UPSTREAM_CANCELED TERMINATED", "TERMINATED/SUCCESS TERMINATED"]
    );
}

#[test]
fn a_run_over_its_time_ends_timed_out() {
    let mut world = World::playing(evenly().running_forever());
    let mut body = one_task();
    body["timeout_seconds"] = json!(60);
    let run = world.submit(&body);
    assert_eq!(world.at(run, 59_999)[0], "RUNNING/- RUNNING");
    assert_eq!(world.at(run, 61_000)[0], "TERMINATED/TIMEDOUT TERMINATED");
}

#[test]
fn leaves_that_succeed_after_a_failure_are_success_with_failures() {
    let mut world = World::playing(evenly().task("a", even().failing("no", "trace")));
    let mut last = task("b", &["a"]);
    last["run_if"] = json!("ALL_DONE");
    let run = world.submit(&json!({ "tasks": [task("a", &[]), last] }));
    assert_eq!(world.at(run, 9_000)[0], "TERMINATED/SUCCESS_WITH_FAILURES TERMINATED");
}

#[test]
fn a_condition_opens_one_way_and_excludes_the_other() {
    let mut world = World::playing(evenly().task("if", even().ending(Ending::success().saying("true"))));
    let condition = json!({ "task_key": "if", "condition_task": { "left": "1", "op": "EQUAL_TO", "right": "1" } });
    let (mut yes, mut no) = (task("yes", &["if"]), task("no", &["if"]));
    yes["depends_on"][0]["outcome"] = json!("true");
    no["depends_on"][0]["outcome"] = json!("false");
    let run = world.submit(&json!({ "tasks": [condition, yes, no] }));
    assert_eq!(world.at(run, 9_000)[2..], ["TERMINATED/SUCCESS TERMINATED", "TERMINATED/EXCLUDED TERMINATED"]);
    assert_eq!(world.at(run, 9_000)[0], "TERMINATED/SUCCESS TERMINATED");
}

#[test]
fn ends_that_are_told_in_no_other_way_are_told_as_they_are() {
    let table = [
        (Ending::internal_error_without_result("gone"), "INTERNAL_ERROR/- TERMINATED", "INTERNAL_ERROR"),
        (Ending::of_code("CLOUD_FAILURE"), "INTERNAL_ERROR/FAILED TERMINATED", "CLOUD_FAILURE"),
        (Ending::skipped(), "SKIPPED/- TERMINATED", "SKIPPED"),
        (Ending::timed_out(), "TERMINATED/TIMEDOUT TERMINATED", "CANCELED"),
    ];
    for (ending, expected, code) in table {
        let mut world = World::playing(evenly().ending(ending));
        let run = world.submit(&one_task());
        assert_eq!(world.at(run, 9_000)[0], expected);
        assert_eq!(world.get(run, 9_000)["status"]["termination_details"]["code"], code);
    }
}

#[test]
fn either_description_of_a_state_can_be_left_out() {
    let mut world = World::playing(evenly().without_state());
    let run = world.submit(&one_task());
    assert!(world.get(run, 0).get("state").is_none() && world.get(run, 0).get("status").is_some());
    let mut world = World::playing(evenly().without_status());
    let run = world.submit(&one_task());
    assert!(world.get(run, 0).get("status").is_none() && world.get(run, 0).get("state").is_some());
}

#[test]
fn outputs_are_cut_to_the_first_bytes_of_a_result_and_the_last_of_logs() {
    const LIMIT: usize = 5 * 1024 * 1024;
    let long = "é".repeat(LIMIT);
    let mut world = World::playing(evenly().task("a", even().notebook_result(&*long)).task("b", even().logs(&*long)));
    let script = json!({ "task_key": "b", "spark_python_task": { "python_file": "/b.py" } });
    let run = world.submit(&json!({ "tasks": [task("a", &[]), script] }));
    let output = |nth: usize| {
        let id = world.get(run, 9_000)["tasks"][nth]["run_id"].to_string();
        let query = Query(vec![("run_id".to_owned(), id)]);
        let call = Call { query: &query, body: &Value::Null, principal: "ada", version: "2.1", now: 9_000 };
        read::get_output(&world.state, &call).expect("an output")
    };
    assert_eq!(output(0)["notebook_output"]["truncated"], true);
    assert_eq!(output(0)["notebook_output"]["result"].as_str().map(str::len), Some(LIMIT));
    assert_eq!(output(1)["logs_truncated"], true);
    assert!(output(1)["logs"].as_str().is_some_and(|logs| logs.len() <= LIMIT));
}

#[test]
fn a_for_each_task_has_an_iteration_per_input() {
    let mut world = World::playing(evenly().task("each", even().iterations(3)));
    let each = json!({ "task_key": "each", "for_each_task": { "inputs": "[1,2,3]", "task": task("inner", &[]) } });
    let run = world.submit(&json!({ "tasks": [each] }));
    let of_task = world.get(run, 9_000)["tasks"][0]["run_id"].as_i64().expect("an id");
    assert_eq!(world.get(of_task, 9_000)["iterations"].as_array().map(Vec::len), Some(3));
}
