//! Databricks for real: one connection per workspace object, made by the workspace controller, used by runs. A
//! connection outlives its object by a while, so that runs can still be followed and cancelled when a namespace loses its
//! workspace first.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use k8s_openapi::jiff::Timestamp;
use kube::runtime::reflector::{ObjectRef, Store};
use serde_json::Value;
use tokio::sync::{mpsc, watch};

use super::ports::{Pace, Place, Remote, reading_of};
use crate::api::conditions::Reason;
use crate::api::status::{Endpoint, WorkspacePin};
use crate::api::workspace::{DatabricksWorkspaceSpec, WorkspaceObject};
use crate::databricks::client::Client;
use crate::databricks::error::{ApiError, Error};
use crate::databricks::ids::{IdempotencyToken as WireToken, JobId, RepairId, RunId};
use crate::databricks::model::{Run, RunOutput};
use crate::databricks::settings::JobsApiVersion;
use crate::databricks::{self, ListRuns};
use crate::lifecycle::observed::same_workspace;
use crate::lifecycle::step::{FoundRun, FreshRun, JobMatch, RunTarget};
use crate::lifecycle::verdict::{Look, look};
use crate::lifecycle::{IdempotencyToken, Reading, WorkspaceView};
use crate::poller::{Health, Poller, Read, Runs, Schedule, Settings as PollerSettings, SystemClock};
use crate::telemetry::Metrics;

/// How long a connection outlives its object.
const RETAINED: Duration = Duration::from_mins(15);
/// Pages of `runs/list` that are looked through for a run in doubt: 500 runs.
const LOOK_UP_PAGES: usize = 20;

/// Whether a workspace can be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Usable {
    /// Not known yet: the first check is under way.
    Unchecked,
    /// Yes.
    Yes,
    /// No, and why.
    No(Reason, String),
}

/// What a connection is made of; when it changes, the connection is made anew.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct MadeOf {
    /// The workspace object's uid.
    pub(super) uid: Option<String>,
    /// Its spec, as it came.
    pub(super) spec: Value,
    /// The certificates its `caBundle` names.
    pub(super) ca_bundle: Option<String>,
}

/// A workspace object's connection.
struct Connection {
    pin: WorkspacePin,
    usable: Usable,
    /// None where no client may be made: an unreadable spec, a host that is not allowed.
    line: Option<Line>,
    gone: Option<Instant>,
}

/// The part of a connection that can be spoken through.
struct Line {
    made_of: MadeOf,
    client: Client,
    poller: Poller<Place>,
    versions: Versions,
}

/// The Jobs API version of each run that is followed: a run keeps the one it was started with.
type Versions = Arc<Mutex<HashMap<RunId, JobsApiVersion>>>;

/// Who follows an object, and which run of it.
type Follower = ((String, String), RunId);

/// All connections of this process, by namespace and name of the workspace object.
pub(super) struct Connections {
    map: Mutex<HashMap<(String, String), Connection>>,
    /// The workspace objects there are: one that has no connection yet is not missing.
    stores: Mutex<Vec<Store<WorkspaceObject>>>,
    /// Whose poller follows an object.
    followed: Mutex<HashMap<Place, Follower>>,
    clock: SystemClock,
    wakes: mpsc::Sender<Place>,
    metrics: Arc<Metrics>,
}

impl Connections {
    pub(super) fn new(clock: SystemClock, wakes: mpsc::Sender<Place>, metrics: Arc<Metrics>) -> Self {
        Self { map: Mutex::default(), stores: Mutex::default(), followed: Mutex::default(), clock, wakes, metrics }
    }

    fn map(&self) -> MutexGuard<'_, HashMap<(String, String), Connection>> {
        self.map.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes the objects of a watch known.
    pub(super) fn know(&self, store: Store<WorkspaceObject>) {
        self.stores.lock().unwrap_or_else(PoisonError::into_inner).push(store);
    }

