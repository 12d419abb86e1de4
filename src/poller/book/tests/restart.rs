//! After a restart: many runs of whose state an older process has told, under the rate limit.

use super::town::{List, Town};
use super::*;
use crate::databricks::Whereabouts;
use crate::poller::sweep::{Page, PageAnswer, Row};

const MINUTE: Duration = Duration::from_mins(1);

#[test]
fn two_thousand_runs_that_are_as_on_record_are_looked_at_within_ten_seconds_without_a_get() {
    let mut town = Town::restarted(2000, 0);
    town.live(10 * SECOND);
    assert!(town.all_looked_at.is_some_and(|at| at <= 10 * SECOND), "{:?}", town.all_looked_at);
    assert_eq!((town.gets, town.wakes), (0, 0), "nothing is read or looked at anew");
    assert!((80..=90).contains(&town.pages), "{}", town.pages);
}

#[test]
fn runs_that_are_not_as_on_record_are_read_and_all_are_looked_at_within_15_seconds() {
    let mut town = Town::restarted(2000, 0);
    for number in (0..2000).step_by(25) {
        town.runs[number].watched.as_mut().unwrap().1 = "PENDING";
        // One of three has ended meanwhile.
        if number % 3 == 0 {
            town.runs[number].ends = Duration::ZERO;
        }
    }
    town.live(15 * SECOND);
    assert!(town.all_looked_at.is_some(), "{} were not looked at", town.book.unread);
    assert_eq!((town.asked.len(), town.lags.len()), (80, 27), "those and nobody else");
}

#[test]
fn two_thousand_runs_that_pages_have_vouched_for_are_read_within_a_quarter_of_an_hour_and_within_the_rate() {
    let mut town = Town::restarted(2000, 0);
    town.live(15 * SECOND);
    for minute in 0..16 {
        let calls = town.calls_per_second_over(MINUTE);
        assert!(calls < 14.5, "{calls} calls a second in minute {minute}");
    }
    assert_eq!(town.asked.len(), 2000);
    let lag = town.lag_of_95_percent(1000);
    assert!(lag <= 15 * SECOND, "{lag:?}");
}

#[test]
fn an_end_that_comes_after_a_page_has_vouched_for_the_run_is_seen_as_fast_as_any() {
    let mut town = Town::restarted(1000, 0);
    town.live(15 * SECOND);
    assert!(town.asked.is_empty());
    let lag = town.lag_of_95_percent(500);
    assert!(lag <= 6 * SECOND, "{lag:?}");
}

#[test]
fn few_runs_or_runs_in_a_crowd_are_read_one_by_one() {
    let mut few = Town::restarted(9, 0);
    few.live(4 * SECOND);
    assert_eq!((few.asked.len(), few.pages), (9, 0));
    let mut crowded = Town::restarted(150, 20_000);
    crowded.live(30 * SECOND);
    assert!(crowded.all_looked_at.is_some() && crowded.asked.len() > 100, "{:?}", crowded.asked.len());
}

#[test]
fn where_the_list_is_refused_runs_are_read_one_by_one() {
    let mut town = Town::restarted(600, 0);
    town.list = List::Refused;
    town.live(50 * SECOND);
    assert_eq!(town.asked.len(), 600, "after {} pages", town.pages);
}

#[test]
fn a_run_that_comes_in_while_the_list_is_gone_through_is_looked_at_by_the_next_pages() {
    let mut town = Town::restarted(200, 0);
    for run in &mut town.runs[..60] {
        run.watched.as_mut().unwrap().0 = 2700 * Duration::from_millis(1);
    }
    town.live(8 * SECOND);
    assert!(town.all_looked_at.is_some(), "{} were not looked at", town.book.unread);
    assert_eq!(town.gets, 0);
}

/// A desk with a dozen runs that are on record as running; `a` is the first.
fn on_record(sweeping: Sweeping) -> Desk {
    let mut desk = Desk { book: Book::new(7, 32, sweeping), time: Duration::ZERO };
    for (key, id) in ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l"].into_iter().zip(1..) {
        desk.watch_recorded(key, id);
    }
    desk
}

impl Desk {
    fn watch_recorded(&mut self, key: &'static str, run: i64) {
        let whereabouts = Whereabouts::of("RUNNING", [].into_iter()).unwrap();
        let recorded = Some(Recorded { start_time: 1000 * run, whereabouts });
        self.book.watch(key, RunId(run), Schedule::default(), recorded, at(self.time));
    }

