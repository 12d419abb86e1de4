//! `jobs/runs/list` of live runs, for those who want to know which of many have changed. Nothing of an answer is kept but
//! a digest of each row.

use std::hash::{DefaultHasher, Hash, Hasher};

use serde::Deserialize;

use super::list_runs::RUNS_PER_PAGE;
use crate::databricks::bounded;
use crate::databricks::client::{Client, Request};
use crate::databricks::error::Error;
use crate::databricks::ids::RunId;
use crate::databricks::limiter::Lane;
use crate::databricks::model::{RunState, RunStatus};
use crate::databricks::observer::Operation;
use crate::databricks::settings::JobsApiVersion;
use crate::databricks::whereabouts::Whereabouts;

/// Which live runs (QUEUED, PENDING, RUNNING and TERMINATING; not BLOCKED or `WAITING_FOR_RETRY` ones).
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct LiveRuns {
    /// Only runs that started at or after this time, in epoch milliseconds.
    pub start_time_from: Option<i64>,
    /// Only runs that started at or before this time, in epoch milliseconds.
    pub start_time_to: Option<i64>,
    /// The page to begin with: [`LiveRunsPage::next_page_token`] of the one before.
    pub page_token: Option<String>,
}

/// One page, newest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LiveRunsPage {
    /// The runs.
    pub runs: Vec<LiveRun>,
    /// Where the next page begins; `None` on the last.
    pub next_page_token: Option<String>,
}

/// A live run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LiveRun {
    /// The run.
    pub run_id: RunId,
    /// Epoch milliseconds of its start.
    pub start_time: i64,
    /// A digest of its state and its tasks'. The same state has the same digest within a process.
    pub digest: u64,
    /// Where it and its tasks are, if it surely goes on.
    pub whereabouts: Option<Whereabouts>,
}

#[derive(Deserialize)]
struct Answer {
    /// Absent when there is none.
    #[serde(default, deserialize_with = "bounded::list")]
    runs: Vec<Row>,
    next_page_token: Option<String>,
}

#[derive(Deserialize)]
struct Row {
    run_id: RunId,
    #[serde(flatten)]
    looks: Looks,
}

/// Whatever of a row is news when it changes. Durations tick and are not among it.
#[derive(Deserialize, Hash)]
struct Looks {
    #[serde(default)]
    start_time: i64,
    #[serde(default)]
    end_time: i64,
    #[serde(default)]
    state: Option<RunState>,
    #[serde(default)]
    status: Option<RunStatus>,
    #[serde(default, deserialize_with = "bounded::list")]
    tasks: Vec<Task>,
}

#[derive(Deserialize, Hash, Default)]
#[serde(default)]
struct Task {
    run_id: Option<RunId>,
    attempt_number: i64,
    start_time: i64,
    end_time: i64,
    state: Option<RunState>,
    status: Option<RunStatus>,
}

impl From<Row> for LiveRun {
    fn from(Row { run_id, looks }: Row) -> Self {
        // Without random keys, so that tests repeat; what is compared comes from the same workspace.
        let mut digest = DefaultHasher::new();
        looks.hash(&mut digest);
        let tasks = looks.tasks.iter();
        let tasks = tasks.map(|task| (task.run_id, task.attempt_number, task.state.as_ref(), task.status.as_ref()));
        let whereabouts = Whereabouts::described(looks.end_time, looks.state.as_ref(), looks.status.as_ref(), tasks);
        Self { run_id, start_time: looks.start_time, digest: digest.finish(), whereabouts }
    }
}

impl Client {
    /// One page of live runs, with their tasks looked at.
    pub async fn live_runs(&self, version: JobsApiVersion, query: &LiveRuns) -> Result<LiveRunsPage, Error> {
        self.permission(Operation::ListRuns, Lane::Poll, query)?;
        let request = Request::get(Operation::ListRuns, version, "runs/list")
            .query("limit", RUNS_PER_PAGE)
            .query("active_only", "true")
            .query("expand_tasks", "true")
            .query_if("start_time_from", query.start_time_from)
            .query_if("start_time_to", query.start_time_to)
            .query_if("page_token", query.page_token.as_deref());
        let page: Answer = self.send(&request, self.call_deadline()).await?.json()?;
        Ok(LiveRunsPage {
            runs: page.runs.into_iter().map(LiveRun::from).collect(),
            next_page_token: page.next_page_token.filter(|token| !token.is_empty()),
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn digest(change: impl FnOnce(&mut Value)) -> u64 {
        let mut row = json!({
            "run_id": 7, "job_id": 3, "start_time": 1000, "run_duration": 5,
            "state": {"life_cycle_state": "RUNNING", "state_message": "In run"}, "status": {"state": "RUNNING"},
            "tasks": [{"task_key": "a", "run_id": 8, "state": {"life_cycle_state": "PENDING"}, "setup_duration": 1}],
        });
        change(&mut row);
        let row: Row = serde_json::from_value(row).unwrap();
        LiveRun::from(row).digest
    }

    #[test]
    fn a_row_looks_otherwise_when_the_run_or_a_task_has_changed() {
        let before = digest(|_| ());
        assert_eq!(digest(|_| ()), before);
        let changes: [(&str, Value); 6] = [
            ("/state/life_cycle_state", json!("TERMINATING")),
            ("/state/state_message", json!("Cleaning up")),
            ("/status/state", json!("TERMINATING")),
            ("/start_time", json!(1001)),
            ("/tasks/0/run_id", json!(9)),
            ("/tasks/0/state/life_cycle_state", json!("RUNNING")),
        ];
        for (pointer, value) in changes {
            assert_ne!(digest(|row| *row.pointer_mut(pointer).unwrap() = value), before, "{pointer}");
        }
    }

    #[test]
    fn a_duration_that_ticks_is_no_other_look() {
        let before = digest(|_| ());
        for pointer in ["/run_duration", "/tasks/0/setup_duration"] {
            assert_eq!(digest(|row| *row.pointer_mut(pointer).unwrap() = json!(99)), before, "{pointer}");
        }
    }
}
