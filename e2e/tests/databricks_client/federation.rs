//! Token federation: a ServiceAccount's token for one of a service principal, at the endpoint the workspace names.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use data_encoding::BASE64URL_NOPAD;
use databricks_run_operator::databricks::client::Client;
use databricks_run_operator::databricks::credentials::AssertionRequest;
use databricks_run_operator::databricks::error::Executed;
use databricks_run_operator::databricks::settings::{AssertionSource, Auth, Settings};

use crate::bench::{Bench, V, loopback, run_now, token};
use crate::teller::{Asked, Teller, json};

const DOCUMENT: &str = "GET /oidc/.well-known/oauth-authorization-server";
const FALLBACK: &str = "POST /oidc/v1/token";
const LIST: &str = "GET /api/2.1/jobs/runs/list";
const GIVEN: &str = r#"{"access_token":"exchanged","token_type":"Bearer","expires_in":"3600","scope":"all-apis"}"#;

fn federated(audience: Option<&str>) -> Auth {
    Auth::TokenFederation {
        client_id: "app-1".to_owned(),
        assertion: AssertionSource::ServiceAccount("runner".to_owned()),
        audience: audience.map(str::to_owned),
    }
}

/// A token of a ServiceAccount; nobody here looks at its signature.
fn jwt() -> String {
    let claims = r#"{"iss":"https://issuer.example","sub":"system:serviceaccount:etl:runner","aud":["dbx"]}"#;
    format!("eyJhbGciOiJSUzI1NiJ9.{}.c2lnbmF0dXJlLW1hcms", BASE64URL_NOPAD.encode(claims.as_bytes()))
}

/// A workspace that answers calls, and everything about tokens as told.
async fn workspace(tokens: impl Fn(&Asked) -> Vec<u8> + Send + Sync + 'static) -> Teller {
    Teller::new(move |asked| if asked.line().starts_with(LIST) { json(200, "{}") } else { tokens(asked) }).await
}

fn client(bench: &Bench, workspace: &Teller, audience: Option<&str>) -> Client {
    bench.secret.becomes(&jwt());
    let host = workspace.host().parse().unwrap();
    bench.client(Settings {
        workspace_id: Some("123".to_owned()),
        ca_bundle: Some(workspace.ca()),
        network: loopback(),
        ..Settings::new(host, federated(audience))
    })
}

fn wanted(audience: &str) -> AssertionRequest {
    AssertionRequest { source: AssertionSource::ServiceAccount("runner".to_owned()), audience: audience.to_owned() }
}

