//! What log lines about a run's object carry, whoever writes them: each is in the span that is made here.

use kube::Resource;
use tracing::Span;
use tracing::field::Empty;

use super::kept::Kept;
use super::ports::Place;
use crate::api::status::DatabricksRunStatus;

/// The span of whatever happens to an object. It is there at every level that is not off.
pub(super) fn about(place: &Place, kept: Option<&Kept>) -> Span {
    let uid = kept.and_then(|kept| kept.meta().uid.as_deref());
    let (namespace, name) = (&*place.namespace, &*place.name);
    let span = tracing::error_span!("run", namespace, name, uid, run_id = Empty, attempt = Empty);
    span.record("run_id", kept.and_then(Kept::run).map(tracing::field::display));
    span.record("attempt", kept.and_then(Kept::attempt));
    span
}

/// Says which run it is about, now that this is known.
pub(super) fn of_run(status: &DatabricksRunStatus) {
    tell(&Span::current(), status);
}

fn tell(span: &Span, status: &DatabricksRunStatus) {
    span.record("run_id", status.run_id.as_deref());
    span.record("attempt", status.attempt);
}
