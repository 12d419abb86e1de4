//! A world of one object for tests: Kubernetes, the workspace, the poller and the clock in memory, and one operator
//! process that can crash. It performs what `decide` says, checks the contract of the status after every write, and hands
//! effects out for the test to answer.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use serde_json::{Value, json};

use super::Phase;
use super::decide::decide;
use super::fixtures::{now, pin};
use super::memory::Memory;
use super::observed::{Now, Observed, Reading, Settings, Subject, TakeOver, WorkspaceView};
use super::project::MAX_STATUS;
use super::report::current_reason;
use super::run_key::VERSIONS;
use super::settle::{begin, settle};
use super::step::{Announcement, Effect, EventReason, Fetched, FreshRun, MetadataChange, Outcome, Step};
use crate::api::run::{DatabricksRunSpec, DeletionPolicy};
use crate::api::status::{DatabricksRunStatus, TaskOutput};
use crate::databricks::error::{ApiError, Error, TransportError};
use crate::databricks::ids::RunId;
use crate::databricks::model::Run;

/// Deadline of the POST in tests.
pub(crate) const POST: Duration = Duration::from_secs(30);
/// How long a start that another process may have sent is waited out in tests: a deadline, and the age of a fresh view.
pub(crate) const WAITED_OUT: Duration = Duration::from_millis(37_500);
/// Deadline of a deletion in tests.
pub(crate) const DELETION: Duration = Duration::from_mins(4);

/// Where the world comes to rest.
#[derive(Debug, PartialEq)]
pub(crate) enum Rest {
    /// A call to Databricks is asked for.
    Remote(Effect),
    /// Nothing to do for this time.
    Wait(Option<Duration>),
    /// The object is gone.
    Gone,
}

/// All of it.
pub(crate) struct World {
    pub(crate) uid: String,
    pub(crate) generation: i64,
    pub(crate) spec: Result<DatabricksRunSpec, String>,
    pub(crate) status: DatabricksRunStatus,
    pub(crate) held: bool,
    pub(crate) start_mark: Option<String>,
    pub(crate) rerun: Option<String>,
    pub(crate) cancel: Option<String>,
    pub(crate) repair: Option<String>,
    pub(crate) kept_by: Option<String>,
    /// The object has deleted itself.
    pub(crate) deleted: bool,
    pub(crate) deletion: Option<Timestamp>,
    pub(crate) workspace: WorkspaceView,
    pub(crate) reading: Option<Reading>,
    pub(crate) memory: Memory,
    pub(crate) settings: Settings,
    pub(crate) clock: Now,
    /// Writes of the object so far, metadata and status.
    pub(crate) writes: u32,
    /// What was announced, oldest first.
    pub(crate) events: Vec<Announcement>,
}

impl World {
    /// A fresh object that asks for a run of job 5.
    pub(crate) fn of_a_job() -> Self {
        Self::with_spec(&json!({"workspaceRef": {"name": "prod"}, "runNow": {"job_id": 5}}))
    }

    /// A fresh object that asks for a one-off run of one task.
    pub(crate) fn of_a_one_off() -> Self {
        Self::with_spec(
            &json!({"workspaceRef": {"name": "prod"}, "submit": {"run_name": "once", "tasks": [{"task_key": "main"}]}}),
        )
    }

    pub(crate) fn with_spec(spec: &Value) -> Self {
        Self {
            uid: "6f1c2a9e".to_owned(),
            generation: 1,
            spec: Ok(serde_json::from_value(spec.clone()).unwrap()),
            status: DatabricksRunStatus::default(),
            held: false,
            start_mark: None,
            rerun: None,
            cancel: None,
            repair: None,
            kept_by: None,
            deleted: false,
            deletion: None,
            workspace: WorkspaceView::Ready { pin: pin() },
            reading: None,
            memory: Memory::default(),
            settings: Settings {
                holder: "one".to_owned(),
                submit_timeout: POST,
                deletion_deadline: DELETION,
                run_keys: VERSIONS,
                ttl_keep_keys: Vec::new(),
                take_over: TakeOver::WhenUnchanged,
            },
            // Not a whole second: what a status cannot hold must not show in what is decided.
            clock: Now { wall: now(1000).wall + Duration::from_millis(567), ..now(1000) },
            writes: 0,
            events: Vec::new(),
        }
    }

