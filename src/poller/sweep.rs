//! A sweep: many runs looked at by few pages of `runs/list`, where that costs less than a get for each. This file has the
//! sweep itself and the choice; what a row does to a run's schedule is in `book/sweeping.rs`.
//!
//! What a row says never becomes a reading: the list may lag behind and leaves out runs that wait. A row that looks as
//! before saves its run a get, one that looks otherwise costs one, and so does a run that is missing.

use std::time::Duration;

use crate::databricks::error::Error;
use crate::databricks::ids::RunId;
use crate::databricks::{RUNS_PER_PAGE, Whereabouts};

/// Rows of a page.
pub(super) const ROWS: usize = RUNS_PER_PAGE as usize;

/// A sweep does not begin sooner than this after the one before it. It is the first wait of the usual schedule: nobody is
/// promised to be asked about more often.
const SHORTEST_PERIOD: Duration = Duration::from_secs(5);

/// Fewer runs than these are not worth the thought.
const FEWEST_RUNS: usize = 10;

/// Parts of the list that are paged through side by side. One page follows from the one before it, so that a single cursor
/// would need seconds for a thousand runs.
const MAX_PARTS: usize = 4;

/// A part is worth a cursor of its own from so many pages on.
const PAGES_PER_PART: usize = 8;

/// Which page of the list of live runs is asked for.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Part {
    /// Only runs that started at or after this time, in epoch milliseconds.
    pub start_time_from: Option<i64>,
    /// Only runs that started at or before this time, in epoch milliseconds.
    pub start_time_to: Option<i64>,
    /// The page; none is the first.
    pub page_token: Option<String>,
}

/// A page of the list of live runs, newest first.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Page {
    /// Its rows.
    pub rows: Vec<Row>,
    /// The next page; none is the end.
    pub next_page_token: Option<String>,
}

/// A run in the list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Row {
    /// Which.
    pub run: RunId,
    /// When it started, in epoch milliseconds.
    pub start_time: i64,
    /// A digest of how it and its tasks stand: another one is a change.
    pub looks: u64,
    /// Where it and its tasks are, if it surely goes on.
    pub whereabouts: Option<Whereabouts>,
}

/// What is on record of a live run from before it was watched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Recorded {
    /// When it started, in epoch milliseconds; up to a second early.
    pub start_time: i64,
    /// Where it and its tasks were.
    pub whereabouts: Whereabouts,
}

/// What came of asking for a page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PageAnswer {
    /// The page.
    Page(Page),
    /// Our rate limit: nothing was asked; the turn comes in so long.
    NotNow(Duration),
    /// No page.
    Failed {
        /// How long Databricks asked to be left alone.
        retry_after: Option<Duration>,
    },
}

impl From<Result<Page, Error>> for PageAnswer {
    fn from(result: Result<Page, Error>) -> Self {
        match result {
            Ok(page) => Self::Page(page),
            Err(Error::NotNow(wait)) => Self::NotNow(wait),
            Err(Error::Throttled { retry_after, .. }) => Self::Failed { retry_after },
            Err(_) => Self::Failed { retry_after: None },
        }
    }
}

/// Whether sweeps are made.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Sweeping {
    /// No.
    Never,
    /// Where they cost fewer calls than the gets they save.
    Cheaper {
        /// The most pages a second that they may take.
        pages_per_second: f64,
    },
    /// Whatever they cost: for tests.
    Always,
}

/// What a round of gets would cost.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Gets {
    /// Runs that a row could save a get.
    pub(super) runs: usize,
    /// Gets that are due for them in a second, by their schedules.
    pub(super) per_second: f64,
}

impl Sweeping {
    /// The time between the begins of two sweeps of so many pages.
    pub(super) fn period(self, pages: usize) -> Duration {
        match self {
            Self::Cheaper { pages_per_second } if pages_per_second > 0.0 => SHORTEST_PERIOD
                .max(Duration::try_from_secs_f64(count(pages) / pages_per_second).unwrap_or(Duration::MAX)),
            _ => SHORTEST_PERIOD,
        }
    }

    /// The most pages that a sweep may have and still cost less than the gets; none if there is to be no sweep.
    ///
    /// Where even the rate limit cannot serve all gets, a sweep that shows fewer than two of our runs a page would show
    /// them later than the gets do.
    pub(super) fn most_pages(self, gets: Gets) -> Option<usize> {
        let pages_per_second = match self {
            Self::Never => return None,
            Self::Always => return (gets.runs > 0).then_some(usize::MAX),
            Self::Cheaper { pages_per_second } => pages_per_second,
        };
        if gets.runs < FEWEST_RUNS || pages_per_second <= 0.0 {
            return None;
        }
        let dense = gets.runs / 2;
        // From so many pages on the period grows with them, and a sweep costs `pages_per_second` however long it is.
        if gets.per_second > pages_per_second {
            return Some(dense);
        }
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a few thousand at most")]
        let cheaper = (gets.per_second * SHORTEST_PERIOD.as_secs_f64()) as usize;
        Some(cheaper.min(dense)).filter(|most| *most > 0)
    }
}

