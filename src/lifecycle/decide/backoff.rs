//! A run has failed and another attempt follows. Until then the run is still followed: a person may repair it, and then it
//! is that run that counts. When the wait is over it is read afresh, and only if it is still failed is anything started.

use std::time::Duration;

use k8s_openapi::jiff::Timestamp;

use super::close::begin_anew;
use super::live::Believed;
use super::start::{Plan, in_time, prepare, stuck_by_version};
use super::{Step, finish, hold, live, pinned, read_now, reconciling, record, repair, shorter};
use crate::api::conditions::{Reason, State};
use crate::api::status::{Backoff, DatabricksRunStatus, NextAttempt};
use crate::databricks::ids::RunId;
use crate::lifecycle::control::{Asked, Reaction, Stage};
use crate::lifecycle::deadlines::{self, Deadline};
use crate::lifecycle::observed::{Now, Observed, stamp};
use crate::lifecycle::report::{Standing, current_message, report};
use crate::lifecycle::request::{FollowedBy, Request, Wish, accepted, begin, next_attempt, past, remember};
use crate::lifecycle::step::{Announcement, EventReason};
use crate::lifecycle::verdict::{Look, Verdict, look};

/// The wait before the next attempt: 10 s, doubling, at most 6 minutes, as a Job's.
pub(super) fn wait(status: &DatabricksRunStatus) -> Duration {
    const FIRST: Duration = Duration::from_secs(10);
    const LAST: Duration = Duration::from_mins(6);
    let doublings = u32::try_from(status.retries.unwrap_or(0)).unwrap_or(0).min(10);
    FIRST.saturating_mul(1 << doublings).min(LAST)
}

/// From the status in which an attempt has ended, the one in which the next is waited for.
pub(super) fn enter(
    seen: &Observed<'_>,
    mut next: DatabricksRunStatus,
    action: NextAttempt,
    wait: Duration,
    now: Now,
) -> DatabricksRunStatus {
    let follows = match action {
        NextAttempt::Retry => FollowedBy::Retry,
        NextAttempt::Repair => FollowedBy::Repair,
    };
    let failed = past(&next, follows);
    let cause = current_message(&next).unwrap_or_default().to_owned();
    remember(&mut next, failed);
    let until = now.wall.checked_add(wait).unwrap_or(now.wall);
    next.backoff = Some(Backoff { action, until: stamp(until) });
    next.state = Some(State::Retrying.as_str().to_owned());
    next.last_handled_repair = accepted(seen.subject.repair, next.last_handled_repair.as_deref());
    next.conditions.clone_from(&seen.status().conditions);
    let what = what_follows(action);
    let message = format!("{what} at {}, after attempt {}: {cause}", clock(until), next.attempt.unwrap_or(1));
    report(&mut next, Standing::Reconciling, Reason::ProgressingWithRetry, &message, seen.subject.generation, now);
    next
}

fn what_follows(action: NextAttempt) -> &'static str {
    match action {
        NextAttempt::Retry => "the run is started again",
        NextAttempt::Repair => "what failed is run again",
    }
}

fn clock(at: Timestamp) -> String {
    at.strftime("%H:%M:%S UTC").to_string()
}

pub(super) fn announcement(run: Option<RunId>, action: NextAttempt, wait: Duration, message: &str) -> Announcement {
    let run = run.map_or_else(String::new, |run| format!(" (run {run})"));
    let note = format!("{} in {} s{run}: {message}", what_follows(action), wait.as_secs());
    Announcement::warning(EventReason::RunRetrying, &note)
}

