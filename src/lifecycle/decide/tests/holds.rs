//! What holds a run up is said with its remedy, once, and goes away by itself.

use std::time::Duration;

use serde_json::json;

use crate::api::conditions::Reason;
use crate::databricks::error::{ApiError, CredentialsError, Error};
use crate::databricks::ids::JobId;
use crate::lifecycle::WorkspaceView;
use crate::lifecycle::fixtures::{pin, run};
use crate::lifecycle::step::{Effect, EventReason, JobMatch, Outcome};
use crate::lifecycle::world::{World, not_found, unavailable};

fn by_name() -> World {
    World::with_spec(&json!({"workspaceRef": {"name": "prod"}, "jobName": "nightly", "runNow": {}}))
}

#[test]
fn a_missing_workspace_holds_the_start_and_its_appearance_frees_it() {
    let mut world = World::of_a_job();
    world.workspace = WorkspaceView::Missing;
    assert_eq!(world.settles(), Some(Duration::from_mins(5)));
    assert_eq!(world.reason(), Reason::WorkspaceNotFound.as_str());
    assert!(world.message().contains("`prod`"), "{}", world.message());
    assert_eq!(world.told(), [EventReason::RunWaiting]);
    assert!(!world.held, "nothing is held that has started nothing");
    world.workspace = WorkspaceView::Ready { pin: pin() };
    assert!(matches!(world.asks(), Effect::Submit { .. }));
}

#[test]
fn a_workspace_that_is_not_ready_passes_its_own_reason_on() {
    let mut world = World::of_a_job();
    world.workspace = WorkspaceView::NotReady {
        pin: pin(),
        reason: Reason::CredentialsNotFound,
        message: "Secret `db` has no key `token`; add it".into(),
    };
    world.settles();
    assert_eq!(world.reason(), Reason::CredentialsNotFound.as_str());
    assert_eq!(world.message(), "Secret `db` has no key `token`; add it");
}

#[test]
fn a_message_that_changes_is_written_and_not_announced_again() {
    let mut world = World::of_a_job();
    for message in ["Secret `db` has no key `token`; add it", "Secret `db` has no key `tokens`; add it"] {
        let reason = Reason::CredentialsNotFound;
        world.workspace = WorkspaceView::NotReady { pin: pin(), reason, message: message.into() };
        world.settles();
        assert_eq!(world.message(), message);
    }
    assert_eq!((world.writes, world.told()), (2, vec![EventReason::RunWaiting]));
}

#[test]
fn what_holds_a_start_up_is_told_by_its_kind() {
    let unreadable = CredentialsError::NotAllowed("the operator may not read Secret `db`".into());
    let missing = CredentialsError::NotFound("Secret `db` is not there".into());
    for (error, reason) in [
        (Error::Credentials(missing), Reason::CredentialsNotFound),
        (Error::Credentials(unreadable), Reason::CredentialsUnusable),
        (Error::QuotaExceeded(ApiError::default()), Reason::QuotaExceeded),
        (unavailable(), Reason::ProgressingWithRetry),
    ] {
        let mut world = World::of_a_job();
        world.submits(Err(error));
        world.settles();
        assert_eq!(world.reason(), reason.as_str());
    }
}

#[test]
fn a_job_that_databricks_does_not_know_is_told_as_such() {
    let mut world = World::of_a_job();
    world.submits(Err(not_found()));
    world.settles();
    assert_eq!((world.state(), world.reason()), ("Rejected", Reason::JobNotFound.as_str()));
}

#[test]
fn retained_credentials_start_nothing() {
    let mut world = World::of_a_job();
    world.workspace = WorkspaceView::Retained { pin: pin() };
    world.settles();
    assert_eq!(world.reason(), Reason::WorkspaceNotFound.as_str());
}

#[test]
fn a_hold_is_written_and_told_once() {
    let mut world = World::of_a_job();
    world.workspace = WorkspaceView::Missing;
    world.settles();
    for _ in 0..50 {
        world.passes(Duration::from_mins(5));
        world.settles();
    }
    assert_eq!((world.writes, world.events.len()), (1, 1));
}

