//! What a process remembers of an object beyond its status: caches, its own sends and what came of them. Losing all of
//! it (a restart) may delay, never mislead: what must not be forgotten is in the status.

use std::time::Duration;

use super::observed::{Now, Reading, Settings, Subject};
pub use super::repair_memory::{Fresh, RepairAnswer, RepairMemory};
use super::step::{FoundRun, JobMatch};
use super::verdict::is_doubtful;
use crate::api::status::{DatabricksRunStatus, RepairRecord, TaskOutput, WorkspacePin};
use crate::databricks::error::{Error, Executed};
use crate::databricks::ids::RunId;

/// All of it, for one object. What there hardly ever is of a live run is boxed: there is one of these for each.
#[derive(Debug, Clone, Default)]
pub struct Memory {
    /// Of the open intent.
    pub intent: Option<Box<IntentMemory>>,
    /// The job that a name was resolved to, and what for: run key and serial.
    pub job: Option<Box<(String, JobMatch)>>,
    /// Calls before any intent that failed.
    pub preparation: Failures,
    /// Outputs that were read.
    pub outputs: Option<Box<OutputsMemory>>,
    /// Since when the run's answers ask for asking again, and of which run.
    pub doubtful_since: Option<(RunId, Duration)>,
    /// Cancellations sent.
    pub cancel: Option<Box<CancelMemory>>,
    /// A run that came to be although the object has gone on without it: to be cancelled.
    pub superfluous: Option<Box<Superfluous>>,
    /// When tasks of a running run were last written.
    pub tasks_written: Option<Duration>,
    /// When this process first saw the object being deleted.
    pub deletion_seen: Option<Duration>,
    /// The newest reading beside the schedule.
    pub fresh: Option<Box<Fresh>>,
    /// Such readings that failed.
    pub reads: Failures,
    /// Of the repair in the status.
    pub repair: Option<Box<RepairMemory>>,
    /// The serial of the start mark that this process wrote last; forgotten when the status is wiped.
    marked: Option<i64>,
    /// The serial of the intent that this process wrote last, under its own mark: nobody can have sent it before.
    intent_written: Option<i64>,
    /// The highest serial that was seen in the status.
    highest_serial: i64,
    /// The repair that this process wrote ahead last: of which run, and which.
    repair_written: Option<(RunId, i32)>,
}

/// A run that nothing speaks of.
#[derive(Debug, Clone, PartialEq)]
pub struct Superfluous {
    /// Where it was sent.
    pub pin: WorkspacePin,
    /// Which.
    pub run: RunId,
    /// Cancellations that failed. Kept apart from those of the object's own run: neither may hurry or delay the other.
    pub failures: Failures,
}

/// Calls that failed in a row.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Failures {
    /// How many.
    pub count: u32,
    /// The newest; boxed, for there are several of these for each live object, and hardly ever a failure.
    pub last: Option<Box<Error>>,
    /// Not before this time again.
    pub retry_at: Duration,
}

impl Failures {
    /// Notes one more. What our own rate limit held back is no failure.
    pub fn note(&mut self, error: Error, now: Now) {
        if let Error::NotNow(wait) = error {
            self.retry_at = now.mono + wait;
            return;
        }
        self.count = self.count.saturating_add(1);
        self.retry_at = now.mono + retry_delay(&error, self.count);
        self.last = Some(Box::new(error));
    }

    /// Time until the next try; none if it may be made now.
    #[must_use]
    pub fn wait(&self, now: Now) -> Option<Duration> {
        self.retry_at.checked_sub(now.mono).filter(|wait| !wait.is_zero())
    }
}

/// How long to wait after the `count`-th failure in a row: 10 s, 20 s, 40 s, then 60 s; as long as Databricks asks;
/// minutes for a quota, which clears in minutes at best; and never more than 20 s for a Secret.
fn retry_delay(error: &Error, count: u32) -> Duration {
    const FIRST: Duration = Duration::from_secs(10);
    const LAST: Duration = Duration::from_mins(1);
    const QUOTA: Duration = Duration::from_mins(5);
    // A Secret is often applied a moment after what needs it; asking for it costs Databricks nothing.
    const CREDENTIALS: Duration = Duration::from_secs(20);
    let doubled = FIRST.saturating_mul(1 << count.saturating_sub(1).min(10));
    match error {
        Error::Credentials(_) => doubled.min(CREDENTIALS),
        Error::QuotaExceeded(_) => doubled.saturating_mul(6).min(QUOTA),
        Error::Throttled { retry_after: Some(asked), .. } => doubled.min(LAST).max((*asked).min(QUOTA)),
        _ => doubled.min(LAST),
    }
}

