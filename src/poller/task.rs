//! The task around a [`Book`]: it makes the gets that are due, a bounded number at once, and hands on the wakes.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::FutureExt;
use futures::stream::{FuturesUnordered, StreamExt};
use tokio::sync::{Notify, mpsc, watch};

use super::health::Watchdog;
use super::{
    Answer, Ask, AskPage, Book, Clock, Health, Key, Learned, Page, PageAnswer, Read, Recorded, Runs, Schedule,
    Snapshot, Sweeping, Swept, SystemClock,
};
use crate::databricks::error::Error;
use crate::databricks::ids::RunId;
use crate::telemetry::Metrics;

/// Gets in flight at once, by default. The rate limit is what bounds the load; this bounds memory, and is enough for
/// 150 answers a second at 200 ms each.
const MAX_IN_FLIGHT: usize = 32;

/// What a poller is started with, beside its workspace.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// Gets in flight at once.
    pub max_in_flight: usize,
    /// Decides all jitter.
    pub seed: u64,
    /// Whether sweeps are made, and at which rate.
    pub sweeping: Sweeping,
}

impl Default for Settings {
    fn default() -> Self {
        // The standard library's per-process random keys are random enough for jitter.
        let seed = RandomState::new().build_hasher().finish();
        Self { max_in_flight: MAX_IN_FLIGHT, seed, sweeping: Sweeping::Never }
    }
}

/// Asks one workspace about its runs. Dropping it ends its task and whatever get is out.
#[derive(Debug)]
pub struct Poller<K, C = SystemClock> {
    shared: Arc<Shared<K>>,
    clock: C,
    health: watch::Receiver<Health>,
    task: tokio::task::JoinHandle<()>,
}

#[derive(Debug)]
struct Shared<K> {
    book: Mutex<Book<K>>,
    /// Something was changed from outside: the task must look again.
    changed: Notify,
}

impl<K> Shared<K> {
    fn book(&self) -> MutexGuard<'_, Book<K>> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K: Key, C: Clock + Clone> Poller<K, C> {
    /// Starts a poller on the current tokio runtime. Keys with news are sent to `wakes`, which all pollers may share;
    /// while it is full the wakes wait in the book, once each. The poller ends when the other end is gone.
    pub fn start(runs: impl Runs, clock: C, settings: Settings, wakes: mpsc::Sender<K>, metrics: Arc<Metrics>) -> Self {
        let book = Mutex::new(Book::new(settings.seed, settings.max_in_flight, settings.sweeping));
        let shared = Arc::new(Shared { book, changed: Notify::new() });
        let (health_sender, health) = watch::channel(Health::default());
        let worker = Worker {
            runs,
            clock: clock.clone(),
            shared: Arc::clone(&shared),
            health: health_sender,
            watchdog: Watchdog::default(),
            metrics,
        };
        Self { shared, clock, health, task: tokio::spawn(worker.work(wakes)) }
    }

    /// Watches `run` for `key`. Saying so again changes nothing but the schedule; another run replaces the old one.
    /// What is on record of it says how urgent a reading is: see [`Book::watch`].
    pub fn watch(&self, key: K, run: RunId, schedule: Schedule, recorded: Option<Recorded>) {
        let now = self.clock.now();
        self.shared.book().watch(key, run, schedule, recorded, now);
        self.shared.changed.notify_one();
    }

    /// Forgets `key`.
    pub fn unwatch(&self, key: &K) {
        self.shared.book().unwatch(key);
    }

    /// Asks about `key` as soon as the rate limit allows: after a cancel, before a retry, when an answer contradicts
    /// itself. However often this is said it is one get; its answer wakes `key` even if it is no news.
    pub fn poke(&self, key: &K) {
        let now = self.clock.now();
        self.shared.book().poke(key, now);
        self.shared.changed.notify_one();
    }

    /// The newest reading; none before the first get has come back.
    #[must_use]
    pub fn snapshot(&self, key: &K) -> Option<Arc<Snapshot>> {
        self.shared.book().snapshot(key)
    }

    /// Stops the wakes for this version and those before it. News that came since keeps waking.
    pub fn acknowledge(&self, key: &K, version: u64) {
        self.shared.book().acknowledge(key, version);
    }

    /// Lets go of a reading of which all is on record: see [`Book::put_away`].
    pub fn put_away(&self, key: &K, version: u64, recorded: Recorded) {
        self.shared.book().put_away(key, version, recorded);
    }

    /// Whether the workspace answers; `changed()` on it tells of the begin and the end of an outage.
    #[must_use]
    pub fn health(&self) -> watch::Receiver<Health> {
        self.health.clone()
    }

    /// Whether `key`'s run is this one and has been looked at.
    #[must_use]
    pub fn has_looked_at(&self, key: &K, run: RunId) -> bool {
        self.shared.book().has_looked_at(key, run)
    }

    /// How many polls are overdue by more than this.
    #[must_use]
    pub fn overdue_by(&self, late: Duration) -> usize {
        let now = self.clock.now().monotonic;
        now.checked_sub(late).map_or(0, |then| self.shared.book().due_since(then))
    }

