//! Puts the operator together and keeps it going until it is told to stop: clients, watches, the workspace controller
//! and the run controller of each namespace, the pollers' wakes, and the sweep for objects that are no more.

use std::collections::HashMap;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use kube::runtime::Controller;
use kube::runtime::reflector::{ObjectRef, Store};
use kube::{Client, Config};
use thiserror::Error;
use tokio::sync::{broadcast, mpsc};
use tokio::task::JoinSet;

use super::connections::Connections;
use super::kubernetes::Kubernetes;
use super::looks::{after_run_failure, after_workspace_failure, look_at_run, look_at_workspace};
use super::ports::Place;
use super::process::{Calls, Clocks, Operator};
use super::reconcile::Reconciler;
use super::rounds::{distribute, retire, sweep, wake_waiting};
use super::watch::{self, Complete, Watch, all_known};
use super::workspaces::Workspaces;
use crate::api::run::RunObject;
use crate::api::workspace::WorkspaceObject;
use crate::databricks::host_policy::HostPolicy;
use crate::databricks::limiters::Limiters;
use crate::databricks::network::Network;
use crate::databricks::observer::Observer;
use crate::databricks::proxy::AllowedProxies;
use crate::lifecycle::Settings;
use crate::lifecycle::run_key::VERSIONS;
use crate::poller::SystemClock;
use crate::telemetry::Metrics;

/// What the operator is started with.
#[derive(Debug, Clone)]
pub struct Options {
    /// The namespaces it works in; empty means all.
    pub namespaces: Vec<String>,
    /// The hosts a credential may be sent to.
    pub hosts: HostPolicy,
    /// The proxies a workspace object may name.
    pub proxies: AllowedProxies,
    /// Requests per second and host.
    pub requests_per_second: f64,
    /// Deadline of a POST that starts a run.
    pub submit_timeout: Duration,
    /// How long a deleted object is held for a run that cannot be cancelled.
    pub deletion_deadline: Duration,
    /// Labels and annotations that mark objects which a tool would put back; see `ttlSecondsAfterFinished`.
    pub ttl_keep_keys: Vec<String>,
    /// This process's name in intents and events; unique per start.
    pub instance: String,
}

/// Why the operator could not work.
#[derive(Debug, Error)]
pub enum OperateError {
    /// No way to the cluster.
    #[error("cannot reach a Kubernetes cluster: {0}; set KUBECONFIG, or run in a Pod with a ServiceAccount")]
    NoCluster(String),
    /// A controller ended although nobody asked it to.
    #[error("a controller ended unexpectedly; the process must be started again")]
    Ended,
}

/// Is told how the operator is, for the probes.
pub trait Pulse: Send + Sync + 'static {
    /// The controllers' runtime is alive; told every second.
    fn beat(&self);

    /// All objects are known; told once.
    fn ready(&self);
}

/// The controllers' pulse.
const BEAT: Duration = Duration::from_secs(1);
/// Wakes of pollers that wait for the controllers.
const WAKES: usize = 1024;

/// Works until `stop` ends; then no new effect begins, and what is under way is finished and written.
pub async fn operate(
    config: Config,
    options: Options,
    metrics: Arc<Metrics>,
    pulse: impl Pulse,
    stop: impl Future<Output = ()> + Send,
) -> Result<(), OperateError> {
    let no_cluster = |error: &dyn std::fmt::Display| OperateError::NoCluster(error.to_string());
    // Writes must not be repeated unseen; watches are taken up again by their own back-off.
    let mut writing = config.clone();
    writing.default_retry = false;
    let client = Client::try_from(config).map_err(|error| no_cluster(&error))?;
    let writing = Client::try_from(writing).map_err(|error| no_cluster(&error))?;

    let kubernetes = Kubernetes::new(writing, &options.instance, Arc::clone(&metrics));
    let (wakes, woken) = mpsc::channel(WAKES);
    let clock = SystemClock::start();
    let connections = Arc::new(Connections::new(clock, wakes.clone(), Arc::clone(&metrics)));
    let settings = Settings {
        holder: options.instance.clone(),
        submit_timeout: options.submit_timeout,
        deletion_deadline: options.deletion_deadline,
        run_keys: VERSIONS,
        ttl_keep_keys: options.ttl_keep_keys.clone(),
    };
    let operator = Arc::new(Reconciler::new(
        kubernetes.clone(),
        Arc::clone(&connections),
        Clocks(clock),
        settings,
        Arc::clone(&metrics),
    ));
    let shared = Shared {
        client,
        kubernetes,
        connections,
        operator: Arc::clone(&operator),
        limiters: Arc::new(Limiters::new(options.requests_per_second)),
        network: Network::new(options.hosts.clone(), options.proxies.clone()),
        observer: Arc::new(Calls(Arc::clone(&metrics))),
        submit_timeout: options.submit_timeout,
        ttl_keep_keys: options.ttl_keep_keys.clone().into(),
        wakes,
        metrics,
    };
    work(&options, shared, woken, pulse, stop).await
}

/// What the controllers of all namespaces share.
#[derive(Clone)]
struct Shared {
    client: Client,
    kubernetes: Kubernetes,
    connections: Arc<Connections>,
    operator: Arc<Operator>,
    limiters: Arc<Limiters>,
    network: Network,
    observer: Arc<dyn Observer>,
    submit_timeout: Duration,
    ttl_keep_keys: Arc<[String]>,
    wakes: mpsc::Sender<Place>,
    metrics: Arc<Metrics>,
}

