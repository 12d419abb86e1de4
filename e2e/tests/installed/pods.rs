//! What the Pods are, and what they answer.

use e2e::stage::LEASE;
use e2e::wait::eventually;
use k8s_openapi::api::core::v1::Namespace;
use kube::Api;

use crate::kit::Installed;

#[tokio::test]
async fn two_pods_are_ready_in_a_restricted_namespace_and_one_of_them_leads() {
    let Some(installed) = Installed::find().await else { return };
    let stage = installed.stage("pods").await;
    let _alone = installed.pods_to_oneself().await;
    let pods = installed.ready_pods(&stage, 2).await;
    let namespace = Api::<Namespace>::all(stage.client.clone()).get(stage.rights.home()).await.unwrap();
    let labels = namespace.metadata.labels.unwrap_or_default();
    assert_eq!(labels.get("pod-security.kubernetes.io/enforce").map(String::as_str), Some("restricted"), "{labels:?}");
    eventually("one of the Pods to lead", async || {
        let mut leaders = Vec::new();
        for pod in &pods {
            let path = format!("/api/v1/namespaces/{}/pods/{pod}:8080/proxy/metrics", stage.rights.home());
            let metrics = installed.kubectl(&stage, &["get", "--raw", &path]).await;
            let leads = format!("leader_election_master_status{{name=\"{LEASE}\"}} 1");
            if metrics.lines().any(|line| line == leads) {
                leaders.push(pod);
            }
        }
        match (&leaders[..], stage.leader().await) {
            ([only], Some(holder)) if holder.starts_with(only.as_str()) => Ok(()),
            (_, holder) => Err(format!("{leaders:?} say that they lead, and {holder:?} holds the Lease")),
        }
    })
    .await;
}
