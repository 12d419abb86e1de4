//! Objects that are being deleted. Of those of a hook, which Argo CD holds until the hook has ended, its scripts must say when
//! that is: one that is held for ever would hold up the sync.

use std::time::Duration;

use e2e::gitops::argocd::HOOK_FINALIZER;
use e2e::stage::Stage;
use e2e::workspace::Script;
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};

use super::{RUN, run_rests_at};
use crate::run_now;

/// A run as Argo CD makes one for a hook.
fn hook(stage: &Stage, script: Script) -> Value {
    let job = stage.databricks.job("nightly-etl").script(script).id();
    let mut object = stage.run(RUN, run_now(job));
    object["metadata"]["annotations"] = json!({"argocd.argoproj.io/hook": "PreSync"});
    object["metadata"]["finalizers"] = json!([HOOK_FINALIZER]);
    object
}

async fn let_go(stage: &Stage) {
    let free = Patch::Merge(json!({"metadata": {"finalizers": null}}));
    stage.runs().patch(RUN, &PatchParams::default(), &free).await.unwrap();
    stage.gone(RUN).await;
}

#[tokio::test]
async fn while_a_hook_s_run_is_being_cancelled_the_hook_runs() {
    let stage = Stage::set("gitops-deleting").await;
    let _operator = stage.operator().await;
    let never = Duration::from_hours(24 * 365);
    stage.apply(&hook(&stage, Script::new().running_forever().cancel_takes(never))).await;
    stage.running(RUN).await;
    stage.delete(RUN).await;
    stage.until_reason(RUN, "Reconciling", "Canceling").await;
    run_rests_at(&stage, "progressing_deleting").await;
    let_go(&stage).await;
}

#[tokio::test]
async fn when_a_hook_s_run_has_been_cancelled_the_hook_has_failed() {
    let stage = Stage::set("gitops-deleted").await;
    let _operator = stage.operator().await;
    stage.apply(&hook(&stage, Script::new().running_forever())).await;
    stage.running(RUN).await;
    stage.delete(RUN).await;
    stage.finished(RUN).await;
    run_rests_at(&stage, "degraded_deleted").await;
    let_go(&stage).await;
}

#[tokio::test]
async fn a_hook_that_is_deleted_before_it_started_has_failed() {
    let stage = Stage::set("gitops-unstarted").await;
    let _operator = stage.operator().await;
    let mut object = hook(&stage, Script::new());
    object["spec"]["suspend"] = json!(true);
    stage.apply(&object).await;
    stage.suspended(RUN).await;
    stage.delete(RUN).await;
    run_rests_at(&stage, "degraded_deleted_unstarted").await;
    let_go(&stage).await;
    assert_eq!(stage.databricks.runs_started(), 0, "{}", stage.databricks.story());
}
