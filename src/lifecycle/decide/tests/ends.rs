//! The end of a run: the one sentence that tells it, and what follows it or does not.

use std::time::Duration;

use serde_json::json;

use crate::databricks::model::Run;
use crate::lifecycle::fixtures::{run, task};
use crate::lifecycle::step::{Effect, EventReason};
use crate::lifecycle::world::World;

/// A run that ends like this with a task that failed for a reason of the platform.
fn ended(life: &str, result: &str) -> Run {
    run(7).ended(life, result).with([task("load", 71).failed_with("CLOUD_FAILURE")])
}

fn last_event(world: &World) -> (EventReason, &str) {
    world.events.last().map(|event| (event.reason, event.note.as_str())).unwrap()
}

#[test]
fn each_end_is_told_in_a_sentence_and_in_the_same_words_by_its_event() {
    for (result, told, reason) in [
        ("SUCCESS", "run 7 succeeded", EventReason::RunSucceeded),
        ("SUCCESS_WITH_FAILURES", "run 7 succeeded, though tasks failed: ", EventReason::RunSucceeded),
        ("CANCELED", "run 7 was canceled: ", EventReason::RunCanceled),
        ("TIMEDOUT", "run 7 reached a time limit set in Databricks: ", EventReason::RunFailed),
        ("EXCLUDED", "run 7 was skipped by Databricks: ", EventReason::RunFailed),
        ("FAILED", "run 7 failed: ", EventReason::RunFailed),
    ] {
        let mut world = World::live(7);
        world.ends(ended("TERMINATED", result));
        assert!(world.message().starts_with(told), "{result}: {}", world.message());
        assert_eq!(last_event(&world), (reason, world.message()), "{result}");
    }
}

#[test]
fn an_end_without_a_result_is_told_as_what_it_is() {
    let mut world = World::live(7);
    let missing = || run(7).ended("TERMINATED", "");
    world.polls(missing());
    world.settles();
    world.passes(Duration::from_mins(5));
    world.ends(missing());
    assert!(world.message().contains("gives no result for it"), "{}", world.message());
}

#[test]
fn a_run_that_took_too_long_is_told_with_the_limit_it_reached() {
    let mut world = World::live(7);
    world.edits(|spec| spec.active_deadline_seconds = Some(60));
    world.passes(Duration::from_secs(62));
    world.polls(run(7).is("RUNNING"));
    world.cancels(Ok(()));
    world.ends_canceled(7);
    assert_eq!(world.message(), "run 7 was canceled: the request took longer than spec.activeDeadlineSeconds");
}

#[test]
fn the_time_of_an_end_that_databricks_does_not_tell_is_ours() {
    let mut world = World::live(7);
    let mut untimed = Run::from(run(7).ended("TERMINATED", "SUCCESS"));
    untimed.end_time = 0;
    world.ends(untimed);
    let ours = world.clock.wall.as_second();
    assert_eq!(world.status.completion_time.as_ref().map(|time| time.0.as_second()), Some(ours));
}

#[test]
fn that_a_task_executed_is_noted_at_the_end_if_nobody_saw_it_before() {
    let mut world = World::live(7);
    world.ends(run(7).ended("TERMINATED", "CANCELED").with([task("main", 71).is("PENDING")]));
    assert_eq!(world.status.execution_start_time, None, "nothing has executed");
    let mut world = World::live(7);
    world.ends(ended("TERMINATED", "FAILED"));
    assert_eq!(world.status.execution_start_time, Some(world.clock.stamp()));
}

#[test]
fn what_fails_while_its_cancellation_is_asked_for_is_not_tried_again() {
    let mut world = World::live(7);
    world.edits(|spec| (spec.backoff_limit, spec.cancel) = (Some(2), true));
    world.fails_with(7, "CLOUD_FAILURE");
    assert_eq!(world.state(), "Failed");
}

#[test]
fn what_somebody_cancelled_in_databricks_is_not_tried_again_whatever_its_tasks_failed_of() {
    let mut world = World::live(7);
    world.edits(|spec| spec.backoff_limit = Some(2));
    world.ends(ended("TERMINATED", "CANCELED"));
    assert_eq!(world.state(), "Canceled");
}

#[test]
fn a_success_with_failures_is_neither_tried_again_nor_begun_anew_after_a_suspension() {
    for suspended in [false, true] {
        let mut world = World::live(7);
        world.edits(|spec| {
            spec.backoff_limit = Some(2);
            spec.suspend = suspended;
            let rules = json!({"rules": [{"action": "Retry", "onTaskKeys": ["load"]}]});
            spec.failure_policy = Some(serde_json::from_value(rules).unwrap());
        });
        if suspended {
            world.cancels(Ok(()));
        }
        world.ends(ended("TERMINATED", "SUCCESS_WITH_FAILURES"));
        assert_eq!(world.state(), "Succeeded", "suspended: {suspended}");
        world.edits(|spec| spec.suspend = false);
        assert_eq!(world.settles(), None);
        assert_eq!((world.state(), world.status.serial), ("Succeeded", Some(1)));
    }
}

#[test]
fn a_limit_of_no_attempts_is_no_limit_that_was_reached() {
    for (limit, reason) in [(None, "RunFailed"), (Some(0), "RunFailed"), (Some(1), "BackoffLimitExceeded")] {
        let mut world = World::live(7);
        world.edits(|spec| spec.backoff_limit = limit);
        world.status.retries = limit;
        world.fails_with(7, "CLOUD_FAILURE");
        assert_eq!((world.state(), world.reason()), ("Failed", reason), "{limit:?}");
    }
}

#[test]
fn what_fails_after_its_deadline_is_not_tried_again() {
    let mut world = World::live(7);
    world.edits(|spec| (spec.backoff_limit, spec.active_deadline_seconds) = (Some(2), Some(60)));
    world.passes(Duration::from_secs(62));
    world.fails_with(7, "CLOUD_FAILURE");
    assert_eq!((world.state(), world.reason()), ("Failed", "RunFailed"));
    assert!(!world.told().contains(&EventReason::RunRetrying));
}

#[test]
fn a_run_that_vanished_is_not_repaired_on_demand() {
    let mut world = World::live(7);
    world.repair = Some("please".to_owned());
    world.settles();
    for _ in 0..3 {
        world.passes(Duration::from_mins(3));
        world.polls_nothing();
        world.settles();
    }
    assert_eq!(world.reason(), "RunNotFound");
    assert!(!matches!(world.decides(), crate::lifecycle::step::Step::Remote(Effect::Repair { .. })));
}
