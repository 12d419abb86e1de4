//! What edits do while a run is live: `onSpecChange` says whether it may end first, and only the last edit counts.

use e2e::stage::Stage;
use e2e::workspace::{Fault, Kind, Operation};
use serde_json::{Value, json};

use crate::run_now_with;

/// The manifest of this day.
fn of_day(stage: &Stage, job: i64, policy: &str, day: usize) -> Value {
    let mut object = stage.run("edited", run_now_with(job, "day", &day.to_string()));
    object["spec"]["onSpecChange"] = json!(policy);
    object
}

#[tokio::test]
async fn with_replace_ten_edits_cancel_the_live_run_and_lead_to_one_of_the_last() {
    let stage = Stage::set("replace").await;
    let job = stage.databricks.job("nightly").running_forever().id();
    // The run ends when all edits have been seen, so that the first of them cannot be answered alone.
    stage.databricks.fault(Fault::on(Operation::Cancel, Kind::HoldEffect));
    let _operator = stage.operator().await;
    let history = stage.history("edited");
    stage.apply(&of_day(&stage, job, "Replace", 0)).await;
    let first = stage.running("edited").await.text("runId");
    for day in 1..=10 {
        stage.apply(&of_day(&stage, job, "Replace", day)).await;
    }
    let run = stage.seen("edited", 11).await;
    assert_eq!((run.text("runId"), run.reason("Reconciling")), (first.clone(), "Canceling".into()));
    stage.databricks.wait_for_request(Operation::Cancel, |_| true).await.unwrap();
    stage.databricks.clear_faults();
    let run = stage.running_anew("edited", &first).await;
    assert_eq!(run.last(), [first.as_str(), "Canceled", "Request"]);
    stage.databricks.finish(stage.databricks.runs()[0].id);
    let run = stage.finished("edited").await;
    assert_eq!(run.text("state"), "Succeeded", "{}", stage.story(&run));
    stage.assert_started_once_each(2);
    let runs = stage.databricks.runs();
    assert_eq!(runs[0].body["job_parameters"]["day"], "10", "{}", stage.story(&run));
    assert!(runs[1].cancelled && runs[1].ended.unwrap() <= runs[0].started, "{runs:#?}");
    history.assert_no_end_but_of(&run.text("runId"));
}

#[tokio::test]
async fn with_wait_ten_edits_lead_to_one_run_of_the_last_when_the_live_one_has_ended() {
    let stage = Stage::set("wait").await;
    let job = stage.databricks.job("nightly").running_forever().id();
    let _operator = stage.operator().await;
    let history = stage.history("edited");
    stage.apply(&of_day(&stage, job, "Wait", 0)).await;
    let first = stage.running("edited").await.text("runId");
    for day in 1..=10 {
        stage.apply(&of_day(&stage, job, "Wait", day)).await;
    }
    let run = stage.seen("edited", 11).await;
    assert_eq!(run.text("runId"), first, "{}", stage.story(&run));
    assert_eq!(stage.databricks.count(Operation::Cancel), 0, "{}", stage.databricks.story());
    stage.databricks.finish(stage.databricks.runs()[0].id);
    stage.running_anew("edited", &first).await;
    stage.databricks.finish(stage.databricks.runs()[0].id);
    let run = stage.finished("edited").await;
    assert_eq!((&run.past(0)["runId"], &run.past(0)["state"]), (&json!(first), &json!("Succeeded")));
    assert_eq!(run.past(1), Value::Null, "{}", stage.story(&run));
    assert_eq!(stage.databricks.runs()[0].body["job_parameters"]["day"], "10", "{}", stage.story(&run));
    history.assert_no_end_but_of(&run.text("runId"));
    stage.assert_started_once_each(2);
}

#[tokio::test]
async fn a_replacement_that_is_taken_back_begins_the_request_anew() {
    let stage = Stage::set("replace-back").await;
    let job = stage.databricks.job("nightly").running_forever().id();
    stage.databricks.fault(Fault::on(Operation::Cancel, Kind::HoldEffect));
    let _operator = stage.operator().await;
    let history = stage.history("edited");
    stage.apply(&of_day(&stage, job, "Replace", 0)).await;
    let first = stage.running("edited").await.text("runId");
    stage.apply(&of_day(&stage, job, "Replace", 1)).await;
    stage.databricks.wait_for_request(Operation::Cancel, |_| true).await.unwrap();
    stage.apply(&of_day(&stage, job, "Replace", 0)).await;
    stage.seen("edited", 3).await;
    stage.databricks.clear_faults();
    let run = stage.running_anew("edited", &first).await;
    assert_eq!(run.last(), [first.as_str(), "Canceled", "Resumption"]);
    stage.assert_started_once_each(2);
    let days: Vec<_> = stage.databricks.runs().iter().map(|run| run.body["job_parameters"]["day"].clone()).collect();
    assert_eq!(days, ["0", "0"], "{}", stage.story(&run));
    history.assert_no_end_but_of(&run.text("runId"));
}

#[tokio::test]
async fn with_replace_a_rerun_token_replaces_the_live_run() {
    let stage = Stage::set("replace-rerun").await;
    let job = stage.databricks.job("nightly").running_forever().id();
    let _operator = stage.operator().await;
    stage.apply(&of_day(&stage, job, "Replace", 0)).await;
    let first = stage.running("edited").await.text("runId");
    stage.annotate("edited", "dbrun.dev/rerun-requested-at", "monday").await;
    let run = stage.running_anew("edited", &first).await;
    assert_eq!(run.text("lastHandledRerun"), "monday", "{}", stage.story(&run));
    assert_eq!((&run.past(0)["runId"], &run.past(0)["state"]), (&json!(first), &json!("Canceled")));
    stage.assert_started_once_each(2);
}
