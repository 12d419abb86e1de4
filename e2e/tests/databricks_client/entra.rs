//! Microsoft Entra: a login host beside the workspace, which gives the tokens and has its own trouble.

use data_encoding::BASE64URL_NOPAD;
use databricks_run_operator::databricks::client::Client;
use databricks_run_operator::databricks::credentials::AssertionRequest;
use databricks_run_operator::databricks::error::{Error, Executed};
use databricks_run_operator::databricks::limiters::Limiters;
use databricks_run_operator::databricks::settings::{AssertionSource, Auth, Settings};
use e2e::workspace::{OWNER, Operation};

use crate::bench::{Bench, V, key, run_now, token};
use crate::teller::{Asked, Teller, answer, json};

const TOKEN: &str = "POST /contoso.example/oauth2/v2.0/token";
const GIVEN: &str = r#"{"token_type":"Bearer","expires_in":3599,"ext_expires_in":3599,"access_token":"entra-token"}"#;
const SECRET: &str = "Xy8~m4rk.of+the/secret=";

fn with_secret() -> Auth {
    let (tenant_id, client_id) = ("contoso.example".to_owned(), "app-1".to_owned());
    Auth::AzureServicePrincipal { tenant_id, client_id, client_secret: key() }
}

fn with_assertion() -> Auth {
    let (tenant_id, client_id) = ("contoso.example".to_owned(), "app-1".to_owned());
    Auth::AzureWorkloadIdentity { tenant_id, client_id, assertion: AssertionSource::Operator }
}

fn jwt() -> String {
    let claims = r#"{"iss":"https://issuer.example","sub":"system:serviceaccount:ops:dbrun","aud":"a"}"#;
    format!("eyJhbGciOiJSUzI1NiJ9.{}.c2lnbmF0dXJlLW1hcms", BASE64URL_NOPAD.encode(claims.as_bytes()))
}

/// What proves this identity.
fn proof(auth: &Auth) -> String {
    if matches!(auth, Auth::AzureServicePrincipal { .. }) { SECRET.to_owned() } else { jwt() }
}

/// A workspace that takes Entra's token, and the settings of an identity that gets it at this login host.
fn settings(bench: &Bench, login: &Teller, auth: Auth) -> Settings {
    bench.workspace.accept_token("entra-token", OWNER, None);
    bench.secret.becomes(&proof(&auth));
    let ca = format!("{}\n{}", bench.workspace.ca_pem(), login.ca());
    Settings {
        workspace_id: Some("123".to_owned()),
        entra_login: Some(login.host().parse().unwrap()),
        ca_bundle: Some(ca),
        ..bench.settings(auth)
    }
}

fn client(bench: &Bench, login: &Teller, auth: Auth) -> Client {
    bench.client(settings(bench, login, auth))
}

fn fields<'a>(fields: impl IntoIterator<Item = (&'a str, &'a str)>) -> Vec<(String, String)> {
    fields.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

fn nothing_of_the_workspace(asked: &Asked) {
    assert_eq!(asked.header("authorization"), None, "{asked:?}");
    assert_eq!(asked.header("x-databricks-workspace-id"), None, "{asked:?}");
}

#[tokio::test]
async fn a_client_secret_is_sent_in_the_form_to_the_login_host_alone() {
    let login = Teller::new(|_| json(200, GIVEN)).await;
    let bench = Bench::new();
    let client = client(&bench, &login, with_secret());
    client.check(V).await.unwrap();
    client.check(V).await.unwrap();
    let asked = login.asked();
    assert_eq!(asked.len(), 1, "one token for all: {asked:?}");
    assert_eq!(asked[0].line(), TOKEN);
    let expected = fields([
        ("grant_type", "client_credentials"),
        ("client_id", "app-1"),
        ("scope", "2ff814a6-3304-4ab8-85cb-cd0e6f879c1d/.default"),
        ("client_secret", SECRET),
    ]);
    assert_eq!(asked[0].form(), expected);
    nothing_of_the_workspace(&asked[0]);
    assert!(asked[0].header("user-agent").unwrap().ends_with(" auth/azure-client-secret"), "{asked:?}");
    assert_eq!(bench.workspace.token_requests(), 0);
    let operations: Vec<_> = bench.workspace.requests().into_iter().map(|entry| entry.operation).collect();
    assert_eq!(operations, [Operation::ListRuns, Operation::ListRuns]);
}

