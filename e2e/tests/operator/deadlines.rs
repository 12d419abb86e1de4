//! The two deadlines of a request: reaching one cancels its run, and the status says which it was.

use e2e::stage::{RunView, Stage};
use e2e::wait::eventually;
use e2e::workspace::{Fault, Kind, Operation, Script};
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use serde_json::json;
use std::time::Duration;

use crate::run_now;

const OPERATOR: &str = env!("CARGO_BIN_EXE_operator");

/// Spans that are not to end within a test.
const FOR_EVER: Duration = Duration::from_hours(24 * 365);

/// Waits until a deadline of one second from this time of the status has passed for sure.
async fn a_second_has_passed_since(run: &RunView, origin: &str) {
    let origin: Timestamp = run.text(origin).parse().expect("a time");
    // The status holds whole seconds, so a deadline may be honoured a second later.
    let passed = origin + SignedDuration::from_secs(3);
    eventually("a deadline to pass", async || match Timestamp::now() {
        now if now >= passed => Ok(()),
        now => Err(format!("it is {now}")),
    })
    .await;
}

fn assert_timed_out(stage: &Stage, run: &RunView, reason: &str) {
    assert_eq!(
        (run.text("state"), run.reason("Succeeded")),
        ("TimedOut".into(), reason.into()),
        "{}",
        stage.story(run)
    );
    assert_eq!((run.condition("Finished"), run.reason("Stalled")), ("True".into(), reason.into()));
}

async fn never_executes(prefix: &str, script: Script) {
    let stage = Stage::set(prefix).await;
    let job = stage.databricks.job("nightly").script(script).id();
    let _operator = stage.operator().await;
    stage.apply(&stage.run("late", run_now(job))).await;
    // Set before, it could pass on a slow machine before anything is sent.
    stage.until("late", "started", |run| !run.text("runId").is_empty()).await;
    stage.edit("late", json!({"startingDeadlineSeconds": 1})).await;
    let run = stage.finished("late").await;
    assert_timed_out(&stage, &run, "StartingDeadlineExceeded");
    assert!(run.message("Ready").contains("spec.startingDeadlineSeconds"), "{}", stage.story(&run));
    let record = &stage.databricks.runs()[0];
    assert!(record.cancelled && !record.active, "{}", stage.story(&run));
    stage.assert_started_once_each(1);
}

#[tokio::test]
async fn a_run_that_stays_in_the_queue_is_cancelled_at_the_starting_deadline() {
    never_executes("late-queue", Script::new().queued_for(FOR_EVER)).await;
}

#[tokio::test]
async fn a_run_whose_cluster_does_not_come_is_cancelled_at_the_starting_deadline() {
    never_executes("late-cluster", Script::new().pending_for(FOR_EVER)).await;
}

#[tokio::test]
async fn a_request_without_a_workspace_is_not_sent_after_its_starting_deadline() {
    let stage = Stage::bare("late-unsent").await;
    let job = stage.databricks.job("nightly").id();
    let _operator = stage.operator().await;
    let mut object = stage.run("late", run_now(job));
    object["spec"]["startingDeadlineSeconds"] = json!(1);
    stage.apply(&object).await;
    let run = stage.finished("late").await;
    assert_timed_out(&stage, &run, "StartingDeadlineExceeded");
    assert!(run.message("Ready").contains("nothing was sent"), "{}", stage.story(&run));
    stage.connect().await;
    stage.workspace_ready("True", "WorkspaceReady").await;
    stage.edit("late", json!({"output": {"maxBytes": 100}})).await;
    assert_timed_out(&stage, &stage.seen("late", 2).await, "StartingDeadlineExceeded");
    assert_eq!(stage.databricks.count(Operation::RunNow), 0, "{}", stage.databricks.story());
}

#[tokio::test]
async fn a_start_in_doubt_is_found_and_cancelled_at_the_starting_deadline() {
    let stage = Stage::set("late-doubt").await;
    let job = stage.databricks.job("nightly").script(Script::new().queued_for(FOR_EVER)).id();
    stage.databricks.fault(Fault::on(Operation::RunNow, Kind::LoseAnswer).once());
    let _operator = stage.operator().await;
    stage.apply(&stage.run("late", run_now(job))).await;
    // Set before, it could pass on a slow machine before anything is sent.
    stage.until_started(1).await;
    stage.edit("late", json!({"startingDeadlineSeconds": 1})).await;
    let run = stage.finished("late").await;
    assert_timed_out(&stage, &run, "StartingDeadlineExceeded");
    assert_eq!(run.text("runId"), stage.databricks.runs()[0].id.to_string(), "{}", stage.story(&run));
    assert!(!stage.databricks.runs()[0].active, "{}", stage.story(&run));
    stage.assert_started_once_each(1);
}

