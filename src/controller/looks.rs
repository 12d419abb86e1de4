//! What the controllers call: one look at an object, counted, with a panic contained, and what follows a look that failed.

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::{FutureExt, Stream, StreamExt};
use kube::ResourceExt;
use kube::runtime::Controller;
use kube::runtime::controller::Action;
use kube::runtime::reflector::{ObjectRef, Store};

use super::about::about;
use super::kept::Kept;
use super::ports::{Place, StoreError};
use super::process::Operator;
use super::reconcile::{Next, after_failure};
use super::subject::Workspace;
use super::watch::Changes;
use super::workspaces::Workspaces;
use crate::telemetry::metrics::ReconcileResult;

/// Looks at the runs' objects whenever they change or are woken, and at all of them when a term begins, until it is told to stop.
///
/// There is no cap: of more objects than a cap admits the next would be the first in hash order, and never some. All looks begin
/// when they are due, and wait for their turn at what is scarce, first come first served.
pub(super) fn looks_at_runs(
    changes: Changes<Kept>,
    store: Store<Kept>,
    woken: impl Stream<Item = ObjectRef<Kept>> + Send + 'static,
    terms: impl Stream<Item = ()> + Send + 'static,
    stop: impl Future<Output = ()> + Send + Sync + 'static,
    operator: Arc<Operator>,
) -> impl Future<Output = ()> + Send {
    Controller::for_stream(changes, store)
        .reconcile_on(woken)
        .reconcile_all_on(terms)
        .graceful_shutdown_on(stop)
        .run(look_at_run, after_run_failure, operator)
        .for_each(|_| std::future::ready(()))
}

/// Looks at a run's object.
async fn look_at_run(kept: Arc<Kept>, operator: Arc<Operator>) -> Result<Action, StoreError> {
    let place = place_of(&kept);
    let begun = Instant::now();
    let _underway = operator.metrics().reconcile_begins("databricksrun");
    // A panic is contained to its object: it is a bug, and no reason to stop everybody's runs.
    let look = std::panic::AssertUnwindSafe(operator.reconcile(&place, &kept)).catch_unwind().await;
    let metrics = operator.metrics();
    let Ok(next) = look else {
        metrics.reconcile_panicked("databricksrun");
        about(&place, Some(&kept))
            .in_scope(|| tracing::error!("a look at this object panicked; it is looked at again in a minute"));
        return Ok(Action::requeue(Duration::from_mins(1)));
    };
    let result = match &next {
        Ok(Next::OnChange) => ReconcileResult::Success,
        Ok(Next::Now | Next::After(_)) => ReconcileResult::RequeueAfter,
        Err(_) => ReconcileResult::Error,
    };
    metrics.reconciled("databricksrun", result, begun.elapsed());
    next.map(|next| match next {
        Next::Now => Action::requeue(Duration::ZERO),
        Next::After(wait) => Action::requeue(wait),
        Next::OnChange => Action::await_change(),
    })
}

#[expect(clippy::needless_pass_by_value, reason = "the shape the controller asks for")]
fn after_run_failure(kept: Arc<Kept>, error: &StoreError, _: Arc<Operator>) -> Action {
    about(&place_of(&kept), Some(&kept))
        .in_scope(|| tracing::warn!(reason = error.reason(), %error, "a look failed and is repeated"));
    Action::requeue(after_failure(error))
}

/// The workspaces of one watch.
pub(super) struct Watched<K: Workspace + 'static> {
    pub(super) store: Store<K>,
    pub(super) workspaces: Workspaces,
}

/// Looks at a workspace object.
pub(super) async fn look_at_workspace<K: Workspace>(
    object: Arc<K>,
    watched: Arc<Watched<K>>,
) -> Result<Action, StoreError> {
    // The newest: the object handed in may be older than our own last write.
    let object = watched.store.get(&ObjectRef::from_obj(&*object)).unwrap_or(object);
    if !watched.workspaces.connections.leads() {
        // Who begins to lead looks at all of them.
        return Ok(Action::await_change());
    }
    let begun = Instant::now();
    let _underway = watched.workspaces.kubernetes.metrics().reconcile_begins("databricksworkspace");
    let next = watched.workspaces.reconcile(&*object).await;
    let result = if next.is_ok() { ReconcileResult::RequeueAfter } else { ReconcileResult::Error };
    watched.workspaces.kubernetes.metrics().reconciled("databricksworkspace", result, begun.elapsed());
    next.map(Action::requeue)
}

#[expect(clippy::needless_pass_by_value, reason = "the shape the controller asks for")]
pub(super) fn after_workspace_failure<K: Workspace>(object: Arc<K>, error: &StoreError, _: Arc<Watched<K>>) -> Action {
    tracing::warn!(workspace = %object.key(), reason = error.reason(), %error, "a look failed and is repeated");
    Action::requeue(after_failure(error))
}

/// Where a run's object is.
pub(super) fn place_of(kept: &Kept) -> Place {
    Place { namespace: kept.namespace().unwrap_or_default().into(), name: kept.name_any().into() }
}

#[cfg(test)]
mod fairness;
