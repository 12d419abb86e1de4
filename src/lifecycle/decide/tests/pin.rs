//! Every call for a run goes to the workspace that was written with it, or nowhere.

use std::time::Duration;

use crate::api::conditions::Reason;
use crate::api::status::WorkspacePin;
use crate::lifecycle::WorkspaceView;
use crate::lifecycle::fixtures::{pin, run};
use crate::lifecycle::step::{Effect, EventReason};
use crate::lifecycle::world::{DELETION, Rest, World, no_answer};

fn elsewhere() -> WorkspaceView {
    WorkspaceView::Ready { pin: WorkspacePin { host: "https://elsewhere.test".into(), ..pin() } }
}

#[test]
fn a_live_run_is_not_asked_for_at_another_host() {
    let mut world = World::live(7);
    world.workspace = elsewhere();
    world.polls(run(7).ended("TERMINATED", "SUCCESS"));
    assert!(world.settles().is_some());
    assert_eq!(world.reason(), Reason::WorkspaceChanged.as_str());
    assert_eq!(world.events.last().unwrap().reason, EventReason::RunWaiting);
}

#[test]
fn another_workspace_id_is_another_workspace() {
    let mut world = World::live(7);
    world.workspace = WorkspaceView::Ready { pin: WorkspacePin { workspace_id: Some("42".into()), ..pin() } };
    world.settles();
    assert_eq!(world.reason(), Reason::WorkspaceChanged.as_str());
}

#[test]
fn a_new_api_version_of_the_workspace_is_not_used_for_a_run_that_was_started_before() {
    let mut world = World::of_a_job();
    world.submits(Err(no_answer()));
    world.workspace = WorkspaceView::Ready { pin: WorkspacePin { jobs_api_version: "2.2".into(), ..pin() } };
    world.settles();
    world.passes(Duration::from_secs(10));
    let Effect::Submit { pin: sent_to, .. } = world.asks() else { panic!() };
    assert_eq!(sent_to.jobs_api_version, "2.1");
}

#[test]
fn an_open_start_is_not_sent_to_another_host() {
    let mut world = World::of_a_job();
    world.asks();
    for view in [elsewhere(), WorkspaceView::Missing] {
        world.workspace = view;
        world.settles();
        world.passes(Duration::from_hours(1));
        assert!(matches!(world.rests(), Rest::Wait(Some(_))));
    }
}

#[test]
fn the_run_goes_on_when_the_workspace_is_back() {
    let mut world = World::live(7);
    world.polls(run(7).is("RUNNING"));
    world.settles();
    for (view, reason) in [(WorkspaceView::Missing, Reason::WorkspaceNotFound), (elsewhere(), Reason::WorkspaceChanged)]
    {
        world.workspace = view;
        world.settles();
        assert_eq!(world.reason(), reason.as_str());
    }
    world.workspace = WorkspaceView::Ready { pin: pin() };
    world.reading = None;
    world.settles();
    assert_eq!((world.state(), world.reason()), ("Running", Reason::Running.as_str()));
}

#[test]
fn a_workspace_that_is_not_well_does_not_stop_a_run_from_being_followed() {
    let mut world = World::live(7);
    let message = "the token is refused".to_owned();
    world.workspace = WorkspaceView::NotReady { pin: pin(), reason: Reason::Unauthorized, message };
    world.ends(run(7).ended("TERMINATED", "SUCCESS"));
    world.settles();
    assert_eq!(world.state(), "Succeeded");
}

#[test]
fn a_start_that_was_never_sent_waits_for_a_workspace_that_is_well() {
    for view in [
        WorkspaceView::NotReady { pin: pin(), reason: Reason::CredentialsNotFound, message: "no Secret".into() },
        WorkspaceView::Retained { pin: pin() },
    ] {
        let mut world = World::of_a_job();
        world.asks();
        world.workspace = view;
        assert!(world.settles().is_some());
        world.workspace = WorkspaceView::Ready { pin: pin() };
        assert!(matches!(world.asks(), Effect::Submit { .. }));
    }
}

