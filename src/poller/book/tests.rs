//! What the poller promises, one fact a test. [`crowd`] is about many runs at once, [`sweeps`] about what
//! they cost then, [`restart`] about those that are on record, [`put_away`] about readings that are let go of, [`properties`]
//! about any order of events.

mod crowd;
mod properties;
mod put_away;
mod restart;
mod sweeps;
mod town;

use std::collections::VecDeque;
use std::time::UNIX_EPOCH;

use super::*;
use crate::databricks::model::Run;
use crate::poller::Failing;

const SECOND: Duration = Duration::from_secs(1);

fn at(monotonic: Duration) -> Now {
    Now { monotonic, wall: UNIX_EPOCH + Duration::from_secs(1_000_000) + monotonic }
}

/// A run's description.
fn run(id: i64, life_cycle: &str) -> Run {
    serde_json::from_value(serde_json::json!({"run_id": id, "state": {"life_cycle_state": life_cycle}})).unwrap()
}

fn answer(run: Run) -> Answer {
    Answer::Run(Box::new(Read { run, server_time: None }))
}

fn running(id: i64) -> Answer {
    answer(run(id, "RUNNING"))
}

const DOWN: Answer = Answer::Failed { reason: "Unavailable", retry_after: None };

/// A book and the time, with `a` watching run 1.
struct Desk {
    book: Book<&'static str>,
    time: Duration,
}

impl Desk {
    fn empty() -> Self {
        Self { book: Book::new(7, 32, Sweeping::Never), time: Duration::ZERO }
    }

    fn watching() -> Self {
        let mut desk = Self::empty();
        desk.watch("a", 1);
        desk
    }

    /// Watching, read once, woken and acknowledged.
    fn following() -> Self {
        let mut desk = Self::watching();
        desk.next(running(1));
        desk.acknowledge();
        desk
    }

    fn watch(&mut self, key: &'static str, run: i64) {
        self.book.watch(key, RunId(run), Schedule::default(), None, at(self.time));
    }

    fn poke(&mut self) {
        self.book.poke(&"a", at(self.time));
    }

    fn snapshot(&self) -> Arc<Snapshot> {
        self.book.snapshot(&"a").unwrap()
    }

    fn acknowledge(&mut self) {
        self.book.acknowledge(&"a", self.snapshot().version);
    }

    /// Lets time pass until the next get and sends it.
    fn send(&mut self) -> Ask<&'static str> {
        self.time = self.time.max(self.book.next_due().unwrap());
        self.book.due(at(self.time)).unwrap()
    }

    fn learn(&mut self, ask: Ask<&'static str>, answer: Answer) -> Learned {
        self.book.learned(ask, answer, at(self.time))
    }

    /// Makes the next get, answered at once.
    fn next(&mut self, answer: Answer) -> Learned {
        let ask = self.send();
        self.learn(ask, answer)
    }

    /// Whom the book wakes now.
    fn woken(&mut self) -> Vec<&'static str> {
        std::iter::from_fn(|| self.book.wake(at(self.time))).collect()
    }

    /// The waits, jitter rounded away, between the gets that bring these answers.
    fn waits(&mut self, answers: impl IntoIterator<Item = Answer>) -> Vec<u64> {
        let mut waits = Vec::new();
        for answer in answers {
            let ask = self.send();
            let sent = self.time;
            self.learn(ask, answer);
            let wait = self.book.next_due().unwrap().saturating_sub(sent);
            let schedule = [1, 5, 10, 20, 40, 60].map(Duration::from_secs);
            let named = schedule.into_iter().find(|full| wait <= *full && wait >= full.mul_f64(0.9));
            waits.push(named.unwrap_or(wait).as_secs());
        }
        waits
    }
}

#[test]
fn a_run_that_does_not_change_is_asked_about_ever_less_often() {
    assert_eq!(Desk::watching().waits((0..7).map(|_| running(1))), [5, 10, 20, 40, 60, 60, 60]);
}

#[test]
fn a_change_of_the_life_cycle_state_brings_the_first_wait_back() {
    let states = ["PENDING", "PENDING", "PENDING", "RUNNING", "RUNNING", "HIBERNATING"];
    assert_eq!(Desk::watching().waits(states.map(|state| answer(run(1, state)))), [5, 10, 20, 5, 10, 5]);
}

