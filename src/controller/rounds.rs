//! What goes round beside the controllers: wakes on their way to the right controller, runs woken when their workspace
//! changes, and the search for objects that vanished without a word.

use std::collections::HashMap;
use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use futures::stream::BoxStream;
use kube::Resource;
use kube::runtime::reflector::{ObjectRef, Store};
use serde_json::Value;
use tokio::sync::mpsc;

use super::connections::Connections;
use super::gate::Gate;
use super::kept::Kept;
use super::looks::place_of;
use super::ports::Place;
use super::process::Operator;
use super::subject::WorkspaceKey;
use super::watch::{Complete, all_known};
use crate::api::run::RunObject;
use crate::api::workspace::WorkspaceKind;
use crate::telemetry::Metrics;

/// Objects that are remembered but not in the store any more are looked for this often.
const SWEEP: Duration = Duration::from_mins(1);
/// What we wrote is held until the watch has it, which is soon, and sometimes nobody looks at the object then.
const CATCH_UP: Duration = Duration::from_secs(5);
/// Workspace objects that are no more are noticed this fast.
const RETIRE: Duration = Duration::from_secs(1);
/// Objects that wait for a workspace to start something are woken so fast, on average: fifty a second. Each is a call to
/// Databricks and some writes.
const TO_START: Pause = Pause { each: Duration::from_millis(20), longest: Duration::from_mins(1) };
/// Those whose run is under way are woken so fast: a thousand a second. All it costs is a look; the poller spreads the rest.
const TO_FOLLOW: Pause = Pause { each: Duration::from_millis(1), longest: Duration::from_secs(3) };

/// Follows no run while this process does not lead.
pub(super) async fn stand_by(gate: Gate, connections: Arc<Connections>, metrics: Arc<Metrics>) {
    loop {
        gate.opened().await;
        gate.shut().await;
        connections.follow_nothing();
        metrics.set_runs([]);
        metrics.set_polling(None);
    }
}

/// Notices workspace objects that are no more.
pub(super) async fn retire(connections: Arc<Connections>, complete: Vec<Complete>) {
    all_known(complete).await;
    loop {
        tokio::time::sleep(RETIRE).await;
        connections.retire_missing();
    }
}

