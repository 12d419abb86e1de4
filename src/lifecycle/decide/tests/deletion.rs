//! A deleted object leaves no run billing that can be stopped, and is never held for ever.

use std::time::Duration;

use crate::api::status::CancelCause;
use crate::databricks::error::{CredentialsError, Error};
use crate::databricks::ids::RunId;
use crate::lifecycle::WorkspaceView;
use crate::lifecycle::fixtures::{pin, run};
use crate::lifecycle::step::{Effect, EventReason, MetadataChange, Severity, Step};
use crate::lifecycle::world::{DELETION, POST, Rest, WAITED_OUT, World, no_answer, not_found, refused, unavailable};

/// Plays on, with this answer to every cancellation, until the object is gone; tells how many there were.
fn cancelled_until_gone(world: &mut World, answer: &Result<(), Error>) -> u32 {
    for cancellations in 0.. {
        loop {
            match world.rests() {
                Rest::Gone => return cancellations,
                Rest::Wait(wait) => world.passes(wait.expect("a deletion waits for no event alone")),
                Rest::Remote(effect) => {
                    assert!(matches!(effect, Effect::Cancel { .. }), "{effect:?}");
                    break;
                }
            }
        }
        world.cancels(answer.clone());
    }
    unreachable!()
}

fn secret_is_gone() -> Error {
    Error::Credentials(CredentialsError::NotFound("Secret `db` is not there".into()))
}

#[test]
fn what_is_not_held_needs_nothing() {
    let mut world = World::of_a_job();
    world.is_deleted();
    assert_eq!(world.decides(), Step::Wait(None));
}

#[test]
fn an_object_that_has_started_nothing_is_released() {
    let mut world = World::of_a_job();
    let hold = world.decides();
    world.write(hold);
    world.is_deleted();
    world.vanishes();
    assert_eq!(world.told(), []);
}

#[test]
fn a_live_run_is_cancelled_and_its_end_awaited() {
    let mut world = World::live(7);
    world.is_deleted();
    world.cancels(Ok(()));
    assert_eq!(world.status.cancel.as_ref().unwrap().cause, CancelCause::Deletion, "the cause is written first");
    assert!(matches!(world.rests(), Rest::Wait(Some(_))));
    world.polls(run(7).ended("TERMINATED", "CANCELED"));
    world.vanishes();
    assert_eq!(world.state(), "Canceled");
    assert_eq!(world.told(), [EventReason::RunSubmitted, EventReason::RunCanceling, EventReason::RunCanceled]);
}

#[test]
fn the_cause_is_written_before_the_first_cancellation() {
    let mut world = World::live(7);
    world.is_deleted();
    let Step::Record(change) = world.decides() else { panic!() };
    assert!(change.status.cancel.is_some());
}

#[test]
fn a_run_that_succeeded_first_has_succeeded() {
    let mut world = World::live(7);
    world.is_deleted();
    world.cancels(Ok(()));
    world.polls(run(7).ended("TERMINATED", "SUCCESS"));
    world.vanishes();
    assert_eq!(world.state(), "Succeeded");
}

#[test]
fn a_cancellation_is_repeated_every_thirty_seconds() {
    let mut world = World::live(7);
    world.is_deleted();
    world.cancels(Ok(()));
    assert_eq!(world.settles(), Some(Duration::from_secs(30)));
    world.passes(Duration::from_secs(30));
    world.cancels(Ok(()));
}

#[test]
fn where_the_deadline_is_short_cancellations_are_repeated_sooner() {
    let mut world = World::live(7);
    world.settings.deletion_deadline = Duration::from_secs(40);
    world.is_deleted();
    world.cancels(Ok(()));
    assert_eq!(world.settles(), Some(Duration::from_secs(5)));
}

#[test]
fn after_the_deadline_and_three_attempts_the_object_goes_with_a_warning_that_names_the_run() {
    for answer in [Ok(()), Err(unavailable()), Err(not_found()), Err(secret_is_gone())] {
        let mut world = World::live(7);
        let before = world.clock.mono;
        world.is_deleted();
        assert!(cancelled_until_gone(&mut world, &answer) >= 3);
        assert!(world.clock.mono.saturating_sub(before) >= DELETION);
        let last = world.events.last().unwrap();
        assert_eq!((last.reason, last.severity), (EventReason::RunOrphaned, Severity::Warning));
        assert!(last.note.contains("run 7"), "{last:?}");
    }
}

