//! Whatever is rendered is accepted by the API server without a warning, and its Pods where the profile `restricted` is enforced.

use e2e::cluster::{Cluster, ControlPlane};
use serde_json::{Value, json};

use crate::kit::{self, Helm, MONITORING, NAME, apply, ci_values, objects, printed};

/// A cluster with every kind and every namespace that the charts of the tests name.
async fn prepared() -> ControlPlane {
    let control_plane = ControlPlane::builder().start().await.unwrap();
    kit::install_definitions(control_plane.cluster()).await;
    for namespace in [NAME, "team-a", "team-b", "monitoring", "databricks-credentials"] {
        kit::restricted_namespace(control_plane.cluster(), namespace).await;
    }
    control_plane
}

/// Asks whether all of these would be accepted, as they are and as Pods.
async fn would_be_accepted(cluster: &Cluster, source: &str, all: &[Value]) {
    let answer = apply(cluster, &["--dry-run=server", "--force-conflicts"], all).await;
    assert!(answer.status.success(), "{source}: {}", String::from_utf8_lossy(&answer.stderr));
    let said = String::from_utf8_lossy(&answer.stdout).lines().count();
    assert_eq!(said, all.len(), "{source}: each object is answered");
    // A Deployment is accepted whatever its Pods are.
    let deployments: Vec<_> = all.iter().filter(|object| object["kind"] == "Deployment").collect();
    assert_eq!(deployments.len(), 1, "{source}");
    for deployment in deployments {
        let mut pod = deployment["spec"]["template"].clone();
        pod["apiVersion"] = "v1".into();
        pod["kind"] = "Pod".into();
        pod["metadata"]["name"] = "of-the-template".into();
        pod["metadata"]["namespace"] = deployment["metadata"]["namespace"].clone();
        let account = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata":
            {"name": pod["spec"]["serviceAccountName"], "namespace": pod["metadata"]["namespace"]}});
        printed(&apply(cluster, &["--force-conflicts"], &[account]).await);
        let answer = apply(cluster, &["--dry-run=server"], &[pod]).await;
        assert!(answer.status.success(), "{source}: its Pod: {}", String::from_utf8_lossy(&answer.stderr));
    }
}

#[tokio::test]
async fn what_the_chart_renders_is_accepted_without_a_warning_whatever_the_values() {
    let control_plane = prepared().await;
    let helm = Helm::named("helm-4").await;
    let apis = MONITORING.map(|api| ["--api-versions", api]).concat();
    for values in ci_values() {
        let rendered = helm.template(&[&["--values", values.as_str()][..], &apis].concat()).await;
        would_be_accepted(control_plane.cluster(), &values, &objects(&rendered)).await;
    }
}

#[tokio::test]
async fn a_pod_that_does_not_keep_to_the_profile_would_be_seen() {
    let control_plane = prepared().await;
    let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a", "namespace": NAME},
        "spec": {"containers": [{"name": "a", "image": "a", "securityContext": {"privileged": true}}]}});
    let account =
        json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default", "namespace": NAME}});
    printed(&apply(control_plane.cluster(), &["--force-conflicts"], &[account]).await);
    let answer = apply(control_plane.cluster(), &["--dry-run=server"], &[pod]).await;
    let said = String::from_utf8_lossy(&answer.stderr);
    assert!(!answer.status.success() && said.contains("violates PodSecurity \"restricted"), "{said}");
}

#[tokio::test]
async fn every_folder_of_config_is_applied_twice_and_the_second_time_nothing_changes() {
    let control_plane = prepared().await;
    let cluster = control_plane.cluster();
    for folder in ["default", "namespaced", "network-policy", "prometheus", "grafana"] {
        let path = kit::root("config").join(folder);
        let path = path.to_str().unwrap();
        let arguments = ["apply", "--server-side", "--force-conflicts", "--warnings-as-errors", "--kustomize", path];
        kit::kubectl(cluster, &arguments).await;
        let versions = async || {
            let ours = "--selector=app.kubernetes.io/name=databricks-run-operator";
            let get = async |kinds, version| {
                let form = format!(
                    "--output=jsonpath={{range .items[*]}}{{.kind}}/{{.metadata.name}} {{{version}}}{{\"\\n\"}}{{end}}"
                );
                kit::kubectl(cluster, &["get", kinds, "--all-namespaces", ours, &form]).await
            };
            let without_status = "clusterroles,clusterrolebindings,roles,rolebindings,serviceaccounts,services,configmaps,\
                                  networkpolicies,servicemonitors,prometheusrules";
            let with_status = "customresourcedefinitions,deployments,poddisruptionbudgets";
            (get(without_status, ".metadata.resourceVersion").await, get(with_status, ".metadata.generation").await)
        };
        let before = versions().await;
        kit::kubectl(cluster, &arguments).await;
        assert_eq!(versions().await, before, "config/{folder}");
        if folder == "default" || folder == "namespaced" {
            would_be_accepted(cluster, folder, &kit::kustomized(folder).await).await;
        }
    }
}
