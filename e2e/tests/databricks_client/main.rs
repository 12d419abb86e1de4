//! The Jobs API client over TLS against the fake workspace: what it sends, what it makes of the answers, and what it
//! makes of answers that do not come.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test says what went wrong by panicking")]

mod bench;
mod bounds;
mod breaker;
mod entra;
mod federation;
mod hostile_hosts;
mod identity;
mod raw;
mod teller;
mod wire;

use std::time::{Duration, SystemTime};

use databricks_run_operator::databricks::error::{Error, Executed};
use databricks_run_operator::databricks::ids::{JobId, RunId};
use databricks_run_operator::databricks::model::LifeCycleState;
use databricks_run_operator::databricks::settings::{JobsApiVersion, Settings};
use databricks_run_operator::databricks::{JobMatch, ListRuns, LiveRuns};
use e2e::workspace::{Operation, Script};
use serde_json::json;

use crate::bench::{Bench, START, V, run_now, token};

#[tokio::test]
async fn a_run_is_started_followed_and_read() {
    let bench = Bench::new();
    let job = bench.workspace.job("nightly").notebook_result("42");
    let client = bench.client(Settings { workspace_id: Some("123".to_owned()), ..bench.pat() });
    let run = client.run_now(V, &run_now(job.id()), &token("t")).await.unwrap().run_id.unwrap();
    assert!(run.0 > 1 << 53);
    bench.pass(60);
    let seen = client.get_run(V, run).await.unwrap();
    assert_eq!(seen.value.job_id, Some(JobId(job.id())));
    assert_eq!(seen.value.state.unwrap().life_cycle_state, Some(LifeCycleState::Terminated));
    assert!(seen.server_time.unwrap() > SystemTime::UNIX_EPOCH + Duration::from_millis(START.unsigned_abs()));
    let task = seen.value.tasks[0].run_id.unwrap();
    let output = client.get_output(V, task).await.unwrap();
    assert_eq!(output.notebook_output.unwrap().result.as_deref(), Some("42"));
    for entry in bench.workspace.requests() {
        assert_eq!(entry.workspace_id.as_deref(), Some("123"));
        assert!(entry.user_agent.starts_with("databricks-run-operator/"), "{}", entry.user_agent);
        assert!(entry.user_agent.ends_with(" os/linux auth/pat"), "{}", entry.user_agent);
        assert_eq!(entry.version.as_deref(), Some("2.1"));
    }
}

#[tokio::test]
async fn every_call_speaks_the_version_it_is_told() {
    let bench = Bench::new();
    let client = bench.client(bench.pat());
    client.check(JobsApiVersion::V2_2).await.unwrap();
    client.check(JobsApiVersion::V2_1).await.unwrap();
    let versions: Vec<_> = bench.workspace.requests().into_iter().filter_map(|entry| entry.version).collect();
    assert_eq!(versions, ["2.2", "2.1"]);
}

#[tokio::test]
async fn the_same_token_is_the_same_run() {
    let bench = Bench::new();
    let job = bench.workspace.job("nightly").id();
    let client = bench.client(bench.pat());
    let first = client.run_now(V, &run_now(job), &token("t")).await.unwrap();
    assert_eq!(client.run_now(V, &run_now(job), &token("t")).await.unwrap(), first);
    assert_ne!(client.run_now(V, &run_now(job), &token("u")).await.unwrap(), first);
    assert_eq!(bench.workspace.runs_started(), 2);
}

#[tokio::test]
async fn a_one_off_run_is_submitted_with_its_body_as_it_is() {
    let bench = Bench::new();
    let client = bench.client(bench.pat());
    let body = json!({ "run_name": "once", "tasks": [{
        "task_key": "main", "notebook_task": { "notebook_path": "/Shared/fail" }, "existing_cluster_id": "c",
    }] });
    let run = client.submit(V, &body.to_string(), &token("t")).await.unwrap().run_id.unwrap();
    bench.pass(60);
    let seen = client.get_run(V, run).await.unwrap().value;
    assert_eq!(seen.run_name.as_deref(), Some("once"));
    assert_eq!(seen.state.unwrap().life_cycle_state, Some(LifeCycleState::InternalError));
    let output = client.get_output(V, seen.tasks[0].run_id.unwrap()).await.unwrap();
    assert!(output.error.unwrap().contains("ValueError"));
}

