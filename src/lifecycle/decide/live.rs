//! A run is under way: follow it, and write only what people should read.

use std::time::Duration;

use super::start::in_time;
use super::{
    SAFETY_NET, Step, cancel_wait, finish, fresh, pinned, read_again, read_now, reconciling, record, repair, shorter,
    stop,
};
use crate::api::conditions::{Reason, State};
use crate::api::status::{CancelCause, DatabricksRunStatus, WorkspacePin};
use crate::databricks::ids::RunId;
use crate::databricks::model::Run;
use crate::lifecycle::bounds::one_line;
use crate::lifecycle::deadlines::{self, Deadline, Read};
use crate::lifecycle::observed::{Now, Observed, Reading};
use crate::lifecycle::project;
use crate::lifecycle::report::{Standing, current_message, current_reason, report};
use crate::lifecycle::request::Wish;
use crate::lifecycle::step::{Announcement, Effect, EventReason};
use crate::lifecycle::verdict::{Activity, Look, Verdict, look};

/// How long an answer that contradicts itself or lacks a result is asked for again before it is believed.
const DOUBT: Duration = Duration::from_mins(5);
/// How soon it is asked for again.
const DOUBT_PAUSE: Duration = Duration::from_secs(30);
/// A repaired run that still shows its first end is read again after this time.
const AGAIN_AFTER_REPAIR: Duration = Duration::from_secs(10);
/// "Does not exist" is believed after so many answers in a row...
const NOT_FOUND_ANSWERS: u32 = 3;
/// ...over at least this time...
const NOT_FOUND_PERIOD: Duration = Duration::from_mins(5);
/// ...about a run at least this old: a new one may not be readable everywhere yet.
const NOT_FOUND_AGE: Duration = Duration::from_mins(2);
/// Databricks tells its time in whole seconds.
const A_SECOND: Duration = Duration::from_secs(1);
/// The tasks of a run that goes on are written at most so often.
const TASKS_PAUSE: Duration = Duration::from_mins(1);

pub(super) fn decide(seen: &Observed<'_>, run: RunId, now: Now) -> Step {
    let pin = pinned(seen);
    let reading = seen.reading_of(run);
    let newest = reading.and_then(|reading| Some((reading, reading.run.as_ref()?)));
    let mut activity = None;
    if pin.is_ok()
        && let Some(verdict) = reading.and_then(|reading| gone(seen, reading, now))
    {
        return finish::without_run(seen, run, verdict, now);
    }
    if let (Ok(pin), Some((reading, newest))) = (&pin, newest) {
        match believed(seen, run, reading.read_at, newest) {
            Believed::Ended(verdict) => match this_end(seen, pin, newest, verdict, now) {
                Ok((run, verdict)) => return finish::decide(seen, pin, run, verdict, now),
                // It may still have to be cancelled.
                Err(step) if matches!(*step, Step::Wait(_)) => {}
                Err(step) => return *step,
            },
            Believed::NotYet(wait) => return Step::Wait(Some(wait)),
            Believed::Active(it) => activity = Some(it),
        }
    }
    let deadline = match (&pin, newest) {
        (Ok(pin), Some((reading, newest))) => match deadline(seen, pin, reading, newest, now) {
            Ok(deadline) => deadline,
            Err(step) => return *step,
        },
        _ => Deadline::None,
    };
    if let Some(cause) = stop::new_cause(seen, deadline) {
        return stop::write(seen, cause, now);
    }
    let pin = match pin {
        Ok(pin) => pin,
        Err((reason, message)) => return reconciling(seen, seen.status().clone(), reason, &message, None, now),
    };
    if let Some(cancel) = &seen.status().cancel {
        return canceling(seen, pin, run, cancel.cause, now);
    }
    let step = match (newest, &activity) {
        (Some((_, newest)), Some(activity)) if *activity != Activity::Terminating => {
            progress(seen, pin, newest, activity, now)
        }
        _ => nothing_new(seen, now),
    };
    match in_time(step, deadline) {
        // An end from before the repair: the repaired run is asked about soon.
        Step::Wait(wait) if seen.status().repair.is_some() && activity.is_none() => {
            Step::Wait(Some(shorter(wait, AGAIN_AFTER_REPAIR)))
        }
        step => step,
    }
}

/// The end that counts, or what comes before it is known: a run that was repaired has ended before, too, and which end it
/// is, its history tells.
pub(super) fn this_end<'a>(
    seen: &Observed<'a>,
    pin: &WorkspacePin,
    newest: &'a Run,
    verdict: Verdict,
    now: Now,
) -> Result<(&'a Run, Verdict), Box<Step>> {
    let Some(repair) = &seen.status().repair else { return Ok((newest, verdict)) };
    let fresh = read_now(seen, pin, newest.run_id, now)?;
    let doubted = seen.memory.repair.as_ref().is_some_and(|memory| now.mono.saturating_sub(memory.since) >= DOUBT);
    match look(fresh.run.state.as_ref(), fresh.run.status.as_ref()) {
        Look::Ended(verdict) if repair::is_named(&fresh.run, repair) || doubted => Ok((&fresh.run, verdict)),
        _ => Err(Box::new(Step::Wait(Some(AGAIN_AFTER_REPAIR)))),
    }
}

