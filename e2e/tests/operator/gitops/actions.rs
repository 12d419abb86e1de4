//! The actions that Argo CD offers, taken as it takes them: the script is run on the object as it is, and the difference to what
//! it returned is sent as a merge patch.

use e2e::gitops::argocd::Scripts;
use e2e::stage::{RunView, Stage};
use e2e::workspace::{Operation, Script};
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};

use super::{RUN, live};
use crate::run_now;

/// Applies a run of the job `nightly-etl`.
async fn begin(stage: &Stage, script: Script) {
    let job = stage.databricks.job("nightly-etl").script(script).id();
    assert!(job > 1 << 53, "no float holds the id {job}: what is left of it is a part of what is tested here");
    stage.apply(&stage.run(RUN, run_now(job))).await;
}

/// Takes an action, which must be on offer and must leave the request as it is.
async fn take(stage: &Stage, action: &str) {
    let object = live(stage, "DatabricksRun", RUN).await;
    let scripts = Scripts::of(&object);
    let offered = scripts.actions(&object);
    assert!(offered.contains_key(action), "{action} is not among {offered:?}");
    let patch = Patch::Merge(scripts.patch(action, &object));
    stage.runs().patch(RUN, &PatchParams::default(), &patch).await.unwrap();
    let after = live(stage, "DatabricksRun", RUN).await;
    assert_eq!(after["spec"]["runNow"], object["spec"]["runNow"]);
}

async fn health(stage: &Stage) -> String {
    let object = live(stage, "DatabricksRun", RUN).await;
    Scripts::of(&object).health(&object).status
}

/// Waits until the newest request has handled a token.
async fn handled(stage: &Stage, field: &str) -> RunView {
    stage.until(RUN, field, |run| !run.text(field).is_empty()).await
}

#[tokio::test]
async fn rerun_starts_exactly_one_more_run() {
    let stage = Stage::set("argo-rerun").await;
    let _operator = stage.operator().await;
    begin(&stage, Script::new()).await;
    let first = stage.finished(RUN).await;
    take(&stage, "rerun").await;
    handled(&stage, "lastHandledRerun").await;
    let second = stage.finished(RUN).await;
    assert_eq!(second.text("state"), "Succeeded", "{}", stage.story(&second));
    assert_ne!(first.text("runId"), second.text("runId"));
    assert_eq!(second.text("jobId"), first.text("jobId"));
    // A change that is seen for sure, after which nothing more may have been started.
    stage.edit(RUN, json!({"output": {"maxBytes": 100}})).await;
    stage.seen(RUN, 2).await;
    stage.assert_started_once_each(2);
    assert_eq!(health(&stage).await, "Healthy");
}

#[tokio::test]
async fn cancel_ends_the_live_run_for_good() {
    let stage = Stage::set("argo-cancel").await;
    let _operator = stage.operator().await;
    begin(&stage, Script::new().running_forever()).await;
    stage.running(RUN).await;
    take(&stage, "cancel").await;
    let run = stage.finished(RUN).await;
    assert_eq!(run.text("state"), "Canceled", "{}", stage.story(&run));
    assert!(!stage.databricks.runs()[0].active, "{}", stage.story(&run));
    stage.assert_started_once_each(1);
    assert_eq!(health(&stage).await, "Degraded");
}

#[tokio::test]
async fn suspend_cancels_the_live_run_and_resume_starts_anew() {
    let stage = Stage::set("argo-suspend").await;
    let _operator = stage.operator().await;
    begin(&stage, Script::new().running_forever()).await;
    stage.running(RUN).await;
    take(&stage, "suspend").await;
    let run = stage.suspended(RUN).await;
    assert!(!stage.databricks.runs()[0].active, "{}", stage.story(&run));
    stage.assert_started_once_each(1);
    assert_eq!(health(&stage).await, "Suspended");
    let _ = stage.databricks.job("nightly-etl").script(Script::new());
    take(&stage, "resume").await;
    let run = stage.finished(RUN).await;
    assert_eq!(run.text("state"), "Succeeded", "{}", stage.story(&run));
    stage.assert_started_once_each(2);
    assert_eq!(health(&stage).await, "Healthy");
}

#[tokio::test]
async fn what_is_suspended_before_it_starts_is_held_until_it_is_resumed() {
    let stage = Stage::set("argo-hold").await;
    begin(&stage, Script::new()).await;
    take(&stage, "suspend").await;
    let _operator = stage.operator().await;
    stage.suspended(RUN).await;
    assert_eq!(stage.databricks.runs_started(), 0, "{}", stage.databricks.story());
    take(&stage, "resume").await;
    let run = stage.finished(RUN).await;
    assert_eq!(run.text("state"), "Succeeded", "{}", stage.story(&run));
    stage.assert_started_once_each(1);
}

#[tokio::test]
async fn repair_runs_what_failed_again_within_the_same_run() {
    let stage = Stage::set("argo-repair").await;
    let _operator = stage.operator().await;
    begin(&stage, Script::new().failing("ValueError: no rows", "line 3")).await;
    let failed = stage.finished(RUN).await;
    assert_eq!(health(&stage).await, "Degraded");
    let _ = stage.databricks.job("nightly-etl").script(Script::new());
    take(&stage, "repair").await;
    let run = stage.until(RUN, "a success", |run| run.text("state") == "Succeeded").await;
    assert_eq!(run.text("runId"), failed.text("runId"), "{}", stage.story(&run));
    assert_eq!(stage.databricks.count(Operation::Repair), 1, "{}", stage.databricks.story());
    stage.assert_started_once_each(1);
}

#[tokio::test]
async fn between_two_attempts_argo_cd_is_shown_neither_green_nor_red() {
    let stage = Stage::set("argo-attempts").await;
    let _operator = stage.operator().await;
    let history = stage.history(RUN);
    let cloud = Script::new().ending(e2e::workspace::Ending::of_code("CLOUD_FAILURE"));
    let job = stage.databricks.job("nightly-etl").script(cloud).id();
    let mut object = stage.run(RUN, run_now(job));
    object["spec"]["backoffLimit"] = json!(1);
    stage.apply(&object).await;
    stage.until(RUN, "waiting for its next attempt", |run| run.text("state") == "Retrying").await;
    let _ = stage.databricks.job("nightly-etl").script(Script::new());
    stage.finished(RUN).await;
    let mut shown: Vec<String> = Vec::new();
    for version in history.so_far() {
        let mut object: Value = serde_json::to_value(&version.0).unwrap();
        object["kind"] = json!("DatabricksRun");
        shown.push(Scripts::of(&object).health(&object).status);
    }
    shown.dedup();
    assert_eq!(shown, ["Progressing", "Healthy"]);
}
