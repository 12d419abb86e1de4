//! A run has ended: read what it left behind, then write verdict and outputs in one go, so that nobody who waits for the
//! end wakes to half of it. Where another request is due, the verdict goes into `attempts` in the write that begins it.

use std::time::Duration;

use k8s_openapi::jiff::Timestamp;

use super::{Step, backoff, hold, record, rest, stop};
use crate::api::conditions::{Reason, State};
use crate::api::run_control::FailurePolicyAction;
use crate::api::status::{AttemptRecord, CancelCause, DatabricksRunStatus, NextAttempt, TaskOutput, WorkspacePin};
use crate::databricks::ids::RunId;
use crate::databricks::model::Run;
use crate::lifecycle::control::Asked;
use crate::lifecycle::deadlines::{self, Deadline, executes};
use crate::lifecycle::observed::{Now, Observed, Subject, stamp};
use crate::lifecycle::report::{MAX_MESSAGE, Standing, report};
use crate::lifecycle::request::{Request, Wish, accepted, begin};
use crate::lifecycle::run_key::RunKey;
use crate::lifecycle::step::{Announcement, Effect, EventReason};
use crate::lifecycle::verdict::Verdict;
use crate::lifecycle::{bounds, cause as causes, failure_policy, outputs, project};

/// Outputs are waited for so long when something that passes is in the way; they never decide, and hardly delay, a
/// verdict.
const OUTPUTS_IN_ALL: Duration = Duration::from_secs(30);

/// A request that has ended, and how.
pub(super) struct Ended<'a> {
    /// Its run, if one came to be.
    pub(super) run: Option<RunId>,
    pub(super) verdict: Verdict,
    pub(super) message: String,
    /// What its tasks left behind.
    pub(super) read: &'a [TaskOutput],
    /// What its failure is worth, by the failure policy.
    pub(super) failure: FailurePolicyAction,
}

/// Reads outputs first, then ends.
pub(super) fn decide(seen: &Observed<'_>, pin: &WorkspacePin, run: &Run, verdict: Verdict, now: Now) -> Step {
    let max_bytes = output_bytes(seen);
    let known = seen.memory.outputs.as_ref().filter(|known| known.run == run.run_id);
    let mut tasks = outputs::wanted(run, verdict.reason != Reason::RunSucceeded, max_bytes);
    tasks.retain(|(_, task)| !known.is_some_and(|known| known.done.contains(task)));
    let in_time = known.is_none_or(|known| now.mono.saturating_sub(known.since) < OUTPUTS_IN_ALL);
    if !tasks.is_empty() && in_time {
        let wait = known.and_then(|known| known.retry_at.checked_sub(now.mono)).unwrap_or_default();
        return if wait.is_zero() {
            Step::Remote(Effect::FetchOutputs { pin: pin.clone(), run: run.run_id, tasks })
        } else {
            Step::Wait(Some(wait))
        };
    }
    end(seen, pin, run, verdict, known.map_or(&[], |known| known.read.as_slice()), now)
}

/// Ends without reading outputs: the object is being deleted and nobody waits for them.
pub(super) fn end(
    seen: &Observed<'_>,
    pin: &WorkspacePin,
    run: &Run,
    verdict: Verdict,
    read: &[TaskOutput],
    now: Now,
) -> Step {
    let mut next = seen.status().clone();
    project::run_facts(&mut next, pin, run);
    project::tasks(&mut next, pin, run);
    project::times(&mut next, run);
    if next.execution_start_time.is_none() && executes(run) {
        next.execution_start_time = Some(now.stamp());
    }
    let ended = Timestamp::from_millisecond(run.end_time).ok().filter(|_| run.end_time > 0);
    next.completion_time = Some(stamp(ended.unwrap_or(now.wall)));
    let verdict = by_deadline(seen, verdict);
    let policy = seen.subject.spec.ok().and_then(|spec| spec.failure_policy.as_ref());
    let failure = failure_policy::action(policy, run);
    let message = message(seen, run, verdict, read);
    conclude(seen, next, Ended { run: Some(run.run_id), verdict, message, read, failure }, now)
}

