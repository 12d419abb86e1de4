//! Databricks for real, as runs ask for it: every call goes through the connection of the workspace object that the run's
//! pin names, only if that still leads where the run was sent, and only while this process leads.

use std::sync::{Arc, PoisonError};
use std::time::{Duration, SystemTime};

use k8s_openapi::jiff::Timestamp;
use tracing::Instrument;

use super::connections::{CallsOfRuns, Connections, OfRun};
use super::gate::{Gate, Shut};
use super::ports::{Following, Place, Remote, reading_of};
use super::subject::WorkspaceKey;
use crate::api::status::{Endpoint, WorkspacePin};
use crate::api::workspace::WorkspaceKind;
use crate::databricks::client::Client;
use crate::databricks::error::{ApiError, Error, TransportError};
use crate::databricks::ids::{IdempotencyToken as WireToken, JobId, RepairId, RunId};
use crate::databricks::model::{Run, RunOutput};
use crate::databricks::settings::JobsApiVersion;
use crate::databricks::{self, ListRuns, LiveRuns};
use crate::lifecycle::step::{FoundRun, FreshRun, JobMatch, RunTarget};
use crate::lifecycle::verdict::{Look, look};
use crate::lifecycle::{IdempotencyToken, Reading, WorkspaceView};
use crate::poller::{Page, Part, Poller, Read, Recorded, Row, Runs, Schedule};
use crate::telemetry::traces::during;

/// Pages of `runs/list` that are looked through for a run in doubt: 500 runs.
const LOOK_UP_PAGES: usize = 20;
/// Who does not lead is told to ask again after this time, and is told the same then.
const NOT_LEADING: Duration = Duration::from_secs(5);

/// A call to Databricks, within the lease. Of one that is given up nobody knows whether it was executed.
pub(super) async fn within<T>(gate: &Gate, call: impl Future<Output = Result<T, Error>> + Send) -> Result<T, Error> {
    match gate.within(call).await {
        Ok(answer) => answer,
        Err(Shut::NotBegun) => Err(Error::NotNow(NOT_LEADING)),
        Err(Shut::GivenUp) => {
            let why = "it was given up, because this process does not lead any more";
            Err(Error::Transport(TransportError::NoAnswer(why.to_owned())))
        }
    }
}

/// The client for a call.
fn pinned(connections: &Connections, namespace: &str, pin: &WorkspacePin) -> Result<(Client, JobsApiVersion), Error> {
    let key = WorkspaceKey::of_pin(namespace, pin);
    let client = key.and_then(|key| connections.with_line(&key, pin, |line| line.client.clone()));
    let elsewhere = || Error::WrongHost(format!("there is no connection to {} any more; nothing was sent", pin.host));
    Ok((client.ok_or_else(elsewhere)?, version(pin)?))
}

