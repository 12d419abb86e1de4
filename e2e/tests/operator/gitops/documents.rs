//! `docs/gitops.md`, `config/flux` and `config/argocd/argocd-cm.yaml`: what they have people apply is taken by an API server that
//! knows our kinds and Flux's, field by field.

use std::collections::BTreeSet;

use e2e::cluster::{Cluster, ControlPlane};
use e2e::gitops::foreign::definitions_of_flux;
use e2e::gitops::repository;
use serde_json::Value;

const DOCUMENT: &str = include_str!("../../../../docs/gitops.md");

/// The fenced blocks of the document in this language.
fn blocks(language: &str) -> Vec<&'static str> {
    let fence = format!("```{language}\n");
    DOCUMENT.split(fence.as_str()).skip(1).filter_map(|rest| rest.split("```").next()).collect()
}

async fn kubectl(cluster: &Cluster, arguments: &[&str]) -> String {
    let output = cluster.kubectl_command(arguments).output().await.unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.is_empty(), "kubectl {arguments:?}: {said}");
    String::from_utf8(output.stdout).unwrap()
}

/// The API server takes every field of these manifests, and warns of none.
async fn accepted(cluster: &Cluster, manifests: &str, namespaces: &mut BTreeSet<String>) {
    for object in serde_saphyr::from_multiple::<Value>(manifests).unwrap() {
        let metadata = &object["metadata"];
        if let Some(namespace) = metadata["namespace"].as_str()
            && namespaces.insert(namespace.to_owned())
        {
            kubectl(cluster, &["create", "namespace", namespace]).await;
        }
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), object.to_string()).unwrap();
        // An apply needs a name; what Argo CD names itself is created.
        let verb = if metadata["generateName"].is_null() { "apply" } else { "create" };
        let path = file.path().to_str().unwrap();
        kubectl(cluster, &[verb, "--dry-run=server", "--validate=strict", "--filename", path]).await;
    }
}

#[tokio::test]
async fn every_manifest_for_gitops_is_taken_by_an_api_server_that_knows_flux() {
    let control_plane = ControlPlane::builder().without_controllers().start().await.unwrap();
    let cluster = control_plane.cluster();
    let mut definitions = definitions_of_flux();
    definitions.push(databricks_run_operator::api::crd::crds_yaml());
    let definitions: Vec<&str> = definitions.iter().map(String::as_str).collect();
    cluster.install_crds(&definitions).await.unwrap();
    let mut namespaces = BTreeSet::from(["default".to_owned()]);

    let examples = blocks("yaml");
    assert!(examples.len() >= 5, "{examples:#?}");
    for example in examples {
        accepted(cluster, example, &mut namespaces).await;
    }
    for file in repository("config/flux").read_dir().unwrap() {
        let text = std::fs::read_to_string(file.unwrap().path()).unwrap();
        accepted(cluster, &text, &mut namespaces).await;
    }

    // An Argo CD that is configured already: what it has is kept.
    kubectl(cluster, &["create", "namespace", "argocd"]).await;
    let own =
        ["create", "configmap", "argocd-cm", "--namespace=argocd", "--from-literal=url=https://argocd.example.com"];
    kubectl(cluster, &own).await;
    let patch = blocks("sh").into_iter().find(|block| block.starts_with("kubectl patch")).unwrap();
    let words: Vec<String> = patch.split_whitespace().skip(1).map(str::to_owned).collect();
    let words: Vec<String> = words
        .into_iter()
        .map(|word| if word.starts_with("config/") { repository(&word).display().to_string() } else { word })
        .collect();
    kubectl(cluster, &words.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let map = kubectl(cluster, &["get", "configmap", "argocd-cm", "--namespace=argocd", "--output=json"]).await;
    let map: Value = serde_json::from_str(&map).unwrap();
    assert_eq!(map["data"]["url"], "https://argocd.example.com");
    let health = std::fs::read_to_string(
        repository("config/argocd/resource_customizations/dbrun.dev").join("DatabricksRun/health.lua"),
    );
    assert_eq!(map["data"]["resource.customizations.health.dbrun.dev_DatabricksRun"], health.unwrap());
}