/// A run that was cancelled for a deadline has timed out.
fn by_deadline(seen: &Observed<'_>, verdict: Verdict) -> Verdict {
    match (verdict.state, cause(seen)) {
        (State::Canceled, Some(CancelCause::StartingDeadline)) => Verdict::STARTING_DEADLINE,
        (State::Canceled, Some(CancelCause::ActiveDeadline)) => Verdict::ACTIVE_DEADLINE,
        _ => verdict,
    }
}

fn cause(seen: &Observed<'_>) -> Option<CancelCause> {
    seen.status().cancel.as_ref().map(|cancel| cancel.cause)
}

/// Ends a run that Databricks no longer knows.
pub(super) fn without_run(seen: &Observed<'_>, run: RunId, verdict: Verdict, now: Now) -> Step {
    let message = format!(
        "Databricks no longer knows run {run}: it was deleted there, or is older than 60 days. How it ended is not known; \
         it is not started again"
    );
    let ended = Ended { run: Some(run), verdict, message, read: &[], failure: FailurePolicyAction::Fail };
    conclude(seen, seen.status().clone(), ended, now)
}

/// Ends a request that never had a run.
pub(super) fn ended_without_run(
    seen: &Observed<'_>,
    next: DatabricksRunStatus,
    verdict: Verdict,
    message: &str,
    now: Now,
) -> Step {
    let message = message.to_owned();
    conclude(seen, next, Ended { run: None, verdict, message, read: &[], failure: FailurePolicyAction::Fail }, now)
}

/// Ends a request as its last attempt did, whose record was made when it failed: no further attempt is made.
pub(super) fn as_last_attempt(seen: &Observed<'_>, why: &str, now: Now) -> Step {
    let mut next = seen.status().clone();
    let last = if next.attempts.is_empty() { AttemptRecord::default() } else { next.attempts.remove(0) };
    let of = |word: &str| State::ALL.iter().find(|state| state.as_str() == word).copied();
    let reason = Reason::ALL.iter().find(|reason| reason.as_str() == last.reason).copied();
    let verdict =
        Verdict { state: of(&last.state).unwrap_or(State::Failed), reason: reason.unwrap_or(Reason::RunFailed) };
    next.completion_time = last.completion_time;
    let message = format!("{} ({why})", last.message.unwrap_or_default());
    let run = next.run_id.as_ref().and_then(|run| run.parse().ok());
    let read = std::mem::take(&mut next.outputs);
    let ended = Ended { run, verdict, message, read: &read, failure: FailurePolicyAction::Fail };
    conclude(seen, next, ended, now)
}

/// Writes the end of a request together with what follows it: nobody shall see green or red in between.
fn conclude(seen: &Observed<'_>, mut next: DatabricksRunStatus, ended: Ended<'_>, now: Now) -> Step {
    let Ended { run, mut verdict, mut message, read, failure } = ended;
    let sequel = sequel(seen, &next, verdict, run, failure, now);
    if let Sequel::Exhausted(limit) = sequel {
        verdict.reason = Reason::BackoffLimitExceeded;
        message = bounds::one_line(
            &format!("{message} (attempt {}; spec.backoffLimit is {limit})", next.attempt.unwrap_or(1)),
            MAX_MESSAGE,
        );
    }
    let standing = if verdict.succeeded() { Standing::Succeeded } else { Standing::Failed };
    (next.intent, next.backoff, next.repair) = (None, None, None);
    next.state = Some(verdict.state.as_str().to_owned());
    report(&mut next, standing, verdict.reason, &message, seen.subject.generation, now);
    let announce = vec![announcement(verdict, run, &message)];
    match sequel {
        Sequel::End | Sequel::Exhausted(_) => {
            // Whatever was to be cancelled has ended.
            next.last_handled_cancel = accepted(seen.subject.cancel, next.last_handled_cancel.as_deref());
            fit_outputs(seen, &mut next, read);
            record(next, announce)
        }
        Sequel::Begin(key, request) => {
            let begun = begun(seen, &next, &key, &request, now);
            record(reconciling(seen, begun, Reason::Pending, "the newer request is being started", now), announce)
        }
        Sequel::Hold(key, request) => {
            let mut announce = announce;
            announce
                .push(Announcement::normal(EventReason::Suspended, "nothing is started while spec.suspend is true"));
            record(hold::held(seen, begun(seen, &next, &key, &request, now), now), announce)
        }
        Sequel::Again(action, wait) => {
            let mut next = backoff::enter(seen, next, action, wait, now);
            fit_outputs(seen, &mut next, read);
            record(next, vec![backoff::announcement(run, action, wait, &message)])
        }
        Sequel::Repair => {
            let mut next = backoff::enter(seen, next, NextAttempt::Repair, Duration::ZERO, now);
            rest::count_anew(&mut next, now);
            fit_outputs(seen, &mut next, read);
            record(next, vec![backoff::announcement(run, NextAttempt::Repair, Duration::ZERO, &message)])
        }
    }
}