#[tokio::test]
async fn an_assertion_takes_the_place_of_the_secret() {
    let login = Teller::new(|_| json(200, GIVEN)).await;
    let bench = Bench::new();
    client(&bench, &login, with_assertion()).check(V).await.unwrap();
    let audience = "api://AzureADTokenExchange".to_owned();
    assert_eq!(bench.secret.assertions(), [AssertionRequest { source: AssertionSource::Operator, audience }]);
    let asked = login.asked_for(TOKEN);
    let expected = fields([
        ("grant_type", "client_credentials"),
        ("client_id", "app-1"),
        ("scope", "2ff814a6-3304-4ab8-85cb-cd0e6f879c1d/.default"),
        ("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"),
        ("client_assertion", &jwt()),
    ]);
    assert_eq!(asked[0].form(), expected);
    nothing_of_the_workspace(&asked[0]);
    assert!(asked[0].header("user-agent").unwrap().ends_with(" auth/azure-workload-identity"), "{asked:?}");
}

#[tokio::test]
async fn what_entra_refuses_is_told_by_its_number_with_what_to_check_and_without_the_secret() {
    for (auth, status, code, message, remedy) in [
        (with_secret(), 401, "invalid_client", "AADSTS7000215: Invalid client secret provided.", "not the secret's id"),
        (
            with_secret(),
            401,
            "invalid_client",
            "AADSTS7000222: The provided client secret keys are expired.",
            "expired",
        ),
        (with_secret(), 400, "unauthorized_client", "AADSTS700016: Application 'app-1' was not found.", "tenantId"),
        (with_secret(), 400, "invalid_request", "AADSTS90002: Tenant 'contoso.example' not found.", "check tenantId"),
        (with_secret(), 400, "invalid_grant", "AADSTS53003: Access has been blocked.", "Conditional Access"),
        (with_secret(), 400, "invalid_something", "AADSTS1: New.", "clientId `app-1` and the client secret"),
        (
            with_assertion(),
            400,
            "invalid_client",
            "AADSTS70021: No matching federated identity record found for presented assertion.",
            "federated credential for issuer `https://issuer.example`, subject `system:serviceaccount:ops:dbrun` and \
             audience `a`",
        ),
        (
            with_assertion(),
            401,
            "invalid_client",
            "AADSTS700024: Client assertion is not within its valid time range.",
            "clocks",
        ),
    ] {
        let sent = proof(&auth);
        let refusal = serde_json::json!({
            "error": code,
            "error_description": format!(
                "{message} You sent {sent}.\r\nTrace ID: 7d1f-1\r\nTimestamp: 2026-01-02 03:04:05Z"
            ),
            "error_codes": [1],
            "trace_id": "7d1f-1",
        });
        let login = Teller::new(move |_| json(status, &refusal.to_string())).await;
        let bench = Bench::new();
        let client = client(&bench, &login, auth);
        let error = client.run_now(V, &run_now(1), &token("t")).await.unwrap_err();
        assert_eq!((error.reason(), error.executed()), ("Unauthorized", Executed::No), "{error}");
        let text = error.to_string();
        for part in ["the login host 127.0.0.1 refuses", code, message, remedy, "(request 7d1f-1)"] {
            assert!(text.contains(part), "{part} is missing in: {text}");
        }
        assert!(!error.told().contains("7d1f-1") && !text.contains("03:04:05"), "{text}");
        let printed = format!("{text} {error:?} {} {client:?}", error.told());
        for piece in [&sent[..8], &sent[sent.len() - 8..], "m4rk"] {
            assert!(!printed.contains(piece), "{piece} shows in {printed}");
        }
        assert!(bench.workspace.requests().is_empty());
    }
}

