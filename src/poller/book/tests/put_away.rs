//! Readings that are let go of because all of them is on record.

use super::town::Town;
use super::*;
use crate::databricks::Whereabouts;

fn recorded(state: &str) -> Recorded {
    Recorded { start_time: 1000, whereabouts: Whereabouts::of(state, [].into_iter()).unwrap() }
}

/// Run 1 in this state, as it is read.
fn read(state: &str) -> Answer {
    let mut run = run(1, state);
    run.start_time = 1007;
    answer(run)
}

/// Watching run 1, which was read, and whose reader was woken.
fn read_once() -> Desk {
    let mut desk = Desk { book: Book::new(7, 32, Sweeping::Always), time: Duration::ZERO };
    desk.watch("a", 1);
    desk.next(read("RUNNING"));
    assert_eq!(desk.woken(), ["a"]);
    desk.acknowledge();
    desk
}

impl Desk {
    /// Whether the reading is gone after this was said to be on record.
    fn puts_away(&mut self, recorded: Recorded) -> bool {
        let version = self.snapshot().version;
        self.book.put_away(&"a", version, recorded);
        properties::assert_consistent(&self.book);
        self.snapshot().seen.is_none()
    }

    /// The same, of a run that the list has shown.
    fn put_away() -> Self {
        let mut desk = read_once();
        desk.sweep(&[(1, "RUNNING")]);
        assert!(desk.puts_away(recorded("RUNNING")));
        desk
    }
}

#[test]
fn only_what_the_list_shows_and_is_where_it_is_on_record_is_let_go_of() {
    let mut desk = read_once();
    assert!(!desk.puts_away(recorded("RUNNING")), "no sweep has shown it");
    desk.sweep(&[(1, "RUNNING")]);
    assert!(!desk.puts_away(recorded("PENDING")), "the object does not say so yet");
    desk.book.put_away(&"a", desk.snapshot().version - 1, recorded("RUNNING"));
    assert!(desk.snapshot().seen.is_some(), "there is a newer reading");
    desk.poke();
    assert!(!desk.puts_away(recorded("RUNNING")), "somebody waits for a newer one");
    desk.next(read("RUNNING"));
    assert!(desk.puts_away(recorded("RUNNING")));
}

#[test]
fn what_says_the_same_again_wakes_nobody_and_stays_away() {
    let mut desk = Desk::put_away();
    let version = desk.snapshot().version;
    for _ in 0..3 {
        assert_eq!(desk.next(read("RUNNING")), Learned::Same);
        properties::assert_consistent(&desk.book);
    }
    assert_eq!((desk.woken(), desk.snapshot().version, desk.snapshot().seen.is_none()), (vec![], version, true));
}

#[test]
fn what_says_something_else_is_news_and_is_there() {
    let mut desk = Desk::put_away();
    let mut ended = run(1, "TERMINATED");
    ended.end_time = 1_000_000_000;
    assert!(matches!(desk.next(answer(ended)), Learned::News { end_lag: Some(_) }));
    assert_eq!(desk.woken(), ["a"]);
    assert_eq!(desk.snapshot().seen.as_ref().unwrap().run.end_time, 1_000_000_000);
}

#[test]
fn who_pokes_has_the_reading_even_if_it_says_the_same() {
    let mut desk = Desk::put_away();
    desk.poke();
    desk.next(read("RUNNING"));
    assert_eq!((desk.woken(), desk.snapshot().seen.is_some()), (vec!["a"], true));
}

#[test]
fn who_has_more_to_decide_than_is_on_record_has_the_reading_at_once() {
    let mut desk = Desk::put_away();
    assert!(desk.book.due(at(desk.time)).is_none());
    let page = desk.begin_sweep();
    // As when a deadline comes near.
    desk.watch("a", 1);
    // A row that comes before the get does not put it off.
    desk.show(page, &[(1, "RUNNING")]);
    let ask = desk.book.due(at(desk.time)).unwrap();
    assert!(matches!(desk.learn(ask, read("RUNNING")), Learned::News { .. }));
    assert_eq!((desk.woken(), desk.snapshot().seen.is_some()), (vec!["a"], true));
}

#[test]
fn a_run_that_looks_otherwise_is_read_at_once_and_its_reading_is_there() {
    let mut desk = Desk::put_away();
    desk.sweep(&[(1, "TERMINATING")]);
    let ask = desk.book.due(at(desk.time)).unwrap();
    desk.learn(ask, read("RUNNING"));
    assert_eq!((desk.woken(), desk.snapshot().seen.is_some()), (vec!["a"], true));
}

#[test]
fn a_run_that_does_not_exist_any_more_is_told_as_absent_and_read_again() {
    let mut desk = Desk::put_away();
    assert_eq!(desk.next(Answer::NotFound), Learned::Absent);
    assert!(desk.snapshot().absent.is_some());
    assert!(matches!(desk.next(read("RUNNING")), Learned::News { .. }));
    assert!(desk.snapshot().seen.is_some() && desk.snapshot().absent.is_none());
}

#[test]
fn a_thousand_runs_without_readings_cost_no_call_more_wake_nobody_and_their_ends_are_seen_as_fast() {
    let mut town = Town::new(1000, 0, 7.5);
    town.live(Duration::from_mins(5));
    town.put_all_away();
    town.wakes = 0;
    let calls = town.calls_per_second_over(Duration::from_mins(20));
    assert!(calls < 10.0, "{calls} calls a second");
    assert_eq!(town.wakes, 0);
    let lag = town.lag_of_95_percent(500);
    assert!(lag <= 6 * SECOND, "{lag:?}");
}
