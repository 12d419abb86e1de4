//! run-now and runs/submit: what they refuse, what they start.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::arguments::{flag, list, required_integer, strings, text};
use super::clock::Millis;
use super::conventions;
use super::dependencies;
use super::endings::Ending;
use super::errors::ApiError;
use super::idempotency::Standing;
use super::lifecycle::allowed_retries;
use super::runs::{Generation, NewRun, RunType, Task};
use super::script::Script;
use super::state::{Call, State};

/// The limit on each of the older parameter fields, as JSON.
const MAX_PARAMETER_BYTES: usize = 10_000;
const MAX_TASKS: usize = 1_000;
const NO_COMPUTE: &str = "One of job_cluster_key, new_cluster, or existing_cluster_id must be specified.";

pub(super) fn run_now(state: &mut State, call: &Call<'_>) -> Result<Value, ApiError> {
    let job_id = required_integer(call.body, "job_id")?;
    state.check_manage(call, Some(job_id))?;
    if !state.jobs.contains_key(&job_id) {
        return Err(ApiError::no_job(job_id));
    }
    let job_parameters = strings(call.body, "job_parameters")?;
    let parameters = run_parameters(call.body)?;
    if let Some(run_id) = known_run(state, call)? {
        return Ok(json!({ "run_id": run_id, "number_in_job": run_id }));
    }
    let Some(job) = state.jobs.get(&job_id) else {
        return Err(ApiError::no_job(job_id));
    };
    if job.continuous {
        return Ok(json!({}));
    }
    let all_parameters: Vec<(String, String)> =
        job.parameters.iter().cloned().chain(parameters).chain(job_parameters.iter().cloned()).collect();
    let only = only(call.body)?;
    let bodies: Vec<Value> = job.tasks.iter().filter(|task| asked_for(task, &only)).cloned().collect();
    let mut script = match &job.script {
        Some(script) => script.clone(),
        None => conventions::script(&bodies, &all_parameters, 0),
    };
    let (name, timeout) = (job.name.clone(), job.timeout);
    let job_parameters = job.parameters_with(&job_parameters);
    let (max, queues) = (job.max_concurrent_runs, queues(call.body, job.queue));
    let active: Vec<i64> = state.runs.active(call.now).filter(|run| run.job_id == job_id).map(|run| run.id).collect();
    let mut behind = None;
    if active.len() >= max {
        if queues && max > 0 {
            behind = slot(state, &active, call.now);
        } else {
            script = Script::refused(Ending::max_concurrent_runs());
        }
    }
    check_quota(state, call)?;
    let run_id = state.new_id();
    let first = generation(state, None, call.now, script, &bodies, &BTreeMap::new());
    start(
        state,
        call,
        NewRun {
            id: run_id,
            kind: RunType::Job,
            job_id,
            name,
            principal: call.principal.to_owned(),
            idempotency_token: None,
            body: call.body.clone(),
            job_parameters,
            timeout,
            behind,
            first,
        },
    );
    Ok(json!({ "run_id": run_id, "number_in_job": run_id }))
}

pub(super) fn submit(state: &mut State, call: &Call<'_>) -> Result<Value, ApiError> {
    state.check_manage(call, None)?;
    let bodies = submitted_tasks(call.body)?;
    let name = text(call.body, "run_name")?.unwrap_or("Untitled").to_owned();
    if let Some(run_id) = known_run(state, call)? {
        return Ok(json!({ "run_id": run_id }));
    }
    check_quota(state, call)?;
    let timeout = super::arguments::integer(call.body, "timeout_seconds")?;
    let script = script_of_submit(state, call.body, &bodies, 0);
    let (run_id, job_id) = (state.new_id(), state.new_id());
    let first = generation(state, None, call.now, script, &bodies, &BTreeMap::new());
    start(
        state,
        call,
        NewRun {
            id: run_id,
            kind: RunType::Submit,
            job_id,
            name,
            principal: call.principal.to_owned(),
            idempotency_token: None,
            body: call.body.clone(),
            job_parameters: Vec::new(),
            timeout: timeout.filter(|seconds| *seconds > 0).map(|seconds| seconds * 1000),
            behind: None,
            first,
        },
    );
    Ok(json!({ "run_id": run_id }))
}

