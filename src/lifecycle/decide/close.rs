//! Nothing of a request is under way in Databricks, and it shall not go on: another begins, it is held, or it ends.

use super::start::ended_by_deadline;
use super::{Step, hold, record};
use crate::api::conditions::Reason;
use crate::api::status::CancelCause;
use crate::lifecycle::observed::{Now, Observed};
use crate::lifecycle::report::{Standing, report};
use crate::lifecycle::request::{Request, Wish, begin};
use crate::lifecycle::run_key::RunKey;

/// What was surely not sent is closed for this cause; `canceled` ends the request.
pub(super) fn close(seen: &Observed<'_>, cause: CancelCause, now: Now, canceled: impl FnOnce() -> Step) -> Step {
    let request = seen.subject.spec.ok().and_then(Request::of);
    match (cause, request) {
        (CancelCause::Suspension | CancelCause::Replacement, Some(request)) => match Wish::of(seen, &request) {
            Wish::Same(key) | Wish::New(key) if cause == CancelCause::Suspension => {
                hold::suspended(seen, begin(seen, &key, &request, now), now)
            }
            Wish::Same(key) | Wish::New(key) => begin_anew(seen, &key, &request, now),
            Wish::UnknownVersion => canceled(),
        },
        (CancelCause::StartingDeadline | CancelCause::ActiveDeadline, _) => {
            ended_by_deadline(seen, seen.status().clone(), cause, now)
        }
        _ => canceled(),
    }
}

/// The newest request begins.
pub(super) fn begin_anew(seen: &Observed<'_>, key: &RunKey, request: &Request<'_>, now: Now) -> Step {
    let mut begun = begin(seen, key, request, now);
    let message = "the newer request is being started";
    report(&mut begun, Standing::Reconciling, Reason::Pending, message, seen.subject.generation, now);
    record(begun, Vec::new())
}
