//! Each right is taken away in turn, and what it is for does not come to pass until it is given back.

use e2e::cluster::rights::{Mode, Right};
use e2e::stage::{LEASE, Operator, Stage};
use e2e::wait::eventually;
use futures::future::join_all;
use serde_json::{Value, json};

use super::table::{Row, TABLE, Thing};
use super::{PROBE, on_a_workspace_of_the_cluster, probe};

/// How often this was refused.
fn refusals(stage: &Stage, right: &Right) -> usize {
    stage.rights.refused().unwrap().iter().filter(|entry| Right::asked_by(entry) == *right).count()
}

async fn refused_again(stage: &Stage, right: &Right, before: usize) {
    eventually(&format!("\"{right}\" to be refused"), async || match refusals(stage, right) {
        now if now > before => Ok(()),
        now => Err(format!("refused {now} times")),
    })
    .await;
}

async fn set(stage: &Stage) {
    stage.connect().await;
    stage.apply(&probe(stage)).await;
}

/// The Lease of a stage's operators, as the last of them left it.
fn free_lease(stage: &Stage) -> Value {
    let metadata = json!({"name": LEASE, "namespace": stage.rights.home()});
    let spec = json!({"leaseDurationSeconds": 1, "leaseTransitions": 3});
    json!({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": metadata, "spec": spec})
}

/// A stage on which one right is missing, with an operator that has asked for it in vain.
async fn without(row: &Row) -> (Stage, Operator) {
    let right = row.right();
    let stage = Stage::bare("withheld").await;
    stage.expect_refusals();
    stage.rights.withhold(&right).await.unwrap();
    if row.is_for_election() && right.verb == "update" {
        // One that has been given back: where there is none, it would be created.
        stage.apply(&free_lease(&stage)).await;
    }
    let operator = stage.operator_with(|options| options.leader_election = Some(stage.election())).await;
    // What is there when the operator starts it learns from a list, and what comes later from a watch.
    let mut before = 0;
    if right.verb == "list" || right.verb == "watch" {
        refused_again(&stage, &right, 0).await;
        before = refusals(&stage, &right);
    }
    set(&stage).await;
    refused_again(&stage, &right, before).await;
    (stage, operator)
}

async fn has_come_to_pass(stage: &Stage, thing: Thing) -> bool {
    let run = stage.runs().get_opt(PROBE).await.unwrap();
    match thing {
        Thing::Finished => {
            let ended =
                |status: &databricks_run_operator::api::status::DatabricksRunStatus| status.completion_time.is_some();
            run.is_none_or(|run| run.status.as_ref().is_some_and(ended))
        }
        Thing::Deleted => run.is_none(),
        Thing::WorkspaceReady => {
            let workspace = stage.workspaces().get(e2e::stage::WORKSPACE).await.unwrap();
            workspace
                .status
                .is_some_and(|status| status.conditions.iter().any(|it| it.type_ == "Ready" && it.status == "True"))
        }
        Thing::Told => !stage.events(PROBE).await.is_empty(),
    }
}

async fn comes_to_pass(stage: &Stage, right: &Right, thing: Thing) {
    if thing == Thing::Told {
        // An event is told once; those that were refused are lost.
        stage.gone(PROBE).await;
        stage.apply(&probe(stage)).await;
        stage.gone(PROBE).await;
    }
    eventually(&format!("{thing:?}, with \"{right}\""), async || {
        let done = has_come_to_pass(stage, thing).await;
        done.then_some(()).ok_or_else(|| "not yet".to_owned())
    })
    .await;
}

#[tokio::test]
async fn whichever_right_is_withheld_something_does_not_come_to_pass_until_it_is_given_back() {
    let rows: Vec<&Row> = TABLE.iter().filter(|row| !row.is_for_cluster_workspaces()).collect();
    let stages = join_all(rows.iter().map(|row| without(row))).await;
    // The whole life of a run with all rights is the time in which nothing may happen to the others.
    let other = Stage::bare("not-withheld").await;
    let _operator = other.operator().await;
    set(&other).await;
    other.event(PROBE, "TTLExpired").await;
    other.gone(PROBE).await;
    for (row, (stage, _)) in rows.iter().zip(&stages) {
        assert!(!has_come_to_pass(stage, row.thing).await, "without \"{}\": {:?}", row.right(), row.thing);
    }
    join_all(rows.iter().zip(&stages).map(async |(row, (stage, _))| {
        stage.rights.give_back().await.unwrap();
        comes_to_pass(stage, &row.right(), row.thing).await;
        stage.assert_started_once_each(if row.thing == Thing::Told { 2 } else { 1 });
    }))
    .await;
}

/// Whether what the run on the workspace of the cluster needs, or what is said of the workspace, has come to pass.
async fn of_the_cluster_has_come_to_pass(stage: &Stage, thing: Thing) -> bool {
    if thing != Thing::WorkspaceReady {
        return has_come_to_pass(stage, thing).await;
    }
    let workspace = stage.cluster_workspaces().get(e2e::stage::WORKSPACE).await.unwrap();
    let conditions = workspace.status.map(|status| status.conditions).unwrap_or_default();
    conditions.iter().any(|it| it.type_ == "Ready" && it.status == "True")
}

/// One after the other: each needs a control plane to itself, and the same one serves them all.
#[tokio::test]
async fn whichever_right_on_what_the_whole_cluster_has_is_withheld_something_does_not_come_to_pass_until_it_is_given_back()
 {
    for row in TABLE.iter().filter(|row| row.is_for_cluster_workspaces()) {
        let right = row.right();
        let stage = Stage::in_mode(Mode::ClusterWide, "withheld-everywhere").await;
        stage.expect_refusals();
        stage.rights.withhold(&right).await.unwrap();
        let _operator = stage.operator_of_the_cluster().await;
        let mut before = 0;
        if right.verb == "list" || right.verb == "watch" {
            refused_again(&stage, &right, 0).await;
            before = refusals(&stage, &right);
        }
        on_a_workspace_of_the_cluster(&stage).await;
        refused_again(&stage, &right, before).await;
        assert!(!of_the_cluster_has_come_to_pass(&stage, row.thing).await, "without \"{right}\": {:?}", row.thing);
        stage.rights.give_back().await.unwrap();
        eventually(&format!("{:?}, with \"{right}\"", row.thing), async || {
            let done = of_the_cluster_has_come_to_pass(&stage, row.thing).await;
            done.then_some(()).ok_or_else(|| "not yet".to_owned())
        })
        .await;
    }
}
