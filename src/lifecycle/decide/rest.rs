//! Nothing is due any more: let go of the object, take note of what was seen, and in the end delete it, if it shall be.

use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::repair::forbidden;
use super::{Step, pinned, put_on_hold, record};
use crate::api::conditions::{FINISHED, Reason, State};
use crate::api::run::DatabricksRunSpec;
use crate::api::status::{Backoff, DatabricksRunStatus, Endpoint, NextAttempt};
use crate::databricks::ids::RunId;
use crate::lifecycle::observed::{Now, Observed};
use crate::lifecycle::report::{Standing, current_message, current_reason, report};
use crate::lifecycle::request::{FollowedBy, Request, accepted, past, remember};
use crate::lifecycle::step::{Announcement, EventReason, MetadataChange};
use crate::lifecycle::verdict::Verdict;

pub(super) fn decide(seen: &Observed<'_>, now: Now) -> Step {
    let status = seen.status();
    let ended = status.completion_time.is_some();
    if ended && repair_asked(seen, status) && seen.subject.spec.is_ok() {
        return repair(seen, now);
    }
    if seen.subject.held {
        return Step::Mark(MetadataChange::Release { announce: Vec::new() });
    }
    let seen_all = noted(seen);
    if ended && seen_all != *status {
        return record(seen_all, Vec::new());
    }
    if ended { time_to_live(seen, now) } else { Step::Wait(None) }
}

/// The status with the newest generation, and the token of a cancellation that had nothing to cancel any more.
fn noted(seen: &Observed<'_>) -> DatabricksRunStatus {
    let mut next = seen.status().clone();
    next.observed_generation = Some(seen.subject.generation);
    for condition in &mut next.conditions {
        condition.observed_generation = Some(seen.subject.generation);
    }
    next.last_handled_cancel = accepted(seen.subject.cancel, next.last_handled_cancel.as_deref());
    next
}

/// Whether the repair annotation has a token that was not honoured yet.
pub(super) fn repair_asked(seen: &Observed<'_>, status: &DatabricksRunStatus) -> bool {
    accepted(seen.subject.repair, status.last_handled_repair.as_deref()) != status.last_handled_repair
}

/// A person asks to re-run what failed: the ended run waits for its repair as for any next attempt, but not long.
fn repair(seen: &Observed<'_>, now: Now) -> Step {
    let token = accepted(seen.subject.repair, seen.status().last_handled_repair.as_deref());
    if let Err(why) = repairable(seen) {
        let mut next = noted(seen);
        next.last_handled_repair = token;
        let note = format!("nothing is repaired: {why}");
        return record(next, vec![Announcement::warning(EventReason::RepairRefused, &note)]);
    }
    if !seen.subject.held {
        return put_on_hold(seen.status().serial.unwrap_or(1));
    }
    let mut next = noted(seen);
    next.last_handled_repair = token;
    remember(&mut next, past(seen.status(), FollowedBy::Repair));
    next.cancel = None;
    count_anew(&mut next, now);
    next.backoff = Some(Backoff { action: NextAttempt::Repair, until: now.stamp() });
    next.state = Some(State::Retrying.as_str().to_owned());
    let was = current_message(seen.status()).unwrap_or_default();
    let message = format!("a repair was requested; before it: {was}");
    report(&mut next, Standing::Reconciling, Reason::ProgressingWithRetry, &message, seen.subject.generation, now);
    record(next, Vec::new())
}

/// A person's repair is a new wish: the deadlines count from here and from the repair, not from a start that may be days ago.
pub(super) fn count_anew(next: &mut DatabricksRunStatus, now: Now) {
    next.requested_at = Some(now.stamp());
    next.first_submit_time = None;
}

/// Whether what failed of the ended run can be re-run; else why not.
fn repairable(seen: &Observed<'_>) -> Result<(), String> {
    let status = seen.status();
    let spec = seen.subject.spec?;
    if !of_a_saved_job(spec) {
        return Err("Databricks repairs runs of saved jobs only; request a re-run instead".to_owned());
    }
    if spec.suspend || spec.cancel {
        return Err("spec.suspend or spec.cancel is true; set it to false first".to_owned());
    }
    if status.run_id.as_ref().is_none_or(|run| run.parse::<RunId>().is_err()) {
        return Err("no run was ever started; request a re-run instead".to_owned());
    }
    match current_reason(status) {
        Some(reason) if reason == Reason::RunSucceeded.as_str() => return Err("the run has succeeded".to_owned()),
        Some(reason) if reason == Reason::RunNotFound.as_str() => {
            return Err("Databricks no longer knows the run; request a re-run instead".to_owned());
        }
        _ => {}
    }
    if let Some((_, why)) = forbidden(seen) {
        return Err(why);
    }
    pinned(seen).map(drop).map_err(|(_, why)| why)
}

fn of_a_saved_job(spec: &DatabricksRunSpec) -> bool {
    Request::of(spec).is_some_and(|request| request.endpoint == Endpoint::RunNow)
}

/// Whether a run that ends like this, and is not to be cancelled, can be repaired at once.
pub(super) fn can_repair(spec: &DatabricksRunSpec, verdict: Verdict) -> bool {
    of_a_saved_job(spec) && !spec.suspend && !matches!(verdict.reason, Reason::RunNotFound | Reason::RunSucceeded)
}

/// How long an object still has to live that has been finished since then: from when it could be read that its run has ended, which
/// may be long after the end.
#[must_use]
pub fn time_left(finished: &Time, seconds: u64, now: Now) -> Duration {
    Duration::from_secs(seconds).saturating_sub(now.since(finished.0))
}

/// A finished object goes when its time is up, unless a GitOps tool would only put it back and run it again.
fn time_to_live(seen: &Observed<'_>, now: Now) -> Step {
    let seconds = seen.subject.spec.ok().and_then(|spec| spec.ttl_seconds_after_finished);
    let Some(seconds) = seconds.and_then(|seconds| u64::try_from(seconds).ok()) else { return Step::Wait(None) };
    let status = seen.status();
    let finished = status.conditions.iter().find(|condition| condition.type_ == FINISHED);
    let left = finished
        .map_or(Duration::from_secs(seconds), |finished| time_left(&finished.last_transition_time, seconds, now));
    if !left.is_zero() {
        return Step::Wait(Some(left));
    }
    let Some(mark) = seen.subject.kept_by else {
        let note = format!("finished more than {seconds} s ago (spec.ttlSecondsAfterFinished), so it is deleted");
        return Step::DeleteSelf(Announcement::normal(EventReason::TTLExpired, &note));
    };
    if status.ttl_skipped_by.as_deref() == Some(mark) {
        return Step::Wait(None);
    }
    let mut next = status.clone();
    next.ttl_skipped_by = Some(mark.to_owned());
    let note = format!(
        "kept although spec.ttlSecondsAfterFinished has passed: `{mark}` says that a tool would put it back, and run it again"
    );
    record(next, vec![Announcement::warning(EventReason::TTLSkipped, &note)])
}
