//! The poller's logic: a state machine without a clock, a network or a task. It is told the time and the answers, and
//! tells whom to ask ([`Book::due`]) and whom to wake ([`Book::wake`]).

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::agenda::Agenda;
use super::entry::{Entry, FIRST_REPEAT, LAST_REPEAT, Poke, Wake};
use super::schedule::jittered;
use super::sweep::Sweeping;
use super::{Key, Now, Read, Recorded, Schedule, Snapshot};
use crate::databricks::error::Error;
use crate::databricks::ids::RunId;

pub use sweeping::{AskPage, READ_AFTER, Swept};

mod sweeping;

/// First gets of runs that are watched at once are spread over this much time for each of them (but over no more than
/// their first wait): a single new run is read immediately, ten thousand after a restart are not asked for in one burst.
const SPREAD_PER_RUN: Duration = Duration::from_millis(2);

/// So many keys may wait for a time that the rate limit has named before others are kept from asking it. The rate limit
/// serves in the order of asking; who is not asking yet can still be overtaken here, by a poke for example.
const MAX_HELD: usize = 8;

/// While pages are to show many runs that nobody has looked at yet, so many: a page shows twenty-five, a get one.
const MAX_HELD_BESIDE_FIRST_LOOKS: usize = 2;

/// The rate limit is not asked again sooner than this, whatever it answered.
const SHORTEST_HOLD: Duration = Duration::from_millis(20);

/// A get to be made now. Exactly one [`Book::learned`] must follow.
#[derive(Debug)]
#[must_use = "the key is not asked about again before its answer is learned"]
pub struct Ask<K> {
    /// Whose run.
    pub key: K,
    /// The run to get.
    pub run: RunId,
    /// When the question is sent.
    pub at: Now,
    /// How much later that is than its schedule says; none for a poke, which has no schedule.
    pub late: Option<Duration>,
}

/// What came of an [`Ask`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// The run.
    Run(Box<Read>),
    /// The run does not exist.
    NotFound,
    /// Our rate limit: nothing was asked; this key's turn comes in so long.
    NotNow(Duration),
    /// No answer about the run.
    Failed {
        /// Why, in one stable word.
        reason: &'static str,
        /// How long Databricks asked to be left alone.
        retry_after: Option<Duration>,
    },
}

impl From<Result<Read, Error>> for Answer {
    fn from(result: Result<Read, Error>) -> Self {
        match result {
            Ok(read) => Self::Run(Box::new(read)),
            Err(Error::NotFound(_)) => Self::NotFound,
            Err(Error::NotNow(wait)) => Self::NotNow(wait),
            Err(error @ Error::Throttled { retry_after, .. }) => Self::Failed { reason: error.reason(), retry_after },
            Err(error) => Self::Failed { reason: error.reason(), retry_after: None },
        }
    }
}

/// What an answer changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Learned {
    /// News of the run.
    News {
        /// How long after the run's end this was, if it is the first reading after it and there was one before it.
        end_lag: Option<Duration>,
    },
    /// The run is as it was.
    Same,
    /// The run does not exist, by this answer.
    Absent,
    /// Nothing was asked: the rate limit.
    Held {
        /// How long it makes the key wait.
        wait: Duration,
    },
    /// No answer about the run.
    Failed,
    /// Nobody watches that run any more.
    Unwatched,
}

/// The schedules and readings of one workspace's runs.
#[derive(Debug)]
pub struct Book<K> {
    entries: HashMap<K, Entry>,
    /// Who is due when; those who are held or have a get in flight are not in it.
    gets: Agenda<K>,
    /// Whose turn comes when, by the rate limit's word.
    held: Agenda<K>,
    wakes: Agenda<K>,
    /// Kept apart from `entries`: a key may be dropped and watched again while its get is still out.
    in_flight: HashSet<K>,
    max_in_flight: usize,
    sweeps: sweeping::Sweeps<K>,
    /// How many entries have not been looked at yet.
    unread: u32,
    last_id: u64,
    last_version: u64,
    random: StdRng,
}

impl<K: Key> Book<K> {
    /// An empty book that never has more than `max_in_flight` gets out. The same seed makes the same choices.
    #[must_use]
    pub fn new(seed: u64, max_in_flight: usize, sweeping: Sweeping) -> Self {
        Self {
            entries: HashMap::new(),
            gets: Agenda::default(),
            held: Agenda::default(),
            wakes: Agenda::default(),
            in_flight: HashSet::new(),
            max_in_flight: max_in_flight.max(1),
            sweeps: sweeping::Sweeps::new(sweeping),
            unread: 0,
            last_id: 0,
            last_version: 0,
            random: StdRng::seed_from_u64(seed),
        }
    }