#[test]
fn a_start_in_doubt_is_resolved_even_with_retained_credentials_and_while_the_workspace_is_not_well() {
    let unwell = WorkspaceView::NotReady { pin: pin(), reason: Reason::Unreachable, message: "503".into() };
    for workspace in [WorkspaceView::Retained { pin: pin() }, unwell] {
        let mut world = World::of_a_job();
        world.submits(Err(no_answer()));
        world.workspace = workspace;
        world.settles();
        world.passes(Duration::from_secs(10));
        assert!(matches!(world.asks(), Effect::Submit { .. }), "{:?}", world.workspace);
    }
}

#[test]
fn what_the_run_was_doing_is_said_again_when_the_workspace_is_back() {
    for (life, told) in
        [("QUEUED", "run 7 is queued"), ("RUNNING", "run 7 is running"), ("PENDING", "run 7 is pending")]
    {
        let mut world = World::live(7);
        world.polls(run(7).is(life));
        world.settles();
        world.workspace = elsewhere();
        world.settles();
        assert_eq!(world.reason(), Reason::WorkspaceChanged.as_str());
        (world.workspace, world.reading) = (WorkspaceView::Ready { pin: pin() }, None);
        world.settles();
        assert_eq!(world.message(), told);
        assert_eq!(world.reason().to_uppercase(), life);
    }
}

#[test]
fn a_deletion_does_not_cancel_at_another_host_and_warns_with_the_run_id() {
    let mut world = World::live(7);
    world.workspace = elsewhere();
    world.settles();
    world.is_deleted();
    while let Rest::Wait(wait) = world.rests() {
        world.passes(wait.unwrap());
    }
    world.vanishes();
    let last = world.events.last().unwrap();
    assert_eq!(last.reason, EventReason::RunOrphaned);
    assert!(last.note.contains("run 7"), "{last:?}");
    assert!(world.clock.mono >= crate::lifecycle::fixtures::now(1000).mono + DELETION);
}

fn not_allowed() -> WorkspaceView {
    WorkspaceView::NotAllowed { pin: pin(), message: "namespace `ns` is not admitted; have it added".into() }
}

#[test]
fn a_namespace_that_is_not_admitted_starts_nothing_and_is_told_the_remedy() {
    let mut world = World::of_a_job();
    world.workspace = not_allowed();
    assert!(world.settles().is_some());
    assert_eq!(world.reason(), Reason::WorkspaceNotAllowed.as_str());
    assert!(world.message().contains("have it added"), "{}", world.message());
    assert_eq!(world.told(), [EventReason::RunWaiting]);
    world.workspace = WorkspaceView::Ready { pin: pin() };
    assert!(matches!(world.asks(), Effect::Submit { .. }));
}

#[test]
fn a_start_that_was_never_sent_is_not_sent_once_its_namespace_is_not_admitted_any_more() {
    let mut world = World::of_a_job();
    world.asks();
    world.workspace = not_allowed();
    assert!(world.settles().is_some());
    assert_eq!(world.reason(), Reason::WorkspaceNotAllowed.as_str());
}

#[test]
fn a_start_in_doubt_is_resolved_although_its_namespace_is_not_admitted_any_more() {
    let mut world = World::of_a_job();
    world.submits(Err(no_answer()));
    world.workspace = not_allowed();
    world.settles();
    world.passes(Duration::from_secs(10));
    assert!(matches!(world.asks(), Effect::Submit { .. }), "it may be going on, and this is how it is found");
}

#[test]
fn a_run_under_way_is_followed_and_canceled_although_its_namespace_is_not_admitted_any_more() {
    let mut world = World::live(7);
    world.workspace = not_allowed();
    world.polls(run(7).is("RUNNING"));
    world.settles();
    assert_eq!(world.state(), "Running");
    world.edits(|spec| spec.cancel = true);
    assert!(matches!(world.asks(), Effect::Cancel { .. }));
}

#[test]
fn nothing_is_repaired_where_the_namespace_is_not_admitted() {
    let mut world = World::live(7);
    world.ends(run(7).ended("TERMINATED", "FAILED"));
    world.settles();
    world.workspace = not_allowed();
    world.repair = Some("again".to_owned());
    world.settles();
    let last = world.events.last().unwrap();
    assert_eq!(last.reason, EventReason::RepairRefused);
    assert!(last.note.contains("have it added"), "{last:?}");
}