#[test]
fn other_news_wakes_but_leaves_the_waits_alone() {
    let mut desk = Desk::following();
    let mut told = run(1, "RUNNING");
    told.run_name = Some("etl".into());
    assert_eq!(desk.waits([answer(told)]), [10]);
    assert_eq!(desk.woken(), ["a"]);
}

#[test]
fn a_poll_that_learns_nothing_wakes_nobody_but_is_noted() {
    let mut desk = Desk::following();
    let before = desk.snapshot();
    assert_eq!(desk.next(running(1)), Learned::Same);
    let after = desk.snapshot();
    assert_eq!((after.version, desk.woken()), (before.version, vec![]));
    assert!(after.answered_at().unwrap().monotonic > before.answered_at().unwrap().monotonic);
}

#[test]
fn news_wakes_again_and_again_until_it_is_acknowledged() {
    let mut desk = Desk::watching();
    desk.next(running(1));
    let mut repeats = Vec::new();
    for _ in 0..7 {
        let woken_at = desk.time;
        assert_eq!(desk.woken(), ["a"]);
        desk.time = desk.book.next_wake().unwrap();
        repeats.push(desk.time.saturating_sub(woken_at).as_secs());
    }
    assert_eq!(repeats, [5, 10, 20, 40, 60, 60, 60]);
    desk.acknowledge();
    assert_eq!((desk.book.next_wake(), desk.woken()), (None, vec![]));
}

#[test]
fn acknowledging_an_older_snapshot_does_not_silence_the_newer_one() {
    let mut desk = Desk::watching();
    desk.next(running(1));
    let old = desk.snapshot().version;
    desk.next(answer(run(1, "TERMINATED")));
    desk.book.acknowledge(&"a", old);
    assert_eq!(desk.woken(), ["a"]);
}

#[test]
fn answers_that_the_run_does_not_exist_are_counted_and_each_is_news() {
    let mut desk = Desk::following();
    let mut times = Vec::new();
    for answers in 1..=3 {
        assert_eq!(desk.next(Answer::NotFound), Learned::Absent);
        times.push(desk.time);
        assert_eq!(desk.snapshot().absent.unwrap().answers, answers);
        assert_eq!(desk.woken(), ["a"]);
        desk.acknowledge();
    }
    let absent = desk.snapshot().absent.unwrap();
    assert_eq!((absent.first, absent.last), (at(times[0]), at(times[2])));
    assert!(desk.snapshot().seen.is_some(), "the last description is kept");
}

#[test]
fn a_failed_get_does_not_break_a_row_of_absences_and_a_description_does() {
    let mut desk = Desk::following();
    for answer in [Answer::NotFound, DOWN, Answer::NotFound] {
        desk.next(answer);
    }
    assert_eq!(desk.snapshot().absent.unwrap().answers, 2);
    assert!(matches!(desk.next(running(1)), Learned::News { .. }), "the same description, but it had been absent");
    assert_eq!(desk.snapshot().absent, None);
    desk.next(Answer::NotFound);
    assert_eq!(desk.snapshot().absent.unwrap().answers, 1);
}

#[test]
fn a_failure_says_nothing_about_the_run() {
    let mut desk = Desk::following();
    let (before, since) = (desk.snapshot(), desk.book.next_due().unwrap());
    for _ in 0..3 {
        assert_eq!(desk.next(DOWN), Learned::Failed);
    }
    let after = desk.snapshot();
    assert_eq!(after.failing, Some(Failing { reason: "Unavailable", since: at(since) }));
    assert_eq!((after.version, &after.seen, after.absent), (before.version, &before.seen, None));
    assert_eq!(desk.woken(), [""; 0]);
    assert_eq!(desk.next(running(1)), Learned::Same);
    assert_eq!(desk.snapshot().failing, None);
}

#[test]
fn failures_slow_the_polls_down_as_sameness_does() {
    assert_eq!(Desk::watching().waits([running(1), DOWN, DOWN, running(1)]), [5, 10, 20, 40]);
}

#[test]
fn databricks_is_left_alone_for_as_long_as_it_asks() {
    let mut desk = Desk::watching();
    let throttled = Answer::Failed { reason: "Throttled", retry_after: Some(300 * SECOND) };
    assert_eq!(desk.waits([throttled]), [300]);
}

