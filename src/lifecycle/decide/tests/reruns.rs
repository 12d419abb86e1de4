//! What starts another run, and what never does.

use std::time::Duration;

use serde_json::json;

use crate::api::conditions::Reason;
use crate::api::run::OutputSettings;
use crate::lifecycle::fixtures::run;
use crate::lifecycle::step::{Effect, Step};
use crate::lifecycle::world::World;

fn succeeds(world: &mut World, id: i64) {
    world.starts(id);
    world.ends(run(id).ended("TERMINATED", "SUCCESS"));
}

fn serial(effect: &Effect) -> i64 {
    match effect {
        Effect::Submit { serial, .. } => *serial,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_to_b_to_a_after_each_end_is_three_runs() {
    let mut world = World::of_a_job();
    for (index, day) in ["1", "2", "1"].into_iter().enumerate() {
        world.asks_for_day(day);
        succeeds(&mut world, i64::try_from(index).unwrap());
        world.settles();
        assert_eq!(world.state(), "Succeeded");
    }
    assert_eq!(world.status.serial, Some(3));
    let past: Vec<_> =
        world.status.attempts.iter().map(|past| (past.run_id.as_deref().unwrap(), past.state.as_str())).collect();
    assert_eq!(past, [("1", "Succeeded"), ("0", "Succeeded")]);
}

#[test]
fn an_edit_while_a_run_is_live_waits_and_says_so() {
    let mut world = World::live(7);
    world.asks_for_day("2");
    world.polls(run(7).is("RUNNING"));
    world.settles();
    assert!(world.message().contains("the newer request starts when it has ended"), "{}", world.message());
    assert_eq!(world.status.observed_generation, Some(world.generation));
}

#[test]
fn ten_edits_while_a_run_is_live_lead_to_one_run_of_the_last() {
    let mut world = World::live(7);
    for day in 1..=10 {
        world.asks_for_day(&day.to_string());
        world.settles();
    }
    world.ends(run(7).ended("TERMINATED", "SUCCESS"));
    let Effect::Submit { body, serial, .. } = world.asks() else { panic!() };
    assert_eq!((body.as_str(), serial), (r#"{"job_id":5,"job_parameters":{"day":"10"}}"#, 2));
}

#[test]
fn an_edit_that_is_undone_while_the_run_is_live_starts_nothing() {
    let mut world = World::live(7);
    world.asks_for_day("2");
    world.settles();
    world.edits(|spec| {
        spec.run_now.as_mut().unwrap().0.remove("job_parameters");
    });
    world.ends(run(7).ended("TERMINATED", "SUCCESS"));
    assert_eq!(world.settles(), None);
    assert_eq!((world.state(), world.status.serial), ("Succeeded", Some(1)));
}

#[test]
fn nobody_sees_green_or_red_of_a_run_when_another_is_due() {
    for result in ["SUCCESS", "FAILED"] {
        let mut world = World::live(7);
        world.asks_for_day("2");
        world.polls(run(7).ended("TERMINATED", result));
        let Step::Record(change) = world.decides() else { panic!() };
        let ready = &change.status.conditions[0];
        assert_eq!((ready.type_.as_str(), ready.status.as_str()), ("Ready", "Unknown"));
        assert_eq!(change.status.completion_time, None);
        assert_eq!(change.status.attempts[0].run_id.as_deref(), Some("7"));
        assert!(!change.announce.is_empty(), "the end is told all the same");
    }
}

#[test]
fn settings_that_are_no_part_of_the_request_start_nothing() {
    let mut world = World::of_a_job();
    succeeds(&mut world, 7);
    world.settles();
    world.edits(|spec| spec.output = Some(OutputSettings { max_bytes: Some(1) }));
    assert_eq!(world.settles(), None);
    assert_eq!(world.status.serial, Some(1));
    assert_eq!(world.status.observed_generation, Some(2), "the newest generation is seen all the same");
    assert_eq!(world.state(), "Succeeded");
}

#[test]
fn a_token_that_is_there_at_creation_belongs_to_the_first_run() {
    let mut world = World::of_a_job();
    world.rerun = Some("monday".to_owned());
    succeeds(&mut world, 7);
    assert_eq!(world.settles(), None);
    assert_eq!(world.status.last_handled_rerun.as_deref(), Some("monday"));
}

#[test]
fn a_new_token_starts_one_more_run_and_is_recorded() {
    let mut world = World::of_a_job();
    succeeds(&mut world, 7);
    world.settles();
    world.rerun = Some("tuesday".to_owned());
    assert_eq!(serial(&world.starts(8)), 2);
    assert_eq!(world.status.last_handled_rerun.as_deref(), Some("tuesday"));
    world.ends(run(8).ended("TERMINATED", "SUCCESS"));
    assert_eq!(world.settles(), None);
}

#[test]
fn removing_the_token_does_nothing() {
    let mut world = World::of_a_job();
    world.rerun = Some("monday".to_owned());
    succeeds(&mut world, 7);
    world.settles();
    world.rerun = None;
    assert_eq!(world.settles(), None);
    world.rerun = Some(String::new());
    assert_eq!(world.settles(), None);
    world.rerun = Some("monday".to_owned());
    assert_eq!(world.settles(), None, "it was honoured already");
}

#[test]
fn a_token_that_changes_while_a_run_is_live_waits_for_its_end() {
    let mut world = World::live(7);
    world.rerun = Some("now".to_owned());
    world.polls(run(7).is("RUNNING"));
    world.settles();
    assert_eq!(world.status.last_handled_rerun, None);
    world.ends(run(7).ended("TERMINATED", "SUCCESS"));
    assert_eq!(serial(&world.asks()), 2);
    assert_eq!(world.status.last_handled_rerun.as_deref(), Some("now"));
}

#[test]
fn a_token_that_changes_while_the_start_waits_starts_one_run_only() {
    let mut world = World::of_a_job();
    let ready = std::mem::replace(&mut world.workspace, crate::lifecycle::WorkspaceView::Missing);
    world.settles();
    world.rerun = Some("again".to_owned());
    world.settles();
    world.workspace = ready;
    succeeds(&mut world, 7);
    assert_eq!(world.settles(), None);
    assert_eq!((world.status.serial, world.status.attempts.len()), (Some(1), 0));
}

#[test]
fn a_rejected_request_is_repeated_only_on_demand() {
    let mut world = World::of_a_job();
    world.submits(Err(crate::lifecycle::world::refused()));
    assert_eq!(world.settles(), None);
    world.passes(Duration::from_hours(100));
    world.crashes();
    assert_eq!(world.settles(), None);
    world.rerun = Some("please".to_owned());
    assert_eq!(serial(&world.asks()), 2);
    assert_eq!(world.status.attempts[0].reason, Reason::SubmitRejected.as_str());
}

#[test]
fn a_key_of_a_newer_version_starts_nothing_but_is_followed_to_its_end() {
    let mut world = World::live(7);
    world.status.run_key = Some("v9:00".to_owned());
    world.asks_for_day("2");
    world.ends(run(7).ended("TERMINATED", "SUCCESS"));
    assert_eq!(world.settles(), None);
    assert_eq!((world.state(), world.status.serial), ("Succeeded", Some(1)));
}

#[test]
fn a_waiting_request_of_a_newer_version_says_that_it_is_stuck() {
    let mut world = World::of_a_job();
    world.status.run_key = Some("v9:00".to_owned());
    assert_eq!(world.settles(), None);
    assert_eq!(world.reason(), Reason::RunKeyVersionUnknown.as_str());
}

#[test]
fn ten_past_requests_are_remembered() {
    let mut world = World::of_a_job();
    for id in 0..13 {
        world.asks_for_day(&id.to_string());
        succeeds(&mut world, id);
    }
    let ids: Vec<_> = world.status.attempts.iter().map(|past| past.run_id.clone().unwrap()).collect();
    assert_eq!(ids, ["11", "10", "9", "8", "7", "6", "5", "4", "3", "2"]);
}

#[test]
fn another_rerun_token_in_the_spec_is_another_request() {
    let mut world = World::of_a_job();
    world.edits(|spec| spec.rerun_token = Some("1".to_owned()));
    succeeds(&mut world, 7);
    assert_eq!(world.settles(), None);
    world.edits(|spec| spec.rerun_token = Some("2".to_owned()));
    assert_eq!(serial(&world.asks()), 2);
}

#[test]
fn another_workspace_is_another_request() {
    let mut world = World::of_a_job();
    succeeds(&mut world, 7);
    world.settles();
    world.edits(|spec| spec.workspace_ref = serde_json::from_value(json!({"name": "dev"})).unwrap());
    assert_eq!(serial(&world.asks()), 2);
}
