//! Deletions when something that a cancellation needs is gone: the run is cancelled where that can still be done, and
//! named in a warning where it cannot; the object goes in any case.

use std::time::Duration;

use databricks_run_operator::controller::Options;
use e2e::stage::{Stage, WORKSPACE};
use e2e::wait::wait_gone;
use e2e::workspace::{Access, Fault, Kind, OWNER, Operation};
use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use kube::api::DeleteParams;
use serde_json::json;

use crate::run_now;

fn short(options: &mut Options) {
    options.deletion_deadline = Duration::from_secs(4);
}

/// Starts the run `doomed` and waits until it is under way; its id.
async fn live(stage: &Stage) -> String {
    let job = stage.databricks.job("nightly").running_forever().id();
    stage.apply(&stage.run("doomed", run_now(job))).await;
    stage.running("doomed").await.text("runId")
}

async fn delete_secret(stage: &Stage) {
    let secrets: Api<Secret> = Api::namespaced(stage.client.clone(), &stage.namespace);
    secrets.delete("databricks", &DeleteParams::default()).await.unwrap();
}

/// The object goes, and the event that is left names the run.
async fn goes_with_a_warning(stage: &Stage, run: &str) {
    stage.delete("doomed").await;
    stage.gone("doomed").await;
    let told = stage.event("doomed", "RunOrphaned").await;
    assert!(told.contains(run) && told.contains("may go on"), "{told}");
    assert!(stage.databricks.runs()[0].active, "{}", stage.databricks.story());
}

#[tokio::test]
async fn a_run_is_cancelled_although_its_secret_went_first() {
    let stage = Stage::set("no-secret-left").await;
    let _operator = stage.operator().await;
    live(&stage).await;
    delete_secret(&stage).await;
    stage.delete("doomed").await;
    stage.gone("doomed").await;
    assert!(!stage.databricks.runs()[0].active, "{}", stage.databricks.story());
}

#[tokio::test]
async fn a_run_is_cancelled_although_its_workspace_object_went_first() {
    let stage = Stage::set("no-workspace-left").await;
    let _operator = stage.operator().await;
    live(&stage).await;
    stage.workspaces().delete(WORKSPACE, &DeleteParams::default()).await.unwrap();
    wait_gone(&stage.workspaces(), WORKSPACE).await;
    stage.delete("doomed").await;
    stage.gone("doomed").await;
    assert!(!stage.databricks.runs()[0].active, "{}", stage.databricks.story());
}

#[tokio::test]
async fn after_a_restart_without_the_secret_the_object_goes_with_a_warning() {
    let stage = Stage::set("secret-forgotten").await;
    let first = stage.operator().await;
    let run = live(&stage).await;
    first.stop();
    delete_secret(&stage).await;
    let _next = stage.operator_with(short).await;
    goes_with_a_warning(&stage, &run).await;
    assert_eq!(stage.databricks.count(Operation::Cancel), 0, "{}", stage.databricks.story());
}

#[tokio::test]
async fn after_a_restart_without_the_workspace_object_the_object_goes_with_a_warning() {
    let stage = Stage::set("workspace-forgotten").await;
    let first = stage.operator().await;
    let run = live(&stage).await;
    first.stop();
    stage.workspaces().delete(WORKSPACE, &DeleteParams::default()).await.unwrap();
    let _next = stage.operator_with(short).await;
    goes_with_a_warning(&stage, &run).await;
    assert_eq!(stage.databricks.count(Operation::Cancel), 0, "{}", stage.databricks.story());
}

#[tokio::test]
async fn without_the_right_to_cancel_the_object_goes_with_a_warning() {
    let stage = Stage::set("no-right").await;
    let _operator = stage.operator_with(short).await;
    let run = live(&stage).await;
    stage.databricks.allow(OWNER, Some(stage.databricks.runs()[0].job_id), Access::View);
    goes_with_a_warning(&stage, &run).await;
}

#[tokio::test]
async fn when_the_host_does_not_answer_the_object_goes_with_a_warning() {
    let stage = Stage::set("no-host").await;
    let _operator = stage.operator_with(short).await;
    let run = live(&stage).await;
    stage.databricks.fault(Fault::everywhere(Kind::Reset));
    goes_with_a_warning(&stage, &run).await;
}

#[tokio::test]
async fn an_orphan_whose_start_is_in_doubt_goes_at_once_and_the_doubt_is_told() {
    let stage = Stage::set("orphan-doubt").await;
    let job = stage.databricks.job("nightly").running_forever().id();
    stage.databricks.fault(Fault::on(Operation::RunNow, Kind::LoseAnswer));
    let _operator = stage.operator().await;
    let mut object = stage.run("doomed", run_now(job));
    object["spec"]["deletionPolicy"] = json!("Orphan");
    stage.apply(&object).await;
    stage.until_reason("doomed", "Reconciling", "ProgressingWithRetry").await;
    stage.delete("doomed").await;
    stage.gone("doomed").await;
    let told = stage.event("doomed", "RunOrphaned").await;
    assert!(told.contains("a run may be going on"), "{told}");
    assert_eq!(stage.databricks.count(Operation::Cancel), 0, "{}", stage.databricks.story());
    stage.assert_started_once_each(1);
}

#[tokio::test]
async fn a_start_that_nobody_answers_holds_its_deleted_object_for_a_while_only() {
    let stage = Stage::set("doubt-for-good").await;
    let job = stage.databricks.job("nightly").running_forever().id();
    stage.databricks.fault(Fault::on(Operation::RunNow, Kind::LoseAnswer));
    let _operator = stage.operator_with(short).await;
    stage.apply(&stage.run("doomed", run_now(job))).await;
    stage.until_reason("doomed", "Reconciling", "ProgressingWithRetry").await;
    stage.delete("doomed").await;
    stage.gone("doomed").await;
    let told = stage.event("doomed", "RunOrphaned").await;
    assert!(told.contains("could not be found out in time"), "{told}");
    stage.assert_started_once_each(1);
}
