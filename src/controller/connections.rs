//! One connection per workspace object, made by the workspace controller, used by runs (`remote`). A connection outlives
//! its object by a while, so that runs can still be followed and cancelled when a namespace loses its workspace first.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::sync::{mpsc, watch};

use super::gate::Gate;
use super::known::{Known, not_admitted};
use super::ports::Place;
use super::remote::{Followed, within};
use super::subject::WorkspaceKey;
use crate::api::conditions::Reason;
use crate::api::status::WorkspacePin;
use crate::databricks::client::Client;
use crate::databricks::error::Error;
use crate::databricks::ids::RunId;
use crate::databricks::settings::JobsApiVersion;
use crate::lifecycle::WorkspaceView;
use crate::lifecycle::observed::same_workspace;
use crate::poller::{Health, Poller, Settings as PollerSettings, Sweeping, SystemClock};
use crate::telemetry::Metrics;
use crate::telemetry::metrics::Polling;
use crate::telemetry::traces::Trace;

/// How long a connection outlives its object.
const RETAINED: Duration = Duration::from_mins(15);

/// The part of a workspace's rate that sweeps may take: what they find costs gets, and others ask, too.
const SWEEP_SHARE: f64 = 0.5;

/// A poll that is late by more than this is overdue: more than the rate limit makes it wait when many fall due at once.
const OVERDUE: Duration = Duration::from_secs(10);

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
    /// Its spec, as it came, without whom it admits.
    pub(super) spec: Value,
    /// The certificates its `caBundle` names.
    pub(super) ca_bundle: Option<String>,
}

/// A workspace object's connection.
struct Connection {
    pin: WorkspacePin,
    usable: Usable,
    /// Checks in a row that failed although it was usable before.
    failures: u32,
    /// None where no client may be made: an unreadable spec, a host that is not allowed.
    line: Option<Line>,
    gone: Option<Instant>,
}

impl Connection {
    fn new(pin: WorkspacePin, line: Option<Line>) -> Self {
        Self { pin, usable: Usable::Unchecked, failures: 0, line, gone: None }
    }
}

/// The part of a connection that can be spoken through.
pub(super) struct Line {
    made_of: MadeOf,
    pub(super) client: Client,
    pub(super) poller: Poller<Place>,
    pub(super) calls: CallsOfRuns,
}

/// How runs that are followed are asked about.
pub(super) type CallsOfRuns = Arc<Mutex<HashMap<RunId, OfRun>>>;

/// What a call about a run needs to know of it.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct OfRun {
    /// A run keeps the version it was started with.
    pub(super) version: JobsApiVersion,
    /// The trace it belongs to, where there are traces.
    pub(super) trace: Option<Trace>,
}

/// On whose line an object is followed, and which run of it.
pub(super) type Follower = (WorkspaceKey, RunId);

/// All connections of this process.
pub(super) struct Connections {
    map: Mutex<HashMap<WorkspaceKey, Connection>>,
    /// The workspace objects there are: one that has no connection yet is not missing.
    known: Known,
    /// Whose poller follows an object.
    followed: Mutex<HashMap<Place, Follower>>,
    clock: SystemClock,
    gate: Gate,
    wakes: mpsc::Sender<Place>,
    metrics: Arc<Metrics>,
}

impl Connections {
    pub(super) fn new(
        known: Known,
        clock: SystemClock,
        gate: Gate,
        wakes: mpsc::Sender<Place>,
        metrics: Arc<Metrics>,
    ) -> Self {
        Self { map: Mutex::default(), known, followed: Mutex::default(), clock, gate, wakes, metrics }
    }

    /// Whether this process leads.
    pub(super) fn leads(&self) -> bool {
        self.gate.is_open()
    }

    /// Nothing is followed any more; who leads next follows it. What is, again, is at the next look at it.
    pub(super) fn follow_nothing(&self) {
        let followed = std::mem::take(&mut *self.followed());
        for (place, follower) in followed {
            self.with_line_of(&follower, |line| {
                line.calls.lock().unwrap_or_else(PoisonError::into_inner).remove(&follower.1);
                line.poller.unwatch(&place);
            });
        }
    }

