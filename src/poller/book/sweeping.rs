//! What sweeps do to the schedules of a [`Book`]. A row or a gap in the list moves the time of a run's next get, and
//! nothing else: readings come from gets alone.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::time::Duration;

use super::{Book, SHORTEST_HOLD};
use crate::databricks::ids::RunId;
use crate::poller::entry::{Entry, Looks, Poke};
use crate::poller::schedule::jittered;
use crate::poller::sweep::{Gets, Page, PageAnswer, Part, ROWS, Row, Sweep, Sweeping, pages_for};
use crate::poller::{Key, Now};

/// However often a run was seen in the list, it is read again after this time at most: a list that never told the truth about
/// it must not hide its end for longer.
const READ_AFTER: Duration = Duration::from_mins(15);
/// Some are read sooner, by up to this part of it, so that runs that were read together do not come back together and hold
/// up those that have changed.
const READ_SOONER: f64 = 0.25;

/// How long it is believed that other people's runs are as many as they were.
const CROWD_IS_BELIEVED: Duration = Duration::from_mins(5);

/// After a page that failed no sweep begins for so long, doubling up to [`LAST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_mins(1);
const LAST_PAUSE: Duration = Duration::from_mins(16);

/// A page of the list of live runs, to be asked for now. Exactly one [`Book::page_learned`] must follow.
#[derive(Debug)]
#[must_use = "the sweep does not go on before the answer is learned"]
pub struct AskPage {
    /// The page.
    pub part: Part,
    sweep: u64,
    cursor: usize,
    at: Now,
}

/// What a page brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Swept {
    /// Rows.
    Page {
        /// Of our runs, so many looked as before.
        same: usize,
        /// So many looked otherwise.
        changed: usize,
        /// So many that should have been seen by now were not.
        missing: usize,
    },
    /// Nothing was asked: the rate limit.
    Held,
    /// Nothing.
    Failed,
    /// Nobody waits for it any more.
    Unwanted,
}

/// The sweeps of a book.
#[derive(Debug)]
pub(super) struct Sweeps<K> {
    sweeping: Sweeping,
    by_run: HashMap<RunId, K>,
    /// The one under way, and the number of it or of the last one.
    sweep: Option<Sweep<K>>,
    number: u64,
    /// When it is next decided whether to make one.
    next: Duration,
    /// Rows of other people's runs in the last sweep, or in the one that was given up, and rows of ours.
    foreign: usize,
    ours: usize,
    /// When that was.
    counted: Duration,
    failures: u32,
}

impl<K: Key> Sweeps<K> {
    pub(super) fn new(sweeping: Sweeping) -> Self {
        Self {
            sweeping,
            by_run: HashMap::new(),
            sweep: None,
            number: 0,
            next: Duration::ZERO,
            foreign: 0,
            ours: 0,
            counted: Duration::ZERO,
            failures: 0,
        }
    }

    /// `key` watches this run.
    pub(super) fn watch(&mut self, run: RunId, key: &K) {
        self.by_run.insert(run, key.clone());
    }

    /// `key` watches this run no more.
    pub(super) fn unwatch(&mut self, run: RunId, key: &K) {
        if self.by_run.get(&run) == Some(key) {
            self.by_run.remove(&run);
        }
    }

    /// Every run that is known here is the one its key watches.
    #[cfg(test)]
    pub(super) fn assert_consistent(&self, watched: impl Fn(&K) -> Option<RunId>) {
        for (run, key) in &self.by_run {
            assert_eq!(watched(key), Some(*run));
        }
    }

    /// How many pages a sweep of so many runs will have.
    fn pages_for(&self, runs: usize, now: Duration) -> usize {
        let believed = now.saturating_sub(self.counted) < CROWD_IS_BELIEVED;
        pages_for(runs + if believed { self.foreign } else { 0 })
    }

    /// The sweep is over, or given up because it has become dearer than the gets.
    fn end(&mut self, now: Duration) {
        let Some(sweep) = self.sweep.take() else { return };
        self.counted = now;
        self.failures = 0;
        let period = self.sweeping.period(sweep.pages);
        self.next = now.max(sweep.began + period);
    }

    fn fail(&mut self, retry_after: Option<Duration>, now: Duration) {
        self.sweep = None;
        let pause = FIRST_PAUSE.saturating_mul(1 << self.failures.min(8)).min(LAST_PAUSE);
        self.failures += 1;
        self.next = now + pause.max(retry_after.unwrap_or_default());
    }
}

/// After how long an entry is read again although its rows look the same: evenly spread by its number.
fn read_after(id: u64) -> Duration {
    let share = u32::try_from(id % 64).unwrap_or(0);
    READ_AFTER.mul_f64(1.0 - READ_SOONER * f64::from(share) / 64.0)
}

impl<K: Key> Book<K> {
    /// The next page to be asked for now, if there is one. Call until there is none.
    pub fn page_due(&mut self, now: Now) -> Option<AskPage> {
        let may_begin = self.sweeps.sweep.is_none() && self.sweeps.sweeping != Sweeping::Never;
        if may_begin && self.sweeps.next <= now.monotonic && !self.entries.is_empty() {
            self.sweep(now.monotonic);
        }
        let (cursor, part) = self.sweeps.sweep.as_mut()?.due(now.monotonic)?;
        Some(AskPage { part, sweep: self.sweeps.number, cursor, at: now })
    }

    /// When [`Book::page_due`] will next have something, or something to decide.
    #[must_use]
    pub fn next_page(&self) -> Option<Duration> {
        if self.sweeps.sweeping == Sweeping::Never || self.entries.is_empty() {
            return None;
        }
        self.sweeps.sweep.as_ref().map_or(Some(self.sweeps.next), Sweep::next_due)
    }

