//! Whether a workspace answers at all, as all calls of one client together see it: a pure machine.
//!
//! - **It opens** after [`FAILURES`] calls in a row without an answer, or [`SLOW_FAILURES`] where there are few calls.
//!   While it is open nothing is sent but probes, one at a time: everybody is told when to ask again, and a start that
//!   was not sent is surely not executed.
//! - **A probe** is an ordinary call, the most urgent that asks when the time has come: the lanes are told times one
//!   after the other. Probes back off from [`FIRST_WAIT`] to [`LAST_WAIT`]. One that hangs does not hold up the next.
//! - **Cancellations pass it by**: they are never held back, and their failures count for nothing here.
//! - **One answer closes it.** Any word of the API is an answer, a refusal too. "Slow down" (429) is neither an answer
//!   nor a failure, so an outage that is made of both kinds is one.
//! - **An outage is told** once when it has lasted for [`PATIENCE`] and once when it ends; a hiccup is not told at all.

use std::time::Duration;

use super::error::Error;
use super::limiter::Lane;

/// So many calls without an answer, one after the other, open it.
const FAILURES: u32 = 5;
/// So many do where there has been no answer for [`PATIENCE`] either.
const SLOW_FAILURES: u32 = 3;
/// The time to the first probe; each further one waits twice as long.
const FIRST_WAIT: Duration = Duration::from_secs(2);
/// The longest time between two probes.
const LAST_WAIT: Duration = Duration::from_secs(30);
/// A probe that takes longer counts as lost: the next may go. (Its answer still counts when it comes.)
const PROBE_LOST_AFTER: Duration = Duration::from_secs(10);
/// By so much each lane is told a later time than the one before it.
const LANE_STEP: Duration = Duration::from_millis(500);
/// When to ask again while a probe is on its way: a cancel, and everything else.
const ASK_AGAIN: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(4));
/// Without an answer for so long, failures are an outage.
const PATIENCE: Duration = Duration::from_secs(10);

/// What a call's end says of the workspace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Says {
    /// It answers.
    Answers,
    /// It does not.
    Fails,
    /// Nothing.
    Nothing,
}

/// What a call's end says of the workspace.
#[must_use]
pub fn says(outcome: Result<(), &Error>) -> Says {
    outcome.err().map_or(Says::Answers, of_error)
}

fn of_error(error: &Error) -> Says {
    match error {
        Error::Unavailable(_) | Error::Transport(_) | Error::WrongHost(_) => Says::Fails,
        Error::Throttled { .. } | Error::NotNow(_) => Says::Nothing,
        Error::NoToken(no) => of_error(&no.cause),
        // What is wrong here is known, and it is no outage.
        Error::NotFound(_)
        | Error::NoSuchRoute(_)
        | Error::Rejected(_)
        | Error::Unauthenticated(_)
        | Error::Forbidden(_)
        | Error::QuotaExceeded(_)
        | Error::HostNotAllowed(_)
        | Error::Credentials(_) => Says::Answers,
    }
}

/// What there is to tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum News {
    /// An outage, and how long ago its first failure was learned of.
    Outage {
        /// How long ago.
        lasts: Duration,
    },
    /// The end of one.
    Over,
}

/// The machine of one client. Time is the caller's: a [`Duration`] since any fixed point, never going back.
#[derive(Debug, Default)]
pub(super) struct Breaker {
    answered: Option<Duration>,
    failing_since: Option<Duration>,
    failures: u32,
    open: Option<Open>,
    told: bool,
}

#[derive(Debug, Clone, Copy)]
struct Open {
    wait: Duration,
    probe_at: Duration,
    /// Since when a probe is on its way.
    probing: Option<Duration>,
}

impl Breaker {
    /// Whether nothing is sent but probes.
    pub(super) fn is_open(&self) -> bool {
        self.open.is_some()
    }

