//! A run is being started: the intent is written, the run id is not known yet. Everything sent is built from the intent
//! alone, and repeated with the same token until an answer settles it.

use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde_json::Value;

use super::finish::ended_without_run;
use super::start::in_time;
use super::{Step, obstacle, pinned, reconciling, record, stop};
use crate::api::conditions::{Reason, State};
use crate::api::status::{CancelCause, Endpoint, Intent, WorkspacePin};
use crate::databricks::error::Error;
use crate::databricks::ids::{JobId, RunId};
use crate::lifecycle::deadlines;
use crate::lifecycle::memory::{Answer, IntentMemory};
use crate::lifecycle::observed::{Now, Observed, TakeOver, WorkspaceView};
use crate::lifecycle::report::{Standing, report};
use crate::lifecycle::step::{Announcement, Effect, EventReason, FoundRun, RunTarget};
use crate::lifecycle::token::IdempotencyToken;
use crate::lifecycle::verdict::Verdict;

/// Without leader election, another process's intent is taken over after so many POST deadlines without a change.
const TAKEOVER_DEADLINES: u32 = 3;
/// From this age on an intent is looked up before it is sent again: Databricks may have forgotten its token.
const LOOK_UP_AGE: Duration = Duration::from_hours(1);
/// From this age on an intent is never sent again.
const EXPIRY: Duration = Duration::from_hours(24);
/// A refused request that may have been executed before is looked for so long.
const UNRESOLVED: Duration = Duration::from_mins(10);
/// How long a look-up counts.
const LOOK_UP_FRESH: Duration = Duration::from_mins(1);
/// The clocks of Databricks and of this machine may differ by so much.
const CLOCK_SKEW: Duration = Duration::from_mins(2);

pub(super) fn decide(seen: &Observed<'_>, intent: &Intent, now: Now) -> Step {
    // The controller takes note before it asks for a decision; without the note nothing may be sent.
    let Some(memory) = seen.memory.intent.as_ref().filter(|memory| memory.serial == intent.serial) else {
        return Step::Wait(Some(Duration::from_secs(1)));
    };
    if let Some(answer) = &memory.answer {
        return answered(seen, intent, memory, answer, now);
    }
    let deadline = deadlines::before_run(&seen.subject, seen.status(), now);
    if seen.subject.deletion.is_none()
        && let Some(cause) = stop::new_cause(seen, deadline)
    {
        return if memory.surely_unsent() { close(seen, cause, now) } else { stop::write(seen, cause, now) };
    }
    in_time(open(seen, intent, memory, now), deadline)
}

/// Nothing was sent, and nothing shall be.
fn close(seen: &Observed<'_>, cause: CancelCause, now: Now) -> Step {
    super::close::close(seen, cause, now, || {
        let message = "the request was canceled before a run was started; nothing was sent";
        ended_without_run(seen, seen.status().clone(), Verdict::CANCELED, message, now)
    })
}

/// The request is to be sent, or its answer is waited for.
fn open(seen: &Observed<'_>, intent: &Intent, memory: &IntentMemory, now: Now) -> Step {
    let pin = match usable(seen, memory) {
        Ok(pin) => pin,
        Err((reason, message)) => return reconciling(seen, seen.status().clone(), reason, &message, None, now),
    };
    if let Some(since) = &intent.unresolved_since {
        return unresolved(seen, intent, memory, pin, since, now);
    }
    let age = intent.created_at.as_ref().map_or(Duration::ZERO, |created| now.since(created.0));
    if age >= EXPIRY {
        let message = "the request to start the run is older than a day and was never acknowledged; it is not sent again, \
                       because Databricks may have forgotten an earlier one. Look for its run in Databricks, then request \
                       a re-run";
        let verdict = Verdict::rejected(Reason::IntentExpired);
        return ended_without_run(seen, seen.status().clone(), verdict, message, now);
    }
    if intent.holder != seen.settings.holder {
        return take_over(seen, memory, now);
    }
    if memory.inherited
        && let Some(wait) = remaining(memory.unchanged_since, seen.settings.others_have_ended(), now)
    {
        // The last POST of the process that held it before has ended by then: two of one token never overlap.
        return Step::Wait(Some(wait));
    }
    if let Some(wait) = memory.failures.wait(now) {
        return waiting(seen, memory, wait, now);
    }
    // What was surely never sent needs no search: a run that looks like it is somebody else's.
    if age >= LOOK_UP_AGE && !memory.surely_unsent() {
        match fresh(memory, now) {
            None => return look_up(intent, memory, pin, now),
            Some(found) if found.iter().any(|run| run.ended) => {
                return hold_unresolved(seen, "the request is old, and a run like it has already ended", now);
            }
            Some(_) => {}
        }
    }
    Step::Remote(Effect::Submit {
        serial: intent.serial,
        pin: pin.clone(),
        endpoint: intent.endpoint,
        body: intent.body.clone(),
        token: IdempotencyToken::new(seen.subject.uid, intent.serial),
    })
}

