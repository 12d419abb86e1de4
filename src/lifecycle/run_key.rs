//! The run key: what decides whether a new run is due. It is a versioned hash of what the user wrote that a run is made
//! of, and of nothing else: labels, polling, output settings and deletion policy never start a run.
//!
//! Canonical form, version 1 (docs/run-key.md has it in full and an example): a JSON object with the members `body`,
//! `endpoint` (`run-now` or `submit`), `jobName`, `rerun` (the last accepted re-run annotation), `rerunToken` and
//! `workspace` (`kind`, `name`), absent ones left out. In the body, object members are sorted by name, members that are null are left out, tasks are
//! sorted by `task_key`, and `job_id` is a string of digits, however it was written. The key is `v1:` and the first 160
//! bits of SHA-256 of that object's compact JSON text, in lower-case hexadecimal.
//!
//! A released version never changes (a golden test holds that): an upgrade or a rollback of the operator must never
//! re-run anything. A stored key is compared with the function that its version names.

use data_encoding::HEXLOWER;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use crate::api::status::Endpoint;

/// A computed key, with its version in front.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct RunKey(String);

impl RunKey {
    /// The text that is stored in the status.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Everything a run key is made of. Can only be had from a full spec: the body is part of it.
#[derive(Debug, Clone, Copy)]
pub struct KeyInput<'a> {
    /// Which call starts the run.
    pub endpoint: Endpoint,
    /// The request's body as the user wrote it.
    pub body: &'a Map<String, Value>,
    /// Kind of the workspace object.
    pub workspace_kind: &'a str,
    /// Name of the workspace object.
    pub workspace_name: &'a str,
    /// `spec.jobName`.
    pub job_name: Option<&'a str>,
    /// The last accepted token of the re-run annotation.
    pub rerun: Option<&'a str>,
    /// `spec.rerunToken`.
    pub rerun_token: Option<&'a str>,
}

/// How a stored key relates to a spec.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Comparison {
    /// The stored key is this spec's.
    Same,
    /// It is another spec's.
    Different,
    /// It was made by a version this binary does not have, so nobody can tell.
    UnknownVersion,
}

/// One version of the rules.
#[derive(Debug, Clone, Copy)]
pub struct Version {
    /// What stands before the colon.
    pub name: &'static str,
    /// What stands after it.
    pub digest: fn(&KeyInput<'_>) -> String,
}

/// Every version there has ever been; the last is the one that is written.
pub const VERSIONS: &[Version] = &[Version { name: "v1", digest: v1 }];

/// The key of a spec, in the newest of these versions.
#[must_use]
pub fn run_key(versions: &[Version], input: &KeyInput<'_>) -> RunKey {
    let newest = versions.last().unwrap_or(&VERSIONS[0]);
    RunKey(format!("{}:{}", newest.name, (newest.digest)(input)))
}

/// Compares a stored key with a spec, by the rules that the stored key's version names.
#[must_use]
pub fn compare(versions: &[Version], stored: &str, input: &KeyInput<'_>) -> Comparison {
    let known = stored.split_once(':').and_then(|(name, digest)| {
        let version = versions.iter().find(|version| version.name == name)?;
        Some((version.digest)(input) == digest)
    });
    match known {
        Some(true) => Comparison::Same,
        Some(false) => Comparison::Different,
        None => Comparison::UnknownVersion,
    }
}

fn v1(input: &KeyInput<'_>) -> String {
    let mut whole = json!({
        "body": canonical_object(input.body, Place::Top),
        "endpoint": match input.endpoint { Endpoint::RunNow => "run-now", Endpoint::Submit => "submit" },
        "workspace": {"kind": input.workspace_kind, "name": input.workspace_name},
    });
    if let Some(members) = whole.as_object_mut() {
        for (name, value) in [("jobName", input.job_name), ("rerun", input.rerun), ("rerunToken", input.rerun_token)] {
            if let Some(value) = value {
                members.insert(name.to_owned(), value.into());
            }
        }
    }
    let mut text = String::new();
    write_sorted(&mut text, &whole);
    let digest = Sha256::digest(text.as_bytes());
    HEXLOWER.encode(&digest[..20])
}

/// Where in the body a value stands: `job_id` and `tasks` mean something only in their own places.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Top,
    Task,
    RunJobTask,
    Elsewhere,
}

