//! Time as a value that tests can turn: monotonic, counted from the first look.

use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

/// A clock that never goes back.
#[derive(Clone)]
pub(super) struct Clock(Arc<dyn Fn() -> Duration + Send + Sync>);

impl Clock {
    /// The machine's monotonic clock.
    pub(super) fn system() -> Self {
        static START: OnceLock<Instant> = OnceLock::new();
        Self(Arc::new(|| START.get_or_init(Instant::now).elapsed()))
    }

    /// Time since the first look.
    pub(super) fn now(&self) -> Duration {
        (self.0)()
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Clock")
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    /// A clock that stands still until it is turned.
    #[derive(Clone, Default)]
    pub(in super::super) struct ManualClock(Arc<AtomicU64>);

    impl ManualClock {
        pub(in super::super) fn turn(&self, by: Duration) {
            self.0.fetch_add(u64::try_from(by.as_millis()).unwrap(), Ordering::SeqCst);
        }

        pub(in super::super) fn clock(&self) -> Clock {
            let millis = self.0.clone();
            Clock(Arc::new(move || Duration::from_millis(millis.load(Ordering::SeqCst))))
        }
    }

    #[test]
    fn the_system_clock_never_goes_back() {
        let clock = Clock::system();
        let first = clock.now();
        assert!(clock.now() >= first);
    }
}
