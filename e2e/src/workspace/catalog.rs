//! jobs/get, jobs/list and the caller's own identity.

use serde_json::{Value, json};

use super::errors::ApiError;
use super::jobs::{Job, Shown};
use super::state::{Call, State};
use super::tokens::Access;

const LIST_DEFAULT: i64 = 20;
const LIST_MAX: i64 = 100;

pub(super) fn get_job(state: &State, call: &Call<'_>) -> Result<Value, ApiError> {
    let id = call.query.required_integer("job_id")?;
    state.check_view(call, Some(id))?;
    let job = state.jobs.get(&id).ok_or_else(|| ApiError::no_job(id))?;
    Ok(job.json(Shown::Whole))
}

/// Jobs the caller may see, newest first. `name` matches exactly but for upper and lower case, and names repeat.
pub(super) fn list_jobs(state: &State, call: &Call<'_>) -> Result<Value, ApiError> {
    let query = call.query;
    let limit = match query.integer("limit")?.unwrap_or(LIST_DEFAULT) {
        limit @ 1..=LIST_MAX => limit,
        limit => {
            return Err(ApiError::invalid(format!("Invalid limit {limit}. It must be between 1 and {LIST_MAX}.")));
        }
    };
    let limit = usize::try_from(limit).unwrap_or(1);
    let from = match query.text("page_token").filter(|token| !token.is_empty()) {
        None => 0,
        Some(token) => token
            .strip_prefix("jobs-from-")
            .and_then(|from| from.parse().ok())
            .ok_or_else(|| ApiError::invalid("Invalid page token"))?,
    };
    let name = query.text("name").map(str::to_lowercase);
    let visible = |job: &&Job| {
        state.tokens.access(call.principal, Some(job.id)) != Access::None
            && name.as_ref().is_none_or(|name| job.name.to_lowercase() == *name)
    };
    let mut jobs: Vec<&Job> = state.jobs.values().filter(visible).collect();
    jobs.sort_by_key(|job| std::cmp::Reverse((job.created, job.id)));
    let shown = if query.flag("expand_tasks")? { Shown::RowWithTasks } else { Shown::Row };
    let rows: Vec<Value> = jobs.iter().skip(from).take(limit).map(|job| job.json(shown)).collect();
    let mut answer = json!({});
    if !rows.is_empty() {
        answer["jobs"] = Value::Array(rows);
    }
    let more = from + limit < jobs.len();
    if call.version == "2.1" {
        answer["has_more"] = json!(more);
    }
    if more {
        answer["next_page_token"] = json!(format!("jobs-from-{}", from + limit));
    }
    Ok(answer)
}

pub(super) fn me(call: &Call<'_>) -> Value {
    json!({ "id": "7", "userName": call.principal, "displayName": call.principal, "active": true })
}
