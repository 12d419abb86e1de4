//! Databricks as far as starting exactly once needs it: it remembers tokens, and its runs live and end.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::databricks::error::Error;
use crate::databricks::ids::{JobId, RepairId, RunId};
use crate::databricks::model::{RepairHistoryItem, Run};
use crate::lifecycle::fixtures::{run, task};
use crate::lifecycle::step::{Effect, Fetched, FoundRun, FreshRun, JobMatch, Outcome};
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
    /// Every end it ever had.
    pub(super) ends: Vec<&'static str>,
    repairs: Vec<i64>,
    pub(super) repaired_by_hand: bool,
}

impl Known {
    pub(super) fn active(&self) -> bool {
        !self.deleted && matches!(self.life, "PENDING" | "RUNNING")
    }

    fn note_end(&mut self) {
        if !self.active() {
            self.ends.push(self.life);
        }
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
                let new = Known {
                    serial: *serial,
                    life: "PENDING",
                    cancelled: false,
                    deleted: false,
                    ends: Vec::new(),
                    repairs: Vec::new(),
                    repaired_by_hand: false,
                };
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
            Effect::ReadRun { run, .. } => {
                let known = &self.runs[&run.0];
                let read = FreshRun { run: Arc::new(described(*run, known)), server_time: None };
                Outcome::Read(if known.deleted { Err(not_found()) } else { Ok(read) })
            }
            Effect::Repair { run, after, .. } => Outcome::Repaired(self.repair(run.0, after.map(|id| id.0))),
            Effect::FindJob { .. } => Outcome::Job(Ok(JobMatch::One(JobId(5)))),
            Effect::FetchOutputs { tasks, .. } => {
                let tasks = tasks.iter().map(|(_, task)| (*task, None)).collect();
                Outcome::Outputs(Fetched { tasks, retry_in: None })
            }
        }
    }

    /// Runs what failed again, if this is its last repair.
    fn repair(&mut self, run: i64, after: Option<i64>) -> Result<RepairId, Error> {
        let next = 500 + i64::try_from(self.runs.values().map(|run| run.repairs.len()).sum::<usize>()).unwrap();
        let known = self.runs.get_mut(&run).unwrap();
        if known.deleted || known.active() || known.life == "SUCCESS" || known.repairs.last().copied() != after {
            return Err(refused());
        }
        known.repairs.push(next);
        (known.life, known.cancelled) = ("RUNNING", false);
        Ok(RepairId(next))
    }

    /// A person repairs the newest run.
    pub(super) fn is_repaired(&mut self) {
        if let Some((run, known)) = self.runs.iter().next_back() {
            let (run, after) = (*run, known.repairs.last().copied());
            let repaired = self.repair(run, after).is_ok();
            self.runs.entry(run).and_modify(|run| run.repaired_by_hand |= repaired);
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
            run.note_end();
        }
    }

    /// A person deletes the newest run.
    pub(super) fn loses_a_run(&mut self) {
        if let Some(run) = self.runs.values_mut().next_back() {
            run.deleted = true;
        }
    }

    /// Every run ends, every other one well.
    pub(super) fn ends_all(&mut self) {
        for (id, run) in self.runs.iter_mut().filter(|(_, run)| run.active()) {
            let life = if id % 2 == 0 { "SUCCESS" } else { "FAILED" };
            run.life = if run.cancelled { "CANCELED" } else { life };
            run.note_end();
        }
    }
}

/// A run as it is read.
pub(super) fn described(id: RunId, known: &Known) -> Run {
    let main = task("main", id.0 + 1000);
    let mut described = match known.life {
        life @ ("PENDING" | "RUNNING") => run(id.0).is(life).with([main.is(life)]),
        "FAILED" => run(id.0).ended("INTERNAL_ERROR", "FAILED").with([main.failed_with("CLOUD_FAILURE")]),
        result => run(id.0).ended("TERMINATED", result).with([main.ended("TERMINATED", result)]),
    };
    let line = |id: &i64| RepairHistoryItem { id: Some(RepairId(*id)), ..RepairHistoryItem::default() };
    described.repair_history = known.repairs.iter().map(line).collect();
    described
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
