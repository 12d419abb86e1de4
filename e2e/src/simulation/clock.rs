//! Time. There is one true time, which only the world knows; each process reads it through a wall clock that is off and
//! jumps, and a monotonic clock that began with it.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use databricks_run_operator::lifecycle::Now;
use databricks_run_operator::poller;
use k8s_openapi::jiff::Timestamp;

/// The epoch second at which every world begins.
const EPOCH: i64 = 1_800_000_000;

/// A true instant as epoch milliseconds.
pub(super) fn epoch_millis(at: Duration) -> i64 {
    EPOCH * 1000 + i64::try_from(at.as_millis()).unwrap_or(i64::MAX)
}

/// A true instant as a time of day.
pub(super) fn wall(at: Duration) -> Timestamp {
    Timestamp::from_millisecond(epoch_millis(at)).unwrap_or_default()
}

/// The two clocks of a process.
#[derive(Debug, Clone)]
pub(super) struct Clocks {
    /// When the process began, in true time.
    born: Duration,
    /// How far the monotonic clock has jumped ahead.
    ahead: Duration,
    /// How far the wall clock is off, in milliseconds.
    off: i64,
    /// When the monotonic clock last jumped.
    pub(super) jumped: Option<Duration>,
}

impl Clocks {
    pub(super) fn new(born: Duration, off: i64) -> Self {
        Self { born, ahead: Duration::ZERO, off, jumped: None }
    }

    /// What the process reads.
    pub(super) fn read(&self, now: Duration) -> Now {
        let wall = Timestamp::from_millisecond(epoch_millis(now).saturating_add(self.off)).unwrap_or_default();
        Now { wall, mono: self.mono(now) }
    }

    /// The same, as pollers want it.
    pub(super) fn read_for_poller(&self, now: Duration) -> poller::Now {
        let millis = u64::try_from(epoch_millis(now).saturating_add(self.off)).unwrap_or(0);
        poller::Now { monotonic: self.mono(now), wall: UNIX_EPOCH + Duration::from_millis(millis) }
    }

    fn mono(&self, now: Duration) -> Duration {
        now.saturating_sub(self.born) + self.ahead
    }

    /// When the monotonic clock will show this, in true time.
    pub(super) fn true_time(&self, mono: Duration) -> Duration {
        (mono + self.born).saturating_sub(self.ahead)
    }

    pub(super) fn wall_jumps(&mut self, millis: i64) {
        self.off = self.off.saturating_add(millis);
    }

    pub(super) fn mono_jumps(&mut self, by: Duration, now: Duration) {
        self.ahead += by;
        self.jumped = Some(now);
    }
}

/// Databricks' own time of an answer.
pub(super) fn server_time(at: Duration) -> SystemTime {
    UNIX_EPOCH + Duration::from_millis(u64::try_from(epoch_millis(at)).unwrap_or(0))
}
