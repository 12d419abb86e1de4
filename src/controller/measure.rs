//! Figures that nobody counts as they change: how many runs are in which state, how many objects are known, how the
//! workspaces are, and how far the looking at live runs has come.

use std::collections::HashMap;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use kube::runtime::reflector::Store;

use super::connections::Connections;
use super::gate::Gate;
use super::kept::Kept;
use super::looks::place_of;
use super::ports::Place;
use super::watch::{Complete, Listing, RUN};
use crate::databricks::ids::RunId;
use crate::telemetry::Metrics;
use crate::telemetry::metrics::Polling;

/// They are told this often.
const MEASURE: Duration = Duration::from_secs(5);
/// While live runs have not been looked at, this often.
const MEASURE_CLOSELY: Duration = Duration::from_secs(1);

/// Tells them, again and again, and whenever a term of ours begins.
pub(super) async fn measure(
    gate: Gate,
    connections: Arc<Connections>,
    stores: Vec<Store<Kept>>,
    complete: Vec<Complete>,
    metrics: Arc<Metrics>,
) {
    let mut terms = pin!(gate.terms());
    loop {
        metrics.set_stored(RUN, stores.iter().map(Store::len).sum());
        connections.measure();
        let figures = runs(&stores);
        let is_known = complete.iter().all(|complete| *complete.borrow() == Listing::Done);
        let polling = is_known.then(|| connections.polling(&figures.live));
        // Told by one replica, or sums would count everything twice. Asked last: what was just cleared stays so.
        let leads = gate.is_open();
        metrics.set_runs(if leads { figures.states } else { HashMap::new() });
        metrics.set_polling(polling.filter(|_| leads));
        let all_looked_at = matches!(polling, Some(Polling { unread: 0, .. }));
        let pause = if leads && !all_looked_at { MEASURE_CLOSELY } else { MEASURE };
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            Some(()) = terms.next() => {}
        }
    }
}

/// What is told of the objects.
struct Figures {
    states: HashMap<&'static str, usize>,
    /// The runs that are under way, and whose they are.
    live: Vec<(Place, RunId)>,
}

fn runs(stores: &[Store<Kept>]) -> Figures {
    let mut figures = Figures { states: HashMap::new(), live: Vec::new() };
    for kept in stores.iter().flat_map(Store::state) {
        *figures.states.entry(kept.state()).or_default() += 1;
        figures.live.extend(kept.run().map(|run| (place_of(&kept), run)));
    }
    figures
}
