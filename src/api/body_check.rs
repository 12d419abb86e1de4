//! What a request body must satisfy beyond what the API server can check: done before anything is sent, so that a
//! mistake costs no cluster and the message names the field.

use std::collections::{HashMap, HashSet};

use serde_json::{Map, Value};
use thiserror::Error;

use super::status::Endpoint;

/// Bytes of JSON that a body may have: it is kept in status until the run's id is known, and etcd's limit is near.
pub const MAX_BODY_BYTES: usize = 256 * 1024;

/// Why a body is refused. The text ends a run as `SubmitRejected`.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum BodyError {
    /// The body is too long.
    #[error(
        "the request body has {0} bytes as JSON, more than {MAX_BODY_BYTES}; put large parameters into a file or table \
         that the task reads"
    )]
    TooLarge(usize),
    /// An id that no job can have.
    #[error("`{path}` is {value}, which cannot be a job's id (1 to 9223372036854775807); copy the id from Databricks")]
    JobId {
        /// Where it stands, as `submit.tasks[0].run_job_task.job_id`.
        path: String,
        /// What stands there.
        value: String,
    },
    /// A dependency on a task that is not there.
    #[error("task `{task}` depends on `{on}`, but no task has that key; correct depends_on or add the task")]
    UnknownDependency {
        /// The task that depends.
        task: String,
        /// The key it names.
        on: String,
    },
    /// Tasks that wait for each other.
    #[error("tasks depend on each other in a circle: {}; remove one of these depends_on", .0.join(" → "))]
    Circle(
        /// The keys along the circle, the first one again at the end.
        Vec<String>,
    ),
}

/// Checks a body as the user wrote it.
pub fn check_body(endpoint: Endpoint, body: &Map<String, Value>) -> Result<(), BodyError> {
    let bytes = serde_json::to_string(body).map_or(0, |text| text.len());
    if bytes > MAX_BODY_BYTES {
        return Err(BodyError::TooLarge(bytes));
    }
    match endpoint {
        Endpoint::RunNow => check_job_id(body.get("job_id"), || "runNow.job_id".to_owned()),
        Endpoint::Submit => check_tasks(body.get("tasks").and_then(Value::as_array).map_or(&[], Vec::as_slice)),
    }
}

fn check_tasks(tasks: &[Value]) -> Result<(), BodyError> {
    for (index, task) in tasks.iter().enumerate() {
        check_job_id(task.pointer("/run_job_task/job_id"), || format!("submit.tasks[{index}].run_job_task.job_id"))?;
        check_job_id(task.pointer("/for_each_task/task/run_job_task/job_id"), || {
            format!("submit.tasks[{index}].for_each_task.task.run_job_task.job_id")
        })?;
    }
    let graph: HashMap<&str, Vec<&str>> =
        tasks.iter().filter_map(|task| Some((key(task)?, depends_on(task)))).collect();
    for task in tasks.iter().filter_map(key) {
        for on in &graph[task] {
            if !graph.contains_key(on) {
                return Err(BodyError::UnknownDependency { task: task.to_owned(), on: (*on).to_owned() });
            }
        }
    }
    match circle(&graph, tasks.iter().filter_map(key)) {
        Some(keys) => Err(BodyError::Circle(keys)),
        None => Ok(()),
    }
}

fn key(task: &Value) -> Option<&str> {
    task.get("task_key")?.as_str()
}

fn depends_on(task: &Value) -> Vec<&str> {
    task.get("depends_on").and_then(Value::as_array).into_iter().flatten().filter_map(key).collect()
}

/// The first circle, if there is one. Walks with a path of its own instead of recursion: a thousand tasks may form one
/// chain.
fn circle<'a>(graph: &HashMap<&'a str, Vec<&'a str>>, starts: impl Iterator<Item = &'a str>) -> Option<Vec<String>> {
    let mut done = HashSet::new();
    for start in starts {
        let mut path = vec![(start, 0)];
        while let Some((task, next)) = path.last_mut() {
            let Some(on) = graph.get(task).and_then(|dependencies| dependencies.get(*next)) else {
                done.insert(*task);
                path.pop();
                continue;
            };
            *next += 1;
            if done.contains(on) {
                continue;
            }
            if let Some(from) = path.iter().position(|(seen, _)| seen == on) {
                let keys = path[from..].iter().map(|(seen, _)| *seen).chain([*on]);
                return Some(keys.map(str::to_owned).collect());
            }
            path.push((on, 0));
        }
    }
    None
}

