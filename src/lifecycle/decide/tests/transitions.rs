//! The transition table, cell by cell: a world is brought to each stage, each command is given, and what happens is what
//! the cell says.

use std::time::Duration;

use serde_json::json;

use crate::api::run_control::OnSpecChange;
use crate::api::status::CancelCause;
use crate::lifecycle::WorkspaceView;
use crate::lifecycle::control::{Command, Reaction, Stage, reaction};
use crate::lifecycle::fixtures::{pin, run};
use crate::lifecycle::step::{Effect, EventReason, Step};
use crate::lifecycle::world::{Rest, World, no_answer};

/// A world at a stage; its run, where it has one, is run 7.
fn at(stage: Stage) -> World {
    let mut world = match stage {
        Stage::None => World::of_a_job(),
        Stage::Held => {
            let mut world = World::of_a_job();
            world.workspace = WorkspaceView::Missing;
            world.settles();
            world
        }
        Stage::IntentOpen => {
            let mut world = World::of_a_job();
            world.submits(Err(no_answer()));
            world
        }
        Stage::Live => World::live(7),
        Stage::Canceling => {
            let mut world = World::live(7);
            world.edits(|spec| spec.on_spec_change = OnSpecChange::Replace);
            world.asks_for_day("2");
            world.cancels(Ok(()));
            world
        }
        Stage::Backoff => {
            let mut world = World::live(7);
            world.edits(|spec| spec.backoff_limit = Some(2));
            world.fails_with(7, "CLOUD_FAILURE");
            world
        }
        Stage::Terminal => {
            let mut world = World::live(7);
            world.fails_with(7, "RUN_EXECUTION_ERROR");
            world
        }
    };
    assert_eq!(Stage::of(&world.status), stage, "{:?}", world.status);
    world.polls_if_run(stage);
    world
}

impl World {
    fn polls_if_run(&mut self, stage: Stage) {
        if matches!(stage, Stage::Live | Stage::Canceling) {
            self.polls(run(7).is("RUNNING"));
        }
    }
}

fn give(world: &mut World, command: Command) {
    match command {
        Command::Delete => world.is_deleted(),
        Command::Cancel => world.edits(|spec| spec.cancel = true),
        Command::Suspend => world.edits(|spec| spec.suspend = true),
        Command::Rerun => world.rerun = Some("again".to_owned()),
        Command::Edit => world.asks_for_day("3"),
    }
}

fn cause(command: Command) -> CancelCause {
    match command {
        Command::Delete => CancelCause::Deletion,
        Command::Cancel => CancelCause::Cancellation,
        Command::Suspend => CancelCause::Suspension,
        Command::Rerun | Command::Edit => CancelCause::Replacement,
    }
}

/// The run of the open request is found by the same request, then cancelled.
fn is_found_then_cancelled(world: &mut World, command: Command) {
    world.passes(Duration::from_secs(10));
    world.starts(7);
    assert_eq!(world.status.serial, Some(1), "the same request");
    is_cancelled(world, command);
}

fn is_cancelled(world: &mut World, command: Command) {
    world.cancels(Ok(()));
    assert_eq!(world.status.cancel.as_ref().map(|cancel| cancel.cause), Some(cause(command)));
}

/// What becomes of the request once its run has ended as cancelled.
fn ends_as(mut world: World, command: Command) {
    world.ends_canceled(7);
    match command {
        Command::Delete => world.vanishes(),
        Command::Cancel => assert_eq!((world.state(), world.reason()), ("Canceled", "RunCanceled")),
        Command::Suspend => assert_eq!((world.state(), world.reason()), ("Suspended", "Suspended")),
        Command::Rerun | Command::Edit => begins(world, 2),
    }
}

fn begins(mut world: World, serial: i64) {
    world.workspace = WorkspaceView::Ready { pin: pin() };
    let effect = world.asks();
    assert!(matches!(effect, Effect::Submit { serial: of, .. } if of == serial), "{effect:?}");
}

