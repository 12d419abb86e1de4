//! What is missing is told with its remedy, waited for, and noticed within half a minute when it appears.

use std::time::Duration;

use e2e::stage::{RunView, Stage};
use serde_json::{Value, json};

use crate::run_now;

/// How soon a run goes on once what it waits for is there. A promise to users, not a pace: tests fail long after it.
const RECOVERY: Duration = Duration::from_secs(30);

/// Applies these objects and a run, waits until it tells the reason, applies what was missing and sees it finish.
async fn waits(prefix: &str, there: impl Fn(&Stage) -> Vec<Value>, reason: &str) -> RunView {
    let stage = Stage::bare(prefix).await;
    let job = stage.databricks.job("nightly").id();
    for object in there(&stage) {
        stage.apply(&object).await;
    }
    let _operator = stage.operator().await;
    stage.apply(&stage.run("late", run_now(job))).await;
    let waiting = stage.until_reason("late", "Reconciling", reason).await;
    assert_eq!(stage.databricks.runs_started(), 0, "{}", stage.story(&waiting));
    stage.connect().await;
    let finished = tokio::time::timeout(RECOVERY, stage.finished("late")).await;
    let run = finished.expect("it goes on within the promised time");
    assert_eq!(run.text("state"), "Succeeded", "{}", stage.story(&run));
    waiting
}

#[tokio::test]
async fn a_missing_secret_is_waited_for() {
    let there = |stage: &Stage| vec![stage.authority(), stage.workspace_object()];
    let run = waits("no-secret", there, "CredentialsNotFound").await;
    assert!(run.message("Reconciling").contains("`databricks`"), "{}", run.message("Reconciling"));
}

#[tokio::test]
async fn a_missing_key_is_waited_for() {
    let there = |stage: &Stage| {
        let mut secret = stage.secret();
        secret["stringData"] = json!({"other": "x"});
        vec![secret, stage.authority(), stage.workspace_object()]
    };
    let run = waits("no-key", there, "CredentialsNotFound").await;
    let message = run.message("Reconciling");
    assert!(message.contains("`databricks`") && message.contains("`token`"), "{message}");
}

#[tokio::test]
async fn a_missing_authority_is_waited_for() {
    let there = |stage: &Stage| vec![stage.secret(), stage.workspace_object()];
    let run = waits("no-ca", there, "CredentialsNotFound").await;
    assert!(run.message("Reconciling").contains("`ca`"), "{}", run.message("Reconciling"));
}

#[tokio::test]
async fn a_missing_workspace_is_waited_for() {
    let run = waits("no-workspace", |_| Vec::new(), "WorkspaceNotFound").await;
    let message = run.message("Reconciling");
    assert!(message.contains("`prod`") && message.contains("spec.workspaceRef.name"), "{message}");
}
