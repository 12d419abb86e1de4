//! `spec.cancel` and the annotation `dbrun.dev/cancel-requested-at`: a level and a command that end a request for good.

use e2e::stage::{RunView, Stage};
use e2e::wait::eventually;
use e2e::workspace::{Fault, Kind, Operation};
use serde_json::{Value, json};

use crate::{run_now, run_now_with};

const OPERATOR: &str = env!("CARGO_BIN_EXE_operator");

const TOKEN: &str = "dbrun.dev/cancel-requested-at";

fn canceled(mut object: Value) -> Value {
    object["spec"]["cancel"] = json!(true);
    object
}

fn assert_canceled(stage: &Stage, run: &RunView) {
    let said = ["Ready", "Succeeded", "Finished", "Stalled"].map(|kind| run.condition(kind));
    assert_eq!(said, ["False", "False", "True", "True"], "{}", stage.story(run));
    assert_eq!((run.text("state"), run.reason("Succeeded")), ("Canceled".into(), "RunCanceled".into()));
}

/// Waits until the workspace was asked about runs a few times more: time in which a wrong cancellation would come.
async fn polled_a_while(stage: &Stage) {
    let polls = stage.databricks.count(Operation::GetRun);
    eventually("three more polls", async || {
        let more = stage.databricks.count(Operation::GetRun) - polls;
        if more >= 3 { Ok(()) } else { Err(format!("{more}")) }
    })
    .await;
}

#[tokio::test]
async fn cancel_ends_a_live_run_and_only_a_new_request_starts_another() {
    let stage = Stage::set("cancel-live").await;
    let job = stage.databricks.job("nightly").running_forever().id();
    let _operator = stage.operator().await;
    stage.apply(&stage.run("live", run_now(job))).await;
    let first = stage.running("live").await.text("runId");
    stage.edit("live", json!({"cancel": true})).await;
    let run = stage.finished("live").await;
    assert_canceled(&stage, &run);
    assert!(run.message("Ready").contains("its cancellation was requested"), "{}", stage.story(&run));
    assert!(!stage.databricks.runs()[0].active, "{}", stage.story(&run));
    stage.edit("live", json!({"cancel": false})).await;
    assert_canceled(&stage, &stage.seen("live", 3).await);
    stage.assert_started_once_each(1);
    stage.edit("live", json!({"runNow": {"job_parameters": {"day": "2"}}})).await;
    let run = stage.running("live").await;
    assert_eq!(run.last(), [first.as_str(), "Canceled", "Request"]);
    stage.assert_started_once_each(2);
}

#[tokio::test]
async fn while_cancel_is_true_each_new_request_ends_without_a_run() {
    let stage = Stage::set("cancel-before").await;
    let job = stage.databricks.job("nightly").id();
    let _operator = stage.operator().await;
    for day in 1..=3 {
        stage.apply(&canceled(stage.run("never", run_now_with(job, "day", &day.to_string())))).await;
        let run = stage.finished_in("never", day).await;
        assert_canceled(&stage, &run);
        assert!(run.message("Ready").contains("nothing was sent"), "{}", stage.story(&run));
    }
    assert_eq!(stage.databricks.count(Operation::RunNow), 0, "{}", stage.databricks.story());
}

#[tokio::test]
async fn cancel_outranks_suspend() {
    let stage = Stage::set("cancel-first").await;
    let job = stage.databricks.job("nightly").running_forever().id();
    let _operator = stage.operator().await;
    stage.apply(&stage.run("live", run_now(job))).await;
    stage.running("live").await;
    stage.edit("live", json!({"cancel": true, "suspend": true})).await;
    assert_canceled(&stage, &stage.finished("live").await);
    let mut both = canceled(stage.run("fresh", run_now(job)));
    both["spec"]["suspend"] = json!(true);
    stage.apply(&both).await;
    assert_canceled(&stage, &stage.finished("fresh").await);
    stage.assert_started_once_each(1);
}