fn with_poller<T>(connections: &Connections, place: &Place, then: impl FnOnce(&Poller<Place>) -> T) -> Option<T> {
    let follower = connections.followed().get(place).cloned()?;
    connections.with_line_of(&follower, |line| then(&line.poller))
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
pub(super) struct Followed {
    pub(super) client: Client,
    /// The one that lists are asked for with: the workspace object's own.
    pub(super) version: JobsApiVersion,
    pub(super) calls: CallsOfRuns,
    pub(super) gate: Gate,
}

impl Runs for Followed {
    async fn get_run(&self, run: RunId) -> Result<Read, Error> {
        // None of a run that is not followed any more: its answer is not looked at either.
        let calls = self.calls.lock().unwrap_or_else(PoisonError::into_inner).get(&run).copied().unwrap_or_default();
        let get = during(calls.trace, within(&self.gate, self.client.get_run(calls.version, run)));
        let answered = get.instrument(tracing::error_span!("poll", run_id = %run)).await?;
        Ok(Read { run: answered.value, server_time: answered.server_time })
    }

    async fn list_live(&self, part: &Part) -> Result<Page, Error> {
        let Part { start_time_from, start_time_to, page_token } = part.clone();
        let query = LiveRuns { start_time_from, start_time_to, page_token };
        let answer = within(&self.gate, self.client.live_runs(self.version, &query)).await?;
        let rows = answer.runs.iter().map(|run| Row {
            run: run.run_id,
            start_time: run.start_time,
            looks: run.digest,
            whereabouts: run.whereabouts,
        });
        Ok(Page { rows: rows.collect(), next_page_token: answer.next_page_token })
    }
}

impl Remote for Arc<Connections> {
    fn workspace(&self, namespace: &str, kind: WorkspaceKind, name: &str) -> WorkspaceView {
        self.view(&WorkspaceKey::meant_in(namespace, kind, name), namespace)
    }

    async fn start(
        &self,
        namespace: &str,
        pin: &WorkspacePin,
        endpoint: Endpoint,
        body: &str,
        token: &IdempotencyToken,
    ) -> Result<Option<RunId>, Error> {
        let (client, version) = pinned(self, namespace, pin)?;
        let token = WireToken::new(token.as_str())
            .map_err(|error| Error::Rejected(ApiError { message: error.to_string(), ..ApiError::default() }))?;
        let submitted = match endpoint {
            Endpoint::RunNow => self.call(client.run_now(version, body, &token)).await?,
            Endpoint::Submit => self.call(client.submit(version, body, &token)).await?,
        };
        Ok(submitted.run_id)
    }

    async fn cancel(&self, namespace: &str, pin: &WorkspacePin, run: RunId) -> Result<(), Error> {
        let (client, version) = pinned(self, namespace, pin)?;
        self.call(client.cancel_run(version, run)).await
    }

    async fn read_run(&self, namespace: &str, pin: &WorkspacePin, run: RunId) -> Result<FreshRun, Error> {
        let (client, version) = pinned(self, namespace, pin)?;
        let answered = self.call(client.get_run_with_history(version, run)).await?;
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
        let (client, version) = pinned(self, namespace, pin)?;
        self.call(client.repair_run(version, run, after, body)).await
    }

    async fn output(&self, namespace: &str, pin: &WorkspacePin, task: RunId) -> Result<RunOutput, Error> {
        let (client, version) = pinned(self, namespace, pin)?;
        self.call(client.get_output(version, task)).await
    }

    async fn find_job(&self, namespace: &str, pin: &WorkspacePin, name: &str) -> Result<JobMatch, Error> {
        let (client, version) = pinned(self, namespace, pin)?;
        Ok(match self.call(client.find_job(version, name)).await? {
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
        let (client, version) = pinned(self, namespace, pin)?;
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
        let found = self.call(client.find_runs(version, &query, LOOK_UP_PAGES, wanted)).await?;
        let has_ended = |run: &Run| matches!(look(run.state.as_ref(), run.status.as_ref()), Look::Ended(_));
        Ok(found.runs.iter().map(|run| FoundRun { run: run.run_id, ended: has_ended(run) }).collect())
    }

    fn follow(&self, place: &Place, pin: &WorkspacePin, run: RunId, how: Following) {
        let (Some(key), Ok(version)) = (WorkspaceKey::of_pin(&place.namespace, pin), version(pin)) else { return };
        let schedule = Schedule {
            initial: Duration::from_secs(how.pace.initial_seconds.into()),
            max: Duration::from_secs(how.pace.max_seconds.into()),
        };
        self.with_line(&key, pin, |line| {
            let mut calls = line.calls.lock().unwrap_or_else(PoisonError::into_inner);
            calls.insert(run, OfRun { version, trace: how.trace });
            line.poller.watch(place.clone(), run, schedule, how.recorded);
            let before = self.followed().insert(place.clone(), (key.clone(), run));
            if let Some((_, other)) = before.filter(|(_, before)| *before != run) {
                calls.remove(&other);
            }
        });
    }

    fn forget(&self, place: &Place) {
        let Some(follower) = self.followed().remove(place) else { return };
        self.with_line_of(&follower, |line| {
            line.calls.lock().unwrap_or_else(PoisonError::into_inner).remove(&follower.1);
            line.poller.unwatch(place);
        });
    }

    fn poke(&self, place: &Place) {
        with_poller(self, place, |poller| poller.poke(place));
    }

    fn reading(&self, place: &Place, run: RunId) -> Option<(Reading, u64)> {
        let snapshot = with_poller(self, place, |poller| poller.snapshot(place))??;
        if snapshot.run_id != run {
            return None;
        }
        Some((reading_of(&snapshot), snapshot.version))
    }

    fn acknowledge(&self, place: &Place, reading: u64) {
        with_poller(self, place, |poller| poller.acknowledge(place, reading));
    }

    fn put_away(&self, place: &Place, reading: u64, recorded: Recorded) {
        with_poller(self, place, |poller| poller.put_away(place, reading, recorded));
    }
}
