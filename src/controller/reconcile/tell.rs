//! What is told of a look: Events, log lines and counts.

use super::{Announcement, Change, Clock, Entry, Looked, Objects, Reconciler, Remote, RunObject};
use crate::api::conditions::Reason;
use crate::lifecycle::{EventReason, Severity};

impl<O: Objects, R: Remote, C: Clock> Reconciler<O, R, C> {
    /// Counts and logs the end of a request.
    pub(super) fn finished(&self, before: &RunObject, change: &Change) {
        let was_finished = before.status.as_ref().is_some_and(|status| status.completion_time.is_some());
        if change.status.completion_time.is_none() || was_finished {
            return;
        }
        if let Some(ready) = change.status.conditions.first() {
            if let Some(reason) = Reason::ALL.iter().find(|reason| reason.as_str() == ready.reason) {
                self.metrics.run_finished(reason.as_str());
            }
            tracing::info!(reason = ready.reason, "finished");
        }
    }

    pub(super) async fn announce(&self, object: &RunObject, announcements: &[Announcement]) {
        for announcement in announcements {
            if announcement.reason == EventReason::RunOrphaned {
                self.metrics.run_orphaned();
            }
            if announcement.severity == Severity::Warning {
                tracing::warn!(reason = announcement.reason.as_str(), "{}", announcement.note);
            } else {
                tracing::info!(reason = announcement.reason.as_str(), "{}", announcement.note);
            }
            self.objects.announce(object, announcement).await;
        }
    }

    pub(super) fn tell_unreadable(&self, entry: &mut Entry, looked: &Looked<'_>) {
        let generation = looked.generation();
        match looked.spec() {
            Ok(_) => entry.unreadable_told = None,
            Err(_) if entry.unreadable_told == Some(generation) => {}
            Err(error) => {
                entry.unreadable_told = Some(generation);
                self.metrics.undecodable("DatabricksRun");
                tracing::error!("{error}; nothing is started, a live run is followed and cancelled on deletion");
            }
        }
    }
}
