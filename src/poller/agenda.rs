//! Keys in the order of their time. Keys need no order of their own: a number given when they were first watched decides
//! between equal times, so the order is the same in every repetition of a test.

use std::collections::BTreeMap;
use std::time::Duration;

/// A key's place in an [`Agenda`].
pub(super) type Place = (Duration, u64);

#[derive(Debug)]
pub(super) struct Agenda<K>(BTreeMap<Place, K>);

impl<K> Default for Agenda<K> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<K> Agenda<K> {
    pub(super) fn insert(&mut self, place: Place, key: K) {
        self.0.insert(place, key);
    }

    pub(super) fn remove(&mut self, place: Place) {
        self.0.remove(&place);
    }

    /// When the first key's time comes.
    pub(super) fn next(&self) -> Option<Duration> {
        self.0.first_key_value().map(|((at, _), _)| *at)
    }

    /// Takes the first key out if its time has come.
    pub(super) fn take(&mut self, now: Duration) -> Option<K> {
        let first = self.0.first_entry()?;
        (first.key().0 <= now).then(|| first.remove())
    }

    /// Everybody, the first first.
    pub(super) fn keys(&self) -> impl Iterator<Item = &K> {
        self.0.values()
    }

    /// How many have their time at this instant or before.
    pub(super) fn count_until(&self, then: Duration) -> usize {
        self.0.range(..=(then, u64::MAX)).count()
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}
