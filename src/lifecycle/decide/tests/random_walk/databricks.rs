//! Databricks as far as starting exactly once needs it: it remembers tokens, and its runs live and end.

use std::collections::BTreeMap;

use crate::databricks::ids::{JobId, RunId};
use crate::databricks::model::Run;
use crate::lifecycle::fixtures::{run, task};
use crate::lifecycle::step::{Effect, Fetched, FoundRun, JobMatch, Outcome};
use crate::lifecycle::world::{not_found, refused};

/// A run as Databricks knows it.
#[derive(Debug, Clone)]
pub(super) struct Known {
    /// Of the intent that started it.
    pub(super) serial: i64,
    /// Its life-cycle state, or its result.
    pub(super) life: &'static str,
    cancelled: bool,
    pub(super) deleted: bool,
}

impl Known {
    pub(super) fn active(&self) -> bool {
        !self.deleted && matches!(self.life, "PENDING" | "RUNNING")
    }
}

/// All of it.
#[derive(Debug, Default)]
pub(super) struct Databricks {
    /// Runs by token: this Databricks never forgets one.
    tokens: BTreeMap<String, i64>,
    runs: BTreeMap<i64, Known>,
}

impl Databricks {
    /// What comes of a call.
    pub(super) fn takes(&mut self, effect: &Effect) -> Outcome {
        match effect {
            Effect::Submit { serial, token, .. } => {
                let next = i64::try_from(self.runs.len()).unwrap() + 1;
                let run = *self.tokens.entry(token.as_str().to_owned()).or_insert(next);
                let new = Known { serial: *serial, life: "PENDING", cancelled: false, deleted: false };
                let known = self.runs.entry(run).or_insert(new);
                // A token whose run was deleted is refused.
                Outcome::Submitted(if known.deleted { Err(refused()) } else { Ok(Some(RunId(run))) })
            }
            Effect::Cancel { run, .. } => {
                let known = self.runs.get_mut(&run.0).unwrap();
                known.cancelled = true;
                Outcome::Canceled(if known.deleted { Err(not_found()) } else { Ok(()) })
            }
            Effect::FindRun { .. } => {
                let listed = self.runs.iter().filter(|(_, run)| !run.deleted);
                Outcome::Runs(Ok(listed.map(|(id, run)| FoundRun { run: RunId(*id), ended: !run.active() }).collect()))
            }
            Effect::FindJob { .. } => Outcome::Job(Ok(JobMatch::One(JobId(5)))),
            Effect::FetchOutputs { tasks, .. } => {
                let tasks = tasks.iter().map(|(_, task)| (*task, None)).collect();
                Outcome::Outputs(Fetched { tasks, retry_in: None })
            }
        }
    }

    /// The run of this id.
    pub(super) fn run(&self, id: RunId) -> &Known {
        &self.runs[&id.0]
    }

    /// The runs that have not ended.
    pub(super) fn active(&self) -> impl Iterator<Item = &Known> {
        self.runs.values().filter(|run| run.active())
    }

    /// The newest run goes on, or ends like this; one that was cancelled ends as cancelled.
    pub(super) fn goes_on(&mut self, life: &'static str) {
        if let Some(run) = self.runs.values_mut().rev().find(|run| run.active()) {
            run.life = if run.cancelled && life != "RUNNING" { "CANCELED" } else { life };
        }
    }

    /// A person deletes the newest run.
    pub(super) fn loses_a_run(&mut self) {
        if let Some(run) = self.runs.values_mut().next_back() {
            run.deleted = true;
        }
    }

    /// Every run ends.
    pub(super) fn ends_all(&mut self) {
        for run in self.runs.values_mut().filter(|run| run.active()) {
            run.life = if run.cancelled { "CANCELED" } else { "SUCCESS" };
        }
    }
}

/// A run as it is read.
pub(super) fn described(id: RunId, life: &str) -> Run {
    match life {
        "PENDING" | "RUNNING" => run(id.0).is(life).with([task("main", id.0 + 1000).is(life)]),
        result => run(id.0).ended("TERMINATED", result).with([task("main", id.0 + 1000).ended("TERMINATED", result)]),
    }
}

/// The word for how a run ended.
pub(super) fn verdict(life: &str) -> &str {
    match life {
        "SUCCESS" => "Succeeded",
        "FAILED" => "Failed",
        "CANCELED" => "Canceled",
        other => panic!("a verdict on a run that is {other}"),
    }
}