/// What this process knows of the open intent.
#[derive(Debug, Clone, PartialEq)]
pub struct IntentMemory {
    /// Which intent.
    pub serial: i64,
    /// Where it is sent.
    pub pin: Option<WorkspacePin>,
    /// Who held it when last seen.
    pub holder: String,
    /// Since when intent and holder have been seen unchanged.
    pub unchanged_since: Duration,
    /// Whether another process held it before: that one may have sent it.
    pub inherited: bool,
    /// Whether a request of this process may have been executed; true while one is on its way.
    pub maybe_executed: bool,
    /// What `maybe_executed` was before the newest request.
    before: bool,
    /// Requests that failed.
    pub failures: Failures,
    /// How the newest request ended, if that settles the intent.
    pub answer: Option<Answer>,
    /// What was found when the run was looked for, and when.
    pub found: Option<(Duration, Vec<FoundRun>)>,
    /// Look-ups that failed.
    pub lookup: Failures,
}

/// An answer that settles an intent.
#[derive(Debug, Clone, PartialEq)]
pub enum Answer {
    /// This is its run.
    Run(RunId),
    /// It started or restarted something, but gave no run id: a continuous job.
    NoRunId,
    /// Databricks refuses the request.
    Refused(Error),
}

impl IntentMemory {
    /// Whether no request of this intent can have been executed.
    #[must_use]
    pub fn surely_unsent(&self) -> bool {
        !self.inherited && !self.maybe_executed
    }

    /// Whether it is known for sure what came of the intent.
    #[must_use]
    pub fn settled(&self) -> bool {
        match self.answer {
            Some(Answer::Run(_) | Answer::NoRunId) => true,
            Some(Answer::Refused(_)) => self.surely_unsent(),
            None => false,
        }
    }

    /// Notes that a request is about to be sent: from here on it may have been executed.
    pub fn sending(&mut self) {
        self.before = self.maybe_executed;
        self.maybe_executed = true;
    }

    /// Notes what came of it.
    pub fn answered(&mut self, outcome: Result<Option<RunId>, Error>, now: Now) {
        match outcome {
            Ok(Some(run)) => self.answer = Some(Answer::Run(run)),
            Ok(None) => self.answer = Some(Answer::NoRunId),
            Err(error @ (Error::Rejected(_) | Error::NotFound(_))) => {
                // The refused request itself was not executed; earlier ones may have been.
                self.maybe_executed = self.before;
                self.answer = Some(Answer::Refused(error));
            }
            Err(error) => {
                self.maybe_executed = self.before || error.executed() == Executed::Maybe;
                self.failures.note(error, now);
            }
        }
    }
}

/// Outputs of a run's tasks, while they are being read.
#[derive(Debug, Clone, PartialEq)]
pub struct OutputsMemory {
    /// Which run.
    pub run: RunId,
    /// Since when they are being read.
    pub since: Duration,
    /// The tasks that are dealt with.
    pub done: Vec<RunId>,
    /// What they left behind.
    pub read: Vec<TaskOutput>,
    /// Not before this time again.
    pub retry_at: Duration,
}

/// Cancellations sent for a run.
#[derive(Debug, Clone, PartialEq)]
pub struct CancelMemory {
    /// Which run.
    pub run: RunId,
    /// How many.
    pub attempts: u32,
    /// When the last was sent.
    pub last: Duration,
    /// Not before this time again, if our own rate limit said so.
    pub held_until: Duration,
    /// How the last one failed, if it did.
    pub last_error: Option<Error>,
}

impl Memory {
    /// Takes note of what is seen of the run: an answer that has to be asked for again is believed only after a while.
    pub fn notice_reading(&mut self, run: RunId, reading: Option<&Reading>, now: Now) {
        let doubtful = reading
            .and_then(|reading| reading.run.as_ref())
            .is_some_and(|read| read.run_id == run && is_doubtful(read));
        self.doubtful_since = match self.doubtful_since.take() {
            known @ Some((of, _)) if doubtful && of == run => known,
            _ if doubtful => Some((run, now.mono)),
            _ => None,
        };
    }