    /// How many keys are watched.
    #[must_use]
    pub fn watched(&self) -> usize {
        self.shared.book().len()
    }
}

impl<K, C> Drop for Poller<K, C> {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// What the task owns.
struct Worker<K, R, C> {
    runs: R,
    clock: C,
    shared: Arc<Shared<K>>,
    health: watch::Sender<Health>,
    watchdog: Watchdog,
    metrics: Arc<Metrics>,
}

impl<K: Key, R: Runs, C: Clock> Worker<K, R, C> {
    async fn work(self, wakes: mpsc::Sender<K>) {
        let Self { runs, clock, shared, health, mut watchdog, metrics } = self;
        let (runs, clock, shared) = (&runs, &clock, &*shared);
        let (mut gets, mut pages) = (FuturesUnordered::new(), FuturesUnordered::new());
        loop {
            let now = clock.now();
            let (next_call, next_wake) = {
                let mut book = shared.book();
                while let Some(ask) = book.page_due(now) {
                    pages.push(page(runs, ask));
                }
                while let Some(ask) = book.due(now) {
                    gets.push(get(runs, ask));
                }
                (book.next_due().into_iter().chain(book.next_page()).min(), book.next_wake())
            };
            let wake_now = next_wake.is_some_and(|at| at <= now.monotonic);
            let next_wake = next_wake.filter(|_| !wake_now);
            let alarm = next_call.into_iter().chain(next_wake).min();
            tokio::select! {
                () = shared.changed.notified() => {}
                () = clock.sleep_until(alarm.unwrap_or_default()), if alarm.is_some() => {}
                Some((ask, result)) = gets.next(), if !gets.is_empty() => {
                    let now = clock.now();
                    if let Ok(result) = &result {
                        // Bound first: sending while the old value is borrowed would wait for ever.
                        let new = watchdog.learn(result.as_ref().map(drop), &health.borrow(), now);
                        if let Some(new) = new {
                            health.send_replace(new);
                        }
                    }
                    let answer = result.map_or(PANICKED, Answer::from);
                    let late = ask.late;
                    let learned = shared.book().learned(ask, answer, now);
                    count(&metrics, learned);
                    if let Some(late) = late.filter(|_| !matches!(learned, Learned::Held { .. })) {
                        metrics.poll_late_by(late);
                    }
                }
                Some((ask, result)) = pages.next(), if !pages.is_empty() => {
                    let answer = result.map_or(PageAnswer::Failed { retry_after: None }, PageAnswer::from);
                    let swept = shared.book().page_learned(ask, answer, clock.now());
                    count_page(&metrics, swept);
                }
                permit = wakes.reserve(), if wake_now => {
                    // Nobody is left to be told.
                    let Ok(permit) = permit else { return };
                    if let Some(key) = shared.book().wake(now) {
                        permit.send(key);
                    }
                }
            }
        }
    }
}

/// A get that ended in a panic: one run's answer must not stop the others.
const PANICKED: Answer = Answer::Failed { reason: "Panicked", retry_after: None };

/// Makes one get; a panic in it stays in it.
async fn get<K, R: Runs>(runs: &R, ask: Ask<K>) -> (Ask<K>, Result<Result<Read, Error>, ()>) {
    let run = ask.run;
    let result = AssertUnwindSafe(async { runs.get_run(run).await }).catch_unwind().await;
    if result.is_err() {
        tracing::error!(run_id = %run, "reading a run panicked; it is tried again on its schedule");
    }
    (ask, result.map_err(drop))
}

/// Asks for one page; a panic in it stays in it.
async fn page<R: Runs>(runs: &R, ask: AskPage) -> (AskPage, Result<Result<Page, Error>, ()>) {
    let result = AssertUnwindSafe(async { runs.list_live(&ask.part).await }).catch_unwind().await;
    if result.is_err() {
        tracing::error!("reading a list of runs panicked; runs are read one by one for a while");
    }
    (ask, result.map_err(drop))
}

fn count_page(metrics: &Metrics, swept: Swept) {
    match swept {
        Swept::Page { same, changed, missing } => metrics.swept("page", [same, changed, missing]),
        Swept::Held => metrics.swept("held", [0; 3]),
        Swept::Failed => metrics.swept("failed", [0; 3]),
        Swept::Unwanted => metrics.swept("unwanted", [0; 3]),
    }
}

fn count(metrics: &Metrics, learned: Learned) {
    metrics.polled(match learned {
        Learned::News { .. } => "news",
        Learned::Same => "same",
        Learned::Absent => "absent",
        Learned::Held { .. } => "held",
        Learned::Failed => "failed",
        Learned::Unwatched => "unwatched",
    });
    match learned {
        Learned::News { end_lag: Some(lag) } => metrics.end_seen_after(lag),
        Learned::Held { wait } => metrics.limiter_waits("poll", wait),
        _ => {}
    }
}

#[cfg(test)]
mod tests;