    /// An object whose run has this id and is being followed.
    pub(crate) fn live(run: i64) -> Self {
        let mut world = Self::of_a_job();
        world.starts(run);
        world.settles();
        world
    }

    /// The next decision; nothing is performed.
    pub(crate) fn decides(&mut self) -> Step {
        let spec = self.spec.as_ref().map_err(String::as_str);
        let subject = Subject {
            uid: &self.uid,
            generation: self.generation,
            deletion: self.deletion,
            held: self.held,
            start_mark: self.start_mark.as_deref(),
            rerun: self.rerun.as_deref(),
            cancel: self.cancel.as_deref(),
            repair: self.repair.as_deref(),
            kept_by: self.kept_by.as_deref(),
            spec,
            status: &self.status,
        };
        self.memory.notice(&subject, &self.settings, self.clock);
        let live = Phase::of(&self.status).run();
        let reading = live.and(self.reading.as_ref());
        if let Some(run) = live {
            self.memory.notice_reading(run, reading, self.clock);
        }
        let (workspace, memory, settings) = (&self.workspace, &self.memory, &self.settings);
        decide(&Observed { subject, workspace, reading, memory, settings }, self.clock)
    }

    /// Performs a write as the API server does, and checks what every status has to hold to.
    pub(crate) fn write(&mut self, step: Step) {
        self.writes += 1;
        match step {
            Step::Record(change) => {
                let stored = serde_json::from_value(serde_json::to_value(&change.status).unwrap()).unwrap();
                assert_eq!(
                    *change.status, stored,
                    "what is read back must be what was written, or it is written for ever"
                );
                assert_ne!(self.status, stored, "a write that changes nothing");
                self.memory.recorded(&change.status, self.clock);
                self.status = stored;
                self.events.extend(change.announce);
                self.check_status();
            }
            Step::Mark(MetadataChange::Hold { serial }) => {
                let mark = format!("{}/{serial}", self.uid);
                assert!(!self.held || self.start_mark.as_ref() != Some(&mark), "a write that changes nothing");
                assert!(self.deletion.is_none(), "no finalizer can be put on an object that is being deleted");
                if self.start_mark.as_ref() != Some(&mark) {
                    self.memory.marked(serial);
                }
                (self.held, self.start_mark) = (true, Some(mark));
            }
            Step::Mark(MetadataChange::Release { announce }) => {
                assert!(self.held, "a write that changes nothing");
                self.held = false;
                self.events.extend(announce);
            }
            Step::DeleteSelf(announcement) => {
                assert!(!self.held && self.status.completion_time.is_some(), "only what has ended deletes itself");
                self.deleted = true;
                self.events.push(announcement);
            }
            other => panic!("no write: {other:?}"),
        }
    }

    /// What has to hold of every status that is written.
    fn check_status(&self) {
        let status = &self.status;
        let said = |kind: &str| status.conditions.iter().find(|it| it.type_ == kind).map(|it| it.status.as_str());
        for kind in ["Ready", "Succeeded", "Finished"] {
            assert!(said(kind).is_some(), "{kind} is missing in {status:?}");
        }
        assert!(said("Reconciling").is_none() || said("Stalled").is_none(), "both Reconciling and Stalled: {status:?}");
        assert_eq!(said("Succeeded") != Some("Unknown"), status.completion_time.is_some(), "{status:?}");
        assert_eq!(said("Finished") == Some("True"), status.completion_time.is_some(), "{status:?}");
        assert!(status.observed_generation <= Some(self.generation), "from the future: {status:?}");
        for condition in &status.conditions {
            assert_eq!(condition.observed_generation, status.observed_generation, "{status:?}");
            assert!(condition.message.len() <= 1024, "{condition:?}");
        }
        let closed = DatabricksRunStatus { intent: None, ..status.clone() };
        let size = serde_json::to_string(&closed).unwrap().len();
        assert!(size <= MAX_STATUS, "{size} bytes");
        for event in &self.events {
            assert!(event.note.len() <= 1024, "{event:?}");
        }
    }

