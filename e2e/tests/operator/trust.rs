//! Where requests and credentials go: to the workspace a run was sent to and nowhere else.

use e2e::stage::{Stage, WORKSPACE};
use e2e::workspace::{OWNER, Operation, Options, Workspace};
use kube::api::DeleteParams;
use serde_json::json;

use crate::run_now;

#[tokio::test]
async fn nothing_is_sent_to_another_host_for_a_run_that_lives_elsewhere() {
    let stage = Stage::set("moved").await;
    let elsewhere = Workspace::start(Options::default()).unwrap();
    let job = stage.databricks.job("nightly").running_forever().id();
    let _operator = stage.operator().await;
    stage.apply(&stage.run("live", run_now(job))).await;
    stage.running("live").await;
    stage.workspaces().delete(WORKSPACE, &DeleteParams::default()).await.unwrap();
    let mut authority = stage.authority();
    authority["data"]["ca.crt"] = json!(elsewhere.ca_pem());
    stage.apply(&authority).await;
    let mut moved = stage.workspace_object();
    moved["spec"]["host"] = json!(elsewhere.host());
    stage.apply(&moved).await;
    let run = stage.until_reason("live", "Reconciling", "WorkspaceChanged").await;
    assert!(run.message("Reconciling").contains(stage.databricks.host()), "{}", stage.story(&run));
    // The other workspace can be used, so nothing but the rule keeps the run's requests away from it.
    stage.workspace_ready("True", "WorkspaceReady").await;
    stage.workspaces().delete(WORKSPACE, &DeleteParams::default()).await.unwrap();
    stage.connect().await;
    stage.until_reason("live", "Reconciling", "Running").await;
    stage.databricks.finish(stage.databricks.runs()[0].id);
    let run = stage.finished("live").await;
    assert_eq!(run.text("state"), "Succeeded", "{}", stage.story(&run));
    // The check of a workspace is a list of one run, and the question whose the token is.
    let mut sent = elsewhere.requests();
    sent.retain(|entry| ![Operation::ListRuns, Operation::Me].contains(&entry.operation));
    assert!(sent.is_empty(), "{}", elsewhere.story());
    stage.assert_started_once_each(1);
}

#[tokio::test]
async fn a_host_that_is_not_allowed_gets_nothing_and_its_runs_wait() {
    let stage = Stage::set("not-allowed").await;
    let mut workspace = stage.workspace_object();
    workspace["metadata"]["name"] = json!("other");
    workspace["spec"]["host"] = json!(stage.databricks.host().replace("127.0.0.1", "localhost"));
    stage.apply(&workspace).await;
    let _operator = stage.operator().await;
    let mut object = stage.run("waits", run_now(1));
    object["spec"]["workspaceRef"]["name"] = json!("other");
    stage.apply(&object).await;
    let run = stage.until_reason("waits", "Reconciling", "HostNotAllowed").await;
    assert!(run.message("Reconciling").contains("--allowed-host"), "{}", stage.story(&run));
    assert_eq!(stage.databricks.count(Operation::RunNow), 0, "{}", stage.databricks.story());
}

#[tokio::test]
async fn a_wrong_token_is_told_at_the_workspace_and_mended_by_a_right_one() {
    let stage = Stage::bare("wrong-token").await;
    let mut secret = stage.secret();
    secret["stringData"]["token"] = json!("dapi-wrong");
    stage.apply(&secret).await;
    stage.apply(&stage.authority()).await;
    stage.apply(&stage.workspace_object()).await;
    let job = stage.databricks.job("nightly").id();
    let _operator = stage.operator().await;
    stage.apply(&stage.run("late", run_now(job))).await;
    stage.workspace_ready("False", "Unauthorized").await;
    stage.until_reason("late", "Reconciling", "Unauthorized").await;
    stage.apply(&stage.secret()).await;
    let run = stage.finished("late").await;
    assert_eq!(run.text("state"), "Succeeded", "{}", stage.story(&run));
    stage.assert_started_once_each(1);
}

#[tokio::test]
async fn a_token_revoked_in_the_middle_of_a_run_fails_nothing() {
    let stage = Stage::set("revoked").await;
    let job = stage.databricks.job("nightly").running_forever().id();
    let _operator = stage.operator().await;
    let history = stage.history("steady");
    stage.apply(&stage.run("steady", run_now(job))).await;
    stage.running("steady").await;
    stage.databricks.revoke_token(stage.databricks.token());
    stage.databricks.finish(stage.databricks.runs()[0].id);
    stage.workspace_ready("False", "Unauthorized").await;
    stage.databricks.accept_token("dapi-rotated", OWNER, None);
    let mut secret = stage.secret();
    secret["stringData"]["token"] = json!("dapi-rotated");
    stage.apply(&secret).await;
    let run = stage.finished("steady").await;
    assert_eq!(run.text("state"), "Succeeded", "{}", stage.story(&run));
    stage.assert_started_once_each(1);
    for version in history.so_far() {
        assert_eq!(version.condition("Stalled"), "", "{:#}", version.status());
    }
}
