//! Repairs: written ahead, guarded by the run's last repair, and an end that counts only when it is the repaired run's.

use std::time::Duration;

use serde_json::{Value, json};

use crate::api::conditions::Reason;
use crate::api::run::DatabricksRunSpec;
use crate::api::status::CancelCause;
use crate::databricks::ids::{RepairId, RunId};
use crate::databricks::model::{RepairHistoryItem, Run};
use crate::lifecycle::fixtures::{run, task};
use crate::lifecycle::step::{Effect, EventReason, MetadataChange, Outcome, Step};
use crate::lifecycle::world::{Rest, World, no_answer, not_connected, refused, unavailable};

fn failed() -> Run {
    run(7).ended("INTERNAL_ERROR", "FAILED").with([task("load", 1007).failed_with("RUN_EXECUTION_ERROR")])
}

fn succeeded() -> Run {
    run(7).ended("TERMINATED", "SUCCESS").with([task("load", 1008).ended("TERMINATED", "SUCCESS")])
}

fn repaired(mut run: Run, repairs: &[i64]) -> Run {
    let line = |id: &i64| RepairHistoryItem { id: Some(RepairId(*id)), ..RepairHistoryItem::default() };
    run.repair_history = repairs.iter().map(line).collect();
    run
}

/// A run that failed and is about to be repaired, as its policy says: the request to do so.
fn about_to_repair(before: &[i64]) -> (World, Effect) {
    let mut world = World::live(7);
    world.edits(|spec| {
        spec.backoff_limit = Some(2);
        let rules = json!({"rules": [{"action": "Repair", "onTaskKeys": ["load"]}]});
        spec.failure_policy = Some(serde_json::from_value(rules).unwrap());
    });
    world.ends(failed());
    let Rest::Wait(Some(wait)) = world.rests() else { panic!("{:?}", world.status) };
    assert!(world.message().starts_with("what failed is run again at "), "{}", world.message());
    world.passes(wait);
    world.reads_run(repaired(failed(), before));
    let effect = world.asks();
    (world, effect)
}

fn repairs(world: &mut World, effect: &Effect, id: i64) {
    world.answers(effect, Outcome::Repaired(Ok(RepairId(id))));
    // The newest reading is from before: whether this end is the repaired run's is asked at once.
    assert!(matches!(world.rests(), Rest::Remote(Effect::ReadRun { .. })));
}

#[test]
fn a_repair_is_written_ahead_with_the_run_s_last_repair_and_its_parameters() {
    for (before, after) in [(&[][..], None), (&[500, 501], Some(501))] {
        let (world, effect) = about_to_repair(before);
        let Effect::Repair { run, after: sent, body, .. } = &effect else { panic!("{effect:?}") };
        assert_eq!((*run, sent.map(|id| id.0)), (RunId(7), after));
        let body: Value = serde_json::from_str(body).unwrap();
        assert_eq!(body["rerun_all_failed_tasks"], true);
        let written = world.status.repair.as_ref().unwrap();
        assert_eq!(written.after.as_deref(), after.map(|id| id.to_string()).as_deref());
        assert_eq!((world.status.attempt, world.status.retries, world.status.serial), (Some(2), Some(1), Some(1)));
        assert_eq!(world.status.attempts[0].followed_by.as_deref(), Some("Repair"));
    }
}

#[test]
fn the_first_end_is_not_taken_for_the_repaired_run_s() {
    let (mut world, effect) = about_to_repair(&[]);
    repairs(&mut world, &effect, 500);
    world.passes(Duration::from_secs(20));
    // Databricks still shows the end from before, and a history without the repair.
    world.polls(failed());
    world.reads_run(failed());
    assert_eq!(world.rests(), Rest::Wait(Some(Duration::from_secs(10))), "it is asked for again soon");
    assert!(world.status.completion_time.is_none());
    world.passes(Duration::from_secs(20));
    world.polls(succeeded());
    world.reads_run(repaired(succeeded(), &[500]));
    if let Rest::Remote(effect) = world.rests() {
        world.reads(&effect, &[]);
        world.settles();
    }
    assert_eq!((world.state(), world.status.run_id.as_deref()), ("Succeeded", Some("7")));
    assert!(world.status.repair.is_none() && !world.held);
}