    /// Writes until something else is asked for.
    pub(crate) fn rests(&mut self) -> Rest {
        for _ in 0..12 {
            if self.deleted || (self.deletion.is_some() && !self.held) {
                return Rest::Gone;
            }
            match self.decides() {
                Step::Remote(effect) => return Rest::Remote(effect),
                Step::Wait(wait) => return Rest::Wait(wait),
                write => self.write(write),
            }
        }
        panic!("it writes and writes: {:?}", self.status);
    }

    /// Writes until a call is asked for.
    pub(crate) fn asks(&mut self) -> Effect {
        match self.rests() {
            Rest::Remote(effect) => effect,
            other => panic!("{other:?} instead of a call; {:?}", self.status),
        }
    }

    /// Writes until there is nothing to do, and tells for how long.
    pub(crate) fn settles(&mut self) -> Option<Duration> {
        match self.rests() {
            Rest::Wait(wait) => wait,
            other => panic!("{other:?} instead of rest; {:?}", self.status),
        }
    }

    /// Writes until the object is gone.
    pub(crate) fn vanishes(&mut self) {
        assert_eq!(self.rests(), Rest::Gone, "{:?}", self.status);
    }

    /// Begins a call and learns nothing of it: what performs it dies.
    pub(crate) fn begins(&mut self, effect: &Effect) {
        begin(&mut self.memory, effect);
    }

    /// Performs a call with this outcome.
    pub(crate) fn answers(&mut self, effect: &Effect, outcome: Outcome) {
        begin(&mut self.memory, effect);
        settle(&mut self.memory, effect, outcome, self.clock);
    }

    /// Goes on to the POST that starts a run and gives it this answer; hands the effect out.
    pub(crate) fn submits(&mut self, answer: Result<Option<RunId>, Error>) -> Effect {
        let effect = self.asks();
        assert!(matches!(effect, Effect::Submit { .. }), "{effect:?}");
        self.answers(&effect, Outcome::Submitted(answer));
        effect
    }

    /// Goes on to the POST that starts a run, which succeeds; hands the effect out.
    pub(crate) fn starts(&mut self, run: i64) -> Effect {
        self.submits(Ok(Some(RunId(run))))
    }

    /// Goes on to a cancellation and gives it this answer.
    pub(crate) fn cancels(&mut self, answer: Result<(), Error>) {
        let effect = self.asks();
        assert!(matches!(effect, Effect::Cancel { .. }), "{effect:?}");
        self.answers(&effect, Outcome::Canceled(answer));
    }

    /// The poller reads the run.
    pub(crate) fn polls(&mut self, run: impl Into<Run>) {
        self.reading =
            Some(Reading { run: Some(Arc::new(run.into())), read_at: self.clock.mono, ..Reading::default() });
    }

    /// The poller is told that the run does not exist.
    pub(crate) fn polls_nothing(&mut self) {
        let at = self.clock.mono;
        let reading = self.reading.get_or_insert_default();
        if reading.not_found == 0 {
            reading.first_not_found = at;
        }
        reading.not_found += 1;
        reading.last_not_found = at;
    }

    /// The run ends like this; outputs are read where they are asked for, and what follows is written.
    pub(crate) fn ends(&mut self, run: impl Into<Run>) {
        self.polls(run);
        if let Rest::Remote(effect @ Effect::FetchOutputs { .. }) = self.rests() {
            self.reads(&effect, &[]);
            self.rests();
        }
    }

    /// All outputs that were asked for are read.
    pub(crate) fn reads(&mut self, effect: &Effect, outputs: &[TaskOutput]) {
        let Effect::FetchOutputs { tasks: asked, .. } = effect else { panic!("{effect:?} reads no outputs") };
        let of = |key: &str| outputs.iter().find(|output| output.task_key == key).cloned();
        let tasks = asked.iter().map(|(key, task)| (*task, of(key))).collect();
        self.answers(effect, Outcome::Outputs(Fetched { tasks, retry_in: None }));
    }

