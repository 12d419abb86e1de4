//! Databricks for real: one connection per workspace object, made by the workspace controller, used by runs. A
//! connection outlives its object by a while, so that runs can still be followed and cancelled when a namespace loses its
//! workspace first.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::mpsc;

use super::ports::{Pace, Place, Remote};
use crate::api::conditions::Reason;
use crate::api::status::{Endpoint, WorkspacePin};
use crate::databricks::client::Client;
use crate::databricks::error::{ApiError, Error};
use crate::databricks::ids::{IdempotencyToken as WireToken, JobId, RunId};
use crate::databricks::model::{Run, RunOutput};
use crate::databricks::settings::JobsApiVersion;
use crate::databricks::{self, ListRuns};
use crate::lifecycle::observed::same_workspace;
use crate::lifecycle::step::{FoundRun, JobMatch, RunTarget};
use crate::lifecycle::verdict::{Look, look};
use crate::lifecycle::{IdempotencyToken, Reading, WorkspaceView};
use crate::poller::{Poller, Read, Runs, Schedule, Settings as PollerSettings, SystemClock};
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

/// A workspace object's connection.
struct Connection {
    pin: WorkspacePin,
    usable: Usable,
    /// None where no client can be made: a host that is not allowed, an unreadable CA bundle.
    client: Option<Client>,
    poller: Option<Poller<Place>>,
    gone: Option<Instant>,
}

/// All connections of this process, by namespace and name of the workspace object.
pub(super) struct Connections {
    map: Mutex<HashMap<(String, String), Connection>>,
    /// Whose poller follows an object.
    followed: Mutex<HashMap<Place, (String, String)>>,
    clock: SystemClock,
    wakes: mpsc::Sender<Place>,
    metrics: Arc<Metrics>,
}

impl Connections {
    pub(super) fn new(clock: SystemClock, wakes: mpsc::Sender<Place>, metrics: Arc<Metrics>) -> Self {
        Self { map: Mutex::default(), followed: Mutex::default(), clock, wakes, metrics }
    }

    fn map(&self) -> MutexGuard<'_, HashMap<(String, String), Connection>> {
        self.map.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn followed(&self) -> MutexGuard<'_, HashMap<Place, (String, String)>> {
        self.followed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts a workspace object's connection in place; `client` is none where no client can be made. Runs that the one
    /// before followed are followed by the new one at their next look.
    pub(super) fn connect(&self, namespace: &str, pin: WorkspacePin, client: Option<Client>, usable: Usable) {
        let poller = client.as_ref().map(|client| {
            let version = version(&pin).unwrap_or_default();
            let runs = Followed { client: client.clone(), version };
            Poller::start(runs, self.clock, PollerSettings::default(), self.wakes.clone(), Arc::clone(&self.metrics))
        });
        let key = (namespace.to_owned(), pin.name.clone());
        self.map().insert(key, Connection { pin, usable, client, poller, gone: None });
    }

    /// The client of a workspace object.
    pub(super) fn client(&self, namespace: &str, name: &str) -> Option<Client> {
        self.map().get(&(namespace.to_owned(), name.to_owned())).and_then(|connection| connection.client.clone())
    }

    /// Whether the workspace answers its poller, as a channel that tells of changes.
    pub(super) fn health(
        &self,
        namespace: &str,
        name: &str,
    ) -> Option<tokio::sync::watch::Receiver<crate::poller::Health>> {
        let map = self.map();
        let connection = map.get(&(namespace.to_owned(), name.to_owned()))?;
        connection.poller.as_ref().map(Poller::health)
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
        let client = connection.client.clone().ok_or_else(elsewhere)?;
        Ok((client, version(pin)?))
    }

    fn with_poller<T>(&self, place: &Place, then: impl FnOnce(&Poller<Place>) -> T) -> Option<T> {
        let key = self.followed().get(place).cloned()?;
        let map = self.map();
        map.get(&key).and_then(|connection| connection.poller.as_ref()).map(then)
    }
}

fn version(pin: &WorkspacePin) -> Result<JobsApiVersion, Error> {
    pin.jobs_api_version.parse().map_err(|error: crate::databricks::settings::UnknownJobsApiVersion| {
        Error::Rejected(ApiError { message: error.to_string(), ..ApiError::default() })
    })
}

/// A workspace's runs, for its poller. The version is the object's: a run reads the same in both.
struct Followed {
    client: Client,
    version: JobsApiVersion,
}

impl Runs for Followed {
    async fn get_run(&self, run: RunId) -> Result<Read, Error> {
        let answered = self.client.get_run(self.version, run).await?;
        Ok(Read { run: answered.value, server_time: answered.server_time })
    }
}

impl Remote for Arc<Connections> {
    fn workspace(&self, namespace: &str, name: &str) -> WorkspaceView {
        let map = self.map();
        let Some(connection) = map.get(&(namespace.to_owned(), name.to_owned())) else { return WorkspaceView::Missing };
        let pin = connection.pin.clone();
        match (&connection.usable, connection.gone) {
            (_, Some(gone)) if gone.elapsed() >= RETAINED || connection.client.is_none() => WorkspaceView::Missing,
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
        let poller = map.get(&key).filter(|connection| same_workspace(&connection.pin, pin));
        let Some(poller) = poller.and_then(|connection| connection.poller.as_ref()) else { return };
        let schedule = Schedule {
            initial: Duration::from_secs(rhythm.initial_seconds.into()),
            max: Duration::from_secs(rhythm.max_seconds.into()),
        };
        poller.watch(place.clone(), run, schedule);
        self.followed().insert(place.clone(), key);
    }

    fn forget(&self, place: &Place) {
        let Some(key) = self.followed().remove(place) else { return };
        if let Some(poller) = self.map().get(&key).and_then(|connection| connection.poller.as_ref()) {
            poller.unwatch(place);
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
        let absent = snapshot.absent;
        let reading = Reading {
            run: snapshot.seen.as_ref().map(|seen| Arc::clone(&seen.run)),
            read_at: snapshot.seen.as_ref().map(|seen| seen.at.monotonic).unwrap_or_default(),
            not_found: absent.map_or(0, |absent| absent.answers),
            first_not_found: absent.map(|absent| absent.first.monotonic).unwrap_or_default(),
            last_not_found: absent.map(|absent| absent.last.monotonic).unwrap_or_default(),
        };
        Some((reading, snapshot.version))
    }

    fn acknowledge(&self, place: &Place, reading: u64) {
        self.with_poller(place, |poller| poller.acknowledge(place, reading));
    }
}
