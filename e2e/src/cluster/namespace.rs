//! A namespace for one test, so that tests can share a control plane and run side by side.

use std::{fmt, ops::Deref, process::Stdio};

use k8s_openapi::api::core::v1::Namespace;
use kube::{
    Api, ResourceExt,
    api::{DeleteParams, PostParams},
    core::ObjectMeta,
};

use super::{Cluster, error::Error};
use crate::wait;

/// Marks the namespaces of tests: `kubectl delete namespace -l dbrun.dev/test` clears a cluster of what a killed test left.
pub(super) const LABEL: &str = "dbrun.dev/test";

/// The name of a namespace that belongs to one test.
///
/// On a control plane of our own it ends with that; on a cluster that outlives the test it is deleted when dropped.
pub struct TestNamespace {
    name: String,
    outlived_by: Option<Cluster>,
}

impl TestNamespace {
    pub(super) async fn create(cluster: &Cluster, prefix: &str) -> Result<Self, Error> {
        let namespace = Namespace {
            metadata: ObjectMeta {
                generate_name: Some(format!("{prefix}-")),
                labels: Some([(LABEL.to_owned(), prefix.to_owned())].into()),
                ..ObjectMeta::default()
            },
            ..Namespace::default()
        };
        let api: Api<Namespace> = Api::all(cluster.client().await?);
        let created = api.create(&PostParams::default(), &namespace).await;
        let created = created.map_err(Error::api(format!("create a namespace {prefix}-…")))?;
        let outlived_by = cluster.is_existing().then(|| cluster.clone());
        Ok(Self { name: created.name_any(), outlived_by })
    }

    /// The name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Deletes it and waits until it is gone with all that was in it.
    pub async fn delete(mut self, cluster: &Cluster) -> Result<(), Error> {
        self.outlived_by = None;
        let api: Api<Namespace> = Api::all(cluster.client().await?);
        let deleted = api.delete(&self.name, &DeleteParams::default()).await;
        deleted.map_err(Error::api(format!("delete namespace {}", self.name)))?;
        Ok(wait::try_wait_gone(&api, &self.name).await?)
    }
}

impl Drop for TestNamespace {
    fn drop(&mut self) {
        let Some(cluster) = &self.outlived_by else { return };
        let mut delete = cluster.kubectl_command(["delete", "namespace", &self.name, "--wait=false"]);
        // At the end of a test there is nobody to tell, and the label helps those who look.
        let _ = delete.as_std_mut().stdout(Stdio::null()).stderr(Stdio::null()).status();
    }
}

impl Deref for TestNamespace {
    type Target = str;

    fn deref(&self) -> &str {
        &self.name
    }
}

impl fmt::Display for TestNamespace {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.name)
    }
}
