//! The whole life of a run in each mode: its rights suffice, and each of them is used.

use e2e::cluster::rights::{Mode, Rights};
use e2e::stage::{Operator, Stage};
use e2e::wait::eventually;
use serde_json::json;

use super::{PROBE, on_a_workspace_of_the_cluster, probe};
use crate::run_now;

async fn each_right_is_used_and_no_other_is_asked_for(mode: Mode, prefix: &str) {
    let stage = Stage::in_mode(mode, prefix).await;
    let of_cluster = mode != Mode::WithoutClusterRights;
    let operator = stage
        .operator_with(|options| {
            options.leader_election = Some(stage.election());
            options.cluster_workspaces = of_cluster;
            options.operator_namespace = of_cluster.then(|| stage.rights.home().to_owned());
        })
        .await;
    stage.apply(&probe(&stage)).await;
    stage.workspace_ready("True", "WorkspaceReady").await;
    stage.event(PROBE, "RunSucceeded").await;
    stage.gone(PROBE).await;
    if of_cluster {
        on_a_workspace_of_the_cluster(&stage).await;
        stage.cluster_workspace_ready("True", "WorkspaceReady").await;
        stage.gone(PROBE).await;
    }
    // A watch is recorded when it ends.
    operator.stop();
    let all = stage.rights.all();
    eventually("each right to be used", async || {
        let used = stage.rights.used().map_err(|error| error.to_string())?;
        let idle: Vec<_> = all.difference(&used).collect();
        if idle.is_empty() { Ok(()) } else { Err(format!("idle: {idle:?}, used: {used:?}")) }
    })
    .await;
    assert!(stage.rights.refused().unwrap().is_empty(), "{:#?}", stage.rights.refused());
    stage.assert_started_once_each(if of_cluster { 2 } else { 1 });
}

#[tokio::test]
async fn cluster_wide_rights_suffice_and_none_is_idle() {
    each_right_is_used_and_no_other_is_asked_for(Mode::ClusterWide, "rights-everywhere").await;
}

#[tokio::test]
async fn the_rights_for_one_namespace_suffice_and_none_is_idle() {
    each_right_is_used_and_no_other_is_asked_for(Mode::Namespaced, "rights-namespaced").await;
}

#[tokio::test]
async fn the_rights_without_any_for_the_cluster_suffice_and_none_is_idle() {
    each_right_is_used_and_no_other_is_asked_for(Mode::WithoutClusterRights, "rights-unprivileged").await;
}

#[tokio::test]
async fn a_cluster_wide_operator_serves_a_namespace_that_is_made_later() {
    let stage = Stage::in_mode(Mode::ClusterWide, "rights-later").await;
    let job = stage.databricks.job("nightly").id();
    let _operator = stage.operator().await;
    stage.apply(&stage.run("first", run_now(job))).await;
    stage.finished("first").await;
    let later = stage.cluster.namespace("later").await.unwrap();
    for mut object in [stage.secret(), stage.authority(), stage.workspace_object(), stage.run("second", run_now(job))] {
        object["metadata"]["namespace"] = json!(*later);
        stage.kubectl_in(&later, &["apply", "-f", "-"], &object.to_string()).await;
    }
    stage.kubectl_in(&later, &["wait", "dbrun/second", "--for=condition=Finished", "--timeout=60s"], "").await;
    stage.assert_started_once_each(2);
}

#[tokio::test]
async fn an_operator_serves_the_namespaces_it_is_bound_in_and_only_those() {
    let stage = |prefix| Stage::in_mode(Mode::Namespaced, prefix);
    let (one, two, third) = tokio::join!(stage("team-one"), stage("team-two"), stage("team-three"));
    let rights = Rights::grant(&one.cluster, Mode::Namespaced, &[&one.namespace, &two.namespace]).await.unwrap();
    let mut options = e2e::stage::options(&one.namespace);
    options.namespaces = vec![one.namespace.to_string(), two.namespace.to_string()];
    let _operator = Operator::start(e2e::stage::config(rights.kubeconfig()).await, options);
    for stage in [&one, &two, &third] {
        let job = stage.databricks.job("nightly").id();
        stage.apply(&stage.run("nightly", run_now(job))).await;
    }
    one.finished("nightly").await;
    two.finished("nightly").await;
    assert_eq!(third.now("nightly").await.generation_seen(), -1);
    assert!(rights.refused().unwrap().is_empty(), "{:#?}", rights.refused());
}
