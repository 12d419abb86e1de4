//! The protocol as a state machine: no clock, no client, no random number. In rounds: what is known of the Lease decides what
//! is asked, and the answer decides whether more is asked at once or the round is over.
//!
//! - Every write is a compare-and-swap on the `resourceVersion` it was decided on.
//! - A Lease of somebody else has expired when it was seen **unchanged** for as long as it says that it lasts, on our own clock
//!   that never goes back. The times in it are for people; no clock is ever compared with another's.
//! - Our own is surely ours for the renew deadline, counted from **before** the write was sent.
//! - Whatever became of a write whose answer was lost, the next read tells.

use std::time::Duration;

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use k8s_openapi::jiff::{SignedDuration, Timestamp};

use super::tenure::Tenure;

/// How long things take; the same for all candidates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timing {
    /// A Lease that is not renewed for so long may be taken.
    pub lease: Duration,
    /// A leader that could not renew for so long begins nothing more.
    pub renew: Duration,
    /// The pause between two rounds; those who wait for a Lease take between half and all of it.
    pub retry: Duration,
}

impl Default for Timing {
    /// Those of client-go.
    fn default() -> Self {
        Self { lease: Duration::from_secs(15), renew: Duration::from_secs(10), retry: Duration::from_secs(2) }
    }
}

impl Timing {
    /// A request that has no answer after this time is given up, so that a renewal gets a second chance.
    #[must_use]
    pub fn request(&self) -> Duration {
        self.renew / 2
    }

    /// What is under way is given up so long after the last renewal was sent. Half way between the end of new effects and the
    /// end of the Lease: the one leaves time to finish, the other keeps clocks that run at other speeds apart.
    #[must_use]
    pub fn give_up(&self) -> Duration {
        (self.renew + self.lease) / 2
    }
}

/// This instant on both clocks.
#[derive(Debug, Clone, Copy)]
pub struct Now {
    /// Since the process began; never goes back.
    pub mono: Duration,
    /// For the times that people read in the Lease.
    pub wall: Timestamp,
}

/// A request.
#[derive(Debug, Clone, PartialEq)]
pub enum Ask {
    /// Read the Lease.
    Read,
    /// Create it.
    Create(Box<Lease>),
    /// Replace it; the object carries the `resourceVersion` that it replaces.
    Replace(Box<Lease>),
}

/// An answer.
#[derive(Debug, Clone, PartialEq)]
pub enum Answer {
    /// This is the Lease now, as it was read or written.
    Lease(Box<Lease>),
    /// There is none.
    Missing,
    /// Somebody else has written it, or created it, before.
    Conflict,
    /// Whether the request was carried out is not known.
    None,
}

/// What follows an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// Ask again at once.
    Again,
    /// The round is over.
    Over,
}

/// The Lease as it was last seen.
#[derive(Debug)]
struct Seen {
    lease: Lease,
    /// Since when its spec has been like that.
    since: Duration,
}

/// What to ask next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    /// Read it: what is known may be old.
    Read,
    /// Write what follows from what is known. `fresh` says that it was read in this round: a conflict then ends the round.
    Write { fresh: bool },
}

/// One candidate's part.
#[derive(Debug)]
pub struct Election {
    identity: String,
    name: String,
    timing: Timing,
    seen: Option<Seen>,
    next: Next,
    tenure: Tenure,
    /// The newest time that was written. Each renewal changes the Lease, whatever the clock on the wall shows.
    stamped: Timestamp,
    /// Whether the Lease may carry our name.
    claimed: bool,
    /// Whether the Lease is to be given back.
    leaving: bool,
}

impl Election {
    /// A candidate of this identity, which no other process may ever have, for the Lease of this name.
    #[must_use]
    pub fn new(identity: &str, name: &str, timing: Timing) -> Self {
        Self {
            identity: identity.to_owned(),
            name: name.to_owned(),
            timing,
            seen: None,
            next: Next::Read,
            tenure: Tenure::default(),
            stamped: Timestamp::UNIX_EPOCH,
            claimed: false,
            leaving: false,
        }
    }

