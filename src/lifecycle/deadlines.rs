//! The two deadlines of a request. Before a run is known they are measured on our own clock. A live run's are measured on
//! Databricks' clock, from the run's start to the answer's `Date`, and on our own, and both must agree that the time is up:
//! a clock that is wrong delays a cancellation, and never brings one about.

use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;

use super::observed::{Now, Subject};
use crate::api::run::DatabricksRunSpec;
use crate::api::status::{CancelCause, DatabricksRunStatus};
use crate::databricks::model::{LifeCycleState, Run, RunState, RunStatus, StatusState};

/// Times in a status are whole seconds, so each may be up to this early.
const STAMP: Duration = Duration::from_secs(1);

/// What the deadlines say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deadline {
    /// None is set, or none applies any more.
    None,
    /// The next one is so far away.
    In(Duration),
    /// This one was reached.
    Reached(CancelCause),
}

/// A run as it was read, with the clocks of the reading.
#[derive(Debug, Clone, Copy)]
pub struct Read<'a> {
    /// The run.
    pub run: &'a Run,
    /// Databricks' time of the answer.
    pub server_time: Option<Timestamp>,
    /// When it was read, on the clock of [`Now::mono`].
    pub at: Duration,
}

/// The deadlines of a request whose run is not known.
#[must_use]
pub fn before_run(subject: &Subject<'_>, status: &DatabricksRunStatus, now: Now) -> Deadline {
    let since = |origin: &Option<Time>| origin.as_ref().map(|origin| now.since(origin.0));
    earliest(subject, status, since(&status.requested_at), since(&status.first_submit_time))
}

/// The deadlines of a request whose run is under way.
#[must_use]
pub fn of_run(subject: &Subject<'_>, status: &DatabricksRunStatus, read: &Read<'_>, now: Now) -> Deadline {
    let submitted = status.submit_time.as_ref();
    let since = |origin: &Option<Time>| {
        let (origin, submitted) = (origin.as_ref()?, submitted?);
        let before = Duration::try_from(submitted.0.duration_since(origin.0)).unwrap_or_default();
        let ours = now.since(origin.0);
        Some(run_time(read, now).map_or(ours, |theirs| ours.min(before + theirs)))
    };
    let met = status.execution_start_time.is_some() || executes(read.run);
    let requested = if met { None } else { since(&status.requested_at) };
    earliest(subject, status, requested, since(&status.first_submit_time))
}

/// How long the run has been there, by Databricks' clock and what has passed on ours since the answer.
fn run_time(read: &Read<'_>, now: Now) -> Option<Duration> {
    let started = Timestamp::from_millisecond(read.run.start_time).ok().filter(|_| read.run.start_time > 0)?;
    let at_answer = Duration::try_from(read.server_time?.duration_since(started)).unwrap_or_default();
    Some(at_answer + now.mono.saturating_sub(read.at))
}

fn earliest(
    subject: &Subject<'_>,
    status: &DatabricksRunStatus,
    requested: Option<Duration>,
    submitted: Option<Duration>,
) -> Deadline {
    let Ok(spec) = subject.spec else { return Deadline::None };
    let requested = requested.filter(|_| status.execution_start_time.is_none());
    let left = |limit: fn(&DatabricksRunSpec) -> Option<i64>, passed: Option<Duration>| {
        let limit = limit(spec).and_then(|seconds| u64::try_from(seconds).ok()).map(Duration::from_secs)?;
        Some(limit.saturating_add(STAMP).saturating_sub(passed?))
    };
    let starting = left(|spec| spec.starting_deadline_seconds, requested);
    let active = left(|spec| spec.active_deadline_seconds, submitted);
    match (starting, active) {
        (Some(Duration::ZERO), _) => Deadline::Reached(CancelCause::StartingDeadline),
        (_, Some(Duration::ZERO)) => Deadline::Reached(CancelCause::ActiveDeadline),
        (None, None) => Deadline::None,
        (a, b) => Deadline::In(a.into_iter().chain(b).min().unwrap_or_default()),
    }
}

/// Whether a task has begun to execute; of a run that shows no tasks, whether it executes itself.
#[must_use]
pub fn executes(run: &Run) -> bool {
    if run.tasks.is_empty() {
        return begun(run.state.as_ref(), run.status.as_ref());
    }
    run.tasks.iter().any(|task| begun(task.state.as_ref(), task.status.as_ref()))
}

fn begun(state: Option<&RunState>, status: Option<&RunStatus>) -> bool {
    match state.and_then(|state| state.life_cycle_state.as_ref()) {
        Some(LifeCycleState::Queued | LifeCycleState::Pending | LifeCycleState::Blocked) => false,
        Some(LifeCycleState::Other(_)) | None => matches!(
            status.and_then(|status| status.state.as_ref()),
            Some(StatusState::Running | StatusState::Terminating | StatusState::Terminated | StatusState::Waiting)
        ),
        Some(_) => true,
    }
}
