//! One walk: the world of one object, a second operator process, Databricks, and the promises.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use serde_json::json;

use super::databricks::{Databricks, Known, described, verdict};
use super::{Failure, Happens, View};
use crate::api::conditions::Reason;
use crate::api::status::WorkspacePin;
use crate::databricks::error::Error;
use crate::databricks::ids::RunId;
use crate::lifecycle::control::Stage;
use crate::lifecycle::fixtures::pin;
use crate::lifecycle::memory::{IntentMemory, RepairMemory};
use crate::lifecycle::step::{Effect, EventReason, Fetched, Outcome, Step};
use crate::lifecycle::world::{World, no_answer, not_connected, refused, unavailable};
use crate::lifecycle::{IdempotencyToken, Memory, Phase, Reading, WorkspaceView, begin, settle};

/// What of an operator process is not in the world.
#[derive(Default)]
struct Process {
    memory: Memory,
    reading: Option<Reading>,
    holder: String,
    about_to: Option<Effect>,
}

pub(super) struct Walk {
    world: World,
    other: Process,
    about_to: Option<Effect>,
    processes: u32,
    databricks: Databricks,
    delayed: Vec<Effect>,
    /// Every intent that was ever written: what was sent and where, by serial.
    intents: BTreeMap<i64, (String, WorkspacePin)>,
    /// Serials of requests that were given up with a warning; a run of theirs is nobody's any more.
    given_up: Vec<i64>,
    /// From where to where writes have moved the request.
    moves: BTreeSet<(Stage, Stage)>,
}

impl Walk {
    pub(super) fn new() -> Self {
        let other = Process { holder: "two".to_owned(), ..Process::default() };
        let mut world = World::of_a_job();
        world
            .spec
            .as_mut()
            .unwrap()
            .run_now
            .as_mut()
            .unwrap()
            .0
            .insert("job_parameters".to_owned(), json!({"day": "0"}));
        world.spec.as_mut().unwrap().backoff_limit = Some(2);
        Self {
            world,
            other,
            about_to: None,
            processes: 2,
            databricks: Databricks::default(),
            delayed: Vec::new(),
            intents: BTreeMap::new(),
            given_up: Vec::new(),
            moves: BTreeSet::new(),
        }
    }

    fn gone(&self) -> bool {
        self.world.deletion.is_some() && !self.world.held
    }

    pub(super) fn goes_on(&mut self, happens: &Happens) {
        if self.gone() {
            return;
        }
        match happens {
            Happens::Step => self.step(None),
            Happens::Conflict => drop(self.world.decides()),
            Happens::WriteAnswerLost => {
                let step = self.world.decides();
                if !matches!(step, Step::Remote(_) | Step::Wait(_)) {
                    let memory = self.world.memory.clone();
                    self.write(step);
                    self.world.memory = memory;
                }
            }
            Happens::AnswerLost => {
                if let Some(effect) = self.wants_to_call() {
                    self.effect(&effect);
                    self.call_failed(&effect, no_answer());
                }
            }
            Happens::EffectDelayed => {
                if let Some(effect) = self.wants_to_call() {
                    self.check_effect(&effect);
                    self.call_failed(&effect, no_answer());
                    self.delayed.push(effect);
                }
            }
            Happens::EffectLands => {
                if let Some(effect) = self.delayed.pop() {
                    self.lands(&effect);
                }
            }
            Happens::CallFails(failure) => self.step(Some(*failure)),
            Happens::Pause => {
                if let Some(effect) = self.wants_to_call() {
                    self.check_effect(&effect);
                    begin(&mut self.world.memory, &effect);
                    self.about_to = Some(effect);
                }
                self.switch();
            }
            Happens::OtherProcess => self.switch(),
            Happens::Crash { in_a_call } => {
                if *in_a_call && let Some(effect) = self.wants_to_call() {
                    self.effect(&effect);
                }
                self.processes += 1;
                let mono = self.world.clock.mono;
                self.world.crashes();
                // One clock serves both processes here; the other one lives on.
                self.world.clock.mono = mono;
                self.world.settings.holder = self.processes.to_string();
            }
            Happens::RunGoesOn(life) => {
                self.databricks.goes_on(life);
            }
            Happens::RunIsDeleted => {
                self.databricks.loses_a_run();
            }
            Happens::Poll => self.poll(),
            Happens::Passes(seconds) => self.world.passes(Duration::from_secs(*seconds)),
            Happens::ClockJumps(seconds) => {
                let wall = self.world.clock.wall.as_millisecond() + seconds * 1000;
                self.world.clock.wall = Timestamp::from_millisecond(wall).unwrap();
            }
            Happens::Edit(day) => self.world.edits(|spec| {
                let parameters = json!({"day": day.to_string()});
                spec.run_now.as_mut().unwrap().0.insert("job_parameters".to_owned(), parameters);
            }),
            Happens::RunIsRepaired => self.databricks.is_repaired(),
            Happens::Suspend(suspend) => self.world.edits(|spec| spec.suspend = *suspend),
            Happens::Cancel(cancel) => self.world.edits(|spec| spec.cancel = *cancel),
            Happens::CancelToken(token) => self.world.cancel = Some(token.to_string()),
            Happens::RepairToken(token) => self.world.repair = Some(token.to_string()),
            Happens::OnSpecChange(change) => self.world.edits(|spec| spec.on_spec_change = *change),
            Happens::Retries(limit, repair) => self.world.edits(|spec| {
                let rules = json!({"rules": [{"action": "Repair", "onTaskKeys": ["main"]}]});
                spec.backoff_limit = Some(*limit);
                spec.failure_policy = repair.then(|| serde_json::from_value(rules).unwrap());
            }),
            Happens::Deadlines(starting, active) => self.world.edits(|spec| {
                (spec.starting_deadline_seconds, spec.active_deadline_seconds) = (*starting, *active);
            }),
            Happens::Rerun(token) => self.world.rerun = token.map(|token| token.to_string()),
            Happens::Policy(policy) => self.world.edits(|spec| spec.deletion_policy = *policy),
            Happens::Delete => self.world.is_deleted(),
            Happens::Workspace(view) => self.world.workspace = seen_as(*view),
        }
        self.check();
    }

