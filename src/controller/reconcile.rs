//! One look at one object: observe, decide, perform, settle, record, and again on the object each write returned, until
//! there is nothing to do now. At most one call to Databricks per look. Each step is safe to repeat, so a look may end
//! anywhere.

mod tell;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::{Semaphore, SemaphorePermit};
use tracing::Instrument;

use super::about::{about, of_run};
use super::fail_points::{self, When};
use super::kept::{AtRest, Kept};
use super::memories::{Entry, Memories};
use super::observe::{Looked, is_done};
use super::pace::pace;
use super::perform::perform;
use super::ports::{Clock, Following, Objects, Place, Remote, StoreError, Stored};
use super::record::{metadata_patch, status_patch};
use super::recorded::recorded;
use super::spans;
use crate::api::run::{RunObject, START_ANNOTATION};
use crate::leader::Lead;
use crate::lifecycle::{
    Announcement, Change, Effect, EventReason, MetadataChange, Observed, Phase, Settings, Step, WorkspaceView, begin,
    decide, is_all_told, settle, verdict,
};
use crate::poller::Recorded;
use crate::telemetry::metrics::StatusWrite;
use crate::telemetry::traces::during;
use crate::telemetry::{Metrics, Traces};

/// Steps in one look. A run's start takes five; more means that somebody edits faster than we write.
const MAX_STEPS: usize = 16;
/// After a look with too many steps.
const BREATH: Duration = Duration::from_secs(1);
/// When Kubernetes does not take a write, it is tried again after this time.
const STORE_PAUSE: Duration = Duration::from_secs(2);
/// A look asks for the next one in five minutes at the latest, when something goes on.
const OVERLOOKED: Duration = Duration::from_mins(7);
/// An answer that contradicts itself is asked for again after this time.
const DOUBT_PAUSE: Duration = Duration::from_secs(25);

/// Looks that have an object in hand at once; the others wait, first come first served, with nothing but its name. Few more than
/// there are calls to Kubernetes: each is about to wait for one, or for none.
const IN_HAND: usize = 64;

/// The right to have an object in hand.
type Turn<'a> = Option<SemaphorePermit<'a>>;

/// When to look again: now, after a time, or only when something happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// At once: the look ended for fairness, not for lack of work.
    Now,
    /// After this time.
    After(Duration),
    /// When something changes.
    OnChange,
}

/// Looks at objects.
#[derive(Debug)]
pub struct Reconciler<O, R, C> {
    objects: O,
    remote: R,
    clock: C,
    settings: Settings,
    lead: Lead,
    memories: Memories,
    metrics: Arc<Metrics>,
    traces: Traces,
    turns: Semaphore,
    stopping: AtomicBool,
}

impl<O: Objects, R: Remote, C: Clock> Reconciler<O, R, C> {
    /// Puts one together. `lead` counts its instants on the monotonic clock of `clock`.
    pub fn new(objects: O, remote: R, clock: C, settings: Settings, lead: Lead, metrics: Arc<Metrics>) -> Self {
        let (memories, traces) = (Memories::default(), Traces::default());
        let (turns, stopping) = (Semaphore::new(IN_HAND), AtomicBool::new(false));
        Self { objects, remote, clock, settings, lead, memories, metrics, traces, turns, stopping }
    }

    /// Has it tell its requests as traces.
    #[must_use]
    pub fn tracing(self, traces: Traces) -> Self {
        Self { traces, ..self }
    }

    /// Where it counts.
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// From here on no look begins a call to Databricks; what is under way is finished and written.
    pub fn stop(&self) {
        self.stopping.store(true, Ordering::SeqCst);
    }

    /// Whether an effect may begin. Who begins to lead looks at every object anew, so nobody else has to come back.
    pub fn leads(&self) -> bool {
        self.lead.permits(self.clock.now().mono)
    }

    /// Looks at an object as it was kept.
    pub async fn reconcile(&self, place: &Place, kept: &Kept) -> Result<Next, StoreError> {
        // The semaphore is never closed.
        let turn = self.turns.acquire().await.ok();
        // Boxed, and told of only now: thousands may wait for their turn, and the whole look is a hundred times what a wait is.
        Box::pin(self.in_turn(place, kept, turn)).instrument(about(place, Some(kept))).await
    }

    async fn in_turn(&self, place: &Place, kept: &Kept, turn: Turn<'_>) -> Result<Next, StoreError> {
        if !self.leads() {
            return Ok(Next::OnChange);
        }
        if let Kept::AtRest(rest) = kept
            && let Some(next) = self.leave_at_rest(place, rest).await
        {
            return Ok(next);
        }
        if let Some(object) = kept.whole() {
            return self.look_at(place, object, turn).await;
        }
        match self.objects.get(place).await {
            Ok(Some(read)) => self.look_at(place, read.object, turn).await,
            Ok(None) => {
                // Which may take a call of Databricks.
                drop(turn);
                self.gone(place).await;
                Ok(Next::OnChange)
            }
            Err(_) if !self.leads() => Ok(Next::OnChange),
            Err(error) => Err(error),
        }
    }