    /// Time goes by on both clocks.
    pub(crate) fn passes(&mut self, time: Duration) {
        self.clock.wall += time;
        self.clock.mono += time;
    }

    /// The process dies; another begins with nothing in memory.
    pub(crate) fn crashes(&mut self) {
        self.memory = Memory::default();
        self.reading = None;
        self.settings.holder = format!("{}+", self.settings.holder);
        self.clock.mono = Duration::from_secs(1);
    }

    /// The user writes another spec.
    pub(crate) fn edits(&mut self, change: impl FnOnce(&mut DatabricksRunSpec)) {
        change(self.spec.as_mut().unwrap());
        self.generation += 1;
    }

    /// The user changes the parameter `day` of the run.
    pub(crate) fn asks_for_day(&mut self, day: &str) {
        self.edits(|spec| {
            spec.run_now.as_mut().unwrap().0.insert("job_parameters".to_owned(), json!({"day": day}));
        });
    }

    /// The user sets the deletion policy.
    pub(crate) fn orphans(mut self) -> Self {
        self.edits(|spec| spec.deletion_policy = DeletionPolicy::Orphan);
        self
    }

    /// The user deletes the object.
    pub(crate) fn is_deleted(&mut self) {
        self.deletion = Some(self.clock.wall);
    }

    /// The run fails by this termination code; what follows is written.
    pub(crate) fn fails_with(&mut self, run: i64, code: &str) {
        let failed = super::fixtures::run(run).ended("INTERNAL_ERROR", "FAILED");
        self.ends(failed.with([super::fixtures::task("load", run + 1000).failed_with(code)]));
    }

    /// The run ends as cancelled; what follows is written.
    pub(crate) fn ends_canceled(&mut self, run: i64) {
        self.ends(super::fixtures::run(run).ended("TERMINATED", "CANCELED"));
    }

    /// Goes on to a reading beside the schedule and answers it.
    pub(crate) fn reads_run(&mut self, run: impl Into<Run>) {
        let effect = self.asks();
        assert!(matches!(effect, Effect::ReadRun { .. }), "{effect:?}");
        let read = FreshRun { run: Arc::new(run.into()), server_time: None };
        self.answers(&effect, Outcome::Read(Ok(read)));
    }

    /// The reason that the conditions give.
    pub(crate) fn reason(&self) -> &str {
        current_reason(&self.status).unwrap_or_default()
    }

    /// The message that the conditions give.
    pub(crate) fn message(&self) -> &str {
        super::report::current_message(&self.status).unwrap_or_default()
    }

    /// The word for people.
    pub(crate) fn state(&self) -> &str {
        self.status.state.as_deref().unwrap_or_default()
    }

    /// Reasons of the events so far.
    pub(crate) fn told(&self) -> Vec<EventReason> {
        self.events.iter().map(|event| event.reason).collect()
    }
}

/// The request may have been executed.
pub(crate) fn no_answer() -> Error {
    Error::Transport(TransportError::NoAnswer("connection reset".into()))
}

/// The request was surely not executed.
pub(crate) fn not_connected() -> Error {
    Error::Transport(TransportError::NotConnected("refused".into()))
}

/// Databricks refuses the request.
pub(crate) fn refused() -> Error {
    Error::Rejected(ApiError { http_status: 400, message: "bad parameter".into(), ..ApiError::default() })
}

/// Databricks does not know what is asked for.
pub(crate) fn not_found() -> Error {
    Error::NotFound(ApiError { http_status: 400, message: "Run 7 does not exist.".into(), ..ApiError::default() })
}

/// Databricks cannot answer.
pub(crate) fn unavailable() -> Error {
    Error::Unavailable(ApiError { http_status: 503, request_id: Some("r-1".into()), ..ApiError::default() })
}