#[test]
fn a_lost_answer_is_looked_up_in_the_history_and_nothing_is_repaired_twice() {
    let (mut world, effect) = about_to_repair(&[500]);
    world.answers(&effect, Outcome::Repaired(Err(no_answer())));
    let wait = world.settles().unwrap();
    world.passes(wait);
    world.reads_run(repaired(run(7).is("RUNNING").into(), &[500, 501]));
    world.settles();
    assert_eq!(world.status.repair.as_ref().unwrap().repair_id.as_deref(), Some("501"));
    assert!(world.told().contains(&EventReason::RunRepairing));
}

#[test]
fn a_repair_that_was_broken_off_while_it_was_sent_may_have_been_made() {
    let (mut world, effect) = about_to_repair(&[500]);
    world.begins(&effect);
    assert!(matches!(world.rests(), Rest::Remote(Effect::ReadRun { .. })), "the history tells");
}

#[test]
fn a_lost_answer_that_left_no_trace_is_repeated_with_the_same_guard() {
    let (mut world, effect) = about_to_repair(&[500]);
    world.answers(&effect, Outcome::Repaired(Err(no_answer())));
    let wait = world.settles().unwrap();
    world.passes(wait);
    world.reads_run(repaired(failed(), &[500]));
    assert_eq!(world.asks(), effect);
}

#[test]
fn a_repair_that_databricks_refuses_because_there_was_another_is_that_one() {
    let (mut world, effect) = about_to_repair(&[]);
    world.answers(&effect, Outcome::Repaired(Err(refused())));
    world.reads_run(repaired(run(7).is("RUNNING").into(), &[900]));
    world.settles();
    assert_eq!(world.status.repair.as_ref().unwrap().repair_id.as_deref(), Some("900"), "whoever made it");
}

#[test]
fn a_repair_that_is_refused_for_good_leaves_the_verdict_and_says_why() {
    let (mut world, effect) = about_to_repair(&[]);
    world.answers(&effect, Outcome::Repaired(Err(refused())));
    world.reads_run(failed());
    world.settles();
    assert_eq!((world.state(), world.reason()), ("Failed", "RunFailed"));
    assert!(
        world.message().contains("refuses that") && world.message().contains("bad parameter"),
        "{}",
        world.message()
    );
    assert_eq!(world.status.attempts, [], "the last attempt is the status itself");
}

#[test]
fn after_a_crash_a_repair_that_may_have_been_sent_is_looked_up_first() {
    let (mut world, _) = about_to_repair(&[]);
    world.crashes();
    world.polls(failed());
    world.reads_run(repaired(run(7).is("RUNNING").into(), &[500]));
    world.settles();
    assert_eq!(world.status.repair.as_ref().unwrap().repair_id.as_deref(), Some("500"));
}

#[test]
fn a_repair_that_never_connected_is_simply_sent_again() {
    let (mut world, effect) = about_to_repair(&[]);
    world.answers(&effect, Outcome::Repaired(Err(not_connected())));
    let wait = world.settles().unwrap();
    world.passes(wait);
    assert_eq!(world.asks(), effect);
}

#[test]
fn a_cancellation_closes_a_repair_that_was_not_sent_and_finds_one_that_may_have_been() {
    let (mut world, _) = about_to_repair(&[]);
    world.edits(|spec| spec.cancel = true);
    world.settles();
    assert_eq!((world.state(), world.status.repair.as_ref()), ("Failed", None));

    let (mut world, effect) = about_to_repair(&[]);
    world.answers(&effect, Outcome::Repaired(Err(no_answer())));
    world.edits(|spec| spec.cancel = true);
    let wait = world.settles().unwrap();
    assert_eq!(world.reason(), "Canceling");
    world.passes(wait);
    world.reads_run(repaired(run(7).is("RUNNING").into(), &[500]));
    world.cancels(Ok(()));
    world.polls(run(7).ended("TERMINATED", "CANCELED"));
    world.passes(Duration::from_secs(20));
    world.reads_run(repaired(run(7).ended("TERMINATED", "CANCELED").into(), &[500]));
    world.settles();
    assert_eq!(world.state(), "Canceled");
}

