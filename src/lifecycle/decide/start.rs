//! Before a run: is one due, and is everything there to start it? The last step here writes the intent.

use super::finish::ended_without_run;
use super::{SAFETY_NET, Step, hold, obstacle, put_on_hold, reconciling, record, rest, shorter};
use crate::api::body_check::check_body;
use crate::api::conditions::{Reason, State};
use crate::api::run::{DatabricksRunSpec, WorkspaceRef};
use crate::api::status::{CancelCause, DatabricksRunStatus, Intent, WorkspacePin};
use crate::api::unknown_fields::unknown_fields;
use crate::api::workspace::WorkspaceKind;
use crate::lifecycle::control::{Asked, Reaction, Stage, is_suspended};
use crate::lifecycle::deadlines::{self, Deadline};
use crate::lifecycle::observed::{Now, Observed, WorkspaceView};
use crate::lifecycle::report::{Standing, current_reason, report};
use crate::lifecycle::request::{Request, Wish, begin};
use crate::lifecycle::step::{Announcement, Effect, EventReason, JobMatch, MetadataChange};
use crate::lifecycle::verdict::Verdict;

pub(super) fn decide(seen: &Observed<'_>, now: Now) -> Step {
    if let Some(step) = restored(seen, now) {
        return step;
    }
    let spec = match seen.subject.spec {
        Ok(spec) => spec,
        Err(why) => return unreadable(seen, why, now),
    };
    let Some(request) = Request::of(spec) else {
        return unreadable(seen, "exactly one of spec.runNow and spec.submit must be there", now);
    };
    let (next, key) = match Wish::of(seen, &request) {
        Wish::UnknownVersion => return unknown_version(seen, now),
        Wish::Same(_) if seen.status().completion_time.is_some() => return rest::decide(seen, now),
        Wish::Same(key) => (seen.status().clone(), key),
        Wish::New(key) => (begin(seen, &key, &request, now), key),
    };
    // Whatever stood there before, from here on the request has been looked at.
    match Asked::of(&seen.subject, &next).strongest(Stage::Held) {
        Some((_, Reaction::End)) => {
            let message = "the request was canceled before a run was started; nothing was sent";
            return ended_without_run(seen, next, Verdict::CANCELED, message, now);
        }
        Some((_, Reaction::Hold)) => return hold::suspended(seen, next, now),
        _ => {}
    }
    if is_suspended(&next) {
        return hold::resumed(seen, next, now);
    }
    let deadline = deadlines::before_run(&seen.subject, &next, now);
    if let Deadline::Reached(cause) = deadline {
        return ended_by_deadline(seen, next, cause, now);
    }
    let step = prepare(seen, spec, &request, Plan { base: &next, next: next.clone() }, key.as_str(), now);
    in_time(step, deadline)
}

/// A wait ends at the deadline.
pub(super) fn in_time(step: Step, deadline: Deadline) -> Step {
    match (step, deadline) {
        (Step::Wait(wait), Deadline::In(left)) => Step::Wait(Some(shorter(wait, left))),
        (step, _) => step,
    }
}

/// A deadline was reached and there is no run.
pub(super) fn ended_by_deadline(seen: &Observed<'_>, next: DatabricksRunStatus, cause: CancelCause, now: Now) -> Step {
    let (verdict, message) = match cause {
        CancelCause::StartingDeadline if next.run_id.is_some() => (
            Verdict::STARTING_DEADLINE,
            "no task was executing within spec.startingDeadlineSeconds; no further attempt is made",
        ),
        CancelCause::StartingDeadline => (
            Verdict::STARTING_DEADLINE,
            "no run was started within spec.startingDeadlineSeconds, so none is; nothing was sent",
        ),
        _ => {
            (Verdict::ACTIVE_DEADLINE, "spec.activeDeadlineSeconds was reached before the next attempt; it is not made")
        }
    };
    ended_without_run(seen, next, verdict, message, now)
}

/// The spec asks for nothing that can be read. What has ended stays ended; else say so, for nothing will happen by itself.
fn unreadable(seen: &Observed<'_>, why: &str, now: Now) -> Step {
    if seen.subject.held || seen.status().completion_time.is_some() {
        return rest::decide(seen, now);
    }
    let mut next = seen.status().clone();
    let message = format!("the spec cannot be read, so nothing is started: {why}");
    report(&mut next, Standing::Stuck, Reason::SpecUnreadable, &message, seen.subject.generation, now);
    if next == *seen.status() { Step::Wait(None) } else { record(next, Vec::new()) }
}

