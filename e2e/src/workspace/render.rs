//! Runs as JSON: the fields of the real answers, and a few nobody announced.

use serde_json::{Map, Value, json};

use super::clock::Millis;
use super::lifecycle::{Attempt, Plan, Standing};
use super::runs::{Run, Task};
use super::script::Tells;
use super::state::State;

/// Which parts of a run an answer carries.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Parts {
    pub(super) tasks: Option<Page>,
    pub(super) history: bool,
}

/// A window on the long arrays of one run.
#[derive(Clone, Copy, Debug)]
pub(super) struct Page {
    pub(super) from: usize,
    pub(super) size: usize,
}

/// A run as runs/get and runs/list show it.
pub(super) fn run(state: &State, run: &Run, now: Millis, parts: Parts) -> Value {
    let plan = state.runs.plan(run);
    let standing = plan.run_state(now);
    let times = Times::of_run(run, &plan, &standing, now);
    let mut fields = json!({
        "job_id": run.job_id,
        "run_id": run.id,
        "number_in_job": run.id,
        "original_attempt_run_id": run.id,
        "creator_user_name": run.principal,
        "run_name": run.name,
        "run_type": run.kind.name(),
        "run_page_url": page_url(state, run.job_id, run.id),
        "trigger": "ONE_TIME",
        "attempt_number": 0,
        "effective_performance_target": "STANDARD",
        "unannounced_field": state.settings.unannounced,
    });
    times.write(&mut fields);
    write_standing(&mut fields, &standing, plan.tells);
    let overriding = overriding_parameters(&run.body);
    if !overriding.is_empty() {
        fields["overriding_parameters"] = Value::Object(overriding);
    }
    if let Some(git) = run.body.get("git_source") {
        fields["git_source"] = git.clone();
    }
    if let Some(cluster) = cluster_spec(&run.body) {
        fields["cluster_spec"] = cluster;
    }
    let parameters = run.job_parameters.iter().map(|parameter| {
        let mut told = json!({ "name": parameter.name, "default": parameter.default });
        if let Some(value) = &parameter.value {
            told["value"] = json!(value);
        }
        told
    });
    let parameters: Vec<Value> = parameters.collect();
    if let Some(page) = parts.tasks {
        write_pages(state, &mut fields, run, &plan, now, page, parameters);
    }
    if parts.history {
        fields["repair_history"] = Value::Array(history(state, run, now));
    }
    fields
}

/// The arrays of a run are cut to the same window each; one that is exhausted is empty.
fn write_pages(
    state: &State,
    fields: &mut Value,
    run: &Run,
    plan: &Plan,
    now: Millis,
    page: Page,
    parameters: Vec<Value>,
) {
    let attempts: Vec<&Attempt> = plan.attempts.iter().filter(|attempt| attempt.appears <= now).collect();
    let shown = attempts.iter().skip(page.from).take(page.size);
    fields["tasks"] = shown.map(|attempt| task(state, run, plan, attempt, now)).collect();
    let longest = attempts.len().max(parameters.len());
    if !parameters.is_empty() {
        fields["job_parameters"] = parameters.into_iter().skip(page.from).take(page.size).collect();
    }
    let next = page.from + page.size;
    if next < longest {
        fields["next_page_token"] = json!(format!("run-page-{next}"));
    }
}

/// One attempt of a task, as in `tasks`.
pub(super) fn task(state: &State, run: &Run, plan: &Plan, attempt: &Attempt, now: Millis) -> Value {
    let Some(task) = task_of(run, attempt) else {
        return Value::Null;
    };
    let mut fields = task.body.clone();
    let standing = attempt.state(now, now < plan.works_from);
    fields["run_id"] = json!(attempt.run_id);
    fields["attempt_number"] = json!(attempt.number);
    fields["run_page_url"] = json!(page_url(state, run.job_id, attempt.run_id));
    fields["unannounced_field"] = json!(["one", 2, null]);
    if fields.get("run_if").is_none() {
        fields["run_if"] = json!("ALL_SUCCESS");
    }
    if now >= attempt.runs && attempt.runs < attempt.cleans_up {
        fields["cluster_instance"] =
            json!({ "cluster_id": format!("fake-{}", attempt.run_id % 10_000), "spark_context_id": "1" });
    }
    if standing.ended && task.body.get("condition_task").is_some() {
        fields["condition_task"]["outcome"] = json!(attempt.ending.message);
    }
    if task.body.get("for_each_task").is_some() {
        fields["for_each_task"]["stats"] = json!({ "task_run_stats": { "total_iterations": task.script.iterations } });
    }
    Times::of_attempt(attempt, now).write(&mut fields);
    write_standing(&mut fields, &standing, plan.tells);
    fields
}

