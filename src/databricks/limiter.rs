//! How fast one host may be asked, as a pure machine: it answers *now* or *at t* and makes nobody wait.
//!
//! - **One bucket** of requests refills at the rate and holds one second of it. Every request takes one out, pages that
//!   follow included: those are never refused, since an operation that has begun must come to its end, but they leave
//!   a debt that the next ones pay.
//! - **Lanes**: a lane may only take what is above its floor, so that a flood of polls always leaves something for a
//!   cancel. So that a flood of cancels leaves something for the polls, each lane earns a tenth of the rate as credit
//!   of its own, with which it may go below every floor.
//! - **Who is refused gets a place** in the lane's queue, and is told its time; a key that names the operation (a run's
//!   id for example) remembers it. Places are spread over time, so those who wait do not come back at once, and whoever
//!   comes without a place gets a later one, so nobody is overtaken for ever. A place is kept for [`PLACE_KEPT_FOR`]
//!   after its time. It is a place, not a promise: when somebody else has emptied the bucket by then, a later time is
//!   told, and the order stays.
//! - **Round by round**: a lane is shared by several askers (workspace objects, or their tenants). Each asker's first
//!   place is in the next round, its second in the round after, and rounds are served one after the other, so who waits
//!   with one request waits for one request of each of the others, however many thousands they have.
//! - **429** halves the rate and empties the bucket. The rate grows back within a minute to a little less than where it
//!   failed, and from there slowly: a limit below ours is touched every few minutes and not every few seconds.
//!   `Retry-After` holds everybody.
//!
//! [`share`] is the machine of one object that may ask for less than the others.

pub mod share;

use std::collections::HashMap;
use std::time::Duration;

/// Requests per second and host unless set otherwise: what Databricks' own SDK limits itself to.
pub const DEFAULT_REQUESTS_PER_SECOND: f64 = 15.0;
/// How long a place in the queue is kept for who does not come.
pub const PLACE_KEPT_FOR: Duration = Duration::from_secs(10);
/// Who is later than this may be overtaken, though the place is still there.
const LATE_BY: Duration = Duration::from_secs(1);
/// So many at the head of a queue, and of so many rounds, are served as they come: strict order would wait for whoever
/// is a moment late.
const SERVED_OUT_OF_TURN: usize = 4;
/// A 429 that comes so soon after another tells nothing new: both requests were on the way already.
const ONE_429_IN: Duration = Duration::from_secs(1);
/// A 429 that comes so soon after another belongs to the same trouble and tells nothing of what rate is good.
const ONE_TROUBLE: Duration = Duration::from_secs(10);
/// The rate that failed, times this, is held for good.
const GOOD_SHARE: f64 = 0.9;
/// From half the rate back to all of it takes half of this, as far as it is held for good.
const GROWS_BACK_IN: Duration = Duration::from_mins(1);
/// Beyond that, growing to the full rate would take this, from nothing.
const PROBES_IN: Duration = Duration::from_mins(15);
/// The rate never falls below this share of what was set.
const LEAST_SHARE: f64 = 1.0 / 16.0;
/// What a lane earns for itself, as a share of the rate.
const CREDIT_SHARE: f64 = 0.1;
/// The floor of each lane above the one before it, as a share of the bucket.
const FLOOR_STEP: f64 = 0.1;

/// What is asked for, the most urgent first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Lane {
    /// Ending a run that costs money.
    Cancel,
    /// Starting a run.
    Submit,
    /// Reading what a run left behind.
    Output,
    /// Looking at runs.
    Poll,
}

impl Lane {
    /// All of them, the most urgent first.
    pub const ALL: [Self; 4] = [Self::Cancel, Self::Submit, Self::Output, Self::Poll];
}

/// Who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Asker {
    /// One of those between whom a lane is shared fairly.
    pub share: u64,
    /// The operation: the same one asks with the same key again.
    pub call: u64,
}

/// The limiter's answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Permission {
    /// Send it now; it is counted.
    Now,
    /// Send nothing; ask again at this time, with the same key.
    At(Duration),
}

