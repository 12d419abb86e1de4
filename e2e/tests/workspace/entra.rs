//! The fake of Entra's login host: whom it gives tokens for the workspace, and what it says to the others.

use std::time::Duration;

use e2e::jwt::Issuer;
use e2e::workspace::{
    AZURE_DATABRICKS, Fault, FederationPolicy, Kind, LoginHost, Operation, RetryAfter, TOKEN_EXCHANGE_AUDIENCE,
};
use serde_json::{Value, json};

use crate::bench::{Answer, Bench, START};

const TENANT: &str = "11111111-2222-3333-4444-555555555555";
const APPLICATION: &str = "0f1e2d3c-0000-4000-8000-abcdefabcdef";
const SUBJECT: &str = "system:serviceaccount:team:runner";
const NOW: i64 = START / 1000;

/// A workspace, a login host whose tokens it accepts, and a client that trusts both.
struct Entra {
    bench: Bench,
    login: LoginHost,
}

impl Entra {
    fn new() -> Self {
        let mut bench = Bench::new();
        let login = LoginHost::start(&bench.workspace.control()).unwrap();
        // One bundle for both, as an object's caBundle holds them.
        let bundle = format!("{}{}", bench.workspace.ca_pem(), login.ca_pem());
        bench.trust(&bundle);
        Self { bench, login }
    }

    async fn ask(&self, tenant: &str, fields: &[(&str, &str)]) -> Answer {
        let form: Vec<String> = fields.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let url = format!("{}/{tenant}/oauth2/v2.0/token", self.login.host());
        self.bench.send(self.bench.http.post(url).body(form.join("&"))).await
    }

    async fn by_secret(&self, secret: &str) -> Answer {
        self.ask(TENANT, &form(APPLICATION, &[("client_secret", secret)])).await
    }

    async fn by_assertion(&self, assertion: &str) -> Answer {
        let kind = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
        let proof = [("client_assertion_type", kind), ("client_assertion", assertion)];
        self.ask(TENANT, &form(APPLICATION, &proof)).await
    }
}

fn form<'a>(client_id: &'a str, proof: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    const SCOPE: &str = "2ff814a6-3304-4ab8-85cb-cd0e6f879c1d/.default";
    assert!(SCOPE.starts_with(AZURE_DATABRICKS));
    [[("grant_type", "client_credentials"), ("scope", SCOPE), ("client_id", client_id)].as_slice(), proof].concat()
}

/// The status, the OAuth error and the number of a refusal, which it says three times.
fn refusal(answer: &Answer) -> (u16, String, u64) {
    let body = answer.json();
    let number = body["error_codes"][0].as_u64().unwrap_or_default();
    let told = body["error_description"].as_str().unwrap_or_default();
    assert!(told.starts_with(&format!("AADSTS{number}: ")), "{}", answer.text);
    assert!(body["error_uri"].as_str().is_some_and(|uri| uri.ends_with(&number.to_string())), "{}", answer.text);
    assert_eq!(body["timestamp"], "2023-11-14 22:13:20Z");
    (answer.status, body["error"].as_str().unwrap_or_default().to_owned(), number)
}

fn credential(issuer: &Issuer) -> FederationPolicy {
    FederationPolicy {
        issuer: issuer.name().to_owned(),
        audiences: vec![TOKEN_EXCHANGE_AUDIENCE.to_owned()],
        subject: SUBJECT.to_owned(),
        keys: issuer.keys(),
    }
}

#[tokio::test]
async fn a_secret_buys_a_token_that_the_workspace_accepts_until_it_ends() {
    let mut entra = Entra::new();
    entra.login.accept_secret(TENANT, APPLICATION, "good");
    entra.login.set_token_lifetime(Duration::from_mins(2));
    let granted = entra.by_secret("good").await.ok();
    assert_eq!((granted["expires_in"].clone(), granted["token_type"].clone()), (json!(120), json!("Bearer")));
    granted["access_token"].as_str().unwrap().clone_into(&mut entra.bench.token);
    let me = entra.bench.send(entra.bench.request(reqwest::Method::GET, "/api/2.0/preview/scim/v2/Me")).await.ok();
    assert_eq!(me["userName"], APPLICATION);
    entra.bench.pass(120);
    assert_eq!(entra.bench.get("runs/list").await.status, 401);
    assert_eq!((entra.login.token_requests(), entra.bench.workspace.token_requests()), (1, 0));
}

#[tokio::test]
async fn a_rotated_secret_ends_the_old_one() {
    let entra = Entra::new();
    entra.login.accept_secret(TENANT, APPLICATION, "old");
    entra.login.accept_secret(TENANT, APPLICATION, "new");
    assert_eq!(refusal(&entra.by_secret("old").await), (401, "invalid_client".to_owned(), 7_000_215));
    assert_eq!(entra.by_secret("new").await.status, 200);
}

