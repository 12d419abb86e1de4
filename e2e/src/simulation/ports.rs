//! The operator's ports into this world: the object store, Databricks and the clock, for one process. No rule of the
//! operator is repeated here; where the real adapters hold a call to its pin, this one does, too, and tells that a
//! decision asked for more than it may.

use std::sync::Arc;
use std::time::Duration;

use databricks_run_operator::api::run::RunObject;
use databricks_run_operator::api::status::{Endpoint, WorkspacePin};
use databricks_run_operator::api::workspace::WorkspaceKind;
use databricks_run_operator::controller::ports::{
    Clock, Following, Objects, Place, Remote, StoreError, Stored, reading_of,
};
use databricks_run_operator::databricks::error::{CredentialsError, Error, TransportError};
use databricks_run_operator::databricks::ids::{RepairId, RunId};
use databricks_run_operator::databricks::model::RunOutput;
use databricks_run_operator::lifecycle::observed::same_workspace;
use databricks_run_operator::lifecycle::step::{FoundRun, FreshRun, JobMatch, RunTarget};
use databricks_run_operator::lifecycle::{Announcement, IdempotencyToken, Now, Reading, WorkspaceView};
use databricks_run_operator::poller::{Answer, Ask, AskPage, PageAnswer, Read, Recorded, Schedule, Swept};
use k8s_openapi::jiff::Timestamp;
use serde_json::Value;

use super::databricks::{self, Asked};
use super::invariants::{self, Author, Post};
use super::lines;
use super::network::{Flight, Link, Lost};
use super::process::{ProcessId, SUBMIT_TIMEOUT};
use super::world::{Shared, World};

/// Deadline of a call to Kubernetes.
const STORE_DEADLINE: Duration = Duration::from_secs(15);
/// Deadline of a call to Databricks that starts nothing.
const CALL_DEADLINE: Duration = Duration::from_secs(30);

/// A process's way into the world.
#[derive(Clone)]
pub(super) struct Port {
    pub(super) world: Shared,
    pub(super) process: ProcessId,
}

impl Clock for Port {
    fn now(&self) -> Now {
        let world = self.world.lock();
        world.processes[self.process].clocks.read(world.now)
    }
}

