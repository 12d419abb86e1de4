//! A namespace is deleted with live runs in it. What is namespaced among the operator's rights goes first, with the Secrets;
//! that order is brought about here, because the namespace controller only tends to it.

use std::collections::BTreeSet;
use std::time::Duration;

use e2e::cluster::rights::{Mode, Right};
use e2e::stage::Stage;
use e2e::wait::{eventually, wait_gone};
use e2e::workspace::Operation;
use k8s_openapi::api::core::v1::Namespace;
use k8s_openapi::api::rbac::v1::RoleBinding;
use kube::Api;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams};
use serde_json::json;

use crate::run_now;

/// A stage with a live run, ready to lose its namespace; the run's id.
async fn live(stage: &Stage) -> String {
    stage.expect_refusals();
    let job = stage.databricks.job("nightly").running_forever().id();
    stage.apply(&stage.run("doomed", run_now(job))).await;
    stage.running("doomed").await.text("runId")
}

/// Takes away what a deletion takes first, and returns when the operator has lost what it holds by it.
async fn lose_role_bindings(stage: &Stage) {
    let bindings: Api<RoleBinding> = Api::namespaced(stage.client.clone(), &stage.namespace);
    bindings.delete_collection(&DeleteParams::default(), &ListParams::default()).await.unwrap();
    let lost: BTreeSet<Right> = match stage.rights.mode() {
        Mode::ClusterWide => return,
        Mode::Namespaced => [Right::new("", "secrets", "get"), Right::new("events.k8s.io", "events", "create")].into(),
        Mode::WithoutClusterRights => stage.rights.all(),
    };
    stage.rights.await_loss_of(&lost).await.unwrap();
}

async fn delete_namespace(stage: &Stage) -> Api<Namespace> {
    let namespaces: Api<Namespace> = Api::all(stage.client.clone());
    namespaces.delete(&stage.namespace, &DeleteParams::default()).await.unwrap();
    namespaces
}

async fn goes_with_its_live_runs(mode: Mode) {
    let stage = Stage::in_mode(mode, "doomed").await;
    let _operator = stage.operator().await;
    live(&stage).await;
    lose_role_bindings(&stage).await;
    stage.kubectl(&["delete", "secrets,configmaps,databricksworkspaces", "--all"]).await;
    let namespaces = delete_namespace(&stage).await;
    wait_gone(&namespaces, &stage.namespace).await;
    assert!(stage.databricks.runs().iter().all(|run| !run.active), "{}", stage.databricks.story());
    stage.assert_started_once_each(1);
}

#[tokio::test]
async fn with_cluster_wide_rights_a_deleted_namespace_goes_and_its_live_runs_are_cancelled() {
    goes_with_its_live_runs(Mode::ClusterWide).await;
}

#[tokio::test]
async fn with_rights_by_namespace_a_deleted_namespace_goes_and_its_live_runs_are_cancelled() {
    goes_with_its_live_runs(Mode::Namespaced).await;
}

#[tokio::test]
async fn an_operator_that_starts_when_the_namespaces_rights_are_gone_still_lets_it_go() {
    let stage = Stage::in_mode(Mode::Namespaced, "doomed").await;
    let first = stage.operator().await;
    live(&stage).await;
    first.stop();
    lose_role_bindings(&stage).await;
    let namespaces = delete_namespace(&stage).await;
    let next = stage.operator_with(|options| options.deletion_deadline = Duration::from_secs(4)).await;
    wait_gone(&namespaces, &stage.namespace).await;
    // Without the Secret nobody can cancel the run: it is counted, and named in the log.
    assert!(stage.databricks.runs()[0].active, "{}", stage.databricks.story());
    assert_eq!(stage.databricks.count(Operation::Cancel), 0, "{}", stage.databricks.story());
    next.stop();
}

#[tokio::test]
async fn without_rights_for_the_cluster_a_deleted_namespace_hangs_until_its_runs_are_released_by_hand() {
    let stage = Stage::in_mode(Mode::WithoutClusterRights, "doomed").await;
    let _operator = stage.operator().await;
    live(&stage).await;
    lose_role_bindings(&stage).await;
    let namespaces = delete_namespace(&stage).await;
    eventually("the namespace to say what holds it", async || {
        let namespace = namespaces.get(&stage.namespace).await.map_err(|error| error.to_string())?;
        let conditions = namespace.status.and_then(|status| status.conditions).unwrap_or_default();
        let holds = |it: &k8s_openapi::api::core::v1::NamespaceCondition| {
            it.type_ == "NamespaceFinalizersRemaining" && it.status == "True"
        };
        conditions
            .iter()
            .find(|it| holds(it))
            .and_then(|it| it.message.clone())
            .ok_or_else(|| format!("{conditions:?}"))
    })
    .await;
    let run = stage.now("doomed").await;
    assert!(run.0.is_held() && run.0.metadata.deletion_timestamp.is_some(), "{}", stage.story(&run));
    assert!(stage.databricks.runs()[0].active, "{}", stage.databricks.story());
    let released = Patch::Merge(json!({"metadata": {"finalizers": null}}));
    stage.runs().patch("doomed", &PatchParams::default(), &released).await.unwrap();
    wait_gone(&namespaces, &stage.namespace).await;
}

#[tokio::test]
async fn without_rights_for_the_cluster_runs_that_are_deleted_first_hold_nothing_up() {
    let stage = Stage::in_mode(Mode::WithoutClusterRights, "doomed").await;
    let _operator = stage.operator().await;
    live(&stage).await;
    // As docs/rbac.md says it.
    stage.kubectl(&["delete", "dbrun", "--all"]).await;
    assert!(!stage.databricks.runs()[0].active, "{}", stage.databricks.story());
    let namespaces = delete_namespace(&stage).await;
    wait_gone(&namespaces, &stage.namespace).await;
}
