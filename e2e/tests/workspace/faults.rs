//! What goes wrong on demand: answers lost, late, broken or wrong, and limits.

use e2e::workspace::{Entry, Fault, Kind, Operation, RetryAfter};
use serde_json::{Value, json};

use crate::bench::{Bench, life};

#[tokio::test]
async fn a_lost_answer_leaves_its_run_behind() {
    let bench = Bench::new();
    let job = bench.workspace.job("nightly").id();
    bench.workspace.fault(Fault::on(Operation::RunNow, Kind::LoseAnswer).once());
    let body = json!({ "job_id": job, "idempotency_token": "t" }).to_string();
    let lost = bench.request(reqwest::Method::POST, "/api/2.1/jobs/run-now").body(body).send().await;
    assert!(lost.is_err());
    let run = bench.run_now(job, "t").await;
    assert_eq!(bench.workspace.runs_by_token("t")[0].id, run);
    assert_eq!(bench.workspace.runs_started(), 1);
    assert!(bench.workspace.overlaps().is_empty());
}

#[tokio::test]
async fn an_effect_lands_after_its_client_gave_up() {
    let bench = Bench::new();
    let job = bench.workspace.job("nightly").id();
    bench.workspace.fault(Fault::on(Operation::RunNow, Kind::HoldEffect));
    let body = json!({ "job_id": job, "idempotency_token": "t" }).to_string();
    let request = bench.request(reqwest::Method::POST, "/api/2.1/jobs/run-now").body(body);
    let client = tokio::spawn(request.send());
    bench.workspace.wait_for_request(Operation::RunNow, |_| true).await.unwrap();
    client.abort();
    bench.workspace.wait_for_request(Operation::RunNow, |entry| entry.abandoned).await.unwrap();
    assert_eq!(bench.workspace.runs_started(), 0);
    bench.workspace.clear_faults();
    let late = |entry: &Entry| entry.abandoned && entry.handled;
    let entry = bench.workspace.wait_for_request(Operation::RunNow, late).await.unwrap();
    assert_eq!(entry.status, None);
    assert_eq!(bench.workspace.runs_by_token("t").len(), 1);
}

#[tokio::test]
async fn a_reset_has_no_effect() {
    let bench = Bench::new();
    let job = bench.workspace.job("nightly").id();
    bench.workspace.fault(Fault::everywhere(Kind::Reset).once());
    let body = json!({ "job_id": job }).to_string();
    let reset = bench.request(reqwest::Method::POST, "/api/2.1/jobs/run-now").body(body).send().await;
    assert!(reset.is_err());
    assert_eq!(bench.workspace.runs_started(), 0);
}

#[tokio::test]
async fn bodies_break_off_or_never_end() {
    let bench = Bench::new();
    let path = "/api/2.1/jobs/runs/list";
    bench.workspace.fault(Fault::on(Operation::ListRuns, Kind::Truncate).once());
    let answer = bench.request(reqwest::Method::GET, path).send().await.unwrap();
    assert!(answer.text().await.is_err());
    bench.workspace.fault(Fault::on(Operation::ListRuns, Kind::Endless).once());
    let mut answer = bench.request(reqwest::Method::GET, path).send().await.unwrap();
    let mut read = 0;
    while read < 1_000_000 {
        read += answer.chunk().await.unwrap().expect("more, always").len();
    }
    drop(answer);
    bench.workspace.fault(Fault::on(Operation::ListRuns, Kind::Drip { every_ms: 1 }).once());
    assert_eq!(bench.get("runs/list").await.ok()["has_more"], false);
}

#[tokio::test]
async fn answers_that_are_no_answers_of_an_api() {
    let bench = Bench::new();
    bench.workspace.fault(Fault::everywhere(Kind::LoginPage).once());
    let page = bench.get("runs/list").await;
    assert!(page.status == 200 && page.text.starts_with("<!doctype html>"));
    bench.workspace.fault(Fault::everywhere(Kind::Redirect).once());
    assert_eq!(bench.get("runs/list").await.headers["location"], "/login.html");
    bench.workspace.fault(Fault::everywhere(Kind::Garbage).once());
    assert!(serde_json::from_str::<Value>(&bench.get("runs/list").await.text).is_err());
    bench.workspace.fault(Fault::everywhere(Kind::bare(502)).once());
    let bare = bench.get("runs/list").await;
    assert_eq!((bare.status, bare.text.as_str()), (502, ""));
}

#[tokio::test]
async fn a_429_says_when_to_come_back_as_seconds_as_a_date_or_not_at_all() {
    let bench = Bench::new();
    let table = [
        (Some(RetryAfter::Seconds(7)), Some("7")),
        // The workspace's clock, not this machine's.
        (Some(RetryAfter::DateIn(60)), Some("Tue, 14 Nov 2023 22:14:20 GMT")),
        (None, None),
    ];
    for (retry_after, header) in table {
        bench.workspace.fault(Fault::everywhere(Kind::throttled(retry_after)).once());
        let answer = bench.get("runs/list").await;
        assert_eq!(answer.status, 429);
        assert_eq!(answer.headers.get("retry-after").map(|value| value.to_str().unwrap()), header);
    }
}

#[tokio::test]
async fn limits_answer_429() {
    let bench = Bench::new();
    let job = bench.workspace.job("nightly").id();
    bench.workspace.configure(|settings| settings.active_run_limit = Some(1));
    bench.run_now(job, "t").await;
    let (status, code, message) = bench.post("run-now", json!({ "job_id": job })).await.error();
    assert_eq!((status, code.as_str()), (429, "REQUEST_LIMIT_EXCEEDED"));
    assert_eq!(message, "There are already 1 active runs (limit: 1).");
    assert_eq!(bench.post("run-now", json!({ "job_id": job, "idempotency_token": "t" })).await.status, 200);
    bench.workspace.configure(|settings| settings.requests_per_second = Some(0));
    let limited = bench.get("runs/list").await;
    assert_eq!((limited.status, limited.headers["retry-after"].to_str().unwrap()), (429, "1"));
}

#[tokio::test]
async fn the_control_door_does_over_http_what_rust_does() {
    let bench = Bench::new();
    let knock = |method, path: &str| bench.request(method, &format!("/_control/{path}"));
    let job = bench.send(knock(reqwest::Method::POST, "jobs").body(r#"{"name": "nightly"}"#)).await.ok();
    let fault =
        r#"{"operations": ["run-now"], "kind": {"status": {"status": 503, "code": "TEMPORARILY_UNAVAILABLE"}}}"#;
    let number = bench.send(knock(reqwest::Method::POST, "faults").body(fault)).await.ok()["number"].clone();
    let body = json!({ "job_id": job["job_id"] });
    assert_eq!(bench.post("run-now", body.clone()).await.status, 503);
    bench.send(knock(reqwest::Method::DELETE, &format!("faults/{number}"))).await.ok();
    let run = bench.post("run-now", body).await.ok()["run_id"].as_i64().unwrap();
    bench.send(knock(reqwest::Method::POST, "clock").body(r#"{"advance_ms": 60000}"#)).await.ok();
    assert_eq!(life(&bench.run(run).await).1, "SUCCESS");
    let requests = bench.send(knock(reqwest::Method::GET, "requests")).await.ok();
    let faults: Vec<_> = requests.as_array().unwrap().iter().map(|entry| entry["faults"].clone()).collect();
    assert_eq!(faults, [json!(["status 503"]), json!([]), json!([])]);
    let wrong = bench.send(knock(reqwest::Method::POST, "faults").body(r#"{"kind": "gremlin"}"#)).await;
    assert_eq!(wrong.status, 400);
}
