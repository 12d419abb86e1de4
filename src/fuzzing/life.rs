//! The life of one object in memory: what is decided is done, every write is checked, Databricks answers what the target
//! wants it to.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use k8s_openapi::jiff::Timestamp;
use serde_json::Value;

use super::check;
use crate::api::run::DatabricksRunSpec;
use crate::api::status::{DatabricksRunStatus, WorkspacePin};
use crate::databricks::error::Error;
use crate::databricks::ids::{JobId, RepairId, RunId};
use crate::databricks::model::{Run, RunOutput};
use crate::lifecycle::project::MAX_STATUS;
use crate::lifecycle::run_key::VERSIONS;
use crate::lifecycle::step::{Announcement, Fetched, FreshRun, JobMatch};
use crate::lifecycle::{
    Change, Effect, Memory, MetadataChange, Now, Observed, Outcome, Phase, Reading, Settings, Step, Subject, TakeOver,
    WorkspaceView, begin, decide, outputs, settle,
};

/// Writes that may follow each other before something else is asked for.
const MOST_WRITES: usize = 12;
/// Nobody waits for longer before another look.
const LONGEST_WAIT: Duration = Duration::from_mins(5);

/// All of it.
pub(super) struct Life {
    pub(super) spec: Result<DatabricksRunSpec, String>,
    pub(super) status: DatabricksRunStatus,
    pub(super) held: bool,
    pub(super) deletion: Option<Timestamp>,
    pub(super) workspace: WorkspaceView,
    pub(super) clock: Now,
    /// Values of the annotations that users write: re-run, cancel, repair.
    pub(super) asked: [Option<String>; 3],
    /// What Databricks tells of the run.
    pub(super) answer: Option<Run>,
    /// When it told it, by its own clock.
    pub(super) server_time: Option<SystemTime>,
    /// What the tasks left behind, one after the other.
    pub(super) outputs: Vec<RunOutput>,
    /// How every call fails, if it does.
    pub(super) error: Option<Error>,
    /// Bodies of runs that were started, oldest first.
    pub(super) started: Vec<String>,
    /// Bytes that a status may have.
    pub(super) most: usize,
    /// Whether all that stands in the status was written here.
    pub(super) own: bool,
    start_mark: Option<String>,
    memory: Memory,
    settings: Settings,
    gone: bool,
}

/// What a look at the object comes to.
enum Rest {
    Remote(Effect),
    Wait(Duration),
    Gone,
}

/// The workspace that everything is sent to.
pub(super) fn pin() -> WorkspacePin {
    WorkspacePin {
        kind: "DatabricksWorkspace".to_owned(),
        name: "prod".to_owned(),
        host: "https://workspace.test".to_owned(),
        workspace_id: None,
        jobs_api_version: "2.1".to_owned(),
    }
}

impl Life {
    /// An object that nobody has seen yet.
    pub(super) fn of(spec: Value) -> Self {
        Self {
            spec: serde_json::from_value(spec).map_err(|error| error.to_string()),
            status: DatabricksRunStatus::default(),
            held: false,
            deletion: None,
            workspace: WorkspaceView::Ready { pin: pin() },
            clock: Now { wall: Timestamp::UNIX_EPOCH + Duration::from_hours(500_000), mono: Duration::from_secs(1000) },
            asked: [None, None, None],
            answer: None,
            server_time: None,
            outputs: Vec::new(),
            error: None,
            started: Vec::new(),
            most: MAX_STATUS,
            own: true,
            start_mark: None,
            memory: Memory::default(),
            settings: Settings {
                holder: "one".to_owned(),
                submit_timeout: Duration::from_secs(30),
                deletion_deadline: Duration::from_mins(4),
                run_keys: VERSIONS,
                ttl_keep_keys: Vec::new(),
                take_over: TakeOver::WhenUnchanged,
            },
            gone: false,
        }
    }

    /// The object is deleted.
    pub(super) fn deleted(mut self) -> Self {
        self.deletion = Some(self.clock.wall);
        self
    }

    /// Lives on for so many calls and waits, or to its end.
    pub(super) fn goes_on(&mut self, rounds: usize) {
        for _ in 0..rounds {
            match self.rests() {
                Rest::Remote(effect) => self.calls(&effect),
                Rest::Wait(time) => self.passes(time),
                Rest::Gone => return,
            }
        }
    }

    /// Whether the newest request has ended.
    pub(super) fn has_ended(&self) -> bool {
        self.status.completion_time.is_some()
    }

    fn rests(&mut self) -> Rest {
        let mut writes = 0;
        loop {
            if self.gone || (self.deletion.is_some() && !self.held) {
                return Rest::Gone;
            }
            match self.decides() {
                Step::Remote(effect) => return Rest::Remote(effect),
                Step::Wait(time) => return Rest::Wait(time.unwrap_or(LONGEST_WAIT)),
                Step::Record(change) => self.records(change),
                Step::Mark(MetadataChange::Hold { serial }) => self.is_held(serial),
                Step::Mark(MetadataChange::Release { announce }) => {
                    assert!(self.held, "released without being held");
                    self.held = false;
                    told(&announce);
                }
                Step::DeleteSelf(announcement) => {
                    assert!(self.has_ended(), "deletes itself before its end: {:?}", self.status);
                    told(&[announcement]);
                    self.gone = true;
                }
            }
            writes += 1;
            assert!(writes < MOST_WRITES, "it writes and writes: {:?}", self.status);
        }
    }

