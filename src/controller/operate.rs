//! Puts the operator together and keeps it going until it is told to stop: clients, watches, the workspace controller
//! and the run controller of each namespace, the pollers' wakes, and the sweep for objects that are no more.

use std::collections::HashMap;
use std::future::Future;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::StreamExt;
use kube::runtime::Controller;
use kube::runtime::reflector::{ObjectRef, Store};
use kube::{Client, Config};
use thiserror::Error;
use tokio::sync::{broadcast, mpsc, oneshot};
use tokio::task::JoinSet;

use super::assertions::OwnTokens;
use super::connections::Connections;
use super::gate::Gate;
use super::kept::Kept;
use super::known::{Known, KnownOfCluster};
use super::kubernetes::Kubernetes;
use super::looks::{Watched, after_workspace_failure, look_at_workspace, looks_at_runs};
use super::measure::measure;
use super::namespaces::{self, NamespaceWatch};
use super::ports::Place;
use super::process::{Calls, Clocks, Operator};
use super::reconcile::Reconciler;
use super::requests;
use super::rounds::{catch_up, distribute, follow_labels, retire, stand_by, sweep, wake_waiting};
use super::secrets::OperatorsOwn;
use super::subject::{Workspace, WorkspaceKey};
use super::watch::{self, Complete, Watch, all_known};
use super::workspaces::Workspaces;
use crate::api::cluster_workspace::ClusterWorkspaceObject;
use crate::api::workspace::WorkspaceObject;
use crate::databricks::host::Host;
use crate::databricks::host_policy::HostPolicy;
use crate::databricks::limiters::Limiters;
use crate::databricks::network::Network;
use crate::databricks::observer::Observer;
use crate::databricks::proxy::AllowedProxies;
use crate::leader::{ApiLeases, Campaign, Election, Lead, Timing};
use crate::lifecycle::run_key::VERSIONS;
use crate::lifecycle::{Settings, TakeOver};
use crate::poller::SystemClock;
use crate::telemetry::{Metrics, Traces};

/// What the operator is started with.
#[derive(Debug, Clone)]
pub struct Options {
    /// The namespaces it works in; empty means all.
    pub namespaces: Vec<String>,
    /// The labels of the runs it looks after, as for `kubectl get -l`; none means all. Workspaces are not selected.
    pub selector: Option<String>,
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
    /// Whether workspaces of the whole cluster are served, which needs rights that only a ClusterRole gives.
    pub cluster_workspaces: bool,
    /// The namespace in which their credentials are; none if nobody knows.
    pub operator_namespace: Option<String>,
    /// The file with the operator's own projected token, for `tokenSource: Operator`.
    pub operator_token_file: Option<PathBuf>,
    /// The login host of Microsoft Entra, where it is not the one of the workspace's cloud.
    pub entra_login_host: Option<Host>,
    /// The Lease whose holder works while other replicas stand by; none where this is the only one.
    pub leader_election: Option<LeaderElection>,
    /// Where spans of requests and calls go.
    pub traces: Traces,
    /// This process's name in intents, events and the Lease; unique per start.
    pub instance: String,
}

/// Which Lease replicas compete for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeaderElection {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub lease: String,
}

/// Why the operator could not work.
#[derive(Debug, Error)]
pub enum OperateError {
    /// No way to the cluster.
    #[error("cannot reach a Kubernetes cluster: {0}; set KUBECONFIG, or run in a Pod with a ServiceAccount")]
    NoCluster(String),
    /// The API server does not understand the selector.
    #[error(
        "--watch-selector `{selector}`: {why}; write it as for `kubectl get -l`, for example `team=a` or `team in (a, b)`"
    )]
    Selector {
        /// What was given.
        selector: String,
        /// What the API server says.
        why: String,
    },
    /// A controller, or the candidate for the Lease, ended although nobody asked it to.
    #[error("a controller ended unexpectedly; the process must be started again")]
    Ended,
}

