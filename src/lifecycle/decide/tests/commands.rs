//! Suspension, cancellation and replacement: what people command, and how often it is honoured.

use crate::api::conditions::State;
use crate::api::run_control::OnSpecChange;
use crate::lifecycle::fixtures::run;
use crate::lifecycle::step::{Effect, EventReason, Step};
use crate::lifecycle::world::World;

fn conditions(world: &World) -> Vec<String> {
    world.status.conditions.iter().map(|it| format!("{}={} {}", it.type_, it.status, it.reason)).collect()
}

#[test]
fn a_suspended_object_is_as_right_as_a_suspended_job() {
    let mut world = World::of_a_job();
    world.edits(|spec| spec.suspend = true);
    assert_eq!(world.settles(), None);
    assert_eq!(conditions(&world), ["Ready=True Suspended", "Succeeded=Unknown Suspended", "Finished=False Suspended"]);
    assert_eq!((world.writes, world.told()), (1, vec![EventReason::Suspended]));
    world.edits(|spec| spec.suspend = false);
    world.starts(7);
    assert_eq!(world.status.attempts, []);
    assert!(world.told().contains(&EventReason::Resumed));
}

#[test]
fn a_suspended_run_starts_anew_and_its_retries_and_deadlines_too() {
    let mut world = World::live(7);
    world.edits(|spec| (spec.backoff_limit, spec.suspend) = (Some(1), true));
    world.cancels(Ok(()));
    world.ends_canceled(7);
    world.settles();
    let past = &world.status.attempts[0];
    assert_eq!((past.run_id.as_deref(), past.followed_by.as_deref()), (Some("7"), Some("Resumption")));
    assert_eq!((world.status.retries, world.status.first_submit_time.as_ref()), (None, None));
    let held_since = world.status.requested_at.clone();
    world.passes(std::time::Duration::from_hours(5));
    world.edits(|spec| spec.suspend = false);
    let effect = world.starts(8);
    assert!(matches!(effect, Effect::Submit { serial: 2, .. }));
    world.settles();
    assert_eq!(world.status.attempt, Some(1));
    assert!(world.status.requested_at > held_since, "the starting deadline counts from here");
    world.fails_with(8, "CLOUD_FAILURE");
    assert_eq!(world.state(), "Retrying", "the suspension did not count");
}

#[test]
fn a_run_that_succeeded_before_its_suspension_reached_it_has_succeeded() {
    let mut world = World::live(7);
    world.edits(|spec| spec.suspend = true);
    world.cancels(Ok(()));
    world.ends(run(7).ended("TERMINATED", "SUCCESS"));
    assert_eq!(world.state(), "Succeeded");
    world.edits(|spec| spec.suspend = false);
    assert_eq!(world.settles(), None);
    assert_eq!((world.state(), world.status.serial), ("Succeeded", Some(1)));
}

#[test]
fn a_suspension_that_is_taken_back_while_its_run_is_cancelled_starts_anew_at_once() {
    let mut world = World::live(7);
    world.edits(|spec| spec.suspend = true);
    world.cancels(Ok(()));
    world.edits(|spec| spec.suspend = false);
    world.ends_canceled(7);
    assert!(matches!(world.asks(), Effect::Submit { serial: 2, .. }));
    assert!(!world.told().contains(&EventReason::Suspended));
}

#[test]
fn a_cancellation_ends_the_request_and_taking_it_back_revives_nothing() {
    let mut world = World::live(7);
    world.edits(|spec| spec.cancel = true);
    world.cancels(Ok(()));
    world.ends_canceled(7);
    assert_eq!((world.state(), world.reason()), ("Canceled", "RunCanceled"));
    assert_eq!(world.message(), "run 7 was canceled, because its cancellation was requested");
    world.edits(|spec| spec.cancel = false);
    assert_eq!(world.settles(), None);
    assert_eq!(world.state(), "Canceled");
    world.asks_for_day("2");
    world.starts(8);
}

#[test]
fn while_cancel_is_true_each_new_request_ends_without_a_run() {
    let mut world = World::of_a_job();
    world.edits(|spec| spec.cancel = true);
    for day in ["1", "2"] {
        let before = world.writes;
        world.asks_for_day(day);
        assert_eq!(world.settles(), None);
        assert_eq!(world.writes - before, 1, "it is never shown as begun");
        assert_eq!((world.state(), world.status.run_id.as_ref()), ("Canceled", None));
    }
    assert_eq!((world.status.serial, world.held), (None, false));
}