#[tokio::test]
async fn a_body_that_cannot_be_sent_is_refused_before_anything_is() {
    let bench = Bench::new();
    let client = bench.client(bench.pat());
    for body in ["", "[]", r#"{"idempotency_token":"mine"}"#] {
        let error = client.run_now(V, body, &token("t")).await.unwrap_err();
        assert_eq!((error.reason(), error.executed()), ("Rejected", Executed::No));
        assert!(error.to_string().starts_with("nothing was sent"), "{error}");
    }
    assert!(bench.workspace.requests().is_empty());
}

#[tokio::test]
async fn a_continuous_job_that_runs_already_gives_no_run_id() {
    let bench = Bench::new();
    let job = bench.workspace.job("stream").continuous().running_forever().id();
    let client = bench.client(bench.pat());
    client.run_now(V, &run_now(job), &token("t")).await.unwrap();
    assert_eq!(client.run_now(V, &run_now(job), &token("u")).await.unwrap().run_id, None);
}

#[tokio::test]
async fn a_cancelled_run_ends_later_and_an_ended_one_stays_as_it_is() {
    let bench = Bench::new();
    let job = bench.workspace.job("slow").running_forever().id();
    let client = bench.client(bench.pat());
    let run = client.run_now(V, &run_now(job), &token("t")).await.unwrap().run_id.unwrap();
    client.cancel_run(V, run).await.unwrap();
    bench.pass(60);
    let state = client.get_run(V, run).await.unwrap().value.state.unwrap();
    assert_eq!(state.life_cycle_state, Some(LifeCycleState::Terminated));
    client.cancel_run(V, run).await.unwrap();
}

#[tokio::test]
async fn all_pages_of_a_run_are_put_together_and_only_the_newest_attempts_kept() {
    let bench = Bench::new();
    let tasks: Vec<_> = (0..250)
        .map(|n| {
            json!({ "task_key": format!("t{n}"), "notebook_task": { "notebook_path": "/Shared/flaky" },
            "max_retries": 1, "existing_cluster_id": "c" })
        })
        .collect();
    let job = bench.workspace.job("wide").tasks(tasks).id();
    let client = bench.client(bench.pat());
    let run = client.run_now(V, &run_now(job), &token("t")).await.unwrap().run_id.unwrap();
    bench.pass(600);
    // Paging is 2.2's; 2.1 may answer all at once.
    let seen = client.get_run(JobsApiVersion::V2_2, run).await.unwrap().value;
    let keys: std::collections::BTreeSet<_> = seen.tasks.iter().map(|task| task.task_key.as_str()).collect();
    assert_eq!((seen.tasks.len(), keys.len()), (250, 250));
    assert!(seen.tasks.iter().all(|task| task.attempt_number == 1));
    assert!(bench.workspace.count(Operation::GetRun) >= 5, "500 attempts, at most 100 a page");
}

#[tokio::test]
async fn runs_are_listed_page_by_page_and_searched_to_the_end_or_to_a_bound() {
    let bench = Bench::new();
    let (job, other) = (bench.workspace.job("many").running_forever().id(), bench.workspace.job("other").id());
    let client = bench.client(bench.pat());
    for n in 0..30 {
        client.run_now(V, &run_now(if n == 0 { other } else { job }), &token(&format!("t{n}"))).await.unwrap();
        bench.pass(1);
    }
    let of_the_job = ListRuns { job_id: Some(JobId(job)), ..ListRuns::default() };
    let found = client.find_runs(V, &of_the_job, 10, |_| true).await.unwrap();
    assert!(found.complete && found.runs.iter().all(|run| run.job_id == Some(JobId(job))), "{found:?}");
    assert_eq!(found.runs.len(), 29, "on two pages");
    let since = START + 10_500;
    let recent = ListRuns { start_time_from: Some(since), ..ListRuns::default() };
    let found = client.find_runs(V, &recent, 10, |run| run.job_id == Some(JobId(job))).await.unwrap();
    assert_eq!((found.runs.len(), found.complete), (19, true));
    let found = client.find_runs(V, &ListRuns::default(), 1, |_| true).await.unwrap();
    assert_eq!((found.runs.len(), found.complete), (25, false));
}

