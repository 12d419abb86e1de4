//! `spec.suspend`, as with a Job: nothing starts before it is lifted, a live run is cancelled, and resuming begins anew.

use e2e::stage::{RunView, Stage};
use e2e::workspace::{Fault, Kind, Operation};
use serde_json::{Value, json};

use crate::{run_now, run_now_with};

fn held(mut object: Value) -> Value {
    object["spec"]["suspend"] = json!(true);
    object
}

fn assert_looks_suspended(stage: &Stage, run: &RunView) {
    let said = ["Ready", "Succeeded", "Finished", "Reconciling", "Stalled"].map(|kind| run.condition(kind));
    assert_eq!(said, ["True", "Unknown", "False", "", ""], "{}", stage.story(run));
    assert_eq!(run.text("state"), "Suspended");
    assert!(!run.0.is_held(), "an object at rest needs no operator to be deleted");
}

#[tokio::test]
async fn a_suspended_object_starts_nothing_until_it_is_resumed() {
    let stage = Stage::set("suspended").await;
    let job = stage.databricks.job("nightly").id();
    let _operator = stage.operator().await;
    stage.apply(&held(stage.run("held", run_now_with(job, "day", "1")))).await;
    assert_looks_suspended(&stage, &stage.suspended("held").await);
    // Another request of a suspended object is held as the one before it was.
    stage.apply(&held(stage.run("held", run_now_with(job, "day", "2")))).await;
    assert_looks_suspended(&stage, &stage.seen("held", 2).await);
    assert_eq!(stage.databricks.count(Operation::RunNow), 0, "{}", stage.databricks.story());
    stage.edit("held", json!({"suspend": false})).await;
    let run = stage.finished_in("held", 3).await;
    assert_eq!((run.text("state"), run.status()["attempt"].clone()), ("Succeeded".into(), json!(1)));
    assert_eq!(run.past(0), Value::Null, "{}", stage.story(&run));
    stage.assert_started_once_each(1);
    assert_eq!(stage.databricks.runs()[0].body["job_parameters"]["day"], "2");
}

#[tokio::test]
async fn a_suspended_object_can_be_deleted_while_no_operator_is_there() {
    let stage = Stage::set("suspended-gone").await;
    let operator = stage.operator().await;
    stage.apply(&held(stage.run("held", run_now(1)))).await;
    stage.suspended("held").await;
    operator.stop();
    stage.delete("held").await;
    stage.gone("held").await;
}

#[tokio::test]
async fn suspending_a_live_run_cancels_it_and_resuming_starts_another() {
    let stage = Stage::set("suspend-live").await;
    let job = stage.databricks.job("nightly").running_forever().id();
    let _operator = stage.operator().await;
    let history = stage.history("live");
    stage.apply(&stage.run("live", run_now(job))).await;
    let first = stage.running("live").await.text("runId");
    stage.edit("live", json!({"suspend": true})).await;
    let run = stage.suspended("live").await;
    assert_looks_suspended(&stage, &run);
    let ended = &stage.databricks.runs()[0];
    assert!(ended.cancelled && !ended.active, "{}", stage.story(&run));
    assert_eq!(run.last(), [first.as_str(), "Canceled", "Resumption"]);
    stage.edit("live", json!({"suspend": false})).await;
    let second = stage.running("live").await;
    stage.event("live", "Resumed").await;
    assert_ne!(second.text("runId"), first, "{}", stage.story(&second));
    assert_eq!((&second.status()["attempt"], &second.status()["serial"]), (&json!(1), &json!(2)));
    stage.databricks.finish(stage.databricks.runs()[0].id);
    let run = stage.finished("live").await;
    assert_eq!(run.text("state"), "Succeeded", "{}", stage.story(&run));
    assert_eq!(run.past(1), Value::Null, "{}", stage.story(&run));
    history.assert_no_end_but_of(&second.text("runId"));
    stage.assert_started_once_each(2);
}

#[tokio::test]
async fn a_run_that_succeeds_before_its_suspension_reaches_it_has_succeeded() {
    let stage = Stage::set("suspend-late").await;
    let job = stage.databricks.job("nightly").running_forever().id();
    stage.databricks.fault(Fault::on(Operation::Cancel, Kind::error(500, "INTERNAL_ERROR", "boom")));
    let _operator = stage.operator().await;
    stage.apply(&stage.run("live", run_now(job))).await;
    stage.running("live").await;
    stage.edit("live", json!({"suspend": true})).await;
    stage.databricks.wait_for_request(Operation::Cancel, |_| true).await.unwrap();
    stage.databricks.finish(stage.databricks.runs()[0].id);
    let run = stage.finished("live").await;
    assert_eq!(run.text("state"), "Succeeded", "{}", stage.story(&run));
    // What has ended does not begin again when it is resumed.
    stage.edit("live", json!({"suspend": false})).await;
    let run = stage.seen("live", 3).await;
    assert_eq!(run.text("state"), "Succeeded", "{}", stage.story(&run));
    stage.assert_started_once_each(1);
}

#[tokio::test]
async fn a_start_in_doubt_is_found_before_it_is_suspended() {
    let stage = Stage::set("suspend-open").await;
    let job = stage.databricks.job("nightly").running_forever().id();
    stage.databricks.fault(Fault::on(Operation::RunNow, Kind::LoseAnswer).once());
    let _operator = stage.operator().await;
    stage.apply(&stage.run("open", run_now(job))).await;
    stage.until_started(1).await;
    stage.edit("open", json!({"suspend": true})).await;
    let run = stage.suspended("open").await;
    assert!(!stage.databricks.runs()[0].active, "{}", stage.story(&run));
    assert_eq!(run.past(0)["runId"], stage.databricks.runs()[0].id.to_string(), "{}", stage.story(&run));
    stage.assert_started_once_each(1);
}
