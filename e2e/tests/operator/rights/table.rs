//! What each right is for. The table is the documentation's too (`docs/rbac.md`), and it has a row for each right there is.

use std::collections::BTreeSet;

use e2e::cluster::rights::{Mode, Right, rights_in, shipped};
use e2e::cluster::shared;
use serde_json::Value;

/// What comes to pass with a right and does not without it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Thing {
    /// The run ends.
    Finished,
    /// The object deletes itself.
    Deleted,
    /// The workspace is said to be ready.
    WorkspaceReady,
    /// An event tells of the run.
    Told,
}

/// One right.
pub(super) struct Row {
    pub(super) right: [&'static str; 3],
    /// What it is for.
    use_: &'static str,
    /// What a user sees without it.
    without: &'static str,
    /// What does not come to pass without it.
    pub(super) thing: Thing,
}

const fn row(right: [&'static str; 3], use_: &'static str, without: &'static str, thing: Thing) -> Row {
    Row { right, use_, without, thing }
}

const GROUP: &str = "dbrun.dev";
const EVENTS: &str = "events.k8s.io";
const LEASES: &str = "coordination.k8s.io";

/// Group, resource and verb of every right of the operator, and what becomes of it.
pub(super) const TABLE: [Row; 20] = [
    row(
        [GROUP, "databricksruns", "get"],
        "Reads an object afresh before a start is repeated, and after a conflict.",
        "A start whose answer was lost is not repeated.",
        Thing::Finished,
    ),
    row(
        [GROUP, "databricksruns", "list"],
        "Learns of the runs there are.",
        "Nothing begins; `/readyz` does not answer well.",
        Thing::Finished,
    ),
    row(
        [GROUP, "databricksruns", "watch"],
        "Learns of new runs and of edits.",
        "Runs created since the operator started are not seen.",
        Thing::Finished,
    ),
    row(
        [GROUP, "databricksruns", "patch"],
        "Sets and takes off its finalizer and its annotation.",
        "No run is started, and no deleted object is released.",
        Thing::Finished,
    ),
    row(
        [GROUP, "databricksruns", "delete"],
        "Deletes a finished object whose `ttlSecondsAfterFinished` is up.",
        "Finished objects stay.",
        Thing::Deleted,
    ),
    row(
        [GROUP, "databricksruns/status", "patch"],
        "Writes the intent to start a run, then what becomes of it.",
        "No run is started.",
        Thing::Finished,
    ),
    row(
        [GROUP, "databricksworkspaces", "list"],
        "Learns of the workspaces there are.",
        "Nothing begins.",
        Thing::Finished,
    ),
    row(
        [GROUP, "databricksworkspaces", "watch"],
        "Learns of new workspaces and of edits.",
        "Runs of a new workspace wait, as if it were not there.",
        Thing::Finished,
    ),
    row(
        [GROUP, "databricksworkspaces/status", "patch"],
        "Says whether a workspace can be used, and why not.",
        "`Ready` of a workspace is never said; runs go on.",
        Thing::WorkspaceReady,
    ),
    row(
        [GROUP, "clusterdatabricksworkspaces", "list"],
        "Learns of the workspaces of the whole cluster.",
        "Nothing begins.",
        Thing::Finished,
    ),
    row(
        [GROUP, "clusterdatabricksworkspaces", "watch"],
        "Learns of new ones, of edits and of whom they admit.",
        "Runs of a new one wait, as if it were not there.",
        Thing::Finished,
    ),
    row(
        [GROUP, "clusterdatabricksworkspaces/status", "patch"],
        "Says whether one can be used, and why not.",
        "`Ready` of one is never said; runs go on.",
        Thing::WorkspaceReady,
    ),
    row(["", "namespaces", "list"], "Learns of the labels of namespaces.", "Nothing begins.", Thing::Finished),
    row(
        ["", "namespaces", "watch"],
        "Learns of labels that change.",
        "A namespace that gets the label it needs is not admitted.",
        Thing::Finished,
    ),
    row(
        ["", "secrets", "get"],
        "Reads the credential that a workspace names, in the workspace's own namespace.",
        "The workspace is not ready (`CredentialsUnusable`), and its runs wait.",
        Thing::Finished,
    ),
    row(
        ["", "configmaps", "get"],
        "Reads the certificates that `caBundle` names, in the workspace's own namespace.",
        "A workspace with a `caBundle` is not ready (`CredentialsUnusable`), and its runs wait.",
        Thing::Finished,
    ),
    row(
        [EVENTS, "events", "create"],
        "Tells of what happens to a run.",
        "`kubectl describe` shows no events; runs go on.",
        Thing::Told,
    ),
    row(
        [LEASES, "leases", "create"],
        "Creates the Lease by which replicas agree on one that works, where there is none.",
        "No replica works; each stands by.",
        Thing::Finished,
    ),
    row(
        [LEASES, "leases", "get"],
        "Reads that Lease, and no other.",
        "No replica works; each stands by.",
        Thing::Finished,
    ),
    row(
        [LEASES, "leases", "update"],
        "Takes that Lease, renews it and gives it back.",
        "No replica works, or one for ten seconds; then each stands by.",
        Thing::Finished,
    ),
];

impl Row {
    pub(super) fn right(&self) -> Right {
        let [group, resource, verb] = self.right;
        Right::new(group, resource, verb)
    }

    /// Whether it is for the election of a leader.
    pub(super) fn is_for_election(&self) -> bool {
        self.right[0] == LEASES
    }

    /// Whether it is for workspaces of the whole cluster.
    pub(super) fn is_for_cluster_workspaces(&self) -> bool {
        self.right[1].starts_with("cluster") || self.right[1] == "namespaces"
    }

    /// As it stands in the documentation, with the roles that hold it.
    fn line(&self, of_clusters: &BTreeSet<Right>) -> String {
        let [group, resource, verb] = self.right;
        let role = match of_clusters.contains(&self.right()) {
            _ if self.is_for_cluster_workspaces() => "cluster workspaces",
            _ if self.is_for_election() => "leader election",
            true => "own kinds",
            false => "served namespace",
        };
        let group = if group.is_empty() { String::new() } else { format!("`{group}`") };
        format!("| {group} | `{resource}` | `{verb}` | {role} | {} | {} |", self.use_, self.without)
    }
}

async fn of_mode(mode: Mode) -> Vec<Value> {
    shipped(shared().await, mode.folder()).await.unwrap()
}

fn named<'a>(objects: &'a [Value], kind: &str, name: &str) -> &'a Value {
    let found = objects.iter().find(|object| object["kind"] == kind && object["metadata"]["name"] == name);
    assert!(found.is_some(), "no {kind} {name} in {objects:#?}");
    found.unwrap()
}