#[expect(clippy::cast_precision_loss, reason = "a few thousand at most")]
fn count(number: usize) -> f64 {
    number as f64
}

/// How many pages a sweep of so many runs has, if nobody else's runs are among them.
pub(super) fn pages_for(runs: usize) -> usize {
    runs.div_ceil(ROWS)
}

/// A sweep under way.
#[derive(Debug)]
pub(super) struct Sweep<K> {
    /// When it began.
    pub(super) began: Duration,
    /// Pages that were answered.
    pub(super) pages: usize,
    /// The most there may be.
    pub(super) most_pages: usize,
    cursors: Vec<Cursor<K>>,
}

/// A part of the list that is paged through.
#[derive(Debug)]
struct Cursor<K> {
    part: Part,
    /// Whose runs are to be found there, newest first.
    expected: Vec<(i64, K)>,
    /// So many of them are behind us.
    passed: usize,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// The next page may be asked for from this time on.
    Ready(Duration),
    /// It is asked for.
    Asked,
    /// There is none.
    Done,
}

impl<K: Clone> Sweep<K> {
    /// Begins one, for runs and their start times in epoch milliseconds, newest first.
    pub(super) fn begin(mut runs: Vec<(i64, K)>, most_pages: usize, now: Duration) -> Self {
        let parts = (pages_for(runs.len()) / PAGES_PER_PART).clamp(1, MAX_PARTS);
        let mut cursors = Vec::new();
        let mut newer_than = None;
        for part in (1..=parts).rev() {
            // An even part of what is left, and whatever started in the same millisecond as its last.
            let share = runs.len().div_ceil(part);
            let Some((oldest, _)) = runs.get(share.saturating_sub(1)) else { break };
            let oldest = *oldest;
            let older = runs.split_off(runs.partition_point(|(start, _)| *start >= oldest));
            cursors.push(Cursor {
                part: Part { start_time_from: Some(oldest), start_time_to: newer_than, page_token: None },
                expected: std::mem::replace(&mut runs, older),
                passed: 0,
                state: State::Ready(now),
            });
            newer_than = Some(oldest - 1);
        }
        Self { began: now, pages: 0, most_pages, cursors }
    }

    /// The next page to ask for now, and the number of its cursor.
    pub(super) fn due(&mut self, now: Duration) -> Option<(usize, Part)> {
        let is_due = |cursor: &Cursor<K>| matches!(cursor.state, State::Ready(at) if at <= now);
        let number = self.cursors.iter().position(is_due)?;
        let cursor = self.cursors.get_mut(number)?;
        cursor.state = State::Asked;
        Some((number, cursor.part.clone()))
    }

    /// When the next page may be asked for, as far as time alone brings it about.
    pub(super) fn next_due(&self) -> Option<Duration> {
        let ready = self.cursors.iter().filter_map(|cursor| match cursor.state {
            State::Ready(at) => Some(at),
            State::Asked | State::Done => None,
        });
        ready.min()
    }

    /// Whether there is nothing left to ask for and to wait for.
    pub(super) fn is_over(&self) -> bool {
        self.cursors.iter().all(|cursor| cursor.state == State::Done)
    }

    /// The page may be asked for later.
    pub(super) fn put_off(&mut self, cursor: usize, until: Duration) {
        if let Some(cursor) = self.cursors.get_mut(cursor) {
            cursor.state = State::Ready(until);
        }
    }

    /// Turns the page: who should have been on it or on one before it by now. A token that comes back ends the part, too.
    pub(super) fn turn(&mut self, cursor: usize, page: &Page, now: Duration) -> Vec<K> {
        self.pages += 1;
        let Some(cursor) = self.cursors.get_mut(cursor) else { return Vec::new() };
        let next = page.next_page_token.clone().filter(|next| cursor.part.page_token.as_ref() != Some(next));
        let last = page.rows.last().map(|row| row.start_time);
        let behind = match (&next, last) {
            // Rows are newest first. One that started in the same millisecond may still come.
            (Some(_), Some(last)) => cursor.expected.partition_point(|(start, _)| *start > last),
            (Some(_), None) => cursor.passed,
            (None, _) => cursor.expected.len(),
        };
        let passed = cursor.passed;
        cursor.passed = behind.max(passed);
        cursor.state = if next.is_some() { State::Ready(now) } else { State::Done };
        cursor.part.page_token = next;
        let expected = cursor.expected.iter().take(behind).skip(passed);
        expected.map(|(_, key)| key).cloned().collect()
    }
}
