//! Tokens: where they come from, how long they are used, what happens when they are refused.

use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use databricks_run_operator::databricks::Principal;
use databricks_run_operator::databricks::error::{Error, Executed};
use databricks_run_operator::databricks::settings::{AssertionSource, Auth, Settings};
use e2e::workspace::{Fault, Kind, OWNER, Operation};

use crate::bench::{Bench, V, key, loopback, run_now, token};
use crate::teller::{Teller, json};

#[tokio::test]
async fn a_rotated_token_is_read_after_the_first_401_and_the_call_succeeds() {
    let bench = Bench::new();
    let client = bench.client(bench.pat());
    client.check(V).await.unwrap();
    bench.workspace.revoke_token(bench.workspace.token());
    bench.workspace.accept_token("dapi-new", OWNER, None);
    bench.secret.becomes("dapi-new\n");
    client.check(V).await.unwrap();
    let statuses: Vec<_> = bench.calls.told().into_iter().map(|call| call.2).collect();
    assert_eq!(statuses, [Some(200), Some(401), Some(200)]);
}

#[tokio::test]
async fn a_token_that_stays_refused_is_tried_twice_and_then_told() {
    let bench = Bench::new();
    bench.secret.becomes("dapi-wrong");
    let client = bench.client(bench.pat());
    let error = client.run_now(V, &run_now(1), &token("t")).await.unwrap_err();
    assert!(matches!(error, Error::Unauthenticated(_)), "{error}");
    assert_eq!(error.executed(), Executed::No);
    assert_eq!(bench.workspace.count(Operation::RunNow), 2);
}

#[tokio::test]
async fn a_secret_that_is_not_there_is_told_as_it_was_said_and_nothing_is_sent() {
    let bench = Bench::new();
    bench.secret.disappears();
    let error = bench.client(bench.pat()).check(V).await.unwrap_err();
    assert_eq!((error.reason(), error.to_string().as_str()), ("CredentialsNotFound", "Secret `db` is not there"));
    assert!(bench.workspace.requests().is_empty());
}

#[tokio::test]
async fn one_oauth_token_serves_many_calls() {
    for as_text in [false, true] {
        let bench = Bench::new();
        bench.workspace.configure(|settings| settings.expires_in_as_text = as_text);
        let client = bench.client(bench.oauth());
        let all = futures::future::join_all((0..20).map(|_| client.check(V))).await;
        // The same operation shares one place at the limiter, which does not hold it back here.
        assert!(all.iter().all(Result::is_ok), "{all:?}");
        assert_eq!(bench.workspace.token_requests(), 1);
        let entry = &bench.workspace.requests_for(Operation::Token)[0];
        assert!(entry.user_agent.ends_with("auth/oauth-m2m"), "{}", entry.user_agent);
    }
}

#[tokio::test]
async fn an_oauth_token_that_is_refused_is_replaced_within_the_call() {
    let bench = Bench::new();
    let client = bench.client(bench.oauth());
    client.check(V).await.unwrap();
    bench.workspace.revoke_tokens_of(bench.workspace.client().0);
    client.check(V).await.unwrap();
    assert_eq!(bench.workspace.token_requests(), 2);
}

#[tokio::test]
async fn a_token_serves_on_when_its_secret_is_gone() {
    let bench = Bench::new();
    let client = bench.client(bench.oauth());
    client.check(V).await.unwrap();
    bench.secret.disappears();
    client.check(V).await.unwrap();
}

#[tokio::test]
async fn a_wrong_client_secret_is_told_as_wrong_credentials() {
    let bench = Bench::new();
    let settings = bench.oauth();
    bench.secret.becomes("wrong");
    let error = bench.client(settings).run_now(V, &run_now(1), &token("t")).await.unwrap_err();
    assert!(matches!(error, Error::Unauthenticated(_)), "{error}");
    assert!(error.to_string().contains("invalid_client"), "{error}");
    assert_eq!(bench.workspace.count(Operation::RunNow), 0);
}

#[tokio::test]
async fn whatever_the_token_endpoint_does_no_run_was_started() {
    for (kind, reason) in [
        (Kind::unavailable(), "Unavailable"),
        (Kind::LoginPage, "WrongHost"),
        (Kind::Redirect, "WrongHost"),
        (Kind::bare(404), "WrongHost"),
        (Kind::Garbage, "Unreachable"),
        (Kind::Reset, "Unreachable"),
        (Kind::throttled(None), "Throttled"),
    ] {
        let bench = Bench::new();
        let client = bench.client(bench.oauth());
        bench.workspace.fault(Fault::on(Operation::Token, kind.clone()));
        let error = client.run_now(V, &run_now(1), &token("t")).await.unwrap_err();
        assert_eq!((error.reason(), error.executed()), (reason, Executed::No), "{kind:?}: {error}");
        assert_eq!(bench.workspace.count(Operation::RunNow), 0);
    }
}

