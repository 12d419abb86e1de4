//! Files that say what other files say, because Helm and kustomize read nothing outside of their own folders. Each is written from
//! the one that people edit.

use std::fmt::Write;

use super::{hold, root};

const CHART: &str = "charts/databricks-run-operator/files";

/// What stands above a file that was made.
fn made_from(source: &str) -> String {
    format!("# Generated from {source} by `UPDATE=1 cargo test --test generated`. Do not edit.\n")
}

fn read(path: &str) -> String {
    std::fs::read_to_string(root(path)).unwrap()
}

/// The files of a folder, by name.
fn names_in(folder: &str) -> Vec<String> {
    let entries = std::fs::read_dir(root(folder)).unwrap();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn chart_and_kustomize_have_the_definitions() {
    for folder in [format!("{CHART}/crds"), "config/crd/bases".to_owned()] {
        for name in names_in("crds") {
            hold(&root(&folder).join(&name), &read(&format!("crds/{name}")));
        }
        assert_eq!(names_in(&folder), names_in("crds"), "{folder} holds something else");
    }
}

/// The chart's name for rules, the file with their role and which of the file's documents that is.
const RULES: [(&str, &str, usize); 9] = [
    ("ownKinds", "operator/own-kinds.yaml", 0),
    ("clusterWorkspaces", "operator/cluster-workspaces.yaml", 0),
    ("servedNamespace", "operator/served-namespace.yaml", 0),
    ("credentials", "namespaced/cluster-workspaces.yaml", 0),
    ("events", "namespaced/cluster-workspaces.yaml", 2),
    ("view", "users/view.yaml", 0),
    ("edit", "users/edit.yaml", 0),
    ("admin", "users/admin.yaml", 0),
    ("leaderElection", "operator/leader-election.yaml", 0),
];

#[test]
fn the_chart_has_the_rules_of_config_rbac() {
    let mut text = made_from("config/rbac");
    for (name, file, index) in RULES {
        let file = read(&format!("config/rbac/{file}"));
        let role = file.split("\n---\n").nth(index).unwrap();
        let rules = role.split_once("\nrules:\n").unwrap().1;
        writeln!(text, "{name}:\n{}", rules.trim_end()).unwrap();
    }
    hold(&root(CHART).join("rbac.yaml"), &text);
}

#[test]
fn chart_and_kustomize_have_the_alerts_and_the_dashboard() {
    let source = "config/prometheus/alerts.yaml";
    let alerts = read(source);
    hold(&root(CHART).join("alerts.yaml"), &format!("{}{alerts}", made_from(source)));
    let (_, groups) = alerts.split_once("\ngroups:\n").unwrap();
    let head = "apiVersion: monitoring.coreos.com/v1\nkind: PrometheusRule\nmetadata:\n  name: databricks-run-operator\n  labels:\n    \
                app.kubernetes.io/name: databricks-run-operator\nspec:\n  groups:\n";
    let indent = |line: &str| if line.is_empty() { "\n".to_owned() } else { format!("  {line}\n") };
    let rule: String = groups.lines().map(indent).collect();
    hold(&root("config/prometheus/rule.yaml"), &format!("{}{head}{rule}", made_from(source)));
    hold(&root(CHART).join("dashboard.json"), &read("config/grafana/databricks-run-operator.json"));
}

#[test]
fn the_chart_has_no_other_files() {
    assert_eq!(names_in(CHART), ["alerts.yaml", "crds", "dashboard.json", "rbac.yaml"]);
}
