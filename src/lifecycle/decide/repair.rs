//! A repair: the failed tasks of a run once more, under the same run id. There is no idempotency token for it; what makes
//! it happen once is the run's last repair at the time, written ahead and sent along: Databricks refuses a request that
//! names another. In doubt the history is read, and a new last repair is that repair, whoever made it.

use serde_json::{Map, Value};

use super::{Step, finish, live, pinned, read_now, reconciling, record, stop};
use crate::api::conditions::{Reason, State};
use crate::api::status::{CancelCause, RepairRecord, WorkspacePin};
use crate::databricks::ids::{RepairId, RunId};
use crate::databricks::model::Run;
use crate::lifecycle::deadlines;
use crate::lifecycle::memory::RepairAnswer;
use crate::lifecycle::observed::{Now, Observed, WorkspaceView};
use crate::lifecycle::report::{Standing, report};
use crate::lifecycle::request::Request;
use crate::lifecycle::step::{Announcement, Effect, EventReason};

/// What of a run-now body is sent again: parameters are not inherited from the run that is repaired.
const RESENT: [&str; 10] = [
    "dbt_commands",
    "jar_params",
    "job_parameters",
    "notebook_params",
    "performance_target",
    "pipeline_params",
    "python_named_params",
    "python_params",
    "spark_submit_params",
    "sql_params",
];

/// Writes the repair ahead of its request. `run` was read just now and has failed.
pub(super) fn write_ahead(seen: &Observed<'_>, run: &Run, request: &Request<'_>, now: Now) -> Step {
    let mut next = seen.status().clone();
    let n = next.retries.unwrap_or(0).saturating_add(1);
    next.retries = Some(n);
    next.attempt = Some(next.attempt.unwrap_or(1).saturating_add(1));
    next.backoff = None;
    next.repair =
        Some(RepairRecord { after: latest(run).map(|id| id.to_string()), n, body: body(request), repair_id: None });
    (next.result_state, next.state_message, next.termination_code, next.termination_type) = (None, None, None, None);
    (next.durations, next.duration, next.life_cycle_state) = (None, None, None);
    (next.outputs, next.tasks, next.tasks_truncated) = (Vec::new(), Vec::new(), None);
    next.state = Some(State::Pending.as_str().to_owned());
    let message = format!("the failed tasks of run {} are to be run again", run.run_id);
    report(&mut next, Standing::Reconciling, Reason::ProgressingWithRetry, &message, seen.subject.generation, now);
    record(next, Vec::new())
}

fn body(request: &Request<'_>) -> String {
    let mut body: Map<String, Value> = request
        .body
        .iter()
        .filter(|(name, _)| RESENT.contains(&name.as_str()))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect();
    body.insert("rerun_all_failed_tasks".to_owned(), true.into());
    body.insert("rerun_dependent_tasks".to_owned(), true.into());
    Value::Object(body).to_string()
}

/// The run's last repair.
fn latest(run: &Run) -> Option<RepairId> {
    run.repair_history.iter().rev().find_map(|line| line.id)
}

/// Whether the run's history, as it was read just now, names the repair that is followed: only then is an end the repaired
/// run's end, and not the one before.
pub(super) fn is_named(run: &Run, repair: &RepairRecord) -> bool {
    repair
        .repair_id
        .as_ref()
        .is_none_or(|id| run.repair_history.iter().filter_map(|line| line.id).any(|known| known.to_string() == *id))
}