impl Port {
    async fn kubernetes<T: Send + 'static>(
        &self,
        operation: &'static str,
        effect: impl FnOnce(&mut World) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let call = (Link::Kubernetes, operation, STORE_DEADLINE);
        let effect = move |world: &mut World| {
            if !world.calm && world.now < world.ledger.kubernetes_down_until {
                return Err(StoreError::Unavailable("503".to_owned()));
            }
            effect(world)
        };
        match self.exchange(call, |_, _| (), effect).await {
            Ok(answer) => answer,
            Err(Lost::NotConnected) => Err(StoreError::Unavailable("not connected".to_owned())),
            Err(Lost::NoAnswer) => Err(StoreError::Unavailable("no answer".to_owned())),
        }
    }

    /// A write, with the object that it returns.
    async fn stored(
        &self,
        operation: &'static str,
        write: impl FnOnce(&mut World) -> Result<RunObject, StoreError> + Send + 'static,
    ) -> Result<Stored, StoreError> {
        let asked_at = self.now().mono;
        let object = self.kubernetes(operation, write).await?;
        Ok(Stored { object, asked_at })
    }

    async fn databricks<T: Send + 'static>(
        &self,
        operation: &'static str,
        deadline: Duration,
        host: usize,
        sent: impl FnOnce(&mut World, Flight) + Send,
        effect: impl FnOnce(&mut World) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let id = self.process;
        let effect = move |world: &mut World| {
            world.last_effect = world.now;
            let answer = databricks::answer(world, host, effect);
            if let Err(error) = &answer {
                world.tally.count("Databricks answers", error.reason());
                world.tell("Databricks", || format!("answers {operation} of operator-{id}: {error}"));
            }
            answer
        };
        match self.exchange((Link::Databricks, operation, deadline), sent, effect).await {
            Ok(answer) => answer,
            Err(Lost::NotConnected) => Err(Error::Transport(TransportError::NotConnected("refused".to_owned()))),
            Err(Lost::NoAnswer) => Err(Error::Transport(TransportError::NoAnswer("no answer".to_owned()))),
        }
    }

    /// The host that a call for this pin goes to; the real adapter's guard, and a promise: nothing but the cancellation
    /// of a run that the object does not name may rely on it.
    fn line(&self, pin: &WorkspacePin, asked: Asked) -> Result<usize, Error> {
        let mut world = self.world.lock();
        let world = &mut *world;
        let elsewhere = || Error::WrongHost(format!("there is no connection to {} any more", pin.host));
        let line = world.processes[self.process].lines.get(&pin.name).ok_or_else(elsewhere)?;
        let (id, host) = (line.id, line.host);
        if !same_workspace(&line.pin, pin) {
            let points_to = line.pin.host.clone();
            invariants::asked_elsewhere(world, pin, &points_to, asked);
            return Err(elsewhere());
        }
        if !world.calm && world.chance.odds(world.mood.not_now) {
            return Err(Error::NotNow(world.chance.millis(20..=8000)));
        }
        if !lines::secret_serves(world, self.process, id) {
            return Err(Error::Credentials(CredentialsError::NotFound("Secret `db` is not there".to_owned())));
        }
        Ok(host)
    }

    /// A read for the poller.
    pub(super) async fn read(&self, line: u64, ask: Ask<Place>) {
        let run = ask.run;
        let host = self.world.lock().processes[self.process].lines.by_id(line).map(|line| line.host);
        let Some(host) = host else { return };
        let answer = self.get_run(host, run, false, "read").await;
        let mut world = self.world.lock();
        let (now, id) = (world.now, self.process);
        let clock = world.processes[id].clocks.read_for_poller(now);
        if let Some(line) = world.processes[id].lines.by_id(line) {
            line.book.learned(ask, Answer::from(answer), clock);
        }
        lines::arm(&mut world, id, line);
    }

    /// A page of live runs for the poller.
    pub(super) async fn list(&self, line: u64, ask: AskPage) {
        let host = self.world.lock().processes[self.process].lines.by_id(line).map(|line| line.host);
        let Some(host) = host else { return };
        let part = ask.part.clone();
        let effect = move |world: &mut World| databricks::list_live(world, host, &part);
        let answer = self.databricks("list", CALL_DEADLINE, host, |_, _| (), effect).await;
        let mut world = self.world.lock();
        let (now, id) = (world.now, self.process);
        let clock = world.processes[id].clocks.read_for_poller(now);
        if let Some(line) = world.processes[id].lines.by_id(line) {
            let swept = line.book.page_learned(ask, PageAnswer::from(answer), clock);
            world.tally.count(
                "pages",
                match swept {
                    Swept::Page { changed: 0, missing: 0, .. } => "nothing has changed",
                    Swept::Page { missing: 0, .. } => "a run looks otherwise",
                    Swept::Page { .. } => "a run is missing",
                    Swept::Held | Swept::Failed => "failed",
                    Swept::Unwanted => "unwanted",
                },
            );
        }
        lines::arm(&mut world, id, line);
    }

    async fn get_run(&self, host: usize, run: RunId, history: bool, operation: &'static str) -> Result<Read, Error> {
        let effect = move |world: &mut World| databricks::get(world, host, run, history);
        self.databricks(operation, CALL_DEADLINE, host, |_, _| (), effect).await
    }
}

impl Objects for Port {
    async fn get(&self, place: &Place) -> Result<Option<Stored>, StoreError> {
        let (place, asked_at) = (place.clone(), self.now().mono);
        let read =
            self.kubernetes("get", move |world| Ok(world.store.get(&place).map(|object| (**object).clone()))).await?;
        Ok(read.map(|object| Stored { object, asked_at }))
    }

    async fn patch_status(&self, place: &Place, patch: &Value) -> Result<Stored, StoreError> {
        let (place, patch, by) = (place.clone(), patch.clone(), Author::Operator(self.process));
        self.stored("status", move |world| {
            let written = world.store.patch_status(&place, &patch);
            invariants::wrote(world, &place, written, by)
        })
        .await
    }

