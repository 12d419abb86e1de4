//! Finished objects that delete themselves, and those that must not.

use std::time::Duration;

use crate::lifecycle::fixtures::run;
use crate::lifecycle::step::{EventReason, Step};
use crate::lifecycle::world::{Rest, World};

fn finished() -> World {
    let mut world = World::live(7);
    world.edits(|spec| spec.ttl_seconds_after_finished = Some(60));
    world.ends(run(7).ended("TERMINATED", "SUCCESS"));
    world
}

#[test]
fn a_finished_object_deletes_itself_when_its_time_is_up() {
    let mut world = finished();
    let wait = world.settles().unwrap();
    assert!(wait <= Duration::from_mins(1) && wait > Duration::from_secs(58), "{wait:?}");
    world.passes(Duration::from_secs(61));
    assert_eq!(world.rests(), Rest::Gone);
    assert!(world.told().contains(&EventReason::TTLExpired));
}

#[test]
fn the_time_begins_when_the_end_can_be_read() {
    let mut world = World::live(7);
    world.edits(|spec| spec.ttl_seconds_after_finished = Some(60));
    // It ended long before the operator came back.
    world.passes(Duration::from_hours(30));
    world.ends(run(7).ended("TERMINATED", "SUCCESS"));
    assert!(world.settles().unwrap() > Duration::from_secs(58));
}

#[test]
fn of_the_conditions_only_finished_counts() {
    let mut world = finished();
    for condition in world.status.conditions.iter_mut().filter(|condition| condition.type_ != "Finished") {
        condition.last_transition_time.0 -= Duration::from_hours(1);
    }
    assert!(world.settles().unwrap() > Duration::from_secs(58));
}

#[test]
fn an_object_that_a_tool_would_put_back_is_kept_and_that_is_told_once() {
    let mut world = finished();
    world.kept_by = Some("argocd.argoproj.io/tracking-id".to_owned());
    world.passes(Duration::from_secs(61));
    assert_eq!(world.settles(), None);
    assert_eq!(world.told().iter().filter(|it| **it == EventReason::TTLSkipped).count(), 1);
    assert_eq!(world.status.ttl_skipped_by.as_deref(), Some("argocd.argoproj.io/tracking-id"));
    world.crashes();
    assert_eq!(world.decides(), Step::Wait(None));
    world.kept_by = None;
    assert_eq!(world.rests(), Rest::Gone, "the mark has gone");
}

#[test]
fn what_has_not_ended_never_deletes_itself() {
    let mut world = World::live(7);
    world.edits(|spec| spec.ttl_seconds_after_finished = Some(0));
    world.passes(Duration::from_hours(9));
    assert!(matches!(world.rests(), Rest::Wait(_)));
    let mut world = World::of_a_job();
    world.edits(|spec| (spec.ttl_seconds_after_finished, spec.suspend) = (Some(0), true));
    assert_eq!(world.settles(), None);
}

#[test]
fn a_failed_run_goes_as_well_and_an_edit_in_time_keeps_it() {
    let mut world = World::live(7);
    world.edits(|spec| spec.ttl_seconds_after_finished = Some(60));
    world.fails_with(7, "RUN_EXECUTION_ERROR");
    world.settles();
    world.asks_for_day("2");
    world.starts(8);
    world.passes(Duration::from_secs(100));
    assert!(matches!(world.rests(), Rest::Wait(_)));
}
