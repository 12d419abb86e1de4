//! What the operator may not do, asked in its own name; and the one grant that a person may add.

use e2e::cluster::rights::{Mode, Right, rights_in, shipped};
use e2e::cluster::shared;
use e2e::stage::{OperatorProcess, Stage};
use e2e::wait::eventually;
use k8s_openapi::api::authentication::v1::TokenRequest;
use k8s_openapi::api::core::v1::{Secret, ServiceAccount};
use kube::api::{ListParams, PostParams};
use kube::{Api, Client};
use serde_json::json;

/// A client with the rights of the stage's operators.
async fn as_operator(stage: &Stage) -> Client {
    stage.expect_refusals();
    stage.cluster.client_as(stage.rights.home(), "databricks-run-operator").await.unwrap()
}

fn is_forbidden<T>(answer: &kube::Result<T>) -> bool {
    matches!(answer, Err(kube::Error::Api(status)) if status.code == 403)
}

#[tokio::test]
async fn in_no_mode_can_secrets_be_listed_or_watched_or_tokens_be_made() {
    for mode in Mode::ALL {
        let stage = Stage::in_mode(mode, "limits").await;
        let client = as_operator(&stage).await;
        let secrets: Api<Secret> = Api::namespaced(client.clone(), &stage.namespace);
        assert!(secrets.get("databricks").await.is_ok(), "{mode:?}");
        assert!(is_forbidden(&secrets.list(&ListParams::default()).await), "{mode:?}");
        assert!(is_forbidden(&Api::<Secret>::all(client.clone()).list(&ListParams::default()).await), "{mode:?}");
        assert!(is_forbidden(&secrets.watch(&kube::api::WatchParams::default(), "0").await.map(drop)), "{mode:?}");
        let accounts: Api<ServiceAccount> = Api::namespaced(client, &stage.namespace);
        assert!(is_forbidden(
            &accounts.create_token_request("default", &PostParams::default(), &TokenRequest::default()).await
        ));
    }
}

#[tokio::test]
async fn no_secret_can_be_read_where_the_operator_does_not_serve() {
    for mode in [Mode::Namespaced, Mode::WithoutClusterRights] {
        let stage = Stage::in_mode(mode, "limits").await;
        let elsewhere = stage.cluster.namespace("elsewhere").await.unwrap();
        let secrets: Api<Secret> = Api::namespaced(as_operator(&stage).await, &elsewhere);
        assert!(is_forbidden(&secrets.get("any").await), "{mode:?}");
    }
}

#[tokio::test]
async fn the_sample_lets_the_operator_make_tokens_of_one_service_account_and_of_no_other() {
    for mode in Mode::ALL {
        let stage = Stage::in_mode(mode, "tokens").await;
        for name in ["runner", "other"] {
            stage.apply(&json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name}})).await;
        }
        stage.grant_tokens_of("runner").await;
        let accounts: Api<ServiceAccount> = Api::namespaced(as_operator(&stage).await, &stage.namespace);
        let token = async |name: &str| {
            accounts.create_token_request(name, &PostParams::default(), &TokenRequest::default()).await
        };
        assert!(token("runner").await.is_ok(), "{mode:?}");
        assert!(is_forbidden(&token("other").await), "{mode:?}");
    }
}

/// The address of the probes of an operator.
fn health_address(operator: &OperatorProcess) -> String {
    let log = operator.log();
    let line = log.lines().find(|line| line.contains("starting") && line.contains("health")).expect(&log);
    let after = line.rsplit_once("health").unwrap().1;
    let address = after.find("127.0.0.1:").map(|at| &after[at..]).expect(line);
    address.split(|c: char| !c.is_ascii_digit() && c != '.' && c != ':').next().unwrap().to_owned()
}

#[tokio::test]
async fn an_operator_that_may_not_watch_what_the_cluster_has_says_what_helps_until_it_may() {
    let stage = Stage::in_mode(Mode::WithoutClusterRights, "no-cluster").await;
    stage.expect_refusals();
    let operator = stage.process(env!("CARGO_BIN_EXE_operator"), &["--cluster-workspaces", "true"]);
    for kind in ["ClusterDatabricksWorkspace", "Namespace"] {
        operator.logs(&format!("may not list and watch {kind} objects; grant it")).await;
    }
    operator.logs("or start the operator with --cluster-workspaces=false").await;
    let ready = format!("http://{}/readyz", health_address(&operator));
    let probed = async || {
        let answer = reqwest::get(&ready).await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    };
    eventually("the probe to say it", async || match probed().await {
        (503, text) if text.contains("start the operator with --cluster-workspaces=false") => Ok(()),
        answer => Err(format!("{answer:?}")),
    })
    .await;
    let right = include_str!("../../../../config/rbac/operator/cluster-workspaces.yaml");
    stage.rights.grant_also(right).await.unwrap();
    operator.logs("all objects are known; working").await;
    assert_eq!(probed().await.0, 200);
}

#[tokio::test]
async fn no_role_that_is_installed_by_default_speaks_of_tokens_or_of_everything() {
    for folder in ["cluster-wide", "namespaced", "without-cluster-rights", "users"] {
        let objects = shipped(shared().await, folder).await.unwrap();
        let too_much = |right: &Right| {
            right.resource.starts_with("serviceaccounts")
                || [&right.group, &right.resource, &right.verb].iter().any(|part| part.contains('*'))
        };
        let too_much: Vec<Right> = rights_in(&objects).into_iter().filter(too_much).collect();
        assert!(too_much.is_empty(), "{folder}: {too_much:?}");
    }
}
