//! Time that stands still for one and goes on for the others, and views that are old: an operator that was paused goes on
//! beside another, and an API server that was away comes back.

use std::time::Duration;

use e2e::cluster::ControlPlane;
use e2e::stage::{OperatorProcess, Stage};
use e2e::workspace::{Entry, Fault, Kind, Operation, Options};

use crate::{run_now, run_now_with};

const OPERATOR: &str = env!("CARGO_BIN_EXE_operator");
/// A start is taken over after four of these.
const FLAGS: [&str; 2] = ["--submit-timeout", "1s"];
/// How long something stands still: longer than a take-over needs. `E2E_PAUSE_SECONDS` says otherwise.
const PAUSE: Duration = Duration::from_secs(8);

/// Lets time pass: that it does is what these tests are about.
async fn pause() {
    let asked = std::env::var("E2E_PAUSE_SECONDS").ok().and_then(|seconds| seconds.parse().ok());
    tokio::time::sleep(asked.map_or(PAUSE, Duration::from_secs)).await;
}

/// Shows that an operator which was paused is at work again, alone: it brings a run of its own to its end.
async fn works_alone(stage: &Stage, other: OperatorProcess) {
    other.kill();
    let job = stage.databricks.job("nightly").id();
    stage.apply(&stage.run("afterwards", run_now(job))).await;
    let run = stage.finished("afterwards").await;
    assert_eq!(run.text("state"), "Succeeded", "{}", stage.story(&run));
}

#[tokio::test]
async fn an_operator_that_was_paused_starts_nothing_of_what_another_has_done_meanwhile() {
    let stage = Stage::set("paused").await;
    let (forever, nightly) = (stage.databricks.job("forever").id(), stage.databricks.job("nightly").id());
    let mut sleeper = stage.process(OPERATOR, &FLAGS);
    for name in ["edited", "deleted", "made-anew"] {
        stage.apply(&stage.run(name, run_now(forever))).await;
        stage.running(name).await;
    }
    sleeper.pause();
    let other = stage.process(OPERATOR, &FLAGS);
    stage.apply(&stage.run("edited", run_now_with(nightly, "day", "2"))).await;
    let of_first = stage.now("edited").await.text("runId").parse().unwrap();
    stage.databricks.finish(of_first);
    for name in ["deleted", "made-anew"] {
        stage.delete(name).await;
        stage.gone(name).await;
    }
    stage.apply(&stage.run("made-anew", run_now(nightly))).await;
    let mut before = Vec::new();
    for name in ["edited", "made-anew"] {
        before.push(stage.finished(name).await);
    }
    pause().await;
    sleeper.resume();
    works_alone(&stage, other).await;
    for before in before {
        let after = stage.now(before.0.metadata.name.as_deref().unwrap()).await;
        assert_eq!(after.text("state"), "Succeeded", "{}", stage.story(&after));
        assert_eq!(after.0.metadata.resource_version, before.0.metadata.resource_version, "{}", stage.story(&after));
    }
    stage.assert_started_once_each(6);
}

#[tokio::test]
async fn a_start_that_its_paused_sender_had_put_off_is_made_by_another_and_not_twice() {
    let stage = Stage::set("put-off").await;
    let job = stage.databricks.job("nightly").id();
    let mut sleeper = stage.process(OPERATOR, &FLAGS);
    stage.workspace_ready("True", "WorkspaceReady").await;
    stage.databricks.fault(Fault::on(Operation::RunNow, Kind::unavailable()).once());
    stage.apply(&stage.run("once", run_now(job))).await;
    stage.until_reason("once", "Reconciling", "ProgressingWithRetry").await;
    sleeper.pause();
    let other = stage.process(OPERATOR, &FLAGS);
    let run = stage.finished("once").await;
    assert_eq!(run.text("state"), "Succeeded", "{}", stage.story(&run));
    pause().await;
    sleeper.resume();
    works_alone(&stage, other).await;
    let after = stage.now("once").await;
    assert_eq!(after.text("runId"), run.text("runId"), "{}", stage.story(&after));
    stage.assert_started_once_each(2);
}

