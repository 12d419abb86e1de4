//! Suspension: nothing starts until the object is resumed, and then its request starts anew, as a suspended Job does.

use super::{Step, record};
use crate::api::conditions::{Reason, State};
use crate::api::status::DatabricksRunStatus;
use crate::lifecycle::control::is_suspended;
use crate::lifecycle::observed::{Now, Observed};
use crate::lifecycle::report::{Standing, report};
use crate::lifecycle::step::{Announcement, EventReason, MetadataChange};

const MESSAGE: &str = "nothing is started while spec.suspend is true";

/// The request is held; `next` is the status in which it would begin.
pub(super) fn suspended(seen: &Observed<'_>, next: DatabricksRunStatus, now: Now) -> Step {
    let held = held(seen, next, now);
    if held == *seen.status() {
        // An object at rest needs no operator to be deleted.
        return if seen.subject.held {
            Step::Mark(MetadataChange::Release { announce: Vec::new() })
        } else {
            Step::Wait(None)
        };
    }
    let announce = if is_suspended(seen.status()) {
        Vec::new()
    } else {
        vec![Announcement::normal(EventReason::Suspended, MESSAGE)]
    };
    record(held, announce)
}

/// The status of a held request. The deadlines begin anew when it is resumed.
pub(super) fn held(seen: &Observed<'_>, mut next: DatabricksRunStatus, now: Now) -> DatabricksRunStatus {
    next.state = Some(State::Suspended.as_str().to_owned());
    (next.attempt, next.retries, next.first_submit_time, next.execution_start_time) = (None, None, None, None);
    report(&mut next, Standing::Held, Reason::Suspended, MESSAGE, seen.subject.generation, now);
    next
}

/// A held request goes on.
pub(super) fn resumed(seen: &Observed<'_>, mut next: DatabricksRunStatus, now: Now) -> Step {
    const RESUMED: &str = "the object was resumed; its run is being started";
    next.state = Some(State::Pending.as_str().to_owned());
    next.requested_at = Some(now.stamp());
    report(&mut next, Standing::Reconciling, Reason::Pending, RESUMED, seen.subject.generation, now);
    record(next, vec![Announcement::normal(EventReason::Resumed, RESUMED)])
}