#[test]
fn the_request_s_time_is_kept_while_it_is_held() {
    let mut world = World::of_a_job();
    world.workspace = WorkspaceView::Missing;
    world.settles();
    let asked = world.status.requested_at.clone();
    world.passes(Duration::from_hours(1));
    world.workspace = WorkspaceView::Ready { pin: pin() };
    world.starts(7);
    assert_eq!(world.status.requested_at, asked);
}

#[test]
fn a_job_that_no_one_has_by_that_name_is_rejected() {
    for (found, reason) in [(JobMatch::None, Reason::JobNotFound), (JobMatch::Several(3), Reason::JobNameAmbiguous)] {
        let mut world = by_name();
        let find = world.asks();
        world.answers(&find, Outcome::Job(Ok(found)));
        assert_eq!(world.settles(), None);
        assert_eq!((world.state(), world.reason()), ("Rejected", reason.as_str()));
        assert_eq!(world.status.serial, None, "nothing was sent");
    }
}

#[test]
fn a_name_that_cannot_be_looked_up_now_is_tried_again_and_said_once() {
    let mut world = by_name();
    for _ in 0..5 {
        let find = world.asks();
        world.answers(&find, Outcome::Job(Err(unavailable())));
        let wait = world.settles().unwrap();
        world.passes(wait);
    }
    assert_eq!(world.reason(), Reason::ProgressingWithRetry.as_str());
    assert_eq!(world.writes, 1);
    let find = world.asks();
    world.answers(&find, Outcome::Job(Ok(JobMatch::One(JobId(5)))));
    assert!(matches!(world.asks(), Effect::Submit { .. }));
}

#[test]
fn a_name_is_looked_up_again_for_each_request() {
    let mut world = by_name();
    let find = world.asks();
    world.answers(&find, Outcome::Job(Ok(JobMatch::One(JobId(5)))));
    world.starts(7);
    world.ends(run(7).ended("TERMINATED", "SUCCESS"));
    world.settles();
    world.rerun = Some("again".to_owned());
    assert!(matches!(world.asks(), Effect::FindJob { .. }), "the job may have been created anew");
}

#[test]
fn a_body_that_cannot_be_right_is_rejected_before_anything_is_sent() {
    let mut world = World::with_spec(&json!({
        "workspaceRef": {"name": "prod"},
        "submit": {"tasks": [{"task_key": "b", "depends_on": [{"task_key": "nobody"}]}]}
    }));
    assert_eq!(world.settles(), None);
    assert_eq!((world.state(), world.reason()), ("Rejected", Reason::SubmitRejected.as_str()));
    assert!(world.message().contains("nobody"), "{}", world.message());
    assert!(!world.held);
}

#[test]
fn a_spec_that_cannot_be_read_says_so_until_it_is_corrected() {
    let mut world = World::of_a_job();
    let good = std::mem::replace(&mut world.spec, Err("runNow: invalid type".to_owned()));
    assert_eq!(world.settles(), None);
    assert_eq!(world.reason(), Reason::SpecUnreadable.as_str());
    world.spec = good;
    world.generation += 1;
    assert!(matches!(world.asks(), Effect::Submit { .. }));
}

#[test]
fn a_run_is_followed_to_its_end_although_the_spec_can_no_longer_be_read() {
    let mut world = World::live(7);
    world.spec = Err("runNow: invalid type".to_owned());
    world.generation += 1;
    world.ends(run(7).ended("TERMINATED", "SUCCESS"));
    assert_eq!(world.settles(), None);
    assert_eq!((world.state(), world.status.observed_generation), ("Succeeded", Some(2)));
}

#[test]
fn a_spec_with_both_bodies_starts_nothing() {
    let mut world = World::of_a_job();
    world.edits(|spec| spec.submit = serde_json::from_value(json!({"tasks": []})).unwrap());
    assert_eq!(world.settles(), None);
    assert_eq!(world.reason(), Reason::SpecUnreadable.as_str());
}