/// Where the request goes, if it may go there now. One that may have been executed is repeated even to a workspace that
/// is not quite well, for that is how its run is found; one that was surely never sent waits until all is well.
fn usable<'a>(seen: &Observed<'a>, memory: &IntentMemory) -> Result<&'a WorkspacePin, (Reason, String)> {
    let pin = pinned(seen)?;
    match seen.workspace {
        WorkspaceView::NotReady { reason, message, .. } if memory.surely_unsent() => Err((*reason, message.clone())),
        WorkspaceView::NotAllowed { message, .. } if memory.surely_unsent() => {
            Err((Reason::WorkspaceNotAllowed, message.clone()))
        }
        WorkspaceView::Retained { .. } if memory.surely_unsent() => Err((
            Reason::WorkspaceNotFound,
            format!(
                "{} `{}` is gone, so the run is not started; create it again with the same host",
                pin.kind, pin.name
            ),
        )),
        _ => Ok(pin),
    }
}

fn remaining(since: Duration, period: Duration, now: Now) -> Option<Duration> {
    (since + period).checked_sub(now.mono).filter(|wait| !wait.is_zero())
}

fn take_over(seen: &Observed<'_>, memory: &IntentMemory, now: Now) -> Step {
    if seen.settings.take_over == TakeOver::WhenUnchanged
        && let Some(wait) = remaining(memory.unchanged_since, seen.settings.submit_timeout * TAKEOVER_DEADLINES, now)
    {
        return Step::Wait(Some(wait));
    }
    let mut next = seen.status().clone();
    if let Some(intent) = &mut next.intent {
        intent.holder.clone_from(&seen.settings.holder);
    }
    record(next, Vec::new())
}

/// The last request failed; say so once and wait.
fn waiting(seen: &Observed<'_>, memory: &IntentMemory, wait: Duration, now: Now) -> Step {
    let Some(error) = memory.failures.last.as_deref() else { return Step::Wait(Some(wait)) };
    let (reason, message) = if let Some(cancel) = &seen.status().cancel {
        (Reason::Canceling, stop::message(seen.status(), cancel.cause))
    } else {
        let why = error.told();
        let message =
            format!("the run could not be started yet, and will be tried again without starting it twice: {why}");
        (obstacle(error), message)
    };
    reconciling(seen, seen.status().clone(), reason, &message, Some(wait), now)
}

fn answered(seen: &Observed<'_>, intent: &Intent, memory: &IntentMemory, answer: &Answer, now: Now) -> Step {
    match answer {
        Answer::Run(run) => submitted(seen, intent, *run, now),
        Answer::NoRunId => {
            let message = "Databricks gave no run id: the job is continuous, so this request restarted it instead of \
                           starting a run that could be followed. Use a job without a continuous trigger";
            let verdict = Verdict::rejected(Reason::ContinuousJob);
            ended_without_run(seen, seen.status().clone(), verdict, message, now)
        }
        Answer::Refused(error) if memory.surely_unsent() => {
            let reason = match error {
                Error::NotFound(_) => Reason::JobNotFound,
                _ => Reason::SubmitRejected,
            };
            let message =
                format!("Databricks refuses to start the run: {error}. Correct the spec, or request a re-run");
            ended_without_run(seen, seen.status().clone(), Verdict::rejected(reason), &message, now)
        }
        Answer::Refused(error) => match &intent.unresolved_since {
            None => hold_unresolved(seen, &format!("Databricks refuses the repeated request ({})", error.told()), now),
            Some(since) => match pinned(seen) {
                Ok(pin) => unresolved(seen, intent, memory, pin, since, now),
                Err((reason, message)) => reconciling(seen, seen.status().clone(), reason, &message, None, now),
            },
        },
    }
}

