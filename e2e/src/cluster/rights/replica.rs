//! A second ServiceAccount with the same rights, so that the API server's record tells one replica from the other. Where an
//! operator is installed, its replicas share one.

use std::path::Path;

use serde_json::{Value, json};
use tempfile::NamedTempFile;

use super::{AuditEntry, Error, Rights, apply, manifests};

/// Who else has the rights.
pub struct Replica {
    kubeconfig: NamedTempFile,
    user: String,
}

impl Replica {
    /// Its kubeconfig.
    #[must_use]
    pub fn kubeconfig(&self) -> &Path {
        self.kubeconfig.path()
    }

    /// What was asked in its name, but for what the kit has asked itself.
    pub fn asked(&self, rights: &Rights) -> Result<Vec<AuditEntry>, Error> {
        let mut entries = rights.cluster.audit_entries_that_say(&format!("\"{}\"", self.user))?;
        entries.retain(|entry| entry.object_ref.resource != "selfsubjectrulesreviews");
        Ok(entries)
    }
}

impl Rights {
    /// Gives the same rights to another ServiceAccount of the operator's namespace.
    pub async fn replica(&self) -> Result<Replica, Error> {
        let account = format!("{}-too", manifests::ACCOUNT);
        let mut more = vec![json!({"apiVersion": "v1", "kind": "ServiceAccount",
            "metadata": {"name": account, "namespace": self.home}})];
        more.extend(self.objects.iter().filter(|object| object.get("roleRef").is_some()).map(|binding| {
            let mut binding = binding.clone();
            binding["metadata"]["name"] = format!("{}-too", text(&binding["metadata"]["name"])).into();
            for subject in binding["subjects"].as_array_mut().into_iter().flatten() {
                subject["name"] = account.clone().into();
            }
            binding
        }));
        for object in &more {
            apply(&self.client, object).await?;
        }
        self.await_in_force_for(&account, &self.objects, &self.everywhere(), &[].into()).await?;
        let kubeconfig = self.cluster.kubeconfig_for_service_account(&self.home, &account).await?;
        Ok(Replica { kubeconfig, user: format!("system:serviceaccount:{}:{account}", self.home) })
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}
