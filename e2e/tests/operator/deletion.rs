//! Deleting an object leaves nothing billing that can be stopped, and holds nothing for ever.

use std::time::Duration;

use e2e::stage::Stage;
use e2e::wait::wait_gone;
use e2e::workspace::{Fault, Kind, Operation};
use k8s_openapi::api::core::v1::Namespace;
use kube::Api;
use kube::api::{DeleteParams, Patch, PatchParams};
use serde_json::json;

use crate::run_now;

#[tokio::test]
async fn deleting_an_object_cancels_its_run_first() {
    let stage = Stage::set("delete").await;
    let job = stage.databricks.job("nightly").running_forever().id();
    let _operator = stage.operator().await;
    stage.apply(&stage.run("doomed", run_now(job))).await;
    stage.running("doomed").await;
    stage.delete("doomed").await;
    stage.gone("doomed").await;
    let run = &stage.databricks.runs()[0];
    assert_eq!((run.active, run.result_state.as_deref()), (false, Some("CANCELED")), "{}", stage.databricks.story());
    stage.assert_started_once_each(1);
    assert_eq!(stage.databricks.violations(), 0);
}

#[tokio::test]
async fn an_orphaned_run_goes_on() {
    let stage = Stage::set("orphan").await;
    let job = stage.databricks.job("nightly").running_forever().id();
    let _operator = stage.operator().await;
    let mut object = stage.run("let-go", run_now(job));
    object["spec"]["deletionPolicy"] = json!("Orphan");
    stage.apply(&object).await;
    stage.running("let-go").await;
    stage.delete("let-go").await;
    stage.gone("let-go").await;
    assert!(stage.databricks.runs()[0].active, "{}", stage.databricks.story());
    assert_eq!(stage.databricks.count(Operation::Cancel), 0);
    stage.event("let-go", "RunOrphaned").await;
}

#[tokio::test]
async fn an_object_that_never_started_is_simply_gone() {
    let stage = Stage::bare("unstarted").await;
    let _operator = stage.operator().await;
    stage.apply(&stage.run("waits", run_now(1))).await;
    stage.until_reason("waits", "Reconciling", "WorkspaceNotFound").await;
    stage.delete("waits").await;
    stage.gone("waits").await;
    assert_eq!(stage.databricks.runs_started(), 0);
}

#[tokio::test]
async fn an_object_deleted_while_its_run_is_being_started_leaves_no_run_behind() {
    let stage = Stage::set("delete-early").await;
    let job = stage.databricks.job("nightly").running_forever().id();
    stage.databricks.fault(Fault::on(Operation::RunNow, Kind::HoldAnswer).once());
    let _operator = stage.operator().await;
    stage.apply(&stage.run("doomed", run_now(job))).await;
    stage.until_started(1).await;
    stage.delete("doomed").await;
    stage.databricks.clear_faults();
    stage.gone("doomed").await;
    assert!(!stage.databricks.runs()[0].active, "{}", stage.databricks.story());
    stage.assert_started_once_each(1);
}

#[tokio::test]
async fn a_finalizer_that_somebody_took_off_a_live_run_is_put_back() {
    let stage = Stage::set("stripped").await;
    let job = stage.databricks.job("nightly").running_forever().id();
    let _operator = stage.operator().await;
    stage.apply(&stage.run("live", run_now(job))).await;
    stage.running("live").await;
    let stripped = Patch::Merge(json!({"metadata": {"finalizers": null}}));
    let stripped = stage.runs().patch("live", &PatchParams::default(), &stripped).await.unwrap();
    assert!(!stripped.is_held());
    stage.until("live", "held again", |run| run.0.is_held()).await;
    stage.delete("live").await;
    stage.gone("live").await;
    assert!(!stage.databricks.runs()[0].active, "{}", stage.databricks.story());
    stage.assert_started_once_each(1);
}

#[tokio::test]
async fn a_namespace_with_live_runs_can_be_deleted() {
    let stage = Stage::set("whole").await;
    // Its role bindings go with everything else.
    stage.expect_refusals();
    let job = stage.databricks.job("nightly").running_forever().id();
    let _operator = stage.operator().await;
    for name in ["one", "two"] {
        stage.apply(&stage.run(name, run_now(job))).await;
        stage.running(name).await;
    }
    let namespaces: Api<Namespace> = Api::all(stage.client.clone());
    namespaces.delete(&stage.namespace, &DeleteParams::default()).await.unwrap();
    wait_gone(&namespaces, &stage.namespace).await;
    assert!(stage.databricks.runs().iter().all(|run| !run.active), "{}", stage.databricks.story());
}

#[tokio::test]
async fn a_run_that_cannot_be_cancelled_holds_its_object_for_a_while_only() {
    let stage = Stage::set("stuck").await;
    let job = stage.databricks.job("nightly").running_forever().id();
    stage.databricks.fault(Fault::on(Operation::Cancel, Kind::error(500, "INTERNAL_ERROR", "boom")));
    let _operator = stage.operator_with(|options| options.deletion_deadline = Duration::from_secs(4)).await;
    stage.apply(&stage.run("stuck", run_now(job))).await;
    let run = stage.running("stuck").await.text("runId");
    stage.delete("stuck").await;
    stage.gone("stuck").await;
    let told = stage.event("stuck", "RunOrphaned").await;
    assert!(told.contains(&run) && told.contains("may go on"), "{told}");
    assert!(stage.databricks.count(Operation::Cancel) >= 3, "{}", stage.databricks.story());
}
