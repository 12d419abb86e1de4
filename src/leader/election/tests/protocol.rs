use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::jiff::Timestamp;
use serde_json::json;
use std::time::Duration;

use crate::leader::election::{Answer, Ask, Election, Now, Timing, Turn};

fn secs(seconds: f64) -> Duration {
    Duration::from_secs_f64(seconds)
}

fn now(seconds: f64) -> Now {
    Now { mono: secs(seconds), wall: Timestamp::from_second(1_800_000_000).unwrap() }
}

/// A Lease of somebody, in a version; `renewed` tells its renewals apart.
fn lease(holder: &str, version: &str, renewed: u32) -> Box<Lease> {
    let spec = json!({"holderIdentity": holder, "leaseDurationSeconds": 15, "leaseTransitions": 4,
        "acquireTime": "2026-01-01T00:00:00.000000Z", "renewTime": format!("2026-01-01T00:00:{renewed:02}.000000Z")});
    let metadata = json!({"name": "lock", "resourceVersion": version, "labels": {"app": "x"}});
    serde_json::from_value(json!({"metadata": metadata, "spec": spec})).unwrap()
}

fn candidate() -> Election {
    Election::new("me", "lock", Timing::default())
}

/// Asks, has it answered at once, and tells what was asked and what follows.
fn turn(election: &mut Election, at: f64, answer: impl FnOnce(&Ask) -> Answer) -> (Ask, Turn) {
    let ask = election.ask(now(at)).unwrap();
    let answer = answer(&ask);
    let turn = election.answered(&ask, secs(at), answer, now(at));
    (ask, turn)
}

/// What a write wrote, as the API server returns it in this version.
fn taken(version: &str) -> impl FnOnce(&Ask) -> Answer {
    move |ask| match ask {
        Ask::Create(lease) | Ask::Replace(lease) => {
            let mut lease = lease.clone();
            lease.metadata.resource_version = Some(version.to_owned());
            Answer::Lease(lease)
        }
        Ask::Read => panic!("no write"),
    }
}

/// A candidate that leads since this time, the version of its Lease being `1`.
fn leader(at: f64) -> Election {
    let mut election = candidate();
    turn(&mut election, at, |_| Answer::Missing);
    turn(&mut election, at, taken("1"));
    election
}

fn spec(ask: &Ask) -> serde_json::Value {
    match ask {
        Ask::Create(lease) | Ask::Replace(lease) => serde_json::to_value(&lease.spec).unwrap(),
        Ask::Read => panic!("no write"),
    }
}

#[test]
fn where_there_is_no_lease_it_is_created_and_led_until_the_renew_deadline() {
    let mut election = candidate();
    assert_eq!(turn(&mut election, 1.0, |_| Answer::Missing), (Ask::Read, Turn::Again));
    let (ask, over) = turn(&mut election, 1.0, taken("1"));
    assert!(matches!(ask, Ask::Create(_)) && over == Turn::Over);
    assert_eq!(spec(&ask)["leaseTransitions"], 0);
    assert_eq!(
        (spec(&ask)["holderIdentity"].as_str(), spec(&ask)["leaseDurationSeconds"].as_i64()),
        (Some("me"), Some(15))
    );
    let tenure = election.tenure();
    assert_eq!((tenure.begin_before, tenure.end_by, tenure.term), (secs(11.0), secs(13.5), 1));
}

#[test]
fn the_deadline_counts_from_before_the_request_was_sent_and_not_from_its_answer() {
    let mut election = candidate();
    turn(&mut election, 1.0, |_| Answer::Missing);
    let ask = election.ask(now(1.0)).unwrap();
    let answer = taken("1")(&ask);
    election.answered(&ask, secs(1.0), answer, now(5.0));
    assert_eq!(election.tenure().begin_before, secs(11.0));
}