    fn decides(&mut self) -> Step {
        let [rerun, cancel, repair] = &self.asked;
        let subject = Subject {
            uid: "6f1c2a9e",
            generation: 1,
            deletion: self.deletion,
            held: self.held,
            start_mark: self.start_mark.as_deref(),
            rerun: rerun.as_deref(),
            cancel: cancel.as_deref(),
            repair: repair.as_deref(),
            kept_by: None,
            spec: self.spec.as_ref().map_err(String::as_str),
            status: &self.status,
        };
        self.memory.notice(&subject, &self.settings, self.clock);
        let live = Phase::of(&self.status).run();
        let reading = live.and_then(|run| self.reading(run));
        if let Some(run) = live {
            self.memory.notice_reading(run, reading.as_ref(), self.clock);
        }
        let (workspace, memory, settings) = (&self.workspace, &self.memory, &self.settings);
        decide(&Observed { subject, workspace, reading: reading.as_ref(), memory, settings }, self.clock)
    }

    /// The poller has just asked.
    fn reading(&self, run: RunId) -> Option<Reading> {
        let run = Arc::new(self.told_of(run)?);
        let server_time = self.server_time.and_then(|time| Timestamp::try_from(time).ok());
        Some(Reading { run: Some(run), read_at: self.clock.mono, server_time, ..Reading::default() })
    }

    fn told_of(&self, run: RunId) -> Option<Run> {
        self.answer.clone().map(|answer| Run { run_id: run, ..answer })
    }

    fn records(&mut self, change: Change) {
        let Change { status, announce } = change;
        let stored: DatabricksRunStatus =
            serde_json::to_value(&status).and_then(serde_json::from_value).unwrap_or_default();
        assert_eq!(*status, stored, "what is read back must be what was written, or it is written for ever");
        assert_ne!(self.status, stored, "a write that changes nothing");
        if self.own || check::broken(&self.status).is_none() {
            assert_eq!(check::broken(&stored), None, "{stored:?}");
        }
        let size = check::size(&stored);
        assert!(size <= self.most, "a status of {size} bytes");
        if self.own {
            check::bounds(&stored);
        }
        told(&announce);
        self.memory.recorded(&stored, self.clock);
        self.status = stored;
    }

    fn is_held(&mut self, serial: i64) {
        let mark = format!("6f1c2a9e/{serial}");
        assert!(!self.held || self.start_mark.as_ref() != Some(&mark), "a write that changes nothing");
        assert!(self.deletion.is_none(), "held while it is being deleted");
        if self.start_mark.as_ref() != Some(&mark) {
            self.memory.marked(serial);
        }
        (self.held, self.start_mark) = (true, Some(mark));
    }

    fn calls(&mut self, effect: &Effect) {
        begin(&mut self.memory, effect);
        let outcome = self.outcome(effect);
        settle(&mut self.memory, effect, outcome, self.clock);
        self.passes(Duration::from_secs(1));
    }

    fn outcome(&mut self, effect: &Effect) -> Outcome {
        match effect {
            Effect::FindJob { .. } => Outcome::Job(self.unless_it_fails(JobMatch::One(JobId(5)))),
            Effect::Submit { body, .. } => {
                assert!(self.status.intent.is_some(), "a start that was not written ahead");
                self.started.push(body.clone());
                let run = 7_i64.saturating_add_unsigned(self.started.len() as u64);
                Outcome::Submitted(self.unless_it_fails(Some(RunId(run))))
            }
            Effect::FindRun { .. } => Outcome::Runs(self.unless_it_fails(Vec::new())),
            Effect::Cancel { .. } => Outcome::Canceled(self.unless_it_fails(())),
            Effect::ReadRun { run, .. } => Outcome::Read(self.reads(*run)),
            Effect::Repair { .. } => Outcome::Repaired(self.unless_it_fails(RepairId(3))),
            Effect::FetchOutputs { tasks, .. } => {
                let left = |at: usize, key: &str| self.outputs.get(at).and_then(|output| outputs::of_task(key, output));
                let tasks = tasks.iter().enumerate().map(|(at, (key, task))| (*task, left(at, key))).collect();
                Outcome::Outputs(Fetched { tasks, retry_in: None })
            }
        }
    }

    fn reads(&self, run: RunId) -> Result<FreshRun, Error> {
        let gone = || Error::NotFound(crate::databricks::error::ApiError::default());
        let server_time = self.server_time.and_then(|time| Timestamp::try_from(time).ok());
        self.unless_it_fails(())?;
        let run = self.told_of(run).ok_or_else(gone)?;
        Ok(FreshRun { run: Arc::new(run), server_time })
    }

    fn unless_it_fails<T>(&self, value: T) -> Result<T, Error> {
        self.error.clone().map_or(Ok(value), Err)
    }

    fn passes(&mut self, time: Duration) {
        let time = time.clamp(Duration::from_secs(1), LONGEST_WAIT);
        self.clock.wall = self.clock.wall.checked_add(time).unwrap_or(self.clock.wall);
        self.clock.mono += time;
    }
}

fn told(announcements: &[Announcement]) {
    for announcement in announcements {
        assert!(announcement.note.len() <= 1024, "an event of {} bytes", announcement.note.len());
        check::one_line(&announcement.note);
    }
}