    /// The process does its next step; a call fails like this, or succeeds.
    fn step(&mut self, failure: Option<Failure>) {
        match self.decides() {
            Step::Wait(_) => {}
            Step::Remote(effect) => match failure {
                Some(failure) => {
                    self.check_effect(&effect);
                    self.call_failed(&effect, error(failure));
                }
                None => self.call(&effect),
            },
            write => self.write(write),
        }
    }

    /// Decides; where the workspace does not admit the object's namespace, only for what is under way.
    fn decides(&mut self) -> Step {
        let step = self.world.decides();
        let memory = &self.world.memory;
        let unsent = match &step {
            Step::Remote(Effect::Submit { .. }) => memory.intent.as_deref().is_none_or(IntentMemory::surely_unsent),
            Step::Remote(Effect::Repair { .. }) => memory.repair.as_deref().is_none_or(RepairMemory::surely_unsent),
            _ => false,
        };
        assert!(!unsent || !self.is_forbidden(), "{step:?} although the namespace is not admitted");
        step
    }

    fn is_forbidden(&self) -> bool {
        matches!(self.world.workspace, WorkspaceView::NotAllowed { .. })
    }

    fn wants_to_call(&mut self) -> Option<Effect> {
        match self.decides() {
            Step::Remote(effect) => Some(effect),
            _ => None,
        }
    }

    fn call(&mut self, effect: &Effect) {
        begin(&mut self.world.memory, effect);
        let outcome = self.effect(effect);
        settle(&mut self.world.memory, effect, outcome, self.world.clock);
    }

    fn call_failed(&mut self, effect: &Effect, error: Error) {
        let outcome = match effect {
            Effect::FindJob { .. } => Outcome::Job(Err(error)),
            Effect::Submit { .. } => Outcome::Submitted(Err(error)),
            Effect::FindRun { .. } => Outcome::Runs(Err(error)),
            Effect::Cancel { .. } => Outcome::Canceled(Err(error)),
            Effect::ReadRun { .. } => Outcome::Read(Err(error)),
            Effect::Repair { .. } => Outcome::Repaired(Err(error)),
            Effect::FetchOutputs { .. } => {
                Outcome::Outputs(Fetched { retry_in: Some(Duration::from_secs(1)), ..Fetched::default() })
            }
        };
        self.world.answers(effect, outcome);
    }

    fn switch(&mut self) {
        std::mem::swap(&mut self.world.memory, &mut self.other.memory);
        std::mem::swap(&mut self.world.reading, &mut self.other.reading);
        std::mem::swap(&mut self.world.settings.holder, &mut self.other.holder);
        std::mem::swap(&mut self.about_to, &mut self.other.about_to);
        if let Some(effect) = self.about_to.take() {
            let outcome = self.lands(&effect);
            settle(&mut self.world.memory, &effect, outcome, self.world.clock);
        }
    }