/// The script a test wrote for this submission, newest first; else the conventions.
pub(super) fn script_of_submit(state: &State, body: &Value, tasks: &[Value], repairs: usize) -> Script {
    let written = state.submit_scripts.iter().rev().find_map(|script| script(body));
    written.unwrap_or_else(|| conventions::script(tasks, &[], repairs))
}

/// A generation of `bodies`, with fresh run ids. `attempts` are the numbers the tasks have reached.
pub(super) fn generation(
    state: &mut State,
    repair_id: Option<i64>,
    started: Millis,
    script: Script,
    bodies: &[Value],
    attempts: &BTreeMap<String, u32>,
) -> Generation {
    let script = script.scaled(state.settings.speed);
    let tasks = bodies.iter().map(|body| {
        let key = body.get("task_key").and_then(Value::as_str).unwrap_or_default().to_owned();
        let first_attempt = attempts.get(&key).copied().unwrap_or(0);
        let script = script.for_task(&key);
        let mut task = Task {
            key,
            body: body.clone(),
            script,
            first_attempt,
            run_ids: Vec::new(),
            iteration_ids: Vec::new(),
            cancelled_at: None,
        };
        let retries = task.script.failures_first.min(allowed_retries(&task));
        task.run_ids = (0..=retries).map(|_| state.new_id()).collect();
        task.iteration_ids = (0..task.script.iterations).map(|_| state.new_id()).collect();
        task
    });
    let tasks = tasks.collect();
    Generation { repair_id, started, script, tasks, cancelled_at: None, finished_at: None }
}

fn start(state: &mut State, call: &Call<'_>, mut new: NewRun) {
    let token = token_of(call.body);
    new.idempotency_token = token.map(str::to_owned);
    if let Some(token) = token {
        state.ledger.remember(token, new.id);
    }
    state.runs.add(new);
}

/// `idempotency_token`, where it counts: an empty one is none.
pub(super) fn token_of(body: &Value) -> Option<&str> {
    body.get("idempotency_token").and_then(Value::as_str).filter(|token| !token.is_empty())
}

fn known_run(state: &State, call: &Call<'_>) -> Result<Option<i64>, ApiError> {
    text(call.body, "idempotency_token")?;
    let Some(token) = token_of(call.body) else {
        return Ok(None);
    };
    let standing = |id| match state.runs.get(id, call.now) {
        Some(run) if state.runs.is_active(run, call.now) => Standing::Active,
        Some(_) => Standing::Ended,
        None => Standing::Gone,
    };
    state.ledger.existing(token, state.settings.idempotency, standing)
}

fn check_quota(state: &State, call: &Call<'_>) -> Result<(), ApiError> {
    let Some(limit) = state.settings.active_run_limit else {
        return Ok(());
    };
    let active = state.runs.active(call.now).count();
    if active >= limit {
        return Err(ApiError::too_many_active_runs(active, limit));
    }
    Ok(())
}

/// The run this one waits behind: the oldest active one that nobody waits behind yet, so that each end frees one.
fn slot(state: &State, active: &[i64], now: Millis) -> Option<i64> {
    let taken: BTreeSet<i64> = active.iter().filter_map(|id| state.runs.get(*id, now)?.behind).collect();
    active.iter().rev().find(|id| !taken.contains(id)).copied()
}

fn queues(body: &Value, by_job: bool) -> bool {
    body.pointer("/queue/enabled").and_then(Value::as_bool).unwrap_or(by_job)
}

/// The keys in `only`. The `+` of "with what is up or down stream" is accepted and read as the task alone.
fn only(body: &Value) -> Result<Vec<String>, ApiError> {
    let keys = list(body, "only")?.into_iter().flatten();
    Ok(keys.filter_map(Value::as_str).map(|key| key.trim_matches('+').to_owned()).collect())
}

fn asked_for(task: &Value, only: &[String]) -> bool {
    let key = task.get("task_key").and_then(Value::as_str).unwrap_or_default();
    only.is_empty() || only.iter().any(|asked| asked == key)
}