fn canonical_object(object: &Map<String, Value>, place: Place) -> Value {
    let members = object.iter().filter(|(_, value)| !value.is_null()).map(|(name, value)| {
        let value = match (place, name.as_str(), value) {
            (Place::Top | Place::RunJobTask, "job_id", Value::Number(id)) => Value::String(id.to_string()),
            (Place::Top, "tasks", Value::Array(tasks)) => canonical_tasks(tasks),
            (Place::Task, "run_job_task", Value::Object(task)) => canonical_object(task, Place::RunJobTask),
            (Place::Task, "for_each_task", Value::Object(task)) => canonical_for_each(task),
            (_, _, value) => canonical(value),
        };
        (name.clone(), value)
    });
    Value::Object(members.collect())
}

/// A for-each task wraps a whole task.
fn canonical_for_each(wrapper: &Map<String, Value>) -> Value {
    let mut canonical = canonical_object(wrapper, Place::Elsewhere);
    if let (Some(Value::Object(inner)), Some(members)) = (wrapper.get("task"), canonical.as_object_mut()) {
        members.insert("task".to_owned(), canonical_object(inner, Place::Task));
    }
    canonical
}

fn canonical_tasks(tasks: &[Value]) -> Value {
    let mut tasks: Vec<Value> = tasks
        .iter()
        .map(|task| match task {
            Value::Object(task) => canonical_object(task, Place::Task),
            other => canonical(other),
        })
        .collect();
    tasks.sort_by(|a, b| task_key(a).cmp(task_key(b)));
    Value::Array(tasks)
}

fn task_key(task: &Value) -> &str {
    task.get("task_key").and_then(Value::as_str).unwrap_or_default()
}

fn canonical(value: &Value) -> Value {
    match value {
        Value::Object(object) => canonical_object(object, Place::Elsewhere),
        Value::Array(items) => Value::Array(items.iter().map(canonical).collect()),
        other => other.clone(),
    }
}

