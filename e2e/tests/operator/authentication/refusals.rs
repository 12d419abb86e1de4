//! What is wrong with an identity is told at the workspace object, with what to do, and everything goes on by itself once it
//! is put right. Nothing here touches an object of ours between the refusal and the success.

use std::time::Duration;

use e2e::stage::RunView;
use e2e::workspace::TOKEN_EXCHANGE_AUDIENCE;
use futures::future::join_all;

use super::{Kind, RIGHT, TENANT, WRONG, World, ready};

/// Connects one way and asks for a run, which waits; the refusal as it is told.
async fn refused(world: &World, kind: Kind, reason: &str) -> String {
    world.connect(kind).await;
    let run = world.ask(kind, world.stage.databricks.job("nightly").id()).await;
    let message = told(world, kind, reason).await;
    world.stage.until_reason(&run, "Reconciling", reason).await;
    message
}

/// The message of `Ready` once it is false for this reason.
async fn told(world: &World, kind: Kind, reason: &str) -> String {
    ready(&world.until(kind, "False", reason).await).2
}

/// Waits for the run that waited, and for `Ready`.
async fn mended(world: &World, kind: Kind) -> RunView {
    world.until(kind, "True", "WorkspaceReady").await;
    let run = world.stage.finished(&format!("by-{}", kind.name())).await;
    assert_eq!(run.text("state"), "Succeeded", "{kind:?}: {}", world.stage.story(&run));
    run
}

fn assert_says(message: &str, words: &[&str]) {
    for word in words {
        assert!(message.contains(word), "\"{word}\" is not in: {message}");
    }
}

#[tokio::test]
async fn a_wrong_secret_is_told_and_the_right_one_is_taken_up() {
    let world = World::set("wrong-secret").await;
    let kinds = [Kind::Pat, Kind::OAuthM2M, Kind::AzureServicePrincipal];
    for kind in kinds {
        world.trust(kind);
        world.write_secret(kind, WRONG).await;
    }
    let _operator = world.operator().await;
    let messages = join_all(kinds.map(|kind| refused(&world, kind, "Unauthorized"))).await;
    for message in &messages {
        assert_says(message, &["Secret"]);
        assert!(!message.contains(WRONG), "{message}");
    }
    assert_says(&messages[2], &["AADSTS7000215", "login host"]);
    for kind in kinds {
        world.write_secret(kind, RIGHT).await;
    }
    join_all(kinds.map(|kind| mended(&world, kind))).await;
    world.stage.assert_started_once_each(kinds.len());
}

#[tokio::test]
async fn a_secret_that_is_not_there_is_told_and_taken_up_when_it_is() {
    let world = World::set("no-secret").await;
    let kinds = [Kind::Pat, Kind::OAuthM2M, Kind::AzureServicePrincipal];
    for kind in kinds {
        world.trust(kind);
    }
    let _operator = world.operator().await;
    let messages = join_all(kinds.map(|kind| refused(&world, kind, "CredentialsNotFound"))).await;
    for (kind, message) in kinds.iter().zip(&messages) {
        assert_says(message, &["Secret", &kind.name(), "create it in namespace"]);
    }
    for kind in kinds {
        world.write_secret(kind, RIGHT).await;
    }
    join_all(kinds.map(|kind| mended(&world, kind))).await;
}

#[tokio::test]
async fn an_assertion_that_has_expired_there_is_told_and_good_again_when_the_clocks_agree() {
    let world = World::set("expired").await;
    let ahead = |by: Duration| {
        world.stage.databricks.configure(|settings| settings.token_endpoint_ahead = by);
        world.login.set_ahead(by);
    };
    // More than any token of a ServiceAccount lives.
    ahead(Duration::from_hours(48));
    let kinds = [Kind::TokenFederation, Kind::AzureWorkloadIdentity];
    for kind in kinds {
        world.grant(kind).await;
    }
    let _operator = world.operator().await;
    let messages = join_all(kinds.map(|kind| refused(&world, kind, "Unauthorized"))).await;
    assert_says(&messages[0], &["it expired"]);
    assert_says(&messages[1], &["AADSTS700024", "clock"]);
    ahead(Duration::ZERO);
    join_all(kinds.map(|kind| mended(&world, kind))).await;
    world.stage.assert_started_once_each(kinds.len());
}

