//! Outages as a client meets them: what is sent while there is no answer, what is told of it, how the end is found.

use std::time::Duration;

use databricks_run_operator::databricks::client::Client;
use databricks_run_operator::databricks::error::{Error, Executed};
use databricks_run_operator::databricks::health::Health;
use databricks_run_operator::databricks::ids::RunId;
use e2e::workspace::{Fault, Kind, Operation, RetryAfter};

use crate::bench::{Bench, V, run_now, token};

/// Asks until the breaker holds back.
async fn asked_until_held_back(client: &Client) -> Duration {
    for run in 0.. {
        if let Err(Error::NotNow(wait)) = client.get_run(V, RunId(run)).await {
            return wait;
        }
    }
    unreachable!("it asks for ever")
}

#[tokio::test]
async fn without_an_answer_nothing_more_is_sent_and_a_start_is_surely_not_executed() {
    let bench = Bench::new();
    let client = bench.client(bench.pat());
    bench.workspace.fault(Fault::everywhere(Kind::unavailable()));
    let wait = asked_until_held_back(&client).await;
    assert!(wait <= Duration::from_secs(5), "{wait:?}");
    let (sent, told) = (bench.workspace.requests().len(), bench.calls.told().len());
    let error = client.run_now(V, &run_now(1), &token("t")).await.unwrap_err();
    assert!(matches!(error, Error::NotNow(_)), "{error}");
    assert_eq!(error.executed(), Executed::No);
    assert!(matches!(client.check(V).await, Err(Error::NotNow(_))));
    assert_eq!(bench.workspace.requests().len(), sent);
    assert_eq!(bench.calls.told().len(), told, "nothing is told per call");
}

#[tokio::test]
async fn an_outage_of_every_kind_is_told_once_and_so_is_its_end() {
    let bench = Bench::new();
    let client = bench.client(bench.pat());
    let mut health = client.health();
    let faults = [
        Fault::everywhere(Kind::unavailable()).per_mille(400),
        Fault::everywhere(Kind::throttled(Some(RetryAfter::Seconds(1)))).per_mille(300),
        Fault::everywhere(Kind::Reset).per_mille(500),
        Fault::everywhere(Kind::LoginPage),
    ];
    for fault in faults {
        bench.workspace.fault(fault);
    }
    let told = loop {
        match client.get_run(V, RunId(1)).await {
            Err(Error::NotNow(wait)) => tokio::time::sleep(wait).await,
            Err(_) => {}
            Ok(_) => panic!("an answer"),
        }
        if health.has_changed().unwrap() {
            break health.borrow_and_update().clone();
        }
    };
    assert!(matches!(told, Health::Outage { .. }), "{told:?}");
    bench.workspace.clear_faults();
    while let Err(Error::NotNow(wait)) = client.check(V).await {
        assert!(!health.has_changed().unwrap(), "{:?}", health.borrow());
        tokio::time::sleep(wait).await;
    }
    assert!(health.has_changed().unwrap());
    assert_eq!(*health.borrow_and_update(), Health::Answering);
}

#[tokio::test]
async fn what_is_refused_for_a_reason_is_no_outage() {
    let bench = Bench::new();
    let client = bench.client(bench.pat());
    for kind in [
        Kind::error(403, "PERMISSION_DENIED", "no"),
        Kind::error(404, "RESOURCE_DOES_NOT_EXIST", "Run 1 does not exist."),
        Kind::error(400, "INVALID_PARAMETER_VALUE", "no"),
        Kind::error(429, "REQUEST_LIMIT_EXCEEDED", "There are already 5 active runs (limit: 5)."),
    ] {
        bench.workspace.fault(Fault::on(Operation::GetRun, kind.clone()));
        for run in 0..20 {
            let error = client.get_run(V, RunId(run)).await.unwrap_err();
            assert!(!matches!(error, Error::NotNow(_)), "{kind:?}: {error}");
        }
        bench.workspace.clear_faults();
    }
    assert_eq!(*client.health().borrow(), Health::Answering);
}

#[tokio::test]
async fn a_cancellation_is_sent_although_the_workspace_does_not_answer() {
    let bench = Bench::new();
    let client = bench.client(bench.pat());
    bench.workspace.fault(Fault::everywhere(Kind::unavailable()));
    asked_until_held_back(&client).await;
    for _ in 0..3 {
        let error = client.cancel_run(V, RunId(1)).await.unwrap_err();
        assert!(matches!(error, Error::Unavailable(_)), "{error}");
    }
    assert_eq!(bench.workspace.count(Operation::Cancel), 3);
    bench.workspace.clear_faults();
    let error = client.cancel_run(V, RunId(1)).await.unwrap_err();
    assert!(matches!(error, Error::NotFound(_)), "{error}");
    let error = client.get_run(V, RunId(1)).await.unwrap_err();
    assert!(!matches!(error, Error::NotNow(_)), "its answer ends the outage: {error}");
}