    /// Watches `run` for `key`. Saying so again changes nothing but the schedule; another run replaces the old one and
    /// all that was known of it.
    ///
    /// Of a run that is on record a row of the list that shows it there is enough for [`READ_AFTER`]; without a record,
    /// also when it is said again without one, it is read at once.
    pub fn watch(&mut self, key: K, run: RunId, schedule: Schedule, recorded: Option<Recorded>, now: Now) {
        if let Some(entry) = self.entries.get_mut(&key) {
            if entry.snapshot.run_id == run {
                let reading_is_wanted = recorded.is_none() && entry.recorded.is_some();
                if reading_is_wanted {
                    entry.distrust();
                }
                if entry.schedule != schedule {
                    entry.schedule = schedule;
                    self.advance(&key, now.monotonic + schedule.longest());
                }
                if reading_is_wanted {
                    self.advance(&key, now.monotonic);
                }
                return;
            }
            self.unwatch(&key);
        }
        self.unread += 1;
        self.last_id += 1;
        let spread = SPREAD_PER_RUN.saturating_mul(self.unread - 1).min(schedule.first());
        let recorded = recorded.filter(|_| self.sweeps.may_look(now.monotonic));
        let due =
            now.monotonic + if recorded.is_some() { schedule.longest() } else { spread.mul_f64(self.random.random()) };
        let entry = Entry {
            id: self.last_id,
            schedule,
            wait: None,
            due,
            held: false,
            put_off: None,
            poke: Poke::None,
            poke_answered: None,
            wake: None,
            looks: None,
            swept: 0,
            unlisted: false,
            recorded,
            vouched: None,
            put_away: None,
            looked_at: false,
            snapshot: Arc::new(Snapshot::blank(run)),
        };
        if !self.in_flight.contains(&key) {
            self.gets.insert((due, entry.id), key.clone());
        }
        self.sweeps.watch(run, &key);
        self.entries.insert(key, entry);
    }

    /// Forgets `key`. The answer to a get that is still out is ignored.
    pub fn unwatch(&mut self, key: &K) {
        let Some(entry) = self.entries.remove(key) else { return };
        self.unread -= u32::from(!entry.looked_at);
        self.sweeps.unwatch(entry.snapshot.run_id, key);
        self.gets.remove((entry.due, entry.id));
        self.held.remove((entry.due, entry.id));
        if let Some(wake) = entry.wake {
            self.wakes.remove((wake.at, entry.id));
        }
    }

    /// Asks about `key` as soon as the rate limit allows, once however often this is said, and wakes it with the
    /// answer even if that is no news. A get that is out already does not count: it may be older than the poke's cause.
    pub fn poke(&mut self, key: &K, now: Now) {
        let Some(entry) = self.entries.get_mut(key) else { return };
        entry.poke = Poke::Waiting;
        entry.wait = None;
        let due = entry.poke_due(now.monotonic);
        self.advance(key, due);
    }

    /// The newest reading; none before the first get has come back, and nothing of the run where that was put away.
    #[must_use]
    pub fn snapshot(&self, key: &K) -> Option<Arc<Snapshot>> {
        let entry = self.entries.get(key)?;
        let is_blank = entry.is_unread() && entry.snapshot.failing.is_none();
        (!is_blank).then(|| Arc::clone(&entry.snapshot))
    }

    /// Stops the wakes for this version and those before it. News that came since keeps waking.
    pub fn acknowledge(&mut self, key: &K, version: u64) {
        let Some(entry) = self.entries.get_mut(key) else { return };
        if version >= entry.snapshot.version
            && let Some(wake) = entry.wake.take()
        {
            self.wakes.remove((wake.at, entry.id));
        }
    }

    /// Lets go of the reading of this version, if it is the newest and sweeps look at the run: whoever asks says that all of it
    /// is on record. The snapshot says nothing of the run until there is news, a poke, or [`Self::watch`] without a record.
    pub fn put_away(&mut self, key: &K, version: u64, recorded: Recorded) {
        if let Some(entry) = self.entries.get_mut(key).filter(|entry| entry.snapshot.version == version) {
            entry.put_away(recorded);
        }
    }

    /// The next get to be made now, if there is one and there is room for it. Call until there is none.
    pub fn due(&mut self, now: Now) -> Option<Ask<K>> {
        if self.in_flight.len() >= self.max_in_flight {
            return None;
        }
        let key = match self.held.take(now.monotonic) {
            Some(key) => key,
            None if self.held.len() < self.max_held() => self.gets.take(now.monotonic)?,
            None => return None,
        };
        let entry = self.entries.get_mut(&key)?;
        entry.held = false;
        let due = entry.put_off.unwrap_or(entry.due);
        let late = (entry.poke == Poke::None).then(|| now.monotonic.saturating_sub(due));
        if entry.poke == Poke::Waiting {
            entry.poke = Poke::Asked;
        }
        self.in_flight.insert(key.clone());
        Some(Ask { key, run: entry.snapshot.run_id, at: now, late })
    }

    /// When [`Book::due`] will next have something, as far as time alone brings it about.
    #[must_use]
    pub fn next_due(&self) -> Option<Duration> {
        if self.in_flight.len() >= self.max_in_flight {
            return None;
        }
        let others = if self.held.len() < self.max_held() { self.gets.next() } else { None };
        self.held.next().into_iter().chain(others).min()
    }