    /// Takes note that a status was written. To be called before the object is looked at again: an intent that this
    /// process has not written itself is taken for one that may have been sent.
    pub fn recorded(&mut self, written: &DatabricksRunStatus, now: Now) {
        if !written.tasks.is_empty() {
            self.tasks_written = Some(now.mono);
        }
        if let Some(intent) = written.intent.as_ref().filter(|intent| self.marked == Some(intent.serial)) {
            self.intent_written = Some(intent.serial);
        }
        if let Some((run, repair)) = repair_of(written) {
            self.repair_written = Some((run, repair.n));
        }
    }

    /// Takes note that the start mark of this serial was written.
    pub fn marked(&mut self, serial: i64) {
        self.marked = Some(serial);
    }

    /// Takes note when the status has been wiped: the intent that is written next carries a serial that was used before.
    fn notice_wiping(&mut self, status: &DatabricksRunStatus, now: Now) {
        let serial = status.serial.unwrap_or(0);
        if serial < self.highest_serial {
            (self.marked, self.intent_written) = (None, None);
            if let Some(known) = &mut self.intent {
                // Whoever held it meanwhile is not known any more.
                (known.inherited, known.unchanged_since) = (true, now.mono);
            }
        }
        self.highest_serial = serial;
    }

    /// What has to be cancelled when the object has vanished altogether, finalizer or not.
    #[must_use]
    pub fn left_behind(&self) -> Option<(WorkspacePin, RunId)> {
        let known = self.intent.as_ref().and_then(|intent| match (&intent.answer, &intent.pin) {
            (Some(Answer::Run(run)), Some(pin)) => Some((pin.clone(), *run)),
            _ => None,
        });
        known.or_else(|| self.superfluous.as_ref().map(|superfluous| (superfluous.pin.clone(), superfluous.run)))
    }

    /// Takes note when the intent that this process knows of is no longer there. If it was settled by another run than the
    /// one this process learned of, that one is too many.
    fn notice_settled(&mut self, status: &DatabricksRunStatus) {
        let open = status.intent.as_ref().map(|intent| intent.serial);
        // After a status was lost, its serial is used again, perhaps for another workspace: what came of the intent
        // before says nothing about that one.
        let is_another = |known: &IntentMemory| open != Some(known.serial) || known.pin != status.workspace;
        // A status with a lower serial is older than the intent (or was lost): it says nothing about it.
        let settled = |known: &mut Box<IntentMemory>| status.serial.unwrap_or(0) >= known.serial && is_another(known);
        let Some(mut known) = self.intent.take_if(settled) else { return };
        let (Some(Answer::Run(run)), Some(pin)) = (&known.answer, known.pin.take()) else { return };
        let id = run.to_string();
        let recorded =
            status.run_id.as_ref() == Some(&id) || status.attempts.iter().any(|past| past.run_id.as_ref() == Some(&id));
        if !recorded {
            self.superfluous = Some(Box::new(Superfluous { pin, run: *run, failures: Failures::default() }));
        }
    }

    fn notice_repair(&mut self, status: &DatabricksRunStatus, now: Now) {
        let Some((run, repair)) = repair_of(status) else {
            self.repair = None;
            return;
        };
        match &mut self.repair {
            Some(known) if known.is_of(run, repair) => known.notice(repair, now),
            _ => {
                let written = self.repair_written == Some((run, repair.n));
                self.repair = Some(Box::new(RepairMemory::new(run, repair, written, now)));
            }
        }
    }