/// A document that names this path on the host it is read from.
fn document(asked: &Asked, path: &str) -> Vec<u8> {
    let host = asked.header("host").unwrap();
    json(200, &format!(r#"{{"issuer":"https://{host}/oidc","token_endpoint":"https://{host}{path}"}}"#))
}

#[tokio::test]
async fn a_token_is_exchanged_at_the_endpoint_the_workspace_names_and_for_that_audience() {
    let workspace = workspace(|asked| match asked.line() {
        DOCUMENT => document(asked, "/oidc/v7/exchange"),
        "POST /oidc/v7/exchange" => json(200, GIVEN),
        _ => json(404, ""),
    })
    .await;
    let bench = Bench::new();
    let client = client(&bench, &workspace, None);
    client.check(V).await.unwrap();
    client.check(V).await.unwrap();
    let asked = workspace.asked();
    let exchange = &asked[1];
    let expected = [
        ("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange"),
        ("subject_token", &jwt()),
        ("subject_token_type", "urn:ietf:params:oauth:token-type:jwt"),
        ("scope", "all-apis"),
        ("client_id", "app-1"),
    ];
    assert_eq!(exchange.form(), expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
    assert_eq!(exchange.header("authorization"), None);
    assert_eq!(exchange.header("x-databricks-workspace-id"), Some("123"));
    assert!(exchange.header("user-agent").unwrap().ends_with(" auth/kubernetes-oidc"), "{exchange:?}");
    assert_eq!(asked[0].header("authorization"), None);
    assert_eq!(asked[2].header("authorization"), Some("Bearer exchanged"));
    assert_eq!(asked.len(), 4, "one document and one token for all: {asked:?}");
    assert_eq!(bench.secret.assertions(), [wanted(&format!("{}/oidc/v7/exchange", workspace.host()))]);
    let told: Vec<_> = bench.calls.told().into_iter().map(|(operation, _, _)| operation).collect();
    assert_eq!(told, ["discovery", "token", "list-runs", "list-runs"]);
}

#[tokio::test]
async fn an_audience_of_its_own_wins() {
    let workspace = workspace(|_| json(200, GIVEN)).await;
    let bench = Bench::new();
    client(&bench, &workspace, Some("dbx-prod")).check(V).await.unwrap();
    assert_eq!(bench.secret.assertions(), [wanted("dbx-prod")]);
}

#[tokio::test]
async fn without_a_document_the_endpoint_is_where_it_always_was() {
    for (status, body) in [(404, ""), (503, ""), (429, ""), (200, "{}"), (200, "<html>"), (302, ""), (401, "")] {
        let workspace = workspace(move |asked| match asked.line() {
            DOCUMENT => json(status, body),
            FALLBACK => json(200, GIVEN),
            _ => json(404, ""),
        })
        .await;
        let bench = Bench::new();
        let outcome = client(&bench, &workspace, None).run_now(V, &run_now(1), &token("t")).await;
        assert_eq!(outcome.unwrap_err().reason(), "NoSuchRoute", "{status} {body}: the call itself was sent");
        let audience = format!("{}/oidc/v1/token", workspace.host());
        assert_eq!(bench.secret.assertions(), [wanted(&audience)], "{status} {body}");
    }
}

#[tokio::test]
async fn an_endpoint_on_another_host_gets_nothing() {
    let elsewhere = Teller::new(|_| json(200, GIVEN)).await;
    let named = format!(r#"{{"token_endpoint":"{}/oidc/v1/token"}}"#, elsewhere.host());
    let workspace = workspace(move |asked| match asked.line() {
        DOCUMENT => json(200, &named),
        FALLBACK => json(404, ""),
        _ => json(200, "{}"),
    })
    .await;
    let bench = Bench::new();
    let error = client(&bench, &workspace, None).check(V).await.unwrap_err();
    assert_eq!(error.reason(), "WrongHost");
    assert!(
        error.to_string().contains(&format!("is not used: it is on another host, {}", elsewhere.host())),
        "{error}"
    );
    assert!(elsewhere.asked().is_empty());
    assert_eq!(workspace.asked_for(FALLBACK).len(), 1);
}

#[tokio::test]
async fn a_refused_exchange_says_what_the_policy_must_say_and_nothing_of_the_assertion() {
    for (status, code, description) in [
        (400, "invalid_grant", "no matching federation policy".to_owned()),
        (400, "invalid_request", "No federation policy matches the token".to_owned()),
        (401, "invalid_client", "unknown client".to_owned()),
        (400, "invalid_grant", format!("the token {} is not valid", jwt())),
        (400, "invalid_grant", format!("signature {} is not valid", &jwt()[150..])),
    ] {
        let refusal = format!(r#"{{"error":"{code}","error_description":"{description}","trace":"secret words"}}"#);
        let workspace = workspace(move |asked| match asked.line() {
            FALLBACK => json(status, &refusal),
            _ => json(404, ""),
        })
        .await;
        let bench = Bench::new();
        let client = client(&bench, &workspace, Some("dbx"));
        let error = client.run_now(V, &run_now(1), &token("t")).await.unwrap_err();
        assert_eq!((error.reason(), error.executed()), ("Unauthorized", Executed::No), "{error}");
        let text = error.to_string();
        for part in [
            "the workspace's token endpoint",
            &status.to_string(),
            code,
            "clientId `app-1`",
            "federation policy for issuer `https://issuer.example`",
            "subject `system:serviceaccount:etl:runner`",
            "audience `dbx`",
        ] {
            assert!(text.contains(part), "{part} is missing in: {text}");
        }
        let printed = format!("{text} {error:?} {} {client:?}", error.told());
        for piece in jwt().split('.').chain(["c2lnbmF0", "XJlLW1h", "secret words"]) {
            assert!(!printed.contains(piece), "{piece} shows in {printed}");
        }
        assert!(description.contains(&jwt()[150..]) || text.contains(&description), "{text}");
    }
}

#[tokio::test]
async fn an_assertion_that_is_about_to_end_is_not_sent() {
    let workspace = workspace(|_| json(404, "")).await;
    let bench = Bench::new();
    let client = client(&bench, &workspace, None);
    bench.secret.assertions_live(Duration::from_secs(40));
    let error = client.check(V).await.unwrap_err();
    assert_eq!((error.reason(), error.executed()), ("CredentialsUnusable", Executed::No));
    assert!(error.to_string().contains("the token of ServiceAccount `runner` ends in 40 s"), "{error}");
    assert!(workspace.asked_for(FALLBACK).is_empty());
}

#[tokio::test]
async fn a_token_in_hand_serves_on_when_its_service_account_is_gone() {
    let workspace = workspace(|asked| if asked.line() == FALLBACK { json(200, GIVEN) } else { json(404, "") }).await;
    let bench = Bench::new();
    let client = client(&bench, &workspace, None);
    client.check(V).await.unwrap();
    bench.secret.disappears();
    client.check(V).await.unwrap();
    assert_eq!(bench.secret.assertions().len(), 1);
}

#[tokio::test]
async fn a_token_the_workspace_refuses_is_exchanged_anew_within_the_call() {
    let issued = Arc::new(AtomicUsize::new(0));
    let count = issued.clone();
    let workspace = Teller::new(move |asked| match asked.line() {
        DOCUMENT => document(asked, "/t"),
        "POST /t" => {
            let n = count.fetch_add(1, Ordering::SeqCst) + 1;
            json(200, &format!(r#"{{"access_token":"t{n}","expires_in":3600}}"#))
        }
        _ if asked.header("authorization") == Some("Bearer t2") => json(200, "{}"),
        _ => json(401, ""),
    })
    .await;
    let bench = Bench::new();
    client(&bench, &workspace, None).check(V).await.unwrap();
    assert_eq!(issued.load(Ordering::SeqCst), 2);
    assert_eq!(workspace.asked_for(DOCUMENT).len(), 1, "the document is remembered");
    assert_eq!(bench.secret.assertions().len(), 2);
}

#[tokio::test]
async fn an_answer_that_gives_no_token_is_told_without_what_stood_there() {
    for (body, words) in [
        (r#"{"access_token":""}"#, "is empty"),
        (r#"{"access_token":"a b"}"#, "cannot stand in a header"),
        (r#"{"access_token":"m4rk","token_type":"mac"}"#, "not Bearer"),
        (r#"{"access_token":"m4rk","expires_in":"soon"}"#, "not the JSON"),
        (r#"{"token":"m4rk"}"#, "not the JSON"),
    ] {
        let workspace = workspace(|_| json(200, body)).await;
        let error = client(&Bench::new(), &workspace, None).check(V).await.unwrap_err();
        assert_eq!((error.reason(), error.executed()), ("Unreachable", Executed::No), "{error}");
        assert!(error.to_string().contains(words) && !error.to_string().contains("m4rk"), "{error}");
    }
}