/// What the deadlines say. That nothing executes yet must be the answer to a question asked after the deadline.
fn deadline(
    seen: &Observed<'_>,
    pin: &WorkspacePin,
    reading: &Reading,
    newest: &Run,
    now: Now,
) -> Result<Deadline, Box<Step>> {
    let at = |read: &Read<'_>, now| deadlines::of_run(&seen.subject, seen.status(), read, now);
    let reached = Deadline::Reached(CancelCause::StartingDeadline);
    let known = at(&Read { run: newest, server_time: reading.server_time, at: reading.read_at }, now);
    if seen.status().cancel.is_some() || known != reached {
        return Ok(known);
    }
    let again = || Box::new(read_again(seen, pin, newest.run_id, now));
    let asked = fresh(seen, newest.run_id, now).ok_or_else(again)?;
    let age = now.mono.saturating_sub(asked.at);
    let then = Now { wall: now.wall.checked_sub(age).unwrap_or(now.wall), mono: asked.at };
    let read = Read { run: &asked.read.run, server_time: asked.read.server_time, at: asked.at };
    match (at(&read, then), at(&read, now)) {
        (then, _) if then == reached => Ok(then),
        // The deadline has passed since the question.
        (_, now) if now == reached => Err(again()),
        // To ask sooner would not tell more.
        (_, Deadline::In(left)) => Ok(Deadline::In(left.max(A_SECOND))),
        (_, now) => Ok(now),
    }
}

/// The run was told to stop, or is about to be.
fn canceling(seen: &Observed<'_>, pin: &WorkspacePin, run: RunId, cause: CancelCause, now: Now) -> Step {
    let Some(wait) = cancel_wait(seen, run, now) else {
        return Step::Remote(Effect::Cancel { pin: pin.clone(), run });
    };
    let mut message = stop::message(seen.status(), cause);
    let failed = seen.memory.cancel.as_ref().filter(|cancel| cancel.run == run);
    if let Some(error) = failed.and_then(|cancel| cancel.last_error.as_ref()) {
        message = format!("{message}; it is told so again, since the last time failed: {}", error.told());
    }
    reconciling(
        seen,
        seen.status().clone(),
        Reason::Canceling,
        &message,
        Some(shorter(Some(wait), until_next_look(seen))),
        now,
    )
}

/// What is made of the newest answer.
pub(super) enum Believed {
    Active(Activity),
    Ended(Verdict),
    /// It is in doubt; the memory notes since when, and the run is asked for again.
    NotYet(Duration),
}

pub(super) fn believed(seen: &Observed<'_>, id: RunId, read_at: Duration, run: &Run) -> Believed {
    let since = seen.memory.doubtful_since.filter(|(doubtful, _)| *doubtful == id).map(|(_, since)| since);
    // What counts is that it was asked for again and is still so; that time has passed, perhaps without an answer, does
    // not.
    let doubted_long = since.is_some_and(|since| read_at.saturating_sub(since) >= DOUBT);
    let mut answer = look(run.state.as_ref(), run.status.as_ref());
    loop {
        answer = match answer {
            Look::Active(activity) => return Believed::Active(activity),
            Look::Ended(verdict) => return Believed::Ended(verdict),
            Look::Disagreeing(_) | Look::ResultMissing if !doubted_long => return Believed::NotYet(DOUBT_PAUSE),
            Look::Disagreeing(believed) => *believed,
            Look::ResultMissing => return Believed::Ended(Verdict::RESULT_MISSING),
        };
    }
}

/// Whether Databricks has said often and long enough that the run does not exist.
pub(super) fn gone(seen: &Observed<'_>, reading: &Reading, now: Now) -> Option<Verdict> {
    let submitted = seen.status().submit_time.as_ref().map_or(now.wall, |time| time.0);
    let believed = reading.not_found >= NOT_FOUND_ANSWERS
        && reading.last_not_found.saturating_sub(reading.first_not_found) >= NOT_FOUND_PERIOD
        && now.since(submitted) >= NOT_FOUND_AGE;
    believed.then_some(Verdict::NOT_FOUND)
}

