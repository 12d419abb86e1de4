//! What tasks left behind, cut to fit a status. Best effort: a missing output never decides or delays a verdict.

use super::bounds::{clean, head, head_and_tail, one_line, tail};
use super::cause::culprits;
use super::project::MAX_KEY;
use crate::api::status::TaskOutput;
use crate::databricks::ids::RunId;
use crate::databricks::model::{Run, RunOutput};

/// Tasks whose output is read.
pub const MAX_TASKS: usize = 10;
/// Bytes of output per task in the status, unless the spec says otherwise.
pub const DEFAULT_BYTES: usize = 4096;
/// The most a spec may ask for.
pub const MAX_BYTES: usize = 16_384;
/// Bytes of an error: it is quoted in the condition, too.
const MAX_ERROR: usize = 1024;

/// The tasks whose outputs are worth reading, causes of failure first. With `max_bytes` 0 nothing is kept, so only the
/// causes are read: their errors make the sentence in the condition.
#[must_use]
pub fn wanted(run: &Run, failures: bool, max_bytes: usize) -> Vec<(String, RunId)> {
    let causes = if failures { culprits(run) } else { Vec::new() };
    let rest = run.tasks.iter().filter(|task| max_bytes > 0 && !causes.iter().any(|cause| std::ptr::eq(*cause, *task)));
    causes
        .iter()
        .copied()
        .chain(rest)
        .filter_map(|task| task.run_id.map(|id| (task.task_key.clone(), id)))
        .take(MAX_TASKS)
        .collect()
}

/// One task's output under the key that the list of tasks shows, with control characters left out; it is cut by [`fit`].
#[must_use]
pub fn of_task(task_key: &str, output: &RunOutput) -> Option<TaskOutput> {
    let notebook = output.notebook_output.as_ref();
    let text = |text: &Option<String>| text.as_deref().map(clean).filter(|text| !text.is_empty());
    let result = notebook.and_then(|notebook| text(&notebook.result));
    let (error, error_trace, logs) = (text(&output.error), text(&output.error_trace), text(&output.logs));
    if result.is_none() && error.is_none() && error_trace.is_none() && logs.is_none() {
        return None;
    }
    let bytes: usize = [&result, &error, &error_trace, &logs].into_iter().flatten().map(String::len).sum();
    Some(TaskOutput {
        task_key: one_line(task_key, MAX_KEY),
        result,
        error,
        error_trace,
        logs,
        truncated: (output.logs_truncated || notebook.is_some_and(|notebook| notebook.truncated)).then_some(true),
        original_bytes: i64::try_from(bytes).ok(),
    })
}

/// Cuts outputs so that none takes more than `per_task` bytes of text and all together no more than `in_all`, the first
/// ones (the causes of failure) served first.
#[must_use]
pub fn fit(outputs: &[TaskOutput], per_task: usize, in_all: usize) -> Vec<TaskOutput> {
    let mut left = in_all;
    let mut fitted = Vec::new();
    for output in outputs {
        // The JSON around the texts, and what escaping adds, are part of what a status may hold.
        let mut budget = per_task.min(left.saturating_sub(OVERHEAD + output.task_key.len()));
        if budget == 0 {
            break;
        }
        loop {
            let cut = cut_to(output, budget);
            let size = serde_json::to_string(&cut).map_or(usize::MAX, |json| json.len());
            if size <= left {
                left -= size;
                fitted.push(cut);
                break;
            }
            budget /= 2;
            if budget == 0 {
                return fitted;
            }
        }
    }
    fitted
}

/// Bytes of JSON around one task's texts.
const OVERHEAD: usize = 160;