/// The run is known: record it and drop the request.
fn submitted(seen: &Observed<'_>, intent: &Intent, run: RunId, now: Now) -> Step {
    let mut next = seen.status().clone();
    let body = serde_json::from_str::<Value>(&intent.body).unwrap_or_default();
    next.intent = None;
    next.run_id = Some(run.to_string());
    next.submit_time = Some(now.stamp());
    next.first_submit_time.get_or_insert(now.stamp());
    next.job_id = body.get("job_id").and_then(Value::as_i64).map(|id| id.to_string());
    next.state = Some(State::Pending.as_str().to_owned());
    let (reason, message) = match &next.cancel {
        Some(cancel) => (Reason::Canceling, stop::message(&next, cancel.cause)),
        None => (Reason::Pending, super::live::pending_message(run, brings_a_new_cluster(&body))),
    };
    report(&mut next, Standing::Reconciling, reason, &message, seen.subject.generation, now);
    let note = format!("Databricks has started run {run}");
    record(next, vec![Announcement::normal(EventReason::RunSubmitted, &note)])
}

fn brings_a_new_cluster(body: &Value) -> bool {
    let tasks = body.get("tasks").and_then(Value::as_array);
    tasks.is_some_and(|tasks| tasks.iter().any(|task| task.get("new_cluster").is_some_and(Value::is_object)))
}

/// Whether the request was executed is in doubt. Hold it; a run that looks like it is never followed.
fn hold_unresolved(seen: &Observed<'_>, why: &str, now: Now) -> Step {
    let mut next = seen.status().clone();
    if let Some(intent) = &mut next.intent {
        intent.unresolved_since = Some(now.stamp());
    }
    let message = format!("{why}, but an earlier one may have been executed; looking for its run in Databricks");
    report(&mut next, Standing::Reconciling, Reason::SubmitUnresolved, &message, seen.subject.generation, now);
    record(next, vec![Announcement::warning(EventReason::SubmitUnresolved, &message)])
}

fn unresolved(
    seen: &Observed<'_>,
    intent: &Intent,
    memory: &IntentMemory,
    pin: &WorkspacePin,
    since: &Time,
    now: Now,
) -> Step {
    let found = fresh(memory, now);
    let left = UNRESOLVED.saturating_sub(now.since(since.0));
    if left.is_zero() {
        let what = match memory.found.as_ref().map(|(_, found)| found.as_slice()) {
            None => "no look-up has succeeded since".to_owned(),
            Some([]) => "no run like it was found".to_owned(),
            Some(found) => format!("runs like it: {}", ids(found)),
        };
        let message = format!(
            "it is not known whether this request has started a run ({what}); look in Databricks, cancel what should not \
             run, then request a re-run"
        );
        let verdict = Verdict::rejected(Reason::SubmitUnresolved);
        return ended_without_run(seen, seen.status().clone(), verdict, &message, now);
    }
    match found {
        None => look_up(intent, memory, pin, now),
        Some(_) => Step::Wait(Some(left.min(LOOK_UP_FRESH))),
    }
}

fn ids(found: &[FoundRun]) -> String {
    found.iter().take(5).map(|found| found.run.to_string()).collect::<Vec<_>>().join(", ")
}

fn fresh(memory: &IntentMemory, now: Now) -> Option<&[FoundRun]> {
    let (when, found) = memory.found.as_ref()?;
    remaining(*when, LOOK_UP_FRESH, now).map(|_| found.as_slice())
}

fn look_up(intent: &Intent, memory: &IntentMemory, pin: &WorkspacePin, now: Now) -> Step {
    if let Some(wait) = memory.lookup.wait(now) {
        return Step::Wait(Some(wait));
    }
    let body = serde_json::from_str::<Value>(&intent.body).unwrap_or_default();
    let target = match (intent.endpoint, body.get("job_id").and_then(Value::as_i64)) {
        (Endpoint::RunNow, Some(job)) => RunTarget::Job(JobId(job)),
        _ => RunTarget::Name(body.get("run_name").and_then(Value::as_str).unwrap_or("Untitled").to_owned()),
    };
    let created = intent.created_at.as_ref().map_or(now.wall, |created| created.0);
    let skew = i64::try_from(CLOCK_SKEW.as_millis()).unwrap_or_default();
    Step::Remote(Effect::FindRun {
        serial: intent.serial,
        pin: pin.clone(),
        target,
        since: created.as_millisecond().saturating_sub(skew),
    })
}
