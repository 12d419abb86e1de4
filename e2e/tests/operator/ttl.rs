//! `ttlSecondsAfterFinished`: a finished object goes when its time is up, unless a tool would put it back and run it again.

use e2e::stage::Stage;
use serde_json::{Value, json};

use crate::run_now;

const ARGO: &str = "argocd.argoproj.io/tracking-id";

/// A manifest of a run that is kept for so long after its end.
fn kept_for(stage: &Stage, name: &str, job: i64, seconds: u32) -> Value {
    let mut object = stage.run(name, run_now(job));
    object["spec"]["ttlSecondsAfterFinished"] = json!(seconds);
    object
}

#[tokio::test]
async fn a_finished_object_is_deleted_when_its_time_is_up_and_its_run_stays() {
    let stage = Stage::set("ttl").await;
    let job = stage.databricks.job("nightly").id();
    let _operator = stage.operator().await;
    let history = stage.history("brief");
    stage.apply(&kept_for(&stage, "brief", job, 1)).await;
    stage.event("brief", "TTLExpired").await;
    stage.gone("brief").await;
    let last = history.so_far().pop().expect("it was seen");
    assert_eq!((last.text("state"), last.0.is_held()), ("Succeeded".into(), false), "{}", stage.story(&last));
    assert_eq!(stage.databricks.runs().len(), 1, "{}", stage.databricks.story());
    stage.assert_started_once_each(1);
}

#[tokio::test]
async fn the_time_can_be_changed_after_the_end() {
    let stage = Stage::set("ttl-edited").await;
    let job = stage.databricks.job("nightly").id();
    let _operator = stage.operator().await;
    stage.apply(&kept_for(&stage, "kept", job, 3600)).await;
    stage.finished("kept").await;
    stage.edit("kept", json!({"ttlSecondsAfterFinished": 0})).await;
    stage.gone("kept").await;
    stage.assert_started_once_each(1);
}

#[tokio::test]
async fn what_argo_cd_would_put_back_is_kept_and_told_once() {
    let stage = Stage::set("ttl-argo").await;
    let job = stage.databricks.job("nightly").id();
    let _operator = stage.operator().await;
    let mut object = kept_for(&stage, "tracked", job, 1);
    object["metadata"]["annotations"] = json!({ARGO: "app:dbrun.dev/DatabricksRun:default/tracked"});
    stage.apply(&object).await;
    let run = stage.until("tracked", "kept", |run| run.text("ttlSkippedBy") == ARGO).await;
    assert_eq!((run.text("state"), run.condition("Ready")), ("Succeeded".into(), "True".into()));
    let told = stage.event("tracked", "TTLSkipped").await;
    assert!(told.contains(ARGO), "{told}");
    // Looked at again, it is neither deleted nor told once more.
    stage.edit("tracked", json!({"ttlSecondsAfterFinished": 2})).await;
    let run = stage.seen("tracked", 2).await;
    assert_eq!(run.text("ttlSkippedBy"), ARGO, "{}", stage.story(&run));
    // The whole life of another object is the time in which nothing may happen to this one.
    stage.apply(&kept_for(&stage, "brief", job, 1)).await;
    stage.event("brief", "TTLExpired").await;
    assert_eq!(stage.now("tracked").await.0.metadata.resource_version, run.0.metadata.resource_version);
    let skipped = stage.events("tracked").await.iter().filter(|told| told.starts_with("TTLSkipped")).count();
    assert_eq!(skipped, 1);
    stage.assert_started_once_each(2);
}

#[tokio::test]
async fn an_administrator_s_own_mark_keeps_an_object() {
    let stage = Stage::set("ttl-own").await;
    let job = stage.databricks.job("nightly").id();
    let _operator = stage.operator_with(|options| options.ttl_keep_keys = vec!["deploy.corp/keeper".to_owned()]).await;
    let mut object = kept_for(&stage, "tracked", job, 1);
    object["metadata"]["labels"] = json!({"deploy.corp/keeper": "x"});
    stage.apply(&object).await;
    stage.until("tracked", "kept", |run| run.text("ttlSkippedBy") == "deploy.corp/keeper").await;
    // Without the mark its time is up.
    object["metadata"]["labels"] = json!({});
    stage.apply(&object).await;
    stage.gone("tracked").await;
}