/// Is told how the operator is, for the probes.
pub trait Pulse: Send + Sync + 'static {
    /// The controllers' runtime is alive; told every second.
    fn beat(&self);

    /// All objects are known; told once.
    fn ready(&self);

    /// Why they are not, where somebody has to do something about it.
    fn waits_for(&self, what: String);
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
    let client = requests::client(config, &metrics).map_err(|error| no_cluster(&error))?;
    // Renewals wait behind nothing.
    let leasing = requests::client(writing.clone(), &metrics).map_err(|error| no_cluster(&error))?;
    let writing = requests::client(writing, &metrics).map_err(|error| no_cluster(&error))?;
    watch::understood(&client, options.namespaces.first(), options.selector.as_deref()).await?;

    let start = Instant::now();
    let clock = SystemClock::since(start);
    let (lead, campaign) = candidate(leasing, &options, start, &metrics);
    let gate = Gate::new(lead.clone(), clock);
    let kubernetes = Kubernetes::new(writing, &options.instance, gate.clone(), Clocks(clock), Arc::clone(&metrics));
    let settings = Arc::new(settings(&options, campaign.is_some()));
    let watches = Watches::of(&client, &options, &settings, clock, &metrics);
    let (wakes, woken) = mpsc::channel(WAKES);
    let known = watches.known();
    let connections = Arc::new(Connections::new(known, clock, gate.clone(), wakes.clone(), Arc::clone(&metrics)));
    let operator = Reconciler::new(
        kubernetes.clone(),
        Arc::clone(&connections),
        Clocks(clock),
        (*settings).clone(),
        lead,
        Arc::clone(&metrics),
    );
    let operator = Arc::new(operator.tracing(options.traces.clone()));
    let shared = Shared {
        gate,
        kubernetes,
        connections,
        operator,
        limiters: Arc::new(Limiters::new(options.requests_per_second)),
        network: Network::new(options.hosts.clone(), options.proxies.clone()),
        entra_login: options.entra_login_host.clone(),
        observer: Arc::new(Calls { metrics: Arc::clone(&metrics), traces: options.traces.clone() }),
        submit_timeout: options.submit_timeout,
        own: OperatorsOwn {
            namespace: options.operator_namespace.clone(),
            tokens: OwnTokens::new(options.operator_token_file.clone()),
        },
        wakes,
        metrics,
    };
    work(&options, watches, shared, woken, campaign, pulse, stop).await
}

fn settings(options: &Options, elects: bool) -> Settings {
    Settings {
        holder: options.instance.clone(),
        submit_timeout: options.submit_timeout,
        deletion_deadline: options.deletion_deadline,
        run_keys: VERSIONS,
        ttl_keep_keys: options.ttl_keep_keys.clone(),
        take_over: if elects { TakeOver::AsLeader } else { TakeOver::WhenUnchanged },
    }
}

/// Whether this process leads, and the candidate that sees to it; none where there is no election.
fn candidate(
    client: Client,
    options: &Options,
    start: Instant,
    metrics: &Arc<Metrics>,
) -> (Lead, Option<Campaign<ApiLeases>>) {
    let Some(LeaderElection { namespace, lease }) = &options.leader_election else { return (Lead::always(), None) };
    let (tenure, lead) = Lead::of_a_candidate();
    let (leases, timing) = (ApiLeases::new(client, namespace), Timing::default());
    let election = Election::new(&options.instance, lease, timing);
    (lead, Some(Campaign::new(leases, election, start, tenure, Arc::clone(metrics))))
}

/// Everything that is watched.
struct Watches {
    runs: Vec<(Option<String>, Watch<Kept>)>,
    workspaces: Vec<Watch<WorkspaceObject>>,
    cluster: Option<(Watch<ClusterWorkspaceObject>, NamespaceWatch)>,
}

impl Watches {
    fn of(
        client: &Client,
        options: &Options,
        settings: &Arc<Settings>,
        clock: SystemClock,
        metrics: &Arc<Metrics>,
    ) -> Self {
        let namespaces: Vec<Option<String>> = match options.namespaces.as_slice() {
            [] => vec![None],
            named => named.iter().cloned().map(Some).collect(),
        };
        let workspaces =
            namespaces.iter().map(|name| watch::workspaces(client.clone(), name.as_deref(), metrics)).collect();
        let runs = namespaces.into_iter().map(|name| {
            let selector = options.selector.as_deref();
            let runs = watch::runs(client.clone(), name.as_deref(), selector, Arc::clone(settings), clock, metrics);
            (name, runs)
        });
        Self {
            runs: runs.collect(),
            workspaces,
            cluster: options.cluster_workspaces.then(|| {
                let workspaces = watch::cluster_workspaces(client.clone(), metrics);
                (workspaces, namespaces::namespaces(client.clone(), metrics))
            }),
        }
    }

