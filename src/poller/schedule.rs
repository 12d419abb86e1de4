//! How often a run is asked about: soon while things change, seldom while they don't.

use std::time::Duration;

use rand::{Rng, RngExt};

/// No schedule asks more often than this, whatever it says.
const SHORTEST: Duration = Duration::from_secs(1);

/// The part of a wait that chance may take away, so that runs started together drift apart. It only shortens: `max` is
/// the longest a user waits for news.
const JITTER: f64 = 0.1;

/// The time between two gets of one run: `initial`, doubling up to `max`, `initial` again when its life-cycle state
/// changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Schedule {
    /// The first wait; at least a second.
    pub initial: Duration,
    /// The longest wait; at least `initial`.
    pub max: Duration,
}

impl Default for Schedule {
    fn default() -> Self {
        Self { initial: Duration::from_secs(5), max: Duration::from_mins(1) }
    }
}

impl Schedule {
    /// The first wait.
    pub(super) fn first(self) -> Duration {
        self.initial.max(SHORTEST)
    }

    /// The longest wait.
    pub(super) fn longest(self) -> Duration {
        self.max.max(self.first())
    }

    /// The wait that follows `previous` when nothing has changed; `None` when there was none yet.
    pub(super) fn following(self, previous: Option<Duration>) -> Duration {
        previous.map_or(self.first(), |wait| wait.saturating_mul(2).clamp(self.first(), self.longest()))
    }
}

/// `wait`, shortened by up to a tenth.
pub(super) fn jittered(wait: Duration, random: &mut impl Rng) -> Duration {
    wait.mul_f64(1.0 - JITTER * random.random::<f64>())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waits(schedule: Schedule) -> Vec<u64> {
        let mut wait = None;
        let mut all = Vec::new();
        for _ in 0..6 {
            let next = schedule.following(wait);
            all.push(next.as_secs());
            wait = Some(next);
        }
        all
    }

    #[test]
    fn waits_double_from_5_to_60_seconds_by_default() {
        assert_eq!(waits(Schedule::default()), [5, 10, 20, 40, 60, 60]);
    }

    #[test]
    fn a_schedule_that_makes_no_sense_is_bent_into_one_that_does() {
        let seconds = Duration::from_secs;
        assert_eq!(waits(Schedule { initial: seconds(0), max: seconds(0) }), [1, 1, 1, 1, 1, 1]);
        assert_eq!(waits(Schedule { initial: seconds(30), max: seconds(10) }), [30, 30, 30, 30, 30, 30]);
    }
}
