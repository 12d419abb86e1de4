//! Nothing per poll: what is written, how often, and how large it can get.

use std::time::Duration;

use proptest::prelude::*;
use serde_json::json;

use crate::api::status::TaskOutput;
use crate::databricks::model::{Run, RunOutput};
use crate::lifecycle::fixtures::{run, task};
use crate::lifecycle::is_all_told;
use crate::lifecycle::outputs;
use crate::lifecycle::step::EventReason;
use crate::lifecycle::world::{Rest, World};

#[test]
fn a_run_of_one_task_that_succeeds_takes_six_writes_and_three_events() {
    let mut world = World::of_a_job();
    world.starts(7);
    for life in ["PENDING", "RUNNING", "RUNNING", "TERMINATING"] {
        world.polls(run(7).is(life).with([task("main", 71).is(life)]));
        world.settles();
        world.passes(Duration::from_mins(2));
    }
    world.ends(run(7).ended("TERMINATED", "SUCCESS").with([task("main", 71).ended("TERMINATED", "SUCCESS")]));
    world.settles();
    assert_eq!(world.writes, 6, "finalizer, intent, run id, Running, verdict, release");
    assert_eq!(world.status.display_name.as_deref(), Some("5"));
    assert_eq!(world.told(), [EventReason::RunSubmitted, EventReason::RunStarted, EventReason::RunSucceeded]);
}

#[test]
fn a_queued_run_takes_seven() {
    let mut world = World::of_a_job();
    world.starts(7);
    for life in ["QUEUED", "QUEUED", "PENDING", "RUNNING", "TERMINATING"] {
        world.polls(run(7).is(life));
        world.settles();
        world.passes(Duration::from_secs(20));
    }
    world.ends(run(7).ended("TERMINATED", "SUCCESS"));
    world.settles();
    assert_eq!(world.writes, 7);
    assert_eq!(world.told(), [EventReason::RunSubmitted, EventReason::RunStarted, EventReason::RunSucceeded]);
}

/// The world looks at the size of every status that is written.
#[test]
fn full_outputs_leave_room_for_what_is_written_beside_them() {
    let worst = "\"\\".repeat(700);
    let output = RunOutput { error: Some(worst.clone()), logs: Some(worst.repeat(20)), ..RunOutput::default() };
    let output = |n: i64| outputs::of_task(&n.to_string(), &output).unwrap();
    let mut world = World::live(7);
    world.edits(|spec| spec.backoff_limit = Some(12));
    for id in 7..20 {
        let tasks = (0..10).map(|n| task(&n.to_string(), 1000 + n).failed_with("CLOUD_FAILURE"));
        let failed: Run = run(id).ended("INTERNAL_ERROR", "FAILED").message(&worst).with(tasks);
        world.polls(failed.clone());
        let effect = world.asks();
        world.reads(&effect, &(0..10).map(output).collect::<Vec<_>>());
        world.rests();
        assert!(!world.status.outputs.is_empty());
        if world.state() == "Retrying" {
            world.passes(Duration::from_mins(7));
            world.reads_run(failed);
            world.starts(id + 1);
            world.settles();
        }
    }
    (world.cancel, world.repair) = (Some(worst.clone()), Some(worst.clone()));
    world.rests();
    let tasks = (0..99).map(|n| task(&format!("{worst}{n}"), 1000 + n).is("RUNNING").message(&worst));
    world.polls(run(19).is("RUNNING").message(&worst).with(tasks));
    world.rests();
    assert_eq!((world.state(), world.status.outputs.len()), ("Running", 0));
}

#[test]
fn terminating_is_never_written() {
    let mut world = World::live(7);
    world.polls(run(7).is("TERMINATING"));
    let writes = world.writes;
    world.settles();
    assert_eq!(world.writes, writes);
}

#[test]
fn polls_that_find_no_change_write_nothing() {
    for life in ["QUEUED", "PENDING", "RUNNING", "BLOCKED", "WAITING_FOR_RETRY", "HIBERNATING"] {
        let mut world = World::live(7);
        world.polls(run(7).is(life));
        world.settles();
        let writes = world.writes;
        for _ in 0..100 {
            world.passes(Duration::from_mins(1));
            world.polls(run(7).is(life));
            world.settles();
        }
        assert_eq!(world.writes, writes, "{life}");
    }
}