async fn work(
    options: &Options,
    shared: Shared,
    woken: mpsc::Receiver<Place>,
    pulse: impl Pulse,
    stop: impl Future<Output = ()> + Send,
) -> Result<(), OperateError> {
    let (stopping, _) = broadcast::channel::<()>(1);
    let mut controllers = JoinSet::new();
    let mut helpers = JoinSet::new();
    let mut routes = HashMap::new();
    let (mut stores, mut complete) = (Vec::new(), Vec::new());
    let namespaces: Vec<Option<String>> = match options.namespaces.as_slice() {
        [] => vec![None],
        named => named.iter().cloned().map(Some).collect(),
    };
    for namespace in namespaces {
        let (route, wakes) = mpsc::channel(WAKES);
        let (store, known) = start(&mut controllers, namespace.as_deref(), &shared, wakes, &stopping);
        routes.insert(namespace, route);
        stores.push(store);
        complete.push(known);
    }
    helpers.spawn(distribute(woken, routes));
    helpers.spawn(sweep(
        Arc::clone(&shared.operator),
        shared.wakes.clone(),
        stores,
        complete.clone(),
        Arc::clone(&shared.metrics),
    ));
    helpers.spawn(async move {
        all_known(complete).await;
        pulse.ready();
        tracing::info!("all objects are known; working");
        loop {
            pulse.beat();
            tokio::time::sleep(BEAT).await;
        }
    });

    tokio::pin!(stop);
    tokio::select! {
        () = &mut stop => {}
        _ = controllers.join_next() => return Err(OperateError::Ended),
    }
    tracing::info!("stopping: what is under way is finished, nothing new is begun");
    shared.operator.stop();
    // Whoever is not listening has stopped already.
    let _ = stopping.send(());
    let grace = options.submit_timeout + Duration::from_secs(20);
    if tokio::time::timeout(grace, async { while controllers.join_next().await.is_some() {} }).await.is_err() {
        tracing::warn!("stopping took longer than {grace:?}; what is left is taken up after the next start");
    }
    Ok(())
}

/// Starts the two controllers of one namespace, or of all.
fn start(
    controllers: &mut JoinSet<()>,
    namespace: Option<&str>,
    shared: &Shared,
    wakes: mpsc::Receiver<Place>,
    stopping: &broadcast::Sender<()>,
) -> (Store<RunObject>, Complete) {
    let Watch { store: runs, changes: run_events, complete } =
        watch::runs(shared.client.clone(), namespace, Arc::clone(&shared.ttl_keep_keys));
    let Watch { store: workspaces, changes: workspace_events, complete: workspaces_known } =
        watch::workspaces(shared.client.clone(), namespace);
    shared.connections.know(workspaces.clone());
    let (look_again, looks) = mpsc::channel(WAKES);
    let changed = {
        let (runs, wakes) = (runs.clone(), shared.wakes.clone());
        Box::new(move |namespace: &str, name: &str| wake_waiting(&runs, namespace, name, &wakes))
    };
    let workspace_controller = Arc::new(Workspaces {
        kubernetes: shared.kubernetes.clone(),
        connections: Arc::clone(&shared.connections),
        limiters: Arc::clone(&shared.limiters),
        network: shared.network.clone(),
        observer: Arc::clone(&shared.observer),
        submit_timeout: shared.submit_timeout,
        store: workspaces.clone(),
        changed,
        look_again,
    });
    let looks = tokio_stream(looks)
        .map(|(namespace, name): (String, String)| ObjectRef::<WorkspaceObject>::new(&name).within(&namespace));
    let mut stop = stopping.subscribe();
    controllers.spawn(
        Controller::for_stream(workspace_events, workspaces.clone())
            .reconcile_on(looks)
            .graceful_shutdown_on(async move { drop(stop.recv().await) })
            .run(look_at_workspace, after_workspace_failure, workspace_controller)
            .for_each(|_| std::future::ready(())),
    );

    let woken =
        tokio_stream(wakes).map(|place: Place| ObjectRef::<RunObject>::new(&place.name).within(&place.namespace));
    let mut stop = stopping.subscribe();
    let operator = Arc::clone(&shared.operator);
    let controller = Controller::for_stream(run_events, runs.clone())
        .reconcile_on(woken)
        .graceful_shutdown_on(async move { drop(stop.recv().await) })
        .run(look_at_run, after_run_failure, operator);
    let (connections, served) = (Arc::clone(&shared.connections), namespace.map(str::to_owned));
    controllers.spawn(async move {
        // Without the workspaces every run would seem to have lost its own.
        all_known(vec![workspaces_known]).await;
        let retired = retire(served, workspaces, connections);
        tokio::select! {
            () = controller.for_each(|_| std::future::ready(())) => {}
            () = retired => {}
        }
    });
    (runs, complete)
}

fn tokio_stream<T: Send + 'static>(receiver: mpsc::Receiver<T>) -> impl futures::Stream<Item = T> + Send + 'static {
    futures::stream::unfold(receiver, |mut receiver| async move { receiver.recv().await.map(|item| (item, receiver)) })
}
