//! A run, led into every stage of its life.

use std::time::Duration;

use e2e::stage::Stage;
use e2e::workspace::{Ending, Fault, Kind, Operation, Script};
use serde_json::{Value, json};

use super::{RUN, run_rests_at};
use crate::{notebook, run_now_with, submit};

const FOR_EVER: Duration = Duration::from_hours(24 * 365);

/// The request of every test that does not say otherwise.
fn nightly(stage: &Stage, script: Script) -> Value {
    let job = stage.databricks.job("nightly-etl").script(script).id();
    stage.run(RUN, run_now_with(job, "day", "2026-11-23"))
}

fn with(mut object: Value, field: &str, value: Value) -> Value {
    object["spec"][field] = value;
    object
}

fn failing() -> Script {
    Script::new().failing("AnalysisException: table sales.orders not found", "Traceback: line 3")
}

#[tokio::test]
async fn nobody_has_seen_it() {
    let stage = Stage::set("gitops-unseen").await;
    stage.apply(&nightly(&stage, Script::new())).await;
    run_rests_at(&stage, "progressing_unseen").await;
}

#[tokio::test]
async fn something_is_in_the_way() {
    let stage = Stage::bare("gitops-waiting").await;
    let _operator = stage.operator().await;
    stage.apply(&nightly(&stage, Script::new())).await;
    stage.until_reason(RUN, "Reconciling", "WorkspaceNotFound").await;
    run_rests_at(&stage, "progressing_waiting").await;
}

#[tokio::test]
async fn its_start_has_not_been_answered() {
    let stage = Stage::set("gitops-open").await;
    stage.databricks.fault(Fault::on(Operation::RunNow, Kind::HoldAnswer));
    let operator = stage.operator().await;
    stage.apply(&nightly(&stage, Script::new().running_forever())).await;
    stage.until_started(1).await;
    // Until it is found, what is said of it changes with every try.
    operator.stop();
    run_rests_at(&stage, "progressing_unanswered").await;
}

#[tokio::test]
async fn it_is_in_the_queue() {
    let stage = Stage::set("gitops-queued").await;
    let _operator = stage.operator().await;
    stage.apply(&nightly(&stage, Script::new().queued_for(FOR_EVER))).await;
    stage.until_reason(RUN, "Reconciling", "Queued").await;
    run_rests_at(&stage, "progressing_queued").await;
}

#[tokio::test]
async fn it_runs() {
    let stage = Stage::set("gitops-running").await;
    let _operator = stage.operator().await;
    stage.apply(&nightly(&stage, Script::new().running_forever())).await;
    stage.running(RUN).await;
    run_rests_at(&stage, "progressing_running").await;
}

#[tokio::test]
async fn it_failed_and_will_be_tried_again() {
    let stage = Stage::set("gitops-retrying").await;
    let operator = stage.operator().await;
    let broken = Script::new().ending(Ending::of_code("CLOUD_FAILURE"));
    stage.apply(&with(nightly(&stage, broken), "backoffLimit", json!(3))).await;
    stage.until(RUN, "waiting for its next attempt", |run| run.text("state") == "Retrying").await;
    operator.stop();
    run_rests_at(&stage, "progressing_retrying").await;
}

#[tokio::test]
async fn it_is_being_cancelled() {
    let stage = Stage::set("gitops-canceling").await;
    let _operator = stage.operator().await;
    stage.apply(&nightly(&stage, Script::new().running_forever().cancel_takes(FOR_EVER))).await;
    stage.running(RUN).await;
    stage.annotate(RUN, "dbrun.dev/cancel-requested-at", "2026-11-23T05:00:00Z").await;
    stage.until_reason(RUN, "Reconciling", "Canceling").await;
    run_rests_at(&stage, "progressing_canceling").await;
}

#[tokio::test]
async fn its_spec_was_edited_after_its_end() {
    let stage = Stage::set("gitops-edited").await;
    let operator = stage.operator().await;
    stage.apply(&nightly(&stage, failing())).await;
    stage.finished(RUN).await;
    operator.stop();
    stage.edit(RUN, json!({"runNow": {"job_parameters": {"day": "2026-11-24"}}})).await;
    run_rests_at(&stage, "progressing_edited").await;
}

#[tokio::test]
async fn it_runs_once_more_after_a_failure() {
    let stage = Stage::set("gitops-again").await;
    let _operator = stage.operator().await;
    stage.apply(&nightly(&stage, failing())).await;
    stage.finished(RUN).await;
    let _ = stage.databricks.job("nightly-etl").script(Script::new().running_forever());
    stage.annotate(RUN, "dbrun.dev/rerun-requested-at", "2026-11-23T05:00:00Z").await;
    stage.running(RUN).await;
    run_rests_at(&stage, "progressing_again").await;
}

