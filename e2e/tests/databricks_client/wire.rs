//! Answers that are late, broken, lost or not Databricks'.

use std::net::TcpListener;
use std::time::Duration;

use databricks_run_operator::databricks::client::Client;
use databricks_run_operator::databricks::error::{Error, Executed, TransportError};
use databricks_run_operator::databricks::ids::RunId;
use databricks_run_operator::databricks::settings::Settings;
use e2e::workspace::{Fault, Kind, Operation, RetryAfter};

use crate::bench::{Bench, V, run_now, token};

/// Short, for faults that only a deadline ends.
const SOON: Duration = Duration::from_millis(300);

/// Long enough for anything on this machine.
const LONG: Duration = Duration::from_mins(2);

#[tokio::test]
async fn every_way_to_fail_has_its_name_and_says_whether_the_run_may_have_started() {
    use Executed::{Maybe, No};
    for (kind, timeout, reason, executed, words) in [
        (Kind::LoginPage, LONG, "WrongHost", Maybe, "web page (HTTP 200)"),
        (Kind::Redirect, LONG, "WrongHost", Maybe, "redirect (HTTP 302)"),
        (Kind::Garbage, LONG, "Unreachable", Maybe, "not the JSON"),
        (Kind::Reset, LONG, "Unreachable", Maybe, "no answer"),
        (Kind::LoseAnswer, LONG, "Unreachable", Maybe, "no answer"),
        (Kind::Truncate, LONG, "Unreachable", Maybe, "could not be read"),
        (Kind::Endless, LONG, "Unreachable", Maybe, "longer than 4194304 bytes"),
        (Kind::Drip { every_ms: 100_000 }, SOON, "Unreachable", Maybe, " within "),
        (Kind::Delay { before_ms: 0, after_ms: 100_000 }, SOON, "Unreachable", Maybe, " within "),
        (Kind::unavailable(), LONG, "Unavailable", Maybe, "HTTP 503"),
        (Kind::bare(500), LONG, "Unavailable", Maybe, "HTTP 500"),
        (Kind::bare(408), LONG, "Unavailable", Maybe, "HTTP 408"),
        (Kind::error(403, "PERMISSION_DENIED", "no"), LONG, "Forbidden", No, "grant it"),
        (Kind::throttled(None), LONG, "Throttled", No, "slow down"),
        (Kind::error(400, "INVALID_PARAMETER_VALUE", "Bad\u{1b}[31m\n"), LONG, "Rejected", Maybe, "Bad[31m (request"),
    ] {
        let bench = Bench::new();
        let job = bench.workspace.job("nightly").id();
        let client = bench.client(Settings { submit_timeout: timeout, ..bench.pat() });
        // The second exchange on a connection, as most are.
        client.check(V).await.unwrap();
        bench.workspace.fault(Fault::on(Operation::RunNow, kind.clone()));
        let error = client.run_now(V, &run_now(job), &token("t")).await.unwrap_err();
        assert_eq!((error.reason(), error.executed()), (reason, executed), "{kind:?}: {error}");
        assert!(error.to_string().contains(words), "{kind:?}: {error}");
        assert_eq!(bench.workspace.count(Operation::RunNow), 1, "{kind:?}: nothing repeats it");
    }
}

#[tokio::test]
async fn a_lost_answer_is_asked_for_again_with_the_same_token() {
    let bench = Bench::new();
    let job = bench.workspace.job("nightly").id();
    let client = bench.client(bench.pat());
    bench.workspace.fault(Fault::on(Operation::RunNow, Kind::LoseAnswer).once());
    client.run_now(V, &run_now(job), &token("t")).await.unwrap_err();
    let run = client.run_now(V, &run_now(job), &token("t")).await.unwrap().run_id.unwrap();
    assert_eq!(bench.workspace.runs().iter().map(|run| run.id).collect::<Vec<_>>(), [run.0]);
    assert!(bench.workspace.overlaps().is_empty());
}

