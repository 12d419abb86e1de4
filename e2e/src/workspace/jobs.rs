//! The saved jobs of the workspace.

use serde_json::{Value, json};

use super::clock::Millis;
use super::runs::JobParameter;
use super::script::Script;

/// A saved job.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) id: i64,
    pub(super) name: String,
    pub(super) created: Millis,
    pub(super) tasks: Vec<Value>,
    /// Name and default.
    pub(super) parameters: Vec<(String, String)>,
    /// None: names and parameters decide.
    pub(super) script: Option<Script>,
    pub(super) max_concurrent_runs: usize,
    pub(super) queue: bool,
    pub(super) continuous: bool,
    pub(super) timeout: Option<Millis>,
}

/// How much of a job an answer carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shown {
    /// jobs/list.
    Row,
    /// jobs/list with `expand_tasks`.
    RowWithTasks,
    /// jobs/get.
    Whole,
}

impl Job {
    /// A job with one notebook task `main`, of any number of concurrent runs.
    pub(super) fn named(id: i64, name: &str, created: Millis) -> Self {
        Self {
            id,
            name: name.to_owned(),
            created,
            tasks: vec![json!({
                "task_key": "main",
                "notebook_task": { "notebook_path": format!("/Shared/{name}"), "source": "WORKSPACE" },
            })],
            parameters: Vec::new(),
            script: None,
            max_concurrent_runs: 1000,
            queue: false,
            continuous: false,
            timeout: None,
        }
    }

    /// Its parameters with the values a run overrides.
    pub(super) fn parameters_with(&self, overrides: &[(String, String)]) -> Vec<JobParameter> {
        let value = |name: &str| overrides.iter().find(|(key, _)| key == name).map(|(_, value)| value.clone());
        let own = self.parameters.iter().map(|(name, default)| JobParameter {
            name: name.clone(),
            default: default.clone(),
            value: value(name),
        });
        let known = |name: &str| self.parameters.iter().any(|(own, _)| own == name);
        let added = overrides.iter().filter(|(name, _)| !known(name)).map(|(name, value)| JobParameter {
            name: name.clone(),
            default: String::new(),
            value: Some(value.clone()),
        });
        own.chain(added).collect()
    }

    /// As the API shows it.
    pub(super) fn json(&self, shown: Shown) -> Value {
        let parameters: Vec<Value> =
            self.parameters.iter().map(|(name, default)| json!({ "name": name, "default": default })).collect();
        let mut settings = json!({
            "name": self.name,
            "email_notifications": {},
            "timeout_seconds": self.timeout.unwrap_or(0) / 1000,
            "max_concurrent_runs": self.max_concurrent_runs,
            "format": "MULTI_TASK",
            "queue": { "enabled": self.queue },
            "unannounced_setting": { "level": "SUPER" },
        });
        if shown != Shown::Row {
            settings["tasks"] = Value::Array(self.tasks.clone());
        }
        if !parameters.is_empty() {
            settings["parameters"] = Value::Array(parameters);
        }
        if self.continuous {
            settings["continuous"] = json!({ "pause_status": "UNPAUSED" });
        }
        let mut job = json!({
            "job_id": self.id,
            "creator_user_name": "someone@example.com",
            "created_time": self.created,
            "settings": settings,
            "unannounced_field": 1,
        });
        if shown == Shown::Whole {
            job["run_as_user_name"] = json!("someone@example.com");
        }
        job
    }
}
