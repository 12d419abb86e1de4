//! The two deadlines: what they count, and that no clock brings one about before its time.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::jiff::Timestamp;

use crate::api::status::CancelCause;
use crate::databricks::model::Run;
use crate::lifecycle::fixtures::{run, task, terminated_with};
use crate::lifecycle::step::{Effect, FreshRun, Outcome};
use crate::lifecycle::world::{Rest, World, no_answer, not_connected};
use crate::lifecycle::{Reading, WorkspaceView};

fn with_starting_deadline(seconds: i64) -> World {
    let mut world = World::live(7);
    world.edits(|spec| spec.starting_deadline_seconds = Some(seconds));
    world
}

/// The run as it would be read now; it was started when the world began.
fn pending(world: &World) -> Run {
    let mut run = run(7).is("RUNNING").with([task("main", 71).is("PENDING")]);
    run.start_time = started(world).as_millisecond();
    run
}

fn started(world: &World) -> Timestamp {
    world.clock.wall - world.clock.mono.checked_sub(Duration::from_secs(1000)).unwrap()
}

/// The poller reads this, at Databricks' time `ahead` of ours.
fn polls_at(world: &mut World, run: Run, ahead: i64) {
    let server_time = Timestamp::from_millisecond(world.clock.wall.as_millisecond() + ahead * 1000).ok();
    world.reading =
        Some(Reading { run: Some(Arc::new(run)), read_at: world.clock.mono, server_time, ..Reading::default() });
}

#[test]
fn a_run_that_does_not_execute_in_time_is_cancelled_and_has_timed_out() {
    let mut world = with_starting_deadline(600);
    world.passes(Duration::from_secs(602));
    let read = pending(&world);
    world.polls(read.clone());
    world.reads_run(read);
    world.cancels(Ok(()));
    assert_eq!(world.status.cancel.as_ref().unwrap().cause, CancelCause::StartingDeadline);
    world.ends_canceled(7);
    assert_eq!((world.state(), world.reason()), ("TimedOut", "StartingDeadlineExceeded"));
    assert!(world.message().contains("spec.startingDeadlineSeconds"), "{}", world.message());
}

#[test]
fn a_run_that_began_to_execute_just_before_is_left_alone() {
    let mut world = with_starting_deadline(600);
    world.passes(Duration::from_secs(602));
    let read = pending(&world);
    world.polls(read);
    world.reads_run(run(7).is("RUNNING").with([task("main", 71).is("RUNNING")]));
    assert!(matches!(world.rests(), Rest::Wait(_)));
    assert!(world.status.cancel.is_none());
}

#[test]
fn once_a_task_has_executed_the_starting_deadline_is_met_for_good() {
    let mut world = with_starting_deadline(600);
    world.edits(|spec| spec.backoff_limit = Some(1));
    world.polls(run(7).is("RUNNING").with([task("main", 71).is("RUNNING")]));
    world.settles();
    assert!(world.status.execution_start_time.is_some());
    world.passes(Duration::from_hours(2));
    world.fails_with(7, "CLOUD_FAILURE");
    assert_eq!(world.state(), "Retrying");
}

#[test]
fn a_request_that_waits_for_its_workspace_ends_at_the_deadline_and_nothing_was_sent() {
    let mut world = World::of_a_job();
    world.edits(|spec| spec.starting_deadline_seconds = Some(60));
    world.workspace = WorkspaceView::Missing;
    let wait = world.settles().unwrap();
    assert!(wait <= Duration::from_secs(61), "{wait:?}");
    world.passes(Duration::from_secs(62));
    world.settles();
    assert_eq!((world.state(), world.reason()), ("TimedOut", "StartingDeadlineExceeded"));
    assert_eq!(world.status.serial, None);
    assert!(world.message().contains("nothing was sent"), "{}", world.message());
}

#[test]
fn a_start_that_never_reached_databricks_ends_at_the_deadline_and_nothing_is_sent() {
    let mut world = World::of_a_job();
    world.edits(|spec| spec.starting_deadline_seconds = Some(600));
    world.submits(Err(not_connected()));
    world.settles();
    world.passes(Duration::from_secs(601));
    assert_eq!(world.settles(), None);
    assert_eq!((world.state(), world.reason()), ("TimedOut", "StartingDeadlineExceeded"));
    assert!(world.status.intent.is_none() && world.status.run_id.is_none());
}

#[test]
fn a_start_in_doubt_at_the_deadline_is_found_first_then_cancelled() {
    let mut world = World::of_a_job();
    world.edits(|spec| spec.starting_deadline_seconds = Some(60));
    world.submits(Err(no_answer()));
    world.passes(Duration::from_secs(62));
    world.starts(7);
    assert_eq!(world.status.cancel.as_ref().unwrap().cause, CancelCause::StartingDeadline, "written before the answer");
    world.cancels(Ok(()));
    world.ends_canceled(7);
    assert_eq!(world.reason(), "StartingDeadlineExceeded");
}

#[test]
fn the_active_deadline_counts_from_the_first_start_and_cancels() {
    let mut world = World::live(7);
    world.edits(|spec| spec.active_deadline_seconds = Some(600));
    world.passes(Duration::from_secs(602));
    world.polls(run(7).is("RUNNING"));
    world.cancels(Ok(()));
    world.ends_canceled(7);
    assert_eq!((world.state(), world.reason()), ("TimedOut", "DeadlineExceeded"));
}

