//! What people may do with the roles `view`, `edit` and `admin` that every cluster has, once `config/rbac/users` is applied.

use e2e::cluster::ControlPlane;
use e2e::stage::{Stage, WORKSPACE};
use e2e::wait::eventually;
use e2e::workspace::Options;
use kube::api::{ApiResource, DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams};
use kube::core::GroupVersionKind;
use kube::{Api, Client};
use serde_json::json;

use crate::run_now;

/// Objects of a kind in the stage's namespace, as somebody sees them.
fn api(stage: &Stage, client: &Client, kind: &str) -> Api<DynamicObject> {
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk("dbrun.dev", "v1alpha1", kind));
    Api::namespaced_with(client.clone(), &stage.namespace, &resource)
}

/// Somebody who has a role in the stage's namespace.
async fn somebody(stage: &Stage, role: &str) -> Client {
    stage.apply(&json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": role}})).await;
    stage
        .apply(&json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": {"name": role},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
            "subjects": [{"kind": "ServiceAccount", "name": role, "namespace": *stage.namespace}]}))
        .await;
    stage.cluster.client_as(&stage.namespace, role).await.unwrap()
}

/// What somebody may do: see runs, see workspaces, start runs, end them, make workspaces, take them away; and write what only
/// the operator writes.
async fn may(stage: &Stage, client: &Client) -> ([bool; 6], bool) {
    let (runs, workspaces) = (api(stage, client, "DatabricksRun"), api(stage, client, "DatabricksWorkspace"));
    let object = |manifest| serde_json::from_value::<DynamicObject>(manifest).unwrap();
    let run = object(stage.run("someone-s", run_now(1)));
    let mut workspace = stage.workspace_object();
    workspace["metadata"]["name"] = json!("someone-s");
    let workspace = object(workspace);
    let dry = PostParams { dry_run: true, ..PostParams::default() };
    let dry_deletion = DeleteParams { dry_run: true, ..DeleteParams::default() };
    let (dry_patch, status) =
        (PatchParams { dry_run: true, ..PatchParams::default() }, json!({"status": {"runId": "1"}}));
    let writes_status = runs.patch_status("there", &dry_patch, &Patch::Merge(&status)).await.is_ok()
        || workspaces.patch_status(WORKSPACE, &dry_patch, &Patch::Merge(json!({"status": {}}))).await.is_ok();
    let may = [
        runs.list(&ListParams::default()).await.is_ok(),
        workspaces.list(&ListParams::default()).await.is_ok(),
        runs.create(&dry, &run).await.is_ok(),
        runs.delete("there", &dry_deletion).await.is_ok(),
        workspaces.create(&dry, &workspace).await.is_ok(),
        workspaces.delete(WORKSPACE, &dry_deletion).await.is_ok(),
    ];
    (may, writes_status)
}

#[tokio::test]
async fn viewers_see_editors_start_and_end_runs_and_only_administrators_make_workspaces() {
    // The roles of a cluster are everybody's; here they are changed.
    let control_plane = ControlPlane::builder().start().await.unwrap();
    assert!(control_plane.has_controllers(), "nobody adds to these roles without kube-controller-manager");
    let stage = Stage::on(control_plane.cluster(), "people", Options::default()).await;
    stage.connect().await;
    stage.apply(&stage.run("there", run_now(1))).await;
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../config/rbac/users");
    let before = somebody(&stage, "admin").await;
    assert_eq!(may(&stage, &before).await, ([false; 6], false));
    // One who may do everything writes a status: what is asked here is a question of rights alone.
    assert_eq!(may(&stage, &stage.client).await, ([true; 6], true));
    stage.kubectl(&["apply", "-k", folder]).await;
    for (role, expected) in [
        ("view", [true, true, false, false, false, false]),
        ("edit", [true, true, true, true, false, false]),
        ("admin", [true; 6]),
    ] {
        let client = somebody(&stage, role).await;
        eventually(&format!("what {role} may do"), async || match may(&stage, &client).await {
            may if may == (expected, false) => Ok(()),
            may => Err(format!("{may:?} instead of {expected:?} and no status")),
        })
        .await;
    }
}
