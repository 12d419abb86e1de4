//! A workspace, led into every stage of its life.

use e2e::cluster::rights::Mode;
use e2e::stage::{Stage, WORKSPACE};
use serde_json::{Value, json};

use super::rests_at;

const NAMESPACED: &str = "DatabricksWorkspace";
const CLUSTER: &str = "ClusterDatabricksWorkspace";

/// One that names a host which nobody has allowed.
fn elsewhere(mut object: Value) -> Value {
    object["spec"]["host"] = json!("https://databricks.example.com");
    object
}

#[tokio::test]
async fn nobody_has_seen_it() {
    let stage = Stage::set("gitops-ws-unseen").await;
    rests_at(&stage, NAMESPACED, WORKSPACE, "progressing_unseen").await;
}

#[tokio::test]
async fn its_secret_is_missing_and_comes() {
    let stage = Stage::bare("gitops-ws").await;
    let _operator = stage.operator().await;
    stage.apply(&stage.authority()).await;
    stage.apply(&stage.workspace_object()).await;
    stage.workspace_ready("False", "CredentialsNotFound").await;
    rests_at(&stage, NAMESPACED, WORKSPACE, "progressing_no_secret").await;
    stage.apply(&stage.secret()).await;
    stage.workspace_ready("True", "WorkspaceReady").await;
    rests_at(&stage, NAMESPACED, WORKSPACE, "healthy").await;
}

#[tokio::test]
async fn its_host_is_not_allowed() {
    let stage = Stage::bare("gitops-ws-host").await;
    let _operator = stage.operator().await;
    stage.apply(&elsewhere(stage.workspace_object())).await;
    stage.workspace_ready("False", "HostNotAllowed").await;
    rests_at(&stage, NAMESPACED, WORKSPACE, "degraded_host").await;
}

#[tokio::test]
async fn one_of_the_whole_cluster_is_shown_as_one_of_a_namespace_is() {
    let stage = Stage::in_mode(Mode::ClusterWide, "gitops-ws-all").await;
    let _operator = stage.operator_of_the_cluster().await;
    let allowed = json!({"names": [*stage.namespace]});
    let mut authority = stage.authority();
    authority["metadata"]["namespace"] = json!(stage.rights.home());
    stage.apply(&authority).await;
    stage.apply(&stage.cluster_workspace_object(&allowed)).await;
    stage.cluster_workspace_ready("False", "CredentialsNotFound").await;
    rests_at(&stage, CLUSTER, WORKSPACE, "progressing_no_secret").await;
    stage.connect_cluster(&allowed).await;
    stage.cluster_workspace_ready("True", "WorkspaceReady").await;
    rests_at(&stage, CLUSTER, WORKSPACE, "healthy").await;
    let mut other = elsewhere(stage.cluster_workspace_object(&allowed));
    other["metadata"]["name"] = json!("elsewhere");
    stage.apply(&other).await;
    let told = ["wait", CLUSTER, "elsewhere", "--for=condition=Stalled", "--timeout=60s"];
    stage.kubectl(&told).await;
    rests_at(&stage, CLUSTER, "elsewhere", "degraded_host").await;
}