#[tokio::test]
async fn live_runs_are_listed_page_by_page_newest_first_and_a_change_of_one_shows() {
    let bench = Bench::new();
    let job = bench.workspace.job("many").running_forever().id();
    let client = bench.client(bench.pat());
    for n in 0..30 {
        client.run_now(V, &run_now(job), &token(&format!("t{n}"))).await.unwrap();
        bench.pass(1);
    }
    // Long enough for all of them to run.
    bench.pass(600);
    let first = client.live_runs(V, &LiveRuns::default()).await.unwrap();
    assert_eq!(first.runs.len(), 25);
    assert!(first.runs.is_sorted_by_key(|run| std::cmp::Reverse(run.start_time)));
    let rest = LiveRuns { page_token: first.next_page_token.clone(), ..LiveRuns::default() };
    let second = client.live_runs(V, &rest).await.unwrap();
    assert_eq!((second.runs.len(), second.next_page_token), (5, None));

    let (oldest, newest) = (second.runs[4], first.runs[0]);
    let part = LiveRuns { start_time_to: Some(oldest.start_time), ..LiveRuns::default() };
    assert_eq!(client.live_runs(V, &part).await.unwrap().runs, [oldest], "the same state has the same digest");
    client.cancel_run(V, newest.run_id).await.unwrap();
    let part = LiveRuns { start_time_from: Some(newest.start_time), ..LiveRuns::default() };
    let shown = client.live_runs(V, &part).await.unwrap().runs;
    assert!(shown.is_empty() || shown[0].digest != newest.digest, "{shown:?} after {newest:?}");
    assert_eq!(
        client
            .live_runs(V, &LiveRuns { start_time_to: Some(newest.start_time - 1), ..LiveRuns::default() })
            .await
            .unwrap()
            .runs[..24],
        first.runs[1..]
    );
}

#[tokio::test]
async fn a_job_is_found_by_its_exact_name_or_not_at_all() {
    let bench = Bench::new();
    let id = bench.workspace.job("Nightly ETL & more").id();
    for name in ["nightly etl & more", "twin", "Other"] {
        let _ = bench.workspace.job(name);
    }
    let _ = bench.workspace.another_job("twin");
    let client = bench.client(bench.pat());
    assert_eq!(client.find_job(V, "Nightly ETL & more").await.unwrap(), JobMatch::One(JobId(id)));
    assert_eq!(client.find_job(V, "NIGHTLY ETL & MORE").await.unwrap(), JobMatch::None);
    assert_eq!(client.find_job(V, "twin").await.unwrap(), JobMatch::Several(2));
}

#[tokio::test]
async fn what_is_not_there_is_told_from_a_route_that_is_not() {
    let bench = Bench::new();
    bench.workspace.configure(|settings| settings.versions = vec!["2.1".to_owned()]);
    let client = bench.client(bench.pat());
    assert!(matches!(client.get_run(V, RunId(1)).await, Err(Error::NotFound(_))));
    assert!(matches!(client.cancel_run(V, RunId(1)).await, Err(Error::NotFound(_))));
    assert!(matches!(client.run_now(V, &run_now(1), &token("t")).await, Err(Error::NotFound(_))));
    let error = client.get_run(JobsApiVersion::V2_2, RunId(1)).await.unwrap_err();
    assert!(matches!(error, Error::NoSuchRoute(_)), "{error}");
    assert!(error.to_string().contains("jobsApiVersion"), "{error}");
}

#[tokio::test]
async fn the_output_of_a_whole_run_is_refused_in_databricks_words() {
    let bench = Bench::new();
    let job = bench.workspace.job("nightly").script(Script::new()).id();
    let client = bench.client(bench.pat());
    let run = client.run_now(V, &run_now(job), &token("t")).await.unwrap().run_id.unwrap();
    let error = client.get_output(V, run).await.unwrap_err();
    assert!(error.to_string().contains("Retrieving the output of runs with multiple tasks"), "{error}");
}
