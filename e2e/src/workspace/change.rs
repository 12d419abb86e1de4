//! runs/cancel, cancel-all, delete and repair: what may be done to a run that exists.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::arguments::{flag, integer, list, required_integer, strings};
use super::conventions;
use super::errors::ApiError;
use super::runs::Run;
use super::start::{generation, run_parameters, script_of_submit};
use super::state::{Call, State};

/// Asks a run to stop. It is answered at once; the run ends later. A run that has ended stays as it is.
pub(super) fn cancel(state: &mut State, call: &Call<'_>) -> Result<(), ApiError> {
    let id = required_integer(call.body, "run_id")?;
    let run = managed(state, call, id)?;
    if !state.runs.is_active(run, call.now) {
        return Ok(());
    }
    let (run_id, now) = (run.id, call.now);
    state.runs.change(run_id, |run| {
        let Some(generation) = run.generations.last_mut() else {
            return;
        };
        if id == run_id {
            generation.cancelled_at.get_or_insert(now);
            return;
        }
        let of_task = |ids: &[i64]| ids.contains(&id);
        for task in &mut generation.tasks {
            if of_task(&task.run_ids) || of_task(&task.iteration_ids) {
                task.cancelled_at.get_or_insert(now);
            }
        }
    });
    Ok(())
}

fn managed<'a>(state: &'a State, call: &Call<'_>, id: i64) -> Result<&'a Run, ApiError> {
    state.check_manage(call, None)?;
    let run = state.find(id, call.now).ok_or_else(|| ApiError::no_run(id))?;
    state.check_manage(call, Some(run.job_id))?;
    Ok(run)
}

/// Cancels every active run of a job, or without one every queued run there is. Nobody should call this.
pub(super) fn cancel_all(state: &mut State, call: &Call<'_>) -> Result<(), ApiError> {
    state.check_manage(call, None)?;
    let job = integer(call.body, "job_id")?;
    let queued_only = job.is_none();
    if queued_only && !flag(call.body, "all_queued_runs")? {
        return Err(ApiError::invalid("Missing required field: job_id"));
    }
    let hit = |run: &&Run| {
        job.is_none_or(|job| run.job_id == job)
            && (!queued_only || state.runs.life_cycle_state(run, call.now) == "QUEUED")
    };
    let ids: Vec<i64> = state.runs.active(call.now).filter(hit).map(|run| run.id).collect();
    for id in ids {
        state.runs.change(id, |run| {
            if let Some(generation) = run.generations.last_mut() {
                generation.cancelled_at.get_or_insert(call.now);
            }
        });
    }
    Ok(())
}

/// Deletes a run that has ended. Its idempotency token stays behind.
pub(super) fn delete(state: &mut State, call: &Call<'_>) -> Result<(), ApiError> {
    let id = required_integer(call.body, "run_id")?;
    let run = managed(state, call, id)?;
    if state.runs.is_active(run, call.now) {
        return Err(ApiError::new(
            400,
            "INVALID_STATE",
            format!("Run {id} is active. Cancel it and wait for it to end before deleting it."),
        ));
    }
    if run.id != id {
        return Err(ApiError::no_run(id));
    }
    state.runs.remove(id);
    Ok(())
}

/// Runs some tasks of an ended run again, under the same run id.
pub(super) fn repair(state: &mut State, call: &Call<'_>) -> Result<Value, ApiError> {
    let id = required_integer(call.body, "run_id")?;
    let run = managed(state, call, id)?;
    if run.id != id {
        return Err(ApiError::no_run(id));
    }
    if state.runs.is_active(run, call.now) {
        return Err(ApiError::new(400, "INVALID_STATE", format!("Run {id} cannot be repaired because it is active.")));
    }
    check_latest_repair(run, integer(call.body, "latest_repair_id")?)?;
    let keys = tasks_to_rerun(state, run, call)?;
    let job_parameters = strings(call.body, "job_parameters")?;
    let parameters = run_parameters(call.body)?;
    let bodies: Vec<Value> =
        latest_tasks(run).filter(|(key, _)| keys.contains(*key)).map(|(_, body)| body.clone()).collect();
    // The parameters of the first execution are not inherited: what is not sent again is back at its default.
    let job = state.jobs.get(&run.job_id);
    let with_defaults = job.map(|job| job.parameters_with(&job_parameters)).unwrap_or_default();
    let repairs = run.generations.len();
    let script = match job {
        Some(job) => job.script.clone().unwrap_or_else(|| {
            let all = with_defaults.iter().map(|parameter| {
                (parameter.name.clone(), parameter.value.clone().unwrap_or_else(|| parameter.default.clone()))
            });
            conventions::script(&bodies, &parameters.into_iter().chain(all).collect::<Vec<_>>(), repairs)
        }),
        None => script_of_submit(state, &run.body, &bodies, repairs),
    };
    let attempts = next_attempts(run);
    let repair_id = state.new_id();
    let next = generation(state, Some(repair_id), call.now, script, &bodies, &attempts);
    state.runs.add_generation(id, next);
    state.runs.change(id, |run| run.job_parameters = with_defaults);
    Ok(json!({ "repair_id": repair_id }))
}