    /// The name of the Lease.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How long things take.
    #[must_use]
    pub fn timing(&self) -> Timing {
        self.timing
    }

    /// Until when the lease is surely ours.
    #[must_use]
    pub fn tenure(&self) -> Tenure {
        self.tenure
    }

    /// Whose name was last seen in the Lease.
    #[must_use]
    pub fn holder(&self) -> Option<&str> {
        self.seen.as_ref().and_then(|seen| holder(&seen.lease))
    }

    /// What to ask now; nothing when a Lease that was to be given back is nobody's or somebody else's.
    pub fn ask(&mut self, now: Now) -> Option<Ask> {
        if self.leaving && !self.claimed {
            return None;
        }
        let ask = match (self.next, &self.seen) {
            (Next::Read, _) => return Some(Ask::Read),
            (Next::Write { .. }, None) => Ask::Create(Box::new(self.claim(None, now))),
            (Next::Write { .. }, Some(seen)) if self.leaving => Ask::Replace(Box::new(self.release(&seen.lease, now))),
            (Next::Write { .. }, Some(seen)) => Ask::Replace(Box::new(self.claim(Some(&seen.lease), now))),
        };
        self.stamped = self.stamp(now);
        self.claimed = true;
        Some(ask)
    }

    /// Takes in the answer to a request that was sent at this time.
    pub fn answered(&mut self, ask: &Ask, sent: Duration, answer: Answer, now: Now) -> Turn {
        let fresh = self.next == Next::Write { fresh: true };
        match (ask, answer) {
            (Ask::Read, Answer::Lease(lease)) => self.read(*lease, now),
            (Ask::Read, Answer::Missing) => {
                self.seen = None;
                // Nothing is ours any more, and nothing is to be given back.
                self.claimed = false;
                self.next = Next::Write { fresh: true };
                if self.leaving { Turn::Over } else { Turn::Again }
            }
            (Ask::Create(_) | Ask::Replace(_), Answer::Lease(lease)) => {
                self.written(*lease, sent, now);
                Turn::Over
            }
            // Somebody has written, or taken away, what we knew: look, and decide once more in this round.
            (Ask::Create(_) | Ask::Replace(_), Answer::Conflict | Answer::Missing) if !fresh => {
                self.next = Next::Read;
                Turn::Again
            }
            (_, Answer::Conflict | Answer::Missing | Answer::None) => {
                self.next = Next::Read;
                Turn::Over
            }
        }
    }

    fn read(&mut self, lease: Lease, now: Now) -> Turn {
        // What was seen first is counted from there; what has changed, from now.
        let since = self.seen.take().filter(|seen| seen.lease.spec == lease.spec).map_or(now.mono, |seen| seen.since);
        let owner = holder(&lease).map(str::to_owned);
        let expired = since.saturating_add(lasts(&lease, self.timing)) <= now.mono;
        self.seen = Some(Seen { lease, since });
        self.next = Next::Read;
        match owner {
            Some(owner) if owner == self.identity => {}
            other => {
                self.claimed = false;
                self.tenure = Tenure { term: self.tenure.term, ..Tenure::default() };
                if self.leaving || (other.is_some() && !expired) {
                    return Turn::Over;
                }
            }
        }
        self.next = Next::Write { fresh: true };
        Turn::Again
    }

    fn written(&mut self, lease: Lease, sent: Duration, now: Now) {
        let is_ours = holder(&lease) == Some(&self.identity);
        self.seen = Some(Seen { lease, since: now.mono });
        self.claimed = is_ours;
        self.next = Next::Write { fresh: false };
        if !is_ours || self.leaving {
            // Given back.
            self.tenure = Tenure { term: self.tenure.term, ..Tenure::default() };
            return;
        }
        // By the time of the answer: an answer so late that the lease has lapsed meanwhile is a new beginning.
        let led = self.tenure.permits(now.mono);
        self.tenure = Tenure {
            begin_before: sent + self.timing.renew,
            end_by: sent + self.timing.give_up(),
            term: self.tenure.term + u64::from(!led),
        };
    }