    async fn patch_metadata(&self, place: &Place, patch: &Value) -> Result<Stored, StoreError> {
        let (place, patch, by) = (place.clone(), patch.clone(), Author::Operator(self.process));
        self.stored("metadata", move |world| {
            let written = world.store.patch_metadata(&place, &patch);
            invariants::wrote(world, &place, written, by)
        })
        .await
    }

    async fn delete(&self, place: &Place, uid: &str, resource_version: &str) -> Result<(), StoreError> {
        let (place, by) = (place.clone(), Author::Operator(self.process));
        let (uid, version) = (uid.to_owned(), resource_version.to_owned());
        self.kubernetes("delete", move |world| {
            let written = world.store.delete(&place, Some((&uid, &version)), world.now);
            invariants::wrote(world, &place, written, by).map(drop)
        })
        .await
    }

    async fn announce(&self, object: &RunObject, announcement: &Announcement) {
        let (uid, announcement) = (object.metadata.uid.clone().unwrap_or_default(), announcement.clone());
        {
            let mut world = self.world.lock();
            world.tell_of(self.process, || format!("event {}: {}", announcement.reason.as_str(), announcement.note));
            world.ledger.told(&uid, &announcement);
        }
        // Best effort: whether it got there is not asked. The log and the metrics have it too.
        let _ = self
            .kubernetes("event", move |world| {
                world.tally.count("events", announcement.reason.as_str());
                Ok(())
            })
            .await;
    }
}

impl Remote for Port {
    fn workspace(&self, _: &str, kind: WorkspaceKind, name: &str) -> WorkspaceView {
        let world = self.world.lock();
        let view = world.processes[self.process].lines.view(name, world.now);
        match view.pin() {
            Some(pin) if pin.kind != kind.as_str() => WorkspaceView::Missing,
            Some(pin) if !world.cluster.admits() && !matches!(view, WorkspaceView::Retained { .. }) => {
                let message = "the namespace is not admitted; have it added".to_owned();
                WorkspaceView::NotAllowed { pin: pin.clone(), message }
            }
            _ => view,
        }
    }

    async fn start(
        &self,
        _: &str,
        pin: &WorkspacePin,
        endpoint: Endpoint,
        body: &str,
        token: &IdempotencyToken,
    ) -> Result<Option<RunId>, Error> {
        let host = self.line(pin, Asked::ForAStart)?;
        let asked_at = self.world.lock().now;
        let id = self.process;
        let post = Post { by: id, host, pin: pin.clone(), body: body.to_owned(), token: token.as_str().to_owned() };
        let (body, token) = (body.to_owned(), token.as_str().to_owned());
        self.databricks(
            "start",
            SUBMIT_TIMEOUT,
            host,
            |world, flight| invariants::posting(world, &post, asked_at, flight),
            move |world| databricks::start(world, host, endpoint, &body, &token),
        )
        .await
    }

    async fn cancel(&self, _: &str, pin: &WorkspacePin, run: RunId) -> Result<(), Error> {
        let host = self.line(pin, Asked::ToCancel(run))?;
        let id = self.process;
        self.databricks(
            "cancel",
            CALL_DEADLINE,
            host,
            |world, _| invariants::canceling(world, id, host, run),
            move |world| databricks::cancel(world, host, run),
        )
        .await
    }

    async fn read_run(&self, _: &str, pin: &WorkspacePin, run: RunId) -> Result<FreshRun, Error> {
        let host = self.line(pin, Asked::ToRead)?;
        let Read { run, server_time } = self.get_run(host, run, true, "fresh read").await?;
        let server_time = server_time.and_then(|time| Timestamp::try_from(time).ok());
        Ok(FreshRun { run: Arc::new(run), server_time })
    }

    async fn repair(
        &self,
        _: &str,
        pin: &WorkspacePin,
        run: RunId,
        after: Option<RepairId>,
        body: &str,
    ) -> Result<RepairId, Error> {
        let host = self.line(pin, Asked::ToRead)?;
        let (id, body) = (self.process, body.to_owned());
        self.databricks(
            "repair",
            CALL_DEADLINE,
            host,
            |world, _| invariants::repairing(world, id, host, run, after),
            move |world| databricks::repair(world, host, run, after, &body),
        )
        .await
    }

