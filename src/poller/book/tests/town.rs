//! A workspace full of runs that sweeps go through, and what it was asked.

use std::collections::BTreeMap;

use super::properties::assert_consistent;
use super::*;
use crate::databricks::Whereabouts;
use crate::databricks::limiter::{self, Asker, Lane, Permission};
use crate::poller::sweep::{Page, PageAnswer, Part, ROWS, Row};

/// How long every call takes where nothing else is said: more than most do.
const LATENCY: Duration = Duration::from_millis(200);

/// How the list of live runs is answered.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum List {
    Truly,
    /// With what was true when the first page was asked for.
    Frozen,
    /// With nothing, as if none of the runs were live.
    Empty,
    Refused,
}

/// A run of the workspace.
#[derive(Debug, Clone, Copy)]
pub(super) struct TownRun {
    /// Epoch milliseconds.
    start: i64,
    pub(super) ends: Duration,
    /// From when on it waits for a repetition, which the list leaves out.
    pub(super) waits: Duration,
    /// When it begins to be watched, and the state that is on record then.
    pub(super) watched: Option<(Duration, &'static str)>,
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

/// A call on its way.
enum Call {
    Get(Ask<usize>),
    Page(AskPage),
}

/// A workspace, of whose runs the first ones are ours, and what it was asked.
pub(super) struct Town {
    pub(super) book: Book<usize>,
    pub(super) time: Duration,
    pub(super) runs: Vec<TownRun>,
    /// Their numbers, newest first.
    newest: Vec<usize>,
    pub(super) list: List,
    pub(super) gets: usize,
    pub(super) pages: usize,
    pub(super) wakes: usize,
    /// How long after a run's end it was seen.
    pub(super) lags: BTreeMap<usize, Duration>,
    pub(super) asked: BTreeMap<usize, Vec<Duration>>,
    /// When the last of those who are watched had been looked at.
    pub(super) all_looked_at: Option<Duration>,
    /// With it calls take 50 to 200 ms, as chance will have it.
    limiter: Option<(limiter::Core, StdRng)>,
    calls: BTreeMap<(Duration, u64), Call>,
    number: u64,
}

pub(super) const NEVER: Duration = Duration::from_secs(1_000_000);

impl Town {
    /// So many runs of ours, each started a second after the other, among so many of other people.
    pub(super) fn new(ours: usize, others: usize, pages_per_second: f64) -> Self {
        let mut town = Self::unwatched(ours, others, pages_per_second);
        for run in 0..ours {
            let id = RunId(i64::try_from(run).unwrap() + 1);
            town.book.watch(run, id, Schedule::default(), None, at(Duration::ZERO));
        }
        town
    }

    /// The same, all started at once, under the usual rate limit.
    pub(super) fn hurried(ours: usize) -> Self {
        let mut town = Self::new(ours, 0, 7.5);
        town.limiter = Some((limiter::Core::new(15.0, Duration::ZERO), StdRng::seed_from_u64(13)));
        town
    }

    /// The same after a restart: under the usual rate limit, on record as running, and coming in over two seconds.
    pub(super) fn restarted(ours: usize, others: usize) -> Self {
        let mut town = Self::unwatched(ours, others, 7.5);
        town.limiter = Some((limiter::Core::new(15.0, Duration::ZERO), StdRng::seed_from_u64(11)));
        for (number, run) in (0_u32..).zip(&mut town.runs[..ours]) {
            // In no order of theirs.
            let turn = number.wrapping_mul(2_654_435_761) >> 16;
            run.watched = Some((2 * SECOND * turn / (1 << 16), "RUNNING"));
        }
        town
    }

    fn unwatched(ours: usize, others: usize, pages_per_second: f64) -> Self {
        let run = |number: usize| {
            // The others' are spread among ours.
            let second = if number < ours { number } else { (number - ours) * ours / others.max(1) };
            let start = 1_000_123 + i64::try_from(second).unwrap() * 1000;
            TownRun { start, ends: NEVER, waits: NEVER, watched: None }
        };
        let runs: Vec<TownRun> = (0..ours + others).map(run).collect();
        let mut newest: Vec<usize> = (0..runs.len()).collect();
        newest.sort_by_key(|number| std::cmp::Reverse((runs[*number].start, *number)));
        Self {
            book: Book::new(3, 32, Sweeping::Cheaper { pages_per_second }),
            time: Duration::ZERO,
            runs,
            newest,
            list: List::Truly,
            gets: 0,
            pages: 0,
            wakes: 0,
            lags: BTreeMap::new(),
            asked: BTreeMap::new(),
            all_looked_at: None,
            limiter: None,
            calls: BTreeMap::new(),
            number: 0,
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
            whereabouts: Whereabouts::of("RUNNING", [].into_iter()),
        };
        PageAnswer::Page(Page { rows: page.into_iter().map(|(_, number)| row(number)).collect(), next_page_token })
    }

    /// Lives on for so long.
    pub(super) fn live(&mut self, for_so_long: Duration) {
        let end = self.time + for_so_long;
        while self.time < end {
            let next_to_watch = self.watch();
            while let Some(ask) = self.book.page_due(at(self.time)) {
                if let Some(wait) = self.held_back(&ask.part) {
                    let _ = self.book.page_learned(ask, PageAnswer::NotNow(wait), at(self.time));
                } else {
                    self.pages += 1;
                    self.send(Call::Page(ask));
                }
            }
            while let Some(ask) = self.book.due(at(self.time)) {
                if let Some(wait) = self.held_back(&ask.run) {
                    let _ = self.book.learned(ask, Answer::NotNow(wait), at(self.time));
                } else {
                    self.gets += 1;
                    self.asked.entry(ask.key).or_default().push(self.time);
                    self.send(Call::Get(ask));
                }
            }
            while let Some(key) = self.book.wake(at(self.time)) {
                self.wakes += 1;
                let version = self.book.snapshot(&key).unwrap().version;
                self.book.acknowledge(&key, version);
            }
            let answer = self.calls.first_key_value().map(|((at, _), _)| *at);
            let next = [answer, next_to_watch, self.book.next_due(), self.book.next_page()].into_iter().flatten().min();
            self.time = next.map_or(end, |next| next.max(self.time));
            while self.calls.first_key_value().is_some_and(|((at, _), _)| *at <= self.time) {
                self.answer();
            }
            if next_to_watch.is_none() && self.book.unread == 0 {
                self.all_looked_at.get_or_insert(self.time);
            }
        }
        // Nothing that was asked stays without an answer.
        while !self.calls.is_empty() {
            self.answer();
        }
        assert_consistent(&self.book);
    }

    /// Has those watched whose time has come; when the next one's comes.
    fn watch(&mut self) -> Option<Duration> {
        let mut next = None;
        for (number, run) in self.runs.iter_mut().enumerate() {
            match run.watched {
                Some((time, state)) if time <= self.time => {
                    run.watched = None;
                    let whereabouts = Whereabouts::of(state, [].into_iter());
                    let start_time = run.start / 1000 * 1000;
                    let recorded = whereabouts.map(|whereabouts| Recorded { start_time, whereabouts });
                    let id = RunId(i64::try_from(number).unwrap() + 1);
                    self.book.watch(number, id, Schedule::default(), recorded, at(self.time));
                }
                Some((time, _)) => next = next.into_iter().chain([time]).min(),
                None => {}
            }
        }
        next
    }

    /// How long the rate limit holds a call back.
    fn held_back(&mut self, who: &impl std::hash::Hash) -> Option<Duration> {
        use std::hash::{DefaultHasher, Hasher};
        let (limiter, _) = self.limiter.as_mut()?;
        let mut call = DefaultHasher::new();
        who.hash(&mut call);
        match limiter.ask(Lane::Poll, Asker { share: 0, call: call.finish() }, self.time) {
            Permission::Now => None,
            Permission::At(turn) => Some(turn.saturating_sub(self.time)),
        }
    }

    fn send(&mut self, call: Call) {
        let latency = match &mut self.limiter {
            Some((_, chance)) => Duration::from_millis(chance.random_range(50..=200)),
            None => LATENCY,
        };
        self.number += 1;
        self.calls.insert((self.time + latency, self.number), call);
    }

    fn answer(&mut self) {
        match self.calls.pop_first() {
            Some((_, Call::Get(ask))) => self.read(ask),
            Some((_, Call::Page(ask))) => {
                let answer = self.page(&ask.part);
                self.book.page_learned(ask, answer, at(self.time));
            }
            None => {}
        }
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

    /// Has all readings let go of, as the controller does when it looks at runs of which nothing is to be written.
    pub(super) fn put_all_away(&mut self) {
        let keys: Vec<usize> = self.book.entries.keys().copied().collect();
        for key in keys {
            let whereabouts = Whereabouts::of("RUNNING", [].into_iter()).unwrap();
            let recorded = Recorded { start_time: self.runs[key].start / 1000 * 1000, whereabouts };
            let version = self.book.snapshot(&key).unwrap().version;
            self.book.put_away(&key, version, recorded);
            assert!(self.book.entries[&key].put_away.is_some());
        }
    }

    /// Calls a second while so much time passes.
    pub(super) fn calls_per_second_over(&mut self, time: Duration) -> f64 {
        (self.gets, self.pages) = (0, 0);
        self.live(time);
        f64::from(u32::try_from(self.gets + self.pages).unwrap()) / time.as_secs_f64()
    }

    /// Calls a second after some minutes have passed.
    pub(super) fn calls_per_second(&mut self) -> f64 {
        self.live(Duration::from_mins(5));
        self.calls_per_second_over(Duration::from_mins(5))
    }

    /// The time within which 95 of 100 ends were seen, of runs that end one after the other over five minutes.
    pub(super) fn lag_of_95_percent(&mut self, runs: usize) -> Duration {
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