#[test]
fn a_deletion_that_is_found_old_still_gets_three_attempts_over_a_minute() {
    let mut world = World::live(7);
    world.is_deleted();
    world.passes(Duration::from_hours(5));
    world.crashes();
    let before = world.clock.mono;
    assert!(cancelled_until_gone(&mut world, &Err(unavailable())) >= 3);
    assert!(world.clock.mono.saturating_sub(before) >= Duration::from_mins(1));
}

#[test]
fn a_clock_behind_the_api_server_s_does_not_hold_the_object_longer() {
    let mut world = World::live(7);
    world.is_deleted();
    world.deletion = world.deletion.map(|deleted| deleted + Duration::from_hours(1));
    let before = world.clock.mono;
    cancelled_until_gone(&mut world, &Err(unavailable()));
    assert!(world.clock.mono.saturating_sub(before) <= DELETION + Duration::from_secs(30));
}

#[test]
fn our_own_rate_limit_counts_as_no_attempt() {
    let mut world = World::live(7);
    world.is_deleted();
    world.cancels(Err(Error::NotNow(Duration::from_secs(2))));
    assert_eq!(world.memory.cancel.as_ref().unwrap().attempts, 0);
    assert_eq!(world.settles(), Some(Duration::from_secs(2)));
}

#[test]
fn a_superfluous_run_does_not_take_the_attempts_of_the_object_s_own() {
    let mut world = World::of_a_job();
    world.starts(7);
    world.status.intent = None;
    world.status.run_id = Some("8".to_owned());
    world.is_deleted();
    let mut attempts = 0;
    for _ in 0..200 {
        match world.rests() {
            Rest::Remote(Effect::Cancel { run: RunId(id), .. }) => {
                attempts += i32::from(id == 8);
                world.cancels(Err(unavailable()));
            }
            Rest::Wait(wait) => world.passes(wait.unwrap()),
            Rest::Gone => {
                assert!(attempts >= 3);
                assert!(attempts < 15, "{attempts} in four minutes");
                return;
            }
            other @ Rest::Remote(_) => panic!("{other:?}"),
        }
    }
    panic!("the object is held for ever");
}

#[test]
fn with_the_policy_orphan_a_live_run_goes_on_and_an_event_says_so() {
    let mut world = World::live(7).orphans();
    world.is_deleted();
    world.vanishes();
    let last = world.events.last().unwrap();
    assert_eq!((last.reason, last.severity), (EventReason::RunOrphaned, Severity::Normal));
    assert!(last.note.contains("run 7"));
}

#[test]
fn with_the_policy_orphan_an_idle_object_goes_without_a_word() {
    let mut world = World::of_a_job().orphans();
    let hold = world.decides();
    world.write(hold);
    world.is_deleted();
    world.vanishes();
    assert_eq!(world.told(), []);
}

#[test]
fn with_the_policy_orphan_a_start_in_doubt_is_let_go_with_a_warning() {
    let mut world = World::of_a_job().orphans();
    world.submits(Err(no_answer()));
    world.is_deleted();
    world.vanishes();
    assert_eq!(world.events.last().unwrap().severity, Severity::Warning);
}

#[test]
fn with_the_policy_orphan_a_run_that_is_known_but_not_written_is_named() {
    let mut world = World::of_a_job().orphans();
    world.starts(7);
    world.is_deleted();
    world.vanishes();
    assert!(world.events.last().unwrap().note.contains("run 7"), "{:?}", world.events);
}

#[test]
fn a_start_that_was_surely_not_sent_is_closed_and_nothing_is_sent() {
    for policy_orphan in [false, true] {
        let mut world = World::of_a_job();
        world.asks();
        if policy_orphan {
            world = world.orphans();
        }
        world.is_deleted();
        world.vanishes();
        assert_eq!(world.state(), "Canceled");
        assert_eq!(world.told(), [EventReason::RunCanceled]);
    }
}

#[test]
fn a_start_in_doubt_is_resolved_by_its_own_request_then_cancelled() {
    let mut world = World::of_a_job();
    let first = world.submits(Err(no_answer()));
    world.is_deleted();
    world.settles();
    world.passes(Duration::from_secs(10));
    assert_eq!(world.starts(7), first);
    world.cancels(Ok(()));
    world.polls(run(7).ended("TERMINATED", "CANCELED"));
    world.vanishes();
}