    /// How long to rest after a round. `dice` is between 0 and 1: those who wait must not all come at once.
    #[must_use]
    pub fn rest(&self, now: Duration, dice: f64) -> Duration {
        if self.leaving {
            return self.timing.retry / 10;
        }
        if self.tenure.permits(now) {
            return self.timing.retry;
        }
        let jittered = self.timing.retry.mul_f64(0.5 + dice.clamp(0.0, 1.0) / 2.0);
        match &self.seen {
            // At the very moment at which it can be taken.
            Some(Seen { lease, since }) if holder(lease).is_some_and(|holder| holder != self.identity) => {
                let expires = since.saturating_add(lasts(lease, self.timing));
                expires.checked_sub(now).map_or(jittered, |left| left.min(jittered))
            }
            _ => jittered,
        }
    }

    /// From here on the Lease is only given back; from this instant on it is not ours. Rounds go on until there is nothing to
    /// ask any more.
    pub fn leave(&mut self) {
        self.leaving = true;
        self.tenure = Tenure { term: self.tenure.term, ..Tenure::default() };
    }

    /// The Lease with our name in it, anew or once more.
    fn claim(&self, known: Option<&Lease>, now: Now) -> Lease {
        let stamp = MicroTime(self.stamp(now));
        let Some(known) = known else {
            let spec = LeaseSpec { lease_transitions: Some(0), acquire_time: Some(stamp), ..LeaseSpec::default() };
            let metadata = ObjectMeta { name: Some(self.name.clone()), ..ObjectMeta::default() };
            return self.signed(Lease { metadata, spec: Some(spec) }, now);
        };
        let mut lease = known.clone();
        if holder(known) != Some(&self.identity) {
            let spec = lease.spec.get_or_insert_default();
            spec.acquire_time = Some(stamp);
            spec.lease_transitions = Some(spec.lease_transitions.unwrap_or_default().saturating_add(1));
        }
        self.signed(lease, now)
    }

    fn signed(&self, mut lease: Lease, now: Now) -> Lease {
        let spec = lease.spec.get_or_insert_default();
        spec.holder_identity = Some(self.identity.clone());
        spec.lease_duration_seconds = Some(i32::try_from(self.timing.lease.as_secs()).unwrap_or(i32::MAX));
        spec.renew_time = Some(MicroTime(self.stamp(now)));
        lease
    }

    /// The Lease without a holder, free for whoever comes first.
    fn release(&self, known: &Lease, now: Now) -> Lease {
        let mut lease = known.clone();
        let stamp = MicroTime(self.stamp(now));
        let spec = lease.spec.get_or_insert_default();
        spec.holder_identity = None;
        spec.lease_duration_seconds = Some(1);
        (spec.acquire_time, spec.renew_time) = (Some(stamp.clone()), Some(stamp));
        lease
    }

    /// The time to write: now, and later than what was written before.
    fn stamp(&self, now: Now) -> Timestamp {
        let after = self.stamped.checked_add(SignedDuration::from_micros(1)).unwrap_or(self.stamped);
        if self.stamped == Timestamp::UNIX_EPOCH { now.wall } else { now.wall.max(after) }
    }
}

fn holder(lease: &Lease) -> Option<&str> {
    lease.spec.as_ref()?.holder_identity.as_deref().filter(|holder| !holder.is_empty())
}

/// How long a Lease lasts, by its own word.
fn lasts(lease: &Lease, timing: Timing) -> Duration {
    let seconds = lease.spec.as_ref().and_then(|spec| spec.lease_duration_seconds);
    seconds.and_then(|seconds| u64::try_from(seconds).ok()).map_or(timing.lease, Duration::from_secs)
}

#[cfg(test)]
mod tests;