/// An id is a number or digits, from 1 to 2^63 − 1. A reference in braces is Databricks' to resolve.
fn check_job_id(id: Option<&Value>, path: impl Fn() -> String) -> Result<(), BodyError> {
    let good = match id {
        None => true,
        Some(Value::String(text)) => text.starts_with("{{") || text.parse::<i64>().is_ok_and(|id| id > 0),
        Some(id) => id.as_i64().is_some_and(|id| id > 0),
    };
    if good {
        Ok(())
    } else {
        Err(BodyError::JobId { path: path(), value: id.map(Value::to_string).unwrap_or_default() })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(endpoint: Endpoint, body: &Value) -> Result<(), String> {
        check_body(endpoint, body.as_object().unwrap()).map_err(|error| error.to_string())
    }

    fn tasks(dependencies: &[(&str, &[&str])]) -> Value {
        let task = |(key, on): &(&str, &[&str])| {
            let on: Vec<Value> = on.iter().map(|key| json!({"task_key": key})).collect();
            json!({"task_key": key, "depends_on": on})
        };
        json!({"tasks": dependencies.iter().map(task).collect::<Vec<_>>()})
    }

    #[test]
    fn ids_pass_up_to_the_largest_that_databricks_can_have() {
        for id in [json!(1), json!(9_007_199_254_740_993_i64), json!(i64::MAX), json!("9223372036854775807")] {
            assert_eq!(check(Endpoint::RunNow, &json!({"job_id": id})), Ok(()));
        }
        assert_eq!(check(Endpoint::RunNow, &json!({})), Ok(()));
    }

    #[test]
    fn an_id_beyond_is_refused_by_its_path() {
        for id in [json!(u64::MAX), json!(9.3e18), json!("9223372036854775808"), json!(0), json!("abc"), json!(null)] {
            let refusal = check(Endpoint::RunNow, &json!({"job_id": id})).unwrap_err();
            assert!(refusal.starts_with("`runNow.job_id` is "), "{refusal}");
        }
        let refusal =
            check(Endpoint::Submit, &json!({"tasks": [{"task_key": "a", "run_job_task": {"job_id": u64::MAX}}]}));
        assert!(refusal.unwrap_err().starts_with("`submit.tasks[0].run_job_task.job_id` is 18446744073709551615,"));
    }

    #[test]
    fn a_dependency_must_name_a_task() {
        assert_eq!(check(Endpoint::Submit, &tasks(&[("a", &[]), ("b", &["a"]), ("c", &["a", "b"])])), Ok(()));
        assert_eq!(
            check(Endpoint::Submit, &tasks(&[("a", &[]), ("b", &["aa"])])).unwrap_err(),
            "task `b` depends on `aa`, but no task has that key; correct depends_on or add the task"
        );
    }

    #[test]
    fn tasks_must_not_wait_for_each_other() {
        assert_eq!(
            check(Endpoint::Submit, &tasks(&[("start", &["c"]), ("a", &["b"]), ("b", &["c"]), ("c", &["a"])]))
                .unwrap_err(),
            "tasks depend on each other in a circle: c → a → b → c; remove one of these depends_on"
        );
        assert!(check(Endpoint::Submit, &tasks(&[("a", &["a"])])).unwrap_err().contains("a → a"));
    }

    #[test]
    fn a_thousand_tasks_in_every_order_are_checked_at_once() {
        let keys: Vec<String> = (0..1000).map(|n| format!("t{n}")).collect();
        let all: Vec<Value> = (0..1000)
            .map(|n| json!({"task_key": keys[n], "depends_on": keys[n + 1..].iter().map(|k| json!({"task_key": k})).collect::<Vec<_>>()}))
            .collect();
        assert_eq!(check_tasks(&all), Ok(()));
    }

    #[test]
    fn a_body_over_the_limit_is_refused_with_its_size() {
        let refusal = check(Endpoint::RunNow, &json!({"job_id": 1, "x": "x".repeat(MAX_BODY_BYTES)})).unwrap_err();
        assert!(refusal.starts_with("the request body has 262163 bytes as JSON, more than 262144;"), "{refusal}");
    }
}
