//! What holds whatever happens in whatever order.

use std::collections::HashMap;

use proptest::prelude::*;

use super::*;
use crate::databricks::Whereabouts;
use crate::poller::sweep::{Page, PageAnswer, Row};

/// What the book's parts say of each other.
pub(super) fn assert_consistent<K: Key>(book: &Book<K>) {
    let waiting = book.entries.keys().filter(|key| !book.in_flight.contains(key)).count();
    assert_eq!(book.gets.len() + book.held.len(), waiting, "everyone watched is due sometime, or has a get out");
    assert_eq!(book.held.len(), book.entries.values().filter(|entry| entry.held).count());
    let wakes = book.entries.values().filter(|entry| entry.wake.is_some()).count();
    assert_eq!(book.wakes.len(), wakes);
    let unread = book.entries.values().filter(|entry| !entry.looked_at).count();
    assert_eq!(usize::try_from(book.unread).unwrap(), unread);
    for entry in book.entries.values() {
        assert!(entry.looked_at || entry.is_unread(), "a reading is a look");
        assert!(
            entry.snapshot.seen.is_none() || entry.recorded.is_none(),
            "a reading takes the place of what is on record"
        );
        assert!(entry.put_away.is_none() || (entry.vouched.is_some() && entry.snapshot.seen.is_none()));
        assert!(entry.vouched.is_none() || (entry.looked_at && entry.recorded.is_some()));
    }
    book.sweeps.assert_consistent(|key| book.entries.get(key).map(|entry| entry.snapshot.run_id));
}

