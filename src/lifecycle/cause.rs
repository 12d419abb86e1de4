//! Why a run failed, in one sentence a person can act on. Best first: the failed task's own error, its message, the
//! run's termination message, the run's message. Tasks that were skipped because of others are no causes.

use super::bounds::one_line;
use super::project::MAX_KEY;
use super::verdict::{Look, look, termination};
use crate::api::conditions::State;
use crate::api::status::TaskOutput;
use crate::databricks::model::{ResultState, Run, RunTask, TerminationCode};

/// Bytes of one quoted error in a sentence.
const MAX_QUOTE: usize = 600;

/// The tasks that made the run end as it did, in Databricks' order.
#[must_use]
pub fn culprits(run: &Run) -> Vec<&RunTask> {
    let of = |wanted: &[State]| -> Vec<&RunTask> {
        run.tasks
            .iter()
            .filter(|task| {
                matches!(look(task.state.as_ref(), task.status.as_ref()), Look::Ended(verdict) if wanted.contains(&verdict.state))
                    && !skipped_because_of_others(task)
            })
            .collect()
    };
    let failed = of(&[State::Failed, State::TimedOut]);
    if failed.is_empty() { of(&[State::Canceled]) } else { failed }
}

fn skipped_because_of_others(task: &RunTask) -> bool {
    let result = task.state.as_ref().and_then(|state| state.result_state.as_ref());
    matches!(result, Some(ResultState::UpstreamFailed | ResultState::UpstreamCanceled))
}

/// The cause of an end that is no success. `outputs` are those already read, uncut or not.
#[must_use]
pub fn sentence(run: &Run, outputs: &[TaskOutput]) -> String {
    let culprits = culprits(run);
    let Some(first) = culprits.iter().find(|task| own_words(task, outputs).is_some()).or(culprits.first()) else {
        return run_words(run).unwrap_or_else(|| "Databricks gives no cause".to_owned());
    };
    let why = own_words(first, outputs).or_else(|| run_words(run)).unwrap_or_else(|| "no cause given".to_owned());
    let key = one_line(&first.task_key, 100);
    match culprits.len() - 1 {
        0 => format!("task `{key}`: {why}"),
        1 => format!("task `{key}`: {why} (and 1 more task)"),
        more => format!("task `{key}`: {why} (and {more} more tasks)"),
    }
}

/// What is known of a task itself.
fn own_words(task: &RunTask, outputs: &[TaskOutput]) -> Option<String> {
    let key = one_line(&task.task_key, MAX_KEY);
    let error = outputs.iter().find(|output| output.task_key == key).and_then(|output| output.error.as_deref());
    let message = task.state.as_ref().and_then(|state| state.state_message.as_deref());
    let details = termination(task.status.as_ref()).and_then(|details| details.message.as_deref());
    first_said([error, message, details])
}

/// What is said of the run as a whole.
fn run_words(run: &Run) -> Option<String> {
    let details = termination(run.status.as_ref());
    let message = run.state.as_ref().and_then(|state| state.state_message.as_deref());
    let code = details.and_then(|details| details.code.as_ref()).map(TerminationCode::as_str);
    first_said([details.and_then(|details| details.message.as_deref()), message, code])
}

fn first_said<const N: usize>(words: [Option<&str>; N]) -> Option<String> {
    words.into_iter().flatten().map(|text| one_line(text, MAX_QUOTE)).find(|text| !text.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lifecycle::fixtures::{run, task};

    #[test]
    fn the_failed_task_s_own_error_comes_first() {
        let run = run(7)
            .ended("INTERNAL_ERROR", "FAILED")
            .message("Workload failed, see run output for details.")
            .with([task("load", 71).ended("TERMINATED", "FAILED").message("Workload failed")]);
        let output =
            TaskOutput { task_key: "load".into(), error: Some("ValueError: no rows".into()), ..TaskOutput::default() };
        assert_eq!(sentence(&run, &[output]), "task `load`: ValueError: no rows");
        assert_eq!(sentence(&run, &[]), "task `load`: Workload failed");
    }

    #[test]
    fn the_error_of_a_task_with_an_odd_key_is_found() {
        let run = run(7).with([task("a\u{7}  b", 71).ended("TERMINATED", "FAILED").message("Workload failed")]);
        let output = TaskOutput { task_key: "a b".into(), error: Some("no rows".into()), ..TaskOutput::default() };
        assert_eq!(sentence(&run, &[output]), "task `a b`: no rows");
    }

    #[test]
    fn a_task_that_was_skipped_because_of_another_is_no_cause() {
        let run = run(7).ended("INTERNAL_ERROR", "FAILED").with([
            task("report", 72).ended("TERMINATED", "UPSTREAM_FAILED").message("An upstream task failed."),
            task("load", 71).ended("TERMINATED", "FAILED").message("ValueError"),
        ]);
        assert_eq!(sentence(&run, &[]), "task `load`: ValueError");
    }

    #[test]
    fn more_causes_are_counted() {
        let failed = |key: &str, id| task(key, id).ended("TERMINATED", "FAILED").message("boom");
        let run = run(7).ended("INTERNAL_ERROR", "FAILED").with([failed("a", 1), failed("b", 2), failed("c", 3)]);
        assert_eq!(sentence(&run, &[]), "task `a`: boom (and 2 more tasks)");
    }

    #[test]
    fn without_tasks_the_run_s_own_words_count() {
        assert_eq!(
            sentence(&run(7).ended("INTERNAL_ERROR", "").message("Notebook not found: /x").into(), &[]),
            "Notebook not found: /x"
        );
        assert_eq!(sentence(&run(7).ended("INTERNAL_ERROR", "").into(), &[]), "Databricks gives no cause");
    }
}
