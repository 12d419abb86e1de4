//! A run has ended: read what it left behind, then write verdict and outputs in one go, so that nobody who waits for the
//! end wakes to half of it. Where another request is due, the verdict goes into `attempts` in the write that begins it.

use std::time::Duration;

use k8s_openapi::jiff::Timestamp;

use super::{Phase, Step, record};
use crate::api::conditions::{Reason, State};
use crate::api::status::{DatabricksRunStatus, TaskOutput, WorkspacePin};
use crate::databricks::ids::RunId;
use crate::databricks::model::Run;
use crate::lifecycle::observed::{Now, Observed, stamp};
use crate::lifecycle::report::{MAX_MESSAGE, Standing, report};
use crate::lifecycle::request::{Request, Wish, begin};
use crate::lifecycle::step::{Announcement, Effect, EventReason};
use crate::lifecycle::verdict::Verdict;
use crate::lifecycle::{bounds, cause, outputs, project};

/// Outputs are waited for so long when something that passes is in the way; they never decide, and hardly delay, a
/// verdict.
const OUTPUTS_IN_ALL: Duration = Duration::from_secs(30);

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
    let message = message(run, verdict, read);
    let ended = Timestamp::from_millisecond(run.end_time).ok().filter(|_| run.end_time > 0);
    next.completion_time = Some(stamp(ended.unwrap_or(now.wall)));
    conclude(seen, next, run.run_id, verdict, &message, read, now)
}

/// Ends a run that Databricks no longer knows.
pub(super) fn without_run(seen: &Observed<'_>, run: RunId, verdict: Verdict, now: Now) -> Step {
    let message = format!(
        "Databricks no longer knows run {run}: it was deleted there, or is older than 60 days. How it ended is not known; \
         it is not started again"
    );
    conclude(seen, seen.status().clone(), run, verdict, &message, &[], now)
}

fn conclude(
    seen: &Observed<'_>,
    mut next: DatabricksRunStatus,
    run: RunId,
    verdict: Verdict,
    message: &str,
    read: &[TaskOutput],
    now: Now,
) -> Step {
    let standing = if verdict.succeeded() { Standing::Succeeded } else { Standing::Failed };
    next.state = Some(verdict.state.as_str().to_owned());
    report(&mut next, standing, verdict.reason, message, seen.subject.generation, now);
    let announce = vec![announcement(verdict, run, message)];
    let request = seen.subject.spec.ok().and_then(Request::of);
    if let Some(request) = request
        && seen.subject.deletion.is_none()
        && let Wish::New(key) = Wish::of(seen, &request)
    {
        let ended = Observed { subject: crate::lifecycle::Subject { status: &next, ..seen.subject }, ..*seen };
        let mut begun = begin(&ended, &key, &request, now);
        // Nobody shall see the end of a request that is not the newest.
        begun.conditions.clone_from(&seen.status().conditions);
        let wait = "the newer request is being started";
        report(&mut begun, Standing::Reconciling, Reason::Pending, wait, seen.subject.generation, now);
        debug_assert!(matches!(Phase::of(&begun), Phase::Idle));
        return record(begun, announce);
    }
    let size = serde_json::to_string(&next).map_or(project::MAX_STATUS, |json| json.len());
    let left = project::MAX_STATUS.saturating_sub(size + ROOM_FOR_NAME);
    next.outputs = outputs::fit(read, output_bytes(seen), left);
    record(next, announce)
}

/// Bytes that the list of outputs itself takes in the JSON.
const ROOM_FOR_NAME: usize = 64;

fn output_bytes(seen: &Observed<'_>) -> usize {
    let asked = seen.subject.spec.ok().and_then(|spec| spec.output.as_ref()).and_then(|output| output.max_bytes);
    asked.and_then(|bytes| usize::try_from(bytes).ok()).unwrap_or(outputs::DEFAULT_BYTES).min(outputs::MAX_BYTES)
}

fn message(run: &Run, verdict: Verdict, read: &[TaskOutput]) -> String {
    let id = run.run_id;
    let text = match (verdict.state, verdict.reason) {
        (_, Reason::RunSucceeded) => format!("run {id} succeeded"),
        (_, Reason::RunSucceededWithFailures) => {
            format!("run {id} succeeded, though tasks failed: {}", cause::sentence(run, read))
        }
        (_, Reason::ResultMissing) => {
            format!("run {id} ended, but Databricks gives no result for it; it counts as failed. Look at its page")
        }
        (State::Canceled, _) => format!("run {id} was canceled: {}", cause::sentence(run, read)),
        (State::TimedOut, _) => {
            format!("run {id} reached a time limit set in Databricks: {}", cause::sentence(run, read))
        }
        (State::Skipped, _) => format!("run {id} was skipped by Databricks: {}", cause::sentence(run, read)),
        _ => format!("run {id} failed: {}", cause::sentence(run, read)),
    };
    bounds::one_line(&text, MAX_MESSAGE)
}

fn announcement(verdict: Verdict, run: RunId, message: &str) -> Announcement {
    let note = if message.contains(&run.to_string()) { message.to_owned() } else { format!("run {run}: {message}") };
    match verdict.state {
        State::Succeeded => Announcement::normal(EventReason::RunSucceeded, &note),
        State::Canceled => Announcement::warning(EventReason::RunCanceled, &note),
        _ => Announcement::warning(EventReason::RunFailed, &note),
    }
}