/// Wakes the runs of namespaces whose labels have changed: those that name a workspace of the whole cluster.
pub(super) async fn follow_labels(
    mut relabelled: BoxStream<'static, String>,
    stores: Vec<Store<Kept>>,
    wakes: mpsc::Sender<Place>,
) {
    while let Some(namespace) = relabelled.next().await {
        let names = |object: &RunObject| {
            object.metadata.namespace.as_deref() == Some(&*namespace)
                && names(object).any(|(kind, _)| kind == Some(WorkspaceKind::ClusterDatabricksWorkspace))
        };
        wake(&stores, &wakes, names);
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

/// Wakes the runs that may wait for a workspace.
pub(super) fn wake_waiting(stores: &[Store<Kept>], workspace: &WorkspaceKey, wakes: &mpsc::Sender<Place>) {
    let means = |object: &RunObject| {
        let namespace = object.metadata.namespace.as_deref().unwrap_or_default();
        let workspaces = names(object).filter_map(|(kind, name)| Some(WorkspaceKey::meant_in(namespace, kind?, name)));
        workspaces.into_iter().any(|meant| meant == *workspace)
    };
    wake(stores, wakes, means);
}

/// The workspace objects that a run asks for and was sent to; the kind is none where this version does not know it.
fn names(object: &RunObject) -> impl Iterator<Item = (Option<WorkspaceKind>, &str)> {
    let asked = object.spec.pointer("/workspaceRef/name").and_then(Value::as_str).map(|name| {
        let kind = object.spec.pointer("/workspaceRef/kind").and_then(Value::as_str);
        (kind.map_or(Some(WorkspaceKind::default()), WorkspaceKind::of), name)
    });
    let pinned = object.status.as_ref().and_then(|status| status.workspace.as_ref());
    asked.into_iter().chain(pinned.map(|pin| (WorkspaceKind::of(&pin.kind), pin.name.as_str())))
}

/// Wakes the runs that are not done with and meet this, each in its turn.
fn wake(stores: &[Store<Kept>], wakes: &mpsc::Sender<Place>, meets: impl Fn(&RunObject) -> bool) {
    let calls = |kept: &Kept| !kept.is_done_with() && kept.whole().is_some_and(|object| meets(&object));
    let met = stores.iter().flat_map(Store::state).filter(|kept| calls(kept));
    for turns in turns(met) {
        if turns.is_empty() {
            continue;
        }
        let wakes = wakes.clone();
        tokio::spawn(async move {
            let begun = tokio::time::Instant::now();
            for (after, place) in turns {
                tokio::time::sleep_until(begun + after).await;
                // A controller that has ended takes the process with it.
                if wakes.send(place).await.is_err() {
                    return;
                }
            }
        });
    }
}

/// After how long each is woken, spread over a time that grows with their number: what was waited for by thousands must not be
/// asked for by thousands at once. Those that wait to start something do not hold up those whose run is under way.
fn turns(objects: impl Iterator<Item = Arc<Kept>>) -> [Vec<(Duration, Place)>; 2] {
    let (live, others): (Vec<_>, Vec<_>) = objects.partition(|kept| kept.run().is_some());
    [(TO_FOLLOW, live), (TO_START, others)].map(|(pause, objects)| {
        let spread = pause.spread(objects.len());
        let turn = |kept: &Arc<Kept>| (at(turn(kept), spread), place_of(kept));
        let mut turns: Vec<_> = objects.iter().map(turn).collect();
        turns.sort_unstable();
        turns
    })
}

/// How far apart wakes are.
#[derive(Clone, Copy)]
struct Pause {
    /// On average.
    each: Duration,
    /// All of them together, however many they are.
    longest: Duration,
}

impl Pause {
    /// Over how long a time so many are woken.
    fn spread(self, count: usize) -> Duration {
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        self.each.saturating_mul(count.saturating_sub(1)).min(self.longest)
    }
}

/// An object's own place in the order: the same whenever it is woken.
fn turn(kept: &Kept) -> u64 {
    let mut hash = DefaultHasher::new();
    kept.meta().uid.hash(&mut hash);
    hash.finish()
}

/// When it is its turn.
fn at(turn: u64, spread: Duration) -> Duration {
    let whole = u128::from(turn) * spread.as_nanos();
    Duration::from_nanos(u64::try_from(whole >> u64::BITS).unwrap_or(u64::MAX))
}

/// Has the operator let go of what it wrote and the watch has by now: while thousands are started it would be held twice.
pub(super) async fn catch_up(operator: Arc<Operator>, stores: Vec<Store<Kept>>) {
    loop {
        tokio::time::sleep(CATCH_UP).await;
        for place in operator.ahead_of_the_watch() {
            let object = ObjectRef::<Kept>::new(&place.name).within(&place.namespace);
            if let Some(kept) = stores.iter().find_map(|store| store.get(&object)) {
                operator.caught_up(&place, &kept);
            }
        }
    }
}

/// Tells the operator of objects that vanished without a word, and wakes those that were overlooked.
pub(super) async fn sweep(
    operator: Arc<Operator>,
    wakes: mpsc::Sender<Place>,
    stores: Vec<Store<Kept>>,
    complete: Vec<Complete>,
) {
    all_known(complete).await;
    loop {
        for store in &stores {
            for kept in store.state() {
                let place = place_of(&kept);
                if operator.is_overlooked(&place, &kept) {
                    // A controller that has ended takes the process with it.
                    let _ = wakes.send(place).await;
                }
            }
        }
        for place in operator.remembered() {
            let object = ObjectRef::<Kept>::new(&place.name).within(&place.namespace);
            if stores.iter().all(|store| store.get(&object).is_none()) {
                operator.gone(&place).await;
            }
        }
        tokio::time::sleep(SWEEP).await;
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use kube::runtime::{reflector, watcher};

    use super::*;

    #[expect(clippy::needless_pass_by_value, reason = "reads better where it is called")]
    fn run(namespace: &str, name: &str, workspace: Value, status: Value) -> Value {
        let metadata = json!({"namespace": namespace, "name": name, "uid": format!("{namespace}/{name}")});
        json!({"metadata": metadata, "spec": {"workspaceRef": workspace}, "status": status})
    }

    fn kept(object: &Value) -> Kept {
        Kept::from(serde_json::from_value::<RunObject>(object.clone()).unwrap())
    }

    async fn woken(objects: &[Value], workspace: &WorkspaceKey) -> Vec<String> {
        let (store, mut writer) = reflector::store();
        for object in objects {
            writer.apply_watcher_event(&watcher::Event::Apply(kept(object)));
        }
        let (wakes, mut woken) = mpsc::channel(100);
        wake_waiting(&[store], workspace, &wakes);
        drop(wakes);
        let mut places = Vec::new();
        while let Some(place) = woken.recv().await {
            places.push(place.to_string());
        }
        places.sort();
        places
    }

    #[tokio::test]
    async fn only_runs_that_mean_this_workspace_and_are_not_done_with_are_woken() {
        let cluster = || json!({"kind": "ClusterDatabricksWorkspace", "name": "prod"});
        let pin = json!({"kind": "ClusterDatabricksWorkspace", "name": "prod", "host": "", "jobsApiVersion": ""});
        let objects = [
            run("a", "own", json!({"name": "prod"}), json!({})),
            run("b", "own", json!({"name": "prod"}), json!({})),
            run("a", "shared", cluster(), json!({})),
            run("b", "shared", cluster(), json!({})),
            run("b", "sent-there", json!({"name": "other"}), json!({"workspace": pin})),
            run("b", "done", cluster(), json!({"completionTime": "2026-01-01T00:00:00Z"})),
            run("b", "newer", json!({"kind": "FederatedWorkspace", "name": "prod"}), json!({})),
        ];
        let own = WorkspaceKey::meant_in("a", WorkspaceKind::DatabricksWorkspace, "prod");
        assert_eq!(woken(&objects, &own).await, ["a/own"]);
        let shared = WorkspaceKey::meant_in("a", WorkspaceKind::ClusterDatabricksWorkspace, "prod");
        assert_eq!(woken(&objects, &shared).await, ["a/shared", "b/sent-there", "b/shared"]);
    }

    #[test]
    fn the_more_there_are_the_longer_it_takes_and_never_longer_than_a_minute() {
        assert_eq!(TO_START.spread(1), Duration::ZERO);
        assert_eq!(TO_START.spread(51), Duration::from_secs(1));
        assert_eq!(TO_START.spread(1_000_000), Duration::from_mins(1));
        let minute = Duration::from_mins(1);
        assert!(at(u64::MAX, minute) <= minute && at(u64::MAX / 2, minute) > Duration::from_secs(29));
        assert_eq!(at(0, minute), Duration::ZERO);
    }

    #[test]
    fn runs_under_way_are_woken_within_seconds_whatever_waits_to_be_started() {
        let live = json!({"runId": "7", "lifeCycleState": "RUNNING"});
        let object = |number: usize| {
            let status = if number.is_multiple_of(2) { live.clone() } else { json!({}) };
            Arc::new(kept(&run("a", &format!("run-{number}"), json!({"name": "prod"}), status)))
        };
        let [to_follow, to_start] = turns((0..4000).map(object));
        assert_eq!((to_follow.len(), to_start.len()), (2000, 2000));
        let within = |turns: &[(Duration, Place)], time| turns.iter().filter(|(after, _)| *after <= time).count();
        assert_eq!(within(&to_follow, Duration::from_secs(2)), 2000);
        assert!(within(&to_follow, Duration::from_millis(100)) < 200, "spread");
        assert!(within(&to_start, Duration::from_secs(10)) < 800, "what is to be started takes its time");
        assert!(to_follow.is_sorted() && to_start.is_sorted());
    }
}
