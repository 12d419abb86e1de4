//! What sweeps do to the schedules of a [`Book`]. A row or a gap in the list moves the time of a run's next get, and
//! nothing else: readings come from gets alone.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::time::Duration;

use super::{Book, SHORTEST_HOLD, SPREAD_PER_RUN};
use crate::databricks::ids::RunId;
use crate::poller::entry::{Entry, Looks, Poke};
use crate::poller::schedule::jittered;
use crate::poller::sweep::{Gets, Page, PageAnswer, Part, ROWS, Row, Sweep, Sweeping, pages_for};
use crate::poller::{Key, Now};

/// However often a run was seen in the list, it is read again after this time at most: a list that never told the truth about
/// it must not hide its end for longer.
pub const READ_AFTER: Duration = Duration::from_mins(15);
/// Some are read sooner, by up to this part of it, so that runs that were read together do not come back together and hold
/// up those that have changed.
const READ_SOONER: f64 = 0.25;

/// The same for those that a page has vouched for and nobody has read: all of them since the same moment, after a restart.
const FIRST_READ_SOONER: f64 = 0.875;

/// Runs that are on record come in one after the other. The sweep that looks at them begins when there was none for so long...
const SETTLED: Duration = Duration::from_millis(500);
/// ...or when the first of them has waited for so long.
const LONGEST_SETTLING: Duration = Duration::from_secs(3);

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
    /// When the first of those was watched that wait for the next sweep.
    settling: Option<Duration>,
    /// Whether the one under way has shown runs that wait for it.
    looks_first: bool,
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
            settling: None,
            looks_first: false,
        }
    }

    /// `key` watches this run.
    pub(super) fn watch(&mut self, run: RunId, key: &K) {
        self.by_run.insert(run, key.clone());
    }

    /// Whether somebody who is on record may wait for the list. If so a sweep begins soon, unless one is under way: that one
    /// may show him, and if it does not, the next one does.
    pub(super) fn may_look(&mut self, now: Duration) -> bool {
        let may = self.sweeping != Sweeping::Never && self.failures == 0;
        if may && self.sweep.is_none() {
            self.settle(now);
        }
        may
    }

    /// Whether the sweep under way shows runs that wait for it.
    pub(super) fn looks_first(&self) -> bool {
        self.looks_first
    }

    fn settle(&mut self, now: Duration) {
        let first = *self.settling.get_or_insert(now);
        self.next = (now + SETTLED).min(first + LONGEST_SETTLING);
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
        // What a first look has found is read before the next one takes the rate.
        let since = if std::mem::take(&mut self.looks_first) { now } else { sweep.began };
        self.next = now.max(since + period);
    }

    fn fail(&mut self, retry_after: Option<Duration>, now: Duration) {
        self.sweep = None;
        self.looks_first = false;
        let pause = FIRST_PAUSE.saturating_mul(1 << self.failures.min(8)).min(LAST_PAUSE);
        self.failures += 1;
        self.next = now + pause.max(retry_after.unwrap_or_default());
    }
}

/// After how long an entry is read again although its rows look the same: evenly spread by its number.
fn read_after(id: u64, sooner: f64) -> Duration {
    const STEPS: u32 = 1024;
    let share = u32::try_from(id % u64::from(STEPS)).unwrap_or(0);
    READ_AFTER.mul_f64(1.0 - sooner * f64::from(share) / f64::from(STEPS))
}

