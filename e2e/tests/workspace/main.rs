//! The fake workspace over TLS, as any client meets it.
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test says what went wrong by panicking")]

mod access;
mod bench;
mod entra;
mod faults;
mod federation;

use std::time::Duration;

use e2e::workspace::{Fault, IdempotencyMode, Kind, Operation, Script};
use serde_json::{Value, json};

use crate::bench::{Bench, START, after, life, notebook};

#[tokio::test]
async fn a_run_passes_through_its_states_as_the_clock_moves_and_not_as_it_is_read() {
    let bench = Bench::new();
    let job = bench.workspace.job("nightly").notebook_result("42");
    let run = bench.run_now(job.id(), "t").await;
    assert!(run > 1 << 53);
    for _ in 0..5 {
        assert_eq!(life(&bench.run(run).await).0, "PENDING");
    }
    bench.pass(1);
    assert_eq!(life(&bench.run(run).await).0, "RUNNING");
    bench.pass(2);
    assert_eq!(life(&bench.run(run).await).0, "TERMINATING");
    bench.pass(1);
    let ended = bench.run(run).await;
    assert_eq!(life(&ended), ("TERMINATED".to_owned(), "SUCCESS".to_owned()));
    assert_eq!(ended["status"]["termination_details"]["code"], "SUCCESS");
    assert_eq!(ended["end_time"], START + 3_500);
    let task = ended["tasks"][0]["run_id"].as_i64().unwrap();
    let output = bench.get(&format!("runs/get-output?run_id={task}")).await.ok();
    assert_eq!(output["notebook_output"], json!({ "result": "42", "truncated": false }));
    let refused = bench.get(&format!("runs/get-output?run_id={run}")).await.error();
    assert_eq!((refused.0, refused.1.as_str()), (400, "INVALID_PARAMETER_VALUE"));
    assert!(refused.2.starts_with("Retrieving the output of runs with multiple tasks"));
}

#[tokio::test]
async fn an_exception_makes_the_run_an_internal_error_and_the_cause_is_in_the_output() {
    let bench = Bench::new();
    let job = bench.workspace.job("etl").failing("ValueError: no rows", "Traceback …");
    let run = bench.run_now(job.id(), "t").await;
    bench.pass(10);
    let ended = bench.run(run).await;
    assert_eq!(life(&ended), ("INTERNAL_ERROR".to_owned(), "FAILED".to_owned()));
    assert_eq!(ended["status"]["state"], "TERMINATED");
    assert_eq!(ended["status"]["termination_details"]["type"], "CLIENT_ERROR");
    assert_eq!(life(&ended["tasks"][0]), ("TERMINATED".to_owned(), "FAILED".to_owned()));
    let output = bench.get(&format!("runs/get-output?run_id={}", ended["tasks"][0]["run_id"])).await.ok();
    assert_eq!(output["error"], "ValueError: no rows");
    assert_eq!(output["error_trace"], "Traceback …");
}

#[tokio::test]
async fn requests_that_race_with_one_token_start_one_run() {
    let bench = Bench::new();
    let job = bench.workspace.job("nightly").id();
    bench.workspace.fault(Fault::on(Operation::RunNow, Kind::HoldAnswer));
    let all_have_arrived = async {
        let third = bench.workspace.wait_for_request(Operation::RunNow, |entry| entry.number == 2).await;
        bench.workspace.clear_faults();
        third.unwrap();
    };
    let post = || bench.run_now(job, "t");
    let (one, two, three, ()) = tokio::join!(post(), post(), post(), all_have_arrived);
    assert!(one == two && two == three);
    assert_eq!(bench.workspace.runs_by_token("t").len(), 1);
    assert_eq!(bench.workspace.overlaps().len(), 2);
}

#[tokio::test]
async fn a_token_answers_with_its_run_whatever_the_body_and_is_an_error_once_the_run_is_deleted() {
    let bench = Bench::new();
    let (one, other) = (bench.workspace.job("one").id(), bench.workspace.job("other").id());
    let run = bench.run_now(one, "t").await;
    assert_eq!(bench.run_now(other, "t").await, run);
    let submitted = bench.post("runs/submit", json!({ "tasks": [notebook("a")], "idempotency_token": "t" })).await.ok();
    assert_eq!(submitted["run_id"], run);
    assert_eq!(bench.post("runs/delete", json!({ "run_id": run })).await.error().1, "INVALID_STATE");
    bench.pass(10);
    assert_eq!(bench.run_now(one, "t").await, run);
    assert_eq!(bench.post("runs/delete", json!({ "run_id": run })).await.status, 200);
    let again = json!({ "job_id": one, "idempotency_token": "t" });
    assert_eq!(bench.post("run-now", again.clone()).await.status, 400);
    bench.workspace.configure(|settings| settings.idempotency = IdempotencyMode::ForgottenOnDeletion);
    assert_ne!(bench.post("run-now", again).await.ok()["run_id"], run);
}