    async fn output(&self, _: &str, pin: &WorkspacePin, task: RunId) -> Result<RunOutput, Error> {
        let host = self.line(pin, Asked::ForOutputs)?;
        let effect = move |world: &mut World| databricks::output(world, host, task);
        self.databricks("output", CALL_DEADLINE, host, |_, _| (), effect).await
    }

    async fn find_job(&self, _: &str, pin: &WorkspacePin, name: &str) -> Result<JobMatch, Error> {
        let host = self.line(pin, Asked::ToRead)?;
        let name = name.to_owned();
        let effect = move |world: &mut World| databricks::find_job(world, host, &name);
        self.databricks("find job", CALL_DEADLINE, host, |_, _| (), effect).await
    }

    async fn find_runs(
        &self,
        _: &str,
        pin: &WorkspacePin,
        target: &RunTarget,
        since: i64,
    ) -> Result<Vec<FoundRun>, Error> {
        let host = self.line(pin, Asked::ToRead)?;
        let target = target.clone();
        let effect = move |world: &mut World| databricks::find_runs(world, host, &target, since);
        self.databricks("find runs", CALL_DEADLINE, host, |_, _| (), effect).await
    }

    fn follow(&self, place: &Place, pin: &WorkspacePin, run: RunId, how: Following) {
        let mut world = self.world.lock();
        let (now, id) = (world.now, self.process);
        let clock = world.processes[id].clocks.read_for_poller(now);
        let lines = &mut world.processes[id].lines;
        let Some(line) = lines.get_mut(&pin.name).filter(|line| same_workspace(&line.pin, pin)) else { return };
        let schedule = Schedule {
            initial: Duration::from_secs(how.pace.initial_seconds.into()),
            max: Duration::from_secs(how.pace.max_seconds.into()),
        };
        line.book.watch(place.clone(), run, schedule, how.recorded, clock);
        let line = line.id;
        lines.followed.insert(place.clone(), (pin.name.clone(), run));
        lines::arm(&mut world, id, line);
    }

    fn forget(&self, place: &Place) {
        let mut world = self.world.lock();
        let lines = &mut world.processes[self.process].lines;
        let Some((name, _)) = lines.followed.remove(place) else { return };
        if let Some(line) = lines.get_mut(&name) {
            line.book.unwatch(place);
        }
    }

    fn poke(&self, place: &Place) {
        let mut world = self.world.lock();
        let (now, id) = (world.now, self.process);
        let clock = world.processes[id].clocks.read_for_poller(now);
        let lines = &mut world.processes[id].lines;
        let Some((name, _)) = lines.followed.get(place).cloned() else { return };
        let Some(line) = lines.get_mut(&name) else { return };
        line.book.poke(place, clock);
        let line = line.id;
        lines::arm(&mut world, id, line);
    }

    fn reading(&self, place: &Place, run: RunId) -> Option<(Reading, u64)> {
        let world = self.world.lock();
        let lines = &world.processes[self.process].lines;
        let (name, _) = lines.followed.get(place)?;
        let snapshot = lines.get(name)?.book.snapshot(place)?;
        (snapshot.run_id == run).then(|| (reading_of(&snapshot), snapshot.version))
    }

    fn acknowledge(&self, place: &Place, reading: u64) {
        let mut world = self.world.lock();
        let lines = &mut world.processes[self.process].lines;
        let Some((name, _)) = lines.followed.get(place).cloned() else { return };
        if let Some(line) = lines.get_mut(&name) {
            line.book.acknowledge(place, reading);
        }
    }

    fn put_away(&self, place: &Place, reading: u64, recorded: Recorded) {
        let mut world = self.world.lock();
        let lines = &mut world.processes[self.process].lines;
        let Some((name, _)) = lines.followed.get(place).cloned() else { return };
        if let Some(line) = lines.get_mut(&name) {
            line.book.put_away(place, reading, recorded);
        }
    }
}
