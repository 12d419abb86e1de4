//! The object is being deleted: nothing is left billing that can be stopped, and nothing holds the object for ever.

use std::time::Duration;

use super::finish::ended_without_run;
use super::live::{Believed, believed, gone, this_end};
use super::{Phase, Step, cancel_wait, finish, intent, pinned, record, repair, shorter};
use crate::api::conditions::Reason;
use crate::api::run::DeletionPolicy;
use crate::api::status::{CancelCause, CancelRecord, Intent};
use crate::databricks::ids::RunId;
use crate::lifecycle::memory::{IntentMemory, RepairMemory};
use crate::lifecycle::observed::{Now, Observed};
use crate::lifecycle::report::{Standing, report};
use crate::lifecycle::step::{Announcement, Effect, EventReason, MetadataChange};
use crate::lifecycle::verdict::Verdict;

/// An object is let go of although its run lives only after so many cancellations.
const ATTEMPTS: u32 = 3;

pub(super) fn decide(seen: &Observed<'_>, phase: Phase<'_>, now: Now) -> Step {
    let step = match phase {
        Phase::Idle => release(Vec::new()),
        Phase::Open(open) => unfinished_start(seen, open, now),
        Phase::Live(run) | Phase::Backoff(run) => live(seen, run, now),
        Phase::Repairing(run) => unfinished_repair(seen, run, now),
        Phase::Unreadable => {
            let note = "the status names a run in a form that cannot be read; it was not cancelled";
            release(vec![orphaned(note)])
        }
    };
    match step {
        // Somebody took our finalizer off, another's still holds the object: there is nothing left to let go of.
        Step::Mark(MetadataChange::Release { .. }) if !seen.subject.held => Step::Wait(None),
        step => step,
    }
}

fn release(announce: Vec<Announcement>) -> Step {
    Step::Mark(MetadataChange::Release { announce })
}

fn orphaned(note: &str) -> Announcement {
    Announcement::warning(EventReason::RunOrphaned, note)
}

/// An unreadable spec is cancelled: that is the default, and the safe side for the bill.
fn policy(seen: &Observed<'_>) -> DeletionPolicy {
    seen.subject.spec.map(|spec| spec.deletion_policy).unwrap_or_default()
}

/// The run was perhaps started and perhaps not: find out by the same request, unless nothing can have been sent.
fn unfinished_start(seen: &Observed<'_>, open: &Intent, now: Now) -> Step {
    let memory = seen.memory.intent.as_deref().filter(|memory| memory.serial == open.serial);
    if memory.is_some_and(IntentMemory::settled) {
        // Whether there is a run is known already; only written it is not.
        return intent::decide(seen, open, now);
    }
    if memory.is_some_and(IntentMemory::surely_unsent) {
        let message = "the object was deleted before the run was started; nothing was sent";
        return ended_without_run(seen, seen.status().clone(), Verdict::CANCELED, message, now);
    }
    if policy(seen) == DeletionPolicy::Orphan {
        let note = "the object was deleted while its run was being started, with deletionPolicy Orphan: a run may be \
                    going on in Databricks";
        return release(vec![orphaned(note)]);
    }
    if past_deadline(seen, now) {
        let note =
            "it could not be found out in time whether a run was started; look in Databricks and cancel it there";
        return release(vec![orphaned(note)]);
    }
    match intent::decide(seen, open, now) {
        Step::Wait(wait) => Step::Wait(Some(until_deadline(seen, wait, now))),
        step => step,
    }
}

/// The repair was perhaps begun and perhaps not: as with a start, except that the run is known.
fn unfinished_repair(seen: &Observed<'_>, run: RunId, now: Now) -> Step {
    if policy(seen) == DeletionPolicy::Orphan || seen.memory.repair.as_deref().is_some_and(RepairMemory::surely_unsent)
    {
        return live(seen, run, now);
    }
    if past_deadline(seen, now) {
        let note = format!(
            "it could not be found out in time whether run {run} is being repaired; look in Databricks and cancel it there"
        );
        return release(vec![orphaned(&note)]);
    }
    match repair::decide(seen, run, now) {
        Step::Wait(wait) => Step::Wait(Some(until_deadline(seen, wait, now))),
        step => step,
    }
}

fn live(seen: &Observed<'_>, run: RunId, now: Now) -> Step {
    if policy(seen) == DeletionPolicy::Orphan {
        let note = format!("run {run} goes on in Databricks, as deletionPolicy Orphan says");
        return release(vec![Announcement::normal(EventReason::RunOrphaned, &note)]);
    }
    let pin = pinned(seen);
    if let Some(reading) = seen.reading_of(run) {
        if let Some(verdict) = gone(seen, reading, now) {
            return finish::without_run(seen, run, verdict, now);
        }
        if let (Ok(pin), Some(newest)) = (&pin, &reading.run)
            && let Believed::Ended(verdict) = believed(seen, run, reading.read_at, newest)
        {
            match this_end(seen, pin, newest, verdict, now) {
                Ok((run, verdict)) => return finish::end(seen, pin, run, verdict, &[], now),
                Err(step) if matches!(*step, Step::Remote(_)) => return *step,
                Err(_) => {}
            }
        }
    }
    if seen.status().cancel.is_none() {
        let mut next = seen.status().clone();
        next.cancel = Some(CancelRecord { cause: CancelCause::Deletion, since: now.stamp() });
        let message = format!("run {run} is being canceled, because the object is being deleted");
        report(&mut next, Standing::Reconciling, Reason::Canceling, &message, seen.subject.generation, now);
        return record(next, vec![Announcement::normal(EventReason::RunCanceling, &message)]);
    }
    let attempts = seen.memory.cancel.as_ref().filter(|cancel| cancel.run == run).map_or(0, |cancel| cancel.attempts);
    if past_deadline(seen, now) && (attempts >= ATTEMPTS || pin.is_err()) {
        let why = match (&pin, seen.memory.cancel.as_ref().and_then(|cancel| cancel.last_error.as_ref())) {
            (Err((_, message)), _) => message.clone(),
            (Ok(_), Some(error)) => error.to_string(),
            (Ok(_), None) => "Databricks accepted the cancellation, but the run has not ended".to_owned(),
        };
        let note = format!("run {run} could not be canceled and may go on in Databricks: {why}");
        return release(vec![orphaned(&note)]);
    }
    match (pin, cancel_wait(seen, run, now)) {
        (Ok(pin), None) => Step::Remote(Effect::Cancel { pin: pin.clone(), run }),
        (_, wait) => Step::Wait(Some(until_deadline(seen, wait, now))),
    }
}

/// Both clocks must agree that the time is up: the object's, and this process's own since it first saw the deletion, so
/// that a deletion that is found old after a restart still gets its cancellations.
fn past_deadline(seen: &Observed<'_>, now: Now) -> bool {
    deadline_wait(seen, now).is_zero()
}

fn deadline_wait(seen: &Observed<'_>, now: Now) -> Duration {
    let deadline = seen.settings.deletion_deadline;
    let known = seen.memory.deletion_seen.map_or(Duration::ZERO, |since| now.mono.saturating_sub(since));
    // The API server's clock may be ahead of ours: it has been deleted at least as long as we know of it.
    let deleted = seen.subject.deletion.map_or(Duration::ZERO, |since| now.since(since)).max(known);
    deadline.saturating_sub(deleted).max((deadline / 4).saturating_sub(known))
}

fn until_deadline(seen: &Observed<'_>, wait: Option<Duration>, now: Now) -> Duration {
    let left = deadline_wait(seen, now);
    shorter(wait, if left.is_zero() { Duration::from_secs(5) } else { left })
}