#[test]
fn another_s_start_is_taken_over_and_resolved_before_the_object_goes() {
    let mut world = World::of_a_job();
    world.asks();
    world.crashes();
    world.is_deleted();
    assert_eq!(world.settles(), Some(POST * 3));
    world.passes(POST * 3);
    world.settles();
    world.passes(WAITED_OUT);
    world.starts(7);
    world.cancels(Ok(()));
    world.polls(run(7).ended("TERMINATED", "CANCELED"));
    world.vanishes();
}

#[test]
fn a_run_that_became_known_after_the_deadline_is_cancelled_all_the_same() {
    let mut world = World::of_a_job();
    world.submits(Err(no_answer()));
    world.is_deleted();
    world.settles();
    world.passes(DELETION.saturating_sub(Duration::from_secs(1)));
    let effect = world.asks();
    world.passes(Duration::from_mins(1));
    world.answers(&effect, crate::lifecycle::Outcome::Submitted(Ok(Some(RunId(7)))));
    world.cancels(Ok(()));
    assert_eq!(world.status.run_id.as_deref(), Some("7"));
}

#[test]
fn a_refused_start_in_doubt_is_let_go_at_the_deadline_with_a_warning() {
    let mut world = World::of_a_job();
    world.submits(Err(no_answer()));
    let wait = world.settles().unwrap();
    world.passes(wait);
    world.submits(Err(refused()));
    world.is_deleted();
    let before = world.clock.mono;
    loop {
        match world.rests() {
            Rest::Gone => break,
            Rest::Wait(wait) => world.passes(wait.unwrap()),
            Rest::Remote(effect) => world.answers(&effect, crate::lifecycle::Outcome::Runs(Ok(Vec::new()))),
        }
    }
    assert_eq!(world.events.last().unwrap().reason, EventReason::RunOrphaned);
    assert!(world.clock.mono.saturating_sub(before) <= DELETION + Duration::from_mins(1));
}

#[test]
fn without_the_workspace_the_object_goes_at_the_deadline() {
    let mut world = World::live(7);
    world.workspace = WorkspaceView::Missing;
    world.is_deleted();
    let before = world.clock.mono;
    assert_eq!(cancelled_until_gone(&mut world, &Ok(())), 0, "nothing can be sent");
    assert!(world.clock.mono.saturating_sub(before) >= DELETION);
    assert!(world.events.last().unwrap().note.contains("run 7"));
}

#[test]
fn with_retained_credentials_the_run_is_cancelled_although_the_workspace_is_gone() {
    let mut world = World::live(7);
    world.workspace = WorkspaceView::Retained { pin: pin() };
    world.is_deleted();
    world.cancels(Ok(()));
}

#[test]
fn an_object_whose_spec_cannot_be_read_is_cancelled_and_released() {
    let mut world = World::live(7);
    world.spec = Err("spec.submit: invalid type".to_owned());
    world.is_deleted();
    world.cancels(Ok(()));
    world.polls(run(7).ended("TERMINATED", "CANCELED"));
    world.vanishes();
}

#[test]
fn a_run_is_cancelled_even_when_only_another_s_finalizer_holds_the_object() {
    let mut world = World::live(7);
    world.held = false;
    world.is_deleted();
    let record = world.decides();
    world.write(record);
    assert!(matches!(world.decides(), Step::Remote(Effect::Cancel { .. })));
    world.polls(run(7).ended("TERMINATED", "CANCELED"));
    let record = world.decides();
    world.write(record);
    assert_eq!(world.decides(), Step::Wait(None), "there is no finalizer of ours to take off");
}

#[test]
fn a_newer_request_is_not_started_by_a_deleted_object() {
    let mut world = World::live(7);
    world.asks_for_day("2");
    world.is_deleted();
    world.cancels(Ok(()));
    world.polls(run(7).ended("TERMINATED", "CANCELED"));
    world.vanishes();
    assert_eq!(world.state(), "Canceled");
}

#[test]
fn a_finished_object_is_not_held() {
    let mut world = World::live(7);
    world.polls(run(7).ended("TERMINATED", "SUCCESS"));
    let verdict = world.decides();
    world.write(verdict);
    assert!(matches!(world.decides(), Step::Mark(MetadataChange::Release { .. })));
}

#[test]
fn a_run_id_that_nobody_can_read_is_released_with_a_warning() {
    let mut world = World::live(7);
    world.status.run_id = Some("seven".to_owned());
    assert_eq!(world.decides(), Step::Wait(None), "nothing is started beside it");
    world.is_deleted();
    world.vanishes();
    assert_eq!(world.events.last().unwrap().reason, EventReason::RunOrphaned);
}