#[tokio::test]
async fn trouble_of_the_login_host_is_told_as_its_own_and_slows_nobody_down() {
    for (reply, reason, words) in [
        (json(503, ""), "Unavailable", "the login host 127.0.0.1 cannot answer now (HTTP 503"),
        (
            json(400, r#"{"error":"temporarily_unavailable"}"#),
            "Unavailable",
            "the login host 127.0.0.1 cannot answer now",
        ),
        (answer("429 X\r\nRetry-After: 300", ""), "Throttled", "the login host 127.0.0.1 asks to slow down (HTTP 429"),
        (answer("200 OK\r\nContent-Type: text/html", "<html>"), "WrongHost", "the login host 127.0.0.1 answers with"),
        (
            answer("302 X\r\nLocation: https://169.254.169.254/", ""),
            "WrongHost",
            "the login host 127.0.0.1 answers with",
        ),
        (json(404, ""), "WrongHost", "no token endpoint at /contoso.example/oauth2/v2.0/token"),
        (json(200, "{}"), "Unreachable", "the answer of the login host 127.0.0.1 could not be read"),
        (b"what?".to_vec(), "Unreachable", "no answer from the login host 127.0.0.1"),
    ] {
        let shown = String::from_utf8_lossy(&reply).into_owned();
        let login = Teller::new(move |_| reply.clone()).await;
        let bench = Bench::new();
        let settings = settings(&bench, &login, with_secret());
        let limiter = Limiters::new(100.0).for_host(&settings.host);
        let client =
            |settings| Client::new(settings, bench.secret.clone(), limiter.clone(), bench.calls.clone()).unwrap();
        let error = client(settings).run_now(V, &run_now(1), &token("t")).await.unwrap_err();
        assert_eq!((error.reason(), error.executed()), (reason, Executed::No), "{shown}: {error}");
        assert!(matches!(error, Error::NoToken(_)), "{shown}: {error}");
        assert!(error.to_string().contains(words) && !error.to_string().contains("spec.host"), "{shown}: {error}");
        assert!(bench.workspace.requests().is_empty());
        // Another identity at the same workspace goes on as before.
        assert!((limiter.rate() - 100.0).abs() < f64::EPSILON, "{shown}");
        bench.secret.becomes(bench.workspace.token());
        client(bench.pat()).check(V).await.unwrap();
    }
}

#[tokio::test]
async fn a_login_host_that_cannot_be_reached_or_is_not_trusted_was_sent_nothing() {
    let login = Teller::new(|_| json(200, GIVEN)).await;
    let bench = Bench::new();
    let untrusted =
        Settings { ca_bundle: Some(bench.workspace.ca_pem().to_owned()), ..settings(&bench, &login, with_secret()) };
    let error = bench.client(untrusted).check(V).await.unwrap_err();
    assert!(error.to_string().contains("no connection to the login host 127.0.0.1: its certificate"), "{error}");
    assert!(login.asked().is_empty());
}

#[tokio::test]
async fn a_directory_that_could_lead_elsewhere_is_refused_before_anything_is_made() {
    let login = Teller::new(|_| json(200, GIVEN)).await;
    let bench = Bench::new();
    let auth = Auth::AzureServicePrincipal {
        tenant_id: "../evil".to_owned(),
        client_id: "app-1".to_owned(),
        client_secret: key(),
    };
    let settings = settings(&bench, &login, auth);
    let limiter = Limiters::default().for_host(&settings.host);
    let error = Client::new(settings, bench.secret.clone(), limiter, bench.calls.clone()).unwrap_err();
    assert!(error.to_string().contains("tenantId `../evil`"), "{error}");
}

#[tokio::test]
async fn a_login_host_that_is_named_must_be_allowed_like_any_host() {
    let login = Teller::new(|_| json(200, GIVEN)).await;
    let bench = Bench::new();
    let settings = settings(&bench, &login, with_assertion());
    for host in ["https://evil.example", "https://127.0.0.2", "https://localhost"] {
        let settings = Settings { entra_login: Some(host.parse().unwrap()), ..settings.clone() };
        let limiter = Limiters::default().for_host(&settings.host);
        let error = Client::new(settings, bench.secret.clone(), limiter, bench.calls.clone()).unwrap_err();
        assert!(error.to_string().contains("--allowed-host"), "{error}");
    }
}
