//! A run is terminal only when Databricks says so, and says so long enough where it contradicts itself.

use std::time::Duration;

use crate::api::conditions::Reason;
use crate::api::status::TaskOutput;
use crate::databricks::ids::RunId;
use crate::databricks::model::Run;
use crate::lifecycle::fixtures::{run, task};
use crate::lifecycle::step::{Effect, EventReason, Fetched, Outcome};
use crate::lifecycle::world::{Rest, World};

/// `state` says running, `status` says ended with success.
fn contradiction() -> Run {
    serde_json::from_value(serde_json::json!({
        "run_id": 7, "job_id": 5, "state": {"life_cycle_state": "RUNNING"},
        "status": {"state": "TERMINATED", "termination_details": {"code": "SUCCESS"}}
    }))
    .unwrap()
}

#[test]
fn success_gives_the_verdict_and_lets_go_of_the_object() {
    let mut world = World::live(7);
    world.ends(run(7).ended("TERMINATED", "SUCCESS"));
    assert_eq!(world.settles(), None);
    assert_eq!((world.state(), world.reason()), ("Succeeded", Reason::RunSucceeded.as_str()));
    assert!(!world.held);
    assert_eq!(world.told(), [EventReason::RunSubmitted, EventReason::RunSucceeded]);
}

#[test]
fn a_failed_task_s_error_stands_in_the_condition_and_its_trace_in_the_outputs() {
    let mut world = World::live(7);
    world.polls(
        run(7).ended("INTERNAL_ERROR", "FAILED").with([task("main", 71).ended("TERMINATED", "FAILED").message("boom")]),
    );
    let effect = world.asks();
    let Effect::FetchOutputs { tasks, .. } = &effect else { panic!("{effect:?}") };
    assert_eq!(tasks[0].0, "main");
    let read = TaskOutput {
        task_key: "main".into(),
        error: Some("ValueError: no rows".into()),
        error_trace: Some("Traceback…".into()),
        ..TaskOutput::default()
    };
    world.reads(&effect, &[read]);
    world.settles();
    assert_eq!(world.state(), "Failed");
    assert!(world.message().contains("task `main`: ValueError: no rows"), "{}", world.message());
    assert_eq!(world.status.outputs[0].error_trace.as_deref(), Some("Traceback…"));
}

#[test]
fn verdict_and_outputs_come_in_one_write() {
    let mut world = World::live(7);
    world.polls(run(7).ended("TERMINATED", "SUCCESS").with([task("main", 71).ended("TERMINATED", "SUCCESS")]));
    let writes = world.writes;
    let effect = world.asks();
    assert_eq!(world.writes, writes);
    world.reads(&effect, &[TaskOutput { task_key: "main".into(), result: Some("42".into()), ..TaskOutput::default() }]);
    world.settles();
    assert_eq!(world.writes, writes + 2, "the verdict with its outputs, and the release");
    assert_eq!(world.status.outputs[0].result.as_deref(), Some("42"));
}

#[test]
fn a_success_with_failures_reads_the_failed_tasks_first() {
    let mut world = World::live(7);
    let mut tasks: Vec<_> = (0..20).map(|n| task(&format!("t{n}"), n).ended("TERMINATED", "SUCCESS")).collect();
    tasks.push(task("bad", 99).ended("TERMINATED", "FAILED"));
    world.polls(run(7).ended("TERMINATED", "SUCCESS_WITH_FAILURES").with(tasks));
    let Effect::FetchOutputs { tasks, .. } = world.asks() else { panic!() };
    assert_eq!(tasks[0].0, "bad");
}

#[test]
fn a_contradiction_is_asked_for_again_for_five_minutes_then_the_newer_description_counts() {
    let mut world = World::live(7);
    for _ in 0..10 {
        world.polls(contradiction());
        assert_eq!(world.settles(), Some(Duration::from_secs(30)));
        world.passes(Duration::from_secs(30));
    }
    world.ends(contradiction());
    world.settles();
    assert_eq!(world.state(), "Succeeded");
}

#[test]
fn an_old_contradiction_that_could_not_be_asked_for_again_decides_nothing() {
    let mut world = World::live(7);
    world.polls(contradiction());
    world.settles();
    world.passes(Duration::from_hours(1));
    assert_eq!(world.settles(), Some(Duration::from_secs(30)), "the hour went by without an answer");
}

#[test]
fn a_contradiction_that_clears_up_starts_its_time_again() {
    let mut world = World::live(7);
    for clear in [false, true, false] {
        if clear {
            world.polls(run(7).is("RUNNING"));
        } else {
            world.polls(contradiction());
        }
        world.settles();
        world.passes(Duration::from_mins(4));
    }
    world.polls(contradiction());
    world.settles();
    assert_ne!(world.state(), "Succeeded");
}

#[test]
fn an_end_without_a_result_is_a_failure_after_five_minutes() {
    let mut world = World::live(7);
    world.polls(run(7).ended("TERMINATED", ""));
    world.settles();
    assert_eq!(world.status.completion_time, None);
    world.passes(Duration::from_mins(5));
    world.ends(run(7).ended("TERMINATED", ""));
    world.settles();
    assert_eq!((world.state(), world.reason()), ("Failed", Reason::ResultMissing.as_str()));
}

