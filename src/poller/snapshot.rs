//! The newest that is known of one run, and what counts as news.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::SystemTime;

use super::Now;
use crate::databricks::ids::RunId;
use crate::databricks::model::{LifeCycleState, Run, RunTask, StatusState};

/// The newest that is known of one run: raw material for a decision, none itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// The run this is about. Compare it: the key may have been given another run since.
    pub run_id: RunId,
    /// Rises with all news, and never repeats within a poller, not even for another run. Readings that are no news keep
    /// it; it is 0 before the first answer.
    pub version: u64,
    /// The last description of the run, if there ever was one.
    pub seen: Option<Seen>,
    /// There when the newest answer was that the run does not exist.
    pub absent: Option<Absent>,
    /// There when the newest attempt got no answer about the run. Says nothing about the run and is never news.
    pub failing: Option<Failing>,
}

/// A run as it was last described.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// The run.
    pub run: Arc<Run>,
    /// When the question was sent: the description is of this instant or later.
    pub at: Now,
    /// Databricks' own time of the answer.
    pub server_time: Option<SystemTime>,
}

/// Answers in a row that the run does not exist. Attempts without an answer in between do not break the row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Absent {
    /// How many.
    pub answers: u32,
    /// When the first of them was asked for.
    pub first: Now,
    /// When the last of them was asked for.
    pub last: Now,
}

/// Attempts in a row that got no answer about the run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Failing {
    /// The last one's [`Error::reason`](crate::databricks::error::Error::reason).
    pub reason: &'static str,
    /// When the first of them was made.
    pub since: Now,
}

impl Snapshot {
    pub(super) fn blank(run_id: RunId) -> Self {
        Self { run_id, version: 0, seen: None, absent: None, failing: None }
    }

    /// When the newest answer (the run, or that it does not exist) was asked for.
    #[must_use]
    pub fn answered_at(&self) -> Option<Now> {
        self.absent.map(|absent| absent.last).or(self.seen.as_ref().map(|seen| seen.at))
    }

    /// Where the run is by either description, as far as schedules care; nothing when it is absent or unseen.
    pub(super) fn life_cycle(&self) -> Option<LifeCycle<'_>> {
        match &self.seen {
            Some(seen) if self.absent.is_none() => Some(life_cycle(&seen.run)),
            _ => None,
        }
    }
}

/// Both descriptions of where a run is.
pub(super) type LifeCycle<'a> = (Option<&'a LifeCycleState>, Option<&'a StatusState>);

/// Both descriptions of where `run` is.
pub(super) fn life_cycle(run: &Run) -> LifeCycle<'_> {
    (
        run.state.as_ref().and_then(|state| state.life_cycle_state.as_ref()),
        run.status.as_ref().and_then(|status| status.state.as_ref()),
    )
}

/// A digest of what a description says that a status would show: another one is news. Durations tick while the run is live,
/// so they count only once it has ended. Taken apart field by field: whoever adds a field must decide here.
pub(super) fn digest(run: &Run) -> u64 {
    let Run {
        run_id,
        job_id,
        run_name,
        run_page_url,
        state,
        status,
        start_time,
        end_time,
        queue_duration,
        setup_duration,
        execution_duration,
        cleanup_duration,
        run_duration,
        tasks,
        repair_history,
        next_page_token: _,
    } = run;
    let mut digest = DefaultHasher::new();
    (run_id, job_id, run_name, run_page_url, state, status, start_time, end_time, repair_history).hash(&mut digest);
    if *end_time != 0 {
        (queue_duration, setup_duration, execution_duration, cleanup_duration, run_duration).hash(&mut digest);
    }
    tasks.len().hash(&mut digest);
    for task in tasks {
        add_task(&mut digest, task);
    }
    digest.finish()
}

fn add_task(digest: &mut DefaultHasher, task: &RunTask) {
    let RunTask {
        run_id,
        task_key,
        attempt_number,
        state,
        status,
        start_time,
        end_time,
        setup_duration,
        execution_duration,
        cleanup_duration,
        run_page_url,
        has_new_cluster,
        job_cluster_key,
        existing_cluster_id,
    } = task;
    (run_id, task_key, attempt_number, state, status, start_time, end_time, run_page_url).hash(digest);
    (has_new_cluster, job_cluster_key, existing_cluster_id).hash(digest);
    if *end_time != 0 {
        (setup_duration, execution_duration, cleanup_duration).hash(digest);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_news(old: &Run, new: &Run) -> bool {
        digest(old) != digest(new)
    }

    /// A live run with one live task, changed by a JSON pointer's worth of `change`.
    fn run(change: impl FnOnce(&mut serde_json::Value)) -> Run {
        let mut run = serde_json::json!({
            "run_id": 7, "job_id": 3, "run_name": "etl", "run_page_url": "https://x/7", "start_time": 1000,
            "state": {"life_cycle_state": "RUNNING", "state_message": "In run"}, "status": {"state": "RUNNING"},
            "tasks": [{"task_key": "a", "run_id": 8, "attempt_number": 0, "state": {"life_cycle_state": "RUNNING"}}],
        });
        change(&mut run);
        serde_json::from_value(run).unwrap()
    }

    #[test]
    fn what_a_status_shows_is_news() {
        let changes: [(&str, serde_json::Value); 12] = [
            ("/state/life_cycle_state", "TERMINATING".into()),
            ("/state/state_message", "Cleaning up".into()),
            ("/status/state", "TERMINATED".into()),
            ("/run_name", "renamed".into()),
            ("/run_page_url", "https://y/7".into()),
            ("/job_id", 4.into()),
            ("/start_time", 1001.into()),
            ("/tasks/0/run_id", 9.into()),
            ("/tasks/0/attempt_number", 1.into()),
            ("/tasks/0/state/life_cycle_state", "TERMINATED".into()),
            ("/tasks/0/task_key", "b".into()),
            ("/tasks", serde_json::json!([])),
        ];
        for (pointer, value) in changes {
            let new = run(|json| *json.pointer_mut(pointer).unwrap() = value);
            assert!(is_news(&run(|_| ()), &new), "{pointer}");
        }
        for field in ["result_state", "queue_reason"] {
            let new = run(|json| json["state"][field] = "FAILED".into());
            assert!(is_news(&run(|_| ()), &new), "{field}");
        }
        let new = run(|json| json["status"]["termination_details"] = serde_json::json!({"code": "DRIVER_ERROR"}));
        assert!(is_news(&run(|_| ()), &new), "termination_details");
    }

    #[test]
    fn a_duration_is_news_only_after_the_end() {
        for duration in ["queue_duration", "setup_duration", "execution_duration", "cleanup_duration", "run_duration"] {
            let with = |end: i64, value: i64| {
                run(|json| {
                    json["end_time"] = end.into();
                    json[duration] = value.into();
                })
            };
            assert!(!is_news(&with(0, 1), &with(0, 2)), "{duration} of a live run");
            assert!(is_news(&with(9, 1), &with(9, 2)), "{duration} of an ended run");
        }
        for duration in ["setup_duration", "execution_duration", "cleanup_duration"] {
            let with = |end: i64, value: i64| {
                run(|json| {
                    json["tasks"][0]["end_time"] = end.into();
                    json["tasks"][0][duration] = value.into();
                })
            };
            assert!(!is_news(&with(0, 1), &with(0, 2)), "{duration} of a live task");
            assert!(is_news(&with(9, 1), &with(9, 2)), "{duration} of an ended task");
        }
    }

    #[test]
    fn the_same_answer_again_is_no_news() {
        assert!(!is_news(&run(|_| ()), &run(|_| ())));
    }
}
