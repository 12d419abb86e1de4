//! What admission lets pass and should not run: refused before anything is sent, or told as Databricks tells it.

use e2e::stage::{RunView, Stage};
use e2e::workspace::{Fault, Kind, Operation};
use serde_json::{Value, json};

use crate::{notebook, run_now_with, submit};

/// The end of a run that must be refused before anything is sent.
async fn refused(prefix: &str, body: Value) -> RunView {
    let stage = Stage::set(prefix).await;
    let _operator = stage.operator().await;
    stage.apply(&stage.run("wrong", body)).await;
    let run = stage.finished("wrong").await;
    assert_eq!((run.text("state"), run.reason("Stalled")), ("Rejected".into(), "SubmitRejected".into()));
    assert!(run.message("Stalled").contains("nothing was sent"), "{}", run.message("Stalled"));
    let sent = stage.databricks.requests().iter().filter(|entry| entry.operation.starts_a_run()).count();
    assert_eq!(sent, 0, "{}", stage.story(&run));
    run
}

#[tokio::test]
async fn a_body_that_is_too_long_is_refused_before_it_is_sent() {
    let body = json!({"runNow": {"job_id": 1, "from_tomorrow": "x".repeat(256 * 1024)}});
    let run = refused("too-long", body).await;
    assert!(run.message("Stalled").contains("262144"), "{}", run.message("Stalled"));
}

#[tokio::test]
async fn a_dependency_on_no_task_is_refused_before_it_is_sent() {
    let mut task = notebook("load", "/Shared/load");
    task["depends_on"] = json!([{"task_key": "extrakt"}]);
    let run = refused("no-task", submit("etl", json!([notebook("extract", "/Shared/extract"), task]))).await;
    let message = run.message("Stalled");
    assert!(message.contains("`load`") && message.contains("`extrakt`"), "{message}");
}

#[tokio::test]
async fn an_id_that_no_job_can_have_is_refused_before_it_is_sent() {
    let run = refused("huge-id", json!({"runNow": {"job_id": "9223372036854775808"}})).await;
    assert!(run.message("Stalled").contains("runNow.job_id"), "{}", run.message("Stalled"));
}

#[tokio::test]
async fn a_misspelt_field_is_sent_as_it_is_and_told() {
    let stage = Stage::set("misspelt").await;
    let job = stage.databricks.job("nightly").id();
    let _operator = stage.operator().await;
    stage.apply(&stage.run("typo", json!({"runNow": {"job_id": job, "job_paramters": {"day": "1"}}}))).await;
    stage.finished("typo").await;
    let told = stage.event("typo", "UnknownField").await;
    assert!(told.contains("job_paramters") && told.contains("`job_parameters`"), "{told}");
    let body = &stage.databricks.runs()[0].body;
    assert_eq!(body["job_paramters"]["day"], "1", "{body:#}");
}

#[tokio::test]
async fn an_id_above_2_to_the_53_arrives_as_it_was_written() {
    let stage = Stage::set("big-id").await;
    let _operator = stage.operator().await;
    stage.apply(&stage.run("big", json!({"runNow": {"job_id": 9_007_199_254_740_993_i64}}))).await;
    let run = stage.finished("big").await;
    assert_eq!(run.reason("Stalled"), "JobNotFound", "{}", stage.story(&run));
    assert!(run.message("Stalled").contains("9007199254740993"), "{}", run.message("Stalled"));
}

#[tokio::test]
async fn a_continuous_job_is_restarted_once_and_told() {
    let stage = Stage::set("continuous").await;
    let job = stage.databricks.job("stream").continuous().id();
    let _operator = stage.operator().await;
    stage.apply(&stage.run("stream", json!({"runNow": {"job_id": job}}))).await;
    let run = stage.finished("stream").await;
    assert_eq!((run.text("state"), run.reason("Stalled")), ("Rejected".into(), "ContinuousJob".into()));
    assert_eq!(stage.databricks.count(Operation::RunNow), 1, "{}", stage.story(&run));
}

#[tokio::test]
async fn what_databricks_refuses_is_told_and_not_sent_again_until_it_changes() {
    let stage = Stage::set("rejected").await;
    let job = stage.databricks.job("nightly").id();
    let refusal = Kind::error(400, "INVALID_PARAMETER_VALUE", "Cluster 1123-abc is not to your liking.");
    stage.databricks.fault(Fault::on(Operation::RunNow, refusal));
    let _operator = stage.operator().await;
    let mut object = stage.run("refused", run_now_with(job, "day", "1"));
    stage.apply(&object).await;
    let run = stage.finished("refused").await;
    assert_eq!((run.text("state"), run.reason("Stalled")), ("Rejected".into(), "SubmitRejected".into()));
    assert!(run.message("Stalled").contains("Cluster 1123-abc is not to your liking."), "{}", stage.story(&run));
    object["spec"]["output"] = json!({"maxBytes": 100});
    stage.apply(&object).await;
    stage.until("refused", "seen again", |run| run.status()["observedGeneration"] == 2).await;
    assert_eq!(stage.databricks.count(Operation::RunNow), 1, "{}", stage.databricks.story());
    stage.databricks.clear_faults();
    stage.apply(&stage.run("refused", run_now_with(job, "day", "2"))).await;
    let run = stage.until("refused", "a success", |run| run.text("state") == "Succeeded").await;
    assert_eq!(run.status()["attempts"][0]["state"], "Rejected", "{}", stage.story(&run));
    stage.assert_started_once_each(1);
}
