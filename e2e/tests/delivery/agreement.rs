//! Chart and kustomize install the same: one source, two ways.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::kit::{Helm, MONITORING, NAME, kustomized, objects};

/// What tells whose an object is, and nothing of what it does.
const OF_HELM: [&str; 6] = [
    "app.kubernetes.io/instance",
    "app.kubernetes.io/managed-by",
    "app.kubernetes.io/part-of",
    "app.kubernetes.io/version",
    "helm.sh/chart",
    "helm.sh/resource-policy",
];

fn forget(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.retain(|name, _| !OF_HELM.contains(&name.as_str()));
            fields.values_mut().for_each(forget);
            fields.retain(|name, value| name != "annotations" || value != &Value::Object(Map::new()));
        }
        Value::Array(items) => items.iter_mut().for_each(forget),
        _ => {}
    }
}

/// The objects by kind, namespace and name, without what Helm adds.
fn compared(all: Vec<Value>) -> BTreeMap<String, Value> {
    let of = |object: &Value, field: &str| object["metadata"][field].as_str().unwrap_or_default().to_owned();
    let named = |mut object: Value| {
        forget(&mut object);
        let kind = object["kind"].as_str().unwrap_or_default();
        (format!("{kind} {}/{}", of(&object, "namespace"), of(&object, "name")), object)
    };
    all.into_iter().map(named).collect()
}

#[track_caller]
fn the_same(chart: &BTreeMap<String, Value>, config: &BTreeMap<String, Value>) {
    let keys = |all: &BTreeMap<String, Value>| all.keys().cloned().collect::<Vec<_>>();
    assert_eq!(keys(chart), keys(config));
    for (name, object) in chart {
        let (ours, theirs) = (format!("{object:#}"), format!("{:#}", config[name]));
        let differs = ours.lines().zip(theirs.lines()).find(|(a, b)| a != b);
        assert!(ours == theirs, "{name}: the chart and config/ differ: {differs:?}");
    }
}

async fn rendered(arguments: &[&str]) -> Vec<Value> {
    objects(&Helm::named("helm-4").await.template(arguments).await)
}

#[tokio::test]
async fn for_the_cluster_chart_and_kustomize_install_the_same() {
    let mut config = compared(kustomized("default").await);
    // Helm makes it with --create-namespace.
    assert!(config.remove(&format!("Namespace /{NAME}")).is_some());
    the_same(&compared(rendered(&[]).await), &config);
}

#[tokio::test]
async fn for_namespaces_chart_and_kustomize_install_the_same() {
    let mut config = compared(kustomized("namespaced").await);
    assert!(config.remove(&format!("Namespace /{NAME}")).is_some());
    let values = ["--set", "watch.scope=Namespaces", "--set", "watch.namespaces={team-a,team-b}"];
    the_same(&compared(rendered(&values).await), &config);
}

#[tokio::test]
async fn without_rights_for_the_cluster_chart_and_kustomize_give_the_same_rules() {
    let values = [
        "watch.scope=OwnNamespace",
        "crds.enabled=false",
        "clusterWorkspaces.enabled=false",
        "rbac.clusterRights=false",
        "namespaceOverride=team-a",
    ];
    let values: Vec<_> = values.iter().flat_map(|value| ["--set", value]).collect();
    let is_about_rights = |name: &String, _: &mut Value| {
        ["ServiceAccount ", "Role ", "RoleBinding ", "ClusterRole ", "ClusterRoleBinding "]
            .iter()
            .any(|kind| name.starts_with(kind))
    };
    let mut chart = compared(rendered(&values).await);
    chart.retain(is_about_rights);
    the_same(&chart, &compared(kustomized("rbac/without-cluster-rights").await));
}

#[tokio::test]
async fn chart_and_kustomize_install_the_same_for_monitoring() {
    let values = ["serviceMonitor.enabled=true", "prometheusRule.enabled=true", "grafanaDashboard.enabled=true"];
    let values: Vec<_> = values.iter().flat_map(|value| ["--set", value]).collect();
    let apis = MONITORING.map(|api| ["--api-versions", api]).concat();
    let mut chart = compared(rendered(&[values, apis].concat()).await);
    let kinds = ["ServiceMonitor ", "PrometheusRule ", "ConfigMap "];
    chart.retain(|name, _| kinds.iter().any(|kind| name.starts_with(kind)));
    let mut config = compared(kustomized("prometheus").await);
    config.extend(compared(kustomized("grafana").await));
    // The chart may put it into another namespace than the Pods.
    let monitor = config.get_mut(&format!("ServiceMonitor {NAME}/{NAME}")).unwrap();
    monitor["spec"]["namespaceSelector"] = json!({"matchNames": [NAME]});
    for object in chart.values_mut().chain(config.values_mut()) {
        // Only the text counts, not how its end is written.
        if let Some(text) = object["data"]["databricks-run-operator.json"].as_str() {
            object["data"]["databricks-run-operator.json"] = text.trim_end().into();
        }
    }
    the_same(&chart, &config);
}