pub(super) fn task_of<'a>(run: &'a Run, attempt: &Attempt) -> Option<&'a Task> {
    run.generations.get(attempt.generation)?.tasks.get(attempt.task)
}

/// What a task tells of itself both as a task and dressed as a run.
const SHARED_FIELDS: [&str; 13] = [
    "run_id",
    "attempt_number",
    "run_page_url",
    "cluster_instance",
    "state",
    "status",
    "start_time",
    "end_time",
    "setup_duration",
    "execution_duration",
    "cleanup_duration",
    "git_source",
    "unannounced_field",
];

/// What runs/get and the `metadata` of get-output show for a task's run id: the task dressed as a run.
pub(super) fn task_run(state: &State, run: &Run, attempt: &Attempt, now: Millis) -> Value {
    let plan = state.runs.plan(run);
    let inner = task(state, run, &plan, attempt, now);
    let mut fields = json!({});
    for name in SHARED_FIELDS {
        if let Some(value) = inner.get(name) {
            fields[name] = value.clone();
        }
    }
    fields["job_id"] = json!(run.job_id);
    fields["job_run_id"] = json!(run.id);
    fields["number_in_job"] = json!(attempt.run_id);
    fields["original_attempt_run_id"] = json!(attempt.run_id);
    fields["run_name"] = json!(attempt.key);
    fields["run_type"] = json!(run.kind.name());
    fields["creator_user_name"] = json!(run.principal);
    fields["trigger"] = json!(if attempt.number == 0 { "ONE_TIME" } else { "RETRY" });
    fields["tasks"] = json!([inner]);
    let Some(task) = task_of(run, attempt) else {
        return fields;
    };
    let iteration = |(nth, id): (usize, &i64)| {
        let mut told = inner.clone();
        told["run_id"] = json!(id);
        told["task_key"] = json!(format!("{}_iteration", attempt.key));
        told["attempt_number"] = json!(0);
        told["iteration_index"] = json!(nth);
        told
    };
    let iterations: Vec<Value> = task.iteration_ids.iter().enumerate().map(iteration).collect();
    if !iterations.is_empty() {
        fields["iterations"] = Value::Array(iterations);
    }
    fields
}

fn history(state: &State, run: &Run, now: Millis) -> Vec<Value> {
    let plans = Plan::per_generation(run, state.runs.released_at(run));
    let item = |(plan, generation): (&Plan, &super::runs::Generation)| {
        let standing = plan.run_state(now);
        let mut told = json!({
            "type": if generation.repair_id.is_some() { "REPAIR" } else { "ORIGINAL" },
            "start_time": generation.started,
            "end_time": if standing.ended { plan.end() } else { 0 },
            "task_run_ids": plan.attempts.iter().map(|attempt| attempt.run_id).collect::<Vec<_>>(),
        });
        if let Some(id) = generation.repair_id {
            told["id"] = json!(id);
        }
        write_standing(&mut told, &standing, plan.tells);
        told
    };
    plans.iter().zip(&run.generations).map(item).collect()
}