/// Nothing new is known of the run; at most the spec has moved on, or a way was found out of what held it up.
fn nothing_new(seen: &Observed<'_>, now: Now) -> Step {
    let held_up = [Reason::WorkspaceChanged, Reason::WorkspaceNotFound].map(Reason::as_str);
    let current = current_reason(seen.status());
    if seen.status().observed_generation == Some(seen.subject.generation)
        && !current.is_some_and(|it| held_up.contains(&it))
    {
        return Step::Wait(Some(until_next_look(seen)));
    }
    let (reason, state) = match seen.status().state.as_deref() {
        Some(word) if word == State::Running.as_str() => (Reason::Running, State::Running),
        Some(word) if word == State::Queued.as_str() => (Reason::Queued, State::Queued),
        _ => (Reason::Pending, State::Pending),
    };
    let run = seen.status().run_id.as_deref().unwrap_or_default();
    let message = format!("run {run} is {}{}", state.as_str().to_lowercase(), note_on_newer(seen));
    reconciling(seen, seen.status().clone(), reason, &message, None, now)
}

fn note_on_newer(seen: &Observed<'_>) -> &'static str {
    if Wish::another_is_due(seen) { "; the newer request starts when it has ended" } else { "" }
}

/// The run goes on: write its state when that changed, its tasks now and then.
fn progress(seen: &Observed<'_>, pin: &WorkspacePin, run: &Run, activity: &Activity, now: Now) -> Step {
    let mut next = seen.status().clone();
    project::run_facts(&mut next, pin, run);
    let cluster = project::waits_for_new_cluster(run);
    let (state, reason, mut message) = told(run, activity, cluster);
    message.push_str(note_on_newer(seen));
    next.state = Some(state.as_str().to_owned());
    let status = seen.status();
    if next.execution_start_time.is_none() && deadlines::executes(run) {
        next.execution_start_time = Some(now.stamp());
    }
    project::tasks(&mut next, pin, run);
    report(&mut next, Standing::Reconciling, reason, &message, seen.subject.generation, now);
    let started = state == State::Running && status.state.as_deref() != Some(State::Running.as_str());
    // A short wait for compute after the queue is not worth a write; a new cluster's is.
    let brief = state == State::Pending && !cluster && status.state.as_deref() == Some(State::Queued.as_str());
    // The words say everything that the state and the reason do.
    let news = !brief
        && (current_message(status) != current_message(&next)
            || (cluster && status.run_page_url.is_none() && next.run_page_url.is_some()));
    let newer_generation = status.observed_generation != Some(seen.subject.generation);
    if !news && !newer_generation {
        if run.tasks.len() < 2 || next.tasks == status.tasks {
            return Step::Wait(Some(until_next_look(seen)));
        }
        let written = seen.memory.tasks_written;
        let left = written.and_then(|written| (written + TASKS_PAUSE).checked_sub(now.mono)).unwrap_or_default();
        if !left.is_zero() {
            return Step::Wait(Some(left));
        }
    }
    let announce = if started {
        vec![Announcement::normal(EventReason::RunStarted, &format!("run {} is running", run.run_id))]
    } else {
        Vec::new()
    };
    record(next, announce)
}

/// Whether the status of a run says all that was made of its last reading, by what was decided then: a run that is running,
/// with nothing that is still to be written.
#[must_use]
pub fn is_all_told(status: Option<&DatabricksRunStatus>, wait: Option<Duration>) -> bool {
    let state = status.and_then(|status| status.state.as_deref());
    state == Some(State::Running.as_str()) && wait == Some(SAFETY_NET)
}

/// When a run of which nothing new is known is looked at again. A row of "does not exist" is believed at its third answer,
/// which is no change that would wake anybody.
fn until_next_look(seen: &Observed<'_>) -> Duration {
    if seen.reading.is_some_and(|reading| reading.not_found > 0) { DOUBT_PAUSE } else { SAFETY_NET }
}

/// State, reason and words of a run that goes on. The words are made of what stays the same between two polls.
fn told(run: &Run, activity: &Activity, cluster: bool) -> (State, Reason, String) {
    let id = run.run_id;
    match activity {
        Activity::Queued => {
            let code = run.status.as_ref().and_then(|status| status.queue_details.as_ref());
            let why = code.and_then(|details| details.code.as_deref()).map(|code| one_line(code, 100));
            let why = why.map_or_else(String::new, |code| format!(" ({code})"));
            (State::Queued, Reason::Queued, format!("run {id} is queued{why}; Databricks keeps it up to 48 hours"))
        }
        Activity::Pending => (State::Pending, Reason::Pending, pending_message(id, cluster)),
        Activity::Running | Activity::Terminating => (State::Running, Reason::Running, format!("run {id} is running")),
        Activity::Unknown(word) => {
            let word = one_line(word, 100);
            let message =
                format!("run {id} is in the state {word}, which this version does not know; it is followed on");
            (State::Running, Reason::Running, message)
        }
    }
}

/// The words of a run that does not execute yet.
pub(super) fn pending_message(run: RunId, new_cluster: bool) -> String {
    if new_cluster {
        format!("run {run} is pending: it waits for its new cluster, which usually takes 3 to 8 minutes to start")
    } else {
        format!("run {run} is pending")
    }
}
