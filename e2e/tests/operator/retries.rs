//! `backoffLimit` and the operator's own table: which failures are tried again, how often, and what the status tells of it.

use e2e::stage::{RunView, Stage};
use e2e::workspace::{Ending, Operation, Script};
use serde_json::{Value, json};

use crate::run_now;

const OPERATOR: &str = env!("CARGO_BIN_EXE_operator");

/// A run that ends with this code.
fn ending(code: &str) -> Script {
    Script::new().ending(Ending::of_code(code))
}

/// A stage whose job `nightly` ends with this code, and its id.
async fn failing(prefix: &str, code: &str) -> (Stage, i64) {
    let stage = Stage::set(prefix).await;
    let job = stage.databricks.job("nightly").script(ending(code)).id();
    (stage, job)
}

/// Asks for a run of a job that may be tried again so often.
async fn apply_with_limit(stage: &Stage, name: &str, job: i64, limit: u32) {
    let mut object = stage.run(name, run_now(job));
    object["spec"]["backoffLimit"] = json!(limit);
    stage.apply(&object).await;
}

async fn retrying(stage: &Stage, name: &str) -> RunView {
    stage.until(name, "waiting for its next attempt", |run| run.text("state") == "Retrying").await
}

#[tokio::test]
async fn a_failure_of_the_platform_is_tried_again_with_another_run() {
    let (stage, job) = failing("retry", "CLOUD_FAILURE").await;
    let _operator = stage.operator().await;
    let history = stage.history("twice");
    apply_with_limit(&stage, "twice", job, 1).await;
    let run = retrying(&stage, "twice").await;
    assert_eq!((run.condition("Finished"), run.reason("Reconciling")), ("False".into(), "ProgressingWithRetry".into()));
    assert!(run.message("Ready").contains("CLOUD_FAILURE"), "{}", stage.story(&run));
    let _ = stage.databricks.job("nightly").script(Script::new());
    let run = stage.finished("twice").await;
    assert_eq!(run.text("state"), "Succeeded", "{}", stage.story(&run));
    assert_eq!((&run.status()["attempt"], &run.status()["retries"]), (&json!(2), &json!(1)), "{}", stage.story(&run));
    let runs = stage.databricks.runs();
    assert!(runs[1].ended.unwrap() <= runs[0].started, "{runs:#?}");
    let past = run.past(0);
    let told = [&past["runId"], &past["attempt"], &past["state"], &past["reason"], &past["followedBy"]];
    assert_eq!(
        told,
        [&json!(runs[1].id.to_string()), &json!(1), &json!("Failed"), &json!("RunFailed"), &json!("Retry")]
    );
    history.assert_no_end_but_of(&runs[0].id.to_string());
    stage.event("twice", "RunRetrying").await;
    stage.assert_started_once_each(2);
}

#[tokio::test]
async fn a_run_that_databricks_skipped_for_want_of_room_is_tried_again() {
    let stage = Stage::set("no-room").await;
    let job = stage.databricks.job("nightly").running_forever().max_concurrent_runs(1).id();
    let _operator = stage.operator().await;
    stage.apply(&stage.run("first", run_now(job))).await;
    stage.running("first").await;
    apply_with_limit(&stage, "second", job, 1).await;
    let skipped = retrying(&stage, "second").await;
    assert_eq!(skipped.past(0)["state"], "Skipped", "{}", stage.story(&skipped));
    let first = stage.now("first").await.text("runId").parse().unwrap();
    stage.databricks.finish(first);
    let run = stage.running("second").await;
    assert_eq!(run.last(), [skipped.text("runId").as_str(), "Skipped", "Retry"], "{}", stage.story(&run));
    stage.assert_started_once_each(3);
}