    /// Until when an object at rest stays so; none if there is something to do with it, or remembered of it.
    async fn leave_at_rest(&self, place: &Place, rest: &AtRest) -> Option<Next> {
        let entry = self.memories.of(place);
        let mut entry = entry.lock().await;
        entry.catch_up(&rest.metadata);
        let next = match rest.rests_for(self.clock.now()) {
            None => Next::OnChange,
            Some(left) if left.is_zero() => return None,
            Some(left) => Next::After(left),
        };
        if !entry.is_spent() {
            return None;
        }
        self.remote.forget(place);
        self.memories.drop(place);
        Some(next)
    }

    async fn look_at(&self, place: &Place, watched: RunObject, turn: Turn<'_>) -> Result<Next, StoreError> {
        let entry = self.memories.of(place);
        let mut entry = entry.lock().await;
        let was_done = is_done(&watched);
        let object = entry.newest(watched);
        // What was watched may be older, and know of no run yet.
        if let Some(status) = &object.status {
            of_run(status);
        }
        let next = self.steps(place, &mut entry, object, turn).await;
        entry.looked_at = Some(self.clock.now().mono);
        // Of what is not done, it is remembered when it was looked at.
        if matches!(next, Ok(Next::OnChange)) && was_done && entry.is_spent() {
            self.memories.drop(place);
        }
        match next {
            Err(StoreError::Gone) => {
                drop(entry);
                self.gone(place).await;
                Ok(Next::OnChange)
            }
            Err(_) if !self.leads() => Ok(Next::OnChange),
            next => next,
        }
    }

    /// The object is no more. Nothing of it is followed; a run that was started but could not be recorded is stopped.
    pub async fn gone(&self, place: &Place) {
        self.let_go(place).instrument(about(place, None)).await;
    }

    async fn let_go(&self, place: &Place) {
        // Who does not lead keeps what it remembers until it does.
        if !self.leads() {
            return;
        }
        let entry = self.memories.of(place);
        // First a look that is under way ends: it would have the run followed once more, and for ever.
        let entry = entry.lock().await;
        self.remote.forget(place);
        self.memories.drop(place);
        if let Some((pin, run)) = entry.memory.left_behind() {
            tracing::warn!(run_id = %run, "the object vanished while its run was being started; the run is cancelled");
            if let Err(error) = self.remote.cancel(&place.namespace, &pin, run).await {
                self.metrics.run_orphaned();
                tracing::error!(run_id = %run, %error, "a run without an object could not be cancelled");
            }
        }
    }

    /// The objects of which something is remembered, for [`Self::gone`] to be told of those that are no more.
    pub fn remembered(&self) -> Vec<Place> {
        self.memories.places()
    }

    /// The objects that are kept because the watch did not know our last write yet.
    pub fn ahead_of_the_watch(&self) -> Vec<Place> {
        self.memories.ahead_of_the_watch()
    }

    /// Lets go of what was kept because the watch did not know it yet, and does now.
    pub fn caught_up(&self, place: &Place, kept: &Kept) {
        self.memories.let_go_of_written(place, kube::Resource::meta(kept));
    }

    /// Whether nobody has looked at an object that is not done with for longer than any look asks for. A wake that fell on
    /// a moment in which the watch did not know the object is lost, and so is a word that an older version of the operator
    /// wrote at its end.
    pub fn is_overlooked(&self, place: &Place, kept: &Kept) -> bool {
        let now = self.clock.now().mono;
        self.lead.permits(now)
            && !kept.is_done_with()
            && now >= OVERLOOKED
            && !self.memories.looked_at_since(place, now.saturating_sub(OVERLOOKED))
    }

