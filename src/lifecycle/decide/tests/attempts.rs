//! Further attempts: when, how many, after what wait, and what is told of each.

use std::time::Duration;

use serde_json::json;

use crate::lifecycle::fixtures::{run, task};
use crate::lifecycle::step::{Effect, EventReason};
use crate::lifecycle::world::World;

fn with_retries(limit: i32) -> World {
    let mut world = World::live(7);
    world.edits(|spec| spec.backoff_limit = Some(limit));
    world
}

fn failed(id: i64) -> crate::databricks::model::Run {
    run(id).ended("INTERNAL_ERROR", "FAILED").with([task("load", id + 1000).failed_with("CLOUD_FAILURE")])
}

/// Waits out the backoff, and has the run read once more: it is as it was.
fn waits_and_reads(world: &mut World, id: i64) -> Duration {
    let mut waited = Duration::ZERO;
    while let crate::lifecycle::world::Rest::Wait(Some(wait)) = world.rests() {
        world.passes(wait);
        waited += wait;
    }
    world.reads_run(failed(id));
    waited
}

#[test]
fn a_failure_of_the_platform_is_tried_again_after_longer_and_longer_waits() {
    let mut world = with_retries(7);
    let mut waits = Vec::new();
    for id in 7..14 {
        world.fails_with(id, "CLOUD_FAILURE");
        assert_eq!((world.state(), world.reason()), ("Retrying", "ProgressingWithRetry"));
        waits.push(waits_and_reads(&mut world, id).as_secs());
        world.starts(id + 1);
        world.settles();
        assert_eq!(world.status.attempt, Some(i32::try_from(id).unwrap() - 5));
    }
    // The status holds whole seconds, so a wait may be up to one shorter than it says.
    let near = |(waited, wanted): (u64, u64)| waited <= wanted && waited + 1 >= wanted;
    assert!(waits.iter().copied().zip([10, 20, 40, 80, 160, 320, 360]).all(near), "{waits:?}");
    assert_eq!(world.status.attempts.len(), 7);
}

#[test]
fn every_attempt_is_told_with_its_cause_and_what_came_next() {
    let mut world = with_retries(1);
    world.fails_with(7, "CLOUD_FAILURE");
    let past = &world.status.attempts[0];
    assert_eq!(
        (past.run_id.as_deref(), past.state.as_str(), past.reason.as_str(), past.followed_by.as_deref()),
        (Some("7"), "Failed", "RunFailed", Some("Retry"))
    );
    let until = world.status.backoff.as_ref().unwrap().until.0.strftime("%H:%M:%S UTC");
    let told = format!("the run is started again at {until}, after attempt 1: run 7 failed");
    assert!(world.message().starts_with(&told), "{}", world.message());
    waits_and_reads(&mut world, 7);
    world.starts(8);
    world.settles();
    world.fails_with(8, "CLOUD_FAILURE");
    assert_eq!((world.state(), world.reason()), ("Failed", "BackoffLimitExceeded"));
    assert!(world.message().contains("attempt 2; spec.backoffLimit is 1"), "{}", world.message());
    assert_eq!(world.status.attempts.len(), 1, "the last attempt is the status itself");
    assert!(world.told().contains(&EventReason::RunRetrying));
}

#[test]
fn user_code_is_not_tried_again_unless_the_user_says_so() {
    let mut world = with_retries(3);
    world.fails_with(7, "RUN_EXECUTION_ERROR");
    assert_eq!((world.state(), world.reason()), ("Failed", "RunFailed"));
    let mut world = with_retries(3);
    world.edits(|spec| {
        let rules = json!({"rules": [{"action": "Retry", "onTaskKeys": ["load"]}]});
        spec.failure_policy = Some(serde_json::from_value(rules).unwrap());
    });
    world.fails_with(7, "RUN_EXECUTION_ERROR");
    assert_eq!(world.state(), "Retrying");
}

#[test]
fn what_was_read_ten_seconds_ago_is_read_again_before_the_next_attempt() {
    let mut world = with_retries(1);
    world.fails_with(7, "CLOUD_FAILURE");
    waits_and_reads(&mut world, 7);
    world.passes(Duration::from_secs(10));
    let effect = world.asks();
    assert!(matches!(effect, Effect::ReadRun { .. }), "{effect:?}");
}

#[test]
fn without_a_backoff_limit_nothing_is_tried_again() {
    let mut world = World::live(7);
    world.fails_with(7, "CLOUD_FAILURE");
    assert_eq!((world.state(), world.reason()), ("Failed", "RunFailed"));
}