    fn write(&mut self, step: Step) {
        let before = self.world.status.clone();
        self.world.write(step);
        let after = &self.world.status;
        let (from, to) = (Stage::of(&before), Stage::of(after));
        if from != to {
            self.moves.insert((from, to));
        }
        assert!(after.serial >= before.serial, "the serial went back: {before:?} {after:?}");
        let begun = after.serial > before.serial || after.repair.is_some() && before.repair.is_none();
        assert!(!begun || !self.is_forbidden(), "begun although the namespace is not admitted: {after:?}");
        if let Some(intent) = &after.intent {
            let written = (intent.body.clone(), after.workspace.clone().unwrap());
            let known = self.intents.entry(intent.serial).or_insert_with(|| written.clone());
            assert_eq!(*known, written, "an intent that changed");
        }
        let gave_up = [Reason::SubmitUnresolved, Reason::IntentExpired, Reason::RunNotFound].map(Reason::as_str);
        if after.completion_time.is_some() && gave_up.contains(&self.world.reason()) {
            self.given_up.extend(after.serial);
        }
        let past = after.attempts.iter().filter(|past| gave_up.contains(&past.reason.as_str()));
        self.given_up.extend(past.map(|past| past.serial));
    }

    fn is_superfluous(&self, run: RunId) -> bool {
        self.world.memory.superfluous.as_ref().is_some_and(|it| it.run == run)
    }

    /// What may be asked for at all.
    fn check_effect(&self, effect: &Effect) {
        let (Effect::FindJob { pin, .. }
        | Effect::Submit { pin, .. }
        | Effect::FindRun { pin, .. }
        | Effect::Cancel { pin, .. }
        | Effect::ReadRun { pin, .. }
        | Effect::Repair { pin, .. }
        | Effect::FetchOutputs { pin, .. }) = effect;
        let superfluous = matches!(effect, Effect::Cancel { run, .. } if self.is_superfluous(*run));
        let points_to = self.world.workspace.pin();
        assert!(superfluous || points_to.is_some_and(|it| it.host == pin.host), "called where the workspace is not");
        match effect {
            Effect::Submit { serial, pin, body, token, .. } => {
                let written = self.intents.get(serial).expect("a request without an intent before it");
                assert_eq!((body, pin), (&written.0, &written.1), "the request differs from its intent");
                assert_eq!(*token, IdempotencyToken::new(&self.world.uid, *serial));
            }
            Effect::Cancel { run, pin } => {
                let serial = self.databricks.run(*run).serial;
                assert_eq!(*pin, self.intents[&serial].1, "cancelled somewhere else");
                let own = self.world.status.run_id.as_deref() == Some(run.to_string().as_str());
                assert!(own != superfluous, "neither or both: {:?}", self.world.status);
                assert!(superfluous || self.world.status.cancel.is_some(), "cancelled without a cause written before");
            }
            Effect::FetchOutputs { run, .. } => assert!(!self.databricks.run(*run).ends.is_empty()),
            Effect::Repair { run, after, .. } => {
                let written = self.world.status.repair.as_ref().expect("a repair that was not written ahead");
                assert_eq!(written.after, after.map(|id| id.to_string()));
                assert_eq!(self.world.status.run_id, Some(run.to_string()));
            }
            Effect::FindJob { .. } | Effect::FindRun { .. } | Effect::ReadRun { .. } => {}
        }
    }

    fn effect(&mut self, effect: &Effect) -> Outcome {
        self.check_effect(effect);
        self.lands(effect)
    }

    /// What Databricks does about a call, checked: beside a live run of the object's no second one is ever started.
    fn lands(&mut self, effect: &Effect) -> Outcome {
        let before = self.answered_for().map(|run| run.serial);
        let outcome = self.databricks.takes(effect);
        if let (Effect::Submit { serial, .. }, Some(before)) = (effect, before) {
            assert!(before == *serial || self.given_up.contains(serial), "a second run beside that of serial {before}");
        }
        outcome
    }

    /// A live run that the object answers for: those of requests that were given up with a warning are nobody's, and those
    /// that a person has brought back to life are that person's.
    fn answered_for(&self) -> Option<&Known> {
        self.databricks.active().find(|run| !self.given_up.contains(&run.serial) && !run.repaired_by_hand)
    }

    fn poll(&mut self) {
        let Some(id) = Phase::of(&self.world.status).run() else { return };
        let readable = self.world.workspace.pin().map(|pin| &pin.host);
        if readable != self.world.status.workspace.as_ref().map(|pin| &pin.host) {
            return;
        }
        match self.databricks.run(id) {
            known if known.deleted => {
                let of_another = |reading: &mut Reading| reading.run.as_ref().is_some_and(|read| read.run_id != id);
                self.world.reading.take_if(of_another);
                self.world.polls_nothing();
            }
            known => self.world.polls(described(id, known)),
        }
    }

