//! What of a run is shown in the status, within its bounds.

use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;

use super::bounds::one_line;
use super::observed::stamp;
use super::verdict::{Look, look, termination};
use crate::api::conditions::State;
use crate::api::status::{DatabricksRunStatus, Durations, TaskStatus, WorkspacePin};
use crate::databricks::model::{
    LifeCycleState, ResultState, Run, RunState, RunStatus, RunTask, StatusState, TerminationCode, TerminationType,
};

/// Tasks that are listed.
pub const MAX_TASKS: usize = 100;
/// Bytes of a whole status as JSON, an open intent apart.
pub const MAX_STATUS: usize = 32 * 1024;
/// Bytes that the listed tasks may take of it, the commas between them apart.
const MAX_TASKS_BYTES: usize = 12 * 1024;
/// Bytes of Databricks' own messages.
const MAX_MESSAGE: usize = 500;
/// Bytes of a task's message: there may be a hundred.
const MAX_TASK_MESSAGE: usize = 200;
/// Bytes of a word such as a state or a code.
const MAX_WORD: usize = 100;
/// Bytes of a task key; Databricks allows 100 characters.
pub const MAX_KEY: usize = 400;

/// Writes what the run is and where it stands.
pub fn run_facts(status: &mut DatabricksRunStatus, pin: &WorkspacePin, run: &Run) {
    status.job_id = run.job_id.map(|id| id.to_string()).or(status.job_id.take());
    status.run_page_url = page_url(pin, run).or(status.run_page_url.take());
    let state = run.state.as_ref();
    status.life_cycle_state = word(life_cycle(state, run.status.as_ref()));
    status.result_state = word(state.and_then(|state| state.result_state.as_ref()).map(ResultState::as_str));
    status.state_message = state
        .and_then(|state| state.state_message.as_deref())
        .map(|text| one_line(text, MAX_MESSAGE))
        .filter(|text| !text.is_empty());
    let details = termination(run.status.as_ref());
    status.termination_code = word(details.and_then(|details| details.code.as_ref()).map(TerminationCode::as_str));
    status.termination_type = word(details.and_then(|details| details.kind.as_ref()).map(TerminationType::as_str));
    status.start_time = time(run.start_time).or(status.start_time.take());
}

/// Writes the tasks, failed ones first, as many as fit.
pub fn tasks(status: &mut DatabricksRunStatus, pin: &WorkspacePin, run: &Run) {
    let mut ordered: Vec<&RunTask> = run.tasks.iter().collect();
    ordered.sort_by_key(|task| rank(task));
    let mut left = MAX_TASKS_BYTES;
    status.tasks = ordered
        .iter()
        .take(MAX_TASKS)
        .map(|task| task_status(pin, run, task))
        .take_while(|task| {
            let size = serde_json::to_string(task).map_or(usize::MAX, |json| json.len());
            let fits = size <= left;
            left = left.saturating_sub(size);
            fits
        })
        .collect();
    status.tasks_truncated = (status.tasks.len() < run.tasks.len()).then_some(true);
}

/// Failed tasks first, then those under way, then the others.
fn rank(task: &RunTask) -> u8 {
    match look(task.state.as_ref(), task.status.as_ref()) {
        Look::Ended(verdict) => match verdict.state {
            State::Failed | State::TimedOut => 0,
            State::Canceled => 1,
            State::Succeeded => 3,
            _ => 4,
        },
        Look::Active(_) | Look::Disagreeing(_) | Look::ResultMissing => 2,
    }
}

fn task_status(pin: &WorkspacePin, run: &Run, task: &RunTask) -> TaskStatus {
    let state = task.state.as_ref();
    let details = termination(task.status.as_ref());
    let message = state.and_then(|state| state.state_message.as_deref());
    let message = message.or(details.and_then(|details| details.message.as_deref()));
    TaskStatus {
        task_key: one_line(&task.task_key, MAX_KEY),
        run_id: task.run_id.map(|id| id.to_string()),
        attempt_number: Some(task.attempt_number),
        life_cycle_state: word(life_cycle(state, task.status.as_ref())),
        result_state: word(state.and_then(|state| state.result_state.as_ref()).map(ResultState::as_str)),
        termination_code: word(details.and_then(|details| details.code.as_ref()).map(TerminationCode::as_str)),
        message: message.map(|text| one_line(text, MAX_TASK_MESSAGE)).filter(|text| !text.is_empty()),
        run_page_url: task_url(pin, run, task),
    }
}

