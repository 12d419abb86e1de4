//! A run is under way: follow it, and write only what people should read.

use std::time::Duration;

use super::{SAFETY_NET, Step, finish, pinned, reconciling, record};
use crate::api::conditions::{Reason, State};
use crate::api::status::WorkspacePin;
use crate::databricks::ids::RunId;
use crate::databricks::model::Run;
use crate::lifecycle::bounds::one_line;
use crate::lifecycle::observed::{Now, Observed, Reading};
use crate::lifecycle::project;
use crate::lifecycle::report::{Standing, current_message, current_reason, report};
use crate::lifecycle::request::Wish;
use crate::lifecycle::step::{Announcement, EventReason};
use crate::lifecycle::verdict::{Activity, Look, Verdict, look};

/// How long an answer that contradicts itself or lacks a result is asked for again before it is believed.
const DOUBT: Duration = Duration::from_mins(5);
/// How soon it is asked for again.
const DOUBT_PAUSE: Duration = Duration::from_secs(30);
/// "Does not exist" is believed after so many answers in a row...
const NOT_FOUND_ANSWERS: u32 = 3;
/// ...over at least this time...
const NOT_FOUND_PERIOD: Duration = Duration::from_mins(5);
/// ...about a run at least this old: a new one may not be readable everywhere yet.
const NOT_FOUND_AGE: Duration = Duration::from_mins(2);
/// The tasks of a run that goes on are written at most so often.
const TASKS_PAUSE: Duration = Duration::from_mins(1);

pub(super) fn decide(seen: &Observed<'_>, run: RunId, now: Now) -> Step {
    let pin = match pinned(seen) {
        Ok(pin) => pin,
        Err((reason, message)) => return reconciling(seen, seen.status().clone(), reason, &message, None, now),
    };
    let Some(reading) = seen.reading_of(run) else { return nothing_new(seen, now) };
    if let Some(verdict) = gone(seen, reading, now) {
        return finish::without_run(seen, run, verdict, now);
    }
    let Some(newest) = &reading.run else { return nothing_new(seen, now) };
    match believed(seen, run, reading, newest) {
        Believed::Active(Activity::Terminating) => nothing_new(seen, now),
        Believed::Active(activity) => progress(seen, pin, newest, &activity, now),
        Believed::Ended(verdict) => finish::decide(seen, pin, newest, verdict, now),
        Believed::NotYet(wait) => Step::Wait(Some(wait)),
    }
}

/// What is made of the newest answer.
pub(super) enum Believed {
    Active(Activity),
    Ended(Verdict),
    /// It is in doubt; the memory notes since when, and the run is asked for again.
    NotYet(Duration),
}

pub(super) fn believed(seen: &Observed<'_>, id: RunId, reading: &Reading, run: &Run) -> Believed {
    let since = seen.memory.doubtful_since.filter(|(doubtful, _)| *doubtful == id).map(|(_, since)| since);
    // What counts is that it was asked for again and is still so; that time has passed, perhaps without an answer, does
    // not.
    let doubted_long = since.is_some_and(|since| reading.read_at.saturating_sub(since) >= DOUBT);
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
    project::tasks(&mut next, pin, run);
    report(&mut next, Standing::Reconciling, reason, &message, seen.subject.generation, now);
    let started = state == State::Running && status.state.as_deref() != Some(State::Running.as_str());
    // A short wait for compute after the queue is not worth a write; a new cluster's is.
    let brief = state == State::Pending && !cluster && status.state.as_deref() == Some(State::Queued.as_str());
    let news = !brief
        && (current_reason(status) != current_reason(&next)
            || current_message(status) != current_message(&next)
            || status.state != next.state
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
