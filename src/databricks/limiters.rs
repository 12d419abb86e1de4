//! The limiters of this process: one per host, shared by every client that speaks to it, whatever its identity.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use super::clock::Clock;
use super::error::Error;
use super::host::Host;
use super::limiter::share::Share;
use super::limiter::{Asker, Core, DEFAULT_REQUESTS_PER_SECOND, Lane, Permission};

/// Those who are told a time come up to so much later, so that several processes that share a host do not march in step.
/// Short, because within this process the limiter has spread them already.
const JITTER: Duration = Duration::from_millis(100);

/// Gives every host its limiter. A limiter lives as long as a client of its host.
#[derive(Debug)]
pub struct Limiters {
    requests_per_second: f64,
    clock: Clock,
    by_host: Mutex<HashMap<Host, Weak<HostLimiter>>>,
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
    pub fn for_host(&self, host: &Host) -> Arc<HostLimiter> {
        let mut by_host = self.by_host.lock().unwrap_or_else(PoisonError::into_inner);
        by_host.retain(|_, limiter| limiter.strong_count() > 0);
        if let Some(limiter) = by_host.get(host).and_then(Weak::upgrade) {
            return limiter;
        }
        let limiter = Arc::new(HostLimiter::new(self.requests_per_second, self.clock.clone()));
        by_host.insert(host.clone(), Arc::downgrade(&limiter));
        limiter
    }
}

/// The limiter of one host.
#[derive(Debug)]
pub struct HostLimiter {
    core: Mutex<Core>,
    requests_per_second: f64,
    clock: Clock,
    objects: AtomicU64,
}

impl HostLimiter {
    fn new(requests_per_second: f64, clock: Clock) -> Self {
        let core = Mutex::new(Core::new(requests_per_second, clock.now()));
        Self { core, requests_per_second, clock, objects: AtomicU64::default() }
    }

    /// Requests per second that are allowed at this instant.
    #[must_use]
    pub fn rate(&self) -> f64 {
        self.core().rate()
    }

    /// The part of one workspace object. Objects of one tenant share what one alone would have; without a tenant each
    /// object is one. Its own rate counts where it is lower than the host's.
    pub(super) fn for_object(self: Arc<Self>, tenant: Option<&str>, own_rate: Option<f64>) -> Limiter {
        let number = self.objects.fetch_add(1, Ordering::Relaxed);
        let share = hash(tenant.ok_or(number));
        let own = own_rate.filter(|rate| *rate < self.requests_per_second);
        let own = own.map(|rate| Mutex::new(Share::new(rate, self.clock.now())));
        Limiter { host: self, share, own }
    }

    fn core(&self) -> MutexGuard<'_, Core> {
        self.core.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The part that one workspace object has in the limiter of its host.
#[derive(Debug)]
pub(super) struct Limiter {
    host: Arc<HostLimiter>,
    share: u64,
    own: Option<Mutex<Share>>,
}

impl Limiter {
    /// The most requests a second that the host is ever sent.
    pub(super) fn requests_per_second(&self) -> f64 {
        self.host.requests_per_second
    }

    /// Asks for one request; `who` names the operation. Refused: [`Error::NotNow`] with the time to wait.
    pub(super) fn ask(&self, lane: Lane, who: impl Hash) -> Result<(), Error> {
        let who = Asker { share: self.share, call: hash(who) };
        let now = self.host.clock.now();
        let permission = match self.own() {
            Some(mut own) => own.ask(&mut self.host.core(), lane, who, now),
            None => self.host.core().ask(lane, who, now),
        };
        match permission {
            Permission::Now => Ok(()),
            Permission::At(at) => {
                let wait = at.saturating_sub(now);
                Err(Error::NotNow(wait + JITTER.mul_f64(rand::random_range(0.0..1.0))))
            }
        }
    }

    /// Counts a request that is sent in any case.
    pub(super) fn charge(&self) {
        let now = self.host.clock.now();
        if let Some(mut own) = self.own() {
            own.charge(now);
        }
        self.host.core().charge(now);
    }

    /// Learns from an answer: a 429 slows everybody down, a `Retry-After` holds everybody. A quota that is used up says
    /// nothing about the rate.
    pub(super) fn learn(&self, error: &Error, retry_after: Option<Duration>) {
        let now = self.host.clock.now();
        match (error, retry_after) {
            (Error::Throttled { api, .. }, pause) if api.http_status == 429 => self.host.core().throttled(pause, now),
            (Error::Unavailable(_), Some(pause)) => self.host.core().hold(pause, now),
            _ => {}
        }
    }

    fn own(&self) -> Option<MutexGuard<'_, Share>> {
        self.own.as_ref().map(|own| own.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

fn hash(what: impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    what.hash(&mut hasher);
    hasher.finish()
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
        let limiter = Limiters::new(1.0).for_host(&host("https://a.example")).for_object(None, None);
        while limiter.ask(Lane::Poll, 1).is_ok() {}
        assert!(matches!(limiter.ask(Lane::Poll, 2), Err(Error::NotNow(wait)) if wait > Duration::ZERO));
    }

    #[test]
    fn an_object_only_lowers_its_own_rate_and_never_the_others() {
        let host = Limiters::new(100.0).for_host(&host("https://a.example"));
        let granted = |limiter: &Limiter| (0..200).filter(|call| limiter.ask(Lane::Cancel, call).is_ok()).count();
        let (slow, other) = (host.clone().for_object(None, Some(4.0)), host.for_object(None, Some(1000.0)));
        assert!((4..8).contains(&granted(&slow)));
        assert!(granted(&other) >= 90);
    }

    #[test]
    fn objects_of_one_tenant_are_one_and_others_are_many() {
        let host = Limiters::default().for_host(&host("https://a.example"));
        let share = |tenant| host.clone().for_object(tenant, None).share;
        assert_eq!(share(Some("team")), share(Some("team")));
        assert_ne!(share(Some("team")), share(Some("other")));
        assert_ne!(share(None), share(None));
    }
}
