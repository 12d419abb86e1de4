//! Objects that were restored or copied run nothing again by themselves.

use crate::api::conditions::Reason;
use crate::api::status::DatabricksRunStatus;
use crate::databricks::ids::RunId;
use crate::lifecycle::WorkspaceView;
use crate::lifecycle::fixtures::{pin, run};
use crate::lifecycle::step::{Effect, EventReason, MetadataChange, Outcome, Step};
use crate::lifecycle::world::{Rest, WAITED_OUT, World, refused};

fn copied() -> World {
    let mut world = World::of_a_job();
    world.start_mark = Some("another-uid/3".to_owned());
    world
}

#[test]
fn another_object_s_mark_without_a_status_starts_nothing() {
    let mut world = copied();
    assert_eq!(world.settles(), None);
    assert_eq!(world.reason(), Reason::Restored.as_str());
    assert!(world.message().contains("rerun-requested-at"), "{}", world.message());
    assert_eq!(world.told(), [EventReason::Restored]);
    world.crashes();
    assert_eq!(world.settles(), None);
}

#[test]
fn an_edit_does_not_start_it_either() {
    let mut world = copied();
    world.settles();
    world.asks_for_day("2");
    assert_eq!(world.settles(), None);
    assert_eq!(world.reason(), Reason::Restored.as_str());
    assert_eq!(world.status.observed_generation, Some(2));
    assert_eq!(world.told(), [EventReason::Restored], "told once");
}

#[test]
fn the_annotation_that_came_with_it_is_not_its_remedy_but_a_new_one_is() {
    let mut world = copied();
    world.rerun = Some("old".to_owned());
    assert_eq!(world.settles(), None);
    world.rerun = Some("new".to_owned());
    assert!(matches!(world.starts(7), Effect::Submit { serial: 1, .. }));
    assert_eq!(world.start_mark.as_deref(), Some("6f1c2a9e/1"));
    world.ends(run(7).ended("TERMINATED", "SUCCESS"));
    assert_eq!(world.settles(), None);
    assert_eq!(world.state(), "Succeeded");
}

#[test]
fn the_remedy_survives_a_crash_between_any_two_writes() {
    let mut world = copied();
    world.settles();
    world.rerun = Some("new".to_owned());
    let mark = world.decides();
    world.write(mark);
    world.crashes();
    // Who finds a mark that it did not write cannot know that nothing was sent under it.
    assert_eq!(world.settles(), Some(WAITED_OUT));
    world.passes(WAITED_OUT);
    assert!(matches!(world.asks(), Effect::Submit { .. }));
}

#[test]
fn the_remedy_waits_for_the_workspace_like_any_start() {
    let mut world = copied();
    world.settles();
    let ready = std::mem::replace(&mut world.workspace, crate::lifecycle::WorkspaceView::Missing);
    world.rerun = Some("new".to_owned());
    assert!(world.settles().is_some());
    assert_eq!(world.reason(), Reason::WorkspaceNotFound.as_str());
    world.workspace = ready;
    assert!(matches!(world.asks(), Effect::Submit { .. }));
}

#[test]
fn a_restored_object_can_be_deleted() {
    let mut world = copied();
    world.settles();
    world.is_deleted();
    world.vanishes();
}

#[test]
fn a_lost_status_uses_its_serial_again_so_that_the_run_there_is_is_returned() {
    let mut world = World::of_a_job();
    let sent = world.starts(7);
    world.settles();
    world.status = DatabricksRunStatus::default();
    world.crashes();
    assert_eq!(world.settles(), Some(WAITED_OUT), "a request of the same token may be on its way");
    world.passes(WAITED_OUT);
    assert_eq!(world.starts(7), sent);
    world.settles();
    assert_eq!(world.status.run_id.as_deref(), Some("7"));
}

#[test]
fn after_a_lost_status_a_refusal_does_not_mean_that_there_is_no_run() {
    let mut world = World::of_a_job();
    world.starts(7);
    world.settles();
    world.status = DatabricksRunStatus::default();
    assert_eq!(world.settles(), Some(WAITED_OUT), "a request of the same token may be on its way");
    world.passes(WAITED_OUT);
    world.submits(Err(refused()));
    world.rests();
    assert_eq!(world.reason(), Reason::SubmitUnresolved.as_str());
}

#[test]
fn after_a_lost_status_whoever_held_the_start_meanwhile_is_waited_out() {
    let mut world = World::of_a_job();
    world.submits(Err(crate::lifecycle::world::no_answer()));
    // Another process took it over, and before this one saw that, somebody wiped the status.
    world.status = DatabricksRunStatus::default();
    world.passes(std::time::Duration::from_secs(20));
    assert_eq!(world.settles(), Some(WAITED_OUT), "its request of the same token may be on its way");
}

#[test]
fn after_a_lost_status_the_answer_of_another_workspace_is_not_this_one_s() {
    let mut world = World::of_a_job();
    let effect = world.asks();
    let elsewhere = crate::api::status::WorkspacePin { host: "https://elsewhere.test".into(), ..pin() };
    // The answer came, and before it was written the status was wiped and the workspace object made anew.
    world.answers(&effect, Outcome::Submitted(Ok(Some(RunId(7)))));
    world.status = DatabricksRunStatus::default();
    world.workspace = WorkspaceView::Ready { pin: elsewhere.clone() };
    for _ in 0..3 {
        match world.rests() {
            Rest::Remote(Effect::Cancel { pin: of, run }) => assert_eq!((of, run), (pin(), RunId(7))),
            Rest::Remote(Effect::Submit { pin, .. }) => return assert_eq!(pin, elsewhere),
            Rest::Wait(Some(wait)) => world.passes(wait),
            other => panic!("{other:?}: {:?}", world.status),
        }
        assert_eq!(world.status.run_id, None);
        if let Rest::Remote(effect @ Effect::Cancel { .. }) = world.rests() {
            world.answers(&effect, Outcome::Canceled(Ok(())));
        }
    }
    panic!("nothing was sent there: {:?}", world.status);
}

#[test]
fn after_a_lost_status_the_finalizer_comes_first_although_the_mark_is_there() {
    let mut world = World::of_a_job();
    world.starts(7);
    world.ends(run(7).ended("TERMINATED", "SUCCESS"));
    world.settles();
    world.status = DatabricksRunStatus::default();
    assert_eq!(world.decides(), Step::Mark(MetadataChange::Hold { serial: 1 }));
}

#[test]
fn after_a_lost_status_the_serial_goes_on_from_the_mark() {
    let mut world = World::of_a_job();
    for id in 1..=2 {
        world.asks_for_day(&id.to_string());
        world.starts(id);
        world.ends(run(id).ended("TERMINATED", "SUCCESS"));
        world.settles();
    }
    world.status = DatabricksRunStatus::default();
    world.crashes();
    world.settles();
    world.passes(WAITED_OUT);
    assert!(matches!(world.starts(2), Effect::Submit { serial: 2, .. }));
    world.ends(run(2).ended("TERMINATED", "SUCCESS"));
    world.settles();
    world.asks_for_day("3");
    assert!(matches!(world.asks(), Effect::Submit { serial: 3, .. }));
}

#[test]
fn a_status_lost_while_the_answer_was_on_its_way_leads_to_the_same_run() {
    let mut world = World::of_a_job();
    world.starts(7);
    world.status = DatabricksRunStatus::default();
    world.settles();
    assert_eq!(world.status.run_id.as_deref(), Some("7"));
    assert_eq!(world.memory.superfluous, None);
}