    async fn steps(
        &self,
        place: &Place,
        entry: &mut Entry,
        mut object: RunObject,
        mut turn: Turn<'_>,
    ) -> Result<Next, StoreError> {
        let mut called = false;
        let mut read_to_start = false;
        for _ in 0..MAX_STEPS {
            // Each step has one effect at most.
            if !self.leads() {
                return Ok(Next::OnChange);
            }
            let seen_reading;
            let step = {
                let looked = Looked::at(&object);
                self.tell_unreadable(entry, &looked);
                let (step, reading) = self.decide(place, entry, &looked);
                seen_reading = reading;
                step
            };
            match step {
                Step::DeleteSelf(announcement) => {
                    let Some(newer) = self.delete(place, entry, &object, &announcement).await? else {
                        self.remote.forget(place);
                        return Ok(Next::OnChange);
                    };
                    object = newer;
                }
                Step::Record(change) => object = self.record(place, entry, &object, &change).await?,
                Step::Mark(change) => object = self.mark(place, entry, &object, &change).await?,
                Step::Remote(_) if called || self.stopping.load(Ordering::SeqCst) => {
                    return Ok(if called { Next::Now } else { Next::OnChange });
                }
                Step::Remote(Effect::Submit { .. }) if !self.is_fresh(entry) => {
                    if read_to_start {
                        // To ask again at once would make it slower still.
                        tracing::warn!(
                            "the Kubernetes API answers so late that no run may be started on what it says; this is tried again \
                             in two seconds. If it goes on, find out what overloads the API server, or raise --submit-timeout"
                        );
                        return Ok(Next::After(STORE_PAUSE));
                    }
                    // Another process may have taken the start over meanwhile.
                    object = self.reread(place, entry).await?;
                    read_to_start = true;
                }
                Step::Remote(effect) => {
                    called = true;
                    // Databricks may take its time, and what comes of it is recorded without waiting for another turn.
                    drop(turn.take());
                    self.call(place, entry, &object, &effect).await;
                }
                Step::Wait(wait) => {
                    let recorded = self.follow(place, &object);
                    if let Some(reading) = seen_reading {
                        self.remote.acknowledge(place, reading);
                        if let Some(recorded) = recorded.filter(|_| is_all_told(object.status.as_ref(), wait)) {
                            self.remote.put_away(place, reading, recorded);
                        }
                    }
                    return Ok(wait.map_or(Next::OnChange, Next::After));
                }
            }
            self.follow(place, &object);
        }
        Ok(Next::After(BREATH))
    }

    /// Whether the object is new enough to send a start: whoever takes it over waits that long, and one deadline more, before it
    /// sends.
    fn is_fresh(&self, entry: &Entry) -> bool {
        let age = entry.newest_at().map(|at| self.clock.now().mono.saturating_sub(at));
        age.is_some_and(|age| age < self.settings.fresh_view())
    }

    fn decide(&self, place: &Place, entry: &mut Entry, looked: &Looked<'_>) -> (Step, Option<u64>) {
        let now = self.clock.now();
        let subject = looked.subject(&self.settings.ttl_keep_keys);
        entry.memory.notice(&subject, &self.settings, now);
        let workspace = looked
            .workspace()
            .map_or(WorkspaceView::Missing, |(kind, name)| self.remote.workspace(&place.namespace, kind, name));
        let live = Phase::of(subject.status).run();
        let reading = live.and_then(|run| self.remote.reading(place, run));
        if let Some(run) = live {
            entry.memory.notice_reading(run, reading.as_ref().map(|(reading, _)| reading), now);
            self.ask_again(place, reading.as_ref().map(|(reading, _)| reading), now.mono);
        }
        let (reading, number) = reading.unzip();
        let seen = Observed {
            subject,
            workspace: &workspace,
            reading: reading.as_ref(),
            memory: &entry.memory,
            settings: &self.settings,
        };
        (decide(&seen, now), number)
    }

    /// An answer in doubt is asked for again.
    fn ask_again(&self, place: &Place, reading: Option<&crate::lifecycle::Reading>, now: Duration) {
        if let Some(reading) = reading
            && let Some(run) = &reading.run
            && verdict::is_doubtful(run)
            && now.saturating_sub(reading.read_at) >= DOUBT_PAUSE
        {
            self.remote.poke(place);
        }
    }

    async fn call(&self, place: &Place, entry: &mut Entry, object: &RunObject, effect: &Effect) {
        begin(&mut entry.memory, effect);
        fail_points::of_call(When::Before, place, effect);
        let performed = perform(&self.remote, &place.namespace, effect);
        let outcome = during(spans::trace_of(&self.traces, object), performed).await;
        fail_points::of_call(When::After, place, effect);
        tracing::debug!(effect = effect.name(), "performed");
        if let Effect::Cancel { .. } = effect {
            self.remote.poke(place);
        }
        if let (lane, Some(wait)) = outcome.held_back() {
            self.metrics.limiter_waits(lane, wait);
        }
        let superfluous = entry.memory.superfluous.as_ref().map(|superfluous| superfluous.run);
        settle(&mut entry.memory, effect, outcome, self.clock.now());
        if let Effect::Cancel { run, .. } = effect
            && superfluous == Some(*run)
            && entry.memory.superfluous.is_none()
        {
            let note =
                format!("run {run} was started, but the object has gone on without it; it has been told to stop");
            let announcement = Announcement::warning(EventReason::RunOrphaned, &note);
            self.announce(object, std::slice::from_ref(&announcement)).await;
        }
    }

