//! What a run is going to do, written before it starts: its phases with their spans, and how it ends.
//!
//! A script knows nothing of the present. `lifecycle` turns script, start and the present into a state.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Map, Value};

use super::clock::{Millis, millis};
use super::endings::Ending;

/// The script of a whole run.
#[derive(Clone, Debug)]
pub struct Script {
    pub(super) prelude: Vec<Phase>,
    pub(super) each_task: TaskScript,
    pub(super) tasks: BTreeMap<String, TaskScript>,
    pub(super) ending: Option<Ending>,
    pub(super) tells: Tells,
    pub(super) cancel_takes: Millis,
}

/// A span the whole run spends in one state before its tasks begin.
#[derive(Clone, Debug)]
pub(super) struct Phase {
    pub(super) life_cycle_state: String,
    pub(super) status: String,
    pub(super) message: String,
    pub(super) lasts: Millis,
}

/// Which of the two descriptions of a state the answers carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tells {
    Both,
    StateOnly,
    StatusOnly,
}

/// The script of one task.
#[derive(Clone, Debug)]
pub struct TaskScript {
    pub(super) pending: Millis,
    pub(super) running: Millis,
    pub(super) terminating: Millis,
    pub(super) ending: Ending,
    pub(super) failures_first: u32,
    pub(super) retry_after: Millis,
    pub(super) output: Output,
    pub(super) iterations: u32,
}

/// What get-output tells of a task beside its error.
#[derive(Clone, Debug, Default)]
pub(super) struct Output {
    pub(super) result: Option<String>,
    pub(super) logs: Option<String>,
    pub(super) members: Map<String, Value>,
}

impl Default for TaskScript {
    fn default() -> Self {
        Self {
            pending: 1_000,
            running: 2_000,
            terminating: 500,
            ending: Ending::success(),
            failures_first: 0,
            retry_after: 1_000,
            output: Output::default(),
            iterations: 0,
        }
    }
}

impl TaskScript {
    /// Succeeds with this notebook result (`dbutils.notebook.exit`).
    #[must_use]
    pub fn notebook_result(mut self, result: impl Into<String>) -> Self {
        self.output.result = Some(result.into());
        self
    }

    /// Writes these logs (jar, wheel and Python script tasks show them).
    #[must_use]
    pub fn logs(mut self, logs: impl Into<String>) -> Self {
        self.output.logs = Some(logs.into());
        self
    }

    /// Leaves something else behind, which get-output shows under this name (`dbt_output`, `sql_output`).
    #[must_use]
    pub fn leaving(mut self, name: &str, what: Value) -> Self {
        self.output.members.insert(name.to_owned(), what);
        self
    }

    /// Raises: `error` is what people read, `trace` the stack below it.
    #[must_use]
    pub fn failing(self, error: &str, trace: &str) -> Self {
        self.ending(Ending::exception(error, trace))
    }

    /// Ends so.
    #[must_use]
    pub fn ending(mut self, ending: Ending) -> Self {
        self.ending = ending;
        self
    }

    /// Waits this long for its cluster.
    #[must_use]
    pub fn pending_for(mut self, span: Duration) -> Self {
        self.pending = millis(span);
        self
    }

    /// Works this long.
    #[must_use]
    pub fn running_for(mut self, span: Duration) -> Self {
        self.running = millis(span);
        self
    }

    /// Works until it is cancelled, or told to finish (`Workspace::finish`).
    #[must_use]
    pub fn running_forever(self) -> Self {
        self.running_for(Duration::MAX)
    }

    /// Cleans up this long.
    #[must_use]
    pub fn terminating_for(mut self, span: Duration) -> Self {
        self.terminating = millis(span);
        self
    }

    /// Fails this often first; the service retries it `wait` after each failure, under the same task key.
    #[must_use]
    pub fn retried(mut self, failures: u32, wait: Duration) -> Self {
        self.failures_first = failures;
        self.retry_after = millis(wait);
        self
    }

    /// A for-each task with this many iterations.
    #[must_use]
    pub fn iterations(mut self, count: u32) -> Self {
        self.iterations = count;
        self
    }

    fn scaled(mut self, speed: Speed) -> Self {
        for span in [&mut self.pending, &mut self.running, &mut self.terminating, &mut self.retry_after] {
            *span = speed.shorten(*span);
        }
        self
    }
}

impl Default for Script {
    fn default() -> Self {
        Self {
            prelude: Vec::new(),
            each_task: TaskScript::default(),
            tasks: BTreeMap::new(),
            ending: None,
            tells: Tells::Both,
            cancel_takes: 1_000,
        }
    }
}