fn check(command: Command, stage: Stage) {
    let mut world = at(stage);
    let before = world.status.clone();
    give(&mut world, command);
    match reaction(command, stage) {
        Reaction::Nothing => {
            world.settles();
            assert_eq!((world.status.state, world.status.completion_time), (before.state, before.completion_time));
        }
        Reaction::Begin => begins(world, before.serial.unwrap_or(0) + 1),
        Reaction::Hold => {
            world.settles();
            assert_eq!((world.state(), world.reason()), ("Suspended", "Suspended"));
            assert!(!world.held, "what is suspended needs no operator");
        }
        Reaction::End => {
            world.settles();
            assert!(world.status.completion_time.is_some() && world.status.backoff.is_none());
            // Of a run that has failed, nothing else can be said.
            assert_eq!(world.state(), if stage == Stage::Backoff { "Failed" } else { "Canceled" });
        }
        Reaction::Close => {
            is_found_then_cancelled(&mut world, command);
            ends_as(world, command);
        }
        Reaction::Cancel => {
            is_cancelled(&mut world, command);
            ends_as(world, command);
        }
        Reaction::BySpecChange => {
            for change in [OnSpecChange::Wait, OnSpecChange::Replace] {
                let mut world = at(stage);
                world.edits(|spec| spec.on_spec_change = change);
                give(&mut world, command);
                match (change, stage) {
                    (OnSpecChange::Replace, Stage::IntentOpen) => is_found_then_cancelled(&mut world, command),
                    (OnSpecChange::Replace, _) => is_cancelled(&mut world, command),
                    (OnSpecChange::Wait, Stage::IntentOpen) => {
                        world.passes(Duration::from_secs(10));
                        world.starts(7);
                        world.settles();
                    }
                    (OnSpecChange::Wait, _) => drop(world.settles()),
                }
                assert_eq!(world.status.cancel.is_some(), change == OnSpecChange::Replace);
                ends_as(world, command);
            }
        }
        Reaction::AtTheEnd => {
            assert!(matches!(world.rests(), Rest::Wait(Some(_))), "it was told to stop a moment ago");
            ends_as(world, command);
        }
        Reaction::Release => {
            if world.held {
                if stage == Stage::Backoff {
                    world.polls(run(7).ended("INTERNAL_ERROR", "FAILED"));
                }
                world.vanishes();
            } else {
                assert_eq!(world.decides(), Step::Wait(None));
            }
        }
    }
}

#[test]
fn every_cell_of_the_table_holds() {
    for command in Command::ALL {
        for stage in Stage::ALL {
            eprintln!("{command:?} at {stage:?}");
            check(command, stage);
        }
    }
}

#[test]
fn what_was_surely_not_sent_is_closed_by_each_command_and_nothing_is_sent() {
    for command in [Command::Cancel, Command::Suspend, Command::Edit] {
        let mut world = World::of_a_job();
        world.edits(|spec| spec.on_spec_change = OnSpecChange::Replace);
        assert!(matches!(world.asks(), Effect::Submit { serial: 1, .. }));
        give(&mut world, command);
        match command {
            Command::Edit => {
                let Effect::Submit { serial, body, .. } = world.asks() else { panic!() };
                assert_eq!((serial, body.as_str()), (2, r#"{"job_id":5,"job_parameters":{"day":"3"}}"#));
                assert!(!world.told().contains(&EventReason::Suspended), "nobody asked for that");
            }
            Command::Cancel => {
                world.settles();
                assert_eq!((world.state(), world.status.run_id.as_ref()), ("Canceled", None));
                assert!(world.message().contains("nothing was sent"), "{}", world.message());
            }
            _ => {
                let before = world.writes;
                world.settles();
                assert_eq!((world.state(), world.status.intent.as_ref()), ("Suspended", None));
                assert_eq!(world.writes - before, 2, "the start is closed as suspended, and the object let go of");
            }
        }
    }
}

#[test]
fn the_stronger_command_counts() {
    let mut world = World::live(7);
    world.edits(|spec| {
        spec.on_spec_change = OnSpecChange::Replace;
        spec.run_now.as_mut().unwrap().0.insert("job_parameters".to_owned(), json!({"day": "2"}));
    });
    let mut seen = Vec::new();
    for command in [Command::Edit, Command::Suspend, Command::Cancel] {
        give(&mut world, command);
        world.rests();
        seen.push(world.status.cancel.as_ref().unwrap().cause);
    }
    assert_eq!(seen, [CancelCause::Replacement, CancelCause::Suspension, CancelCause::Cancellation]);
    world.edits(|spec| spec.cancel = false);
    world.rests();
    assert_eq!(world.status.cancel.as_ref().unwrap().cause, CancelCause::Cancellation, "what is written stays");
}