#[test]
fn a_deleted_object_s_repair_in_doubt_is_found_then_cancelled() {
    let (mut world, effect) = about_to_repair(&[]);
    world.answers(&effect, Outcome::Repaired(Err(no_answer())));
    world.is_deleted();
    let Rest::Wait(Some(wait)) = world.rests() else { panic!() };
    world.passes(wait);
    world.reads_run(repaired(run(7).is("RUNNING").into(), &[500]));
    world.polls(run(7).is("RUNNING"));
    world.cancels(Ok(()));
    // The end from before the repair lets nobody go.
    world.passes(Duration::from_secs(11));
    world.polls(failed());
    world.reads_run(failed());
    assert!(!matches!(world.rests(), Rest::Gone));
    world.passes(Duration::from_secs(31));
    world.polls(run(7).ended("TERMINATED", "CANCELED"));
    world.reads_run(repaired(run(7).ended("TERMINATED", "CANCELED").into(), &[500]));
    world.vanishes();
}

#[test]
fn a_deleted_object_s_repair_that_was_not_sent_is_not_sent_any_more() {
    let (mut world, _) = about_to_repair(&[]);
    world.is_deleted();
    world.polls(failed());
    world.vanishes();
}

#[test]
fn with_the_policy_orphan_a_repair_in_doubt_lets_the_object_go_at_once() {
    let (world, effect) = about_to_repair(&[]);
    let mut world = world.orphans();
    world.answers(&effect, Outcome::Repaired(Err(no_answer())));
    world.is_deleted();
    world.vanishes();
    assert!(world.told().contains(&EventReason::RunOrphaned));
}

#[test]
fn a_deleted_object_s_repaired_run_is_cancelled_although_its_history_cannot_be_read() {
    let (mut world, effect) = about_to_repair(&[]);
    repairs(&mut world, &effect, 500);
    world.is_deleted();
    world.passes(Duration::from_secs(20));
    world.polls(failed());
    let read = world.asks();
    assert!(matches!(read, Effect::ReadRun { .. }), "{read:?}");
    world.answers(&read, Outcome::Read(Err(unavailable())));
    world.cancels(Ok(()));
}

#[test]
fn a_person_s_repair_of_a_finished_run_is_honoured_once() {
    let mut world = World::live(7);
    world.ends(failed());
    world.settles();
    world.repair = Some("please".to_owned());
    assert_eq!(world.decides(), Step::Mark(MetadataChange::Hold { serial: 1 }), "a deletion must find the run");
    world.reads_run(failed());
    let effect = world.asks();
    assert!(matches!(effect, Effect::Repair { .. }), "{effect:?}");
    assert_eq!(world.status.last_handled_repair.as_deref(), Some("please"));
    repairs(&mut world, &effect, 500);
    world.passes(Duration::from_secs(20));
    world.polls(failed());
    world.reads_run(repaired(failed(), &[500]));
    if let Rest::Remote(effect @ Effect::FetchOutputs { .. }) = world.rests() {
        world.reads(&effect, &[]);
    }
    assert_eq!(world.settles(), None);
    assert_eq!(world.state(), "Failed");
}

#[test]
fn a_run_that_ended_without_a_result_can_be_repaired_too() {
    let mut world = World::live(7);
    let ended = || run(7).ended("TERMINATED", "");
    world.polls(ended());
    world.settles();
    world.passes(Duration::from_mins(5));
    world.ends(ended());
    world.settles();
    assert_eq!(world.reason(), Reason::ResultMissing.as_str());
    world.repair = Some("please".to_owned());
    world.reads_run(ended());
    let effect = world.asks();
    assert!(matches!(effect, Effect::Repair { .. }), "{effect:?}");
}

#[test]
fn a_success_stays_one_when_its_repair_comes_to_nothing() {
    let mut world = World::live(7);
    world.ends(run(7).ended("TERMINATED", "SUCCESS_WITH_FAILURES"));
    world.settles();
    world.repair = Some("please".to_owned());
    world.reads_run(run(7).ended("TERMINATED", "SUCCESS_WITH_FAILURES"));
    // A person thinks better of it before anything is sent.
    world.edits(|spec| spec.cancel = true);
    world.settles();
    assert_eq!((world.state(), world.reason()), ("Succeeded", Reason::RunSucceededWithFailures.as_str()));
}

#[test]
fn a_person_s_repair_has_the_deadlines_of_a_new_request() {
    let mut world = World::live(7);
    world.edits(|spec| spec.active_deadline_seconds = Some(600));
    world.ends(failed());
    world.settles();
    // The person came back the next day.
    world.passes(Duration::from_hours(20));
    world.repair = Some("please".to_owned());
    world.reads_run(failed());
    let effect = world.asks();
    assert!(matches!(effect, Effect::Repair { .. }), "{effect:?}");
    repairs(&mut world, &effect, 500);
    world.passes(Duration::from_mins(9));
    world.polls(run(7).is("RUNNING"));
    world.settles();
    assert!(world.status.cancel.is_none(), "{:?}", world.status.cancel);
    world.passes(Duration::from_secs(62));
    world.cancels(Ok(()));
    assert_eq!(world.status.cancel.as_ref().unwrap().cause, CancelCause::ActiveDeadline);
}

