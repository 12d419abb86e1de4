//! A run as Databricks knows it: every face it ever had, and what the API makes of one.

use std::time::Duration;

use databricks_run_operator::databricks::ids::{JobId, RepairId, RunId};
use databricks_run_operator::databricks::model::{
    RepairHistoryItem, Run, RunState, RunStatus, RunTask, TerminationDetails,
};

use super::course::{Face, Word};
use super::repair::Repair;
use crate::simulation::clock::epoch_millis;

/// The tasks of the jobs there are.
const TASKS: [&str; 3] = ["extract", "transform", "load"];

/// A run.
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
#[derive(Debug, Clone)]
pub(in crate::simulation) struct SimRun {
    pub(in crate::simulation) id: i64,
    /// The token it was started with.
    pub(in crate::simulation) token: String,
    pub(super) job: i64,
    pub(super) name: String,
    pub(in crate::simulation) started: Duration,
    /// Every face it had, oldest first.
    pub(super) faces: Vec<(Duration, Face)>,
    /// Which course it is on: a cancellation or a repair begins another.
    pub(super) course: u32,
    pub(in crate::simulation) deleted: Option<Duration>,
    pub(super) cancel_asked: bool,
    pub(super) stubborn: bool,
    pub(super) tasks: usize,
    /// Reads that denied it.
    pub(super) denials: u32,
    /// A person has repaired it: it may be live again beside a newer one.
    pub(in crate::simulation) repaired_by_people: bool,
    pub(super) repairs: Vec<Repair>,
    /// It began although its token had a run already, in a workspace that forgets tokens.
    pub(in crate::simulation) stray: bool,
}

impl SimRun {
    pub(super) fn face(&self) -> Face {
        self.faces[self.faces.len() - 1].1
    }

    /// The face it had then, and since when.
    pub(super) fn face_at(&self, then: Duration) -> (Duration, Face) {
        let known = self.faces.iter().rev().find(|(since, _)| *since <= then);
        *known.unwrap_or(&self.faces[0])
    }

    /// Whether it is going on and costs money.
    pub(in crate::simulation) fn is_live(&self) -> bool {
        self.deleted.is_none() && self.face().word.is_none()
    }

    /// Whether this verdict was ever Databricks'.
    pub(in crate::simulation) fn ever_said(&self, state: &str, reason: &str) -> bool {
        self.faces.iter().filter_map(|(_, face)| face.word).any(|word: Word| word == (state, reason))
    }

    /// What Databricks last said of its end.
    pub(in crate::simulation) fn words(&self) -> Vec<Word> {
        self.faces.iter().filter_map(|(_, face)| face.word).collect()
    }

    /// The run as `runs/get` describes it, as it was then.
    pub(super) fn described(&self, then: Duration, history: bool) -> Run {
        let (since, face) = self.face_at(then);
        let end_time = if face.word.is_some() { epoch_millis(since) } else { 0 };
        Run {
            run_id: RunId(self.id),
            job_id: Some(JobId(self.job)),
            run_name: Some(self.name.clone()),
            run_page_url: None,
            state: state(face.life, face.result),
            status: status(face.status, face.code),
            start_time: epoch_millis(self.started),
            end_time,
            queue_duration: 0,
            setup_duration: 0,
            execution_duration: 0,
            cleanup_duration: 0,
            run_duration: 0,
            tasks: (0..self.tasks).map(|index| self.task(index, face, end_time)).collect(),
            repair_history: if history { self.history(then) } else { Vec::new() },
            next_page_token: None,
        }
    }

    fn history(&self, then: Duration) -> Vec<RepairHistoryItem> {
        let original = RepairHistoryItem { kind: Some("ORIGINAL".to_owned()), ..RepairHistoryItem::default() };
        let repairs = self.repairs.iter().filter(|repair| repair.at <= then).map(|repair| RepairHistoryItem {
            id: Some(RepairId(repair.id)),
            kind: Some("REPAIR".to_owned()),
            start_time: epoch_millis(repair.at),
            ..RepairHistoryItem::default()
        });
        std::iter::once(original).chain(repairs).collect()
    }

    fn task(&self, index: usize, face: Face, end_time: i64) -> RunTask {
        let culprit = self.tasks / 2;
        let (life, result, code) = match face.word {
            Some(_) if face.fails && index == culprit => ("TERMINATED", "FAILED", face.code),
            Some(_) if face.fails && index > culprit => ("TERMINATED", "UPSTREAM_FAILED", ""),
            Some(("Canceled", _)) => ("TERMINATED", "CANCELED", "USER_CANCELED"),
            Some(_) => ("TERMINATED", "SUCCESS", "SUCCESS"),
            None if face.executes && index == 0 => ("RUNNING", "", ""),
            None if index == 0 => ("PENDING", "", ""),
            None => ("BLOCKED", "", ""),
        };
        RunTask {
            run_id: Some(RunId(self.id + 1 + i64::try_from(index).unwrap_or(0))),
            task_key: TASKS[index].to_owned(),
            state: state(life, result),
            status: status(if life == "BLOCKED" { "BLOCKED" } else { life }, code),
            start_time: if face.executes { epoch_millis(self.started) } else { 0 },
            end_time,
            ..RunTask::default()
        }
    }
}

fn state(life: &str, result: &str) -> Option<RunState> {
    (!life.is_empty()).then(|| RunState {
        life_cycle_state: Some(life.into()),
        result_state: (!result.is_empty()).then(|| result.into()),
        ..RunState::default()
    })
}

fn status(word: &str, code: &str) -> Option<RunStatus> {
    (!word.is_empty()).then(|| RunStatus {
        state: Some(word.into()),
        termination_details: (!code.is_empty())
            .then(|| TerminationDetails { code: Some(code.into()), ..TerminationDetails::default() }.into()),
        ..RunStatus::default()
    })
}