    /// A call to Databricks, within the lease.
    pub(super) async fn call<T>(&self, call: impl Future<Output = Result<T, Error>> + Send) -> Result<T, Error> {
        // Boxed, or each layer would hold it once more.
        within(&self.gate, Box::pin(call)).await
    }

    fn map(&self) -> MutexGuard<'_, HashMap<WorkspaceKey, Connection>> {
        self.map.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn followed(&self) -> MutexGuard<'_, HashMap<Place, Follower>> {
        self.followed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts a workspace object's connection in place, not checked yet. Runs that the one before followed are followed by
    /// the new one at their next look. Returns whether the workspace answers its poller, as a channel.
    pub(super) fn connect(
        &self,
        key: &WorkspaceKey,
        pin: WorkspacePin,
        client: Client,
        made_of: MadeOf,
    ) -> watch::Receiver<Health> {
        let calls = CallsOfRuns::default();
        // What the check of the workspace says of a version it does not know, nothing here has to.
        let version = pin.jobs_api_version.parse().unwrap_or_default();
        let runs = Followed { client: client.clone(), version, calls: Arc::clone(&calls), gate: self.gate.clone() };
        let pages_per_second = SWEEP_SHARE * client.requests_per_second();
        let settings = PollerSettings { sweeping: Sweeping::Cheaper { pages_per_second }, ..PollerSettings::default() };
        let metrics = Arc::clone(&self.metrics);
        let poller = Poller::start(runs, self.clock, settings, self.wakes.clone(), metrics);
        let health = poller.health();
        let line = Some(Line { made_of, client, poller, calls });
        self.map().insert(key.clone(), Connection::new(pin, line));
        health
    }

    /// Puts a workspace object in place that may not be spoken to.
    pub(super) fn refuse(&self, key: &WorkspaceKey, pin: WorkspacePin) {
        let mut map = self.map();
        if map.get(key).is_some_and(|known| known.line.is_none() && known.pin == pin && known.gone.is_none()) {
            return;
        }
        map.insert(key.clone(), Connection::new(pin, None));
    }

    /// The client of a workspace object, if it was made of the same.
    pub(super) fn client(&self, key: &WorkspaceKey, made_of: &MadeOf) -> Option<Client> {
        let map = self.map();
        let line = map.get(key).filter(|connection| connection.gone.is_none())?.line.as_ref();
        line.filter(|line| line.made_of == *made_of).map(|line| line.client.clone())
    }

    /// Whether there is a line to this workspace, whatever it was made of.
    pub(super) fn leads_to(&self, key: &WorkspaceKey, pin: &WorkspacePin) -> bool {
        self.with_line(key, pin, |_| ()).is_some()
    }

    /// Says whether a workspace can be used; what was said before, if that was something else.
    pub(super) fn set_usable(&self, key: &WorkspaceKey, usable: Usable) -> Option<Usable> {
        let mut map = self.map();
        let connection = map.get_mut(key)?;
        connection.failures = 0;
        if connection.usable == usable {
            return None;
        }
        Some(std::mem::replace(&mut connection.usable, usable))
    }

    /// Whether a workspace can be used, as it was said last.
    pub(super) fn usable(&self, key: &WorkspaceKey) -> Option<Usable> {
        self.map().get(key).map(|connection| connection.usable.clone())
    }

    /// Counts a check that failed; how many have in a row.
    pub(super) fn failed(&self, key: &WorkspaceKey) -> u32 {
        let mut map = self.map();
        let Some(connection) = map.get_mut(key) else { return u32::MAX };
        connection.failures = connection.failures.saturating_add(1);
        connection.failures
    }

    /// Notices workspace objects that are gone. Their connections stay a while for the runs there are. To be asked only
    /// once the watches know all objects.
    pub(super) fn retire_missing(&self) {
        let mut map = self.map();
        for (key, connection) in &mut *map {
            if connection.gone.is_none() && !self.known.has(key) {
                connection.gone = Some(Instant::now());
            }
        }
        map.retain(|_, connection| connection.gone.is_none_or(|gone| gone.elapsed() < RETAINED));
    }