#[test]
fn the_active_deadline_passes_in_the_wait_for_an_attempt() {
    let mut world = World::live(7);
    world.edits(|spec| (spec.active_deadline_seconds, spec.backoff_limit) = (Some(5), Some(3)));
    world.fails_with(7, "CLOUD_FAILURE");
    let wait = world.settles().unwrap();
    assert!(wait <= Duration::from_secs(6), "{wait:?}");
    world.passes(Duration::from_secs(7));
    world.settles();
    assert_eq!((world.state(), world.reason()), ("TimedOut", "DeadlineExceeded"));
    assert_eq!(world.status.serial, Some(1));
}

#[test]
fn the_starting_deadline_passes_in_the_wait_for_an_attempt() {
    let mut world = with_starting_deadline(5);
    world.edits(|spec| spec.backoff_limit = Some(3));
    let mut failed = run(7).ended("INTERNAL_ERROR", "FAILED").with([task("never-begun", 71).is("BLOCKED")]);
    failed.status = Some(terminated_with("CLOUD_FAILURE"));
    world.ends(failed);
    world.settles();
    assert_eq!(world.state(), "Retrying");
    world.passes(Duration::from_secs(7));
    world.settles();
    assert_eq!((world.state(), world.reason()), ("TimedOut", "StartingDeadlineExceeded"));
    assert!(world.message().contains("no further attempt is made"), "{}", world.message());
}

#[test]
fn a_run_that_succeeded_before_the_cancellation_reached_it_has_succeeded() {
    let mut world = World::live(7);
    world.edits(|spec| spec.active_deadline_seconds = Some(5));
    world.passes(Duration::from_secs(10));
    world.polls(run(7).is("RUNNING"));
    world.cancels(Ok(()));
    world.ends(run(7).ended("TERMINATED", "SUCCESS"));
    assert_eq!(world.state(), "Succeeded");
}

#[test]
fn a_deadline_that_passed_unseen_is_honoured_at_once_after_a_restart() {
    let mut world = with_starting_deadline(600);
    world.passes(Duration::from_hours(3));
    let read = pending(&world);
    world.crashes();
    assert!(matches!(world.rests(), Rest::Wait(_)), "nothing is cancelled before the run is read");
    world.polls(read.clone());
    world.reads_run(read);
    world.cancels(Ok(()));
}

#[test]
fn a_deadline_that_databricks_clock_has_not_reached_is_asked_about_again_a_second_later() {
    let mut world = with_starting_deadline(600);
    // Ours has reached it. That of the answer, which is cut to whole seconds, has not.
    world.passes(Duration::from_millis(601_200));
    let read = pending(&world);
    let answered = |world: &mut World, seconds: u64| {
        let effect = world.asks();
        assert!(matches!(effect, Effect::ReadRun { .. }), "{effect:?}");
        let server_time = Some(started(world) + Duration::from_secs(seconds));
        world.answers(&effect, Outcome::Read(Ok(FreshRun { run: Arc::new(read.clone()), server_time })));
    };
    world.polls(read.clone());
    answered(&mut world, 600);
    let wait = world.settles().unwrap();
    assert_eq!(
        (wait, world.status.cancel.as_ref()),
        (Duration::from_secs(1), None),
        "not at once, or it would go on so"
    );
    world.passes(wait);
    // That answer is from before the deadline: whether a task executes by now is another question.
    answered(&mut world, 602);
    world.cancels(Ok(()));
}

#[test]
fn no_clock_brings_a_deadline_about_before_its_time() {
    // Databricks' clock is two hours ahead, but so it was when the run started.
    let mut world = with_starting_deadline(600);
    world.passes(Duration::from_mins(1));
    let mut read = pending(&world);
    read.start_time += 7_200_000;
    polls_at(&mut world, read, 7_200);
    assert!(matches!(world.rests(), Rest::Wait(_)));
    // Our wall clock jumps a day ahead: Databricks' own says that a minute has passed.
    let theirs = pending(&world);
    let server_time = Some(world.clock.wall);
    world.clock.wall += Duration::from_hours(24);
    world.reading =
        Some(Reading { run: Some(Arc::new(theirs)), read_at: world.clock.mono, server_time, ..Reading::default() });
    assert!(matches!(world.rests(), Rest::Wait(_)));
    assert!(world.status.cancel.is_none());
}

#[test]
fn a_wait_ends_at_the_deadline() {
    let mut world = with_starting_deadline(100);
    world.passes(Duration::from_mins(1));
    let read = pending(&world);
    let server_time = world.clock.wall;
    polls_at(&mut world, read, 0);
    let wait = world.settles().unwrap();
    assert!(wait <= Duration::from_secs(42), "{wait:?} at {server_time}");
}

#[test]
fn a_reading_beside_the_schedule_that_fails_is_repeated_and_cancels_nothing() {
    let mut world = with_starting_deadline(600);
    world.passes(Duration::from_secs(602));
    let read = pending(&world);
    world.polls(read.clone());
    let effect = world.asks();
    assert!(matches!(effect, Effect::ReadRun { .. }), "{effect:?}");
    world.answers(&effect, Outcome::Read(Err(crate::lifecycle::world::unavailable())));
    let wait = world.settles().unwrap();
    assert!(world.status.cancel.is_none());
    world.passes(wait);
    let effect = world.asks();
    world.answers(&effect, Outcome::Read(Ok(FreshRun { run: Arc::new(read), server_time: None })));
    world.cancels(Ok(()));
}
