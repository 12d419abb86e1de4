//! The watches. Objects are stripped before they are kept; what no decision needs is not worth memory. Only infallible
//! streams reach the controllers: their triggers share one back-off, and a failing watch would hold up every wake.

use std::sync::Arc;

use futures::stream::BoxStream;
use futures::{Stream, StreamExt, TryStreamExt, future, stream};
use kube::api::ListParams;
use kube::runtime::reflector::{self, ObjectRef, Store};
use kube::runtime::{PredicateConfig, WatchStreamExt, predicates, watcher};
use kube::{Api, Client, Resource, ResourceExt};

use super::kept::Kept;
use super::operate::OperateError;
use super::ports::Clock;
use super::process::Clocks;
use super::subject::Workspace;
use crate::api::cluster_workspace::ClusterWorkspaceObject;
use crate::api::run::RunObject;
use crate::api::workspace::{WorkspaceKind, WorkspaceObject};
use crate::lifecycle::Settings;
use crate::poller::SystemClock;
use crate::telemetry::Metrics;

pub(super) const RUN: &str = "DatabricksRun";

/// Objects asked for at a time when everything is listed.
pub(super) const PAGE: u32 = 250;

/// What a watch gives: the objects there are, those that changed in a way that matters, and whether all are known.
pub(super) struct Watch<K: Resource<DynamicType = ()> + 'static> {
    pub(super) store: Store<K>,
    pub(super) changes: Changes<K>,
    pub(super) complete: Complete,
}

/// Objects that changed; never an error.
pub(super) type Changes<K> = BoxStream<'static, Result<K, watcher::Error>>;

/// How far a watch has come. (A store's own `wait_until_ready` wakes only one of those who wait.)
pub(super) type Complete = tokio::sync::watch::Receiver<Listing>;

/// How far a watch has come: whether everything has been listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Listing {
    /// Not yet.
    Awaited,
    /// The operator may not list this kind. It asks again.
    Forbidden(&'static str),
    /// All objects are known.
    Done,
}

/// Ends when everything has been listed.
pub(super) async fn all_known(complete: Vec<Complete>) {
    for mut complete in complete {
        // Fails only when the watch is gone, and then the process ends anyway.
        let _ = complete.wait_for(|listing| *listing == Listing::Done).await;
    }
}

/// What the operator may not list, each with what helps; empty if it only takes its time.
pub(super) fn forbidden(complete: &[Complete]) -> Vec<String> {
    let kinds = complete.iter().filter_map(|complete| match *complete.borrow() {
        Listing::Forbidden(kind) => Some(kind),
        Listing::Awaited | Listing::Done => None,
    });
    kinds.map(|kind| format!("the operator may not list and watch {kind} objects; {}", remedy(kind))).collect()
}

/// What helps who may not list this kind.
fn remedy(kind: &str) -> &'static str {
    if [WorkspaceKind::ClusterDatabricksWorkspace.as_str(), NAMESPACE].contains(&kind) {
        "grant it (config/rbac/operator/cluster-workspaces.yaml), or start the operator with --cluster-workspaces=false"
    } else {
        "grant it (config/rbac), or name with --namespace the namespaces in which the operator has it"
    }
}

/// The kind of which only labels are watched.
pub(super) const NAMESPACE: &str = "Namespace";

/// Fails when the API server does not understand a selector of runs: a watch would be taken up again for ever. That it cannot be asked
/// is no reason not to start.
pub(super) async fn understood(
    client: &Client,
    namespace: Option<&String>,
    selector: Option<&str>,
) -> Result<(), OperateError> {
    let Some(selector) = selector else { return Ok(()) };
    let one = ListParams::default().labels(selector).limit(1);
    match api::<RunObject>(client.clone(), namespace.map(String::as_str)).list_metadata(&one).await {
        Err(kube::Error::Api(status)) if status.code == 400 => {
            Err(OperateError::Selector { selector: selector.to_owned(), why: status.message.clone() })
        }
        _ => Ok(()),
    }
}

