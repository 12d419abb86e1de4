//! runs/get, runs/get-output and runs/list. Reading changes nothing.

use serde_json::{Value, json};

use super::clock::Millis;
use super::errors::ApiError;
use super::render::{self, Page, Parts};
use super::runs::Run;
use super::state::{Call, State};

/// Elements of `tasks` and its like in one answer.
const ARRAY_PAGE: usize = 100;
const LIST_DEFAULT: i64 = 20;
const LIST_MAX: i64 = 25;
/// What get-output keeps: the first bytes of a result, the last of the logs.
const OUTPUT_BYTES: usize = 5 * 1024 * 1024;
const OUTPUT_OF_JOB_RUN: &str = "Retrieving the output of runs with multiple tasks is not supported. \
    Please retrieve the output of each individual task run instead.";

pub(super) fn get_run(state: &State, call: &Call<'_>) -> Result<Value, ApiError> {
    let id = call.query.required_integer("run_id")?;
    let history = call.query.flag("include_history")?;
    let run = visible(state, call, id)?;
    if run.id != id {
        return task_run(state, run, id, call.now).ok_or_else(|| ApiError::no_run(id));
    }
    let from = match call.query.text("page_token").filter(|token| !token.is_empty()) {
        None => 0,
        Some(token) => token
            .strip_prefix("run-page-")
            .and_then(|from| from.parse().ok())
            .ok_or_else(|| ApiError::invalid("Invalid page token"))?,
    };
    let page = Page { from, size: ARRAY_PAGE };
    Ok(render::run(state, run, call.now, Parts { tasks: Some(page), history }))
}

fn visible<'a>(state: &'a State, call: &Call<'_>, id: i64) -> Result<&'a Run, ApiError> {
    state.check_view(call, None)?;
    let run = state.find(id, call.now).ok_or_else(|| ApiError::no_run(id))?;
    state.check_view(call, Some(run.job_id))?;
    Ok(run)
}

/// A task run that exists by now. An iteration of a for-each task is shown as its task.
fn task_run(state: &State, run: &Run, id: i64, now: Millis) -> Option<Value> {
    let plan = state.runs.plan(run);
    let attempt = plan.attempts.iter().find(|attempt| {
        let task = render::task_of(run, attempt);
        attempt.run_id == id || task.is_some_and(|task| task.iteration_ids.contains(&id))
    })?;
    (attempt.appears <= now).then(|| render::task_run(state, run, attempt, now))
}

pub(super) fn get_output(state: &State, call: &Call<'_>) -> Result<Value, ApiError> {
    let id = call.query.required_integer("run_id")?;
    let run = match visible(state, call, id) {
        Err(error) if error.status == 400 && state.settings.output_of_gone_run_is_500 => {
            return Err(ApiError { status: 500, body: super::errors::ErrorBody::Empty, retry_after: None });
        }
        answer => answer?,
    };
    if run.id == id {
        return Err(ApiError::invalid(OUTPUT_OF_JOB_RUN));
    }
    let plan = state.runs.plan(run);
    let attempt = plan.attempts.iter().find(|attempt| attempt.run_id == id);
    let Some((attempt, task)) = attempt.and_then(|attempt| Some((attempt, render::task_of(run, attempt)?))) else {
        return Err(ApiError::no_run(id));
    };
    let mut output = json!({ "metadata": render::task_run(state, run, attempt, call.now), "unannounced_field": state.settings.unannounced });
    if call.now < attempt.end {
        return Ok(output);
    }
    if let Some(error) = &attempt.ending.error {
        output["error"] = json!(error);
    }
    if let Some(trace) = &attempt.ending.error_trace {
        output["error_trace"] = json!(trace);
    }
    let script = &task.script.output;
    for (name, member) in &script.members {
        output[name] = member.clone();
    }
    if task.body.get("notebook_task").is_some() {
        output["notebook_output"] = json!({});
        if let Some(result) = script.result.as_ref().filter(|_| attempt.ending.has_result("SUCCESS")) {
            let kept = first_bytes(result);
            output["notebook_output"] = json!({ "result": kept, "truncated": kept.len() < result.len() });
        }
    } else if let Some(logs) = script.logs.as_ref().filter(|_| attempt.runs < attempt.end) {
        let kept = last_bytes(logs);
        output["logs"] = json!(kept);
        output["logs_truncated"] = json!(kept.len() < logs.len());
    }
    Ok(output)
}

fn first_bytes(text: &str) -> &str {
    &text[..text.floor_char_boundary(OUTPUT_BYTES)]
}

fn last_bytes(text: &str) -> &str {
    &text[text.ceil_char_boundary(text.len().saturating_sub(OUTPUT_BYTES))..]
}

pub(super) fn list_runs(state: &State, call: &Call<'_>) -> Result<Value, ApiError> {
    state.check_view(call, None)?;
    let query = call.query;
    let (active, completed) = (query.flag("active_only")?, query.flag("completed_only")?);
    if active && completed {
        return Err(ApiError::invalid("active_only and completed_only cannot both be true."));
    }
    let limit = match query.integer("limit")?.unwrap_or(LIST_DEFAULT) {
        0 => LIST_MAX,
        limit @ 1..=LIST_MAX => limit,
        limit => {
            return Err(ApiError::invalid(format!("Invalid limit {limit}. It must be between 1 and {LIST_MAX}.")));
        }
    };
    let limit = usize::try_from(limit).unwrap_or(1);
    let tasks = query.flag("expand_tasks")?.then_some(Page { from: 0, size: ARRAY_PAGE });
    let (job_id, run_type) = (query.integer("job_id")?, query.text("run_type"));
    let (from, to) = (query.integer("start_time_from")?, query.integer("start_time_to")?);
    let cursor = query.text("page_token").filter(|token| !token.is_empty()).map(cursor_of).transpose()?;
    let wanted = |run: &&Run| {
        job_id.is_none_or(|job| run.job_id == job)
            && run_type.is_none_or(|kind| run.kind.name() == kind)
            && from.is_none_or(|from| run.created >= from)
            && to.is_none_or(|to| run.created <= to)
            && (!active || is_listed_as_active(state, run, call.now))
            && (!completed || !state.runs.is_active(run, call.now))
    };
    let mut found = state.runs.newest_first(cursor, call.now).filter(wanted);
    let page: Vec<&Run> = found.by_ref().take(limit).collect();
    let more = found.next().is_some();
    let rows = page.iter().map(|run| render::run(state, run, call.now, Parts { tasks, history: false }));
    let rows: Vec<Value> = rows.collect();
    let mut answer = json!({});
    if !rows.is_empty() {
        answer["runs"] = Value::Array(rows);
    }
    // 2.2 has no `has_more` one can rely on, so the fake has none there.
    if call.version == "2.1" {
        answer["has_more"] = json!(more);
    }
    if let Some(last) = page.last().filter(|_| more) {
        answer["next_page_token"] = json!(format!("runs-before-{}-{}", last.created, last.id));
    }
    Ok(answer)
}

/// Runs that wait for a dependency or a retry are active, but this list does not show them.
fn is_listed_as_active(state: &State, run: &Run, now: Millis) -> bool {
    state.runs.is_active(run, now)
        && !matches!(state.runs.life_cycle_state(run, now).as_str(), "BLOCKED" | "WAITING_FOR_RETRY")
}

fn cursor_of(token: &str) -> Result<(Millis, i64), ApiError> {
    let parse = || {
        let (created, id) = token.strip_prefix("runs-before-")?.split_once('-')?;
        Some((created.parse().ok()?, id.parse().ok()?))
    };
    parse().ok_or_else(|| ApiError::invalid("Invalid page token"))
}
