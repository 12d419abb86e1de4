//! The chart on a real API server, installed, upgraded and uninstalled by each Helm.

use e2e::cluster::ControlPlane;
use serde_json::Value;

use crate::kit::{CHART, Helm, NAME, kubectl, printed};

/// A life of a release. Without a kubelet no Pod runs, so nothing is waited for.
async fn lives(tool: &str) {
    let control_plane = ControlPlane::builder().start().await.unwrap();
    let cluster = control_plane.cluster();
    let helm = Helm::named(tool).await;
    let kubeconfig = cluster.kubeconfig_path().to_str().unwrap();
    let release = async |arguments: &[&str]| {
        let all = [arguments, &["--namespace", NAME, "--kubeconfig", kubeconfig]].concat();
        printed(&helm.run(&all).await)
    };

    let notes = release(&["install", NAME, CHART, "--create-namespace"]).await;
    assert!(notes.contains("wait dbrun/first --for=condition=Finished"), "{notes}");
    let namespace = cluster.namespace("chart").await.unwrap();
    let sample = crate::kit::root("config/samples/run-now-job-parameters.yaml");
    kubectl(cluster, &["apply", "--namespace", &namespace, "--filename", sample.to_str().unwrap()]).await;
    let run = async || -> Value {
        let text = kubectl(cluster, &["get", "dbrun", "--namespace", &namespace, "--output", "json"]).await;
        serde_json::from_str::<Value>(&text).unwrap()["items"][0].clone()
    };
    let before = run().await;
    assert_eq!(before["metadata"]["name"], "nightly-etl");

    release(&["upgrade", NAME, CHART, "--set", "replicaCount=3"]).await;
    let replicas =
        kubectl(cluster, &["get", "deployment", NAME, "--namespace", NAME, "--output", "jsonpath={.spec.replicas}"])
            .await;
    assert_eq!(replicas, "3");
    assert_eq!(run().await, before, "an upgrade leaves runs alone");
    release(&["rollback", NAME, "1"]).await;
    assert_eq!(run().await, before, "a rollback leaves runs alone");

    let said = release(&["uninstall", NAME]).await;
    assert!(
        said.contains("[CustomResourceDefinition] databricksruns.dbrun.dev"),
        "it does not say what it keeps: {said}"
    );
    assert_eq!(run().await, before, "uninstalling leaves runs alone");
    let left = "deployments,services,serviceaccounts,roles,rolebindings,poddisruptionbudgets";
    let left = kubectl(
        cluster,
        &[
            "get",
            left,
            "--namespace",
            NAME,
            "--output",
            "name",
            "--selector",
            "app.kubernetes.io/name=databricks-run-operator",
        ],
    )
    .await;
    assert_eq!(left, "");
    release(&["install", NAME, CHART]).await;
    assert_eq!(run().await, before, "installing anew takes the definitions up again");
}

#[tokio::test]
async fn helm_4_installs_upgrades_and_uninstalls_the_chart_and_runs_stay() {
    lives("helm-4").await;
}

#[tokio::test]
async fn helm_3_installs_upgrades_and_uninstalls_the_chart_and_runs_stay() {
    lives("helm-3").await;
}