    /// A workspace object that is there, although nobody has looked at it yet.
    fn unconnected(&self, namespace: &str, name: &str) -> WorkspaceView {
        let object = ObjectRef::new(name).within(namespace);
        let stores = self.stores.lock().unwrap_or_else(PoisonError::into_inner);
        match stores.iter().find_map(|store| store.get(&object)) {
            Some(object) => WorkspaceView::Unchecked { pin: pin_of(name, object.spec().ok().as_ref()) },
            None => WorkspaceView::Missing,
        }
    }

    fn followed(&self) -> MutexGuard<'_, HashMap<Place, Follower>> {
        self.followed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts a workspace object's connection in place, not checked yet. Runs that the one before followed are followed by
    /// the new one at their next look. Returns whether the workspace answers its poller, as a channel.
    pub(super) fn connect(
        &self,
        namespace: &str,
        pin: WorkspacePin,
        client: Client,
        made_of: MadeOf,
    ) -> watch::Receiver<Health> {
        let versions = Versions::default();
        let runs = Followed { client: client.clone(), versions: Arc::clone(&versions) };
        let (settings, metrics) = (PollerSettings::default(), Arc::clone(&self.metrics));
        let poller = Poller::start(runs, self.clock, settings, self.wakes.clone(), metrics);
        let health = poller.health();
        let line = Some(Line { made_of, client, poller, versions });
        self.put(namespace, Connection { pin, usable: Usable::Unchecked, line, gone: None });
        health
    }

    /// Puts a workspace object in place that may not be spoken to.
    pub(super) fn refuse(&self, namespace: &str, pin: WorkspacePin) {
        let known = |connection: &Connection| connection.line.is_none() && connection.pin == pin;
        if self.map().get(&(namespace.to_owned(), pin.name.clone())).is_some_and(known) {
            return;
        }
        self.put(namespace, Connection { pin, usable: Usable::Unchecked, line: None, gone: None });
    }

    fn put(&self, namespace: &str, connection: Connection) {
        self.map().insert((namespace.to_owned(), connection.pin.name.clone()), connection);
    }

    /// The client of a workspace object, if it was made of the same.
    pub(super) fn client(&self, namespace: &str, name: &str, made_of: &MadeOf) -> Option<Client> {
        let map = self.map();
        let connection = map.get(&(namespace.to_owned(), name.to_owned()))?;
        connection.line.as_ref().filter(|line| line.made_of == *made_of).map(|line| line.client.clone())
    }

    /// Whether there is a line to this workspace, whatever it was made of.
    pub(super) fn leads_to(&self, namespace: &str, pin: &WorkspacePin) -> bool {
        let map = self.map();
        let connection = map.get(&(namespace.to_owned(), pin.name.clone()));
        connection.is_some_and(|connection| connection.line.is_some() && same_workspace(&connection.pin, pin))
    }

    /// Says whether a workspace can be used; whether that is news.
    pub(super) fn set_usable(&self, namespace: &str, name: &str, usable: Usable) -> bool {
        let mut map = self.map();
        let Some(connection) = map.get_mut(&(namespace.to_owned(), name.to_owned())) else { return false };
        let news = connection.usable != usable;
        connection.usable = usable;
        news
    }

    /// The object is gone. Its connection stays a while for the runs there are.
    pub(super) fn retire(&self, namespace: &str, name: &str) {
        let mut map = self.map();
        if let Some(connection) = map.get_mut(&(namespace.to_owned(), name.to_owned())) {
            connection.gone.get_or_insert_with(Instant::now);
        }
        map.retain(|_, connection| connection.gone.is_none_or(|gone| gone.elapsed() < RETAINED));
    }

    /// The workspace objects whose connections are not retired.
    pub(super) fn present(&self) -> Vec<(String, String)> {
        self.map().iter().filter(|(_, connection)| connection.gone.is_none()).map(|(key, _)| key.clone()).collect()
    }

    /// The client for a call, held to the pin: a call for a run goes where the run was sent and nowhere else.
    fn pinned(&self, namespace: &str, pin: &WorkspacePin) -> Result<(Client, JobsApiVersion), Error> {
        let elsewhere =
            || Error::WrongHost(format!("there is no connection to {} any more; nothing was sent", pin.host));
        let map = self.map();
        let connection = map.get(&(namespace.to_owned(), pin.name.clone())).ok_or_else(elsewhere)?;
        if !same_workspace(&connection.pin, pin) {
            return Err(elsewhere());
        }
        let line = connection.line.as_ref().ok_or_else(elsewhere)?;
        Ok((line.client.clone(), version(pin)?))
    }