    /// How long a call must wait; `None`: it may go on to [`Breaker::begin`].
    pub(super) fn wait(&self, lane: Lane, now: Duration) -> Option<Duration> {
        let open = self.open?;
        if let Some(since) = open.probing
            && now.saturating_sub(since) < PROBE_LOST_AFTER
        {
            return Some(if lane == Lane::Cancel { ASK_AGAIN.0 } else { ASK_AGAIN.1 });
        }
        let turn = open.probe_at + LANE_STEP * lane as u32;
        turn.checked_sub(now).filter(|wait| !wait.is_zero())
    }

    /// A call is about to be sent; while it is open, as the probe. `Some`: somebody was faster, wait.
    pub(super) fn begin(&mut self, lane: Lane, now: Duration) -> Option<Duration> {
        let wait = self.wait(lane, now);
        if let (None, Some(open)) = (wait, &mut self.open) {
            open.probing = Some(now);
        }
        wait
    }

    /// Whether there was an answer after this time: then the failure of a call that was sent before it says nothing of
    /// now. Calls that hang in an outage end long after it.
    pub(super) fn answered_since(&self, sent: Duration) -> bool {
        self.answered.is_some_and(|answered| answered > sent)
    }

    /// A call has ended.
    pub(super) fn learn(&mut self, says: Says, now: Duration) -> Option<News> {
        match says {
            Says::Answers => {
                let told = self.told;
                *self = Self { answered: Some(now), ..Self::default() };
                told.then_some(News::Over)
            }
            Says::Fails => self.failed(now),
            Says::Nothing => {
                if let Some(open) = &mut self.open {
                    open.again(now);
                }
                None
            }
        }
    }

    fn failed(&mut self, now: Duration) -> Option<News> {
        self.failures = self.failures.saturating_add(1);
        let since = *self.failing_since.get_or_insert(now);
        let patient = self.answered.is_some_and(|answered| now.saturating_sub(answered) < PATIENCE);
        match &mut self.open {
            // Calls that were on their way when it opened end like this too; without a probe out they are no news.
            Some(open) if open.probing.is_some() => {
                open.wait = (open.wait * 2).min(LAST_WAIT);
                open.again(now);
            }
            None if self.failures >= if patient { FAILURES } else { SLOW_FAILURES } => {
                self.open = Some(Open { wait: FIRST_WAIT, probe_at: now + FIRST_WAIT, probing: None });
            }
            Some(_) | None => {}
        }
        if self.told || patient || self.open.is_none() {
            return None;
        }
        self.told = true;
        Some(News::Outage { lasts: now.saturating_sub(since) })
    }
}

