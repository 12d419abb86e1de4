//! Writing a job down: `workspace.job("nightly").notebook_result("42").running_for(span)`.

use std::time::Duration;

use serde_json::Value;

use super::Control;
use super::clock::millis;
use super::jobs::Job;
use super::script::Script;

/// A saved job. Every method takes effect at once, for runs started from then on.
#[derive(Clone)]
#[must_use = "the job exists; use its id, or `let _`"]
pub struct JobHandle {
    pub(super) control: Control,
    pub(super) id: i64,
}

impl JobHandle {
    /// The id that run-now takes.
    #[must_use]
    pub fn id(&self) -> i64 {
        self.id
    }

    fn change(self, edit: impl FnOnce(&mut Job)) -> Self {
        if let Some(job) = self.control.0.state().jobs.get_mut(&self.id) {
            edit(job);
        }
        self
    }

    fn edit_script(self, edit: impl FnOnce(Script) -> Script) -> Self {
        self.change(|job| job.script = Some(edit(job.script.take().unwrap_or_default())))
    }

    /// Its runs follow this script.
    pub fn script(self, script: Script) -> Self {
        self.change(|job| job.script = Some(script))
    }

    /// Its tasks succeed with this result.
    pub fn notebook_result(self, result: impl Into<String>) -> Self {
        self.edit_script(|script| script.notebook_result(result))
    }

    /// Its tasks raise.
    pub fn failing(self, error: &str, trace: &str) -> Self {
        self.edit_script(|script| script.failing(error, trace))
    }

    /// Its tasks work this long.
    pub fn running_for(self, span: Duration) -> Self {
        self.edit_script(|script| script.running_for(span))
    }

    /// Its tasks work until they are cancelled or told to finish.
    pub fn running_forever(self) -> Self {
        self.edit_script(Script::running_forever)
    }

    /// It has these tasks instead of one notebook task `main`. Each is a task as the Jobs API writes it.
    pub fn tasks(self, tasks: Vec<Value>) -> Self {
        self.change(|job| job.tasks = tasks)
    }

    /// It has a job parameter with this default.
    pub fn parameter(self, name: &str, default: &str) -> Self {
        self.change(|job| job.parameters.push((name.to_owned(), default.to_owned())))
    }

    /// So many runs at once; further ones are skipped, or queue if the job or the request says so.
    pub fn max_concurrent_runs(self, count: usize) -> Self {
        self.change(|job| job.max_concurrent_runs = count)
    }

    /// Runs over the maximum wait in the queue.
    pub fn queueing(self) -> Self {
        self.change(|job| job.queue = true)
    }

    /// A continuous job: run-now answers without a run id.
    pub fn continuous(self) -> Self {
        self.change(|job| job.continuous = true)
    }

    /// Its runs end TIMEDOUT after this long.
    pub fn timeout(self, span: Duration) -> Self {
        self.change(|job| job.timeout = Some(millis(span)))
    }

    /// Deletes the job. Its runs stay.
    pub fn delete(self) {
        self.control.0.state().jobs.remove(&self.id);
    }
}
