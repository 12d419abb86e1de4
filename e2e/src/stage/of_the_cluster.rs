//! What a stage has to do with workspaces of the whole cluster. An operator that serves them serves those of every test on its
//! control plane: such tests have one to themselves, in the cluster-wide mode.

use databricks_run_operator::api::cluster_workspace::ClusterWorkspaceObject;
use kube::Api;
use serde_json::{Value, json};

use super::{Operator, Stage, WORKSPACE};
use crate::wait::wait_for;

impl Stage {
    /// A `ClusterDatabricksWorkspace` that points to the fake and admits these namespaces. Its credentials are in the operator's
    /// own namespace: [`Self::connect_cluster`].
    #[must_use]
    pub fn cluster_workspace_object(&self, allowed: &Value) -> Value {
        let mut object = self.workspace_object();
        object["kind"] = json!("ClusterDatabricksWorkspace");
        object["spec"]["allowedNamespaces"] = allowed.clone();
        object
    }

    /// Creates Secret and CA in the operator's own namespace, and a `ClusterDatabricksWorkspace` that admits these namespaces.
    pub async fn connect_cluster(&self, allowed: &Value) {
        for mut object in [self.secret(), self.authority()] {
            object["metadata"]["namespace"] = json!(self.rights.home());
            self.apply(&object).await;
        }
        self.apply(&self.cluster_workspace_object(allowed)).await;
    }

    /// A `DatabricksRun` of this body that is sent to the `ClusterDatabricksWorkspace`.
    #[must_use]
    pub fn run_on_cluster_workspace(&self, name: &str, body: Value) -> Value {
        let mut run = self.run(name, body);
        run["spec"]["workspaceRef"]["kind"] = json!("ClusterDatabricksWorkspace");
        run
    }

    /// The workspace objects of the whole cluster.
    #[must_use]
    pub fn cluster_workspaces(&self) -> Api<ClusterWorkspaceObject> {
        Api::all(self.client.clone())
    }

    /// Waits until `Ready` of the `ClusterDatabricksWorkspace` is as given, with this reason.
    pub async fn cluster_workspace_ready(&self, status: &str, reason: &str) -> ClusterWorkspaceObject {
        let holds = |object: &ClusterWorkspaceObject| {
            let conditions = object.status.iter().flat_map(|status| &status.conditions);
            conditions.into_iter().any(|it| it.type_ == "Ready" && it.status == status && it.reason == reason)
        };
        wait_for(&self.cluster_workspaces(), WORKSPACE, &format!("Ready={status} because of {reason}"), holds).await
    }

    /// An operator in this process that serves the workspaces of the whole cluster, too.
    pub async fn operator_of_the_cluster(&self) -> Operator {
        let home = self.rights.home().to_owned();
        self.operator_with(|options| {
            options.cluster_workspaces = true;
            options.operator_namespace = Some(home);
        })
        .await
    }
}