#[tokio::test]
async fn when_all_attempts_are_used_up_the_end_says_so_and_each_has_its_record() {
    let (stage, job) = failing("exhausted", "DRIVER_ERROR").await;
    let _operator = stage.operator().await;
    apply_with_limit(&stage, "hopeless", job, 1).await;
    let run = stage.finished("hopeless").await;
    assert_eq!((run.text("state"), run.reason("Stalled")), ("Failed".into(), "BackoffLimitExceeded".into()));
    assert!(run.message("Stalled").contains("spec.backoffLimit is 1"), "{}", stage.story(&run));
    let runs = stage.databricks.runs();
    assert_eq!((run.text("runId"), run.status()["attempt"].clone()), (runs[0].id.to_string(), json!(2)));
    assert_eq!(run.past(0)["runId"], runs[1].id.to_string(), "{}", stage.story(&run));
    assert_eq!(run.past(1), Value::Null, "the newest attempt is the status itself: {}", stage.story(&run));
    stage.assert_started_once_each(2);
}

#[tokio::test]
async fn a_failure_of_user_code_is_not_tried_again() {
    let (stage, job) = failing("no-retry", "RUN_EXECUTION_ERROR").await;
    let _operator = stage.operator().await;
    apply_with_limit(&stage, "once", job, 3).await;
    let run = stage.finished("once").await;
    assert_eq!((run.text("state"), run.reason("Stalled")), ("Failed".into(), "RunFailed".into()));
    assert_eq!(run.past(0), Value::Null, "{}", stage.story(&run));
    stage.assert_started_once_each(1);
}

#[tokio::test]
async fn without_a_limit_nothing_is_tried_again_and_a_rule_can_forbid_it() {
    let (stage, job) = failing("no-limit", "CLOUD_FAILURE").await;
    let _operator = stage.operator().await;
    stage.apply(&stage.run("plain", run_now(job))).await;
    let mut object = stage.run("forbidden", run_now(job));
    object["spec"]["backoffLimit"] = json!(3);
    let rule = json!({"action": "Fail", "onTermination": {"operator": "In", "codes": ["CLOUD_FAILURE"]}});
    object["spec"]["failurePolicy"] = json!({"rules": [rule]});
    stage.apply(&object).await;
    for name in ["plain", "forbidden"] {
        let run = stage.finished(name).await;
        assert_eq!((run.text("state"), run.reason("Stalled")), ("Failed".into(), "RunFailed".into()));
    }
    stage.assert_started_once_each(2);
}

#[tokio::test]
async fn a_run_that_somebody_repairs_while_it_waits_is_followed_and_not_started_again() {
    let (stage, job) = failing("repaired", "CLOUD_FAILURE").await;
    let _operator = stage.operator().await;
    apply_with_limit(&stage, "helped", job, 3).await;
    let id = retrying(&stage, "helped").await.text("runId");
    let _ = stage.databricks.job("nightly").script(Script::new().running_forever());
    let run = stage.databricks.runs()[0].id;
    assert!(stage.databricks.repair_by_hand(run), "{}", stage.databricks.story());
    let running = stage.running("helped").await;
    assert_eq!(running.text("runId"), id, "{}", stage.story(&running));
    stage.databricks.finish(run);
    let run = stage.finished("helped").await;
    assert_eq!((run.text("state"), run.text("runId")), ("Succeeded".into(), id), "{}", stage.story(&run));
    stage.assert_started_once_each(1);
}

#[tokio::test]
async fn a_cancellation_while_the_next_attempt_is_waited_for_ends_as_the_last_one_did() {
    let (stage, job) = failing("give-up", "CLOUD_FAILURE").await;
    let _operator = stage.operator().await;
    apply_with_limit(&stage, "given-up", job, 3).await;
    let waiting = retrying(&stage, "given-up").await;
    stage.edit("given-up", json!({"cancel": true})).await;
    let run = stage.finished("given-up").await;
    assert_eq!((run.text("state"), run.reason("Stalled")), ("Failed".into(), "RunFailed".into()));
    assert!(run.message("Ready").contains("its cancellation was requested"), "{}", stage.story(&run));
    assert_eq!((run.text("runId"), run.past(0)), (waiting.text("runId"), Value::Null), "{}", stage.story(&run));
    stage.assert_started_once_each(1);
}

