//! What tests read of a run: where it stands on the workspace's clock, and how it came to be.

use serde::Serialize;
use serde_json::Value;

use super::clock::Millis;
use super::runs::{Run, RunType};
use super::state::State;

/// A run as it stands now.
#[derive(Clone, Debug, Serialize)]
pub struct RunRecord {
    /// `run_id`.
    pub id: i64,
    /// Its job; hidden behind one-off runs there is one too.
    pub job_id: i64,
    /// The job's name or `run_name`.
    pub name: String,
    /// Started by runs/submit.
    pub one_off: bool,
    /// The token it was started with.
    pub idempotency_token: Option<String>,
    /// Who started it.
    pub principal: String,
    /// The request that started it.
    pub body: Value,
    /// `state.life_cycle_state`, whatever the answers carry.
    pub life_cycle_state: String,
    /// `state.result_state`, once it has ended with one.
    pub result_state: Option<String>,
    /// It has not ended.
    pub active: bool,
    /// Someone cancelled it, in time or not.
    pub cancelled: bool,
    /// How often it was repaired.
    pub repairs: usize,
    /// When it was started.
    pub started: Millis,
    /// When it ended.
    pub ended: Option<Millis>,
    /// Its tasks' attempts so far.
    pub tasks: Vec<TaskRecord>,
}

/// One attempt of one task.
#[derive(Clone, Debug, Serialize)]
pub struct TaskRecord {
    /// `task_key`.
    pub key: String,
    /// The run id that get-output takes.
    pub run_id: i64,
    /// `attempt_number`.
    pub attempt: u32,
    /// `state.life_cycle_state`.
    pub life_cycle_state: String,
}

impl RunRecord {
    pub(super) fn of(state: &State, run: &Run) -> Self {
        let now = state.clock.now();
        let plan = state.runs.plan(run);
        let standing = plan.run_state(now);
        let tasks = plan.attempts.iter().filter(|attempt| attempt.appears <= now);
        Self {
            id: run.id,
            job_id: run.job_id,
            name: run.name.clone(),
            one_off: run.kind == RunType::Submit,
            idempotency_token: run.idempotency_token.clone(),
            principal: run.principal.clone(),
            body: run.body.clone(),
            result_state: standing
                .ending
                .as_ref()
                .filter(|_| standing.ended)
                .and_then(|ending| ending.result_state.clone()),
            life_cycle_state: standing.life_cycle_state,
            active: !standing.ended,
            cancelled: run.generations.iter().any(|generation| generation.cancelled_at.is_some()),
            repairs: run.generations.len().saturating_sub(1),
            started: run.created,
            ended: standing.ended.then(|| plan.end()),
            tasks: tasks
                .map(|attempt| TaskRecord {
                    key: attempt.key.clone(),
                    run_id: attempt.run_id,
                    attempt: attempt.number,
                    life_cycle_state: attempt.state(now, now < plan.works_from).life_cycle_state,
                })
                .collect(),
        }
    }
}
