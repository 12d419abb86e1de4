//! A workspace that answers nothing for a while delays us, and never ends a run.

use std::time::Duration;

use e2e::stage::Stage;
use e2e::workspace::{Fault, Kind};

use crate::run_now;

/// How long everything is answered with 503; `E2E_OUTAGE_SECONDS` says otherwise.
const OUTAGE: Duration = Duration::from_secs(15);

fn outage() -> Duration {
    let asked = std::env::var("E2E_OUTAGE_SECONDS").ok().and_then(|seconds| seconds.parse().ok());
    asked.map_or(OUTAGE, Duration::from_secs)
}

#[tokio::test]
async fn an_outage_in_the_middle_of_a_run_ends_nothing() {
    let stage = Stage::set("outage").await;
    let job = stage.databricks.job("nightly").running_forever().id();
    let _operator = stage.operator().await;
    let history = stage.history("steady");
    stage.apply(&stage.run("steady", run_now(job))).await;
    stage.running("steady").await;
    let fault = stage.databricks.fault(Fault::everywhere(Kind::unavailable()));
    stage.databricks.finish(stage.databricks.runs()[0].id);
    stage.workspace_ready("False", "Unreachable").await;
    // Not to synchronise: time without an answer is what this test is about.
    tokio::time::sleep(outage()).await;
    let run = stage.now("steady").await;
    assert_eq!((run.text("state"), run.condition("Finished")), ("Running".into(), "False".into()));
    assert!(stage.databricks.fault_hits(fault) > 1, "{}", stage.databricks.story());
    stage.databricks.clear_faults();
    let run = stage.finished("steady").await;
    assert_eq!(run.text("state"), "Succeeded", "{}", stage.story(&run));
    stage.workspace_ready("True", "WorkspaceReady").await;
    stage.assert_started_once_each(1);
    for version in history.so_far() {
        assert_eq!(version.condition("Stalled"), "", "{:#}", version.status());
    }
}

#[tokio::test]
async fn an_outage_at_the_start_of_a_run_delays_it() {
    let stage = Stage::set("outage-start").await;
    let job = stage.databricks.job("nightly").id();
    let _operator = stage.operator().await;
    stage.workspace_ready("True", "WorkspaceReady").await;
    stage.databricks.fault(Fault::everywhere(Kind::unavailable()));
    stage.apply(&stage.run("late", run_now(job))).await;
    stage.until_reason("late", "Reconciling", "ProgressingWithRetry").await;
    stage.databricks.clear_faults();
    let run = stage.finished("late").await;
    assert_eq!(run.text("state"), "Succeeded", "{}", stage.story(&run));
    stage.assert_started_once_each(1);
}
