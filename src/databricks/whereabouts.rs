//! Where a live run and its tasks are, in a form that can be compared with what was written down of it before: by the
//! words of its life cycle alone.

use std::hash::{DefaultHasher, Hash, Hasher};

use super::ids::RunId;
use super::model::{LifeCycleState, Run, RunState, RunStatus, StatusState};

/// A digest of where a live run and its tasks are. The same place has the same digest within a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Whereabouts(u64);

/// Where one task is: its run, its attempt and the word of its life cycle.
pub type TaskWhereabouts<'a> = (RunId, i64, &'a str);

impl Whereabouts {
    /// Of a run in a state of this word, and its tasks in whatever order; none unless that is a state in which the list of
    /// live runs shows a run that goes on.
    ///
    /// A single task says nothing that its run does not, and is left out.
    pub fn of<'a>(word: &str, tasks: impl ExactSizeIterator<Item = TaskWhereabouts<'a>>) -> Option<Self> {
        if !["QUEUED", "PENDING", "RUNNING"].contains(&word) {
            return None;
        }
        let several = tasks.len() > 1;
        let tasks = tasks.filter(|_| several).map(|task| digest(&task));
        Some(Self(tasks.fold(digest(&word), u64::wrapping_add)))
    }

    /// Of a run as Databricks describes it; none unless both descriptions of its state, as far as they are there, are of
    /// one mind that it goes on.
    #[must_use]
    pub fn of_run(run: &Run) -> Option<Self> {
        let tasks =
            run.tasks.iter().map(|task| (task.run_id, task.attempt_number, task.state.as_ref(), task.status.as_ref()));
        Self::described(run.end_time, run.state.as_ref(), run.status.as_ref(), tasks)
    }

    /// The same of the parts of a description.
    pub(super) fn described<'a>(
        end_time: i64,
        state: Option<&RunState>,
        status: Option<&RunStatus>,
        tasks: impl Iterator<Item = (Option<RunId>, i64, Option<&'a RunState>, Option<&'a RunStatus>)>,
    ) -> Option<Self> {
        let older = state.and_then(|state| state.life_cycle_state.as_ref()).map(LifeCycleState::as_str);
        let newer = status.and_then(|status| status.state.as_ref()).map(StatusState::as_str);
        let agree = older.is_none() || newer.is_none() || older == newer;
        let has_result = state.is_some_and(|state| state.result_state.is_some())
            || status.is_some_and(|status| status.termination_details.is_some());
        let word = older.or(newer).filter(|_| agree && !has_result && end_time == 0)?;
        let tasks: Option<Vec<_>> =
            tasks.map(|(run, attempt, state, status)| Some((run?, attempt, of_task(state, status)?))).collect();
        Self::of(word, tasks?.into_iter())
    }
}

/// The word of a task's life cycle.
fn of_task<'a>(state: Option<&'a RunState>, status: Option<&'a RunStatus>) -> Option<&'a str> {
    let older = state.and_then(|state| state.life_cycle_state.as_ref()).map(LifeCycleState::as_str);
    older.or_else(|| status.and_then(|status| status.state.as_ref()).map(StatusState::as_str))
}

fn digest(what: &impl Hash) -> u64 {
    let mut digest = DefaultHasher::new();
    what.hash(&mut digest);
    digest.finish()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn of(run: Value) -> Option<Whereabouts> {
        Whereabouts::of_run(&serde_json::from_value(run).unwrap())
    }

    #[test]
    fn what_was_written_down_of_a_run_and_what_is_said_of_it_compare() {
        let said = json!({"run_id": 1, "state": {"life_cycle_state": "RUNNING"}, "status": {"state": "RUNNING"}, "tasks": [
            {"task_key": "a", "run_id": 2, "state": {"life_cycle_state": "TERMINATED", "result_state": "SUCCESS"}},
            {"task_key": "b", "run_id": 3, "attempt_number": 1, "status": {"state": "RUNNING"}},
        ]});
        let written = |tasks: [TaskWhereabouts<'static>; 2]| Whereabouts::of("RUNNING", tasks.into_iter());
        let (a, b) = ((RunId(2), 0, "TERMINATED"), (RunId(3), 1, "RUNNING"));
        assert!(of(said.clone()).is_some());
        assert_eq!(of(said.clone()), written([b, a]), "the order says nothing");
        for other in [[a, (RunId(3), 1, "PENDING")], [a, (RunId(3), 0, "RUNNING")], [a, (RunId(4), 1, "RUNNING")]] {
            assert_ne!(of(said.clone()), written(other));
        }
        assert_ne!(of(said), Whereabouts::of("PENDING", [a, b].into_iter()));
    }

    #[test]
    fn a_single_task_says_nothing_that_its_run_does_not() {
        let run = json!({"run_id": 1, "state": {"life_cycle_state": "RUNNING"}, "tasks": [
            {"task_key": "a", "run_id": 2, "state": {"life_cycle_state": "PENDING"}},
        ]});
        assert_eq!(of(run), Whereabouts::of("RUNNING", [].into_iter()));
    }

    #[test]
    fn a_run_that_may_have_ended_or_of_which_two_things_are_said_is_nowhere() {
        for run in [
            json!({"run_id": 1}),
            json!({"run_id": 1, "state": {"life_cycle_state": "TERMINATING"}}),
            json!({"run_id": 1, "state": {"life_cycle_state": "WAITING_FOR_RETRY"}}),
            json!({"run_id": 1, "state": {"life_cycle_state": "RUNNING"}, "status": {"state": "TERMINATED"}}),
            json!({"run_id": 1, "state": {"life_cycle_state": "RUNNING", "result_state": "FAILED"}}),
            json!({"run_id": 1, "state": {"life_cycle_state": "RUNNING"}, "end_time": 7}),
            json!({"run_id": 1, "status": {"state": "RUNNING", "termination_details": {"code": "DRIVER_ERROR"}}}),
            json!({"run_id": 1, "status": {"state": "RUNNING"}, "tasks": [{"task_key": "a"}, {"task_key": "b"}]}),
        ] {
            assert_eq!(of(run.clone()), None, "{run}");
        }
    }
}