#[tokio::test]
async fn what_does_not_exist_is_told_as_the_service_tells_it() {
    let bench = Bench::new();
    assert_eq!(
        bench.get("runs/get?run_id=123").await.error(),
        (400, "INVALID_PARAMETER_VALUE".to_owned(), "Run 123 does not exist".to_owned())
    );
    assert_eq!(bench.post("runs/cancel", json!({ "run_id": 123 })).await.error().2, "Run 123 does not exist");
    assert_eq!(bench.post("run-now", json!({ "job_id": 5 })).await.error().2, "Job 5 does not exist.");
    let strange = bench.send(bench.request(reqwest::Method::GET, "/api/2.9/jobs/list")).await;
    assert_eq!((strange.status, strange.json()), (404, json!({ "error": "Bad Target: /api/2.9/jobs/list" })));
}

#[tokio::test]
async fn requests_that_make_no_sense_are_refused_in_the_service_s_words() {
    let bench = Bench::new();
    let job = bench.workspace.job("nightly").id();
    let submit = "runs/submit";
    let table = [
        ("run-now", json!({}), "INVALID_PARAMETER_VALUE", "job_id"),
        ("run-now", json!({ "job_id": "x" }), "MALFORMED_REQUEST", "int64"),
        ("run-now", json!({ "job_id": job, "job_parameters": { "n": 1 } }), "MALFORMED_REQUEST", "job_parameters.n"),
        (
            "run-now",
            json!({ "job_id": job, "notebook_params": {}, "jar_params": [] }),
            "INVALID_PARAMETER_VALUE",
            "jar_params",
        ),
        ("run-now", json!({ "job_id": job, "idempotency_token": "x".repeat(65) }), "INVALID_PARAMETER_VALUE", "64"),
        ("run-now", json!({ "job_id": job, "python_params": ["é"] }), "INVALID_PARAMETER_VALUE", "ASCII"),
        (submit, json!({ "tasks": [] }), "INVALID_PARAMETER_VALUE", "One of job_cluster_key, new_cluster, or existing"),
        (
            submit,
            json!({ "tasks": [notebook("a")], "job_clusters": [] }),
            "INVALID_PARAMETER_VALUE",
            "Shared job cluster",
        ),
        (submit, json!({ "tasks": [notebook("a"), notebook("a")] }), "INVALID_PARAMETER_VALUE", "Duplicate"),
        (submit, json!({ "tasks": [after("a", "b")] }), "INVALID_PARAMETER_VALUE", "does not exist"),
        (submit, json!({ "tasks": [after("a", "b"), after("b", "a")] }), "INVALID_PARAMETER_VALUE", "circular"),
    ];
    for (call, body, code, words) in table {
        let (status, got, message) = bench.post(call, body.clone()).await.error();
        assert_eq!((status, got.as_str()), (400, code), "{body}: {message}");
        assert!(message.contains(words), "{body}: {message}");
    }
    assert_eq!(bench.workspace.runs_started(), 0);
    assert_eq!(bench.post("run-now", json!({ "job_id": job, "job_paramters": 1 })).await.status, 200);
}

#[tokio::test]
async fn a_cancellation_is_answered_at_once_and_done_later_and_does_nothing_to_what_has_ended() {
    let bench = Bench::new();
    let job = bench.workspace.job("long").running_forever().id();
    let run = bench.run_now(job, "t").await;
    bench.pass(5);
    let cancelled = bench.post("runs/cancel", json!({ "run_id": run })).await;
    assert_eq!((cancelled.status, cancelled.text.as_str()), (200, ""));
    assert!(!cancelled.headers.contains_key("content-type"));
    assert_eq!(life(&bench.run(run).await).0, "TERMINATING");
    bench.pass(1);
    let ended = bench.run(run).await;
    assert_eq!(life(&ended), ("TERMINATED".to_owned(), "CANCELED".to_owned()));
    assert_eq!(ended["status"]["termination_details"]["code"], "USER_CANCELED");
    bench.pass(1);
    assert_eq!(bench.post("runs/cancel", json!({ "run_id": run })).await.status, 200);
    assert_eq!(bench.run(run).await, ended);
}