#[test]
fn a_cancelled_run_is_never_tried_again() {
    let mut world = with_retries(3);
    world.edits(|spec| {
        let all = json!({"rules": [{"action": "Retry", "onResultStates": ["CANCELED"]}]});
        spec.failure_policy = Some(serde_json::from_value(all).unwrap());
    });
    world.ends(run(7).ended("TERMINATED", "CANCELED").with([task("load", 71).ended("TERMINATED", "CANCELED")]));
    assert_eq!(world.state(), "Canceled");
}

#[test]
fn a_run_that_a_person_repaired_during_the_wait_is_followed_instead() {
    let mut world = with_retries(3);
    world.fails_with(7, "CLOUD_FAILURE");
    world.polls(run(7).is("RUNNING"));
    world.settles();
    assert_eq!((world.state(), world.status.backoff.as_ref()), ("Running", None));
    world.ends(run(7).ended("TERMINATED", "SUCCESS"));
    assert_eq!((world.state(), world.status.serial), ("Succeeded", Some(1)));
}

#[test]
fn a_run_that_succeeded_meanwhile_is_not_started_again() {
    let mut world = with_retries(3);
    world.fails_with(7, "CLOUD_FAILURE");
    let wait = world.settles().unwrap();
    world.passes(wait);
    world.reads_run(run(7).ended("TERMINATED", "SUCCESS"));
    world.settles();
    assert_eq!((world.state(), world.status.serial), ("Succeeded", Some(1)));
}

#[test]
fn a_run_that_was_deleted_meanwhile_is_not_started_again_and_keeps_its_verdict() {
    let mut world = with_retries(3);
    world.fails_with(7, "CLOUD_FAILURE");
    for _ in 0..3 {
        world.polls_nothing();
        world.passes(Duration::from_secs(151));
    }
    world.polls_nothing();
    world.edits(|spec| spec.backoff_limit = Some(3));
    world.rests();
    assert_eq!((world.state(), world.reason()), ("Failed", "RunFailed"), "{}", world.message());
    assert!(world.message().contains("no longer knows the run"), "{}", world.message());
}

#[test]
fn a_newer_request_does_not_wait_for_the_next_attempt() {
    let mut world = with_retries(3);
    world.fails_with(7, "CLOUD_FAILURE");
    world.asks_for_day("2");
    let Effect::Submit { serial, .. } = world.asks() else { panic!() };
    assert_eq!((serial, world.status.attempts.len(), world.status.retries), (2, 1, None));
}

#[test]
fn the_next_attempt_waits_for_a_workspace_without_losing_the_run() {
    let mut world = with_retries(3);
    world.fails_with(7, "CLOUD_FAILURE");
    let wait = world.settles().unwrap();
    world.passes(wait);
    world.reads_run(failed(7));
    world.workspace = crate::lifecycle::WorkspaceView::NotReady {
        pin: crate::lifecycle::fixtures::pin(),
        reason: crate::api::conditions::Reason::Unauthorized,
        message: "the token is refused".into(),
    };
    world.settles();
    assert_eq!((world.reason(), world.status.run_id.as_deref()), ("Unauthorized", Some("7")));
}

#[test]
fn after_a_crash_in_the_wait_the_next_attempt_comes_when_it_is_due() {
    let mut world = with_retries(3);
    world.fails_with(7, "CLOUD_FAILURE");
    world.crashes();
    world.polls(failed(7));
    waits_and_reads(&mut world, 7);
    let effect = world.starts(8);
    assert!(matches!(effect, Effect::Submit { serial: 2, .. }));
}

#[test]
fn a_next_attempt_of_a_newer_operator_s_request_is_not_made_and_can_be_cancelled() {
    let mut world = with_retries(3);
    world.fails_with(7, "CLOUD_FAILURE");
    world.status.run_key = Some("v9:00".to_owned());
    world.passes(Duration::from_mins(1));
    assert_eq!(world.settles(), None);
    assert_eq!((world.reason(), world.status.serial), ("RunKeyVersionUnknown", Some(1)));
    world.edits(|spec| spec.cancel = true);
    world.settles();
    assert_eq!(world.state(), "Failed");
}

#[test]
fn an_attempt_past_all_counting_is_made_all_the_same() {
    let mut world = with_retries(3);
    world.status.attempt = Some(i32::MAX);
    world.fails_with(7, "CLOUD_FAILURE");
    waits_and_reads(&mut world, 7);
    world.starts(8);
    world.settles();
    assert_eq!((world.status.attempt, world.status.run_id.as_deref()), (Some(i32::MAX), Some("8")));
}