#[tokio::test]
async fn an_assertion_for_another_audience_is_told_and_taken_when_the_policy_names_its_own() {
    let world = World::set("audience").await;
    let kinds = [Kind::TokenFederation, Kind::AzureWorkloadIdentity];
    for kind in kinds {
        world.grant(kind).await;
        world.distrust(kind);
    }
    let (databricks, login) = (&world.stage.databricks, &world.login);
    let elsewhere = |kind| world.policy(kind, "https://elsewhere.example/oidc/v1/token");
    databricks.federate(&Kind::TokenFederation.principal(), elsewhere(Kind::TokenFederation));
    let azure = Kind::AzureWorkloadIdentity;
    login.federate(TENANT, &azure.principal(), elsewhere(azure));
    let _operator = world.operator().await;
    let messages = join_all(kinds.map(|kind| refused(&world, kind, "Unauthorized"))).await;
    let audience = format!("{}/oidc/v1/token", databricks.host());
    let subject = format!("system:serviceaccount:{}:tokenfederation", &*world.stage.namespace);
    assert_says(&messages[0], &["federation policy", &audience, &subject, &world.issuer.issuer]);
    assert_says(&messages[1], &["AADSTS700212", "federated credential", TOKEN_EXCHANGE_AUDIENCE]);
    for kind in kinds {
        world.trust(kind);
    }
    join_all(kinds.map(|kind| mended(&world, kind))).await;
    world.stage.assert_started_once_each(kinds.len());
}

#[tokio::test]
async fn an_identity_that_no_policy_describes_is_told_by_its_names() {
    let world = World::set("no-policy").await;
    let kinds = [Kind::TokenFederation, Kind::AzureWorkloadIdentity];
    for kind in kinds {
        world.grant(kind).await;
        world.distrust(kind);
    }
    let _operator = world.operator().await;
    let messages = join_all(kinds.map(|kind| refused(&world, kind, "Unauthorized"))).await;
    for (kind, message) in kinds.iter().zip(&messages) {
        let subject = format!("system:serviceaccount:{}:{}", &*world.stage.namespace, kind.name());
        assert_says(message, &[&kind.principal(), &subject, &world.issuer.issuer]);
    }
    for kind in kinds {
        world.trust(kind);
    }
    join_all(kinds.map(|kind| mended(&world, kind))).await;
}

#[tokio::test]
async fn a_service_account_that_is_deleted_under_a_run_is_told_and_its_successor_taken_up() {
    let world = World::set("deleted-account").await;
    let kinds = [Kind::TokenFederation, Kind::AzureWorkloadIdentity];
    for kind in kinds {
        world.grant(kind).await;
        world.connect(kind).await;
    }
    let job = world.stage.databricks.job("nightly").running_forever().id();
    let _operator = world.operator().await;
    for kind in kinds {
        let run = world.ask(kind, job).await;
        world.stage.running(&run).await;
        world.delete_service_account(kind).await;
        // What was exchanged serves to its end; an administrator's revocation stands for that end here.
        world.stage.databricks.revoke_tokens_of(&kind.principal());
    }
    let messages = join_all(kinds.map(|kind| told(&world, kind, "CredentialsNotFound"))).await;
    for (kind, message) in kinds.iter().zip(&messages) {
        assert_says(message, &["ServiceAccount", &kind.name(), &world.stage.namespace]);
    }
    for run in world.stage.databricks.runs() {
        world.stage.databricks.finish(run.id);
    }
    for kind in kinds {
        world.create_service_account(kind).await;
    }
    join_all(kinds.map(|kind| mended(&world, kind))).await;
    world.stage.assert_started_once_each(kinds.len());
}

#[tokio::test]
async fn a_service_account_whose_tokens_the_operator_may_not_make_is_told_with_the_right_that_is_missing() {
    let world = World::set("no-right").await;
    world.stage.expect_refusals();
    let kinds = [Kind::TokenFederation, Kind::AzureWorkloadIdentity];
    for kind in kinds {
        world.trust(kind);
        world.create_service_account(kind).await;
    }
    let _operator = world.operator().await;
    let messages = join_all(kinds.map(|kind| refused(&world, kind, "CredentialsUnusable"))).await;
    for (kind, message) in kinds.iter().zip(&messages) {
        assert_says(message, &["serviceaccounts/token", "create", &kind.name()]);
    }
    for kind in kinds {
        world.stage.grant_tokens_of(&kind.name()).await;
    }
    join_all(kinds.map(|kind| mended(&world, kind))).await;
}

#[tokio::test]
async fn an_application_that_the_directory_does_not_know_is_told_by_entra_s_number() {
    let world = World::set("unknown-application").await;
    let kinds = [Kind::AzureServicePrincipal, Kind::AzureWorkloadIdentity];
    for kind in kinds {
        world.grant(kind).await;
        world.login.remove(TENANT, &kind.principal());
    }
    let _operator = world.operator().await;
    let messages = join_all(kinds.map(|kind| refused(&world, kind, "Unauthorized"))).await;
    for (kind, message) in kinds.iter().zip(&messages) {
        assert_says(message, &["AADSTS700016", "tenantId", &kind.principal()]);
    }
    for kind in kinds {
        world.trust(kind);
    }
    join_all(kinds.map(|kind| mended(&world, kind))).await;
}