    /// Tells the metrics how many objects are known, and how the workspaces are.
    pub(super) fn measure(&self) {
        for (kind, count) in self.known.sizes() {
            self.metrics.set_stored(kind, count);
        }
        let (mut unchecked, mut ready, mut not_ready, mut open) = (0, 0, 0, 0);
        // Told by one replica, or sums would count everything twice.
        let leads = self.leads();
        for connection in self.map().values().filter(|connection| leads && connection.gone.is_none()) {
            *match connection.usable {
                Usable::Unchecked => &mut unchecked,
                Usable::Yes => &mut ready,
                Usable::No(..) => &mut not_ready,
            } += 1;
            open += usize::from(connection.line.as_ref().is_some_and(|line| line.client.is_held_back()));
        }
        self.metrics.set_workspaces([("Unchecked", unchecked), ("Ready", ready), ("NotReady", not_ready)], open);
    }

    /// How far the pollers have come with these runs. One that nobody follows has not been looked at either.
    pub(super) fn polling(&self, runs: &[(Place, RunId)]) -> Polling {
        let (map, followed) = (self.map(), self.followed());
        let is_unread = |(place, run): &&(Place, RunId)| {
            let line = followed.get(place).filter(|(_, followed)| followed == run);
            let line = line.and_then(|(key, _)| map.get(key)?.line.as_ref());
            !line.is_some_and(|line| line.poller.has_looked_at(place, *run))
        };
        let lines = map.values().filter_map(|connection| connection.line.as_ref());
        Polling {
            unread: runs.iter().filter(is_unread).count(),
            overdue: lines.map(|line| line.poller.overdue_by(OVERDUE)).sum(),
        }
    }

    /// Whether there is such an object.
    pub(super) fn knows(&self, key: &WorkspaceKey) -> bool {
        self.known.has(key)
    }

    /// The workspace object as runs of a namespace see it.
    pub(super) fn view(&self, key: &WorkspaceKey, namespace: &str) -> WorkspaceView {
        let map = self.map();
        let Some(connection) = map.get(key) else {
            // One that is there, although nobody has looked at it yet.
            let unchecked = self.known.pin(key).map(|pin| WorkspaceView::Unchecked { pin });
            return unchecked.map_or(WorkspaceView::Missing, |view| self.admitted(key, namespace, view));
        };
        let pin = connection.pin.clone();
        // The rounds notice a moment later that an object is gone.
        let gone = connection.gone.or_else(|| (!self.known.has(key)).then(Instant::now));
        let view = match (&connection.usable, gone) {
            (_, Some(gone)) if gone.elapsed() >= RETAINED || connection.line.is_none() => WorkspaceView::Missing,
            (_, Some(_)) => WorkspaceView::Retained { pin },
            (Usable::Unchecked, None) => WorkspaceView::Unchecked { pin },
            (Usable::Yes, None) => WorkspaceView::Ready { pin },
            (Usable::No(reason, message), None) => {
                let message = format!("{} `{}`: {message}", key.kind(), key.name());
                WorkspaceView::NotReady { pin, reason: *reason, message }
            }
        };
        self.admitted(key, namespace, view)
    }

    /// The same, unless the workspace does not admit the namespace: then that is what is told, and nothing else of it.
    fn admitted(&self, key: &WorkspaceKey, namespace: &str, view: WorkspaceView) -> WorkspaceView {
        match view {
            WorkspaceView::Unchecked { pin }
            | WorkspaceView::Ready { pin }
            | WorkspaceView::NotReady { pin, .. }
            | WorkspaceView::NotAllowed { pin, .. }
                if !self.known.admits(key, namespace) =>
            {
                WorkspaceView::NotAllowed { pin, message: not_admitted(key, namespace) }
            }
            // One whose object is gone starts nothing anyway.
            view => view,
        }
    }

    /// The line to a workspace, held to the pin: a call for a run goes where the run was sent and nowhere else.
    pub(super) fn with_line<T>(
        &self,
        key: &WorkspaceKey,
        pin: &WorkspacePin,
        then: impl FnOnce(&Line) -> T,
    ) -> Option<T> {
        let map = self.map();
        let connection = map.get(key).filter(|connection| same_workspace(&connection.pin, pin))?;
        connection.line.as_ref().map(then)
    }

    /// The line on which an object is followed.
    pub(super) fn with_line_of<T>(&self, follower: &Follower, then: impl FnOnce(&Line) -> T) -> Option<T> {
        self.map().get(&follower.0)?.line.as_ref().map(then)
    }
}
