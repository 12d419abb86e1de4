use std::time::Duration;

use super::world::{Faults, LONGEST_STAND, World};

/// Worlds for each set of faults, each of five minutes.
const WORLDS: u64 = 400;

/// Candidates that are alive after faults stop agree on one of them within this time: a Lease that runs out, one look, and
/// requests that were on their way.
const AGREE: Duration = Duration::from_secs(25);

const EVERYTHING_BUT_PEOPLE: Faults =
    Faults { network: 20, partitions: 3, pauses: 3, suspensions: 0, ends: 2, meddling: 0, clocks: 20, drift: 5 };

fn live(faults: Faults) {
    let (mut calls, mut given_up, mut takeovers) = (0, 0, 0);
    for seed in 0..WORLDS {
        let mut world = World::new(seed, 2 + usize::try_from(seed % 2).unwrap(), faults);
        world.run(Duration::from_mins(5));
        world.calm_down();
        world.run(world.now + LONGEST_STAND + AGREE);
        let leader = world.leaders();
        assert_eq!(leader.len(), 1, "seed {seed}: somebody leads when faults have stopped");
        for _ in 0..60 {
            world.run(world.now + Duration::from_secs(1));
            assert_eq!(world.leaders(), leader, "seed {seed}: and goes on leading");
        }
        (calls, given_up, takeovers) = (calls + world.calls, given_up + world.given_up, takeovers + world.takeovers);
    }
    println!("{WORLDS} worlds: the Lease changed hands {takeovers} times, {calls} calls, {given_up} given up");
    assert!(calls > 0 && takeovers > WORLDS, "worlds in which nothing happens prove nothing");
}

#[test]
fn whatever_goes_wrong_there_are_never_two_leaders_and_nothing_is_under_way_when_another_leads() {
    live(EVERYTHING_BUT_PEOPLE);
}

#[test]
fn slow_and_lost_answers_never_make_two_leaders() {
    live(Faults { network: 60, ends: 1, ..Faults::default() });
}

#[test]
fn partitions_never_make_two_leaders() {
    live(Faults { partitions: 10, ends: 1, drift: 9, ..Faults::default() });
}

#[test]
fn processes_that_stand_still_never_make_two_leaders() {
    live(Faults { pauses: 15, ends: 1, ..Faults::default() });
}

#[test]
fn whoever_overwrites_or_deletes_the_lease_makes_two_leaders_for_no_longer_than_the_renew_deadline() {
    live(Faults { meddling: 5, ..EVERYTHING_BUT_PEOPLE });
}

#[test]
fn a_suspended_machine_leads_for_no_longer_than_the_renew_deadline_of_its_own_time() {
    live(Faults { suspensions: 5, ..EVERYTHING_BUT_PEOPLE });
}

/// The times it takes until somebody leads after the leader was killed, or left.
fn hand_overs(gracefully: bool) -> Vec<Duration> {
    let mut took = Vec::new();
    for seed in 0..WORLDS {
        let mut world = World::new(seed, 2, Faults::default());
        world.run(Duration::from_secs(30) + Duration::from_millis(seed * 7 % 2000));
        let leader = world.leaders()[0];
        world.end(leader, gracefully);
        world.run(world.now + Duration::from_secs(30));
        took.extend(if gracefully { &world.hand_overs.released } else { &world.hand_overs.dead });
    }
    assert_eq!(took.len(), usize::try_from(WORLDS).unwrap());
    took.sort();
    println!("released: {gracefully}: median {:?}, longest {:?}", took[took.len() / 2], took[took.len() - 1]);
    took
}

#[test]
fn a_lease_that_is_given_back_is_taken_within_a_look() {
    assert!(hand_overs(true).last().unwrap() <= &Duration::from_millis(2300));
}

#[test]
fn a_dead_leader_is_followed_within_a_lease_and_a_look() {
    assert!(hand_overs(false).last().unwrap() <= &Duration::from_millis(17_200));
}