    /// Takes in what came of asking for a page.
    #[expect(clippy::needless_pass_by_value, reason = "a question is answered once")]
    pub fn page_learned(&mut self, ask: AskPage, answer: PageAnswer, now: Now) -> Swept {
        let AskPage { sweep: number, cursor, at: asked, .. } = ask;
        let Some(sweep) = self.sweeps.sweep.as_mut().filter(|_| self.sweeps.number == number) else {
            return Swept::Unwanted;
        };
        match answer {
            PageAnswer::NotNow(wait) => {
                sweep.put_off(cursor, now.monotonic + wait.max(SHORTEST_HOLD));
                Swept::Held
            }
            PageAnswer::Failed { retry_after } => {
                self.sweeps.fail(retry_after, now.monotonic);
                Swept::Failed
            }
            PageAnswer::Page(page) => self.page(cursor, &page, asked, now),
        }
    }

    fn page(&mut self, cursor: usize, page: &Page, asked: Now, now: Now) -> Swept {
        let (mut same, mut changed, mut missing) = (0, 0, 0);
        for row in &page.rows {
            match self.row(row, asked, now) {
                Some(true) => changed += 1,
                Some(false) => same += 1,
                None => self.sweeps.foreign += 1,
            }
        }
        self.sweeps.ours += same + changed;
        let Some(sweep) = &mut self.sweeps.sweep else { return Swept::Unwanted };
        let expected = sweep.turn(cursor, page, now.monotonic);
        let (is_over, is_dear, most_pages) = (sweep.is_over(), sweep.pages >= sweep.most_pages, sweep.most_pages);
        for key in expected {
            missing += usize::from(self.miss_in_list(&key, now));
        }
        if is_over {
            self.sweeps.end(now.monotonic);
        } else if is_dear {
            // One page more than it may have: not to be tried again while that is believed.
            let more = (most_pages + 1).saturating_mul(ROWS).saturating_sub(self.sweeps.ours);
            self.sweeps.foreign = self.sweeps.foreign.max(more);
            self.sweeps.end(now.monotonic);
        }
        Swept::Page { same, changed, missing }
    }

    /// Begins a sweep if that is cheaper than gets.
    fn sweep(&mut self, now: Duration) {
        let sweeps = &self.sweeps;
        let period = sweeps.sweeping.period(sweeps.pages_for(self.entries.len(), now));
        let mut gets = Gets { runs: 0, per_second: 0.0 };
        for wait in self.entries.values().filter(|entry| entry.is_swept(period)).map(Entry::current_wait) {
            gets.runs += 1;
            gets.per_second += 1.0 / wait.as_secs_f64();
        }
        let most_pages = sweeps.sweeping.most_pages(gets);
        let most_pages = most_pages.filter(|most| sweeps.pages_for(gets.runs, now) <= *most);
        let Some(most_pages) = most_pages else {
            self.sweeps.next = now + sweeps.sweeping.period(0);
            return;
        };
        let swept = self.entries.iter().filter(|(_, entry)| entry.is_swept(period));
        let mut runs: Vec<(i64, u64, K)> =
            swept.filter_map(|(key, entry)| Some((entry.start_time()?, entry.id, key.clone()))).collect();
        // In an order that is the same in every repetition of a test.
        runs.sort_by_key(|(start, id, _)| (Reverse(*start), *id));
        let runs = runs.into_iter().map(|(start, _, key)| (start, key)).collect();
        self.sweeps.number += 1;
        (self.sweeps.foreign, self.sweeps.ours) = (0, 0);
        self.sweeps.sweep = Some(Sweep::begin(runs, most_pages, now));
    }

    /// A row: whether it is a change; none if it is nobody's here.
    fn row(&mut self, row: &Row, asked: Now, now: Now) -> Option<bool> {
        let key = self.sweeps.by_run.get(&row.run)?.clone();
        let is_out = self.in_flight.contains(&key);
        let entry = self.entries.get_mut(&key)?;
        entry.swept = self.sweeps.number;
        entry.unlisted = false;
        let before = entry.looks.filter(|looks| looks.digest == row.looks);
        let Some(looks) = before else {
            let is_first = entry.looks.is_none();
            entry.looks = Some(Looks { digest: row.looks, since: asked.monotonic });
            // What the first row is to be compared with is not known: the schedule's next get tells.
            if !is_first {
                self.advance(&key, now.monotonic);
            }
            return Some(!is_first);
        };
        // A get that was sent after it began to look like this has told all of it. Otherwise one is due.
        if let Some(read_at) = entry.read_at().filter(|read_at| *read_at >= looks.since)
            && !(is_out || entry.held)
            && entry.poke == Poke::None
        {
            let wait = entry.schedule.following(entry.wait);
            entry.wait = Some(wait);
            let latest = read_at + read_after(entry.id).max(entry.schedule.longest());
            let due = (asked.monotonic + jittered(wait, &mut self.random)).max(entry.due).min(latest);
            self.reschedule(&key, due);
        }
        Some(false)
    }

    /// A run that a sweep has passed; whether it was missing. It may have ended, or wait in a state that the list leaves
    /// out: a get tells, and then its own schedule is for it until it is seen in the list again.
    fn miss_in_list(&mut self, key: &K, now: Now) -> bool {
        let number = self.sweeps.number;
        let Some(entry) = self.entries.get_mut(key).filter(|entry| entry.swept != number && !entry.unlisted) else {
            return false;
        };
        if entry.start_time().is_none() {
            return false;
        }
        entry.unlisted = true;
        entry.looks = None;
        self.advance(key, now.monotonic);
        true
    }
}
