//! The contract of the conditions, which Flux, Argo CD, Helm and scripts build on.

use std::time::Duration;

use e2e::stage::{RunView, Stage};
use e2e::workspace::Script;
use serde_json::json;

use crate::{run_now, submit};

fn three(run: &RunView) -> [String; 3] {
    ["Ready", "Succeeded", "Finished"].map(|kind| run.condition(kind))
}

#[tokio::test]
async fn an_object_that_no_operator_has_seen_is_unknown() {
    let stage = Stage::set("unseen").await;
    stage.apply(&stage.run("fresh", run_now(1))).await;
    let run = stage.now("fresh").await;
    assert_eq!(run.status()["observedGeneration"], -1);
    assert_eq!(three(&run), ["Unknown", "Unknown", "Unknown"], "{}", stage.story(&run));
}

#[tokio::test]
async fn a_run_under_way_is_reconciling_and_not_finished() {
    let stage = Stage::set("under-way").await;
    let job = stage.databricks.job("nightly").running_forever().id();
    let _operator = stage.operator().await;
    stage.apply(&stage.run("live", run_now(job))).await;
    let run = stage.running("live").await;
    assert_eq!((run.condition("Reconciling"), run.reason("Reconciling")), ("True".into(), "Running".into()));
    assert_eq!(three(&run), ["Unknown", "Unknown", "False"], "{}", stage.story(&run));
    assert_eq!(run.status()["observedGeneration"], 1);
}

#[tokio::test]
async fn a_success_is_ready_and_was_never_stalled() {
    let stage = Stage::set("contract-good").await;
    let job = stage.databricks.job("nightly").running_forever().id();
    let _operator = stage.operator().await;
    let history = stage.history("good");
    stage.apply(&stage.run("good", run_now(job))).await;
    stage.running("good").await;
    stage.databricks.finish(stage.databricks.runs()[0].id);
    let run = stage.finished("good").await;
    assert_eq!(three(&run), ["True", "True", "True"], "{}", stage.story(&run));
    assert_eq!((run.condition("Reconciling"), run.condition("Stalled")), (String::new(), String::new()));
    for version in history.so_far() {
        assert_eq!(version.condition("Stalled"), "", "{:#}", version.status());
    }
}

#[tokio::test]
async fn a_failure_is_stalled_and_never_reconciling_at_once() {
    let stage = Stage::set("contract-bad").await;
    let job = stage.databricks.job("nightly").failing("ValueError", "trace").id();
    let _operator = stage.operator().await;
    let history = stage.history("bad");
    stage.apply(&stage.run("bad", run_now(job))).await;
    let run = stage.finished("bad").await;
    assert_eq!(three(&run), ["False", "False", "True"], "{}", stage.story(&run));
    assert_eq!((run.condition("Reconciling"), run.condition("Stalled")), (String::new(), "True".into()));
    for version in history.so_far() {
        let both = version.condition("Reconciling") == "True" && version.condition("Stalled") == "True";
        assert!(!both, "{:#}", version.status());
    }
}

#[tokio::test]
async fn a_run_that_waits_for_its_new_cluster_says_how_long_that_takes() {
    let stage = Stage::set("new-cluster").await;
    stage.databricks.on_run_name("etl", Script::new().pending_for(Duration::from_hours(1)));
    let _operator = stage.operator().await;
    let cluster = json!({"spark_version": "15.4.x-scala2.12", "node_type_id": "Standard_DS3_v2", "num_workers": 1});
    let task = json!({"task_key": "main", "notebook_task": {"notebook_path": "/Shared/etl"}, "new_cluster": cluster});
    stage.apply(&stage.run("cold", submit("etl", json!([task])))).await;
    stage.until("cold", "waiting for its cluster", |run| run.message("Ready").contains("3 to 8 minutes")).await;
}

#[tokio::test]
async fn a_run_in_the_queue_says_so() {
    let stage = Stage::set("queued").await;
    let job = stage.databricks.job("nightly").script(Script::new().queued_for(Duration::from_hours(1))).id();
    let _operator = stage.operator().await;
    stage.apply(&stage.run("queued", run_now(job))).await;
    let run = stage.until_reason("queued", "Reconciling", "Queued").await;
    assert_eq!(run.text("state"), "Queued", "{}", stage.story(&run));
}