#[tokio::test]
async fn many_tasks_come_in_pages_and_a_retried_one_once_per_attempt() {
    let bench = Bench::new();
    let tasks: Vec<Value> = (0..150).map(|nth| notebook(&format!("t{nth}"))).collect();
    bench.workspace.on_run_name(
        "wide",
        Script::new().task("t0", e2e::workspace::TaskScript::default().retried(1, Duration::from_secs(1))),
    );
    let run =
        bench.post("runs/submit", json!({ "run_name": "wide", "tasks": tasks })).await.ok()["run_id"].as_i64().unwrap();
    bench.pass(60);
    let first = bench.run(run).await;
    assert_eq!(first["tasks"].as_array().unwrap().len(), 100);
    let next = first["next_page_token"].as_str().unwrap();
    let second = bench.get(&format!("runs/get?run_id={run}&page_token={next}")).await.ok();
    assert!(second.get("next_page_token").is_none());
    let rows = [first["tasks"].as_array().unwrap().as_slice(), second["tasks"].as_array().unwrap()].concat();
    assert_eq!(rows.len(), 151);
    let attempts: Vec<_> = rows
        .iter()
        .filter(|task| task["task_key"] == "t0")
        .map(|task| (task["attempt_number"].as_i64().unwrap(), life(task).1))
        .collect();
    assert_eq!(attempts, [(0, "FAILED".to_owned()), (1, "SUCCESS".to_owned())]);
}

#[tokio::test]
async fn what_depends_on_a_failed_task_is_not_run() {
    let bench = Bench::new();
    let mut bad = notebook("bad");
    bad["notebook_task"]["notebook_path"] = json!("/Shared/fail");
    let mut cleanup = after("cleanup", "bad");
    cleanup["run_if"] = json!("ALL_DONE");
    let tasks = json!([bad, after("next", "bad"), cleanup]);
    let run = bench.post("runs/submit", json!({ "tasks": tasks })).await.ok()["run_id"].as_i64().unwrap();
    bench.pass(60);
    let ended = bench.run(run).await;
    let results: Vec<_> = ended["tasks"].as_array().unwrap().iter().map(|task| life(task).1).collect();
    assert_eq!(results, ["FAILED", "UPSTREAM_FAILED", "SUCCESS"]);
    assert_eq!(life(&ended).1, "FAILED");
}

