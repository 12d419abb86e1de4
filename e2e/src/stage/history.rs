//! What became of an object, version by version: some rules are about what must never be seen, however briefly.

use std::sync::{Arc, Mutex, PoisonError};

use databricks_run_operator::api::run::RunObject;
use futures::StreamExt;
use kube::Api;
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, watch_object, watcher};
use tokio::task::JoinHandle;

use super::RunView;

/// The versions of one run's object, or of all, since [`super::Stage::history`] or [`super::Stage::history_of_all`] was called.
pub struct History {
    seen: Arc<Mutex<Vec<RunView>>>,
    watch: JoinHandle<()>,
}

impl History {
    pub(super) fn of(runs: Api<RunObject>, name: &str) -> Self {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (kept, name) = (Arc::clone(&seen), name.to_owned());
        let watch = tokio::spawn(async move {
            let mut versions = std::pin::pin!(watch_object(runs, &name));
            while let Some(version) = versions.next().await {
                // A watch that breaks off is taken up again by itself.
                if let Ok(Some(object)) = version {
                    kept.lock().unwrap_or_else(PoisonError::into_inner).push(RunView(object));
                }
            }
        });
        Self { seen, watch }
    }

    pub(super) fn of_all(runs: Api<RunObject>) -> Self {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&seen);
        let watch = tokio::spawn(async move {
            let mut versions = std::pin::pin!(watcher(runs, watcher::Config::default()).applied_objects());
            while let Some(version) = versions.next().await {
                if let Ok(object) = version {
                    kept.lock().unwrap_or_else(PoisonError::into_inner).push(RunView(object));
                }
            }
        });
        Self { seen, watch }
    }

    /// The versions so far.
    #[must_use]
    pub fn so_far(&self) -> Vec<RunView> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Fails unless this run's end alone was ever shown as the end: nobody may see green or red in between.
    ///
    /// # Panics
    /// When another end was shown, or nothing was seen at all.
    pub fn assert_no_end_but_of(&self, run_id: &str) {
        let versions = self.so_far();
        assert!(!versions.is_empty(), "nothing was seen of the object, so nothing can be said");
        for version in versions {
            let ended = version.shows_an_end();
            assert!(
                !ended || version.text("runId") == run_id,
                "an end that was none was shown:\n{:#}",
                version.status()
            );
        }
    }
}

impl Drop for History {
    fn drop(&mut self) {
        self.watch.abort();
    }
}