#[test]
fn who_is_held_back_by_the_rate_limit_asks_again_when_told_and_counts_as_unasked() {
    let mut desk = Desk::watching();
    assert_eq!(desk.next(Answer::NotNow(3 * SECOND)), Learned::Held { wait: 3 * SECOND });
    assert_eq!(desk.book.next_due(), Some(3 * SECOND));
    assert_eq!(desk.book.snapshot(&"a"), None, "nothing was learned");
    assert_eq!(desk.waits([running(1), running(1)]), [5, 10]);
}

#[test]
fn only_a_few_queue_at_the_rate_limit_and_who_is_held_goes_first() {
    let mut desk = Desk::empty();
    let keys = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l"];
    for (key, id) in keys.into_iter().zip(1..) {
        desk.watch(key, id);
    }
    desk.time += SECOND;
    let mut held = Vec::new();
    while let Some(ask) = desk.book.due(at(desk.time)) {
        held.push(ask.key);
        desk.learn(ask, Answer::NotNow(3 * SECOND));
    }
    held.sort_unstable();
    assert_eq!(held.len(), MAX_HELD);
    assert_eq!(desk.book.next_due(), Some(4 * SECOND), "the others wait here, where a poke can overtake them");
    desk.time += 3 * SECOND;
    let again: Vec<_> = std::iter::from_fn(|| desk.book.due(at(desk.time))).map(|ask| ask.key).collect();
    assert_eq!(again[..MAX_HELD], held);
    assert_eq!(again.len(), keys.len());
}

#[test]
fn a_poke_does_not_jump_the_turn_that_the_rate_limit_has_named() {
    let mut desk = Desk::following();
    desk.poke();
    desk.next(Answer::NotNow(3 * SECOND));
    desk.poke();
    let before = desk.time;
    desk.next(running(1));
    assert_eq!((desk.time, desk.woken()), (before + 3 * SECOND, vec!["a"]));
}

#[test]
fn a_poke_is_one_get_however_often_it_is_said_and_its_answer_wakes() {
    let mut desk = Desk::following();
    for _ in 0..3 {
        desk.poke();
    }
    let (before, version) = (desk.time, desk.snapshot().version);
    assert_eq!(desk.next(running(1)), Learned::Same);
    assert_eq!(desk.time, before, "at once");
    assert_eq!(desk.woken(), ["a"], "though nothing has changed");
    assert!(desk.snapshot().version > version);
    assert!(desk.book.next_due().unwrap() >= before + 4 * SECOND, "and then on schedule");
}

#[test]
fn a_get_that_was_out_already_does_not_answer_a_poke() {
    let mut desk = Desk::following();
    let out = desk.send();
    desk.poke();
    desk.time += SECOND;
    assert_eq!(desk.learn(out, running(1)), Learned::Same);
    assert_eq!(desk.woken(), [""; 0]);
    let before = desk.time;
    desk.next(running(1));
    assert_eq!((desk.time, desk.woken()), (before, vec!["a"]));
}

#[test]
fn a_poke_whose_get_fails_is_answered_by_the_next_get_on_schedule() {
    let mut desk = Desk::following();
    desk.poke();
    assert_eq!(desk.waits([DOWN]), [5]);
    assert_eq!(desk.woken(), [""; 0]);
    desk.next(running(1));
    assert_eq!(desk.woken(), ["a"]);
}

#[test]
fn poking_at_every_answer_is_no_faster_than_the_first_wait() {
    let mut desk = Desk::following();
    let start = desk.time;
    for _ in 0..10 {
        desk.poke();
        desk.next(running(1));
    }
    let took = desk.time.saturating_sub(start);
    assert!(took >= 9 * Duration::from_millis(4500), "{took:?}");
}

#[test]
fn a_poke_goes_ahead_of_routine_when_the_rate_limit_is_the_bottleneck() {
    let mut desk = Desk::empty();
    desk.time = 1000 * SECOND;
    for (key, id) in [("b", 2), ("c", 3), ("a", 1)] {
        desk.watch(key, id);
    }
    desk.time += 30 * SECOND;
    desk.poke();
    assert_eq!(desk.send().key, "a");
}

