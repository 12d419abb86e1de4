//! What this process remembers, object by object, and the object as it last wrote it: the watch may lag behind our own
//! write, and a decision on the older object would do things twice.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use kube::core::ObjectMeta;

use super::packed::Packed;
use super::ports::{Place, Stored};
use crate::api::run::RunObject;
use crate::lifecycle::{Announcement, Memory};

/// One object's.
#[derive(Debug, Default)]
pub(super) struct Entry {
    /// The object's uid: an object of the same name made anew is another one.
    uid: String,
    /// What `lifecycle` remembers.
    pub(super) memory: Memory,
    /// The object as the API server last answered it to us, until the watch has caught up; boxed, for mostly it has.
    written: Option<Box<Written>>,
    /// What was told before the object is let go of: a release that fails is repeated, what it tells is not.
    pub(super) told: Vec<Announcement>,
    /// When the object was last looked at.
    pub(super) looked_at: Option<Duration>,
    /// The generation whose unreadable spec was told of.
    pub(super) unreadable_told: Option<i64>,
}

/// What the API server answered, packed, and when it was asked.
#[derive(Debug)]
struct Written {
    packed: Packed,
    asked_at: Duration,
}

impl Entry {
    /// The newer of what was watched and what we wrote. Resource versions are numbers that grow (Kubernetes 1.35 and
    /// later say so); where they are not, what was watched counts, and compare-and-swap keeps us honest.
    pub(super) fn newest(&mut self, watched: RunObject) -> RunObject {
        self.catch_up(&watched.metadata);
        let written = self.written.as_ref().and_then(|written| written.packed.unpack());
        if written.is_none() {
            self.written = None;
        }
        written.unwrap_or(watched)
    }

    /// Lets go of what we wrote where what was watched is as new, and of everything where it is another object.
    pub(super) fn catch_up(&mut self, watched: &ObjectMeta) {
        let uid = watched.uid.as_deref().unwrap_or_default();
        if self.uid != uid {
            *self = Self { uid: uid.to_owned(), ..Self::default() };
        }
        self.let_go_of_written(watched);
    }

    /// Lets go of what we wrote where what was watched is the same object and as new.
    fn let_go_of_written(&mut self, watched: &ObjectMeta) {
        if watched.uid.as_deref() != Some(&self.uid) {
            return;
        }
        let version = |metadata: &ObjectMeta| metadata.resource_version.as_deref()?.parse::<u64>().ok();
        self.written.take_if(|written| version(&written.packed.metadata) <= version(watched));
    }

    /// Keeps what the API server has answered; the object.
    pub(super) fn wrote(&mut self, stored: Stored) -> RunObject {
        let Stored { object, asked_at } = stored;
        self.written = Some(Box::new(Written { packed: Packed::of(object.clone()), asked_at }));
        object
    }

    /// Since when the object may no longer be the newest there is; none for what was watched, which may be as old as it likes.
    pub(super) fn newest_at(&self) -> Option<Duration> {
        self.written.as_ref().map(|written| written.asked_at)
    }

    /// Whether there is nothing here worth keeping for an object at rest.
    pub(super) fn is_spent(&self) -> bool {
        self.written.is_none() && self.memory.superfluous.is_none() && self.memory.intent.is_none()
    }
}

/// Everybody's.
#[derive(Debug, Default)]
pub(super) struct Memories(Mutex<HashMap<Place, Arc<tokio::sync::Mutex<Entry>>>>);

impl Memories {
    fn map(&self) -> std::sync::MutexGuard<'_, HashMap<Place, Arc<tokio::sync::Mutex<Entry>>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One object's, made when it is not there. It stays in the map while it is used, so that a panic in between loses
    /// nothing: a request that was being sent still counts as sent.
    pub(super) fn of(&self, place: &Place) -> Arc<tokio::sync::Mutex<Entry>> {
        Arc::clone(self.map().entry(place.clone()).or_default())
    }

    /// Whether an object was looked at since this time, or is being looked at.
    pub(super) fn looked_at_since(&self, place: &Place, since: Duration) -> bool {
        let Some(entry) = self.map().get(place).map(Arc::clone) else { return false };
        entry.try_lock().map_or(true, |entry| entry.looked_at.is_some_and(|at| at >= since))
    }

    /// The objects of which something is kept that we wrote, as far as nobody looks at them.
    pub(super) fn ahead_of_the_watch(&self) -> Vec<Place> {
        let map = self.map();
        let ahead = map.iter().filter(|(_, entry)| entry.try_lock().is_ok_and(|entry| entry.written.is_some()));
        ahead.map(|(place, _)| place.clone()).collect()
    }

    /// See [`Entry::let_go_of_written`]. Nothing else is forgotten without a look; one that is under way sees to it itself.
    pub(super) fn let_go_of_written(&self, place: &Place, watched: &ObjectMeta) {
        let entry = self.map().get(place).map(Arc::clone);
        if let Some(entry) = entry
            && let Ok(mut entry) = entry.try_lock()
        {
            entry.let_go_of_written(watched);
        }
    }

    /// Forgets an object.
    pub(super) fn drop(&self, place: &Place) -> Option<Arc<tokio::sync::Mutex<Entry>>> {
        self.map().remove(place)
    }

    /// The places remembered.
    pub(super) fn places(&self) -> Vec<Place> {
        self.map().keys().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::lifecycle::EventReason;

    fn object(uid: &str, version: &str) -> RunObject {
        serde_json::from_value(json!({"metadata": {"name": "a", "uid": uid, "resourceVersion": version}})).unwrap()
    }

    #[tokio::test]
    async fn without_a_look_what_was_written_goes_when_the_watch_has_it_and_nothing_else_ever() {
        let memories = Memories::default();
        let place = Place { namespace: "a".into(), name: "a".into() };
        let entry = memories.of(&place);
        {
            let mut entry = entry.lock().await;
            entry.newest(object("new", "5"));
            entry.wrote(Stored { object: object("new", "7"), asked_at: Duration::ZERO });
            entry.told.push(Announcement::normal(EventReason::RunStarted, "started"));
        }
        assert_eq!(memories.ahead_of_the_watch(), std::slice::from_ref(&place));
        // An object of the same name that was there before, from a list that is behind; and a version before ours.
        for (uid, version) in [("old", "9"), ("new", "6")] {
            memories.let_go_of_written(&place, &object(uid, version).metadata);
            let entry = entry.lock().await;
            assert!(entry.written.is_some() && entry.told.len() == 1, "{uid} {version}");
        }
        memories.let_go_of_written(&place, &object("new", "7").metadata);
        let entry = entry.lock().await;
        assert!(entry.written.is_none() && entry.told.len() == 1);
        drop(entry);
        assert_eq!(memories.ahead_of_the_watch(), []);
    }
}