/// The newest request, begun on the status in which the one before has ended.
fn begun(
    seen: &Observed<'_>,
    ended: &DatabricksRunStatus,
    key: &RunKey,
    request: &Request<'_>,
    now: Now,
) -> DatabricksRunStatus {
    let after = Observed { subject: Subject { status: ended, ..seen.subject }, ..*seen };
    let mut begun = begin(&after, key, request, now);
    // Nobody shall see the end of a request that is not the newest.
    begun.conditions.clone_from(&seen.status().conditions);
    begun
}

fn reconciling(
    seen: &Observed<'_>,
    mut next: DatabricksRunStatus,
    reason: Reason,
    message: &str,
    now: Now,
) -> DatabricksRunStatus {
    report(&mut next, Standing::Reconciling, reason, message, seen.subject.generation, now);
    next
}

/// What follows the end.
enum Sequel<'a> {
    /// Nothing.
    End,
    /// Nothing, for this limit of attempts is used up.
    Exhausted(i32),
    /// This request.
    Begin(RunKey, Request<'a>),
    /// This request, once the object is resumed.
    Hold(RunKey, Request<'a>),
    /// Another attempt after a wait.
    Again(NextAttempt, Duration),
    /// The repair that a person has asked for meanwhile.
    Repair,
}

fn sequel<'a>(
    seen: &Observed<'a>,
    next: &DatabricksRunStatus,
    verdict: Verdict,
    run: Option<RunId>,
    failure: FailurePolicyAction,
    now: Now,
) -> Sequel<'a> {
    if seen.subject.deletion.is_some() {
        return Sequel::End;
    }
    let Some((spec, request)) = seen.subject.spec.ok().and_then(|spec| Some((spec, Request::of(spec)?))) else {
        return Sequel::End;
    };
    let after = Observed { subject: Subject { status: next, ..seen.subject }, ..*seen };
    let key = match Wish::of(&after, &request) {
        Wish::New(key) => return Sequel::Begin(key, request),
        Wish::UnknownVersion => return Sequel::End,
        Wish::Same(key) => key,
    };
    let asked = Asked::of(&seen.subject, next);
    let (action, wait) = match failure {
        FailurePolicyAction::Fail => (None, Duration::ZERO),
        FailurePolicyAction::Retry => (Some(NextAttempt::Retry), backoff::wait(next)),
        FailurePolicyAction::Repair => (Some(NextAttempt::Repair), backoff::wait(next)),
    };
    let stopped = verdict.state == State::Canceled;
    let action = action.filter(|_| !verdict.succeeded());
    match cause(seen) {
        // It was ours to stop it for a while; what it left undone is begun anew.
        Some(CancelCause::Suspension | CancelCause::Replacement) if stopped || action.is_some() => {
            if asked.cancel {
                Sequel::End
            } else if asked.suspend {
                Sequel::Hold(key, request)
            } else {
                Sequel::Begin(key, request)
            }
        }
        Some(_) => Sequel::End,
        None if asked.cancel || stopped => Sequel::End,
        None if run.is_some() && rest::repair_asked(seen, next) && rest::can_repair(spec, verdict) => Sequel::Repair,
        None => match action {
            Some(_) if next.retries.unwrap_or(0) >= spec.backoff_limit.unwrap_or(0) => match spec.backoff_limit {
                Some(limit) if limit > 0 => Sequel::Exhausted(limit),
                _ => Sequel::End,
            },
            Some(action) if !deadline_passed(seen, next, now) => Sequel::Again(action, wait),
            _ => Sequel::End,
        },
    }
}