#[test]
fn a_key_that_is_no_longer_watched_leaves_nothing_behind() {
    let mut desk = Desk::watching();
    desk.next(running(1));
    let out = desk.send();
    desk.book.unwatch(&"a");
    assert_eq!(desk.learn(out, answer(run(1, "TERMINATED"))), Learned::Unwatched);
    assert_eq!((desk.woken(), desk.book.snapshot(&"a")), (vec![], None));
    properties::assert_consistent(&desk.book);
    assert!(desk.book.is_empty() && desk.book.in_flight.is_empty());
}

#[test]
fn watching_the_same_run_again_changes_nothing() {
    let mut desk = Desk::following();
    let (due, snapshot) = (desk.book.next_due(), desk.snapshot());
    desk.watch("a", 1);
    assert_eq!((desk.book.next_due(), desk.snapshot(), desk.woken()), (due, snapshot, vec![]));
}

#[test]
fn another_run_of_a_key_replaces_the_first_and_its_late_answer_is_ignored() {
    let mut desk = Desk::following();
    let old = desk.snapshot();
    let late = desk.send();
    desk.watch("a", 2);
    assert_eq!(desk.book.snapshot(&"a"), None, "what was known is of the old run");
    assert_eq!(desk.book.due(at(desk.time + 10 * SECOND)).map(|ask| ask.run), None, "one get at a time");
    assert_eq!(desk.learn(late, answer(run(1, "TERMINATED"))), Learned::Unwatched);
    desk.next(running(2));
    let new = desk.snapshot();
    assert_eq!(new.run_id, RunId(2));
    assert!(new.version > old.version, "an acknowledgement for the old run cannot silence the new one");
}

#[test]
fn a_shorter_schedule_pulls_the_next_get_in() {
    let mut desk = Desk::watching();
    for _ in 0..6 {
        desk.next(running(1));
    }
    let schedule = Schedule { initial: SECOND, max: 2 * SECOND };
    desk.book.watch("a", RunId(1), schedule, None, at(desk.time));
    assert!(desk.book.next_due().unwrap() <= desk.time + 2 * SECOND);
}

#[test]
fn the_answer_about_another_run_is_no_answer() {
    let mut desk = Desk::following();
    assert_eq!(desk.next(answer(run(99, "TERMINATED"))), Learned::Failed);
    let snapshot = desk.snapshot();
    assert_eq!(snapshot.failing.unwrap().reason, "WrongRun");
    assert_eq!(snapshot.seen.as_ref().unwrap().run.run_id, RunId(1));
}

#[test]
fn the_lag_of_an_end_is_told_once_and_only_for_an_end_that_was_watched() {
    let mut ended = run(1, "TERMINATED");
    ended.end_time = 1_000_000_000;
    let end = |server_millis: i64| {
        let millis = Duration::from_millis(u64::try_from(server_millis).unwrap());
        Answer::Run(Box::new(Read { run: ended.clone(), server_time: Some(UNIX_EPOCH + millis) }))
    };
    let mut desk = Desk::following();
    assert_eq!(desk.next(end(1_000_002_000)), Learned::News { end_lag: Some(2 * SECOND) });
    assert_eq!(desk.next(end(1_000_009_000)), Learned::Same);
    let mut late = Desk::watching();
    assert_eq!(late.next(end(1_000_002_000)), Learned::News { end_lag: None });
}

#[test]
fn a_new_run_is_read_at_once() {
    assert_eq!(Desk::watching().book.next_due(), Some(Duration::ZERO));
}

#[test]
fn a_get_is_late_by_what_the_rate_limit_and_a_full_house_put_it_off() {
    let mut desk = Desk::following();
    let first = desk.send();
    assert_eq!(first.late, Some(Duration::ZERO));
    desk.learn(first, Answer::NotNow(SECOND * 7));
    let second = desk.send();
    assert_eq!(second.late, Some(SECOND * 7));
    desk.learn(second, Answer::NotNow(SECOND * 2));
    let third = desk.send();
    assert_eq!(third.late, Some(SECOND * 9));
    desk.learn(third, running(1));
    desk.time = desk.book.next_due().unwrap() + SECOND * 2;
    let fourth = desk.send();
    assert_eq!(fourth.late, Some(SECOND * 2));
    desk.learn(fourth, running(1));
    desk.poke();
    assert_eq!(desk.send().late, None, "a poke has no schedule");
}
