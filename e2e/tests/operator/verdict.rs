//! Runs end as Databricks says they ended, and the status tells why.

use std::time::Duration;

use e2e::stage::Stage;
use e2e::workspace::{Ending, Script};
use serde_json::json;

use crate::{notebook, run_now, submit};

#[tokio::test]
async fn a_run_that_succeeds_is_told_with_its_result() {
    let stage = Stage::set("succeeds").await;
    let job = stage.databricks.job("nightly").notebook_result("42 rows").id();
    let _operator = stage.operator().await;
    stage.apply(&stage.run("good", run_now(job))).await;
    let run = stage.finished("good").await;
    assert_eq!(run.reason("Succeeded"), "RunSucceeded", "{}", stage.story(&run));
    assert_eq!((run.text("state"), run.text("resultState")), ("Succeeded".into(), "SUCCESS".into()));
    assert_eq!(run.status()["outputs"][0]["result"], "42 rows", "{}", stage.story(&run));
    assert_eq!(run.text("runId"), stage.databricks.runs()[0].id.to_string());
    stage.assert_started_once_each(1);
}

#[tokio::test]
async fn an_exception_is_told_with_its_message_and_its_trace() {
    let stage = Stage::set("raises").await;
    let job = stage.databricks.job("nightly").failing("ValueError: no rows for the day", "Traceback: line 3").id();
    let _operator = stage.operator().await;
    stage.apply(&stage.run("bad", run_now(job))).await;
    let run = stage.finished("bad").await;
    let record = &stage.databricks.runs()[0];
    assert_eq!(record.life_cycle_state, "INTERNAL_ERROR", "as real workspaces answer when a task raises");
    assert_eq!((run.text("state"), run.text("resultState")), ("Failed".into(), "FAILED".into()));
    assert_eq!(run.reason("Stalled"), "RunFailed", "{}", stage.story(&run));
    assert!(run.message("Stalled").contains("ValueError: no rows for the day"), "{}", stage.story(&run));
    assert_eq!(run.status()["outputs"][0]["errorTrace"], "Traceback: line 3", "{}", stage.story(&run));
}

#[tokio::test]
async fn of_several_tasks_the_one_that_failed_is_the_cause() {
    let stage = Stage::set("several").await;
    let _operator = stage.operator().await;
    let mut publish = notebook("publish", "/Shared/publish");
    publish["depends_on"] = json!([{"task_key": "load"}]);
    let tasks = json!([notebook("extract", "/Shared/extract"), notebook("load", "/Shared/fail"), publish]);
    stage.apply(&stage.run("several", submit("etl", tasks))).await;
    let run = stage.finished("several").await;
    assert_eq!(run.reason("Succeeded"), "RunFailed", "{}", stage.story(&run));
    let message = run.message("Succeeded");
    assert!(message.contains("load") && message.contains("ValueError"), "{message}");
    assert!(!message.contains("publish"), "a task that was not run is no cause: {message}");
    let tasks = run.status()["tasks"].clone();
    assert_eq!((tasks[0]["taskKey"].as_str(), tasks.as_array().map(Vec::len)), (Some("load"), Some(3)), "{tasks:#}");
}

#[tokio::test]
async fn a_skipped_run_is_a_failure_with_its_own_reason() {
    let stage = Stage::set("skipped").await;
    let job = stage.databricks.job("nightly").script(Script::refused(Ending::max_concurrent_runs())).id();
    let _operator = stage.operator().await;
    stage.apply(&stage.run("skipped", run_now(job))).await;
    let run = stage.finished("skipped").await;
    assert_eq!((run.text("state"), run.reason("Stalled")), ("Skipped".into(), "RunSkipped".into()));
    assert!(run.message("Stalled").contains("maximum concurrent runs"), "{}", stage.story(&run));
}

#[tokio::test]
async fn a_run_that_somebody_cancels_in_databricks_is_told_as_canceled() {
    let stage = Stage::set("canceled").await;
    let job = stage.databricks.job("nightly").script(Script::new().ending(Ending::canceled())).id();
    let _operator = stage.operator().await;
    stage.apply(&stage.run("canceled", run_now(job))).await;
    let run = stage.finished("canceled").await;
    assert_eq!((run.text("state"), run.reason("Succeeded")), ("Canceled".into(), "RunCanceled".into()));
    stage.assert_started_once_each(1);
}

#[tokio::test]
async fn a_run_stopped_by_a_time_limit_of_databricks_is_told_as_timed_out() {
    let stage = Stage::set("timed-out").await;
    let job = stage.databricks.job("nightly").running_forever().timeout(Duration::from_millis(300)).id();
    let _operator = stage.operator().await;
    stage.apply(&stage.run("late", run_now(job))).await;
    let run = stage.finished("late").await;
    assert_eq!((run.text("state"), run.reason("Stalled")), ("TimedOut".into(), "RunTimedOut".into()));
}

#[tokio::test]
async fn results_are_kept_out_of_the_status_on_request() {
    let stage = Stage::set("no-output").await;
    let job = stage.databricks.job("nightly").notebook_result("secret").id();
    let _operator = stage.operator().await;
    let mut object = stage.run("quiet", run_now(job));
    object["spec"]["output"] = json!({"maxBytes": 0});
    stage.apply(&object).await;
    let run = stage.finished("quiet").await;
    assert_eq!(run.text("state"), "Succeeded", "{}", stage.story(&run));
    assert!(!run.status().to_string().contains("secret"), "{}", stage.story(&run));
}

#[tokio::test]
async fn an_oauth_client_does_as_well_as_a_token() {
    let stage = Stage::bare("oauth").await;
    stage.connect_by_oauth().await;
    let job = stage.databricks.job("nightly").id();
    let _operator = stage.operator().await;
    stage.apply(&stage.run("good", run_now(job))).await;
    let run = stage.finished("good").await;
    assert_eq!(run.text("state"), "Succeeded", "{}", stage.story(&run));
    assert_eq!(stage.databricks.runs()[0].principal, stage.databricks.client().0);
    assert_eq!(stage.databricks.token_requests(), 1, "one token serves all calls:\n{}", stage.databricks.story());
}
