//! The decision: what is known in, one step out. Total, pure and repeatable; every rule of a run's life is below this
//! module, one file per phase. The phase is read from the status alone.

mod backoff;
mod close;
mod deletion;
mod finish;
mod hold;
mod intent;
mod live;
mod repair;
mod rest;
mod start;
mod stop;
#[cfg(test)]
mod tests;

use std::time::Duration;

pub use self::live::is_all_told;
pub use self::rest::time_left;

use super::memory::Memory;
use super::observed::{Now, Observed, Settings, Subject, WorkspaceView, same_workspace};
use super::repair_memory::Fresh;
use super::report::{Standing, report};
use super::request::Wish;
use super::step::{Announcement, Change, Effect, EventReason, FreshRun, MetadataChange, Step};
use crate::api::conditions::Reason;
use crate::api::status::{DatabricksRunStatus, Intent, WorkspacePin};
use crate::databricks::error::{CredentialsError, Error};
use crate::databricks::ids::RunId;

/// When nothing is expected to wake an object that waits, it is looked at again after this time all the same.
const SAFETY_NET: Duration = Duration::from_mins(5);

/// Where the object stands, by its status.
#[derive(Debug, Clone, Copy)]
pub enum Phase<'a> {
    /// Nothing is under way: not started, held, or ended.
    Idle,
    /// A run is being started.
    Open(&'a Intent),
    /// A run is under way.
    Live(RunId),
    /// A run has failed and its next attempt is waited for; it is still followed, for somebody may repair it.
    Backoff(RunId),
    /// A run is being repaired, and it is not known yet whether it is.
    Repairing(RunId),
    /// The status names a run in a form nobody can read. Nothing is started beside it.
    Unreadable,
}

impl<'a> Phase<'a> {
    /// Reads it.
    #[must_use]
    pub fn of(status: &'a DatabricksRunStatus) -> Self {
        match (&status.intent, &status.run_id, &status.completion_time) {
            (Some(intent), ..) => Self::Open(intent),
            (None, Some(run), None) => {
                run.parse().map_or(Self::Unreadable, |run| match (&status.backoff, &status.repair) {
                    (Some(_), _) => Self::Backoff(run),
                    (None, Some(repair)) if repair.repair_id.is_none() => Self::Repairing(run),
                    _ => Self::Live(run),
                })
            }
            (None, ..) => Self::Idle,
        }
    }

    /// The run to follow.
    #[must_use]
    pub fn run(self) -> Option<RunId> {
        match self {
            Self::Live(run) | Self::Backoff(run) | Self::Repairing(run) => Some(run),
            Self::Idle | Self::Open(_) | Self::Unreadable => None,
        }
    }
}

/// Decides.
#[must_use]
pub fn decide(seen: &Observed<'_>, now: Now) -> Step {
    let Some(superfluous) = &seen.memory.superfluous else { return by_phase(seen, now) };
    let Some(wait) = superfluous.failures.wait(now) else {
        return Step::Remote(Effect::Cancel { pin: superfluous.pin.clone(), run: superfluous.run });
    };
    match by_phase(seen, now) {
        Step::Wait(other) => Step::Wait(Some(shorter(other, wait))),
        step => step,
    }
}

fn by_phase(seen: &Observed<'_>, now: Now) -> Step {
    let phase = Phase::of(seen.status());
    if seen.subject.deletion.is_some() {
        return deletion::decide(seen, phase, now);
    }
    match phase {
        Phase::Idle => start::decide(seen, now),
        // Somebody replaced the object without our finalizer; a deletion must still find the run.
        Phase::Open(Intent { serial, .. }) if !seen.subject.held => put_on_hold(*serial),
        Phase::Live(_) | Phase::Backoff(_) | Phase::Repairing(_) if !seen.subject.held => {
            put_on_hold(seen.status().serial.unwrap_or(1))
        }
        Phase::Open(intent) => intent::decide(seen, intent, now),
        Phase::Live(run) => live::decide(seen, run, now),
        Phase::Backoff(run) => backoff::decide(seen, run, now),
        Phase::Repairing(run) => repair::decide(seen, run, now),
        Phase::Unreadable => Step::Wait(None),
    }
}

/// Whether nothing is to be done with an object, whatever its workspace is like and whatever was remembered of its runs, unless its
/// time to live is up: what its spec asks for has ended.
#[must_use]
pub fn is_at_rest(subject: Subject<'_>, settings: &Settings, now: Now) -> bool {
    let (memory, workspace) = (Memory::default(), WorkspaceView::Missing);
    let seen = Observed { subject, workspace: &workspace, reading: None, memory: &memory, settings };
    seen.status().completion_time.is_some()
        && seen.subject.spec.is_ok()
        && !Wish::another_is_due(&seen)
        && matches!(decide(&seen, now), Step::Wait(_) | Step::DeleteSelf(_))
}