/// A run that Databricks has lost, while its repair was asked for.
fn vanished() -> World {
    let mut world = World::live(7);
    for _ in 0..3 {
        world.passes(Duration::from_mins(3));
        world.polls_nothing();
        world.settles();
    }
    assert_eq!(world.reason(), Reason::RunNotFound.as_str());
    world
}

#[test]
fn a_repair_asked_for_while_the_run_is_live_is_refused_at_its_end_where_it_cannot_be() {
    let mut one_off = World::of_a_one_off();
    one_off.starts(7);
    one_off.settles();
    let mut suspended = World::live(7);
    suspended.edits(|spec| spec.suspend = true);
    for mut world in [one_off, suspended] {
        world.repair = Some("please".to_owned());
        world.ends(failed());
        assert_eq!(world.settles(), None);
        assert_eq!(world.state(), "Failed");
        assert!(world.told().contains(&EventReason::RepairRefused), "{:?}", world.told());
    }
}

/// The ended run's repair is asked for and refused, once and in these words.
fn refuses(mut world: World, why: &str) {
    world.settles();
    let before = (world.state().to_owned(), world.status.completion_time.clone());
    world.repair = Some("please".to_owned());
    assert_eq!(world.settles(), None);
    assert_eq!((world.state().to_owned(), world.status.completion_time.clone()), before);
    let told = world.events.last().unwrap();
    assert_eq!(told.reason, EventReason::RepairRefused);
    assert!(told.note.contains(why), "{}", told.note);
    assert_eq!(world.status.last_handled_repair.as_deref(), Some("please"));
}

#[test]
fn a_repair_that_cannot_be_is_refused_in_words_and_not_asked_for_again() {
    let mut one_off = World::of_a_one_off();
    one_off.starts(7);
    one_off.ends(failed());
    refuses(one_off, "saved jobs only");
    let mut success = World::live(7);
    success.ends(succeeded());
    refuses(success, "has succeeded");
    refuses(vanished(), "no longer knows the run");
    for change in
        [|spec: &mut DatabricksRunSpec| spec.suspend = true, |spec: &mut DatabricksRunSpec| spec.cancel = true]
    {
        let mut world = World::live(7);
        world.ends(failed());
        world.edits(change);
        refuses(world, "spec.suspend or spec.cancel is true");
    }
}

#[test]
fn a_repair_asked_for_while_the_run_is_live_comes_when_it_has_failed_without_red_in_between() {
    let mut world = World::live(7);
    world.repair = Some("please".to_owned());
    world.settles();
    let before = world.writes;
    world.ends(failed());
    assert_eq!((world.state(), world.writes - before), ("Retrying", 1));
    world.reads_run(failed());
    assert!(matches!(world.asks(), Effect::Repair { .. }));
}

#[test]
fn a_repair_asked_for_while_the_run_is_live_is_refused_when_it_has_succeeded() {
    let mut world = World::live(7);
    world.edits(|spec| spec.active_deadline_seconds = Some(600));
    world.repair = Some("please".to_owned());
    // Nobody looked for an hour.
    world.passes(Duration::from_hours(1));
    world.ends(succeeded());
    assert_eq!(world.settles(), None);
    assert_eq!((world.state(), world.reason()), ("Succeeded", Reason::RunSucceeded.as_str()));
    assert!(world.told().contains(&EventReason::RepairRefused), "{:?}", world.told());
}

#[test]
fn a_repair_asked_for_while_the_run_is_live_has_the_deadlines_of_a_new_request() {
    let mut world = World::live(7);
    world.edits(|spec| spec.active_deadline_seconds = Some(600));
    world.repair = Some("please".to_owned());
    world.passes(Duration::from_hours(1));
    let ended = || run(7).ended("TERMINATED", "SUCCESS_WITH_FAILURES");
    world.ends(ended());
    world.reads_run(ended());
    let effect = world.asks();
    assert!(matches!(effect, Effect::Repair { .. }), "{effect:?}");
}
