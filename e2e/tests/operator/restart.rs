//! Operators that are killed or stopped at the worst moment, and those that come after them.

use std::time::Duration;

use e2e::cluster::ControlPlane;
use e2e::stage::{Stage, versions_of_running};
use e2e::wait::eventually;
use e2e::workspace::{Fault, Kind, Operation, Options};
use serde_json::json;

use crate::{run_now, run_now_with};

const OPERATOR: &str = env!("CARGO_BIN_EXE_operator");

#[tokio::test]
async fn a_run_started_by_a_killed_operator_is_followed_before_an_edit_starts_another() {
    let stage = Stage::set("killed").await;
    let job = stage.databricks.job("nightly").id();
    stage.databricks.fault(Fault::on(Operation::RunNow, Kind::HoldAnswer).once());
    let operator = stage.process(OPERATOR, &[]);
    stage.apply(&stage.run("once", run_now_with(job, "day", "1"))).await;
    stage.until_started(1).await;
    operator.kill();
    stage.databricks.clear_faults();
    stage.apply(&stage.run("once", run_now_with(job, "day", "2"))).await;
    let _next = stage.process(OPERATOR, &[]);
    let run = stage.finished("once").await;
    stage.assert_started_once_each(2);
    let runs = stage.databricks.runs();
    let days: Vec<_> = runs.iter().map(|run| run.body["job_parameters"]["day"].clone()).collect();
    assert_eq!(days, ["2", "1"], "newest first: {runs:#?}");
    assert_eq!(run.text("runId"), runs[0].id.to_string(), "{}", stage.story(&run));
    assert_eq!(run.status()["attempts"][0]["runId"], runs[1].id.to_string(), "{}", stage.story(&run));
    assert!(runs[1].ended.unwrap() <= runs[0].started, "{runs:#?}");
}

#[tokio::test]
async fn a_run_goes_on_while_no_operator_watches() {
    let stage = Stage::set("unwatched").await;
    let job = stage.databricks.job("nightly").running_forever().id();
    let operator = stage.process(OPERATOR, &[]);
    stage.apply(&stage.run("once", run_now(job))).await;
    stage.running("once").await;
    operator.kill();
    stage.databricks.finish(stage.databricks.runs()[0].id);
    let _next = stage.process(OPERATOR, &[]);
    let run = stage.finished("once").await;
    assert_eq!(run.text("state"), "Succeeded", "{}", stage.story(&run));
    stage.assert_started_once_each(1);
}

#[tokio::test]
async fn an_operator_that_starts_again_takes_up_a_live_run_without_a_word() {
    let stage = Stage::set("unchanged").await;
    let job = stage.databricks.job("nightly").running_forever().id();
    let first = stage.operator().await;
    stage.apply(&stage.run("once", run_now(job))).await;
    stage.running("once").await;
    first.stop();
    let (before, events) = (stage.now("once").await, stage.events("once").await);
    let polls = stage.databricks.count(Operation::GetRun);
    let _next = stage.operator().await;
    eventually("the run is polled again", async || {
        let more = stage.databricks.count(Operation::GetRun) - polls;
        if more >= 3 { Ok(()) } else { Err(format!("{more} polls")) }
    })
    .await;
    let after = stage.now("once").await;
    assert_eq!(after.0.metadata.resource_version, before.0.metadata.resource_version, "{}", stage.story(&after));
    assert_eq!(stage.events("once").await, events);
}

