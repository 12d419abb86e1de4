//! Where the operator is installed, and its Pods.

use std::net::IpAddr;

use e2e::cluster::{Cluster, shared};
use e2e::stage::{LEASE, Stage};
use e2e::wait::eventually;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Pod;
use kube::api::ListParams;
use kube::{Api, ResourceExt};
use tokio::sync::{Mutex, MutexGuard};

/// Whoever takes Pods away or counts them waits for the others that do.
static PODS: Mutex<()> = Mutex::const_new(());

/// An operator in the cluster. It and everything of it is called as its Lease is.
pub(crate) struct Installed {
    home: String,
    workspace_address: IpAddr,
    pub(crate) cluster: &'static Cluster,
}

impl Installed {
    /// The one that the environment names.
    pub(crate) async fn find() -> Option<Self> {
        let value = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let names = ["E2E_INSTALLED", "E2E_KUBECONFIG", "E2E_WORKSPACE_ADDRESS"];
        let [Some(home), Some(_), Some(address)] = names.map(value) else {
            println!("skipped: no operator is installed, or one of {names:?} is not set; see .ci/node-cluster");
            return None;
        };
        Some(Self { home, workspace_address: address.parse().unwrap(), cluster: shared().await })
    }

    /// A stage for it.
    pub(crate) async fn stage(&self, prefix: &str) -> Stage {
        Stage::for_installed(self.cluster, &self.home, self.workspace_address, prefix).await
    }

    /// The right to take Pods away, and not to have them taken away by others.
    pub(crate) async fn pods_to_oneself(&self) -> MutexGuard<'static, ()> {
        PODS.lock().await
    }

    /// `kubectl` in its namespace.
    pub(crate) async fn kubectl(&self, stage: &Stage, arguments: &[&str]) -> String {
        stage.kubectl_in(&self.home, arguments, "").await
    }

    /// The Pods of the Deployment that are to stay.
    pub(crate) async fn pods(&self, stage: &Stage) -> Vec<Pod> {
        let deployment = Api::<Deployment>::namespaced(stage.client.clone(), &self.home).get(LEASE).await.unwrap();
        let labels = deployment.spec.unwrap().selector.match_labels.unwrap();
        let labels: Vec<_> = labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
        let api: Api<Pod> = Api::namespaced(stage.client.clone(), &self.home);
        let list = api.list(&ListParams::default().labels(&labels.join(","))).await.unwrap();
        list.items.into_iter().filter(|pod| pod.metadata.deletion_timestamp.is_none()).collect()
    }

    /// Waits until so many Pods are ready; their names.
    pub(crate) async fn ready_pods(&self, stage: &Stage, count: usize) -> Vec<String> {
        eventually("the Pods to be ready", async || {
            let pods = self.pods(stage).await;
            let ready: Vec<_> = pods.iter().filter(|pod| is_ready(pod)).map(ResourceExt::name_any).collect();
            if ready.len() == count && pods.len() == count { Ok(ready) } else { Err(format!("only {ready:?}")) }
        })
        .await
    }
}

fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
    conditions.into_iter().any(|condition| condition.type_ == "Ready" && condition.status == "True")
}