pub(super) fn decide(seen: &Observed<'_>, run: RunId, now: Now) -> Step {
    let Some(repair) = &seen.status().repair else { return Step::Wait(None) };
    // The controller takes note before it asks for a decision; without the note nothing may be sent.
    let Some(memory) = seen.memory.repair.as_ref().filter(|memory| memory.is_of(run, repair)) else {
        return Step::Wait(Some(std::time::Duration::from_secs(1)));
    };
    let deadline = deadlines::before_run(&seen.subject, seen.status(), now);
    if seen.subject.deletion.is_none()
        && let Some(cause) = stop::new_cause(seen, deadline)
    {
        return if memory.surely_unsent() { close(seen, cause, now) } else { stop::write(seen, cause, now) };
    }
    let pin = match pinned(seen) {
        Ok(pin) => pin,
        Err((reason, message)) => return reconciling(seen, seen.status().clone(), reason, &message, None, now),
    };
    if let Some(verdict) = seen.reading_of(run).and_then(|reading| live::gone(seen, reading, now)) {
        return finish::without_run(seen, run, verdict, now);
    }
    if let Some(RepairAnswer::Repaired(id)) = &memory.answer {
        return acknowledged(seen, run, *id, now);
    }
    if let Some(wait) = memory.failures.wait(now) {
        return waiting(seen, run, wait, now);
    }
    if !memory.surely_unsent() || memory.answer.is_some() {
        let fresh = match read_now(seen, pin, run, now) {
            Ok(fresh) => fresh,
            Err(step) => return *step,
        };
        let last = latest(&fresh.run);
        if let Some(id) = last.filter(|id| repair.after.as_deref() != Some(id.to_string().as_str())) {
            return acknowledged(seen, run, id, now);
        }
        if let Some(RepairAnswer::Refused(error)) = &memory.answer {
            let why = format!("it is not repaired: Databricks refuses that: {}", error.told());
            return finish::as_last_attempt(seen, &why, now);
        }
    }
    if let Some((reason, message)) = forbidden(seen)
        && memory.surely_unsent()
    {
        return reconciling(seen, seen.status().clone(), reason, &message, None, now);
    }
    request(pin, run, repair)
}

/// Why nothing more of a run may be started. One that may have been asked for already counts as under way.
pub(super) fn forbidden(seen: &Observed<'_>) -> Option<(Reason, String)> {
    match seen.workspace {
        WorkspaceView::NotAllowed { message, .. } => Some((Reason::WorkspaceNotAllowed, message.clone())),
        _ => None,
    }
}

fn request(pin: &WorkspacePin, run: RunId, repair: &RepairRecord) -> Step {
    let after = repair.after.as_ref().and_then(|id| id.parse().ok());
    Step::Remote(Effect::Repair { pin: pin.clone(), run, after, body: repair.body.clone() })
}

/// The repair is known: the run is under way again.
fn acknowledged(seen: &Observed<'_>, run: RunId, id: RepairId, now: Now) -> Step {
    let mut next = seen.status().clone();
    if let Some(repair) = &mut next.repair {
        repair.repair_id = Some(id.to_string());
    }
    next.first_submit_time.get_or_insert(now.stamp());
    let message = match &next.cancel {
        Some(cancel) => stop::message(&next, cancel.cause),
        None => format!("the failed tasks of run {run} are run again"),
    };
    let reason = if next.cancel.is_some() { Reason::Canceling } else { Reason::Pending };
    report(&mut next, Standing::Reconciling, reason, &message, seen.subject.generation, now);
    let note = format!("the failed tasks of run {run} are run again (repair {id})");
    record(next, vec![Announcement::normal(EventReason::RunRepairing, &note)])
}

/// The request failed; say so once and wait.
fn waiting(seen: &Observed<'_>, run: RunId, wait: std::time::Duration, now: Now) -> Step {
    let error = seen.memory.repair.as_ref().and_then(|memory| memory.failures.last.as_deref());
    let Some(error) = error else { return Step::Wait(Some(wait)) };
    let (reason, message) = if let Some(cancel) = &seen.status().cancel {
        let why = stop::because(cancel.cause);
        let message = format!("run {run} is to be canceled, because {why}; whether it is being repaired is in doubt");
        (Reason::Canceling, message)
    } else {
        let why = error.told();
        (super::obstacle(error), format!("run {run} could not be repaired yet, and it is tried again: {why}"))
    };
    reconciling(seen, seen.status().clone(), reason, &message, Some(wait), now)
}

/// Nothing was sent, and nothing shall be.
fn close(seen: &Observed<'_>, cause: CancelCause, now: Now) -> Step {
    super::close::close(seen, cause, now, || {
        finish::as_last_attempt(seen, &format!("it is not repaired, because {}", stop::because(cause)), now)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_sent_again_and_nothing_else_of_the_body() {
        let spec: crate::api::run::DatabricksRunSpec = serde_json::from_value(serde_json::json!({
            "workspaceRef": {"name": "prod"},
            "runNow": {"job_id": 5, "job_parameters": {"day": "1"}, "queue": {"enabled": true}, "only": ["a"]},
        }))
        .unwrap();
        let body: Value = serde_json::from_str(&body(&Request::of(&spec).unwrap())).unwrap();
        assert_eq!(
            body,
            serde_json::json!({"job_parameters": {"day": "1"}, "rerun_all_failed_tasks": true, "rerun_dependent_tasks": true})
        );
    }
}