/// `state` and `status`, or the one of them the script lets through.
fn write_standing(fields: &mut Value, standing: &Standing, tells: Tells) {
    if tells != Tells::StatusOnly {
        let mut state = json!({
            "life_cycle_state": standing.life_cycle_state,
            "state_message": standing.message,
            "user_cancelled_or_timedout": standing.ending.as_ref().is_some_and(|ending| ending.stopped),
        });
        if let Some(result) =
            standing.ending.as_ref().filter(|_| standing.ended).and_then(|end| end.result_state.as_ref())
        {
            state["result_state"] = json!(result);
        }
        if standing.status == "QUEUED" {
            state["queue_reason"] = json!(standing.message);
        }
        fields["state"] = state;
    }
    if tells != Tells::StateOnly {
        let mut status = json!({ "state": standing.status });
        if standing.status == "QUEUED" {
            status["queue_details"] = json!({ "code": "MAX_CONCURRENT_RUNS_REACHED", "message": standing.message });
        }
        if let Some(ending) = &standing.ending {
            let mut details = Map::new();
            details.insert("message".to_owned(), json!(ending.message));
            if let Some(code) = &ending.code {
                details.insert("code".to_owned(), json!(code));
            }
            if let Some(kind) = &ending.kind {
                details.insert("type".to_owned(), json!(kind));
            }
            status["termination_details"] = Value::Object(details);
        }
        fields["status"] = status;
    }
}

/// The address people open, in the form the API still gives.
fn page_url(state: &State, job: i64, run: i64) -> String {
    format!("{}/?o={}#job/{job}/run/{run}", state.host, state.settings.workspace_id)
}

fn overriding_parameters(body: &Value) -> Map<String, Value> {
    let fields = body.as_object().into_iter().flatten();
    fields
        .filter(|(name, _)| name.ends_with("_params") || *name == "dbt_commands")
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect()
}

/// The compute of a run with one task, as the service echoes it.
fn cluster_spec(body: &Value) -> Option<Value> {
    let tasks = body.get("tasks").and_then(Value::as_array)?;
    let [task] = &tasks[..] else { return None };
    let mut spec = Map::new();
    for name in ["existing_cluster_id", "new_cluster", "libraries"] {
        if let Some(value) = task.get(name) {
            spec.insert(name.to_owned(), value.clone());
        }
    }
    (!spec.is_empty()).then_some(Value::Object(spec))
}

struct Times {
    start: Millis,
    end: Millis,
    setup: Millis,
    execution: Millis,
    cleanup: Millis,
    queue: Option<Millis>,
    total: Option<Millis>,
}

impl Times {
    fn of_attempt(attempt: &Attempt, now: Millis) -> Self {
        let passed = |from: Millis, to: Millis| (to.min(now) - from).max(0);
        Self {
            start: if now >= attempt.begins { attempt.begins } else { 0 },
            end: if now >= attempt.end { attempt.end } else { 0 },
            setup: passed(attempt.begins, attempt.runs),
            execution: passed(attempt.runs, attempt.cleans_up),
            cleanup: passed(attempt.cleans_up, attempt.end),
            queue: None,
            total: None,
        }
    }

    /// A run of several tasks tells only its total.
    fn of_run(run: &Run, plan: &Plan, standing: &Standing, now: Millis) -> Self {
        let mut times = match &plan.attempts[..] {
            [only] => Self::of_attempt(only, now),
            _ => Self { start: 0, end: 0, setup: 0, execution: 0, cleanup: 0, queue: None, total: None },
        };
        times.start = run.created;
        times.end = if standing.ended { plan.end() } else { 0 };
        let first_ends = plan.works_from.max(run.created);
        times.queue =
            Some((first_ends.min(now).min(plan.end()) - run.created).max(0)).filter(|_| run.generations.len() == 1);
        times.total = standing.ended.then(|| plan.end() - run.created);
        times
    }

    fn write(&self, fields: &mut Value) {
        fields["start_time"] = json!(self.start);
        fields["end_time"] = json!(self.end);
        fields["setup_duration"] = json!(self.setup);
        fields["execution_duration"] = json!(self.execution);
        fields["cleanup_duration"] = json!(self.cleanup);
        if let Some(queue) = self.queue {
            fields["queue_duration"] = json!(queue);
        }
        if let Some(total) = self.total {
            fields["run_duration"] = json!(total);
        }
    }
}
