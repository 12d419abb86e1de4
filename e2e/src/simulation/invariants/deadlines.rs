//! What holds of the two deadlines.

use std::time::Duration;

use databricks_run_operator::api::run::RunObject;
use databricks_run_operator::api::status::{CancelCause, DatabricksRunStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::Invariant;
use super::writes::uid;
use crate::simulation::clock::epoch_millis;
use crate::simulation::world::World;

/// Databricks' time of an answer may be so much later than the question.
const ROUND_TRIP: Duration = Duration::from_secs(31);

/// A deadline is given as the cause of a cancellation, or as the reason of an end without a run.
pub(super) fn causes(world: &mut World, object: &RunObject, old: &DatabricksRunStatus, new: &DatabricksRunStatus) {
    let of = |status: &DatabricksRunStatus| status.cancel.as_ref().map(|cancel| cancel.cause);
    let ended = new.completion_time.is_some() && old.completion_time.is_none() && of(new).is_none();
    let reason = new.conditions.iter().find(|it| it.type_ == "Ready").map(|it| it.reason.as_str()).filter(|_| ended);
    let cause = match (of(new), reason) {
        (Some(cause), _) if of(old) != Some(cause) => cause,
        (_, Some("StartingDeadlineExceeded")) => CancelCause::StartingDeadline,
        (_, Some("DeadlineExceeded")) => CancelCause::ActiveDeadline,
        _ => return,
    };
    // An attempt that had ended so before is the last one after all.
    if old.attempts.first().is_some_and(|last| Some(last.reason.as_str()) == reason) {
        return;
    }
    let (limit, since) = match cause {
        CancelCause::StartingDeadline => ("startingDeadlineSeconds", &old.requested_at),
        CancelCause::ActiveDeadline => ("activeDeadlineSeconds", &old.first_submit_time),
        _ => return,
    };
    let limit = object.spec.get(limit).and_then(serde_json::Value::as_u64).map(Duration::from_secs);
    let (Some(limit), Some(since)) = (limit, since) else {
        let how = format!("{}: {cause:?} with the limit {limit:?}, beginning {since:?}", uid(object));
        return world.break_promise(Invariant::DeadlineFirst, how);
    };
    if let Some(early) = early(world, new, cause, limit, since) {
        let how = format!("{}: {cause:?} {early:?} too early", uid(object));
        world.break_promise(Invariant::DeadlineFirst, how);
    }
    world.tally.count("deadlines", format!("{cause:?}"));
}

/// By how much it is too early, as far as that can be said: where clocks are wrong, only a live run's own time is sure.
fn early(
    world: &mut World,
    status: &DatabricksRunStatus,
    cause: CancelCause,
    limit: Duration,
    since: &Time,
) -> Option<Duration> {
    let by = |passed: Duration| Some(limit.saturating_sub(passed)).filter(|early| !early.is_zero());
    let now = epoch_millis(world.now);
    let passed = |since: i64| Duration::from_millis(u64::try_from(now.saturating_sub(since)).unwrap_or(0));
    let by_stamp = by(passed(since.0.as_millisecond()));
    if world.mood.clocks == 0 {
        return by_stamp;
    }
    let run = status.run_id.as_ref().and_then(|run| run.parse::<i64>().ok());
    let run = run.and_then(|run| world.hosts.iter().find_map(|host| host.runs.get(&run)));
    let jumped = world.processes.iter().any(|process| process.clocks.jumped.is_some());
    match run.filter(|_| !jumped) {
        Some(run)
            if status.cancel.is_some()
                && cause == CancelCause::ActiveDeadline
                && status.retries.is_none()
                && status.submit_time == status.first_submit_time =>
        {
            by(world.now.saturating_sub(run.started) + ROUND_TRIP)
        }
        _ => {
            if by_stamp.is_some() {
                world.tally.count("exceptions", "a deadline by a clock that was wrong");
            }
            None
        }
    }
}