#[tokio::test]
async fn a_start_that_lands_after_its_paused_sender_was_given_up_is_the_same_run() {
    let stage = Stage::set("frozen-post").await;
    let job = stage.databricks.job("nightly").id();
    let held = stage.databricks.fault(Fault::on(Operation::RunNow, Kind::HoldEffect).once());
    let mut sleeper = stage.process(OPERATOR, &FLAGS);
    stage.apply(&stage.run("once", run_now(job))).await;
    stage.databricks.wait_for_request(Operation::RunNow, |_| true).await.unwrap();
    sleeper.pause();
    let other = stage.process(OPERATOR, &FLAGS);
    stage.until_started(1).await;
    stage.databricks.clear_fault(held);
    let landed = |entry: &Entry| entry.handled && entry.faults.iter().any(|fault| fault == "effect held");
    stage.databricks.wait_for_request(Operation::RunNow, landed).await.unwrap();
    let run = stage.finished("once").await;
    assert_eq!(run.text("state"), "Succeeded", "{}", stage.story(&run));
    pause().await;
    sleeper.resume();
    works_alone(&stage, other).await;
    let after = stage.now("once").await;
    assert_eq!(after.text("runId"), run.text("runId"), "{}", stage.story(&after));
    // The two requests were under way at once, as must be when a sender freezes: the token makes them one run.
    assert_eq!(stage.databricks.runs_started(), 2, "{}", stage.databricks.story());
    assert_eq!(stage.databricks.count(Operation::Cancel), 0, "{}", stage.databricks.story());
}

/// A stage on a control plane of its own, to be hurt.
async fn alone(prefix: &str) -> (ControlPlane, Stage) {
    let control_plane = ControlPlane::builder().without_controllers().start().await.unwrap();
    let stage = Stage::on(control_plane.cluster(), prefix, Options::default().speed(5)).await;
    stage.connect().await;
    // An API server that has just been started refuses everybody whose roles it has not read yet.
    stage.expect_refusals();
    (control_plane, stage)
}

#[tokio::test]
async fn an_api_server_that_is_away_for_a_while_ends_nothing_and_starts_nothing_twice() {
    let (mut control_plane, stage) = alone("away").await;
    let (forever, nightly) = (stage.databricks.job("forever").id(), stage.databricks.job("nightly").id());
    let _operators = [stage.process(OPERATOR, &FLAGS), stage.process(OPERATOR, &FLAGS)];
    stage.apply(&stage.run("done", run_now(nightly))).await;
    let done = stage.finished("done").await;
    for name in ["live", "edited", "doomed"] {
        stage.apply(&stage.run(name, run_now(forever))).await;
        stage.running(name).await;
    }
    stage.databricks.fault(Fault::on(Operation::Cancel, Kind::unavailable()));
    stage.delete("doomed").await;
    stage.apply(&stage.run("edited", run_now_with(nightly, "day", "2"))).await;
    stage.databricks.fault(Fault::on(Operation::RunNow, Kind::HoldAnswer).once());
    stage.apply(&stage.run("open", run_now(nightly))).await;
    stage.until_started(5).await;
    control_plane.stop_api_server();
    stage.databricks.clear_faults();
    for run in stage.databricks.runs() {
        // All that is live ends while nobody can be told.
        stage.databricks.finish(run.id);
    }
    pause().await;
    control_plane.start_api_server().await.unwrap();
    stage.apply(&stage.run("late", run_now(nightly))).await;
    for name in ["live", "edited", "open", "late"] {
        let run = stage.finished(name).await;
        assert_eq!(run.text("state"), "Succeeded", "{}", stage.story(&run));
    }
    stage.gone("doomed").await;
    let after = stage.now("done").await;
    assert_eq!(after.0.metadata.resource_version, done.0.metadata.resource_version, "{}", stage.story(&after));
    stage.assert_started_once_each(7);
}

#[tokio::test]
async fn an_operator_that_slept_through_a_restart_of_the_api_server_sees_everything_anew() {
    let (mut control_plane, stage) = alone("relist").await;
    let (forever, nightly) = (stage.databricks.job("forever").id(), stage.databricks.job("nightly").id());
    let mut operator = stage.process(OPERATOR, &FLAGS);
    for name in ["ended", "edited", "deleted"] {
        stage.apply(&stage.run(name, run_now(forever))).await;
        stage.running(name).await;
    }
    stage.apply(&stage.run("done", run_now(nightly))).await;
    stage.finished("done").await;
    operator.pause();
    stage.apply(&stage.run("edited", run_now_with(nightly, "day", "2"))).await;
    stage.delete("deleted").await;
    stage.delete("done").await;
    stage.gone("done").await;
    stage.apply(&stage.run("done", run_now(nightly))).await;
    for name in ["ended", "edited"] {
        let run = stage.now(name).await.text("runId").parse().unwrap();
        stage.databricks.finish(run);
    }
    control_plane.start_api_server().await.unwrap();
    stage.apply(&stage.run("fresh", run_now(nightly))).await;
    pause().await;
    operator.resume();
    // The new API server does not know what was before it: everything is listed again.
    operator.logs("too old resource version").await;
    for name in ["ended", "edited", "done", "fresh"] {
        let run = stage.finished(name).await;
        assert_eq!(run.text("state"), "Succeeded", "{}", stage.story(&run));
    }
    stage.gone("deleted").await;
    stage.assert_started_once_each(7);
    assert!(stage.databricks.runs().iter().all(|run| !run.active), "{}", stage.databricks.story());
}