#[tokio::test]
async fn after_a_restart_lists_tell_which_of_many_runs_have_changed_and_the_others_are_not_written() {
    const RUNS: usize = 120;
    let stage = Stage::set("restart-many").await;
    let job = stage.databricks.job("hourly").running_forever().id();
    let operator = stage.operator().await;
    for number in 0..RUNS {
        let mut object = stage.run(&format!("run-{number}"), run_now(job));
        object["spec"]["polling"] = json!({});
        stage.apply(&object).await;
    }
    let before = eventually("all runs to be running", async || versions_of_running(&stage, RUNS).await).await;
    operator.stop();
    let ended = ["run-7", "run-70", "run-99"];
    for name in ended {
        stage.databricks.finish(stage.now(name).await.text("runId").parse().unwrap());
    }

    let gets = stage.databricks.count(Operation::GetRun);
    let next = stage.operator_with(|options| options.requests_per_second = 15.0).await;
    eventually("every live run to be looked at", async || {
        let told = next.metrics.encode();
        let unread = told.lines().find_map(|line| line.strip_prefix("databricks_operator_runs_unread "));
        if unread == Some("0") { Ok(()) } else { Err(format!("{unread:?} are not")) }
    })
    .await;
    let gets = stage.databricks.count(Operation::GetRun) - gets;
    assert!(gets < RUNS / 4, "{gets} gets\n{}", stage.databricks.story());
    for name in ended {
        stage.finished(name).await;
    }
    for (name, version) in before.iter().filter(|(name, _)| !ended.contains(&name.as_str())) {
        let after = stage.now(name).await;
        assert_eq!(after.0.metadata.resource_version.as_ref(), Some(version), "{}", stage.story(&after));
    }
    stage.assert_started_once_each(RUNS);
}

#[tokio::test]
async fn an_operator_that_is_asked_to_stop_writes_down_what_it_has_started() {
    let stage = Stage::set("sigterm").await;
    let job = stage.databricks.job("nightly").running_forever().id();
    stage.databricks.fault(Fault::on(Operation::RunNow, Kind::HoldAnswer).once());
    let mut operator = stage.process(OPERATOR, &["--submit-timeout", "30s"]);
    stage.apply(&stage.run("once", run_now(job))).await;
    stage.until_started(1).await;
    operator.terminate();
    operator.logs("stopping").await;
    stage.databricks.clear_faults();
    assert!(operator.ended_well());
    let run = stage.now("once").await;
    assert_eq!(run.text("runId"), stage.databricks.runs()[0].id.to_string(), "{}", stage.story(&run));
    stage.assert_started_once_each(1);
}

#[tokio::test]
async fn a_standby_takes_over_what_a_killed_operator_has_sent() {
    let stage = Stage::set("standby").await;
    let job = stage.databricks.job("nightly").id();
    stage.databricks.fault(Fault::on(Operation::RunNow, Kind::HoldAnswer).once());
    let operator = stage.process(OPERATOR, &[]);
    stage.apply(&stage.run("once", run_now(job))).await;
    stage.until_started(1).await;
    let _standby = stage.operator().await;
    operator.kill();
    let run = stage.finished("once").await;
    assert_eq!(run.text("state"), "Succeeded", "{}", stage.story(&run));
    stage.assert_started_once_each(1);
}

#[tokio::test]
async fn a_run_id_that_the_api_server_cannot_take_is_written_when_it_is_back() {
    let mut control_plane = ControlPlane::builder().without_controllers().start().await.unwrap();
    let stage = Stage::on(control_plane.cluster(), "no-store", Options::default().speed(5)).await;
    stage.connect().await;
    // An API server that has just been started refuses everybody whose roles it has not read yet.
    stage.expect_refusals();
    let job = stage.databricks.job("nightly").id();
    stage.databricks.fault(Fault::on(Operation::RunNow, Kind::HoldAnswer).once());
    let _operator = stage.operator_with(|options| options.submit_timeout = Duration::from_mins(1)).await;
    stage.apply(&stage.run("once", run_now(job))).await;
    stage.until_started(1).await;
    control_plane.stop_api_server();
    stage.databricks.clear_faults();
    stage.databricks.wait_for_request(Operation::RunNow, |entry| entry.answered.is_some()).await.unwrap();
    control_plane.start_api_server().await.unwrap();
    let run = stage.finished("once").await;
    assert_eq!(run.text("state"), "Succeeded", "{}", stage.story(&run));
    stage.assert_started_once_each(1);
    assert_eq!(stage.databricks.count(Operation::RunNow), 1, "{}", stage.databricks.story());
}