#[tokio::test]
async fn a_suspension_while_the_next_attempt_is_waited_for_begins_the_count_anew() {
    let (stage, job) = failing("pause", "CLOUD_FAILURE").await;
    let _operator = stage.operator().await;
    let history = stage.history("paused");
    apply_with_limit(&stage, "paused", job, 1).await;
    let first = retrying(&stage, "paused").await.text("runId");
    stage.edit("paused", json!({"suspend": true})).await;
    stage.suspended("paused").await;
    let _ = stage.databricks.job("nightly").script(Script::new().running_forever());
    stage.edit("paused", json!({"suspend": false})).await;
    let run = stage.running("paused").await;
    assert_eq!(
        (&run.status()["attempt"], &run.status()["retries"]),
        (&json!(1), &Value::Null),
        "{}",
        stage.story(&run)
    );
    assert_eq!((&run.past(0)["runId"], &run.past(0)["state"]), (&json!(first), &json!("Failed")));
    history.assert_no_end_but_of(&run.text("runId"));
    stage.assert_started_once_each(2);
}

#[tokio::test]
async fn an_edit_while_the_next_attempt_is_waited_for_takes_its_place() {
    let (stage, job) = failing("overtaken", "CLOUD_FAILURE").await;
    let _operator = stage.operator().await;
    apply_with_limit(&stage, "edited", job, 3).await;
    let first = retrying(&stage, "edited").await.text("runId");
    let _ = stage.databricks.job("nightly").script(Script::new());
    stage.edit("edited", json!({"runNow": {"job_parameters": {"day": "2"}}})).await;
    let run = stage.finished_in("edited", 2).await;
    assert_eq!((run.text("state"), &run.status()["attempt"]), ("Succeeded".into(), &json!(1)), "{}", stage.story(&run));
    assert_eq!(run.last(), [first.as_str(), "Failed", "Retry"], "{}", stage.story(&run));
    assert_eq!(stage.databricks.runs()[0].body["job_parameters"]["day"], "2");
    stage.assert_started_once_each(2);
}

#[tokio::test]
async fn the_active_deadline_ends_the_wait_for_the_next_attempt() {
    let (stage, job) = failing("no-time", "CLOUD_FAILURE").await;
    let _operator = stage.operator().await;
    apply_with_limit(&stage, "out-of-time", job, 3).await;
    retrying(&stage, "out-of-time").await;
    stage.edit("out-of-time", json!({"activeDeadlineSeconds": 1})).await;
    let run = stage.finished("out-of-time").await;
    assert_eq!((run.text("state"), run.reason("Stalled")), ("TimedOut".into(), "DeadlineExceeded".into()));
    assert_eq!(run.past(0)["state"], "Failed", "{}", stage.story(&run));
}

#[tokio::test]
async fn an_object_that_is_deleted_while_it_waits_for_an_attempt_makes_none() {
    let (stage, job) = failing("deleted", "CLOUD_FAILURE").await;
    let _operator = stage.operator().await;
    apply_with_limit(&stage, "doomed", job, 3).await;
    retrying(&stage, "doomed").await;
    stage.delete("doomed").await;
    stage.gone("doomed").await;
    stage.assert_started_once_each(1);
    assert_eq!(stage.databricks.count(Operation::Cancel), 0, "{}", stage.databricks.story());
}

#[tokio::test]
async fn the_next_attempt_is_made_once_although_two_operators_are_there_and_one_is_killed() {
    let (stage, job) = failing("two-retry", "CLOUD_FAILURE").await;
    let operator = stage.process(OPERATOR, &[]);
    apply_with_limit(&stage, "twice", job, 1).await;
    retrying(&stage, "twice").await;
    operator.kill();
    let (_one, _other) = tokio::join!(stage.operator(), stage.operator());
    let _ = stage.databricks.job("nightly").script(Script::new());
    let run = stage.finished("twice").await;
    assert_eq!((run.text("state"), &run.status()["attempt"]), ("Succeeded".into(), &json!(2)), "{}", stage.story(&run));
    stage.assert_started_once_each(2);
}
