//! What goes round beside the controllers: wakes on their way to the right controller, runs woken when their workspace
//! changes, and the search for objects that vanished without a word.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use kube::runtime::reflector::{ObjectRef, Store};
use tokio::sync::mpsc;

use super::connections::Connections;
use super::looks::place_of;
use super::ports::Place;
use super::process::Operator;
use super::watch::{Complete, all_known};
use crate::api::run::RunObject;
use crate::api::workspace::WorkspaceObject;
use crate::telemetry::Metrics;

/// Objects that are remembered but not in the store any more are looked for this often.
const SWEEP: Duration = Duration::from_mins(1);
/// Workspace objects that are no more are noticed this fast.
const RETIRE: Duration = Duration::from_secs(1);
/// Runs that wait for a workspace are woken spread over this time.
const WAKE_SPREAD: Duration = Duration::from_secs(2);

/// Notices workspace objects that are no more, in the one namespace that the store knows, or in all.
pub(super) async fn retire(served: Option<String>, store: Store<WorkspaceObject>, connections: Arc<Connections>) {
    loop {
        tokio::time::sleep(RETIRE).await;
        for (namespace, name) in connections.present() {
            // Of another namespace this store knows nothing, so nothing is missing.
            let known = served.as_ref().is_none_or(|served| *served == namespace);
            if known && store.get(&ObjectRef::new(&name).within(&namespace)).is_none() {
                connections.retire(&namespace, &name);
            }
        }
    }
}

/// Hands the pollers' wakes to the controller of their namespace.
pub(super) async fn distribute(mut woken: mpsc::Receiver<Place>, routes: HashMap<Option<String>, mpsc::Sender<Place>>) {
    while let Some(place) = woken.recv().await {
        let route = routes.get(&None).or_else(|| routes.get(&Some(place.namespace.to_string())));
        if let Some(route) = route {
            // A controller that has ended takes the process with it.
            let _ = route.send(place).await;
        }
    }
}

/// Wakes the runs that may wait for a workspace, spread over a moment.
pub(super) fn wake_waiting(runs: &Store<RunObject>, namespace: &str, workspace: &str, wakes: &mpsc::Sender<Place>) {
    let waiting: Vec<Place> = runs
        .state()
        .iter()
        .filter(|object| object.metadata.namespace.as_deref() == Some(namespace))
        .filter(|object| {
            object.status.as_ref().is_none_or(|status| status.completion_time.is_none()) || object.is_held()
        })
        .filter(|object| names_workspace(object, workspace))
        .map(|object| place_of(object))
        .collect();
    let wakes = wakes.clone();
    tokio::spawn(async move {
        let pause = WAKE_SPREAD.checked_div(u32::try_from(waiting.len()).unwrap_or(u32::MAX)).unwrap_or_default();
        for place in waiting {
            if wakes.send(place).await.is_err() {
                return;
            }
            tokio::time::sleep(pause).await;
        }
    });
}

fn names_workspace(object: &RunObject, workspace: &str) -> bool {
    let asked = object.spec.pointer("/workspaceRef/name").and_then(serde_json::Value::as_str);
    let pinned = object.status.as_ref().and_then(|status| status.workspace.as_ref()).map(|pin| pin.name.as_str());
    asked == Some(workspace) || pinned == Some(workspace)
}

/// Tells the operator of objects that vanished without a word, wakes those that were overlooked, and tells the metrics how
/// many runs are in which state.
pub(super) async fn sweep(
    operator: Arc<Operator>,
    wakes: mpsc::Sender<Place>,
    stores: Vec<Store<RunObject>>,
    complete: Vec<Complete>,
    metrics: Arc<Metrics>,
) {
    all_known(complete).await;
    loop {
        let mut states: HashMap<&'static str, usize> = HashMap::new();
        for store in &stores {
            for object in store.state() {
                *states.entry(state_of(&object)).or_default() += 1;
                let place = place_of(&object);
                if operator.is_overlooked(&place, &object) {
                    // A controller that has ended takes the process with it.
                    let _ = wakes.send(place).await;
                }
            }
        }
        metrics.set_runs(states);
        for place in operator.remembered() {
            let object = ObjectRef::new(&place.name).within(&place.namespace);
            if stores.iter().all(|store| store.get(&object).is_none()) {
                operator.gone(&place).await;
            }
        }
        tokio::time::sleep(SWEEP).await;
    }
}

/// The display state as a word from the fixed list: a label must never be what somebody wrote.
fn state_of(object: &RunObject) -> &'static str {
    use crate::api::conditions::State;
    let state = object.status.as_ref().and_then(|status| status.state.as_deref());
    State::ALL.iter().map(|state| state.as_str()).find(|word| state == Some(word)).unwrap_or(State::Pending.as_str())
}
