//! Objects that come back from a backup or are copied: they have been run before, and start nothing until they are asked to.

use e2e::stage::Stage;
use serde_json::json;

use crate::run_now_with;

/// A finished run as `kubectl get -o yaml` gives it.
async fn finished_manifest(stage: &Stage, job: i64) -> String {
    stage.apply(&stage.run("nightly", run_now_with(job, "day", "1"))).await;
    let run = stage.finished("nightly").await;
    assert_eq!(run.text("state"), "Succeeded", "{}", stage.story(&run));
    stage.kubectl(&["get", "dbrun", "nightly", "-o", "yaml"]).await
}

#[tokio::test]
async fn a_copy_in_another_namespace_starts_nothing_until_its_remedy_is_applied() {
    let (stage, other) = tokio::join!(Stage::set("original"), Stage::set("copy"));
    let (_operator, _others) = tokio::join!(stage.operator(), other.operator());
    let job = stage.databricks.job("nightly").id();
    let manifest = finished_manifest(&stage, job).await;
    assert!(manifest.contains("dbrun.dev/start") && manifest.contains("runId"), "{manifest}");
    // As with sed: kubectl refuses a manifest of another namespace than the one it is told. The jobs' ids differ, too.
    let there = other.databricks.job("nightly").id();
    let manifest = manifest.replace(&*stage.namespace, &other.namespace).replace(&job.to_string(), &there.to_string());
    other.kubectl_reading(&["apply", "-f", "-"], &manifest).await;
    let run = other.until_reason("nightly", "Stalled", "Restored").await;
    assert_eq!(run.condition("Finished"), "False", "{}", other.story(&run));
    assert_eq!(run.text("runId"), "", "what is known of another object's run is not this one's");
    other.event("nightly", "Restored").await;
    // An edit does not make it any younger.
    other.edit("nightly", json!({"runNow": {"job_parameters": {"day": "2"}}})).await;
    let run = other.seen("nightly", 2).await;
    assert_eq!(run.reason("Stalled"), "Restored", "{}", other.story(&run));
    assert_eq!(other.databricks.runs_started(), 0, "{}", other.databricks.story());
    // The remedy, as the message spells it, but for the name.
    let remedy = "kubectl annotate dbrun NAME dbrun.dev/rerun-requested-at=\"$(date)\" --overwrite";
    assert!(run.message("Stalled").contains(remedy), "{}", run.message("Stalled"));
    other.kubectl(&["annotate", "dbrun", "nightly", "dbrun.dev/rerun-requested-at=today", "--overwrite"]).await;
    let run = other.finished("nightly").await;
    assert_eq!((run.text("state"), run.text("lastHandledRerun")), ("Succeeded".into(), "today".into()));
    other.assert_started_once_each(1);
    stage.assert_started_once_each(1);
}

#[tokio::test]
async fn an_object_that_was_deleted_and_is_restored_starts_nothing() {
    let stage = Stage::set("restored").await;
    let job = stage.databricks.job("nightly").id();
    let _operator = stage.operator().await;
    let manifest = finished_manifest(&stage, job).await;
    stage.delete("nightly").await;
    stage.gone("nightly").await;
    stage.kubectl_reading(&["apply", "-f", "-"], &manifest).await;
    let run = stage.until_reason("nightly", "Stalled", "Restored").await;
    assert_eq!(run.condition("Succeeded"), "Unknown", "{}", stage.story(&run));
    stage.assert_started_once_each(1);
}

#[tokio::test]
async fn a_manifest_that_is_applied_over_its_own_object_changes_nothing() {
    let stage = Stage::set("same-object").await;
    let job = stage.databricks.job("nightly").id();
    let _operator = stage.operator().await;
    let manifest = finished_manifest(&stage, job).await;
    let before = stage.now("nightly").await;
    stage.kubectl_reading(&["apply", "-f", "-"], &manifest).await;
    stage.edit("nightly", json!({"output": {"maxBytes": 100}})).await;
    let run = stage.seen("nightly", 2).await;
    assert_eq!((run.text("state"), run.text("runId")), ("Succeeded".into(), before.text("runId")));
    stage.assert_started_once_each(1);
}