pub(super) fn decide(seen: &Observed<'_>, run: RunId, now: Now) -> Step {
    let Some(backoff) = &seen.status().backoff else { return Step::Wait(None) };
    if let Some(step) = commanded(seen, now) {
        return step;
    }
    let deadline = deadlines::before_run(&seen.subject, seen.status(), now);
    if let Deadline::Reached(cause) = deadline {
        return super::start::ended_by_deadline(seen, seen.status().clone(), cause, now);
    }
    let pin = match pinned(seen) {
        Ok(pin) => pin,
        Err((reason, message)) => return reconciling(seen, seen.status().clone(), reason, &message, None, now),
    };
    if let Some(reading) = seen.reading_of(run) {
        if live::gone(seen, reading, now).is_some() {
            return finish::as_last_attempt(seen, "it is not tried again: Databricks no longer knows the run", now);
        }
        if let Some(newest) = &reading.run
            && let Some(step) = come_back_to_life(seen, newest, now)
        {
            return step;
        }
    }
    let left = Duration::try_from(backoff.until.0.duration_since(now.wall)).unwrap_or_default();
    if !left.is_zero() {
        // Not longer than the longest there is, whatever became of the clock.
        return in_time(Step::Wait(Some(shorter(Some(left), Duration::from_mins(6)))), deadline);
    }
    let fresh = match read_now(seen, pin, run, now) {
        Ok(fresh) => fresh,
        Err(step) => return in_time(*step, deadline),
    };
    let read_at = seen.memory.fresh.as_ref().map_or(now.mono, |fresh| fresh.at);
    match live::believed(seen, run, read_at, &fresh.run) {
        Believed::Ended(verdict) if !verdict.succeeded() || is_what_shall_be_repaired(seen, verdict) => {}
        Believed::Ended(verdict) => return finish::decide(seen, pin, &fresh.run, verdict, now),
        Believed::Active(_) => {
            return come_back_to_life(seen, &fresh.run, now).unwrap_or(Step::Wait(Some(Duration::from_secs(10))));
        }
        // An end without a result, or one that only half of the answer knows of, was doubted before and is again.
        Believed::NotYet(wait) => return in_time(Step::Wait(Some(wait)), deadline),
    }
    let request = seen.subject.spec.ok().and_then(|spec| Some((spec, Request::of(spec)?)));
    let Some((spec, request)) = request else {
        return finish::as_last_attempt(seen, "it is not tried again: the spec cannot be read any more", now);
    };
    let Some(key) = &seen.status().run_key else { return Step::Wait(None) };
    match backoff.action {
        NextAttempt::Repair => match repair::forbidden(seen) {
            Some((reason, message)) => reconciling(seen, seen.status().clone(), reason, &message, None, now),
            None => repair::write_ahead(seen, &fresh.run, &request, now),
        },
        NextAttempt::Retry => {
            let plan = Plan { base: seen.status(), next: next_attempt(seen.status()) };
            in_time(prepare(seen, spec, &request, plan, key, now), deadline)
        }
    }
}

/// Whether a success, of which tasks failed all the same, is the one whose repair was asked for.
fn is_what_shall_be_repaired(seen: &Observed<'_>, verdict: Verdict) -> bool {
    seen.status().attempts.first().is_some_and(|last| last.reason == verdict.reason.as_str())
}

const CANCELED: &str = "it is not tried again, because its cancellation was requested";

/// What was commanded meanwhile; nothing is under way that would have to be stopped first.
fn commanded(seen: &Observed<'_>, now: Now) -> Option<Step> {
    let request = seen.subject.spec.ok().and_then(Request::of)?;
    let key = match Wish::of(seen, &request) {
        Wish::UnknownVersion if Asked::of(&seen.subject, seen.status()).cancel => {
            return Some(finish::as_last_attempt(seen, CANCELED, now));
        }
        Wish::UnknownVersion => return Some(stuck_by_version(seen, now)),
        Wish::New(key) => return Some(begin_anew(seen, &key, &request, now)),
        Wish::Same(key) => key,
    };
    match Asked::of(&seen.subject, seen.status()).strongest(Stage::Backoff)? {
        (_, Reaction::End) => Some(finish::as_last_attempt(seen, CANCELED, now)),
        (_, Reaction::Hold) => Some(hold::suspended(seen, begin(seen, &key, &request, now), now)),
        _ => None,
    }
}

/// Somebody has repaired the run: it is followed again, and its end will be the attempt's.
fn come_back_to_life(seen: &Observed<'_>, run: &crate::databricks::model::Run, now: Now) -> Option<Step> {
    let Look::Active(_) = look(run.state.as_ref(), run.status.as_ref()) else { return None };
    let mut next = seen.status().clone();
    next.backoff = None;
    next.completion_time = None;
    // They are of the end that no longer counts, and the tasks need the room.
    next.outputs = Vec::new();
    next.state = Some(State::Running.as_str().to_owned());
    let message = format!("run {} is under way again: it was repaired in Databricks", run.run_id);
    report(&mut next, Standing::Reconciling, Reason::Running, &message, seen.subject.generation, now);
    Some(record(next, Vec::new()))
}
