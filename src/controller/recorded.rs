//! What an object's status tells of its live run, for the poller: a run that the list of live runs shows there is in no hurry
//! to be read.

use super::observe::Looked;
use crate::api::status::{DatabricksRunStatus, TaskStatus};
use crate::databricks::{TaskWhereabouts, Whereabouts};
use crate::lifecycle::deadlines::{Deadline, before_run};
use crate::lifecycle::{Now, Phase, Subject};
use crate::poller::{READ_AFTER, Recorded};

/// What is on record; none where only a reading will do: when a deadline may be reached before there is one, and when more
/// has been done about the run than to follow it.
pub(super) fn recorded(looked: &Looked<'_>, now: Now) -> Option<Recorded> {
    let subject = looked.subject(&[]);
    let status = looked.status();
    let is_followed_only = matches!(Phase::of(status), Phase::Live(_))
        && status.repair.is_none()
        && status.cancel.is_none()
        && subject.deletion.is_none();
    if !is_followed_only || may_end_soon(&subject, status, now) {
        return None;
    }
    let start_time = status.start_time.as_ref()?.0.as_millisecond();
    Some(Recorded { start_time, whereabouts: whereabouts(status)? })
}

/// Whether a deadline may be reached before the run is read. Measured on our own clock: by that, too, it must have passed.
fn may_end_soon(subject: &Subject<'_>, status: &DatabricksRunStatus, now: Now) -> bool {
    match before_run(subject, status, now) {
        Deadline::None => false,
        Deadline::In(left) => left <= READ_AFTER,
        Deadline::Reached(_) => true,
    }
}

fn whereabouts(status: &DatabricksRunStatus) -> Option<Whereabouts> {
    if status.tasks_truncated == Some(true) {
        return None;
    }
    let tasks: Option<Vec<_>> = status.tasks.iter().map(of_task).collect();
    Whereabouts::of(status.life_cycle_state.as_deref()?, tasks?.into_iter())
}

fn of_task(task: &TaskStatus) -> Option<TaskWhereabouts<'_>> {
    let run = task.run_id.as_deref()?.parse().ok()?;
    Some((run, task.attempt_number.unwrap_or_default(), task.life_cycle_state.as_deref()?))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::{Value, json};

    use super::*;
    use crate::api::run::RunObject;
    use crate::databricks::model::Run;

    /// Ten minutes after the run was started.
    fn now() -> Now {
        Now { wall: "2026-01-01T00:10:00Z".parse().unwrap(), mono: Duration::from_mins(10) }
    }

    #[expect(clippy::needless_pass_by_value, reason = "reads better where it is called")]
    fn of(spec: Value, change: impl FnOnce(&mut Value)) -> Option<Recorded> {
        let mut object = json!({
            "apiVersion": "dbrun.dev/v1alpha1", "kind": "DatabricksRun",
            "metadata": {"name": "a", "namespace": "a", "uid": "u", "generation": 1},
            "spec": {"workspaceRef": {"name": "prod"}, "runNow": {"job_id": 1}},
            "status": {
                "runId": "7", "lifeCycleState": "RUNNING", "state": "Running",
                "requestedAt": "2026-01-01T00:00:00Z", "firstSubmitTime": "2026-01-01T00:00:00Z",
                "submitTime": "2026-01-01T00:00:00Z", "startTime": "2026-01-01T00:00:01Z",
                "tasks": [
                    {"taskKey": "b", "runId": "9", "attemptNumber": 0, "lifeCycleState": "BLOCKED"},
                    {"taskKey": "a", "runId": "8", "attemptNumber": 0, "lifeCycleState": "RUNNING"},
                ],
            },
        });
        object["spec"].as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
        change(&mut object);
        let object: RunObject = serde_json::from_value(object).unwrap();
        recorded(&Looked::at(&object), now())
    }

    #[test]
    fn what_the_status_tells_is_what_databricks_says() {
        let run: Run = serde_json::from_value(json!({
            "run_id": 7, "start_time": 1_767_225_601_234_i64,
            "state": {"life_cycle_state": "RUNNING"}, "status": {"state": "RUNNING"},
            "tasks": [
                {"task_key": "a", "run_id": 8, "state": {"life_cycle_state": "RUNNING"}},
                {"task_key": "b", "run_id": 9, "state": {"life_cycle_state": "BLOCKED"}},
            ],
        }))
        .unwrap();
        let recorded = of(json!({}), |_| ()).unwrap();
        assert_eq!(Some(recorded.whereabouts), Whereabouts::of_run(&run));
        assert!((0..1000).contains(&(run.start_time - recorded.start_time)));
    }

    #[test]
    fn where_more_is_at_stake_only_a_reading_will_do() {
        let cases: [fn(&mut Value); 8] = [
            |it| it["status"]["lifeCycleState"] = "TERMINATED".into(),
            |it| it["status"]["cancel"] = json!({"cause": "Deletion", "since": "2026-01-01T00:00:00Z"}),
            |it| it["status"]["repair"] = json!({"n": 1, "body": "{}", "repairId": "1"}),
            |it| it["status"]["backoff"] = json!({"action": "Retry", "until": "2026-01-01T00:00:00Z"}),
            |it| it["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z".into(),
            |it| it["status"]["tasksTruncated"] = true.into(),
            |it| drop(it["status"].as_object_mut().unwrap().remove("startTime")),
            |it| drop(it["status"]["tasks"][0].as_object_mut().unwrap().remove("runId")),
        ];
        for (number, case) in cases.into_iter().enumerate() {
            assert_eq!(of(json!({}), case), None, "case {number}");
        }
    }

    #[test]
    fn a_deadline_that_may_be_reached_before_the_run_is_read_wants_a_reading() {
        let with = |name: &str, minutes: u64| of(json!({name: minutes * 60}), |_| ()).is_some();
        assert!(with("activeDeadlineSeconds", 60));
        assert!(!with("activeDeadlineSeconds", 24) && !with("activeDeadlineSeconds", 5));
        assert!(!with("startingDeadlineSeconds", 24) && with("startingDeadlineSeconds", 60));
    }
}