    /// Takes note of what is seen of the object. To be called on every look, before deciding.
    pub fn notice(&mut self, subject: &Subject<'_>, settings: &Settings, now: Now) {
        if subject.deletion.is_some() {
            self.deletion_seen.get_or_insert(now.mono);
        }
        self.notice_wiping(subject.status, now);
        self.notice_settled(subject.status);
        self.notice_repair(subject.status, now);
        let names = |run: RunId| subject.status.run_id.as_deref() == Some(run.to_string().as_str());
        self.superfluous.take_if(|superfluous| names(superfluous.run));
        let Some(intent) = &subject.status.intent else { return };
        match &mut self.intent {
            Some(known) => {
                if known.holder != intent.holder {
                    known.inherited = true;
                    known.holder.clone_from(&intent.holder);
                    known.unchanged_since = now.mono;
                }
            }
            None => {
                self.intent = Some(Box::new(IntentMemory {
                    serial: intent.serial,
                    pin: subject.status.workspace.clone(),
                    holder: intent.holder.clone(),
                    unchanged_since: now.mono,
                    // Our own name does not suffice: this memory may have been lost since.
                    inherited: intent.holder != settings.holder || self.intent_written != Some(intent.serial),
                    maybe_executed: false,
                    before: false,
                    failures: Failures::default(),
                    answer: None,
                    found: None,
                    lookup: Failures::default(),
                }));
            }
        }
    }
}

/// The repair that a status speaks of.
fn repair_of(status: &DatabricksRunStatus) -> Option<(RunId, &RepairRecord)> {
    Some((status.run_id.as_ref()?.parse().ok()?, status.repair.as_ref()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::databricks::error::{ApiError, TransportError};
    use crate::lifecycle::fixtures::now;

    fn intent() -> IntentMemory {
        IntentMemory {
            serial: 1,
            pin: None,
            holder: "me".into(),
            unchanged_since: Duration::ZERO,
            inherited: false,
            maybe_executed: false,
            before: false,
            failures: Failures::default(),
            answer: None,
            found: None,
            lookup: Failures::default(),
        }
    }

    #[test]
    fn a_request_that_never_connected_was_surely_not_executed() {
        let mut intent = intent();
        intent.sending();
        assert!(!intent.surely_unsent(), "while it is on its way it may have been");
        intent.answered(Err(Error::Transport(TransportError::NotConnected("refused".into()))), now(0));
        assert!(intent.surely_unsent());
    }

    #[test]
    fn a_lost_answer_is_never_forgotten() {
        let mut intent = intent();
        intent.sending();
        intent.answered(Err(Error::Transport(TransportError::NoAnswer("reset".into()))), now(0));
        intent.sending();
        intent.answered(Err(Error::Transport(TransportError::NotConnected("refused".into()))), now(10));
        intent.sending();
        intent.answered(Err(Error::Rejected(ApiError::default())), now(30));
        assert!(!intent.surely_unsent());
    }

    #[test]
    fn when_tasks_were_last_written_is_remembered() {
        let mut memory = Memory::default();
        memory.recorded(&DatabricksRunStatus::default(), now(5));
        assert_eq!(memory.tasks_written, None);
        let tasks = vec![crate::api::status::TaskStatus::default()];
        memory.recorded(&DatabricksRunStatus { tasks, ..DatabricksRunStatus::default() }, now(6));
        assert_eq!(memory.tasks_written, Some(Duration::from_secs(6)));
    }

    #[test]
    fn what_was_sent_for_one_repair_says_nothing_of_the_next() {
        let status = |n| DatabricksRunStatus {
            run_id: Some("7".into()),
            repair: Some(RepairRecord { after: None, n, body: "{}".into(), repair_id: None }),
            ..DatabricksRunStatus::default()
        };
        let mut memory = Memory::default();
        for n in [1, 2] {
            memory.recorded(&status(n), now(0));
            memory.notice_repair(&status(n), now(0));
            let repair = memory.repair.as_mut().unwrap();
            assert!(repair.surely_unsent(), "repair {n}");
            repair.sending();
        }
    }

    #[test]
    fn failures_wait_ten_seconds_then_longer_and_a_quota_waits_minutes() {
        let delays = |error: &Error| [1, 2, 3, 4, 9].map(|count| retry_delay(error, count).as_secs());
        assert_eq!(delays(&Error::Unavailable(ApiError::default())), [10, 20, 40, 60, 60]);
        assert_eq!(delays(&Error::QuotaExceeded(ApiError::default())), [60, 120, 240, 300, 300]);
        let asked = Error::Throttled { retry_after: Some(Duration::from_secs(90)), api: ApiError::default() };
        assert_eq!(delays(&asked), [90, 90, 90, 90, 90]);
    }
}