impl Entry {
    /// The time after it was last told of in which it is read whatever its rows look like.
    fn read_after(&self) -> Duration {
        let was_read = self.read_at().is_some() || self.put_away.is_some();
        let sooner = if was_read { READ_SOONER } else { FIRST_READ_SOONER };
        read_after(self.id, sooner).max(self.schedule.longest())
    }
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
                self.read_who_waits_for_list(now.monotonic);
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
            // Whoever was watched after it had begun.
            if self.entries.values().any(Entry::waits_for_list) {
                self.sweeps.settle(now.monotonic);
            }
        } else if is_dear {
            // One page more than it may have: not to be tried again while that is believed.
            let more = (most_pages + 1).saturating_mul(ROWS).saturating_sub(self.sweeps.ours);
            self.sweeps.foreign = self.sweeps.foreign.max(more);
            self.sweeps.end(now.monotonic);
            self.read_who_waits_for_list(now.monotonic);
        }
        Swept::Page { same, changed, missing }
    }

    /// No page will show them: they are read one by one.
    fn read_who_waits_for_list(&mut self, now: Duration) {
        let waiting = self.entries.iter_mut().filter(|(_, entry)| entry.waits_for_list());
        let mut waiting: Vec<(u64, Duration, K)> = waiting
            .map(|(key, entry)| {
                entry.distrust();
                (entry.id, entry.schedule.first(), key.clone())
            })
            .collect();
        // In an order that is the same in every repetition of a test.
        waiting.sort_by_key(|(id, ..)| *id);
        for (before, (_, longest, key)) in (0..).zip(waiting) {
            self.advance(&key, now + SPREAD_PER_RUN.saturating_mul(before).min(longest));
        }
    }

    /// Begins a sweep if that is cheaper than gets.
    fn sweep(&mut self, now: Duration) {
        self.sweeps.settling = None;
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
            self.read_who_waits_for_list(now);
            return;
        };
        let swept = self.entries.iter().filter(|(_, entry)| entry.is_swept(period));
        let mut runs: Vec<(i64, u64, K)> =
            swept.filter_map(|(key, entry)| Some((entry.start_time()?, entry.id, key.clone()))).collect();
        // In an order that is the same in every repetition of a test.
        runs.sort_by_key(|(start, id, _)| (Reverse(*start), *id));
        // In whole seconds, as what is on record is: whoever started in the second of a cut is on the same side of it.
        let second = |start: i64| start - start.rem_euclid(1000);
        let runs = runs.into_iter().map(|(start, _, key)| (second(start), key)).collect();
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
        if entry.looks.is_none() {
            entry.looks = entry.looks_as_read(row);
        }
        let before = entry.looks.filter(|looks| looks.digest == row.looks);
        let Some(looks) = before else {
            let is_first = entry.looks.is_none();
            entry.looks = Some(Looks { digest: row.looks, since: asked.monotonic });
            if is_first && entry.waits_for_list() {
                return Some(self.first_look(&key, row, asked, now));
            }
            if !is_first {
                entry.distrust();
            }
            // What the first row is to be compared with is not known: the schedule's next get tells.
            if !is_first {
                self.advance(&key, now.monotonic);
            }
            return Some(!is_first);
        };
        // A get that was sent after it began to look like this has told all of it. Otherwise one is due.
        if let Some(told_at) = entry.told_at().filter(|told_at| *told_at >= looks.since)
            && !(is_out || entry.held)
            && entry.poke == Poke::None
        {
            let wait = entry.schedule.following(entry.wait);
            entry.wait = Some(wait);
            let latest = told_at + entry.read_after();
            let due = (asked.monotonic + jittered(wait, &mut self.random)).max(entry.due).min(latest);
            self.reschedule(&key, due);
        }
        Some(false)
    }

    /// The first row of a run that is on record; whether it is elsewhere. It does not become a reading: nothing is decided by
    /// it, but that the object says what Databricks says and a reading is not urgent.
    fn first_look(&mut self, key: &K, row: &Row, asked: Now, now: Now) -> bool {
        let (is_out, watched) = (self.in_flight.contains(key), self.entries.len());
        self.sweeps.looks_first = true;
        let Some(entry) = self.entries.get_mut(key) else { return false };
        let is_there = entry.recorded.is_some_and(|recorded| row.whereabouts == Some(recorded.whereabouts));
        if !is_there {
            entry.distrust();
            self.advance(key, now.monotonic);
            return true;
        }
        entry.vouched = Some(asked.monotonic);
        if !std::mem::replace(&mut entry.looked_at, true) {
            self.unread -= 1;
        }
        if !is_out && !entry.held && entry.poke == Poke::None {
            let pages = self.sweeps.pages_for(watched, now.monotonic);
            let is_swept = entry.is_swept(self.sweeps.sweeping.period(pages));
            // Where the list does not come often enough, its own schedule is for it.
            let wait = if is_swept { entry.read_after() } else { jittered(entry.schedule.first(), &mut self.random) };
            self.reschedule(key, asked.monotonic + wait);
        }
        false
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
        entry.distrust();
        self.advance(key, now.monotonic);
        true
    }
}
