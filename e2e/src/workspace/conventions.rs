//! What runs do when nobody wrote a script: names and parameters decide, so that a person with `kubectl` can try every
//! outcome. [`GUIDE`] tells people; a test holds it to the table.

use std::time::Duration;

use serde_json::Value;

use super::dependencies::condition_ending;
use super::endings::{Ending, trace_of};
use super::script::{Script, TaskScript};

/// What `cargo fake-workspace` prints.
pub const GUIDE: &str = "\
What a task does follows from the last part of its notebook path (or Python file, or task key):
  …fail…      raises ValueError              …cloud…    ends with CLOUD_FAILURE
  …slow…      runs for a minute              …internal… INTERNAL_ERROR without a result
  …forever…   runs until it is cancelled     …timeout…  ends TIMEDOUT
  …queue…     waits 10 s in the queue        …skip…     is skipped
  …flaky…     fails once, then succeeds; as a retry where max_retries allows one, else in a repair
  …big…       returns a result of 100,000 characters
  …strange…   passes through a life cycle state nobody knows
Parameters of the task or the run decide before names:
  fake_result=TEXT       the notebook result
  fake_error=TEXT        raises RuntimeError with this text
  fake_outcome=CODE      ends with this termination code (CLOUD_FAILURE, DRIVER_ERROR, SKIPPED, TIMEDOUT, …)
  fake_seconds=N         runs this long
  fake_pending=N         waits this long for its cluster
Anything else succeeds after about four seconds and returns its parameters as JSON.";

/// The script of a run without one. `tasks` are the task bodies, `parameters` those of the run, `repairs` how often it
/// has been repaired.
pub(super) fn script(tasks: &[Value], parameters: &[(String, String)], repairs: usize) -> Script {
    let mut script = Script::new();
    for task in tasks {
        let Some(key) = task.get("task_key").and_then(Value::as_str) else {
            continue;
        };
        let name = name_of(task, key);
        if name.contains("queue") {
            script = script.queued_for(Duration::from_secs(10));
        }
        if name.contains("strange") {
            script = script.passing_through("ENCHANTED", "ENCHANTED", Duration::from_secs(10));
        }
        script = script.task(key, task_script(task, &name, parameters, repairs));
    }
    script
}

fn task_script(task: &Value, name: &str, of_run: &[(String, String)], repairs: usize) -> TaskScript {
    if let Some(condition) = task.get("condition_task") {
        return TaskScript::default().ending(condition_ending(condition)).running_for(Duration::ZERO);
    }
    let parameters = merged(task, of_run);
    let value = |name: &str| parameters.iter().rev().find(|(key, _)| key == name).map(|(_, value)| value.as_str());
    let seconds = |name: &str| value(name).and_then(|text| text.parse().ok()).map(Duration::from_secs);
    let mut script = by_name(task, name, repairs);
    if script.output.result.is_none() {
        script = script.notebook_result(echo(&parameters));
    }
    if let Some(result) = value("fake_result") {
        script = script.notebook_result(result).ending(Ending::success());
    }
    if let Some(error) = value("fake_error") {
        script = script.failing(&format!("RuntimeError: {error}"), &trace_of("RuntimeError", error));
    }
    if let Some(code) = value("fake_outcome") {
        script = script.ending(Ending::of_code(code));
    }
    if let Some(span) = seconds("fake_seconds") {
        script = script.running_for(span);
    }
    if let Some(span) = seconds("fake_pending") {
        script = script.pending_for(span);
    }
    if let Some(inputs) = task.pointer("/for_each_task/inputs").and_then(Value::as_str) {
        let count = serde_json::from_str::<Vec<Value>>(inputs).map_or(0, |inputs| inputs.len());
        script = script.iterations(u32::try_from(count).unwrap_or(0));
    }
    script
}

type Edit = fn(TaskScript) -> TaskScript;