/// Writes the times of a run that has ended.
pub fn times(status: &mut DatabricksRunStatus, run: &Run) {
    let total =
        if run.run_duration > 0 { run.run_duration } else { run.end_time.saturating_sub(run.start_time).max(0) };
    let known = |millis: i64| (millis > 0).then_some(millis);
    // A run of one task has its parts in the task; a run of several has none of its own.
    let part = |of_run: i64, of_task: fn(&RunTask) -> i64| {
        known(of_run).or_else(|| match run.tasks.as_slice() {
            [only] => known(of_task(only)),
            _ => None,
        })
    };
    status.durations = Some(Durations {
        queue_millis: known(run.queue_duration),
        setup_millis: part(run.setup_duration, |task| task.setup_duration),
        execution_millis: part(run.execution_duration, |task| task.execution_duration),
        cleanup_millis: part(run.cleanup_duration, |task| task.cleanup_duration),
        total_millis: known(total),
    });
    if let (true, Ok(millis)) = (run.end_time > 0 && run.start_time > 0, u64::try_from(total)) {
        status.duration = Some(human(Duration::from_millis(millis)));
    }
}

/// A duration as `kubectl` shows an age: the two largest parts.
#[must_use]
pub fn human(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60, seconds % 60) {
        (0, 0, 0, seconds) => format!("{seconds}s"),
        (0, 0, minutes, seconds) => format!("{minutes}m{seconds}s"),
        (0, hours, minutes, _) => format!("{hours}h{minutes}m"),
        (days, hours, ..) => format!("{days}d{hours}h"),
    }
}

/// Whether a run or one of its tasks waits for a cluster that has yet to be started.
#[must_use]
pub fn waits_for_new_cluster(run: &Run) -> bool {
    run.tasks.iter().any(|task| task.has_new_cluster || task.job_cluster_key.is_some())
}

fn life_cycle<'a>(state: Option<&'a RunState>, status: Option<&'a RunStatus>) -> Option<&'a str> {
    let older = state.and_then(|state| state.life_cycle_state.as_ref()).map(LifeCycleState::as_str);
    older.or_else(|| status.and_then(|status| status.state.as_ref()).map(StatusState::as_str))
}

fn word(text: Option<&str>) -> Option<String> {
    text.map(|text| one_line(text, MAX_WORD)).filter(|text| !text.is_empty())
}

fn time(millis: i64) -> Option<Time> {
    (millis > 0).then(|| Timestamp::from_millisecond(millis).ok()).flatten().map(stamp)
}

/// The run's page. Made of the pinned host and of ids, never echoed from the answer; of the answer only the digits of
/// the workspace id are taken. The form that is answered leads people without admin rights to the home page.
fn page_url(pin: &WorkspacePin, run: &Run) -> Option<String> {
    let job = run.job_id?;
    Some(format!("{}/jobs/{job}/runs/{}{}", pin.host, run.run_id, workspace_query(pin, run)))
}

fn task_url(pin: &WorkspacePin, run: &Run, task: &RunTask) -> Option<String> {
    let (job, id) = (run.job_id?, task.run_id?);
    Some(format!("{}/jobs/{job}/runs/{id}{}", pin.host, workspace_query(pin, run)))
}

