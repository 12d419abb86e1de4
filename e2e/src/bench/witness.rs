//! What objects say, and since when: a watch of all runs that keeps the few instants that figures are made of. It must cost
//! little, for it shares the machine with what is measured.

use std::collections::HashMap;
use std::future::ready;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use databricks_run_operator::api::run::RunObject;
use futures::StreamExt;
use kube::runtime::watcher::Event;
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, ResourceExt};
use tokio::task::JoinHandle;

use super::Failure;
use crate::workspace::{Clock, Millis};

/// How often it is asked whether something has come to pass: no figure is taken from that.
const INTERVAL: Duration = Duration::from_millis(50);

/// What is known of one object.
#[derive(Debug, Default, Clone)]
pub(super) struct Track {
    /// Versions of it that were seen, its first included: each is a write.
    pub(super) versions: usize,
    /// The run, and when its id was seen first.
    pub(super) run: Option<(i64, Millis)>,
    /// When it was first seen to have ended.
    pub(super) ended: Option<Millis>,
    /// `status.state` as last seen.
    pub(super) state: String,
}

/// Counts for those who wait: looking through ten thousand objects over and over would take the machine from what is measured.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Tally {
    /// Versions seen.
    pub(super) versions: usize,
    /// Objects whose run is known.
    pub(super) started: usize,
    /// Objects that show their run as `Running`, or did.
    pub(super) running: usize,
    /// Objects that have ended.
    pub(super) ended: usize,
}

#[derive(Default)]
struct Seen {
    objects: HashMap<String, Track>,
    tally: Tally,
}

/// A watch that goes on until it is dropped.
pub(super) struct Witness {
    seen: Arc<Mutex<Seen>>,
    task: JoinHandle<()>,
}

impl Witness {
    pub(super) fn of(runs: Api<RunObject>) -> Self {
        let seen: Arc<Mutex<Seen>> = Arc::default();
        let (kept, clock) = (Arc::clone(&seen), Clock::real());
        let versions = watcher(runs, watcher::Config::default()).default_backoff();
        let task = tokio::spawn(versions.for_each(move |event| {
            if let Ok(Event::Apply(object) | Event::InitApply(object)) = event {
                lock(&kept).note(&object, clock.now());
            }
            ready(())
        }));
        Self { seen, task }
    }

    pub(super) fn tally(&self) -> Tally {
        lock(&self.seen).tally
    }

    /// What is known of each object.
    pub(super) fn objects(&self) -> HashMap<String, Track> {
        lock(&self.seen).objects.clone()
    }

    /// Waits until the counts are so.
    pub(super) async fn until(
        &self,
        what: &str,
        patience: Duration,
        holds: impl Fn(Tally) -> bool,
    ) -> Result<Duration, Failure> {
        let begun = Instant::now();
        while !holds(self.tally()) {
            if begun.elapsed() > patience {
                return Err(format!("not {what} within {} s: {:?}", patience.as_secs(), self.tally()).into());
            }
            tokio::time::sleep(INTERVAL).await;
        }
        Ok(begun.elapsed())
    }
}

impl Drop for Witness {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn lock(seen: &Mutex<Seen>) -> MutexGuard<'_, Seen> {
    seen.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Seen {
    fn note(&mut self, object: &RunObject, now: Millis) {
        let track = self.objects.entry(object.name_any()).or_default();
        track.versions += 1;
        self.tally.versions += 1;
        let Some(status) = &object.status else { return };
        let run = status.run_id.as_ref().and_then(|id| id.parse().ok());
        if let Some(id) = run.filter(|_| track.run.is_none()) {
            track.run = Some((id, now));
            self.tally.started += 1;
        }
        let state = status.state.clone().unwrap_or_default();
        if state == "Running" && track.state != state {
            self.tally.running += 1;
        }
        track.state = state;
        if status.completion_time.is_some() && track.ended.is_none() {
            track.ended = Some(now);
            self.tally.ended += 1;
        }
    }
}