/// Compact JSON with sorted members, whether or not the JSON library was built to keep their order.
fn write_sorted(out: &mut String, value: &Value) {
    match value {
        Value::Object(object) => {
            let mut members: Vec<_> = object.iter().collect();
            members.sort_by(|a, b| a.0.cmp(b.0));
            out.push('{');
            for (index, (name, value)) in members.into_iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                out.push_str(&Value::from(name.as_str()).to_string());
                out.push(':');
                write_sorted(out, value);
            }
            out.push('}');
        }
        Value::Array(items) => {
            out.push('[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                write_sorted(out, item);
            }
            out.push(']');
        }
        scalar => out.push_str(&scalar.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(value: Value) -> Map<String, Value> {
        match value {
            Value::Object(body) => body,
            other => panic!("no body: {other}"),
        }
    }

    fn key(endpoint: Endpoint, value: Value) -> RunKey {
        run_key(VERSIONS, &input(endpoint, &body(value)))
    }

    fn input(endpoint: Endpoint, body: &Map<String, Value>) -> KeyInput<'_> {
        KeyInput {
            endpoint,
            body,
            workspace_kind: "DatabricksWorkspace",
            workspace_name: "prod",
            job_name: None,
            rerun: None,
            rerun_token: None,
        }
    }

    /// Every released key stays what it is: a change here re-runs every finished object of every user.
    #[test]
    fn released_keys_never_change() {
        let golden: Vec<Value> = serde_json::from_str(include_str!("run_key_golden.json")).unwrap();
        assert!(golden.len() >= 12);
        for case in golden {
            let map = body(case["body"].clone());
            let endpoint = if case["endpoint"] == "submit" { Endpoint::Submit } else { Endpoint::RunNow };
            let mut input = input(endpoint, &map);
            input.workspace_name = case["workspace"].as_str().unwrap();
            input.workspace_kind = case["kind"].as_str().unwrap_or("DatabricksWorkspace");
            input.job_name = case["jobName"].as_str();
            input.rerun = case["rerun"].as_str();
            input.rerun_token = case["rerunToken"].as_str();
            let released = case["key"].as_str().unwrap();
            let name = released.split_once(':').unwrap().0;
            let version = VERSIONS.iter().find(|version| version.name == name).unwrap();
            assert_eq!(run_key(&[*version], &input).as_str(), released, "{case}");
            assert_eq!(compare(VERSIONS, released, &input), Comparison::Same);
        }
    }

    #[test]
    fn the_worked_example_of_the_documentation_holds() {
        let page = include_str!("../../docs/run-key.md");
        let text = page.lines().find(|line| line.starts_with("{\"body\"")).unwrap();
        let key = page.lines().find(|line| line.starts_with("v1:")).unwrap();
        assert_eq!(format!("v1:{}", HEXLOWER.encode(&Sha256::digest(text)[..20])), key);
        assert!(include_str!("run_key_golden.json").contains(key), "the example is one of the golden cases");
    }

    #[test]
    fn the_order_of_tasks_and_members_does_not_matter() {
        let one = key(
            Endpoint::Submit,
            json!({"run_name": "x", "tasks": [{"task_key": "a", "notebook_task": {"notebook_path": "/a"}}, {"task_key": "b"}]}),
        );
        let two = key(
            Endpoint::Submit,
            json!({"tasks": [{"task_key": "b"}, {"notebook_task": {"notebook_path": "/a"}, "task_key": "a"}], "run_name": "x"}),
        );
        assert_eq!(one, two);
    }

    #[test]
    fn the_order_of_parameters_does_matter() {
        assert_ne!(
            key(Endpoint::RunNow, json!({"job_id": 1, "python_params": ["a", "b"]})),
            key(Endpoint::RunNow, json!({"job_id": 1, "python_params": ["b", "a"]}))
        );
    }

    #[test]
    fn the_integer_and_the_string_form_of_a_job_id_are_one() {
        assert_eq!(
            key(Endpoint::RunNow, json!({"job_id": 8_805_518_563_412_967_921_i64})),
            key(Endpoint::RunNow, json!({"job_id": "8805518563412967921"}))
        );
        let task = |id: Value| json!({"tasks": [{"task_key": "a", "run_job_task": {"job_id": id}}]});
        assert_eq!(key(Endpoint::Submit, task(json!(7))), key(Endpoint::Submit, task(json!("7"))));
    }

    #[test]
    fn a_parameter_called_job_id_keeps_its_type() {
        let body = |id: Value| json!({"job_id": 1, "pipeline_params": {"job_id": id}});
        assert_ne!(key(Endpoint::RunNow, body(json!(7))), key(Endpoint::RunNow, body(json!("7"))));
    }

    #[test]
    fn a_null_is_as_if_it_were_not_there() {
        assert_eq!(
            key(Endpoint::RunNow, json!({"job_id": 1, "queue": null})),
            key(Endpoint::RunNow, json!({"job_id": 1}))
        );
    }

    #[test]
    fn what_a_run_is_made_of_changes_the_key() {
        let map = body(json!({"job_id": 1}));
        let base = input(Endpoint::RunNow, &map);
        let other = body(json!({"job_id": 1, "job_parameters": {"day": "2"}}));
        for changed in [
            KeyInput { endpoint: Endpoint::Submit, ..base },
            KeyInput { body: &other, ..base },
            KeyInput { workspace_name: "dev", ..base },
            KeyInput { workspace_kind: "ClusterDatabricksWorkspace", ..base },
            KeyInput { job_name: Some("nightly"), ..base },
            KeyInput { rerun: Some("1"), ..base },
            KeyInput { rerun_token: Some("1"), ..base },
            KeyInput { rerun_token: Some(""), ..base },
        ] {
            assert_ne!(run_key(VERSIONS, &changed), run_key(VERSIONS, &base), "{changed:?}");
        }
    }

    #[test]
    fn a_key_is_compared_by_the_version_it_was_made_with_and_written_in_the_newest() {
        let newer = [VERSIONS[0], Version { name: "v2", digest: |_| "00".to_owned() }];
        let map = body(json!({"job_id": 1}));
        let input = input(Endpoint::RunNow, &map);
        let old = run_key(VERSIONS, &input);
        assert_eq!(compare(&newer, old.as_str(), &input), Comparison::Same, "an upgrade runs nothing again");
        let new = run_key(&newer, &input);
        assert_eq!(new.as_str(), "v2:00");
        assert_eq!(compare(VERSIONS, new.as_str(), &input), Comparison::UnknownVersion, "nor does a rollback");
    }

    #[test]
    fn a_version_from_the_future_is_not_guessed_at() {
        let map = body(json!({"job_id": 1}));
        for stored in ["v2:00", "00", "", "v1"] {
            let compared = compare(VERSIONS, stored, &input(Endpoint::RunNow, &map));
            assert_eq!(compared, Comparison::UnknownVersion, "{stored}");
        }
        assert_eq!(compare(VERSIONS, "v1:00", &input(Endpoint::RunNow, &map)), Comparison::Different);
    }
}
