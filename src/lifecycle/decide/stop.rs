//! Why a request that is being started or is under way shall stop, and the words for it. The cause is written before
//! anything is cancelled, so that after a crash a deadline, a suspension, a replacement and a person's wish are told apart.

use super::{Step, record};
use crate::api::conditions::Reason;
use crate::api::run_control::OnSpecChange;
use crate::api::status::{CancelCause, CancelRecord, DatabricksRunStatus};
use crate::lifecycle::control::{Asked, Command, Reaction, Stage, reaction};
use crate::lifecycle::deadlines::Deadline;
use crate::lifecycle::observed::{Now, Observed};
use crate::lifecycle::report::{Standing, report};
use crate::lifecycle::request::{Wish, accepted};
use crate::lifecycle::step::{Announcement, EventReason};

/// The strongest cause there is to stop, if it outranks the one that is written.
pub(super) fn new_cause(seen: &Observed<'_>, deadline: Deadline) -> Option<CancelCause> {
    let status = seen.status();
    let known = status.cancel.as_ref().map(|cancel| cancel.cause);
    strongest(seen, deadline).filter(|cause| Some(*cause) > known)
}

fn strongest(seen: &Observed<'_>, deadline: Deadline) -> Option<CancelCause> {
    let stage = Stage::of(seen.status());
    let asked = Asked::of(&seen.subject, seen.status());
    if asked.cancel && stops(reaction(Command::Cancel, stage), seen) {
        return Some(CancelCause::Cancellation);
    }
    if let Deadline::Reached(cause) = deadline {
        return Some(cause);
    }
    if asked.suspend && stops(reaction(Command::Suspend, stage), seen) {
        return Some(CancelCause::Suspension);
    }
    let edited = stops(reaction(Command::Edit, stage), seen) && Wish::another_is_due(seen);
    edited.then_some(CancelCause::Replacement)
}

/// Whether a reaction means that the run shall end. Whoever is cancelled already may be so for a weightier cause.
fn stops(reaction: Reaction, seen: &Observed<'_>) -> bool {
    match reaction {
        Reaction::Close | Reaction::Cancel => true,
        Reaction::AtTheEnd => Stage::of(seen.status()) == Stage::Canceling,
        Reaction::BySpecChange => seen.subject.spec.is_ok_and(|spec| spec.on_spec_change == OnSpecChange::Replace),
        Reaction::Nothing | Reaction::Begin | Reaction::Hold | Reaction::End | Reaction::Release => false,
    }
}

/// Writes the cause.
pub(super) fn write(seen: &Observed<'_>, cause: CancelCause, now: Now) -> Step {
    let mut next = seen.status().clone();
    next.cancel = Some(CancelRecord { cause, since: now.stamp() });
    if cause == CancelCause::Cancellation {
        next.last_handled_cancel = accepted(seen.subject.cancel, next.last_handled_cancel.as_deref());
    }
    let message = message(&next, cause);
    report(&mut next, Standing::Reconciling, Reason::Canceling, &message, seen.subject.generation, now);
    record(next, vec![Announcement::normal(EventReason::RunCanceling, &message)])
}

/// What goes on while the run is being cancelled.
pub(super) fn message(status: &DatabricksRunStatus, cause: CancelCause) -> String {
    let why = because(cause);
    match &status.run_id {
        Some(run) => format!("run {run} is being canceled, because {why}"),
        None => format!(
            "the run is to be canceled, because {why}; its start is in doubt, so it is first found by the same request"
        ),
    }
}

/// Why, after "because".
pub(super) fn because(cause: CancelCause) -> &'static str {
    match cause {
        CancelCause::Superfluous => "the object has gone on without it",
        CancelCause::Replacement => "the request was changed and spec.onSpecChange is Replace",
        CancelCause::Suspension => "spec.suspend is true",
        CancelCause::ActiveDeadline => "spec.activeDeadlineSeconds was reached",
        CancelCause::StartingDeadline => "no task was executing within spec.startingDeadlineSeconds",
        CancelCause::Cancellation => "its cancellation was requested",
        CancelCause::Deletion => "the object is being deleted",
    }
}