/// Something that happens to a book.
#[derive(Debug, Clone)]
enum Event {
    /// Key, run, first wait, and the state that is on record.
    Watch(u8, i64, u64, Option<&'static str>),
    Unwatch(u8),
    Poke(u8),
    Acknowledge(u8),
    PutAway(u8, &'static str),
    Pass(u64),
    Send,
    /// What comes of one of the gets that are out.
    Learn(usize, Came),
    Wake,
    SendPage,
    /// What comes of one of the pages that are out.
    LearnPage(usize, CamePage),
}

/// Rows as (run, start, looks, state), in whatever order; whether another page follows.
#[derive(Debug, Clone)]
enum CamePage {
    Page(Vec<(i64, i64, u64, &'static str)>, bool),
    NotNow(u64),
    Failed,
}

impl CamePage {
    fn answer(&self) -> PageAnswer {
        match self {
            Self::Page(rows, more) => {
                let row = |(run, start_time, looks, state): &(i64, i64, u64, &'static str)| Row {
                    run: RunId(*run),
                    start_time: *start_time,
                    looks: *looks,
                    whereabouts: Whereabouts::of(state, [].into_iter()),
                };
                let next_page_token = more.then(|| "more".to_owned());
                PageAnswer::Page(Page { rows: rows.iter().map(row).collect(), next_page_token })
            }
            Self::NotNow(millis) => PageAnswer::NotNow(Duration::from_millis(*millis)),
            Self::Failed => PageAnswer::Failed { retry_after: None },
        }
    }
}

fn state() -> impl Strategy<Value = &'static str> {
    prop_oneof![Just("PENDING"), Just("RUNNING"), Just("TERMINATING")]
}

fn came_page() -> impl Strategy<Value = CamePage> {
    let row = (1..4_i64, 0..3_i64, 0..2_u64, state());
    prop_oneof![
        6 => (prop::collection::vec(row, 0..4), any::<bool>()).prop_map(|(rows, more)| CamePage::Page(rows, more)),
        1 => (0..5_000_u64).prop_map(CamePage::NotNow),
        1 => Just(CamePage::Failed),
    ]
}

#[derive(Debug, Clone, Copy)]
enum Came {
    Run(u8),
    NotFound,
    NotNow(u64),
    Failed,
}

impl Came {
    fn answer(self, run_id: RunId) -> Answer {
        match self {
            Self::Run(state) => {
                let mut run = run(run_id.0, ["PENDING", "RUNNING", "TERMINATED"][usize::from(state % 3)]);
                run.start_time = i64::from(state);
                answer(run)
            }
            Self::NotFound => Answer::NotFound,
            Self::NotNow(millis) => Answer::NotNow(Duration::from_millis(millis)),
            Self::Failed => DOWN,
        }
    }
}

fn came() -> impl Strategy<Value = Came> {
    prop_oneof![
        4 => (0..3_u8).prop_map(Came::Run),
        1 => Just(Came::NotFound),
        1 => (0..5_000_u64).prop_map(Came::NotNow),
        1 => Just(Came::Failed),
    ]
}

fn event() -> impl Strategy<Value = Event> {
    let key = 0..5_u8;
    prop_oneof![
        3 => (key.clone(), 1..3_i64, 0..20_u64, prop::option::of(state()))
            .prop_map(|(key, run, initial, recorded)| Event::Watch(key, run, initial, recorded)),
        1 => key.clone().prop_map(Event::Unwatch),
        2 => key.clone().prop_map(Event::Poke),
        2 => key.clone().prop_map(Event::Acknowledge),
        2 => (key, state()).prop_map(|(key, state)| Event::PutAway(key, state)),
        3 => (0..30_000_u64).prop_map(Event::Pass),
        6 => Just(Event::Send),
        6 => (any::<usize>(), came()).prop_map(|(which, came)| Event::Learn(which, came)),
        2 => Just(Event::Wake),
        4 => Just(Event::SendPage),
        4 => (any::<usize>(), came_page()).prop_map(|(which, came)| Event::LearnPage(which, came)),
    ]
}

/// A book, what is out, and what a caller knows of it.
struct World {
    book: Book<u8>,
    time: Duration,
    room: usize,
    out: Vec<Ask<u8>>,
    pages: Vec<AskPage>,
    watched: HashMap<u8, RunId>,
    acknowledged: HashMap<u8, u64>,
    /// When the rate limit wants who is held back.
    turns: HashMap<u8, Duration>,
    /// Which key and run each version belongs to.
    versions: HashMap<u64, (u8, RunId)>,
}

impl World {
    fn new(seed: u64, room: usize) -> Self {
        Self {
            book: Book::new(seed, room, Sweeping::Always),
            time: Duration::ZERO,
            room,
            out: Vec::new(),
            pages: Vec::new(),
            watched: HashMap::new(),
            acknowledged: HashMap::new(),
            turns: HashMap::new(),
            versions: HashMap::new(),
        }
    }

    fn happen(&mut self, event: &Event) {
        let now = at(self.time);
        match *event {
            Event::Watch(key, run, initial, state) => {
                let schedule = Schedule { initial: Duration::from_secs(initial), ..Schedule::default() };
                let whereabouts = state.and_then(|state| Whereabouts::of(state, [].into_iter()));
                let recorded = whereabouts.map(|whereabouts| Recorded { start_time: 0, whereabouts });
                self.book.watch(key, RunId(run), schedule, recorded, now);
                if self.watched.insert(key, RunId(run)) != Some(RunId(run)) {
                    self.turns.remove(&key);
                }
            }
            Event::Unwatch(key) => {
                self.book.unwatch(&key);
                self.watched.remove(&key);
                self.turns.remove(&key);
            }
            Event::Poke(key) => self.book.poke(&key, now),
            Event::Acknowledge(key) => {
                if let Some(snapshot) = self.book.snapshot(&key) {
                    self.book.acknowledge(&key, snapshot.version);
                    self.acknowledged.insert(key, snapshot.version);
                }
            }
            Event::PutAway(key, state) => {
                let version = self.book.snapshot(&key).map_or(0, |snapshot| snapshot.version);
                if let Some(whereabouts) = Whereabouts::of(state, [].into_iter()) {
                    self.book.put_away(&key, version, Recorded { start_time: 0, whereabouts });
                }
            }
            Event::Pass(millis) => self.time += Duration::from_millis(millis),
            Event::Send => {
                if let Some(ask) = self.book.due(now) {
                    assert!(self.out.iter().all(|other| other.key != ask.key), "two gets out for one key");
                    assert_eq!(self.watched.get(&ask.key), Some(&ask.run));
                    let turn = self.turns.remove(&ask.key).unwrap_or_default();
                    assert!(self.time >= turn, "asked before the turn that the rate limit has named");
                    self.out.push(ask);
                    assert!(self.out.len() <= self.room, "more gets out than there is room for");
                }
            }
            Event::Learn(which, came) if !self.out.is_empty() => {
                let ask = self.out.swap_remove(which % self.out.len());
                let (key, run) = (ask.key, ask.run);
                if let Learned::Held { wait } = self.book.learned(ask, came.answer(run), now) {
                    self.turns.insert(key, self.time + wait);
                }
            }
            Event::SendPage => self.pages.extend(self.book.page_due(now)),
            Event::LearnPage(which, ref came) if !self.pages.is_empty() => {
                let ask = self.pages.swap_remove(which % self.pages.len());
                self.book.page_learned(ask, came.answer(), now);
            }
            Event::Learn(..) | Event::LearnPage(..) => {}
            Event::Wake => {
                if let Some(key) = self.book.wake(now) {
                    assert!(self.watched.contains_key(&key), "woken though nobody watches");
                }
            }
        }
    }

    fn check(&mut self) {
        assert_consistent(&self.book);
        for (key, run) in &self.watched {
            let snapshot = self.book.snapshot(key);
            let version = snapshot.as_ref().map_or(0, |snapshot| snapshot.version);
            let is_news = version > self.acknowledged.get(key).copied().unwrap_or(0);
            assert_eq!(self.book.entries[key].wake.is_some(), is_news, "who has news is woken, and nobody else");
            if let Some(snapshot) = snapshot {
                assert_eq!(snapshot.run_id, *run);
            }
            if version > 0 {
                let owner = *self.versions.entry(version).or_insert((*key, *run));
                assert_eq!(owner, (*key, *run), "version {version} was given twice");
            }
        }
    }
}

proptest! {
    #[test]
    fn one_get_per_key_only_for_who_is_watched_and_no_news_is_ever_lost(
        events in prop::collection::vec(event(), 0..200),
        seed: u64,
        room in 1..4_usize,
    ) {
        let mut world = World::new(seed, room);
        for event in events {
            world.happen(&event);
            world.check();
        }

        let World { mut book, out, watched, time, .. } = world;
        for key in watched.keys() {
            book.unwatch(key);
        }
        for ask in out {
            assert_eq!(book.learned(ask, Answer::NotFound, at(time)), Learned::Unwatched);
        }
        assert_consistent(&book);
        assert!(book.is_empty() && book.in_flight.is_empty() && book.next_wake().is_none(), "something is left behind");
    }

    /// While the source answers, nobody is asked about later than its schedule's longest wait, or sooner than nine
    /// tenths of its first.
    #[test]
    fn everyone_is_asked_about_on_schedule(
        schedules in prop::collection::vec((1..10_u64, 0..120_u64), 1..20),
        latencies in prop::collection::vec(0..2_000_u64, 1..50),
        states in prop::collection::vec(0..3_u8, 1..50),
        seed: u64,
    ) {
        let seconds = Duration::from_secs;
        let schedules: Vec<_> = schedules
            .into_iter()
            .map(|(initial, more)| Schedule { initial: seconds(initial), max: seconds(initial + more) })
            .collect();
        let (mut latencies, mut states) = (latencies.into_iter().cycle(), states.into_iter().cycle());
        let mut book = Book::new(seed, schedules.len(), Sweeping::Never);
        for (key, schedule) in schedules.iter().enumerate() {
            book.watch(key, RunId(1), *schedule, None, at(Duration::ZERO));
        }
        let mut answered: Vec<Option<Duration>> = vec![None; schedules.len()];
        let mut out: Vec<(Duration, Ask<usize>)> = Vec::new();
        let mut time = Duration::ZERO;
        while time < seconds(600) {
            while let Some(ask) = book.due(at(time)) {
                let schedule = schedules[ask.key];
                let wait = time.saturating_sub(answered[ask.key].unwrap_or_default());
                assert!(wait <= schedule.max, "{wait:?} is too late for {schedule:?}");
                let soonest = schedule.initial.mul_f64(0.899);
                assert!(answered[ask.key].is_none() || wait >= soonest, "{wait:?} is too soon for {schedule:?}");
                out.push((time + Duration::from_millis(latencies.next().unwrap()), ask));
            }
            time = out.iter().map(|(at, _)| *at).chain(book.next_due()).min().expect("somebody is due or out");
            while let Some(index) = out.iter().position(|(at, _)| *at <= time) {
                let (_, ask) = out.swap_remove(index);
                answered[ask.key] = Some(time);
                book.learned(ask, Came::Run(states.next().unwrap()).answer(RunId(1)), at(time));
            }
        }
        assert!(answered.into_iter().all(|answered| answered.is_some()));
    }
}