#[tokio::test]
async fn a_host_where_nobody_listens_was_surely_sent_nothing() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let bench = Bench::new();
    let settings = Settings { host: format!("https://{free}").parse().unwrap(), ..bench.pat() };
    let error = bench.client(settings).run_now(V, &run_now(1), &token("t")).await.unwrap_err();
    assert!(matches!(error, Error::Transport(TransportError::NotConnected(_))), "{error}");
    assert_eq!(error.executed(), Executed::No);
    assert!(error.to_string().contains("refused"), "{error}");
}

#[tokio::test]
async fn a_certificate_that_is_not_trusted_is_named_with_its_remedy_and_nothing_is_sent() {
    let bench = Bench::new();
    let settings = Settings { ca_bundle: Some(Bench::new().workspace.ca_pem().to_owned()), ..bench.pat() };
    let error = bench.client(settings).run_now(V, &run_now(1), &token("t")).await.unwrap_err();
    assert_eq!((error.reason(), error.executed()), ("Unreachable", Executed::No), "{error}");
    assert!(error.to_string().contains("certificate") && error.to_string().contains("spec.caBundle"), "{error}");
    assert!(bench.workspace.requests().is_empty());
}

#[tokio::test]
async fn a_ca_bundle_that_cannot_be_read_is_refused_at_once() {
    let bench = Bench::new();
    for pem in ["", "nonsense", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"] {
        let settings = Settings { ca_bundle: Some(pem.to_owned()), ..bench.pat() };
        let limiter = databricks_run_operator::databricks::limiters::Limiters::default().for_host(&settings.host);
        let error = Client::new(settings, bench.secret.clone(), limiter, bench.calls.clone()).unwrap_err();
        assert!(error.to_string().contains("BEGIN CERTIFICATE"), "{pem}: {error}");
    }
}

#[tokio::test]
async fn a_429_holds_back_every_call_for_as_long_as_asked() {
    for retry_after in [RetryAfter::Seconds(300), RetryAfter::DateIn(300)] {
        let bench = Bench::new();
        let client = bench.client(bench.pat());
        bench.workspace.fault(Fault::on(Operation::GetRun, Kind::throttled(Some(retry_after))).once());
        let Err(Error::Throttled { retry_after: Some(_), .. }) = client.get_run(V, RunId(1)).await else {
            panic!("not throttled")
        };
        let Err(Error::NotNow(wait)) = client.cancel_run(V, RunId(2)).await else { panic!("not held back") };
        assert!(wait > Duration::from_mins(2), "{wait:?}");
        assert_eq!(bench.workspace.requests().len(), 1);
        assert_eq!(bench.calls.told(), [("get-run", "Throttled", Some(429)), ("cancel-run", "RateLimited", None)]);
    }
}

#[tokio::test]
async fn beyond_the_rate_nothing_is_sent_and_the_wait_is_told() {
    let bench = Bench::new();
    let client = bench.client_at(bench.pat(), 4.0);
    let mut sent = 0;
    let wait = loop {
        match client.get_run(V, RunId(sent)).await {
            Err(Error::NotNow(wait)) => break wait,
            _ => sent += 1,
        }
    };
    assert!(wait > Duration::ZERO && wait < Duration::from_secs(2), "{wait:?}");
    assert_eq!(bench.workspace.count(Operation::GetRun), usize::try_from(sent).unwrap());
}

#[tokio::test]
async fn only_a_few_large_answers_are_read_at_the_same_time() {
    let bench = Bench::new();
    let client = bench.client(Settings { call_timeout: SOON, ..bench.pat() });
    client.check(V).await.unwrap();
    bench.workspace.fault(Fault::on(Operation::GetOutput, Kind::Delay { before_ms: 100_000, after_ms: 0 }));
    let all = futures::future::join_all((1..=10).map(|run| client.get_output(V, RunId(run)))).await;
    let held_back = all.iter().filter(|answer| matches!(answer, Err(Error::NotNow(_)))).count();
    assert_eq!(held_back, 6, "{all:?}");
}