/// The older parameter fields: which may go together, how long, in which letters. Returns those that are maps.
pub(super) fn run_parameters(body: &Value) -> Result<Vec<(String, String)>, ApiError> {
    if body.get("notebook_params").is_some() && body.get("jar_params").is_some() {
        return Err(ApiError::invalid("notebook_params and jar_params cannot both be specified."));
    }
    for name in ["notebook_params", "jar_params", "python_params", "spark_submit_params"] {
        let length = body.get(name).map_or(0, |value| value.to_string().len());
        if length > MAX_PARAMETER_BYTES {
            return Err(ApiError::invalid(format!(
                "The JSON representation of {name} cannot exceed {MAX_PARAMETER_BYTES} bytes."
            )));
        }
    }
    for name in ["jar_params", "python_params", "spark_submit_params"] {
        let given = list(body, name)?.into_iter().flatten();
        let ascii_only = name != "jar_params";
        for value in given {
            let text =
                value.as_str().ok_or_else(|| ApiError::malformed(format!("{name} must be a list of strings")))?;
            if ascii_only && !text.is_ascii() {
                return Err(ApiError::invalid(format!("{name} must contain only ASCII characters.")));
            }
        }
    }
    let mut parameters = strings(body, "notebook_params")?;
    parameters.extend(strings(body, "python_named_params")?);
    parameters.extend(strings(body, "sql_params")?);
    if let Some(queue) = body.get("queue") {
        flag(queue, "enabled")?;
    }
    Ok(parameters)
}

/// The tasks of a submission, in the only form there is since 2.1, or in the older one that is still let through.
fn submitted_tasks(body: &Value) -> Result<Vec<Value>, ApiError> {
    if body.get("job_clusters").is_some() {
        return Err(ApiError::invalid("Shared job cluster feature is not supported in runs/submit API."));
    }
    let tasks = list(body, "tasks")?.cloned().unwrap_or_default();
    if tasks.is_empty() {
        return Ok(vec![older_shape(body)?]);
    }
    if tasks.len() > MAX_TASKS {
        return Err(ApiError::invalid(format!("The number of tasks cannot exceed {MAX_TASKS}.")));
    }
    let mut keys = BTreeSet::new();
    for task in &tasks {
        let key = text(task, "task_key")?.ok_or_else(|| ApiError::invalid("Missing required field: task_key"))?;
        if key.is_empty() || !key.chars().all(|letter| letter.is_alphanumeric() || "_-".contains(letter)) {
            return Err(ApiError::invalid(format!("Invalid task_key '{key}'.")));
        }
        if !keys.insert(key) {
            return Err(ApiError::invalid(format!("Duplicate task_key '{key}' found in tasks.")));
        }
        if task.get("job_cluster_key").is_some() {
            return Err(ApiError::invalid("Shared job cluster feature is not supported in runs/submit API."));
        }
        match kinds_of(task) {
            1 => {}
            0 => {
                return Err(ApiError::invalid(format!("Task {key} must have exactly one task type.")));
            }
            _ => {
                return Err(ApiError::invalid(format!("Task {key} has more than one task type.")));
            }
        }
    }
    dependencies::check(&tasks).map_err(ApiError::invalid)?;
    Ok(tasks)
}

fn kinds_of(task: &Value) -> usize {
    let fields = task.as_object().into_iter().flatten();
    fields.filter(|(name, value)| name.ends_with("_task") && !value.is_null()).count()
}

/// One task whose fields stand beside `run_name`. An empty `tasks` is read as this, hence the message it gets.
fn older_shape(body: &Value) -> Result<Value, ApiError> {
    let compute = ["existing_cluster_id", "new_cluster"].iter().any(|name| body.get(name).is_some());
    if !compute {
        return Err(ApiError::invalid(NO_COMPUTE));
    }
    if kinds_of(body) != 1 {
        return Err(ApiError::invalid("Exactly one task type must be specified."));
    }
    let mut task = body.clone();
    if let Some(fields) = task.as_object_mut() {
        fields
            .retain(|name, _| !["run_name", "idempotency_token", "tasks", "timeout_seconds"].contains(&name.as_str()));
        fields.insert("task_key".to_owned(), json!("main"));
    }
    Ok(task)
}
