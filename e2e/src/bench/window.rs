//! A span of time that is looked at: what was asked of the workspaces in it, and what that cost. Only
//! differences are told, so what came before it is no part of it.

use std::time::Instant;

use super::Failure;
use super::figures::{Counts, Outcome, Spread, number};
use super::scrape::Scrape;
use super::subject::{Kind, Subject};
use super::witness::Witness;
use super::world::World;
use crate::workspace::{Entry, Operation};

/// A span that has begun.
pub(super) struct Window {
    begun: Instant,
    /// How many requests each workspace had had.
    asked: Vec<usize>,
    scrape: Scrape,
    processor: f64,
    versions: usize,
}

/// A span that is over.
pub(super) struct Span {
    pub(super) seconds: f64,
    /// The requests of each workspace.
    pub(super) requests: Vec<Vec<Entry>>,
    before: Scrape,
    pub(super) after: Scrape,
    processor: f64,
    memory: Spread,
    /// Versions of objects that were written.
    pub(super) versions: usize,
    kind: Kind,
}

impl Window {
    /// Begins one.
    pub(super) async fn open(world: &World, subject: &Subject, witness: &Witness) -> Result<Self, Failure> {
        subject.memory_since();
        Ok(Self {
            asked: world.workspaces.iter().map(|(workspace, _)| workspace.requests_so_far()).collect(),
            scrape: subject.scrape().await?,
            processor: subject.processor_seconds()?,
            versions: witness.tally().versions,
            begun: Instant::now(),
        })
    }

    /// Ends it.
    pub(super) async fn close(self, world: &World, subject: &mut Subject, witness: &Witness) -> Result<Span, Failure> {
        subject.check()?;
        let seconds = self.begun.elapsed().as_secs_f64();
        let from = world.workspaces.iter().zip(&self.asked);
        Ok(Span {
            seconds,
            requests: from.map(|((workspace, _), asked)| workspace.requests_from(*asked)).collect(),
            before: self.scrape,
            after: subject.scrape().await?,
            processor: subject.processor_seconds()? - self.processor,
            memory: subject.memory_since().into_iter().collect(),
            versions: witness.tally().versions - self.versions,
            kind: subject.kind(),
        })
    }
}

impl Span {
    /// What a counter of the operator rose by.
    pub(super) fn rise(&self, name: &str, label: &str) -> f64 {
        self.after.sum(name, label) - self.before.sum(name, label)
    }

    /// Requests a second of the workspace that was asked most.
    pub(super) fn requests_per_second(&self) -> f64 {
        let most = self.requests.iter().map(Vec::len).max().unwrap_or(0);
        number(most) / self.seconds
    }

    /// Processors in use.
    pub(super) fn processors(&self) -> f64 {
        self.processor / self.seconds
    }

    /// How often a run was looked at: by a call of its own, or as a row of a list that showed it unchanged.
    fn looks(&self) -> f64 {
        match self.kind {
            Kind::Baseline => number(self.count(|entry| entry.operation == Operation::GetRun)),
            Kind::Operator => {
                let gets = ["news", "same", "absent"].map(|outcome| format!("outcome=\"{outcome}\""));
                let gets = gets.iter().map(|label| self.rise("databricks_operator_polls_total", label)).sum::<f64>();
                gets + self.rise("databricks_operator_sweep_rows_total", "outcome=\"same\"")
            }
        }
    }

    fn count(&self, matches: impl Fn(&Entry) -> bool) -> usize {
        self.requests.iter().flatten().filter(|entry| matches(entry)).count()
    }

    /// What every scenario tells.
    pub(super) fn tell(&self, outcome: &mut Outcome, runs_started: usize) {
        let mut calls = Counts::new();
        for entry in self.requests.iter().flatten() {
            *calls.entry(format!("{:?}", entry.operation)).or_default() += 1;
        }
        for (call, count) in calls {
            outcome.tell(format!("requests: {call}"), "/s", number(count) / self.seconds);
        }
        outcome.tell("answers with 429", "", number(self.count(|entry| entry.status == Some(429))));
        outcome.tell("looks at runs", "/s", self.looks() / self.seconds);
        let per_look = Some(self.looks()).filter(|looks| *looks > 0.0).map(|looks| 1000.0 * self.processor / looks);
        outcome.tell("processor time per 1,000 looks", "s", per_look);
        if runs_started > 0 {
            outcome.tell("processor time per run", "ms", 1000.0 * self.processor / number(runs_started));
            outcome.tell("writes of objects per run", "", number(self.versions) / number(runs_started));
        }
        outcome.tell("memory, median", "MiB", self.memory.at(0.5));
        if self.kind == Kind::Operator {
            let reconciles = "controller_runtime_reconcile_time_seconds";
            for share in [0.5, 0.99] {
                let bound = self.after.quantile_since(&self.before, reconciles, share);
                outcome.tell(
                    format!("reconcile p{:.0}, at most", share * 100.0),
                    "ms",
                    bound.map(|bound| bound * 1000.0),
                );
            }
        }
    }
}
