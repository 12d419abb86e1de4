//! How long a token is used, when it is renewed, when a failed renewal is tried again. Pure.

use std::time::Duration;

/// A token is never used so close to its end: Azure Databricks refuses one with 30 s left, and clocks differ.
const NEVER_WITHIN: Duration = Duration::from_secs(40);
/// A long-lived token is renewed so long before its end.
const RENEW_BEFORE: Duration = Duration::from_mins(20);
/// The longest wait between two attempts to renew.
const RETRY: Duration = Duration::from_mins(1);

/// The life of one token, on the monotonic clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Lifetime {
    /// From here on it is not used any more.
    pub(super) usable_until: Duration,
    /// From here on it is renewed in the background.
    pub(super) renew_from: Duration,
    /// How long to wait after a renewal that failed.
    pub(super) retry: Duration,
}

impl Lifetime {
    /// A token that was asked for at `asked` and lives for `ttl`. `None` when it is too short to be used at all.
    pub(super) fn of_token(asked: Duration, ttl: Duration) -> Option<Self> {
        let usable = ttl.checked_sub(NEVER_WITHIN).filter(|usable| !usable.is_zero())?;
        let renew_after = if ttl >= 2 * RENEW_BEFORE { ttl.saturating_sub(RENEW_BEFORE) } else { usable / 2 };
        Some(Self {
            usable_until: asked.saturating_add(usable),
            renew_from: asked.saturating_add(renew_after),
            retry: RETRY.min(usable / 8),
        })
    }

    /// Something that does not expire but is read anew every so often.
    pub(super) fn reread_after(asked: Duration, time: Duration) -> Self {
        Self { usable_until: asked + time, renew_from: asked + time, retry: RETRY }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_renewed_in_good_time_and_never_used_near_their_end() {
        let asked = Duration::from_secs(1000);
        //   ttl,   usable, renew, retry (seconds)
        for (ttl, usable, renew, retry) in [
            (3600, 3560, 2400, 60),
            (2400, 2360, 1200, 60),
            (2398, 2358, 1179, 60),
            (600, 560, 280, 60),
            (120, 80, 40, 10),
            (48, 8, 4, 1),
        ] {
            let seconds = Duration::from_secs;
            assert_eq!(
                Lifetime::of_token(asked, seconds(ttl)),
                Some(Lifetime {
                    usable_until: asked + seconds(usable),
                    renew_from: asked + seconds(renew),
                    retry: seconds(retry)
                }),
                "ttl {ttl}"
            );
        }
    }

    #[test]
    fn a_token_that_is_nearly_over_is_no_token() {
        for ttl in [0, 30, 40] {
            assert_eq!(Lifetime::of_token(Duration::ZERO, Duration::from_secs(ttl)), None, "ttl {ttl}");
        }
    }

    proptest::proptest! {
        #[test]
        fn renewal_always_begins_before_the_token_is_unusable(ttl in 41_u64..u64::MAX / 4) {
            let life = Lifetime::of_token(Duration::ZERO, Duration::from_secs(ttl)).unwrap();
            proptest::prop_assert!(life.renew_from < life.usable_until);
            proptest::prop_assert!(life.usable_until + NEVER_WITHIN <= Duration::from_secs(ttl));
        }
    }
}
