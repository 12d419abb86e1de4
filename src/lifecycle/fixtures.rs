//! Runs, tasks and objects for tests, built as sentences.

use std::time::Duration;

use k8s_openapi::jiff::Timestamp;

use super::observed::Now;
use crate::api::status::WorkspacePin;
use crate::databricks::ids::RunId;
use crate::databricks::model::{Run, RunState, RunStatus, RunTask};

/// A run under construction.
pub(crate) struct RunFixture(Run);

/// A task under construction.
pub(crate) struct TaskFixture(RunTask);

/// A run that is pending.
pub(crate) fn run(id: i64) -> RunFixture {
    RunFixture(serde_json::from_value(serde_json::json!({"run_id": id, "job_id": 5, "start_time": 1_000, "state": {"life_cycle_state": "PENDING"}})).unwrap())
}

/// A task that is pending.
pub(crate) fn task(key: &str, id: i64) -> TaskFixture {
    TaskFixture(RunTask { task_key: key.to_owned(), run_id: Some(RunId(id)), ..RunTask::default() }).is("PENDING")
}

fn state(life: &str, result: &str) -> RunState {
    RunState {
        life_cycle_state: Some(life.into()),
        result_state: (!result.is_empty()).then(|| result.into()),
        ..RunState::default()
    }
}

impl RunFixture {
    pub(crate) fn is(mut self, life: &str) -> Self {
        self.0.state = Some(state(life, ""));
        self
    }

    pub(crate) fn ended(mut self, life: &str, result: &str) -> Self {
        self.0.state = Some(state(life, result));
        self.0.end_time = 61_000;
        self
    }

    pub(crate) fn message(mut self, text: &str) -> Self {
        self.0.state.get_or_insert_default().state_message = Some(text.to_owned());
        self
    }

    pub(crate) fn with(mut self, tasks: impl IntoIterator<Item = TaskFixture>) -> Run {
        self.0.tasks = tasks.into_iter().map(|task| task.0).collect();
        self.0
    }
}

impl From<RunFixture> for Run {
    fn from(fixture: RunFixture) -> Self {
        fixture.0
    }
}

impl TaskFixture {
    pub(crate) fn is(mut self, life: &str) -> Self {
        self.0.state = Some(state(life, ""));
        self
    }

    pub(crate) fn ended(mut self, life: &str, result: &str) -> Self {
        self.0.state = Some(state(life, result));
        self
    }

    pub(crate) fn failed_with(mut self, code: &str) -> Self {
        self.0.status = Some(terminated_with(code));
        self.ended("TERMINATED", "FAILED")
    }

    pub(crate) fn message(mut self, text: &str) -> Self {
        self.0.state.get_or_insert_default().state_message = Some(text.to_owned());
        self
    }
}

/// The newer description of an end.
pub(crate) fn terminated_with(code: &str) -> RunStatus {
    serde_json::from_value(serde_json::json!({"state": "TERMINATED", "termination_details": {"code": code}})).unwrap()
}

/// The workspace of the tests.
pub(crate) fn pin() -> WorkspacePin {
    WorkspacePin {
        kind: "DatabricksWorkspace".into(),
        name: "prod".into(),
        host: "https://workspace.test".into(),
        workspace_id: None,
        jobs_api_version: "2.1".into(),
    }
}

/// So many seconds after the tests' beginning, on both clocks.
pub(crate) fn now(seconds: u64) -> Now {
    Now {
        wall: Timestamp::from_second(1_800_000_000 + i64::try_from(seconds).unwrap()).unwrap(),
        mono: Duration::from_secs(seconds),
    }
}
