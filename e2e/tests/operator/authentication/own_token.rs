//! `tokenSource: Operator`: the operator's own projected token in place of one that it makes. A file stands for the volume of
//! its Pod, and the test for the kubelet that writes it.

use std::time::Duration;

use e2e::cluster::rights::Mode;
use e2e::stage::{Operator, Stage};
use e2e::workspace::{FederationPolicy, Operation};
use serde_json::json;
use tempfile::NamedTempFile;

use crate::run_now;

const PRINCIPAL: &str = "principal-of-the-operator";

/// A stage with a workspace of the whole cluster that takes the operator's own token for this principal.
async fn stage(prefix: &str) -> Stage {
    let stage = Stage::in_mode(Mode::ClusterWide, prefix).await;
    let issuer = stage.cluster.token_issuer().await.unwrap();
    let policy = FederationPolicy {
        issuer: issuer.issuer,
        audiences: vec![audience(&stage)],
        subject: stage.rights.user(),
        keys: serde_json::from_value(issuer.jwks).unwrap(),
    };
    stage.databricks.federate(PRINCIPAL, policy);
    stage.connect_cluster(&json!({"names": [*stage.namespace]})).await;
    let mut object = stage.cluster_workspace_object(&json!({"names": [*stage.namespace]}));
    object["spec"]["auth"] = json!({"tokenFederation": {"clientId": PRINCIPAL, "tokenSource": "Operator"}});
    stage.apply(&object).await;
    stage
}

fn audience(stage: &Stage) -> String {
    format!("{}/oidc/v1/token", stage.databricks.host())
}

/// Writes a token of the operator's own ServiceAccount for this audience, as the kubelet does.
async fn project(stage: &Stage, file: &NamedTempFile, audience: &str) {
    let account = stage.rights.user();
    let name = account.rsplit(':').next().unwrap();
    let token = stage.cluster.token(stage.rights.home(), name, audience, Duration::from_mins(10)).await.unwrap();
    std::fs::write(file.path(), token).unwrap();
}

async fn operator(stage: &Stage, file: &NamedTempFile) -> Operator {
    let (home, file) = (stage.rights.home().to_owned(), file.path().to_owned());
    stage
        .operator_with(|options| {
            options.cluster_workspaces = true;
            options.operator_namespace = Some(home);
            options.operator_token_file = Some(file);
        })
        .await
}

#[tokio::test]
async fn the_operator_s_own_token_serves_a_workspace_of_the_whole_cluster() {
    let stage = stage("own-token").await;
    let file = NamedTempFile::new().unwrap();
    project(&stage, &file, &audience(&stage)).await;
    let _operator = operator(&stage, &file).await;
    let job = stage.databricks.job("nightly").id();
    stage.apply(&stage.run_on_cluster_workspace("nightly", run_now(job))).await;
    let run = stage.finished("nightly").await;
    assert_eq!(run.text("state"), "Succeeded", "{}", stage.story(&run));
    let started = stage.databricks.requests_for(Operation::RunNow);
    assert_eq!(started[0].principal.as_deref(), Some(PRINCIPAL));
    let workspace = stage.cluster_workspace_ready("True", "WorkspaceReady").await;
    assert_eq!(workspace.status.unwrap().auth_kind.as_deref(), Some("tokenFederation"));
}

#[tokio::test]
async fn an_own_token_for_another_audience_is_told_and_never_sent_and_the_next_one_is_taken_up() {
    let stage = stage("own-audience").await;
    let file = NamedTempFile::new().unwrap();
    project(&stage, &file, "https://elsewhere.example").await;
    let _operator = operator(&stage, &file).await;
    let told = stage.cluster_workspace_ready("False", "CredentialsUnusable").await;
    let message = told.status.unwrap().conditions[0].message.clone();
    for word in ["https://elsewhere.example", &audience(&stage), "projected token"] {
        assert!(message.contains(word), "\"{word}\" is not in: {message}");
    }
    assert_eq!(stage.databricks.token_requests(), 0, "{}", stage.databricks.story());
    project(&stage, &file, &audience(&stage)).await;
    stage.cluster_workspace_ready("True", "WorkspaceReady").await;
}