#[test]
fn a_cancel_token_is_honoured_once_and_recorded() {
    let mut world = World::live(7);
    world.cancel = Some("now".to_owned());
    world.cancels(Ok(()));
    assert_eq!(world.status.last_handled_cancel.as_deref(), Some("now"));
    assert_eq!(world.message(), "run 7 is being canceled, because its cancellation was requested");
    world.ends_canceled(7);
    assert_eq!(world.state(), "Canceled");
    world.asks_for_day("2");
    world.starts(8);
    world.settles();
    assert!(world.status.cancel.is_none(), "the token has been honoured");
}

#[test]
fn a_token_that_was_there_at_creation_belongs_to_the_first_run() {
    let mut world = World::of_a_job();
    (world.cancel, world.repair, world.rerun) = (Some("c".into()), Some("p".into()), Some("r".into()));
    world.starts(7);
    world.settles();
    let status = &world.status;
    let handled = [&status.last_handled_cancel, &status.last_handled_repair, &status.last_handled_rerun];
    assert_eq!(handled.map(|token| token.as_deref().unwrap()), ["c", "p", "r"]);
    assert!(status.cancel.is_none());
    world.cancel = None;
    assert!(matches!(world.decides(), Step::Wait(_)), "removing one does nothing");
}

#[test]
fn a_cancel_token_for_what_has_ended_is_recorded_and_does_nothing() {
    let mut world = World::live(7);
    world.ends(run(7).ended("TERMINATED", "SUCCESS"));
    world.settles();
    world.cancel = Some("late".to_owned());
    assert_eq!(world.settles(), None);
    assert_eq!((world.state(), world.status.last_handled_cancel.as_deref()), ("Succeeded", Some("late")));
}

#[test]
fn a_cancelled_request_that_waits_for_its_workspace_ends() {
    let mut world = World::of_a_job();
    world.workspace = crate::lifecycle::WorkspaceView::Missing;
    world.settles();
    world.cancel = Some("now".to_owned());
    world.settles();
    assert_eq!((world.state(), world.status.last_handled_cancel.as_deref()), ("Canceled", Some("now")));
}

#[test]
fn ten_edits_replace_a_live_run_by_one_of_the_last() {
    let mut world = World::live(7);
    world.edits(|spec| spec.on_spec_change = OnSpecChange::Replace);
    world.asks_for_day("1");
    world.cancels(Ok(()));
    for day in 2..=10 {
        world.asks_for_day(&day.to_string());
        world.settles();
    }
    world.ends_canceled(7);
    let Effect::Submit { body, serial, .. } = world.asks() else { panic!() };
    assert_eq!((body.as_str(), serial), (r#"{"job_id":5,"job_parameters":{"day":"10"}}"#, 2));
    assert_eq!(world.status.attempts[0].state, State::Canceled.as_str());
}

#[test]
fn an_edit_that_is_undone_after_it_has_cancelled_the_run_begins_that_request_anew() {
    let mut world = World::live(7);
    world.edits(|spec| spec.on_spec_change = OnSpecChange::Replace);
    world.asks_for_day("1");
    world.cancels(Ok(()));
    world.edits(|spec| drop(spec.run_now.as_mut().unwrap().0.remove("job_parameters")));
    world.ends_canceled(7);
    let Effect::Submit { body, serial, .. } = world.asks() else { panic!() };
    assert_eq!((body.as_str(), serial), (r#"{"job_id":5}"#, 2));
    assert_eq!(world.status.attempts[0].followed_by.as_deref(), Some("Resumption"));
}

#[test]
fn a_rerun_while_a_run_is_live_follows_on_spec_change() {
    let mut world = World::live(7);
    world.rerun = Some("again".to_owned());
    world.settles();
    assert!(world.status.cancel.is_none());
    world.edits(|spec| spec.on_spec_change = OnSpecChange::Replace);
    world.cancels(Ok(()));
    world.ends_canceled(7);
    world.starts(8);
    assert_eq!(world.status.last_handled_rerun.as_deref(), Some("again"));
}

#[test]
fn a_cancellation_that_fails_is_told_and_repeated() {
    let mut world = World::live(7);
    world.edits(|spec| spec.cancel = true);
    world.cancels(Err(crate::lifecycle::world::unavailable()));
    let wait = world.settles().unwrap();
    assert!(world.message().contains("Databricks cannot answer now"), "{}", world.message());
    assert_eq!(world.reason(), "Canceling");
    world.passes(wait);
    world.cancels(Ok(()));
}