#[tokio::test]
async fn it_is_suspended_before_it_starts() {
    let stage = Stage::set("gitops-suspended").await;
    let _operator = stage.operator().await;
    stage.apply(&with(nightly(&stage, Script::new()), "suspend", json!(true))).await;
    stage.suspended(RUN).await;
    run_rests_at(&stage, "suspended").await;
}

#[tokio::test]
async fn it_is_suspended_while_it_runs() {
    let stage = Stage::set("gitops-suspended-live").await;
    let _operator = stage.operator().await;
    stage.apply(&nightly(&stage, Script::new().running_forever())).await;
    stage.running(RUN).await;
    stage.edit(RUN, json!({"suspend": true})).await;
    stage.suspended(RUN).await;
    run_rests_at(&stage, "suspended_while_live").await;
}

#[tokio::test]
async fn it_succeeded() {
    let stage = Stage::set("gitops-healthy").await;
    let _operator = stage.operator().await;
    stage.apply(&nightly(&stage, Script::new().notebook_result("{\"rows\": 1204}"))).await;
    stage.finished(RUN).await;
    run_rests_at(&stage, "healthy").await;
}

#[tokio::test]
async fn it_succeeded_although_a_task_failed() {
    let stage = Stage::set("gitops-with-failures").await;
    let _operator = stage.operator().await;
    stage.apply(&nightly(&stage, Script::new().run_ending(Ending::success_with_failures()))).await;
    stage.finished(RUN).await;
    run_rests_at(&stage, "healthy_with_failures").await;
}

#[tokio::test]
async fn it_was_suspended_when_it_had_succeeded() {
    let stage = Stage::set("gitops-late").await;
    let _operator = stage.operator().await;
    stage.apply(&nightly(&stage, Script::new())).await;
    stage.finished(RUN).await;
    stage.edit(RUN, json!({"suspend": true})).await;
    stage.seen(RUN, 2).await;
    run_rests_at(&stage, "healthy_suspended_later").await;
}

#[tokio::test]
async fn it_failed() {
    let stage = Stage::set("gitops-failed").await;
    let _operator = stage.operator().await;
    stage.apply(&nightly(&stage, failing())).await;
    stage.finished(RUN).await;
    run_rests_at(&stage, "degraded_failed").await;
}

#[tokio::test]
async fn a_one_off_run_failed() {
    let stage = Stage::set("gitops-one-off").await;
    let _operator = stage.operator().await;
    let tasks = json!([notebook("extract", "/Shared/extract"), notebook("load", "/Shared/fail")]);
    stage.apply(&stage.run(RUN, submit("nightly-etl", tasks))).await;
    stage.finished(RUN).await;
    run_rests_at(&stage, "degraded_one_off").await;
}

#[tokio::test]
async fn it_was_cancelled() {
    let stage = Stage::set("gitops-canceled").await;
    let _operator = stage.operator().await;
    stage.apply(&nightly(&stage, Script::new().running_forever())).await;
    stage.running(RUN).await;
    stage.annotate(RUN, "dbrun.dev/cancel-requested-at", "2026-11-23T05:00:00Z").await;
    stage.finished(RUN).await;
    run_rests_at(&stage, "degraded_canceled").await;
}

#[tokio::test]
async fn its_spec_says_that_it_is_cancelled() {
    let stage = Stage::set("gitops-cancel").await;
    let _operator = stage.operator().await;
    stage.apply(&with(nightly(&stage, Script::new()), "cancel", json!(true))).await;
    stage.finished(RUN).await;
    run_rests_at(&stage, "degraded_canceled_in_spec").await;
}

#[tokio::test]
async fn it_took_too_long() {
    let stage = Stage::set("gitops-late-end").await;
    let _operator = stage.operator().await;
    let object = nightly(&stage, Script::new().running_forever());
    stage.apply(&with(object, "activeDeadlineSeconds", json!(1))).await;
    stage.finished(RUN).await;
    run_rests_at(&stage, "degraded_timed_out").await;
}

#[tokio::test]
async fn its_request_was_refused() {
    let stage = Stage::set("gitops-rejected").await;
    let _operator = stage.operator().await;
    let object = nightly(&stage, Script::new());
    stage.databricks.job("nightly-etl").delete();
    stage.apply(&object).await;
    stage.finished(RUN).await;
    run_rests_at(&stage, "degraded_rejected").await;
}

#[tokio::test]
async fn it_was_restored_from_a_backup() {
    let stage = Stage::set("gitops-restored").await;
    let _operator = stage.operator().await;
    let mut object = nightly(&stage, Script::new());
    object["metadata"]["annotations"] = json!({"dbrun.dev/start": "0b6d2f1c-3f53-4d7f-8a9e-5c2b7d1e9f40/1"});
    stage.apply(&object).await;
    stage.until_reason(RUN, "Stalled", "Restored").await;
    run_rests_at(&stage, "degraded_restored").await;
}