    /// Makes the next sweep, of one page, which shows these runs in these states.
    pub(super) fn sweep(&mut self, rows: &[(i64, &str)]) {
        let ask = self.begin_sweep();
        self.show(ask, rows);
    }

    pub(super) fn begin_sweep(&mut self) -> AskPage {
        self.time = self.time.max(self.book.next_page().unwrap());
        self.book.page_due(at(self.time)).unwrap()
    }

    pub(super) fn show(&mut self, ask: AskPage, rows: &[(i64, &str)]) {
        let row = |(id, state): &(i64, &str)| Row {
            run: RunId(*id),
            start_time: 1000 * id + 7,
            looks: state.len() as u64,
            whereabouts: Whereabouts::of(state, [].into_iter()),
        };
        let page = Page { rows: rows.iter().rev().map(row).collect(), next_page_token: None };
        self.book.page_learned(ask, PageAnswer::Page(page), at(self.time));
        properties::assert_consistent(&self.book);
    }
}

#[test]
fn a_row_is_a_look_and_never_a_reading() {
    let mut desk = on_record(Sweeping::Always);
    assert!(!desk.book.has_looked_at(&"a", RunId(1)));
    let all: Vec<_> = (1..13).map(|id| (id, "RUNNING")).collect();
    desk.sweep(&all);
    assert!(desk.book.has_looked_at(&"a", RunId(1)) && !desk.book.has_looked_at(&"a", RunId(2)));
    assert_eq!((desk.book.snapshot(&"a"), desk.woken()), (None, vec![]));
    assert!(desk.book.next_due().unwrap() > desk.time + MINUTE, "nobody is in a hurry");
}

#[test]
fn who_is_elsewhere_or_missing_or_said_to_be_in_no_certain_state_is_read_at_once() {
    let mut desk = on_record(Sweeping::Always);
    let mut all: Vec<_> = (1..12).map(|id| (id, "RUNNING")).collect();
    all[0].1 = "PENDING";
    all[1].1 = "TERMINATING";
    desk.sweep(&all);
    let mut asked: Vec<_> = std::iter::from_fn(|| desk.book.due(at(desk.time))).map(|ask| ask.key).collect();
    asked.sort_unstable();
    assert_eq!(asked, ["a", "b", "l"]);
}

#[test]
fn a_run_that_looks_otherwise_after_a_row_has_vouched_for_it_is_read_at_once_and_its_end_has_a_lag() {
    let mut desk = on_record(Sweeping::Always);
    let mut all: Vec<_> = (1..13).map(|id| (id, "RUNNING")).collect();
    desk.sweep(&all);
    all[0].1 = "TERMINATING";
    desk.sweep(&all);
    let ask = desk.book.due(at(desk.time)).unwrap();
    assert_eq!(ask.key, "a");
    assert!(desk.book.due(at(desk.time)).is_none());
    let mut ended = run(1, "TERMINATED");
    ended.end_time = 1_000_000_000;
    assert!(matches!(desk.learn(ask, answer(ended)), Learned::News { .. }));
}

#[test]
fn the_first_reading_of_a_run_that_is_where_it_was_leaves_its_waits_alone() {
    let mut desk = on_record(Sweeping::Always);
    let all: Vec<_> = (1..13).map(|id| (id, "RUNNING")).collect();
    for _ in 0..6 {
        desk.sweep(&all);
    }
    let ask = desk.send();
    let key = ask.key;
    let read = running(ask.run.0);
    desk.learn(ask, read);
    assert_eq!(desk.woken(), [key], "it is the first that is known of it");
    let next = desk.book.entries[key].due.saturating_sub(desk.time);
    assert!(next >= 54 * SECOND, "{next:?}");
}

#[test]
fn who_is_watched_again_without_a_record_is_read_at_once() {
    let mut desk = on_record(Sweeping::Always);
    let all: Vec<_> = (1..13).map(|id| (id, "RUNNING")).collect();
    desk.sweep(&all);
    desk.watch_recorded("a", 1);
    assert!(desk.book.due(at(desk.time)).is_none());
    desk.watch("a", 1);
    assert_eq!(desk.book.due(at(desk.time)).unwrap().key, "a");
}

#[test]
fn without_sweeps_what_is_on_record_counts_for_nothing() {
    let mut desk = on_record(Sweeping::Never);
    desk.time = SECOND;
    assert_eq!(std::iter::from_fn(|| desk.book.due(at(desk.time))).count(), 12);
}