#[tokio::test]
async fn every_right_of_every_mode_stands_in_the_table_and_no_others() {
    let known: BTreeSet<Right> = TABLE.iter().map(Row::right).collect();
    assert_eq!(known.len(), TABLE.len(), "a right stands there twice");
    let (of_cluster, others): (Vec<&Row>, Vec<&Row>) = TABLE.iter().partition(|row| row.is_for_cluster_workspaces());
    for mode in [Mode::ClusterWide, Mode::Namespaced] {
        let objects = of_mode(mode).await;
        assert_eq!(rights_in(&objects), known, "{mode:?}");
        let role = named(&objects, "ClusterRole", "databricks-run-operator-cluster-workspaces");
        let expected: BTreeSet<Right> = of_cluster.iter().map(|row| row.right()).collect();
        assert_eq!(rights_in(std::slice::from_ref(role)), expected, "{mode:?}");
    }
    let others: BTreeSet<Right> = others.into_iter().map(Row::right).collect();
    assert_eq!(rights_in(&of_mode(Mode::WithoutClusterRights).await), others);
}

#[tokio::test]
async fn the_documentation_shows_the_table_of_rights() {
    let page = include_str!("../../../../docs/rbac.md");
    let objects = of_mode(Mode::ClusterWide).await;
    let own = rights_in(std::slice::from_ref(named(&objects, "ClusterRole", "databricks-run-operator")));
    for row in &TABLE {
        let line = row.line(&own);
        assert!(page.lines().any(|it| it == line), "docs/rbac.md lacks the row\n{line}");
    }
}

/// How an object of a mode stands in the documentation, if it grants anything.
fn grant(object: &Value) -> Option<String> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let kind = text(&object["kind"]);
    let reach = match object["metadata"]["namespace"].as_str() {
        None => "the cluster".to_owned(),
        Some(namespace) => format!("namespace `{namespace}`"),
    };
    let role = &object["roleRef"];
    kind.ends_with("Binding")
        .then(|| format!("| {kind} | {} `{}` | {reach} |", text(&role["kind"]), text(&role["name"])))
}

#[tokio::test]
async fn the_documentation_shows_what_each_mode_binds() {
    let page = include_str!("../../../../docs/rbac.md");
    for mode in Mode::ALL {
        let heading = format!("`config/rbac/{}`", mode.folder());
        let section = page.split("\n### ").find(|section| section.lines().next().unwrap().contains(&heading));
        let section = section.expect("docs/rbac.md has a heading for each mode");
        let written: BTreeSet<&str> =
            section.lines().filter(|line| line.starts_with("| ") && line.contains("Binding |")).collect();
        let objects = of_mode(mode).await;
        let bound: BTreeSet<String> = objects.iter().filter_map(grant).collect();
        assert_eq!(written, bound.iter().map(String::as_str).collect(), "{heading}");
    }
}

#[tokio::test]
async fn rights_on_our_own_kinds_are_bound_for_the_whole_cluster_wherever_that_can_be_had() {
    for mode in [Mode::ClusterWide, Mode::Namespaced] {
        let objects = of_mode(mode).await;
        let binding = named(&objects, "ClusterRoleBinding", "databricks-run-operator");
        assert_eq!(binding["roleRef"]["name"], "databricks-run-operator");
    }
    let kinds: BTreeSet<String> = of_mode(Mode::WithoutClusterRights)
        .await
        .iter()
        .map(|object| object["kind"].as_str().unwrap_or_default().to_owned())
        .collect();
    assert_eq!(kinds, ["Role", "RoleBinding", "ServiceAccount"].map(str::to_owned).into());
}