    fn with_poller<T>(&self, place: &Place, then: impl FnOnce(&Poller<Place>) -> T) -> Option<T> {
        let (key, _) = self.followed().get(place).cloned()?;
        let map = self.map();
        map.get(&key).and_then(|connection| connection.line.as_ref()).map(|line| then(&line.poller))
    }
}

/// Where a workspace object points; nowhere if its spec cannot be read.
pub(super) fn pin_of(name: &str, spec: Option<&DatabricksWorkspaceSpec>) -> WorkspacePin {
    let pin = WorkspacePin { kind: "DatabricksWorkspace".to_owned(), name: name.to_owned(), ..WorkspacePin::default() };
    match spec {
        Some(spec) => WorkspacePin {
            host: spec.host.trim_end_matches('/').to_owned(),
            workspace_id: spec.workspace_id.clone(),
            jobs_api_version: spec.jobs_api_version.as_str().to_owned(),
            ..pin
        },
        None => pin,
    }
}

fn version(pin: &WorkspacePin) -> Result<JobsApiVersion, Error> {
    pin.jobs_api_version.parse().map_err(|error: crate::databricks::settings::UnknownJobsApiVersion| {
        Error::Rejected(ApiError { message: error.to_string(), ..ApiError::default() })
    })
}

fn timestamp(time: SystemTime) -> Option<Timestamp> {
    Timestamp::try_from(time).ok()
}

/// A workspace's runs, for its poller.
struct Followed {
    client: Client,
    versions: Versions,
}

impl Runs for Followed {
    async fn get_run(&self, run: RunId) -> Result<Read, Error> {
        let version = self.versions.lock().unwrap_or_else(PoisonError::into_inner).get(&run).copied();
        // A run that is not followed any more: its answer is not looked at either.
        let answered = self.client.get_run(version.unwrap_or_default(), run).await?;
        Ok(Read { run: answered.value, server_time: answered.server_time })
    }
}

impl Remote for Arc<Connections> {
    fn workspace(&self, namespace: &str, name: &str) -> WorkspaceView {
        let map = self.map();
        let Some(connection) = map.get(&(namespace.to_owned(), name.to_owned())) else {
            return self.unconnected(namespace, name);
        };
        let pin = connection.pin.clone();
        match (&connection.usable, connection.gone) {
            (_, Some(gone)) if gone.elapsed() >= RETAINED || connection.line.is_none() => WorkspaceView::Missing,
            (_, Some(_)) => WorkspaceView::Retained { pin },
            (Usable::Unchecked, None) => WorkspaceView::Unchecked { pin },
            (Usable::Yes, None) => WorkspaceView::Ready { pin },
            (Usable::No(reason, message), None) => {
                WorkspaceView::NotReady { pin, reason: *reason, message: message.clone() }
            }
        }
    }

    async fn start(
        &self,
        namespace: &str,
        pin: &WorkspacePin,
        endpoint: Endpoint,
        body: &str,
        token: &IdempotencyToken,
    ) -> Result<Option<RunId>, Error> {
        let (client, version) = self.pinned(namespace, pin)?;
        let token = WireToken::new(token.as_str())
            .map_err(|error| Error::Rejected(ApiError { message: error.to_string(), ..ApiError::default() }))?;
        let submitted = match endpoint {
            Endpoint::RunNow => client.run_now(version, body, &token).await?,
            Endpoint::Submit => client.submit(version, body, &token).await?,
        };
        Ok(submitted.run_id)
    }

    async fn cancel(&self, namespace: &str, pin: &WorkspacePin, run: RunId) -> Result<(), Error> {
        let (client, version) = self.pinned(namespace, pin)?;
        client.cancel_run(version, run).await
    }