#[test]
fn tasks_of_a_run_that_goes_on_are_written_once_a_minute_and_not_forgotten() {
    let mut world = World::live(7);
    let tasks = |done: i64| {
        (0..30).map(move |n| {
            if n < done { task(&format!("t{n}"), n).ended("TERMINATED", "SUCCESS") } else { task(&format!("t{n}"), n) }
        })
    };
    world.polls(run(7).is("RUNNING").with(tasks(0)));
    world.settles();
    let writes = world.writes;
    world.passes(Duration::from_secs(10));
    world.polls(run(7).is("RUNNING").with(tasks(1)));
    let wait = world.settles();
    assert_eq!(wait, Some(Duration::from_secs(50)), "nothing else would wake it");
    assert!(!is_all_told(Some(&world.status), wait));
    assert_eq!(world.writes, writes);
    world.passes(Duration::from_secs(50));
    world.settles();
    assert_eq!(world.writes, writes + 1);
}

#[test]
fn a_run_of_which_all_is_told_needs_no_reading() {
    let mut told = Vec::new();
    for life in ["QUEUED", "PENDING", "BLOCKED", "RUNNING", "TERMINATING"] {
        let mut world = World::live(7);
        world.polls(run(7).is(life).with([task("a", 71).is(life), task("b", 72)]));
        let wait = world.settles();
        if !is_all_told(Some(&world.status), wait) {
            continue;
        }
        told.push(life);
        let (writes, message) = (world.writes, world.message().to_owned());
        world.reading = None;
        for _ in 0..10 {
            world.passes(Duration::from_mins(5));
            assert_eq!(world.settles(), wait);
        }
        assert_eq!(world.writes, writes, "{life}");
        // A new generation is acknowledged in the same words.
        world.edits(|_| ());
        world.settles();
        assert!(world.message().starts_with(&message), "{} instead of {message}", world.message());
    }
    assert_eq!(told, ["RUNNING"]);
}

#[test]
fn a_task_of_two_that_has_ended_is_written() {
    let mut world = World::live(7);
    let of = |first| run(7).is("RUNNING").with([first, task("b", 72).is("RUNNING")]);
    world.polls(of(task("a", 71).is("RUNNING")));
    assert_eq!(world.settles(), Some(Duration::from_mins(5)));
    let executing_since = world.status.execution_start_time.clone();
    assert!(executing_since.is_some());
    world.passes(Duration::from_mins(2));
    world.polls(of(task("a", 71).ended("TERMINATED", "SUCCESS")));
    world.settles();
    assert_eq!(world.status.tasks[1].result_state.as_deref(), Some("SUCCESS"));
    assert_eq!(world.status.execution_start_time, executing_since, "once and for all");
}

#[test]
fn a_new_cluster_s_start_is_said_from_the_beginning() {
    let mut world = World::with_spec(&json!({
        "workspaceRef": {"name": "prod"},
        "submit": {"tasks": [{"task_key": "main", "new_cluster": {"num_workers": 1}}]}
    }));
    world.starts(7);
    world.settles();
    assert!(world.message().contains("3 to 8 minutes"), "{}", world.message());
}

#[test]
fn the_page_of_a_run_whose_cluster_starts_is_written_once() {
    let mut world = World::live(7);
    let mut starting: Run = run(7).with([task("main", 71)]);
    starting.tasks[0].has_new_cluster = true;
    let job = starting.job_id.take();
    world.polls(starting.clone());
    world.settles();
    let writes = world.writes;
    starting.job_id = job;
    for _ in 0..10 {
        world.polls(starting.clone());
        world.settles();
        world.passes(Duration::from_mins(1));
    }
    assert_eq!(world.writes, writes + 1);
    assert!(world.status.run_page_url.is_some());
}

#[test]
fn the_reason_of_the_queue_is_said() {
    let mut world = World::live(7);
    let queued: Run = serde_json::from_value(json!({
        "run_id": 7, "job_id": 5, "state": {"life_cycle_state": "QUEUED"},
        "status": {"state": "QUEUED", "queue_details": {"code": "MAX_CONCURRENT_RUNS_REACHED"}}
    }))
    .unwrap();
    world.polls(queued);
    world.settles();
    assert!(world.message().contains("MAX_CONCURRENT_RUNS_REACHED"), "{}", world.message());
}