impl Open {
    fn again(&mut self, now: Duration) {
        if self.probing.take().is_some() {
            self.probe_at = now + self.wait;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::databricks::error::{ApiError, NoToken, TransportError};

    fn secs(seconds: f64) -> Duration {
        Duration::from_secs_f64(seconds)
    }

    /// One that has opened at this time, and what it told.
    fn opened(at: f64) -> (Breaker, Vec<News>) {
        let mut breaker = Breaker::default();
        breaker.learn(Says::Answers, secs(at));
        let news = (0..FAILURES).filter_map(|_| breaker.learn(Says::Fails, secs(at))).collect();
        (breaker, news)
    }

    #[test]
    fn a_few_failures_among_answers_open_nothing() {
        let mut breaker = Breaker::default();
        breaker.learn(Says::Answers, Duration::ZERO);
        for second in 0..100 {
            let says = if second % 5 == 4 { Says::Answers } else { Says::Fails };
            assert_eq!(breaker.learn(says, secs(f64::from(second))), None);
            assert_eq!(breaker.wait(Lane::Poll, secs(f64::from(second))), None);
        }
    }

    #[test]
    fn where_calls_are_few_it_opens_after_three_of_them() {
        let mut breaker = Breaker::default();
        breaker.learn(Says::Answers, Duration::ZERO);
        let news: Vec<_> = [5.0, 15.0, 35.0].map(|at| breaker.learn(Says::Fails, secs(at))).into();
        assert_eq!(news, [None, None, Some(News::Outage { lasts: secs(30.0) })]);
        assert_eq!(breaker.wait(Lane::Cancel, secs(35.0)), Some(FIRST_WAIT));
    }

    #[test]
    fn while_it_is_open_one_probe_goes_at_a_time_and_the_most_urgent_first() {
        let (mut breaker, _) = opened(100.0);
        for lane in Lane::ALL {
            assert!(breaker.wait(lane, secs(100.0)).unwrap() >= FIRST_WAIT, "{lane:?}");
        }
        let waits = Lane::ALL.map(|lane| breaker.wait(lane, secs(101.0)).unwrap());
        assert!(waits.is_sorted() && waits[0] < waits[1] && waits[2] < waits[3], "{waits:?}");
        assert_eq!(breaker.begin(Lane::Cancel, secs(102.0)), None, "the probe");
        for lane in Lane::ALL {
            assert!(breaker.begin(lane, secs(105.0)).is_some(), "{lane:?} while the probe is on its way");
        }
        assert!(breaker.is_open());
        assert_eq!(breaker.learn(Says::Answers, secs(105.5)), None, "too short to be told");
        assert!(!breaker.is_open());
        assert_eq!(breaker.begin(Lane::Poll, secs(105.5)), None, "closed");
        assert_eq!(breaker.begin(Lane::Poll, secs(105.5)), None);
    }

    #[test]
    fn probes_back_off_to_half_a_minute() {
        let (mut breaker, _) = opened(100.0);
        let (mut now, mut waits) = (secs(100.0), Vec::new());
        for _ in 0..7 {
            let wait = breaker.wait(Lane::Cancel, now).unwrap();
            waits.push(wait.as_secs());
            now += wait;
            assert_eq!(breaker.begin(Lane::Cancel, now), None);
            breaker.learn(Says::Fails, now);
        }
        assert_eq!(waits, [2, 4, 8, 16, 30, 30, 30]);
    }

    #[test]
    fn failures_of_calls_that_were_on_their_way_do_not_lengthen_the_wait() {
        let (mut breaker, _) = opened(100.0);
        for _ in 0..32 {
            breaker.learn(Says::Fails, secs(101.0));
        }
        assert_eq!(breaker.wait(Lane::Cancel, secs(101.0)), Some(secs(1.0)));
    }

    #[test]
    fn a_probe_that_hangs_does_not_hold_up_the_next() {
        let (mut breaker, _) = opened(100.0);
        assert_eq!(breaker.begin(Lane::Poll, secs(110.0)), None);
        assert!(breaker.begin(Lane::Poll, secs(119.9)).is_some());
        assert_eq!(breaker.begin(Lane::Poll, secs(120.0)), None);
        assert_eq!(breaker.learn(Says::Answers, secs(121.0)), None);
    }

    #[test]
    fn an_outage_is_told_once_when_it_lasts_and_once_when_it_ends() {
        let (mut breaker, mut news) = opened(1.0);
        assert_eq!(news, [], "a hiccup is not told");
        let mut now = secs(1.0);
        while now < secs(120.0) {
            now += breaker.wait(Lane::Poll, now).unwrap_or_default();
            if breaker.begin(Lane::Poll, now).is_none() {
                news.extend(breaker.learn(Says::Fails, now));
            }
        }
        assert_eq!(news.len(), 1, "{news:?}");
        assert!(matches!(news[0], News::Outage { lasts } if lasts >= PATIENCE), "{news:?}");
        assert_eq!(breaker.learn(Says::Answers, now), Some(News::Over));
        assert_eq!(breaker.learn(Says::Answers, now), None);
    }

    #[test]
    fn of_a_workspace_that_never_answered_an_outage_is_told_at_once() {
        let mut breaker = Breaker::default();
        let news: Vec<_> = (0..SLOW_FAILURES).filter_map(|_| breaker.learn(Says::Fails, secs(1.0))).collect();
        assert_eq!(news, [News::Outage { lasts: Duration::ZERO }]);
    }

    #[test]
    fn slow_down_neither_opens_nor_closes_nor_lengthens() {
        let mut breaker = Breaker::default();
        for _ in 0..100 {
            assert_eq!(breaker.learn(Says::Nothing, secs(1.0)), None);
        }
        assert_eq!(breaker.wait(Lane::Poll, secs(1.0)), None);
        let (mut breaker, _) = opened(100.0);
        assert_eq!(breaker.begin(Lane::Cancel, secs(102.0)), None);
        breaker.learn(Says::Nothing, secs(102.0));
        assert_eq!(breaker.wait(Lane::Cancel, secs(102.0)), Some(FIRST_WAIT));
    }

    #[test]
    fn every_word_of_the_api_is_an_answer_and_silence_is_none() {
        let api = ApiError::default;
        let lost = || Error::Transport(TransportError::NoAnswer(String::new()));
        let no_token = |cause| Error::NoToken(Box::new(NoToken { cause, from: None, remedy: None }));
        for (error, expected) in [
            (Error::NotFound(api()), Says::Answers),
            (Error::Rejected(api()), Says::Answers),
            (Error::Forbidden(api()), Says::Answers),
            (Error::Unauthenticated(api()), Says::Answers),
            (Error::QuotaExceeded(api()), Says::Answers),
            (Error::Unavailable(api()), Says::Fails),
            (lost(), Says::Fails),
            (Error::WrongHost(String::new()), Says::Fails),
            (no_token(lost()), Says::Fails),
            (no_token(Error::Throttled { retry_after: None, api: api() }), Says::Nothing),
            (Error::Throttled { retry_after: None, api: api() }, Says::Nothing),
            (Error::NotNow(Duration::ZERO), Says::Nothing),
        ] {
            assert_eq!(says(Err(&error)), expected, "{error:?}");
        }
        assert_eq!(says(Ok(())), Says::Answers);
    }

    proptest! {
        #[test]
        fn whatever_an_outage_is_made_of_it_is_told_once_and_found_to_be_over_soon(
            bits in prop::collection::vec((0..3_u8, 0..4_usize, 0..3000_u64), 1..300),
            lane in 0..4_usize,
        ) {
            let mut breaker = Breaker::default();
            let (mut now, mut outages, mut overs) = (Duration::ZERO, 0, 0);
            let mut count = |news: Option<News>| match news {
                Some(News::Outage { .. }) => outages += 1,
                Some(News::Over) => overs += 1,
                None => {}
            };
            breaker.learn(Says::Answers, now);
            for (what, lane, millis) in bits {
                now += Duration::from_millis(millis);
                if breaker.begin(Lane::ALL[lane], now).is_none() && what < 2 {
                    // The third kind hangs for ever.
                    count(breaker.learn(if what == 0 { Says::Fails } else { Says::Nothing }, now));
                }
            }
            // It is back; whoever asks comes back when told to.
            let back = now;
            while let Some(wait) = breaker.begin(Lane::ALL[lane], now) {
                prop_assert!(!wait.is_zero());
                now += wait;
            }
            let found_after = now.saturating_sub(back);
            prop_assert!(found_after <= LAST_WAIT + PROBE_LOST_AFTER + ASK_AGAIN.1 + LANE_STEP * 4, "{found_after:?}");
            count(breaker.learn(Says::Answers, now));
            prop_assert!(outages <= 1 && overs == outages, "{outages} told, {overs} over");
        }

        #[test]
        fn while_it_is_open_no_more_than_one_call_in_two_seconds_is_sent(
            asks in prop::collection::vec((0..4_usize, 0..500_u64), 1..500),
        ) {
            let (mut breaker, _) = opened(1.0);
            let (mut now, mut sent) = (secs(1.0), 0_u32);
            for (lane, millis) in asks {
                now += Duration::from_millis(millis);
                if breaker.begin(Lane::ALL[lane], now).is_none() {
                    sent += 1;
                    breaker.learn(Says::Fails, now);
                }
            }
            prop_assert!(f64::from(sent) <= (now.as_secs_f64() - 1.0) / FIRST_WAIT.as_secs_f64() + 1.0);
        }
    }
}