/// All runs of a namespace, or of all, that have the labels asked for. One whose labels change is as good as gone.
pub(super) fn runs(
    client: Client,
    namespace: Option<&str>,
    selector: Option<&str>,
    settings: Arc<Settings>,
    clock: SystemClock,
    metrics: &Arc<Metrics>,
) -> Watch<Kept> {
    let (store, writer) = reflector::store();
    let (listed, complete) = tokio::sync::watch::channel(Listing::Awaited);
    let known = store.clone();
    let all = watcher::Config::default().page_size(PAGE);
    let selected = selector.map_or(all.clone(), |selector| all.labels(selector));
    let stream = watcher(api::<RunObject>(client, namespace), selected)
        .default_backoff()
        .map_ok(move |event| {
            kept(event, |object| {
                let before =
                    known.get(&ObjectRef::new(&object.name_any()).within(&object.namespace().unwrap_or_default()));
                Kept::again(object, &settings, Clocks(clock).now(), before.as_ref())
            })
        })
        .reflect(writer)
        .inspect(tell_listing(listed, RUN, metrics));
    let stream = told_when_kept(stream, store.clone())
        .predicate_filter(|kept: &Kept| Some(kept.what_matters()), PredicateConfig::default());
    Watch { store, changes: infallible(stream, RUN, metrics).map(Ok).boxed(), complete }
}

fn kept(event: watcher::Event<RunObject>, of: impl Fn(RunObject) -> Kept) -> watcher::Event<Kept> {
    match event {
        watcher::Event::Apply(object) => watcher::Event::Apply(of(object)),
        watcher::Event::Delete(object) => watcher::Event::Delete(of(object)),
        watcher::Event::Init => watcher::Event::Init,
        watcher::Event::InitApply(object) => watcher::Event::InitApply(of(object)),
        watcher::Event::InitDone => watcher::Event::InitDone,
    }
}

/// All workspaces of a namespace, or of all.
pub(super) fn workspaces(client: Client, namespace: Option<&str>, metrics: &Arc<Metrics>) -> Watch<WorkspaceObject> {
    of_kind(api(client, namespace), WorkspaceKind::DatabricksWorkspace, metrics)
}

/// The workspaces of the whole cluster.
pub(super) fn cluster_workspaces(client: Client, metrics: &Arc<Metrics>) -> Watch<ClusterWorkspaceObject> {
    of_kind(Api::all(client), WorkspaceKind::ClusterDatabricksWorkspace, metrics)
}

fn of_kind<K: Workspace + 'static>(api: Api<K>, kind: WorkspaceKind, metrics: &Arc<Metrics>) -> Watch<K> {
    let (store, writer) = reflector::store();
    let (listed, complete) = tokio::sync::watch::channel(Listing::Awaited);
    let stream = watcher(api, watcher::Config::default().page_size(PAGE))
        .default_backoff()
        .modify(|object: &mut K| object.meta_mut().managed_fields = None)
        .reflect(writer)
        .inspect(tell_listing(listed, kind.as_str(), metrics));
    let stream =
        told_when_kept(stream, store.clone()).predicate_filter(predicates::generation, PredicateConfig::default());
    Watch { store, changes: infallible(stream, kind.as_str(), metrics).map(Ok).boxed(), complete }
}

/// The objects that are there or have changed, each told when the store has it. What is listed comes into the store at the end
/// of the list: whoever was woken before that would look at what was there before, and not again.
fn told_when_kept<K: Resource<DynamicType = ()> + Clone + 'static>(
    events: impl Stream<Item = watcher::Result<watcher::Event<K>>>,
    store: Store<K>,
) -> impl Stream<Item = watcher::Result<K>> {
    events.flat_map(move |event| {
        let (one, listed) = match event {
            Ok(watcher::Event::Apply(object)) => (Some(Ok(object)), Vec::new()),
            Ok(watcher::Event::InitDone) => (None, store.state()),
            Ok(watcher::Event::Init | watcher::Event::InitApply(_) | watcher::Event::Delete(_)) => (None, Vec::new()),
            Err(error) => (Some(Err(error)), Vec::new()),
        };
        stream::iter(one.into_iter().chain(listed.into_iter().map(|object| Ok((*object).clone()))))
    })
}

