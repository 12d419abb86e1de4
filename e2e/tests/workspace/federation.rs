//! Tokens of other issuers in place of a secret: what the token endpoint takes and what it says of the rest.

use std::time::Duration;

use e2e::jwt::Issuer;
use e2e::workspace::FederationPolicy;
use serde_json::{Value, json};

use crate::bench::{Answer, Bench, START};

const PRINCIPAL: &str = "7c9f2f1e-5d5e-4b8b-8a43-6d1f0e6f1a11";
const AUDIENCE: &str = "https://databricks.example/oidc/v1/token";
const SUBJECT: &str = "system:serviceaccount:team:runner";
const NOW: i64 = START / 1000;

fn policy(issuer: &Issuer) -> FederationPolicy {
    let body = json!({ "oidc_policy": {
        "issuer": issuer.name(), "audiences": [AUDIENCE], "subject": SUBJECT, "jwks_json": issuer.jwks().to_string(),
    }});
    FederationPolicy::from_account_api(&body.to_string()).unwrap()
}

async fn ask(bench: &Bench, fields: &[(&str, &str)]) -> Answer {
    let form: Vec<String> = fields.iter().map(|(name, value)| format!("{name}={value}")).collect();
    bench.send(bench.http.post(format!("{}/oidc/v1/token", bench.workspace.host())).body(form.join("&"))).await
}

/// The exchange of this token, with these fields in place of the usual ones; an empty one is left out.
async fn exchange_with(bench: &Bench, token: &str, but: &[(&str, &str)]) -> Answer {
    let usual = [
        ("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange"),
        ("subject_token", token),
        ("subject_token_type", "urn:ietf:params:oauth:token-type:jwt"),
        ("scope", "all-apis"),
        ("client_id", PRINCIPAL),
    ];
    let other = |name: &str| but.iter().find(|(other, _)| *other == name).map(|(_, value)| *value);
    let fields: Vec<_> = usual.iter().map(|(name, value)| (*name, other(name).unwrap_or(value))).collect();
    let fields: Vec<_> = fields.into_iter().filter(|(_, value)| !value.is_empty()).collect();
    ask(bench, &fields).await
}

async fn exchange(bench: &Bench, token: &str) -> Answer {
    exchange_with(bench, token, &[]).await
}

/// The OAuth error of a refusal and its words.
fn refusal(answer: &Answer) -> (String, String) {
    assert_eq!(answer.status, 400, "{}", answer.text);
    let body = answer.json();
    let text = |name: &str| body[name].as_str().unwrap_or_default().to_owned();
    (text("error"), text("error_description"))
}

#[tokio::test]
async fn a_token_that_a_policy_describes_is_exchanged_for_one_of_the_service_principal() {
    let mut bench = Bench::new();
    let issuer = Issuer::new("https://kubernetes.example");
    bench.workspace.federate(PRINCIPAL, policy(&issuer));
    let answer = exchange(&bench, &issuer.token(SUBJECT, AUDIENCE, NOW, 7200)).await.ok();
    assert_eq!((answer["expires_in"].clone(), answer["token_type"].clone()), (json!(3600), json!("Bearer")));
    answer["access_token"].as_str().unwrap().clone_into(&mut bench.token);
    let me = bench.send(bench.request(reqwest::Method::GET, "/api/2.0/preview/scim/v2/Me")).await.ok();
    assert_eq!(me["userName"], PRINCIPAL);
}

#[tokio::test]
async fn an_access_token_does_not_outlive_the_token_it_was_given_for() {
    let mut bench = Bench::new();
    let issuer = Issuer::new("https://kubernetes.example");
    bench.workspace.federate(PRINCIPAL, policy(&issuer));
    let answer = exchange(&bench, &issuer.token(SUBJECT, AUDIENCE, NOW, 600)).await.ok();
    assert_eq!(answer["expires_in"], 600);
    answer["access_token"].as_str().unwrap().clone_into(&mut bench.token);
    bench.pass(599);
    assert_eq!(bench.get("runs/list").await.status, 200);
    bench.pass(1);
    assert_eq!(bench.get("runs/list").await.status, 401);
}

