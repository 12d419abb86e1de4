//! Sweeps: what they cost and show, and that nothing the list says or hides can harm.

use std::collections::BTreeMap;

use super::properties::assert_consistent;
use super::*;
use crate::poller::sweep::{Page, PageAnswer, Part, ROWS, Row};

/// How long every call takes: more than most do.
const LATENCY: Duration = Duration::from_millis(200);

/// How the list of live runs is answered.
#[derive(Debug, Clone, Copy, PartialEq)]
enum List {
    Truly,
    /// With what was true when the first page was asked for.
    Frozen,
    /// With nothing, as if none of the runs were live.
    Empty,
    Refused,
}

/// A run of the workspace.
#[derive(Debug, Clone, Copy)]
struct TownRun {
    /// Epoch milliseconds.
    start: i64,
    ends: Duration,
    /// From when on it waits for a repetition, which the list leaves out.
    waits: Duration,
}

impl TownRun {
    fn life_cycle(self, now: Duration) -> &'static str {
        match now {
            _ if now >= self.ends => "TERMINATED",
            _ if now >= self.waits => "WAITING_FOR_RETRY",
            _ => "RUNNING",
        }
    }
}

/// A workspace, of whose runs the first ones are ours, and what it was asked.
struct Town {
    book: Book<usize>,
    time: Duration,
    runs: Vec<TownRun>,
    /// Their numbers, newest first.
    newest: Vec<usize>,
    list: List,
    gets: usize,
    pages: usize,
    /// How long after a run's end it was seen.
    lags: BTreeMap<usize, Duration>,
    asked: BTreeMap<usize, Vec<Duration>>,
}

const NEVER: Duration = Duration::from_secs(1_000_000);

impl Town {
    /// So many runs of ours, each started a second after the other, among so many of other people.
    fn new(ours: usize, others: usize, pages_per_second: f64) -> Self {
        let mut book = Book::new(3, 32, Sweeping::Cheaper { pages_per_second });
        for run in 0..ours {
            book.watch(run, RunId(i64::try_from(run).unwrap() + 1), Schedule::default(), at(Duration::ZERO));
        }
        let run = |number: usize| {
            // The others' are spread among ours.
            let second = if number < ours { number } else { (number - ours) * ours / others.max(1) };
            TownRun { start: 1_000_000 + i64::try_from(second).unwrap() * 1000, ends: NEVER, waits: NEVER }
        };
        let runs: Vec<TownRun> = (0..ours + others).map(run).collect();
        let mut newest: Vec<usize> = (0..runs.len()).collect();
        newest.sort_by_key(|number| std::cmp::Reverse((runs[*number].start, *number)));
        Self {
            book,
            time: Duration::ZERO,
            runs,
            newest,
            list: List::Truly,
            gets: 0,
            pages: 0,
            lags: BTreeMap::new(),
            asked: BTreeMap::new(),
        }
    }

    /// The answer to a question about a page.
    fn page(&self, part: &Part) -> PageAnswer {
        let now = match self.list {
            List::Truly => self.time,
            List::Frozen => Duration::ZERO,
            List::Empty => return PageAnswer::Page(Page::default()),
            List::Refused => return PageAnswer::Failed { retry_after: None },
        };
        let skipped: usize = part.page_token.as_deref().map_or(0, |token| token.parse().unwrap());
        let (from, to) = (part.start_time_from.unwrap_or(0), part.start_time_to.unwrap_or(i64::MAX));
        let is_listed = |run: &TownRun| (from..=to).contains(&run.start) && run.life_cycle(now) == "RUNNING";
        // The token is a place in the order of all runs: who ends meanwhile moves nobody.
        let mut listed =
            self.newest.iter().enumerate().skip(skipped).filter(|(_, number)| is_listed(&self.runs[**number]));
        let page: Vec<(usize, usize)> = listed.by_ref().take(ROWS).map(|(place, number)| (place, *number)).collect();
        let next_page_token = listed.next().map(|(place, _)| place.to_string());
        let row = |number: usize| Row {
            run: RunId(i64::try_from(number).unwrap() + 1),
            start_time: self.runs[number].start,
            looks: 1,
        };
        PageAnswer::Page(Page { rows: page.into_iter().map(|(_, number)| row(number)).collect(), next_page_token })
    }

