//! The chart and Helm, 4 and 3: it lints, renders the same each time, and refuses what it cannot use.

use crate::kit::{CHART, Helm, ci_values, objects, printed};

#[tokio::test]
async fn the_chart_renders_the_same_each_time_and_with_each_helm() {
    let [four, three] = Helm::each().await;
    for values in ci_values() {
        let first = four.template(&["--values", &values]).await;
        assert!(first == four.template(&["--values", &values]).await, "{values}: not the same twice");
        assert!(objects(&first) == objects(&three.template(&["--values", &values]).await), "{values}: Helm 3 differs");
    }
}

#[tokio::test]
async fn the_chart_lints_and_packs_with_each_helm() {
    for helm in Helm::each().await {
        for values in ci_values() {
            let arguments = ["lint", "--strict", CHART, "--values", &values, "--kube-version", "1.36.3"];
            printed(&helm.run(&arguments).await);
        }
        let folder = tempfile::tempdir().unwrap();
        printed(&helm.run(&["package", CHART, "--destination", folder.path().to_str().unwrap()]).await);
    }
}

#[tokio::test]
async fn a_typo_is_refused_by_each_helm() {
    for helm in Helm::each().await {
        for (value, named) in
            [("replicaCuont=3", "replicaCuont"), ("crds.enable=false", "enable"), ("replicaCount=two", "replicaCount")]
        {
            let output = helm.run(&["template", "a", CHART, "--kube-version", "1.36.3", "--set", value]).await;
            let said = String::from_utf8_lossy(&output.stderr);
            assert!(!output.status.success() && said.contains(named), "{value}: {said}");
        }
    }
}

#[tokio::test]
async fn a_cluster_that_is_too_old_is_refused_and_one_of_a_cloud_is_not() {
    for helm in Helm::each().await {
        let render = async |version: &str| helm.run(&["template", "a", CHART, "--kube-version", version]).await;
        let refused = render("v1.31.14").await;
        assert!(String::from_utf8_lossy(&refused.stderr).contains(">=1.32.0-0"), "{refused:?}");
        for version in ["v1.32.0", "v1.33.5-gke.1000", "v1.34.1-eks-113cf36"] {
            printed(&render(version).await);
        }
    }
}

#[tokio::test]
async fn the_chart_has_no_hooks() {
    let helm = Helm::named("helm-4").await;
    for values in ci_values() {
        let rendered = helm.template(&["--values", &values]).await;
        assert!(!rendered.contains("helm.sh/hook"), "{values}");
    }
}
