//! Sweeps: what they cost and show, and that nothing the list says or hides can harm.

use super::town::{List, Town};
use super::*;

#[test]
fn a_thousand_runs_cost_less_than_ten_calls_a_second_and_their_ends_are_seen_within_six() {
    let mut town = Town::new(1000, 0, 7.5);
    let calls = town.calls_per_second();
    assert!(calls < 10.0, "{calls} calls a second");
    let lag = town.lag_of_95_percent(500);
    assert!(lag <= 6 * SECOND, "{lag:?}");
}

#[test]
fn a_thousand_runs_that_were_read_together_are_not_read_together_again() {
    let mut town = Town::new(1000, 0, 7.5);
    town.live(Duration::from_mins(5));
    for minute in 5..35 {
        (town.gets, town.pages) = (0, 0);
        town.live(Duration::from_mins(1));
        // The rate that an operator allows itself for a workspace: more would hold up what has changed.
        assert!(town.gets + town.pages < 60 * 15, "{} gets and {} pages in minute {minute}", town.gets, town.pages);
    }
}

#[test]
fn a_run_that_the_list_shows_where_it_was_read_is_not_read_again() {
    let mut town = Town::hurried(2000);
    town.live(Duration::from_mins(6));
    // Each once, and at first some on their schedules, until there are enough for lists to be cheaper.
    assert!((2000..2400).contains(&town.gets), "{} gets", town.gets);
}

#[test]
fn two_thousand_runs_cost_less_than_fifteen_calls_a_second_and_their_ends_are_seen_within_fifteen() {
    let mut town = Town::new(2000, 0, 7.5);
    let calls = town.calls_per_second();
    assert!(calls < 15.0, "{calls} calls a second");
    let lag = town.lag_of_95_percent(1000);
    assert!(lag <= 15 * SECOND, "{lag:?}");
}

#[test]
fn among_many_runs_of_others_gets_are_cheaper_and_what_was_tried_costs_little() {
    let calls = Town::new(200, 20_000, 7.5).calls_per_second();
    // One a minute for each run, up to a tenth sooner.
    assert!(calls < 4.0, "{calls} calls a second instead of 200 / 60");
}

#[test]
fn few_runs_are_not_swept() {
    let mut town = Town::new(9, 0, 7.5);
    town.live(Duration::from_mins(10));
    assert_eq!(town.pages, 0);
}

#[test]
fn a_run_that_the_list_leaves_out_costs_one_get_and_then_has_its_own_schedule() {
    let mut town = Town::new(100, 0, 7.5);
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
    let mut town = Town::new(100, 0, 7.5);
    town.list = List::Refused;
    town.live(Duration::from_mins(30));
    assert!(town.pages <= 6, "{} times", town.pages);
    for asked in town.asked.values() {
        assert!(asked.windows(2).all(|pair| pair[1].saturating_sub(pair[0]) <= 61 * SECOND));
    }
}

#[test]
fn a_list_that_is_empty_costs_each_run_one_get_and_then_leaves_the_gets_on_their_schedule() {
    let mut town = Town::new(100, 0, 7.5);
    town.live(Duration::from_mins(5));
    town.list = List::Empty;
    let calls = town.calls_per_second();
    assert!(calls < 2.0, "{calls} calls a second instead of 100 / 60");
}

#[test]
fn a_list_that_stands_still_hides_no_end_for_longer_than_a_quarter_of_an_hour() {
    let mut town = Town::new(100, 0, 7.5);
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