fn check_latest_repair(run: &Run, given: Option<i64>) -> Result<(), ApiError> {
    let latest = run.generations.last().and_then(|generation| generation.repair_id);
    match (latest, given) {
        (None, None) => Ok(()),
        (Some(latest), Some(given)) if latest == given => Ok(()),
        (Some(_), None) => {
            Err(ApiError::invalid("The latest repair ID needs to be provided in order to create a new repair"))
        }
        (_, Some(given)) => Err(ApiError::invalid(format!(
            "The latest repair ID provided ({given}) is not the latest repair of the run"
        ))),
    }
}

/// Each task key once, in the order of the run.
fn latest_tasks(run: &Run) -> impl Iterator<Item = (&str, &Value)> {
    let first = run.generations.first().into_iter();
    first.flat_map(|generation| generation.tasks.iter().map(|task| (task.key.as_str(), &task.body)))
}

fn next_attempts(run: &Run) -> BTreeMap<String, u32> {
    let mut next = BTreeMap::new();
    for task in run.generations.iter().flat_map(|generation| &generation.tasks) {
        let taken = u32::try_from(task.run_ids.len()).unwrap_or(1);
        next.insert(task.key.clone(), task.first_attempt + taken);
    }
    next
}

fn tasks_to_rerun(state: &State, run: &Run, call: &Call<'_>) -> Result<BTreeSet<String>, ApiError> {
    let named: Vec<&str> = list(call.body, "rerun_tasks")?.into_iter().flatten().filter_map(Value::as_str).collect();
    let all_failed = flag(call.body, "rerun_all_failed_tasks")?;
    if all_failed != named.is_empty() {
        return Err(ApiError::invalid("Exactly one of rerun_tasks and rerun_all_failed_tasks must be specified."));
    }
    let known: BTreeSet<&str> = latest_tasks(run).map(|(key, _)| key).collect();
    let mut keys = BTreeSet::new();
    for key in named {
        if !known.contains(key) {
            return Err(ApiError::invalid(format!("Task {key} does not exist in run {}.", run.id)));
        }
        if !keys.insert(key.to_owned()) {
            return Err(ApiError::invalid(format!("Duplicate task key {key} in rerun_tasks.")));
        }
    }
    if all_failed {
        let mut latest = BTreeMap::new();
        let plan = state.runs.plan(run);
        for attempt in &plan.attempts {
            latest.insert(attempt.key.clone(), attempt.ending.is_failure());
        }
        keys.extend(latest.into_iter().filter(|(_, failed)| *failed).map(|(key, _)| key));
        if keys.is_empty() {
            return Err(ApiError::invalid(format!("Run {} has no failed tasks to repair.", run.id)));
        }
    }
    if flag(call.body, "rerun_dependent_tasks")? {
        add_dependents(run, &mut keys);
    }
    Ok(keys)
}

fn add_dependents(run: &Run, keys: &mut BTreeSet<String>) {
    let Some(first) = run.generations.first() else {
        return;
    };
    loop {
        let before = keys.len();
        for task in &first.tasks {
            if task.depends_on().any(|(ahead, _)| keys.contains(ahead)) {
                keys.insert(task.key.clone());
            }
        }
        if keys.len() == before {
            return;
        }
    }
}