#[test]
fn another_s_lease_is_taken_when_it_was_seen_unchanged_for_as_long_as_it_lasts_whatever_its_times_say() {
    let mut election = candidate();
    // Its times are long past by any clock.
    assert_eq!(turn(&mut election, 100.0, |_| Answer::Lease(lease("other", "7", 1))).1, Turn::Over);
    assert_eq!(turn(&mut election, 114.9, |_| Answer::Lease(lease("other", "7", 1))).1, Turn::Over);
    assert_eq!(turn(&mut election, 114.95, |_| Answer::Lease(lease("other", "8", 2))).1, Turn::Over, "renewed");
    assert_eq!(turn(&mut election, 129.9, |_| Answer::Lease(lease("other", "8", 2))).1, Turn::Over);
    assert_eq!(turn(&mut election, 129.95, |_| Answer::Lease(lease("other", "8", 2))).1, Turn::Again);
    let (ask, _) = turn(&mut election, 129.95, taken("9"));
    let Ask::Replace(lease) = &ask else { panic!("{ask:?}") };
    assert_eq!(lease.metadata.resource_version.as_deref(), Some("8"), "compare and swap");
    assert_eq!(lease.metadata.labels.as_ref().map(std::collections::BTreeMap::len), Some(1), "what others wrote stays");
    assert_eq!(spec(&ask)["leaseTransitions"], 5);
    assert!(election.tenure().permits(secs(130.0)));
}

#[test]
fn a_lease_that_somebody_labels_has_not_been_renewed() {
    let mut election = candidate();
    turn(&mut election, 0.0, |_| Answer::Lease(lease("other", "7", 1)));
    assert_eq!(turn(&mut election, 15.0, |_| Answer::Lease(lease("other", "99", 1))).1, Turn::Again);
}

#[test]
fn a_lease_without_a_holder_is_taken_at_once() {
    let mut election = candidate();
    assert_eq!(turn(&mut election, 0.0, |_| Answer::Lease(lease("", "7", 1))).1, Turn::Again);
    turn(&mut election, 0.0, taken("8"));
    assert!(election.tenure().permits(secs(1.0)));
}

#[test]
fn a_renewal_keeps_transitions_and_the_time_of_acquisition_and_changes_the_lease_even_when_the_clock_stands_still() {
    let mut election = leader(0.0);
    let (first, _) = turn(&mut election, 2.0, taken("2"));
    let (second, _) = turn(&mut election, 4.0, taken("3"));
    assert_eq!(spec(&first)["acquireTime"], spec(&second)["acquireTime"]);
    assert_eq!(spec(&second)["leaseTransitions"], 0);
    assert_ne!(spec(&first)["renewTime"], spec(&second)["renewTime"]);
    assert_eq!((election.tenure().begin_before, election.tenure().term), (secs(14.0), 1));
}

#[test]
fn a_leader_that_meets_another_holder_leads_no_more() {
    let mut election = leader(0.0);
    assert_eq!(turn(&mut election, 2.0, |_| Answer::Conflict).1, Turn::Again);
    assert_eq!(turn(&mut election, 2.0, |_| Answer::Lease(lease("thief", "5", 1))).1, Turn::Over);
    let tenure = election.tenure();
    assert!(!tenure.permits(secs(2.0)) && tenure.end_by.is_zero(), "what is under way is given up");
}

#[test]
fn a_leader_whose_lease_was_labelled_goes_on_leading() {
    let mut election = leader(0.0);
    turn(&mut election, 2.0, |_| Answer::Conflict);
    assert_eq!(turn(&mut election, 2.0, |_| Answer::Lease(lease("me", "5", 1))).1, Turn::Again);
    let (ask, _) = turn(&mut election, 2.0, taken("6"));
    assert_eq!(spec(&ask)["leaseTransitions"], 4);
    assert_eq!((election.tenure().begin_before, election.tenure().term), (secs(12.0), 1));
}

#[test]
fn a_renewal_whose_answer_is_lost_is_read_before_it_is_repeated() {
    let mut election = leader(0.0);
    assert_eq!(turn(&mut election, 2.0, |_| Answer::None).1, Turn::Over);
    assert_eq!(election.tenure().begin_before, secs(10.0), "what is not known does not count");
    assert_eq!(turn(&mut election, 4.0, |_| Answer::Lease(lease("me", "2", 2))), (Ask::Read, Turn::Again));
    turn(&mut election, 4.0, taken("3"));
    assert_eq!(election.tenure().begin_before, secs(14.0));
}