#[tokio::test]
async fn a_run_that_executes_in_time_has_met_its_starting_deadline() {
    let stage = Stage::set("in-time").await;
    let job = stage.databricks.job("nightly").running_forever().id();
    let _operator = stage.operator().await;
    stage.apply(&stage.run("punctual", run_now(job))).await;
    let run = stage.running("punctual").await;
    // However slow this machine is: it has executed before the deadline was set, and the deadline has passed after.
    stage.edit("punctual", json!({"startingDeadlineSeconds": 1})).await;
    stage.seen("punctual", 2).await;
    a_second_has_passed_since(&run, "requestedAt").await;
    let polls = stage.databricks.count(Operation::GetRun);
    eventually("three more polls", async || {
        let more = stage.databricks.count(Operation::GetRun) - polls;
        if more >= 3 { Ok(()) } else { Err(format!("{more}")) }
    })
    .await;
    stage.databricks.finish(stage.databricks.runs()[0].id);
    let run = stage.finished("punctual").await;
    assert_eq!(run.text("state"), "Succeeded", "{}", stage.story(&run));
    assert_eq!(stage.databricks.count(Operation::Cancel), 0, "{}", stage.databricks.story());
}

#[tokio::test]
async fn a_run_that_takes_too_long_is_cancelled_at_the_active_deadline() {
    let stage = Stage::set("too-long").await;
    let job = stage.databricks.job("nightly").running_forever().id();
    let _operator = stage.operator().await;
    let history = stage.history("slow");
    let mut object = stage.run("slow", run_now(job));
    object["spec"]["activeDeadlineSeconds"] = json!(2);
    // A run that was cancelled for a deadline is never tried again.
    object["spec"]["backoffLimit"] = json!(3);
    stage.apply(&object).await;
    let run = stage.finished("slow").await;
    assert_timed_out(&stage, &run, "DeadlineExceeded");
    assert!(run.message("Ready").contains("spec.activeDeadlineSeconds"), "{}", stage.story(&run));
    assert!(stage.databricks.runs()[0].cancelled, "{}", stage.story(&run));
    let canceled = history.so_far().iter().any(|run| run.text("state") == "Canceled");
    assert!(!canceled, "nobody shall take a deadline for a person's wish");
    stage.assert_started_once_each(1);
}

#[tokio::test]
async fn a_deadline_that_passed_while_no_operator_was_there_is_honoured_by_the_next() {
    let stage = Stage::set("missed").await;
    let job = stage.databricks.job("nightly").running_forever().id();
    let operator = stage.process(OPERATOR, &[]);
    stage.apply(&stage.run("slow", run_now(job))).await;
    let run = stage.running("slow").await;
    operator.kill();
    stage.edit("slow", json!({"activeDeadlineSeconds": 1})).await;
    a_second_has_passed_since(&run, "firstSubmitTime").await;
    assert!(stage.databricks.runs()[0].active, "{}", stage.databricks.story());
    let _next = stage.process(OPERATOR, &[]);
    let run = stage.finished("slow").await;
    assert_timed_out(&stage, &run, "DeadlineExceeded");
    assert!(stage.databricks.runs()[0].cancelled, "{}", stage.story(&run));
    stage.assert_started_once_each(1);
}

#[tokio::test]
async fn a_run_that_ended_before_its_missed_deadline_was_noticed_keeps_its_verdict() {
    let stage = Stage::set("missed-end").await;
    let job = stage.databricks.job("nightly").running_forever().id();
    let operator = stage.process(OPERATOR, &[]);
    stage.apply(&stage.run("slow", run_now(job))).await;
    let run = stage.running("slow").await;
    operator.kill();
    stage.edit("slow", json!({"activeDeadlineSeconds": 1})).await;
    stage.databricks.finish(stage.databricks.runs()[0].id);
    a_second_has_passed_since(&run, "firstSubmitTime").await;
    let _next = stage.process(OPERATOR, &[]);
    let run = stage.finished("slow").await;
    assert_eq!(run.text("state"), "Succeeded", "{}", stage.story(&run));
    assert_eq!(stage.databricks.count(Operation::Cancel), 0, "{}", stage.databricks.story());
}
