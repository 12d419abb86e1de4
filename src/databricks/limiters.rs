//! The limiters of this process: one per host, shared by every client that speaks to it, whatever its identity.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use super::clock::Clock;
use super::error::Error;
use super::host::Host;
use super::limiter::{Core, DEFAULT_REQUESTS_PER_SECOND, Lane, Permission};

/// Those who are told a time come up to so much later, so that several processes that share a host do not march in step.
/// Short, because within this process the limiter has spread them already.
const JITTER: Duration = Duration::from_millis(100);

/// Gives every host its limiter. A limiter lives as long as a client of its host.
#[derive(Debug)]
pub struct Limiters {
    requests_per_second: f64,
    clock: Clock,
    by_host: Mutex<HashMap<Host, Weak<Limiter>>>,
}

impl Default for Limiters {
    fn default() -> Self {
        Self::new(DEFAULT_REQUESTS_PER_SECOND)
    }
}

impl Limiters {
    /// Limiters of so many requests per second and host.
    #[must_use]
    pub fn new(requests_per_second: f64) -> Self {
        Self { requests_per_second, clock: Clock::system(), by_host: Mutex::default() }
    }

    /// The one limiter of this host.
    pub fn for_host(&self, host: &Host) -> Arc<Limiter> {
        let mut by_host = self.by_host.lock().unwrap_or_else(PoisonError::into_inner);
        by_host.retain(|_, limiter| limiter.strong_count() > 0);
        if let Some(limiter) = by_host.get(host).and_then(Weak::upgrade) {
            return limiter;
        }
        let limiter = Arc::new(Limiter::new(self.requests_per_second, self.clock.clone()));
        by_host.insert(host.clone(), Arc::downgrade(&limiter));
        limiter
    }
}

/// The limiter of one host.
#[derive(Debug)]
pub struct Limiter {
    core: Mutex<Core>,
    clock: Clock,
}

impl Limiter {
    fn new(requests_per_second: f64, clock: Clock) -> Self {
        Self { core: Mutex::new(Core::new(requests_per_second, clock.now())), clock }
    }

    /// Requests per second that are allowed at this instant.
    #[must_use]
    pub fn rate(&self) -> f64 {
        self.core().rate()
    }

    /// Asks for one request; `who` names the operation. Refused: [`Error::NotNow`] with the time to wait.
    pub(super) fn ask(&self, lane: Lane, who: impl Hash) -> Result<(), Error> {
        let mut hasher = DefaultHasher::new();
        who.hash(&mut hasher);
        let now = self.clock.now();
        match self.core().ask(lane, hasher.finish(), now) {
            Permission::Now => Ok(()),
            Permission::At(at) => {
                let wait = at.saturating_sub(now);
                Err(Error::NotNow(wait + JITTER.mul_f64(rand::random_range(0.0..1.0))))
            }
        }
    }

    /// Counts a request that is sent in any case.
    pub(super) fn charge(&self) {
        self.core().charge(self.clock.now());
    }

    /// Learns from an answer: a 429 slows everybody down, a `Retry-After` holds everybody. A quota that is used up says
    /// nothing about the rate.
    pub(super) fn learn(&self, error: &Error, retry_after: Option<Duration>) {
        let now = self.clock.now();
        match (error, retry_after) {
            (Error::Throttled { api, .. }, pause) if api.http_status == 429 => self.core().throttled(pause, now),
            (Error::Unavailable(_), Some(pause)) => self.core().hold(pause, now),
            _ => {}
        }
    }

    fn core(&self) -> MutexGuard<'_, Core> {
        self.core.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(text: &str) -> Host {
        text.parse().unwrap()
    }

    #[test]
    fn a_host_has_one_limiter_as_long_as_somebody_uses_it() {
        let limiters = Limiters::default();
        let first = limiters.for_host(&host("https://a.example"));
        assert!(Arc::ptr_eq(&first, &limiters.for_host(&host("https://A.example/"))));
        assert!(!Arc::ptr_eq(&first, &limiters.for_host(&host("https://b.example"))));
        drop(first);
        limiters.for_host(&host("https://c.example"));
        assert!(limiters.by_host.lock().unwrap().keys().all(|name| *name == host("https://c.example")));
    }

    #[test]
    fn who_is_held_back_is_told_how_long() {
        let limiter = Limiters::new(1.0).for_host(&host("https://a.example"));
        while limiter.ask(Lane::Poll, 1).is_ok() {}
        assert!(matches!(limiter.ask(Lane::Poll, 2), Err(Error::NotNow(wait)) if wait > Duration::ZERO));
    }
}
