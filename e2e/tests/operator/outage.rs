//! A workspace that answers nothing for a while delays us, and never ends a run.

use std::time::Duration;

use e2e::stage::Stage;
use e2e::workspace::{Fault, Kind, RetryAfter};

use crate::run_now;

/// How long nothing is answered as it should be; `E2E_OUTAGE_SECONDS` says otherwise, and a long outage has long pauses
/// between two tries: raise `E2E_DEADLINE_SECONDS` with it.
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

#[tokio::test]
async fn errors_refusals_and_resets_fail_no_run_and_start_none_twice() {
    let stage = Stage::set("outage-mixed").await;
    let (forever, nightly) = (stage.databricks.job("forever").id(), stage.databricks.job("nightly").id());
    let _operator = stage.operator().await;
    let live = ["live-1", "live-2", "live-3"];
    let late = ["late-1", "late-2", "late-3"];
    let histories: Vec<_> = live.iter().chain(&late).map(|name| stage.history(name)).collect();
    for name in live {
        stage.apply(&stage.run(name, run_now(forever))).await;
        stage.running(name).await;
    }
    // Nearly nothing gets through, and of what does the answer is lost.
    let faults = [
        Fault::everywhere(Kind::unavailable()).per_mille(400),
        Fault::everywhere(Kind::throttled(Some(RetryAfter::Seconds(1)))).per_mille(400),
        Fault::everywhere(Kind::Reset).per_mille(900),
        Fault::everywhere(Kind::LoseAnswer),
    ];
    let faults = faults.map(|fault| stage.databricks.fault(fault));
    for name in late {
        stage.apply(&stage.run(name, run_now(nightly))).await;
    }
    for run in stage.databricks.runs() {
        stage.databricks.finish(run.id);
    }
    // Not to synchronise: time without an answer is what this test is about.
    tokio::time::sleep(outage()).await;
    for fault in &faults[..3] {
        assert!(stage.databricks.fault_hits(*fault) > 0, "{}", stage.databricks.story());
    }
    for history in &histories {
        for version in history.so_far() {
            assert_ne!(version.condition("Finished"), "True", "{:#}", version.status());
            assert_eq!(version.condition("Stalled"), "", "{:#}", version.status());
        }
    }
    stage.databricks.clear_faults();
    for name in live.iter().chain(&late) {
        let run = stage.finished(name).await;
        assert_eq!(run.text("state"), "Succeeded", "{}", stage.story(&run));
    }
    stage.assert_started_once_each(live.len() + late.len());
}