    /// What holds at every instant.
    fn check(&self) {
        let status = &self.world.status;
        let of_run = |id: &String| self.databricks.run(id.parse().unwrap());
        if let Some(id) = &status.run_id {
            assert_eq!(Some(of_run(id).serial), status.serial, "the run id is not the newest intent's: {status:?}");
        }
        let no_word = [Reason::RunNotFound, Reason::ResultMissing].map(Reason::as_str);
        if let (Some(id), Some(_)) = (&status.run_id, &status.completion_time)
            && !no_word.contains(&self.world.reason())
        {
            assert!(was_said(of_run(id), status.state.as_deref(), self.world.reason()), "{status:?}");
        }
        for past in &status.attempts {
            if let Some(id) = past.run_id.as_ref().filter(|_| !no_word.contains(&past.reason.as_str())) {
                assert!(was_said(of_run(id), Some(&past.state), &past.reason), "{past:?} of {:?}", of_run(id));
            }
        }
        self.check_control();
        if let Some(run) = self.answered_for()
            && !self.world.held
        {
            let told = self.world.told().contains(&EventReason::RunOrphaned);
            assert!(self.world.deletion.is_some() && told, "nobody holds {run:?}: {status:?}");
        }
    }

    /// What run control promises at every instant.
    fn check_control(&self) {
        let status = &self.world.status;
        assert!(status.intent.is_none() || status.backoff.is_none() && status.repair.is_none(), "{status:?}");
        let suspended = self.world.reason() == Reason::Suspended.as_str();
        assert_eq!(status.state.as_deref() == Some("Suspended"), suspended, "{status:?}");
        assert!(!suspended || status.run_id.is_none() && status.intent.is_none(), "suspended with a run: {status:?}");
        assert_eq!(status.state.as_deref() == Some("Retrying"), status.backoff.is_some(), "{status:?}");
    }

    /// The faults stop: everything comes to rest.
    pub(super) fn ends(mut self) -> BTreeSet<(Stage, Stage)> {
        self.comes_to_rest();
        self.moves
    }

    fn comes_to_rest(&mut self) {
        self.world.workspace = WorkspaceView::Ready { pin: pin() };
        // What was pinned elsewhere can be followed there again.
        if let (Some(pin), false) = (&self.world.status.workspace, matches!(Phase::of(&self.world.status), Phase::Idle))
        {
            self.world.workspace = WorkspaceView::Ready { pin: pin.clone() };
        }
        while let Some(effect) = self.delayed.pop() {
            self.lands(&effect);
        }
        for _ in 0..600 {
            if self.gone() {
                return self.check();
            }
            self.poll();
            match self.world.decides() {
                Step::Wait(None) => return self.check_rest(),
                Step::Wait(Some(wait)) => {
                    self.databricks.ends_all();
                    self.world.passes(wait.min(Duration::from_mins(1)));
                }
                _ => self.step(None),
            }
            self.check();
        }
        panic!("it never comes to rest: {:?}", self.world.status);
    }

    fn check_rest(&self) {
        let suspended = self.world.reason() == Reason::Suspended.as_str();
        assert!(
            suspended || self.world.status.completion_time.is_some(),
            "at rest without an end: {:?}",
            self.world.status
        );
        assert!(!self.world.held, "at rest with the finalizer on: {:?}", self.world.status);
    }
}

/// Whether Databricks has ever said that the run ended so, or our own deadline cancelled it.
fn was_said(run: &Known, state: Option<&str>, reason: &str) -> bool {
    let deadline = [Reason::StartingDeadlineExceeded, Reason::DeadlineExceeded].iter().any(|it| it.as_str() == reason);
    // The deadline of further attempts may pass while none is under way.
    run.ends.iter().any(|end| state == Some(verdict(end)) || (deadline && state == Some("TimedOut")))
}

fn error(failure: Failure) -> Error {
    match failure {
        Failure::NotConnected => not_connected(),
        Failure::Refused => refused(),
        Failure::Unavailable => unavailable(),
        Failure::NotNow => Error::NotNow(Duration::from_secs(1)),
    }
}

fn seen_as(view: View) -> WorkspaceView {
    match view {
        View::Ready => WorkspaceView::Ready { pin: pin() },
        View::Missing => WorkspaceView::Missing,
        View::Elsewhere => {
            WorkspaceView::Ready { pin: WorkspacePin { host: "https://elsewhere.test".into(), ..pin() } }
        }
        View::NotReady => {
            WorkspaceView::NotReady { pin: pin(), reason: Reason::Unauthorized, message: "the token is refused".into() }
        }
        View::NotAllowed => WorkspaceView::NotAllowed { pin: pin(), message: "the namespace is not admitted".into() },
        View::Retained => WorkspaceView::Retained { pin: pin() },
    }
}
