//! One request, one run: whatever happens to answers.

use e2e::stage::Stage;
use e2e::workspace::{Fault, Kind, Operation};
use kube::api::{Patch, PatchParams};
use serde_json::json;

use crate::run_now;

#[tokio::test]
async fn a_lost_answer_never_starts_a_second_run() {
    let stage = Stage::set("lost-answer").await;
    let job = stage.databricks.job("nightly").id();
    stage.databricks.fault(Fault::on(Operation::RunNow, Kind::LoseAnswer).once());
    let _operator = stage.operator().await;
    stage.apply(&stage.run("once", run_now(job))).await;
    let run = stage.finished("once").await;
    assert_eq!(run.text("state"), "Succeeded", "{}", stage.story(&run));
    assert_eq!(run.text("runId"), stage.databricks.runs()[0].id.to_string());
    stage.assert_started_once_each(1);
    assert_eq!(stage.databricks.count(Operation::RunNow), 2, "{}", stage.databricks.story());
}

#[tokio::test]
async fn an_effect_that_lands_after_its_request_timed_out_is_found() {
    let stage = Stage::set("late-effect").await;
    let job = stage.databricks.job("nightly").id();
    stage.databricks.fault(Fault::on(Operation::RunNow, Kind::HoldEffect).once());
    let _operator = stage.operator().await;
    stage.apply(&stage.run("once", run_now(job))).await;
    stage.databricks.wait_for_request(Operation::RunNow, |entry| entry.abandoned).await.unwrap();
    assert_eq!(stage.databricks.runs_started(), 0, "{}", stage.databricks.story());
    stage.databricks.clear_faults();
    let run = stage.finished("once").await;
    assert_eq!(run.text("state"), "Succeeded", "{}", stage.story(&run));
    stage.assert_started_once_each(1);
}

#[tokio::test]
async fn two_operators_start_each_run_once() {
    let stage = Stage::set("two-operators").await;
    let job = stage.databricks.job("nightly").id();
    let (_one, _other) = tokio::join!(stage.operator(), stage.operator());
    let names = ["a", "b", "c", "d", "e"];
    for name in names {
        stage.apply(&stage.run(name, run_now(job))).await;
    }
    for name in names {
        let run = stage.finished(name).await;
        assert_eq!(run.text("state"), "Succeeded", "{}", stage.story(&run));
    }
    stage.assert_started_once_each(names.len());
}

#[tokio::test]
async fn a_status_that_was_wiped_leads_back_to_the_same_run() {
    let stage = Stage::set("wiped").await;
    let job = stage.databricks.job("nightly").running_forever().id();
    let _operator = stage.operator().await;
    stage.apply(&stage.run("wiped", run_now(job))).await;
    let before = stage.running("wiped").await;
    wipe(&stage).await;
    let after = stage.running("wiped").await;
    assert_eq!(after.text("runId"), before.text("runId"), "{}", stage.story(&after));
    assert_eq!(after.status()["serial"], before.status()["serial"], "{}", stage.story(&after));
    stage.assert_started_once_each(1);
}

#[tokio::test]
async fn a_verdict_that_was_wiped_is_read_again_from_the_same_run() {
    let stage = Stage::set("wiped-end").await;
    let job = stage.databricks.job("nightly").id();
    let _operator = stage.operator().await;
    stage.apply(&stage.run("wiped", run_now(job))).await;
    let before = stage.finished("wiped").await;
    wipe(&stage).await;
    let after = stage.finished("wiped").await;
    assert_eq!(after.text("runId"), before.text("runId"), "{}", stage.story(&after));
    stage.assert_started_once_each(1);
}

/// Replaces the status by nothing, as an administrator or a backup may.
async fn wipe(stage: &Stage) {
    let nothing = Patch::Merge(json!({"status": null}));
    let wiped = stage.runs().patch_status("wiped", &PatchParams::default(), &nothing).await.unwrap();
    assert_eq!(wiped.status.and_then(|status| status.run_id), None);
}
