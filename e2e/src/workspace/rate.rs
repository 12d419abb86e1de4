//! The rate limit of the whole workspace: a bucket that refills every instant and holds one second's worth.

use std::time::Instant;

#[derive(Debug)]
pub(super) struct Bucket {
    left: f64,
    filled: Instant,
}

impl Bucket {
    pub(super) fn new() -> Self {
        Self { left: f64::INFINITY, filled: Instant::now() }
    }

    /// Takes one request out of `rate` a second, if one is left.
    pub(super) fn take(&mut self, rate: u32) -> bool {
        self.take_at(f64::from(rate), Instant::now())
    }

    fn take_at(&mut self, rate: f64, now: Instant) -> bool {
        let since = now.duration_since(self.filled).as_secs_f64();
        self.left = (self.left + since * rate).min(rate);
        self.filled = now;
        let enough = self.left >= 1.0;
        if enough {
            self.left -= 1.0;
        }
        enough
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_second_s_worth_passes_at_once_and_the_rest_as_time_goes_by() {
        let mut bucket = Bucket::new();
        let start = bucket.filled;
        let passed = (0..10).filter(|_| bucket.take_at(4.0, start)).count();
        assert_eq!(passed, 4);
        assert!(bucket.take_at(4.0, start + Duration::from_millis(250)));
        assert!(!bucket.take_at(4.0, start + Duration::from_millis(250)));
    }
}