/// Whether the time for further attempts is over already.
fn deadline_passed(seen: &Observed<'_>, next: &DatabricksRunStatus, now: Now) -> bool {
    matches!(deadlines::before_run(&seen.subject, next, now), Deadline::Reached(_))
}

fn fit_outputs(seen: &Observed<'_>, next: &mut DatabricksRunStatus, read: &[TaskOutput]) {
    let size = serde_json::to_string(&next).map_or(project::MAX_STATUS, |json| json.len());
    let left = project::MAX_STATUS.saturating_sub(size + ROOM);
    next.outputs = outputs::fit(read, output_bytes(seen), left);
}

/// Bytes that are left for what may be written beside the outputs later: the list's own name, commands that were taken
/// note of, a record of this attempt.
const ROOM: usize = 3 * 1024;

fn output_bytes(seen: &Observed<'_>) -> usize {
    let asked = seen.subject.spec.ok().and_then(|spec| spec.output.as_ref()).and_then(|output| output.max_bytes);
    asked.and_then(|bytes| usize::try_from(bytes).ok()).unwrap_or(outputs::DEFAULT_BYTES).min(outputs::MAX_BYTES)
}

fn message(seen: &Observed<'_>, run: &Run, verdict: Verdict, read: &[TaskOutput]) -> String {
    let id = run.run_id;
    let ours = cause(seen).filter(|cause| *cause != CancelCause::Deletion);
    let text = match (verdict.state, verdict.reason) {
        (State::TimedOut, Reason::StartingDeadlineExceeded) => {
            format!("run {id} was canceled: no task was executing within spec.startingDeadlineSeconds")
        }
        (State::TimedOut, Reason::DeadlineExceeded) => {
            format!("run {id} was canceled: the request took longer than spec.activeDeadlineSeconds")
        }
        (State::Canceled, _) if ours.is_some() => {
            format!("run {id} was canceled, because {}", ours.map_or("", stop::because))
        }
        (_, Reason::RunSucceeded) => format!("run {id} succeeded"),
        (_, Reason::RunSucceededWithFailures) => {
            format!("run {id} succeeded, though tasks failed: {}", causes::sentence(run, read))
        }
        (_, Reason::ResultMissing) => {
            format!("run {id} ended, but Databricks gives no result for it; it counts as failed. Look at its page")
        }
        (State::Canceled, _) => format!("run {id} was canceled: {}", causes::sentence(run, read)),
        (State::TimedOut, _) => {
            format!("run {id} reached a time limit set in Databricks: {}", causes::sentence(run, read))
        }
        (State::Skipped, _) => format!("run {id} was skipped by Databricks: {}", causes::sentence(run, read)),
        _ => format!("run {id} failed: {}", causes::sentence(run, read)),
    };
    bounds::one_line(&text, MAX_MESSAGE)
}

fn announcement(verdict: Verdict, run: Option<RunId>, message: &str) -> Announcement {
    let unnamed = run.filter(|run| !message.contains(&run.to_string()));
    let note = unnamed.map_or_else(|| message.to_owned(), |run| format!("run {run}: {message}"));
    match (verdict.state, run) {
        (State::Succeeded, _) => Announcement::normal(EventReason::RunSucceeded, &note),
        (State::Canceled, Some(_)) => Announcement::warning(EventReason::RunCanceled, &note),
        (State::Canceled, None) => Announcement::normal(EventReason::RunCanceled, &note),
        _ => Announcement::warning(EventReason::RunFailed, &note),
    }
}