#[test]
fn who_leads_again_after_a_lapse_begins_another_term() {
    let mut election = leader(0.0);
    turn(&mut election, 8.0, |_| Answer::None);
    turn(&mut election, 12.0, |_| Answer::Lease(lease("me", "1", 1)));
    turn(&mut election, 12.0, taken("2"));
    assert_eq!(election.tenure().term, 2);
}

#[test]
fn an_answer_that_comes_when_the_lease_has_lapsed_begins_another_term() {
    let mut election = leader(0.0);
    let ask = election.ask(now(9.0)).unwrap();
    let answer = taken("2")(&ask);
    election.answered(&ask, secs(9.0), answer, now(11.0));
    assert_eq!((election.tenure().begin_before, election.tenure().term), (secs(19.0), 2));
}

#[test]
fn of_two_who_take_it_at_once_the_one_whose_write_comes_second_waits() {
    let mut election = candidate();
    turn(&mut election, 0.0, |_| Answer::Lease(lease("", "7", 1)));
    assert_eq!(turn(&mut election, 0.0, |_| Answer::Conflict).1, Turn::Over);
    assert_eq!(turn(&mut election, 1.0, |_| Answer::Lease(lease("other", "8", 2))), (Ask::Read, Turn::Over));
    assert!(!election.tenure().permits(secs(1.0)));
}

#[test]
fn a_lease_is_given_back_without_a_holder_and_with_its_transitions() {
    let mut election = leader(0.0);
    election.leave();
    assert!(!election.tenure().permits(secs(1.0)) && election.tenure().end_by.is_zero());
    let (ask, over) = turn(&mut election, 1.0, taken("2"));
    assert_eq!(over, Turn::Over);
    assert_eq!(spec(&ask).get("holderIdentity"), None);
    assert_eq!(
        (spec(&ask)["leaseDurationSeconds"].as_i64(), spec(&ask)["leaseTransitions"].as_i64()),
        (Some(1), Some(0))
    );
    assert_eq!(election.ask(now(1.0)), None);
}

#[test]
fn a_lease_that_became_another_s_is_not_given_back() {
    let mut election = leader(0.0);
    election.leave();
    assert_eq!(turn(&mut election, 1.0, |_| Answer::Conflict).1, Turn::Again);
    assert_eq!(turn(&mut election, 1.0, |_| Answer::Lease(lease("other", "8", 2))).1, Turn::Over);
    assert_eq!(election.ask(now(1.0)), None);
}

#[test]
fn whoever_never_wrote_has_nothing_to_give_back() {
    let mut election = candidate();
    turn(&mut election, 0.0, |_| Answer::Lease(lease("other", "7", 1)));
    election.leave();
    assert_eq!(election.ask(now(1.0)), None);
}

#[test]
fn a_write_whose_fate_is_not_known_is_looked_for_before_leaving() {
    let mut election = candidate();
    turn(&mut election, 0.0, |_| Answer::Missing);
    turn(&mut election, 0.0, |_| Answer::None);
    election.leave();
    assert_eq!(turn(&mut election, 1.0, |_| Answer::Lease(lease("me", "8", 2))), (Ask::Read, Turn::Again));
    let (ask, _) = turn(&mut election, 1.0, taken("9"));
    assert_eq!(spec(&ask).get("holderIdentity"), None);
}

#[test]
fn who_waits_comes_after_one_or_two_seconds_and_at_the_moment_at_which_the_lease_expires() {
    let mut election = candidate();
    turn(&mut election, 0.0, |_| Answer::Lease(lease("other", "7", 1)));
    let rest = |at: f64, dice: f64| election.rest(secs(at), dice).as_secs_f64();
    assert_eq!((rest(0.0, 0.0), rest(0.0, 0.5), rest(0.0, 1.0)), (1.0, 1.5, 2.0));
    assert!((rest(14.7, 1.0) - 0.3).abs() < 1e-6);
    assert_eq!(leader(0.0).rest(secs(1.0), 0.1), secs(2.0), "a leader renews every two seconds");
}