    /// How many may wait for the rate limit at once.
    fn max_held(&self) -> usize {
        if self.sweeps.looks_first() { MAX_HELD_BESIDE_FIRST_LOOKS } else { MAX_HELD }
    }

    /// Takes in what came of a get.
    pub fn learned(&mut self, ask: Ask<K>, answer: Answer, now: Now) -> Learned {
        let Ask { key, run, at, late } = ask;
        self.in_flight.remove(&key);
        let retry_after = match answer {
            Answer::Failed { retry_after: Some(wait), .. } => wait,
            _ => Duration::ZERO,
        };
        let Some(entry) = self.entries.get_mut(&key) else { return Learned::Unwatched };
        if entry.snapshot.run_id != run {
            let due = entry.due;
            self.reschedule(&key, due);
            return Learned::Unwatched;
        }

        let poked_meanwhile = entry.poke == Poke::Waiting;
        let learned = match answer {
            Answer::NotNow(wait) => Learned::Held { wait: wait.max(SHORTEST_HOLD) },
            // A verdict must never come from another run's answer.
            Answer::Run(read) if read.run.run_id != run => entry.fail("WrongRun", at),
            Answer::Run(read) => entry.see(*read, at, now),
            Answer::NotFound => entry.miss(at),
            Answer::Failed { reason, .. } => entry.fail(reason, at),
        };
        entry.put_off = None;
        let due = if let Learned::Held { wait } = learned {
            entry.held = true;
            entry.put_off = late.map(|late| at.monotonic.saturating_sub(late));
            now.monotonic + wait
        } else if poked_meanwhile {
            entry.poke_due(now.monotonic)
        } else {
            let wait = entry.schedule.following(entry.wait);
            entry.wait = Some(wait);
            now.monotonic + jittered(wait, &mut self.random).max(retry_after)
        };
        let answered = matches!(learned, Learned::News { .. } | Learned::Same | Learned::Absent);
        if answered && !std::mem::replace(&mut entry.looked_at, true) {
            self.unread -= 1;
        }
        if entry.settle_poke(answered, at) || matches!(learned, Learned::News { .. } | Learned::Absent) {
            self.raise(&key, now);
        }
        self.reschedule(&key, due);
        learned
    }

    /// The next key to be woken now. It is woken again later unless it is acknowledged.
    pub fn wake(&mut self, now: Now) -> Option<K> {
        let key = self.wakes.take(now.monotonic)?;
        let entry = self.entries.get_mut(&key)?;
        let wake = entry.wake.as_mut()?;
        wake.at = now.monotonic + wake.repeat_after;
        wake.repeat_after = (wake.repeat_after * 2).min(LAST_REPEAT);
        self.wakes.insert((wake.at, entry.id), key.clone());
        Some(key)
    }

    /// When [`Book::wake`] will next have something.
    #[must_use]
    pub fn next_wake(&self) -> Option<Duration> {
        self.wakes.next()
    }

    /// Whether `key`'s run is this one and has been looked at.
    #[must_use]
    pub fn has_looked_at(&self, key: &K, run: RunId) -> bool {
        self.entries.get(key).is_some_and(|entry| entry.snapshot.run_id == run && entry.looked_at)
    }

    /// How many gets are due since this time or longer, and have not been sent.
    #[must_use]
    pub fn due_since(&self, then: Duration) -> usize {
        let held = self.held.keys().filter_map(|key| self.entries.get(key));
        let put_off = held.filter(|entry| entry.put_off.is_some_and(|due| due <= then)).count();
        self.gets.count_until(then) + put_off
    }

    /// How many keys are watched.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether nobody is watched.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Gives `key`'s snapshot a new version and wakes it now.
    fn raise(&mut self, key: &K, now: Now) {
        let Some(entry) = self.entries.get_mut(key) else { return };
        self.last_version += 1;
        Arc::make_mut(&mut entry.snapshot).version = self.last_version;
        if let Some(old) = entry.wake.replace(Wake { at: now.monotonic, repeat_after: FIRST_REPEAT }) {
            self.wakes.remove((old.at, entry.id));
        }
        self.wakes.insert((now.monotonic, entry.id), key.clone());
    }

    /// Moves `key`'s next get; one that is out is not doubled.
    fn reschedule(&mut self, key: &K, due: Duration) {
        let Some(entry) = self.entries.get_mut(key) else { return };
        self.gets.remove((entry.due, entry.id));
        entry.due = due;
        if !self.in_flight.contains(key) {
            let agenda = if entry.held { &mut self.held } else { &mut self.gets };
            agenda.insert((due, entry.id), key.clone());
        }
    }

    /// Brings `key`'s next get forward, unless the rate limit has named its turn.
    fn advance(&mut self, key: &K, due: Duration) {
        let Some(entry) = self.entries.get(key) else { return };
        if !entry.held && due < entry.due {
            self.reschedule(key, due);
        }
    }
}

#[cfg(test)]
mod tests;