fn by_name(task: &Value, name: &str, repairs: usize) -> TaskScript {
    let script = TaskScript::default().logs(format!("starting {name}\nfinished {name}\n"));
    let raising = |script: TaskScript| {
        script.failing("ValueError: no rows for the day", &trace_of("ValueError", "no rows for the day"))
    };
    if name.contains("fail") {
        return raising(script);
    }
    if name.contains("flaky") {
        let retries = task.get("max_retries").and_then(Value::as_i64).unwrap_or(0) != 0;
        return match (retries, repairs) {
            (true, _) => script.retried(1, Duration::from_secs(2)),
            (false, 0) => raising(script),
            (false, _) => script,
        };
    }
    let table: [(&str, Edit); 7] = [
        ("slow", |script| script.running_for(Duration::from_mins(1))),
        ("forever", TaskScript::running_forever),
        ("timeout", |script| script.ending(Ending::timed_out())),
        ("skip", |_| {
            TaskScript::default()
                .pending_for(Duration::ZERO)
                .running_for(Duration::ZERO)
                .terminating_for(Duration::ZERO)
                .ending(Ending::skipped())
        }),
        ("cloud", |script| script.ending(Ending::of_code("CLOUD_FAILURE"))),
        ("internal", |script| {
            script.ending(Ending::internal_error_without_result("Notebook not found: the path does not exist"))
        }),
        ("big", |script| script.notebook_result("0123456789".repeat(10_000))),
    ];
    match table.iter().find(|(part, _)| name.contains(part)) {
        Some((_, edit)) => edit(script),
        None => script,
    }
}

/// What names the task: the last part of its notebook path or file, else its key. In lower case.
fn name_of(task: &Value, key: &str) -> String {
    let path = ["/notebook_task/notebook_path", "/spark_python_task/python_file"]
        .iter()
        .find_map(|pointer| task.pointer(pointer)?.as_str());
    let name = path.and_then(|path| path.rsplit('/').next()).unwrap_or(key);
    name.to_lowercase()
}

/// The task's own parameters, then the run's, which win.
fn merged(task: &Value, of_run: &[(String, String)]) -> Vec<(String, String)> {
    let own = task.pointer("/notebook_task/base_parameters").and_then(Value::as_object);
    let own = own.into_iter().flatten().map(|(key, value)| {
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        (key.clone(), text)
    });
    own.chain(of_run.iter().cloned()).collect()
}

fn echo(parameters: &[(String, String)]) -> String {
    let map: serde_json::Map<String, Value> =
        parameters.iter().map(|(key, value)| (key.clone(), Value::String(value.clone()))).collect();
    Value::Object(map).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn of_path(path: &str, parameters: &[(&str, &str)]) -> TaskScript {
        let task = json!({ "task_key": "main", "notebook_task": { "notebook_path": path } });
        let parameters: Vec<_> =
            parameters.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        script(&[task], &parameters, 0).for_task("main")
    }

    #[test]
    fn every_name_in_the_guide_does_something() {
        for name in
            ["fail", "slow", "forever", "queue", "flaky", "big", "strange", "cloud", "internal", "timeout", "skip"]
        {
            assert!(GUIDE.contains(&format!("…{name}…")), "{name} is not told");
            let task = json!({ "task_key": "main", "notebook_task": { "notebook_path": format!("/Shared/{name}") } });
            let odd = format!("{:?}", script(&[task], &[], 0));
            let task = json!({ "task_key": "main", "notebook_task": { "notebook_path": "/Shared/plain" } });
            let plain = format!("{:?}", script(&[task], &[], 0)).replace("plain", name);
            assert_ne!(odd, plain, "{name} does nothing");
        }
    }

    #[test]
    fn parameters_win_over_names() {
        let script = of_path("/Shared/fail", &[("fake_result", "42")]);
        assert_eq!(script.output.result.as_deref(), Some("42"));
        assert!(script.ending.has_result("SUCCESS"));
        let script = of_path("/Shared/fine", &[("fake_error", "no disk")]);
        assert_eq!(script.ending.error.as_deref(), Some("RuntimeError: no disk"));
    }

    #[test]
    fn a_plain_notebook_returns_its_parameters() {
        let script = of_path("/Shared/etl", &[("day", "2026-11-23")]);
        assert_eq!(script.output.result.as_deref(), Some(r#"{"day":"2026-11-23"}"#));
    }
}