/// Tells how far the list of this kind has come.
pub(super) fn tell_listing<K>(
    listed: tokio::sync::watch::Sender<Listing>,
    kind: &'static str,
    metrics: &Arc<Metrics>,
) -> impl FnMut(&watcher::Result<watcher::Event<K>>) + use<K> {
    metrics.watch_begins(kind);
    let metrics = Arc::clone(metrics);
    move |event| match event {
        Ok(watcher::Event::InitDone) => {
            metrics.listed(kind);
            listed.send_replace(Listing::Done);
        }
        Err(error) if is_forbidden(error) => {
            let first = listed.send_if_modified(|listing| {
                let first = *listing == Listing::Awaited;
                if first {
                    *listing = Listing::Forbidden(kind);
                }
                first
            });
            if first {
                tracing::error!(kind, %error, "not ready: the operator may not list and watch {kind} objects; {}", remedy(kind));
            }
        }
        Ok(_) | Err(_) => {}
    }
}

fn is_forbidden(error: &watcher::Error) -> bool {
    let cause = match error {
        watcher::Error::InitialListFailed(cause) | watcher::Error::WatchStartFailed(cause) => cause,
        watcher::Error::WatchError(_) | watcher::Error::WatchFailed(_) | watcher::Error::NoResourceVersion => {
            return false;
        }
    };
    matches!(cause, kube::Error::Api(status) if status.is_forbidden())
}

fn api<K>(client: Client, namespace: Option<&str>) -> Api<K>
where
    K: Resource<Scope = kube::core::NamespaceResourceScope, DynamicType = ()>,
{
    match namespace {
        Some(namespace) => Api::namespaced(client, namespace),
        None => Api::all(client),
    }
}

/// The good items; the watcher recovers from the others by itself.
pub(super) fn infallible<K>(
    stream: impl Stream<Item = Result<K, watcher::Error>> + Send + 'static,
    kind: &'static str,
    metrics: &Arc<Metrics>,
) -> impl Stream<Item = K> + Send + 'static
where
    K: Send + 'static,
{
    let metrics = Arc::clone(metrics);
    stream.filter_map(move |item| {
        if let Err(error) = &item {
            metrics.watch_interrupted(kind);
            tracing::warn!(kind, %error, "the watch was interrupted and is taken up again");
        }
        future::ready(item.ok())
    })
}

#[cfg(test)]
mod tests {
    use kube::runtime::reflector::ObjectRef;
    use serde_json::json;

    use super::*;

    #[expect(clippy::needless_pass_by_value, reason = "reads better where it is called")]
    fn object(metadata: serde_json::Value, status: serde_json::Value) -> RunObject {
        serde_json::from_value(json!({"apiVersion": "dbrun.dev/v1alpha1", "kind": "DatabricksRun", "metadata": metadata, "spec": {}, "status": status})).unwrap()
    }

    #[tokio::test]
    async fn who_is_woken_finds_in_the_store_what_woke_him() {
        let version = |name: &str, version: &str| {
            let metadata = json!({"namespace": "a", "name": name, "uid": name, "resourceVersion": version});
            object(metadata, json!({}))
        };
        let events = [
            watcher::Event::Init,
            watcher::Event::InitApply(version("x", "1")),
            watcher::Event::InitApply(version("y", "1")),
            watcher::Event::InitDone,
            watcher::Event::Apply(version("x", "2")),
            // The watch was interrupted, and everything is listed anew.
            watcher::Event::Init,
            watcher::Event::InitApply(version("x", "3")),
            watcher::Event::InitApply(version("y", "1")),
            watcher::Event::InitDone,
            watcher::Event::Delete(version("y", "1")),
        ];
        let (store, writer) = reflector::store();
        let kept = stream::iter(events).map(Ok).reflect(writer);
        let mut told = std::pin::pin!(told_when_kept(kept, store.clone()));
        let mut versions = Vec::new();
        while let Some(object) = told.next().await {
            let object: RunObject = object.unwrap();
            let stored = store.get(&ObjectRef::from_obj(&object));
            assert_eq!(stored.as_deref(), Some(&object), "what a look would be at");
            versions.push(object.metadata.name.zip(object.metadata.resource_version).unwrap());
        }
        versions.sort();
        assert_eq!(
            versions.iter().map(|(name, version)| format!("{name}{version}")).collect::<Vec<_>>(),
            ["x1", "x2", "x3", "y1", "y1"]
        );
    }
}