/// Puts our finalizer on.
fn put_on_hold(serial: i64) -> Step {
    Step::Mark(MetadataChange::Hold { serial })
}

/// The pin of what is under way, if the workspace object still points there; else why no call may be made.
fn pinned<'a>(seen: &Observed<'a>) -> Result<&'a WorkspacePin, (Reason, String)> {
    let Some(pin) = &seen.status().workspace else {
        return Err((Reason::WorkspaceNotFound, "the status does not say where the run was sent".to_owned()));
    };
    match seen.workspace {
        WorkspaceView::Missing => Err((
            Reason::WorkspaceNotFound,
            format!(
                "{} `{}` is gone, so its run at {} can be neither followed nor cancelled; create it again with the same host",
                pin.kind, pin.name, pin.host
            ),
        )),
        other => match other.pin() {
            Some(points_to) if same_workspace(points_to, pin) => Ok(pin),
            _ => Err((
                Reason::WorkspaceChanged,
                format!(
                    "the run was sent to {}, but {} `{}` now points elsewhere; nothing is sent there for this run. \
                     Restore the workspace object's host, or delete this object and stop the run in Databricks",
                    pin.host, pin.kind, pin.name
                ),
            )),
        },
    }
}

/// Time until this run may be cancelled once more; none if now.
fn cancel_wait(seen: &Observed<'_>, run: RunId, now: Now) -> Option<Duration> {
    let cancel = seen.memory.cancel.as_deref().filter(|cancel| cancel.run == run)?;
    let due = if cancel.attempts == 0 {
        cancel.held_until
    } else {
        (cancel.last + cancel_pause(seen)).max(cancel.held_until)
    };
    due.checked_sub(now.mono).filter(|wait| !wait.is_zero())
}

/// Pause between two cancellations of a run: 30 s, less where the deletion deadline is short.
fn cancel_pause(seen: &Observed<'_>) -> Duration {
    const PAUSE: Duration = Duration::from_secs(30);
    PAUSE.min(seen.settings.deletion_deadline / 8)
}

/// A status in which the object waits or goes on, as a step: written if it says anything new, else waited on.
fn reconciling(
    seen: &Observed<'_>,
    mut next: DatabricksRunStatus,
    reason: Reason,
    message: &str,
    wait: Option<Duration>,
    now: Now,
) -> Step {
    report(&mut next, Standing::Reconciling, reason, message, seen.subject.generation, now);
    if next == *seen.status() {
        return Step::Wait(wait.or(Some(SAFETY_NET)));
    }
    let news = super::report::current_reason(seen.status()) != Some(reason.as_str());
    let announce = if news && reason.is_obstacle() {
        vec![Announcement::warning(EventReason::RunWaiting, message)]
    } else {
        Vec::new()
    };
    record(next, announce)
}

/// The reason to give while a call that failed like this is repeated.
fn obstacle(error: &Error) -> Reason {
    match error {
        Error::Credentials(CredentialsError::NotFound(_)) => Reason::CredentialsNotFound,
        Error::Credentials(_) => Reason::CredentialsUnusable,
        Error::QuotaExceeded(_) => Reason::QuotaExceeded,
        _ => Reason::ProgressingWithRetry,
    }
}

/// Reads the run now, unless it was read a moment ago. What is about to be decided must not rest on an older answer.
fn read_now<'a>(seen: &Observed<'a>, pin: &WorkspacePin, run: RunId, now: Now) -> Result<&'a FreshRun, Box<Step>> {
    fresh(seen, run, now).map(|fresh| &fresh.read).ok_or_else(|| Box::new(read_again(seen, pin, run, now)))
}

/// What was read of the run a moment ago, and when.
fn fresh<'a>(seen: &Observed<'a>, run: RunId, now: Now) -> Option<&'a Fresh> {
    const FRESH: Duration = Duration::from_secs(10);
    let fresh = seen.memory.fresh.as_deref().filter(|fresh| fresh.run == run);
    fresh.filter(|fresh| now.mono.saturating_sub(fresh.at) < FRESH)
}

/// Reads the run whatever is known of it.
fn read_again(seen: &Observed<'_>, pin: &WorkspacePin, run: RunId, now: Now) -> Step {
    match seen.memory.reads.wait(now) {
        Some(wait) => Step::Wait(Some(wait)),
        None => Step::Remote(Effect::ReadRun { pin: pin.clone(), run }),
    }
}

fn record(status: DatabricksRunStatus, announce: Vec<Announcement>) -> Step {
    Step::Record(Change { status: Box::new(status), announce })
}

fn shorter(a: Option<Duration>, b: Duration) -> Duration {
    a.map_or(b, |a| a.min(b))
}