#[tokio::test]
async fn runs_are_listed_newest_first_in_pages_and_without_those_that_are_blocked() {
    let bench = Bench::new();
    let job = bench.workspace.job("nightly").running_forever().id();
    let mut started = Vec::new();
    for nth in 0..30 {
        started.push(bench.run_now(job, &format!("t{nth}")).await);
        bench.pass(1);
    }
    bench.workspace.on_run_name("blocked", Script::new().blocked_for(Duration::from_hours(1)));
    bench.post("runs/submit", json!({ "run_name": "blocked", "tasks": [notebook("a")] })).await.ok();
    let mut listed = Vec::new();
    let mut page = String::new();
    loop {
        let answer = bench.get(&format!("runs/list?active_only=true&limit=25&page_token={page}")).await.ok();
        let rows = answer["runs"].as_array().unwrap().iter().map(|run| run["run_id"].as_i64().unwrap());
        listed.extend(rows);
        match answer["next_page_token"].as_str() {
            Some(next) => page = next.to_owned(),
            None => break,
        }
    }
    started.reverse();
    assert_eq!(listed, started);
    assert_eq!(bench.get("runs/list?limit=27").await.status, 400);
    assert_eq!(bench.get("runs/list?completed_only=true").await.ok().get("runs"), None);
    let windowed = bench.get(&format!("runs/list?start_time_to={START}")).await.ok();
    assert_eq!(windowed["runs"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_repair_brings_an_ended_run_back_and_the_next_one_needs_its_id() {
    let bench = Bench::new();
    let job = bench.workspace.job("nightly").parameter("day", "monday").failing("boom", "trace");
    let started =
        bench.post("run-now", json!({ "job_id": job.id(), "job_parameters": { "day": "friday" } })).await.ok();
    let run = started["run_id"].as_i64().unwrap();
    let repair =
        |latest: Option<i64>| json!({ "run_id": run, "rerun_all_failed_tasks": true, "latest_repair_id": latest });
    assert_eq!(bench.post("runs/repair", repair(None)).await.error().1, "INVALID_STATE");
    bench.pass(10);
    assert_eq!(bench.run(run).await["job_parameters"][0]["value"], "friday");
    let first = bench.post("runs/repair", repair(None)).await.ok()["repair_id"].as_i64().unwrap();
    assert_eq!(life(&bench.run(run).await).0, "PENDING");
    bench.pass(10);
    let refused = bench.post("runs/repair", repair(None)).await.error();
    assert_eq!(refused.2, "The latest repair ID needs to be provided in order to create a new repair");
    let job = job.script(Script::new());
    bench.post("runs/repair", repair(Some(first))).await.ok();
    bench.pass(10);
    let ended = bench.get(&format!("runs/get?run_id={run}&include_history=true")).await.ok();
    assert_eq!(life(&ended).1, "SUCCESS");
    assert_eq!(ended["tasks"].as_array().unwrap().len(), 3);
    assert_eq!(ended["job_parameters"][0].get("value"), None);
    let history = ended["repair_history"].as_array().unwrap();
    let told: Vec<_> = history.iter().map(|item| (item["type"].as_str().unwrap(), life(item).1)).collect();
    assert_eq!(
        told,
        [("ORIGINAL", "FAILED".to_owned()), ("REPAIR", "FAILED".to_owned()), ("REPAIR", "SUCCESS".to_owned())]
    );
    drop(job);
}

#[tokio::test]
async fn a_run_is_gone_after_sixty_days() {
    let bench = Bench::new();
    let job = bench.workspace.job("nightly").id();
    let run = bench.run_now(job, "t").await;
    bench.pass(60 * 24 * 3600);
    assert_eq!(bench.get(&format!("runs/get?run_id={run}")).await.error().2, format!("Run {run} does not exist"));
    assert_eq!(bench.get("runs/list").await.ok().get("runs"), None);
}

#[tokio::test]
async fn a_job_at_its_maximum_skips_or_queues() {
    let bench = Bench::new();
    let job = bench.workspace.job("single").running_forever().max_concurrent_runs(1).id();
    let first = bench.run_now(job, "one").await;
    let skipped = bench.run_now(job, "two").await;
    let skipped = bench.run(skipped).await;
    assert_eq!(life(&skipped), ("SKIPPED".to_owned(), "-".to_owned()));
    assert_eq!(skipped["status"]["termination_details"]["code"], "MAX_CONCURRENT_RUNS_EXCEEDED");
    let queued = bench.post("run-now", json!({ "job_id": job, "queue": { "enabled": true } })).await.ok();
    let queued = queued["run_id"].as_i64().unwrap();
    bench.pass(100);
    assert_eq!(life(&bench.run(queued).await).0, "QUEUED");
    bench.workspace.finish(first);
    bench.pass(2);
    assert_eq!(life(&bench.run(queued).await).0, "RUNNING");
}

#[tokio::test]
async fn a_continuous_job_answers_without_a_run_id() {
    let bench = Bench::new();
    let job = bench.workspace.job("stream").continuous().id();
    assert_eq!(bench.post("run-now", json!({ "job_id": job })).await.ok().get("run_id"), None);
}

#[tokio::test]
async fn jobs_are_found_by_name_in_any_case_and_names_repeat() {
    let bench = Bench::new();
    let (one, two) = (bench.workspace.job("Nightly").id(), bench.workspace.another_job("nightly").id());
    let _ = bench.workspace.job("nightly-2");
    let listed = bench.get("list?name=nightly").await.ok();
    let ids: std::collections::BTreeSet<_> =
        listed["jobs"].as_array().unwrap().iter().map(|job| job["job_id"].as_i64().unwrap()).collect();
    assert_eq!(ids, [one, two].into());
    let page = bench.get("list?limit=2").await.ok();
    assert_eq!(page["jobs"].as_array().unwrap().len(), 2);
    let rest = bench.get(&format!("list?limit=2&page_token={}", page["next_page_token"].as_str().unwrap())).await.ok();
    assert_eq!(rest["jobs"].as_array().unwrap().len(), 1);
}