#[test]
fn does_not_exist_counts_after_three_answers_over_five_minutes() {
    let mut world = World::live(7);
    for _ in 0..2 {
        world.polls_nothing();
        assert_eq!(world.settles(), Some(Duration::from_secs(30)), "the third answer wakes nobody by itself");
        world.passes(Duration::from_secs(150));
    }
    world.polls_nothing();
    assert_eq!(world.settles(), None);
    assert_eq!((world.state(), world.reason()), ("Failed", Reason::RunNotFound.as_str()));
}

#[test]
fn three_quick_answers_that_a_run_does_not_exist_are_not_enough() {
    let mut world = World::live(7);
    for _ in 0..9 {
        world.polls_nothing();
        world.passes(Duration::from_secs(30));
    }
    world.settles();
    assert_eq!(world.status.completion_time, None);
}

#[test]
fn two_answers_far_apart_that_a_run_does_not_exist_are_not_enough() {
    let mut world = World::live(7);
    for _ in 0..2 {
        world.polls_nothing();
        world.passes(Duration::from_hours(1));
    }
    world.settles();
    assert_eq!(world.status.completion_time, None);
}

#[test]
fn a_run_that_vanished_is_never_started_again() {
    let mut world = World::live(7);
    for _ in 0..3 {
        world.polls_nothing();
        world.passes(Duration::from_secs(150));
    }
    world.settles();
    world.crashes();
    assert_eq!(world.settles(), None);
    assert_eq!(world.status.serial, Some(1));
}

#[test]
fn an_unknown_state_is_shown_and_followed_on() {
    let mut world = World::live(7);
    world.polls(run(7).is("HIBERNATING"));
    world.settles();
    world.passes(Duration::from_hours(100));
    world.settles();
    assert_eq!(world.status.completion_time, None);
    assert!(world.message().contains("HIBERNATING"));
}

#[test]
fn after_the_end_the_verdict_is_final() {
    let mut world = World::live(7);
    world.ends(run(7).ended("INTERNAL_ERROR", "FAILED"));
    world.settles();
    let verdict = world.status.clone();
    world.polls(run(7).ended("TERMINATED", "SUCCESS"));
    assert_eq!(world.settles(), None);
    assert_eq!(world.status, verdict);
}

#[test]
fn what_was_read_of_another_run_says_nothing() {
    let mut world = World::live(7);
    world.polls(run(6).ended("TERMINATED", "SUCCESS"));
    world.settles();
    assert_eq!(world.status.completion_time, None);
}

#[test]
fn outputs_that_cannot_be_read_do_not_delay_the_verdict() {
    let mut world = World::live(7);
    world.polls(run(7).ended("TERMINATED", "SUCCESS").with([task("main", 71).ended("TERMINATED", "SUCCESS")]));
    for seconds in [0, 10, 10, 10] {
        assert_ne!(world.state(), "Succeeded");
        world.passes(Duration::from_secs(seconds));
        let Rest::Remote(effect) = world.rests() else { break };
        let retry_in = Some(Duration::from_secs(10));
        world.answers(&effect, Outcome::Outputs(Fetched { tasks: Vec::new(), retry_in }));
    }
    assert_eq!(world.settles(), None);
    assert_eq!(world.state(), "Succeeded");
}

#[test]
fn an_output_that_is_there_at_the_second_try_is_written_with_the_verdict() {
    let mut world = World::live(7);
    let ended = |key, id| task(key, id).ended("TERMINATED", "SUCCESS");
    world.polls(run(7).ended("TERMINATED", "SUCCESS").with([ended("a", 71), ended("b", 72)]));
    let output = |key: &str| TaskOutput { task_key: key.into(), result: Some("1".into()), ..TaskOutput::default() };
    let first = world.asks();
    let read = vec![(RunId(71), Some(output("a")))];
    world.answers(&first, Outcome::Outputs(Fetched { tasks: read, retry_in: Some(Duration::from_secs(5)) }));
    assert!(matches!(world.rests(), Rest::Wait(Some(wait)) if wait == Duration::from_secs(5)));
    world.passes(Duration::from_secs(5));
    let second = world.asks();
    assert!(matches!(&second, Effect::FetchOutputs { tasks, .. } if tasks.len() == 1), "what was read is kept");
    world.reads(&second, &[output("b")]);
    world.settles();
    assert_eq!(world.status.outputs.iter().map(|output| output.task_key.as_str()).collect::<Vec<_>>(), ["a", "b"]);
}

#[test]
fn the_end_s_own_time_is_the_completion_time() {
    let mut world = World::live(7);
    world.ends(run(7).ended("TERMINATED", "SUCCESS"));
    assert_eq!(world.status.completion_time.as_ref().unwrap().0.as_second(), 61);
    assert_eq!(world.status.duration.as_deref(), Some("1m0s"));
}