#[tokio::test]
async fn a_token_that_no_policy_describes_is_refused_with_what_is_wrong_with_it() {
    let bench = Bench::new();
    let (issuer, stranger) = (Issuer::new("https://kubernetes.example"), Issuer::new("https://kubernetes.example"));
    let elsewhere = Issuer::new("https://elsewhere.example");
    let mut other = policy(&elsewhere);
    other.keys.keys.extend(issuer.keys().keys);
    bench.workspace.federate(PRINCIPAL, other);
    bench.workspace.federate(PRINCIPAL, policy(&issuer));
    let claims = |edit: fn(&mut Value)| {
        let mut claims = json!({ "iss": issuer.name(), "sub": SUBJECT, "aud": AUDIENCE, "exp": NOW + 600, "nbf": NOW });
        edit(&mut claims);
        claims
    };
    let table = [
        (stranger.sign(&claims(|_| ())), "its key id is none of the issuer's"),
        (issuer.sign(&claims(|claims| claims["iss"] = json!("https://third.example"))), "its issuer https://third"),
        (issuer.sign(&claims(|claims| claims["sub"] = json!("system:serviceaccount:team:default"))), "its subject"),
        (issuer.sign(&claims(|claims| claims["aud"] = json!(["https://kubernetes.default.svc"]))), "audiences"),
        (issuer.sign(&claims(|claims| claims["exp"] = json!(NOW))), "it expired"),
        (issuer.sign(&claims(|claims| claims["nbf"] = json!(NOW + 60))), "it is not valid before"),
    ];
    for (token, words) in table {
        let (error, told) = refusal(&exchange(&bench, &token).await);
        assert_eq!(error, "invalid_grant", "{told}");
        assert!(told.contains(words), "{told}, not {words}");
        assert!(!told.contains(&token));
    }
    let good = issuer.sign(&claims(|_| ()));
    let (signed, signature) = good.rsplit_once('.').unwrap();
    let other = if signature.starts_with('A') { 'B' } else { 'A' };
    let forged = format!("{signed}.{other}{}", &signature[1..]);
    let (error, told) = refusal(&exchange(&bench, &forged).await);
    assert!(error == "invalid_grant" && told.contains("signature"), "{told}");
    assert_eq!(exchange(&bench, &good).await.status, 200);
}

#[tokio::test]
async fn a_request_that_is_no_exchange_is_refused() {
    let bench = Bench::new();
    let issuer = Issuer::new("https://kubernetes.example");
    bench.workspace.federate(PRINCIPAL, policy(&issuer));
    let token = issuer.token(SUBJECT, AUDIENCE, NOW, 600);
    let table = [
        ("client_id", "", "invalid_request", "client_id"),
        ("client_id", "somebody-else", "invalid_grant", "no federation policy"),
        ("subject_token", "", "invalid_request", "subject_token"),
        ("subject_token", "dapi-0123", "invalid_request", "not a valid JSON web token"),
        ("subject_token_type", "", "invalid_request", "subject_token_type"),
        ("subject_token_type", "urn:ietf:params:oauth:token-type:saml2", "invalid_request", "not supported"),
        ("scope", "sql", "invalid_scope", "scope"),
        ("grant_type", "password", "unsupported_grant_type", "password"),
    ];
    for (field, value, error, words) in table {
        let (got, told) = refusal(&exchange_with(&bench, &token, &[(field, value)]).await);
        assert_eq!(got, error, "{field}={value}: {told}");
        assert!(told.contains(words), "{field}={value}: {told}");
    }
}

#[tokio::test]
async fn a_principal_whose_policies_are_taken_away_gets_no_more_tokens() {
    let bench = Bench::new();
    let issuer = Issuer::new("https://kubernetes.example");
    bench.workspace.federate(PRINCIPAL, policy(&issuer));
    let token = issuer.token(SUBJECT, AUDIENCE, NOW, 600);
    assert_eq!(exchange(&bench, &token).await.status, 200);
    bench.workspace.unfederate(PRINCIPAL);
    assert_eq!(exchange(&bench, &token).await.status, 400);
}

#[tokio::test]
async fn a_token_endpoint_whose_clock_is_ahead_takes_a_good_token_for_one_that_has_expired() {
    let bench = Bench::new();
    let issuer = Issuer::new("https://kubernetes.example");
    bench.workspace.federate(PRINCIPAL, policy(&issuer));
    let token = issuer.token(SUBJECT, AUDIENCE, NOW, 600);
    bench.workspace.configure(|settings| settings.token_endpoint_ahead = Duration::from_mins(10));
    assert!(refusal(&exchange(&bench, &token).await).1.contains("it expired"));
    bench.workspace.configure(|settings| settings.token_endpoint_ahead = Duration::ZERO);
    assert_eq!(exchange(&bench, &token).await.status, 200);
}

#[test]
fn a_principal_has_at_most_twenty_policies() {
    let bench = Bench::new();
    let issuer = Issuer::new("https://kubernetes.example");
    let added = (0..30).filter(|_| bench.workspace.federate(PRINCIPAL, policy(&issuer))).count();
    assert_eq!(added, 20);
}

#[test]
fn a_policy_is_read_as_the_account_api_takes_it_and_refused_when_the_fake_could_not_keep_it() {
    let read = |policy: Value| FederationPolicy::from_account_api(&json!({ "oidc_policy": policy }).to_string());
    let issuer = Issuer::new("https://kubernetes.example");
    let good = json!({ "issuer": issuer.name(), "audiences": [AUDIENCE], "subject": SUBJECT });
    let with = |name: &str, value: Value| {
        let mut policy = good.clone();
        policy[name] = value;
        policy
    };
    let keys = json!(issuer.jwks().to_string());
    assert!(read(with("jwks_json", keys)).is_ok_and(|policy| policy.audiences == [AUDIENCE]));
    assert!(read(good.clone()).unwrap_err().to_string().contains("jwks_json"));
    assert!(read(with("subject_claim", json!("groups"))).unwrap_err().to_string().contains("groups"));
    assert!(read(with("audience", json!("x"))).unwrap_err().to_string().contains("audience"));
}