fn cut_to(output: &TaskOutput, budget: usize) -> TaskOutput {
    let mut left = budget;
    let mut take = |text: &Option<String>, max: usize, cut: fn(&str, usize) -> String| {
        let text = text.as_deref().map(|text| cut(text, max.min(left))).filter(|text| !text.is_empty());
        left -= text.as_ref().map_or(0, String::len);
        text
    };
    let error = take(&output.error, MAX_ERROR, head);
    let error_trace = take(&output.error_trace, budget, head_and_tail);
    let result = take(&output.result, budget, head);
    let logs = take(&output.logs, budget, tail);
    let was_cut =
        (&error, &error_trace, &result, &logs) != (&output.error, &output.error_trace, &output.result, &output.logs);
    TaskOutput {
        task_key: output.task_key.clone(),
        result,
        error,
        error_trace,
        logs,
        truncated: (was_cut || output.truncated == Some(true)).then_some(true),
        original_bytes: output.original_bytes,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::databricks::model::NotebookOutput;
    use crate::lifecycle::fixtures::{run, task};

    #[test]
    fn causes_of_failure_are_read_first_and_at_most_ten_tasks() {
        let mut tasks: Vec<_> = (0..20).map(|n| task(&format!("t{n}"), n).ended("TERMINATED", "SUCCESS")).collect();
        tasks.push(task("bad", 99).ended("TERMINATED", "FAILED"));
        let run = run(1).ended("INTERNAL_ERROR", "FAILED").with(tasks);
        let wanted_tasks = wanted(&run, true, 4096);
        assert_eq!(wanted_tasks.len(), MAX_TASKS);
        assert_eq!(wanted_tasks[0], ("bad".to_owned(), RunId(99)));
        assert_eq!(wanted(&run, true, 0), [("bad".to_owned(), RunId(99))]);
    }

    #[test]
    fn an_empty_output_is_left_out() {
        assert_eq!(of_task("a", &RunOutput::default()), None);
        let nothing = RunOutput { notebook_output: Some(NotebookOutput::default()), ..RunOutput::default() };
        assert_eq!(of_task("a", &nothing), None);
    }

    #[test]
    fn an_output_has_the_key_that_its_task_shows() {
        let output = RunOutput { error: Some("boom".into()), ..RunOutput::default() };
        let key = |key: &str| of_task(key, &output).unwrap().task_key;
        assert_eq!(key("load\u{7}\n\u{1b}[31mnow"), "load now");
        assert_eq!(key(&"k".repeat(4096)).len(), MAX_KEY);
    }

    #[test]
    fn a_result_that_was_cut_says_so() {
        let output = RunOutput {
            notebook_output: Some(NotebookOutput { result: Some("x".repeat(9000)), truncated: false }),
            ..RunOutput::default()
        };
        let fitted = fit(&[of_task("a", &output).unwrap()], 4096, 20_000);
        assert_eq!(fitted[0].truncated, Some(true));
        assert_eq!(fitted[0].original_bytes, Some(9000));
        assert!(fitted[0].result.as_ref().unwrap().len() <= 4096);
    }

    #[test]
    fn what_databricks_has_cut_says_so_too() {
        let notebook = NotebookOutput { result: Some("r".to_owned()), truncated: true };
        for (logs_truncated, notebook_output) in [(true, None), (false, Some(notebook))] {
            let output =
                RunOutput { logs: Some("l".to_owned()), logs_truncated, notebook_output, ..RunOutput::default() };
            let fitted = fit(&[of_task("a", &output).unwrap()], 4096, 20_000);
            assert_eq!(fitted[0].truncated, Some(true));
        }
        let whole = RunOutput { logs: Some("l".to_owned()), ..RunOutput::default() };
        assert_eq!(fit(&[of_task("a", &whole).unwrap()], 4096, 20_000)[0].truncated, None);
    }

    #[test]
    fn the_first_outputs_are_served_first_and_all_of_them_share_the_room() {
        let output =
            |size: usize| of_task("task", &RunOutput { logs: Some("l".repeat(size)), ..RunOutput::default() }).unwrap();
        let fitted = fit(&[output(3000), output(3000), output(3000)], 4096, 7000);
        let sizes: Vec<_> = fitted.iter().map(|it| it.logs.as_ref().unwrap().len()).collect();
        assert_eq!(sizes[..2], [3000, 3000]);
        assert!((600..=800).contains(&sizes[2]), "{sizes:?}");
        assert!(serde_json::to_string(&fitted).unwrap().len() <= 7004);
    }

    #[test]
    fn an_error_and_its_trace_come_before_the_log() {
        let output = RunOutput {
            error: Some("e".repeat(5000)),
            error_trace: Some("t".repeat(3000)),
            logs: Some("l".repeat(3000)),
            ..RunOutput::default()
        };
        let fitted = &fit(&[of_task("a", &output).unwrap()], 4096, 20_000)[0];
        let size = |text: &Option<String>| text.as_ref().map_or(0, String::len);
        assert_eq!((size(&fitted.error), size(&fitted.error_trace)), (MAX_ERROR, 3000));
        assert_eq!(size(&fitted.logs), 4096 - MAX_ERROR - 3000);
    }

    #[test]
    fn characters_that_are_written_as_two_count_as_two() {
        let output = RunOutput { logs: Some("\"".repeat(3000)), ..RunOutput::default() };
        let fitted = fit(&[of_task("quotes", &output).unwrap()], 4096, 300);
        assert!(serde_json::to_string(&fitted).unwrap().len() <= 302, "{fitted:?}");
    }

    #[test]
    fn what_grows_in_the_writing_is_cut_and_not_left_out() {
        let output = RunOutput { logs: Some("\"".repeat(1000)), ..RunOutput::default() };
        let fitted = fit(&[of_task("quotes", &output).unwrap()], 4096, 1200);
        let shown = fitted[0].logs.as_ref().unwrap().len();
        assert!((400..=600).contains(&shown), "{shown} of a thousand");
    }

    #[test]
    fn a_long_key_takes_its_part_of_the_room() {
        let output = RunOutput { logs: Some("l".repeat(3000)), ..RunOutput::default() };
        let fitted = fit(&[of_task(&"k".repeat(MAX_KEY), &output).unwrap()], 4096, 1000);
        assert!(serde_json::to_string(&fitted[0]).unwrap().len() <= 1000, "{fitted:?}");
        assert!(fitted[0].logs.as_ref().unwrap().len() > 400, "{fitted:?}");
    }

    proptest! {
        #[test]
        fn outputs_fit_whatever_tasks_leave_behind(
            texts in prop::collection::vec((any::<String>(), "[\u{0}-\u{ff}\"\\\\]{0,400}", "[a-z\u{1F600}]{0,3000}"), 0..12),
            per_task in 0usize..5000, in_all in 0usize..20_000,
        ) {
            let outputs: Vec<TaskOutput> = texts.iter().filter_map(|(error, trace, logs)| of_task("some-task", &RunOutput {
                error: Some(error.clone()), error_trace: Some(trace.clone()), logs: Some(logs.clone()), ..RunOutput::default()
            })).collect();
            let fitted = fit(&outputs, per_task, in_all);
            prop_assert!(serde_json::to_string(&fitted).unwrap().len() <= in_all + fitted.len() + 2);
        }
    }
}