    async fn record(
        &self,
        place: &Place,
        entry: &mut Entry,
        object: &RunObject,
        change: &Change,
    ) -> Result<RunObject, StoreError> {
        let patch = status_patch(object, &change.status).map_err(|error| StoreError::Refused(error.to_string()))?;
        let Some(patch) = patch else {
            self.metrics.status_write(StatusWrite::Suppressed);
            return Ok(object.clone());
        };
        fail_points::of_write(When::Before, place, object, &change.status);
        match self.objects.patch_status(place, &patch).await {
            Ok(written) => {
                fail_points::of_write(When::After, place, object, &change.status);
                self.metrics.status_write(StatusWrite::Written);
                entry.memory.recorded(&change.status, self.clock.now());
                let written = entry.wrote(written);
                of_run(&change.status);
                self.finished(object, change);
                spans::tell(&self.traces, object, &change.status, self.clock.now().wall);
                self.announce(&written, &change.announce).await;
                Ok(written)
            }
            Err(StoreError::Conflict) => {
                self.metrics.status_write(StatusWrite::Conflict);
                self.reread(place, entry).await
            }
            Err(error) => {
                self.metrics.status_write(StatusWrite::Failed);
                Err(error)
            }
        }
    }

    async fn mark(
        &self,
        place: &Place,
        entry: &mut Entry,
        object: &RunObject,
        change: &MetadataChange,
    ) -> Result<RunObject, StoreError> {
        let Some(patch) = metadata_patch(object, change) else { return Ok(object.clone()) };
        if let MetadataChange::Release { announce } = change {
            // Told first: once the object is gone, nobody would come back to tell.
            let news: Vec<_> = announce.iter().filter(|it| !entry.told.contains(it)).cloned().collect();
            self.announce(object, &news).await;
            entry.told.extend(news);
        }
        fail_points::of_mark(When::Before, place, change);
        match self.objects.patch_metadata(place, &patch).await {
            Ok(written) => {
                fail_points::of_mark(When::After, place, change);
                let written = entry.wrote(written);
                if let MetadataChange::Hold { serial } = change
                    && object.annotation(START_ANNOTATION) != written.annotation(START_ANNOTATION)
                {
                    entry.memory.marked(*serial);
                }
                Ok(written)
            }
            Err(StoreError::Conflict) => self.reread(place, entry).await,
            Err(error) => Err(error),
        }
    }

    /// Deletes the object, if it is still what was seen; else the newer one.
    async fn delete(
        &self,
        place: &Place,
        entry: &mut Entry,
        object: &RunObject,
        announcement: &Announcement,
    ) -> Result<Option<RunObject>, StoreError> {
        let metadata = &object.metadata;
        let (uid, version) = (metadata.uid.as_deref(), metadata.resource_version.as_deref());
        fail_points::of_delete(When::Before, place);
        match self.objects.delete(place, uid.unwrap_or_default(), version.unwrap_or_default()).await {
            Ok(()) => {
                fail_points::of_delete(When::After, place);
                self.announce(object, std::slice::from_ref(announcement)).await;
                Ok(None)
            }
            Err(StoreError::Conflict) => self.reread(place, entry).await.map(Some),
            Err(error) => Err(error),
        }
    }

    async fn reread(&self, place: &Place, entry: &mut Entry) -> Result<RunObject, StoreError> {
        let read = self.objects.get(place).await?.ok_or(StoreError::Gone)?;
        let asked_at = read.asked_at;
        let object = entry.newest(read.object);
        Ok(entry.wrote(Stored { object, asked_at }))
    }

    /// Has the poller follow exactly what the status says is under way; what that tells of it.
    fn follow(&self, place: &Place, object: &RunObject) -> Option<Recorded> {
        if !self.leads() {
            return None;
        }
        let looked = Looked::at(object);
        let (Some(run), Some(pin)) = (Phase::of(looked.status()).run(), &looked.status().workspace) else {
            self.remote.forget(place);
            return None;
        };
        let trace = spans::trace_of(&self.traces, object);
        let recorded = recorded(&looked, self.clock.now());
        self.remote.follow(place, pin, run, Following { pace: pace(&looked), recorded, trace });
        recorded
    }
}

/// What to do after a look that failed.
#[must_use]
pub fn after_failure(error: &StoreError) -> Duration {
    match error {
        StoreError::Refused(_) => STORE_PAUSE * 15,
        StoreError::Conflict | StoreError::Gone | StoreError::Unavailable(_) | StoreError::NotLeading => STORE_PAUSE,
    }
}
