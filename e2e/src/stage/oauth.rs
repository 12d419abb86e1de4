//! A stage whose workspace is spoken to as a service principal.

use serde_json::json;

use super::Stage;

impl Stage {
    /// Creates Secret, CA and a `DatabricksWorkspace` with an OAuth client.
    pub async fn connect_by_oauth(&self) {
        self.apply(&self.secret()).await;
        self.apply(&self.authority()).await;
        let mut workspace = self.workspace_object();
        workspace["spec"]["auth"] = json!({"oauthM2M": {
            "clientIdSecretRef": {"name": "databricks", "key": "client-id"},
            "clientSecretRef": {"name": "databricks", "key": "client-secret"},
        }});
        self.apply(&workspace).await;
    }
}