/// The machine of one host. Time is the caller's: a [`Duration`] since any fixed point, never going back.
#[derive(Debug)]
pub struct Core {
    full_rate: f64,
    /// Between `LEAST_SHARE` and 1: what is left of the rate after 429s.
    share: f64,
    /// Up to this share it grows fast.
    good: f64,
    /// Requests that may be sent now. Negative: a debt.
    tokens: f64,
    refilled: Duration,
    held_until: Duration,
    last_429: Option<Duration>,
    newest: u64,
    queues: [Queue; 4],
}

#[derive(Debug, Default)]
struct Queue {
    credit: f64,
    places: HashMap<Asker, Place>,
    /// The latest of which somebody was served.
    round: u64,
    last_place: Duration,
    swept: Duration,
}

/// A place in a lane's queue.
#[derive(Debug, Clone, Copy)]
struct Place {
    /// When to come.
    at: Duration,
    rank: Rank,
}

/// Who comes before whom; kept until served.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Rank {
    round: u64,
    /// Within a round who came first has the lower number.
    number: u64,
}

impl Queue {
    /// The places whose owners are still expected.
    fn expected(&self, now: Duration) -> impl Iterator<Item = (&Asker, &Place)> {
        self.places.iter().filter(move |(_, place)| place.at + LATE_BY > now)
    }

    /// How many are to be served before, and in how many rounds.
    fn ahead_of(&self, rank: Rank, now: Duration) -> (usize, u64) {
        let before = self.expected(now).filter(|(_, other)| other.rank < rank);
        before.fold((0, 0), |(count, rounds), (_, other)| (count + 1, rounds.max(rank.round - other.rank.round)))
    }

    /// The round after the last one in which this share has a place.
    fn next_round(&self, share: u64, now: Duration) -> u64 {
        let own = self.expected(now).filter(|(asker, _)| asker.share == share).map(|(_, place)| place.rank.round);
        own.max().unwrap_or_default().max(self.round) + 1
    }
}

impl Core {
    /// A machine with a full bucket. A rate that is no positive number becomes one request in a thousand seconds.
    #[must_use]
    pub fn new(requests_per_second: f64, now: Duration) -> Self {
        let full_rate = if requests_per_second.is_finite() { requests_per_second.max(0.001) } else { 0.001 };
        Self {
            full_rate,
            share: 1.0,
            good: 1.0,
            tokens: capacity(full_rate),
            refilled: now,
            held_until: now,
            last_429: None,
            newest: 0,
            queues: Default::default(),
        }
    }

    /// Requests per second at this instant.
    #[must_use]
    pub fn rate(&self) -> f64 {
        self.full_rate * self.share
    }

    /// Asks for one request in a lane.
    pub fn ask(&mut self, lane: Lane, who: Asker, now: Duration) -> Permission {
        self.refill(now);
        self.sweep(lane, now);
        let queue = self.queue(lane);
        let Some(place) = queue.places.get(&who).copied() else {
            let overtakes_nobody = queue.places.is_empty();
            return if overtakes_nobody && self.take(lane, now) {
                Permission::Now
            } else {
                self.queue_up(lane, who, now)
            };
        };
        if place.at > now {
            return Permission::At(place.at);
        }
        let (ahead, rounds) = self.queue(lane).ahead_of(place.rank, now);
        let in_turn = ahead < SERVED_OUT_OF_TURN && rounds < SERVED_OUT_OF_TURN as u64;
        if in_turn && self.take(lane, now) {
            let queue = self.queue(lane);
            queue.places.remove(&who);
            queue.round = queue.round.max(place.rank.round);
            return Permission::Now;
        }
        // Somebody else has emptied the bucket, or everybody has to pause: the sooner one came first, the sooner one comes
        // again.
        let step = if self.held_until > now { self.step(lane, now) } else { self.interval() };
        let at = self.held_until.max(now) + step * u32::try_from(ahead + 1).unwrap_or(u32::MAX);
        self.queue(lane).places.insert(who, Place { at, ..place });
        Permission::At(at)
    }

    /// Counts a request that is sent in any case: a following page, a token, a second try with a fresh token.
    pub fn charge(&mut self, now: Duration) {
        self.refill(now);
        self.tokens -= 1.0;
    }