#[test]
fn a_misspelt_field_is_sent_and_told() {
    let mut world = World::with_spec(
        &json!({"workspaceRef": {"name": "prod"}, "runNow": {"job_id": 5, "job_paramters": {"a": "b"}}}),
    );
    world.starts(7);
    let event = world.events.iter().find(|event| event.reason == EventReason::UnknownField).unwrap();
    assert!(event.note.contains("job_paramters"), "{event:?}");
}

/// Text as unkind as it comes: long, quoted, broken over lines, coloured, of many scripts.
fn unkind() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        Just("\"\\\n\t\u{1b}[31m\u{0}\u{85}".to_owned()),
        Just("日本語🚀".to_owned()),
        any::<String>(),
        "[\"\\\\]{0,40}",
    ];
    (prop::collection::vec(piece, 0..6), prop_oneof![6 => Just(1usize), 3 => Just(40), 1 => Just(3000)])
        .prop_map(|(pieces, times)| pieces.concat().repeat(times))
}

fn life() -> impl Strategy<Value = String> {
    let known = ["QUEUED", "PENDING", "RUNNING", "TERMINATING", "TERMINATED", "SKIPPED", "INTERNAL_ERROR"];
    prop_oneof![8 => prop::sample::select(known.to_vec()).prop_map(str::to_owned), 1 => unkind()]
}

fn result() -> impl Strategy<Value = Option<String>> {
    let known = ["SUCCESS", "FAILED", "CANCELED", "TIMEDOUT", "SUCCESS_WITH_FAILURES"];
    prop_oneof![
        Just(None),
        prop::sample::select(known.to_vec()).prop_map(|it| Some(it.to_owned())),
        unkind().prop_map(Some)
    ]
}

fn hostile_run() -> impl Strategy<Value = Run> {
    let task = (unkind(), life(), result(), unkind(), any::<i64>());
    let tasks = (prop::collection::vec(task, 1..8), prop_oneof![3 => Just(1usize), 1 => Just(150)]);
    (tasks, life(), result(), unkind(), any::<(i64, i64, i64)>(), unkind()).prop_map(
        |((tasks, times), life, result, message, (start, end, total), code)| {
            let tasks: Vec<_> = tasks
                .iter()
                .cycle()
                .take(tasks.len() * times)
                .map(|(key, life, result, message, id)| {
                    json!({"task_key": key, "run_id": id, "state": {"life_cycle_state": life, "result_state": result, "state_message": message}})
                })
                .collect();
            serde_json::from_value(json!({
                "run_id": 7, "job_id": i64::MAX, "start_time": start, "end_time": end, "run_duration": total, "tasks": tasks,
                "run_page_url": message,
                "state": {"life_cycle_state": life, "result_state": result, "state_message": message},
                "status": {"termination_details": {"code": code, "type": code, "message": message}},
            }))
            .unwrap()
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() })]

    /// `World` checks every write: the size, the contract of the conditions, and that it reads back as it was written.
    #[test]
    fn whatever_databricks_answers_the_status_stays_within_its_bounds(
        runs in prop::collection::vec(hostile_run(), 1..3), text in unkind(), days in 0i64..12,
    ) {
        let mut world = World::of_a_one_off();
        world.edits(|spec| spec.output = Some(serde_json::from_value(json!({"maxBytes": 16_384})).unwrap()));
        let worst = "\"\\".repeat(700);
        for day in 0..days {
            world.edits(|spec| {
                spec.submit.as_mut().unwrap().0.insert("run_name".into(), format!("{worst}{day}").into());
            });
            world.rerun = Some(format!("{day}{worst}"));
            world.starts(day + 100);
            world.ends(run(day + 100).ended("INTERNAL_ERROR", "FAILED").message(&worst));
        }
        world.rerun = Some("last".to_owned());
        world.starts(7);
        for run in runs {
            world.polls(run);
            if let Rest::Remote(effect) = world.rests() {
                let output = RunOutput { error: Some(text.clone()), error_trace: Some(worst.clone()), logs: Some(text.clone()), ..RunOutput::default() };
                let read: Vec<TaskOutput> = (0..10).filter_map(|n| outputs::of_task(&format!("{text}{n}"), &output)).collect();
                world.reads(&effect, &read);
                world.rests();
            }
            world.passes(Duration::from_mins(6));
        }
    }
}