#[tokio::test]
async fn a_cancel_token_is_honoured_once() {
    let stage = Stage::set("cancel-token").await;
    let job = stage.databricks.job("nightly").running_forever().id();
    let _operator = stage.operator().await;
    stage.apply(&stage.run("live", run_now(job))).await;
    let first = stage.running("live").await.text("runId");
    stage.annotate("live", TOKEN, "monday").await;
    let run = stage.finished("live").await;
    assert_canceled(&stage, &run);
    assert_eq!(run.text("lastHandledCancel"), "monday", "{}", stage.story(&run));
    // It is still there when the next run is, and has nothing to do with it.
    stage.annotate("live", "dbrun.dev/rerun-requested-at", "tuesday").await;
    stage.running("live").await;
    polled_a_while(&stage).await;
    stage.databricks.finish(stage.databricks.runs()[0].id);
    let run = stage.finished("live").await;
    assert_eq!(run.text("state"), "Succeeded", "{}", stage.story(&run));
    assert_eq!(run.past(0)["runId"], first.as_str(), "{}", stage.story(&run));
    // A new one that comes when there is nothing left to cancel is taken note of.
    stage.annotate("live", TOKEN, "wednesday").await;
    let run = stage.until("live", "aware of it", |run| run.text("lastHandledCancel") == "wednesday").await;
    assert_eq!(run.text("state"), "Succeeded", "{}", stage.story(&run));
    stage.assert_started_once_each(2);
}

#[tokio::test]
async fn a_cancel_token_that_is_there_at_creation_cancels_nothing() {
    let stage = Stage::set("cancel-old").await;
    let job = stage.databricks.job("nightly").running_forever().id();
    let _operator = stage.operator().await;
    let mut object = stage.run("live", run_now(job));
    object["metadata"]["annotations"] = json!({TOKEN: "monday"});
    stage.apply(&object).await;
    let run = stage.running("live").await;
    assert_eq!(run.text("lastHandledCancel"), "monday", "{}", stage.story(&run));
    polled_a_while(&stage).await;
    assert_eq!(stage.databricks.count(Operation::Cancel), 0, "{}", stage.databricks.story());
    stage.annotate("live", TOKEN, "tuesday").await;
    assert_canceled(&stage, &stage.finished("live").await);
    stage.assert_started_once_each(1);
}

#[tokio::test]
async fn a_start_in_doubt_is_found_before_it_is_cancelled() {
    let stage = Stage::set("cancel-open").await;
    let job = stage.databricks.job("nightly").running_forever().id();
    stage.databricks.fault(Fault::on(Operation::RunNow, Kind::LoseAnswer).once());
    let _operator = stage.operator().await;
    stage.apply(&stage.run("open", run_now(job))).await;
    stage.until_started(1).await;
    stage.edit("open", json!({"cancel": true})).await;
    let run = stage.finished("open").await;
    assert_canceled(&stage, &run);
    assert_eq!(run.text("runId"), stage.databricks.runs()[0].id.to_string(), "{}", stage.story(&run));
    assert!(!stage.databricks.runs()[0].active, "{}", stage.story(&run));
    stage.assert_started_once_each(1);
}

#[tokio::test]
async fn a_run_that_a_person_cancels_in_databricks_is_canceled_and_not_tried_again() {
    let stage = Stage::set("cancel-hand").await;
    let job = stage.databricks.job("nightly").running_forever().id();
    let _operator = stage.operator().await;
    let mut object = stage.run("live", run_now(job));
    object["spec"]["backoffLimit"] = json!(3);
    stage.apply(&object).await;
    stage.running("live").await;
    assert!(stage.databricks.cancel_by_hand(stage.databricks.runs()[0].id));
    let run = stage.finished("live").await;
    assert_canceled(&stage, &run);
    assert!(!run.message("Ready").contains("was requested"), "it was nobody's wish here: {}", run.message("Ready"));
    stage.assert_started_once_each(1);
}

#[tokio::test]
async fn a_restart_between_the_cause_and_the_end_forgets_neither() {
    let stage = Stage::set("cancel-killed").await;
    let job = stage.databricks.job("nightly").running_forever().id();
    stage.databricks.fault(Fault::on(Operation::Cancel, Kind::error(500, "INTERNAL_ERROR", "boom")));
    let operator = stage.process(OPERATOR, &[]);
    stage.apply(&stage.run("live", run_now(job))).await;
    stage.running("live").await;
    stage.annotate("live", TOKEN, "monday").await;
    stage.until("live", "being cancelled", |run| run.reason("Reconciling") == "Canceling").await;
    operator.kill();
    stage.databricks.clear_faults();
    let _next = stage.process(OPERATOR, &[]);
    let run = stage.finished("live").await;
    assert_canceled(&stage, &run);
    assert!(run.message("Ready").contains("its cancellation was requested"), "{}", stage.story(&run));
    assert_eq!(run.text("lastHandledCancel"), "monday", "{}", stage.story(&run));
}