    /// Lives on for so long.
    fn live(&mut self, for_so_long: Duration) {
        let end = self.time + for_so_long;
        let (mut gets, mut pages) = (VecDeque::new(), VecDeque::new());
        while self.time < end {
            while let Some(ask) = self.book.page_due(at(self.time)) {
                self.pages += 1;
                pages.push_back((self.time + LATENCY, ask));
            }
            while let Some(ask) = self.book.due(at(self.time)) {
                self.gets += 1;
                self.asked.entry(ask.key).or_default().push(self.time);
                gets.push_back((self.time + LATENCY, ask));
            }
            while let Some(key) = self.book.wake(at(self.time)) {
                let version = self.book.snapshot(&key).unwrap().version;
                self.book.acknowledge(&key, version);
            }
            let answers = pages.front().map(|(at, _)| *at).into_iter().chain(gets.front().map(|(at, _)| *at)).min();
            let next = [answers, self.book.next_due(), self.book.next_page()].into_iter().flatten().min();
            self.time = next.map_or(end, |next| next.max(self.time));
            while pages.front().is_some_and(|(at, _)| *at <= self.time) {
                let (_, ask) = pages.pop_front().unwrap();
                let answer = self.page(&ask.part);
                self.book.page_learned(ask, answer, at(self.time));
            }
            while gets.front().is_some_and(|(at, _)| *at <= self.time) {
                let (_, ask) = gets.pop_front().unwrap();
                self.read(ask);
            }
        }
        // Nothing that was asked stays without an answer.
        while let Some((_, ask)) = pages.pop_front() {
            let answer = self.page(&ask.part);
            self.book.page_learned(ask, answer, at(self.time));
        }
        while let Some((_, ask)) = gets.pop_front() {
            self.read(ask);
        }
        assert_consistent(&self.book);
    }

    fn read(&mut self, ask: Ask<usize>) {
        let key = ask.key;
        let town = self.runs[key];
        let mut read = run(ask.run.0, town.life_cycle(self.time));
        read.start_time = town.start;
        if self.time >= town.ends {
            read.end_time = town.start + 1;
            self.lags.entry(key).or_insert(self.time.saturating_sub(town.ends));
        }
        self.book.learned(ask, answer(read), at(self.time));
        // As the controller does with a run that has ended.
        if self.time >= town.ends {
            self.book.unwatch(&key);
        }
    }

    /// Calls a second while time passes, after it has passed for some minutes.
    fn calls_per_second(&mut self) -> f64 {
        self.live(Duration::from_mins(5));
        (self.gets, self.pages) = (0, 0);
        self.live(Duration::from_mins(5));
        f64::from(u32::try_from(self.gets + self.pages).unwrap()) / 300.0
    }

    /// The time within which 95 of 100 ends were seen, of runs that end one after the other over five minutes.
    fn lag_of_95_percent(&mut self, runs: usize) -> Duration {
        let begun = self.time;
        let between = Duration::from_mins(5) / u32::try_from(runs).unwrap();
        let mut ends = begun;
        for run in self.runs.iter_mut().take(runs) {
            run.ends = ends;
            ends += between;
        }
        self.live(Duration::from_mins(7));
        let mut lags: Vec<Duration> = self.lags.values().copied().collect();
        lags.sort();
        assert_eq!(lags.len(), runs, "an end was not seen");
        lags[lags.len() * 95 / 100]
    }
}

#[test]
fn a_thousand_runs_cost_less_than_ten_calls_a_second_and_their_ends_are_seen_within_six() {
    let mut town = Town::new(1000, 0, 9.0);
    let calls = town.calls_per_second();
    assert!(calls < 10.0, "{calls} calls a second");
    let lag = town.lag_of_95_percent(500);
    assert!(lag <= 6 * SECOND, "{lag:?}");
}