    /// What they know beside runs.
    fn known(&self) -> Known {
        Known {
            workspaces: self.workspaces.iter().map(|watch| watch.store.clone()).collect(),
            cluster: self.cluster.as_ref().map(|(workspaces, namespaces)| KnownOfCluster {
                workspaces: workspaces.store.clone(),
                namespaces: namespaces.store.clone(),
            }),
        }
    }

    /// When all of that is known. Before, a run might seem to have lost its workspace, or its admission.
    fn complete(&self) -> Vec<Complete> {
        let cluster =
            self.cluster.iter().flat_map(|(workspaces, namespaces)| [&workspaces.complete, &namespaces.complete]);
        self.workspaces.iter().map(|watch| &watch.complete).chain(cluster).cloned().collect()
    }
}

/// What all controllers share.
#[derive(Clone)]
struct Shared {
    gate: Gate,
    kubernetes: Kubernetes,
    connections: Arc<Connections>,
    operator: Arc<Operator>,
    limiters: Arc<Limiters>,
    network: Network,
    entra_login: Option<Host>,
    observer: Arc<dyn Observer>,
    submit_timeout: Duration,
    own: OperatorsOwn,
    wakes: mpsc::Sender<Place>,
    metrics: Arc<Metrics>,
}

async fn work(
    options: &Options,
    watches: Watches,
    shared: Shared,
    woken: mpsc::Receiver<Place>,
    campaign: Option<Campaign<ApiLeases>>,
    pulse: impl Pulse,
    stop: impl Future<Output = ()> + Send,
) -> Result<(), OperateError> {
    let (stopping, _) = broadcast::channel::<()>(1);
    let mut controllers = JoinSet::new();
    let mut helpers = JoinSet::new();
    let mut routes = HashMap::new();
    let known = watches.complete();
    let stores: Vec<_> = watches.runs.iter().map(|(_, watch)| watch.store.clone()).collect();
    let mut complete: Vec<_> = watches.runs.iter().map(|(_, watch)| watch.complete.clone()).collect();
    complete.extend(known.iter().cloned());
    // Each store of workspaces beside the store of the runs that can name them.
    for (workspaces, runs) in watches.workspaces.into_iter().zip(&stores) {
        check_workspaces(&mut controllers, workspaces, vec![runs.clone()], &shared, &stopping);
    }
    if let Some((workspaces, namespaces)) = watches.cluster {
        check_workspaces(&mut controllers, workspaces, stores.clone(), &shared, &stopping);
        helpers.spawn(follow_labels(namespaces.relabelled, stores.clone(), shared.wakes.clone()));
    }
    for (namespace, runs) in watches.runs {
        let (route, wakes) = mpsc::channel(WAKES);
        routes.insert(namespace, route);
        look_at_runs(&mut controllers, runs, known.clone(), wakes, &shared, &stopping);
    }
    helpers.spawn(retire(Arc::clone(&shared.connections), known));
    helpers.spawn(measure(
        shared.gate.clone(),
        Arc::clone(&shared.connections),
        stores.clone(),
        complete.clone(),
        Arc::clone(&shared.metrics),
    ));
    helpers.spawn(distribute(woken, routes));
    helpers.spawn(stand_by(shared.gate.clone(), Arc::clone(&shared.connections), Arc::clone(&shared.metrics)));
    helpers.spawn(catch_up(Arc::clone(&shared.operator), stores.clone()));
    helpers.spawn(sweep(Arc::clone(&shared.operator), shared.wakes.clone(), stores, complete.clone()));
    helpers.spawn(async move {
        while tokio::time::timeout(BEAT, all_known(complete.clone())).await.is_err() {
            pulse.beat();
            let forbidden = watch::forbidden(&complete);
            if !forbidden.is_empty() {
                pulse.waits_for(forbidden.join("\n"));
            }
        }
        pulse.ready();
        tracing::info!("all objects are known; working");
        loop {
            pulse.beat();
            tokio::time::sleep(BEAT).await;
        }
    });

    let (resign, resigned) = oneshot::channel::<()>();
    let mut candidates = JoinSet::new();
    if let Some(campaign) = campaign {
        candidates.spawn(campaign.run(async move { drop(resigned.await) }));
    }

    tokio::pin!(stop);
    tokio::select! {
        () = &mut stop => {}
        _ = controllers.join_next() => return Err(OperateError::Ended),
        Some(_) = candidates.join_next() => return Err(OperateError::Ended),
    }
    tracing::info!("stopping: what is under way is finished, nothing new is begun");
    shared.operator.stop();
    // Whoever is not listening has stopped already.
    let _ = stopping.send(());
    let grace = options.submit_timeout + Duration::from_secs(20);
    if tokio::time::timeout(grace, async { while controllers.join_next().await.is_some() {} }).await.is_err() {
        tracing::warn!("stopping took longer than {grace:?}; what is left is taken up after the next start");
    }
    // The lease goes last: whoever takes it finds nothing under way.
    helpers.shutdown().await;
    shared.connections.follow_nothing();
    drop(resign);
    while candidates.join_next().await.is_some() {}
    Ok(())
}