    async fn read_run(&self, namespace: &str, pin: &WorkspacePin, run: RunId) -> Result<FreshRun, Error> {
        let (client, version) = self.pinned(namespace, pin)?;
        let answered = client.get_run_with_history(version, run).await?;
        Ok(FreshRun { run: Arc::new(answered.value), server_time: answered.server_time.and_then(timestamp) })
    }

    async fn repair(
        &self,
        namespace: &str,
        pin: &WorkspacePin,
        run: RunId,
        after: Option<RepairId>,
        body: &str,
    ) -> Result<RepairId, Error> {
        let (client, version) = self.pinned(namespace, pin)?;
        client.repair_run(version, run, after, body).await
    }

    async fn output(&self, namespace: &str, pin: &WorkspacePin, task: RunId) -> Result<RunOutput, Error> {
        let (client, version) = self.pinned(namespace, pin)?;
        client.get_output(version, task).await
    }

    async fn find_job(&self, namespace: &str, pin: &WorkspacePin, name: &str) -> Result<JobMatch, Error> {
        let (client, version) = self.pinned(namespace, pin)?;
        Ok(match client.find_job(version, name).await? {
            databricks::JobMatch::None => JobMatch::None,
            databricks::JobMatch::One(JobId(id)) => JobMatch::One(JobId(id)),
            databricks::JobMatch::Several(count) => JobMatch::Several(count),
        })
    }

    async fn find_runs(
        &self,
        namespace: &str,
        pin: &WorkspacePin,
        target: &RunTarget,
        since: i64,
    ) -> Result<Vec<FoundRun>, Error> {
        let (client, version) = self.pinned(namespace, pin)?;
        let query = ListRuns {
            job_id: match target {
                RunTarget::Job(job) => Some(*job),
                RunTarget::Name(_) => None,
            },
            start_time_from: Some(since),
            ..ListRuns::default()
        };
        let wanted = |run: &Run| match target {
            RunTarget::Job(_) => true,
            RunTarget::Name(name) => run.run_name.as_deref() == Some(name),
        };
        let found = client.find_runs(version, &query, LOOK_UP_PAGES, wanted).await?;
        let has_ended = |run: &Run| matches!(look(run.state.as_ref(), run.status.as_ref()), Look::Ended(_));
        Ok(found.runs.iter().map(|run| FoundRun { run: run.run_id, ended: has_ended(run) }).collect())
    }

    fn follow(&self, place: &Place, pin: &WorkspacePin, run: RunId, rhythm: Pace) {
        let key = (place.namespace.to_string(), pin.name.clone());
        let map = self.map();
        let line = map.get(&key).filter(|connection| same_workspace(&connection.pin, pin));
        let (Some(line), Ok(version)) = (line.and_then(|connection| connection.line.as_ref()), version(pin)) else {
            return;
        };
        let schedule = Schedule {
            initial: Duration::from_secs(rhythm.initial_seconds.into()),
            max: Duration::from_secs(rhythm.max_seconds.into()),
        };
        line.versions.lock().unwrap_or_else(PoisonError::into_inner).insert(run, version);
        line.poller.watch(place.clone(), run, schedule);
        let before = self.followed().insert(place.clone(), (key, run));
        if let Some((_, other)) = before.filter(|(_, before)| *before != run) {
            line.versions.lock().unwrap_or_else(PoisonError::into_inner).remove(&other);
        }
    }

    fn forget(&self, place: &Place) {
        let Some((key, run)) = self.followed().remove(place) else { return };
        if let Some(line) = self.map().get(&key).and_then(|connection| connection.line.as_ref()) {
            line.versions.lock().unwrap_or_else(PoisonError::into_inner).remove(&run);
            line.poller.unwatch(place);
        }
    }

    fn poke(&self, place: &Place) {
        self.with_poller(place, |poller| poller.poke(place));
    }

    fn reading(&self, place: &Place, run: RunId) -> Option<(Reading, u64)> {
        let snapshot = self.with_poller(place, |poller| poller.snapshot(place))??;
        if snapshot.run_id != run {
            return None;
        }
        Some((reading_of(&snapshot), snapshot.version))
    }

    fn acknowledge(&self, place: &Place, reading: u64) {
        self.with_poller(place, |poller| poller.acknowledge(place, reading));
    }
}
