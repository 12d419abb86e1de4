//! The workspace's only source of time.
//!
//! Everything a run does is computed from this clock, so a test that owns it can look at any instant of any life without
//! waiting for it: sixty days pass in one call.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Milliseconds since 1970, as every time in the Jobs API; also used for spans.
pub type Millis = i64;

/// A clock that follows the machine's or stands still until it is advanced. Clones share one hand.
#[derive(Clone, Debug)]
pub struct Clock(Arc<Mutex<Hand>>);

#[derive(Debug)]
struct Hand {
    /// The instant a manual clock shows; none for a clock that runs.
    stands_at: Option<Millis>,
    /// How far a running clock has been pushed ahead of the machine's.
    ahead: Millis,
}

impl Clock {
    /// Follows the machine's clock.
    #[must_use]
    pub fn real() -> Self {
        Self::with(None)
    }

    /// Stands at `start` until [`Clock::advance`] is called.
    #[must_use]
    pub fn manual(start: Millis) -> Self {
        Self::with(Some(start))
    }

    fn with(stands_at: Option<Millis>) -> Self {
        Self(Arc::new(Mutex::new(Hand { stands_at, ahead: 0 })))
    }

    /// The present, in milliseconds since 1970.
    #[must_use]
    pub fn now(&self) -> Millis {
        let hand = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        hand.stands_at.unwrap_or_else(|| machine_now() + hand.ahead)
    }

    /// Moves the present forward. A running clock keeps running from there.
    pub fn advance(&self, by: Duration) {
        let mut hand = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let by = millis(by);
        match &mut hand.stands_at {
            Some(at) => *at += by,
            None => hand.ahead += by,
        }
    }
}

fn machine_now() -> Millis {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, millis)
}

/// A span in milliseconds. Spans beyond a hundred years are cut there, so that sums of a few never overflow.
pub(super) fn millis(span: Duration) -> Millis {
    const CENTURY: Millis = 100 * 365 * 24 * 3600 * 1000;
    Millis::try_from(span.as_millis()).map_or(CENTURY, |value| value.min(CENTURY))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manual_clock_moves_only_when_told() {
        let clock = Clock::manual(1_000);
        assert_eq!(clock.now(), 1_000);
        clock.clone().advance(Duration::from_secs(2));
        assert_eq!(clock.now(), 3_000);
    }

    #[test]
    fn a_running_clock_can_be_pushed_ahead() {
        let clock = Clock::real();
        let before = clock.now();
        clock.advance(Duration::from_hours(24));
        assert!(clock.now() >= before + 24 * 3600 * 1000);
    }
}