fn workspace_query(pin: &WorkspacePin, run: &Run) -> String {
    let answered = run.run_page_url.as_deref().and_then(|url| url.split_once("?o=")).map(|(_, rest)| {
        let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        &rest[..end]
    });
    match pin.workspace_id.as_deref().or(answered) {
        Some(id) if !id.is_empty() && id.len() <= 20 => format!("?o={id}"),
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::lifecycle::fixtures::{pin, run, task};

    #[test]
    fn what_databricks_says_of_a_run_stands_in_the_status_in_its_own_words() {
        let run: Run = serde_json::from_value(json!({
            "run_id": 7, "job_id": 5, "run_page_url": "https://workspace.test/?o=42#job/5/run/7",
            "state": {"life_cycle_state": "INTERNAL_ERROR", "result_state": "FAILED", "state_message": "no\n cluster"},
            "status": {"state": "TERMINATED", "termination_details": {"code": "CLUSTER_ERROR", "type": "CLOUD_FAILURE"}},
            "start_time": 1_000, "end_time": 131_000, "queue_duration": 5_000,
            "tasks": [{
                "task_key": "load", "run_id": 71, "attempt_number": 2, "setup_duration": 60_000,
                "execution_duration": 65_000, "cleanup_duration": 5_000,
                "state": {"life_cycle_state": "INTERNAL_ERROR", "result_state": "FAILED"},
                "status": {"state": "TERMINATED", "termination_details": {"code": "CLUSTER_ERROR", "message": "quota"}},
            }],
        }))
        .unwrap();
        let mut status = DatabricksRunStatus::default();
        run_facts(&mut status, &pin(), &run);
        tasks(&mut status, &pin(), &run);
        times(&mut status, &run);
        assert_eq!(
            serde_json::to_value(status).unwrap(),
            json!({
                "jobId": "5", "runPageUrl": "https://workspace.test/jobs/5/runs/7?o=42",
                "lifeCycleState": "INTERNAL_ERROR", "resultState": "FAILED", "stateMessage": "no cluster",
                "terminationCode": "CLUSTER_ERROR", "terminationType": "CLOUD_FAILURE",
                "startTime": "1970-01-01T00:00:01Z", "duration": "2m10s",
                "durations": {
                    "queueMillis": 5_000, "setupMillis": 60_000, "executionMillis": 65_000, "cleanupMillis": 5_000,
                    "totalMillis": 130_000,
                },
                "tasks": [{
                    "taskKey": "load", "runId": "71", "attemptNumber": 2, "lifeCycleState": "INTERNAL_ERROR",
                    "resultState": "FAILED", "terminationCode": "CLUSTER_ERROR", "message": "quota",
                    "runPageUrl": "https://workspace.test/jobs/5/runs/71?o=42",
                }],
            })
        );
    }

    #[test]
    fn an_answer_that_says_less_takes_nothing_away_but_what_has_changed() {
        let mut status = DatabricksRunStatus::default();
        run_facts(&mut status, &pin(), &run(7).is("RUNNING").message("busy").into());
        run_facts(&mut status, &pin(), &serde_json::from_value(json!({"run_id": 7})).unwrap());
        assert_eq!(
            (status.job_id.as_deref(), status.run_page_url.is_some(), status.start_time.is_some()),
            (Some("5"), true, true)
        );
        assert_eq!((status.life_cycle_state, status.state_message), (None, None));
    }

    #[test]
    fn a_run_that_tells_its_duration_is_believed_and_one_of_many_tasks_has_no_parts() {
        let mut several = run(7).ended("TERMINATED", "SUCCESS").with([task("a", 71), task("b", 72)]);
        several.run_duration = 5_000;
        several.tasks[0].setup_duration = 9;
        let mut status = DatabricksRunStatus::default();
        times(&mut status, &several);
        let durations = status.durations.unwrap();
        assert_eq!((durations.total_millis, durations.setup_millis), (Some(5_000), None));
        assert_eq!(status.duration.as_deref(), Some("5s"));
        let mut unfinished = DatabricksRunStatus::default();
        times(&mut unfinished, &run(7).is("RUNNING").into());
        assert_eq!(unfinished.duration, None);
    }

    #[test]
    fn tasks_stand_in_the_order_of_what_they_need_from_a_reader() {
        let ended = |key: &str, id: i64, result: &str| task(key, id).ended("TERMINATED", result);
        let mixed = [
            task("skipped", 1).ended("SKIPPED", ""),
            ended("done", 2, "SUCCESS"),
            task("busy", 3).is("RUNNING"),
            ended("stopped", 4, "CANCELED"),
            ended("bad", 5, "FAILED"),
        ];
        let mut status = DatabricksRunStatus::default();
        tasks(&mut status, &pin(), &run(7).with(mixed));
        let keys: Vec<_> = status.tasks.iter().map(|task| task.task_key.as_str()).collect();
        assert_eq!(keys, ["bad", "stopped", "busy", "done", "skipped"]);
        assert_eq!(status.tasks_truncated, None);
    }

    #[test]
    fn long_tasks_fill_their_room_and_no_more() {
        let long = |n: i64| task(&format!("{n}").repeat(90), n).ended("TERMINATED", "FAILED").message(&"m".repeat(300));
        let mut status = DatabricksRunStatus::default();
        tasks(&mut status, &pin(), &run(7).with((10..99).map(long)));
        let sizes: Vec<_> = status.tasks.iter().map(|task| serde_json::to_string(task).unwrap().len()).collect();
        let all: usize = sizes.iter().sum();
        assert!(all <= MAX_TASKS_BYTES && all + sizes[0] > MAX_TASKS_BYTES, "{all} of {MAX_TASKS_BYTES}");
        assert_eq!(status.tasks_truncated, Some(true));
    }

    #[test]
    fn forty_ordinary_tasks_are_all_listed() {
        let ordinary = |n: i64| task(&format!("step-{n}"), n).ended("TERMINATED", "SUCCESS");
        let mut status = DatabricksRunStatus::default();
        tasks(&mut status, &pin(), &run(7).with((0..40).map(ordinary)));
        assert_eq!((status.tasks.len(), status.tasks_truncated), (40, None));
    }

    #[test]
    fn a_run_that_never_started_has_no_duration() {
        let mut status = DatabricksRunStatus::default();
        let mut never: Run = run(7).ended("SKIPPED", "").into();
        never.start_time = 0;
        run_facts(&mut status, &pin(), &never);
        times(&mut status, &never);
        assert_eq!((status.start_time, status.duration), (None, None));
    }

    #[test]
    fn a_new_cluster_and_a_job_s_own_are_both_waited_for() {
        let of = |change: fn(&mut RunTask)| {
            let mut run: Run = run(7).with([task("a", 71), task("b", 72)]);
            change(&mut run.tasks[1]);
            run
        };
        assert!(waits_for_new_cluster(&of(|task| task.has_new_cluster = true)));
        assert!(waits_for_new_cluster(&of(|task| task.job_cluster_key = Some("shared".into()))));
        assert!(!waits_for_new_cluster(&of(|_| ())));
    }

    #[test]
    fn the_page_s_url_is_made_of_our_host_and_ids() {
        let mut run: Run = run(7).into();
        run.run_page_url = Some("https://evil.example/?o=42#job/5/run/7".into());
        assert_eq!(page_url(&pin(), &run).unwrap(), "https://workspace.test/jobs/5/runs/7?o=42");
        run.run_page_url = Some("https://evil.example/?o=javascript:alert(1)".into());
        assert_eq!(page_url(&pin(), &run).unwrap(), "https://workspace.test/jobs/5/runs/7");
    }

    #[test]
    fn failed_tasks_come_first_and_a_hundred_are_listed() {
        let mut many: Vec<_> = (0..150).map(|n| task(&format!("t{n}"), n).ended("TERMINATED", "SUCCESS")).collect();
        many.push(task("bad", 999).ended("TERMINATED", "FAILED"));
        let mut status = DatabricksRunStatus::default();
        tasks(&mut status, &pin(), &run(1).with(many));
        assert_eq!(status.tasks[0].task_key, "bad");
        assert!(status.tasks.len() <= MAX_TASKS);
        assert_eq!(status.tasks_truncated, Some(true));
    }

    #[test]
    fn durations_read_as_people_say_them() {
        for (seconds, text) in [(0, "0s"), (59, "59s"), (252, "4m12s"), (7_500, "2h5m"), (100_000, "1d3h")] {
            assert_eq!(human(Duration::from_secs(seconds)), text);
        }
    }
}