#[tokio::test]
async fn what_is_wrong_with_a_request_is_told_by_number() {
    let entra = Entra::new();
    entra.login.accept_secret(TENANT, APPLICATION, "good");
    let secret = [("client_secret", "good")];
    let table = [
        ("99999999-0000", form(APPLICATION, &secret), (400, "invalid_request", 90002)),
        (TENANT, form("nobody", &secret), (400, "unauthorized_client", 700_016)),
        (TENANT, form(APPLICATION, &[]), (401, "invalid_client", 7_000_218)),
        (TENANT, form(APPLICATION, &secret)[1..].to_vec(), (400, "invalid_request", 900_144)),
        (TENANT, vec![("grant_type", "password")], (400, "unsupported_grant_type", 70003)),
        (
            TENANT,
            vec![("grant_type", "client_credentials"), ("client_id", APPLICATION), ("scope", "all-apis")],
            (400, "invalid_scope", 70011),
        ),
    ];
    for (tenant, fields, (status, error, number)) in table {
        let answer = entra.ask(tenant, &fields).await;
        assert_eq!(refusal(&answer), (status, error.to_owned(), number), "{}", answer.text);
        assert!(!answer.text.contains("good"), "{}", answer.text);
    }
    let elsewhere = entra.bench.http.post(format!("{}/{TENANT}/oauth2/token", entra.login.host()));
    assert_eq!(entra.bench.send(elsewhere).await.status, 404);
}

#[tokio::test]
async fn a_token_of_an_issuer_the_application_trusts_buys_one_too() {
    let entra = Entra::new();
    let issuer = Issuer::new("https://kubernetes.example");
    entra.login.federate(TENANT, APPLICATION, credential(&issuer));
    let assertion = issuer.token(SUBJECT, TOKEN_EXCHANGE_AUDIENCE, NOW, 600);
    assert_eq!(entra.by_assertion(&assertion).await.ok()["expires_in"], 3599);
    entra.login.unfederate(TENANT, APPLICATION);
    assert_eq!(refusal(&entra.by_assertion(&assertion).await), (401, "invalid_client".to_owned(), 70021));
    entra.login.remove(TENANT, APPLICATION);
    assert_eq!(refusal(&entra.by_assertion(&assertion).await).2, 700_016);
}

#[tokio::test]
async fn an_assertion_that_does_not_match_is_told_by_number() {
    let entra = Entra::new();
    let issuer = Issuer::new("https://kubernetes.example");
    entra.login.federate(TENANT, APPLICATION, credential(&issuer));
    let sign = |edit: fn(&mut Value)| {
        let mut claims =
            json!({ "iss": issuer.name(), "sub": SUBJECT, "aud": [TOKEN_EXCHANGE_AUDIENCE], "exp": NOW + 600 });
        edit(&mut claims);
        issuer.sign(&claims)
    };
    let table = [
        (sign(|claims| claims["iss"] = json!("https://elsewhere.example")), 700_211),
        (sign(|claims| claims["aud"] = json!(["https://kubernetes.default.svc"])), 700_212),
        (sign(|claims| claims["sub"] = json!("system:serviceaccount:team:default")), 700_213),
        (sign(|claims| claims["exp"] = json!(NOW - 1)), 700_024),
        (sign(|claims| claims["nbf"] = json!(NOW + 10)), 700_024),
        (Issuer::new(issuer.name()).token(SUBJECT, TOKEN_EXCHANGE_AUDIENCE, NOW, 600), 700_027),
    ];
    for (assertion, number) in table {
        let answer = entra.by_assertion(&assertion).await;
        assert_eq!(refusal(&answer), (401, "invalid_client".to_owned(), number), "{}", answer.text);
    }
    assert_eq!(refusal(&entra.by_assertion("nonsense").await), (400, "invalid_request".to_owned(), 50027));
    entra.login.set_ahead(Duration::from_mins(10));
    assert_eq!(refusal(&entra.by_assertion(&sign(|_| ())).await).2, 700_024);
    entra.login.set_ahead(Duration::ZERO);
    assert_eq!(entra.by_assertion(&sign(|_| ())).await.status, 200);
}

#[tokio::test]
async fn it_is_disturbed_like_the_workspace() {
    let entra = Entra::new();
    entra.login.accept_secret(TENANT, APPLICATION, "good");
    entra.login.fault(Fault::on(Operation::Token, Kind::unavailable()).once());
    assert_eq!(entra.by_secret("good").await.status, 503);
    entra.login.fault(Fault::everywhere(Kind::throttled(Some(RetryAfter::Seconds(7)))).once());
    let throttled = entra.by_secret("good").await;
    assert_eq!((throttled.status, throttled.headers["retry-after"].to_str().unwrap()), (429, "7"));
    entra.login.fault(Fault::everywhere(Kind::Drip { every_ms: 1 }).once());
    assert_eq!(entra.by_secret("good").await.status, 200);
    let statuses: Vec<_> = entra.login.requests().iter().map(|entry| (entry.status, entry.principal.clone())).collect();
    let application = Some(APPLICATION.to_owned());
    assert_eq!(statuses, [(Some(503), None), (Some(429), None), (Some(200), application)]);
    assert!(!format!("{:?}", entra.login.requests()).contains("good"));
}