impl Script {
    /// Succeeds after a few seconds.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Never starts and ends so at once.
    #[must_use]
    pub fn refused(ending: Ending) -> Self {
        let none = Duration::ZERO;
        Self::new().pending_for(none).running_for(none).terminating_for(none).ending(ending)
    }

    fn each(mut self, edit: impl FnOnce(TaskScript) -> TaskScript) -> Self {
        self.each_task = edit(self.each_task);
        self
    }

    /// Every task succeeds with this notebook result.
    #[must_use]
    pub fn notebook_result(self, result: impl Into<String>) -> Self {
        self.each(|task| task.notebook_result(result))
    }

    /// Every task raises.
    #[must_use]
    pub fn failing(self, error: &str, trace: &str) -> Self {
        self.each(|task| task.failing(error, trace))
    }

    /// Every task ends so; the run's end follows from its tasks'.
    #[must_use]
    pub fn ending(self, ending: Ending) -> Self {
        self.each(|task| task.ending(ending))
    }

    /// The run ends so, whatever its tasks say.
    #[must_use]
    pub fn run_ending(mut self, ending: Ending) -> Self {
        self.ending = Some(ending);
        self
    }

    /// Every task waits this long for its cluster.
    #[must_use]
    pub fn pending_for(self, span: Duration) -> Self {
        self.each(|task| task.pending_for(span))
    }

    /// Every task works this long.
    #[must_use]
    pub fn running_for(self, span: Duration) -> Self {
        self.each(|task| task.running_for(span))
    }

    /// Every task works until it is cancelled or told to finish.
    #[must_use]
    pub fn running_forever(self) -> Self {
        self.each(TaskScript::running_forever)
    }

    /// Every task cleans up this long.
    #[must_use]
    pub fn terminating_for(self, span: Duration) -> Self {
        self.each(|task| task.terminating_for(span))
    }

    /// Every task fails this often before it ends as it should.
    #[must_use]
    pub fn retried(self, failures: u32, wait: Duration) -> Self {
        self.each(|task| task.retried(failures, wait))
    }

    /// The task `key` has a script of its own.
    #[must_use]
    pub fn task(mut self, key: &str, script: TaskScript) -> Self {
        self.tasks.insert(key.to_owned(), script);
        self
    }

    /// The run waits this long in the queue first.
    #[must_use]
    pub fn queued_for(self, span: Duration) -> Self {
        self.phase("QUEUED", "QUEUED", "The run is queued.", span)
    }

    /// The run is blocked this long first.
    #[must_use]
    pub fn blocked_for(self, span: Duration) -> Self {
        self.phase("BLOCKED", "BLOCKED", "", span)
    }

    /// The run passes through a state first, known or not: `life_cycle_state` in `state`, `status` in `status`.
    #[must_use]
    pub fn passing_through(self, life_cycle_state: &str, status: &str, span: Duration) -> Self {
        self.phase(life_cycle_state, status, "", span)
    }

    fn phase(mut self, life_cycle_state: &str, status: &str, message: &str, span: Duration) -> Self {
        self.prelude.push(Phase {
            life_cycle_state: life_cycle_state.to_owned(),
            status: status.to_owned(),
            message: message.to_owned(),
            lasts: millis(span),
        });
        self
    }

    /// From a cancellation to the end of the run.
    #[must_use]
    pub fn cancel_takes(mut self, span: Duration) -> Self {
        self.cancel_takes = millis(span);
        self
    }

    /// Answers carry no `state`.
    #[must_use]
    pub fn without_state(mut self) -> Self {
        self.tells = Tells::StatusOnly;
        self
    }

    /// Answers carry no `status`.
    #[must_use]
    pub fn without_status(mut self) -> Self {
        self.tells = Tells::StateOnly;
        self
    }

    pub(super) fn for_task(&self, key: &str) -> TaskScript {
        self.tasks.get(key).unwrap_or(&self.each_task).clone()
    }

    pub(super) fn scaled(mut self, speed: Speed) -> Self {
        self.each_task = self.each_task.scaled(speed);
        self.tasks = self.tasks.into_iter().map(|(key, task)| (key, task.scaled(speed))).collect();
        for phase in &mut self.prelude {
            phase.lasts = speed.shorten(phase.lasts);
        }
        self.cancel_takes = speed.shorten(self.cancel_takes);
        self
    }
}

/// How many times faster than written scripts are played. Times in answers stay true.
#[derive(Clone, Copy, Debug)]
pub struct Speed(u32);

impl Speed {
    /// `times` as fast; zero counts as one.
    #[must_use]
    pub fn times(times: u32) -> Self {
        Self(times.max(1))
    }

    fn shorten(self, span: Millis) -> Millis {
        span / Millis::from(self.0)
    }
}