#[tokio::test]
async fn a_token_too_short_to_use_is_refused_with_a_reason() {
    let bench = Bench::new();
    bench.workspace.configure(|settings| settings.token_lifetime = Duration::from_secs(30));
    let error = bench.client(bench.oauth()).check(V).await.unwrap_err();
    assert!(error.to_string().contains("ends in 30 s"), "{error}");
}

#[tokio::test]
async fn no_secret_shows_in_what_can_be_printed() {
    let bench = Bench::new();
    let client = bench.client(bench.pat());
    client.check(V).await.unwrap();
    bench.workspace.revoke_token(bench.workspace.token());
    let error = client.check(V).await.unwrap_err();
    let printed = format!("{client:?} {:?} {error:?} {error}", client.settings());
    assert!(!printed.contains(bench.workspace.token()), "{printed}");
}

/// What was logged.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn no_secret_no_assertion_and_no_token_shows_in_a_log_of_any_level() {
    const SECRET: &str = "m4rk-secret-m4rk-secret-m4rk";
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_ansi(false)
        .with_max_level(tracing::level_filters::LevelFilter::TRACE)
        .with_writer(move || writer.clone())
        .finish();
    // With one subscriber in the process, tracing asks whichever thread meets a message first whether anybody wants it,
    // and the other tests' threads do not. A second one has it ask all.
    let _second = tracing::Dispatch::new(tracing::subscriber::NoSubscriber::default());
    let guard = tracing::subscriber::set_default(subscriber);
    let assertion = AssertionSource::ServiceAccount("runner".to_owned());
    let (tenant_id, client_id) = ("contoso.example".to_owned(), "app-1".to_owned());
    for auth in [
        Auth::Pat { token: key() },
        Auth::TokenFederation { client_id: client_id.clone(), assertion: assertion.clone(), audience: None },
        Auth::AzureServicePrincipal {
            tenant_id: tenant_id.clone(),
            client_id: client_id.clone(),
            client_secret: key(),
        },
        Auth::AzureWorkloadIdentity { tenant_id, client_id, assertion },
    ] {
        for status in [200, 400, 401, 403, 429, 503] {
            // Whoever answers repeats all that it was told, and the tokens it gives are marked too.
            let teller =
                Teller::new(move |asked| {
                    let echo = format!("{asked:?}");
                    json(status, &serde_json::json!({
                    "access_token": "m4rk-token", "error": "invalid_x", "error_description": echo, "message": echo,
                }).to_string())
                })
                .await;
            let bench = Bench::new();
            bench.secret.becomes(SECRET);
            let host: databricks_run_operator::databricks::host::Host = teller.host().parse().unwrap();
            let client = bench.client(Settings {
                ca_bundle: Some(teller.ca()),
                network: loopback(),
                entra_login: Some(host.clone()),
                ..Settings::new(host, auth.clone())
            });
            let outcome = client.run_now(V, &run_now(1), &token("t")).await;
            assert!(!format!("{outcome:?}").contains("m4rk"), "{} {status}: {outcome:?}", auth.kind());
        }
    }
    drop(guard);
    let text = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    assert!(text.contains("no success"), "nothing was logged");
    let marked: Vec<_> = text.lines().filter(|line| line.contains("m4rk")).collect();
    assert!(marked.is_empty(), "{marked:#?}");
}

#[tokio::test]
async fn whose_a_token_is_is_asked_once_for_each_and_does_no_harm_where_it_is_not_told() {
    let bench = Bench::new();
    let client = bench.client(bench.oauth());
    let principal = bench.workspace.client().0.to_owned();
    for _ in 0..3 {
        assert_eq!(client.principal().await, Principal::Named(principal.clone()));
    }
    assert_eq!(bench.workspace.count(Operation::Me), 1);
    bench.workspace.revoke_tokens_of(&principal);
    client.check(V).await.unwrap();
    assert_eq!(client.principal().await, Principal::Named(principal.clone()));
    assert_eq!(bench.workspace.count(Operation::Me), 2, "another token may be another's");

    bench.workspace.revoke_tokens_of(&principal);
    client.check(V).await.unwrap();
    bench.workspace.fault(Fault::on(Operation::Me, Kind::error(403, "PERMISSION_DENIED", "no")));
    for _ in 0..3 {
        assert_eq!(client.principal().await, Principal::Untold);
    }
    assert_eq!(bench.workspace.count(Operation::Me), 3);
    let tokens = bench.workspace.token_requests();
    client.check(V).await.unwrap();
    assert_eq!(bench.workspace.token_requests(), tokens, "the token is as good as before");

    bench.workspace.revoke_tokens_of(&principal);
    client.check(V).await.unwrap();
    bench.workspace.clear_faults();
    bench.workspace.fault(Fault::on(Operation::Me, Kind::unavailable()));
    assert_eq!(client.principal().await, Principal::NotAsked);
    bench.workspace.clear_faults();
    assert_eq!(client.principal().await, Principal::Named(principal));
}
