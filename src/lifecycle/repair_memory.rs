//! What a process remembers of a repair that is written ahead, and of the newest reading beside the schedule.

use std::time::Duration;

use super::memory::Failures;
use super::observed::Now;
use super::step::FreshRun;
use crate::api::status::RepairRecord;
use crate::databricks::error::{Error, Executed};
use crate::databricks::ids::{RepairId, RunId};

/// A run that was read beside the schedule.
#[derive(Debug, Clone, PartialEq)]
pub struct Fresh {
    /// Which.
    pub run: RunId,
    /// What was read.
    pub read: FreshRun,
    /// When.
    pub at: Duration,
}

/// What this process knows of the repair in the status.
#[derive(Debug, Clone, PartialEq)]
pub struct RepairMemory {
    /// Of which run.
    pub run: RunId,
    /// Which repair of the request.
    pub n: i32,
    /// Since when it has been as it is: written ahead, or acknowledged.
    pub since: Duration,
    /// Whether it was acknowledged.
    pub acknowledged: bool,
    /// Whether a request may have been executed; true while one is on its way, and when another process may have sent one.
    maybe_executed: bool,
    /// What `maybe_executed` was before the newest request.
    before: bool,
    /// Requests that failed.
    pub failures: Failures,
    /// How the newest request ended, if that tells something.
    pub answer: Option<RepairAnswer>,
}

/// An answer to a repair.
#[derive(Debug, Clone, PartialEq)]
pub enum RepairAnswer {
    /// This is the repair.
    Repaired(RepairId),
    /// Databricks refuses it; perhaps because it, or another, has been made already.
    Refused(Error),
}

impl RepairMemory {
    /// Begins with what the status says. `written` is whether this process has just written it.
    pub(super) fn new(run: RunId, repair: &RepairRecord, written: bool, now: Now) -> Self {
        Self {
            run,
            n: repair.n,
            since: now.mono,
            acknowledged: repair.repair_id.is_some(),
            maybe_executed: !written,
            before: !written,
            failures: Failures::default(),
            answer: None,
        }
    }

    /// Whether it speaks of this repair.
    #[must_use]
    pub fn is_of(&self, run: RunId, repair: &RepairRecord) -> bool {
        self.run == run && self.n == repair.n
    }

    /// Whether no request can have been executed.
    #[must_use]
    pub fn surely_unsent(&self) -> bool {
        !self.maybe_executed
    }

    /// Takes note of what the status says by now.
    pub(super) fn notice(&mut self, repair: &RepairRecord, now: Now) {
        if repair.repair_id.is_some() != self.acknowledged {
            (self.acknowledged, self.since) = (repair.repair_id.is_some(), now.mono);
        }
    }

    /// Notes that a request is about to be sent.
    pub(super) fn sending(&mut self) {
        self.before = self.maybe_executed;
        self.maybe_executed = true;
    }

    /// Notes what came of it.
    pub(super) fn answered(&mut self, outcome: Result<RepairId, Error>, now: Now) {
        match outcome {
            Ok(repair) => self.answer = Some(RepairAnswer::Repaired(repair)),
            Err(error @ (Error::Rejected(_) | Error::NotFound(_))) => {
                self.maybe_executed = self.before;
                self.answer = Some(RepairAnswer::Refused(error));
            }
            Err(error) => {
                self.maybe_executed = self.before || error.executed() == Executed::Maybe;
                self.failures.note(error, now);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lifecycle::fixtures::now;

    #[test]
    fn since_when_a_repair_is_acknowledged_is_remembered() {
        let mut record = RepairRecord { n: 1, ..RepairRecord::default() };
        let mut memory = RepairMemory::new(RunId(7), &record, true, now(0));
        memory.notice(&record, now(10));
        assert_eq!((memory.acknowledged, memory.since), (false, now(0).mono));
        record.repair_id = Some("5".into());
        for later in [20, 30] {
            memory.notice(&record, now(later));
            assert_eq!((memory.acknowledged, memory.since), (true, now(20).mono));
        }
    }
}