/// An object that carries another object's start mark and no status was restored or copied: starting it would run
/// history again. It waits for the re-run annotation to get a new token.
fn restored(seen: &Observed<'_>, now: Now) -> Option<Step> {
    let status = seen.status();
    let known = current_reason(status) == Some(Reason::Restored.as_str());
    let foreign = seen.subject.start_mark.is_some_and(|mark| !mark_is_ours(mark, seen.subject.uid));
    let new = foreign && status.run_key.is_none();
    if !known && !new {
        return None;
    }
    if known && Wish::asked_again(seen) {
        return None;
    }
    let message = "this object was restored or copied from one that has been run already, so nothing is started; to run \
                   it, annotate it: kubectl annotate dbrun NAME dbrun.dev/rerun-requested-at=\"$(date)\" --overwrite";
    let mut next = status.clone();
    next.last_handled_rerun = Wish::accepted_rerun(seen);
    next.state = Some(State::Pending.as_str().to_owned());
    report(&mut next, Standing::Stuck, Reason::Restored, message, seen.subject.generation, now);
    if next == *status {
        return Some(Step::Wait(None));
    }
    let announce = if known { Vec::new() } else { vec![Announcement::warning(EventReason::Restored, message)] };
    Some(record(next, announce))
}

fn mark_is_ours(mark: &str, uid: &str) -> bool {
    mark.split_once('/').is_some_and(|(marked, _)| marked == uid)
}

/// A newer operator wrote the run key: it can be said neither that a run is due nor that none is.
fn unknown_version(seen: &Observed<'_>, now: Now) -> Step {
    if seen.subject.held {
        return Step::Mark(MetadataChange::Release { announce: Vec::new() });
    }
    if seen.status().completion_time.is_some() {
        // It has ended; that stays true whoever wrote it.
        return Step::Wait(None);
    }
    stuck_by_version(seen, now)
}

/// Says that the newer operator is needed.
pub(super) fn stuck_by_version(seen: &Observed<'_>, now: Now) -> Step {
    let mut next = seen.status().clone();
    let message = "the status was written by a newer version of the operator, whose run keys this version cannot read; \
                   nothing is started. Upgrade the operator again, or delete and create the object";
    report(&mut next, Standing::Stuck, Reason::RunKeyVersionUnknown, message, seen.subject.generation, now);
    if next == *seen.status() { Step::Wait(None) } else { record(next, Vec::new()) }
}

/// A run that is about to be started.
pub(super) struct Plan<'a> {
    /// What the status is as long as something is in the way.
    pub(super) base: &'a DatabricksRunStatus,
    /// What the intent is written into.
    pub(super) next: DatabricksRunStatus,
}

/// Everything that must be there before the intent is written, one after the other.
pub(super) fn prepare(
    seen: &Observed<'_>,
    spec: &DatabricksRunSpec,
    request: &Request<'_>,
    plan: Plan<'_>,
    key: &str,
    now: Now,
) -> Step {
    let Plan { base, mut next } = plan;
    if let Err(refusal) = check_body(request.endpoint, request.body) {
        let message = format!("nothing was sent to Databricks: {refusal}");
        return ended_without_run(seen, next, Verdict::rejected(Reason::SubmitRejected), &message, now);
    }
    let pin = match seen.workspace {
        WorkspaceView::Ready { pin } => pin,
        WorkspaceView::Unchecked { .. } => return Step::Wait(Some(SAFETY_NET)),
        WorkspaceView::NotReady { reason, message, .. } => {
            return reconciling(seen, base.clone(), *reason, message, None, now);
        }
        WorkspaceView::NotAllowed { message, .. } => {
            return reconciling(seen, base.clone(), Reason::WorkspaceNotAllowed, message, None, now);
        }
        WorkspaceView::Missing | WorkspaceView::Retained { .. } => {
            let message = missing(&spec.workspace_ref);
            return reconciling(seen, base.clone(), Reason::WorkspaceNotFound, &message, None, now);
        }
    };
    let serial = next_serial(seen);
    let body = match resolve(seen, request, pin, &Plan { base, next: next.clone() }, &format!("{key} {serial}"), now) {
        Ok(body) => body,
        Err(step) => return *step,
    };
    if !seen.subject.held || seen.subject.start_mark != Some(&start_mark(seen.subject.uid, serial)) {
        return put_on_hold(serial);
    }
    let attempt = next.attempt.unwrap_or(0).saturating_add(1);
    next.intent = Some(Intent {
        run_key: key.to_owned(),
        attempt,
        serial,
        endpoint: request.endpoint,
        body,
        holder: seen.settings.holder.clone(),
        created_at: Some(now.stamp()),
        unresolved_since: None,
    });
    next.serial = Some(serial);
    next.attempt = Some(attempt);
    next.workspace = Some(pin.clone());
    next.state = Some(State::Pending.as_str().to_owned());
    report(&mut next, Standing::Reconciling, Reason::Pending, "the run is being started", seen.subject.generation, now);
    record(next, misspelt(request))
}