/// Starts the controller of a watch of workspaces; `runs` are those that may wait for them.
fn check_workspaces<K: Workspace + 'static>(
    controllers: &mut JoinSet<()>,
    watch: Watch<K>,
    runs: Vec<Store<Kept>>,
    shared: &Shared,
    stopping: &broadcast::Sender<()>,
) {
    let Watch { store, changes, .. } = watch;
    let (look_again, looks) = mpsc::channel(WAKES);
    let wakes = shared.wakes.clone();
    let workspaces = Workspaces {
        kubernetes: shared.kubernetes.clone(),
        connections: Arc::clone(&shared.connections),
        limiters: Arc::clone(&shared.limiters),
        network: shared.network.clone(),
        entra_login: shared.entra_login.clone(),
        observer: Arc::clone(&shared.observer),
        submit_timeout: shared.submit_timeout,
        own: shared.own.clone(),
        changed: Box::new(move |workspace| wake_waiting(&runs, workspace, &wakes)),
        look_again,
        allowed: std::sync::Mutex::default(),
    };
    let looks = tokio_stream(looks).map(|key: WorkspaceKey| key.object_ref::<K>());
    let mut stop = stopping.subscribe();
    controllers.spawn(
        Controller::for_stream(changes, store.clone())
            .reconcile_on(looks)
            .reconcile_all_on(shared.gate.terms())
            .graceful_shutdown_on(async move { drop(stop.recv().await) })
            .run(look_at_workspace, after_workspace_failure, Arc::new(Watched { store, workspaces }))
            .for_each(|_| std::future::ready(())),
    );
}

/// Starts the controller of a watch of runs.
fn look_at_runs(
    controllers: &mut JoinSet<()>,
    watch: Watch<Kept>,
    known: Vec<Complete>,
    wakes: mpsc::Receiver<Place>,
    shared: &Shared,
    stopping: &broadcast::Sender<()>,
) {
    let woken = tokio_stream(wakes).map(|place: Place| ObjectRef::<Kept>::new(&place.name).within(&place.namespace));
    let mut stop = stopping.subscribe();
    let stop = async move { drop(stop.recv().await) };
    let (terms, operator) = (shared.gate.terms(), Arc::clone(&shared.operator));
    let looks = looks_at_runs(watch.changes, watch.store, woken, terms, stop, operator);
    controllers.spawn(async move {
        // Without the workspaces every run would seem to have lost its own.
        all_known(known).await;
        looks.await;
    });
}

fn tokio_stream<T: Send + 'static>(receiver: mpsc::Receiver<T>) -> impl futures::Stream<Item = T> + Send + 'static {
    futures::stream::unfold(receiver, |mut receiver| async move { receiver.recv().await.map(|item| (item, receiver)) })
}
