//! Time as a port: the core is handed [`Now`], the task waits through [`Clock`], and only [`SystemClock`] knows tokio.

use std::future::Future;
use std::time::{Duration, Instant, SystemTime};

/// One instant on two clocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    /// Time since some fixed start; never goes back. All waits are measured with it.
    pub monotonic: Duration,
    /// The time of day; may jump. Only ever handed on.
    pub wall: SystemTime,
}

/// Where a [`Poller`](super::Poller) gets its time from.
pub trait Clock: Send + Sync + 'static {
    /// This instant.
    fn now(&self) -> Now;

    /// Ends when the monotonic clock has reached `instant`.
    fn sleep_until(&self, instant: Duration) -> impl Future<Output = ()> + Send;
}

/// The machine's clocks. Its monotonic time counts from its creation: share one clock (it is `Copy`) wherever instants
/// are compared.
#[derive(Debug, Clone, Copy)]
pub struct SystemClock {
    start: Instant,
}

impl SystemClock {
    /// A clock that starts at zero now.
    #[must_use]
    pub fn start() -> Self {
        Self::since(Instant::now())
    }

    /// A clock that was at zero then.
    #[must_use]
    pub fn since(start: Instant) -> Self {
        Self { start }
    }
}

impl Clock for SystemClock {
    fn now(&self) -> Now {
        Now { monotonic: self.start.elapsed(), wall: SystemTime::now() }
    }

    fn sleep_until(&self, instant: Duration) -> impl Future<Output = ()> + Send {
        tokio::time::sleep_until((self.start + instant).into())
    }
}