fn missing(workspace: &WorkspaceRef) -> String {
    let name = &workspace.name;
    match workspace.kind() {
        WorkspaceKind::DatabricksWorkspace => format!(
            "there is no DatabricksWorkspace `{name}` in this namespace; create it, or correct spec.workspaceRef.name (for \
             one of the whole cluster, set spec.workspaceRef.kind to ClusterDatabricksWorkspace)"
        ),
        WorkspaceKind::ClusterDatabricksWorkspace => format!(
            "there is no ClusterDatabricksWorkspace `{name}`, or this operator serves none (--cluster-workspaces); have \
             it created, or correct spec.workspaceRef"
        ),
    }
}

/// Fields that nobody knows are sent as they are, since Databricks may know them; a typing error must not go unnoticed.
fn misspelt(request: &Request<'_>) -> Vec<Announcement> {
    let unknown = unknown_fields(request.endpoint, request.body);
    if unknown.is_empty() {
        return Vec::new();
    }
    let list = unknown.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let note = format!("sent as written, although this version knows no such field: {list}");
    vec![Announcement::warning(EventReason::UnknownField, &note)]
}

/// The text of the annotation `dbrun.dev/start`.
#[must_use]
pub(crate) fn start_mark(uid: &str, serial: i64) -> String {
    format!("{uid}/{serial}")
}

/// One more than any serial this object has used. Where the status was lost, the mark still tells the last one that was
/// prepared, and that one is used again: if its run exists, Databricks returns it.
fn next_serial(seen: &Observed<'_>) -> i64 {
    let by_status = seen.status().serial.map_or(1, |serial| serial.saturating_add(1));
    let by_mark = seen
        .subject
        .start_mark
        .filter(|mark| mark_is_ours(mark, seen.subject.uid))
        .and_then(|mark| mark.split_once('/'))
        .and_then(|(_, serial)| serial.parse::<i64>().ok());
    by_mark.map_or(by_status, |by_mark| by_mark.max(by_status))
}

/// The body to send, with the job's name resolved; or the step that comes before it.
fn resolve(
    seen: &Observed<'_>,
    request: &Request<'_>,
    pin: &WorkspacePin,
    plan: &Plan<'_>,
    key: &str,
    now: Now,
) -> Result<String, Box<Step>> {
    let Some(name) = request.job_name else { return Ok(request.text(None)) };
    let found = match seen.memory.job.as_deref() {
        Some((known, found)) if known == key => *found,
        _ => {
            let failures = &seen.memory.preparation;
            let Some(wait) = failures.wait(now) else {
                let effect = Effect::FindJob { key: key.to_owned(), pin: pin.clone(), name: name.to_owned() };
                return Err(Box::new(Step::Remote(effect)));
            };
            let Some(error) = failures.last.as_deref() else { return Err(Box::new(Step::Wait(Some(wait)))) };
            let message = format!("the job `{name}` cannot be looked up yet: {}", error.told());
            let step = reconciling(seen, plan.base.clone(), obstacle(error), &message, Some(wait), now);
            return Err(Box::new(step));
        }
    };
    let (reason, message) = match found {
        JobMatch::One(job) => return Ok(request.text(Some(job))),
        JobMatch::None => (
            Reason::JobNotFound,
            format!(
                "the workspace has no job named `{name}` that the identity may see (names are case-sensitive); correct \
                 spec.jobName or grant CAN_MANAGE_RUN, then request a re-run"
            ),
        ),
        JobMatch::Several(count) => (
            Reason::JobNameAmbiguous,
            format!("the workspace has {count} jobs named `{name}`; use spec.runNow.job_id instead of spec.jobName"),
        ),
    };
    Err(Box::new(ended_without_run(seen, plan.next.clone(), Verdict::rejected(reason), &message, now)))
}