    /// Databricks answered 429 to a request because of the rate.
    pub fn throttled(&mut self, retry_after: Option<Duration>, now: Duration) {
        self.refill(now);
        if self.last_429.is_none_or(|last| now.saturating_sub(last) >= ONE_429_IN) {
            if self.last_429.is_none_or(|last| now.saturating_sub(last) >= ONE_TROUBLE) {
                self.good = (self.share * GOOD_SHARE).max(LEAST_SHARE);
            }
            self.last_429 = Some(now);
            self.share = (self.share / 2.0).max(LEAST_SHARE);
        }
        self.tokens = self.tokens.min(0.0);
        self.hold(retry_after.unwrap_or(ONE_429_IN), now);
    }

    /// Databricks asked for a pause, for whatever reason.
    pub fn hold(&mut self, pause: Duration, now: Duration) {
        self.held_until = self.held_until.max(now + pause);
    }

    fn refill(&mut self, now: Duration) {
        let elapsed = now.saturating_sub(self.refilled).as_secs_f64();
        self.refilled = self.refilled.max(now);
        let fast = ((self.good - self.share) * GROWS_BACK_IN.as_secs_f64()).clamp(0.0, elapsed);
        let grown = fast / GROWS_BACK_IN.as_secs_f64() + (elapsed - fast) / PROBES_IN.as_secs_f64();
        self.share = (self.share + grown).min(1.0);
        let rate = self.rate();
        self.tokens = (self.tokens + elapsed * rate).min(self.bucket());
        for queue in &mut self.queues {
            queue.credit = (queue.credit + elapsed * rate * CREDIT_SHARE).min(1.0);
        }
    }

    /// Clears away the places whose owners never came.
    fn sweep(&mut self, lane: Lane, now: Duration) {
        let queue = self.queue(lane);
        if now.saturating_sub(queue.swept) >= PLACE_KEPT_FOR / 10 {
            queue.swept = now;
            queue.places.retain(|_, place| place.at + PLACE_KEPT_FOR > now);
        }
    }

    fn take(&mut self, lane: Lane, now: Duration) -> bool {
        if self.held_until > now {
            return false;
        }
        let floor = self.bucket() * FLOOR_STEP * f64::from(lane as u8);
        let queue = &mut self.queues[lane as usize];
        if self.tokens < 1.0 + floor {
            if queue.credit < 1.0 {
                return false;
            }
            queue.credit -= 1.0;
        }
        self.tokens -= 1.0;
        true
    }

    fn queue_up(&mut self, lane: Lane, who: Asker, now: Duration) -> Permission {
        let start = self.held_until.max(now);
        let step = self.step(lane, now);
        self.newest += 1;
        let number = self.newest;
        let queue = self.queue(lane);
        let rank = Rank { round: queue.next_round(who.share, now), number };
        let (ahead, _) = queue.ahead_of(rank, now);
        let at = start + step * u32::try_from(ahead + 1).unwrap_or(u32::MAX);
        queue.last_place = queue.last_place.max(at);
        queue.places.insert(who, Place { at, rank });
        Permission::At(at)
    }

    /// The time between two places of one lane. The most urgent one in which somebody waits has the whole rate but for what
    /// the others earn. The others are told as if all shared the rate: how many more come before them nobody knows, and who
    /// comes too early is told a later time.
    fn step(&self, lane: Lane, now: Duration) -> Duration {
        let waits = |lane: &Lane| self.queues[*lane as usize].last_place > now;
        let others = Lane::ALL.into_iter().filter(|other| *other != lane).filter(waits).count();
        let others = u32::try_from(others).unwrap_or_default();
        if Lane::ALL.into_iter().take_while(|other| *other != lane).any(|other| waits(&other)) {
            return self.interval() * (others + 1);
        }
        self.interval().div_f64(1.0 - CREDIT_SHARE * f64::from(others))
    }

    /// The time between two requests, at the rate that will be back by the time most of those who wait come.
    fn interval(&self) -> Duration {
        Duration::from_secs_f64(1.0 / self.sustained())
    }

    /// Requests per second that are held for good.
    fn sustained(&self) -> f64 {
        self.full_rate * self.share.max(self.good)
    }

    /// What the bucket holds.
    fn bucket(&self) -> f64 {
        capacity(self.sustained())
    }

    fn queue(&mut self, lane: Lane) -> &mut Queue {
        &mut self.queues[lane as usize]
    }
}

/// Requests that may be sent at once after a quiet time: one second's worth, and enough for every lane's floor.
fn capacity(rate: f64) -> f64 {
    rate.max(4.0)
}

#[cfg(test)]
mod tests;