#[test]
fn a_thousand_runs_that_were_read_together_are_not_read_together_again() {
    let mut town = Town::new(1000, 0, 9.0);
    town.live(Duration::from_mins(5));
    for minute in 5..35 {
        (town.gets, town.pages) = (0, 0);
        town.live(Duration::from_mins(1));
        // The rate that an operator allows itself for a workspace: more would hold up what has changed.
        assert!(town.gets + town.pages < 60 * 15, "{} gets and {} pages in minute {minute}", town.gets, town.pages);
    }
}

#[test]
fn two_thousand_runs_cost_less_than_fifteen_calls_a_second_and_their_ends_are_seen_within_fifteen() {
    let mut town = Town::new(2000, 0, 9.0);
    let calls = town.calls_per_second();
    assert!(calls < 15.0, "{calls} calls a second");
    let lag = town.lag_of_95_percent(1000);
    assert!(lag <= 15 * SECOND, "{lag:?}");
}

#[test]
fn among_many_runs_of_others_gets_are_cheaper_and_what_was_tried_costs_little() {
    let calls = Town::new(200, 20_000, 9.0).calls_per_second();
    // One a minute for each run, up to a tenth sooner.
    assert!(calls < 4.0, "{calls} calls a second instead of 200 / 60");
}

#[test]
fn few_runs_are_not_swept() {
    let mut town = Town::new(9, 0, 9.0);
    town.live(Duration::from_mins(10));
    assert_eq!(town.pages, 0);
}

#[test]
fn a_run_that_the_list_leaves_out_costs_one_get_and_then_has_its_own_schedule() {
    let mut town = Town::new(100, 0, 9.0);
    town.live(Duration::from_mins(5));
    town.runs[7].waits = town.time;
    town.asked.clear();
    town.live(Duration::from_mins(10));
    let asked = &town.asked[&7];
    let waits: Vec<u64> = asked.windows(2).map(|pair| pair[1].saturating_sub(pair[0]).as_secs()).collect();
    assert!(asked[0] < Duration::from_mins(5) + 10 * SECOND, "{asked:?}");
    // 5, 10, 20, 40, and 60 from then on: up to a tenth less each, and the call itself.
    assert!((11..=16).contains(&waits.len()) && waits[4..].iter().all(|wait| (53..=61).contains(wait)), "{waits:?}");
}

#[test]
fn a_list_that_is_refused_leaves_the_gets_on_their_schedule() {
    let mut town = Town::new(100, 0, 9.0);
    town.list = List::Refused;
    town.live(Duration::from_mins(30));
    assert!(town.pages <= 6, "{} times", town.pages);
    for asked in town.asked.values() {
        assert!(asked.windows(2).all(|pair| pair[1].saturating_sub(pair[0]) <= 61 * SECOND));
    }
}

#[test]
fn a_list_that_is_empty_costs_each_run_one_get_and_then_leaves_the_gets_on_their_schedule() {
    let mut town = Town::new(100, 0, 9.0);
    town.live(Duration::from_mins(5));
    town.list = List::Empty;
    let calls = town.calls_per_second();
    assert!(calls < 2.0, "{calls} calls a second instead of 100 / 60");
}

#[test]
fn a_list_that_stands_still_hides_no_end_for_longer_than_a_quarter_of_an_hour() {
    let mut town = Town::new(100, 0, 9.0);
    town.list = List::Frozen;
    town.live(Duration::from_mins(5));
    let begun = town.time;
    for run in &mut town.runs {
        run.ends = begun + SECOND;
    }
    town.live(Duration::from_mins(16));
    assert_eq!(town.lags.len(), 100);
    assert!(town.lags.values().all(|lag| *lag <= Duration::from_mins(15) + SECOND), "{:?}", town.lags);
}
